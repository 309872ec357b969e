from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glacier_provider.errors import DirectoryUnusable, DumpInvalid, FileChanged, UnsafePath
from glacier_provider.files import hash_source
from glacier_provider.staging import DirectorySource, extract_tar


def content_of(root: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in root.rglob("*")}


def whole(source: DirectorySource) -> bytes:
    return source.read_at(0, source.size)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """A tree as pg_dump's directory format makes it, and odder."""
    root = tmp_path / "dump"
    (root / "blobs").mkdir(parents=True)
    (root / "toc.dat").write_bytes(os.urandom(1500))
    (root / "3125.dat.zst").write_bytes(os.urandom(200_000))
    (root / "3126.dat.zst").write_bytes(b"")
    (root / "3127.dat.zst").write_bytes(os.urandom(512))
    (root / "blobs" / "blob_16385.dat").write_bytes(os.urandom(513))
    (root / "blobs" / ("long-" * 40 + "ü.dat")).write_bytes(b"x")
    (root / "empty").mkdir()
    with open(os.fsencode(root) + b"/not-utf8-\xff", "wb") as file:
        file.write(b"y")
    return root


def test_an_archive_of_a_directory_can_be_read_by_tar(dump: Path, tmp_path: Path) -> None:
    with DirectorySource(dump) as source, open(tmp_path / "dump.tar", "wb") as file:
        file.write(whole(source))
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "dump.tar", "-C", tmp_path / "out"], check=True)
    assert content_of(tmp_path / "out") == content_of(dump)


def test_an_archive_of_a_directory_comes_back_whole(dump: Path, tmp_path: Path) -> None:
    with DirectorySource(dump) as source:
        data = whole(source)
    (tmp_path / "dump.tar").write_bytes(data)
    extract_tar(tmp_path / "dump.tar", tmp_path / "from_file")
    extract_tar(io.BytesIO(data), tmp_path / "from_stream")
    assert content_of(tmp_path / "from_file") == content_of(dump)
    assert content_of(tmp_path / "from_stream") == content_of(dump)
    assert (tmp_path / "from_file").stat().st_mode & 0o077 == 0


def test_the_same_tree_always_gives_the_same_bytes(dump: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for name in sorted(os.listdir(dump), reverse=True):
        there = shutil.copytree if (dump / name).is_dir() else shutil.copy
        copy.mkdir(exist_ok=True)
        there(dump / name, copy / name)
    with DirectorySource(dump) as one, DirectorySource(copy) as other:
        assert hash_source(one) == hash_source(other, chunk=999) == hashlib.sha256(whole(one)).hexdigest()


trees = st.dictionaries(
    st.text("abcü. -'\\", min_size=1, max_size=130).filter(lambda name: name not in (".", "..")),
    st.binary(max_size=1100),
    max_size=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=trees, data=st.data())
def test_any_part_of_the_archive_can_be_read_alone(
    tmp_path: Path, files: dict[str, bytes], data: st.DataObject
) -> None:
    root = tmp_path / hashlib.sha256(repr(files).encode()).hexdigest()
    root.mkdir(exist_ok=True)
    for name, content in files.items():
        (root / name).write_bytes(content)
    with DirectorySource(root) as source:
        everything = whole(source)
        assert len(everything) == source.size
        assert source.size % 512 == 0
        with tarfile.open(fileobj=io.BytesIO(everything)) as tar:
            assert tar.getnames() == sorted(files, key=str.encode)
        start = data.draw(st.integers(0, source.size))
        size = data.draw(st.integers(0, source.size - start))
        assert source.read_at(start, size) == everything[start : start + size]


def test_nothing_beyond_the_end_is_read(dump: Path) -> None:
    with DirectorySource(dump) as source, pytest.raises(ValueError, match="not within"):
        source.read_at(source.size - 1, 2)


def test_a_dump_that_changes_while_it_is_read_is_noticed(dump: Path) -> None:
    with DirectorySource(dump) as source:
        os.truncate(dump / "3125.dat.zst", 100)
        with pytest.raises(FileChanged, match=r"3125\.dat\.zst"):
            whole(source)


def test_links_do_not_belong_in_a_dump(dump: Path) -> None:
    (dump / "link").symlink_to("/etc/passwd")
    with pytest.raises(UnsafePath, match="link"):
        DirectorySource(dump)


def test_a_missing_dump_is_named(tmp_path: Path) -> None:
    with pytest.raises(DirectoryUnusable, match="gone"):
        DirectorySource(tmp_path / "gone")


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    buffer.seek(0)
    return buffer


def member(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", content: bytes = b""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info, content


@pytest.mark.parametrize(
    "members",
    [
        [member("../evil")],
        [member("/tmp/evil")],
        [member("a/../../evil")],
        [member("link", tarfile.SYMTYPE, "/etc/passwd")],
        [member("link", tarfile.SYMTYPE, ".."), member("link/evil")],
        [member("hard", tarfile.LNKTYPE, "/etc/passwd")],
        [member("fifo", tarfile.FIFOTYPE)],
        [member("device", tarfile.CHRTYPE)],
        [member("../evil", tarfile.DIRTYPE)],
    ],
)
def test_an_archive_that_leads_elsewhere_is_refused(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    with pytest.raises(UnsafePath):
        extract_tar(tar_of(*members), tmp_path / "into")
    assert [path.name for path in tmp_path.rglob("*")] == ["into"]


def test_a_name_given_twice_does_not_overwrite(tmp_path: Path) -> None:
    with pytest.raises(DirectoryUnusable, match="exists"):
        extract_tar(tar_of(member("a", content=b"1"), member("a", content=b"2")), tmp_path / "into")
    assert (tmp_path / "into" / "a").read_bytes() == b"1"


def test_extraction_needs_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    with pytest.raises(UnsafePath, match="not empty"):
        extract_tar(tar_of(member("a")), tmp_path)


@pytest.mark.parametrize("kept", [100, 512, 700, 5000])
@pytest.mark.parametrize("stream", [True, False])
def test_a_cut_archive_is_refused(dump: Path, tmp_path: Path, kept: int, stream: bool) -> None:
    with DirectorySource(dump) as source:
        (tmp_path / "cut.tar").write_bytes(whole(source)[:kept])
    archive = io.BytesIO((tmp_path / "cut.tar").read_bytes()) if stream else tmp_path / "cut.tar"
    with pytest.raises(DumpInvalid, match="cut or damaged"):
        extract_tar(archive, tmp_path / "into")


@pytest.mark.parametrize("stream", [True, False])
def test_an_archive_that_is_cut_between_two_files_is_refused(tmp_path: Path, stream: bool) -> None:
    data = tar_of(member("a", content=b"1"), member("b", content=b"2")).getvalue()[:1024]
    (tmp_path / "cut.tar").write_bytes(data)
    with pytest.raises(DumpInvalid, match="end is missing"):
        extract_tar(io.BytesIO(data) if stream else tmp_path / "cut.tar", tmp_path / "into")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(os.urandom(4096))
    with pytest.raises(DumpInvalid):
        extract_tar(tmp_path / "noise", tmp_path / "into")
