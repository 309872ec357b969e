"""A directory dump is read through while it is written: the writer here is the test."""

from __future__ import annotations

import gzip
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from glacier_provider.errors import DumpInvalid
from glacier_provider.postgres.dump.follow import Content, Follower, _content_of

MIB = 1024 * 1024
END = b"\\.\n\n\n"
ROWS = b"".join(b"%d\trow %d\n" % (n, n * 7) for n in range(50_000)) + END


def packed(name: str, content: bytes) -> bytes:
    if name.endswith(".zst"):
        return zstandard.ZstdCompressor(level=1).compress(content)
    return gzip.compress(content, 1, mtime=0) if name.endswith(".gz") else content


class Taken:
    """Pieces as a follower gives them."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, int, int]] = []

    def begin(self, directory: Path) -> None:
        """The test made it."""

    def add(self, name: str, place: int, size: int, data: bytes | None = None) -> None:
        assert data is None or len(data) == size
        self.pieces.append((name, place, size))

    def sizes(self) -> dict[str, int]:
        ends: dict[str, int] = {}
        for name, place, size in self.pieces:
            assert place == ends.get(name, 0), "the pieces of a file follow each other"
            ends[name] = place + size
        return ends


def feed(content: Content, data: bytes, step: int) -> Content:
    for start in range(0, len(data), step):
        content.feed(data[start : start + step])
    return content


@pytest.mark.parametrize("name", ["1.dat.zst", "1.dat.gz", "1.dat"])
@pytest.mark.parametrize("step", [1000, 100_000, 10 * MIB])
def test_the_end_of_a_file_is_known_when_it_is_there_and_not_before(name: str, step: int) -> None:
    data = packed(name, ROWS)
    assert feed(_content_of(name), data, step).ended
    assert feed(_content_of(name), data, step).rows_ended
    for cut in (1, 5, len(data) // 2):
        assert not feed(_content_of(name), data[:-cut], step).ended


@pytest.mark.parametrize("name", ["1.dat.zst", "1.dat.gz"])
def test_rows_without_their_mark_are_not_ended_though_the_file_is(name: str) -> None:
    content = feed(_content_of(name), packed(name, b"1\tone\n"), 10)
    assert (content.ended, content.rows_ended) == (True, False)


@pytest.mark.parametrize(
    ("rows", "ended"), [(END, True), (b"1\n" + END, True), (b"1" + END, False), (b"", False), (b"1\n\\.\n", False)]
)
def test_the_mark_stands_on_a_line_of_its_own(rows: bytes, ended: bool) -> None:
    assert feed(_content_of("1.dat"), rows, 3).rows_ended is ended


@pytest.mark.parametrize("name", ["1.dat.zst", "1.dat.gz"])
def test_bytes_that_cannot_be_decompressed_are_refused(name: str) -> None:
    data = bytearray(packed(name, random.Random(1).randbytes(MIB)))
    data[:8] = b"\xff" * 8
    with pytest.raises(ValueError, match=r"."):
        feed(_content_of(name), bytes(data), 4096)


def test_what_compresses_without_end_does_not_fill_the_memory() -> None:
    import tracemalloc

    squeezed = zstandard.ZstdCompressor(level=3).compress(bytes(1 << 30))
    assert len(squeezed) < MIB
    content = _content_of("1.dat.zst")
    content.feed(packed("1.dat.zst", b"x")[:3])  # the tools are loaded
    content = _content_of("1.dat.zst")
    tracemalloc.start()
    content.feed(squeezed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert content.ended
    assert peak < 256 * MIB


@pytest.mark.parametrize("ending", ["zst", "gz"])
def test_a_file_is_given_on_while_it_grows(tmp_path: Path, ending: str) -> None:
    name = f"7.dat.{ending}"
    data = packed(name, random.Random(2).randbytes(20 * MIB).replace(b"\\", b"/") + b"\n" + END)
    taken = Taken()
    follower = Follower(tmp_path, taken)
    for start in range(0, len(data), 3 * MIB):
        with (tmp_path / name).open("ab") as file:
            file.write(data[start : start + 3 * MIB])
        follower.look()
    assert len(taken.pieces) >= 3
    assert taken.sizes() == {name: len(data)}, "it is finished, and nobody had to say so"


def test_small_pieces_are_not_worth_their_header(tmp_path: Path) -> None:
    taken = Taken()
    follower = Follower(tmp_path, taken)
    (tmp_path / "7.dat.zst").write_bytes(packed("7.dat.zst", ROWS)[:-10])
    assert follower.look()
    assert taken.pieces == []
    assert not follower.look()


# --- with a real dump ---


@pytest.fixture(scope="module")
def dumped(postgres: object, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes directory dumps of a database with tables, an empty one and large objects."""
    from glacier_provider.postgres import DumpFormat, PgDumpOptions, dump_to_path, find_tools
    from tests.support.postgres import EmbeddedPostgres

    assert isinstance(postgres, EmbeddedPostgres)
    server = postgres.create_database("followed")
    postgres.execute("CREATE TABLE a AS SELECT i, md5(i::text) FROM generate_series(1, 5000) i", "followed")
    postgres.execute("CREATE TABLE empty (n integer)", "followed")
    postgres.execute("SELECT lo_from_bytea(0, 'large'::bytea), lo_from_bytea(0, ''::bytea)", "followed")
    directory = tmp_path_factory.mktemp("followed")

    def make(compression: str) -> Path:
        options = PgDumpOptions(format=DumpFormat.DIRECTORY, compression=compression, jobs=2)
        target = directory / compression.replace(":", "-")
        if not target.exists():
            dump_to_path(server, find_tools(postgres.bin_directory), options, target, progress=print)
        return target

    return make


