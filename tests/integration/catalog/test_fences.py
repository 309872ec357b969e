"""A stale process changes nothing: which tables have a fence, and for what reason others have none."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from glacier_provider.catalog.database import FENCE_PASSED
from glacier_provider.postgres import Server

#: Tables that a stale process may write to, each with the reason.
WITHOUT_FENCE = {
    "catalog_version": "migrations write it, under a lock of their own",
    "fences": "whoever takes the lease moves the fence",
    "archive_counts": "triggers of tables with a fence keep it",
    "archive_count_changes": "triggers of tables with a fence keep it",
    "restore_looks": "who looks notes it, and triggers of tables with a fence drop it",
    "restore_figures": "triggers of tables with a fence keep it, and who looks puts it together",
    "away_files": "triggers of tables with a fence keep it",
    "file_identities": "written in one transaction with the archives that they belong to",
    "proofs": "made without the lease: a lock lets one process at a time do it, and what has ended stays so",
    "evidence": "of a proof that has ended; its number is given once, and what is written under it stays so",
    "alerts": "of no run: each state is claimed by one row, whoever tells it",
    "batch_jobs": "of a proof, or of requests, which have a fence; each by a token that is never given again",
    "verified_archives": "what was verified once was verified then, whoever notes it",
    "store_checks": "how far a store was looked through: what is passed over once is looked at in the next round",
}
#: Columns of applications of which the same is true. The lease is taken by whoever has none yet.
COLUMNS_WITHOUT_FENCE = {
    "id": "never changed",
    "created_at": "never changed",
    "mark": "never changed",
    "lease_holder": "the lease",
    "lease_until": "the lease",
    "lease_taken_at": "the lease",
    "lease_prolonged_at": "the lease",
    "manifests_from": "it only grows, and what it makes larger is the next manifest",
}


@pytest.fixture
def stale(catalog_database: Server) -> Iterator[psycopg.Connection[tuple[str, ...]]]:
    """A session of a process whose token is not that of the fence any more."""
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog, pg_catalog")
        connection.execute("INSERT INTO applications (id, name) VALUES (1, 'dms')")
        connection.execute("DELETE FROM fences")
        connection.execute("INSERT INTO fences VALUES (1, 8, 'backup 8')")
        connection.execute("SELECT set_config('glacier_provider.fence', '1 7', false)")
        yield connection
        connection.execute("SELECT set_config('glacier_provider.fence', '', false)")
        connection.execute("DELETE FROM fences")


def is_refused(session: psycopg.Connection[tuple[str, ...]], statement: str) -> bool:
    """Whether the fence refuses a statement, which would change nothing otherwise."""
    try:
        session.execute(statement.encode())
    except psycopg.Error as error:
        if (error.sqlstate, error.diag.message_primary) == (FENCE_PASSED, "backup 8"):
            return True
        raise
    return False


def columns_of(session: psycopg.Connection[tuple[str, ...]], table: str) -> list[str]:
    """Return those that can be set."""
    found = session.execute(
        "SELECT attname FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
        [table],
    )
    return [name for (name,) in found.fetchall()]


def test_every_table_has_a_fence_or_there_is_a_reason(stale: psycopg.Connection[tuple[str, ...]]) -> None:
    tables = "SELECT relname FROM pg_class WHERE relnamespace = 'glacier_catalog'::regnamespace AND relkind = 'r'"
    for (table,) in stale.execute(tables).fetchall():
        if table == "applications":
            continue
        columns = columns_of(stale, table)
        for statement in (
            f"INSERT INTO {table} ({columns[-1]}) SELECT {columns[-1]} FROM {table} WHERE false",
            f"UPDATE {table} SET {columns[-1]} = {columns[-1]} WHERE false",
            f"DELETE FROM {table} WHERE false",
        ):
            assert is_refused(stale, statement) is (table not in WITHOUT_FENCE), statement


def test_what_is_known_of_an_application_has_a_fence_or_there_is_a_reason(
    stale: psycopg.Connection[tuple[str, ...]],
) -> None:
    for column in columns_of(stale, "applications"):
        value = "DEFAULT" if column == "id" else column
        refused = is_refused(stale, f"UPDATE applications SET {column} = {value} WHERE false")
        assert refused is (column not in COLUMNS_WITHOUT_FENCE), column


def test_who_holds_the_fence_or_has_none_passes(stale: psycopg.Connection[tuple[str, ...]]) -> None:
    for fence in ("1 8", ""):
        stale.execute("SELECT set_config('glacier_provider.fence', %s, false)", [fence])
        assert not is_refused(stale, "DELETE FROM restores WHERE false")
