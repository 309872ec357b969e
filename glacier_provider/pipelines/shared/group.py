"""What is done is committed in groups: a commit costs more than what it keeps, and a kill loses what has none."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

_Item = TypeVar("_Item")

#: A group is committed when it has this many items.
GROUP = 200


class GroupCommit(Generic[_Item]):
    """Collects items for `commit`, which gets them as a list: `size` at once, or what came in `seconds`.

    A context manager, which may be entered again and again: whatever ends the block, the items so far are committed.
    They stay here until their commit succeeds. Nothing is committed when there are none.
    """

    def __init__(
        self, commit: Callable[[list[_Item]], object], *, size: int = GROUP, seconds: float | None = None
    ) -> None:
        self._commit = commit
        self._size = size
        self._seconds = seconds
        self._items: list[_Item] = []
        self._committed_at = time.monotonic()

    def add(self, item: _Item) -> None:
        self._items.append(item)
        if len(self._items) >= self._size:
            self.commit()
        self.commit_if_late()

    def commit_if_late(self) -> None:
        """Commit what has waited for `seconds`; for whoever works on without adding anything."""
        if self._seconds is not None and time.monotonic() - self._committed_at > self._seconds:
            self.commit()

    def commit(self) -> None:
        if self._items:
            self._commit(self._items)
        self._items, self._committed_at = [], time.monotonic()

    def __enter__(self) -> GroupCommit[_Item]:
        return self

    def __exit__(self, *_: object) -> None:
        self.commit()
