"""Very many small files get their places: content is on the disk before a name, and nothing takes another's place."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from glacier_provider.errors import DirectoryUnusable, UnsafePath
from glacier_provider.files import temporary, together
from glacier_provider.files.names import TEMPORARY
from glacier_provider.files.together import PlacedTogether


@pytest.fixture(params=["one call", "a call each", "without a name"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PlacedTogether]:
    unnamed = request.param == "without a name"
    place = PlacedTogether(tmp_path, together=request.param != "a call each", unnamed=unnamed)
    if unnamed and not place._temporary.has_unnamed():
        pytest.skip("This file system makes no files without a name.")
    yield place
    place.close()


def waiting(tmp_path: Path) -> int:
    return len(list((tmp_path / TEMPORARY).iterdir()))


def test_files_have_no_name_before_they_are_given_it(place: PlacedTogether, tmp_path: Path) -> None:
    names = ["a/b/one.bin", "a/b/two.bin", "a/three.bin", "four é.bin"]
    files = [place.write(name, name.encode()) for name in names]
    place.make_durable(files)
    assert waiting(tmp_path) == (0 if place._unnamed else 4)
    assert [path for path in tmp_path.iterdir() if path.name != TEMPORARY] == []
    told = [place.name(file) for file in files]
    place.make_durable([], files)
    for name, info in zip(names, told, strict=True):
        path = tmp_path / name
        assert path.read_bytes() == name.encode()
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (info.st_ino, info.st_mtime_ns)
        assert place.is_taken(name)
    assert waiting(tmp_path) == 0


def test_a_directory_is_looked_at_anew_when_it_was_let_go(place: PlacedTogether, tmp_path: Path) -> None:
    assert not place.is_taken("a/one.bin")
    for directory in (tmp_path / "a", tmp_path / "b"):
        directory.mkdir()
        (directory / "one.bin").touch()
    assert place.is_taken("a/one.bin")
    assert not place.is_taken("a/two.bin")
    assert place.is_taken("b/one.bin")
    (tmp_path / "b").rename(tmp_path / "c")
    place.let_go()
    assert not place.is_taken("b/one.bin")
    (tmp_path / "link").symlink_to("a")
    with pytest.raises(UnsafePath, match="symbolic link"):
        place.is_taken("link/one.bin")


def test_files_without_a_name_are_made_only_where_they_can_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(temporary, "_system_call", lambda *_: None)
    monkeypatch.setattr(os, "link", refuse)
    place = PlacedTogether(tmp_path, together=True)
    file = place.write("one.bin", b"1")
    assert waiting(tmp_path) == 1
    place.make_durable([file])
    place.name(file)
    assert (tmp_path / "one.bin").read_bytes() == b"1"
    place.close()


@pytest.mark.parametrize("way", ["by its descriptor", "through /proc"])
def test_a_file_without_a_name_gets_one_by_either_way_and_never_over_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    if way == "by its descriptor":
        monkeypatch.setattr(os, "link", refuse)
    else:
        monkeypatch.setattr(temporary, "_system_call", lambda *_: None)
    place = PlacedTogether(tmp_path, together=True)
    if not place._unnamed:
        pytest.skip(f"Files without a name get none {way} here.")
    files = [place.write("one.bin", content) for content in (b"first", b"second")]
    place.make_durable(files)
    place.name(files[0])
    monkeypatch.undo()
    with pytest.raises(FileExistsError):
        place.name(files[1])
    assert (tmp_path / "one.bin").read_bytes() == b"first"
    place.close()


def test_a_name_that_is_taken_meanwhile_keeps_what_it_has(place: PlacedTogether, tmp_path: Path) -> None:
    file = place.write("a.bin", b"ours")
    (tmp_path / "a.bin").write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        place.name(file)
    assert (tmp_path / "a.bin").read_bytes() == b"theirs"
    assert waiting(tmp_path) == 0


def test_a_directory_that_became_a_link_is_not_followed(place: PlacedTogether, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    file = place.write("folder/a.bin", b"ours")
    (tmp_path / "folder").symlink_to(outside)
    with pytest.raises(UnsafePath, match="symbolic link"):
        place.name(file)
    assert list(outside.iterdir()) == []
    assert waiting(tmp_path) == 0


def test_what_the_disk_does_not_take_is_an_error_and_taken_back(
    place: PlacedTogether, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    files = [place.write("a/one.bin", b"1"), place.write("two.bin", b"2")]
    place.name(files[1])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        patch.setattr(together, "_sync_all", fail)
        with pytest.raises(DirectoryUnusable, match="Input/output error"):
            place.make_durable(files[:1], files[1:])
    for file in files:
        place.take_back(file)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_one_call_is_trusted_where_the_system_tells_of_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"ext4": True, "xfs": True, "nfs4": False, "fuse.sshfs": False, "overlay": False, None: False}
    for release, tells in [("6.1.0-13-amd64", True), ("5.8.0", True), ("5.7.19", False), ("4.18.0-553.el8", False)]:
        monkeypatch.setattr("platform.release", lambda release=release: release)
        for kind, together_there in kinds.items():
            monkeypatch.setattr("glacier_provider.files.mounts.Mounts.kind", lambda _self, _device, kind=kind: kind)
            assert together._may_sync_together(0) is (tells and together_there), (release, kind)
