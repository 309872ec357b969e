"""Files that a backup could not or did not contain are no orphans of its restore: they were there, and stay there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.errors import DirectoryUnusable
from glacier_provider.pipelines import backup
from tests.integration.test_rebuild import lose_the_catalog, rebuild
from tests.integration.test_unreadable_files import Trouble, trouble, try_once
from tests.support.application import ApplicationUnderTest

__all__ = ["trouble"]


@pytest.fixture
def app(dms: ApplicationUnderTest) -> ApplicationUnderTest:
    dms.configure(settle_seconds=0)
    return dms


def orphans_of(app: ApplicationUnderTest, backup_id: int, *, rebuilt: bool) -> int:
    """Restore a backup, by the catalog or by one that was rebuilt; return how many files it moved aside."""
    if rebuilt:
        lose_the_catalog(app)
        rebuild(app)
    moved = app.restore(backup_id)["outcome"]["orphans"]["moved"]
    assert isinstance(moved, int)
    return moved


@pytest.mark.parametrize("rebuilt", [False, True])
def test_what_was_excluded_on_the_day_of_the_backup_stays(app: ApplicationUnderTest, rebuilt: bool) -> None:
    app.configure(exclude=("raw/*", "*.tmp"))
    kept = [app.write("raw/master.tif", "the only copy"), app.write("a.tmp", "a")]
    first = app.back_up()
    app.configure(exclude=("*.log",))
    kept.append(app.write("b.log", "b"))
    app.write("later.pdf", "an orphan")
    app.back_up()
    assert orphans_of(app, first, rebuilt=rebuilt) == 1
    assert [path.exists() for path in kept] == [True, True, True]


@pytest.mark.parametrize("rebuilt", [False, True])
def test_what_could_not_be_read_stays(app: ApplicationUnderTest, trouble: Trouble, rebuilt: bool) -> None:
    trouble(errno.EACCES, "doc2.pdf")
    first = try_once(app)
    trouble(0)
    app.write("later.pdf", "an orphan")
    app.back_up()
    assert orphans_of(app, first, rebuilt=rebuilt) == 1
    assert (app.files / "doc2.pdf").read_bytes() == b"content 2"


def test_what_came_with_an_old_time_while_the_restore_went_on_stays(app: ApplicationUnderTest) -> None:
    first = app.back_up()
    touched = app.write("touched.pdf", "an orphan, whatever a chown does to it")
    app.back_up()
    planned = app.plan(first)
    app.bring(planned)
    came = app.write("came.pdf", "copied with its times")
    os.utime(came, (10**9, 10**9))
    os.chmod(touched, 0o600)
    figures = app.finish(planned["restore_id"])
    assert (figures["outcome"]["orphans"]["moved"], figures["outcome"]["orphans"]["left"]) == (1, 1)
    assert (came.exists(), touched.exists()) == (True, False)


def test_a_file_of_a_file_system_whose_clock_is_ahead_is_archived(
    app: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the clock of the worker it will be written in an hour; that it stays as it is tells that it is written."""
    import time

    app.configure(settle_seconds=0.01)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    assert app.catalog.backups.get(app.back_up())["files_count"] == 3
    assert Path(app.files / "doc1.pdf").exists()


@pytest.mark.parametrize("content", ["longer than it was", "less"])
def test_what_changes_its_size_between_scan_and_upload_is_counted_as_it_was_archived(
    app: ApplicationUnderTest, content: str
) -> None:
    run = app.a_run()
    backup_id = backup.open_backup(app.application, run, catalog=app.catalog, store=app.store)
    backup.dump_database(app.application, backup_id, catalog=app.catalog, server=app.server, store=app.store)
    ranges = backup.scan_files(app.application, backup_id, catalog=app.catalog)
    app.write("doc1.pdf", content)
    for share in map(ArchiveRange.from_dict, ranges):
        backup.upload_files(app.application, backup_id, share, catalog=app.catalog, store=app.store)
    backup.upload_database(app.application, backup_id, catalog=app.catalog, store=app.store)
    backup.close_backup(app.application, backup_id, catalog=app.catalog, store=app.store)
    told = app.catalog.backups.get(backup_id)
    size = len(content) + 2 * len("content 1")
    assert (told["files_bytes"], told["new_files_bytes"]) == (size, size)
    for path in app.files.iterdir():
        path.unlink()
    assert app.plan(backup_id)["plan"]["present"] == {"archives": 0, "bytes": 0}


def test_what_became_a_link_or_a_directory_after_the_scan_is_gone(app: ApplicationUnderTest) -> None:
    app.write("folder/deep.pdf", "deep")
    app.write("stays.pdf", "stays")
    backup_id = backup.open_backup(app.application, app.a_run(), catalog=app.catalog, store=app.store)
    backup.dump_database(app.application, backup_id, catalog=app.catalog, server=app.server, store=app.store)
    ranges = backup.scan_files(app.application, backup_id, catalog=app.catalog)
    for name in ("doc1.pdf", "doc2.pdf", "doc3.pdf", "folder/deep.pdf"):
        (app.files / name).unlink()
    (app.files / "doc1.pdf").symlink_to("/etc/passwd")
    (app.files / "doc2.pdf").mkdir()
    os.mkfifo(app.files / "doc3.pdf")
    (app.files / "folder").rmdir()
    app.write("folder", "a file by now")
    for share in map(ArchiveRange.from_dict, ranges):
        backup.upload_files(app.application, backup_id, share, catalog=app.catalog, store=app.store)
    backup.upload_database(app.application, backup_id, catalog=app.catalog, store=app.store)
    figures = backup.close_backup(app.application, backup_id, catalog=app.catalog, store=app.store)
    assert (figures["state"], figures["files_count"]) == ("complete", 1)


@pytest.mark.parametrize("first", [True, False])
def test_a_directory_that_is_not_mounted_any_more_after_the_scan_makes_no_backup_without_its_files(
    app: ApplicationUnderTest, first: bool
) -> None:
    if not first:
        app.back_up()
        app.write("new.pdf", "new")
    backup_id = backup.open_backup(app.application, app.a_run(), catalog=app.catalog, store=app.store)
    backup.dump_database(app.application, backup_id, catalog=app.catalog, server=app.server, store=app.store)
    (share,) = map(ArchiveRange.from_dict, backup.scan_files(app.application, backup_id, catalog=app.catalog))
    mounted = app.files.rename(app.files.with_name("mounted"))
    app.files.mkdir()
    with pytest.raises(DirectoryUnusable, match="is empty, and held files a moment ago"):
        backup.upload_files(app.application, backup_id, share, catalog=app.catalog, store=app.store, last_try=True)
    app.files.rmdir()
    mounted.rename(app.files)
    backup.upload_files(app.application, backup_id, share, catalog=app.catalog, store=app.store)
    backup.upload_database(app.application, backup_id, catalog=app.catalog, store=app.store)
    figures = backup.close_backup(app.application, backup_id, catalog=app.catalog, store=app.store)
    assert figures["files_count"] == len(app.contents())
