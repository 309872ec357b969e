"""`check_files`: each file of a drill's sample is there, and is what was archived."""

from __future__ import annotations

import logging
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.checks import CheckResult
from glacier_provider.core.drill import FILES, findings_of_checks
from glacier_provider.core.elsewhere import RestoreTarget
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.text import NAMED
from glacier_provider.errors import FileError
from glacier_provider.pipelines.drill.step import drill_step
from glacier_provider.pipelines.restore.step import is_intact
from glacier_provider.pipelines.shared.parallel import in_parallel
from glacier_provider.pipelines.shared.progress import Progress

log = logging.getLogger(__name__)


def check_files(application: Application, proof_id: int, restore_id: int, *, catalog: Catalog) -> dict[str, Any]:
    """Read each file that the drill brought and compare it with its archive's SHA-256; note and return figures.

    What was not brought, or is in no store any more, is named as well.
    """
    restore = catalog.restores.get(restore_id)
    request = RestoreRequest.from_params(restore["request"])
    if not request.files:
        return {"skipped": True}
    assert isinstance(request.into, RestoreTarget)
    directory = str(request.into.files_directory)
    checked = size = missing = 0
    wrong: list[str] = []
    progress = Progress(log, "Read")
    with drill_step(catalog, proof_id, "files"):
        for page in catalog.drills.files(restore_id):
            for row, fault in in_parallel(lambda one: _fault(directory, one), page, workers=application.connections):
                if isinstance(fault, Exception):
                    raise fault
                checked, size = checked + 1, size + row["stored_size"]
                missing += not row["placed"]
                progress.add(1, row["stored_size"])
                if fault:
                    wrong.append(f"{row['filename']} {fault}")
                    log.error("%s %s.", row["filename"], fault)
        outcome = restore["outcome"]
        result = CheckResult(FILES, checked, len(wrong), tuple(sorted(wrong)[:NAMED]))
        findings = findings_of_checks([result] if FILES in application.drill.checks else ())
        figures = {
            "checked": checked,
            "bytes": size,
            "differing": len(wrong) - missing,
            "missing": missing,
            "lost": outcome.get("lost_count", 0),
        }
        catalog.proofs.note(proof_id, "files", figures=figures, findings=findings)
    return figures


def _fault(directory: str, row: Row) -> str | None:
    """Return what is wrong with a file, None for nothing."""
    if not row["placed"]:
        return "could not be brought: what the store has is not what was archived"
    try:
        intact = is_intact(directory, row["filename"], size=row["stored_size"], checksum=row["checksum"])
    except FileError as error:
        return f"is not what was archived: {error.message.rstrip('.')}"
    return None if intact else "is not what was archived: its SHA-256 is another"
