"""Tables that fit a terminal, with colours, by rich: it heeds NO_COLOR and TERM=dumb.

It is loaded for terminals alone: what programs read needs none of it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_RULE = Box("    \n    \n -  \n    \n    \n    \n    \n    \n", ascii=True)
_GAP = 2
#: Words of so many cells stay whole.
_WHOLE = 12
#: Columns in which a word may have a colour, and that of each word.
_COLOURED = {"state", "outcome", "severity", "arrived", "drilled (UTC)"}
_COLOURS = {
    **dict.fromkeys(("complete", "passed", "yes", "ok"), "green"),
    **dict.fromkeys(("failed", "found", "critical", "no", "wrong"), "red"),
    **dict.fromkeys(("running", "deleting", "warning", "planned"), "yellow"),
    "deleted": "dim",
}


def show_table(names: Sequence[str], rows: Sequence[Sequence[Any]], *, numeric: Sequence[bool]) -> None:
    """Print a table that is no wider than the terminal: long cells are folded, columns without anything left out.

    Where words would have to be broken each row is printed as pairs, one below the other.
    """
    console = Console(file=sys.stdout, highlight=False)
    shown = [index for index in range(len(names)) if any(row[index] not in (None, "") for row in rows)]
    columns = {names[index]: [_text(names[index], row[index]) for row in rows] for index in shown}
    widths = fitted(columns, console.width - _GAP * len(shown))
    if widths is None:
        for cells in zip(*columns.values(), strict=True):
            console.print(_pairs(dict(zip(columns, cells, strict=True))), "")
        return
    table = Table(box=_RULE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for index, width in zip(shown, widths, strict=True):
        table.add_column(
            Text(names[index]), width=width, justify="right" if numeric[index] else "left", overflow="fold"
        )
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    console.print(table)


def fitted(columns: Mapping[str, Sequence[Text]], room: int) -> list[int] | None:
    """Return the widths of columns, in cells, that have so much room in all, the widest made narrower first.

    Words up to a length stay whole; None where the room is not enough for that.
    """
    cells = [[Text(name), *column] for name, column in columns.items()]
    widths = [max(one.cell_len for one in column) for column in cells]
    least = [min(_WHOLE, max(_longest_word(one) for one in column)) for column in cells]
    while sum(widths) > room:
        narrower = [index for index, width in enumerate(widths) if width > least[index]]
        if not narrower:
            return None
        widths[max(narrower, key=widths.__getitem__)] -= 1
    return widths


def _longest_word(text: Text) -> int:
    return max((cell_len(word) for word in text.plain.split()), default=1)


def show_pairs(values: Mapping[str, Any]) -> None:
    """Print names with what each is; what is long is folded beside its name."""
    Console(file=sys.stdout, highlight=False).print(_pairs({name: _text(name, one) for name, one in values.items()}))


def _pairs(values: Mapping[str, Text]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        if value.plain:
            table.add_row(Text(name), value)
    return table


def _text(column: str, value: Any) -> Text:
    """Return a cell, in which nothing is taken for markup."""
    text = "" if value is None else str(value)
    colour = _COLOURS.get(text.lower(), "") if column in _COLOURED else ""
    return Text(text, style=colour)
