"""`python -m demo`: tell the story, then leave Airflow up until Ctrl-C.

Environment: ONCE=1 stops everything and exits; KEEP=1 keeps the directory with logs and files; STORE=vault uses the
vault API instead of S3. The last line is `demo: ok` (status 0) or `demo: FAILED <why>` (status 1).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from demo import story
from demo.airflow import PASSWORD, USER
from demo.processes import CHECKOUT
from demo.report import DemoFailed, Report
from demo.stores import STORES

DIRECTORY = CHECKOUT / ".demo"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """The user or the system asked the demo to stop."""


def main() -> int:
    """Run the demo and return the exit status; everything that was started is ended by then."""
    once, keep = (os.environ.get(name, "") not in ("", "0") for name in ("ONCE", "KEEP"))
    report, end = Report(), ExitStack()
    _on_signals(_interrupt)
    try:
        store_kind = _store_kind()
        with _alone(), _closing(end, report, keep=keep):
            world = story.tell(DIRECTORY, report, store_kind, end)
            print(f"\n{world.catalog.table()}\n{report.table()}\n", flush=True)
            if not once:
                _leave_up(world.airflow.url)
    except Interrupted:
        return _last_line("it was stopped")
    except DemoFailed as exc:
        return _fail(report, str(exc), exc.details)
    except Exception as exc:  # noqa: BLE001 (whatever it is, the last line tells)
        return _fail(report, f"{type(exc).__name__}: {exc}".splitlines()[0], traceback.format_exc())
    return _last_line() if once else 0


def _leave_up(url: str) -> None:
    """Say where Airflow is, and return when the user has seen enough."""
    print(f"Airflow is up at {url} (user {USER}, password {PASSWORD}); Ctrl-C stops it.")
    _last_line()
    try:
        signal.pause()
    except Interrupted:
        print(flush=True)


@contextmanager
def _closing(end: ExitStack, report: Report, *, keep: bool) -> Iterator[None]:
    """End what was started, in peace, and remove the directory."""
    try:
        yield
    finally:
        _on_signals(signal.SIG_IGN)
        report.say("stopping everything ...")
        end.close()
        if keep:
            report.say(f"kept: {DIRECTORY}")
        else:
            shutil.rmtree(DIRECTORY, ignore_errors=True)


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the checkout for this demo; raise DemoFailed when another runs in it."""
    lock = os.open(CHECKOUT / "demo", os.O_RDONLY)
    try:
        _take(lock)
        yield
    finally:
        os.close(lock)


def _take(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DemoFailed("another demo runs in this checkout; stop it first") from None


def _store_kind() -> str:
    kind = os.environ.get("STORE") or "s3"
    if kind not in STORES:
        raise DemoFailed(f"STORE={kind} is unknown; use STORE=s3 or STORE=vault")
    return kind


def _on_signals(handler: Callable[[int, Any], Any] | signal.Handlers) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)


def _interrupt(_number: int, _frame: Any) -> None:
    raise Interrupted


def _fail(report: Report, why: str, details: str) -> int:
    if details:
        print(details)
    if report.steps:
        print(f"\n{report.table()}\n")
    return _last_line(why)


def _last_line(why: str = "") -> int:
    print(f"demo: FAILED {why}" if why else "demo: ok", flush=True)
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main())
