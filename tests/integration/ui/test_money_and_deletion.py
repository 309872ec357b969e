"""What the API tells of costs, of tasks and their logs, and the deletion of a backup."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from fastapi.testclient import TestClient

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.prices import GB
from glacier_provider.errors import IllegalMove
from glacier_provider.postgres import Server
from glacier_provider.ui import access, looks, views
from glacier_provider.ui.looks import Paces
from tests.integration.catalog.test_backups import a_backup, a_run, dumped, scanned
from tests.integration.ui.conftest import DAGS, STRANGER, VIEWER, Get, Person, Planned, Site
from tests.integration.ui.test_api import Same, a_restore

KIB = 1024
#: Three archives of 25 bytes in all, in GLACIER: each with 32 KB at its price and 8 KB as STANDARD.
MONTHLY = (Decimal(25 + 3 * 32 * KIB) * Decimal("0.0036") + Decimal(3 * 8 * KIB) * Decimal("0.023")) / GB


@pytest.fixture
def two(catalog: Catalog) -> list[int]:
    """Two complete backups: b.pdf goes after the first."""
    return [a_backup(catalog, 1, ["a.pdf", "b.pdf"]), a_backup(catalog, 2, ["a.pdf"])]


def in_directory(database: Server, **changes: Any) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        for column, value in changes.items():
            connection.execute(f"UPDATE glacier_archives SET {column} = %s".encode(), [value])


# --- costs ---


def test_a_card_tells_what_the_archives_cost_a_month(get: Get, two: list[int]) -> None:
    cost = get("/applications/dms")["cost"]
    # Two files and two dumps in GLACIER; the two manifests are STANDARD.
    assert (cost["archives"], cost["bytes"], cost["currency"]) == (6, 40, "USD")
    assert {one["store_class"]: one["archives"] for one in cost["classes"]} == {"GLACIER": 4, "STANDARD": 2}
    expected = sum(Decimal(one["monthly"]) for one in cost["classes"])
    assert abs(Decimal(cost["monthly"]) - expected) <= Decimal("0.000002")
    assert cost["prices"] == {
        "currency": "USD",
        "region": "us-east-1",
        "as_of": "2026-11-21",
        "source": "https://aws.amazon.com/s3/pricing/",
        "overridden": False,
    }


def test_an_application_without_archives_has_no_cost(get: Get) -> None:
    assert get("/applications/dms")["cost"] is None


def test_a_backup_tells_what_it_added(get: Get, catalog: Catalog, catalog_database: Server) -> None:
    first = a_backup(catalog, 1, ["a.pdf", "b.pdf"])
    cost = get(f"/applications/dms/backups/{first}")["cost"]
    manifest = Decimal(5) / GB * Decimal("0.023")
    assert Decimal(cost["monthly"]) == (MONTHLY + manifest).quantize(Decimal("0.000001"))
    sent = 3 * Decimal("0.00003") + Decimal("0.000005")
    looks = 6 * Decimal("0.000005") + (2 + 2 * 3) * Decimal("0.0000004")  # writes and lists; HEADs and GETs
    assert Decimal(cost["upload"]) == (sent + looks).quantize(Decimal("0.000001"))
    (row,) = get("/applications/dms/backups")["backups"]
    assert row["cost"] == cost


def test_a_card_tells_what_everything_would_cost_to_retrieve_and_to_delete_today(
    get: Get, two: list[int], catalog_database: Server
) -> None:
    in_directory(catalog_database, stored_size=GB)
    cost = get("/applications/dms")["cost"]
    assert list(cost["retrieve_everything"]) == ["Expedited", "Standard", "Bulk"]
    assert Decimal(cost["retrieve_everything"]["Standard"]) > Decimal(cost["retrieve_everything"]["Bulk"]) > 0
    # GLACIER is billed for 90 days at least: about three months of the storage.
    (cold,) = [Decimal(one["monthly"]) for one in cost["classes"] if one["store_class"] == "GLACIER"]
    assert Decimal(cost["delete_today"]) == pytest.approx(3 * cold, rel=Decimal("0.05"))
    assert cost["retrieval_days"] == 7


def test_own_prices_count(get: Get, site: Site, two: list[int], catalog_database: Server) -> None:
    in_directory(catalog_database, stored_size=GB)
    before = Decimal(get("/applications/dms")["cost"]["monthly"])
    site.configure("dms", prices={"currency": "EUR", "classes": {"GLACIER": {"storage": 0.0072}}})
    cost = get("/applications/dms")["cost"]
    assert (cost["currency"], cost["prices"]["overridden"]) == ("EUR", True)
    assert Decimal(cost["monthly"]) - before == pytest.approx(Decimal("0.0144"), abs=Decimal("0.0001"))


def test_the_preview_tells_the_money_of_each_tier(get: Get, two: list[int], catalog_database: Server) -> None:
    in_directory(catalog_database, retrieval_status="available", stored_size=10 * GB)
    plan = get(f"/applications/dms/backups/{two[0]}/restore-preview", days=30)
    costs = {tier["tier"]: tier["cost"] for tier in plan["tiers"]}
    assert list(costs) == ["Expedited", "Standard", "Bulk"]
    standard = {name: float(value) for name, value in costs["Standard"].items()}
    assert (standard["requests"], standard["bytes"], standard["transfer_out"]) == (0.00015, 0.3, 0)
    # for 30 days, and up to the midnight after them
    assert 0.69 <= standard["temporary_copy"] <= 0.69 * 31.5 / 30
    assert standard["total"] == pytest.approx(sum(standard.values()) - standard["total"], abs=0.00001)  # rounded sums
    assert costs["Expedited"]["bytes"] == "0.900000"
    assert 0.69 <= float(costs["Bulk"]["total"]) <= 0.69 * 31.5 / 30
    assert (plan["tier"], plan["cost"], plan["requests"]) == ("Standard", costs["Standard"], 3)
    assert (plan["budget"], plan["over_budget"]) == (None, False)


def test_the_preview_tells_when_the_budget_is_passed(
    get: Get, site: Site, two: list[int], catalog_database: Server
) -> None:
    in_directory(catalog_database, retrieval_status="available", stored_size=10 * GB)
    site.configure("dms", restore={"budget": 0.5})
    path = f"/applications/dms/backups/{two[0]}/restore-preview"
    assert (get(path)["budget"], get(path)["over_budget"]) == ("0.500000", False)
    assert get(path, days=30)["over_budget"] is True
    assert get(path, tier="Expedited")["over_budget"] is True


def test_what_is_read_without_a_retrieval_still_costs(get: Get, two: list[int], catalog_database: Server) -> None:
    uri = "s3://bucket/prefix?storage_class=GLACIER_IR"
    in_directory(catalog_database, retrieval_status="available", stored_size=GB, store_uri=uri)
    plan = get(f"/applications/dms/backups/{two[0]}/restore-preview")
    assert (plan["tiers"], plan["requests"]) == ([], 0)
    assert plan["cost"]["bytes"] == "0.090000"


def test_copies_whose_time_is_over_are_not_told_as_readable(
    get: Get, catalog: Catalog, two: list[int], catalog_database: Server
) -> None:
    """The page reads only, and yet sees what is over: else it tells 0.00 USD of what is paid for again."""
    assert a_restore(catalog, two[-1]) == 1
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE glacier_catalog.glacier_archives SET retrieval_status = 'ready' WHERE kind <> 'manifest'"
        )
        connection.execute(
            "INSERT INTO glacier_catalog.glacier_retrievals"
            " (archive_id, restore_id, tier, days, state, confirmed, expires_at)"
            " SELECT id, 1, 'Bulk', 1, 'ready', true, now() - interval '1 minute' FROM glacier_catalog.glacier_archives"
            " WHERE kind <> 'manifest'"
        )
    plan = get(f"/applications/dms/backups/{two[-1]}/restore-preview")
    assert (plan["ready"]["archives"], plan["requests"]) == (0, 2)
    assert Decimal(plan["cost"]["total"]) > 0


def test_the_rule_of_what_is_over_stands_in_one_place() -> None:
    """Every other statement finds it applied."""
    from pathlib import Path

    import glacier_provider.catalog

    sql = Path(glacier_provider.catalog.__file__).parent / "sql"
    told = [line for path in sql.glob("*.sql") for line in path.read_text().splitlines() if "expires_at" in line]
    assert [line for line in told if "_timestamp()" in line and "ready_at" not in line] == [
        "     WHERE g.state = 'ready' AND g.expires_at <= statement_timestamp() + make_interval(secs => %(margin)s)"
    ]
    assert len(told) == 3, "two lines note it, one looks at it"


def test_files_set_aside_cost_nothing(get: Get, catalog: Catalog, two: list[int], catalog_database: Server) -> None:
    in_directory(catalog_database, stored_size=GB)
    restore_id = a_restore(catalog, two[1])
    catalog.restores.plan_orphans(
        restore_id, two[1], [("b.pdf", GB, False)], orphan_directory="/srv/orphans", subdirectory="restore-1"
    )
    (page,) = list(catalog.restores.orphans(restore_id, "planned"))
    catalog.restores.orphans_moved([row["id"] for row in page])
    catalog.restores.start(restore_id)
    plan = get(f"/applications/dms/backups/{two[0]}/restore-preview", part="files")
    assert (plan["set_aside"]["archives"], plan["to_request"]["archives"]) == (1, 1)  # a.pdf is believed to be gone
    assert plan["cost"]["bytes"] == "0.010000"


# --- rates ---


def test_an_upload_tells_its_pace(get: Get, catalog: Catalog, catalog_database: Server) -> None:
    backup_id = catalog.backups.open(a_run(1))
    dumped(catalog, backup_id)
    scanned(catalog, backup_id, ["a", "b", "c", "d"])
    assert get("/applications/dms/work")["backup"]["rate"] is None, "nothing was sent yet"
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        connection.execute(
            "UPDATE glacier_archives SET state = 'archived', key = 'k', checksum = 'c', stored_size = 10,"
            " retrieval_status = 'exists' WHERE filename = 'a'"
        )
        connection.execute("UPDATE application_data_backups SET scanned_at = now() - interval '1000 s'")
    work = get("/applications/dms/work")["backup"]
    assert (work["phase"], work["left"], work["total"]["bytes"]) == ("upload", {"archives": 3, "bytes": 30}, 40)
    assert work["rate"]["bytes_per_second"] == pytest.approx(0.01, rel=0.1)
    assert work["rate"]["remaining_seconds"] == pytest.approx(3000, rel=0.1)


def test_a_download_tells_its_pace(
    get: Get, catalog: Catalog, two: list[int], catalog_database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By two looks: what was in place before a copy was asked for once more did not come since that one was ready."""
    monkeypatch.setattr(views, "_paces", Paces())
    monkeypatch.setattr(looks, "_APART", timedelta(0))
    restore_id = a_restore(catalog, two[0])
    catalog.restores.start(restore_id)
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        connection.execute("UPDATE glacier_archives SET retrieval_status = 'ready' WHERE state = 'archived'")
        connection.execute(
            "INSERT INTO glacier_retrievals (archive_id, restore_id, tier, days, state, ready_at)"
            " SELECT archive_id, restore_id, 'Bulk', 1, 'ready', now() FROM restore_archives"
        )
        connection.execute("UPDATE glacier_archives SET retrieval_status = 'exists' WHERE filename = 'a.pdf'")
        work = get("/applications/dms/work")["restore"]
        assert (work["phase"], work["total"]["bytes"], work["expected"], work["rate"]) == ("download", 25, [], None)
        connection.execute("UPDATE glacier_archives SET retrieval_status = 'exists' WHERE filename = 'b.pdf'")
    rate = get("/applications/dms/work")["restore"]["rate"]
    assert rate["bytes_per_second"] * rate["remaining_seconds"] == pytest.approx(5)
    assert rate["bytes_per_second"] > 0


