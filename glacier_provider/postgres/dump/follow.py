"""Reading a directory dump through while pg_dump writes it.

Each data file is decompressed as it grows, from its first byte to its end; what was read is given on in pieces, so that
it can be sent before the dump is whole. A file is finished when its compressed stream says so; whether it was what the
dump needs, the table of contents says in the end: every file that it names is there and was read to its end, and the
rows of every table end with the mark that pg_dump writes after the last one.
"""

from __future__ import annotations

import os
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from glacier_provider.errors import DumpInvalid
from glacier_provider.postgres.dump.disk import table_of_contents
from glacier_provider.postgres.dump.toc import Toc, TocEntry

_WINDOW = 1 << 20
_LEAST_PIECE = 4 << 20
_SMALL = 64 << 10  # a file of which the bytes are handed on, rather than read again
_GROWTH = 32  # a further piece of a file is worth its header from this fraction of what there is on
_SLICE = 4096  # zstd gives up to 32,768 times as much at once
_DATA_FILE = re.compile(r"(?:\d+|blob_\d+)\.dat(?:\.(?:gz|lz4|zst))?")
_ENDINGS = ("", ".zst", ".gz", ".lz4")
_END_OF_ROWS = b"\\.\n\n\n"


class PieceSink(Protocol):
    """Takes what is finished of a dump while it is made."""

    def begin(self, directory: Path) -> None:
        """The dump is made in this directory, which exists."""
        ...

    def add(self, name: str, place: int, size: int, data: bytes | None = None) -> None:
        """`size` bytes of a file, from `place` on, are written for good; `data` are these, if they are at hand."""
        ...


class Content:
    """Takes the bytes of a data file in order; knows how its content ends, and whether that is the end."""

    def __init__(self) -> None:
        self._tail = b"\n"

    #: Whether the content is at an end that it marks itself; an uncompressed large object marks none.
    ended = False
    #: Whether `feed` reads the content; else pg_restore has to.
    readable = True

    def feed(self, data: bytes) -> None:
        """Raise ValueError for bytes that cannot be decompressed."""
        self._keep(data)
        self.ended = self.rows_ended

    @property
    def rows_ended(self) -> bool:
        """Whether the content ends as the rows of a table do."""
        return self._tail.endswith(b"\n" + _END_OF_ROWS)

    def _keep(self, content: bytes) -> None:
        self._tail = (self._tail + content[-16:])[-16:]


class _Zstd(Content):
    def __init__(self) -> None:
        super().__init__()
        self._stream: Any = None
        self._slice = _SLICE

    def feed(self, data: bytes) -> None:
        import zstandard

        view, start = memoryview(data), 0
        try:
            while start < len(view):
                if self._stream is None:
                    self._stream = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
                end = min(start + self._slice, len(view))
                content = self._stream.decompress(view[start:end])
                start = end
                self._keep(content)
                self._slice = _next_slice(self._slice, len(content))
                if self._stream.eof:
                    start -= len(self._stream.unused_data)
                    self._stream = None
        except zstandard.ZstdError as exc:
            raise ValueError(str(exc)) from exc
        self.ended = self._stream is None


