"""What AWS would bill for what an emulator was asked, by AWS's published rules: apart from the product's own reckoning.

An `S3Meter` is shown each request that an emulated S3 answered, and its clock's time; `bill` sums what happened between
two moments. A `VaultMeter` reads the same from an emulated vault. Amounts are US dollars of us-east-1.

Rules, with a month of 30 days; deletions and aborts are free:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html (minimum sizes, durations, overhead),
https://docs.aws.amazon.com/AmazonS3/latest/userguide/aws-usage-report-understand.html (of a multipart upload only the
completion is billed as the class), https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects.html
(copies), https://aws.amazon.com/s3/pricing/ (prices).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from tests.emulator.s3_requests import Answer, S3Request
    from tests.emulator.vault import VaultEmulator

GB = 2**30
KB = 1024
DAY = 86_400.0
MONTH = 30 * DAY

STORAGE = {  # a GB for a month
    "STANDARD": 0.023,
    "STANDARD_IA": 0.0125,
    "GLACIER_IR": 0.004,
    "GLACIER": 0.0036,
    "DEEP_ARCHIVE": 0.00099,
    "VAULT": 0.0036,
}
PUT = {
    "STANDARD": 5e-6,
    "STANDARD_IA": 1e-5,
    "GLACIER_IR": 2e-5,
    "GLACIER": 3e-5,
    "DEEP_ARCHIVE": 5e-5,
    "VAULT": 3e-5,
}
GET = {"STANDARD": 4e-7, "STANDARD_IA": 1e-6, "GLACIER_IR": 1e-5, "GLACIER": 4e-7, "DEEP_ARCHIVE": 4e-7}
READ_GB = {"STANDARD_IA": 0.01, "GLACIER_IR": 0.03}
LIST = 5e-6
RETRIEVAL = {  # a request, a GB
    ("GLACIER", "Expedited"): (0.01, 0.03),
    ("GLACIER", "Standard"): (5e-5, 0.01),
    ("GLACIER", "Bulk"): (0.0, 0.0),
    ("DEEP_ARCHIVE", "Standard"): (1e-4, 0.02),
    ("DEEP_ARCHIVE", "Bulk"): (2.5e-5, 0.0025),
    ("VAULT", "Expedited"): (0.01, 0.03),
    ("VAULT", "Standard"): (5e-5, 0.01),
    ("VAULT", "Bulk"): (2.5e-5, 0.0025),
}
MINIMUM_DAYS = {"STANDARD_IA": 30, "GLACIER_IR": 90, "GLACIER": 90, "DEEP_ARCHIVE": 180, "VAULT": 90}
LISTS = ("ListObjectsV2", "ListObjects", "ListObjectVersions", "ListMultipartUploads", "ListParts")
WRITES = ("PutObject", "CopyObject")
FREE = ("DeleteObject", "DeleteObjects", "AbortMultipartUpload")


@dataclass
class Bill:
    """What was used between two moments, in dollars. `early`: storage that was not used and is billed all the same."""

    storage: float = 0.0
    early: float = 0.0
    copies: float = 0.0
    uploads: float = 0.0
    requests: float = 0.0
    retrieval: float = 0.0

    @property
    def total(self) -> float:
        return sum(getattr(self, one.name) for one in fields(self))


@dataclass
class Kept:
    """One object, from when it came until it was deleted or replaced."""

    storage_class: str
    size: int
    since: float
    until: float | None = None

    def month(self) -> float:
        """Return what it costs in a month."""
        size = max(self.size, 128 * KB) if self.storage_class in READ_GB else self.size
        index = 32 * KB if self.storage_class in ("GLACIER", "DEEP_ARCHIVE", "VAULT") else 0
        names = 8 * KB if self.storage_class in ("GLACIER", "DEEP_ARCHIVE") else 0
        return ((size + index) * STORAGE[self.storage_class] + names * STORAGE["STANDARD"]) / GB

    def early(self) -> float:
        """Return what deleting it cost: its bytes for the rest of its minimum duration."""
        assert self.until is not None
        left = self.since + MINIMUM_DAYS.get(self.storage_class, 0) * DAY - self.until
        size = max(self.size, 128 * KB) if self.storage_class in READ_GB else self.size
        index = 32 * KB if self.storage_class in ("GLACIER", "DEEP_ARCHIVE", "VAULT") else 0
        return max(0.0, left) / MONTH * (size + index) * STORAGE[self.storage_class] / GB


def _storage(kept: Iterable[Kept], since: float, until: float) -> tuple[float, float]:
    """Return what objects cost between two moments: stored, and deleted early."""
    stored = early = 0.0
    for one in kept:
        end = until if one.until is None else min(one.until, until)
        stored += max(0.0, end - max(one.since, since)) / MONTH * one.month()
        if one.until is not None and since <= one.until < until:
            early += one.early()
    return stored, early


@dataclass
class _Copy:
    """A readable copy of an object."""

    of: Kept
    size: int
    since: float
    until: float


class S3Meter:
    """The meter of one emulated S3: give it to `S3Emulator.meter`."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        self.counted: Counter[str] = Counter()
        self._now: dict[tuple[str, str], Kept] = {}
        self._uploads: dict[str, tuple[str, dict[int, int]]] = {}
        self._copies: list[_Copy] = []
        self._spent: list[tuple[float, str, float]] = []

    def note(self, request: S3Request, answer: Answer, now: float, thaw: Any = None) -> None:
        """See one request that was answered; `thaw` is the copy that a RestoreObject began or prolonged."""
        operation, good = request.operation, answer.status < 300
        self.counted[operation] += 1
        at = (request.bucket, request.key)
        here = self._now[at].storage_class if at in self._now else "STANDARD"
        if operation in FREE:
            if good and operation == "DeleteObject":
                self._end(at, now)
            if good and operation == "DeleteObjects":
                for name in re.findall(rb"<Key>([^<]+)</Key>", request.body):
                    self._end((request.bucket, name.decode()), now)
        elif operation in WRITES:
            name = request.headers.get("x-amz-storage-class", "STANDARD")
            self._spend(now, "uploads", PUT[name])
            if good:
                source = request.headers.get("x-amz-copy-source", "").lstrip("/").partition("/")
                copied = self._now.get((source[0], source[2]))
                self._begin(at, Kept(name, copied.size if copied else len(request.body), now))
        elif operation in ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"):
            self._upload(request, answer, now, good=good)
        elif operation == "RestoreObject":
            self._restore(at, here, answer, now, thaw)
        elif operation in LISTS:
            self._spend(now, "requests", LIST)
        elif operation == "GetObject" and good:
            self._spend(now, "requests", GET[here])
            self._spend(now, "retrieval", len(answer.body) / GB * READ_GB.get(here, 0.0))
        else:
            self._spend(now, "requests", GET["STANDARD"])

    def bill(self, since: float, until: float) -> Bill:
        """Return what was used from one moment until another one, in the clock's seconds."""
        bill = Bill(*_storage(self.kept, since, until))
        for one in self._copies:
            seconds = max(0.0, min(one.until, until) - max(one.since, since))
            bill.copies += seconds / MONTH * one.size / GB * STORAGE["STANDARD"]
        for at, what, amount in self._spent:
            if since <= at < until:
                setattr(bill, what, getattr(bill, what) + amount)
        return bill

    def _spend(self, now: float, what: str, amount: float) -> None:
        self._spent.append((now, what, amount))

    def _begin(self, at: tuple[str, str], kept: Kept) -> None:
        self._end(at, kept.since)
        self._now[at] = kept
        self.kept.append(kept)

    def _end(self, at: tuple[str, str], now: float) -> None:
        if (before := self._now.pop(at, None)) is not None:
            before.until = now

    def _upload(self, request: S3Request, answer: Answer, now: float, *, good: bool) -> None:
        number = request.query.get("uploadId", "")
        if request.operation == "CompleteMultipartUpload":
            name, parts = self._uploads.get(number, ("STANDARD", {}))
            self._spend(now, "uploads", PUT[name])
            if good and number in self._uploads:
                self._begin((request.bucket, request.key), Kept(name, sum(parts.values()), now))
            return
        self._spend(now, "uploads", PUT["STANDARD"])
        if good and request.operation == "UploadPart":
            self._uploads[number][1][int(request.query["partNumber"])] = len(request.body)
        elif good:
            root = ElementTree.fromstring(answer.body)
            name = next(one.text or "" for one in root.iter() if one.tag.endswith("UploadId"))
            self._uploads[name] = (request.headers.get("x-amz-storage-class", "STANDARD"), {})

    def _restore(self, at: tuple[str, str], here: str, answer: Answer, now: float, thaw: Any) -> None:
        """A first request, or a faster one, is billed by its tier with all bytes; one that prolongs, as a request."""
        if answer.status not in (200, 202) or thaw is None:
            self._spend(now, "requests", GET["STANDARD"])
            return
        each, gigabyte = RETRIEVAL[here, thaw.tier]
        size = self._now[at].size
        self._spend(now, "retrieval", each + (size / GB * gigabyte if answer.status == 202 else 0.0))
        of_it = [one for one in self._copies if one.of is self._now[at]]
        if answer.status == 200:
            of_it[-1].until = thaw.expires_at
            return
        if of_it and of_it[-1].since > now:  # a faster tier: the copy comes earlier, and once
            self._copies.remove(of_it[-1])
        self._copies.append(_Copy(self._now[at], size, thaw.ready_at, thaw.expires_at))


class VaultMeter:
    """The meter of one emulated vault: the archives, jobs and requests that the emulator remembers."""

    def __init__(self, vault: VaultEmulator) -> None:
        self._vault = vault

    def bill(self, since: float, until: float) -> Bill:
        """Return what was used from one moment until another one; requests are counted since they were forgotten."""
        rows = self._vault.store.all("SELECT size, created, deleted FROM archives")
        kept = [Kept("VAULT", row["size"], row["created"], row["deleted"]) for row in rows]
        bill = Bill(*_storage(kept, since, until))
        sent = self._vault.count("UploadArchive") + self._vault.count("UploadMultipartPart")
        bill.uploads = sent * PUT["VAULT"]
        jobs = self._vault.store.all(
            "SELECT j.tier, a.size FROM jobs j JOIN archives a ON a.id = j.archive"
            " WHERE j.created >= ? AND j.created < ?",
            since,
            until,
        )
        for job in jobs:
            each, gigabyte = RETRIEVAL["VAULT", job["tier"] or "Standard"]
            bill.retrieval += each + job["size"] / GB * gigabyte
        return bill
