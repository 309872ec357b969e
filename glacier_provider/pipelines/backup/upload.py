"""`upload_database` and `upload_files`: what is not in the store yet, the files many at a time, each archived once."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import ArchiveRange, EarlierVersion, PlannedArchive, Upload
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.archive import EMPTY_KEY, ArchiveKind, Description, Location, Receipt
from glacier_provider.core.checksum import Verifier
from glacier_provider.core.parts import MIB, SMALL_FILE
from glacier_provider.core.text import readable_size
from glacier_provider.errors import FileChanged, FileMissing, GlacierProviderError, OtherContent, StoreError, UnsafePath
from glacier_provider.files import FileSource, Root, open_source
from glacier_provider.files.walk import require_not_emptied
from glacier_provider.pipelines.backup.open import skip_ids_in_use
from glacier_provider.pipelines.backup.step import backup_step, is_complete
from glacier_provider.pipelines.backup.unreadable import settle_unreadable
from glacier_provider.pipelines.shared.group import GROUP, GroupCommit
from glacier_provider.pipelines.shared.parallel import in_parallel
from glacier_provider.pipelines.shared.progress import Progress
from glacier_provider.pipelines.shared.staging import NOT_SHARED, staging_directory_of
from glacier_provider.staging import DirectorySource, layout_path, read_layout
from glacier_provider.stores.contract import ArchiveStore, HasUploadPool, Pool, SentFile, SmallFiles, Source

log = logging.getLogger(__name__)

_Outcome = Upload | EarlierVersion | GlacierProviderError
_Outcomes = Iterator[tuple[PlannedArchive, _Outcome]]

#: A group of uploads is committed after this time, too; and is larger where thousands are sent a second.
GROUP_SECONDS = 2.0
POOL_GROUP = 500
#: Processes take a quarter of a second to start: fewer files are sent sooner without them.
POOL_FROM = 300


def upload_database(
    application: Application, backup_id: int, *, catalog: Catalog, store: ArchiveStore
) -> dict[str, Any]:
    """Upload this backup's dump from staging, unless it was sent while it was made; return `archive_id`, `bytes` and
    `checksum`.

    An upload that was cut goes on after the parts that the store confirmed.
    """
    if is_complete(backup_id, catalog=catalog):
        done = catalog.archives.get(catalog.backups.get(backup_id)["database_archive_id"])
        return {"archive_id": done["id"], "bytes": done["stored_size"], "checksum": done["checksum"]}
    with backup_step(catalog, backup_id, "the upload of the dump", task="upload_database") as heartbeat:
        row = catalog.archives.of_backup(backup_id, ArchiveKind.DATABASE)
        if row is None or row["sha256"] is None:
            raise FileMissing(f"Backup {backup_id} has no dump to upload.", hint="Clear the task dump_database.")
        if row["state"] == "archived":
            return {"archive_id": row["id"], "bytes": row["stored_size"], "checksum": row["checksum"]}
        archive = catalog.archives.planned(row)
        path = staging_directory_of(application, "backup", backup_id) / row["filename"]
        if not path.exists():
            hint = f"Clear the task dump_database. {NOT_SHARED}"
            raise FileMissing(f"The dump {path} is no longer in staging.", hint=hint)
        with _dump_source(path) as source:
            sending = HeartbeatSource(source, heartbeat)
            try:
                upload = _send_dump(application, archive, row, sending, catalog=catalog, store=store)
            except OtherContent as error:
                log.warning("The dump is archived under another id. %s", error.message)
                skip_ids_in_use(application, catalog=catalog, store=store)
                archive = catalog.archives.plan_dump_again(archive)
                upload = _send_dump(application, archive, row, sending, catalog=catalog, store=store)
        catalog.archives.record_uploads([upload])
        assert upload.receipt is not None
        log.info("The dump is archived: %s, %s.", readable_size(upload.receipt.size), upload.receipt.checksum)
        return {"archive_id": archive.id, "bytes": upload.receipt.size, "checksum": upload.receipt.checksum}


def _send_dump(
    application: Application,
    archive: PlannedArchive,
    row: Row,
    source: Source,
    *,
    catalog: Catalog,
    store: ArchiveStore,
) -> Upload:
    catalog.archives.begin_upload(archive.id)
    description = archive.description(
        application.name, ArchiveKind.DATABASE, sha256=row["sha256"], encoding=row["encoding"]
    )
    return _send(source, description, catalog=catalog, store=store)


def _dump_source(path: Path) -> FileSource | DirectorySource:
    """Open a dump for reading as one archive: a file as it is, a directory as a tar of its files."""
    if path.is_dir():
        return DirectorySource(path, pieces=read_layout(layout_path(path)))
    return open_source(path.parent, path.name)


def upload_files(
    application: Application,
    backup_id: int,
    wanted: ArchiveRange,
    *,
    catalog: Catalog,
    store: ArchiveStore,
    last_try: bool = False,
) -> dict[str, int]:
    """Upload the planned files of a range, many at a time; return `archives` and `bytes` that were sent, and how many
    files are `unreadable`.

    What is finished is committed in groups. A file that vanished is no longer part of the backup, nor is one whose name
    something else has by now: a link, a directory, or, of a part of its path, a file. A file that is still
    being written, or that the disk does not give, is left for the next try, and the task fails at its end, naming it;
    in the last try it is left out as the application says (`scan.unreadable`).
    """
    if is_complete(backup_id, catalog=catalog):
        return {"archives": 0, "bytes": 0}
    with (
        backup_step(catalog, backup_id, f"the upload of {wanted.first}", task="upload_files") as heartbeat,
        Root(application.files_directory) as root,
    ):
        progress = Progress(log, "Uploaded", archives=wanted.archives, size=wanted.bytes, on_heartbeat=heartbeat)
        with _upload_pool(application, wanted, store) as pool:
            sender = _FileSender(application, root, catalog=catalog, store=store, progress=progress, pool=pool)
            for page in catalog.archives.unfinished_files(wanted):
                sender.send(page)
            sender.finish()
        progress.say()
        unread = settle_unreadable(application, backup_id, sender.errors, catalog=catalog, last_try=last_try)
        return {"archives": progress.archives, "bytes": progress.bytes, "unreadable": unread}


def _upload_pool(
    application: Application, wanted: ArchiveRange, store: ArchiveStore
) -> AbstractContextManager[Pool[PlannedArchive, SentFile] | None]:
    """Return processes for the files of a range; None where these are few, or the store has no use for processes."""
    processes = min(application.upload_processes, os.cpu_count() or 1)
    if processes == 0 or wanted.archives < POOL_FROM or not isinstance(store, HasUploadPool):
        return nullcontext()
    files = SmallFiles(
        application=application.name,
        directory=application.files_directory,
        settle_seconds=application.settle_seconds,
        largest=SMALL_FILE,
    )
    return store.upload_pool(files, processes=processes, connections=application.connections) or nullcontext()


class _FileSender:
    """Uploads pages of planned files: small ones by the pool, or in threads; large ones one by one, in parts that go in
    threads.
    """

    def __init__(
        self,
        application: Application,
        root: Root,
        *,
        catalog: Catalog,
        store: ArchiveStore,
        progress: Progress,
        pool: Pool[PlannedArchive, SentFile] | None,
    ) -> None:
        self._application = application
        self._root = root
        self._catalog = catalog
        self._store = store
        self._progress = progress
        self._pool = pool
        self._done: GroupCommit[Upload] = GroupCommit(
            catalog.archives.record_uploads, size=GROUP if pool is None else POOL_GROUP, seconds=GROUP_SECONDS
        )
        self._gone: GroupCommit[int] = GroupCommit(self._drop, seconds=GROUP_SECONDS)
        self.errors: list[tuple[PlannedArchive, GlacierProviderError]] = []
        self._same: GroupCommit[EarlierVersion] = GroupCommit(catalog.archives.take_earlier_versions)
        self._trouble: StoreError | None = None

    def send(self, page: list[PlannedArchive]) -> None:
        with self._same, self._gone:
            page = list(self._compared(page))
        small = [archive for archive in page if archive.size <= SMALL_FILE]
        with self._gone, self._done:  # whatever ends this page, what the store confirmed is remembered
            for archive, upload in self._sent(small):
                self._note(archive, upload)
            large = [archive for archive in page if archive.size > SMALL_FILE]
            if large:
                self.finish()  # a large file takes its time: what is done before it is known before it
            for archive in self._while_well(large):
                self._gone.commit()
                self._done.commit()
                self._note(archive, _caught(self._send_large, archive))
        if self._trouble is not None:
            self.finish()
            raise self._trouble

    def finish(self) -> None:
        """Note what the pool has still on its way."""
        if self._pool is not None:
            with self._gone, self._done:
                for archive, upload in self._careful_where_needed(self._pool.rest()):
                    self._note(archive, upload)

    def _compared(self, page: list[PlannedArchive]) -> Iterator[PlannedArchive]:
        """Yield what has to be sent: what has the content of an earlier archive of its name is noted as that one."""
        doubtful = [archive for archive in page if archive.to_compare]
        yield from (archive for archive in page if not archive.to_compare)
        if not doubtful:
            return
        versions = self._catalog.archives.earlier_versions([archive.id for archive in doubtful])
        answers = in_parallel(
            lambda archive: self._same_content(archive, versions.get(archive.id, [])),
            doubtful,
            workers=self._application.connections,
        )
        for archive, answer in answers:
            if answer is None:
                yield archive
            else:
                self._note(archive, answer)

    def _same_content(self, archive: PlannedArchive, versions: list[EarlierVersion]) -> EarlierVersion | None:
        """Read a file; return the archive that has its content, None when there is none."""
        with self._open(archive) as source:
            found = [(version, Verifier(version.checksum)) for version in versions if version.size == source.size]
            for start in range(0, source.size if found else 0, MIB):
                self._progress.heartbeat()
                data = source.read_at(start, min(MIB, source.size - start))
                for _, verifier in found:
                    verifier.update(data)
            return next((version for version, verifier in found if verifier.matches()), None)

    def _sent(self, small: list[PlannedArchive]) -> _Outcomes:
        if self._pool is None:
            return self._sent_with_care(small)
        return self._careful_where_needed(self._pool.send(self._while_well(small)))

    def _sent_with_care(self, small: list[PlannedArchive]) -> _Outcomes:
        return in_parallel(
            self._send_small,
            self._while_well(small),
            workers=self._application.connections,
            meanwhile=self._commit_if_late,
        )

    def _commit_if_late(self) -> None:
        self._done.commit_if_late()
        self._gone.commit_if_late()

    def _careful_where_needed(self, answers: Iterator[tuple[PlannedArchive, SentFile | None]]) -> _Outcomes:
        """Yield uploads that the pool could prove; what it could not is sent again, with care, some at a time."""
        refused: list[PlannedArchive] = []
        for archive, sent in answers:
            if sent is not None:
                receipt = Receipt(Location(self._store.uri, sent.key), sent.size, f"sha256:{sent.sha256}")
                yield archive, Upload(archive.id, receipt, sent.sha256)
            else:
                refused.append(archive)
            if len(refused) >= GROUP:
                yield from self._sent_with_care(refused)
                refused = []
        yield from self._sent_with_care(refused)

    def _while_well(self, archives: list[PlannedArchive]) -> Iterator[PlannedArchive]:
        """Yield archives until the store is in trouble; what is under way then comes to its end and is noted."""
        for archive in archives:
            if self._trouble is not None:
                return
            yield archive

    def _send_small(self, archive: PlannedArchive) -> Upload:
        with self._open(archive) as source:
            if source.size > 2 * SMALL_FILE:
                raise FileChanged(f"{archive.filename!r} grew to {source.size:,} bytes while it was archived.")
            data = source.read_at(0, source.size)
        sha256 = hashlib.sha256(data).hexdigest()
        if not data and not self._store.features.keeps_empty_archives:
            # Catalog and manifest hold all there is to know of it; a restore makes it again.
            nowhere = Location(self._store.uri, f"{EMPTY_KEY}{archive.id}")
            return Upload(archive.id, Receipt(nowhere, 0, f"sha256:{sha256}"), sha256)
        description = archive.description(self._application.name, ArchiveKind.FILE, size=len(data), sha256=sha256)
        return Upload(archive.id, self._store.put(data, description), sha256)

    def _send_large(self, archive: PlannedArchive) -> Upload:
        with self._open(archive) as source:
            description = archive.description(self._application.name, ArchiveKind.FILE, size=source.size)
            return _send(
                HeartbeatSource(source, self._progress.heartbeat), description, catalog=self._catalog, store=self._store
            )

    def _open(self, archive: PlannedArchive) -> FileSource:
        """Open a file; one written just now gets the time to be finished, a slower writer is left for the next try.

        Nothing tells when a writer is done but that the file stays as it is for so long: also to a worker whose clock
        is behind that of the file system, by which all that was written lately will be.
        """
        seconds = self._application.settle_seconds
        try:
            return open_source(self._root, archive.filename, settle_seconds=seconds, now=time.time())
        except FileChanged:
            with open_source(self._root, archive.filename) as before:
                stamp = before.stamp
            time.sleep(seconds)
            source = open_source(self._root, archive.filename)
            if source.stamp == stamp:
                return source
            source.close()
            raise

    def _drop(self, archive_ids: list[int]) -> None:
        require_not_emptied(self._root)
        self._catalog.archives.drop_vanished(archive_ids)

    def _note(self, archive: PlannedArchive, upload: _Outcome) -> None:
        if isinstance(upload, OtherContent):
            # An earlier try sent it, and died before the catalog knew; then the file changed, or the catalog moved.
            log.warning("%s is archived again, under another id. %s", archive.filename, upload.message)
            archive = self._catalog.archives.plan_again(archive)
            upload = _caught(self._send_large if archive.size > SMALL_FILE else self._send_small, archive)
        if isinstance(upload, Upload) and upload.receipt is not None:
            self._done.add(replace(upload, grew=0 if archive.begun else upload.receipt.size - archive.size))
            self._progress.add(1, upload.receipt.size)
        elif isinstance(upload, EarlierVersion):
            self._same.add(upload)
        elif isinstance(upload, FileMissing | UnsafePath):  # the scan found a regular file
            self._gone.add(archive.id)
            log.warning("%s vanished before it was archived. %s", archive.filename, upload.message)
        elif isinstance(upload, GlacierProviderError):
            self._done.add(Upload(archive.id, error=str(upload)))
            self.errors.append((archive, upload))
            if isinstance(upload, StoreError) and len(self.errors) > self._application.connections:
                self._trouble = upload  # not this file's: the store's
        self._commit_if_late()


def _caught(work: Callable[[PlannedArchive], Upload], archive: PlannedArchive) -> Upload | GlacierProviderError:
    try:
        return work(archive)
    except GlacierProviderError as error:
        return error


def _send(source: Source, description: Description, *, catalog: Catalog, store: ArchiveStore) -> Upload:
    """Send one archive by one request, or in parts when it is large; return what the catalog is to record."""
    if source.size <= SMALL_FILE:
        receipt = store.put(source.read_at(0, source.size), description)
    else:
        receipt = store.put_large(source, description, catalog.archives.journal(description.archive_id))
    return Upload(description.archive_id, receipt, description.sha256)


class HeartbeatSource:
    """A source that keeps the lease alive while it is read."""

    def __init__(self, source: Source, heartbeat: Callable[[], None]) -> None:
        self._source = source
        self._heartbeat = heartbeat
        self.size = source.size

    def read_at(self, start: int, size: int) -> bytes:
        self._heartbeat()
        return self._source.read_at(start, size)
