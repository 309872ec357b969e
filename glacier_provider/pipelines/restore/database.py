"""`restore_database`: the staged dump, in one transaction or by swap."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glacier_provider.applications import Application
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.archive import name_from_bytes
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.tables import parse_table
from glacier_provider.core.text import NAMED, counted, names
from glacier_provider.errors import FileMissing, GlacierProviderError, RestoredInPart, SelectionConflict
from glacier_provider.files import hash_source, open_source
from glacier_provider.files.root import file_errors
from glacier_provider.pipelines.shared.progress import Progress
from glacier_provider.staging import extract_tar, remove_tree, require_space

if TYPE_CHECKING:
    from glacier_provider.postgres import (
        DatabasePlan,
        Exclusions,
        OnError,
        PgRestoreOptions,
        RestoredDatabase,
        Selection,
        Server,
        Tools,
    )
    from glacier_provider.postgres.checks.restored import DatabaseChecks, ReferenceCheck, RestoreChecking
    from glacier_provider.postgres.restore.elsewhere import TargetDatabase

from glacier_provider.pipelines.restore.elsewhere import (
    Elsewhere,
    Place,
    answering_database,
    claimed_database,
    target_place_of,
)
from glacier_provider.pipelines.restore.present import require_brought, require_still_there
from glacier_provider.pipelines.restore.safety import chosen_dump, make_safety_dump, safety_exclusions
from glacier_provider.pipelines.restore.step import restore_step, undo_step
from glacier_provider.pipelines.shared.staging import NOT_SHARED, staging_directory_of

log = logging.getLogger(__name__)


def restore_database(
    application: Application,
    restore_id: int,
    *,
    catalog: Catalog,
    server: Server,
    elsewhere: Elsewhere | None = None,
) -> dict[str, Any]:
    """Restore the staged dump as a whole or not at all; return the numbers `restored` and `removed`, and `warnings`.

    In one transaction, or, with the mode `swap`, into a new database that takes the old one's name. A restore that goes
    into another place leaves `server`'s database alone, and needs `elsewhere` to reach that place.

    The catalog's schema is excluded by identity, as are the application's own exclusions. Raise RestoreFailed (the
    database is as it was), SelectionConflict or MissingRoles (nothing was begun), or RestoredInPart (statements failed,
    the rest is restored beside, and `accept_errors` has it swapped).
    """
    from glacier_provider.postgres import security_warning, table_of_contents, tools_for

    restore = catalog.restores.get(restore_id)
    request = RestoreRequest.from_params(restore["request"])
    if not request.database:
        return {"skipped": True}
    if restore["outcome"].get("database"):
        log.info("The database was restored by an earlier try of this restore.")
        return _small(restore["outcome"]["database"])
    with restore_step(catalog, restore_id, "the database") as heartbeat:
        require_still_there(application, restore_id, catalog=catalog)
        require_brought(restore_id, catalog=catalog)
        dump = _staged_dump(application, restore_id, restore, catalog=catalog)
        place = target_place_of(application, restore, elsewhere)
        server = server if place is None else place.server
        compression = table_of_contents(dump).header.compression
        asked = server if place is None else answering_database(place)
        tools = tools_for(asked, application.pg_bin_directory, compression=compression)
        if warning := security_warning(tools):
            log.warning(warning)
        progress = Progress(log, "pg_restore", on_heartbeat=heartbeat).heartbeat
        backup = catalog.backups.get(restore["backup_id"])
        checking = checking_of(application, restore, progress, catalog)
        call = _Call(application, backup, restore, request, server, tools, dump, progress, checking)
        outcome = _into_its_own(call, catalog) if place is None else _into_another(call, place, catalog)
        catalog.restores.add_outcome(restore_id, database=outcome)
    return _small(outcome)


def undo_database(
    application: Application,
    restore_id: int,
    *,
    catalog: Catalog,
    server: Server,
    path: str | None = None,
    run: Run | None = None,
) -> dict[str, Any]:
    """Bring back the database that a restore replaced, out of the dump that it made of it: the last one, or `path`.

    As the restore did, in one transaction or by swap; what was written since is replaced. `run`: of Airflow, by which
    others know whether it goes on. Return `restored`, `removed` and `warnings`. Raise IllegalMove when it made none,
    FileMissing when that is not here, LeaseHeld while another run works on the application, and as `restore_database`.
    """
    from glacier_provider.postgres import OnError, table_of_contents, tools_for
    from glacier_provider.postgres.checks.restored import DatabaseChecks, RestoreChecking

    restore = catalog.restores.get(restore_id)
    dump = chosen_dump(application, restore, path)
    with undo_step(catalog, restore_id, "the database", run) as heartbeat:
        compression = table_of_contents(dump).header.compression
        tools = tools_for(server, application.pg_bin_directory, compression=compression)
        progress = Progress(log, "pg_restore", on_heartbeat=heartbeat).heartbeat
        done = list(restore["outcome"].get("undone", ()))
        backup = {"report": {"dump_exclusions": safety_exclusions()}}
        mark = {**restore, "id": f"{restore_id}_undone_{len(done) + 1}", "outcome": {}}
        checking = RestoreChecking(DatabaseChecks(), progress)
        request = RestoreRequest(None)
        call = _Call(application, backup, mark, request, server, tools, dump, progress, checking)
        plan = _planned(call)
        restored = _by_swap(call, OnError.STOP) if plan is None else _in_place(call, plan)
        catalog.restores.add_outcome(
            restore_id, undone=[*done, {"path": str(dump), "at": datetime.now(UTC).isoformat()}]
        )
    log.info("The database is as it was in %s.", dump)
    return {"restored": restored.restored, "removed": restored.removed, "warnings": list(restored.warnings)[:NAMED]}


def _by_swap(call: _Call, on_error: OnError) -> RestoredDatabase:
    from glacier_provider.postgres import restore_by_swap

    return restore_by_swap(
        call.server,
        call.tools,
        call.dump,
        call.options,
        mark=call.mark,
        jobs=call.application.restore.jobs,
        catalog_schema=call.application.catalog_schema,
        on_error=on_error,
        progress=call.progress,
        checking=call.checking,
    )


def _into_its_own(call: _Call, catalog: Catalog) -> dict[str, Any]:
    roles = _roles(call)
    fresh = _is_fresh(call, catalog)
    plan = _planned(call)
    if call.application.restore.safety_dump and not fresh:
        make_safety_dump(call.application, call.restore["id"], call.server, progress=call.progress, catalog=catalog)
    _properties(call, fresh=fresh, settings_alone=True)
    restored = _swapped(call, catalog) if plan is None else _in_place(call, plan)
    return _outcome(call, restored, roles, fresh=fresh, beside=plan is None)


def _into_another(call: _Call, place: Place, catalog: Catalog) -> dict[str, Any]:
    """Restore into a database of this restore's own, which is empty, or what an earlier try made of it."""
    from glacier_provider.postgres.restore.elsewhere import mark_whole

    with claimed_database(place, call.dump, catalog=catalog) as found:
        roles = _roles(call)
        plan = _planned_elsewhere(call, found)
        _properties(call, fresh=True, settings_alone=True)
        restored = _filled(call, found, catalog) if plan is None else _in_place(call, plan)
        outcome = _outcome(call, restored, roles, fresh=True, beside=plan is None)
        mark_whole(call.server, place.mark)
    return outcome


