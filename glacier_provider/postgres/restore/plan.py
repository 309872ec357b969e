"""What a restore will do: `plan_database_restore` reads the dump and the target, checks both, and changes nothing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from glacier_provider.core.text import names
from glacier_provider.errors import (
    DatabaseRefused,
    MissingExtensions,
    MissingRoles,
    RestoreFailed,
    SelectionConflict,
    ToolMissing,
)
from glacier_provider.postgres.cluster.tablespaces import check_tablespaces
from glacier_provider.postgres.dump.disk import restorable_entries, table_of_contents
from glacier_provider.postgres.dump.toc import DumpHeader, Toc, TocEntry
from glacier_provider.postgres.restore import definitions
from glacier_provider.postgres.restore.roles import named_roles, of_the_database
from glacier_provider.postgres.restore.selection import (
    DISPENSABLE,
    RELATIONS,
    Conflict,
    ObjectIdentity,
    Removed,
    Selection,
    TocEdit,
    annotates_the_server,
    attachments,
    edit,
    is_of_the_server,
    privileges_of_members,
)
from glacier_provider.postgres.restore.statements import ROWS, SETTINGS, change_of_owner
from glacier_provider.postgres.restore.target import (
    NOT_CHOSEN,
    Target,
    default_privileges,
    exists,
    in_the_way,
    inspect,
    selection_setting,
)
from glacier_provider.postgres.tools.find import Tools, Version, check_client_version, compressions
from glacier_provider.postgres.tools.options import Exclusions, Keep, PgRestoreOptions
from glacier_provider.postgres.tools.server import Server, database_errors, require_primary
from glacier_provider.postgres.tools.sql import TableName, quoted, unquoted

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

# Locks that making an object takes, measured with PostgreSQL 15 to 18: a table with text has two beside it, what a
# materialized view is filled by is another table. A lock that is there already costs nothing.
_LOCKS = {"TABLE": 3, "SEQUENCE": 1, "CONSTRAINT": 1, "INDEX": 1, "VIEW": 1, "SCHEMA": 1}
_LOCKS |= {"MATERIALIZED VIEW": 3, "MATERIALIZED VIEW DATA": 5}
_OF_A_RELATION = ("TABLE ", "FOREIGN TABLE ", "COLUMN ", "VIEW ", "MATERIALIZED VIEW ", "SEQUENCE ", "INDEX ")
#: More than the server surely has may still fit: its shared memory has some room to spare, never so much of it.
MOST_OF_THE_LOCKS = 2.4

BELONGS = "belongs to the role "  #: how the reason of what stays begins, when another role owns it
#: why privileges on what an extension made are not restored
OF_A_MEMBER = "of an object of an extension, which this user cannot change"
#: why rows of what an extension made are not restored
ROWS_OF_A_MEMBER = "of a table of an extension, whose rows this user may not change"
#: why a dump's subscription is not made: it would write into what was just restored, as soon as it is enabled
EXTENSION_STAYS = "the extension is there and stays"
NO_SUBSCRIPTION = "subscriptions are left to people"
#: ``CREATE EXTENSION name WITH SCHEMA schema;``, as pg_dump writes it
_IN_A_SCHEMA = re.compile(r"WITH SCHEMA (.+);\s*\Z")
_REPLACEABLE = frozenset({"FUNCTION", "PROCEDURE"})
_PIECES_OF_A_SYSTEM_OBJECT = frozenset({"ACL", "COMMENT", "SECURITY LABEL"})


@dataclass(frozen=True)
class DatabasePlan:
    """What a restore will do: checked against dump, tools and target, nothing changed yet.

    `kept` are the entries to restore, in order; `removed` the others, with reasons. `create_schemas` are schemas that
    entries need and neither dump nor target has; `replace_rows` are tables of extensions whose rows the dump brings.
    `uncertain` are the ids of entries that may turn out to need what was left out: they are tried, and listed when they
    fail. `setting` is that of sql/objects.sql.
    """

    dump: Path
    toc: Toc
    server_version: Version
    user: str
    selection: Selection
    setting: str
    kept: tuple[TocEntry, ...]
    removed: tuple[Removed, ...]
    target: Target = field(repr=False)
    create_schemas: tuple[str, ...] = ()
    replace_rows: tuple[tuple[TableName, str], ...] = ()
    uncertain: frozenset[int] = frozenset()

    @property
    def header(self) -> DumpHeader:
        return self.toc.header

    @property
    def relations(self) -> frozenset[TableName]:
        """The tables, views and sequences that will be restored."""
        return frozenset((entry.schema or "", entry.name) for entry in self.kept if entry.desc in RELATIONS)

    @property
    def locks(self) -> int:
        """About how many locks a transaction takes: of what it drops, and of what it makes."""
        return self.target.locks_to_drop + locks_to_make(self.kept, self.user)

    @property
    def fits_a_transaction(self) -> bool:
        """Whether the server surely has room for these locks."""
        return self.locks <= self.target.locks

    @property
    def of_others(self) -> tuple[ObjectIdentity, ...]:
        """The relations of the dump that are not restored, since those of the target belong to other roles."""
        return _of_others(self.toc.entries, self.target)

    @property
    def unmatched(self) -> tuple[TableName, ...]:
        """The tables that the selection would leave as they are, and that neither dump nor target has."""
        there = {each[1:] for each in (*self.target.staying, *self.target.replaced, *self.target.not_chosen)}
        there |= {(entry.schema, entry.name) for entry in self.toc.entries if entry.desc in RELATIONS}
        return tuple(sorted(set(self.selection.exclude_tables) - there))

    @cached_property
    def inventory(self) -> Inventory:
        return _inventory(self)


@dataclass(frozen=True, slots=True)
class Inventory:
    """Every object in its own right, of the target and of the dump, in exactly one of five lists.

    `replaced`: in both, and the dump's takes its place. `restored`: in the dump alone. `dropped`: in the target alone,
    and made since the dump. `stays`: in the target, and outlives the restore, with the reason. `left_out`: in the dump,
    and not restored, with the reason, since nothing of that name stays.
    """

    replaced: tuple[ObjectIdentity, ...]
    restored: tuple[ObjectIdentity, ...]
    dropped: tuple[ObjectIdentity, ...]
    stays: Mapping[ObjectIdentity, str]
    left_out: Mapping[ObjectIdentity, str]


def plan_database_restore(
    server: Server,
    tools: Tools,
    dump: Path,
    selection: Selection,
    options: PgRestoreOptions,
    exclusions: Exclusions | None = None,
) -> DatabasePlan:
    """Read dump and target, and say what a restore would do; change nothing.

    `exclusions` are those under which the dump was made. Raise DumpInvalid, UnsupportedDump, ToolMissing, ToolTooOld,
    DatabaseUnreachable, DatabaseRefused, SelectionConflict, MissingRoles, MissingExtensions, or RestoreFailed for a
    server older than the dump's.
    """
    dump = dump.absolute()
    toc = table_of_contents(dump)
    check_compression(tools, toc.header.compression)
    entries = restorable_entries(tools, dump, toc)
    plan = plan_contents(server, replace(toc, entries=entries), selection, options, exclusions, tools=tools)
    return replace(plan, dump=dump, toc=toc)


def plan_contents(
    server: Server,
    toc: Toc,
    selection: Selection,
    options: PgRestoreOptions,
    exclusions: Exclusions | None = None,
    *,
    tools: Tools | None = None,
) -> DatabasePlan:
    """As `plan_database_restore`, by the dump's table of contents alone: rows and client programs may be away."""
    exclusions = exclusions or Exclusions()
    entries = tuple(each for each in toc.entries if each.desc not in SETTINGS and not of_the_database(each))
    empty = _without_rows(entries)
    chosen = _chosen(entries, selection, empty)
    left_out = replace(exclusions, table_data=tuple({*exclusions.table_data, *empty}))
    setting = selection_setting(chosen, left_out)
    with server.connect(bare=True) as connection, database_errors(server, "looking at the target database"):
        require_primary(connection, server)
        connection.rollback()
        connection.read_only = True
        target = inspect(connection, setting)
        if tools is not None:
            check_client_version(tools, target.version)
        check_dumped_version(toc.header.server_version, target.version)
        entries = tuple(_without(entry, target.foreign_large_objects) for entry in entries)
        edited = edit(entries, _with_exclusions(selection, left_out, target), _not_replaceable(target, entries))
        removed, uncertain = _settled(connection, edited, target, left_out)
        uncertain |= _of_fewer_rows(entries, edited, removed, left_out)
        kept = tuple(entry for entry in edited.kept if entry.dump_id not in removed)
        check_extensions((entry.name for entry in kept if entry.desc == "EXTENSION"), target)
        members = frozenset() if target.superuser else privileges_of_members(toc.entries)
        kept, fitted = _fitted(_partitions_last(kept), target, options, members)
        _check_names(connection, (each for each in kept if each.dump_id not in uncertain))
        _check_something_is_ours(kept, entries, target)
        _check_roles(kept, target, options)
        _check_superuser(kept, target)
        _check_creates(kept, target)
        _check_wrappers(kept, target, options)
        _check_schemas(kept, target, options)
        if options.tablespaces is Keep.KEEP:
            check_tablespaces(connection, target.user, {entry.tablespace for entry in kept if entry.tablespace})
    return DatabasePlan(
        dump=Path(),
        toc=toc,
        server_version=target.version,
        user=target.user,
        selection=chosen,
        setting=setting,
        kept=kept,
        removed=(*edited.removed, *removed.values(), *fitted),
        target=target,
        create_schemas=_missing_schemas(kept, target),
        replace_rows=_extension_rows(kept, target),
        uncertain=uncertain,
    )


