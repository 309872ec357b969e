"""An application whose store is named otherwise, or is another one, than before: what went there counts as ever."""

from __future__ import annotations

import pytest

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.core.findings import known_of_backup
from glacier_provider.pipelines import backup
from glacier_provider.pipelines.backup import upload
from glacier_provider.pipelines.reconcile import reconcile
from tests.integration.test_deletion import delete
from tests.integration.test_lost import age, empty, in_catalog, remove, states
from tests.support.application import ApplicationUnderTest


@pytest.fixture
def app(dms: ApplicationUnderTest) -> ApplicationUnderTest:
    dms.configure(settle_seconds=0)
    return dms


def lost_found(app: ApplicationUnderTest, backup_id: int) -> list[str]:
    return app.catalog.backups.get(backup_id)["report"].get("lost_found") or []


def another_bucket(app: ApplicationUnderTest) -> str:
    return f"s3://{app.s3.create_bucket(app.bucket + '-new')}/pre?storage_class=GLACIER"


def stores_of(app: ApplicationUnderTest) -> dict[str, str]:
    """Where the catalog says that each file lies."""
    return dict(
        in_catalog(app, "SELECT filename, store_uri FROM glacier_archives WHERE kind = 'file' AND state = 'archived'")
    )


@pytest.mark.parametrize("spelled", ["s3://{}/pre", "s3://{}/pre/?storage_class=GLACIER"])
def test_a_store_is_watched_however_it_is_spelled(app: ApplicationUnderTest, spelled: str) -> None:
    app.configure(store=spelled.format(app.bucket))
    first = app.back_up()
    assert stores_of(app) == dict.fromkeys(["doc1.pdf", "doc2.pdf", "doc3.pdf"], app.application.store)
    age(app)
    remove(app, "doc1.pdf")
    (told,) = reconcile(app.application, catalog=app.catalog, stores=app.stores, everything=True)
    assert (told.lost, told.missing, told.strays) == (1, ("doc1.pdf",), 0)
    remove(app, "doc2.pdf")
    assert lost_found(app, app.back_up()) == ["doc2.pdf"]
    for path in app.files.iterdir():
        path.unlink()
    app.restore(first)
    assert set(app.contents()) == {"doc1.pdf", "doc2.pdf", "doc3.pdf"}


def test_what_lies_in_another_class_of_the_same_place_is_watched(app: ApplicationUnderTest) -> None:
    app.back_up()
    age(app)
    app.configure(store=app.application.store.replace("GLACIER", "DEEP_ARCHIVE"))
    remove(app, "doc1.pdf")
    assert lost_found(app, app.back_up()) == ["doc1.pdf"]
    assert states(app, "doc1.pdf") == ["lost", "archived"]
    told = reconcile(app.application, catalog=app.catalog, stores=app.stores, everything=True)
    assert [(one.strays, one.lost) for one in told] == [(0, 0), (0, 0)]


def test_a_place_that_was_emptied_while_its_class_was_changed_is_known_to_be_another_one(
    app: ApplicationUnderTest,
) -> None:
    app.back_up()
    age(app)
    empty(app)
    app.configure(store=app.application.store.replace("GLACIER", "DEEP_ARCHIVE"))
    second = app.back_up()
    assert app.catalog.backups.get(second)["report"]["store_changed"] == app.application.store
    assert {"doc1.pdf", "doc2.pdf", "doc3.pdf"} <= set(lost_found(app, second))


def test_what_an_earlier_store_loses_is_archived_anew_in_the_new_one(app: ApplicationUnderTest) -> None:
    app.back_up()
    age(app)
    old, new = app.application.store, another_bucket(app)
    remove(app, "doc1.pdf")
    app.configure(store=new)
    assert lost_found(app, app.back_up()) == ["doc1.pdf"]
    assert stores_of(app) == {"doc1.pdf": new, "doc2.pdf": old, "doc3.pdf": old}


def test_an_earlier_store_that_is_not_there_is_said_and_a_person_can_say_that_it_is_gone(
    app: ApplicationUnderTest,
) -> None:
    first = app.back_up()
    age(app)
    old = app.application.store
    empty(app)
    app.s3.client().delete_bucket(Bucket=app.bucket)
    app.configure(store=another_bucket(app))
    second = app.back_up()
    report = app.catalog.backups.get(second)["report"]
    assert (report["missing_stores"], lost_found(app, second)) == ([old], [])
    assert f"cannot be found any more: {old}." in "".join(known_of_backup(report))
    told = reconcile(app.application, catalog=app.catalog, stores=app.stores, everything=True)
    assert [(one.store_uri == old, one.lost) for one in told] == [(False, 0), (True, 5)]
    assert app.catalog.backups.get(first)["state"] == "failed", "its dump is nowhere"
    third = app.back_up()
    assert app.catalog.backups.get(third)["report"].get("missing_stores") is None
    for path in app.files.iterdir():
        path.unlink()
    app.restore(third)
    assert set(app.contents()) == {"doc1.pdf", "doc2.pdf", "doc3.pdf"}


def test_a_backup_in_a_store_that_is_gone_can_be_deleted(app: ApplicationUnderTest) -> None:
    first = app.back_up()
    empty(app)
    app.s3.client().delete_bucket(Bucket=app.bucket)
    app.configure(store=another_bucket(app))
    app.back_up()
    delete(app, first)
    assert app.catalog.backups.get(first)["state"] == "deleted"


@pytest.mark.parametrize("by_processes", [False, True])
@pytest.mark.parametrize("scanned_again", [False, True])
def test_a_file_lies_where_it_was_sent_to_whatever_was_planned(
    app: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch, scanned_again: bool, by_processes: bool
) -> None:
    if by_processes:
        monkeypatch.setattr(upload, "POOL_FROM", 1)
    app.write("empty.pdf", b"")
    run, old = app.a_run(), app.application.store
    backup_id = backup.open_backup(app.application, run, catalog=app.catalog, store=app.store)
    backup.dump_database(app.application, backup_id, catalog=app.catalog, server=app.server, store=app.store)
    ranges = backup.scan_files(app.application, backup_id, catalog=app.catalog)
    new = another_bucket(app)
    app.configure(store=new)
    if scanned_again:
        app.catalog.backups.fail(backup_id, "The store is full.")
        backup_id = app.back_up()
    else:
        for share in map(ArchiveRange.from_dict, ranges):
            backup.upload_files(app.application, backup_id, share, catalog=app.catalog, store=app.store)
        backup.upload_database(app.application, backup_id, catalog=app.catalog, store=app.store)
        backup.close_backup(app.application, backup_id, catalog=app.catalog, store=app.store)
    assert set(stores_of(app).values()) == {new}, f"nothing was sent to {old}"
    for path in app.files.iterdir():
        path.unlink()
    app.restore(backup_id)
    assert set(app.contents()) == {"doc1.pdf", "doc2.pdf", "doc3.pdf", "empty.pdf"}
    assert app.catalog.counts.wrong() == []
