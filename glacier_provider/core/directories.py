"""What is remembered of a directory between two walks, and what a walk tells of those that are not as remembered."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple


class Listing(NamedTuple):
    """What a directory held when it was read; its subdirectories have listings of their own.

    `directory` is its name with a slash at its end, empty for the root; `size` the bytes of its `files` together.
    `names` and `sizes` are digests of its files' names, and of their sizes, times of modification and inodes, in the
    order in which the disk gives them: where they are equal, so are the files. `names` is None when the catalog's
    picture of the directory changed since, and is in doubt. `inode` and `changed_ns` (the time of the last change, ns
    since the epoch) are None unless every later change is sure to show in them.
    """

    directory: str
    files: int
    size: int
    names: bytes | None
    sizes: bytes | None
    inode: int | None = None
    changed_ns: int | None = None


class Files(NamedTuple):
    """Files of a directory that is not as remembered; some of them, or all.

    `mtimes` (ns since the epoch) and `inodes` are as long as `names`, or empty where nobody looked.
    """

    directory: str
    names: list[str]
    sizes: list[int]
    mtimes: Sequence[int] = ()
    inodes: Sequence[int] = ()


class Change(Enum):
    """How a directory is not as remembered."""

    DIFFERENT = "different"  #: its files were told; they replace what was there
    TOUCHED = "touched"  #: the same files; inode or time of change are others
    GONE = "gone"  #: it is no longer there, nor what was in it


class Changed(NamedTuple):
    """The end of what a walk tells of a directory. Of one that is gone, `listing` is what was remembered."""

    change: Change
    listing: Listing
