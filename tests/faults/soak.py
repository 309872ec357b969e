"""A long random walk against the model: changes, backups, restores, deletions, deaths, failing requests, time.

`python -m tests.faults.soak --steps 20000 --store s3 --seed 7` prints its figures; a failure names the seed and the
step, and the same seed takes the same walk. `--kills` dies at every instant of every task instead, each in turn.
`test_machine.py` takes the same steps as a state machine of hypothesis, which finds other orders of them.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from glacier_provider.catalog.backups import Run
from glacier_provider.errors import GlacierProviderError
from tests.emulator.faults import FaultKind
from tests.emulator.s3 import S3Emulator
from tests.emulator.vault import VaultEmulator
from tests.faults.kills import Survey, kill_all, survey
from tests.faults.places import Place, S3Place, VaultPlace
from tests.faults.world import LARGE, Abandoned, Kill, World
from tests.support.postgres import EmbeddedPostgres

QUICK = 0.01  # seconds that an emulated retrieval takes
DAY = 86400.0
MOST_FILES = 60  # more are deleted than added from here on
PAUSE = 0.05  # seconds that a slow request takes longer
REQUEST_FAULTS = (
    FaultKind.THROTTLING,
    FaultKind.INTERNAL_ERROR,
    FaultKind.UNAVAILABLE,
    FaultKind.TIMEOUT,
    FaultKind.RESET_BEFORE,
    FaultKind.RESET_AFTER,
    FaultKind.RESET_AFTER,
    FaultKind.ACCESS_DENIED,
    FaultKind.HANG,
    FaultKind.HANG_REPLY,
)
#: What can only happen to what is read back, or asked back.
RESTORE_FAULTS = (
    *REQUEST_FAULTS,
    FaultKind.SLOW_BODY,
    FaultKind.TRUNCATE_BODY,
    FaultKind.CORRUPT_BODY,
    FaultKind.FAIL_JOB,
    FaultKind.EXPIRE_JOB,
    FaultKind.POLICY,
    FaultKind.CAPACITY,
)
#: Faults of one operation: of any other they would be something else.
OPERATIONS = {
    FaultKind.SLOW_BODY: ("GetObject", "GetJobOutput"),
    FaultKind.TRUNCATE_BODY: ("GetObject", "GetJobOutput"),
    FaultKind.CORRUPT_BODY: ("GetObject", "GetJobOutput"),
    FaultKind.FAIL_JOB: ("RestoreObject", "InitiateJob"),
    FaultKind.EXPIRE_JOB: ("RestoreObject", "InitiateJob"),
    FaultKind.POLICY: ("RestoreObject", "InitiateJob"),
    FaultKind.CAPACITY: ("RestoreObject", "InitiateJob"),
}
BACKUP_STEPS = ("open_backup", "dump_database", "scan_files", "upload_database", "upload_files", "close_backup")
RESTORE_STEPS = (
    "plan_restore",
    "request_retrievals",
    "poll_retrievals",
    "download",
    "restore_database",
    "move_orphans",
    "close_restore",
)


class Walk:
    """One seeded walk through one world."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.seed = seed
        self.chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.restores: list[int] = []
        self.abandoned = False
        world.here.catalog.migrate()  # some deeds look into the catalog before the first backup
        self._deeds: dict[Callable[[], None], int] = {
            self.add_file: 34,
            self.delete_file: 14,
            self.add_row: 16,
            self.delete_row: 8,
            self.pass_time: 4,
            self.undo_orphans: 3,
            self.back_up: 7,
            self.back_up_and_die: 4,
            self.restore: 4,
            self.restore_and_die: 4,
            self.abandon_backup: 1,
            self.abandon_restore: 1,
            self.delete_backup: 3,
            self.delete_backup_and_die: 2,
            self.abandon_deletion: 1,
            self.reconcile: 1,
        }

    def go(self, steps: int, *, tell: Callable[[str], None] = lambda _: None) -> None:
        """Take so many steps; an error carries the seed and the step as a note."""
        deeds, weights = list(self._deeds), list(self._deeds.values())
        for step in range(1, steps + 1):
            deed = self.chance.choices(deeds, weights)[0]
            try:
                deed()
            except BaseException as error:
                error.add_note(f"seed {self.seed}, step {step}: {deed.__name__}")
                raise
            self.done[deed.__name__] += 1
            if step % 500 == 0:
                tell(f"{step} steps")
        self.world.back_up()
        self.world.check_all(abandoned=self.abandoned)
        self.reconcile()

    # --- changes ---

    def add_file(self) -> None:
        if len(self.world.present) < MOST_FILES:
            large = self.chance.random() < 0.01
            self.world.add_file(self.chance, LARGE if large else None)

    def delete_file(self) -> None:
        if len(self.world.present) > 1:
            self.world.delete_file(self.chance.choice(sorted(self.world.present)))

    def add_row(self) -> None:
        self.world.add_row()

    def delete_row(self) -> None:
        if self.world.rows:
            self.world.delete_row(self.chance.choice(self.world.rows)[0])

    def pass_time(self) -> None:
        self.world.pass_time(self.chance.choice([60.0, 2 * DAY, 10 * DAY]))

    def undo_orphans(self) -> None:
        if self.restores:
            self.world.undo_orphans(self.restores.pop(self.chance.randrange(len(self.restores))))
            self.world.check_application()
            self.world.check_journal()

    # --- runs ---

    def back_up(self) -> None:
        self._back_up(None)

    def back_up_and_die(self) -> None:
        self._back_up(Kill(self.chance.choice(BACKUP_STEPS), self.chance.randint(1, 45)))

    def restore(self) -> None:
        self._restore(None)

    def restore_and_die(self) -> None:
        self._restore(Kill(self.chance.choice(RESTORE_STEPS), self.chance.randint(1, 35)))

    def abandon_backup(self) -> None:
        """A machine is lost with its scheduler: the run is never continued, its lease ends by itself."""
        run, catalog = self.world.a_run("backup"), self.world.here.catalog
        kill = Kill(self.chance.choice(BACKUP_STEPS), self.chance.randint(1, 45), abandoned=True)
        if not self.world.present:
            self.world.add_file(self.chance)
        with contextlib.suppress(Abandoned):
            self.world.back_up(run, kill)
        self.abandoned = True
        dead = catalog.backups.of_run(run)
        if dead is not None and catalog.backups.get(dead)["state"] == "complete":  # died after that
            self.world.backups[dead] = (dict(self.world.present), list(self.world.rows))
        self.world.end_lease()

    def abandon_restore(self) -> None:
        """The same for a restore; Airflow notes its end, and another restore follows."""
        if not self.world.backups:
            return
        run = self.world.a_run("restore")
        kill = Kill(self.chance.choice(RESTORE_STEPS), self.chance.randint(1, 35), abandoned=True)
        with contextlib.suppress(Abandoned):
            self.world.restore(self._some_backup(), run, kill)
        self.abandoned = True
        dead = self.world.here.catalog.restores.of_run(run)
        if dead is not None:
            self.world.here.catalog.restores.fail(dead, "its machine was lost")
        self.world.end_lease()
        self._restore(None)

    def delete_backup(self) -> None:
        self._delete(None)

    def delete_backup_and_die(self) -> None:
        self._delete(Kill("delete_backup", self.chance.randint(1, 40)))

    def abandon_deletion(self) -> None:
        """A deletion dies and nobody goes on with it: the backup is what it was, or out of use. A backup follows."""
        if not self.world.backups:
            return
        backup_id = self._some_backup()
        kill = Kill("delete_backup", self.chance.randint(1, 40), abandoned=True)
        with contextlib.suppress(Abandoned):
            self.world.delete(backup_id, kill, force=True)
        if self.world.here.catalog.backups.get(backup_id)["state"] != "complete":
            self.world.backups.pop(backup_id, None)
        self.world.end_lease()
        self._back_up(None)

    def reconcile(self) -> None:
        """Days later the store tells of everything it holds; then nothing is there that the catalog does not know."""
        self.world.reconcile()
        self.world.check_all(abandoned=self.abandoned)
        assert self.world.figures.duplicates == 0, "a copy is left that nobody needs"

    def _delete(self, kill: Kill | None) -> None:
        if self.world.backups:
            backup_id = self._some_deletable()
            self._attempt(lambda _: self.world.delete(backup_id, kill, force=True), "delete")
            self.world.check_all(abandoned=self.abandoned)

    def _some_deletable(self) -> int:
        """Return a complete backup, or now and then a failed one."""
        failed = [
            number
            for (number,) in self.world.sql(
                "SELECT id FROM application_data_backups WHERE state IN ('failed', 'deleting') ORDER BY id",
                catalog=True,
            )
        ]
        return self.chance.choice(failed) if failed and self.chance.random() < 0.4 else self._some_backup()

    def _back_up(self, kill: Kill | None) -> None:
        if not self.world.present:
            self.world.add_file(self.chance)
        self._attempt(lambda run: self.world.back_up(run, kill), "backup")
        self.world.check_all(abandoned=self.abandoned)

    def _restore(self, kill: Kill | None) -> None:
        if self.world.backups:
            backup_id = self._some_backup()
            self.restores.append(self._attempt(lambda run: self.world.restore(backup_id, run, kill), "restore"))
            self.world.check_all(abandoned=self.abandoned)

    def _some_backup(self) -> int:
        return self.chance.choice(sorted(self.world.backups))

    def _attempt(self, work: Callable[[Run], int], kind: str) -> int:
        """Run with requests that fail now and then; what a retry does not help is continued once they are mended."""
        run, plan = self.world.a_run(kind), self.world.place.plan
        for _ in range(self.chance.choice([0, 1, 1, 2, 3])):
            fault = self.chance.choice(RESTORE_FAULTS if kind == "restore" else REQUEST_FAULTS)
            rare = OPERATIONS.get(fault)
            operation = "*" if rare is None else rare[0 if self.world.place.exact else 1]
            after = self.chance.randint(0, 30 if rare is None else 3)
            plan.inject(operation, fault, after=after, count=self.chance.choice([1, 1, 2]), seconds=PAUSE)
        try:
            return work(run)
        except GlacierProviderError:
            if not plan.rules():
                raise
        finally:
            plan.clear()
        return work(run)

    def figures(self, seconds: float) -> str:
        """Return what happened, for people."""
        world = self.world
        retries = sum(world.figures.retries.values())
        return "\n".join(
            [
                f"seed {self.seed}: {sum(self.done.values())} steps in {seconds:.0f} s, {world.figures.tasks} tasks",
                f"  deeds: {_told(self.done)}",
                f"  complete backups: {len(world.backups)}, deleted: {world.figures.deleted}; lost files: 0",
                f"  faults injected: {_told(Counter(world.place.plan.counts()))}; tasks tried again: {retries}",
                f"  kills: {world.figures.kills} (and {world.figures.survived} tasks that ended before theirs)",
                f"  duplicates: at most {world.figures.most_duplicates} at a time, {world.figures.duplicates} at the "
                f"end; settled: {world.figures.settled}; not recorded by runs that nobody continued: "
                f"{world.figures.strays}",
            ]
        )


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"


