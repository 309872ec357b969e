"""The same backup is restored more than once: what was paid for is used as long as it can be read, and then renewed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.backups import lease_holder
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.restores import Restores
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.errors import (
    CatalogUnavailable,
    FileMissing,
    IllegalMove,
    NameTaken,
    RetrievalRefused,
    StoreUnavailable,
)
from glacier_provider.pipelines import restore
from glacier_provider.pipelines.delete import delete_backup
from glacier_provider.pipelines.restore import pools
from glacier_provider.pipelines.shared import errors
from glacier_provider.pipelines.shared.failure import note_failure
from tests.conftest import a_catalog
from tests.support.application import ApplicationUnderTest


def lose_and_restore(dms: ApplicationUnderTest, backup_id: int) -> None:
    (dms.files / "doc2.pdf").unlink()
    dms.restore(backup_id)
    assert (dms.files / "doc2.pdf").read_bytes() == b"content 2"


def requests(dms: ApplicationUnderTest) -> int:
    return dms.s3.count("RestoreObject", bucket=dms.bucket)


def test_a_file_that_is_lost_again_is_not_paid_for_again_while_its_copy_is_on_offer(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    lose_and_restore(dms, backup_id)
    lose_and_restore(dms, backup_id)
    assert requests(dms) == 2, "the dump and the file, once"


def test_what_another_restore_asked_for_a_moment_before_is_not_asked_for_again(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both looked for what nobody had asked for yet; then one had its turn, and the other waited for it."""
    backup_id = dms.back_up()
    for path in dms.files.rglob("*.pdf"):
        path.unlink()
    first, second = dms.plan(backup_id), dms.plan(backup_id)

    def ask(planned: dict[str, Any], catalog: Catalog) -> None:
        for share in planned["ranges"]:
            wanted = ArchiveRange.from_dict(share)
            restore.request_retrievals(
                dms.application, planned["restore_id"], wanted, catalog=catalog, stores=dms.stores
            )

    def while_it_waits(restores: Restores, restore_id: int, archive_ids: Any) -> Any:
        if restore_id == second["restore_id"]:
            with a_catalog(dms.catalog_server) as other:
                ask(first, other)
        return in_turn(restores, restore_id, archive_ids)

    in_turn = Restores._in_turn
    monkeypatch.setattr(Restores, "_in_turn", while_it_waits)
    ask(second, dms.catalog)
    assert requests(dms) == 4, "the dump and three files, once"


def test_a_file_that_is_lost_again_after_the_offer_ended_is_requested_again(dms: ApplicationUnderTest) -> None:
    backup_id = dms.back_up()
    lose_and_restore(dms, backup_id)
    dms.s3.clock.advance(30 * 86400)
    with dms.catalog_server.connect(autocommit=True) as connection:
        connection.execute("UPDATE glacier_catalog.glacier_retrievals SET expires_at = now() - interval '1 minute'")
    lose_and_restore(dms, backup_id)
    assert requests(dms) == 4, "the dump and the file, twice"


