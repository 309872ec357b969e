"""The side of the task: starts the processes, gives them work, collects what they say, slows them together."""

from __future__ import annotations

import logging
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import glacier_provider
from glacier_provider.stores.contract import (
    HasId,
    PlacedFile,
    PlannedFile,
    SentFile,
    SmallFiles,
    WantedFile,
    WantedRetrieval,
)
from glacier_provider.stores.s3.fast.client import FastPath
from glacier_provider.stores.s3.fast.process import ProcessSetup
from glacier_provider.stores.s3.fast.shapes import Credentials, NoFastPath, Shape, as_plain
from glacier_provider.stores.s3.fast.worker import LATER, MAY_I, SENT, THROTTLED, clock, read_frame, write_frame

log = logging.getLogger(__name__)

_PROGRAM = "glacier_provider.stores.s3.fast.process"
#: What a process needs of the environment; the rest, with the secrets that may be in it, stays here.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "TMPDIR", "OPENSSL_CONF")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0
#: Items that were done since the last pause: then it was long enough, and the next one is no longer.
_WELL = 5
_SHAPE_AGE = 900.0  # seconds: what depends on the time in it, an object lock's end, is a matter of days
_PATIENCE = 1.0
#: Names that a process has beyond its connections: what it sends while the task notes a group in the catalog. They are
#: given so many at a time.
_AHEAD = 500
#: The same of files that are brought: these wait for the disk, too, by the group.
_AHEAD_OF_DISK = 2000
_GIVEN_AT_ONCE = 100


_Item = TypeVar("_Item", bound=HasId)
_Told = TypeVar("_Told")
_File = TypeVar("_File", bound=PlannedFile)


@dataclass(frozen=True, slots=True)
class PoolWork(Generic[_Item, _Told]):
    """What the processes of a pool are for: which kind of `Worker`, what it has to know, and how to speak with it.

    `shape` returns what their requests look like from now on, None where there are none; `said` what a process is told
    of an item, `understood` what its answer means, behind the item's id and the word. `may_go_on` raises when the work
    is to end; who needs no leave to go on is not asked.
    """

    kind: str
    setup: tuple[Any, ...]
    shape: Callable[[], tuple[Shape, Credentials] | None]
    said: Callable[[_Item], tuple[Any, ...]]
    understood: Callable[[tuple[Any, ...]], _Told]
    may_go_on: Callable[[], None] = lambda: None
    ahead: int = _AHEAD


def start_pool(
    files: SmallFiles, fast_path: FastPath, *, processes: int, connections: int
) -> ProcessPool[_File, SentFile] | None:
    """Return processes that send files; None where their requests cannot take the fast path, or none can be started."""
    setup = ProcessSetup(
        application=files.application,
        directory=files.directory,
        prefix=fast_path.bucket.uri.prefix,
        settle_seconds=files.settle_seconds,
        largest=files.largest,
        rate=fast_path.rate_limit.rate / processes,
    )
    work: PoolWork[_File, SentFile] = PoolWork(
        kind="upload",
        setup=astuple(setup),
        shape=fast_path.puts,
        said=lambda file: (file.id, file.backup_id, file.filename, file.written_by),
        understood=lambda told: SentFile(*told),
    )
    return _started_pool(work, fast_path, processes=processes, connections=connections)


def start_fetching(
    directory: str, fast_path: FastPath, *, may_go_on: Callable[[], None], processes: int, connections: int
) -> ProcessPool[WantedFile, PlacedFile] | None:
    """Return processes that bring files into a directory; None as `start_pool`."""
    work: PoolWork[WantedFile, PlacedFile] = PoolWork(
        kind="fetch",
        setup=(directory,),
        shape=fast_path.gets,
        said=tuple,
        understood=lambda told: PlacedFile(*told),
        may_go_on=may_go_on,
        ahead=_AHEAD_OF_DISK,
    )
    return _started_pool(work, fast_path, processes=processes, connections=connections)


def start_asking(
    wish: bytes, fast_path: FastPath, *, may_go_on: Callable[[], None], processes: int, connections: int
) -> ProcessPool[WantedRetrieval, bool] | None:
    """Return processes that ask for archives back from the cold, with this body; None as `start_pool`."""
    work: PoolWork[WantedRetrieval, bool] = PoolWork(
        kind="ask",
        setup=(wish,),
        shape=fast_path.restores,
        said=tuple,
        understood=lambda _: True,
        may_go_on=may_go_on,
    )
    return _started_pool(work, fast_path, processes=processes, connections=connections)


