"""Answers that take long, such as how far a restore of a million files is: for all who look, asked once in a while."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

#: An answer counts for so many times as long as it took: the catalog is busy with it for a tenth of the time at most.
TIMES = 10
#: What took no longer, in seconds, is asked each time.
QUICK = 0.1
#: With so many, what is good no more is left out.
_MOST = 100


@dataclass(slots=True)
class _Look(Generic[Answer]):
    """What was answered to a question, and when that was asked; `good_until` is on the monotonic clock."""

    turn: Lock = field(default_factory=Lock)
    answer: Answer | None = None
    asked_at: datetime | None = None
    good_until: float = -math.inf


class Looks(Generic[Answer]):
    """The last looks by what they are at. Threads share it: of those that come together one asks, the others wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._looks: dict[Hashable, _Look[Answer]] = {}

    def at(self, what: Hashable, ask: Callable[[], Answer]) -> tuple[Answer, datetime]:
        """Return the last answer if that is good still, else a new one; and when it was asked for."""
        with self._lock:
            if len(self._looks) >= _MOST:
                self._forget()
            look = self._looks.setdefault(what, _Look())
        with look.turn:
            if look.answer is not None and look.asked_at is not None and self._clock() < look.good_until:
                return look.answer, look.asked_at
            began, asked_at = self._clock(), datetime.now(UTC)
            answer = ask()
            took = self._clock() - began
            if took > QUICK:
                look.answer, look.asked_at, look.good_until = answer, asked_at, self._clock() + TIMES * took
            return answer, asked_at

    def _forget(self) -> None:
        """Leave out what is good no more; who looks at it now keeps what is left out."""
        now = self._clock()
        self._looks = {what: look for what, look in self._looks.items() if now < look.good_until}
