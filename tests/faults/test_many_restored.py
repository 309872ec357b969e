"""Many small files asked for and brought by processes: what goes wrong there is made good on the careful path."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.catalog.restores import Restores
from glacier_provider.errors import ArchiveMissing, DirectoryUnusable, IllegalMove, NameTaken, OutOfSpace
from glacier_provider.files.names import TEMPORARY
from glacier_provider.pipelines.restore import download, pools
from glacier_provider.stores.s3.fast import pool
from tests.emulator.faults import FaultKind
from tests.faults import dying_process
from tests.faults.test_many_files import emulator, watched, with_files
from tests.faults.world import Kill, World
from tests.support.children import in_child, mount_small

#: Instants of a process at which files have their names.
EMPTY = "0/file 0.bin"  # which needs no retrieval, and no process
NAMED_BY_THEN = {"half of a group named", "named, names not durable", "names durable, not told"}


@pytest.fixture(autouse=True)
def _always_by_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "PROCESSES_FROM", 0)


@pytest.fixture
def away(make_world: Callable[..., World]) -> World:
    """A world with forty small files in its last backup, and none in its directory."""
    world = with_files(make_world(parallelism=1), 40)
    world.back_up()
    for name in list(world.present):
        world.delete_file(name)
    return world


def asked(world: World, operation: str, status: int) -> int:
    return int(emulator(world).count(operation, bucket=world.place.bucket, status=status))  # type: ignore[attr-defined]


def last(world: World) -> int:
    return max(world.backups)


def test_all_are_asked_for_and_brought_with_one_request_each(away: World, monkeypatch: pytest.MonkeyPatch) -> None:
    cold = asked(away, "GetObject", 403)
    with watched(monkeypatch) as started:
        away.restore(last(away))
    away.check_all()
    away.check_paid_once()
    assert len(started) == 2 * min(2, os.cpu_count() or 1)
    assert asked(away, "RestoreObject", 202) == 40  # an empty file needs none; the dump does
    assert asked(away, "RestoreObject", 409) == 0
    assert asked(away, "GetObject", 403) == cold
    of_each = "SELECT filename, mtime_ns, inode FROM file_identities JOIN glacier_archives ON id = archive_id"
    seen = {name: (mtime, inode) for name, mtime, inode in away.sql(of_each, catalog=True)}
    there = {str(path.relative_to(away.files)): path.stat() for path in away.files.rglob("*.bin")}
    assert len(there) >= 39
    assert {name: seen[name] for name in there} == {name: (one.st_mtime_ns, one.st_ino) for name, one in there.items()}
    assert away.files.joinpath(TEMPORARY).exists() is False


@pytest.mark.parametrize(
    ("step", "at"),
    [
        ("request_retrievals", "before statement confirm_retrievals"),
        ("download", "before answers of a process"),
        ("download", "before statement archives_placed"),
    ],
)
def test_a_restore_that_dies_among_its_processes_goes_on(away: World, step: str, at: str) -> None:
    away.restore(last(away), kill=Kill(step, at))
    assert away.figures.kills == 1
    away.check_all()
    away.check_paid_once()


@pytest.mark.parametrize("instant", list(dying_process.INSTANTS))
def test_a_task_killed_at_any_instant_of_its_processes_has_named_nothing_unverified_and_pays_nothing_twice(
    away: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, instant: str
) -> None:
    once = tmp_path / "once"
    once.touch()
    usual = pool._environment
    told = {dying_process.DIES: instant, dying_process.ONCE: str(once), dying_process.SPARED: str(os.getpid())}
    monkeypatch.setattr(pool, "_PROGRAM", "tests.faults.dying_process")
    monkeypatch.setattr(pool, "_environment", lambda: {**usual(), **told})
    wanted, named = away.backups[last(away)][0], list[str]()
    died = World._die

    def die(world: World, *arguments: Any) -> None:
        died(world, *arguments)
        there = {str(path.relative_to(world.files)): path for path in world.files.rglob("*.bin")}
        named.extend(there)
        assert {name: path.read_bytes() for name, path in there.items()}.items() <= wanted.items()

    monkeypatch.setattr(World, "_die", die)
    step = "request_retrievals" if "answered" in instant else "download"
    away.restore(last(away), kill=Kill(step, "no instant of the task's own"))
    assert away.figures.kills == 1
    assert not once.exists()
    assert bool({*named} - {EMPTY}) == (instant in NAMED_BY_THEN)
    away.check_all()
    away.check_paid_once()
    assert asked(away, "RestoreObject", 202) == 40
    assert away.files.joinpath(TEMPORARY).exists() is False


@pytest.mark.parametrize("operation", ["RestoreObject", "GetObject"])
def test_what_fails_once_is_done_with_care(
    away: World, operation: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(pool, "_LONGEST_PAUSE", 0.1)
    for kind in (FaultKind.THROTTLING, FaultKind.RESET_AFTER, FaultKind.INTERNAL_ERROR):
        emulator(away).plan.inject(operation, kind, every=7, count=2)
    with caplog.at_level(logging.INFO):
        away.restore(last(away))
    away.check_all()
    away.check_paid_once()
    assert sum(rule["fired"] for rule in emulator(away).plan.rules()) == 6
    assert "half as many at once" in caplog.text


def test_processes_that_die_leave_their_files_to_the_task(away: World, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = pool.read_frame

    with watched(monkeypatch) as started:

        def read(fd: int) -> Any:
            answers = usual(fd)
            for process in started:
                if process.alive:
                    os.kill(process._process.pid, signal.SIGKILL)
            return answers

        monkeypatch.setattr(pool, "read_frame", read)
        away.restore(last(away))
    away.check_all()
    assert all(process._process.returncode is not None for process in started)
    assert away.files.joinpath(TEMPORARY).exists() is False


def test_what_is_not_what_was_archived_gets_no_name_and_the_others_do(away: World) -> None:
    kept, longer = "1/file 1.bin", "2/file 9.bin"
    bucket = emulator(away).objects.bucket(away.place.bucket)  # type: ignore[attr-defined]
    by_content = {hashlib.sha256(one.value).hexdigest(): one for one in bucket.keys.values()}
    for name in (kept, longer):
        one = by_content[hashlib.sha256(away.backups[last(away)][0][name]).hexdigest()]
        one.value = b"\0" * (len(one.value) if name == kept else 300_000)
    with pytest.raises(ArchiveMissing, match=r"2 files .* are LOST: .*file 1\.bin, .*file 9\.bin"):
        away.restore(last(away))
    there = {path.name for path in away.files.rglob("*.bin")}
    assert len(there) == 38
    assert not there & {"file 1.bin", "file 9.bin"}


def test_a_name_that_is_taken_keeps_what_it_has(away: World) -> None:
    run = away.a_run("restore")
    usual = World.task

    def task(world: World, step: str, work: Any) -> Any:
        if step == "download":
            world.put_file("5/file 5.bin", b"of somebody else")
        return usual(world, step, work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(World, "task", task)
        with pytest.raises(NameTaken, match=r"5/file 5\.bin"):
            away.restore(last(away), run)
    assert (away.files / "5" / "file 5.bin").read_bytes() == b"of somebody else"
    assert len(list(away.files.rglob("*.bin"))) == 40


@pytest.mark.parametrize("step", ["request_retrievals", "download"])
def test_a_restore_that_is_over_asks_and_names_nothing_more(
    away: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Found out by the task, of which each process asks just before it does something."""
    over: list[int] = []
    usual = World.task

    def task(world: World, name: str, work: Any) -> Any:
        if name == step:
            over.append(1)
        return usual(world, name, work)

    def refuse(_restores: Restores, restore_id: int) -> None:
        if over:
            raise IllegalMove(f"Restore {restore_id} is over.")

    monkeypatch.setattr(World, "task", task)
    monkeypatch.setattr(Restores, "require_going_on", refuse)
    monkeypatch.setattr("glacier_provider.pipelines.shared.lease.SECONDS_BETWEEN_HEARTBEATS", -1.0)
    with pytest.raises(IllegalMove):
        away.restore(last(away))
    assert list(away.files.rglob("*.bin")) == []
    assert step == "download" or asked(away, "RestoreObject", 202) == 0


