"""`scan_files`: what came to the directory and what went, noted in the catalog."""

from __future__ import annotations

import logging

from glacier_provider.applications import Application
from glacier_provider.backup.references import referenced_names
from glacier_provider.backup.working import working
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.scans import NAMED, Scan
from glacier_provider.core.plan import megabytes
from glacier_provider.files import walk

log = logging.getLogger(__name__)

#: A mapped task is worth its start from this many files on.
SMALLEST_SHARE = 500


def scan_files(application: Application, backup_id: int, *, catalog: Catalog) -> list[dict[str, int]]:
    """Walk the directory, note in the catalog what came and went, and return the ranges of archives to upload.

    At most `application.parallelism` ranges, each a dict of `first`, `last` (archive ids), `archives` and `bytes`.
    """
    with working(catalog, backup_id, "the scan"):
        skipped: list[str] = []
        found = walk(
            application.files_directory,
            on_skip=lambda name, reason: skipped.append(f"{name}: {reason}"),
            exclude=application.exclude,
            leave_out=(application.orphan_directory, application.staging_directory),
        )
        scan = catalog.scans.record(backup_id, ((file.name, file.size) for file in found), store_uri=application.store)
        unarchived = _check_references(application, backup_id, catalog)
        _report_scan(catalog, backup_id, scan, skipped, unarchived)
        ranges = catalog.archives.unfinished_ranges(shares=application.parallelism, smallest=SMALLEST_SHARE)
        return [share.as_dict() for share in ranges]


def _check_references(application: Application, backup_id: int, catalog: Catalog) -> list[str] | None:
    if not application.references_query:
        return None
    return catalog.scans.unarchived_references(backup_id, referenced_names(application, backup_id))


def _report_scan(
    catalog: Catalog, backup_id: int, scan: Scan, skipped: list[str], unarchived: list[str] | None
) -> None:
    log.info(
        "%d files (%s): %d new (%s), %d came back, %d vanished.",
        scan.files,
        megabytes(scan.bytes),
        scan.new_files,
        megabytes(scan.new_bytes),
        scan.returned,
        scan.vanished,
    )
    for row in scan.changed:
        log.warning(
            "%s was archived with %d bytes and now has %d; attached files must not change. The archive stays as it is.",
            row["name"],
            row["archived_size"],
            row["size"],
        )
    for line in skipped[:NAMED]:
        log.warning("Not archived, since only regular files are: %s", line)
    for name in (unarchived or [])[:NAMED]:
        log.warning("The database names the file %s, which is not in the directory.", name)
    catalog.backups.add_to_report(
        backup_id,
        changed_count=scan.changed_count,
        changed=scan.changed,
        skipped_count=len(skipped),
        skipped=skipped[:NAMED],
        unarchived_references_count=None if unarchived is None else len(unarchived),
        unarchived_references=(unarchived or [])[:NAMED],
    )
