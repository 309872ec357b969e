"""What a listing tells of retrievals, by the fast path and by botocore: the same of every state."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.core.store_uri import S3Uri, parse_store_uri
from glacier_provider.stores.contract import Retrieval
from glacier_provider.stores.s3 import listing
from glacier_provider.stores.s3.fast.sender import OneByOne
from glacier_provider.stores.s3.listing import understood_page
from glacier_provider.stores.s3.store import S3Store, s3_client_config
from tests.emulator.faults import FaultKind
from tests.emulator.s3 import S3Emulator

STATES = 12


@pytest.fixture(scope="module")
def emulator() -> Iterator[S3Emulator]:
    with S3Emulator(retrieval_seconds=3600) as emulator:
        emulator.create_bucket("listed")
        yield emulator


@pytest.fixture(scope="module")
def asked(emulator: S3Emulator) -> list[Retrieval]:
    """Archives of which some are ready, some pending, some were never asked for, and one is gone."""
    store = a_store(emulator)
    made = [store.put(b"x", Description("dms", ArchiveKind.FILE, n, 1, f"{n}.bin", 1)) for n in range(1, STATES + 1)]
    for receipt in made[::3]:
        store.request_retrieval(receipt.location, tier="Standard", days=1, token="")
    emulator.clock.advance(7200)
    for receipt in made[1::3]:
        store.request_retrieval(receipt.location, tier="Standard", days=1, token="")
    store.delete(made[-1].location)
    return [Retrieval(receipt.location, "Standard") for receipt in made]


def a_store(emulator: S3Emulator, *, fast: bool = True) -> S3Store:
    place = parse_store_uri("s3://listed/a'b(1)?storage_class=GLACIER")
    assert isinstance(place, S3Uri)
    return S3Store(place, client=emulator.client(config=s3_client_config(place)), fast=fast)


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The answers of the fast path."""
    told: list[int] = []
    usual = OneByOne.send

    def send(connection: OneByOne, *arguments: Any) -> Any:
        reply = usual(connection, *arguments)
        told.append(reply.status)
        return reply

    monkeypatch.setattr(OneByOne, "send", send)
    return told


def test_both_paths_tell_the_same(
    emulator: S3Emulator, asked: list[Retrieval], statuses: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "WORTH_LISTING", 1)
    monkeypatch.setattr(listing, "LISTED_AT_ONCE", 5)
    told = list(a_store(emulator).retrieval_reports(asked))
    assert set(statuses) == {200}
    assert len(statuses) >= 2
    assert told == list(a_store(emulator, fast=False).retrieval_reports(asked))
    known = [one.status for one in told[:-1]]
    kinds = [RetrievalStatus.READY, RetrievalStatus.PENDING, RetrievalStatus.AVAILABLE]
    assert known == list(itertools.islice(itertools.cycle(kinds), STATES - 1))
    assert told[-1].missing


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("worth_listing", [1, 1000])
def test_only_what_is_not_under_way_is_told_as_ended(
    emulator: S3Emulator, asked: list[Retrieval], monkeypatch: pytest.MonkeyPatch, *, fast: bool, worth_listing: int
) -> None:
    monkeypatch.setattr(listing, "WORTH_LISTING", worth_listing)
    monkeypatch.setattr(listing, "LISTED_AT_ONCE", 5)
    store = a_store(emulator, fast=fast)
    told = store.retrieval_reports(asked)
    keys = [retrieval.location.key for retrieval in asked]
    ended = list(store.ended_retrievals(keys))
    assert ended == [report for report in told if report.status is not RetrievalStatus.PENDING]
    assert list(store.ended_retrievals([keys[1], keys[4]])) == []


def test_what_fails_is_asked_for_with_care(
    emulator: S3Emulator, asked: list[Retrieval], statuses: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "WORTH_LISTING", 1)
    emulator.plan.inject("ListObjectsV2", FaultKind.INTERNAL_ERROR, count=1)
    assert len(list(a_store(emulator).retrieval_reports(asked))) == STATES
    assert statuses[0] == 500
    emulator.plan.clear()


PAGE = (
    "<ListBucketResult><Contents><Key>a&amp;b</Key><StorageClass>GLACIER</StorageClass><RestoreStatus>"
    "<IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>2026-12-01T00:00:00.000Z</RestoreExpiryDate>"
    "</RestoreStatus></Contents><IsTruncated>true</IsTruncated></ListBucketResult>"
)


def test_a_page_is_understood_or_not_believed() -> None:
    found = understood_page(PAGE.encode())
    assert found is not None
    assert found.last == "a&b"
    assert found.pending == []
    assert found.others["a&b"].status is RetrievalStatus.READY
    for wrong in (
        PAGE[:-3],
        PAGE.replace("</Contents>", ""),
        PAGE.replace("<IsTruncated>true</IsTruncated>", ""),
        PAGE.replace("2026-12-01T00:00:00.000Z", "tomorrow"),
        PAGE.replace("00.000Z", "00"),
        PAGE.replace("Key>", "Name>"),
        "",
    ):
        assert understood_page(wrong.encode()) is None, wrong
    assert understood_page(b"\xff" + PAGE.encode()) is None


ENTRY = (
    "<Contents><Key>{key}</Key><StorageClass>{kept}</StorageClass>"
    "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus></Contents>"
)


def a_page(*entries: str) -> bytes:
    return f"<ListBucketResult>{''.join(entries)}<IsTruncated>false</IsTruncated></ListBucketResult>".encode()


def test_what_a_page_tells_of_one_key_is_not_taken_for_another() -> None:
    cold, warm = ENTRY.format(key="a", kept="DEEP_ARCHIVE"), ENTRY.format(key="b", kept="STANDARD")
    found = understood_page(a_page(cold, warm))
    assert found is not None
    assert found.pending == ["a"]
    assert found.others["b"].status is RetrievalStatus.READY
    without_key, twice = warm.replace("<Key>b</Key>", ""), cold.replace("<Key>a</Key>", "<Key>a</Key><Key>b</Key>")
    assert understood_page(a_page(without_key, twice)) is None