def _started_pool(
    work: PoolWork[_Item, _Told], fast_path: FastPath, *, processes: int, connections: int
) -> ProcessPool[_Item, _Told] | None:
    if fast_path.credentials() is None:
        return None
    try:
        return ProcessPool(work, fast_path, processes=processes, connections=connections)
    except NoFastPath:  # the client has logged why
        return None
    except OSError as exc:
        log.warning("No processes could be started (%s); archives take the usual path.", exc)
        return None


class ProcessPool(Generic[_Item, _Told]):
    """A `Pool`: some processes that work off items. `connections` is the number of requests on their way, of all
    together.

    Raise OSError when no process can be started, NoFastPath where none is of use.
    """

    def __init__(self, work: PoolWork[_Item, _Told], fast_path: FastPath, *, processes: int, connections: int) -> None:
        self._work = work
        self._fast_path = fast_path
        self._most = max(1, connections // processes)
        self._pause, self._not_before, self._sent_since = 0.0, 0.0, 0
        self._in_vain = False
        self._again: deque[_Item] = deque()
        self._selector = selectors.DefaultSelector()
        self._shape: tuple[Any, ...] = ()
        self._credentials: Credentials | None = None
        self._shape_at = 0.0
        self._processes: list[_Process[_Item]] = []
        try:
            for _ in range(processes):
                self._processes.append(self._started())
            credentials = self._renew()  # takes as long as they take to start
            if credentials is None:
                raise NoFastPath("there are no credentials")
            for process in self._processes:
                process.begin(work.kind, work.setup, self._shape, credentials)
        except BaseException:
            self.close()
            raise

    def send(self, items: Iterable[_Item]) -> Iterator[tuple[_Item, _Told | None]]:
        for item in items:
            yield from self._give_until_left(_GIVEN_AT_ONCE - 1)
            self._again.append(item)
        yield from self._give_until_left(0)

    def rest(self) -> Iterator[tuple[_Item, _Told | None]]:
        while self._again or self._is_sending:
            yield from self._give_until_left(0)
            if self._is_sending:
                yield from self._collect()

    def close(self) -> None:
        """End the processes; what they have on their way may or may not be stored."""
        for process in self._processes:
            process.end()
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _is_sending(self) -> bool:
        return any(process.given for process in self._processes)

    def _give_until_left(self, most: int) -> Iterator[tuple[_Item, _Told | None]]:
        """Give out files until no more than `most` wait to be given, and yield what is answered meanwhile."""
        while len(self._again) > most:
            if not self._in_vain:
                self._give()
            if self._in_vain or not any(process.alive for process in self._processes):
                self._in_vain = False
                yield from ((item, None) for item in self._again)
                self._again.clear()
            elif len(self._again) > most:
                yield from self._collect()

    def _give(self) -> None:
        if not self._again or time.monotonic() < self._not_before:
            return
        for process in sorted(self._processes, key=lambda one: len(one.given)):
            room = process.connections + self._work.ahead - len(process.given)
            if not process.alive or room < min(_GIVEN_AT_ONCE, len(self._again)):
                continue
            items = [self._again.popleft() for _ in range(min(room, len(self._again)))]
            if items:
                self._renew()
                said = [self._work.said(item) for item in items]
                process.give(items, said, self._shape, self._credentials, leave=self._leave())

    def _renew(self) -> Credentials | None:
        """Look whether the credentials have changed, and return them: botocore renews them before they end."""
        credentials = self._fast_path.credentials()
        if credentials != self._credentials or time.monotonic() - self._shape_at >= _SHAPE_AGE:
            found = self._work.shape()
            if found is not None:
                shape, self._credentials = found
                self._shape, self._shape_at = as_plain(shape), time.monotonic()
        return self._credentials

    def _leave(self) -> float:
        """Return when it was found that the work goes on: now. Raise when it does not."""
        now = clock()
        self._work.may_go_on()
        return now

    def _started(self) -> _Process[_Item]:
        process: _Process[_Item] = _Process(self._most)
        self._selector.register(process.output, selectors.EVENT_READ, process)
        return process

    def _collect(self) -> Iterator[tuple[_Item, _Told | None]]:
        """Wait for answers, some seconds at most, and yield them."""
        pause = self._not_before - time.monotonic()
        for key, _ in self._selector.select(max(0.01, pause) if pause > 0 and self._again else _PATIENCE):
            process: _Process[_Item] = key.data
            try:
                answers = read_frame(process.output)
            except (EOFError, OSError):
                yield from self._lost(process)
                continue
            yield from self._understood(process, answers)

    def _understood(self, process: _Process[_Item], answers: list[Any]) -> Iterator[tuple[_Item, _Told | None]]:
        throttled = False
        for answer in answers:
            if answer[0] == MAY_I:
                process.leave(self._leave())
                continue
            item = process.given.pop(answer[0])
            if answer[1] == SENT:
                self._sent_since += 1
                yield item, self._work.understood(answer[2:])
            elif answer[1] == LATER:
                self._again.append(item)
            else:
                throttled = throttled or answer[1] == THROTTLED
                yield item, None
        if throttled:
            self._slow_down()
        else:
            self._speed_up(process)

    def _slow_down(self) -> None:
        """The store is asked less by all of them: after a pause that doubles, and with half of the connections.

        It doubles where the last one was of no use; a refusal among many answers is no storm. When the longest one was
        of no use, what waits takes the careful path, which finds out what the trouble is.
        """
        now = time.monotonic()
        if now < self._not_before:
            return  # of the same storm
        was_of_use = self._sent_since >= _WELL
        if not was_of_use and self._pause >= _LONGEST_PAUSE:
            self._in_vain, self._pause, self._not_before = True, 0.0, 0.0
            log.info("The store has taken nothing in spite of all pauses; what waits for it takes the usual path.")
            return
        self._pause = _FIRST_PAUSE if was_of_use else min(_LONGEST_PAUSE, 2 * self._pause or _FIRST_PAUSE)
        self._sent_since = 0
        self._not_before = now + self._pause
        for process in self._processes:
            process.connections = max(1, process.connections // 2)
        log.info("The store asks for fewer requests: a pause of %.1f s, then half as many at once.", self._pause)

    def _speed_up(self, process: _Process[_Item]) -> None:
        process.connections = min(self._most, process.connections + max(1, process.connections // 4))
        if time.monotonic() > self._not_before + self._pause:
            self._pause = 0.0

    def _lost(self, process: _Process[_Item]) -> Iterator[tuple[_Item, _Told | None]]:
        log.warning("A process ended early (%s); its archives take the usual path.", process.status())
        self._selector.unregister(process.output)
        process.end()
        lost, process.given = list(process.given.values()), {}
        yield from ((item, None) for item in lost)


class _Process(Generic[_Item]):
    """One process, with the items that it was given."""

    def __init__(self, connections: int) -> None:
        self.connections = connections
        self.given: dict[int, _Item] = {}
        self._knows: tuple[tuple[Any, ...], Credentials] | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=_environment(),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self.output = self._process.stdin.fileno(), self._process.stdout.fileno()
        self.alive = True

    def begin(self, kind: str, setup: tuple[Any, ...], shape: tuple[Any, ...], credentials: Credentials) -> None:
        self._knows = (shape, credentials)
        self._say(("setup", kind, setup, shape, astuple(credentials)))

    def give(
        self,
        items: list[_Item],
        said: list[tuple[Any, ...]],
        shape: tuple[Any, ...],
        credentials: Credentials | None,
        *,
        leave: float,
    ) -> None:
        for item in items:
            self.given[item.id] = item
        if credentials is not None and self._knows != (shape, credentials):
            self._knows = (shape, credentials)
            self._say(("shape", shape, astuple(credentials)))
        self._say(("send", self.connections, said, leave))

    def leave(self, when: float) -> None:
        self._say(("leave", when))

    def _say(self, message: tuple[Any, ...]) -> None:
        with suppress(BrokenPipeError):  # what it said before it died is read first; then its output ends
            write_frame(self._input, message)

    def status(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            return f"status {self._process.wait(1)}"
        return "still running"

    def end(self) -> None:
        """End the process; at once, if it does not by itself."""
        self.alive = False
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _environment() -> dict[str, str]:
    """Return a small environment in which this package is found where it is."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    here = str(Path(glacier_provider.__file__).parents[1])
    return kept | {"PYTHONPATH": os.pathsep.join([here, *filter(None, [kept.get("PYTHONPATH")])])}
