"""What the catalog promises about backups: the lease, completeness, ranges of membership."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from glacier_provider.catalog import lists, pages
from glacier_provider.catalog.archives import ArchiveRange, Upload
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.scans import Scan
from glacier_provider.core.archive import ArchiveKind, Location, Receipt
from glacier_provider.errors import BackupNotRestorable, IllegalMove, LeaseHeld, LeaseLost, UnknownBackup
from glacier_provider.postgres import Server
from tests.conftest import a_catalog
from tests.support.counting import counted

STORE = "s3://bucket/prefix"


def a_run(number: int) -> Run:
    return Run("glacier_backup__dms", f"scheduled__{number}")


def scanned(catalog: Catalog, backup_id: int, names: Iterable[str], size: int = 10) -> Scan:
    return catalog.scans.record(backup_id, ((name, size) for name in names), store_uri=STORE)


def upload_all(catalog: Catalog) -> int:
    """Archive every planned file, as the store would confirm it; return how many there were.

    A file that may have the content of an earlier archive has it.
    """
    count = 0
    for page in catalog.archives.unfinished_files(ArchiveRange(0, 2**62)):
        earlier = catalog.archives.earlier_versions([one.id for one in page if one.to_compare])
        catalog.archives.take_earlier_versions([versions[0] for versions in earlier.values()])
        page = [one for one in page if one.id not in earlier]
        uploads = [
            Upload(
                one.id, Receipt(Location(STORE, f"key/{one.id}"), one.size, f"sha256:{one.id:064x}"), f"{one.id:064x}"
            )
            for one in page
        ]
        count += catalog.archives.record_uploads(uploads)
    return count


def archive(catalog: Catalog, archive_id: int, size: int = 5) -> None:
    catalog.archives.begin_upload(archive_id)
    receipt = Receipt(Location(STORE, f"key/{archive_id}"), size, "sha256:" + "0" * 64)
    catalog.archives.record_uploads([Upload(archive_id, receipt)])


def dumped(catalog: Catalog, backup_id: int) -> None:
    archive_id = catalog.archives.plan_database(
        backup_id, filename="dms.dump", size=5, sha256="0" * 64, encoding="identity", store_uri=STORE
    )
    catalog.backups.record_dump(
        backup_id,
        archive_id=archive_id,
        snapshot_at=datetime.now(UTC),
        versions=("17.10", "17.10"),
        dump_format="custom",
    )
    archive(catalog, archive_id)


def completed(catalog: Catalog, backup_id: int, previous: int | None = None) -> None:
    manifest = catalog.archives.plan_manifest(backup_id, filename="m", size=5, sha256="0" * 64, store_uri=STORE)
    archive(catalog, manifest["id"])
    catalog.backups.complete(backup_id, manifest_archive_id=manifest["id"], previous_backup_id=previous)
    catalog.backups.free_lease(f"backup {backup_id}")


def a_backup(catalog: Catalog, number: int, names: Iterable[str]) -> int:
    """A complete backup of these files."""
    backup_id = catalog.backups.open(a_run(number))
    dumped(catalog, backup_id)
    scanned(catalog, backup_id, names)
    upload_all(catalog)
    catalog.scans.new_versions(backup_id)
    completed(catalog, backup_id)
    return backup_id


def members(catalog: Catalog, backup_id: int) -> set[str]:
    rows = catalog.lists.archives(backup_id, limit=1000)
    return {row["filename"] for row in rows if row["kind"] == ArchiveKind.FILE}


# --- life ---


def test_a_run_that_starts_again_finds_its_backup(catalog: Catalog) -> None:
    first = catalog.backups.open(a_run(1))
    assert catalog.backups.open(a_run(1)) == first
    assert catalog.backups.of_run(a_run(1)) == first
    assert catalog.backups.of_run(a_run(2)) is None


def test_ids_only_grow(catalog: Catalog) -> None:
    first = a_backup(catalog, 1, [])
    assert a_backup(catalog, 2, []) > first


def test_a_second_run_waits_while_the_first_has_the_lease(catalog: Catalog) -> None:
    first = catalog.backups.open(a_run(1))
    with pytest.raises(LeaseHeld, match=f"backup {first}"):
        catalog.backups.open(a_run(2))
    assert catalog.lists.backups() != []
    assert len(catalog.lists.backups()) == 1, "the refused run left no backup behind"


def test_a_lease_that_another_run_took_a_moment_before_is_not_taken(
    catalog: Catalog, catalog_database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both looked, and both found it free."""
    with a_catalog(catalog_database) as other:
        first = other.backups.open(a_run(1))
    with monkeypatch.context() as at_once:
        at_once.setattr(type(catalog.backups), "lease", lambda _: None)
        with pytest.raises(LeaseHeld):
            catalog.backups.open(a_run(2))
    lease = catalog.backups.lease()
    assert lease is not None
    assert (lease["holder"], lease["last_holder"]) == (f"backup {first}",) * 2


