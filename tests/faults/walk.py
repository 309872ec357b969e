"""One random walk against the model: changes, backups, restores, deletions, deaths, failing requests, lies, time.

The same seed takes the same walk. `soak.py` takes long ones; `test_machine.py` takes the same steps as a state machine
of hypothesis, which finds other orders of them.
"""

from __future__ import annotations

import contextlib
import errno
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from glacier_provider.catalog.backups import Run
from glacier_provider.core.retention import Retention
from glacier_provider.errors import BackupNotRestorable, FileMissing, GlacierProviderError, IllegalMove, StoreDenied
from glacier_provider.pipelines.delete import judge_backups
from tests.emulator.faults import FaultKind
from tests.faults.changing import ChangingWorld
from tests.faults.world import HOUR, LONG_AGO, Abandoned, Kill

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
#: How restores ask for what is cold: None is the application's usual tier; capacity is refused to Expedited ones alone.
TIERS = (None, None, "Expedited", "Standard", "Bulk")
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
POOL_FROM = 300  # new files that processes send
LARGE = 1_200_000  # in two parts
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
#: Of restores, those that a process may sleep in without holding locks of the application's database.
SLEEPING = ("request_retrievals", "poll_retrievals", "download", "move_orphans", "close_restore")


#: What a walk does, and how often.
DEEDS = {
    "add_file": 30,
    "delete_file": 12,
    "replace_file": 4,
    "change_in_place": 4,
    "touch_file": 2,
    "hide_file": 3,
    "bring_file_back": 3,
    "add_row": 12,
    "delete_row": 6,
    "pass_time": 4,
    "undo_orphans": 3,
    "back_up": 7,
    "back_up_and_die": 4,
    "restore": 4,
    "restore_and_die": 4,
    "overlap_restores": 1,
    "abandon_backup": 1,
    "abandon_restore": 1,
    "delete_backup": 3,
    "delete_backup_and_die": 2,
    "abandon_deletion": 1,
    "reconcile": 1,
    "lose_archives": 2,
    "give_back": 2,
    "empty_store": 0.4,
    "refuse_deletions": 0.5,
    "break_disk": 1,
    "mend_disk": 1,
    "sleep_through": 2,
    "mark_as_done": 1,
    "clear_tasks": 1,
    "copy_catalog": 1,
    "go_back": 0.7,
    "rebuild": 0.7,
    "keep_by_rule": 0.5,
}


