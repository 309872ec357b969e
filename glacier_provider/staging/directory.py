"""Staging: private directories for dumps and downloads, and the space they need."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import PurePosixPath

from glacier_provider.errors import DirectoryUnusable, OutOfSpace, UnsafePath
from glacier_provider.files.names import name_parts
from glacier_provider.files.root import AnyPath, Root, file_errors, open_directory, unusable


def prepare_staging(directory: AnyPath, *subdirectories: str) -> str:
    """Make `directory` and the `subdirectories` inside it where missing, mode 0700; return the path of the innermost.

    `directory` itself keeps its mode when it is there; the subdirectories are closed to others in any case, since
    dumps hold the application's secrets. Raise DirectoryUnusable when the innermost cannot be written, UnsafePath
    for a subdirectory that is no plain name or is a symbolic link.
    """
    path = os.path.abspath(directory)
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as exc:
        raise unusable(exc, path) from exc
    with Root(path) as root:
        _make_private(root, [part for name in subdirectories for part in name_parts(name)])
    innermost = os.path.join(path, *subdirectories)
    _require_writable(innermost)
    return innermost


def _make_private(root: Root, parts: list[bytes]) -> None:
    fd = os.dup(root.fd)
    try:
        for part in parts:
            with file_errors("make", root.where(parts)):
                child = open_directory(fd, part, create=True)
                os.close(fd)
                fd = child
                if stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
                    os.fchmod(fd, 0o700)
    finally:
        os.close(fd)


def _require_writable(path: str) -> None:
    try:
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as exc:
        raise unusable(exc, path) from exc


def numbered(directory: AnyPath, start: str) -> dict[int, str]:
    """Return the paths of what is named `start` and a number in a directory, by the number; {} without a directory."""
    try:
        with os.scandir(directory) as entries:
            found = [entry.name for entry in entries if entry.name.startswith(start)]
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise unusable(exc, os.fspath(directory)) from exc
    ends = {name: name.removeprefix(start) for name in found}
    return {
        int(end): os.path.join(os.fspath(directory), name)
        for name, end in ends.items()
        if end.isascii() and end.isdecimal()
    }


def free_bytes(path: AnyPath) -> int:
    """Return the bytes that an ordinary user may still write where `path` is or would be; raise DirectoryUnusable."""
    existing = os.path.abspath(path)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    try:
        info = os.statvfs(existing)
    except OSError as exc:
        raise unusable(exc, existing) from exc
    return info.f_bavail * info.f_frsize


def require_space(path: AnyPath, needed: int) -> None:
    """Raise OutOfSpace, naming the directory and both figures in bytes, unless `needed` bytes are free there."""
    free = free_bytes(path)
    if free < needed:
        raise OutOfSpace(f"The directory {os.fspath(path)} has {free:,} bytes free; {needed:,} are needed.")


def remove_tree(path: AnyPath, *, below: AnyPath) -> None:
    """Remove the file or directory `path` and all that is in it; nothing when it is not there.

    `below` is the staging directory; raise UnsafePath unless `path` lies inside it, also by way of its parents.
    Symbolic links are removed, not followed. Raise DirectoryUnusable when something cannot be removed.
    """
    parts = _parts_below(path, below)
    if not os.path.lexists(below):
        return
    with Root(below) as root:
        found = root.look(parts)
        if found is None:
            return
        with file_errors("remove", root.where(parts)), root.parent(parts) as parent, suppress(FileNotFoundError):
            if stat.S_ISDIR(found.st_mode):
                shutil.rmtree(parts[-1], dir_fd=parent)
            else:
                os.unlink(parts[-1], dir_fd=parent)


def _parts_below(path: AnyPath, below: AnyPath) -> tuple[bytes, ...]:
    inner = PurePosixPath(os.path.abspath(path))
    outer = PurePosixPath(os.path.abspath(below))
    if inner == outer or not inner.is_relative_to(outer):
        raise UnsafePath(f"{inner} does not lie below {outer}; nothing was removed.")
    return tuple(os.fsencode(part) for part in inner.relative_to(outer).parts)


def require_directory(path: AnyPath) -> None:
    """Raise DirectoryUnusable unless `path` is a directory that can be listed and entered."""
    try:
        with os.scandir(path) as entries:
            next(entries, None)
    except OSError as exc:
        raise unusable(exc, os.fspath(path)) from exc
    if not os.access(path, os.X_OK, effective_ids=True):
        raise DirectoryUnusable(f"Cannot use the directory {os.fspath(path)}: its files cannot be opened.")
