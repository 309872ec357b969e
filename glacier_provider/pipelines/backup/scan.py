"""`scan_files`: what came to the directory and what went, noted in the catalog."""

from __future__ import annotations

import logging
import time

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.scans import Scan
from glacier_provider.core.findings import EXCLUDED_FILES
from glacier_provider.core.text import NAMED, counted, readable_size
from glacier_provider.files import DirectoryWalk, Look
from glacier_provider.pipelines.backup.references import referenced_names
from glacier_provider.pipelines.backup.step import backup_step, is_complete
from glacier_provider.pipelines.shared.parallel import SMALLEST_SHARE

log = logging.getLogger(__name__)

DAY = 86400


def scan_files(application: Application, backup_id: int, *, catalog: Catalog) -> list[dict[str, int]]:
    """Walk the directory, note in the catalog what came and went, and return the ranges of archives to upload.

    At most `application.parallelism` ranges, each a dict of `first`, `last` (archive ids), `archives` and `bytes`.
    """
    if is_complete(backup_id, catalog=catalog):
        return []
    with backup_step(catalog, backup_id, "the scan", task="scan_files"):
        skipped = _Skipped()
        walk = _walk(application, skipped)
        full = _is_full_walk_due(application, catalog.scans.since_full_walk(walk.rules))
        archive_changed = application.changed_files == "archive"
        scan = catalog.scans.record_walk(
            backup_id, walk, store_uri=application.store, full=full, archive_changed=archive_changed
        )
        unarchived = _check_references(application, backup_id, catalog)
        _report_scan(catalog, backup_id, scan, skipped, unarchived)
        # A restore leaves it where it is, also when the configuration has changed by then.
        catalog.backups.add_to_report(backup_id, **{EXCLUDED_FILES: list(application.exclude) or None})
        ranges = catalog.archives.unfinished_ranges(shares=application.parallelism, smallest=SMALLEST_SHARE)
        return [share.as_dict() for share in ranges]


class _Skipped:
    """What is not archived because it is no file: counted, and the first of them by name."""

    def __init__(self) -> None:
        self.count = 0
        self.named: list[str] = []

    def __call__(self, name: str, reason: str) -> None:
        self.count += 1
        if len(self.named) < NAMED:
            self.named.append(f"{name}: {reason}")


def _walk(application: Application, skipped: _Skipped) -> DirectoryWalk:
    options = application.scan
    return DirectoryWalk(
        application.files_directory,
        on_skip=skipped,
        exclude=application.exclude,
        leave_out=(application.orphan_directory, application.staging_directory),
        look=Look(
            size_check=options.size_check,
            trust=options.trust_directory_times == "auto",
            day=int(time.time() // DAY),
            days=options.full_walk_days,
        ),
    )


def _is_full_walk_due(application: Application, age: float | None) -> bool:
    """Whether nothing is to be believed of what was seen before. Half a day early: no run starts on the second."""
    return age is None or age > (application.scan.full_walk_days - 0.5) * DAY


def _check_references(application: Application, backup_id: int, catalog: Catalog) -> list[str] | None:
    if not application.references_query:
        return None
    return catalog.scans.unarchived_references(
        backup_id, (name for name, _ in referenced_names(application, backup_id))
    )


def _report_scan(catalog: Catalog, backup_id: int, scan: Scan, skipped: _Skipped, unarchived: list[str] | None) -> None:
    log.info(
        "%s (%s): %s new (%s), %s came back, %s vanished.",
        counted(scan.files, "file"),
        readable_size(scan.bytes),
        f"{scan.new_files:,}",
        readable_size(scan.new_bytes),
        f"{scan.returned:,}",
        f"{scan.vanished:,}",
    )
    for row in scan.changed:
        log.warning(
            "%s was archived with %s and now has %s; attached files must not change. The archive stays as it is.",
            row["name"],
            counted(row["archived_size"], "byte"),
            f"{row['size']:,}",
        )
    for line in skipped.named:
        log.warning("Not archived, since only regular files are: %s", line)
    for name in (unarchived or [])[:NAMED]:
        log.warning("The database names the file %s, which is not in the directory.", name)
    catalog.backups.add_to_report(
        backup_id,
        changed_count=scan.changed_count,
        changed=scan.changed,
        skipped_count=skipped.count,
        skipped=skipped.named,
        unarchived_references_count=None if unarchived is None else len(unarchived),
        unarchived_references=(unarchived or [])[:NAMED],
    )
