"""Named SQL: each query in ``sql/*.sql`` has a name line, a sentence of purpose where that helps, and its text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def queries() -> Mapping[str, str]:
    """Return every query by its name; names are unique over all files."""
    found: dict[str, str] = {}
    folder = files(__package__) / "sql"
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        pieces = _NAME.split(path.read_text(encoding="utf-8"))[1:]
        for name, text in zip(pieces[::2], pieces[1::2], strict=True):
            if name in found:
                raise ValueError(f"two queries are named {name}")
            found[name] = text.strip().rstrip(";")
    return found
