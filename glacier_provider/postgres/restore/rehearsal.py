"""A restore rehearsed on the day of the backup: what would be refused is known while there is time.

`rehearse_schema` makes everything but rows in a scratch database that is dropped again; `rehearse_expressions` runs on
a few living rows what a schema without rows never runs: generated columns, checks and indexes by expression, under the
empty search_path that a dump sets.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from glacier_provider.core.sqlstate import Meaning, meaning_of
from glacier_provider.errors import DatabaseError, DatabaseRefused, GlacierProviderError
from glacier_provider.postgres.dump.toc import Toc, TocEntry
from glacier_provider.postgres.restore.creators import Creators
from glacier_provider.postgres.restore.outcome import MISSING, FailedStatement
from glacier_provider.postgres.restore.roles import of_the_database
from glacier_provider.postgres.restore.session import Refused, RestoringSession
from glacier_provider.postgres.restore.statements import (
    LARGE_OBJECTS,
    ROWS,
    SETTINGS,
    Storage,
    change_of_owner,
    definition,
    granted_as,
    in_order,
)
from glacier_provider.postgres.restore.target import ROLES
from glacier_provider.postgres.tools.options import Keep, PgRestoreOptions
from glacier_provider.postgres.tools.server import Server, database_errors, error_of
from glacier_provider.postgres.tools.sql import literal, quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

#: Where databases are made and dropped from.
MAINTENANCE_DATABASE = "postgres"
#: What a scratch database is called begins so; its comment says whose it is.
SCRATCH = "glacier_rehearsal_"
_MARK = "glacier_provider: a rehearsal"
_MADE = re.compile(rf"{SCRATCH}([0-9a-f]{{1,12}})_[0-9a-f]+")
_LEFT_OVER_SECONDS = 3600
#: Statements of one transaction: locks are held until its end, and a commit costs as much as some statements.
_TOGETHER = 100
#: What needs rows, or reaches out of the database.
_LEFT_OUT = SETTINGS | {ROWS, LARGE_OBJECTS, "SEQUENCE SET", "MATERIALIZED VIEW DATA", "STATISTICS DATA"}
_LEFT_OUT |= {"BLOB", "BLOB METADATA", "SUBSCRIPTION", "SUBSCRIPTION TABLE"}
_USER = "SELECT current_user, (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)"
_ROWS_LOOKED_AT = 5
_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Stumble:
    """An entry whose statement was refused; `missing`: it needs what is not there, as what the dump left out.

    With `is_passed_over` a restore lists it and goes on, as with what a role granted as which this user cannot act.
    """

    entry: TocEntry
    failed: FailedStatement
    missing: bool
    is_passed_over: bool = False


def rehearse_schema(
    server: Server, toc: Toc, options: PgRestoreOptions, *, tell: Callable[[], None]
) -> tuple[Stumble, ...]:
    """Make all that a dump defines, without rows, in a scratch database of `server`; return what failed.

    Everything is tried, so that one pass finds everything; what needs what failed is not tried. The scratch database is
    dropped in the end; one that a dead process left is dropped by the next rehearsal. Raise DatabaseRefused when this
    user may create no database there, and as `Server.connect`.
    """
    with scratch_database(server) as scratch, _session(scratch, toc, tell) as session:
        return tuple(_Rehearsal(session, toc, options).failures())


@contextmanager
def scratch_database(server: Server) -> Iterator[Server]:
    """Make an empty database of this user on the same server, and drop it in the end."""
    name = f"{SCRATCH}{int(time.time()):x}_{secrets.token_hex(6)}"
    maintenance = server.with_database(MAINTENANCE_DATABASE)
    with maintenance.connect(autocommit=True) as connection, database_errors(maintenance, "making a scratch database"):
        _may_create(connection, server)
        _drop_left_over(connection)
        encoding = _like(server)
        connection.execute(f"CREATE DATABASE {quoted(name)} TEMPLATE template0 {encoding}".encode())
        connection.execute(f"COMMENT ON DATABASE {quoted(name)} IS {literal(_MARK)}".encode())
    try:
        yield server.with_database(name)
    finally:
        with suppress(GlacierProviderError):
            _drop(maintenance, name)


def _drop(maintenance: Server, name: str) -> None:
    with (
        maintenance.connect(autocommit=True) as connection,
        database_errors(maintenance, "dropping a scratch database"),
    ):
        connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)".encode())


def _may_create(connection: Connection, server: Server) -> None:
    row = connection.execute(
        "SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"
    ).fetchone()
    if not (row and row[0]):
        raise DatabaseRefused(
            f"The user {server.user!r} may create no database to rehearse in.",
            hint=f"ALTER ROLE {quoted(server.user)} CREATEDB, or name another server in rehearsal.postgres_conn_id.",
        )


def _drop_left_over(connection: Connection) -> None:
    """Drop scratch databases that a dead process left: nobody is in them, and they are older than a rehearsal takes.

    One that was just made has nobody in it, either.
    """
    found = connection.execute(
        "SELECT d.datname FROM pg_catalog.pg_database d WHERE starts_with(d.datname, %s)"
        " AND shobj_description(d.oid, 'pg_database') = %s AND pg_has_role(d.datdba, 'USAGE')"
        " AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid)",
        (SCRATCH, _MARK),
    ).fetchall()
    for (name,) in found:
        made = _MADE.fullmatch(name)
        if made is not None and time.time() - int(made[1], 16) < _LEFT_OVER_SECONDS:
            continue
        connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)}".encode())


def _like(server: Server) -> str:
    """Return the encoding and locale of the application's database, for CREATE DATABASE."""
    with server.connect(autocommit=True) as connection, database_errors(server, "asking for the encoding"):
        row = connection.execute(
            "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_catalog.pg_database"
            " WHERE datname = current_database()"
        ).fetchone()
    assert row is not None  # we are in it
    return f"ENCODING {literal(row[0])} LC_COLLATE {literal(row[1])} LC_CTYPE {literal(row[2])}"


