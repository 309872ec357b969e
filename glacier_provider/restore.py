"""The restore pipeline, top to bottom as a restore goes through it.

`plan_restore` → `request_retrievals` → `poll_retrievals` (until nothing is pending) → `download` → `restore_database`
→ `move_orphans` → `close_restore`

Each function is one task: it can be killed at any instant and called again with the same arguments. Nothing reaches its
destination before its checksum is verified; files are only ever added; the database changes in one transaction; orphans
move only after it (promise 5). The catalog is never part of what is restored (promise 6).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.catalog.restores import RetrievalIntent, SetAside
from glacier_provider.core.archive import ArchiveKind, Location, name_to_bytes
from glacier_provider.core.parts import MIB
from glacier_provider.core.plan import (
    RETRIEVAL_HOURS,
    Amount,
    RestorePlan,
    RestoreRequest,
    Tier,
    megabytes,
    plan_from_figures,
)
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.core.tables import parse_table
from glacier_provider.errors import (
    ArchiveCold,
    ArchiveMissing,
    FileMissing,
    GlacierProviderError,
    IllegalMove,
    NameTaken,
    RetrievalFailed,
    RetrievalRefused,
)
from glacier_provider.files import (
    Placed,
    Placement,
    extract_tar,
    hash_source,
    move_aside,
    move_back,
    numbered,
    open_source,
    prepare_staging,
    remove_tree,
    require_space,
    walk,
)
from glacier_provider.pool import in_parallel
from glacier_provider.progress import Progress
from glacier_provider.stores.base import ArchiveStore, Retrieval
from glacier_provider.stores.verify import Verifier

if TYPE_CHECKING:
    from glacier_provider.postgres.server import Server

log = logging.getLogger(__name__)

#: Returns the store of an archive by its URI: an archive stays where it was made, also after the configuration named
#: another store.
Stores = Callable[[str], ArchiveStore]

SMALLEST_SHARE = 500
GROUP = 200
#: An offer that ends within this time is renewed while we wait for others.
RENEWAL_MARGIN_SECONDS = 3600.0
#: A store does not always say that a retrieval failed: what was lost this often is taken as failed.
MOST_RENEWALS = 5


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a restore waits for, in archives; `failed`: ended by the store without success since the last look."""

    pending: int
    ready: int
    failed: int = 0
    renewed: int = 0

    @property
    def done(self) -> bool:
        return self.pending == 0


# --- plan_restore --------------------------------------------------------------------------------------------------


def plan_restore(
    application: Application, run: Run, request: RestoreRequest, *, catalog: Catalog, stores: Stores
) -> dict[str, Any]:
    """Find out what the restore will take; return `restore_id`, `backup_id`, `plan` and the `ranges` to bring.

    Writes nothing but the plan itself. Raise UnknownBackup, BackupNotRestorable, or ArchiveMissing when a file of the
    backup is in no store any more.
    """
    catalog.migrate()
    backup = _chosen_backup(request, catalog)
    restore_id = catalog.restores.open(run, backup["id"], request)
    compared = catalog.restores.compare(
        restore_id,
        backup,
        request,
        _files_there(application),
        lambda aside: _usable(application, aside),
        orphan_directory=application.orphan_directory,
    )
    _settle_moves_back(application, catalog)
    plan = _plan(application, backup, request, compared.figures, stores)
    plan = replace(
        plan,
        present=compared.present,
        differing=tuple(row["name"] for row in compared.differing[:100]),
        differing_count=len(compared.differing),
        lost=tuple(compared.lost[:100]),
    )
    for line in plan.lines():
        log.info("%s", line)
    catalog.restores.record_plan(restore_id, plan.as_dict())
    if compared.lost:
        raise ArchiveMissing(
            f"{len(compared.lost)} files of backup {backup['id']} are in no store: {', '.join(plan.lost[:5])}."
        )
    ranges = catalog.restores.ranges(restore_id, shares=application.parallelism, smallest=SMALLEST_SHARE)
    return {
        "restore_id": restore_id,
        "backup_id": backup["id"],
        "plan": plan.as_dict(),
        "ranges": [share.as_dict() for share in ranges],
    }


