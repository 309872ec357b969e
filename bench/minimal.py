"""The least that a client of S3 has to do, without this project's promises: no catalog, no retries, no journal.

Signature Version 4 with a SHA-256 of each payload, sockets by hand. What a complete client takes longer than this is
the price of what it does more.
"""

from __future__ import annotations

import hashlib
import hmac
import mmap
import os
import re
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from bench.peers import first_files
from bench.servers import BUCKET, KEY_ID, REGION, SECRET

PART = 16 * 1024 * 1024
IN_FLIGHT = 4
PROCESSES, THREADS = 2, 8


class Connection:
    """One connection that is kept; requests one after the other."""

    def __init__(self, url: str) -> None:
        self.host = urlsplit(url).netloc
        name, port = self.host.split(":")
        self._socket = socket.create_connection((name, int(port)), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._day = datetime.now(UTC).strftime("%Y%m%d")
        key = f"AWS4{SECRET}".encode()
        for word in (self._day, REGION, "s3", "aws4_request"):
            key = hmac.digest(key, word.encode(), "sha256")
        self._key = key

    def ask(
        self, method: str, path: str, query: str, body: bytes | memoryview, digest: str, *, optional: str = ""
    ) -> bytes:
        """Send a request; return head and body of the answer. Raise OSError when it is refused.

        `optional`: attributes that a listing tells only when it is asked for them.
        """
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        signed = "host;x-amz-content-sha256;x-amz-date"
        lines = f"host:{self.host}\nx-amz-content-sha256:{digest}\nx-amz-date:{moment}\n"
        more = ""
        if optional:
            signed += ";x-amz-optional-object-attributes"
            lines += f"x-amz-optional-object-attributes:{optional}\n"
            more = f"x-amz-optional-object-attributes: {optional}\r\n"
        canonical = f"{method}\n{path}\n{query}\n{lines}\n{signed}\n{digest}"
        scope = f"{self._day}/{REGION}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key, text.encode(), "sha256").hex()
        target = f"{path}?{query}" if query else path
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: {self.host}\r\nx-amz-content-sha256: {digest}\r\n"
            f"x-amz-date: {moment}\r\n{more}Content-Length: {len(body)}\r\n"
            f"Authorization: AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope},SignedHeaders={signed},"
            f"Signature={signature}\r\n\r\n"
        ).encode()
        if len(body) < 65_536:
            self._socket.sendall(head + bytes(body))
        else:
            self._socket.sendall(head)
            self._socket.sendall(body)
        return self._answer()

    def _answer(self) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        while length and len(body) < int(length[1]):
            body += self._more()
        if not head.startswith(b"HTTP/1.1 2"):
            raise OSError(data.decode(errors="replace"))
        return head + body

    def _more(self) -> bytes:
        data = self._socket.recv(65_536)
        if not data:
            raise OSError("the server closed the connection")
        return data


def list_pending(url: str, prefix: str) -> Mapping[str, float]:
    """List all below a prefix with what is known of its restores; return how many are under way."""
    connection, empty = Connection(url), hashlib.sha256(b"").hexdigest()
    pending, token = 0, ""
    while True:
        begins = f"continuation-token={quote(token, safe='')}&" if token else ""
        query = f"{begins}list-type=2&max-keys=1000&prefix={quote(prefix, safe='')}"
        answer = connection.ask("GET", f"/{BUCKET}", query, b"", empty, optional="RestoreStatus")
        pending += len(re.findall(rb"<Key>([^<]+)</Key>.*?<IsRestoreInProgress>true<", answer))
        found = re.search(rb"<NextContinuationToken>([^<]+)<", answer)
        if found is None:
            return {"pending": pending}
        token = found[1].decode()


def send_file(url: str, path: str) -> Mapping[str, float]:
    """Send a file in parts of 16 MiB, four at a time."""
    key = f"/{BUCKET}/minimal/{quote(os.path.basename(path))}"
    empty = hashlib.sha256(b"").hexdigest()
    answer = Connection(url).ask("POST", key, "uploads=", b"", empty)
    upload = re.search(rb"<UploadId>([^<]+)", answer)
    assert upload is not None, answer
    name = quote(upload[1].decode(), safe="")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        starts = iter(range(0, len(view), PART))
        lock = threading.Lock()
        tags: dict[int, str] = {}

        def work() -> None:
            connection = Connection(url)
            while True:
                with lock:
                    start = next(starts, None)
                if start is None:
                    return
                number = start // PART + 1
                part = view[start : start + PART]
                digest = hashlib.sha256(part).hexdigest()
                query = f"partNumber={number}&uploadId={name}"
                got = re.search(rb'(?i)etag: *"?([^"\r]+)', connection.ask("PUT", key, query, part, digest))
                assert got is not None
                tags[number] = got[1].decode()

        _together(work, IN_FLIGHT)
        view.release()
    parts = "".join(f'<Part><PartNumber>{n}</PartNumber><ETag>"{tag}"</ETag></Part>' for n, tag in sorted(tags.items()))
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    Connection(url).ask("POST", key, f"uploadId={name}", body, hashlib.sha256(body).hexdigest())
    return {"parts": len(tags)}


def send_small(url: str, source: str, count: int) -> Mapping[str, float]:
    """Send small files, one PUT each, in two processes of eight threads."""
    paths = first_files(source, count)
    children = []
    for number in range(PROCESSES):
        pid = os.fork()
        if pid == 0:
            try:
                _send_each(url, source, paths[number::PROCESSES])
            finally:
                os._exit(1 if sys.exc_info()[0] else 0)
        children.append(pid)
    if any(os.waitpid(pid, 0)[1] for pid in children):
        raise OSError("a process of the minimal client failed")
    return {"sent": len(paths)}


def _send_each(url: str, source: str, paths: Sequence[str]) -> None:
    left = iter(paths)
    lock = threading.Lock()

    def work() -> None:
        connection = Connection(url)
        while True:
            with lock:
                path = next(left, None)
            if path is None:
                return
            with open(path, "rb") as file:
                data = file.read()
            key = f"/{BUCKET}/minimal/{quote(os.path.relpath(path, source))}"
            connection.ask("PUT", key, "", data, hashlib.sha256(data).hexdigest())

    _together(work, THREADS)


def _together(work: object, number: int) -> None:
    """Run a function in so many threads; raise what one of them raised."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(number) as pool:
        for future in [pool.submit(work) for _ in range(number)]:  # type: ignore[arg-type]
            future.result()
