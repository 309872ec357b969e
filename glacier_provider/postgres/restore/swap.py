"""Restoring a database beside the one that is there, and swapping the two.

A new database of the same server is made like the old one, filled by pg_restore with several jobs, and analyzed, while
the application goes on with the old one. Then one transaction renames both: nobody ever sees half of it. The old
database stays under another name until somebody drops it. Whatever fails before the renaming leaves the application's
database untouched.

Quicker than one transaction, and not bound by max_locks_per_transaction; but all of the database or nothing of it, and
the restoring user must be able to create databases.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from glacier_provider.errors import (
    ConfigurationError,
    DatabaseBusy,
    DatabaseRefused,
    GlacierProviderError,
    NameTaken,
    RestoreFailed,
    ToolKilled,
)
from glacier_provider.postgres.dump.disk import table_of_contents
from glacier_provider.postgres.restore.transaction import RestoredDatabase
from glacier_provider.postgres.tools import commands
from glacier_provider.postgres.tools.find import Tools, check_client_version, server_version
from glacier_provider.postgres.tools.options import PgRestoreOptions
from glacier_provider.postgres.tools.run import Reporter, TaskLog, Tool
from glacier_provider.postgres.tools.server import Server, database_errors
from glacier_provider.postgres.tools.sql import literal, quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

#: Where the two are renamed from: a database cannot be renamed by its own sessions.
MAINTENANCE_DATABASE = "postgres"
RENAME_SECONDS = 120.0
_NAME_BYTES = 63


@dataclass(frozen=True, slots=True)
class Swap:
    """The names of one swap.

    `mark` tells this restore from every other one, also after the catalog began anew: ``restore_42_20261122031500``.
    """

    database: str
    mark: str

    @property
    def beside(self) -> str:
        """The database that is being filled."""
        return self._named(self.mark)

    @property
    def previous(self) -> str:
        """What the old database is called afterwards."""
        return self._named(f"before_{self.mark}")

    @property
    def comment(self) -> str:
        return f"glacier_provider: {self.mark} of {self.database}, unfinished"

    def _named(self, end: str) -> str:
        room = _NAME_BYTES - len(end) - 1
        start = self.database.encode("utf-8")[:room].decode("utf-8", "ignore")
        return f"{start}_{end}"


def check_swap(server: Server, *, catalog_schema: str) -> None:
    """Return when this database can be swapped; raise ConfigurationError or DatabaseRefused otherwise."""
    with server.connect() as connection, database_errors(server, "checking what a swap needs"):
        row = connection.execute(
            "SELECT r.rolsuper OR (r.rolcreatedb AND pg_has_role(d.datdba, 'USAGE')),"
            " to_regclass(format('%%I.catalog_version', %s::text)) IS NOT NULL"
            " FROM pg_catalog.pg_roles r, pg_catalog.pg_database d"
            " WHERE r.rolname = current_user AND d.datname = current_database()",
            (catalog_schema,),
        ).fetchone()
    allowed, holds_catalog = row or (False, False)
    if holds_catalog:
        raise ConfigurationError(
            f"{server} holds the catalog too (schema {catalog_schema}), and a swap would take it away.",
            hint="Use restore: {mode: transaction}, or move the catalog to a database of its own.",
        )
    if not allowed:
        raise DatabaseRefused(
            f"The user {server.user} cannot create and rename databases.",
            hint=f"ALTER ROLE {quoted(server.user)} CREATEDB, and let it own the database; or use mode: transaction.",
        )


def restore_by_swap(
    server: Server,
    tools: Tools,
    dump: Path,
    options: PgRestoreOptions,
    *,
    mark: str,
    jobs: int,
    progress: TaskLog,
) -> RestoredDatabase:
    """Restore `dump` into a new database with `jobs` connections, and put it in the place of `server`'s database.

    A swap of the same `mark` that was made already is not made again; one that was cut is begun anew. Raise
    RestoreFailed, DatabaseBusy, DatabaseRefused, ToolTooOld, NameTaken or ToolKilled; then the database is as it was.
    """
    swap = Swap(server.dbname, mark)
    toc = table_of_contents(dump)
    with _maintenance(server) as connection:
        version = server_version(connection)
        check_client_version(tools, version)
        warnings: tuple[str, ...] = ()
        if _is_done(connection, swap):
            progress(f"{server.dbname} was swapped by an earlier try.")
        else:
            _create(server, connection, swap)
            beside = server.with_database(swap.beside)
            progress(f"Restoring {len(toc.entries)} entries of {dump.name} into the new database {swap.beside}.")
            with _dropped_on_failure(connection, swap):
                warnings = _fill(beside, tools, dump, options, jobs, progress)
                _analyze(beside, jobs, progress)
                warnings += _copy_properties(connection, swap)
                _rename(server, connection, swap, progress)
    progress(f"{server.dbname} is restored. What it was is kept as {swap.previous}; drop it when it is not needed.")
    return RestoredDatabase(
        restored=len(toc.entries),
        removed=0,
        transaction_id=0,
        dump_version=toc.header.server_version,
        server_version=str(version),
        analyzed=True,
        warnings=warnings,
    )


@contextmanager
def _maintenance(server: Server) -> Iterator[Connection]:
    elsewhere = server.with_database(MAINTENANCE_DATABASE)
    with elsewhere.connect(autocommit=True) as connection, database_errors(elsewhere, "preparing a swap"):
        yield connection


@contextmanager
def _dropped_on_failure(connection: Connection, swap: Swap) -> Iterator[None]:
    """Free the disk of a database that was filled in vain; should that fail too, the next try does it."""
    import psycopg

    try:
        yield
    except GlacierProviderError:
        with suppress(psycopg.Error):
            connection.execute(f"DROP DATABASE {quoted(swap.beside)} WITH (FORCE)".encode())
        raise


def _databases(connection: Connection, *names: str) -> dict[str, str]:
    """Return those of the databases that exist, with their comments."""
    rows = connection.execute(
        "SELECT datname, coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_catalog.pg_database"
        " WHERE datname = ANY(%s)",
        (list(names),),
    )
    return dict(rows.fetchall())


def _is_done(connection: Connection, swap: Swap) -> bool:
    """Tell whether the two were renamed already: one transaction does both, so the one name tells of the other."""
    return swap.previous in _databases(connection, swap.previous)


# --- the new database ----------------------------------------------------------------------------------------------

_LIKE_THE_OLD = """
SELECT pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, d.datconnlimit, t.spcname,
       to_jsonb(d)->>'datlocprovider', coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale')
  FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = %s"""


def _create(server: Server, connection: Connection, swap: Swap) -> None:
    """Create the new database like the old one; what an earlier try of this restore left of it goes first.

    That has our comment, or is empty: the try died between the two statements.
    """
    left = _databases(connection, swap.beside)
    if swap.beside in left:
        if left[swap.beside] != swap.comment and not _is_empty(server.with_database(swap.beside)):
            raise NameTaken(
                f"A database {swap.beside} is there, and not of this restore.", hint="Rename or drop it; then clear."
            )
        connection.execute(f"DROP DATABASE {quoted(swap.beside)} WITH (FORCE)".encode())
    row = connection.execute(_LIKE_THE_OLD, (swap.database,)).fetchone()
    assert row is not None  # we are its server's
    owner, encoding, collate, ctype, _, tablespace, provider, locale = row
    parts = [
        f"CREATE DATABASE {quoted(swap.beside)} TEMPLATE template0 OWNER {quoted(owner)}",
        f"ENCODING {literal(encoding)} LC_COLLATE {literal(collate)} LC_CTYPE {literal(ctype)}",
        f"TABLESPACE {quoted(tablespace)}",
    ]
    if provider == "i":
        parts.append(f"LOCALE_PROVIDER icu ICU_LOCALE {literal(locale)}")
    elif provider == "b":
        parts.append(f"LOCALE_PROVIDER builtin BUILTIN_LOCALE {literal(locale)}")
    elif provider == "c":  # the template's may be another
        parts.append("LOCALE_PROVIDER libc")
    connection.execute(" ".join(parts).encode())
    connection.execute(f"COMMENT ON DATABASE {quoted(swap.beside)} IS {literal(swap.comment)}".encode())


def _is_empty(database: Server) -> bool:
    query = (
        "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')"
    )
    with database.connect(autocommit=True) as connection, database_errors(database, "looking into it"):
        row = connection.execute(query).fetchone()
    return bool(row and row[0])


def _fill(
    beside: Server, tools: Tools, dump: Path, options: PgRestoreOptions, jobs: int, progress: TaskLog
) -> tuple[str, ...]:
    argv = commands.pg_restore_into(tools, options, dump=dump, database=beside.dbname, jobs=jobs)
    with Tool(argv, beside.for_tools()) as pg_restore:
        ended = pg_restore.watch(Reporter(progress), lambda: f"into {beside.dbname}")
    if ended.killed:
        raise ToolKilled("pg_restore was ended from outside. The database is as it was.")
    if ended.failed:
        raise RestoreFailed(
            f"pg_restore failed: {ended.reason.rstrip('.')}. The database is as it was.", hint=_hint(ended.reason)
        )
    return ended.warnings


def _hint(reason: str) -> str | None:
    if re.search(r'role ".*" does not exist', reason):
        return "Create the role, or restore with restore: {owner: drop, privileges: drop}."
    if "No space left" in reason:
        return "The server's disk is full: old and new database are both there until the old one is dropped."
    return None


#: What ANALYZE takes when it is given no table, the largest first.
_ANALYZED = """
SELECT c.oid::regclass::text FROM pg_catalog.pg_class c
 WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't'
 ORDER BY pg_catalog.pg_relation_size(c.oid) DESC"""


def _analyze(beside: Server, jobs: int, progress: TaskLog) -> None:
    """Refresh the statistics over as many connections as filled the database, one table at a time on each."""
    progress("Refreshing the statistics of the new database.")
    tables: SimpleQueue[str] = SimpleQueue()
    with beside.connect(autocommit=True) as connection, database_errors(beside, "ANALYZE"):
        for (table,) in connection.execute(_ANALYZED):
            tables.put(table)
    with ThreadPoolExecutor(jobs) as pool:
        for each in [pool.submit(_analyze_tables, beside, tables) for _ in range(jobs)]:
            each.result()


def _analyze_tables(beside: Server, tables: SimpleQueue[str]) -> None:
    """Analyze what others have not taken yet."""
    with beside.connect(autocommit=True) as connection, database_errors(beside, "ANALYZE"), suppress(Empty):
        while table := tables.get_nowait():
            connection.execute(f"ANALYZE {table}".encode())


# --- what belongs to a database and is not in it -------------------------------------------------------------------

_SETTINGS = """
SELECT coalesce(r.rolname, ''), split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
  FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) AS c
 WHERE d.datname = %s"""
_PRIVILEGES = """
SELECT coalesce(g.rolname, ''), a.privilege_type, a.is_grantable
  FROM pg_catalog.pg_database d, aclexplode(d.datacl) a LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantee
 WHERE d.datname = %s AND d.datacl IS NOT NULL AND a.grantee <> d.datdba"""
_RESTRICTED = "SELECT datacl IS NOT NULL FROM pg_catalog.pg_database WHERE datname = %s"


def _copy_properties(connection: Connection, swap: Swap) -> tuple[str, ...]:
    """Give the new database the old one's settings, privileges, connection limit and comment; return what could not be.

    They belong to the cluster of today, not to the dump: what was granted since the backup stays granted.
    """
    name = quoted(swap.beside)
    row = connection.execute(_LIKE_THE_OLD, (swap.database,)).fetchone()
    statements = [f"ALTER DATABASE {name} CONNECTION LIMIT {row[4]}"] if row else []
    restricted = connection.execute(_RESTRICTED, (swap.database,)).fetchone()
    if restricted and restricted[0]:
        # Not among those that may be refused: the new database must not be more open than the old one.
        connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC".encode())
    for grantee, privilege, grantable in connection.execute(_PRIVILEGES, (swap.database,)).fetchall():
        whom = quoted(grantee) if grantee else "PUBLIC"
        statements.append(f"GRANT {privilege} ON DATABASE {name} TO {whom}" + " WITH GRANT OPTION" * bool(grantable))
    refused = [_attempt(connection, [statement]) for statement in statements]
    for role, setting, value in connection.execute(_SETTINGS, (swap.database,)).fetchall():
        whose = f"ALTER ROLE {quoted(role)} IN DATABASE {name}" if role else f"ALTER DATABASE {name}"
        # FROM CURRENT, since a list such as search_path cannot be written down as one text.
        chosen = f"SELECT set_config({literal(setting)}, {literal(value)}, true)"
        refused.append(_attempt(connection, [chosen, f"{whose} SET {_setting(setting)} FROM CURRENT"]))
    return tuple(reason for reason in refused if reason)


def _setting(name: str) -> str:
    return ".".join(quoted(part) for part in name.split("."))


def _attempt(connection: Connection, statements: Sequence[str]) -> str:
    """Run statements in one transaction; return the server's refusal, or nothing."""
    import psycopg

    try:
        with connection.transaction():
            for statement in statements:
                connection.execute(statement.encode())
    except (psycopg.ProgrammingError, psycopg.DataError) as error:
        said = str(error).strip().splitlines()[0]
        return f"Not carried over to the restored database: {statements[-1]} ({said})"
    return ""


