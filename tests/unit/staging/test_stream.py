"""Archives that are read while they are still being made."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glacier_provider.errors import DumpInvalid, FileChanged, StoreDenied
from glacier_provider.staging import (
    DirectorySource,
    FileStream,
    Spool,
    TarStream,
    extract_tar,
    read_layout,
    write_layout,
)
from tests.support.durable import listen_to_fsync

MIB = 1024 * 1024


def a_tar(directory: Path, *pieces: tuple[str, int]) -> TarStream:
    """Write pieces of files one after the other, as (name, size), and add each to a tar."""
    directory.mkdir(exist_ok=True)
    tar, chance = TarStream(), random.Random(len(pieces))
    tar.begin(directory)
    for name, size in pieces:
        with (directory / name).open("ab") as file:
            place = file.tell()
            file.write(chance.randbytes(size))
        tar.add(name, place, size)
    return tar


def content_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize("damage", [os.unlink, lambda path: os.truncate(path, 10)])
def test_a_file_that_is_cut_or_removed_after_it_was_added_makes_the_dump_invalid(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    with a_tar(tmp_path / "dump", ("1.dat.zst", 5000)) as tar:
        damage(tmp_path / "dump" / "1.dat.zst")
        with pytest.raises(DumpInvalid, match="cut or removed") as raised:
            tar.read_at(0, tar.size)
    assert "attached" not in str(raised.value)


def test_a_dump_that_grew_is_on_the_disk_before_it_has_its_name_and_then_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = listen_to_fsync(monkeypatch, tmp_path / "dump")
    with FileStream(tmp_path / "dump") as stream:
        stream.write(b"rows")
        stream.end()
    assert synced == [(b"rows", (False,)), (tmp_path, (True,))]


def test_a_layout_is_on_the_disk_when_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = listen_to_fsync(monkeypatch)
    with a_tar(tmp_path / "dump", ("1.dat", 5)) as tar:
        tar.end()
        write_layout(tar.pieces, tmp_path / "dump.layout")
    assert ((tmp_path / "dump.layout").read_bytes(), ()) in synced


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 60_000])
def test_a_small_file_whose_bytes_are_at_hand_is_not_read_for_the_checksum(tmp_path: Path, size: int) -> None:
    (tmp_path / "1.dat").write_bytes(random.Random(size).randbytes(size))
    (tmp_path / "toc.dat").write_bytes(b"toc")
    digests = []
    for data in (None, (tmp_path / "1.dat").read_bytes()):
        with TarStream() as tar:
            tar.begin(tmp_path)
            tar.add("1.dat", 0, size, data)
            tar.add("toc.dat", 0, 3)
            tar.end()
            digests.append(tar.sha256())
            assert hashlib.sha256(tar.read_at(0, tar.size)).hexdigest() == tar.sha256()
    assert digests[0] == digests[1]


PIECES = [
    ("1.dat.zst", 5000),
    ("2.dat.zst", 0),
    ("1.dat.zst", 512),
    ("3.dat.zst", 1),
    ("1.dat.zst", 7),
    ("toc.dat", 99),
]


def test_pieces_of_several_files_come_together_again(tmp_path: Path) -> None:
    with a_tar(tmp_path / "dump", *PIECES) as tar:
        tar.end()
        extract_tar(io.BytesIO(tar.read_at(0, tar.size)), tmp_path / "out")
    assert content_of(tmp_path / "out") == content_of(tmp_path / "dump")


def test_the_pieces_are_members_that_any_tar_reads_and_that_join_in_the_order_of_their_names(tmp_path: Path) -> None:
    with a_tar(tmp_path / "dump", *PIECES) as tar:
        tar.end()
        (tmp_path / "archive.tar").write_bytes(tar.read_at(0, tar.size))
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "xf", "../archive.tar"], cwd=tmp_path / "out", check=True)
    join = 'for f in *+*; do cat "$f" >> "${f%+*}" && rm "$f"; done'  # as the operations guide says
    subprocess.run(["sh", "-c", join], cwd=tmp_path / "out", check=True)
    assert content_of(tmp_path / "out") == content_of(tmp_path / "dump")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["1.dat", "2.dat.gz", "toc.dat"]), st.integers(0, 3000)), min_size=1, max_size=9)
)
def test_the_layout_gives_the_same_bytes_again(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[str, int]]
) -> None:
    directory = tmp_path_factory.mktemp("tar") / "dump"
    with a_tar(directory, *pieces) as tar:
        tar.end()
        whole = tar.read_at(0, tar.size)
        assert tar.sha256() == hashlib.sha256(whole).hexdigest()
        layout = directory.with_name("dump.layout")
        write_layout(tar.pieces, layout)
    with DirectorySource(directory, pieces=read_layout(layout)) as again:
        assert (again.size, again.read_at(0, again.size)) == (len(whole), whole)
    with tarfile.open(fileobj=io.BytesIO(whole)) as opened:
        assert len(opened.getmembers()) == len(pieces)


def test_what_was_added_can_be_read_before_the_end(tmp_path: Path) -> None:
    with a_tar(tmp_path / "dump", ("1.dat", 3000)) as tar:
        seen = tar.read_at(0, tar.size)
        with pytest.raises(ValueError, match="not within"):
            tar.read_at(0, tar.size + 1)
        tar.add("1.dat", 3000, 0)
        tar.end()
        assert tar.read_at(0, len(seen)) == seen


@pytest.mark.parametrize("change", ["shorter", "more", "gone", "another"])
def test_a_directory_that_is_not_that_of_its_layout_is_not_read(tmp_path: Path, change: str) -> None:
    directory = tmp_path / "dump"
    with a_tar(directory, *PIECES) as tar:
        pieces = tar.pieces
    match change:
        case "shorter":
            os.truncate(directory / "1.dat.zst", 100)
        case "more":
            (directory / "toc.dat").write_bytes(b"x" * 1000)
        case "gone":
            (directory / "3.dat.zst").unlink()
        case "another":
            (directory / "9.dat.zst").touch()
    with pytest.raises(FileChanged):
        DirectorySource(directory, pieces=pieces)


def test_a_damaged_layout_is_named(tmp_path: Path) -> None:
    (tmp_path / "dump.layout").write_bytes(b"0 12\n")
    with pytest.raises(FileChanged, match="damaged"):
        read_layout(tmp_path / "dump.layout")
    assert read_layout(tmp_path / "none.layout") is None


@pytest.mark.parametrize("missing", [0, 2])
def test_an_archive_without_one_piece_is_not_extracted(tmp_path: Path, missing: int) -> None:
    with a_tar(tmp_path / "dump", ("1.dat", 600), ("2.dat", 600), ("1.dat", 600), ("1.dat", 600)) as tar:
        tar.end()
        members = [tar.read_at(entry.start, entry.end - entry.start) for entry in tar.tar._entries]
    cut = b"".join(member for number, member in enumerate(members) if number != missing) + bytes(1024)
    with pytest.raises(DumpInvalid):
        extract_tar(io.BytesIO(cut), tmp_path / "out")


def test_who_waits_for_more_gets_what_ended_it(tmp_path: Path) -> None:
    with a_tar(tmp_path / "dump", ("1.dat", 10)) as tar:
        assert tar.wait_for(tar.size)
        later = threading.Timer(0.05, tar.fail, [StoreDenied("no more")])
        later.start()
        with pytest.raises(StoreDenied, match="no more"):
            tar.wait_for(10 * MIB)


def test_a_growing_file_is_there_under_its_name_when_it_is_whole(tmp_path: Path) -> None:
    with FileStream(tmp_path / "dump") as growing:
        growing.write(b"abc")
        assert growing.read_at(1, 2) == b"bc"
        assert growing.wait_for(3)
        growing.write(b"de")
        growing.end()
        assert not growing.wait_for(6)
        assert growing.sha256() == hashlib.sha256(b"abcde").hexdigest()
    assert content_of(tmp_path) == {"dump": b"abcde"}


def test_a_stream_keeps_only_the_parts_that_are_not_sent(tmp_path: Path) -> None:
    spool, got = Spool(tmp_path, part_size=1000, parts=3), bytearray()
    content = random.Random(1).randbytes(10_500)

    def read() -> None:
        start = 0
        while (whole := spool.wait_for(start + 1000)) or spool.size > start:
            size = 1000 if whole else spool.size - start
            got.extend(spool.read_at(start, size))
            assert spool.read_at(start, size) == got[start : start + size], "a part is read twice: hashed, then sent"
            spool.sent(start, size)
            start += size

    reader = threading.Thread(target=read)
    reader.start()
    for start in range(0, len(content), 700):
        spool.write(content[start : start + 700])
        assert len(spool._kept) <= 3
    spool.end()
    reader.join(10)
    assert bytes(got) == content
    assert spool.sha256() == hashlib.sha256(content).hexdigest()
    with pytest.raises(FileChanged, match="no longer there"):
        spool.read_at(0, 10)


def test_a_writer_that_waits_for_room_gets_what_ended_the_stream(tmp_path: Path) -> None:
    spool = Spool(tmp_path, part_size=10, parts=1)
    threading.Timer(0.05, spool.fail, [StoreDenied("it refuses")]).start()
    with pytest.raises(StoreDenied, match="it refuses"):
        spool.write(b"x" * 100)


def test_parts_beyond_memory_are_kept_on_disk_without_a_name(tmp_path: Path) -> None:
    with Spool(tmp_path, part_size=32 * MIB, parts=2) as spool:
        spool.write(bytes(17 * MIB))
        spool.write(b"tail")
        assert spool.read_at(17 * MIB, 4) == b"tail"
        assert list(tmp_path.iterdir()) == []
