"""`restore_database`: the staged dump, in one transaction."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.tables import parse_table
from glacier_provider.errors import FileMissing
from glacier_provider.files import hash_source, open_source
from glacier_provider.files.root import file_errors
from glacier_provider.pipelines.shared.progress import Progress
from glacier_provider.staging import extract_tar, remove_tree, require_space

if TYPE_CHECKING:
    from glacier_provider.postgres import Selection, Server

from glacier_provider.pipelines.restore.step import restore_step
from glacier_provider.pipelines.shared.staging import staging_directory_of

log = logging.getLogger(__name__)


def restore_database(application: Application, restore_id: int, *, catalog: Catalog, server: Server) -> dict[str, Any]:
    """Restore the staged dump as a whole or not at all; return the numbers `restored` and `removed`, and `warnings`.

    In one transaction, or, with the mode `swap`, into a new database that takes the old one's name.

    The catalog's schema is excluded by identity, as are the application's own exclusions. Raise RestoreFailed (the
    database is as it was), SelectionConflict or MissingRoles (nothing was begun).
    """
    from glacier_provider.postgres import (
        Keep,
        PgRestoreOptions,
        check_swap,
        restore_by_swap,
        restore_in_transaction,
        table_of_contents,
        tools_for,
    )

    restore = catalog.restores.get(restore_id)
    request = RestoreRequest.from_params(restore["request"])
    if not request.database:
        return {"skipped": True}
    if restore["outcome"].get("database"):
        log.info("The database was restored by an earlier try of this restore.")
        return dict(restore["outcome"]["database"])
    with restore_step(catalog, restore_id, "the database") as heartbeat:
        dump = _staged_dump(application, restore_id, restore, catalog=catalog)
        compression = table_of_contents(dump).header.compression
        tools = tools_for(server, application.pg_bin_directory, compression=compression)
        progress = Progress(log, "pg_restore", on_heartbeat=heartbeat).heartbeat
        options = PgRestoreOptions(
            owner=Keep(application.restore.owner),
            privileges=Keep(application.restore.privileges),
            lock_timeout_seconds=application.restore.lock_timeout_seconds,
        )
        if application.restore.mode == "swap" and not request.tables:
            check_swap(server, catalog_schema=application.catalog_schema)
            mark = f"restore_{restore_id}_{restore['opened_at']:%Y%m%d%H%M%S}"
            jobs = application.restore.jobs
            restored = restore_by_swap(server, tools, dump, options, mark=mark, jobs=jobs, progress=progress)
        else:
            selection = _selection(application, request)
            restored = restore_in_transaction(server, tools, dump, selection, options, progress=progress)
        outcome = {"restored": restored.restored, "removed": restored.removed, "warnings": list(restored.warnings[:20])}
        catalog.restores.add_outcome(restore_id, database=outcome)
    return outcome


def _selection(application: Application, request: RestoreRequest) -> Selection:
    from glacier_provider.postgres import Selection

    return Selection(
        exclude_schemas=(application.catalog_schema, *application.restore.exclude_schemas),
        exclude_tables=tuple(parse_table(name) for name in application.restore.exclude_tables),
        tables=request.tables or None,
    )


def _staged_dump(application: Application, restore_id: int, restore: Row, *, catalog: Catalog) -> Path:
    backup = catalog.backups.get(restore["backup_id"])
    archive = catalog.archives.get(backup["database_archive_id"])
    path = staging_directory_of(application, "restore", restore_id) / str(archive["filename"])
    if not path.exists():
        catalog.restores.release_database(restore_id)
        raise FileMissing(
            f"The dump of backup {backup['id']} is not in staging ({path}).",
            hint="Clear the task download of this restore, or request_retrievals if its retrieval has expired.",
        )
    # Staging may be shared and the wait long: what is about to replace a database is hashed once more.
    with open_source(path.parent, path.name) as source:
        intact = archive["sha256"] in (None, hash_source(source))
    if not intact:
        raise FileMissing(
            f"The staged dump {path} is not what was archived.", hint="Remove it and clear the task download."
        )
    if archive["encoding"] == "zstd":
        # Without a known size at least what it takes compressed: a refusal must not be a guess.
        return _decompressed(
            application, path, needed=backup["report"].get("dump_plain_bytes") or archive["stored_size"]
        )
    if archive["encoding"] != "tar":
        return path
    unpacked = path.with_suffix(".directory")
    remove_tree(unpacked, below=application.staging_directory)
    require_space(application.staging_directory, archive["stored_size"])
    extract_tar(path, unpacked)
    return unpacked


def _decompressed(application: Application, path: Path, *, needed: int) -> Path:
    """Decompress a dump that was compressed on its way, since the client could not; pg_restore does not know that.

    Raise OutOfSpace, before anything is written, when there are not `needed` bytes free.
    """
    from glacier_provider.postgres import decompress

    plain = path.with_suffix(".plain")
    remove_tree(plain, below=application.staging_directory)
    require_space(application.staging_directory, needed)
    with file_errors("write", str(plain)):
        decompress(path, plain)
    return plain
