"""One walk over a directory tree: every regular file below one root, nothing else, nothing skipped in silence."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from glacier_provider.errors import DirectoryUnusable, FileError, ReadFailed
from glacier_provider.files.names import TEMPORARY, name_parts, shown, text_of
from glacier_provider.files.root import NOFOLLOW_DIRECTORY, READ_TROUBLE, AnyPath, Root, let_read, unusable, whose

OnSkip = Callable[[str, str], object]
Identity = tuple[int, int]
#: Inodes are kept in the catalog's integers, which have a sign.
LARGEST_INODE = 0x7FFF_FFFF_FFFF_FFFF


def kept_mtime(mtime_ns: int) -> int:
    """Return a time of change as the catalog's integers hold it, which end in 2262: a file may have any later one."""
    return max(-LARGEST_INODE, min(LARGEST_INODE, mtime_ns))


class FoundFile(NamedTuple):
    """A regular file: its name in the catalog's text, its size in bytes, its time of change in ns since the epoch, its
    inode.

    After a walk by name only, all numbers are -1.
    """

    name: str
    size: int
    mtime_ns: int
    inode: int = -1


_found_file: Callable[[tuple[str, int, int, int]], FoundFile] = partial(
    tuple.__new__, FoundFile
)  # half the time of a call


def walk(
    root: AnyPath,
    *,
    on_skip: OnSkip,
    exclude: Iterable[str] = (),
    leave_out: Iterable[AnyPath] = (),
    sizes: bool = True,
) -> Generator[FoundFile]:
    """Yield every regular file below `root`, hidden ones included, in the order of the disk.

    Memory does not depend on the number of files; one pair of descriptors is open for each level of nesting.

    `on_skip(name, reason)` is told of everything that is neither a regular file nor a directory: links, devices,
    sockets and pipes are not followed. `exclude` are glob patterns (see `Exclusion`); `leave_out` are directories,
    such as the orphan directory, that are not entered wherever they lie. With `sizes` false the files are not
    looked at, which takes a quarter of the time. What vanishes during the walk is not there. Raise
    DirectoryUnusable, at any point, when a directory cannot be read or the root is no longer the directory that it
    was: the walk is then no picture of what is there.
    """
    patterns = tuple(exclude)
    with Root(root) as opened:
        walker = _Walker(opened, on_skip, Exclusion(patterns) if patterns else None, identities(leave_out), sizes)
        try:
            yield from walker.files()
        finally:
            walker.close()
        check_same(opened)


class Exclusion:
    """Glob patterns compiled once; see `walk`.

    As `fnmatch`, case-sensitive, over the whole relative name: ``*`` also matches ``/``, so ``*.tmp`` means any
    depth and ``cache/*`` everything below `cache`. A pattern that matches a directory leaves out all that is below
    it.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        names = [f"{pattern}*" if pattern.endswith("/") else pattern for pattern in patterns]
        contents = [re.sub(r"/\*+$", "", name) for name in names if re.search(r"./\*+$", name)]
        self.file = _matcher(names)
        self.directory = _matcher(names + contents)


def _matcher(patterns: list[str]) -> Callable[[str], object]:
    """Return a test for names that a pattern matches, or that lie below a directory that a pattern matches."""
    bodies = (re.sub(r"\\[zZ]$", "", fnmatch.translate(pattern)) for pattern in patterns)
    return re.compile("|".join(f"{body}(?s:/.*)?" for body in bodies)).fullmatch


class _Level:
    """An open directory of the walk. `prefix` is its name followed by a slash, or nothing for the root."""

    __slots__ = ("entries", "fd", "prefix")

    def __init__(self, fd: int, prefix: str) -> None:
        self.fd = fd
        self.prefix = prefix
        try:
            self.entries = os.scandir(fd)
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        self.entries.close()
        os.close(self.fd)


class _Walker:
    """Depth first, each directory's iterator kept open while its subdirectories are walked."""

    def __init__(
        self,
        root: Root,
        on_skip: OnSkip,
        exclusion: Exclusion | None,
        left_out: frozenset[Identity],
        sizes: bool,
    ) -> None:
        self._root = root
        self._on_skip = on_skip
        self._excluded_file = exclusion.file if exclusion else None
        self._excluded_directory = exclusion.directory if exclusion else None
        self._left_out = left_out
        self._found = self._with_sizes if sizes else self._names_only
        self._stack: list[_Level] = []

    def close(self) -> None:
        while self._stack:
            self._stack.pop().close()

    def files(self) -> Iterator[FoundFile]:
        self._stack.append(_Level(os.dup(self._root.fd), ""))
        while self._stack:
            level = self._stack[-1]
            try:
                yield from self._found(level)
            except OSError as exc:
                raise unreadable(exc, self._root, level.prefix) from exc
            if level is self._stack[-1]:  # no subdirectory was entered, so this one is at its end
                self._stack.pop().close()

    def _names_only(self, level: _Level) -> Iterator[FoundFile]:
        prefix, excluded, new = level.prefix, self._excluded_file, _found_file
        for entry in level.entries:
            if not entry.is_file(follow_symlinks=False):
                if self._enter(entry, prefix):
                    return
                continue
            name = entry.name
            if not name.isascii() or "\\" in name:
                name = text_of(name)
            name = prefix + name
            if excluded is None or not excluded(name):
                yield new((name, -1, -1, -1))

    def _with_sizes(self, level: _Level) -> Iterator[FoundFile]:
        prefix, excluded, new = level.prefix, self._excluded_file, _found_file
        for entry in level.entries:
            if not entry.is_file(follow_symlinks=False):
                if self._enter(entry, prefix):
                    return
                continue
            name = entry.name
            if not name.isascii() or "\\" in name:
                name = text_of(name)
            name = prefix + name
            if excluded is not None and excluded(name):
                continue
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield new((name, info.st_size, kept_mtime(info.st_mtime_ns), info.st_ino & LARGEST_INODE))

    def _enter(self, entry: os.DirEntry[str], prefix: str) -> bool:
        """Enter a subdirectory, or report what is none; return whether one was entered."""
        name = prefix + text_of(entry.name)
        excluded = self._excluded_directory
        if entry.name == TEMPORARY or (excluded is not None and excluded(name)):
            return False
        if not entry.is_dir(follow_symlinks=False):
            report_special(entry, name, self._on_skip)
            return False
        fd = self._open(entry, name)
        if fd is None:
            return False
        self._stack.append(_Level(fd, f"{name}/"))
        return True

    def _open(self, entry: os.DirEntry[str], name: str) -> int | None:
        try:
            fd = os.open(entry.name, NOFOLLOW_DIRECTORY, dir_fd=self._stack[-1].fd)
        except FileNotFoundError:
            return None
        except OSError as exc:
            if exc.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise unreadable(exc, self._root, name) from exc
            self._on_skip(name, "it was a directory and is something else now")
            return None
        if self._left_out and identity(os.fstat(fd)) in self._left_out:
            os.close(fd)
            return None
        return fd


