"""`plan_restore`: what is missing, and what it takes to bring it; `preview_restore`: the same by the catalog alone."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from glacier_provider.applications import Application
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.catalog.pages import Where
from glacier_provider.catalog.restores import EVERYTHING, Comparison, SetAside
from glacier_provider.catalog.scans import FileSeen
from glacier_provider.core.archive import Amount
from glacier_provider.core.dags import BACKUP, dag_id_of
from glacier_provider.core.drill import FileSample
from glacier_provider.core.findings import known_of_backup, told_of_count
from glacier_provider.core.plan import Figure, RestorePlan, RestoreRequest, plan_by_store
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.core.tables import parse_table
from glacier_provider.core.text import NAMED, counted
from glacier_provider.core.tiers import Tier, retrieval_hours
from glacier_provider.errors import BackupNotRestorable, ConfigurationError, RetrievalRefused, UnknownBackup
from glacier_provider.files import Root, name_parts
from glacier_provider.files.target import claimed_by
from glacier_provider.files.walk import LARGEST_INODE, kept_mtime
from glacier_provider.pipelines.costs import look_seconds
from glacier_provider.pipelines.restore.database import exclusions_of, refuse_left_behind
from glacier_provider.pipelines.restore.elsewhere import (
    Elsewhere,
    Place,
    answering_database,
    check_place,
    target_place_of,
)
from glacier_provider.pipelines.restore.lost import lost_files, note_without
from glacier_provider.pipelines.restore.present import files_there, require_free_places, those_that_are_same
from glacier_provider.pipelines.restore.room import lacking_room
from glacier_provider.pipelines.restore.step import (
    is_there,
    is_usable_aside,
    lies_aside,
    orphan_prefix,
    require_same,
)
from glacier_provider.pipelines.shared.parallel import SMALLEST_SHARE
from glacier_provider.pipelines.shared.staging import staging_directories
from glacier_provider.staging import numbered
from glacier_provider.stores.contract import Stores

if TYPE_CHECKING:
    from glacier_provider.postgres import Server

log = logging.getLogger(__name__)

#: Numbers beyond this are of no restore.
_HIGHEST_ID = 10**12


def plan_restore(
    application: Application,
    run: Run,
    request: RestoreRequest,
    *,
    catalog: Catalog,
    stores: Stores,
    server: Server | None = None,
    elsewhere: Elsewhere | None = None,
) -> dict[str, Any]:
    """Find out what the restore will take; return `restore_id`, `backup_id`, `plan` and the `ranges` to bring.

    `lines` tell the plan to a person, `approve` whether one has to approve it: asked for, or over the budget.

    `server` is asked whether it would take the dump; without one, that comes up when the dump is at hand. `elsewhere`
    is needed by a request that goes into another place; that place is asked then.

    Writes nothing but the plan itself. Raise UnknownBackup, BackupNotRestorable, or ArchiveMissing when a file of the
    backup is in no store any more; NameTaken when something stands where a file is to come; TargetRefused for a place
    that is somebody's.
    """
    request = request.with_target(application.restore_targets or {})
    catalog.migrate()
    catalog.backups.end_sleepers()
    backup = _chosen_backup(application, run, request, catalog)
    _skip_ids_in_use(application, catalog)
    restore_id = catalog.restores.open(run, backup["id"], request)
    place = target_place_of(application, catalog.restores.get(restore_id), elsewhere)
    into = "" if place is None else check_place(place, request)
    compared = (
        _compared(application, restore_id, backup, request, catalog)
        if place is None
        else _compared_elsewhere(place, restore_id, backup, request, catalog)
    )
    figures = _of_rows(compared.figures)
    plan = _plan(
        application,
        backup,
        request,
        figures,
        present=compared.present,
        differing=tuple(row["name"] for row in compared.differing[:NAMED]),
        differing_count=len(compared.differing),
        lost=tuple(compared.lost[:NAMED]),
        lost_count=len(compared.lost),
        known=tuple(_known(backup, compared)) if request.files else (),
        into=into,
    )
    _check_tier(plan.tier, figures, stores)
    if request.database and (server is not None or place is not None):
        check_database(application, backup, request, server, place)
    lines = [*plan.lines(), *_lacking_room(application, request, place, plan), *_on_their_way(plan, catalog)]
    for line in lines:
        log.info("%s", line)
    catalog.restores.record_plan(restore_id, plan.as_dict())
    if compared.lost and not request.without_lost:
        raise lost_files(backup["id"], compared.lost, catalog, corrupt=None, by_name=bool(request.only_files))
    if request.files and place is None:
        require_free_places(application, restore_id, catalog=catalog)
    catalog.restores.add_outcome(restore_id, lost_count=0, lost=[])
    if compared.lost:
        note_without(restore_id, compared.lost, catalog=catalog)
    ranges = catalog.restores.ranges(restore_id, shares=application.parallelism, smallest=SMALLEST_SHARE)
    return {
        "restore_id": restore_id,
        "backup_id": backup["id"],
        "plan": plan.as_dict(),
        "approve": request.approve or plan.over_budget,
        "lines": lines,
        "ranges": [share.as_dict() for share in ranges],
    }


def _compared(
    application: Application, restore_id: int, backup: Row, request: RestoreRequest, catalog: Catalog
) -> Comparison:
    _settle_moves_aside(application, catalog)
    compared = catalog.restores.compare(
        restore_id,
        backup,
        request,
        files_there(application),
        lambda aside: _usable(application, aside),
        same=lambda files: those_that_are_same(application, files),
        orphan_directory=application.orphan_directory,
    )
    _settle_moves_back(application, catalog)
    return compared


def _compared_elsewhere(
    place: Place, restore_id: int, backup: Row, request: RestoreRequest, catalog: Catalog
) -> Comparison:
    """Find out what has to be brought into another place; what lies in the application's directory is copied."""
    if request.sample is not None:
        return _sampled(place, restore_id, backup, request, request.sample, catalog)
    files: list[FileSeen] | Iterator[FileSeen] = []
    if request.only_files:
        _require_in_backup(backup, request, catalog)
    if request.files and os.path.isdir(place.application.files_directory):
        files = _named_there(place, request) if request.only_files else files_there(place.application)
    compared = catalog.restores.compare_elsewhere(
        restore_id,
        backup,
        request,
        files,
        same=lambda seen: those_that_are_same(place.application, seen),
        keep_placed=request.files and not place.adds and claimed_by(place.directory) == place.mark,
    )
    if not place.adds or not os.path.lexists(place.directory):
        return compared
    _note_same(place, restore_id, catalog)
    present, figures = catalog.restores.figures_elsewhere(restore_id)
    return replace(compared, present=present, figures=figures)


