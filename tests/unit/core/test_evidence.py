"""Documents that are chained tell when one of them was removed or altered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from glacier_provider.core.evidence import LARGEST_EVIDENCE, chain_of, evidence_document, read_evidence, sha256_of
from glacier_provider.core.told import ToldWrong

FACTS: Mapping[str, Any] = {
    "application": "library",
    "kind": "verification",
    "method": "listing",
    "outcome": "passed",
    "began_at": datetime(2026, 11, 2, 3, tzinfo=UTC),
    "ended_at": datetime(2026, 11, 2, 4, tzinfo=UTC),
    "backup": None,
    "figures": {"listing": {"listed": 3}},
    "findings": [],
}


FINDING: Mapping[str, Any] = {"what": "lost", "told": "Lost:", "count": 1, "names": ["a"], "grave": True}


def documents(count: int) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    for number in range(1, count + 1):
        previous = sha256_of(found[-1][1]) if found else None
        found.append((number, evidence_document(number, previous, FACTS)))
    return found


def test_a_whole_chain_has_no_faults_and_tells_its_last() -> None:
    found = documents(4)
    chain = chain_of(reversed(found), application="library", known={n: sha256_of(data) for n, data in found})
    assert (chain.faults, len(chain.documents), chain.last) == ((), 4, (4, sha256_of(found[3][1])))


def test_the_same_facts_make_the_same_bytes() -> None:
    assert evidence_document(1, None, FACTS) == evidence_document(1, None, FACTS)


def test_one_that_is_removed_is_missed_without_any_catalog() -> None:
    first, second, third, fourth = documents(4)
    assert chain_of([first, third, fourth]).faults == ("Document 2 is missing.",)
    assert chain_of([third, fourth]).faults == ("Documents 1 to 2 are missing.",)
    assert chain_of([second, third]).faults == ("Document 1 is missing.",)


def test_one_that_is_altered_is_noticed_without_any_catalog() -> None:
    first, second, third = documents(3)
    altered = (2, second[1].replace(b'"passed"', b'"found"'))
    assert chain_of([first, altered, third]).faults == (
        "Document 2 is not the one that 3 continues: one of the two was altered.",
    )


def test_the_last_one_removed_or_altered_is_noticed_by_what_the_catalog_knows() -> None:
    found = documents(3)
    known = {number: sha256_of(data) for number, data in found}
    assert chain_of(found[:2], known=known).missing == (3,)
    chain = chain_of([*found[:2], (3, evidence_document(3, None, FACTS))], known=known)
    assert chain.altered == (3,)
    assert "Document 3 is not what the catalog wrote." in chain.faults


def test_a_document_in_the_place_of_another_is_noticed() -> None:
    first, second, _ = documents(3)
    assert "Document 3 says that it is number 1." in chain_of([first, second, (3, first[1])]).faults
    assert chain_of([first], application="shop").faults == ("Document 1 is of the application 'library'.",)


def test_a_beginning_that_continues_something_and_two_of_one_number_are_noticed() -> None:
    first, second, _ = documents(3)
    cut = (1, evidence_document(1, sha256_of(b"one that was taken away"), FACTS))
    assert chain_of([cut]).faults == ("Document 1 continues one that is not there.",)
    other = (2, second[1].replace(b'"passed"', b'"found"'))
    assert chain_of([first, second, other]).faults == ("Document 2 is there twice.",)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{" * 5000,
        b'{"evidence": 2}',
        b'{"evidence": 1}',
        json.dumps({"evidence": 1, "number": True}).encode(),
        b" " * (LARGEST_EVIDENCE + 1),
        evidence_document(1, None, {**FACTS, "outcome": "running"}),
        evidence_document(1, None, {**FACTS, "began_at": "2026-11-02T03:00:00"}),
        evidence_document(1, None, {**FACTS, "kind": "x\0"}),
        evidence_document(1, None, {**FACTS, "method": "x\0"}),
        evidence_document(1, None, {**FACTS, "began_at": "0001-01-01T00:00:00+23:59"}),
        evidence_document(1, None, {**FACTS, "ended_at": "9999-12-31T23:59:59-23:59"}),
        evidence_document(1, None, {**FACTS, "figures": {"database": {"bytes": 10**400}}}),
        evidence_document(1, None, {**FACTS, "findings": [{**FINDING, "grave": "maybe"}]}),
        evidence_document(1, None, {**FACTS, "findings": [{**FINDING, "count": "9"}]}),
        evidence_document(1, None, {**FACTS, "findings": [{**FINDING, "names": "abc"}]}),
        evidence_document(1, None, {**FACTS, "findings": [{**FINDING, "names": [1]}]}),
        evidence_document(1, None, {**FACTS, "findings": [{**FINDING, "told": {}}]}),
        evidence_document(10**16, None, FACTS),
    ],
)
def test_what_is_no_evidence_is_told_and_stops_nothing(data: bytes) -> None:
    with pytest.raises(ToldWrong):
        read_evidence(data)
    first, second = documents(2)
    assert chain_of([first, second, (3, data)]).faults[0].startswith("Document 3 is not as it was written: it ")


def test_a_document_never_gets_longer_than_it_may() -> None:
    finding = {"what": "lost", "told": "Lost", "count": 9, "names": ["x" * 4000] * 100, "grave": True}
    long = {**FACTS, "findings": [finding] * 20, "checks": []}
    data = evidence_document(1, None, long)
    assert len(data) <= LARGEST_EVIDENCE
    assert json.loads(data)["cut"] == "names of findings"
    assert len(evidence_document(1, None, {**long, "figures": {"x": "y" * LARGEST_EVIDENCE}})) <= LARGEST_EVIDENCE
