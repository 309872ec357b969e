"""Restoring a database from a dump: all of it or nothing.

One transaction drops what the dump replaces and makes anew what it holds: this process sends the definitions that the
dump's table of contents has, and the rows that pg_restore reads. It is committed only when pg_restore has ended well,
no statement was refused and everything that was to stay is there; whatever else happens, from a broken row to the death
of this process, the server rolls it back. Large databases need as many locks as they have objects: see
max_locks_per_transaction.
"""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from glacier_provider.core.sqlstate import Meaning, meaning_of
from glacier_provider.core.text import names, readable_size
from glacier_provider.errors import DatabaseBusy, DatabaseUnreachable, GlacierProviderError, RestoreFailed, ToolKilled
from glacier_provider.postgres.dump.toc import TocEntry
from glacier_provider.postgres.restore import definitions, target
from glacier_provider.postgres.restore.creators import Creators
from glacier_provider.postgres.restore.outcome import MISSING, FailedStatement, RestoredDatabase, is_of_the_statement
from glacier_provider.postgres.restore.plan import (
    EXTENSION_STAYS,
    NO_SUBSCRIPTION,
    OF_A_MEMBER,
    ROWS_OF_A_MEMBER,
    DatabasePlan,
    plan_database_restore,
    schema_needed,
    schema_of_extension,
)
from glacier_provider.postgres.restore.rows import Rows, RowsCut
from glacier_provider.postgres.restore.selection import RELATIONS, Selection, rows_of_members
from glacier_provider.postgres.restore.session import Refused, RestoringSession
from glacier_provider.postgres.restore.statements import (
    LARGE_OBJECTS,
    ROWS,
    Storage,
    change_of_owner,
    closed_schemas,
    definition,
    granted_as,
    in_order,
)
from glacier_provider.postgres.restore.statistics import analyze_all, analyze_tables
from glacier_provider.postgres.restore.views import views_as_they_are
from glacier_provider.postgres.tools.find import Tools
from glacier_provider.postgres.tools.messages import without_secrets
from glacier_provider.postgres.tools.options import Exclusions, Keep, PgRestoreOptions
from glacier_provider.postgres.tools.run import CHUNK, Reporter, TaskLog
from glacier_provider.postgres.tools.server import Server, database_errors, error_of
from glacier_provider.postgres.tools.sql import joined_by_hashes, literal, quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.checks.restored import RestoreChecking

OUTCOME_SECONDS = 30.0
_PIECES = 100  #: entries that are sent in one round trip at most,
_PIECES_SIZE = 256 << 10  # and their bytes
_REFRESH = "MATERIALIZED VIEW DATA"
_LARGE = 1 << 20  #: bytes of rows from which on an index takes a while, and is told by itself
_TOGETHER = 200  #: objects that one DROP names: more take longer, since each is looked for among the others
_LISTS = re.compile(
    r"DROP (TABLE|VIEW|MATERIALIZED VIEW|SEQUENCE|FOREIGN TABLE|TYPE|SCHEMA|FUNCTION|PROCEDURE|AGGREGATE)( IF EXISTS)?",
    re.IGNORECASE,
)


def restore_in_transaction(
    server: Server,
    tools: Tools,
    dump: Path,
    selection: Selection,
    options: PgRestoreOptions | None = None,
    *,
    progress: TaskLog,
    exclusions: Exclusions | None = None,
) -> RestoredDatabase:
    """Replace the database's contents by those of `dump`, as far as `selection` tells; all or nothing.

    `exclusions` are those under which the dump was made: what it does not hold stays. Raise what
    `plan_database_restore` raises, or RestoreFailed; in each case the database is as it was.
    """
    options = options or PgRestoreOptions()
    plan = plan_database_restore(server, tools, dump, selection, options, exclusions)
    return restore_planned(plan, server, tools, options, progress=progress)


def restore_planned(
    plan: DatabasePlan,
    server: Server,
    tools: Tools,
    options: PgRestoreOptions,
    *,
    progress: TaskLog,
    checking: RestoreChecking | None = None,
    jobs: int = 2,
) -> RestoredDatabase:
    """As `restore_in_transaction`, by a plan that `plan_database_restore` has just made with the same options.

    The statistics are made afresh over `jobs` connections, once all is committed.
    What `checking` finds wrong before the transaction is committed ends it.
    """
    progress(
        f"Restoring {len(plan.kept):,} entries of {plan.dump.name} into {server}; {len(plan.removed):,} stay as they "
        "are."
    )
    done = _Transaction(plan, server, tools, options, progress, checking).run()
    unfresh = _statistics(plan, server, jobs, progress)
    progress(" ".join(("The database is restored.", *unfresh)))
    return RestoredDatabase(
        restored=len(plan.kept) - len(done.failed),
        removed=len(plan.removed),
        transaction_id=done.transaction_id,
        dump_version=plan.header.server_version,
        server_version=str(plan.server_version),
        analyzed=not unfresh,
        warnings=(*_of_others(plan), *_rows_of_members(plan), *_subscriptions(plan), *done.warnings, *unfresh),
        failed=tuple(one.as_dict() for one in done.failed),
    )


