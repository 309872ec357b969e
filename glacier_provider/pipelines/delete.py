"""The deletion of a backup, top to bottom: `plan_deletion` → `delete_backup`.

The catalog takes the backup out of use and marks what goes with it, in one transaction; only then the stores delete.
Killed at any instant it goes on when it is called again: what is marked is never used by a later backup, which archives
a file that comes back anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.backups import Run, lease_holder
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.deletions import Doomed
from glacier_provider.core.archive import EMPTY_KEY, Amount
from glacier_provider.core.deletion import DeletionPlan, DeletionRequest, with_fee
from glacier_provider.core.prices import Prices
from glacier_provider.core.retention import Judged, apply_rule
from glacier_provider.core.status import BackupState
from glacier_provider.core.text import readable_amount
from glacier_provider.errors import BackupNotDeletable, CatalogError, FileError, StoreDenied, StoreError, StoreMissing
from glacier_provider.pipelines.shared.errors import raise_gravest
from glacier_provider.pipelines.shared.lease import kept_lease
from glacier_provider.pipelines.shared.listing import is_same_place
from glacier_provider.pipelines.shared.progress import Progress
from glacier_provider.pipelines.shared.staging import staging_directories
from glacier_provider.staging import remove_tree
from glacier_provider.stores.contract import Stores

log = logging.getLogger(__name__)


#: So long after a large share of all files was rewritten, retention asks first.
REWRITE_DAYS = timedelta(days=90)


def plan_deletion(backup_id: int, *, catalog: Catalog, prices: Prices | None = None) -> DeletionPlan:
    """Find out what deleting a backup takes away, what stays and why; changes nothing.

    With `prices` the plan tells the early-deletion fee. A backup that cannot be deleted gives a plan that says why
    (`refused`). Raise UnknownBackup naming the nearest valid ids, or BackupNotDeletable for one of another application.
    """
    plan = catalog.deletions.plan(backup_id)
    return with_fee(plan, prices, now=datetime.now(UTC)) if prices else plan


def plan_confirmed_deletion(application: Application, request: DeletionRequest, *, catalog: Catalog) -> DeletionPlan:
    """Plan a deletion, with its fee, and log it; raise when it is not confirmed or the backup cannot be deleted."""
    plan = plan_deletion(request.backup_id, catalog=catalog, prices=application.price_table)
    for line in plan.lines():
        log.info("%s", line)
    request.check(application.name)
    raise_refused(plan, force=request.force)
    return plan


def judge_backups(application: Application, *, catalog: Catalog) -> list[Judged]:
    """Return what the application's retention rule says of each complete or failed backup; changes nothing."""
    zone = application.first_day.tzinfo
    rows = catalog.deletions.to_judge()
    backups = [(row["id"], BackupState(row["state"]), row["taken_at"].astimezone(zone)) for row in rows]
    return apply_rule(backups, application.retention, now=datetime.now(UTC))


def refuse_after_rewrite(application: Application, *, catalog: Catalog, despite: int | None = None) -> None:
    """Raise BackupNotDeletable when a large share of all files was lately rewritten, or vanished, at once: what the
    rule lets go may be the last that holds them. `despite` names the backup in which a person has seen that.
    """
    since, limits = datetime.now(UTC) - REWRITE_DAYS, application.anomalies
    found = catalog.conditions.rewritten(
        application.name, since=since, share=limits.changed_share, least=limits.changed_files
    )
    if found is None or found["id"] == despite:
        return
    count, what = max((found["rewritten"], "have another content"), (found["vanished"], "vanished"))
    raise BackupNotDeletable(
        f"{count:,} files of {application.name} {what} in backup {found['id']}: earlier backups may be all that is "
        "left.",
        hint=f"Nothing was changed. If that is right as it is, add: --despite-rewrite {found['id']}",
    )


def raise_refused(plan: DeletionPlan, *, force: bool) -> None:
    """Raise BackupNotDeletable when the plan says that the backup cannot be deleted; `force` lifts what it can."""
    if plan.refused and not (force and plan.forcible):
        hint = (
            "Nothing was changed. To delete it all the same, give force (on the command line: --force)."
            if plan.forcible
            else "Nothing was changed."
        )
        raise BackupNotDeletable(plan.refused, hint=hint)