# --- what the dump left out ----------------------------------------------------------------------------------------


def _without_rows(entries: Iterable[TocEntry]) -> frozenset[TableName]:
    """Return the tables of which the dump has the definition alone: their rows were excluded."""
    entries = list(entries)
    filled = {(entry.schema, entry.name) for entry in entries if entry.desc == "TABLE DATA"}
    return frozenset(
        (entry.schema or "", entry.name)
        for entry in entries
        if entry.desc == "TABLE" and (entry.schema, entry.name) not in filled and not _is_partitioned(entry)
    )


def locks_to_make(entries: Iterable[TocEntry], user: str = "") -> int:
    """Return about how many locks making these takes in one transaction; what is given away, when `user` is told."""
    entries = list(entries)
    groups = {entry.dump_id: len(entry.definition.split()) for entry in entries if entry.desc == "BLOB METADATA"}
    return sum(_locks_to_make(entry, user, groups) for entry in entries)


def _locks_to_make(entry: TocEntry, user: str, groups: Mapping[int, int]) -> int:
    """A large object takes one lock, when it is given away, commented on, or its privileges are granted."""
    if entry.desc in ("BLOB", "BLOB METADATA"):
        return groups.get(entry.dump_id, 1) if user and entry.owner not in ("", user) else 0
    if entry.desc in ("COMMENT", "SECURITY LABEL"):
        return 0 if entry.name.startswith(_OF_A_RELATION) else 1
    if entry.desc == "ACL" and entry.name.startswith("LARGE OBJECT"):
        return max((groups[each] for each in entry.dependencies if each in groups), default=1)
    return _LOCKS.get(entry.desc, 0)


