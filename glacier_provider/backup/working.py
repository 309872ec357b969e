"""What every step of a backup shares: its lease, and where its dump is staged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from glacier_provider.applications import Application
from glacier_provider.catalog.backups import lease_holder
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.lease import kept_alive


@contextmanager
def working(catalog: Catalog, backup_id: int, step: str) -> Iterator[Callable[[], None]]:
    """Hold the lease for a step; yields a function that prolongs it, at most every half minute.

    Raise LeaseHeld when another run has the lease, or when another process of this run is at the same step: a worker
    that was given up may still be alive. Raise IllegalMove when the backup is complete or a later one began.
    """
    holder = lease_holder("backup", backup_id)
    catalog.backups.go_on(backup_id)
    with catalog.alone(f"{step} of {holder}"):
        yield kept_alive(lambda: catalog.backups.take_lease(holder))


def staging_of(application: Application, backup_id: int) -> Path:
    # Applications may share a staging directory, and backup ids count within one catalog only.
    return Path(application.staging_directory) / f"{application.name}-backup-{backup_id}"


def dump_name(application: Application, backup_id: int) -> str:
    return f"{application.name}-{backup_id}.dump"
