"""The trigger looks until nothing is pending, and never keeps the triggerer's other triggers waiting."""

from __future__ import annotations

import asyncio
import importlib
import json
import threading
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from airflow.triggers.base import TriggerEvent

from glacier_provider.triggers.glacier_job import DONE, ERROR, TIMEOUT, GlacierJobTrigger
from tests.emulator.faults import FaultKind
from tests.unit.operators.builders import SETTINGS
from tests.unit.sensors.waiting import WaitingRestore

SECONDS = 60.0  # more than any test here takes


def a_trigger(waiting: WaitingRestore, *, seconds: float = SECONDS) -> GlacierJobTrigger:
    return GlacierJobTrigger(waiting.settings, waiting.restore_id, 0.01, time.time() + seconds)


def the_event(trigger: GlacierJobTrigger) -> dict[str, Any]:
    """Run a trigger to its first event, which has to be its last."""

    async def run() -> list[TriggerEvent]:
        return [event async for event in trigger.run()]

    (event,) = asyncio.run(asyncio.wait_for(run(), SECONDS))
    return dict(event.payload)


def the_event_after(trigger: GlacierJobTrigger, change: Callable[[], object]) -> dict[str, Any]:
    """Run a trigger; once it has looked and found nothing, change something."""
    looked = trigger._look

    def look() -> str | None:
        status = looked()
        if status is None:
            change()
        return status

    with mock.patch.object(trigger, "_look", side_effect=look) as looking:
        event = the_event(trigger)
    assert looking.call_count >= 2
    return event


# --- what travels to the triggerer ---------------------------------------------------------------------------------


def test_a_trigger_is_serialized_as_its_class_and_its_arguments() -> None:
    trigger = GlacierJobTrigger(SETTINGS, 5, 300, 1_800_000_000.5)
    assert trigger.serialize() == (
        "glacier_provider.triggers.glacier_job.GlacierJobTrigger",
        {"application": SETTINGS, "restore_id": 5, "poll_seconds": 300, "ends_at": 1_800_000_000.5},
    )


def test_a_trigger_is_made_again_from_what_travelled() -> None:
    sent = GlacierJobTrigger(SETTINGS, 5, 300, 1_800_000_000.5)
    path, arguments = json.loads(json.dumps(sent.serialize()))
    module, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(module), name)(**arguments).serialize() == sent.serialize()


# --- how it ends ---------------------------------------------------------------------------------------------------


def test_it_ends_when_everything_can_be_read(waiting: WaitingRestore) -> None:
    trigger = a_trigger(waiting)
    event = the_event_after(trigger, waiting.an_hour_passes)
    assert event == {"status": DONE, "restore_id": waiting.restore_id, "ends_at": trigger.ends_at}


def test_an_event_is_plain_and_tells_no_more_than_ids(waiting: WaitingRestore) -> None:
    waiting.an_hour_passes()
    event = the_event(a_trigger(waiting))
    assert json.loads(json.dumps(event)) == event
    assert set(event) == {"status", "restore_id", "ends_at"}


def test_it_ends_when_the_store_lost_what_is_waited_for(waiting: WaitingRestore) -> None:
    """A worker then says which file it is."""
    assert the_event_after(a_trigger(waiting), lambda: waiting.lose("doc2.pdf"))["status"] == ERROR


def test_it_ends_when_its_time_is_over(waiting: WaitingRestore) -> None:
    assert the_event(a_trigger(waiting, seconds=-1))["status"] == TIMEOUT


def test_it_looks_once_more_before_its_time_is_over(waiting: WaitingRestore) -> None:
    waiting.an_hour_passes()
    assert the_event(a_trigger(waiting, seconds=-1))["status"] == DONE


def test_it_ends_on_an_error_that_lasts(waiting: WaitingRestore) -> None:
    assert the_event_after(a_trigger(waiting), waiting.deny)["status"] == ERROR


def test_a_connection_that_is_gone_is_an_error_that_lasts(
    waiting: WaitingRestore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_GLACIER_CATALOG")
    assert the_event(a_trigger(waiting))["status"] == ERROR


# --- what it outlasts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.RESET_BEFORE])
def test_a_store_that_is_busy_is_waited_for(waiting: WaitingRestore, kind: FaultKind) -> None:
    waiting.an_hour_passes()
    plan = waiting.app.s3.plan
    for operation in ("HeadObject", "ListObjectsV2"):
        plan.inject(operation, kind)
    with mock.patch("botocore.endpoint.time", wraps=time) as clock:
        clock.sleep.side_effect = lambda _: None  # nobody waits for botocore's pauses
        assert the_event_after(a_trigger(waiting), plan.clear)["status"] == DONE


def test_a_catalog_that_is_away_is_waited_for(waiting: WaitingRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting.an_hour_passes()
    with monkeypatch.context() as away:
        away.setenv("AIRFLOW_CONN_GLACIER_CATALOG", "postgres://glacier@127.0.0.1:1/catalog")
        assert the_event_after(a_trigger(waiting), away.undo)["status"] == DONE


def test_a_catalog_that_stays_away_ends_with_the_time(waiting: WaitingRestore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_GLACIER_CATALOG", "postgres://glacier@127.0.0.1:1/catalog")
    assert the_event(a_trigger(waiting, seconds=-1))["status"] == TIMEOUT


# --- its neighbours ------------------------------------------------------------------------------------------------


def test_other_triggers_go_on_while_it_looks() -> None:
    """psycopg and boto3 block; the loop of the triggerer must not."""
    looking, seen = threading.Event(), threading.Event()

    def look(_: GlacierJobTrigger) -> str:
        looking.set()
        assert seen.wait(SECONDS)  # only a neighbour on the same loop can end this look
        return DONE

    async def neighbour() -> None:
        while not looking.is_set():
            await asyncio.sleep(0.005)
        seen.set()

    async def both() -> Any:
        trigger = GlacierJobTrigger(SETTINGS, 5, 0.01, time.time() + SECONDS)
        event, _ = await asyncio.gather(anext(trigger.run()), neighbour())
        return event.payload["status"]

    with mock.patch.object(GlacierJobTrigger, "_look", autospec=True, side_effect=look):
        assert asyncio.run(asyncio.wait_for(both(), SECONDS)) == DONE


def test_a_look_comes_after_each_interval_and_the_last_at_the_end() -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    now = [1000.0]
    with (
        mock.patch.object(GlacierJobTrigger, "_look", autospec=True, return_value=None),
        mock.patch("glacier_provider.triggers.glacier_job.time", spec=time) as clock,
        mock.patch("glacier_provider.triggers.glacier_job.asyncio", wraps=asyncio) as loop,
    ):
        clock.time.side_effect = lambda: now[0]
        loop.sleep.side_effect = sleep
        assert the_event(GlacierJobTrigger(SETTINGS, 5, 300, 1700.0))["status"] == TIMEOUT
    assert pauses == [300, 300, 100]


def test_a_trigger_can_be_taken_away() -> None:
    async def run() -> None:
        task = asyncio.ensure_future(anext(GlacierJobTrigger(SETTINGS, 5, 600, time.time() + 600).run()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(run(), SECONDS))
