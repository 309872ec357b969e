"""A directory that a restore fills in another place than the application's: whose it is, and its clearing.

It is ours by a marker inside, which tells for which restore, and in which directory (its inode) it was written: a copy
of the directory is not ours. The marker lies where nothing is walked, archived or restored.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from glacier_provider.errors import DirectoryUnusable, TargetRefused
from glacier_provider.files.mounts import Mounted, mounted, place_in_file_system
from glacier_provider.files.names import TEMPORARY
from glacier_provider.files.root import NOFOLLOW_DIRECTORY, Root, file_errors, sync_directory, unusable

_MARKERS = "restored"
_MARKER = "marker.json"
_LONGEST = 65_536


@dataclass(frozen=True, slots=True)
class Claim:
    """For which restore a directory is filled: `mark` tells it from every other one. `cleared`: nothing of another
    restore is in it any more.
    """

    mark: str
    cleared: bool


@dataclass(frozen=True, slots=True)
class TargetDirectory:
    """What is at a path: `claim` of a directory that is ours, whether it `exists`, whether it is `empty`."""

    exists: bool
    empty: bool
    claim: Claim | None

    @property
    def is_foreign(self) -> bool:
        return self.exists and not self.empty and self.claim is None


def look_at_target(path: str) -> TargetDirectory:
    """Return what is at `path`, and change nothing; raise DirectoryUnusable for what is no directory."""
    if not os.path.lexists(path):
        return TargetDirectory(exists=False, empty=True, claim=None)
    with Root(path) as root:
        return _look(root)


def _look(root: Root) -> TargetDirectory:
    with file_errors("look into", root.path), os.scandir(root.fd) as entries:
        empty = not any(entry.name != TEMPORARY for entry in entries)
    return TargetDirectory(exists=True, empty=empty, claim=_read(root))


def claimed_by(path: str) -> str | None:
    """Return the mark of the restore that a directory is filled for; None when it is not ours."""
    claim = look_at_target(path).claim
    return None if claim is None else claim.mark


def claim_target(path: str, mark: str, *, may_take: Callable[[str], None]) -> None:
    """Have a directory be that of the restore `mark`, and hold nothing of another one; make it where it is missing.

    Processes of one restore take turns. A directory of an earlier restore is cleared, once `may_take`, called with that
    one's mark, has not raised. Killed at any instant, the next call goes on. Raise TargetRefused for a directory that
    is not empty and not ours, or has something mounted inside; DirectoryUnusable.
    """
    make_target(path)
    with Root(path) as root, _turn(root) as markers:
        found = _look(root)
        if found.is_foreign:
            raise foreign_directory(path)
        claim = found.claim
        if claim is not None and claim.mark == mark and claim.cleared:
            return
        if claim is not None and claim.mark != mark:
            may_take(claim.mark)
        if not found.empty:
            _refuse_mounts(path)
        _write(root, markers, Claim(mark, cleared=found.empty))
        if not found.empty:
            _clear(root)
            _write(root, markers, Claim(mark, cleared=True))


def remove_target(path: str, mark: str, *, made: bool = False) -> None:
    """Remove a directory that is ours by the restore `mark`, with all that it holds; leave any other one alone.

    With `made`, the restore was about to make it: killed before it marked it, it has left it empty. Killed at any
    instant, the next call goes on. Raise TargetRefused where something is mounted inside.
    """
    found = look_at_target(path)
    if made and found.exists and found.empty and found.claim is None:
        with Root(path) as root:
            _remove_empty(path, root)
    elif found.claim is not None and found.claim.mark == mark:
        with Root(path) as root, _turn(root):
            claim = _read(root)
            if claim is None or claim.mark != mark:
                return
            _refuse_mounts(path)
            _clear(root)
            _remove_empty(path, root)


def _remove_empty(path: str, root: Root) -> None:
    """Remove the directory with our marker, the marker last of all that was in it."""
    with file_errors("remove", path):
        with suppress(FileNotFoundError):
            shutil.rmtree(TEMPORARY, dir_fd=root.fd)
        with suppress(OSError):  # somebody put something there
            os.rmdir(path)


def make_target(path: str) -> None:
    """Make a directory, where it is missing, in one that is there."""
    with file_errors("make the directory", path), suppress(FileExistsError):
        os.mkdir(path)


def foreign_directory(path: str) -> TargetRefused:
    return TargetRefused(
        f"The directory {path} holds files, and no restore of this product filled it.",
        hint="Nothing was changed. Give a directory that is empty or not there.",
    )


@contextmanager
def _turn(root: Root) -> Iterator[int]:
    """Wait for other processes of this directory; yields a descriptor of where the marker lies."""
    with file_errors("write into", root.path):
        temporary = _directory(root.fd, TEMPORARY)
        try:
            markers = _directory(temporary, _MARKERS)
        except FileNotFoundError:  # removed meanwhile by a process that found it empty
            os.close(temporary)
            temporary = _directory(root.fd, TEMPORARY)
            markers = _directory(temporary, _MARKERS)
        os.close(temporary)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(markers, fcntl.LOCK_EX)
        yield markers
    finally:
        os.close(markers)


def _directory(parent: int, name: str) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    return os.open(name, NOFOLLOW_DIRECTORY, dir_fd=parent)


def _read(root: Root) -> Claim | None:
    """Return the claim of a directory; None for a marker of another directory, and for what is none."""
    parts = tuple(os.fsencode(part) for part in (TEMPORARY, _MARKERS, _MARKER))
    if root.look(parts) is None:
        return None
    fd = root.open_file(parts)
    with open(fd, "rb") as file, file_errors("read", root.where(parts)):
        text = file.read(_LONGEST)
    try:
        told = json.loads(text)
        if told["inode"] == os.fstat(root.fd).st_ino:
            return Claim(str(told["mark"]), told["cleared"] is True)
    except (ValueError, TypeError, KeyError, RecursionError):
        pass  # cut, or not ours
    return None


def _write(root: Root, markers: int, claim: Claim) -> None:
    told = {"mark": claim.mark, "cleared": claim.cleared, "inode": os.fstat(root.fd).st_ino}
    with file_errors("write into", root.path):
        name = f"{_MARKER}.new"
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600, dir_fd=markers)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(told, file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(name, _MARKER, src_dir_fd=markers, dst_dir_fd=markers)
        sync_directory(markers)


def _clear(root: Root) -> None:
    """Remove all that an earlier restore brought; links are removed, not followed."""
    with file_errors("clear", root.path):
        with os.scandir(root.fd) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if entry.name != TEMPORARY]
        for name, is_directory in names:
            if is_directory:
                shutil.rmtree(name, dir_fd=root.fd)
            else:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=root.fd)


def _refuse_mounts(path: str) -> None:
    """Raise TargetRefused when something is mounted inside: what lies there is not what a restore brought."""
    inside = os.path.join(os.path.realpath(path), "")
    for one in mounted():
        if one.point.startswith(inside):
            raise TargetRefused(
                f"The directory {path} is to be cleared, and {one.point} is mounted inside.",
                hint="Nothing was changed. Unmount it, or give another directory.",
            )


def lies_in(path: str, others: Iterable[str]) -> str | None:
    """Return which of `others` a directory is, lies in or holds, by device and inode; None when it is none of them.

    What is not there yet is judged by the directory that it would be made in. A part of one that is mounted once more
    has nothing of it above: it is known by its place in its file system.
    """
    own, above = _itself(path), _upwards(path)
    mounts = list(mounted())
    for other in others:
        its = _itself(other)
        if its is not None and its in above:
            return other
        if own is not None and own in _upwards(other):
            return other
        if os.path.realpath(path) == os.path.realpath(other):
            return other
        if _lies_in_once_more(path, other, mounts) or _lies_in_once_more(other, path, mounts):
            return other
    return None


def _lies_in_once_more(path: str, other: str, mounts: list[Mounted]) -> bool:
    """Whether a path is, or lies in, another one in the file system that both are mounted from."""
    one, its = (place_in_file_system(os.path.realpath(each), mounts) for each in (path, other))
    if one is None or its is None or one[0] != its[0]:
        return False
    return os.path.join(one[1], "").startswith(os.path.join(its[1], ""))


def _itself(path: str) -> tuple[int, int] | None:
    try:
        info = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise unusable(exc, path) from exc
    return info.st_dev, info.st_ino


def _upwards(path: str) -> set[tuple[int, int]]:
    """Return what a path is, if it is there, and all that it lies in."""
    found = set()
    at = os.path.realpath(path)
    while True:
        if (one := _itself(at)) is not None:
            found.add(one)
        parent = os.path.dirname(at)
        if parent == at:
            return found
        at = parent


def require_parent(path: str) -> None:
    """Raise DirectoryUnusable unless `path` is a directory, or its parent is one to make it in."""
    if os.path.isdir(path):
        return
    if os.path.lexists(path):
        raise DirectoryUnusable(f"{path} is no directory.", hint="Nothing was changed. Give another one.")
    if not os.path.isdir(os.path.dirname(path.rstrip("/"))):
        raise DirectoryUnusable(
            f"There is no directory in which {path} could be made.",
            hint="Make its parent directory, or mount what it should lie on; nothing was changed.",
        )
