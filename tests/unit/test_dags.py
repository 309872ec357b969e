"""The DAG files: what they wire, and that parsing them costs no connection."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, Param, TriggerRule
from airflow.sdk.bases.operator import DEFAULT_QUEUE
from airflow.sdk.exceptions import ParamValidationError

from glacier_provider.core.dags import all_dag_ids
from glacier_provider.core.deletion import DeletionRequest
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.operators.base import NothingTold, record_failure, run_failed, run_succeeded
from tests.support.clean_environment import APPLICATIONS, DAGS

ENTRY = {
    "postgres_conn_id": "dms_db",
    "files_directory": "/srv/dms/files",
    "staging_directory": "/srv/staging",
    "store": "s3://bucket/dms?storage_class=GLACIER",
}
PLAIN = "plain"
FULL = "full_one"
FULL_ENTRY = {
    **ENTRY,
    "files_directory": "/srv/full/files",
    "schedule": "15 2 * * *",
    "timezone": "Europe/Berlin",
    "start": "2026-03-01",
    "queue": "full_files",
    "pool": "glacier",
    "retrieval_tier": "Bulk",
    "retrieval_days": 3,
    "poll_seconds": 120,
    "verify": {"by": "content", "role_arn": "arn:aws:iam::123456789012:role/verify", "timeout_hours": 10},
    "drill": {"which": "random", "sample_files": "all"},
    "restore": {"safety_dump": True},
}


def describe(**applications: dict[str, Any]) -> None:
    APPLICATIONS.write_text(yaml.safe_dump({"applications": applications}))


def parsed() -> DagBag:
    return DagBag(str(DAGS))


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    """The DAGs of two applications: one that sets little, one that sets everything."""
    describe(**{PLAIN: ENTRY, FULL: FULL_ENTRY})
    bag = parsed()
    assert bag.import_errors == {}
    return dict(bag.dags)


@pytest.fixture(
    params=[
        "glacier_backup__plain",
        "glacier_backup__full_one",
        "glacier_restore__full_one",
        "glacier_delete__full_one",
        "glacier_verify__full_one",
        "glacier_drill__full_one",
        "glacier_undo__full_one",
        "glacier_doctor__full_one",
    ]
)
def dag(request: pytest.FixtureRequest, dags: dict[str, DAG]) -> DAG:
    return dags[request.param]


def setting(task: Any, name: str) -> Any:
    """Return a setting of a task, be it mapped or not."""
    if hasattr(task, "partial_kwargs"):
        return task.partial_kwargs.get(name, task.dag.default_args.get(name))
    return getattr(task, name)


# --- parsing -------------------------------------------------------------------------------------------------------


def test_there_is_one_dag_of_each_kind_for_each_application(dags: dict[str, DAG]) -> None:
    assert sorted(dags) == [
        "glacier_backup__full_one",
        "glacier_backup__plain",
        "glacier_delete__full_one",
        "glacier_delete__plain",
        "glacier_doctor__full_one",
        "glacier_doctor__plain",
        "glacier_drill__full_one",
        "glacier_restore__full_one",
        "glacier_restore__plain",
        "glacier_undo__full_one",
        "glacier_undo__plain",
        "glacier_verify__full_one",
    ]


def test_without_applications_there_are_no_dags_and_no_errors() -> None:
    describe()
    bag = parsed()
    assert (bag.dags, bag.import_errors) == ({}, {})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"connections": "many"}, "field 'connections': must be a whole number"),
        ({"store": "ftp://x"}, "field 'store': must be s3://"),
        ({"files_direktory": "/x"}, "did you mean 'files_directory'?"),
        ({"password": "geheim"}, "secrets do not belong here"),
    ],
)
def test_a_wrong_application_is_an_import_error_of_its_own_and_the_others_keep_their_dags(
    changes: dict[str, Any], said: str
) -> None:
    describe(dms={**ENTRY, **changes}, shop={**ENTRY, "files_directory": "/srv/shop/files"})
    bag = parsed()
    assert set(bag.dags) == {f"glacier_{kind}__shop" for kind in ("backup", "restore", "delete", "doctor", "undo")}
    # Airflow takes the DAGs of a file away that has an error, so that it is another file's.
    ((name, text),) = bag.import_errors.items()
    assert Path(name).name == "glacier_applications.py"
    assert "application 'dms'" in text
    assert said in text
    assert "geheim" not in text


def test_a_file_that_is_not_yaml_is_an_error_of_every_dag_file() -> None:
    APPLICATIONS.write_text("applications: {a: 1")
    errors = parsed().import_errors
    assert len(errors) == 9
    assert all("line 1" in text and str(APPLICATIONS) in text for text in errors.values())


def test_who_names_nobody_to_call_has_no_dag_for_it() -> None:
    describe(plain=ENTRY)
    assert "glacier_alerts" not in parsed().dags
    describe(plain={**ENTRY, "alerts": "ops@example.com"})
    dag = parsed().dags["glacier_alerts"]
    assert [task.task_id for task in dag.tasks] == ["tell_alerts"]
    # Nobody who was called would know that somebody has to begin it.
    assert (dag.is_paused_upon_creation, dag.max_active_runs, dag.schedule) == (False, 1, "*/10 * * * *")
    assert dag.max_active_runs == 1


@pytest.mark.parametrize("kind", ["delete", "undo", "doctor"])
def test_what_a_person_begins_is_never_paused(kind: str, dags: dict[str, DAG]) -> None:
    assert dags[f"glacier_{kind}__plain"].is_paused_upon_creation is False


def test_a_missing_file_of_applications_is_an_import_error_that_names_it() -> None:
    APPLICATIONS.unlink(missing_ok=True)
    for text in parsed().import_errors.values():
        assert f"Cannot read the file of applications {APPLICATIONS}" in text
        assert "GLACIER_APPLICATIONS" in text


PARSE_AND_TELL = """
import json, sys
touched = []
sys.addaudithook(lambda event, args: touched.append(event) if event.split(".")[0] == "socket" and
                 event not in ("socket.__new__", "socket.gethostname", "socket.bind") else None)
