from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from glacier_provider.core.condition import (
    AgeLimits,
    Anomalies,
    Condition,
    Event,
    Grade,
    Proven,
    Trouble,
    overall_grade,
    troubles_of,
)
from glacier_provider.core.proof import ProofKind
from glacier_provider.core.status import ProofState

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LIMITS = AgeLimits(timedelta(hours=26), timedelta(hours=50))


def a_condition(complete_at: datetime, passed_at: datetime = NOW) -> Condition:
    proven = {ProofKind.DRILL: Proven(ProofState.PASSED, passed_at=passed_at)}
    return Condition("dms", complete_id=7, complete_at=complete_at, proven=proven)


@pytest.mark.parametrize("ahead", [timedelta(minutes=-5), timedelta(minutes=5)])
def test_clocks_of_two_servers_may_differ_a_little(ahead: timedelta) -> None:
    assert list(troubles_of(a_condition(NOW + ahead), now=NOW, backup=LIMITS)) == []


def test_a_backup_that_is_dated_in_the_future_is_not_taken_for_a_new_one() -> None:
    condition = a_condition(NOW + timedelta(days=365))
    (trouble,) = troubles_of(condition, now=NOW, backup=LIMITS)
    assert (trouble.event, trouble.grade) == (Event.BACKUP_LATE, Grade.WARNING)
    assert "it is dated 2027-11-22 12:00 UTC, which is to come, so a clock was or is wrong" in trouble.told
    assert condition.backup_age(NOW) is None


def test_nor_is_a_drill() -> None:
    condition = a_condition(NOW, passed_at=NOW + timedelta(days=365))
    (trouble,) = troubles_of(condition, now=NOW, backup=LIMITS, proofs={ProofKind.DRILL: LIMITS})
    assert trouble.grade is Grade.CRITICAL
    assert "when the last drill passed cannot be told: it is dated 2027-11-22" in trouble.told


def troubles(condition: Condition, **proofs: AgeLimits) -> list[Trouble]:
    limits = {ProofKind(kind): limit for kind, limit in proofs.items()}
    return list(troubles_of(condition, now=NOW, backup=LIMITS, proofs=limits))


def test_the_worst_comes_first() -> None:
    condition = replace(a_condition(NOW - timedelta(hours=30)), failed_id=8, lost=1)
    assert [one.event for one in troubles(condition)] == [
        Event.BACKUP_INCOMPLETE,
        Event.BACKUP_LATE,
        Event.BACKUP_FAILED,
    ]
    assert overall_grade(one.grade for one in troubles(condition)) is Grade.CRITICAL


@pytest.mark.parametrize("limits", [AgeLimits(), AgeLimits(timedelta()), LIMITS])
def test_that_there_is_nothing_to_bring_back_is_critical_whatever_the_limits_are(limits: AgeLimits) -> None:
    (trouble,) = troubles_of(Condition("dms"), now=NOW, backup=limits)
    assert (trouble.event, trouble.grade) == (Event.BACKUP_LATE, Grade.CRITICAL)


def test_a_backup_that_is_under_way_is_no_excuse_for_the_last_one() -> None:
    (trouble,) = troubles(replace(a_condition(NOW - timedelta(hours=60)), running_id=8))
    assert trouble.grade is Grade.CRITICAL
    assert trouble.told.endswith("; backup 8 is under way")


@pytest.mark.parametrize(
    ("changed", "of", "is_one"), [(9, 9, False), (10, 40, True), (10, 41, False), (249, 1000, False), (250, 1000, True)]
)
def test_a_rewrite_is_of_ten_files_and_a_quarter_of_all(changed: int, of: int, is_one: bool) -> None:
    assert Anomalies().is_rewrite(changed, of) is is_one


def a_drill(state: ProofState, ended_at: datetime, passed_at: datetime | None = None) -> dict[str, Any]:
    return {"proven": {ProofKind.DRILL: Proven(state, ended_at, passed_at)}}


