"""What is made durable, and when. Nothing shows it but taking the power away, or listening to the calls."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

#: What one fsync was for, a directory or the content of a file; and whether each of the paths was there then.
Synced = tuple[Path | bytes, tuple[bool, ...]]


def listen_to_fsync(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> list[Synced]:
    """Return a list to which each fsync of this process is added from now on."""
    synced: list[Synced] = []
    really = os.fsync

    def fsync(fd: int) -> None:
        really(fd)
        what = Path(f"/proc/self/fd/{fd}")
        is_directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        synced.append((what.resolve() if is_directory else what.read_bytes(), tuple(path.exists() for path in paths)))

    monkeypatch.setattr(os, "fsync", fsync)
    return synced
