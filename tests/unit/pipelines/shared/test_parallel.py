"""Work done many at a time: bounded, complete, and no error is lost."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glacier_provider.errors import FileMissing, GlacierProviderError, StoreUnavailable
from glacier_provider.pipelines.shared.parallel import in_parallel


class Items:
    """An iterator that counts what was taken from it."""

    def __init__(self, count: int) -> None:
        self.taken = 0
        self._count = count

    def __iter__(self) -> Iterator[int]:
        for number in range(self._count):
            self.taken += 1
            yield number


def double(number: int) -> int:
    return 2 * number


@settings(deadline=None)
@given(st.lists(st.integers(), max_size=40), st.integers(1, 5))
def test_every_item_comes_back_once_with_its_result(items: list[int], workers: int) -> None:
    found = list(in_parallel(double, items, workers=workers))
    assert sorted(found) == sorted((item, 2 * item) for item in items)


def test_nothing_to_do_is_nothing_done() -> None:
    assert list(in_parallel(double, [], workers=3)) == []


def test_nothing_begins_before_the_caller_listens() -> None:
    items = Items(3)
    in_parallel(double, items, workers=2)
    assert items.taken == 0


def test_so_many_at_a_time_and_no_more() -> None:
    together = threading.Barrier(3)
    lock, now, most = threading.Lock(), 0, 0

    def work(number: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait(30)  # breaks unless three work at once
        with lock:
            now -= 1

    assert len(list(in_parallel(work, range(9), workers=3))) == 9
    assert most == 3


def test_only_twice_the_workers_are_taken_beforehand() -> None:
    items = Items(1000)
    ahead = [items.taken - done for done, _ in enumerate(in_parallel(double, items, workers=4))]
    assert max(ahead) <= 8
    assert items.taken == 1000


def test_a_slow_item_does_not_hold_up_the_others() -> None:
    released = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            released.wait(30)
        return number

    order = []
    for number, _ in in_parallel(work, range(8), workers=2):
        order.append(number)
        if len(order) == 3:
            released.set()
    assert 0 not in order[:3]
    assert sorted(order) == list(range(8))


def test_errors_of_the_family_are_results() -> None:
    missing = FileMissing("3 is not there.")

    def work(number: int) -> int:
        if number == 3:
            raise missing
        return number

    found = dict(in_parallel(work, range(6), workers=2))
    assert found == {0: 0, 1: 1, 2: 2, 3: missing, 4: 4, 5: 5}


def test_any_other_error_is_raised_and_ends_the_work() -> None:
    items = Items(1000)

    def work(number: int) -> int:
        if number == 5:
            raise ZeroDivisionError
        return number

    with pytest.raises(ZeroDivisionError):
        list(in_parallel(work, items, workers=2))
    assert items.taken <= 5 + 2 * 2


class TestACallerWhoStops:
    """What is under way is finished, nothing more is begun, and no thread is left."""

    def test_after_some_results(self) -> None:
        begun: list[int] = []
        ended: list[int] = []

        def work(number: int) -> int:
            begun.append(number)
            ended.append(number)
            return number

        items = Items(1000)
        results = in_parallel(work, items, workers=2)
        next(results)
        results.close()  # type: ignore[attr-defined]
        assert sorted(begun) == sorted(ended)
        assert items.taken <= 4
        assert self.threads() == []

    def test_what_is_under_way_is_finished_and_what_waits_is_not_begun(self) -> None:
        under_way, go_on = threading.Event(), threading.Event()
        begun: list[int] = []
        ended: list[int] = []

        def work(number: int) -> int:
            begun.append(number)
            if number > 0:
                under_way.set()
                go_on.wait(30)
            ended.append(number)
            return number

        results = in_parallel(work, range(10), workers=1)
        assert next(results) == (0, 0)
        assert under_way.wait(30)
        threading.Timer(0.05, go_on.set).start()
        results.close()  # type: ignore[attr-defined]
        assert begun == ended == [0, 1]

    def test_by_an_error_of_its_own(self) -> None:
        with pytest.raises(KeyError):
            self.fail_on_the_first_result()
        assert self.threads() == []

    @staticmethod
    def fail_on_the_first_result() -> None:
        for _ in in_parallel(double, range(100), workers=3):
            raise KeyError

    @staticmethod
    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("glacier")]


def test_an_error_of_the_items_themselves_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise StoreUnavailable("The listing broke off.")

    results: list[Any] = []
    with pytest.raises(StoreUnavailable):
        results.extend(in_parallel(double, items(), workers=2))


def test_a_result_that_is_an_error_is_told_from_one_that_was_raised_by_nobody() -> None:
    """`None` is a result like any other."""
    assert list(in_parallel(lambda _: None, [1], workers=1)) == [(1, None)]
    (_, answer), *_ = in_parallel(_raise, [1], workers=1)
    assert isinstance(answer, GlacierProviderError)


def _raise(_: int) -> None:
    raise GlacierProviderError


def test_while_nothing_ends_the_caller_can_do_what_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacier_provider.pipelines.shared.parallel.MEANWHILE_SECONDS", 0.01)
    due, gate = [], threading.Event()

    def meanwhile() -> None:
        due.append(1)
        if len(due) == 3:
            gate.set()

    assert [item for item, _ in in_parallel(lambda _: gate.wait(10), [1, 2], workers=2, meanwhile=meanwhile)] != []
    assert len(due) >= 3


def test_an_error_keeps_nothing_alive_that_was_under_way() -> None:
    """Of a million errors each would keep the bytes of its file."""

    class Bytes:
        pass

    alive: weakref.WeakSet[Bytes] = weakref.WeakSet()

    def work(_: int) -> None:
        data = Bytes()
        alive.add(data)
        try:
            raise ValueError(repr(data))
        except ValueError as error:
            raise StoreUnavailable from error

    results = list(in_parallel(work, range(20), workers=4))
    assert all(isinstance(error, StoreUnavailable) and error.__cause__ is not None for _, error in results)
    gc.collect()
    assert len(alive) == 0
