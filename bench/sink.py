"""The sink where no C compiler is found: the same answers as sink.c, from one process, at a fraction of its speed.

python -m bench.sink PORT LATENCY_MICROSECONDS DIRECTORY
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

MIB = 1024 * 1024
KEPT = ("x-amz-meta-", "x-amz-storage-class", "content-type")
NO_MD5 = "0" * 32


@dataclass
class Stored:
    """One object, or an upload in parts while `parts` is not None (their sizes and checksums by number)."""

    size: int
    etag: str
    headers: dict[str, str]
    checksum: str | None = None
    parts: dict[int, tuple[int, str | None]] | None = None


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]

    def argument(self, name: str) -> str:
        return self.query.get(name, [""])[0]

    @property
    def is_object(self) -> bool:
        return bool(self.path[1:].partition("/")[2])

    @property
    def etag(self) -> str:
        """An ETag is the MD5 that the client sent; else one that says that it is none."""
        try:
            return base64.b64decode(self.headers.get("content-md5", ""), validate=True).hex() or f"{NO_MD5}-1"
        except binascii.Error:
            return f"{NO_MD5}-1"

    @property
    def described(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items() if name.startswith(KEPT)}


@dataclass
class Answer:
    status: str = "200 OK"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def xml(text: str) -> Answer:
    return Answer(headers={"Content-Type": "application/xml"}, body=f'<?xml version="1.0"?>{text}'.encode())


def refusal(status: str, code: str) -> Answer:
    return Answer(status, body=f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())


class Sink:
    """What is stored, and what is answered."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.stored: dict[str, Stored] = {}
        self.restoring: set[str] = set()
        self.uploads = 0

    def answer(self, request: Request, size: int) -> Answer:
        if request.method in ("GET", "HEAD"):
            return self._get(request)
        if request.method == "DELETE":
            self.stored.pop(request.argument("uploadId") or request.path, None)
            return Answer("204 No Content")
        if request.method == "POST":
            return self._post(request)
        if not request.is_object:
            return Answer()
        return self._put_part(request, size) if request.argument("uploadId") else self._put(request, size)

    def _put(self, request: Request, size: int) -> Answer:
        if "if-none-match" in request.headers and request.path in self.stored:
            return refusal("412 Precondition Failed", "PreconditionFailed")
        checksum = request.headers.get("x-amz-checksum-sha256")
        self.stored[request.path] = Stored(size, request.etag, request.described, checksum)
        return _confirmed(request.etag, checksum)

    def _put_part(self, request: Request, size: int) -> Answer:
        upload = self.stored.get(request.argument("uploadId"))
        if upload is None or upload.parts is None:
            return refusal("404 Not Found", "NoSuchUpload")
        checksum = request.headers.get("x-amz-checksum-sha256")
        upload.parts[int(request.argument("partNumber"))] = (size, checksum)
        return _confirmed(request.etag, checksum)

    def _post(self, request: Request) -> Answer:
        if "uploads" in request.query:
            self.uploads += 1
            name = f"upload-{self.uploads}"
            self.stored[name] = Stored(0, "", request.described, parts={})
            return xml(f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>")
        if "restore" in request.query:
            if request.path not in self.stored:
                return refusal("404 Not Found", "NoSuchKey")
            if request.path in self.restoring:
                return refusal("409 Conflict", "RestoreAlreadyInProgress")
            self.restoring.add(request.path)
            return Answer("202 Accepted")
        if "delete" in request.query:
            return xml("<DeleteResult></DeleteResult>")
        return self._complete(request)

    def _complete(self, request: Request) -> Answer:
        upload = self.stored.get(request.argument("uploadId"))
        if upload is None or upload.parts is None:
            return refusal("404 Not Found", "NoSuchUpload")
        if "if-none-match" in request.headers and request.path in self.stored:
            return refusal("412 Precondition Failed", "PreconditionFailed")
        parts = [part for _, part in sorted(upload.parts.items())]
        digests = [base64.b64decode(checksum) for _, checksum in parts if checksum]
        etag, checksum = f"{NO_MD5}-{len(parts)}", None
        if len(digests) == len(parts):
            digest = hashlib.sha256(b"".join(digests)).digest()
            checksum = f"{base64.b64encode(digest).decode()}-{len(parts)}"
        del self.stored[request.argument("uploadId")]
        self.stored[request.path] = Stored(sum(size for size, _ in parts), etag, upload.headers, checksum)
        told = f"<ChecksumSHA256>{checksum}</ChecksumSHA256><ChecksumType>COMPOSITE</ChecksumType>" if checksum else ""
        return xml(f'<CompleteMultipartUploadResult><ETag>"{etag}"</ETag>{told}</CompleteMultipartUploadResult>')

    def _get(self, request: Request) -> Answer:
        if request.path in ("/-/stored", "/-/forget", "/-/cold"):
            if request.path.endswith("cold"):
                self.restoring.clear()
            if request.path.endswith("forget"):
                self.stored.clear()
            objects = [each for each in self.stored.values() if each.parts is None]
            return Answer(body=f"{len(objects)} {sum(each.size for each in objects)}".encode())
        if request.is_object:
            return self._get_object(request)
        for name in ("ListMultipartUploadsResult", "LocationConstraint", "VersioningConfiguration"):
            if {"List": "uploads", "Loca": "location", "Vers": "versioning"}[name[:4]] in request.query:
                return xml(f"<{name}></{name}>")
        return self._list(request)

    def _list(self, request: Request) -> Answer:
        """ListObjectsV2, without delimiters."""
        bucket = request.path.rstrip("/") + "/"
        begins, most = bucket + request.argument("prefix"), int(request.argument("max-keys") or 1000)
        after = bucket + (request.argument("continuation-token") or request.argument("start-after"))
        found = sorted(
            key for key, one in self.stored.items() if one.parts is None and key.startswith(begins) and key > after
        )
        told = "".join(self._listed(key, key.removeprefix(bucket)) for key in found[:most])
        more = len(found) > most
        token = f"<NextContinuationToken>{found[most - 1].removeprefix(bucket)}</NextContinuationToken>" if more else ""
        return xml(
            f"<ListBucketResult>{told}<KeyCount>{min(len(found), most)}</KeyCount>"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}</ListBucketResult>"
        )

    def _listed(self, path: str, key: str) -> str:
        one = self.stored[path]
        under_way = "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>"
        return (
            f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{one.etag}</ETag>"
            f"<Size>{one.size}</Size><StorageClass>{one.headers.get('x-amz-storage-class', 'STANDARD')}</StorageClass>"
            f"{under_way if path in self.restoring else ''}</Contents>"
        )

    def _get_object(self, request: Request) -> Answer:
        if request.argument("uploadId"):
            return refusal("404 Not Found", "NoSuchUpload")
        file = self.directory / unquote(request.path).lstrip("/").partition("/")[2]
        if ".." not in file.parts and file.is_file():
            return _part_of(file, request.headers.get("range", ""))
        found = self.stored.get(request.path)
        if found is None:
            return refusal("404 Not Found", "NoSuchKey")
        if request.method == "GET":  # the bytes are gone
            return refusal("403 Forbidden", "InvalidObjectState")
        checksum = {"x-amz-checksum-sha256": found.checksum} if found.checksum else {}
        return Answer(
            headers={**found.headers, **checksum, "ETag": f'"{found.etag}"', "Content-Length": str(found.size)}
        )


