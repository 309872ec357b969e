"""What the catalog knows and does about archives: planned, being uploaded, archived."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glacier_provider.catalog.backups import Backups
from glacier_provider.catalog.database import PAGE_SIZE, Database, Row
from glacier_provider.catalog.writers import Writers
from glacier_provider.core.archive import ArchiveKind, Description, Receipt
from glacier_provider.core.text import NAMED
from glacier_provider.errors import IllegalMove


@dataclass(frozen=True, slots=True)
class ArchiveRange:
    """Archives of an application by id, both ends included: what one mapped task works on.

    `bytes` is 0 where nobody has counted them, and no part of `as_dict` then.
    """

    first: int
    last: int
    archives: int = 0
    bytes: int = 0

    def as_dict(self) -> dict[str, int]:
        counted = {"bytes": self.bytes} if self.bytes else {}
        return {"first": self.first, "last": self.last, "archives": self.archives, **counted}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ArchiveRange:
        """Build from `as_dict`'s result; raise KeyError or ValueError when it is not one."""
        first, last = (int(values[name]) for name in ("first", "last"))
        return cls(first, last, int(values.get("archives", 0)), int(values.get("bytes", 0)))


@dataclass(frozen=True, slots=True)
class PlannedArchive:
    """An archive to upload. `size` is in bytes, as planned; `written_by` is what it is signed with.

    `to_compare`: its file may have the content of an archive of the same name; then it is not sent. `begun`: an earlier
    try began to send it, and `size` may be older than the scan of the backup.
    """

    id: int
    filename: str
    size: int
    backup_id: int
    store_uri: str
    written_by: str | None = None
    to_compare: bool = False
    begun: bool = False

    def description(
        self,
        application: str,
        kind: ArchiveKind,
        *,
        size: int | None = None,
        sha256: str | None = None,
        encoding: str = "identity",
    ) -> Description:
        """Return what the store is told of it; `size` (bytes) where it is not the planned one."""
        return Description(
            application=application,
            kind=kind,
            archive_id=self.id,
            backup_id=self.backup_id,
            filename=self.filename,
            size=self.size if size is None else size,
            sha256=sha256,
            encoding=encoding,
            written_by=self.written_by,
        )


@dataclass(frozen=True, slots=True)
class Upload:
    """What became of one upload: a receipt, or the reason why there is none; `grew`: by how many bytes the file of a
    backup is larger than its scan saw it.
    """

    archive_id: int
    receipt: Receipt | None = None
    sha256: str | None = None
    error: str | None = None
    grew: int = 0


@dataclass(frozen=True, slots=True)
class EarlierVersion:
    """An archive (`earlier`) of the same name as another that is planned (`archive_id`), and may have its content."""

    archive_id: int
    earlier: int
    size: int
    checksum: str


