"""The application's lease, kept alive by whoever works under it."""

from __future__ import annotations

import time
from collections.abc import Callable

#: A lease is prolonged after this time: often enough for its length, rarely enough to cost nothing.
SECONDS_BETWEEN_HEARTBEATS = 30.0


def lease_heartbeat(take: Callable[[], object]) -> Callable[[], None]:
    """Return a function to call as often as one likes: it takes the lease again every half minute.

    What `take` raises, such as LeaseHeld when another run has got hold of it, comes through: the work must end.
    """
    last = time.monotonic()

    def heartbeat() -> None:
        nonlocal last
        if time.monotonic() - last > SECONDS_BETWEEN_HEARTBEATS:
            last = time.monotonic()
            take()

    return heartbeat
