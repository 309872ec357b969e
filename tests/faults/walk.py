"""One random walk against the model: changes, backups, restores, deletions, deaths, failing requests, lies, time.

The same seed takes the same walk. `soak.py` takes long ones; `test_machine.py` takes the same steps as a state machine
of hypothesis, which finds other orders of them.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable

from glacier_provider.catalog.backups import Run
from glacier_provider.errors import GlacierProviderError
from tests.emulator.faults import FaultKind
from tests.faults.world import LARGE, Abandoned, Kill, World

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
#: What can happen to messages; chosen more often than it would be among all others.
MESSAGE_FAULTS = (FaultKind.LOSE_NOTIFICATION, FaultKind.DUPLICATE_NOTIFICATION, FaultKind.FAIL_JOB)
#: Faults of one operation: of any other they would be something else.
OPERATIONS = {
    FaultKind.SLOW_BODY: ("GetObject", "GetJobOutput"),
    FaultKind.TRUNCATE_BODY: ("GetObject", "GetJobOutput"),
    FaultKind.CORRUPT_BODY: ("GetObject", "GetJobOutput"),
    FaultKind.FAIL_JOB: ("RestoreObject", "InitiateJob"),
    FaultKind.EXPIRE_JOB: ("RestoreObject", "InitiateJob"),
    FaultKind.POLICY: ("RestoreObject", "InitiateJob"),
    FaultKind.CAPACITY: ("RestoreObject", "InitiateJob"),
    FaultKind.LOSE_NOTIFICATION: ("Notification", "Notification"),
    FaultKind.DUPLICATE_NOTIFICATION: ("Notification", "Notification"),
}
BACKUP_STEPS = ("open_backup", "dump_database", "scan_files", "upload_database", "upload_files", "close_backup")
RESTORE_STEPS = (
    "plan_restore",
    "request_retrievals",
    "poll_retrievals",
    "hear_others",
    "hear_messages",
    "download",
    "restore_database",
    "move_orphans",
    "close_restore",
)


#: What a walk does, and how often.
DEEDS = {
    "add_file": 34,
    "delete_file": 14,
    "add_row": 16,
    "delete_row": 8,
    "pass_time": 4,
    "undo_orphans": 3,
    "back_up": 7,
    "back_up_and_die": 4,
    "restore": 4,
    "restore_and_die": 4,
    "abandon_backup": 1,
    "abandon_restore": 1,
    "delete_backup": 3,
    "delete_backup_and_die": 2,
    "abandon_deletion": 1,
    "reconcile": 1,
}


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

    def go(self, steps: int, *, tell: Callable[[str], None] = lambda _: None) -> None:
        """Take so many steps, and tell of each; an error carries the seed and the step as a note."""
        for step in range(1, steps + 1):
            (deed,) = self.chance.choices(list(DEEDS), list(DEEDS.values()))
            try:
                getattr(self, deed)()
            except BaseException as error:
                error.add_note(f"seed {self.seed}, step {step}: {deed}")
                raise
            self.done[deed] += 1
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
            listens = self.chance.random() < 0.5 or (kill is not None and kill.step.startswith("hear"))
            with self.world.listening(self.chance) if listens else contextlib.nullcontext():
                restore_id = self._attempt(lambda run: self.world.restore(backup_id, run, kill), "restore")
            self.restores.append(restore_id)
            self.world.check_all(abandoned=self.abandoned)

    def _some_backup(self) -> int:
        return self.chance.choice(sorted(self.world.backups))

    def _attempt(self, work: Callable[[Run], int], kind: str) -> int:
        """Run with requests that fail now and then; what a retry does not help is continued once they are mended."""
        run, plan = self.world.a_run(kind), self.world.place.plan
        faults = self.chance.choices(
            RESTORE_FAULTS if kind == "restore" else REQUEST_FAULTS, k=self.chance.choice([0, 1, 1, 2, 3])
        )
        if self.world.liar is not None and self.chance.random() < 0.6:
            faults.append(self.chance.choice(MESSAGE_FAULTS))
        for fault in faults:
            rare = OPERATIONS.get(fault)
            operation = "*" if rare is None else rare[0 if self.world.place.exact else 1]
            after = self.chance.randint(0, 12 if rare is None else 1)
            plan.inject(operation, fault, after=after, count=self.chance.choice([1, 1, 2]), seconds=PAUSE)
        try:
            return work(run)
        except GlacierProviderError:
            if not plan.rules():
                raise
        finally:
            plan.clear()
        return work(run)