@contextmanager
def _session(scratch: Server, toc: Toc, tell: Callable[[], None]) -> Iterator[RestoringSession]:
    with RestoringSession(scratch.connect(autocommit=True), tell) as session:
        try:
            for name, value in (("check_function_bodies", "off"), ("xmloption", "content"), ("search_path", "")):
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
    def __init__(self, session: RestoringSession, toc: Toc, options: PgRestoreOptions) -> None:
        self._session, self._toc, self._options = session, toc, options
        self._contents = {entry.dump_id: entry for entry in toc.entries}
        self._failed: dict[int, Stumble] = {}
        self._passed_over: list[Stumble] = []
        self._creators = Creators()
        self._user, superuser = session.text(_USER)[0]
        self._is_superuser = superuser == "t"
        self._roles = {str(name): can_act == "t" for name, can_act in session.text(ROLES)}

    def failures(self) -> list[Stumble]:
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
        if entry.desc in _LEFT_OUT or of_the_database(entry) or (entry.schema or "").startswith("pg_"):
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
            self._failed[entry.dump_id] = Stumble(entry, failed, refused.state in MISSING)
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
            self._failed[entry.dump_id] = Stumble(entry, failed, needed.missing)
        return needed is not None

    def _sql(self, entry: TocEntry) -> str:
        sql = definition(entry, self._contents)
        if entry.desc == "ACL" and not self._is_superuser:
            sql, _ = granted_as(sql, self._roles)
        if self._options.owner is Keep.KEEP:
            sql += change_of_owner(entry)
        if entry.desc == "SCHEMA" and entry.name == "public":
            sql = sql.replace("CREATE SCHEMA ", "CREATE SCHEMA IF NOT EXISTS ", 1)
        return sql

    def _has_to_be_let(self, entry: TocEntry) -> bool:
        """Whether who is given an entry perhaps may not create it; asked once, when its schema is there."""
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
            self._creators.let(self._session, entry.schema, entry.owner)
        except Refused:  # then the entry is
            self._session.text("ROLLBACK")
        else:
            self._session.text("COMMIT")

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


