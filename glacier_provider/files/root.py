"""One open directory, and names resolved below it component by component, never through a symbolic link.

Each component is opened relative to the directory that was opened before it (``openat`` with ``O_NOFOLLOW``), so
that a parent that is swapped for a symbolic link at any moment makes the call fail instead of leading out of the
root. The root itself is configuration: it may be a symbolic link, as deployments with a shared directory have it.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Self

from glacier_provider.core.archive import name_from_bytes
from glacier_provider.errors import (
    DirectoryUnusable,
    FileError,
    FileMissing,
    FileUnreadable,
    OutOfSpace,
    ReadFailed,
    UnsafePath,
)
from glacier_provider.files.names import shown

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
NOFOLLOW_DIRECTORY = DIRECTORY | os.O_NOFOLLOW
READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # O_NONBLOCK: a fifo must not block us

AnyPath = str | os.PathLike[str]

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_GONE = {errno.ENOENT}
_NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_NOT_BELOW = {errno.ELOOP, errno.ENOTDIR}
_DENIED = {errno.EACCES, errno.EPERM}
#: What a disk or a file server says when it has trouble itself: another try may find it well again.
READ_TROUBLE = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO}


class Root:
    """An open root directory. May be shared by threads. Raise DirectoryUnusable when it cannot be opened."""

    def __init__(self, path: AnyPath) -> None:
        self.path = os.fspath(path)
        try:
            self.fd = os.open(self.path, DIRECTORY)
        except (OSError, ValueError) as exc:
            raise unusable(exc, self.path) from exc

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def where(self, parts: Sequence[bytes]) -> str:
        """Return the place of a name for a message."""
        return f"{shown(b'/'.join(parts))} in {self.path}"

    @contextmanager
    def parent(self, parts: Sequence[bytes], *, create: bool = False) -> Iterator[int]:
        """Yield a descriptor of the directory that holds `parts[-1]`; with `create`, make what is missing of it."""
        with file_errors("open the directory of", self.where(parts)):
            fd = self._descend(parts[:-1], create=create)
        try:
            yield fd
        finally:
            os.close(fd)

    def open_folder(self, parts: Sequence[bytes]) -> int:
        """Return a descriptor, to be closed by the caller, of the directory that `parts` lead to; raise OSError."""
        return self._descend(parts, create=False)

    def _descend(self, parts: Sequence[bytes], *, create: bool) -> int:
        """Return a descriptor, the caller's to close, of the directory that `parts` lead to."""
        if not parts:
            return os.dup(self.fd)
        fd = open_directory(self.fd, parts[0], create=create)
        for part in parts[1:]:
            try:
                child = open_directory(fd, part, create=create)
            finally:
                os.close(fd)
            fd = child
        return fd

    def open_file(self, parts: Sequence[bytes]) -> int:
        """Return a descriptor of a regular file, to be closed by the caller.

        Raise FileMissing when there is none, UnsafePath when something else than a regular file has the name.
        """
        return self.open_regular(parts)[0]

    def open_regular(self, parts: Sequence[bytes]) -> tuple[int, os.stat_result]:
        """Return as `open_file`, with what the file is at this moment."""
        try:
            fd = self._open_leaf(parts)
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # a socket, or a device without a driver
                raise not_regular(self.where(parts)) from exc
            if exc.errno in _DENIED:
                raise FileUnreadable(
                    f"Cannot read {self.where(parts)}: {exc.strerror}. {self._whose(parts)}",
                    hint=let_read(b"/".join(parts)),
                ) from exc
            raise file_error(exc, "read", self.where(parts)) from exc
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            os.close(fd)
            raise not_regular(self.where(parts))
        return fd, info

    def _whose(self, parts: Sequence[bytes]) -> str:
        """Return a sentence on whose the first thing is on the way to a file that this user may not use."""
        for depth in range(1, len(parts) + 1):
            try:
                info = self.look(parts[:depth])
            except FileError:
                break  # the directory above is not to be searched, and was told of already
            if info is not None and (depth == len(parts) or not may_search(info)):
                return whose(info, "It" if depth == len(parts) else f"Its directory {shown(b'/'.join(parts[:depth]))}")
        return f"This worker runs as {user_name(os.geteuid())}."

    def _open_leaf(self, parts: Sequence[bytes]) -> int:
        if len(parts) == 1:
            return os.open(parts[0], READ_FILE, dir_fd=self.fd)
        parent = self._descend(parts[:-1], create=False)
        try:
            return os.open(parts[-1], READ_FILE, dir_fd=parent)
        finally:
            os.close(parent)

    def look(self, parts: Sequence[bytes]) -> os.stat_result | None:
        """Return what has the name (a symbolic link itself, not its target), or None when nothing has it."""
        with file_errors("look at", self.where(parts)):
            try:
                parent = self._descend(parts[:-1], create=False)
            except FileNotFoundError:
                return None
            try:
                return os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                return None
            finally:
                os.close(parent)


