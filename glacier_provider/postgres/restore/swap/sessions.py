"""Whose sessions keep a database from being renamed, and whether this user may end them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from glacier_provider.errors import DatabaseBusy
from glacier_provider.postgres.tools.server import Server
from glacier_provider.postgres.tools.sql import literal, quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

# What an unprivileged role sees of others' sessions is their process, database and role, and nothing else. Without a
# role are the server's own, such as autovacuum, which the renaming ends by itself; parallel workers end with their
# leader. Who may end whom: https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL
_SESSIONS = """
SELECT a.pid, coalesce(a.usename::text, ''), coalesce(r.rolsuper, false),
       coalesce(me.rolsuper
                OR NOT coalesce(r.rolsuper, false)
                   AND (pg_has_role(a.usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE')), false)
  FROM pg_catalog.pg_stat_activity a
  JOIN pg_catalog.pg_roles me ON me.rolname = current_user
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
 WHERE a.datname = ANY(%s) AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL
   AND (a.leader_pid IS NULL OR a.leader_pid = a.pid)
 ORDER BY a.pid"""
_PREPARED = "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = ANY(%s) ORDER BY prepared LIMIT 5"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Session:
    """One session in a database: whose, and whether the role that asked may end it."""

    pid: int
    role: str
    superuser: bool
    may_be_ended: bool

    def __str__(self) -> str:
        return f"process {self.pid} of {self.role or 'a role that is gone'}"


def sessions_in(connection: Connection, databases: Sequence[str]) -> list[Session]:
    """Return the sessions of roles in these databases, this one left out."""
    return [Session(*row) for row in connection.execute(_SESSIONS, (list(databases),)).fetchall()]


def end_sessions(connection: Connection, databases: Sequence[str]) -> None:
    """End what may be ended."""
    for session in sessions_in(connection, databases):
        if session.may_be_ended:
            connection.execute("SELECT pg_terminate_backend(%s)", (session.pid,))


def refuse_sessions_that_stay(connection: Connection, server: Server, databases: Sequence[str]) -> None:
    """Return when nobody is in the way who could not be disconnected; raise DatabaseBusy with who, and what to do."""
    staying = [each for each in sessions_in(connection, databases) if not each.may_be_ended]
    if staying:
        shown = ", ".join(map(str, staying[:_SHOWN])) + (
            f" and {len(staying) - _SHOWN:,} more" * (len(staying) > _SHOWN)
        )
        raise DatabaseBusy(
            f"{server} has sessions that {server.user} cannot end, and a database with sessions cannot be renamed: "
            f"{shown}. The database is as it was.",
            hint=_hint(server.user, staying),
        )
    prepared = [str(gid) for (gid,) in connection.execute(_PREPARED, (list(databases),)).fetchall()]
    if prepared:
        raise DatabaseBusy(
            f"{server} has prepared transactions, and a database with them cannot be renamed: {', '.join(prepared)}. "
            "The database is as it was.",
            hint=f"End each in that database, for example: ROLLBACK PREPARED {literal(prepared[0])}; "
            "then clear this task.",
        )


def _hint(user: str, staying: Sequence[Session]) -> str:
    supers = sorted({each.role for each in staying if each.superuser})
    others = sorted({each.role for each in staying if not each.superuser})
    hints = []
    if others:
        hints.append(
            f"GRANT pg_signal_backend TO {quoted(user)}, or stop what connects as {', '.join(map(quoted, others))}"
        )
    if supers:
        hints.append(f"let a superuser end the sessions of {', '.join(map(quoted, supers))}, which nobody else may")
    text = "; ".join(hints)
    return f"{text[0].upper()}{text[1:]}. Then clear this task."
