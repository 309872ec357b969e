"""`plan_restore`: what is missing, and what it takes to bring it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.catalog.restores import SetAside
from glacier_provider.core.archive import Amount
from glacier_provider.core.parts import MIB
from glacier_provider.core.plan import RETRIEVAL_HOURS, RestorePlan, RestoreRequest, Tier, plan_from_figures, with_costs
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.core.store_uri import store_class
from glacier_provider.errors import ArchiveMissing, GlacierProviderError, RetrievalRefused
from glacier_provider.files import open_source, walk
from glacier_provider.pipelines.restore.step import Stores, lies_aside
from glacier_provider.pipelines.shared.parallel import SMALLEST_SHARE
from glacier_provider.stores.checksum import Verifier

log = logging.getLogger(__name__)


def plan_restore(
    application: Application, run: Run, request: RestoreRequest, *, catalog: Catalog, stores: Stores
) -> dict[str, Any]:
    """Find out what the restore will take; return `restore_id`, `backup_id`, `plan` and the `ranges` to bring.

    `lines` tell the plan to a person, `approve` whether one has to approve it: asked for, or over the budget.

    Writes nothing but the plan itself. Raise UnknownBackup, BackupNotRestorable, or ArchiveMissing when a file of the
    backup is in no store any more.
    """
    catalog.migrate()
    backup = _chosen_backup(request, catalog)
    restore_id = catalog.restores.open(run, backup["id"], request)
    compared = catalog.restores.compare(
        restore_id,
        backup,
        request,
        _files_there(application),
        lambda aside: _usable(application, aside),
        orphan_directory=application.orphan_directory,
    )
    _settle_moves_back(application, catalog)
    plan = _plan(application, backup, request, compared.figures, stores)
    plan = replace(
        plan,
        present=compared.present,
        differing=tuple(row["name"] for row in compared.differing[:100]),
        differing_count=len(compared.differing),
        lost=tuple(compared.lost[:100]),
    )
    for line in plan.lines():
        log.info("%s", line)
    catalog.restores.record_plan(restore_id, plan.as_dict())
    if compared.lost:
        raise ArchiveMissing(
            f"{len(compared.lost)} files of backup {backup['id']} are in no store: {', '.join(plan.lost[:5])}."
        )
    ranges = catalog.restores.ranges(restore_id, shares=application.parallelism, smallest=SMALLEST_SHARE)
    return {
        "restore_id": restore_id,
        "backup_id": backup["id"],
        "plan": plan.as_dict(),
        "approve": request.approve or plan.over_budget,
        "lines": plan.lines(),
        "ranges": [share.as_dict() for share in ranges],
    }


def _chosen_backup(request: RestoreRequest, catalog: Catalog) -> Row:
    wanted = request.backup_id or catalog.backups.newest_complete() or 0
    return catalog.backups.restorable(wanted)


def _files_there(application: Application) -> Iterator[tuple[str, int]]:
    found = walk(
        application.files_directory,
        on_skip=lambda _name, _reason: None,
        leave_out=(application.orphan_directory, application.staging_directory),
    )
    return ((file.name, file.size) for file in found)


def _settle_moves_back(application: Application, catalog: Catalog) -> None:
    """Note files that a restore moved back from the orphan directory, and died before the journal knew."""
    for row in catalog.restores.aside_though_present(application.orphan_directory):
        if not lies_aside(row["orphan_directory"], row):
            catalog.restores.moved_back(row["filename"], row["subdirectory"])


def _usable(application: Application, aside: Sequence[SetAside]) -> list[int]:
    """Return the archive ids of set-aside files that still have the archived content."""
    return [file.archive_id for file in aside if _is_intact(application, file)]


def _is_intact(application: Application, file: SetAside) -> bool:
    verifier = Verifier(file.checksum)
    name = f"{file.subdirectory}/{file.filename}"
    try:
        with open_source(application.orphan_directory, name, expected_size=file.size) as source:
            for start in range(0, source.size, MIB):
                verifier.update(source.read_at(start, min(MIB, source.size - start)))
    except GlacierProviderError as error:
        log.warning("%s cannot be moved back from the orphan directory: %s", file.filename, error)
        return False
    return verifier.matches()


def _plan(
    application: Application, backup: Row, request: RestoreRequest, figures: Sequence[Row], stores: Stores
) -> RestorePlan:
    tier = request.tier or Tier(application.retrieval_tier)
    plan = RestorePlan(
        backup_id=backup["id"],
        tier=tier,
        days=request.days or application.retrieval_days,
        database_bytes=backup["database_bytes"] if request.database else 0,
    )
    places = []
    for uri in sorted({row["store_uri"] for row in figures}):
        features = stores(uri).features
        rows = [
            (row["source"], RetrievalStatus(row["status"]), Amount(row["archives"], row["bytes"]))
            for row in figures
            if row["store_uri"] == uri
        ]
        part = plan_from_figures(RestorePlan(backup["id"], tier, plan.days), rows, retrieval=features.retrieval)
        if part.to_request.archives and tier not in features.tiers:
            raise RetrievalRefused(
                f"{uri} has no {tier.value} retrievals.", hint=f"Choose another tier: {', '.join(features.tiers)}."
            )
        plan = replace(
            plan,
            set_aside=plan.set_aside + part.set_aside,
            to_request=plan.to_request + part.to_request,
            pending=plan.pending + part.pending,
            ready=plan.ready + part.ready,
            hours={**plan.hours, **_hours(uri, features.tiers)},
        )
        places.append((store_class(uri), part.to_request, part.pending + part.ready))
    return with_costs(plan, places, application.price_table, budget=application.restore.budget)


def _hours(uri: str, tiers: Sequence[str]) -> dict[str, tuple[float, float]]:
    kind = "VAULT" if uri.startswith("glacier:") else "DEEP_ARCHIVE" if "DEEP_ARCHIVE" in uri else "GLACIER"
    return {tier: RETRIEVAL_HOURS[kind][Tier(tier)] for tier in tiers if Tier(tier) in RETRIEVAL_HOURS[kind]}
