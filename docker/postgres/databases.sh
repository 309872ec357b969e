#!/bin/bash
# Runs once, when the server's volume is empty: a database and its owner for Airflow, for the workers' results, for the
# catalog, and for the sample application. The passwords reach psql by its environment, never as arguments.
set -euo pipefail
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres --no-psqlrc --quiet <<'SQL'
\getenv airflow AIRFLOW_DB_PASSWORD
\getenv celery CELERY_DB_PASSWORD
\getenv catalog CATALOG_DB_PASSWORD
\getenv library LIBRARY_DB_PASSWORD
CREATE ROLE airflow LOGIN PASSWORD :'airflow';
CREATE ROLE celery LOGIN PASSWORD :'celery';
CREATE ROLE glacier LOGIN PASSWORD :'catalog';
CREATE ROLE library LOGIN PASSWORD :'library';
CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE celery_results OWNER celery;
CREATE DATABASE glacier_catalog OWNER glacier;
CREATE DATABASE library OWNER library;
REVOKE CONNECT ON DATABASE airflow, celery_results, glacier_catalog, library FROM PUBLIC;
SQL
