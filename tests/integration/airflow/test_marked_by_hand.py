"""A person marks a task as success that did not run: what comes of it is right, or says which task to clear."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.airflow import run_dag
from tests.support.application import ApplicationUnderTest, add_document, titles

pytestmark = pytest.mark.slow

BACKUP = (
    "open_backup",
    "dump_database",
    "scan_files",
    "upload_database",
    "upload_files",
    "rehearse_restore",
    "rehearsed",
)
RESTORE = (
    "plan_restore",
    "approve",
    "request_retrievals",
    "wait_for_retrievals",
    "download",
    "restore_database",
    "move_orphans",
    "close_restore",
)
#: Words of the sentences that end such a run: what was not done, or which task to clear.
TELLS = ("by hand", "Clear the task")


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Everything that a run wrote."""
    return lambda: "".join(capfd.readouterr()) + caplog.text


def newest(app: ApplicationUnderTest) -> dict[str, object]:
    return dict(app.catalog.lists.backups(app.application.name)[0])


def tells_what_to_do(row: dict[str, object], text: str) -> bool:
    """Whether the log does, or the catalog, when Airflow let no task of ours say anything."""
    return row["state"] == "failed" and any(words in f"{text} {row['error']}" for words in TELLS)


def is_brought_back(app: ApplicationUnderTest, backup_id: object) -> bool:
    """Whether a restore of the backup gives rows and files as they are now."""
    rows, contents = titles(app), app.contents()
    app.sql("TRUNCATE documents, tags")
    for path in app.files.rglob("*"):
        if path.is_file():
            path.unlink()
    ran = run_dag(app, "restore", {"backup_id": backup_id})
    return (ran.state, titles(app), app.contents()) == ("success", rows, contents)


@pytest.mark.parametrize("task", [*BACKUP, "close_backup"])
def test_a_backup_of_which_a_task_is_marked_is_complete_and_whole_or_says_what_to_clear(
    dms: ApplicationUnderTest, said: Callable[[], str], task: str
) -> None:
    app = dms
    first = app.back_up()
    add_document(app, "doc9.pdf", "content 9")
    ran = run_dag(app, "backup", marked=task)
    row = newest(app)
    if row["id"] == first:  # none was opened
        row = {"state": "failed", "error": ""}
    if row["state"] == "complete":
        assert is_brought_back(app, row["id"])
    else:
        assert tells_what_to_do(row, said()), ran.tasks
    assert run_dag(app, "backup").state == "success", "the next run finds nothing in its way"
    assert is_brought_back(app, newest(app)["id"])


@pytest.mark.parametrize("task", RESTORE)
def test_a_restore_of_which_a_task_is_marked_is_whole_or_says_what_to_clear(
    dms: ApplicationUnderTest, said: Callable[[], str], task: str
) -> None:
    backup_id = dms.back_up()
    rows, contents = titles(dms), dms.contents()
    dms.sql("TRUNCATE documents, tags")
    (dms.files / "doc2.pdf").unlink()
    dms.write("orphan.pdf", "of no backup")
    ran = run_dag(dms, "restore", {"backup_id": backup_id}, marked=task)
    restores = dms.catalog.lists.restores(dms.application.name)
    if restores and restores[0]["state"] == "complete":
        assert (titles(dms), dms.contents()) == (rows, contents)
    else:
        assert tells_what_to_do(restores[0] if restores else {"state": "failed", "error": ""}, said()), ran.tasks
    assert run_dag(dms, "restore", {"backup_id": backup_id}).state == "success"
    assert (titles(dms), dms.contents()) == (rows, contents)


@pytest.mark.parametrize("task", ["plan_deletion", "delete_backup"])
def test_a_deletion_of_which_a_task_is_marked_deletes_nothing_unconfirmed_and_says_what_to_clear(
    dms: ApplicationUnderTest, said: Callable[[], str], task: str
) -> None:
    first = dms.back_up()
    dms.back_up()
    ran = run_dag(dms, "delete", {"backup_id": first, "confirm": "not confirmed"}, marked=task)
    assert dms.catalog.backups.get(first)["state"] == "complete"
    assert ran.state == "failed" or task == "delete_backup"
    assert run_dag(dms, "delete", {"backup_id": first, "confirm": f"dms-{first}"}).state == "success"
