"""`request_retrievals`: what only the cold has is asked for, once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.restores import RetrievalIntent
from glacier_provider.core.archive import Location
from glacier_provider.errors import ArchiveMissing, GlacierProviderError, IllegalMove
from glacier_provider.pipelines.restore.batch import ask_by_batch
from glacier_provider.pipelines.restore.lost import note_lost, settle_lost
from glacier_provider.pipelines.restore.pools import Pools
from glacier_provider.pipelines.restore.step import shared_step
from glacier_provider.pipelines.shared.errors import GatheredErrors
from glacier_provider.pipelines.shared.group import GroupCommit
from glacier_provider.pipelines.shared.parallel import in_parallel
from glacier_provider.pipelines.shared.progress import Progress
from glacier_provider.pipelines.verify.content import Batches
from glacier_provider.stores.contract import HasRestorePools, Pool, Retrieval, Stores, WantedRetrieval

log = logging.getLogger(__name__)

#: What the store took is noted in groups of so many, or after this time: what has no note yet when a task dies is asked
#: for again, and joined.
_GROUP = 1000
_GROUP_SECONDS = 2.0
#: In the outcome of a restore: its download found archives in the cold of which the store says that they are read at
#: once. A rule of the bucket has moved them.
COLD_THOUGH_READABLE = "cold_though_readable"


def request_retrievals(
    application: Application,
    restore_id: int,
    wanted: ArchiveRange,
    *,
    catalog: Catalog,
    stores: Stores,
    batches: Batches | None = None,
) -> dict[str, int]:
    """Ask the stores for what only the cold has; return `requested` and `readable_at_once`, in archives.

    With `batches` jobs of S3 Batch Operations ask for very many of one store, as the plan says.

    The intent is in the catalog before anything is paid for; a request that was sent already is joined, not sent twice
    (promise 8). Requests that the store refuses are told together at the end; the others are under way meanwhile. Where
    it takes none for ten minutes, that is the end.
    """
    step = f"the requests from {wanted.first} on"
    with shared_step(catalog, restore_id, step, notes_missing=False) as may_go_on:
        plan = catalog.restores.get(restore_id)["plan"]
        if not _needs_retrieval(catalog, restore_id, stores):
            catalog.restores.note_missing(restore_id)
            return {"requested": 0, "readable_at_once": _note_readable_at_once(restore_id, wanted, catalog)}
        by_jobs = 0
        if batches is not None:
            if plan.get("by_batch"):
                catalog.restores.note_missing(restore_id)  # a job asks for all that is known to be missing
            by_jobs = ask_by_batch(application, restore_id, plan, catalog=catalog, batches=batches, may_go_on=may_go_on)
        with (
            catalog.alone(f"{step} of restore {restore_id}"),
            _pools(application, wanted, plan, stores, may_go_on) as pools,
        ):
            asking = _Asking(stores, may_go_on, plan["tier"], plan["days"], pools)
            requested = _request_all(application, restore_id, wanted, plan, catalog=catalog, asking=asking)
            settle_lost(restore_id, catalog=catalog)
        return {"requested": requested + by_jobs, "readable_at_once": 0}


@dataclass(frozen=True, slots=True)
class _Asking:
    """Whom to ask, for as long as the restore goes on; many of them by processes, which ask for one tier and time."""

    stores: Stores
    may_go_on: Callable[[], None]
    tier: str
    days: int
    pools: Pools[WantedRetrieval, bool]

    def is_for_processes(self, intent: RetrievalIntent) -> bool:
        usual = not intent.confirmed and (intent.tier, intent.days) == (self.tier, self.days)
        return usual and self.pools.of(intent.store_uri) is not None


def _pools(
    application: Application,
    wanted: ArchiveRange,
    plan: Mapping[str, Any],
    stores: Stores,
    may_go_on: Callable[[], None],
) -> Pools[WantedRetrieval, bool]:
    def start(uri: str, processes: int) -> Pool[WantedRetrieval, bool] | None:
        store = stores(uri)
        if not isinstance(store, HasRestorePools) or plan["tier"] not in store.features.tiers:
            return None  # it says why by itself
        return store.request_pool(
            tier=plan["tier"],
            days=plan["days"],
            may_go_on=may_go_on,
            processes=processes,
            connections=application.connections,
        )

    return Pools(application, wanted.archives, start)


def _request_all(
    application: Application,
    restore_id: int,
    wanted: ArchiveRange,
    plan: Mapping[str, Any],
    *,
    catalog: Catalog,
    asking: _Asking,
) -> int:
    progress = Progress(log, "Requested", archives=wanted.archives)
    refused = GatheredErrors("retrieval", "refused")
    with closing(catalog.restores.intend_retrievals(restore_id, wanted, tier=plan["tier"], days=plan["days"])) as pages:
        for intents in pages:
            missing = _request_page(intents, application, progress, refused, catalog=catalog, asking=asking)
            note_lost(missing, restore_id, catalog=catalog)
    progress.say()
    refused.raise_gravest(named=False)
    return progress.archives


def _request_page(
    intents: Sequence[RetrievalIntent],
    application: Application,
    progress: Progress,
    refused: GatheredErrors,
    *,
    catalog: Catalog,
    asking: _Asking,
) -> list[int]:
    """Ask for a page of archives and note what the stores took, whatever ends it, and what they refused.

    Return the ids of archives that they do not have.
    """
    # What a job is to ask for that another restore is just planning is found pending when this is looked at again.
    intents = [intent for intent in intents if intent.confirmed or not intent.is_by_job]
    for uri in {intent.store_uri for intent in intents if intent.left_over}:
        asking.stores(uri).forget_retrievals()  # what is known of them here may be older than a request of who died
    missing: list[int] = []
    with GroupCommit(catalog.restores.confirm_retrievals, size=_GROUP, seconds=_GROUP_SECONDS) as taken:
        careful = []
        for intent, is_taken in _asked_by_processes(intents, asking):
            if is_taken:
                taken.add((intent.id, None))
                progress.add(1, 0)
                refused.succeeded()
            else:
                careful.append(intent)
        results = in_parallel(lambda intent: _request(intent, asking), careful, workers=application.connections)
        with closing(results):
            for intent, answer in results:
                if isinstance(answer, IllegalMove):
                    raise answer
                if isinstance(answer, GlacierProviderError):
                    catalog.restores.note_retrieval_error(intent.archive_id, str(answer))
                if isinstance(answer, ArchiveMissing):
                    missing.append(intent.archive_id)
                elif isinstance(answer, GlacierProviderError):
                    refused.add(intent.key, answer)
                else:
                    taken.add((intent.id, answer.job_id))
                    progress.add(1, 0)
                    refused.succeeded()
    return missing


def _asked_by_processes(intents: Sequence[RetrievalIntent], asking: _Asking) -> Iterator[tuple[RetrievalIntent, bool]]:
    """Have processes ask for what they are of use for; yield all intents, and whether the store has taken them."""
    many: dict[str, dict[int, RetrievalIntent]] = {}
    for intent in intents:
        if asking.is_for_processes(intent):
            many.setdefault(intent.store_uri, {})[intent.id] = intent
        else:
            yield intent, False
    for uri, some in many.items():
        wanted = (WantedRetrieval(intent.id, intent.key) for intent in some.values())
        for one, is_taken in asking.pools.send(uri, wanted):
            yield some[one.id], bool(is_taken)
    for one, is_taken in asking.pools.rest():  # the turn ends with the page
        yield next(some[one.id] for some in many.values() if one.id in some), bool(is_taken)


def _needs_retrieval(catalog: Catalog, restore_id: int, stores: Stores) -> bool:
    if catalog.restores.get(restore_id)["outcome"].get(COLD_THOUGH_READABLE):
        return True
    uris = catalog.restores.store_uris(restore_id)
    return any(stores(uri).features.retrieval for uri in uris)


def _note_readable_at_once(restore_id: int, wanted: ArchiveRange, catalog: Catalog) -> int:
    count = 0
    for page in catalog.restores.archives_to_request(restore_id, wanted):
        catalog.restores.readable_at_once(page)
        count += len(page)
    return count


def _request(intent: RetrievalIntent, asking: _Asking) -> Retrieval:
    location = Location(intent.store_uri, intent.key)
    if intent.confirmed:
        return Retrieval(location, intent.tier, intent.job_id)
    asking.may_go_on()
    return asking.stores(intent.store_uri).request_retrieval(
        location, tier=intent.tier, days=intent.days, token=f"retrieval {intent.id} of archive {intent.archive_id}"
    )
