"""What the target database holds now, as far as a restore must know it before it changes anything."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, LiteralString

from glacier_provider.postgres.restore.selection import ObjectIdentity, Selection
from glacier_provider.postgres.tools.find import Version
from glacier_provider.postgres.tools.options import Exclusions
from glacier_provider.postgres.tools.sql import TableName, joined_by_hashes

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection


#: Every role, and whether this user can act as it: from 16 on a membership may come without SET ROLE.
ROLES = """
SELECT rolname, pg_catalog.pg_has_role(oid, CASE WHEN current_setting('server_version_num')::int >= 160000
                                                 THEN 'SET' ELSE 'MEMBER' END)
  FROM pg_catalog.pg_roles"""
NOT_CHOSEN = "not among the chosen tables"  #: as sql/objects.sql says


@dataclass(frozen=True, slots=True)
class Crossing:
    """Something that stays and depends on something that a restore replaces, each as PostgreSQL describes it."""

    stays: str
    goes: str

    def __str__(self) -> str:
        return f"{self.stays} depends on {self.goes}"


@dataclass(frozen=True, slots=True)
class Target:
    """The target database. Names are exact.

    `schemas` are those that outlive the drop, with whether this user owns them; `roles` say whether this user can act
    as them, and `inherited` are those whose privileges it has without doing so; `creators` are (schema, role) of the
    schemas that stay: as these it may make objects there; `wrappers` are (foreign-data wrapper, role) of those that may
    make servers of it; `untrusted_languages` and `parameters` are a superuser's; `creates`: whether this user may make
    schemas and publications; `extensions` whether they are installed (else they can be created); `configuration_tables`
    give the condition of the rows that a dump holds, `closed_rows` are those of them, and sequences, that this user may
    not change; `staying` are the objects that outlive the restore, with the reason, and `replaced` the others;
    `not_chosen` are those that a restore of some tables does not touch; `default_privileges` why they stay, or None.
    `foreign_large_objects` are those that this user cannot remove, `large_objects` the others; `open_schemas` are those
    that stay and this user can create in; `locks` is how many locks the server has room for, and `locks_to_drop` about
    how many the drop takes; `unpublished` are replaced tables in publications of others, who alone can add them again;
    `rebuilt` are views that stay, go with what they need and are made again at the end; `event_triggers` are those that
    stay and run with what a restore does, with the text of their functions.
    """

    version: Version
    user: str
    superuser: bool
    schemas: Mapping[str, bool]
    roles: Mapping[str, bool]
    inherited: frozenset[str]
    creators: frozenset[tuple[str, str]]
    wrappers: frozenset[tuple[str, str]]
    untrusted_languages: frozenset[str]
    parameters: frozenset[str]
    creates: bool
    extensions: Mapping[str, bool]
    configuration_tables: Mapping[TableName, str]
    closed_rows: frozenset[TableName]
    staying: Mapping[ObjectIdentity, str]
    replaced: frozenset[ObjectIdentity]
    not_chosen: frozenset[ObjectIdentity]
    default_privileges: Mapping[ObjectIdentity, str | None]
    large_objects: frozenset[int]
    foreign_large_objects: frozenset[int]
    open_schemas: frozenset[str]
    locks: int
    locks_to_drop: int
    crossings: tuple[Crossing, ...]
    unpublished: tuple[str, ...] = ()
    rebuilt: tuple[TableName, ...] = ()
    event_triggers: tuple[tuple[str, str], ...] = ()


def inspect(connection: Connection, setting: str) -> Target:
    """Read what a restore meets in this database; `setting` is what `selection_setting` gives."""
    set_local(connection, "search_path", "")  # descriptions then name schemas
    set_local(connection, "glacier_provider.selection", setting)
    version, user, superuser, creates = _row(
        connection,
        "SELECT current_setting('server_version_num')::int, current_user, "
        "coalesce((SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), false), "
        "pg_catalog.has_database_privilege(current_database(), 'CREATE')",
    )
    roles = list(_rows(connection, "roles"))
    large_objects = dict(_rows(connection, "large_objects"))
    schemas, inventory = list(_rows(connection, "schemas")), list(_rows(connection, "inventory"))
    return Target(
        version=Version.from_number(version),
        user=user,
        superuser=superuser,
        schemas={name: owned for name, owned, _ in schemas},
        open_schemas=frozenset(name for name, _, is_open in schemas if is_open),
        staying={
            (kind, schema, tag): reason for kind, schema, tag, reason in inventory if reason not in (None, NOT_CHOSEN)
        },
        not_chosen=frozenset((kind, schema, tag) for kind, schema, tag, reason in inventory if reason == NOT_CHOSEN),
        replaced=frozenset((kind, schema, tag) for kind, schema, tag, reason in inventory if not reason),
        default_privileges={
            default_privileges(schema, tag, role): reason
            for schema, tag, role, reason in _rows(connection, "default_privileges")
        },
        large_objects=frozenset(oid for oid, ours in large_objects.items() if ours),
        foreign_large_objects=frozenset(oid for oid, ours in large_objects.items() if not ours),
        locks=next(iter(_rows(connection, "locks")))[0],
        locks_to_drop=next(iter(_rows(connection, "locks_to_drop")))[0],
        roles={name: can_act for name, can_act, _ in roles},
        inherited=frozenset(name for name, _, inherits in roles if inherits),
        creators=frozenset(_rows(connection, "creators")),
        wrappers=frozenset(_rows(connection, "wrappers")),
        untrusted_languages=frozenset(name for (name,) in _rows(connection, "untrusted_languages")),
        parameters=frozenset(name for (name,) in _rows(connection, "parameters")),
        creates=creates,
        extensions=dict(sorted(_rows(connection, "extensions"))),
        configuration_tables={(schema, name): text for schema, name, text in _rows(connection, "configuration_tables")},
        closed_rows=frozenset((schema, name) for schema, name in _rows(connection, "closed_rows")),
        crossings=tuple(Crossing(*row) for row in _rows(connection, "crossings")),
        unpublished=tuple(what for (what,) in _rows(connection, "unpublished")),
        event_triggers=tuple((name, text) for name, text in _rows(connection, "event_triggers")),
        rebuilt=tuple((schema, name) for schema, name in _rows(connection, "rebuilt")),
    )


def default_privileges(schema: str | None, tag: str, role: str) -> ObjectIdentity:
    """Name default privileges: `tag` is that of a dump's table of contents, which says nothing of the role."""
    return "DEFAULT ACL", schema, f"{tag} made by {role}"


