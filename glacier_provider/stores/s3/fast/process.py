"""The process that takes files from its input, sends them, and tells what became of them.

It ends when its input ends: whoever started it needs no more, or is dead. Messages between the two are plain values
with their length in front. Both sides are one interpreter of one version: `marshal` is safe between them and the
quickest.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import marshal
import os
import re
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.errors import GlacierProviderError
from glacier_provider.files.root import NeighbourRoot, Root
from glacier_provider.files.source import open_source
from glacier_provider.stores.rate_limit import RateLimit
from glacier_provider.stores.s3.fast.requests import Requests
from glacier_provider.stores.s3.fast.sender import ManyAtOnce, Reply
from glacier_provider.stores.s3.fast.shapes import Credentials, from_plain
from glacier_provider.stores.s3.keys import metadata_of, object_key

#: What is in memory at once, beside one file more.
_BYTES_ON_THE_WAY = 32 * 1024 * 1024
_STARTED_AT_ONCE = 16
_TOLD_AT_ONCE = 64
_CHECKSUM = re.compile(rb"(?im)^x-amz-checksum-sha256:[ \t]*([A-Za-z0-9+/=]+)[ \t]*\r?$")
_LENGTH = struct.Struct("=I")
_ETAG = re.compile(rb'(?im)^etag:[ \t]*"([0-9a-f]{32})"[ \t]*\r?$')

#: What an answer says: the store proved that it has the file; it did not; it asks for fewer requests; not tried.
SENT, REFUSED, THROTTLED, LATER = "sent", "refused", "throttled", "later"


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


class Uploader:
    """Sends files of one application; `tell` gets groups of answers ``(archive id, word, key, size, sha256)``."""

    def __init__(
        self, setup: ProcessSetup, shape: tuple[Any, ...], credentials: Credentials, tell: Callable[[Any], None]
    ):
        self._setup = setup
        self._root = NeighbourRoot(setup.directory)
        self._requests = Requests(from_plain(shape), credentials)
        self._sender = ManyAtOnce(from_plain(shape).transport, 256)
        self._rate_limit = RateLimit(setup.rate)
        self._connections = 1
        self._waiting: deque[tuple[int, int, str, str | None]] = deque()
        self._on_the_way = 0
        self._answers: list[tuple[Any, ...]] = []
        self._tell = tell
        self._not_before = 0.0

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not len(self._sender)

    def take(self, message: tuple[Any, ...]) -> None:
        """Take work, ``("send", connections, files)``, or ``("shape", shape, credentials)`` for what follows."""
        if message[0] == "send":
            self._connections = message[1]
            self._waiting.extend(message[2])
        else:
            self._requests = Requests(from_plain(message[1]), Credentials(*message[2]))

    def turn(self) -> None:
        """Begin what may begin, take what has been answered, and tell it."""
        started = 0
        while self._waiting and started < _STARTED_AT_ONCE and self._may_start():
            self._start(*self._waiting.popleft())
            started += 1
        self._root.let_go()
        for file, reply in self._sender.answers(0 if started == _STARTED_AT_ONCE else self._patience()):
            self._judge(file, reply)
        if self._answers and (len(self._answers) >= _TOLD_AT_ONCE or not self._waiting):
            self._tell(self._answers)
            self._answers = []
        if not len(self._sender) and self._waiting and (pause := self._not_before - time.monotonic()) > 0:
            time.sleep(min(pause, 0.1))  # the rate allows none yet; not longer, since messages may come

    def _may_start(self) -> bool:
        if not len(self._sender):
            return self._not_before <= time.monotonic()
        room = self._on_the_way < _BYTES_ON_THE_WAY and len(self._sender) < self._connections
        return room and (not self._setup.rate or self._not_before <= time.monotonic())

    def _patience(self) -> float:
        return 0.02 if len(self._sender) < self._connections else 0.2

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
        elif reply.is_throttled:
            self._answers.append((file.archive_id, THROTTLED))
            self._answers += [(waiting[0], LATER) for waiting in self._waiting]
            self._waiting.clear()
        else:
            self._answers.append((file.archive_id, REFUSED))


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


def write_frame(fd: int, message: Any) -> None:
    """Write one message; raise BrokenPipeError when nobody listens any more."""
    data = marshal.dumps(message)
    view = memoryview(_LENGTH.pack(len(data)) + data)
    while len(view):
        view = view[os.write(fd, view) :]


def read_frame(fd: int) -> Any:
    """Return the next message; raise EOFError when there is none and there will be none."""
    return marshal.loads(_read_exactly(fd, _LENGTH.unpack(_read_exactly(fd, _LENGTH.size))[0]))


def _read_exactly(fd: int, size: int) -> bytes:
    pieces = []
    while size:
        piece = os.read(fd, size)
        if not piece:
            raise EOFError
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def main() -> None:
    """Work until the input ends. Nothing but answers goes to what was the output."""
    asked, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    inbox: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_listen, args=(asked, inbox), daemon=True).start()
    _, setup, shape, credentials = inbox.get()
    uploader = Uploader(ProcessSetup(*setup), shape, Credentials(*credentials), lambda told: write_frame(answers, told))
    gc.freeze()  # a file leaves no cycles behind; what was imported need not be looked through for them
    gc.set_threshold(50_000)
    while True:
        for message in _arrived(inbox, wait=uploader.is_idle):
            uploader.take(message)
        uploader.turn()


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
