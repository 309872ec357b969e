"""Names and texts as SQL writes them. Pure."""

from __future__ import annotations

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
