"""Files that no store holds any more: noted when a store says so, named, gone on without where a person wants that."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.text import NAMED, some
from glacier_provider.errors import ArchiveMissing

log = logging.getLogger(__name__)


def lost_files(backup_id: int, names: Sequence[str], catalog: Catalog, *, corrupt: bool = False) -> ArchiveMissing:
    """Return the error of a restore that was to bring lost files: their names, and what can be done about them.

    `corrupt`: each of them is in its store still, with a content that is not what was written.
    """
    elsewhere = catalog.lost.other_backup(names, besides=backup_id)
    others = f" Backup {elsewhere[0]} has {elsewhere[1]} with a content that can be read." if elsewhere else ""
    what = f"The file {names[0]}" if len(names) == 1 else f"{len(names)} files"
    named = "" if len(names) == 1 else f": {some(names)}"
    verb = "is" if len(names) == 1 else "are"
    told = "LOST: what the store has is not what was written" if corrupt else "in no store any more"
    return ArchiveMissing(
        f"{what} of backup {backup_id} {verb} {told}{named}.",
        hint="To restore the rest, set without_lost, as in "
        f'{{"backup_id": {backup_id}, "without_lost": true}}.{others}',
    )


def note_lost(archive_ids: Sequence[int], restore_id: int, *, catalog: Catalog) -> None:
    """Note archives that their store does not have, though a restore was to bring them."""
    for row in catalog.lost.note(archive_ids, f"The store did not have it when restore {restore_id} asked for it."):
        log.error("%s is lost: its store does not have it any more.", row["filename"])


def note_corrupt(archive_ids: Sequence[int], restore_id: int, *, catalog: Catalog) -> None:
    """Note archives as lost that a restore was to bring, and whose content is another one in their store."""
    how = f"Restore {restore_id} found another content in the store: it is not what was written."
    for row in catalog.lost.note_corrupt(archive_ids, how):
        log.error("%s is LOST: what the store has is not what was written.", row["filename"])


def settle_lost(restore_id: int, *, catalog: Catalog) -> None:
    """Go on without lost files, if that is what was asked for, and note them in the outcome.

    Raise ArchiveMissing naming them otherwise, and when the dump is among them.
    """
    rows = catalog.lost.of_restore(restore_id)
    if not rows:
        return
    restore = catalog.restores.get(restore_id)
    backup_id = restore["backup_id"]
    for row in rows:
        if row["kind"] == "database":
            told = "LOST: what the store has is not what was written" if row["corrupt"] else "in no store any more"
            raise ArchiveMissing(
                f"The dump of backup {backup_id} is {told}.", hint=catalog.backups.valid_ids(backup_id)
            )
    if not RestoreRequest.from_params(restore["request"]).without_lost:
        corrupt = all(row["corrupt"] for row in rows)
        raise lost_files(backup_id, [row["filename"] for row in rows], catalog, corrupt=corrupt)
    note_without(restore_id, catalog.lost.drop_of_restore(restore_id), catalog=catalog)


def note_without(restore_id: int, names: Sequence[str], *, catalog: Catalog) -> None:
    """Add files that a restore goes on without to its outcome."""
    outcome = catalog.restores.get(restore_id)["outcome"]
    known = outcome.get("lost", [])
    new = [name for name in names if name not in known]
    count = outcome.get("lost_count", 0) + len(new)
    catalog.restores.add_outcome(restore_id, lost_count=count, lost=sorted([*known, *new])[:NAMED])
    log.warning("The restore goes on without %d files that are in no store any more: %s.", len(new), some(new))
