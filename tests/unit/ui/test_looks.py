"""An answer that takes long is asked for once in a while, whoever looks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from glacier_provider.ui import looks
from glacier_provider.ui.looks import QUICK, TIMES, Looks


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
