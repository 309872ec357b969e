"""What is due, and from when on it is missed, where clocks are put on and back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from airflow.timetables.trigger import CronTriggerTimetable
from pendulum import instance, timezone

from glacier_provider.applications.schedule import GRACE, Schedule

#: Days around which clocks are put on or back somewhere.
CHANGES = [datetime(2026, month, day, 12, tzinfo=UTC) for month, day in ((3, 7), (3, 28), (4, 4), (10, 24), (10, 31))]
#: An expression, and a time zone in which that is a time that never comes, or comes twice.
SCHEDULES = [
    ("30 2 * * *", "Europe/Berlin"),
    ("0 2 * * 0", "Europe/Berlin"),
    ("15 */2 * * *", "Europe/Berlin"),
    ("*/30 * * * *", "Europe/Berlin"),
    ("0 1,2,3 * * *", "Europe/Berlin"),
    ("30 1 * * *", "America/New_York"),
    ("30 0 * * *", "America/Havana"),
    ("30 23 * * *", "America/Santiago"),
    ("45 1 * * *", "Australia/Lord_Howe"),
    ("@hourly", "Asia/Kathmandu"),
]


def starts_of_airflow(expression: str, zone: str, after: datetime, until: datetime) -> Iterator[datetime]:
    timetable, moment = CronTriggerTimetable(expression, timezone=timezone(zone)), instance(after)
    while (moment := timetable._get_next(moment)) <= until:
        yield moment.astimezone(UTC)


@pytest.mark.parametrize("change", CHANGES, ids=lambda day: f"{day:%m-%d}")
@pytest.mark.parametrize(("expression", "zone"), SCHEDULES)
def test_a_backup_is_due_when_airflow_starts_it(expression: str, zone: str, change: datetime) -> None:
    schedule, until = Schedule(expression, zone), change + timedelta(days=3)
    started = list(starts_of_airflow(expression, zone, change, until))
    due, moment = [], change
    while (moment := schedule.next_due(moment)) <= until:
        due.append(moment.astimezone(UTC))
    assert due == started
    looks = [change + timedelta(minutes=minutes) for minutes in range(0, 3 * 24 * 60, 30)]
    assert {last for look in looks if (last := schedule.last_due(look)) and last > change} == {
        start for start in started if start <= looks[-1]
    }


@pytest.mark.parametrize(("expression", "zone"), [("0 2 * * *", "Europe/Berlin"), ("30 1 * * *", "America/New_York")])
def test_a_backup_is_not_missed_sooner_before_the_clocks_go_back(expression: str, zone: str) -> None:
    schedule = Schedule(expression, zone)
    looks = [datetime(2026, 10, 20, tzinfo=UTC) + timedelta(minutes=minutes) for minutes in range(0, 15 * 24 * 60, 20)]
    assert {schedule.grace(look) for look in looks} == {GRACE}


def test_nor_is_one_of_a_schedule_of_minutes() -> None:
    looks = [datetime(2026, 10, 25, tzinfo=UTC) + timedelta(minutes=minutes) for minutes in range(180)]
    assert {Schedule("*/30 * * * *", "Europe/Berlin").grace(look) for look in looks} == {timedelta(minutes=15)}
