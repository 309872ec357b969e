"""Long random walks against the model, or a death at every instant of every task, in worlds side by side.

`python -m tests.faults.soak --steps 20000 --store both --seed 7` walks: every walk has a world and a seed of its own,
counted up from the given one, and is repeated alone with `--store`, `--seed` and no more `--steps` than one walk has.
`--kills all` (or a number: so many of them, chosen by the seed) dies at the instants that an unkilled backup, restore
and deletion pass through, each in turn, goes on as Airflow would, and checks everything after each. The figures are
printed at the end; what fails names its seed and step, or its instant, and the command's status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.emulator.s3 import S3Emulator
from tests.faults.changing import ChangingWorld
from tests.faults.kills import Survey, kill_all, survey
from tests.faults.left import leave
from tests.faults.mail import NONSENSE
from tests.faults.places import Place, S3Place, VaultPlace, a_vault_emulator
from tests.faults.walk import DEEDS, MESSAGE_FAULTS, RESTORE_FAULTS, Walk
from tests.faults.world import QUICK, World
from tests.support.postgres import EmbeddedPostgres

STEPS_OF_A_WALK = 2000  # a world grows with its steps, and so does the time of one
KILLS_OF_A_WORLD = 100
TELL_SECONDS = 30.0
STORES = ("s3", "vault")
RUNS = ("firsts", "backups", "restores", "deletions")

Answer = TypeVar("Answer")
AnyWorld = TypeVar("AnyWorld", bound=World)


# --- worlds --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def a_place(store: str, directory: Path) -> Iterator[Place]:
    """Start an emulated store."""
    if store == "s3":
        with S3Emulator(retrieval_seconds=QUICK) as s3:
            yield S3Place(s3, "soak")
    else:
        with a_vault_emulator(directory / "vault", seconds=QUICK) as both:
            yield VaultPlace(*both)


@contextlib.contextmanager
def a_world(store: str, kind: type[AnyWorld]) -> Iterator[AnyWorld]:
    """Start PostgreSQL and a store, and put a world of a kind on them."""
    with (
        tempfile.TemporaryDirectory(prefix="soak-", dir=_in_memory()) as directory,
        EmbeddedPostgres() as postgres,
        a_place(store, Path(directory)) as place,
    ):
        databases = (postgres.create_database("application"), postgres.create_database("catalog"))
        world = kind(Path(directory) / "world", place, database=databases[0], catalog=databases[1])
        yield world
        world.close()


def _in_memory() -> str | None:
    """Return a file system in memory with room for several worlds, or None: the usual place."""
    place = "/dev/shm"
    return place if os.access(place, os.W_OK) and shutil.disk_usage(place).free > 4 << 30 else None


# --- what one process does -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """One world's work: a walk of so many steps, or deaths at these instants."""

    store: str
    seed: int
    steps: int = 0
    kills: Survey | None = None
    leave: str = ""

    @property
    def name(self) -> str:
        return f"{self.store}, seed {self.seed}"


@dataclass
class Figures:
    """What came of some work."""

    counts: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    error: str = ""

    def add(self, other: Figures) -> None:
        self.counts.update(other.counts)
        self.most |= other.most
        self.error = self.error or other.error


class Teller:
    """Tells how far a job is, now and then."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = self._told = time.monotonic()

    def tell(self, what: str) -> None:
        now = time.monotonic()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            print(f"{self._name}: {what} in {now - self._began:.0f} s", flush=True)


def perform(job: Job) -> Figures:
    """Do a job in a world of its own. What fails is told in the figures: not every error survives the way back."""
    logging.disable(logging.CRITICAL)
    figures, began = Figures(), time.monotonic()
    try:
        if job.kills is not None:
            with a_world(job.store, World) as world, _counted(world, figures):
                _die(world, job)
        else:
            with a_world(job.store, ChangingWorld) as changing, _counted(changing, figures):
                _walk(changing, job, figures)
    except BaseException:
        figures.error = f"{job.name}:\n{traceback.format_exc()}"
    figures.counts["seconds of all worlds"] = round(time.monotonic() - began)
    return figures


@contextlib.contextmanager
def _counted(world: World, figures: Figures) -> Iterator[None]:
    try:
        yield
    finally:
        _count(world, figures)


def _walk(world: ChangingWorld, job: Job, figures: Figures) -> None:
    walk = Walk(world, job.seed)
    try:
        walk.go(job.steps, tell=Teller(job.name).tell)
    except BaseException:
        if job.leave:
            leave(world, Path(job.leave) / f"{job.store}-{job.seed}", walk.deeds)
        raise
    finally:
        figures.counts["steps"] = sum(walk.done.values())
        figures.counts.update({f"deed: {name.replace('_', ' ')}": number for name, number in walk.done.items()})


def _die(world: World, job: Job) -> None:
    """Die at each of the job's instants, and settle at the end what is twice in the store."""
    chance, teller = random.Random(job.seed), Teller(job.name)
    assert job.kills is not None
    kill_all(world, job.kills, chance, tell=teller.tell)
    world.check_paid_once()
    world.reconcile()
    world.check_all()
    assert world.figures.duplicates == 0, "a copy is left that nobody needs"


