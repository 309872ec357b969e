-- name: schemas
-- purpose: the schemas of the target that outlive the drop, whether this user may change their annotations, and whether
--   it may create in them.
-- begins: objects
SELECT s.name, pg_catalog.pg_has_role(n.nspowner, 'USAGE') AS owned,
  pg_catalog.has_schema_privilege(n.oid, 'CREATE') AS open
FROM schema s JOIN pg_catalog.pg_namespace n ON n.oid = s.oid
WHERE s.stays IS NOT NULL
ORDER BY s.name

-- name: inventory
-- purpose: the objects in their own right, as a dump's table of contents names them (kind, schema, tag), and why they
--   stay. Pieces (indexes, constraints, triggers) go or stay with the relation that they belong to.
-- begins: objects
, named (kind, schema, tag, stays) AS (
  SELECT CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
      WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, o.nsp, c.relname::text, o.stays
  FROM object o JOIN pg_catalog.pg_class c ON c.oid = o.objid
  WHERE o.classid = 'pg_catalog.pg_class'::regclass AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL
  SELECT CASE WHEN t.typtype = 'd' THEN 'DOMAIN' ELSE 'TYPE' END, o.nsp, t.typname::text, o.stays
  FROM object o JOIN pg_catalog.pg_type t ON t.oid = o.objid LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
  WHERE o.classid = 'pg_catalog.pg_type'::regclass AND coalesce(c.relkind, 'c') = 'c' AND t.typtype <> 'm'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid)
  UNION ALL
  SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END, o.nsp,
    format('%s(%s)', p.proname, CASE WHEN p.prokind = 'a' AND p.pronargs = 0 THEN '*' ELSE (
      SELECT string_agg(pg_catalog.format_type(a.type, NULL), ', ' ORDER BY a.at)
      FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, at)) END), o.stays
  FROM object o JOIN pg_catalog.pg_proc p ON p.oid = o.objid
  WHERE o.classid = 'pg_catalog.pg_proc'::regclass AND NOT EXISTS (  -- made with its range
    SELECT FROM pg_catalog.pg_depend d WHERE d.classid = o.classid AND d.objid = o.objid AND d.deptype = 'i')
  UNION ALL
  SELECT kinds.kind, o.nsp, i.name, o.stays
  FROM object o JOIN (VALUES
      ('pg_catalog.pg_operator'::regclass, 'OPERATOR'), ('pg_catalog.pg_opclass'::regclass, 'OPERATOR CLASS'),
      ('pg_catalog.pg_opfamily'::regclass, 'OPERATOR FAMILY'), ('pg_catalog.pg_collation'::regclass, 'COLLATION'),
      ('pg_catalog.pg_conversion'::regclass, 'CONVERSION'),
      ('pg_catalog.pg_ts_config'::regclass, 'TEXT SEARCH CONFIGURATION'),
      ('pg_catalog.pg_ts_dict'::regclass, 'TEXT SEARCH DICTIONARY'),
      ('pg_catalog.pg_ts_parser'::regclass, 'TEXT SEARCH PARSER'),
      ('pg_catalog.pg_ts_template'::regclass, 'TEXT SEARCH TEMPLATE'),
      ('pg_catalog.pg_language'::regclass, 'PROCEDURAL LANGUAGE'),
      ('pg_catalog.pg_foreign_data_wrapper'::regclass, 'FOREIGN DATA WRAPPER'),
      ('pg_catalog.pg_foreign_server'::regclass, 'SERVER'), ('pg_catalog.pg_event_trigger'::regclass, 'EVENT TRIGGER'),
      ('pg_catalog.pg_publication'::regclass, 'PUBLICATION'), ('pg_catalog.pg_am'::regclass, 'ACCESS METHOD'),
      ('pg_catalog.pg_subscription'::regclass, 'SUBSCRIPTION')
    ) AS kinds (classid, kind) ON kinds.classid = o.classid,
    LATERAL (SELECT coalesce(
      (SELECT oprname FROM pg_catalog.pg_operator x WHERE x.oid = o.objid AND x.tableoid = o.classid),
      (SELECT opcname FROM pg_catalog.pg_opclass x WHERE x.oid = o.objid AND x.tableoid = o.classid),
      (SELECT opfname FROM pg_catalog.pg_opfamily x WHERE x.oid = o.objid AND x.tableoid = o.classid),
      (SELECT collname FROM pg_catalog.pg_collation x WHERE x.oid = o.objid AND x.tableoid = o.classid),
      (SELECT conname FROM pg_catalog.pg_conversion x WHERE x.oid = o.objid AND x.tableoid = o.classid),
      (SELECT cfgname FROM pg_catalog.pg_ts_config x WHERE x.oid = o.objid AND x.tableoid = o.classid),
      (SELECT dictname FROM pg_catalog.pg_ts_dict x WHERE x.oid = o.objid AND x.tableoid = o.classid),
      (SELECT prsname FROM pg_catalog.pg_ts_parser x WHERE x.oid = o.objid AND x.tableoid = o.classid),
      (SELECT tmplname FROM pg_catalog.pg_ts_template x WHERE x.oid = o.objid AND x.tableoid = o.classid),
      (SELECT lanname FROM pg_catalog.pg_language x WHERE x.oid = o.objid AND x.tableoid = o.classid),
      (SELECT fdwname FROM pg_catalog.pg_foreign_data_wrapper x WHERE x.oid = o.objid AND x.tableoid = o.classid),
      (SELECT srvname FROM pg_catalog.pg_foreign_server x WHERE x.oid = o.objid AND x.tableoid = o.classid),
      (SELECT evtname FROM pg_catalog.pg_event_trigger x WHERE x.oid = o.objid AND x.tableoid = o.classid),
      (SELECT pubname FROM pg_catalog.pg_publication x WHERE x.oid = o.objid AND x.tableoid = o.classid),
      (SELECT amname FROM pg_catalog.pg_am x WHERE x.oid = o.objid AND x.tableoid = o.classid),
      (SELECT subname FROM pg_catalog.pg_subscription x WHERE x.oid = o.objid)
    )::text AS name) i
  UNION ALL
  SELECT 'USER MAPPING', NULL, format('USER MAPPING %s SERVER %s', u.usename, u.srvname), o.stays
  FROM object o JOIN pg_catalog.pg_user_mappings u ON u.umid = o.objid
  WHERE o.classid = 'pg_catalog.pg_user_mapping'::regclass
  UNION ALL
  SELECT 'CAST', NULL, format('CAST (%s AS %s)', pg_catalog.format_type(c.castsource, NULL),
    pg_catalog.format_type(c.casttarget, NULL)), o.stays
  FROM object o JOIN pg_catalog.pg_cast c ON c.oid = o.objid WHERE o.classid = 'pg_catalog.pg_cast'::regclass
  UNION ALL
  SELECT 'TRANSFORM', NULL, format('TRANSFORM FOR %s LANGUAGE %s', pg_catalog.format_type(f.trftype, NULL), l.lanname),
    o.stays
  FROM object o JOIN pg_catalog.pg_transform f ON f.oid = o.objid JOIN pg_catalog.pg_language l ON l.oid = f.trflang
  WHERE o.classid = 'pg_catalog.pg_transform'::regclass
  UNION ALL
  SELECT 'STATISTICS', o.nsp, s.stxname::text, o.stays
  FROM object o JOIN pg_catalog.pg_statistic_ext s ON s.oid = o.objid
  WHERE o.classid = 'pg_catalog.pg_statistic_ext'::regclass
  UNION ALL
  SELECT 'SCHEMA', NULL, name::text, stays FROM schema
)
SELECT m.kind, n.nspname, m.tag, m.stays
FROM (SELECT kind, schema, tag, stays FROM named) m LEFT JOIN pg_catalog.pg_namespace n ON n.oid = m.schema
WHERE m.stays IS DISTINCT FROM 'of an extension'

