"""Deaths at chosen instants, and what is run after them: the same task, the whole run again, or another run."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ALL_COMPLETED
from dataclasses import replace
from unittest.mock import patch

import pytest

from glacier_provider.errors import LeaseHeld, StoreDenied
from glacier_provider.pipelines import restore
from glacier_provider.pipelines.shared import parallel
from glacier_provider.pipelines.shared.parallel import in_parallel
from tests.faults.world import LARGE, Abandoned, Kill, World

CHANCE = random.Random(7)
BOTH = pytest.mark.parametrize("place", ["s3", "vault"], indirect=True)
#: 10 MiB that no compression makes smaller: its dump goes in parts.
_NOISE = """CREATE TABLE noise AS
SELECT string_agg(sha512(i::text::bytea), ''::bytea) AS noise FROM generate_series(1, 163840) i"""


@pytest.fixture
def world(world: World) -> World:
    """A world with three files and two rows."""
    for size in (10, 20, 30):
        world.add_file(CHANCE, size)
    world.add_row()
    world.add_row()
    return world


# --- backups ---


def test_a_close_that_took_effect_is_repeated(world: World) -> None:
    world.back_up(kill=Kill("close_backup", "after statement complete_backup"))
    world.check_all()


def test_a_dump_that_was_planned_is_recorded_by_the_retry(world: World) -> None:
    world.back_up(kill=Kill("dump_database", "after statement plan_database_archive"))
    world.check_all()


def test_a_manifest_in_the_store_does_not_stand_in_the_way_of_a_run_that_is_cleared(world: World) -> None:
    run = world.a_run("backup")
    with pytest.raises(Abandoned):
        world.back_up(run, Kill("close_backup", "after request PUT", abandoned=True))
    world.add_file(CHANCE, 40)
    world.back_up(run)
    world.check_all()


def test_a_file_that_changed_after_a_death_is_archived_as_it_is_now(world: World) -> None:
    with pytest.raises(Abandoned):
        world.back_up(kill=Kill("upload_files", "after request PUT", abandoned=True))
    for name in list(world.present):
        world.put_file(name, b"another content")
    world.end_lease()
    world.back_up()
    world.check_application()
    world.check_backups()
    world.check_nothing_is_left()


@BOTH
def test_a_dump_lost_from_staging_leaves_no_half_upload(world: World) -> None:
    world.sql(_NOISE)
    run = world.a_run("backup")
    with pytest.raises(Abandoned):
        world.back_up(run, Kill("dump_database", "after statement dump_is_whole", abandoned=True))
    for path in (world.files.parent / "staging").rglob("*.dump"):
        shutil.rmtree(path)
    world.back_up(run)
    world.check_nothing_is_left()


@BOTH
def test_a_large_file_that_vanished_half_sent_leaves_no_half_upload(world: World) -> None:
    name = world.add_file(CHANCE, LARGE)
    with pytest.raises(Abandoned):
        world.back_up(kill=Kill("upload_files", "after statement remember_upload", abandoned=True))
    world.delete_file(name)
    world.end_lease()
    world.back_up()
    world.check_all()


# --- restores ---


@pytest.fixture
def backed_up(world: World) -> tuple[World, int]:
    """The world after a backup, with one of its files lost, one file more, and other rows."""
    backup_id = world.back_up()
    world.delete_file(sorted(world.present)[0])
    world.add_file(CHANCE, 50)
    world.add_file(CHANCE, 60)
    world.delete_row(world.rows[0][0])
    return world, backup_id


Case = tuple[World, int]
Make = Callable[..., World]


@pytest.mark.parametrize("after", ["release_database", "complete_restore", "free_lease"])
def test_a_restore_that_died_while_it_was_closed_is_closed_by_the_retry(backed_up: Case, after: str) -> None:
    world, backup_id = backed_up
    world.restore(backup_id, kill=Kill("close_restore", f"after statement {after}"))
    world.check_all()


def test_orphans_moved_before_a_death_are_undone_too(backed_up: Case) -> None:
    world, backup_id = backed_up
    before = dict(world.present)
    run = world.a_run("restore")
    with pytest.raises(Abandoned):
        world.restore(backup_id, run, Kill("move_orphans", "after rename to a new name", abandoned=True))
    restore_id = world.here.catalog.restores.of_run(run)
    assert restore_id is not None
    with pytest.raises(LeaseHeld, match=f"restore {restore_id}"):  # it may be at it still
        restore.undo_orphans(world.application, restore_id, catalog=world.here.catalog)
    world.here.catalog.restores.fail(restore_id, "as Airflow notes the end of a dead run")
    restore.undo_orphans(world.application, restore_id, catalog=world.here.catalog)
    assert {name: world.contents().get(name) for name in before} == before
    world.check_journal()


def test_moves_of_a_dead_restore_are_settled_by_the_next_one(backed_up: Case) -> None:
    world, backup_id = backed_up
    with pytest.raises(Abandoned):
        world.restore(backup_id, kill=Kill("move_orphans", "after rename to a new name", abandoned=True))
    world.here.catalog.restores.fail(restore_of(world), "as Airflow notes the end of a dead run")
    world.restore(backup_id)
    world.check_all()


def test_a_file_moved_back_before_a_death_is_not_journalled_as_aside(backed_up: Case) -> None:
    world, backup_id = backed_up
    newer = world.back_up()
    world.restore(backup_id)
    world.check_all()
    world.restore(newer, kill=Kill("download", "after statement archives_placed"))
    world.check_all()


def restore_of(world: World) -> int:
    ((newest,),) = world.sql("SELECT max(id) FROM restores", catalog=True)
    return int(newest)


def test_a_restore_abandoned_after_a_file_moved_back_leaves_a_true_journal(backed_up: Case) -> None:
    world, backup_id = backed_up
    newer = world.back_up()
    world.restore(backup_id)
    with pytest.raises(Abandoned):
        world.restore(newer, kill=Kill("download", "after rename to a new name", abandoned=True))
    world.here.catalog.restores.fail(restore_of(world), "as Airflow notes the end of a dead run")
    world.restore(newer)
    world.check_all()


# --- results ---


def test_what_ended_beside_a_foreign_error_is_not_forgotten() -> None:
    together = threading.Barrier(2)

    def work(number: int) -> int:
        together.wait(30)
        if number == 1:
            raise ZeroDivisionError
        return number

    def both_ended(*args: object, **kwargs: object) -> object:
        return ended_together(*args, **{**kwargs, "return_when": ALL_COMPLETED})  # type: ignore[arg-type]

    ended_together = parallel.wait
    results = in_parallel(work, [1, 2], workers=2)
    with patch.object(parallel, "wait", both_ended):
        assert next(results) == (2, 2)
        with pytest.raises(ZeroDivisionError):
            next(results)


@pytest.mark.parametrize("place", ["vault"], indirect=True)
def test_what_was_under_way_when_the_store_got_into_trouble_is_remembered(world: World) -> None:
    for _ in range(40):
        world.add_file(CHANCE, 10)
    world.place.plan.inject("UploadArchive", "hang_reply", seconds=0.3, every=3)
    world.place.plan.inject("UploadArchive", "access_denied", after=5)
    run = world.a_run("backup")
    with pytest.raises(StoreDenied):
        world.back_up(run)
    world.place.plan.clear()
    world.back_up(run)
    world.check_all()
    assert world.figures.duplicates == 0


# --- staging ---


def test_the_staged_dump_of_a_dead_run_is_removed_by_the_next_one(world: World) -> None:
    with pytest.raises(Abandoned):
        world.back_up(kill=Kill("scan_files", "before statement", abandoned=True))
    world.end_lease()
    world.back_up()
    world.check_all()


def test_applications_with_catalogs_of_their_own_may_share_a_staging_directory(make_world: Make) -> None:
    one, other = make_world(), make_world(name="library")
    other.application = replace(other.application, staging_directory=one.application.staging_directory)
    for world in (one, other):
        world.add_file(CHANCE, 10)
        world.back_up()
    run = one.a_run("backup")
    with pytest.raises(Abandoned):
        one.back_up(run, Kill("scan_files", "before statement", abandoned=True))
    other.back_up()
    one.back_up(run)
    for world in (one, other):
        world.check_backups()
