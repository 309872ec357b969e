"""The catalog's connection: runs named queries, keeps transactions, translates psycopg's errors once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from glacier_provider.catalog.queries import queries
from glacier_provider.core.archive import Amount
from glacier_provider.core.sqlstate import Meaning, meaning_of
from glacier_provider.errors import CatalogError, CatalogNotReady, CatalogUnavailable, GlacierProviderError

if TYPE_CHECKING:
    import psycopg

Row = dict[str, Any]
Connect = Callable[[], "psycopg.Connection[Any]"]

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


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class Database:
    """One connection to the catalog, opened on first use and again after it broke.

    Statements of several threads take turns; a transaction belongs to one thread.
    """

    def __init__(self, connect: Connect, schema: str) -> None:
        self.schema = schema
        self._connect = connect
        self._connection: psycopg.Connection[Any] | None = None

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
        with self.transaction(), catalog_errors():
            connection = self.connection()
            with connection.cursor(name="stream") as cursor:
                cursor.itersize = 5000
                cursor.execute(queries()[name], parameters)
                yield from cursor

    def tuples(self, name: str, /, **parameters: Any) -> Iterator[tuple[Any, ...]]:
        """As `stream`, within the caller's transaction, and rows as tuples: the quickest way to read very many."""
        from psycopg.rows import tuple_row

        with catalog_errors():
            cursor = self.connection().cursor(name="tuples", row_factory=tuple_row)
            cursor.execute(queries()[name], parameters, binary=True)
        with cursor:
            while True:
                with catalog_errors():
                    rows = cursor.fetchmany(5000)
                if not rows:
                    return
                yield from rows

    def copy(self, table: str, rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> int:
        """Stream rows into a table of the current transaction by COPY; return their number."""
        count = 0
        statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
        with catalog_errors(), self.connection().cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
                count += 1
        return count

    def copy_text(self, table: str, blocks: Iterable[bytes], columns: Sequence[str]) -> None:
        """Send blocks of whole lines in COPY's text format into a table of the current transaction."""
        statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
        with catalog_errors(), self.connection().cursor() as cursor, cursor.copy(statement) as copy:
            for block in blocks:
                copy.write(block)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with catalog_errors():
            connection = self.connection()
        with _transaction(connection):
            yield

    def connection(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = self._open()
        return self._connection

    def _open(self) -> psycopg.Connection[Any]:
        from psycopg.rows import dict_row

        try:
            connection = self._connect()
        except GlacierProviderError as error:
            kind = CatalogUnavailable if error.retryable else CatalogError
            raise kind(f"The catalog cannot be opened: {error.message}", hint=error.hint) from error
        connection.autocommit = True
        connection.row_factory = dict_row
        connection.execute("SELECT set_config('search_path', quote_ident(%s) || ', pg_catalog', false)", [self.schema])
        connection.execute("SET timezone TO 'UTC'")
        return connection

    @contextmanager
    def _running(self, query: str, parameters: dict[str, Any]) -> Iterator[psycopg.Cursor[Any]]:
        with catalog_errors(), self.connection().cursor() as cursor:
            cursor.execute(query, parameters or None)
            yield cursor


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
