"""A process that sleeps through its lease: another run takes over and ends, and who wakes up changes nothing.

Stopped by SIGSTOP before commits and before statements that change something, of each task that works under the lease.
`SLEEPS` is how many of these instants of each task are tried, by chance; 1000 tries all of them.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.queries import queries
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.pipelines import backup, restore
from glacier_provider.pipelines.delete import delete_backup
from tests.faults.instants import Sleeper, run_in_child
from tests.faults.world import Parts, World

CHANCE = random.Random(26)
SLEEPS = int(os.environ.get("SLEEPS", "2"))
#: Who slept while it took its lease has no fence yet: it is told that its connection is gone, and the retry finds out.
FAMILY = re.compile(r"glacier_provider\.errors\.(LeaseLost|LeaseHeld|IllegalMove|CatalogUnavailable)")

Work = Callable[[Parts], object]


def before_changes(labels: tuple[str, ...]) -> list[int]:
    """Return the numbers of the instants before commits, and before statements that change something."""
    writes = {name for name, text in queries().items() if re.search(r"\b(INSERT|UPDATE|DELETE)\b", text)}
    wanted = {f"before statement {name}" for name in writes} | {"before commit"}
    return [number for number, label in enumerate(labels, 1) if label in wanted]


class Taker:
    """Stops a step of a run of a world at some of its instants, and lets others take over meanwhile."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._open_store = world.place.opener()

    def live(self, work: Work) -> Callable[[], object]:
        return lambda: work(Parts(self.world.another_catalog(), self._open_store()))

    def sleeps(self, step: Callable[[], Work], others: Callable[[], object], know: Callable[[], Any]) -> int:
        """Return through how many instants a step slept; `step` brings another run up to it."""
        labels = run_in_child(self.live(step())).instants
        others()
        instants = before_changes(labels)
        chosen = sorted(CHANCE.sample(instants, min(SLEEPS, len(instants))))
        return sum(self._sleep(step(), at, others, know) for at in chosen)

    def _sleep(self, work: Work, at: int, others: Callable[[], object], know: Callable[[], Any]) -> bool:
        """Return whether it slept: this time the step may have fewer instants."""
        sleeper = Sleeper(self.live(work), at)
        try:
            others()
            before = know()
        finally:
            ended = sleeper.wake()
        where = f"{at}: {ended.instants[at - 1 :][:3]}"
        if not sleeper.stopped:
            assert at > len(ended.instants), where
            return False
        assert know() == before, where
        # Before an instant that is the last one, a lease was perhaps freed and no more.
        assert ended.error is not None or len(ended.instants) - at < 4, f"{where} {ended.instants[at:]}"
        assert ended.error is None or FAMILY.search(ended.error), f"{where} {ended.error}"
        return True


@pytest.fixture
def taker(world: World, monkeypatch: pytest.MonkeyPatch) -> Taker:
    """Leases that end at once: to shorten one from outside would wait for who sleeps while it takes its own."""
    monkeypatch.setattr("glacier_provider.catalog.backups.LEASE_SECONDS", 0.5)
    monkeypatch.setattr("glacier_provider.catalog.database.LOCK_SECONDS", 2.0)
    for size in (10, 20, 30):
        world.add_file(CHANCE, size)
    world.add_row()
    world.back_up()
    return Taker(world)


# --- backups ---


def up_to(world: World, task: str) -> Work:
    """Open a backup, and return its step of this name when all before it are done."""
    app, has = world.application, world.here
    world.add_file(CHANCE, 40)
    world.add_row()
    number = backup.open_backup(app, world.a_run("backup"), catalog=has.catalog, store=has.store)
    ranges: list[dict[str, int]] = []

    def files(there: Parts) -> None:
        for share in ranges:
            wanted = ArchiveRange.from_dict(share)
            backup.upload_files(app, number, wanted, catalog=there.catalog, store=there.store)

    def scan(there: Parts) -> None:
        ranges.extend(backup.scan_files(app, number, catalog=there.catalog))

    steps: dict[str, Work] = {
        "dump_database": lambda there: backup.dump_database(
            app, number, catalog=there.catalog, server=world.server, store=there.store
        ),
        "scan_files": scan,
        "upload_database": lambda there: backup.upload_database(app, number, catalog=there.catalog, store=there.store),
        "upload_files": files,
        "close_backup": lambda there: backup.close_backup(app, number, catalog=there.catalog, store=there.store),
    }
    for name, work in steps.items():
        if name == task:
            return work
        work(has)
    raise AssertionError(task)


