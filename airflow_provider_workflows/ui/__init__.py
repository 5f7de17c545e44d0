"""The provider's page in Airflow's UI, from Airflow 3.1 on."""
