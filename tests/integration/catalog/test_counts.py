"""The figures that the catalog keeps are those that counting gives, whatever was done, and in whatever order."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.archive import Amount
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.errors import CatalogError
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.integration.catalog.test_backups import (
    STORE,
    a_backup,
    a_run,
    completed,
    dumped,
    scanned,
    upload_all,
)
from tests.support.counting import counted

COLD = "s3://bucket/other?storage_class=DEEP_ARCHIVE"


@pytest.fixture
def connection(catalog_database: Server) -> Iterator[psycopg.Connection[Any]]:
    with connected(catalog_database) as opened:
        yield opened


def connected(server: Server) -> psycopg.Connection[Any]:
    connection = server.connect(autocommit=True)
    connection.execute("SET search_path TO glacier_catalog, pg_catalog")
    return connection


def kept(catalog: Catalog, backup_id: int) -> dict[str, Amount]:
    return dict(catalog.pages.backup("dms", backup_id)["archives"])


# --- a walk through everything that changes archives ---


class Walk:
    """Random steps of backups and restores of one application with a handful of files."""

    def __init__(self, catalog: Catalog, connection: psycopg.Connection[Any], seed: int) -> None:
        self.catalog, self.connection, self.random = catalog, connection, random.Random(seed)
        self.names = {f"file {number}" for number in range(12)}
        self.number = 0
        self.complete: list[int] = []

    def step(self) -> str:
        step = self.random.choice([self.back_up, self.fail, self.restore, self.change, self.open_and_settle, self.lose])
        step()
        return step.__name__

    def some(self) -> set[str]:
        return {name for name in self.names if self.random.random() < 0.7} | {"always"}

    def back_up(self) -> None:
        backup_id = self.opened()
        if self.random.random() < 0.5:
            scanned(self.catalog, backup_id, self.some())  # a try that died; the next one sees other files
        scanned(self.catalog, backup_id, self.some())
        upload_all(self.catalog)
        completed(self.catalog, backup_id)
        self.complete.append(backup_id)

    def fail(self) -> None:
        backup_id = self.opened()
        scanned(self.catalog, backup_id, self.some())
        self.catalog.archives.drop_vanished(self.random.sample(self.unfinished(), min(2, len(self.unfinished()))))
        self.catalog.backups.fail(backup_id, "why")

    def opened(self) -> int:
        self.number += 1
        backup_id = self.catalog.backups.open(a_run(self.number))
        dumped(self.catalog, backup_id)
        return backup_id

    def unfinished(self) -> list[int]:
        pages = self.catalog.archives.unfinished_files(ArchiveRange(0, 2**62))
        return [one.id for page in pages for one in page]

    def restore(self) -> None:
        if not self.complete:
            return
        restores, backup_id = self.catalog.restores, self.random.choice(self.complete)
        request = RestoreRequest(backup_id)
        self.number += 1
        restore_id = restores.open(a_run(self.number), backup_id, request)
        present = [(name, 10) for name in self.some()]
        restores.compare(restore_id, self.catalog.backups.get(backup_id), request, present, lambda aside: [])
        restores.start(restore_id)
        for intents in restores.intend_retrievals(restore_id, ArchiveRange(0, 2**62), tier="Standard", days=1):
            restores.confirm_retrievals([(intent.id, f"job {intent.id}") for intent in intents])
        for rows in [
            restores.waited_for(restore_id, look, uri) for look in restores.looks(restore_id) for uri in look.waited
        ]:
            restores.retrievals_ready([(row["id"], None) for row in rows if self.random.random() < 0.8])
            restores.retrievals_failed([(row["id"], "no") for row in rows if self.random.random() < 0.3])
            restores.placed([row["archive_id"] for row in rows if self.random.random() < 0.5])
        restores.release_database(restore_id)

    def change(self) -> None:
        """What no verb does, and an administrator might."""
        status = self.random.choice(["available", "pending", "ready", "local", "exists"])
        self.connection.execute(
            "UPDATE glacier_archives SET retrieval_status = %s, store_uri = %s, stored_size = stored_size + %s"
            " WHERE state = 'archived' AND id %% 3 = %s",
            [status, self.random.choice([STORE, COLD]), self.random.randrange(3), self.random.randrange(3)],
        )

    def open_and_settle(self) -> None:
        """One statement that changes ranges and archives, in an order that nobody promises."""
        self.connection.execute(
            "WITH newest AS (SELECT max(id) AS id FROM application_data_backups),"
            " closed AS (UPDATE backup_files SET last_backup_id = newest.id FROM newest"
            "             WHERE last_backup_id IS NULL AND archive_id %% 4 = %(n)s AND first_backup_id <= newest.id"
            "            RETURNING archive_id),"
            " opened AS (INSERT INTO backup_files (archive_id, application_id, first_backup_id)"
            "            SELECT archive_id, min(application_id), max(newest.id) + 1 FROM backup_files, newest"
            "             WHERE archive_id %% 4 = (%(n)s + 1) %% 4 GROUP BY archive_id"
            "            HAVING every(last_backup_id <= newest.id IS TRUE) RETURNING archive_id)"
            " UPDATE glacier_archives SET retrieval_status = CASE retrieval_status WHEN 'exists' THEN 'available'"
            "                                               ELSE 'exists' END"
            "  WHERE state = 'archived' AND id IN (SELECT archive_id FROM closed UNION SELECT archive_id FROM opened)",
            {"n": self.random.randrange(4)},
        )
        # no scan finds ranges that begin with its backup
        self.connection.execute(
            "DELETE FROM backup_files WHERE first_backup_id > (SELECT max(id) FROM application_data_backups)"
        )

    def lose(self) -> None:
        """Archives go, with their ranges."""
        self.connection.execute(
            "WITH gone AS (UPDATE glacier_archives SET state = 'deleting' WHERE state = 'archived' AND kind = 'file'"
            "              AND id %% 11 = %s RETURNING id)"
            " DELETE FROM backup_files USING gone WHERE archive_id = gone.id",
            [self.random.randrange(11)],
        )
        self.connection.execute("UPDATE glacier_archives SET state = 'deleted' WHERE state = 'deleting'")


@pytest.mark.parametrize("seed", range(6))
def test_after_any_walk_the_kept_figures_are_those_that_counting_gives(
    catalog: Catalog, connection: psycopg.Connection[Any], seed: int
) -> None:
    walk = Walk(catalog, connection, seed)
    walk.back_up()
    done = []
    for _ in range(25):
        done.append(walk.step())
        assert catalog.counts.wrong() == [], done
    for row in connection.execute("SELECT id FROM applications").fetchall():
        connection.execute("SELECT fold_counts(%s)", row)
    assert catalog.counts.wrong() == [], "folding changed a sum"


def test_every_backup_of_a_long_history_shows_what_counting_gives(catalog: Catalog) -> None:
    """More than 32 backups, so that sums of several levels are put together."""
    backups = [a_backup(catalog, number, ["stays", f"of {number}", f"of {number - 1}"]) for number in range(1, 71)]
    for backup_id in backups[::7]:
        assert kept(catalog, backup_id) == counted(catalog, backup_id)
    page, _ = catalog.pages.backups(wanted(), a_page(70))
    for row in page:
        assert row["archives"] == counted(catalog, row["id"])


def wanted() -> Any:
    from glacier_provider.catalog.pages import BackupFilter

    return BackupFilter("dms")


def a_page(limit: int) -> Any:
    from glacier_provider.catalog.pages import Page

    return Page(limit=limit)


# --- others at work at the same time, and deaths ---


def test_processes_that_change_the_same_files_at_once_do_not_miscount(
    catalog: Catalog, catalog_database: Server
) -> None:
    names = [f"file {number}" for number in range(40)]
    for number in range(1, 4):
        a_backup(catalog, number, names[number * 5 :])
    threads = [threading.Thread(target=_change_for_a_while, args=(catalog_database, seed)) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert catalog.counts.wrong() == []


def _change_for_a_while(server: Server, seed: int) -> None:
    chosen = random.Random(seed)
    with connected(server) as connection:
        connection.execute("SET deadlock_timeout = '20ms'")  # there are many, and each is waited for so long
        for _ in range(30):
            with suppress(psycopg.errors.DeadlockDetected, _Dead), connection.transaction():
                _change(connection, chosen)
                _change(connection, chosen)
                if chosen.random() < 0.2:
                    raise _Dead  # what a transaction did before it died has not happened


class _Dead(Exception):
    pass


def _change(connection: psycopg.Connection[Any], chosen: random.Random) -> None:
    part, of = chosen.randrange(4), [4]
    if chosen.random() < 0.5:
        status = chosen.choice(["available", "pending", "exists"])
        connection.execute(
            "UPDATE glacier_archives SET retrieval_status = %s WHERE kind = 'file' AND id %% %s = %s",
            [status, *of, part],
        )
    else:
        connection.execute(
            "UPDATE backup_files SET last_backup_id = CASE WHEN last_backup_id IS NULL THEN first_backup_id + %s END"
            " WHERE archive_id %% %s = %s",
            [chosen.randrange(3), *of, part],
        )


def test_a_process_killed_in_a_transaction_leaves_the_figures_as_they_were(
    catalog: Catalog, catalog_database: Server
) -> None:
    backup_id = a_backup(catalog, 1, ["a", "b"])
    before = kept(catalog, backup_id)
    with connected(catalog_database) as doomed, connected(catalog_database) as killer:
        doomed.execute("BEGIN")
        doomed.execute("UPDATE glacier_archives SET retrieval_status = 'available'")
        killer.execute("SELECT pg_terminate_backend(%s)", [doomed.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            doomed.execute("COMMIT")
    assert kept(catalog, backup_id) == before
    assert catalog.counts.wrong() == []


def test_counting_makes_nobody_wait(catalog: Catalog, catalog_database: Server) -> None:
    """Two transactions change the figures of the same backup, and neither has to wait for the other to end."""
    a_backup(catalog, 1, ["a", "b"])
    with connected(catalog_database) as first, connected(catalog_database) as second:
        for connection, name in ((first, "a"), (second, "b")):
            connection.execute("SET lock_timeout TO '2s'")
            connection.execute("BEGIN")
            connection.execute("UPDATE glacier_archives SET retrieval_status = 'available' WHERE filename = %s", [name])
        first.execute("COMMIT")
        second.execute("COMMIT")
    assert catalog.counts.wrong() == []


# --- doubts ---


def test_damage_is_found_and_counted_anew(catalog: Catalog, connection: psycopg.Connection[Any]) -> None:
    backups = [a_backup(catalog, number, ["a", f"of {number}"]) for number in (1, 2, 3)]
    connection.execute("SET session_replication_role TO replica")  # as if there were no triggers
    connection.execute("UPDATE glacier_archives SET retrieval_status = 'available', stored_size = stored_size + 1")
    assert {row["what"] for row in catalog.counts.wrong()} >= {"available", "stored", "manifest", "database_bytes"}
    catalog.counts.rebuild()
    assert catalog.counts.wrong() == []
    for backup_id in backups:
        assert kept(catalog, backup_id) == counted(catalog, backup_id)


def test_damage_of_an_upper_sum_is_found(catalog: Catalog, connection: psycopg.Connection[Any]) -> None:
    a_backup(catalog, 1, ["a"])
    catalog.counts.rebuild()
    connection.execute("UPDATE archive_counts SET bytes = bytes + 1 WHERE level = 2 AND what = 'stored'")
    assert catalog.counts.wrong() != []


def test_changes_are_folded_into_the_sums_before_they_are_many(
    catalog: Catalog, connection: psycopg.Connection[Any]
) -> None:
    a_backup(catalog, 1, [f"file {number}" for number in range(20)])
    for number in range(400):
        status = "available" if number % 2 else "exists"
        connection.execute(
            "UPDATE glacier_archives SET retrieval_status = %s WHERE filename = %s", [status, f"file {number % 20}"]
        )
    (waiting,) = connection.execute("SELECT count(*) FROM archive_count_changes").fetchone() or (0,)
    assert waiting <= 200
    assert catalog.counts.wrong() == []


def test_an_older_catalog_is_counted_when_it_is_upgraded(new_database: Callable[[], Server]) -> None:
    server = new_database()
    with a_catalog(server) as catalog:
        catalog.migrate()
        backups = [a_backup(catalog, number, ["a", f"of {number}"]) for number in (1, 2)]
        with connected(server) as connection:
            before = connection.execute("SELECT * FROM slow_counts ORDER BY 1, 2, 3, 4").fetchall()
            connection.execute("DELETE FROM archive_counts")
            connection.execute("DELETE FROM archive_count_changes")
            connection.execute("SELECT rebuild_counts()")  # what the migration runs last
            folded = connection.execute(
                "SELECT application_id, place, what, store_uri, archives, bytes, padded_bytes"
                "  FROM archive_counts WHERE level = 0 ORDER BY 1, 2, 3, 4"
            ).fetchall()
        assert folded == before
        assert [kept(catalog, one) for one in backups] == [counted(catalog, one) for one in backups]


# --- what the figures are used for ---


def test_what_a_backup_added_is_told_apart_from_what_it_contains(catalog: Catalog) -> None:
    first, second = a_backup(catalog, 1, ["a", "b"]), a_backup(catalog, 2, ["a", "b", "c"])
    added = catalog.pages.stored("dms", [first, second])
    files_and_dump = {one: next(h.amount for h in held if not h.manifest) for one, held in added.items()}
    assert files_and_dump == {first: Amount(3, 25), second: Amount(2, 15)}
    (total,) = (one for one in catalog.pages.totals(["dms"])["dms"] if not one.manifest)
    assert total.amount == Amount(5, 40)
    assert total.padded_bytes == 5 * 128 * 1024


def test_files_still_to_be_sent_are_counted(catalog: Catalog) -> None:
    backup_id = catalog.backups.open(a_run(1))
    scanned(catalog, backup_id, ["a", "b"], size=7)
    assert catalog.pages.unfinished("dms") == Amount(2, 14)
    upload_all(catalog)
    assert catalog.pages.unfinished("dms") == Amount()


def test_names_are_indexed_only_where_the_extension_is(catalog: Catalog, connection: psycopg.Connection[Any]) -> None:
    connection.execute("DROP EXTENSION IF EXISTS pg_trgm CASCADE")
    with pytest.raises(CatalogError, match="pg_trgm"):
        catalog.counts.index_names()


def test_with_an_index_of_names_a_search_reaches_beyond_its_window(
    catalog: Catalog, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glacier_provider.catalog.pages.SEARCH_WINDOW", 2)
    a_backup(catalog, 1, ["a 1", "b 2", "c 3", "d 4"])
    backup_id = a_backup(catalog, 2, ["a 1", "b 2", "c 3", "d 4", "needle 5"])  # archived last
    step = catalog.pages.files("dms", backup_id, containing="NEEDLE")
    assert (step.rows, step.next is not None) == ([], True)
    connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public")
    try:
        assert catalog.counts.index_names() is True
        assert catalog.counts.index_names() is False
        found = catalog.pages.files("dms", backup_id, containing="NEEDLE")
        assert ([row["filename"] for row in found.rows], found.next) == (["needle 5"], None)
        ranges = catalog.pages.backups_of_files("dms", "NEEDLE")
        assert ([row["filename"] for row in ranges.rows], ranges.next) == (["needle 5"], None)
    finally:
        catalog.counts.drop_index_of_names()
        connection.execute("DROP EXTENSION pg_trgm")


def test_without_an_index_a_search_goes_on_where_it_stopped(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacier_provider.catalog.pages.SEARCH_WINDOW", 2)
    backup_id = a_backup(catalog, 1, [f"file {number}" for number in range(7)])
    seen, after, asked = [], 0, 0
    while True:
        found = catalog.pages.files("dms", backup_id, containing="file", after=after)
        seen += [row["filename"] for row in found.rows]
        asked += 1
        if found.next is None:
            break
        after = found.next
    assert sorted(seen) == [f"file {number}" for number in range(7)]
    assert asked == 4


def test_a_file_of_this_very_name_is_found_at_once(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacier_provider.catalog.pages.SEARCH_WINDOW", 2)
    backup_id = a_backup(catalog, 1, ["a", "b", "c", "last.pdf"])
    assert [row["filename"] for row in catalog.pages.files("dms", backup_id, containing="last.pdf").rows] == [
        "last.pdf"
    ]
    assert [row["filename"] for row in catalog.pages.backups_of_files("dms", "last.pdf").rows] == ["last.pdf"]