def _sampled(
    place: Place, restore_id: int, backup: Row, request: RestoreRequest, sample: FileSample, catalog: Catalog
) -> Comparison:
    """Find out what a drill brings: out of the stores alone, since that is what it is to try."""
    found = catalog.drills.plan_sample(
        restore_id,
        backup,
        sample,
        files=request.files,
        database=request.database,
        keep_placed=request.files and claimed_by(place.directory) == place.mark,
    )
    present, figures = catalog.restores.figures_elsewhere(restore_id)
    members = found.members if request.files else None
    return Comparison(present=present, members=members, differing=[], lost=found.lost, figures=figures)


def cost_of_figures(
    application: Application, backup: Row, request: RestoreRequest, figures: Iterable[Row], place: str = ""
) -> Decimal:
    """Return what a restore is estimated to cost that brings these, as `figures_elsewhere` tells them."""
    plan = _plan(application, backup, request, _of_rows(figures), into=place)
    return plan.cost


def _of_rows(rows: Iterable[Row]) -> list[Figure]:
    return [
        Figure(row["store_uri"], row["source"], RetrievalStatus(row["status"]), Amount(row["archives"], row["bytes"]))
        for row in rows
    ]


def _require_in_backup(backup: Row, request: RestoreRequest, catalog: Catalog) -> None:
    unknown = catalog.restores.not_in_backup(backup["id"], request.only_files)
    if unknown:
        raise ConfigurationError(
            f"Backup {backup['id']} has no file {unknown[0]!r}"
            + (f", nor {counted(len(unknown) - 1, 'other')} of those that are named." if len(unknown) > 1 else "."),
            hint="Names are relative to the attached-files directory. Look for the file on the page, under Files: it "
            "tells which backups contain it.",
        )


def _named_there(place: Place, request: RestoreRequest) -> Iterator[FileSeen]:
    """Yield those of the named files that the application's directory has."""
    with Root(place.application.files_directory) as root:
        for name in request.only_files:
            found = root.look(name_parts(name))
            if found is not None and stat.S_ISREG(found.st_mode):
                yield name, found.st_size, kept_mtime(found.st_mtime_ns), found.st_ino & LARGEST_INODE


def _note_same(place: Place, restore_id: int, catalog: Catalog) -> None:
    """Note files that are in the target already, with the content that is wanted; raise NameTaken for any other."""
    with Root(place.directory) as root:
        for rows in catalog.restores.to_place(restore_id, EVERYTHING, orphan_directory=""):
            there = [
                row for row in rows if row["kind"] == "file" and root.look(name_parts(row["filename"])) is not None
            ]
            for row in there:
                require_same(place.directory, row)
            catalog.restores.placed_elsewhere(restore_id, [row["id"] for row in there])