def _is_partitioned(entry: TocEntry) -> bool:
    parts = definitions.tokens(entry.definition)
    return any(one.is_word("PARTITION") and two.is_word("BY") for one, two in pairwise(parts))


def _chosen(entries: tuple[TocEntry, ...], selection: Selection, empty: frozenset[TableName]) -> Selection:
    """Return the selection as the target must see it: with `tables`, every relation that the dump brings for them."""
    if selection.tables is None:
        return selection
    edited = edit(entries, selection)
    if edited.unknown:
        _unknown_tables(edited.unknown, entries)
    brought = frozenset((entry.schema or "", entry.name) for entry in edited.kept if entry.desc in RELATIONS)
    if brought & empty:
        raise SelectionConflict(
            f"The dump has the definition of {names('.'.join(each) for each in sorted(brought & empty))} and no rows.",
            hint="Nothing was changed. dump.exclude_table_data left them out; do not name these tables.",
        )
    return Selection(selection.exclude_schemas, selection.exclude_tables, brought)


def _with_exclusions(selection: Selection, exclusions: Exclusions, target: Target) -> Selection:
    """Return the selection with what the dump left out, where it is in the target: there it stays.

    A table whose rows were left out, and that the target does not have, is made from its definition.
    """
    present = {(schema or "", tag) for kind, schema, tag in target.staying if kind in RELATIONS}
    tables = frozenset({*selection.exclude_tables, *exclusions.tables, *(present & set(exclusions.table_data))})
    schemas = frozenset({*selection.exclude_schemas, *exclusions.schemas})
    return Selection(schemas, tables, selection.tables)


def _not_replaceable(target: Target, entries: Iterable[TocEntry]) -> dict[ObjectIdentity, str]:
    """Return what stays, without the routines that only something else keeps there: their text is replaced in place."""
    found = dict(target.staying)
    for entry in entries:
        if entry.desc in _REPLACEABLE and target.staying.get(_identity(entry), "").endswith(" needs it"):
            found.pop(_identity(entry), None)
        if entry.desc == "SHELL TYPE" and (reason := target.staying.get(("TYPE", entry.schema, entry.name))):
            found[_identity(entry)] = reason
        if (entry.desc == "BLOB METADATA" and not entry.definition.strip()) or (
            entry.desc == "BLOB" and entry.name.isdigit() and int(entry.name) in target.foreign_large_objects
        ):
            found[_identity(entry)] = "belongs to another role"
    return found


def _without(entry: TocEntry, oids: frozenset[int]) -> TocEntry:
    """Return an entry that makes many large objects without these."""
    if entry.desc != "BLOB METADATA" or not oids:
        return entry
    return replace(entry, definition="".join(f"{n}\n" for n in entry.definition.split() if int(n) not in oids))


def _settled(
    connection: Connection, edited: TocEdit, target: Target, exclusions: Exclusions
) -> tuple[dict[int, Removed], frozenset[int]]:
    """Return which kept entries cannot be restored, and which may turn out so; raise SelectionConflict.

    What a kept object needs may be left out when the target has it. Otherwise what a database can be without is left
    out, too, with what needs that; of the rest the restore would be no restore.
    """
    unsolved: list[str] = []
    removed: dict[int, Removed] = {}
    uncertain: set[int] = set()
    for conflict in edited.conflicts:
        if conflict.entry.desc == "FK CONSTRAINT":
            uncertain.add(conflict.entry.dump_id)
        elif _stands(connection, conflict, target):  # perhaps not as it was: without a column, or with another type
            if conflict.entry.desc in DISPENSABLE:
                uncertain.add(conflict.entry.dump_id)
        else:
            reason = f"needs {conflict.needed_name}, which is not restored and not there"
            if conflict.entry.desc in DISPENSABLE:
                removed[conflict.entry.dump_id] = Removed(conflict.entry, reason)
            else:
                unsolved.append(str(conflict))
    unsolved += _without_what_was_left_out(connection, edited.kept, exclusions)
    unsolved += _with_dependents(edited.kept, removed)
    refuse_crossings(target, unsolved)
    if exclusions.tables or exclusions.schemas:  # pg_dump does not note who needs what it left out
        uncertain |= {entry.dump_id for entry in edited.kept if entry.desc in DISPENSABLE}
    return removed, _with_what_needs_them(edited.kept, uncertain)


def _with_what_needs_them(kept: Iterable[TocEntry], uncertain: set[int]) -> frozenset[int]:
    """Return these entries with what a database can be without and that needs one of them, at whatever remove."""
    found = set(uncertain)
    needing: dict[int, list[int]] = {}
    for entry in kept:
        if entry.desc in DISPENSABLE:
            for needed in entry.dependencies:
                needing.setdefault(needed, []).append(entry.dump_id)
    waiting = list(found)
    while waiting:
        new = [each for each in needing.get(waiting.pop(), ()) if each not in found]
        found.update(new)
        waiting += new
    return frozenset(found)


