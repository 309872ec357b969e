"""`close_backup`: the manifest, promise 1, and what is tidied up."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Mapping
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import PlannedArchive, Upload
from glacier_provider.catalog.backups import lease_holder
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.archive import ArchiveKind, Location
from glacier_provider.core.parts import MIB
from glacier_provider.core.text import counted, readable_size
from glacier_provider.errors import IllegalMove
from glacier_provider.pipelines.backup.check import look_back
from glacier_provider.pipelines.backup.manifest import manifest_of
from glacier_provider.pipelines.backup.references import referenced_names
from glacier_provider.pipelines.backup.step import LAST, backup_step
from glacier_provider.pipelines.backup.unreadable import leave_out_unreadable
from glacier_provider.pipelines.shared.listing import is_same_place
from glacier_provider.pipelines.shared.staging import remove_old_safety_dumps, staging_directory_of
from glacier_provider.staging import remove_tree
from glacier_provider.stores.contract import ArchiveStore

log = logging.getLogger(__name__)


def close_backup(application: Application, backup_id: int, *, catalog: Catalog, store: ArchiveStore) -> dict[str, Any]:
    """Write the manifest, complete the backup if promise 1 holds, free the lease and staging; return its figures.

    A backup that an earlier try completed is tidied up after.
    """
    if catalog.backups.get(backup_id)["state"] != "complete":
        with backup_step(catalog, backup_id, LAST):
            _require_parts(catalog, backup_id)
            _abandon_uploads(application, catalog=catalog, store=store)
            leave_out_unreadable(application, backup_id, catalog=catalog)
            versions, named = catalog.scans.new_versions(backup_id)
            catalog.backups.add_to_report(backup_id, new_versions_count=versions, new_versions=named)
            _compare_references(application, backup_id, catalog=catalog)
            look_back(backup_id, catalog=catalog, store=store)
            parts, in_parts = catalog.backups.uploaded_parts(backup_id, part_size=application.part_size_mib * MIB)
            catalog.backups.add_to_report(backup_id, upload_parts=parts, uploads_in_parts=in_parts)
            catalog.backups.require_archived(backup_id)  # a manifest names only what is in the store
            previous = _previous_of_manifest(application, backup_id, catalog=catalog)
            manifest_id = _archive_manifest(application, backup_id, previous, catalog=catalog, store=store)
            catalog.backups.complete(backup_id, manifest_archive_id=manifest_id, previous_backup_id=previous or None)
            if healed := catalog.lost.heal():
                log.info(
                    "What was lost is archived anew: %s in earlier backups filled again.", counted(healed, "place")
                )
    catalog.backups.free_lease(lease_holder("backup", backup_id))
    remove_tree(staging_directory_of(application, "backup", backup_id), below=application.staging_directory)
    remove_old_safety_dumps(application)
    figures = _figures(catalog, backup_id)
    log.info(
        "Backup %d is complete: database %s, %s (%s), of them %s new; %s uploaded.",
        backup_id,
        readable_size(figures["database_bytes"]),
        counted(figures["files_count"], "file"),
        readable_size(figures["files_bytes"]),
        f"{figures['new_files_count']:,}",
        readable_size(figures["uploaded_bytes"]),
    )
    return figures


def _require_parts(catalog: Catalog, backup_id: int) -> None:
    """Raise IllegalMove when a task that makes a part of the backup was marked or skipped by hand."""
    backup = catalog.backups.get(backup_id)
    for part, task in (("database_archive_id", "dump_database"), ("scanned_at", "scan_files")):
        if backup[part] is None:
            raise _not_run(backup_id, task)
    if catalog.archives.get(backup["database_archive_id"])["state"] in ("planned", "uploading"):
        raise _not_run(backup_id, "upload_database")


def _not_run(backup_id: int, task: str) -> IllegalMove:
    return IllegalMove(
        f"Backup {backup_id} is not complete: {task} did not run.",
        hint=f"Clear the task {task} with those that follow it.",
    )


def _abandon_uploads(application: Application, *, catalog: Catalog, store: ArchiveStore) -> None:
    """Abort what was half sent of archives that were given up: a store charges for such parts and hides them."""
    for archive, kind in catalog.archives.abandoned_uploads(application.store):
        store.abandon(archive.description(application.name, kind))
        catalog.archives.journal(archive.id).forget()


def _compare_references(application: Application, backup_id: int, *, catalog: Catalog) -> None:
    """Compare what is archived with what the database expects, where `references_query` tells that."""
    if not application.references_query:
        return
    try:
        compared, unknown, others, named = catalog.scans.other_references(
            backup_id, referenced_names(application, backup_id)
        )
    except FileNotFoundError:  # an earlier try of this step tidied up
        return
    for row in named:
        log.warning("%s: the database expects %s, its archive is another.", row["name"], row["expected"])
    if compared or unknown:
        catalog.backups.add_to_report(
            backup_id,
            references_compared=compared,
            references_not_compared=unknown,
            other_references_count=others,
            other_references=named,
        )


def _previous_of_manifest(application: Application, backup_id: int, *, catalog: Catalog) -> int:
    """Return the backup whose manifest this one continues, or 0 for a manifest that lists every file.

    A manifest holds changes only, so that its size follows the change and not the number of files (promise 12). Once
    the changes since the last full one outweigh the files, a full one costs no more than they did.
    """
    previous = catalog.backups.newest_complete(before=backup_id)
    changes = catalog.archives.changes_since_full_manifest(backup_id)
    if previous is None or changes is None or previous < catalog.lost.manifests_from():
        return 0
    before = catalog.archives.of_backup(previous, ArchiveKind.MANIFEST)
    if before is None or not is_same_place(before["store_uri"], application.store):
        return 0  # a store has all that brings its backups back
    return previous if changes <= max(catalog.backups.get(backup_id)["files_count"], 100) else 0


def _archive_manifest(
    application: Application, backup_id: int, previous: int, *, catalog: Catalog, store: ArchiveStore
) -> int:
    before = catalog.archives.of_backup(previous, ArchiveKind.MANIFEST) if previous else None
    data = manifest_of(backup_id, previous, before["sha256"] if before is not None else None, catalog=catalog)
    filename, sha256 = f"{backup_id:012d}.json.gz", hashlib.sha256(data).hexdigest()
    planned = catalog.archives.plan_manifest(
        backup_id, filename=filename, size=len(data), sha256=sha256, store_uri=application.store
    )
    if planned["state"] != "archived":
        archive = PlannedArchive(
            planned["id"], filename, len(data), backup_id, application.store, catalog.writers.of(backup_id)
        )
        _withdraw_manifests(application, archive, planned["earlier_sha256s"], store=store)
        description = archive.description(application.name, ArchiveKind.MANIFEST, sha256=sha256, encoding="gzip")
        catalog.archives.begin_upload(archive.id)
        catalog.archives.record_uploads([Upload(archive.id, store.put_manifest(data, description), sha256)])
    return int(planned["id"])


def _withdraw_manifests(
    application: Application, archive: PlannedArchive, earlier: Collection[str], *, store: ArchiveStore
) -> None:
    """Delete manifests that earlier tries of this backup may have left, and that the backup has outgrown.

    Only what says by archive id, SHA-256 and signature that it is one that the catalog meant to send. A vault has room
    for both: reconciliation deletes the earlier one there, and until then a rebuild takes the later.
    """
    if not earlier or not store.features.chooses_keys:
        return
    for found in store.archives(application.name, kind=ArchiveKind.MANIFEST):
        told = found.description
        if told is None or (told.archive_id, told.written_by) != (archive.id, archive.written_by):
            continue
        if told.sha256 in earlier:
            log.info("A manifest that an earlier try wrote is replaced: %s.", found.key)
            store.delete(Location(store.uri, found.key))


def _restorable(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the rehearsal found of each place: yes, losses, no or unknown."""
    rehearsal = report.get("rehearsal") or {}
    return {place: rehearsal[place]["verdict"] for place in ("in_place", "new_server") if place in rehearsal}


def _figures(catalog: Catalog, backup_id: int) -> dict[str, Any]:
    backup = catalog.backups.get(backup_id)
    uploaded = catalog.backups.uploaded_figures(backup_id)
    names = (
        "application",
        "state",
        "database_bytes",
        "files_count",
        "files_bytes",
        "new_files_count",
        "new_files_bytes",
    )
    return {
        "backup_id": backup_id,
        **{name: backup[name] for name in names},
        "vanished_count": backup["vanished_count"],
        "uploaded_files": uploaded["files"],
        "uploaded_bytes": uploaded["bytes"],
        "unarchived_references": backup["report"].get("unarchived_references_count"),
        "unreadable_files": backup["report"].get("unreadable_count", 0),
        "restorable": _restorable(backup["report"]),
        "seconds": round((backup["closed_at"] - backup["opened_at"]).total_seconds(), 1),
    }