def check_database(
    application: Application, backup: Row, request: RestoreRequest, server: Server | None, place: Place | None = None
) -> None:
    """Raise now what `restore_database` would raise after the retrievals were paid for."""
    from glacier_provider.postgres import Keep, PgRestoreOptions, Selection
    from glacier_provider.postgres.restore.needs import Mode, Needs, check_restore

    wanted = application.restore
    mode = Mode.TRANSACTION if request.tables else Mode(wanted.mode)
    exclusions = exclusions_of(application, backup)
    left_behind = exclusions.named
    exclude_schemas, exclude_tables = wanted.exclude_schemas, wanted.exclude_tables
    if place is not None:  # nothing of it stays as it is, and nothing is swapped
        server = answering_database(place)
        mode, exclude_schemas, exclude_tables = Mode.TRANSACTION, (), ()
    assert server is not None
    if mode is Mode.SWAP:
        refuse_left_behind(left_behind)
    if left_behind and mode is Mode.AUTO:
        mode = Mode.TRANSACTION  # as `restore_database` chooses
    check_restore(
        server,
        Needs.from_dict(backup["report"].get("dump_needs", {})),
        PgRestoreOptions(Keep(wanted.owner), Keep(wanted.privileges), Keep(wanted.tablespaces)),
        selection=Selection(
            (application.catalog_schema, *exclude_schemas),
            tuple(parse_table(name) for name in exclude_tables),
            request.tables or None,
        ),
        exclusions=exclusions,
        mode=mode,
        catalog_schema=application.catalog_schema,
        pg_bin_directory=application.pg_bin_directory,
        roles_are_created=wanted.roles == "create",
    )


def _known(backup: Row, compared: Comparison) -> Iterator[str]:
    """Yield what was known of the backup on its day, and whether as many files are known now as were counted then."""
    yield from known_of_backup(backup["report"])
    if compared.members is not None:
        for sentence in told_of_count(compared.members, backup["files_count"]):
            log.error("Backup %d: %s", backup["id"], sentence)
            yield sentence


def _lacking_room(
    application: Application, request: RestoreRequest, place: Place | None, plan: RestorePlan
) -> Iterator[str]:
    directory = (application.files_directory if place is None else place.directory) if request.files else None
    return lacking_room(plan, files_directory=directory, staging_directory=application.staging_directory)


def _on_their_way(plan: RestorePlan, catalog: Catalog) -> Iterator[str]:
    """Yield a sentence for what was asked for by another tier than the one chosen now, and is waited for by that."""
    if not plan.pending.archives:
        return
    by_tier: dict[str, int] = {}
    for row in catalog.pages.pending(plan.backup_id):
        by_tier[row["tier"]] = by_tier.get(row["tier"], 0) + row["archives"]
    for tier, archives in sorted(by_tier.items()):
        if tier != plan.tier.value:
            yield (
                f"On their way already, by {tier}: {counted(archives, 'archive')}. The restore waits for that tier; "
                f"{plan.tier.value} is for what is asked for now."
            )


def _chosen_backup(application: Application, run: Run, request: RestoreRequest, catalog: Catalog) -> Row:
    """Return the backup to restore. The latest one is that of when the run planned first: its database may be there."""
    wanted = request.backup_id
    if wanted is None and (begun := catalog.restores.of_run(run)) is not None:
        before = catalog.restores.get(begun)
        wanted = before["backup_id"] if before["backup_state"] == "complete" else None
    wanted = wanted or catalog.backups.newest_complete()
    if wanted is None:
        raise UnknownBackup(
            f"There is no latest backup: {application.name} has no complete one.",
            hint=f"Make one first: trigger the DAG {dag_id_of(BACKUP, application.name)}.",
        )
    return catalog.backups.restorable(wanted)


def _skip_ids_in_use(application: Application, catalog: Catalog) -> None:
    """Give no id that names something on the disk: a catalog that went back in time, or was rebuilt, knows nothing of
    the restores that set files aside and staged a dump under it.
    """
    aside = numbered(application.orphan_directory, orphan_prefix(application))
    used = {
        *aside,
        *staging_directories(application, "restore"),
        *staging_directories(application, "safety"),
    }
    catalog.restores.skip_ids(max((number for number in used if number < _HIGHEST_ID), default=0))


def _settle_moves_aside(application: Application, catalog: Catalog) -> None:
    """Note files that a restore moved to the orphan directory before it died: they are not paid for again."""
    for begun in catalog.restores.unfinished_moves(0):
        for page in catalog.restores.orphans(begun, "planned"):
            made = [row for row in page if lies_aside(row["orphan_directory"], row) and not is_there(application, row)]
            catalog.restores.orphans_moved([row["id"] for row in made])


