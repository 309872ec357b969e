"""`dump_database`: the database, dumped, read through and, where there is a store, sent meanwhile.

With a store at hand the dump is sent while it is made, and is an archive a moment after it is whole; what the store
refuses meanwhile, `upload_database` sends from staging. With ``dump.staging: none`` there is no copy to send from: the
dump goes through a pipe, and what breaks the upload breaks the dump. See docs/adr/0019.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import PlannedArchive
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.archive import ArchiveKind
from glacier_provider.core.parts import SMALL_FILE
from glacier_provider.core.tables import format_table
from glacier_provider.core.text import NAMED, counted, readable_size
from glacier_provider.errors import CatalogError, ConfigurationError, GlacierProviderError, StoreError
from glacier_provider.pipelines.backup.forms import DumpCall, DumpForm
from glacier_provider.pipelines.backup.references import references_file
from glacier_provider.pipelines.backup.rehearse import CONTENTS
from glacier_provider.pipelines.backup.step import backup_step, is_complete
from glacier_provider.pipelines.backup.stream import Destination, StreamingUpload
from glacier_provider.pipelines.shared.progress import Progress
from glacier_provider.pipelines.shared.staging import staging_directory_of
from glacier_provider.staging import prepare_staging, remove_tree
from glacier_provider.stores.contract import ArchiveStore, UploadedParts

if TYPE_CHECKING:
    from glacier_provider.postgres import Dump, Server

log = logging.getLogger(__name__)


def dump_database(
    application: Application, backup_id: int, *, catalog: Catalog, server: Server, store: ArchiveStore | None = None
) -> dict[str, Any]:
    """Dump the database, read the dump through, hash it and plan its archive; with a store, send it meanwhile.

    Return a small dict with `archive_id`, `path`, `size` (bytes) and `sha256` (hex). When this backup's dump is
    already archived, planned and still in staging, or sent and verified, nothing is dumped again. Without a store the
    dump lies in staging, and `upload_database` sends it.
    """
    if is_complete(backup_id, catalog=catalog):
        row = catalog.archives.get(catalog.backups.get(backup_id)["database_archive_id"])
        path = staging_directory_of(application, "backup", backup_id) / row["filename"]
        return _told(row["id"], path, row["original_size"], row["sha256"])
    with backup_step(catalog, backup_id, "the dump", task="dump_database") as heartbeat:
        if (earlier := _earlier_dump(application, backup_id, catalog, store)) is not None:
            log.info("The dump of backup %d was made by an earlier try; it is used.", backup_id)
            return earlier
        staging = staging_directory_of(application, "backup", backup_id)
        remove_tree(staging, below=application.staging_directory)
        prepare_staging(application.staging_directory, staging.name)
        if application.dump.staging == "none" and store is None:
            raise ConfigurationError("dump.staging is none, and there is no store to stream the dump to.")
        progress = Progress(log, "pg_dump", on_heartbeat=heartbeat)
        call = DumpCall(application, server, staging / f"{application.name}-{backup_id}.dump", progress)
        return _dump(call, backup_id, catalog=catalog, store=store)


def _dump(call: DumpCall, backup_id: int, *, catalog: Catalog, store: ArchiveStore | None) -> dict[str, Any]:
    """Dump in the form that the application asks for: one sequence for all of them."""
    with ExitStack() as opened:
        form = call.form()
        if form.stream is not None:
            opened.enter_context(form.stream)
        destination = _planned(call, backup_id, form.encoding, catalog=catalog, store=store)
        # What the dump does not hold, a restore of it leaves as it is, also when the configuration has changed by then.
        # Noted before there is a dump: one that is whole is never made, or noted, again.
        catalog.backups.add_to_report(backup_id, dump_exclusions=call.options.exclusions.as_dict())
        upload = opened.enter_context(_upload_meanwhile(form, destination, call))
        with references_file(call.application, call.path.parent) as references:
            dump = form.write(references)
        size, sha256 = form.end(call.path)
        sent = _sent(upload, form, destination, call.progress.heartbeat)
        _record(backup_id, destination, dump, size=size, sha256=sha256, sent=sent)
        _report(backup_id, dump, call.security_warning, catalog=catalog)
        _record_roles(backup_id, call.server, catalog=catalog)
        _record_fingerprint(backup_id, call, catalog=catalog)
        _note_contents(backup_id, dump, call.path.parent, catalog=catalog)
    if sent is not None:
        _complete(form, destination, sent)
    return _told(destination.archive.id, call.path, size, sha256)


def _record_roles(backup_id: int, server: Server, *, catalog: Catalog) -> None:
    """Keep the roles that the dump needs, which no dump holds: a server without them could not restore it by itself."""
    from glacier_provider.postgres import read_roles

    try:
        roles = read_roles(server)
    except GlacierProviderError as error:  # the dump is good without
        log.warning("The roles that the database needs could not be recorded: %s", error)
        return
    catalog.backups.add_to_report(backup_id, roles=roles)


def _record_fingerprint(backup_id: int, call: DumpCall, *, catalog: Catalog) -> None:
    """Keep what the database is known by, with which restores are compared; the dump is good without."""
    meanwhile = call.fingerprint
    if meanwhile is None:
        return
    if (taken := meanwhile.taken) is None:
        log.warning(
            "What the dump holds could not be noted, so that no restore is compared with it: %s", meanwhile.trouble
        )
        catalog.backups.note_fingerprint(backup_id, None)
        catalog.backups.add_to_report(backup_id, fingerprint={"mode": "off", "trouble": meanwhile.trouble})
        return
    mode = "hashes" if taken.hashes else "counts"
    told = {"mode": mode, "tables": len(taken.tables), "rows": taken.rows, "seconds": taken.seconds}
    catalog.backups.note_fingerprint(backup_id, taken.as_dict())
    catalog.backups.add_to_report(backup_id, fingerprint=told)
    words = counted(len(taken.tables), "table"), counted(taken.rows, "row")
    log.info("The database has %s with %s, counted in %s s beside the dump.", *words, taken.seconds)


def _note_contents(backup_id: int, dump: Dump, staging: Path, *, catalog: Catalog) -> None:
    """Keep what a plan and a rehearsal ask of the dump; the dump is whole, whatever becomes of this."""
    from glacier_provider.postgres.dump.contents import write_contents
    from glacier_provider.postgres.restore.needs import needs_of

    if dump.contents is None:
        return
    catalog.backups.add_to_report(backup_id, dump_needs=needs_of(dump.contents).as_dict())
    try:
        write_contents(dump.contents, staging / CONTENTS)
    except OSError as error:
        log.warning(
            "The restore of this dump cannot be rehearsed: its table of contents is not in staging (%s).", error
        )


def _planned(
    call: DumpCall, backup_id: int, encoding: str, *, catalog: Catalog, store: ArchiveStore | None
) -> Destination:
    """Plan an archive of which nothing is known yet: it gets its id, under which the store keeps it."""
    filename, uri = call.path.name, call.application.store
    archive_id = catalog.archives.plan_database(
        backup_id, filename=filename, size=0, sha256=None, encoding=encoding, store_uri=uri
    )
    archive = PlannedArchive(archive_id, filename, 0, backup_id, uri, catalog.writers.of(backup_id))
    return Destination.of_dump(call.application, archive, encoding, catalog=catalog, store=store)


def _upload_meanwhile(
    form: DumpForm, destination: Destination, call: DumpCall
) -> AbstractContextManager[StreamingUpload | None]:
    """Begin to send what there is of the dump, if it can be sent before its end and there is a store to send it to."""
    if form.stream is None or destination.store is None:
        return nullcontext()
    least = SMALL_FILE if form.staged else 0  # what is not staged is sent now or never
    return StreamingUpload(form.stream, destination, part_size=call.part_size, least=least)


def _sent(
    upload: StreamingUpload | None, form: DumpForm, destination: Destination, heartbeat: Callable[[], None]
) -> UploadedParts | None:
    """Wait until the store has every part; None when there was nothing to send yet, or the store was in trouble."""
    if upload is None:
        return None
    try:
        return upload.wait(heartbeat)
    except (StoreError, CatalogError) as error:
        if not form.staged:
            raise
        log.warning("The dump could not be sent while it was made; it will be sent from staging. %s", error)
        if not error.retryable:
            destination.abandon()
    return None


def _record(
    backup_id: int, destination: Destination, dump: Dump, *, size: int, sha256: str, sent: UploadedParts | None
) -> None:
    """Note that the dump is whole and verified, before it can become an archive."""
    catalog, archive_id = destination.catalog, destination.archive.id
    with catalog.transaction():  # what a later try finds is recorded with its backup, too
        catalog.archives.dump_is_whole(
            archive_id, size=size, sha256=sha256, checksum=sent.checksum if sent is not None else None
        )
        catalog.backups.record_dump(
            backup_id,
            archive_id=archive_id,
            snapshot_at=dump.snapshot_at,
            versions=(str(dump.server_version), str(dump.client_version)),
            dump_format=dump.format.value,
        )
        if dump.plain_size is not None:  # a restore has to have room for it
            catalog.backups.add_to_report(backup_id, dump_plain_bytes=dump.plain_size)
    log.info("The dump is verified: %s, SHA-256 %s.", readable_size(size), sha256)


def _report(backup_id: int, dump: Dump, security_warning: str | None, *, catalog: Catalog) -> None:
    """Note what a person should know of a dump that is whole."""
    findings: dict[str, Any] = {}
    if dump.warnings:
        findings["dump_warnings"] = list(dump.warnings[:NAMED])
    if security_warning:
        findings["client_warnings"] = [security_warning]
    if dump.unlogged_tables:
        names = [format_table(*table) for table in dump.unlogged_tables[:NAMED]]
        findings["unlogged_tables"] = [name.encode("utf-8", "replace").decode() for name in names]
        findings["unlogged_tables_count"] = len(dump.unlogged_tables)
        count = counted(len(dump.unlogged_tables), "unlogged table")
        log.warning("%s without rows, as this is a standby: they come back empty.", count)
    if findings:
        catalog.backups.add_to_report(backup_id, **findings)


def _complete(form: DumpForm, destination: Destination, sent: UploadedParts) -> None:
    """Make an archive of what was sent, or leave that to `upload_database`, which has a staged dump to send."""
    try:
        completed = destination.complete(sent) is not None
    except StoreError as error:
        if not form.staged:
            raise
        log.warning("The dump could not be completed in the store; it will be sent from staging. %s", error)
        return
    if completed:
        log.info("The dump is archived: %s, %s.", readable_size(sent.size), sent.checksum)
    elif form.staged:
        log.warning("The store no longer has what was sent of the dump; it will be sent from staging.")
    else:
        raise StoreError(
            "The parts of the dump that were sent are no longer in the store.",
            hint="Clear the task dump_database: the dump is made again.",
        )


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
        return _told(row["id"], path, row["original_size"], row["sha256"])
    if row["state"] == "planned" and not whole:
        return None  # nothing was sent of it: planned again, it is the same
    catalog.archives.drop_unsent_dump(
        backup_id,
        "Its dump was lost from staging before it was archived." if whole else "Its dump was not finished.",
    )
    if row["state"] == "uploading":
        _destination(application, row, catalog, store).abandon()
    return None


def _completed(application: Application, row: Row, catalog: Catalog, store: ArchiveStore | None) -> bool:
    """Complete a dump of which the store has every part, and that was verified, by a try that died before the end."""
    if store is None or row["checksum"] is None:
        return False
    sent = UploadedParts(row["original_size"], row["checksum"])
    return _destination(application, row, catalog, store).complete(sent) is not None


def _destination(application: Application, row: Row, catalog: Catalog, store: ArchiveStore | None) -> Destination:
    archive = catalog.archives.planned(row)
    return Destination.of_dump(application, archive, row["encoding"], catalog=catalog, store=store)


def _told(archive_id: int, path: Path, size: int, sha256: str) -> dict[str, Any]:
    return {"archive_id": archive_id, "path": str(path), "size": size, "sha256": sha256}