class Walk:
    """One seeded walk through one world."""

    def __init__(self, world: ChangingWorld, seed: int) -> None:
        self.world = world
        self.seed = seed
        self.chance = random.Random(seed)
        self.tiers = random.Random(f"tiers of {seed}")
        self.done: Counter[str] = Counter()
        self.deeds: list[str] = []
        self.abandoned = False
        self.every = self.chance.choice([DAY, DAY, 7 * DAY, 30 * DAY])
        self.most_files = MOST_FILES
        self.events = world.events
        self.events[f"schedule: every {self.every / DAY:.0f} days"] += 1
        world.start()

    @property
    def restores(self) -> list[int]:
        return self.world.restores

    def many_files(self) -> None:
        """Have so many new files that processes send them."""
        self.most_files = 2 * POOL_FROM + MOST_FILES
        for _ in range(POOL_FROM + 20):
            self.world.add_file(self.chance, self.chance.choice([1, 100]))
        self.events["files enough for upload processes"] += 1

    def go(self, steps: int, *, tell: Callable[[str], None] = lambda _: None) -> None:
        """Take so many steps, and tell of each; an error carries the seed and the step as a note."""
        for step in range(1, steps + 1):
            (deed,) = self.chance.choices(list(DEEDS), list(DEEDS.values()))
            self.deeds.append(f"{step} {deed}; backups {sorted(self.world.backups)}")
            try:
                getattr(self, deed)()
            except BaseException as error:
                error.add_note(f"seed {self.seed}, step {step}: {deed}")
                raise
            if step == 50 and self.seed % 4 == 1:
                self.many_files()
            self.done[deed] += 1
            tell(f"{step} steps")
        self.world.back_up()
        self.world.check_all(abandoned=self.abandoned)
        self.reconcile()

    # --- changes ---

    def add_file(self) -> None:
        if len(self.world.present) < self.most_files:
            large = self.chance.random() < 0.12
            self.world.add_file(self.chance, LARGE if large else None)
            self.events["files in several parts"] += large

    def delete_file(self) -> None:
        if len(self.world.present) > 1:
            self.world.delete_file(self._some_file())
            if self.most_files > MOST_FILES and self.chance.random() < 0.5:
                for _ in range(min(10, len(self.world.present) - 1)):
                    self.world.delete_file(self._some_file())

    def replace_file(self) -> None:
        """A name is given again: to another content, or to the same one; perhaps a backup was made in between."""
        if self.world.present:
            name = self._some_file()
            content = self._another(self.world.present[name])
            self.world.delete_file(name)
            if self.chance.random() < 0.3:
                self._back_up(None)
            self.world.write(name, content)
            self.events["a name was given again"] += 1

    def change_in_place(self) -> None:
        """The content of a file changes: with its size or time, or with neither."""
        if self.world.present:
            name = self._some_file()
            content, at = self._another(self.world.present[name]), LONG_AGO
            how = self.chance.choice(["size and time", "time", "nothing that shows"])
            if how != "nothing that shows":
                at += self.chance.randint(1, 10**6)
            if how == "size and time":
                content += b"more"
            self.world.write(name, content, at=at)
            self.events[f"a file changed in place, with {how}"] += 1

    def touch_file(self) -> None:
        if self.world.present:
            name = self._some_file()
            self.world.write(name, self.world.present[name], at=LONG_AGO + self.chance.randint(1, 10**6))

    def hide_file(self) -> None:
        """A file vanishes, and will be back."""
        if len(self.world.present) > 2:
            name = self._some_file()
            self.world.hidden[name] = self.world.present[name]
            self.world.delete_file(name)

    def bring_file_back(self) -> None:
        for name in sorted(self.world.hidden)[:1]:
            content = self.world.hidden.pop(name)
            if name not in self.world.present:
                other = self.chance.random() < 0.3
                self.world.write(name, self._another(content) if other else content)
                self.events[f"a file came back, with {'another' if other else 'the same'} content"] += 1

    def _some_file(self) -> str:
        return self.chance.choice(sorted(self.world.present))

    def _another(self, content: bytes) -> bytes:
        """Return other content of the same size."""
        seed = f"{self.chance.random()} ".encode()
        return (seed * (len(content) // len(seed) + 1))[: len(content)]

    # --- the disk and the store ---

    def break_disk(self) -> None:
        """Some files cannot be read for a while."""
        names = sorted(self.world.present)
        if len(names) > 8:
            for name in self.chance.sample(names, self.chance.randint(1, 2)):
                number = self.chance.choice([errno.EIO, errno.EACCES, errno.ESTALE])
                self.world.unreadable[name.rpartition("/")[2]] = number
                self.events[f"unreadable: {errno.errorcode[number]}"] += 1

    def mend_disk(self) -> None:
        self.world.unreadable.clear()

    def lose_archives(self) -> None:
        """The store loses some archives, of any kind."""
        self.world.pass_time(600)
        kinds = self.chance.choice([("file",), ("file",), ("file",), ("database",), ("manifest",)])
        keys = self.world.archived_keys(kinds)
        for key in self.chance.sample(keys, min(len(keys), self.chance.randint(1, 3))):
            self.world.lose(key)
            self.events[f"store: lost a {kinds[0]}"] += 1
        if not self.world.place.exact:
            self.world.pass_time(2 * DAY)  # for a day a vault takes requests for what it has no more

    def give_back(self) -> None:
        """Something is there again that was lost; or was deleted, where a store keeps versions."""
        keys = self.world.place.gone()
        if keys:
            for key in self.chance.sample(keys, min(len(keys), self.chance.randint(1, 3))):
                self.events[f"store: gave back what was {'lost' if key in self.world.quiet else 'gone'}"] += 1
                self.world.give_back(key)

    def empty_store(self) -> None:
        """Everything is gone from the store, or another store is in its place."""
        self.world.pass_time(600)
        self.world.empty_store()
        self.events["store: emptied"] += 1
        if not self.world.place.exact:
            self.world.pass_time(2 * DAY)

    def refuse_deletions(self) -> None:
        """The store keeps what is to be deleted: a lock, or a policy; later it does no longer."""
        if not self.world.backups:
            return
        self.world.place.hold(deletes=True)
        try:
            backup_id = self._some_backup()
            there = self.world.dump_is_there(backup_id)
            try:
                self.world.delete(backup_id, None, force=True)
            except StoreDenied:
                self.events["store: kept what was to be deleted"] += 1
            else:
                assert not there, f"backup {backup_id} was deleted from a store that deletes nothing"
                return
            self.world.settle_refused(backup_id)
            if not self.world.lease_is_held():  # that of a dead run is free only with what the refusal took back
                self.world.check_all(abandoned=self.abandoned)
        finally:
            self.world.place.hold(deletes=False)
        if self.chance.random() < 0.7:
            self._attempt(lambda _: self.world.delete(backup_id, None, force=True), "delete")
            self.world.check_all(abandoned=self.abandoned)

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

    def overlap_restores(self) -> None:
        """A restore has brought its files, another one is made, and the first goes on, or says what left meanwhile."""
        if not self.world.backups:
            return
        self.world.unreadable.clear()
        one, other, run = self._some_backup(), self._some_backup(), self.world.a_run("restore")
        self.world.between = lambda: self._restore_between(one, other)
        try:
            try:
                self.world.plan_view()
                restore_id = self.world.restore(one, run)
            except IllegalMove as error:
                if "Clear the task plan_restore" not in str(error):
                    raise
                self.events["a restore was told what left while it waited"] += 1
                self.world.plan_view()
                restore_id = self.world.restore(one, run)
        except BackupNotRestorable:
            self.abandoned = True
            self.world.between = lambda: None
            self._restore_something()
            return
        finally:
            self.world.between = lambda: None
        self.restores.append(restore_id)
        self.world.check_all(abandoned=self.abandoned)

    def _restore_between(self, half_restored: int, backup_id: int) -> None:
        self.world.between = lambda: None
        self.world.note_half_restored(half_restored)
        self.world.plan_view()
        with contextlib.suppress(BackupNotRestorable):
            self.restores.append(self.world.restore(backup_id))

    def abandon_backup(self) -> None:
        """A machine is lost with its scheduler: the run is never continued, its lease ends by itself."""
        run = self.world.a_run("backup")
        kill = Kill(self.chance.choice(BACKUP_STEPS), self.chance.randint(1, 45), abandoned=True)
        if not self.world.present:
            self.world.add_file(self.chance)
        with contextlib.suppress(Abandoned):
            self.world.back_up(run, kill)
        self._left_by_backup(run)
        self.world.end_run(run, self.chance)

    def _left_by_backup(self, run: Run) -> None:
        self.abandoned = True
        catalog = self.world.here.catalog
        dead = catalog.backups.of_run(run)
        if dead is not None and catalog.backups.get(dead)["state"] == "complete":  # died after that
            self.world.note_dead_backup(dead)

    def _staged_late(self, kind: str, run: Run) -> None:
        """Who slept before it made its staging directory makes it when it wakes; the next run that ends clears it."""
        catalog = self.world.here.catalog
        slept = catalog.backups.of_run(run) if kind == "backup" else catalog.restores.of_run(run)
        self.world.stray_staging.add(f"{self.world.application.name}-{kind}-{slept}")

    def abandon_restore(self) -> None:
        """The same for a restore; Airflow notes its end, and another restore follows."""
        if not self.world.backups:
            return
        run = self.world.a_run("restore")
        kill = Kill(self.chance.choice(RESTORE_STEPS), self.chance.randint(1, 35), abandoned=True)
        with contextlib.suppress(Abandoned, BackupNotRestorable):
            self.world.plan_view()
            self.world.restore(self._some_backup(), run, kill)
        self.abandoned = True
        dead = self.world.here.catalog.restores.of_run(run)
        if dead is not None and self.chance.random() < 0.5:
            self.world.here.catalog.restores.fail(dead, "its machine was lost")
        self.world.end_run(run, self.chance)
        self._restore_something()

    def _restore_something(self) -> None:
        """After a restore that was left in the middle: what is in the directory and the database is known again."""
        self.world.settle_fallen()
        while self.world.backups and not self._restore(None):
            pass
        if not self.world.backups:
            self.world.look_again()

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
        self._left_by_deletion(backup_id)
        self.world.end_lease()
        self._back_up(None)

    def _left_by_deletion(self, backup_id: int) -> None:
        self.abandoned = True
        if self.world.here.catalog.backups.get(backup_id)["state"] != "complete":
            self.world.note_dead_deletion(backup_id)

    # --- processes that sleep ---

    def sleep_through(self) -> None:
        """A process is stopped at some instant; its lease ends, others work; then it wakes, and changes nothing."""
        if not self.world.backups:
            return
        kind = self.chance.choice(["backup", "backup", "restore", "delete"])
        run, backup_id = self.world.a_run(kind), self._some_backup()
        step = {
            "backup": self.chance.choice(BACKUP_STEPS),
            "restore": self.chance.choice(SLEEPING),
            "delete": "delete_backup",
        }
        kill = Kill(step[kind], self.chance.randint(1, 40), sleeps=True)
        self.world.meanwhile = lambda: self._others_work(run, kind, backup_id)
        self.abandoned = True
        self.world.unreadable.clear()
        if not self.world.present:
            self.world.add_file(self.chance)
        try:
            if kind == "backup":
                self.world.back_up(run, kill)
            elif kind == "restore":
                self.world.plan_view()
                self.world.restore(backup_id, run, kill)
            else:
                self.world.delete(backup_id, kill, force=True)
        except Abandoned as slept:
            self.events[f"slept in {slept}"] += 1
            if kind == "backup":
                self._left_by_backup(run)
            if kind in ("backup", "restore"):
                self._staged_late(kind, run)
            elif kind == "delete":
                self._left_by_deletion(backup_id)
            if self.world.lease_is_held():  # it slept before it began, and began after the others; then it is lost
                self.world.end_run(run, self.chance)
                self._back_up(None)
        except BackupNotRestorable:
            return
        self.world.settle_fallen()
        self.world.check_all(abandoned=True)

    def _others_work(self, run: Run, kind: str, backup_id: int) -> None:
        self.world.pass_time(2 * HOUR)
        if kind == "restore":
            self.world.here.catalog.backups.run_is_over(run, "failed")  # as Airflow notes it: it held no lease
            self.world.note_half_restored(backup_id)
        if kind != "backup":
            self._restore_something()
        self._back_up(None, check=False)

    # --- people ---

    def mark_as_done(self) -> None:
        """A person marks a task as success that did not run: a sentence says which to clear, and that helps."""
        if not self.world.present:
            self.world.add_file(self.chance)
        self.world.unreadable.clear()
        run = self.world.a_run("backup")
        self.world.skip = self.chance.choice(["dump_database", "scan_files", "upload_database", "upload_files"])
        said = ""
        try:
            self.world.back_up(run)
        except (IllegalMove, FileMissing) as error:
            said = str(error)
        marked, self.world.skip = self.world.skip, ""
        if said:  # else there was nothing for that task to do
            assert f"Clear the task {marked}" in said or "Clear the task dump_database" in said, said
            self.events[f"marked as done: {marked}"] += 1
            self.world.back_up(run)
        self.world.check_all(abandoned=self.abandoned)

    def clear_tasks(self) -> None:
        """A person clears the tasks of a run that is complete: they run again and change nothing."""
        if not self.world.present:
            self.world.add_file(self.chance)
        run = self.world.a_run("backup")
        self.world.unreadable.clear()
        backup_id = self.world.back_up(run)
        files = dict(self.world.present)
        before = self.world.backups[backup_id]
        self.add_file()
        there, self.world.present = self.world.present, files
        assert self.world.back_up(run) == backup_id
        self.world.present = there
        assert self.world.backups[backup_id] == before
        self.events["tasks cleared that were done"] += 1
        self.world.check_all(abandoned=self.abandoned)

    def keep_by_rule(self) -> None:
        """Delete what the rule does not keep; never the newest backup."""
        application = replace(self.world.application, retention=Retention(keep_last=5, keep_weekly=2, keep_monthly=2))
        judged = judge_backups(application, catalog=self.world.here.catalog)
        going = [one.backup_id for one in judged if one.may_go]
        if self.world.backups:
            assert max(self.world.backups) not in going
        for backup_id in going[:2]:
            self.world.delete(backup_id, None, force=True)
            self.events["deleted by the rule"] += 1
        self.world.check_all(abandoned=self.abandoned)

    # --- the catalog ---

    def copy_catalog(self) -> None:
        self.world.keep_catalog()

    def go_back(self) -> None:
        """The catalog is replaced by its copy of some steps ago; the next backup goes on with it."""
        if self.world.go_back(same_place=self.chance.random() < 0.5):
            self.abandoned = True
            if not self.world.lease_is_held():  # else it was copied when a dead run had left one
                self.world.check_all(abandoned=True)
            self._back_up(None)

    def rebuild(self) -> None:
        """The catalog is lost, and made anew from the store; a backup follows, or a restore."""
        if self.world.rebuild() is not None:
            self.abandoned = True
            self.world.check_all(abandoned=True)
            self._back_up(None) if self.chance.random() < 0.5 else self._restore(None)

    def reconcile(self) -> None:
        self.world.place.listings_take(self.chance.uniform(3, 12) * HOUR)
        self._reconcile()

    def _reconcile(self) -> None:
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

    def _back_up(self, kill: Kill | None, *, check: bool = True) -> None:
        if not self.world.present:
            self.world.add_file(self.chance)
        self.world.pass_time(self.every * self.chance.uniform(0.9, 1.1))
        self._attempt(lambda run: self.world.back_up(run, kill), "backup")
        if check:
            self.world.check_all(abandoned=self.abandoned)

    def _restore(self, kill: Kill | None) -> bool:
        """Restore some backup; return False when its dump turned out to be lost."""
        if not self.world.backups:
            return False
        self.world.unreadable.clear()
        self.world.plan_view()
        backup_id = self._some_backup()
        listens = self.chance.random() < 0.5 or (kill is not None and kill.step.startswith("hear"))
        try:
            with self.world.listening(self.chance) if listens else contextlib.nullcontext():
                tier = self.tiers.choice(TIERS)
                restore_id = self._attempt(lambda run: self.world.restore(backup_id, run, kill, tier=tier), "restore")
        except BackupNotRestorable:
            self.world.settle_fallen()
            assert backup_id not in self.world.backups
            return False
        self.restores.append(restore_id)
        self.world.check_all(abandoned=self.abandoned)
        return True

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
        while faults.count(FaultKind.CORRUPT_BODY) > 1:  # the same wrong bytes three times would be a loss, and said so
            faults.remove(FaultKind.CORRUPT_BODY)
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
