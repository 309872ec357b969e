"""`open_backup`: the run's backup, opened or continued, before anything is spent."""

from __future__ import annotations

import logging

from glacier_provider.applications import Application
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.files import Root
from glacier_provider.pipelines.shared.staging import staging_directories
from glacier_provider.staging import prepare_staging, remove_tree
from glacier_provider.stores.contract import ArchiveStore

log = logging.getLogger(__name__)


def open_backup(application: Application, run: Run, *, catalog: Catalog, store: ArchiveStore) -> int:
    """Return the id of this run's backup, opened or continued, with the application's lease in its hands.

    Everything that can be known to go wrong is looked at here, before anything is spent: the catalog (migrated
    if need be), the store, the directories.
    """
    catalog.migrate()
    with Root(application.files_directory):
        pass
    prepare_staging(application.staging_directory)
    store.check()
    backup_id = catalog.backups.open(run)
    _remove_dead_staging(application, catalog)
    log.info("Backup %d of %s is open.", backup_id, application.name)
    return backup_id


def _remove_dead_staging(application: Application, catalog: Catalog) -> None:
    """Remove the dumps of backups that ended without tidying up: of dead runs, after which nobody else would."""
    staged = staging_directories(application, "backup")
    for ended in catalog.backups.ended(list(staged)):
        remove_tree(staged[ended], below=application.staging_directory)
        catalog.archives.drop_unsent_dump(ended, "Its run ended before it was archived.")