-- name: default_privileges
-- purpose: the default privileges, as a dump's table of contents names them (schema, tag, role), and why they stay.
-- begins: objects
SELECT n.nspname, format('DEFAULT PRIVILEGES FOR %s', CASE a.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES'
    WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' WHEN 'L' THEN 'LARGE OBJECTS' END),
  pg_catalog.pg_get_userbyid(a.defaclrole),
  CASE
    WHEN n.oid IN (SELECT oid FROM named_schema) THEN 'in an excluded schema'
    WHEN s.oid IS NOT NULL AND s.stays IS NULL THEN NULL
    WHEN a.defaclrole NOT IN (SELECT oid FROM ours)
      THEN format('belongs to the role %s', pg_catalog.pg_get_userbyid(a.defaclrole))
  END
FROM pg_catalog.pg_default_acl a LEFT JOIN pg_catalog.pg_namespace n ON n.oid = a.defaclnamespace
  LEFT JOIN schema s ON s.oid = n.oid

-- name: large_objects
-- purpose: all large objects, and whether this user can remove them.
SELECT m.oid::bigint, pg_catalog.pg_has_role(m.lomowner, 'USAGE') FROM pg_catalog.pg_largeobject_metadata m

-- name: crossings
-- purpose: what stays and depends on what is replaced: it would be dropped with it, or block the drop. A dependency
--   path from a replaced to a staying object has one first step across, so looking at single steps finds every path.
--   Not here: the links (see drop.sql), which are taken apart before the drop and put together after the restore; that
--   takes the owner of what stays.
-- begins: objects
, step AS (
  SELECT d.classid, d.objid, d.objsubid, d.refclassid, d.refobjid, stays.rel AS rel, goes.rel AS goes_rel
  FROM pg_catalog.pg_depend d
    JOIN object stays ON stays.classid = d.classid AND stays.objid = d.objid AND stays.stays IS NOT NULL
      AND (stays.rel IS NULL OR stays.rel NOT IN (SELECT oid FROM rebuilt))
    JOIN object goes ON goes.classid = d.refclassid AND goes.objid = d.refobjid
      AND (goes.stays IS NULL OR goes.rel IN (SELECT oid FROM rebuilt))
  WHERE NOT EXISTS (
      SELECT FROM pg_catalog.pg_constraint k
        JOIN pg_catalog.pg_class c ON c.oid = k.conrelid AND c.relowner IN (SELECT oid FROM ours)
      WHERE d.classid = 'pg_catalog.pg_constraint'::regclass AND k.oid = d.objid AND k.contype = 'f')
    AND d.deptype NOT IN ('P', 'S')
    AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid
        AND c.relowner IN (SELECT oid FROM ours)
      WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
        AND h.inhrelid = d.objid AND h.inhparent = d.refobjid)
    AND NOT EXISTS (SELECT FROM tied WHERE tied.classid = d.classid AND tied.objid = d.objid)
)
SELECT DISTINCT
  CASE WHEN rel IS NOT NULL AND classid IN ('pg_catalog.pg_rewrite'::regclass, 'pg_catalog.pg_attrdef'::regclass,
      'pg_catalog.pg_type'::regclass, 'pg_catalog.pg_class'::regclass)
    THEN pg_catalog.pg_describe_object('pg_catalog.pg_class'::regclass, rel, CASE WHEN rel = objid THEN objsubid ELSE 0 END)
    ELSE pg_catalog.pg_describe_object(classid, objid, objsubid) END AS stays,
  CASE WHEN goes_rel IS NOT NULL THEN pg_catalog.pg_describe_object('pg_catalog.pg_class'::regclass, goes_rel, 0)
    ELSE pg_catalog.pg_describe_object(refclassid, refobjid, 0) END AS goes
