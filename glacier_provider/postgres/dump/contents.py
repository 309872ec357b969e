"""A dump's table of contents in a file of its own: what a rehearsal needs when the dump itself is on its way."""

from __future__ import annotations

import gzip
import json
from dataclasses import asdict, fields
from pathlib import Path

from glacier_provider.errors import DumpInvalid
from glacier_provider.postgres.dump.toc import DumpHeader, Toc, TocEntry


def write_contents(toc: Toc, path: Path) -> None:
    """Write a table of contents, one entry a line."""
    with gzip.open(path, "wt", encoding="ascii", compresslevel=1) as file:
        for part in ({**asdict(toc.header), "codec": toc.codec}, *map(asdict, toc.entries)):
            file.write(json.dumps(part) + "\n")


def read_contents(path: Path) -> Toc:
    """Return what `write_contents` wrote; raise DumpInvalid when it is not there or cut."""
    known = {field.name for field in fields(TocEntry)}
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            head = json.loads(file.readline())
            codec = head.pop("codec")
            head["archive_version"] = tuple(head["archive_version"])
            entries = tuple(_entry(json.loads(line), known) for line in file)
    except (OSError, EOFError, ValueError, KeyError, TypeError) as exc:
        raise DumpInvalid(f"The table of contents {path} cannot be read: {exc}.") from exc
    return Toc(DumpHeader(**head), entries, codec)


def _entry(told: dict[str, object], known: set[str]) -> TocEntry:
    told = {name: value for name, value in told.items() if name in known}
    return TocEntry(**{**told, "dependencies": tuple(told["dependencies"])})  # type: ignore[arg-type]