SPECIAL = {
    0o120000: "it is a symbolic link",
    0o060000: "it is a block device",
    0o020000: "it is a character device",
    0o010000: "it is a named pipe",
    0o140000: "it is a socket",
}


def report_special(entry: os.DirEntry[str], name: str, on_skip: OnSkip) -> None:
    """Say of an entry that is neither a file nor a directory what it is; of one that is gone, nothing."""
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    on_skip(name, SPECIAL.get(mode & 0o170000, "it is neither a file nor a directory"))


def unreadable(exc: OSError, root: Root, directory: str) -> DirectoryUnusable | ReadFailed:
    """Return the error of a directory below the root, by its name with or without a slash at its end."""
    name = directory.removesuffix("/")
    said = f"Cannot read the directory {shown(name or '.')} in {root.path}: {exc.strerror}."
    if exc.errno in READ_TROUBLE:
        return ReadFailed(said)
    if exc.errno not in (errno.EACCES, errno.EPERM) or not name:
        return DirectoryUnusable(said)
    try:
        found = root.look(name_parts(name))
    except FileError:
        found = None
    owner = f" {whose(found, 'It')}" if found else ""
    return DirectoryUnusable(f"{said}{owner}", hint=let_read(name))


def identity(info: os.stat_result) -> Identity:
    return (info.st_dev, info.st_ino)


def identities(directories: Iterable[AnyPath]) -> frozenset[Identity]:
    found = set()
    for directory in directories:
        try:
            found.add(identity(os.stat(directory)))
        except FileNotFoundError:  # what does not exist need not be left out
            continue
        except OSError as exc:
            raise unusable(exc, os.fspath(directory)) from exc
    return frozenset(found)


def require_not_emptied(root: Root) -> None:
    """Raise DirectoryUnusable when nothing at all is in a root that held files, or another directory has its place:
    what is not found there has not vanished, it is not mounted.
    """
    check_same(root)
    try:
        with os.scandir(root.fd) as entries:
            empty = all(entry.name == TEMPORARY for entry in entries)
    except OSError as exc:
        raise unusable(exc, root.path) from exc
    if empty:
        raise DirectoryUnusable(
            f"The attached-files directory {root.path} is empty, and held files a moment ago.",
            hint="Check that it is mounted. If it really is to be empty, put one file into it, such as .keep.",
        )


def check_same(root: Root) -> None:
    """Raise DirectoryUnusable when another directory has taken the root's place, as when a mount comes or goes."""
    try:
        same = identity(os.stat(root.path)) == identity(os.fstat(root.fd))
    except OSError as exc:
        raise unusable(exc, root.path) from exc
    if not same:
        raise DirectoryUnusable(f"The directory {root.path} was replaced by another one while it was walked.")
