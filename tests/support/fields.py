"""What is made from the fields of an application: the JSON Schema, the user guide's table, the complete entry.

``python -m tests.support.fields``, which is ``make fields``, writes them anew; a test compares.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glacier_provider.applications.messages import as_yaml
from glacier_provider.applications.schema import fields, json_schema

ROOT = Path(__file__).parents[2]
WIDTH = 120

#: Where the guide says more.
MORE = {
    "staging_directory": "see [sizing](operations.md#staging)",
    "store": "see [stores](#stores)",
    "references_query": "see [below](#references_query)",
    "exclude": "see [below](#what-is-archived)",
    "executor_config": "see [an example](deployment.md#kubernetesexecutor)",
    "notifications": "see [below](#notifications)",
    "dump.staging": "see [below](#how-the-database-is-dumped)",
    "restore.mode": "[more](#a-large-database)",
    "restore.budget": "[more](#costs)",
    "retention": "[more](operations.md#deleting-backups)",
    "prices": "[more](#costs)",
    "scan": "see [below](#what-a-daily-run-looks-at)",
}


def main() -> None:
    for path, text in documents().items():
        (ROOT / path).write_text(text)


def documents() -> dict[str, str]:
    """Return the whole text of each file that holds something made from the fields."""
    guide = (ROOT / "docs/user-guide.md").read_text()
    example = (ROOT / "dags/applications.yaml").read_text()
    rows = [row for row in guide.splitlines(keepends=True) if row.startswith("| `postgres_conn_id` | ")]
    before, _, rest = guide.partition(rows[0])
    after = rest[rest.index("\n\n") :]
    return {
        "dags/applications.schema.json": json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n",
        "docs/user-guide.md": before + "\n".join(_rows()) + after,
        "dags/applications.yaml": example[: example.index("#   a_complete_entry:")] + "\n".join(_entry()) + "\n",
    }


def _rows() -> Iterator[str]:
    """Yield the lines of the guide's table."""
    for name, told in _fields():
        more = f"; {MORE[name]}" if name in MORE else ""
        yield f"| `{name}` | {_kind(told)} | {_default(told)} | {told['description']}{more} |"


def _fields() -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, told) for name, told in fields().items() if name != "name")


def _is_section(told: dict[str, Any]) -> bool:
    return bool(told["errorMessage"] == "must be a mapping")


def _kind(told: dict[str, Any]) -> str:
    if "enum" in told and told["type"] != "integer":
        return ", ".join(f"`{value}`" for value in told["enum"] if value is not None)
    return "section" if _is_section(told) else str(told["errorMessage"].removeprefix("must be "))


def _default(told: dict[str, Any]) -> str:
    if told.get("x-required"):
        return "required"
    value = told.get("default")
    if "x-default" in told or value in (None, []):
        return str(told.get("x-default", "" if _is_section(told) else "none"))
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if isinstance(value, str) else str(value)


def _entry() -> Iterator[str]:
    """Yield the lines of the complete entry, which are comments."""
    yield "#   a_complete_entry:"
    for name, told in _fields():
        indent = "#       " if "." in name else "#     "
        value = "" if _is_section(told) else f" {as_yaml(told['examples'][0])}"
        default = _default(told)
        words = told["description"] + (f" ({'' if default == 'required' else 'default '}{default})" if default else "")
        line = f"{indent}{name.rpartition('.')[2]}:{value}"
        words = words.replace("`", "")
        if len(line) + len(words) + 4 <= WIDTH:
            yield f"{line}  # {words}"
        else:
            yield from textwrap.wrap(words, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
            yield line


if __name__ == "__main__":
    main()