def test_empty_files_are_not_asked_for_and_do_not_seem_to_be(
    get: Get, catalog: Catalog, two: list[int], catalog_database: Server
) -> None:
    restore_id = a_restore(catalog, two[0])
    catalog.restores.start(restore_id)
    in_directory(catalog_database, retrieval_status="pending")
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        connection.execute(
            "UPDATE glacier_archives SET retrieval_status = 'available', stored_size = 0 WHERE filename = 'a.pdf'"
        )
        assert get("/applications/dms/work")["restore"]["phase"] == "wait"
        connection.execute("UPDATE glacier_archives SET retrieval_status = 'exists' WHERE filename <> 'a.pdf'")
        assert get("/applications/dms/work")["restore"]["phase"] == "download"


# --- task logs ---


def test_the_tasks_of_a_run_lead_to_their_logs(get: Get, site: Site) -> None:
    began = datetime(2026, 11, 1, tzinfo=UTC)
    site.planned.runs["glacier_backup__dms", "scheduled__2026-11-01T00:00:00+00:00"] = [
        access.TaskState("open_backup", -1, "success", 1, began, began + timedelta(seconds=2)),
        access.TaskState("upload_files", 3, None, 0, None, None),
    ]
    found = get("/runs/tasks", dag_id="glacier_backup__dms", dag_run_id="scheduled__2026-11-01T00:00:00+00:00")
    run = "dags/glacier_backup__dms/runs/scheduled__2026-11-01T00%3A00%3A00%2B00%3A00"
    assert (found["url"], found["state"]) == (run, "success")
    assert [task["log_url"] for task in found["tasks"]] == [
        f"{run}/tasks/open_backup",
        f"{run}/tasks/upload_files/mapped/3",
    ]
    assert found["tasks"][0]["started_at"] == "2026-11-01T00:00:00Z"


