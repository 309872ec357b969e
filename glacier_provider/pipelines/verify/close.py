"""The last step: what is lost by now is named with its backups, and the verification has its outcome."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.proof import Finding, ProofKind, finding_lines
from glacier_provider.core.status import ProofState
from glacier_provider.core.text import NAMED, counted
from glacier_provider.errors import ProofFailed, StoreError
from glacier_provider.pipelines.evidence import look_at_evidence, why_no_evidence
from glacier_provider.pipelines.verify.content import stopped_jobs
from glacier_provider.stores.contract import Stores

log = logging.getLogger(__name__)


def close_verification(application: Application, proof_id: int, *, catalog: Catalog, stores: Stores) -> dict[str, Any]:
    """End a verification, leave its evidence and return it as a dict: `proof_id`, `state`, `figures`, `findings`,
    `lines`, `error`, `no_evidence`: why that could not be written.

    One that has ended is returned as it is.
    """
    proof = catalog.proofs.get(proof_id)
    if proof["state"] == ProofState.RUNNING:
        _look_at_evidence(application, proof_id, catalog=catalog, stores=stores)
        catalog.proofs.note(proof_id, "lost", findings=_lost(catalog, since=proof["began_at"]))
        stopped = stopped_jobs(catalog.batch.of_proof(proof_id))
        error = _unfinished(proof["figures"], proof["method"], stopped) or _not_looked(proof["findings"])
        proof = catalog.proofs.close(proof_id, error=error)
    no_evidence = why_no_evidence(application, catalog=catalog, stores=stores)
    closed = closed_proof(proof, no_evidence)
    for line in closed["lines"]:
        log.info("%s: %s", application.name, line)
    return closed


def _look_at_evidence(application: Application, proof_id: int, *, catalog: Catalog, stores: Stores) -> None:
    try:
        documents, findings = look_at_evidence(application, catalog=catalog, stores=stores)
    except StoreError as error:
        if error.retryable:
            raise
        told = f"The evidence in the store could not be looked at: {error.message}"
        documents, findings = 0, [Finding("evidence_not_looked", told, grave=False)]
    if documents or findings:
        catalog.proofs.note(proof_id, "evidence", figures={"documents": documents}, findings=findings)


def _lost(catalog: Catalog, *, since: datetime) -> Iterator[Finding]:
    """Yield what was lost in this verification, and what was before; each archive with the backups that it is in."""
    rows = catalog.lost.listed(since=since, limit=NAMED)
    for is_new in (True, False):
        of_these = [row for row in rows if row["is_new"] is is_new]
        if of_these:
            count = of_these[0]["count"]
            words = "LOST: {} cannot be brought back:" if is_new else "Known before to be lost: {}:"
            places = catalog.lost.places([row["id"] for row in of_these])
            what = "lost" if is_new else "lost_before"
            yield Finding(what, words.format(counted(count, "archive")), count, tuple(places), grave=is_new)


def _unfinished(figures: Mapping[str, Any], method: str, stopped: Sequence[str]) -> str | None:
    """Return why a verification has not looked at all that it was to look at; None when it has."""
    if "listing" not in figures:
        return "The stores were not listed."
    if method == "content" and figures.get("content", {}).get("pending", 1):
        why = f" ({', '.join(stopped)}: see S3's console)" if stopped else ""
        return (
            f"S3 has not told all checksums yet{why}; the next verification goes on with its jobs, which are paid for."
        )
    awaited = figures["listing"].get("awaited")
    if awaited:
        return f"No inventory came of {', '.join(awaited)}: it is asked for, and there the next time."
    return None


#: What was found that tells that not everything was looked at.
_IN_PART = ("not_looked", "job_failed", "not_computed", "not_told")


def _not_looked(findings: Iterable[Mapping[str, Any]]) -> str | None:
    told = [one["told"] for one in findings if one["what"] in _IN_PART]
    return " ".join(told) or None


def closed_proof(proof: Mapping[str, Any], no_evidence: str | None = None) -> dict[str, Any]:
    """Return a proof that has ended as tasks and programs hand it on, and why it has no evidence."""
    findings = [Finding.from_dict(one) for one in proof["findings"]]
    figures = proof["figures"]
    listed = figures.get("listing", {}).get("listed")
    known_lost = any(one.what == "lost_before" for one in findings)
    first = {
        ProofState.PASSED: "Nothing new was found." if known_lost else "All is as it should be.",
        ProofState.FOUND: "NOT all is as it should be.",
        ProofState.FAILED: "Not everything could be looked at.",
    }[ProofState(proof["state"])]
    looked = [] if listed is None else [f"{counted(listed, 'archive')} listed by the stores."]
    content = figures.get("content", {})
    if content.get("asked") == 0:
        looked.append("No checksum was due: each archive was written, or verified, within verify.days.")
    elif "matched" in content:
        looked.append(
            f"{counted(content['matched'], 'archive')} of {content['asked']:,} have the checksum that they were "
            "written with, as S3 computed it where they lie."
        )
    error, told = proof["error"], finding_lines(findings)
    return {
        "proof_id": proof["id"],
        "state": proof["state"],
        "method": proof["method"],
        "began_at": proof["began_at"].isoformat(),
        "ended_at": proof["ended_at"].isoformat(),
        "figures": figures,
        "findings": [one.as_dict() for one in findings],
        "error": proof["error"],
        "no_evidence": no_evidence,
        "lines": [
            first,
            *([] if error is None or error in told else [error]),
            *looked,
            *told,
            *([no_evidence] if no_evidence else []),
        ],
    }


def raise_unproven(closed: Mapping[str, Any]) -> None:
    """Raise ProofFailed for a verification, or a drill, that did not pass, or left no evidence."""
    kind = closed.get("kind", ProofKind.VERIFICATION)
    if closed["state"] == ProofState.PASSED:
        if closed.get("no_evidence"):
            raise ProofFailed(f"The {kind} passed. {closed['no_evidence']}", hint="")
        return
    hint = "See the findings and the logs of the tasks before." if kind == ProofKind.DRILL else None
    raise ProofFailed(" ".join([f"The {kind} did not pass.", *closed["lines"]]), hint=hint)
