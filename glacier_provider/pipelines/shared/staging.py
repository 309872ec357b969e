"""Where the dump of a run is staged, and where the dumps that a restore makes of what it replaces stay for a while."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

from glacier_provider.applications import Application
from glacier_provider.errors import FileError
from glacier_provider.staging import numbered, remove_tree

log = logging.getLogger(__name__)

#: What is behind it when a task does not find what an earlier one left in staging, each on a worker of its own.
NOT_SHARED = (
    "Should this happen again, the tasks ran on workers of which each has its own staging_directory: it has to be one "
    "that all of them mount."
)

RunKind = Literal["backup", "restore", "safety"]


def staging_directory_of(application: Application, kind: RunKind, run_id: int) -> Path:
    """Return the directory of a backup's or a restore's dump, whether it is there or not."""
    return Path(application.staging_directory) / f"{_prefix(application, kind)}{run_id}"


def staging_directories(application: Application, kind: RunKind) -> dict[int, str]:
    """Return the paths of the application's directories of that kind that are there, by the run's id."""
    return numbered(application.staging_directory, _prefix(application, kind))


def remove_old_safety_dumps(application: Application) -> None:
    """Remove the dumps that restores made of what they replaced, once they are older than their days; tell of failures.

    The clock is that of the disk's times: which runs they are of need not be known to any catalog.
    """
    oldest = time.time() - application.restore.safety_dump_days * 86400
    try:
        for path in staging_directories(application, "safety").values():
            with suppress(FileNotFoundError):
                if max(entry.stat().st_mtime for entry in (Path(path), *Path(path).iterdir())) < oldest:
                    remove_tree(path, below=application.staging_directory)
                    log.info("The safety dump %s is older than restore.safety_dump_days, and gone.", os.fspath(path))
    except (FileError, OSError) as error:
        log.warning("Old safety dumps could not be removed: %s", error)


def _prefix(application: Application, kind: RunKind) -> str:
    # Applications may share a staging directory, and ids count within one catalog only.
    return f"{application.name}-{kind}-"