def _count(world: World, figures: Figures) -> None:
    told = world.figures
    figures.counts.update(
        {
            "tasks": told.tasks,
            "tasks tried again": sum(told.retries.values()),
            "processes killed": told.kills,
            "tasks that ended before their instant": told.outlived.total(),
            "backups complete": len(world.backups) + told.deleted,
            "backups deleted": told.deleted,
            "copies settled by reconciliation": told.settled,
            "duplicates at the end": told.duplicates,
        }
    )
    figures.counts.update({f"event: {name}": number for name, number in told.events.items()})
    figures.counts.update({f"slept in: {step.partition(':')[0]}": number for step, number in told.slept_at.items()})
    figures.most["duplicates at any time, at most"] = told.most_duplicates
    figures.counts.update({f"killed in: {step}": number for step, number in told.killed_in().items()})
    figures.counts.update({f"ended before: {step}": number for step, number in told.outlived.items()})
    figures.counts.update({f"fault: {kind}": number for kind, number in world.place.plan.counts().items()})
    figures.counts.update({f"waits ended: {how}": number for how, number in told.waits.items()})
    if world.mail is not None:
        figures.counts.update({f"message: {kind}": number for kind, number in world.mail.sent.items()})
        figures.counts.update({f"notifications: {kind}": number for kind, number in world.mail.outcome.items()})


def find_instants(store: str, seed: int) -> Survey:
    """Return the instants at which tasks on this store can die."""
    logging.disable(logging.CRITICAL)
    with a_world(store, World) as world:
        return survey(world, random.Random(seed))


