"""Files under temporary names: written in the product's own directory below a root, then renamed or removed.

Each is locked (``flock``) as long as its process lives, so that leftovers of dead processes are told from the work of
living ones, also across containers and hosts that share the directory. Very many small ones need no name at all.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import threading
from contextlib import closing, suppress
from functools import cache
from typing import Any, Self

from glacier_provider.errors import FileError
from glacier_provider.files.link import rename_new
from glacier_provider.files.names import TEMPORARY
from glacier_provider.files.root import NOFOLLOW_DIRECTORY, file_error, file_errors, sync_directory

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UNNAMED = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC if hasattr(os, "O_TMPFILE") else 0
_PAST_CACHE = os.O_WRONLY | getattr(os, "O_DIRECT", 0) | os.O_NOFOLLOW | os.O_CLOEXEC
_ALIGNED = 4096  # bytes: no disk wants more
_LOCK = fcntl.LOCK_EX | fcntl.LOCK_NB
_SYNC_FILE_RANGE_WRITE = 2
_FALLOC_FL_KEEP_SIZE = 1
_SYNC_FILE_RANGE = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_FALLOCATE = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_AT_EMPTY_PATH = 0x1000
_LINKAT = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)


class PendingFile:
    """A file under a temporary name. Leaving its `with` block removes it, unless it was given its name before."""

    def __init__(self, fd: int, name: bytes, directory: int, where: str) -> None:
        self.fd = fd
        self.where = where
        self._name = name
        self._directory = os.dup(directory)
        self._past_cache = -1
        self._pending = True

    def write(self, data: bytes | memoryview) -> None:
        """Append; raise OutOfSpace or DirectoryUnusable."""
        with file_errors("write", self.where):
            written = os.write(self.fd, data)
            while written < len(data):
                written += os.write(self.fd, data[written:])

    def write_at(self, start: int, data: bytes | memoryview) -> None:
        """Write at a position in bytes; several threads may do so at once."""
        with file_errors("write", self.where):
            written = os.pwrite(self.fd, data, start)
            while written < len(data):
                written += os.pwrite(self.fd, data[written:], start + written)

    def reserve(self, size: int) -> None:
        """Have the file system set so many bytes aside; raise OutOfSpace when it has less.

        Several threads then write side by side without finding room for each block, which halves the time and more.
        A file system that cannot does without.
        """
        if size == 0 or (function := _system_call("fallocate", _FALLOCATE)) is None:
            return
        with file_errors("write", self.where):
            if function(self.fd, _FALLOC_FL_KEEP_SIZE, 0, size) and ctypes.get_errno() in (errno.ENOSPC, errno.EDQUOT):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def go_past_cache(self) -> None:
        """Have `write_block` write to the disk itself, where the file system can.

        A large file that nobody reads soon then pushes nothing out of the system's cache, and is on the disk when its
        last block was written.
        """
        with suppress(OSError):
            self._past_cache = os.open(self._name, _PAST_CACHE, dir_fd=self._directory)

    def write_block(self, start: int, block: memoryview) -> None:
        """Write at a position as `write_at` does; past the cache when that was wished and the place is aligned.

        `block` has to begin at a page of memory, as that of an anonymous `mmap` does.
        """
        if self._past_cache >= 0 and start % _ALIGNED == 0 and len(block) % _ALIGNED == 0:
            with suppress(OSError):  # what is wrong is told by the usual way, which may succeed
                if os.pwrite(self._past_cache, block, start) == len(block):
                    return
        self.write_at(start, block)
        self._begin_writing(start, len(block))

    def _begin_writing(self, start: int, size: int) -> None:
        """Have the system begin to write a range to the disk, so that making the whole durable takes less time."""
        if (function := _system_call("sync_file_range", _SYNC_FILE_RANGE)) is not None:
            function(self.fd, start, size, _SYNC_FILE_RANGE_WRITE)

    def make_durable(self, mtime_ns: int | None = None) -> None:
        """Return when the content is on disk; set the modification time first, if one is given."""
        with file_errors("write", self.where):
            if mtime_ns is not None:
                os.utime(self.fd, ns=(mtime_ns, mtime_ns))
            os.fsync(self.fd)

    def rename_new(self, target: bytes, target_dir: int, *, durable: bool = True) -> None:
        """Give the file its name in an open directory, durably; raise FileExistsError when the name is taken.

        Raise OSError with EXDEV when the directory lies on another file system.
        """
        rename_new(self._name, self._directory, target, target_dir)
        self._pending = False
        if durable:
            sync_directory(target_dir)

    def close(self) -> None:
        if self._pending:
            with suppress(OSError):  # the error that led here matters more, and the next run clears leftovers
                os.unlink(self._name, dir_fd=self._directory)
            self._pending = False
        if self._past_cache >= 0:
            os.close(self._past_cache)
            self._past_cache = -1
        if self.fd >= 0:
            os.close(self._directory)
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class UnnamedFile:
    """A file that has no name at all before it is given its own: it is gone with its process, however that ends."""

    __slots__ = ("fd", "where")

    def __init__(self, fd: int, where: str) -> None:
        self.fd = fd
        self.where = where

    def write(self, data: bytes | memoryview) -> None:
        """As `PendingFile.write`."""
        try:
            written = os.write(self.fd, data)
            while written < len(data):
                written += os.write(self.fd, data[written:])
        except OSError as exc:
            raise file_error(exc, "write", self.where) from exc

    def name_new(self, target: bytes, target_dir: int) -> None:
        """Give the file its name in an open directory; raise FileExistsError when the name is taken.

        By its descriptor, as Linux lets everybody since 6.10; where it does not, or says no, by the way through /proc,
        which says why. Raise OSError with EXDEV when the directory lies on another file system.
        """
        function = _system_call("linkat", _LINKAT)
        if function is None or function(self.fd, b"", target_dir, target, _AT_EMPTY_PATH) != 0:
            os.link(b"/proc/self/fd/%d" % self.fd, target, dst_dir_fd=target_dir)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@cache
def _system_call(name: str, arguments: tuple[Any, ...]) -> Any:
    """Return a function of the C library that Python has not; None where the library has it neither."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is not None:
        function.argtypes = arguments
    return function