def known_of_backups(world: World) -> Any:
    """Return all that the catalog knows of complete backups and of what they hold."""
    newest = max(world.backups)
    return (
        world.sql("SELECT * FROM application_data_backups WHERE state = 'complete' ORDER BY id", catalog=True),
        world.sql(
            "SELECT f.* FROM backup_files f WHERE f.first_backup_id <= %s ORDER BY archive_id, first_backup_id",
            newest,
            catalog=True,
        ),
        world.sql("SELECT * FROM scanned_directories ORDER BY directory", catalog=True),
        world.sql("SELECT id, state, key, checksum FROM glacier_archives ORDER BY id", catalog=True),
        world.sql("SELECT lease_holder FROM applications", catalog=True),
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("task", ["dump_database", "scan_files", "upload_database", "upload_files", "close_backup"])
def test_a_backup_that_wakes_up_late_leaves_the_newer_one_as_it_is(taker: Taker, task: str) -> None:
    world = taker.world

    def another() -> None:
        world.delete_file(min(world.present))
        world.add_file(CHANCE, 50)
        world.back_up()

    assert taker.sleeps(partial(up_to, world, task), another, partial(known_of_backups, world)) > 0
    if task != "close_backup":  # one was completed to find the instants, of which the model knows nothing
        world.check_backups()


def test_a_file_that_is_back_in_a_newer_backup_stays_in_it(taker: Taker) -> None:
    """A scan that sleeps after its walk, before it writes."""
    world = taker.world
    sleeper = Sleeper(taker.live(up_to(world, "scan_files")), "before statement open_ranges")
    for size in (1, 2):
        world.add_file(CHANCE, size)
    newer = world.back_up()
    ended = sleeper.wake()
    assert sleeper.stopped
    assert "LeaseLost" in (ended.error or "")
    assert world.here.catalog.backups.get(newer)["files_count"] == len(world.present)
    world.check_backups()


# --- restores ---


def before(world: World, backup_id: int, task: str) -> Work:
    """Plan and bring a restore, and return its step of this name when all before it are done."""
    app, has = world.application, world.here
    request = RestoreRequest.from_params({"backup_id": backup_id})
    planned = restore.plan_restore(app, world.a_run("restore"), request, catalog=has.catalog, stores=has.stores)
    number = int(planned["restore_id"])
    world._bring(number, [ArchiveRange.from_dict(share) for share in planned["ranges"]])
    steps: dict[str, Work] = {
        "restore_database": lambda there: restore.restore_database(
            app, number, catalog=there.catalog, server=world.server
        ),
        "move_orphans": lambda there: restore.move_orphans(app, number, catalog=there.catalog),
        "close_restore": lambda there: restore.close_restore(app, number, catalog=there.catalog),
        "undo_orphans": lambda there: restore.undo_orphans(app, number, catalog=there.catalog),
    }
    for name, work in steps.items():
        if name == task:
            return work
        work(has)
    raise AssertionError(task)


def known_of_restores(world: World) -> Any:
    return (
        world.sql("SELECT * FROM restores WHERE state = 'complete' ORDER BY id", catalog=True),
        world.sql("SELECT id, state, retrieval_status FROM glacier_archives ORDER BY id", catalog=True),
        world.sql("SELECT lease_holder FROM applications", catalog=True),
        world.contents(),
        world.sql("SELECT * FROM documents ORDER BY 1"),
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("task", ["restore_database", "move_orphans", "close_restore", "undo_orphans"])
def test_a_restore_that_wakes_up_late_leaves_the_newer_one_as_it_is(taker: Taker, task: str) -> None:
    world = taker.world
    first = max(world.backups)
    world.delete_file(min(world.present))
    world.add_file(CHANCE, 60)
    world.add_row()
    second = world.back_up()
    slept = taker.sleeps(
        partial(before, world, first, task), lambda: world.restore(second), partial(known_of_restores, world)
    )
    assert slept > 0
    world.check_application()


@pytest.mark.parametrize(
    ("task", "at"),
    [
        ("request_retrievals", "before request POST"),
        ("request_retrievals", "before statement note_missing"),  # its restore's row is locked
        ("download", "before request GET"),
    ],
)
def test_a_restore_that_is_over_brings_nothing_more(
    taker: Taker, monkeypatch: pytest.MonkeyPatch, task: str, at: str
) -> None:
    """The steps that go on beside each other have no lease: they ask whether their restore goes on."""
    monkeypatch.setattr("glacier_provider.pipelines.shared.lease.SECONDS_BETWEEN_HEARTBEATS", 0.05)
    world = taker.world
    first = max(world.backups)
    for name in sorted(world.present):
        world.delete_file(name)
    world.add_file(CHANCE, 60)
    second = world.back_up()
    app, has, run = world.application, world.here, world.a_run("restore")
    request = RestoreRequest.from_params({"backup_id": first})
    planned = restore.plan_restore(app, run, request, catalog=has.catalog, stores=has.stores)
    number, (share,) = int(planned["restore_id"]), planned["ranges"]
    wanted = ArchiveRange.from_dict(share)
    if task == "download":
        restore.request_retrievals(app, number, wanted, catalog=has.catalog, stores=has.stores)
        world._wait(number)
    step = {"request_retrievals": restore.request_retrievals, "download": restore.download_archives}[task]
    sleeper = Sleeper(
        taker.live(lambda there: step(app, number, wanted, catalog=there.catalog, stores=there.stores)), at
    )
    try:
        has.catalog.backups.run_is_over(run, "failed")
        world.restore(second)
    finally:
        ended = sleeper.wake()
    assert sleeper.stopped
    assert ended.error is not None
    assert FAMILY.search(ended.error), ended.error  # one that had its turn at the catalog has lost its connection
    world.check_application()
    world.check_journal()


# --- deletions ---


@pytest.mark.timeout(600)
def test_a_deletion_that_wakes_up_late_leaves_newer_backups_as_they_are(taker: Taker) -> None:
    world = taker.world
    deleted: dict[int, Any] = {}

    def step() -> Work:
        world.add_file(CHANCE, 70)
        world.back_up()
        doomed = min(world.backups)
        deleted[doomed] = world.backups.pop(doomed)
        run = world.a_run("delete")
        return lambda there: delete_backup(world.application, doomed, run, catalog=there.catalog, stores=there.stores)

    def another() -> None:
        world.delete_file(min(world.present))
        world.back_up()

    assert taker.sleeps(step, another, partial(known_of_backups, world)) > 0
    states = dict(world.sql("SELECT id, state FROM application_data_backups", catalog=True))
    # one that slept before it began anything has begun nothing
    world.backups |= {number: held for number, held in deleted.items() if states[number] == "complete"}
    world.check_backups()
