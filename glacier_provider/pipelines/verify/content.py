"""The content of what sleeps in S3 is verified by S3 itself: nothing is retrieved, nothing is downloaded.

`request_checksums` has S3 Batch Operations compute the checksums of all archives that are due, one job for each kind of
checksum in each store; `poll_checksums` looks whether they are done; `read_checksums` compares what they report. Each
can be killed and repeated: a job is in the catalog before it is asked for, and its token names the same one again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.batch import Due, ReportCompared, Told
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.cost import Stored, checksums_cost, money
from glacier_provider.core.proof import Finding, few_enough
from glacier_provider.core.status import BatchJobState
from glacier_provider.core.store_uri import store_class
from glacier_provider.core.text import counted, readable_size
from glacier_provider.errors import ArchiveCorrupt, ProofFailed, StoreError
from glacier_provider.stores.contract import Stores
from glacier_provider.stores.s3.batch import CHECKSUMS, ROLE_HINT, BatchOperations, JobTold
from glacier_provider.stores.s3.report import TaskResult

log = logging.getLogger(__name__)

Batches = Callable[[str], BatchOperations]

_STEP = "content"
#: A report may come some time after its job has ended; after this it does not come any more.
REPORT_DELAY = timedelta(hours=1)
#: So many archives that a report says are not there are looked for.
LOOKED_FOR = 1000


#: States in which a job stays until a person does something, in S3's console.
WAITS = {"Suspended": "waits for a person to confirm it", "Paused": "is paused", "Pausing": "is paused"}


@dataclass(frozen=True, slots=True)
class Checking:
    """How far the jobs of a verification are: still `pending`, and with reports to be read. `stopped` says of each
    that goes on only when a person does something.
    """

    pending: int
    ended: int
    done_objects: int = 0
    objects: int = 0
    stopped: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        return self.pending == 0

    def __str__(self) -> str:
        told = f"{self.done_objects:,} of {self.objects:,} checksums"
        return "; ".join((told, *self.stopped))


def stopped_jobs(jobs: Iterable[Row]) -> tuple[str, ...]:
    """Return in words which jobs stay as they are until a person does something, as AWS told of them last."""
    told = ((job["job_id"], job["told"].get("status")) for job in jobs if job["state"] == BatchJobState.CREATED)
    return tuple(f"the job {job_id} {WAITS[status]}" for job_id, status in told if status in WAITS)


def due_before(application: Application, *, everything: bool = False) -> datetime:
    """Return the moment before which an archive must have been verified, or written, to be due."""
    now = datetime.now(UTC)
    return now if everything else now - timedelta(days=application.verify.days)


def estimated(application: Application, due: Sequence[Due]) -> str:
    """Return in a sentence what the checksums of these archives cost, by the application's prices."""
    prices = application.price_table
    total = checksums_cost(_stored(due), prices)
    archives, size = sum(one.archives for one in due), readable_size(sum(one.bytes for one in due))
    return (
        f"{counted(len(due), 'job')} for {counted(archives, 'archive')} ({size}): "
        f"{money(total, prices.currency)} by {prices.name}."
    )


def _stored(due: Iterable[Due]) -> Iterator[Stored]:
    return (Stored(store_class(one.store_uri), one.archives, one.bytes) for one in due)


def request_checksums(
    application: Application,
    proof_id: int,
    *,
    catalog: Catalog,
    batches: Batches,
    before: datetime,
) -> list[int]:
    """Have S3 compute the checksums of what is due; return the catalog's ids of the jobs.

    What an earlier verification asked for and did not read is gone on with, and not asked for again. Raise ProofFailed
    when it would cost more than `verify.budget`.
    """
    with catalog.alone(f"the checksums of {application.name}"):
        if catalog.batch.take_over(proof_id):
            log.info("Jobs that an earlier verification asked for are gone on with.")
        jobs = catalog.batch.of_proof(proof_id)
        if not jobs:
            due = catalog.batch.due(before)
            _check_budget(application, due)
            log.info("%s: %s", application.name, estimated(application, due))
            catalog.proofs.note(proof_id, _STEP, figures={"estimate": estimated(application, due)})
            with catalog.transaction():
                for one in due:
                    catalog.batch.plan(proof_id, one, operation=CHECKSUMS, before=before)
            jobs = catalog.batch.of_proof(proof_id)
        for job in jobs:
            if job["state"] == BatchJobState.PLANNED:
                _request(application, proof_id, job, catalog=catalog, batch=batches(job["store_uri"]))
        return [job["id"] for job in jobs]


def _check_budget(application: Application, due: Sequence[Due]) -> None:
    budget = application.verify.budget
    if budget is not None and checksums_cost(_stored(due), application.price_table) > budget:
        raise ProofFailed(
            f"{estimated(application, due)} verify.budget is {budget:g}: nothing was asked for.",
            hint="Raise the budget, or verify.days, so that less is due at once.",
        )