def refuse_crossings(target: Target, unsolved: Iterable[str] = ()) -> None:
    """Raise SelectionConflict when something in the target stays and depends on what is replaced."""
    unsolved = [*unsolved, *(f"in the target, {each}, which is replaced" for each in target.crossings)]
    if unsolved:
        shown = "; ".join(unsolved[:5]) + (f"; and {len(unsolved) - 5:,} more" if len(unsolved) > 5 else "")
        raise SelectionConflict(f"Restored and excluded objects depend on each other: {shown}.")


def _with_dependents(kept: Iterable[TocEntry], removed: dict[int, Removed]) -> list[str]:
    """Take out what needs a removed entry, too; return what cannot be taken out."""
    unsolved, grown = [], bool(removed)
    kept = list(kept)
    while grown:
        grown = False
        for entry in kept:
            needed = next((each for each in entry.dependencies if each in removed), None)
            if needed is None or entry.dump_id in removed:
                continue
            if entry.desc not in DISPENSABLE:
                unsolved.append(f"{entry} needs {removed[needed].entry}, which cannot be restored")
                return unsolved
            removed[entry.dump_id] = Removed(entry, f"needs {removed[needed].entry}, which cannot be restored")
            grown = True
    return unsolved


def _of_fewer_rows(
    entries: Sequence[TocEntry], edited: TocEdit, removed: Mapping[int, Removed], exclusions: Exclusions
) -> frozenset[int]:
    """Return the ids of the foreign keys that lead to a table some of whose rows are not restored.

    A partitioned table has the rows of its partitions: it lacks those of each that stays as it is, or was dumped empty.
    """
    gone = [one.entry for one in (*edited.removed, *removed.values()) if one.entry.desc in ("TABLE", ROWS)]
    fewer = {*exclusions.table_data, *((entry.schema or "", entry.name) for entry in gone)}
    parents: dict[TableName, list[TableName]] = {}
    for parent, partition in attachments(entries):
        parents.setdefault(partition, []).append(parent)
    waiting = list(fewer)
    while waiting:
        for parent in parents.get(waiting.pop(), ()):
            if parent not in fewer:
                fewer.add(parent)
                waiting.append(parent)
    return frozenset(
        entry.dump_id
        for entry in edited.kept
        if entry.desc == "FK CONSTRAINT" and definitions.referenced_table(entry.definition) in fewer
    )


def _without_what_was_left_out(
    connection: Connection, kept: Iterable[TocEntry], exclusions: Exclusions
) -> Iterator[str]:
    """Yield who names an object that neither dump nor target has; a dump does not say what needs what it leaves out."""
    schemas, tables = set(exclusions.schemas), set(exclusions.tables)
    beginnings = tuple({*schemas, *(schema for schema, _ in tables)})
    known: dict[TableName, bool] = {}
    for entry in kept:
        if entry.desc in DISPENSABLE or not any(each in entry.definition for each in beginnings):
            continue
        for name in definitions.qualified_names(entry.definition):
            if name[0] not in schemas and name not in tables:
                continue
            if name not in known:
                known[name] = any(exists(connection, kind, *name) for kind in ("TABLE", "TYPE", "NAME"))
            is_there = known[name]
            if entry.desc == "TABLE" and name == definitions.type_of_table(entry.definition):
                is_there = exists(connection, "COMPOSITE TYPE", *name)
            if not is_there:
                yield f"{entry} needs {'.'.join(name)}, which the dump left out and the target does not have"
                break


def _stands(connection: Connection, conflict: Conflict, target: Target) -> bool:
    needed = conflict.needed
    if needed is None:
        return False
    if conflict.entry.desc == "TABLE" and definitions.type_of_table(conflict.entry.definition) == _place(needed):
        return exists(connection, "COMPOSITE TYPE", needed.schema, needed.name)
    return _identity(needed) in target.staying or exists(connection, needed.desc, needed.schema, needed.name)


def _identity(entry: TocEntry) -> ObjectIdentity:
    return entry.desc, entry.schema, entry.name


def _place(entry: TocEntry) -> TableName:
    return entry.schema or "", entry.name


# --- checks --------------------------------------------------------------------------------------------------------


def check_compression(tools: Tools, compression: str) -> None:
    """Raise ToolMissing when the client cannot read a dump of this compression."""
    if compression not in compressions(tools):
        raise ToolMissing(
            f"The dump is compressed with {compression}, which {tools} cannot read.",
            hint=f"Use client tools built with {compression}: set pg_bin_directory in applications.yaml.",
        )


def _unknown_tables(unknown: tuple[TableName, ...], entries: tuple[TocEntry, ...]) -> None:
    held = sorted(f"{entry.schema}.{entry.name}" for entry in entries if entry.desc in RELATIONS)
    near = [name for each in unknown for name in difflib.get_close_matches(".".join(each), held, n=3)]
    hint = f"The dump has {names(dict.fromkeys(near or held))}." if held else "The dump holds no table."
    raise SelectionConflict(
        f"The dump does not hold {names('.'.join(each) for each in unknown)}.",
        hint=f"Nothing was changed. {hint}",
    )


def check_dumped_version(dumped_server: str, version: Version) -> None:
    """Raise RestoreFailed when the dump's server was newer than the target."""
    dumped = Version.parse(dumped_server)
    if dumped and dumped.major > version.major:
        raise RestoreFailed(
            f"The dump is of PostgreSQL {dumped}, the target server is the older {version}.",
            hint=f"Nothing was changed. Restore into a server of version {dumped.major} or newer.",
        )


