"""The process that brings small archives: each is verified, written, durable, and named last.

What is verified waits under a temporary name until a group of it is on the disk; then, if the task says that the
restore goes on, all of the group get their names. A kill at any instant leaves temporary files, which the next run
clears, and files that are verified and durable. Whatever is not usual (a name that is taken, a full disk, bytes that
are not the archive's) is refused, and left to the careful path.
"""

from __future__ import annotations

import hashlib
import resource
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from glacier_provider.errors import FileError, GlacierProviderError
from glacier_provider.files.together import PlacedTogether, WrittenFile
from glacier_provider.stores.s3.fast.sender import Reply
from glacier_provider.stores.s3.fast.shapes import Credentials
from glacier_provider.stores.s3.fast.worker import REFUSED, SENT, Worker

#: A group is made durable when it has so many files, or bytes, or is so many seconds old.
_MOST_FILES = 200
_MOST_BYTES = 16 * 1024 * 1024
_OLDEST = 0.25
_DESCRIPTORS = 8192
#: When so many names in a row were not taken, no more are looked for: a try that follows a kill begins with those that
#: the one before has brought.
_FREE_IN_A_ROW = 500
#: Groups that are not named yet: more are not begun while so many wait for the disk or for leave.
_GROUPS = 8


@dataclass(slots=True)
class _Wanted:
    """An archive on its way."""

    archive_id: int
    filename: str
    size: int
    sha256: str


@dataclass(slots=True)
class _Group:
    """Files that were written and are made durable together, then named together."""

    files: list[tuple[int, WrittenFile]] = field(default_factory=list)
    named: list[tuple[int, int, int]] = field(default_factory=list)
    bytes: int = 0
    begun: float = 0.0
    failed: bool = False


class Fetcher(Worker):
    """Brings archives ``(id, key, filename, size, sha256)`` into a directory; tells ``(id, word, mtime_ns, inode)``."""

    kind = "fetch"
    needs_leave = True

    def __init__(
        self, directory: str, shape: tuple[Any, ...], credentials: Credentials, tell: Callable[[Any], None]
    ) -> None:
        super().__init__(shape, credentials, tell)
        self._place = PlacedTogether(directory)
        self._most = _open_files() // (3 * _GROUPS)  # each has two descriptors
        self._group = _Group()
        self._under_way = 0
        self._free = 0
        self._durable: list[_Group] = []
        self._to_disk: SimpleQueue[_Group] = SimpleQueue()
        self._on_disk: SimpleQueue[_Group] = SimpleQueue()
        threading.Thread(target=self._keep, name="disk", daemon=True).start()

    @property
    def is_idle(self) -> bool:
        return super().is_idle and not self._group.files and not self._under_way

    def _may_start(self) -> bool:
        return self._under_way < _GROUPS and super()._may_start()

    def _patience(self) -> float:
        return 0.005 if self._under_way else super()._patience()

    def _start(self, archive_id: int, key: str, filename: str, size: int, sha256: str) -> None:
        if self._free < _FREE_IN_A_ROW and self._is_taken(filename):
            self._answers.append((archive_id, REFUSED))
            return
        self._on_the_way += size
        self._sender.start(self._requests.make(key, most=size), _Wanted(archive_id, filename, size, sha256))

    def _is_taken(self, filename: str) -> bool:
        """Return whether a name is taken, or cannot be: then it would be brought in vain."""
        try:
            taken = self._place.is_taken(filename)
        except GlacierProviderError:
            taken = True
        self._free = 0 if taken else self._free + 1
        return taken

    def _judge(self, wanted: _Wanted, reply: Reply) -> None:
        self._on_the_way -= wanted.size
        if reply.status != 200:
            self._refuse(wanted.archive_id, reply)
            return
        data = reply.body[0] if len(reply.body) == 1 else b"".join(reply.body)
        if len(data) != wanted.size or hashlib.sha256(data).hexdigest() != wanted.sha256:
            self._answers.append((wanted.archive_id, REFUSED))
            return
        try:
            written = self._place.write(wanted.filename, data)
        except FileError:
            self._answers.append((wanted.archive_id, REFUSED))
            return
        if not self._group.files:
            self._group.begun = time.monotonic()
        self._group.files.append((wanted.archive_id, written))
        self._group.bytes += wanted.size
        if len(self._group.files) >= min(_MOST_FILES, self._most) or self._group.bytes >= _MOST_BYTES:
            self._hand_over()

    def _go_on(self) -> None:
        self._place.let_go()
        is_late = time.monotonic() - self._group.begun >= _OLDEST
        if self._group.files and (is_late or super().is_idle):
            self._hand_over()
        with suppress(Empty):
            while True:
                group = self._on_disk.get_nowait()
                if group.failed or group.named:
                    self._tell_of(group)
                else:
                    self._durable.append(group)
        waiting, self._durable = self._durable, []
        for group in waiting:
            self._name(group)

    def _hand_over(self) -> None:
        self._under_way += 1
        self._to_disk.put(self._group)
        self._group = _Group()

    def _name(self, group: _Group) -> None:
        """Name what may be named; what is left when the leave ends waits for another one, as a group of its own."""
        written, group.files = group.files, []
        for place, (archive_id, file) in enumerate(written):
            if not self._has_leave():  # asked for each: the process may be stopped between any two
                self._durable.append(_Group(written[place:]))
                if not place:
                    return
                self._under_way += 1
                break
            try:
                info = self._place.name(file)
            except (FileError, OSError):  # taken meanwhile, on another file system, …
                self._answers.append((archive_id, REFUSED))
                self._free = 0
            else:
                group.files.append((archive_id, file))
                group.named.append((archive_id, info.st_mtime_ns, info.st_ino))
        if group.named:
            self._to_disk.put(group)
        else:
            self._under_way -= 1

    def _tell_of(self, group: _Group) -> None:
        """Tell of a group that is on the disk under its names; or that could not be brought there."""
        self._under_way -= 1
        if group.failed:
            for archive_id, file in group.files:
                self._place.take_back(file)
                self._answers.append((archive_id, REFUSED))
        else:
            self._answers += [(archive_id, SENT, mtime, inode) for archive_id, mtime, inode in group.named]

    def _keep(self) -> None:
        """Make durable what comes: content before names, names before they are told of."""
        while True:
            groups = [self._to_disk.get()]
            with suppress(Empty):
                while True:
                    groups.append(self._to_disk.get_nowait())
            try:
                self._place.make_durable(
                    [file for group in groups if not group.named for _, file in group.files],
                    [file for group in groups if group.named for _, file in group.files],
                )
            except Exception:  # noqa: BLE001 - no thread, no memory: whatever it is, who waits for the disk is told
                for group in groups:
                    group.failed = True
            for group in groups:
                self._on_disk.put(group)


def _open_files() -> int:
    """Have as many files open as are allowed, up to some thousands; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft
