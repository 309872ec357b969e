"""Retrieval jobs of a vault: begun once, joined, and looked after many at a time.

A job cannot be named by its caller, cannot be cancelled, and each InitiateJob makes (and bills) another
(https://docs.aws.amazon.com/amazonglacier/latest/dev/api-initiate-job-post.html). So before a job is begun, and after
every reply that was lost, the list of jobs is searched for one that serves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from glacier_provider.core.archive import Location
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.core.tiers import Tier
from glacier_provider.errors import (
    ArchiveMissing,
    NotInVault,
    OutcomeUnknown,
    RequestRejected,
    RetrievalRefused,
    StoreUnavailable,
)
from glacier_provider.stores.contract import Retrieval, RetrievalReport
from glacier_provider.stores.vault.calls import Vault, may_have_happened, pause

OUTPUT_LIFE = timedelta(hours=24)  # at least that long: Describe Job, Get Job Output
_TIERS: tuple[str, ...] = tuple(Tier)  # from the fastest to the slowest
ARCHIVE = "ArchiveRetrieval"
INVENTORY = "InventoryRetrieval"
MAX_TOKEN = 1024

#: A joined job must have so much of its life left, else a new one is begun: an offer that ends at once helps nobody.
#: Longer than the margin with which a restore renews its offers, or a renewal would join what it is to replace.
JOIN_MARGIN = timedelta(hours=2)
#: The list of jobs is read again before a job is begun when the last reading is older.
KNOWN_SECONDS = 300.0
#: Up to so many jobs are asked for one by one; a page of the list holds 50.
_FEW = 3
#: A walk through the list is gone on with when the next question comes this soon.
WALK_IDLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Job:
    """One job as Describe Job and List Jobs tell it. `status` is InProgress, Succeeded or Failed."""

    id: str
    action: str
    status: str
    archive_id: str | None = None
    tier: str | None = None
    token: str | None = None
    message: str = ""
    whole: bool = True
    completed_at: datetime | None = None
    inventory_size: int | None = None
    parameters: Mapping[str, Any] | None = None

    @classmethod
    def from_reply(cls, reply: Mapping[str, Any]) -> Job:
        size, span = reply.get("ArchiveSizeInBytes"), reply.get("RetrievalByteRange")
        return cls(
            id=str(reply["JobId"]),
            action=str(reply["Action"]),
            status=str(reply["StatusCode"]),
            archive_id=reply.get("ArchiveId"),
            tier=reply.get("Tier"),
            token=reply.get("JobDescription"),
            message=reply.get("StatusMessage") or "",
            whole=span is None or size is None or span == f"0-{size - 1}",
            completed_at=datetime.fromisoformat(done) if (done := reply.get("CompletionDate")) else None,
            inventory_size=reply.get("InventorySizeInBytes"),
            parameters=reply.get("InventoryRetrievalParameters"),
        )

    @property
    def expires_at(self) -> datetime | None:
        """Return until when the output can be read at least; None while there is none."""
        if self.status != "Succeeded" or self.completed_at is None:
            return None
        return self.completed_at + OUTPUT_LIFE

    def serves(self, tier: str, now: datetime) -> bool:
        """Return whether the job gives, or will give, a whole archive as fast as this tier would."""
        if self.action != ARCHIVE or not self.whole:
            return False
        if self.expires_at is not None:
            return self.expires_at > now + JOIN_MARGIN
        return self.status == "InProgress" and _TIERS.index(self.tier or "Standard") <= _TIERS.index(tier)

    def report(self, key: str, now: datetime) -> RetrievalReport:
        if self.status == "InProgress":
            return RetrievalReport(key, RetrievalStatus.PENDING)
        if self.expires_at is None:
            return RetrievalReport(key, RetrievalStatus.AVAILABLE, failure=self.message or "The job failed.")
        if self.expires_at <= now:
            return RetrievalReport(key, RetrievalStatus.AVAILABLE)
        return RetrievalReport(key, RetrievalStatus.READY, self.expires_at)


def list_jobs(vault: Vault, **filters: str) -> Iterator[list[Job]]:
    """Yield the pages of a vault's jobs; `filters` are `statuscode` and `completed`."""
    for page in vault.pages("ListJobs", "JobList", **filters):
        yield [Job.from_reply(entry) for entry in page]


def describe_job(vault: Vault, job_id: str) -> Job | None:
    """Return a job, or None when the vault does not know it (any longer)."""
    try:
        return Job.from_reply(vault.ask("DescribeJob", jobId=job_id))
    except NotInVault:
        return None


def printable(token: str) -> str:
    """Return a token as a job description takes it: at most 1,024 characters of printable ASCII."""
    text = token.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(char if char.isprintable() else "?" for char in text)[:MAX_TOKEN]


