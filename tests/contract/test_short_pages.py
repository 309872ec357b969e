"""Listings whose pages are shorter than was asked for, or empty with more to follow: what S3 may answer at any time.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html: "the response might contain fewer keys".
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.core.store_uri import S3Uri, parse_store_uri
from glacier_provider.stores.contract import Retrieval
from glacier_provider.stores.s3 import listing
from glacier_provider.stores.s3.batch import BatchAccess, BatchOperations
from glacier_provider.stores.s3.store import S3Store, s3_client_config
from tests.emulator.s3 import S3Emulator

STORED = 7
BUCKET = "short-pages"
URI = parse_store_uri(f"s3://{BUCKET}/pre?storage_class=GLACIER")


@pytest.fixture(params=["two keys a page", "an empty page before each", "an empty page before each key"])
def emulator(request: pytest.FixtureRequest) -> Iterator[S3Emulator]:
    with S3Emulator(retrieval_seconds=3600) as emulator:
        emulator.create_bucket(BUCKET)
        emulator.objects.largest_page = 1 if "each key" in request.param else 2
        emulator.objects.empty_pages = "empty" in request.param
        yield emulator
        remove_all(emulator)


def remove_all(emulator: S3Emulator) -> list[str]:
    """Empty the bucket; return what was in it."""
    emulator.objects.empty_pages, emulator.objects.largest_page = False, 1000
    client = emulator.client()
    keys = [entry["Key"] for entry in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    for key in keys:
        client.delete_object(Bucket=BUCKET, Key=key)
    return keys


def a_store(emulator: S3Emulator, *, fast: bool = True) -> S3Store:
    assert isinstance(URI, S3Uri)
    return S3Store(URI, client=emulator.client(config=s3_client_config(URI)), fast=fast)


def fill(store: S3Store) -> list[Retrieval]:
    made = [store.put(b"x", Description("dms", ArchiveKind.FILE, n, 1, f"{n}.bin", 1)) for n in range(1, STORED + 1)]
    return [Retrieval(receipt.location, "Standard") for receipt in made]


@pytest.mark.parametrize("fast", [True, False])
def test_what_is_there_is_reported_and_not_missing(
    emulator: S3Emulator, monkeypatch: pytest.MonkeyPatch, *, fast: bool
) -> None:
    monkeypatch.setattr(listing, "WORTH_LISTING", 1)
    store = a_store(emulator, fast=fast)
    asked = fill(store)
    for one in asked[::2]:
        store.request_retrieval(one.location, tier="Standard", days=1, token="")
    store.delete(asked[-1].location)
    told = list(store.retrieval_reports(asked))
    assert [one.key for one in told] == [one.location.key for one in asked]
    assert [one.missing for one in told] == [False] * (STORED - 1) + [True]
    pending = [one.status is RetrievalStatus.PENDING for one in told[:-1]]
    assert pending == [number % 2 == 0 for number in range(STORED - 1)]


def test_all_of_it_is_listed(emulator: S3Emulator) -> None:
    store = a_store(emulator)
    keys = [one.location.key for one in fill(store)]
    assert [one.key for one in store.archives("dms")] == keys
    found, after = [], ""
    for _ in range(10 * STORED):
        part = store.listed_after("dms", after, pages=1)
        found += [one.key for one in part.archives]
        if part.until is None:
            break
        after = part.until
    assert found == keys


def test_the_highest_ids_are_found(emulator: S3Emulator) -> None:
    store = a_store(emulator)
    fill(store)
    for n in range(120):  # what is none of ours lies between
        emulator.client().put_object(Bucket=BUCKET, Key=f"pre/dms/files/000000000/000000000002-/{n}", Body=b"")
    assert store.ids_in_use("dms", archive_id=2, backup_id=1) == (STORED, 1)


def test_what_a_batch_job_left_is_cleared(emulator: S3Emulator) -> None:
    assert isinstance(URI, S3Uri)
    client = emulator.client()
    access = BatchAccess("123456789012", "arn:aws:iam::123456789012:role/batch", "jobs")
    jobs = BatchOperations(URI, client=client, control=None, access=access)
    for n in range(5):
        client.put_object(Bucket=BUCKET, Key=f"{jobs.folder('token')}job-1/{n}.csv", Body=b"")
    assert jobs.clear("token") == []
    assert remove_all(emulator) == []
