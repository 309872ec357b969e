from __future__ import annotations

import pytest

from glacier_provider.stores.rate_limit import RateLimit


def test_without_a_rate_nothing_waits() -> None:
    assert [RateLimit().delay(10**12, 5.0) for _ in range(3)] == [0, 0, 0]


def test_each_waits_until_those_before_have_passed() -> None:
    rate_limit = RateLimit(100)
    assert [rate_limit.delay(50, 10.0) for _ in range(3)] == pytest.approx([0, 0.5, 1.0])


def test_time_that_nobody_used_is_not_saved_up() -> None:
    rate_limit = RateLimit(100)
    rate_limit.delay(100, 0.0)
    assert [rate_limit.delay(100, 60.0), rate_limit.delay(100, 60.0)] == pytest.approx([0, 1.0])
