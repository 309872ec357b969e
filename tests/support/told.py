"""A PostgreSQL that tells how many rows each statement looked at: neither its speed nor what else runs matters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.support.postgres import EmbeddedPostgres

#: Of auto_explain, with what triggers and functions run.
TELLING = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_format": "json",
    "auto_explain.log_nested_statements": "on",
    "log_min_messages": "log",
    "logging_collector": "on",
    "log_destination": "jsonlog",
    "log_directory": "told",
}


def looked_at(told: EmbeddedPostgres, *, times: Counter[str] | None = None) -> Counter[str]:
    """Return the rows that all statements of ours looked at so far, by their text without figures.

    Into `times` goes how often each was run.
    """
    found: Counter[str] = Counter()
    for path in (told.data / "told").glob("*.json"):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            record = json.loads(line)
            _, _, plan = record["message"].partition("plan:\n")
            if plan and record.get("application_name") not in ("pg_dump", "pg_restore"):
                explained = json.loads(plan)
                assert "JIT" not in explained, explained["Query Text"]
                text = _without_figures(explained["Query Text"])
                found[text] += _rows(explained["Plan"])
                if times is not None:
                    times[text] += 1
    return found


def _rows(node: Mapping[str, Any]) -> int:
    looked_at = sum(value for key, value in node.items() if key == "Actual Rows" or key.startswith("Rows Removed by"))
    return int(node["Actual Loops"] * (1 + looked_at)) + sum(map(_rows, node.get("Plans", ())))


def _without_figures(text: str) -> str:
    return "".join("0" if each.isdigit() else each for each in text)
