"""A clock that tests can move.

Emulated time runs from an anchor: `now = anchor + (real time since the anchor) * speed`. With a path,
the anchor lives in a small JSON file that is replaced atomically at each change, so that a server which is killed
and started again continues in the same emulated time.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any


class Clock:
    """Emulated time, shared by the threads of one server.

    `path`: file that keeps the clock across restarts (None: memory only); a saved clock wins over `speed`.
    `speed`: emulated seconds per real second; 1 is real time, 0 stands still, 3600 is an hour per second.
    """

    def __init__(self, path: Path | str | None = None, *, speed: float = 1.0) -> None:
        self._path = Path(path) if path is not None else None
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        self._real = time.time()
        self._emulated = self._real
        self._speed = _checked_speed(speed)
        self._load()

    def timestamp(self) -> float:
        """Return the emulated time in seconds since the epoch."""
        with self._lock:
            return self._emulated + (time.time() - self._real) * self._speed

    def now(self) -> datetime:
        """Return the emulated time, aware, in UTC."""
        return datetime.fromtimestamp(self.timestamp(), UTC)

    @property
    def speed(self) -> float:
        """Return the emulated seconds that pass in one real second."""
        return self._speed

    @property
    def offset(self) -> float:
        """Return by how many seconds emulated time is ahead of real time."""
        return self.timestamp() - time.time()

    def advance(self, seconds: float | timedelta) -> datetime:
        """Move forward (or, with a negative number, back) and return the new time; saved before it returns."""
        step = seconds.total_seconds() if isinstance(seconds, timedelta) else float(seconds)
        return self._move(self.timestamp() + step, self._speed)

    def set(self, moment: datetime) -> datetime:
        """Jump to an aware moment and return it."""
        if moment.tzinfo is None:
            raise ValueError("the clock needs an aware datetime, for instance with tzinfo=UTC")
        return self._move(moment.timestamp(), self._speed)

    def set_speed(self, speed: float) -> datetime:
        """Change the speed without a jump and return the current time."""
        return self._move(self.timestamp(), _checked_speed(speed))

    def real_seconds_until(self, timestamp: float) -> float | None:
        """Return the real seconds until an emulated timestamp: 0 if it is past, None if the clock stands still."""
        left = timestamp - self.timestamp()
        if left <= 0:
            return 0.0
        return left / self._speed if self._speed else None

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every jump or change of speed, on the thread that made it."""
        with self._lock:
            self._listeners.append(listener)

    def state(self) -> dict[str, Any]:
        """Return the JSON form that the control endpoint answers with."""
        return {
            "now": self.now().isoformat(),
            "timestamp": self.timestamp(),
            "offset_seconds": self.offset,
            "speed": self._speed,
        }

    def control(self, request: dict[str, Any]) -> dict[str, Any]:
        """Obey a control request and return the state.

        `{"advance_seconds": N}`, `{"set": "2026-01-31T00:00:00+00:00"}`, `{"speed": X}`, also together, in this
        order: set, advance, speed. Raises ValueError for anything else.
        """
        unknown = set(request) - {"advance_seconds", "set", "speed"}
        if unknown:
            raise ValueError(f"unknown clock request {sorted(unknown)}; use advance_seconds, set or speed")
        if "set" in request:
            self.set(datetime.fromisoformat(request["set"]))
        if "advance_seconds" in request:
            self.advance(float(request["advance_seconds"]))
        if "speed" in request:
            self.set_speed(float(request["speed"]))
        return self.state()

    def _move(self, timestamp: float, speed: float) -> datetime:
        with self._lock:
            self._real, self._emulated, self._speed = time.time(), timestamp, speed
            self._save()
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()
        return datetime.fromtimestamp(timestamp, UTC)

    def _load(self) -> None:
        if self._path is None or not self._path.exists():
            return
        saved = json.loads(self._path.read_text())
        self._real, self._emulated, self._speed = saved["real"], saved["emulated"], saved["speed"]

    def _save(self) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_name(f".{self._path.name}.{os.getpid()}.{threading.get_ident()}")
        part.write_text(json.dumps({"real": self._real, "emulated": self._emulated, "speed": self._speed}))
        part.replace(self._path)


def _checked_speed(speed: float) -> float:
    if not 0 <= speed < float("inf"):
        raise ValueError(f"a clock cannot run at speed {speed}; use 0 (stand still) or more")
    return float(speed)
