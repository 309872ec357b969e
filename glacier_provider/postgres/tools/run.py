"""Running PostgreSQL's client tools: the only module that knows `subprocess`.

A tool gets argv as a list, never a shell; its connection by environment; messages in English (LC_ALL=C). It ends
with this process, however this process ends, and `terminate_tools` ends it from another thread or a signal handler.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TypeAlias

from glacier_provider.postgres.tools.server import Server

#: Takes one line for the task log.
TaskLog: TypeAlias = Callable[[str], None]

REPORT_SECONDS = 15.0
CHUNK = 1 << 20  #: bytes taken from a tool's output, or from a dump, at once
_KEPT_LINES = 200
_PIPE_BYTES = 65536  # what a pipe of Linux holds

# Variables of the worker that would lead a tool elsewhere, or change what it writes.
_FOREIGN = {"PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSERVICE", "PGSERVICEFILE"}
_FOREIGN |= {"PGOPTIONS", "PGCLIENTENCODING", "PGDATESTYLE", "PGTZ", "PGGEQO", "PSQLRC", "PSQL_HISTORY"}

# Asks the kernel for SIGTERM when the parent ends (prctl, PR_SET_PDEATHSIG), then becomes the tool. A helper process
# of its own, since running Python between fork and exec is not safe in a process with threads.
_GUARD = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); "
    "os.getppid() == int(sys.argv[1]) or os._exit(125); os.execv(sys.argv[2], sys.argv[2:])"
)

_running: set[subprocess.Popen[bytes]] = set()
_running_lock = threading.Lock()


def child_environment(server: Server | None = None) -> dict[str, str]:
    """Return this process's environment, with the variables that lead to `server` and no other server's."""
    kept = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    return {**kept, "LC_ALL": "C", "PGCLIENTENCODING": "UTF8", **(server.environment() if server else {})}


def terminate_tools() -> None:
    """End every tool that this process started (for an operator's `on_kill`)."""
    with _running_lock:
        running = list(_running)
    for process in running:
        with suppress(ProcessLookupError):
            process.terminate()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a tool ended: its exit status (negative: the signal that killed it) and what it said, without secrets."""

    name: str
    status: int
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """An error message counts as a failure, whatever the exit status says."""
        return self.status != 0 or bool(self.errors)

    @property
    def killed(self) -> bool:
        """Whether someone else ended the tool; pg_dump and pg_restore say so themselves after a SIGTERM."""
        return self.status < 0 or any("terminated by user" in line for line in self.tail)

    @property
    def reason(self) -> str:
        """The first error; of psql, which stops at the first, the last message of the server; else how it ended."""
        if self.errors:
            return self.errors[0]
        if self.status > 0 and self.warnings:
            return self.warnings[-1]
        if self.status < 0:
            return f"{self.name} was killed by signal {-self.status}"
        return self.tail[-1] if self.tail else f"{self.name} ended with status {self.status} and no message"


class Tool:
    """A running client tool; a context manager that never leaves the process behind."""

    def __init__(
        self,
        argv: Sequence[str],
        server: Server | None,
        *,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
    ) -> None:
        self.name = Path(argv[0]).name
        guarded = [sys.executable, "-I", "-S", "-c", _GUARD, str(os.getpid()), *argv]
        self.process = subprocess.Popen(
            guarded,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=child_environment(server),
            cwd="/",
            start_new_session=True,
        )
        with _running_lock:
            _running.add(self.process)
        self.messages = Messages(self.process.stderr, server.redact if server else str)

    def __enter__(self) -> Tool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        self.ended()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        with _running_lock:
            _running.discard(self.process)

    def kill(self) -> None:
        """End the tool: SIGTERM first, which lets pg_dump end its workers and cancel its queries."""
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def send(self, data: bytes, idle: Callable[[], None]) -> None:
        """Write to the tool's stdin; call `idle` once a second while the tool takes nothing.

        Raise BrokenPipeError when the tool has ended or closed its stdin.
        """
        stdin = self.process.stdin
        assert stdin is not None  # asked for by PIPE
        os.set_blocking(stdin.fileno(), False)
        ready = select.poll()
        ready.register(stdin.fileno(), select.POLLOUT)
        left = memoryview(data)
        while left:
            if ready.poll(1000):
                left = left[os.write(stdin.fileno(), left[:_PIPE_BYTES]) :]
            else:
                idle()

    def end_input(self) -> None:
        """Close the tool's stdin."""
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end, at most so long; return whether it came."""
        if self.process.poll() is not None:
            return True
        try:
            fd = os.pidfd_open(self.process.pid)
        except OSError:  # a kernel without them: asked every now and then
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=seconds)
            return self.process.poll() is not None
        try:
            ending = select.poll()
            ending.register(fd, select.POLLIN)
            ending.poll(max(0.0, seconds) * 1000)
        finally:
            os.close(fd)
        return self.process.poll() is not None

    def ended(self) -> Ended:
        """Wait for the end and return how it went."""
        status = self.process.wait()
        self.messages.join()
        said = self.messages
        return Ended(self.name, status, tuple(said.errors), tuple(said.warnings), tuple(said.tail))

    def watch(self, report: Reporter, detail: Callable[[], str]) -> Ended:
        """Wait for the end, reporting what the tool does and `detail()` now and then."""
        while not self.ends_within(min(1.0, report.seconds)):
            report.tell(lambda: f"{self.messages.latest or self.name} ({detail()})")
        return self.ended()


class Messages:
    """A tool's stderr, read by a thread as it comes, so that the tool never waits for us."""

    def __init__(self, stream: IO[bytes] | None, redact: Callable[[str], str]) -> None:
        self.latest = ""
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.tail: deque[str] = deque(maxlen=_KEPT_LINES)
        self._redact = redact
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(timeout=10)

    def _read(self, stream: IO[bytes] | None) -> None:
        if stream is None:
            return
        with stream:
            for raw in stream:
                self._take(self._redact(raw.decode("utf-8", "replace").rstrip()))

    def _take(self, line: str) -> None:
        if not line:
            return
        self.tail.append(line)
        self.latest = line
        if is_error(line) and len(self.errors) < _KEPT_LINES:
            self.errors.append(line)
        elif is_warning(line) and len(self.warnings) < _KEPT_LINES:
            self.warnings.append(line)


# pg_dump, pg_restore: 'pg_dump: error: ...'. psql of itself: 'psql: error: ...', 'psql:<stdin>:7: error: ...'. psql of
# the server, with VERBOSITY=verbose: 'psql:<stdin>:7: WARNING:  55000: ...', the severity in the server's language, and
# the SQLSTATE of a warning may be that of an error: which of the two it was, only psql's exit status tells.
_ERROR = re.compile(r"^\w+(:<stdin>:\d+)?: (error|fatal): ")
_WARNING = re.compile(r"^\w+: warning: |^psql:<stdin>:\d+: [^\s:]+: {2}(?!00)[0-9A-Z]{5}: ")


def is_error(line: str) -> bool:
    """Tell whether a tool's line reports an error of the tool."""
    return bool(_ERROR.search(line))


def is_warning(line: str) -> bool:
    """Tell whether a tool's line is a warning, or a message of the server to psql."""
    return bool(_WARNING.search(line))


class Reporter:
    """Folds many events to at most one log line in `seconds`."""

    def __init__(self, progress: TaskLog, seconds: float = REPORT_SECONDS) -> None:
        self.progress = progress
        self.seconds = seconds
        self._last = time.monotonic()

    def tell(self, line: Callable[[], str]) -> None:
        now = time.monotonic()
        if now - self._last >= self.seconds:
            self._last = now
            self.progress(line())


@dataclass(frozen=True, slots=True)
class Output:
    """What a short command wrote to stdout, and how it ended."""

    ended: Ended
    text: str = ""


def output_of(argv: Sequence[str], *, environment: Mapping[str, str] | None = None, seconds: float = 60) -> Output:
    """Run a short command without a server; one that cannot be started, or takes too long, has the status 126."""
    name = Path(argv[0]).name
    env = {**child_environment(), **(environment or {})}
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, env=env, cwd="/", timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return Output(Ended(name, 126, tail=(str(exc),)))
    said = tuple(done.stderr.decode("utf-8", "replace").splitlines())
    ended = Ended(name, done.returncode, tuple(filter(is_error, said)), tuple(filter(is_warning, said)), said)
    return Output(ended, done.stdout.decode("utf-8", "replace"))
