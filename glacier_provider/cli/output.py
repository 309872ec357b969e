"""How the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from glacier_provider.cli.arguments import Arguments
from glacier_provider.core.archive import Amount
from glacier_provider.core.text import readable_size

Columns = Mapping[str, str | Callable[[Mapping[str, Any]], Any]]


def print_answer(arguments: Arguments, value: Any, text: str) -> None:
    """Print an answer: `value` as JSON if that is asked for, else `text`."""
    if arguments.json:
        print_json(value)
    else:
        print(text)


def print_rows(arguments: Arguments, rows: Iterable[Mapping[str, Any]], columns: Columns) -> None:
    rows = list(rows)
    if arguments.json:
        print_json(rows)
        return
    print_table(rows, columns)


def print_table(rows: Sequence[Mapping[str, Any]], columns: Columns) -> None:
    from tabulate import tabulate

    table = [[_cell(row[of] if isinstance(of, str) else of(row)) for of in columns.values()] for row in rows]
    names = list(columns)
    if sys.stdout.isatty():
        table, names = fitted(table, names, shutil.get_terminal_size().columns)
    print(tabulate(table, headers=names, tablefmt="simple") if rows else "Nothing to show.")


def fitted(table: Sequence[Sequence[Any]], names: Sequence[str], width: int) -> tuple[list[list[Any]], list[str]]:
    """Return rows and names of columns so short that a table of them is at most `width` wide, if that can be.

    The widest columns are cut first, and none to less than a few letters.
    """
    cells = [["" if one is None else str(one) for one in row] for row in (names, *table)]
    widths = [max(len(one) for one in column) for column in zip(*cells, strict=True)]
    room = width - 2 * (len(widths) - 1)
    while sum(widths) > room and max(widths) > _NARROW:
        widest = widths.index(max(widths))
        widths[widest] = max(_NARROW, widths[widest] - max(1, (sum(widths) - room) // 2))
    cut = [
        [one if len(text) <= most else shortened(text, most) for one, text, most in zip(row, said, widths, strict=True)]
        for row, said in zip((names, *table), cells, strict=True)
    ]
    return cut[1:], cut[0]


_NARROW = 6


def print_pairs(values: Mapping[str, Any]) -> None:
    from tabulate import tabulate

    shown = {name: shown_time(value) if isinstance(value, datetime) else _cell(value) for name, value in values.items()}
    print(tabulate([[name, value] for name, value in shown.items() if value is not None], tablefmt="plain"))


def print_json(value: Any) -> None:
    print(json.dumps(value, default=_plain, indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Amount):
        return {"archives": value.archives, "bytes": value.bytes}
    return str(value)


def for_terminal(value: Any) -> str:
    """Return a value as text for a terminal."""
    return str(_cell(value if isinstance(value, str) else str(value)))


def _cell(value: Any) -> Any:
    """Return a value for a terminal: a file name may hold line breaks and escape sequences."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in value)


def shown_time(value: datetime | None) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S}" if value else ""


def shown_size(value: int | None) -> str:
    return "" if value is None else readable_size(value)


def shortened(value: str | None, length: int = 60) -> str:
    text = " ".join((value or "").split())
    return text if len(text) <= length else text[: length - 1] + "…"
