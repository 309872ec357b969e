"""When many small files are sent by processes, and by how many."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import ArchiveRange, PlannedArchive
from glacier_provider.pipelines.backup.archive import SMALL_FILE
from glacier_provider.stores.contract import ArchiveStore
from glacier_provider.stores.s3.fast.pool import Crew, NoQuickWay, Stored
from glacier_provider.stores.s3.fast.process import Setup

__all__ = ["FileCrew", "Stored", "crew_for"]

log = logging.getLogger(__name__)

FileCrew = Crew[PlannedArchive]

#: Processes take a quarter of a second to start: fewer files are sent sooner without them.
CREW_FROM = 300


@contextmanager
def crew_for(application: Application, wanted: ArchiveRange, store: ArchiveStore) -> Iterator[FileCrew | None]:
    """Yield processes for the files of a range; None where these are few, or the store has no quick path."""
    crew = _started(application, wanted, store)
    try:
        yield crew
    finally:
        if crew is not None:
            crew.close()


def _started(application: Application, wanted: ArchiveRange, store: ArchiveStore) -> FileCrew | None:
    wire, processes = store.wire, min(application.upload_processes, os.cpu_count() or 1)
    if wire is None or processes == 0 or wanted.archives < CREW_FROM or wire.credentials() is None:
        return None
    setup = Setup(
        application=application.name,
        directory=application.files_directory,
        prefix=wire.bucket.uri.prefix,
        settle_seconds=application.settle_seconds,
        largest=SMALL_FILE,
        rate=store.pace.rate / processes,
    )
    try:
        return Crew(setup, wire, processes=processes, connections=application.connections)
    except NoQuickWay:
        return None
    except OSError as exc:
        log.warning("No upload processes could be started (%s); files take the usual path.", exc)
        return None
