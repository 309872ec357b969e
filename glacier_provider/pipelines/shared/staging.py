"""Where the dump of a run is staged."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from glacier_provider.applications import Application
from glacier_provider.staging import numbered

RunKind = Literal["backup", "restore"]


def staging_directory_of(application: Application, kind: RunKind, run_id: int) -> Path:
    """Return the directory of a backup's or a restore's dump, whether it is there or not."""
    return Path(application.staging_directory) / f"{_prefix(application, kind)}{run_id}"


def staging_directories(application: Application, kind: RunKind) -> dict[int, str]:
    """Return the paths of the application's directories of that kind that are there, by the run's id."""
    return numbered(application.staging_directory, _prefix(application, kind))


def _prefix(application: Application, kind: RunKind) -> str:
    # Applications may share a staging directory, and ids count within one catalog only.
    return f"{application.name}-{kind}-"