FROM step
ORDER BY 1, 2
LIMIT 100

-- name: rebuilt
-- purpose: views that stay, go with what they need, and are made again: (schema, name).
-- begins: objects
SELECT n.nspname, c.relname
FROM rebuilt r JOIN pg_catalog.pg_class c ON c.oid = r.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1, 2

-- name: event_triggers
-- purpose: event triggers that stay and run with what a restore does: (name, text of the function).
-- begins: objects
SELECT e.evtname, p.prosrc
FROM pg_catalog.pg_event_trigger e JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid
  JOIN object o ON o.classid = 'pg_catalog.pg_event_trigger'::regclass AND o.objid = e.oid AND o.stays IS NOT NULL
WHERE e.evtenabled IN ('O', 'A') AND e.evtevent <> 'login'
ORDER BY 1

-- name: unpublished
-- purpose: memberships of replaced tables in publications that stay and belong to others: they end with the drop.
-- begins: objects
SELECT format('%I.%I in %I', n.nspname, c.relname, p.pubname)
FROM pg_catalog.pg_publication_rel m JOIN pg_catalog.pg_publication p ON p.oid = m.prpubid
  JOIN pg_catalog.pg_class c ON c.oid = m.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN object o ON o.classid = 'pg_catalog.pg_class'::regclass AND o.objid = c.oid AND o.stays IS NULL
