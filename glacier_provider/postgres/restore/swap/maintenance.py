"""The database from which others are made, renamed and dropped: none of them can be that by its own sessions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from glacier_provider.errors import DatabaseRefused
from glacier_provider.postgres.tools.server import Server, database_errors
from glacier_provider.postgres.tools.sql import quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

#: Every server has it, unless somebody dropped it.
USUAL = "postgres"

_OTHERS = """
SELECT datname FROM pg_catalog.pg_database
 WHERE datallowconn AND datname <> current_database() AND datname !~ '_restore_[0-9]+_[0-9]+$'
   AND has_database_privilege(oid, 'CONNECT')
 ORDER BY datistemplate, datname"""


def maintenance_server(server: Server) -> Server:
    """Return another database of the same server that this user may connect to; raise DatabaseRefused without one."""
    usual = server.with_database(USUAL)
    if server.dbname != USUAL and _answers(usual):
        return usual
    with (
        server.connect(autocommit=True, bare=True) as connection,
        database_errors(server, "looking for another database"),
    ):
        names = [str(name) for (name,) in connection.execute(_OTHERS).fetchall()]
    found = next((other for other in map(server.with_database, names) if _answers(other)), None)
    if found is None:
        raise DatabaseRefused(
            f"{server} cannot be renamed from within, and {server.user} may connect to no other database.",
            hint=f"GRANT CONNECT ON DATABASE {USUAL} TO {quoted(server.user)}, or CREATE DATABASE {USUAL}.",
        )
    return found


def _answers(database: Server) -> bool:
    try:
        database.connect(bare=True).close()
    except DatabaseRefused:
        return False
    return True


@contextmanager
def maintenance(elsewhere: Server, doing: str) -> Iterator[Connection]:
    """Connect for one step: a connection held while a database is filled would be idle for hours, and may be cut."""
    with elsewhere.connect(autocommit=True, bare=True) as connection, database_errors(elsewhere, doing):
        yield connection
