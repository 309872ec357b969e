"""A database that a restore fills in another place than the application's: which one it is, whose, and its making.

It is ours by a marker at the end of its comment, which names the cluster and the database's oid: a comment that a dump
carried into another database makes nothing ours there, and a renamed database stays what it was.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from glacier_provider.core.text import names
from glacier_provider.errors import DatabaseRefused, GlacierProviderError, RestoredInPart, TargetRefused
from glacier_provider.postgres.cluster.properties import is_fresh
from glacier_provider.postgres.dump.disk import restorable_entries, table_of_contents
from glacier_provider.postgres.dump.toc import Toc, TocEntry
from glacier_provider.postgres.restore.definitions import Token, tokens
from glacier_provider.postgres.restore.outcome import FailedStatement, RestoredDatabase
from glacier_provider.postgres.restore.statistics import analyze_all
from glacier_provider.postgres.restore.swap.check import check_content, without_the_servers_own
from glacier_provider.postgres.restore.swap.fill import Filled, fill
from glacier_provider.postgres.tools.find import Tools, check_client_version, server_version
from glacier_provider.postgres.tools.options import OnError, PgRestoreOptions
from glacier_provider.postgres.tools.run import TaskLog
from glacier_provider.postgres.tools.server import Server, database_errors
from glacier_provider.postgres.tools.sql import literal, quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.checks.restored import RestoreChecking
    from glacier_provider.postgres.tools.server import Connection

#: Databases to which one connects to make and drop others.
_MAINTENANCE = ("postgres", "template1")
_MARKER = re.compile(r"\s*\[glacier_provider: (?P<mark>\S+) in (?P<system>\d+)/(?P<oid>\d+), (?P<state>[a-z ]+)\]\Z")
_UNFINISHED, _IN_PART, _WHOLE = "unfinished", "in part", "whole"


@dataclass(frozen=True, slots=True)
class DatabaseIdentity:
    """One database of one cluster, under whatever name, host or pooler it is reached; physical copies are the same."""

    system_identifier: str
    oid: int


_IDENTITY = """
SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()), d.oid::bigint, d.datname::text,
       coalesce(shobj_description(d.oid, 'pg_database'), '')
  FROM pg_catalog.pg_database d WHERE d.datname = current_database()"""
_THERE = "SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = %s)"


def identify_database(server: Server) -> DatabaseIdentity:
    """Return which database this is; raise as `Server.connect`, and DatabaseRefused where the server does not tell."""
    with server.connect(autocommit=True, bare=True) as connection:
        system, oid, _, _ = _identity(connection, server)
    return DatabaseIdentity(system, oid)


def _identity(connection: Connection, server: Server) -> tuple[str, int, str, str]:
    with database_errors(server, "asking which database it is"):
        row = connection.execute(_IDENTITY).fetchone()
    assert row is not None  # we are in it
    return row[0], row[1], row[2], row[3]


@dataclass(frozen=True, slots=True)
class TargetDatabase:
    """What is at a place to restore into. `identity` None: there is no such database yet. `mark`: of the restore that
    it is ours by, None when it is not; `state` is how far that came; `empty`: nothing was made in it.
    """

    server: Server
    identity: DatabaseIdentity | None
    comment: str = ""
    mark: str | None = None
    state: str = ""
    empty: bool = True

    @property
    def is_begun(self) -> bool:
        """Whether an earlier try of the same restore has filled it, in part or whole."""
        return self.state in (_WHOLE, _IN_PART)

    @property
    def is_foreign(self) -> bool:
        return self.identity is not None and self.mark is None and not self.empty


def look_at_database(server: Server) -> TargetDatabase:
    """Return what is there, and change nothing; raise as `Server.connect`, and TargetRefused for an alias."""
    try:
        connection = server.connect(autocommit=True, bare=True)
    except DatabaseRefused:
        with maintenance_of(server) as other:
            row = other.execute(_THERE, (server.dbname,)).fetchone()
        if row and row[0]:
            raise
        return TargetDatabase(server, None)
    with connection:
        system, oid, name, comment = _identity(connection, server)
    if name != server.dbname:
        raise TargetRefused(
            f"{server} leads to the database {name!r}: the name is another one's alias, as poolers have them.",
            hint=f"Nothing was changed. Connect to PostgreSQL itself, and name {name!r} if you mean it.",
        )
    identity = DatabaseIdentity(system, oid)
    marked = _MARKER.search(comment)
    ours = marked is not None and (marked["system"], int(marked["oid"])) == (system, oid)
    return TargetDatabase(
        server,
        identity,
        comment,
        mark=marked["mark"] if marked and ours else None,
        state=marked["state"] if marked and ours else "",
        empty=is_fresh(server, catalog_schema=""),
    )


@contextmanager
def maintenance_of(server: Server) -> Iterator[Connection]:
    """Connect to another database of the server, which may lack the one that it names; raise as `Server.connect`."""
    refused: GlacierProviderError | None = None
    for name in _MAINTENANCE:
        other = server.with_database(name)
        try:
            connection = other.connect(autocommit=True, bare=True)
        except DatabaseRefused as error:
            refused = refused or error
            continue
        with connection, database_errors(other, f"making or dropping {server.dbname}"):
            yield connection
        return
    assert refused is not None
    raise refused


def stand_in(found: TargetDatabase) -> Server:
    """Return a database to be asked what the server has: the one that is there, or another of its server."""
    if found.identity is not None:
        return found.server
    with maintenance_of(found.server) as connection:
        return found.server.with_database(connection.info.dbname)


def foreign_database(found: TargetDatabase) -> TargetRefused:
    return TargetRefused(
        f"{found.server} holds objects, and no restore of this product filled it.",
        hint="Nothing was changed. Give a database that is empty or not there.",
    )


def may_create_databases(server: Server) -> bool:
    with maintenance_of(server) as connection:
        row = connection.execute(
            "SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user"
        ).fetchone()
    return bool(row and row[0])


def require_takes_restores(found: TargetDatabase) -> None:
    """Raise what `claim_database` would, as far as it is known beforehand."""
    if found.is_foreign:
        raise foreign_database(found)
    if found.identity is None and not may_create_databases(found.server):
        user, name = found.server.user, quoted(found.server.dbname)
        raise DatabaseRefused(
            f"There is no database {found.server.dbname!r}, and the user {user!r} may create none.",
            hint=f"ALTER ROLE {quoted(user)} CREATEDB; or make it, empty: CREATE DATABASE {name} OWNER {quoted(user)}.",
        )


def claim_database(
    server: Server, dump: Path, mark: str, *, may_take: Callable[[str], None], progress: TaskLog
) -> TargetDatabase:
    """Have a database that is empty, or what a try of the restore `mark` made of it; return what is there then.

    One that is ours by another restore is dropped first, once `may_take`, called with that one's mark, has not raised.
    A user who may create none gets it as it is, to be replaced in place. Raise TargetRefused or DatabaseRefused.
    """
    found = look_at_database(server)
    require_takes_restores(found)
    if found.mark not in (None, mark):
        may_take(str(found.mark))
    goes_on = found.mark == mark and found.is_begun
    if not goes_on and found.identity is not None and not found.empty and may_create_databases(server):
        progress(f"{server.dbname}, which restore {found.mark} filled, is dropped.")
        with maintenance_of(server) as connection:
            connection.execute(f"DROP DATABASE {quoted(server.dbname)} WITH (FORCE)".encode())
        found = TargetDatabase(server, None)
    if found.identity is None:
        progress(f"Making the database {server.dbname}.")
        _create(server, table_of_contents(dump), mark, may_take, progress)
    elif not goes_on:
        mark_database(server, mark)
    return look_at_database(server)


def mark_database(server: Server, mark: str, state: str = _UNFINISHED) -> None:
    """Write on a database that it is ours; what its comment says otherwise stays."""
    with server.connect(autocommit=True, bare=True) as connection:
        system, oid, name, comment = _identity(connection, server)
        marker = f"{_MARKER.sub('', comment)} {_marker(mark, system, oid, state)}".strip()
        with database_errors(server, "marking it"):
            connection.execute(f"COMMENT ON DATABASE {quoted(name)} IS {literal(marker)}".encode())


def _marker(mark: str, system: str, oid: int, state: str) -> str:
    return f"[glacier_provider: {mark} in {system}/{oid}, {state}]"


def mark_whole(server: Server, mark: str) -> None:
    """Write on a database that all that the restore wanted is in it."""
    mark_database(server, mark, _WHOLE)


def drop_marked(server: Server, mark: str, *, made: bool = False) -> bool:
    """Drop a database that is ours by the restore `mark`, whoever is in it; return whether there is none of it now.

    One that this user could not make again stays as it is, to be replaced by the next restore. One of another restore,
    or of nobody, is left alone. With `made`, the restore was about to make it: what it may have begun goes, too. Raise
    as `Server.connect`.
    """
    if made:
        _drop_begun(server, mark)
    if look_at_database(server).mark != mark:
        return True
    if not may_create_databases(server):
        return False
    with maintenance_of(server) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {quoted(server.dbname)} WITH (FORCE)".encode())
    return True


# --- making it -----------------------------------------------------------------------------------------------------

#: What a dump's CREATE DATABASE says that a new one needs, too; the tablespace is the new server's matter.
_KEPT = ("ENCODING", "LC_COLLATE", "LC_CTYPE", "LOCALE", "LOCALE_PROVIDER", "ICU_LOCALE", "ICU_RULES", "BUILTIN_LOCALE")
_BARE = ("LOCALE_PROVIDER",)


def creation_options(entries: Iterable[TocEntry]) -> Mapping[str, str]:
    """Return encoding and locale of the database that was dumped, as its dump says them."""
    found: dict[str, str] = {}
    for entry in entries:
        if entry.desc == "DATABASE":
            parts = tokens(entry.definition)
            for at, token in enumerate(parts[:-2]):
                if token.is_word(*_KEPT) and parts[at + 1].text == "=":
                    found[token.text.upper()] = _value(parts[at + 2])
    return found


def _value(token: Token) -> str:
    return token.text[1:-1].replace("''", "'") if token.kind == "string" else token.text


def _create(server: Server, toc: Toc, mark: str, may_take: Callable[[str], None], progress: TaskLog) -> None:
    """Create the database, which has its marker when it gets its name: killed in between, nothing unmarked has that.

    No transaction takes CREATE DATABASE. What an earlier try began is known by the name that it has until then.
    """
    _drop_begun(server, mark, may_take)
    begun = begun_name(server.dbname)
    with maintenance_of(server) as connection:
        _begin(connection, begun, toc, progress)
        _mark_begun(connection, begun, mark)
        connection.execute(f"ALTER DATABASE {quoted(begun)} RENAME TO {quoted(server.dbname)}".encode())


def begun_name(database: str) -> str:
    """Return what a database is called while it is made.

    >>> begun_name("library_other")
    'glacier_begun_6b65f1c615e1'
    """
    return f"glacier_begun_{hashlib.sha256(database.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"


def _begin(connection: Connection, name: str, toc: Toc, progress: TaskLog) -> None:
    """Create a database as the dumped one was; where the server lacks its locale, with its encoding alone."""
    import psycopg

    wanted = creation_options(toc.entries)
    options = [f"{name} {value if name in _BARE else literal(value)}" for name, value in wanted.items()]
    beginning = f"CREATE DATABASE {quoted(name)} TEMPLATE template0"
    try:
        connection.execute(" ".join([beginning, *options]).encode())
    except (psycopg.errors.InvalidParameterValue, psycopg.errors.WrongObjectType, psycopg.errors.SyntaxError) as no:
        said = str(no).strip().splitlines()[0]
        progress(f"The server cannot make a database of the dump's locale ({said}): it gets the server's own.")
        encoding = f" ENCODING {literal(wanted['ENCODING'])} LC_COLLATE 'C' LC_CTYPE 'C'"
        connection.execute((beginning + (encoding if "ENCODING" in wanted else "")).encode())


_OF_BEGUN = """
SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()), oid::bigint
  FROM pg_catalog.pg_database WHERE datname = %s"""


def _mark_begun(connection: Connection, name: str, mark: str) -> None:
    row = connection.execute(_OF_BEGUN, (name,)).fetchone()
    assert row is not None  # it was made a moment before
    marker = _marker(mark, row[0], row[1], _UNFINISHED)
    connection.execute(f"COMMENT ON DATABASE {quoted(name)} IS {literal(marker)}".encode())


def _drop_begun(server: Server, mark: str, may_take: Callable[[str], None] | None = None) -> None:
    """Drop what a try that was killed began to make for this place: it is empty, or ours by its marker.

    What another restore marked is left alone, but with `may_take`, which raises as in `claim_database`. Raise
    TargetRefused when somebody has put something into it.
    """
    found = look_at_database(server.with_database(begun_name(server.dbname)))
    if found.identity is None:
        return
    if found.is_foreign:
        raise foreign_database(found)
    if found.mark not in (None, mark):
        if may_take is None:
            return
        may_take(str(found.mark))
    with maintenance_of(server) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {quoted(found.server.dbname)} WITH (FORCE)".encode())


# --- filling it beside nothing -------------------------------------------------------------------------------------


def fill_database(
    found: TargetDatabase,
    tools: Tools,
    dump: Path,
    options: PgRestoreOptions,
    *,
    jobs: int,
    on_error: OnError,
    progress: TaskLog,
    checking: RestoreChecking | None = None,
) -> RestoredDatabase:
    """Restore a whole dump into an empty database of ours with `jobs` connections, as a swap fills its new database.

    With `on_error` LIST statements may fail, and RestoredInPart gives them all; a try with ACCEPT takes what is there.
    Raise as `restore_by_swap`.
    """
    server, mark = found.server, str(found.mark)
    toc = table_of_contents(dump)
    with server.connect(autocommit=True, bare=True) as connection:
        version = server_version(connection)
    check_client_version(tools, version)
    warnings: list[str] = []
    failed: tuple[FailedStatement, ...] = ()
    unfresh: tuple[str, ...] = ()
    if found.state == _WHOLE:
        progress(f"{server.dbname} was filled by an earlier try.")
    else:
        if found.state != _IN_PART:
            filled = _filled(server, tools, dump, toc, options, jobs=jobs, on_error=on_error, progress=progress)
            failed, warnings = filled.failed, [*filled.warnings, *map(str, filled.refused)]
            if checking is not None:
                checking.without(one.object for one in filled.refused)
            if failed:
                mark_database(server, mark, _IN_PART)
        if (failed or found.state == _IN_PART) and on_error is not OnError.ACCEPT:
            raise _in_part(server, failed)
        unfresh = analyze_all(server, jobs, progress)
        warnings += unfresh
        if checking is not None:
            checking.of(server, in_part=bool(failed) or found.state == _IN_PART)
    return RestoredDatabase(
        restored=len(toc.entries),
        removed=0,
        transaction_id=0,
        dump_version=toc.header.server_version,
        server_version=str(version),
        analyzed=not unfresh,
        warnings=tuple(warnings),
        failed=tuple(one.as_dict() for one in failed),
    )


def _filled(
    server: Server,
    tools: Tools,
    dump: Path,
    toc: Toc,
    options: PgRestoreOptions,
    *,
    jobs: int,
    on_error: OnError,
    progress: TaskLog,
) -> Filled:
    warnings: list[str] = []
    entries: list[TocEntry] = []
    for entry in restorable_entries(tools, dump, toc):
        if entry.desc == "SUBSCRIPTION":
            warnings.append(f"{entry} is not restored: it would write into the restored database.")
        elif entry.desc != "SUBSCRIPTION TABLE":
            entries.append(entry)
    lenient = on_error is not OnError.STOP
    with maintenance_of(server) as connection:
        entries, own = without_the_servers_own(connection, entries)
        check_content(connection, server, toc.header, entries, options, lenient=lenient)
    progress(f"Restoring {len(entries):,} entries of {dump.name} into {server}.")
    filled = fill(server, tools, dump, entries, options, jobs=jobs, lenient=lenient, progress=progress)
    return replace(filled, warnings=(*warnings, *filled.warnings), refused=(*own, *filled.refused))


def _in_part(server: Server, failed: tuple[FailedStatement, ...]) -> RestoredInPart:
    what = f"Statements of the dump failed, everything else is restored into {server}"
    if failed:
        what = f"{what}: {names(map(str, failed))}"
    error = RestoredInPart(f"{what.rstrip('.')}.")
    error.failed = tuple(one.as_dict() for one in failed)
    return error
