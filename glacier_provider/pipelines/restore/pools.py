"""Processes for the many small archives of a restore: a pool for each store that holds some of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Generic, Self, TypeVar

from glacier_provider.applications import Application
from glacier_provider.stores.contract import HasId, Pool

#: Processes take a quarter of a second to start: fewer archives are there sooner without them.
PROCESSES_FROM = 300

_Item = TypeVar("_Item", bound=HasId)
_Told = TypeVar("_Told")

#: Start a pool for the store of a URI, with so many processes; None where that store has no use for them.
Start = Callable[[str, int], Pool[_Item, _Told] | None]


class Pools(Generic[_Item, _Told]):
    """The pools of one step, each started when it is needed first. A context manager."""

    def __init__(self, application: Application, archives: int, start: Start[_Item, _Told]) -> None:
        """`archives` is how many the step is about: for few of them there are no processes."""
        self._processes = min(application.upload_processes, os.cpu_count() or 1) if archives >= PROCESSES_FROM else 0
        self._start = start
        self._pools: dict[str, Pool[_Item, _Told] | None] = {}
        self._open = ExitStack()

    def of(self, store_uri: str) -> Pool[_Item, _Told] | None:
        if self._processes == 0:
            return None
        if store_uri not in self._pools:
            pool = self._start(store_uri, self._processes)
            self._pools[store_uri] = pool if pool is None else self._open.enter_context(pool)
        return self._pools[store_uri]

    @property
    def started(self) -> bool:
        return any(pool is not None for pool in self._pools.values())

    def send(self, store_uri: str, items: Iterable[_Item]) -> Iterator[tuple[_Item, _Told | None]]:
        """As `Pool.send`, to the pool of a store that has one."""
        pool = self.of(store_uri)
        assert pool is not None
        yield from pool.send(items)

    def rest(self) -> Iterator[tuple[_Item, _Told | None]]:
        """Yield what became of all that is still on its way."""
        for pool in self._pools.values():
            if pool is not None:
                yield from pool.rest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)
