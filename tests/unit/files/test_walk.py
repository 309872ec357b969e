from __future__ import annotations

import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from glacier_provider.errors import DirectoryUnusable
from glacier_provider.files import FoundFile, walk
from tests.support.children import in_memory
from tests.support.trees import a_nesting


def make(root: Path, *names: str, content: bytes = b"") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def names_in(root: Path, **options: object) -> list[str]:
    return sorted(file.name for file in walk(root, on_skip=lambda *_: None, **options))


def skipped_in(root: Path) -> dict[str, str]:
    skipped: dict[str, str] = {}
    list(walk(root, on_skip=skipped.__setitem__))
    return skipped


def test_a_walk_finds_every_file_with_size_and_time(tmp_path: Path) -> None:
    make(tmp_path, "a.pdf", "b/c/d.pdf", content=b"12345")
    os.utime(tmp_path / "a.pdf", ns=(1, 1_700_000_000_123_456_789))
    found = {file.name: file for file in walk(tmp_path, on_skip=pytest.fail)}
    inode = (tmp_path / "a.pdf").stat().st_ino
    assert found["a.pdf"] == FoundFile("a.pdf", 5, 1_700_000_000_123_456_789, inode)
    assert found["b/c/d.pdf"].size == 5
    assert len(found) == 2


def test_a_walk_by_name_gives_the_same_names_without_looking_at_the_files(tmp_path: Path) -> None:
    make(tmp_path, "a", "b/c", "b/d/e", content=b"x")
    assert sorted(walk(tmp_path, on_skip=pytest.fail, sizes=False)) == [
        FoundFile("a", -1, -1, -1),
        FoundFile("b/c", -1, -1, -1),
        FoundFile("b/d/e", -1, -1, -1),
    ]


@pytest.mark.parametrize("sizes", [True, False])
def test_hidden_empty_and_oddly_named_files_are_found(tmp_path: Path, sizes: bool) -> None:
    names = [
        ".hidden",
        ".dir/x",
        "-rf",
        "with space",
        "bücher/ünï",
        "new\nline",
        "tab\t",
        "back\\\\slash",
        "empty",
        "%s",
    ]
    make(tmp_path, *(name.replace("\\\\", "\\") for name in names))
    assert names_in(tmp_path, sizes=sizes) == sorted(names)


def test_names_that_are_not_utf_8_are_told_apart(tmp_path: Path) -> None:
    for raw in (b"\xff", b"\xfe", b"\xc3\xa9", b"d\xff/\xe9"):
        path = os.fsencode(tmp_path) + b"/" + raw
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass
    assert names_in(tmp_path) == sorted(["\\xff", "\\xfe", "é", "d\\xff/\\xe9"])


def test_links_pipes_and_sockets_are_reported_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    make(outside, "secret")
    make(root, "file")
    (root / "link").symlink_to(outside / "secret")
    (root / "linked").symlink_to(outside)
    (root / "dangling").symlink_to("nowhere")
    (root / "sub").mkdir()
    os.mkfifo(root / "sub" / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(root)  # a socket's path is at most 108 bytes
    try:
        listener.bind("socket")
    finally:
        os.chdir(here)
        listener.close()
    assert names_in(root) == ["file"]
    assert skipped_in(root) == {
        "link": "it is a symbolic link",
        "linked": "it is a symbolic link",
        "dangling": "it is a symbolic link",
        "sub/pipe": "it is a named pipe",
        "socket": "it is a socket",
    }


def test_a_root_may_be_a_link_since_it_is_configuration(tmp_path: Path) -> None:
    make(tmp_path / "shared", "a")
    (tmp_path / "current").symlink_to("shared")
    assert names_in(tmp_path / "current") == ["a"]


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["*.tmp"], ["a.pdf", "cache/x", "d/cache/y", "d/z"]),
        (["cache/*"], ["a.pdf", "d/cache/y", "d/e.tmp", "d/z"]),
        (["cache/"], ["a.pdf", "d/cache/y", "d/e.tmp", "d/z"]),
        (["cache"], ["a.pdf", "d/cache/y", "d/e.tmp", "d/z"]),
        (["*cache"], ["a.pdf", "d/e.tmp", "d/z"]),
        (["d"], ["a.pdf", "cache/x"]),
        (["d?"], ["a.pdf", "cache/x", "d/cache/y", "d/e.tmp", "d/z"]),
        (["d/[yz]", "A.pdf"], ["a.pdf", "cache/x", "d/cache/y", "d/e.tmp"]),
        (["*"], []),
        (["a.pdf/*"], ["a.pdf", "cache/x", "d/cache/y", "d/e.tmp", "d/z"]),
        ([], ["a.pdf", "cache/x", "d/cache/y", "d/e.tmp", "d/z"]),
    ],
)
def test_patterns_leave_out_what_they_match(tmp_path: Path, patterns: list[str], left: list[str]) -> None:
    make(tmp_path, "a.pdf", "cache/x", "d/cache/y", "d/e.tmp", "d/z")
    assert names_in(tmp_path, exclude=patterns) == left
    assert names_in(tmp_path, exclude=patterns, sizes=False) == left


