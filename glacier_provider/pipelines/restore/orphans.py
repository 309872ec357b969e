"""`move_orphans` and `undo_orphans`: files that the backup does not contain, or not so, moved aside and back."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.copy_format import YoungFile
from glacier_provider.catalog.database import Row
from glacier_provider.core.archive import Amount, name_to_bytes
from glacier_provider.core.checksum import Verifier
from glacier_provider.core.findings import EXCLUDED_FILES
from glacier_provider.core.parts import MIB
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.text import counted, some
from glacier_provider.errors import DirectoryUnusable, FileMissing, IllegalMove, NameTaken
from glacier_provider.files import FileSource, Placement, Root, move_aside, move_back, open_source, walk
from glacier_provider.files.names import name_parts
from glacier_provider.files.walk import LARGEST_INODE, kept_mtime
from glacier_provider.pipelines.restore.present import require_still_there
from glacier_provider.pipelines.restore.step import (
    is_there,
    lies_aside,
    orphan_prefix,
    restore_step,
    staged_version,
    undo_step,
)
from glacier_provider.pipelines.shared.group import GroupCommit
from glacier_provider.pipelines.shared.progress import Progress
from glacier_provider.pipelines.shared.staging import NOT_SHARED, staging_directory_of

log = logging.getLogger(__name__)


def move_orphans(application: Application, restore_id: int, *, catalog: Catalog) -> dict[str, int]:
    """Move files that the restored backup does not contain to the orphan directory; return `moved`, `left`, `bytes`.

    Files that the backup contains with another content go there as well, and give way to those of the backup
    (`replaced`). Files that came since the restore began are left where they are. Every move is journalled before it is
    made.
    """
    restore = catalog.restores.get(restore_id)
    request = RestoreRequest.from_params(restore["request"])
    if not request.orphans and not request.replaces:
        return {"moved": 0, "replaced": 0, "left": 0, "bytes": 0}
    if request.database and "database" not in restore["outcome"]:
        raise IllegalMove(
            f"The database of restore {restore_id} is not restored yet: orphans stay where they are.",
            hint="Clear the task restore_database.",
        )
    with restore_step(catalog, restore_id, "the orphans") as heartbeat:
        if not request.database:  # else that was the first thing to change
            require_still_there(application, restore_id, catalog=catalog)
        # With the lease in our hands nobody else moves. Its own too: it may have been planned again since.
        for begun in (*catalog.restores.unfinished_moves(restore_id), restore_id):
            _finish_planned_moves(application, begun, catalog=catalog)
        subdirectory = f"{orphan_prefix(application)}{restore_id}"
        progress = Progress(log, "Moved aside", on_heartbeat=heartbeat)
        replaced = _replace(application, restore_id, subdirectory, catalog=catalog, progress=progress)
        young: list[str] = []
        report = catalog.backups.get(restore["backup_id"])["report"]
        if request.orphans:
            young = catalog.restores.plan_orphans(
                restore_id,
                restore["backup_id"],
                _files_by_age(application, restore["opened_at"], exclude=_excluded(application, report)),
                orphan_directory=application.orphan_directory,
                subdirectory=subdirectory,
                left_out=_unreadable(report),
            )
        for page in catalog.restores.orphans(restore_id, "planned"):
            _move_page(application, page, catalog=catalog, progress=progress)
        if young:
            log.info("%s came while the restore ran and stay: %s", counted(len(young), "file"), some(young, most=10))
        moved = catalog.restores.orphan_counts(restore_id).get("moved", Amount())
        replaced += restore["outcome"].get("orphans", {}).get("replaced", 0)
        outcome = {"moved": moved.archives, "replaced": replaced, "left": len(young), "bytes": moved.bytes}
        catalog.restores.add_outcome(restore_id, orphans=outcome)
    return outcome


def _excluded(application: Application, report: Mapping[str, Any]) -> list[str]:
    """Return what no orphan is: what the application excludes, and what it did when the backup was made, which would
    contain it else.
    """
    noted = report.get(EXCLUDED_FILES)
    then = [one for one in noted if isinstance(one, str)] if isinstance(noted, list) else []
    return list(dict.fromkeys([*application.exclude, *then]))


def _unreadable(report: Mapping[str, Any]) -> list[str]:
    """Return the first names of files that the backup could not read, as it tells them wherever its catalog is from."""
    told = report.get("unreadable")
    names = [one.get("name") for one in told if isinstance(one, Mapping)] if isinstance(told, list) else []
    return [name for name in names if isinstance(name, str)]


def _files_by_age(application: Application, began: datetime, *, exclude: Sequence[str]) -> Iterator[YoungFile]:
    """Yield the files of the directory; one whose time of modification is old, and its time of change is not, may be
    old or new: copied or moved here with its times.
    """
    limit = int(began.timestamp() * 1e9)
    directory = os.fsencode(application.files_directory)
    found = walk(
        application.files_directory,
        on_skip=lambda _name, _reason: None,
        exclude=exclude,
        leave_out=(application.orphan_directory, application.staging_directory),
    )
    for file in found:
        if file.mtime_ns < limit and _changed_ns(directory, file.name) >= limit:
            yield file.name, file.size, True, file.mtime_ns, file.inode
        else:
            yield file.name, file.size, file.mtime_ns >= limit


def _changed_ns(directory: bytes, name: str) -> int:
    try:
        return os.lstat(os.path.join(directory, name_to_bytes(name))).st_ctime_ns
    except OSError:  # gone, or deeper than a path can be
        return 0


def _replace(
    application: Application, restore_id: int, subdirectory: str, *, catalog: Catalog, progress: Progress
) -> int:
    """Have files with another content than the backup's give way to those that are staged; return how many did.

    A page at a time: all of its files go aside, and that is in the journal, before the first one comes.
    """
    count = 0
    orphan_directory = application.orphan_directory
    for page in catalog.restores.to_replace(restore_id, orphan_directory=orphan_directory):
        with Root(application.files_directory) as root:
            there = [(row, root.look(name_parts(row["filename"]))) for row in page if row["move"] is None]
        catalog.restores.plan_replaced(
            restore_id,
            [(row["id"], row["filename"], info.st_size) for row, info in there if info is not None],
            orphan_directory=orphan_directory,
            subdirectory=subdirectory,
        )
        for planned in catalog.restores.orphans(restore_id, "planned"):
            _move_page(application, planned, catalog=catalog, progress=progress)
        _put_versions(application, restore_id, page, catalog=catalog)
        count += len(page)
    return count


def _put_versions(application: Application, restore_id: int, page: Sequence[Row], *, catalog: Catalog) -> None:
    """Put what is staged, or lies aside, under names that are free now; verified once more on its way."""
    staged = staging_directory_of(application, "restore", restore_id)
    with Placement(application.files_directory) as placement, Root(application.files_directory) as root:
        for row in page:
            if row["subdirectory"]:
                move_back(
                    application.files_directory, row["filename"], application.orphan_directory, row["subdirectory"]
                )
                catalog.restores.moved_back(row["filename"], row["subdirectory"])
            elif placement.present(row["filename"], row["stored_size"]) is None:
                with _staged_file(staged, row) as source:
                    pieces = (source.read_at(at, min(MIB, source.size - at)) for at in range(0, source.size, MIB))
                    verifier = Verifier(row["checksum"])
                    placement.place(row["filename"], pieces, size=row["stored_size"], verifier=verifier)
            info = root.look(name_parts(row["filename"]))
            with catalog.transaction():
                catalog.restores.placed([row["id"]])
                if info is not None:
                    catalog.restores.seen([(row["id"], kept_mtime(info.st_mtime_ns), info.st_ino & LARGEST_INODE)])


def _staged_file(staged: Path, row: Row) -> FileSource:
    """Open the version of a file that `download` staged; raise FileMissing, which says what brings it again."""
    try:
        return open_source(staged, staged_version(row["id"]), expected_size=row["stored_size"])
    except FileMissing as error:
        raise FileMissing(
            f"The version of {row['filename']} that the backup has is not in staging ({staged}).",
            hint="Clear the task download of this restore with those that follow it: it is brought again. "
            f"{NOT_SHARED}",
        ) from error


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


def undo_orphans(
    application: Application, restore_id: int, *, catalog: Catalog, run: Run | None = None
) -> dict[str, int]:
    """Move the orphans of a restore back to where they were; return `moved_back` and `left`.

    A file whose name is taken meanwhile stays in the orphan directory and in the journal, and is named in the log.
    `run`: of Airflow, by which others know whether it goes on. Raise LeaseHeld while another run works on the
    application, DirectoryUnusable where its directories are not mounted.
    """
    restore = catalog.restores.get(restore_id)
    if restore["application"] != application.name:
        raise IllegalMove(
            f"Restore {restore_id} belongs to the application {restore['application']}, not {application.name}.",
            hint="List the restores with: glacier-backup restores",
        )
    journal = catalog.restores.orphan_counts(restore_id)
    if ("moved" in journal or "planned" in journal) and not os.path.isdir(application.files_directory):
        raise _not_mounted(application, restore_id)
    if "moved" in journal and not os.path.isdir(application.orphan_directory):
        raise _not_mounted(application, restore_id)
    left = count = 0
    with undo_step(catalog, restore_id, "the orphans", run) as heartbeat:
        if not _finish_planned_moves(application, restore_id, catalog=catalog):
            raise _not_mounted(application, restore_id)
        for page in catalog.restores.orphans(restore_id, "moved"):
            back = _move_page_back(application, page, catalog=catalog, heartbeat=heartbeat)
            count, left = count + back, left + len(page) - back
    told = counted(count, "file"), application.files_directory, f"{left:,}"
    log.info("%s back in %s, %s left in the orphan directory.", *told)
    return {"moved_back": count, "left": left}


def _finish_planned_moves(application: Application, restore_id: int, *, catalog: Catalog) -> bool:
    """Finish the journal of a restore that died while it moved orphans: made, or never made.

    What lies aside and is in its place as well was brought again since: it stays there, for undo to compare.
    Return False, and leave the journal, when none of its files is in either place: these are other directories.
    """
    for page in catalog.restores.orphans(restore_id, "planned"):
        aside = {row["id"] for row in page if lies_aside(row["orphan_directory"], row)}
        there = {row["id"] for row in page if is_there(application, row)}
        if not aside | there:
            return False
        catalog.restores.orphans_moved(sorted(aside), brought_again=sorted(aside & there))
        catalog.restores.orphans_gone([row["id"] for row in page if row["id"] not in aside])
    return True


def _not_mounted(application: Application, restore_id: int) -> DirectoryUnusable:
    return DirectoryUnusable(
        f"None of the files that restore {restore_id} was moving is in {application.files_directory} or in "
        f"{application.orphan_directory} of this machine; nothing was changed.",
        hint=f"Run it on a worker that mounts both: glacier-backup undo-orphans {restore_id}",
    )


def _move_page_back(
    application: Application, page: Sequence[Row], *, catalog: Catalog, heartbeat: Callable[[], None]
) -> int:
    """Move orphans back and note it, whatever ends it; return how many are back."""
    count = 0
    with GroupCommit(catalog.restores.orphans_undone) as back:
        for row in page:
            heartbeat()
            try:
                if row["replaced_by"] and lies_aside(row["orphan_directory"], row):
                    _set_replacing_aside(application, row)
                move_back(application.files_directory, row["filename"], row["orphan_directory"], row["subdirectory"])
            except (NameTaken, FileMissing) as error:
                log.warning("%s stays in the orphan directory: %s", row["filename"], error)
                continue
            back.add(row["id"])
            count += 1
    return count


def _set_replacing_aside(application: Application, row: Row) -> None:
    """Move what took a file's place out of its way; it is kept beside it, under its restore's name with `-undone`."""
    subdirectory = f"{row['subdirectory']}-undone"
    with suppress(FileMissing):
        move_aside(application.files_directory, row["filename"], row["orphan_directory"], subdirectory)
        log.info("%s of the restored backup is now in %s.", row["filename"], subdirectory)
