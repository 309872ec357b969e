"""The catalog's connection: runs named queries, keeps transactions, translates psycopg's errors once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from glacier_provider.catalog.queries import queries
from glacier_provider.catalog.version import check_version
from glacier_provider.core.archive import Amount
from glacier_provider.core.sqlstate import Meaning, meaning_of
from glacier_provider.core.text import plain_text
from glacier_provider.errors import (
    CatalogError,
    CatalogNotReady,
    CatalogUnavailable,
    GlacierProviderError,
    LeaseLost,
)

if TYPE_CHECKING:
    import psycopg

Row = dict[str, Any]
Connect = Callable[[], "psycopg.Connection[Any]"]

#: What the catalog's triggers refuse a statement with whose fence was passed; see the migration `fences`.
FENCE_PASSED = "GLF01"

#: How long a statement waits for another session's transaction. A process that sleeps in one would be waited for as
#: long as it sleeps: https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-LOCK-TIMEOUT
LOCK_SECONDS = 120.0

#: Rows of a page, wherever more are gone through than one should hold.
PAGE_SIZE = 1000


def amount_of(row: Row) -> Amount:
    """Return the `archives` and `bytes` that a row counts."""
    return Amount(row["archives"], row["bytes"])


def pattern_of(text: str | None) -> str | None:
    """Return the LIKE pattern of what contains a text; None for None."""
    if text is None:
        return None
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


@contextmanager
def catalog_errors() -> Iterator[None]:
    """Turn psycopg's errors into the `CatalogError` family."""
    import psycopg
    from psycopg import errors

    try:
        yield
    except (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName) as error:
        raise CatalogNotReady(
            f"The catalog schema is missing or older than this package ({_first_line(error)})."
        ) from error
    except errors.InsufficientPrivilege as error:
        raise CatalogError(
            f"The catalog connection may not do this ({_first_line(error)}).",
            hint="Grant its user the catalog schema, or let it create the schema.",
        ) from error
    except psycopg.Error as error:
        if error.sqlstate == FENCE_PASSED:
            raise lease_lost(error.diag.message_primary or "another run") from error
        raise _translated(error) from error


def _translated(error: psycopg.Error) -> CatalogError:
    """Return what PostgreSQL's error means; without an SQLSTATE it is libpq's, whose connection broke."""
    import psycopg

    said, lost = _first_line(error), isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    meaning = meaning_of(error.sqlstate, said)
    if meaning in (Meaning.CUT, Meaning.STARTING) or (lost and error.sqlstate is None):
        return CatalogUnavailable(f"The catalog database broke off ({said}).")
    if meaning is Meaning.BUSY:
        hint = "Another session held what the statement needed; it is tried again."
        return CatalogUnavailable(f"The catalog database was busy ({said}).", hint=hint)
    if meaning.passes:
        return CatalogUnavailable(f"The catalog database gave a statement up ({said}).", hint=meaning.hint)
    hint = CatalogError.hint if meaning is Meaning.REFUSED else meaning.hint
    return CatalogError(f"The catalog database refused a statement ({said}).", hint=hint)


def waited_in_vain(error: CatalogUnavailable) -> bool:
    """Whether another session held for too long what a statement needed."""
    from psycopg import errors

    return isinstance(error.__cause__, errors.LockNotAvailable)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def lease_lost(holder: str) -> LeaseLost:
    """Return the error of who finds another holder's fence."""
    return LeaseLost(f"{holder} has had the lease of the application meanwhile; nothing of this was written.")


class Fence(NamedTuple):
    """What the holder of an application's lease shows with each statement: the number that the lease was taken with."""

    application_id: int
    token: int


