"""What the page in Airflow's UI asks: each view in a handful of set-based questions, whatever the catalog holds.

Read-only. Sizes are bytes; times are UTC. A file of a backup is believed to be where the last scan or restore left it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

from glacier_provider.catalog.copies import expire_copies
from glacier_provider.catalog.database import Database, Row, amount_of, pattern_of
from glacier_provider.catalog.progress import RestoreProgress, progress_of_restore
from glacier_provider.core.archive import Amount
from glacier_provider.core.status import ArchiveState, BackupState, RetrievalStatus, lowest
from glacier_provider.errors import UnknownBackup

#: What a page of backups can be sorted by, beside `id`; each has an index.
FIGURES = {
    "database": "b.database_bytes",
    "duration": "(b.closed_at - b.opened_at)",
    "files": "b.files_count",
    "new_files": "b.new_files_count",
    "uploaded": "b.uploaded_bytes",
}
#: How many archives one question looks through at most, whatever the catalog holds.
SEARCH_WINDOW = 5_000
#: The same among files that are not in their directory: most of a page are found among far fewer.
AWAY_WINDOW = 1_000
#: Shorter texts have no place in the index of names.
INDEXED_CHARACTERS = 3
#: Files that are not in the store yet, among those that are counted.
UNFINISHED = "unfinished"
EVERY_STATE = tuple(state.value for state in BackupState)
#: What became of a day's backups at best, as `backup_days` tells it.
_BEST = {"1": "complete", "2": "running", "3": "deleted", "4": "failed"}


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


@dataclass(frozen=True, slots=True)
class Holding:
    """Archives in one store; `manifest`: of manifests. `padded_bytes` counts each as 128 KB at least."""

    store_uri: str
    manifest: bool
    amount: Amount
    padded_bytes: int


@dataclass(frozen=True, slots=True)
class Protected:
    """What a backup that was opened at a time protects: so many files, and their bytes with those of the dump."""

    opened_at: datetime
    files: int | None
    bytes: int


@dataclass(frozen=True, slots=True)
class Found:
    """A page of files. `next` is the `after` of the following page, None at the end. `searched`: how many archives were
    looked through, None when the page was full before the window's end.
    """

    rows: list[Row]
    next: int | None
    searched: int | None = None


class Pages:
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

    def known_since(self, names: Sequence[str]) -> dict[str, datetime]:
        """Return, by application, when the catalog first heard of it."""
        return {row["application"]: row["created_at"] for row in self._db.rows("heard_of", names=list(names))}

    def first(self, names: Sequence[str]) -> dict[str, datetime]:
        """Return, by application, when its first backup was opened."""
        return {row["application"]: row["opened_at"] for row in self._db.rows("first_backups", names=list(names))}

    def days(self, timezones: Mapping[str, str], since: datetime) -> dict[str, dict[date, str]]:
        """Return, by application, the days with a backup and what became of it; `timezones` by application name."""
        names, first = list(timezones), since.date()
        rows = self._db.rows("backup_days", names=names, timezones=list(timezones.values()), since=since, first=first)
        day_of = cache(lambda told: first + timedelta(int(told)))  # the same few hundred of all applications
        return {
            row["application"]: dict(
                zip(map(day_of, row["days"].split()), map(_BEST.__getitem__, row["bests"]), strict=True)
            )
            for row in rows
        }

    def growth(self, names: Sequence[str], since: datetime) -> dict[str, list[Protected]]:
        """Return, by application, what each week's newest complete backup protects."""
        return {
            row["application"]: [Protected(datetime.fromisoformat(at), *amounts) for at, *amounts in row["weeks"]]
            for row in self._db.rows("growth", names=list(names), since=since)
        }

    # --- the backups of one application ----------------------------------------------------------------------

    def backups(self, wanted: BackupFilter, page: Page) -> tuple[list[Row], int]:
        """Return a page of backups, each with `archives` by status and `retrieval_status`, and their total number."""
        parameters = {**wanted.parameters(), "limit": page.limit, "offset": page.offset}
        order = {"direction": "DESC" if page.descending else "ASC"}
        if page.sort == "id":
            rows = self._db.composed_rows("page_of_backups", order, **parameters)
        else:
            order["figure"] = FIGURES[page.sort]
            rows = self._db.composed_rows("sorted_page_of_backups", order, **parameters)
        total = self._db.row("count_backups", **wanted.parameters())
        return self.with_archives(rows), int(total["total"]) if total else 0

    def backup(self, application: str, backup_id: int) -> Row:
        """Return one backup with its neighbours, dump, manifest and archives by status; raise UnknownBackup."""
        row = self._db.row("backup_of_application", application=application, backup_id=backup_id)
        if row is None:
            raise UnknownBackup(f"The application {application} has no backup {backup_id}.")
        neighbours = self._db.row("neighbours", backup_id=backup_id) or {}
        own = {found["kind"]: found for found in self._db.rows("own_archives", backup_id=backup_id)}
        dump = own.get("database")
        row = {**row, **neighbours, "database": dump, "manifest": own.get("manifest")}
        return self.with_archives([row])[0]

    def whereabouts(self, backup_ids: Iterable[int]) -> dict[int, list[Where]]:
        """Return, by backup, where its dump is and those of its files that are not in their directory."""
        ids = sorted(backup_ids)
        if not ids:
            return {}
        found: dict[int, list[Where]] = {number: [] for number in ids}
        expire_copies(self._db)
        for row in self._db.rows("dumps_of", ids=ids):
            found[row["id"]].append(_where(row, Amount(1, row["bytes"])))
        for row in self._db.rows("away_files", ids=ids):
            if row["status"] not in (ArchiveState.LOST, UNFINISHED):
                found[row["id"]].append(_where(row, amount_of(row)))
        return found

    def lost(self, backup_ids: Iterable[int]) -> dict[int, Amount]:
        """Return, by backup, how many lost files it contains, and their bytes; of those that contain any."""
        found: dict[int, Amount] = {}
        for row in self._db.rows("away_files", ids=sorted(backup_ids)):
            if row["status"] == ArchiveState.LOST:
                found[row["id"]] = found.get(row["id"], Amount()) + amount_of(row)
        return found

    def stored(self, application: str, backup_ids: Iterable[int]) -> dict[int, list[Holding]]:
        """Return, by backup, what it itself brought into the stores and is still there."""
        found: dict[int, list[Holding]] = {number: [] for number in backup_ids}
        for row in self._db.rows("stored_by_backups", application=application, ids=list(found)):
            found[row["id"]].append(_holding(row))
        return found

    def totals(self, names: Sequence[str]) -> dict[str, list[Holding]]:
        """Return, by application, all that it has in the stores."""
        found: dict[str, list[Holding]] = {name: [] for name in names}
        for row in self._db.rows("totals", names=list(names)):
            if row["what"] != UNFINISHED:
                found[row["application"]].append(_holding(row))
        return found

    def with_archives(self, rows: Sequence[Row]) -> list[Row]:
        """Return rows of backups, each with `archives` by status, what is `lost` and `retrieval_status`.

        Nothing of one that is not complete: of it there is nothing to bring back.
        """
        complete = [row["id"] for row in rows if row["state"] == "complete"]
        places, lost = self.whereabouts(complete), self.lost(complete)
        return [{**row, **_archives(row, places.get(row["id"]), lost.get(row["id"], Amount()))} for row in rows]

    # --- what was proven ---------------------------------------------------------------------------------------

    def proofs(self, names: Sequence[str]) -> dict[str, list[Row]]:
        """Return, by application, the last verification and the last drill that ended, of those that there were.

        With `told`, the first grave sentences of what it found, `passed_at`, and `passed_figures` of the last that
        passed, those of them that `proof_words` reads.
        """
        found: dict[str, list[Row]] = {name: [] for name in names}
        for row in self._db.rows("proofs_of_each", names=list(names)):
            found[row["application"]].append(row)
        return found

    def proofs_of_backup(self, backup_id: int) -> list[Row]:
        """Return the last drills of one backup, and the last verification since it was complete; the newest first."""
        found = self._db.rows("proofs_of_backup", backup_id=backup_id)
        return sorted(found, key=lambda row: -int(row["id"]))

    def checked_restores(self, backup_id: int) -> list[Row]:
        """Return the last restores of one backup whose database was checked, the newest first: `id`, `state`,
        `closed_at`, `elsewhere`, `checks` (as `CheckResult.as_dict`, or None) and `error`, of checks that failed.
        """
        return self._db.rows("checked_restores", backup_id=backup_id)

    def drilled(self, backup_ids: Iterable[int]) -> dict[int, Row]:
        """Return, by backup, `state` and `ended_at` of its last drill."""
        return {row["backup_id"]: row for row in self._db.rows("drilled_backups", ids=list(backup_ids))}

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
    ) -> Found:
        """Return files of a backup in id order, from the one after `after`; `containing` ignores case.

        The file with exactly this name comes first, on the first page.
        """
        wanted: Row = {"application": application, "backup_id": backup_id, "status": status, "limit": limit}
        away = status is not None and status != RetrievalStatus.EXISTS
        names = ("page_of_away_files", "end_of_away_files") if away else ("page_of_files", "end_of_files")
        window = min(SEARCH_WINDOW, AWAY_WINDOW) if away else SEARCH_WINDOW
        found = self._window(names, after=after, window=window, like=pattern_of(containing), **wanted)
        if containing is None:
            return found
        if found.next is not None and len(found.rows) < limit and self._names_are_indexed(containing):
            rest = self._db.rows("indexed_page_of_files", **wanted, after=found.next, like=pattern_of(containing))
            found = _continued(found, rest, limit)
        exact = self._exact(application, containing) if after == 0 else 0
        first = self._db.rows("page_of_files", **wanted, after=exact - 1, window=1, like=None) if exact else []
        return _exact_first(found, first, containing)

    def _window(self, names: tuple[str, str], *, after: int, window: int, **wanted: Any) -> Found:
        """Ask for a page within the window of archives that follows `after`, and where to go on."""
        page, end = names
        rows = self._db.rows(page, **wanted, after=after, window=window)
        if len(rows) == wanted["limit"]:
            return Found(rows, next=rows[-1]["id"])
        last = self._db.row(end, **wanted, after=after, window=window)
        return Found(rows, next=last["id"] if last else None, searched=window if last else None)

    def _names_are_indexed(self, text: str) -> bool:
        found = self._db.row("names_are_indexed")
        return len(text) >= INDEXED_CHARACTERS and bool(found and found["indexed"])

    def _exact(self, application: str, name: str) -> int:
        found = self._db.row("file_of_name", application=application, name=name)
        return int(found["id"]) if found else 0

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

    def backups_of_files(self, application: str, containing: str, *, after: int = 0, limit: int = 50) -> Found:
        """Return in which ranges of backups the files are whose name contains a text, as `files` does."""
        wanted: Row = {"application": application, "like": pattern_of(containing), "limit": limit}
        found = self._window(("backups_of_files", "end_of_files"), after=after, window=SEARCH_WINDOW, **wanted)
        if found.next is not None and len(found.rows) < limit and self._names_are_indexed(containing):
            rest = self._db.rows("indexed_backups_of_files", **wanted, after=found.next)
            found = _continued(found, rest, limit)
        found = _whole_files(found, limit)
        exact = self._exact(application, containing) if after == 0 else 0
        one = {**wanted, "like": "%", "after": exact - 1, "window": 1}
        return _exact_first(found, self._db.rows("backups_of_files", **one) if exact else [], containing)

    def set_aside(self, application: str, backup_id: int) -> Amount:
        """Return how many missing files of a backup lie in the orphan directory."""
        row = self._db.row("aside_of_backup", application=application, backup_id=backup_id)
        return amount_of(row) if row else Amount()

    # --- work ------------------------------------------------------------------------------------------------

    def unfinished(self, application: str) -> Amount:
        """Return how many files are planned and not in the store yet, and their bytes."""
        amounts = (amount_of(row) for row in self._db.rows("totals", names=[application]) if row["what"] == UNFINISHED)
        return sum(amounts, Amount())

    def restore_progress(self, restore_id: int) -> RestoreProgress:
        """Return how far a restore is."""
        expire_copies(self._db)
        return progress_of_restore(self._db, restore_id)

    def pending(self, backup_id: int) -> list[Row]:
        """Return what of a backup is being retrieved, by tier and store, with the first and last request's time."""
        return self._db.rows("pending_of_backup", backup_id=backup_id)

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


