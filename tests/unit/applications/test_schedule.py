"""When something is due, how long it has, and from when on it is missed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from glacier_provider.applications import Application
from glacier_provider.applications.schedule import GRACE, Schedule, proofs_due, proofs_missed
from glacier_provider.core.proof import ProofKind
from tests.unit.operators.builders import SETTINGS

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)  # a Sunday
MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC)
LONG_AGO = datetime(2026, 2, 1, tzinfo=UTC)
VERIFICATION, DRILL = ProofKind.VERIFICATION, ProofKind.DRILL


def an_application(**fields: Any) -> Application:
    """Return one that is verified on the first and drilled on the fifteenth of each month."""
    proofs = {
        "verify": {"by": "listing", "schedule": "0 0 1 * *", "timeout_hours": 24},
        "drill": {"which": "newest", "schedule": "0 0 15 * *"},
    }
    return Application.from_dict({**SETTINGS, **proofs, **fields})


@pytest.mark.parametrize(
    ("before", "due"),
    [
        (MIDNIGHT, MIDNIGHT),
        (MIDNIGHT - timedelta(seconds=1), MIDNIGHT - timedelta(days=1)),
        (NOW, MIDNIGHT),
    ],
)
def test_what_is_due_at_this_instant_is_due(before: datetime, due: datetime) -> None:
    assert Schedule("@daily", "UTC").last_due(before) == due


@pytest.mark.parametrize(
    ("expression", "grace"),
    [
        ("@monthly", timedelta(hours=6)),
        ("@daily", timedelta(hours=6)),
        ("0 */4 * * *", timedelta(hours=2)),
        ("*/10 * * * *", timedelta(minutes=5)),
        (None, timedelta(hours=6)),
    ],
)
def test_a_backup_has_six_hours_or_half_of_the_time_until_the_next(expression: str | None, grace: timedelta) -> None:
    assert Schedule(expression, "UTC").grace(NOW) == grace
    assert Schedule(expression, "UTC").longest_grace(NOW) == grace


def test_the_longest_grace_is_that_of_the_longest_pause() -> None:
    every_hour_by_day = Schedule("0 8-17 * * *", "UTC")
    assert every_hour_by_day.grace(NOW) == timedelta(minutes=30)
    assert every_hour_by_day.longest_grace(NOW) == GRACE
    assert Schedule("0,10 * * * *", "UTC").longest_grace(NOW) == timedelta(minutes=25)


@pytest.mark.parametrize(
    ("fields", "due"),
    [
        ({}, {VERIFICATION: date(2026, 11, 1), DRILL: date(2026, 11, 15)}),
        ({"verify": "off"}, {DRILL: date(2026, 11, 15)}),
        ({"drill": "off"}, {VERIFICATION: date(2026, 11, 1)}),
        ({"drill": {"which": "newest", "schedule": None}}, {VERIFICATION: date(2026, 11, 1), DRILL: None}),
    ],
)
def test_proofs_are_due_that_are_asked_for_each_by_its_own_schedule(fields: Any, due: dict[ProofKind, Any]) -> None:
    found = proofs_due(an_application(**fields), NOW)
    assert {kind: at and at.date() for kind, at in found.items()} == due


@pytest.mark.parametrize(
    ("hours", "is_due"), [(48 + 23, False), (48 + 25, True)], ids=["two days and 23 hours", "two days and 25 hours"]
)
def test_a_proof_has_two_days_and_the_hours_that_the_cold_may_take(hours: float, is_due: bool) -> None:
    application, first = an_application(), datetime(2026, 12, 1, tzinfo=UTC)
    assert (proofs_due(application, first + timedelta(hours=hours))[VERIFICATION] == first) is is_due


@pytest.mark.parametrize(
    ("passed", "known_since", "missed"),
    [
        ({VERIFICATION: NOW, DRILL: NOW}, LONG_AGO, set()),
        (
            {VERIFICATION: datetime(2026, 11, 2, tzinfo=UTC), DRILL: datetime(2026, 11, 2, tzinfo=UTC)},
            LONG_AGO,
            {DRILL},
        ),
        ({}, LONG_AGO, {VERIFICATION, DRILL}),
        ({VERIFICATION: None, DRILL: NOW}, LONG_AGO, {VERIFICATION}),
        ({}, datetime(2026, 11, 10, tzinfo=UTC), {DRILL}),
        ({}, None, set()),
        ({VERIFICATION: NOW + timedelta(days=365), DRILL: NOW}, LONG_AGO, {VERIFICATION}),
        ({}, NOW + timedelta(days=365), {VERIFICATION, DRILL}),
    ],
    ids=[
        "both passed",
        "another was due since",
        "none ever passed",
        "one never did",
        "it is known since then",
        "it is not known yet",
        "one passed at a time that is yet to come",
        "it is known since a time that is yet to come",
    ],
)
def test_a_proof_is_missed_that_was_due_since_the_last_one(
    passed: dict[ProofKind, datetime | None], known_since: datetime | None, missed: set[ProofKind]
) -> None:
    assert proofs_missed(an_application(), passed, known_since=known_since, now=NOW) == missed


def test_nothing_is_missed_before_the_first_day() -> None:
    later = an_application(start="2026-11-20")
    assert proofs_missed(later, {}, known_since=LONG_AGO, now=NOW) == set()
    assert proofs_missed(later, {}, known_since=NOW + timedelta(days=365), now=NOW) == set()
