"""What the catalog tells of a backup, as its manifest; and manifests that their store has lost, written again."""

from __future__ import annotations

import gzip
import hashlib
import logging
from collections.abc import Sequence
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.core.checks import fit_for_manifest
from glacier_provider.core.manifest import manifest_lines
from glacier_provider.core.text import NAMED, counted, some
from glacier_provider.errors import StoreError
from glacier_provider.stores.contract import ArchiveStore

log = logging.getLogger(__name__)


def manifest_of(backup_id: int, previous: int, previous_sha256: str | None, *, catalog: Catalog) -> bytes:
    """Return the manifest of a backup, which continues that of the backup `previous`; 0: it lists every file."""
    backup = catalog.backups.get(backup_id)
    database = catalog.archives.get(backup["database_archive_id"])
    told = {name: backup[name] for name in _TOLD_OF_BACKUP}
    report = dict(told["report"])
    roles = report.pop("roles", None)
    head: dict[str, Any] = {
        **told,
        "report": report,
        "roles": roles,
        "fingerprint": fit_for_manifest(catalog.backups.fingerprint(backup_id)),
        "previous": previous or None,
        # By this it is known which one is meant, should another life of the catalog have given the id as well.
        "previous_sha256": previous_sha256,
        "database": {name: database[name] for name in _TOLD_OF_ARCHIVE},
        # By this a rebuild tells a deleted backup from one whose dump was lost.
        "deleted": catalog.deletions.outlived_manifests(),
    }
    lines = manifest_lines(
        head, catalog.archives.added_since(previous, backup_id), catalog.archives.removed_since(previous, backup_id)
    )
    return gzip.compress(b"".join(lines), mtime=0)


def write_lost_manifests(
    application: Application, uris: Sequence[str], *, catalog: Catalog, store: ArchiveStore
) -> None:
    """Write manifests again that the store, by any of its URIs, has lost, where they come out as they were, byte for
    byte: those that continue them name them by their hash.

    Of the others the catalog alone knows what their backups, and those that continue them, contain.
    """
    if not store.features.chooses_keys:
        return  # a vault would give it another id
    left = []
    for row in catalog.lost.manifests(uris):
        if not _write_again(application, row, catalog=catalog, store=store):
            left.append(row["filename"])
    if left:
        log.error(
            "%s of %s cannot be written again as they were: %s. What their backups contain, and those up to the next "
            "manifest that lists every file, the catalog alone knows: keep a copy of its database.",
            counted(len(left), "lost manifest"),
            application.name,
            some(left[:NAMED], len(left)),
        )


def _write_again(application: Application, row: Row, *, catalog: Catalog, store: ArchiveStore) -> bool:
    data = manifest_of(row["backup_id"], row["previous_backup_id"] or 0, row["previous_sha256"], catalog=catalog)
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        return False
    description = Description(
        application=application.name,
        kind=ArchiveKind.MANIFEST,
        archive_id=row["id"],
        backup_id=row["backup_id"],
        filename=row["filename"],
        size=len(data),
        sha256=row["sha256"],
        encoding="gzip",
        written_by=catalog.writers.of(row["backup_id"]),
    )
    try:
        receipt = store.put_manifest(data, description)
    except StoreError as error:
        log.warning("The manifest %s, which is lost, could not be written again: %s", row["filename"], error)
        return False
    log.info("The manifest %s, which was lost, is written again.", row["filename"])
    return catalog.reconciliation.back(row["id"], key=receipt.location.key)


_TOLD_OF_BACKUP = (
    "id",
    "application",
    "dag_id",
    "dag_run_id",
    "opened_at",
    "snapshot_at",
    "scanned_at",
    "server_version",
    "client_version",
    "dump_format",
    "files_count",
    "files_bytes",
    "new_files_count",
    "new_files_bytes",
    "vanished_count",
    "returned_count",
    "report",
)
_TOLD_OF_ARCHIVE = (
    "id",
    "filename",
    "original_size",
    "stored_size",
    "sha256",
    "checksum",
    "encoding",
    "store_uri",
    "key",
    "archived_at",
)
