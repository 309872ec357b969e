"""Which file systems lie on a disk of this machine, so that its kernel sees every change of a directory."""

from __future__ import annotations

import os

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
