"""Two runs at the same time: one proceeds, the other waits or stops with a clear reason; a dead run's lease ends."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.errors import BackupNotDeletable, BackupNotRestorable, IllegalMove, LeaseHeld
from glacier_provider.pipelines import backup, restore
from glacier_provider.pipelines.delete import delete_backup
from tests.emulator.faults import FaultKind
from tests.faults.world import Abandoned, Kill, Parts, World

CHANCE = random.Random(3)


@pytest.fixture
def world(world: World) -> World:
    for size in (10, 20, 30):
        world.add_file(CHANCE, size)
    world.add_row()
    return world


class Other:
    """A second process that works on the same world until it ends, is told to stop, or has an error."""

    def __init__(self, work: Callable[[], object]) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                work()
                os.write(writing, b"done")
            except BaseException as error:
                os.write(writing, f"{type(error).__name__}: {error}".encode()[:4000])
            os._exit(0)
        os.close(writing)
        self._pipe = reading

    def ended(self) -> str:
        """Wait for its end; return `done`, or its error."""
        with open(self._pipe, "rb") as pipe:
            said = pipe.read().decode()
        os.waitpid(self.pid, 0)
        return said


def in_other_process(world: World, work: Callable[[World], object]) -> Other:
    """Fork a process with connections of its own to the same world."""
    open_store = world.place.opener()

    def live() -> None:
        world.here = type(world.here)(world.another_catalog(), open_store())
        work(world)

    return Other(live)


@pytest.fixture
def patient() -> Iterator[None]:
    """Tasks try again for as long as another run may need."""
    from tests.faults import world as module

    before, module.TRIES = module.TRIES, 2000
    yield
    module.TRIES = before


# --- backups ---


def test_two_schedulers_run_the_same_backup(world: World, patient: None) -> None:
    """Either may be the one that ends it; the other ends too, or stops since it is ended."""
    run = world.a_run("backup")
    other = in_other_process(world, lambda there: there.back_up(run))
    mine = "done"
    try:
        world.back_up(run)
    except IllegalMove as error:
        mine = str(error)
    said = [mine, other.ended()]
    assert "done" in said, said
    ended = ("already complete", "no longer running", "is complete; its scan changed nothing")
    assert all(one == "done" or any(words in one for words in ended) for one in said), said
    backup_id = world.here.catalog.backups.of_run(run)
    assert backup_id is not None
    world.backups[backup_id] = (dict(world.present), list(world.rows))
    assert [row["id"] for row in world.here.catalog.lists.backups()] == [backup_id]
    world.check_all()


def test_two_runs_back_up_one_after_the_other(world: World, patient: None) -> None:
    other_run = world.a_run("backup")
    other = in_other_process(world, lambda there: there.back_up(other_run))
    mine = world.back_up()
    assert other.ended() == "done"
    theirs = world.here.catalog.backups.of_run(other_run)
    assert theirs not in (None, mine)
    world.backups[int(theirs or 0)] = world.backups[mine]
    world.check_all()


def test_the_second_of_two_runs_is_told_who_holds_the_lease_and_until_when(world: World) -> None:
    first = world.here.catalog
    first.migrate()
    held = first.backups.open(world.a_run("backup"))
    with pytest.raises(LeaseHeld, match=rf"backup {held} works on the application dms, at the latest until 20\d\d-"):
        first.backups.open(world.a_run("backup"))
    rows = world.sql("SELECT count(*) FROM application_data_backups", catalog=True)
    assert rows == [(1,)], "a run that does not get the lease leaves no backup behind"


def test_the_lease_of_a_dead_run_ends_by_itself(world: World) -> None:
    with pytest.raises(Abandoned):
        world.back_up(kill=Kill("scan_files", "before commit", abandoned=True))
    with pytest.raises(LeaseHeld):
        backup.open_backup(world.application, world.a_run("backup"), catalog=world.here.catalog, store=world.here.store)
    world.end_lease()
    world.back_up()
    world.check_all()
    states = [state for (state,) in world.sql("SELECT state FROM application_data_backups ORDER BY id", catalog=True)]
    assert states == ["failed", "complete"]


def test_a_run_that_lost_its_lease_to_another_stops(world: World) -> None:
    catalog, app = world.here.catalog, world.application
    slow = backup.open_backup(app, world.a_run("backup"), catalog=catalog, store=world.here.store)
    world.end_lease()
    world.back_up()
    with pytest.raises(IllegalMove, match=f"Backup {slow} was overtaken"):
        backup.dump_database(app, slow, catalog=catalog, server=world.server)
    with pytest.raises(IllegalMove, match=f"Backup {slow} was overtaken"):
        backup.scan_files(app, slow, catalog=catalog)
    with pytest.raises(IllegalMove, match=f"Backup {slow} was overtaken"):
        backup.upload_database(app, slow, catalog=catalog, store=world.here.store)
    world.check_backups()


# --- restores ---


def a_restore_before_its_database(world: World, backup_id: int) -> int:
    """Plan and bring a restore; return its id. Its next task takes the lease."""
    request = RestoreRequest.from_params({"backup_id": backup_id})
    has = world.here
    planned = restore.plan_restore(
        world.application, world.a_run("restore"), request, catalog=has.catalog, stores=has.stores
    )
    world._bring(planned["restore_id"], [ArchiveRange.from_dict(share) for share in planned["ranges"]])
    return int(planned["restore_id"])


def test_a_backup_waits_for_a_restore_that_changes_the_database(world: World) -> None:
    backup_id = world.back_up()
    restore_id = a_restore_before_its_database(world, backup_id)
    catalog, app = world.here.catalog, world.application
    restore.restore_database(app, restore_id, catalog=catalog, server=world.server)
    with pytest.raises(LeaseHeld, match=f"restore {restore_id} works on the application"):
        backup.open_backup(app, world.a_run("backup"), catalog=catalog, store=world.here.store)
    restore.move_orphans(app, restore_id, catalog=catalog)
    restore.close_restore(app, restore_id, catalog=catalog)
    world.back_up()
    world.check_all()


def test_a_restore_waits_for_a_backup_before_it_changes_the_database(world: World) -> None:
    backup_id = world.back_up()
    world.add_row()
    restore_id = a_restore_before_its_database(world, backup_id)
    catalog, app = world.here.catalog, world.application
    running = backup.open_backup(app, world.a_run("backup"), catalog=catalog, store=world.here.store)
    with pytest.raises(LeaseHeld, match=f"backup {running} works on the application"):
        restore.restore_database(app, restore_id, catalog=catalog, server=world.server)
    assert world.sql("SELECT count(*) FROM documents") == [(2,)], "nothing was changed"
    catalog.backups.fail(running, "as Airflow notes the end of a run")
    restore.restore_database(app, restore_id, catalog=catalog, server=world.server)
    assert world.sql("SELECT count(*) FROM documents") == [(1,)]


def test_two_restores_of_the_same_backup_pay_once_and_both_complete(world: World, patient: None) -> None:
    backup_id = world.back_up()
    for name in list(world.present):
        world.delete_file(name)
    world.add_file(CHANCE, 40)
    other_run = world.a_run("restore")
    other = in_other_process(world, lambda there: there.restore(backup_id, other_run))
    world.restore(backup_id)
    assert other.ended() == "done"
    world.check_all()
    ((retrievals, archives),) = world.sql(
        "SELECT count(*), count(DISTINCT archive_id) FROM glacier_retrievals WHERE state <> 'failed'", catalog=True
    )
    assert retrievals == archives


@pytest.mark.parametrize("place", ["vault"], indirect=True)
def test_two_restores_that_ask_a_vault_at_the_same_moment_pay_once(world: World) -> None:
    world.add_row()
    for _ in range(6):
        world.add_file(CHANCE, 50)
    backup_id = world.back_up()
    for name in list(world.present):
        world.delete_file(name)
    app, request = world.application, RestoreRequest.from_params({"backup_id": backup_id})
    plans = [
        restore.plan_restore(app, world.a_run("restore"), request, catalog=world.here.catalog, stores=world.here.stores)
        for _ in range(2)
    ]
    world.place.plan.inject("InitiateJob", FaultKind.HANG_REPLY, seconds=0.3)
    paid = world.place.retrievals_made()
    assert paid is not None

    def ask(plan: dict[str, Any]) -> None:
        with world.another_catalog() as catalog:
            stores = Parts(catalog, world.place.opener()()).stores
            for share in plan["ranges"]:
                restore.request_retrievals(
                    app, plan["restore_id"], ArchiveRange.from_dict(share), catalog=catalog, stores=stores
                )

    with ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(ask, plan) for plan in plans]:
            ended.result()
    world.place.plan.clear()
    ((archives,),) = world.sql(
        "SELECT count(*) FROM restore_archives r JOIN glacier_archives a ON a.id = r.archive_id"
        " WHERE r.restore_id = %s AND a.stored_size > 0",
        plans[0]["restore_id"],
        catalog=True,
    )
    assert (world.place.retrievals_made() or 0) - paid == archives


def test_a_worker_that_was_given_up_and_is_still_alive_keeps_its_successor_waiting(world: World) -> None:
    app, run = world.application, world.a_run("backup")
    catalog = world.here.catalog
    backup_id = backup.open_backup(app, run, catalog=catalog, store=world.here.store)
    with world.another_catalog() as successor:
        with (
            catalog.alone(f"the dump of backup {backup_id}"),
            pytest.raises(LeaseHeld, match=f"Another process is at work on the dump of backup {backup_id}"),
        ):
            backup.dump_database(app, backup_id, catalog=successor, server=world.server)
        backup.dump_database(app, backup_id, catalog=successor, server=world.server)
    assert world.back_up(run) == backup_id
    world.check_all()


def test_the_second_of_two_restores_waits_for_the_lease(world: World) -> None:
    backup_id = world.back_up()
    one, other = (a_restore_before_its_database(world, backup_id) for _ in range(2))
    catalog, app = world.here.catalog, world.application
    restore.restore_database(app, one, catalog=catalog, server=world.server)
    with pytest.raises(LeaseHeld, match=f"restore {one} works on the application"):
        restore.restore_database(app, other, catalog=catalog, server=world.server)
    restore.move_orphans(app, one, catalog=catalog)
    restore.close_restore(app, one, catalog=catalog)
    restore.restore_database(app, other, catalog=catalog, server=world.server)
    restore.move_orphans(app, other, catalog=catalog)
    restore.close_restore(app, other, catalog=catalog)
    world.check_all()


def test_a_deletion_waits_for_a_running_backup_and_a_backup_for_a_deletion(world: World) -> None:
    old, _ = world.back_up(), world.back_up()
    app, has = world.application, world.here
    run = world.a_run("backup")
    running = backup.open_backup(app, run, catalog=has.catalog, store=has.store)
    with pytest.raises(LeaseHeld, match=f"backup {running} works on the application"):
        delete_backup(app, old, world.a_run("delete"), catalog=has.catalog, stores=has.stores)
    assert has.catalog.backups.get(old)["state"] == "complete"
    world.back_up(run)
    has.catalog.deletions.begin(old, world.a_run("delete"))
    with pytest.raises(LeaseHeld, match=f"deletion {old} works on the application"):
        backup.open_backup(app, world.a_run("backup"), catalog=has.catalog, store=has.store)
    world.delete(old)
    world.back_up()
    world.check_all()


def test_two_who_delete_the_same_backup_delete_it_once(world: World) -> None:
    old, _ = world.back_up(), world.back_up()
    app, catalog = world.application, world.here.catalog
    with catalog.alone(f"the deletion {old}"), world.another_catalog() as other, pytest.raises(LeaseHeld):
        delete_backup(app, old, world.a_run("delete"), catalog=other, stores=world.here.stores)
    assert world.delete(old) > 0
    assert world.delete(old) == 0
    world.check_all()


def test_a_restore_that_is_planned_while_its_backup_is_deleted_never_begins(world: World) -> None:
    """Whoever is first: the deletion sees the restore and is refused, or the restore finds the backup gone."""
    old, _ = world.back_up(), world.back_up()
    request = RestoreRequest.from_params({"backup_id": old})

    def plan() -> str:
        with world.another_catalog() as catalog:
            parts = Parts(catalog, world.place.opener()())
            try:
                restore.plan_restore(
                    world.application, world.a_run("restore"), request, catalog=catalog, stores=parts.stores
                )
            except BackupNotRestorable:
                return "deleted"
            return "planned"

    def delete() -> str:
        with world.another_catalog() as catalog:
            try:
                catalog.deletions.begin(old, world.a_run("delete"))
            except BackupNotDeletable:
                return "refused"
            return "begun"

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(plan), pool.submit(delete)
        assert (first.result(), second.result()) in {("planned", "refused"), ("deleted", "begun")}


@pytest.mark.parametrize("order", ["planned first", "deleted first"])
def test_a_deletion_and_a_restore_exclude_each_other_in_either_order(world: World, order: str) -> None:
    old, _ = world.back_up(), world.back_up()
    request = RestoreRequest.from_params({"backup_id": old})
    has, app = world.here, world.application
    if order == "planned first":
        restore.plan_restore(app, world.a_run("restore"), request, catalog=has.catalog, stores=has.stores)
        with pytest.raises(BackupNotDeletable, match="is under way"):
            has.catalog.deletions.begin(old, world.a_run("delete"))
    else:
        has.catalog.deletions.begin(old, world.a_run("delete"))
        with pytest.raises(BackupNotRestorable, match="is deleting"):
            restore.plan_restore(app, world.a_run("restore"), request, catalog=has.catalog, stores=has.stores)


def test_files_deleted_while_a_backup_runs_are_no_part_of_it(world: World) -> None:
    app, has, run = world.application, world.here, world.a_run("backup")
    backup_id = backup.open_backup(app, run, catalog=has.catalog, store=has.store)
    backup.dump_database(app, backup_id, catalog=has.catalog, server=world.server)
    backup.scan_files(app, backup_id, catalog=has.catalog)
    world.delete_file(sorted(world.present)[0])
    late = Path(world.files / "late.bin")
    late.write_bytes(b"came after the scan")
    assert world.back_up(run) == backup_id
    world.present["late.bin"] = b"came after the scan"
    world.backups[backup_id] = (dict(world.present), list(world.rows))
    world.check_all()


def test_a_large_file_keeps_the_lease_alive_while_it_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacier_provider.pipelines.shared.lease.SECONDS_BETWEEN_HEARTBEATS", -1.0)
    world.add_file(CHANCE, 17 * 1024 * 1024)
    world.record_instants = True
    world.back_up()
    instants = next(labels for step, labels in world.instants.items() if "after statement remember_upload" in labels)
    begun = instants.index("after statement remember_upload")
    assert "after statement take_lease" in instants[begun : instants.index("before statement record_uploads", begun)]
    world.check_all()