class NeighbourRoot(Root):
    """A root for one thread that opens files of the same directory one after the other: it keeps the last one open.

    Whoever uses it calls `let_go` every now and then: what has replaced a directory since is not seen before.
    """

    def __init__(self, path: AnyPath) -> None:
        super().__init__(path)
        self._folder: tuple[Sequence[bytes], int] | None = None

    def let_go(self) -> None:
        if self._folder is not None:
            os.close(self._folder[1])
            self._folder = None

    def close(self) -> None:
        self.let_go()
        super().close()

    def _open_leaf(self, parts: Sequence[bytes]) -> int:
        folder = parts[:-1]
        if self._folder is None or self._folder[0] != folder:
            self.let_go()
            self._folder = (folder, self._descend(folder, create=False))
        return os.open(parts[-1], READ_FILE, dir_fd=self._folder[1])


def open_directory(parent: int, part: bytes | str, *, create: bool = False) -> int:
    """Return a descriptor of one directory inside another; with `create`, make it durably when it is missing."""
    try:
        return os.open(part, NOFOLLOW_DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            raise
    with suppress(FileExistsError):  # another worker made it
        os.mkdir(part, dir_fd=parent)
        sync_directory(parent)
    return os.open(part, NOFOLLOW_DIRECTORY, dir_fd=parent)


def sync_directory(fd: int) -> None:
    """Make the names in an open directory durable, where the file system can; raise OSError when that failed.

    Shares of other machines often cannot (CIFS, 9p, some of FUSE): there the server keeps names by itself, and a file
    with its name is as durable as it can be.
    """
    try:
        os.fsync(fd)
    except OSError as exc:
        if exc.errno not in _NO_SYNC:
            raise


def not_regular(where: str) -> UnsafePath:
    return UnsafePath(f"{where} is not a regular file.", hint="Links, devices, sockets and pipes are never followed.")


@contextmanager
def file_errors(action: str, where: str) -> Iterator[None]:
    """Translate what the operating system says about a file, once; `action` is a verb, `where` what it was done to."""
    try:
        yield
    except OSError as exc:
        raise file_error(exc, action, where) from exc


def file_error(exc: OSError, action: str, where: str) -> FileError:
    """Return the error of this package for an operating system's error."""
    said = f"Cannot {action} {where}: {exc.strerror or exc}."
    if exc.errno in _NO_SPACE:
        return OutOfSpace(said)
    if exc.errno in _GONE:
        return FileMissing(said)
    if exc.errno in _NOT_BELOW:
        return UnsafePath(f"Cannot {action} {where}: a part of its path is a symbolic link or not a directory.")
    if exc.errno in READ_TROUBLE and action == "read":
        return ReadFailed(said)
    if exc.errno == errno.ENAMETOOLONG:
        return UnsafePath(said, hint="This file system does not allow names as long as this; use another one.")
    return DirectoryUnusable(said)


def whose(info: os.stat_result, what: str) -> str:
    """Return a sentence with owner and mode of a thing, and as whom this process runs."""
    owner = f"{user_name(info.st_uid)} with mode {stat.S_IMODE(info.st_mode):04o}"
    return f"{what} belongs to {owner}; this worker runs as {user_name(os.geteuid())}."


def may_search(info: os.stat_result) -> bool:
    """Whether the mode of a directory lets this user through, as far as the mode tells."""
    if os.geteuid() == info.st_uid:
        return bool(info.st_mode & stat.S_IXUSR)
    group = info.st_gid == os.getegid() or info.st_gid in os.getgroups()
    return bool(info.st_mode & (stat.S_IXGRP if group else stat.S_IXOTH))


def user_name(uid: int) -> str:
    import pwd

    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"


def let_read(name: str | bytes) -> str:
    """Return the hint for a name that this worker may not read, which `exclude` leaves out."""
    text = name_from_bytes(name) if isinstance(name, bytes) else name
    pattern = json.dumps(glob.escape(text), ensure_ascii=not text.isprintable())
    return f"Let this user read it, or leave it out in applications.yaml: exclude: [{pattern}]."


def unusable(exc: Exception, directory: str) -> DirectoryUnusable:
    reason = exc.strerror if isinstance(exc, OSError) else str(exc)
    return DirectoryUnusable(f"Cannot use the directory {directory}: {reason}.")