def _chosen_backup(request: RestoreRequest, catalog: Catalog) -> Row:
    wanted = request.backup_id or catalog.backups.newest_complete() or 0
    return catalog.backups.restorable(wanted)


def _files_there(application: Application) -> Iterator[tuple[str, int]]:
    found = walk(
        application.files_directory,
        on_skip=lambda _name, _reason: None,
        leave_out=(application.orphan_directory, application.staging_directory),
    )
    return ((file.name, file.size) for file in found)


def _settle_moves_back(application: Application, catalog: Catalog) -> None:
    """Note files that a restore moved back from the orphan directory, and died before the journal knew."""
    for row in catalog.restores.aside_though_present(application.orphan_directory):
        if not _lies_aside(row["orphan_directory"], row):
            catalog.restores.moved_back(row["filename"], row["subdirectory"])


def _usable(application: Application, aside: Sequence[SetAside]) -> list[int]:
    """Return the archive ids of set-aside files that still have the archived content."""
    return [file.archive_id for file in aside if _is_intact(application, file)]


def _is_intact(application: Application, file: SetAside) -> bool:
    verifier = Verifier(file.checksum)
    name = f"{file.subdirectory}/{file.filename}"
    try:
        with open_source(application.orphan_directory, name, expected_size=file.size) as source:
            for start in range(0, source.size, MIB):
                verifier.update(source.read_at(start, min(MIB, source.size - start)))
    except GlacierProviderError as error:
        log.warning("%s cannot be moved back from the orphan directory: %s", file.filename, error)
        return False
    return verifier.matches()


def _plan(
    application: Application, backup: Row, request: RestoreRequest, figures: Sequence[Row], stores: Stores
) -> RestorePlan:
    tier = request.tier or Tier(application.retrieval_tier)
    plan = RestorePlan(
        backup_id=backup["id"],
        tier=tier,
        days=request.days or application.retrieval_days,
        database_bytes=backup["database_bytes"] if request.database else 0,
    )
    for uri in sorted({row["store_uri"] for row in figures}):
        features = stores(uri).features
        rows = [
            (row["source"], RetrievalStatus(row["status"]), Amount(row["archives"], row["bytes"]))
            for row in figures
            if row["store_uri"] == uri
        ]
        part = plan_from_figures(RestorePlan(backup["id"], tier, plan.days), rows, retrieval=features.retrieval)
        if part.to_request.archives and tier not in features.tiers:
            raise RetrievalRefused(
                f"{uri} has no {tier.value} retrievals.", hint=f"Choose another tier: {', '.join(features.tiers)}."
            )
        plan = replace(
            plan,
            set_aside=plan.set_aside + part.set_aside,
            to_request=plan.to_request + part.to_request,
            pending=plan.pending + part.pending,
            ready=plan.ready + part.ready,
            hours={**plan.hours, **_hours(uri, features.tiers)},
        )
    return plan


def _hours(uri: str, tiers: Sequence[str]) -> dict[str, tuple[float, float]]:
    kind = "VAULT" if uri.startswith("glacier:") else "DEEP_ARCHIVE" if "DEEP_ARCHIVE" in uri else "GLACIER"
    return {tier: RETRIEVAL_HOURS[kind][Tier(tier)] for tier in tiers if Tier(tier) in RETRIEVAL_HOURS[kind]}


# --- request_retrievals --------------------------------------------------------------------------------------------


def request_retrievals(
    application: Application, restore_id: int, wanted: ArchiveRange, *, catalog: Catalog, stores: Stores
) -> dict[str, int]:
    """Ask the stores for what only the cold has; return `requested` and `readable_at_once`, in archives.

    The intent is in the catalog before anything is paid for; a request that was sent already is joined, not sent twice
    (promise 8). Requests that the store refuses are told together at the end; the others are under way meanwhile.
    """
    catalog.restores.start(restore_id)
    plan = catalog.restores.get(restore_id)["plan"]
    if not _needs_retrieval(catalog, restore_id, stores):
        return {"requested": 0, "readable_at_once": _ready_at_once(restore_id, wanted, catalog)}
    with catalog.alone(f"the requests from {wanted.first} on of restore {restore_id}"):
        requested = _request_all(application, restore_id, wanted, plan, catalog=catalog, stores=stores)
    return {"requested": requested, "readable_at_once": 0}


