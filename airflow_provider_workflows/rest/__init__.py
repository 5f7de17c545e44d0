"""What the two vendor APIs share: errors, plans, the driver that runs them. Imports no Airflow."""
