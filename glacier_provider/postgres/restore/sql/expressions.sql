-- name: expressions
-- purpose: what restored rows run, or what runs over them: (schema, table, what it is, SQL, how it is tried). Of the
--   partitions that have the same, the three largest stand for the others.
WITH RECURSIVE part (whole, part) AS (  -- what a type is made of
  SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.typtype = 'd'
  UNION ALL
  SELECT t.oid, t.typelem FROM pg_catalog.pg_type t WHERE t.typcategory = 'A' AND t.typelem <> 0
  UNION ALL
  SELECT c.reltype, a.atttypid
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
   WHERE c.reltype <> 0 AND c.relkind IN ('c', 'r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
     AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
  UNION ALL
  SELECT r.rngtypid, r.rngsubtype FROM pg_catalog.pg_range r
  UNION ALL
  SELECT r.rngmultitypid, r.rngtypid FROM pg_catalog.pg_range r),
relation AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpages, c.relispopulated, c.relispartition,
         CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid) ELSE c.oid END AS root
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
     AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'),
checked AS (  -- types whose values are checked when they are read
  SELECT k.contypid AS oid FROM pg_catalog.pg_constraint k WHERE k.contype = 'c' AND k.contypid <> 0 AND k.convalidated
  UNION
  SELECT part.whole FROM checked JOIN part ON part.part = checked.oid),
expression AS (
  SELECT a.attrelid AS relid, 'generated column' AS kind, a.attname AS name,
         format('(%s)', pg_catalog.pg_get_expr(d.adbin, d.adrelid)) AS sql, 'value' AS how
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attgenerated <> ''
  UNION ALL
  SELECT k.conrelid, 'check', k.conname, format('(%s)', pg_catalog.pg_get_expr(k.conbin, k.conrelid)), 'holds'
    FROM pg_catalog.pg_constraint k
   WHERE k.contype = 'c' AND k.conrelid <> 0 AND k.convalidated
  UNION ALL
  SELECT x.indrelid, 'index', i.relname, format('(%s)', part.sql), 'value'
    FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid,
    LATERAL (
      SELECT pg_catalog.pg_get_indexdef(x.indexrelid, number, false) AS sql
        FROM pg_catalog.generate_series(1, x.indnkeyatts) AS number WHERE x.indkey[number - 1] = 0
      UNION ALL
      SELECT pg_catalog.pg_get_expr(x.indpred, x.indrelid) WHERE x.indpred IS NOT NULL) part
  UNION ALL
  SELECT leaf.oid, 'partition key', top.relname, format('(%s)', pg_catalog.pg_get_expr(p.partexprs, p.partrelid)),
         'value'
    FROM pg_catalog.pg_partitioned_table p
    JOIN relation top ON top.oid = p.partrelid
    JOIN relation leaf ON leaf.root = top.root AND leaf.relkind = 'r'
   WHERE p.partexprs IS NOT NULL
  UNION ALL
  SELECT a.attrelid, 'domain of column', a.attname,
         format('(%I::text::%s)', a.attname, pg_catalog.format_type(a.atttypid, NULL)), 'value'
    FROM pg_catalog.pg_attribute a
   WHERE NOT a.attisdropped AND a.attnum > 0 AND a.atttypid IN (SELECT oid FROM checked)
  UNION ALL
  SELECT a.attrelid, 'column', a.attname, format('%I', a.attname), 'no index'
    FROM pg_catalog.pg_attribute a
   WHERE NOT a.attisdropped AND a.attnum > 0 AND a.atttypid = 'pg_catalog.regclass'::regtype
  UNION ALL
  SELECT r.oid, 'materialized view', '', pg_catalog.pg_get_viewdef(r.oid), 'rows'
    FROM relation r WHERE r.relkind = 'm' AND r.relispopulated
  UNION ALL
  SELECT t.tgrelid, 'trigger', t.tgname, pg_catalog.pg_get_triggerdef(t.oid, false),
         CASE WHEN t.tgtype & 1 = 1 THEN 'rows of a trigger' ELSE 'once' END
    FROM pg_catalog.pg_trigger t
   WHERE t.tgqual IS NOT NULL),
chosen AS (
  SELECT r.nspname, r.relname, trim(e.kind || ' ' || e.name) AS what, e.sql, e.how, r.relispartition,
         row_number() OVER (
           PARTITION BY r.root, e.kind, CASE WHEN e.kind = 'trigger' THEN e.name::text ELSE e.sql END
           ORDER BY r.relpages DESC, r.relname) AS place
    FROM expression e JOIN relation r ON r.oid = e.relid
   WHERE r.relkind <> 'p' OR e.how = 'once')
SELECT nspname, relname, what, sql, how FROM chosen
 WHERE place <= 3 OR NOT relispartition
 ORDER BY 1, 2, 3
