"""`dump_database` and `upload_database`: the database, dumped into staging, read through, and archived."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import PlannedArchive
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.scans import NAMED
from glacier_provider.core.archive import ArchiveKind
from glacier_provider.core.plan import megabytes
from glacier_provider.core.tables import parse_table
from glacier_provider.errors import FileMissing
from glacier_provider.files import DirectorySource, hash_source, open_source, prepare_staging, remove_tree
from glacier_provider.progress import Progress
from glacier_provider.stores.base import ArchiveStore, Source

if TYPE_CHECKING:
    from glacier_provider.postgres import Dump, DumpOptions
    from glacier_provider.postgres.server import Server

from glacier_provider.backup.references import references_file
from glacier_provider.backup.sending import Beating, describe, send
from glacier_provider.backup.working import dump_name, staging_of, working

log = logging.getLogger(__name__)


def dump_database(application: Application, backup_id: int, *, catalog: Catalog, server: Server) -> dict[str, Any]:
    """Dump the database into staging, read the dump through, hash it and plan its archive.

    Return a small dict with `archive_id`, `path`, `size` (bytes) and `sha256` (hex). When this backup's dump is
    already archived, or planned and still in staging, nothing is dumped again.
    """
    from glacier_provider.postgres import dump_database as pg_dump
    from glacier_provider.postgres import tools_for

    with working(catalog, backup_id, "the dump") as beat:
        if (earlier := _earlier_dump(application, backup_id, catalog)) is not None:
            log.info("The dump of backup %d was made by an earlier try; it is used.", backup_id)
            return earlier
        staging = staging_of(application, backup_id)
        remove_tree(staging, below=application.staging_directory)
        prepare_staging(application.staging_directory, staging.name)
        tools = tools_for(server, application.pg_bin_directory, compression=_compression_method(application))
        progress = Progress(log, "pg_dump", on_beat=beat)
        with references_file(application, staging) as references:
            dump = pg_dump(
                server,
                tools,
                _dump_options(application),
                staging / dump_name(application, backup_id),
                progress=progress.beat,
                references=references,
            )
        return _plan_dump(application, backup_id, dump, catalog=catalog)


def _dump_options(application: Application) -> DumpOptions:
    from glacier_provider.postgres import DumpFormat, DumpOptions

    dump = application.dump
    return DumpOptions(
        format=DumpFormat(dump.format),
        jobs=dump.jobs,
        compression=dump.compression,
        # The catalog is the backups' memory, not the application's data.
        exclude_schemas=(application.catalog_schema, *dump.exclude_schemas),
        exclude_tables=tuple(parse_table(name) for name in dump.exclude_tables),
        exclude_table_data=tuple(parse_table(name) for name in dump.exclude_table_data),
        lock_timeout_seconds=dump.lock_timeout_seconds,
        space_ratio=dump.space_ratio,
        references_query=application.references_query,
    )


def _compression_method(application: Application) -> str | None:
    return application.dump.compression.partition(":")[0] if application.dump.compression else None


def _earlier_dump(application: Application, backup_id: int, catalog: Catalog) -> dict[str, Any] | None:
    archive = catalog.archives.of_backup(backup_id, ArchiveKind.DATABASE)
    if archive is None:
        return None
    path = staging_of(application, backup_id) / archive["filename"]
    if archive["state"] == "archived" or path.exists():
        return {
            "archive_id": archive["id"],
            "path": str(path),
            "size": archive["original_size"],
            "sha256": archive["sha256"],
        }
    catalog.archives.drop_unsent_dump(backup_id, "Its dump was lost from staging before it was archived.")
    return None


def _plan_dump(application: Application, backup_id: int, dump: Dump, *, catalog: Catalog) -> dict[str, Any]:
    with dump_source(dump.path) as source:
        size, sha256 = source.size, hash_source(source)
    with catalog.transaction():  # what a later try finds planned is recorded with its backup, too
        archive_id = catalog.archives.plan_database(
            backup_id,
            filename=dump.path.name,
            size=size,
            sha256=sha256,
            encoding="tar" if dump.path.is_dir() else "identity",
            store_uri=application.store,
        )
        catalog.backups.record_dump(
            backup_id,
            archive_id=archive_id,
            snapshot_at=dump.snapshot_at,
            versions=(str(dump.server_version), str(dump.client_version)),
            dump_format=dump.format.value,
        )
        if dump.warnings:
            catalog.backups.add_to_report(backup_id, dump_warnings=list(dump.warnings[:NAMED]))
    log.info("The dump is verified: %s, SHA-256 %s.", megabytes(size), sha256)
    return {"archive_id": archive_id, "path": str(dump.path), "size": size, "sha256": sha256}


@contextmanager
def dump_source(path: Path) -> Iterator[Source]:
    """Open a dump for reading as one archive: a file as it is, a directory as a tar of its files."""
    if path.is_dir():
        with DirectorySource(path) as directory:
            yield directory
    else:
        with open_source(path.parent, path.name) as source:
            yield source


# Names that the references query gives are kept beside the dump, separated by NUL, which no file name holds.


def upload_database(
    application: Application, backup_id: int, *, catalog: Catalog, store: ArchiveStore
) -> dict[str, Any]:
    """Upload this backup's dump from staging; return `archive_id`, `bytes` and `checksum`.

    An upload that was cut goes on after the parts that the store confirmed.
    """
    with working(catalog, backup_id, "the upload of the dump") as beat:
        row = catalog.archives.of_backup(backup_id, ArchiveKind.DATABASE)
        if row is None:
            raise FileMissing(f"Backup {backup_id} has no dump to upload.", hint="Clear the task dump_database.")
        if row["state"] == "archived":
            return {"archive_id": row["id"], "bytes": row["stored_size"], "checksum": row["checksum"]}
        archive = PlannedArchive(row["id"], row["filename"], row["original_size"], backup_id, row["store_uri"])
        with dump_source(staging_of(application, backup_id) / archive.filename) as source:
            catalog.archives.begin_upload(archive.id)
            description = describe(
                application, archive, ArchiveKind.DATABASE, sha256=row["sha256"], encoding=row["encoding"]
            )
            upload = send(Beating(source, beat), description, catalog=catalog, store=store)
        catalog.archives.record_uploads([upload])
        assert upload.receipt is not None
        log.info("The dump is archived: %s, %s.", megabytes(upload.receipt.size), upload.receipt.checksum)
        return {"archive_id": archive.id, "bytes": upload.receipt.size, "checksum": upload.receipt.checksum}
