"""`open_backup`: the run's backup, opened or continued, before anything is spent."""

from __future__ import annotations

import logging

from glacier_provider.applications import Application
from glacier_provider.catalog.backups import Run, lease_holder
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.files import Root
from glacier_provider.pipelines.backup.check import check_store
from glacier_provider.pipelines.backup.step import is_complete
from glacier_provider.pipelines.shared.lease import kept_lease
from glacier_provider.pipelines.shared.staging import staging_directories
from glacier_provider.staging import prepare_staging, remove_tree
from glacier_provider.stores.contract import ArchiveStore, Stores

log = logging.getLogger(__name__)


def open_backup(
    application: Application, run: Run, *, catalog: Catalog, store: ArchiveStore, stores: Stores | None = None
) -> int:
    """Return the id of this run's backup, opened or continued, with the application's lease in its hands.

    Everything that can be known to go wrong is looked at here, before anything is spent: the catalog (migrated
    if need be), the store, the directories; with `stores`, the places where archives went before as well.
    """
    catalog.migrate()
    with Root(application.files_directory):
        pass
    prepare_staging(application.staging_directory)
    store.check()
    skip_ids_in_use(application, catalog=catalog, store=store)
    earlier = catalog.backups.of_run(run)
    if earlier is not None and is_complete(earlier, catalog=catalog):
        return earlier
    backup_id = catalog.backups.open(run)
    with kept_lease(catalog, lease_holder("backup", backup_id)):
        _remove_dead_staging(application, catalog)
        check_store(application, backup_id, catalog=catalog, store=store, stores=stores)
    log.info("Backup %d of %s is open.", backup_id, application.name)
    return backup_id


def skip_ids_in_use(application: Application, *, catalog: Catalog, store: ArchiveStore) -> None:
    """Give no id that the store has already: after a failover that lost transactions, or from an older dump of it, the
    catalog has gone back in time, and would give ids that mean something else in the store.
    """
    archive_id, backup_id = catalog.writers.last_ids()
    used = store.ids_in_use(application.name, archive_id=archive_id, backup_id=backup_id)
    if used == (archive_id, backup_id):
        return
    log.warning(
        "The store knows backups up to %d and archives up to %d, this catalog gave ids up to %d and %d: it "
        "went back in time, or was begun anew. New ids begin after those of the store. What it holds and this catalog "
        "does not know comes back by glacier-backup rebuild-catalog, into a new schema.",
        used[1],
        used[0],
        backup_id,
        archive_id,
    )
    catalog.writers.skip_ids(archive_id=used[0], backup_id=used[1])


def _remove_dead_staging(application: Application, catalog: Catalog) -> None:
    """Remove the dumps of backups that ended without tidying up: of dead runs, after which nobody else would."""
    staged = staging_directories(application, "backup")
    for ended in catalog.backups.ended(list(staged)):
        remove_tree(staged[ended], below=application.staging_directory)
        catalog.archives.drop_unsent_dump(ended, "Its run ended before it was archived.")