def _settle_moves_back(application: Application, catalog: Catalog) -> None:
    """Note files that a restore moved back from the orphan directory, and died before the journal knew."""
    for row in catalog.restores.aside_though_present(application.orphan_directory):
        if not lies_aside(row["orphan_directory"], row):
            catalog.restores.moved_back(row["filename"], row["subdirectory"])


def _usable(application: Application, aside: Sequence[SetAside]) -> dict[int, int]:
    """Return for archive ids the move by which their content lies aside, the newest that has it."""
    found: dict[int, int] = {}
    for file in aside:
        if file.archive_id not in found and is_usable_aside(
            application, file.subdirectory, file.filename, size=file.size, checksum=file.checksum
        ):
            found[file.archive_id] = file.move_id
    return found


def _plan(
    application: Application, backup: Row, request: RestoreRequest, figures: Iterable[Figure], **found: Any
) -> RestorePlan:
    plan = RestorePlan(
        backup_id=backup["id"],
        tier=request.tier or Tier(application.retrieval_tier),
        days=request.days or application.retrieval_days,
        replaces=request.replaces,
        database_bytes=(backup["database_bytes"] or 0) if request.database else 0,
        **found,
    )
    return plan_by_store(
        plan,
        figures,
        application.price_table,
        budget=application.restore.budget,
        now=datetime.now(UTC),
        look_seconds=look_seconds(application),
        batch=application.may_ask_by_batch,
    )


def _check_tier(tier: Tier, figures: Iterable[Figure], stores: Stores) -> None:
    """Raise RetrievalRefused when a store does not have the tier by which it would be asked."""
    asked = {one.store_uri for one in figures if (one.source, one.status) == ("store", RetrievalStatus.AVAILABLE)}
    for uri in sorted({one.store_uri for one in figures}):
        features = stores(uri).features
        if uri in asked and features.retrieval and tier not in features.tiers:
            raise RetrievalRefused(
                f"{uri} has no {tier.value} retrievals.", hint=f"Choose another tier: {', '.join(features.tiers)}."
            )


# --- preview_restore -----------------------------------------------------------------------------------------------


def preview_restore(
    application: Application, request: RestoreRequest, *, catalog: Catalog
) -> tuple[RestorePlan, datetime | None]:
    """Return the plan of a restore by what the catalog last saw, and when it last saw the directory.

    Nothing is written, or asked of a store or directory: the restore itself looks again before it asks for anything.
    Raise UnknownBackup or BackupNotRestorable.
    """
    request = request.with_target(application.restore_targets or {})
    pages, name, backup_id = catalog.pages, application.name, request.backup_id or 0
    backup = pages.backup(name, backup_id)
    if backup["state"] != "complete":
        raise BackupNotRestorable(f"Backup {backup_id} is {backup['state']}.")
    catalog.restores.forget_what_is_over()
    places = _wanted(pages.whereabouts([backup_id])[backup_id], request)
    here = request.into is None
    present = backup["archives"].get(RetrievalStatus.EXISTS.value) if request.files else None
    aside = pages.set_aside(name, backup_id) if request.files and here else Amount()
    figures = list(_figures_less(places, aside))
    if not here and present is not None:
        figures.append(Figure(application.store, "directory", RetrievalStatus.EXISTS, present))
    known = tuple(known_of_backup(backup["report"])) if request.files else ()
    plan = _plan(
        application,
        backup,
        request,
        figures,
        present=(present if here else None) or Amount(),
        set_aside=aside,
        known=known,
        into=str(request.into or ""),
    )
    if request.files and (lost := catalog.lost.of_backups([backup_id]).get(backup_id)):
        plan = replace(plan, lost=tuple(lost["lost"]), lost_count=lost["lost_count"])
    return plan if plan.to_request.archives else replace(plan, hours={}), backup["last_scan"]


def _wanted(places: Sequence[Where], request: RestoreRequest) -> list[Where]:
    """Return the places of what the request brings; the dump is the first, and a staged one is fetched again."""
    dump, files = places[:1], places[1:]
    staged = [replace(one, status=RetrievalStatus.AVAILABLE) for one in dump if one.status is RetrievalStatus.LOCAL]
    return [*((staged or dump) if request.database else ()), *(files if request.files else ())]


def _figures_less(places: Iterable[Where], aside: Amount) -> Iterator[Figure]:
    """Yield what is in the stores; what lies aside is moved back, not asked for."""
    for place in sorted(places, key=lambda place: place.store_uri):
        amount = place.amount
        if place.status is RetrievalStatus.AVAILABLE and retrieval_hours(place.store_uri):
            amount, aside = _less(amount, aside), _less(aside, amount)
        yield Figure(place.store_uri, "store", place.status, amount)


def _less(amount: Amount, other: Amount) -> Amount:
    return Amount(max(0, amount.archives - other.archives), max(0, amount.bytes - other.bytes))