# --- the swap ------------------------------------------------------------------------------------------------------

_END_SESSIONS = """
SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
 WHERE datname = ANY(%s) AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""


def _rename(server: Server, connection: Connection, swap: Swap, progress: TaskLog) -> None:
    """Rename both in one transaction. Sessions of the application are ended, and come back to the restored database."""
    import psycopg

    progress(f"Swapping: sessions in {swap.database} are ended.")
    deadline = time.monotonic() + RENAME_SECONDS
    while True:
        with database_errors(server, "ending the sessions of the database"):
            connection.execute(_END_SESSIONS, ([swap.database, swap.beside],))
        try:
            with connection.transaction():
                connection.execute(f"ALTER DATABASE {quoted(swap.database)} RENAME TO {quoted(swap.previous)}".encode())
                connection.execute(f"ALTER DATABASE {quoted(swap.beside)} RENAME TO {quoted(swap.database)}".encode())
                comment = _comment(connection, swap)
                connection.execute(f"COMMENT ON DATABASE {quoted(swap.database)} IS {comment}".encode())
        except psycopg.errors.ObjectInUse as error:
            if time.monotonic() > deadline:
                raise DatabaseBusy(
                    f"{server} has sessions that come back at once or cannot be ended. The database is as it was.",
                    hint="Stop the application, then clear this task.",
                ) from error
        else:
            return


def _comment(connection: Connection, swap: Swap) -> str:
    comment = _databases(connection, swap.previous)[swap.previous]
    return literal(comment) if comment else "NULL"
