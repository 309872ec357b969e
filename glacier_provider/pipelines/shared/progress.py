"""One line in the task log every some seconds: how much is done, how quickly, how long it still takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

from glacier_provider.core.text import counted, readable_size

SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_SHOWS = 0.1


class HasSize(Protocol):
    @property
    def size(self) -> int: ...


Sized = TypeVar("Sized", bound=HasSize)
#: Shows people how far some work is; then the log need not.
Show = Callable[["Progress"], None]
_shown: ContextVar[Show | None] = ContextVar("_shown", default=None)


@contextmanager
def shown_by(show: Show) -> Iterator[None]:
    """Have the work that begins in the block be shown instead of logged: `show` is called often, from any thread."""
    token = _shown.set(show)
    try:
        yield
    finally:
        _shown.reset(token)


class Progress:
    """Counts archives (or `what` else) and bytes, logs them now and then, and calls `on_heartbeat` as often (to prolong
    a lease). `archives` and `size` are how many there are, 0: nobody knows."""

    def __init__(
        self,
        log: logging.Logger,
        doing: str,
        *,
        archives: int = 0,
        size: int = 0,
        what: str = "archive",
        on_heartbeat: Callable[[], None] | None = None,
    ) -> None:
        self._log = log
        self.doing = doing
        self._what = what
        self._all_archives = archives
        self._all_bytes = size
        self._on_heartbeat = on_heartbeat
        self._started = self._said = time.monotonic()
        self._show, self._shown_at = _shown.get(), 0.0
        self.archives = 0
        self.bytes = 0

    @property
    def share(self) -> tuple[int, int | None]:
        """How much is done, and of how much, in bytes or archives; None: nobody knows."""
        if self._all_bytes:
            return min(self.bytes, self._all_bytes), self._all_bytes
        return self.archives, max(self._all_archives, self.archives) if self._all_archives else None

    @property
    def told(self) -> str:
        """How much is done, and of how much, in words."""
        if not self.bytes and not self._all_bytes:  # what is counted has no bytes, as requests have none
            of = f" of {self._all_archives:,}" if self._all_archives else ""
            return f"{counted(self.archives, self._what)}{of}"
        whole = f" of {self._all_archives:,} ({readable_size(self._all_bytes)})" if self._all_archives else ""
        return f"{counted(self.archives, self._what)} ({readable_size(self.bytes)}){whole}"

    def add(self, archives: int, size: int) -> None:
        """Count what is done; when it is time, log it and prolong the lease."""
        self.archives += archives
        self.bytes += size
        now = time.monotonic()
        if self._show and now - self._shown_at >= _SECONDS_BETWEEN_SHOWS:
            self._shown_at = now
            self._show(self)
        if now - self._said >= SECONDS_BETWEEN_LINES:
            self.say()

    def over(self, listed: Iterable[Sized]) -> Iterator[Sized]:
        """Yield what is listed, and count it."""
        for one in listed:
            self.add(1, one.size)
            yield one

    def heartbeat(self, line: str | None = None) -> None:
        """Log another tool's line of progress, and prolong the lease."""
        if line:
            self._log.info("%s", line)
        if self._on_heartbeat:
            self._on_heartbeat()

    def say(self) -> None:
        """Log a line now, or have it shown."""
        self._said = time.monotonic()
        if self._show:
            self._show(self)
        else:
            self._log.info("%s: %s%s", self.doing, self.told, self._speed(self._said - self._started))
        self.heartbeat()

    def _speed(self, seconds: float) -> str:
        if not self.bytes and not self._all_bytes:
            return ""
        rate = self.bytes / max(seconds, 0.001)
        left = max(self._all_bytes - self.bytes, 0)
        remaining = f", about {_duration(left / rate)} left" if rate and left else ""
        return f", {readable_size(int(rate))}/s{remaining}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
