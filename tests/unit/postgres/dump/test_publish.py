"""A dump that is whole gets its final name, and the name is durable where the file system can make it so."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from glacier_provider.postgres.dump import pg_dump


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "dump.partial").mkdir()
    (tmp_path / "dump.partial" / "toc.dat").write_bytes(b"PGDMP")
    return tmp_path


def fsync_that_says(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_dump_is_named_where_no_directory_can_be_synchronised(
    directory: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fsync_that_says(code, monkeypatch)
    pg_dump._publish(directory / "dump.partial", directory / "dump")
    assert [path.name for path in directory.iterdir()] == ["dump"]


def test_a_disk_that_could_not_keep_the_name_is_told_of(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync_that_says(errno.EIO, monkeypatch)
    with pytest.raises(OSError, match="Input/output error"):
        pg_dump._publish(directory / "dump.partial", directory / "dump")
