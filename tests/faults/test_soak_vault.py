"""The random walk in its short form, on a vault: a file of its own, so that both stores are walked side by side."""

from __future__ import annotations

import pytest

from tests.faults.changing import ChangingWorld
from tests.faults.test_soak import walk


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("place", ["vault"], indirect=True)
@pytest.mark.parametrize("seed", [7])
def test_a_random_walk_agrees_with_the_model(changing: ChangingWorld, seed: int) -> None:
    walk(changing, seed)
