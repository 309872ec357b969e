"""`GlacierNotifier` in callbacks of somebody's own DAG: the product's messages, to the application's targets."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.log import mask_secret
from airflow.utils.state import DagRunState

from glacier_provider.applications import Application
from glacier_provider.errors import NotTold
from glacier_provider.notifications.alerts import GlacierNotifier
from glacier_provider.operators.backup_steps import OpenBackupOperator
from glacier_provider.operators.pg_dump import PgDumpOperator
from tests.support.airflow import settings_of
from tests.support.application import ApplicationUnderTest
from tests.support.receivers import a_web_receiver
from tests.unit.operators.builders import a_context


def calling(app: ApplicationUnderTest, url: str) -> ApplicationUnderTest:
    return replace(app, application=Application.from_dict({**app.application.to_dict(), "alerts": {"to": [url]}}))


def of_a_failed(task: Any, error: Exception, dag_id: str = "nightly") -> Any:
    """Return the context of a callback: a task of a person's own DAG failed."""
    return a_context(task, dag_run=SimpleNamespace(dag_id=dag_id, run_id="manual__1"), exception=error)


def test_a_backup_that_failed_in_somebodys_own_dag_is_told_at_once_and_once(dms: ApplicationUnderTest) -> None:
    with a_web_receiver() as web, settings_of(calling(dms, f"{web.url}/ops")), DAG("nightly"):
        opened = OpenBackupOperator(task_id="open_backup", application="dms")
        task = PgDumpOperator(task_id="dump_database", application="dms", backup_id=1)
        context = of_a_failed(task, RuntimeError("no room"))
        assert opened.execute(context) == 1
        for _ in range(2):
            GlacierNotifier(application="{{ task.application }}")(dict(context))
        told = {one.json["event"]: one.json["told"] for one in web.received}
        assert told["backup_failed"] == "backup 1 failed: dump_database: no room"
        assert len(web.received) == len(told), "nobody is told twice of the same"


def test_a_failed_task_of_no_backup_is_told_as_well(dms: ApplicationUnderTest) -> None:
    with a_web_receiver() as web, settings_of(calling(dms, f"{web.url}/ops")), DAG("nightly"):
        task = PgDumpOperator(task_id="export", application="dms", backup_id=1)
        GlacierNotifier(application="dms")(of_a_failed(task, RuntimeError("no room")))
        reported = [one.json for one in web.received if one.json["event"] == "reported"]
        assert [one["told"] for one in reported] == ["export of nightly failed: no room"]
        web.received.clear()
        GlacierNotifier(application="dms")(a_context(task))
        assert [one.json["event"] for one in web.received if one.json["event"] == "reported"] == []


@pytest.mark.parametrize(
    ("words", "secret"),
    [
        ("cannot open postgresql://app:hunter2@db/shop", "hunter2"),
        ("FATAL: OPTIONS (user 'a', password 'hunter2')", "hunter2"),
        ("correct-horse-battery is wrong", "correct-horse-battery"),
    ],
    ids=["in a URL", "in a statement", "of a connection"],
)
def test_a_password_in_anybodys_error_reaches_no_target(dms: ApplicationUnderTest, words: str, secret: str) -> None:
    mask_secret("correct-horse-battery")  # as Airflow does with the password of each connection that a task uses
    with a_web_receiver() as web, settings_of(calling(dms, f"{web.url}/ops")), DAG("nightly"):
        opened = OpenBackupOperator(task_id="open_backup", application="dms")
        task = PgDumpOperator(task_id="export", application="dms", backup_id=1)
        GlacierNotifier(application="dms")(of_a_failed(task, RuntimeError(words), dag_id="others"))
        opened.execute(context := of_a_failed(task, RuntimeError(words)))
        GlacierNotifier(application="dms")(context)
        assert {one.json["event"] for one in web.received} >= {"reported", "backup_failed"}
        assert [one.json for one in web.received if secret in str(one.json)] == []
    assert secret not in dms.catalog.backups.get(1)["error"]


def test_what_did_not_arrive_is_an_error_in_the_callback(dms: ApplicationUnderTest) -> None:
    with a_web_receiver() as web, settings_of(calling(dms, f"{web.url}/ops")), DAG("nightly"):
        web.status = 503
        task = PgDumpOperator(task_id="export", application="dms", backup_id=1)
        context = of_a_failed(task, RuntimeError("no room"))
        with pytest.raises(NotTold, match="Not told: webhook"):
            GlacierNotifier(application="dms").notify(context)


@pytest.mark.parametrize("state", ["failed", DagRunState.FAILED])
def test_a_run_that_failed_is_told_also_where_no_task_failed(dms: ApplicationUnderTest, state: str) -> None:
    """As the callback of a DAG, which is told of a run and of no exception."""
    run = SimpleNamespace(dag_id="nightly", run_id="manual__1", state=state)
    with a_web_receiver() as web, settings_of(calling(dms, f"{web.url}/ops")):
        context = a_context(dag_run=run, reason="timed_out")
        GlacierNotifier(application="dms")({name: value for name, value in context.items() if name != "task"})
        reported = [one.json["told"] for one in web.received if one.json["event"] == "reported"]
    assert reported == ["the run of nightly failed: timed_out"]
