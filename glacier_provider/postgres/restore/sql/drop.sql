-- name: drops
-- purpose: what drops the objects that a restore replaces: (step, verb, what), to be run in this order. Everything that
--   hangs on a dropped object goes with it, so much of it is gone before its turn.
-- begins: objects
SELECT 1 AS step, format('DROP %s IF EXISTS', i.type) AS verb, i.identity AS what
FROM object o, pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
WHERE o.stays IS NULL
  AND o.classid IN ('pg_catalog.pg_event_trigger'::regclass, 'pg_catalog.pg_publication'::regclass)
UNION ALL
-- relations of every schema before the schemas: many at a time, and not all at once, which takes time by their square
SELECT CASE WHEN c.relispartition THEN 2 ELSE 3 END, format('DROP %s IF EXISTS', i.type), i.identity
FROM object o JOIN pg_catalog.pg_class c ON c.oid = o.objid,
  pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
WHERE o.stays IS NULL AND o.classid = 'pg_catalog.pg_class'::regclass AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  -- what goes with its table: sequences. By a hash of them all: the server expects one object, and would look through
  -- all for each
  AND (c.relispartition OR o.objid NOT IN (
    SELECT d.objid FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objsubid = 0 AND d.deptype IN ('i', 'a', 'S')
      AND d.refclassid = 'pg_catalog.pg_class'::regclass
      AND d.refobjid IN (SELECT objid FROM object WHERE stays IS NULL AND classid = 'pg_catalog.pg_class'::regclass)))
UNION ALL
SELECT 4, 'DROP SCHEMA', quote_ident(name) FROM schema WHERE stays IS NULL
UNION ALL
SELECT 5, 'DROP TYPE IF EXISTS', i.identity
FROM object o JOIN pg_catalog.pg_type t ON t.oid = o.objid LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid,
  pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
WHERE o.stays IS NULL AND o.classid = 'pg_catalog.pg_type'::regclass AND t.typtype IN ('b', 'c', 'd', 'e', 'r', 'p')
  AND coalesce(c.relkind, 'c') = 'c' AND NOT (t.typlen = -1 AND t.typelem <> 0 AND EXISTS (
    SELECT FROM pg_catalog.pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid))
  AND o.nsp IN (SELECT oid FROM schema WHERE stays IS NOT NULL)
UNION ALL
-- types alone could name another procedure, one with OUT arguments: what a procedure's arguments are for is told, too
SELECT 6, format('DROP %s IF EXISTS',
    CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END),
  CASE p.prokind
    WHEN 'p' THEN format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid))
    WHEN 'a' THEN regexp_replace(i.identity, '[(][)]$', '(*)')
    ELSE i.identity END
FROM object o JOIN pg_catalog.pg_proc p ON p.oid = o.objid JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace,
  pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
WHERE o.stays IS NULL AND o.classid = 'pg_catalog.pg_proc'::regclass
  AND o.nsp IN (SELECT oid FROM schema WHERE stays IS NOT NULL)
UNION ALL
SELECT 6, format('DROP %s IF EXISTS', i.type), i.identity
FROM object o, pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
WHERE o.stays IS NULL AND o.classid IN (
    'pg_catalog.pg_operator'::regclass, 'pg_catalog.pg_opclass'::regclass,
    'pg_catalog.pg_opfamily'::regclass, 'pg_catalog.pg_collation'::regclass, 'pg_catalog.pg_conversion'::regclass,
    'pg_catalog.pg_ts_config'::regclass, 'pg_catalog.pg_ts_dict'::regclass, 'pg_catalog.pg_ts_parser'::regclass,
    'pg_catalog.pg_ts_template'::regclass)
  AND o.nsp IN (SELECT oid FROM schema WHERE stays IS NOT NULL)
UNION ALL
SELECT 7, format('DROP %s IF EXISTS', replace(i.type, '-', ' ')), i.identity
FROM object o, pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
WHERE o.stays IS NULL AND o.classid IN (
    'pg_catalog.pg_cast'::regclass, 'pg_catalog.pg_foreign_server'::regclass,
    'pg_catalog.pg_foreign_data_wrapper'::regclass, 'pg_catalog.pg_language'::regclass, 'pg_catalog.pg_am'::regclass)
