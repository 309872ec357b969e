-- name: schemas
-- purpose: the schemas of the target that outlive the drop, and whether this user may change their annotations.
-- begins: objects
SELECT s.name, pg_catalog.pg_has_role(n.nspowner, 'USAGE') AS owned
FROM schema s JOIN pg_catalog.pg_namespace n ON n.oid = s.oid
WHERE NOT s.replaced
ORDER BY s.name

-- name: crossings
-- purpose: what stays and depends on what is replaced: it would be dropped with it, or block the drop. A dependency
--   path from a replaced to a staying object has one first step across, so looking at single steps finds every path.
-- begins: objects
, step AS (
  SELECT d.classid, d.objid, d.objsubid, d.refclassid, d.refobjid, stays.rel AS rel, goes.rel AS goes_rel
  FROM pg_catalog.pg_depend d
    JOIN object stays ON stays.classid = d.classid AND stays.objid = d.objid AND NOT stays.replaced
    JOIN object goes ON goes.classid = d.refclassid AND goes.objid = d.refobjid AND goes.replaced
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

-- name: roles
-- purpose: every role, and whether this user can act as it.
SELECT rolname, pg_catalog.pg_has_role(oid, 'MEMBER') FROM pg_catalog.pg_roles

-- name: extensions
-- purpose: the extensions that the target has or can create, and whether it has them.
SELECT name, installed_version IS NOT NULL FROM pg_catalog.pg_available_extensions
UNION
SELECT extname, true FROM pg_catalog.pg_extension

-- name: foreign_event_triggers
-- purpose: event triggers that this user cannot replace.
SELECT evtname FROM pg_catalog.pg_event_trigger WHERE NOT pg_catalog.pg_has_role(evtowner, 'USAGE')

-- name: configuration_tables
-- purpose: tables of installed extensions whose rows a dump holds, and the condition that tells those rows.
SELECT n.nspname, c.relname, coalesce(config.condition, '')
FROM pg_catalog.pg_extension e,
  unnest(e.extconfig, e.extcondition) AS config (relation, condition),
  pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = config.relation AND c.relkind IN ('r', 'p')

-- name: sessions
-- purpose: other sessions in this database, the likely holders of a lock.
SELECT pid, coalesce(nullif(application_name, ''), 'unnamed'), usename, state,
  round(extract(epoch FROM clock_timestamp() - coalesce(xact_start, state_change)))::bigint
FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
ORDER BY xact_start NULLS LAST
LIMIT 5
