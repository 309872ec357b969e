"""Putting very many small files in their places: written one by one, made durable and named by the group.

For one thread, but `make_durable`, which another one may call meanwhile. What is not named yet has no name at all
where the file system can do that, else, as with `Placement`, a temporary one, locked. Nothing takes the place of what
is there.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

from glacier_provider.errors import DirectoryUnusable, FileError
from glacier_provider.files.mounts import Mounts
from glacier_provider.files.names import name_parts
from glacier_provider.files.root import (
    NOFOLLOW_DIRECTORY,
    AnyPath,
    Root,
    file_error,
    file_errors,
    open_directory,
    sync_directory,
)
from glacier_provider.files.temporary import PendingFile, TemporaryFiles, UnnamedFile

#: Where one call makes all that was written durable, and says when it could not: since Linux 5.8.
#: https://man7.org/linux/man-pages/man2/syncfs.2.html
_TOGETHER = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs"})
_TELLS_ERRORS = (5, 8)
_SYNCS_AT_ONCE = 8  # where each file is synchronised by itself: the file system joins those that come together


@dataclass(slots=True)
class WrittenFile:
    """A file that waits for its name, with what it is to be called, and whether it is."""

    pending: PendingFile | UnnamedFile
    parts: tuple[bytes, ...]
    named: bool = False

    def close(self) -> None:
        self.pending.close()


class PlacedTogether:
    """Files below one root. Raise DirectoryUnusable when it cannot be used."""

    def __init__(self, root: AnyPath, *, together: bool | None = None, unnamed: bool | None = None) -> None:
        """`together` says whether one call may make a group durable, `unnamed` whether files wait without any name;
        None: as the file system allows.
        """
        self._root = Root(root)
        self._temporary = TemporaryFiles(self._root.fd, self._root.path)
        self._together = _may_sync_together(self._root.fd) if together is None else together
        self._unnamed = self._together and self._temporary.has_unnamed() if unnamed is None else unnamed
        self._folder: tuple[tuple[bytes, ...], int] | None = None
        self._looked: tuple[tuple[bytes, ...], int] | None = None

    def is_taken(self, name: str) -> bool:
        """Return whether anything has a name; raise UnsafePath, DirectoryUnusable."""
        parts = name_parts(name)
        folder = parts[:-1]
        try:
            if self._looked is None or self._looked[0] != folder:
                self._end_look()
                self._looked = folder, self._root.open_folder(folder)
            os.stat(parts[-1], dir_fd=self._looked[1], follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise file_error(exc, "look at", self._root.where(parts)) from exc
        return True

    def write(self, name: str, data: bytes) -> WrittenFile:
        """Write a file that is to get a name; raise OutOfSpace, DirectoryUnusable, UnsafePath."""
        parts = name_parts(name)
        pending = self._temporary.create_unnamed() if self._unnamed else self._temporary.create()
        try:
            pending.write(data)
        except BaseException:
            pending.close()
            raise
        return WrittenFile(pending, parts)

    def make_durable(self, written: Sequence[WrittenFile], named: Sequence[WrittenFile] = ()) -> None:
        """Return when the content of what was `written`, and the names of what was `named` are on the disk.

        Raise DirectoryUnusable, OutOfSpace, when that is not certain of each of them.
        """
        with file_errors("write", self._root.path):
            if self._together:
                _sync_all(self._root.fd)
                return
            with ThreadPoolExecutor(_SYNCS_AT_ONCE, thread_name_prefix="sync") as threads:
                list(threads.map(lambda file: os.fsync(file.pending.fd), written))
                list(threads.map(self._sync_directory, {file.parts[:-1] for file in named}))

    def name(self, file: WrittenFile) -> os.stat_result:
        """Give a durable file its name, and return what it is; raise FileExistsError when the name is taken.

        The name itself is durable after the next `make_durable`. Raise OSError where it lies on another file system;
        the file is removed then, or was never seen.
        """
        try:
            try:
                folder = self._opened(file.parts[:-1])
            except OSError as exc:
                raise file_error(exc, "open the directory of", self._root.where(file.parts)) from exc
            info = os.fstat(file.pending.fd)
            if isinstance(file.pending, UnnamedFile):
                file.pending.name_new(file.parts[-1], folder)
            else:
                file.pending.rename_new(file.parts[-1], folder, durable=False)
            file.named = True
        finally:
            file.close()
        return info

    def take_back(self, file: WrittenFile) -> None:
        """Remove a file that could not be made durable, under whichever name."""
        file.close()
        if file.named:
            with suppress(FileError, OSError):  # the error that led here matters more
                os.unlink(file.parts[-1], dir_fd=self._opened(file.parts[:-1]))

    def let_go(self) -> None:
        """Look anew at directories: what has replaced one since is not seen before."""
        self._end_look()
        self._end_folder()

    def _end_folder(self) -> None:
        if self._folder is not None:
            os.close(self._folder[1])
            self._folder = None

    def _end_look(self) -> None:
        if self._looked is not None:
            os.close(self._looked[1])
            self._looked = None

    def close(self) -> None:
        self.let_go()
        self._temporary.close(remove=True)
        self._root.close()

    def _opened(self, folder: tuple[bytes, ...]) -> int:
        """Return a descriptor of a directory; what is missing of it is made."""
        if self._folder is None or self._folder[0] != folder:
            self._end_folder()
            fd = os.dup(self._root.fd)
            for part in folder:
                parent = fd
                try:
                    fd = self._made(parent, part)
                finally:
                    os.close(parent)
            self._folder = (folder, fd)
        return self._folder[1]

    def _made(self, parent: int, part: bytes) -> int:
        if self._together:  # durable with the next group; a call for each would cost more than its files
            try:
                return os.open(part, NOFOLLOW_DIRECTORY, dir_fd=parent)
            except FileNotFoundError:
                with suppress(FileExistsError):  # another process made it
                    os.mkdir(part, dir_fd=parent)
        return open_directory(parent, part, create=True)

    def _sync_directory(self, folder: tuple[bytes, ...]) -> None:
        with self._root.parent((*folder, b".")) as fd:
            sync_directory(fd)


def _may_sync_together(fd: int) -> bool:
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    if found is None or (int(found[1]), int(found[2])) < _TELLS_ERRORS or _syncfs() is None:
        return False
    return Mounts().kind(os.fstat(fd).st_dev) in _TOGETHER


def _sync_all(fd: int) -> None:
    function = _syncfs()
    if function is None:
        raise DirectoryUnusable("This system cannot synchronise a file system.")
    if function(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@cache
def _syncfs() -> Any:
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is not None:
        function.argtypes = (ctypes.c_int,)
    return function
