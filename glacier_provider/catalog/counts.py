"""The figures that the catalog keeps for its pages: are they right, and counted anew if not; the index of names.

Triggers keep the figures in the transaction of each change (migrations 0003, 0018). Verbs for who doubts them.
"""

from __future__ import annotations

from glacier_provider.catalog.database import Database, Row, catalog_errors
from glacier_provider.errors import CatalogError


class Counts:
    """The kept figures of a whole catalog, all applications."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def wrong(self, *, limit: int = 100) -> list[Row]:
        """Compare every kept figure with what it counts, and return those that differ, the first `limit`.

        Takes as long as counting everything. Changes that are committed while it runs cannot mislead it.
        """
        names = ("wrong_counts", "wrong_levels", "wrong_dump_sizes", "wrong_progress")
        found = [row for name in names for row in self._db.rows(name, limit=limit)]
        return found[:limit]

    def rebuild(self) -> None:
        """Count everything anew; changes of archives wait meanwhile."""
        with self._db.transaction():
            self._db.run("rebuild_counts")
            self._db.run("forget_looks")

    def index_names(self) -> bool:
        """Build the index that finds filenames by any part of them; return False when it is there already.

        Raise CatalogError when the database has no extension pg_trgm: installing it is for its administrator.
        """
        found = self._db.row("trigrams_installed") or {}
        if found.get("indexed"):
            return False
        if not found.get("installed"):
            raise CatalogError(
                "The catalog's database does not have the extension pg_trgm.",
                hint="As its owner: CREATE EXTENSION pg_trgm. Without the index, searches go step by step.",
            )
        statement = self._db.row("index_names") or {}
        with catalog_errors():
            self._db.connection().execute(statement["statement"])
        return True

    def drop_index_of_names(self) -> None:
        self._db.run("drop_index_of_names")
