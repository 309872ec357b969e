"""Evidence: what a verification or a drill came to, as a document that outlives the catalog and shows alterations.

A document is JSON, says all that it needs by itself, and names the SHA-256 of the one before it, of the same
application: whoever removes or alters one breaks the chain for all that follow. What no chain can tell is whether the
*last* documents were removed: the catalog knows how many it wrote, and so does who printed the last one's SHA-256.

    chain = chain_of(documents, application="library", known={1: "5f…"})
    chain.faults, chain.last

Pure; nothing that is read is trusted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from glacier_provider.core.proof import Finding, ProofKind
from glacier_provider.core.status import ProofState
from glacier_provider.core.strict_json import strict_json
from glacier_provider.core.told import HIGHEST_ID, ToldWrong, check_plain, checked_text, checked_time

EVIDENCE_FORMAT = 1
#: No document is longer, in bytes: one that would be names fewer things.
LARGEST_EVIDENCE = 1 << 20
_NAMES_IN_LONG = 5
#: Steps of a drill that look at nothing.
_NO_CHECKS = ("choice", "plan", "clear", "spans", "times")


@dataclass(frozen=True, slots=True)
class ToldEvidence:
    """A document that can be what it says. `told` is all of it; times are aware.

    `backup_opened_at` tells the backup apart from another one that has its id in another life of the catalog.
    `corrupt`: store and key of archives whose content was known to be another than what was written.
    """

    number: int
    application: str
    previous_sha256: str | None
    kind: ProofKind
    method: str
    outcome: ProofState
    began_at: datetime
    ended_at: datetime
    backup_id: int | None
    backup_opened_at: datetime | None
    figures: Mapping[str, Any]
    findings: tuple[Finding, ...]
    corrupt: tuple[tuple[str, str], ...]
    told: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Chain:
    """Documents in their order, what is wrong with them in sentences, and the number and SHA-256 of the last one.

    `missing` and `altered` are the numbers of those that are not as the catalog knows them.
    """

    documents: tuple[ToldEvidence, ...]
    faults: tuple[str, ...]
    last: tuple[int, str] | None
    missing: tuple[int, ...] = ()
    altered: tuple[int, ...] = ()


def evidence_document(number: int, previous_sha256: str | None, facts: Mapping[str, Any]) -> bytes:
    """Return the document of this number; the same facts make the same bytes. Times become ISO 8601 text."""
    head = {"evidence": EVIDENCE_FORMAT, "number": number, "previous_sha256": previous_sha256}
    for fit in (_whole, _with_few_names, _without_figures):
        data = json.dumps({**head, **fit(facts)}, indent=1, ensure_ascii=False, default=_plain).encode() + b"\n"
        if len(data) <= LARGEST_EVIDENCE:
            break
    return data


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _whole(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    return facts


def _with_few_names(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    cut = [{**one, "names": one["names"][:_NAMES_IN_LONG]} for one in facts["findings"]]
    return {**facts, "findings": cut, "cut": "names of findings"}


def _without_figures(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**_with_few_names(facts), "figures": {}, "checks": [], "cut": "figures, checks and names of findings"}


def checks_of(figures: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what was looked at, each by its `name`, and whether it `passed`.

    A step that tells `checks` of its own has each of them here, otherwise it is one itself.

    >>> checks_of({"listing": {"listed": 3}}, [{"step": "listing", "grave": True}])
    [{'name': 'listing', 'passed': False}]
    """
    told_of = {one["step"]: False for one in findings if one.get("step")}
    told_of |= {one["step"]: True for one in findings if one.get("step") and one.get("grave")}
    found: list[dict[str, Any]] = []
    for step in {**figures, **told_of}:
        if step in _NO_CHECKS:
            continue
        told = figures.get(step)
        own = told.get("checks") if isinstance(told, Mapping) else None
        if isinstance(own, list):
            found += [one if isinstance(one, dict) else {"name": str(one)} for one in own]
        else:
            found.append({"name": step, "passed": not told_of.get(step)})
    return found


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read_evidence(data: bytes) -> ToldEvidence:
    """Return what a document tells; raise ToldWrong for what is no document, or cannot be so."""
    if len(data) > LARGEST_EVIDENCE:
        raise ToldWrong("it is longer than a document can be")
    try:
        told = strict_json(data)
    except (ValueError, RecursionError) as error:
        raise ToldWrong("it is not JSON") from error
    if not isinstance(told, dict) or told.get("evidence") != EVIDENCE_FORMAT:
        raise ToldWrong("it is not evidence in a form that this version reads")
    try:
        return _told(told)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ToldWrong("it does not tell what evidence tells") from error


