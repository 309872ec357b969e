"""What is mounted where: which file systems lie on a disk of this machine, so that its kernel sees every change of a
directory, and where in its file system a path lies, by whatever mount it is reached.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

#: Another machine, or a program, can change a directory of other kinds without this kernel noting the time.
LOCAL = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "reiserfs", "tmpfs", "xfs", "zfs"})
MOUNTINFO = "/proc/self/mountinfo"


class Mounts:
    """The mounted file systems by device, as they were when the first question came."""

    def __init__(self, mountinfo: str | None = None) -> None:
        self._mountinfo = mountinfo or MOUNTINFO
        self._kinds: dict[int, str] | None = None

    def is_local(self, device: int) -> bool:
        """Whether a device (`st_dev`) is a local file system; false where that cannot be told."""
        return self.kind(device) in LOCAL

    def kind(self, device: int) -> str | None:
        """Return which file system a device is; None where that cannot be told."""
        if self._kinds is None:
            self._kinds = _kinds(self._mountinfo)
        return self._kinds.get(device)


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mount: which part of a device's file system (`root`) is at which `point`."""

    device: str
    root: str
    point: str


def mounted(mountinfo: str | None = None) -> Iterator[Mounted]:
    """Yield what is mounted, later ones over earlier ones; nothing where the system does not tell."""
    try:
        with open(mountinfo or MOUNTINFO, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                fields = line.split(" ")
                if len(fields) > 4:
                    yield Mounted(fields[2], _unescaped(fields[3]), _unescaped(fields[4]))
    except OSError:
        return


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)


def place_in_file_system(path: str, mounts: Iterable[Mounted]) -> tuple[str, str] | None:
    """Return the device and the path within its file system of a real path; None where the system does not tell.

    It is the same for a directory and for another place where that, or what it lies in, is mounted once more.
    """
    found: Mounted | None = None
    for one in mounts:
        inside = os.path.join(one.point, "")
        if os.path.join(path, "").startswith(inside) and (found is None or len(one.point) >= len(found.point)):
            found = one
    if found is None:
        return None
    rest = os.path.relpath(path, found.point)
    return found.device, os.path.normpath(os.path.join(found.root, rest))


def _kinds(mountinfo: str) -> dict[int, str]:
    """Return the file system of each device; proc(5): "36 35 98:0 /root /mount options - kind source options"."""
    kinds: dict[int, str] = {}
    try:
        with open(mountinfo, "rb") as lines:
            for line in lines:
                before, _, after = line.partition(b" - ")
                fields, kind = before.split(), after.split()
                if len(fields) > 2 and kind:
                    major, _, minor = fields[2].partition(b":")
                    kinds[os.makedev(int(major), int(minor))] = kind[0].decode("ascii", "replace")
    except (OSError, ValueError):
        return {}
    return kinds