@contextlib.contextmanager
def a_place(store: str, directory: Path) -> Iterator[Place]:
    """Start an emulated store."""
    if store == "s3":
        with S3Emulator(retrieval_seconds=QUICK) as s3:
            yield S3Place(s3, "soak")
    else:
        seconds = {f"{tier}_seconds": QUICK for tier in ("expedited", "standard", "bulk")}
        with VaultEmulator(directory / "vault", **seconds) as vault:
            yield VaultPlace(vault)


@contextlib.contextmanager
def a_world(store: str) -> Iterator[World]:
    """Start PostgreSQL and a store, and put a world on them."""
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as directory,
        EmbeddedPostgres() as postgres,
        a_place(store, Path(directory)) as place,
    ):
        databases = (postgres.create_database("application"), postgres.create_database("catalog"))
        world = World(Path(directory) / "world", place, database=databases[0], catalog=databases[1])
        yield world
        world.close()


RUNS = ("backup", "restore", "deletion")


def die_everywhere(world: World, seed: int, steps: int, runs: Sequence[str] = RUNS) -> str:
    """Die at every instant of every task (at most at `steps` of them, in random order); return the figures."""
    chance = random.Random(seed)
    found = survey(world, chance)
    of_kind = {"backup": found.backups, "restore": found.restores, "deletion": found.deletions}
    kills = [(kind, kill) for kind in runs for kill in of_kind[kind]]
    print(f"{len(kills)} instants", flush=True)
    for number, (kind, kill) in enumerate(chance.sample(kills, min(steps, len(kills))), 1):
        kill_all(world, Survey(**{f"{name}s": [kill] if name == kind else [] for name in of_kind}), chance)
        if number % 25 == 0:
            print(f"{number} deaths", flush=True)
    return (
        f"seed {seed}: {world.figures.kills} kills at {len(kills)} instants ({len(found.backups)} of a backup, "
        f"{len(found.restores)} of a restore, {len(found.deletions)} of a deletion), "
        f"{world.figures.survived} tasks ended before theirs, "
        f"duplicates {world.figures.duplicates}, lost files 0"
    )


