"""A backup that is not over in time calls people by Airflow's own deadline, without a worker."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models.dagrun import DagRun
from airflow.models.deadline import Deadline
from airflow.models.serialized_dag import SerializedDagModel
from airflow.triggers.callback import CallbackTrigger
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select

from glacier_provider.applications import Application
from tests.support.airflow import settings_of
from tests.support.application import ApplicationUnderTest, Make
from tests.support.backups import a_backup_row, ago
from tests.support.clean_environment import DAGS
from tests.support.receivers import a_web_receiver

BACKUP = "glacier_backup__dms"


def parsed() -> Any:
    """Parse the backup DAG, and hand it to Airflow's database as the DAG processor does."""
    bag = DagBag(str(DAGS / "glacier_backup.py"))
    assert not bag.import_errors, bag.import_errors
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
    return bag.dags[BACKUP]


def a_queued_run(now: datetime) -> str:
    """Have Airflow make a run of the DAG, as the scheduler does; return its id."""
    with create_session() as session:
        dag = SerializedDagModel.get_dag(BACKUP, session=session)
        assert dag is not None
        run = dag.create_dagrun(
            run_id=f"manual__{now:%H%M%S%f}",
            run_after=now,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.QUEUED,
            session=session,
        )
        return str(run.run_id)


def missed(run_id: str) -> tuple[timedelta, list[Any]]:
    """Return how long after the run was queued its deadline is, and what the triggerer gets of it once it is missed:
    the events of its trigger.
    """
    with create_session() as session:
        run = session.scalars(select(DagRun).where(DagRun.run_id == run_id)).one()
        (deadline,) = session.scalars(select(Deadline).where(Deadline.dagrun_id == run.id)).all()
        deadline.handle_miss(session)
        session.flush()
        data = dict(deadline.callback.data)
        length = deadline.deadline_time - run.queued_at

    async def of_trigger() -> list[Any]:
        trigger = CallbackTrigger(callback_path=data["path"], callback_kwargs=dict(data["kwargs"]))
        return [event.payload async for event in trigger.run()]

    return length, asyncio.run(of_trigger())


def calling(app: ApplicationUnderTest, **alerts: Any) -> ApplicationUnderTest:
    return replace(app, application=Application.from_dict({**app.application.to_dict(), "alerts": alerts}))


def test_a_backup_that_is_not_over_in_time_calls_people_without_a_worker(make_application: Make) -> None:
    app = make_application(schedule="@daily")
    app.catalog.migrate()
    a_backup_row(app.catalog_server, "dms", "complete", ago(days=9))
    with a_web_receiver() as web, settings_of(calling(app, to=[f"{web.url}/ops"])):
        parsed()
        run_id = a_queued_run(datetime.now(UTC))
        length, events = missed(run_id)
        assert length == timedelta(hours=6)
        assert [str(getattr(one["state"], "value", one["state"])) for one in events] == ["running", "success"], events
        assert [one.json["event"] for one in web.received] == ["backup_late"]
        assert web.received[0].json["told"].startswith("the last complete backup is 9 days old")
        _, events = missed(a_queued_run(datetime.now(UTC)))
        assert len(web.received) == 1, "nobody is told twice of the same"


@pytest.mark.parametrize("alerts", [{}, {"to": ["ops@example.com"], "on": ["backup_failed"]}])
def test_who_is_not_to_be_called_of_a_late_backup_has_no_deadline(
    make_application: Make, alerts: dict[str, Any]
) -> None:
    with settings_of(calling(make_application(), **alerts)):
        assert not parsed().deadline


def test_the_deadline_is_no_other_when_the_dag_is_parsed_again(make_application: Make) -> None:
    """Another would be another version of the DAG each time."""
    with settings_of(calling(make_application(schedule="7 */6 * * 1-5"), to=["ops@example.com"])):
        first, again = parsed(), parsed()
        assert first.deadline == again.deadline
        with create_session() as session:
            kept = SerializedDagModel.get(BACKUP, session=session)
            assert kept is not None
            assert kept.dag_version.version_number == 1 or first.deadline
