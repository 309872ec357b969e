"""`close_restore`: the outcome, and what is tidied up."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.errors import IllegalMove
from glacier_provider.pipelines.restore.present import require_still_there
from glacier_provider.pipelines.restore.step import restore_step
from glacier_provider.pipelines.shared.staging import remove_old_safety_dumps, staging_directories
from glacier_provider.staging import remove_tree


def close_restore(application: Application, restore_id: int, *, catalog: Catalog) -> dict[str, Any]:
    """Complete the restore, free its lease and staging; return its figures.

    A restore that an earlier try completed is tidied up after. Raise IllegalMove when something is not in place.
    """
    if catalog.restores.get(restore_id)["state"] != "complete":
        # Files alone are added beside whatever else goes on, without the lease.
        changed = catalog.restores.has_changed(restore_id) or catalog.restores.goes_elsewhere(restore_id)
        with restore_step(catalog, restore_id, "the end") if changed else nullcontext():
            if not changed:
                require_still_there(application, restore_id, catalog=catalog)
            _complete(restore_id, catalog=catalog)
    _remove_ended_staging(application, catalog)
    remove_old_safety_dumps(application)
    restore = catalog.restores.get(restore_id)
    request = RestoreRequest.from_params(restore["request"])
    seconds = (datetime.now(UTC) - restore["opened_at"]).total_seconds()
    return {
        "restore_id": restore_id,
        "backup_id": restore["backup_id"],
        "application": application.name,
        "seconds": round(seconds, 1),
        "part": request.part.value,
        "into": request.into.as_dict() if request.into else None,
        "plan": restore["plan"],
        "outcome": restore["outcome"],
    }


def _complete(restore_id: int, *, catalog: Catalog) -> None:
    catalog.restores.start(restore_id)
    restore = catalog.restores.get(restore_id)
    request = RestoreRequest.from_params(restore["request"])
    for wanted, part, task in (
        (request.database, "database", "restore_database"),
        (request.orphans, "orphans", "move_orphans"),
    ):
        if wanted and part not in restore["outcome"]:
            raise IllegalMove(
                f"Restore {restore_id} is not complete: {task} did not run.", hint=f"Clear the task {task}."
            )
    unplaced = catalog.restores.unplaced(restore_id)
    if unplaced:
        names = ", ".join(f"{row['filename']} ({row['status']})" for row in unplaced[:5])
        raise IllegalMove(f"Restore {restore_id} is not complete: {names}.", hint="Clear the task download.")
    with catalog.transaction():  # a dump released without that would be missed by the next try
        catalog.restores.release_database(restore_id)
        catalog.restores.fail_overtaken(restore_id)
        catalog.restores.complete(restore_id, {})


def _remove_ended_staging(application: Application, catalog: Catalog) -> None:
    """Remove the dump that was restored, and those of failed restores, which this one has made pointless."""
    staged = staging_directories(application, "restore")
    for ended in catalog.restores.ended(list(staged)):
        remove_tree(staged[ended], below=application.staging_directory)
