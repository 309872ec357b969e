from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.core.checksum import Verifier
from glacier_provider.errors import ArchiveCorrupt, DirectoryUnusable, OutOfSpace, StoreUnavailable, UnsafePath
from glacier_provider.files import Placed, Placement, link, move_aside
from glacier_provider.files.together import PlacedTogether
from tests.support.durable import listen_to_fsync

CONTENT = b"0123456789" * 1000


def sha(content: bytes) -> Verifier:
    return Verifier(f"sha256:{hashlib.sha256(content).hexdigest()}")


def everything_in(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_file_is_placed_with_its_content_time_and_ordinary_mode(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        with Placement(tmp_path) as placement:
            chunks = (CONTENT[start : start + 7] for start in range(0, len(CONTENT), 7))
            placed = placement.place(
                "a/b/c.pdf", chunks, size=len(CONTENT), verifier=sha(CONTENT), mtime_ns=1_600_000_000_000_000_123
            )
    finally:
        os.umask(umask)
    assert placed is Placed.PLACED
    info = (tmp_path / "a/b/c.pdf").stat()
    assert (tmp_path / "a/b/c.pdf").read_bytes() == CONTENT
    assert (info.st_mtime_ns, stat.S_IMODE(info.st_mode), info.st_nlink) == (1_600_000_000_000_000_123, 0o640, 1)
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_an_empty_file_is_placed_too(tmp_path: Path) -> None:
    with Placement(tmp_path) as placement:
        assert placement.place("empty", [], size=0, verifier=sha(b"")) is Placed.PLACED
    assert everything_in(tmp_path) == {"empty": b""}


def test_content_is_on_the_disk_before_it_has_its_name_and_then_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a" / "b" / "c.pdf"
    with Placement(tmp_path) as placement:
        synced = listen_to_fsync(monkeypatch, target)
        placement.place("a/b/c.pdf", [CONTENT], size=len(CONTENT))
    assert synced == [
        (CONTENT, (False,)),
        (tmp_path, (False,)),  # which has the new directory a
        (tmp_path / "a", (False,)),
        (tmp_path / "a" / "b", (True,)),
    ]


def _never() -> Iterator[bytes]:
    raise AssertionError("content of a file that is there was asked for")
    yield b""


def test_a_file_that_is_there_is_never_touched_and_never_fetched(tmp_path: Path) -> None:
    (tmp_path / "same").write_bytes(b"local")
    (tmp_path / "other").write_bytes(b"longer than it was")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    with Placement(tmp_path) as placement:
        assert placement.present("free", 5) is None
        assert placement.present("same", 5) is Placed.KEPT
        assert placement.place("same", _never(), size=5) is Placed.KEPT
        for name in ("other", "directory", "link"):
            assert placement.place(name, _never(), size=5) is Placed.DIFFERS
    assert everything_in(tmp_path) == {"same": b"local", "other": b"longer than it was"}


def test_a_file_that_appears_while_another_is_written_is_kept(tmp_path: Path) -> None:
    def content() -> Iterator[bytes]:
        (tmp_path / "a").write_bytes(b"theirs")
        yield b"ours"

    with Placement(tmp_path) as placement:
        assert placement.place("a", content(), size=4) is Placed.DIFFERS
    assert everything_in(tmp_path) == {"a": b"theirs"}


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b"", b"9" * len(CONTENT)])
def test_wrong_content_never_gets_the_name(tmp_path: Path, content: bytes) -> None:
    with Placement(tmp_path) as placement, pytest.raises(ArchiveCorrupt) as caught:
        placement.place("sub/a", [content], size=len(CONTENT), verifier=sha(CONTENT))
    assert caught.value.retryable
    assert "sub/a" in str(caught.value)
    assert everything_in(tmp_path) == {}


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b""])
def test_content_of_another_length_needs_no_checksum_to_be_refused(tmp_path: Path, content: bytes) -> None:
    with Placement(tmp_path) as placement, pytest.raises(ArchiveCorrupt, match=f"than {len(CONTENT):,} bytes"):
        placement.place("a", [content], size=len(CONTENT))
    assert everything_in(tmp_path) == {}


