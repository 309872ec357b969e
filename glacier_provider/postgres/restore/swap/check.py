"""What a swap needs, known before anything is made."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from glacier_provider.core.text import names
from glacier_provider.errors import ConfigurationError, DatabaseRefused, MissingRoles
from glacier_provider.postgres.cluster.tablespaces import check_tablespaces
from glacier_provider.postgres.dump.toc import DumpHeader, Toc, TocEntry
from glacier_provider.postgres.restore.outcome import FailedStatement
from glacier_provider.postgres.restore.plan import check_dumped_version, is_a_superusers, may_inherit
from glacier_provider.postgres.restore.roles import named_roles, of_the_database
from glacier_provider.postgres.restore.selection import annotates_the_server, privileges_of_members
from glacier_provider.postgres.restore.statements import SETTINGS
from glacier_provider.postgres.restore.swap.maintenance import maintenance_server
from glacier_provider.postgres.restore.swap.sessions import refuse_sessions_that_stay
from glacier_provider.postgres.tools.find import server_version
from glacier_provider.postgres.tools.options import Keep, PgRestoreOptions
from glacier_provider.postgres.tools.server import Server, database_errors, require_primary
from glacier_provider.postgres.tools.sql import quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

# The owner of the new database is that of the old: to make it, one must be able to act as the owner.
_ALLOWED = """
SELECT r.rolsuper OR r.rolcreatedb,
       r.rolsuper OR pg_has_role(d.datdba, CASE WHEN current_setting('server_version_num')::int >= 160000
                                                THEN 'SET' ELSE 'MEMBER' END) AND pg_has_role(d.datdba, 'USAGE'),
       pg_get_userbyid(d.datdba),
       t.spcname,
       t.oid = template.dattablespace OR has_tablespace_privilege(t.oid, 'CREATE'),
       to_regclass(format('%%I.catalog_version', %s::text)) IS NOT NULL,
       current_user
  FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
  JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace, pg_catalog.pg_database template
 WHERE r.rolname = current_user AND d.datname = current_database() AND template.datname = 'template0'"""


def check_swap(server: Server, *, catalog_schema: str) -> None:
    """Return when this database can be swapped, as far as can be known before it is filled.

    Raise ConfigurationError, DatabaseRefused, or DatabaseBusy for sessions that this user cannot end.
    """
    with server.connect(bare=True) as connection, database_errors(server, "checking what a swap needs"):
        require_primary(connection, server)
        row = connection.execute(_ALLOWED, (catalog_schema,)).fetchone()
        assert row is not None  # there is a template0
        may_create, may_own, owner, tablespace, may_use, holds_catalog, user = row  # ALTER ROLE ... SET role
        if holds_catalog:
            raise ConfigurationError(
                f"{server} holds the catalog too (schema {catalog_schema}), and a swap would take it away.",
                hint="Use restore: {mode: transaction}, or move the catalog to a database of its own.",
            )
        if not may_create:
            raise DatabaseRefused(
                f"The user {user} cannot create and rename databases.",
                hint=f"ALTER ROLE {quoted(user)} CREATEDB; or use restore: {{mode: transaction}}.",
            )
        if not may_own:
            raise DatabaseRefused(
                f"The user {user} cannot create and rename databases of their owner {owner}.",
                hint=f"GRANT {quoted(owner)} TO {quoted(user)}; or connect as {owner}.",
            )
        if not may_use:
            raise DatabaseRefused(
                f"{server} lies in the tablespace {tablespace}, where {user} may create nothing.",
                hint=f"GRANT CREATE ON TABLESPACE {quoted(tablespace)} TO {quoted(user)}; "
                "or use restore: {mode: transaction}.",
            )
        refuse_sessions_that_stay(connection, server, [server.dbname])
    maintenance_server(server)


def check_dump(server: Server, toc: Toc, options: PgRestoreOptions, *, lenient: bool) -> None:
    """As `check_content`, by the dump's table of contents alone: its rows and client programs may be away."""
    entries = [each for each in toc.entries if each.desc not in SETTINGS and not of_the_database(each)]
    with (
        server.connect(autocommit=True, bare=True) as connection,
        database_errors(server, "asking what the dump needs"),
    ):
        entries, _ = without_the_servers_own(connection, what_a_swap_restores(entries, options))
        check_content(connection, server, toc.header, entries, options, lenient=lenient)


def what_a_swap_restores(entries: Iterable[TocEntry], options: PgRestoreOptions) -> list[TocEntry]:
    """Leave out subscriptions, and the user mappings with the privileges."""
    mappings = options.privileges is Keep.KEEP
    left_out = {"SUBSCRIPTION", "SUBSCRIPTION TABLE"} | (set() if mappings else {"USER MAPPING"})
    return [entry for entry in entries if entry.desc not in left_out]


_ITSELF = """
SELECT coalesce((SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), false),
       ARRAY(SELECT rolname::text FROM pg_catalog.pg_roles WHERE pg_has_role(oid, 'USAGE'))"""
_SERVERS_OWN = "it is of an object of the server itself, which a superuser has to change in the restored database"
_OF_A_MEMBER = "it is of an object of an extension, which a superuser has to change in the restored database"


