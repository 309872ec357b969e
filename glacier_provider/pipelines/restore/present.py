"""What of a backup is in the attached-files directory: looked at for the plan, and again before anything changes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.restores import SetAside
from glacier_provider.catalog.scans import FileSeen
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.text import counted, some
from glacier_provider.errors import IllegalMove, NameTaken
from glacier_provider.files import Ways, walk
from glacier_provider.pipelines.restore.step import is_intact
from glacier_provider.pipelines.shared.parallel import in_parallel

log = logging.getLogger(__name__)


def files_there(application: Application) -> Iterator[FileSeen]:
    """Yield every file of the directory."""
    found = walk(
        application.files_directory,
        on_skip=lambda _name, _reason: None,
        leave_out=(application.orphan_directory, application.staging_directory),
    )
    return ((file.name, file.size, file.mtime_ns, file.inode) for file in found)


def require_free_places(application: Application, restore_id: int, *, catalog: Catalog) -> None:
    """Raise NameTaken when something that is no file has the name of a file to bring, or a file that of its directory.

    To call when it is planned: what stands in the way is found out before anything is paid for.
    """
    if not _holds_anything(application.files_directory):
        return
    ways = Ways(application.files_directory)
    found: dict[str, str] = {}
    for page in catalog.restores.names_to_bring(restore_id):
        for name in page:
            if (obstacle := ways.obstacle(name)) is not None:
                found.setdefault(*obstacle)
    if found:
        told = some([f"{name} ({what})" for name, what in found.items()])
        raise NameTaken(
            f"In {application.files_directory} stands in the way of files of the backup: {told}.",
            hint="Nothing was asked for or changed. Move it away (it is not of the backup), then clear the task.",
        )


def _holds_anything(directory: str) -> bool:
    """Whether anything is in a directory that can be looked at: of a lost server it is empty, or not there."""
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False
    except OSError:
        return True  # who looks at the names says more


def those_that_are_same(application: Application, files: Sequence[SetAside]) -> list[int]:
    """Return the archive ids of files in the directory that have the archived content; they are read for that."""
    log.info("%s may have changed since a scan saw them; their contents are compared.", counted(len(files), "file"))

    def is_same(file: SetAside) -> bool:
        return is_intact(application.files_directory, file.filename, size=file.size, checksum=file.checksum)

    answers = in_parallel(is_same, files, workers=application.connections)
    return [file.archive_id for file, answer in answers if answer is True]


def require_brought(restore_id: int, *, catalog: Catalog) -> None:
    """Raise IllegalMove when files that the restore is to bring are not there: a person marked what brings them.

    To call before the database is changed, which names them.
    """
    missing = catalog.restores.not_brought(restore_id)
    if missing:
        names = some([row["name"] for row in missing], missing[0]["total"])
        raise IllegalMove(
            f"Restore {restore_id} has not brought {counted(missing[0]['total'], 'file')} of its backup: {names}. "
            "Nothing of the database was touched.",
            hint="Clear the task download, with all that follow it; it says what to do where it cannot bring them.",
        )


def require_still_there(application: Application, restore_id: int, *, catalog: Catalog) -> None:
    """Raise IllegalMove when files that are to stay, or were brought, are gone since the plan: it holds no more.

    To call with the lease in our hands, before anything is changed: a restore may have waited for days, while another
    one moved files aside, or a person did. Where another one was made, contents are compared as well.
    """
    restore = catalog.restores.get(restore_id)
    request = RestoreRequest.from_params(restore["request"])
    if not request.files or request.into is not None:
        return
    overtaken = catalog.restores.others_since(restore_id)
    if not overtaken and not restore["plan"].get("present", {}).get("archives"):
        return  # all of it was brought by this restore, just now
    is_there = os.path.isdir(application.files_directory)
    gone = catalog.restores.gone_since_plan(
        restore,
        files_there(application) if is_there else (),
        same=lambda files: those_that_are_same(application, files),
        overtaken=overtaken,
        replaces=request.replaces,
    )
    if gone:
        names = some([row["name"] for row in gone], gone[0]["total"])
        raise IllegalMove(
            f"Since restore {restore_id} was planned, {counted(gone[0]['total'], 'file')} of its backup left the "
            f"directory, or changed: {names}. Nothing of the database was touched.",
            hint=(
                ""
                if is_there
                else f"{application.files_directory} is not there: if it is to be mounted, do that first. "
            )
            + "Clear the task plan_restore of this run, with all that follow it: it brings them too. What is on "
            "offer already is not paid for again.",
        )
