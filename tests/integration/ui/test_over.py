"""What Airflow says is over turns no wheel, and the lease it left is freed on the page, by who may."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.postgres import Server
from tests.integration.catalog.test_backups import a_backup, a_run
from tests.integration.ui.conftest import ADMIN, DAGS, STRANGER, VIEWER, Get, Person, Site

Same = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}


@pytest.mark.parametrize("how", ["failed", "success", "deleted"])
@pytest.mark.parametrize("kind", ["backup", "restore"])
def test_no_wheel_is_turned_for_a_run_that_is_over(
    site: Site, get: Get, catalog: Catalog, catalog_database: Server, kind: str, how: str
) -> None:
    """However a person ended it: marked failed, marked success, deleted while it was at work or waited."""
    run = a_run(9)
    if kind == "backup":
        catalog.backups.open(run)
    else:
        backup_id = a_backup(catalog, 1, ["a.pdf"])
        catalog.restores.open(run, backup_id, RestoreRequest(backup_id))
    assert get("/applications/dms/work")["over"] == []
    site.planned.over[run.dag_id, run.dag_run_id] = how
    if kind == "backup" and how == "deleted":
        assert get("/applications/dms/work")["over"] == []  # another Airflow's, perhaps, and at work
        quiet_for_long(catalog_database)
    assert get("/applications/dms/work")["over"] == [kind]
    assert get("/runs", dag_id=run.dag_id, dag_run_id=run.dag_run_id)["over"] == [kind]
    answer = free(site.seen_by(ADMIN))
    assert answer.status_code == 200, answer.text
    assert get("/applications/dms/work") | {"now": None} == {
        "application": "dms", "now": None, "backup": None, "restore": None, "over": [], "lease": None, "may_free": True
    }  # fmt: skip


def quiet_for_long(server: Server) -> None:
    """Nobody prolonged the lease for a while."""
    with server.connect(autocommit=True) as connection:
        connection.execute("UPDATE glacier_catalog.applications SET lease_prolonged_at = now() - interval '5 minutes'")


def free(client: TestClient, headers: dict[str, str] | None = None, **body: Any) -> Any:
    return client.post("/api/applications/dms/free-lease", json=body, headers=Same if headers is None else headers)


def test_who_holds_the_lease_is_told(site: Site, get: Get, catalog: Catalog) -> None:
    assert get("/applications/dms/work")["lease"] is None
    run = a_run(1)
    backup_id = catalog.backups.open(run)
    lease = get("/applications/dms/work")["lease"]
    assert (lease["holder"], lease["dag_run_id"], lease["ended"]) == (f"backup {backup_id}", run.dag_run_id, None)
    site.planned.over[run.dag_id, run.dag_run_id] = "success"
    assert get("/applications/dms/work")["lease"]["ended"] == "success"


def test_the_lease_of_a_run_that_is_over_is_freed(site: Site, admin: TestClient, catalog: Catalog) -> None:
    run = a_run(1)
    backup_id = catalog.backups.open(run)
    site.planned.over[run.dag_id, run.dag_run_id] = "failed"
    answer = free(admin)
    assert (answer.status_code, answer.json()["freed"], answer.json()["state"]) == (
        200,
        f"backup {backup_id}",
        "failed",
    )
    assert answer.json()["text"].startswith(f"backup {backup_id} holds the lease of dms since 20")
    assert answer.json()["text"].endswith("and failed. The lease is free.")
    assert catalog.backups.get(backup_id)["state"] == "failed"
    assert free(admin).json()["text"] == "Nobody holds the lease of dms."


def test_the_lease_of_a_run_that_may_be_alive_is_freed_by_force_alone(admin: TestClient, catalog: Catalog) -> None:
    backup_id = catalog.backups.open(a_run(1))
    answer = free(admin)
    assert (answer.status_code, answer.json()["kind"]) == (409, "LeaseHeld")
    assert "by typing the name" in answer.json()["hint"]
    assert catalog.backups.get(backup_id)["state"] == "running"
    assert free(admin, force=True).json()["freed"] == f"backup {backup_id}"
    assert catalog.backups.get(backup_id)["state"] == "failed"


@pytest.mark.parametrize("person", [VIEWER, STRANGER, Person(reads=DAGS, starts=DAGS[1:])])
def test_who_may_not_start_the_runs_frees_no_lease(site: Site, catalog: Catalog, person: Person) -> None:
    catalog.backups.open(a_run(1))
    assert free(site.seen_by(person), force=True).status_code == 403
    lease = catalog.backups.lease()
    assert lease is not None
    assert lease["held"]


def test_a_lease_is_freed_from_the_page_alone(admin: TestClient, catalog: Catalog) -> None:
    catalog.backups.open(a_run(1))
    assert free(admin, {"Sec-Fetch-Site": "cross-site", "Content-Type": "application/json"}).status_code == 403
    assert free(admin, {"Sec-Fetch-Site": "same-origin", "Content-Type": "text/plain"}).status_code == 415
    assert free(admin, force="x").status_code == 422
