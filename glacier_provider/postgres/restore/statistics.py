"""The planner's statistics of what was restored; whatever fails here only warns, since every row is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from glacier_provider.errors import GlacierProviderError
from glacier_provider.postgres.tools.run import Reporter, TaskLog
from glacier_provider.postgres.tools.server import Server, database_errors
from glacier_provider.postgres.tools.sql import quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

#: What ANALYZE takes when it is given no table, the largest first. Partitions are analyzed with the table that they are
#: of, but where one of them is a foreign table: if its server is down, the whole fails and the others have a try.
_ALL = """
WITH with_another AS (
  SELECT tree.relid FROM pg_catalog.pg_class whole, LATERAL pg_catalog.pg_partition_tree(whole.oid) tree
   WHERE whole.relkind = 'p' AND NOT whole.relispartition AND tree.relid <> whole.oid AND NOT EXISTS (
     SELECT FROM pg_catalog.pg_partition_tree(whole.oid) part JOIN pg_catalog.pg_class of ON of.oid = part.relid
      WHERE of.relkind = 'f'))
SELECT convert_to(c.oid::regclass::text, current_setting('server_encoding')::name) FROM pg_catalog.pg_class c
 WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't'
   AND pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE')
   AND NOT EXISTS (SELECT FROM with_another WHERE relid = c.oid)
 ORDER BY c.relkind = 'p' DESC, pg_catalog.pg_relation_size(c.oid) DESC"""

# Names come and go as the database's own bytes, whatever its encoding: with SQL_ASCII nobody converts them.
_AS_BYTES = "SET client_encoding = 'SQL_ASCII'"


def analyze_all(server: Server, jobs: int, progress: TaskLog) -> tuple[str, ...]:
    """Refresh the statistics of a database over `jobs` connections, one table at a time on each; return what could not
    be."""
    progress(f"Refreshing the statistics of {server.dbname}.")
    try:
        with _connected(server, _AS_BYTES) as connection:
            tables = [bytes(table) for (table,) in connection.execute(_ALL)]
    except GlacierProviderError as error:
        return (_warning(f"its tables could not be listed: {error.message}"),)
    return _analyze(server, tables, jobs, progress, _AS_BYTES)


def analyze_tables(server: Server, tables: Iterable[tuple[str, str]], jobs: int, progress: TaskLog) -> tuple[str, ...]:
    """As `analyze_all`, of some tables, each (schema, name)."""
    named = [f"{quoted(schema)}.{quoted(name)}".encode("utf-8", "surrogateescape") for schema, name in tables]
    return _analyze(server, named, jobs, progress)


def _analyze(server: Server, tables: Iterable[bytes], jobs: int, progress: TaskLog, *settings: str) -> tuple[str, ...]:
    waiting: SimpleQueue[bytes] = SimpleQueue()
    for table in tables:
        waiting.put(table)
    report = Reporter(progress)
    with ThreadPoolExecutor(jobs) as pool:
        working = [pool.submit(_take, server, waiting, settings) for _ in range(jobs)]
        while wait(working, timeout=report.seconds).not_done:
            report.tell(lambda: f"refreshing statistics; {waiting.qsize():,} tables wait")
    taken = [each.result() for each in working]
    warnings = [warning for each in taken for warning in each.refused]
    left = waiting.qsize()  # one connection is enough, where the user may have no more
    warnings += [_warning(f"{left:,} tables wait: {each.cut}") for each in taken if each.cut and left][:1]
    return tuple(warnings)


@dataclass
class _Taken:
    """What became of one connection: warnings of tables, and why it could not be made, if so."""

    refused: list[str] = field(default_factory=list)
    cut: str = ""


def _take(server: Server, waiting: SimpleQueue[bytes], settings: Iterable[str]) -> _Taken:
    """Analyze what others have not taken yet."""
    import psycopg

    taken, table = _Taken(), b""
    try:
        with _connected(server, *settings) as connection, suppress(Empty):
            while table := waiting.get_nowait():
                try:
                    connection.execute(b"ANALYZE " + table)
                except psycopg.Error as error:
                    if connection.closed:
                        raise
                    taken.refused.append(_of(table, str(error).strip().splitlines()[0]))
    except GlacierProviderError as error:
        taken.cut = error.message
        taken.refused += [_of(table, error.message)] if table else []
    return taken


@contextmanager
def _connected(server: Server, *settings: str) -> Iterator[Connection]:
    with server.connect(autocommit=True) as connection, database_errors(server, "refreshing statistics"):
        for setting in ("SET statement_timeout = 0", *settings):
            connection.execute(setting)
        yield connection


def _of(table: bytes, said: str) -> str:
    return _warning(f"ANALYZE {table.decode('utf-8', 'replace')} failed: {said}")


def _warning(what: str) -> str:
    return f"Not all statistics are fresh: {what.rstrip('.')}. Run ANALYZE by hand when its cause is mended."
