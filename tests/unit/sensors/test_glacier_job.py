"""The sensor waits for all retrievals of a restore, in each of Airflow's ways to wait."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    TaskDeferred,
)

from glacier_provider.sensors.glacier_job import GlacierJobSensor
from glacier_provider.triggers.glacier_job import DONE, ERROR, TIMEOUT, GlacierJobTrigger
from tests.unit.operators.builders import a_context
from tests.unit.sensors.waiting import WaitingRestore

MISSING = r"2 archives \(.* kB\) are still pending: dms-1.dump \(Standard since .* UTC\), doc2.pdf \(Standard since"
NOW = 1_800_000_000.0


def a_sensor(waiting: WaitingRestore, **settings: Any) -> GlacierJobSensor:
    given = {"application": "dms", "restore_id": waiting.restore_id, "poke_interval": 60, "timeout": 600, **settings}
    return GlacierJobSensor(task_id="wait_for_retrievals", **given)


def an_event(status: str, waiting: WaitingRestore) -> dict[str, Any]:
    return {"status": status, "restore_id": waiting.restore_id, "ends_at": NOW}


# --- what a sensor holds -------------------------------------------------------------------------------------------


def test_arguments_are_kept_as_they_were_given() -> None:
    sensor = GlacierJobSensor(task_id="x", application="{{ a }}", restore_id="{{ r }}", deferrable=False)  # type: ignore[arg-type]
    assert (sensor.application, sensor.restore_id, sensor.deferrable) == ("{{ a }}", "{{ r }}", False)
    assert set(GlacierJobSensor.template_fields) == {"application", "restore_id"}
    assert all(hasattr(sensor, name) for name in GlacierJobSensor.template_fields)


def test_a_sensor_defers_unless_told_otherwise() -> None:
    assert GlacierJobSensor(task_id="x", application="dms", restore_id=1).deferrable is True


# --- one look ------------------------------------------------------------------------------------------------------


def test_a_look_tells_whether_everything_can_be_read(waiting: WaitingRestore) -> None:
    sensor = a_sensor(waiting)
    assert sensor.poke(a_context()) is False
    waiting.an_hour_passes()
    assert sensor.poke(a_context()) is True


def test_ids_may_come_as_text_and_the_application_in_place(waiting: WaitingRestore) -> None:
    waiting.an_hour_passes()
    assert a_sensor(waiting, restore_id=str(waiting.restore_id), application=waiting.settings).poke(a_context()) is True


def test_a_retrieval_that_failed_ends_the_wait_by_name(waiting: WaitingRestore) -> None:
    waiting.lose("doc2.pdf")
    with pytest.raises(AirflowFailException, match=r"^ArchiveMissing: The file doc2\.pdf of backup 1 .*without_lost"):
        a_sensor(waiting).poke(a_context())


def test_a_store_that_denies_ends_the_wait(waiting: WaitingRestore) -> None:
    waiting.deny()
    with pytest.raises(AirflowFailException, match="StoreDenied: "):
        a_sensor(waiting).poke(a_context())


def test_an_unknown_application_ends_the_wait(waiting: WaitingRestore) -> None:
    with pytest.raises(AirflowFailException, match="ConfigurationError: There is no application 'shop'"):
        a_sensor(waiting, application="shop").poke(a_context())


@pytest.fixture
def unreachable_catalog(waiting: WaitingRestore, monkeypatch: pytest.MonkeyPatch) -> WaitingRestore:
    monkeypatch.setenv("AIRFLOW_CONN_GLACIER_CATALOG", "postgres://glacier:geheim@127.0.0.1:1/catalog")
    return waiting


def test_what_cannot_be_reached_just_now_is_waited_for(unreachable_catalog: WaitingRestore) -> None:
    """A wait takes half a day: a server that is away for a minute must not use up the task's tries."""
    sensor = a_sensor(unreachable_catalog)
    with mock.patch.object(sensor.log, "warning") as warned:
        assert sensor.poke(a_context()) is False
    said = warned.call_args.args[0] % warned.call_args.args[1:]
    assert "127.0.0.1:1" in said
    assert "geheim" not in said


# --- waiting in a worker -------------------------------------------------------------------------------------------


def test_in_poke_mode_it_waits_until_everything_can_be_read(waiting: WaitingRestore) -> None:
    sensor = a_sensor(waiting, deferrable=False, mode="poke")
    with mock.patch("airflow.sdk.bases.sensor.time", wraps=time) as clock:
        clock.sleep.side_effect = lambda _: waiting.an_hour_passes()
        assert sensor.execute(a_context()) is None
    clock.sleep.assert_called_once_with(60)


