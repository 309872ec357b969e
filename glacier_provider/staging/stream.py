"""Archives that are sent while they are still being made: what is there can be read, and what follows is waited for.

They implement `glacier_provider.stores.contract.StreamSource`. One thread makes the archive and ends it with `end` or
`fail`; others read it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Self

from glacier_provider.errors import DumpInvalid, FileChanged, FileMissing, GlacierProviderError
from glacier_provider.files.root import AnyPath, Root, file_errors
from glacier_provider.staging.tar import _END, Piece, TarBytes, entry_of

IN_MEMORY = 16 * 1024 * 1024  # bytes of a part that a spool keeps in memory; a larger one is kept in a file
_WINDOW = 1024 * 1024


class StreamState:
    """How far an archive has come, and whether it is at its end or was given up."""

    def __init__(self) -> None:
        self.size = 0
        self._ended = False
        self._error: GlacierProviderError | None = None
        self._changed = threading.Condition()

    def reached(self, size: int) -> None:
        with self._changed:
            self.size = size
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def fail(self, error: GlacierProviderError) -> None:
        """Give the archive up: whoever waits for more of it gets `error`."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def wait_for(self, size: int, *, seconds: float | None = None) -> bool:
        """Wait until the archive has `size` bytes or is at its end; return whether it has them. Raise what ended it."""
        with self._changed:
            self._changed.wait_for(lambda: self._error or self._ended or self.size >= size, timeout=seconds)
            if self._error is not None:
                raise self._error
            return self.size >= size

    @property
    def ended(self) -> bool:
        with self._changed:
            return self._ended


class Stream:
    """What a growing archive is for those who read it. Its SHA-256 is made while it grows."""

    def __init__(self) -> None:
        self.state = StreamState()
        self._digest = hashlib.sha256()

    @property
    def size(self) -> int:
        """The bytes that can be read now."""
        return self.state.size

    def wait_for(self, size: int) -> bool:
        return self.state.wait_for(size)

    def fail(self, error: GlacierProviderError) -> None:
        self.state.fail(error)

    def sent(self, start: int, size: int) -> None:
        """Nothing to free: what is in files stays where it is."""

    def sha256(self) -> str:
        return self._digest.hexdigest()


class TarStream(Stream, TarBytes):
    """A directory whose files are still being written, as one tar archive of the pieces that were added so far.

    `pieces` is the layout from which `DirectorySource` makes the same bytes again. About 300 bytes of memory for each
    piece. Reading raises DumpInvalid when bytes that were added are gone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[Piece] = []

    def begin(self, directory: AnyPath) -> None:
        """Take pieces of files in this directory from now on."""
        TarBytes.__init__(self, Root(directory), [])

    def add(self, name: str, place: int, size: int) -> None:
        """Add bytes that are written and will not change; the pieces of one file follow each other without a gap."""
        piece = Piece(name, place, size)
        entry = entry_of(piece, self._end)
        self._entries.append(entry)  # before its start: readers look for that one
        self._starts.append(entry.start)
        self.pieces.append(piece)
        self._hash(entry.start, entry.end)
        self.state.reached(entry.end)

    def end(self) -> None:
        """No piece follows."""
        self._hash(self._end, self._end + _END)
        self.state.reached(self._end + _END)
        self.state.end()

    def close(self) -> None:
        if hasattr(self, "_root"):
            super().close()

    def _hash(self, start: int, end: int) -> None:
        for at in range(start, end, _WINDOW):
            self._digest.update(self._read(at, min(_WINDOW, end - at)))

    def _read(self, start: int, size: int) -> bytes:
        """Read beyond what others may see yet."""
        pieces, end = [], start + size
        while start < end:
            pieces.append(self._stretch(start, end))
            start += len(pieces[-1])
        return b"".join(pieces)

    def _stretch(self, start: int, end: int) -> bytes:
        try:
            return super()._stretch(start, end)
        except (FileMissing, FileChanged) as exc:
            raise DumpInvalid(
                f"A file of the dump in {self._root.path} was cut or removed after it was written."
            ) from exc


class FileStream(Stream):
    """A file that is being written, under a temporary name until `publish`."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        with file_errors("make", str(path)):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        left = memoryview(data)
        while left:
            with file_errors("write", str(self._path)):
                left = left[os.write(self._fd, left) :]
        self.state.reached(self.state.size + len(data))

    def publish(self, path: Path) -> None:
        """Nothing follows: give the file its name, durably."""
        with file_errors("write", str(path)):
            os.fsync(self._fd)
            os.rename(self._path, path)
            sync_directory(path.parent)
        self.state.end()

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Spool(Stream):
    """A stream of which only what is on its way is kept: in memory up to `part_size` of 16 MiB, else in unnamed files.

    The writer waits while `parts` parts are kept; `sent` frees one. A part that was sent cannot be read again.
    """

    def __init__(self, directory: AnyPath, *, part_size: int, parts: int = 4) -> None:
        super().__init__()
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
            number, offset = divmod(self.state.size, self.part_size)
            taken = view[: self.part_size - offset]
            file, lock = self._part(number)
            with lock, file_errors("write to", self._directory):
                file.seek(offset)
                file.write(taken)
            view = view[len(taken) :]
            self.state.reached(self.state.size + len(taken))

    def _part(self, number: int) -> tuple[IO[bytes], threading.Lock]:
        with self._room:
            if number not in self._kept:
                while len(self._kept) >= self._parts:
                    self._room.wait(timeout=1)
                    self.state.wait_for(0)  # raises when the archive was given up
                self._kept[number] = (self._file(), threading.Lock())
            return self._kept[number]

    def _file(self) -> IO[bytes]:
        with file_errors("make a temporary file in", self._directory):
            return tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, dir=self._directory)

    def end(self) -> None:
        self.state.end()

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_layout(pieces: Iterable[Piece], path: Path) -> None:
    """Keep the layout of an archive in a file, durably: one line a piece, with its place, its size and the file."""
    with file_errors("write", str(path)), open(path, "wb") as file:
        for piece in pieces:
            file.write(b"%d %d %b\n" % (piece.place, piece.size, piece.name.encode()))
        file.flush()
        os.fsync(file.fileno())


def read_layout(path: Path) -> list[Piece] | None:
    """Return what `write_layout` kept; None when there is no such file. Raise FileChanged when it is damaged."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return None
    try:
        return [_piece(line) for line in lines]
    except ValueError as exc:
        raise FileChanged(f"The layout {path} is damaged.") from exc


def _piece(line: bytes) -> Piece:
    place, size, name = line.split(b" ", 2)
    return Piece(name.decode(), int(place), int(size))
