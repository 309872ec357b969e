"""Which entries of a dump to restore: the table of contents, edited by exact identity. Pure.

An entry belongs to a relation when it is a piece of it: its data, defaults, indexes, constraints, owned sequences,
privileges, comments, triggers, rules, policies, statistics, publication memberships, partitions. Pieces go where
their relation goes. What merely needs an excluded object, as a view or a foreign key does, is not a piece: it is a
conflict, since it could be restored only if the excluded object fits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from glacier_provider.errors import ConfigurationError
from glacier_provider.postgres.dump.toc import TocEntry
from glacier_provider.postgres.restore import definitions
from glacier_provider.postgres.tools.sql import TableName, unquoted

RELATIONS = frozenset({"TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE"})
_TABLES = RELATIONS - {"SEQUENCE"}
_NAMED_AS_RELATION = frozenset(
    {"TABLE DATA", "SEQUENCE SET", "MATERIALIZED VIEW DATA", "STATISTICS DATA", "ROW SECURITY"}
)
_TABLE_PIECES = frozenset({"DEFAULT", "CONSTRAINT", "FK CONSTRAINT", "CHECK CONSTRAINT", "TRIGGER", "RULE", "POLICY"})
_ON_A_TABLE = frozenset({"INDEX", "STATISTICS"})
_ANNOTATIONS = frozenset({"ACL", "COMMENT", "SECURITY LABEL"})
_LINKS = frozenset(
    {"TABLE ATTACH", "INDEX ATTACH", "SEQUENCE OWNED BY", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA"}
)


#: An object as a table of contents names it: (kind, schema or None, tag).
ObjectIdentity: TypeAlias = tuple[str, str | None, str]

#: Kinds that a database can be without: when they need what is left out, they are left out as well and listed.
DISPENSABLE = frozenset(
    {"VIEW", "MATERIALIZED VIEW", "MATERIALIZED VIEW DATA", "RULE", "TRIGGER", "POLICY", "FK CONSTRAINT", "INDEX"}
    | {"CHECK CONSTRAINT", "DEFAULT", "FUNCTION", "PROCEDURE", "AGGREGATE", "STATISTICS", "STATISTICS DATA"}
    | {"EVENT TRIGGER", "CAST", "TRANSFORM", "OPERATOR", "ACL", "COMMENT", "SECURITY LABEL", "DEFAULT ACL"}
    | {"PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA", "INDEX ATTACH", "SEQUENCE OWNED BY"}
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a dump to restore, by exact identity.

    Everything in `exclude_schemas`, and every relation in `exclude_tables` with what belongs to it, stays as it is in
    the target. With `tables`, only these relations and what belongs to them are restored. Large objects
    belong to no table: they are replaced with the rest, and stay when `tables` is given. Any collections are taken,
    and kept as frozen sets.
    """

    exclude_schemas: Collection[str] = frozenset()
    exclude_tables: Collection[TableName] = frozenset()
    tables: Collection[TableName] | None = None

    def __post_init__(self) -> None:
        for name in ("exclude_schemas", "exclude_tables", "tables"):
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, frozenset(given))
        if self.tables is not None and not self.tables:
            raise ConfigurationError("The list of tables to restore is empty.", hint="Name a table, or give no list.")


@dataclass(frozen=True, slots=True)
class Removed:
    """An entry that will not be restored, and why."""

    entry: TocEntry
    reason: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """A kept entry that needs something that is not restored.

    `needed` is the object's entry, or None when the dump does not hold it. A foreign key may fail even where the target
    has the table: the rows that it points to may differ.
    """

    entry: TocEntry
    needed: TocEntry | None
    needed_name: str

    def __str__(self) -> str:
        return f"{self.entry} needs {self.needed_name}, which is not restored"


@dataclass(frozen=True, slots=True)
class TocEdit:
    """The outcome: every entry is in `kept` or in `removed`, both in the dump's order.

    `unknown` are the tables that the selection asks for and the dump does not hold.
    """

    kept: tuple[TocEntry, ...]
    removed: tuple[Removed, ...]
    conflicts: tuple[Conflict, ...] = ()
    unknown: tuple[TableName, ...] = ()


def edit(
    entries: Iterable[TocEntry], selection: Selection, staying: Mapping[ObjectIdentity, str] | None = None
) -> TocEdit:
    """Return which of `entries` to restore under `selection`.

    `staying` are objects that are in the target and outlive the restore, with the reason: the dump's stay away.
    """
    contents = Contents(entries)
    judge = _Judge(contents, selection, staying or {})
    reasons = {entry.dump_id: reason for entry in contents.entries if (reason := judge(entry))}
    kept = tuple(entry for entry in contents.entries if entry.dump_id not in reasons)
    removed = tuple(Removed(entry, reasons[entry.dump_id]) for entry in contents.entries if entry.dump_id in reasons)
    unknown = sorted(frozenset(selection.tables or ()) - contents.relations.keys())
    return TocEdit(kept, removed, tuple(_conflicts(contents, kept)), tuple(unknown))


