"""`close_drill`: what a drill came to."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.cost import money
from glacier_provider.core.drill import LOST, NOT_DONE
from glacier_provider.core.proof import Finding, finding_lines
from glacier_provider.core.status import ProofState
from glacier_provider.core.text import NAMED, counted, grouped, readable_seconds, readable_size, some
from glacier_provider.errors import GlacierProviderError
from glacier_provider.pipelines.evidence import why_no_evidence
from glacier_provider.stores.contract import Stores

log = logging.getLogger(__name__)


def close_drill(application: Application, proof_id: int, *, catalog: Catalog, stores: Stores) -> dict[str, Any]:
    """End a drill, leave its evidence and return it as a dict: `proof_id`, `kind`, `state`, `backup_id`, `figures`,
    `findings`, `lines`, `error`, `no_evidence`: why that could not be written. One that has ended is returned as it is.
    """
    proof = catalog.proofs.get(proof_id)
    if proof["state"] == ProofState.RUNNING:
        catalog.proofs.note(proof_id, "times", figures=recovery_times(proof["figures"].get("spans", {})))
        catalog.proofs.note(proof_id, "lost", findings=_lost(proof["backup_id"], catalog))
        proof = catalog.proofs.get(proof_id)
        error = _unfinished(proof["figures"], proof["findings"]) or _not_looked(proof, catalog)
        proof = catalog.proofs.close(proof_id, error=error)
    closed = closed_drill(proof, why_no_evidence(application, catalog=catalog, stores=stores))
    for line in closed["lines"]:
        log.info("%s: %s", application.name, line)
    return closed


def _lost(backup_id: int, catalog: Catalog) -> list[Finding]:
    """Return what is known by now to be lost of the backup, in the sample or not, and in which backups it is."""
    rows = catalog.lost.in_backup(backup_id, limit=NAMED)
    if not rows:
        return []
    count = rows[0]["count"]
    told = f"LOST: {counted(count, 'archive')} of the backup cannot be brought back:"
    return [Finding(LOST, told, count, tuple(catalog.lost.places([row["id"] for row in rows])))]


def recovery_times(spans: Mapping[str, tuple[str, str]]) -> dict[str, float]:
    """Return seconds by step, of steps with when each began and ended; and of what lies between them.

    >>> recovery_times({"plan": ["2026-01-01T00:00:00+00:00", "2026-01-01T00:00:02+00:00"],
    ...                 "download": ["2026-01-01T00:01:02+00:00", "2026-01-01T00:02:00+00:00"]})
    {'plan': 2.0, 'download': 58.0, 'retrieval': 60.0, 'recovery': 120.0}
    """
    at = {
        step: (datetime.fromisoformat(began), datetime.fromisoformat(ended)) for step, (began, ended) in spans.items()
    }
    times = {step: round((ended - began).total_seconds(), 1) for step, (began, ended) in at.items()}
    if "plan" in at and "download" in at:
        times["retrieval"] = round((at["download"][0] - at["plan"][1]).total_seconds(), 1)
        there = max(at[step][1] for step in ("download", "database") if step in at)
        times["recovery"] = round((there - at["plan"][0]).total_seconds(), 1)
    return times


def _unfinished(figures: Mapping[str, Any], findings: list[Mapping[str, Any]]) -> str | None:
    """Return why a drill has not looked at all that it was to look at; None when it has."""
    told = [one["told"] for one in findings if one["what"] == NOT_DONE]
    if told:
        return " ".join(told)
    return None if "plan" in figures else "The drill was not planned."


def _not_looked(proof: Mapping[str, Any], catalog: Catalog) -> str | None:
    """Return why a drill that was planned has not looked at all: a step did not begin, since another had not ended."""
    figures = proof["figures"]
    if "download" not in figures.get("spans", {}) and (why := _not_brought(proof, catalog)):
        return f"Nothing was restored: {why}"
    if "database" not in figures:
        return "The database was not restored."
    if "files" not in figures and figures["plan"]["files_wanted"]:
        return "The files were not looked at."
    return None


def _not_brought(proof: Mapping[str, Any], catalog: Catalog) -> str | None:
    """Return why what the drill was to restore did not come out of the stores, as far as the catalog knows it."""
    restore_id = proof["figures"]["plan"]["restore_id"]
    try:
        catalog.backups.restorable(proof["backup_id"])
    except GlacierProviderError as error:
        return error.message
    rows = catalog.restores.still_missing(restore_id)
    if not rows:
        return None
    if failed := [f"{row['filename']}: {row['error'].rstrip('.')}" for row in rows if row["error"]]:
        return f"The store refused retrievals, or ended them without success: {some(failed, most=2)}."
    waited = [
        f"{row['filename']} (asked for at {row['requested_at']:%Y-%m-%d %H:%M} UTC)"
        if row["requested_at"]
        else f"{row['filename']} (not asked for)"
        for row in rows
    ]
    return f"What it needs did not come out of the store: {some(waited)}."


def closed_drill(proof: Mapping[str, Any], no_evidence: str | None = None) -> dict[str, Any]:
    """Return a drill that has ended as tasks and programs hand it on, and why it has no evidence."""
    findings = [Finding.from_dict(one) for one in proof["findings"]]
    error = proof["error"]
    told = finding_lines(findings, error)
    first = {
        ProofState.PASSED: f"Backup {proof['backup_id']} was restored, and all that was checked is as it was.",
        ProofState.FOUND: f"Backup {proof['backup_id']} is NOT what it was.",
        ProofState.FAILED: f"The drill of backup {proof['backup_id']} could not be done.",
    }[ProofState(proof["state"])]
    return {
        "proof_id": proof["id"],
        "kind": proof["kind"],
        "state": proof["state"],
        "method": proof["method"],
        "backup_id": proof["backup_id"],
        "began_at": proof["began_at"].isoformat(),
        "ended_at": proof["ended_at"].isoformat(),
        "figures": proof["figures"],
        "findings": [one.as_dict() for one in findings],
        "error": error,
        "no_evidence": no_evidence,
        "lines": [
            first,
            *([error] if error else []),
            *_looked(proof["figures"]),
            *told,
            *([no_evidence] if no_evidence else []),
        ],
    }


def _looked(figures: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was restored and looked at, in sentences."""
    database, files, times = (figures.get(name, {}) for name in ("database", "files", "times"))
    what = []
    if database.get("restored"):
        what.append(f"{readable_size(database['bytes'])}, {counted(database['tables'], 'table')}")
    if files.get("checked"):
        what.append(f"{counted(files['checked'], 'file')} of {readable_size(files['bytes'])}")
    if what:
        recovery = f", {readable_seconds(times['recovery'])}" if "recovery" in times else ""
        yield f"Restored: {', '.join(what)}{recovery}."
    plan = figures.get("plan", {})
    if plan.get("fewer"):
        yield (
            f"The budget of {money(Decimal(plan['budget']), plan['currency'])} a month left room for "
            f"{counted(plan['files'], 'file')}, not {grouped(plan['files_wanted'])}."
        )
    for one in database.get("not_checked", ()):
        yield f"Not checked: {one}"
