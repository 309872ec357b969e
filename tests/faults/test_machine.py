"""The same steps as in the random walk, chosen by hypothesis: a rule-based state machine against the model.

What is drawn is hypothesis' own, so that a failing example is printed as a program of steps and found again.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.faults.changing import ChangingWorld
from tests.faults.walk import Walk

CHANCE = st.randoms(use_true_random=False)


class Machine(RuleBasedStateMachine):
    """One example is one new world; each rule is a deed of the walk, and checks the world after it."""

    make: Callable[[], ChangingWorld]

    @initialize(chance=CHANCE)
    def begin(self, chance: random.Random) -> None:
        self.walk = Walk(type(self).make(), seed=0)
        self._with(chance).add_file()
        self.walk.add_row()

    def _with(self, chance: random.Random) -> Walk:
        self.walk.chance = chance
        return self.walk

    @rule(chance=CHANCE)
    def add_file(self, chance: random.Random) -> None:
        self._with(chance).add_file()

    @rule(chance=CHANCE)
    def delete_file(self, chance: random.Random) -> None:
        self._with(chance).delete_file()

    @rule()
    def add_row(self) -> None:
        self.walk.add_row()

    @rule(chance=CHANCE)
    def delete_row(self, chance: random.Random) -> None:
        self._with(chance).delete_row()

    @rule(chance=CHANCE)
    def pass_time(self, chance: random.Random) -> None:
        self._with(chance).pass_time()

    @rule(chance=CHANCE)
    def back_up(self, chance: random.Random) -> None:
        self._with(chance).back_up()

    @rule(chance=CHANCE)
    def back_up_and_die(self, chance: random.Random) -> None:
        self._with(chance).back_up_and_die()

    @rule(chance=CHANCE)
    def abandon_backup(self, chance: random.Random) -> None:
        self._with(chance).abandon_backup()

    @rule(chance=CHANCE)
    def restore(self, chance: random.Random) -> None:
        self._with(chance).restore()

    @rule(chance=CHANCE)
    def restore_and_die(self, chance: random.Random) -> None:
        self._with(chance).restore_and_die()

    @rule(chance=CHANCE)
    def undo_orphans(self, chance: random.Random) -> None:
        self._with(chance).undo_orphans()

    @rule(chance=CHANCE)
    def delete_backup(self, chance: random.Random) -> None:
        self._with(chance).delete_backup()

    @rule(chance=CHANCE)
    def delete_backup_and_die(self, chance: random.Random) -> None:
        self._with(chance).delete_backup_and_die()

    @rule(chance=CHANCE)
    def abandon_deletion(self, chance: random.Random) -> None:
        self._with(chance).abandon_deletion()

    @rule()
    def reconcile(self) -> None:
        self.walk.reconcile()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("place", ["s3", "vault"], indirect=True)
def test_any_order_of_steps_agrees_with_the_model(make_world: Callable[..., ChangingWorld]) -> None:
    worlds: list[ChangingWorld] = []

    def make() -> ChangingWorld:
        worlds.append(make_world(ChangingWorld))
        return worlds[-1]

    class OfThisTest(Machine):
        pass

    OfThisTest.make = staticmethod(make)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        OfThisTest,
        settings=settings(
            max_examples=3,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            # A step takes a second or so: what fails is told as it is, not made smaller for hours.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    print([(world.figures.tasks, world.figures.kills, world.figures.deleted, len(world.backups)) for world in worlds])
    assert sum(world.figures.tasks for world in worlds) > 50