def _of_others(plan: DatabasePlan) -> Iterator[str]:
    if plan.of_others:
        found = names(f"{schema}.{name}" for _, schema, name in plan.of_others)
        yield f"Not restored, since they belong to other roles than {plan.user}; they are as they were: {found}."


def _rows_of_members(plan: DatabasePlan) -> Iterator[str]:
    for removed in plan.removed:
        if removed.reason == ROWS_OF_A_MEMBER:
            yield f"{removed.entry} is not restored: it is {removed.reason}, and they are as they were."


def _subscriptions(plan: DatabasePlan) -> Iterator[str]:
    there = {tag for kind, _, tag in (*plan.target.staying, *plan.target.not_chosen) if kind == "SUBSCRIPTION"}
    for removed in plan.removed:
        is_one = removed.entry.desc == "SUBSCRIPTION" and removed.reason == NO_SUBSCRIPTION
        if is_one and removed.entry.name not in there:
            yield (
                f"{removed.entry} is not restored, and not there any more: create it again by hand when its publisher "
                "is to write into this database."
            )


@dataclass(slots=True)
class _Committed:
    transaction_id: int
    warnings: tuple[str, ...] = ()
    failed: list[FailedStatement] = field(default_factory=list)


class _Transaction:
    """One transaction: `run` reads top to bottom as it happens."""

    def __init__(
        self,
        plan: DatabasePlan,
        server: Server,
        tools: Tools,
        options: PgRestoreOptions,
        progress: TaskLog,
        checking: RestoreChecking | None = None,
    ) -> None:
        self._checking = checking
        self._plan, self._server, self._tools, self._options = plan, server, tools, options
        self._progress = progress
        self._report = Reporter(progress)
        self._doing = ""
        self._contents = {entry.dump_id: entry for entry in plan.kept}
        self._failed: list[FailedStatement] = []
        self._missing: set[int] = set()
        self._in_part: list[TocEntry] = []  # restored as far as it can be, and told: no check has to tell it again
        self._links: list[tuple[str, str, str, str]] = []
        self._views: list[TocEntry] = []
        self._later: list[TocEntry] = []  # what may need one of these views
        self._creators = Creators()
        owned = {name for name, owned in plan.target.schemas.items() if owned}
        self._closed = (owned - plan.target.open_schemas) | closed_schemas(plan.kept)
        self._placed = Storage(options)
        self._waiting: list[tuple[TocEntry, bytes]] = []
        self._waiting_size = 0
        self._large: set[int] = set()
        self._made_schemas: set[str] = set()
        self._of_members = frozenset() if plan.target.superuser else rows_of_members(plan.toc.entries)
        self._transaction_id: int | None = None
        self._asked_to_commit = False

    def run(self) -> _Committed:
        plan = self._plan
        self._views = views_as_they_are(self._server, self._tools, plan.target)
        session = RestoringSession(self._server.connect(autocommit=True), self._tell)
        with session, Rows(self._tools, plan.dump, in_order(plan.kept), plan.toc.codec) as rows:
            try:
                self._begin(session)
                self._note_privileges_of_members()
                staying = self._drop(session)
                for entry in in_order(plan.kept):
                    if entry.desc == "FK CONSTRAINT":  # it may refer to rows of a partition that stayed
                        self._put_together(session, partitions=True)
                    self._restore(session, rows, entry)
                self._send(session)
                self._put_together(session, partitions=True)
                self._make_views_again(session)
                self._put_together(session, partitions=False)
                self._creators.no_more(session)
                self._check_staying(session, staying)
                self._check_read(rows)
                if self._checking is not None:
                    self._doing = "checking what is restored"
                    session.text("SET LOCAL standard_conforming_strings = on")  # as when the dump was looked at
                    lacking = [removed.entry for removed in plan.removed if removed.reason != EXTENSION_STAYS]
                    lacking += [self._contents[number] for number in self._missing if number in self._contents]
                    self._checking.in_session(session, [*lacking, *self._in_part])
                # Who slept meanwhile finds out here that the lease is another's, before anything is replaced.
                self._progress("All of it is sent; it is committed now.")
                self._asked_to_commit, self._doing = True, "waiting to commit"
                session.run(b"COMMIT")
            except (Refused, RowsCut) as error:
                return self._unless_committed(self._failure(session, rows, error), session)
        return self._committed(session)

    def _committed(self, session: RestoringSession, *more: str) -> _Committed:
        assert self._transaction_id is not None  # the first thing that is asked for
        warnings = (*session.warnings, *map(str, self._failed), *more)
        return _Committed(self._transaction_id, warnings, self._failed)

    def _tell(self) -> None:
        self._report.tell(lambda: self._doing)

    # --- in the transaction ----------------------------------------------------------------------------------------

    def _begin(self, session: RestoringSession) -> None:
        self._doing = "beginning"
        timeouts = ["statement_timeout", "idle_in_transaction_session_timeout"]
        timeouts += ["transaction_timeout"] if self._plan.server_version.major >= 17 else []
        settings = dict.fromkeys(timeouts, "0") | {
            "lock_timeout": str(round(self._options.lock_timeout_seconds * 1000)),
            "client_min_messages": "warning",
            "check_function_bodies": "off",
            "xmloption": "content",
            "row_security": "off",
            "datestyle": "ISO",
            "intervalstyle": "postgres",
            "search_path": "",
        }
        session.run(b"BEGIN")
        for name, value in settings.items():
            session.text(f"SET LOCAL {name} = {literal(value)}")
        # A server process that works on a long statement looks whether its client is still there.
        session.text(
            "SELECT set_config(name, '2s', true) FROM pg_catalog.pg_settings "
            "WHERE name = 'client_connection_check_interval'"
        )
        self._transaction_id = int(session.text("SELECT txid_current()")[0][0] or 0)
        for entry in self._plan.toc.entries:
            if entry.desc in ("ENCODING", "STDSTRINGS"):
                session.run(self._bytes(entry.definition.replace("SET ", "SET LOCAL ", 1)))
        session.codec = self._plan.toc.codec
        session.text(f"SELECT set_config('glacier_provider.selection', {literal(self._plan.setting)}, true)")
        emptied = json.dumps([table for table, _ in self._plan.replace_rows], ensure_ascii=False)
        session.text(f"SELECT set_config('glacier_provider.emptied', {literal(emptied)}, true)")

    def _drop(self, session: RestoringSession) -> dict[str, str]:
        """Drop what is replaced; return what has to stay, with descriptions."""
        queries = target.named_queries("drop.sql")
        self._doing = "dropping what the dump replaces"
        with joined_by_hashes(session.text):
            staying = {str(one): str(described) for one, described in session.text(queries["staying"])}
            self._links = [(str(k), str(w), str(b), str(a)) for k, w, b, a in session.text(queries["links"])]
            subscribed = [str(name) for (name,) in session.text(queries["subscribed"])]
            drops = session.text(queries["drops"])
        session.text(f"SELECT set_config('glacier_provider.staying', {literal(','.join(staying))}, true)")
        for _, _, before, _ in self._links:
            if before:
                session.text(before)
        for statement in _statements((str(verb), str(what)) for _, verb, what in drops):
            session.text(statement)
        if self._plan.selection.tables is None:
            session.text(queries["large_objects"])
        self._check_staying(session, staying)
        if subscribed:
            session.warnings.append(
                f"Subscriptions no longer fill {', '.join(subscribed[:10])}: "
                "run ALTER SUBSCRIPTION ... REFRESH PUBLICATION."
            )
        self._empty_extension_tables(session)
        session.text("SET LOCAL lock_timeout = 0")
        return staying

    def _make_schema(self, session: RestoringSession, entry: TocEntry) -> None:
        """Make the schema that an entry needs, where neither dump nor target has it.

        Not before: an extension, which comes first, may make it itself, and could not if it were there.
        """
        name = schema_needed(entry)
        if name not in self._plan.create_schemas or name in self._made_schemas:
            return
        self._send(session)
        self._made_schemas.add(name)
        there = session.text(f"SELECT pg_catalog.to_regnamespace({literal(quoted(name))})")[0][0]
        if there is not None:
            return
        session.text(f"CREATE SCHEMA {quoted(name)}")
        if name == "public":
            self._as_a_new_database_has_it(session)

    def _as_a_new_database_has_it(self, session: RestoringSession) -> None:
        """Give the schema public its first owner and privileges: a dump has what was changed of them."""
        owned = self._plan.server_version.major >= 15
        if owned:
            session.text("ALTER SCHEMA public OWNER TO pg_database_owner")
        session.text(f"GRANT {'USAGE' if owned else 'ALL'} ON SCHEMA public TO PUBLIC")
        session.text("COMMENT ON SCHEMA public IS 'standard public schema'")

    def _empty_extension_tables(self, session: RestoringSession) -> None:
        """Delete the rows that the dump brings again; in one statement, so that tables may refer to each other."""
        if self._plan.replace_rows:
            deletions = [
                f"d{number} AS (DELETE FROM {quoted(table[0])}.{quoted(table[1])} {condition})"
                for number, (table, condition) in enumerate(self._plan.replace_rows)
            ]
            session.text(f"WITH {', '.join(deletions)} SELECT 1")

    def _restore(self, session: RestoringSession, rows: Rows, entry: TocEntry) -> None:
        self._make_schema(session, entry)
        if entry.schema and not self._plan.target.superuser:
            if entry.schema in self._closed:
                self._let_in(session, entry.schema)
            if self._gives(entry):
                self._let_create(session, entry.schema, entry.owner)
        if self._is_alone(entry):
            self._send(session)
            self._doing = f"restoring {entry}"
            self._restore_alone(session, rows, entry)
            self._tell()
        elif sql := self._sql(entry):
            self._note_grants(entry)
            self._wait(session, entry, self._bytes(sql))
        if self._meets_default_privileges(entry):
            self._send(session)
            self._doing = f"taking from {entry} what default privileges gave"
            self._take_back_privileges(session, entry)

    def _is_alone(self, entry: TocEntry) -> bool:
        """Whether an entry is not sent with others."""
        has_rows = entry.desc in (ROWS, LARGE_OBJECTS, _REFRESH)
        return has_rows or entry.dump_id in self._plan.uncertain or entry.dump_id in self._of_members

    def _meets_default_privileges(self, entry: TocEntry) -> bool:
        """Whether it is made while default privileges are there: beside chosen tables they stay as they are."""
        partly = self._plan.selection.tables is not None and self._options.privileges is Keep.KEEP
        return partly and entry.desc in RELATIONS and entry.dump_id not in self._missing

    def _let_create(self, session: RestoringSession, schema: str, role: str) -> None:
        if not self._creators.knows(schema, role):
            self._send(session)  # the schema is perhaps among what waits
            self._doing = f"letting {role} create in the schema {schema}"
            self._creators.let(session, schema, role)

    def _let_in(self, session: RestoringSession, schema: str) -> None:
        if not self._creators.knows(schema, self._plan.user):
            self._send(session)  # as above
            self._doing = f"letting {self._plan.user} into the schema {schema}, which is closed to it"
            self._creators.let_in(session, schema, self._plan.user)

    def _restore_alone(self, session: RestoringSession, rows: Rows, entry: TocEntry) -> None:
        if not self._may_fill(session, entry):
            if entry.desc == ROWS:
                deque(self._told(rows.of(entry)), maxlen=0)
            self._note(entry, f"it is {ROWS_OF_A_MEMBER}")
        elif entry.desc == ROWS:
            before = rows.read
            self._doing = f"restoring {entry}, {readable_size(before)} of rows so far"
            session.copy(self._bytes(self._copy(entry)), self._told(rows.of(entry)))
            if rows.read - before > _LARGE:
                self._large.update(entry.dependencies)
        elif entry.desc == LARGE_OBJECTS:
            self._bring_large_objects(session, rows)
        elif any(needed in self._missing for needed in entry.dependencies):
            self._note(entry, "it needs what could not be restored", may_come=True)
        elif entry.desc == _REFRESH and entry.dump_id not in self._plan.uncertain:
            self._refresh(session, entry)
        else:
            self._try(session, entry)

    def _may_fill(self, session: RestoringSession, entry: TocEntry) -> bool:
        """Whether this user may change the rows of what an extension has just made, which may be another role's."""
        if entry.dump_id not in self._of_members:
            return True
        asked = "has_table_privilege" if entry.desc == ROWS else "has_sequence_privilege"
        privilege = "INSERT" if entry.desc == ROWS else "UPDATE"
        name = literal(f"{quoted(entry.schema or '')}.{quoted(entry.name)}")
        return session.text(f"SELECT pg_catalog.{asked}(pg_catalog.to_regclass({name}), '{privilege}')")[0][0] != "f"

    def _refresh(self, session: RestoringSession, entry: TocEntry) -> None:
        """Fill a materialized view. No dump has its rows: if a server that it reads is away, it stays empty."""
        sql = self._definition(entry)
        try:
            session.run(self._bytes(f"SAVEPOINT glacier_entry;\n{sql};\nRELEASE glacier_entry"))
        except Refused as refused:
            if not _is_of_another_server(refused):
                raise
            with suppress(Refused):  # else it was this one
                session.text("ROLLBACK TO glacier_entry")
                self._note(entry, f"it is not filled, since {_lower(refused.text)}")
                return
            raise

    def _copy(self, entry: TocEntry) -> str:
        """Return what begins the rows of an entry.

        pg_dump has the rows of some partitions (by a hash of an enum) go through the table above. Where that one stays,
        the partition is attached to it at the end.
        """
        through = definitions.copied_table(entry.copy)
        table = (entry.schema or "", entry.name)
        if through in (None, table) or through in self._plan.relations:
            return entry.copy
        return definitions.copy_into(entry.copy, table)

    def _wait(self, session: RestoringSession, entry: TocEntry, sql: bytes) -> None:
        """Have an entry wait for others, to be sent with them; not what takes long, so that it is told."""
        is_slow = not self._large.isdisjoint(entry.dependencies)
        if is_slow:
            self._send(session)
        self._waiting.append((entry, sql))
        self._waiting_size += len(sql)
        if is_slow or len(self._waiting) >= _PIECES or self._waiting_size >= _PIECES_SIZE:
            self._send(session)

    def _send(self, session: RestoringSession) -> None:
        """Send what waits, in one round trip."""
        waiting, self._waiting, self._waiting_size = self._waiting, [], 0
        if not waiting:
            return
        more = f" and {len(waiting) - 1:,} more" if len(waiting) > 1 else ""
        self._doing = f"restoring {waiting[0][0]}{more}"
        try:
            session.run_all([sql for _, sql in waiting])
        except Refused as refused:
            self._doing = f"restoring {waiting[refused.piece][0]}"
            raise
        self._tell()

    def _gives(self, entry: TocEntry) -> bool:
        """Whether an entry's object is given to another role."""
        made_by_us = entry.desc == "SCHEMA" and entry.name in self._plan.create_schemas
        is_ours = entry.owner == self._plan.user and not made_by_us
        return self._options.owner is Keep.KEEP and not is_ours and bool(change_of_owner(entry))

    def _told(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._tell()
            yield chunk

    def _sql(self, entry: TocEntry) -> str:
        """Return what restores an entry, empty when nothing does."""
        sql = self._definition(entry)
        return self._placed.before(entry) + sql if sql else ""

    def _definition(self, entry: TocEntry) -> str:
        text = definition(entry, self._contents)
        if self._plan.target.staying.get((entry.desc, entry.schema, entry.name)):  # it stays for something else
            text = re.sub(r"\ACREATE (?=FUNCTION|PROCEDURE)", "CREATE OR REPLACE ", text)
        if entry.desc == "ACL" and not self._plan.target.superuser:
            text, _ = granted_as(text, self._plan.target.roles)
        return text + (change_of_owner(entry) if self._gives(entry) else "")

    def _note_grants(self, entry: TocEntry) -> None:
        """List the privileges that roles gave as which this user cannot act."""
        if entry.desc == "ACL" and not self._plan.target.superuser:
            _, refused = granted_as(definition(entry, self._contents), self._plan.target.roles)
            if refused:
                reason = f"a role as which {self._plan.user} cannot act granted this"
                self._failed.append(FailedStatement(str(entry), reason, "\n".join(refused)))
                self._in_part.append(entry)

    def _note_privileges_of_members(self) -> None:
        """List the privileges on what extensions made, where one of these is made anew; else they are as they were."""
        if any(entry.desc == "EXTENSION" for entry in self._plan.kept):
            of_members = [removed.entry for removed in self._plan.removed if removed.reason == OF_A_MEMBER]
            self._failed += [FailedStatement(str(e), f"it is {OF_A_MEMBER}", e.definition.strip()) for e in of_members]
            self._in_part += of_members

    def _try(self, session: RestoringSession, entry: TocEntry) -> None:
        """Restore what may need something that was left out; note it when it cannot be."""
        place, sql = self._placed.before(entry), self._definition(entry)
        try:  # where it goes is set for what follows, too, and outlives the savepoint
            session.run(self._bytes(f"{place}SAVEPOINT glacier_entry;\n{sql};\nRELEASE glacier_entry"))
            self._note_grants(entry)
        except Refused as refused:
            session.text("ROLLBACK TO glacier_entry")
            if refused.state == "23503" and entry.desc == "FK CONSTRAINT":
                self._unchecked(session, entry, sql, refused)
            elif is_of_the_statement(refused.state):
                why = f"it could not be restored, since {_lower(refused.text)}"
                self._note(entry, why, may_come=refused.state in MISSING)
            else:
                raise

    def _unchecked(self, session: RestoringSession, entry: TocEntry, sql: str, refused: Refused) -> None:
        """Have a foreign key hold from now on; the rows that are there break it."""
        statement = re.sub(r";\s*\Z", " NOT VALID;", sql)
        try:
            session.run(self._bytes(f"SAVEPOINT glacier_entry;\n{statement}\nRELEASE glacier_entry"))
        except Refused:
            session.text("ROLLBACK TO glacier_entry")
            self._note(entry, f"it could not be restored: {refused.detail or refused.text}")
            return
        self._in_part.append(entry)
        self._failed.append(
            FailedStatement(
                str(entry), f"it is NOT VALID, since rows break it: {refused.detail or refused.text}", sql.strip()
            )
        )

    def _note(self, entry: TocEntry, reason: str, *, may_come: bool = False) -> None:
        self._missing.add(entry.dump_id)
        if may_come and self._views:
            self._later.append(entry)
            return
        self._failed.append(FailedStatement(str(entry), reason, without_secrets(self._definition(entry).strip())))

    def _bring_large_objects(self, session: RestoringSession, rows: Rows) -> None:
        """Fill the large objects, many in one statement."""
        waiting: list[bytes] = []
        size = 0
        for oid, offset, digits in rows.large_objects():
            if oid in self._plan.target.foreign_large_objects:
                continue
            # E'' is read alike whatever standard_conforming_strings the dump has set
            waiting.append(b"SELECT pg_catalog.lo_put(%d, %d, E'\\\\x%s');" % (oid, offset, digits))
            size += len(digits)
            if size > CHUNK:
                session.run(b"".join(waiting))
                waiting, size = [], 0
                self._tell()
        if waiting:
            session.run(b"".join(waiting))

    def _put_together(self, session: RestoringSession, *, partitions: bool) -> None:
        """Tie what stays to what was restored, as it was tied before, each once."""
        tied = [link for link in self._links if (link[0] == "partition") is partitions]
        self._links = [link for link in self._links if (link[0] == "partition") is not partitions]
        if tied:
            self._send(session)
        for kind, what, _, after in tied:
            if not after:
                continue
            self._doing = f"putting the {kind} {what} together again"
            try:
                session.text("SAVEPOINT glacier_link")
                session.text(f"{after};\nRELEASE glacier_link")
            except Refused as refused:
                session.text("ROLLBACK TO glacier_link")
                self._untied(session, kind, what, after, refused)

    def _make_views_again(self, session: RestoringSession) -> None:
        """Make the views that went with what they need, and what needs them in turn, as long as one more can be."""
        waiting = [(entry, True) for entry in self._views] + [(entry, False) for entry in self._later]
        self._views, self._later = [], []
        while waiting:
            failed: list[tuple[TocEntry, bool, Refused]] = []
            for entry, is_view in waiting:
                self._doing = f"making {entry} again"
                session.text("SAVEPOINT glacier_entry")
                try:
                    self._make_again(session, entry, is_view)
                except Refused as refused:
                    session.text("ROLLBACK TO glacier_entry")
                    if not (is_of_the_statement(refused.state) or _is_of_another_server(refused)):
                        raise
                    failed.append((entry, is_view, refused))
            if len(failed) == len(waiting):
                for entry, _, why_not in failed:
                    why = f"it could not be made again, since {_lower(why_not.text)}"
                    self._failed.append(FailedStatement(str(entry), why, without_secrets(entry.definition.strip())))
                return
            waiting = [(entry, is_view) for entry, is_view, _ in failed]

    def _make_again(self, session: RestoringSession, entry: TocEntry, is_view: bool) -> None:
        if not is_view:
            session.run(self._bytes(f"{self._definition(entry)};\nRELEASE glacier_entry"))
            self._missing.discard(entry.dump_id)
            return
        sql = entry.definition
        if not self._plan.target.superuser:
            sql, _ = granted_as(sql, self._plan.target.roles)
            if entry.schema and change_of_owner(entry) and entry.owner != self._plan.user:
                self._let_create(session, entry.schema, entry.owner)
        sql += change_of_owner(entry)
        session.run(self._bytes(f"{self._placed.before(entry)}{sql}"))
        if entry.desc in RELATIONS:
            self._take_back_privileges(session, entry)
        session.text("RELEASE glacier_entry")

    def _take_back_privileges(self, session: RestoringSession, relation: TocEntry) -> None:
        """Take from a new relation what default privileges gave, and give its owner all: its own come after it."""
        name = f"{quoted(relation.schema or '')}.{quoted(relation.name)}"
        changes = session.text(
            "SELECT DISTINCT pg_catalog.pg_get_userbyid(c.relowner), CASE a.grantee "
            f"WHEN c.relowner THEN {literal(f'GRANT ALL ON TABLE {name} TO ')} "
            f"ELSE {literal(f'REVOKE ALL ON TABLE {name} FROM ')} END || CASE a.grantee WHEN 0 THEN 'PUBLIC' "
            "ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END "
            "FROM pg_catalog.pg_class c, "
            "pg_catalog.aclexplode(c.relacl || pg_catalog.acldefault('r', c.relowner)) AS a "
            f"WHERE c.oid = pg_catalog.to_regclass({literal(name)}) AND c.relacl IS NOT NULL"
        )
        for owner, change in changes:
            as_it = (
                ""
                if self._plan.target.superuser or owner == self._plan.user
                else f"SET LOCAL ROLE {quoted(str(owner))};"
            )
            session.text(f"{as_it}{change}{as_it and '; RESET ROLE'}")

    def _untied(self, session: RestoringSession, kind: str, what: str, after: str, refused: Refused) -> None:
        if refused.state == "42710":  # the dump has it, too
            return
        if kind == "foreign key" and refused.state == "23503":
            with suppress(Refused):
                session.text(f"SAVEPOINT glacier_link;\n{after} NOT VALID;\nRELEASE glacier_link")
                reason = f"it is NOT VALID, since rows break it: {refused.detail or refused.text}"
                self._failed.append(FailedStatement(f"{kind} {what}", reason, after))
                return
            session.text("ROLLBACK TO glacier_link")
        if not is_of_the_statement(refused.state):
            raise refused
        reason = f"what stays could not be tied to what was restored: {refused.detail or refused.text}"
        self._failed.append(FailedStatement(f"{kind} {what}", reason, after))

    def _check_staying(self, session: RestoringSession, staying: dict[str, str]) -> None:
        """Raise Refused when something is gone that had to stay."""
        lost = [staying[str(one)] for (one,) in session.text(target.named_queries("drop.sql")["lost"])]
        if lost:
            shown = ", ".join(lost[:5]) + (f" and {len(lost) - 5:,} more" if len(lost) > 5 else "")
            raise Refused("2BP01", f"objects that must stay would be dropped as well: {shown}")

    def _check_read(self, rows: Rows) -> None:
        self._doing = "reading the dump to its end"
        if rows.ended().failed:
            raise RowsCut(rows.ended().reason)

    def _bytes(self, sql: str) -> bytes:
        return sql.encode(self._plan.toc.codec, "surrogateescape")

    # --- what went wrong -------------------------------------------------------------------------------------------

    def _failure(self, session: RestoringSession, rows: Rows, error: Refused | RowsCut) -> GlacierProviderError:
        if session.stopped:
            return ToolKilled("The restore was ended from outside.")
        if isinstance(error, RowsCut):
            ended = rows.ended()
            if ended.killed:
                return ToolKilled("pg_restore was ended from outside.")
            return RestoreFailed(
                f"pg_restore could not read the dump {self._plan.dump}: {ended.reason if ended.failed else error}.",
                hint="Bring the dump again from the store; then clear this task.",
            )
        for line in error.lines():
            self._progress(line)
        return _refusal(self._server, error, self._doing, self._plan, session.process)

    def _unless_committed(self, failure: GlacierProviderError, session: RestoringSession) -> _Committed:
        """Raise what went wrong once it is sure that nothing changed; return what was committed all the same."""
        outcome = _outcome(self._server, self._transaction_id)
        if outcome == "committed":
            return self._committed(session, f"The connection was lost after the commit: {failure.message}")
        if outcome == "aborted" or not self._asked_to_commit or self._transaction_id is None:
            failure.message += " The transaction was rolled back; the database is as it was."
            raise failure
        raise RestoreFailed(
            f"{failure.message} Whether the transaction {self._transaction_id} was committed is not known.",
            hint="Ask the server: SELECT txid_status(...) with this id; when it says aborted, nothing was changed.",
        )


def _statements(drops: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield DROP statements, of one kind together as far as SQL lets them."""
    for verb, found in groupby(drops, lambda drop: drop[0]):
        together = _TOGETHER if _LISTS.fullmatch(verb) else 1
        end = " CASCADE" if verb.startswith("DROP") and "USER MAPPING" not in verb else ""
        whats = [what for _, what in found]
        for start in range(0, len(whats), together):
            yield f"{verb} {', '.join(whats[start : start + together])}{end}"


def _is_of_another_server(refused: Refused) -> bool:
    """Whether it may be a foreign server that could not be reached (classes 08 and HV), and not this one."""
    return refused.state.startswith(("08", "HV"))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _refusal(server: Server, refused: Refused, doing: str, plan: DatabasePlan, ours: int) -> GlacierProviderError:
    """Return what a refused statement means."""
    text = refused.text.rstrip(".")
    meaning = meaning_of(refused.state, text)
    if meaning in (Meaning.CUT, Meaning.STARTING):
        return DatabaseUnreachable(f"The server ended the connection during the restore: {text}.", hint=meaning.hint)
    if refused.state in ("55P03", "40P01"):
        return _no_lock(server, text, ours)
    detail = refused.detail.rstrip(".")
    shown = f"{text} ({detail})" if detail else text
    message = f"PostgreSQL refused a statement while {doing}: {shown} [SQLSTATE {refused.state}]."
    if meaning.passes:
        return error_of(meaning, message)
    hint = _hint(refused.state, meaning, plan) or _watched(refused, plan) or _moved(server, refused, plan)
    is_of_the_dump = doing.startswith("restoring ") and is_of_the_statement(refused.state)
    return RestoreFailed(message, hint=hint or (_AGAIN if is_of_the_dump else None))


_AGAIN = (
    "It would fail again, since it is so in the dump. With restore: {mode: swap, on_error: list}, or into another "
    "database with on_error: list, everything else is restored beside, what fails is listed, and a person decides."
)
_STOP_IT = "Stop the application while it is restored, or raise lock_timeout_seconds."


def _hint(state: str, meaning: Meaning, plan: DatabasePlan) -> str | None:
    if meaning is Meaning.LOCKS or state == "53200":
        return (
            "Set restore.mode to swap, which needs few locks, or raise max_locks_per_transaction on the server: it has "
            f"room for {plan.target.locks:,} locks, and a transaction needs some for each of {len(plan.kept):,} "
            "entries."
        )
    if state == "53100":
        return "The server's disk is full: old and new contents are both there until the commit."
    if state == "42501":
        return "Restore as the owner of the database's objects or as a superuser, or with owner set to drop."
    return meaning.hint if meaning is Meaning.READ_ONLY else None


def _watched(refused: Refused, plan: DatabasePlan) -> str | None:
    """Say who may be behind a refusal by a function: event triggers that stay run with whatever a restore does."""
    watching = [tag for kind, _, tag in plan.target.staying if kind == "EVENT TRIGGER"]
    if not (watching and refused.context):
        return None
    return (
        f"Event triggers that stay may have refused it, since they run with what a restore does: {names(watching)}. "
        f"Have their owner disable them meanwhile: ALTER EVENT TRIGGER {quoted(watching[0])} DISABLE."
    )


_EXTENSIONS = """
SELECT e.extname, n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace"""


def _moved(server: Server, refused: Refused, plan: DatabasePlan) -> str | None:
    """Say which extension stands in another schema than that in which the dump names what is its."""
    if refused.state not in MISSING:
        return None
    there: dict[str, str] = {}
    with (
        suppress(GlacierProviderError),
        server.connect(bare=True) as connection,
        database_errors(server, "asking for schemas"),
    ):
        there = dict(connection.execute(_EXTENSIONS).fetchall())
    for entry in plan.toc.entries:
        wanted = schema_of_extension(entry)
        stands = there.get(entry.name, wanted)
        if wanted is not None and stands != wanted and wanted in refused.text:
            return (
                f"The extension {entry.name} is in the schema {stands}, and was in {wanted} when this was dumped: "
                f"ALTER EXTENSION {quoted(entry.name)} SET SCHEMA {quoted(wanted)}, once that schema is there; then "
                "clear this task."
            )
    return None


def _no_lock(server: Server, text: str, ours: int) -> DatabaseBusy:
    sessions: tuple[str, ...] = ()
    prepared: tuple[str, ...] = ()
    with (
        suppress(GlacierProviderError),
        server.connect(bare=True) as connection,
        database_errors(server, "asking for sessions"),
    ):
        sessions = target.other_sessions(connection, ours)
        prepared = target.prepared_transactions(connection)
    told = f"A lock could not be had: {text}."
    told += f" Other sessions now: {'; '.join(sessions)}." if sessions else ""
    if not prepared:
        return DatabaseBusy(told, hint=_STOP_IT)
    told += f" Prepared transactions, which keep their locks: {', '.join(prepared)}."
    end = f"End each prepared transaction in that database, for example: ROLLBACK PREPARED {literal(prepared[0])}."
    return DatabaseBusy(told, hint=f"{end} {_STOP_IT}")


def _outcome(server: Server, transaction_id: int | None) -> str:
    """Return what the server says became of the transaction: committed, aborted, or empty when it cannot be asked.

    A server process that lost its client may still work on its statement; it is ended and waited for.
    """
    if transaction_id is None:
        return ""
    deadline = time.monotonic() + OUTCOME_SECONDS
    while time.monotonic() < deadline:
        with suppress(GlacierProviderError):
            status = _status(server, transaction_id)
            if status != "in progress":
                return status
        time.sleep(0.2)  # a server does not tell when its process has ended: asked again
    return ""


def _status(server: Server, transaction_id: int) -> str:
    with (
        server.connect(autocommit=True, bare=True) as connection,
        database_errors(server, "asking for the transaction's outcome"),
    ):
        row = connection.execute("SELECT txid_status(%s)", (transaction_id,)).fetchone()
        status = str(row[0]) if row and row[0] else ""
        if status == "in progress":
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
                "WHERE datname = current_database() AND backend_xid::text = %s",
                (str(transaction_id % 2**32),),
            )
        return status


def _statistics(plan: DatabasePlan, server: Server, jobs: int, progress: TaskLog) -> tuple[str, ...]:
    if plan.selection.tables is None:
        return analyze_all(server, jobs, progress)
    kinds = ("TABLE", "MATERIALIZED VIEW")
    return analyze_tables(
        server, [(entry.schema or "", entry.name) for entry in plan.kept if entry.desc in kinds], jobs, progress
    )
