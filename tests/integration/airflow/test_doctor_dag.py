"""The DAG `glacier_doctor__<application>`, run by Airflow: a worker's findings are what its task returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from glacier_provider.applications import Application
from glacier_provider.hooks.doctor import examine_airflow
from glacier_provider.operators.doctor_steps import ExamineOperator
from glacier_provider.ui.access import AirflowScheduler
from tests.support.airflow import initialise_airflow, run_dag, settings_of
from tests.support.application import ApplicationUnderTest
from tests.unit.operators.builders import a_context


@pytest.mark.slow
def test_what_a_worker_finds_is_told_to_the_page(dms: ApplicationUnderTest) -> None:
    dms.catalog.migrate()
    dms.s3.client().delete_bucket_lifecycle(Bucket=dms.bucket)
    assert run_dag(dms, "doctor").state == "success"
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        (run_id,) = session.query(DagRun.run_id).filter(DagRun.dag_id == "glacier_doctor__dms").all()[-1]
    told = AirflowScheduler().returned("glacier_doctor__dms", run_id, "examine")
    named = {one["about"]: one for one in told["findings"]}
    assert named["bucket lifecycle"]["judgement"] == "doubtful"
    assert named["permission s3:PutObject"]["judgement"] == "well"
    assert told["well"] > 5
    assert not {"Airflow", "scheduler", "pool"} & set(named)  # these the API server sees
    assert AirflowScheduler().returned("glacier_doctor__dms", "no such run", "examine") is None


@pytest.mark.slow
def test_tasks_that_no_worker_takes_name_their_queue(dms: ApplicationUnderTest) -> None:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    dms.catalog.migrate()
    assert run_dag(dms, "doctor").state == "success"

    def queued(ago: timedelta) -> list[str]:
        with create_session() as session:
            mine = session.query(TaskInstance).filter(TaskInstance.dag_id == "glacier_doctor__dms")
            mine.update({"state": "queued", "queue": "files_of_dms", "queued_dttm": datetime.now(UTC) - ago})
        found = [one for one in examine_airflow(dms.application) if one.about == "queue"]
        return [f"{one.judgement.value}: {one.told} {one.mend}" for one in found]

    assert queued(timedelta(seconds=30)) == []
    (told,) = queued(timedelta(minutes=5))
    assert told.startswith("wrong: tasks have waited for a worker of the queue files_of_dms for more than 2 minutes")
    assert "airflow celery worker -q files_of_dms" in told


@pytest.fixture
def metadata(dms: ApplicationUnderTest) -> Iterator[Callable[..., None]]:
    """Adds rows to Airflow's own database, or changes those that it added; they are gone at the end."""
    from airflow.utils.session import create_session

    initialise_airflow()
    added: list[Any] = []

    def add(*rows: Any, **changes: Any) -> None:
        with create_session() as session:
            session.expire_on_commit = False
            added[:] = [*(session.merge(one) for one in added), *rows]
            session.add_all(rows)
            for one in added:
                for name in changes.keys() & set(vars(type(one))):
                    setattr(one, name, changes[name])

    yield add
    with create_session() as session:
        for one in reversed(added):
            session.delete(session.merge(one))
            session.flush()


@pytest.mark.slow
def test_a_paused_dag_is_wrong_where_it_is_to_run_by_itself(
    dms: ApplicationUnderTest, metadata: Callable[..., None]
) -> None:
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel

    def judged(schedule: str | None) -> list[str]:
        application = replace(dms.application, name="doctored", schedule=schedule)
        return [one.judgement.value for one in examine_airflow(application) if one.about.startswith("DAG ")]

    assert judged("@daily") == ["wrong", "wrong"]  # Airflow knows neither
    metadata(DagBundleModel(name="doctored"))
    for kind in ("backup", "restore"):
        metadata(DagModel(dag_id=f"glacier_{kind}__doctored", bundle_name="doctored", is_paused=True, is_stale=False))
    assert judged("@daily") == ["wrong", "doubtful"]
    assert judged(None) == ["doubtful", "doubtful"]
    metadata(is_paused=False)
    assert judged("@daily") == ["well", "well"]
    metadata(is_stale=True)
    assert judged("@daily") == ["wrong", "wrong"]  # its file is gone


