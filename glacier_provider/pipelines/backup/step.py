"""A step of a backup: under the lease, alone, and known by its name when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from glacier_provider.catalog.backups import lease_holder
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.pipelines.shared.lease import lease_heartbeat
from glacier_provider.pipelines.shared.step import named_step

#: The step that ends a backup.
LAST = "the end"


@contextmanager
def backup_step(catalog: Catalog, backup_id: int, step: str) -> Iterator[Callable[[], None]]:
    """Hold the lease for a step; yields a function that prolongs it, at most every half minute.

    A backup that failed in another step stays so, and without the lease after this one: the two may be branches of one
    run that go on beside each other. The `LAST` step has it running in any case: Airflow begins that when all else went
    well.

    Raise LeaseHeld when another run has the lease, or when another process of this run is at the same step: a worker
    that was given up may still be alive. Raise IllegalMove when the backup is complete or a later one began.
    """
    holder = lease_holder("backup", backup_id)
    runs = catalog.backups.go_on(backup_id, None if step == LAST else step)
    with catalog.alone(f"{step} of {holder}"), named_step(step):
        yield lease_heartbeat(lambda: catalog.backups.take_lease(holder))
    if not runs:
        catalog.backups.free_lease(holder)