UNION ALL
-- pg_identify_object says "for type on language name" up to 17, which DROP does not understand
SELECT 7, 'DROP TRANSFORM IF EXISTS', format('FOR %s LANGUAGE %I', pg_catalog.format_type(f.trftype, NULL), l.lanname)
FROM object o JOIN pg_catalog.pg_transform f ON f.oid = o.objid JOIN pg_catalog.pg_language l ON l.oid = f.trflang
WHERE o.stays IS NULL AND o.classid = 'pg_catalog.pg_transform'::regclass
UNION ALL
SELECT 7, 'DROP USER MAPPING IF EXISTS',
  format('FOR %s SERVER %I', CASE WHEN u.umuser = 0 THEN 'PUBLIC' ELSE quote_ident(u.usename) END, u.srvname)
FROM object o JOIN pg_catalog.pg_user_mappings u ON u.umid = o.objid
  JOIN object s ON s.classid = 'pg_catalog.pg_foreign_server'::regclass AND s.objid = u.srvid AND s.stays IS NOT NULL
WHERE o.stays IS NULL AND o.classid = 'pg_catalog.pg_user_mapping'::regclass
UNION ALL
-- default privileges would reach into the restored tables; only what this user may change and what its own new
-- objects would get matters
SELECT 8, format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s', r.rolname,
  coalesce(' IN SCHEMA ' || quote_ident(n.nspname), '')), change.clause