# --- what a schema without rows does not show ----------------------------------------------------------------------

_EXPRESSIONS = r"""
SELECT n.nspname, c.relname, 'generated column ' || a.attname,
       format('(%s)', pg_catalog.pg_get_expr(d.adbin, d.adrelid)), false
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE a.attgenerated <> '' AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
UNION ALL
SELECT n.nspname, c.relname, 'check ' || k.conname, format('(%s)', pg_catalog.pg_get_expr(k.conbin, k.conrelid)), true
  FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'c' AND k.conislocal AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_'
   AND n.nspname <> 'information_schema'
UNION ALL
SELECT n.nspname, c.relname, 'index ' || i.relname, format('(%s)', e.expression), false
  FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
  JOIN pg_catalog.pg_class c ON c.oid = x.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
  LATERAL (
    SELECT pg_catalog.pg_get_indexdef(x.indexrelid, number, false) AS expression
      FROM pg_catalog.generate_series(1, x.indnkeyatts) AS number WHERE x.indkey[number - 1] = 0
    UNION ALL
    SELECT pg_catalog.pg_get_expr(x.indpred, x.indrelid) WHERE x.indpred IS NOT NULL
  ) e
 WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
 ORDER BY 1, 2, 3"""


def rehearse_expressions(
    server: Server, excluded: frozenset[str], *, tell: Callable[[], None]
) -> tuple[int, tuple[FailedStatement, ...]]:
    """Evaluate the living database's expressions on a few of its rows, read-only; return how many, and what failed.

    `excluded` are schemas that no dump holds. An expression that takes longer than some seconds is no failure.
    """
    failed: list[FailedStatement] = []
    with server.connect() as connection, database_errors(server, "looking for expressions"):
        connection.read_only = True
        connection.execute("SELECT set_config('search_path', '', true)")
        found = [row for row in connection.execute(_EXPRESSIONS.encode()).fetchall() if row[0] not in excluded]
    with RestoringSession(server.connect(autocommit=True), tell) as session:
        session.text(
            f"SET search_path = ''; SET statement_timeout = '{_SECONDS}s'; SET default_transaction_read_only = on"
        )
        for schema, table, what, expression, must_hold in found:
            about = f"{what} of {schema}.{table}"
            if (failure := _evaluated(session, schema, table, expression, must_hold=must_hold)) is not None:
                failed.append(FailedStatement(about, failure, expression))
    return len(found), tuple(failed)


def _evaluated(session: RestoringSession, schema: str, table: str, expression: str, *, must_hold: bool) -> str | None:
    """Return why an expression cannot be evaluated, or does not hold; None when all is well."""
    rows = f"(SELECT * FROM ONLY {quoted(schema)}.{quoted(table)} LIMIT {_ROWS_LOOKED_AT}) AS {quoted(table)}"
    value = f"pg_catalog.bool_and({expression})" if must_hold else f"pg_catalog.count(({expression})::text)"
    try:
        answer = session.text(f"SELECT {value} FROM {rows}")
    except Refused as refused:
        meaning = meaning_of(refused.state, refused.text)
        if meaning in (Meaning.CUT, Meaning.STARTING):
            raise error_of(meaning, f"The rehearsal was cut: {refused.text}.") from refused
        if meaning.passes or meaning in (Meaning.DENIED, Meaning.MEMORY, Meaning.DISK):  # too slow, or not ours to read
            return None
        said = f"{refused.text} ({refused.context.splitlines()[0]})" if refused.context else refused.text
        return re.sub(r"\s+", " ", said)
    return "a row does not meet it any more" if must_hold and answer and answer[0][0] == "f" else None