def exists(connection: Connection, desc: str, schema: str | None, name: str) -> bool:
    """Tell whether the database has this object; `desc` and `name` as in a dump's table of contents.

    False also for kinds that cannot be looked up by name.
    """
    lookup = _LOOKUPS.get(desc)
    if lookup is None:
        return False
    parameters = {"schema": schema, "name": name}
    found = connection.execute(lookup, parameters).fetchone()
    return bool(found and found[0])


_RELATION = "SELECT to_regclass(format('%%I.%%I', %(schema)s::text, %(name)s::text)) IS NOT NULL"
_TYPE = "SELECT to_regtype(format('%%I.%%I', %(schema)s::text, %(name)s::text)) IS NOT NULL"
# the tag of a function is 'name(types)', its name quoted where needed
_ROUTINE = "SELECT to_regprocedure(format('%%I.', %(schema)s::text) || %(name)s) IS NOT NULL"
_LOOKUPS = {
    **dict.fromkeys(("TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "INDEX"), _RELATION),
    **dict.fromkeys(("TYPE", "DOMAIN", "SHELL TYPE"), _TYPE),
    **dict.fromkeys(("FUNCTION", "PROCEDURE", "AGGREGATE"), _ROUTINE),
    # one in its own right, not the rows of a relation
    "COMPOSITE TYPE": "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
    "ON n.oid = c.relnamespace WHERE c.relkind = 'c' AND nspname = %(schema)s AND relname = %(name)s)",
    # what is neither relation nor type, whatever it is
    "NAME": "SELECT EXISTS (SELECT FROM (SELECT pronamespace, proname FROM pg_catalog.pg_proc "
    "UNION ALL SELECT oprnamespace, oprname FROM pg_catalog.pg_operator "
    "UNION ALL SELECT collnamespace, collname FROM pg_catalog.pg_collation "
    "UNION ALL SELECT cfgnamespace, cfgname FROM pg_catalog.pg_ts_config "
    "UNION ALL SELECT dictnamespace, dictname FROM pg_catalog.pg_ts_dict "
    "UNION ALL SELECT opcnamespace, opcname FROM pg_catalog.pg_opclass) AS named (schema, name) "
    "JOIN pg_catalog.pg_namespace n ON n.oid = named.schema WHERE nspname = %(schema)s AND named.name = %(name)s)",
    "SCHEMA": "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = %(name)s)",
    "EXTENSION": "SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = %(name)s)",
    "PUBLICATION": "SELECT EXISTS (SELECT FROM pg_catalog.pg_publication WHERE pubname = %(name)s)",
    "SERVER": "SELECT EXISTS (SELECT FROM pg_catalog.pg_foreign_server WHERE srvname = %(name)s)",
    "COLLATION": "SELECT EXISTS (SELECT FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n "
    "ON n.oid = c.collnamespace WHERE nspname = %(schema)s AND collname = %(name)s)",
    "TEXT SEARCH CONFIGURATION": "SELECT EXISTS (SELECT FROM pg_catalog.pg_ts_config c JOIN pg_catalog.pg_namespace n "
    "ON n.oid = c.cfgnamespace WHERE nspname = %(schema)s AND cfgname = %(name)s)",
    # the tag of a constraint is 'table constraint'
    "CONSTRAINT": "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c "
    "ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE nspname = %(schema)s AND c.relname || ' ' || k.conname = %(name)s)",
}


def in_the_way(
    connection: Connection, relations: Iterable[TableName], routines: Iterable[TableName]
) -> tuple[tuple[str, str | None], ...]:
    """Return what stays and has one of these names, each with the extension that it is of, if it is.

    `relations` are names of relations, indexes and types, `routines` those of routines with the types of their
    arguments. In the transaction of `inspect`.
    """
    wanted = {"relations": list(relations), "routines": list(routines)}
    set_local(connection, "glacier_provider.wanted", json.dumps(wanted, ensure_ascii=False))
    return tuple((what, extension) for what, extension in _rows(connection, "in_the_way"))


def other_sessions(connection: Connection, ours: int) -> tuple[str, ...]:
    """Return a line for each of some sessions in the database but the process `ours`, those first that hold locks."""
    return tuple(
        f"process {pid} ({name}, user {user}{f', {state}, for {age} s' if state else ''})"
        for pid, name, user, state, age in _rows(connection, "sessions")
        if pid != ours
    )


def prepared_transactions(connection: Connection) -> tuple[str, ...]:
    """Return the identifiers of some transactions that are prepared in the database."""
    return tuple(str(gid) for gid, _ in _rows(connection, "prepared"))


def selection_setting(selection: Selection, exclusions: Exclusions) -> str:
    """Return the value of the setting glacier_provider.selection (see sql/objects.sql).

    What the dump left out stays as what the restore leaves out does: it holds nothing to replace it with.
    """
    only = selection.tables is not None
    outside = {*selection.exclude_tables, *exclusions.tables, *exclusions.table_data}
    schemas = sorted({*selection.exclude_schemas, *exclusions.schemas})
    relations = sorted(selection.tables or ()) if only else sorted(outside)
    undumped = {
        "schemas": sorted(exclusions.schemas),
        "relations": sorted({*exclusions.tables, *exclusions.table_data}),
    }
    # as it is: bytes that are no text in any encoding, as a SQL_ASCII database may have them, have no escape
    setting = {"schemas": schemas, "relations": relations, "only": only, "undumped": undumped}
    return json.dumps(setting, ensure_ascii=False)


def set_local(connection: Connection, name: str, value: str) -> None:
    """Set a setting until the end of the transaction."""
    connection.execute("SELECT set_config(%s, %s, true)", (name, value))


@functools.cache
def named_queries(file: str) -> Mapping[str, str]:
    """Return the statements of target.sql or drop.sql by name."""
    blocks = re.split(r"^-- name: (\w+)\n", _sql_file(file), flags=re.MULTILINE)[1:]
    pairs = zip(blocks[::2], blocks[1::2], strict=True)
    return {name: _sql_file("objects.sql") + text if "-- begins: objects" in text else text for name, text in pairs}


def _sql_file(file: str) -> str:
    return resources.files(__package__).joinpath("sql", file).read_text("utf-8")


def _rows(connection: Connection, name: str) -> Iterable[tuple[Any, ...]]:
    with joined_by_hashes(lambda statement: connection.execute(statement.encode())):
        return connection.execute(named_queries("target.sql")[name].encode()).fetchall()


def _row(connection: Connection, statement: LiteralString) -> tuple[Any, ...]:
    row = connection.execute(statement).fetchone()
    assert row is not None  # a SELECT without FROM has one row
    return row