class TemporaryFiles:
    """The directory for temporary files inside an open directory; made when missing, for this user alone."""

    def __init__(self, parent: int, where: str) -> None:
        """`parent` is a descriptor that stays the caller's; `where` names the place in messages."""
        self.where = where
        self._parent = parent
        self._reopening = threading.Lock()
        with file_errors("write into", where):
            self._fd = _open_private(parent)

    def create(self) -> PendingFile:
        """Return a new empty file, locked; its mode is what the process gives to every new file."""
        while True:
            name = secrets.token_hex(8).encode()
            fd = self._opened(name, _CREATE)
            if _lock_new(fd):
                return PendingFile(fd, name, self._fd, self.where)
            os.close(fd)

    def create_unnamed(self) -> UnnamedFile:
        """Return a new empty file without a name, of the same mode. For one thread."""
        try:
            fd = os.open(b".", _UNNAMED, 0o666, dir_fd=self._fd)
        except OSError:  # another process removed the directory, or the next try says what is wrong
            fd = self._opened(b".", _UNNAMED)
        return UnnamedFile(fd, self.where)

    def has_unnamed(self) -> bool:
        """Whether files without a name can be made here and given one: on most local file systems.

        https://man7.org/linux/man-pages/man2/open.2.html, O_TMPFILE
        """
        if not _UNNAMED:
            return False
        name = secrets.token_hex(8).encode()
        try:
            with closing(self.create_unnamed()) as tried:
                tried.name_new(name, self._fd)
        except (OSError, FileError):
            return False
        with suppress(OSError):  # another process takes it for a leftover
            os.unlink(name, dir_fd=self._fd)
        return True

    def _opened(self, name: bytes, flags: int) -> int:
        with file_errors("write into", self.where), self._reopening:
            while True:
                try:
                    return os.open(name, flags, 0o666, dir_fd=self._fd)
                except OSError as exc:
                    # Another process found the directory empty and removed it: files without a name do not show there.
                    # What is said of that is ENOENT, or, by ext4 of a file without a name, EPERM.
                    if not isinstance(exc, FileNotFoundError) and os.fstat(self._fd).st_nlink > 0:
                        raise
                    again = _open_private(self._parent)  # raises when the place itself is gone
                    os.close(self._fd)
                    self._fd = again

    def clear(self) -> int:
        """Remove the leftovers of dead processes; return how many."""
        with file_errors("clear the temporary files in", self.where):
            with os.scandir(self._fd) as entries:
                names = [os.fsencode(entry.name) for entry in entries]
            return sum(self._remove_dead(name) for name in names)

    def _remove_dead(self, name: bytes) -> bool:
        try:
            fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._fd)
        except OSError:  # finished meanwhile, or not one of ours
            return False
        try:
            fcntl.flock(fd, _LOCK)
            os.unlink(name, dir_fd=self._fd)
        except OSError:  # in use, or the file system has no locks: better a leftover than a loss
            return False
        else:
            return True
        finally:
            os.close(fd)

    def close(self, *, remove: bool = False) -> None:
        """Close; with `remove`, also remove the directory itself if it is empty."""
        os.close(self._fd)
        if remove:
            with suppress(OSError):
                os.rmdir(TEMPORARY, dir_fd=self._parent)


def _open_private(parent: int) -> int:
    while True:
        with suppress(FileExistsError):
            os.mkdir(TEMPORARY, 0o700, dir_fd=parent)
        with suppress(FileNotFoundError):  # removed by another process since the line above
            return os.open(TEMPORARY, NOFOLLOW_DIRECTORY, dir_fd=parent)


def _lock_new(fd: int) -> bool:
    """Lock a file just created; False when a clearing process was quicker and has removed it."""
    try:
        fcntl.flock(fd, _LOCK)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return os.fstat(fd).st_nlink > 0
