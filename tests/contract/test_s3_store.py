"""What only the S3 store does."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.errors import (
    ArchiveCorrupt,
    FileChanged,
    KeyTaken,
    OtherContent,
    RetrievalRefused,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from glacier_provider.stores.contract import Retrieval
from glacier_provider.stores.s3.fast.sender import Reply
from tests.contract.kit import (
    HOUR,
    PART,
    Bytes,
    FileJournal,
    S3Kit,
    a_file,
    content,
    open_s3,
    readable,
    requested,
    some_bytes,
    stored,
)
from tests.emulator.faults import FaultKind
from tests.emulator.s3 import S3Emulator


@pytest.fixture
def journal(tmp_path: Path) -> FileJournal:
    return FileJournal(tmp_path / "journal.json")


def head(kit: S3Kit, key: str) -> dict[str, Any]:
    return kit.emulator.client().head_object(Bucket=kit.bucket, Key=key, ChecksumMode="ENABLED")


def open_uploads(kit: S3Kit) -> list[str]:
    uploads = kit.emulator.client().list_multipart_uploads(Bucket=kit.bucket).get("Uploads", [])
    return [upload["Key"] for upload in uploads]


def test_keys_tell_application_kind_and_id(s3_kit: S3Kit) -> None:
    store = s3_kit.open()
    keys = [
        store.put(b"f", a_file(12, filename="a/b/year 2024.pdf")).location.key,
        store.put(b"d", a_file(13, kind=ArchiveKind.DATABASE, filename="library.dump")).location.key,
        store.put_manifest(b"m", a_file(14, kind=ArchiveKind.MANIFEST, backup_id=3)).location.key,
    ]
    assert keys == [
        "prod/library/files/000000000/000000000012-year%202024.pdf",
        "prod/library/database/000000000/000000000013-library.dump",
        "prod/library/manifests/000000000003.json.gz",
    ]


def test_archives_go_to_their_class_and_manifests_can_be_read_at_once(s3_kit: S3Kit) -> None:
    store = s3_kit.open()
    receipts = [
        store.put(b"f", a_file(1)),
        store.put_manifest(b"m", a_file(2, kind=ArchiveKind.MANIFEST)),
        store.put_large(Bytes(some_bytes(PART + 1)), a_file(3), FileJournal(Path("/nonexistent"))),
    ]
    classes = [head(s3_kit, receipt.location.key).get("StorageClass", "STANDARD") for receipt in receipts]
    assert classes == ["GLACIER", "STANDARD", "GLACIER"]
    manifest = Retrieval(receipts[1].location, "none")
    assert content(store, manifest, 0, 1) == b"m"
    assert [report.status for report in store.retrieval_reports([manifest])] == [RetrievalStatus.READY]


def test_the_store_confirms_the_checksum_of_a_small_archive(s3_kit: S3Kit) -> None:
    receipt = s3_kit.open().put(b"content", a_file())
    assert receipt.checksum == "sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert head(s3_kit, receipt.location.key)["ChecksumSHA256"] == "7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M="


def test_a_large_archive_has_a_composite_checksum(s3_kit: S3Kit, journal: FileJournal) -> None:
    receipt = s3_kit.open().put_large(Bytes(some_bytes(2 * PART + 1)), a_file(), journal)
    assert receipt.checksum.startswith(f"sha256-parts:{PART}:")
    assert head(s3_kit, receipt.location.key)["ChecksumSHA256"].endswith("-3")


def test_bytes_that_change_on_their_way_are_not_stored(s3_kit: S3Kit) -> None:
    store = s3_kit.open()
    client = store._bucket.client  # type: ignore[attr-defined]
    client.meta.events.register("before-send.s3.PutObject", _damage)
    with pytest.raises(ArchiveCorrupt, match="Nothing was stored"):
        store.put(b"content", a_file())
    assert list(s3_kit.open().archives()) == []


def _damage(request: Any, **_: Any) -> None:
    request.body = io.BytesIO(b"CONTENT")


def test_an_object_that_is_not_ours_blocks_its_key(s3_kit: S3Kit) -> None:
    client = s3_kit.emulator.client()
    client.put_object(
        Bucket=s3_kit.bucket, Key="prod/library/files/000000000/000000000007-report-7.pdf", Body=b"content"
    )
    with pytest.raises(KeyTaken, match="report-7"):
        s3_kit.open().put(b"content", a_file())


@pytest.mark.parametrize("size", [7, 2 * PART])
def test_the_same_content_that_another_catalog_sent_is_not_adopted(
    s3_kit: S3Kit, journal: FileJournal, size: int
) -> None:
    """It may delete it, and knows nothing of this one."""
    source = Bytes(some_bytes(size))
    ours = s3_kit.open().put_large(source, a_file(), journal)
    journal.forget()
    with pytest.raises(OtherContent, match="that another catalog sent"):
        s3_kit.open().put_large(source, a_file(written_by="another"), journal)
    assert s3_kit.keys() == [ours.location.key]


def test_a_key_taken_by_other_content_ends_a_large_upload(s3_kit: S3Kit, journal: FileJournal) -> None:
    s3_kit.open().put(b"something small", a_file())
    with pytest.raises(KeyTaken):
        s3_kit.open().put_large(Bytes(some_bytes(2 * PART)), a_file(), journal)
    assert (s3_kit.done("part"), open_uploads(s3_kit)) == (0, [])


def test_a_key_taken_while_parts_were_sent_leaves_no_upload_behind(s3_kit: S3Kit, journal: FileJournal) -> None:
    s3_kit.break_next("complete", FaultKind.UNAVAILABLE)
    with pytest.raises(StoreUnavailable):
        s3_kit.open().put_large(Bytes(some_bytes(2 * PART)), a_file(), journal)
    s3_kit.open().put(b"something small", a_file())
    with pytest.raises(KeyTaken):
        s3_kit.open().put_large(Bytes(some_bytes(2 * PART)), a_file(), journal)
    assert (open_uploads(s3_kit), journal.upload_id()) == ([], None)


def test_uploads_that_nobody_remembers_are_aborted(s3_kit: S3Kit, journal: FileJournal) -> None:
    key = "prod/library/files/000000000/000000000007-report-7.pdf"
    client = s3_kit.emulator.client()
    client.create_multipart_upload(Bucket=s3_kit.bucket, Key=key)
    client.create_multipart_upload(Bucket=s3_kit.bucket, Key=key + "-of-another")
    s3_kit.break_next("begin", FaultKind.RESET_AFTER)
    s3_kit.open(attempts=2).put_large(Bytes(some_bytes(2 * PART)), a_file(), journal)
    assert open_uploads(s3_kit) == [key + "-of-another"]


def test_a_journal_that_fails_leaves_no_upload_behind(s3_kit: S3Kit, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        s3_kit.open().put_large(Bytes(some_bytes(2 * PART)), a_file(), FileJournal(tmp_path / "no" / "directory"))
    assert open_uploads(s3_kit) == []


def test_a_race_at_completion_begins_the_upload_anew(s3_kit: S3Kit, journal: FileJournal) -> None:
    conflict = {"status": 409, "code": "ConditionalRequestConflict"}
    s3_kit.break_next("complete", FaultKind.ERROR, **conflict)
    with pytest.raises(StoreUnavailable):
        s3_kit.open().put_large(Bytes(some_bytes(2 * PART)), a_file(), journal)
    assert (journal.upload_id(), open_uploads(s3_kit)) == (None, [])
    receipt = s3_kit.open().put_large(Bytes(some_bytes(2 * PART)), a_file(), journal)
    assert receipt.adopted is False


def test_a_race_at_put_is_tried_again(s3_kit: S3Kit) -> None:
    s3_kit.break_next("put", FaultKind.ERROR, status=409, code="ConditionalRequestConflict", count=2)
    assert s3_kit.open().put(b"content", a_file()).adopted is False


def test_an_error_inside_a_200_is_an_error(s3_kit: S3Kit, journal: FileJournal) -> None:
    s3_kit.break_next("complete", FaultKind.ERROR, status=200, code="InternalError")
    with pytest.raises(StoreUnavailable):
        s3_kit.open().put_large(Bytes(some_bytes(2 * PART)), a_file(), journal)
    assert s3_kit.open().put_large(Bytes(some_bytes(2 * PART)), a_file(), journal).adopted is False
    assert s3_kit.done("part") == 2


@pytest.mark.parametrize("answer", ["ok", "no-such-upload", "precondition-failed"])
def test_a_completion_that_is_resent_adopts_whatever_s3_answers(answer: str, tmp_path: Path) -> None:
    with S3Emulator(repeated_complete=answer) as emulator:
        kit = S3Kit(emulator, "GLACIER")
        kit.break_next("complete", FaultKind.RESET_AFTER)
        receipt = kit.open(attempts=2).put_large(Bytes(some_bytes(2 * PART)), a_file(), FileJournal(tmp_path / "j"))
        assert (receipt.size, kit.done("part"), len(list(kit.open().archives()))) == (2 * PART, 2, 1)


@pytest.mark.parametrize("fast", [True, False])
def test_a_source_that_became_shorter_is_said_to_be(fast: bool, s3_kit: S3Kit, journal: FileJournal) -> None:
    class Shrinking(Bytes):
        def read_at(self, start: int, size: int) -> bytes:
            if self.reads > (1 if fast else 3) * PART:  # without the fast path hashed first, then being sent
                raise FileChanged("the file became shorter.")
            return super().read_at(start, size)

    with pytest.raises(FileChanged, match="shorter"):
        s3_kit.open(parts_in_flight=1, fast=fast).put_large(Shrinking(some_bytes(3 * PART)), a_file(), journal)


def test_a_source_that_gives_less_than_it_said_is_never_completed(s3_kit: S3Kit, journal: FileJournal) -> None:
    class Lying(Bytes):
        def read_at(self, start: int, size: int) -> bytes:
            return super().read_at(start, size - 1 if start >= PART else size)

    with pytest.raises(FileChanged):
        s3_kit.open().put_large(Lying(some_bytes(2 * PART)), a_file(), journal)
    assert s3_kit.keys() == []


def test_each_part_is_read_once(s3_kit: S3Kit, journal: FileJournal) -> None:
    source = Bytes(some_bytes(3 * PART))
    s3_kit.open().put_large(source, a_file(), journal)
    assert source.reads == 3 * PART


def test_a_part_that_the_store_confirms_with_another_checksum_is_not_taken(
    s3_kit: S3Kit, journal: FileJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast_path = s3_kit.open().fast_path
    assert fast_path is not None
    monkeypatch.setattr(Reply, "header", lambda reply, name: "AAAA" if name == "x-amz-checksum-sha256" else '"tag"')
    begun = s3_kit.emulator.client().create_multipart_upload(Bucket=s3_kit.bucket, Key="x", ChecksumAlgorithm="SHA256")
    data = some_bytes(PART)
    assert fast_path.send_part("x", begun["UploadId"], 1, data, hashlib.sha256(data).digest()) is None


def test_a_part_beyond_memory_is_sent_through_a_small_window(s3_kit: S3Kit, journal: FileJournal) -> None:
    class Watched(Bytes):
        largest = 0

        def read_at(self, start: int, size: int) -> bytes:
            self.largest = max(self.largest, size)
            return super().read_at(start, size)

    source = Watched(some_bytes(5 * PART))
    receipt = s3_kit.open(part_size=8 * PART).put_large(source, a_file(), journal)
    assert source.largest == 1024 * 1024
    assert receipt.checksum.startswith(f"sha256-parts:{8 * PART}:")


def test_a_part_that_fails_ends_the_others_work(s3_kit: S3Kit, journal: FileJournal) -> None:
    s3_kit.break_next("part", FaultKind.ACCESS_DENIED, part=1)
    s3_kit.break_next("part", FaultKind.HANG, part=2, seconds=0.7)
    with pytest.raises(StoreDenied):
        s3_kit.open(parts_in_flight=2).put_large(Bytes(some_bytes(5 * PART)), a_file(), journal)
    assert s3_kit.done("part") == 1


def test_a_retrieval_of_an_object_that_is_not_cold_is_ready(s3_kit: S3Kit) -> None:
    store = s3_kit.open()
    for storage_class in ("STANDARD", "GLACIER_IR"):
        uri = f"s3://{s3_kit.bucket}/{storage_class}?storage_class={storage_class}"
        receipt = open_s3(s3_kit.emulator.url, uri).put(b"warm", a_file())
        [retrieval] = requested(store, [receipt.location], tier="Standard")
        [report] = store.retrieval_reports([retrieval])
        assert (report.status, report.expires_at) == (RetrievalStatus.READY, None)


def test_a_tier_that_the_objects_own_class_lacks_is_refused(s3_kit: S3Kit) -> None:
    uri = f"s3://{s3_kit.bucket}/prod?storage_class=DEEP_ARCHIVE"
    receipt = open_s3(s3_kit.emulator.url, uri).put(b"deep", a_file())
    with pytest.raises(RetrievalRefused, match="Expedited"):
        requested(s3_kit.open(), [receipt.location], tier="Expedited")


def test_less_than_a_day_is_refused_before_it_is_sent(s3_kit: S3Kit) -> None:
    store = s3_kit.open()
    with pytest.raises(RetrievalRefused, match="one day"):
        requested(store, [store.put(b"x", a_file()).location], days=0)
    assert s3_kit.emulator.count("RestoreObject", bucket=s3_kit.bucket) == 0


def asked(kit: S3Kit) -> tuple[int, int]:
    """Return the numbers of listings and HEADs since the counts were forgotten."""
    return kit.emulator.count("ListObjectsV2", bucket=kit.bucket), kit.emulator.count("HeadObject", bucket=kit.bucket)


def test_many_states_take_one_listing_and_few_take_heads(s3_kit: S3Kit) -> None:
    store = s3_kit.open()
    receipts = stored(store, 40)
    retrievals = requested(store, [receipt.location for receipt in receipts])
    s3_kit.emulator.forget_counts()
    assert len(list(store.retrieval_reports(retrievals))) == 40
    assert asked(s3_kit) == (1, 0)
    s3_kit.emulator.forget_counts()
    assert len(list(store.retrieval_reports(retrievals[:3]))) == 3
    assert asked(s3_kit) == (0, 3)


def test_states_that_lie_far_apart_take_a_listing_for_each_cluster(s3_kit: S3Kit) -> None:
    store = s3_kit.open()
    receipts = stored(store, 5, first=1) + stored(store, 1, first=50_000) + stored(store, 6, first=900_000)
    retrievals = [Retrieval(receipt.location, "Bulk") for receipt in receipts]
    s3_kit.emulator.forget_counts()
    reports = {report.key: report.status for report in store.retrieval_reports(retrievals[::-1])}
    assert reports == {receipt.location.key: RetrievalStatus.AVAILABLE for receipt in receipts}
    assert asked(s3_kit) == (2, 1)


def test_reports_go_on_over_pages_kinds_and_gaps(s3_kit: S3Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacier_provider.stores.s3.listing.LISTED_AT_ONCE", 7)
    store = s3_kit.open()
    receipts = stored(store, 30)
    receipts += [store.put(b"d", a_file(n, kind=ArchiveKind.DATABASE, filename="library.dump")) for n in range(31, 40)]
    wanted = [receipt.location for receipt in receipts if receipt.location.key[-5] != "5"]
    pending = requested(store, wanted[::2])
    store.delete(wanted[4])
    reports = {report.key: report for report in store.retrieval_reports([Retrieval(place, "Bulk") for place in wanted])}
    assert len(reports) == len(wanted)
    gone = reports.pop(wanted[4].key)
    assert (gone.status, gone.failure) == (RetrievalStatus.AVAILABLE, "The archive is not in the bucket.")
    expected = {retrieval.location.key for retrieval in pending} - {wanted[4].key}
    assert {key for key, report in reports.items() if report.status is RetrievalStatus.PENDING} == expected


def test_listing_and_head_agree_on_ready_copies(s3_kit: S3Kit) -> None:
    store = s3_kit.open()
    receipts = stored(store, 5)
    retrievals = readable(s3_kit, store, *receipts)
    by_list = {report.key: report for report in store.retrieval_reports(retrievals)}
    by_head = {report.key: report for one in retrievals for report in store.retrieval_reports([one])}
    assert by_list == by_head
    expiry = {report.expires_at for report in by_list.values()}
    assert all(moment and moment > s3_kit.emulator.clock.now() and moment.hour == 0 for moment in expiry)


def test_a_name_too_long_for_metadata_is_kept_by_its_hash(s3_kit: S3Kit) -> None:
    name = "/".join(["жук" * 40] * 12)
    receipt = s3_kit.open().put(b"content", a_file(filename=name))
    [archive] = s3_kit.open().archives()
    assert archive.description is not None
    assert archive.description.filename.startswith("sha256:")
    assert len(receipt.location.key) <= 1024
    assert s3_kit.open().put(b"content", a_file(filename=name)).adopted
    with pytest.raises(KeyTaken):
        s3_kit.open().put(b"content", a_file(filename=name + "!"))


def test_foreign_objects_are_listed_without_a_description(s3_kit: S3Kit) -> None:
    client = s3_kit.emulator.client()
    for key in ("prod/library/files/000000000/000000000001-foreign", "prod/readme.txt", "elsewhere/x"):
        client.put_object(Bucket=s3_kit.bucket, Key=key, Body=b"x")
    found = [(archive.key, archive.description) for archive in s3_kit.open().archives()]
    assert found == [("prod/library/files/000000000/000000000001-foreign", None), ("prod/readme.txt", None)]


def test_locked_archives_cannot_be_destroyed(s3: S3Emulator) -> None:
    client, bucket = s3.client(), "locked-archives"
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    uri = f"s3://{bucket}/prod?storage_class=GLACIER&object_lock_days=90&object_lock_mode=COMPLIANCE&sse=AES256"
    receipt = open_s3(s3.url, uri).put(b"content", a_file())
    found = client.head_object(Bucket=bucket, Key=receipt.location.key)
    assert (found["ObjectLockMode"], found["ServerSideEncryption"]) == ("COMPLIANCE", "AES256")
    with pytest.raises(Exception, match="AccessDenied"):
        client.delete_object(Bucket=bucket, Key=receipt.location.key, VersionId=found["VersionId"])


def test_a_denied_operation_names_its_permission_and_the_object(s3_kit: S3Kit) -> None:
    store = s3_kit.open()
    place = store.put(b"content", a_file()).location
    calls: dict[str, Callable[[], object]] = {
        "PutObject": lambda: store.put(b"other", a_file(8)),
        "RestoreObject": lambda: requested(store, [place]),
        "GetObject": lambda: list(store.read(place, 0, 1)),
        "DeleteObject": lambda: store.delete(place),
    }
    for operation, call in calls.items():
        s3_kit.emulator.deny(s3_kit.bucket, {operation})
        with pytest.raises(StoreDenied, match=rf"s3:{operation} on s3://{s3_kit.bucket}/prod/library"):
            call()
    s3_kit.emulator.allow(s3_kit.bucket)


def test_a_check_finds_a_bucket_that_may_only_be_read(s3_kit: S3Kit) -> None:
    s3_kit.emulator.deny(s3_kit.bucket, {"CreateMultipartUpload", "PutObject"})
    with pytest.raises(StoreDenied, match=r"s3:PutObject.*glacier-provider-check"):
        s3_kit.open().check()
    s3_kit.emulator.allow(s3_kit.bucket)


def test_a_store_that_confirms_no_checksum_is_not_trusted(s3_kit: S3Kit) -> None:
    store = s3_kit.open()
    client = store._bucket.client  # type: ignore[attr-defined]
    for operation in ("PutObject", "HeadObject"):
        client.meta.events.register(f"after-call.s3.{operation}", _without_checksum)
    with pytest.raises(StoreError, match="confirms no SHA-256"):
        store.put(b"content", a_file())


@pytest.mark.parametrize("operation", ["PutObject", "UploadPart", "CompleteMultipartUpload"])
def test_what_a_store_confirms_with_another_checksum_is_not_archived(
    careful_kit: S3Kit, journal: FileJournal, operation: str
) -> None:
    store = careful_kit.open()
    client = store._bucket.client  # type: ignore[attr-defined]
    client.meta.events.register(f"after-call.s3.{operation}", _with_another_checksum)
    source = Bytes(some_bytes(7 if operation == "PutObject" else 2 * PART))
    with pytest.raises(StoreError, match="checksum"):
        store.put_large(source, a_file(), journal)


def _with_another_checksum(parsed: dict[str, Any], **_: Any) -> None:
    _, separator, parts = parsed.get("ChecksumSHA256", "").partition("-")
    parsed["ChecksumSHA256"] = "A" * 43 + "=" + separator + parts


def _without_checksum(parsed: dict[str, Any], **_: Any) -> None:
    parsed.pop("ChecksumSHA256", None)


def test_nobody_at_the_endpoint_is_worth_a_retry() -> None:
    store = open_s3("http://127.0.0.1:9", "s3://some-bucket/prod?storage_class=GLACIER")
    with pytest.raises(StoreUnavailable) as caught:
        store.check()
    assert "s3://some-bucket" in str(caught.value)


def test_expired_copies_are_told_by_listing_too(s3_kit: S3Kit) -> None:
    store = s3_kit.open()
    retrievals = readable(s3_kit, store, *stored(store, 6))
    s3_kit.pass_time(100 * HOUR)
    assert {report.status for report in store.retrieval_reports(retrievals)} == {RetrievalStatus.AVAILABLE}


def test_descriptions_say_what_a_rebuild_needs(s3_kit: S3Kit) -> None:
    told = a_file(5, backup_id=2, filename="a b/ü.txt", encoding="zstd", sha256="ab" * 32, size=3)
    s3_kit.open().put(b"abc", told)
    [archive] = s3_kit.open().archives("library")
    assert archive.description == Description(**{**told.as_dict(), "kind": ArchiveKind.FILE})