def _request_all(
    application: Application,
    restore_id: int,
    wanted: ArchiveRange,
    plan: Mapping[str, Any],
    *,
    catalog: Catalog,
    stores: Stores,
) -> int:
    progress = Progress(log, "Requested", archives=wanted.archives)
    refused: list[GlacierProviderError] = []
    for intents in catalog.restores.intend_retrievals(restore_id, wanted, tier=plan["tier"], days=plan["days"]):
        taken: list[tuple[int, str | None]] = []
        results = in_parallel(lambda intent: _request(intent, stores), intents, workers=application.connections)
        try:
            with closing(results):
                for intent, answer in results:
                    if isinstance(answer, GlacierProviderError):
                        catalog.restores.note_retrieval_error(intent.archive_id, str(answer))
                        refused.append(answer)
                    else:
                        taken.append((intent.id, answer.job_id))
                        progress.add(1, 0)
        finally:
            catalog.restores.confirm_retrievals(taken)
    progress.say()
    if refused:
        raise type(refused[0])(f"{len(refused)} retrievals were refused: {refused[0].message}", hint=refused[0].hint)
    return progress.archives


def _needs_retrieval(catalog: Catalog, restore_id: int, stores: Stores) -> bool:
    uris = catalog.restores.store_uris(restore_id)
    return any(stores(uri).features.retrieval for uri in uris)


def _ready_at_once(restore_id: int, wanted: ArchiveRange, catalog: Catalog) -> int:
    count = 0
    for page in catalog.restores.archives_to_request(restore_id, wanted):
        catalog.restores.readable_at_once(page)
        count += len(page)
    return count


def _request(intent: RetrievalIntent, stores: Stores) -> Retrieval:
    location = Location(intent.store_uri, intent.key)
    if intent.confirmed:
        return Retrieval(location, intent.tier, intent.job_id)
    return stores(intent.store_uri).request_retrieval(
        location, tier=intent.tier, days=intent.days, token=f"retrieval {intent.id} of archive {intent.archive_id}"
    )


# --- poll_retrievals: what GlacierJobSensor and its trigger call ---------------------------------------------------


def poll_retrievals(application: Application, restore_id: int, *, catalog: Catalog, stores: Stores) -> Waiting:
    """Look once at everything the restore waits for, note what is ready, and say how much is left.

    Offers that ended, or end within the hour while others are still awaited, are asked for again. Failed retrievals go
    back to `available` with the store's words and are counted; the caller decides.
    """
    failed = 0
    for rows in catalog.restores.pending(restore_id):
        failed += _take_reports(rows, catalog=catalog, stores=stores)
    failed += len(catalog.restores.often_lost(restore_id, times=MOST_RENEWALS))
    renewed = 0
    if not failed:
        pending = catalog.restores.counts(restore_id).get(RetrievalStatus.PENDING, Amount()).archives
        margin = RENEWAL_MARGIN_SECONDS if pending else 0.0
        catalog.restores.expire_by_clock(restore_id, margin_seconds=margin)
        renewed = _renew(application, restore_id, catalog=catalog, stores=stores)
    counts = catalog.restores.counts(restore_id)
    return Waiting(
        pending=counts.get(RetrievalStatus.PENDING, Amount()).archives,
        ready=sum(counts.get(status, Amount()).archives for status in (RetrievalStatus.READY, RetrievalStatus.LOCAL)),
        failed=failed,
        renewed=renewed,
    )


def _take_reports(rows: Sequence[Row], *, catalog: Catalog, stores: Stores) -> int:
    ready: list[tuple[int, datetime | None]] = []
    failed: list[tuple[int, str]] = []
    expired: list[int] = []
    for uri in {row["store_uri"] for row in rows}:
        mine = {row["key"]: row for row in rows if row["store_uri"] == uri}
        retrievals = [Retrieval(Location(uri, key), row["tier"], row["job_id"]) for key, row in mine.items()]
        for report in stores(uri).retrieval_reports(retrievals):
            row = mine[report.key]
            if report.status is RetrievalStatus.READY:
                ready.append((row["id"], report.expires_at))
            elif report.failure:
                failed.append((row["id"], report.failure))
                log.error("The retrieval of %s failed: %s", row["filename"], report.failure)
            elif report.status is RetrievalStatus.AVAILABLE:
                expired.append(row["archive_id"])
    catalog.restores.retrievals_ready(ready)
    catalog.restores.retrievals_failed(failed)
    catalog.restores.retrievals_expired(expired)
    return len(failed)


