"""What the catalog knows of a store's listing: which of it is unknown, and what of the catalog is not in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from glacier_provider.catalog.backups import Backups
from glacier_provider.catalog.database import PAGE_SIZE, Database, Row
from glacier_provider.catalog.writers import Writers
from glacier_provider.core.archive import StoredArchive


@dataclass(frozen=True, slots=True)
class Unreconciled:
    """How many archives may be in a store without the catalog knowing; since when the first and the last of them."""

    archives: int
    oldest: datetime | None
    newest: datetime | None


class Reconciliation:
    """The comparison of an application's stores with its catalog."""

    def __init__(self, database: Database, backups: Backups, writers: Writers) -> None:
        self._db = database
        self._backups = backups
        self._writers = writers

    def stores(self, *, unreconciled: bool) -> list[str]:
        """Return the URIs of the application's stores; with `unreconciled`, of those that may hold unknown archives."""
        rows = self._db.rows(
            "stores_of_application", application_id=self._backups.application_id, unreconciled=unreconciled
        )
        return [row["store_uri"] for row in rows]

    def unreconciled(self, store_uri: str) -> Unreconciled:
        """Return what of one store has still to be reconciled."""
        row = self._db.row("unreconciled", application_id=self._backups.application_id, store_uri=store_uri)
        return Unreconciled(**row) if row else Unreconciled(0, None, None)

    # The following belong into one transaction: what the store lists lives as long as that.

    def load(self, listed: Iterable[StoredArchive]) -> int:
        """Stream what a store lists into the current transaction; return the number of archives."""
        self._db.run("create_listed")
        count = self._db.copy("listed", map(listed_row, listed), ("key", "size", "checksum", "told"))
        self._db.run("analyze_listed")
        return count

    def unknown(self, same_place: Sequence[str]) -> Iterator[list[Row]]:
        """Yield pages of what the store lists and the catalog has not there, by any of the place's URIs: `key`, `size`,
        `checksum`, `told`.
        """
        with self._db.at_once():
            self._db.run("find_unknown", application_id=self._backups.application_id, same_place=list(same_place))
        self._db.run("index_unknown")
        after = ""
        while rows := self._db.rows("unknown_keys", after=after, limit=PAGE_SIZE):
            after = rows[-1]["key"]
            yield rows

    def missing(self, store_uri: str, *, as_of: datetime) -> Iterator[list[Row]]:
        """Yield pages of archives that the catalog has from before `as_of`, and the store does not list."""
        last = 0
        while rows := self._db.rows(
            "missing_from_store",
            application_id=self._backups.application_id,
            store_uri=store_uri,
            as_of=as_of,
            after=last,
            limit=PAGE_SIZE,
        ):
            last = rows[-1]["id"]
            yield rows

    def known(self, same_place: Sequence[str], archive_ids: Sequence[int], *, as_of: datetime) -> dict[int, Row]:
        """Return the rows of these archives by id; of those that the catalog has in this place, by any of its URIs.

        `lost` tells of each whether backups count on it and the listing of `as_of` does not have it, `written_by` how
        it is signed.
        """
        rows = self._db.rows(
            "known_archives",
            application_id=self._backups.application_id,
            same_place=list(same_place),
            archive_ids=list(archive_ids),
            as_of=as_of,
        )
        return {row["id"]: {**row, "written_by": self._writers.of(row["backup_id"])} for row in rows}

    def note_given_up(self, archive_id: int, *, key: str, size: int, checksum: str | None, as_of: datetime) -> bool:
        """Note where an archive lies that was given up; return whether it was."""
        return bool(
            self._db.row("note_given_up", archive_id=archive_id, key=key, size=size, checksum=checksum, as_of=as_of)
        )

    def back(self, archive_id: int, *, key: str) -> bool:
        """Note a lost archive as archived again, and a backup that failed for it alone as complete.

        Return whether it was: not a dump or manifest that was made anew meanwhile, nor what is known to be corrupt.
        """
        if not self._db.row("archive_is_back", archive_id=archive_id, key=key):
            return False
        self._db.run("compare_with_what_is_back", archive_id=archive_id)
        self._db.row("backup_is_whole_again", archive_id=archive_id)
        return True

    def reconciled(self, store_uri: str, *, before: datetime) -> int:
        """Note what was unknown of a store before a moment as reconciled; return the number of archives."""
        return self._db.run(
            "reconciled", application_id=self._backups.application_id, store_uri=store_uri, before=before
        )


def listed_row(stored: StoredArchive) -> tuple[str, int, str | None, str | None]:
    """Return key, size, checksum and what the archive tells of itself (JSON), of one archive that a store lists."""
    told = None if stored.description is None else json.dumps(stored.description.as_dict())
    return stored.key, stored.size, stored.checksum, told