@pytest.mark.parametrize(
    ("dag_id", "status"),
    [("glacier_backup__dms", 404), ("tutorial", 404), ("other__dms", 404), ("glacier_x__dms", 404)],
)
def test_a_run_that_airflow_does_not_have_is_said(admin: TestClient, dag_id: str, status: int) -> None:
    answer = admin.get("/api/runs/tasks", params={"dag_id": dag_id, "dag_run_id": "x"})
    assert answer.status_code == status


def test_tasks_are_shown_to_those_who_may_read_the_dag(site: Site) -> None:
    question = {"dag_id": "glacier_restore__dms", "dag_run_id": "x"}
    assert site.seen_by(Person(reads=DAGS[:1])).get("/api/runs/tasks", params=question).status_code == 403
    assert site.seen_by(STRANGER).get("/api/runs/tasks", params=question).status_code == 403


# --- deletion ---


def delete(
    client: TestClient, backup_id: int, body: Any = None, headers: dict[str, str] | None = None, **changes: Any
) -> Any:
    given = {"confirm": f"dms-{backup_id}", **changes} if body is None else body
    path = f"/api/applications/dms/backups/{backup_id}/delete"
    return client.post(path, json=given, headers=Same if headers is None else headers)


def test_the_plan_of_a_deletion_tells_what_goes_and_what_it_costs(
    get: Get, two: list[int], catalog_database: Server
) -> None:
    in_directory(catalog_database, stored_size=GB, archived_at=datetime.now(UTC) - timedelta(days=30))
    plan = get(f"/applications/dms/backups/{two[0]}/deletion-plan")
    assert (plan["confirm"], plan["refused"], plan["delete_dag"]) == (f"dms-{two[0]}", None, "glacier_delete__dms")
    assert {one["kind"]: (one["archives"], one["age_days"]) for one in plan["goes"]} == {
        "database": (1, 30),
        "file": (1, 30),  # b.pdf; a.pdf is in the second backup and in the directory
        "manifest": (1, 30),
    }
    # Two GB and two times 32 KB in GLACIER for the 60 days that are left; a manifest is STANDARD and free to go.
    assert Decimal(plan["fee"]) == pytest.approx(Decimal("0.0144"), abs=Decimal("0.000002"))
    assert Decimal(plan["saves_monthly"]) == pytest.approx(Decimal("0.0302"), abs=Decimal("0.0001"))
    assert [one["archives"] for one in plan["stays"]] == [1]


