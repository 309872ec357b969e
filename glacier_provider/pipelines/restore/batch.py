"""One job of S3 Batch Operations asks for very many archives: instead of a request each, and for a little more money.

A job is planned with the intents of all that it asks for, in one transaction; then its manifest is written, then it
is created by its token, however often: it is one job. It is followed by the looks at what is waited for; when it has
ended, its report says what it asked for, and the rest is asked for one by one. An archive has one intent at a time, of
a job or of a request: none is asked for by both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.batch import Told
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.plan import BATCH_TIERS
from glacier_provider.core.status import BY_BATCH_JOB, BatchJobState, RestoreState
from glacier_provider.core.text import counted
from glacier_provider.errors import ArchiveCorrupt, ConfigurationError, StoreError, StoreUnavailable
from glacier_provider.pipelines.verify.content import REPORT_DELAY, WAITS, Batches
from glacier_provider.stores.s3.batch import RESTORES, ROLE_HINT, BatchOperations, JobTold
from glacier_provider.stores.s3.report import TaskResult

log = logging.getLogger(__name__)

_OUT_OF_REACH = (
    "AWS may have the job: the task is tried again. Where S3 Control cannot be reached from this worker at all (a "
    "gateway endpoint of a VPC does not lead to it), set retrieval_batch: never and clear the task: each archive is "
    "asked for by itself."
)


def ask_by_batch(
    application: Application,
    restore_id: int,
    plan: dict[str, Any],
    *,
    catalog: Catalog,
    batches: Batches,
    may_go_on: Callable[[], None],
) -> int:
    """Have jobs ask for what the plan says that they ask for; return how many archives that are.

    Once for all that a restore needs of a store: whichever of its tasks comes first does it for all of them. A job that
    AWS refuses is given up; a request each asks for its archives then. So is one that was planned and is wanted no
    longer: by another tier now, or by no job.
    """
    asked = 0
    with catalog.restores.jobs_in_turn(restore_id):
        _settle_planned(application, restore_id, plan, catalog=catalog, batches=batches, may_go_on=may_go_on)
        if plan["tier"] not in BATCH_TIERS or not application.may_ask_by_batch:
            return 0
        done = catalog.restores.get(restore_id)["outcome"].get("batch", {})
        for uri in plan.get("by_batch") or ():
            if uri not in done:
                may_go_on()
                catalog.batch.plan_retrievals(restore_id, uri, tier=plan["tier"], days=plan["days"])
        for job in catalog.batch.open_retrievals():
            if job["state"] == BatchJobState.PLANNED and job["restore_id"] == restore_id:
                asked += _create(application, job, catalog=catalog, batches=batches, may_go_on=may_go_on)
    return asked


def _settle_planned(
    application: Application,
    restore_id: int,
    plan: dict[str, Any],
    *,
    catalog: Catalog,
    batches: Batches,
    may_go_on: Callable[[], None],
) -> None:
    """Go on with the jobs of others that died before they knew whether AWS has them; with those of a restore that is
    over, and with those that are wanted no longer, only if AWS has them.
    """
    for job in catalog.batch.open_retrievals():
        if job["state"] != BatchJobState.PLANNED:
            continue
        is_own = job["restore_id"] == restore_id
        if not application.may_ask_by_batch:
            why = "No job is to ask for it."
        elif is_own and not _is_as_planned(job, plan):
            why = "It is to be asked for otherwise than by the job that was planned."
        elif job["restore_state"] not in (RestoreState.PLANNED, RestoreState.RUNNING) and not is_own:
            why = f"Restore {job['restore_id']} ended before it was asked for."
        else:
            if not is_own:
                _create(application, job, catalog=catalog, batches=batches, may_go_on=may_go_on)
            continue
        if found := _known_to_aws(application, job, batches):
            catalog.batch.retrievals_created(job, found)
        else:
            catalog.batch.release_retrievals(job, why)
            _clear(job, batches, catalog)


def _is_as_planned(job: Row, plan: dict[str, Any]) -> bool:
    wished = (job["variant"], job["days"]) == (plan["tier"], plan["days"])
    return wished and job["store_uri"] in (plan.get("by_batch") or ())


def _known_to_aws(application: Application, job: Row, batches: Batches) -> str | None:
    """Return the id of a job that was planned, None when AWS has not got it.

    Where no jobs are to be made, not to be told is none: whatever it asks for is joined by the requests that follow.
    """
    if job["manifest_etag"] is None:
        return None  # it is created after that was noted
    try:
        return batches(job["store_uri"]).find(job["token"])
    except (StoreError, ConfigurationError) as error:
        if application.may_ask_by_batch:
            raise
        log.warning("Whether AWS has a job of restore %s is not known: %s", job["restore_id"], error.message)
        return None


def _create(
    application: Application, job: Row, *, catalog: Catalog, batches: Batches, may_go_on: Callable[[], None]
) -> int:
    """Write the manifest, unless it is known to be there, and create the job by its token; return its archives."""
    try:
        batch = batches(job["store_uri"])
        etag, objects = job["manifest_etag"], job["objects"]
        if etag is None:
            with catalog.transaction():
                etag, objects = batch.write_manifest(job["token"], catalog.batch.keys_of_retrievals(job))
            if objects == 0:
                catalog.batch.failed(job["id"], "Nothing was to be asked for any more.")
                return 0
            catalog.batch.manifest_written(job["id"], etag, objects)
        may_go_on()
        operation = {RESTORES: {"ExpirationInDays": job["days"], "GlacierJobTier": job["variant"].upper()}}
        what = f"glacier-provider: restore {job['restore_id']} of {application.name}"
        aws_id = batch.create(job["token"], etag, operation, what)
    except StoreUnavailable as error:  # AWS may have it: the next try finds out
        raise type(error)(error.message, hint=_OUT_OF_REACH) from error
    except (StoreError, ConfigurationError) as error:
        log.warning("No job can ask for the archives; each is asked for by itself. %s %s", error.message, ROLE_HINT)
        catalog.batch.release_retrievals(job, error.message)
        _clear(job, batches, catalog)
        return 0
    catalog.batch.retrievals_created(job, aws_id)
    log.info("Job %s asks for %s of %s.", aws_id, counted(objects, "archive"), job["store_uri"])
    return int(objects)


def open_jobs(catalog: Catalog) -> dict[str, Row]:
    """Return the jobs that may still ask for archives, by what those archives' retrievals are known by."""
    jobs = catalog.batch.open_retrievals()
    return {BY_BATCH_JOB + job["token"]: job for job in jobs if job["state"] == BatchJobState.CREATED}