OLD, OLDER = NOW - timedelta(days=40), NOW - timedelta(days=80)
USUAL = {"usual_of": 5, "usual_database_bytes": 10**9, "usual_new_bytes": 0, "usual_seconds": 60, "bytes": 10**10}
UNREADABLE = {"unreadable_count": 1, "unreadable": ["a.pdf"]}
UNREADABLE_AND_CHANGED = {**UNREADABLE, "changed_count": 1, "changed": ["b.pdf"]}
#: What is wrong with an application, what is wrong with it some time later, and whether that is news.
LATER: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "it is as late": ({"complete_at": NOW - timedelta(hours=30)}, {"complete_at": NOW - timedelta(hours=40)}, False),
    "it is too late": ({"complete_at": NOW - timedelta(hours=30)}, {"complete_at": NOW - timedelta(hours=60)}, True),
    "it is late once more": (
        {"complete_at": NOW - timedelta(hours=30)},
        {"complete_id": 8, "complete_at": NOW - timedelta(hours=30)},
        True,
    ),
    "it failed": ({"failed_id": 8}, {"failed_id": 8}, False),
    "another failed": ({"failed_id": 8}, {"failed_id": 9}, True),
    "as much is lost": ({"lost": 1}, {"complete_id": 8, "lost": 1}, False),
    "more is lost": ({"lost": 1}, {"lost": 2}, True),
    "the next lacks the same": ({"report": UNREADABLE}, {"complete_id": 8, "report": UNREADABLE}, False),
    "the next lacks more": ({"report": UNREADABLE}, {"complete_id": 8, "report": UNREADABLE_AND_CHANGED}, True),
    "many vanished again": ({"vanished": 90}, {"complete_id": 8, "vanished": 90}, True),
    "it cannot be restored for the same reason": (
        {"report": {"rehearsal": {"in_place": {"verdict": "no", "why": "No role."}}}},
        {"complete_id": 8, "report": {"rehearsal": {"in_place": {"verdict": "no", "why": "No role."}}}},
        False,
    ),
    "it cannot be restored for another reason": (
        {"report": {"rehearsal": {"in_place": {"verdict": "no", "why": "No role."}}}},
        {"complete_id": 8, "report": {"rehearsal": {"in_place": {"verdict": "no", "why": "No extension."}}}},
        True,
    ),
    "another rewrite": ({"rewritten": 90}, {"complete_id": 8, "rewritten": 90}, True),
    "the dump stays large": (
        {**USUAL, "database_bytes": 10**10},
        {**USUAL, "complete_id": 8, "database_bytes": 10**10},
        False,
    ),
    "very many new bytes again": (
        {**USUAL, "database_bytes": 10**9, "new_bytes": 5 * 10**9},
        {**USUAL, "database_bytes": 10**9, "complete_id": 8, "new_bytes": 5 * 10**9},
        True,
    ),
    "the drill found something": (a_drill(ProofState.FOUND, OLD), a_drill(ProofState.FOUND, OLD), False),
    "the next drill found something": (a_drill(ProofState.FOUND, OLDER), a_drill(ProofState.FOUND, OLD), True),
    "the next drill passed long ago, too": (
        a_drill(ProofState.PASSED, OLDER, OLDER),
        a_drill(ProofState.PASSED, OLD, OLD),
        True,
    ),
}


@pytest.mark.parametrize("case", LATER)
def test_who_was_told_is_told_again_of_what_is_news_and_of_nothing_else(case: str) -> None:
    first, later, is_news = LATER[case]
    base = replace(a_condition(NOW - timedelta(hours=1)), files=100)
    overdue = AgeLimits(timedelta(days=32))
    told, then = (
        {(one.event, one.state) for one in troubles(replace(base, **figures), drill=overdue)}
        for figures in (first, later)
    )
    assert told
    assert bool(then - told) is is_news
