"""What the catalog remembers of its looks at a store: how far it went, and whether it left its marker there."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from glacier_provider.catalog.backups import Backups
from glacier_provider.catalog.database import Database, Row
from glacier_provider.catalog.reconciliation import listed_row
from glacier_provider.core.archive import StoredArchive


class Checks:
    """The looks at the stores of one application."""

    def __init__(self, database: Database, backups: Backups) -> None:
        self._db = database
        self._backups = backups

    def of_store(self, store_uri: str) -> Row:
        """Return the `mark` of this catalog, whether it is `marked` with it, and the last key looked at: `position`."""
        row = self._db.row("store_check", application_id=self._backups.application_id, store_uri=store_uri)
        assert row is not None
        return row

    def marked(self, store_uri: str) -> None:
        self._db.run("store_marked", application_id=self._backups.application_id, store_uri=store_uri)

    def not_listed(
        self, store_uri: str, listed: Iterable[StoredArchive], *, after: str, until: str | None, as_of: datetime
    ) -> list[int]:
        """Return the ids of archives that were written before `as_of` and are not listed as they were written.

        `listed` is what lies behind the key `after` up to `until`; None: to the end. It is noted as looked through.
        """
        where = {"application_id": self._backups.application_id, "store_uri": store_uri}
        with self._db.transaction():
            self._db.run("create_listed")
            self._db.copy("listed", map(listed_row, listed), ("key", "size", "checksum", "told"))
            self._db.run("analyze_listed")
            missing = self._db.rows("not_listed", **where, after=after, until=until, as_of=as_of)
            self._db.run("looked_through", **where, until=until)
        return [row["id"] for row in missing]

    def newest(self, backup_id: int, store_uri: str, *, files: int) -> list[Row]:
        """Return the dump and manifest of a backup and the files that it archived last, so many at most."""
        return self._db.rows(
            "newest_archives",
            application_id=self._backups.application_id,
            backup_id=backup_id,
            store_uri=store_uri,
            limit=files,
        )
