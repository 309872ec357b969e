"""The fingerprint of a database, taken while pg_dump runs, in the dump's own snapshot."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from glacier_provider.core.checks import Fingerprint
from glacier_provider.errors import GlacierProviderError
from glacier_provider.postgres.checks.fingerprint import TOGETHER, Table, over, read_tables, take_fingerprint
from glacier_provider.postgres.tools.server import Server, database_errors
from glacier_provider.postgres.tools.sql import literal

if TYPE_CHECKING:
    from glacier_provider.postgres.dump.snapshot import Snapshot
    from glacier_provider.postgres.tools.server import Connection

log = logging.getLogger(__name__)


class FingerprintMeanwhile:
    """Takes a fingerprint beside a dump; `taken` when that has ended, or `trouble`: a dump is good without.

    Its tables are locked as pg_dump locks them, before that begins, so that nobody empties one between the two.
    """

    def __init__(
        self,
        server: Server,
        *,
        hashes: bool,
        schemas: Sequence[str],
        tables: Sequence[str],
        rowless: Sequence[str],
        lock_timeout_seconds: float,
        tell: Callable[[], None],
    ) -> None:
        self._server, self._hashes, self._tell = server, hashes, tell
        self._left_out = {"schemas": schemas, "tables": tables, "rowless": rowless}
        self._lock_timeout = lock_timeout_seconds
        self.taken: Fingerprint | None = None
        self.trouble = ""

    @contextmanager
    def beside(self, snapshot: Snapshot) -> Iterator[None]:
        """Take it while the block runs, and to the end after it; an error of the block ends it."""
        import psycopg

        self.taken, self.trouble = None, ""
        if 2 * snapshot.locked > snapshot.locks:
            self.trouble = "the server has too few locks to look at its tables beside pg_dump"
            yield
            return
        try:
            connection, tables = self._begun(snapshot)
        except GlacierProviderError as error:
            self.trouble = error.message
            yield
            return
        thread = threading.Thread(target=self._take, args=[connection, tables], name="fingerprint", daemon=True)
        thread.start()
        try:
            yield
            while thread.is_alive():
                thread.join(1)
                self._tell()
        except BaseException:
            with suppress(psycopg.Error):
                connection.cancel()
            raise
        finally:
            thread.join()
            with suppress(psycopg.Error):
                connection.close()

    def _begun(self, snapshot: Snapshot) -> tuple[Connection, list[Table]]:
        """Return a session in the snapshot, with the tables locked that it will read; and the tables."""
        import psycopg

        connection = self._server.connect()
        try:
            with database_errors(self._server, "beginning the fingerprint"):
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.read_only = True
                connection.execute(f"SET TRANSACTION SNAPSHOT {literal(snapshot.id)}".encode())
                connection.execute(f"SET LOCAL lock_timeout = '{round(self._lock_timeout * 1000)}ms'".encode())
                connection.execute("SET LOCAL search_path = ''")
                tables = read_tables(over(connection), **self._left_out)
                readable = [f"ONLY {table.quoted}" for table in tables if table.may_read]
                for at in range(0, len(readable), TOGETHER):
                    some = ", ".join(readable[at : at + TOGETHER])
                    locking = f"LOCK TABLE {some} IN ACCESS SHARE MODE"
                    connection.execute(locking.encode("utf-8", "surrogateescape"))
        except BaseException:
            connection.close()
            raise
        return connection, tables

    def _take(self, connection: Connection, tables: Sequence[Table]) -> None:
        try:
            with database_errors(self._server, "taking the fingerprint"):
                ask = over(connection)
                self.taken = take_fingerprint(ask, hashes=self._hashes, known=tables, **self._left_out)
        except GlacierProviderError as error:
            self.trouble = error.message
        except Exception as error:  # a fault of ours: in a thread nobody else tells it, and the dump is good without
            log.exception("The fingerprint failed.")
            self.trouble = f"{type(error).__name__}: {error}"
