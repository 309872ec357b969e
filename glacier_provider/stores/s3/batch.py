"""S3 Batch Operations as this package uses them: one operation on very many objects, by one job of AWS's.

A manifest names the objects, a report tells what came of each; both lie in the bucket of the store while a job lives,
below a folder of the job's own token, and are deleted when the report was read.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops.html
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from glacier_provider.core.parts import MIB
from glacier_provider.core.store_uri import S3Uri
from glacier_provider.errors import StoreError
from glacier_provider.stores.aws_errors import aws_errors, error_code
from glacier_provider.stores.s3.bucket import Bucket, base64_text
from glacier_provider.stores.s3.delete import AT_ONCE
from glacier_provider.stores.s3.keys import folder_of
from glacier_provider.stores.s3.report import TaskResult, read_results
from glacier_provider.stores.s3.upload import abort_uploads

CHECKSUMS = "S3ComputeObjectChecksum"
RESTORES = "S3InitiateRestoreObject"
#: A manifest up to this size is sent by one request, a larger one in parts of it.
_PIECE = 8 * MIB
_PRIORITY = 10
_ENDED = ("Complete", "Failed", "Cancelled")
ROLE_HINT = "What the role needs, and who may take it: glacier-backup doctor --fix-print (docs/operations.md has more)."


@dataclass(frozen=True, slots=True)
class JobTold:
    """What AWS says of a job. `error` is why it did not complete; `ended_at` (aware) is None while it goes on."""

    status: str
    total: int = 0
    succeeded: int = 0
    failed: int = 0
    error: str | None = None
    ended_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.status in _ENDED

    def as_dict(self) -> dict[str, Any]:
        return {"status": self.status, "total": self.total, "succeeded": self.succeeded, "failed": self.failed}


@dataclass(frozen=True, slots=True)
class BatchAccess:
    """Whose jobs these are: the account's id, the role that S3 takes for them, the folder for manifests and reports."""

    account_id: str
    role_arn: str
    folder: str


def control_client_config(region: str | None) -> Any:
    """Return the botocore Config of a client of S3 Control."""
    from botocore.config import Config

    from glacier_provider import __version__

    return Config(
        retries={"mode": "standard", "total_max_attempts": 5},
        connect_timeout=10,
        read_timeout=60,
        user_agent_extra=f"glacier-provider/{__version__}",
        **({"region_name": region} if region else {}),
    )


def reached_by_address(client: Any) -> Any:
    """Return a client of S3 Control that leaves the account's id out of a host that is an address, or localhost.

    AWS's own host names take it before them, as in 123456789012.s3-control.eu-central-1.amazonaws.com; the account
    stands in a header, too.
    """
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    if not _is_address(host):
        return client

    def plain(request: Any, **_: Any) -> None:
        request.url = re.sub(r"^(https?://)\d{12}\.", r"\1", request.url)

    client.meta.events.register("before-sign.s3-control", plain)
    return client


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(re.sub(r"^\d{12}\.", "", host))
    except ValueError:
        return re.fullmatch(r"(\d{12}\.)?localhost", host) is not None
    return True


