"""A directory as one archive: a tar stream whose every byte can be computed from a layout, and its safe extraction.

A dump in pg_dump's directory format is many files; the store takes it as one archive without a second copy on disk.
The same layout always gives the same bytes: entries sorted by name unless it says otherwise, owners and times left
out. Format: POSIX pax, as `tarfile` writes it, so that any `tar` can read the archive without this package.

Files that are still being written go into the archive in pieces (see `stream.py`): the first piece has the file's
name, each further one the name and its place in the file, ``3456.dat.zst+00000000000004194304``. `extract_tar` puts
them together; by hand, the pieces are appended to the first one in the order of their names.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import tarfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Self

from glacier_provider.errors import DumpInvalid, FileChanged, UnsafePath
from glacier_provider.files.names import TEMPORARY, name_parts, text_of
from glacier_provider.files.root import AnyPath, Root, file_errors, not_regular, open_directory
from glacier_provider.staging.layout import Piece

_BLOCK = 512
_END_MARK = 2 * _BLOCK  # empty
_CHUNK = 1024 * 1024
_PLACE_DIGITS = 20
_FURTHER_PIECE = re.compile(rb"(.+)\+(?!0+$)(\d{%d})" % _PLACE_DIGITS, re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One directory, file or piece of a file. `start` is the position of its header in the stream, `data` that of its
    content, `place` that of its content in the file."""

    parts: tuple[bytes, ...]
    start: int
    data: int
    size: int
    stamp: tuple[int, int, int] | None  # size, mtime, inode; None where they are not watched
    place: int = 0
    directory: bool = False

    @property
    def end(self) -> int:
        return self.data + -(-self.size // _BLOCK) * _BLOCK


class TarArchive:
    """The bytes of a tar archive of what is below a root, computed from its entries. Threads may share it.

    It owns the root: close it, or use it in a `with`.
    """

    def __init__(self, root: Root, entries: Iterable[_Entry] = ()) -> None:
        self._root = root
        self._entries = list(entries)
        self._starts = [entry.start for entry in self._entries]

    @property
    def directory(self) -> str:
        return self._root.path

    @property
    def end(self) -> int:
        """The position after the last entry."""
        return self._entries[-1].end if self._entries else 0

    @property
    def size(self) -> int:
        """The bytes of the archive, if no entry follows."""
        return self.end + _END_MARK

    def add(self, piece: Piece) -> None:
        """Add a piece of a file, of which nothing is watched; others may read what was there before meanwhile."""
        entry = _entry_of(piece, self.end)
        self._entries.append(entry)  # before its start: readers look for that one
        self._starts.append(entry.start)

    def with_header(self, piece: Piece, data: bytes) -> bytes:
        """Return the bytes of the entry that was added last, of a piece whose content is `data`."""
        entry = self._entries[-1]
        return _header(entry) + data + bytes(entry.end - entry.data - piece.size)

    def read_at(self, start: int, size: int) -> bytes:
        """Return exactly `size` bytes of the archive; raise FileChanged when the tree is not what it was."""
        if start < 0 or start + size > self.size:
            raise ValueError(f"bytes {start} to {start + size} are not within {self.size}")
        pieces, end = [], start + size
        while start < end:
            piece = self._stretch(start, end)
            pieces.append(piece)
            start += len(piece)
        return b"".join(pieces)

    def _stretch(self, start: int, end: int) -> bytes:
        """Return at least one byte from `start`, as far as one stretch of header, content or padding goes."""
        index = bisect_right(self._starts, start) - 1
        if index < 0 or start >= self._entries[index].end:
            return bytes(end - start)  # the two empty blocks that end the archive
        entry = self._entries[index]
        if start < entry.data:
            return _header(entry)[start - entry.start : end - entry.start]
        if start < entry.data + entry.size:
            return self._content(entry, start - entry.data, min(end, entry.data + entry.size) - start)
        return bytes(min(end, entry.end) - start)

    def _content(self, entry: _Entry, start: int, size: int) -> bytes:
        where = self._root.where(entry.parts)
        fd = self._root.open_file(entry.parts)
        try:
            with file_errors("read", where):
                pieces, start = [], start + entry.place
                while size and (data := os.pread(fd, size, start)):
                    pieces.append(data)
                    start, size = start + len(data), size - len(data)
                if size or (entry.stamp is not None and _stamp(os.fstat(fd)) != entry.stamp):
                    raise FileChanged(f"{where} changed while it was read.")
        finally:
            os.close(fd)
        return b"".join(pieces)

    def close(self) -> None:
        self._root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DirectorySource(TarArchive):
    """A directory tree as one archive; implements `glacier_provider.stores.contract.Source`. Threads may share it.

    The layout is taken when it is made: about 300 bytes of memory for each file. `pieces` gives the layout of an
    archive that was begun while its files were written. Raise DirectoryUnusable, UnsafePath for a tree that holds
    anything but regular files and directories, FileChanged for one that does not have these pieces.
    """

    def __init__(self, path: AnyPath, *, pieces: Iterable[Piece] | None = None) -> None:
        root = Root(path)
        try:
            with file_errors("read", root.path):
                super().__init__(root, _entries(root) if pieces is None else _entries_of(root, pieces))
        except BaseException:
            root.close()
            raise


def _entries(root: Root) -> Iterator[_Entry]:
    start = 0
    for parts, info in _tree(root.fd, (), root):
        regular = stat.S_ISREG(info.st_mode)
        size = info.st_size if regular else 0
        data = start + len(_pax_header(parts, size, directory=not regular))
        entry = _Entry(parts, start, data, size, _stamp(info) if regular else None, directory=not regular)
        yield entry
        start = entry.end


def _entries_of(root: Root, pieces: Iterable[Piece]) -> Iterator[_Entry]:
    """Yield the entries of these pieces; raise FileChanged unless they are the whole of the directory's files."""
    start, ends, stamps = 0, dict[str, int](), dict[str, tuple[int, int, int]]()
    for piece in pieces:
        if piece.name not in stamps:
            info = root.look(name_parts(piece.name))
            if info is None or not stat.S_ISREG(info.st_mode):
                raise FileChanged(f"{piece.name} in {root.path} is no longer there.")
            stamps[piece.name] = _stamp(info)
        if piece.place != ends.get(piece.name, 0):
            raise FileChanged(f"The layout of {root.path} is not that of its files.")
        ends[piece.name] = piece.place + piece.size
        entry = _entry_of(piece, start, stamps[piece.name])
        yield entry
        start = entry.end
    if {name: stamp[0] for name, stamp in stamps.items()} != ends or set(os.listdir(root.fd)) != set(ends):
        raise FileChanged(f"The files in {root.path} are not those of its layout.")


def _entry_of(piece: Piece, start: int, stamp: tuple[int, int, int] | None = None) -> _Entry:
    """Return the entry of a piece whose header is at `start` of the archive."""
    parts = name_parts(piece.name)
    data = start + len(_pax_header(_member(parts, piece.place), piece.size, directory=False))
    return _Entry(parts, start, data, piece.size, stamp, piece.place)


def _member(parts: tuple[bytes, ...], place: int) -> tuple[bytes, ...]:
    return parts if place == 0 else (*parts[:-1], b"%b+%0*d" % (parts[-1], _PLACE_DIGITS, place))


def _tree(directory: int, parts: tuple[bytes, ...], root: Root) -> Iterator[tuple[tuple[bytes, ...], os.stat_result]]:
    """Yield what is in a directory, sorted by the bytes of its name; a directory comes before what is in it."""
    with os.scandir(directory) as entries:
        names = sorted(os.fsencode(entry.name) for entry in entries)
    for name in names:
        if name == TEMPORARY.encode():
            continue
        info = os.stat(name, dir_fd=directory, follow_symlinks=False)
        below = (*parts, name)
        if not stat.S_ISREG(info.st_mode) and not stat.S_ISDIR(info.st_mode):
            raise not_regular(root.where(below))
        yield below, info
        if stat.S_ISDIR(info.st_mode):
            fd = open_directory(directory, name)
            try:
                yield from _tree(fd, below, root)
            finally:
                os.close(fd)


def _stamp(info: os.stat_result) -> tuple[int, int, int]:
    return (info.st_size, info.st_mtime_ns, info.st_ino)


def _header(entry: _Entry) -> bytes:
    return _pax_header(_member(entry.parts, entry.place), entry.size, directory=entry.directory)


@functools.lru_cache(maxsize=64)  # asked for its length first, and for itself a moment later
def _pax_header(parts: tuple[bytes, ...], size: int, *, directory: bool) -> bytes:
    info = tarfile.TarInfo(os.fsdecode(b"/".join(parts)))
    info.size = size
    info.type = tarfile.DIRTYPE if directory else tarfile.REGTYPE
    info.mode = 0o700 if directory else 0o600
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def extract_tar(archive: AnyPath | BinaryIO, into: AnyPath) -> None:
    """Extract a tar archive, a file or a stream, into the directory `into`, which is made (0700) and must be empty.

    Only regular files and directories, only below `into`, never over a file: raise UnsafePath for anything else,
    DumpInvalid for an archive that is cut or damaged, OutOfSpace, DirectoryUnusable. What was extracted before an
    error stays.
    """
    path = os.fspath(into)
    with file_errors("make the directory", path):
        os.makedirs(path, mode=0o700, exist_ok=True)
    with Root(path) as root:
        if os.listdir(root.fd):
            raise UnsafePath(f"The directory {path} is not empty.", hint="Extract into a new directory.")
        try:
            with _opened(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
                for member in tar:
                    _extract(tar, member, root)
                stream.require_end(tar.offset)
        except (tarfile.TarError, EOFError) as exc:
            raise DumpInvalid(f"The archive for {path} is cut or damaged: {exc}.", hint=_BROKEN) from exc


_BROKEN = "Nothing was restored from it; retrieve the archive again."


class _Counted:
    """A stream that knows how much of it was read: `tarfile` takes a cut between two members for the end."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._count = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._count += len(data)
        return data

    def require_end(self, offset: int) -> None:
        """Raise ReadError unless an end mark follows at `offset`."""
        while self.read(_CHUNK):
            pass
        if self._count < offset + _BLOCK:
            raise tarfile.ReadError("its end is missing")


@contextmanager
def _opened(archive: AnyPath | BinaryIO) -> Iterator[Any]:
    with ExitStack() as stack:
        if isinstance(archive, str | os.PathLike):
            with file_errors("read", os.fspath(archive)):
                archive = stack.enter_context(open(archive, "rb"))
        yield _Counted(archive)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, root: Root) -> None:
    parts = name_parts(text_of(member.name))
    where = root.where(parts)
    if member.isdir():
        with file_errors("make", where), root.parent((*parts, b"."), create=True):
            return
    content = tar.extractfile(member) if member.isreg() else None
    if content is None:
        raise UnsafePath(f"The archive holds {where}, which is neither a file nor a directory.")
    further = _FURTHER_PIECE.fullmatch(parts[-1])
    name, place = (further[1], int(further[2])) if further else (parts[-1], 0)
    with (
        file_errors("write", where),
        root.parent(parts, create=True) as parent,
        open(_open_piece(parent, name, place, where), "wb", buffering=0) as file,
    ):
        left = member.size
        while left and (data := content.read(min(left, _CHUNK))):
            file.write(data)
            left -= len(data)
    if left:
        raise tarfile.ReadError(f"{where} ends {left:,} bytes early")


def _open_piece(parent: int, name: bytes, place: int, where: str) -> int:
    """Open a new file, or the one that the earlier pieces made, at its end."""
    flags = os.O_WRONLY | os.O_NOFOLLOW
    if place == 0:
        return os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=parent)
    try:
        fd = os.open(name, flags | os.O_APPEND, dir_fd=parent)
    except FileNotFoundError as exc:
        raise tarfile.ReadError(f"{where} has no beginning") from exc
    if os.fstat(fd).st_size != place:
        os.close(fd)
        raise tarfile.ReadError(f"a piece before {where} is missing")
    return fd
