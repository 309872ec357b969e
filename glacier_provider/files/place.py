"""Putting files in their place: verified first, named last, and never over a file that is there."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from enum import StrEnum
from typing import Self

from glacier_provider.core.checksum import Verifier
from glacier_provider.errors import ArchiveCorrupt, ContentDiffers, DirectoryUnusable, OutOfSpace
from glacier_provider.files.names import name_parts
from glacier_provider.files.root import AnyPath, Root, file_errors
from glacier_provider.files.temporary import PendingFile, TemporaryFiles

_CHUNK = 1024 * 1024
_MOVED = (
    "Look what was moved, linked or mounted there. Then clear the task plan_restore of this run, with all that follow "
    "it: it looks at what is there, and brings the rest."
)


class Placed(StrEnum):
    """The answer of `Placement.place`."""

    PLACED = "placed"  #: written, verified and durable under its name
    KEPT = "kept"  #: a file of the same size was there already; it was not touched
    DIFFERS = "differs"  #: something else has the name (another size, a directory, a link); it was not touched


class Placement:
    """Places files below one root. Several threads may use one placement; close it, or use it in a `with`."""

    def __init__(self, root: AnyPath) -> None:
        """Open the root directory and its directory of temporary files, and clear leftovers of processes that died.

        Raise DirectoryUnusable.
        """
        self._root = Root(root)
        try:
            self._temporary = TemporaryFiles(self._root.fd, self._root.path)
            self._temporary.clear()
        except BaseException:
            self._root.close()
            raise

    def present(self, name: str, size: int) -> Placed | None:
        """Return KEPT or DIFFERS for a name that is taken, None for one that is free: what `place` would find."""
        return _judge(self._root.look(name_parts(name)), size)

    def place(
        self,
        name: str,
        chunks: Iterable[bytes | memoryview],
        *,
        size: int,
        verifier: Verifier | None = None,
        mtime_ns: int | None = None,
    ) -> Placed:
        """Write `chunks`, `size` bytes in all, to `name`; return what became of it. Durable when it returns.

        A name that is taken is answered without reading `chunks`. Raise ArchiveCorrupt when the content has not
        `size` bytes or the verifier rejects it, OutOfSpace, DirectoryUnusable, UnsafePath; whatever `chunks` raises
        passes through. After an error nothing has the name. Missing directories are made.
        """
        parts = name_parts(name)
        if (found := _judge(self._root.look(parts), size)) is not None:
            return found
        self._require_space(size)
        with self._temporary.create() as pending:
            _fill(pending, chunks, size, verifier, self._root.where(parts))
            pending.make_durable(mtime_ns)
            return self.commit(pending, name, size=size)

    def begin(self, size: int, *, read_soon: bool = False) -> PendingFile:
        """Return a file to be written at several places at once, then verified by the caller and given to `commit`.

        Unless it will be `read_soon`, blocks written to it go past the system's cache.
        """
        self._require_space(size)
        pending = self._temporary.create()
        try:
            pending.reserve(size)
            if not read_soon:
                pending.go_past_cache()
        except BaseException:
            pending.close()
            raise
        return pending

    def commit(self, pending: PendingFile, name: str, *, size: int) -> Placed:
        """Give a verified and durable file of `begin` its name."""
        parts = name_parts(name)
        with file_errors("place", self._root.where(parts)), self._root.parent(parts, create=True) as parent:
            try:
                _rename(pending, parts[-1], parent, self._root.path)
            except FileExistsError:
                info = os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
                return _judge(info, size) or Placed.DIFFERS
        return Placed.PLACED

    def require_its_path(self) -> None:
        """Raise DirectoryUnusable when the root's path leads to another directory than the one that was opened.

        Somebody has moved it away, or mounted another one over it: what is placed is not where it is looked for.
        """
        here = os.fstat(self._root.fd)
        try:
            there = os.stat(self._root.path)
        except OSError as exc:
            raise DirectoryUnusable(f"The directory {self._root.path} is gone: {exc.strerror}.", hint=_MOVED) from exc
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            raise DirectoryUnusable(
                f"{self._root.path} is another directory than the one into which files were put until now.", hint=_MOVED
            )

    def clear_temporary(self) -> int:
        """Remove the temporary files of processes that died; return how many."""
        return self._temporary.clear()

    def _require_space(self, size: int) -> None:
        with file_errors("use", self._root.path):
            info = os.fstatvfs(self._root.fd)
        free = info.f_bavail * info.f_frsize
        if size > free:
            raise OutOfSpace(f"The directory {self._root.path} has {free:,} bytes free; {size:,} are needed.")

    def close(self) -> None:
        self._temporary.close(remove=True)
        self._root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _judge(info: os.stat_result | None, size: int) -> Placed | None:
    if info is None:
        return None
    return Placed.KEPT if stat.S_ISREG(info.st_mode) and info.st_size == size else Placed.DIFFERS


def _fill(
    pending: PendingFile, chunks: Iterable[bytes | memoryview], size: int, verifier: Verifier | None, where: str
) -> None:
    written = 0
    for chunk in chunks:
        written += len(chunk)
        if written > size:
            break
        pending.write(chunk)
        if verifier is not None:
            verifier.update(chunk)
    if written != size:
        raise ArchiveCorrupt(
            f"The content for {where} is {'longer' if written > size else 'shorter'} than {size:,} bytes."
        )
    if verifier is not None and not verifier.matches():
        raise ContentDiffers(f"The content for {where} differs from its checksum.", found=verifier.hexdigest())


def _rename(pending: PendingFile, name: bytes, parent: int, where: str) -> None:
    try:
        pending.rename_new(name, parent)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        _rename_across(pending, name, parent, where)


def _rename_across(pending: PendingFile, name: bytes, parent: int, where: str) -> None:
    """Another file system is mounted below the root: copy to it under a temporary name, then rename there."""
    temporary = TemporaryFiles(parent, where)
    try:
        temporary.clear()
        with temporary.create() as copy:
            copy_content(pending.fd, copy)
            copy.make_durable(os.fstat(pending.fd).st_mtime_ns)
            copy.rename_new(name, parent)
    finally:
        temporary.close(remove=True)


def copy_content(source: int, target: PendingFile) -> None:
    """Copy all of an open file to the end of a pending one."""
    start = 0
    while data := os.pread(source, _CHUNK, start):
        target.write(data)
        start += len(data)
