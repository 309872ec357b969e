"""What the catalog does for drills beside their row in `proofs`: samples, what they cost, what is to be cleared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from glacier_provider.catalog.backups import Backups
from glacier_provider.catalog.copies import forget_what_is_over
from glacier_provider.catalog.database import PAGE_SIZE, Database, Row
from glacier_provider.core.drill import FileSample


@dataclass(frozen=True, slots=True)
class Sampled:
    """A sample of a backup's files: of how many `members`, which of it no store has any more (`lost`)."""

    members: int
    lost: list[str]


class Drills:
    """The drills of one application."""

    def __init__(self, database: Database, backups: Backups) -> None:
        self._db = database
        self._backups = backups

    def recent_backups(self, limit: int) -> list[int]:
        """Return the ids of the newest complete backups, the newest first."""
        rows = self._db.rows("recent_backups", application_id=self._backups.application_id, limit=limit)
        return [int(row["id"]) for row in rows]

    def plan_sample(
        self, restore_id: int, backup: Row, sample: FileSample, *, files: bool, database: bool, keep_placed: bool
    ) -> Sampled:
        """Remember what a drill has to bring out of the stores: the dump, and a sample of the files.

        `keep_placed`: what an earlier plan of this restore has brought is there still.
        """
        found = Sampled(0, [])
        forget_what_is_over(self._db, self._backups.application_id)
        with self._db.transaction():
            self._db.run("forget_planned_archives", restore_id=restore_id, keep_placed=keep_placed)
            if files:
                row = self._db.row(
                    "plan_sample",
                    application_id=self._backups.application_id,
                    restore_id=restore_id,
                    backup_id=backup["id"],
                    seed=sample.seed,
                    files=sample.files,
                )
                assert row is not None
                found = Sampled(int(row["members"]), list(row["lost"]))
            if database:
                self._db.run("plan_database", restore_id=restore_id, archive_id=backup["database_archive_id"])
        return found

    def figures(self, restore_id: int, sample: FileSample, files: int) -> list[Row]:
        """Return what the dump and the first so many files of a planned sample would take."""
        return self._db.rows("sample_figures", restore_id=restore_id, seed=sample.seed, files=files)

    def files(self, restore_id: int) -> Iterator[list[Row]]:
        """Yield pages of the files that a drill was to bring; `placed` tells of each whether it did."""
        after = 0
        while rows := self._db.rows("sampled_files", restore_id=restore_id, after=after, limit=PAGE_SIZE):
            after = rows[-1]["id"]
            yield rows

    def cost_this_month(self, proof_id: int) -> Decimal:
        """Return what the other drills of this calendar month (UTC) were estimated to cost."""
        row = self._db.row("drill_costs", application_id=self._backups.application_id, proof_id=proof_id)
        assert row is not None
        return Decimal(row["cost"])

    def note_span(self, proof_id: int, step: str, seconds: float) -> None:
        """Note that a step, which may have several tasks, ended now and took so long."""
        self._db.run("note_span", proof_id=proof_id, step=step, seconds=seconds)

    def to_clear(self) -> list[Row]:
        """Return the restores of drills that were not cleared after, the oldest first."""
        return self._db.rows("drills_to_clear", application_id=self._backups.application_id)
