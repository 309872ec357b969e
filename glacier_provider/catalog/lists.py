"""What `glacier-backup` lists: backups, archives and restores, of one application or of all."""

from __future__ import annotations

from glacier_provider.catalog.copies import expire_copies
from glacier_provider.catalog.database import Database, Row, amount_of, pattern_of
from glacier_provider.catalog.pages import UNFINISHED, Pages
from glacier_provider.core.archive import Amount, ArchiveKind
from glacier_provider.core.status import ArchiveState, BackupState, RetrievalStatus
from glacier_provider.errors import UnknownBackup

#: How many archives are looked through at first for a page of a backup's.
FIRST_WINDOW = 1_000


class Lists:
    """Read-only lists. `application` None means every application of the catalog."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._pages = Pages(database)

    def applications(self) -> list[str]:
        """Return the names of all applications that the catalog knows."""
        return [row["name"] for row in self._db.rows("application_names")]

    def backups(
        self, application: str | None = None, *, state: str | None = None, limit: int = 20, offset: int = 0
    ) -> list[Row]:
        """Return backups, the newest first, each with its `retrieval_status`, the lowest of its archives, and
        `lost_count`.
        """
        rows = self._db.rows("backups", application=application, state=state, limit=limit, offset=offset)
        statuses = self._pages.with_archives(rows)
        lost = self._pages.lost([row["id"] for row in rows])
        return [
            {
                **row,
                "retrieval_status": one["retrieval_status"],
                "lost_count": lost.get(row["id"], Amount()).archives,
            }
            for row, one in zip(rows, statuses, strict=True)
        ]

    def backup(self, backup_id: int) -> Row:
        """Return one backup with `retrieval_status` and `archives` by status; raise UnknownBackup."""
        row = self._db.row("backup", backup_id=backup_id)
        if row is None:
            raise UnknownBackup(f"There is no backup {backup_id}.")
        (known,) = self._pages.with_archives([row])
        archives = known["archives"] if row["state"] == BackupState.COMPLETE else self._so_far(row)
        return {**row, "retrieval_status": known["retrieval_status"], "archives": archives}

    def _so_far(self, row: Row) -> dict[str, Amount]:
        """Return the archives by status of a backup that is not complete; what it has to send yet is nowhere else."""
        if row["state"] in (BackupState.DELETING, BackupState.DELETED):
            return {}
        known: list[tuple[str, Amount]] = [
            (one["retrieval_status"], Amount(1, one["stored_size"] or 0))
            for one in self._db.rows("own_archives", backup_id=row["id"])
            if one["kind"] == ArchiveKind.DATABASE
        ]
        if row["files_count"] is not None:
            elsewhere = [(one["status"], amount_of(one)) for one in self._db.rows("away_files", ids=[row["id"]])]
            files = sum((amount.archives for _, amount in elsewhere), 0)
            size = sum(amount.bytes for _, amount in elsewhere)
            there = Amount(max(0, row["files_count"] - files), max(0, (row["files_bytes"] or 0) - size))
            known += [*elsewhere, (RetrievalStatus.EXISTS.value, there)]
        amounts: dict[str, Amount] = {}
        for status, amount in known:
            name = RetrievalStatus.AVAILABLE.value if status == UNFINISHED else status
            if status != ArchiveState.LOST and amount.archives:
                amounts[name] = amounts.get(name, Amount()) + amount
        return amounts

    def archives(
        self, backup_id: int, *, containing: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[Row]:
        """Return archives of a backup, dump and manifest first; `containing` is part of a filename."""
        backup = self._db.row("backup", backup_id=backup_id)
        if backup is None:
            return []
        expire_copies(self._db)
        wanted: Row = {"backup_id": backup_id, "application": backup["application"], "like": pattern_of(containing)}
        # Most pages are full of what comes first. What is not is looked for in windows that grow: the last one is as
        # dear as all before it.
        window = FIRST_WINDOW + 4 * (offset + limit)
        while True:
            rows = self._db.rows("archives_of_backup", **wanted, after=0, window=window, limit=limit, offset=offset)
            if len(rows) == limit or not self._db.row("end_of_files", **wanted, after=0, window=window):
                return rows
            window *= 8

    def restores(
        self, application: str | None = None, *, backup_id: int | None = None, limit: int = 20, offset: int = 0
    ) -> list[Row]:
        """Return restores, the newest first."""
        return self._db.rows("restores", application=application, backup_id=backup_id, limit=limit, offset=offset)
