"""Which directories are, lie in, or hold one of an application, however they are mounted."""

from __future__ import annotations

from pathlib import Path

import pytest

from glacier_provider.errors import TargetRefused
from glacier_provider.files.mounts import mounted, place_in_file_system
from glacier_provider.files.target import claim_target, lies_in, remove_target
from tests.support.children import in_child, mount_again


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    """A directory of an application, with some below; `again` beside it is empty."""
    (tmp_path / "uploads" / "2026" / "01").mkdir(parents=True)
    (tmp_path / "again").mkdir()
    return tmp_path / "uploads"


@pytest.mark.parametrize("part", [".", "2026", "2026/01", ".."])
def test_a_part_of_a_directory_that_is_mounted_once_more_lies_in_it(uploads: Path, part: str) -> None:
    again = uploads.parent / "again"

    def work() -> list[str | None]:
        mount_again(uploads / part, again)
        return [lies_in(str(one), [str(uploads)]) for one in (again, again / "new")]

    held = [str(uploads), str(uploads)] if part != ".." else [str(uploads), None]
    assert in_child(work) == held


def test_what_is_mounted_beside_a_directory_is_another(uploads: Path) -> None:
    beside, again = uploads.parent / "uploads2", uploads.parent / "again"
    beside.mkdir()

    def work() -> str | None:
        mount_again(beside, again)
        return lies_in(str(again), [str(uploads)])

    assert in_child(work) is None


def test_a_place_in_its_file_system_is_told_by_the_last_and_longest_mount(tmp_path: Path) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(
        "22 1 254:0 / / rw - ext4 /dev/vda rw\n"
        "23 22 254:1 / /srv rw - ext4 /dev/vdb rw\n"
        "24 22 254:1 /up\\040loads /mnt/a\\040b rw - ext4 /dev/vdb rw\n"
        "25 22 254:9 /x /mnt/a\\040b rw - ext4 /dev/vdc rw\n"
        "broken\n"
    )
    mounts = list(mounted(str(mountinfo)))
    places = {path: place_in_file_system(path, mounts) for path in ("/", "/srv/x", "/srvx", "/mnt/a b", "/mnt/a b/c")}
    assert places == {
        "/": ("254:0", "/"),
        "/srv/x": ("254:1", "/x"),
        "/srvx": ("254:0", "/srvx"),
        "/mnt/a b": ("254:9", "/x"),
        "/mnt/a b/c": ("254:9", "/x/c"),
    }
    assert place_in_file_system("/srv", list(mounted(str(tmp_path / "missing")))) is None


def test_nothing_is_cleared_with_a_mount_inside(uploads: Path) -> None:
    target = uploads.parent / "again"

    def work() -> list[str]:
        claim_target(str(target), "a", may_take=lambda mark: None)
        (target / "in").mkdir()
        (uploads / "2026" / "letter").write_text("x")
        mount_again(uploads, target / "in")
        said = []
        for ask in (
            lambda: claim_target(str(target), "b", may_take=lambda mark: None),
            lambda: remove_target(str(target), "a"),
        ):
            try:
                ask()
            except TargetRefused as error:
                said.append(error.message)
        return said

    assert [message.endswith("again/in is mounted inside.") for message in in_child(work)] == [True, True]
    assert (uploads / "2026" / "letter").read_text() == "x"


def test_a_marker_that_no_reader_takes_makes_nothing_ours(tmp_path: Path) -> None:
    target = tmp_path / "target"
    claim_target(str(target), "a", may_take=lambda mark: None)
    marker = next(target.rglob("marker.json"))
    for text in ("", "[]", '{"mark": "a"', '{"a":' * 10_000, "1" * 9000):
        marker.write_text(text)
        remove_target(str(target), "a")
        assert target.is_dir()
