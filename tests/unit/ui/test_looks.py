"""An answer that takes long is asked for once in a while, whoever looks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from glacier_provider.ui import looks
from glacier_provider.ui.looks import QUICK, TIMES, Looks, Paces


class Catalog:
    """Answers with a number that grows, and takes `seconds` of its own clock for it."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds, self.asked = 0.0, seconds, 0

    def ask(self) -> int:
        self.now += self.seconds
        self.asked += 1
        return self.asked


def test_what_took_long_counts_ten_times_as_long() -> None:
    catalog = Catalog(2.0)
    kept: Looks[int] = Looks(lambda: catalog.now)
    first = kept.at("a", catalog.ask)
    catalog.now += 2.0 * TIMES - 0.1
    assert kept.at("a", catalog.ask) == first
    assert kept.at("b", catalog.ask)[0] == 2, "another question is another look"
    catalog.now += 0.2
    assert kept.at("a", catalog.ask)[0] == 3


def test_what_is_quick_is_asked_each_time() -> None:
    catalog = Catalog(QUICK)
    kept: Looks[int] = Looks(lambda: catalog.now)
    assert [kept.at("a", catalog.ask)[0] for _ in range(3)] == [1, 2, 3]


def test_of_those_who_look_together_one_asks() -> None:
    catalog = Catalog(1.0)
    kept: Looks[int] = Looks(lambda: catalog.now)
    with ThreadPoolExecutor(8) as viewers:
        assert {one for one, _ in viewers.map(lambda _: kept.at("a", catalog.ask), range(40))} == {1}


def test_an_error_is_told_and_the_next_one_asks_again() -> None:
    catalog = Catalog(1.0)
    kept: Looks[int] = Looks(lambda: catalog.now)
    with pytest.raises(ZeroDivisionError):
        kept.at("a", lambda: 1 // 0)
    assert kept.at("a", catalog.ask)[0] == 1


def test_what_is_good_no_more_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "_MOST", 3)
    catalog = Catalog(1.0)
    kept: Looks[int] = Looks(lambda: catalog.now)
    for number in range(30):
        kept.at(number, catalog.ask)
        catalog.now += TIMES
    assert len(kept._looks) <= 3


def test_the_pace_is_that_of_the_last_two_minutes() -> None:
    """What was there before, a pause, and a clock that is set back say nothing of it."""
    began, paces = datetime(2026, 11, 1, tzinfo=UTC), Paces()

    def at(seconds: float, done: int) -> float | None:
        told = paces.of("a", began + timedelta(seconds=seconds), done)
        return None if told is None else told[1]

    assert at(0, 10**12) is None, "all of it was there"
    assert at(1, 10**12 + 50) is None, "too soon"
    assert at(10, 10**12 + 1000) == 100.0
    assert at(10, 10**12 + 1000) == 100.0
    assert at(3600, 10**12 + 1000) is None, "nothing came since"
    assert at(3800, 10**12 + 1000) is None, "it is paused"
    assert at(3810, 10**12 + 2000) == pytest.approx(1000 / 210)
    assert at(3930, 10**12 + 3200) == pytest.approx(10.0)
    assert at(100, 10**12 + 9000) is None, "the clock went back"
    assert at(110, 10**12 + 9100) == 10.0
    assert paces.of("b", began, 5) is None


def test_the_paces_of_what_nobody_looks_at_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "_MOST", 3)
    paces = Paces()
    for number in range(9):
        paces.of(number, datetime(2026, 11, 1, tzinfo=UTC), number)
    assert sorted(paces._seen) == [6, 7, 8]
