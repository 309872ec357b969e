"""`poll_retrievals`: what was asked for is waited for, a look at a time. GlacierJobSensor and its trigger call it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.catalog.restores import EVERYTHING, RestorePage
from glacier_provider.core.archive import Amount, Location
from glacier_provider.core.status import BY_BATCH_JOB, RetrievalStatus
from glacier_provider.core.text import counted, readable_size
from glacier_provider.errors import RetrievalFailed
from glacier_provider.pipelines.restore.batch import open_jobs, settle_ended
from glacier_provider.pipelines.restore.lost import note_lost, settle_lost
from glacier_provider.pipelines.restore.request import request_retrievals
from glacier_provider.pipelines.shared.parallel import one_ahead
from glacier_provider.pipelines.verify.content import Batches
from glacier_provider.stores.contract import Retrieval, RetrievalReport, Stores, TellsEnded

log = logging.getLogger(__name__)

#: An offer that ends within this time is renewed while we wait for others.
RENEWAL_MARGIN_SECONDS = 3600.0
_READABLE = (RetrievalStatus.READY, RetrievalStatus.LOCAL)
#: A store does not always say that a retrieval failed: what was lost this often is taken as failed.
MOST_RENEWALS = 5


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a restore waits for, in archives; `failed`: ended by the store without success since the last look."""

    pending: int
    ready: int
    failed: int = 0
    renewed: int = 0

    @property
    def done(self) -> bool:
        return self.pending == 0

    def __str__(self) -> str:
        return f"{counted(self.pending, 'archive')} pending, {self.ready:,} ready"


def poll_retrievals(
    application: Application, restore_id: int, *, catalog: Catalog, stores: Stores, batches: Batches | None = None
) -> Waiting:
    """Look once at everything the restore waits for, note what is ready, and say how much is left.

    What a job of S3 Batch Operations asks for is waited for while the job goes on; with `batches` AWS is asked about
    it, and what an ended one did not ask for is asked for one by one.

    Offers that ended, or end within the hour while others are still awaited, are asked for again. Failed retrievals go
    back to `available` with the store's words and are counted; the caller decides.
    """
    failed = 0
    jobs = open_jobs(catalog)
    looked = Looked(is_news=bool(jobs))
    with closing(_looks(restore_id, catalog)) as looks:
        for look in looks:
            looked.add(look)
            for reports in _reports(restore_id, look, catalog=catalog, stores=stores):
                looked.is_news = True
                failed += take_reports(restore_id, reports, catalog=catalog, jobs=jobs)
    if not looked.is_news:
        settle_lost(restore_id, catalog=catalog)
    trouble = settle_ended(jobs, catalog=catalog, batches=batches)
    waiting = go_on_waiting(application, restore_id, failed, looked, catalog=catalog, stores=stores, batches=batches)
    if trouble is not None and not waiting.done and not waiting.failed:
        raise trouble
    return waiting


@dataclass(slots=True)
class Looked:
    """What a look at all archives of a restore has found, in archives; `is_news`: it is otherwise by now."""

    pending: int = 0
    ready: int = 0
    to_request: int = 0
    is_news: bool = False

    def add(self, look: RestorePage) -> None:
        self.pending += look.archives.get(RetrievalStatus.PENDING, 0)
        self.ready += sum(look.archives.get(status, 0) for status in _READABLE)
        self.to_request += look.to_request


def go_on_waiting(
    application: Application,
    restore_id: int,
    failed: int,
    looked: Looked | None = None,
    *,
    catalog: Catalog,
    stores: Stores,
    batches: Batches | None = None,
) -> Waiting:
    """After a look that found `failed` retrievals: renew what has to be, unless any failed; say how much is left.

    What was `looked` at is not counted again while there was no news; that nothing is left is never taken from it.
    """
    failed += len(catalog.restores.often_lost(restore_id, times=MOST_RENEWALS))
    if looked is None or looked.is_news or not looked.pending:
        looked = None
    renewed = 0
    if not failed:
        pending = looked.pending if looked else _counted(restore_id, catalog).pending
        margin = RENEWAL_MARGIN_SECONDS if pending else 0.0
        expired = catalog.restores.expire_by_clock(restore_id, margin_seconds=margin)
        if looked is None or expired or looked.to_request:
            looked = None
            renewed = _renew(application, restore_id, catalog=catalog, stores=stores, batches=batches)
    left = looked or _counted(restore_id, catalog)
    return Waiting(pending=left.pending, ready=left.ready, failed=failed, renewed=renewed)


def _counted(restore_id: int, catalog: Catalog) -> Looked:
    counts = {status: amount.archives for status, amount in catalog.restores.counts(restore_id).items()}
    ready = sum(counts.get(status, 0) for status in _READABLE)
    return Looked(counts.get(RetrievalStatus.PENDING, 0), ready)


