"""A HEAD that is refused has no words: a listing is asked once why, and its words have the hint."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest

from glacier_provider.errors import StoreDenied, StoreError, StoreMissing
from glacier_provider.stores import client_config, open_store
from glacier_provider.stores.contract import ArchiveStore

URI = "s3://bucket/prefix?storage_class=GLACIER"
Refusing = Callable[[int, int, str], tuple[ArchiveStore, list[str]]]


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    """Makes stores that answer every HEAD with a bare status, and every listing with another one and a code."""
    servers: list[ThreadingHTTPServer] = []

    def make(head: int, listing: int, code: str) -> tuple[ArchiveStore, list[str]]:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                asked.append("HEAD")
                self.send_response(head)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                asked.append("GET")
                words = f"<Error><Code>{code}</Code><Message>words of AWS</Message></Error>"
                body = (words if listing >= 300 else "<ListBucketResult/>").encode()
                self.send_response(listing)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{server.server_port}",
            aws_access_key_id="AKIA",
            aws_secret_access_key="geheim",
            region_name="us-east-1",
            config=client_config(URI),
        )
        return open_store(URI, client=client), asked

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("head", "listing", "code", "kind", "hint"),
    [
        (400, 400, "ExpiredToken", StoreDenied, "credentials have expired"),
        (400, 400, "InvalidToken", StoreDenied, "does not know the access key or the session token"),
        (403, 403, "RequestTimeTooSkewed", StoreDenied, "clock of this worker"),
        (403, 403, "InvalidAccessKeyId", StoreDenied, "access key that AWS does not know"),
        (403, 403, "SignatureDoesNotMatch", StoreDenied, "secret key of the AWS connection"),
        (400, 400, "AuthorizationHeaderMalformed", StoreMissing, "another Region"),
    ],
)
def test_the_listing_tells_why(
    refusing: Refusing, head: int, listing: int, code: str, kind: type[StoreError], hint: str
) -> None:
    store, asked = refusing(head, listing, code)
    for ask in (store.check, lambda: list(store.described(["prefix/dms/file/000000000/000000000001-a"]))):
        asked.clear()
        with pytest.raises(kind, match=hint) as caught:
            ask()
        assert f"{code}: words of AWS" in str(caught.value)
        assert asked.count("GET") == 1


def test_where_the_listing_is_allowed_it_is_the_request_itself_that_is_not(refusing: Refusing) -> None:
    store, _ = refusing(403, 200, "")
    with pytest.raises(StoreDenied, match=r"s3:ListBucket on s3://bucket was answered with 403: Forbidden"):
        store.check()
