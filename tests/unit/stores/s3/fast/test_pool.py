"""How the task's side slows its processes down and speeds them up, and which leave to go on it gives them."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from glacier_provider.stores.s3.fast import pool
from glacier_provider.stores.s3.fast.pool import PoolWork, ProcessPool, _Process
from glacier_provider.stores.s3.fast.shapes import Credentials, NoFastPath
from glacier_provider.stores.s3.fast.worker import LATER, SENT, THROTTLED

KEY = Credentials("key", "secret", None)


class Processes:
    """A pool over two processes that never answer by themselves, and its clocks."""

    last: Processes | None = None

    def __init__(self, monkeypatch: pytest.MonkeyPatch, credentials: Credentials | None = KEY) -> None:
        Processes.last = self
        self.now = 1000.0
        self.asked: list[float] = []
        monkeypatch.setattr(pool, "clock", lambda: self.now)
        monkeypatch.setattr(pool.time, "monotonic", lambda: self.now)
        self.both = [Mock(given={}, connections=16, alive=True) for _ in range(2)]
        monkeypatch.setattr(ProcessPool, "_started", lambda _pool: self.both[len(_pool._processes)])
        self.shapes = [SimpleNamespace(name=number) for number in range(9)]
        self.path = Mock()
        self.path.credentials.return_value = credentials
        monkeypatch.setattr(pool, "as_plain", lambda shape: (shape.name,))
        work: PoolWork[Any, Any] = PoolWork(
            kind="ask",
            setup=(),
            shape=lambda: (self.shapes.pop(0), self.path.credentials()),  # type: ignore[return-value, arg-type]
            said=lambda item: (item.id,),
            understood=lambda told: told,
            may_go_on=self._may_go_on,
        )
        self.pool = ProcessPool(work, self.path, processes=2, connections=32)

    def _may_go_on(self) -> None:
        self.asked.append(self.now)
        self.now += 3600.0  # the task was stopped while it asked

    def hear(self, *words: str) -> list[tuple[Any, Any]]:
        first = self.both[0]
        first.given.update({number: number for number in range(len(words))})
        return list(self.pool._understood(first, [(number, word) for number, word in enumerate(words)]))

    def give(self, count: int) -> None:
        self.pool._again.extend(SimpleNamespace(id=number) for number in range(count))
        self.pool._give()


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    return Processes(monkeypatch)


def test_connections_are_shared_and_halved_by_a_storm_and_grow_back_to_their_share(processes: Processes) -> None:
    assert processes.pool._most == 16
    for expected in (8, 4, 2, 1, 1):
        assert processes.hear(THROTTLED) == [(0, None)]
        assert [one.connections for one in processes.both] == [expected] * 2
        processes.now += 60
    for _ in range(30):
        processes.hear(SENT)
    assert processes.both[0].connections == 16


def test_a_pause_doubles_while_nothing_comes_and_one_storm_is_one_pause(processes: Processes) -> None:
    pauses = []
    for _ in range(6):
        processes.hear(THROTTLED, LATER, THROTTLED)
        processes.hear(THROTTLED)
        pauses.append(processes.pool._not_before - processes.now)
        assert pauses[-1] == processes.pool._pause
        processes.now += pauses[-1]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    processes.hear(*[SENT] * 9)
    processes.now += 60
    processes.hear(THROTTLED)
    assert processes.pool._pause == 0.5, "much came since: the last pause was long enough"


def test_a_pause_is_never_longer_than_the_longest(processes: Processes) -> None:
    processes.pool._pause = 16.0
    processes.hear(THROTTLED)
    assert processes.pool._pause == 20.0


def test_nothing_is_given_in_a_pause_and_all_of_it_behind_it(processes: Processes) -> None:
    processes.hear(THROTTLED, LATER)
    assert list(processes.pool._again) == [1]
    processes.pool._again.clear()
    processes.give(1)
    assert not processes.both[0].give.called
    assert not processes.both[1].give.called
    processes.now += 0.6
    processes.pool._give()
    assert processes.both[0].give.called or processes.both[1].give.called
    assert not processes.pool._again


def test_a_leave_is_of_the_moment_before_it_was_asked_for(processes: Processes) -> None:
    began = processes.now
    processes.give(1)
    (call,) = [one.give.call_args for one in processes.both if one.give.called]
    assert processes.asked == [began]
    assert call.kwargs["leave"] == began


def test_who_asks_whether_it_may_go_on_gets_a_leave_of_the_moment_before(processes: Processes) -> None:
    began = processes.now
    assert list(processes.pool._understood(processes.both[0], [(pool.MAY_I,)])) == []
    processes.both[0].leave.assert_called_once_with(began)


def test_new_credentials_and_after_a_while_another_shape_go_to_the_processes(processes: Processes) -> None:
    def told() -> tuple[Any, Any]:
        processes.give(1)
        process = max(processes.both, key=lambda one: len(one.give.call_args_list))
        _, _, shape, credentials = process.give.call_args.args
        process.give.reset_mock()
        return shape, credentials

    processes.pool._work = PoolWork(
        **{  # time goes on by itself no longer
            name: getattr(processes.pool._work, name) for name in ("kind", "setup", "shape", "said", "understood")
        }
    )
    assert told() == ((0,), KEY)
    other = Credentials("another", "secret", "token")
    processes.path.credentials.return_value = other
    assert told() == ((1,), other)
    assert told() == ((1,), other)
    processes.now += pool._SHAPE_AGE
    assert told() == ((2,), other)


def test_what_a_process_had_that_ended_early_is_left_to_the_task(processes: Processes) -> None:
    processes.pool._selector = Mock()
    process = processes.both[0]
    process.given = {1: "a", 2: "b"}
    assert list(processes.pool._lost(process)) == [("a", None), ("b", None)]
    assert process.given == {}
    process.end.assert_called_once_with()


def test_without_any_process_all_is_left_to_the_task(processes: Processes) -> None:
    for process in processes.both:
        process.alive = False
    items = [SimpleNamespace(id=number) for number in range(3)]
    assert list(processes.pool.send(items)) == [(item, None) for item in items]
    assert list(processes.pool.rest()) == []


def test_the_rest_is_what_waits_and_what_is_on_its_way(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    process = processes.both[1]
    process.given[7] = "on its way"

    def collect(_pool: Any) -> Any:
        yield process.given.pop(7), "brought"

    monkeypatch.setattr(ProcessPool, "_collect", collect)
    assert list(processes.pool.rest()) == [("on its way", "brought")]


def test_processes_that_cannot_be_told_how_to_sign_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoFastPath):
        Processes(monkeypatch, credentials=None)
    assert Processes.last is not None
    for process in Processes.last.both:
        process.end.assert_called_once_with()


def a_process(said: list[Any]) -> _Process[Any]:
    process: _Process[Any] = _Process.__new__(_Process)
    process.given, process.connections, process.alive = {}, 4, True
    process._knows = (("shape",), KEY)
    process._say = said.append  # type: ignore[method-assign]
    return process


def test_a_process_is_told_of_another_shape_or_key_before_what_is_for_it() -> None:
    said: list[Any] = []
    process = a_process(said)
    item = SimpleNamespace(id=7)
    other = Credentials("another", "secret", "token")
    for shape, credentials in ((("shape",), KEY), (("shape",), other), (("shape",), other), (("new",), other)):
        process.give([item], [(7,)], shape, credentials, leave=5.0)
    sent = ("send", 4, [(7,)], 5.0)
    told = [("shape", ("shape",), ("another", "secret", "token")), ("shape", ("new",), ("another", "secret", "token"))]
    assert said == [sent, told[0], sent, sent, told[1], sent]
    assert process.given == {7: item}


def test_a_process_that_does_not_end_by_itself_is_ended() -> None:
    process = a_process([])
    process._process = Mock()
    process._process.wait.side_effect = [subprocess.TimeoutExpired("process", 5), 0]
    process.end()
    process._process.kill.assert_called_once_with()
    assert not process.alive
