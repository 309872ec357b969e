"""What the API behind the page answers: to whom, and from a real catalog."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.postgres import Server
from glacier_provider.ui import access
from tests.integration.catalog.test_backups import STORE, a_backup, a_run, dumped, scanned, upload_all
from tests.integration.ui.conftest import ADMIN, DAGS, STRANGER, VIEWER, Get, Person, Site
from tests.support.counting import counted

Same = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}


@pytest.fixture
def three(catalog: Catalog) -> list[int]:
    """Three complete backups: a file comes, one goes."""
    return [
        a_backup(catalog, 1, ["a.pdf", "b.pdf"]),
        a_backup(catalog, 2, ["a.pdf", "b.pdf", "c.pdf"]),
        a_backup(catalog, 3, ["a.pdf", "c.pdf"]),
    ]


def at(server: Server, backup_id: int, opened: datetime) -> None:
    """Move a backup in time."""
    with server.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        connection.execute(
            "UPDATE application_data_backups SET opened_at = %s, closed_at = %s + interval '90 s' WHERE id = %s",
            [opened, opened, backup_id],
        )


def a_restore(catalog: Catalog, backup_id: int, **params: Any) -> int:
    """A planned restore of a backup whose files are all gone."""
    request = RestoreRequest.from_params({"backup_id": backup_id, **params})
    run = a_run(100 + backup_id)
    restore_id = catalog.restores.open(run, backup_id, request)
    catalog.restores.compare(restore_id, catalog.backups.get(backup_id), request, [], lambda aside: [])
    catalog.restores.record_plan(restore_id, {"tier": "Standard", "days": 7})
    return restore_id


# --- the overview ---


def test_an_application_without_backups_is_never_safe(get: Get) -> None:
    (card,) = get("/overview")["applications"]
    assert (card["name"], card["health"], card["complete"]) == ("dms", "never", None)
    assert card["schedule"] == "@daily"
    assert card["next_run"] == "2099-01-01T00:00:00Z"


def test_a_card_tells_what_the_last_complete_backup_protects(get: Get, three: list[int]) -> None:
    (card,) = get("/overview")["applications"]
    assert card["health"] == "fresh"
    assert card["complete"]["id"] == three[-1]
    assert (card["complete"]["files_count"], card["complete"]["files_bytes"]) == (2, 20)
    assert card["complete"]["database_bytes"] == 5
    assert card["calendar"]["days"][-1] == "c"
    assert [point["bytes"] for point in card["growth"]] == [25]


def test_a_failed_backup_after_a_complete_one_is_failing(get: Get, catalog: Catalog, three: list[int]) -> None:
    failed = catalog.backups.open(a_run(4))
    catalog.backups.fail(failed, "dump_database: no space left")
    (card,) = get("/overview")["applications"]
    assert (card["health"], card["newest"]["error"]) == ("failing", "dump_database: no space left")
    assert card["complete"]["id"] == three[-1]


def test_a_missed_backup_is_late_and_its_day_is_marked(
    get: Get, catalog_database: Server, three: list[int], site: Site
) -> None:
    now = datetime.now(UTC)
    for number, days in zip(three, (5, 4, 3), strict=True):
        at(catalog_database, number, now - timedelta(days=days))
    site.configure("dms", schedule=f"{now.minute} {now.hour} * * *")
    (card,) = get("/overview")["applications"]
    assert card["health"] == "late"
    assert datetime.fromisoformat(card["late_since"]) < now - timedelta(hours=6)
    assert card["calendar"]["days"][-6:-1] == "cccmm"


def test_a_day_whose_backup_was_deleted_since_is_no_day_on_which_it_failed(
    get: Get, catalog_database: Server, catalog: Catalog, three: list[int]
) -> None:
    """What retention lets go was complete: of a year most days would be red."""
    now, failed = datetime.now(UTC), catalog.backups.open(a_run(4))
    catalog.backups.fail(failed, "dump_database: no space left")
    for number, days in zip([*three, failed], (5, 4, 3, 3), strict=True):
        at(catalog_database, number, now - timedelta(days=days))
    for number in three[1:]:
        deleted = "UPDATE glacier_catalog.application_data_backups SET state = 'deleted' WHERE id = %s"
        with catalog_database.connect(autocommit=True) as connection:
            connection.execute(deleted, [number])
    (card,) = get("/overview")["applications"]
    assert card["calendar"]["days"][-6:-3] == "cdd"


def test_by_hand_alone_nothing_is_late(
    get: Get, site: Site, catalog_database: Server, catalog: Catalog, three: list[int]
) -> None:
    site.configure("dms", schedule=None)
    at(catalog_database, three[-1], datetime.now(UTC) - timedelta(days=200))
    (card,) = get("/overview")["applications"]
    assert card["health"] == "unscheduled"
    assert "m" not in card["calendar"]["days"]


def test_a_paused_dag_has_no_next_run(get: Get, site: Site) -> None:
    site.planned.known["glacier_backup__dms"] = access.ScheduledDag(True, datetime(2099, 1, 1, tzinfo=UTC))
    (card,) = get("/overview")["applications"]
    assert (card["paused"], card["next_run"]) == (True, None)


# --- backups ---


def test_a_page_of_backups_is_cut_by_the_database(get: Get, three: list[int]) -> None:
    first = get("/applications/dms/backups", limit=2)
    assert [backup["id"] for backup in first["backups"]] == [three[2], three[1]]
    assert first["total"] == 3
    rest = get("/applications/dms/backups", limit=2, offset=2)
    assert [backup["id"] for backup in rest["backups"]] == [three[0]]


@pytest.mark.parametrize(
    ("sort", "order", "expected"),
    [
        ("files", "desc", [1, 2, 0]),
        ("new_files", "desc", [0, 1, 2]),
        ("id", "asc", [0, 1, 2]),
        ("files", "asc", [0, 2, 1]),
    ],
)
def test_backups_are_sorted_by_the_database(
    get: Get, three: list[int], sort: str, order: str, expected: list[int]
) -> None:
    page = get("/applications/dms/backups", sort=sort, order=order)
    assert [backup["id"] for backup in page["backups"]] == [three[index] for index in expected]


def test_backups_are_filtered_by_state_and_time(
    get: Get, catalog: Catalog, catalog_database: Server, three: list[int]
) -> None:
    failed = catalog.backups.open(a_run(4))
    catalog.backups.fail(failed, "why")
    at(catalog_database, three[0], datetime(2026, 1, 1, tzinfo=UTC))
    assert [one["id"] for one in get("/applications/dms/backups", state="failed")["backups"]] == [failed]
    assert get("/applications/dms/backups", state=["failed", "complete"])["total"] == 4
    page = get("/applications/dms/backups", since="2025-12-31T00:00:00Z", until="2026-01-02T00:00:00Z")
    assert ([one["id"] for one in page["backups"]], page["total"]) == ([three[0]], 1)


def test_the_bar_of_every_backup_counts_its_own_archives(get: Get, three: list[int]) -> None:
    bars = {one["id"]: one["archives"] for one in get("/applications/dms/backups")["backups"]}
    # b.pdf vanished before the third: the first two backups would have to fetch it, and every one its dump.
    assert bars[three[0]] == {"available": {"archives": 2, "bytes": 15}, "exists": {"archives": 1, "bytes": 10}}
    assert bars[three[1]] == {"available": {"archives": 2, "bytes": 15}, "exists": {"archives": 2, "bytes": 20}}
    assert bars[three[2]] == {"available": {"archives": 1, "bytes": 5}, "exists": {"archives": 2, "bytes": 20}}


def test_the_bars_agree_with_a_count_archive_by_archive(get: Get, catalog: Catalog) -> None:
    names = [f"f{number:02}" for number in range(12)]
    made = [a_backup(catalog, n, names[n : n + 6] + names[: n % 3]) for n in range(1, 6)]
    for one in get("/applications/dms/backups")["backups"]:
        assert one["archives"] == {
            status: {"archives": amount.archives, "bytes": amount.bytes}
            for status, amount in counted(catalog, one["id"]).items()
        }
    assert len(made) == 5


def test_a_failed_backup_has_no_retrieval_status(get: Get, catalog: Catalog) -> None:
    failed = catalog.backups.open(a_run(1))
    catalog.backups.fail(failed, "why")
    (one,) = get("/applications/dms/backups")["backups"]
    assert (one["retrieval_status"], one["archives"]) == (None, {})


def test_a_backup_tells_its_dump_its_report_and_its_neighbours(get: Get, catalog: Catalog, three: list[int]) -> None:
    catalog.backups.add_to_report(three[1], skipped_count=1, skipped=["x: a socket"])
    one = get(f"/applications/dms/backups/{three[1]}")
    assert one["database"]["filename"] == "dms.dump"
    assert re.fullmatch("sha256:0{64}", one["database"]["checksum"])
    assert one["manifest"]["stored_size"] == 5
    assert one["report"]["skipped"] == ["x: a socket"]
    assert (one["previous"], one["next"], one["previous_complete"]) == (three[0], three[2], three[0])


def test_what_came_and_what_went(get: Get, three: list[int]) -> None:
    def names(backup_id: int, kind: str) -> list[str]:
        found = get(f"/applications/dms/backups/{backup_id}/changes", kind=kind)
        return [one["filename"] for one in found["files"]]

    assert names(three[0], "came") == ["a.pdf", "b.pdf"]
    assert names(three[1], "came") == ["c.pdf"]
    assert names(three[1], "went") == []
    assert (names(three[2], "came"), names(three[2], "went")) == ([], ["b.pdf"])


def test_files_are_found_by_a_part_of_their_name_page_by_page(get: Get, catalog: Catalog) -> None:
    one = a_backup(catalog, 1, [f"in/{number}_Report.pdf" for number in range(5)] + ["other", "in/5xReport.pdf"])
    path = f"/applications/dms/backups/{one}/files"
    first = get(path, containing="_report", limit=3)
    rest = get(path, containing="_report", limit=3, after=first["next"])
    names = [found["filename"] for found in first["files"] + rest["files"]]
    assert sorted(names) == [f"in/{number}_Report.pdf" for number in range(5)]
    assert rest["next"] is None


def test_in_which_backups_a_file_is(get: Get, three: list[int]) -> None:
    found = get("/applications/dms/files", containing="b.pdf")["files"]
    assert [(one["first_backup_id"], one["last_backup_id"]) for one in found] == [(three[0], three[1])]
    found = get("/applications/dms/files", containing="a.pdf")["files"]
    assert [(one["first_backup_id"], one["last_backup_id"]) for one in found] == [(three[0], None)]


def test_a_backup_of_another_application_is_not_there(
    site: Site, catalog_database: Server, three: list[int], admin: TestClient
) -> None:
    site.configure("other")
    assert admin.get(f"/api/applications/other/backups/{three[0]}").status_code == 404
    assert admin.get(f"/api/applications/other/backups/{three[0]}/files").json()["files"] == []
    assert admin.get(f"/api/applications/other/backups/{three[0]}/changes").status_code == 404
    assert admin.get("/api/applications/other/files?containing=pdf").json()["files"] == []


# --- what a restore would take ---


def test_the_preview_of_a_restore_counts_what_is_missing(get: Get, three: list[int]) -> None:
    plan = get(f"/applications/dms/backups/{three[0]}/restore-preview")
    assert plan["to_request"] == {"archives": 2, "bytes": 15}
    assert plan["present"] == {"archives": 1, "bytes": 10}
    assert (plan["tier"], plan["days"], plan["database_bytes"]) == ("Standard", 7, 5)
    hours = {tier["tier"]: tier["hours"] for tier in plan["tiers"]}
    assert hours["Standard"] == [3, 5]
    assert plan["as_of"] is not None


def test_the_preview_of_a_part_leaves_the_rest_out(get: Get, three: list[int]) -> None:
    path = f"/applications/dms/backups/{three[0]}/restore-preview"
    assert get(path, part="database")["to_request"] == {"archives": 1, "bytes": 5}
    assert get(path, part="files")["to_request"] == {"archives": 1, "bytes": 10}
    assert get(path, part="files")["database_bytes"] == 0


def test_the_preview_writes_nothing(get: Get, catalog: Catalog, three: list[int]) -> None:
    get(f"/applications/dms/backups/{three[0]}/restore-preview")
    assert catalog.lists.restores() == []


def test_files_set_aside_are_not_paid_for(get: Get, catalog: Catalog, three: list[int]) -> None:
    restore_id = a_restore(catalog, three[2])
    catalog.restores.plan_orphans(
        restore_id, three[2], [("b.pdf", 10, False)], orphan_directory="/srv/orphans", subdirectory="restore-1"
    )
    (page,) = list(catalog.restores.orphans(restore_id, "planned"))
    catalog.restores.orphans_moved([row["id"] for row in page])
    plan = get(f"/applications/dms/backups/{three[0]}/restore-preview", part="files")
    assert plan["set_aside"] == {"archives": 1, "bytes": 10}


def test_a_preview_has_no_tiers_where_all_lies_aside(get: Get, catalog: Catalog, three: list[int]) -> None:
    restore_id = a_restore(catalog, three[2])
    catalog.restores.plan_orphans(
        restore_id, three[2], [("b.pdf", 10, False)], orphan_directory="/srv/orphans", subdirectory="restore-1"
    )
    (page,) = list(catalog.restores.orphans(restore_id, "planned"))
    catalog.restores.orphans_moved([row["id"] for row in page])
    plan = get(f"/applications/dms/backups/{three[0]}/restore-preview", part="files")
    assert (plan["set_aside"]["archives"], plan["requests"], plan["tiers"]) == (1, 0, [])


def test_a_backup_that_is_not_complete_has_no_preview(admin: TestClient, catalog: Catalog) -> None:
    failed = catalog.backups.open(a_run(1))
    catalog.backups.fail(failed, "why")
    answer = admin.get(f"/api/applications/dms/backups/{failed}/restore-preview")
    assert (answer.status_code, answer.json()["kind"]) == (409, "BackupNotRestorable")


# --- work under way ---


def test_what_is_under_way_by_the_catalog_and_over_by_airflow_is_told(site: Site, get: Get, catalog: Catalog) -> None:
    run = a_run(1)
    catalog.backups.open(run)
    over = lambda: (  # noqa: E731
        get("/applications/dms/work")["over"],
        get("/runs", dag_id=run.dag_id, dag_run_id=run.dag_run_id)["over"],
    )
    assert over() == ([], [])
    site.planned.over[run.dag_id, run.dag_run_id] = "failed"
    assert over() == (["backup"], ["backup"])


def test_a_running_backup_tells_its_phase_and_what_is_left(get: Get, catalog: Catalog) -> None:
    assert get("/applications/dms/work")["backup"] is None
    backup_id = catalog.backups.open(a_run(1))
    assert get("/applications/dms/work")["backup"]["phase"] == "dump"
    dumped(catalog, backup_id)
    assert get("/applications/dms/work")["backup"]["phase"] == "scan"
    scanned(catalog, backup_id, ["a", "b"])
    work = get("/applications/dms/work")["backup"]
    assert (work["phase"], work["left"], work["total"]) == (
        "upload",
        {"archives": 2, "bytes": 20},
        {"archives": 2, "bytes": 20},
    )
    upload_all(catalog)
    work = get("/applications/dms/work")["backup"]
    assert (work["phase"], work["left"]["archives"], work["dump_archived"]) == ("close", 0, True)


def test_a_preview_tells_when_what_was_asked_for_earlier_is_readable(
    get: Get, catalog: Catalog, three: list[int]
) -> None:
    from glacier_provider.catalog.archives import ArchiveRange

    restore_id = a_restore(catalog, three[0])
    catalog.restores.start(restore_id)
    for intents in catalog.restores.intend_retrievals(restore_id, ArchiveRange(0, 2**62), tier="Bulk", days=7):
        catalog.restores.confirm_retrievals([(intent.id, None) for intent in intents])
    plan = get(f"/applications/dms/backups/{three[0]}/restore-preview")
    assert (plan["pending"]["archives"], plan["to_request"]["archives"]) == (3, 0)
    (expected,) = plan["expected"]
    asked = datetime.fromisoformat(expected["requested_at"])
    assert expected["tier"] == "Bulk"
    assert expected["waiting"]["archives"] == 3
    assert datetime.fromisoformat(expected["latest"]) >= asked + timedelta(hours=5)


def test_a_paused_application_and_one_with_unreadable_files_are_not_fresh(
    get: Get, site: Site, catalog: Catalog
) -> None:
    site.configure("dms", schedule="@yearly")
    backup_id = a_backup(catalog, 1, ["a.pdf"])
    site.planned.known["glacier_backup__dms"] = access.ScheduledDag(True, None)
    assert get("/applications/dms")["health"] in ("paused", "late")
    catalog.backups.add_to_report(backup_id, unreadable_count=2, unreadable=[{"name": "x", "error": "y"}])
    card = get("/applications/dms")
    assert card["complete"]["unreadable_count"] == 2
    assert card["health"] == "incomplete"


def test_a_waiting_restore_tells_tier_and_time(get: Get, catalog: Catalog, three: list[int]) -> None:
    from glacier_provider.catalog.archives import ArchiveRange

    restore_id = a_restore(catalog, three[0])
    catalog.restores.start(restore_id)
    for intents in catalog.restores.intend_retrievals(restore_id, ArchiveRange(0, 2**62), tier="Standard", days=7):
        catalog.restores.confirm_retrievals([(intent.id, None) for intent in intents])
    work = get("/applications/dms/work")["restore"]
    assert (work["phase"], work["archives"]["pending"]["archives"]) == ("wait", 3)
    (expected,) = work["expected"]
    asked = datetime.fromisoformat(expected["requested_at"])
    assert datetime.fromisoformat(expected["earliest"]) == asked + timedelta(hours=3)
    assert expected["tier"] == "Standard"


def test_a_run_is_found_by_its_dag_run(get: Get, catalog: Catalog, admin: TestClient) -> None:
    backup_id = catalog.backups.open(a_run(7))
    found = get("/runs", dag_id="glacier_backup__dms", dag_run_id="scheduled__7")
    assert found["backup"]["backup"]["id"] == backup_id
    nothing = get("/runs", dag_id="glacier_backup__dms", dag_run_id="scheduled__8")
    assert (nothing["backup"], nothing["restore"]) == (None, None)
    assert admin.get("/api/runs?dag_id=example&dag_run_id=x").status_code == 404


def test_restores_of_a_backup_are_listed(get: Get, catalog: Catalog, three: list[int]) -> None:
    restore_id = a_restore(catalog, three[0])
    assert [one["id"] for one in get("/applications/dms/restores", backup_id=three[0])["restores"]] == [restore_id]
    assert get("/applications/dms/restores", backup_id=three[1])["restores"] == []


# --- who may what ---

PATHS = [
    "/overview",
    "/openapi.json",
    "/applications/dms",
    "/applications/dms/backups",
    "/applications/dms/backups/1",
    "/applications/dms/backups/1/files",
    "/applications/dms/backups/1/changes",
    "/applications/dms/backups/1/restore-preview",
    "/applications/dms/backups/1/deletion-plan",
    "/applications/dms/files?containing=x",
    "/applications/dms/work",
    "/applications/dms/examination?dag_run_id=x",
    "/applications/dms/restores",
    "/runs?dag_id=glacier_backup__dms&dag_run_id=x",
    "/runs/tasks?dag_id=glacier_backup__dms&dag_run_id=x",
]


def test_the_list_of_paths_is_whole(get: Get) -> None:
    described = {path for path, methods in get("/openapi.json")["paths"].items() if "get" in methods}
    tried = {re.sub(r"/dms", "/{application}", path.partition("?")[0]) for path in PATHS} - {"/openapi.json"}
    assert {f"/api{re.sub('/1', '/{backup_id}', path)}" for path in tried} == described


@pytest.mark.parametrize("path", PATHS)
def test_without_a_login_nothing_is_answered(site: Site, path: str) -> None:
    site.app.dependency_overrides.pop(access.current_rights, None)
    assert TestClient(site.app).get(f"/api{path}").status_code == 401


@pytest.mark.parametrize("path", [path for path in PATHS if "dms" in path])
def test_who_may_not_read_the_runs_sees_nothing_of_the_application(site: Site, path: str, three: list[int]) -> None:
    answer = site.seen_by(STRANGER).get(f"/api{path}")
    assert answer.status_code == 403
    assert "pdf" not in answer.text


def test_an_unknown_application_is_told_from_a_forbidden_one_to_nobody_else(site: Site) -> None:
    assert site.seen_by(STRANGER).get("/api/applications/nosuch").status_code == 403
    everything = Person(reads=("glacier_backup__nosuch",))
    assert site.seen_by(everything).get("/api/applications/nosuch").status_code == 404


def test_the_overview_shows_each_person_their_applications(site: Site) -> None:
    site.configure("other")
    names = lambda person: [card["name"] for card in site.seen_by(person).get("/api/overview").json()["applications"]]  # noqa: E731
    assert names(ADMIN) == ["dms", "other"]
    assert names(Person(reads=DAGS[3:])) == ["other"]
    assert names(STRANGER) == []


def test_a_card_says_what_the_person_may_do(site: Site) -> None:
    actions = lambda person: site.seen_by(person).get("/api/applications/dms").json()["actions"]  # noqa: E731
    assert actions(ADMIN) == {"back_up": True, "restore": True, "delete": True, "examine": True}
    assert actions(VIEWER) == {"back_up": False, "restore": False, "delete": False, "examine": False}
    alone = {"back_up": True, "restore": False, "delete": False, "examine": False}
    assert actions(Person(reads=DAGS, starts=DAGS[:1])) == alone


# --- the database that a restore replaced ---


def bring_back(client: TestClient, restore_id: int, content: str = '{"confirm":true}') -> Any:
    return client.post(f"/api/applications/dms/restores/{restore_id}/undo-database", content=content, headers=Same)


@pytest.fixture
def replaced(catalog: Catalog, three: list[int]) -> int:
    """An ended restore that dumped what it replaced."""
    restore_id = a_restore(catalog, three[0])
    kept = {"path": "/staging/dms-safety-1/a.dump", "bytes": 10, "sha256": "0" * 64, "until": "2099-01-01T00:00:00Z"}
    catalog.restores.add_outcome(restore_id, safety_dumps=[kept])
    catalog.restores.fail(restore_id, "Ended by a test.")
    return restore_id


def test_a_worker_brings_back_what_a_restore_replaced_in_the_persons_name(site: Site, get: Get, replaced: int) -> None:
    (row,) = get("/applications/dms/restores")["restores"]
    assert row["outcome"]["safety_dumps"][-1]["bytes"] == 10
    person = Person(reads=DAGS, starts=["glacier_restore__dms"], name="uma")
    answer = bring_back(site.seen_by(person), replaced)
    assert (answer.status_code, answer.json()["url"]) == (201, "dags/glacier_undo__dms/runs/manual__1")
    assert site.planned.started == [("glacier_undo__dms", {"restore_id": replaced, "what": "database"}, "uma")]


@pytest.mark.parametrize("person", [VIEWER, Person(reads=DAGS, starts=DAGS[:1]), STRANGER])
def test_who_may_not_start_restores_brings_no_database_back(site: Site, replaced: int, person: Person) -> None:
    assert bring_back(site.seen_by(person), replaced).status_code == 403
    assert site.planned.started == []


def test_what_replaced_nothing_or_is_not_confirmed_brings_no_database_back(
    site: Site, admin: TestClient, catalog: Catalog, three: list[int], replaced: int
) -> None:
    assert bring_back(admin, replaced, "{}").status_code == 422
    assert bring_back(admin, 999).status_code == 404
    other = a_restore(catalog, three[1])
    answer = bring_back(admin, other)
    assert (answer.status_code, answer.json()["kind"]) == (409, "IllegalMove")
    assert "made no dump of the database that it replaced" in answer.json()["detail"]
    assert "safety_dump" in answer.json()["hint"]
    assert site.planned.started == []


# --- undo orphans: a route that changes something ---


def undo(
    client: TestClient, restore_id: int, headers: dict[str, str] | None = None, content: str = '{"confirm":true}'
) -> Any:
    path = f"/api/applications/dms/restores/{restore_id}/undo-orphans"
    return client.post(path, content=content, headers=Same if headers is None else headers)


@pytest.fixture
def aside(catalog: Catalog, three: list[int]) -> int:
    """A restore that moved one orphan."""
    restore_id = a_restore(catalog, three[0])
    catalog.restores.plan_orphans(
        restore_id,
        three[0],
        [("c.pdf", 10, False)],
        orphan_directory="/srv/orphans",
        subdirectory="restore-1",
    )
    (page,) = list(catalog.restores.orphans(restore_id, "planned"))
    catalog.restores.orphans_moved([row["id"] for row in page])
    return restore_id


def test_a_worker_moves_orphans_back_in_the_persons_name(site: Site, get: Get, aside: int) -> None:
    """Not the API server, which mounts no directories."""
    assert get("/applications/dms/restores")["restores"][0]["orphans_aside"] == 1
    person = Person(reads=DAGS, starts=["glacier_restore__dms"], name="uma")
    answer = undo(site.seen_by(person), aside)
    assert (answer.status_code, answer.json()["url"]) == (201, "dags/glacier_undo__dms/runs/manual__1")
    assert site.planned.started == [("glacier_undo__dms", {"restore_id": aside, "what": "files"}, "uma")]


@pytest.mark.parametrize("person", [VIEWER, Person(reads=DAGS, starts=DAGS[:1]), STRANGER])
def test_who_may_not_start_restores_moves_nothing(site: Site, aside: int, person: Person) -> None:
    assert undo(site.seen_by(person), aside).status_code == 403
    assert site.planned.started == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Content-Type": "application/json"},
        {"Sec-Fetch-Site": "same-site", "Content-Type": "application/json"},
        {"Origin": "http://evil.example", "Content-Type": "application/json"},
        {"Origin": "null", "Content-Type": "application/json"},
    ],
)
def test_other_sites_are_refused(site: Site, admin: TestClient, aside: int, headers: dict[str, str]) -> None:
    assert undo(admin, aside, headers).status_code == 403
    assert site.planned.started == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_can_send_is_refused(admin: TestClient, aside: int, kind: str) -> None:
    assert undo(admin, aside, {"Sec-Fetch-Site": "same-origin", "Content-Type": kind}).status_code == 415


def test_the_own_origin_is_accepted_where_browsers_do_not_tell_the_site(admin: TestClient, aside: int) -> None:
    own = {"Origin": "http://testserver", "Content-Type": "application/json"}
    assert undo(admin, aside, own).status_code == 201


@pytest.mark.parametrize("content", ["", "{}", '{"confirm":false}', '{"confirm":true,"more":1}', "[]"])
def test_an_undo_has_to_be_confirmed(admin: TestClient, aside: int, content: str) -> None:
    assert undo(admin, aside, content=content).status_code == 422


def test_nothing_changes_state_by_get(admin: TestClient, aside: int) -> None:
    assert admin.get(f"/api/applications/dms/restores/{aside}/undo-orphans").status_code == 405


def test_a_restore_that_is_not_there_or_of_another_application(site: Site, admin: TestClient, aside: int) -> None:
    assert undo(admin, 999).status_code == 404
    site.configure("other")
    path = f"/api/applications/other/restores/{aside}/undo-orphans"
    assert admin.post(path, content='{"confirm":true}', headers=Same).status_code == 404


# --- when the catalog cannot be asked ---


def test_without_a_catalog_the_cards_say_how_to_mend_it(
    site: Site, get: Get, admin: TestClient, database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.integration.ui.conftest import connection_of

    monkeypatch.setenv("AIRFLOW_CONN_THE_CATALOG", connection_of(database))
    (card,) = get("/overview")["applications"]
    assert (card["health"], card["problem"]["kind"]) == ("unknown", "CatalogNotReady")
    assert "glacier-backup migrate" in card["problem"]["hint"]
    assert card["actions"] == {"back_up": True, "restore": True, "delete": True, "examine": False}
    answer = admin.get("/api/applications/dms/backups")
    assert (answer.status_code, answer.json()["kind"]) == (503, "CatalogNotReady")


def test_an_unreachable_catalog_is_503_and_tells_no_password(
    site: Site, get: Get, admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_THE_CATALOG", "postgres://me:hush-hush@127.0.0.1:1/catalog")
    for path in PATHS:
        if ("dms/" in path or "runs?" in path) and "examination" not in path:  # which needs no catalog
            answer = admin.get(f"/api{path}")
            assert (answer.status_code, answer.json()["kind"]) == (503, "CatalogUnavailable"), path
            assert answer.json()["hint"]
            assert "hush" not in answer.text
    (card,) = get("/overview")["applications"]
    assert card["problem"]["kind"] == "CatalogUnavailable"


def test_a_missing_connection_names_itself(site: Site, admin: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    site.configure("dms", catalog_conn_id="not_a_connection")
    answer = admin.get("/api/applications/dms/backups")
    assert answer.status_code == 503
    assert "AIRFLOW_CONN_NOT_A_CONNECTION" in answer.json()["hint"]


def test_one_broken_catalog_does_not_hide_the_others(site: Site, get: Get, three: list[int]) -> None:
    site.configure("other", catalog_conn_id="not_a_connection")
    cards = {card["name"]: card for card in get("/overview")["applications"]}
    assert cards["dms"]["health"] == "fresh"
    assert cards["other"]["problem"]["kind"] == "ConfigurationError"


def test_a_missing_applications_yaml_is_said(site: Site, get: Get) -> None:
    site.file.unlink()
    overview = get("/overview")
    assert (overview["applications"], overview["problem"]["kind"]) == ([], "ConfigurationError")
    assert str(site.file) in overview["problem"]["detail"]


def test_the_catalog_is_opened_for_reading_only(site: Site, three: list[int]) -> None:
    from glacier_provider.errors import CatalogError
    from glacier_provider.ui.catalogs import applications, read_only_catalog

    with read_only_catalog(applications()["dms"]) as catalog, pytest.raises(CatalogError, match="read-only"):
        catalog.backups.add_to_report(three[0], changed=True)


# --- odd questions ---


@pytest.mark.parametrize(
    "path",
    [
        "/applications/dms/backups?limit=0",
        "/applications/dms/backups?limit=201",
        "/applications/dms/backups?offset=-1",
        "/applications/dms/backups?sort=error;--",
        "/applications/dms/backups?since=yesterday",
        "/applications/dms/backups/0",
        "/applications/dms/backups/99999999999999999999",
        "/applications/dms/backups/1/files?containing=%00",
        "/applications/dms/files?containing=",
        "/applications/dms/files",
        "/runs?dag_id=x%00&dag_run_id=y",
    ],
)
def test_odd_questions_are_refused_with_422(admin: TestClient, path: str) -> None:
    assert admin.get(f"/api{path}").status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "/applications/dms/backups?offset=9223372036854775807",
        "/applications/dms/backups?since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z",
        "/applications/dms/files?containing=%25_%5C",
        "/applications/dms/files?containing=%F0%9F%98%80%FF",
        "/applications/dms/backups/1/files?after=9223372036854775807",
        "/applications/dms/restores?backup_id=9223372036854775807",
    ],
)
def test_extreme_questions_are_answered(admin: TestClient, path: str) -> None:
    assert admin.get(f"/api{path}").status_code == 200


def test_names_with_percent_signs_are_taken_literally(get: Get, catalog: Catalog) -> None:
    one = a_backup(catalog, 1, ["100%.pdf", "100.pdf", STORE])
    found = get(f"/applications/dms/backups/{one}/files", containing="0%.")["files"]
    assert [file["filename"] for file in found] == ["100%.pdf"]


def test_the_bundle_is_public_and_asked_for_again(site: Site) -> None:
    site.app.dependency_overrides.pop(access.current_rights, None)
    answer = TestClient(site.app).get("/static/page.js")
    assert answer.status_code == 200
    assert "javascript" in answer.headers["content-type"]
    assert answer.headers["cache-control"] == "no-cache"
    again = TestClient(site.app).get("/static/page.js", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_no_interactive_documentation_with_foreign_assets(admin: TestClient) -> None:
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert admin.get(path).status_code == 404


def test_a_wrong_application_has_a_card_with_the_message_and_the_others_stay(get: Get, site: Site) -> None:
    site.configure("other", retrieval_tier="Quick")
    right, wrong = get("/overview")["applications"]
    assert (right["name"], right["problem"]) == ("dms", None)
    assert (wrong["name"], wrong["health"], wrong["problem"]["kind"]) == ("other", "unknown", "ConfigurationError")
    assert "field 'retrieval_tier': must be one of" in wrong["problem"]["detail"]
    assert wrong["actions"] == {"back_up": False, "restore": False, "delete": False, "examine": False}


def test_a_wrong_application_says_why_on_its_own_page(admin: TestClient, site: Site) -> None:
    site.configure("other", retrieval_tier="Quick")
    answer = admin.get("/api/applications/other")
    assert (answer.status_code, answer.json()["kind"]) == (503, "ConfigurationError")
    assert "application 'other', field 'retrieval_tier'" in answer.json()["detail"]
