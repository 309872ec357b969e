"""Airflow under test: the product's DAG files, parsed from disk and run by Airflow's own `dag.test`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from glacier_provider.postgres import Server
from tests.support.airflow_3_2 import as_its_processes_do
from tests.support.application import ApplicationUnderTest
from tests.support.clean_environment import APPLICATIONS, DAGS

CATALOG_CONN_ID = "glacier_catalog"


@dataclass(frozen=True)
class Ran:
    """One finished DAG run: its state, and the states of its tasks (several of a mapped one)."""

    state: str
    tasks: Mapping[str, list[str]]

    @property
    def failed(self) -> list[str]:
        return sorted(task for task, states in self.tasks.items() if "failed" in states)


def initialise_airflow() -> None:
    """Make Airflow's own metadata database (SQLite, below the tests' AIRFLOW_HOME)."""
    from airflow.utils import db

    db.initdb()


def run_dag(
    app: ApplicationUnderTest,
    kind: str,
    conf: Mapping[str, Any] | None = None,
    *,
    marked: str | None = None,
    of_all: bool = False,
) -> Ran:
    """Run the application's backup or restore DAG to its end, with nobody waiting for retries.

    `marked`: the task that a person marked as success before it ran; `of_all`: the DAG is one for all applications.
    """
    dag_id = f"glacier_{kind}" if of_all else f"glacier_{kind}__{app.application.name}"
    with settings_of(app):
        dag = _parsed()[dag_id]
        for task in dag.tasks:
            _without_retries(task)
        with as_its_processes_do():
            run = dag.test(run_conf=dict(conf or {}), mark_success_pattern=marked and f"^{marked}$")
        ended = dag.on_failure_callback if run.state == "failed" else dag.on_success_callback
        if ended is not None:
            ended({"dag": dag, "dag_run": run})  # as the DAG processor does, which `dag.test` has none of
        tasks: dict[str, list[str]] = {}
        for instance in run.get_task_instances():
            tasks.setdefault(instance.task_id, []).append(str(instance.state))
    return Ran(str(run.state.value), tasks)


@contextmanager
def settings_of(app: ApplicationUnderTest) -> Iterator[None]:
    """Describe the application in applications.yaml and give Airflow its connections, by environment."""
    variables = {
        f"AIRFLOW_CONN_{app.application.postgres_conn_id.upper()}": postgres_connection(app.server),
        f"AIRFLOW_CONN_{CATALOG_CONN_ID.upper()}": postgres_connection(app.catalog_server),
        "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(app.s3.url, app.other_endpoints),
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    APPLICATIONS.write_text(yaml.safe_dump({"applications": {app.application.name: _entry(app)}}, allow_unicode=True))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def postgres_connection(server: Server) -> str:
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": server.host,
            "port": server.port,
            "login": server.user,
            "password": server.password,
            "schema": server.dbname,
        }
    )


def aws_connection(url: str, other_endpoints: Mapping[str, str] | None = None) -> str:
    """Return the AWS connection for services at `url`, some of them elsewhere."""
    extra: dict[str, Any] = {"endpoint_url": url, "region_name": "us-east-1"}
    if other_endpoints:
        extra["service_config"] = {name: {"endpoint_url": other} for name, other in other_endpoints.items()}
    return json.dumps({"conn_type": "aws", "login": "AKIATEST", "password": "an-aws-secret", "extra": extra})


def _entry(app: ApplicationUnderTest) -> dict[str, Any]:
    entry = {name: value for name, value in app.application.to_dict().items() if value is not None and name != "name"}
    return {**entry, "poll_seconds": 1}


def _parsed() -> dict[str, Any]:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    bag = DagBag(str(DAGS))
    assert not bag.import_errors, bag.import_errors
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
    return dict(bag.dags)


def _without_retries(task: Any) -> None:
    if hasattr(task, "partial_kwargs"):
        task.partial_kwargs["retries"] = 0
    else:
        task.retries = 0
