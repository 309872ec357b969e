"""The side of the task: starts the processes, gives them files, collects what they say, slows them together."""

from __future__ import annotations

import logging
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import glacier_provider
from glacier_provider.stores.contract import PlannedFile, SentFile, SmallFiles
from glacier_provider.stores.s3.fast.client import FastPath
from glacier_provider.stores.s3.fast.process import LATER, SENT, THROTTLED, ProcessSetup, read_frame, write_frame
from glacier_provider.stores.s3.fast.shapes import Credentials, NoFastPath, as_plain

log = logging.getLogger(__name__)

#: What a process needs of the environment; the rest, with the secrets that may be in it, stays here.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "TMPDIR", "OPENSSL_CONF")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0
#: Files that were sent since the last pause: then it was long enough, and the next one is no longer.
_WELL = 5
_SHAPE_AGE = 900.0  # seconds: what depends on the time in it, an object lock's end, is a matter of days
_PATIENCE = 1.0
#: Names that a process has beyond its connections: what it sends while the task notes a group in the catalog. They are
#: given so many at a time.
_AHEAD = 500
_GIVEN_AT_ONCE = 100


_File = TypeVar("_File", bound=PlannedFile)


def start_pool(
    files: SmallFiles, fast_path: FastPath, *, processes: int, connections: int
) -> ProcessPool[_File] | None:
    """Return processes for files; None where their requests cannot take the fast path, or none can be started."""
    if fast_path.credentials() is None:
        return None
    setup = ProcessSetup(
        application=files.application,
        directory=files.directory,
        prefix=fast_path.bucket.uri.prefix,
        settle_seconds=files.settle_seconds,
        largest=files.largest,
        rate=fast_path.rate_limit.rate / processes,
    )
    try:
        return ProcessPool(setup, fast_path, processes=processes, connections=connections)
    except NoFastPath:  # the client has logged why
        return None
    except OSError as exc:
        log.warning("No upload processes could be started (%s); files take the usual path.", exc)
        return None


