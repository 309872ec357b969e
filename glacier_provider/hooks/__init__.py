"""From Airflow connections to the collaborators of the pipelines."""
