"""The walk by directories finds what the walk by files finds."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.core.directories import Changed, Files, Listing
from glacier_provider.errors import DirectoryUnusable
from glacier_provider.files import DirectoryWalk, Look, walk
from glacier_provider.files.mounts import Mounts
from tests.support.children import in_memory
from tests.support.trees import a_nesting


def make(root: Path, *names: str | bytes, content: bytes = b"12345") -> None:
    for name in names:
        path = os.fsencode(root) + b"/" + os.fsencode(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)


def found(root: Path, known: list[Listing] | None = None, **options: Any) -> tuple[set[tuple[str, int]], list[Listing]]:
    """The (name, size) of all files that a walk tells, and the listings."""
    files: set[tuple[str, int]] = set()
    listings: list[Listing] = []
    walked = DirectoryWalk(root, **{"on_skip": lambda *_: None, **options})
    for told in walked.changes(known or ()):
        if isinstance(told, Files):
            files |= {(told.directory + name, size) for name, size in zip(told.names, told.sizes, strict=True)}
        elif isinstance(told, Changed):
            listings.append(told.listing)
    assert not known or len(files) <= walked.files
    return files, sorted(listings)


def by_file(root: Path, **options: Any) -> set[tuple[str, int]]:
    return {(file.name, file.size) for file in walk(root, **{"on_skip": lambda *_: None, **options})}


HOSTILE = (
    *(
        "a",
        ".hidden",
        ".dir/x",
        "-rf",
        "with space",
        "bücher/ünï",
        "new\nline/x\ty",
        "back\\slash/\\x41",
        "%s",
        "x" * 255,
    ),
    *(
        b"\xff/\xfe",
        b"\xc3\xa9",
        b"d\xff",
        "cache/x",
        "cache/y.tmp",
        "z.tmp",
        ".glacier-tmp/0f",
        "a-/b",
        "a.b/c",
        "a0/d",
    ),
)


@pytest.mark.parametrize("exclude", [(), ("*.tmp",), ("cache/*",), ("b*", "*0*"), ("*",)])
def test_both_walks_find_the_same_files(tmp_path: Path, exclude: tuple[str, ...]) -> None:
    make(tmp_path, *HOSTILE)
    files, listings = found(tmp_path, exclude=exclude)
    assert files == by_file(tmp_path, exclude=exclude)
    assert sum(one.files for one in listings) == len(files)
    assert sum(one.size for one in listings) == sum(size for _, size in files)
    assert found(tmp_path, listings, exclude=exclude) == (set(), [])


def test_directories_are_told_in_the_order_of_their_names(tmp_path: Path) -> None:
    make(tmp_path, *HOSTILE)
    walked = DirectoryWalk(tmp_path, on_skip=lambda *_: None)
    told = [one.listing.directory for one in walked.changes(()) if isinstance(one, Changed)]
    assert told == sorted(told)


def test_both_walks_skip_the_same(tmp_path: Path) -> None:
    make(tmp_path, "outside/secret", "root/file", "root/sub/file")
    root = tmp_path / "root"
    (root / "link").symlink_to("file")
    (root / "linked").symlink_to(tmp_path / "outside")
    os.mkfifo(root / "sub" / "pipe")
    skipped: dict[str, str] = {}
    files, _ = found(root, on_skip=skipped.__setitem__)
    assert files == {("file", 5), ("sub/file", 5)}
    by_walk: dict[str, str] = {}
    by_file(root, on_skip=by_walk.__setitem__)
    assert skipped == by_walk
    assert set(skipped) == {"link", "linked", "sub/pipe"}


def test_what_is_left_out_is_not_entered(tmp_path: Path) -> None:
    make(tmp_path, "root/a", "root/deep/orphans/b", "root/deep/c")
    root = tmp_path / "root"
    (tmp_path / "alias").symlink_to(root / "deep" / "orphans")
    files, listings = found(root, leave_out=[tmp_path / "alias", tmp_path / "missing"])
    assert files == {("a", 5), ("deep/c", 5)}
    assert [one.directory for one in listings] == ["", "deep/"]


def test_a_directory_that_became_a_link_is_gone(tmp_path: Path) -> None:
    make(tmp_path, "outside/secret", "root/sub/deep/file", "root/a")
    root = tmp_path / "root"
    _, listings = found(root)
    (root / "sub").rename(tmp_path / "moved")
    (root / "sub").symlink_to(tmp_path / "outside")
    skipped: list[str] = []
    walked = DirectoryWalk(root, on_skip=lambda name, _: skipped.append(name), look=Look(size_check="never"))
    told = [(one.change.value, one.listing.directory) for one in walked.changes(listings) if isinstance(one, Changed)]
    assert ("gone", "sub/") in told
    assert ("gone", "sub/deep/") in told
    assert skipped == ["sub"]
    assert walked.files == 1


def test_a_root_that_is_missing_or_replaced_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DirectoryUnusable, match="gone"):
        found(tmp_path / "gone")
    make(tmp_path, "root/a", "root/b/c")
    changes = DirectoryWalk(tmp_path / "root", on_skip=pytest.fail).changes(())
    next(changes)
    (tmp_path / "root").rename(tmp_path / "moved")
    (tmp_path / "root").mkdir()
    with pytest.raises(DirectoryUnusable, match="replaced"):
        list(changes)


def test_a_nesting_of_many_levels_is_walked(tmp_path: Path) -> None:
    leaf = a_nesting(tmp_path)
    files, listings = found(tmp_path)
    assert files == {(leaf, 0)}
    assert found(tmp_path, listings) == (set(), [])


def test_a_hundred_thousand_files_in_one_directory_are_not_held(tmp_path: Path) -> None:
    with in_memory(tmp_path) as root:
        fd = os.open(root, os.O_RDONLY)
        for number in range(100_000):
            os.close(os.open(f"document-{number:06d}.pdf", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)
        tracemalloc.start()
        try:
            walked = DirectoryWalk(root, on_skip=pytest.fail)
            for _ in walked.changes(()):
                pass
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert walked.files == 100_000
    assert peak < 12_000_000


def test_sizes_are_sampled_evenly() -> None:
    directories = [f"{number:02x}/{number % 7}/" for number in range(256)]
    days = [{name for name in directories if Look(size_check="sample", day=day).at_sizes(name)} for day in range(7)]
    assert set.union(*days) == set(directories)
    assert sum(map(len, days)) == len(directories)
    assert all(days)


def test_only_what_the_kernel_knows_as_local_is_trusted(tmp_path: Path) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        "23 22 0:41 / /srv/share rw - nfs4 host:/share rw\n"
        "24 22 0:42 / /srv/fuse rw - fuse.sshfs host: rw\n"
        "25 22 0:43 / /with\\040space rw master:2 - tmpfs tmpfs rw\n"
    )
    mounts = Mounts(str(mountinfo))
    told = {device: mounts.is_local(os.makedev(*device)) for device in ((254, 0), (0, 41), (0, 42), (0, 43), (9, 9))}
    assert told == {(254, 0): True, (0, 41): False, (0, 42): False, (0, 43): True, (9, 9): False}
    assert not Mounts(str(tmp_path / "missing")).is_local(os.makedev(254, 0))
