"""The snapshot that a dump, and the names that `references_query` reads, are of."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from glacier_provider.core.text import names, readable_size
from glacier_provider.errors import (
    ConfigurationError,
    DatabaseError,
    DatabaseRefused,
    GlacierProviderError,
    OutOfSpace,
    ToolFailed,
)
from glacier_provider.postgres.tools.find import Tools, Version, check_client_version, server_version
from glacier_provider.postgres.tools.options import Exclusions, PgDumpOptions
from glacier_provider.postgres.tools.server import Server, database_errors
from glacier_provider.postgres.tools.session import encoding_of_dumps
from glacier_provider.postgres.tools.sql import TableName, quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

#: Takes a batch of attached-file names that the dump's snapshot names.
References: TypeAlias = Callable[[list[str]], None]

REFERENCE_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An exported snapshot: its id, when it was taken, and what the server says of itself and the database.

    `server` is the server as client programs should meet it. `locked` counts the tables and sequences that a dump
    locks, `locks` how many locks the server surely has room for. `unlogged_tables` are those whose rows a standby does
    not have; of `dumped_all_the_same` the rows are dumped although those of a table above them are not; of
    `hidden_mappings` no dump of this user has the options.
    """

    id: str
    server: Server = field(repr=False)
    taken_at: datetime
    version: Version
    database_size: int
    locked: int = 0
    locks: int = 0
    unlogged_tables: tuple[TableName, ...] = ()
    dumped_all_the_same: tuple[str, ...] = ()
    hidden_mappings: tuple[str, ...] = ()

    def warnings(self) -> tuple[str, ...]:
        """Return what should be known before the dump begins."""
        told: tuple[str, ...] = ()
        if self.dumped_all_the_same:
            told = (
                f"dump.exclude_table_data leaves out no rows of {names(self.dumped_all_the_same)}: pg_dump leaves out "
                "those of the table that is named, not those of its partitions or of what inherits from it. Name them.",
            )
        if self.hidden_mappings:
            told = (
                *told,
                f"The options of these user mappings, as their passwords, are hidden from {self.server.user} and in no "
                f"dump: {names(self.hidden_mappings)}. Where they are, they stay; on a new server, their roles or a "
                "superuser have to set them again. A superuser's dump has them.",
            )
        if self.locked <= self.locks:
            return told
        return (
            *told,
            f"The dump locks {self.locked:,} tables and sequences, and the server surely has room for {self.locks:,} "
            "locks (max_locks_per_transaction * (max_connections + max_prepared_transactions)): raise "
            "max_locks_per_transaction before pg_dump fails with 'out of shared memory'.",
        )


#: Looks through a snapshot while a dump of it is made.
Beside: TypeAlias = Callable[[Snapshot], AbstractContextManager[None]]


@contextmanager
def snapshot_to_dump(
    server: Server,
    tools: Tools,
    options: PgDumpOptions,
    *,
    room: Path | None,
    references: References | None,
    beside: Beside | None = None,
) -> Iterator[tuple[Snapshot, int]]:
    """Export a snapshot until the block ends, and give the names that `references_query` reads to `references`.

    Yield it, and how many names they were. Before they are read, the client must be new enough for the server, and the
    directory `room` have enough of it. What looks through it `beside` the block is waited for.

    Raise ToolTooOld, OutOfSpace, ConfigurationError for a query that fails, and as `Server.connect`.
    """
    with _exported(server, options.exclusions) as (connection, snapshot):
        check_client_version(tools, snapshot.version)
        if room is not None:
            _check_room(room, snapshot, options)
        count = _read_references(server, connection, options, references)
        try:
            with nullcontext() if beside is None else beside(snapshot):
                yield snapshot, count
        except (ToolFailed, DatabaseError) as error:
            _require_alive(server, connection, error)
            raise


def _require_alive(server: Server, connection: Connection, error: GlacierProviderError) -> None:
    """Raise what ended the snapshot's session, where it was ended: what pg_dump says then only follows from it."""
    try:
        with database_errors(server, "keeping the snapshot"):
            connection.execute("SELECT")
    except DatabaseError as lost:
        lost.message += f" {error.message}"
        raise lost from error


_TAKEN = "SELECT pg_export_snapshot(), statement_timestamp(), pg_database_size(current_database())"
_LOCKED = """
SELECT (SELECT count(*) FROM pg_catalog.pg_class
         WHERE relkind IN ('r', 'p', 'S') AND relpersistence <> 't' AND oid >= 16384),
       current_setting('max_locks_per_transaction')::bigint
         * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint),
       pg_catalog.pg_is_in_recovery()"""
_UNLOGGED = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence = 'u' ORDER BY 1, 2"""

# Shown to a mapping's own role and to superusers; of PUBLIC's, to the owner of the server.
_HIDDEN_MAPPINGS = """
SELECT format('%I on %I', u.usename, u.srvname)
  FROM pg_catalog.pg_user_mappings u JOIN pg_catalog.pg_foreign_server s ON s.oid = u.srvid
 WHERE u.umoptions IS NULL AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
   AND CASE WHEN u.umuser = 0 THEN NOT pg_catalog.pg_has_role(s.srvowner, 'USAGE') ELSE u.usename <> current_user END
 ORDER BY 1"""

_BELOW = """
WITH RECURSIVE below AS (
  SELECT pg_catalog.to_regclass(named)::oid AS oid FROM unnest(%(tables)s::text[]) AS named
  UNION SELECT h.inhrelid FROM below JOIN pg_catalog.pg_inherits h ON h.inhparent = below.oid)