def test_an_error_of_the_store_passes_through_and_leaves_nothing(tmp_path: Path) -> None:
    def content() -> Iterator[bytes]:
        yield b"half"
        raise StoreUnavailable("reset by peer")

    with Placement(tmp_path) as placement, pytest.raises(StoreUnavailable):
        placement.place("a", content(), size=8)
    assert list(tmp_path.iterdir()) == []


def test_what_would_not_fit_is_refused_beforehand(tmp_path: Path) -> None:
    with Placement(tmp_path) as placement, pytest.raises(OutOfSpace, match=str(tmp_path)):
        placement.place("a", _never(), size=1 << 60)


@pytest.mark.parametrize("name", ["../a", "/a", ".glacier-tmp/a", "file/below", "link/below", "n" * 256])
def test_an_unsafe_name_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").touch()
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    with Placement(tmp_path / "root") as placement, pytest.raises(UnsafePath):
        placement.place(name, [b"x"], size=1)
    assert everything_in(tmp_path) == {"root/file": b""}


def test_a_name_of_255_bytes_is_placed(tmp_path: Path) -> None:
    name = "ü" * 127 + "x"
    with Placement(tmp_path) as placement:
        assert placement.place(name, [b"1"], size=1) is Placed.PLACED
        assert placement.place("\\xff\\xfe", [b"2"], size=1) is Placed.PLACED
    assert sorted(os.listdir(os.fsencode(tmp_path))) == sorted([name.encode(), b"\xff\xfe"])


def test_many_threads_share_a_placement(tmp_path: Path) -> None:
    answers: list[Placed] = []

    def work(start: int) -> None:
        for number in range(start, start + 40):
            answers.append(placement.place(f"d{number % 7}/{number % 100}", [b"x" * 10], size=10))

    with Placement(tmp_path) as placement:
        threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 160, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 320
    assert set(answers) == {Placed.PLACED, Placed.KEPT}
    assert answers.count(Placed.PLACED) == len(everything_in(tmp_path))


def test_two_placements_may_come_and_go_at_once(tmp_path: Path) -> None:
    with Placement(tmp_path) as first:
        with Placement(tmp_path) as second:
            second.place("a", [b"1"], size=1)
        assert first.place("b", [b"2"], size=1) is Placed.PLACED
    assert everything_in(tmp_path) == {"a": b"1", "b": b"2"}


def test_only_leftovers_of_the_dead_are_cleared(tmp_path: Path) -> None:
    with Placement(tmp_path) as placement, placement.begin(4) as living:
        (tmp_path / ".glacier-tmp" / "0123456789abcdef").write_bytes(b"left by a process that was killed")
        assert placement.clear_temporary() == 1
        living.write_at(2, b"cd")
        living.write_at(0, b"ab")
        living.make_durable()
        assert placement.commit(living, "a", size=4) is Placed.PLACED
        assert placement.clear_temporary() == 0
    assert everything_in(tmp_path) == {"a": b"abcd"}


@pytest.mark.parametrize("read_soon", [True, False])
@pytest.mark.parametrize("place", ["here", "in memory"])
def test_blocks_written_side_by_side_make_the_file_whatever_their_place_and_size(
    tmp_path: Path, place: str, *, read_soon: bool
) -> None:
    content = os.urandom(3 * 65_536 + 77)
    # none may go past the cache by its place, its size or its memory, or the file system has no such way
    cuts = [0, 65_536, 65_536 + 4096, 2 * 65_536 + 1, 3 * 65_536, len(content)]
    root = Path(tempfile.mkdtemp(dir="/dev/shm")) if place == "in memory" and Path("/dev/shm").is_dir() else tmp_path
    try:
        with Placement(root) as placement, placement.begin(len(content), read_soon=read_soon) as pending:
            for start, end in reversed(list(pairwise(cuts))):
                block = memoryview(mmap.mmap(-1, 65_536 + 4096))[: end - start]
                block[:] = content[start:end]
                pending.write_block(start, block)
            unaligned = memoryview(bytearray(content[:4097]))[1:]
            pending.write_block(0, memoryview(bytearray(content[:4096])))
            pending.write_at(1, unaligned)
            pending.make_durable()
            assert placement.commit(pending, "a", size=len(content)) is Placed.PLACED
        assert everything_in(root) == {"a": content}
        assert (root / "a").stat().st_blocks * 512 < len(content) + 65_536  # nothing stays set aside
    finally:
        if root != tmp_path:
            shutil.rmtree(root)


