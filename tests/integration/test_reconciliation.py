"""What a store holds without the catalog knowing is found, adopted, noted or deleted; nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.errors import LeaseHeld, OutcomeUnknown, StoreDenied, StoreUnavailable
from glacier_provider.pipelines import backup
from glacier_provider.pipelines.delete import delete_backup
from glacier_provider.pipelines.reconcile import reconcile
from tests.emulator.faults import FaultKind
from tests.integration.test_rebuild import lose_the_catalog, rebuild
from tests.support.application import ApplicationUnderTest
from tests.support.vault import VAULT, OnAVault

DAY = timedelta(days=1)


@pytest.fixture
def on_vault(on_a_vault: OnAVault) -> OnAVault:
    on_a_vault.attempts = 2
    return on_a_vault


def ids(app: OnAVault) -> set[str]:
    return {archive["id"] for archive in app.vault.archives(digests=False)}


def known(app: OnAVault) -> set[str]:
    return {row[0] for row in in_catalog(app, "SELECT key FROM glacier_archives WHERE state = 'archived'")}


def in_catalog(app: ApplicationUnderTest, statement: str) -> list[tuple[Any, ...]]:
    with app.catalog_server.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def appears_late(app: OnAVault, archive_id: str) -> None:
    """Have an archive come after the inventory that was just taken."""
    with app.vault.store.transaction():
        change = app.vault.store.note_change(VAULT)
        app.vault.store.execute("UPDATE archives SET change = ? WHERE id = ?", change, archive_id)


def a_doubtful_backup(app: OnAVault) -> int:
    """A backup of which the vault holds one small file twice."""
    app.vault.faults.inject("UploadArchive", "reset_after", count=1)
    return app.back_up()


# --- vaults ---


def test_a_copy_too_many_is_deleted_once_an_inventory_tells_of_it(on_vault: OnAVault) -> None:
    backup_id = a_doubtful_backup(on_vault)
    assert on_vault.catalog.backups.get(backup_id)["report"]["maybe_twice_count"] == 1
    assert len(ids(on_vault) - known(on_vault)) == 1
    on_vault.pass_time(2 * DAY)
    on_vault.take_inventory()
    (told,) = on_vault.reconciled()
    assert (told.deleted, told.strays, told.missing, told.doubtful) == (1, 0, (), 0)
    assert ids(on_vault) == known(on_vault)
    assert on_vault.reconciled() == [], "nothing is in doubt any more"


def test_a_copy_that_may_not_be_deleted_stays_and_is_named_and_the_run_ends_well(on_vault: OnAVault) -> None:
    """A vault lock, or credentials without DeleteArchive: one lost answer does not fail every run from then on."""
    backup_id = a_doubtful_backup(on_vault)
    on_vault.pass_time(2 * DAY)
    on_vault.take_inventory()
    on_vault.vault.faults.inject("DeleteArchive", FaultKind.ACCESS_DENIED)
    (told,) = on_vault.reconciled()
    assert (told.deleted, told.kept, told.doubtful) == (0, 1, 0)
    assert told.named == tuple(ids(on_vault) - known(on_vault))
    assert any("may not be deleted" in line for line in told.lines())
    assert on_vault.reconciled() == []
    run, stores = on_vault.a_run("delete"), on_vault.stores
    with pytest.raises(StoreDenied, match=r"Nothing was changed, and the backup can be restored as before"):
        delete_backup(on_vault.application, backup_id, run, catalog=on_vault.catalog, stores=stores, force=True)
    assert on_vault.catalog.backups.get(backup_id)["state"] == "complete"
    for path in on_vault.files.rglob("*.pdf"):
        path.unlink()
    on_vault.restore(backup_id)


def test_a_copy_that_cannot_be_deleted_now_is_tried_again(on_vault: OnAVault, monkeypatch: pytest.MonkeyPatch) -> None:
    a_doubtful_backup(on_vault)
    on_vault.pass_time(2 * DAY)
    on_vault.take_inventory()
    refused = {"one": StoreUnavailable("It is busy."), "other": StoreDenied("No.")}
    monkeypatch.setattr(on_vault.store, "delete_all", lambda _archives: refused)
    with pytest.raises(StoreUnavailable):
        on_vault.reconciled()


def test_a_copy_that_an_old_inventory_shows_is_deleted_and_the_doubt_stays(on_vault: OnAVault) -> None:
    a_doubtful_backup(on_vault)
    on_vault.take_inventory()  # of the same hour: what it lacks may still come
    (told,) = on_vault.reconciled()
    assert (told.deleted, told.doubtful) == (1, 1)
    assert ids(on_vault) == known(on_vault)


def test_the_inventory_of_a_vault_that_did_not_change_settles_what_was_before_it(on_vault: OnAVault) -> None:
    """AWS takes no other one of it: its date stays, however late it is asked for."""
    a_doubtful_backup(on_vault)
    on_vault.vault.take_inventory(VAULT)
    on_vault.pass_time(3 * DAY)
    operations = on_vault.vault.job_operations
    on_vault.vault.complete_jobs(operations.initiate(VAULT, {"Type": "inventory-retrieval"}))
    (told,) = on_vault.reconciled()
    assert (told.deleted, told.doubtful) == (1, 0)


def test_without_an_inventory_one_is_asked_for_and_the_doubt_stays(on_vault: OnAVault) -> None:
    a_doubtful_backup(on_vault)
    on_vault.vault.take_inventory(VAULT)
    (told,) = on_vault.reconciled()
    assert (told.as_of, told.doubtful) == (None, 1)
    assert on_vault.vault.requests()["InitiateJob"]["succeeded"] == 1
    on_vault.reconciled()
    assert on_vault.vault.requests()["InitiateJob"]["succeeded"] == 1, "it is joined, not asked for again"


def test_an_inventory_from_before_the_doubt_settles_nothing(on_vault: OnAVault) -> None:
    on_vault.back_up()
    on_vault.take_inventory()
    a_doubtful_backup(on_vault)
    (told,) = on_vault.reconciled()
    assert (told.as_of, told.deleted, told.doubtful) == (None, 0, 1)


def test_what_a_killed_process_sent_is_adopted_when_the_file_is_still_the_same(on_vault: OnAVault) -> None:
    run = on_vault.a_run()
    app, catalog = on_vault.application, on_vault.catalog
    dead = backup.open_backup(app, run, catalog=catalog, store=on_vault.store)
    backup.dump_database(app, dead, catalog=catalog, server=on_vault.server)
    ranges = [ArchiveRange.from_dict(share) for share in backup.scan_files(app, dead, catalog=catalog)]
    (page,) = catalog.archives.unfinished_files(ranges[0])
    for archive in page[:2]:  # sent, and killed before the catalog knew
        content = (on_vault.files / archive.filename).read_bytes()
        on_vault.store.put(content, archive.description(app.name, ArchiveKind.FILE, size=len(content)))
    (on_vault.files / page[1].filename).write_bytes(b"something else")
    catalog.backups.fail(dead, "its machine was lost")
    on_vault.pass_time(2 * DAY)
    on_vault.take_inventory()
    (told,) = on_vault.reconciled(everything=True)
    assert (told.adopted, told.waiting, told.deleted) == (1, 1, 0)
    (on_vault.files / page[1].filename).write_bytes(b"content 2")
    complete = on_vault.back_up()
    row = {row["filename"]: row for row in catalog.lists.archives(complete)}[page[0].filename]
    assert row["made_by_backup"] == dead, "it was not sent again"


def test_a_manifest_that_was_written_again_leaves_none_behind(on_vault: OnAVault) -> None:
    run = on_vault.a_run()
    on_vault.back_up()
    app, catalog = on_vault.application, on_vault.catalog
    on_vault.vault.faults.inject("UploadArchive", "reset_after", after=1, count=1)
    on_vault.vault.faults.inject("InitiateMultipartUpload", "unavailable", after=1)
    with pytest.raises((OutcomeUnknown, StoreUnavailable)):
        on_vault.back_up(run)  # the dump went through; the manifest's reply is lost
    on_vault.vault.faults.clear()
    on_vault.write("late.txt", "late")
    backup_id = backup.open_backup(app, run, catalog=catalog, store=on_vault.store)
    for share in backup.scan_files(app, backup_id, catalog=catalog):
        backup.upload_files(app, backup_id, ArchiveRange.from_dict(share), catalog=catalog, store=on_vault.store)
    backup.close_backup(app, backup_id, catalog=catalog, store=on_vault.store)
    assert len(ids(on_vault) - known(on_vault)) == 1
    on_vault.pass_time(2 * DAY)
    on_vault.take_inventory()
    (told,) = on_vault.reconciled()
    assert (told.deleted, told.strays) == (1, 0)
    assert ids(on_vault) == known(on_vault)


def test_archives_of_another_catalog_are_left_alone_and_told(on_vault: OnAVault) -> None:
    on_vault.back_up()
    (row,) = on_vault.catalog.lists.archives(1, containing="doc1")
    theirs = Description("dms", ArchiveKind.FILE, row["id"], 1, "doc1.pdf", 9, "ee" * 32)
    on_vault.store.put(b"other one", theirs)
    on_vault.store.put(b"unknown", replace(theirs, archive_id=4711, size=7))
    on_vault.store.put(b"foreign", replace(theirs, application="library", size=7))
    before = ids(on_vault)
    on_vault.pass_time(2 * DAY)
    on_vault.take_inventory()
    (told,) = on_vault.reconciled(everything=True)
    assert (told.strays, told.deleted, told.adopted, told.noted) == (2, 0, 0, 0)
    assert ids(on_vault) == before


# --- S3 ---


def test_what_was_given_up_and_lies_in_the_bucket_is_noted_and_goes_with_its_backup(dms: ApplicationUnderTest) -> None:
    app, catalog = dms.application, dms.catalog
    dead = backup.open_backup(app, dms.a_run(), catalog=catalog, store=dms.store)
    backup.dump_database(app, dead, catalog=catalog, server=dms.server)
    (share,) = backup.scan_files(app, dead, catalog=catalog)
    (page,) = catalog.archives.unfinished_files(ArchiveRange.from_dict(share))
    sent = page[0].description(app.name, ArchiveKind.FILE, size=9)
    dms.store.put(b"content 1", sent)
    (dms.files / page[0].filename).unlink()  # killed before the catalog knew, and then it vanished
    catalog.backups.fail(dead, "its machine was lost")
    dms.back_up()
    (told,) = reconcile(app, catalog=catalog, stores=dms.stores)
    assert (told.noted, told.strays, told.doubtful) == (1, 0, 0)
    assert reconcile(app, catalog=catalog, stores=dms.stores) == []
    delete_backup(app, dead, dms.a_run(), catalog=catalog, stores=dms.stores)
    listed = dms.s3.client().list_objects_v2(Bucket=dms.bucket)["Contents"]
    assert not [one["Key"] for one in listed if one["Key"].endswith(page[0].filename)]


def test_an_archive_that_somebody_deleted_from_the_bucket_is_told(dms: ApplicationUnderTest) -> None:
    dms.back_up()
    (row,) = dms.catalog.lists.archives(1, containing="doc1")
    dms.s3.client().delete_object(Bucket=dms.bucket, Key=row["key"])
    (told,) = reconcile(dms.application, catalog=dms.catalog, stores=dms.stores, everything=True)
    assert told.missing == ("doc1.pdf",)
    assert "NOT in the store" in told.lines()[-1]


def test_a_copy_is_kept_while_the_archive_itself_is_missing(on_vault: OnAVault) -> None:
    a_doubtful_backup(on_vault)
    (copy,) = ids(on_vault) - known(on_vault)
    ((key, filename),) = in_catalog(
        on_vault, "SELECT key, filename FROM glacier_archives WHERE doubtful_since IS NOT NULL"
    )
    on_vault.vault.client().delete_archive(vaultName=VAULT, archiveId=key)
    on_vault.pass_time(2 * DAY)
    on_vault.take_inventory()
    (told,) = on_vault.reconciled()
    assert (told.deleted, told.named, told.missing) == (0, (copy,), (filename,))
    assert copy in ids(on_vault), "it is the last one"


def test_what_was_lost_when_the_catalog_was_rebuilt_and_is_back_is_archived_again(dms: ApplicationUnderTest) -> None:
    """In a bucket with versions, a deletion only hides: somebody takes it back."""
    client = dms.s3.client()
    client.put_bucket_versioning(Bucket=dms.bucket, VersioningConfiguration={"Status": "Enabled"})
    backup_id = dms.back_up()
    dms.write("new.pdf", "new")
    dms.back_up()
    listed = {stored.key for stored in dms.store.archives()}
    row = dms.catalog.archives.of_backup(backup_id, ArchiveKind.DATABASE)
    assert row is not None
    hidden = {row["key"], *(stored.key for stored in dms.store.archives(kind=ArchiveKind.FILE))}
    markers = [(key, client.delete_object(Bucket=dms.bucket, Key=key)["VersionId"]) for key in hidden]
    lose_the_catalog(dms)
    rebuilt = rebuild(dms)
    assert (rebuilt.complete, rebuilt.lost_count) == (1, 4)
    for key, version in markers:
        client.delete_object(Bucket=dms.bucket, Key=key, VersionId=version)
    (told,) = reconcile(dms.application, catalog=dms.catalog, stores=dms.stores, everything=True)
    assert (told.back, told.deleted, told.strays, told.missing) == (5, 0, 0, ())
    assert "there again: 5" in told.lines()[1]
    assert dms.catalog.counts.wrong() == []
    assert {stored.key for stored in dms.store.archives()} == listed
    again = dms.catalog.backups.get(backup_id)
    assert (again["state"], again["error"]) == ("complete", None)
    (dms.files / "doc1.pdf").unlink()
    dms.restore(backup_id)
    assert dms.contents()["doc1.pdf"] == b"content 1"
    assert dms.catalog.backups.get(dms.back_up())["new_files_count"] == 0, "what is in its directory is not sent again"
    assert dms.catalog.counts.wrong() == []


def test_what_comes_back_otherwise_than_it_was_is_left_alone(dms: ApplicationUnderTest) -> None:
    dms.back_up()
    stored = next(one for one in dms.store.archives() if one.description and one.description.filename == "doc3.pdf")
    client = dms.s3.client()
    metadata = client.head_object(Bucket=dms.bucket, Key=stored.key)["Metadata"]
    client.delete_object(Bucket=dms.bucket, Key=stored.key)
    lose_the_catalog(dms)
    rebuild(dms)
    client.put_object(
        Bucket=dms.bucket, Key=stored.key, Body=b"content X", Metadata=metadata, ChecksumAlgorithm="SHA256"
    )
    (told,) = reconcile(dms.application, catalog=dms.catalog, stores=dms.stores, everything=True)
    assert (told.back, told.deleted, told.named) == (0, 0, (stored.key,))


def test_what_was_archived_anew_before_it_came_back_is_another_version(dms: ApplicationUnderTest) -> None:
    client = dms.s3.client()
    client.put_bucket_versioning(Bucket=dms.bucket, VersioningConfiguration={"Status": "Enabled"})
    dms.back_up()
    key = next(one.key for one in dms.store.archives() if one.description and one.description.filename == "doc3.pdf")
    marker = client.delete_object(Bucket=dms.bucket, Key=key)["VersionId"]
    lose_the_catalog(dms)
    rebuild(dms)
    dms.back_up()
    client.delete_object(Bucket=dms.bucket, Key=key, VersionId=marker)
    (told,) = reconcile(dms.application, catalog=dms.catalog, stores=dms.stores, everything=True)
    assert (told.back, told.deleted, told.named) == (1, 0, ())
    rows = in_catalog(dms, "SELECT state, superseded FROM glacier_archives WHERE filename = 'doc3.pdf' ORDER BY id")
    assert rows == [("archived", True), ("archived", False)]


def test_what_an_inventory_did_not_show_and_the_next_one_shows_is_archived_again(on_vault: OnAVault) -> None:
    """AWS takes a vault's inventory about once a day: what it lacks is lost for a catalog that is rebuilt from it."""
    backup_id = on_vault.back_up()
    rows = in_catalog(on_vault, "SELECT filename, key FROM glacier_archives WHERE kind <> 'manifest'")
    late = dict(rows)["doc2.pdf"]
    lose_the_catalog(on_vault)
    on_vault.vault.take_inventory(VAULT)
    appears_late(on_vault, late)
    for _ in ("the inventory", "the manifest"):
        with suppress(StoreUnavailable):
            rebuild(on_vault)
        on_vault.vault.complete_jobs()
    assert rebuild(on_vault).lost == (f"doc2.pdf (backup {backup_id})",)
    on_vault.pass_time(2 * DAY)
    on_vault.take_inventory()
    (told,) = on_vault.reconciled(everything=True)
    assert (told.back, told.deleted, told.strays, told.missing) == (1, 0, 0, ())
    assert on_vault.catalog.counts.wrong() == []
    (on_vault.files / "doc2.pdf").unlink()
    planned = on_vault.plan(backup_id)
    assert planned["restore_id"]


