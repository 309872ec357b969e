"""What the fast path asks of libcurl, and what it takes for an answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pycurl
import pytest

from glacier_provider.stores.s3.fast.sender import TOO_LONG, ManyAtOnce, OneByOne, Reply, Request, a_handle
from glacier_provider.stores.s3.fast.shapes import Transport

PLAIN = Transport("", None, None, None, 10, 10)


def test_a_libcurl_that_cannot_choose_how_much_it_sends_at_once_is_good_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before 7.62; RHEL 8 has 7.61."""
    monkeypatch.delattr(pycurl, "UPLOAD_BUFFERSIZE", raising=False)
    a_handle(PLAIN, pycurl)


@pytest.mark.parametrize("status", [0, 408, 429, 500, 503, 599])
def test_a_store_in_trouble_is_told_from_a_request_that_is_wrong(status: int) -> None:
    assert Reply(status, b"", []).is_throttled


@pytest.mark.parametrize("status", [TOO_LONG, 200, 206, 301, 307, 400, 403, 404, 409, 412])
def test_a_request_that_is_wrong_slows_nobody(status: int) -> None:
    assert not Reply(status, b"", []).is_throttled


class _Odd(BaseHTTPRequestHandler):
    """Leads elsewhere, or says so many bytes."""

    def do_GET(self) -> None:
        size = int(self.path.strip("/") or 0)
        self.send_response(200 if size else 307)
        self.send_header("Location", "/17")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(b"x" * size)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def odd() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Odd)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def answered(url: str, *, many: bool, most: int | None = None) -> Reply:
    request = Request("GET", url, [], most=most)
    if not many:
        return OneByOne(PLAIN).send(request)
    sender = ManyAtOnce(PLAIN, 1)
    sender.start(request, "token")
    while True:
        for _, reply in sender.answers(0.1):
            return reply


@pytest.mark.parametrize("many", [True, False])
def test_what_leads_elsewhere_is_no_answer_that_is_followed(odd: str, many: bool) -> None:
    """A signature is for one address, and credentials are for nobody else."""
    reply = answered(f"{odd}/", many=many)
    assert (reply.status, reply.body) == (307, [])


@pytest.mark.parametrize("many", [True, False])
@pytest.mark.parametrize(("size", "most", "status"), [(100_000, 100_000, 200), (100_001, 100_000, TOO_LONG)])
def test_of_an_answer_that_is_longer_than_it_may_be_nothing_is_believed(
    odd: str, many: bool, size: int, most: int, status: int
) -> None:
    reply = answered(f"{odd}/{size}", many=many, most=most)
    assert reply.status == status
    assert len(b"".join(reply.body)) <= most