def _request(application: Application, proof_id: int, job: Row, *, catalog: Catalog, batch: BatchOperations) -> None:
    """Write the manifest unless it is known to be there, then create the job: with its token, however often."""
    etag = job["manifest_etag"]
    if etag is None:
        with catalog.transaction():
            etag, objects = batch.write_manifest(job["token"], catalog.batch.keys_of(job))
        if objects == 0:
            catalog.batch.failed(job["id"], "Nothing was due any more.")
            return
        catalog.batch.manifest_written(job["id"], etag, objects)
    operation = {CHECKSUMS: {"ChecksumAlgorithm": "SHA256", "ChecksumType": job["variant"]}}
    what = f"glacier-provider: verification {proof_id} of {application.name}"
    aws_id = batch.create(job["token"], etag, operation, what)
    catalog.batch.created(job["id"], aws_id)
    log.info("Job %s computes the checksums of %s.", aws_id, job["store_uri"])


def poll_checksums(application: Application, proof_id: int, *, catalog: Catalog, batches: Batches) -> Checking:
    """Ask AWS about the jobs of a verification; nothing changes but what the catalog says of them."""
    pending = ended = done = objects = 0
    for job in catalog.batch.of_proof(proof_id):
        objects += job["objects"] or 0
        if job["state"] == BatchJobState.PLANNED:
            pending += 1
        elif job["state"] == BatchJobState.CREATED:
            told = batches(job["store_uri"]).describe(job["job_id"])
            if told is not None:
                catalog.batch.told(job["id"], told.as_dict())
                done += told.succeeded + told.failed
            if told is not None and not told.ended:
                pending += 1
            else:
                ended += 1
    log.debug(
        "Verification %d of %s: %s pending, %d ended.", proof_id, application.name, counted(pending, "job"), ended
    )
    return Checking(pending, ended, done, objects, stopped_jobs(catalog.batch.of_proof(proof_id)))


def read_checksums(
    application: Application, proof_id: int, *, catalog: Catalog, batches: Batches, stores: Stores
) -> Checking:
    """Compare what ended jobs report with the catalog, and delete their manifests and reports.

    What is not as it was written is noted as lost. A report that cannot be used is a finding. Return what is still
    pending: a report may come later than its job ends.
    """
    pending = ended = 0
    with catalog.alone(f"the checksums of {application.name}"):
        for job in catalog.batch.of_proof(proof_id):
            if job["state"] == BatchJobState.CREATED:
                if _read(job, catalog=catalog, batch=batches(job["store_uri"]), stores=stores):
                    ended += 1
                else:
                    pending += 1
        jobs = catalog.batch.of_proof(proof_id)
        left = clear_jobs(catalog=catalog, batches=batches)
        catalog.proofs.note(proof_id, _STEP, figures=_figures(catalog, proof_id, jobs), findings=_findings(jobs, left))
    return Checking(pending, ended)


def _read(job: Row, *, catalog: Catalog, batch: BatchOperations, stores: Stores) -> bool:
    """Read the report of one job; return whether the job is over for us."""
    told = batch.describe(job["job_id"])
    if told is None:
        catalog.batch.failed(job["id"], f"AWS does not know the job {job['job_id']} any more.")
        return True
    if not told.ended:
        return False
    why = None if told.error is None else f"The job {job['job_id']} is {told.status}: {told.error}"
    try:
        results = batch.results(job["token"], job["job_id"], most=job["objects"] or 0)
    except ArchiveCorrupt as error:
        catalog.batch.failed(job["id"], "; ".join(filter(None, [why, error.message])))
        return True
    if results is None:
        if why is None and told.ended_at is not None and datetime.now(UTC) - told.ended_at < REPORT_DELAY:
            return False
        catalog.batch.failed(job["id"], why or f"The job {job['job_id']} left no report.")
        return True
    try:
        _compare(job, told, why, results, catalog=catalog, stores=stores)
    except ArchiveCorrupt as error:
        catalog.batch.failed(job["id"], "; ".join(filter(None, [why, error.message])))
    return True


def _compare(
    job: Row, told: JobTold, why: str | None, results: Iterator[TaskResult], *, catalog: Catalog, stores: Stores
) -> None:
    """All that a report tells comes into the catalog at once, or nothing of it."""
    with catalog.transaction():
        found = catalog.batch.compare(job, _rows(results, job["variant"]))
        untold, untold_names = catalog.batch.untold(job)
        believed = is_plausible(found)
        lost = list(found.differing.ids) if believed else []
        gone = _really_gone(job, found, catalog=catalog, stores=stores)
        how = f"S3 computed another checksum of it (job {job['job_id']}): its content is not what was written."
        catalog.lost.note(lost, how)
        catalog.batch.note_corrupt(lost, job["proof_id"])
        catalog.lost.note(gone, f"S3 did not find it (job {job['job_id']}).")
        figures = {
            **told.as_dict(),
            "matched": found.matched,
            "differing": found.differing.count,
            "doubtful": 0 if believed else found.differing.count,
            "doubtful_names": [] if believed else list(found.differing.names),
            "gone": found.gone.count,
            "failed_by": {code: [one.count, list(one.names[:20])] for code, one in list(found.failed.items())[:20]},
            "strangers": found.strangers,
            "untold": untold,
            "untold_names": untold_names,
        }
        catalog.batch.read(job["id"], figures, why)


