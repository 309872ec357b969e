"""What stands in the way of a name, told for people: who makes the file is safe by itself."""

from __future__ import annotations

import os
import stat

from glacier_provider.core.archive import name_from_bytes
from glacier_provider.files.names import name_parts
from glacier_provider.files.root import AnyPath
from glacier_provider.files.walk import SPECIAL

_Parts = tuple[bytes, ...]


class Ways:
    """The ways to names below a directory, as they are now; a directory that was looked at is remembered."""

    def __init__(self, directory: AnyPath) -> None:
        self._directory = os.fsencode(directory)
        self._folders: dict[_Parts, tuple[str, str] | bool] = {(): True}

    def obstacle(self, name: str) -> tuple[str, str] | None:
        """Return what stands where a file of this name is to come, or one of its directories, and what it is; or None.

        A regular file of this very name is no obstacle.
        """
        parts = name_parts(name)
        way = self._way(parts[:-1])
        if isinstance(way, tuple):
            return way
        mode = self._mode(parts) if way else None
        return None if mode is None or stat.S_ISREG(mode) else (name, _what(mode))

    def _way(self, folder: _Parts) -> tuple[str, str] | bool:
        """Return whether a directory is there, or what stands in its place or in that of one above."""
        if folder not in self._folders:
            above = self._way(folder[:-1])
            mode = self._mode(folder) if above is True else None
            if isinstance(above, tuple) or mode is None:
                self._folders[folder] = above if isinstance(above, tuple) else False
            else:
                self._folders[folder] = stat.S_ISDIR(mode) or (name_from_bytes(b"/".join(folder)), _what(mode))
        return self._folders[folder]

    def _mode(self, parts: _Parts) -> int | None:
        try:
            return os.lstat(b"/".join((self._directory, *parts))).st_mode
        except OSError:  # not there, or not to be looked at: who brings the file says more
            return None


def _what(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "it is a file"
    return "it is a directory" if stat.S_ISDIR(mode) else SPECIAL.get(stat.S_IFMT(mode), "it is no file")
