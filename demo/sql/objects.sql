-- Everything that the schema consists of, one row an object: its kind and name, and its definition as text. Object
-- ids and column numbers, which a restored database has others of, do not occur.
WITH spaces AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('information_schema', 'glacier_catalog')
),
relations AS (
    SELECT c.*, format('%I.%I', s.nspname, c.relname) AS name FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace
),
extension_members AS (
    SELECT objid FROM pg_depend WHERE deptype = 'e'
),
grants AS (
    SELECT 'relation ' || r.name AS object, a.* FROM relations r,
        aclexplode(COALESCE(r.relacl, acldefault(CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", r.relowner))) AS a
    WHERE r.relkind IN ('r', 'p', 'v', 'm', 'S')
    UNION ALL
    SELECT format('column %s.%I', r.name, t.attname), a.* FROM relations r
        JOIN pg_attribute t ON t.attrelid = r.oid, aclexplode(t.attacl) AS a
    UNION ALL
    SELECT 'schema ' || s.nspname, a.* FROM spaces s JOIN pg_namespace n USING (oid),
        aclexplode(COALESCE(n.nspacl, acldefault('n', n.nspowner))) AS a
    UNION ALL
    SELECT 'function ' || p.oid::regprocedure, a.* FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace,
        aclexplode(COALESCE(p.proacl, acldefault('f', p.proowner))) AS a
    UNION ALL
    SELECT 'defaults in ' || s.nspname || ' for ' || d.defaclobjtype::text, a.*
    FROM pg_default_acl d JOIN spaces s ON s.oid = d.defaclnamespace, aclexplode(d.defaclacl) AS a
)
SELECT 'schema ' || nspname, pg_get_userbyid(nspowner)::text FROM spaces JOIN pg_namespace USING (oid, nspname)
UNION ALL
SELECT 'extension ' || extname, extversion FROM pg_extension
UNION ALL
SELECT CASE relkind WHEN 'r' THEN 'table ' WHEN 'p' THEN 'partitioned table ' WHEN 'v' THEN 'view '
            WHEN 'm' THEN 'materialised view ' WHEN 'S' THEN 'sequence ' END || name,
       concat_ws('; ', pg_get_userbyid(relowner), relpersistence::text, 'row security ' || relrowsecurity, reloptions::text,
                 'partition by ' || pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid),
                 CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END)
FROM relations WHERE relkind IN ('r', 'p', 'v', 'm', 'S')
UNION ALL
SELECT format('column %s.%I', r.name, a.attname),
       concat_ws('; ', format_type(a.atttypid, a.atttypmod), 'not null ' || a.attnotnull,
                 'default ' || pg_get_expr(d.adbin, d.adrelid), 'identity ' || NULLIF(a.attidentity::text, ''),
                 'generated ' || NULLIF(a.attgenerated::text, ''), 'collation ' || NULLIF(a.attcollation, 0)::regcollation::text)
FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p', 'v', 'm') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'columns of ' || r.name, string_agg(a.attname, ', ' ORDER BY a.attnum)
FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid
WHERE r.relkind IN ('r', 'p', 'v', 'm') AND a.attnum > 0 AND NOT a.attisdropped GROUP BY r.name
UNION ALL
SELECT format('constraint %I of %s', conname, COALESCE(r.name, contypid::regtype::text)), pg_get_constraintdef(c.oid)
FROM pg_constraint c JOIN spaces s ON s.oid = c.connamespace LEFT JOIN relations r ON r.oid = c.conrelid
UNION ALL
SELECT 'index ' || name, pg_get_indexdef(oid) FROM relations WHERE relkind IN ('i', 'I')
UNION ALL
SELECT format('trigger %I of %s', t.tgname, r.name), concat_ws('; ', pg_get_triggerdef(t.oid), t.tgenabled::text)
FROM pg_trigger t JOIN relations r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
UNION ALL
SELECT format('policy %I of %s', p.polname, r.name),
       concat_ws('; ', p.polcmd::text, pg_get_expr(p.polqual, r.oid), pg_get_expr(p.polwithcheck, r.oid),
                 (SELECT string_agg(rolname, ', ' ORDER BY rolname) FROM pg_roles WHERE oid = ANY (p.polroles)))
FROM pg_policy p JOIN relations r ON r.oid = p.polrelid
UNION ALL
SELECT 'function ' || p.oid::regprocedure, pg_get_functiondef(p.oid) || pg_get_userbyid(p.proowner)
FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace
WHERE p.prokind IN ('f', 'p') AND p.oid NOT IN (SELECT objid FROM extension_members)
UNION ALL
SELECT CASE t.typtype WHEN 'e' THEN 'enum ' WHEN 'd' THEN 'domain ' ELSE 'type ' END || t.oid::regtype,
       concat_ws('; ', pg_get_userbyid(t.typowner), 'not null ' || t.typnotnull, format_type(NULLIF(t.typbasetype, 0), t.typtypmod),
                 (SELECT string_agg(enumlabel, ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid),
                 (SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
                  FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0))
FROM pg_type t JOIN spaces s ON s.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE t.typtype IN ('e', 'd') OR (t.typtype = 'c' AND c.relkind = 'c')
UNION ALL
SELECT 'grants on ' || object, string_agg(format('%s may %s', COALESCE(NULLIF(grantee, 0)::regrole::text, 'everyone'),
       lower(privilege_type) || CASE WHEN is_grantable THEN ' and grant it' ELSE '' END), ', '
       ORDER BY COALESCE(NULLIF(grantee, 0)::regrole::text, ''), privilege_type) FROM grants GROUP BY object
UNION ALL
SELECT format('comment on %s %s', i.type, i.identity), d.description
FROM pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i
WHERE i.schema IN (SELECT nspname FROM spaces) OR (i.type = 'schema' AND i.name IN (SELECT nspname FROM spaces))
