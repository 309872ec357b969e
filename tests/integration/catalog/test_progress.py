"""How far a restore is, is told from what is kept, and is what counting gives: whatever happens, and whoever dies."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from glacier_provider.catalog import progress
from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.progress import RestoreProgress
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.errors import CatalogError, IllegalMove
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.integration.catalog.test_backups import a_backup, a_run
from tests.integration.catalog.test_counts import Walk, connected

ALL = ArchiveRange(0, 2**62)
NAMES = [f"file {number}" for number in range(12)]


@pytest.fixture(autouse=True)
def of_few_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "KEPT_FROM", 1)


@pytest.fixture
def connection(catalog_database: Server) -> Iterator[psycopg.Connection[Any]]:
    with connected(catalog_database) as opened:
        yield opened


def begun(catalog: Catalog, backup_id: int, run: int = 101, *, lacking: int = len(NAMES)) -> int:
    """Return a restore that has begun and brings so many files."""
    restore_id = planned(catalog, backup_id, run, lacking=lacking)
    catalog.restores.start(restore_id)
    return restore_id


def planned(catalog: Catalog, backup_id: int, run: int = 101, *, lacking: int = len(NAMES), **wanted: Any) -> int:
    request = RestoreRequest.from_params({"backup_id": backup_id, "part": "files", **wanted})
    restore_id = catalog.restores.open(a_run(run), backup_id, request)
    sizes = {row["filename"]: row["original_size"] for row in catalog.pages.files("dms", backup_id).rows}
    there = [(name, sizes[name]) for name in NAMES[lacking:]]
    catalog.restores.compare(restore_id, catalog.backups.get(backup_id), request, there, lambda aside: [])
    return restore_id


def asked(catalog: Catalog, restore_id: int, tier: str = "Bulk") -> dict[int, int]:
    """Ask for all that the restore brings; return the ids of retrievals by archive."""
    found = {}
    for intents in catalog.restores.intend_retrievals(restore_id, ALL, tier=tier, days=1):
        catalog.restores.confirm_retrievals([(intent.id, None) for intent in intents])
        found.update({intent.archive_id: intent.id for intent in intents})
    return found


def told(catalog: Catalog, restore_id: int) -> dict[str, int]:
    """Return what a look tells, after it was found to be what counting gives."""
    look = catalog.pages.restore_progress(restore_id)
    assert in_order(look) == in_order(truth(catalog, restore_id))
    return {row["status"]: row["archives"] for row in look.archives}


def truth(catalog: Catalog, restore_id: int) -> RestoreProgress:
    return progress._progress(catalog._database.rows("counted_progress", restore_id=restore_id))


def in_order(look: RestoreProgress) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    of, by = (sorted(tuple(map(str, row.values())) for row in rows) for rows in (look.archives, look.requests))
    return of, by


def is_kept(catalog: Catalog, restore_id: int) -> bool:
    return bool(catalog._database.rows("kept_progress", restore_id=restore_id))


# --- what happens to a restore ---


def test_a_restore_is_followed_from_the_first_look_to_its_end_without_counting_again(catalog: Catalog) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    assert told(catalog, restore_id) == {"available": 12}
    retrievals = asked(catalog, restore_id)
    assert told(catalog, restore_id) == {"pending": 12}
    ready = list(retrievals)[:5]
    catalog.restores.retrievals_ready([(retrievals[one], None) for one in ready])
    assert told(catalog, restore_id) == {"pending": 7, "ready": 5}
    catalog.restores.placed(ready[:3], staged=True)
    catalog.restores.placed(ready[:2])
    assert told(catalog, restore_id) == {"pending": 7, "ready": 2, "local": 1, "exists": 2}
    assert is_kept(catalog, restore_id)
    look = catalog.pages.restore_progress(restore_id)
    assert [(row["tier"], row["archives"]) for row in look.requests] == [("Bulk", 7)]
    assert look.last_ready is not None
    assert catalog.counts.wrong() == []


def test_what_failed_expired_or_was_lost_by_the_store_is_told_as_such(catalog: Catalog) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    told(catalog, restore_id)
    retrievals = asked(catalog, restore_id)
    archives = list(retrievals)
    over = datetime.now(UTC) - timedelta(seconds=1)
    catalog.restores.retrievals_failed([(retrievals[archives[0]], "no")])
    catalog.restores.retrievals_ready([(retrievals[one], over) for one in archives[1:4]])
    catalog.restores.retrievals_expired(archives[4:6])
    assert told(catalog, restore_id) == {"available": 6, "pending": 6}, "the look itself notes what is over"
    asked(catalog, restore_id, "Standard")
    assert told(catalog, restore_id) == {"pending": 12}
    look = catalog.pages.restore_progress(restore_id)
    assert [(row["tier"], row["archives"]) for row in look.requests] == [("Bulk", 6), ("Standard", 6)]
    assert is_kept(catalog, restore_id)


def test_what_another_restore_asked_for_and_brought_counts_for_both(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, NAMES)
    first, second = begun(catalog, backup_id, 101, lacking=8), begun(catalog, backup_id, 102, lacking=12)
    told(catalog, first), told(catalog, second)
    retrievals = asked(catalog, first)
    assert told(catalog, first) == {"pending": 8}
    assert told(catalog, second) == {"pending": 8, "available": 4}
    catalog.restores.placed(list(retrievals)[:6])
    assert told(catalog, second) == {"exists": 6, "pending": 2, "available": 4}
    assert told(catalog, first) == {"exists": 6, "pending": 2}
    assert is_kept(catalog, first)
    assert is_kept(catalog, second)


def test_files_that_a_scan_finds_again_are_in_their_places(catalog: Catalog) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    told(catalog, restore_id)
    asked(catalog, restore_id)
    a_backup(catalog, 2, ["another"])
    a_backup(catalog, 3, NAMES[:4])
    assert told(catalog, restore_id)["exists"] == 4
    assert is_kept(catalog, restore_id)


# --- retries, marking and clearing ---


def test_a_failed_restore_that_goes_on_is_told_with_what_others_of_its_run_brought_meanwhile(catalog: Catalog) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    told(catalog, restore_id)
    retrievals = asked(catalog, restore_id)
    catalog.restores.fail(restore_id, "boom", step="download_files")
    catalog.restores.placed(list(retrievals)[:3])
    assert told(catalog, restore_id) == {"exists": 3, "pending": 9}
    catalog.restores.start(restore_id, "download_files")
    catalog.restores.placed(list(retrievals)[2:5])
    assert told(catalog, restore_id) == {"exists": 5, "pending": 7}
    assert is_kept(catalog, restore_id)


def test_pages_that_a_retried_task_notes_again_count_once(catalog: Catalog) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    told(catalog, restore_id)
    retrievals = asked(catalog, restore_id)
    for _ in range(3):
        catalog.restores.retrievals_ready([(one, None) for one in retrievals.values()])
        catalog.restores.placed(list(retrievals)[:4])
    assert told(catalog, restore_id) == {"exists": 4, "ready": 8}


def test_a_restore_that_is_planned_again_is_counted_anew(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, NAMES)
    restore_id = begun(catalog, backup_id)
    told(catalog, restore_id)
    catalog.restores.placed(list(asked(catalog, restore_id))[:2])
    assert planned(catalog, backup_id, lacking=5) == restore_id
    assert not is_kept(catalog, restore_id)
    assert sum(told(catalog, restore_id).values()) == 5, "before it starts again"
    catalog.restores.start(restore_id)
    assert sum(told(catalog, restore_id).values()) == 5
    asked(catalog, restore_id)
    assert told(catalog, restore_id) == {"pending": 5}
    assert is_kept(catalog, restore_id)


def test_what_comes_from_elsewhere_than_was_planned_is_counted_anew(catalog: Catalog) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    told(catalog, restore_id)
    first = catalog.pages.files("dms", 1).rows[0]["id"]
    catalog._database.connection().execute(
        b"UPDATE restore_archives SET source = 'orphan' WHERE archive_id = %s", [first]
    )
    look = catalog.pages.restore_progress(restore_id)
    assert {row["source"]: row["archives"] for row in look.archives} == {"orphan": 1, "store": 11}
    catalog.restores.fetch_from_store_instead(restore_id, [first])
    assert told(catalog, restore_id) == {"available": 12}


def test_a_restore_that_is_over_is_told_as_it_ended(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, NAMES)
    restore_id = begun(catalog, backup_id)
    told(catalog, restore_id)
    catalog.restores.placed(list(asked(catalog, restore_id)))
    catalog.restores.complete(restore_id, {})
    begun(catalog, backup_id, 102, lacking=7)
    assert {row["status"]: row["archives"] for row in catalog.pages.restore_progress(restore_id).archives} == {
        "exists": 12
    }
    assert catalog.counts.wrong() == []
    with pytest.raises(IllegalMove):
        catalog.restores.start(restore_id)


# --- deaths, and others at work at the same time ---


def test_what_a_killed_process_did_not_commit_is_not_told(
    catalog: Catalog, connection: psycopg.Connection[Any], catalog_database: Server
) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    told(catalog, restore_id)
    asked(catalog, restore_id)
    with connected(catalog_database) as doomed:
        doomed.execute("BEGIN")
        doomed.execute("UPDATE glacier_archives SET retrieval_status = 'exists' WHERE retrieval_status = 'pending'")
        doomed.execute("UPDATE glacier_retrievals SET state = 'expired'")
        assert told(catalog, restore_id) == {"pending": 12}
        connection.execute("SELECT pg_terminate_backend(%s)", [doomed.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            doomed.execute("COMMIT")
    assert told(catalog, restore_id) == {"pending": 12}
    assert is_kept(catalog, restore_id)


def test_nothing_is_kept_while_a_transaction_is_under_way_that_does_not_know_of_the_look(
    catalog: Catalog, connection: psycopg.Connection[Any]
) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    connection.execute("BEGIN")
    connection.execute("UPDATE glacier_archives SET retrieval_status = 'exists' WHERE filename = 'file 1'")
    assert told(catalog, restore_id) == {"available": 12}
    assert not is_kept(catalog, restore_id)
    connection.execute("COMMIT")
    assert told(catalog, restore_id) == {"available": 11, "exists": 1}
    assert is_kept(catalog, restore_id)


def test_what_changes_while_it_is_counted_is_added_to_what_was_counted(
    catalog: Catalog, connection: psycopg.Connection[Any]
) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    database = catalog._database
    database.run("look_at_restore", restore_id=restore_id, least=1)
    database.run("looked_at_since", restore_id=restore_id)
    connection.execute("BEGIN")  # it knows of the look, and ends after the count
    connection.execute("UPDATE glacier_archives SET retrieval_status = 'exists' WHERE filename = 'file 1'")
    rows = progress._counted_to_keep(database, restore_id)
    assert [row["archives"] for row in rows if row["source"]] == [12]
    assert is_kept(catalog, restore_id) is False or told(catalog, restore_id) == {"available": 12}
    connection.execute("COMMIT")
    assert told(catalog, restore_id) == {"available": 11, "exists": 1}


def test_a_plan_that_commits_while_it_is_counted_leaves_nothing_kept(
    catalog: Catalog, connection: psycopg.Connection[Any]
) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    told(catalog, restore_id)
    connection.execute("BEGIN")
    connection.execute("DELETE FROM restore_archives WHERE restore_id = %s", [restore_id])
    assert told(catalog, restore_id) == {"available": 12}
    connection.execute("COMMIT")
    assert told(catalog, restore_id) == {}


def test_many_at_work_and_many_who_look_never_see_a_sum_that_is_not_all_of_it(
    catalog: Catalog, catalog_database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_FOLDED_FROM", 20)
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    asked(catalog, restore_id)
    wrong: list[object] = []
    working = [threading.Thread(target=_work, args=(catalog_database, seed, restore_id)) for seed in range(4)]
    over = threading.Event()
    looking = [threading.Thread(target=_look, args=(catalog_database, restore_id, over, wrong)) for _ in range(2)]
    for thread in (*looking, *working):
        thread.start()
    for thread in working:
        thread.join()
    over.set()
    for thread in looking:
        thread.join()
    assert wrong == []
    told(catalog, restore_id)
    assert catalog.counts.wrong() == []


def _work(server: Server, seed: int, restore_id: int) -> None:
    chosen = random.Random(seed)
    with connected(server) as connection:
        connection.execute("SET deadlock_timeout = '20ms'")
        for _ in range(40):
            with suppress(psycopg.errors.DeadlockDetected, _Dead), connection.transaction():
                for _ in range(chosen.randrange(1, 3)):
                    _change(connection, chosen, restore_id)
                if chosen.random() < 0.2:
                    raise _Dead


class _Dead(Exception):
    pass


def _change(connection: psycopg.Connection[Any], chosen: random.Random, restore_id: int) -> None:
    part, what = chosen.randrange(4), chosen.random()
    if what < 0.6:
        connection.execute(
            "UPDATE glacier_archives SET retrieval_status = %s WHERE kind = 'file' AND id %% 4 = %s",
            [chosen.choice(["available", "pending", "ready", "local", "exists"]), part],
        )
    elif what < 0.95:
        connection.execute(
            "UPDATE glacier_retrievals SET state = %s, ready_at = now() WHERE state IN ('requested', 'ready')"
            " AND archive_id %% 4 = %s",
            [chosen.choice(["requested", "ready"]), part],
        )
    else:
        connection.execute("DELETE FROM restore_looks WHERE restore_id = %s", [restore_id])


def _look(server: Server, restore_id: int, over: threading.Event, wrong: list[object]) -> None:
    with a_catalog(server) as catalog:
        while not over.is_set():
            look = catalog.pages.restore_progress(restore_id)
            if sum(row["archives"] for row in look.archives) != len(NAMES) or any(
                row["archives"] < 0 for row in (*look.archives, *look.requests)
            ):
                wrong.append(look)


class LookedAtWalk(Walk):
    """The walk of the other figures, whose restores are looked at."""

    def __init__(self, catalog: Catalog, connection: psycopg.Connection[Any], seed: int) -> None:
        super().__init__(catalog, connection, seed)
        self.end: Callable[[], None] = lambda: None

    def step(self) -> str:
        name = super().step()
        for row in self.connection.execute("SELECT id FROM restores WHERE state <> 'complete'").fetchall():
            look = self.catalog.pages.restore_progress(row[0])
            assert all(one["archives"] > 0 for one in look.archives), name
        return name


@pytest.mark.parametrize("seed", range(4))
def test_after_any_walk_the_kept_figures_of_restores_are_those_that_counting_gives(
    catalog: Catalog, connection: psycopg.Connection[Any], seed: int
) -> None:
    walk = LookedAtWalk(catalog, connection, seed)
    walk.back_up()
    done = []
    for _ in range(20):
        done.append(walk.step())
        assert catalog.counts.wrong() == [], done
    assert connection.execute("SELECT count(*) FROM restore_looks WHERE counted").fetchone() != (0,)


# --- what is kept ---


def test_differences_are_put_together_before_they_are_many(
    catalog: Catalog, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_FOLDED_FROM", 20)
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    for number in range(30):
        connection.execute(
            "UPDATE glacier_archives SET retrieval_status = %s WHERE filename = 'file 1'",
            ["ready" if number % 2 else "available"],
        )
        told(catalog, restore_id)
    (rows,) = connection.execute("SELECT count(*) FROM restore_figures").fetchone() or (0,)
    assert rows <= 25
    assert is_kept(catalog, restore_id)


def test_damage_is_found_and_what_was_kept_is_counted_anew(
    catalog: Catalog, connection: psycopg.Connection[Any]
) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    told(catalog, restore_id)
    connection.execute("UPDATE restore_figures SET archives = archives + 1 WHERE source IS NOT NULL")
    assert {row["what"] for row in catalog.counts.wrong()} == {"restore: store available"}
    catalog.counts.rebuild()
    assert catalog.counts.wrong() == []
    assert told(catalog, restore_id) == {"available": 12}
    connection.execute("UPDATE restore_figures SET archives = -1 WHERE source IS NOT NULL")
    assert told(catalog, restore_id) == {"available": 12}, "a figure that cannot be is not told"


def test_another_size_than_was_counted_is_counted_anew(catalog: Catalog, connection: psycopg.Connection[Any]) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    told(catalog, restore_id)
    connection.execute("UPDATE glacier_archives SET stored_size = stored_size + 7 WHERE filename = 'file 1'")
    assert not is_kept(catalog, restore_id)
    told(catalog, restore_id)


def test_who_may_not_write_counts_each_time(catalog: Catalog, connection: psycopg.Connection[Any]) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    connection.execute("DROP ROLE IF EXISTS only_looks")
    connection.execute("CREATE ROLE only_looks")
    connection.execute("GRANT USAGE ON SCHEMA glacier_catalog TO only_looks")
    connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA glacier_catalog TO only_looks")
    session = catalog._database.connection()
    session.execute("SET ROLE only_looks")
    try:
        assert told(catalog, restore_id) == {"available": 12}
        assert not is_kept(catalog, restore_id)
    finally:
        session.execute("RESET ROLE")
        connection.execute("DROP OWNED BY only_looks")
        connection.execute("DROP ROLE only_looks")


def test_a_restore_into_another_place_is_counted_each_time(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, NAMES)
    into = {"database": "copy", "files_directory": "/copy"}
    restore_id = planned(catalog, backup_id, into=into)
    with suppress(CatalogError):
        catalog.restores.start(restore_id)
    told(catalog, restore_id)
    assert not is_kept(catalog, restore_id)


def test_a_restore_that_fails_once_more_after_another_one_is_told_as_it_ended(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, NAMES)
    first = begun(catalog, backup_id, 101)
    told(catalog, first)
    catalog.restores.fail(first, "no")
    before = told(catalog, first)
    second = begun(catalog, backup_id, 102)
    catalog.restores.take_lease(second)
    retrievals = asked(catalog, second)
    catalog.restores.fail(second, "no")
    catalog.restores.fail(first, "a task of it was cleared, and refused")
    catalog.restores.retrievals_ready([(one, None) for one in retrievals.values()])
    look = catalog.pages.restore_progress(first)
    assert {row["status"]: row["archives"] for row in look.archives} == before


def test_an_empty_file_is_ready_since_nobody_has_to_ask_for_it(
    catalog: Catalog, connection: psycopg.Connection[Any]
) -> None:
    backup_id = a_backup(catalog, 1, NAMES)
    connection.execute("UPDATE glacier_archives SET original_size = 0, stored_size = 0 WHERE filename = 'file 3'")
    restore_id = begun(catalog, backup_id)
    assert told(catalog, restore_id)["available"] == len(NAMES), "with others that nobody asked for it is one of them"
    for archive_id, retrieval_id in asked(catalog, restore_id).items():
        if catalog.archives.get(archive_id)["filename"] == "file 3":
            connection.execute("DELETE FROM glacier_retrievals WHERE id = %s", [retrieval_id])
            connection.execute("UPDATE glacier_archives SET retrieval_status = 'available' WHERE id = %s", [archive_id])
    assert told(catalog, restore_id) == {"pending": len(NAMES) - 1, "ready": 1}
