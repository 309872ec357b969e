"""The catalog written anew from what the store holds: manifests, listings, descriptions.

All verbs belong into one transaction: a rebuild is whole, or it never was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from typing import Any

from glacier_provider.catalog.backups import Backups
from glacier_provider.catalog.database import PAGE_SIZE, Database, Row
from glacier_provider.catalog.reconciliation import listed_row
from glacier_provider.core.archive import StoredArchive
from glacier_provider.core.store_uri import place_of
from glacier_provider.core.told import ToldArchive
from glacier_provider.errors import UnsafeCatalogSchema

#: Manifest, backup id, id of the backup whose manifest it continues, DAG run, head, error.
BackupRow = tuple[int, int, int | None, str, Mapping[str, Any], str | None]

_TOLD_COLUMNS = (
    "manifest",
    "kind",
    "told_id",
    "filename",
    "backup_id",
    "original_size",
    "stored_size",
    "sha256",
    "checksum",
    "encoding",
    "store_uri",
    "key",
    "archived_at",
    "place",
)


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
                f"The catalog knows {rows['backups']:,} backups and {rows['archives']:,} archives of this application.",
                hint="A rebuild needs an empty one: drop the schema, or name another with --schema.",
            )
        self._db.run("rebuild_forgotten_scans", application_id=self._application_id)
        self._db.run("create_rebuild_tables")
        self._db.rows("look_up_told")

    # --- what the manifests tell -----------------------------------------------------------------------------

    @contextmanager
    def loading(self) -> Iterator[None]:
        """What is loaded in this block is all taken back when it ends with an error."""
        with self._db.transaction():  # within the transaction of the rebuild: a savepoint
            yield

    def load_archives(self, manifest: int, archives: Iterable[tuple[str, ToldArchive]]) -> None:
        """Take archives, each with its kind, that a manifest names; the manifest itself is one of them."""
        rows = ((manifest, kind, *told, place_of(told.store_uri)) for kind, told in archives)
        self._db.copy("told_archives", rows, _TOLD_COLUMNS)

    def load_gone(self, manifest: int, gone: Iterable[int]) -> None:
        """Take the archive ids that went, as a manifest tells them."""
        self._db.copy("told_gone", ((manifest, archive_id) for archive_id in gone), ("manifest", "told_id"))

    def loaded(self) -> None:
        """Everything that manifests tell is loaded."""
        self._db.run("index_told")

    def contradictions(self, limit: int) -> list[list[Row]]:
        """Return what manifests tell otherwise of one archive: for each, what every manifest tells that names it."""
        rows = self._db.rows("told_contradictions", limit=limit)
        return [list(group) for _, group in groupby(rows, key=lambda row: (place_of(row["store_uri"]), row["key"]))]

    def forget(self, manifests: Sequence[int]) -> None:
        """Leave out all that these manifests tell."""
        self._db.run("forget_told", manifests=list(manifests))

    def highest_ids(self) -> tuple[int, int]:
        """Return the highest ids of an archive and of a backup that manifests, stores or this catalog know."""
        row = self._db.row("rebuild_highest_ids")
        assert row is not None
        return int(row["archive_id"]), int(row["backup_id"])

    def taken_backup_ids(self, backup_ids: Sequence[int]) -> set[int]:
        """Return which of these ids are those of backups in this catalog: of other applications."""
        return {row["id"] for row in self._db.rows("taken_backup_ids", backup_ids=list(backup_ids))}

    def told_backup_ids(self, manifests: Sequence[int]) -> list[tuple[int, int]]:
        """Return (manifest, the id of a backup that made one of its archives) of these manifests."""
        rows = self._db.rows("told_backup_ids", manifests=list(manifests))
        return [(row["manifest"], row["backup_id"]) for row in rows]

    def renumber(self, changes: Sequence[tuple[int, int, int]]) -> None:
        """Give backups the ids that they get: (manifest, the id that it tells, the id)."""
        manifests, olds, news = (list(column) for column in zip(*changes, strict=True))
        self._db.run("renumber_told_backups", manifests=manifests, olds=olds, news=news)

    def load_backups(self, backups: Iterable[BackupRow]) -> None:
        """Take (manifest, id, previous, DAG run, head, error) of each backup; `error` None: it is whole."""
        rows = ((*row[:4], json.dumps(row[4]), row[5]) for row in backups)
        self._db.copy("told_backups", rows, ("manifest", "backup_id", "previous", "dag_run_id", "head", "error"))

    def write(self, *, highest: int) -> list[int]:
        """Write archives and backups; return the manifests that name what went by an id that was given twice.

        An archive whose id is taken gets one above `highest`.
        """
        self._db.run("create_known_archives", highest=highest)
        self._db.run("index_known_archives")
        self._db.run("number_told_archives")
        self._db.run("number_told_gone")
        self._db.run("index_numbers")
        self._db.run("rebuild_archives", application_id=self._application_id)
        self._db.run("rebuild_backups", application_id=self._application_id)
        self._db.run("rebuild_previous")
        self._db.run("rebuild_fingerprints")
        return [row["manifest"] for row in self._db.rows("unclear_gone")]

    def clear_gone(self, manifest: int, chain: Sequence[int]) -> None:
        """Find out what went by an id that was given twice; `chain`: what led to this manifest, newest first."""
        self._db.run("clear_gone", manifest=manifest, chain=list(chain))

    @property
    def files(self) -> int:
        """Return how many files were written."""
        row = self._db.row("count_known_files")
        return int(row["files"]) if row else 0

    def write_members(self, manifest: int | None, backup_id: int, *, before: int | None, previous: int | None) -> None:
        """Bring the ranges from backup `before` to `backup_id`.

        Its manifest tells the changes since that of backup `previous`; None: it lists every file. Without a manifest
        nothing changed since `previous`.
        """
        ids = {"application_id": self._application_id, "manifest": manifest if manifest is not None else -1}
        if before is not None:
            self._db.run("rebuild_closed_ranges", **ids, before=before, previous=previous or 0, full=previous is None)
        if previous is not None and previous != before:
            self._db.run("rebuild_returned_ranges", **ids, backup_id=backup_id, previous=previous)
        self._db.run("rebuild_opened_ranges", **ids, backup_id=backup_id)

    def write_present(self) -> None:
        """Note the files of the newest backup as being in their directory, but for those with another version since."""
        self._db.run("rebuild_doubtful_ranges", application_id=self._application_id)
        self._db.run("rebuild_present", application_id=self._application_id)

    def miscounted(self) -> list[Row]:
        """Return `id`, `files_count` and `members` of complete backups where they differ, the newest first."""
        return self._db.rows("rebuild_miscounted", application_id=self._application_id)

    # --- what the stores tell --------------------------------------------------------------------------------

    def load_listing(self, store_uri: str, listed: Iterable[StoredArchive]) -> None:
        """Take everything that a store lists."""
        place = place_of(store_uri)
        rows = ((store_uri, place, *listed_row(one)) for one in listed)
        self._db.copy("found_archives", rows, ("store_uri", "place", "key", "size", "checksum", "told"))

    def listed(self) -> None:
        """Everything that the stores list is loaded."""
        self._db.run("index_found")

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

    def lost(self, deleted: Sequence[str]) -> list[Row]:
        """Note backups whose dump no store has as failed; return the lost files that complete backups count on.

        `deleted`: the SHA-256 of manifests whose backups were deleted on purpose, and are noted as that.
        """
        self._db.rows("rebuild_backups_without_dump", application_id=self._application_id)
        self._db.rows("rebuild_deleted_backups", application_id=self._application_id, manifests=list(deleted))
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
        """Have new ids begin after the highest that the store remembers, and the next manifest list every file.

        What was renumbered has ids that no earlier manifest tells: none of them can be continued.
        """
        self._db.run("manifests_begin_anew", application_id=self._application_id, backup_id=backup_id + 1)
        self._db.row("rebuild_sequences", archive_id=archive_id, backup_id=backup_id)
