"""Attached files under attack, under change and under kill: a clear error or a correct result, and nothing lost."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.core.checksum import Verifier
from glacier_provider.errors import (
    DirectoryUnusable,
    FileChanged,
    FileError,
    FileMissing,
    FileUnreadable,
    OutOfSpace,
    UnsafePath,
)
from glacier_provider.files import (
    DirectoryWalk,
    Placed,
    Placement,
    hash_file,
    link,
    move,
    move_aside,
    move_back,
    open_source,
    read_small,
    walk,
)
from glacier_provider.staging import DirectorySource, extract_tar, prepare_staging, remove_tree
from tests.support.children import Cannot, drop_privileges, in_child, in_memory, killed_at_each_call, mount_small

MIB = 1024 * 1024


def files_below(root: Path) -> dict[str, bytes]:
    return {
        os.path.relpath(os.path.join(path, name), root): (Path(path) / name).read_bytes()
        for path, _, names in os.walk(root)
        for name in names
    }


# --- symbolic links -----------------------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "victim").write_bytes(b"untouched")
    return tmp_path / "outside"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_parent_swapped_for_a_link_during_a_download_leads_nowhere(root: Path, outside: Path, depth: int) -> None:
    (root / "a" / "b" / "c").mkdir(parents=True)
    swapped = root / "/".join("abc"[:depth])

    def content() -> Iterator[bytes]:
        yield b"half"
        swapped.rename(root / "moved")
        swapped.symlink_to(outside)
        yield b"half"

    with Placement(root) as placement, pytest.raises(UnsafePath, match="symbolic link"):
        placement.place("a/b/c/victim2", content(), size=8)
    assert files_below(outside) == {"victim": b"untouched"}


def test_links_and_directories_that_change_places_all_the_time_lead_nowhere(root: Path, outside: Path) -> None:
    """A race on purpose: whatever moment a call meets, what it does stays inside the root."""
    (root / "parent").mkdir()
    (root / "parent" / "victim").write_bytes(b"inside")
    (root / "link").symlink_to(outside)
    stop = threading.Event()
    swapper = threading.Thread(target=_swap_until, args=(stop, root))
    swapper.start()
    try:
        seen = {_outcome(root, number) for number in range(300)}
    finally:
        stop.set()
        swapper.join()
    assert files_below(outside) == {"victim": b"untouched"}
    assert seen <= {b"inside", "UnsafePath", "FileMissing", "NameTaken"}
    assert len(seen) > 1


def _swap_until(stop: threading.Event, root: Path) -> None:
    parent, link_to_outside = os.fsencode(root / "parent"), os.fsencode(root / "link")
    renameat2 = link._renameat2()
    while not stop.is_set():
        renameat2(-100, parent, -100, link_to_outside, 2)  # AT_FDCWD, RENAME_EXCHANGE: both names always exist


def _outcome(root: Path, number: int) -> bytes | str:
    try:
        with Placement(root) as placement:
            placement.place(f"parent/{number}", [b"x"], size=1)
        move_aside(root, "parent/victim", root.parent / "orphans", f"r{number}")
        move_back(root, "parent/victim", root.parent / "orphans", f"r{number}")
        return read_small(root, "parent/victim", 100)
    except FileError as error:
        return type(error).__name__


def test_devices_are_reported_and_never_opened(root: Path) -> None:
    try:
        os.mknod(root / "zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root can make a device")
    skipped: dict[str, str] = {}
    assert list(walk(root, on_skip=skipped.__setitem__)) == []
    assert skipped == {"zero": "it is a character device"}
    for refused in (lambda: open_source(root, "zero"), lambda: move_aside(root, "zero", root.parent / "o", "r")):
        with pytest.raises(UnsafePath):
            refused()


def test_names_at_the_limits_make_the_round_trip(root: Path) -> None:
    limits = [b"x" * 255, "ü".encode() * 127, b"\xff" * 255, b"\x01\x1b[31m\x7f", b"\n", b"\\", b"\\x41", b"-", b"%s%n"]
    for raw in limits:
        with open(os.fsencode(root) + b"/" + raw, "wb") as file:
            file.write(raw)
    found = {file.name for file in walk(root, on_skip=pytest.fail)}
    assert len(found) == len(limits)
    assert {read_small(root, name, 1000) for name in found} == set(limits)
    with Placement(_other(root)) as placement:
        for name in found:
            content = read_small(root, name, 1000)
            assert placement.place(name, [content], size=len(content)) is Placed.PLACED
    assert sorted(os.listdir(os.fsencode(_other(root)))) == sorted(limits)
    for name in found:
        moved = move_aside(root, name, root.parent / "orphans", "restore-1")
        assert moved == f"restore-1/{name}"
        move_back(root, name, root.parent / "orphans", "restore-1")
    assert sorted(os.listdir(os.fsencode(root))) == sorted(limits)


def _other(root: Path) -> Path:
    other = root.parent / "other"
    other.mkdir(exist_ok=True)
    return other


# --- change -------------------------------------------------------------------------------------------------------


def test_a_tree_that_changes_under_a_walk_gives_what_stayed(root: Path) -> None:
    for number in range(300):
        (root / f"d{number % 10}").mkdir(exist_ok=True)
        (root / f"d{number % 10}" / f"stays-{number}").touch()
        (root / f"d{number % 10}" / f"goes-{number}").touch()
    found = set()
    for count, file in enumerate(walk(root, on_skip=pytest.fail)):
        found.add(file.name)
        _change(root, count)
    stays = {name for name in found if "/stays-" in name}
    assert len(stays) == 300
    assert all("/goes-" in name or "/stays-" in name or "/new-" in name for name in found)


def _change(root: Path, count: int) -> None:
    if count < 300:
        (root / f"d{count % 10}" / f"goes-{count}").unlink(missing_ok=True)
        (root / f"d{(count + 5) % 10}" / f"new-{count}").touch()


def test_a_writer_that_never_stops_never_gets_half_a_file_archived(root: Path) -> None:
    (root / "log").write_bytes(b"0" * 5000)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with open(root / "log", "r+b") as file:
                file.truncate(4000)
                file.write(os.urandom(5000))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        refused = any(_is_refused(root) for _ in range(50_000))
    finally:
        stop.set()
        writer.join()
    assert refused
    assert len(read_small(root, "log", 5000)) == 5000


def _is_refused(root: Path) -> bool:
    try:
        read_small(root, "log", 5000)
    except FileChanged:
        return True
    return False


# --- permissions --------------------------------------------------------------------------------------------------


@pytest.fixture
def locked(root: Path) -> Iterator[Path]:
    """A tree with a directory and a file that nobody may open, and one directory that nobody may write."""
    (root / "locked").mkdir()
    (root / "locked" / "file").touch()
    (root / "secret").write_bytes(b"x")
    (root / "fixed").mkdir()
    (root / "fixed" / "file").write_bytes(b"x")
    modes = {"locked": 0, "secret": 0, "fixed": 0o500}
    for name, mode in modes.items():
        (root / name).chmod(mode)
    yield root
    for name in modes:
        (root / name).chmod(0o700)


def _place_one(root: Path, name: str) -> None:
    with Placement(root) as placement:
        placement.place(name, [b"x"], size=1)


DENIED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "walking": (lambda root: list(walk(root, on_skip=lambda *_: None)), "'locked'"),
    "walking by directory": (lambda root: list(DirectoryWalk(root, on_skip=lambda *_: None).changes(())), "'locked'"),
    "walking by name": (lambda root: list(walk(root, on_skip=lambda *_: None, sizes=False)), "'locked'"),
    "reading": (lambda root: open_source(root, "secret"), "'secret'"),
    "reading below": (lambda root: open_source(root, "locked/file"), "'locked/file'"),
    "hashing": (lambda root: hash_file(root / "secret"), "secret"),
    "placing": (lambda root: _place_one(root, "fixed/new"), "'fixed/new'"),
    "opening a placement": (lambda root: Placement(root / "fixed"), "fixed"),
    "moving": (lambda root: move_aside(root, "fixed/file", root.parent / "o", "r"), "'fixed/file'"),
    "staging": (lambda root: prepare_staging(root / "fixed"), "fixed"),
    "removing": (lambda root: remove_tree(root / "fixed" / "file", below=root), "'fixed/file'"),
    "archiving a dump": (lambda root: DirectorySource(root), "root"),
}


@pytest.mark.parametrize("work", DENIED)
def test_a_denied_directory_is_an_error_that_names_it(locked: Path, work: str) -> None:
    act, named = DENIED[work]

    def without_privileges() -> Any:
        drop_privileges()
        if os.access(locked / "locked", os.R_OK, effective_ids=True):
            raise Cannot("permission bits do not bite here")
        return act(locked)

    with pytest.raises((DirectoryUnusable, FileUnreadable), match=named):
        in_child(without_privileges)


def test_a_directory_that_becomes_unreadable_during_a_walk_ends_it_with_an_error(root: Path) -> None:
    for number in range(10):
        (root / f"d{number}").mkdir()
        (root / f"d{number}" / "file").touch()

    def work() -> Any:
        drop_privileges()
        found = walk(root, on_skip=lambda *_: None)
        first = next(found)
        for number in range(10):
            if not first.name.startswith(f"d{number}/"):
                (root / f"d{number}").chmod(0)
        try:
            return list(found)
        finally:
            for number in range(10):
                (root / f"d{number}").chmod(0o700)

    with pytest.raises(DirectoryUnusable, match="'d"):
        in_child(work)


def test_a_nesting_deeper_than_the_process_may_open_is_an_error_and_not_a_part_of_the_truth(root: Path) -> None:
    (root / "/".join("d" * 60)).mkdir(parents=True)

    def work() -> list[Any]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        return list(walk(root, on_skip=lambda *_: None))

    with pytest.raises(DirectoryUnusable, match="Too many open files"):
        in_child(work)


# --- full disks ---------------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_while_a_file_is_placed_leaves_nothing_half(root: Path) -> None:
    def work() -> dict[str, Any]:
        mount_small(root, size=MIB)
        said = []
        with Placement(root) as placement:
            for content in (_filling(root), _forever()):
                try:
                    placement.place("big", content, size=MIB // 2)
                except (OutOfSpace, FileError) as error:
                    said.append((type(error).__name__, str(root) in str(error)))
            (root / "filler").unlink()
            placed = placement.place("big", [b"y" * (MIB // 2)], size=MIB // 2)
        return {"said": said, "placed": str(placed), "left": sorted(os.listdir(root))}

    assert in_child(work) == {"said": [("OutOfSpace", True), ("OutOfSpace", True)], "placed": "placed", "left": ["big"]}


def _filling(root: Path) -> Iterator[bytes]:
    yield b"x" * 1000
    with open(root / "filler", "wb", buffering=0) as other:
        other.write(b"x" * (MIB - 100_000))
    for _ in range(512):
        yield b"x" * 1024


def _forever() -> Iterator[bytes]:
    raise AssertionError("the free space was not looked at beforehand")
    yield b""


def test_a_disk_without_room_for_another_name_says_so(root: Path) -> None:
    def work() -> str:
        mount_small(root, size=MIB, inodes=20)
        with Placement(root) as placement:
            for number in range(30):
                placement.place(f"{number}", [b"x"], size=1)
        return ""

    with pytest.raises(OutOfSpace, match="root"):
        in_child(work)


def test_a_staging_disk_that_is_full_does_not_swallow_an_extraction(root: Path, tmp_path: Path) -> None:
    (tmp_path / "dump").mkdir()
    (tmp_path / "dump" / "table.dat").write_bytes(b"x" * 2 * MIB)
    with DirectorySource(tmp_path / "dump") as source:
        (tmp_path / "dump.tar").write_bytes(source.read_at(0, source.size))

    def work() -> None:
        mount_small(root, size=MIB)
        extract_tar(tmp_path / "dump.tar", root / "into")

    with pytest.raises(OutOfSpace, match=r"table\.dat"):
        in_child(work)


def test_a_limit_on_file_sizes_is_told_like_a_full_disk(root: Path) -> None:
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with Placement(root) as placement:
            placement.place("big", [b"x" * 60_000] * 2, size=120_000)

    with pytest.raises(OutOfSpace, match="root"):
        in_child(work)
    assert files_below(root) == {}


def test_a_file_system_mounted_below_the_root_is_written_and_moved_from(root: Path, tmp_path: Path) -> None:
    (root / "mounted").mkdir()

    def work() -> dict[str, Any]:
        mount_small(root / "mounted", size=MIB)
        with Placement(root) as placement:
            placed = placement.place("mounted/2024/a", [b"content"], size=7, mtime_ns=10**18)
        time_placed = (root / "mounted/2024/a").stat().st_mtime_ns
        listed = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
        moved = move_aside(root, "mounted/2024/a", tmp_path / "orphans", "r")
        aside = files_below(tmp_path / "orphans")
        move_back(root, "mounted/2024/a", tmp_path / "orphans", "r")
        return {
            "placed": (str(placed), time_placed, listed),
            "moved": (moved, aside),
            "back": (files_below(root), files_below(tmp_path / "orphans")),
        }

    assert in_child(work) == {
        "placed": ("placed", 10**18, ["mounted", "mounted/2024", "mounted/2024/a"]),
        "moved": ("r/mounted/2024/a", {"r/mounted/2024/a": b"content"}),
        "back": ({"mounted/2024/a": b"content"}, {}),
    }


# --- kills --------------------------------------------------------------------------------------------------------

CALLS = [
    (link, "_rename_noreplace"),
    *(
        (os, name)
        for name in ("open", "mkdir", "link", "rename", "unlink", "rmdir", "write", "fsync", "utime", "fchmod")
    ),
]
CONTENT = b"0123456789" * 50
SHA256 = "a" * 64


def _place_content(root: Path) -> Placed:
    verifier = Verifier(f"sha256:{hashlib.sha256(CONTENT).hexdigest()}")
    with Placement(root) as placement:
        return placement.place("a/b/file", [CONTENT[:200], CONTENT[200:]], size=500, verifier=verifier, mtime_ns=10**18)


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Path]:
    """A directory for hundreds of deaths."""
    with in_memory(tmp_path) as directory:
        (directory / "root").mkdir()
        (directory / "orphans").mkdir()
        yield directory


def _empty(root: Path) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.usefixtures("way")
def test_a_kill_at_any_instant_of_placing_leaves_the_whole_file_or_none(arena: Path) -> None:
    root = arena / "root"
    deaths = 0
    for where in killed_at_each_call(CALLS, lambda: _place_content(root)):
        deaths += 1
        seen = {file.name: read_small(root, file.name, 500) for file in walk(root, on_skip=pytest.fail)}
        assert seen in ({}, {"a/b/file": CONTENT}), where
        assert _place_content(root) is (Placed.KEPT if seen else Placed.PLACED), where
        assert files_below(root) == {"a/b/file": CONTENT}, where
        assert not (root / ".glacier-tmp").exists(), where
        _empty(root)
    assert deaths >= 20


@pytest.fixture(params=["rename", "hard link", "look and rename", "copy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The four ways to move a file, by what the file systems can do."""

    def refuse(code: int) -> Callable[..., None]:
        def call(*_: Any, **__: Any) -> None:
            raise OSError(code, os.strerror(code))

        return call

    if request.param == "copy":
        monkeypatch.setattr(move, "rename_new", refuse(errno.EXDEV))
    elif request.param != "rename":
        monkeypatch.setattr(link, "_rename_noreplace", refuse(errno.EINVAL))
        if request.param == "look and rename":
            monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    return str(request.param)


