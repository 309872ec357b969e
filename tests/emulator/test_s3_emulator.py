"""The emulated S3 against boto3: what AWS does and moto alone does not."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError, ResponseStreamingError

from tests.emulator.clock import Clock
from tests.emulator.faults import FaultKind, FaultPlan
from tests.emulator.s3 import S3Emulator

MIB = 1024 * 1024
TIERS = {"Expedited": 60.0, "Standard": 4 * 3600.0, "Bulk": 12 * 3600.0}
_numbers = iter(range(1, 1000))


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Emulator]:
    with S3Emulator(retrieval_seconds=TIERS, clock=Clock(speed=0)) as emulator:
        yield emulator
        emulator.plan.clear()


@pytest.fixture
def client(s3: S3Emulator) -> Any:
    config = Config(
        retries={"total_max_attempts": 1},
        read_timeout=2,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return s3.client(config=config)


@pytest.fixture
def bucket(s3: S3Emulator) -> str:
    s3.plan.clear()
    return s3.create_bucket(f"s3-emulator-{next(_numbers)}")


def refused(call: Any, **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def sha256_text(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def archived(
    client: Any, bucket: str, key: str = "a", storage_class: str = "GLACIER", body: bytes = b"x"
) -> dict[str, str]:
    client.put_object(Bucket=bucket, Key=key, Body=body, StorageClass=storage_class)
    return {"Bucket": bucket, "Key": key}


def restore(client: Any, place: dict[str, str], *, tier: str = "Standard", days: Any = 2) -> int:
    request: dict[str, Any] = {"GlacierJobParameters": {"Tier": tier}}
    if days is not None:
        request["Days"] = days
    reply = client.restore_object(**place, RestoreRequest=request)
    return int(reply["ResponseMetadata"]["HTTPStatusCode"])


def test_a_restore_takes_its_time_by_tier(s3: S3Emulator, client: Any, bucket: str) -> None:
    for tier, seconds in TIERS.items():
        place = archived(client, bucket, tier)
        assert refused(client.get_object, **place) == (403, "InvalidObjectState")
        assert restore(client, place, tier=tier) == 202
        s3.clock.advance(seconds - 1)
        assert client.head_object(**place)["Restore"] == 'ongoing-request="true"'
        assert refused(client.get_object, **place) == (403, "InvalidObjectState")
        s3.clock.advance(1)
        assert client.head_object(**place)["Restore"].startswith('ongoing-request="false", expiry-date="')
        assert client.get_object(**place)["Body"].read() == b"x"
        assert client.head_object(**place)["StorageClass"] == "GLACIER"


def test_the_refusal_names_the_storage_class(client: Any, bucket: str) -> None:
    place = archived(client, bucket, storage_class="DEEP_ARCHIVE")
    with pytest.raises(ClientError) as caught:
        client.get_object(**place)
    assert caught.value.response["Error"]["StorageClass"] == "DEEP_ARCHIVE"


def test_a_restored_copy_ends_at_midnight_and_can_be_prolonged(s3: S3Emulator, client: Any, bucket: str) -> None:
    place = archived(client, bucket)
    s3.clock.set(datetime(2027, 3, 1, 10, tzinfo=UTC))
    restore(client, place, days=1)
    s3.clock.advance(timedelta(hours=5))
    assert 'expiry-date="Wed, 03 Mar 2027 00:00:00 GMT"' in client.head_object(**place)["Restore"]
    assert restore(client, place, days=10) == 200
    assert 'expiry-date="Fri, 12 Mar 2027 00:00:00 GMT"' in client.head_object(**place)["Restore"]
    s3.clock.set(datetime(2027, 3, 12, tzinfo=UTC))
    assert "Restore" not in client.head_object(**place)
    assert refused(client.get_object, **place) == (403, "InvalidObjectState")
    assert restore(client, place) == 202


def test_a_second_request_conflicts_unless_it_is_quicker(s3: S3Emulator, client: Any, bucket: str) -> None:
    place = archived(client, bucket)
    restore(client, place, tier="Bulk")
    wish = {"Days": 2, "GlacierJobParameters": {"Tier": "Bulk"}}
    assert refused(client.restore_object, **place, RestoreRequest=wish) == (409, "RestoreAlreadyInProgress")
    assert restore(client, place, tier="Expedited") == 202
    s3.clock.advance(TIERS["Expedited"])
    assert client.get_object(**place)["Body"].read() == b"x"


@pytest.mark.parametrize(
    ("storage_class", "tier", "days", "expected"),
    [
        ("GLACIER", "Standard", 0, (400, "MalformedXML")),
        ("GLACIER", "Standard", None, (400, "MalformedXML")),
        ("DEEP_ARCHIVE", "Expedited", 1, (400, "InvalidArgument")),
        ("STANDARD", "Standard", 1, (403, "InvalidObjectState")),
        ("GLACIER_IR", "Standard", 1, (403, "InvalidObjectState")),
    ],
)
def test_what_cannot_be_restored_is_refused(
    client: Any, bucket: str, storage_class: str, tier: str, days: int | None, expected: tuple[int, str]
) -> None:
    place = archived(client, bucket, storage_class=storage_class)
    wish: dict[str, Any] = {"GlacierJobParameters": {"Tier": tier}} | ({} if days is None else {"Days": days})
    assert refused(client.restore_object, **place, RestoreRequest=wish) == expected


def test_restores_of_nothing_are_refused(client: Any, bucket: str) -> None:
    wish = {"Days": 1}
    assert refused(client.restore_object, Bucket=bucket, Key="none", RestoreRequest=wish) == (404, "NoSuchKey")
    assert refused(client.restore_object, Bucket="no-bucket", Key="n", RestoreRequest=wish) == (404, "NoSuchBucket")


def test_a_replaced_object_is_cold_again(s3: S3Emulator, client: Any, bucket: str) -> None:
    place = archived(client, bucket)
    restore(client, place)
    s3.clock.advance(TIERS["Standard"])
    archived(client, bucket, body=b"y")
    assert refused(client.get_object, **place) == (403, "InvalidObjectState")


def test_listings_tell_the_restore_status(s3: S3Emulator, client: Any, bucket: str) -> None:
    for key, storage_class in {
        "cold": "GLACIER",
        "pending": "GLACIER",
        "ready": "DEEP_ARCHIVE",
        "warm": "STANDARD",
    }.items():
        archived(client, bucket, key, storage_class)
    restore(client, {"Bucket": bucket, "Key": "ready"})
    s3.clock.advance(TIERS["Standard"])
    restore(client, {"Bucket": bucket, "Key": "pending"})
    page = client.list_objects_v2(Bucket=bucket, OptionalObjectAttributes=["RestoreStatus"])
    found = {entry["Key"]: entry.get("RestoreStatus") for entry in page["Contents"]}
    assert found["ready"].pop("RestoreExpiryDate") > s3.clock.now()
    cold, ongoing = {"IsRestoreInProgress": False}, {"IsRestoreInProgress": True}
    assert found == {"cold": cold, "pending": ongoing, "ready": cold, "warm": None}
    assert "RestoreStatus" not in client.list_objects_v2(Bucket=bucket)["Contents"][0]


def test_listings_come_in_pages_in_the_order_of_bytes(client: Any, bucket: str) -> None:
    keys = ["a", "a b", "a/ü", "a/😀", "b+c", "b&d", "z/1", "z/2"]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 3})
    listed = [[entry["Key"] for entry in page["Contents"]] for page in pages]
    assert [len(page) for page in listed] == [3, 3, 2]
    assert [key for page in listed for key in page] == sorted(keys, key=str.encode)
    after = client.list_objects_v2(Bucket=bucket, Prefix="z/", StartAfter="z/1")
    assert [entry["Key"] for entry in after["Contents"]] == ["z/2"]
    client.delete_object(Bucket=bucket, Key="z/2")
    assert client.list_objects_v2(Bucket=bucket, Prefix="z/")["KeyCount"] == 1


def test_completed_restores_are_announced_to_a_queue(s3: S3Emulator, client: Any, bucket: str) -> None:
    sqs = s3.client("sqs")
    queue = sqs.create_queue(QueueName=f"restores-{bucket}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    wanted = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectRestore:Completed"]}]}
    client.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=wanted)
    assert json.loads(_messages(sqs, queue, 1)[0])["Event"] == "s3:TestEvent"
    s3.plan.inject("Notification", FaultKind.LOSE_NOTIFICATION, when={"key": "lost"})
    s3.plan.inject("Notification", FaultKind.DUPLICATE_NOTIFICATION, when={"key": "two words"})
    for key in ("lost", "one", "two words"):
        restore(client, archived(client, bucket, key))
    s3.clock.advance(TIERS["Standard"])
    records = [json.loads(body)["Records"][0] for body in _messages(sqs, queue, 3)]
    assert sorted(record["s3"]["object"]["key"] for record in records) == ["one", "two+words", "two+words"]
    assert {record["eventName"] for record in records} == {"ObjectRestore:Completed"}
    data = records[0]["glacierEventData"]["restoreEventData"]
    assert data["lifecycleRestoreStorageClass"] == "GLACIER"


def _messages(sqs: Any, queue: str, count: int) -> list[str]:
    bodies: list[str] = []
    deadline = time.monotonic() + 20
    while len(bodies) < count:
        assert time.monotonic() < deadline, f"{len(bodies)} of {count} messages came"
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            bodies.append(message["Body"])
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return bodies


def test_a_restore_that_runs_while_the_server_is_down_is_announced_later() -> None:
    emulator = S3Emulator(retrieval_seconds=60, clock=Clock(speed=0))
    with emulator:
        client, bucket = emulator.client(), emulator.create_bucket("announced-later")
        emulator.client("sqs").create_queue(QueueName="announced-later")
        wanted = {"QueueArn": "arn:aws:sqs:us-east-1:123456789012:announced-later", "Events": ["s3:ObjectRestore:*"]}
        client.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [wanted]}
        )
        restore(client, archived(client, bucket))
    emulator.clock.advance(60)
    with emulator:
        queue = f"{emulator.url}/123456789012/announced-later"
        events = [json.loads(body) for body in _messages(emulator.client("sqs"), queue, 3)]
    names = {event["Records"][0]["eventName"] for event in events if "Records" in event}
    assert names == {"ObjectRestore:Post", "ObjectRestore:Completed"}


def test_keys_and_metadata_have_their_limits(client: Any, bucket: str) -> None:
    put = {"Bucket": bucket, "Body": b""}
    assert refused(client.put_object, **put, Key="k" * 1025) == (400, "KeyTooLongError")
    assert refused(client.put_object, **put, Key="k", Metadata={"a": "b" * 2048}) == (400, "MetadataTooLarge")
    client.put_object(**put, Key="k" * 1024, Metadata={"a": "b" * 2047})


def test_a_failing_restore_ends_without_a_copy_and_an_expiring_one_at_once(
    s3: S3Emulator, client: Any, bucket: str
) -> None:
    s3.plan.inject("RestoreObject", FaultKind.FAIL_JOB, when={"key": "fails"}, count=1)
    s3.plan.inject("RestoreObject", FaultKind.EXPIRE_JOB, when={"key": "expires"}, count=1)
    for key in ("fails", "expires"):
        place = archived(client, bucket, key)
        assert restore(client, place) == 202
        assert "true" in client.head_object(**place)["Restore"]
        s3.clock.advance(TIERS["Standard"])
        assert "Restore" not in client.head_object(**place)
        assert refused(client.get_object, **place) == (403, "InvalidObjectState")


def test_wrong_checksums_are_refused_and_nothing_is_stored(client: Any, bucket: str) -> None:
    other = sha256_text(b"other")
    put = {"Bucket": bucket, "Key": "a", "Body": b"content"}
    assert refused(client.put_object, **put, ChecksumSHA256=other) == (400, "BadDigest")
    assert refused(client.put_object, **put, ChecksumSHA256="????") == (400, "InvalidRequest")
    md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert refused(client.put_object, **put, ContentMD5=md5) == (400, "BadDigest")
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_checksum_that_was_sent_can_be_asked_for(client: Any, bucket: str) -> None:
    checksum = sha256_text(b"content")
    reply = client.put_object(Bucket=bucket, Key="a", Body=b"content", StorageClass="GLACIER", ChecksumSHA256=checksum)
    assert (reply["ChecksumSHA256"], reply["ChecksumType"]) == (checksum, "FULL_OBJECT")
    assert client.head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")["ChecksumSHA256"] == checksum
    assert "ChecksumSHA256" not in client.head_object(Bucket=bucket, Key="a")
    attributes = client.get_object_attributes(
        Bucket=bucket, Key="a", ObjectAttributes=["Checksum", "ObjectSize", "StorageClass"]
    )
    assert attributes["Checksum"] == {"ChecksumSHA256": checksum, "ChecksumType": "FULL_OBJECT"}
    assert (attributes["ObjectSize"], attributes["StorageClass"]) == (7, "GLACIER")


@pytest.fixture
def upload(client: Any, bucket: str) -> dict[str, str]:
    place = {"Bucket": bucket, "Key": "large"}
    created = client.create_multipart_upload(**place, ChecksumAlgorithm="SHA256", StorageClass="GLACIER")
    return {**place, "UploadId": created["UploadId"]}


PARTS = [b"a" * 5 * MIB, b"b" * 5 * MIB, b"c"]


def sent_parts(client: Any, upload: dict[str, str]) -> list[dict[str, Any]]:
    named = []
    for number, data in enumerate(PARTS, start=1):
        checksum = sha256_text(data)
        part = client.upload_part(**upload, PartNumber=number, Body=data, ChecksumSHA256=checksum)
        named.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumSHA256": part["ChecksumSHA256"]})
    return named


def test_parts_are_listed_with_their_checksums(client: Any, upload: dict[str, str]) -> None:
    named = sent_parts(client, upload)
    pages = client.get_paginator("list_parts").paginate(**upload, PaginationConfig={"PageSize": 2})
    listed = [part for page in pages for part in page["Parts"]]
    assert [{key: part[key] for key in named[0]} for part in listed] == named
    assert [part["Size"] for part in listed] == [len(data) for data in PARTS]
    [open_upload] = client.list_multipart_uploads(Bucket=upload["Bucket"])["Uploads"]
    assert (open_upload["UploadId"], open_upload["StorageClass"]) == (upload["UploadId"], "GLACIER")
    client.abort_multipart_upload(**upload)
    assert refused(client.list_parts, **upload) == (404, "NoSuchUpload")


def test_a_completed_upload_has_the_checksum_of_its_parts(client: Any, upload: dict[str, str]) -> None:
    named = sent_parts(client, upload)
    digests = b"".join(hashlib.sha256(data).digest() for data in PARTS)
    expected = f"{sha256_text(digests)}-3"
    size = sum(len(data) for data in PARTS)
    done = client.complete_multipart_upload(**upload, MultipartUpload={"Parts": named}, MpuObjectSize=size)
    assert (done["ChecksumSHA256"], done["ChecksumType"]) == (expected, "COMPOSITE")
    place = {"Bucket": upload["Bucket"], "Key": upload["Key"]}
    found = client.head_object(**place, ChecksumMode="ENABLED")
    assert (found["ChecksumSHA256"], found["StorageClass"], found["ContentLength"]) == (expected, "GLACIER", size)
    attributes = client.get_object_attributes(**place, ObjectAttributes=["ObjectParts"])["ObjectParts"]
    assert attributes["TotalPartsCount"] == 3
    assert [part["ChecksumSHA256"] for part in attributes["Parts"]] == [part["ChecksumSHA256"] for part in named]


def test_a_faulty_completion_is_refused_and_the_upload_stays(client: Any, upload: dict[str, str]) -> None:
    named = sent_parts(client, upload)

    def complete(parts: list[dict[str, Any]], **more: Any) -> tuple[int, str]:
        return refused(client.complete_multipart_upload, **upload, MultipartUpload={"Parts": parts}, **more)

    without_checksum = [{name: part[name] for name in ("PartNumber", "ETag")} for part in named]
    assert complete(without_checksum) == (400, "InvalidRequest")
    assert complete(named[::-1]) == (400, "InvalidPartOrder")
    assert complete(named, MpuObjectSize=5) == (400, "InvalidRequest")
    assert complete([{**named[0], "ChecksumSHA256": sha256_text(b"x")}, *named[1:]]) == (400, "InvalidPart")
    assert complete([*named, {**named[0], "PartNumber": 9}]) == (400, "InvalidPart")
    assert complete([named[0], named[2], {**named[1], "PartNumber": 4}]) == (400, "InvalidPart")
    client.put_object(Bucket=upload["Bucket"], Key=upload["Key"], Body=b"taken")
    assert complete(named, IfNoneMatch="*") == (412, "PreconditionFailed")
    assert len(client.list_parts(**upload)["Parts"]) == 3


def test_parts_need_a_right_checksum_and_a_living_upload(client: Any, upload: dict[str, str]) -> None:
    part = {**upload, "PartNumber": 1, "Body": b"x"}
    assert refused(client.upload_part, **part) == (400, "InvalidRequest")
    assert refused(client.upload_part, **part, ChecksumSHA256=sha256_text(b"y")) == (400, "BadDigest")
    right = {**part, "ChecksumSHA256": sha256_text(b"x")}
    assert refused(client.upload_part, **{**right, "PartNumber": 10_001}) == (400, "InvalidArgument")
    client.abort_multipart_upload(**upload)
    assert refused(client.upload_part, **right) == (404, "NoSuchUpload")
    named = {"Parts": [{"PartNumber": 1, "ETag": "x"}]}
    assert refused(client.complete_multipart_upload, **upload, MultipartUpload=named) == (404, "NoSuchUpload")


def test_a_checksum_over_the_whole_cannot_be_sha256(client: Any, bucket: str) -> None:
    wish = {"Bucket": bucket, "Key": "a", "ChecksumAlgorithm": "SHA256", "ChecksumType": "FULL_OBJECT"}
    assert refused(client.create_multipart_upload, **wish) == (400, "InvalidRequest")


def test_one_of_many_conditional_writers_wins(s3: S3Emulator, client: Any, bucket: str) -> None:
    def put(number: int) -> int:
        try:
            client.put_object(Bucket=bucket, Key="a", Body=str(number).encode(), IfNoneMatch="*")
        except ClientError as exc:
            return int(exc.response["ResponseMetadata"]["HTTPStatusCode"])
        return 200

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(put, range(24)))
    assert statuses == [200] + [412] * 23
    assert s3.count("PutObject", bucket=bucket, key="a", status=200) == 1


def test_a_denied_bucket_answers_403_to_all_or_some(s3: S3Emulator, client: Any, bucket: str) -> None:
    place = archived(client, bucket)
    s3.deny(bucket, {"RestoreObject"})
    assert refused(client.restore_object, **place, RestoreRequest={"Days": 1}) == (403, "AccessDenied")
    client.head_object(**place)
    s3.deny(bucket)
    assert refused(client.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
    assert refused(client.head_bucket, Bucket=bucket) == (403, "403")
    s3.allow(bucket)
    client.head_bucket(Bucket=bucket)


def test_faults_before_after_and_within_an_answer(s3: S3Emulator, client: Any, bucket: str) -> None:
    put = {"Bucket": bucket, "Key": "a", "Body": b"0123456789" * 100_000}
    s3.plan.inject("PutObject", FaultKind.RESET_BEFORE, count=1)
    with pytest.raises(ConnectionClosedError):
        client.put_object(**put)
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    s3.plan.inject("PutObject", FaultKind.RESET_AFTER, count=1)
    with pytest.raises(ConnectionClosedError):
        client.put_object(**put)
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    s3.plan.inject("GetObject", FaultKind.TRUNCATE_BODY, count=1, at=300_000)
    with pytest.raises(ResponseStreamingError):
        client.get_object(Bucket=bucket, Key="a")["Body"].read()
    s3.plan.inject("GetObject", FaultKind.CORRUPT_BODY, count=1)
    assert client.get_object(Bucket=bucket, Key="a")["Body"].read() != put["Body"]
    s3.plan.inject("HeadObject", FaultKind.HANG, count=1, seconds=3)
    with pytest.raises(ReadTimeoutError):
        client.head_object(Bucket=bucket, Key="a")
    s3.plan.inject("PutObject", FaultKind.THROTTLING, count=1)
    assert refused(client.put_object, **put) == (503, "SlowDown")
    assert s3.plan.counts()["reset_after"] >= 1
    assert client.get_object(Bucket=bucket, Key="a")["Body"].read() == put["Body"]


def test_ranges_are_cut_as_s3_cuts_them(client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="a", Body=b"0123456789")
    reply = client.get_object(Bucket=bucket, Key="a", Range="bytes=3-5")
    assert (reply["Body"].read(), reply["ContentRange"]) == (b"345", "bytes 3-5/10")
    assert client.get_object(Bucket=bucket, Key="a", Range="bytes=7-99")["Body"].read() == b"789"
    assert refused(client.get_object, Bucket=bucket, Key="a", Range="bytes=10-12") == (416, "InvalidRange")


def test_stopping_and_starting_keeps_url_and_objects() -> None:
    emulator = S3Emulator()
    with emulator:
        url = emulator.url
        archived(emulator.client(), emulator.create_bucket("stop-and-start"))
    with emulator:
        assert emulator.url == url
        assert emulator.client().head_object(Bucket="stop-and-start", Key="a")["StorageClass"] == "GLACIER"


def test_it_serves_as_a_process_of_its_own_until_sigterm(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "tests.emulator.s3", "--ready-file", str(ready), "--retrieval-seconds", "100"]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL, env=dict(os.environ))
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        url = ready.read_text()
        assert _control(url, "clock", {"advance_seconds": 60})["offset_seconds"] > 59
        rule = {"operation": "PutObject", "kind": "access_denied"}
        assert len(_control(url, "faults", rule)["rules"]) == 1
        assert _control(url, "requests") == {}
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


def _control(url: str, path: str, document: Any = None) -> Any:
    data = json.dumps(document).encode() if document is not None else None
    with urllib.request.urlopen(f"{url}/_emulator/{path}", data=data, timeout=10) as reply:
        return json.load(reply)


def test_clock_and_plan_can_be_shared() -> None:
    clock, plan = Clock(speed=0), FaultPlan()
    with S3Emulator(clock=clock, plan=plan) as emulator:
        assert (emulator.clock, emulator.plan) == (clock, plan)
