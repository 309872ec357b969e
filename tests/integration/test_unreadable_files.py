"""Files that cannot be read: left out by name below a threshold, tried again where that may help, never in silence."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.errors import FileChanged, FileUnreadable, GlacierProviderError, ReadFailed
from glacier_provider.files import open_source
from glacier_provider.pipelines import backup
from tests.support.application import ApplicationUnderTest

Trouble = Callable[..., None]


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> Trouble:
    """Have the operating system refuse to open files of these names, as it does for whoever is not root."""
    real, refused = os.open, {}

    def opening(path: Any, *args: Any, **kwargs: Any) -> int:
        number = refused.get(os.fsdecode(path)) if kwargs.get("dir_fd") is not None else None
        if number:
            raise OSError(number, os.strerror(number), path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", opening)

    def refuse(number: int, *names: str) -> None:
        refused.clear()
        refused.update(dict.fromkeys(names, number))

    return refuse


def policy(dms: ApplicationUnderTest, **changes: Any) -> None:
    dms.configure(scan=replace(dms.application.scan, **changes))


def try_once(dms: ApplicationUnderTest, *, last: bool = True) -> int:
    """Run a backup of which each task has one try: its last, or not."""
    backup_id = backup.open_backup(dms.application, dms.a_run(), catalog=dms.catalog, store=dms.store)
    backup.dump_database(dms.application, backup_id, catalog=dms.catalog, server=dms.server, store=dms.store)
    backup.upload_database(dms.application, backup_id, catalog=dms.catalog, store=dms.store)
    for share in backup.scan_files(dms.application, backup_id, catalog=dms.catalog):
        wanted = ArchiveRange.from_dict(share)
        backup.upload_files(dms.application, backup_id, wanted, catalog=dms.catalog, store=dms.store, last_try=last)
    figures = backup.close_backup(dms.application, backup_id, catalog=dms.catalog, store=dms.store)
    assert figures["unreadable_files"] == dms.catalog.backups.get(backup_id)["report"].get("unreadable_count", 0)
    return backup_id


def test_a_backup_is_complete_without_a_file_that_cannot_be_read_and_names_it(
    dms: ApplicationUnderTest, trouble: Trouble
) -> None:
    trouble(errno.EACCES, "doc2.pdf")
    backup_id = try_once(dms, last=False)  # no try can help where a right is missing
    row = dms.catalog.backups.get(backup_id)
    assert (row["state"], row["files_count"], row["new_files_count"]) == ("complete", 2, 2)
    assert row["report"]["unreadable_count"] == 1
    (told,) = row["report"]["unreadable"]
    assert told["name"] == "doc2.pdf"
    for words in ("Cannot read 'doc2.pdf'", "uid ", "with mode 0", "this worker runs as", 'exclude: ["doc2.pdf"]'):
        assert words in told["error"]


def test_what_could_not_be_read_is_archived_by_the_next_backup_and_the_first_one_is_restored_without_it(
    dms: ApplicationUnderTest, trouble: Trouble
) -> None:
    trouble(errno.EACCES, "doc2.pdf")
    first = try_once(dms)
    trouble(0)
    second = dms.back_up()
    row = dms.catalog.backups.get(second)
    assert (row["files_count"], row["new_files_count"]) == (3, 1)
    assert "unreadable_count" not in row["report"]
    everything = dms.contents()
    for path in dms.files.iterdir():
        path.unlink()
    dms.restore(first)
    assert set(dms.contents()) == {"doc1.pdf", "doc3.pdf"}
    dms.restore(second)
    assert dms.contents() == everything


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_trouble_of_a_disk_is_tried_again_before_a_file_is_left_out(
    dms: ApplicationUnderTest, trouble: Trouble, number: int
) -> None:
    trouble(number, "doc2.pdf")
    with pytest.raises(ReadFailed, match=r"doc2\.pdf") as caught:
        try_once(dms, last=False)
    assert caught.value.retryable
    assert "look at the disk" in caught.value.hint
    assert "exclude" not in str(caught.value)
    dms.catalog.backups.fail(dms.catalog.lists.backups("dms", state=None, limit=1, offset=0)[0]["id"], "tried")
    assert dms.catalog.backups.get(try_once(dms))["report"]["unreadable_count"] == 1


def test_a_file_that_grows_all_the_time_is_left_out_in_the_last_try(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pread

    def growing(fd: int, size: int, start: int) -> bytes:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        if path.name == "doc2.pdf":
            with path.open("ab") as file:
                file.write(b"more")
        return real(fd, size, start)

    monkeypatch.setattr(os, "pread", growing)
    with pytest.raises(FileChanged, match=r"doc2\.pdf"):
        try_once(dms, last=False)
    dms.catalog.backups.fail(dms.catalog.lists.backups("dms", state=None, limit=1, offset=0)[0]["id"], "tried")
    report = dms.catalog.backups.get(try_once(dms))["report"]
    assert [one["name"] for one in report["unreadable"]] == ["doc2.pdf"]


@pytest.mark.parametrize(
    ("changes", "names", "words"),
    [
        ({"unreadable": "fail"}, ["doc2.pdf"], r"doc2\.pdf"),
        ({"unreadable_most": 0}, ["doc2.pdf"], r"more than scan\.unreadable_most \(0\)"),
        ({}, ["doc1.pdf", "doc2.pdf"], "more than half of all"),
    ],
)
def test_above_the_threshold_a_backup_fails_and_says_what_to_do(
    dms: ApplicationUnderTest, trouble: Trouble, changes: dict[str, Any], names: list[str], words: str
) -> None:
    policy(dms, **changes)
    trouble(errno.EACCES, *names)
    with pytest.raises(FileUnreadable, match=words) as caught:
        try_once(dms)
    assert "exclude" in caught.value.hint
    assert not caught.value.retryable


def test_with_ignore_any_number_may_be_missing(dms: ApplicationUnderTest, trouble: Trouble) -> None:
    policy(dms, unreadable="ignore", unreadable_most=0)
    trouble(errno.EACCES, "doc1.pdf", "doc2.pdf", "doc3.pdf")
    row = dms.catalog.backups.get(try_once(dms))
    assert (row["state"], row["files_count"], row["report"]["unreadable_count"]) == ("complete", 0, 3)


def test_trouble_of_the_store_is_not_taken_for_an_unreadable_file(
    dms: ApplicationUnderTest, trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble(errno.EACCES, "doc2.pdf")
    monkeypatch.setattr(type(dms.store), "put", lambda *_args, **_kwargs: (_ for _ in ()).throw(ReadFailedOfStore()))
    with pytest.raises(ReadFailedOfStore):
        try_once(dms)


class ReadFailedOfStore(GlacierProviderError):
    """The store has trouble."""


def test_a_hint_names_what_is_in_the_way(tmp_path: Path, trouble: Trouble, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed" / "a[1].pdf").write_bytes(b"x")
    (tmp_path / "mine.pdf").write_bytes(b"x")
    (tmp_path / "mine.pdf").chmod(0o600)
    (tmp_path / "closed").chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setattr(os, "getegid", lambda: 54321)
    monkeypatch.setattr(os, "getgroups", lambda: [54321])
    trouble(errno.EACCES, "mine.pdf", "a[1].pdf")

    def said(name: str) -> str:
        with pytest.raises(FileUnreadable) as caught:
            open_source(tmp_path, name)
        return str(caught.value)

    assert "It belongs to root (uid 0) with mode 0600; this worker runs as uid 54321." in said("mine.pdf")
    of_directory = said("closed/a[1].pdf")
    assert "Its directory 'closed' belongs to root (uid 0) with mode 0700" in of_directory
    assert 'exclude: ["closed/a[[]1].pdf"]' in of_directory
