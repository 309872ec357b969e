"""The random walk in its shortest form, on S3; `make soak` takes longer ones. `test_soak_vault.py` walks on a vault."""

from __future__ import annotations

import pytest

from tests.faults.changing import ChangingWorld
from tests.faults.walk import Walk

STEPS = 150


def walk(world: ChangingWorld, seed: int) -> None:
    """Walk, and find that something happened on the way; the figures are printed."""
    taken = Walk(world, seed)
    taken.go(STEPS)
    print(taken.done, world.figures, world.place.plan.counts(), world.mail and world.mail.outcome)
    assert sum(taken.done.values()) == STEPS
    assert world.figures.kills > 5
    assert world.figures.deleted > 2
    assert len(world.place.plan.counts()) > 2, "kinds of faults"
    assert world.mail is not None
    assert world.mail.outcome.total() > 0
    assert world.figures.waits.total() > 0, "how a wait ends is a matter of chance in so short a walk"


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("place", ["s3"], indirect=True)
@pytest.mark.parametrize("seed", [7])
def test_a_random_walk_agrees_with_the_model(changing: ChangingWorld, seed: int) -> None:
    walk(changing, seed)
