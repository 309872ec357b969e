"""What a walk through the attached-files directory means to the catalog: new, vanished, returned, changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from glacier_provider.catalog.backups import Backups
from glacier_provider.catalog.database import Database, Row
from glacier_provider.errors import DirectoryUnusable

#: Names kept in a report; the counts are always exact.
NAMED = 100


@dataclass(frozen=True, slots=True)
class Scan:
    """What one scan found. Sizes in bytes; `changed` holds at most `NAMED` rows, `changed_count` all of them."""

    files: int
    bytes: int
    new_files: int
    new_bytes: int
    vanished: int
    returned: int
    changed_count: int = 0
    changed: list[Row] = field(default_factory=list)


class Scans:
    """The scans of one application. Everything of a scan is one transaction."""

    def __init__(self, database: Database, backups: Backups) -> None:
        self._db = database
        self._backups = backups

    def record(self, backup_id: int, files: Iterable[tuple[str, int]], *, store_uri: str) -> Scan:
        """Compare (name, size) of every file in the directory with the catalog and note what changed.

        Costs one COPY and a handful of statements; writes only rows of files that are new, vanished or came
        back. A repeated scan of the same backup gives the same result. Raise DirectoryUnusable when all files are gone
        at once: an unmounted directory must not become a complete backup without files.
        """
        ids = {"application_id": self._backups.application_id, "backup_id": backup_id}
        with self._db.transaction():
            self.load((name, size, False) for name, size in files)
            self._refuse_emptied(ids["application_id"])
            self._db.run("correct_planned_sizes", application_id=ids["application_id"])
            changed = self._db.rows("changed_sizes", application_id=ids["application_id"])
            self._db.run("plan_new_files", **ids, store_uri=store_uri)
            self._db.row("open_ranges", **ids)
            self._db.run("vanished", application_id=ids["application_id"])
            self._db.run("forget_ranges_of_this_backup", backup_id=backup_id)
            self._db.run("close_ranges", backup_id=backup_id)
            self._db.run("give_up_vanished")
            figures = self._db.row("record_scan", **ids)
            self._backups._moved(figures, f"Backup {backup_id} is no longer running.")
        assert figures is not None
        return Scan(
            files=figures["files_count"],
            bytes=figures["files_bytes"],
            new_files=figures["new_files_count"],
            new_bytes=figures["new_files_bytes"],
            vanished=figures["vanished_count"],
            returned=figures["returned_count"],
            changed_count=len(changed),
            changed=changed[:NAMED],
        )

    def _refuse_emptied(self, application_id: int) -> None:
        emptied = self._db.row("emptied", application_id=application_id)
        if emptied and emptied["files"]:
            raise DirectoryUnusable(
                f"The attached-files directory is empty, and held {emptied['files']} files at the last scan.",
                hint="Check that it is mounted. If it really is to be empty, put one file into it, such as .keep.",
            )

    def load(self, files: Iterable[tuple[str, int, bool]]) -> None:
        """Stream (name, size, young) into the temporary table `scanned` of the current transaction.

        Young files came after the moment that the caller cares about.
        """
        self._db.run("create_scanned")
        self._db.copy("scanned", files, ("name", "size", "young"))
        self._db.run("analyze_scanned")

    def unarchived_references(self, backup_id: int, names: Iterable[str]) -> list[str]:
        """Return which of these names the backup will not hold, each once, in order."""
        with self._db.transaction():
            self._db.run("create_referenced")
            self._db.copy("referenced", ((name,) for name in names), ("name",))
            rows = self._db.rows(
                "unarchived_references", application_id=self._backups.application_id, backup_id=backup_id
            )
        return [row["name"] for row in rows]
