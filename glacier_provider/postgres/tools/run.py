"""Running PostgreSQL's client tools: the only module that knows `subprocess`.

A tool gets argv as a list, never a shell; its connection by environment; messages in English (LC_ALL=C). It ends
with this process, however this process ends, and `terminate_tools` ends it from another thread or a signal handler.
"""

from __future__ import annotations

import logging
import os
import select
import signal
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

from glacier_provider.postgres.tools.messages import (
    KEPT_LINES,
    LINE_LENGTH,
    Conversation,
    Voices,
    conversation,
    in_one_line,
    is_error,
    is_warning,
    telling,
    without_secrets,
)
from glacier_provider.postgres.tools.server import Server

log = logging.getLogger(__name__)

#: Takes one line for the task log.
TaskLog: TypeAlias = Callable[[str], None]

REPORT_SECONDS = 15.0
CHUNK = 1 << 20  #: bytes taken from a tool's output, or from a dump, at once
_PIPE_BYTES = 65536  # what a pipe of Linux holds

# What a tool gets of this process's environment: where programs, libraries and the user's own libpq files are, how
# libpq authenticates and encrypts. Nothing else: the worker's environment holds the secrets of other systems.
_KEPT = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LOCPATH", "NLSPATH"}
_KEPT |= {"PGPASSFILE", "PGSYSCONFDIR", "PGCHANNELBINDING", "PGREQUIREAUTH", "PGREQUIREPEER", "PGCONNECT_TIMEOUT"}
_KEPT |= {"PGTARGETSESSIONATTRS", "PGLOADBALANCEHOSTS", "PGMINPROTOCOLVERSION", "PGMAXPROTOCOLVERSION", "PGLOCALEDIR"}
_KEPT |= {"PGKRBSRVNAME", "KRB5CCNAME", "KRB5_CONFIG", "KRB5_CLIENT_KTNAME", "SSL_CERT_FILE", "SSL_CERT_DIR"}
_KEPT_BEGINNINGS = ("PGSSL", "PGGSS")

# Becomes another user where that is asked for, which takes back what the next step asks; asks the kernel for a signal
# when the parent ends (prctl, PR_SET_PDEATHSIG), then becomes the tool. A helper process of its own, since running
# Python between fork and exec is not safe in a process with threads.
_GUARD = (
    "import ctypes, os, sys; parent, signal, user, group = map(int, sys.argv[1:5]); "
    "user < 0 or (os.setgroups([]), os.setgid(group), os.setuid(user)); ctypes.CDLL(None).prctl(1, signal); "
    "os.getppid() == parent or os._exit(125); os.execv(sys.argv[5], sys.argv[5:])"
)

_running: set[subprocess.Popen[bytes]] = set()
_stops: dict[int, Callable[[], None]] = {}
_running_lock = threading.Lock()


