"""What a database is known by: rows of its tables, and its objects with what counts of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from glacier_provider.core.checks import Fingerprint
from glacier_provider.postgres.tools.sql import joined_by_hashes, literal, quoted

if TYPE_CHECKING:
    from glacier_provider.postgres.tools.server import Connection

#: Runs a query and returns its rows, each value as the server's text: over psycopg, or within a restore's transaction.
Ask: TypeAlias = Callable[[str], Sequence[Sequence[str | None]]]
#: Runs one statement that gives no rows, and refuses text that holds two.
RunOne: TypeAlias = Callable[[str], None]

_OURS = """
ours AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind, c.relacl, c.relowner, c.relpersistence,
         c.relrowsecurity, c.relforcerowsecurity, c.relhassubclass
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
                        AND d.deptype = 'e')),
types AS (
  SELECT s.nspname, t.* FROM spaces s JOIN pg_catalog.pg_type t ON t.typnamespace = s.oid
   WHERE (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c'
          AND EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype IN ('e', 'i')))
SELECT kind, name, flag, CASE
    WHEN definition = '' THEN ''
    WHEN kind IN ('function', 'type') THEN substr(md5(definition), 1, 12)
    ELSE '~' || substr(md5(regexp_replace(definition,
      '::(text|character varying|bpchar)|\[\]|[()]|\s', '', 'g')), 1, 12) END FROM (
  SELECT 'relation' AS kind, nspname || '.' || relname AS name, relkind::text AS flag,
         CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) ELSE '' END AS definition
    FROM ours WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL
  SELECT 'column', o.nspname || '.' || o.relname || E'\t' || a.attname, (a.attnotnull OR up.attname IS NOT NULL)::text,
         format_type(a.atttypid, a.atttypmod) || ' ' || a.attidentity::text || a.attgenerated::text || ' '
         || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
    FROM ours o JOIN pg_catalog.pg_attribute a ON a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = o.oid AND d.adnum = a.attnum
    -- a child that does without the NOT NULL of its parent, as it may before 18, has it in a dump
    LEFT JOIN (SELECT DISTINCT h.inhrelid, p.attname FROM pg_catalog.pg_inherits h
                 JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid AND NOT c.relispartition
                 JOIN pg_catalog.pg_attribute p ON p.attrelid = h.inhparent AND p.attnotnull) up
      ON up.inhrelid = o.oid AND up.attname = a.attname
   WHERE o.relkind IN ('r', 'p', 'f')
  UNION ALL
  -- what a child inherits it has as its parent has it in a dump, also where it alone was validated
  SELECT 'constraint', o.nspname || '.' || o.relname || E'\t' || k.conname,
         (k.convalidated AND up.conname IS NULL)::text,
         pg_get_constraintdef(k.oid)
         || CASE WHEN k.convalidated AND up.conname IS NOT NULL THEN ' NOT VALID' ELSE '' END
    FROM ours o JOIN pg_catalog.pg_constraint k ON k.conrelid = o.oid
    LEFT JOIN (SELECT DISTINCT h.inhrelid, p.conname FROM pg_catalog.pg_inherits h
                 JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid AND NOT c.relispartition
                 JOIN pg_catalog.pg_constraint p ON p.conrelid = h.inhparent AND p.contype = 'c'
                  AND NOT p.convalidated) up
      ON up.inhrelid = o.oid AND up.conname = k.conname AND k.contype = 'c' AND NOT k.conislocal
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
  SELECT 'row security', nspname || '.' || relname,
         CASE WHEN relforcerowsecurity THEN 'forced' ELSE 'enabled' END, ''
    FROM ours WHERE relkind IN ('r', 'p') AND relrowsecurity
  UNION ALL
  SELECT 'rule', o.nspname || '.' || o.relname || E'\t' || w.rulename, w.ev_enabled::text, pg_get_ruledef(w.oid)
    FROM ours o JOIN pg_catalog.pg_rewrite w ON w.ev_class = o.oid WHERE w.rulename <> '_RETURN'
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
  SELECT 'domain', d.nspname || '.' || d.typname, CASE WHEN d.typnotnull THEN 'not null' ELSE 'nullable' END,
         format_type(d.typbasetype, d.typtypmod) || ' ' || coalesce(pg_get_expr(d.typdefaultbin, 0), '')
    FROM types d WHERE d.typtype = 'd'
  UNION ALL
  SELECT 'constraint', d.nspname || '.' || d.typname || E'\t' || k.conname, k.convalidated::text,
         pg_get_constraintdef(k.oid)
    FROM types d JOIN pg_catalog.pg_constraint k ON k.contypid = d.oid AND k.contype = 'c'
  UNION ALL
  SELECT 'attribute', c.nspname || '.' || c.typname || E'\t' || a.attname, '', format_type(a.atttypid, a.atttypmod)
    FROM types c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.typrelid AND a.attnum > 0 AND NOT a.attisdropped
   WHERE c.typtype = 'c'
  UNION ALL
  SELECT 'statistics', s.nspname || '.' || e.stxname, '', pg_get_statisticsobjdef(e.oid)
    FROM spaces s JOIN pg_catalog.pg_statistic_ext e ON e.stxnamespace = s.oid
    JOIN ours o ON o.oid = e.stxrelid
  UNION ALL
  SELECT 'operator', s.nspname || '.' || p.oprname || E'\t(' || format_type(p.oprleft, NULL) || ', '
         || format_type(p.oprright, NULL) || ')', format_type(p.oprresult, NULL), ''
    FROM spaces s JOIN pg_catalog.pg_operator p ON p.oprnamespace = s.oid
   WHERE p.oprcode <> 0  -- what is only spoken of by another operator, no dump has
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_operator'::regclass AND d.objid = p.oid AND d.deptype = 'e')
  UNION ALL
  SELECT 'collation', s.nspname || '.' || c.collname, c.collisdeterministic::text, ''
    FROM spaces s JOIN pg_catalog.pg_collation c ON c.collnamespace = s.oid
  UNION ALL
  SELECT 'text search configuration', s.nspname || '.' || c.cfgname, '', ''
    FROM spaces s JOIN pg_catalog.pg_ts_config c ON c.cfgnamespace = s.oid
   WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_ts_config'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  UNION ALL
  SELECT 'grant', s.nspname || '.' || p.proname || E'\t(' || oidvectortypes(p.proargtypes) || ') ' || a.privilege_type
         || ' to ' || coalesce(r.rolname, 'PUBLIC'), a.is_grantable::text, ''
    FROM spaces s JOIN pg_catalog.pg_proc p ON p.pronamespace = s.oid
   CROSS JOIN aclexplode(p.proacl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
   WHERE a.grantee NOT IN (p.proowner, 0)  -- PUBLIC has it from the start, and it may be written down or not
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
  UNION ALL
  SELECT 'grant', t.nspname || '.' || t.typname || E'\t' || a.privilege_type || ' to ' || coalesce(r.rolname, 'PUBLIC'),
         a.is_grantable::text, ''
    FROM types t CROSS JOIN aclexplode(t.typacl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
   WHERE a.grantee NOT IN (t.typowner, 0)
  UNION ALL
  SELECT 'grant', coalesce(n.nspname || E'\tby default ', E'by default\t') || a.privilege_type || ' on '
         || CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
                                 WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE d.defaclobjtype::text END
         || ' of ' || c.rolname || ' to ' || coalesce(r.rolname, 'PUBLIC'), a.is_grantable::text, ''
    FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_roles c ON c.oid = d.defaclrole
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
   CROSS JOIN aclexplode(d.defaclacl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
   WHERE a.grantee <> d.defaclrole AND (n.oid IS NULL OR n.oid IN (SELECT oid FROM spaces))
  UNION ALL
  SELECT 'grant', o.nspname || '.' || o.relname || E'\t' || a.privilege_type || ' to ' || coalesce(r.rolname, 'PUBLIC'),
         a.is_grantable::text, ''
    FROM ours o, aclexplode(o.relacl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
   WHERE a.grantee <> o.relowner AND a.privilege_type <> 'MAINTAIN'
  UNION ALL
  SELECT 'grant', o.nspname || '.' || o.relname || E'\t' || x.privilege_type || ' of ' || a.attname || ' to '
         || coalesce(r.rolname, 'PUBLIC'), x.is_grantable::text, ''
    FROM ours o JOIN pg_catalog.pg_attribute a ON a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
   CROSS JOIN aclexplode(a.attacl) x LEFT JOIN pg_catalog.pg_roles r ON r.oid = x.grantee
   WHERE x.grantee <> o.relowner
  UNION ALL
  SELECT 'grant', s.nspname || E'\t' || a.privilege_type || ' to ' || coalesce(r.rolname, 'PUBLIC'),
         a.is_grantable::text, ''
    FROM spaces s, aclexplode(s.nspacl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
   WHERE a.grantee <> s.nspowner AND s.nspname <> 'public'
  UNION ALL
  SELECT 'owner', nspname || '.' || relname, pg_get_userbyid(relowner), ''
    FROM ours WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL
  SELECT 'owner', nspname, pg_get_userbyid(nspowner), '' FROM spaces WHERE nspname <> 'public'
  UNION ALL
  SELECT 'owner', nspname || '.' || typname, pg_get_userbyid(typowner), '' FROM types
  UNION ALL
  SELECT 'owner', s.nspname || '.' || p.proname || E'\t(' || oidvectortypes(p.proargtypes) || ')',
         pg_get_userbyid(p.proowner), ''
    FROM spaces s JOIN pg_catalog.pg_proc p ON p.pronamespace = s.oid
   WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
  UNION ALL
  SELECT kind, name, substr(md5(d.description), 1, 12), '' FROM (
    SELECT 'comment on relation' AS kind, nspname || '.' || relname AS name, 'pg_class'::regclass AS of, oid, 0 AS part
      FROM ours WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    UNION ALL
    SELECT 'comment on column', o.nspname || '.' || o.relname || E'\t' || a.attname, 'pg_class'::regclass, o.oid,
           a.attnum
      FROM ours o JOIN pg_catalog.pg_attribute a ON a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'comment on index', o.nspname || '.' || o.relname || E'\t' || i.relname, 'pg_class'::regclass, i.oid, 0
      FROM ours o JOIN pg_catalog.pg_index x ON x.indrelid = o.oid JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
     WHERE NOT i.relispartition
    UNION ALL
    SELECT 'comment on constraint', o.nspname || '.' || o.relname || E'\t' || k.conname, 'pg_constraint'::regclass,
           k.oid, 0
      FROM ours o JOIN pg_catalog.pg_constraint k ON k.conrelid = o.oid
       -- of what is inherited no dump has the comment; that of a key is of another kind, and has a parent
     WHERE k.conparentid = 0 AND (k.conislocal OR k.contype NOT IN ('c', 'n')) AND k.contype <> 't'
    UNION ALL
    SELECT 'comment on trigger', o.nspname || '.' || o.relname || E'\t' || t.tgname, 'pg_trigger'::regclass, t.oid, 0
      FROM ours o JOIN pg_catalog.pg_trigger t ON t.tgrelid = o.oid
     WHERE NOT t.tgisinternal AND coalesce(to_jsonb(t) ->> 'tgparentid', '0') = '0'
    UNION ALL
    SELECT 'comment on policy', o.nspname || '.' || o.relname || E'\t' || p.polname, 'pg_policy'::regclass, p.oid, 0
      FROM ours o JOIN pg_catalog.pg_policy p ON p.polrelid = o.oid
    UNION ALL
    SELECT 'comment on schema', nspname, 'pg_namespace'::regclass, oid, 0 FROM spaces WHERE nspname <> 'public'
    UNION ALL
    SELECT 'comment on type', nspname || '.' || typname, 'pg_type'::regclass, oid, 0 FROM types
    UNION ALL
    SELECT 'comment on function', s.nspname || '.' || p.proname || E'\t(' || oidvectortypes(p.proargtypes) || ')',
           'pg_proc'::regclass, p.oid, 0
      FROM spaces s JOIN pg_catalog.pg_proc p ON p.pronamespace = s.oid
     WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
  ) AS spoken_of JOIN pg_catalog.pg_description d ON d.classoid = of AND d.objoid = oid AND d.objsubid = part
  UNION ALL
  SELECT 'extension', extname, extversion, '' FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql'
) AS found ORDER BY 1, 2"""

# By the hash of an enum a row may be in another partition once the type is made anew: pg_dump has them go through the
# table above. So these are not looked at one by one.
_TABLES = """
WITH {ours}, by_enums AS (
  SELECT part.relid FROM pg_catalog.pg_partitioned_table p, LATERAL pg_catalog.pg_partition_tree(p.partrelid) part
   WHERE p.partstrat = 'h' AND EXISTS (
           SELECT FROM pg_catalog.pg_opclass c JOIN pg_catalog.pg_am a ON a.oid = c.opcmethod AND a.amname = 'hash'
            WHERE c.opcname = 'enum_ops' AND c.oid = ANY (p.partclass)))
SELECT nspname, relname, (has_table_privilege(oid, 'SELECT') AND NOT row_security_active(oid)
                          AND oid NOT IN (SELECT relid FROM by_enums)
                          AND NOT (relpersistence = 'u' AND pg_is_in_recovery())
                          AND nspname || '.' || relname <> ALL({rowless}))::text,
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE "C") FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = ours.oid AND a.attnum > 0 AND NOT a.attisdropped)
  FROM ours WHERE relkind = 'r' ORDER BY 1, 2"""

# Sequences that count up and belong to a column of whole numbers; whether its table has all its rows in itself.
_SEQUENCES = """
WITH {ours}
SELECT s.nspname, s.relname, o.nspname, o.relname, a.attname, (o.relkind = 'r' AND NOT o.relhassubclass)::text
  FROM ours o JOIN pg_catalog.pg_depend d ON d.refobjid = o.oid AND d.refclassid = 'pg_class'::regclass
   AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
  JOIN (SELECT c.oid, c.relname, c.relpersistence, n.nspname FROM pg_catalog.pg_class c
          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S') s ON s.oid = d.objid
  JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid AND q.seqincrement > 0 AND NOT q.seqcycle
  JOIN pg_catalog.pg_attribute a ON a.attrelid = o.oid AND a.attnum = d.refobjsubid
 WHERE o.relkind IN ('r', 'p') AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
   AND has_table_privilege(o.oid, 'SELECT') AND has_table_privilege(s.oid, 'SELECT')
   AND NOT row_security_active(o.oid) AND o.nspname || '.' || o.relname <> ALL({rowless})
   AND NOT ('u' IN (o.relpersistence, s.relpersistence) AND pg_is_in_recovery())
 ORDER BY 1, 2"""

#: Tables, or sequences, that one statement looks at: to ask of each by itself takes twice as long.
TOGETHER = 100


class Table(NamedTuple):
    """A table with rows of its own: whether they may be read, and its columns, quoted, in the order of their names."""

    schema: str
    name: str
    may_read: bool
    columns: str

    @property
    def quoted(self) -> str:
        return _quoted(self.schema, self.name)


class _Sequence(NamedTuple):
    """A sequence and its column; `alone`: all rows of the column's table are in the table itself, not in others."""

    schema: str
    name: str
    of_schema: str
    table: str
    column: str
    alone: bool


def over(connection: Connection) -> Ask:
    """Return a function that asks over a psycopg connection."""

    def ask(sql: str) -> list[tuple[str | None, ...]]:
        cursor = connection.execute(sql.encode("utf-8", "surrogateescape"))
        rows = cursor.fetchall() if cursor.description else []
        return [tuple(None if value is None else str(value) for value in row) for row in rows]

    return ask


def one_over(connection: Connection) -> RunOne:
    """Return a function that runs one statement over a psycopg connection, by the protocol that takes no second one."""

    def run(sql: str) -> None:
        connection.execute(sql.encode("utf-8", "surrogateescape"), binary=True)

    return run


def take_fingerprint(
    ask: Ask,
    *,
    hashes: bool = False,
    schemas: Collection[str] = (),
    tables: Collection[str] = (),
    rowless: Collection[str] = (),
    known: Sequence[Table] | None = None,
) -> Fingerprint:
    """Return what a database is known by, in the caller's transaction or snapshot.

    Left out are `schemas` and `tables` ("schema.name"), and of `rowless` tables the rows; `known` are the tables, if
    `read_tables` was asked. The session's search_path has to be empty, as those of dumps and restores are: definitions
    are spelt by it.
    """
    began = time.monotonic()
    left_out = _left_out(schemas, tables, rowless)
    (version, encoding), *_ = ask("SELECT current_setting('server_version_num'), current_setting('server_encoding')")
    with joined_by_hashes(ask):
        found, numbers = (ask(sql.format(**left_out)) for sql in (_OBJECTS, _SEQUENCES))
    if known is None:
        known = read_tables(ask, schemas=schemas, tables=tables, rowless=rowless)
    objects: dict[str, dict[str, tuple[str, str]]] = {"extension": {}}
    for kind, name, flag, digest in found:
        objects.setdefault(str(kind), {})[_text(name)] = (str(flag), str(digest))
    sequences = [
        _Sequence(str(schema), str(name), str(of_schema), str(table), str(column), alone == "true")
        for schema, name, of_schema, table, column, alone in numbers
    ]
    counted, largest = _rows(ask, known, sequences, hashes)
    if positions := _positions(ask, sequences, largest):
        objects["sequence"] = positions
    seconds = round(time.monotonic() - began, 2)
    return Fingerprint(int(str(version)) // 10000, hashes, counted, objects, seconds, str(encoding))


def read_tables(
    ask: Ask, *, schemas: Collection[str] = (), tables: Collection[str] = (), rowless: Collection[str] = ()
) -> list[Table]:
    """Return the tables that a fingerprint counts; what is left out is as there."""
    with joined_by_hashes(ask):
        found = ask(_TABLES.format(**_left_out(schemas, tables, rowless)))
    return [Table(str(schema), str(name), read == "true", columns or "") for schema, name, read, columns in found]


def _left_out(schemas: Collection[str], tables: Collection[str], rowless: Collection[str]) -> dict[str, str]:
    left_out = {"schemas": _array(schemas), "tables": _array(tables), "rowless": _array(rowless)}
    return {**left_out, "ours": _OURS.format(**left_out)}


def _text(value: str | None) -> str:
    """Return a name as JSON can keep it; bytes that are no UTF-8, from a database without an encoding, are escaped."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def _array(values: Iterable[str]) -> str:
    return f"ARRAY[{', '.join(map(literal, values))}]::text[]"


def _quoted(schema: str, name: str) -> str:
    return f"{quoted(schema)}.{quoted(name)}"


def _of_each(ask: Ask, selects: Sequence[str]) -> list[Sequence[str | None]]:
    """Return the one row that each of these queries has, of many of them by one statement."""
    rows: list[Sequence[str | None]] = []
    for at in range(0, len(selects), TOGETHER):
        some = enumerate(selects[at : at + TOGETHER])
        found = ask(" UNION ALL ".join(f"SELECT {number}, {select}" for number, select in some))
        rows += [row[1:] for row in sorted(found, key=lambda row: int(str(row[0])))]
    return rows


_Largest: TypeAlias = dict[_Sequence, int | None]


def _rows(
    ask: Ask, tables: Sequence[Table], sequences: Sequence[_Sequence], hashes: bool
) -> tuple[dict[str, tuple[int, str | None] | None], _Largest]:
    """Return by name how many rows each table has, with `hashes` the sum of theirs; and the largest value of each
    sequence's column, None without rows.

    A sum is the same in any order. The columns are in the order of their names: a dump gives a table that inherits
    some, or lost one, another order.
    """
    numbered: dict[tuple[str, str], list[_Sequence]] = {}
    for one in sequences:
        if one.alone:
            numbered.setdefault((one.of_schema, one.table), []).append(one)
    counted: dict[str, tuple[int, str | None] | None] = {_text(f"{one.schema}.{one.name}"): None for one in tables}
    largest: _Largest = {}
    readable = [(one, numbered.get((one.schema, one.name), ())) for one in tables if one.may_read]
    figures = _of_each(ask, [_count(table, of_it, hashes) for table, of_it in readable])
    for (table, of_it), (count, total, values) in zip(readable, figures, strict=True):
        counted[_text(f"{table.schema}.{table.name}")] = (int(str(count)), total)
        largest.update(zip(of_it, map(_number, str(values).split(",")), strict=False))
    spread = [one for one in sequences if one not in largest]
    asked = [f"max({quoted(one.column)}) FROM {_quoted(one.of_schema, one.table)}" for one in spread]
    largest.update((one, _number(value)) for one, (value,) in zip(spread, _of_each(ask, asked), strict=True))
    return counted, largest


def _count(table: Table, sequences: Sequence[_Sequence], hashes: bool) -> str:
    # The type's output decides, as in a dump: what a dump brings back has the same text.
    each = f"hashtextextended(ROW({table.columns})::text, 0)::numeric"
    total = f"coalesce(sum({each}), 0)::text" if hashes else "NULL"
    values = ", ',', ".join(f"max({quoted(one.column)})" for one in sequences)
    return f"count(*), {total}, concat({values or 'NULL'}) FROM ONLY {table.quoted}"


def _number(value: str | None) -> int | None:
    return int(value) if value else None


def _positions(ask: Ask, sequences: Sequence[_Sequence], largest: _Largest) -> dict[str, tuple[str, str]]:
    """Return of each sequence whether its next value is behind what its column holds."""
    used = [one for one in sequences if largest[one] is not None]
    asked = [f"last_value, is_called::int FROM {_quoted(one.schema, one.name)}" for one in used]
    # Added here: what follows the last of all is no number of the server's.
    following = {
        one: int(str(last)) + int(str(called)) for one, (last, called) in zip(used, _of_each(ask, asked), strict=True)
    }
    names: dict[str, tuple[str, str]] = {}
    for one in sequences:
        value = largest[one]
        behind = value is not None and value >= following[one]
        name = _text(f"{one.of_schema}.{one.table}\t{one.schema}.{one.name}")
        names[name] = ("behind" if behind else "ahead", "")
    return names