def test_the_plan_of_a_deletion_changes_nothing(get: Get, catalog: Catalog, two: list[int], site: Site) -> None:
    get(f"/applications/dms/backups/{two[0]}/deletion-plan")
    assert get(f"/applications/dms/backups/{two[0]}")["state"] == "complete"
    assert site.planned.started == []


def test_a_confirmed_deletion_is_started_in_the_persons_name(site: Site, two: list[int]) -> None:
    person = Person(reads=DAGS, starts=["glacier_delete__dms"], name="uma")
    answer = delete(site.seen_by(person), two[0])
    assert (answer.status_code, answer.json()) == (
        201,
        {
            "dag_id": "glacier_delete__dms",
            "dag_run_id": "manual__1",
            "url": "dags/glacier_delete__dms/runs/manual__1",
        },
    )
    conf = {"backup_id": two[0], "confirm": f"dms-{two[0]}", "force": False}
    assert site.planned.started == [("glacier_delete__dms", conf, "uma")]


@pytest.mark.parametrize("person", [VIEWER, STRANGER, Person(reads=DAGS, starts=(DAGS[0], DAGS[1]))])
def test_who_may_not_start_deletions_deletes_nothing(site: Site, two: list[int], person: Person) -> None:
    assert delete(site.seen_by(person), two[0]).status_code == 403
    assert site.planned.started == []


