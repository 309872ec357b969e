"""Files that cannot be read: tried again where that may help, then left out by name, or too many to be left out."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import PlannedArchive
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.text import counted
from glacier_provider.errors import FileChanged, FileUnreadable, GlacierProviderError, ReadFailed
from glacier_provider.pipelines.shared.errors import log_errors, raise_gravest_named

log = logging.getLogger(__name__)

#: What is the matter with one file alone; a file that is always being written is of this kind, too.
_OF_ONE_FILE = (FileUnreadable, ReadFailed, FileChanged)

FileErrors = Sequence[tuple[PlannedArchive, GlacierProviderError]]


def settle_unreadable(
    application: Application, backup_id: int, errors: FileErrors, *, catalog: Catalog, last_try: bool
) -> int:
    """Note the files of a task that could not be read, and return their number; raise the gravest error when there is
    another one, when a further try may help, and when the application does not let so many be missing.
    """
    named = [(archive.filename, error) for archive, error in errors]
    log_errors(log, named)
    others = [(name, error) for name, error in named if not isinstance(error, _OF_ONE_FILE)]
    raise_gravest_named(others, "file", "could not be archived")
    if not last_try:
        again = [(name, error) for name, error in named if error.retryable]
        raise_gravest_named(again, "file", "could not be archived")
    if application.scan.unreadable == "fail":
        raise_gravest_named(named, "file", "could not be archived")
    _refuse_too_many(application, len(named), [name for name, _ in named], files=None)
    catalog.archives.note_unread(backup_id, [archive.id for archive, _ in errors])
    return len(named)


def leave_out_unreadable(application: Application, backup_id: int, *, catalog: Catalog) -> None:
    """Leave what could not be read out of a backup that is closed; raise FileUnreadable when it is too much."""
    unread, named = catalog.archives.unread(backup_id)
    if unread:
        _refuse_too_many(application, unread, named, files=catalog.backups.get(backup_id)["files_count"])
        catalog.archives.leave_out_unread(backup_id)
        log.error("%s could not be read and are in no backup: %s", counted(unread, "file"), ", ".join(named))


def _refuse_too_many(application: Application, unread: int, named: Sequence[str], *, files: int | None) -> None:
    most = application.scan.unreadable_most
    if application.scan.unreadable == "ignore" or (unread <= most and (files is None or 2 * unread <= files)):
        return
    than = f"more than scan.unreadable_most ({most})" if unread > most else "more than half of all"
    raise FileUnreadable(
        f"{counted(unread, 'file')} could not be read ({', '.join(named[:5])}): {than}.",
        hint="The task log of upload_files says of each why. Mend that, leave them out with exclude, or see "
        "scan.unreadable in applications.yaml.",
    )
