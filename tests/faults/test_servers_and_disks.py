"""PostgreSQL stops, a disk is full, a directory cannot be read, files change: a clear error or a correct result.

Nothing is lost, and the next run recovers.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from glacier_provider.catalog.database import Database
from glacier_provider.errors import DirectoryUnusable, GlacierProviderError, OutOfSpace
from glacier_provider.pipelines import backup
from glacier_provider.postgres.restore import transaction as pg_restore
from glacier_provider.postgres.restore.session import RestoringSession
from glacier_provider.postgres.tools.run import Tool
from tests.faults.places import Place
from tests.faults.world import World
from tests.support.children import drop_privileges, in_child, mount_small
from tests.support.postgres import EmbeddedPostgres

CHANCE = random.Random(11)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[EmbeddedPostgres]:
    """A server that these tests may stop."""
    with EmbeddedPostgres(settings={"synchronous_commit": "on"}) as server:
        yield server


@pytest.fixture
def fragile(own_postgres: EmbeddedPostgres, tmp_path: Path, place: Place) -> Iterator[World]:
    """A world on a server that stops; with enough rows for a dump to take a moment."""
    number = own_postgres.execute("SELECT count(*) FROM pg_database")[0][0]
    databases = [own_postgres.create_database(f"{kind}_{number}") for kind in ("application", "catalog")]
    world = World(tmp_path / "fragile", place, database=databases[0], catalog=databases[1])
    world.sql("INSERT INTO documents SELECT -i, 'filler ' || i FROM generate_series(1, 3000) i")
    world.rows = [(-i, f"filler {i}") for i in range(1, 3001)]
    for size in (10, 20, 30):
        world.add_file(CHANCE, size)
    yield world
    world.close()


@contextmanager
def stopped_when(owner: object, name: str, server: EmbeddedPostgres, *, call: int = 1) -> Iterator[None]:
    """Stop the server, as a crash would, when a function is called for the `call`-th time."""
    function = getattr(owner, name)
    calls: list[None] = []

    def first(*args: object, **kwargs: object) -> object:
        calls.append(None)
        if len(calls) == call:
            server.stop(immediately=True)
        return function(*args, **kwargs)

    with patch.object(owner, name, first):
        yield
    assert len(calls) >= call, f"{name} was called {len(calls)} times"
    server.start()


@pytest.mark.parametrize(
    ("owner", "name", "call"), [(Tool, "ended", 1), (Database, "_running", 12), (Database, "copy_text", 1)]
)
def test_a_server_that_stops_during_a_backup(
    fragile: World, own_postgres: EmbeddedPostgres, owner: object, name: str, call: int
) -> None:
    fragile.back_up()
    fragile.add_file(CHANCE, 40)
    run = fragile.a_run("backup")
    with stopped_when(owner, name, own_postgres, call=call), pytest.raises(GlacierProviderError) as told:
        fragile.back_up(run)
    assert own_postgres.password not in str(told.value)
    fragile.back_up(run)
    fragile.check_all()


@pytest.mark.parametrize(("owner", "name", "call"), [(RestoringSession, "copy", 1), (Database, "_running", 25)])
def test_a_server_that_stops_during_a_restore(
    fragile: World,
    own_postgres: EmbeddedPostgres,
    owner: object,
    name: str,
    call: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pg_restore, "OUTCOME_SECONDS", 2.0)  # the server does not come back by itself
    backup_id = fragile.back_up()
    fragile.delete_file(sorted(fragile.present)[0])
    fragile.add_row()
    run = fragile.a_run("restore")
    with stopped_when(owner, name, own_postgres, call=call), pytest.raises(GlacierProviderError):
        fragile.restore(backup_id, run)
    found = fragile.sql("SELECT id, title FROM documents ORDER BY id")
    assert found in (sorted(fragile.rows), sorted(fragile.backups[backup_id][1])), "before or after, nothing between"
    fragile.restore(backup_id, run)
    fragile.check_all()


# --- disks and directories ---


def test_a_full_staging_disk_stops_the_dump_and_more_space_lets_it_go_on(world: World) -> None:
    world.add_file(CHANCE, 10)
    noise = "SELECT string_agg(sha512(i::text::bytea), ''::bytea) AS noise FROM generate_series(1, 65536) i"
    world.sql(f"CREATE TABLE noise AS {noise}")
    staging = Path(world.application.staging_directory)
    staging.mkdir(parents=True)
    open_store, run = world.place.opener(), world.a_run("backup")

    def on_a_small_disk() -> str:
        mount_small(staging, size=1 << 20)
        world.here = type(world.here)(world.another_catalog(), open_store())
        with pytest.raises(OutOfSpace) as told:
            world.back_up(run)
        return str(told.value)

    assert str(staging) in in_child(on_a_small_disk)
    world.back_up(run)
    world.check_all()


def test_a_full_staging_disk_stops_the_download(world: World) -> None:
    world.add_file(CHANCE, 10)
    noise = "SELECT string_agg(sha512(i::text::bytea), ''::bytea) AS noise FROM generate_series(1, 65536) i"
    world.sql(f"CREATE TABLE noise AS {noise}")
    backup_id = world.back_up()
    world.add_row()
    staging, open_store, run = Path(world.application.staging_directory), world.place.opener(), world.a_run("restore")

    def on_a_small_disk() -> str:
        mount_small(staging, size=1 << 20)
        world.here = type(world.here)(world.another_catalog(), open_store())
        with pytest.raises(OutOfSpace) as told:
            world.restore(backup_id, run)
        return str(told.value)

    assert str(staging) in in_child(on_a_small_disk)
    world.check_application()
    world.restore(backup_id, run)
    world.check_all()


def test_a_directory_that_cannot_be_read_is_not_taken_for_an_empty_one(world: World) -> None:
    for name in ("a.txt", "closed/b.txt", "closed/c.txt"):
        world.put_file(name, name.encode())
    first = world.back_up()
    closed, open_store = world.files / "closed", world.place.opener()
    closed.chmod(0)

    def as_somebody() -> str:
        drop_privileges()
        world.here = type(world.here)(world.another_catalog(), open_store())
        with pytest.raises(DirectoryUnusable) as told:
            world.back_up()
        return str(told.value)

    assert "closed" in in_child(as_somebody)
    closed.chmod(0o755)
    world.end_lease()
    second = world.back_up()
    world.check_all()
    assert world.backups[first][0] == world.backups[second][0]


# --- files that change ---


def during_the_upload(world: World, change: Callable[[], None]) -> int:
    """Run a backup whose files change between the scan and the upload."""
    upload, once = backup.upload_files, threading.Event()

    def changed(*args: object, **kwargs: object) -> object:
        if not once.is_set():
            once.set()
            change()
        return upload(*args, **kwargs)  # type: ignore[arg-type]

    with patch.object(backup, "upload_files", changed):
        return world.back_up()


@pytest.mark.parametrize("size", [0, 3, 50_000])
def test_a_file_that_shrinks_or_grows_before_its_upload_is_archived_as_it_is_then(world: World, size: int) -> None:
    name = world.add_file(CHANCE, 5000)
    during_the_upload(world, lambda: world.put_file(name, b"x" * size))
    world.check_all()


def test_a_file_that_vanishes_before_its_upload_is_no_part_of_the_backup(world: World) -> None:
    names = [world.add_file(CHANCE, 100) for _ in range(3)]
    during_the_upload(world, lambda: world.delete_file(names[1]))
    world.check_all()


def test_a_file_that_appears_during_the_upload_is_part_of_the_next_backup(world: World) -> None:
    world.add_file(CHANCE, 100)
    first = during_the_upload(world, lambda: world.put_file("late.bin", b"late"))
    files, rows = world.backups[first]
    world.backups[first] = ({name: content for name, content in files.items() if name != "late.bin"}, rows)
    world.check_all()
    world.back_up()
    world.check_all()


def test_files_that_come_and_go_during_the_walk_harm_nobody(world: World) -> None:
    for number in range(300):
        world.put_file(f"steady/{number}", b"steady")
    ended = threading.Event()

    def churn() -> None:
        number = 0
        while not ended.is_set():
            path = world.files / f"churn-{number % 20}"
            path.write_bytes(b"churn" * (number % 7))
            (world.files / f"churn-{(number + 10) % 20}").unlink(missing_ok=True)
            number += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        backup_id = world.back_up()
    finally:
        ended.set()
        thread.join()
    archived = {name for _, name, _ in world.sql(MEMBERS, backup_id, catalog=True)}
    assert archived >= {f"steady/{number}" for number in range(300)}
    for path in world.files.glob("churn-*"):
        path.unlink()
    world.backups.pop(backup_id)
    newer = world.back_up()
    for number in range(0, 300, 50):
        os.unlink(world.files / f"steady/{number}")
    world.restore(newer)
    world.check_application()
    world.check_store()


MEMBERS = """SELECT f.first_backup_id, a.filename, a.stored_size FROM glacier_catalog.backup_files f
JOIN glacier_catalog.glacier_archives a ON a.id = f.archive_id WHERE f.first_backup_id <= %s AND a.state = 'archived'"""