FROM selection, pg_catalog.pg_default_acl a
  JOIN pg_catalog.pg_roles r ON r.oid = a.defaclrole AND r.oid IN (SELECT oid FROM ours)
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = a.defaclnamespace,
  LATERAL (SELECT CASE a.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
    WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' WHEN 'L' THEN 'LARGE OBJECTS' END AS kind) k,
  LATERAL (
    SELECT DISTINCT format('REVOKE ALL ON %s FROM %s', k.kind,
      CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END) AS clause
    FROM pg_catalog.aclexplode(a.defaclacl) x
    WHERE a.defaclnamespace <> 0 OR x.grantee <> a.defaclrole
  ) change
WHERE NOT partly AND k.kind IS NOT NULL
  AND a.defaclnamespace NOT IN (SELECT oid FROM named_schema)
  AND a.defaclnamespace NOT IN (SELECT oid FROM schema WHERE stays IS NULL)
UNION ALL
SELECT 9, format('ALTER DEFAULT PRIVILEGES FOR ROLE %I', r.rolname), 'GRANT ' || change.clause
FROM selection, pg_catalog.pg_default_acl a
  JOIN pg_catalog.pg_roles r ON r.oid = a.defaclrole AND r.oid IN (SELECT oid FROM ours),
  LATERAL (VALUES
    ('r', format('ALL ON TABLES TO %I', r.rolname)), ('S', format('ALL ON SEQUENCES TO %I', r.rolname)),
    ('f', format('ALL ON FUNCTIONS TO %I', r.rolname)), ('f', 'EXECUTE ON FUNCTIONS TO PUBLIC'),
    ('T', format('ALL ON TYPES TO %I', r.rolname)), ('T', 'USAGE ON TYPES TO PUBLIC'),
    ('n', format('ALL ON SCHEMAS TO %I', r.rolname)), ('L', format('ALL ON LARGE OBJECTS TO %I', r.rolname))
  ) AS change (kind, clause)
WHERE NOT partly AND a.defaclnamespace = 0 AND change.kind = a.defaclobjtype::text
ORDER BY 1, 2, 3

-- name: large_objects
-- purpose: remove the large objects that the dump replaces: all that this user may remove.
SELECT count(pg_catalog.lo_unlink(m.oid))
FROM pg_catalog.pg_largeobject_metadata m WHERE pg_catalog.pg_has_role(m.lomowner, 'USAGE')

-- name: staying
-- purpose: what must be there after the drop, and at the end of the restore: identities and a description of each.
-- begins: objects
SELECT format('%s %s', o.classid, o.objid), pg_catalog.pg_describe_object(o.classid, o.objid, 0)
FROM object o LEFT JOIN pg_catalog.pg_constraint k ON o.classid = 'pg_catalog.pg_constraint'::regclass AND k.oid = o.objid
WHERE o.stays IS NOT NULL AND k.contype IS DISTINCT FROM 'f'
  AND (o.rel IS NULL OR o.rel NOT IN (SELECT oid FROM rebuilt))
  AND (o.classid, o.objid) NOT IN (SELECT classid, objid FROM tied)
  AND NOT EXISTS (  -- what a partition has of its parent goes and comes with its attachment
    SELECT FROM pg_catalog.pg_depend d WHERE d.classid = o.classid AND d.objid = o.objid AND d.deptype IN ('P', 'S'))
UNION ALL
SELECT format('%s %s', 'pg_catalog.pg_namespace'::regclass::oid, oid), format('schema %I', name)
FROM schema WHERE stays IS NOT NULL

-- name: lost
-- purpose: the identities that are gone of those that `staying` gave; the setting glacier_provider.staying holds them,
--   commas between.
SELECT one FROM unnest(string_to_array(current_setting('glacier_provider.staying'), ',')) AS one
WHERE pg_catalog.pg_describe_object(split_part(one, ' ', 1)::oid, split_part(one, ' ', 2)::oid, 0) IS NULL

-- name: links
-- purpose: what ties something that stays to something that is replaced, and can be taken apart and put together again:
--   (kind, what, before, after), two statements each. Memberships in publications go with the drop by themselves. What a
--   foreign key of a replaced table refers to could not be detached; the dump has that key again. The setting
--   glacier_provider.emptied holds [[schema, name]] of the extensions' tables whose rows the dump brings.
-- begins: objects
, relation AS (
  SELECT o.objid AS oid, o.stays IS NOT NULL AS stays FROM object o WHERE o.classid = 'pg_catalog.pg_class'::regclass
), named AS (
  SELECT r.oid, r.stays, n.nspname, c.relname, format('%I.%I', n.nspname, c.relname) AS full
  FROM relation r JOIN pg_catalog.pg_class c ON c.oid = r.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
), counted (oid) AS (  -- sequences of what goes that count for what stays; an identity column does so for its partitions
  SELECT d.refobjid
  FROM tied JOIN pg_catalog.pg_depend d ON d.classid = tied.classid AND d.objid = tied.objid
  WHERE tied.classid = 'pg_catalog.pg_attrdef'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
  UNION
  SELECT d.objid
  FROM relation r JOIN pg_catalog.pg_class c ON c.oid = r.oid AND c.relispartition AND c.relkind IN ('r', 'p')
    JOIN pg_catalog.pg_depend d ON d.refobjid = pg_catalog.pg_partition_root(r.oid) AND d.deptype = 'i'
      AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.classid = 'pg_catalog.pg_class'::regclass
  WHERE r.stays
), emptied AS (
  SELECT n.oid
  FROM named n JOIN jsonb_array_elements(current_setting('glacier_provider.emptied')::jsonb) AS r (pair)
    ON n.nspname = pair ->> 0 AND n.relname = pair ->> 1
)
SELECT 'partition' AS kind, c.full AS what,
  format('ALTER TABLE %s DETACH PARTITION %s%s', p.full, c.full, CASE WHEN h.inhdetachpending THEN ' FINALIZE' END) AS before,
  CASE WHEN h.inhdetachpending THEN ''
    ELSE format('ALTER TABLE %s ATTACH PARTITION %s %s', p.full, c.full, pg_catalog.pg_get_expr(k.relpartbound, k.oid)) END AS after
FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class k ON k.oid = h.inhrelid AND k.relispartition AND k.relkind IN ('r', 'p', 'f')
  JOIN named c ON c.oid = h.inhrelid AND c.stays JOIN named p ON p.oid = h.inhparent AND NOT p.stays
UNION ALL
SELECT 'inheritance', c.full, format('ALTER TABLE %s NO INHERIT %s', c.full, p.full),
  format('ALTER TABLE %s INHERIT %s', c.full, p.full)
FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class k ON k.oid = h.inhrelid AND NOT k.relispartition AND k.relkind IN ('r', 'f')
  JOIN named c ON c.oid = h.inhrelid AND c.stays JOIN named p ON p.oid = h.inhparent AND NOT p.stays
UNION ALL
SELECT 'policy', format('%I on %s', p.polname, t.full), format('DROP POLICY %I ON %s', p.polname, t.full),
  format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', p.polname, t.full,
    CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
    CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
    (SELECT string_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(r)) END, ', ')
      FROM unnest(p.polroles) AS r),
    ' USING (' || pg_catalog.pg_get_expr(p.polqual, p.polrelid) || ')',
    ' WITH CHECK (' || pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) || ')')
  || format('; COMMENT ON POLICY %I ON %s IS %L', p.polname, t.full, pg_catalog.obj_description(p.oid, 'pg_policy'))
