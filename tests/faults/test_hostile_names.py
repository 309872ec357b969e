"""Hostile names and numbers of files, through whole backups and restores."""

from __future__ import annotations

import os
import random

import pytest

from glacier_provider.core.archive import name_from_bytes
from glacier_provider.errors import UnsafePath
from glacier_provider.files import walk
from tests.faults.world import LONG_AGO, World

BOTH = pytest.mark.parametrize("place", ["s3", "vault"], indirect=True)

NAMES = [
    b"x" * 255,
    "ü".encode() * 127,
    b"not UTF-8 \xff\xfe\xc3",
    b"line\nbreak\r\ttab",
    b"\x1b[2J\x07bell\x7f",
    b"back\\slash \\xff \\\\",
    b" leading and trailing ",
    b"-rf --no-preserve-root",
    b"$(reboot) `id` ; rm * %2e%2e%2f",
    b"quote ' \" \xe2\x80\xae right to left",
    b"...",
    b"dir \xff/dir\n/" + b"y" * 200,
]


def put(world: World, name: bytes, content: bytes) -> None:
    path = os.path.join(os.fsencode(world.files), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    os.utime(path, (LONG_AGO, LONG_AGO))


def contents(world: World) -> dict[bytes, bytes]:
    found = {}
    for folder, _, names in os.walk(os.fsencode(world.files)):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, os.fsencode(world.files))] = file.read()
    return found


@BOTH
def test_names_that_no_tool_likes_come_back_as_they_were(world: World) -> None:
    world.add_row()
    original = {name: b"content of " + name for name in NAMES}
    for name, content in original.items():
        put(world, name, content)
    backup_id = world.back_up()
    for name in NAMES:
        os.unlink(os.path.join(os.fsencode(world.files), name))
    put(world, b"later \xfe\n.txt", b"later")
    world.restore(backup_id)
    assert contents(world) == original
    kept = world.sql("SELECT filename FROM glacier_archives WHERE kind = 'file' AND state = 'archived'", catalog=True)
    assert {name for (name,) in kept} == {name_from_bytes(name) for name in NAMES}


@pytest.mark.parametrize("name", ["../../outside.txt", "/etc/outside.txt", "sub/../../../outside.txt", "sub/./x", ""])
def test_a_catalog_row_that_leads_out_of_the_directory_is_refused_and_nothing_is_written(
    world: World, name: str
) -> None:
    world.add_row()
    inside = world.add_file(random.Random(5), 100)
    backup_id = world.back_up()
    world.delete_file(inside)
    world.sql("UPDATE glacier_archives SET filename = %s WHERE filename = %s", name, inside, catalog=True)
    before = sorted(path for path in world.files.parent.parent.rglob("*outside*"))
    with pytest.raises(UnsafePath):
        world.restore(backup_id, part="files")
    assert sorted(path for path in world.files.parent.parent.rglob("*outside*")) == before
    assert contents(world) == {}


def test_a_hundred_thousand_files_in_one_directory_are_scanned_and_vanish_in_a_few_statements(world: World) -> None:
    count = 100_000
    folder = world.files / "many"
    folder.mkdir()
    for number in range(count):
        os.close(os.open(folder / f"{number:06}.bin", os.O_CREAT | os.O_WRONLY))
    catalog = world.here.catalog
    catalog.migrate()
    backup_id = catalog.backups.open(world.a_run("backup"))

    def record() -> tuple[int, int, int]:
        found = walk(str(world.files), on_skip=lambda *_: None)
        scan = catalog.scans.record(backup_id, ((one.name, one.size) for one in found), store_uri=world.place.uri)
        return scan.files, scan.new_files, scan.vanished

    assert record() == (count, count, 0)
    assert record() == (count, count, 0), "the same scan again says the same"
    for number in range(0, count, 2):
        (folder / f"{number:06}.bin").unlink()
    assert record() == (count // 2, count // 2, 0), "what was never archived was never part of a backup"
