"""What the catalog knows of a store's listing: which of it is unknown, and what of the catalog is not in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from glacier_provider.catalog.backups import Backups
from glacier_provider.catalog.database import Database, Row
from glacier_provider.catalog.writers import Writers

PAGE = 1000
NAMED = 20

#: One archive as a store lists it: key, size in bytes, checksum, and its description as a dict or None.
Listed = tuple[str, int, str | None, dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Doubts:
    """How many archives of a store may be there unknown to the catalog, since when the first and the last of them."""

    archives: int
    oldest: datetime | None
    newest: datetime | None


class Reconciling:
    """The comparison of an application's stores with its catalog."""

    def __init__(self, database: Database, backups: Backups, writers: Writers) -> None:
        self._db = database
        self._backups = backups
        self._writers = writers

    def stores(self, *, doubtful: bool) -> list[str]:
        """Return the URIs of the application's stores; with `doubtful`, of those that leave something in doubt."""
        rows = self._db.rows("stores_of_application", application_id=self._backups.application_id, doubtful=doubtful)
        return [row["store_uri"] for row in rows]

    def doubts(self, store_uri: str) -> Doubts:
        """Return what is in doubt of one store."""
        row = self._db.row("oldest_doubt", application_id=self._backups.application_id, store_uri=store_uri)
        return Doubts(row["archives"], row["since"], row["newest"]) if row else Doubts(0, None, None)

    # The following belong into one transaction: what the store lists lives as long as that.

    def load(self, listed: Iterable[Listed]) -> int:
        """Stream what a store lists into the current transaction; return the number of archives."""
        self._db.run("create_listed")
        rows = ((key, size, checksum, json.dumps(told) if told else None) for key, size, checksum, told in listed)
        count = self._db.copy("listed", rows, ("key", "size", "checksum", "told"))
        self._db.run("analyze_listed")
        return count

    def unknown(self, store_uri: str) -> Iterator[list[Row]]:
        """Yield pages of what the store lists and the catalog has not: `key`, `size`, `checksum`, `told`."""
        after = ""
        while rows := self._db.rows(
            "unknown_keys",
            application_id=self._backups.application_id,
            store_uri=store_uri,
            after=after,
            limit=PAGE,
        ):
            after = rows[-1]["key"]
            yield rows

    def missing(self, store_uri: str, *, as_of: datetime) -> list[Row]:
        """Return the first archives that the catalog has from before `as_of`, and the store does not list."""
        return self._db.rows(
            "missing_from_store",
            application_id=self._backups.application_id,
            store_uri=store_uri,
            as_of=as_of,
            limit=NAMED,
        )

    def known(self, store_uri: str, archive_ids: Sequence[int], *, as_of: datetime) -> dict[int, Row]:
        """Return the rows of these archives by id; of those that the catalog has in this store.

        `lost` tells of each whether backups count on it and the listing of `as_of` does not have it, `written_by` how
        it is signed.
        """
        rows = self._db.rows(
            "known_archives",
            application_id=self._backups.application_id,
            store_uri=store_uri,
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

        Return whether it was: not when its file was archived anew meanwhile.
        """
        if not self._db.row("archive_is_back", archive_id=archive_id, key=key):
            return False
        self._db.row("backup_is_whole_again", archive_id=archive_id)
        return True

    def settle(self, store_uri: str, *, before: datetime) -> int:
        """Take the doubt from archives that were doubtful before a moment; return their number."""
        return self._db.run(
            "settle_doubts", application_id=self._backups.application_id, store_uri=store_uri, before=before
        )