class BatchOperations:
    """The jobs on the objects of one store.

    `client` is that of the store, `control` one of S3 Control. Permissions: s3:CreateJob, s3:DescribeJob and
    s3:ListJobs, and iam:PassRole on the role; what the role needs is in docs/operations.md.
    """

    def __init__(self, uri: S3Uri, *, client: Any, control: Any, access: BatchAccess) -> None:
        self._bucket = Bucket(uri, client)
        self._control = control
        self._access = access

    def folder(self, token: str) -> str:
        """Return what the keys of all that belongs to a job begin with."""
        return f"{folder_of(self._bucket.uri.prefix)}{self._access.folder.strip('/')}/{token}/"

    def write_manifest(self, token: str, keys: Iterable[str]) -> tuple[str, int]:
        """Write the manifest of a job, in the place of one that a killed process left; return its ETag and objects."""
        count = 0
        bucket = self._bucket.uri.bucket

        def lines() -> Iterator[bytes]:
            nonlocal count
            for key in keys:
                count += 1
                yield f"{bucket},{quote(key, safe='/')}\n".encode()

        etag = self._send(self._manifest_key(token), _pieces(lines()))
        return etag, count

    def create(self, token: str, etag: str, operation: Mapping[str, Any], description: str) -> str:
        """Have AWS do an operation on what the manifest names; return the job's id.

        The same token with the same manifest is the same job, however often this is repeated: it is paid once.
        """
        from botocore.exceptions import ClientError

        request = {
            "AccountId": self._access.account_id,
            "ConfirmationRequired": False,
            "Operation": dict(operation),
            "Report": {
                "Bucket": self._arn(),
                "Format": "Report_CSV_20180820",
                "Enabled": True,
                "Prefix": self.folder(token).rstrip("/"),
                "ReportScope": "AllTasks",
            },
            "ClientRequestToken": token,
            "Manifest": {
                "Spec": {"Format": "S3BatchOperations_CSV_20180820", "Fields": ["Bucket", "Key"]},
                "Location": {"ObjectArn": self._arn(self._manifest_key(token)), "ETag": etag},
            },
            "Description": f"{description[:200]} {token}",
            "Priority": _PRIORITY,
            "RoleArn": self._access.role_arn,
        }
        with aws_errors("s3:CreateJob", self._subject()):
            try:
                return str(self._control.create_job(**request)["JobId"])
            except ClientError as exc:
                found = self._of_token(token) if error_code(exc) == "IdempotencyException" else None
                if found is None:
                    raise
                return found

    def find(self, token: str) -> str | None:
        """Return the job that a token was used for, by its description; None when AWS knows none."""
        with aws_errors("s3:ListJobs", self._subject()):
            return self._of_token(token)

    def _of_token(self, token: str) -> str | None:
        marks: dict[str, str] = {}
        while True:
            page = self._control.list_jobs(AccountId=self._access.account_id, MaxResults=1000, **marks)
            for job in page.get("Jobs", []):
                if str(job.get("Description", "")).endswith(token):
                    return str(job["JobId"])
            if not page.get("NextToken"):
                return None
            marks = {"NextToken": page["NextToken"]}

    def describe(self, job_id: str) -> JobTold | None:
        """Return what AWS says of a job; None for one that it does not know, or no longer (90 days after its end)."""
        from botocore.exceptions import ClientError

        with aws_errors("s3:DescribeJob", self._subject()):
            try:
                told = self._control.describe_job(AccountId=self._access.account_id, JobId=job_id)["Job"]
            except ClientError as exc:
                if error_code(exc) in ("NoSuchJob", "NoSuchJobException", "NotFoundException"):
                    return None
                raise
        progress = told.get("ProgressSummary", {})
        return JobTold(
            told["Status"],
            progress.get("TotalNumberOfTasks", 0),
            progress.get("NumberOfTasksSucceeded", 0),
            progress.get("NumberOfTasksFailed", 0),
            _why(told),
            told.get("TerminationDate"),
        )

    def check(self) -> None:
        """Raise the store's error unless jobs can be listed and asked about; nothing is created."""
        with aws_errors("s3:ListJobs", self._subject()):
            self._control.list_jobs(AccountId=self._access.account_id, MaxResults=1)
        self.describe(str(uuid.uuid4()))

    def results(self, token: str, job_id: str, *, most: int) -> Iterator[TaskResult] | None:
        """Yield what the report tells of each object; None when there is none, or not yet.

        `most` is how many objects the manifest named: a report of more is not believed. Raise ArchiveCorrupt for a
        report that is cut, or is not one.
        """
        return read_results(self._bucket, f"{self.folder(token)}job-{job_id}/", most=most)

    def clear(self, token: str) -> list[str]:
        """Delete the manifest and the reports of a job; return the keys of what may not be deleted."""
        left: list[str] = []
        for page in self._bucket.pages(self.folder(token), MaxKeys=AT_ONCE):
            if keys := [entry["Key"] for entry in page.get("Contents", [])]:
                left += self._bucket.delete_objects(keys)
        abort_uploads(self._bucket, self._manifest_key(token))
        return left

    def _manifest_key(self, token: str) -> str:
        return f"{self.folder(token)}manifest.csv"

    def _arn(self, key: str | None = None) -> str:
        partition = self._access.role_arn.split(":")[1]
        return f"arn:{partition}:s3:::{self._bucket.uri.bucket}" + (f"/{key}" if key else "")

    def _subject(self) -> str:
        return f"the account {self._access.account_id} for {self._bucket.url()} by the role {self._access.role_arn}"

    def _send(self, key: str, pieces: Iterator[bytes]) -> str:
        """Send pieces as one object, encrypted by S3's own keys: Batch Operations read no other manifest."""
        bucket = self._bucket
        address = {"Bucket": bucket.uri.bucket, "Key": key}
        abort_uploads(bucket, key)
        first, second = next(pieces, b""), next(pieces, None)
        with aws_errors("s3:PutObject", bucket.url(key)):
            if second is None:
                reply = bucket.client.put_object(
                    **address,
                    Body=first,
                    ServerSideEncryption="AES256",
                    ChecksumAlgorithm="SHA256",
                    ChecksumSHA256=base64_text(hashlib.sha256(first).digest()),  # else it goes unsigned, in a trailer
                )
                return _etag(reply)
            # With a checksum, which a bucket with Object Lock asks for.
            upload = bucket.client.create_multipart_upload(
                **address, ServerSideEncryption="AES256", ChecksumAlgorithm="SHA256"
            )["UploadId"]
            with ExitStack() as undo:
                undo.callback(bucket.client.abort_multipart_upload, **address, UploadId=upload)
                parts = [
                    self._send_part(address, upload, number, piece)
                    for number, piece in enumerate(_chained(first, second, pieces), start=1)
                ]
                reply = bucket.client.complete_multipart_upload(
                    **address, UploadId=upload, MultipartUpload={"Parts": parts}
                )
                undo.pop_all()
        return _etag(reply)

    def _send_part(self, address: Mapping[str, str], upload: str, number: int, piece: bytes) -> dict[str, Any]:
        checksum = base64_text(hashlib.sha256(piece).digest())
        reply = self._bucket.client.upload_part(
            **address, UploadId=upload, PartNumber=number, Body=piece, ChecksumSHA256=checksum
        )
        return {"PartNumber": number, "ETag": reply["ETag"], "ChecksumSHA256": checksum}


def _etag(reply: Mapping[str, Any]) -> str:
    etag = reply.get("ETag")
    if not etag:
        raise StoreError("The store took an object and told no ETag of it.")
    return str(etag).strip('"')


def _chained(first: bytes, second: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield second
    yield from rest


def _pieces(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Join lines to pieces of at least `_PIECE` bytes, the last one shorter."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= _PIECE:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def _why(told: Mapping[str, Any]) -> str | None:
    """Return why a job ended without completing, in AWS's words."""
    if told["Status"] not in ("Failed", "Cancelled"):
        return None
    reasons = [f"{one.get('FailureCode')}: {one.get('FailureReason')}" for one in told.get("FailureReasons", [])]
    if told.get("StatusUpdateReason"):
        reasons.append(str(told["StatusUpdateReason"]))
    return "; ".join(reasons)[:1000] or "no reason was given"