def apart(work: Callable[..., Answer], *arguments: object) -> Answer:
    """Do some work in a process that begins and ends with it: its world's memory and threads go with it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as one:
        return one.submit(work, *arguments).result()


# --- all together --------------------------------------------------------------------------------------------------


def walks(store: str, seed: int, steps: int, leave_in: str = "") -> list[Job]:
    """Divide steps into walks."""
    shares = [min(STEPS_OF_A_WALK, steps - first) for first in range(0, steps, STEPS_OF_A_WALK)]
    return [Job(store, seed + number, steps=share, leave=leave_in) for number, share in enumerate(shares)]


def deaths(store: str, seed: int, found: Survey, runs: Sequence[str], most: int | None) -> list[Job]:
    """Divide the instants of these runs, or so many of them, among worlds."""
    chance = random.Random(seed)
    chosen = [(run, kill) for run in runs for kill in getattr(found, run)]
    chosen = chance.sample(chosen, min(most, len(chosen)) if most is not None else len(chosen))
    shares = [chosen[first : first + KILLS_OF_A_WORLD] for first in range(0, len(chosen), KILLS_OF_A_WORLD)]
    return [
        Job(
            store,
            seed + number,
            kills=Survey(**{run: [kill for of, kill in share if of == run] for run in RUNS}),
        )
        for number, share in enumerate(shares)
    ]


class Soak:
    """Jobs in processes side by side, and their figures by store."""

    def __init__(self, pool: ThreadPoolExecutor, stores: Sequence[str]) -> None:
        self._pool = pool
        self.figures = {store: Figures() for store in stores}

    def run(self, jobs: Sequence[Job]) -> bool:
        """Do the jobs; return whether all ended well. Those that have not begun when one fails are left undone."""
        futures = {self._pool.submit(apart, perform, job): job for job in jobs}
        for number, future in enumerate(as_completed(futures), 1):
            if future.cancelled():
                continue
            job, told = futures[future], future.result()
            self.figures[job.store].add(told)
            if told.error:
                print(told.error, file=sys.stderr, flush=True)
                self._pool.shutdown(wait=False, cancel_futures=True)
            else:
                print(f"{job.name} is done: {number} of {len(jobs)} worlds", flush=True)
        return not any(told.error for told in self.figures.values())

    def table(self) -> str:
        """Return the figures, a column for each store."""
        everything = [{**told.counts, **told.most} for told in self.figures.values()]
        names = sorted({name for column in everything for name in column}, key=_order)
        width = max(map(len, names))
        lines = [" " * width + "".join(f"{store:>10}" for store in self.figures)]
        return "\n".join(
            lines
            + [f"{name:<{width}}" + "".join(f"{column.get(name, 0):>10}" for column in everything) for name in names]
        )

    def never(self, expected: Sequence[str]) -> list[str]:
        """Return what was to happen and did not, by store."""
        return [
            f"{name} ({store})" for store, told in self.figures.items() for name in expected if not told.counts[name]
        ]


def _order(name: str) -> tuple[str, str]:
    return (name.partition(":")[0] if ":" in name else "", name)


#: What a walk of a thousand steps has to come to.
EXPECTED = (
    *(f"deed: {name.replace('_', ' ')}" for name in DEEDS),
    *(f"fault: {kind}" for kind in dict.fromkeys((*RESTORE_FAULTS, *MESSAGE_FAULTS))),
    *(f"message: {kind}" for kind in NONSENSE),
    "notifications: settled",
    "waits ended: by a message",
    "waits ended: by a look",
    "processes killed",
)


def main() -> int:
    """Walk or die; return 1 and say how to repeat it when something is not as it must be."""
    options = _options()
    stores = STORES if options.store == "both" else (options.store,)
    began = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        soak = Soak(pool, stores)
        if options.kills is not None:
            jobs = _deaths_of(pool, soak, stores, options)
        else:
            print(f"--steps {options.steps} --seed {options.seed}, {options.jobs} worlds at a time", flush=True)
            jobs = [walks(store, options.seed, options.steps, options.leave) for store in stores]
        well = soak.run([job for turn in _turns(jobs) for job in turn])
    print(f"{soak.table()}\n{time.monotonic() - began:.0f} s in all", flush=True)
    if options.kills is None and options.steps >= 1000 and (never := soak.never(EXPECTED)):
        print(f"never happened: {', '.join(never)}", flush=True)
    return 0 if well else 1


def _deaths_of(
    pool: ThreadPoolExecutor, soak: Soak, stores: Sequence[str], options: argparse.Namespace
) -> list[list[Job]]:
    most = None if options.kills == "all" else int(options.kills)
    surveys = {store: pool.submit(apart, find_instants, store, options.seed) for store in stores}
    jobs = []
    for store, found in ((store, future.result()) for store, future in surveys.items()):
        for run in RUNS:
            soak.figures[store].counts[f"instants of {run}"] = len(getattr(found, run))
        jobs.append(deaths(store, options.seed, found, options.runs, most))
        told = ", ".join(f"{len(getattr(found, run))} of {run}" for run in RUNS)
        print(f"{store}: instants found: {told}; {len(jobs[-1])} worlds", flush=True)
    return jobs


def _turns(jobs: Sequence[Sequence[Job]]) -> Iterator[list[Job]]:
    """Let the stores take turns, so that they are walked side by side."""
    for number in range(max(map(len, jobs), default=0)):
        yield [of_store[number] for of_store in jobs if number < len(of_store)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000, help="in each store")
    parser.add_argument("--store", choices=[*STORES, "both"], default="both")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--kills", metavar="all|N", type=_kills, help="die at instants instead of walking")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS, help="with --kills: only of these")
    parser.add_argument(
        "--leave", default="", metavar="DIRECTORY", help="what a walk that fails leaves is written there"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worlds at a time")
    return parser.parse_args()


def _kills(text: str) -> str:
    if text != "all" and not text.isdigit():
        raise argparse.ArgumentTypeError("all, or a number")
    return text


if __name__ == "__main__":
    sys.exit(main())
