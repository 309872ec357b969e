"""A catalog that goes back in time: copied, and later put in the place of what it became."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from psycopg import sql

from glacier_provider.postgres import Server


class Past:
    """One copy of a catalog's database, on the same server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._copy = f"{server.dbname}_before"

    def keep(self) -> None:
        """Copy the database as it is; nobody may be connected to it but sessions that are at their end."""
        with self._administrator() as connection:
            connection.execute(_named("DROP DATABASE IF EXISTS {} WITH (FORCE)", self._copy))
            self._end_sessions(connection)
            connection.execute(_named("CREATE DATABASE {} TEMPLATE {}", self._copy, self._server.dbname))

    def come_back(self, *, same_place: bool) -> None:
        """Put the copy in its place: `same_place` as a replica does that takes over, else as a dump of it does."""
        with self._administrator() as connection:
            self._end_sessions(connection)
            name = self._server.dbname
            row: Any = connection.execute("SELECT oid FROM pg_database WHERE datname = %s", [name]).fetchone()
            connection.execute(_named("DROP DATABASE {} WITH (FORCE)", name))
            connection.execute(
                _named("CREATE DATABASE {} TEMPLATE {}", name, self._copy)
                + (sql.SQL(" OID = {}").format(row[0]) if same_place else sql.SQL(""))
            )

    def _end_sessions(self, connection: Any) -> None:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [self._server.dbname]
        )

    def _administrator(self) -> Any:
        return replace(self._server, dbname="postgres").connect(autocommit=True)


def _named(statement: str, *names: str) -> Any:
    return sql.SQL(statement).format(*map(sql.Identifier, names))  # type: ignore[arg-type]
