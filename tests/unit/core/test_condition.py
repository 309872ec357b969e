from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from glacier_provider.core.condition import AgeLimits, Condition, Event, Grade, Proven, troubles_of
from glacier_provider.core.proof import ProofKind, ProofState

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
