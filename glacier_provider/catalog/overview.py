"""What the page in Airflow's UI asks: each view in a handful of set-based questions, whatever the catalog holds.

Read-only. Sizes are bytes; times are UTC. A file of a backup is believed to be where the last scan or restore left it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from glacier_provider.catalog.database import Database, Row
from glacier_provider.core.plan import Amount
from glacier_provider.core.status import BackupState, RetrievalStatus, lowest
from glacier_provider.errors import UnknownBackup

#: What a page of backups can be sorted by, beside `id`.
FIGURES = ("database", "duration", "files", "new_files", "uploaded")
EVERY_STATE = tuple(state.value for state in BackupState)


@dataclass(frozen=True, slots=True)
class BackupFilter:
    """Which backups of an application; None leaves a criterion out. `until` is exclusive."""

    application: str
    states: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None

    def parameters(self) -> Row:
        states = list(self.states) if self.states else None
        return {"application": self.application, "states": states, "since": self.since, "until": self.until}


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows of a sorted list."""

    limit: int = 25
    offset: int = 0
    sort: str = "id"
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Where:
    """Where archives are, by the store that holds them and their retrieval status."""

    store_uri: str
    status: RetrievalStatus
    amount: Amount


class Overview:
    """Views of one catalog; every method names the applications that it is about."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # --- all applications ------------------------------------------------------------------------------------

    def newest(self, names: Sequence[str], states: Sequence[str] = EVERY_STATE) -> dict[str, Row]:
        """Return, by application, the newest backup that is in one of these states."""
        rows = self._db.rows("newest_of_each", names=list(names), states=list(states))
        return {row["application"]: row for row in rows}

    def newest_restores(self, names: Sequence[str]) -> dict[str, Row]:
        return {row["application"]: row for row in self._db.rows("newest_restores", names=list(names))}

    def first(self, names: Sequence[str]) -> dict[str, datetime]:
        """Return, by application, when its first backup was opened."""
        return {row["application"]: row["opened_at"] for row in self._db.rows("first_backups", names=list(names))}

    def days(self, timezones: Mapping[str, str], since: datetime) -> list[Row]:
        """Return `application`, `day`, `state` for each day with a backup; `timezones` by application name."""
        return self._db.rows("backup_days", names=list(timezones), timezones=list(timezones.values()), since=since)

    def growth(self, names: Sequence[str], since: datetime) -> list[Row]:
        """Return `application`, `opened_at`, `files_count`, `bytes` of each week's newest complete backup."""
        return self._db.rows("growth", names=list(names), since=since)

    # --- the backups of one application ----------------------------------------------------------------------

    def backups(self, wanted: BackupFilter, page: Page) -> tuple[list[Row], int]:
        """Return a page of backups, each with `archives` by status and `retrieval_status`, and their total number."""
        parameters = {**wanted.parameters(), "descending": page.descending, "limit": page.limit, "offset": page.offset}
        if page.sort == "id":
            rows = self._db.rows("page_of_backups", **parameters)
        else:
            rows = self._db.rows("sorted_page_of_backups", **parameters, sort=page.sort)
        total = self._db.row("count_backups", **wanted.parameters())
        return self._with_archives(wanted.application, rows), int(total["total"]) if total else 0

    def backup(self, application: str, backup_id: int) -> Row:
        """Return one backup with its neighbours, dump, manifest and archives by status; raise UnknownBackup."""
        row = self._db.row("backup_of_application", application=application, backup_id=backup_id)
        if row is None:
            raise UnknownBackup(f"The application {application} has no backup {backup_id}.")
        neighbours = self._db.row("neighbours", backup_id=backup_id) or {}
        own = {found["kind"]: found for found in self._db.rows("own_archives", backup_id=backup_id)}
        dump = own.get("database")
        row = {**row, **neighbours, "database": dump, "manifest": own.get("manifest")}
        row["database_bytes"] = dump["stored_size"] if dump else None
        return self._with_archives(application, [row])[0]

    def whereabouts(self, application: str, backup_ids: Iterable[int]) -> dict[int, list[Where]]:
        """Return, by backup, where its dump is and those of its files that are not in their directory."""
        ids = sorted(backup_ids)
        if not ids:
            return {}
        found: dict[int, list[Where]] = {number: [] for number in ids}
        for row in self._db.rows("dumps_of", ids=ids):
            found[row["id"]].append(_where(row, Amount(1, row["bytes"])))
        for row in self._db.rows("away_files", application=application, ids=ids):
            found[row["id"]].append(_where(row, Amount(row["archives"], row["bytes"])))
        return found

    def _with_archives(self, application: str, rows: Sequence[Row]) -> list[Row]:
        places = self.whereabouts(application, (row["id"] for row in rows if row["state"] == "complete"))
        return [{**row, **_archives(row, places.get(row["id"]))} for row in rows]

    # --- the archives of one backup --------------------------------------------------------------------------

    def files(
        self,
        application: str,
        backup_id: int,
        *,
        containing: str | None = None,
        status: str | None = None,
        after: int = 0,
        limit: int = 50,
    ) -> list[Row]:
        """Return files of a backup in id order, from the one after `after`; `containing` ignores case."""
        return self._db.rows(
            "page_of_files",
            application=application,
            backup_id=backup_id,
            like=_like(containing),
            status=status,
            after=after,
            limit=limit,
        )

    def changes(
        self, application: str, backup_id: int, *, previous: int | None, came: bool, after: int = 0, limit: int = 50
    ) -> list[Row]:
        """Return files that came (or went) since the backup `previous`, None: since nothing."""
        if not came and previous is None:
            return []
        return self._db.rows(
            "files_that_came" if came else "files_that_went",
            application=application,
            backup_id=backup_id,
            previous=previous or 0,
            after=after,
            limit=limit,
        )

    def backups_of_files(self, application: str, containing: str, *, limit: int = 50) -> list[Row]:
        """Return in which ranges of backups the files are whose name contains a text."""
        return self._db.rows("backups_of_files", application=application, like=_like(containing), limit=limit)

    def set_aside(self, application: str, backup_id: int) -> Amount:
        """Return how many missing files of a backup lie in the orphan directory."""
        row = self._db.row("aside_of_backup", application=application, backup_id=backup_id)
        return Amount(row["archives"], row["bytes"]) if row else Amount()

    # --- work ------------------------------------------------------------------------------------------------

    def unfinished(self, application: str, backup_id: int) -> dict[str, Row]:
        """Return, by kind, `archives` and `bytes` that a running backup has still to send."""
        rows = self._db.rows("unfinished_uploads", application=application, backup_id=backup_id)
        return {row["kind"]: row for row in rows}

    def restore_progress(self, restore_id: int) -> list[Row]:
        """Return what a restore brings by `source`, `status` and `tier`, with the first and last request's time."""
        return self._db.rows("restore_progress", restore_id=restore_id)

    def restores(
        self, application: str, *, backup_id: int | None = None, restore_id: int | None = None, limit: int = 20
    ) -> list[Row]:
        """Return restores, the newest first, each with how many files still lie aside (`orphans_aside`)."""
        return self._db.rows(
            "restores_of", application=application, backup_id=backup_id, restore_id=restore_id, limit=limit
        )

    def restore(self, application: str, restore_id: int) -> Row:
        """Return one restore; raise UnknownBackup."""
        rows = self.restores(application, restore_id=restore_id, limit=1)
        if not rows:
            raise UnknownBackup(
                f"The application {application} has no restore {restore_id}.",
                hint="List them with: glacier-backup restores",
            )
        return rows[0]

    def work_of_run(self, application: str, dag_id: str, dag_run_id: str) -> tuple[str, int] | None:
        """Return ("backup" or "restore", its id) of an Airflow run, or None before the run has opened it."""
        row = self._db.row("work_of_run", application=application, dag_id=dag_id, dag_run_id=dag_run_id)
        return None if row is None else (row["kind"], row["id"])


def _where(row: Row, amount: Amount) -> Where:
    return Where(row["store_uri"], RetrievalStatus(row["status"]), amount)


def _archives(row: Row, places: Sequence[Where] | None) -> Row:
    """Return `archives` by status and the backup's own status; of a backup that is not complete neither is known.

    What is not away is in its directory: the files that the scan counted, less those that are away.
    """
    if places is None:
        return {"archives": {}, "retrieval_status": None}
    amounts: dict[RetrievalStatus, Amount] = {}
    for place in places:
        amounts[place.status] = amounts.get(place.status, Amount()) + place.amount
    archives = sum(place.amount.archives for place in places)
    size = sum(place.amount.bytes for place in places)
    there = Amount(
        max(0, (row["files_count"] or 0) + 1 - archives),
        max(0, (row["files_bytes"] or 0) + (row["database_bytes"] or 0) - size),
    )
    if there.archives:
        amounts[RetrievalStatus.EXISTS] = amounts.get(RetrievalStatus.EXISTS, Amount()) + there
    return {
        "archives": {status.value: amounts[status] for status in RetrievalStatus if status in amounts},
        "retrieval_status": lowest(amounts).value,
    }


def _like(text: str | None) -> str | None:
    if text is None:
        return None
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
