"""A process of the fast path that dies at an instant of its work, and its task with it, as by a machine that is lost.

The environment says where (`DIES`), by which file once for all processes (`ONCE`), and which process has to live
(`SPARED`): that of the tests.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from glacier_provider.files.together import PlacedTogether
from glacier_provider.stores.s3.fast import process
from glacier_provider.stores.s3.fast.ask import Asker
from glacier_provider.stores.s3.fast.fetch import Fetcher

DIES, ONCE, SPARED = "GLACIER_TEST_DIES", "GLACIER_TEST_ONCE", "GLACIER_TEST_SPARED"
#: What is under way a moment after a request was begun.
SOON = 0.02


def die() -> None:
    """End the task, then this process; nothing where that was done once, or where the task is the tests' own."""
    task = os.getppid()
    if str(task) == os.environ[SPARED]:
        return
    with suppress(FileNotFoundError):
        Path(os.environ[ONCE]).unlink()
        os.kill(task, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def before(owner: type, name: str) -> None:
    usual = getattr(owner, name)

    def call(*arguments: Any) -> Any:
        die()
        return usual(*arguments)

    setattr(owner, name, call)


def after(owner: type, name: str, then: Callable[[], None] = die) -> None:
    usual = getattr(owner, name)

    def call(*arguments: Any) -> Any:
        result = usual(*arguments)
        then()
        return result

    setattr(owner, name, call)


INSTANTS: dict[str, Callable[[], None]] = {
    "asked, not answered": lambda: after(Asker, "_start", lambda: threading.Timer(SOON, die).start()),
    "answered, not told": lambda: after(Asker, "_judge"),
    "asked for bytes": lambda: before(Fetcher, "_judge"),
    "written, not durable": lambda: before(Fetcher, "_hand_over"),
    "durable, not named": lambda: before(Fetcher, "_name"),
    "half of a group named": lambda: after(PlacedTogether, "name"),
    "named, names not durable": lambda: after(Fetcher, "_name"),
    "names durable, not told": lambda: before(Fetcher, "_tell_of"),
}

if __name__ == "__main__":
    INSTANTS[os.environ[DIES]]()
    process.main()
