"""A limit of bytes per second, shared by threads."""

from __future__ import annotations

import threading
import time


class RateLimit:
    """Lets bytes pass at a rate; `rate` 0 is no limit. What is taken at once may be any number of bytes."""

    def __init__(self, rate: float = 0) -> None:
        self.rate = rate
        self._lock = threading.Lock()
        self._free_at = 0.0

    def delay(self, size: int, now: float) -> float:
        """Reserve `size` bytes and return how many seconds after `now` they may pass."""
        if self.rate <= 0:
            return 0.0
        with self._lock:
            begin = max(self._free_at, now)
            self._free_at = begin + size / self.rate
            return begin - now

    def take(self, size: int) -> None:
        """Return when `size` bytes may pass."""
        if (seconds := self.delay(size, time.monotonic())) > 0:
            time.sleep(seconds)  # the rate is what is waited for
