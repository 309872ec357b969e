"""A backup is deleted: what it alone needs goes from the store, all else stays and can be restored."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.core.archive import Amount, ArchiveKind
from glacier_provider.core.deletion import DeletionPlan
from glacier_provider.errors import (
    BackupNotDeletable,
    BackupNotRestorable,
    IllegalMove,
    LeaseHeld,
    StoreDenied,
    UnknownBackup,
)
from glacier_provider.pipelines import backup
from glacier_provider.pipelines.delete import delete_backup, plan_deletion
from tests.support.application import ApplicationUnderTest

ORIGINAL = {"doc1.pdf": b"content 1", "doc2.pdf": b"content 2", "doc3.pdf": b"content 3"}


@dataclass
class Three:
    """Three backups: `doc2.pdf` is in the first alone, `mid.txt` in the second alone, `late.txt` from the third on."""

    app: ApplicationUnderTest
    ids: list[int] = field(default_factory=list)

    def plan(self, number: int) -> DeletionPlan:
        return plan_deletion(self.ids[number], catalog=self.app.catalog)

    def delete(self, number: int, **options: Any) -> dict[str, Any]:
        return delete(self.app, self.ids[number], **options)


def delete(app: ApplicationUnderTest, backup_id: int, **options: Any) -> dict[str, Any]:
    return delete_backup(
        app.application, backup_id, app.a_run("delete"), catalog=app.catalog, stores=app.stores, **options
    )


@pytest.fixture
def three(dms: ApplicationUnderTest) -> Three:
    made = Three(dms)
    made.ids.append(dms.back_up())
    (dms.files / "doc2.pdf").unlink()
    dms.write("mid.txt", "mid")
    made.ids.append(dms.back_up())
    (dms.files / "mid.txt").unlink()
    dms.write("late.txt", "late")
    made.ids.append(dms.back_up())
    return made


def keys(app: ApplicationUnderTest) -> set[str]:
    """Return what lies in the bucket, by the last two parts of each key."""
    return {"/".join(key.split("/")[-2:]) for key in app.keys_in_store()}


def names(app: ApplicationUnderTest) -> set[str]:
    return {re.sub(r"^\d{12}-", "", key.rpartition("/")[2]) for key in keys(app)}


def test_the_plan_tells_what_goes_what_stays_and_why(three: Three) -> None:
    before = keys(three.app)
    plan = three.plan(1)
    assert {(going.kind, going.amount.archives) for going in plan.goes} == {
        (ArchiveKind.DATABASE, 1),
        (ArchiveKind.FILE, 1),
    }
    assert [going.amount for going in plan.goes if going.kind is ArchiveKind.FILE] == [Amount(1, 3)]
    assert {one.reason.partition(";")[0]: one.amount.archives for one in plan.stays} == {
        "they are still in the attached-files directory": 2,
        "the manifest of a later backup continues it": 1,
    }
    assert (plan.refused, plan.confirm) == (None, f"dms-{three.ids[1]}")
    assert keys(three.app) == before


def test_a_deleted_backup_takes_with_it_what_it_alone_needs(three: Three) -> None:
    figures = three.delete(1)
    assert figures["archives"] == 2
    assert "mid.txt" not in names(three.app)
    assert {"doc1.pdf", "doc2.pdf", "doc3.pdf", "late.txt"} <= names(three.app)
    row = three.app.catalog.backups.get(three.ids[1])
    assert (row["state"], row["deleted_at"] is not None) == ("deleted", True)
    (three.app.files / "doc1.pdf").unlink()
    three.app.restore(three.ids[0])
    assert three.app.contents() == ORIGINAL


def test_all_but_the_newest_can_be_deleted_in_any_order(three: Three) -> None:
    three.delete(1)
    three.delete(0)
    assert len(keys(three.app)) == 3 + 1 + 3, "three files, a dump, and the manifests that the newest one continues"
    (three.app.files / "doc1.pdf").unlink()
    three.app.restore(three.ids[2])
    assert three.app.contents().keys() == {"doc1.pdf", "doc3.pdf", "late.txt"}


def test_a_deleted_backup_cannot_be_restored_and_the_valid_ones_are_named(three: Three) -> None:
    three.delete(0)
    with pytest.raises(BackupNotRestorable, match=rf"is deleted.*Complete backups: {three.ids[2]} "):
        three.app.plan(three.ids[0])


def test_deleting_twice_is_refused_by_the_plan_and_harmless(three: Three) -> None:
    three.delete(0)
    assert "was deleted on" in str(three.plan(0).refused)
    assert three.delete(0)["archives"] == 0


def test_a_file_of_deleted_backups_between_goes_with_the_last_of_them(dms: ApplicationUnderTest) -> None:
    dms.write("long.txt", "long")
    ids = [dms.back_up() for _ in range(4)]
    (dms.files / "long.txt").unlink()
    dms.back_up()
    for number in (ids[1], ids[0], ids[3]):
        delete(dms, number)
        assert "long.txt" in names(dms)
    assert delete(dms, ids[2])["archives"] >= 2
    assert "long.txt" not in names(dms)


def test_a_file_that_came_back_after_its_archive_was_deleted_is_archived_anew(three: Three) -> None:
    three.delete(1)
    three.app.write("mid.txt", "mid")
    again = three.app.back_up()
    (three.app.files / "mid.txt").unlink()
    three.app.restore(again)
    assert three.app.contents()["mid.txt"] == b"mid"


def test_a_file_that_came_back_before_is_not_deleted(three: Three) -> None:
    three.app.write("mid.txt", "mid")
    three.app.back_up()
    three.delete(1)
    assert "mid.txt" in names(three.app)


def test_a_file_that_leaves_the_directory_after_its_only_backup_was_deleted_goes_with_the_next_deletion(
    dms: ApplicationUnderTest,
) -> None:
    kept = dms.back_up()
    dms.write("brief.txt", "brief")
    delete(dms, dms.back_up(), force=True)
    assert "brief.txt" in names(dms), "it is still in the directory"
    (dms.files / "brief.txt").unlink()
    dms.back_up()
    delete(dms, kept)
    assert "brief.txt" not in names(dms)


def test_the_manifest_stays_while_that_of_a_later_backup_continues_it(dms: ApplicationUnderTest) -> None:
    ids = [dms.back_up() for _ in range(3)]
    previous = [dms.catalog.backups.get(number)["previous_backup_id"] for number in ids]
    assert previous == [None, ids[0], ids[1]], "each manifest continues the one before"
    assert [one.reason for one in plan_deletion(ids[0], catalog=dms.catalog).stays][-1].startswith(
        "the manifest of a later backup continues it"
    )
    delete(dms, ids[0])
    delete(dms, ids[1])
    manifests = {f"manifests/{number:012d}.json.gz" for number in ids}
    assert manifests <= keys(dms)
    newest = dms.back_up()  # lists every file, since the full one before is deleted
    assert dms.catalog.backups.get(newest)["previous_backup_id"] is None
    delete(dms, ids[2])
    assert not manifests & keys(dms), "with the last that needed them, they go"


def test_the_newest_complete_backup_is_deleted_only_by_force(three: Three) -> None:
    plan = three.plan(2)
    assert (plan.forcible, "newest complete" in str(plan.refused)) == (True, True)
    with pytest.raises(BackupNotDeletable, match="newest complete"):
        three.delete(2)
    assert three.app.catalog.backups.get(three.ids[2])["state"] == "complete"
    three.delete(2, force=True)
    assert "late.txt" in names(three.app), "it is still in the directory"
    following = three.app.back_up()
    three.app.restore(three.ids[1])
    three.app.restore(following)


def test_a_backup_that_is_being_restored_is_deleted_only_by_force(three: Three) -> None:
    planned = three.app.plan(three.ids[0])
    with pytest.raises(BackupNotDeletable, match="Restore 1"):
        three.delete(0)
    three.delete(0, force=True)
    with pytest.raises(BackupNotRestorable, match="is deleted"):
        three.app.bring(planned)


def test_a_running_backup_keeps_deletions_out(three: Three) -> None:
    run = three.app.a_run()
    running = backup.open_backup(three.app.application, run, catalog=three.app.catalog, store=three.app.store)
    with pytest.raises(LeaseHeld, match=f"backup {running}"):
        three.delete(0)
    assert "is running" in str(plan_deletion(running, catalog=three.app.catalog).refused)


def test_a_backup_that_a_deletion_overtook_is_not_continued(three: Three) -> None:
    app, run = three.app, three.app.a_run()
    dead = backup.open_backup(app.application, run, catalog=app.catalog, store=app.store)
    backup.dump_database(app.application, dead, catalog=app.catalog, server=app.server)
    app.catalog.backups.free_lease(f"backup {dead}")  # as when its hour is over
    three.delete(0)
    with pytest.raises(IllegalMove, match="deletion"):
        backup.scan_files(app.application, dead, catalog=app.catalog)
    app.back_up()


def test_a_failed_backup_is_deleted_with_its_dump(three: Three) -> None:
    app = three.app
    failed = backup.open_backup(app.application, app.a_run(), catalog=app.catalog, store=app.store)
    backup.dump_database(app.application, failed, catalog=app.catalog, server=app.server)
    backup.upload_database(app.application, failed, catalog=app.catalog, store=app.store)
    app.catalog.backups.fail(failed, "a disk was full")
    before = len(keys(app))
    assert delete(app, failed)["archives"] == 1
    assert len(keys(app)) == before - 1


def test_a_denied_deletion_goes_on_when_it_is_allowed(three: Three) -> None:
    three.app.s3.plan.inject("DeleteObjects", "access_denied")
    with pytest.raises(StoreDenied, match="2 archives"):
        three.delete(1)
    assert three.app.catalog.backups.get(three.ids[1])["state"] == "deleting"
    three.app.s3.plan.clear()
    three.app.back_up()  # other work is not held up
    assert three.delete(1)["archives"] == 2
    assert three.app.catalog.backups.get(three.ids[1])["state"] == "deleted"


def test_a_backup_of_another_application_or_of_nobody_is_not_deleted(
    three: Three, make_application: Callable[..., ApplicationUnderTest]
) -> None:
    with pytest.raises(UnknownBackup, match="Complete backups"):
        plan_deletion(999, catalog=three.app.catalog)
    from glacier_provider.catalog.catalog import Catalog

    other = Catalog(three.app.catalog_server.connect, schema=three.app.catalog.schema, application="other")
    with pytest.raises(BackupNotDeletable, match="belongs to the application dms"):
        plan_deletion(three.ids[0], catalog=other)
    other.close()


def test_a_key_that_is_not_of_the_archive_is_left_alone(three: Three) -> None:
    listed = three.app.s3.client().list_objects_v2(Bucket=three.app.bucket)["Contents"]
    stranger = next(one["Key"] for one in listed if one["Key"].endswith("doc1.pdf"))
    with three.app.catalog_server.connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE glacier_catalog.glacier_archives SET key = %s WHERE filename = 'mid.txt'", [stranger]
        )
    with pytest.raises(Exception, match="not the key of archive"):
        three.delete(1)
    assert "doc1.pdf" in names(three.app)


def test_what_a_restore_had_staged_goes_with_its_backup_and_its_process_is_told(
    three: Three,
) -> None:
    """The dump of a deleted backup would lie on the worker until the next restore ends, which may be never."""
    app = three.app
    left, kept = app.plan(three.ids[0]), app.plan(three.ids[1])
    for planned in (left, kept):
        app.bring(planned)
        app.catalog.restores.fail(planned["restore_id"], "its worker died")
    three.delete(0)
    staged = sorted(path.name for path in Path(app.application.staging_directory).iterdir())
    assert staged == [f"dms-restore-{kept['restore_id']}"]
    with pytest.raises(IllegalMove, match="is over"):
        app.catalog.restores.require_going_on(left["restore_id"])
    app.catalog.restores.require_going_on(kept["restore_id"])
