"""Evidence of verifications and drills: written when they end, chained, read again and compared.

`leave_evidence` is the last thing that a verification or a drill does. A document is in the catalog before it is in the
store, so that a process that dies in between loses none: whoever comes next writes what is not there yet. A vault
keeps none: what can be read in it takes hours and a retrieval. There the catalog alone has the documents.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from glacier_provider import __version__
from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.catalog.evidence import FoundEvidence
from glacier_provider.core.evidence import (
    LARGEST_EVIDENCE,
    Chain,
    chain_of,
    checks_of,
    evidence_document,
    read_evidence,
    sha256_of,
)
from glacier_provider.core.proof import Finding, ProofKind
from glacier_provider.core.text import NAMED
from glacier_provider.core.told import ToldWrong
from glacier_provider.errors import ConfigurationError, KeyTaken, StoreError
from glacier_provider.pipelines.shared.listing import one_a_place
from glacier_provider.stores.contract import KeepsEvidence, Stores

log = logging.getLogger(__name__)

#: So often another catalog may have written the next number before us.
_TRIES = 5
#: What ended later than this was not proven: clocks differ by less.
_CLOCKS_DIFFER = timedelta(days=1)
#: So many corrupt archives are named for a rebuild.
_CORRUPT_TOLD = 1000


def leave_evidence(application: Application, *, catalog: Catalog, stores: Stores) -> None:
    """Write the documents of all that has ended and has none yet. May be repeated; raise StoreError."""
    store = stores(application.store)
    if isinstance(store, KeepsEvidence):
        _take_up(application, catalog=catalog, store=store)
    _draft(application, catalog)
    if not isinstance(store, KeepsEvidence):
        return
    for left in reversed(range(_TRIES)):
        try:
            _write(application, catalog=catalog, store=store)
        except KeyTaken:
            if not left:
                raise
            _take_up(application, catalog=catalog, store=store)
            _draft(application, catalog)
        else:
            return


def why_no_evidence(application: Application, *, catalog: Catalog, stores: Stores) -> str | None:
    """Leave evidence as `leave_evidence`; return why the store does not take it, None when it has all of it.

    Raise StoreError where trying again may help.
    """
    try:
        leave_evidence(application, catalog=catalog, stores=stores)
    except StoreError as error:
        if error.retryable:
            raise
        log.error("The evidence of %s is in the catalog alone: %s", application.name, error)
        return f"Its evidence is in the catalog alone, and written with the next: {error}"
    return None


def _take_up(application: Application, *, catalog: Catalog, store: Any) -> None:
    """Go on behind what the store has: of a write whose answer was lost, of an earlier life of this catalog."""
    others = catalog.evidence.take_up(_found(application, store, after=catalog.evidence.last_stored()))
    if others:
        log.warning(
            "%s has evidence of %s that this catalog did not write, from document %d on: the next one continues it.",
            store.uri,
            application.name,
            others[0].number,
        )


def _found(application: Application, store: Any, *, after: int = 0) -> Iterator[FoundEvidence]:
    for number, data, key in store.evidence(application.name, after=after, longest=LARGEST_EVIDENCE):
        yield FoundEvidence(number, data, sha256_of(data), str(store.uri), key)


def remember_evidence(application: Application, *, catalog: Catalog, stores: Stores) -> int:
    """Write the proofs that the stores have evidence of into a catalog that was lost; return how many.

    Raise StoreError; what cannot be read in an earlier store keeps nothing of the others from being known. A document
    that is none, of another application, or of a day to come, is taken up as it is, and proves nothing.
    """
    found = {one.number: one for uri in application.earlier_stores for one in _left_in(uri, application, stores)}
    if isinstance(store := stores(application.store), KeepsEvidence):
        found |= {one.number: one for one in _found(application, store)}
    count = 0
    corrupt: dict[tuple[str, str], int] = {}  # by store and key, the document that told of it
    for one in catalog.evidence.take_up(found[number] for number in sorted(found)):
        with suppress(ToldWrong):
            told = read_evidence(one.data)
            is_ours = (told.number, told.application) == (one.number, application.name)
            if is_ours and told.ended_at < datetime.now(UTC) + _CLOCKS_DIFFER:
                catalog.evidence.remember(one.number, told)
                count += 1
                if told.kind is ProofKind.VERIFICATION:
                    corrupt.clear()  # it names all that was known by then; a drill of earlier versions none
                corrupt |= dict.fromkeys(told.corrupt, told.number)
    if corrupt:
        number = max(corrupt.values())
        ids = catalog.evidence.note_corrupt(number, list(corrupt)[:_CORRUPT_TOLD])
        catalog.lost.note(ids, f"Its content was not what was written, as document {number} of evidence says.")
    return count


def _left_in(uri: str, application: Application, stores: Stores) -> list[FoundEvidence]:
    """Return what an earlier store has; nothing, and say so, where it cannot be read."""
    try:
        store = stores(uri)
        return list(_found(application, store)) if isinstance(store, KeepsEvidence) else []
    except (StoreError, ConfigurationError) as error:
        if error.retryable:
            raise
        log.error("What was proven in %s is not known: its evidence could not be read. %s", uri, error)
        return []


def _draft(application: Application, catalog: Catalog) -> None:
    def drafted(proof: Row, number: int, previous_sha256: str | None) -> bytes:
        return evidence_document(number, previous_sha256, _facts(application, proof, catalog))

    catalog.evidence.draft(drafted, sha256_of)


def _write(application: Application, *, catalog: Catalog, store: Any) -> None:
    written_by = _written_by(catalog)
    while rows := catalog.evidence.unstored():
        for row in rows:
            data = row["document"].encode()
            key = store.put_evidence(application.name, row["number"], data, written_by=written_by)
            catalog.evidence.stored(row["number"], row["sha256"], store.uri, key)
            log.info("Evidence: document %d of %s, SHA-256 %s.", row["number"], application.name, row["sha256"])


def _written_by(catalog: Catalog) -> str | None:
    """Return the signature of the newest complete backup's manifest: of this catalog and none of its copies."""
    newest = catalog.evidence.circumstances(None)[1]["newest"]
    return None if newest is None else catalog.writers.of(newest)


