"""Jobs of S3 Batch Operations on the objects of a store: what AWS is told, and what its answers come to."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import pytest

from glacier_provider.core.store_uri import S3Uri
from glacier_provider.errors import StoreDenied, StoreError
from glacier_provider.stores.s3 import batch
from glacier_provider.stores.s3.batch import (
    CHECKSUMS,
    BatchAccess,
    BatchOperations,
    control_client_config,
    reached_by_address,
)
from tests.emulator.clock import Clock
from tests.emulator.faults import FaultKind
from tests.emulator.s3 import S3Emulator

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/batch"
SHA256 = {CHECKSUMS: {"ChecksumAlgorithm": "SHA256", "ChecksumType": "FULL_OBJECT"}}
KEYS = ("pre/a b.pdf", "pre/100%.pdf", "pre/ä,1.pdf", "pre/a+b.pdf")
_numbers = itertools.count(1)


@dataclass
class Jobs:
    s3: S3Emulator
    bucket: str
    operations: BatchOperations

    @property
    def client(self) -> Any:
        return self.s3.client()

    def put(self, *keys: str) -> None:
        for key in keys:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=b"content")

    def create(self, token: str = "a-token", keys: tuple[str, ...] = KEYS, operation: Any = SHA256) -> str:
        etag, _ = self.operations.write_manifest(token, keys)
        return self.operations.create(token, etag, operation, "What they are for")

    def ended(self, job_id: str) -> batch.JobTold:
        self.s3.clock.advance(3600)
        told = self.operations.describe(job_id)
        assert told is not None
        return told

    def manifest(self, token: str = "a-token") -> Any:
        return self.s3.objects.key(self.bucket, f"{self.operations.folder(token)}manifest.csv")

    def lying(self) -> list[str]:
        listed = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [entry["Key"] for entry in listed if entry["Key"] not in KEYS]

    def uploads(self) -> list[str]:
        return [one["Key"] for one in self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])]


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Emulator]:
    with S3Emulator(clock=Clock(speed=0)) as emulator:
        yield emulator


@pytest.fixture
def jobs(s3: S3Emulator) -> Iterator[Jobs]:
    bucket = s3.create_bucket(f"jobs-{next(_numbers)}")
    access = BatchAccess(ACCOUNT, ROLE, "/.glacier-batch/dms/")
    made = BatchOperations(S3Uri(bucket, "pre"), client=s3.client(), control=s3.client("s3control"), access=access)
    yield Jobs(s3, bucket, made)
    s3.plan.clear()
    s3.batch.forget()


# --- manifests -----------------------------------------------------------------------------------------------------


def test_a_manifest_names_each_object_as_s3_reads_it_encrypted_by_its_own_keys(jobs: Jobs) -> None:
    etag, count = jobs.operations.write_manifest("a-token", KEYS)
    found = jobs.manifest()
    names = ("pre/a%20b.pdf", "pre/100%25.pdf", "pre/%C3%A4%2C1.pdf", "pre/a%2Bb.pdf")
    assert found.value.decode() == "".join(f"{jobs.bucket},{name}\n" for name in names)
    assert (count, etag) == (4, found.etag.strip('"'))
    head = jobs.client.head_object(Bucket=jobs.bucket, Key=found.name)
    assert head["ServerSideEncryption"] == "AES256"
    assert found.name == "pre/.glacier-batch/dms/a-token/manifest.csv"


def test_a_manifest_of_several_parts_has_all_of_them_in_their_order(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_PIECE", 5 * 2**20)
    client = jobs.operations._bucket.client
    create = Mock(wraps=client.create_multipart_upload)
    monkeypatch.setattr(client, "create_multipart_upload", create)
    keys = [f"{number:0900d}" for number in range(12_500)]  # two whole pieces, and a third one that is smaller
    etag, count = jobs.operations.write_manifest("a-token", iter(keys))
    found = jobs.manifest()
    assert found.value.decode().splitlines() == [f"{jobs.bucket},{key}" for key in keys]
    assert (count, etag, etag[-2:]) == (12_500, found.etag.strip('"'), "-3")
    assert create.call_args.kwargs["ChecksumAlgorithm"] == "SHA256"  # a bucket with Object Lock takes none without
    head = jobs.client.head_object(Bucket=jobs.bucket, Key=found.name)
    assert head["ServerSideEncryption"] == "AES256"


def test_a_manifest_that_fills_one_piece_is_sent_by_one_request(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"{jobs.bucket},{KEYS[0].replace(' ', '%20')}\n"
    monkeypatch.setattr(batch, "_PIECE", len(line))
    jobs.operations.write_manifest("a-token", KEYS[:1])
    assert jobs.manifest().value.decode() == line
    assert jobs.operations.write_manifest("of-nothing", ())[1] == 0
    assert jobs.manifest("of-nothing").value == b""


def test_a_part_that_is_refused_leaves_no_upload_that_is_billed(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_PIECE", 5 * 2**20)
    jobs.s3.plan.inject("UploadPart", FaultKind.ACCESS_DENIED, nth=2)
    with pytest.raises(StoreDenied, match="s3:PutObject"):
        jobs.operations.write_manifest("a-token", (f"{number:0900d}" for number in range(12_500)))
    assert jobs.uploads() == []
    assert jobs.lying() == []


def test_what_a_killed_process_left_of_a_manifest_goes_when_it_is_written_again_or_cleared(jobs: Jobs) -> None:
    key = f"{jobs.operations.folder('a-token')}manifest.csv"
    jobs.client.create_multipart_upload(Bucket=jobs.bucket, Key=key)
    jobs.operations.write_manifest("a-token", KEYS)
    assert jobs.uploads() == []
    jobs.client.create_multipart_upload(Bucket=jobs.bucket, Key=key)
    assert jobs.operations.clear("a-token") == []
    assert (jobs.uploads(), jobs.lying()) == ([], [])


def test_of_one_job_alone_all_is_cleared_and_what_may_not_be_is_told(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs.put(*KEYS)
    job_id = jobs.create("a-token")
    jobs.operations.write_manifest("a-token-2", KEYS)
    jobs.ended(job_id)
    others = [jobs.manifest("a-token-2").name]
    mine = [key for key in jobs.lying() if key not in others]
    assert len(mine) == 3  # the manifest, that of the report, and its rows
    monkeypatch.setattr(batch, "AT_ONCE", 1)
    with monkeypatch.context() as denied:
        denied.setattr(batch.Bucket, "delete_objects", lambda _, keys: {key: {} for key in keys})
        assert jobs.operations.clear("a-token") == mine
    assert jobs.operations.clear("a-token") == []
    assert jobs.lying() == others


# --- jobs ----------------------------------------------------------------------------------------------------------


def test_a_job_does_what_it_is_for_without_a_person_and_tells_of_each_object(jobs: Jobs) -> None:
    jobs.put(*KEYS[:3])
    job_id = jobs.create()
    under_way = jobs.operations.describe(job_id)
    assert under_way is not None
    assert (under_way.ended, under_way.ended_at, under_way.error) == (False, None, None)
    assert jobs.operations.results("a-token", job_id, most=4) is None
    told = jobs.ended(job_id)
    assert told.as_dict() == {"status": "Complete", "total": 4, "succeeded": 3, "failed": 1}
    assert told.ended
    assert told.error is None
    assert told.ended_at is not None
    assert told.ended_at.astimezone(UTC) <= datetime.fromtimestamp(jobs.s3.clock.timestamp(), UTC)
    found = {one.key: one.status for one in jobs.operations.results("a-token", job_id, most=4) or ()}
    assert found == {**dict.fromkeys(KEYS[:3], 200), KEYS[3]: 404}


def test_the_same_token_is_the_same_job_also_when_aws_takes_the_request_for_another_one(jobs: Jobs) -> None:
    first = jobs.create()
    assert jobs.create() == first
    assert jobs.create(keys=KEYS[:2]) == first  # another ETag: it is refused, and found by its description
    assert jobs.create("another-token") != first
    assert len(jobs.s3.batch.jobs()) == 2


def test_a_job_is_found_by_its_token_on_whatever_page_it_is(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {token: jobs.create(token) for token in ("token-1", "token-2", "token-3")}
    usual = jobs.operations._control.list_jobs
    page = Mock(wraps=lambda **asked: usual(**{**asked, "MaxResults": 1}))
    monkeypatch.setattr(jobs.operations._control, "list_jobs", page)
    assert {token: jobs.operations.find(token) for token in made} == made
    assert jobs.operations.find("of-nobody") is None


def test_a_job_that_aws_does_not_know_is_none_and_one_that_may_not_be_looked_at_an_error(jobs: Jobs) -> None:
    assert jobs.operations.describe("00000000-0000-0000-0000-000000000000") is None
    jobs.operations.check()
    for operation in ("ListJobs", "DescribeJob"):
        jobs.s3.plan.inject(operation, FaultKind.ACCESS_DENIED, count=1)
        told = rf"s3:{operation} on the account {ACCOUNT} for s3://{jobs.bucket}.*{ROLE}"
        with pytest.raises(StoreDenied, match=told):
            jobs.operations.check()


def test_why_a_job_ended_is_told_in_the_words_of_aws(jobs: Jobs) -> None:
    jobs.s3.batch.refused_roles.add(ROLE)
    refused = jobs.ended(jobs.create("refused"))
    jobs.s3.batch.refused_roles.clear()
    assert (refused.status, refused.ended) == ("Failed", True)
    assert refused.error == "AccessDenied: Reading the manifest is forbidden: AccessDenied"
    job_id = jobs.create("cancelled")
    jobs.operations._control.update_job_status(
        AccountId=ACCOUNT, JobId=job_id, RequestedJobStatus="Cancelled", StatusUpdateReason="enough of it"
    )
    cancelled = jobs.ended(job_id)
    assert (cancelled.status, cancelled.ended, cancelled.error) == ("Cancelled", True, "enough of it")
    assert batch._why({"Status": "Failed"}) == "no reason was given"
    assert batch._why({"Status": "Complete", "StatusUpdateReason": "x"}) is None


def test_a_description_of_any_length_is_taken_and_ends_with_the_token(jobs: Jobs) -> None:
    etag, _ = jobs.operations.write_manifest("a-token", KEYS)
    job_id = jobs.operations.create("a-token", etag, SHA256, "x" * 500)
    assert jobs.operations.find("a-token") == job_id


def test_what_is_asked_for_is_of_the_partition_of_the_role(jobs: Jobs) -> None:
    control = Mock()
    control.create_job.return_value = {"JobId": "1"}
    access = BatchAccess(ACCOUNT, f"arn:aws-cn:iam::{ACCOUNT}:role/batch", "jobs")
    there = BatchOperations(S3Uri("bucket", ""), client=Mock(), control=control, access=access)
    there.create("token", "etag", SHA256, "x")
    asked = control.create_job.call_args.kwargs
    assert asked["Report"]["Bucket"] == "arn:aws-cn:s3:::bucket"
    assert asked["Report"]["Prefix"] == "jobs/token"
    manifest = "arn:aws-cn:s3:::bucket/jobs/token/manifest.csv"
    assert asked["Manifest"]["Location"] == {"ObjectArn": manifest, "ETag": "etag"}


def test_a_store_that_tells_no_etag_of_a_manifest_is_an_error(jobs: Jobs) -> None:
    client = Mock()
    client.list_multipart_uploads.return_value = {}
    client.put_object.return_value = {}
    access = BatchAccess(ACCOUNT, ROLE, "jobs")
    there = BatchOperations(S3Uri("bucket", ""), client=client, control=Mock(), access=access)
    with pytest.raises(StoreError, match="told no ETag"):
        there.write_manifest("token", KEYS)


# --- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "url", "sent"),
    [
        ("http://127.0.0.1:9000", f"http://{ACCOUNT}.127.0.0.1:9000/x", "http://127.0.0.1:9000/x"),
        ("https://10.0.0.1", f"https://{ACCOUNT}.10.0.0.1/x", "https://10.0.0.1/x"),
        ("http://localhost:9000", f"http://{ACCOUNT}.localhost:9000/x", "http://localhost:9000/x"),
        ("http://[::1]:9000", f"http://{ACCOUNT}.[::1]:9000/x", "http://[::1]:9000/x"),
    ],
)
def test_the_account_is_left_out_of_a_host_that_is_an_address(endpoint: str, url: str, sent: str) -> None:
    client = Mock()
    client.meta.endpoint_url = endpoint
    assert reached_by_address(client) is client
    (name, plain), _ = client.meta.events.register.call_args
    request = Mock(url=url)
    plain(request, operation_name="CreateJob")
    assert (name, request.url) == ("before-sign.s3-control", sent)


@pytest.mark.parametrize(
    "endpoint",
    ["https://s3-control.eu-central-1.amazonaws.com", "https://localhost.example.com", "https://minio:9000", ""],
)
def test_a_host_with_a_name_keeps_the_account_before_it(endpoint: str) -> None:
    client = Mock()
    client.meta.endpoint_url = endpoint
    assert reached_by_address(client) is client
    client.meta.events.register.assert_not_called()


@pytest.mark.parametrize("region", [None, "eu-central-1"])
def test_a_client_of_s3_control_is_of_the_region_and_gives_up_after_some_tries(region: str | None) -> None:
    config = control_client_config(region)
    assert config.region_name == region
    assert config.retries == {"mode": "standard", "total_max_attempts": 5}
    assert (config.connect_timeout, config.read_timeout) == (10, 60)
    assert config.user_agent_extra.startswith("glacier-provider/")
