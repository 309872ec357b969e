"""What the catalog knows and does about backups: the lease, their life, their report."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from glacier_provider.catalog.database import LOCK_SECONDS, Database, Fence, Row, lease_lost, waited_in_vain
from glacier_provider.errors import (
    BackupNotRestorable,
    CatalogError,
    CatalogUnavailable,
    GlacierProviderError,
    IllegalMove,
    LeaseHeld,
    LeaseLost,
    UnknownBackup,
)

log = logging.getLogger(__name__)

#: Longer than a busy scheduler leaves between two tasks; a dead run's lease ends by itself after this.
LEASE_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Run:
    """One Airflow run, by which a task that starts again finds its backup or restore."""

    dag_id: str
    dag_run_id: str


#: Returns how a run ended, in Airflow's words, or `RUN_DELETED`; None while it goes on, and where nobody can tell.
RunEnded = Callable[[Run], str | None]
RUN_DELETED = "deleted"
#: A run that Airflow does not know is over when its lease was not prolonged for so long: steps do it twice a minute.
LEASE_QUIET_SECONDS = 180.0
#: How long a transaction is waited for whose process perhaps sleeps, before it is ended.
_PATIENCE = "3s"
HOLDERS = ("backup", "restore", "undo", "deletion")
_BACKUP_GOES_ON = "The next backup goes on with what is archived."
_RESTORE_GOES_ON = "A new restore pays for nothing twice."


class Backups:
    """The backups of one application."""

    def __init__(self, database: Database, application: str, run_ended: RunEnded | None = None) -> None:
        self._db = database
        self._application = application
        self._run_ended = run_ended
        self._application_id: int | None = None

    @property
    def application(self) -> str:
        """Return the application's name."""
        return self._application

    @property
    def application_id(self) -> int:
        if self._application_id is None and not self._is_known():
            row = self._db.row("ensure_application", name=self._application)
            assert row is not None
            self._application_id = int(row["id"])
        assert self._application_id is not None
        return self._application_id

    def _is_known(self) -> bool:
        """Whether the catalog has this application, which is not written for being asked."""
        if self._application_id is None and (row := self._db.row("find_application", name=self._application)):
            self._application_id = int(row["id"])
        return self._application_id is not None

    # --- the lease -------------------------------------------------------------------------------------------

    def take_lease(self, holder: str) -> int:
        """Take or prolong the application's lease, and show its fence from now on; return the fence's token.

        Raise LeaseHeld when another run has it, CatalogNotReady when the catalog is of another version.
        """
        self._db.require_version()
        self._db.announce(self.application_id, holder)
        lease = self.lease()
        if lease is not None and lease["last_holder"] not in (None, holder):
            if lease["held"] and lease["holder"] != holder and not self._is_dead(lease):
                raise self._held(lease)
            self._end_stale_transactions()
        token = self._take(holder, None)
        self._db.fence = Fence(self.application_id, token)
        return token

    def prolong_lease(self, holder: str, fence: Fence | None) -> None:
        """Prolong a lease that was taken behind this fence; raise LeaseLost when another run had it since."""
        try:
            self._take(holder, None if fence is None else fence.token)
        except LeaseHeld as error:
            lease = self.lease() or {}
            raise lease_lost(lease.get("holder") or lease.get("last_holder") or "another run") from error

    def raise_if_overtaken(self, fence: Fence | None, error: GlacierProviderError) -> None:
        """Raise LeaseLost, caused by an error of who worked behind this fence, when another run has had the lease."""
        if fence is None or isinstance(error, LeaseLost):
            return
        lease = None
        with suppress(GlacierProviderError):  # the error that is known matters more than one of asking
            lease = self.lease()
        if lease is not None and lease["token"] is not None and lease["token"] > fence.token:
            raise lease_lost(lease["holder"] or lease["last_holder"] or "another run") from error

    def free_lease(self, holder: str) -> None:
        """Free the lease, if it is this one's. Its fence stands until another run takes the lease."""
        self._db.run("free_lease", application_id=self.application_id, holder=holder)
        self._db.fence = None

    def lease(self) -> Row | None:
        """Return the lease as it is: `holder`, `until`, `held`, and `token` and `last_holder` of its fence."""
        return self._db.row("lease", application_id=self.application_id) if self._is_known() else None

    def end_sleepers(self) -> None:
        """End the transactions of a holder whose lease is over: who needs no lease would wait for them, too."""
        lease = self.lease()
        if lease is not None and lease["holder"] is not None and not lease["held"]:
            self._end_stale_transactions()

    def holder_run(self, lease: Row) -> Run | None:
        """Return the Airflow run that holds a lease; None for a holder that is no run."""
        kind, _, number = str(lease["holder"]).partition(" ")
        if not number.isdecimal():
            return None
        row = self._db.row(f"run_of_{kind}", number=int(number)) if kind in HOLDERS else None
        return None if row is None or row["dag_run_id"] is None else Run(row["dag_id"], row["dag_run_id"])

    def unfinished_runs(self) -> list[Run]:
        """Return the runs of backups and restores that the catalog has as under way."""
        found = self._db.rows("unfinished_runs", application_id=self.application_id) if self._is_known() else []
        return [Run(row["dag_id"], row["dag_run_id"]) for row in found]

    def run_is_over(self, run: Run, state: str, *, overtaken: bool = False) -> list[str]:
        """Note what a run that is over left unfinished as failed, and free its lease; nothing of what has ended.

        `overtaken`: by another that goes on now, whereupon its own tasks cannot. Return what it was, as in "restore 3".
        """
        ids = {"application_id": self.application_id, "dag_id": run.dag_id, "dag_run_id": run.dag_run_id}
        over = f"Its run was over ({state}) before it was. "
        clear = (
            "" if overtaken or state == RUN_DELETED else "Clear the task that did not run, with those that follow it. "
        )
        ended: list[Row] = []

        def note() -> None:
            ended[:] = self._db.rows("end_backups_of_run", **ids, error=f"{over}{clear}{_BACKUP_GOES_ON}")
            ended.extend(self._db.rows("end_restores_of_run", **ids, error=f"{over}{clear}{_RESTORE_GOES_ON}"))
            ended.extend(self._db.rows("end_proofs_of_run", **ids, error=f"{over}{clear}".strip()))
            for row in ended:
                self._db.run("free_lease", application_id=self.application_id, holder=row["holder"])
            lease = self.lease()  # of what has no state of its own to end: a deletion, an undo
            if lease is not None and lease["holder"] is not None and self.holder_run(lease) == run:
                self._db.run("free_lease", application_id=self.application_id, holder=lease["holder"])

        names = self._db.stale_sessions(self.application_id)
        self._without_sleepers(note, "end_transactions_of_run", names=names, **ids)
        return [row["holder"] for row in ended]

    def _without_sleepers(self, change: Callable[[], None], statement: str, **parameters: Any) -> None:
        """Make a change in a transaction; when it waits in vain, have a statement end who is in its way; try again."""
        for _ in range(3):
            try:
                with self._db.transaction():
                    self._db.row("wait_for_a_lock", patience=_PATIENCE)
                    change()
                    self._db.row("wait_for_a_lock", patience=f"{round(LOCK_SECONDS * 1000)}ms")
                return
            except CatalogUnavailable as error:
                if not waited_in_vain(error):
                    raise
                with suppress(CatalogError), self._db.transaction():  # of another role, say; then it is waited for
                    self._db.rows(statement, **parameters)
        with self._db.transaction():
            change()

    def is_over(self, run: Run) -> bool:
        """Whether Airflow says that a run has ended, or has deleted it."""
        return self._run_ended is not None and self._run_ended(run) is not None

    def _is_dead(self, lease: Row) -> bool:
        """Whether Airflow says that the run that holds the lease is over; then that is noted, and the lease free."""
        run = self.holder_run(lease)
        state = None if run is None or self._run_ended is None else how_it_ended(run, lease, self._run_ended)
        if run is None or state is None:
            return False
        log.warning("%s holds the lease of %s, and its run is over: %s.", lease["holder"], self._application, state)
        self.run_is_over(run, state, overtaken=True)
        self._db.run("free_lease", application_id=self.application_id, holder=lease["holder"])
        return True

    def _take(self, holder: str, token: int | None) -> int:
        """Take it; wait a moment for transactions of who had it last, and end those that go on."""
        for _ in range(3):
            try:
                with self._db.transaction():
                    self._db.row("wait_for_a_lock", patience=_PATIENCE)
                    taken = self._db.row(
                        "take_lease",
                        application_id=self.application_id,
                        holder=holder,
                        seconds=LEASE_SECONDS,
                        token=token,
                    )
                    self._db.row("wait_for_a_lock", patience=f"{round(LOCK_SECONDS * 1000)}ms")
            except CatalogUnavailable as error:
                if token is not None or not waited_in_vain(error):
                    raise  # its own transactions may be in the way of who prolongs a lease: the next time will do
                self._end_stale_transactions()
                continue
            if taken is None:
                raise self._held(self.lease() or {})
            return int(taken["token"])
        raise LeaseHeld(
            f"A session of the run that had the lease of {self._application} before is still in a transaction.",
            hint="It ends with its process; end that one, or its session in pg_stat_activity.",
        )

    def _end_stale_transactions(self) -> None:
        """End the transactions of who had the lease last: a process that sleeps in one would be waited for."""
        with suppress(CatalogError), self._db.transaction():  # of another role, say; then it is waited for
            self._db.rows("end_stale_transactions", name=self._db.stale_sessions(self.application_id))

    def _held(self, lease: Row) -> LeaseHeld:
        who, until = lease.get("holder") or "another run", lease.get("until")
        latest = f"{until:%Y-%m-%d %H:%M:%S} UTC" if until else "soon"
        return LeaseHeld(f"{who} works on the application {self._application}, at the latest until {latest}.")

    # --- life ------------------------------------------------------------------------------------------------

    def open(self, run: Run) -> int:
        """Return the id of this run's backup: an unfinished one is continued, otherwise a new one is opened.

        The caller gets the lease with it. Backups that other runs left unfinished are noted as failed. Raise
        LeaseHeld, or IllegalMove when this run's backup is already complete or a later one began.
        """
        with self._db.transaction():
            backup_id = self._find_or_insert(run)
            self.go_on(backup_id)
            self._db.rows("fail_dead_backups", application_id=self.application_id, backup_id=backup_id)
        return backup_id

    def go_on(self, backup_id: int, step: str | None = None) -> bool:
        """Take the lease for a step of the backup; return whether the backup is running.

        One that failed runs again when the step that failed goes on, a cleared task, or when none is named: the first
        and the last do that. It stays failed, and False is returned, while another branch of its run goes on. Raise
        LeaseHeld, or IllegalMove when it is complete or a later backup began; then the lease is not taken.
        """
        with self._db.transaction():
            # First the backup, then the lease in its application's row: a scan locks them in this order, too.
            self._db.row("lock_backup", backup_id=backup_id)
            token = self.take_lease(lease_holder("backup", backup_id))
            row = self._db.row("continue_backup", backup_id=backup_id, step=step, token=token)
            if row is None:
                state = self.get(backup_id)["state"]
                restores = self._db.rows("restored_since", backup_id=backup_id)
                restored = f"was overtaken by restore {restores[0]['id']}" if restores else None
                known = {"complete": "is already complete", "deleting": "is being deleted", "deleted": "was deleted"}
                why = known.get(state) or restored or "was overtaken by a later one, or by the deletion of one"
                raise IllegalMove(f"Backup {backup_id} {why}.", hint="Trigger a new run for a new backup.")
        return bool(row["state"] == "running")

    def _find_or_insert(self, run: Run) -> int:
        key = {"application_id": self.application_id, "dag_id": run.dag_id, "dag_run_id": run.dag_run_id}
        row = self._db.row("backup_of_run", **key)
        row = row or self._db.row("insert_backup", **key, mark=secrets.token_hex(8))
        row = row or self._db.row("backup_of_run", **key)
        assert row is not None
        return int(row["id"])

    def of_run(self, run: Run) -> int | None:
        """Return the id of this run's backup, if it opened one."""
        row = self._db.row(
            "backup_of_run", application_id=self.application_id, dag_id=run.dag_id, dag_run_id=run.dag_run_id
        )
        return None if row is None else int(row["id"])

    def record_dump(
        self, backup_id: int, *, archive_id: int, snapshot_at: datetime, versions: tuple[str, str], dump_format: str
    ) -> None:
        """Note the verified dump; `versions` are the server's and the client's."""
        self._moved(
            self._db.row(
                "record_dump",
                backup_id=backup_id,
                archive_id=archive_id,
                snapshot_at=snapshot_at,
                server_version=versions[0],
                client_version=versions[1],
                dump_format=dump_format,
            ),
            f"Backup {backup_id} is no longer running.",
        )

    def require_archived(self, backup_id: int) -> None:
        """Raise IllegalMove with what is missing when files of the backup are not archived (promise 1)."""
        if self._unarchived(backup_id):
            raise self._incomplete(backup_id)

    def complete(self, backup_id: int, *, manifest_archive_id: int, previous_backup_id: int | None) -> None:
        """Complete the backup if promise 1 holds; raise IllegalMove with what is missing otherwise."""
        done = self._db.row(
            "complete_backup",
            backup_id=backup_id,
            manifest_archive_id=manifest_archive_id,
            previous_backup_id=previous_backup_id,
        )
        if done is None:
            raise self._incomplete(backup_id)

    def fail(self, backup_id: int, error: str, *, step: str | None = None) -> None:
        """Record that the backup failed, why and in which step, and free its lease. A complete one stays complete."""
        self._db.row("fail_backup", backup_id=backup_id, error=error, step=step)
        self.free_lease(lease_holder("backup", backup_id))

    def add_to_report(self, backup_id: int, **findings: Any) -> None:
        """Add findings that a person should read to the backup's report."""
        from psycopg.types.json import Jsonb

        self._db.row("add_to_report", backup_id=backup_id, report=Jsonb(findings))

    def add_seconds(self, backup_id: int, task: str, seconds: float) -> None:
        """Add to how long a task has taken, in the backup's report."""
        self._db.row("add_seconds", backup_id=backup_id, task=task, seconds=seconds)

    def note_fingerprint(self, backup_id: int, fingerprint: Mapping[str, Any] | None) -> None:
        """Keep what was in the backup's database, as `Fingerprint.as_dict` gives it; None: nothing is known."""
        from psycopg.types.json import Jsonb

        self._db.run("forget_fingerprint", backup_id=backup_id)
        if fingerprint is not None:
            self._db.run("note_fingerprint", backup_id=backup_id, fingerprint=Jsonb(dict(fingerprint)))

    def fingerprint(self, backup_id: int) -> dict[str, Any] | None:
        """Return what was noted of the backup's database; None when nothing was."""
        row = self._db.row("fingerprint", backup_id=backup_id)
        return None if row is None else dict(row["fingerprint"])

    def ended(self, backup_ids: Sequence[int]) -> list[int]:
        """Return which of these backups are no longer running."""
        rows = self._db.rows("ended_backups", application_id=self.application_id, backup_ids=list(backup_ids))
        return [row["id"] for row in rows]

    # --- looking ---------------------------------------------------------------------------------------------

    def get(self, backup_id: int) -> Row:
        """Return the backup's row; raise UnknownBackup naming the nearest valid ids."""
        row = self._db.row("backup", backup_id=backup_id)
        if row is None:
            raise UnknownBackup(f"There is no backup {backup_id} of {self._application}. {self.valid_ids(backup_id)}")
        return row

    def restorable(self, backup_id: int) -> Row:
        """Return the row of a complete backup of this application; raise UnknownBackup or BackupNotRestorable."""
        row = self.get(backup_id)
        if row["application"] != self._application:
            raise BackupNotRestorable(
                f"Backup {backup_id} belongs to the application {row['application']}, not to {self._application}. "
                + self.valid_ids(backup_id)
            )
        if row["state"] != "complete":
            reason = f" ({row['error']})" if row["error"] else ""
            raise BackupNotRestorable(f"Backup {backup_id} is {row['state']}{reason}. {self.valid_ids(backup_id)}")
        return row

    def newest_complete(self, *, before: int = 2**62) -> int | None:
        """Return the id of the newest complete backup below `before`."""
        row = self._db.row("newest_complete", application_id=self.application_id, before=before)
        return None if row is None else int(row["id"])

    def valid_ids(self, near: int) -> str:
        """Return a sentence that names the complete backups nearest to an id."""
        rows = self._db.rows("recent_complete_backups", application_id=self.application_id, near=near)
        if not rows:
            return f"The application {self._application} has no complete backup yet."
        names = [f"{row['id']} ({row['opened_at']:%Y-%m-%d %H:%M})" for row in sorted(rows, key=lambda row: -row["id"])]
        return f"Complete backups: {', '.join(names)}."

    def uploaded_figures(self, backup_id: int) -> Row:
        """Return `files`, `file_bytes` and `bytes` that the store took since this backup was opened."""
        since = self.get(backup_id)["opened_at"]
        figures = self._db.row("uploaded_figures", application_id=self.application_id, since=since)
        assert figures is not None
        return figures

    def uploaded_parts(self, backup_id: int, *, part_size: int) -> tuple[int, int]:
        """Return in how many parts the store took archives since this backup was opened, and how many such archives.

        `part_size` (bytes) is that of a vault's archives, where they need no more than 10,000.
        """
        since = self.get(backup_id)["opened_at"]
        row = self._db.row("uploaded_parts", application_id=self.application_id, since=since, part_size=part_size)
        assert row is not None
        return int(row["parts"]), int(row["archives"])

    def _incomplete(self, backup_id: int) -> IllegalMove:
        """Return what keeps a backup from being complete, and what helps where that is one task's matter."""
        row = self.get(backup_id)
        if row["state"] == "complete":  # by another try of its last task
            return IllegalMove(f"Backup {backup_id} is already complete.")
        if row["state"] != "running":
            return IllegalMove(f"Backup {backup_id} is no longer running: it is {row['state']}.")
        rows = self._unarchived(backup_id)
        names = ", ".join(f"{row['filename']} ({row['error'] or row['state']})" for row in rows)
        missing = [
            *(["its dump is not archived"] if row["database_archive_id"] is None else []),
            *(["its files were not scanned"] if row["scanned_at"] is None else []),
            *([f"not archived: {names}"] if names else []),
        ]
        task = "scan_files" if any(row["state"] == "lost" for row in rows) else "upload_files"
        hint = f"Clear the task {task} with those that follow it." if rows else None
        told = "; ".join(missing) or "its dump or its manifest is not in the store"
        return IllegalMove(f"Backup {backup_id} is not complete: {told}.", hint=hint)

    def _unarchived(self, backup_id: int) -> list[Row]:
        return self._db.rows("unarchived_members", application_id=self.application_id, backup_id=backup_id)

    @staticmethod
    def _moved(row: Row | None, otherwise: str) -> None:
        if row is None:
            raise IllegalMove(otherwise)


def how_it_ended(run: Run, lease: Row, run_ended: RunEnded) -> str | None:
    """Return how the run that holds a lease ended; None while it may be alive.

    One that Airflow does not know may be another Airflow's, and at work, unless the lease has been quiet for long.
    """
    state = run_ended(run)
    quiet = (lease["quiet_seconds"] or 0) >= LEASE_QUIET_SECONDS
    return state if state != RUN_DELETED or quiet else None


def lease_holder(kind: str, number: int) -> str:
    """Return the name under which one of `HOLDERS` has its application's lease."""
    return f"{kind} {number}"