from airflow.dag_processing.dagbag import DagBag
del touched[:]
before = set(sys.modules)
bag = DagBag(sys.argv[1])
print(json.dumps({
    "dags": sorted(bag.dags), "errors": bag.import_errors, "touched": touched,
    "loaded": sorted({name.partition(".")[0] for name in set(sys.modules) - before}),
}))
"""


def test_parsing_asks_no_network_and_no_database(tmp_path: Path) -> None:
    """There is no catalog and no store in this test, and the drivers of neither are even loaded."""
    applications = {f"app-{number}": {**ENTRY, "files_directory": f"/srv/{number}"} for number in range(100)}
    (tmp_path / "applications.yaml").write_text(yaml.safe_dump({"applications": applications}))
    ended = subprocess.run(
        [sys.executable, "-c", PARSE_AND_TELL, str(DAGS)],
        env={**os.environ, "GLACIER_APPLICATIONS": str(tmp_path / "applications.yaml")},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["errors"] == {}
    assert len(told["dags"]) == 500
    assert told["touched"] == []
    assert not {"psycopg", "boto3", "botocore", "fastapi", "zstandard", "alembic"} & set(told["loaded"])


def test_the_files_can_lie_in_any_bundle(tmp_path: Path) -> None:
    """They import nothing that lies beside them."""
    for path in DAGS.glob("*.py"):
        shutil.copy(path, tmp_path)
    describe(dms=ENTRY)
    bag = DagBag(str(tmp_path))
    assert bag.import_errors == {}
    assert len(bag.dags) == 5


# --- what both have in common --------------------------------------------------------------------------------------


def test_one_run_at_a_time_but_for_restores_that_wait_for_days(dag: DAG) -> None:
    assert dag.max_active_runs == (4 if dag.dag_id.startswith("glacier_restore__") else 1)
    assert dag.catchup is False


def test_a_dag_says_what_it_is_and_what_to_do_when_it_fails(dag: DAG) -> None:
    name = dag.dag_id.partition("__")[2]
    assert dag.dag_display_name.endswith(f" of {name}")
    assert dag.description
    assert {"glacier", name} < set(dag.tags)
    assert dag.doc_md
    assert "glacier-backup" in dag.doc_md
    assert "{" not in dag.doc_md.replace('{"backup_id"', "")
    assert "?" not in dag.description  # no parameters of the store


def test_every_task_knows_its_application_and_notes_its_failure(dag: DAG) -> None:
    for task in dag.tasks:
        if task.task_id == "rehearsed":  # it joins, and does nothing
            continue
        assert setting(task, "application") == dag.dag_id.partition("__")[2]
        assert record_failure in (setting(task, "on_failure_callback") or [])


def test_every_task_is_tried_again_with_growing_pauses(dag: DAG) -> None:
    for task in dag.tasks:
        assert setting(task, "retries") >= 1
        assert setting(task, "retry_exponential_backoff")
        assert setting(task, "retry_delay") <= setting(task, "max_retry_delay") <= timedelta(hours=1)


def test_tasks_run_where_the_application_says(dags: dict[str, DAG]) -> None:
    for dag_id in ("glacier_backup__full_one", "glacier_restore__full_one", "glacier_delete__full_one"):
        places = {(setting(task, "queue"), setting(task, "pool")) for task in dags[dag_id].tasks}
        assert places == {("full_files", "glacier")}


def test_without_a_queue_of_its_own_airflows_default_holds(dags: dict[str, DAG]) -> None:
    """A deployment may have named its default queue otherwise; a task on "default" would wait there for ever."""
    for dag_id in ("glacier_backup__plain", "glacier_restore__plain", "glacier_delete__plain"):
        assert not {"queue", "pool"} & set(dags[dag_id].default_args)
        assert {setting(task, "queue") for task in dags[dag_id].tasks} == {DEFAULT_QUEUE}


# --- the backup ----------------------------------------------------------------------------------------------------


def order(dag: DAG) -> dict[str, set[str]]:
    return {task.task_id: set(task.upstream_task_ids) for task in dag.tasks}


def test_the_dump_comes_before_the_scan_and_both_before_the_end(dags: dict[str, DAG]) -> None:
    upstream = order(dags["glacier_backup__plain"])
    assert upstream["open_backup"] == set()
    assert upstream["dump_database"] == {"open_backup"}
    assert "dump_database" in upstream["scan_files"]
    assert "dump_database" in upstream["upload_database"]
    assert "scan_files" in upstream["upload_files"]
    assert {"upload_database", "upload_files", "rehearsed"} <= upstream["close_backup"]
    assert "dump_database" in upstream["rehearse_restore"]
    assert len(upstream) == 8


def test_a_rehearsal_that_was_killed_fails_no_backup(dags: dict[str, DAG]) -> None:
    tasks = dags["glacier_backup__plain"].task_dict
    assert tasks["rehearsed"].trigger_rule == TriggerRule.ALL_DONE
    assert tasks["rehearse_restore"].downstream_task_ids == {"rehearsed"}


def test_a_backup_without_new_files_comes_to_its_end(dags: dict[str, DAG]) -> None:
    close = dags["glacier_backup__plain"].task_dict["close_backup"]
    assert close.trigger_rule == TriggerRule.NONE_FAILED


def test_a_backup_runs_by_the_applications_schedule(dags: dict[str, DAG]) -> None:
    full, plain = dags["glacier_backup__full_one"], dags["glacier_backup__plain"]
    assert (full.schedule, plain.schedule) == ("15 2 * * *", "@daily")
    assert str(full.timezone) == "Europe/Berlin"
    assert full.start_date == datetime(2026, 3, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    assert full.dagrun_timeout is not None


@pytest.mark.parametrize("start", ["1970-01-01", "2999-12-31"])
def test_a_start_long_ago_or_far_away_takes_nobodys_dags_away(start: str) -> None:
    describe(dms={**ENTRY, "start": start, "timezone": "Asia/Tokyo", "alerts": "ops@example.com"})
    bag = parsed()
    assert bag.import_errors == {}
    assert {"glacier_backup__dms", "glacier_alerts"} <= set(bag.dags)


def test_a_schedule_of_null_leaves_backups_to_people() -> None:
    describe(dms={**ENTRY, "schedule": None})
    assert parsed().dags["glacier_backup__dms"].schedule is None


def test_a_backup_and_a_restore_have_an_asset_each(dags: dict[str, DAG]) -> None:
    (backup,) = dags["glacier_backup__plain"].task_dict["close_backup"].outlets
    (restore,) = dags["glacier_restore__plain"].task_dict["close_restore"].outlets
    assert (backup.name, backup.uri) == ("glacier_backup__plain", "x-glacier-backup://plain/backups")
    assert (restore.name, restore.uri) == ("glacier_restore__plain", "x-glacier-backup://plain/restores")


# --- the restore ---------------------------------------------------------------------------------------------------


def test_a_restore_goes_its_way_step_by_step(dags: dict[str, DAG]) -> None:
    upstream = order(dags["glacier_restore__plain"])
    way = list(upstream)
    assert upstream["approve"] == {"plan_restore"}
    assert "approve" in upstream["request_retrievals"]
    assert set(way) >= {"plan_restore", "request_retrievals", "wait_for_retrievals", "download", "restore_database"}
    assert "request_retrievals" in upstream["wait_for_retrievals"]
    assert "wait_for_retrievals" in upstream["download"]
    assert "download" in upstream["restore_database"]
    assert "restore_database" in upstream["move_orphans"]
    assert "move_orphans" in upstream["close_restore"]


def test_a_restore_with_nothing_to_bring_comes_to_its_end(dags: dict[str, DAG]) -> None:
    tasks = dags["glacier_restore__plain"].task_dict
    for name in ("wait_for_retrievals", "restore_database"):
        assert tasks[name].trigger_rule == TriggerRule.NONE_FAILED


def test_a_restore_is_triggered_by_people_and_never_paused(dags: dict[str, DAG]) -> None:
    for name in (PLAIN, FULL):
        assert dags[f"glacier_restore__{name}"].schedule is None
        assert dags[f"glacier_restore__{name}"].is_paused_upon_creation is False
        assert dags[f"glacier_backup__{name}"].is_paused_upon_creation is None


def test_one_sensor_waits_for_all_retrievals_without_a_worker(dags: dict[str, DAG]) -> None:
    sensor = dags["glacier_restore__full_one"].task_dict["wait_for_retrievals"]
    assert sensor.deferrable is True
    assert sensor.poke_interval == 120
    assert sensor.timeout >= timedelta(hours=48).total_seconds()  # DEEP_ARCHIVE by Bulk
    assert sensor.execution_timeout is None


def test_the_form_begins_with_the_applications_own_settings(dags: dict[str, DAG]) -> None:
    params = dags["glacier_restore__full_one"].params.dump()
    assert (params["backup_id"], params["tier"], params["days"]) == ("latest", "Bulk", 3)
    assert RestoreRequest.from_params(params).backup_id is None


def test_every_param_of_the_form_is_one_of_a_request(dags: dict[str, DAG]) -> None:
    params = dags["glacier_restore__plain"].params
    assert set(params) == set(RestoreRequest(1).as_dict())
    assert all(params.get_param(name).schema["title"] for name in params)
    assert all(params.get_param(name).schema["description_md"] for name in params)


@pytest.fixture
def check(dags: dict[str, DAG]) -> Callable[[str, Any], Any]:
    def check(name: str, value: Any) -> Any:
        param: Param = dags["glacier_restore__plain"].params.get_param(name)
        return param.resolve(value)

    return check


GOOD = [
    *(("backup_id", value) for value in (42, "42", "latest")),
    *(("part", value) for value in ("everything", "database", "files")),
    *(("tier", value) for value in ("Expedited", "Standard", "Bulk")),
    *(("days", value) for value in (1, 365)),
    *(("tables", value) for value in ([], ["public.documents", '"My App"."T"'])),
    *(("move_orphans", value) for value in (True, False)),
    *(("approve", value) for value in (True, False)),
]
BAD = [
    *(("backup_id", value) for value in ("", "0", "-1", "abc", "42 ", "Latest", None, 4.5, [42])),
    *(("part", value) for value in ("", "all", None)),
    *(("tier", value) for value in ("standard", "")),
    *(("days", value) for value in (0, 366, "7", 1.5)),
    *(("tables", value) for value in ("public.documents", [5])),
    *(("move_orphans", value) for value in ("false", 1, None)),
    *(("approve", value) for value in ("true", 1, None)),
]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_the_form_takes_what_a_request_takes(check: Callable[[str, Any], Any], name: str, value: Any) -> None:
    given = check(name, value)
    RestoreRequest.from_params({"backup_id": 1, name: given})


@pytest.mark.parametrize(("name", "value"), BAD)
def test_the_form_refuses_what_makes_no_sense(check: Callable[[str, Any], Any], name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        check(name, value)


# --- the deletion --------------------------------------------------------------------------------------------------


def test_a_deletion_is_planned_first_and_triggered_by_people_alone(dags: dict[str, DAG]) -> None:
    dag = dags["glacier_delete__plain"]
    assert order(dag) == {"plan_deletion": set(), "delete_backup": {"plan_deletion"}}
    assert (dag.schedule, dag.is_paused_upon_creation) == (None, False)


def test_every_param_of_a_deletion_is_one_of_a_request_and_none_is_chosen_beforehand(dags: dict[str, DAG]) -> None:
    params = dags["glacier_delete__plain"].params
    assert set(params) == {one.name for one in fields(DeletionRequest)}
    assert not any(params.get_param(name).has_value for name in ("backup_id", "confirm"))
    assert params.get_param("force").value is False


@pytest.mark.parametrize("value", [42, "42"])
def test_a_deletion_takes_the_number_of_a_backup(dags: dict[str, DAG], value: Any) -> None:
    given = dags["glacier_delete__plain"].params.get_param("backup_id").resolve(value)
    assert DeletionRequest.from_params({"backup_id": given}).backup_id == 42


@pytest.mark.parametrize("value", ["latest", "", "0", None, -1.5])
def test_a_deletion_takes_nothing_else(dags: dict[str, DAG], value: Any) -> None:
    with pytest.raises(ParamValidationError):
        dags["glacier_delete__plain"].params.get_param("backup_id").resolve(value)


# --- vaults --------------------------------------------------------------------------------------------------------


def test_a_backup_to_a_vault_settles_at_its_end_what_the_vault_may_hold_twice() -> None:
    describe(dms={**ENTRY, "store": "glacier://sleepers"})
    assert order(parsed().dags["glacier_backup__dms"])["reconcile"] == {"close_backup"}


def test_a_run_has_all_its_tasks_whatever_its_logical_date_is(dags: dict[str, DAG]) -> None:
    """Airflow leaves out tasks that start later, in silence; `start` is a matter of the backup's schedule alone."""
    starts = {task.start_date.year for dag in dags.values() for task in dag.tasks if task.start_date is not None}
    assert max(starts) < 1970
    assert dags[f"glacier_backup__{FULL}"].start_date.year == 2026  # type: ignore[union-attr]