def _outcome(
    call: _Call, restored: RestoredDatabase, roles: Sequence[str], *, fresh: bool, beside: bool
) -> dict[str, Any]:
    outcome: dict[str, Any] = {"restored": restored.restored, "removed": restored.removed}
    outcome["warnings"] = [*roles, *restored.warnings, *_properties(call, fresh=fresh)][:NAMED]
    outcome["checks"] = [one.as_dict() for one in call.checking.results]
    if call.checking.exempt:
        outcome["exempt"] = [asdict(one) for one in call.checking.exempt]
    return outcome | _known_failures(call, restored, swapped=beside)


def checking_of(
    application: Application, restore: Row, progress: Callable[[str], None], catalog: Catalog
) -> RestoreChecking:
    """Return what a restored database is compared with before it takes its place, if its backup noted anything."""
    from glacier_provider.postgres.checks.restored import RestoreChecking

    refused = (restore["outcome"].get("beside") or {}).get("refused")
    wanted = checks_wanted(application, restore["backup_id"], application.restore.checks, catalog)
    return RestoreChecking(wanted, progress, refused)


def checks_wanted(application: Application, backup_id: int, checks: Iterable[str], catalog: Catalog) -> DatabaseChecks:
    """Return `checks` of a database that is restored from a backup, with what that noted, and the user's assertions."""
    from glacier_provider.core.checks import GRANTS, REFERENCES, Fingerprint
    from glacier_provider.postgres.checks.restored import DatabaseChecks

    wanted = application.restore
    kept = catalog.backups.fingerprint(backup_id)
    expected = None
    if kept is not None:
        try:
            expected = Fingerprint.from_dict(kept)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            log.warning("What was noted of the database of backup %d is not readable: %s", backup_id, error)
    # Who owns everything now needs no grant of what it was granted.
    no_grants = "drop" in (wanted.privileges, wanted.owner)
    if expected is not None and wanted.owner == "drop":
        expected = expected.without("owner")
    names_of = tuple(name for name in checks if not (name == GRANTS and no_grants))
    return DatabaseChecks(
        expected,
        application.assertions or {},
        names_of,
        catalog_schema=application.catalog_schema,
        references=_references(application.references_query, backup_id, catalog) if REFERENCES in names_of else None,
    )


