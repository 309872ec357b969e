"""What an application's archives cost, by what the catalog says is in the stores; read by page and command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from math import ceil
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.pages import Holding
from glacier_provider.core.archive import ArchiveKind
from glacier_provider.core.cost import (
    Stored,
    TierCost,
    batch_cost,
    class_of,
    daily_look_cost,
    merged,
    rebuild_cost,
    retrieval_by_tier,
    upload_cost,
)
from glacier_provider.core.parts import LISTED_AT_ONCE, MIB
from glacier_provider.core.plan import is_for_a_job, with_jobs
from glacier_provider.core.store_uri import store_class

#: So many of the newest files are looked at after they were written, and the dump.
LOOKED_AT = 3


def held(holdings: Iterable[Holding]) -> list[Stored]:
    """Return holdings by store class."""
    return merged(
        Stored(
            class_of(one.store_uri, ArchiveKind.MANIFEST if one.manifest else ArchiveKind.FILE),
            one.amount.archives,
            one.amount.bytes,
            one.padded_bytes,
        )
        for one in holdings
    )


def pages_a_look(application: Application, archives: int) -> int:
    """Return how many listings a backup looks through, so that all is looked through within `check_days`."""
    return ceil(archives / LISTED_AT_ONCE / application.check_days) or 1


def backup_cost(application: Application, holdings: Sequence[Holding], report: Mapping[str, Any]) -> Decimal:
    """Return what the requests of a backup cost that brought `holdings` into the stores, its looks at the store too.

    Its report tells of the archives that were sent in parts; without one, it is taken that their bytes were.
    """
    prices, own = application.price_table, store_class(application.store)
    total = Decimal(0)
    for one in held(holdings):
        told = one.store_class == own and report.get("upload_parts") is not None
        parts, in_parts = (report["upload_parts"], report["uploads_in_parts"]) if told else _parts(application, one)
        total += upload_cost(one, prices, parts=parts, in_parts=in_parts)
    new = sum(one.amount.archives for one in holdings if not one.manifest)
    return total + looks_cost(application, archives=0, new=new)


def _parts(application: Application, stored: Stored) -> tuple[int, int]:
    """Return in how many parts archives were sent, and how many of them, if all were of the same size."""
    part = application.part_size_mib * MIB
    each = ceil(stored.bytes / stored.archives / part) if stored.archives else 0
    return (each * stored.archives, stored.archives) if each > 1 else (0, 0)


def looks_cost(application: Application, *, archives: int, new: int = 1) -> Decimal:
    """Return what a backup of an application with so many `archives`, `new` of them, asks the store beside uploads."""
    pages, looked_at = pages_a_look(application, archives), min(new, 1 + LOOKED_AT)
    return daily_look_cost(store_class(application.store), application.price_table, pages=pages, looked_at=looked_at)


def whole_retrieval(
    application: Application, stored: Iterable[Stored], now: datetime | None = None
) -> dict[str, TierCost]:
    """Return by tier what bringing all of this back costs, asked for now; by jobs, where they may ask for it."""
    kept, prices = list(stored), application.price_table
    costs = retrieval_by_tier(
        kept,
        prices,
        days=application.retrieval_days,
        now=now or datetime.now(UTC),
        look_seconds=look_seconds(application),
    )
    if not application.may_ask_by_batch:
        return costs
    cold = (one for one in kept if prices.of(one.store_class).tiers and is_for_a_job(one.store_class, one.archives))
    return with_jobs(costs, sum((batch_cost(one.archives, prices) for one in cold), Decimal(0)))


def look_seconds(application: Application) -> int:
    """Return how often a restore looks whether it can read what it waits for."""
    told = application.notifications
    return int(max(application.poll_seconds, told.poll_seconds) if told.queue else application.poll_seconds)


def rebuilding(application: Application, holdings: Sequence[Holding]) -> Decimal:
    """Return what `rebuild-catalog` asks the store: listings, and the manifests."""
    archives = sum(one.amount.archives for one in holdings)
    manifests = [one.amount for one in holdings if one.manifest]
    own = store_class(application.store)
    kept = Stored(own, sum(one.archives for one in manifests), sum(one.bytes for one in manifests))
    return rebuild_cost(kept, application.price_table, listed=archives)
