"""When nothing runs any more a monitor outside calls, by its own rule and clock; itself it is in no backup's way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from glacier_provider.hooks import ping
from tests.support.airflow import run_dag
from tests.support.application import ApplicationUnderTest
from tests.support.monitor import Monitor, a_monitor, next_midnight


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    with a_monitor() as one:
        yield one


def watched(dms: ApplicationUnderTest, monitor: Monitor) -> ApplicationUnderTest:
    return replace(dms, application=replace(dms.application, ping=monitor.url))


@pytest.mark.slow
def test_a_scheduler_that_stopped_is_an_alarm_within_the_schedule_and_two_hours(
    dms: ApplicationUnderTest, monitor: Monitor
) -> None:
    assert run_dag(watched(dms, monitor), "backup").state == "success"
    assert [what for what, _ in monitor.heard] == ["start", "success"]
    due = next_midnight(monitor.now)  # and from here on nothing runs
    monitor.turn_to(due + timedelta(hours=1, minutes=58))
    assert monitor.called == []
    monitor.turn_to(due + timedelta(hours=2, minutes=2))
    ((at, why),) = monitor.called
    assert due < at <= due + timedelta(hours=2, minutes=2)
    assert why.startswith("no success since")
    monitor.turn_to(due + timedelta(days=2))
    assert len(monitor.called) == 1


@pytest.mark.slow
def test_a_backup_that_fails_is_an_alarm_at_once_and_one_that_comes_on_time_is_none(
    dms: ApplicationUnderTest, monitor: Monitor
) -> None:
    app = watched(dms, monitor)
    assert run_dag(app, "backup").state == "success"
    monitor.turn_to(next_midnight(monitor.now) + timedelta(minutes=5))
    assert run_dag(app, "backup").state == "success"
    assert monitor.called == []
    broken = replace(app, application=replace(app.application, files_directory=f"{app.files}-x"))
    assert run_dag(broken, "backup").state == "failed"
    assert [why for _, why in monitor.called] == ["it told that it failed"]


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", 500, "refused"])
def test_a_monitor_that_hangs_or_fails_does_a_backup_no_harm(
    dms: ApplicationUnderTest, monitor: Monitor, fault: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ping, "PING_SECONDS", 2.0)
    monitor.fault = fault
    app = watched(dms, monitor)
    if fault == "refused":
        app = replace(app, application=replace(app.application, ping="http://127.0.0.1:1/x"))
    began = time.monotonic()
    assert run_dag(app, "backup").state == "success"
    assert app.catalog.lists.backups("dms")[0]["state"] == "complete"
    assert time.monotonic() - began < 200  # of which its two pings took four seconds
