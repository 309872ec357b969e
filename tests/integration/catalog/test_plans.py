"""The plans that PostgreSQL makes for the catalog's statements on many rows: what costs with the change must not cost
with the size. Figures and names differ from day to day; which table is read as a whole does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.queries import queries
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.support.postgres import EmbeddedPostgres

FILES = 1_000_000
BACKUPS = 50
#: Every statement may be given all of these; it takes those that it names.
VALUES: dict[str, Any] = {
    "application_id": 1,
    "archive_id": 77,
    "archive_ids": [1, 2, 3],
    "gone": True,
    "after": 1000,
    "last": 100_000,
    "limit": 1000,
    "backup_id": BACKUPS,
    "previous": BACKUPS - 1,
    "store_uri": "s3://bucket/prefix",
    "shares": 2,
    "smallest": 500,
    "files": 1,
    "bytes": 1,
    "manifest_archive_id": 1,
    "previous_backup_id": None,
    "restore_id": 1,
    "filename": "00/7",
    "subdirectory": "s",
    "orphan_directory": "/o",
    "since": "2026-01-01",
    "ids": [1, 2],
    "keys": ["a", "b"],
    "sizes": [1, 1],
    "checksums": ["sha256:0", "sha256:0"],
    "sha256s": ["0", "0"],
    "twices": [False, False],
    "by": 78,
    "kind": "manifest",
    "set_aside": [],
    "moves": [],
    "sizes_only": False,
    "staged": False,
    "replaces": True,
    "compare": True,
    "earlier": [4, 5, 6],
}
#: The first backup opened most ranges, each other one 0.1 % of them.
FILL = f"""
INSERT INTO applications (name) VALUES ('dms');
INSERT INTO application_data_backups (application_id, dag_id, dag_run_id, state)
SELECT 1, 'd', n::text, CASE WHEN n = {BACKUPS} THEN 'running' ELSE 'failed' END
  FROM generate_series(1, {BACKUPS}) AS n;
INSERT INTO glacier_archives (application_id, kind, filename, backup_id, original_size, stored_size, store_uri, key,
                              checksum, state, retrieval_status, archived_at)
SELECT 1, 'file', lpad(to_hex(n % 256), 2, '0') || '/' || lpad(to_hex(n / 256 % 64), 2, '0') || '/document-' || n,
       1, 10, 10, 's3://bucket/prefix', 'k', 'sha256:0', 'archived', 'exists', '2025-06-01'
  FROM generate_series(1, {FILES}) AS n;
INSERT INTO backup_files (archive_id, application_id, first_backup_id, last_backup_id)
SELECT id, 1, CASE WHEN id % 20 = 0 THEN 2 + id / 20 % ({BACKUPS} - 1) ELSE 1 END,
       CASE WHEN id % 1000 = 7 THEN 1 + id / 1000 % {BACKUPS} END
  FROM glacier_archives;
INSERT INTO file_identities SELECT id, 1, 1 FROM glacier_archives;
INSERT INTO scanned_directories (application_id, directory, files, bytes, names, sizes)
SELECT 1, directory_of(filename), count(*), 1, '', '' FROM glacier_archives GROUP BY 2;
"""
#: As after a walk that found changes in a few directories.
TEMPORARY = """
CREATE TEMPORARY TABLE scanned (name text NOT NULL, size bigint NOT NULL, young boolean NOT NULL DEFAULT false,
    mtime_ns bigint, inode bigint);
CREATE TEMPORARY TABLE looked (directory text NOT NULL, files bigint, bytes bigint, names bytea, sizes bytea,
    inode bigint, changed_ns bigint, change text NOT NULL);
CREATE TEMPORARY TABLE changed (id bigint, name text, archived_size bigint, size bigint);
CREATE TEMPORARY TABLE vanished (archive_id bigint, first_backup_id bigint, state text);
CREATE TEMPORARY TABLE referenced (name text);
INSERT INTO looked SELECT directory, 1, 1, '', '', 1, 1, 'different' FROM scanned_directories
 WHERE directory LIKE '0%/00/';
INSERT INTO scanned SELECT filename, 10, false, 1, 1
  FROM glacier_archives JOIN looked ON directory = directory_of(filename);
