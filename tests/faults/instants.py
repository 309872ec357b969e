"""Instants at which a process can be killed: before and after every request, statement, commit, rename and tool."""

from __future__ import annotations

import functools
import os
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from glacier_provider.catalog.queries import queries

RENAMES = ("before rename", "before replace", "before link")


@dataclass(frozen=True)
class Ended:
    """How a child ended: the instants it passed, in order, whether it was killed at the last, and its error."""

    instants: tuple[str, ...]
    killed: bool
    error: str | None = None


def run_in_child(work: Callable[[], object], *, kill_at: int | str | None = None) -> Ended:
    """Run `work` in a forked process that is killed by SIGKILL at an instant.

    `kill_at` is its number (from 1), or what its label begins with. A work that never gets there lives. `work` opens
    what it needs itself: connections do not survive a fork.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _live(work, writing, kill_at)
    os.close(writing)
    with open(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    return _ended(data, killed=os.WIFSIGNALED(status))


class Sleeper:
    """A work in a forked process that is stopped by SIGSTOP at an instant, until it is woken.

    `stop_at` is a number, or what a label begins with, as in `run_in_child`. `stopped` tells whether it ever got there.
    """

    def __init__(self, work: Callable[[], object], stop_at: int | str) -> None:
        self._told = tempfile.TemporaryFile()  # noqa: SIM115 - read when it is woken; a pipe could be full
        self._pid = os.fork()
        if self._pid == 0:
            _live(work, self._told.fileno(), stop_at, signal.SIGSTOP)
        _, status = os.waitpid(self._pid, os.WUNTRACED)
        self.stopped = os.WIFSTOPPED(status)

    def wake(self) -> Ended:
        """Let it go on, and wait for its end; `killed` tells whether it was stopped before."""
        if self.stopped:
            os.kill(self._pid, signal.SIGCONT)
            os.waitpid(self._pid, 0)
        self._told.seek(0)
        ended = _ended(self._told.read(), killed=self.stopped)
        self._told.close()
        return ended


def _ended(data: bytes, *, killed: bool) -> Ended:
    words = _words(data)
    errors = [word[1:] for word in words if word.startswith("!")]
    return Ended(tuple(word for word in words if not word.startswith("!")), killed, errors[0] if errors else None)


def _live(work: Callable[[], object], pipe: int, kill_at: int | str | None, how: int = signal.SIGKILL) -> None:
    try:
        _leave_sockets()
        _install(_Watch(pipe, kill_at, how))
        work()
    except BaseException:
        _write(pipe, "!" + traceback.format_exc()[-3000:])
    finally:
        os._exit(0)


def _leave_sockets() -> None:
    """Have none of the parent's sockets: a connection that one of its servers closes would stay open for as long."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for name in os.listdir("/dev/fd"):
        with suppress(OSError):  # the directory's own, which is closed by now
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                os.dup2(nothing, int(name))  # and not closed: its number stays with whoever has it
    os.close(nothing)


def _write(pipe: int, word: str) -> None:
    data = word.encode()
    os.write(pipe, struct.pack("I", len(data)) + data)


def _words(data: bytes) -> list[str]:
    words: list[str] = []
    while data:
        (size,) = struct.unpack("I", data[:4])
        words.append(data[4 : 4 + size].decode())
        data = data[4 + size :]
    return words


class _Watch:
    """Tells the parent of every instant, and ends or stops the process at one of them."""

    def __init__(self, pipe: int, kill_at: int | str | None, how: int) -> None:
        self._how = how
        self._pipe = pipe
        self._kill_at = kill_at
        self._passed = 0
        self._slept = False
        self._lock = threading.Lock()

    def pass_by(self, label: str) -> None:
        with self._lock:
            self._passed += 1
            _write(self._pipe, label)
            at = self._kill_at
            there = label.startswith(at) if isinstance(at, str) else self._is_reached(at, label)
            if there and not self._slept:
                self._slept = self._how == signal.SIGSTOP  # once: it goes on when it is woken
                os.kill(os.getpid(), self._how)

    def _is_reached(self, at: int | None, label: str) -> bool:
        """Nothing looks between a process's last look and its rename: no process is put to sleep there."""
        if self._how == signal.SIGSTOP and at is not None:
            return self._passed >= at and not label.startswith(RENAMES)
        return self._passed == at

    def around(self, owner: Any, name: str, label: Callable[..., str]) -> None:
        """Let every call of a function be two instants: before it, and after it took effect."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            told = label(*args)
            self.pass_by(f"before {told}")
            result = function(*args, **kwargs)
            self.pass_by(f"after {told}")
            return result

        setattr(owner, name, call)

    def after(self, owner: Any, name: str, label: str) -> None:
        function = getattr(owner, name)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            self.pass_by(label)
            return result

        setattr(owner, name, call)


def _install(watch: _Watch) -> None:
    import psycopg
    from botocore.httpsession import URLLib3Session

    from glacier_provider.files import link
    from glacier_provider.stores.s3.fast import pool
    from glacier_provider.stores.s3.fast.sender import OneByOne

    watch.around(URLLib3Session, "send", lambda _session, request: _request(request))
    watch.around(OneByOne, "send", lambda _connection, request, *_: _request(request))
    watch.around(pool, "write_frame", lambda *_: "work for a process")
    watch.around(pool, "read_frame", lambda *_: "answers of a process")
    for cursor in (psycopg.Cursor, psycopg.ServerCursor):
        watch.around(cursor, "execute", lambda _cursor, query, *_: f"statement {_name_of(query)}")
    watch.around(psycopg.Transaction, "__exit__", lambda *_: "commit")
    watch.around(psycopg.Copy, "__exit__", lambda *_: "copy")
    for name in ("rename", "replace", "link", "unlink", "mkdir", "rmdir"):
        watch.around(os, name, lambda *_, name=name: name)
    watch.around(link, "_rename_noreplace", lambda *_: "rename to a new name")
    watch.after(subprocess.Popen, "__init__", "tool runs")
    watch.after(subprocess.Popen, "wait", "tool ended")


def _request(request: Any) -> str:
    asked = urlsplit(request.url)
    query = "&".join(sorted(pair.partition("=")[0] for pair in asked.query.split("&")))
    return f"request {request.method} {asked.path.rpartition('/')[2]}?{query}"


def _name_of(query: Any) -> str:
    text = query if isinstance(query, str) else str(query)
    return next((name for name, known in queries().items() if known == text), " ".join(text.split())[:60])


if sys.platform != "linux":
    raise RuntimeError("the product's tests need Linux")
