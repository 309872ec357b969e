"""The application's lease, kept alive for as long as a step works under it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.errors import CatalogUnavailable, GlacierProviderError

log = logging.getLogger(__name__)

#: A lease is prolonged after this time: often enough for its length, rarely enough to cost nothing.
SECONDS_BETWEEN_HEARTBEATS = 30.0


@contextmanager
def kept_lease(catalog: Catalog, holder: str) -> Iterator[Callable[[], None]]:
    """Prolong a lease that was just taken, every half minute, whatever the block does: from a thread of its own.

    Yields a function to call as often as one likes. It prolongs the lease too, when that is due: a process that slept
    finds out before it goes on. It raises LeaseLost once another run has got hold of the lease: the work must end.
    """
    with catalog.fenced(holder) as prolong:
        keeper = _Keeper(prolong)
        thread = threading.Thread(target=keeper.keep, name="lease-heartbeat", daemon=True)
        thread.start()
        try:
            yield keeper.heartbeat
        finally:
            keeper.ended.set()
            thread.join()


def asked_often(may_go_on: Callable[[], None]) -> Callable[[], None]:
    """Return a function to call as often as one likes: who works without a lease finds out that it has to end.

    It calls `may_go_on`, which raises then, every half minute and after a sleep; what that raised, it raises from then
    on.
    """
    return _Keeper(may_go_on).heartbeat


class _Keeper:
    """Prolongs a lease, or asks, when it is due, for whichever thread comes first."""

    def __init__(self, prolong: Callable[[], None]) -> None:
        self.ended = threading.Event()
        self._prolong = prolong
        self._lock = threading.Lock()
        self._last = _now()
        self._lost: GlacierProviderError | None = None

    def heartbeat(self) -> None:
        with self._lock:
            if self._lost is not None:
                raise self._lost
            if _now() - self._last > SECONDS_BETWEEN_HEARTBEATS:
                self._last = _now()
                self._beat()

    def keep(self) -> None:
        while not self.ended.wait(max(SECONDS_BETWEEN_HEARTBEATS, 0.1)):
            try:
                self.heartbeat()
            except GlacierProviderError:
                return  # who works hears of it at the next heartbeat, or statement

    def _beat(self) -> None:
        try:
            self._prolong()
        except CatalogUnavailable as error:
            log.warning("The catalog could not be asked just now: %s", error)  # a lease lasts longer than that
        except GlacierProviderError as error:
            self._lost = error
            raise


def _now() -> float:
    """Return seconds of a clock that goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