def test_without_a_login_nothing_is_deleted(site: Site, two: list[int]) -> None:
    site.app.dependency_overrides.pop(access.current_rights, None)
    assert delete(TestClient(site.app), two[0]).status_code == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        *(({"confirm": words}, 409) for words in ("dms-99", "dms", "DMS-1", "1")),
        *((body, 422) for body in ({"confirm": ""}, {"confirm": True}, {}, [], {"confirm": "dms-1", "more": 1})),
    ],
)
def test_a_deletion_has_to_be_confirmed_by_typing(
    admin: TestClient, site: Site, two: list[int], body: Any, status: int
) -> None:
    assert delete(admin, two[0], body).status_code == status
    assert site.planned.started == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Content-Type": "application/json"},
        {"Sec-Fetch-Site": "same-site", "Content-Type": "application/json"},
        {"Origin": "https://evil.example", "Content-Type": "application/json"},
    ],
)
def test_other_sites_delete_nothing(admin: TestClient, site: Site, two: list[int], headers: dict[str, str]) -> None:
    assert delete(admin, two[0], headers=headers).status_code == 403
    assert site.planned.started == []


def test_what_a_form_can_send_deletes_nothing(admin: TestClient, site: Site, two: list[int]) -> None:
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "text/plain"}
    assert delete(admin, two[0], headers=headers).status_code == 415
    assert admin.get(f"/api/applications/dms/backups/{two[0]}/delete").status_code == 405
    assert site.planned.started == []


def test_the_newest_backup_is_deleted_by_force_alone(get: Get, admin: TestClient, site: Site, two: list[int]) -> None:
    plan = get(f"/applications/dms/backups/{two[1]}/deletion-plan")
    assert plan["refused"] is not None
    assert plan["forcible"] is True
    refused = delete(admin, two[1])
    assert (refused.status_code, refused.json()["kind"]) == (409, "BackupNotDeletable")
    assert delete(admin, two[1], force=True).status_code == 201
    assert [conf["force"] for _, conf, _ in site.planned.started] == [True]


def test_a_backup_that_is_not_there_or_of_another_application_is_not_deleted(
    admin: TestClient, site: Site, two: list[int]
) -> None:
    site.configure("other")
    assert delete(admin, 999).status_code == 404
    path = f"/api/applications/other/backups/{two[0]}/delete"
    assert admin.post(path, json={"confirm": f"other-{two[0]}"}, headers=Same).status_code == 404
    assert admin.get(f"/api/applications/other/backups/{two[0]}/deletion-plan").status_code == 404


def test_a_deletion_that_airflow_cannot_start_is_said(
    admin: TestClient, two: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Planned, dag_id: str, conf: dict[str, Any], *, by: str) -> str:
        raise IllegalMove(f"Airflow has no DAG {dag_id}.")

    monkeypatch.setattr(Planned, "start", refuse)
    answer = delete(admin, two[0])
    assert (answer.status_code, answer.json()["detail"]) == (409, "Airflow has no DAG glacier_delete__dms.")
