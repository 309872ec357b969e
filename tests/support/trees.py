"""Trees of directories that are awkward to make by their paths."""

from __future__ import annotations

import os
from pathlib import Path


def a_nesting(root: Path, levels: int = 150) -> str:
    """Make an empty file `leaf` below so many directories `d`, each in the one before; return its relative name."""
    fd = os.open(root, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    return "d/" * levels + "leaf"