def child_environment(server: Server | None = None) -> dict[str, str]:
    """Return a small environment: what is `_KEPT` of this process's, and the variables that lead to `server`."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_BEGINNINGS)}
    return {**kept, "LC_ALL": "C", "PGCLIENTENCODING": "UTF8", **(server.environment() if server else {})}


def stoppable(stop: Callable[[], None]) -> Callable[[], None]:
    """Have `terminate_tools` call `stop`, too; return what undoes that."""
    with _running_lock:
        _stops[id(stop)] = stop

    def forget() -> None:
        with _running_lock:
            _stops.pop(id(stop), None)

    return forget


def terminate_tools() -> None:
    """End every tool and session that this process started (for an operator's `on_kill`)."""
    with _running_lock:
        running, stops = list(_running), list(_stops.values())
    for stop in stops:
        stop()
    for process in running:
        with suppress(ProcessLookupError):
            process.terminate()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a tool ended: its exit status (negative: the signal that killed it) and what it said, without secrets.

    `errors` and `warnings` are single lines; `messages` the same ones with all lines that belong to each.
    """

    name: str
    status: int
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    messages: tuple[tuple[str, ...], ...] = ()

    @property
    def cause(self) -> tuple[str, ...]:
        """The error that tells why it failed, line by line; empty when it said none."""
        return tuple(telling(self.messages or conversation(self.tail)) or ())

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
        """The error that tells why; of psql, which stops at the first, the last message of the server; else the end."""
        if self.errors:
            return in_one_line(self.cause or self.errors[:1])
        if self.status > 0 and self.warnings:
            return self.warnings[-1]
        if self.status < 0:
            return f"{self.name} was killed by signal {-self.status}"
        return self.tail[-1] if self.tail else f"{self.name} ended with status {self.status} and no message"


@dataclass(frozen=True, slots=True)
class Ordinary:
    """A user and a group without power, as which root runs what refuses to be run by root."""

    user: int
    group: int


class Tool:
    """A running tool; a context manager that never leaves the process behind.

    `hear` is called with each line of its messages, by a thread. It gets the signal `orphaned` when this process ends.
    """

    def __init__(
        self,
        argv: Sequence[str],
        server: Server | None,
        *,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        hear: TaskLog | None = None,
        as_user: Ordinary | None = None,
        orphaned: int = signal.SIGTERM,
    ) -> None:
        self.name = Path(argv[0]).name
        who = (as_user.user, as_user.group) if as_user else (-1, -1)
        guard = [_GUARD, *map(str, (os.getpid(), int(orphaned), *who))]
        guarded = [sys.executable, "-I", "-S", "-c", *guard, *argv]
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
        self.messages = Messages(self.process.stderr, server.redact if server else str, hear)
        self._ended: Ended | None = None
        self._unwanted = False

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
        self._unwanted = True
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
        """Wait for the end and return how it went; all that a tool said when it failed goes to the log."""
        status = self.process.wait()
        self.messages.join()
        if self._ended is None:
            self._ended = self.messages.ended(self.name, status)
            if self._ended.failed and not self._unwanted:
                _tell(self._ended)
        return self._ended

    def watch(
        self, report: Reporter, detail: Callable[[], str], *, enough: Callable[[], bool] = lambda: False
    ) -> Ended:
        """Wait for the end, reporting what the tool does and `detail()` now and then; end it once `enough` is true."""
        while not self.ends_within(min(1.0, report.seconds)):
            if enough():
                with suppress(ProcessLookupError):
                    self.process.terminate()
            report.tell(lambda: f"{self.messages.latest or self.name} ({detail()})")
        return self.ended()


def _tell(ended: Ended) -> None:
    """Write to the log what a tool that failed said, and what the server said to it."""
    for message in ended.messages or tuple((line,) for line in ended.tail[-1:]):
        log.error("%s", "\n".join(message))


class Messages:
    """A tool's stderr, read by a thread as it comes, so that the tool never waits for us."""

    def __init__(self, stream: IO[bytes] | None, redact: Callable[[str], str], hear: TaskLog | None = None) -> None:
        self.latest = ""
        self._errors: list[str] = []
        self._warnings: list[str] = []
        self._tail: deque[str] = deque(maxlen=KEPT_LINES)
        self._talk = Conversation()
        self._redact = redact
        self._hear = hear
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(timeout=10)

    def ended(self, name: str, status: int) -> Ended:
        messages = tuple(tuple(lines) for lines in self._talk.messages)
        return Ended(name, status, tuple(self._errors), tuple(self._warnings), tuple(self._tail), messages)

    def _read(self, stream: IO[bytes] | None) -> None:
        if stream is None:
            return
        with stream:
            begins, voices = True, Voices()
            while raw := stream.readline(CHUNK):
                if begins:  # of a longer line the rest is dropped
                    line = voices.alone(raw.decode("utf-8", "replace").rstrip())
                    self._take(self._redact(without_secrets(line))[:LINE_LENGTH])
                begins = raw.endswith(b"\n")

    def _take(self, line: str) -> None:
        if not line:
            return
        self._tail.append(line)
        self.latest = line
        severity = self._talk.take(line)
        if self._hear is not None:
            self._hear(line)
        kept = {"error": self._errors, "warning": self._warnings}.get(severity)
        if kept is not None and len(kept) < KEPT_LINES:
            kept.append(line)


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
    said = tuple(map(without_secrets, done.stderr.decode("utf-8", "replace").splitlines()))
    errors, warnings = tuple(filter(is_error, said)), tuple(filter(is_warning, said))
    ended = Ended(name, done.returncode, errors, warnings, said, conversation(said))
    return Output(ended, done.stdout.decode("utf-8", "replace"))