class Archives:
    """The archives of one application."""

    def __init__(self, database: Database, backups: Backups, writers: Writers) -> None:
        self._db = database
        self._backups = backups
        self._writers = writers

    # --- planning --------------------------------------------------------------------------------------------

    def plan_database(
        self, backup_id: int, *, filename: str, size: int, sha256: str | None, encoding: str, store_uri: str
    ) -> int:
        """Plan the archive of a backup's dump and return its id.

        Raise IllegalMove when the dump of this backup is already being uploaded or archived.
        """
        row = self._db.row(
            "plan_database_archive",
            application_id=self._backups.application_id,
            filename=filename,
            backup_id=backup_id,
            size=size,
            sha256=sha256,
            encoding=encoding,
            store_uri=store_uri,
        )
        if row is None:
            raise IllegalMove(f"The dump of backup {backup_id} is already on its way to the store.")
        return int(row["id"])

    def dump_is_whole(self, archive_id: int, *, size: int, sha256: str, checksum: str | None) -> None:
        """Note what a dump turned out to be, before it can become an archive; `checksum` when every part of it is sent.

        Raise IllegalMove when it was given up meanwhile.
        """
        row = self._db.row("dump_is_whole", archive_id=archive_id, size=size, sha256=sha256, checksum=checksum)
        if row is None:
            raise IllegalMove(f"The dump {archive_id} is no longer on its way to the store.")

    def plan_manifest(self, backup_id: int, *, filename: str, size: int, sha256: str, store_uri: str) -> Row:
        """Plan the manifest's archive; return its `id`, `state` and `earlier_sha256s`, of what earlier tries sent.

        A retried task may find it archived, if it is the same. Only for a backup that is not complete.
        """
        row = self._db.row(
            "plan_manifest",
            application_id=self._backups.application_id,
            filename=filename,
            backup_id=backup_id,
            size=size,
            sha256=sha256,
            encoding="gzip",
            store_uri=store_uri,
        )
        assert row is not None
        return row

    def of_backup(self, backup_id: int, kind: ArchiveKind) -> Row | None:
        """Return the live dump or manifest archive of a backup, or None."""
        return self._db.row("archive_of_backup", backup_id=backup_id, kind=kind.value)

    def drop_unsent_dump(self, backup_id: int, error: str) -> Row | None:
        """Give up a dump that is not archived and no longer in staging; return its `id`, `upload_id` and `key`."""
        return self._db.row("drop_unsent_dump", backup_id=backup_id, error=error)

    # --- uploading -------------------------------------------------------------------------------------------

    def unfinished_ranges(self, *, shares: int, smallest: int) -> list[ArchiveRange]:
        """Return the files to upload in at most `shares` ranges of nearly equal length, each of `smallest` or more."""
        rows = self._db.rows(
            "unfinished_ranges", application_id=self._backups.application_id, shares=shares, smallest=smallest
        )
        return [ArchiveRange(**row) for row in rows]

    def unfinished_files(self, wanted: ArchiveRange) -> Iterator[list[PlannedArchive]]:
        """Yield pages of the files of a range that are not archived yet; each page is noted as `uploading`."""
        after = wanted.first - 1
        while rows := self._db.rows(
            "unfinished_files",
            application_id=self._backups.application_id,
            after=after,
            last=wanted.last,
            limit=PAGE_SIZE,
        ):
            after = rows[-1]["id"]
            yield [self.planned(row) for row in self._begun(rows)]

    def _begun(self, rows: Sequence[Row]) -> list[Row]:
        begun = {row["id"] for row in self._begin([row["id"] for row in rows])}
        return [row for row in rows if row["id"] in begun]

    def planned(self, row: Row) -> PlannedArchive:
        """Return the archive to upload that a row tells of."""
        return PlannedArchive(
            id=row["id"],
            filename=row["filename"],
            size=row["original_size"],
            backup_id=row["backup_id"],
            store_uri=row["store_uri"],
            written_by=self._writers.of(row["backup_id"]),
            to_compare=row.get("to_compare", False),
            begun=row.get("state") == "uploading",
        )

    def begin_upload(self, archive_id: int) -> None:
        """Note that an upload begins; raise IllegalMove when the archive is not one to upload."""
        if not self._begin([archive_id]):
            raise IllegalMove(f"Archive {archive_id} is not waiting for its upload.")

    def _begin(self, archive_ids: list[int]) -> list[Row]:
        return self._db.rows("begin_uploads", application_id=self._backups.application_id, archive_ids=archive_ids)

    def record_uploads(self, uploads: Sequence[Upload]) -> int:
        """Note a group of uploads in one transaction: archived, where the receipts say, or why not.

        Return how many are archived.
        """
        done = [(upload, upload.receipt) for upload in uploads if upload.receipt is not None]
        wrong = [upload for upload in uploads if upload.error is not None]
        with self._db.transaction():
            if wrong:
                self._db.run(
                    "note_upload_errors",
                    ids=[upload.archive_id for upload in wrong],
                    errors=[upload.error for upload in wrong],
                )
            if not done:
                return 0
            if grew := sum(upload.grew for upload, _ in done):
                self._db.row("files_grew", application_id=self._backups.application_id, bytes=grew)
            return self._db.run(
                "record_uploads",
                ids=[upload.archive_id for upload, _ in done],
                store_uris=[receipt.location.store_uri for _, receipt in done],
                keys=[receipt.location.key for _, receipt in done],
                sizes=[receipt.size for _, receipt in done],
                checksums=[receipt.checksum for _, receipt in done],
                sha256s=[upload.sha256 for upload, _ in done],
                twices=[receipt.maybe_twice for _, receipt in done],
            )

    def drop_vanished(self, archive_ids: Sequence[int]) -> None:
        """Files that were planned and are gone: no longer part of any backup, and no longer counted as such."""
        if archive_ids:
            self._db.run("drop_vanished", archive_ids=list(archive_ids))

    def note_unread(self, backup_id: int, archive_ids: Sequence[int]) -> None:
        """Note files that a backup could not read, with every try that it had."""
        if archive_ids:
            self._db.run("note_unread", backup_id=backup_id, archive_ids=list(archive_ids))

    def unread(self, backup_id: int) -> tuple[int, list[str]]:
        """Return how many files of a backup could not be read, and some of their names."""
        row = self._db.row("count_unread", application_id=self._backups.application_id, backup_id=backup_id)
        return (row["files"], row["named"]) if row else (0, [])

    def leave_out_unread(self, backup_id: int) -> None:
        """Files that could not be read become no part of a running backup; its figures and its report say so."""
        self._db.row("leave_out_unread", application_id=self._backups.application_id, backup_id=backup_id, limit=NAMED)

    def plan_again(self, archive: PlannedArchive) -> PlannedArchive:
        """Give up an archive whose key holds something else; return what takes its place in the backup.

        Raise IllegalMove when the archive is not one to upload.
        """
        with self._db.transaction():
            row = self._db.row("give_up_upload", archive_id=archive.id)
            if row is None:
                raise IllegalMove(f"Archive {archive.id} is not waiting for its upload.")
            again = self._db.row("plan_file_again", archive_id=archive.id)
            assert again is not None
            self._db.run("replace_member", archive_id=archive.id, by=again["id"])
            self._db.run("replace_identity", archive_id=archive.id, by=again["id"])
        return self.planned(again)

    def plan_dump_again(self, archive: PlannedArchive) -> PlannedArchive:
        """Give up the dump of a backup whose key holds something else; return what takes its place.

        Raise IllegalMove when it is not one to upload.
        """
        with self._db.transaction():
            if self._db.row("give_up_dump", archive_id=archive.id) is None:
                raise IllegalMove(f"Archive {archive.id} is not waiting for its upload.")
            again = self._db.row("plan_dump_again", archive_id=archive.id)
            assert again is not None
            self._db.run("replace_dump", archive_id=archive.id, by=again["id"])
        return self.planned(again)

    def earlier_versions(self, archive_ids: Sequence[int]) -> dict[int, list[EarlierVersion]]:
        """Return what else was archived under the names of these archives, the newest first."""
        found: dict[int, list[EarlierVersion]] = {}
        for row in self._db.rows("earlier_versions", archive_ids=list(archive_ids)):
            version = EarlierVersion(row["id"], row["earlier"], row["stored_size"], row["checksum"])
            found.setdefault(row["id"], []).append(version)
        return found

    def take_earlier_versions(self, found: Sequence[EarlierVersion]) -> None:
        """These files have the content of an earlier archive: that one is in the backup, and theirs is not sent."""
        ids, earlier = [one.archive_id for one in found], [one.earlier for one in found]
        with self._db.transaction():
            self._db.run("hand_over_ranges", archive_ids=ids, earlier=earlier)
            self._db.run("hand_over_identities", archive_ids=ids, earlier=earlier)
            if len(self._db.rows("withdraw_versions", archive_ids=ids)) != len(ids):
                raise IllegalMove("An archive that was compared is no longer waiting for its upload.")
            if len(self._db.rows("current_again", earlier=earlier)) != len(ids):
                raise IllegalMove("An archive that has the content of a file is not in its store any more.")

    def abandoned_uploads(self, store_uri: str) -> list[tuple[PlannedArchive, ArchiveKind]]:
        """Return archives that were given up while they were sent in parts to this store."""
        rows = self._db.rows(
            "abandoned_uploads", application_id=self._backups.application_id, store_uri=store_uri, limit=PAGE_SIZE
        )
        return [(self.planned(row), ArchiveKind(row["kind"])) for row in rows]

    def journal(self, archive_id: int) -> CatalogJournal:
        """Return the memory of a large upload (the stores' `UploadJournal`)."""
        return CatalogJournal(self._db, archive_id, self._writers)

    def get(self, archive_id: int) -> Row:
        row = self._db.row("archive", archive_id=archive_id)
        if row is None:
            raise IllegalMove(f"There is no archive {archive_id} in the catalog.")
        return row

    # --- manifests -------------------------------------------------------------------------------------------

    def added_since(self, previous: int, backup_id: int) -> Iterator[Row]:
        """Yield the files of `backup_id` that backup `previous` (0: nothing) does not contain, in id order."""
        return self._db.stream(
            "manifest_added", application_id=self._backups.application_id, previous=previous, backup_id=backup_id
        )

    def removed_since(self, previous: int, backup_id: int) -> Iterator[int]:
        """Yield the archive ids of backup `previous` that `backup_id` does not contain, in order."""
        for row in self._db.stream(
            "manifest_removed", application_id=self._backups.application_id, previous=previous, backup_id=backup_id
        ):
            yield int(row["id"])

    def changes_since_full_manifest(self, backup_id: int) -> int | None:
        """Return how many changes the manifests since the last full one hold; None when there is no full one."""
        row = self._db.row(
            "changes_since_full_manifest", application_id=self._backups.application_id, backup_id=backup_id
        )
        return None if row is None else int(row["changes"])


class CatalogJournal:
    """An `UploadJournal` kept in the archive's row, on the connection of the thread that uploads.

    What is noted there by the catalog of which this one is a copy is none of ours: it is as if it were not noted.
    """

    def __init__(self, database: Database, archive_id: int, writers: Writers) -> None:
        self._db = database
        self._archive_id = archive_id
        self._writers = writers

    def upload_id(self) -> tuple[str, int] | None:
        row = self._db.row("archive", archive_id=self._archive_id)
        if row is None or not row["upload_id"] or row["upload_by"] != self._writers.of(row["backup_id"]):
            return None
        return row["upload_id"], row["part_size"]

    def began(self, upload_id: str, part_size: int) -> None:
        row = self._db.row("archive", archive_id=self._archive_id)
        noted = row and self._db.row(
            "remember_upload",
            archive_id=self._archive_id,
            upload_id=upload_id,
            part_size=part_size,
            upload_by=self._writers.of(row["backup_id"]),
        )
        if not noted:
            raise IllegalMove(f"Archive {self._archive_id} is no longer being uploaded.")

    def forget(self) -> None:
        self._db.run("forget_upload", archive_id=self._archive_id)