def delete_backup(
    application: Application,
    backup_id: int,
    run: Run,
    *,
    catalog: Catalog,
    stores: Stores,
    force: bool = False,
) -> dict[str, Any]:
    """Delete a backup with what it alone needs; return `backup_id`, `archives` and `bytes` deleted by this call.

    Raise LeaseHeld while another run works on the application, UnknownBackup, BackupNotDeletable, or what a store said
    when it did not delete something; then everything else is deleted, and the next call goes on.
    """
    catalog.migrate()
    holder = lease_holder("deletion", backup_id)
    with catalog.alone(f"the {holder}"):
        catalog.deletions.begin(backup_id, run, force=force, first=lambda doomed: _delete_first(doomed, stores))
        try:
            with kept_lease(catalog, holder) as heartbeat:
                _remove_staged(application, backup_id, catalog=catalog)
                _note_in_stores(application, catalog=catalog, stores=stores)
                progress = _delete_marked(application, catalog=catalog, stores=stores, heartbeat=heartbeat)
        finally:
            with suppress(CatalogError):  # it ends by itself
                catalog.backups.free_lease(holder)
    log.info("Backup %d is deleted: %s.", backup_id, readable_amount(Amount(progress.archives, progress.bytes)))
    return {
        "application": application.name,
        "backup_id": backup_id,
        "archives": progress.archives,
        "bytes": progress.bytes,
    }


def _delete_first(doomed: Doomed, stores: Stores) -> None:
    """Delete one archive while the backup can still stay as it is; raise StoreDenied when the store refuses."""
    if stores(doomed.location.store_uri).features.chooses_keys:
        return  # a bucket's refusal is not for good: nothing locks its archives by their age
    error = _delete_page([doomed], stores).get(doomed.id)
    if isinstance(error, StoreDenied):
        raise StoreDenied(
            f"The store does not delete: {error.message}",
            hint="Nothing was changed, and the backup can be restored as before. A vault lock or an object lock keeps "
            "archives for its time; else the credentials need the permission to delete (see the operations guide).",
        ) from error


def _remove_staged(application: Application, backup_id: int, *, catalog: Catalog) -> None:
    """Remove what restores of the backup have staged, where this worker has it: nobody goes on with them."""
    try:
        staged = staging_directories(application, "restore")
        for ended in catalog.restores.ended(list(staged), of=backup_id):
            remove_tree(staged[ended], below=application.staging_directory)
    except FileError as error:
        log.warning("What restores of backup %d have staged could not be removed: %s", backup_id, error)


def _note_in_stores(application: Application, *, catalog: Catalog, stores: Stores) -> None:
    """Have the stores tell which backups were deleted whose manifests stay: else these look as if they were lost."""
    for told_id, sha256, uri in catalog.deletions.staying_manifests():
        try:
            stores(uri).note_deletion(application.name, told_id, sha256)
        except StoreError as error:
            log.warning("A rebuilt catalog will take the deleted backup %d for a lost one. %s", told_id, error)


def _delete_marked(
    application: Application, *, catalog: Catalog, stores: Stores, heartbeat: Callable[[], None]
) -> Progress:
    """Delete from the stores whatever the catalog has marked, page by page, and note each page."""
    archives, size = catalog.deletions.left()
    progress = Progress(log, "Deleted", archives=archives, size=size, on_heartbeat=heartbeat)
    failed: list[StoreError] = []
    for page in catalog.deletions.to_delete():
        heartbeat()
        errors = _still_there(application, page, _delete_page(page, stores))
        gone = [doomed for doomed in page if doomed.id not in errors]
        with catalog.transaction():
            catalog.deletions.deleted([doomed.id for doomed in gone])
            catalog.deletions.note_errors([(number, str(error)) for number, error in errors.items()])
        progress.add(len(gone), sum(doomed.size for doomed in gone))
        failed += errors.values()
    raise_gravest(failed, "archive", f"of {application.name} could not be deleted")
    catalog.deletions.finish()
    return progress


def _still_there(
    application: Application, page: Iterable[Doomed], errors: Mapping[int, StoreError]
) -> dict[int, StoreError]:
    """Return the errors without those of archives that went with a whole store, of those before the application's."""
    uris = {doomed.id: doomed.location.store_uri for doomed in page}
    with_store = {
        number
        for number, error in errors.items()
        if isinstance(error, StoreMissing) and not is_same_place(uris[number], application.store)
    }
    for uri in sorted({uris[number] for number in with_store}):
        log.warning("%s is not there any more: what was to be deleted in it went with it.", uri)
    return {number: error for number, error in errors.items() if number not in with_store}


def _delete_page(page: Iterable[Doomed], stores: Stores) -> dict[int, StoreError]:
    """Delete archives from their stores; return by archive id why some could not be."""
    by_store: dict[str, list[Doomed]] = {}
    for doomed in page:
        if not doomed.location.key.startswith(EMPTY_KEY):  # of those no store holds anything
            by_store.setdefault(doomed.location.store_uri, []).append(doomed)
    errors: dict[int, StoreError] = {}
    for uri, archives in by_store.items():
        refused = stores(uri).delete_all([(one.location.key, one.description) for one in archives])
        errors |= {one.id: refused[one.location.key] for one in archives if one.location.key in refused}
    return errors