FROM tied JOIN pg_catalog.pg_policy p ON tied.classid = 'pg_catalog.pg_policy'::regclass AND p.oid = tied.objid
  JOIN named t ON t.oid = p.polrelid
UNION ALL
SELECT 'statistics', format('%I.%I', n.nspname, s.stxname), '',
  pg_catalog.pg_get_statisticsobjdef(s.oid)
  || format('; ALTER STATISTICS %I.%I OWNER TO %I', n.nspname, s.stxname, pg_catalog.pg_get_userbyid(s.stxowner))
  || CASE WHEN s.stxstattarget >= 0
       THEN format('; ALTER STATISTICS %I.%I SET STATISTICS %s', n.nspname, s.stxname, s.stxstattarget) ELSE '' END
  || format('; COMMENT ON STATISTICS %I.%I IS %L', n.nspname, s.stxname,
       pg_catalog.obj_description(s.oid, 'pg_statistic_ext'))
FROM tied JOIN pg_catalog.pg_statistic_ext s ON tied.classid = 'pg_catalog.pg_statistic_ext'::regclass
    AND s.oid = tied.objid
  JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
UNION ALL
SELECT 'rule', format('%I on %s', r.rulename, t.full), format('DROP RULE %I ON %s', r.rulename, t.full),
  pg_catalog.pg_get_ruledef(r.oid)
  || CASE WHEN r.ev_enabled = 'O' THEN '' ELSE format(' ALTER TABLE %s %s RULE %I', t.full,
    CASE r.ev_enabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, r.rulename) END
  || format('; COMMENT ON RULE %I ON %s IS %L', r.rulename, t.full, pg_catalog.obj_description(r.oid, 'pg_rewrite'))
FROM tied JOIN pg_catalog.pg_rewrite r ON tied.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = tied.objid
  JOIN named t ON t.oid = r.ev_class
UNION ALL
SELECT 'foreign key', format('%I on %s', k.conname, t.full), format('ALTER TABLE %s DROP CONSTRAINT %I', t.full, k.conname),
  format('ALTER TABLE %s ADD CONSTRAINT %I %s', t.full, k.conname, pg_catalog.pg_get_constraintdef(k.oid))
FROM pg_catalog.pg_constraint k JOIN named t ON t.oid = k.conrelid AND t.stays
  JOIN named r ON r.oid = k.confrelid AND NOT r.stays
WHERE k.contype = 'f' AND k.conparentid = 0
UNION ALL
-- rows of an extension's table that the dump brings again are deleted first, and nobody's rows go with them
SELECT 'foreign key', format('%I on %s', k.conname, t.full), format('ALTER TABLE %s DROP CONSTRAINT %I', t.full, k.conname),
  format('ALTER TABLE %s ADD CONSTRAINT %I %s', t.full, k.conname, pg_catalog.pg_get_constraintdef(k.oid))
FROM emptied e JOIN pg_catalog.pg_constraint k ON k.confrelid = e.oid JOIN named t ON t.oid = k.conrelid AND t.stays
  JOIN pg_catalog.pg_class c ON c.oid = t.oid AND c.relowner IN (SELECT oid FROM ours)
WHERE k.contype = 'f' AND k.conparentid = 0 AND t.oid NOT IN (SELECT objid FROM extension_relation)
UNION ALL
SELECT 'foreign key comment', format('%I on %s', k.conname, t.full), '',
  format('COMMENT ON CONSTRAINT %I ON %s IS %L', k.conname, t.full, said.description)
FROM pg_catalog.pg_constraint k JOIN named t ON t.oid = k.conrelid AND t.stays JOIN named r ON r.oid = k.confrelid
  JOIN pg_catalog.pg_description said ON said.classoid = k.tableoid AND said.objoid = k.oid
