"""Names and texts as SQL writes them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

#: A table, view, materialised view, foreign table or sequence: (schema, name), exactly as the catalog spells them.
TableName: TypeAlias = tuple[str, str]


def quoted(name: str) -> str:
    """Return an SQL identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def unquoted(text: str) -> str:
    """Return the name that an SQL identifier stands for, in double quotes or without.

    >>> unquoted('"an ""odd"" name"'), unquoted("plain")
    ('an "odd" name', 'plain')
    """
    in_quotes = len(text) > 1 and text[0] == text[-1] == '"'
    return text[1:-1].replace('""', '"') if in_quotes else text


def literal(text: str) -> str:
    """Return an SQL string constant, whatever standard_conforming_strings is."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"


@contextmanager
def joined_by_hashes(run: Callable[[str], object]) -> Iterator[None]:
    """Have the server join by hashes meanwhile: for queries over its catalogs, run in the same session as `run`.

    It knows nothing of objects that are new, or that a query has found itself, and expects one: then it looks at all of
    them for each of them. (PostgreSQL, "Planner Method Configuration".)
    """
    run("SET enable_nestloop = off")
    yield
    run("RESET enable_nestloop")  # after an error the session has no use any more
