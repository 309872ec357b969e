"""The backup pipeline, top to bottom as a daily run goes through it.

`open_backup` → `dump_database` → `scan_files` → `upload_database`, `upload_files` → `close_backup`

Each function is one task: it can be killed at any instant and called again with the same arguments. Everything that the
next one needs is in the catalog, in staging or in the store. The dump comes before the scan, so that every file
which the dump's snapshot names is in the scan, unless it was deleted meanwhile (promise 4).
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import ArchiveRange, PlannedArchive, Upload
from glacier_provider.catalog.backups import Run, lease_holder
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.catalog.scans import NAMED, Scan
from glacier_provider.core.archive import ArchiveKind, Description, Location, Receipt, name_from_bytes
from glacier_provider.core.manifest import manifest_lines
from glacier_provider.core.parts import MIB
from glacier_provider.core.plan import megabytes
from glacier_provider.core.tables import parse_table
from glacier_provider.errors import FileChanged, FileMissing, GlacierProviderError, OtherContent, StoreError
from glacier_provider.files import (
    DirectorySource,
    FileSource,
    Root,
    hash_source,
    numbered,
    open_source,
    prepare_staging,
    remove_tree,
    walk,
)
from glacier_provider.pool import in_parallel
from glacier_provider.progress import Progress
from glacier_provider.stores.base import ArchiveStore, Source

if TYPE_CHECKING:
    from glacier_provider.postgres import Dump, DumpOptions
    from glacier_provider.postgres.server import Server

log = logging.getLogger(__name__)

#: Files up to this size are sent by one request, read into memory whole; larger ones go in parts.
SMALL_FILE = 8 * MIB
#: Stands for the key of an empty file in a store that does not keep empty archives.
EMPTY_KEY = "empty:"
#: A group of uploads is committed when it has this many archives, or after this many seconds.
GROUP = 200
GROUP_SECONDS = 2.0
#: A mapped task is worth its start from this many files on.
SMALLEST_SHARE = 500


# --- open_backup ---------------------------------------------------------------------------------------------------


def open_backup(application: Application, run: Run, *, catalog: Catalog, store: ArchiveStore) -> int:
    """Return the id of this run's backup, opened or continued, with the application's lease in its hands.

    Everything that can be known to go wrong is looked at here, before anything is spent: the catalog (migrated
    if need be), the store, the directories.
    """
    catalog.migrate()
    with Root(application.files_directory):
        pass
    prepare_staging(application.staging_directory)
    store.check()
    backup_id = catalog.backups.open(run)
    _remove_dead_staging(application, catalog)
    log.info("Backup %d of %s is open.", backup_id, application.name)
    return backup_id


def _remove_dead_staging(application: Application, catalog: Catalog) -> None:
    """Remove the dumps of backups that ended without tidying up: of dead runs, which nobody would tidy up after."""
    staged = numbered(application.staging_directory, f"{application.name}-backup-")
    for ended in catalog.backups.ended(list(staged)):
        remove_tree(staged[ended], below=application.staging_directory)
        catalog.archives.drop_unsent_dump(ended, "Its run ended before it was archived.")


# --- dump_database -------------------------------------------------------------------------------------------------


def dump_database(application: Application, backup_id: int, *, catalog: Catalog, server: Server) -> dict[str, Any]:
    """Dump the database into staging, read the dump through, hash it and plan its archive.

    Return a small dict with `archive_id`, `path`, `size` (bytes) and `sha256` (hex). When this backup's dump is
    already archived, or planned and still in staging, nothing is dumped again.
    """
    from glacier_provider.postgres import dump_database as pg_dump
    from glacier_provider.postgres import tools_for

    with _working(catalog, backup_id, "the dump") as beat:
        if (earlier := _earlier_dump(application, backup_id, catalog)) is not None:
            log.info("The dump of backup %d was made by an earlier try; it is used.", backup_id)
            return earlier
        staging = _staging(application, backup_id)
        remove_tree(staging, below=application.staging_directory)
        prepare_staging(application.staging_directory, staging.name)
        tools = tools_for(server, application.pg_bin_directory, compression=_compression_method(application))
        progress = Progress(log, "pg_dump", on_beat=beat)
        with _references_file(application, staging) as references:
            dump = pg_dump(
                server,
                tools,
                _dump_options(application),
                staging / _dump_name(application, backup_id),
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
    path = _staging(application, backup_id) / archive["filename"]
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


@contextmanager
def _references_file(application: Application, staging: Path) -> Iterator[Callable[[list[str]], None] | None]:
    if not application.references_query:
        yield None
        return
    with open(staging / "references.partial", "wb") as file:

        def keep(names: list[str]) -> None:
            file.write(b"".join(name.encode() + b"\0" for name in names))

        yield keep
        file.flush()
        os.fsync(file.fileno())
    os.replace(staging / "references.partial", staging / "references")


def _referenced_names(application: Application, backup_id: int) -> Iterator[str]:
    rest = b""
    with open(_staging(application, backup_id) / "references", "rb") as file:
        while block := file.read(MIB):
            *names, rest = (rest + block).split(b"\0")
            yield from (name_from_bytes(name) for name in names)


# --- scan_files ----------------------------------------------------------------------------------------------------


def scan_files(application: Application, backup_id: int, *, catalog: Catalog) -> list[dict[str, int]]:
    """Walk the directory, note in the catalog what came and went, and return the ranges of archives to upload.

    At most `application.parallelism` ranges, each a dict of `first`, `last` (archive ids), `archives` and `bytes`.
    """
    with _working(catalog, backup_id, "the scan"):
        skipped: list[str] = []
        found = walk(
            application.files_directory,
            on_skip=lambda name, reason: skipped.append(f"{name}: {reason}"),
            exclude=application.exclude,
            leave_out=(application.orphan_directory, application.staging_directory),
        )
        scan = catalog.scans.record(backup_id, ((file.name, file.size) for file in found), store_uri=application.store)
        unarchived = _check_references(application, backup_id, catalog)
        _report_scan(catalog, backup_id, scan, skipped, unarchived)
        ranges = catalog.archives.unfinished_ranges(shares=application.parallelism, smallest=SMALLEST_SHARE)
        return [share.as_dict() for share in ranges]


def _check_references(application: Application, backup_id: int, catalog: Catalog) -> list[str] | None:
    if not application.references_query:
        return None
    return catalog.scans.unarchived_references(backup_id, _referenced_names(application, backup_id))


def _report_scan(
    catalog: Catalog, backup_id: int, scan: Scan, skipped: list[str], unarchived: list[str] | None
) -> None:
    log.info(
        "%d files (%s): %d new (%s), %d came back, %d vanished.",
        scan.files,
        megabytes(scan.bytes),
        scan.new_files,
        megabytes(scan.new_bytes),
        scan.returned,
        scan.vanished,
    )
    for row in scan.changed:
        log.warning(
            "%s was archived with %d bytes and now has %d; attached files must not change. The archive stays as it is.",
            row["name"],
            row["archived_size"],
            row["size"],
        )
    for line in skipped[:NAMED]:
        log.warning("Not archived, since only regular files are: %s", line)
    for name in (unarchived or [])[:NAMED]:
        log.warning("The database names the file %s, which is not in the directory.", name)
    catalog.backups.add_to_report(
        backup_id,
        changed_count=scan.changed_count,
        changed=scan.changed,
        skipped_count=len(skipped),
        skipped=skipped[:NAMED],
        unarchived_references_count=None if unarchived is None else len(unarchived),
        unarchived_references=(unarchived or [])[:NAMED],
    )


# --- upload_database, upload_files ---------------------------------------------------------------------------------


def upload_database(
    application: Application, backup_id: int, *, catalog: Catalog, store: ArchiveStore
) -> dict[str, Any]:
    """Upload this backup's dump from staging; return `archive_id`, `bytes` and `checksum`.

    An upload that was cut goes on after the parts that the store confirmed.
    """
    with _working(catalog, backup_id, "the upload of the dump") as beat:
        row = catalog.archives.of_backup(backup_id, ArchiveKind.DATABASE)
        if row is None:
            raise FileMissing(f"Backup {backup_id} has no dump to upload.", hint="Clear the task dump_database.")
        if row["state"] == "archived":
            return {"archive_id": row["id"], "bytes": row["stored_size"], "checksum": row["checksum"]}
        archive = PlannedArchive(row["id"], row["filename"], row["original_size"], backup_id, row["store_uri"])
        with dump_source(_staging(application, backup_id) / archive.filename) as source:
            catalog.archives.begin_upload(archive.id)
            description = _describe(
                application, archive, ArchiveKind.DATABASE, sha256=row["sha256"], encoding=row["encoding"]
            )
            upload = _send(_Beating(source, beat), description, catalog=catalog, store=store)
        catalog.archives.record_uploads([upload])
        assert upload.receipt is not None
        log.info("The dump is archived: %s, %s.", megabytes(upload.receipt.size), upload.receipt.checksum)
        return {"archive_id": archive.id, "bytes": upload.receipt.size, "checksum": upload.receipt.checksum}


def upload_files(
    application: Application, backup_id: int, wanted: ArchiveRange, *, catalog: Catalog, store: ArchiveStore
) -> dict[str, int]:
    """Upload the planned files of a range, many at a time; return `archives` and `bytes` that were sent.

    What is finished is committed in groups. A file that vanished is no longer part of the backup. A file that is still
    being written is left for the next try, and the task fails at its end with FileChanged, naming it.
    """
    with (
        _working(catalog, backup_id, f"the upload of {wanted.first}") as beat,
        Root(application.files_directory) as root,
    ):
        progress = Progress(log, "Uploaded", archives=wanted.archives, size=wanted.bytes, on_beat=beat)
        sender = _FileSender(application, root, catalog=catalog, store=store, progress=progress)
        for page in catalog.archives.unfinished_files(wanted):
            sender.send(page)
        progress.say()
        sender.raise_errors()
        return {"archives": progress.archives, "bytes": progress.bytes}


class _FileSender:
    """Uploads pages of planned files: small ones in threads, large ones one by one, in parts that go in threads."""

    def __init__(
        self, application: Application, root: Root, *, catalog: Catalog, store: ArchiveStore, progress: Progress
    ) -> None:
        self._application = application
        self._root = root
        self._catalog = catalog
        self._store = store
        self._progress = progress
        self._done: list[Upload] = []
        self._gone: list[int] = []
        self._committed_at = time.monotonic()
        self._errors: list[tuple[str, GlacierProviderError]] = []
        self._trouble: StoreError | None = None

    def send(self, page: list[PlannedArchive]) -> None:
        small = [archive for archive in page if archive.size <= SMALL_FILE]
        try:
            sent = in_parallel(self._send_small, self._while_well(small), workers=self._application.connections)
            for archive, upload in sent:
                self._note(archive, upload)
            for archive in self._while_well(page):
                if archive.size > SMALL_FILE:
                    self._note(archive, _caught(self._send_large, archive))
        finally:
            # Whatever ends this page, what the store confirmed is remembered.
            self._commit()
        if self._trouble is not None:
            raise self._trouble

    def _while_well(self, archives: list[PlannedArchive]) -> Iterator[PlannedArchive]:
        """Yield archives until the store is in trouble; what is under way then comes to its end and is noted."""
        for archive in archives:
            if self._trouble is not None:
                return
            yield archive

    def _send_small(self, archive: PlannedArchive) -> Upload:
        with self._open(archive) as source:
            if source.size > 2 * SMALL_FILE:
                raise FileChanged(f"{archive.filename!r} grew to {source.size} bytes while it was archived.")
            data = source.read_at(0, source.size)
            source.verify_unchanged()
        sha256 = hashlib.sha256(data).hexdigest()
        if not data and not self._store.features.keeps_empty_archives:
            # Catalog and manifest hold all there is to know of it; a restore makes it again.
            nowhere = Location(archive.store_uri, f"{EMPTY_KEY}{archive.id}")
            return Upload(archive.id, Receipt(nowhere, 0, f"sha256:{sha256}"), sha256)
        description = _describe(self._application, archive, ArchiveKind.FILE, size=len(data), sha256=sha256)
        return Upload(archive.id, self._store.put(data, description), sha256)

    def _send_large(self, archive: PlannedArchive) -> Upload:
        with self._open(archive) as source:
            description = _describe(self._application, archive, ArchiveKind.FILE, size=source.size)
            return _send(_Steady(source), description, catalog=self._catalog, store=self._store)

    def _open(self, archive: PlannedArchive) -> FileSource:
        """Open a file; one written just now gets the time to be finished, a slower writer is left for the next try."""
        seconds = self._application.settle_seconds
        try:
            return open_source(self._root, archive.filename, settle_seconds=seconds, now=time.time())
        except FileChanged:
            time.sleep(seconds)
            return open_source(self._root, archive.filename, settle_seconds=seconds, now=time.time())

    def _note(self, archive: PlannedArchive, upload: Upload | GlacierProviderError) -> None:
        if isinstance(upload, OtherContent):
            # An earlier try sent it, and died before the catalog knew; then the file changed.
            log.warning("%s changed after it was sent; it is archived again as it is now.", archive.filename)
            archive = self._catalog.archives.plan_again(archive)
            upload = _caught(self._send_large if archive.size > SMALL_FILE else self._send_small, archive)
        if isinstance(upload, Upload) and upload.receipt is not None:
            self._done.append(upload)
            self._progress.add(1, upload.receipt.size)
        elif isinstance(upload, FileMissing):
            self._gone.append(archive.id)
            log.warning("%s vanished before it was archived.", archive.filename)
        elif isinstance(upload, GlacierProviderError):
            self._done.append(Upload(archive.id, error=str(upload)))
            self._errors.append((archive.filename, upload))
            if isinstance(upload, StoreError) and len(self._errors) > self._application.connections:
                self._trouble = upload  # not this file's: the store's
        if len(self._done) >= GROUP or time.monotonic() - self._committed_at > GROUP_SECONDS:
            self._commit()

    def _commit(self) -> None:
        self._catalog.archives.record_uploads(self._done)
        self._catalog.archives.drop_vanished(self._gone)
        self._done, self._gone, self._committed_at = [], [], time.monotonic()

    def raise_errors(self) -> None:
        """Raise the gravest error of all files, with the number of files and some names; return when there is none."""
        if not self._errors:
            return
        for name, error in self._errors[:NAMED]:
            log.error("%s: %s", name, error)
        names = ", ".join(name for name, _ in self._errors[:5])
        gravest = next((error for _, error in self._errors if not error.retryable), self._errors[0][1])
        raise type(gravest)(
            f"{len(self._errors)} files could not be archived ({names}): {gravest.message}", hint=gravest.hint
        ) from gravest


def _caught(work: Callable[[PlannedArchive], Upload], archive: PlannedArchive) -> Upload | GlacierProviderError:
    try:
        return work(archive)
    except GlacierProviderError as error:
        return error


def _send(source: Source, description: Description, *, catalog: Catalog, store: ArchiveStore) -> Upload:
    """Send one archive by one request, or in parts when it is large."""
    if source.size <= SMALL_FILE:
        receipt = store.put(source.read_at(0, source.size), description)
    else:
        receipt = store.put_large(source, description, catalog.archives.journal(description.archive_id))
    return Upload(description.archive_id, receipt, description.sha256)


def _describe(
    application: Application,
    archive: PlannedArchive,
    kind: ArchiveKind,
    *,
    size: int | None = None,
    sha256: str | None = None,
    encoding: str = "identity",
) -> Description:
    return Description(
        application=application.name,
        kind=kind,
        archive_id=archive.id,
        backup_id=archive.backup_id,
        filename=archive.filename,
        size=archive.size if size is None else size,
        sha256=sha256,
        encoding=encoding,
    )


class _Steady:
    """A source whose every byte is read while the file is what it was when it was opened.

    Looked at before the upload is completed: a completed archive of a changed file would stand in its own way.
    """

    def __init__(self, source: FileSource) -> None:
        self._source = source
        self.size = source.size

    def read_at(self, start: int, size: int) -> bytes:
        data = self._source.read_at(start, size)
        self._source.verify_unchanged()
        return data


class _Beating:
    """A source that keeps the lease alive while it is read."""

    def __init__(self, source: Source, beat: Callable[[], None]) -> None:
        self._source = source
        self._beat = beat
        self.size = source.size

    def read_at(self, start: int, size: int) -> bytes:
        self._beat()
        return self._source.read_at(start, size)


# --- close_backup --------------------------------------------------------------------------------------------------


def close_backup(application: Application, backup_id: int, *, catalog: Catalog, store: ArchiveStore) -> dict[str, Any]:
    """Write the manifest, complete the backup if promise 1 holds, free the lease and staging; return its figures.

    A backup that an earlier try completed is tidied up after.
    """
    if catalog.backups.get(backup_id)["state"] != "complete":
        with _working(catalog, backup_id, "the end"):
            _abandon_uploads(application, catalog=catalog, store=store)
            previous = _previous_of_manifest(catalog, backup_id)
            manifest_id = _archive_manifest(application, backup_id, previous, catalog=catalog, store=store)
            catalog.backups.complete(backup_id, manifest_archive_id=manifest_id, previous_backup_id=previous or None)
    catalog.backups.free_lease(lease_holder("backup", backup_id))
    remove_tree(_staging(application, backup_id), below=application.staging_directory)
    figures = _figures(catalog, backup_id)
    log.info(
        "Backup %d is complete: database %s, %d files (%s), of them %d new; %s uploaded.",
        backup_id,
        megabytes(figures["database_bytes"]),
        figures["files_count"],
        megabytes(figures["files_bytes"]),
        figures["new_files_count"],
        megabytes(figures["uploaded_bytes"]),
    )
    return figures


def _abandon_uploads(application: Application, *, catalog: Catalog, store: ArchiveStore) -> None:
    """Abort what was half sent of archives that were given up: a store charges for such parts and hides them."""
    for archive, kind in catalog.archives.abandoned_uploads(application.store):
        store.abandon(_describe(application, archive, kind))
        catalog.archives.journal(archive.id).forget()


def _previous_of_manifest(catalog: Catalog, backup_id: int) -> int:
    """Return the backup whose manifest this one continues, or 0 for a manifest that lists every file.

    A manifest holds changes only, so that its size follows the change and not the number of files (promise 12). Once
    the changes since the last full one outweigh the files, a full one costs no more than they did.
    """
    previous = catalog.backups.newest_complete(before=backup_id)
    changes = catalog.archives.changes_since_full_manifest(backup_id)
    if previous is None or changes is None:
        return 0
    return previous if changes <= max(catalog.backups.get(backup_id)["files_count"], 100) else 0


def _archive_manifest(
    application: Application, backup_id: int, previous: int, *, catalog: Catalog, store: ArchiveStore
) -> int:
    data = gzip.compress(b"".join(_manifest(backup_id, previous, catalog)), mtime=0)
    filename, sha256 = f"{backup_id:012d}.json.gz", hashlib.sha256(data).hexdigest()
    earlier = catalog.archives.of_backup(backup_id, ArchiveKind.MANIFEST)
    if earlier is not None and earlier["state"] == "uploading" and earlier["sha256"] != sha256:
        _withdraw_manifest(application, earlier, store=store)
    planned = catalog.archives.plan_manifest(
        backup_id, filename=filename, size=len(data), sha256=sha256, store_uri=application.store
    )
    if planned["state"] != "archived":
        archive = PlannedArchive(planned["id"], filename, len(data), backup_id, application.store)
        description = _describe(application, archive, ArchiveKind.MANIFEST, sha256=sha256, encoding="gzip")
        catalog.archives.begin_upload(archive.id)
        catalog.archives.record_uploads([Upload(archive.id, store.put_manifest(data, description), sha256)])
    return int(planned["id"])


def _withdraw_manifest(application: Application, earlier: Row, *, store: ArchiveStore) -> None:
    """Delete a manifest that an earlier try of this backup may have left, and that the backup has outgrown.

    Only what says by archive id and SHA-256 that it is the one that the catalog meant to send.
    """
    if not store.features.chooses_keys:
        return
    for found in store.archives(application.name, kind=ArchiveKind.MANIFEST):
        told = found.description
        if told is not None and (told.archive_id, told.sha256) == (earlier["id"], earlier["sha256"]):
            log.info("A manifest that an earlier try wrote is replaced: %s.", found.key)
            store.delete(Location(store.uri, found.key))


def _manifest(backup_id: int, previous: int, catalog: Catalog) -> Iterator[bytes]:
    backup = catalog.backups.get(backup_id)
    database = catalog.archives.get(backup["database_archive_id"])
    told = {name: backup[name] for name in _TOLD_OF_BACKUP}
    head = {**told, "previous": previous or None, "database": {name: database[name] for name in _TOLD_OF_ARCHIVE}}
    return manifest_lines(
        head, catalog.archives.added_since(previous, backup_id), catalog.archives.removed_since(previous, backup_id)
    )


_TOLD_OF_BACKUP = (
    "id",
    "application",
    "dag_id",
    "dag_run_id",
    "opened_at",
    "snapshot_at",
    "scanned_at",
    "server_version",
    "client_version",
    "dump_format",
    "files_count",
    "files_bytes",
    "new_files_count",
    "new_files_bytes",
    "vanished_count",
    "returned_count",
    "report",
)
_TOLD_OF_ARCHIVE = (
    "id",
    "filename",
    "original_size",
    "stored_size",
    "sha256",
    "checksum",
    "encoding",
    "store_uri",
    "key",
    "archived_at",
)


def _figures(catalog: Catalog, backup_id: int) -> dict[str, Any]:
    backup = catalog.backups.get(backup_id)
    uploaded = catalog.backups.uploaded_figures(backup_id)
    names = (
        "application",
        "state",
        "database_bytes",
        "files_count",
        "files_bytes",
        "new_files_count",
        "new_files_bytes",
    )
    return {
        "backup_id": backup_id,
        **{name: backup[name] for name in names},
        "vanished_count": backup["vanished_count"],
        "uploaded_files": uploaded["files"],
        "uploaded_bytes": uploaded["bytes"],
        "unarchived_references": backup["report"].get("unarchived_references_count"),
        "seconds": round((backup["closed_at"] - backup["opened_at"]).total_seconds(), 1),
    }


# --- what every step shares ----------------------------------------------------------------------------------------


@contextmanager
def _working(catalog: Catalog, backup_id: int, step: str) -> Iterator[Callable[[], None]]:
    """Hold the lease for a step; yields a function that prolongs it, at most every half minute.

    Raise LeaseHeld when another run has the lease, or when another process of this run is at the same step: a worker
    that was given up may still be alive. Raise IllegalMove when the backup is complete or a later one began.
    """
    holder = lease_holder("backup", backup_id)
    catalog.backups.go_on(backup_id)
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last > 30:
            last = time.monotonic()
            catalog.backups.take_lease(holder)

    with catalog.alone(f"{step} of {holder}"):
        yield beat


def _staging(application: Application, backup_id: int) -> Path:
    # Applications may share a staging directory, and backup ids count within one catalog only.
    return Path(application.staging_directory) / f"{application.name}-backup-{backup_id}"


def _dump_name(application: Application, backup_id: int) -> str:
    return f"{application.name}-{backup_id}.dump"