def _renew(application: Application, restore_id: int, *, catalog: Catalog, stores: Stores) -> int:
    """Ask again for what expired while we waited; nothing when all is pending or ready."""
    whole = ArchiveRange(0, 2**62)
    if not any(True for _ in catalog.restores.archives_to_request(restore_id, whole)):
        return 0
    return request_retrievals(application, restore_id, whole, catalog=catalog, stores=stores)["requested"]


def raise_failed_retrievals(restore_id: int, *, catalog: Catalog) -> None:
    """Raise RetrievalFailed naming what failed."""
    rows = [row for row in catalog.restores.still_missing(restore_id) if row["error"]]
    lost = catalog.restores.often_lost(restore_id, times=MOST_RENEWALS)
    named = [f"{row['filename']}: {row['error']}" for row in rows[:5]]
    names = "; ".join(named + [f"{name}: lost {MOST_RENEWALS} times or more" for name in lost[:5]])
    raise RetrievalFailed(f"The store ended retrievals of restore {restore_id} without success: {names}.")


def describe_still_missing(restore_id: int, *, catalog: Catalog) -> str:
    """Return what the restore still waits for, for the message of a timeout."""
    counts = catalog.restores.counts(restore_id)
    pending = counts.get(RetrievalStatus.PENDING, Amount())
    rows = catalog.restores.still_missing(restore_id)
    names = ", ".join(
        f"{row['filename']} ({row['tier'] or 'not requested'}"
        + (f" since {row['requested_at']:%Y-%m-%d %H:%M} UTC)" if row["requested_at"] else ")")
        for row in rows[:10]
    )
    return f"{pending.archives} archives ({megabytes(pending.bytes)}) are still pending: {names}"


# --- download ------------------------------------------------------------------------------------------------------


def download(
    application: Application, restore_id: int, wanted: ArchiveRange, *, catalog: Catalog, stores: Stores
) -> dict[str, int]:
    """Bring a range of the restore: the dump into staging, files to their places, each verified first.

    Files are only added: a name that is taken keeps what it has. Return `archives` and `bytes` that were brought.
    Raise ArchiveCold when an offer ended meanwhile: what is in place stays, and the rest has to be requested again.
    """
    catalog.restores.start(restore_id)
    prepare_staging(application.staging_directory, _staging(application, restore_id).name)
    progress = Progress(log, "Restored", archives=wanted.archives, size=wanted.bytes)
    cold: list[int] = []
    errors: list[tuple[str, GlacierProviderError]] = []
    with Placement(application.files_directory) as files, Placement(_staging(application, restore_id)) as staging:
        placer = _Placer(application, files, staging, stores=stores)
        for rows in catalog.restores.to_place(restore_id, wanted, orphan_directory=application.orphan_directory):
            done: list[Row] = []
            try:
                for row, answer in in_parallel(placer.bring, rows, workers=application.connections):
                    if isinstance(answer, ArchiveCold):
                        cold.append(row["id"])
                    elif isinstance(answer, GlacierProviderError):
                        errors.append((row["filename"], answer))
                    else:
                        done.append(row)
                        progress.add(1, row["stored_size"])
                    if len(done) >= GROUP:
                        _note_placed(application, done, catalog)
                        done = []
            finally:
                _note_placed(application, done, catalog)
    progress.say()
    _raise_not_brought(restore_id, cold, errors, catalog=catalog)
    return {"archives": progress.archives, "bytes": progress.bytes}