def settle_ended(jobs: dict[str, Row], *, catalog: Catalog, batches: Batches | None) -> StoreError | None:
    """Ask AWS about jobs; of those that have ended, take what they report. To be called after a look at all that is
    waited for: what was asked for is known then, whatever a report says.

    Return why one could not be asked about, if so: what can be read already does not wait for that.
    """
    trouble: StoreError | None = None
    for job in jobs.values() if batches is not None else ():
        assert batches is not None
        try:
            batch = batches(job["store_uri"])
            if _settle_ended(job, batch, catalog):
                _clear(job, batches, catalog)
        except ConfigurationError as error:
            _give_up(job, error.message, catalog)
        except StoreError as error:
            trouble = trouble or error
    return trouble


def _settle_ended(job: Row, batch: BatchOperations, catalog: Catalog) -> bool:
    """Do it for one job; return whether it has ended, and its manifest and report are no longer needed."""
    told = batch.describe(job["job_id"])
    if told is None:
        _give_up(job, f"AWS does not know the job {job['job_id']} any more.", catalog)
        return False
    catalog.batch.told(job["id"], told.as_dict())
    if told.status in WAITS:
        log.warning("The job %s, which asks for archives, %s.", job["job_id"], WAITS[told.status])
    if not told.ended:
        return False
    why = None if told.error is None else f"The job {job['job_id']} is {told.status}: {told.error}"
    try:
        results = batch.results(job["token"], job["job_id"], most=job["objects"] or 0)
        if results is not None:
            _settle(job, told, why, results, catalog)
        elif why is not None or _is_late(told):
            _give_up(job, why or f"The job {job['job_id']} left no report.", catalog)
        else:
            return False  # a report may come some time after its job has ended
    except ArchiveCorrupt as error:
        _give_up(job, "; ".join(filter(None, [why, error.message])), catalog)
    return True


def _settle(job: Row, told: JobTold, why: str | None, results: Iterator[TaskResult], catalog: Catalog) -> None:
    missed, failures = catalog.batch.settle_retrievals(job, _rows(results), told.as_dict(), why)
    if missed or why:
        codes = ", ".join(f"{code or 'no code'}: {count}" for code, count in failures.items())
        hint = ROLE_HINT if "AccessDenied" in f"{codes} {why}" else ""
        log.warning(
            "The job %s did not ask for %s (%s); each is asked for by itself. %s %s",
            *(job["job_id"], counted(missed, "archive"), codes or "they are not in its report", why or "", hint),
        )


def _rows(results: Iterator[TaskResult]) -> Iterator[Told]:
    return ((one.key, one.status, one.code, None) for one in results)


def _is_late(told: JobTold) -> bool:
    return told.ended_at is None or datetime.now(UTC) - told.ended_at >= REPORT_DELAY


def _give_up(job: Row, error: str, catalog: Catalog) -> None:
    missed = catalog.batch.release_retrievals(job, error)
    log.warning("%s %s are asked for one by one.", error, counted(missed, "archive"))


def _clear(job: Row, batches: Batches, catalog: Catalog) -> None:
    """Delete manifest and report; what stays now is deleted by the next verification."""
    try:
        if not batches(job["store_uri"]).clear(job["token"]):
            catalog.batch.cleared(job["id"])
    except (StoreError, ConfigurationError) as error:
        log.warning("The manifest and report of a job stay in %s for now: %s", job["store_uri"], error)