@pytest.mark.parametrize("direction", ["aside", "back"])
def test_a_kill_at_any_instant_of_a_move_loses_nothing_and_a_retry_ends_it(
    arena: Path, way: str, direction: str
) -> None:
    root, orphans = arena / "root", arena / "orphans"
    start, end = (
        (root / "2024/a", orphans / "r/2024/a") if direction == "aside" else (orphans / "r/2024/a", root / "2024/a")
    )

    def act() -> None:
        (move_aside if direction == "aside" else move_back)(root, "2024/a", orphans, "r")

    _set_out(start)
    deaths = 0
    for where in killed_at_each_call(CALLS, act):
        deaths += 1
        named = [path for path in (start, end) if path.exists()]
        assert named, where
        assert all(path.read_bytes() == CONTENT for path in named), where
        act()
        act()
        assert (end.read_bytes(), end.stat().st_nlink, start.exists()) == (CONTENT, 1, False), where
        _empty(root)
        _empty(orphans)
        _set_out(start)
    assert deaths >= 10


def _set_out(start: Path) -> None:
    start.parent.mkdir(parents=True, exist_ok=True)
    start.write_bytes(CONTENT)


def test_leftovers_of_a_killed_copy_are_cleared_by_the_next_one(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(move, "rename_new", refuse)
    orphans = tmp_path / "orphans"
    _set_out(root / "a")
    for _ in killed_at_each_call([(os, "fsync")], lambda: move_aside(root, "a", orphans, "r")):
        pass
    _set_out(root / "a")
    move_aside(root, "a", orphans, "r")
    assert files_below(orphans) == {"r/a": CONTENT}


def test_a_file_that_vanishes_between_scan_and_upload_is_missing_and_no_other_error(root: Path) -> None:
    (root / "a").write_bytes(b"x")
    (found,) = walk(root, on_skip=pytest.fail)
    (root / "a").unlink()
    with pytest.raises(FileMissing):
        read_small(root, found.name, 100)
