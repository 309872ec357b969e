"""`dump_database` and `upload_database`: the database, dumped, read through, and archived.

With a store at hand the dump is sent while it is made, and is an archive a moment after it is whole; what the store
refuses meanwhile, `upload_database` sends from staging. With ``dump.staging: none`` there is no copy to send from: the
dump goes through a pipe, and what breaks the way to the store breaks the dump. See docs/adr/0019.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import PlannedArchive
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.archive import ArchiveKind
from glacier_provider.core.parts import MIB, part_size_for
from glacier_provider.core.tables import parse_table
from glacier_provider.core.text import NAMED, readable_size
from glacier_provider.errors import CatalogError, ConfigurationError, FileMissing, StoreError
from glacier_provider.files import hash_source, open_source
from glacier_provider.pipelines.backup.archive import HeartbeatSource, describe, send
from glacier_provider.pipelines.backup.references import references_file
from glacier_provider.pipelines.backup.step import backup_step, dump_name
from glacier_provider.pipelines.backup.stream import Destination, DumpStream, StreamingUpload
from glacier_provider.pipelines.shared.progress import Progress
from glacier_provider.pipelines.shared.staging import staging_directory_of
from glacier_provider.staging import (
    DirectorySource,
    FileStream,
    Spool,
    TarStream,
    prepare_staging,
    read_layout,
    remove_tree,
    require_space,
    write_layout,
)
from glacier_provider.staging.stream import IN_MEMORY
from glacier_provider.stores.contract import ArchiveStore, Source, UploadedParts

if TYPE_CHECKING:
    from glacier_provider.postgres import Dump, PgDumpOptions, Server, Tools

log = logging.getLogger(__name__)

#: A dump is at most so many times as large as its database: definitions and indexes weigh nothing, but text that the
#: server keeps compressed comes out as it is.
COMPRESSED_GROWTH, PLAIN_GROWTH = 4, 16

#: Of a streamed dump: one part is being filled, the others are on their way.
KEPT_PARTS = 5


def dump_database(
    application: Application, backup_id: int, *, catalog: Catalog, server: Server, store: ArchiveStore | None = None
) -> dict[str, Any]:
    """Dump the database, read the dump through, hash it and plan its archive; with a store, send it meanwhile.

    Return a small dict with `archive_id`, `path`, `size` (bytes) and `sha256` (hex). When this backup's dump is
    already archived, planned and still in staging, or sent and verified, nothing is dumped again. Without a store the
    dump lies in staging, and `upload_database` sends it.
    """
    with backup_step(catalog, backup_id, "the dump") as heartbeat:
        if (earlier := _earlier_dump(application, backup_id, catalog, store)) is not None:
            log.info("The dump of backup %d was made by an earlier try; it is used.", backup_id)
            return earlier
        remove_tree(staging_directory_of(application, "backup", backup_id), below=application.staging_directory)
        prepare_staging(application.staging_directory, staging_directory_of(application, "backup", backup_id).name)
        task = _Task(application, backup_id, catalog, server, Progress(log, "pg_dump", on_heartbeat=heartbeat))
        if application.dump.staging == "none":
            if store is None:
                raise ConfigurationError("dump.staging is none, and there is no store to stream the dump to.")
            return task.stream(store)
        return task.directory(store) if task.options.format == "directory" else task.file()


class _Task:
    """One dump on its way, in one of three forms."""

    def __init__(
        self, application: Application, backup_id: int, catalog: Catalog, server: Server, progress: Progress
    ) -> None:
        from glacier_provider.postgres import tools_for

        self.application = application
        self.backup_id = backup_id
        self.catalog = catalog
        self.server = server
        self.progress = progress
        self.options = _dump_options(application)
        self.tools: Tools = tools_for(
            server, application.pg_bin_directory, compression=_compression_method(application)
        )
        self.staging = staging_directory_of(application, "backup", backup_id)
        self.name = dump_name(application, backup_id)

    def file(self) -> dict[str, Any]:
        """One file, which pg_dump writes into staging; `upload_database` sends it."""
        from glacier_provider.postgres import dump_to_path

        with references_file(self.application, self.staging) as references:
            dump = dump_to_path(
                self.server,
                self.tools,
                self.options,
                self.staging / self.name,
                progress=self.progress.heartbeat,
                references=references,
            )
        with open_source(self.staging, self.name) as source:
            size, sha256 = source.size, hash_source(source)
        return self._record(self._plan("identity"), dump, size=size, sha256=sha256)

    def directory(self, store: ArchiveStore | None) -> dict[str, Any]:
        """A directory in staging, which goes into a tar, and to the store, while it grows."""
        from glacier_provider.postgres import compressed_here, dump_to_path

        if compressed_here(self.tools, self.options):
            return self.compressed(store)
        tar = TarStream()
        with ExitStack() as opened:
            opened.callback(tar.close)
            way = self._way(store, encoding="tar")
            sending = opened.enter_context(self._sending(tar, way))
            with references_file(self.application, self.staging) as references:
                dump = dump_to_path(
                    self.server,
                    self.tools,
                    self.options,
                    self.staging / self.name,
                    progress=self.progress.heartbeat,
                    references=references,
                    pieces=tar,
                )
            tar.end()
            write_layout(tar.pieces, _layout_of(self.staging / self.name))
            sent = self._sent(way, sending)
            answer = self._record(way.archive.id, dump, size=tar.size, sha256=tar.sha256(), sent=sent)
        self._complete(way, sent)
        return answer

    def compressed(self, store: ArchiveStore | None) -> dict[str, Any]:
        """One file in staging, compressed here: this pg_dump compresses several times as slowly."""
        from glacier_provider.postgres import dump_to_stream

        path = self.staging / self.name
        with ExitStack() as opened:
            growing = opened.enter_context(FileStream(path.with_name(f"{path.name}.partial")))
            way = self._way(store, encoding="zstd")
            sending = opened.enter_context(self._sending(growing, way))
            with references_file(self.application, self.staging) as references:
                dump = dump_to_stream(
                    self.server,
                    self.tools,
                    self.options,
                    growing,
                    progress=self.progress.heartbeat,
                    references=references,
                    staging=self.staging,
                )
            growing.publish(path)
            sent = self._sent(way, sending)
            answer = self._record(way.archive.id, dump, size=growing.size, sha256=growing.sha256(), sent=sent)
        self._complete(way, sent)
        return answer

    def stream(self, store: ArchiveStore) -> dict[str, Any]:
        """A pipe into the store."""
        from glacier_provider.postgres import compressed_here, dump_to_stream

        encoding = "zstd" if compressed_here(self.tools, self.options) else "identity"
        part_size = self._part_size()
        if part_size > IN_MEMORY:
            require_space(self.staging, KEPT_PARTS * part_size)
        way = self._way(store, encoding=encoding)
        with (
            Spool(self.staging, part_size=part_size, parts=KEPT_PARTS) as spool,
            StreamingUpload(spool, way, part_size=part_size, least=0) as sending,
        ):
            with references_file(self.application, self.staging) as references:
                dump = dump_to_stream(
                    self.server,
                    self.tools,
                    self.options,
                    spool,
                    progress=self.progress.heartbeat,
                    references=references,
                )
            spool.end()
            sent = sending.wait(self.progress.heartbeat)
            assert sent is not None  # even the smallest stream goes in parts
            answer = self._record(way.archive.id, dump, size=spool.size, sha256=spool.sha256(), sent=sent)
        if way.complete(sent) is None:
            raise StoreError("The parts of the dump that were sent are no longer in the store.", hint=_AGAIN)
        log.info("The dump is archived: %s, %s.", readable_size(sent.size), sent.checksum)
        return answer

    # --- what they share ---

    def _part_size(self) -> int:
        from glacier_provider.postgres import database_size

        plain = (self.options.compression or "").startswith("none")
        bound = database_size(self.server) * (PLAIN_GROWTH if plain else COMPRESSED_GROWTH)
        return part_size_for(bound, preferred=self.application.part_size_mib * MIB)

    def _plan(self, encoding: str) -> int:
        """Plan an archive of which nothing is known yet: it gets its id, under which the store keeps it."""
        return self.catalog.archives.plan_database(
            self.backup_id,
            filename=self.name,
            size=0,
            sha256=None,
            encoding=encoding,
            store_uri=self.application.store,
        )

    def _way(self, store: ArchiveStore | None, *, encoding: str) -> Destination:
        archive = PlannedArchive(
            id=self._plan(encoding),
            filename=self.name,
            size=0,
            backup_id=self.backup_id,
            store_uri=self.application.store,
            written_by=self.catalog.writers.of(self.backup_id),
        )
        return _way_of(self.application, archive, encoding, catalog=self.catalog, store=store)

    def _sending(self, source: DumpStream, way: Destination) -> AbstractContextManager[StreamingUpload | None]:
        """Begin to send what grows in staging, if there is a store to send it to."""
        return nullcontext() if way.store is None else StreamingUpload(source, way, part_size=self._part_size())

    def _sent(self, way: Destination, sending: StreamingUpload | None) -> UploadedParts | None:
        """Wait until the store has every part; None when there was nothing to send yet, or the store was in trouble."""
        if sending is None:
            return None
        try:
            return sending.wait(self.progress.heartbeat)
        except (StoreError, CatalogError) as error:
            log.warning("The dump could not be sent while it was made; it will be sent from staging. %s", error)
            if not error.retryable:
                way.abandon()
        return None

    def _complete(self, way: Destination, sent: UploadedParts | None) -> None:
        """Make an archive of what was sent, or leave that to `upload_database`."""
        if sent is None:
            return
        try:
            if way.complete(sent) is not None:
                log.info("The dump is archived: %s, %s.", readable_size(sent.size), sent.checksum)
            else:
                log.warning("The store no longer has what was sent of the dump; it will be sent from staging.")
        except StoreError as error:
            log.warning("The dump could not be completed in the store; it will be sent from staging. %s", error)

    def _record(
        self, archive_id: int, dump: Dump, *, size: int, sha256: str, sent: UploadedParts | None = None
    ) -> dict[str, Any]:
        """Note that the dump is whole and verified, before it can become an archive."""
        with self.catalog.transaction():  # what a later try finds is recorded with its backup, too
            self.catalog.archives.dump_is_whole(
                archive_id, size=size, sha256=sha256, checksum=sent.checksum if sent is not None else None
            )
            self.catalog.backups.record_dump(
                self.backup_id,
                archive_id=archive_id,
                snapshot_at=dump.snapshot_at,
                versions=(str(dump.server_version), str(dump.client_version)),
                dump_format=dump.format.value,
            )
            if dump.warnings:
                self.catalog.backups.add_to_report(self.backup_id, dump_warnings=list(dump.warnings[:NAMED]))
            if dump.plain_size is not None:  # a restore has to have room for it
                self.catalog.backups.add_to_report(self.backup_id, dump_plain_bytes=dump.plain_size)
        log.info("The dump is verified: %s, SHA-256 %s.", readable_size(size), sha256)
        return {"archive_id": archive_id, "path": str(self.staging / self.name), "size": size, "sha256": sha256}


_AGAIN = "Clear the task dump_database: the dump is made again."


def _dump_options(application: Application) -> PgDumpOptions:
    from glacier_provider.postgres import DumpFormat, PgDumpOptions

    dump = application.dump
    return PgDumpOptions(
        format=DumpFormat(dump.format_used),
        jobs=dump.jobs_used,
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


def _way_of(
    application: Application, archive: PlannedArchive, encoding: str, *, catalog: Catalog, store: ArchiveStore | None
) -> Destination:
    description = describe(application, archive, ArchiveKind.DATABASE, encoding=encoding)
    return Destination(archive, replace(description, size=None), catalog, store)


def _earlier_dump(
    application: Application, backup_id: int, catalog: Catalog, store: ArchiveStore | None
) -> dict[str, Any] | None:
    """Return the dump that an earlier try made, if it was whole and there is still something to archive or archived."""
    row = catalog.archives.of_backup(backup_id, ArchiveKind.DATABASE)
    if row is None:
        return None
    path = staging_directory_of(application, "backup", backup_id) / row["filename"]
    whole = row["sha256"] is not None
    if row["state"] == "archived" or (whole and (path.exists() or _completed(application, row, catalog, store))):
        return {"archive_id": row["id"], "path": str(path), "size": row["original_size"], "sha256": row["sha256"]}
    if row["state"] == "planned" and not whole:
        return None  # nothing was sent of it: planned again, it is the same
    catalog.archives.drop_unsent_dump(
        backup_id,
        "Its dump was lost from staging before it was archived." if whole else "Its dump was not finished.",
    )
    if row["state"] == "uploading":
        _way_of(application, catalog.archives.planned(row), row["encoding"], catalog=catalog, store=store).abandon()
    return None


def _completed(application: Application, row: Row, catalog: Catalog, store: ArchiveStore | None) -> bool:
    """Complete a dump of which the store has every part, and that was verified, by a try that died before the end."""
    if store is None or row["checksum"] is None:
        return False
    way = _way_of(application, catalog.archives.planned(row), row["encoding"], catalog=catalog, store=store)
    return way.complete(UploadedParts(row["original_size"], row["checksum"])) is not None


def _layout_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.layout")


@contextmanager
def dump_source(path: Path) -> Iterator[Source]:
    """Open a dump for reading as one archive: a file as it is, a directory as a tar of its files."""
    if path.is_dir():
        with DirectorySource(path, pieces=read_layout(_layout_of(path))) as directory:
            yield directory
    else:
        with open_source(path.parent, path.name) as source:
            yield source


def upload_database(
    application: Application, backup_id: int, *, catalog: Catalog, store: ArchiveStore
) -> dict[str, Any]:
    """Upload this backup's dump from staging, unless it was sent while it was made; return `archive_id`, `bytes` and
    `checksum`.

    An upload that was cut goes on after the parts that the store confirmed.
    """
    with backup_step(catalog, backup_id, "the upload of the dump") as heartbeat:
        row = catalog.archives.of_backup(backup_id, ArchiveKind.DATABASE)
        if row is None or row["sha256"] is None:
            raise FileMissing(f"Backup {backup_id} has no dump to upload.", hint="Clear the task dump_database.")
        if row["state"] == "archived":
            return {"archive_id": row["id"], "bytes": row["stored_size"], "checksum": row["checksum"]}
        archive = catalog.archives.planned(row)
        path = staging_directory_of(application, "backup", backup_id) / row["filename"]
        if not path.exists():
            raise FileMissing(f"The dump {path} is no longer in staging.", hint="Clear the task dump_database.")
        with dump_source(path) as source:
            catalog.archives.begin_upload(archive.id)
            description = describe(
                application, archive, ArchiveKind.DATABASE, sha256=row["sha256"], encoding=row["encoding"]
            )
            upload = send(HeartbeatSource(source, heartbeat), description, catalog=catalog, store=store)
        catalog.archives.record_uploads([upload])
        assert upload.receipt is not None
        log.info("The dump is archived: %s, %s.", readable_size(upload.receipt.size), upload.receipt.checksum)
        return {"archive_id": archive.id, "bytes": upload.receipt.size, "checksum": upload.receipt.checksum}
