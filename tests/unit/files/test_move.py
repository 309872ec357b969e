from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.errors import DirectoryUnusable, FileChanged, FileMissing, NameTaken, UnsafePath
from glacier_provider.files import link, move, move_aside, move_back
from tests.support.durable import listen_to_fsync


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "uploads" / "2024").mkdir(parents=True)
    (tmp_path / "uploads" / "2024" / "a.pdf").write_bytes(b"content")
    os.chmod(tmp_path / "uploads" / "2024" / "a.pdf", 0o640)
    os.utime(tmp_path / "uploads" / "2024" / "a.pdf", ns=(1, 1_600_000_000_123_456_789))
    return tmp_path / "uploads"


@pytest.fixture
def orphans(tmp_path: Path) -> Path:
    return tmp_path / "orphan_files"


@pytest.fixture(params=["one file system", "two file systems"])
def _both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Move within one file system, and as if the orphan directory lay on another one."""
    if request.param == "two file systems":
        separate(monkeypatch)


def separate(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(move, "rename_new", refuse)


def files_in(root: Path) -> Iterator[str]:
    return (str(path.relative_to(root)) for path in sorted(root.rglob("*")) if not path.is_dir())


@pytest.mark.usefixtures("_both")
def test_a_move_is_on_the_disk_at_both_ends(root: Path, orphans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, moved = root / "2024" / "a.pdf", orphans / "restore-7" / "2024" / "a.pdf"
    synced = listen_to_fsync(monkeypatch, moved, original)
    move_aside(root, "2024/a.pdf", orphans, "restore-7")
    there_alone = (True, False)
    assert synced[-2:] == [(moved.parent, there_alone), (original.parent, there_alone)]


def test_a_copy_is_on_the_disk_with_its_name_before_the_original_goes(
    root: Path, orphans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    separate(monkeypatch)
    original, moved = root / "2024" / "a.pdf", orphans / "restore-7" / "2024" / "a.pdf"
    synced = listen_to_fsync(monkeypatch, moved, original)
    move_aside(root, "2024/a.pdf", orphans, "restore-7")
    before = [what for what, (_, is_there) in synced if is_there]
    assert before.index(b"content") < before.index(moved.parent), "content, then the name"


@pytest.mark.usefixtures("_both")
def test_an_orphan_keeps_its_relative_path_content_time_and_mode(root: Path, orphans: Path) -> None:
    assert move_aside(root, "2024/a.pdf", orphans, "restore-7") == "restore-7/2024/a.pdf"
    moved = orphans / "restore-7" / "2024" / "a.pdf"
    info = moved.stat()
    assert (moved.read_bytes(), info.st_mtime_ns, info.st_mode & 0o777, info.st_nlink) == (
        b"content",
        1_600_000_000_123_456_789,
        0o640,
        1,
    )
    assert list(files_in(root)) == []
    assert list(files_in(orphans)) == ["restore-7/2024/a.pdf"]


@pytest.mark.usefixtures("_both")
def test_a_move_that_is_repeated_gives_the_same_answer(root: Path, orphans: Path) -> None:
    first = move_aside(root, "2024/a.pdf", orphans, "restore-7")
    assert move_aside(root, "2024/a.pdf", orphans, "restore-7") == first
    move_back(root, "2024/a.pdf", orphans, "restore-7")
    move_back(root, "2024/a.pdf", orphans, "restore-7")
    assert list(files_in(root)) == ["2024/a.pdf"]
    assert list(files_in(orphans)) == []


@pytest.mark.usefixtures("_both")
def test_an_earlier_orphan_is_never_overwritten(root: Path, orphans: Path) -> None:
    move_aside(root, "2024/a.pdf", orphans, "restore-7")
    (root / "2024" / "a.pdf").write_bytes(b"uploaded again")
    with pytest.raises(NameTaken, match="restore-7"):
        move_aside(root, "2024/a.pdf", orphans, "restore-7")
    assert (orphans / "restore-7/2024/a.pdf").read_bytes() == b"content"
    assert (root / "2024/a.pdf").read_bytes() == b"uploaded again"


@pytest.mark.usefixtures("_both")
def test_a_file_that_came_meanwhile_is_never_overwritten_by_undoing(root: Path, orphans: Path) -> None:
    move_aside(root, "2024/a.pdf", orphans, "restore-7")
    (root / "2024" / "a.pdf").write_bytes(b"CONTENT")
    with pytest.raises(NameTaken):
        move_back(root, "2024/a.pdf", orphans, "restore-7")
    assert (root / "2024/a.pdf").read_bytes() == b"CONTENT"
    assert (orphans / "restore-7/2024/a.pdf").read_bytes() == b"content"


@pytest.mark.usefixtures("_both")
def test_the_same_content_in_both_places_is_a_move_that_was_cut_short(root: Path, orphans: Path) -> None:
    (orphans / "restore-7" / "2024").mkdir(parents=True)
    (orphans / "restore-7/2024/a.pdf").write_bytes(b"content")
    assert move_aside(root, "2024/a.pdf", orphans, "restore-7") == "restore-7/2024/a.pdf"
    assert list(files_in(root)) == []
    assert (orphans / "restore-7/2024/a.pdf").read_bytes() == b"content"


def test_two_names_of_one_file_are_a_move_that_was_cut_short(root: Path, orphans: Path) -> None:
    (orphans / "restore-7" / "2024").mkdir(parents=True)
    os.link(root / "2024/a.pdf", orphans / "restore-7/2024/a.pdf")
    move_aside(root, "2024/a.pdf", orphans, "restore-7")
    assert list(files_in(root)) == []
    assert (orphans / "restore-7/2024/a.pdf").read_bytes() == b"content"


def test_a_file_that_is_in_neither_place_is_missing(root: Path, orphans: Path) -> None:
    with pytest.raises(FileMissing, match="gone"):
        move_aside(root, "2024/gone", orphans, "restore-7")
    with pytest.raises(FileMissing):
        move_back(root, "2024/gone", orphans, "restore-7")


def test_links_and_directories_are_not_orphans(root: Path, orphans: Path) -> None:
    (root / "link").symlink_to("2024/a.pdf")
    (root / "linked").symlink_to("2024")
    for name in ("link", "linked/a.pdf", "2024"):
        with pytest.raises(UnsafePath):
            move_aside(root, name, orphans, "restore-7")
    assert "2024/a.pdf" in files_in(root)


@pytest.mark.parametrize(("name", "subdirectory"), [("../x", "r"), ("2024/a.pdf", ".."), ("2024/a.pdf", "")])
def test_no_move_leads_out_of_either_root(root: Path, orphans: Path, name: str, subdirectory: str) -> None:
    with pytest.raises(UnsafePath):
        move_aside(root, name, orphans, subdirectory)
    assert list(files_in(root)) == ["2024/a.pdf"]


def test_an_orphan_directory_with_a_link_in_it_leads_nowhere(root: Path, orphans: Path, tmp_path: Path) -> None:
    orphans.mkdir()
    (tmp_path / "outside").mkdir()
    (orphans / "restore-7").symlink_to(tmp_path / "outside")
    with pytest.raises(UnsafePath):
        move_aside(root, "2024/a.pdf", orphans, "restore-7")
    assert list(files_in(root)) == ["2024/a.pdf"]


def test_empty_directories_go_only_when_asked(root: Path, orphans: Path) -> None:
    (root / "x" / "y").mkdir(parents=True)
    (root / "x" / "y" / "b").touch()
    move_aside(root, "2024/a.pdf", orphans, "r")
    assert (root / "2024").is_dir()
    move_aside(root, "x/y/b", orphans, "r", remove_empty_parents=True)
    assert not (root / "x").exists()
    assert root.is_dir()
    move_back(root, "x/y/b", orphans, "r", remove_empty_parents=True)
    assert (root / "x/y/b").exists()
    assert not (orphans / "r" / "x").exists()
    assert (orphans / "r" / "2024" / "a.pdf").exists()


def test_a_directory_that_still_holds_files_stays(root: Path, orphans: Path) -> None:
    (root / "2024" / "b.pdf").touch()
    move_aside(root, "2024/a.pdf", orphans, "r", remove_empty_parents=True)
    assert list(files_in(root)) == ["2024/b.pdf"]


def test_missing_roots_are_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DirectoryUnusable, match="elsewhere"):
        move_back(root, "a", tmp_path / "elsewhere", "r")
    with pytest.raises(DirectoryUnusable, match="no_uploads"):
        move_aside(tmp_path / "no_uploads", "a", tmp_path / "orphan_files", "r")


def test_a_file_that_is_replaced_while_it_is_copied_stays(
    root: Path, orphans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    separate(monkeypatch)
    copy = move.copy_content

    def replaced_meanwhile(*arguments: Any) -> None:
        copy(*arguments)
        (root / "2024" / "new").write_bytes(b"new content")
        (root / "2024" / "new").rename(root / "2024" / "a.pdf")

    monkeypatch.setattr(move, "copy_content", replaced_meanwhile)
    with pytest.raises(FileChanged, match="while it was read"):
        move_aside(root, "2024/a.pdf", orphans, "r")
    assert (root / "2024/a.pdf").read_bytes() == b"new content"
    assert list(files_in(orphans)) == []


@pytest.mark.parametrize("missing", [["_rename_noreplace"], ["_rename_noreplace", "os.link"]])
def test_moves_work_where_the_newer_calls_are_missing(
    root: Path, orphans: Path, monkeypatch: pytest.MonkeyPatch, missing: list[str]
) -> None:
    def unsupported(*_: Any, **__: Any) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    for name in missing:
        monkeypatch.setattr(f"{link.__name__}.{name}", unsupported)
    move_aside(root, "2024/a.pdf", orphans, "r")
    assert list(files_in(orphans)) == ["r/2024/a.pdf"]
    (root / "2024/a.pdf").write_bytes(b"other")
    with pytest.raises(NameTaken):
        move_back(root, "2024/a.pdf", orphans, "r")