WHERE k.contype = 'f' AND k.conparentid = 0 AND (NOT r.stays OR r.oid IN (SELECT oid FROM emptied)
  AND t.oid NOT IN (SELECT objid FROM extension_relation))
UNION ALL
SELECT 'default', format('%I of %s', a.attname, t.full),
  format('ALTER TABLE ONLY %s ALTER COLUMN %I DROP DEFAULT', t.full, a.attname),
  format('ALTER TABLE ONLY %s ALTER COLUMN %I SET DEFAULT %s', t.full, a.attname, pg_catalog.pg_get_expr(f.adbin, f.adrelid))
FROM tied JOIN pg_catalog.pg_attrdef f ON tied.classid = 'pg_catalog.pg_attrdef'::regclass AND f.oid = tied.objid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum JOIN named t ON t.oid = f.adrelid
UNION ALL
-- what a table that stays was given is not given again
SELECT 'sequence', s.full, '', format('SELECT pg_catalog.setval(%L, %s) FROM %s WHERE last_value %s %s OR last_value = %s AND NOT is_called',
    s.full, given.last, s.full, CASE WHEN q.seqincrement > 0 THEN '<' ELSE '>' END, given.last, given.last)
FROM counted JOIN pg_catalog.pg_sequence q ON q.seqrelid = counted.oid JOIN named s ON s.oid = q.seqrelid AND NOT s.stays,
  LATERAL (SELECT CASE WHEN pg_catalog.has_sequence_privilege(q.seqrelid, 'USAGE, SELECT')
    THEN pg_catalog.pg_sequence_last_value(q.seqrelid) END AS last) given
WHERE given.last IS NOT NULL
UNION ALL
SELECT 'foreign key', format('%I on %s', k.conname, t.full), format('ALTER TABLE %s DROP CONSTRAINT %I', t.full, k.conname), ''
FROM pg_catalog.pg_constraint k JOIN named t ON t.oid = k.conrelid AND NOT t.stays
  JOIN named r ON r.oid = k.confrelid AND NOT r.stays
WHERE k.contype = 'f' AND k.conparentid = 0 AND EXISTS (
  SELECT FROM pg_catalog.pg_partition_tree(r.oid) p JOIN relation s ON s.oid = p.relid AND s.stays)
UNION ALL
SELECT 'publication', format('%s in %I', t.full, p.pubname), '',
  format('ALTER PUBLICATION %I ADD TABLE ONLY %s%s%s', p.pubname, t.full,
    (SELECT format(' (%s)', string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)) FROM pg_catalog.pg_attribute a
      WHERE a.attrelid = t.oid AND a.attnum = ANY (m.prattrs) HAVING count(*) > 0),
    ' WHERE (' || pg_catalog.pg_get_expr(m.prqual, m.prrelid) || ')')
FROM pg_catalog.pg_publication_rel m JOIN pg_catalog.pg_publication p ON p.oid = m.prpubid JOIN named t ON t.oid = m.prrelid
  JOIN object o ON o.classid = 'pg_catalog.pg_publication'::regclass AND o.objid = p.oid
WHERE (o.stays IS NOT NULL) <> t.stays
UNION ALL
SELECT 'publication', format('schema %I in %I', s.name, p.pubname), '',
  format('ALTER PUBLICATION %I ADD TABLES IN SCHEMA %I', p.pubname, s.name)
FROM pg_catalog.pg_publication_namespace m JOIN pg_catalog.pg_publication p ON p.oid = m.pnpubid
  JOIN schema s ON s.oid = m.pnnspid AND s.stays IS NOT NULL
  JOIN object o ON o.classid = 'pg_catalog.pg_publication'::regclass AND o.objid = p.oid AND o.stays IS NULL
ORDER BY 1, 2

-- name: subscribed
-- purpose: replaced tables that a subscription fills: it has to be told of the new ones.
-- begins: objects
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_subscription_rel r JOIN pg_catalog.pg_class c ON c.oid = r.srrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN object o ON o.classid = 'pg_catalog.pg_class'::regclass AND o.objid = c.oid AND o.stays IS NULL
ORDER BY 1