WHERE p.pubowner NOT IN (SELECT oid FROM ours)
ORDER BY 1

-- name: roles
-- purpose: every role, whether this user can act as it (from 16 on a membership may come without SET ROLE), and whether
--   it has the role's privileges without doing so: without them it could do no more with what it has given away.
SELECT rolname, pg_catalog.pg_has_role(oid,
  CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END),
  pg_catalog.pg_has_role(oid, 'USAGE')
FROM pg_catalog.pg_roles

-- name: untrusted_languages
-- purpose: languages in which only a superuser may make functions.
SELECT lanname FROM pg_catalog.pg_language WHERE NOT lanpltrusted

-- name: parameters
-- purpose: parameters that this user may not set, in a function's SET either.
SELECT name FROM pg_catalog.pg_settings
WHERE context LIKE 'superuser%' AND NOT pg_catalog.has_parameter_privilege(name, 'SET')

-- name: creators
-- purpose: (schema, role) of those as which this user may make objects in a schema that stays, or let them do so. Not
--   asked for a superuser, whom nobody refuses.
-- begins: objects
SELECT s.name, r.rolname
FROM selection, schema s JOIN pg_catalog.pg_namespace n ON n.oid = s.oid, pg_catalog.pg_roles r
WHERE s.stays IS NOT NULL AND NOT super AND r.oid IN (SELECT oid FROM ours)
  AND (pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')
    OR pg_catalog.has_schema_privilege(n.oid, 'CREATE WITH GRANT OPTION'))

-- name: wrappers
-- purpose: (foreign-data wrapper, role) of those as which this user may make servers, or give them to.
SELECT w.fdwname, r.rolname
FROM pg_catalog.pg_foreign_data_wrapper w, pg_catalog.pg_roles r
WHERE pg_catalog.pg_has_role(r.oid, 'USAGE') AND pg_catalog.has_foreign_data_wrapper_privilege(r.oid, w.oid, 'USAGE')

-- name: extensions
-- purpose: the extensions that the target has or this user can create, and whether it has them.
SELECT e.name, e.installed_version IS NOT NULL
FROM pg_catalog.pg_available_extensions e
  LEFT JOIN pg_catalog.pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version
WHERE e.installed_version IS NOT NULL OR v.trusted OR NOT v.superuser
  OR (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)
UNION
SELECT extname, true FROM pg_catalog.pg_extension

-- name: configuration_tables
-- purpose: tables of installed extensions whose rows a dump holds, and the condition that tells those rows.
SELECT n.nspname, c.relname, coalesce(config.condition, '')
FROM pg_catalog.pg_extension e,
  unnest(e.extconfig, e.extcondition) AS config (relation, condition),
  pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = config.relation AND c.relkind IN ('r', 'p')

-- name: closed_rows
-- purpose: tables and sequences of installed extensions whose rows a dump holds, and this user may not change.
SELECT n.nspname, c.relname
FROM pg_catalog.pg_extension e, unnest(e.extconfig) AS config (relation),
  pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = config.relation AND NOT CASE c.relkind
  WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'UPDATE')
  ELSE pg_catalog.has_table_privilege(c.oid, 'INSERT') AND pg_catalog.has_table_privilege(c.oid, 'DELETE')
    AND NOT pg_catalog.row_security_active(c.oid) END

-- name: locks
-- purpose: how many locks the server surely has room for, all sessions together (LockManagerShmemSize in lock.c).
SELECT current_setting('max_locks_per_transaction')::bigint
  * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint
    + current_setting('autovacuum_max_workers')::bigint + 1 + current_setting('max_worker_processes')::bigint
    + current_setting('max_wal_senders')::bigint)