class _Placer:
    """Brings one archive to its place; several threads at once. It does not touch the catalog."""

    def __init__(self, application: Application, files: Placement, staging: Placement, *, stores: Stores) -> None:
        self._application = application
        self._files = files
        self._staging = staging
        self._stores = stores

    def bring(self, row: Row) -> None:
        """Put one archive in place. Raise the error family; ArchiveCold when it must be requested again."""
        if row["source"] == "orphan" and row["subdirectory"]:
            self._bring_back(row)
            return
        database = row["kind"] == ArchiveKind.DATABASE
        placement = self._staging if database else self._files
        if placement.present(row["filename"], row["stored_size"]) is Placed.KEPT:
            return  # an earlier try brought it; nothing gets its name here before it is verified
        store = self._stores(row["store_uri"])
        location = Location(row["store_uri"], row["key"])
        size = row["stored_size"]
        # An empty file needs no retrieval, and a vault does not even keep one.
        chunks = store.read(location, 0, size, job_id=row["job_id"]) if size else ()
        placed = placement.place(row["filename"], chunks, size=size, verifier=Verifier(row["checksum"]))
        if placed is Placed.DIFFERS:
            raise NameTaken(f"{row['filename']!r} is there with another content; it was left alone.")

    def _bring_back(self, row: Row) -> None:
        try:
            move_back(
                self._application.files_directory,
                row["filename"],
                self._application.orphan_directory,
                row["subdirectory"],
            )
        except NameTaken:
            log.warning("%s is there again; the one in the orphan directory stays.", row["filename"])


def _note_placed(application: Application, done: Sequence[Row], catalog: Catalog) -> None:
    """Note in the catalog what is in place, and in the orphans' journal what of it no longer lies aside."""
    with catalog.transaction():
        for row in done:
            if row["subdirectory"] and not _lies_aside(application.orphan_directory, row):
                catalog.restores.moved_back(row["filename"], row["subdirectory"])
        catalog.restores.placed([row["id"] for row in done])


def _raise_not_brought(
    restore_id: int, cold: list[int], errors: list[tuple[str, GlacierProviderError]], *, catalog: Catalog
) -> None:
    for name, error in errors[:100]:
        log.error("%s: %s", name, error)
    if cold:
        catalog.restores.retrievals_expired(cold)
        raise ArchiveCold(
            f"{len(cold)} archives of restore {restore_id} can no longer be read: their retrieval has expired."
        )
    if errors:
        name, error = next(((n, e) for n, e in errors if not e.retryable), errors[0])
        raise type(error)(
            f"{len(errors)} archives could not be brought (first {name}): {error.message}", hint=error.hint
        )


# --- restore_database ----------------------------------------------------------------------------------------------


def restore_database(application: Application, restore_id: int, *, catalog: Catalog, server: Server) -> dict[str, Any]:
    """Restore the staged dump in one transaction; return the numbers `restored` and `removed`, and `warnings`.

    The catalog's schema is excluded by identity, as are the application's own exclusions. Raise RestoreFailed (the
    database is as it was), SelectionConflict or MissingRoles (nothing was begun).
    """
    from glacier_provider.postgres import Keep, RestoreOptions, Selection, tools_for
    from glacier_provider.postgres import restore_database as pg_restore
    from glacier_provider.postgres.dumpfile import table_of_contents

    restore = catalog.restores.get(restore_id)
    request = RestoreRequest.from_params(restore["request"])
    if not request.database:
        return {"skipped": True}
    if restore["outcome"].get("database"):
        log.info("The database was restored by an earlier try of this restore.")
        return dict(restore["outcome"]["database"])
    with _working(catalog, restore_id, "the database") as beat:
        dump = _staged_dump(application, restore_id, restore, catalog=catalog)
        selection = Selection(
            exclude_schemas=(application.catalog_schema, *application.restore.exclude_schemas),
            exclude_tables=tuple(parse_table(name) for name in application.restore.exclude_tables),
            tables=request.tables or None,
        )
        options = RestoreOptions(
            owner=Keep(application.restore.owner),
            privileges=Keep(application.restore.privileges),
            lock_timeout_seconds=application.restore.lock_timeout_seconds,
        )
        progress = Progress(log, "pg_restore", on_beat=beat)
        compression = table_of_contents(dump).header.compression
        tools = tools_for(server, application.pg_bin_directory, compression=compression)
        restored = pg_restore(server, tools, dump, selection, options, progress=progress.beat)
        outcome = {"restored": restored.restored, "removed": restored.removed, "warnings": list(restored.warnings[:20])}
        catalog.restores.add_outcome(restore_id, database=outcome)
    return outcome