def test_in_poke_mode_the_timeout_says_what_is_missing(waiting: WaitingRestore) -> None:
    with pytest.raises(AirflowSensorTimeout, match=rf"^The time of 0 s is over; {MISSING}"):
        a_sensor(waiting, deferrable=False, mode="poke", timeout=0).execute(a_context())


def rescheduled(first: datetime | None) -> Any:
    return a_context(ti=SimpleNamespace(get_first_reschedule_date=lambda _: first))


def test_in_reschedule_mode_it_leaves_its_worker(waiting: WaitingRestore) -> None:
    sensor = a_sensor(waiting, deferrable=False, mode="reschedule")
    with pytest.raises(AirflowRescheduleException) as caught:
        sensor.execute(rescheduled(None))
    assert caught.value.reschedule_date > datetime.now(UTC)
    waiting.an_hour_passes()
    assert sensor.execute(rescheduled(datetime.now(UTC))) is None


def test_in_reschedule_mode_the_timeout_says_what_is_missing(waiting: WaitingRestore) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1)
    with pytest.raises(AirflowSensorTimeout, match=rf"^The time of 600 s is over; {MISSING}"):
        a_sensor(waiting, deferrable=False, mode="reschedule").execute(rescheduled(long_ago))


# --- waiting in the triggerer --------------------------------------------------------------------------------------


def test_it_defers_to_a_trigger_for_the_whole_restore(waiting: WaitingRestore) -> None:
    with mock.patch("glacier_provider.sensors.glacier_job.time", spec=time) as clock:
        clock.time.return_value = NOW
        with pytest.raises(TaskDeferred) as caught:
            a_sensor(waiting).execute(a_context())
    trigger = caught.value.trigger
    assert isinstance(trigger, GlacierJobTrigger)
    assert trigger.serialize()[1] == {
        # The file of applications, as the worker reads it: the triggerer need not have it.
        "application": {**waiting.settings, "poll_seconds": 1},
        "restore_id": waiting.restore_id,
        "poll_seconds": 60,
        "ends_at": NOW + 600,
    }
    assert caught.value.method_name == "execute_complete"
    assert caught.value.timeout is None


def test_it_does_not_defer_when_everything_can_be_read(waiting: WaitingRestore) -> None:
    waiting.an_hour_passes()
    assert a_sensor(waiting).execute(a_context()) is None


def test_it_defers_also_when_the_catalog_cannot_be_reached_just_now(unreachable_catalog: WaitingRestore) -> None:
    with pytest.raises(TaskDeferred):
        a_sensor(unreachable_catalog).execute(a_context())


def test_it_comes_back_when_everything_can_be_read(waiting: WaitingRestore) -> None:
    waiting.an_hour_passes()
    assert a_sensor(waiting).execute_complete(a_context(), an_event(DONE, waiting)) is None


@pytest.mark.parametrize("status", [DONE, ERROR])
def test_it_waits_on_when_the_catalog_says_otherwise_and_not_longer_than_before(
    waiting: WaitingRestore, status: str
) -> None:
    """The first may be an offer that ended meanwhile, the second a connection that was mended meanwhile."""
    with pytest.raises(TaskDeferred) as caught:
        a_sensor(waiting).execute_complete(a_context(), an_event(status, waiting))
    assert caught.value.trigger.serialize()[1]["ends_at"] == NOW


def test_what_the_store_lost_is_raised_by_name(waiting: WaitingRestore) -> None:
    waiting.lose("doc2.pdf")
    with pytest.raises(AirflowFailException, match=r"^ArchiveMissing: The file doc2\.pdf of backup 1 is in no store"):
        a_sensor(waiting).execute_complete(a_context(), an_event(ERROR, waiting))


def test_a_timeout_says_what_is_missing(waiting: WaitingRestore) -> None:
    with pytest.raises(AirflowSensorTimeout, match=rf"^The time of 600 s is over; {MISSING}"):
        a_sensor(waiting).execute_complete(a_context(), an_event(TIMEOUT, waiting))


def test_an_error_of_the_trigger_is_raised_with_its_type(waiting: WaitingRestore) -> None:
    waiting.deny()
    with pytest.raises(AirflowFailException, match="StoreDenied: "):
        a_sensor(waiting).execute_complete(a_context(), an_event(ERROR, waiting))