@pytest.mark.slow
def test_nobody_is_called_by_a_dag_of_alerts_that_is_paused(
    dms: ApplicationUnderTest, metadata: Callable[..., None]
) -> None:
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel

    application = Application.from_dict({**dms.application.to_dict(), "alerts": "ops@example.com"})

    def told() -> list[str]:
        return [one.told for one in examine_airflow(application) if one.about == "DAG glacier_alerts"]

    assert told() == ["Airflow does not know it"]
    metadata(DagBundleModel(name="doctored"))
    metadata(DagModel(dag_id="glacier_alerts", bundle_name="doctored", is_paused=True, is_stale=False))
    assert told() == ["it is paused"]
    metadata(is_paused=False)
    assert told() == ["Airflow knows it, and it is not paused"]


@pytest.mark.slow
def test_a_process_is_alive_whose_heart_beats(dms: ApplicationUnderTest, metadata: Callable[..., None]) -> None:
    from airflow.jobs.job import Job

    def dead() -> list[str]:
        found = [one for one in examine_airflow(dms.application) if one.about in ("scheduler", "triggerer")]
        return [one.about for one in found if one.judgement.value == "wrong"]

    now = datetime.now(UTC)
    for number, kind in enumerate(("SchedulerJob", "TriggererJob")):
        metadata(Job(id=9000 + number, job_type=kind, state="running", latest_heartbeat=now))
    assert dead() == []
    metadata(latest_heartbeat=now - timedelta(minutes=5))
    assert dead() == ["scheduler", "triggerer"]
    metadata(latest_heartbeat=now, state="success")
    assert dead() == ["scheduler", "triggerer"]


@pytest.mark.slow
def test_the_pool_has_to_be_that_of_the_application(dms: ApplicationUnderTest, metadata: Callable[..., None]) -> None:
    from airflow.models.pool import Pool

    def missing(pool: str | None) -> list[str]:
        return [one.told for one in examine_airflow(replace(dms.application, pool=pool)) if one.about == "pool"]

    assert missing(None) == []
    metadata(Pool(pool="another", slots=1, include_deferred=False))
    (told,) = missing("files")
    assert told.startswith("there is no pool files")
    metadata(Pool(pool="files", slots=1, include_deferred=False))
    assert missing("files") == []


@pytest.mark.slow
def test_a_backup_that_failed_where_tasks_run_is_told_though_all_is_well_here(dms: ApplicationUnderTest) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    dms.catalog.migrate()
    dms.s3.deny(dms.bucket)
    try:
        assert run_dag(dms, "backup").state == "failed"
    finally:
        dms.s3.allow(dms.bucket)
    with create_session() as session:  # run for a test, a DAG's run gets no end
        session.query(DagRun).filter(DagRun.dag_id == "glacier_backup__dms", DagRun.end_date.is_(None)).update(
            {"end_date": datetime.now(UTC)}
        )
    (told,) = [one for one in examine_airflow(dms.application) if "its last run" in one.told]
    assert told.about == "DAG glacier_backup__dms"
    assert "failed in open_backup" in told.told
    assert "log" in told.mend


def test_the_task_says_what_is_wrong_and_does_not_fail(dms: ApplicationUnderTest) -> None:
    with settings_of(dms):
        task = ExamineOperator(task_id="examine", application="dms")
        dms.s3.deny(dms.bucket)
        try:
            found = task.execute(a_context(task))
        finally:
            dms.s3.allow(dms.bucket)
    counted = Counter(one["judgement"] for one in found["findings"])
    assert {kind: found[kind] for kind in ("wrong", "doubtful", "well")} == {
        kind: counted[kind] for kind in ("wrong", "doubtful", "well")
    }
    assert found["wrong"] >= 1
    assert not {"Airflow", "scheduler", "triggerer"} & {one["about"] for one in found["findings"]}
    assert any("AccessDenied" in one["told"] for one in found["findings"])
