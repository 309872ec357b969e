"""What findings make of a proof."""

from __future__ import annotations

from decimal import Decimal

import pytest

from glacier_provider.catalog.batch import ReportCompared, ToldOtherwise
from glacier_provider.core.cost import Stored, checksums_cost
from glacier_provider.core.prices import LIST_PRICES, override
from glacier_provider.core.proof import Finding, Standing, finding_lines, standing_of, state_of
from glacier_provider.core.status import ProofState
from glacier_provider.pipelines.verify.content import is_plausible

GRAVE, LIGHT = Finding("lost", "Lost:", 2, ("a", "b")), Finding("versions", "Old ones.", grave=False)


def test_only_what_is_grave_keeps_a_proof_from_passing() -> None:
    assert state_of([]) == state_of([LIGHT]) == ProofState.PASSED
    assert state_of([LIGHT, GRAVE]) == ProofState.FOUND
    assert state_of([GRAVE], failed=True) == ProofState.FAILED


@pytest.mark.parametrize(
    ("state", "missed", "standing"),
    [
        (ProofState.PASSED, False, Standing.OK),
        (ProofState.PASSED, True, Standing.OVERDUE),
        (ProofState.FOUND, False, Standing.FAILED),
        (ProofState.FAILED, False, Standing.FAILED),
        (None, False, Standing.NEVER),
        (None, True, Standing.OVERDUE),
    ],
)
def test_what_found_something_and_what_could_not_look_have_both_failed(
    state: ProofState | None, missed: bool, standing: Standing
) -> None:
    assert standing_of(state, missed=missed, asked_for=True) is standing


def test_findings_come_back_as_they_were_and_are_told_the_grave_ones_first() -> None:
    assert Finding.from_dict(GRAVE.as_dict()) == GRAVE
    assert finding_lines([LIGHT, GRAVE]) == ["Lost: a, b.", "Old ones."]


@pytest.mark.parametrize(
    ("matched", "differing", "believed"),
    [
        (1, 1, True),
        (0, 1, False),
        (5, 10, True),
        (5, 11, False),
        (999_997, 3, True),
        (900, 100, True),
        (890, 110, False),
    ],
)
def test_few_are_believed_to_be_corrupt_and_many_are_not(matched: int, differing: int, believed: bool) -> None:
    none = ToldOtherwise()
    told = ReportCompared(matched + differing, matched, ToldOtherwise(differing), none, {}, 0)
    assert is_plausible(told) is believed


def test_checksums_cost_a_job_each_and_their_objects_and_bytes() -> None:
    asked = [Stored("GLACIER", 1_000_000, 100 * 2**30), Stored("GLACIER", 30, 10 * 2**30), Stored("GLACIER", 0, 0)]
    assert checksums_cost(asked, LIST_PRICES) == Decimal("0.5") + Decimal("1.00003") + Decimal("0.44")
    own = override(LIST_PRICES, {"batch": {"per_job": 1, "checksum_per_gb": 0}})
    assert checksums_cost(asked, own) == Decimal("2") + Decimal("1.00003")
    with pytest.raises(ValueError, match=r"prices\.batch\.per_jop: there is no such figure"):
        override(LIST_PRICES, {"batch": {"per_jop": 1}})
