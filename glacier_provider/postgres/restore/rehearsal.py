"""A restore rehearsed on the day of the backup: what would be refused is known while there is time.

`rehearse_schema` makes everything but rows in a scratch database that is dropped again. What only rows show is tried by
`expressions`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from glacier_provider.core.sqlstate import Meaning, meaning_of
from glacier_provider.errors import DatabaseError, DatabaseRefused
from glacier_provider.postgres.cluster.properties import own_settings
from glacier_provider.postgres.cluster.roles import read_roles
from glacier_provider.postgres.dump.toc import Toc, TocEntry
from glacier_provider.postgres.restore.creators import Creators
from glacier_provider.postgres.restore.expressions import Reading
from glacier_provider.postgres.restore.outcome import MISSING, FailedStatement
from glacier_provider.postgres.restore.roles import named_roles, of_the_database
from glacier_provider.postgres.restore.scratch import private_scratch_database, scratch_database
from glacier_provider.postgres.restore.selection import (
    annotates_the_server,
    is_of_the_server,
    privileges_of_members,
)
from glacier_provider.postgres.restore.session import Refused, RestoringSession
from glacier_provider.postgres.restore.statements import (
    LARGE_OBJECTS,
    ROWS,
    SETTINGS,
    Storage,
    change_of_owner,
    closed_schemas,
    definition,
    granted_as,
    in_order,
)
from glacier_provider.postgres.restore.target import ROLES
from glacier_provider.postgres.tools.find import Tools
from glacier_provider.postgres.tools.options import Keep, PgRestoreOptions
from glacier_provider.postgres.tools.server import Server, database_errors, error_of
from glacier_provider.postgres.tools.sql import literal

if TYPE_CHECKING:
    pass

#: Statements of one transaction: locks are held until its end, and a commit costs as much as some statements.
_TOGETHER = 100
#: What needs rows, or reaches out of the database.
_LEFT_OUT = SETTINGS | {ROWS, LARGE_OBJECTS, "SEQUENCE SET", "MATERIALIZED VIEW DATA", "STATISTICS DATA"}
_LEFT_OUT |= {"BLOB", "BLOB METADATA", "SUBSCRIPTION", "SUBSCRIPTION TABLE"}
_USER = "SELECT current_user, (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)"
_CLIENT_ENCODING = re.compile(r"client_encoding\s*=\s*'([^']+)'")
_DENIED = "42501"  # insufficient_privilege
_OF_ROLES = {"ACL", "DEFAULT ACL", "POLICY", "USER MAPPING"}


@dataclass(frozen=True, slots=True)
class Stumble:
    """An entry whose statement was refused; `missing`: it needs what is not there, as what the dump left out.

    With `is_passed_over` a restore lists it and goes on, as with what a role granted as which this user cannot act.
    With `is_unknown` the server of the rehearsal, which is not the application's, lacks what it takes. `needs` is the
    id of an entry that failed before, for whose sake this one was not tried; `is_denied`: this user may not make it.
    """

    entry: TocEntry
    failed: FailedStatement
    missing: bool
    is_passed_over: bool = False
    is_unknown: bool = False
    needs: int | None = None
    is_denied: bool = False


def rehearse_schema(
    server: Server,
    toc: Toc,
    options: PgRestoreOptions,
    *,
    tell: Callable[[], None],
    is_own: bool = True,
    then: Callable[[RestoringSession], None] = lambda _: None,
) -> tuple[Stumble, ...]:
    """Make all that a dump defines, without rows, in a scratch database of `server`; return what failed.

    Everything is tried, so that one pass finds everything; what needs what failed is not tried. `is_own`: it is the
    application's own server; of another, what it lacks is not known. `then` gets the session when all is made. Raise as
    `scratch_database`.
    """
    like = "" if is_own else _encoding(toc)
    with scratch_database(server, like) as scratch, _session(scratch, toc, tell) as session:
        for name, value in _own_settings(server).items() if is_own else ():
            session.text(f"SELECT pg_catalog.set_config({literal(name)}, {literal(value)}, false)")
        failures = tuple(_Rehearsal(session, toc, options, is_own=is_own).failures())
        then(session)
        return failures


def rehearse_privately(
    server: Server,
    programs: Tools,
    toc: Toc,
    options: PgRestoreOptions,
    *,
    tell: Callable[[], None],
    then: Callable[[RestoringSession], None] = lambda _: None,
) -> tuple[Stumble, ...]:
    """As `rehearse_schema`, on a server of our own with the roles that `server` has. Raise as `private_server`."""
    recorded = read_roles(server)
    _, named = named_roles(toc.entries, options)
    with (
        private_scratch_database(programs, _encoding(toc), server.user, recorded, named, tell) as scratch,
        _session(scratch, toc, tell) as session,
    ):
        failures = tuple(_Rehearsal(session, toc, options, is_own=False).failures())
        then(session)
        return failures


def fails_without_rows(session: RestoringSession, reading: Reading) -> bool:
    """Tell whether an expression that reads other tables fails where these have no rows."""
    try:
        return session.text(reading.trial)[0][0] == "f"
    except Refused as refused:
        if _no_finding(refused) is not None:
            raise
        return True


def _own_settings(server: Server) -> dict[str, str]:
    with server.connect(autocommit=True, bare=True) as connection, database_errors(server, "reading its settings"):
        return own_settings(connection, server.dbname)


def _encoding(toc: Toc) -> str:
    """Return the encoding that a dump is in as CREATE DATABASE has it, in the locale that every server has."""
    found = next((_CLIENT_ENCODING.search(entry.definition) for entry in toc.entries if entry.desc == "ENCODING"), None)
    return f"ENCODING {literal(found[1] if found else 'UTF8')} LOCALE 'C'"


@contextmanager
def _session(scratch: Server, toc: Toc, tell: Callable[[], None]) -> Iterator[RestoringSession]:
    with RestoringSession(scratch.connect(autocommit=True), tell) as session:
        try:
            settings = {"check_function_bodies": "off", "xmloption": "content"}
            for name, value in (settings | dict.fromkeys(("search_path", "default_tablespace"), "")).items():
                session.text(f"SET {name} = {literal(value)}")
            session.text("SET client_min_messages = error; SET row_security = off; SET lock_timeout = '60s'")
            for entry in toc.entries:
                if entry.desc in ("ENCODING", "STDSTRINGS"):
                    session.run(entry.definition.encode(toc.codec, "surrogateescape"))
            session.codec = toc.codec
            yield session
        except Refused as refused:  # a statement of the rehearsal itself, not of the dump
            said = f"The rehearsal was refused what it asks itself: {refused.text}."
            raise _no_finding(refused) or DatabaseRefused(said) from refused


class _Rehearsal:
    def __init__(self, session: RestoringSession, toc: Toc, options: PgRestoreOptions, *, is_own: bool = True) -> None:
        self._session, self._toc, self._options, self._is_own = session, toc, options, is_own
        self._contents = {entry.dump_id: entry for entry in toc.entries}
        self._failed: dict[int, Stumble] = {}
        self._passed_over: list[Stumble] = []
        self._creators = Creators()
        user, superuser = session.text(_USER)[0]
        self._user = str(user)
        self._is_superuser = superuser == "t"
        self._roles = {str(name): can_act == "t" for name, can_act in session.text(ROLES)}
        self._closed = frozenset() if self._is_superuser else closed_schemas(toc.entries)
        members = frozenset() if self._is_superuser else privileges_of_members(toc.entries)
        of_members = (self._contents[each] for each in members)
        self._of_others = {entry.dump_id for entry in of_members if not self._roles.get(entry.owner)}

    def failures(self) -> list[Stumble]:
        self._note_the_servers_own()
        entries = [entry for entry in in_order(self._toc.entries) if self._is_rehearsed(entry)]
        together: list[TocEntry] = []
        for entry in entries:
            self._note_grants(entry)
            if len(together) == _TOGETHER or self._has_to_be_let(entry):
                self._try_all(together)
                together = []
            self._let_create(entry)
            together.append(entry)
        self._try_all(together)
        return [*self._failed.values(), *self._passed_over]

    def _is_rehearsed(self, entry: TocEntry) -> bool:
        if entry.desc in _LEFT_OUT or of_the_database(entry) or is_of_the_server(entry.schema):
            return False
        if annotates_the_server(entry) or entry.dump_id in self._of_others:
            return False
        if self._options.privileges is Keep.DROP and entry.desc in ("ACL", "DEFAULT ACL", "USER MAPPING"):
            return False
        about_large_objects = entry.name.startswith("LARGE OBJECT")
        return not (about_large_objects and entry.desc in ("ACL", "COMMENT", "SECURITY LABEL"))

    def _try_all(self, entries: Sequence[TocEntry]) -> None:
        """Try entries, and note those that are refused; the others are made."""
        while entries:
            tried = [entry for entry in entries if not self._needs_what_failed(entry)]
            refused = self._refusal(tried)
            if refused is None:
                return
            if refused.unreadable:  # the server ran none of them; it can read those before
                self._try_all(tried[: refused.piece])
            entry = tried[refused.piece]
            failed = FailedStatement(str(entry), refused.text, self._sql(entry).strip())
            unknown = not self._is_own and self._may_be_known_elsewhere(entry, refused)
            self._failed[entry.dump_id] = Stumble(
                entry, failed, refused.state in MISSING, is_unknown=unknown, is_denied=refused.state == _DENIED
            )
            entries = tried[refused.piece + 1 :]

    def _refusal(self, entries: Sequence[TocEntry]) -> Refused | None:
        """Make entries up to the first that is refused, in a transaction; return the refusal."""
        storage = Storage(replace(self._options, tablespaces=Keep.DROP))
        pieces = [
            f"{storage.before(entry)}SAVEPOINT glacier_entry;\n{self._sql(entry)};\nRELEASE glacier_entry"
            for entry in entries
        ]
        with _no_server_trouble():
            self._session.text("BEGIN")
            try:
                self._session.run_all([piece.encode(self._toc.codec, "surrogateescape") for piece in pieces])
            except Refused as refused:
                if _no_finding(refused) is not None:
                    raise
                self._session.text("ROLLBACK" if refused.unreadable else "ROLLBACK TO glacier_entry; COMMIT")
                return refused
            self._session.text("COMMIT")
        return None

    def _needs_what_failed(self, entry: TocEntry) -> bool:
        """Tell whether an entry needs one that failed: then it is noted, and not tried."""
        needed = next((self._failed[each] for each in entry.dependencies if each in self._failed), None)
        if needed is not None:
            failed = FailedStatement(str(entry), f"needs {needed.entry}", self._sql(entry).strip())
            self._failed[entry.dump_id] = replace(needed, entry=entry, failed=failed, needs=needed.entry.dump_id)
        return needed is not None

    def _may_be_known_elsewhere(self, entry: TocEntry, refused: Refused) -> bool:
        """Tell whether another server than this may have what an entry needs: an extension, a locale, a role."""
        if entry.desc in _OF_ROLES:
            return not named_roles([entry], self._options)[1] <= {*self._roles, "PUBLIC"}
        is_not_available = entry.desc == "EXTENSION" and refused.state == "0A000"
        return is_not_available or entry.desc == "COLLATION" or refused.state == "58P01"  # undefined_file: a module

    def _sql(self, entry: TocEntry) -> str:
        sql = definition(entry, self._contents)
        if entry.desc == "ACL" and not self._is_superuser:
            sql, _ = granted_as(sql, self._roles)
        if self._options.owner is Keep.KEEP and (self._is_own or entry.owner in self._roles):
            sql += change_of_owner(entry)
        if entry.desc == "SCHEMA" and entry.name == "public":
            sql = sql.replace("CREATE SCHEMA ", "CREATE SCHEMA IF NOT EXISTS ", 1)
        return sql

    def _has_to_be_let(self, entry: TocEntry) -> bool:
        """Whether who is given an entry perhaps may not create it; asked once, when its schema is there."""
        if entry.schema and entry.schema in self._closed and not self._creators.knows(entry.schema, self._user):
            return True
        gives = self._options.owner is Keep.KEEP and entry.owner != self._user and change_of_owner(entry)
        if not (entry.schema and gives and not self._is_superuser and entry.owner in self._roles):
            return False
        return not self._creators.knows(entry.schema, entry.owner)

    def _let_create(self, entry: TocEntry) -> None:
        if not self._has_to_be_let(entry):
            return
        assert entry.schema is not None
        self._session.text("BEGIN")
        try:
            if entry.schema in self._closed:
                self._creators.let_in(self._session, entry.schema, self._user)
            if self._has_to_be_let(entry):
                self._creators.let(self._session, entry.schema, entry.owner)
        except Refused:  # then the entry is
            self._session.text("ROLLBACK")
        else:
            self._session.text("COMMIT")

    def _note_the_servers_own(self) -> None:
        """Note what only a superuser can give in a new database: privileges on the server's and extensions' objects."""
        for entry in self._toc.entries:
            kept = entry.desc != "ACL" or self._options.privileges is Keep.KEEP
            of_others = annotates_the_server(entry) or entry.dump_id in self._of_others
            if of_others and kept and not self._is_superuser:
                failed = FailedStatement(str(entry), "a superuser has to give this", entry.definition.strip())
                self._passed_over.append(Stumble(entry, failed, missing=False, is_passed_over=True))

    def _note_grants(self, entry: TocEntry) -> None:
        """Note the privileges that roles gave as which this user cannot act."""
        if entry.desc == "ACL" and not self._is_superuser:
            _, refused = granted_as(definition(entry, self._contents), self._roles)
            if refused:
                said = f"a role as which {self._user} cannot act granted this"
                failed = FailedStatement(str(entry), said, "\n".join(refused))
                self._passed_over.append(Stumble(entry, failed, missing=False, is_passed_over=True))


@contextmanager
def _no_server_trouble() -> Iterator[None]:
    """Raise what it means that a server refused what has nothing to do with a dump."""
    try:
        yield
    except Refused as refused:
        raise (_no_finding(refused) or DatabaseError(f"The rehearsal was cut: {refused.text}.")) from refused


def _no_finding(refused: Refused) -> DatabaseError | None:
    """Return what to raise when the server, not the statement, is the cause: that says nothing about the dump."""
    meaning = meaning_of(refused.state, refused.text)
    if not meaning.passes and meaning not in (Meaning.MEMORY, Meaning.DISK, Meaning.LOCKS):
        return None
    return error_of(meaning, f"The rehearsal was cut: {refused.text}.")
