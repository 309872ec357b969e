"""The jobs API of S3 Control (S3 Batch Operations), by AWS's documentation, on the emulated S3's objects.

Operations: S3ComputeObjectChecksum (SHA256, FULL_OBJECT and COMPOSITE) and S3InitiateRestoreObject. A job goes through
New, Preparing, (Suspended,) Ready, Active and Completing in emulated time, then its report is in its bucket.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-job-status.html (states, failures),
https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-examples-reports.html (reports),
https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-compute-checksums.html,
https://docs.aws.amazon.com/AmazonS3/latest/API/API_control_CreateJob.html. A report's rows have no header; the status
stands before the error code, and the result of a checksum is JSON with `checksum_hex`, `checksum_base64`,
`checksumAlgorithm`, `checksumType` and `etag`.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, unquote_plus
from xml.etree import ElementTree

from tests.emulator.clock import Clock
from tests.emulator.faults import JOB_KINDS, TASK_KINDS, FaultKind, FaultPlan
from tests.emulator.s3_objects import Objects
from tests.emulator.s3_requests import Answer, S3Request, xml_answer

NAMESPACE = "http://awss3control.amazonaws.com/doc/2018-08-20/"
PATH = "/v20180820/jobs"
ENDED = ("Complete", "Failed", "Cancelled")
#: So many rows a report file has.
ROWS = 100_000

#: Gives the SHA-256 of an object instead of the emulator's own bytes: (bucket, key, type) to the digest, or None.
DigestOf = Callable[[str, str, str], bytes | None]


@dataclass
class BatchJob:
    """One job. Times are emulated seconds since the epoch."""

    id: str
    account: str
    request: dict[str, Any]
    created_at: float
    token: str
    priority: int
    faults: frozenset[FaultKind]
    status: str = "New"
    since: float = 0.0
    reason: str | None = None
    failures: list[tuple[str, str]] = field(default_factory=list)
    total: int = 0
    succeeded: int = 0
    failed: int = 0
    ended_at: float | None = None
    manifest: bytes = field(default=b"", repr=False)

    @property
    def operation(self) -> str:
        return str(next(iter(self.request["Operation"])))


class BatchJobs:
    """All jobs of the emulated S3, by account. `seconds` is how long each state lasts, in emulated time."""

    def __init__(self, clock: Clock, plan: FaultPlan, objects: Objects) -> None:
        self._clock = clock
        self._plan = plan
        self._objects = objects
        self._lock = threading.RLock()
        self._jobs: dict[str, BatchJob] = {}
        self.seconds = {"New": 0.0, "Preparing": 0.1, "Ready": 0.1, "Active": 0.2, "Completing": 0.0}
        self.refused_roles: set[str] = set()  #: roles that S3 may not take, or that may not read the manifest
        self.digest_of: DigestOf | None = None
        self.restored = 0  #: how many objects S3InitiateRestoreObject asked back

    def jobs(self) -> list[BatchJob]:
        with self._lock:
            return list(self._jobs.values())

    def forget(self) -> None:
        """Know no job any more, also none that goes on."""
        with self._lock:
            self._jobs.clear()

    def answer(self, environ: Mapping[str, Any]) -> Answer:
        """Answer a request to the jobs API."""
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        query = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        many = parse_qs(environ.get("QUERY_STRING", "")).get("jobStatuses", [])
        account = environ.get("HTTP_X_AMZ_ACCOUNT_ID", "")
        rest = path.removeprefix(PATH).strip("/").split("/")
        with self._lock:
            if not re.fullmatch(r"\d{12}", account):
                return _error(400, "InvalidRequest", "x-amz-account-id is missing or malformed")
            if rest == [""]:
                return (
                    self._create(account, environ["wsgi.input"].getvalue())
                    if method == "POST"
                    else self._list(account, query, many)
                )
            job = self._jobs.get(rest[0])
            if job is None or job.account != account:
                return _error(404, "NoSuchJob", "The specified job does not exist")
            self._advance(job)
            if rest[1:] == ["priority"]:
                return self._reprioritised(job, query)
            if rest[1:] == ["status"]:
                return self._moved(job, query)
            return _result("DescribeJobResult", {"Job": self._described(job)})

    # Creating

    def _create(self, account: str, body: bytes) -> Answer:
        request = _as_dict(ElementTree.fromstring(body))
        if fault := _request_fault(request):
            return _error(400, "InvalidRequest", fault)
        token = request.get("ClientRequestToken", "")
        for job in self._jobs.values():
            if job.account == account and job.token == token:
                if _same(job.request, request):
                    return _result("CreateJobResult", {"JobId": job.id})
                return _error(400, "IdempotencyException", "The token was used with other parameters")
        context = {"operation": next(iter(request["Operation"])), "token": token}
        faults = self._plan.decide("BatchJob", JOB_KINDS, **context)
        now = self._clock.timestamp()
        made = BatchJob(
            str(uuid.uuid4()),
            account,
            request,
            now,
            token,
            int(request["Priority"]),
            frozenset(fault.kind for fault in faults),
            since=now,
        )
        self._jobs[made.id] = made
        return _result("CreateJobResult", {"JobId": made.id})

    # The life of a job

    def _advance(self, job: BatchJob) -> None:
        while job.status not in (*ENDED, "Suspended", "Paused"):
            due = job.since + self.seconds.get(job.status, 0.0)
            if self._clock.timestamp() < due:
                return
            getattr(self, f"_after_{job.status.lower()}")(job, due)

    def _to(self, job: BatchJob, status: str, at: float) -> None:
        job.status, job.since = status, at
        if status in ENDED:
            job.ended_at = at

    def _after_new(self, job: BatchJob, at: float) -> None:
        self._to(job, "Preparing", at)

    def _after_preparing(self, job: BatchJob, at: float) -> None:
        fault = self._prepared(job)
        if fault is not None:
            job.failures.append(fault)
            self._to(job, "Failed", at)
        else:
            self._to(job, "Suspended" if job.request.get("ConfirmationRequired") == "true" else "Ready", at)

    def _after_ready(self, job: BatchJob, at: float) -> None:
        self._to(job, "Active", at)

    def _after_active(self, job: BatchJob, at: float) -> None:
        half = FaultKind.HALF_JOB in job.faults
        self._report(job, self._performed(job, job.total // 2 if half else job.total))
        if half:
            job.failures.append(("InternalError", "The job failed after some of its tasks."))
        if job.failed * 2 > job.succeeded + job.failed >= 1000:
            job.failures.append(("JobFailureRateExceeded", "More than half of at least 1000 tasks failed."))
        self._to(job, "Failed" if job.failures else "Completing", at)

    def _after_completing(self, job: BatchJob, at: float) -> None:
        self._to(job, "Complete", at)

    def _after_cancelling(self, job: BatchJob, at: float) -> None:
        if job.total >= 2:
            self._report(job, self._performed(job, job.total // 2))
        self._to(job, "Cancelled", at)

    def _prepared(self, job: BatchJob) -> tuple[str, str] | None:
        """Read the manifest; return why that is not possible."""
        if FaultKind.FAIL_JOB in job.faults:
            return "InternalError", "The job failed."
        if job.request["RoleArn"] in self.refused_roles:
            return "AccessDenied", "Reading the manifest is forbidden: AccessDenied"
        manifest = job.request["Manifest"]
        bucket, _, key = manifest["Location"]["ObjectArn"].removeprefix("arn:aws:s3:::").partition("/")
        found = self._objects.key(bucket, key)
        if found is None:
            return "ManifestNotFound", f"Reading the manifest {key} failed: NoSuchKey"
        if found.etag.strip('"') != manifest["Location"]["ETag"].strip('"'):
            return "ManifestChanged", "The ETag of the manifest is not the one that was given."
        fields = _listed(manifest["Spec"].get("Fields"))
        job.manifest = found.value
        for row in _rows_of(job.manifest):
            if len(row) != len(fields):
                return "InvalidManifest", f"The manifest has a row of {len(row)} columns."
            job.total += 1
        return None if job.total else ("InvalidManifest", "The manifest is empty.")

    def _performed(self, job: BatchJob, most: int) -> Iterator[list[str]]:
        """Do the operation on the first objects of the manifest; yield a row of the report for each."""
        fields = _listed(job.request["Manifest"]["Spec"]["Fields"])
        perform = self._checksum if job.operation == "S3ComputeObjectChecksum" else self._restore
        options = job.request["Operation"][job.operation]
        may_fail = bool(self._plan.rules())
        for row in islice(_rows_of(job.manifest), most):
            named = dict(zip(fields, row, strict=True))
            bucket, quoted, version = named["Bucket"], named["Key"], named.get("VersionId", "")
            key = unquote_plus(quoted)
            failed = may_fail and self._plan.decide("BatchTask", TASK_KINDS, bucket=bucket, key=key)
            status, code, told = (500, "InternalError", "Failed") if failed else perform(bucket, key, options)
            good = status in (200, 202)
            job.succeeded, job.failed = job.succeeded + good, job.failed + (not good)
            yield [bucket, quoted, version, "succeeded" if good else "failed", str(status), code, told]

    def _checksum(self, bucket: str, key: str, options: Mapping[str, str]) -> tuple[int, str, str]:
        kind = options.get("ChecksumType", "FULL_OBJECT")
        if self.digest_of is not None:
            digest, etag = self.digest_of(bucket, key, kind), "0"
        else:
            found = self._objects.key(bucket, key)
            parts = getattr(found, "multipart", None)
            if found is not None and kind == "COMPOSITE" and not parts:
                return 400, "InvalidRequest", "The object was not uploaded in parts."
            digest = None if found is None else _digest(found, kind)
            etag = "" if found is None else found.etag.strip('"')
        if digest is None:
            return 404, "NoSuchKey", "The specified key does not exist."
        told = {
            "checksum_base64": base64.b64encode(digest).decode(),
            "etag": etag,
            "checksumAlgorithm": "SHA256",
            "checksumType": kind,
            "checksum_hex": digest.hex().upper(),
        }
        return 200, "", json.dumps(told, separators=(",", ":"))

    def _restore(self, bucket: str, key: str, options: Mapping[str, str]) -> tuple[int, str, str]:
        tier = options.get("GlacierJobTier", "STANDARD").capitalize()
        body = (
            f"<RestoreRequest><Days>{options.get('ExpirationInDays', '0')}</Days><GlacierJobParameters>"
            f"<Tier>{tier}</Tier></GlacierJobParameters></RestoreRequest>"
        )
        faults = self._plan.decide("RestoreObject", frozenset({FaultKind.FAIL_JOB}), bucket=bucket, key=key)
        request = S3Request("RestoreObject", bucket, key, {}, {}, body.encode())
        answer = self._objects.restore(request, {fault.kind for fault in faults})
        self.restored += answer.status == 202
        code = re.search(rb"<Code>([^<]+)<", answer.body)
        return answer.status, code.group(1).decode() if code else "", "Successful" if code is None else "Failed"

    # Reports

    def _report(self, job: BatchJob, rows: Iterator[list[str]]) -> None:
        """Go through the rows and write them into the bucket, file by file, those that failed apart."""
        report = job.request["Report"]
        bucket = report["Bucket"].removeprefix("arn:aws:s3:::")
        folder = "/".join(part for part in (report.get("Prefix", "").strip("/"), f"job-{job.id}") if part)
        results: list[dict[str, str]] = []
        held: dict[str, list[list[str]]] = {"succeeded": [], "failed": []}
        left = report.get("Enabled") != "true" or FaultKind.LOSE_REPORT in job.faults

        def write(status: str) -> None:
            of_these, held[status] = held[status], []
            if of_these and not left:
                results.append(self._file(job, bucket, folder, status, of_these, len(results)))

        for row in rows:
            if row[3] == "failed" or report.get("ReportScope") != "FailedTasksOnly":
                held[row[3]].append(row)
                if len(held[row[3]]) == ROWS:
                    write(row[3])
        for status in held:
            write(status)
        if left:
            return
        told = {
            "Format": "Report_CSV_20180820",
            "ReportCreationDate": self._clock.now().isoformat(),
            "Results": results,
            "ReportSchema": "Bucket, Key, VersionId, TaskStatus, HTTPStatusCode, ErrorCode, ResultMessage",
        }
        self._put(bucket, f"{folder}/manifest.json", json.dumps(told).encode())

    def _file(
        self, job: BatchJob, bucket: str, folder: str, status: str, rows: list[list[str]], number: int
    ) -> dict[str, str]:
        data = _csv(_muddled(rows) if FaultKind.WRONG_REPORT in job.faults else rows)
        md5 = hashlib.md5(data).hexdigest()
        if FaultKind.CUT_REPORT in job.faults:
            data = data[: len(data) // 2]
        key = f"{folder}/results/{hashlib.sha1(f'{status}{number}'.encode()).hexdigest()}.csv"
        self._put(bucket, key, data)
        return {"TaskExecutionStatus": status, "Bucket": bucket, "MD5Checksum": md5, "Key": key}

    def _put(self, bucket: str, key: str, data: bytes) -> None:
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(bucket, key, data)
        self._objects.forget_order(bucket)

    # Looking and changing

    def _list(self, account: str, query: Mapping[str, str], statuses: list[str]) -> Answer:
        mine = [job for job in self._jobs.values() if job.account == account]
        for job in mine:
            self._advance(job)
        chosen = [job for job in reversed(mine) if not statuses or job.status in statuses]
        start, limit = int(query.get("nextToken", "0")), min(int(query.get("maxResults", "1000")), 1000)
        page = chosen[start : start + limit]
        told = [
            {name: value for name, value in self._described(job).items() if name in _LISTED}
            | {"Operation": job.operation}
            for job in page
        ]
        token = str(start + limit) if len(chosen) > start + limit else None
        return _result("ListJobsResult", {"NextToken": token, "Jobs": {"member": told}})

    def _described(self, job: BatchJob) -> dict[str, Any]:
        reasons = [{"FailureCode": code, "FailureReason": words} for code, words in job.failures]
        return {
            "JobId": job.id,
            "ConfirmationRequired": job.request.get("ConfirmationRequired", "false"),
            "Description": job.request.get("Description"),
            "JobArn": f"arn:aws:s3:us-east-1:{job.account}:job/{job.id}",
            "Status": job.status,
            "Operation": job.request["Operation"],
            "Priority": job.priority,
            "ProgressSummary": {
                "TotalNumberOfTasks": job.total,
                "NumberOfTasksSucceeded": job.succeeded,
                "NumberOfTasksFailed": job.failed,
            },
            "StatusUpdateReason": job.reason,
            "FailureReasons": {"member": reasons} if reasons else None,
            "CreationTime": _time(job.created_at),
            "TerminationDate": None if job.ended_at is None else _time(job.ended_at),
            "RoleArn": job.request["RoleArn"],
        }

    def _reprioritised(self, job: BatchJob, query: Mapping[str, str]) -> Answer:
        if job.status in ENDED:
            return _error(400, "InvalidRequest", f"The job is {job.status}.")
        job.priority = int(query["priority"])
        return _result("UpdateJobPriorityResult", {"JobId": job.id, "Priority": job.priority})

    def _moved(self, job: BatchJob, query: Mapping[str, str]) -> Answer:
        wanted, now = query["requestedJobStatus"], self._clock.timestamp()
        allowed = job.status == "Suspended" if wanted == "Ready" else job.status not in ENDED
        if not allowed or wanted not in ("Ready", "Cancelled"):
            return _error(400, "JobStatusException", f"A job that is {job.status} cannot become {wanted}.")
        job.reason = query.get("statusUpdateReason")
        self._to(job, "Ready" if wanted == "Ready" else "Cancelling", now)
        told = {"JobId": job.id, "Status": job.status, "StatusUpdateReason": job.reason}
        return _result("UpdateJobStatusResult", told)


def job_operation(environ: Mapping[str, Any]) -> str:
    """Return the name of the operation that a request to the jobs API asks for."""
    method, rest = environ["REQUEST_METHOD"], environ["PATH_INFO"].removeprefix(PATH).strip("/").split("/")
    if rest == [""]:
        return "CreateJob" if method == "POST" else "ListJobs"
    return {"priority": "UpdateJobPriority", "status": "UpdateJobStatus"}.get(rest[-1], "DescribeJob")


def without_account_in_host(client: Any) -> Any:
    """Have a botocore client leave the account's id out of the host name, which no resolver knows here."""

    def plain(request: Any, **_: Any) -> None:
        request.url = re.sub(r"^(https?://)\d{12}\.", r"\1", request.url)

    client.meta.events.register("before-sign.s3-control", plain)
    return client