def test_a_name_that_is_taken_by_another_content_of_the_same_size_is_not_taken_for_the_backups(away: World) -> None:
    run = away.a_run("restore")
    usual = World.task
    foreign = b"\1" * 250

    def task(world: World, step: str, work: Any) -> Any:
        if step == "download":
            world.put_file("5/file 5.bin", foreign)
        return usual(world, step, work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(World, "task", task)
        with pytest.raises(NameTaken, match=r"5/file 5\.bin.* with another content.*then clear the task"):
            away.restore(last(away), run)
    assert (away.files / "5" / "file 5.bin").read_bytes() == foreign
    (away.files / "5" / "file 5.bin").unlink()
    away.restore(last(away), run)
    away.check_all()


@pytest.mark.parametrize("by_processes", [True, False])
def test_a_directory_that_is_another_one_in_the_middle_is_not_taken_for_the_one_that_files_were_put_into(
    away: World, monkeypatch: pytest.MonkeyPatch, by_processes: bool
) -> None:
    """Moved away, linked or mounted anew: what was brought until then is not there."""
    if not by_processes:
        monkeypatch.setattr(pools, "PROCESSES_FROM", 10**9)
    run, moved = away.a_run("restore"), list[Path]()
    usual = Restores.placed

    def placed(restores: Restores, ids: Any, **how: Any) -> None:
        usual(restores, ids, **how)
        if not moved and ids and away.files.joinpath("1").exists():
            moved.append(away.files.rename(away.files.with_name("former")))
            away.files.mkdir()

    monkeypatch.setattr(Restores, "placed", placed)
    monkeypatch.setattr(download, "_POOL_GROUP", 5)
    with pytest.raises(DirectoryUnusable, match=r"is another directory than the one.*Then clear the task plan_restore"):
        away.restore(last(away), run)
    assert moved
    away.restore(last(away), run)
    away.check_all()


def test_a_disk_that_is_full_ends_the_download_and_more_space_lets_it_go_on(make_world: Callable[..., World]) -> None:
    world = with_files(make_world(parallelism=1), 300)
    world.back_up()
    for name in list(world.present):
        world.delete_file(name)
    open_store, run = world.place.opener(), world.a_run("restore")
    before = asked(world, "GetObject", 206)

    def on_a_small_disk() -> str:
        mount_small(world.files, size=1 << 18)
        world.here = type(world.here)(world.another_catalog(), open_store())
        with pytest.raises(OutOfSpace) as told:
            world.restore(last(world), run)
        return str(told.value)

    assert "then clear the task" in in_child(on_a_small_disk)
    assert asked(world, "GetObject", 206) - before < 100, "not all that has no place is asked for once more"
    world.restore(last(world), run)
    world.check_all()


def test_what_waits_through_the_longest_pause_in_vain_takes_the_usual_path(
    away: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There it fails or not, with a reason, instead of waiting for ever."""
    monkeypatch.setattr(pool, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(pool, "_LONGEST_PAUSE", 0.02)
    emulator(away).plan.inject("GetObject", FaultKind.THROTTLING, count=60)
    with caplog.at_level(logging.INFO):
        away.restore(last(away))
    away.check_all()
    assert "in spite of all pauses" in caplog.text