def _next_slice(size: int, content: int) -> int:
    """Keep what one slice gives near one window, whatever the content is."""
    return max(64, min(_SLICE, size * 2, size * _WINDOW // max(content, 1)))


class _Gzip(Content):
    def __init__(self) -> None:
        super().__init__()
        self._stream: Any = None

    def feed(self, data: bytes) -> None:
        try:
            while data:
                if self._stream is None:
                    self._stream = zlib.decompressobj(31)
                self._keep(self._stream.decompress(data, _WINDOW))
                data = self._stream.unconsumed_tail
                if self._stream.eof:
                    data, self._stream = self._stream.unused_data, None
        except zlib.error as exc:
            raise ValueError(str(exc)) from exc
        self.ended = self._stream is None


class _Unread(Content):
    readable = False

    def feed(self, data: bytes) -> None:
        """Nothing here can decompress it."""

    @property
    def rows_ended(self) -> bool:
        return True


def _content_of(name: str) -> Content:
    if name.endswith(".gz"):
        return _Gzip()
    if name.endswith(".lz4") or (name.endswith(".zst") and not _has_zstandard()):
        return _Unread()
    return _Zstd() if name.endswith(".zst") else Content()


def _has_zstandard() -> bool:
    try:
        import zstandard  # noqa: F401
    except ImportError:
        return False
    return True


@dataclass(slots=True)
class _File:
    """A data file: how far it was read, and how far it was given on."""

    name: str
    content: Content = field(repr=False)
    read: int = 0
    given: int = 0
    data: bytes | None = field(default=None, repr=False)  # all that was read, while it fits into one window


class Follower:
    """Follows the data files of one dump directory. `look` now and then; `finish` when pg_dump has ended well.

    Memory for each file, not for its size. Both raise DumpInvalid.
    """

    def __init__(self, directory: Path, pieces: PieceSink | None = None) -> None:
        self._directory = directory
        self._pieces = pieces
        self._unfinished: dict[str, _File] = {}
        self._finished: dict[str, _File] = {}
        self.read = 0  # bytes read so far

    @property
    def all_read(self) -> bool:
        """Whether every file was read here; else pg_restore has to read the dump through."""
        return all(file.content.readable for file in self._finished.values())

    def look(self) -> bool:
        """Read what was written since the last look; return whether there was anything."""
        before = self.read
        for name in self._names():
            if name not in self._finished and name not in self._unfinished and not _marks_no_end(name):
                self._unfinished[name] = _File(name, _content_of(name))
        for file in list(self._unfinished.values()):
            self._read_on(file)
            if file.content.ended:
                self._finish(file)
            elif file.read - file.given >= max(_LEAST_PIECE, file.given // _GROWTH):
                self._give(file)
        return self.read > before

    def finish(self) -> Toc:
        """Read the rest, compare everything with the table of contents and return that."""
        names = self._names()
        for name in names:
            file = self._finished.get(name) or self._unfinished.get(name) or _File(name, _content_of(name))
            self._read_on(file)
            if file.content.readable and not file.content.ended and not _may_end(file):
                raise DumpInvalid(f"The data file {name} of the dump is cut.")
            if name not in self._finished or file.read > file.given:
                self._finish(file)
        if missing := (self._finished.keys() | self._unfinished.keys()) - set(names):
            raise DumpInvalid(f"The data file {min(missing)} of the dump is gone.")
        toc = table_of_contents(self._directory)
        for entry in toc.entries:
            self._check(entry)
        self._give_others()
        return toc

    def _names(self) -> list[str]:
        try:
            return [name for name in os.listdir(self._directory) if _DATA_FILE.fullmatch(name)]
        except OSError as exc:
            raise DumpInvalid(f"The dump {self._directory} cannot be read: {exc.strerror}.") from exc

    def _read_on(self, file: _File) -> None:
        try:
            with open(self._directory / file.name, "rb", buffering=0) as stream:
                if os.fstat(stream.fileno()).st_size < file.read:
                    raise DumpInvalid(f"The data file {file.name} of the dump was cut after it was written.")
                stream.seek(file.read)
                while data := stream.read(_WINDOW):
                    file.content.feed(data)
                    file.data = data if file.read == 0 and len(data) <= _SMALL else None
                    file.read += len(data)
                    self.read += len(data)
        except OSError as exc:
            raise DumpInvalid(f"The data file {file.name} of the dump cannot be read: {exc.strerror}.") from exc
        except ValueError as exc:
            raise DumpInvalid(f"The data file {file.name} of the dump is damaged: {exc}.") from exc

    def _finish(self, file: _File) -> None:
        if file.read > file.given or file.read == 0:
            self._give(file)
        self._unfinished.pop(file.name, None)
        self._finished[file.name] = file

    def _give(self, file: _File) -> None:
        if self._pieces is not None:
            whole = file.data if file.given == 0 and file.data is not None and len(file.data) == file.read else None
            self._pieces.add(file.name, file.given, file.read - file.given, whole)
        file.given, file.data = file.read, None

    def _check(self, entry: TocEntry) -> None:
        if not entry.has_data or entry.data_file is None:
            return
        if entry.data_file.endswith(".toc"):
            for name in self._large_objects(entry.data_file):
                self._file_of(name, f"of large objects that {entry.data_file} names")
        elif not self._file_of(entry.data_file, f"of {entry}").content.rows_ended and entry.desc == "TABLE DATA":
            raise DumpInvalid(f"The rows of {entry.schema}.{entry.name} in the dump are cut.")

    def _file_of(self, name: str, what: str) -> _File:
        for ending in _ENDINGS:
            if found := self._finished.get(name + ending):
                return found
        raise DumpInvalid(f"The data file {name} {what} is not in the dump.")

    def _large_objects(self, toc: str) -> list[str]:
        """Return the data files of large objects; a line is an object id and a file."""
        try:
            *lines, end = (self._directory / toc).read_text(encoding="ascii").split("\n")
            if end:
                raise ValueError
            return [line.split(" ", 1)[1] for line in lines]
        except (OSError, ValueError, IndexError) as exc:
            raise DumpInvalid(f"The list of large objects {toc} of the dump cannot be read.") from exc

    def _give_others(self) -> None:
        """Give on what is small and no data, the table of contents last."""
        others = set(os.listdir(self._directory)) - self._finished.keys()
        for name in sorted(others, key=lambda name: (name == "toc.dat", name)):
            try:
                size = (self._directory / name).stat().st_size
            except OSError as exc:
                raise DumpInvalid(f"The file {name} of the dump cannot be read: {exc.strerror}.") from exc
            if self._pieces is not None:
                self._pieces.add(name, 0, size)


def _may_end(file: _File) -> bool:
    """Tell whether a file may end where nothing marks it: of an empty large object zstd writes nothing."""
    return _marks_no_end(file.name) or (file.read == 0 and file.name.startswith("blob_"))


def _marks_no_end(name: str) -> bool:
    return name.startswith("blob_") and name.endswith(".dat")
