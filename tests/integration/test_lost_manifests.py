"""What tells of the backups is lost, or lies elsewhere: while the catalog lives it is written again, and found."""

from __future__ import annotations

from datetime import timedelta

import pytest

from glacier_provider.pipelines.backup import check
from tests.integration.test_lost import age
from tests.integration.test_rebuild import lose_the_catalog, rebuild
from tests.support.application import ApplicationUnderTest


@pytest.fixture
def app(dms: ApplicationUnderTest) -> ApplicationUnderTest:
    dms.configure(settle_seconds=0)
    return dms


def manifest_key(backup_id: int) -> str:
    return f"pre/dms/manifests/{backup_id:012d}.json.gz"


def some_backups(app: ApplicationUnderTest, count: int) -> list[int]:
    """Make backups of which each has a file more."""
    backups = []
    for number in range(count):
        app.write(f"more{number}.pdf", f"more {number}")
        backups.append(app.back_up())
    return backups


def test_a_lost_manifest_is_written_again_as_it_was(app: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    backups = some_backups(app, 4)
    monkeypatch.setattr(check, "MARGIN", timedelta())
    before = app.s3.client().get_object(Bucket=app.bucket, Key=manifest_key(backups[1]))["Body"].read()
    for lost in backups[:2]:
        app.s3.client().delete_object(Bucket=app.bucket, Key=manifest_key(lost))
    backups += some_backups(app, 1)
    assert app.catalog.backups.get(backups[-1])["report"]["lost_found_count"] == 2
    assert app.s3.client().get_object(Bucket=app.bucket, Key=manifest_key(backups[1]))["Body"].read() == before
    lose_the_catalog(app)
    rebuilt = rebuild(app)
    assert (rebuilt.complete, rebuilt.broken, rebuilt.left_out) == (5, (), ())


def test_backups_after_a_manifest_that_stays_lost_do_not_depend_on_it(app: ApplicationUnderTest) -> None:
    backups = some_backups(app, 4)
    app.catalog.deletions.outlived_manifests = lambda: ["0" * 64]  # type: ignore[method-assign] # it comes out otherwise
    age(app)
    app.s3.client().delete_object(Bucket=app.bucket, Key=manifest_key(backups[1]))
    backups += some_backups(app, 2)
    lose_the_catalog(app)
    rebuilt = rebuild(app)
    states = [app.catalog.backups.get(one)["state"] for one in backups]
    assert states == ["complete", "failed", "failed", "failed", "complete", "complete"]
    assert len(rebuilt.broken) == 3


def test_backups_in_a_store_before_come_back_and_those_after_do_not_need_them(app: ApplicationUnderTest) -> None:
    old, new = app.application.store, f"s3://{app.s3.create_bucket(app.bucket + '-new')}/pre?storage_class=DEEP_ARCHIVE"
    backups = some_backups(app, 1)
    app.configure(store=new, earlier_stores=(old,))
    backups += some_backups(app, 2)
    app.configure(store=old, earlier_stores=(new,))
    backups += some_backups(app, 2)
    lose_the_catalog(app)
    rebuilt = rebuild(app)
    assert (rebuilt.complete, rebuilt.broken, rebuilt.left_out) == (5, (), ())
    app.restore(backups[2])
    assert "more0.pdf" in app.contents()
    lose_the_catalog(app)
    app.configure(earlier_stores=())
    assert rebuild(app).complete == 1, "the others name archives in a store that nobody here named"


def test_a_store_before_that_is_gone_keeps_no_backup_of_the_new_one_from_coming_back(
    app: ApplicationUnderTest,
) -> None:
    new = f"s3://{app.s3.create_bucket(app.bucket + '-new')}/pre?storage_class=GLACIER"
    app.configure(store=new, earlier_stores=("s3://nobody-has-this-bucket/pre?storage_class=GLACIER",))
    some_backups(app, 2)
    lose_the_catalog(app)
    rebuilt = rebuild(app)
    assert (rebuilt.complete, rebuilt.broken) == (2, ())
    assert "There is no bucket" in rebuilt.left_out[0] or "NoSuchBucket" in rebuilt.left_out[0]
