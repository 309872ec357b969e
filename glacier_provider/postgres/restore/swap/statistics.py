"""The planner's statistics of the restored database; whatever fails here only warns, since every row is there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from glacier_provider.errors import GlacierProviderError
from glacier_provider.postgres.tools.run import TaskLog
from glacier_provider.postgres.tools.server import Server, database_errors

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

#: What ANALYZE takes when it is given no table, the largest first.
_ANALYZED = """
SELECT convert_to(c.oid::regclass::text, current_setting('server_encoding')::name) FROM pg_catalog.pg_class c
 WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't'
 ORDER BY pg_catalog.pg_relation_size(c.oid) DESC"""

# Names come and go as the database's own bytes, whatever its encoding: with SQL_ASCII nobody converts them.
_AS_BYTES = "SET client_encoding = 'SQL_ASCII'"


def analyze_all(beside: Server, jobs: int, progress: TaskLog) -> tuple[str, ...]:
    """Refresh the statistics over `jobs` connections, one table at a time on each; return what could not be."""
    progress("Refreshing the statistics of the new database.")
    tables: SimpleQueue[bytes] = SimpleQueue()
    warnings: list[str] = []
    try:
        with _connected(beside) as connection:
            for (table,) in connection.execute(_ANALYZED):
                tables.put(table)
    except GlacierProviderError as error:
        return (_warning(f"its tables could not be listed: {error.message}"),)
    with ThreadPoolExecutor(jobs) as pool:
        for each in [pool.submit(_analyze_tables, beside, tables) for _ in range(jobs)]:
            try:
                warnings += each.result()
            except GlacierProviderError as error:
                warnings.append(_warning(error.message))
    return tuple(warnings)


def _analyze_tables(beside: Server, tables: SimpleQueue[bytes]) -> list[str]:
    """Analyze what others have not taken yet; return what the server refused."""
    import psycopg

    refused: list[str] = []
    with _connected(beside) as connection, suppress(Empty):
        while table := tables.get_nowait():
            try:
                connection.execute(b"ANALYZE " + table)
            except psycopg.Error as error:
                if connection.closed:
                    raise
                said = str(error).strip().splitlines()[0]
                refused.append(_warning(f"ANALYZE {table.decode('utf-8', 'replace')} failed: {said}"))
    return refused


@contextmanager
def _connected(beside: Server) -> Iterator[Connection]:
    with beside.connect(autocommit=True) as connection, database_errors(beside, "refreshing statistics"):
        connection.execute(_AS_BYTES)
        yield connection


def _warning(what: str) -> str:
    return f"Not all statistics are fresh: {what.rstrip('.')}. Run ANALYZE by hand when its cause is mended."
