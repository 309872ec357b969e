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
from glacier_provider.stores.s3.fast.pool import NoQuickWay, Stored, UploadPool
from glacier_provider.stores.s3.fast.process import Setup

__all__ = ["FilePool", "Stored", "upload_pool"]

log = logging.getLogger(__name__)

FilePool = UploadPool[PlannedArchive]

#: Processes take a quarter of a second to start: fewer files are sent sooner without them.
POOL_FROM = 300


@contextmanager
def upload_pool(application: Application, wanted: ArchiveRange, store: ArchiveStore) -> Iterator[FilePool | None]:
    """Yield processes for the files of a range; None where these are few, or the store has no quick path."""
    pool = _started(application, wanted, store)
    try:
        yield pool
    finally:
        if pool is not None:
            pool.close()


def _started(application: Application, wanted: ArchiveRange, store: ArchiveStore) -> FilePool | None:
    fast_path, processes = store.fast_path, min(application.upload_processes, os.cpu_count() or 1)
    if fast_path is None or processes == 0 or wanted.archives < POOL_FROM or fast_path.credentials() is None:
        return None
    setup = Setup(
        application=application.name,
        directory=application.files_directory,
        prefix=fast_path.bucket.uri.prefix,
        settle_seconds=application.settle_seconds,
        largest=SMALL_FILE,
        rate=store.rate_limit.rate / processes,
    )
    try:
        return UploadPool(setup, fast_path, processes=processes, connections=application.connections)
    except NoQuickWay:
        return None
    except OSError as exc:
        log.warning("No upload processes could be started (%s); files take the usual path.", exc)
        return None