def attachments(entries: Iterable[TocEntry]) -> Iterator[tuple[TableName, TableName]]:
    """Yield (partitioned table, partition) of each partition of a dump, both as (schema, name)."""
    for entry in entries:
        if entry.desc == "TABLE ATTACH" or (entry.desc == "TABLE" and "ATTACH PARTITION" in entry.definition):
            names = definitions.attached_partition(entry.definition)
            if names is not None:
                yield names


class Contents:
    """Entries with their indexes, and the answer to "to what does this piece belong?"."""

    def __init__(self, entries: Iterable[TocEntry]) -> None:
        self.entries = tuple(entries)
        self.by_id = {entry.dump_id: entry for entry in self.entries}
        self.relations = {(e.schema or "", e.name): e for e in self.entries if e.desc in RELATIONS}
        self._attached = {
            child.dump_id: parents for entry in self.entries for child, parents in self._attachment(entry)
        }

        self._owners: dict[int, tuple[TocEntry, ...]] = {}

    def owners(self, entry: TocEntry) -> tuple[TocEntry, ...]:
        """Return the entries that this one is a piece of; none for an object in its own right."""
        if entry.dump_id not in self._owners:
            self._owners[entry.dump_id] = self._find_owners(entry)
        return self._owners[entry.dump_id]

    def _find_owners(self, entry: TocEntry) -> tuple[TocEntry, ...]:
        if entry.desc in _TABLES:
            return self._attached.get(entry.dump_id, ()) or self._inline_partition(entry)
        if entry.desc == "SEQUENCE":
            return self._needed(entry, _TABLES)
        if entry.desc in _NAMED_AS_RELATION:
            relation = self.relations.get((entry.schema or "", entry.name))
            return (relation,) if relation else self._needed(entry)
        if entry.desc in _TABLE_PIECES:
            return self._table_of_piece(entry)
        if entry.desc in _ON_A_TABLE:
            return self._the_one_named(entry, self._needed(entry, _TABLES))
        if entry.desc in _ANNOTATIONS or entry.desc in _LINKS or entry.desc == "BLOBS":
            return self._needed(entry)
        return ()

    def home(self, entry: TocEntry) -> TocEntry:
        """Return the relation that an entry is a piece of, or the object in its own right; either may be itself."""
        seen = {entry.dump_id}
        while entry.desc not in RELATIONS:
            owners = [owner for owner in self.owners(entry) if owner.dump_id not in seen]
            if not owners:
                break
            entry = owners[0]
            seen.add(entry.dump_id)
        return entry

    def _needed(self, entry: TocEntry, kinds: frozenset[str] | None = None) -> tuple[TocEntry, ...]:
        found = (self.by_id.get(dump_id) for dump_id in dict.fromkeys(entry.dependencies))
        return tuple(each for each in found if each is not None and (kinds is None or each.desc in kinds))

    def _table_of_piece(self, entry: TocEntry) -> tuple[TocEntry, ...]:
        """Take the needed table or domain whose name begins the tag "table piece"; by its SQL when several do."""
        needed = self._needed(entry, RELATIONS | {"DOMAIN"})
        fitting = tuple(e for e in needed if e.schema == entry.schema and entry.name.startswith(f"{e.name} "))
        return self._the_one_named(entry, fitting)

    @staticmethod
    def _the_one_named(entry: TocEntry, candidates: tuple[TocEntry, ...]) -> tuple[TocEntry, ...]:
        if len(candidates) < 2:
            return candidates
        altered = definitions.altered_table(entry.definition)
        named = tuple(
            each
            for each in candidates
            if altered == (each.schema, each.name)
            or (altered is None and definitions.mentions_on(entry.definition, (each.schema or "", each.name)))
        )
        return named or candidates

    def _attachment(self, entry: TocEntry) -> Iterator[tuple[TocEntry, tuple[TocEntry, ...]]]:
        if entry.desc != "TABLE ATTACH":
            return
        tables = self._needed(entry, _TABLES)
        for child in tables:
            if (child.schema, child.name) == (entry.schema, entry.name):
                yield child, tuple(each for each in tables if each is not child)

    def _inline_partition(self, entry: TocEntry) -> tuple[TocEntry, ...]:
        """pg_dump before 14 attaches a partition in the definition of the partition itself."""
        if "ATTACH PARTITION" in entry.definition or "PARTITION OF" in entry.definition:
            return tuple(each for each in self._needed(entry, _TABLES) if "PARTITION BY" in each.definition)
        return ()


