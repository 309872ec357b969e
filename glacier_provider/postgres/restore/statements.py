"""The SQL of a dump's entries, as a server gets it: what pg_restore itself would send. Pure.

The rules are those of PostgreSQL's src/bin/pg_dump/pg_backup_archiver.c (_printTocEntry, _tocEntryRestorePass,
_getObjectDescription). Nothing here is ever read by psql: a line of a dump cannot be taken for one of its commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from glacier_provider.postgres.dump.toc import TocEntry
from glacier_provider.postgres.restore import definitions
from glacier_provider.postgres.tools.options import Keep, PgRestoreOptions
from glacier_provider.postgres.tools.sql import literal, quoted, unquoted

#: Entries that bring rows or large objects; what begins them is in `TocEntry.copy`, or made here.
ROWS, LARGE_OBJECTS = "TABLE DATA", "BLOBS"
SETTINGS = frozenset({"ENCODING", "STDSTRINGS", "SEARCHPATH"})  #: of the session, which sets them itself

_BY_NAME = frozenset(
    {"COLLATION", "CONVERSION", "DOMAIN", "FOREIGN TABLE", "MATERIALIZED VIEW", "SEQUENCE", "STATISTICS", "TABLE"}
    | {"TEXT SEARCH DICTIONARY", "TEXT SEARCH CONFIGURATION", "TYPE", "VIEW", "PROCEDURAL LANGUAGE", "SCHEMA"}
    | {"EVENT TRIGGER", "FOREIGN DATA WRAPPER", "SERVER", "PUBLICATION", "SUBSCRIPTION"}
)
#: Their arguments tell them apart; the statement that drops one has them.
_BY_SIGNATURE = frozenset({"AGGREGATE", "FUNCTION", "OPERATOR", "OPERATOR CLASS", "OPERATOR FAMILY", "PROCEDURE"})
_LAST_BUT_ONE = frozenset({"ACL", "ACL LANGUAGE", "DEFAULT ACL"})
_LAST = frozenset({"EVENT TRIGGER", "MATERIALIZED VIEW DATA", "STATISTICS DATA"})
_LARGE_OBJECT = re.compile(r"LARGE OBJECT \d+")


def in_order(entries: Iterable[TocEntry]) -> list[TocEntry]:
    """Return entries in the order to restore them in: privileges late, event triggers and what needs privileges last.

    The privileges of a schema come with the schema, those of one that is there first of all: who is to own what is made
    in it may need them.
    """
    first: list[TocEntry] = []
    privileges: list[TocEntry] = []
    last: list[TocEntry] = []
    schemas: dict[str, list[TocEntry]] = {}
    entries = list(entries)
    for entry in entries:
        if (schema := schema_of_privileges(entry)) is not None:
            schemas.setdefault(schema, []).append(entry)
    made = {entry.name for entry in entries if entry.desc == "SCHEMA"}
    early = {each.dump_id for found in schemas.values() for each in found}
    first += [each for name, found in schemas.items() if name not in made for each in found]
    for entry in entries:
        if entry.dump_id in early:
            continue
        if _is_last(entry):
            last.append(entry)
        elif entry.desc in _LAST_BUT_ONE:
            privileges.append(entry)
        else:
            first.append(entry)
            if entry.desc == "SCHEMA":
                first += schemas.get(entry.name, ())
    return first + privileges + last


def schema_of_privileges(entry: TocEntry) -> str | None:
    """Return the schema whose privileges an entry brings, None for any other entry."""
    if entry.desc != "ACL" or entry.schema is not None or not entry.name.startswith("SCHEMA "):
        return None
    return unquoted(entry.name.removeprefix("SCHEMA "))


def closed_schemas(entries: Iterable[TocEntry]) -> frozenset[str]:
    """Return the schemas whose privileges take something from their own owner: it could make nothing there."""
    found = ((schema_of_privileges(entry), entry) for entry in entries)
    return frozenset(
        schema
        for schema, entry in found
        if schema is not None and entry.owner in definitions.revoked_from(entry.definition)
    )


def _is_last(entry: TocEntry) -> bool:
    return entry.desc in _LAST or (entry.desc == "COMMENT" and entry.name.startswith("EVENT TRIGGER "))


def definition(entry: TocEntry, contents: Mapping[int, TocEntry]) -> str:
    """Return the SQL that makes what an entry describes; `contents` are all entries by their ids."""
    if entry.desc == "BLOB METADATA":
        oids = ",".join(entry.definition.split())
        return f"SELECT pg_catalog.lo_create(o) FROM pg_catalog.unnest('{{{oids}}}'::pg_catalog.oid[]) AS o;\n"
    if entry.desc == "ACL" and entry.name.startswith("LARGE OBJECTS "):
        group = next((contents[each] for each in entry.dependencies if each in contents), None)
        oids_of_group = group.definition.split() if group else ()
        return "".join(_LARGE_OBJECT.sub(f"LARGE OBJECT {oid}", entry.definition) for oid in oids_of_group)
    return entry.definition


def change_of_owner(entry: TocEntry) -> str:
    """Return the SQL that gives an object to the owner that it had, empty for what has none of its own."""
    if not entry.owner or not entry.drop:
        return ""
    to = f"OWNER TO {quoted(entry.owner)};\n"
    if entry.desc == "BLOB METADATA":
        return "".join(f"ALTER LARGE OBJECT {oid} {to}" for oid in entry.definition.split())
    if entry.desc == "BLOB":
        return f"ALTER LARGE OBJECT {entry.name} {to}"
    if entry.desc in _BY_SIGNATURE:
        signature = entry.drop.removeprefix("DROP ").rstrip("; \n")
        return f"ALTER {signature} {to}"
    if entry.desc in _BY_NAME:
        schema = f"{quoted(entry.schema)}." if entry.schema else ""
        return f"ALTER {entry.desc} {schema}{quoted(entry.name)} {to}"
    return ""


def granted_as(sql: str, roles: Mapping[str, bool]) -> tuple[str, tuple[str, ...]]:
    """Return the privileges of a dump as a user who is no superuser can give them, and the statements it cannot run.

    What another role granted is granted as that role: pg_dump asks for SET SESSION AUTHORIZATION, which is a
    superuser's; SET ROLE does the same for a user that can act as the role. `roles` says as which this user can.
    """
    if "SESSION AUTHORIZATION" not in sql:
        return sql, ()
    given, refused = "", []
    grantor = ""
    for text, parts in definitions.split_statements(sql):
        words = [part.text.upper() for part in parts if part.kind == "word"]
        if words[:3] == ["SET", "SESSION", "AUTHORIZATION"]:
            grantor = parts[3].name
            given += f"SET LOCAL ROLE {quoted(grantor)};\n" if roles.get(grantor) else ""
        elif words[:3] == ["RESET", "SESSION", "AUTHORIZATION"]:
            given += "RESET ROLE;\n" if roles.get(grantor) else ""
            grantor = ""
        elif grantor and not roles.get(grantor):
            refused.append(text.strip())
        else:
            given += text
    return given, tuple(refused)


class Storage:
    """Says where the next entry's storage goes, when that differs from the one before."""

    def __init__(self, options: PgRestoreOptions) -> None:
        self._keep = options.tablespaces is Keep.KEEP
        self._tablespace: str | None = None
        self._method: str | None = None

    def before(self, entry: TocEntry) -> str:
        """Return SQL that sets default_tablespace and default_table_access_method for an entry, or nothing."""
        return "".join(self._changes(entry))

    def _changes(self, entry: TocEntry) -> Iterator[str]:
        if self._keep and entry.tablespace != self._tablespace:  # the session's own may be a role's or a database's
            self._tablespace = entry.tablespace
            yield f"SET LOCAL default_tablespace = {literal(entry.tablespace)};\n"
        if entry.access_method and entry.access_method != self._method:
            self._method = entry.access_method
            yield f"SET LOCAL default_table_access_method = {literal(entry.access_method)};\n"
