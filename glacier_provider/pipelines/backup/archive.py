"""One archive: how it describes itself, and how it is sent when it is whole."""

from __future__ import annotations

from collections.abc import Callable

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import PlannedArchive, Upload
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.core.parts import MIB
from glacier_provider.stores.contract import ArchiveStore, Source

#: Files up to this size are sent by one request, read into memory whole; larger ones go in parts.
SMALL_FILE = 8 * MIB


def send(source: Source, description: Description, *, catalog: Catalog, store: ArchiveStore) -> Upload:
    """Send one archive by one request, or in parts when it is large; return what the catalog is to record."""
    if source.size <= SMALL_FILE:
        receipt = store.put(source.read_at(0, source.size), description)
    else:
        receipt = store.put_large(source, description, catalog.archives.journal(description.archive_id))
    return Upload(description.archive_id, receipt, description.sha256)


def describe(
    application: Application,
    archive: PlannedArchive,
    kind: ArchiveKind,
    *,
    size: int | None = None,
    sha256: str | None = None,
    encoding: str = "identity",
) -> Description:
    """Return what the store is told of an archive; `size` (bytes) where it is not the planned one."""
    return Description(
        application=application.name,
        kind=kind,
        archive_id=archive.id,
        backup_id=archive.backup_id,
        filename=archive.filename,
        size=archive.size if size is None else size,
        sha256=sha256,
        encoding=encoding,
        written_by=archive.written_by,
    )


class HeartbeatSource:
    """A source that keeps the lease alive while it is read."""

    def __init__(self, source: Source, heartbeat: Callable[[], None]) -> None:
        self._source = source
        self._heartbeat = heartbeat
        self.size = source.size

    def read_at(self, start: int, size: int) -> bytes:
        self._heartbeat()
        return self._source.read_at(start, size)