@dataclass
class Totals:
    """What the walks of one call came to, over all stores."""

    steps: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, walk: Walk, seconds: float) -> None:
        figures = walk.world.figures
        self.steps += sum(walk.done.values())
        self.seconds += seconds
        self.faults.update(walk.world.place.plan.counts())
        self.counts.update(
            {
                "processes killed": figures.kills,
                "backups complete": len(walk.world.backups) + figures.deleted,
                "backups deleted": figures.deleted,
                "copies settled by reconciliation": figures.settled,
                "duplicates at the end": figures.duplicates,
                "files lost": 0,  # every step would have failed
            }
        )

    def table(self) -> str:
        """Return the figures as a table."""
        rows = [("steps", self.steps), ("seconds", round(self.seconds)), *self.counts.items()]
        rows += [(f"fault: {name}", count) for name, count in self.faults.most_common()]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {count:>8}" for name, count in rows)


def main() -> int:
    """Walk; return 1 and say how to repeat it when something is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--store", choices=["s3", "vault", "both"], default="both")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--kills", action="store_true", help="die at every instant instead of walking")
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS, help="with --kills: only of these")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    totals = Totals()
    for store in ["s3", "vault"] if options.store == "both" else [options.store]:
        began = time.monotonic()
        print(f"{store}: --seed {options.seed} --steps {options.steps}", flush=True)
        with a_world(store) as world:
            if options.kills:
                print(die_everywhere(world, options.seed, options.steps, options.runs), flush=True)
                continue
            walk = Walk(world, options.seed)
            try:
                walk.go(options.steps, tell=lambda line: print(line, flush=True))
            finally:
                totals.add(walk, time.monotonic() - began)
                print(walk.figures(time.monotonic() - began), flush=True)
    if totals.steps:
        print(totals.table(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