def is_plausible(found: ReportCompared) -> bool:
    """Return whether archives are to be called lost that a report tells another checksum of.

    Stores lose few of many. Where not one is as it was written, or more than ten and a tenth, it is likelier that
    something else was compared: nothing is called lost then, and a person looks.
    """
    differing = found.differing.count
    return found.matched > 0 and few_enough(differing, of=found.matched + differing)


def _really_gone(job: Row, found: ReportCompared, *, catalog: Catalog, stores: Stores) -> list[int]:
    """Return the archives that the store itself does not have either, of those that a report says are not there."""
    ids = list(found.gone.ids[:LOOKED_FOR])
    if not ids:
        return []
    keys = catalog.batch.keys(ids)
    there = {one.key for one in stores(job["store_uri"]).described(list(keys.values()))}
    return [archive_id for archive_id, key in keys.items() if key not in there]


def _rows(results: Iterator[TaskResult], variant: str) -> Iterator[Told]:
    for one in results:
        right = one.sha256 is not None and one.kind == variant
        code = one.code or ("" if right else "AnotherChecksumType")
        yield one.key, one.status, "" if right else code, one.sha256 if right else None


def clear_jobs(*, catalog: Catalog, batches: Batches) -> list[str]:
    """Delete manifests and reports of jobs that are over; return the keys of what stays, and why as far as it is known.

    A store that cannot be reached just now is cleared by the next verification.
    """
    left: list[str] = []
    for job in catalog.batch.uncleared():
        try:
            kept = batches(job["store_uri"]).clear(job["token"])
        except StoreError as error:
            log.warning("The manifest and report of a job stay in %s for now: %s", job["store_uri"], error)
            continue
        left += kept
        if not kept:
            catalog.batch.cleared(job["id"])
    return left


def _figures(catalog: Catalog, proof_id: int, jobs: Sequence[Row]) -> dict[str, Any]:
    before = catalog.proofs.get(proof_id)["figures"].get(_STEP, {})
    sums = {name: sum(job["told"].get(name, 0) for job in jobs) for name in ("matched", "differing", "gone", "untold")}
    return {
        **{name: before[name] for name in ("estimate",) if name in before},
        "jobs": len(jobs),
        "asked": sum(job["objects"] or 0 for job in jobs),
        "bytes": sum(int(job["bytes"] or 0) for job in jobs),
        **sums,
        "pending": sum(job["state"] in (BatchJobState.PLANNED, BatchJobState.CREATED) for job in jobs),
    }


def _findings(jobs: Sequence[Row], left: Sequence[str]) -> Iterator[Finding]:
    for job in jobs:
        yield from _of_job(job, job["told"])
    if left:
        told = "Manifests and reports that may not be deleted, by a lock or for want of permission:"
        yield Finding("left_behind", told, len(left), tuple(left[:20]), grave=False)


def _of_job(job: Row, told: Mapping[str, Any]) -> Iterator[Finding]:
    uri = job["store_uri"]
    if job["error"] and job["objects"]:
        hint = f" {ROLE_HINT}" if "AccessDenied" in job["error"] or "forbidden" in job["error"] else ""
        yield Finding("job_failed", f"Checksums of {uri}: {job['error'].rstrip('.')}.{hint}")
    if told.get("doubtful"):
        words = (
            f"S3 told other checksums of {counted(told['doubtful'], 'archive')} in {uri}: too many to be believed, "
            "none is called lost. Bring one back and look:"
        )
        yield Finding("doubtful", words, told["doubtful"], tuple(told["doubtful_names"]))
    for code, (count, names) in told.get("failed_by", {}).items():
        hint = f" {ROLE_HINT}" if "AccessDenied" in code else ""
        words = f"S3 could not compute the checksum of {counted(count, 'archive')} in {uri} ({code}).{hint}"
        yield Finding("not_computed", words, count, tuple(names))
    if told.get("untold"):
        names = told.get("untold_names", [])
        words = f"The report tells nothing of {counted(told['untold'], 'archive')} in {uri}:"
        yield Finding("not_told", words, told["untold"], tuple(names))
    if told.get("strangers"):
        words = f"The report tells of {counted(told['strangers'], 'object')} in {uri} that it was not asked about."
        yield Finding("strangers", words, told["strangers"], grave=False)
