"""The random walk in its short form; `make soak` takes the long one."""

from __future__ import annotations

import pytest

from tests.faults.soak import Walk
from tests.faults.world import World

STEPS = 200


@pytest.mark.timeout(900)
@pytest.mark.parametrize("place", ["s3", "vault"], indirect=True)
@pytest.mark.parametrize("seed", [7])
def test_a_random_walk_agrees_with_the_model(world: World, seed: int) -> None:
    walk = Walk(world, seed)
    walk.go(STEPS)
    print(walk.figures(0))
    assert sum(walk.done.values()) == STEPS
    assert world.figures.kills > 0
    assert world.place.plan.counts()