def test_the_lease_of_a_dead_run_ends_and_its_backup_is_settled(catalog: Catalog, catalog_database: Server) -> None:
    dead = catalog.backups.open(a_run(1))
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute("UPDATE glacier_catalog.applications SET lease_until = now() - interval '1 second'")
    alive = catalog.backups.open(a_run(2))
    assert catalog.backups.get(dead)["state"] == "failed"
    assert "without finishing" in catalog.backups.get(dead)["error"]
    with pytest.raises(LeaseHeld):
        catalog.backups.take_lease(f"backup {dead}")
    assert catalog.backups.get(alive)["state"] == "running"


def test_a_lease_that_another_run_had_meanwhile_is_not_prolonged(catalog: Catalog, catalog_database: Server) -> None:
    """Not even when that one has freed it: what it did is not known here."""
    slept = catalog.backups.open(a_run(1))
    fence = catalog._database.fence
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute("UPDATE glacier_catalog.applications SET lease_until = now() - interval '1 second'")
    with a_catalog(catalog_database) as other:
        between = other.backups.open(a_run(2))
        other.backups.free_lease(f"backup {between}")
    with pytest.raises(LeaseLost, match=f"backup {between} has had the lease"):
        catalog.backups.prolong_lease(f"backup {slept}", fence)
    lease = catalog.backups.lease()
    assert lease is not None
    assert not lease["held"]


def test_another_application_has_a_lease_of_its_own(catalog: Catalog, catalog_database: Server) -> None:
    catalog.backups.open(a_run(1))
    other = a_catalog(catalog_database, application="library")
    assert other.backups.open(Run("glacier_backup__library", "r")) > 0


def test_a_failed_backup_goes_on_when_its_run_is_cleared(catalog: Catalog) -> None:
    backup_id = catalog.backups.open(a_run(1))
    catalog.backups.fail(backup_id, "dump_database: the disk is full")
    assert catalog.backups.get(backup_id)["error"] == "dump_database: the disk is full"
    assert catalog.backups.open(a_run(1)) == backup_id
    assert catalog.backups.get(backup_id)["state"] == "running"


def test_a_backup_is_not_continued_once_a_later_one_began(catalog: Catalog) -> None:
    failed = catalog.backups.open(a_run(1))
    catalog.backups.fail(failed, "boom")
    later = a_backup(catalog, 2, ["a"])
    with pytest.raises(IllegalMove, match="overtaken by a later one"):
        catalog.backups.open(a_run(1))
    with pytest.raises(IllegalMove, match="overtaken"):
        catalog.backups.go_on(failed)
    assert members(catalog, later) == {"a"}
    assert catalog.backups.open(a_run(3)) > later, "the lease was not taken by what was refused"


def test_a_complete_backup_stays_complete(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, ["a"])
    catalog.backups.fail(backup_id, "too late")
    assert catalog.backups.get(backup_id)["state"] == "complete"
    with pytest.raises(IllegalMove, match="already complete"):
        catalog.backups.open(a_run(1))


