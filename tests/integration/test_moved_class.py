"""A lifecycle rule of the bucket moves what lies there to another storage class: told, and brought back as ever."""

from __future__ import annotations

from datetime import timedelta

import pytest

from glacier_provider.errors import ArchiveCold, RetrievalRefused, StoreUnavailable
from tests.integration.test_lost import age
from tests.integration.test_rebuild import lose_the_catalog, rebuild
from tests.support.application import ApplicationUnderTest


@pytest.fixture
def app(dms: ApplicationUnderTest) -> ApplicationUnderTest:
    dms.configure(settle_seconds=0)
    return dms


def move(app: ApplicationUnderTest, folder: str, storage_class: str) -> None:
    """What a lifecycle rule does with the objects below a folder."""
    listed = app.s3.client().list_objects_v2(Bucket=app.bucket)["Contents"]
    keys = [entry["Key"] for entry in listed if f"/{folder}/" in entry["Key"]]
    assert keys
    for key in keys:
        found = app.s3.objects.key(app.bucket, key)
        found._storage_class = storage_class
        found.last_modified -= timedelta(days=1)


def test_backups_go_on_when_the_marker_and_the_manifests_lie_in_the_cold(app: ApplicationUnderTest) -> None:
    app.back_up()
    age(app)
    move(app, "manifests", "DEEP_ARCHIVE")
    second = app.back_up()
    assert app.catalog.backups.get(second)["state"] == "complete"
    report = app.catalog.backups.get(second)["report"]
    assert (report["other_class_count"], len(report["other_class"])) == (1, 1)
    assert "store_changed" not in report
    age(app)
    app.back_up()
    assert app.store.marker("dms"), "it was left anew, and can be read again"


def test_a_catalog_is_rebuilt_of_manifests_that_lie_in_the_cold(app: ApplicationUnderTest) -> None:
    first = app.back_up()
    second = app.back_up()
    move(app, "manifests", "GLACIER")
    lose_the_catalog(app)
    app.s3.retrievals_take(3600)
    for _ in range(2):  # the second asks for nothing more
        with pytest.raises(StoreUnavailable, match=r"is bringing 2 manifests of 2"):
            rebuild(app)
    assert app.s3.count("RestoreObject", bucket=app.bucket, status=202) == 2
    app.s3.clock.advance(7200)
    rebuilt = rebuild(app)
    assert (rebuilt.complete, rebuilt.left_out) == (2, ())
    assert [app.catalog.backups.get(one)["state"] for one in (first, second)] == ["complete", "complete"]


def test_what_should_be_read_at_once_and_lies_in_the_cold_is_asked_for(app: ApplicationUnderTest) -> None:
    app.configure(store=f"s3://{app.bucket}/at-once?storage_class=GLACIER_IR")
    backup_id = app.back_up()
    (app.files / "doc1.pdf").unlink()
    move(app, "files", "DEEP_ARCHIVE")
    planned = app.plan(backup_id)
    app.ask(planned)
    with pytest.raises(ArchiveCold, match=r"1 archive of restore \d+ lay in the cold.*lifecycle rule.*request_retr"):
        app.download(planned)
    app.bring(planned)
    app.finish(planned["restore_id"])
    assert (app.files / "doc1.pdf").read_bytes() == b"content 1"


def test_a_tier_that_the_class_lacks_where_an_archive_lies_is_told_with_that_class(app: ApplicationUnderTest) -> None:
    backup_id = app.back_up()
    age(app)
    (app.files / "doc1.pdf").unlink()
    move(app, "files", "DEEP_ARCHIVE")
    with pytest.raises(RetrievalRefused, match=r"it lies in DEEP_ARCHIVE.*one of the tiers Standard, Bulk"):
        app.ask(app.plan(backup_id, tier="Expedited"))
    report = app.catalog.backups.get(app.back_up())["report"]
    assert (report["other_class_count"], sorted(report["other_class"])) == (3, ["doc1.pdf", "doc2.pdf", "doc3.pdf"])