def _staged_dump(application: Application, restore_id: int, restore: Row, *, catalog: Catalog) -> Path:
    backup = catalog.backups.get(restore["backup_id"])
    archive = catalog.archives.get(backup["database_archive_id"])
    path = _staging(application, restore_id) / str(archive["filename"])
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
    if archive["encoding"] != "tar":
        return path
    unpacked = path.with_suffix(".directory")
    remove_tree(unpacked, below=application.staging_directory)
    require_space(application.staging_directory, archive["stored_size"])
    extract_tar(path, unpacked)
    return unpacked


# --- move_orphans, undo_orphans ------------------------------------------------------------------------------------


def move_orphans(application: Application, restore_id: int, *, catalog: Catalog) -> dict[str, int]:
    """Move files that the restored backup does not contain to the orphan directory; return `moved`, `left`, `bytes`.

    Files that came or changed since the restore began are left where they are. Every move is journalled before it is
    made.
    """
    restore = catalog.restores.get(restore_id)
    request = RestoreRequest.from_params(restore["request"])
    if not request.orphans:
        return {"moved": 0, "left": 0, "bytes": 0}
    if "database" not in restore["outcome"]:
        raise IllegalMove(f"The database of restore {restore_id} is not restored yet: orphans stay where they are.")
    with _working(catalog, restore_id, "the orphans") as beat:
        for dead in catalog.restores.unsettled_moves(restore_id):
            _settle_planned_moves(dead, catalog=catalog)  # with the lease in our hands, nobody else moves
        young = catalog.restores.plan_orphans(
            restore_id,
            restore["backup_id"],
            _files_by_age(application, restore["opened_at"]),
            orphan_directory=application.orphan_directory,
            # Applications may share an orphan directory.
            subdirectory=f"{application.name}-restore-{restore_id}",
        )
        progress = Progress(log, "Moved aside", on_beat=beat)
        for page in catalog.restores.orphans(restore_id, "planned"):
            _move_page(application, page, catalog=catalog, progress=progress)
        if young:
            log.info("%d files came while the restore ran; they stay: %s", len(young), ", ".join(young[:10]))
        moved = catalog.restores.orphan_counts(restore_id).get("moved", Amount())
        outcome = {"moved": moved.archives, "left": len(young), "bytes": moved.bytes}
        catalog.restores.add_outcome(restore_id, orphans=outcome)
    return outcome


def _files_by_age(application: Application, began: datetime) -> Iterator[tuple[str, int, bool]]:
    limit = int(began.timestamp() * 1e9)
    found = walk(
        application.files_directory,
        on_skip=lambda _name, _reason: None,
        exclude=application.exclude,
        leave_out=(application.orphan_directory, application.staging_directory),
    )
    return ((file.name, file.size, file.mtime_ns >= limit) for file in found)


def _move_page(application: Application, page: Sequence[Row], *, catalog: Catalog, progress: Progress) -> None:
    moved: list[int] = []
    gone: list[int] = []
    try:
        for row in page:
            try:
                move_aside(application.files_directory, row["filename"], row["orphan_directory"], row["subdirectory"])
            except FileMissing:
                gone.append(row["id"])
                continue
            moved.append(row["id"])
            progress.add(1, row["size"])
    finally:
        catalog.restores.orphans_moved(moved)
        catalog.restores.orphans_gone(gone)