class ProcessPool(Generic[_File]):
    """An `UploadPool`: some processes that send files. `connections` is the number of requests on their way, of all
    together.

    Raise OSError when no process can be started, NoFastPath where none is of use.
    """

    def __init__(self, setup: ProcessSetup, fast_path: FastPath, *, processes: int, connections: int) -> None:
        self._fast_path = fast_path
        self._most = max(1, connections // processes)
        self._pause, self._not_before, self._sent_since = 0.0, 0.0, 0
        self._again: deque[_File] = deque()
        self._selector = selectors.DefaultSelector()
        self._shape: tuple[Any, ...] = ()
        self._credentials: Credentials | None = None
        self._shape_at = 0.0
        self._processes: list[_Process[_File]] = []
        try:
            for _ in range(processes):
                self._processes.append(self._started())
            credentials = self._renew()  # takes as long as they take to start
            if credentials is None:
                raise NoFastPath("there are no credentials")
            for process in self._processes:
                process.begin(setup, self._shape, credentials)
        except BaseException:
            self.close()
            raise

    def send(self, files: Iterable[_File]) -> Iterator[tuple[_File, SentFile | None]]:
        for file in files:
            yield from self._give_until_left(_GIVEN_AT_ONCE - 1)
            self._again.append(file)
        yield from self._give_until_left(0)

    def rest(self) -> Iterator[tuple[_File, SentFile | None]]:
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

    def _give_until_left(self, most: int) -> Iterator[tuple[_File, SentFile | None]]:
        """Give out files until no more than `most` wait to be given, and yield what is answered meanwhile."""
        while len(self._again) > most:
            self._give()
            if not any(process.alive for process in self._processes):
                yield from ((file, None) for file in self._again)
                self._again.clear()
            elif len(self._again) > most:
                yield from self._collect()

    def _give(self) -> None:
        if not self._again or time.monotonic() < self._not_before:
            return
        for process in sorted(self._processes, key=lambda one: len(one.given)):
            room = process.connections + _AHEAD - len(process.given)
            if not process.alive or room < min(_GIVEN_AT_ONCE, len(self._again)):
                continue
            files = [self._again.popleft() for _ in range(min(room, len(self._again)))]
            if files:
                self._renew()
                process.give(files, self._shape, self._credentials)

    def _renew(self) -> Credentials | None:
        """Look whether the credentials have changed, and return them: botocore renews them before they end."""
        credentials = self._fast_path.credentials()
        if credentials != self._credentials or time.monotonic() - self._shape_at >= _SHAPE_AGE:
            found = self._fast_path.puts()
            if found is not None:
                shape, self._credentials = found
                self._shape, self._shape_at = as_plain(shape), time.monotonic()
        return self._credentials

    def _started(self) -> _Process[_File]:
        process: _Process[_File] = _Process(self._most)
        self._selector.register(process.output, selectors.EVENT_READ, process)
        return process

    def _collect(self) -> Iterator[tuple[_File, SentFile | None]]:
        """Wait for answers, some seconds at most, and yield them."""
        pause = self._not_before - time.monotonic()
        for key, _ in self._selector.select(max(0.01, pause) if pause > 0 and self._again else _PATIENCE):
            process: _Process[_File] = key.data
            try:
                answers = read_frame(process.output)
            except (EOFError, OSError):
                yield from self._lost(process)
                continue
            yield from self._understood(process, answers)

    def _understood(self, process: _Process[_File], answers: list[Any]) -> Iterator[tuple[_File, SentFile | None]]:
        throttled = False
        for answer in answers:
            file = process.given.pop(answer[0])
            if answer[1] == SENT:
                self._sent_since += 1
                yield file, SentFile(*answer[2:])
            elif answer[1] == LATER:
                self._again.append(file)
            else:
                throttled = throttled or answer[1] == THROTTLED
                yield file, None
        if throttled:
            self._slow_down()
        else:
            self._speed_up(process)

    def _slow_down(self) -> None:
        """The store is asked less by all of them: after a pause that doubles, and with half of the connections.

        It doubles where the last one was of no use; a refusal among many answers is no storm.
        """
        now = time.monotonic()
        if now < self._not_before:
            return  # of the same storm
        was_of_use = self._sent_since >= _WELL
        self._pause = _FIRST_PAUSE if was_of_use else min(_LONGEST_PAUSE, 2 * self._pause or _FIRST_PAUSE)
        self._sent_since = 0
        self._not_before = now + self._pause
        for process in self._processes:
            process.connections = max(1, process.connections // 2)
        log.info("The store asks for fewer requests: a pause of %.1f s, then half as many at once.", self._pause)

    def _speed_up(self, process: _Process[_File]) -> None:
        process.connections = min(self._most, process.connections + max(1, process.connections // 4))
        if time.monotonic() > self._not_before + self._pause:
            self._pause = 0.0

    def _lost(self, process: _Process[_File]) -> Iterator[tuple[_File, SentFile | None]]:
        log.warning("An upload process ended early (%s); its files take the usual path.", process.status())
        self._selector.unregister(process.output)
        process.end()
        lost, process.given = list(process.given.values()), {}
        yield from ((file, None) for file in lost)


class _Process(Generic[_File]):
    """One process, with the files that it was given."""

    def __init__(self, connections: int) -> None:
        self.connections = connections
        self.given: dict[int, _File] = {}
        self._knows: tuple[tuple[Any, ...], Credentials] | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "glacier_provider.stores.s3.fast.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=_environment(),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self.output = self._process.stdin.fileno(), self._process.stdout.fileno()
        self.alive = True

    def begin(self, setup: ProcessSetup, shape: tuple[Any, ...], credentials: Credentials) -> None:
        self._knows = (shape, credentials)
        self._say(("setup", astuple(setup), shape, astuple(credentials)))

    def give(self, files: list[_File], shape: tuple[Any, ...], credentials: Credentials | None) -> None:
        for file in files:
            self.given[file.id] = file
        if credentials is not None and self._knows != (shape, credentials):
            self._knows = (shape, credentials)
            self._say(("shape", shape, astuple(credentials)))
        self._say(
            ("send", self.connections, [(file.id, file.backup_id, file.filename, file.written_by) for file in files])
        )

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