def test_the_products_own_temporary_files_are_left_out_at_any_depth(tmp_path: Path) -> None:
    make(tmp_path, ".glacier-tmp/0f", "mounted/.glacier-tmp/0f", "mounted/a", ".glacier-tmpx")
    assert names_in(tmp_path) == [".glacier-tmpx", "mounted/a"]
    assert skipped_in(tmp_path) == {}


def test_orphans_and_staging_inside_the_root_are_left_out_even_by_another_path(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make(root, "a", "deep/orphans/restore-1/b", "deep/c")
    (tmp_path / "alias").symlink_to(root / "deep" / "orphans")
    assert names_in(root, leave_out=[tmp_path / "alias", tmp_path / "missing"]) == ["a", "deep/c"]


def test_a_missing_root_is_an_error_and_not_an_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(DirectoryUnusable, match="gone"):
        list(walk(tmp_path / "gone", on_skip=pytest.fail))
    make(tmp_path, "file")
    with pytest.raises(DirectoryUnusable, match="file"):
        list(walk(tmp_path / "file", on_skip=pytest.fail))


def test_a_root_that_is_replaced_during_the_walk_is_an_error(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make(root, "a", "b")
    found = walk(root, on_skip=pytest.fail)
    next(found)
    root.rename(tmp_path / "moved")
    root.mkdir()
    with pytest.raises(DirectoryUnusable, match="replaced"):
        list(found)


def test_what_vanishes_during_the_walk_is_not_there(tmp_path: Path) -> None:
    make(tmp_path, *(f"{number}/{letter}" for number in range(20) for letter in "ab"))
    found = walk(tmp_path, on_skip=pytest.fail)
    first = next(found)
    kept = first.name.split("/")[0]
    for number in range(20):
        if str(number) != kept:
            (tmp_path / str(number) / "a").unlink()
            (tmp_path / str(number) / "b").unlink()
            (tmp_path / str(number)).rmdir()
    assert {file.name.split("/")[0] for file in found} <= {kept}


def test_a_walk_that_is_given_up_closes_what_it_opened(tmp_path: Path) -> None:
    make(tmp_path, "a/b/c/d", "a/b/e", "a/f")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        found = walk(tmp_path, on_skip=pytest.fail)
        next(found)
        found.close()
    list(walk(tmp_path, on_skip=pytest.fail))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_hundred_thousand_files_in_one_directory_take_no_memory(tmp_path: Path) -> None:
    with in_memory(tmp_path) as root:
        fd = os.open(root, os.O_RDONLY)
        for number in range(100_000):
            os.close(os.open(f"document-{number:06d}.pdf", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)
        tracemalloc.start()
        try:
            count = sum(1 for _ in walk(root, on_skip=pytest.fail))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert count == 100_000
    assert peak < 1_000_000


def test_a_nesting_of_many_levels_is_walked(tmp_path: Path) -> None:
    leaf = a_nesting(tmp_path)
    assert names_in(tmp_path) == [leaf]
