"""The manifest: what one backup is, written so that a lost catalog can be rebuilt from the store alone.

One JSON object a line, gzip around it: a ``backup`` line first, then one ``file`` line for each file that came and one
``gone`` line for each that went since the manifest of backup ``previous`` (null: this manifest lists every file), last
an ``end`` line with the number of both, so that a cut manifest is known as one. The backup's archive ids are its
files' identity.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

FORMAT_VERSION = 1


def manifest_lines(
    backup: Mapping[str, Any], added: Iterable[Mapping[str, Any]], removed: Iterable[int]
) -> Iterator[bytes]:
    """Yield the lines of a manifest; dates become ISO 8601 text."""
    yield _line({"backup": {"format": FORMAT_VERSION, **backup}})
    came = went = 0
    for file in added:
        came += 1
        yield _line({"file": file})
    for archive_id in removed:
        went += 1
        yield _line({"gone": archive_id})
    yield _line({"end": {"files": came, "gone": went}})


def parse_manifest(lines: Iterable[bytes]) -> Iterator[tuple[str, Any]]:
    """Yield (kind, value) for each line but ``end``; raise ValueError for a cut manifest or one of a newer format."""
    counts = {"file": 0, "gone": 0}
    for number, line in enumerate(lines):
        ((kind, value),) = json.loads(line).items()
        if number == 0 and (kind != "backup" or value["format"] > FORMAT_VERSION):
            raise ValueError("not a manifest, or one of a newer format")
        if kind == "end":
            if {"file": value["files"], "gone": value["gone"]} != counts:
                raise ValueError("the manifest's counts do not agree with its lines")
            return
        counts[kind] = counts.get(kind, 0) + 1
        yield kind, value
    raise ValueError("the manifest is cut")


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, default=_plain, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} does not belong into a manifest")
