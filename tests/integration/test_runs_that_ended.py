"""A run that ended otherwise: its lease is taken over, and what a person marks or skips by hand ends in a sentence."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.catalog.backups import RUN_DELETED, Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.cli import main
from glacier_provider.core.archive import ArchiveKind
from glacier_provider.errors import ArchiveCold, CatalogNotReady, DirectoryUnusable, IllegalMove, LeaseHeld, LeaseLost
from glacier_provider.operators.base import number_of, range_of
from glacier_provider.pipelines import backup, restore
from glacier_provider.pipelines.restore import download
from glacier_provider.pipelines.restore.step import undo_step
from glacier_provider.pipelines.shared.failure import note_end
from glacier_provider.staging import prepare_staging
from tests.conftest import a_catalog
from tests.integration.test_rebuild import lose_the_catalog, rebuild
from tests.support.application import ApplicationUnderTest

ANOTHER = Run("glacier_backup__dms", "another")


def asking(dms: ApplicationUnderTest, state: str | None) -> Catalog:
    """A catalog whose Airflow says this of every run."""
    server = dms.catalog_server
    return Catalog(server.connect, schema="glacier_catalog", application="dms", run_ended=lambda _run: state)


@pytest.mark.parametrize("state", ["failed", "success"])
def test_the_lease_of_a_run_that_is_over_is_taken_at_once(dms: ApplicationUnderTest, state: str) -> None:
    dead = backup.open_backup(dms.application, dms.a_run(), catalog=dms.catalog, store=dms.store)
    with asking(dms, state) as catalog:
        alive = catalog.backups.open(ANOTHER)
    row = dms.catalog.backups.get(dead)
    assert (row["state"], row["error"]) == (
        "failed",
        f"Its run was over ({state}) before it was. The next backup goes on with what is archived.",
    )
    assert dms.catalog.backups.get(alive)["state"] == "running"


@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_run_that_ended_with_a_task_left_out_says_to_clear_it_and_that_helps(
    dms: ApplicationUnderTest, state: str
) -> None:
    run = dms.a_run()
    dead = backup.open_backup(dms.application, run, catalog=dms.catalog, store=dms.store)
    note_end(run, state, catalog=dms.catalog)
    assert "Clear the task that did not run" in dms.catalog.backups.get(dead)["error"]
    assert dms.back_up(run) == dead
    assert dms.catalog.backups.get(dead)["state"] == "complete"


@pytest.mark.parametrize("state", [None, RUN_DELETED])
def test_a_lease_stays_held_while_nobody_says_that_its_run_is_over(
    dms: ApplicationUnderTest, state: str | None
) -> None:
    """A run that Airflow does not know may be another Airflow's: not while its lease is prolonged."""
    backup.open_backup(dms.application, dms.a_run(), catalog=dms.catalog, store=dms.store)
    with asking(dms, state) as catalog, pytest.raises(LeaseHeld):
        catalog.backups.open(ANOTHER)


def test_the_lease_of_a_deleted_run_is_taken_when_it_has_been_quiet(dms: ApplicationUnderTest) -> None:
    backup.open_backup(dms.application, dms.a_run(), catalog=dms.catalog, store=dms.store)
    in_catalog(dms, "UPDATE applications SET lease_prolonged_at = now() - interval '5 minutes'")
    with asking(dms, RUN_DELETED) as catalog:
        assert catalog.backups.open(ANOTHER) > 0


def in_catalog(dms: ApplicationUnderTest, statement: str) -> None:
    with dms.catalog_server.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        connection.execute(statement)


