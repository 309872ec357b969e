"""Moving attached files out of the way and back: never overwriting, the same when repeated after a crash."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from glacier_provider.errors import FileChanged, FileError, FileMissing, NameTaken
from glacier_provider.files.link import rename_new
from glacier_provider.files.names import name_parts
from glacier_provider.files.place import copy_content
from glacier_provider.files.root import AnyPath, Root, file_errors, not_regular, sync_directory
from glacier_provider.files.source import FileSource, hash_source
from glacier_provider.files.temporary import PendingFile, TemporaryFiles


def move_aside(
    root: AnyPath, name: str, orphan_root: AnyPath, subdirectory: str, *, remove_empty_parents: bool = False
) -> str:
    """Move the file `name` below `root` to `subdirectory`/`name` below `orphan_root`; return this new name.

    Within one file system it is one rename; otherwise a copy is made durable and compared by SHA-256 before the
    original goes. To be repeated after a crash at any instant: when the file has already moved, the answer is the
    same. Raise FileMissing when neither place has the file, NameTaken when both places have different ones,
    UnsafePath when it is no regular file. `remove_empty_parents` also removes the directories that the move leaves
    empty. `orphan_root` is made when it is missing (its parent must be there).
    """
    target = f"{subdirectory}/{name}"
    _make_root(orphan_root)
    _move(root, name, orphan_root, target, remove_empty_parents=remove_empty_parents)
    return target


def move_back(
    root: AnyPath, name: str, orphan_root: AnyPath, subdirectory: str, *, remove_empty_parents: bool = False
) -> None:
    """Undo `move_aside`, under the same rules: a file that has the name meanwhile is not overwritten (NameTaken)."""
    _move(orphan_root, f"{subdirectory}/{name}", root, name, remove_empty_parents=remove_empty_parents)


def _make_root(path: AnyPath) -> None:
    with file_errors("make the directory", os.fspath(path)), suppress(FileExistsError):
        os.mkdir(path)


def _move(root: AnyPath, name: str, to_root: AnyPath, to_name: str, *, remove_empty_parents: bool) -> None:
    parts, to_parts = name_parts(name), name_parts(to_name)
    with Root(root) as source, Root(to_root) as target:
        here, there = source.look(parts), target.look(to_parts)
        if here is not None and not stat.S_ISREG(here.st_mode):
            raise not_regular(source.where(parts))
        if here is None and there is None:
            raise FileMissing(f"{source.where(parts)} is not there, nor is it at {target.where(to_parts)}.")
        if here is not None:
            _transfer(source, parts, target, to_parts)
        if remove_empty_parents:
            _remove_empty_parents(source, parts)


def _transfer(source: Root, parts: tuple[bytes, ...], target: Root, to_parts: tuple[bytes, ...]) -> None:
    """Move a file that is there; what a crash left half done is finished."""
    with (
        file_errors("move", f"{source.where(parts)} to {target.where(to_parts)}"),
        source.parent(parts) as from_dir,
        target.parent(to_parts, create=True) as to_dir,
    ):
        try:
            rename_new(parts[-1], from_dir, to_parts[-1], to_dir)
        except FileExistsError:
            _finish_earlier(source, parts, target, to_parts)
        except OSError as exc:
            if exc.errno != errno.EXDEV:
                raise
            _copy(source, parts, target, to_parts)
        sync_directory(to_dir)
        sync_directory(from_dir)


def _copy(source: Root, parts: tuple[bytes, ...], target: Root, to_parts: tuple[bytes, ...]) -> None:
    """Copy to the other file system, compare, and only then remove the original."""
    with (
        FileSource(source, parts) as original,
        target.parent(to_parts) as to_dir,
    ):
        try:
            os.stat(to_parts[-1], dir_fd=to_dir, follow_symlinks=False)
        except FileNotFoundError:
            _copy_new(original, to_parts[-1], to_dir, target)
        _remove_copied(original, source, parts, target, to_parts)


def _copy_new(original: FileSource, name: bytes, to_dir: int, target: Root) -> None:
    temporary = TemporaryFiles(to_dir, target.path)
    try:
        temporary.clear()
        with temporary.create() as copy:
            copy_content(original.fd, copy)
            original.verify_unchanged()
            _take_attributes(original, copy)
            copy.make_durable(original.mtime_ns)
            copy.rename_new(name, to_dir)
    finally:
        temporary.close(remove=True)


def _take_attributes(original: FileSource, copy: PendingFile) -> None:
    info = os.fstat(original.fd)
    os.fchmod(copy.fd, stat.S_IMODE(info.st_mode))
    with suppress(PermissionError):  # only root can give a file away
        os.fchown(copy.fd, info.st_uid, info.st_gid)


def _finish_earlier(source: Root, parts: tuple[bytes, ...], target: Root, to_parts: tuple[bytes, ...]) -> None:
    """Both names are taken: by one file, or by a copy whose original was about to be removed, or by two files."""
    with FileSource(source, parts) as original:
        _remove_copied(original, source, parts, target, to_parts)


def _remove_copied(
    original: FileSource, source: Root, parts: tuple[bytes, ...], target: Root, to_parts: tuple[bytes, ...]
) -> None:
    """Remove the original, of which the other place has the same content; raise NameTaken when the contents differ."""
    with FileSource(target, to_parts) as copy:
        if not os.path.sameopenfile(original.fd, copy.fd) and not _same_content(original, copy):
            raise NameTaken(f"{source.where(parts)} cannot be moved: another file is at {target.where(to_parts)}.")
        os.fsync(copy.fd)
    original.verify_unchanged()
    with source.parent(parts) as directory:
        if not os.path.samestat(os.fstat(original.fd), os.stat(parts[-1], dir_fd=directory, follow_symlinks=False)):
            raise FileChanged(f"{source.where(parts)} was replaced while it was moved.")
        os.unlink(parts[-1], dir_fd=directory)


def _same_content(one: FileSource, other: FileSource) -> bool:
    return one.size == other.size and hash_source(one) == hash_source(other)


def _remove_empty_parents(root: Root, parts: tuple[bytes, ...]) -> None:
    for depth in range(len(parts) - 1, 0, -1):
        try:
            with root.parent(parts[:depth]) as directory:
                os.rmdir(parts[depth - 1], dir_fd=directory)
        except (FileMissing, FileNotFoundError):
            continue
        except (FileError, OSError):  # not empty, or not ours to remove: it stays
            return