def test_the_end_of_every_run_is_noted_also_where_no_task_can_tell(dags: dict[str, DAG]) -> None:
    # Airflow cannot make a callback's context of a DAG with a param that has no default: a deletion's has two
    told = [dag for name, dag in dags.items() if not name.startswith(("glacier_delete__", "glacier_undo__"))]
    assert all(dag.on_failure_callback is run_failed for dag in told)
    assert all(dag.on_success_callback is run_succeeded for dag in told)


def test_what_a_task_that_was_marked_by_hand_has_not_told_is_no_traceback_about_xcoms(dags: dict[str, DAG]) -> None:
    kinds = {getattr(task, "operator_class", type(task)) for dag in dags.values() for task in dag.tasks}
    assert {one.__name__ for one in kinds if not issubclass(one, NothingTold)} == {"EmptyOperator"}


def test_a_misspelt_param_of_an_undoing_brings_back_nothing(dags: dict[str, DAG]) -> None:
    dag = dags["glacier_undo__plain"]
    assert order(dag) == {"undo_database": set(), "undo_orphans": {"undo_database"}}
    assert dag.task_dict["undo_database"].params_known == list(dag.params)


# --- verification --------------------------------------------------------------------------------------------------


def test_a_verification_by_content_waits_for_s3_without_a_worker(dags: dict[str, DAG]) -> None:
    dag = dags["glacier_verify__full_one"]
    assert [task.task_id for task in dag.topological_sort()] == [
        "open_verification",
        "verify_listing",
        "request_checksums",
        "wait_for_checksums",
        "read_checksums",
        "close_verification",
        "require_proof",
    ]
    sensor: Any = dag.get_task("wait_for_checksums")
    assert (sensor.deferrable, sensor.poke_interval, sensor.timeout) == (True, 120, 36_000)
    assert dag.get_task("close_verification").trigger_rule == TriggerRule.ALL_DONE
    assert [asset.name for asset in dag.get_task("close_verification").outlets] == ["glacier_verify__full_one"]


