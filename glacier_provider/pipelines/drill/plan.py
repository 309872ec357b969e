"""`plan_drill`: which files, for the money that is left, and where to."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.cost import money, plain
from glacier_provider.core.drill import FileSample, largest_affordable
from glacier_provider.core.elsewhere import RestoreTarget
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.text import counted, grouped
from glacier_provider.core.tiers import Tier
from glacier_provider.errors import RetrievalRefused
from glacier_provider.pipelines.drill.place import drill_place, part_of_drill, refuse_what_people_have, target_of_drill
from glacier_provider.pipelines.drill.step import drill_step
from glacier_provider.pipelines.restore.elsewhere import Elsewhere
from glacier_provider.pipelines.restore.plan import cost_of_figures, plan_restore
from glacier_provider.stores.contract import Stores

log = logging.getLogger(__name__)

#: How long retrieved copies stay, in days: a drill takes them when the last one is there, which Bulk brings in two.
COPY_DAYS = 3


def plan_drill(
    application: Application, proof_id: int, run: Run, *, catalog: Catalog, stores: Stores, elsewhere: Elsewhere
) -> dict[str, Any]:
    """Plan the drill's restore; return what `plan_restore` returns. Nothing is asked for yet.

    The sample is made smaller where it would pass the month's budget. Raise RetrievalRefused when there is no money
    left for the dump alone, and as `plan_restore`.
    """
    with drill_step(catalog, proof_id, "plan"):
        proof = catalog.proofs.get(proof_id)
        backup = catalog.backups.restorable(proof["backup_id"])
        target = _target(application, proof, catalog, elsewhere)
        wanted = _sample(application, proof)
        given: Any = {"run": run, "catalog": catalog, "stores": stores}
        with drill_place(application, target, backup, elsewhere, lambda: None) as place:

            def planned(sample: FileSample) -> dict[str, Any]:
                return plan_restore(
                    application, request=_request(application, backup["id"], target, sample), elsewhere=place, **given
                )

            told = planned(wanted)
            refuse_what_people_have(application, catalog.restores.get(told["restore_id"]), place, catalog)
            spent = catalog.drills.cost_this_month(proof_id)
            left = Decimal(str(application.drill.budget)) - spent
            sample = _affordable(application, told, wanted, left, catalog)
            if sample != wanted:
                told = planned(sample)
        figures = _figures(application, told, wanted, sample, catalog)
        figures |= {"files_of_backup": backup["files_count"], "spent": plain(spent)}
        catalog.proofs.note(proof_id, "plan", figures=figures)
    if figures["fewer"]:
        log.warning(
            "The budget of %s leaves %s: %s taken, not %s.",
            money(Decimal(str(application.drill.budget)), told["plan"]["currency"]),
            money(left, told["plan"]["currency"]),
            counted(figures["files"], "file"),
            grouped(figures["files_wanted"]),
        )
    return told


def _target(
    application: Application, proof: Mapping[str, Any], catalog: Catalog, elsewhere: Elsewhere
) -> RestoreTarget:
    """Return where the drill goes; a later try of its plan goes where the first one went."""
    restore_id = proof["figures"].get("plan", {}).get("restore_id")
    if restore_id is not None:
        known = RestoreTarget.from_given(catalog.restores.get(restore_id)["request"]["into"])
        assert known is not None
        return known
    return target_of_drill(application, elsewhere)


def _sample(application: Application, proof: Mapping[str, Any]) -> FileSample:
    """Return the sample that is wanted; once it was planned, that which was."""
    known = proof["figures"].get("plan")
    wanted = application.drill.sample_files
    files = None if wanted == "all" else int(wanted)
    if known is not None:
        files = known["files"]
    return FileSample(files, proof["figures"]["choice"]["seed"])


def _request(application: Application, backup_id: int, target: RestoreTarget, sample: FileSample) -> RestoreRequest:
    return RestoreRequest(
        backup_id,
        part=part_of_drill(application),
        tier=Tier(application.drill.tier),
        days=COPY_DAYS,
        move_orphans=False,
        without_lost=True,
        into=target,
        sample=sample,
    )


def _affordable(
    application: Application, told: Mapping[str, Any], wanted: FileSample, left: Decimal, catalog: Catalog
) -> FileSample:
    """Return the sample, or as many of its files as there is money left for."""
    cost = Decimal(told["plan"]["cost"])
    if cost <= left:
        return wanted
    restore = catalog.restores.get(told["restore_id"])
    backup, request = catalog.backups.get(restore["backup_id"]), RestoreRequest.from_params(restore["request"])

    def cost_of(files: int) -> Decimal:
        rows = catalog.drills.figures(restore["id"], wanted, files)
        return cost_of_figures(application, backup, request, rows)

    most = sum(amount["archives"] for amount in _files_to_bring(told))
    files = largest_affordable(cost_of, most, left)
    if files is None:
        currency = told["plan"]["currency"]
        raise RetrievalRefused(
            f"The dump alone would cost {money(cost_of(0), currency)}, and {money(max(left, Decimal(0)), currency)} of "
            f"this month's {money(Decimal(str(application.drill.budget)), currency)} for drills are left. Nothing was "
            "asked for.",
            hint="Raise drill.budget, choose a cheaper drill.tier, or wait for the next month.",
        )
    return FileSample(files, wanted.seed)


def _files_to_bring(told: Mapping[str, Any]) -> list[Mapping[str, int]]:
    return [told["plan"][name] for name in ("to_request", "pending", "ready")]


def _figures(
    application: Application, told: Mapping[str, Any], wanted: FileSample, sample: FileSample, catalog: Catalog
) -> dict[str, Any]:
    plan, restore_id = told["plan"], told["restore_id"]
    files = sum(len(page) for page in catalog.drills.files(restore_id))
    lost = catalog.restores.get(restore_id)["outcome"].get("lost_count", 0)
    return {
        "restore_id": restore_id,
        "into": plan["into"],
        "files": files + lost,
        "files_wanted": "all" if wanted.files is None else wanted.files,
        "fewer": sample != wanted,
        "tier": plan["tier"],
        "cost": plan["cost"],
        "currency": plan["currency"],
        "budget": plain(Decimal(str(application.drill.budget))),
        "database_bytes": plan["database_bytes"],
    }
