"""Of which pieces the archive of a directory consists, kept in a file beside it: so the same bytes are made again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from glacier_provider.errors import FileChanged
from glacier_provider.files.root import file_errors


@dataclass(frozen=True, slots=True)
class Piece:
    """`size` bytes of the file `name` (directly in the directory) from its byte `place` on."""

    name: str
    place: int
    size: int


def layout_path(directory: Path) -> Path:
    """Return the path of a directory's layout."""
    return directory.with_name(f"{directory.name}.layout")


def write_layout(pieces: Iterable[Piece], path: Path) -> None:
    """Keep the layout of an archive in a file, durably: one line a piece, with its place, its size and the file."""
    with file_errors("write", str(path)), open(path, "wb") as file:
        for piece in pieces:
            file.write(b"%d %d %b\n" % (piece.place, piece.size, piece.name.encode()))
        file.flush()
        os.fsync(file.fileno())


def read_layout(path: Path) -> list[Piece] | None:
    """Return what `write_layout` kept; None when there is no such file. Raise FileChanged when it is damaged."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return None
    try:
        return [_piece(line) for line in lines]
    except ValueError as exc:
        raise FileChanged(f"The layout {path} is damaged.") from exc


def _piece(line: bytes) -> Piece:
    place, size, name = line.split(b" ", 2)
    return Piece(name.decode(), int(place), int(size))
