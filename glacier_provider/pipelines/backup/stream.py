"""An archive on its way to the store while it is still being made."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from glacier_provider.catalog.archives import PlannedArchive, Upload
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.archive import Description, Receipt
from glacier_provider.errors import CatalogError, GlacierProviderError, StoreError, ToolKilled
from glacier_provider.pipelines.backup.archive import SMALL_FILE
from glacier_provider.stores.contract import ArchiveStore, StreamSource, UploadedParts

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0


class DumpStream(StreamSource, Protocol):
    """A source that is made here."""

    def fail(self, error: GlacierProviderError) -> None: ...


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an archive goes: its row in the catalog, how it describes itself, its store."""

    archive: PlannedArchive
    description: Description
    catalog: Catalog
    store: ArchiveStore | None

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
    """Sends a growing source in a thread of its own; a context manager that gives the upload up on an error.

    What goes wrong with the store does not disturb who makes the source: `wait` tells of it in the end. A source that
    ends within `least` bytes is not sent at all.
    """

    def __init__(self, source: DumpStream, way: Destination, *, part_size: int, least: int = SMALL_FILE) -> None:
        self._source = source
        self._way = way
        self._part_size = part_size
        self._least = least
        self._sent: UploadedParts | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="send-growing", daemon=True)

    def wait(self, heartbeat: Callable[[], None]) -> UploadedParts | None:
        """Return what the store has of the source, which is at its end: everything, or None when it was not to be sent.

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
            if self._source.wait_for(self._least + 1) or self._least == 0:
                self._send()
        except BaseException as error:  # noqa: BLE001 - raised by `wait`
            self._error = error
            if self._least == 0:
                self._source.fail(_of_family(error))  # who makes it has nowhere to put it, and would wait for room

    def _send(self) -> None:
        way = self._way
        assert way.store is not None
        way.catalog.archives.begin_upload(way.archive.id)
        journal = way.catalog.archives.journal(way.archive.id)
        self._sent = way.store.upload_stream(self._source, way.description, journal, part_size=self._part_size)

    def __enter__(self) -> StreamingUpload:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        self._source.fail(
            error if isinstance(error, GlacierProviderError) else ToolKilled("The dump was ended before its end.")
        )
        self._thread.join()
        self._way.abandon()


def _of_family(error: BaseException) -> GlacierProviderError:
    """Return the error, or one of our family that names the kind of a foreign one: its text may hold anything."""
    if isinstance(error, GlacierProviderError):
        return error
    ended = StoreError(f"The upload of the dump ended with {type(error).__name__}.")
    ended.__cause__ = error
    return ended
