"""What the catalog remembers of its looks at a store: how far it went, and whether it left its marker there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from glacier_provider.catalog.backups import Backups
from glacier_provider.catalog.database import Database, Row
from glacier_provider.catalog.reconciliation import listed_row
from glacier_provider.core.archive import StoredArchive
from glacier_provider.core.text import NAMED


@dataclass(frozen=True, slots=True)
class Compared:
    """What a part of a listing came to: how many it lists, which archives differ from it, what it has beside them.

    `differing` rows have `id`, `kind`, `filename` and `differs`: missing, size, checksum. `others` are, by what they
    are (unknown, undeleted, back, class), rows of `count`, `bytes` and some `names`.
    """

    listed: int
    differing: list[Row]
    others: Mapping[str, Row]


_COLUMNS = ("key", "size", "checksum", "told", "created_at", "storage_class", "archive_id")


def _row(stored: StoredArchive) -> tuple[Any, ...]:
    return (*listed_row(stored), stored.created_at, stored.storage_class, stored.archive_id)


class Checks:
    """The looks at the stores of one application."""

    def __init__(self, database: Database, backups: Backups) -> None:
        self._db = database
        self._backups = backups

    def of_store(self, store_uri: str, same_place: Sequence[str]) -> Row:
        """Return the `mark` of this catalog, whether the place is `marked` with it, and the last key looked at:
        `position`. `same_place` are all URIs of the place.
        """
        row = self._db.row(
            "store_check",
            application_id=self._backups.application_id,
            store_uri=store_uri,
            same_place=list(same_place),
        )
        assert row is not None
        return row

    def marked(self, store_uri: str) -> None:
        self._db.run("store_marked", application_id=self._backups.application_id, store_uri=store_uri)

    def compare(
        self,
        store_uri: str,
        listed: Iterable[StoredArchive],
        *,
        after: str,
        until: str | None,
        as_of: datetime,
        classes: tuple[str, Sequence[str]] | None = None,
    ) -> Compared:
        """Compare a part of a store's listing with the archives that were written there before `as_of`.

        `listed` is what lies behind the key `after` up to `until`; None: to the end. It is streamed, and noted as
        looked through. With `classes`, the storage class of the store and the URIs of the same place, archives of all
        these are compared, and it is also looked for what is listed and not as the catalog knows it.
        """
        places = [store_uri] if classes is None else list(classes[1])
        where = {
            "application_id": self._backups.application_id,
            "store_uri": store_uri,
            "same_place": places,
            "as_of": as_of,
        }
        with self._db.transaction():
            self._db.run("create_listed")
            count = self._db.copy("listed", map(_row, listed), _COLUMNS)
            self._db.run("analyze_listed")
            others: list[Row] = []
            with self._db.at_once():
                differing = self._db.rows("not_listed", **where, after=after, until=until)
                if classes is not None:
                    others = self._db.rows("listed_otherwise", **where, storage_class=classes[0], most=NAMED)
            self._db.run("looked_through", application_id=where["application_id"], store_uri=store_uri, until=until)
        return Compared(count, differing, {row["what"]: row for row in others})

    def hidden(self, keys: Sequence[str]) -> list[str]:
        """Return the names of archives that are lost and have one of these keys."""
        found = self._db.rows("hidden_archives", application_id=self._backups.application_id, keys=list(keys))
        return [row["filename"] for row in found]

    def newest_of(self, store_uri: str, *, as_of: datetime, limit: int) -> list[Row]:
        """Return `key`, `filename` and `archived_at` of the files that came into a store last, before a moment."""
        return self._db.rows(
            "newest_of_store",
            application_id=self._backups.application_id,
            store_uri=store_uri,
            as_of=as_of,
            limit=limit,
        )

    def newest(self, backup_id: int, same_place: Sequence[str], *, files: int) -> list[Row]:
        """Return the dump and manifest of a backup and the files that it archived last, so many at most; what is in a
        place, by any of its URIs.
        """
        return self._db.rows(
            "newest_archives",
            application_id=self._backups.application_id,
            backup_id=backup_id,
            same_place=list(same_place),
            limit=files,
        )
