"""The database beside: found, made like the old one, marked, dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glacier_provider.core.text import readable_size
from glacier_provider.errors import GlacierProviderError, NameTaken
from glacier_provider.postgres.cluster.properties import copy_settings
from glacier_provider.postgres.restore.swap.maintenance import maintenance
from glacier_provider.postgres.restore.swap.names import Filling, Swap
from glacier_provider.postgres.tools.run import TaskLog
from glacier_provider.postgres.tools.server import Server, database_errors
from glacier_provider.postgres.tools.sql import literal, quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

_COMMENTS = "SELECT datname, coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_catalog.pg_database"

# Columns that not every version has are read through JSON.
_LIKE_THE_OLD = """
SELECT pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
       CASE WHEN d.dattablespace <> template.dattablespace THEN t.spcname END,
       to_jsonb(d)->>'datlocprovider', coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'),
       to_jsonb(d)->>'daticurules'
  FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace
  JOIN pg_catalog.pg_database template ON template.datname = 'template0'
 WHERE d.datname = %s"""

_EMPTY = """
SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')"""

_IN_USE = "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE datname = %s)"


def comments(connection: Connection) -> dict[str, str]:
    """Return all databases with their comments."""
    return dict(connection.execute(_COMMENTS).fetchall())


def progress_of(connection: Connection, swap: Swap) -> Filling | None:
    """Return how far the database beside is, or None when it is not there or not known to be ours."""
    comment = comments(connection).get(swap.beside)
    return None if comment is None else swap.progress(comment)


def create_beside(server: Server, connection: Connection, swap: Swap, progress: TaskLog) -> None:
    """Create the new database like the old one; what earlier tries and restores left beside goes first.

    That has our comment, or is empty: a try died between the two statements. Raise NameTaken for any other.
    """
    there = comments(connection)
    if swap.beside in there:
        if swap.progress(there[swap.beside]) is None and not _is_empty(server.with_database(swap.beside)):
            raise NameTaken(
                f"A database {swap.beside} is there, and not of this restore.", hint="Rename or drop it; then clear."
            )
        drop(connection, swap.beside)
    for name, comment in there.items():
        if swap.is_left_over(name, comment):
            _drop_left_over(connection, name, progress)
    connection.execute(create_statement(connection, swap.database, swap.beside).encode())
    copy_settings(connection, swap.database, swap.beside)  # what is refused is told at the end, with the privileges
    mark_beside(connection, swap, Filling.UNFINISHED)


def create_statement(connection: Connection, like: str, name: str) -> str:
    """Return the statement that makes a database like another one: owner, encoding, locale, tablespace."""
    owner, encoding, collate, ctype, tablespace, *locale = _row_of(connection, like)
    parts = [f"CREATE DATABASE {quoted(name)} TEMPLATE template0 OWNER {quoted(owner)}"]
    parts.append(_encoding(encoding, collate, ctype, *locale))
    if tablespace:  # the template's own may be used by anybody, unless it is named
        parts.append(f"TABLESPACE {quoted(tablespace)}")
    return " ".join(parts)


def encoding_like(connection: Connection, like: str) -> str:
    """Return the clauses of CREATE DATABASE that give a database the encoding and locale of another one."""
    _, encoding, collate, ctype, _, *locale = _row_of(connection, like)
    return _encoding(encoding, collate, ctype, *locale)


def _row_of(connection: Connection, database: str) -> tuple[Any, ...]:
    row = connection.execute(_LIKE_THE_OLD, (database,)).fetchone()
    assert row is not None  # we are its server's
    return row


def _encoding(
    encoding: str,
    collate: str,
    ctype: str,
    provider: str | None,
    locale: str | None,
    rules: str | None,
) -> str:
    parts = [f"ENCODING {literal(encoding)} LC_COLLATE {literal(collate)} LC_CTYPE {literal(ctype)}"]
    if provider == "i":
        parts.append(f"LOCALE_PROVIDER icu ICU_LOCALE {literal(locale or '')}")
        parts += [f"ICU_RULES {literal(rules)}"] if rules else []
    elif provider == "b":
        parts.append(f"LOCALE_PROVIDER builtin BUILTIN_LOCALE {literal(locale or '')}")
    elif provider == "c":  # the template's may be another
        parts.append("LOCALE_PROVIDER libc")
    return " ".join(parts)


def mark_beside(connection: Connection, swap: Swap, progress: Filling) -> None:
    """Write on the database how far it is; whoever comes next reads it."""
    connection.execute(f"COMMENT ON DATABASE {quoted(swap.beside)} IS {literal(swap.comment(progress))}".encode())


def drop(connection: Connection, name: str) -> None:
    connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)".encode())


def _drop_left_over(connection: Connection, name: str, progress: TaskLog) -> None:
    """Drop what an earlier restore left beside, so that the disk never holds two of them; not under somebody's eyes."""
    in_use = connection.execute(_IN_USE, (name,)).fetchone()
    if in_use and in_use[0]:
        progress(f"The database {name}, which an earlier restore left, is in use and stays.")
        return
    progress(f"The database {name}, which an earlier restore left, is dropped.")
    drop(connection, name)


def kept_beside(elsewhere: Server, swap: Swap) -> str:
    """Return a sentence about the filled database that stands beside, or nothing."""
    try:
        with maintenance(elsewhere, "looking for the database beside") as connection:
            progress = progress_of(connection, swap)
            if progress in (None, Filling.UNFINISHED):
                return ""
            row = connection.execute("SELECT pg_database_size(%s)", (swap.beside,)).fetchone()
    except GlacierProviderError:
        return ""
    size = readable_size(row[0]) if row else "of unknown size"
    return (
        f"The restored database stands beside as {swap.beside} ({size}), and the next try of this restore goes on with "
        f"it; to give it up: DROP DATABASE {quoted(swap.beside)}."
    )


def _is_empty(database: Server) -> bool:
    with database.connect(autocommit=True, bare=True) as connection, database_errors(database, "looking into it"):
        row = connection.execute(_EMPTY).fetchone()
    return bool(row and row[0])
