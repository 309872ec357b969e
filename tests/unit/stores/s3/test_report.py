"""A completion report is read as if somebody hostile had written it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from glacier_provider.core.store_uri import S3Uri
from glacier_provider.errors import ArchiveCorrupt
from glacier_provider.stores.s3.bucket import Bucket
from glacier_provider.stores.s3.report import TaskResult, read_results

FOLDER = "pre/.glacier-batch/dms/token/job-1/"
DIGEST = hashlib.sha256(b"content").digest()


class Client:
    def __init__(self, objects: Mapping[str, bytes]) -> None:
        self.objects = objects

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(self.objects[Key])}


def told(**changes: Any) -> str:
    return json.dumps(
        {"checksum_hex": DIGEST.hex(), "checksumAlgorithm": "SHA256", "checksumType": "FULL_OBJECT", **changes}
    )


def line(key: str = "a", message: str | None = None, *middle: str) -> str:
    text = (told() if message is None else message).replace('"', '""')
    status = ",".join(middle) or "succeeded,200,"
    return f'bucket,{key},,{status},"{text}"\n'


def read(*csv: str, most: int = 10, results: Any = None, **more: bytes) -> list[TaskResult] | None:
    objects = {f"{FOLDER}results/{number}.csv": text.encode() for number, text in enumerate(csv)}
    named = [
        {
            "TaskExecutionStatus": "succeeded",
            "Bucket": "bucket",
            "Key": key,
            "MD5Checksum": hashlib.md5(data).hexdigest(),
        }
        for key, data in objects.items()
    ]
    objects[f"{FOLDER}manifest.json"] = json.dumps({"Results": named if results is None else results}).encode()
    bucket = Bucket(S3Uri("bucket", "pre"), Client({**objects, **more}))
    found = read_results(bucket, FOLDER, most=most)
    return None if found is None else list(found)


def test_a_row_tells_key_status_and_checksum() -> None:
    key = "pre/dms/files/000/1-a%2520b.pdf"
    assert read(line(key)) == [TaskResult("pre/dms/files/000/1-a%20b.pdf", 200, "", DIGEST.hex(), "FULL_OBJECT")]


@pytest.mark.parametrize("middle", ["failed,404,NoSuchKey", "failed,NoSuchKey,404"])
def test_status_and_error_code_are_known_by_their_looks(middle: str) -> None:
    """AWS's own page has them in both orders."""
    assert read(line("gone", "", middle)) == [TaskResult("gone", 404, "NoSuchKey")]


def test_what_failed_did_not_succeed_whatever_its_status_says() -> None:
    """What is asked for by a job counts as asked for by its status."""
    assert read(line("a", "", "failed,200,InternalError")) == [TaskResult("a", 500, "InternalError")]


def test_a_checksum_may_be_told_in_base64_with_the_number_of_its_parts() -> None:
    message = told(
        checksum_hex=None, checksum_base64=base64.b64encode(DIGEST).decode() + "-3", checksumType="COMPOSITE"
    )
    assert read(line("a", message)) == [TaskResult("a", 200, "", DIGEST.hex(), "COMPOSITE")]


BAD_MESSAGES = [
    "",
    "Successful",
    "[" * 50_000,
    "17",
    told(checksumAlgorithm="CRC32"),
    told(checksum_hex="f" * 63),
    told(checksum_hex=5),
    told(checksum_base64=base64.b64encode(b"x" * 32).decode()),
]


@pytest.mark.parametrize("message", BAD_MESSAGES, ids=range(len(BAD_MESSAGES)))
def test_a_message_without_one_sha256_is_no_checksum(message: str) -> None:
    assert read(line("a", message)) == [TaskResult("a", 200, "NoChecksum")]


def test_the_names_of_the_columns_are_no_row() -> None:
    names = "Bucket,Key,VersionId,TaskStatus,HTTPStatusCode,ErrorCode,ResultMessage\n"
    assert read(names + line("a"), most=1) == read(line("a"))


def test_a_line_without_an_end_is_not_read_to_its_end() -> None:
    class Endless(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1) -> bytes:
            self.count += 1
            return b"a" * (size or 0) if self.count < 100 else b""

    body = Endless()
    named = {"Bucket": "bucket", "Key": f"{FOLDER}results/0.csv", "MD5Checksum": "0" * 32}

    class Answering(Client):
        def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
            return {"Body": body} if Key == named["Key"] else super().get_object(Bucket=Bucket, Key=Key)

    objects = {f"{FOLDER}manifest.json": json.dumps({"Results": [named]}).encode()}
    found = read_results(Bucket(S3Uri("bucket", "pre"), Answering(objects)), FOLDER, most=1)
    with pytest.raises(ArchiveCorrupt, match="a line is too long"):
        list(found or ())
    assert body.count == 1


def test_no_report_is_none() -> None:
    assert read_results(Bucket(S3Uri("bucket", "pre"), Client({})), FOLDER, most=1) is None


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([{"Bucket": "other", "Key": f"{FOLDER}x", "MD5Checksum": ""}], "which is not of the job"),
        ([{"Bucket": "bucket", "Key": "pre/dms/manifests/1.json", "MD5Checksum": ""}], "which is not of the job"),
        ([{"Bucket": "bucket", "Key": f"{FOLDER}x", "MD5Checksum": ""}], "is missing"),
        ([{"Bucket": "bucket"}], "cannot be read"),
        (17, "cannot be read"),
    ],
)
def test_a_manifest_names_nothing_outside_its_job(results: Any, words: str) -> None:
    with pytest.raises(ArchiveCorrupt, match=words):
        read(results=results)


def test_a_report_that_is_cut_or_altered_is_not_believed() -> None:
    named = {"Bucket": "bucket", "Key": f"{FOLDER}results/0.csv", "MD5Checksum": hashlib.md5(b"more").hexdigest()}
    with pytest.raises(ArchiveCorrupt, match="has not the MD5"):
        read(line(), results=[named])
    with pytest.raises(ArchiveCorrupt, match="names a file twice"):
        read(line(), results=[named, named])


@pytest.mark.parametrize(
    ("csv", "words"),
    [
        (line() * 11, "more than the 10 objects"),
        ("bucket,a\n", "has not 7 columns"),
        (line().replace("bucket", "other"), "not of this bucket"),
        ("bucket,a%00b,,succeeded,200,,x\n", "has a NUL"),
        ("bucket," + "a" * 200_000 + ",,succeeded,200,,x", "a line is too long|is no CSV"),
        ('bucket,"a', "is no CSV"),
    ],
)
def test_what_is_no_row_of_the_job_ends_the_reading(csv: str, words: str) -> None:
    with pytest.raises(ArchiveCorrupt, match=words):
        read(csv)