def test_who_completes_what_another_try_has_completed_is_told_so(catalog: Catalog) -> None:
    backup_id, manifest_id = all_but_completed(catalog)
    archive(catalog, manifest_id)
    catalog.backups.complete(backup_id, manifest_archive_id=manifest_id, previous_backup_id=None)
    with pytest.raises(IllegalMove, match=f"Backup {backup_id} is already complete"):
        catalog.backups.complete(backup_id, manifest_archive_id=manifest_id, previous_backup_id=None)


# --- promise 1 ---


def test_a_backup_without_dump_is_not_complete(catalog: Catalog) -> None:
    backup_id = catalog.backups.open(a_run(1))
    scanned(catalog, backup_id, ["a"])
    upload_all(catalog)
    with pytest.raises(IllegalMove, match="dump is not archived"):
        completed(catalog, backup_id)


def test_a_backup_that_was_not_scanned_is_not_complete(catalog: Catalog) -> None:
    backup_id = catalog.backups.open(a_run(1))
    dumped(catalog, backup_id)
    with pytest.raises(IllegalMove, match="not scanned"):
        completed(catalog, backup_id)


def test_a_backup_with_a_file_that_is_not_archived_is_not_complete(catalog: Catalog) -> None:
    backup_id = catalog.backups.open(a_run(1))
    dumped(catalog, backup_id)
    scanned(catalog, backup_id, ["a", "b"])
    with pytest.raises(IllegalMove, match=r"a \(planned\), b \(planned\)"):
        completed(catalog, backup_id)
    assert catalog.backups.get(backup_id)["state"] == "running"


def all_but_completed(catalog: Catalog) -> tuple[int, int]:
    """Return the ids of a backup that only has to be completed, and of its manifest, which is not archived yet."""
    backup_id = catalog.backups.open(a_run(1))
    dumped(catalog, backup_id)
    scanned(catalog, backup_id, ["a", "b"])
    upload_all(catalog)
    manifest = catalog.archives.plan_manifest(backup_id, filename="m", size=5, sha256="0" * 64, store_uri=STORE)
    return backup_id, manifest["id"]


def test_a_backup_whose_manifest_is_not_archived_is_not_complete(catalog: Catalog) -> None:
    backup_id, manifest_id = all_but_completed(catalog)
    with pytest.raises(IllegalMove, match="its dump or its manifest is not in the store"):
        catalog.backups.complete(backup_id, manifest_archive_id=manifest_id, previous_backup_id=None)


@pytest.mark.parametrize("kind", [ArchiveKind.DATABASE, ArchiveKind.FILE])
def test_a_backup_of_which_something_is_lost_is_not_complete(catalog: Catalog, kind: ArchiveKind) -> None:
    backup_id, manifest_id = all_but_completed(catalog)
    archive(catalog, manifest_id)
    lost = next(row["id"] for row in catalog.lists.archives(backup_id, limit=10) if row["kind"] == kind)
    catalog.lost.note([lost], "somebody deleted it")
    with pytest.raises(IllegalMove, match="not complete"):
        catalog.backups.complete(backup_id, manifest_archive_id=manifest_id, previous_backup_id=None)


def test_a_backup_that_failed_does_not_become_complete(catalog: Catalog) -> None:
    backup_id, manifest_id = all_but_completed(catalog)
    archive(catalog, manifest_id)
    catalog.backups.fail(backup_id, "boom", step="the end")
    with pytest.raises(IllegalMove, match="it is failed"):
        catalog.backups.complete(backup_id, manifest_archive_id=manifest_id, previous_backup_id=None)


def test_what_was_given_up_meanwhile_is_not_archived_by_who_still_sends_it(catalog: Catalog) -> None:
    backup_id = catalog.backups.open(a_run(1))
    scanned(catalog, backup_id, ["a", "b"])
    pages = list(catalog.archives.unfinished_files(ArchiveRange(0, 2**62)))
    catalog.archives.drop_vanished([page.id for page in pages[0] if page.filename == "a"])
    uploads = [
        Upload(one.id, Receipt(Location(STORE, f"key/{one.id}"), one.size, "sha256:" + "0" * 64)) for one in pages[0]
    ]
    assert catalog.archives.record_uploads(uploads) == 1
    assert [catalog.archives.get(one.id)["state"] for one in pages[0]] == ["failed", "archived"]