def check_extensions(wanted: Iterable[str], target: Target) -> None:
    """Raise MissingExtensions for those that the target neither has nor can create."""
    missing = sorted(name for name in wanted if name not in target.extensions)
    if missing:
        raise MissingExtensions(f"The target server cannot create the extensions {names(missing)}.")


def check_roles(named: Iterable[str], target: Target, options: PgRestoreOptions) -> None:
    """Raise MissingRoles for those that the target cluster does not have."""
    missing = sorted(set(named) - target.roles.keys())
    if missing:
        raise MissingRoles(f"The target cluster does not have the roles {names(missing)}.", hint=_roles_hint(options))


def _check_roles(kept: tuple[TocEntry, ...], target: Target, options: PgRestoreOptions) -> None:
    """Every owner and grantee must exist; to give objects away, a user must be able to act as the new owner."""
    owners, named = named_roles(kept, options)
    check_roles(named, target, options)
    if target.superuser:
        return
    foreign = sorted(owner for owner in owners if not target.roles[owner])
    if foreign:
        of_them = names(dict.fromkeys(str(entry) for entry in kept if entry.owner == foreign[0] and entry.drop))
        raise DatabaseRefused(
            f"The user {target.user!r} cannot give objects to their owners {names(foreign)} ({of_them}).",
            hint="Nothing was changed. Grant it these roles, restore as a superuser, set restore.owner to drop, or "
            "name them in restore.exclude_tables or restore.exclude_schemas.",
        )
    distant = sorted(owners - target.inherited)
    if distant:
        raise DatabaseRefused(
            f"The user {target.user!r} can act as {names(distant)} by SET ROLE alone, and does not inherit the "
            "privileges: what it gave to these owners it could not go on with.",
            hint=f"Nothing was changed. {may_inherit(distant, target.user, target.version)}, restore as a superuser, "
            "or set restore.owner to drop.",
        )


def may_inherit(roles: Iterable[str], user: str, version: Version) -> str:
    """Return the statement by which a user has the privileges of roles that it is a member of."""
    if version.major < 16:
        return f"ALTER ROLE {quoted(user)} INHERIT"
    return f"GRANT {', '.join(map(quoted, roles))} TO {quoted(user)} WITH INHERIT TRUE"


def _check_names(connection: Connection, kept: Iterable[TocEntry]) -> None:
    """Raise SelectionConflict for what stays and has the name of something else that the dump brings."""
    kept = list(kept)
    routines = [_place(entry) for entry in kept if entry.desc in (*_REPLACEABLE, "AGGREGATE")]
    found = in_the_way(connection, filter(None, map(_relation_made, kept)), routines)
    if not found:
        return
    shown = ", ".join(f"{what} (of the extension {extension})" if extension else what for what, extension in found[:5])
    shown += f" and {len(found) - 5:,} more" if len(found) > 5 else ""
    extensions = sorted({extension for _, extension in found if extension})
    away = f"DROP EXTENSION {', '.join(map(quoted, extensions))}, or " if extensions else ""
    raise SelectionConflict(
        f"The dump brings something of a name that something else has, which stays: {shown}.",
        hint=f"Nothing was changed. Before the restore {away}rename it (ALTER ... RENAME TO ...); or restore into "
        "another database.",
    )


_WITH_AN_INDEX = ("PRIMARY", "UNIQUE", "EXCLUDE")


def _relation_made(entry: TocEntry) -> TableName | None:
    """Return the name that an entry takes from those of relations, indexes and types."""
    if entry.desc in RELATIONS or entry.desc in ("INDEX", "TYPE", "DOMAIN", "SHELL TYPE"):
        return _place(entry)
    table = definitions.altered_table(entry.definition) if entry.desc == "CONSTRAINT" else None
    if table is None or not any(each.is_word(*_WITH_AN_INDEX) for each in definitions.tokens(entry.definition)):
        return None
    return table[0], entry.name.removeprefix(f"{table[1]} ")


def _check_superuser(kept: Iterable[TocEntry], target: Target) -> None:
    """Raise DatabaseRefused for what only a superuser can make, where it is not there already."""
    found = [] if target.superuser else [entry for entry in kept if _is_superusers(entry, target)]
    if found:
        raise DatabaseRefused(
            f"Only a superuser can make {names(dict.fromkeys(map(str, found)))}, and the target does not have it.",
            hint="Nothing was changed. Restore as a superuser, or have one make it in the target first; or set "
            "restore.mode to swap with on_error: list: then all else is restored beside, and a person decides.",
        )


def _check_creates(kept: tuple[TocEntry, ...], target: Target) -> None:
    """Raise DatabaseRefused for schemas, publications and extensions, where this user may make none in the database."""
    if target.creates:
        return
    made = [f"SCHEMA {name}" for name in _missing_schemas(kept, target)]
    made += [str(entry) for entry in kept if entry.desc in ("SCHEMA", "PUBLICATION") and str(entry) not in made]
    made += [str(entry) for entry in kept if entry.desc == "EXTENSION" and not target.extensions.get(entry.name)]
    if made:
        raise DatabaseRefused(
            f"The user {target.user!r} may make no schemas, publications and extensions in this database, and it lacks "
            f"{names(made)}.",
            hint=f"Nothing was changed. GRANT CREATE ON DATABASE ... TO {quoted(target.user)}, or have its owner make "
            "them first.",
        )


