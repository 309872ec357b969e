"""Very many small files get their places: content is on the disk before a name, and nothing takes another's place."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from glacier_provider.errors import DirectoryUnusable, OutOfSpace, UnsafePath
from glacier_provider.files import temporary, together
from glacier_provider.files.names import TEMPORARY
from glacier_provider.files.together import PlacedTogether
from tests.support.durable import listen_to_fsync


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


@pytest.mark.parametrize("failing", ["contents", "names"])
def test_what_one_of_several_calls_says_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    usual = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode) is (failing == "names"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        usual(fd)

    place = PlacedTogether(tmp_path, together=False)
    files = [place.write(name, b"1") for name in ("one.bin", "two.bin")]
    place.name(files[1])
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DirectoryUnusable, match="Input/output error"):
        place.make_durable(files[:1], files[1:])
    place.take_back(files[0])
    place.close()


def test_where_each_is_synchronised_by_itself_contents_directories_and_names_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "a" / "one.bin", tmp_path / "a" / "b" / "two.bin"
    place = PlacedTogether(tmp_path, together=False)
    files = [place.write("a/one.bin", b"1"), place.write("a/b/two.bin", b"22")]
    synced = listen_to_fsync(monkeypatch, one, two)
    place.make_durable(files)
    assert sorted(synced, key=str) == [(b"1", (False, False)), (b"22", (False, False))]
    synced.clear()
    for file in files:
        place.name(file)
    assert synced == [(tmp_path, (False, False)), (one.parent, (True, False))]  # each with a new directory in it
    synced.clear()
    place.make_durable([], files)
    assert sorted(synced) == [(one.parent, (True, True)), (two.parent, (True, True))]
    place.close()


def test_a_file_that_has_its_name_leaves_no_descriptor_and_the_mode_of_any_new_file(
    place: PlacedTogether, tmp_path: Path
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for name in ("one.bin", "two.bin", "three.bin"):
        file = place.write(name, b"1")
        place.make_durable([file])
        place.name(file)
    place.let_go()
    assert len(os.listdir("/proc/self/fd")) == before
    (tmp_path / "usual.bin").write_bytes(b"1")
    assert {path.stat().st_mode for path in tmp_path.glob("*.bin")} == {(tmp_path / "usual.bin").stat().st_mode}


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_all_of_them(
    place: PlacedTogether, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: usual(fd, bytes(data)[:3]))
    place.name(place.write("one.bin", b"0123456789"))
    assert (tmp_path / "one.bin").read_bytes() == b"0123456789"


def test_what_cannot_be_written_is_left_nowhere(
    place: PlacedTogether, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        with pytest.raises(OutOfSpace):
            place.write("one.bin", b"1")
    assert waiting(tmp_path) == 0
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_had_no_name_yet_is_taken_back_and_what_somebody_else_has_stays(
    place: PlacedTogether, tmp_path: Path
) -> None:
    file = place.write("one.bin", b"ours")
    (tmp_path / "one.bin").write_bytes(b"theirs")
    place.take_back(file)
    assert (tmp_path / "one.bin").read_bytes() == b"theirs"
    assert waiting(tmp_path) == 0


def test_a_link_has_a_name_wherever_it_leads(place: PlacedTogether, tmp_path: Path) -> None:
    (tmp_path / "nowhere.bin").symlink_to("not there")
    assert place.is_taken("nowhere.bin")


def test_a_directory_that_was_replaced_gets_the_files_when_it_was_let_go(place: PlacedTogether, tmp_path: Path) -> None:
    place.name(place.write("a/one.bin", b"1"))
    (tmp_path / "a").rename(tmp_path / "former")
    place.let_go()
    place.name(place.write("a/two.bin", b"2"))
    assert (tmp_path / "a" / "two.bin").read_bytes() == b"2"


def test_a_directory_that_another_process_makes_in_the_same_moment_is_used(
    place: PlacedTogether, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = os.mkdir

    def mkdir(name: bytes, *arguments: int, dir_fd: int) -> None:
        usual(name, *arguments, dir_fd=dir_fd)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    file = place.write("a/b/one.bin", b"1")
    monkeypatch.setattr(os, "mkdir", mkdir)
    place.name(file)
    assert (tmp_path / "a" / "b" / "one.bin").read_bytes() == b"1"


def test_one_call_says_when_it_fails(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    together._sync_all(fd)
    os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        together._sync_all(fd)


def test_one_call_is_trusted_where_the_system_tells_of_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = {"ext4": True, "xfs": True, "nfs4": False, "fuse.sshfs": False, "overlay": False, None: False}
    for release, tells in [("6.1.0-13-amd64", True), ("5.8.0", True), ("5.7.19", False), ("4.18.0-553.el8", False)]:
        monkeypatch.setattr("platform.release", lambda release=release: release)
        for kind, together_there in kinds.items():
            monkeypatch.setattr("glacier_provider.files.mounts.Mounts.kind", lambda _self, _device, kind=kind: kind)
            assert together._may_sync_together(0) is (tells and together_there), (release, kind)