@pytest.mark.parametrize("kind", ["backup", "restore"])
def test_a_run_is_noted_as_over_though_its_process_sleeps_while_it_takes_the_lease(
    dms: ApplicationUnderTest, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction has the row of the lease, and its token is known to nobody."""
    monkeypatch.setattr("glacier_provider.catalog.backups._PATIENCE", "50ms")
    backup_id, run = dms.back_up(), dms.a_run(kind)
    with a_catalog(dms.catalog_server) as asleep:
        if kind == "restore":
            number = dms.plan(backup_id, run)["restore_id"]
            dms.catalog.restores.start(number)
        else:
            number = backup.open_backup(dms.application, run, catalog=dms.catalog, store=dms.store)
            dms.catalog.backups.fail(number, "by hand")
        with pytest.raises(LeaseLost), asleep.transaction():  # noqa: PT012 - it sleeps in its transaction
            asleep.restores.take_lease(number) if kind == "restore" else asleep.backups.go_on(number)
            if kind == "backup":
                dms.catalog.backups.open(ANOTHER)
            else:
                assert dms.catalog.backups.run_is_over(run, "failed") == [f"restore {number}"]
            asleep.backups.lease()


def test_a_restore_that_slept_says_that_it_is_over_and_not_what_the_next_one_cleared_away(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup_id = dms.back_up()
    planned = dms.plan(backup_id)
    dms.ask(planned)
    dms.wait(planned["restore_id"])

    def sleep(directory: str, *subdirectories: str) -> str:
        monkeypatch.setattr(download, "prepare_staging", prepare_staging)
        path = prepare_staging(directory, *subdirectories)
        dms.catalog.restores.fail(planned["restore_id"], "its run was over")
        dms.restore(backup_id)
        assert not Path(path).exists()
        return path

    monkeypatch.setattr(download, "prepare_staging", sleep)
    with pytest.raises(IllegalMove, match=r"is over \(failed\) since this process began"):
        dms.download(planned)


def test_a_run_that_ended_without_its_backup_is_noted_and_a_complete_one_stays(dms: ApplicationUnderTest) -> None:
    complete, run = dms.back_up(), dms.a_run()
    opened = backup.open_backup(dms.application, run, catalog=dms.catalog, store=dms.store)
    note_end(run, "success", catalog=dms.catalog)
    assert dms.catalog.backups.get(opened)["state"] == "failed"
    assert dms.catalog.backups.get(complete)["state"] == "complete"
    lease = dms.catalog.backups.lease()
    assert lease is not None
    assert lease["holder"] is None


def test_who_lost_its_lease_changes_nothing_whatever_it_does_next(dms: ApplicationUnderTest) -> None:
    dms.catalog.migrate()
    old = dms.catalog.backups.open(dms.a_run())
    in_catalog(dms, "UPDATE applications SET lease_until = now() - interval '1 second'")
    with a_catalog(dms.catalog_server) as other:
        newer = other.backups.open(ANOTHER)
        for change in (
            lambda: dms.catalog.backups.add_to_report(newer, lie=True),
            lambda: dms.catalog.archives.plan_database(
                old, filename="x", size=1, sha256=None, encoding="identity", store_uri="s3://b"
            ),
        ):
            with pytest.raises(LeaseLost, match=f"backup {newer} has had the lease"):
                change()
        with pytest.raises(IllegalMove, match="has a later one"):
            dms.catalog.scans.record(old, [("a", 1)], store_uri="s3://b")
        assert other.backups.get(newer)["report"] == {}


def test_who_lost_its_lease_and_its_connection_changes_nothing_by_another_one(dms: ApplicationUnderTest) -> None:
    dms.catalog.migrate()
    old = dms.catalog.backups.open(dms.a_run())
    in_catalog(dms, "UPDATE applications SET lease_until = now() - interval '1 second'")
    with a_catalog(dms.catalog_server) as other:
        newer = other.backups.open(ANOTHER)
        dms.catalog.close()
        with pytest.raises(LeaseLost, match=f"backup {newer} has had the lease"):
            dms.catalog.backups.add_to_report(old, lie=True)


def test_a_backup_does_not_go_on_after_a_restore_changed_something(dms: ApplicationUnderTest) -> None:
    first = dms.back_up()
    run = dms.a_run()
    opened = backup.open_backup(dms.application, run, catalog=dms.catalog, store=dms.store)
    dms.catalog.backups.fail(opened, "boom")
    dms.restore(first)
    with pytest.raises(IllegalMove, match=f"Backup {opened} was overtaken by restore"):
        backup.scan_files(dms.application, opened, catalog=dms.catalog)


@pytest.mark.parametrize("version", ["9999", "0001"])
def test_every_step_refuses_a_catalog_of_another_version(dms: ApplicationUnderTest, version: str) -> None:
    opened = backup.open_backup(dms.application, dms.a_run(), catalog=dms.catalog, store=dms.store)
    in_catalog(dms, f"UPDATE catalog_version SET version_num = '{version}'")
    with pytest.raises(CatalogNotReady, match=version):
        backup.scan_files(dms.application, opened, catalog=dms.catalog)
    with a_catalog(dms.catalog_server) as other, pytest.raises(CatalogNotReady, match=version):
        other.lists.backups()


# --- marked by hand ---


@pytest.mark.parametrize("given", [None, "", "None", [], True])
def test_a_number_that_no_task_told_is_asked_for_by_name(given: Any) -> None:
    with pytest.raises(
        IllegalMove, match=r"The task open_backup has not told the backup's id.*Clear the task open_backup"
    ):
        number_of(given, "backup's id", "open_backup")
    assert number_of("7", "backup's id", "open_backup") == 7


def test_a_range_that_no_task_told_is_asked_for_by_name() -> None:
    with pytest.raises(IllegalMove, match="Clear the task scan_files"):
        range_of(None, "scan_files")


def test_every_task_of_a_complete_backup_may_be_cleared(dms: ApplicationUnderTest) -> None:
    run = dms.a_run()
    number = dms.back_up(run)
    app, catalog, store = dms.application, dms.catalog, dms.store
    assert backup.open_backup(app, run, catalog=catalog, store=store) == number
    assert backup.dump_database(app, number, catalog=catalog, server=dms.server, store=store)["size"] > 0
    assert backup.scan_files(app, number, catalog=catalog) == []
    assert backup.upload_database(app, number, catalog=catalog, store=store)["bytes"] > 0
    whole = range_of({"first": 1, "last": 100}, "scan_files")
    assert backup.upload_files(app, number, whole, catalog=catalog, store=store) == {"archives": 0, "bytes": 0}
    assert backup.close_backup(app, number, catalog=catalog, store=store)["state"] == "complete"


@pytest.mark.parametrize("task", ["dump_database", "scan_files", "upload_database", "upload_files"])
def test_a_backup_whose_part_was_marked_by_hand_names_the_task(dms: ApplicationUnderTest, task: str) -> None:
    app, catalog, store = dms.application, dms.catalog, dms.store
    number = backup.open_backup(app, dms.a_run(), catalog=catalog, store=store)
    if task != "dump_database":
        backup.dump_database(app, number, catalog=catalog, server=dms.server, store=store)
    if task.startswith("upload"):
        backup.scan_files(app, number, catalog=catalog)
    if task == "upload_files":
        backup.upload_database(app, number, catalog=catalog, store=store)
    with pytest.raises(IllegalMove, match=rf"is not complete: .*\. Clear the task {task}"):
        backup.close_backup(app, number, catalog=catalog, store=store)


def test_a_backup_that_was_completed_after_all_tells_what_it_archived(dms: ApplicationUnderTest) -> None:
    """The upload was marked by hand: no manifest is written that names what is not there."""
    app, catalog, store = dms.application, dms.catalog, dms.store
    run = dms.a_run()
    number = backup.open_backup(app, run, catalog=catalog, store=store)
    backup.dump_database(app, number, catalog=catalog, server=dms.server, store=store)
    backup.scan_files(app, number, catalog=catalog)
    backup.upload_database(app, number, catalog=catalog, store=store)
    with pytest.raises(IllegalMove, match="Clear the task upload_files"):
        backup.close_backup(app, number, catalog=catalog, store=store)
    assert not list(store.archives("dms", kind=ArchiveKind.MANIFEST))
    assert dms.back_up(run) == number
    files = dms.contents()
    lose_the_catalog(dms)
    assert (rebuild(dms).complete, brought_back(dms, number)) == (1, files)


@pytest.mark.parametrize("cut", [True, False], ids=["cut before it was complete", "refused"])
def test_a_manifest_that_a_backup_outgrew_is_replaced(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    """It was archived, and the backup did not become complete; then more was in it."""
    catalog, store, run = dms.catalog, dms.store, dms.a_run()

    def refuse(*_: Any, **__: Any) -> None:
        if cut:
            raise ProcessDied
        raise IllegalMove("Something was found lost just now.")

    with monkeypatch.context() as patch:
        patch.setattr(type(catalog.backups), "complete", refuse)
        with pytest.raises((ProcessDied, IllegalMove)):
            dms.back_up(run)
    (earlier,) = [one.description for one in store.archives("dms", kind=ArchiveKind.MANIFEST)]
    dms.write("late.pdf", "late")
    number = dms.back_up(run)
    (later,) = [one.description for one in store.archives("dms", kind=ArchiveKind.MANIFEST)]
    assert earlier is not None
    assert later is not None
    assert earlier.sha256 != later.sha256
    files = dms.contents()
    lose_the_catalog(dms)
    assert (rebuild(dms).complete, brought_back(dms, number)) == (1, files)


class ProcessDied(BaseException):
    """The process is gone."""


def brought_back(dms: ApplicationUnderTest, number: int) -> dict[str, bytes]:
    """Return what a restore brings after everything went."""
    for path in dms.files.rglob("*"):
        if path.is_file():
            path.unlink()
    dms.restore(number)
    return dms.contents()


def test_a_restore_whose_database_was_marked_by_hand_is_not_complete(dms: ApplicationUnderTest) -> None:
    planned = dms.plan(dms.back_up())
    with pytest.raises(IllegalMove, match="Clear the task restore_database"):
        restore.move_orphans(dms.application, planned["restore_id"], catalog=dms.catalog)
    with pytest.raises(IllegalMove, match="Clear the task restore_database"):
        restore.close_restore(dms.application, planned["restore_id"], catalog=dms.catalog)


def test_what_is_still_pending_is_not_called_expired(dms: ApplicationUnderTest) -> None:
    """A wait that was marked success: nothing is asked for, and paid, again."""
    backup_id = dms.back_up()
    for path in dms.files.iterdir():
        path.unlink()
    planned = dms.plan(backup_id)
    number, (share,) = planned["restore_id"], planned["ranges"]
    wanted = range_of(share, "plan_restore")
    dms.s3.retrievals_take(3600)
    restore.request_retrievals(dms.application, number, wanted, catalog=dms.catalog, stores=dms.stores)
    with pytest.raises(ArchiveCold, match=r"retrieval is pending\. Clear the task wait_for_retrievals"):
        restore.download_archives(dms.application, number, wanted, catalog=dms.catalog, stores=dms.stores)
    assert dms.catalog.restores.counts(number).keys() == {"pending"}


# --- undone ---

UNDOING = Run("glacier_undo__dms", "manual__1")


def restored(dms: ApplicationUnderTest) -> int:
    """A restore whose run is over."""
    return int(dms.restore(dms.back_up())["restore_id"])


def test_who_undoes_a_restore_keeps_the_lease_though_the_run_of_that_is_over(dms: ApplicationUnderTest) -> None:
    number, server = restored(dms), dms.catalog_server

    def ended(run: Run) -> str | None:
        return None if run == UNDOING else "success"

    with (
        Catalog(server.connect, schema="glacier_catalog", application="dms", run_ended=ended) as asking_catalog,
        undo_step(dms.catalog, number, "the orphans", UNDOING),
        pytest.raises(LeaseHeld, match=f"undo {number}"),
    ):
        asking_catalog.backups.open(ANOTHER)
    assert dms.catalog.backups.open(ANOTHER) > 0, "it is free afterwards"


def test_the_lease_of_an_undo_whose_run_is_over_is_taken_at_once(dms: ApplicationUnderTest) -> None:
    dms.catalog.restores.take_lease_to_undo(restored(dms), UNDOING)
    with asking(dms, "failed") as catalog:
        assert catalog.backups.open(ANOTHER) > 0


def test_the_end_of_a_run_that_undid_frees_its_lease_and_ends_nothing_else(dms: ApplicationUnderTest) -> None:
    number = restored(dms)
    dms.catalog.restores.take_lease_to_undo(number, UNDOING)
    assert note_end(UNDOING, "failed", catalog=dms.catalog) == []
    assert dms.catalog.backups.lease()["holder"] is None  # type: ignore[index]
    assert dms.catalog.restores.get(number)["state"] == "complete"


def test_who_undoes_by_hand_keeps_the_lease_whatever_airflow_says(dms: ApplicationUnderTest) -> None:
    dms.catalog.restores.take_lease_to_undo(restored(dms), None)
    with asking(dms, "failed") as catalog, pytest.raises(LeaseHeld):
        catalog.backups.open(ANOTHER)


def test_two_that_undo_the_same_are_not_in_each_others_way(dms: ApplicationUnderTest) -> None:
    number = restored(dms)
    with (
        undo_step(dms.catalog, number, "the orphans", UNDOING) as heartbeat,
        a_catalog(dms.catalog_server) as another,
    ):
        with pytest.raises(LeaseHeld), undo_step(another, number, "the orphans", UNDOING):
            pass
        heartbeat()
        assert dms.catalog.backups.lease()["held"]  # type: ignore[index]


@pytest.mark.parametrize("missing", ["unmounted", "empty"])
def test_undoing_where_the_directories_are_not_mounted_leaves_the_journal(
    dms: ApplicationUnderTest, missing: str
) -> None:
    first = dms.back_up()
    (dms.files / "late.pdf").write_bytes(b"late")
    number = dms.restore(first)["restore_id"]
    in_catalog(dms, "UPDATE orphan_moves SET state = 'planned'")
    in_catalog(
        dms,
        "INSERT INTO orphan_moves (restore_id, application_id, filename, size, orphan_directory, subdirectory, state)"
        f" SELECT {number}, min(id), 'other.pdf', 1, '/nowhere', 'x', 'planned' FROM applications",
    )
    shutil.move(dms.files, dms.files.parent / "elsewhere")
    shutil.rmtree(dms.application.orphan_directory, ignore_errors=True)
    if missing == "empty":
        Path(dms.application.files_directory).mkdir()
    with pytest.raises(DirectoryUnusable, match=f"undo-orphans {number}"):
        restore.undo_orphans(dms.application, number, catalog=dms.catalog)
    assert dms.catalog.restores.orphan_counts(number)["planned"].archives > 0


# --- freed by command ---


def test_a_lease_is_shown_and_freed_only_when_its_run_is_over_or_somebody_knows(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = backup.open_backup(dms.application, dms.a_run(), catalog=dms.catalog, store=dms.store)
    monkeypatch.setattr("glacier_provider.cli.maintenance.named_application", lambda _arguments: dms.application)
    command = ["free-lease", "dms", "--catalog", uri_of(dms)]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert f"backup {opened} holds the lease of dms since 20" in said
    assert "free-lease" not in said.partition("add:")[2]
    assert main([*command, "--force"]) == 0
    assert f"backup {opened} holds" in capsys.readouterr().out
    assert dms.catalog.backups.get(opened)["state"] == "failed"
    assert main(command) == 0
    assert "Nobody holds the lease of dms." in capsys.readouterr().out


def uri_of(dms: ApplicationUnderTest) -> str:
    server = dms.catalog_server
    return f"postgresql://{server.user}:{server.password}@{server.host}:{server.port}/{server.dbname}"
