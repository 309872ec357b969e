"""When how far a restore is, is kept, what of it is told, and what has it counted anew."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from glacier_provider.catalog import progress
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.integration.catalog.test_backups import STORE, a_backup
from tests.integration.catalog.test_counts import connected
from tests.integration.catalog.test_progress import ALL, NAMES, asked, begun, is_kept, planned, told, truth


@pytest.fixture(autouse=True)
def of_few_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "KEPT_FROM", len(NAMES))


@pytest.fixture
def connection(catalog_database: Server) -> Iterator[psycopg.Connection[Any]]:
    with connected(catalog_database) as opened:
        yield opened


def archives(catalog: Catalog) -> list[int]:
    return sorted(row["id"] for row in catalog.pages.files("dms", 1).rows)


def test_of_few_archives_nothing_is_kept(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    monkeypatch.setattr(progress, "KEPT_FROM", len(NAMES) + 1)
    assert told(catalog, restore_id) == {"available": 12}
    assert not is_kept(catalog, restore_id)
    monkeypatch.setattr(progress, "KEPT_FROM", len(NAMES))
    assert told(catalog, restore_id) == {"available": 12}
    assert is_kept(catalog, restore_id)


def test_who_looks_in_a_session_for_reading_keeps_it_all_the_same(catalog: Catalog, catalog_database: Server) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    with a_catalog(catalog_database) as page:
        page._database.connection().execute("SET default_transaction_read_only = on")
        assert told(page, restore_id) == {"available": 12}
        assert is_kept(page, restore_id)


def test_requests_of_several_minutes_are_told_from_the_first_to_the_last(
    catalog: Catalog, connection: psycopg.Connection[Any]
) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    retrievals = asked(catalog, restore_id)
    first = datetime(2026, 11, 1, 10, 0, 30, tzinfo=UTC)
    for number, retrieval in enumerate(retrievals.values()):
        at = first + timedelta(minutes=7 * ((number + 1) % len(retrievals)))  # the first is not the first that is found
        connection.execute("UPDATE glacier_retrievals SET requested_at = %s WHERE id = %s", [at, retrieval])
    for _ in range(2):  # as it is counted, and as it is kept
        (request,) = catalog.pages.restore_progress(restore_id).requests
        assert (request["tier"], request["store_uri"], request["archives"]) == ("Bulk", STORE, 12)
        assert request["first_request"] == datetime(2026, 11, 1, 10, 0, tzinfo=UTC)
        assert request["last_request"] == datetime(2026, 11, 1, 11, 18, tzinfo=UTC)
    for _ in range(2):
        connection.execute("UPDATE glacier_retrievals SET state = 'ready', ready_at = requested_at")
        look = catalog.pages.restore_progress(restore_id)
        assert look.last_ready == first + timedelta(minutes=77), "the last of all of them"
        assert look.requests == []


def test_what_is_offered_is_waited_for_no_longer_and_when_the_last_was_is_known(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_FOLDED_FROM", 1)
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    retrievals = asked(catalog, restore_id)
    assert told(catalog, restore_id) == {"pending": 12}
    for retrieval in retrievals.values():
        catalog.restores.retrievals_ready([(retrieval, None)])
        catalog.pages.restore_progress(restore_id)
    catalog.restores.placed(list(retrievals)[:5])
    for _ in range(2):  # differences are put together by the first
        look = catalog.pages.restore_progress(restore_id)
        assert look.requests == []
        assert look.last_ready == truth(catalog, restore_id).last_ready is not None
    catalog.restores.placed(list(retrievals))
    look = catalog.pages.restore_progress(restore_id)
    assert [(row["status"], row["archives"]) for row in look.archives] == [("exists", 12)]
    assert is_kept(catalog, restore_id)


def test_figures_of_a_look_that_was_dropped_are_not_put_together(
    catalog: Catalog, connection: psycopg.Connection[Any]
) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    told(catalog, restore_id)
    asked(catalog, restore_id)

    def figures() -> list[Any]:
        return connection.execute("SELECT ctid, * FROM restore_figures ORDER BY ctid").fetchall()

    before = figures()
    connection.execute("DELETE FROM restore_looks")
    progress._fold(catalog._database, restore_id)
    assert figures() == before
    assert told(catalog, restore_id) == {"pending": 12}


def test_figures_that_cannot_be_are_not_kept(catalog: Catalog, connection: psycopg.Connection[Any]) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    told(catalog, restore_id)
    connection.execute("UPDATE restore_figures SET archives = -1 WHERE source IS NOT NULL")
    assert told(catalog, restore_id) == {"available": 12}
    assert is_kept(catalog, restore_id)
    assert catalog.counts.wrong() == []


def test_figures_of_an_earlier_look_are_not_told_while_a_new_one_is_not_counted(
    catalog: Catalog, connection: psycopg.Connection[Any], catalog_database: Server
) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    told(catalog, restore_id)
    connection.execute("DELETE FROM restore_looks")
    connection.execute("UPDATE glacier_archives SET retrieval_status = 'ready' WHERE filename = 'file 2'")
    with connected(catalog_database) as unaware:
        unaware.execute("BEGIN")
        unaware.execute("UPDATE glacier_archives SET retrieval_status = 'exists' WHERE filename = 'file 1'")
        for _ in range(2):
            assert told(catalog, restore_id) == {"available": 11, "ready": 1}
            assert not is_kept(catalog, restore_id)
        unaware.execute("COMMIT")
    assert told(catalog, restore_id) == {"available": 10, "ready": 1, "exists": 1}
    assert is_kept(catalog, restore_id)


BY_HAND = [
    "UPDATE glacier_archives SET store_uri = 's3://another/one' WHERE filename = 'file 1'",
    "UPDATE glacier_archives SET stored_size = stored_size + 7 WHERE filename = 'file 1'",
    "UPDATE glacier_retrievals SET tier = 'Standard' WHERE archive_id = {first}",
    "UPDATE glacier_retrievals SET requested_at = requested_at - interval '1 hour' WHERE archive_id = {first}",
    "DELETE FROM glacier_retrievals WHERE archive_id = {first}",
    "INSERT INTO glacier_retrievals (archive_id, restore_id, tier, days, confirmed)"
    " SELECT archive_id, restore_id, 'Standard', 1, true FROM restore_archives WHERE archive_id = {last}",
    "UPDATE restore_archives SET source = 'orphan' WHERE archive_id = {first}",
    "UPDATE restore_archives SET restore_id = restore_id + 1000 WHERE archive_id = {first}",
    "DELETE FROM restore_archives WHERE archive_id = {first}",
    "TRUNCATE restore_archives",
]


@pytest.mark.parametrize("statement", BY_HAND)
def test_whatever_somebody_changes_by_hand_is_counted_anew(
    catalog: Catalog, connection: psycopg.Connection[Any], statement: str
) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    *others, last = archives(catalog)
    retrievals = asked(catalog, restore_id)
    connection.execute("DELETE FROM glacier_retrievals WHERE id = %s", [retrievals[last]])
    told(catalog, restore_id)
    assert is_kept(catalog, restore_id)
    connection.execute(statement.format(first=others[0], last=last).encode())
    told(catalog, restore_id)
    assert catalog.counts.wrong() == []


def test_another_restores_plan_has_nothing_else_counted_anew(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, NAMES)
    restore_id = begun(catalog, backup_id)
    told(catalog, restore_id)
    planned(catalog, backup_id, 102)
    assert is_kept(catalog, restore_id)
    assert told(catalog, restore_id) == {"available": 12}


def test_what_another_restore_adds_to_a_plan_is_counted(catalog: Catalog, connection: psycopg.Connection[Any]) -> None:
    backup_id = a_backup(catalog, 1, NAMES)
    restore_id = begun(catalog, backup_id)
    connection.execute("DELETE FROM restore_archives WHERE archive_id = %s", [archives(catalog)[0]])
    progress.KEPT_FROM -= 1  # set by the fixture
    assert told(catalog, restore_id) == {"available": 11}
    assert is_kept(catalog, restore_id)
    connection.execute(
        "INSERT INTO restore_archives (restore_id, archive_id, source) VALUES (%s, %s, 'store')",
        [restore_id, archives(catalog)[0]],
    )
    assert told(catalog, restore_id) == {"available": 12}


def test_intents_are_no_requests_yet(catalog: Catalog) -> None:
    restore_id = begun(catalog, a_backup(catalog, 1, NAMES))
    told(catalog, restore_id)
    for intents in catalog.restores.intend_retrievals(restore_id, ALL, tier="Bulk", days=1):
        assert told(catalog, restore_id) == {"available": 12}
        assert catalog.pages.restore_progress(restore_id).requests == []
        catalog.restores.retrievals_failed([(intent.id, "It was never sent.") for intent in intents[:3]])
        assert catalog.pages.restore_progress(restore_id).requests == []
        catalog.restores.confirm_retrievals([(intent.id, None) for intent in intents[3:]])
    assert told(catalog, restore_id) == {"available": 3, "pending": 9}
    assert is_kept(catalog, restore_id)


def test_what_is_placed_elsewhere_is_waited_for_no_longer(catalog: Catalog) -> None:
    restore_id = planned(catalog, a_backup(catalog, 1, NAMES), into={"database": "copy", "files_directory": "/copy"})
    catalog._database.connection().execute("UPDATE restores SET missing_noted = true")
    first, *_ = archives(catalog)
    catalog._database.connection().execute(b"UPDATE restore_archives SET source = 'store'")
    asked(catalog, restore_id)
    catalog.restores.placed_elsewhere(restore_id, [first])
    look = catalog.pages.restore_progress(restore_id)
    assert {row["status"]: row["archives"] for row in look.archives} == {"exists": 1, "pending": 11}
    assert [row["archives"] for row in look.requests] == [11]


def test_a_restore_that_failed_and_was_overtaken_is_told_as_it_ended(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, NAMES)
    first = begun(catalog, backup_id)
    told(catalog, first)
    catalog.restores.fail(first, "boom", step="x")
    catalog.restores.placed(archives(catalog)[:3])
    assert told(catalog, first) == {"available": 9, "exists": 3}, "it may go on"
    second = begun(catalog, backup_id, 102, lacking=9)
    before = told(catalog, first)
    catalog.restores.take_lease(second)
    catalog.restores.placed(archives(catalog))
    assert {row["status"]: row["archives"] for row in catalog.pages.restore_progress(first).archives} == before
