"""The process that does one kind of work for a task, and the first kind: it takes files, sends them, tells of them.

It ends when its input ends: whoever started it needs no more, or is dead.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.errors import GlacierProviderError
from glacier_provider.files.root import NeighbourRoot, Root
from glacier_provider.files.source import open_source
from glacier_provider.stores.s3.fast.ask import Asker
from glacier_provider.stores.s3.fast.fetch import Fetcher
from glacier_provider.stores.s3.fast.sender import Reply
from glacier_provider.stores.s3.fast.shapes import Credentials
from glacier_provider.stores.s3.fast.worker import REFUSED, SENT, Worker, read_frame, write_frame
from glacier_provider.stores.s3.keys import metadata_of, object_key

_CHECKSUM = re.compile(rb"(?im)^x-amz-checksum-sha256:[ \t]*([A-Za-z0-9+/=]+)[ \t]*\r?$")
_ETAG = re.compile(rb'(?im)^etag:[ \t]*"([0-9a-f]{32})"[ \t]*\r?$')


@dataclass(frozen=True, slots=True)
class ProcessSetup:
    """What a process needs to know before its first file. Seconds, bytes; `rate` is in bytes per second, 0 without."""

    application: str
    directory: str
    prefix: str
    settle_seconds: float
    largest: int
    rate: float


@dataclass(slots=True)
class _Sent:
    """A file on its way."""

    archive_id: int
    key: str
    data: bytes
    sha256: str
    checksum: str


class Uploader(Worker):
    """Sends files of one application; tells ``(archive id, word, key, size, sha256)``."""

    needs_heads = True

    def __init__(
        self, setup: ProcessSetup, shape: tuple[Any, ...], credentials: Credentials, tell: Callable[[Any], None]
    ):
        super().__init__(shape, credentials, tell, rate=setup.rate)
        self._setup = setup
        self._root = NeighbourRoot(setup.directory)

    def _go_on(self) -> None:
        self._root.let_go()

    def _start(self, archive_id: int, backup_id: int, filename: str, written_by: str | None) -> None:
        try:
            data = contents_of(self._root, filename, self._setup)
        except GlacierProviderError:
            self._answers.append((archive_id, REFUSED))
            return
        digest = hashlib.sha256(data)
        sha256, checksum = digest.hexdigest(), base64.b64encode(digest.digest()).decode()
        description = Description(
            application=self._setup.application,
            kind=ArchiveKind.FILE,
            archive_id=archive_id,
            backup_id=backup_id,
            filename=filename,
            size=len(data),
            sha256=sha256,
            written_by=written_by,
        )
        key = object_key(self._setup.prefix, description)
        own = [("x-amz-meta-" + name, value) for name, value in metadata_of(description).items()]
        own.append(("x-amz-checksum-sha256", checksum))
        request = self._requests.make(key, own, body=data, payload=sha256)
        now = time.monotonic()
        self._not_before = now + self._rate_limit.delay(len(data), now)
        self._on_the_way += len(data)
        self._sender.start(request, _Sent(archive_id, key, data, sha256, checksum))

    def _judge(self, file: _Sent, reply: Reply) -> None:
        self._on_the_way -= len(file.data)
        if reply.status == 200 and _is_proof(reply, file):
            self._answers.append((file.archive_id, SENT, file.key, len(file.data), file.sha256))
        else:
            self._refuse(file.archive_id, reply)


def contents_of(root: Root, filename: str, setup: ProcessSetup) -> bytes:
    """Return the bytes of a file as they are at one moment; raise FileChanged, FileMissing, or what else is wrong."""
    with open_source(root, filename, settle_seconds=setup.settle_seconds, now=time.time()) as source:
        source.require_size(min(source.size, setup.largest))  # one that grew goes in parts
        return source.read_at(0, source.size)


def _is_proof(reply: Reply, file: _Sent) -> bool:
    """Return whether a reply proves that the store has these bytes: by their SHA-256, or else by an ETag, their MD5."""
    told = _CHECKSUM.search(reply.head)
    if told is not None:
        return told.group(1) == file.checksum.encode()
    tag = _ETAG.search(reply.head)
    md5 = hashlib.md5(file.data, usedforsecurity=False).hexdigest() if tag is not None else ""
    return tag is not None and tag.group(1).decode().lower() == md5


def main() -> None:
    """Work until the input ends. Nothing but answers goes to what was the output."""
    asked, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    inbox: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_listen, args=(asked, inbox), daemon=True).start()
    _, kind, setup, shape, credentials = inbox.get()
    worker = _worker(kind, setup, shape, Credentials(*credentials), lambda told: write_frame(answers, told))
    gc.freeze()  # a file leaves no cycles behind; what was imported need not be looked through for them
    gc.set_threshold(50_000)
    while True:
        for message in _arrived(inbox, wait=worker.is_idle):
            worker.take(message)
        worker.turn()


def _worker(
    kind: str, setup: tuple[Any, ...], shape: tuple[Any, ...], credentials: Credentials, tell: Callable[[Any], None]
) -> Worker:
    if kind == Fetcher.kind:
        return Fetcher(setup[0], shape, credentials, tell)
    if kind == Asker.kind:
        return Asker(setup[0], shape, credentials, tell)
    return Uploader(ProcessSetup(*setup), shape, credentials, tell)


def _arrived(inbox: SimpleQueue[Any], *, wait: bool) -> Iterable[tuple[Any, ...]]:
    if wait:
        yield inbox.get()
    while not inbox.empty():
        try:
            yield inbox.get_nowait()
        except Empty:
            return


def _listen(fd: int, inbox: SimpleQueue[Any]) -> None:
    """Pass on what comes, so that the task never waits for a full pipe; end the process with its input."""
    try:
        while True:
            inbox.put(read_frame(fd))
    except EOFError:
        os._exit(0)


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(0)
