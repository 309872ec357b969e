"""Answers that take long, such as how far a restore of a million files is: for all who look, asked once in a while.

And how quickly that goes on, which two looks tell and none alone.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

#: An answer counts for so many times as long as it took: the catalog is busy with it for a tenth of the time at most.
TIMES = 10
#: What took no longer, in seconds, is asked each time.
QUICK = 0.1
#: With so many, what is good no more is left out.
_MOST = 100
#: The pace is that of this time, or since the look before it; looks that are nearer to each other tell none.
_PACE_OF = timedelta(minutes=2)
_APART = timedelta(seconds=4)


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


class Paces:
    """How quickly things go on, by what was done at the looks at them. Threads share it.

    What was done before the first of these looks, and how long nothing was done before it, says nothing of the pace.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._seen: dict[Hashable, deque[tuple[datetime, int]]] = {}

    def of(self, what: Hashable, at: datetime, done: int) -> tuple[datetime, float] | None:
        """Note how much was done at a time; return since when, and how much a second.

        None before a second look, when nothing was done in between, and after the clock was set back.
        """
        with self._lock:
            seen = self._seen.pop(what, None) or deque()
            if seen and (at < seen[-1][0] or done < seen[-1][1]):
                seen.clear()
            if not seen or at - seen[-1][0] >= _APART:
                seen.append((at, done))
            while len(seen) > 2 and at - seen[1][0] >= _PACE_OF:
                seen.popleft()
            self._seen[what] = seen  # at the end: what was not looked at for longest is left out first
            if len(self._seen) > _MOST:
                del self._seen[next(iter(self._seen))]
            since, before = seen[0]
        seconds = (at - since).total_seconds()
        return (since, (done - before) / seconds) if at - since >= _APART and done > before else None
