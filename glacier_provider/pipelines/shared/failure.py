"""What became of a run that failed, in the catalog."""

from __future__ import annotations

from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog


def note_failure(run: Run, reason: str, *, step: str | None, catalog: Catalog) -> bool:
    """Note that the backup or the restore that a run opened failed, and why; return whether it had opened one.

    `step` is where it failed, as `step_of` tells it: other steps of the run do not undo that.
    """
    backup_id = catalog.backups.of_run(run)
    if backup_id is not None:
        catalog.backups.fail(backup_id, reason, step=step)
    restore_id = catalog.restores.of_run(run)
    if restore_id is not None:
        catalog.restores.fail(restore_id, reason, step=step)
    return backup_id is not None or restore_id is not None


def note_end(run: Run, state: str, *, catalog: Catalog) -> list[str]:
    """Note that a run is over, as Airflow says, whose backup or restore is not: it failed, and its lease is free.

    Return what it was, as in "backup 3".
    """
    return catalog.backups.run_is_over(run, state)
