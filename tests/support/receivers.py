"""What alerts and pings are sent to: a mail server and a web server of our own, over real sockets."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """One request: its path with the query, and its body."""

    method: str
    path: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class WebReceiver:
    """A web server. `status` is what it answers; `silent_seconds`, after how long."""

    url: str = ""
    status: int = 200
    silent_seconds: float = 0.0
    received: list[Received] = field(default_factory=list)


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], over: threading.Event) -> Iterator[str]:
    """Yield the URL of a web server; at its end `over` is set first, for handlers that wait for it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        over.set()
        server.shutdown()
        server.server_close()


@contextmanager
def a_web_receiver() -> Iterator[WebReceiver]:
    receiver = WebReceiver()
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            receiver.received.append(Received(self.command, self.path, body))
            over.wait(receiver.silent_seconds)
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            if receiver.status in (301, 302, 307, 308):
                self.send_header("Location", f"{receiver.url}/elsewhere")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Handler, over) as receiver.url:
        yield receiver


@dataclass
class MailReceiver:
    port: int
    mails: list[Message]


@contextmanager
def a_mail_receiver() -> Iterator[MailReceiver]:
    from aiosmtpd.controller import Controller

    mails: list[Message] = []

    class Handler:
        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
            mails.append(BytesParser().parsebytes(envelope.content))
            return "250 OK"

    controller = Controller(Handler(), hostname="127.0.0.1", port=0)
    # Port 0 is for the system to choose, and the controller tries the one that it was given: a free one it is.
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        controller.port = free.getsockname()[1]
    controller.start()
    try:
        yield MailReceiver(controller.port, mails)
    finally:
        controller.stop()


def until(reached: Any, seconds: float = 30) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)