@pytest.mark.parametrize(
    ("given", "tasks"), [(None, 4), ("listing", 4), ({"schedule": None}, 4), ("off", 0), (False, 0)]
)
def test_there_is_a_verification_where_the_section_is_there(given: Any, tasks: int) -> None:
    describe(dms={**ENTRY, "verify": given})
    bag = parsed()
    assert bag.import_errors == {}
    dag = bag.dags.get("glacier_verify__dms")
    assert (len(dag.tasks) if dag else 0) == tasks


def test_a_vault_is_verified_by_its_inventory(dags: dict[str, DAG]) -> None:
    describe(dms={**ENTRY, "store": "glacier://vault", "verify": "content"})
    assert len(parsed().dags["glacier_verify__dms"].tasks) == 4


# --- drills --------------------------------------------------------------------------------------------------------


def test_a_drill_is_a_restore_that_is_checked_and_cleared_after_whatever_happened(dags: dict[str, DAG]) -> None:
    dag = dags["glacier_drill__full_one"]
    assert [task.task_id for task in dag.topological_sort()] == [
        "open_drill",
        "plan_restore",
        "request_retrievals",
        "wait_for_retrievals",
        "download",
        "restore_and_check",
        "check_files",
        "clear_drill",
        "close_drill",
        "require_proof",
    ]
    sensor: Any = dag.get_task("wait_for_retrievals")
    assert (sensor.deferrable, sensor.poke_interval) == (True, 120)
    assert dag.get_task("clear_drill").is_teardown
    assert dag.get_task("close_drill").trigger_rule == TriggerRule.ALL_DONE
    assert [asset.name for asset in dag.get_task("close_drill").outlets] == ["glacier_drill__full_one"]


@pytest.mark.parametrize(("given", "there"), [(None, True), ("random", True), ("off", False), (False, False)])
def test_there_is_a_drill_where_the_section_is_there(given: Any, there: bool) -> None:
    describe(dms={**ENTRY, "drill": given})
    bag = parsed()
    assert bag.import_errors == {}
    assert ("glacier_drill__dms" in bag.dags) == there


def test_all_dags_of_an_application_are_of_a_known_kind(dags: dict[str, DAG]) -> None:
    assert {one for one in dags if one.endswith(f"__{FULL}")} == set(all_dag_ids(FULL))