def test_nothing_is_compared_while_a_backup_runs(dms: ApplicationUnderTest) -> None:
    backup.open_backup(dms.application, dms.a_run(), catalog=dms.catalog, store=dms.store)
    with pytest.raises(LeaseHeld):
        reconcile(dms.application, catalog=dms.catalog, stores=dms.stores, everything=True)


def test_a_long_comparison_keeps_its_lease_alive(dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from outside, before its transaction ends."""
    monkeypatch.setattr("glacier_provider.pipelines.shared.lease.SECONDS_BETWEEN_HEARTBEATS", -1.0)
    dms.back_up()
    archives, seen = dms.store.archives, []

    def slow(*args: Any, **options: Any) -> Iterator[Any]:
        for stored in archives(*args, **options):
            in_catalog(dms, "UPDATE applications SET lease_until = now() + interval '1 second'")
            yield stored
            seen.append(
                in_catalog(dms, "SELECT lease_holder, lease_until > now() + interval '50 min' FROM applications")
            )

    monkeypatch.setattr(dms.store, "archives", slow)
    reconcile(dms.application, catalog=dms.catalog, stores=dms.stores, everything=True)
    assert seen == [[("reconciliation", True)]] * 5
    assert in_catalog(dms, "SELECT lease_holder FROM applications") == [(None,)]


def test_a_comparison_that_lost_its_lease_changes_nothing(
    dms: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glacier_provider.pipelines.shared.lease.SECONDS_BETWEEN_HEARTBEATS", -1.0)
    dms.back_up()
    archives = dms.store.archives

    def stolen(*args: Any, **options: Any) -> Iterator[Any]:
        in_catalog(dms, "UPDATE applications SET lease_holder = 'backup 9'")
        yield from archives(*args, **options)

    monkeypatch.setattr(dms.store, "archives", stolen)
    with pytest.raises(LeaseHeld, match="backup 9"):
        reconcile(dms.application, catalog=dms.catalog, stores=dms.stores, everything=True)
    assert in_catalog(dms, "SELECT lease_holder FROM applications") == [("backup 9",)]
