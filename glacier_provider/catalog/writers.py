"""Who wrote an archive: the signature that tells this catalog's archives from those of its copies. See docs/adr/0022.

A signature is a hash of two things. The *place* of the catalog: PostgreSQL's system identifier and the numbers of its
database and schema; a copy made by `pg_dump` lies elsewhere. The *mark* of the backup that planned the archive, drawn
at random when the backup was opened; a copy of the whole server draws others from then on.
"""

from __future__ import annotations

import hashlib

from glacier_provider.catalog.database import Database

_LENGTH = 16


class Writers:
    """The signatures of one catalog, asked for once each."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._place: str | None = None
        self._known: dict[int, str | None] = {}

    def of(self, backup_id: int) -> str | None:
        """Return what archives planned by a backup are signed with here; None for a backup that has no mark.

        A backup that a rebuild wrote has none: what was signed for it, another catalog signed.
        """
        if backup_id not in self._known:
            row = self._db.row("mark_of_backup", backup_id=backup_id)
            self._known[backup_id] = signature(self.place(), row["mark"]) if row and row["mark"] else None
        return self._known[backup_id]

    def last_ids(self) -> tuple[int, int]:
        """Return the last ids that this catalog gave, to an archive and to a backup."""
        row = self._db.row("last_ids")
        assert row is not None
        return int(row["archive_id"]), int(row["backup_id"])

    def skip_ids(self, *, archive_id: int, backup_id: int) -> None:
        """Give no ids up to these: another life of this catalog gave them."""
        self._db.rows("skip_archive_ids", archive_id=archive_id)
        self._db.rows("skip_backup_ids", backup_id=backup_id)

    def place(self) -> str:
        """Return what tells this catalog's place from others, as text."""
        if self._place is None:
            asked = self._db.row("may_ask_for_system")
            row = self._db.row("place_in_system" if asked and asked["may"] else "place_in_server")
            assert row is not None
            self._place = f"{row['system']}/{row['database']}/{row['schema']}"
        return self._place


def signature(place: str, mark: str) -> str:
    return hashlib.sha256(f"{place}/{mark}".encode()).hexdigest()[:_LENGTH]
