"""Files under temporary names: whole whatever the system does by halves, and gone when they are not wanted."""

from __future__ import annotations

import ctypes
import errno
import itertools
import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.core.checksum import Verifier
from glacier_provider.errors import ArchiveCorrupt, DirectoryUnusable, OutOfSpace
from glacier_provider.files import PendingFile, Placed, Placement, temporary
from glacier_provider.files.names import TEMPORARY
from glacier_provider.files.temporary import TemporaryFiles
from tests.support.durable import listen_to_fsync

MIB = 1024 * 1024


@pytest.fixture
def files(tmp_path: Path) -> Iterator[TemporaryFiles]:
    parent = os.open(tmp_path, os.O_RDONLY)
    files = TemporaryFiles(parent, str(tmp_path))
    yield files
    files.close()
    os.close(parent)


def by_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a signal, a quota or a network file system may have it."""
    write, pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, memoryview(data)[: (len(data) + 1) // 2]))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, memoryview(data)[: (len(data) + 1) // 2], at))


def content(file: PendingFile) -> bytes:
    return os.pread(file.fd, 10 * MIB, 0)


def test_what_is_written_by_halves_is_written_whole(files: TemporaryFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    block = memoryview(mmap.mmap(-1, 8192))
    block[:] = bytes(range(256)) * 32
    with files.create() as appended, files.create() as placed, files.create() as blocks:
        blocks.go_past_cache()
        by_halves(monkeypatch)
        appended.write(b"0123456789")
        placed.write_at(3, b"0123456789")
        blocks.write_block(4096, block)
        assert content(appended) == b"0123456789"
        assert content(placed) == b"\0\0\0" + b"0123456789"
        assert content(blocks)[4096:] == bytes(block)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_file_system_that_has_no_room_says_so_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def none(*_: object) -> int:
        ctypes.set_errno(code)
        return -1

    with Placement(tmp_path) as placement:
        monkeypatch.setattr(temporary, "_system_call", lambda *_: none)
        with pytest.raises(OutOfSpace):
            placement.begin(10)
        assert list((tmp_path / TEMPORARY).iterdir()) == []


def test_a_file_system_that_sets_nothing_aside_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> int:
        ctypes.set_errno(errno.EOPNOTSUPP)
        return -1

    with Placement(tmp_path) as placement:
        monkeypatch.setattr(temporary, "_system_call", lambda *_: none)
        placement.begin(10).close()


def test_temporary_files_are_for_this_user_alone(files: TemporaryFiles, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / TEMPORARY).stat().st_mode) == 0o700


def test_a_directory_that_another_process_removed_is_made_again(files: TemporaryFiles, tmp_path: Path) -> None:
    if not files.has_unnamed():
        pytest.skip("This file system makes no files without a name.")
    for make in (files.create_unnamed, files.create):
        (tmp_path / TEMPORARY).rmdir()
        file = make()
        file.write(b"1")
        file.close()
    assert list((tmp_path / TEMPORARY).iterdir()) == []


def test_of_an_answer_that_does_not_end_no_more_is_written_than_was_wanted(tmp_path: Path) -> None:
    taken = itertools.count()
    chunks = (b"x" * 7 for _ in itertools.takewhile(lambda number: number < 1000, taken))
    with Placement(tmp_path) as placement, pytest.raises(ArchiveCorrupt, match="longer than 10 bytes"):
        placement.place("a.bin", chunks, size=10, verifier=Verifier("sha256:" + "0" * 64))
    assert next(taken) == 2


def test_a_directory_is_no_file_of_its_size(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    size = (tmp_path / "a").stat().st_size
    with Placement(tmp_path) as placement:
        assert placement.present("a", size) is Placed.DIFFERS
        assert placement.place("a", [b"x" * size], size=size) is Placed.DIFFERS


def test_a_copy_into_another_file_system_is_on_its_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, renames = temporary.rename_new, itertools.count()

    def rename(*arguments: Any) -> None:
        if not next(renames):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        usual(*arguments)

    monkeypatch.setattr(temporary, "rename_new", rename)
    path = tmp_path / "folder" / "a.bin"
    with Placement(tmp_path) as placement:
        synced = listen_to_fsync(monkeypatch, path)
        assert placement.place("folder/a.bin", [b"12345"], size=5, mtime_ns=10**18) is Placed.PLACED
    assert [what for what in synced if isinstance(what[0], bytes)] == [(b"12345", (False,)), (b"12345", (False,))]
    assert (path.parent, (True,)) in synced
    assert path.stat().st_mtime_ns == 10**18
    assert not (path.parent / TEMPORARY).exists()


def test_a_file_system_that_is_in_trouble_is_not_taken_for_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Placement(tmp_path) as placement:
        monkeypatch.setattr(temporary, "rename_new", rename)
        with pytest.raises(DirectoryUnusable, match="Input/output error"):
            placement.place("a.bin", [b"12345"], size=5)
        assert list((tmp_path / TEMPORARY).iterdir()) == []
    assert list(tmp_path.iterdir()) == []
