"""What `glacier-backup` lists: backups, archives and restores, of one application or of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from glacier_provider.catalog.copies import expire_copies
from glacier_provider.catalog.database import Database, Row, amount_of, pattern_of
from glacier_provider.core.archive import Amount
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.errors import UnknownBackup


class Lists:
    """Read-only lists. `application` None means every application of the catalog."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def applications(self) -> list[str]:
        """Return the names of all applications that the catalog knows."""
        return [row["name"] for row in self._db.rows("application_names")]

    def backups(
        self, application: str | None = None, *, state: str | None = None, limit: int = 20, offset: int = 0
    ) -> list[Row]:
        """Return backups, the newest first, each with its `retrieval_status`, the lowest of its archives."""
        rows = self._db.rows("backups", application=application, state=state, limit=limit, offset=offset)
        statuses = self._statuses([row["id"] for row in rows])
        return [{**row, "retrieval_status": _status(row, statuses)} for row in rows]

    def backup(self, backup_id: int) -> Row:
        """Return one backup with `retrieval_status` and `archives` by status; raise UnknownBackup."""
        row = self._db.row("backup", backup_id=backup_id)
        if row is None:
            raise UnknownBackup(f"There is no backup {backup_id}.")
        return {
            **row,
            "retrieval_status": _status(row, self._statuses([backup_id])),
            "archives": {status.value: amount for status, amount in self.status_counts(backup_id).items()},
        }

    def status_counts(self, backup_id: int) -> dict[RetrievalStatus, Amount]:
        """Return how many archives of a backup are in each retrieval status, and their bytes."""
        expire_copies(self._db)
        rows = self._db.rows("status_counts", backup_id=backup_id)
        return {RetrievalStatus(row["status"]): amount_of(row) for row in rows}

    def archives(
        self, backup_id: int, *, containing: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[Row]:
        """Return archives of a backup, dump and manifest first; `containing` is part of a filename."""
        like = pattern_of(containing)
        expire_copies(self._db)
        return self._db.rows("archives_of_backup", backup_id=backup_id, like=like, limit=limit, offset=offset)

    def restores(
        self, application: str | None = None, *, backup_id: int | None = None, limit: int = 20, offset: int = 0
    ) -> list[Row]:
        """Return restores, the newest first."""
        return self._db.rows("restores", application=application, backup_id=backup_id, limit=limit, offset=offset)

    def _statuses(self, backup_ids: Sequence[int]) -> dict[int, str | None]:
        """Return the retrieval status of whole backups: the lowest of their archives; None without an archive."""
        expire_copies(self._db)
        return {row["id"]: row["status"] for row in self._db.rows("lowest_status", backup_ids=list(backup_ids))}


def _status(row: Row, statuses: Mapping[int, str | None]) -> str | None:
    # Of a backup that is not complete there is nothing to bring back.
    return statuses.get(row["id"]) if row["state"] == "complete" else None