def _told(told: dict[str, Any]) -> ToldEvidence:
    backup = told["backup"] or {}
    began_at, ended_at = (checked_time(told[name]) for name in ("began_at", "ended_at"))
    outcome = ProofState(told["outcome"])
    if outcome is ProofState.RUNNING:
        raise ValueError("not ended")
    check_plain(told)
    if not isinstance(told["figures"], dict):
        raise ValueError("no figures")
    return ToldEvidence(
        number=_number(told["number"]),
        application=_text(told["application"]),
        previous_sha256=None if told["previous_sha256"] is None else _text(told["previous_sha256"]),
        kind=ProofKind(told["kind"]),
        method=_text(told["method"]),
        outcome=outcome,
        began_at=began_at,
        ended_at=ended_at,
        backup_id=None if backup.get("id") is None else _number(backup["id"]),
        backup_opened_at=_moment(backup.get("opened_at")),
        figures=told["figures"],
        findings=tuple(_finding(one) for one in told["findings"]),
        corrupt=tuple((_text(one["store_uri"]), checked_text(one["key"], 1200)) for one in told.get("corrupt") or ()),
        told=told,
    )


def _finding(told: Mapping[str, Any]) -> Finding:
    """Return a finding whose values are what queries of the catalog take them for."""
    texts = (told["what"], told["told"], *told["names"])
    if not isinstance(told["names"], list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("no text")
    if type(told["count"]) is not int or type(told["grave"]) is not bool:
        raise ValueError("no finding")
    return Finding.from_dict(told)


def _moment(value: Any) -> datetime | None:
    return None if value is None else checked_time(value)


def _number(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= HIGHEST_ID:
        raise ValueError("no number")
    return value


def _text(value: Any) -> str:
    return checked_text(value, 1000)


def chain_of(
    found: Iterable[tuple[int, bytes]],
    *,
    application: str | None = None,
    known: Mapping[int, str] | None = None,
) -> Chain:
    """Return what documents come to, each with the number that its name tells.

    `known` is what the catalog wrote, SHA-256 by number; None: nobody knows, and only the chain itself is looked at.
    """
    documents: list[ToldEvidence] = []
    faults: list[str] = []
    seen: dict[int, str] = {}
    before: tuple[int, str] | None = None
    for number, data in sorted(found):
        sha256 = seen[number] = sha256_of(data)
        if before is not None and number == before[0]:
            faults.append(f"Document {number} is there twice.")
            continue
        if before is None and number > 1:
            faults.append(f"{_range(1, number - 1)} missing.")
        elif before is not None and number > before[0] + 1:
            faults.append(f"{_range(before[0] + 1, number - 1)} missing.")
        try:
            told = read_evidence(data)
        except ToldWrong as error:
            faults.append(f"Document {number} is not as it was written: {error}.")
        else:
            faults += _faults_of(told, number, before, application)
            application = application or told.application
            documents.append(told)
        before = (number, sha256)
    known = known or {}
    missing = tuple(number for number in sorted(known) if number not in seen)
    altered = tuple(number for number in sorted(known) if seen.get(number, known[number]) != known[number])
    faults += [f"Document {number}, which the catalog knows, is missing." for number in missing]
    faults += [f"Document {number} is not what the catalog wrote." for number in altered]
    return Chain(tuple(documents), tuple(faults), before, missing, altered)


def _faults_of(
    told: ToldEvidence, number: int, before: tuple[int, str] | None, application: str | None
) -> Iterator[str]:
    if told.number != number:
        yield f"Document {number} says that it is number {told.number}."
    if application is not None and told.application != application:
        yield f"Document {number} is of the application {told.application!r}."
    if before is not None and before[0] == number - 1 and told.previous_sha256 != before[1]:
        yield f"Document {before[0]} is not the one that {number} continues: one of the two was altered."
    if number == 1 and told.previous_sha256 is not None:
        yield "Document 1 continues one that is not there."


def _range(first: int, last: int) -> str:
    return f"Document {first} is" if first == last else f"Documents {first} to {last} are"
