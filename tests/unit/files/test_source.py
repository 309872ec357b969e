from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from glacier_provider.errors import DirectoryUnusable, FileChanged, FileError, FileMissing, UnsafePath
from glacier_provider.files import Root, hash_file, hash_source, open_source, read_small
from glacier_provider.files.root import NeighbourRoot


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "empty").touch()
    return tmp_path


def test_any_part_of_a_file_can_be_read(root: Path) -> None:
    with open_source(root, "sub/file") as source:
        assert source.size == 10240
        assert source.read_at(250, 10) == bytes([250, 251, 252, 253, 254, 255, 0, 1, 2, 3])
        assert source.read_at(10240, 0) == b""
        source.verify_unchanged()


def test_an_opened_root_serves_many_files(root: Path) -> None:
    with Root(root) as opened:
        assert read_small(opened, "empty", 10) == b""
        assert len(read_small(opened, "sub/file", 10240)) == 10240


def _append(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"x")


def _rewrite_in_place_with_the_old_time(path: Path) -> None:
    info = path.stat()
    with open(path, "r+b") as file:
        file.write(b"x")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.rename(path)


@pytest.mark.parametrize(
    "change",
    [
        _append,
        lambda path: os.truncate(path, 5000),
        lambda path: os.truncate(path, 20000),
        lambda path: os.utime(path, ns=(1, 1)),
        _rewrite_in_place_with_the_old_time,
        _replace,
        Path.unlink,
    ],
    ids=["grows", "shrinks", "is extended", "is touched", "is rewritten", "is replaced", "vanishes"],
)
def test_a_file_that_changes_while_it_is_read_is_no_archive(root: Path, change: Callable[[Path], object]) -> None:
    with open_source(root, "sub/file") as source:
        assert len(source.read_at(0, 4096)) == 4096
        change(root / "sub" / "file")
        with pytest.raises(FileChanged):
            source.verify_unchanged()
        with pytest.raises(FileChanged) as caught:
            source.read_at(4096, 6144)
    assert caught.value.retryable
    assert "sub/file" in str(caught.value)


def test_a_file_that_is_still_being_written_is_left_for_later(root: Path) -> None:
    os.utime(root / "sub" / "file", (1_000_000, 1_000_000))
    with pytest.raises(FileChanged, match="written"):
        open_source(root, "sub/file", settle_seconds=10, now=1_000_009)
    open_source(root, "sub/file", settle_seconds=10, now=1_000_010).close()
    open_source(root, "sub/file", settle_seconds=0, now=1_000_000).close()


def test_a_time_in_the_future_does_not_keep_a_file_out_for_ever(root: Path) -> None:
    changed = os.stat(root / "sub" / "file").st_ctime
    os.utime(root / "sub" / "file", (changed + 1e8, changed + 1e8))
    changed = os.stat(root / "sub" / "file").st_ctime
    with pytest.raises(FileChanged):
        open_source(root, "sub/file", settle_seconds=10, now=changed + 1)
    open_source(root, "sub/file", settle_seconds=10, now=changed + 11).close()


def test_another_size_than_that_of_the_scan_is_a_change(root: Path) -> None:
    with pytest.raises(FileChanged, match="10,240 bytes, not the 10,239"):
        open_source(root, "sub/file", expected_size=10239)
    with pytest.raises(FileChanged, match="grew to 10,240"):
        read_small(root, "sub/file", 10239)


@pytest.mark.parametrize("name", ["gone", "gone/too", "sub/gone"])
def test_a_file_that_is_gone_is_missing(root: Path, name: str) -> None:
    with pytest.raises(FileMissing):
        open_source(root, name)


def test_only_regular_files_reached_without_links_are_read(root: Path) -> None:
    (root / "link").symlink_to("sub/file")
    (root / "linked").symlink_to("sub")
    os.mkfifo(root / "pipe")
    for name in ("link", "linked/file", "pipe", "sub", "empty/below"):
        with pytest.raises(UnsafePath, match="not"):
            open_source(root, name)


def test_nothing_stays_open_after_a_refusal(root: Path) -> None:
    os.mkfifo(root / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    for name in ("pipe", "gone", "sub/gone", "sub", "../x"):
        with pytest.raises(FileError):
            open_source(root, name)
    with pytest.raises(FileChanged):
        open_source(root, "sub/file", expected_size=1)
    with pytest.raises(FileChanged):
        open_source(root, "sub/file", settle_seconds=1e12, now=2e9)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(DirectoryUnusable, match="nowhere"):
        open_source(tmp_path / "nowhere", "a")


def test_hashes_agree_with_hashlib(root: Path) -> None:
    expected = hashlib.sha256((root / "sub" / "file").read_bytes()).hexdigest()
    assert hash_file(root / "sub" / "file") == expected
    with open_source(root, "sub/file") as source:
        assert hash_source(source, chunk=1000) == expected
    assert hash_file(root / "empty") == hashlib.sha256().hexdigest()
    with pytest.raises(FileMissing):
        hash_file(root / "gone")


def test_a_kept_directory_gives_way_to_what_replaced_it(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a").write_bytes(b"old")
    (tmp_path / "docs" / "b").write_bytes(b"of the same directory")
    with NeighbourRoot(tmp_path) as root:
        assert read_small(root, "docs/a", 100) == b"old"
        (tmp_path / "docs").rename(tmp_path / "gone")
        (tmp_path / "docs").mkdir()
        (tmp_path / "docs" / "a").write_bytes(b"new")
        assert read_small(root, "docs/b", 100) == b"of the same directory"
        root.let_go()
        assert read_small(root, "docs/a", 100) == b"new"


def test_a_kept_directory_is_not_that_of_another_file(tmp_path: Path) -> None:
    for name in ("a", "b", "a/b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(name.encode())
    (tmp_path / "x").write_bytes(b"root")
    with NeighbourRoot(tmp_path) as root:
        found = [read_small(root, name, 100) for name in ("a/x", "b/x", "a/b/x", "x", "a/x")]
    assert found == [b"a", b"b", b"a/b", b"root", b"a"]


def test_a_kept_root_never_follows_a_link_to_a_directory(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")
    with NeighbourRoot(tmp_path / "inside") as root, pytest.raises(UnsafePath):
        read_small(root, "link/secret", 100)


def test_a_root_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a").write_bytes(b"a")
    before = len(os.listdir("/proc/self/fd"))
    with NeighbourRoot(tmp_path) as root:
        read_small(root, "docs/a", 100)
    assert len(os.listdir("/proc/self/fd")) == before
