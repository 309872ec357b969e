from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from glacier_provider.errors import DirectoryUnusable, OutOfSpace, UnsafePath
from glacier_provider.staging import free_bytes, prepare_staging, remove_tree, require_directory, require_space


def mode(path: str | Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_staging_is_made_for_its_user_alone(tmp_path: Path) -> None:
    made = prepare_staging(tmp_path / "a" / "staging", "library", "backup-1")
    assert made == str(tmp_path / "a/staging/library/backup-1")
    assert [mode(tmp_path / "a/staging"), mode(tmp_path / "a/staging/library"), mode(made)] == [0o700] * 3
    assert prepare_staging(tmp_path / "a" / "staging", "library", "backup-1") == made


def test_a_directory_that_is_there_keeps_its_mode_and_what_is_in_it_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "library").mkdir(mode=0o755)
    (tmp_path / "library").chmod(0o755)
    prepare_staging(tmp_path, "library")
    assert (mode(tmp_path), mode(tmp_path / "library")) == (0o755, 0o700)


def test_a_staging_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/staging")):
        with pytest.raises(DirectoryUnusable, match=str(path)):
            prepare_staging(path)


def test_a_subdirectory_is_a_plain_name_and_no_link(tmp_path: Path) -> None:
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging" / "link").symlink_to(tmp_path)
    for name in ("..", "link", "/x", ""):
        with pytest.raises(UnsafePath):
            prepare_staging(tmp_path / "staging", name)


def test_space_is_counted_where_a_path_would_be(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") > 0
    require_space(tmp_path, 1)
    with pytest.raises(OutOfSpace, match=f"{tmp_path}.* 1,152,921,504,606,846,976 are needed"):
        require_space(tmp_path, 1 << 60)


def test_a_tree_is_removed_with_what_is_in_it_and_links_are_not_followed(tmp_path: Path) -> None:
    staging, outside = tmp_path / "staging", tmp_path / "outside"
    (staging / "backup-1" / "deep").mkdir(parents=True)
    outside.mkdir()
    (outside / "kept").touch()
    (staging / "backup-1" / "deep" / "link").symlink_to(outside)
    (staging / "backup-1" / "dump").touch()
    (staging / "backup-2").symlink_to(outside)
    (staging / "file").touch()
    for name in ("backup-1", "backup-2", "file", "gone"):
        remove_tree(staging / name, below=staging)
    assert list(staging.iterdir()) == []
    assert list(outside.iterdir()) == [outside / "kept"]


def test_nothing_but_what_lies_below_staging_is_removed(tmp_path: Path) -> None:
    staging, outside = tmp_path / "staging", tmp_path / "outside"
    staging.mkdir()
    (outside / "tree").mkdir(parents=True)
    (staging / "link").symlink_to(outside)
    for path in (staging, tmp_path, outside, staging / ".." / "outside", staging / "link" / "tree", "/"):
        with pytest.raises(UnsafePath):
            remove_tree(path, below=staging)
    assert (outside / "tree").is_dir()
    remove_tree(tmp_path / "gone" / "x", below=tmp_path / "gone")


def test_a_usable_directory_is_one_that_can_be_listed(tmp_path: Path) -> None:
    require_directory(tmp_path)
    (tmp_path / "file").touch()
    for path in (tmp_path / "gone", tmp_path / "file"):
        with pytest.raises(DirectoryUnusable, match=path.name):
            require_directory(path)
