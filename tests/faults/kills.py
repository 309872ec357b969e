"""Every instant of every task, found by an unkilled run; and runs that die at chosen ones and go on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.world import LARGE, Kill, World


@dataclass(frozen=True)
class Survey:
    """The instants at which a backup, a restore and a deletion of a small world can die."""

    backups: list[Kill]
    restores: list[Kill]
    deletions: list[Kill]


def survey(world: World, chance: random.Random) -> Survey:
    """Run a backup and a restore whose tasks tell their instants."""
    world.add_row()
    stir(world, chance)
    world.record_instants = True
    first = world.back_up()
    backups, world.instants = _instants(world), {}
    stir(world, chance)
    world.record_instants = False
    world.back_up()
    world.record_instants = True
    world.restore(first)
    restores, world.instants = _instants(world), {}
    world.record_instants = False
    stir(world, chance)
    world.back_up()
    world.record_instants = True
    world.delete(first)
    deletions, world.instants = _instants(world), {}
    world.record_instants = False
    world.check_all()
    return Survey(backups, restores, deletions)


def _instants(world: World) -> list[Kill]:
    return [Kill(step, number + 1) for step, labels in world.instants.items() for number in range(len(labels))]


def stir(world: World, chance: random.Random, *, large: bool = True) -> None:
    """Change files and rows: a file less, some more, of which one perhaps goes in parts, other rows."""
    if world.present:
        world.delete_file(chance.choice(sorted(world.present)))
    for size in (0, 100, *([LARGE] if large else [])):
        world.add_file(chance, size)
    world.add_row()
    world.delete_row(world.rows[0][0])
    for name in [name for name, content in world.present.items() if len(content) == LARGE][:-1]:
        world.delete_file(name)


def sample(kills: Sequence[Kill], count: int, chance: random.Random) -> list[Kill]:
    """Return some of the kills, from as many tasks as possible."""
    by_step: dict[str, list[Kill]] = {}
    for kill in kills:
        by_step.setdefault(kill.step, []).append(kill)
    shuffled = [chance.sample(of_step, len(of_step)) for of_step in by_step.values()]
    turns = [kills[turn] for turn in range(max(map(len, shuffled))) for kills in shuffled if turn < len(kills)]
    return turns[:count]


def kill_all(world: World, kills: Survey, chance: random.Random) -> None:
    """Die at each of these instants in turn, go on, and check everything after each."""
    for kill in kills.backups:
        stir(world, chance, large=kill.step == "upload_files")
        world.back_up(kill=kill)
        _check(world, kill)
    known = sorted(world.backups)
    for turn, kill in enumerate(kills.restores):
        stir(world, chance, large=False)
        world.restore(known[turn % len(known)], kill=kill)
        _check(world, kill)
    for kill in kills.deletions:
        stir(world, chance, large=False)
        world.back_up()
        world.delete(min(world.backups), kill=kill)
        _check(world, kill)


def _check(world: World, kill: Kill) -> None:
    try:
        world.check_all()
    except AssertionError as error:
        error.add_note(f"after {kill}: {world.figures.killed_at}")
        raise
