"""What the demo prints: progress lines with the time, and the table of steps at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class DemoFailed(Exception):
    """The demo did not show what it promises; `details` are lines to print before the last one."""

    def __init__(self, why: str, details: str = "") -> None:
        super().__init__(why)
        self.details = details


@dataclass(slots=True)
class Step:
    """One line of the table: what was done, in how many seconds, with which figures."""

    name: str
    seconds: float = 0.0
    figures: str = ""


@dataclass(slots=True)
class Report:
    """The steps so far; times run from `started` (a value of time.monotonic)."""

    started: float = field(default_factory=time.monotonic)
    steps: list[Step] = field(default_factory=list)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def say(self, text: str) -> None:
        """Print a line of progress."""
        print(f"[{self.elapsed:6.1f} s] {text}", flush=True)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time a block; the step that is yielded takes the figures."""
        self.say(f"{name} ...")
        begun, step = time.monotonic(), Step(name)
        try:
            yield step
        finally:
            step.seconds = time.monotonic() - begun
            self.steps.append(step)
        self.say(f"{name}: {step.figures}" if step.figures else f"{name}: done")

    def table(self) -> str:
        """Return the steps as lines of columns."""
        width = max(len(step.name) for step in [*self.steps, Step("step")])
        lines = [f"{'step':<{width}}  {'seconds':>7}  figures", f"{'-' * width}  {'-' * 7}  {'-' * 60}"]
        lines += [f"{step.name:<{width}}  {step.seconds:7.1f}  {step.figures}" for step in self.steps]
        lines.append(f"{'in all':<{width}}  {self.elapsed:7.1f}")
        return "\n".join(lines)


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Return "1 file", "2,000 files"."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def size(number: float) -> str:
    """Return bytes for people: 161.2 MB."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"