INSERT INTO scanned SELECT '00/new-' || n, 10, false, 1, 1 FROM generate_series(1, 10) AS n;
INSERT INTO vanished SELECT id, 1, 'archived' FROM glacier_archives WHERE id % 20000 = 0;
ANALYZE scanned; ANALYZE looked; ANALYZE changed; ANALYZE vanished; ANALYZE referenced
"""
BY_INDEX = (
    "correct_planned_sizes",
    "changed_files",
    "supersede_changed",
    "end_of_changed",
    "end_of_lost",
    "remember_identities",
    "plan_new_files",
    "open_ranges",
    "vanished",
    "forget_ranges_of_this_backup",
    "close_ranges",
    "give_up_vanished",
    "forget_directories",
    "remember_directories",
    "record_scan",
    "count_changes",
    "new_versions",
    "unfinished_files",
    "unfinished_ranges",
    "begin_uploads",
    "record_uploads",
    "drop_vanished",
    "plan_file_again",
    "replace_member",
    "replace_identity",
    "earlier_versions",
    "withdraw_versions",
    "current_again",
    "hand_over_identities",
    "hand_over_ranges",
    "abandoned_uploads",
    "archive_of_backup",
    "complete_backup",
    "unarchived_members",
    "manifest_added",
    "manifest_removed",
    "archives_placed",
    "retrieval_expired",
    "odd_members",
    "missing_set_aside",
    "missing_figures",
    "note_missing",
)


@pytest.fixture(scope="module")
def filled(postgres: EmbeddedPostgres) -> Iterator[Server]:
    server = postgres.create_database("plans")
    with a_catalog(server) as catalog:
        catalog.migrate()
    with server.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        connection.execute("SET session_replication_role TO replica")  # no triggers: what they keep is not looked at
        for statement in FILL.split(";\n"):
            if statement.strip():
                connection.execute(statement)  # type: ignore[call-overload]
        connection.execute("VACUUM ANALYZE")
    yield server
    postgres.drop_database("plans")


@pytest.fixture(scope="module")
def connection(filled: Server) -> Iterator[Any]:
    with filled.connect(autocommit=True) as opened:
        opened.execute("SET search_path TO glacier_catalog, pg_catalog")
        for statement in TEMPORARY.split(";\n"):
            opened.execute(statement)
        opened.execute(
            "CREATE TEMPORARY TABLE odd AS SELECT id, filename, original_size, stored_size, store_uri, state,"
            " retrieval_status AS status, NULL::bigint AS found, checksum, false AS doubtful"
            " FROM glacier_archives LIMIT 10;"
            " CREATE TEMPORARY TABLE compared AS SELECT * FROM odd; ANALYZE odd; ANALYZE compared"
        )
        yield opened


def plan_of(connection: Any, name: str) -> str:
    text = re.sub(r"CREATE TEMPORARY TABLE \w+ ON COMMIT DROP AS\n", "", queries()[name])
    taken = set(re.findall(r"%\((\w+)\)[sb]", text))
    rows = connection.execute(f"EXPLAIN {text}", {key: VALUES[key] for key in taken} or None).fetchall()
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize("name", BY_INDEX)
def test_what_changed_is_found_without_reading_every_archive(connection: Any, name: str) -> None:
    plan = plan_of(connection, name)
    whole = re.findall(r"Seq Scan on (glacier_archives|backup_files|scanned_directories)\b.*", plan)
    assert not whole, plan


def test_the_directory_of_an_archive_is_found_by_its_index(connection: Any) -> None:
    assert "glacier_archives_directory" in plan_of(connection, "vanished")


@pytest.mark.parametrize("name", ["begin_uploads", "record_uploads"])
def test_a_group_of_uploads_is_not_looked_for_among_all_that_is_planned(connection: Any, name: str) -> None:
    """Statistics say that nothing is planned, as they do after the first scan of many files."""
    plan = plan_of(connection, name)
    assert "glacier_archives_unfinished" not in plan or re.search(r"Index Cond: .*\bid = ANY", plan), plan


def test_remembered_directories_come_in_the_order_of_the_index(connection: Any) -> None:
    plan = plan_of(connection, "remembered_directories")
    assert "scanned_directories_pkey" in plan or "Sort" not in plan, plan


def test_the_directory_of_a_name(catalog: Catalog) -> None:
    rows = catalog._database.connection().execute(
        "SELECT directory_of(name) AS directory"
        " FROM (VALUES ('a'), ('b/c'), ('d/e/f'), ('/g'), ('ü/ü\n/x')) AS n (name)"
    )
    assert [row["directory"] for row in rows.fetchall()] == ["", "b/", "d/e/", "/", "ü/ü\n/"]
