"""What the catalog knows to be lost: noted by whoever learns it, and healed when the same content is archived anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from glacier_provider.catalog.backups import Backups
from glacier_provider.catalog.database import Database, Row

_MOST_MANIFESTS = 1000  # at once; the next look takes the next ones


class Lost:
    """The archives of one application that are not in their stores, though nobody deleted them."""

    def __init__(self, database: Database, backups: Backups) -> None:
        self._db = database
        self._backups = backups

    def note(self, archive_ids: Sequence[int], how: str) -> list[Row]:
        """Note archives as lost, with a sentence on how that was learned; return `id`, `kind`, `filename`, `backup_id`.

        Only what was archived can be lost. A backup whose dump is lost cannot be restored, and is failed.
        """
        if not archive_ids:
            return []
        application_id = self._backups.application_id
        with self._db.transaction():
            lost = self._db.rows("note_lost", application_id=application_id, archive_ids=list(archive_ids), how=how)
            if any(row["kind"] == "database" for row in lost):
                self._db.rows("backups_without_dump", application_id=application_id)
            if any(row["kind"] == "manifest" for row in lost):  # the newest may continue it through others
                self._begin_manifests_anew((self._backups.newest_complete() or 0) + 1)
        return lost

    def note_corrupt(self, archive_ids: Sequence[int], how: str, *, proof_id: int | None = None) -> list[Row]:
        """Note archives as lost whose content is known to be another one: that a store lists them does not bring them
        back. Return as `note`.
        """
        if not archive_ids:
            return []
        with self._db.transaction():
            lost = self.note(archive_ids, how)
            self._db.run("note_corrupt", archive_ids=[row["id"] for row in lost], proof_id=proof_id)
        return lost

    def heal(self) -> int:
        """Give backups that contain a lost archive one of the same name and content; return how many memberships.

        Manifests of these backups name what is lost: the next one continues none of them.
        """
        application_id = self._backups.application_id
        with self._db.transaction():
            if not self._db.run("find_healed", application_id=application_id):
                return 0
            healed = self._db.row("heal")
            if healed is None or not healed["ranges"]:
                return 0
            self._begin_manifests_anew(healed["newest"] + 1)
        return int(healed["ranges"])

    def _begin_manifests_anew(self, backup_id: int) -> None:
        self._db.run("manifests_begin_anew", application_id=self._backups.application_id, backup_id=backup_id)

    def manifests_from(self) -> int:
        """Return the first backup whose manifest another one may continue."""
        row = self._db.row("manifests_from", application_id=self._backups.application_id)
        return int(row["id"]) if row else 0

    def manifests(self, same_place: Sequence[str]) -> list[Row]:
        """Return the manifests of a place, by any of its URIs, that were lost some days ago at most, the oldest first.

        `id`, `backup_id`, `filename`, `sha256`, and which one each continues: `previous_backup_id` (None: none) with
        `previous_sha256`.
        """
        return self._db.rows(
            "lost_manifests",
            application_id=self._backups.application_id,
            same_place=list(same_place),
            limit=_MOST_MANIFESTS,
        )

    def of_backups(self, backup_ids: Iterable[int]) -> dict[int, Row]:
        """Return `lost_count` and `lost` (the first names) of the backups that contain lost files."""
        ids = list(backup_ids)
        return {row["id"]: row for row in self._db.rows("lost_of_backups", ids=ids)} if ids else {}

    def other_backup(self, names: Sequence[str], *, besides: int) -> tuple[int, str] | None:
        """Return a complete backup, and which of these names it holds a readable content of; None: of none of them."""
        for name in names[:20]:
            row = self._db.row(
                "other_backup_of_name",
                application_id=self._backups.application_id,
                filename=name,
                besides=besides,
            )
            if row is not None:
                return row["id"], name
        return None

    def listed(self, *, since: datetime, limit: int) -> list[Row]:
        """Return what is lost and a backup needs, what was learned since a moment first.

        `id`, `is_new`, `lost_how`, and how many there are of its kind (new or not) in all: `count`.
        """
        return self._db.rows("lost_archives", application_id=self._backups.application_id, since=since, limit=limit)

    def places(self, archive_ids: Sequence[int]) -> list[str]:
        """Return names of archives, each with the backups that it is in, as in `a.pdf (backups 3 to 17)`."""
        rows = self._db.rows("backups_of_archives", archive_ids=list(archive_ids))
        return [f"{row['filename']} ({_backups(row['first'], row['last'])})" for row in rows]

    def in_backup(self, backup_id: int, *, limit: int) -> list[Row]:
        """Return `id` of what is lost of a backup, its dump first, and how many there are in all: `count`."""
        return self._db.rows("lost_in_backup", backup_id=backup_id, limit=limit)

    def of_restore(self, restore_id: int) -> list[Row]:
        """Return `id`, `kind`, `filename` and `corrupt` of what a restore was to bring and is lost."""
        return self._db.rows("lost_of_restore", restore_id=restore_id)

    def drop_of_restore(self, restore_id: int) -> list[str]:
        """Have a restore go on without the files that are lost; return their names."""
        return sorted(row["filename"] for row in self._db.rows("drop_lost_of_restore", restore_id=restore_id))


def _backups(first: int, last: int) -> str:
    return f"backup {first}" if first == last else f"backups {first} to {last}"