class ArchiveJobs:
    """The archive retrievals of one vault. Its methods may be called from several threads."""

    def __init__(self, vault: Vault, *, now: Callable[[], datetime]) -> None:
        self._vault = vault
        self._now = now
        self._known: dict[str, list[str]] = {}  # ids of jobs by archive: what the list of jobs showed
        self._begun: dict[str, str] = {}  # and what was begun or joined here, whether the list shows it yet or not
        self._known_since: float | None = None
        self._knowing = threading.Lock()
        self._lanes = tuple(threading.Lock() for _ in range(64))
        self._walk: _Walk | None = None
        self._walking = threading.Lock()

    # --- beginning ---

    def request(self, location: Location, *, tier: str, token: str) -> str:
        """Return the id of a job for the archive: one that runs or is ready already, or a new one.

        Raise ArchiveMissing, RetrievalRefused; OutcomeUnknown when a job may have been begun and could not be looked
        for: the next request finds it.
        """
        key = location.key
        with self._lanes[hash(key) % len(self._lanes)]:
            joined = self._serving(key, tier)
            job_id = joined.id if joined is not None else self._begin(key, tier, printable(token))
            with self._knowing:
                self._begun[key] = job_id
            return job_id

    def find(self, key: str) -> Job | None:
        """Return a job that gives an archive, or None."""
        return self._serving(key, _TIERS[-1])

    def _serving(self, key: str, tier: str) -> Job | None:
        for job_id in self._jobs_of(key):
            job = describe_job(self._vault, job_id)  # it may have failed or expired since
            if job is not None and job.serves(tier, self._now()) and self._is_offered(job):
                return job
        return None

    def _is_offered(self, job: Job) -> bool:
        """Whether what a job brought is really there: a job can outlive its output, and then brings nothing more."""
        if job.status != "Succeeded":
            return True
        try:
            self._vault.ask("GetJobOutput", job.archive_id or "", jobId=job.id, range="bytes=0-0")["body"].close()
        except NotInVault:
            return False
        return True

    def _jobs_of(self, key: str) -> list[str]:
        """Return the ids of jobs that may serve an archive, the newest first."""
        with self._knowing:
            if self._known_since is None or time.monotonic() - self._known_since > KNOWN_SECONDS:
                self._known = self._listed()
                self._known_since = time.monotonic()
            listed = self._known.get(key, [])
            begun = self._begun.get(key)
            return ([begun] if begun is not None else []) + [job_id for job_id in reversed(listed) if job_id != begun]

    def _listed(self) -> dict[str, list[str]]:
        known: dict[str, list[str]] = {}
        for page in list_jobs(self._vault):
            for job in page:
                if job.archive_id is not None and job.status != "Failed":
                    known.setdefault(job.archive_id, []).append(job.id)
        return known

    def forget(self) -> None:
        """Have the list of jobs read again before it is used."""
        with self._knowing:
            self._known_since = None

    def _begin(self, key: str, tier: str, token: str) -> str:
        """Begin a job. It is begun again only after a refusal to do it now, or when the list shows that it was not."""
        for attempt in range(1, self._vault.attempts + 1):
            try:
                return self._send(key, tier, token)
            except StoreUnavailable as exc:
                if may_have_happened(exc):
                    self.forget()
                    if (begun := self._search(key, tier, exc)) is not None:
                        return begun.id
                if attempt == self._vault.attempts:
                    raise
            pause(attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _search(self, key: str, tier: str, lost: StoreUnavailable) -> Job | None:
        try:
            return self._serving(key, tier)
        except StoreUnavailable:
            raise OutcomeUnknown(f"{lost.message} The list of jobs could not be read either.") from lost

    def _send(self, key: str, tier: str, token: str) -> str:
        parameters = {"Type": "archive-retrieval", "ArchiveId": key, "Tier": tier, "Description": token}
        if self._vault.uri.sns_topic is not None:
            parameters["SNSTopic"] = self._vault.uri.sns_topic
        try:
            return str(self._vault.once("InitiateJob", key, jobParameters=parameters)["jobId"])
        except NotInVault as exc:
            raise ArchiveMissing(f"There is no archive {self._vault.url(key)}.") from exc
        except RequestRejected as exc:
            raise _refusal(exc, self._vault.url(key)) from exc

    # --- looking ---

    def reports(self, retrievals: Sequence[Retrieval]) -> list[RetrievalReport]:
        """Return one report for each, in their order.

        The list of jobs, 50 a page, is walked until all of them were met; the next question goes on with the walk, so
        that a long list asked for in pieces is read once. A job that the list does not show is asked for by its id
        before it counts as gone: a list may lag, and what counts as gone is paid for again.
        """
        if len(retrievals) <= _FEW:
            return [self._report(retrieval, None) for retrieval in retrievals]
        with self._walking:
            walk, self._walk = self._walk, None  # kept only if all goes well
            fresh = walk is None or walk.is_old()
            walk = _Walk(self._vault) if walk is None or fresh else walk
            found: list[RetrievalReport] = []
            for retrieval in retrievals:
                job = walk.take(retrieval.job_id)
                if job is None and not fresh:
                    walk, fresh = _Walk(self._vault), True
                    job = walk.take(retrieval.job_id)
                found.append(self._report(retrieval, job))
            self._walk = walk
            return found

    def _report(self, retrieval: Retrieval, job: Job | None) -> RetrievalReport:
        key = retrieval.location.key
        if job is None:
            job = describe_job(self._vault, retrieval.job_id) if retrieval.job_id is not None else self.find(key)
        return job.report(key, self._now()) if job is not None else RetrievalReport(key, RetrievalStatus.AVAILABLE)


class _Walk:
    """One walk through the list of jobs. Each job is given out once: asked for again, it has to be looked at again."""

    def __init__(self, vault: Vault) -> None:
        self._pages = list_jobs(vault)
        self._met: dict[str, Job] = {}
        self._touched = time.monotonic()

    def is_old(self) -> bool:
        return time.monotonic() - self._touched > WALK_IDLE_SECONDS

    def take(self, job_id: str | None) -> Job | None:
        """Return a job that was not given out yet, or None when the list ends without it."""
        if job_id is None:
            return None
        while job_id not in self._met:
            page = next(self._pages, None)
            if page is None:
                return None
            self._met.update((job.id, job) for job in page)
        self._touched = time.monotonic()
        return self._met.pop(job_id)


def _refusal(error: RequestRejected, url: str) -> ArchiveMissing | RetrievalRefused:
    """An archive of another vault is answered with "Invalid vault name"; everything else is about the wish."""
    if "invalid vault name" in error.message.lower():
        return ArchiveMissing(f"There is no archive {url}: its id belongs to another vault.")
    return RetrievalRefused(f"The vault refused to retrieve {url}. {error.message}")
