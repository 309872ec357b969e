"""The catalog written anew from what the store holds: manifests, listings, descriptions.

All verbs belong into one transaction: a rebuild is whole, or it never was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from glacier_provider.catalog.backups import Backups
from glacier_provider.catalog.database import PAGE_SIZE, Database, Row
from glacier_provider.catalog.reconciliation import listed_row
from glacier_provider.core.archive import StoredArchive
from glacier_provider.errors import UnsafeCatalogSchema


class Rebuild:
    """What a rebuild does to the rows of one application."""

    def __init__(self, database: Database, backups: Backups) -> None:
        self._db = database
        self._backups = backups

    @property
    def _application_id(self) -> int:
        return self._backups.application_id

    def register(self) -> None:
        """Have the application in the catalog. Before the transaction: its id outlives one that is rolled back."""
        _ = self._application_id

    def begin(self) -> None:
        """Make sure that nothing is there to be overwritten; raise UnsafeCatalogSchema otherwise."""
        self._db.row("rebuild_alone", application_id=self._application_id)
        rows = self._db.row("rebuild_in_the_way", application_id=self._application_id)
        if rows and (rows["backups"] or rows["archives"]):
            raise UnsafeCatalogSchema(
                f"The catalog knows {rows['backups']} backups and {rows['archives']} archives of this application.",
                hint="A rebuild needs an empty one: drop the schema, or name another with --schema.",
            )
        self._db.run("rebuild_forgotten_scans", application_id=self._application_id)
        self._db.run("create_rebuild_tables")

    # --- what the manifests tell -----------------------------------------------------------------------------

    def load_files(self, backup_id: int, files: Iterable[Mapping[str, Any]]) -> None:
        """Take the files that came with a backup (id, filename, checksum, key, ... as a manifest names them)."""
        rows = ((backup_id, file["id"], json.dumps(file)) for file in files)
        self._db.copy("told_files", rows, ("backup_id", "archive_id", "file"))

    def load_gone(self, backup_id: int, gone: Iterable[int]) -> None:
        """Take the archive ids that went with a backup."""
        self._db.copy("told_gone", ((backup_id, archive_id) for archive_id in gone), ("backup_id", "archive_id"))

    def load_backups(self, backups: Iterable[tuple[int, int | None, int, Mapping[str, Any], str | None]]) -> None:
        """Take (id, previous, the manifest's archive id, head, error) of each backup; `error` None: it is whole."""
        rows = ((*row[:3], json.dumps(row[3]), row[4]) for row in backups)
        self._db.copy("told_backups", rows, ("backup_id", "previous", "manifest_id", "head", "error"))
        self._db.run("index_rebuild_tables")

    def write(self, manifests: Iterable[Row]) -> int:
        """Write archives and backups; return the number of files. `manifests`: rows of manifests, as for `adopt`.

        Raise UnsafeCatalogSchema when another application of this catalog has taken the ids.
        """
        taken = self._db.row("rebuild_taken_ids")
        if taken is not None:
            raise UnsafeCatalogSchema(
                f"The {taken['what']} id {taken['id']} is in use by another application of this catalog.",
                hint="Rebuild into a schema of its own: --schema, and catalog_schema in applications.yaml.",
            )
        self._db.run("rebuild_database_archives", application_id=self._application_id)
        files = self._db.run("rebuild_file_archives", application_id=self._application_id)
        for row in manifests:
            self.adopt(row)
        self._db.run("rebuild_backups", application_id=self._application_id)
        self._db.run("rebuild_previous")
        return files

    def write_members(self, backup_id: int, *, before: int | None, previous: int | None) -> None:
        """Bring the ranges from backup `before` to `backup_id`.

        Its manifest tells the changes since that of backup `previous`; None: it lists every file.
        """
        ids = {"application_id": self._application_id, "backup_id": backup_id}
        if before is not None:
            self._db.run("rebuild_closed_ranges", **ids, before=before, previous=previous or 0, full=previous is None)
        if previous is not None and previous != before:
            self._db.run("rebuild_returned_ranges", **ids, previous=previous)
        self._db.run("rebuild_opened_ranges", **ids)

    def write_present(self) -> None:
        """Note the files of the newest backup as being in their directory."""
        self._db.run("rebuild_present", application_id=self._application_id)

    # --- what the stores tell --------------------------------------------------------------------------------

    def load_listing(self, store_uri: str, listed: Iterable[StoredArchive]) -> None:
        """Take everything that a store lists."""
        rows = ((store_uri, *listed_row(one)) for one in listed)
        self._db.copy("found_archives", rows, ("store_uri", "key", "size", "checksum", "told"))

    def undescribed(self, store_uri: str) -> list[str]:
        """Return the keys that no manifest names and the listing did not describe."""
        return [row["key"] for row in self._db.rows("rebuild_undescribed", store_uri=store_uri)]

    def describe(self, store_uri: str, found: Iterable[StoredArchive]) -> None:
        """Take the descriptions that were asked for one by one."""
        answers = iter(found)
        while group := list(islice(answers, PAGE_SIZE)):
            keys, sizes, checksums, tolds = zip(*map(listed_row, group), strict=True)
            self._db.run(
                "rebuild_describe",
                store_uri=store_uri,
                keys=list(keys),
                sizes=list(sizes),
                checksums=list(checksums),
                tolds=list(tolds),
            )

    def lost(self) -> list[Row]:
        """Write off what the manifests name and no store has; return the lost files that complete backups count on."""
        self._db.rows("rebuild_lost_archives", application_id=self._application_id)
        self._db.rows("rebuild_backups_without_dump", application_id=self._application_id)
        return self._db.rows("rebuild_files_lost", application_id=self._application_id)

    def unnamed(self) -> Iterator[Row]:
        """Yield what the stores hold and no manifest names: store_uri, key, size, checksum, told (a description)."""
        yield from self._db.rows("rebuild_unnamed")

    def adopt(self, row: Mapping[str, Any]) -> bool:
        """Write the row of one archive; return whether its id and its name were free."""
        return self._db.row("rebuild_adopted", application_id=self._application_id, **row) is not None

    def unfinished(self, backup_id: int, error: str) -> None:
        """Write the row of a backup that left archives and no manifest that can be read."""
        self._db.run("rebuild_unfinished_backup", application_id=self._application_id, backup_id=backup_id, error=error)

    def finish(self, *, archive_id: int, backup_id: int) -> None:
        """Have new ids begin after the highest that the store remembers."""
        self._db.row("rebuild_sequences", archive_id=archive_id, backup_id=backup_id)
