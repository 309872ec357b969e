"""The dump of the database that a restore is about to replace: made before anything is changed, kept for some days."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.text import readable_size
from glacier_provider.errors import DirectoryUnusable, FileMissing, IllegalMove
from glacier_provider.files import hash_source, open_source
from glacier_provider.pipelines.shared.staging import staging_directory_of
from glacier_provider.staging import prepare_staging

if TYPE_CHECKING:
    from glacier_provider.postgres import Server

log = logging.getLogger(__name__)


def make_safety_dump(
    application: Application, restore_id: int, server: Server, *, progress: Callable[[str], None], catalog: Catalog
) -> None:
    """Dump the living database into staging, read it through, and name it in the restore's outcome.

    Each try makes one of its own, since the database may be another by then; none takes the place of an earlier one.
    Raise what a dump raises, before anything was changed.
    """
    from glacier_provider.postgres import DumpFormat, PgDumpOptions, dump_to_path, tools_for

    directory = staging_directory_of(application, "safety", restore_id)
    prepare_staging(application.staging_directory, directory.name)
    made = list(catalog.restores.get(restore_id)["outcome"].get("safety_dumps", ()))
    number = 1 + len(made)
    while (path := directory / f"{application.name}-before-restore-{restore_id}-{number}.dump").exists():
        number += 1  # of a try that ended before it could note it
    options = PgDumpOptions(
        format=DumpFormat.CUSTOM,
        jobs=1,
        compression=application.dump.compression,
        exclude_schemas=(application.catalog_schema,),
        lock_timeout_seconds=application.dump.lock_timeout_seconds,
        space_ratio=application.dump.space_ratio,
    )
    method = (application.dump.compression or "").partition(":")[0] or None
    tools = tools_for(server, application.pg_bin_directory, compression=method)
    dump = dump_to_path(server, tools, options, path, progress=progress)
    with open_source(path.parent, path.name) as source:
        sha256 = hash_source(source)
    until = datetime.now(UTC) + timedelta(days=application.restore.safety_dump_days)
    noted = {
        "path": str(path),
        "bytes": dump.size,
        "sha256": sha256,
        "snapshot_at": dump.snapshot_at.isoformat(),
        "until": until.isoformat(),
        "undo": f"glacier-backup undo-database {restore_id}",
    }
    catalog.restores.add_outcome(restore_id, safety_dumps=[*made, noted])
    log.info(
        "The database as it is now is in %s (%s), until %s. To bring it back: %s",
        path,
        readable_size(dump.size),
        f"{until:%Y-%m-%d}",
        noted["undo"],
    )


def dumps_to_undo(application: str, restore: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the dumps that an ended restore of an application made of what it replaced; raise IllegalMove without."""
    made: list[dict[str, Any]] = restore["outcome"].get("safety_dumps") or []
    if restore["application"] != application or not made:
        raise IllegalMove(
            f"Restore {restore['id']} made no dump of the database that it replaced.",
            hint="Restores do with restore: {safety_dump: true}. To have an earlier state, restore another backup.",
        )
    if restore["state"] not in ("complete", "failed"):
        raise IllegalMove(
            f"Restore {restore['id']} is {restore['state']}: its database is not to be taken from under it.",
            hint="Wait until it ends, or end its run.",
        )
    return made


def chosen_dump(application: Application, restore: Mapping[str, Any], path: str | None) -> Path:
    """Return the dump that a restore made of what it replaced, the last one or that of `path`; it is read for that."""
    made = dumps_to_undo(application.name, restore)
    found = [one for one in made if path is None or one["path"] == path]
    if not found:
        raise IllegalMove(
            f"Restore {restore['id']} made no dump {path}.",
            hint=f"It made: {', '.join(one['path'] for one in made)}.",
        )
    chosen = found[-1]
    place = Path(chosen["path"])
    try:
        with open_source(place.parent, place.name) as source:
            intact = source.size == chosen["bytes"] and hash_source(source) == chosen["sha256"]
    except (FileMissing, DirectoryUnusable) as error:
        raise FileMissing(
            f"The dump {place} is not on this machine.",
            hint=f"It stays until {chosen['until']}. Run this on a worker that mounts its directory.",
        ) from error
    if not intact:
        raise FileMissing(f"{place} is not the dump that was made.", hint="Somebody changed it; nothing was restored.")
    return place


def safety_exclusions() -> dict[str, Any]:
    """Return what such a dump leaves out: nothing but the catalog, which no restore touches."""
    from glacier_provider.postgres import Exclusions

    return Exclusions().as_dict()