def without_the_servers_own(
    connection: Connection, entries: Sequence[TocEntry]
) -> tuple[list[TocEntry], tuple[FailedStatement, ...]]:
    """Leave out privileges and comments that this user cannot give, of the server's and extensions'; and list them."""
    superuser, ours = connection.execute(_ITSELF).fetchone() or (False, [])
    if superuser:
        return list(entries), ()
    members = privileges_of_members(entries)
    reasons = {
        entry.dump_id: _SERVERS_OWN if annotates_the_server(entry) else _OF_A_MEMBER
        for entry in entries
        if annotates_the_server(entry) or (entry.dump_id in members and entry.owner not in ours)
    }
    left = (entry for entry in entries if entry.dump_id in reasons)
    failed = tuple(FailedStatement(str(one), reasons[one.dump_id], one.definition.strip()) for one in left)
    return [entry for entry in entries if entry.dump_id not in reasons], failed


def check_content(
    connection: Connection,
    server: Server,
    header: DumpHeader,
    entries: Sequence[TocEntry],
    options: PgRestoreOptions,
    *,
    lenient: bool,
) -> None:
    """Return when the server has what the dump asks for; raise RestoreFailed, MissingRoles or MissingTablespaces.

    Not `lenient`, raise DatabaseRefused for what this user could not make in a new database.
    """
    check_dumped_version(header.server_version, server_version(connection))
    owners, named = named_roles(entries, options)
    check_roles_beside(connection, server, owners, named)
    if not lenient:
        _check_superuser(connection, server, entries)
    if options.tablespaces is Keep.KEEP:
        check_tablespaces(connection, server.user, {entry.tablespace for entry in entries if entry.tablespace})


_ROLES = """
SELECT rolname, pg_has_role(oid, CASE WHEN current_setting('server_version_num')::int >= 160000
                                      THEN 'SET' ELSE 'MEMBER' END), pg_has_role(oid, 'USAGE')
  FROM pg_catalog.pg_roles"""


def check_roles_beside(connection: Connection, server: Server, owners: Collection[str], named: Collection[str]) -> None:
    """Return when these roles are there, and this user can give objects to the owners among them.

    Raise MissingRoles or DatabaseRefused.
    """
    found = connection.execute(_ROLES).fetchall()
    roles: dict[str, bool] = {name: can_act for name, can_act, _ in found}
    missing = sorted(set(named) - roles.keys())
    if missing:
        raise MissingRoles(
            f"The target cluster does not have the roles {names(missing)}.",
            hint="Nothing was changed. Create the roles, have them created with restore: {roles: create}, or restore "
            "with restore: {owner: drop, privileges: drop}.",
        )
    foreign = sorted(owner for owner in owners if not roles[owner])
    if foreign:
        raise DatabaseRefused(
            f"The user {server.user!r} cannot give objects to their owners {names(foreign)}.",
            hint=f"Nothing was changed. GRANT {', '.join(map(quoted, foreign))} TO {quoted(server.user)}, or restore "
            "with restore: {owner: drop}.",
        )
    inherited = {name for name, _, inherits in found if inherits}
    distant = sorted(set(owners) - inherited)
    if distant:
        raise DatabaseRefused(
            f"The user {server.user!r} can act as {names(distant)} by SET ROLE alone, and does not inherit the "
            "privileges: what it gave to these owners it could not go on with.",
            hint=f"Nothing was changed. {may_inherit(distant, server.user, server_version(connection))}, or restore "
            "with restore: {owner: drop}.",
        )


_UNTRUSTED = """
SELECT coalesce((SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), false),
       ARRAY(SELECT lanname::text FROM pg_catalog.pg_language WHERE NOT lanpltrusted),
       ARRAY(SELECT name FROM pg_catalog.pg_settings
              WHERE context LIKE 'superuser%' AND NOT pg_catalog.has_parameter_privilege(name, 'SET')),
       ARRAY(SELECT v.name::text FROM pg_catalog.pg_available_extension_versions v
             JOIN pg_catalog.pg_available_extensions e ON e.name = v.name AND e.default_version = v.version
              WHERE v.superuser AND NOT v.trusted)"""


def _check_superuser(connection: Connection, server: Server, entries: Sequence[TocEntry]) -> None:
    row = connection.execute(_UNTRUSTED).fetchone()
    assert row is not None  # a SELECT without FROM has one row
    superuser, languages, parameters, extensions = row
    if superuser:
        return
    untrusted, withheld = frozenset(languages), frozenset(parameters)
    found = [
        str(entry)
        for entry in entries
        if is_a_superusers(entry, untrusted, withheld) or (entry.desc == "EXTENSION" and entry.name in extensions)
    ]
    if found:
        raise DatabaseRefused(
            f"Only a superuser can make {names(dict.fromkeys(found))} in a new database, and {server.user!r} is none.",
            hint="Nothing was changed. Use restore: {mode: transaction}, in which what is there already stays; restore "
            "as a superuser; or set on_error to list: then all else is restored, and a person decides.",
        )
