"""A run that failed is noted in the catalog with its reason; a catalog that is down keeps nobody from failing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.errors import LeaseHeld
from glacier_provider.operators.backup_steps import ScanFilesOperator
from glacier_provider.operators.base import record_failure, run_failed, run_succeeded
from glacier_provider.postgres import Server
from glacier_provider.sensors.glacier_job import GlacierJobSensor
from tests.support.airflow import postgres_connection, settings_of
from tests.support.application import ApplicationUnderTest
from tests.support.receivers import a_web_receiver
from tests.unit.operators.builders import SETTINGS, a_context

RUN = Run("glacier_backup__dms", "manual__1")
RESTORE_RUN = Run("glacier_restore__dms", "manual__1")


@pytest.fixture(autouse=True)
def _connection(catalog_database: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_GLACIER_CATALOG", postgres_connection(catalog_database))


def a_failure(exception: BaseException | str | None = None, *, run: Run = RUN, **task: Any) -> Any:
    """Return the context that Airflow hands to `on_failure_callback`."""
    failed = ScanFilesOperator(task_id="scan_files", **{"application": SETTINGS, "backup_id": 1, **task})
    dag_run = SimpleNamespace(dag_id=run.dag_id, run_id=run.dag_run_id)
    return a_context(failed, dag_run=dag_run, exception=exception)


def test_a_backups_failure_is_noted_with_task_and_reason(catalog: Catalog) -> None:
    backup_id = catalog.backups.open(RUN)
    record_failure(a_failure(AirflowFailException("DirectoryUnusable: /srv is not there. Mount it.")))
    row = catalog.backups.get(backup_id)
    assert row["state"] == "failed"
    assert row["error"] == "scan_files: DirectoryUnusable: /srv is not there. Mount it."
    assert row["closed_at"] is not None


def test_a_failed_backup_frees_its_lease(catalog: Catalog) -> None:
    catalog.backups.open(RUN)
    with pytest.raises(LeaseHeld):
        catalog.backups.take_lease("restore 1")
    record_failure(a_failure("broken"))
    catalog.backups.take_lease("restore 1")


def test_a_task_that_ended_without_words_is_noted_as_well(catalog: Catalog) -> None:
    backup_id = catalog.backups.open(RUN)
    record_failure(a_failure(None))
    assert catalog.backups.get(backup_id)["error"] == "scan_files: the task ended without a message"


def test_a_restores_failure_is_noted_in_the_restore_and_what_is_complete_stays_complete(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_GLACIER_CATALOG", postgres_connection(dms.catalog_server))
    backup_id = dms.back_up(RUN)
    planned = dms.plan(backup_id, RESTORE_RUN)
    failed = GlacierJobSensor(task_id="wait_for_retrievals", application=SETTINGS, restore_id=planned["restore_id"])
    dag_run = SimpleNamespace(dag_id=RESTORE_RUN.dag_id, run_id=RESTORE_RUN.dag_run_id)
    record_failure(a_context(failed, dag_run=dag_run, exception=AirflowFailException("RetrievalFailed: no.")))
    record_failure(a_failure("late"))
    row = dms.catalog.restores.get(planned["restore_id"])
    assert (row["state"], row["error"]) == ("failed", "wait_for_retrievals: RetrievalFailed: no.")
    assert dms.catalog.backups.get(backup_id)["state"] == "complete"


def test_another_runs_backup_is_left_alone(catalog: Catalog) -> None:
    backup_id = catalog.backups.open(Run("glacier_backup__dms", "another"))
    record_failure(a_failure("broken"))
    assert catalog.backups.get(backup_id)["state"] == "running"
    with pytest.raises(LeaseHeld):
        catalog.backups.take_lease("restore 1")


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.ERROR, logger="glacier_provider.operators.base")
    return caplog


def test_a_catalog_that_is_down_is_told_in_the_log(
    errors: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_GLACIER_CATALOG", "postgres://glacier:geheim@127.0.0.1:1/catalog")
    record_failure(a_failure("broken"))
    (said,) = errors.messages
    assert "could not be noted in the catalog" in said
    assert "127.0.0.1:1" in said
    assert "geheim" not in said


def test_a_catalog_that_was_never_made_is_told_in_the_log(
    errors: pytest.LogCaptureFixture, database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first task of the first run failed before it could migrate."""
    monkeypatch.setenv("AIRFLOW_CONN_GLACIER_CATALOG", postgres_connection(database))
    record_failure(a_failure("broken"))
    (said,) = errors.messages
    assert "glacier-backup migrate" in said


@pytest.mark.parametrize("application", ["nobody", {"name": "dms"}])
def test_an_application_that_cannot_be_read_is_told_in_the_log(
    errors: pytest.LogCaptureFixture, application: Any
) -> None:
    record_failure(a_failure("broken", application=application))
    assert len(errors.messages) == 1


def test_a_missing_connection_is_told_in_the_log(
    errors: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_GLACIER_CATALOG")
    record_failure(a_failure("broken"))
    assert "no Airflow connection glacier_catalog" in errors.messages[0]


@pytest.mark.parametrize(("opened", "heard"), [(True, ["/fail"]), (False, [])])
def test_a_monitor_hears_of_a_backup_that_failed_in_somebodys_own_dag_and_of_nothing_else_of_it(
    opened: bool, heard: list[str], catalog: Catalog
) -> None:
    nightly = Run("nightly", "manual__1")
    if opened:
        catalog.backups.open(nightly)
    with a_web_receiver() as monitor:
        settings = {**SETTINGS, "ping": monitor.url}
        record_failure(a_failure("broken", run=nightly, application=settings))
        record_failure(a_failure("broken", run=RESTORE_RUN, application=settings))
    assert [one.path.partition("?")[0] for one in monitor.received] == heard


@pytest.mark.parametrize(
    ("ends", "words"), [(run_failed, "over (failed) before the backup was"), (run_succeeded, "over (success) before")]
)
def test_a_monitor_hears_of_a_backup_whose_run_was_over_before_it_and_no_task_told_why(
    ends: Callable[[Any], None], words: str, dms: ApplicationUnderTest
) -> None:
    """As when the executor lost its pod, or a person marked its tasks."""
    backup_id = dms.back_up(Run(RUN.dag_id, "before"))
    dms.plan(backup_id, RESTORE_RUN)
    dms.catalog.backups.open(RUN)
    with a_web_receiver() as monitor:
        app = replace(dms, application=replace(dms.application, ping=monitor.url))
        with settings_of(app):
            for run in (RESTORE_RUN, RUN, RUN):  # a restore is none, and what was told is told
                dag_run = SimpleNamespace(dag_id=run.dag_id, run_id=run.dag_run_id)
                ends(a_context(dag=SimpleNamespace(dag_id=run.dag_id), dag_run=dag_run))
    (heard,) = monitor.received
    assert heard.path.startswith("/fail?")
    assert words in heard.body.decode()
