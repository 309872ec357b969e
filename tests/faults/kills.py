"""Every instant of every task, found by an unkilled run; and runs that die at chosen ones and go on."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from tests.faults.world import LARGE, Kill, World

#: Steps that are other ones when somebody listens.
WAITS = ("hear", "poll")


@dataclass(frozen=True)
class Survey:
    """The instants at which tasks of a small world can die.

    `firsts`: those of the first backup's opening, which makes the catalog; then of a backup, a restore, a deletion.
    """

    firsts: list[Kill] = field(default_factory=list)
    backups: list[Kill] = field(default_factory=list)
    restores: list[Kill] = field(default_factory=list)
    deletions: list[Kill] = field(default_factory=list)


def survey(world: World, chance: random.Random) -> Survey:
    """Run a backup, a restore that listens, and a deletion whose tasks tell their instants."""
    world.add_row()
    stir(world, chance)
    world.record_instants = True
    first = world.back_up()
    firsts, world.instants = [kill for kill in _instants(world) if kill.step == "open_backup"], {}
    stir(world, chance)
    world.back_up()
    backups, world.instants = _instants(world), {}
    with world.listening(chance):
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
    return Survey(firsts, backups, restores, deletions)


def _instants(world: World) -> list[Kill]:
    return [Kill(step, number + 1) for step, labels in world.instants.items() for number in range(len(labels))]


def begin(world: World, chance: random.Random) -> None:
    """Bring a new world to where `survey` leaves one: with backups that can be restored and deleted."""
    for _ in range(2):
        stir(world, chance)
        world.back_up()


def stir(world: World, chance: random.Random, *, large: bool = True) -> None:
    """Change files and rows: a file less, some more, of which one perhaps goes in parts, other rows."""
    if world.present:
        world.delete_file(chance.choice(sorted(world.present)))
    for size in (0, 100, *([LARGE] if large else [])):
        world.add_file(chance, size)
    world.add_row()
    if len(world.rows) > 1:
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


def kill_all(
    world: World, kills: Survey, chance: random.Random, *, tell: Callable[[str], None] = lambda _: None
) -> None:
    """Die at each of these instants in turn, go on, check everything after each, and tell how many there were."""
    done = 0
    ways = (
        (_back_up_first, kills.firsts),
        (_back_up, kills.backups),
        (_restore, kills.restores),
        (_delete, kills.deletions),
    )
    for die, some in ways:
        if die is not _back_up_first and not world.backups:
            begin(world, chance)
        for kill in some:
            die(world, kill, chance)
            _check(world, kill)
            done += 1
            tell(f"{done} deaths")


def _back_up_first(world: World, kill: Kill, chance: random.Random) -> None:
    world.renew()
    stir(world, chance, large=False)
    world.back_up(kill=kill)


def _back_up(world: World, kill: Kill, chance: random.Random) -> None:
    stir(world, chance, large=kill.step == "upload_files")
    world.back_up(kill=kill)


def _restore(world: World, kill: Kill, chance: random.Random) -> None:
    stir(world, chance, large=kill.step == "download")  # the one before is away then, and comes back in pieces
    backup_id = chance.choice(sorted(world.backups))
    with world.listening(chance) if kill.step.startswith(WAITS) else nullcontext():
        world.restore(backup_id, kill=kill)


def _delete(world: World, kill: Kill, chance: random.Random) -> None:
    stir(world, chance, large=False)
    world.back_up()
    world.delete(min(world.backups), kill=kill)


def _check(world: World, kill: Kill) -> None:
    try:
        world.check_all()
    except AssertionError as error:
        error.add_note(f"after {kill}: {world.figures.killed_at}")
        raise