class _Judge:
    """Says for one entry why it is not restored, or an empty string when it is."""

    def __init__(self, contents: Contents, selection: Selection, staying: Mapping[ObjectIdentity, str]) -> None:
        self._contents = contents
        self._selection = selection
        self._staying = staying

    def __call__(self, entry: TocEntry) -> str:
        excluded = self._excluded(entry, frozenset())
        if excluded or self._selection.tables is None or self._wanted(entry, frozenset()):
            return excluded
        return "not among the chosen tables"

    def _excluded(self, entry: TocEntry, above: frozenset[int]) -> str:
        reason = self._excluded_itself(entry)
        if reason or entry.dump_id in above:
            return reason
        for owner in self._contents.owners(entry):
            if self._excluded(owner, above | {entry.dump_id}):
                return f"belongs to {owner}"
        return ""

    def _excluded_itself(self, entry: TocEntry) -> str:
        chosen = self._selection
        if entry.schema in chosen.exclude_schemas:
            return f"in the excluded schema {entry.schema}"
        if entry.desc == "SCHEMA" and entry.name in chosen.exclude_schemas:
            return f"the excluded schema {entry.name}"
        if entry.desc in RELATIONS | _NAMED_AS_RELATION and (entry.schema, entry.name) in chosen.exclude_tables:
            return f"of the excluded table {entry.schema}.{entry.name}"
        # a schema that stays is no reason for what is in it to stay
        staying = "" if entry.desc == "SCHEMA" else self._staying.get((entry.desc, entry.schema, entry.name), "")
        return f"the target's stays: {staying}" if staying else ""

    def _wanted(self, entry: TocEntry, above: frozenset[int]) -> bool:
        tables = self._selection.tables or ()
        if entry.desc == "SCHEMA":
            return any(schema == entry.name for schema, _ in tables)
        if entry.desc in RELATIONS | _NAMED_AS_RELATION and (entry.schema, entry.name) in tables:
            return True
        owners = () if entry.dump_id in above else self._contents.owners(entry)
        below = above | {entry.dump_id}
        return any(owner.desc != "SCHEMA" and self._wanted(owner, below) for owner in owners)


def _conflicts(contents: Contents, kept: tuple[TocEntry, ...]) -> Iterator[Conflict]:
    kept_ids = {entry.dump_id for entry in kept}
    for entry in kept:
        if entry.desc == "FK CONSTRAINT":
            yield from _foreign_key_conflict(contents, entry, kept_ids)
        else:
            yield from _other_conflicts(contents, entry, kept_ids)


def _foreign_key_conflict(contents: Contents, entry: TocEntry, kept_ids: set[int]) -> Iterator[Conflict]:
    target = definitions.referenced_table(entry.definition)
    relation = contents.relations.get(target) if target else None
    if target and (relation is None or relation.dump_id not in kept_ids):
        yield Conflict(entry, relation, f"TABLE {target[0]}.{target[1]}")


def _other_conflicts(contents: Contents, entry: TocEntry, kept_ids: set[int]) -> Iterator[Conflict]:
    seen: set[int] = set()
    for dump_id in entry.dependencies:
        needed = contents.by_id.get(dump_id)
        if needed is None or dump_id in kept_ids or needed.desc in _ANNOTATIONS:
            continue
        home = contents.home(needed)
        # a link's own other end (the index of a parent table) is looked for under its own name
        needed = needed if entry.desc in _LINKS else home
        if needed.dump_id not in seen and needed.dump_id not in kept_ids:
            seen.add(needed.dump_id)
            yield Conflict(entry, needed, str(needed))


def is_of_the_server(schema: str | None) -> bool:
    """Tell whether a schema is the server's own, such as pg_catalog."""
    return schema is not None and (schema.startswith("pg_") or schema == "information_schema")


def privileges_of_members(entries: Iterable[TocEntry]) -> frozenset[int]:
    """Return the ids of the privileges on what an extension made: a dump has no entry of that itself.

    Most often it belongs to the superuser who made the extension, or to the first of all where any user may make it.
    """
    entries = list(entries)
    known = {entry.dump_id for entry in entries}
    return frozenset(
        entry.dump_id
        for entry in entries
        if entry.desc == "ACL"
        and entry.dependencies
        and known.isdisjoint(entry.dependencies)
        and not is_of_the_server(entry.schema)
        and not entry.name.startswith(("SCHEMA ", "DATABASE "))
    )


def rows_of_members(entries: Iterable[TocEntry]) -> frozenset[int]:
    """Return the ids of the rows, and values of sequences, of what an extension made: who may change them, it says."""
    entries = list(entries)
    made = {(entry.schema, entry.name) for entry in entries if entry.desc in RELATIONS}
    rows = (entry for entry in entries if entry.desc in ("TABLE DATA", "SEQUENCE SET"))
    return frozenset(entry.dump_id for entry in rows if (entry.schema, entry.name) not in made)


def annotates_the_server(entry: TocEntry) -> bool:
    """Tell whether an entry is a privilege, a comment or a label of an object of the server itself: a superuser's."""
    if entry.desc not in _ANNOTATIONS:
        return False
    kind, _, name = entry.name.partition(" ")
    return is_of_the_server(entry.schema or (unquoted(name) if kind == "SCHEMA" else None))
