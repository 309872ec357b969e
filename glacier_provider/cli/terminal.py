"""Tables that fit a terminal, with colours, by rich: it heeds NO_COLOR and TERM=dumb.

It is loaded for terminals alone: what programs read needs none of it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import Box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_RULE = Box("    \n    \n -  \n    \n    \n    \n    \n    \n", ascii=True)
#: Columns in which a word may have a colour, and that of each word.
_COLOURED = {"state", "outcome", "severity", "arrived", "drilled (UTC)"}
_COLOURS = {
    **dict.fromkeys(("complete", "passed", "yes", "ok"), "green"),
    **dict.fromkeys(("failed", "found", "critical", "no", "wrong"), "red"),
    **dict.fromkeys(("running", "deleting", "warning", "planned"), "yellow"),
    "deleted": "dim",
}


def show_table(names: Sequence[str], rows: Sequence[Sequence[Any]], *, numeric: Sequence[bool]) -> None:
    """Print a table that is no wider than the terminal: long cells are folded, columns without anything left out."""
    shown = [index for index in range(len(names)) if any(row[index] not in (None, "") for row in rows)]
    table = Table(box=_RULE, show_edge=False, pad_edge=False, header_style="bold")
    for index in shown:
        table.add_column(
            Text(names[index]),
            justify="right" if numeric[index] else "left",
            no_wrap=numeric[index],
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(_text(names[index], row[index]) for index in shown))
    Console(file=sys.stdout, highlight=False).print(table)


def show_pairs(values: Mapping[str, Any]) -> None:
    """Print names with what each is; what is long is folded beside its name."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(Text(name), _text(name, value))
    Console(file=sys.stdout, highlight=False).print(table)


def _text(column: str, value: Any) -> Text:
    """Return a cell, in which nothing is taken for markup."""
    text = "" if value is None else str(value)
    colour = _COLOURS.get(text.lower(), "") if column in _COLOURED else ""
    return Text(text, style=colour)
