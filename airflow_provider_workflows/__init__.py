"""Apache Airflow provider for Bitrix24 business processes and Domo workflows."""

__version__ = "0.1.0"