def _check_wrappers(kept: Iterable[TocEntry], target: Target, options: PgRestoreOptions) -> None:
    """Raise DatabaseRefused for servers whose foreign-data wrapper is closed to this user, or to the owner-to-be."""
    closed: dict[tuple[str, str], TocEntry] = {}
    for entry in () if target.superuser else kept:
        if entry.desc == "SERVER":
            wrapper = definitions.wrapper_of_server(entry.definition)
            for role in {target.user, entry.owner if options.owner is Keep.KEEP else target.user}:
                if (wrapper, role) not in target.wrappers:
                    closed.setdefault((wrapper, role), entry)
    if closed:
        shown = ", ".join(f"{entry} (by {role})" for (_, role), entry in sorted(closed.items(), key=str)[:5])
        grants = ", ".join(f"{quoted(wrapper)} TO {quoted(role)}" for wrapper, role in sorted(closed)[:5])
        raise DatabaseRefused(
            f"These servers cannot be made, since their foreign-data wrapper may not be used: {shown}.",
            hint=f"Nothing was changed. As a superuser GRANT USAGE ON FOREIGN DATA WRAPPER {grants}; or restore as "
            "one.",
        )


_SUPERUSERS = frozenset({"OPERATOR CLASS", "OPERATOR FAMILY", "ACCESS METHOD", "PROCEDURAL LANGUAGE", "EVENT TRIGGER"})
_SUPERUSERS |= {"FOREIGN DATA WRAPPER", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "PUBLICATION TABLES IN SCHEMA"}
_PERHAPS_SUPERUSERS = {"FUNCTION", "PROCEDURE", "TRANSFORM", "TYPE", "PUBLICATION", "CAST", "AGGREGATE"}


def _is_superusers(entry: TocEntry, target: Target) -> bool:
    return is_a_superusers(entry, target.untrusted_languages, target.parameters)


def is_a_superusers(
    entry: TocEntry, untrusted_languages: frozenset[str], parameters: frozenset[str] = frozenset()
) -> bool:
    """Tell whether only a superuser can make this; only one can use these languages, and set these parameters."""
    if entry.desc in _SUPERUSERS or entry.desc not in _PERHAPS_SUPERUSERS:
        return entry.desc in _SUPERUSERS
    if entry.desc in _REPLACEABLE and not _tells_of_a_superuser(entry.definition, untrusted_languages, parameters):
        return False
    words = definitions.tokens(entry.definition)
    pairs = list(pairwise(words))
    if entry.desc == "TYPE":  # of its own making; a composite one may have a column of that name
        return any(one.is_word("INPUT") and two.text == "=" for one, two in pairs)
    if entry.desc == "CAST":
        without_function = any(one.is_word("WITHOUT") and two.is_word("FUNCTION") for one, two in pairs)
        return without_function or "." not in entry.name  # between types of the server, which nobody else owns
    if entry.desc == "PUBLICATION":
        return any(one.is_word("ALL") and two.is_word("TABLES") for one, two in pairs)
    if entry.desc == "AGGREGATE":
        texts = [word.text.upper() for word in words]
        return any(texts[at : at + 3] == ["STYPE", "=", "INTERNAL"] for at in range(len(texts)))
    if entry.desc in _REPLACEABLE:
        words = list(definitions.attributes_of_a_routine(words))
        is_set = any(one.is_word("SET") and two.name in parameters for one, two in pairwise(words))
        is_one = any(word.is_word("LEAKPROOF", "SUPPORT") for word in words)
        return is_set or is_one or _language(words) in untrusted_languages
    if any(one.is_word("LANGUAGE") and two.name in untrusted_languages for one, two in pairs):
        return True
    # a transform of a type that nobody else owns
    return not any(each.text == "." and not before.is_word("PG_CATALOG") for before, each in pairs)


def _language(attributes: Sequence[definitions.Token]) -> str:
    """Return the language that the attributes of a routine begin with."""
    return attributes[1].name if len(attributes) > 1 else ""


_SET = re.compile(r'^ +SET "?(\w+)"? TO ', re.MULTILINE)  # as pg_dump writes it
_LANGUAGE = re.compile(r'LANGUAGE (?:"((?:[^"]|"")+)"|([^\W\d][\w$]*))')  # as pg_dump writes it


def _tells_of_a_superuser(routine: str, untrusted_languages: frozenset[str], parameters: frozenset[str]) -> bool:
    """Tell whether a routine's text is worth reading word by word: an application may have thousands of them."""
    if re.search("leakproof|support", routine, re.IGNORECASE):
        return True
    if any(found[1] in parameters for found in _SET.finditer(routine)):
        return True
    named = (found[1] or found[2] for found in _LANGUAGE.finditer(routine))
    return any(name.replace('""', '"') in untrusted_languages for name in named)


def _check_something_is_ours(kept: Iterable[TocEntry], entries: Iterable[TocEntry], target: Target) -> None:
    """What belongs to other roles stays; when all of it does, this is not the user to restore with."""
    foreign = _of_others(entries, target)
    if foreign and not any(entry.desc in RELATIONS for entry in kept):
        shown = names(f"{schema}.{name}" for _, schema, name in foreign)
        raise DatabaseRefused(
            f"The user {target.user!r} can replace nothing that the dump holds: {shown} belong to other roles.",
            hint="Nothing was changed. Grant it these roles, or restore as the owner or a superuser.",
        )


def _of_others(entries: Iterable[TocEntry], target: Target) -> tuple[ObjectIdentity, ...]:
    """Return the relations of the dump that stay as they are, since they belong to roles that this user is not."""
    found = (_identity(entry) for entry in entries if entry.desc in RELATIONS)
    return tuple(each for each in found if target.staying.get(each, "").startswith(BELONGS))


