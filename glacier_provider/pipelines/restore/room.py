"""Whether what a restore brings has room where it comes to: told before anything is paid for, not in the middle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from glacier_provider.core.plan import RestorePlan
from glacier_provider.core.text import readable_size


@dataclass(slots=True)
class _Needed:
    """What comes to one file system: bytes and files, and into which directories."""

    bytes: int = 0
    files: int = 0
    directories: list[str] = field(default_factory=list)


def lacking_room(plan: RestorePlan, *, files_directory: str | None, staging_directory: str) -> Iterator[str]:
    """Yield a sentence for each file system that has less room, now, than what is to come there.

    It is no reason to stop: room can be made while the cold is waited for, and file systems that compress take more
    than they say. `files_directory`: where files go, None when none do.
    """
    needed: dict[int, tuple[str, _Needed]] = {}
    files = plan.to_bring + plan.to_copy
    dump = min(plan.database_bytes, files.bytes)
    for directory, size, count in (
        (files_directory, files.bytes - dump, files.archives - bool(dump)),
        (staging_directory, dump, 0),
    ):
        if directory is None or size <= 0:
            continue
        there = _nearest(directory)
        _, found = needed.setdefault(os.stat(there).st_dev, (there, _Needed()))
        found.bytes, found.files = found.bytes + size, found.files + count
        found.directories.append(directory)
    for there, found in needed.values():
        yield from _lacking(there, found)


def _lacking(there: str, needed: _Needed) -> Iterator[str]:
    info = os.statvfs(there)
    free, where = info.f_bavail * info.f_frsize, " and ".join(needed.directories)
    told = "Make room before it is brought: the download stops there otherwise, and goes on when it is cleared."
    if needed.bytes > free:
        yield (
            f"NOT ENOUGH ROOM: {readable_size(needed.bytes)} come into {where}, whose file system has "
            f"{readable_size(free)} free. {told}"
        )
    if info.f_files and needed.files > info.f_favail:
        yield (
            f"NOT ENOUGH ROOM: {needed.files:,} files come into {where}, whose file system has room for "
            f"{info.f_favail:,} more (inodes). {told}"
        )


def _nearest(directory: str) -> str:
    path = os.path.abspath(directory)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path
