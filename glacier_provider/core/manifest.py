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
from typing import Any, NamedTuple

from glacier_provider.core.strict_json import strict_json

#: 2: two archives of one chain may have one name, since files were given names again. 1 is read as ever.
MANIFEST_FORMAT = 2


def manifest_lines(
    backup: Mapping[str, Any], added: Iterable[Mapping[str, Any]], removed: Iterable[int]
) -> Iterator[bytes]:
    """Yield the lines of a manifest; dates become ISO 8601 text."""
    yield _line({"backup": {"format": MANIFEST_FORMAT, **backup}})
    came = went = 0
    for file in added:
        came += 1
        yield _line({"file": file})
    for archive_id in removed:
        went += 1
        yield _line({"gone": archive_id})
    yield _line({"end": {"files": came, "gone": went}})


def parse_manifest(lines: Iterable[bytes]) -> Iterator[tuple[str, Any]]:
    """Yield (kind, value) for each line but ``end``.

    Raise ValueError for a manifest that is cut, continued after its end, in another order or of a newer format. What
    was yielded counts only when the end is reached.
    """
    counts = dict.fromkeys(_ORDER, 0)
    last = ""
    for number, line in enumerate(lines):
        kind, value = _parsed(line, number)
        if kind not in _MAY_FOLLOW[last]:
            raise ValueError(f"line {number + 1} of the manifest is out of order: {kind!r} after {last or 'nothing'!r}")
        if kind == "backup" and not 1 <= value["format"] <= MANIFEST_FORMAT:
            raise ValueError(f"the manifest has the format {value['format']}, this version reads {MANIFEST_FORMAT}")
        if kind == "end" and value != {"files": counts["file"], "gone": counts["gone"]}:
            raise ValueError("the manifest's counts do not agree with its lines")
        counts[kind] += 1
        last = kind
        if kind != "end":
            yield kind, value
    if last != "end":
        raise ValueError("the manifest is cut")


class Continued(NamedTuple):
    """The manifest that another one continues: which of those at hand, None when it is not, and its backup's id."""

    at: int | None
    backup_id: int


def chains_of(manifests: Mapping[int, Continued | None]) -> tuple[list[int], dict[int, int]]:
    """Return the manifests that can be read whole, and the others with the backup whose manifest is missing.

    Each goes by a number, and tells which one it continues; None for a manifest that lists every file. One can be read
    when everything back to the nearest full manifest is at hand.

    >>> chains_of({3: Continued(None, 2), 1: None, 4: None, 6: Continued(None, 5), 7: Continued(6, 6)})
    ([1, 4], {3: 2, 6: 5, 7: 5})
    """
    missing: dict[int, int | None] = {}
    for number in sorted(manifests):
        way: list[int] = []
        one: int | None = number
        while one is not None and one not in missing and one not in way:
            way.append(one)
            continued = manifests[one]
            if continued is None or continued.at is None:
                missing[one] = None if continued is None else continued.backup_id
                break
            one = continued.at
        for passed in reversed(way):
            if passed not in missing:
                continued = manifests[passed]
                assert continued is not None
                missing[passed] = missing.get(continued.at, continued.backup_id) if continued.at is not None else None
    whole = [number for number in sorted(manifests) if missing[number] is None]
    return whole, {number: lacking for number, lacking in sorted(missing.items()) if lacking is not None}


_ORDER = ("backup", "file", "gone", "end")
_MAY_FOLLOW = {
    "": ("backup",),
    "backup": ("file", "gone", "end"),
    "file": ("file", "gone", "end"),
    "gone": ("gone", "end"),
    "end": (),
}


def _parsed(line: bytes, number: int) -> tuple[str, Any]:
    entry = strict_json(line)
    if not isinstance(entry, dict) or len(entry) != 1:
        raise ValueError(f"line {number + 1} is not one of a manifest")
    ((kind, value),) = entry.items()
    if kind == "backup" and not (isinstance(value, dict) and type(value.get("format")) is int):
        raise ValueError("the manifest names no format")
    return kind, value


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, default=_plain, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} does not belong into a manifest")