def _roles_hint(options: PgRestoreOptions) -> str:
    """Say what to set that is not set yet; the roles of policies are needed in any case."""
    wanted = [
        name
        for name, value in (("restore.owner", options.owner), ("restore.privileges", options.privileges))
        if value is Keep.KEEP
    ]
    unless = f", or set {' and '.join(wanted)} to drop" if wanted else ": policies and user mappings name them"
    return f"Nothing was changed. Create the roles, have them created with restore.roles: create{unless}."


def _check_schemas(kept: Iterable[TocEntry], target: Target, options: PgRestoreOptions) -> None:
    """Nothing can be made in a schema of another role that does not let this user, and the owner-to-be.

    Where its own schema is closed to it, it lets itself.
    """
    closed = {name for name, owned in target.schemas.items() if not owned} - target.open_schemas
    gives = options.owner is Keep.KEEP and not target.superuser
    found: dict[tuple[str, str], TocEntry] = {}
    for entry in kept:
        if not (entry.schema in target.schemas and change_of_owner(entry)):
            continue
        if entry.schema in closed:
            found.setdefault((target.user, entry.schema or ""), entry)
        elif gives and entry.owner != target.user and (entry.schema, entry.owner) not in target.creators:
            found.setdefault((entry.owner, entry.schema or ""), entry)
    if found:
        shown = ", ".join(f"{schema} (needed for {entry})" for (_, schema), entry in sorted(found.items(), key=str)[:5])
        users = sorted({user for user, _ in found})
        raise DatabaseRefused(
            f"The user {names(users)} may not create objects in the schema {shown}, which belongs to another role.",
            hint=f"Nothing was changed. GRANT CREATE ON SCHEMA to {names(users)}, restore as its owner, or name the "
            "schema in restore.exclude_schemas: then it stays as it is.",
        )


# --- what does not fit ---------------------------------------------------------------------------------------------


def _partitions_last(kept: tuple[TocEntry, ...]) -> tuple[TocEntry, ...]:
    """Attach a partition at the very end when its parent is not restored with it.

    The parent has its indexes already: attaching takes the partition's own indexes for them if they are there, and
    makes new ones, which the dump's would collide with, if they are not.
    """
    brought = {entry.dump_id for entry in kept if entry.desc in RELATIONS}
    late = [entry for entry in kept if entry.desc == "TABLE ATTACH" and not brought.issuperset(entry.dependencies)]
    moved = {entry.dump_id for entry in late}
    return tuple(entry for entry in kept if entry.dump_id not in moved) + tuple(late)


def _fitted(
    kept: tuple[TocEntry, ...], target: Target, options: PgRestoreOptions, members: frozenset[int]
) -> tuple[tuple[TocEntry, ...], tuple[Removed, ...]]:
    """Leave out what outlives the drop, annotations of it that only its owner could change, and dropped privileges."""
    contents = {entry.dump_id: entry for entry in kept}
    left: dict[int, Removed] = {}
    for entry in kept:
        reason = _outlives(entry, target) or _annotates(entry, contents, target) or _attaches(entry, contents)
        if entry.dump_id in members and entry.owner not in target.inherited:
            reason = OF_A_MEMBER
        if entry.desc in (ROWS, "SEQUENCE SET") and _place(entry) in target.closed_rows:
            reason = ROWS_OF_A_MEMBER
        if options.privileges is Keep.DROP and entry.desc in ("USER MAPPING", "ACL", "DEFAULT ACL"):
            reason = "privileges, and user mappings with them, are dropped"
        if reason:
            left[entry.dump_id] = Removed(entry, reason)
    return tuple(entry for entry in kept if entry.dump_id not in left), tuple(left.values())


def _outlives(entry: TocEntry, target: Target) -> str:
    if entry.desc == "SCHEMA" and entry.name in target.schemas:
        return "the schema is there and stays"
    if entry.desc == "EXTENSION" and target.extensions.get(entry.name):
        return EXTENSION_STAYS
    if entry.desc in ("SUBSCRIPTION", "SUBSCRIPTION TABLE"):
        return NO_SUBSCRIPTION
    if entry.desc == "DEFAULT ACL" and entry.owner in target.roles and entry.owner not in target.inherited:
        return f"default privileges of the role {entry.owner}, which this user cannot change"
    return ""


def _attaches(entry: TocEntry, contents: dict[int, TocEntry]) -> str:
    """An index is attached with its table when the parent of the table stays (see `_partitions_last`)."""
    alone = entry.desc == "INDEX ATTACH" and any(dump_id not in contents for dump_id in entry.dependencies)
    return "its table's attachment attaches it" if alone else ""


def _annotates(entry: TocEntry, contents: dict[int, TocEntry], target: Target) -> str:
    if entry.desc not in _PIECES_OF_A_SYSTEM_OBJECT:
        return ""
    for kind, name in [(contents[d].desc, contents[d].name) for d in entry.dependencies if d in contents]:
        if kind == "EXTENSION" and target.extensions.get(name):
            return "of an extension that stays"
        if kind == "SCHEMA" and not target.schemas.get(name, True):
            return f"the schema {name} stays and belongs to another role"
    tag, _, name = entry.name.partition(" ")
    if not entry.dependencies and tag == "SCHEMA" and not target.schemas.get(unquoted(name), True):
        return f"the schema {name} stays and belongs to another role"
    if annotates_the_server(entry) and not target.superuser:
        return "of an object of the server itself, which this user cannot change: it stays as it is"
    return ""


