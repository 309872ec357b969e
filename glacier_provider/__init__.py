"""PostgreSQL applications and their attached files, safe in Amazon Glacier, by Apache Airflow."""

__version__ = "0.1.0"
