"""What is told of a month of one application; the page is made of it in `core/month.py`."""

from __future__ import annotations

from datetime import UTC, datetime

from glacier_provider import __version__
from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.cost import money, storage_cost
from glacier_provider.core.month import MonthFacts, month_bounds
from glacier_provider.core.proof import ProofKind
from glacier_provider.errors import ConfigurationError
from glacier_provider.pipelines.costs import held


def facts_of_month(
    application: Application, month: str, *, catalog: Catalog, now: datetime | None = None
) -> MonthFacts:
    """Return what the catalog knows of a month like 2026-11; raise ConfigurationError for one that has not begun."""
    now = now or datetime.now(UTC)
    try:
        since, end = month_bounds(month)
    except ValueError as error:
        raise ConfigurationError(f"{month!r} is no month.", hint=f"Write it like {now:%Y-%m}.") from error
    if since > now:
        raise ConfigurationError(f"{month} has not begun.", hint=f"The current month is {now:%Y-%m}.")
    until = min(end, now)
    rows = catalog.evidence.month(since, until)
    prices = application.price_table
    stored = held(catalog.pages.totals([application.name])[application.name])
    last = rows.last_evidence
    return MonthFacts(
        application=application.name,
        month=month,
        since=since,
        until=until,
        made_at=now,
        version=__version__,
        store=application.store,
        schedule=application.schedule,
        backups=rows.backups,
        proofs=rows.proofs,
        restores=rows.restores,
        newest_backup=rows.newest_backup,
        passed={ProofKind(row["kind"]): row["ended_at"] for row in rows.passed},
        known_since=rows.known_since,
        last_evidence=None if last is None else (last["number"], last["sha256"]),
        storage=money(storage_cost(stored, prices), prices.currency),
        prices=prices.name,
    )
