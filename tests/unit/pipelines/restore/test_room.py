"""Where a restore's files and dump have no room, its plan says so before anything is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from glacier_provider.core.archive import Amount
from glacier_provider.core.plan import RestorePlan
from glacier_provider.core.tiers import Tier
from glacier_provider.pipelines.restore.room import lacking_room

MB = 10**6
Spoil = Callable[[int, int], None]


@pytest.fixture
def leave(monkeypatch: pytest.MonkeyPatch) -> Spoil:
    """Leave every file system with so many bytes and inodes."""
    real = os.statvfs

    def spoil(free: int, inodes: int) -> None:
        def told(path: str) -> os.statvfs_result:
            whole = real(path)
            return os.statvfs_result((1, 1, *whole[2:4], free, 10**9, inodes, inodes, *whole[8:]))

        monkeypatch.setattr(os, "statvfs", told)

    return spoil


def plan(archives: int = 11, size: int = 100 * MB, dump: int = 10 * MB, copied: int = 0) -> RestorePlan:
    amount = Amount(archives, size)
    copies = Amount(int(copied > 0), copied)
    return RestorePlan(1, Tier.BULK, 7, to_request=amount, database_bytes=dump, to_copy=copies)


def told(plan: RestorePlan, root: Path, *, files: bool = True) -> list[str]:
    directory = str(root / "not there yet" / "uploads") if files else None
    return list(lacking_room(plan, files_directory=directory, staging_directory=str(root / "staging")))


def test_where_all_of_it_fits_nothing_is_said(tmp_path: Path, leave: Spoil) -> None:
    leave(100 * MB, 10)
    assert told(plan(), tmp_path) == []


def test_files_and_dump_on_one_file_system_need_room_together(tmp_path: Path, leave: Spoil) -> None:
    leave(100 * MB - 1, 10)
    (line,) = told(plan(), tmp_path)
    assert line.startswith("NOT ENOUGH ROOM: 100.0 MB come into ")
    assert "uploads and " in line
    assert line.count("staging") == 1


def test_what_is_copied_needs_room_as_well(tmp_path: Path, leave: Spoil) -> None:
    leave(100 * MB, 100)
    (line,) = told(plan(copied=MB), tmp_path)
    assert "101.0 MB come into" in line


def test_each_file_needs_an_inode_where_they_are_counted(tmp_path: Path, leave: Spoil) -> None:
    leave(10**12, 9)
    (line,) = told(plan(), tmp_path)
    assert "10 files come into" in line
    assert "9 more (inodes)" in line


def test_the_database_alone_needs_room_in_staging_alone(tmp_path: Path, leave: Spoil) -> None:
    leave(9 * MB, 0)
    (line,) = told(plan(archives=1, size=10 * MB), tmp_path, files=False)
    assert "10.0 MB come into" in line
    assert "uploads" not in line