-- name: locks_to_drop
-- purpose: about how many locks dropping what is replaced takes: one an object, two a table beside (TOAST), four the
--   triggers of a foreign key, one a large object, and some of the system's.
-- begins: objects
SELECT 150 + count(*) + 2 * count(*) FILTER (WHERE c.reltoastrelid <> 0) + 4 * count(*) FILTER (WHERE k.contype = 'f')
  + CASE WHEN (SELECT partly FROM selection) THEN 0 ELSE (
      SELECT count(*) FROM pg_catalog.pg_largeobject_metadata m WHERE pg_catalog.pg_has_role(m.lomowner, 'USAGE')) END
FROM object o LEFT JOIN pg_catalog.pg_class c ON o.classid = 'pg_catalog.pg_class'::regclass AND c.oid = o.objid
  LEFT JOIN pg_catalog.pg_constraint k ON o.classid = 'pg_catalog.pg_constraint'::regclass AND k.oid = o.objid
WHERE o.stays IS NULL

-- name: sessions
-- purpose: sessions in this database, the likely holders of a lock first: (process, name, role, state, seconds). Of other
--   roles' sessions state and time are hidden from who is no superuser.
SELECT pid, coalesce(nullif(application_name, ''), 'unnamed'), usename, state,
  round(extract(epoch FROM clock_timestamp() - coalesce(xact_start, state_change)))::bigint
FROM pg_catalog.pg_stat_activity a
WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
  AND (leader_pid IS NULL OR leader_pid = pid)
ORDER BY EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.pid = a.pid AND l.relation >= 16384) DESC,
  xact_start NULLS LAST
LIMIT 6

-- name: prepared
-- purpose: transactions that were prepared in this database and keep their locks, whatever ends: (identifier, role).
SELECT gid, owner FROM pg_catalog.pg_prepared_xacts WHERE database = current_database() ORDER BY prepared LIMIT 5

-- name: in_the_way
-- purpose: what stays and has a name that the dump needs for something else: (what it is, its extension or null). The
--   setting glacier_provider.wanted holds {"relations": [[schema, name]], "routines": [[schema, tag]]}, the relations with
--   indexes and types, whose names are theirs alone.
-- begins: objects
, wanted (list, nsp, name) AS (
  SELECT l.key, n.oid, r.pair ->> 1
  FROM jsonb_each(current_setting('glacier_provider.wanted')::jsonb) AS l, jsonb_array_elements(l.value) AS r (pair)
    JOIN pg_catalog.pg_namespace n ON n.nspname = r.pair ->> 0
), named (list, nsp, name, classid, objid) AS (
  SELECT 'relations', c.relnamespace, c.relname::text, c.tableoid, c.oid FROM pg_catalog.pg_class c
  UNION ALL
  -- not those of relations; an array type makes room
  SELECT 'relations', t.typnamespace, t.typname::text, t.tableoid, t.oid
  FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
  WHERE coalesce(c.relkind, 'c') = 'c' AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid)
  UNION ALL
  SELECT 'routines', p.pronamespace, format('%s(%s)', p.proname, CASE WHEN p.prokind = 'a' AND p.pronargs = 0 THEN '*' ELSE (
      SELECT string_agg(pg_catalog.format_type(a.type, NULL), ', ' ORDER BY a.at)
      FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, at)) END), p.tableoid, p.oid
  FROM pg_catalog.pg_proc p
  WHERE p.oid IN (SELECT objid FROM member WHERE classid = 'pg_catalog.pg_proc'::regclass)
)
SELECT DISTINCT pg_catalog.pg_describe_object(f.classid, f.objid, 0), e.extname
FROM wanted w JOIN named f ON f.list = w.list AND f.nsp = w.nsp AND f.name = w.name
  JOIN object o ON o.classid = f.classid AND o.objid = f.objid AND o.stays IS NOT NULL
    AND (o.rel IS NULL OR o.rel NOT IN (SELECT oid FROM rebuilt))
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = f.classid AND d.objid = f.objid AND d.deptype = 'e'
  LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
ORDER BY 1
LIMIT 100