def test_only_what_was_archived_can_be_lost(catalog: Catalog) -> None:
    backup_id = catalog.backups.open(a_run(1))
    scanned(catalog, backup_id, ["a"])
    ((planned,),) = catalog.archives.unfinished_files(ArchiveRange(0, 2**62))
    assert catalog.lost.note([planned.id], "the store did not list it") == []
    assert catalog.archives.get(planned.id)["state"] == "uploading"


def test_only_what_is_being_deleted_can_be_gone(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, ["a"])
    kept = [row["id"] for row in catalog.lists.archives(backup_id, limit=10)]
    catalog.deletions.deleted(kept)
    assert {catalog.archives.get(one)["state"] for one in kept} == {"archived"}
    assert members(catalog, backup_id) == {"a"}


# --- promise 2 and 12: files once, ranges instead of rows ---


def test_every_file_is_planned_once_however_often_it_is_scanned(catalog: Catalog) -> None:
    backup_id = catalog.backups.open(a_run(1))
    first = scanned(catalog, backup_id, ["a", "sub/b"])
    again = scanned(catalog, backup_id, ["a", "sub/b"])
    assert (first.new_files, first.files, first.bytes) == (2, 2, 20)
    assert again == first
    assert upload_all(catalog) == 2
    assert upload_all(catalog) == 0


def test_a_later_backup_plans_only_what_is_new(catalog: Catalog) -> None:
    first = a_backup(catalog, 1, ["a", "b"])
    second = a_backup(catalog, 2, ["a", "b", "c"])
    assert catalog.backups.get(second)["new_files_count"] == 1
    assert members(catalog, first) == {"a", "b"}
    assert members(catalog, second) == {"a", "b", "c"}


def test_a_file_that_vanished_stays_in_the_backups_that_had_it(catalog: Catalog) -> None:
    first = a_backup(catalog, 1, ["a", "b"])
    second = a_backup(catalog, 2, ["a"])
    assert members(catalog, first) == {"a", "b"}
    assert members(catalog, second) == {"a"}
    assert catalog.backups.get(second)["vanished_count"] == 1


def test_a_file_that_came_back_is_not_archived_again(catalog: Catalog) -> None:
    first = a_backup(catalog, 1, ["a", "b"])
    second = a_backup(catalog, 2, ["a"])
    third = a_backup(catalog, 3, ["a", "b"])
    assert members(catalog, third) == {"a", "b"}
    assert members(catalog, second) == {"a"}
    assert members(catalog, first) == {"a", "b"}
    row = catalog.backups.get(third)
    assert (row["new_files_count"], row["returned_count"], row["vanished_count"]) == (0, 1, 0)


def test_a_year_of_unchanged_files_is_one_row_a_file(catalog: Catalog, catalog_database: Server) -> None:
    for number in range(12):
        a_backup(catalog, number, ["a", "b", "c"])
    with catalog_database.connect(autocommit=True) as connection:
        rows = connection.execute("SELECT count(*) FROM glacier_catalog.backup_files").fetchall()
    assert rows == [(3,)]