def _missing_schemas(kept: tuple[TocEntry, ...], target: Target) -> tuple[str, ...]:
    """Schemas that no entry makes and the target lost, such as public, of which a dump has only what was changed."""
    made = {entry.name for entry in kept if entry.desc == "SCHEMA" and definitions.tokens(entry.definition)}
    needed = set(filter(None, map(schema_needed, kept)))
    return tuple(sorted(each for each in needed - made - target.schemas.keys() if not is_of_the_server(each)))


def schema_of_extension(entry: TocEntry) -> str | None:
    """Return the schema in which a dump has an extension; None of anything else."""
    found = _IN_A_SCHEMA.search(entry.definition) if entry.desc == "EXTENSION" else None
    return unquoted(found[1]) if found else None


def schema_needed(entry: TocEntry) -> str:
    """Return the schema that has to be there for an entry, empty when none has."""
    if entry.desc == "EXTENSION":
        return schema_of_extension(entry) or ""
    if entry.desc == "SCHEMA":
        return entry.name
    is_of_a_schema = entry.desc in _PIECES_OF_A_SYSTEM_OBJECT and not entry.schema and entry.name.startswith("SCHEMA ")
    return unquoted(entry.name.removeprefix("SCHEMA ")) if is_of_a_schema else entry.schema or ""


def _extension_rows(kept: tuple[TocEntry, ...], target: Target) -> tuple[tuple[TableName, str], ...]:
    """Rows of an installed extension's tables: the dump brings those that match the extension's condition."""
    brought = sorted({(entry.schema or "", entry.name) for entry in kept if entry.desc == "TABLE DATA"})
    found = target.configuration_tables
    return tuple((table, found[table]) for table in brought if table in found)


# --- the five lists ------------------------------------------------------------------------------------------------


def _inventory(plan: DatabasePlan) -> Inventory:
    objects = set(_in_their_own_right(plan.kept)) | {("SCHEMA", None, name) for name in plan.create_schemas}
    there, staying = set(plan.target.replaced), dict(plan.target.staying)
    partly = plan.selection.tables is not None
    staying |= dict.fromkeys(plan.target.not_chosen, NOT_CHOSEN)
    for each, reason in _besides(plan.target):
        if partly or reason:
            staying[each] = NOT_CHOSEN if partly else str(reason)
        else:
            there.add(each)
    stays = {each: reason for each, reason in staying.items() if each not in objects}
    renewed = {each for each in objects if each in staying}  # a routine that is replaced in place
    left_out: dict[ObjectIdentity, str] = {}
    for removed in plan.removed:
        for each in _in_their_own_right([removed.entry]):
            if each not in staying and each not in objects:
                left_out[each] = removed.reason
    return Inventory(
        replaced=tuple(sorted((objects & there) | renewed, key=str)),
        restored=tuple(sorted(objects - there - renewed, key=str)),
        dropped=tuple(sorted(there - objects - left_out.keys(), key=str)),
        stays=dict(sorted(stays.items(), key=str)),
        left_out=dict(sorted(left_out.items(), key=str)),
    )


_IN_THEIR_OWN_RIGHT = RELATIONS | _REPLACEABLE | {"SCHEMA", "TYPE", "DOMAIN", "AGGREGATE", "OPERATOR", "OPERATOR CLASS"}
_IN_THEIR_OWN_RIGHT |= {"OPERATOR FAMILY", "COLLATION", "CONVERSION", "PROCEDURAL LANGUAGE", "FOREIGN DATA WRAPPER"}
_IN_THEIR_OWN_RIGHT |= {"SERVER", "EVENT TRIGGER", "PUBLICATION", "ACCESS METHOD", "CAST", "TRANSFORM", "USER MAPPING"}
_IN_THEIR_OWN_RIGHT |= {"STATISTICS", "SUBSCRIPTION", "EXTENSION"}
_IN_THEIR_OWN_RIGHT |= {f"TEXT SEARCH {each}" for each in ("CONFIGURATION", "DICTIONARY", "PARSER", "TEMPLATE")}


def _besides(target: Target) -> Iterator[tuple[ObjectIdentity, str | None]]:
    """Yield what stands in the target and is not asked for by name, with the reason why it stays, if it does."""
    yield from ((("EXTENSION", None, name), "extensions stay") for name, there in target.extensions.items() if there)
    yield from target.default_privileges.items()
    yield from ((_large_object(oid), None) for oid in target.large_objects)
    yield from ((_large_object(oid), "belongs to another role") for oid in target.foreign_large_objects)


def _large_object(oid: object) -> ObjectIdentity:
    return "LARGE OBJECT", None, str(oid)


def _in_their_own_right(entries: Iterable[TocEntry]) -> Iterator[ObjectIdentity]:
    for entry in entries:
        if entry.desc in _IN_THEIR_OWN_RIGHT or (entry.desc == "ACL" and is_of_the_server(entry.schema)):
            yield _identity(entry)
        elif entry.desc == "SHELL TYPE":  # the beginning of a type, or all that there is of it
            yield "TYPE", entry.schema, entry.name
        elif entry.desc == "DEFAULT ACL":
            yield default_privileges(entry.schema, entry.name, entry.owner)
        elif entry.desc in ("BLOB", "BLOB METADATA"):
            yield from map(_large_object, entry.definition.split() if entry.desc == "BLOB METADATA" else [entry.name])
