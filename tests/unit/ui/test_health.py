"""When an application is safe, late, failing: against its schedule, in its own time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from glacier_provider.applications import PRESETS
from glacier_provider.applications.schedule import Schedule
from glacier_provider.ui.health import YEAR, Health, calendar, due_days, health_of

DAILY = Schedule("0 2 * * *", "UTC")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def health(
    schedule: Schedule = DAILY, *, hours_ago: float | None, ended: str | None = "complete", now: datetime = NOW
) -> Health:
    since = None if hours_ago is None else now - timedelta(hours=hours_ago)
    return health_of(schedule, now=now, complete_since=since, last_ended=ended)[0]


def test_the_backup_of_last_night_is_fresh() -> None:
    assert health(hours_ago=10) is Health.FRESH


def test_a_backup_that_is_dated_in_the_future_is_not_taken_for_that_of_last_night() -> None:
    assert health(hours_ago=-24 * 365) is Health.LATE
    assert health(hours_ago=-0.1) is Health.FRESH


def test_a_missed_night_is_late_and_says_since_when() -> None:
    word, since = health_of(DAILY, now=NOW, complete_since=NOW - timedelta(hours=34), last_ended="complete")
    assert (word, since) == (Health.LATE, datetime(2026, 11, 22, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    ("minutes_after_due", "expected"), [(1, Health.FRESH), (359, Health.FRESH), (361, Health.LATE)]
)
def test_a_backup_that_may_still_be_running_is_not_missed(minutes_after_due: int, expected: Health) -> None:
    now = datetime(2026, 11, 22, 2, tzinfo=UTC) + timedelta(minutes=minutes_after_due)
    assert health(now=now, hours_ago=24 + minutes_after_due / 60) is expected


def test_an_hourly_backup_is_late_after_half_an_hour() -> None:
    hourly = Schedule("@hourly", "UTC")
    assert health(hourly, hours_ago=1 + 20 / 60, now=NOW + timedelta(minutes=20)) is Health.FRESH
    assert health(hourly, hours_ago=1 + 40 / 60, now=NOW + timedelta(minutes=40)) is Health.LATE


def test_a_weekly_backup_is_fresh_for_a_week() -> None:
    weekly = Schedule("@weekly", "UTC")  # Sundays; NOW is one
    assert health(weekly, hours_ago=12) is Health.FRESH
    assert health(weekly, hours_ago=6.4 * 24, now=NOW + timedelta(days=6)) is Health.FRESH
    assert health(weekly, hours_ago=8 * 24) is Health.LATE


def test_a_failure_after_a_complete_backup_is_failing_even_when_nothing_is_late() -> None:
    assert health(hours_ago=10, ended="failed") is Health.FAILING


def test_without_a_complete_backup_nothing_is_safe() -> None:
    assert health(hours_ago=None, ended=None) is Health.NEVER
    assert health(hours_ago=None, ended="failed") is Health.FAILING


def test_by_hand_alone_nothing_is_ever_late() -> None:
    assert health(Schedule(None, "UTC"), hours_ago=10_000) is Health.UNSCHEDULED


def test_what_is_due_follows_the_applications_time_zone() -> None:
    berlin = Schedule("30 0 * * *", "Europe/Berlin")
    assert berlin.last_due(NOW) == datetime(2026, 11, 21, 23, 30, tzinfo=UTC)
    assert berlin.last_due(datetime(2026, 7, 1, 12, tzinfo=UTC)) == datetime(2026, 6, 30, 22, 30, tzinfo=UTC)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_of_applications_yaml_is_known(preset: str) -> None:
    due = Schedule(preset, "UTC").last_due(NOW)
    assert due is not None
    assert due <= NOW


def test_a_year_of_days_tells_complete_failed_missing_and_nothing_due() -> None:
    states = {date(2026, 11, 17): "complete", date(2026, 11, 18): "failed", date(2026, 11, 22): "running"}
    first = datetime(2026, 11, 17, 2, tzinfo=UTC)
    start, days = calendar(DAILY, states, first=first, now=NOW)
    assert start.weekday() == 0
    assert start + timedelta(days=len(days) - 1) == NOW.date()
    assert days.endswith("..cfmmmr")
    assert set(days[:-6]) == {"."}
    assert YEAR - 7 < len(days) <= YEAR


def test_today_is_not_missing_before_it_has_ended() -> None:
    _, days = calendar(DAILY, {}, first=NOW - timedelta(days=3), now=NOW)
    assert days.endswith("mm.")


def test_days_on_which_a_weekly_backup_is_not_due_are_not_missing() -> None:
    _, days = calendar(Schedule("@weekly", "UTC"), {}, first=NOW - timedelta(days=20), now=NOW)
    assert days[-21:].count("m") == 2


def test_due_days_of_a_frequent_schedule_are_one_a_day() -> None:
    found = due_days(Schedule("*/5 * * * *", "America/New_York"), date(2026, 3, 1), date(2026, 3, 31))
    assert len(found) == 31


def test_due_days_include_the_first_and_the_last() -> None:
    assert due_days(DAILY, date(2026, 1, 1), date(2026, 1, 2)) == {date(2026, 1, 1), date(2026, 1, 2)}
    assert due_days(Schedule(None, "UTC"), date(2026, 1, 1), date(2026, 1, 2)) == frozenset()


def test_a_paused_application_is_not_fresh_and_a_late_one_stays_late() -> None:
    known: dict[str, Any] = {"now": NOW, "last_ended": "complete", "paused": True}
    assert health_of(DAILY, complete_since=NOW - timedelta(hours=10), **known) == (Health.PAUSED, None)
    assert health_of(DAILY, complete_since=NOW - timedelta(days=3), **known)[0] is Health.LATE
    assert health_of(Schedule(None, "UTC"), complete_since=NOW, **known)[0] is Health.UNSCHEDULED


@pytest.mark.parametrize("schedule", [Schedule("@daily", "UTC"), Schedule(None, "UTC")])
def test_a_backup_without_unreadable_files_is_not_fresh(schedule: Schedule) -> None:
    found = health_of(schedule, now=NOW, complete_since=NOW, last_ended="complete", shortfalls=1)
    assert found == (Health.INCOMPLETE, None)
