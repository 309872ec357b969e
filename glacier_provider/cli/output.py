"""How the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from glacier_provider.cli.arguments import Arguments, is_terminal
from glacier_provider.core.archive import Amount
from glacier_provider.core.text import readable_size


class Count(int):
    """A number of things, which a table shows with its thousands apart; a number that names something is an int."""

    def __str__(self) -> str:
        return f"{int(self):,}"


Columns = Mapping[str, str | Callable[[Mapping[str, Any]], Any]]


def print_answer(arguments: Arguments, value: Any, text: str) -> None:
    """Print an answer: `value` as JSON if that is asked for, else `text`."""
    if arguments.json:
        print_json(value)
    else:
        print(text)


def print_rows(
    arguments: Arguments, rows: Iterable[Mapping[str, Any]], columns: Columns, *, nothing: str = "Nothing to show."
) -> None:
    """Print rows as JSON if that is asked for, else as a table; `nothing` says that there are none."""
    rows = list(rows)
    if arguments.json:
        print_json(rows)
    elif rows:
        print_table(rows, columns)
    else:
        print(nothing)


def print_table(rows: Sequence[Mapping[str, Any]], columns: Columns) -> None:
    """Print rows as a table: fitted to a terminal by rich, and each on a line of its own, uncut, elsewhere."""
    if not rows:
        print("Nothing to show.")
        return
    table = [[_cell(row[of] if isinstance(of, str) else of(row)) for of in columns.values()] for row in rows]
    if is_terminal(sys.stdout):
        from glacier_provider.cli.terminal import show_table

        show_table(list(columns), table, numeric=numeric_columns(table))
    else:
        print("\n".join(plain_table(list(columns), table)))


def plain_table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Yield the lines of a table as other programs read it: names, dashes, and a line for each row.

    >>> print(*plain_table(["id", "name"], [[1, "a"], [12, None]]), sep="\\n")
    id  name
    --  ----
     1  a
    12
    """
    cells = [["" if one is None else str(one) for one in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    right = numeric_columns(rows)
    yield from _lines([list(names), ["-" * width for width in widths], *cells], widths, right)


def _lines(cells: Iterable[Sequence[str]], widths: Sequence[int], right: Sequence[bool]) -> Iterator[str]:
    for row in cells:
        padded = (
            one.rjust(width) if is_right else one.ljust(width)
            for one, width, is_right in zip(row, widths, right, strict=True)
        )
        yield "  ".join(padded).rstrip()


def numeric_columns(rows: Sequence[Sequence[Any]]) -> list[bool]:
    """Return of each column whether it holds numbers, which stand to the right, and nothing else."""
    return [all(isinstance(one, int | float | None) for one in column) for column in zip(*rows, strict=True)]


def print_pairs(values: Mapping[str, Any]) -> None:
    """Print names with what each is, but for those that are None."""
    shown = {name: shown_time(value) if isinstance(value, datetime) else _cell(value) for name, value in values.items()}
    shown = {name: value for name, value in shown.items() if value is not None}
    if is_terminal(sys.stdout):
        from glacier_provider.cli.terminal import show_pairs

        show_pairs(shown)
    else:
        width = max(map(len, shown), default=0)
        print("\n".join(f"{name.ljust(width)}  {value}" for name, value in shown.items()))


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


def shown_count(value: int | None) -> Count | None:
    return None if value is None else Count(value)


def shown_size(value: int | None) -> str:
    return "" if value is None else readable_size(value)


def shortened(value: str | None, length: int = 60) -> str:
    text = " ".join((value or "").split())
    return text if len(text) <= length else text[: length - 1] + "…"
