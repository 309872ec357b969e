"""JSON read without goodwill: what two readers could take for two things is refused. Pure."""

from __future__ import annotations

import json
from typing import Any


def strict_json(text: str | bytes) -> Any:
    """Return what JSON says; raise ValueError also for a name that stands twice in an object, and for NaN and its like.

    RecursionError for what is deeper than Python reads.
    """
    return _STRICT.decode(text.decode("utf-8") if isinstance(text, bytes) else text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number")


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_number)
