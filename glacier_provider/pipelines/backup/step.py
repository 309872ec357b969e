"""A step of a backup: under the lease, alone, and known by its name when it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from glacier_provider.catalog.backups import lease_holder
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.pipelines.shared.lease import kept_lease
from glacier_provider.pipelines.shared.step import named_step

log = logging.getLogger(__name__)

#: The step that ends a backup.
LAST = "the end"


def is_complete(backup_id: int, *, catalog: Catalog) -> bool:
    """Whether a backup is complete: a task of it that is cleared then has nothing to do, and says so."""
    if catalog.backups.get(backup_id)["state"] != "complete":
        return False
    log.info("Backup %d is complete: nothing is left to do here.", backup_id)
    return True


@contextmanager
def backup_step(
    catalog: Catalog, backup_id: int, step: str, *, task: str | None = None
) -> Iterator[Callable[[], None]]:
    """Hold the lease for a step, behind its fence; yields a function that raises LeaseLost once another run has it.

    A backup that failed in another step stays so, and without the lease after this one: the two may be branches of one
    run that go on beside each other. The `LAST` step has it running in any case: Airflow begins that when all else went
    well.

    Raise LeaseHeld when another run has the lease, or when another process of this run is at the same step: a worker
    that was given up may still be alive. Raise IllegalMove when the backup is complete or a later one began.

    How long it took is added to that of its `task` in the backup's report: several may do a share each.
    """
    holder = lease_holder("backup", backup_id)
    runs = catalog.backups.go_on(backup_id, None if step == LAST else step)
    with (
        kept_lease(catalog, holder) as heartbeat,
        catalog.alone(f"{step} of {holder}"),
        named_step(step),
    ):
        begun = time.monotonic()
        yield heartbeat
        if task is not None:
            catalog.backups.add_seconds(backup_id, task, time.monotonic() - begun)
    if not runs:
        catalog.backups.free_lease(holder)