def test_a_file_for_which_there_is_no_room_is_not_begun(tmp_path: Path) -> None:
    with Placement(tmp_path) as placement:
        with pytest.raises(OutOfSpace):
            placement.begin(1 << 60)
        assert list((tmp_path / ".glacier-tmp").iterdir()) == []


def test_a_new_file_that_is_cleared_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, clearing = fcntl.flock, iter([True])

    def lock_after_another_process_cleared(fd: int, operation: int) -> None:
        if next(clearing, False):
            with Placement(tmp_path):
                pass
        lock(fd, operation)

    with Placement(tmp_path) as placement:
        monkeypatch.setattr(fcntl, "flock", lock_after_another_process_cleared)
        assert placement.place("a", [b"1"], size=1) is Placed.PLACED
    assert everything_in(tmp_path) == {"a": b"1"}
    assert next(clearing, None) is None


def test_a_temporary_directory_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / ".glacier-tmp").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePath):
        Placement(tmp_path / "root")


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(DirectoryUnusable, match="uploads"):
        Placement(tmp_path / "uploads")


def _unsupported(*_: Any, **__: Any) -> None:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


@pytest.mark.parametrize("missing", [["_rename_noreplace"], ["_rename_noreplace", "os.link"]])
def test_file_systems_without_the_newer_calls_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: list[str]
) -> None:
    for name in missing:
        monkeypatch.setattr(f"{link.__name__}.{name}", _unsupported)
    (tmp_path / "taken").write_bytes(b"old")
    with Placement(tmp_path) as placement:
        assert placement.place("d/new", [b"new"], size=3) is Placed.PLACED
        with placement.begin(3) as pending:
            assert placement.commit(pending, "taken", size=3) is Placed.KEPT
    assert everything_in(tmp_path) == {"taken": b"old", "d/new": b"new"}


def without_synchronised_directories(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    really = os.fsync

    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(code, os.strerror(code))
        really(fd)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_files_are_placed_and_moved_where_no_directory_can_be_synchronised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, together: bool
) -> None:
    """As on shares of other machines, which say EINVAL."""
    without_synchronised_directories(monkeypatch, code)
    with Placement(tmp_path) as placement:
        assert placement.place("a/b.pdf", [CONTENT], size=len(CONTENT), verifier=sha(CONTENT)) is Placed.PLACED
    many = PlacedTogether(tmp_path, together=together)
    written = many.write("c/d.pdf", CONTENT)
    many.make_durable([written])
    many.name(written)
    many.make_durable([], [written])
    many.close()
    move_aside(tmp_path, "a/b.pdf", tmp_path / "aside", "1")
    assert everything_in(tmp_path) == {"aside/1/a/b.pdf": CONTENT, "c/d.pdf": CONTENT}


def test_a_directory_that_fails_to_be_synchronised_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_synchronised_directories(monkeypatch, errno.EIO)
    with Placement(tmp_path) as placement, pytest.raises(DirectoryUnusable, match="Input/output error"):
        placement.place("b.pdf", [CONTENT], size=len(CONTENT), verifier=sha(CONTENT))


def test_a_root_that_was_replaced_is_not_taken_for_itself(tmp_path: Path) -> None:
    root = tmp_path / "files"
    root.mkdir()
    with Placement(root) as placement:
        placement.require_its_path()
        root.rename(tmp_path / "former")
        with pytest.raises(DirectoryUnusable, match=r"files is gone: .*Then clear the task plan_restore"):
            placement.require_its_path()
        root.symlink_to(tmp_path / "former")
        placement.require_its_path()  # by another way, the same
        root.unlink()
        root.mkdir()
        with pytest.raises(DirectoryUnusable, match="is another directory than the one"):
            placement.require_its_path()
