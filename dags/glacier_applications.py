"""No DAG: the place where Airflow shows what is wrong with applications.yaml, as this file's import error.

Each of the other DAG files makes the DAGs of the applications that are right; an error in one of those files would take
their DAGs away as well.
"""

from __future__ import annotations

from glacier_provider.applications import load_applications

load_applications().checked()
