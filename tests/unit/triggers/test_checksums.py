"""The trigger of a verification looks until no job is pending, and the sensor waits by it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from unittest import mock

import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferred

from glacier_provider.errors import ConfigurationError, StoreUnavailable
from glacier_provider.pipelines.verify import Checking
from glacier_provider.sensors.checksums import ChecksumSensor
from glacier_provider.triggers.checksums import ChecksumTrigger
from glacier_provider.triggers.glacier_job import DONE, ERROR, TIMEOUT
from tests.unit.operators.builders import SETTINGS, a_context

POLL = "glacier_provider.pipelines.verify.poll_checksums"
PENDING, OVER = Checking(1, 0), Checking(0, 1)


@pytest.fixture(autouse=True)
def resources() -> Any:
    with (
        mock.patch("glacier_provider.hooks.resources.Resources") as made,
        mock.patch("glacier_provider.sensors.checksums.Resources", made),
    ):
        yield made


def the_event(answers: list[Any], *, seconds: float = 60.0) -> dict[str, Any]:
    trigger = ChecksumTrigger(SETTINGS, 5, 0.01, time.time() + seconds)

    async def run() -> list[Any]:
        return [event async for event in trigger.run()]

    with mock.patch(POLL, side_effect=answers):
        (event,) = asyncio.run(asyncio.wait_for(run(), 60))
    return dict(event.payload)


def test_it_travels_as_its_class_and_its_arguments() -> None:
    path, arguments = json.loads(json.dumps(ChecksumTrigger(SETTINGS, 5, 300, 1_800_000_000.5).serialize()))
    assert path == "glacier_provider.triggers.checksums.ChecksumTrigger"
    assert ChecksumTrigger(**arguments).serialize() == (path, arguments)


@pytest.mark.parametrize(
    ("answers", "status"),
    [
        ([PENDING, StoreUnavailable("x"), PENDING, OVER], DONE),
        ([PENDING, ConfigurationError("x")], ERROR),
    ],
)
def test_it_looks_until_nothing_is_pending(answers: list[Any], status: str) -> None:
    assert the_event(answers)["status"] == status


def test_it_ends_when_the_time_is_over() -> None:
    assert the_event([PENDING] * 100, seconds=0.03)["status"] == TIMEOUT


def a_sensor(**settings: Any) -> ChecksumSensor:
    return ChecksumSensor(task_id="wait", application=SETTINGS, proof_id=5, poke_interval=60, timeout=600, **settings)


def test_the_sensor_defers_and_comes_back() -> None:
    with mock.patch(POLL, return_value=PENDING), pytest.raises(TaskDeferred) as deferred:
        a_sensor().execute(a_context())
    assert isinstance(deferred.value.trigger, ChecksumTrigger)
    assert deferred.value.trigger.proof_id == 5
    with mock.patch(POLL, return_value=OVER):
        a_sensor().execute(a_context())
        a_sensor().execute_complete(a_context(), {"status": DONE, "ends_at": 0.0})
    with pytest.raises(AirflowSensorTimeout, match="the next verification goes on with the same jobs"):
        a_sensor().execute_complete(a_context(), {"status": TIMEOUT, "ends_at": 0.0})


def test_a_look_that_passes_is_no_failure_of_the_sensor() -> None:
    with mock.patch(POLL, side_effect=StoreUnavailable("x")):
        assert a_sensor().poke(a_context()) is False
