"""`download`: the dump into staging, files to their places, each verified first."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.archive import ArchiveKind, Location
from glacier_provider.errors import ArchiveCold, GlacierProviderError, NameTaken
from glacier_provider.files import Placed, Placement, move_back, prepare_staging
from glacier_provider.pool import in_parallel
from glacier_provider.progress import Progress
from glacier_provider.restore.working import Stores, lies_aside, staging_of
from glacier_provider.stores.verify import Verifier

log = logging.getLogger(__name__)

GROUP = 200


def download(
    application: Application, restore_id: int, wanted: ArchiveRange, *, catalog: Catalog, stores: Stores
) -> dict[str, int]:
    """Bring a range of the restore: the dump into staging, files to their places, each verified first.

    Files are only added: a name that is taken keeps what it has. Return `archives` and `bytes` that were brought.
    Raise ArchiveCold when an offer ended meanwhile: what is in place stays, and the rest has to be requested again.
    """
    catalog.restores.start(restore_id)
    prepare_staging(application.staging_directory, staging_of(application, restore_id).name)
    progress = Progress(log, "Restored", archives=wanted.archives, size=wanted.bytes)
    cold: list[int] = []
    errors: list[tuple[str, GlacierProviderError]] = []
    with Placement(application.files_directory) as files, Placement(staging_of(application, restore_id)) as staging:
        placer = _Placer(application, files, staging, stores=stores)
        for rows in catalog.restores.to_place(restore_id, wanted, orphan_directory=application.orphan_directory):
            done: list[Row] = []
            try:
                for row, answer in in_parallel(placer.bring, rows, workers=application.connections):
                    if isinstance(answer, ArchiveCold):
                        cold.append(row["id"])
                    elif isinstance(answer, GlacierProviderError):
                        errors.append((row["filename"], answer))
                    else:
                        done.append(row)
                        progress.add(1, row["stored_size"])
                    if len(done) >= GROUP:
                        _note_placed(application, done, catalog)
                        done = []
            finally:
                _note_placed(application, done, catalog)
    progress.say()
    _raise_not_brought(restore_id, cold, errors, catalog=catalog)
    return {"archives": progress.archives, "bytes": progress.bytes}


class _Placer:
    """Brings one archive to its place; several threads at once. It does not touch the catalog."""

    def __init__(self, application: Application, files: Placement, staging: Placement, *, stores: Stores) -> None:
        self._application = application
        self._files = files
        self._staging = staging
        self._stores = stores

    def bring(self, row: Row) -> None:
        """Put one archive in place. Raise the error family; ArchiveCold when it must be requested again."""
        if row["source"] == "orphan" and row["subdirectory"]:
            self._bring_back(row)
            return
        database = row["kind"] == ArchiveKind.DATABASE
        placement = self._staging if database else self._files
        if placement.present(row["filename"], row["stored_size"]) is Placed.KEPT:
            return  # an earlier try brought it; nothing gets its name here before it is verified
        store = self._stores(row["store_uri"])
        location = Location(row["store_uri"], row["key"])
        size = row["stored_size"]
        # An empty file needs no retrieval, and a vault does not even keep one.
        chunks = store.read(location, 0, size, job_id=row["job_id"]) if size else ()
        placed = placement.place(row["filename"], chunks, size=size, verifier=Verifier(row["checksum"]))
        if placed is Placed.DIFFERS:
            raise NameTaken(f"{row['filename']!r} is there with another content; it was left alone.")

    def _bring_back(self, row: Row) -> None:
        try:
            move_back(
                self._application.files_directory,
                row["filename"],
                self._application.orphan_directory,
                row["subdirectory"],
            )
        except NameTaken:
            log.warning("%s is there again; the one in the orphan directory stays.", row["filename"])


def _note_placed(application: Application, done: Sequence[Row], catalog: Catalog) -> None:
    """Note in the catalog what is in place, and in the orphans' journal what of it no longer lies aside."""
    with catalog.transaction():
        for row in done:
            if row["subdirectory"] and not lies_aside(application.orphan_directory, row):
                catalog.restores.moved_back(row["filename"], row["subdirectory"])
        catalog.restores.placed([row["id"] for row in done])


def _raise_not_brought(
    restore_id: int, cold: list[int], errors: list[tuple[str, GlacierProviderError]], *, catalog: Catalog
) -> None:
    for name, error in errors[:100]:
        log.error("%s: %s", name, error)
    if cold:
        catalog.restores.retrievals_expired(cold)
        raise ArchiveCold(
            f"{len(cold)} archives of restore {restore_id} can no longer be read: their retrieval has expired."
        )
    if errors:
        name, error = next(((n, e) for n, e in errors if not e.retryable), errors[0])
        raise type(error)(
            f"{len(errors)} archives could not be brought (first {name}): {error.message}", hint=error.hint
        )
