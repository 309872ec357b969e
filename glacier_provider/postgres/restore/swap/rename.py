"""The swap itself: one transaction renames both databases."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from glacier_provider.errors import DatabaseBusy, GlacierProviderError
from glacier_provider.postgres.restore.swap.maintenance import maintenance
from glacier_provider.postgres.restore.swap.names import Swap
from glacier_provider.postgres.restore.swap.sessions import end_sessions, refuse_sessions_that_stay
from glacier_provider.postgres.tools.run import TaskLog
from glacier_provider.postgres.tools.server import Server
from glacier_provider.postgres.tools.sql import literal, quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

RENAME_SECONDS = 120.0
_AGAIN_SECONDS = 0.2

_KEPT = """
SELECT coalesce(shobj_description(oid, 'pg_database'), ''), datconnlimit, datistemplate
  FROM pg_catalog.pg_database WHERE datname = %s"""


def rename_both(server: Server, elsewhere: Server, swap: Swap, progress: TaskLog) -> None:
    """Give each database the other's name. Sessions of the application are ended, and come back to the restored one.

    Raise DatabaseBusy when somebody is there who cannot be disconnected; then both are as they were.
    """
    import psycopg

    progress(f"Swapping: sessions in {swap.database} are ended.")
    both = (swap.database, swap.beside)
    deadline = time.monotonic() + RENAME_SECONDS
    with maintenance(elsewhere, "swapping the databases") as connection:
        while True:
            try:
                with _EndingSessions(elsewhere, both):
                    _rename(connection, swap)
            except psycopg.errors.ObjectInUse as error:
                refuse_sessions_that_stay(connection, server, both)
                if time.monotonic() > deadline:
                    raise DatabaseBusy(
                        f"{server} has sessions that come back at once or do not end. The database is as it was.",
                        hint="Stop the application, then clear this task.",
                    ) from error
            else:
                return


class _EndingSessions(threading.Thread):
    """Ends sessions again and again while the block runs.

    The renaming locks the database, so that new sessions wait for it, and then waits some seconds for those that are
    there: what is ended by then cannot come back in between.
    """

    def __init__(self, elsewhere: Server, databases: tuple[str, ...]) -> None:
        super().__init__(daemon=True)
        self._elsewhere, self._databases = elsewhere, databases
        self._over = threading.Event()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        with suppress(GlacierProviderError), maintenance(self._elsewhere, "ending sessions") as connection:
            while True:
                end_sessions(connection, self._databases)
                if self._over.wait(_AGAIN_SECONDS):
                    return


def _rename(connection: Connection, swap: Swap) -> None:
    with connection.transaction():
        row = connection.execute(_KEPT, (swap.database,)).fetchone()
        assert row is not None  # it is renamed by us alone
        comment, limit, template = row
        for statement in (
            f"ALTER DATABASE {quoted(swap.database)} RENAME TO {quoted(swap.previous)}",
            f"ALTER DATABASE {quoted(swap.beside)} RENAME TO {quoted(swap.database)}",
            f"COMMENT ON DATABASE {quoted(swap.database)} IS {literal(comment) if comment else 'NULL'}",
            # last of all: they would keep our own sessions out
            f"ALTER DATABASE {quoted(swap.database)} CONNECTION LIMIT {limit} IS_TEMPLATE {template}",
        ):
            connection.execute(statement.encode())
