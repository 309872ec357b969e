-- name: objects
-- purpose: every object that a user made in this database, and whether a restore replaces it. The beginning of a query:
--   the relation `object (classid, objid, nsp, rel, replaced)` and `schema (oid, name, replaced)`.
--   The setting glacier_provider.selection holds {"schemas": [name], "relations": [[schema, name]], "only": boolean}:
--   with `only`, the named relations and what belongs to them are replaced and nothing else; without it, everything is
--   replaced but the named schemas, the named relations with what belongs to them, and members of extensions.
WITH RECURSIVE selection AS (
  SELECT current_setting('glacier_provider.selection')::jsonb AS chosen
), named_schema AS (
  SELECT n.oid
  FROM pg_catalog.pg_namespace n, selection, jsonb_array_elements_text(chosen -> 'schemas') AS s (name)
  WHERE n.nspname = s.name
), named_relation (oid) AS (
  SELECT c.oid
  FROM selection, jsonb_array_elements(chosen -> 'relations') AS r (pair),
    pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = pair ->> 0 AND c.relname = pair ->> 1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  UNION
  -- owned sequences, partitions, indexes: relations that vanish with theirs
  SELECT d.objid
  FROM named_relation p JOIN pg_catalog.pg_depend d
    ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = p.oid
    AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i', 'P', 'S')
), user_schema AS (
  SELECT n.oid, n.nspname AS name FROM pg_catalog.pg_namespace n
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), found (classid, objid, nsp, rel) AS (
  SELECT 'pg_catalog.pg_class'::regclass::oid, c.oid, c.relnamespace, coalesce(i.indrelid, c.oid)
  FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
  UNION ALL
  -- a row type goes with its relation, an array type with what it is an array of
  SELECT 'pg_catalog.pg_type'::regclass::oid, t.oid, t.typnamespace, nullif(coalesce(nullif(t.typrelid, 0), e.typrelid), 0)
  FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typlen = -1
  UNION ALL
  SELECT 'pg_catalog.pg_proc'::regclass::oid, oid, pronamespace, NULL FROM pg_catalog.pg_proc
  UNION ALL
  SELECT 'pg_catalog.pg_operator'::regclass::oid, oid, oprnamespace, NULL FROM pg_catalog.pg_operator
  UNION ALL
  SELECT 'pg_catalog.pg_opclass'::regclass::oid, oid, opcnamespace, NULL FROM pg_catalog.pg_opclass
  UNION ALL
  SELECT 'pg_catalog.pg_opfamily'::regclass::oid, oid, opfnamespace, NULL FROM pg_catalog.pg_opfamily
  UNION ALL
  SELECT 'pg_catalog.pg_collation'::regclass::oid, oid, collnamespace, NULL FROM pg_catalog.pg_collation
  UNION ALL
  SELECT 'pg_catalog.pg_conversion'::regclass::oid, oid, connamespace, NULL FROM pg_catalog.pg_conversion
  UNION ALL
  SELECT 'pg_catalog.pg_ts_config'::regclass::oid, oid, cfgnamespace, NULL FROM pg_catalog.pg_ts_config
  UNION ALL
  SELECT 'pg_catalog.pg_ts_dict'::regclass::oid, oid, dictnamespace, NULL FROM pg_catalog.pg_ts_dict
  UNION ALL
  SELECT 'pg_catalog.pg_ts_parser'::regclass::oid, oid, prsnamespace, NULL FROM pg_catalog.pg_ts_parser
  UNION ALL
  SELECT 'pg_catalog.pg_ts_template'::regclass::oid, oid, tmplnamespace, NULL FROM pg_catalog.pg_ts_template
  UNION ALL
  SELECT 'pg_catalog.pg_statistic_ext'::regclass::oid, oid, stxnamespace, stxrelid FROM pg_catalog.pg_statistic_ext
  UNION ALL
  SELECT 'pg_catalog.pg_constraint'::regclass::oid, oid, connamespace, nullif(conrelid, 0) FROM pg_catalog.pg_constraint
  UNION ALL
  SELECT 'pg_catalog.pg_attrdef'::regclass::oid, a.oid, c.relnamespace, c.oid
  FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_class c ON c.oid = a.adrelid
  UNION ALL
  SELECT 'pg_catalog.pg_rewrite'::regclass::oid, r.oid, c.relnamespace, c.oid
  FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
  UNION ALL
  -- internal triggers belong to a constraint, which is found itself
  SELECT 'pg_catalog.pg_trigger'::regclass::oid, t.oid, c.relnamespace, c.oid
  FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
  UNION ALL
  SELECT 'pg_catalog.pg_policy'::regclass::oid, p.oid, c.relnamespace, c.oid
  FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
), database_wide (classid, objid) AS (
  SELECT 'pg_catalog.pg_cast'::regclass::oid, oid FROM pg_catalog.pg_cast
  UNION ALL
  SELECT 'pg_catalog.pg_transform'::regclass::oid, oid FROM pg_catalog.pg_transform
  UNION ALL
  SELECT 'pg_catalog.pg_language'::regclass::oid, oid FROM pg_catalog.pg_language
  UNION ALL
  SELECT 'pg_catalog.pg_foreign_data_wrapper'::regclass::oid, oid FROM pg_catalog.pg_foreign_data_wrapper
  UNION ALL
  SELECT 'pg_catalog.pg_foreign_server'::regclass::oid, oid FROM pg_catalog.pg_foreign_server
  UNION ALL
  -- hosting services keep event triggers of their own, which only their owner can replace
  SELECT 'pg_catalog.pg_event_trigger'::regclass::oid, oid FROM pg_catalog.pg_event_trigger
  WHERE pg_catalog.pg_has_role(evtowner, 'USAGE')
  UNION ALL
  SELECT 'pg_catalog.pg_publication'::regclass::oid, oid FROM pg_catalog.pg_publication
  UNION ALL
  SELECT 'pg_catalog.pg_am'::regclass::oid, oid FROM pg_catalog.pg_am
), member (classid, objid) AS (
  SELECT classid, objid FROM pg_catalog.pg_depend
  WHERE deptype = 'e' AND refclassid = 'pg_catalog.pg_extension'::regclass
  UNION
  -- array, multirange and row types of members
  SELECT d.classid, d.objid
  FROM member m JOIN pg_catalog.pg_depend d ON d.refclassid = m.classid AND d.refobjid = m.objid
  WHERE d.deptype = 'i' AND d.classid = 'pg_catalog.pg_type'::regclass
), extension_relation AS (
  SELECT objid FROM member WHERE classid = 'pg_catalog.pg_class'::regclass
), object (classid, objid, nsp, rel, replaced) AS (
  SELECT f.classid, f.objid, f.nsp, f.rel,
    CASE WHEN (chosen ->> 'only')::boolean THEN f.rel IS NOT NULL AND f.rel IN (SELECT oid FROM named_relation)
    ELSE f.nsp NOT IN (SELECT oid FROM named_schema)
      AND (f.rel IS NULL OR f.rel NOT IN (SELECT oid FROM named_relation))
      AND (f.rel IS NULL OR f.rel NOT IN (SELECT objid FROM extension_relation))
      AND (f.classid, f.objid) NOT IN (SELECT classid, objid FROM member) END
  FROM selection, found f
  WHERE f.nsp IN (SELECT oid FROM user_schema)
  UNION ALL
  SELECT w.classid, w.objid, NULL, NULL,
    NOT (chosen ->> 'only')::boolean AND (w.classid, w.objid) NOT IN (SELECT classid, objid FROM member)
  FROM selection, database_wide w
  WHERE w.objid >= 16384
), schema (oid, name, replaced) AS (
  SELECT s.oid, s.name,
    NOT (chosen ->> 'only')::boolean AND s.name <> 'public'
    AND s.oid NOT IN (SELECT oid FROM named_schema)
    AND s.oid NOT IN (SELECT extnamespace FROM pg_catalog.pg_extension)
    AND s.oid NOT IN (SELECT nsp FROM object WHERE NOT replaced AND nsp IS NOT NULL)
    AND ('pg_catalog.pg_namespace'::regclass::oid, s.oid) NOT IN (SELECT classid, objid FROM member)
  FROM selection, user_schema s
)
