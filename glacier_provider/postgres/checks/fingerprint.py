"""What a database is known by: rows of its tables, and its objects with what counts of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from glacier_provider.core.checks import Fingerprint
from glacier_provider.postgres.tools.sql import joined_by_hashes, literal, quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

#: Runs a query and returns its rows, each value as the server's text: over psycopg, or within a restore's transaction.
Ask: TypeAlias = Callable[[str], Sequence[Sequence[str | None]]]

_OURS = """
ours AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind, c.relacl, c.relowner, c.relpersistence
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't'
     AND n.nspname <> ALL({schemas}) AND n.nspname || '.' || c.relname <> ALL({tables})
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                        AND d.deptype IN ('e', 'i') AND d.refclassid <> 'pg_class'::regclass)
     -- pg_dump leaves the sequence of an identity column out with its table
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
                       JOIN pg_catalog.pg_namespace m ON m.oid = t.relnamespace
                      WHERE c.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'i'
                        AND d.refclassid = 'pg_class'::regclass
                        AND (m.nspname = ANY({schemas}) OR m.nspname || '.' || t.relname = ANY({tables}))))"""

# A row for each object: kind, name, what has to be equal on any server, the definition. Clones that a partitioned table
# makes in its partitions come with it, under names that the server chooses. What is restored may be spelt otherwise:
# the server moves brackets and casts of texts ("status IN ('a', 'b')" of a varchar), which do not count.
_OBJECTS = r"""
WITH {ours}, spaces AS (
  SELECT n.* FROM pg_catalog.pg_namespace n
   WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL({schemas})
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid
                        AND d.deptype = 'e'))
