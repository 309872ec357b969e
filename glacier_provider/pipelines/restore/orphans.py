"""`move_orphans` and `undo_orphans`: files that the backup does not contain, moved aside and back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.archive import Amount
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.errors import FileMissing, IllegalMove, NameTaken
from glacier_provider.files import move_aside, move_back, walk
from glacier_provider.pipelines.restore.step import lies_aside, restore_step
from glacier_provider.pipelines.shared.group import GroupCommit
from glacier_provider.pipelines.shared.progress import Progress

log = logging.getLogger(__name__)


def move_orphans(application: Application, restore_id: int, *, catalog: Catalog) -> dict[str, int]:
    """Move files that the restored backup does not contain to the orphan directory; return `moved`, `left`, `bytes`.

    Files that came or changed since the restore began are left where they are. Every move is journalled before it is
    made.
    """
    restore = catalog.restores.get(restore_id)
    request = RestoreRequest.from_params(restore["request"])
    if not request.orphans:
        return {"moved": 0, "left": 0, "bytes": 0}
    if "database" not in restore["outcome"]:
        raise IllegalMove(f"The database of restore {restore_id} is not restored yet: orphans stay where they are.")
    with restore_step(catalog, restore_id, "the orphans") as heartbeat:
        for dead in catalog.restores.unfinished_moves(restore_id):
            _finish_planned_moves(dead, catalog=catalog)  # with the lease in our hands, nobody else moves
        young = catalog.restores.plan_orphans(
            restore_id,
            restore["backup_id"],
            _files_by_age(application, restore["opened_at"]),
            orphan_directory=application.orphan_directory,
            # Applications may share an orphan directory.
            subdirectory=f"{application.name}-restore-{restore_id}",
        )
        progress = Progress(log, "Moved aside", on_heartbeat=heartbeat)
        for page in catalog.restores.orphans(restore_id, "planned"):
            _move_page(application, page, catalog=catalog, progress=progress)
        if young:
            log.info("%d files came while the restore ran; they stay: %s", len(young), ", ".join(young[:10]))
        moved = catalog.restores.orphan_counts(restore_id).get("moved", Amount())
        outcome = {"moved": moved.archives, "left": len(young), "bytes": moved.bytes}
        catalog.restores.add_outcome(restore_id, orphans=outcome)
    return outcome


def _files_by_age(application: Application, began: datetime) -> Iterator[tuple[str, int, bool]]:
    limit = int(began.timestamp() * 1e9)
    found = walk(
        application.files_directory,
        on_skip=lambda _name, _reason: None,
        exclude=application.exclude,
        leave_out=(application.orphan_directory, application.staging_directory),
    )
    return ((file.name, file.size, file.mtime_ns >= limit) for file in found)


def _move_page(application: Application, page: Sequence[Row], *, catalog: Catalog, progress: Progress) -> None:
    with GroupCommit(catalog.restores.orphans_gone) as gone, GroupCommit(catalog.restores.orphans_moved) as moved:
        for row in page:
            progress.heartbeat()
            try:
                move_aside(application.files_directory, row["filename"], row["orphan_directory"], row["subdirectory"])
            except FileMissing:
                gone.add(row["id"])
                continue
            moved.add(row["id"])
            progress.add(1, row["size"])


def undo_orphans(application: Application, restore_id: int, *, catalog: Catalog) -> dict[str, int]:
    """Move the orphans of a restore back to where they were; return `moved_back` and `left`.

    A file whose name is taken meanwhile stays in the orphan directory and in the journal, and is named in the log.
    """
    restore = catalog.restores.get(restore_id)
    if restore["application"] != application.name:
        raise IllegalMove(
            f"Restore {restore_id} belongs to the application {restore['application']}, not {application.name}.",
            hint="List the restores with: glacier-backup restores",
        )
    left = count = 0
    with restore_step(catalog, restore_id, "the orphans", undo=True) as heartbeat:
        _finish_planned_moves(restore_id, catalog=catalog)
        for page in catalog.restores.orphans(restore_id, "moved"):
            back = _move_page_back(application, page, catalog=catalog, heartbeat=heartbeat)
            count, left = count + back, left + len(page) - back
    log.info("%d files are back in %s, %d stay in the orphan directory.", count, application.files_directory, left)
    return {"moved_back": count, "left": left}


def _finish_planned_moves(restore_id: int, *, catalog: Catalog) -> None:
    """Finish the journal of a restore that died while it moved orphans: made, or never made."""
    for page in catalog.restores.orphans(restore_id, "planned"):
        aside = {row["id"] for row in page if lies_aside(row["orphan_directory"], row)}
        catalog.restores.orphans_moved(sorted(aside))
        catalog.restores.orphans_gone([row["id"] for row in page if row["id"] not in aside])


def _move_page_back(
    application: Application, page: Sequence[Row], *, catalog: Catalog, heartbeat: Callable[[], None]
) -> int:
    """Move orphans back and note it, whatever ends it; return how many are back."""
    count = 0
    with GroupCommit(catalog.restores.orphans_undone) as back:
        for row in page:
            heartbeat()
            try:
                move_back(application.files_directory, row["filename"], row["orphan_directory"], row["subdirectory"])
            except (NameTaken, FileMissing) as error:
                log.warning("%s stays in the orphan directory: %s", row["filename"], error)
                continue
            back.add(row["id"])
            count += 1
    return count