_LISTED = ("JobId", "Description", "Priority", "Status", "CreationTime", "TerminationDate", "ProgressSummary")


def _digest(key: Any, kind: str) -> bytes:
    if kind == "FULL_OBJECT":
        return hashlib.sha256(key.value).digest()
    digests, start = b"", 0
    for _, part in sorted(key.multipart.parts.items()):
        digests += hashlib.sha256(key.value[start : start + part.size]).digest()
        start += part.size
    return hashlib.sha256(digests).digest()


def _muddled(rows: list[list[str]]) -> list[list[str]]:
    """Return rows that tell of each object what is true of another one."""
    told = [row[6] for row in rows]
    return [[*row[:6], told[number - 1]] for number, row in enumerate(rows)]


def _rows_of(manifest: bytes) -> Iterator[list[str]]:
    return csv.reader(io.TextIOWrapper(io.BytesIO(manifest), encoding="utf-8"))


def _csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _request_fault(request: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a CreateJob, by the API's own rules."""
    for name in ("Operation", "Report", "ClientRequestToken", "Manifest", "Priority", "RoleArn"):
        if not request.get(name):
            return f"{name} is required"
    operation = next(iter(request["Operation"]))
    options = request["Operation"][operation] or {}
    if operation not in ("S3ComputeObjectChecksum", "S3InitiateRestoreObject"):
        return f"{operation} is not emulated"
    if operation == "S3InitiateRestoreObject" and (
        options.get("GlacierJobTier", "STANDARD") not in ("STANDARD", "BULK") or int(options["ExpirationInDays"]) < 1
    ):
        return "Only STANDARD and BULK, for at least one day"
    if operation == "S3ComputeObjectChecksum" and options.get("ChecksumAlgorithm") != "SHA256":
        return "Only SHA256 is emulated"
    if not re.fullmatch(r"arn:[^:]+:iam::\d{12}:role/.+", request["RoleArn"]):
        return "The role ARN is not valid"
    if len(request["ClientRequestToken"]) > 64 or len(request.get("Description", "")) > 256:
        return "A text is too long"
    spec = request["Manifest"]["Spec"]
    if spec["Format"] != "S3BatchOperations_CSV_20180820" or not {"Bucket", "Key"} <= set(_listed(spec.get("Fields"))):
        return "The manifest needs the fields Bucket and Key"
    if request["Report"].get("Enabled") == "true" and not request["Report"].get("Bucket", "").startswith("arn:"):
        return "The report needs a bucket"
    return None


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return {**one, "Priority": ""} == {**other, "Priority": ""}


def _listed(value: Any) -> list[str]:
    members = (value or {}).get("member", [])
    return members if isinstance(members, list) else [members]


def _as_dict(element: ElementTree.Element) -> Any:
    """Return an element's children by name; those that come several times as a list, those without children as text."""
    if not len(element):
        return element.text or ""
    found: dict[str, Any] = {}
    for child in element:
        name, value = child.tag.rsplit("}", 1)[-1], _as_dict(child)
        if name in found:
            found[name] = [*(found[name] if isinstance(found[name], list) else [found[name]]), value]
        else:
            found[name] = value
    return found


def _time(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _result(name: str, content: Mapping[str, Any]) -> Answer:
    return xml_answer(name, content, namespace=NAMESPACE)


def _error(status: int, code: str, message: str) -> Answer:
    return xml_answer(
        "ErrorResponse",
        {"Error": {"Code": code, "Message": message}, "RequestId": "4442587FB7D0A2F9"},
        status=status,
        namespace=NAMESPACE,
    )