def _looks(restore_id: int, catalog: Catalog) -> Generator[RestorePage]:
    """Yield what the catalog knows of all that the restore brings; of very many archives it is asked meanwhile for what
    comes next, on a connection of its own.
    """
    first = next(catalog.restores.looks(restore_id), None)
    if first is None:
        return
    yield first
    if first.is_full:
        with (
            catalog.beside() as beside,
            closing(one_ahead(beside.restores.looks(restore_id, after=first.page["upto"]))) as others,
        ):
            yield from others


def _reports(
    restore_id: int, look: RestorePage, *, catalog: Catalog, stores: Stores
) -> Iterator[list[tuple[Row, RetrievalReport]]]:
    """Yield what each store says of what is waited for of a page; some stores only of what is not under way."""
    for uri, keys in look.waited.items():
        store = stores(uri)
        if isinstance(store, TellsEnded):
            ended = {report.key: report for report in store.ended_retrievals(keys)}
            rows = catalog.restores.waited_for(restore_id, look, uri, list(ended)) if ended else []
            found = [(row, ended[row["key"]]) for row in rows]
        else:
            rows = catalog.restores.waited_for(restore_id, look, uri)
            mine = {row["key"]: row for row in rows}
            reports = store.retrieval_reports([retrieval_of(row) for row in mine.values()])
            found = [(mine[report.key], report) for report in reports]
        if found:
            yield found


def retrieval_of(row: Row) -> Retrieval:
    return Retrieval(Location(row["store_uri"], row["key"]), row["tier"], row["job_id"])


def take_reports(
    restore_id: int,
    reports: Iterable[tuple[Row, RetrievalReport]],
    *,
    catalog: Catalog,
    jobs: Collection[str] = (),
) -> int:
    """Note what a store says of requested retrievals; return how many it ended without success.

    What one of `jobs` asks for, or one that was made since, may not be asked for yet.

    Raise ArchiveMissing when it does not have files any more that the restore does not go on without.
    """
    lost: list[int] = []
    ready: list[tuple[int, datetime | None]] = []
    failed: list[tuple[int, str]] = []
    expired: list[Row] = []
    for row, report in reports:
        if report.status is RetrievalStatus.READY:
            ready.append((row["id"], report.expires_at))
        elif report.missing:
            lost.append(row["archive_id"])
        elif report.failure:
            failed.append((row["id"], report.failure))
            log.error("The retrieval of %s failed: %s", row["filename"], report.failure)
        elif report.status is RetrievalStatus.AVAILABLE and row["job_id"] not in jobs:
            expired.append(row)
    if any((row["job_id"] or "").startswith(BY_BATCH_JOB) for row in expired):
        since = open_jobs(catalog)  # one that another restore made after the look had begun asks for it still
        expired = [row for row in expired if row["job_id"] not in since]
    catalog.restores.retrievals_ready(ready)
    catalog.restores.retrievals_failed(failed)
    catalog.restores.retrievals_expired([row["archive_id"] for row in expired])
    note_lost(lost, restore_id, catalog=catalog)
    settle_lost(restore_id, catalog=catalog)
    return len(failed)


def _renew(
    application: Application, restore_id: int, *, catalog: Catalog, stores: Stores, batches: Batches | None
) -> int:
    """Ask again for what expired while we waited; nothing when all is pending or ready."""
    count = sum(len(page) for page in catalog.restores.archives_to_request(restore_id, EVERYTHING))
    if count == 0:
        return 0
    whole = replace(EVERYTHING, archives=count)
    asked = request_retrievals(application, restore_id, whole, catalog=catalog, stores=stores, batches=batches)
    return asked["requested"]


def raise_failed_retrievals(restore_id: int, *, catalog: Catalog) -> None:
    """Raise RetrievalFailed naming what failed."""
    rows = [row for row in catalog.restores.still_missing(restore_id) if row["error"]]
    lost = catalog.restores.often_lost(restore_id, times=MOST_RENEWALS)
    named = [f"{row['filename']}: {row['error']}" for row in rows[:5]]
    names = "; ".join(named + [f"{name}: lost {MOST_RENEWALS} times or more" for name in lost[:5]])
    raise RetrievalFailed(f"The store ended retrievals of restore {restore_id} without success: {names}.")


def describe_still_missing(restore_id: int, *, catalog: Catalog) -> str:
    """Return what the restore still waits for, for the message of a timeout."""
    counts = catalog.restores.counts(restore_id)
    pending = counts.get(RetrievalStatus.PENDING, Amount())
    rows = catalog.restores.still_missing(restore_id)
    names = ", ".join(
        f"{row['filename']} ({row['tier'] or 'not requested'}"
        + (f" since {row['requested_at']:%Y-%m-%d %H:%M} UTC)" if row["requested_at"] else ")")
        for row in rows[:10]
    )
    return f"{pending.archives:,} archives ({readable_size(pending.bytes)}) are still pending: {names}"