def test_a_refusal_that_lasts_is_raised_before_one_that_passes(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry asks for what the store was too busy for, and comes to the same end all the same."""
    dms.back_up()
    (dms.files / "doc2.pdf").unlink()
    planned = dms.plan()
    refusals = iter([StoreUnavailable("It is busy."), RetrievalRefused("No capacity.", hint="Take Bulk.")])

    def refuse(*_: Any, **__: Any) -> None:
        raise next(refusals)

    monkeypatch.setattr(dms.store, "request_retrieval", refuse)
    with pytest.raises(RetrievalRefused) as raised:
        dms.bring(planned)
    assert (raised.value.message, raised.value.hint) == ("2 retrievals refused: No capacity.", "Take Bulk.")


def test_what_fails_among_what_comes_does_not_end_a_download_as_if_nothing_came(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "IN_VAIN_SECONDS", -1.0)
    monkeypatch.setattr(errors, "_IN_A_ROW", 2)
    dms.configure(connections=1)
    dms.back_up()
    for path in dms.files.iterdir():
        path.unlink()
    planned = dms.plan(part="files")
    dms.ask(planned)
    dms.wait(planned["restore_id"])
    files = [row for row in dms.catalog.lists.archives(1) if row["kind"] == "file"]
    first, second, third = (row["filename"] for row in sorted(files, key=lambda row: row["id"]))
    for name in (first, third):
        dms.write(name, "somebody's own")
    with pytest.raises(NameTaken, match=rf"^2 archives could not be brought \({first}, {third}\)"):
        dms.download(planned)
    assert dms.contents()[second].startswith(b"content ")


def test_what_processes_brought_is_known_by_its_time_and_inode_and_not_read_again(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "PROCESSES_FROM", 0)
    dms.back_up()
    for path in dms.files.iterdir():
        path.unlink()
    dms.bring(dms.plan(part="files"))
    with dms.catalog_server.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        of_each = "SELECT filename, mtime_ns, inode FROM file_identities JOIN glacier_archives ON id = archive_id"
        seen = {name: identity for name, *identity in connection.execute(of_each)}
    there = {path.name: path.stat() for path in dms.files.iterdir() if path.is_file()}
    assert len(there) == 3
    assert seen == {name: [one.st_mtime_ns, one.st_ino] for name, one in there.items()}


def test_a_staged_dump_that_is_not_what_was_archived_any_more_replaces_nothing(dms: ApplicationUnderTest) -> None:
    planned = dms.plan(dms.back_up())
    dms.bring(planned)
    dms.sql("DELETE FROM tags")
    (staged,) = Path(dms.application.staging_directory).glob("*/*.dump")
    with staged.open("r+b") as file:
        file.seek(-10, os.SEEK_END)
        file.write(b"damaged")
    with pytest.raises(FileMissing, match=r"is not what was archived.*Remove it and clear the task download"):
        restore.restore_database(dms.application, planned["restore_id"], catalog=dms.catalog, server=dms.server)
    assert dms.sql("SELECT count(*) FROM tags") == [(0,)]


def test_a_restore_without_all_of_its_files_is_not_complete(dms: ApplicationUnderTest) -> None:
    """The download was marked by hand."""
    backup_id = dms.back_up()
    (dms.files / "doc1.pdf").unlink()
    planned = dms.plan(backup_id, part="files")
    with pytest.raises(IllegalMove, match=r"is not complete: doc1\.pdf \(available\)\. Clear the task download"):
        restore.close_restore(dms.application, planned["restore_id"], catalog=dms.catalog)


def test_a_database_is_not_restored_without_the_files_that_come_with_it(dms: ApplicationUnderTest) -> None:
    """The download was marked by hand when the dump was staged and a file was not there."""
    backup_id = dms.back_up()
    (dms.files / "doc1.pdf").unlink()
    dms.sql("DELETE FROM tags")
    planned = dms.plan(backup_id)
    dms.ask(planned)
    dms.wait(planned["restore_id"])
    dump = dms.catalog.backups.get(backup_id)["database_archive_id"]
    dms.download({**planned, "ranges": [{"first": dump, "last": dump}]})
    with pytest.raises(
        IllegalMove, match=r"has not brought 1 file of its backup: doc1\.pdf\..*Clear the task download"
    ):
        dms.finish(planned["restore_id"])
    assert dms.sql("SELECT count(*) FROM tags") == [(0,)]
    dms.download(planned)
    dms.finish(planned["restore_id"])
    assert dms.sql("SELECT count(*) FROM tags") == [(3,)]


def test_a_file_that_a_dead_restore_moved_aside_is_where_the_next_one_brought_it(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dead one moved it, and its journal never heard: the next one brings it before the journal is settled."""
    earlier = dms.back_up()
    dms.write("late.pdf", "late")
    latest = dms.back_up()

    def lose(*_: Any, **__: Any) -> None:
        raise CatalogUnavailable("The connection is gone.")

    with monkeypatch.context() as dying:
        dying.setattr(type(dms.catalog.restores), "orphans_moved", lose)
        with pytest.raises(CatalogUnavailable):
            dms.restore(earlier)
    assert "late.pdf" not in dms.contents()
    dead = dms.catalog.lists.restores()[0]["id"]
    dms.catalog.backups.free_lease(f"restore {dead}")  # as when its hour is over
    asked = requests(dms)
    plan = dms.plan(latest)["plan"]
    assert (plan["set_aside"]["archives"], plan["to_request"]["archives"]) == (1, 1), "the dump alone is paid for"
    figures = dms.restore(latest)
    assert requests(dms) == asked + 1
    assert figures["outcome"]["orphans"]["moved"] == 0
    assert dms.contents()["late.pdf"] == b"late"
    assert dms.undo_orphans(dead) == {"moved_back": 0, "left": 0}, "it is back already"
    assert dms.contents()["late.pdf"] == b"late"
    assert dms.plan(latest)["plan"]["to_request"]["archives"] <= 1, "the file is there, and nothing is asked for"


def test_a_restore_of_the_latest_backup_that_is_planned_again_stays_with_its_backup(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer one came meanwhile: its files would come beside the older one's database."""
    first = dms.back_up()
    dms.write("late.pdf", "late")
    run = dms.a_run("restore")
    planned = dms.plan("latest", run)
    dms.bring(planned)

    def die(*_: Any, **__: Any) -> None:
        raise CatalogUnavailable("The connection is gone.")

    with monkeypatch.context() as dying:
        dying.setattr("glacier_provider.pipelines.restore.orphans.move_aside", die)
        with pytest.raises(CatalogUnavailable):
            dms.finish(planned["restore_id"])
    dms.catalog.backups.free_lease(f"restore {planned['restore_id']}")
    dms.back_up()
    again = dms.plan("latest", run)
    assert (again["restore_id"], again["backup_id"]) == (planned["restore_id"], first)
    dms.bring(again)
    dms.finish(again["restore_id"])
    assert "late.pdf" not in dms.contents()


def test_moves_that_were_planned_for_another_backup_are_not_made(dms: ApplicationUnderTest) -> None:
    """The first one of the run was deleted: what came of it, and what it meant to move, is not the next one's."""
    first = dms.back_up()
    dms.write("late.pdf", "late")
    run = dms.a_run("restore")
    planned = dms.plan("latest", run)
    number = planned["restore_id"]
    dms.bring(planned)
    restore.restore_database(dms.application, number, catalog=dms.catalog, server=dms.server)
    dms.catalog.restores.plan_orphans(
        number, first, [("late.pdf", 4, False)], orphan_directory=str(dms.orphans), subdirectory=f"dms-restore-{number}"
    )
    dms.catalog.restores.fail(number, "its worker died")
    second = dms.back_up()
    delete_backup(dms.application, first, dms.a_run("delete"), catalog=dms.catalog, stores=dms.stores)
    again = dms.plan("latest", run)
    assert (again["restore_id"], again["backup_id"]) == (number, second)
    assert "database" not in dms.catalog.restores.get(number)["outcome"]
    dms.bring(again)
    dms.finish(number)
    assert dms.contents()["late.pdf"] == b"late"


def test_a_restore_that_failed_before_another_one_is_over_however_often_it_is_tried(dms: ApplicationUnderTest) -> None:
    """A cleared task that is refused fails once more, after the other one."""
    first, second = dms.back_up(), without_doc2(dms)
    run = dms.a_run("restore")
    planned = dms.plan(first, run)
    dms.ask(planned)
    dms.wait(planned["restore_id"])
    note_failure(run, "download: it was killed", step=None, catalog=dms.catalog)
    dms.restore(second)
    for _ in range(3):
        with pytest.raises(IllegalMove, match="Another restore of dms was made since restore"):
            dms.download(planned)
        note_failure(run, "download: another restore was made", step=None, catalog=dms.catalog)
    assert "doc2.pdf" not in dms.contents()


def test_a_restore_that_another_one_came_after_brings_nothing_more(dms: ApplicationUnderTest) -> None:
    """It had restored its database, and its worker was gone then: the other one ends it."""
    first, second = dms.back_up(), without_doc2(dms)
    planned = dms.plan(first)
    number = planned["restore_id"]
    dms.bring(planned)
    restore.restore_database(dms.application, number, catalog=dms.catalog, server=dms.server)
    dms.catalog.backups.free_lease(lease_holder("restore", number))
    dms.restore(second)
    assert dms.catalog.restores.get(number)["state"] == "failed"
    with pytest.raises(IllegalMove, match="Another restore of dms was made since restore"):
        dms.download(planned)
    with pytest.raises(IllegalMove, match=r"is over \(failed\)"):
        dms.catalog.restores.require_going_on(number)
    assert "doc2.pdf" not in dms.contents()


def without_doc2(dms: ApplicationUnderTest) -> int:
    """Lose a document, and back up what is left; return the backup's id."""
    (dms.files / "doc2.pdf").unlink()
    return dms.back_up()


def test_what_was_asked_for_weeks_ago_and_never_waited_for_is_in_the_plan_again(dms: ApplicationUnderTest) -> None:
    """Its copy came and ended meanwhile: it is asked for, and paid for, once more."""
    backup_id = dms.back_up()
    (dms.files / "doc2.pdf").unlink()
    dms.ask(dms.plan(backup_id))
    dms.s3.clock.advance(30 * 86400)
    with dms.catalog_server.connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE glacier_catalog.glacier_retrievals SET requested_at = requested_at - interval '30 days'"
        )
    request = RestoreRequest.from_params({"backup_id": backup_id})
    previewed, _ = restore.preview_restore(dms.application, request, catalog=dms.catalog)
    assert (previewed.to_request.archives, previewed.pending.archives) == (2, 0)
    planned = dms.plan(backup_id)
    assert (planned["plan"]["to_request"]["archives"], planned["plan"]["pending"]["archives"]) == (2, 0)
    dms.bring(planned)
    dms.finish(planned["restore_id"])
    assert (dms.files / "doc2.pdf").read_bytes() == b"content 2"


def test_a_store_that_takes_nothing_is_not_asked_for_all_there_is(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request that is refused for want of capacity takes botocore its own seconds."""
    for number in range(60):
        dms.write(f"{number}.bin", str(number))
    dms.back_up()
    for path in dms.files.rglob("*.bin"):
        path.unlink()
    planned, asked = dms.plan(), list[int]()

    def refuse(*_: Any, **__: Any) -> None:
        asked.append(1)
        raise RetrievalRefused("No capacity.", hint="Take Standard.")

    monkeypatch.setattr(dms.store, "request_retrieval", refuse)
    monkeypatch.setattr(errors, "IN_VAIN_SECONDS", 0.0)
    with pytest.raises(RetrievalRefused, match=r"all has failed, \d+ archives in a row: No capacity\. Take Standard\."):
        dms.ask(planned)
    assert len(asked) < 60
