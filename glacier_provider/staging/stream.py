"""Archives that are sent while they are still being made: what is there can be read, and what follows is waited for.

They implement `glacier_provider.stores.contract.StreamSource`. One thread makes the archive and ends it with `end` or
`fail`; others read it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, Self

from glacier_provider.errors import DumpInvalid, FileChanged, FileMissing, GlacierProviderError
from glacier_provider.files.root import AnyPath, Root, file_errors, sync_directory
from glacier_provider.staging.directory import require_space
from glacier_provider.staging.layout import Piece
from glacier_provider.staging.tar import TarArchive

_IN_MEMORY = 16 * 1024 * 1024  # bytes of a part that a spool keeps in memory; a larger one is kept in a file
_WINDOW = 1024 * 1024


class Stream(ABC):
    """How far an archive has come, and whether it is at its end or was given up. Its SHA-256 is made meanwhile.

    Close it, or use it in a `with`.
    """

    def __init__(self) -> None:
        self._size = 0
        self._ended = False
        self._error: GlacierProviderError | None = None
        self._changed = threading.Condition()
        self._digest = hashlib.sha256()

    @property
    def size(self) -> int:
        """The bytes that can be read now."""
        return self._size

    def sha256(self) -> str:
        """Return the hex digest of all bytes so far."""
        return self._digest.hexdigest()

    @abstractmethod
    def read_at(self, start: int, size: int) -> bytes:
        """Return exactly `size` bytes from `start`; `start + size` must not lie beyond the stream's size."""

    def sent(self, start: int, size: int) -> None:  # noqa: B027 - what is in files stays where it is
        """The store has these bytes, and they are not read again."""

    @abstractmethod
    def end(self) -> None:
        """No bytes follow."""

    @abstractmethod
    def close(self) -> None: ...

    def fail(self, error: GlacierProviderError) -> None:
        """Give the archive up: whoever waits for more of it gets `error`."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def wait_for(self, size: int) -> bool:
        """Wait until the archive has `size` bytes or is at its end; return whether it has them. Raise what ended it."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._ended or self._size >= size)
            if self._error is not None:
                raise self._error
            return self._size >= size

    def _reach(self, size: int, *, ended: bool = False) -> None:
        """Let others read up to `size`."""
        with self._changed:
            self._size, self._ended = size, ended
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TarStream(Stream):
    """A directory whose files are still being written, as one tar archive of the pieces that were added so far.

    `pieces` is the layout from which `DirectorySource` makes the same bytes again. About 300 bytes of memory for each
    piece. Reading raises DumpInvalid when bytes that were added are gone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[Piece] = []
        self._begun: TarArchive | None = None

    def begin(self, directory: AnyPath) -> None:
        """Take pieces of files in this directory from now on."""
        self._begun = TarArchive(Root(directory))

    @property
    def tar(self) -> TarArchive:
        if self._begun is None:
            raise ValueError("the archive has no directory yet")
        return self._begun

    def add(self, name: str, place: int, size: int, data: bytes | None = None) -> None:
        """Add bytes that are written and will not change; the pieces of one file follow each other without a gap.

        `data` are these bytes where they are at hand: then the file is not opened again for its checksum.
        """
        piece = Piece(name, place, size)
        self.tar.add(piece)
        self.pieces.append(piece)
        if data is not None and len(data) == size:
            self._digest.update(self.tar.with_header(piece, data))
        else:
            self._hash_to(self.tar.end)
        self._reach(self.tar.end)

    def end(self) -> None:
        self._hash_to(self.tar.size)
        self._reach(self.tar.size, ended=True)

    def read_at(self, start: int, size: int) -> bytes:
        if start < 0 or start + size > self.size:
            raise ValueError(f"bytes {start} to {start + size} are not within {self.size}")
        return self._read(start, size)

    def close(self) -> None:
        if self._begun is not None:
            self._begun.close()

    def _hash_to(self, end: int) -> None:
        for start in range(self.size, end, _WINDOW):
            self._digest.update(self._read(start, min(_WINDOW, end - start)))

    def _read(self, start: int, size: int) -> bytes:
        """Read what is there, also beyond what others may see yet."""
        try:
            return self.tar.read_at(start, size)
        except (FileMissing, FileChanged) as exc:
            raise DumpInvalid(
                f"A file of the dump in {self.tar.directory} was cut or removed after it was written."
            ) from exc


class FileStream(Stream):
    """A file that is being written: as ``<name>.partial`` until its end, durable and under its name then."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial")
        with file_errors("make", str(self._partial)):
            self._fd = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        left = memoryview(data)
        while left:
            with file_errors("write", str(self._partial)):
                left = left[os.write(self._fd, left) :]
        self._reach(self.size + len(data))

    def end(self) -> None:
        with file_errors("write", str(self._path)):
            os.fsync(self._fd)
            os.rename(self._partial, self._path)
            _sync_directory(self._path.parent)
        self._reach(self.size, ended=True)

    def read_at(self, start: int, size: int) -> bytes:
        """Return exactly `size` bytes from `start`; raise FileChanged when they are not there."""
        pieces, end = [], start + size
        with file_errors("read", str(self._path)):
            while start < end and (data := os.pread(self._fd, end - start, start)):
                pieces.append(data)
                start += len(data)
        if start < end:
            raise FileChanged(f"{self._path} became shorter while it was read.")
        return b"".join(pieces)

    def close(self) -> None:
        os.close(self._fd)