SELECT n.nspname, c.relname FROM below JOIN pg_catalog.pg_class c ON c.oid = below.oid AND c.relkind IN ('r', 'f')
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY 1, 2"""


@contextmanager
def _exported(server: Server, exclusions: Exclusions) -> Iterator[tuple[Connection, Snapshot]]:
    """Open a transaction that other sessions can look through as well, until the block ends."""
    import psycopg

    connection = server.connect(bare=True)
    try:
        with database_errors(server, "taking a snapshot"):
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            row = connection.execute(_TAKEN).fetchone()
            assert row is not None  # a SELECT without FROM has one row
            locked, locks, recovering = connection.execute(_LOCKED).fetchone() or (0, 0, False)
            unlogged = connection.execute(_UNLOGGED).fetchall() if recovering else []
            excluded = [f"{quoted(schema)}.{quoted(name)}" for schema, name in exclusions.table_data]
            below = connection.execute(_BELOW, {"tables": excluded}).fetchall() if excluded else []
            left_out = {*exclusions.table_data, *exclusions.tables}
            hidden = connection.execute(_HIDDEN_MAPPINGS).fetchall()
            snapshot = Snapshot(
                id=row[0],
                server=_reached(server, connection, exclusions),
                taken_at=row[1].astimezone(UTC),
                version=server_version(connection),
                database_size=row[2],
                locked=locked,
                locks=locks,
                unlogged_tables=tuple((str(schema), str(name)) for schema, name in unlogged),
                dumped_all_the_same=tuple(
                    f"{schema}.{name}"
                    for schema, name in below
                    if (schema, name) not in left_out and schema not in exclusions.schemas
                ),
                hidden_mappings=tuple(str(mapping) for (mapping,) in hidden),
            )
        yield connection, snapshot
    finally:
        # nothing was changed; a connection that was lost meanwhile is no loss
        with suppress(psycopg.Error):
            connection.close()


def _reached(server: Server, connection: Connection, exclusions: Exclusions) -> Server:
    """Return the server as pg_dump should meet it. What it is to leave out is named to it in UTF-8."""
    reached = server.for_tools(connection)
    if not "".join(exclusions.named).isascii():
        return reached
    return replace(reached, variables={**reached.variables, "PGCLIENTENCODING": encoding_of_dumps(connection)})


def database_size(server: Server) -> int:
    """Return the bytes that the database takes on its server; raise as `Server.connect`."""
    with server.connect(autocommit=True, bare=True) as connection, database_errors(server, "asking for the size"):
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert row is not None  # a SELECT without FROM has one row
        return int(row[0])


@dataclass(frozen=True, slots=True)
class Extent:
    """How many large objects and tables a database has, for each of which a directory has a file, and its bytes."""

    large_objects: int
    tables: int
    size: int


_EXTENT = """
SELECT (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata),
       (SELECT count(*) FROM pg_catalog.pg_class WHERE relkind = 'r' AND relpersistence <> 't' AND oid >= 16384),
       pg_catalog.pg_database_size(current_database())"""


def extent_of(server: Server) -> Extent:
    """Return what a dump of the database would hold; raise as `Server.connect`."""
    with (
        server.connect(autocommit=True, bare=True) as connection,
        database_errors(server, "asking what there is to dump"),
    ):
        row = connection.execute(_EXTENT).fetchone()
        assert row is not None  # a SELECT without FROM has one row
        return Extent(*map(int, row))


def _check_room(directory: Path, snapshot: Snapshot, options: PgDumpOptions) -> None:
    needed, free = round(snapshot.database_size * options.space_ratio), shutil.disk_usage(directory).free
    if free < needed:
        raise OutOfSpace(
            f"A dump of this database ({readable_size(snapshot.database_size)} on the server) needs about "
            f"{readable_size(needed)} in {directory}, which has {readable_size(free)} free."
        )


def _read_references(
    server: Server, connection: Connection, options: PgDumpOptions, references: References | None
) -> int:
    """Hand the names that the database knows to the caller, in batches, as the snapshot sees them; return how many."""
    if not options.references_query or references is None:
        return 0
    return read_references(server, connection, options.references_query, references)


def read_references(server: Server, connection: Connection, query: str, take: References) -> int:
    """Hand the names that a `references_query` gives to `take`, in batches, within the transaction of the connection;
    return how many. What the query expects of a file follows its name, behind a NUL. Raise ConfigurationError.
    """
    count = 0
    try:
        with database_errors(server, "reading references_query"), connection.cursor() as cursor:
            # The query is the application's: it finds its tables, and its day, as the application does.
            cursor.execute("SET LOCAL search_path TO DEFAULT")
            cursor.execute("SET LOCAL TimeZone TO DEFAULT")
            # psycopg's own server-side cursors cannot take every text of a database without an encoding; `binary` has
            # the server refuse what would end the query and begin another statement
            cursor.execute(b"DECLARE glacier_references NO SCROLL CURSOR FOR " + query.encode(), binary=True)
            fetch = f"FETCH FORWARD {REFERENCE_BATCH} FROM glacier_references".encode()
            while rows := cursor.execute(fetch).fetchall():
                batch = [_reference(row) for row in rows if row[0] is not None]
                take(batch)
                count += len(batch)
    except DatabaseRefused as exc:
        raise ConfigurationError(f"references_query fails: {exc.message}") from exc
    return count


def _reference(row: Sequence[object]) -> str:
    """Return a name; behind a NUL, which no text of a database holds, what the second column expects of its file."""
    return _name(row[0]) if len(row) < 2 or row[1] is None else f"{_name(row[0])}\0{_name(row[1])}"


def _name(value: object) -> str:
    """Return a name as text; bytes that are no UTF-8, from a database without an encoding, as in file names."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
