"""Imported before anything else: a developer's settings do not reach the tests, and Airflow gets a home of its own."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

for _name in list(os.environ):
    if _name.startswith(("AIRFLOW", "AWS_", "GLACIER_", "PG")):
        del os.environ[_name]

AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="glacier-airflow-"))
atexit.register(shutil.rmtree, AIRFLOW_HOME, ignore_errors=True)

DAGS = Path(__file__).parents[2] / "dags"
APPLICATIONS = AIRFLOW_HOME / "applications.yaml"

os.environ.update(
    AIRFLOW_HOME=str(AIRFLOW_HOME),
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{AIRFLOW_HOME}/airflow.db",
    AIRFLOW__CORE__DAGS_FOLDER=str(DAGS),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__LOGGING__LOGGING_LEVEL="INFO",
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
    AIRFLOW__OPENLINEAGE__DISABLED="True",  # where it is installed, its listener has a part in each task
    AWS_EC2_METADATA_DISABLED="true",
    GLACIER_APPLICATIONS=str(APPLICATIONS),
)
