"""An archive on its way to the store while it is still being made."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import PlannedArchive, Upload
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.archive import ArchiveKind, Description, Receipt
from glacier_provider.core.parts import SMALL_FILE
from glacier_provider.errors import CatalogError, GlacierProviderError, StoreError, ToolKilled
from glacier_provider.staging import Stream
from glacier_provider.stores.contract import ArchiveStore, UploadedParts

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an archive goes: its row in the catalog, how it describes itself, its store if that is at hand."""

    archive: PlannedArchive
    description: Description
    catalog: Catalog
    store: ArchiveStore | None

    @classmethod
    def of_dump(
        cls,
        application: Application,
        archive: PlannedArchive,
        encoding: str,
        *,
        catalog: Catalog,
        store: ArchiveStore | None,
    ) -> Destination:
        """Return that of a dump, which is described before its size is known."""
        description = archive.description(application.name, ArchiveKind.DATABASE, encoding=encoding)
        return cls(archive, replace(description, size=None), catalog, store)

    def complete(self, sent: UploadedParts) -> Receipt | None:
        """Make an archive of what was sent, and note it; None when the store does not have what was sent."""
        assert self.store is not None  # it was sent somewhere
        journal = self.catalog.archives.journal(self.archive.id)
        receipt = self.store.complete_stream(self.description, journal, sent)
        if receipt is not None:
            self.catalog.archives.record_uploads([Upload(self.archive.id, receipt)])
        return receipt

    def abandon(self) -> None:
        """Abort what was sent and will not be completed; where the store cannot be asked, the end of a backup does."""
        if self.store is None:
            return
        with suppress(StoreError, CatalogError):
            self.store.abandon(self.description)
            self.catalog.archives.journal(self.archive.id).forget()


class StreamingUpload:
    """Sends a stream in a thread of its own; a context manager that gives stream and upload up on an error.

    What goes wrong with the store does not disturb who makes the stream: `wait` tells of it in the end. A stream that
    ends within `least` bytes is not sent at all. With 0 the stream is given up when its upload is: who makes it would
    wait for room.
    """

    def __init__(self, stream: Stream, destination: Destination, *, part_size: int, least: int = SMALL_FILE) -> None:
        self._stream = stream
        self._destination = destination
        self._part_size = part_size
        self._least = least
        self._sent: UploadedParts | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="upload-stream", daemon=True)

    def wait(self, heartbeat: Callable[[], None]) -> UploadedParts | None:
        """Return what the store has of the stream, which is at its end: everything, or None when it was not to be sent.

        Raise the StoreError or CatalogError of the upload.
        """
        while self._thread.is_alive():
            self._thread.join(HEARTBEAT_SECONDS)
            heartbeat()
        if self._error is not None:
            raise self._error
        return self._sent

    def _run(self) -> None:
        try:
            if self._stream.wait_for(self._least + 1) or self._least == 0:
                self._send()
        except BaseException as error:  # noqa: BLE001 - raised by `wait`
            self._error = error
            if self._least == 0:
                self._stream.fail(_of_family(error))

    def _send(self) -> None:
        catalog, store = self._destination.catalog, self._destination.store
        assert store is not None  # nothing is sent otherwise
        archive_id, description = self._destination.archive.id, self._destination.description
        catalog.archives.begin_upload(archive_id)
        journal = catalog.archives.journal(archive_id)
        self._sent = store.upload_stream(self._stream, description, journal, part_size=self._part_size)

    def __enter__(self) -> StreamingUpload:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        self._stream.fail(
            error if isinstance(error, GlacierProviderError) else ToolKilled("The dump was ended before its end.")
        )
        self._thread.join()
        self._destination.abandon()


def _of_family(error: BaseException) -> GlacierProviderError:
    """Return the error, or one of our family that names the kind of a foreign one: its text may hold anything."""
    if isinstance(error, GlacierProviderError):
        return error
    ended = StoreError(f"The upload of the dump ended with {type(error).__name__}.")
    ended.__cause__ = error
    return ended
