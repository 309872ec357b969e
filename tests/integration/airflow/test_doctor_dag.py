"""The DAG `glacier_doctor__<application>`, run by Airflow: a worker's findings are what its task returns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from glacier_provider.hooks.doctor import examine_airflow
from glacier_provider.operators.doctor_steps import ExamineOperator
from glacier_provider.ui.access import AirflowScheduler
from tests.support.airflow import run_dag, settings_of
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


def test_the_task_says_what_is_wrong_and_does_not_fail(dms: ApplicationUnderTest) -> None:
    with settings_of(dms):
        task = ExamineOperator(task_id="examine", application="dms")
        dms.s3.deny(dms.bucket)
        try:
            found = task.execute(a_context(task))
        finally:
            dms.s3.allow(dms.bucket)
    assert found["wrong"] >= 1
    assert any("AccessDenied" in one["told"] for one in found["findings"])
