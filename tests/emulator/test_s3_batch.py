"""The emulated S3 Batch Operations, tested with botocore's client of S3 Control."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.emulator.clock import Clock
from tests.emulator.s3 import S3Emulator

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/batch"


class Batch:
    def __init__(self, s3: S3Emulator) -> None:
        self.s3, self.client, self.control = s3, s3.client(), s3.client("s3control")
        self.bucket = "batch-bucket"
        self.client.create_bucket(Bucket=self.bucket)

    def put(self, key: str, body: bytes, **options: Any) -> None:
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body, **options)

    def request(self, lines: str, operation: dict[str, Any], **changes: Any) -> dict[str, Any]:
        self.put("manifest.csv", lines.encode())
        etag = self.client.head_object(Bucket=self.bucket, Key="manifest.csv")["ETag"]
        return {
            "AccountId": ACCOUNT,
            "ConfirmationRequired": False,
            "Operation": operation,
            "Report": {
                "Bucket": f"arn:aws:s3:::{self.bucket}",
                "Format": "Report_CSV_20180820",
                "Enabled": True,
                "Prefix": "reports",
                "ReportScope": "AllTasks",
            },
            "ClientRequestToken": "token-1",
            "Manifest": {
                "Spec": {"Format": "S3BatchOperations_CSV_20180820", "Fields": ["Bucket", "Key"]},
                "Location": {"ObjectArn": f"arn:aws:s3:::{self.bucket}/manifest.csv", "ETag": etag},
            },
            "Priority": 10,
            "RoleArn": ROLE,
            **changes,
        }

    def create(self, lines: str, operation: dict[str, Any], **changes: Any) -> str:
        return str(self.control.create_job(**self.request(lines, operation, **changes))["JobId"])

    def job(self, job_id: str) -> dict[str, Any]:
        described: dict[str, Any] = self.control.describe_job(AccountId=ACCOUNT, JobId=job_id)["Job"]
        return described

    def ended(self, job_id: str) -> dict[str, Any]:
        self.s3.clock.advance(3600)
        return self.job(job_id)

    def report(self, job_id: str) -> list[list[str]]:
        told = json.loads(self._read(f"reports/job-{job_id}/manifest.json"))
        return [row for one in told["Results"] for row in csv.reader(io.StringIO(self._read(one["Key"]).decode()))]

    def _read(self, key: str) -> bytes:
        body: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body


SHA256 = {"S3ComputeObjectChecksum": {"ChecksumAlgorithm": "SHA256", "ChecksumType": "FULL_OBJECT"}}
BULK = {"S3InitiateRestoreObject": {"ExpirationInDays": 2, "GlacierJobTier": "BULK"}}


@pytest.fixture
def batch() -> Iterator[Batch]:
    with S3Emulator(clock=Clock(speed=0), retrieval_seconds=10) as s3:
        made = Batch(s3)
        yield made
        for entry in made.client.list_objects_v2(Bucket=made.bucket).get("Contents", []):
            made.client.delete_object(Bucket=made.bucket, Key=entry["Key"])
        made.client.delete_bucket(Bucket=made.bucket)


def test_a_job_goes_through_its_states_in_emulated_time_and_leaves_a_report(batch: Batch) -> None:
    batch.put("a b.txt", b"content", StorageClass="GLACIER")
    job_id = batch.create(f"{batch.bucket},a%20b.txt\n{batch.bucket},gone\n", SHA256)
    assert batch.job(job_id)["Status"] == "Preparing"
    batch.s3.clock.advance(0.1)
    assert batch.job(job_id)["Status"] == "Ready"
    batch.s3.clock.advance(0.1)
    assert batch.job(job_id)["Status"] == "Active"
    job = batch.ended(job_id)
    assert job["Status"] == "Complete"
    assert job["ProgressSummary"]["NumberOfTasksSucceeded"] == job["ProgressSummary"]["NumberOfTasksFailed"] == 1
    good, bad = batch.report(job_id)
    assert good[:6] == [batch.bucket, "a%20b.txt", "", "succeeded", "200", ""]
    told = json.loads(good[6])
    assert told["checksum_hex"].lower() == hashlib.sha256(b"content").hexdigest()
    assert told["checksumType"] == "FULL_OBJECT"
    assert bad[3:6] == ["failed", "404", "NoSuchKey"]
    assert batch.s3.count("RestoreObject") == 0


def test_the_checksum_of_parts_is_that_of_the_parts_that_were_sent(batch: Batch) -> None:
    upload = batch.client.create_multipart_upload(Bucket=batch.bucket, Key="large", ChecksumAlgorithm="SHA256")
    where = {"Bucket": batch.bucket, "Key": "large", "UploadId": upload["UploadId"]}
    bodies = (b"x" * 5 * 2**20, b"tail")
    parts = []
    for number, body in enumerate(bodies, start=1):
        sent = batch.client.upload_part(**where, PartNumber=number, Body=body, ChecksumAlgorithm="SHA256")
        parts.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": sent["ChecksumSHA256"]})
    batch.client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    composite = {"S3ComputeObjectChecksum": {"ChecksumAlgorithm": "SHA256", "ChecksumType": "COMPOSITE"}}
    job_id = batch.create(f"{batch.bucket},large\n", composite)
    batch.ended(job_id)
    ((*_, told),) = batch.report(job_id)
    expected = hashlib.sha256(b"".join(hashlib.sha256(body).digest() for body in bodies)).hexdigest()
    assert json.loads(told)["checksum_hex"].lower() == expected


def test_the_same_token_gives_the_same_job_and_another_request_with_it_is_refused(batch: Batch) -> None:
    batch.put("a", b"1")
    request = batch.request(f"{batch.bucket},a\n", SHA256)
    first = batch.control.create_job(**request)["JobId"]
    assert batch.control.create_job(**request)["JobId"] == first
    with pytest.raises(ClientError, match="IdempotencyException"):
        batch.control.create_job(**{**request, "Operation": BULK})
    assert len(batch.control.list_jobs(AccountId=ACCOUNT)["Jobs"]) == 1
    assert batch.control.list_jobs(AccountId=ACCOUNT, JobStatuses=["Failed"])["Jobs"] == []


def test_a_role_that_may_not_read_the_manifest_and_a_changed_manifest_fail_the_job(batch: Batch) -> None:
    batch.put("a", b"1")
    batch.s3.batch.refused_roles.add(ROLE)
    job = batch.ended(batch.create(f"{batch.bucket},a\n", SHA256))
    assert (job["Status"], job["FailureReasons"][0]["FailureCode"]) == ("Failed", "AccessDenied")
    batch.s3.batch.refused_roles.clear()
    job_id = batch.create(f"{batch.bucket},a\n", SHA256, ClientRequestToken="token-2")
    batch.put("manifest.csv", b"other")
    assert batch.ended(job_id)["FailureReasons"][0]["FailureCode"] == "ManifestChanged"


def test_a_job_that_waits_for_a_person_is_confirmed_or_cancelled(batch: Batch) -> None:
    batch.put("a", b"1")
    job_id = batch.create(f"{batch.bucket},a\n", SHA256, ConfirmationRequired=True)
    assert batch.ended(job_id)["Status"] == "Suspended"
    batch.control.update_job_status(AccountId=ACCOUNT, JobId=job_id, RequestedJobStatus="Ready")
    assert batch.control.update_job_priority(AccountId=ACCOUNT, JobId=job_id, Priority=99)["Priority"] == 99
    batch.control.update_job_status(
        AccountId=ACCOUNT, JobId=job_id, RequestedJobStatus="Cancelled", StatusUpdateReason="enough"
    )
    job = batch.ended(job_id)
    assert (job["Status"], job["StatusUpdateReason"], job["Priority"]) == ("Cancelled", "enough", 99)
    with pytest.raises(ClientError, match="JobStatusException"):
        batch.control.update_job_status(AccountId=ACCOUNT, JobId=job_id, RequestedJobStatus="Ready")
    with pytest.raises(ClientError, match="NoSuchJob"):
        batch.job("00000000-0000")


def test_objects_are_asked_back_by_a_job(batch: Batch) -> None:
    for name in ("a", "b"):
        batch.put(name, b"1", StorageClass="GLACIER")
    batch.put("warm", b"1")
    lines = "".join(f"{batch.bucket},{name}\n" for name in ("a", "b", "warm"))
    job_id = batch.create(lines, BULK)
    assert batch.ended(job_id)["ProgressSummary"]["NumberOfTasksFailed"] == 1
    assert [row[1] for row in batch.report(job_id) if row[3] == "succeeded"] == ["a", "b"]
    batch.s3.clock.advance(20)
    assert batch.client.get_object(Bucket=batch.bucket, Key="a")["Body"].read() == b"1"
    assert (batch.s3.batch.restored, batch.s3.count("RestoreObject")) == (2, 0)


@pytest.mark.parametrize("kind", ["fail_job", "half_job", "lose_report", "cut_report", "wrong_report"])
def test_jobs_go_wrong_on_demand(batch: Batch, kind: str) -> None:
    for number in range(4):
        batch.put(str(number), b"%d" % number)
    batch.s3.plan.inject("BatchJob", kind, count=1)
    job_id = batch.create("".join(f"{batch.bucket},{number}\n" for number in range(4)), SHA256)
    job = batch.ended(job_id)
    assert job["Status"] == ("Failed" if kind in ("fail_job", "half_job") else "Complete")
    if kind in ("fail_job", "lose_report"):
        with pytest.raises(ClientError, match="NoSuchKey"):
            batch.report(job_id)
        return
    rows = batch.report(job_id)
    right = [json.loads(row[6])["checksum_hex"].lower() for row in rows if len(row) == 7 and row[6].endswith("}")]
    expected = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(4)]
    assert {"half_job": right == expected[:2], "cut_report": len(right) < 4, "wrong_report": right != expected}[kind]


def test_one_object_fails_on_demand_and_requests_are_refused(batch: Batch) -> None:
    batch.put("a", b"1")
    batch.put("b", b"1")
    batch.s3.plan.inject("BatchTask", "fail_task", when={"key": "b"})
    job_id = batch.create(f"{batch.bucket},a\n{batch.bucket},b\n", SHA256)
    batch.ended(job_id)
    assert [row[3] for row in batch.report(job_id)] == ["succeeded", "failed"]
    batch.s3.plan.inject("CreateJob", "access_denied", count=1)
    with pytest.raises(ClientError, match="AccessDenied"):
        batch.create(f"{batch.bucket},a\n", SHA256, ClientRequestToken="token-3")