def _facts(application: Application, proof: Row, catalog: Catalog) -> dict[str, Any]:
    """Return what a document tells of a proof that has ended."""
    backup, around = catalog.evidence.circumstances(proof["backup_id"])
    figures = proof["figures"]
    return {
        "application": application.name,
        "kind": proof["kind"],
        "method": proof["method"],
        "outcome": proof["state"],
        "error": proof["error"],
        "began_at": proof["began_at"].astimezone(UTC),
        "ended_at": proof["ended_at"].astimezone(UTC),
        "seconds": round((proof["ended_at"] - proof["began_at"]).total_seconds(), 1),
        "recovery_seconds": recovery_seconds(figures),
        "by": {name: proof[name] for name in ("asked_by", "dag_id", "dag_run_id")},
        "backup": backup or (None if proof["backup_id"] is None else {"id": proof["backup_id"]}),
        "backups": {"complete": around["complete"], "newest": around["newest"]},
        "store": application.store,
        "versions": {"glacier_provider": __version__, "catalog_server": around["catalog_server"]},
        "checks": checks_of(figures, proof["findings"]),
        "findings": proof["findings"],
        "figures": figures,
        "corrupt": catalog.evidence.corrupt(most=_CORRUPT_TOLD),
        "written_by": _written_by(catalog),
        "written_at": datetime.now(UTC),
    }


def recovery_seconds(figures: Mapping[str, Any]) -> float | None:
    """Return how long a drill took from its beginning until everything was back, in seconds; None of anything else."""
    times = figures.get("times")
    told = times.get("recovery") if isinstance(times, Mapping) else None
    return float(told) if isinstance(told, int | float) else None


def evidence_in_stores(application: Application, *, catalog: Catalog, stores: Stores) -> Chain:
    """Compare what the application's stores have of evidence with its catalog; raise StoreError."""
    known = catalog.evidence.known()
    uris = [application.store, *(row["store_uri"] for row in known if row["store_uri"])]
    kept = [store for store in map(stores, one_a_place(reversed(uris))) if isinstance(store, KeepsEvidence)]
    found = [(one.number, one.data) for store in kept for one in _found(application, store)]
    written = {row["number"]: row["sha256"] for row in known if row["store_uri"] is not None}
    return chain_of(found, application=application.name, known=written)


def look_at_evidence(application: Application, *, catalog: Catalog, stores: Stores) -> tuple[int, list[Finding]]:
    """Return how many documents the stores have, and what is not as it was written; what is missing is written again.

    Raise StoreError when they cannot be read.
    """
    chain = evidence_in_stores(application, catalog=catalog, stores=stores)
    findings: list[Finding] = []
    if chain.missing:
        again = _write_again(application, chain.missing, catalog=catalog, stores=stores)
        told = "Evidence was missing in the store, and is written again, document" if again else "Evidence is missing:"
        findings.append(Finding("evidence_missing", told, len(chain.missing), _numbers(chain.missing), grave=not again))
    if chain.altered:
        told = (
            "Evidence in the store was altered; delete these documents, and the next verification writes them again "
            "as they were, document"
        )
        findings.append(Finding("evidence_altered", told, len(chain.altered), _numbers(chain.altered)))
    elif chain.faults and not chain.missing:
        findings.append(
            Finding("evidence_broken", "The chain of evidence is broken:", 1, chain.faults[:1], grave=False)
        )
    return len(chain.documents), findings


def _numbers(numbers: Sequence[int]) -> tuple[str, ...]:
    return tuple(map(str, numbers[:NAMED]))


def _write_again(application: Application, numbers: Sequence[int], *, catalog: Catalog, stores: Stores) -> bool:
    """Write documents again that are gone from the store, where the catalog has them as they were; whether all were."""
    wanted, written = set(numbers), 0
    for row in catalog.evidence.listed(limit=10**9):
        data = row["document"].encode()
        if row["number"] not in wanted or sha256_of(data) != row["sha256"]:
            continue
        store = stores(row["store_uri"])
        if isinstance(store, KeepsEvidence):
            store.put_evidence(application.name, row["number"], data, written_by=_written_by(catalog))
            written += 1
    return written == len(wanted)


def evidence_of_catalog(application: Application, *, catalog: Catalog) -> Chain:
    """Return the documents as the catalog alone has them: where the store, a vault, keeps none."""
    rows = catalog.evidence.listed(limit=10**9)
    found = [(row["number"], row["document"].encode()) for row in rows]
    return chain_of(found, application=application.name, known={row["number"]: row["sha256"] for row in rows})


def is_kept_by_store(application: Application, *, stores: Stores) -> bool:
    """Whether an application's store keeps evidence; a vault does not."""
    return isinstance(stores(application.store), KeepsEvidence)