def test_a_task_that_begins_while_a_scan_is_noted_waits_for_it_and_neither_fails(
    catalog: Catalog, catalog_database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup_id = catalog.backups.open(a_run(1))
    catalog.backups.go_on(backup_id)
    with a_catalog(catalog_database) as of_another_task, ThreadPoolExecutor(1) as other:
        begun: list[Future[bool]] = []

        def begin_another_task(*_: object) -> None:
            begun.append(other.submit(of_another_task.backups.go_on, backup_id, "rehearse_restore"))
            question = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
            with catalog_database.connect(autocommit=True) as connection:
                while connection.execute(question, [catalog_database.dbname]).fetchone() != (1,):
                    time.sleep(0.02)  # a server tells nobody when a session begins to wait

        monkeypatch.setattr(
            catalog.scans, "_refuse_emptied", begin_another_task
        )  # the scan has the backup's row by then
        assert scanned(catalog, backup_id, ["a", "b"]).files == 2
        assert begun[0].result(timeout=30)


def test_a_scan_repeated_after_files_vanished_forgets_what_never_was_in_a_backup(catalog: Catalog) -> None:
    backup_id = catalog.backups.open(a_run(1))
    scanned(catalog, backup_id, ["a", "b"])
    again = scanned(catalog, backup_id, ["a"])
    assert (again.files, again.new_files) == (1, 1)
    assert upload_all(catalog) == 1
    dumped(catalog, backup_id)
    completed(catalog, backup_id)
    assert members(catalog, backup_id) == {"a"}


def test_a_file_planned_by_a_failed_backup_is_archived_by_the_next(catalog: Catalog) -> None:
    failed = catalog.backups.open(a_run(1))
    scanned(catalog, failed, ["a"])
    catalog.backups.fail(failed, "boom")
    second = a_backup(catalog, 2, ["a", "b"])
    assert members(catalog, second) == {"a", "b"}


def test_a_file_that_vanished_before_its_upload_frees_its_name(catalog: Catalog) -> None:
    backup_id = catalog.backups.open(a_run(1))
    scanned(catalog, backup_id, ["a"])
    (page,) = catalog.archives.unfinished_files(ArchiveRange(0, 2**62))
    catalog.archives.drop_vanished([page[0].id])
    assert members(catalog, backup_id) == set()
    again = scanned(catalog, backup_id, ["a"], size=99)
    assert (again.new_files, again.bytes) == (1, 99)


def test_a_file_that_vanished_before_its_upload_is_not_counted(catalog: Catalog) -> None:
    a_backup(catalog, 1, ["old"])
    backup_id = catalog.backups.open(a_run(2))
    scanned(catalog, backup_id, ["old", "a", "b"])
    (page,) = catalog.archives.unfinished_files(ArchiveRange(0, 2**62))
    for _ in range(2):
        catalog.archives.drop_vanished([page[0].id])  # the second time it is gone already
    row = catalog.backups.get(backup_id)
    names = ("files_count", "files_bytes", "new_files_count", "new_files_bytes")
    assert [row[name] for name in names] == [2, 20, 1, 10]
    assert len(members(catalog, backup_id)) == 2


def test_a_changed_size_is_reported_and_the_archive_kept_where_changes_are_only_reported(catalog: Catalog) -> None:
    a_backup(catalog, 1, ["a", "b"])
    backup_id = catalog.backups.open(a_run(2))
    scan = catalog.scans.record(backup_id, [("a", 11), ("b", 11)], store_uri=STORE, archive_changed=False)
    assert scan.changed_count == 2
    assert scan.changed[0] == {"name": "a", "archived_size": 10, "size": 11}
    assert scan.new_files == 0


def test_ranges_share_the_work_evenly(catalog: Catalog) -> None:
    backup_id = catalog.backups.open(a_run(1))
    scanned(catalog, backup_id, [f"f{n:03}" for n in range(100)])
    shares = catalog.archives.unfinished_ranges(shares=4, smallest=10)
    assert [share.archives for share in shares] == [25, 25, 25, 25]
    assert sum(share.bytes for share in shares) == 1000
    assert all(one.last < other.first for one, other in pairwise(shares))
    assert len(catalog.archives.unfinished_ranges(shares=4, smallest=60)) == 2
    upload_all(catalog)
    assert catalog.archives.unfinished_ranges(shares=4, smallest=10) == []


def test_names_that_are_no_utf8_and_no_ascii_go_through_the_catalog(catalog: Catalog) -> None:
    names = ["späße/ümläut.pdf", "tab\there", "new\nline", "back\\\\slash", "raw\\xff", "'quote\"", "-dash", "100%"]
    backup_id = a_backup(catalog, 1, names)
    assert members(catalog, backup_id) == set(names)


# --- references ---


def test_names_the_database_knows_and_the_backup_lacks_are_told(catalog: Catalog) -> None:
    backup_id = catalog.backups.open(a_run(1))
    scanned(catalog, backup_id, ["a", "b"])
    assert catalog.scans.unarchived_references(backup_id, ["b", "gone.pdf", "gone.pdf", "a"]) == ["gone.pdf"]


# --- choosing ---


def test_unknown_failed_and_foreign_ids_name_the_valid_ones(catalog: Catalog, catalog_database: Server) -> None:
    good = a_backup(catalog, 1, ["a"])
    failed = catalog.backups.open(a_run(2))
    catalog.backups.fail(failed, "dump_database: cut")
    other = a_catalog(catalog_database, application="library")
    foreign = other.backups.open(Run("glacier_backup__library", "r"))
    with pytest.raises(UnknownBackup, match=rf"Complete backups: {good} \("):
        catalog.backups.restorable(999)
    with pytest.raises(BackupNotRestorable, match=r"failed \(dump_database: cut\)"):
        catalog.backups.restorable(failed)
    with pytest.raises(BackupNotRestorable, match="application library"):
        catalog.backups.restorable(foreign)
    assert catalog.backups.restorable(good)["id"] == good
    with pytest.raises(UnknownBackup, match="no complete backup yet"):
        other.backups.restorable(999)


def test_the_newest_complete_backup_is_not_the_newest_backup(catalog: Catalog) -> None:
    good = a_backup(catalog, 1, ["a"])
    catalog.backups.open(a_run(2))
    assert catalog.backups.newest_complete() == good


# --- status ---


def test_a_backup_shows_the_lowest_status_of_its_archives(catalog: Catalog, catalog_database: Server) -> None:
    backup_id = a_backup(catalog, 1, ["a", "b"])
    assert catalog.lists.backup(backup_id)["retrieval_status"] == "available", "its dump is only in the cold"
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        connection.execute("UPDATE glacier_archives SET retrieval_status = 'local' WHERE kind = 'database'")
        assert catalog.lists.backup(backup_id)["retrieval_status"] == "local"
        connection.execute("UPDATE glacier_archives SET retrieval_status = 'pending' WHERE filename = 'a'")
        assert catalog.lists.backup(backup_id)["retrieval_status"] == "pending"
    counts = catalog.lists.backup(backup_id)["archives"]
    assert {status: amount.archives for status, amount in counts.items()} == {
        "local": 1,
        "pending": 1,
        "exists": 1,
    }


def test_a_vanished_file_is_only_in_the_cold(catalog: Catalog) -> None:
    first = a_backup(catalog, 1, ["a", "b"])
    a_backup(catalog, 2, ["a"])
    rows = {row["filename"]: row["retrieval_status"] for row in catalog.lists.archives(first)}
    assert (rows["a"], rows["b"]) == ("exists", "available")


def test_what_a_backup_is_of_is_told_from_its_first_step_on_without_counting_it(catalog: Catalog) -> None:
    complete = a_backup(catalog, 1, ["a", "b"])
    begun = catalog.backups.open(a_run(2))
    assert catalog.lists.backup(begun)["archives"] == {}, "nothing is known of it"
    dumped(catalog, begun)
    scanned(catalog, begun, ["a", "new", "other"])
    assert catalog.lists.backup(begun)["archives"] == counted(catalog, begun)
    assert counted(catalog, begun)["available"].archives == 3, "the dump, and what is to be sent"
    upload_all(catalog)
    assert catalog.lists.backup(begun)["archives"] == counted(catalog, begun)
    catalog.backups.fail(begun, "why")
    for one in (begun, complete):
        assert catalog.lists.backup(one)["archives"] == counted(catalog, one)


def test_pages_of_archives_are_the_parts_of_the_whole_list(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "FIRST_WINDOW", 1)
    names = [f"f{number:03}" for number in range(100)]
    a_backup(catalog, 1, names[:60])
    a_backup(catalog, 2, names[50:])
    last = a_backup(catalog, 3, names[:10] + names[70:])
    rows = catalog.lists.archives(last, limit=1000)
    everything = [row["filename"] for row in rows]
    assert [row["kind"] for row in rows[:2]] == ["database", "manifest"]
    assert sorted(everything[2:]) == names[:10] + names[70:]
    assert [row["id"] for row in rows[2:]] == sorted(row["id"] for row in rows[2:])
    parts = [catalog.lists.archives(last, limit=7, offset=offset) for offset in range(0, 50, 7)]
    assert [row["filename"] for part in parts for row in part] == everything
    assert len(catalog.lists.archives(last, containing="f09", limit=7)) == 7
    assert sorted(row["filename"] for row in catalog.lists.archives(last, containing="f09")) == names[90:]
    assert catalog.lists.archives(last, offset=1000) == catalog.lists.archives(last + 1) == []


def test_a_file_that_came_back_is_found_where_a_window_ends_within_it(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SEARCH_WINDOW", 1)
    for number, names in enumerate((["a", "b"], ["a"], ["a", "b"]), 1):
        last = a_backup(catalog, number, names)
    found: list[str] = []
    after: int | None = 0
    while after is not None:
        page = catalog.pages.files("dms", last, after=after)
        found += [row["filename"] for row in page.rows]
        after = page.next
    assert sorted(found) == ["a", "b"]


def test_lists_of_several_applications_are_one_list(catalog: Catalog, catalog_database: Server) -> None:
    with a_catalog(catalog_database, "other") as other:
        made = [a_backup(one, number, ["a"]) for number in range(1, 4) for one in (catalog, other)]
        failed = other.backups.open(a_run(9))
        other.backups.fail(failed, "why")

        def ids(*of: str, **wanted: Any) -> list[int]:
            return [row["id"] for row in catalog.lists.backups(*of, **wanted)]

        newest_first = sorted([*made, failed], reverse=True)
        assert ids() == newest_first
        assert ids(limit=3, offset=2) == newest_first[2:5]
        assert (ids(state="failed"), ids("other")) == ([failed], [failed, *sorted(made[1::2], reverse=True)])


def test_filenames_are_found_by_any_part_of_them(catalog: Catalog) -> None:
    backup_id = a_backup(catalog, 1, ["100%_done.pdf", "100_done.pdf", "other"])
    assert [row["filename"] for row in catalog.lists.archives(backup_id, containing="0%_d")] == ["100%_done.pdf"]


# --- manifests ---


def test_manifests_hold_the_changes_between_backups(catalog: Catalog) -> None:
    first = a_backup(catalog, 1, ["a", "b"])
    second = a_backup(catalog, 2, ["a", "c"])
    third = a_backup(catalog, 3, ["a", "b", "c"])

    def added(previous: int, backup_id: int) -> list[str]:
        return [row["filename"] for row in catalog.archives.added_since(previous, backup_id)]

    b_id = next(row["id"] for row in catalog.lists.archives(first) if row["filename"] == "b")
    assert added(0, first) == ["a", "b"]
    assert added(first, second) == ["c"]
    assert list(catalog.archives.removed_since(first, second)) == [b_id]
    assert added(second, third) == ["b"]
    assert added(first, third) == ["c"]
    assert list(catalog.archives.removed_since(first, third)) == []
    assert added(0, third) == ["a", "b", "c"]


def test_two_processes_that_open_the_backup_of_a_run_in_the_same_moment_open_one(
    catalog: Catalog, catalog_database: Server
) -> None:
    with ThreadPoolExecutor(1) as pool, a_catalog(catalog_database) as other:
        assert other.backups.application_id == catalog.backups.application_id
        with catalog.transaction():
            mine = catalog.backups.open(a_run(1))
            theirs = pool.submit(other.backups.open, a_run(1))
            with suppress(TimeoutError):  # it waits for the one that came first
                theirs.result(0.5)
        assert theirs.result(10) == mine
