"""What a restore will do: `plan_database_restore` reads the dump and the target, checks both, and changes nothing."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glacier_provider.errors import (
    DatabaseRefused,
    MissingExtensions,
    MissingRoles,
    RestoreFailed,
    SelectionConflict,
    ToolMissing,
)
from glacier_provider.postgres.dump.disk import restorable_entries, table_of_contents
from glacier_provider.postgres.dump.toc import DumpHeader, TocEntry
from glacier_provider.postgres.restore import definitions, script
from glacier_provider.postgres.restore.selection import RELATIONS, Conflict, Removed, Selection, edit
from glacier_provider.postgres.restore.target import Target, exists, inspect
from glacier_provider.postgres.tools.find import Tools, Version, check_client_version, compressions
from glacier_provider.postgres.tools.options import Keep, PgRestoreOptions
from glacier_provider.postgres.tools.server import Server, database_errors, require_primary
from glacier_provider.postgres.tools.sql import TableName

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection


@dataclass(frozen=True, slots=True)
class DatabasePlan:
    """What a restore will do: checked against dump, tools and target, nothing changed yet.

    `kept` are the entries to restore, in order; `removed` the others, with reasons. `create_schemas` are schemas that
    entries need and neither dump nor target has; `replace_rows` are tables of extensions whose rows the dump brings.
    """

    dump: Path
    header: DumpHeader
    server_version: Version
    selection: Selection
    kept: tuple[TocEntry, ...]
    removed: tuple[Removed, ...]
    create_schemas: tuple[str, ...] = ()
    replace_rows: tuple[tuple[TableName, str], ...] = ()

    @property
    def relations(self) -> frozenset[TableName]:
        """The tables, views and sequences that will be restored."""
        return frozenset((entry.schema or "", entry.name) for entry in self.kept if entry.desc in RELATIONS)


def plan_database_restore(
    server: Server, tools: Tools, dump: Path, selection: Selection, options: PgRestoreOptions
) -> DatabasePlan:
    """Read dump and target, and say what a restore would do; change nothing.

    Raise DumpInvalid, UnsupportedDump, ToolMissing, ToolTooOld, DatabaseUnreachable, DatabaseRefused,
    SelectionConflict, MissingRoles, MissingExtensions, or RestoreFailed for a server older than the dump's.
    """
    dump = dump.absolute()
    toc = table_of_contents(dump)
    _check_compression(tools, toc.header)
    edited = edit(restorable_entries(tools, dump, toc), selection)
    if edited.unknown:
        _unknown_tables(edited.unknown, edited.kept + tuple(removed.entry for removed in edited.removed))
    chosen = _replaced(selection, edited.kept)
    with server.connect() as connection, database_errors(server, "looking at the target database"):
        connection.read_only = True
        require_primary(connection, server)
        target = inspect(connection, chosen)
        check_client_version(tools, target.version)
        _check_version(toc.header, target)
        _check_conflicts(connection, edited.conflicts, target)
        _check_extensions(edited.kept, target)
    kept, left = _fitted(_partitions_last(edited.kept), target, options)
    _check_roles(kept, target, options)
    return DatabasePlan(
        dump=dump,
        header=toc.header,
        server_version=target.version,
        selection=chosen,
        kept=kept,
        removed=edited.removed + left,
        create_schemas=_missing_schemas(kept, target),
        replace_rows=_extension_rows(kept, target),
    )


def _replaced(selection: Selection, kept: tuple[TocEntry, ...]) -> Selection:
    """Return the selection as the target must see it: with `tables`, every relation that the dump brings for them."""
    if selection.tables is None:
        return selection
    brought = frozenset((entry.schema or "", entry.name) for entry in kept if entry.desc in RELATIONS)
    return Selection(selection.exclude_schemas, selection.exclude_tables, brought)


def _check_compression(tools: Tools, header: DumpHeader) -> None:
    if header.compression not in compressions(tools):
        raise ToolMissing(
            f"The dump is compressed with {header.compression}, which {tools} cannot read.",
            hint=f"Use client tools built with {header.compression}: set pg_bin_directory in applications.yaml.",
        )


def _unknown_tables(unknown: tuple[TableName, ...], entries: tuple[TocEntry, ...]) -> None:
    held = sorted(f"{entry.schema}.{entry.name}" for entry in entries if entry.desc in RELATIONS)
    near = [name for each in unknown for name in difflib.get_close_matches(".".join(each), held, n=3)]
    hint = f"The dump has {script.names(dict.fromkeys(near or held))}." if held else "The dump holds no table."
    raise SelectionConflict(
        f"The dump does not hold {script.names('.'.join(each) for each in unknown)}.",
        hint=f"Nothing was changed. {hint}",
    )


def _check_version(header: DumpHeader, target: Target) -> None:
    dumped = Version.parse(header.server_version)
    if dumped and dumped.major > target.version.major:
        raise RestoreFailed(
            f"The dump is of PostgreSQL {dumped}, the target server is the older {target.version}.",
            hint=f"Nothing was changed. Restore into a server of version {dumped.major} or newer.",
        )


def _check_conflicts(connection: Connection, conflicts: tuple[Conflict, ...], target: Target) -> None:
    """Refuse when kept and excluded objects cannot be parted.

    What a kept object needs may be left out when the target has it: it stays, so the kept object is created upon it,
    or the whole restore is rolled back. A foreign key is refused always: the rows it points to may differ.
    """
    unsolved = [str(each) for each in conflicts if each.fatal or not _stands(connection, each)]
    unsolved += [f"in the target, {each}, which is replaced" for each in target.crossings]
    if unsolved:
        shown = "; ".join(unsolved[:5]) + (f"; and {len(unsolved) - 5} more" if len(unsolved) > 5 else "")
        raise SelectionConflict(f"Restored and excluded objects depend on each other: {shown}.")


def _stands(connection: Connection, conflict: Conflict) -> bool:
    needed = conflict.needed
    return needed is not None and exists(connection, needed.desc, needed.schema, needed.name)


def _check_extensions(kept: tuple[TocEntry, ...], target: Target) -> None:
    missing = sorted(entry.name for entry in kept if entry.desc == "EXTENSION" and entry.name not in target.extensions)
    if missing:
        raise MissingExtensions(f"The target server cannot create the extensions {script.names(missing)}.")


def _check_roles(kept: tuple[TocEntry, ...], target: Target, options: PgRestoreOptions) -> None:
    """Every owner and grantee must exist; to give objects away, a user must be able to act as the new owner."""
    owners = {entry.owner for entry in kept if entry.owner} if options.owner is Keep.KEEP else set()
    named = set(owners)
    for entry in kept:
        if entry.desc in ("ACL", "DEFAULT ACL") and options.privileges is Keep.KEEP:
            named |= definitions.granted_roles(entry.definition)
        elif entry.desc == "POLICY":
            named |= definitions.policy_roles(entry.definition)
        elif entry.desc == "USER MAPPING":
            named |= definitions.mapped_roles(entry.definition)
    missing = sorted(named - target.roles.keys())
    if missing:
        raise MissingRoles(
            f"The target cluster does not have the roles {script.names(missing)}.",
            hint="Nothing was changed. Create the roles, or restore with owner and privileges set to drop.",
        )
    foreign = sorted(owner for owner in owners if not target.roles[owner])
    if foreign and not target.superuser:
        raise DatabaseRefused(
            f"The user {target.user!r} cannot give objects to their owners {script.names(foreign)}.",
            hint="Nothing was changed. Grant it these roles, restore as a superuser, or set owner to drop.",
        )


def _partitions_last(kept: tuple[TocEntry, ...]) -> tuple[TocEntry, ...]:
    """Attach a partition at the very end when its parent is not restored with it.

    The parent has its indexes already: attaching takes the partition's own indexes for them if they are there, and
    makes new ones, which the dump's would collide with, if they are not.
    """
    brought = {entry.dump_id for entry in kept if entry.desc in RELATIONS}
    late = [entry for entry in kept if entry.desc == "TABLE ATTACH" and not brought.issuperset(entry.dependencies)]
    return tuple(entry for entry in kept if entry not in late) + tuple(late)


def _fitted(
    kept: tuple[TocEntry, ...], target: Target, options: PgRestoreOptions
) -> tuple[tuple[TocEntry, ...], tuple[Removed, ...]]:
    """Leave out what outlives the drop, annotations of it that only its owner could change, and dropped privileges."""
    contents = {entry.dump_id: entry for entry in kept}
    left: dict[int, Removed] = {}
    for entry in kept:
        reason = _outlives(entry, target) or _annotates(entry, contents, target) or _attaches(entry, contents)
        if entry.desc == "USER MAPPING" and options.privileges is Keep.DROP:
            reason = "user mappings go with the privileges, which are dropped"
        if reason:
            left[entry.dump_id] = Removed(entry, reason)
    return tuple(entry for entry in kept if entry.dump_id not in left), tuple(left.values())


def _outlives(entry: TocEntry, target: Target) -> str:
    if entry.desc == "SCHEMA" and entry.name in target.schemas:
        return "the schema is there and stays"
    if entry.desc == "EXTENSION" and target.extensions.get(entry.name):
        return "the extension is there and stays"
    if entry.desc == "EVENT TRIGGER" and entry.name in target.foreign_event_triggers:
        return "the event trigger is there and belongs to another role"
    if entry.desc in ("SUBSCRIPTION", "SUBSCRIPTION TABLE"):
        return "subscriptions stay as they are"
    return ""


def _attaches(entry: TocEntry, contents: dict[int, TocEntry]) -> str:
    """An index is attached with its table when the parent of the table stays (see `_partitions_last`)."""
    alone = entry.desc == "INDEX ATTACH" and any(dump_id not in contents for dump_id in entry.dependencies)
    return "its table's attachment attaches it" if alone else ""


def _annotates(entry: TocEntry, contents: dict[int, TocEntry], target: Target) -> str:
    if entry.desc not in ("COMMENT", "ACL", "SECURITY LABEL"):
        return ""
    for kind, name in [(contents[d].desc, contents[d].name) for d in entry.dependencies if d in contents]:
        if kind == "EVENT TRIGGER" and name in target.foreign_event_triggers:
            return "of an event trigger that stays"
        if kind == "EXTENSION" and target.extensions.get(name):
            return "of an extension that stays"
        if kind == "SCHEMA" and not target.schemas.get(name, True):
            return f"the schema {name} stays and belongs to another role"
    tag, _, name = entry.name.partition(" ")
    if not entry.dependencies and tag == "SCHEMA" and not target.schemas.get(name.strip('"'), True):
        return f"the schema {name} stays and belongs to another role"
    return ""


def _missing_schemas(kept: tuple[TocEntry, ...], target: Target) -> tuple[str, ...]:
    """Schemas without an entry of their own, such as public, that the target lost."""
    made = {entry.name for entry in kept if entry.desc == "SCHEMA"}
    needed = {entry.schema for entry in kept if entry.schema and entry.desc != "EXTENSION"}
    return tuple(sorted(needed - made - target.schemas.keys()))


def _extension_rows(kept: tuple[TocEntry, ...], target: Target) -> tuple[tuple[TableName, str], ...]:
    """Rows of an installed extension's tables: the dump brings those that match the extension's condition."""
    brought = sorted({(entry.schema or "", entry.name) for entry in kept if entry.desc == "TABLE DATA"})
    found = target.configuration_tables
    return tuple((table, found[table]) for table in brought if table in found)
