"""What the catalog knows and does about the deletion of backups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from glacier_provider.catalog.backups import Backups, Run, lease_holder
from glacier_provider.catalog.database import PAGE_SIZE, Database, Row, amount_of
from glacier_provider.catalog.pages import Pages
from glacier_provider.core.archive import Amount, ArchiveKind, Description, Location
from glacier_provider.core.deletion import DeletionPlan, Going, Staying
from glacier_provider.core.status import BackupState
from glacier_provider.errors import BackupNotDeletable

DELETABLE = (BackupState.COMPLETE, BackupState.FAILED)
_REASONS = {
    "directory": "they are still in the attached-files directory",
    "backups": "other backups contain them",
    "manifest": "the manifest of a later backup continues it; it goes with the deletion of that one",
}


@dataclass(frozen=True, slots=True)
class Doomed:
    """An archive that has to go from its store, and what it says about itself there."""

    id: int
    location: Location
    size: int
    description: Description


class Deletions:
    """The deletions of one application."""

    def __init__(self, database: Database, backups: Backups) -> None:
        self._db = database
        self._backups = backups

    def plan(self, backup_id: int) -> DeletionPlan:
        """Return what deleting a backup takes away; raise UnknownBackup or BackupNotDeletable (of another one).

        Reads only: what it works with is gone with its transaction.
        """
        with self._db.transaction():
            return self._plan(self._of_this_application(backup_id))

    def begin(
        self, backup_id: int, run: Run, *, force: bool = False, first: Callable[[Doomed], None] = lambda _: None
    ) -> None:
        """Take a backup out of use, and mark what goes with it; all of it or, with an error, nothing.

        `first` deletes one archive of a backup that is still whole: where it raises, nothing was changed.

        The caller gets the lease with it. A deletion that began earlier goes on. Raise LeaseHeld, UnknownBackup, or
        BackupNotDeletable. `force` also deletes the newest complete backup, and one whose restore is under way: that
        restore ends as failed.
        """
        from psycopg.types.json import Jsonb

        ids = {"application_id": self._backups.application_id, "backup_id": backup_id}
        told = Jsonb({"deleted_by": {"dag_id": run.dag_id, "dag_run_id": run.dag_run_id}})
        with self._db.transaction():
            self._backups.take_lease(lease_holder("deletion", backup_id))
            # With the lease in our hands, nobody works on a backup that is still called running.
            self._db.rows("fail_dead_backups", application_id=ids["application_id"], backup_id=0)
            earlier = self._of_this_application(backup_id)
            if earlier["state"] == BackupState.DELETED:
                return
            self._db.row("take_out_of_use", **ids, report=told)
            plan = self._plan(earlier)
            if plan.refused and not (force and plan.forcible):
                raise BackupNotDeletable(plan.refused)
            self._db.run("end_restores_of", **ids)
            self._db.run("end_retrievals_of_going")
            self._db.run("mark_going")
            self._db.run("give_up_unsent_of", **ids)
            if earlier["state"] in DELETABLE:
                for row in self._db.rows("first_to_delete", application_id=ids["application_id"]):
                    first(self._doomed(row))

    def to_delete(self) -> Iterator[list[Doomed]]:
        """Yield pages of the archives that have to go, of every deletion of the application that has begun."""
        after = 0
        while rows := self._db.rows(
            "archives_to_delete", application_id=self._backups.application_id, after=after, limit=PAGE_SIZE
        ):
            after = rows[-1]["id"]
            yield [self._doomed(row) for row in rows]

    def left(self) -> tuple[int, int]:
        """Return how many archives have to go, and their bytes."""
        rows = self._db.rows("deleting_amounts", application_id=self._backups.application_id)
        return sum(row["archives"] for row in rows), sum(int(row["bytes"]) for row in rows)

    def deleted(self, archive_ids: Sequence[int]) -> None:
        """These are gone from their stores."""
        if archive_ids:
            self._db.run("archives_deleted", archive_ids=list(archive_ids))

    def note_errors(self, errors: Sequence[tuple[int, str]]) -> None:
        """These could not be deleted, and why."""
        if errors:
            self._db.run("note_deletion_errors", ids=[one[0] for one in errors], errors=[one[1] for one in errors])

    def staying_manifests(self) -> list[tuple[int, str, str]]:
        """Return (backup id as the manifest tells it, SHA-256, store) of manifests that outlive their backups."""
        rows = self._db.rows("manifests_of_deleting", application_id=self._backups.application_id)
        return [(int(row["filename"].partition(".")[0]), row["sha256"], row["store_uri"]) for row in rows]

    def outlived_manifests(self) -> list[str]:
        """Return the SHA-256 of manifests that are still there although their backups are deleted."""
        rows = self._db.rows("manifests_of_deleted", application_id=self._backups.application_id)
        return [row["sha256"] for row in rows]

    def finish(self) -> list[int]:
        """Note backups whose archives are all gone as deleted; return their ids."""
        return [row["id"] for row in self._db.rows("finish_deletions", application_id=self._backups.application_id)]

    def to_judge(self) -> list[Row]:
        """Return complete and failed backups, the oldest first, as a retention rule looks at them."""
        return self._db.rows("backups_to_judge", application_id=self._backups.application_id)

    def count_to_judge(self) -> int:
        """Return how many backups a retention rule would look at."""
        return int(self._db.rows("count_to_judge", application_id=self._backups.application_id)[0]["backups"])

    # --- planning --------------------------------------------------------------------------------------------

    def _of_this_application(self, backup_id: int) -> Row:
        row = self._backups.get(backup_id)
        if row["application_id"] != self._backups.application_id:
            raise BackupNotDeletable(
                f"Backup {backup_id} belongs to the application {row['application']}. "
                + self._backups.valid_ids(backup_id)
            )
        return row

    def _plan(self, backup: Row) -> DeletionPlan:
        ids = {"application_id": self._backups.application_id, "backup_id": backup["id"]}
        state = BackupState(backup["state"])
        self._db.run("create_going", **ids)
        refused, forcible = self._refused(backup, state)
        goes = [] if state is BackupState.DELETED else self._db.rows("going_amounts")
        if state is BackupState.DELETING:
            goes += self._db.rows("deleting_amounts", application_id=ids["application_id"])
        return DeletionPlan(
            application=backup["application"],
            backup_id=backup["id"],
            state=state,
            goes=tuple(
                Going(
                    row["store_uri"],
                    ArchiveKind(row["kind"]),
                    row["archived_on"],
                    amount_of(row),
                    row["padded_bytes"],
                    row["archived_at"],
                )
                for row in goes
            ),
            stays=tuple(self._staying(backup, ids)),
            refused=refused,
            forcible=forcible,
        )

    def _staying(self, backup: Row, ids: Mapping[str, int]) -> Iterator[Staying]:
        """Yield what the backup contains and does not go, by the first reason that holds.

        Of a complete one only what left the directory is looked at: its scan has counted all of it.
        """
        if backup["state"] == BackupState.COMPLETE:
            left = {row["reason"]: amount_of(row) for row in self._db.rows("files_that_left", **ids)}
            lost = Pages(self._db).lost([backup["id"]]).get(backup["id"], Amount())
            gone = lost + left.get("going", Amount()) + left.get("backups", Amount())
            there = Amount(
                max(0, (backup["files_count"] or 0) - gone.archives), max(0, (backup["files_bytes"] or 0) - gone.bytes)
            )
            files = {"backups": left.get("backups", Amount()), "directory": there}
        else:
            files = {row["reason"]: amount_of(row) for row in self._db.rows("staying_files", **ids)}
        yield from (Staying(_REASONS[reason], files[reason]) for reason in sorted(files) if files[reason].archives)
        for row in self._db.rows("staying_manifest", backup_id=backup["id"]):
            yield Staying(_REASONS["manifest"], amount_of(row))

    def _refused(self, backup: Row, state: BackupState) -> tuple[str | None, bool]:
        """Return why a backup cannot be deleted, or None, and whether `force` lifts that."""
        number = backup["id"]
        if state is BackupState.DELETED:
            return f"Backup {number} was deleted on {backup['deleted_at']:%Y-%m-%d %H:%M} UTC.", False
        if state is BackupState.DELETING:
            return None, False
        if state not in DELETABLE:
            return f"Backup {number} is {state.value}; it can be deleted when it has ended.", False
        restores = self._db.rows("restores_under_way", application_id=backup["application_id"], backup_id=number)
        if restores:
            return f"Restore {restores[0]['id']} of backup {number} is under way.", True
        if state is BackupState.COMPLETE and self._is_newest(number):
            return f"Backup {number} is the newest complete backup of {backup['application']}.", True
        return None, False

    def _is_newest(self, backup_id: int) -> bool:
        """Whether no complete backup came after it; asked also while it is being taken out of use."""
        newest = self._backups.newest_complete()
        return newest is None or newest <= backup_id

    def _doomed(self, row: Row) -> Doomed:
        description = Description(
            application=self._backups.application,
            kind=ArchiveKind(row["kind"]),
            archive_id=row["store_number"] or row["id"],
            # The key of a manifest has the id that its backup had when it was made, as its name has.
            backup_id=int(row["filename"].partition(".")[0]) if row["kind"] == "manifest" else row["backup_id"],
            filename=row["filename"],
            size=row["stored_size"],
            sha256=row["sha256"],
            encoding=row["encoding"],
        )
        return Doomed(row["id"], Location(row["store_uri"], row["key"]), row["stored_size"], description)
