"""What the tests of operators and sensors share: an application given in place, its connections, a task's context."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from airflow.sdk import Asset
from airflow.sdk.execution_time.context import OutletEventAccessors

from glacier_provider.applications import Application

APPLICATION = Application(
    name="dms",
    postgres_conn_id="dms_db",
    files_directory="/srv/dms/files",
    orphan_directory="/srv/dms/orphan_files",
    staging_directory="/srv/dms/staging",
    store="s3://bucket/pre?storage_class=GLACIER",
    aws_conn_id="dms_aws",
)
SETTINGS = APPLICATION.to_dict()

#: Connections that lead nowhere: what only passes them on needs no more.
CONNECTIONS = {
    "AIRFLOW_CONN_DMS_DB": "postgres://app:geheim@127.0.0.1:1/dms",
    "AIRFLOW_CONN_GLACIER_CATALOG": "postgres://glacier:geheim@127.0.0.1:1/catalog",
    "AIRFLOW_CONN_DMS_AWS": "aws://AKIATEST:geheim@/?region_name=us-east-1&endpoint_url=http%3A%2F%2F127.0.0.1%3A1",
}


@dataclass
class Pushed:
    """The part of a task instance that operators use."""

    values: dict[str, Any]
    try_number: int = 1
    max_tries: int = 3

    def xcom_push(self, key: str, value: Any) -> None:
        self.values[key] = value


def a_context(task: Any = None, **more: Any) -> Any:
    """Return the context of a task, as far as operators of this package look at it."""
    run = SimpleNamespace(dag_id="glacier_backup__dms", run_id="manual__1")
    return {
        "dag_run": run,
        "ti": Pushed({}),
        "params": {},
        "task": task,
        "outlet_events": OutletEventAccessors(),
        **more,
    }


def an_asset(name: str = "backups") -> Asset:
    return Asset(name=name, uri=f"x-glacier-backup://dms/{name}")
