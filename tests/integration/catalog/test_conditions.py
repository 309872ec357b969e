"""How an application is: each figure is of the rows that it says, and of no others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.condition import Condition
from glacier_provider.core.findings import known_of_backup
from glacier_provider.core.metrics import Activity
from glacier_provider.core.proof import ProofKind
from glacier_provider.core.status import ProofState
from glacier_provider.postgres import Server
from tests.support.backups import (
    a_backup_row,
    a_proof_row,
    a_restore_row,
    a_retrieval_row,
    ago,
    an_application_row,
    an_archive_row,
)

Look = Callable[[], Condition]


@pytest.fixture
def look(catalog: Catalog, catalog_database: Server) -> Look:
    an_application_row(catalog_database, "dms")
    return lambda: catalog.conditions.of(["dms"])["dms"]


def run(server: Server, statement: str) -> None:
    with server.connect(autocommit=True) as connection:
        connection.execute(f"SET search_path TO glacier_catalog; {statement}".encode())


def test_the_last_complete_backup_is_the_newest_of_those(look: Look, catalog_database: Server) -> None:
    for state in ("complete", "failed", "complete", "failed", "failed", "running"):
        a_backup_row(catalog_database, "dms", state, ago(hours=1), error="no room" if state == "failed" else None)
    a_backup_row(catalog_database, "another", "complete", ago())
    condition = look()
    assert (condition.complete_id, condition.failed_id, condition.running_id) == (3, 5, 6)
    assert condition.failed_why == "no room"


def test_a_proof_is_told_as_the_last_that_ended_of_its_kind_and_when_one_passed(
    look: Look, catalog_database: Server
) -> None:
    passed = ago(days=9)
    a_proof_row(catalog_database, "dms", "drill", "passed", passed)
    found = [{"told": "Rows are missing.", "grave": True, "names": ["a"]}, {"told": "No matter.", "grave": False}]
    a_proof_row(catalog_database, "dms", "drill", "found", ago(days=5), findings=found)
    a_proof_row(catalog_database, "dms", "verification", "failed", ago(days=2), error="No network.")
    a_proof_row(catalog_database, "another", "drill", "passed", ago(days=1))
    run(
        catalog_database,
        "INSERT INTO proofs (application_id, kind, method) SELECT id, 'drill', 'newest' FROM applications",
    )
    drill, verification = (look().proven[kind] for kind in (ProofKind.DRILL, ProofKind.VERIFICATION))
    assert (drill.state, drill.told, drill.passed_at) == (ProofState.FOUND, ("Rows are missing. a",), passed)
    assert (verification.state, verification.told) == (ProofState.FAILED, ("No network.",))
    assert verification.passed_at is None


def test_what_is_usual_is_the_median_of_the_fourteen_complete_ones_before(look: Look, catalog_database: Server) -> None:
    for new in (*[7] * 20, *[100] * 7, *[300] * 7):
        a_backup_row(catalog_database, "dms", "complete", ago(hours=1), new_bytes=new)
        a_backup_row(catalog_database, "dms", "failed", ago(hours=1), new_bytes=10**9, error="x")
    a_backup_row(catalog_database, "dms", "complete", ago(hours=2), ended=ago(hours=1), new_bytes=10**9)
    condition = look()
    assert (condition.usual_of, condition.usual_new_bytes, condition.new_bytes) == (14, 200, 10**9)
    assert condition.usual_seconds == 0
    assert condition.seconds == pytest.approx(3600, abs=1)


@pytest.mark.parametrize(
    ("report", "rewritten"),
    [
        ({}, 0),
        ({"new_versions_count": 5}, 5),
        ({"changed_count": 6}, 6),
        ({"new_versions_count": 5, "changed_count": 6}, 6),
        ({"new_versions_count": 6, "changed_count": 5}, 6),
    ],
)
def test_a_file_has_another_content_whether_or_not_that_is_archived(
    report: dict[str, int], rewritten: int, look: Look, catalog_database: Server
) -> None:
    a_backup_row(catalog_database, "dms", "complete", ago(hours=1), report=report)
    assert look().rewritten == rewritten


def test_lost_is_what_a_backup_needs(look: Look, catalog_database: Server) -> None:
    number = a_backup_row(catalog_database, "dms", "complete", ago(hours=2))
    deleted = a_backup_row(catalog_database, "dms", "complete", ago(hours=3))
    an_archive_row(catalog_database, "dms", number, "file", "needed", state="lost")
    nobodys = an_archive_row(catalog_database, "dms", number, "file", "of no backup any more", state="lost")
    run(
        catalog_database,
        f"DELETE FROM backup_files WHERE archive_id = {nobodys};"
        "UPDATE glacier_archives SET state = 'lost' WHERE kind = 'database';"
        f"UPDATE application_data_backups SET state = 'deleted' WHERE id = {deleted}",
    )
    assert look().lost == 2  # the file, and the dump of the backup that is not deleted


#: A kind of shortfall, and the sentence that names the first file.
SHORTFALLS = {
    "unreadable": "Does not hold 2 files that could not be read: a.pdf and 1 more.",
    "changed": "Holds an earlier content of 2 files, which had changed without being archived: a.pdf and 1 more.",
    "unarchived_references": "Does not hold 2 files that the database names: a.pdf and 1 more.",
    "other_references": "Holds another content of 2 files than the database says: a.pdf and 1 more.",
}


@pytest.mark.parametrize("what", SHORTFALLS)
def test_what_a_backup_lacks_is_told_by_the_first_name(what: str, look: Look, catalog_database: Server) -> None:
    report = {f"{what}_count": 2, what: [{"name": "a.pdf", "error": "x"}, {"name": "b.pdf"}]}
    a_backup_row(catalog_database, "dms", "complete", ago(hours=1), report=report)
    assert list(known_of_backup(look().report)) == [SHORTFALLS[what]]


@pytest.mark.parametrize(
    ("state", "more", "happens"),
    [
        ("planned", {"plan": {"over_budget": True}}, "approval"),
        ("planned", {"plan": {"over_budget": False}, "request": {"approve": True}}, "approval"),
        ("planned", {"plan": {"over_budget": False}, "request": {"approve": False}}, None),
        ("planned", {"request": {"approve": True}}, None),  # it is still being planned
        ("running", {"plan": {"over_budget": True}}, None),
        ("complete", {}, "restore"),
        ("failed", {"error": "download: full"}, "restore"),
        ("complete", {"closed_at": ago(hours=25)}, None),
        ("complete", {"dag_id": "glacier-backup fetch"}, None),  # who gave the command was told by it
    ],
)
def test_a_restore_is_told_that_waits_for_a_person_or_ended_lately(
    state: str, more: dict[str, Any], happens: str | None, catalog: Catalog, catalog_database: Server
) -> None:
    number = a_restore_row(catalog_database, "dms", state, **more)
    a_restore_row(catalog_database, "another", "complete")
    found = catalog.conditions.happenings("dms", since=ago(hours=24))
    assert [(one.kind, one.id, one.state) for one in found] == ([(happens, number, state)] if happens else [])
    assert [one.why for one in found] == ([more.get("error", "")] if happens else [])


@pytest.mark.parametrize(
    ("state", "began", "deleted", "told"),
    [
        ("deleting", ago(hours=1), None, True),
        ("deleted", ago(days=9), ago(hours=1), True),
        ("deleted", ago(days=9), ago(days=8), False),
        ("complete", None, None, False),
    ],
)
def test_a_deletion_is_told_that_began_or_ended_lately(
    state: str, began: datetime | None, deleted: datetime | None, told: bool, catalog: Catalog, catalog_database: Server
) -> None:
    number = a_backup_row(catalog_database, "dms", "complete", ago(days=20))
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE glacier_catalog.application_data_backups SET state = %s, deletion_began_at = %s, deleted_at = %s",
            [state, began, deleted],
        )
    found = catalog.conditions.happenings("dms", since=ago(hours=24))
    assert [(one.kind, one.id, one.state) for one in found] == ([("deletion", number, state)] if told else [])


def test_what_is_waited_for_is_what_restores_under_way_have_asked_for(
    catalog: Catalog, catalog_database: Server
) -> None:
    server, number = catalog_database, a_backup_row(catalog_database, "dms", "complete", ago(days=1))
    oldest = ago(hours=9)
    names = iter("abcdefgh")

    def asked(restore: int, state: str, at: datetime) -> None:
        a_retrieval_row(server, restore, an_archive_row(server, "dms", number, "file", next(names)), state, at)

    running, planned = (a_restore_row(server, "dms", state, backup_id=number) for state in ("running", "planned"))
    ended = a_restore_row(server, "dms", "failed", backup_id=number)
    asked(running, "requested", oldest)
    asked(running, "requested", oldest + timedelta(hours=1))
    asked(running, "ready", oldest - timedelta(hours=1))
    asked(planned, "requested", oldest + timedelta(hours=2))
    asked(ended, "requested", oldest - timedelta(hours=2))
    for size in (500, 700):
        an_archive_row(server, "dms", number, "file", next(names), state="planned", size=size)
    an_archive_row(server, "dms", number, "file", next(names), state="uploading", size=9)
    run(
        server, "UPDATE glacier_archives SET store_uri = 's3://deep?storage_class=DEEP_ARCHIVE' WHERE original_size = 9"
    )
    a_backup_row(server, "idle", "complete", ago(days=1))
    activity = catalog.conditions.activity(["dms", "idle"])
    assert activity["dms"] == Activity(3, 1209, 3, oldest, 1)
    assert activity["idle"] == Activity()
