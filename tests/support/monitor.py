"""A monitor outside, as healthchecks.io is one: it hears pings over HTTP and calls somebody when it hears none.

Its rule is that of https://healthchecks.io/docs/configuring_checks/: a check is down when the success that its schedule
expects has not come when the grace time is over; when so long after a start no success has come; and at once when a
failure is told. Its clock is its own: a test turns it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from tests.support.receivers import serving


@dataclass
class Monitor:
    """One check of a daily schedule, due at midnight UTC. `fault`: None, `hang` or a status that is no success."""

    url: str = ""
    grace: timedelta = timedelta(hours=2)
    ahead: timedelta = timedelta()
    fault: str | int | None = None
    heard: list[tuple[str, datetime]] = field(default_factory=list)
    called: list[tuple[datetime, str]] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def turn_to(self, moment: datetime) -> None:
        """Let time pass until then, looking as often as the real one: each minute."""
        while self.now + timedelta(minutes=1) < moment:
            self.ahead += timedelta(minutes=1)
            self.look()
        self.ahead += moment - self.now
        self.look()

    def look(self) -> None:
        """Call somebody if the check is down, and was not before."""
        why = self._why_down()
        if why and not (self.called and self.called[-1][1] == why):
            self.called.append((self.now, why))

    def _why_down(self) -> str | None:
        last = dict(self.heard)
        success, start = last.get("success"), last.get("start")
        if self.heard and self.heard[-1][0] == "fail":
            return "it told that it failed"
        if success is not None and self.now > next_midnight(success) + self.grace:
            return f"no success since {success:%Y-%m-%d %H:%M}"
        if start is not None and (success is None or start > success) and self.now > start + self.grace:
            return f"it began at {start:%Y-%m-%d %H:%M} and did not end"
        return None


def next_midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


@contextmanager
def a_monitor() -> Iterator[Monitor]:
    monitor, over = Monitor(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if monitor.fault == "hang":
                over.wait(600)
                return
            self.send_response(monitor.fault if isinstance(monitor.fault, int) else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            if monitor.fault is None:
                what = urlsplit(self.path).path.rpartition("/")[2]
                monitor.heard.append((what if what in ("start", "fail") else "success", monitor.now))
                monitor.look()

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler, over) as url:
        monitor.url = f"{url}/2c7ab7d4"
        yield monitor