SELECT kind, name, flag, CASE
    WHEN definition = '' THEN ''
    WHEN kind IN ('function', 'type') THEN substr(md5(definition), 1, 12)
    ELSE '~' || substr(md5(regexp_replace(definition,
      '::(text|character varying|bpchar)|\[\]|[()]|\s', '', 'g')), 1, 12) END FROM (
  SELECT 'relation' AS kind, nspname || '.' || relname AS name, relkind::text AS flag,
         CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) ELSE '' END AS definition
    FROM ours WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL
  SELECT 'column', o.nspname || '.' || o.relname || E'\t' || a.attname, a.attnotnull::text,
         format_type(a.atttypid, a.atttypmod) || ' ' || a.attidentity::text || a.attgenerated::text || ' '
         || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
    FROM ours o JOIN pg_catalog.pg_attribute a ON a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = o.oid AND d.adnum = a.attnum WHERE o.relkind IN ('r', 'p', 'f')
  UNION ALL
  SELECT 'constraint', o.nspname || '.' || o.relname || E'\t' || k.conname, k.convalidated::text,
         pg_get_constraintdef(k.oid)
    FROM ours o JOIN pg_catalog.pg_constraint k ON k.conrelid = o.oid
   WHERE k.contype IN ('c', 'f', 'p', 'u', 'x') AND k.conparentid = 0
  UNION ALL
  SELECT 'index', o.nspname || '.' || o.relname || E'\t' || i.relname, x.indisvalid::text, pg_get_indexdef(i.oid)
    FROM ours o JOIN pg_catalog.pg_index x ON x.indrelid = o.oid JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
   WHERE NOT i.relispartition
  UNION ALL
  SELECT 'trigger', o.nspname || '.' || o.relname || E'\t' || t.tgname, t.tgenabled::text, pg_get_triggerdef(t.oid)
    FROM ours o JOIN pg_catalog.pg_trigger t ON t.tgrelid = o.oid
   WHERE NOT t.tgisinternal AND coalesce(to_jsonb(t) ->> 'tgparentid', '0') = '0'
  UNION ALL
  SELECT 'policy', o.nspname || '.' || o.relname || E'\t' || p.polname, p.polcmd::text || p.polpermissive::text,
         concat(pg_get_expr(p.polqual, p.polrelid), ' ', pg_get_expr(p.polwithcheck, p.polrelid))
    FROM ours o JOIN pg_catalog.pg_policy p ON p.polrelid = o.oid
  UNION ALL
  SELECT 'function', s.nspname || '.' || p.proname || E'\t(' || oidvectortypes(p.proargtypes) || ')',
         p.prokind::text, p.prosrc || ' ' || coalesce(format_type(p.prorettype, NULL), '')
    FROM spaces s JOIN pg_catalog.pg_proc p ON p.pronamespace = s.oid
   WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
  UNION ALL
  SELECT 'type', s.nspname || '.' || t.typname, t.typtype::text,
         coalesce((SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e
                    WHERE e.enumtypid = t.oid), '')
    FROM spaces s JOIN pg_catalog.pg_type t ON t.typnamespace = s.oid
   WHERE t.typtype IN ('e', 'd', 'r')
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype IN ('e', 'i'))
  UNION ALL
  SELECT 'grant', o.nspname || '.' || o.relname || E'\t' || a.privilege_type || ' to ' || coalesce(r.rolname, 'PUBLIC'),
         a.is_grantable::text, ''
    FROM ours o, aclexplode(o.relacl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
   WHERE a.grantee <> o.relowner AND a.privilege_type <> 'MAINTAIN'
  UNION ALL
  SELECT 'grant', s.nspname || E'\t' || a.privilege_type || ' to ' || coalesce(r.rolname, 'PUBLIC'),
         a.is_grantable::text, ''
    FROM spaces s, aclexplode(s.nspacl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
   WHERE a.grantee <> s.nspowner AND s.nspname <> 'public'
  UNION ALL
  SELECT 'extension', extname, extversion, '' FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql'
) AS found ORDER BY 1, 2"""

_TABLES = """
WITH {ours}
SELECT nspname, relname, (has_table_privilege(oid, 'SELECT') AND NOT row_security_active(oid)
                          AND NOT (relpersistence = 'u' AND pg_is_in_recovery())
                          AND nspname || '.' || relname <> ALL({rowless}))::text,
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE "C") FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = ours.oid AND a.attnum > 0 AND NOT a.attisdropped)
  FROM ours WHERE relkind = 'r' ORDER BY 1, 2"""

# Sequences that count up and belong to a column of whole numbers.
_SEQUENCES = """
WITH {ours}
SELECT s.nspname, s.relname, o.nspname, o.relname, a.attname
  FROM ours o JOIN pg_catalog.pg_depend d ON d.refobjid = o.oid AND d.refclassid = 'pg_class'::regclass
   AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
  JOIN (SELECT c.oid, c.relname, n.nspname FROM pg_catalog.pg_class c
          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S') s ON s.oid = d.objid
  JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid AND q.seqincrement > 0 AND NOT q.seqcycle
  JOIN pg_catalog.pg_attribute a ON a.attrelid = o.oid AND a.attnum = d.refobjsubid
 WHERE o.relkind IN ('r', 'p') AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
   AND has_table_privilege(o.oid, 'SELECT') AND has_table_privilege(s.oid, 'SELECT')
   AND NOT row_security_active(o.oid) AND o.nspname || '.' || o.relname <> ALL({rowless})
 ORDER BY 1, 2"""


def over(connection: Connection) -> Ask:
    """Return a function that asks over a psycopg connection."""

    def ask(sql: str) -> list[tuple[str | None, ...]]:
        cursor = connection.execute(sql.encode("utf-8", "surrogateescape"))
        rows = cursor.fetchall() if cursor.description else []
        return [tuple(None if value is None else str(value) for value in row) for row in rows]

    return ask


def take_fingerprint(
    ask: Ask,
    *,
    hashes: bool = False,
    schemas: Iterable[str] = (),
    tables: Iterable[str] = (),
    rowless: Iterable[str] = (),
) -> Fingerprint:
    """Return what a database is known by, in the caller's transaction or snapshot.

    Left out are `schemas` and `tables` ("schema.name"), and of `rowless` tables the rows. The session's search_path has
    to be empty, as those of dumps and restores are: definitions are spelt by it.
    """
    began = time.monotonic()
    left_out = {"schemas": _array(schemas), "tables": _array(tables), "rowless": _array(rowless)}
    left_out["ours"] = _OURS.format(**left_out)
    version = int(str(ask("SELECT current_setting('server_version_num')")[0][0])) // 10000
    objects: dict[str, dict[str, tuple[str, str]]] = {"extension": {}}
    with joined_by_hashes(ask):
        known, numbers, tables_there = (ask(sql.format(**left_out)) for sql in (_OBJECTS, _SEQUENCES, _TABLES))
    for kind, name, flag, digest in known:
        objects.setdefault(str(kind), {})[_text(name)] = (str(flag), str(digest))
    if found := _sequences(ask, numbers):
        objects["sequence"] = found
    counted: dict[str, tuple[int, str | None] | None] = {}
    for schema, name, may_read, columns in tables_there:
        table = f"{quoted(str(schema))}.{quoted(str(name))}"
        counted[_text(f"{schema}.{name}")] = _rows(ask, table, columns or "", hashes) if may_read == "true" else None
    return Fingerprint(version, hashes, counted, objects, round(time.monotonic() - began, 2))


def tables_to_lock(ask: Ask, *, schemas: Iterable[str], tables: Iterable[str], rowless: Iterable[str]) -> list[str]:
    """Return the tables whose rows will be counted, quoted."""
    left_out = {"schemas": _array(schemas), "tables": _array(tables), "rowless": _array(rowless)}
    left_out["ours"] = _OURS.format(**left_out)
    with joined_by_hashes(ask):
        found = ask(_TABLES.format(**left_out))
    return [
        f"{quoted(str(schema))}.{quoted(str(name))}" for schema, name, may_read, _columns in found if may_read == "true"
    ]


def _text(value: str | None) -> str:
    """Return a name as JSON can keep it; bytes that are no UTF-8, from a database without an encoding, are escaped."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def _array(values: Iterable[str]) -> str:
    return f"ARRAY[{', '.join(map(literal, values))}]::text[]"


def _rows(ask: Ask, table: str, columns: str, hashes: bool) -> tuple[int, str | None]:
    """Return how many rows a table has, and the sum of their hashes, which is the same in any order.

    The columns are in the order of their names: a dump gives a table that inherits some, or lost one, another order.
    """
    if not hashes:
        return int(str(ask(f"SELECT count(*) FROM ONLY {table}")[0][0])), None
    # The type's output decides, as in a dump: what a dump brings back has the same text.
    ((count, total),) = ask(
        f"SELECT count(*), coalesce(sum(hashtextextended(ROW({columns})::text, 0)::numeric), 0) FROM ONLY {table}"
    )
    return int(str(count)), str(total)


def _sequences(ask: Ask, found: Sequence[Sequence[str | None]]) -> dict[str, tuple[str, str]]:
    """Return of each sequence whether its next value is behind what its column holds."""
    names: dict[str, tuple[str, str]] = {}
    for row in found:
        schema, name, of_schema, table, column = map(str, row)
        ((behind,),) = ask(
            f"SELECT CASE WHEN (SELECT max({quoted(column)}) FROM {quoted(of_schema)}.{quoted(table)})"
            f" >= last_value + is_called::int THEN 'behind' ELSE 'ahead' END FROM {quoted(schema)}.{quoted(name)}"
        )
        names[_text(f"{of_schema}.{table}\t{schema}.{name}")] = (str(behind), "")
    return names
