"""Empty databases to rehearse in, which are gone afterwards: on a server that is there, or on one of our own."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from glacier_provider.errors import DatabaseRefused, GlacierProviderError
from glacier_provider.postgres.cluster.properties import copy_settings
from glacier_provider.postgres.cluster.roles import role_statements
from glacier_provider.postgres.restore.swap.beside import encoding_like
from glacier_provider.postgres.restore.swap.maintenance import maintenance_server
from glacier_provider.postgres.tools.find import Tools
from glacier_provider.postgres.tools.private import private_server
from glacier_provider.postgres.tools.server import Server, database_errors
from glacier_provider.postgres.tools.sql import literal, quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

#: What a scratch database is called begins so; its comment says whose it is.
SCRATCH = "glacier_rehearsal_"
_MARK = "glacier_provider: a rehearsal"
_MADE = re.compile(rf"{SCRATCH}([0-9a-f]{{1,12}})_[0-9a-f]+")
_LEFT_OVER_SECONDS = 3600


@contextmanager
def scratch_database(server: Server, like: str = "") -> Iterator[Server]:
    """Make an empty database of this user on the same server, and drop it in the end.

    One that a dead process left is dropped by the next rehearsal. `like` says in CREATE DATABASE's words what encoding
    and locale it has; else they are those of `server`'s database. Raise DatabaseRefused when this user may create no
    database there, and as `Server.connect`.
    """
    name = f"{SCRATCH}{int(time.time()):x}_{secrets.token_hex(6)}"
    maintenance = _maintenance(server)
    with (
        maintenance.connect(autocommit=True, bare=True) as connection,
        database_errors(maintenance, "making a scratch database"),
    ):
        _may_create(connection, server)
        _drop_left_over(connection)
        encoding = like or encoding_like(connection, server.dbname)
        connection.execute(f"CREATE DATABASE {quoted(name)} TEMPLATE template0 {encoding}".encode())
        if not like:
            copy_settings(connection, server.dbname, name)
        connection.execute(f"COMMENT ON DATABASE {quoted(name)} IS {literal(_MARK)}".encode())
    try:
        yield server.with_database(name)
    finally:
        with suppress(GlacierProviderError):
            _drop(maintenance, name)


def _maintenance(server: Server) -> Server:
    """Return where databases are made and dropped from: another one, or that one if it is all there is."""
    try:
        return maintenance_server(server)
    except DatabaseRefused:
        return server


def _drop(maintenance: Server, name: str) -> None:
    with (
        maintenance.connect(autocommit=True, bare=True) as connection,
        database_errors(maintenance, "dropping a scratch database"),
    ):
        connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)".encode())


def _may_create(connection: Connection, server: Server) -> None:
    row = connection.execute(
        "SELECT rolcreatedb OR rolsuper, current_user FROM pg_catalog.pg_roles WHERE rolname = current_user"
    ).fetchone()
    may_create, user = row or (False, server.user)
    if not may_create:
        raise DatabaseRefused(
            f"The user {user!r} may create no database to rehearse in.",
            hint=f"ALTER ROLE {quoted(user)} CREATEDB, or name another server in rehearsal.postgres_conn_id.",
        )


def _drop_left_over(connection: Connection) -> None:
    """Drop scratch databases that a dead process left: nobody is in them, and they are older than a rehearsal takes.

    One that was just made has nobody in it, either.
    """
    found = connection.execute(
        "SELECT d.datname FROM pg_catalog.pg_database d WHERE starts_with(d.datname, %s)"
        " AND shobj_description(d.oid, 'pg_database') = %s AND pg_has_role(d.datdba, 'USAGE')"
        " AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid)",
        (SCRATCH, _MARK),
    ).fetchall()
    for (name,) in found:
        made = _MADE.fullmatch(name)
        if made is not None and time.time() - int(made[1], 16) < _LEFT_OVER_SECONDS:
            continue
        connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)}".encode())


@contextmanager
def private_scratch_database(
    programs: Tools,
    like: str,
    user: str,
    recorded: Mapping[str, Any],
    others: Iterable[str],
    tell: Callable[[], None],
) -> Iterator[Server]:
    """Make an empty database of a role named `user` on a server of our own; server and database go in the end.

    The server has the `recorded` roles with their powers and memberships (see `read_roles`), and `others` besides.
    Raise as `private_server`.
    """
    with private_server(programs, tell) as server:
        name, password = f"{SCRATCH}{secrets.token_hex(6)}", secrets.token_urlsafe(16)
        with (
            server.connect(autocommit=True, bare=True) as connection,
            database_errors(server, "making what a dump needs"),
        ):
            make_roles(connection, recorded, (user, *others))
            can_enter = f"LOGIN CONNECTION LIMIT -1 PASSWORD {literal(password)} VALID UNTIL 'infinity'"
            connection.execute(f"ALTER ROLE {quoted(user)} {can_enter}".encode())
            made = f"CREATE DATABASE {quoted(name)} OWNER {quoted(user)} TEMPLATE template0 {like}"
            connection.execute(made.encode())
        yield replace(server, user=user, password=password, dbname=name)


def make_roles(connection: Connection, recorded: Mapping[str, Any], others: Iterable[str]) -> None:
    """Make roles without their settings, which are none of a dump's matter; what this version does not know is not."""
    import psycopg

    roles = [{**role, "settings": []} for role in recorded.get("roles") or []]
    statements = [one.sql for one in role_statements({**recorded, "roles": roles})]
    for sql in [*statements, *(f"CREATE ROLE {quoted(name)}" for name in others)]:
        with suppress(psycopg.errors.Error):  # it is there already; or a later, or an earlier, version knows it
            connection.execute(sql.encode())