def _sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync_directory(fd)
    finally:
        os.close(fd)


class Spool(Stream):
    """A stream of which only what is on its way is kept: in memory up to `part_size` of 16 MiB, else in unnamed files.

    The writer waits while `parts` parts are kept; `sent` frees one. A part that was sent cannot be read again. Raise
    OutOfSpace when `directory` has no room for the files.
    """

    def __init__(self, directory: AnyPath, *, part_size: int, parts: int = 4) -> None:
        super().__init__()
        if part_size > _IN_MEMORY:
            require_space(directory, parts * part_size)
        self.part_size = part_size
        self._directory = os.fspath(directory)
        self._parts = parts
        self._kept: dict[int, tuple[IO[bytes], threading.Lock]] = {}
        self._room = threading.Condition()

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes; wait for room. Raise what `fail` was given."""
        self._digest.update(data)
        view = memoryview(data)
        while view:
            number, offset = divmod(self.size, self.part_size)
            taken = view[: self.part_size - offset]
            file, lock = self._part(number)
            with lock, file_errors("write to", self._directory):
                file.seek(offset)
                file.write(taken)
            view = view[len(taken) :]
            self._reach(self.size + len(taken))

    def _part(self, number: int) -> tuple[IO[bytes], threading.Lock]:
        with self._room:
            if number not in self._kept:
                while len(self._kept) >= self._parts:
                    self._room.wait(timeout=1)
                    self.wait_for(0)  # raises when the archive was given up
                self._kept[number] = (self._file(), threading.Lock())
            return self._kept[number]

    def _file(self) -> IO[bytes]:
        with file_errors("make a temporary file in", self._directory):
            return tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=self._directory)

    def end(self) -> None:
        self._reach(self.size, ended=True)

    def read_at(self, start: int, size: int) -> bytes:
        """Return exactly `size` bytes from `start`; raise FileChanged for what was sent already."""
        pieces, end = [], start + size
        while start < end:
            number, offset = divmod(start, self.part_size)
            with self._room:
                kept = self._kept.get(number)
            if kept is None:
                raise FileChanged(f"Bytes {start} to {end} of a stream are no longer there.")
            with kept[1]:
                kept[0].seek(offset)
                data = kept[0].read(min(end - start, self.part_size - offset))
            if not data:
                raise ValueError(f"bytes {start} to {end} are not within {self.size}")
            pieces.append(data)
            start += len(data)
        return b"".join(pieces)

    def sent(self, start: int, size: int) -> None:  # noqa: ARG002 - parts are freed whole
        """Free a part that the store has."""
        with self._room:
            kept = self._kept.pop(start // self.part_size, None)
            self._room.notify_all()
        if kept is not None:
            with kept[1]:
                kept[0].close()

    def close(self) -> None:
        with self._room:
            kept, self._kept = list(self._kept.values()), {}
        for file, _ in kept:
            file.close()
