"""What each kind of task says that it read and wrote, by what came of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from glacier_provider.core.lineage import Dataset, Flow
from glacier_provider.operators.backup_steps import CloseBackupOperator
from glacier_provider.operators.drill_steps import CloseDrillOperator
from glacier_provider.operators.glacier_upload import GlacierUploadOperator
from glacier_provider.operators.lineage import Ends, LineageOperator
from glacier_provider.operators.pg_dump import PgDumpOperator
from glacier_provider.operators.restore_steps import CloseRestoreOperator
from glacier_provider.operators.verify_steps import CloseVerificationOperator
from tests.unit.operators.builders import APPLICATION, CONNECTIONS

DATABASE = Dataset("postgres://127.0.0.1:1", "dms")
BACKUPS = Dataset("s3://bucket", "pre/dms")
BACKUP = replace(BACKUPS, version="7")
CLOSED = {
    "database_bytes": 10,
    "files_bytes": 5,
    "files_count": 3,
    "unreadable_files": 0,
    "unarchived_references": None,
    "restorable": {},
}
ALL_READ = {"every file can be read": True}


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Ends:
    for name, value in {**CONNECTIONS, "AIRFLOW_CONN_ANOTHER": "postgres://x@other.example.com:5433/x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("glacier_provider.operators.lineage._here", lambda: "worker-1")
    return Ends(APPLICATION)


def directory(path: str = APPLICATION.files_directory) -> Dataset:
    return Dataset("file://worker-1", path)


def flow_of(kind: type[LineageOperator], ends: Ends, came_to: Any, **arguments: Any) -> Flow | None:
    task = kind(task_id="x", application="dms", **arguments)
    if came_to is not None:
        assert task.told(came_to) is came_to
    return task.flow(ends)


def test_a_dump_is_of_the_database_and_has_a_size_once_it_is_made(ends: Ends) -> None:
    assert flow_of(PgDumpOperator, ends, None, backup_id=7) == Flow((DATABASE,), (BACKUP,))
    made = flow_of(PgDumpOperator, ends, {"size": 9}, backup_id=7)
    assert made == Flow((DATABASE,), (replace(BACKUP, bytes=9),))


def test_an_upload_is_of_the_dump_or_of_files(ends: Ends) -> None:
    written = replace(BACKUP, files=1, bytes=9)
    came_to = {"archives": 1, "bytes": 9}
    assert flow_of(GlacierUploadOperator, ends, came_to, backup_id=7) == Flow((DATABASE,), (written,))
    of_files = flow_of(GlacierUploadOperator, ends, came_to, backup_id=7, archives={"first": 1, "last": 9})
    assert of_files == Flow((directory(),), (written,))


@pytest.mark.parametrize(
    ("figures", "of_database", "of_files"),
    [
        ({}, {}, ALL_READ),
        ({"unreadable_files": 1}, {}, {"every file can be read": False}),
        ({"unarchived_references": 0}, {}, {**ALL_READ, "has every file that the database names": True}),
        ({"unarchived_references": 2}, {}, {**ALL_READ, "has every file that the database names": False}),
        (
            {"restorable": {"in_place": "yes", "new_server": "no"}},
            {"can be restored in place": True, "can be restored on a new server": False},
            ALL_READ,
        ),
        ({"restorable": {"in_place": "unknown", "another": "no"}}, {}, ALL_READ),
    ],
)
def test_a_backup_is_of_both_with_what_was_checked_of_them(
    figures: dict[str, Any], of_database: dict[str, bool], of_files: dict[str, bool], ends: Ends
) -> None:
    found = flow_of(CloseBackupOperator, ends, {**CLOSED, **figures}, backup_id=7)
    read = (replace(DATABASE, checks=of_database), replace(directory(), checks=of_files))
    assert found == Flow(read, (replace(BACKUP, files=3, bytes=15),))


RESTORED = {
    "backup_id": 7,
    "part": "everything",
    "into": None,
    "plan": {"database_bytes": 5},
    "outcome": {"database": {"checks": [{"name": "row_counts", "passed": False}]}},
}
ELSEWHERE = {"database": "staging", "files_directory": "/srv/staging", "postgres_conn_id": "another"}


@pytest.mark.parametrize(
    ("figures", "written"),
    [
        ({}, (replace(DATABASE, bytes=5), directory())),
        ({"part": "database"}, (replace(DATABASE, bytes=5),)),
        ({"part": "files", "outcome": {"database": None}}, (directory(),)),
        ({"outcome": {}}, (directory(),)),
        (
            {"into": ELSEWHERE},
            (Dataset("postgres://other.example.com:5433", "staging", bytes=5), directory("/srv/staging")),
        ),
        ({"into": {"database": "staging"}}, (replace(DATABASE, name="staging", bytes=5),)),
        ({"into": {"files_directory": "/srv/staging"}}, (directory("/srv/staging"),)),
    ],
)
def test_a_restore_writes_what_it_brought_to_where_it_went(
    figures: dict[str, Any], written: tuple[Dataset, ...], ends: Ends
) -> None:
    came_to = {**RESTORED, **figures}
    found = flow_of(CloseRestoreOperator, ends, came_to, restore_id=3)
    assert found is not None
    assert found.outputs == written
    checks = {"row_counts": False} if came_to["outcome"].get("database") else {}
    assert found.inputs == (replace(BACKUP, checks=checks),)
    assert flow_of(CloseRestoreOperator, ends, None, restore_id=3) is None


@pytest.mark.parametrize(
    ("state", "checks"), [("passed", {"drill": True}), ("found", {"drill": False}), ("failed", {})]
)
def test_a_drill_is_a_check_of_its_backup_if_it_could_look(state: str, checks: dict[str, bool], ends: Ends) -> None:
    came_to = {
        "state": state,
        "backup_id": 7,
        "figures": {"database": {"checks": [{"name": "schema", "passed": True}]}},
    }
    found = flow_of(CloseDrillOperator, ends, came_to, proof_id=1)
    assert found == Flow((replace(BACKUP, checks={"schema": True, **checks}),))
    assert flow_of(CloseDrillOperator, ends, None, proof_id=1) is None


@pytest.mark.parametrize(
    ("state", "checks"),
    [("passed", {"verification by content": True}), ("found", {"verification by content": False}), ("failed", {})],
)
def test_a_verification_is_a_check_of_all_backups_if_it_could_look(
    state: str, checks: dict[str, bool], ends: Ends
) -> None:
    found = flow_of(CloseVerificationOperator, ends, {"state": state, "method": "content"}, proof_id=1)
    assert found == Flow((replace(BACKUPS, checks=checks),))
    assert flow_of(CloseVerificationOperator, ends, None, proof_id=1) == Flow((BACKUPS,))