def undo_orphans(application: Application, restore_id: int, *, catalog: Catalog) -> dict[str, int]:
    """Move the orphans of a restore back to where they were; return `moved_back` and `left`.

    A file whose name is taken meanwhile stays in the orphan directory and in the journal, and is named in the log.
    """
    restore = catalog.restores.get(restore_id)
    if restore["application"] != application.name:
        raise IllegalMove(
            f"Restore {restore_id} belongs to the application {restore['application']}, not {application.name}.",
            hint="List the restores with: glacier-backup restores",
        )
    left = count = 0
    with _working(catalog, restore_id, "the orphans", free=True):
        _settle_planned_moves(restore_id, catalog=catalog)
        for page in catalog.restores.orphans(restore_id, "moved"):
            back, taken = _move_page_back(application, page)
            catalog.restores.orphans_undone(back)
            count, left = count + len(back), left + taken
    log.info("%d files are back in %s, %d stay in the orphan directory.", count, application.files_directory, left)
    return {"moved_back": count, "left": left}


def _settle_planned_moves(restore_id: int, *, catalog: Catalog) -> None:
    """Finish the journal of a restore that died while it moved orphans: made, or never made."""
    for page in catalog.restores.orphans(restore_id, "planned"):
        aside = {row["id"] for row in page if _lies_aside(row["orphan_directory"], row)}
        catalog.restores.orphans_moved(sorted(aside))
        catalog.restores.orphans_gone([row["id"] for row in page if row["id"] not in aside])


def _lies_aside(orphan_directory: str, row: Row) -> bool:
    parts = (os.fsencode(orphan_directory), name_to_bytes(row["subdirectory"]), name_to_bytes(row["filename"]))
    return os.path.lexists(os.path.join(*parts))


def _move_page_back(application: Application, page: Sequence[Row]) -> tuple[list[int], int]:
    back: list[int] = []
    taken = 0
    for row in page:
        try:
            move_back(application.files_directory, row["filename"], row["orphan_directory"], row["subdirectory"])
            back.append(row["id"])
        except (NameTaken, FileMissing) as error:
            log.warning("%s stays in the orphan directory: %s", row["filename"], error)
            taken += 1
    return back, taken


# --- close_restore -------------------------------------------------------------------------------------------------


def close_restore(application: Application, restore_id: int, *, catalog: Catalog) -> dict[str, Any]:
    """Complete the restore, free its lease and staging; return its figures.

    A restore that an earlier try completed is tidied up after. Raise IllegalMove when something is not in place.
    """
    if catalog.restores.get(restore_id)["state"] != "complete":
        catalog.restores.start(restore_id)
        unplaced = catalog.restores.unplaced(restore_id)
        if unplaced:
            names = ", ".join(f"{row['filename']} ({row['status']})" for row in unplaced[:5])
            raise IllegalMove(f"Restore {restore_id} is not complete: {names}.", hint="Clear the task download.")
        with catalog.transaction():  # a dump released without that would be missed by the next try
            catalog.restores.release_database(restore_id)
            catalog.restores.complete(restore_id, {})
    _remove_ended_staging(application, catalog)
    restore = catalog.restores.get(restore_id)
    seconds = (datetime.now(UTC) - restore["opened_at"]).total_seconds()
    return {
        "restore_id": restore_id,
        "backup_id": restore["backup_id"],
        "application": application.name,
        "seconds": round(seconds, 1),
        "plan": restore["plan"],
        "outcome": restore["outcome"],
    }


def _remove_ended_staging(application: Application, catalog: Catalog) -> None:
    """Remove the dump that was restored, and those of failed restores, which this one has made pointless."""
    staged = numbered(application.staging_directory, f"{application.name}-restore-")
    for ended in catalog.restores.ended(list(staged)):
        remove_tree(staged[ended], below=application.staging_directory)


# --- what every step shares ----------------------------------------------------------------------------------------


@contextmanager
def _working(catalog: Catalog, restore_id: int, step: str, *, free: bool = False) -> Iterator[Callable[[], None]]:
    """Hold the application's lease for a step that changes its database or directory.

    Raise LeaseHeld when another run has it, or when another process of this restore is at the same step.
    """
    catalog.restores.take_lease(restore_id)
    last = time.monotonic()

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last > 30:
            last = time.monotonic()
            catalog.restores.take_lease(restore_id)

    with catalog.alone(f"{step} of restore {restore_id}"):
        yield beat
    if free:
        catalog.restores.free_lease(restore_id)


def _staging(application: Application, restore_id: int) -> Path:
    return Path(application.staging_directory) / f"{application.name}-restore-{restore_id}"
