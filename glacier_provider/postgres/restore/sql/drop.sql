-- name: drop_objects
-- purpose: drop what the restore replaces (see objects.sql, whose text stands at the marked place), then make sure that
--   nothing else went with it. Runs inside the restore's transaction: an error here changes nothing.
DO $glacier$
DECLARE
  statements text[];
  staying text[];
  lost text;
  statement text;
BEGIN
  /* objects.sql */
  SELECT
    (SELECT array_agg(s.command ORDER BY s.step, s.command) FROM (
      SELECT 1 AS step, format('DROP %s IF EXISTS %s CASCADE', i.type, i.identity) AS command
      FROM object o, pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
      WHERE o.replaced AND o.classid IN ('pg_catalog.pg_event_trigger'::regclass, 'pg_catalog.pg_publication'::regclass)
      UNION ALL
      SELECT 2, format('DROP SCHEMA %I CASCADE', name) FROM schema WHERE replaced
      UNION ALL
      SELECT 3, format('DROP %s IF EXISTS %s CASCADE', i.type, i.identity)
      FROM object o JOIN pg_catalog.pg_class c ON c.oid = o.objid,
        pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
      WHERE o.replaced AND o.classid = 'pg_catalog.pg_class'::regclass AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        AND o.nsp IN (SELECT oid FROM schema WHERE NOT schema.replaced)
        AND NOT EXISTS (  -- identity sequences and partitions go with their table
          SELECT FROM pg_catalog.pg_depend d
            JOIN object owner ON owner.replaced AND owner.classid = d.refclassid AND owner.objid = d.refobjid
          WHERE d.classid = o.classid AND d.objid = o.objid AND d.objsubid = 0 AND d.deptype IN ('i', 'a', 'P', 'S')
            AND d.refclassid = 'pg_catalog.pg_class'::regclass)
      UNION ALL
      SELECT 4, format('DROP TYPE IF EXISTS %s CASCADE', i.identity)
      FROM object o JOIN pg_catalog.pg_type t ON t.oid = o.objid LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid,
        pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
      WHERE o.replaced AND o.classid = 'pg_catalog.pg_type'::regclass AND t.typtype IN ('b', 'c', 'd', 'e', 'r', 'p')
        AND coalesce(c.relkind, 'c') = 'c' AND NOT (t.typlen = -1 AND t.typelem <> 0 AND EXISTS (
          SELECT FROM pg_catalog.pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid))
        AND o.nsp IN (SELECT oid FROM schema WHERE NOT schema.replaced)
      UNION ALL
      SELECT 5, format('DROP %s IF EXISTS %s CASCADE',
        CASE WHEN o.classid = 'pg_catalog.pg_proc'::regclass THEN 'ROUTINE' ELSE i.type END, i.identity)
      FROM object o, pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
      WHERE o.replaced AND o.classid IN (
          'pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_operator'::regclass, 'pg_catalog.pg_opclass'::regclass,
          'pg_catalog.pg_opfamily'::regclass, 'pg_catalog.pg_collation'::regclass, 'pg_catalog.pg_conversion'::regclass,
          'pg_catalog.pg_ts_config'::regclass, 'pg_catalog.pg_ts_dict'::regclass, 'pg_catalog.pg_ts_parser'::regclass,
          'pg_catalog.pg_ts_template'::regclass)
        AND o.nsp IN (SELECT oid FROM schema WHERE NOT schema.replaced)
      UNION ALL
      SELECT 6, format('DROP %s IF EXISTS %s CASCADE', replace(i.type, '-', ' '), i.identity)
      FROM object o, pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
      WHERE o.replaced AND o.classid IN (
          'pg_catalog.pg_cast'::regclass, 'pg_catalog.pg_transform'::regclass,
          'pg_catalog.pg_foreign_server'::regclass, 'pg_catalog.pg_foreign_data_wrapper'::regclass,
          'pg_catalog.pg_language'::regclass, 'pg_catalog.pg_am'::regclass)
      UNION ALL
      SELECT 7, format('SELECT pg_catalog.lo_unlink(%s)', m.oid)
      FROM pg_catalog.pg_largeobject_metadata m, selection WHERE NOT (chosen ->> 'only')::boolean
      UNION ALL
      -- default privileges would reach into the restored tables; only what this user may change and what its own new
      -- objects would get matters
      SELECT 8, format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s %s', r.rolname,
        coalesce(' IN SCHEMA ' || quote_ident(n.nspname), ''), change.clause)
      FROM selection, pg_catalog.pg_default_acl a
        JOIN pg_catalog.pg_roles r ON r.oid = a.defaclrole AND pg_catalog.pg_has_role(r.oid, 'USAGE')
        LEFT JOIN pg_catalog.pg_namespace n ON n.oid = a.defaclnamespace,
        LATERAL (SELECT CASE a.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
          WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' WHEN 'L' THEN 'LARGE OBJECTS' END AS kind) k,
        LATERAL (
          SELECT DISTINCT format('REVOKE ALL ON %s FROM %s', k.kind,
            CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_catalog.pg_get_userbyid(x.grantee)) END) AS clause
          FROM pg_catalog.aclexplode(a.defaclacl) x
          WHERE a.defaclnamespace <> 0 OR x.grantee <> a.defaclrole
        ) change
      WHERE NOT (chosen ->> 'only')::boolean AND k.kind IS NOT NULL
        AND a.defaclnamespace NOT IN (SELECT oid FROM named_schema)
        AND a.defaclnamespace NOT IN (SELECT oid FROM schema WHERE schema.replaced)
      UNION ALL
      SELECT 9, format('ALTER DEFAULT PRIVILEGES FOR ROLE %1$I GRANT %2$s', r.rolname, change.clause)
      FROM selection, pg_catalog.pg_default_acl a
        JOIN pg_catalog.pg_roles r ON r.oid = a.defaclrole AND pg_catalog.pg_has_role(r.oid, 'USAGE'),
        LATERAL (VALUES
          ('r', format('ALL ON TABLES TO %I', r.rolname)), ('S', format('ALL ON SEQUENCES TO %I', r.rolname)),
          ('f', format('ALL ON FUNCTIONS TO %I', r.rolname)), ('f', 'EXECUTE ON FUNCTIONS TO PUBLIC'),
          ('T', format('ALL ON TYPES TO %I', r.rolname)), ('T', 'USAGE ON TYPES TO PUBLIC'),
          ('n', format('ALL ON SCHEMAS TO %I', r.rolname)), ('L', format('ALL ON LARGE OBJECTS TO %I', r.rolname))
        ) AS change (kind, clause)
      WHERE NOT (chosen ->> 'only')::boolean AND a.defaclnamespace = 0 AND change.kind = a.defaclobjtype::text
    ) s),
    (SELECT array_agg(format('%s %s', o.classid, o.objid)) FROM object o WHERE NOT o.replaced)
  INTO statements, staying;

  FOREACH statement IN ARRAY coalesce(statements, '{}') LOOP
    EXECUTE statement;
  END LOOP;

  /* objects.sql */
  SELECT format('%s of %s', count(*), cardinality(staying)) INTO lost
  FROM unnest(staying) AS before (id)
  WHERE before.id NOT IN (SELECT format('%s %s', o.classid, o.objid) FROM object o)
  HAVING count(*) > 0;
  IF lost IS NOT NULL THEN
    RAISE EXCEPTION 'objects that must stay would be dropped as well: %', lost;
  END IF;
END
$glacier$;