def _holding(row: Row) -> Holding:
    return Holding(row["store_uri"], row["what"] == "manifest", amount_of(row), row["padded_bytes"])


def _continued(found: Found, rest: Sequence[Row], limit: int) -> Found:
    """Return a window's page filled up with what the index knows of all that follows it."""
    rows = [*found.rows, *rest][:limit]
    return Found(rows, next=rows[-1]["id"] if len(rows) == limit else None)


def _whole_files(found: Found, limit: int) -> Found:
    """Return a full page without its last file, whose ranges may go on; a file that fills the page stays."""
    rows = found.rows
    if len(rows) < limit or rows[0]["id"] == rows[-1]["id"]:
        return found
    kept = [row for row in rows if row["id"] != rows[-1]["id"]]
    return replace(found, rows=kept, next=kept[-1]["id"])


def _exact_first(found: Found, first: Sequence[Row], name: str) -> Found:
    """Return a page with the file of exactly this name in front; on the pages that follow it is not told again."""
    return replace(found, rows=[*first, *(row for row in found.rows if row["filename"] != name)])


def _where(row: Row, amount: Amount) -> Where:
    return Where(row["store_uri"], RetrievalStatus(row["status"]), amount)


def _archives(row: Row, places: Sequence[Where] | None, lost: Amount) -> Row:
    """Return `archives` by status, what is `lost`, and the backup's own status; nothing of one that is not complete.

    What is not away or lost is in its directory: the files that the scan counted, less those.
    """
    if places is None:
        return {"archives": {}, "lost": Amount(), "retrieval_status": None}
    amounts: dict[RetrievalStatus, Amount] = {}
    for place in places:
        amounts[place.status] = amounts.get(place.status, Amount()) + place.amount
    archives = sum(place.amount.archives for place in places) + lost.archives
    size = sum(place.amount.bytes for place in places) + lost.bytes
    there = Amount(
        max(0, (row["files_count"] or 0) + 1 - archives),
        max(0, (row["files_bytes"] or 0) + (row["database_bytes"] or 0) - size),
    )
    if there.archives:
        amounts[RetrievalStatus.EXISTS] = amounts.get(RetrievalStatus.EXISTS, Amount()) + there
    return {
        "archives": {status.value: amounts[status] for status in RetrievalStatus if status in amounts},
        "lost": lost,
        "retrieval_status": lowest(amounts).value,
    }
