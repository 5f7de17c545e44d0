"""The commands of ``python -m airflow_provider_workflows``, one module each, imported when it is used."""
