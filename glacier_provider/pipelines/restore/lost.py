"""Files that no store holds any more: noted when a store says so, named, gone on without where a person wants that."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.proof import Finding, ProofKind
from glacier_provider.core.text import NAMED, counted, some
from glacier_provider.errors import ArchiveMissing, StoreError
from glacier_provider.pipelines.evidence import why_no_evidence
from glacier_provider.stores.contract import Stores

log = logging.getLogger(__name__)


def lost_files(
    backup_id: int, names: Sequence[str], catalog: Catalog, *, corrupt: bool | None = False, by_name: bool = False
) -> ArchiveMissing:
    """Return the error of a restore that was to bring lost files: their names, and what can be done about them.

    `corrupt`: each of them is in its store still, with a content that is not what was written; None: perhaps.
    `by_name`: what is to be brought was named file by file.
    """
    elsewhere = catalog.lost.other_backup(names, besides=backup_id)
    others = f" Backup {elsewhere[0]} has {elsewhere[1]} with a content that can be read." if elsewhere else ""
    what = f"The file {names[0]}" if len(names) == 1 else f"{len(names):,} files"
    named = "" if len(names) == 1 else f": {some(names)}"
    verb = "is" if len(names) == 1 else "are"
    told = {
        True: "LOST: what the store has is not what was written",
        False: "in no store any more",
        None: "in no store any more, or not as it was written",
    }[corrupt]
    rest = f'To restore the rest, set without_lost, as in {{"backup_id": {backup_id}, "without_lost": true}}.'
    if by_name:
        rest = f"Other files come when they are asked for without {'it' if len(names) == 1 else 'them'}."
    return ArchiveMissing(f"{what} of backup {backup_id} {verb} {told}{named}.", hint=f"{rest}{others}")


def note_lost(archive_ids: Sequence[int], restore_id: int, *, catalog: Catalog) -> list[int]:
    """Note archives that their store does not have, though a restore was to bring them; return those not known yet."""
    rows = catalog.lost.note(archive_ids, f"The store did not have it when restore {restore_id} asked for it.")
    for row in rows:
        log.error("%s is lost: its store does not have it any more.", row["filename"])
    return [row["id"] for row in rows]


def note_corrupt(archive_ids: Sequence[int], restore_id: int, *, catalog: Catalog) -> list[int]:
    """Note archives as lost that a restore was to bring, and whose content is another one in their store.

    Return those of which that was not known yet.
    """
    how = f"Restore {restore_id} found another content in the store: it is not what was written."
    rows = catalog.lost.note_corrupt(archive_ids, how)
    for row in rows:
        log.error("%s is LOST: what the store has is not what was written.", row["filename"])
    return [row["id"] for row in rows]


def leave_evidence_of_lost(
    application: Application, archive_ids: Sequence[int], restore_id: int, *, catalog: Catalog, stores: Stores
) -> None:
    """Leave a document of what a restore found to be lost, as a verification that came upon it would.

    A drill, and a verification that is under way, tell of it themselves. Where the store takes none now, the next
    proof writes it.
    """
    restore = catalog.restores.get(restore_id)
    if not archive_ids or restore["request"].get("sample"):
        return
    count, places = len(archive_ids), catalog.lost.places(list(archive_ids[:NAMED]))
    finding = Finding("lost", f"LOST: {counted(count, 'archive')} cannot be brought back:", count, tuple(places))
    figures = {"id": restore_id, "lost": count}
    kind, backup_id = ProofKind.VERIFICATION, restore["backup_id"]
    if catalog.proofs.found_by(kind, method="restore", backup_id=backup_id, figures=figures, finding=finding) is None:
        return
    try:
        why_no_evidence(application, catalog=catalog, stores=stores)
    except StoreError as error:
        log.error("The evidence of what restore %d found is in the catalog alone by now: %s", restore_id, error)


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
    request = RestoreRequest.from_params(restore["request"])
    if not request.without_lost:
        corrupt, named = all(row["corrupt"] for row in rows), [row["filename"] for row in rows]
        raise lost_files(backup_id, named, catalog, corrupt=corrupt, by_name=bool(request.only_files))
    note_without(restore_id, catalog.lost.drop_of_restore(restore_id), catalog=catalog)


def note_without(restore_id: int, names: Sequence[str], *, catalog: Catalog) -> None:
    """Add files that a restore goes on without to its outcome."""
    outcome = catalog.restores.get(restore_id)["outcome"]
    known = outcome.get("lost", [])
    new = [name for name in names if name not in known]
    count = outcome.get("lost_count", 0) + len(new)
    catalog.restores.add_outcome(restore_id, lost_count=count, lost=sorted([*known, *new])[:NAMED])
    log.warning("The restore goes on without %s that cannot be brought back: %s.", counted(len(new), "file"), some(new))
