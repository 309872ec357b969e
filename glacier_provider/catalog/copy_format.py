"""Lines of PostgreSQL's COPY text format, many at a time: a call for each of a million rows costs more than COPY."""

from __future__ import annotations

from collections.abc import Sequence

from glacier_provider.core.directories import Changed, Files

#: Lines that are collected before they are sent.
LINES = 20_000
#: Name, size, whether it is young; and, of one that may be older, its time of modification (ns) and inode.
YoungFile = tuple[str, int, bool] | tuple[str, int, bool, int, int]
LISTING = ("directory", "files", "bytes", "names", "sizes", "inode", "changed_ns", "change")


def file_lines(found: Files) -> bytes:
    """Return a line of name, size, time of modification and inode for each file; the last two may be unknown."""
    directory, names, sizes, mtimes, inodes = found
    text = "".join(names)
    if "\\" in text or not text.isprintable():
        names = [escaped(name) for name in names]
    directory = escaped(directory)
    if not mtimes:
        return "".join(
            [f"{directory}{name}\t{size}\t\\N\t\\N\n" for name, size in zip(names, sizes, strict=True)]
        ).encode()
    columns = zip(names, sizes, mtimes, inodes, strict=True)
    return "".join([f"{directory}{name}\t{size}\t{mtime}\t{inode}\n" for name, size, mtime, inode in columns]).encode()


def young_lines(files: Sequence[YoungFile]) -> bytes:
    """Return a line of name, size, youth, time of modification and inode for each file; the last two may be missing."""
    return "".join(
        [
            f"{escaped(one[0])}\t{one[1]}\t{'t' if one[2] else 'f'}\t"
            + (f"{one[3]}\t{one[4]}\n" if len(one) == 5 else "\\N\t\\N\n")
            for one in files
        ]
    ).encode()


def listing_line(changed: Changed) -> bytes:
    listing = changed.listing
    values = [
        escaped(listing.directory),
        str(listing.files),
        str(listing.size),
        _hex(listing.names),
        _hex(listing.sizes),
        _number(listing.inode),
        _number(listing.changed_ns),
        changed.change.value,
    ]
    return ("\t".join(values) + "\n").encode()


def escaped(text: str) -> str:
    """Return text for one column."""
    if text.isprintable() and "\\" not in text:
        return text
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def _hex(value: bytes | None) -> str:
    return "\\N" if value is None else f"\\\\x{value.hex()}"


def _number(value: int | None) -> str:
    return "\\N" if value is None else str(value)
