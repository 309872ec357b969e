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
from glacier_provider.postgres.tools.sql import TableName

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection


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
    as them; `extensions` whether they are installed (else they can be created); `configuration_tables` give the
    condition of the rows that a dump holds; `staying` are the objects that outlive the restore, with the reason, and
    `replaced` the others; `foreign_large_objects` are those that this user cannot remove; `open_schemas` are those that
    stay and this user can create in; `locks` is how many locks the server has room for, and
    `locks_to_drop` about how many the drop takes.
    """

    version: Version
    user: str
    superuser: bool
    schemas: Mapping[str, bool]
    roles: Mapping[str, bool]
    extensions: Mapping[str, bool]
    configuration_tables: Mapping[TableName, str]
    staying: Mapping[ObjectIdentity, str]
    replaced: frozenset[ObjectIdentity]
    foreign_large_objects: frozenset[int]
    open_schemas: frozenset[str]
    locks: int
    locks_to_drop: int
    crossings: tuple[Crossing, ...]


def inspect(connection: Connection, setting: str) -> Target:
    """Read what a restore meets in this database; `setting` is what `selection_setting` gives."""
    set_local(connection, "search_path", "")  # descriptions then name schemas
    set_local(connection, "glacier_provider.selection", setting)
    version, user, superuser = _row(
        connection,
        "SELECT current_setting('server_version_num')::int, current_user, "
        "coalesce((SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), false)",
    )
    schemas, inventory = list(_rows(connection, "schemas")), list(_rows(connection, "inventory"))
    return Target(
        version=Version.from_number(version),
        user=user,
        superuser=superuser,
        schemas={name: owned for name, owned, _ in schemas},
        open_schemas=frozenset(name for name, _, is_open in schemas if is_open),
        staying={(kind, schema, tag): reason for kind, schema, tag, reason in inventory if reason},
        replaced=frozenset((kind, schema, tag) for kind, schema, tag, reason in inventory if not reason),
        foreign_large_objects=frozenset(oid for (oid,) in _rows(connection, "foreign_large_objects")),
        locks=next(iter(_rows(connection, "locks")))[0],
        locks_to_drop=next(iter(_rows(connection, "locks_to_drop")))[0],
        roles=dict(_rows(connection, "roles")),
        extensions=dict(sorted(_rows(connection, "extensions"))),
        configuration_tables={(schema, name): text for schema, name, text in _rows(connection, "configuration_tables")},
        crossings=tuple(Crossing(*row) for row in _rows(connection, "crossings")),
    )


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


def other_sessions(connection: Connection) -> tuple[str, ...]:
    """Return a line for each of up to five other sessions in the database, those in the oldest transaction first."""
    rows = _rows(connection, "sessions")
    return tuple(f"process {pid} ({name}, user {user}, {state}, for {age} s)" for pid, name, user, state, age in rows)


def selection_setting(selection: Selection, exclusions: Exclusions) -> str:
    """Return the value of the setting glacier_provider.selection (see sql/objects.sql).

    What the dump left out stays as what the restore leaves out does: it holds nothing to replace it with.
    """
    only = selection.tables is not None
    outside = {*selection.exclude_tables, *exclusions.tables, *exclusions.table_data}
    schemas = sorted({*selection.exclude_schemas, *exclusions.schemas})
    relations = sorted(selection.tables or ()) if only else sorted(outside)
    # as it is: bytes that are no text in any encoding, as a SQL_ASCII database may have them, have no escape
    return json.dumps({"schemas": schemas, "relations": relations, "only": only}, ensure_ascii=False)


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
    return connection.execute(named_queries("target.sql")[name].encode()).fetchall()


def _row(connection: Connection, statement: LiteralString) -> tuple[Any, ...]:
    row = connection.execute(statement).fetchone()
    assert row is not None  # a SELECT without FROM has one row
    return row