def _references(query: str | None, backup_id: int, catalog: Catalog) -> ReferenceCheck | None:
    """Return how it is found out which of the names that a restored database knows the backup lacks."""
    from glacier_provider.postgres.checks.restored import ReferenceCheck

    def missing(told: list[str]) -> list[str]:
        known = [name_from_bytes(name.encode("utf-8", "surrogateescape")) for name in told]
        return catalog.scans.unarchived_references(backup_id, known)

    return ReferenceCheck(query, missing) if query else None


def _small(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return what goes on to other tasks: how many statements failed; the catalog has which."""
    return {name: value for name, value in outcome.items() if name not in ("failed", "checks", "exempt")}


@dataclass(frozen=True, slots=True)
class _Call:
    """What a restore of the database is called with."""

    application: Application
    backup: Row
    restore: Row
    request: RestoreRequest
    server: Server
    tools: Tools
    dump: Path
    progress: Callable[[str], None]
    checking: RestoreChecking

    @property
    def may_swap(self) -> bool:
        return self.application.restore.mode in ("swap", "auto") and not self.request.tables

    @property
    def exclusions(self) -> Exclusions:
        return exclusions_of(self.application, self.backup)

    @property
    def mark(self) -> str:
        return f"restore_{self.restore['id']}_{self.restore['opened_at']:%Y%m%d%H%M%S}"

    @property
    def options(self) -> PgRestoreOptions:
        from glacier_provider.postgres import Keep, PgRestoreOptions

        wanted = self.application.restore
        return PgRestoreOptions(
            owner=Keep(wanted.owner),
            privileges=Keep(wanted.privileges),
            tablespaces=Keep(wanted.tablespaces),
            lock_timeout_seconds=wanted.lock_timeout_seconds,
        )


def _roles(call: _Call) -> tuple[str, ...]:
    """Make the roles that the dump needs, where that is wanted; return what could not, or should not, be made."""
    from glacier_provider.postgres import create_roles

    recorded = call.backup["report"].get("roles")
    if call.application.restore.roles != "create" or not recorded:
        return ()
    left = create_roles(call.server, recorded)
    for line in left:
        log.warning("%s", line)
    return left


def _is_fresh(call: _Call, catalog: Catalog) -> bool:
    """Tell whether the database was empty when this restore first saw it: a later try sees what an earlier one made."""
    from glacier_provider.postgres import is_fresh

    known = call.restore["outcome"].get("fresh_database")
    if known is None:
        known = is_fresh(call.server, catalog_schema=call.application.catalog_schema)
        catalog.restores.add_outcome(call.restore["id"], fresh_database=known)
    return bool(known)


def _properties(call: _Call, *, fresh: bool, settings_alone: bool = False) -> tuple[str, ...]:
    """Give the database the properties of the dumped one, where that is wanted; return what could not be.

    Of a database that was empty the settings come first: what is restored may ask for them.
    """
    if settings_alone and not fresh:
        return ()
    from glacier_provider.postgres import restore_properties

    wanted = call.application.restore.database_properties
    if call.request.tables or wanted == "keep" or (wanted == "auto" and not fresh):
        return ()
    try:
        return restore_properties(
            call.server, call.dump, call.options, replace=wanted == "dump", settings_alone=settings_alone
        )
    except GlacierProviderError as error:  # every row is restored
        return (f"Settings and privileges of the database were not restored: {error.message}",)


def _planned(call: _Call) -> DatabasePlan | None:
    """Return the plan of a restore in one transaction, or None when the database is made beside and swapped.

    With `auto` it is swapped when one transaction needs more locks than the server surely has, and a swap can be made.
    Raise SelectionConflict where a swap would leave something behind.
    """
    from glacier_provider.postgres import plan_database_restore

    if call.may_swap and call.application.restore.mode == "swap":
        refuse_left_behind(call.exclusions.named)
        return None
    selection = _selection(call)
    plan = plan_database_restore(call.server, call.tools, call.dump, selection, call.options, call.exclusions)
    return None if call.may_swap and not plan.fits_a_transaction and _can_swap(call, plan) else plan


def _can_swap(call: _Call, plan: DatabasePlan) -> bool:
    from glacier_provider.postgres import check_swap

    if _leaves_out(call):
        return False
    try:
        check_swap(call.server, catalog_schema=call.application.catalog_schema)
    except GlacierProviderError as error:
        log.warning("One transaction may need more locks than the server has, and a swap cannot be made: %s", error)
        return False
    log.info("One transaction would take about %s: the database is restored beside.", counted(plan.locks, "lock"))
    return True


def _leaves_out(call: _Call) -> bool:
    """Whether the dump, or this restore of it, leaves anything out."""
    restore = call.application.restore
    return bool(call.exclusions.named or restore.exclude_tables or restore.exclude_schemas)


def refuse_left_behind(left_out: Sequence[str]) -> None:
    """Raise SelectionConflict when the dump left something out: a swap would leave that in the old database."""
    if left_out:
        raise SelectionConflict(
            f"The dump does not hold {names(left_out)}, and a swap would leave them behind in the old database.",
            hint="Nothing was changed. Set restore.mode to transaction, in which they stay as they are.",
        )


def _in_place(call: _Call, plan: DatabasePlan) -> RestoredDatabase:
    from glacier_provider.postgres import drop_beside, restore_planned

    restored = restore_planned(
        plan,
        call.server,
        call.tools,
        call.options,
        progress=call.progress,
        checking=call.checking,
        jobs=call.application.restore.jobs,
    )
    if call.restore["outcome"].get("beside"):  # an earlier try was to swap
        try:
            drop_beside(call.server, call.mark)
        except GlacierProviderError as error:
            log.warning("What an earlier try left beside could not be dropped: %s", error)
    return restored


def _planned_elsewhere(call: _Call, found: TargetDatabase) -> DatabasePlan | None:
    """Return the plan of a restore in one transaction, or None when several connections fill the database: where a
    restore in place would be a swap, and, with `auto`, when one transaction needs more locks than the server has.

    What refers to what was left out is restored as far as it can be by a transaction alone.
    """
    from glacier_provider.postgres import plan_database_restore

    may_fill = call.may_swap and (found.empty or found.is_begun) and not _leaves_out(call)
    if may_fill and call.application.restore.mode == "swap":
        return None
    plan = plan_database_restore(call.server, call.tools, call.dump, _selection(call), call.options, call.exclusions)
    return plan if plan.fits_a_transaction or not may_fill else None


def _filled(call: _Call, found: TargetDatabase, catalog: Catalog) -> RestoredDatabase:
    from glacier_provider.postgres.restore.elsewhere import fill_database

    try:
        return fill_database(
            found,
            call.tools,
            call.dump,
            call.options,
            jobs=call.application.restore.jobs,
            on_error=_on_error(call),
            progress=call.progress,
            checking=call.checking,
        )
    except GlacierProviderError as error:
        _note_beside(call, error, catalog)
        raise


def _on_error(call: _Call) -> OnError:
    from glacier_provider.postgres import OnError

    beside = call.restore["outcome"].get("beside") or {}
    if call.request.accept_errors or beside.get("accepted"):
        return OnError.ACCEPT
    return OnError(call.application.restore.on_error)


def _swapped(call: _Call, catalog: Catalog) -> RestoredDatabase:
    try:
        return _by_swap(call, _on_error(call))
    except GlacierProviderError as error:
        _note_beside(call, error, catalog)
        raise


def _note_beside(call: _Call, error: GlacierProviderError, catalog: Catalog) -> None:
    """Record what stands beside, and what failed in it, for the person who decides and for the next try."""
    beside = dict(call.restore["outcome"].get("beside") or {}, message=str(error))
    if isinstance(error, RestoredInPart):
        error.hint = (
            f"Look at it. To take it as it is: glacier-backup accept-errors {call.restore['id']}, then clear the task "
            "restore_database. All that failed is in the task log and in: glacier-backup restores --json."
        )
        beside["message"] = str(error)
        if error.failed:
            beside |= {"accepted": False, **_failures(error.failed)}
    if call.checking.refused is not None:
        beside["refused"] = list(call.checking.refused[:FAILURES_KEPT])
    catalog.restores.add_outcome(call.restore["id"], beside=beside)


def _known_failures(call: _Call, restored: RestoredDatabase, *, swapped: bool) -> dict[str, Any]:
    """Return what the restored database lacks: this try or an earlier one found it."""
    beside = call.restore["outcome"].get("beside") or {}
    if restored.failed:
        return _failures(restored.failed)
    return {name: beside[name] for name in ("failed_count", "failed") if name in beside} if swapped else {}


def _failures(failed: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    return {"failed_count": len(failed), "failed": [_shortened(one) for one in failed[:FAILURES_KEPT]]}


def _shortened(failed: Mapping[str, str]) -> dict[str, str]:
    return {name: text if len(text) <= LONGEST else f"{text[:LONGEST]} ..." for name, text in failed.items()}


#: Characters of a statement that are kept.
LONGEST = 4000

#: So many statements that failed are kept in the catalog; the task log has all of them.
FAILURES_KEPT = 200


def exclusions_of(application: Application, backup: Row) -> Exclusions:
    """Return what the dump left out; of a backup that did not note it, what is left out today.

    Without the catalog's schema, which every dump leaves out and no restore touches: no application needs it.
    """
    from glacier_provider.postgres import Exclusions

    noted = backup["report"].get("dump_exclusions")
    dump = application.dump
    found = (
        Exclusions.from_dict(noted)
        if noted is not None
        else Exclusions(
            tuple(dump.exclude_schemas),
            tuple(parse_table(name) for name in dump.exclude_tables),
            tuple(parse_table(name) for name in dump.exclude_table_data),
        )
    )
    return replace(found, schemas=tuple(name for name in found.schemas if name != application.catalog_schema))


def _selection(call: _Call) -> Selection:
    """Return what is restored. Elsewhere there is nothing that would have to stay as it is."""
    from glacier_provider.postgres import Selection

    wanted, here = call.application.restore, call.request.into is None
    return Selection(
        exclude_schemas=(call.application.catalog_schema, *(wanted.exclude_schemas if here else ())),
        exclude_tables=tuple(parse_table(name) for name in (wanted.exclude_tables if here else ())),
        tables=call.request.tables or None,
    )


def _staged_dump(application: Application, restore_id: int, restore: Row, *, catalog: Catalog) -> Path:
    backup = catalog.backups.get(restore["backup_id"])
    archive = catalog.archives.get(backup["database_archive_id"])
    path = staging_directory_of(application, "restore", restore_id) / str(archive["filename"])
    if not path.exists():
        catalog.restores.release_database(restore_id)
        raise FileMissing(
            f"The dump of backup {backup['id']} is not in staging ({path}).",
            hint="Clear the task download of this restore, or request_retrievals if its retrieval has expired. "
            f"{NOT_SHARED}",
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