@pytest.mark.parametrize("compression", ["zstd:3", "gzip:1", "none", "lz4"])
def test_every_file_of_a_dump_is_given_on_and_the_contents_last(
    dumped: Callable[[str], Path], compression: str
) -> None:
    dump, taken = dumped(compression), Taken()
    follower = Follower(dump, taken)
    follower.look()
    toc = follower.finish()
    assert taken.sizes() == {path.name: path.stat().st_size for path in dump.iterdir()}
    assert taken.pieces[-1][0] == "toc.dat"
    assert sum(entry.desc == "TABLE DATA" for entry in toc.entries) == 2
    assert follower.all_read is (compression != "lz4")


def _with(dump: Path, into: Path) -> Path:
    return shutil.copytree(dump, into / "dump")


@pytest.mark.parametrize("compression", ["zstd:3", "gzip:1", "none"])
def test_a_dump_without_one_of_its_files_is_refused(
    dumped: Callable[[str], Path], compression: str, tmp_path: Path
) -> None:
    for number, path in enumerate(sorted(dumped(compression).iterdir())):
        copy = _with(dumped(compression), tmp_path / str(number))
        (copy / path.name).unlink()
        with pytest.raises(DumpInvalid):
            Follower(copy).finish()


@pytest.mark.parametrize("compression", ["zstd:3", "gzip:1", "none"])
def test_a_dump_with_a_file_cut_anywhere_is_refused(
    dumped: Callable[[str], Path], compression: str, tmp_path: Path
) -> None:
    for number, path in enumerate(sorted(dumped(compression).iterdir())):
        size = path.stat().st_size
        if size == 0 or (compression == "none" and path.name.startswith("blob_")):
            continue  # nothing tells the length of an uncompressed large object
        copy = _with(dumped(compression), tmp_path / str(number))
        os.truncate(copy / path.name, size - 1)
        with pytest.raises(DumpInvalid):
            Follower(copy).finish()


def test_a_file_cut_after_it_was_read_is_noticed(dumped: Callable[[str], Path], tmp_path: Path) -> None:
    copy = _with(dumped("zstd:3"), tmp_path)
    follower = Follower(copy)
    follower.look()
    largest = max(copy.glob("*.dat.zst"), key=lambda path: path.stat().st_size)
    os.truncate(largest, 10)
    with pytest.raises(DumpInvalid, match="cut after it was written"):
        follower.finish()


def test_a_file_beside_the_data_that_is_gone_when_it_is_given_on_is_noticed(
    dumped: Callable[[str], Path], tmp_path: Path
) -> None:
    copy = _with(dumped("none"), tmp_path / "copy")
    (copy / "more.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DumpInvalid, match="cannot be read: No such file"):
        Follower(copy).finish()


def test_a_file_that_grows_after_it_seemed_finished_is_read_on(dumped: Callable[[str], Path], tmp_path: Path) -> None:
    copy, taken = _with(dumped("none"), tmp_path), Taken()
    table = max((path for path in copy.glob("[0-9]*.dat")), key=lambda path: path.stat().st_size)
    whole = table.read_bytes()
    table.write_bytes(whole[:1000].rpartition(b"\n")[0] + b"\n" + END)
    follower = Follower(copy, taken)
    follower.look()
    with table.open("ab") as file:
        file.write(b"more\n" + END)
    follower.finish()
    assert taken.sizes()[table.name] == table.stat().st_size
