"""Files that no store holds any more: noted when a store says so, named, gone on without where a person wants that."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.text import NAMED, some
from glacier_provider.errors import ArchiveMissing

log = logging.getLogger(__name__)


def lost_files(backup_id: int, names: Sequence[str], catalog: Catalog) -> ArchiveMissing:
    """Return the error of a restore that was to bring lost files: their names, and what can be done about them."""
    elsewhere = catalog.lost.other_backup(names, besides=backup_id)
    others = f" Backup {elsewhere[0]} has {elsewhere[1]} with a content that can be read." if elsewhere else ""
    what = f"The file {names[0]}" if len(names) == 1 else f"{len(names)} files"
    named = "" if len(names) == 1 else f": {some(names)}"
    return ArchiveMissing(
        f"{what} of backup {backup_id} {'is' if len(names) == 1 else 'are'} in no store any more{named}.",
        hint="To restore the rest, set without_lost, as in "
        f'{{"backup_id": {backup_id}, "without_lost": true}}.{others}',
    )


def note_lost(archive_ids: Sequence[int], restore_id: int, *, catalog: Catalog) -> None:
    """Note archives that their store does not have, though a restore was to bring them."""
    for row in catalog.lost.note(archive_ids, f"The store did not have it when restore {restore_id} asked for it."):
        log.error("%s is lost: its store does not have it any more.", row["filename"])


def settle_lost(restore_id: int, *, catalog: Catalog) -> None:
    """Go on without lost files, if that is what was asked for, and note them in the outcome.

    Raise ArchiveMissing naming them otherwise, and when the dump is among them.
    """
    rows = catalog.lost.of_restore(restore_id)
    if not rows:
        return
    restore = catalog.restores.get(restore_id)
    backup_id = restore["backup_id"]
    if any(row["kind"] == "database" for row in rows):
        raise ArchiveMissing(
            f"The dump of backup {backup_id} is in no store any more.", hint=catalog.backups.valid_ids(backup_id)
        )
    if not RestoreRequest.from_params(restore["request"]).without_lost:
        raise lost_files(backup_id, [row["filename"] for row in rows], catalog)
    note_without(restore_id, catalog.lost.drop_of_restore(restore_id), catalog=catalog)


def note_without(restore_id: int, names: Sequence[str], *, catalog: Catalog) -> None:
    """Add files that a restore goes on without to its outcome."""
    outcome = catalog.restores.get(restore_id)["outcome"]
    known = outcome.get("lost", [])
    new = [name for name in names if name not in known]
    count = outcome.get("lost_count", 0) + len(new)
    catalog.restores.add_outcome(restore_id, lost_count=count, lost=sorted([*known, *new])[:NAMED])
    log.warning("The restore goes on without %d files that are in no store any more: %s.", len(new), some(new))
