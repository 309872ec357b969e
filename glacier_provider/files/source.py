"""Reading one attached file: all of it or any part of it, and only while it stays what it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Protocol, Self

from glacier_provider.errors import FileChanged
from glacier_provider.files.names import name_parts
from glacier_provider.files.root import AnyPath, Root, file_error, file_errors

_Stamp = tuple[int, int, int]


class Readable(Protocol):
    """What `hash_source` reads: a `Source` of the stores, a `FileSource` or a `DirectorySource`."""

    @property
    def size(self) -> int: ...

    def read_at(self, start: int, size: int) -> bytes: ...


class FileSource:
    """An open regular file; implements `glacier_provider.stores.contract.Source`. Several threads may read it at once.

    `size` (bytes), `mtime_ns` and `stamp`, which any change changes, are those at opening. The descriptor is owned:
    close it, or use it in a `with`.
    """

    def __init__(self, root: Root, parts: Sequence[bytes]) -> None:
        """Open the file of these name components; raise as `Root.open_file`. The root may be closed afterwards."""
        self._root = root
        self._parts = parts
        self.fd, info = root.open_regular(parts)
        self.stamp = _stamp(info)
        self._ctime = info.st_ctime
        self.size = info.st_size
        self.mtime_ns = info.st_mtime_ns

    def read_at(self, start: int, size: int) -> bytes:
        """Return exactly `size` bytes from `start`; raise FileChanged when the file is not what it was at opening."""
        try:
            data = os.pread(self.fd, size, start)
            if len(data) < size:
                data = self._read_on(data, start, size)
        except OSError as exc:
            raise file_error(exc, "read", self._where) from exc
        if len(data) != size:
            raise FileChanged(f"{self._where} became shorter while it was read.")
        self.verify_unchanged()
        return data

    @property
    def _where(self) -> str:
        return self._root.where(self._parts)

    def _read_on(self, first: bytes, start: int, size: int) -> bytes:
        pieces, got = [first], len(first)
        while got < size and pieces[-1]:
            pieces.append(os.pread(self.fd, size - got, start + got))
            got += len(pieces[-1])
        return b"".join(pieces)

    def verify_unchanged(self) -> None:
        """Raise FileChanged when size, times or existence of the file differ from those at opening.

        The change time counts as well: a program may set the modification time back after writing.
        """
        info = os.fstat(self.fd)
        if info.st_nlink == 0:
            raise FileChanged(f"{self._where} was deleted or replaced while it was read.")
        if _stamp(info) != self.stamp:
            raise FileChanged(f"{self._where} changed while it was read.")

    def require_settled(self, seconds: float, now: float) -> None:
        """Raise FileChanged when the file was modified less than `seconds` before `now` (seconds since the epoch).

        A modification time in the future says nothing: then the change time, which no program can set, is looked at.
        """
        modified = self.mtime_ns / 1e9
        if modified > now:
            modified = self._ctime
        if seconds > 0 and now - modified < seconds:
            raise FileChanged(
                f"{self._where} was modified {max(0, round(now - modified))} s ago and may still be being written.",
                hint=f"It is archived by a run that finds it older than settle_seconds ({seconds:g} s).",
            )

    def require_size(self, size: int) -> None:
        """Raise FileChanged unless the file has `size` bytes."""
        if self.size != size:
            raise FileChanged(f"{self._where} has {self.size:,} bytes, not the {size:,} of the scan.")

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _stamp(info: os.stat_result) -> _Stamp:
    return (info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def open_source(
    root: AnyPath | Root,
    name: str,
    *,
    expected_size: int | None = None,
    settle_seconds: float = 0,
    now: float = 0,
) -> FileSource:
    """Open the attached file `name` below `root` for reading. A `Root` opened once saves a call for each file.

    Raise FileMissing when it is gone, UnsafePath when it is not a regular file or its name leads elsewhere,
    FileChanged when it has not the `expected_size` (bytes) or was modified less than `settle_seconds` before `now`
    (seconds since the epoch).
    """
    parts = name_parts(name)
    if isinstance(root, Root):
        source = FileSource(root, parts)
    else:
        with Root(root) as opened:
            source = FileSource(opened, parts)
    try:
        source.require_settled(settle_seconds, now)
        if expected_size is not None:
            source.require_size(expected_size)
    except BaseException:
        source.close()
        raise
    return source


def read_small(
    root: AnyPath | Root,
    name: str,
    limit: int,
    *,
    expected_size: int | None = None,
    settle_seconds: float = 0,
    now: float = 0,
) -> bytes:
    """Return the whole content of a file of at most `limit` bytes, read while it did not change.

    Raise as `open_source`, and FileChanged when the file is larger than `limit`.
    """
    with open_source(root, name, expected_size=expected_size, settle_seconds=settle_seconds, now=now) as source:
        if source.size > limit:
            raise FileChanged(f"{name!r} grew to {source.size:,} bytes; at most {limit:,} are read at once.")
        return source.read_at(0, source.size)


def hash_file(path: AnyPath) -> str:
    """Return the SHA-256 of a file as hex digits; reads in chunks and lets other threads run meanwhile.

    Raise FileMissing or DirectoryUnusable.
    """
    with file_errors("read", os.fspath(path)), open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_source(source: Readable, *, chunk: int = 1024 * 1024) -> str:
    """Return the SHA-256 of all that a source holds, as hex digits; raise FileChanged."""
    digest = hashlib.sha256()
    for start in range(0, source.size, chunk):
        digest.update(source.read_at(start, min(chunk, source.size - start)))
    return digest.hexdigest()