class Database:
    """One connection to the catalog, opened on first use and again after it broke.

    Statements of several threads take turns; a transaction belongs to one thread.

    With a `fence` every statement that changes something is refused with LeaseLost once another holder took the
    application's lease: the catalog's triggers look at it, so that no statement can forget to. A connection that is
    opened again keeps it.
    """

    def __init__(self, connect: Connect, schema: str) -> None:
        self.schema = schema
        self.fence: Fence | None = None
        self._connect = connect
        self._connection: psycopg.Connection[Any] | None = None
        self._shown: Fence | None = None  # the fence that the session knows of
        self._who = ""  # whose session it is, as in "restore 3"
        self._is_known = False
        self._within = 0  # so many transactions, one in the other
        self._works: list[str] = []

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def rows(self, name: str, /, **parameters: Any) -> list[Row]:
        """Run a named query and return its rows as dicts."""
        with self._running(queries()[name], parameters) as cursor:
            return list(cursor.fetchall())

    def composed_rows(self, name: str, fragments: Mapping[str, str], /, **parameters: Any) -> list[Row]:
        """As `rows`, with SQL of ours where the query has ``{name of a fragment}``: what no parameter can stand for."""
        with self._running(queries()[name].format(**fragments), parameters) as cursor:
            return list(cursor.fetchall())

    def row(self, name: str, /, **parameters: Any) -> Row | None:
        """Run a named query and return its first row, or None."""
        with self._running(queries()[name], parameters) as cursor:
            found: Row | None = cursor.fetchone()
            return found

    def run(self, name: str, /, **parameters: Any) -> int:
        """Run a named statement and return how many rows it touched."""
        with self._running(queries()[name], parameters) as cursor:
            return int(cursor.rowcount)

    def stream(self, name: str, /, **parameters: Any) -> Iterator[Row]:
        """Yield the rows of a named query by a server-side cursor: memory does not depend on their number."""
        with self.transaction(), self._errors():
            connection = self.connection()
            with connection.cursor(name="stream") as cursor:
                cursor.itersize = 5000
                cursor.execute(queries()[name], parameters)
                yield from cursor

    def tuples(self, name: str, /, **parameters: Any) -> Iterator[tuple[Any, ...]]:
        """As `stream`, within the caller's transaction, and rows as tuples: the quickest way to read very many."""
        from psycopg.rows import tuple_row

        with self._errors():
            cursor = self.connection().cursor(name="tuples", row_factory=tuple_row)
            cursor.execute(queries()[name], parameters, binary=True)
        with cursor:
            while True:
                with self._errors():
                    rows = cursor.fetchmany(5000)
                if not rows:
                    return
                yield from rows

    def copy(self, table: str, rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> int:
        """Stream rows into a table of the current transaction by COPY; return their number."""
        count = 0
        statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
        with self._errors(), self.connection().cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
                count += 1
        return count

    def copy_text(self, table: str, blocks: Iterable[bytes], columns: Sequence[str]) -> None:
        """Send blocks of whole lines in COPY's text format into a table of the current transaction."""
        statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
        with self._errors(), self.connection().cursor() as cursor, cursor.copy(statement) as copy:
            for block in blocks:
                copy.write(block)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._errors():
            connection = self.connection()
        fence = self.fence
        self._within += 1
        try:
            with self._errors(), _transaction(connection):
                yield
        except BaseException:
            # What it took, and what the session was told, is as it was before.
            self.fence, self._is_known = fence, False
            raise
        finally:
            self._within -= 1

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within a transaction: what is asked here compares all of something with all of something.

        The server knows nothing of a table that was filled a moment ago, or takes it for a row: it would go through the
        other one for each row of it, a million times a million rows.
        """
        self.run("join_at_once")
        yield
        self.run("join_as_usual")  # not after an error, which takes the transaction back

    def connection(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            if self._within:  # what follows must not be done without what came before
                raise CatalogUnavailable("The connection to the catalog broke within a transaction.")
            self._connection = self._open()
        if self._shown != self.fence or not self._is_known:
            self._show_fence(self._connection)
        return self._connection

    @contextmanager
    def alone(self, work: str) -> Iterator[bool]:
        """Have the lock of a work, which lives in the connection, also when that has to be opened again.

        Yields whether it was free. Raise LeaseLost, at the next statement, when another process got it meanwhile.
        """
        name = f"{self.schema} {work}"
        row = self.row("lock_work", name=name)
        if row is None or not row["locked"]:
            yield False
            return
        self._works.append(name)
        try:
            yield True
        finally:
            self._works.remove(name)
            with suppress(CatalogError):
                self.row("unlock_work", name=name)

    def require_version(self) -> None:
        """Return when the catalog is of this package's version; raise CatalogNotReady otherwise.

        Looked at whenever a connection is opened, and once more by whoever begins a step on one that is open.
        """
        with self._errors():
            _require_version(self.connection(), self.schema)

    def announce(self, application_id: int, who: str = "") -> None:
        """Have the session be found by who waits for us, before we have a lease or without any, as in "restore 3"."""
        self._who = who
        if self._shown is None:
            name = f"{self.stale_sessions(application_id)}{who or '0'}"
            self.connection().execute("SELECT set_config('application_name', %s, false)", [name])

    def stale_sessions(self, application_id: int) -> str:
        """Return how the names of sessions begin that show a fence of an application."""
        return f"{self._session_names()}{application_id} "

    def _session_names(self) -> str:
        return f"glacier_provider {sha256(self.schema.encode()).hexdigest()[:8]} "

    def _show_fence(self, connection: psycopg.Connection[Any]) -> None:
        """Tell the session the fence, which its triggers look at, and its name, by which who comes next finds it."""
        fence = self.fence
        shown = "" if fence is None else f"{fence.application_id} {fence.token}"
        connection.execute("SELECT set_config('glacier_provider.fence', %s, false)", [shown])
        if fence is not None:
            # With who it is: a token that is being taken is known to nobody else before it is committed.
            name = f"{self.stale_sessions(fence.application_id)}{fence.token} {self._who}".rstrip()
            connection.execute("SELECT set_config('application_name', %s, false)", [name])
        elif self._shown is not None:
            connection.execute("RESET application_name")
        self._shown, self._is_known = fence, True

    def _open(self) -> psycopg.Connection[Any]:
        try:
            connection = self._connect()
        except GlacierProviderError as error:
            kind = CatalogUnavailable if error.retryable else CatalogError
            raise kind(f"The catalog cannot be opened: {error.message}", hint=error.hint) from error
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: psycopg.Connection[Any]) -> None:
        from psycopg.rows import dict_row

        connection.autocommit = True
        connection.row_factory = dict_row
        row: Any = connection.execute(
            "SELECT set_config('search_path', quote_ident(%s) || ', pg_catalog', false), "
            "set_config('TimeZone', 'UTC', false) AS zone, set_config('lock_timeout', %s, false) AS patience, "
            "set_config('jit', 'off', false) AS jit, "  # its statements take less than to compile them
            "current_setting('session_replication_role') AS role",
            [self.schema, f"{round(LOCK_SECONDS * 1000)}ms"],
        ).fetchone()
        if row["role"] != "origin":
            raise CatalogError(
                f"session_replication_role is {row['role']} for the catalog's connection, which switches the catalog's "
                "triggers off.",
                hint="ALTER ROLE or ALTER DATABASE ... RESET session_replication_role; nothing was changed.",
            )
        _require_version(connection, self.schema)
        for name in self._works:
            locked: Any = connection.execute(queries()["lock_work"], {"name": name}).fetchone()
            if not locked["locked"]:
                raise LeaseLost(f"Another process does the same since this one lost its connection: {name}.")
        self._shown, self._is_known = None, self.fence is None

    @contextmanager
    def _running(self, query: str, parameters: dict[str, Any]) -> Iterator[psycopg.Cursor[Any]]:
        if isinstance(parameters.get("error"), str):  # words of others, in which there may be what no database takes
            parameters = {**parameters, "error": plain_text(parameters["error"])}
        with self._errors(), self.connection().cursor() as cursor:
            cursor.execute(query, parameters or None)
            yield cursor

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """As `catalog_errors`; a connection that who took the lease has ended is told as LeaseLost.

        Who waited in vain for a lock ends the transactions of processes that sleep, for the next try.
        """
        try:
            with catalog_errors():
                yield
        except CatalogUnavailable as error:
            if waited_in_vain(error):
                self._end_sleepers()
            if self.fence is not None and (holder := self._passed_by(self.fence)) is not None:
                raise lease_lost(holder) from error
            raise

    def _end_sleepers(self) -> None:
        """End transactions in which nothing goes on, of whoever had the lease of an application and has it no more, and
        of restores that are over.
        """
        from psycopg import sql

        query = sql.SQL(
            "SELECT pg_terminate_backend(s.pid) FROM pg_stat_activity s "
            "JOIN {applications} a ON starts_with(s.application_name, %(names)s || a.id || ' ') "
            "CROSS JOIN LATERAL substr(s.application_name, length(%(names)s || a.id || ' ') + 1) AS who "
            "LEFT JOIN {fences} f ON f.application_id = a.id LEFT JOIN {restores} r ON who = 'restore ' || r.id "
            "WHERE s.datname = current_database() AND s.xact_start IS NOT NULL AND s.wait_event_type = 'Client' "
            "AND (NOT coalesce(a.lease_until >= clock_timestamp(), false) "
            "OR split_part(who, ' ', 1) NOT IN ('0', f.token::text) AND who ~ '^[0-9]' "
            "OR r.state IN ('complete', 'failed'))"
        )
        tables = {name: sql.Identifier(self.schema, name) for name in ("applications", "fences", "restores")}
        with suppress(Exception), self._connect() as connection:  # of another role, say; then it is waited for
            connection.execute(query.format(**tables), {"names": self._session_names()})

    def _passed_by(self, fence: Fence) -> str | None:
        """Return who took the lease after us; None when nobody did, or nobody can be asked."""
        from psycopg import sql

        query = sql.SQL("SELECT holder FROM {} WHERE application_id = %s AND token <> %s")
        with suppress(Exception), self._connect() as connection:
            row = connection.execute(query.format(sql.Identifier(self.schema, "fences")), list(fence)).fetchone()
            return None if row is None else str(row[0])
        return None


def _require_version(connection: psycopg.Connection[Any], schema: str) -> None:
    """Raise CatalogNotReady for a catalog that is not of this package's version, or for a schema without any."""
    from psycopg import errors
    from psycopg.rows import tuple_row

    try:
        with connection.cursor(row_factory=tuple_row) as cursor:
            row = cursor.execute(queries()["catalog_version"]).fetchone()
    except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
        raise CatalogNotReady(f"There is no catalog in the schema {schema} yet.") from error
    check_version(None if row is None else str(row[0]), schema)


@contextmanager
def _transaction(connection: psycopg.Connection[Any]) -> Iterator[None]:
    # Only the errors of BEGIN and COMMIT are the catalog's: what the block itself raises passes untouched.
    import psycopg

    try:
        with connection.transaction():
            yield
    except psycopg.Error as error:
        with catalog_errors():
            raise error
