"""One line in the task log every some seconds: how much is done, how quickly, how long it still takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from glacier_provider.core.text import counted, readable_size

SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Counts archives and bytes, logs them now and then, and calls `on_heartbeat` as often (to prolong a lease)."""

    def __init__(
        self,
        log: logging.Logger,
        doing: str,
        *,
        archives: int = 0,
        size: int = 0,
        on_heartbeat: Callable[[], None] | None = None,
    ) -> None:
        self._log = log
        self._doing = doing
        self._all_archives = archives
        self._all_bytes = size
        self._on_heartbeat = on_heartbeat
        self._started = self._said = time.monotonic()
        self.archives = 0
        self.bytes = 0

    def add(self, archives: int, size: int) -> None:
        """Count what is done; when it is time, log it and prolong the lease."""
        self.archives += archives
        self.bytes += size
        if time.monotonic() - self._said >= SECONDS_BETWEEN_LINES:
            self.say()

    def heartbeat(self, line: str | None = None) -> None:
        """Log another tool's line of progress, and prolong the lease."""
        if line:
            self._log.info("%s", line)
        if self._on_heartbeat:
            self._on_heartbeat()

    def say(self) -> None:
        """Log a line now."""
        self._said = time.monotonic()
        seconds = max(self._said - self._started, 0.001)
        rate = self.bytes / seconds
        left = max(self._all_bytes - self.bytes, 0)
        remaining = f", about {_duration(left / rate)} left" if rate and left else ""
        if not self.bytes and not self._all_bytes:  # what is counted has no bytes, as requests have none
            of = f" of {self._all_archives}" if self._all_archives else ""
            self._log.info("%s: %s%s", self._doing, counted(self.archives, "archive"), of)
        else:
            whole = f" of {self._all_archives} ({readable_size(self._all_bytes)})" if self._all_archives else ""
            self._log.info(
                "%s: %s (%s)%s, %s/s%s",
                self._doing,
                counted(self.archives, "archive"),
                readable_size(self.bytes),
                whole,
                readable_size(int(rate)),
                remaining,
            )
        self.heartbeat()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
