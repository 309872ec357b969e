-- name: expressions
-- purpose: what restored rows run, or what runs over them: (schema, table, what it is, SQL, how it is tried, the role that
--   runs it, pages, and of a foreign key the schema and the table that it leads to). The role is there for materialized
--   views, whose owner runs them: empty when this user cannot act as it. Of the partitions that have the same, the three
--   largest stand for the others.
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
  SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpages, c.relispopulated, c.relispartition, c.relowner,
         CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid) ELSE c.oid END AS root
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
     AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'),
checked AS (  -- types whose values are checked when they are read
  SELECT k.contypid AS oid FROM pg_catalog.pg_constraint k WHERE k.contype = 'c' AND k.contypid <> 0 AND k.convalidated
  UNION
  SELECT part.whole FROM checked JOIN part ON part.part = checked.oid),
not_valid AS (  -- a cast checks these, too, and a restore does not: they come after the rows
  SELECT k.contypid AS oid FROM pg_catalog.pg_constraint k
   WHERE k.contype = 'c' AND k.contypid <> 0 AND NOT k.convalidated
  UNION
  SELECT part.whole FROM not_valid JOIN part ON part.part = not_valid.oid),
expression AS (
  SELECT a.attrelid AS relid, 'generated column' AS kind, a.attname AS name,
         format('(%s)', pg_catalog.pg_get_expr(d.adbin, d.adrelid)) AS sql, 'value' AS how
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attgenerated = 's'  -- a virtual one is computed by who reads it
  UNION ALL
  SELECT k.conrelid, 'check', k.conname, format('(%s)', pg_catalog.pg_get_expr(k.conbin, k.conrelid)), 'holds'
    FROM pg_catalog.pg_constraint k
   WHERE k.contype = 'c' AND k.conrelid <> 0 AND k.convalidated
  UNION ALL
  -- before 18 a child may do without what a dump gives it by its parent
  SELECT a.attrelid, 'inherited not null', a.attname, format('(%I IS NOT NULL)', a.attname), 'holds'
    FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_attribute p ON p.attrelid = h.inhparent AND p.attnotnull
    JOIN pg_catalog.pg_attribute a ON a.attrelid = h.inhrelid AND a.attname = p.attname AND NOT a.attnotnull
   WHERE current_setting('server_version_num')::int < 180000
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
   WHERE NOT a.attisdropped AND a.attnum > 0 AND a.atttypid IN (SELECT oid FROM checked EXCEPT SELECT oid FROM not_valid)
  UNION ALL
  SELECT a.attrelid, 'column', a.attname, format('%I', a.attname), 'no index'
    FROM pg_catalog.pg_attribute a
   WHERE NOT a.attisdropped AND a.attnum > 0 AND a.atttypid = 'pg_catalog.regclass'::regtype
  UNION ALL
  SELECT r.oid, 'materialized view', '', pg_catalog.pg_get_viewdef(r.oid), 'rows'
    FROM relation r WHERE r.relkind = 'm' AND r.relispopulated
  UNION ALL
  SELECT r.oid, 'unique index', i.relname,
         format('SELECT 1 FROM (%s) AS q WHERE %s GROUP BY %s HAVING pg_catalog.count(*) > 1 LIMIT 1',
                rtrim(pg_catalog.pg_get_viewdef(r.oid), '; '), k.nulls, k.columns), 'none'
    FROM relation r JOIN pg_catalog.pg_index x ON x.indrelid = r.oid AND x.indisunique
    JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid,
    LATERAL (
      SELECT string_agg(format('%I', a.attname), ', ') AS columns,
             string_agg(CASE WHEN x.indnullsnotdistinct THEN 'true' ELSE format('%I IS NOT NULL', a.attname) END,
                        ' AND ') AS nulls
        FROM pg_catalog.pg_attribute a
       WHERE a.attrelid = r.oid AND a.attnum = ANY ((x.indkey::int2[])[0:x.indnkeyatts - 1])) k
   WHERE r.relkind = 'm' AND r.relispopulated AND x.indexprs IS NULL AND x.indpred IS NULL
  UNION ALL
  SELECT t.tgrelid, 'trigger', t.tgname, pg_catalog.pg_get_triggerdef(t.oid, false),
         CASE WHEN t.tgtype & 1 = 1 THEN 'rows of a trigger' ELSE 'once' END
    FROM pg_catalog.pg_trigger t
   WHERE t.tgqual IS NOT NULL
  UNION ALL
  SELECT k.conrelid, 'foreign key', k.conname,
         format('SELECT %s FROM %s AS c WHERE %s AND NOT EXISTS (SELECT FROM %s AS p WHERE %s) LIMIT 1',
                tied.shown, tied.referring, tied.filled, tied.referred, tied.equal), 'none'
    FROM pg_catalog.pg_constraint k,
    LATERAL (
      SELECT string_agg(format('c.%I::text', a.attname), ' || '', '' || ' ORDER BY at) AS shown,
             string_agg(format('c.%I IS NOT NULL', a.attname), ' AND ') AS filled,
             string_agg(format('p.%I OPERATOR(%I.%s) c.%I', b.attname, n.nspname, o.oprname, a.attname), ' AND ')
               AS equal,
             (SELECT CASE relkind WHEN 'p' THEN '' ELSE 'ONLY ' END FROM pg_catalog.pg_class WHERE oid = k.conrelid)
               || k.conrelid::regclass::text AS referring,
             (SELECT CASE relkind WHEN 'p' THEN '' ELSE 'ONLY ' END FROM pg_catalog.pg_class WHERE oid = k.confrelid)
               || k.confrelid::regclass::text AS referred
        FROM unnest(k.conkey, k.confkey, k.conpfeqop) WITH ORDINALITY AS pair (mine, other, operator, at)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = pair.mine
        JOIN pg_catalog.pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = pair.other
        JOIN pg_catalog.pg_operator o ON o.oid = pair.operator
        JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace) tied
   WHERE k.contype = 'f' AND k.convalidated AND k.conparentid = 0
     AND to_jsonb(k) ->> 'conperiod' IS DISTINCT FROM 'true'),
chosen AS (
  SELECT r.nspname, r.relname, trim(e.kind || ' ' || e.name) AS what, e.sql, e.how, r.relispartition, r.relpages,
         CASE WHEN r.relkind <> 'm' THEN current_user::text
           WHEN pg_catalog.pg_has_role(r.relowner, CASE WHEN current_setting('server_version_num')::int >= 160000
                                                        THEN 'SET' ELSE 'MEMBER' END)
             THEN pg_catalog.pg_get_userbyid(r.relowner)::text ELSE '' END AS runs_as,
         f.nspname AS other_schema, f.relname AS other_table,
         row_number() OVER (
           PARTITION BY r.root, e.kind, CASE WHEN e.kind = 'trigger' THEN e.name::text ELSE e.sql END
           ORDER BY r.relpages DESC, r.relname) AS place
    FROM expression e JOIN relation r ON r.oid = e.relid
    LEFT JOIN pg_catalog.pg_constraint k
      ON e.kind = 'foreign key' AND k.contype = 'f' AND k.conrelid = e.relid AND k.conname = e.name
    LEFT JOIN relation f ON f.oid = k.confrelid
   WHERE r.relkind <> 'p' OR e.how = 'once' OR e.kind = 'foreign key')
SELECT nspname, relname, what, sql, how, runs_as, relpages, other_schema, other_table FROM chosen
 WHERE place <= 3 OR NOT relispartition
 ORDER BY 1, 2, 3
