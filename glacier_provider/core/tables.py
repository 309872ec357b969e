"""Names of tables as people write them: ``schema.table``, either part in double quotes where PostgreSQL needs them.

https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
"""

from __future__ import annotations

import re

from glacier_provider.errors import ConfigurationError

_PART = r'"(?:[^"\u0000]|"")+"|[^".\s\u0000](?:[^".\u0000]*[^".\s\u0000])?'
TABLE_PATTERN = rf"\s*(?:({_PART})\s*\.\s*)?({_PART})\s*"
_TABLE = re.compile(TABLE_PATTERN)
_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")


def parse_table(text: str) -> tuple[str, str]:
    """Return (schema, table) as the catalog spells them; the schema is ``public`` when left out.

    >>> parse_table('public.documents'), parse_table('"My App"."T.1"'), parse_table('users')
    (('public', 'documents'), ('My App', 'T.1'), ('public', 'users'))

    Raise ConfigurationError with an example for anything else. Letters keep their case, quoted or not.
    """
    found = _TABLE.fullmatch(text)
    if not found:
        raise ConfigurationError(
            f"{text!r} names no table.", hint='Give schema and table, as in public.documents or "My App"."T".'
        )
    schema, table = (None if part is None else _unquoted(part) for part in found.groups())
    return schema or "public", table or ""


def format_table(schema: str, table: str) -> str:
    """Return the text that `parse_table` takes."""
    return f"{_quoted(schema)}.{_quoted(table)}"


def _unquoted(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _quoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'
