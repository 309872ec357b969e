"""When it was proven last that the backups can be brought back, on cards, in tables and on the command line."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.proof import Finding, ProofKind
from tests.integration.catalog.test_backups import a_backup, a_run
from tests.integration.ui.conftest import Get, Site

FIGURES = {
    "database": {"bytes": 1_200_000_000, "tables": 41},
    "files": {"checked": 100},
    "times": {"recovery": 380.0},
}


def a_drill(catalog: Catalog, backup_id: int, *findings: Finding) -> int:
    proof_id = catalog.proofs.open(ProofKind.DRILL, method="scratch", backup_id=backup_id)
    for step, figures in FIGURES.items():
        catalog.proofs.note(proof_id, step, figures=figures)
    catalog.proofs.note(proof_id, "database", figures=FIGURES["database"], findings=findings)
    catalog.proofs.close(proof_id)
    return proof_id


def a_verification(catalog: Catalog, *, error: str | None = None, ago: timedelta = timedelta()) -> int:
    proof_id = catalog.proofs.open(ProofKind.VERIFICATION, method="listing")
    catalog.proofs.note(proof_id, "listing", figures={"listed": 1200})
    catalog.proofs.close(proof_id, error=error)
    with catalog.transaction():
        catalog.proofs._db.connection().execute(
            "UPDATE proofs SET began_at = began_at - %s, ended_at = ended_at - %s WHERE id = %s", [ago, ago, proof_id]
        )
    return proof_id


def card(site: Site, get: Get) -> Any:
    return get("/applications/dms")


def standings(found: Any) -> dict[str, str]:
    return {one["kind"]: one["standing"] for one in found["proofs"]}


def test_nothing_that_was_not_asked_for_is_missed(site: Site, get: Get, catalog: Catalog) -> None:
    a_backup(catalog, 1, ["a"])
    found = card(site, get)
    assert (found["proofs"], found["health"]) == ([], "fresh")
    site.configure("dms", verify={"by": "listing", "schedule": "@weekly"})
    found = card(site, get)
    assert (standings(found), found["health"]) == ({"verification": "never"}, "fresh"), "one is still to come"


def test_what_was_due_and_never_done_makes_the_card_red(site: Site, get: Get, catalog: Catalog) -> None:
    """As the alerts count it: since the application is known."""
    a_backup(catalog, 1, ["a"])
    site.configure("dms", drill={"which": "newest"}, verify={"by": "listing", "schedule": None})
    with catalog.transaction():
        catalog.proofs._db.connection().execute("UPDATE applications SET created_at = created_at - interval '60 days'")
    found = card(site, get)
    assert (standings(found), found["health"]) == ({"drill": "overdue", "verification": "never"}, "unproven")
    drill = found["proofs"][0]
    assert (drill["ended_at"], drill["passed_at"]) == (None, None)
    assert "glacier_drill__dms is paused" in drill["hint"]
    site.configure("dms", start=f"{datetime.now():%Y-%m-%d}")
    assert card(site, get)["health"] == "fresh", "nothing was due before its first day"


def test_what_was_proven_is_told_with_its_figures(site: Site, get: Get, catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, ["a"])
    a_drill(catalog, backup_id)
    a_verification(catalog)
    found = card(site, get)
    assert [(one["kind"], one["standing"], one["words"], one["backup_id"], one["hint"]) for one in found["proofs"]] == [
        ("drill", "ok", "1.2 GB, 41 tables, 100 files, 6 min 20 s", backup_id, None),
        ("verification", "ok", "1,200 archives listed", None, None),
    ]
    assert found["health"] == "fresh"
    (row,) = get("/applications/dms/backups")["backups"]
    assert row["drilled"]["state"] == "passed"
    detail = get(f"/applications/dms/backups/{backup_id}")
    assert [(one["kind"], one["state"], one["evidence"]) for one in detail["proofs"]] == [
        ("verification", "passed", None),
        ("drill", "passed", None),
    ]


def test_what_failed_makes_the_card_red_and_says_what_to_do(site: Site, get: Get, catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, ["a"])
    a_drill(catalog, backup_id)
    a_drill(catalog, backup_id, Finding("row_counts", "Rows are missing in:", 1, ("film",)))
    found = card(site, get)
    (drill,) = found["proofs"]
    assert (found["health"], drill["standing"], drill["told"]) == ("unproven", "failed", ["Rows are missing in: film"])
    assert drill["hint"] == "Mend what it names, and begin another drill: glacier-backup drill dms."
    assert drill["words"] == "1.2 GB, 41 tables, 100 files, 6 min 20 s", "of the one that passed before"
    (row,) = get("/applications/dms/backups")["backups"]
    assert row["drilled"]["state"] == "found"
    a_drill(catalog, backup_id)
    assert card(site, get)["health"] == "fresh"


def test_what_a_restore_found_is_verified_by_a_command_where_no_dag_does(
    site: Site, get: Get, catalog: Catalog
) -> None:
    backup_id = a_backup(catalog, 1, ["a"])
    kind, finding = ProofKind.VERIFICATION, Finding("lost", "LOST: 1 archive cannot be brought back:", 1, ("a",))
    catalog.proofs.found_by(kind, method="restore", backup_id=backup_id, figures={"lost": 1}, finding=finding)
    (verification,) = card(site, get)["proofs"]
    assert verification["standing"] == "failed"
    assert verification["hint"] == "Mend what it names, and begin another verification: glacier-backup verify dms."
    site.configure("dms", verify={"by": "listing", "schedule": "@weekly"})
    (verification,) = card(site, get)["proofs"]
    assert verification["hint"].endswith("the DAG glacier_verify__dms, or glacier-backup verify dms.")
    a_verification(catalog)
    assert card(site, get)["health"] == "fresh"


@pytest.mark.parametrize(("days", "health"), [(7, "fresh"), (15, "unproven")])
def test_what_is_overdue_makes_the_card_red(site: Site, get: Get, catalog: Catalog, days: int, health: str) -> None:
    site.configure("dms", verify={"by": "listing", "schedule": "@weekly"})
    a_backup(catalog, 1, ["a"])
    a_verification(catalog, ago=timedelta(days=days))
    found = card(site, get)
    assert found["health"] == health
    if health == "unproven":
        assert "glacier_verify__dms is paused" in found["proofs"][0]["hint"]
        assert datetime.fromisoformat(found["proofs"][0]["passed_at"])


def test_the_checks_of_restores_are_told_with_the_proofs_of_their_backup(
    site: Site, get: Get, catalog: Catalog
) -> None:
    backup_id = a_backup(catalog, 1, ["a"])
    checks = [{"name": "row_counts", "passed": True}, {"name": "schema", "passed": True}]
    for outcome, error in ((checks, ""), ([], "What was restored is not what was dumped: schema: 1 of 3 differ.")):
        into = {"database": "other"} if error else None
        request = RestoreRequest.from_params({"backup_id": backup_id, "into": into})
        restore_id = catalog.restores.open(a_run(200 + len(error)), backup_id, request)
        catalog.restores.add_outcome(restore_id, database={"checks": outcome})
        catalog.restores.fail(restore_id, error or "Its files are another matter.")
    catalog.restores.open(a_run(201), backup_id, RestoreRequest(backup_id))  # nothing was checked yet
    detail = get(f"/applications/dms/backups/{backup_id}")
    told = [(one["words"], one["elsewhere"], one["error"]) for one in detail["checked_restores"]]
    assert told == [
        ("0 checks passed", True, "What was restored is not what was dumped: schema: 1 of 3 differ."),
        ("2 checks passed", False, None),
    ]
