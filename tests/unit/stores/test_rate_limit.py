from __future__ import annotations

import pytest

from glacier_provider.stores.rate_limit import Pace


def test_without_a_rate_nothing_waits() -> None:
    assert [Pace().delay(10**12, 5.0) for _ in range(3)] == [0, 0, 0]


def test_each_waits_until_those_before_have_passed() -> None:
    pace = Pace(100)
    assert [pace.delay(50, 10.0) for _ in range(3)] == pytest.approx([0, 0.5, 1.0])


def test_time_that_nobody_used_is_not_saved_up() -> None:
    pace = Pace(100)
    pace.delay(100, 0.0)
    assert [pace.delay(100, 60.0), pace.delay(100, 60.0)] == pytest.approx([0, 1.0])
