"""A retention rule lets backups go, and says of the others why they stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.core.retention import Judged, Retention, apply_rule
from glacier_provider.core.status import BackupState

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
COMPLETE, FAILED = BackupState.COMPLETE, BackupState.FAILED
Backups = list[tuple[int, BackupState, datetime]]


def a_year(days: int = 365) -> Backups:
    """A backup for each of the last days, the last one taken today at two."""
    first = NOW.replace(hour=2) - timedelta(days=days - 1)
    return [(number + 1, COMPLETE, first + timedelta(days=number)) for number in range(days)]


def kept(judged: list[Judged]) -> list[int]:
    return [one.backup_id for one in judged if not one.may_go]


def test_without_a_rule_everything_stays_and_says_so() -> None:
    judged = apply_rule(a_year(3), Retention(), now=NOW)
    assert [one.reasons for one in judged] == [("there is no retention rule",)] * 3


def test_the_last_ones_stay() -> None:
    assert kept(apply_rule(a_year(), Retention(keep_last=3), now=NOW)) == [365, 364, 363]


def test_the_newest_of_each_day_week_month_and_year_stays() -> None:
    rule = Retention(keep_daily=2, keep_weekly=2, keep_monthly=2, keep_yearly=2)
    judged = apply_rule(a_year(), rule, now=NOW)
    dates = {a_year()[number - 1][2].date().isoformat() for number in kept(judged)}
    assert dates == {"2026-11-22", "2026-11-21", "2026-11-15", "2026-10-31", "2025-12-31"}


def test_young_ones_stay() -> None:
    assert kept(apply_rule(a_year(), Retention(keep_days=2), now=NOW)) == [365, 364]


@pytest.mark.parametrize("now", [NOW, NOW + timedelta(days=4000)], ids=["now", "a clock that is years ahead"])
def test_what_was_young_when_the_last_backup_was_made_stays_whatever_the_clock_says(now: datetime) -> None:
    backups: Backups = [(n, COMPLETE, NOW - timedelta(days=100 - n)) for n in range(1, 11)]
    assert kept(apply_rule(backups, Retention(keep_days=5), now=now)) == [10, 9, 8, 7, 6]


def test_a_backup_of_a_clock_that_was_years_ahead_makes_no_other_one_old() -> None:
    backups: Backups = [(1, COMPLETE, NOW), (2, COMPLETE, NOW + timedelta(days=4000))]
    assert kept(apply_rule(backups, Retention(keep_days=5), now=NOW)) == [2, 1]


def test_days_are_those_of_the_time_zone_that_the_times_are_given_in() -> None:
    times = [datetime(2026, 11, 20, 22, 30, tzinfo=UTC), datetime(2026, 11, 20, 23, 30, tzinfo=UTC)]
    rule = Retention(keep_daily=5)
    berlin = ZoneInfo("Europe/Berlin")
    for zone, count in ((UTC, 1), (berlin, 2)):
        backups: Backups = [(n + 1, COMPLETE, at.astimezone(zone)) for n, at in enumerate(times)]
        assert len(kept(apply_rule(backups, rule, now=NOW))) == count


def test_failed_ones_do_not_count_and_may_go_once_a_complete_one_came_after_them() -> None:
    at = NOW - timedelta(days=1)
    backups: Backups = [(1, COMPLETE, at), (2, FAILED, at), (3, COMPLETE, at), (4, FAILED, at)]
    judged = {one.backup_id: one for one in apply_rule(backups, Retention(keep_last=2), now=NOW)}
    assert [number for number, one in judged.items() if one.may_go] == [2]
    assert judged[4].reasons == ("no complete backup came after it yet",)


def test_the_newest_complete_backup_stays_also_when_no_other_rule_keeps_it() -> None:
    backups: Backups = [(1, COMPLETE, NOW - timedelta(days=50)), (2, COMPLETE, NOW - timedelta(days=40))]
    judged = apply_rule(backups, Retention(keep_days=7), now=NOW)
    assert [(one.backup_id, one.reasons) for one in judged] == [(2, ("it is the newest complete backup",)), (1, ())]


@given(
    states=st.lists(st.sampled_from([COMPLETE, FAILED]), max_size=40),
    figures=st.fixed_dictionaries({name: st.integers(0, 4) for name in Retention.__dataclass_fields__}),
)
def test_the_newest_complete_backup_always_stays(states: list[BackupState], figures: dict[str, int]) -> None:
    backups: Backups = [(n + 1, state, NOW - timedelta(days=40 - n)) for n, state in enumerate(states)]
    judged = apply_rule(backups, Retention(**figures), now=NOW)
    assert [one.backup_id for one in judged] == sorted((number for number, _, _ in backups), reverse=True)
    complete = [number for number, state, _ in backups if state is COMPLETE]
    if complete:
        assert max(complete) in kept(judged)
