"""What a job that asks for archives changes in the catalog: of its own archives, and all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Database, Row
from glacier_provider.core.proof import ProofKind
from glacier_provider.errors import IllegalMove
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.integration.catalog.test_backups import STORE, a_backup
from tests.integration.catalog.test_restore_plans import planned, status_of

NAMES = ["a", "b", "c", "d", "e"]


class Killed(BaseException):
    """The process ends here."""


def begun(catalog: Catalog, run: int = 101) -> int:
    """Return a restore that has begun and brings all these files."""
    restore_id, _ = planned(catalog, a_backup(catalog, run, NAMES), run, [])
    catalog.restores.start(restore_id)
    return restore_id


def sql(catalog: Catalog, statement: str, *values: object) -> list[Any]:
    cursor = catalog._database.connection().execute(statement.encode(), values)
    return [tuple(row.values()) for row in cursor.fetchall()] if cursor.description else []


def meant(catalog: Catalog) -> list[str]:
    return [
        name
        for (name,) in sql(
            catalog,
            "SELECT a.filename FROM glacier_retrievals g JOIN glacier_archives a ON a.id = g.archive_id"
            " WHERE g.job_id LIKE 'batch:%%' AND g.state = 'requested' ORDER BY 1",
        )
    ]


def a_job(catalog: Catalog, restore_id: int, *, created: bool = True) -> Row:
    """Return a job that asks for all that the restore brings, and that AWS has."""
    catalog.batch.plan_retrievals(restore_id, STORE, tier="Bulk", days=3)
    (job,) = catalog.batch.open_retrievals()
    if created:
        catalog.batch.manifest_written(job["id"], "etag", job["objects"])
        catalog.batch.retrievals_created(job, "job of AWS")
        (job,) = catalog.batch.open_retrievals()
    return job


def key_of(catalog: Catalog, name: str) -> str:
    ((key,),) = sql(catalog, "SELECT key FROM glacier_archives WHERE filename = %s", name)
    return str(key)


def offered(catalog: Catalog, name: str) -> None:
    rows = sql(
        catalog,
        "SELECT g.id FROM glacier_retrievals g JOIN glacier_archives a ON a.id = g.archive_id WHERE a.filename = %s",
        name,
    )
    catalog.restores.retrievals_ready([(rows[-1][0], datetime.now(UTC) + timedelta(days=1))])


def placed(catalog: Catalog, name: str) -> None:
    catalog.restores.placed([sql(catalog, "SELECT id FROM glacier_archives WHERE filename = %s", name)[0][0]])


def statuses(catalog: Catalog) -> str:
    return " ".join(str(status_of(catalog, name)) for name in NAMES)


def test_a_job_is_to_ask_for_what_only_the_cold_of_its_store_has(catalog: Catalog) -> None:
    restore_id = begun(catalog)
    sql(catalog, "UPDATE glacier_archives SET stored_size = 0 WHERE filename = 'a'")
    sql(catalog, "UPDATE glacier_archives SET store_uri = 's3://another/one' WHERE filename = 'b'")
    sql(catalog, "UPDATE glacier_archives SET retrieval_status = 'exists' WHERE filename = 'c'")
    sql(
        catalog,
        "UPDATE restore_archives SET source = 'orphan' WHERE archive_id ="
        " (SELECT id FROM glacier_archives WHERE filename = 'd')",
    )
    assert catalog.batch.plan_retrievals(restore_id, STORE, tier="Bulk", days=3) == 1
    assert meant(catalog) == ["e"]
    (job,) = catalog.batch.open_retrievals()
    assert (job["variant"], job["days"], job["restore_id"], job["objects"]) == ("Bulk", 3, restore_id, 1)


def test_a_manifest_names_what_was_not_asked_for_since_and_nothing_else(catalog: Catalog) -> None:
    job = a_job(catalog, begun(catalog), created=False)
    sql(
        catalog,
        "UPDATE glacier_retrievals SET state = 'failed' WHERE archive_id ="
        " (SELECT id FROM glacier_archives WHERE filename = 'b')",
    )
    with catalog.transaction():
        keys = list(catalog.batch.keys_of_retrievals(job))
    assert keys == [key_of(catalog, name) for name in NAMES if name != "b"]


@pytest.mark.parametrize("by_report", [True, False])
def test_a_job_that_missed_archives_takes_nothing_from_its_place_and_no_offer(
    catalog: Catalog, by_report: bool
) -> None:
    job = a_job(catalog, begun(catalog))
    assert statuses(catalog) == "pending pending pending pending pending"
    offered(catalog, "a")
    placed(catalog, "b")  # it is back in its directory, whoever brought it
    if by_report:
        missed, _ = catalog.batch.settle_retrievals(job, [(key_of(catalog, "e"), 202, "", None)], {}, None)
    else:
        missed = catalog.batch.release_retrievals(job, "It is gone.")
    assert statuses(catalog) == f"ready exists available available {'pending' if by_report else 'available'}"
    assert missed == (2 if by_report else 3)
    of_a = (
        "SELECT g.state FROM glacier_retrievals g JOIN glacier_archives a ON a.id = g.archive_id WHERE filename = 'a'"
    )
    assert sql(catalog, of_a) == [("ready",)], "it is not paid for again while its copy is on offer"
    assert catalog.batch.open_retrievals() == []


def test_a_report_tells_what_failed_and_what_was_asked_for_already_did_not(catalog: Catalog) -> None:
    job = a_job(catalog, begun(catalog))
    told = [
        (key_of(catalog, "a"), 200, "", None),
        (key_of(catalog, "b"), 409, "RestoreAlreadyInProgress", None),
        (key_of(catalog, "c"), 500, "InternalError", None),
        (key_of(catalog, "d"), 403, "AccessDenied", None),
        (key_of(catalog, "e"), 500, "InternalError", None),
    ]
    assert catalog.batch.settle_retrievals(job, told, {}, None) == (3, {"InternalError": 2, "AccessDenied": 1})
    assert statuses(catalog) == "pending pending available available available"
    assert sql(catalog, "SELECT told->>'missed', state FROM batch_jobs") == [("3", "read")]


def test_what_a_job_asks_for_that_is_offered_by_then_stays_so(catalog: Catalog) -> None:
    job = a_job(catalog, begun(catalog), created=False)
    catalog.batch.manifest_written(job["id"], "etag", job["objects"])
    offered(catalog, "a")
    sql(catalog, "UPDATE glacier_archives SET retrieval_status = 'available' WHERE filename = 'a'")
    placed(catalog, "b")
    catalog.batch.retrievals_created(job, "job of AWS")
    assert statuses(catalog) == "ready exists pending pending pending"


def test_a_job_is_moved_on_once(catalog: Catalog) -> None:
    job = a_job(catalog, begun(catalog))
    with pytest.raises(IllegalMove):
        catalog.batch.retrievals_created(job, "another job of AWS")
    catalog.batch.settle_retrievals(job, [], {}, None)
    with pytest.raises(IllegalMove):
        catalog.batch.settle_retrievals(job, [], {}, None)
    with pytest.raises(IllegalMove):
        catalog.batch.release_retrievals(job, "It is gone.")


def test_the_jobs_of_others_and_of_verifications_ask_for_nothing_of_a_restore(
    catalog: Catalog, catalog_database: Server
) -> None:
    job = a_job(catalog, begun(catalog))
    with a_catalog(catalog_database, application="cms") as other:
        a_backup(other, 1, ["x"])
        assert other.batch.open_retrievals() == []
    before = datetime.now(UTC) + timedelta(hours=1)
    proof_id = catalog.proofs.open(ProofKind.VERIFICATION, method="content")
    due = catalog.batch.due(before)[0]
    catalog.batch.plan(proof_id, due, operation="S3ComputeObjectChecksum", before=before)
    assert [one["id"] for one in catalog.batch.open_retrievals()] == [job["id"]]


DEATHS = {
    "plan_retrieval_job": "planned",
    "note_batch": "planned",
    "confirm_retrieval_job": "created",
    "job_failed": "given up",
    "reported_failures": "read",
    "job_read": "read",
}


@pytest.mark.parametrize("statement", DEATHS)
def test_a_process_that_dies_at_any_statement_has_done_all_of_a_step_or_nothing(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    restore_id, step = begun(catalog), DEATHS[statement]

    def do() -> None:
        if step == "planned":
            catalog.batch.plan_retrievals(restore_id, STORE, tier="Bulk", days=3)
        elif step == "created":
            catalog.batch.retrievals_created(job, "job of AWS")
        elif step == "given up":
            catalog.batch.release_retrievals(job, "It is gone.")
        else:
            catalog.batch.settle_retrievals(job, [(key_of(catalog, "a"), 202, "", None)], {}, None)

    if step != "planned":
        job = a_job(catalog, restore_id, created=step != "created")
    before = _state(catalog)
    with monkeypatch.context() as patch, suppress(Killed):
        for name in ("run", "row", "rows"):
            patch.setattr(Database, name, _dying(getattr(Database, name), statement))
        do()
        raise AssertionError("It lives.")
    assert _state(catalog) == before
    do()
    assert _state(catalog) != before


def _dying(usual: Any, statement: str) -> Any:
    def ask(database: Database, name: str, /, **parameters: Any) -> Any:
        if name == statement:
            raise Killed
        return usual(database, name, **parameters)

    return ask


def _state(catalog: Catalog) -> Iterable[object]:
    return (
        statuses(catalog),
        sql(catalog, "SELECT archive_id, state, confirmed, job_id FROM glacier_retrievals ORDER BY id"),
        sql(catalog, "SELECT id, state, objects FROM batch_jobs ORDER BY id"),
        sql(catalog, "SELECT outcome FROM restores"),
    )