def _confirmed(etag: str, checksum: str | None) -> Answer:
    headers = {"ETag": f'"{etag}"'}
    return Answer(headers=headers | ({"x-amz-checksum-sha256": checksum} if checksum else {}))


def _part_of(file: Path, asked: str) -> Answer:
    size = file.stat().st_size
    headers = {"ETag": '"0-1"', "Accept-Ranges": "bytes"}
    more = file.with_name(file.name + ".headers")
    if more.exists():
        headers |= dict(line.split(": ", 1) for line in more.read_text().splitlines() if ": " in line)
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
    if not found:
        return Answer(headers=headers, body=file.read_bytes())
    first, last = int(found[1]), min(int(found[2] or size), size - 1)
    with file.open("rb") as opened:
        opened.seek(first)
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return Answer("206 Partial Content", headers, opened.read(last - first + 1))


async def serve(sink: Sink, latency: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection until it ends."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ", 2)
            fields = (line.partition(":") for line in head[1:] if line)
            headers = {name.lower(): value.strip() for name, _, value in fields}
            split = urlsplit(target)
            request = Request(method, split.path, parse_qs(split.query, keep_blank_values=True), headers)
            if headers.get("expect", "").lower() == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            size = await _drop(reader, int(headers.get("content-length", 0)))
            if latency:
                await asyncio.sleep(latency)
            writer.write(_bytes(request, sink.answer(request, int(headers.get("x-amz-decoded-content-length", size)))))
            await writer.drain()
            if headers.get("connection", "").lower() == "close":
                return
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


async def _drop(reader: asyncio.StreamReader, size: int) -> int:
    left = size
    while left:
        data = await reader.read(min(left, MIB))
        if not data:
            raise ConnectionError
        left -= len(data)
    return size


def _bytes(request: Request, answer: Answer) -> bytes:
    headers = {"Server": "sink", "x-amz-request-id": "sink", "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
    if not answer.status.startswith("204"):
        headers["Content-Length"] = str(len(answer.body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, **answer.headers}.items())
    body = b"" if request.method == "HEAD" else answer.body
    return f"HTTP/1.1 {answer.status}\r\n{lines}\r\n".encode() + body


async def main(port: int, latency: float, directory: Path) -> None:
    sink = Sink(directory)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(sink, latency, reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", port, limit=MIB, backlog=1024)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with server:
        await ended.wait()


if __name__ == "__main__":
    try:
        from uvloop import run
    except ImportError:
        from asyncio import run
    run(main(int(sys.argv[1]), int(sys.argv[2]) / 1e6, Path(sys.argv[3])))
