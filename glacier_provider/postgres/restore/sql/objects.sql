-- name: objects
-- purpose: every object that a user made in this database, and why it outlives a restore. The beginning of a query: the
--   relations `object (classid, objid, nsp, rel, stays)` and `schema (oid, name, stays)`; what has no reason to stay is
--   replaced. `rel` is the relation that an object is or belongs to. Each class that pg_depend knows is here, or is a
--   piece of one that is (see the tests).
--   The setting glacier_provider.selection holds {"schemas": [name], "relations": [[schema, name]], "only": boolean,
--   "undumped": {"schemas": ..., "relations": ...}}:
--   with `only`, the named relations and what belongs to them are replaced and nothing else; without it, everything is
--   replaced but the named schemas, the named relations with what belongs to them, members of extensions, what belongs
--   to roles that this user cannot act as, what it could not create again, and what any of these needs.
--   `rebuilt (oid)` are views that stay although they need what is replaced: the dump left them out, so that nothing
--   else could bring them back; they go with what they need and are made again at the end. `tied` are rules and policies
--   of tables that stay, and statistics in schemas that stay, of which the same is true; and defaults by which a table
--   that stays counts with the sequence of one that goes.
WITH RECURSIVE selection AS (
  SELECT chosen, (chosen ->> 'only')::boolean AS partly,
    coalesce((SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), false) AS super,
    pg_catalog.has_database_privilege(current_database(), 'CREATE') AS creates
  FROM (SELECT current_setting('glacier_provider.selection')::jsonb AS chosen) s
), ours AS (
  SELECT oid FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'USAGE')
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
  SELECT n.oid, n.nspname AS name, n.nspowner AS owner FROM pg_catalog.pg_namespace n
  WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), withheld (oid) AS (  -- routines that set what this user may not
  SELECT DISTINCT p.oid
  FROM pg_catalog.pg_proc p, unnest(p.proconfig) AS c JOIN pg_catalog.pg_settings s ON s.name = split_part(c, '=', 1)
  WHERE p.proconfig IS NOT NULL AND s.context LIKE 'superuser%' AND NOT pg_catalog.has_parameter_privilege(s.name, 'SET')
), found (classid, objid, nsp, rel, owner, superuser) AS (
  -- `superuser`: only one could create it again
  SELECT 'pg_catalog.pg_class'::regclass::oid, c.oid, c.relnamespace,
    CASE WHEN c.relkind <> 'c' THEN coalesce(i.indrelid, c.oid) END, c.relowner, false
  FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
  UNION ALL
  -- a row type goes with its relation (a composite type is a type), an array type with what it is an array of
  SELECT 'pg_catalog.pg_type'::regclass::oid, t.oid, t.typnamespace, r.oid, t.typowner, t.typtype = 'b' AND e.oid IS NULL
  FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typlen = -1 AND e.typarray = t.oid
    LEFT JOIN pg_catalog.pg_class r ON r.oid = coalesce(nullif(t.typrelid, 0), e.typrelid) AND r.relkind <> 'c'
  UNION ALL
  -- what makes a range or multirange goes with its type: the bootstrap superuser owns it, whoever made the type
  SELECT 'pg_catalog.pg_proc'::regclass::oid, p.oid, p.pronamespace, NULL, coalesce(r.typowner, p.proowner),
    r.objid IS NULL AND (NOT l.lanpltrusted OR p.proleakproof OR p.prosupport <> 0 OR w.oid IS NOT NULL)
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang LEFT JOIN withheld w ON w.oid = p.oid
    LEFT JOIN (
      SELECT d.objid, t.typowner FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_type t ON t.oid = d.refobjid
      WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.refclassid = 'pg_catalog.pg_type'::regclass
        AND d.deptype = 'i'
    ) r ON r.objid = p.oid
  WHERE p.prokind <> 'a'
  UNION ALL
  SELECT 'pg_catalog.pg_proc'::regclass::oid, p.oid, p.pronamespace, NULL, p.proowner,
    a.aggtranstype = 'pg_catalog.internal'::regtype
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = p.oid
  UNION ALL
  SELECT 'pg_catalog.pg_operator'::regclass::oid, oid, oprnamespace, NULL, oprowner, false FROM pg_catalog.pg_operator
  UNION ALL
  SELECT 'pg_catalog.pg_opclass'::regclass::oid, oid, opcnamespace, NULL, opcowner, true FROM pg_catalog.pg_opclass
  UNION ALL
  SELECT 'pg_catalog.pg_opfamily'::regclass::oid, oid, opfnamespace, NULL, opfowner, true FROM pg_catalog.pg_opfamily
  UNION ALL
  SELECT 'pg_catalog.pg_collation'::regclass::oid, oid, collnamespace, NULL, collowner, false
  FROM pg_catalog.pg_collation
  UNION ALL
  SELECT 'pg_catalog.pg_conversion'::regclass::oid, oid, connamespace, NULL, conowner, false
  FROM pg_catalog.pg_conversion
  UNION ALL
  SELECT 'pg_catalog.pg_ts_config'::regclass::oid, oid, cfgnamespace, NULL, cfgowner, false FROM pg_catalog.pg_ts_config
  UNION ALL
  SELECT 'pg_catalog.pg_ts_dict'::regclass::oid, oid, dictnamespace, NULL, dictowner, false FROM pg_catalog.pg_ts_dict
  UNION ALL
  SELECT 'pg_catalog.pg_ts_parser'::regclass::oid, oid, prsnamespace, NULL, NULL, true FROM pg_catalog.pg_ts_parser
  UNION ALL
  SELECT 'pg_catalog.pg_ts_template'::regclass::oid, oid, tmplnamespace, NULL, NULL, true
  FROM pg_catalog.pg_ts_template
  UNION ALL
  -- pieces go or stay with their relation, whoever owns them
  SELECT 'pg_catalog.pg_statistic_ext'::regclass::oid, s.oid, s.stxnamespace, c.oid, c.relowner, false
  FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_class c ON c.oid = s.stxrelid
  UNION ALL
  SELECT 'pg_catalog.pg_constraint'::regclass::oid, k.oid, k.connamespace, c.oid, coalesce(c.relowner, t.typowner), false
  FROM pg_catalog.pg_constraint k LEFT JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
    LEFT JOIN pg_catalog.pg_type t ON t.oid = k.contypid
  UNION ALL
  SELECT 'pg_catalog.pg_attrdef'::regclass::oid, a.oid, c.relnamespace, c.oid, c.relowner, false
  FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_class c ON c.oid = a.adrelid
  UNION ALL
  SELECT 'pg_catalog.pg_rewrite'::regclass::oid, r.oid, c.relnamespace, c.oid, c.relowner, false
  FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
  UNION ALL
  -- internal triggers belong to a constraint, which is found itself
  SELECT 'pg_catalog.pg_trigger'::regclass::oid, t.oid, c.relnamespace, c.oid, c.relowner, false
  FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
  UNION ALL
  SELECT 'pg_catalog.pg_policy'::regclass::oid, p.oid, c.relnamespace, c.oid, c.relowner, false
  FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
), database_wide (classid, objid, owner, superuser) AS (
  SELECT 'pg_catalog.pg_cast'::regclass::oid, c.oid, CASE WHEN s.oid >= 16384 THEN s.typowner ELSE t.typowner END,
    c.castmethod = 'b'
  FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_type s ON s.oid = c.castsource
    JOIN pg_catalog.pg_type t ON t.oid = c.casttarget
  WHERE NOT EXISTS (  -- it comes and goes with the range type
    SELECT FROM pg_catalog.pg_range r WHERE r.rngtypid = c.castsource AND r.rngmultitypid = c.casttarget)
  UNION ALL
  SELECT 'pg_catalog.pg_transform'::regclass::oid, f.oid, t.typowner, NOT l.lanpltrusted
  FROM pg_catalog.pg_transform f JOIN pg_catalog.pg_type t ON t.oid = f.trftype
    JOIN pg_catalog.pg_language l ON l.oid = f.trflang
  UNION ALL
  SELECT 'pg_catalog.pg_language'::regclass::oid, oid, lanowner, true FROM pg_catalog.pg_language
  UNION ALL
  SELECT 'pg_catalog.pg_foreign_data_wrapper'::regclass::oid, oid, fdwowner, true
  FROM pg_catalog.pg_foreign_data_wrapper
  UNION ALL
  SELECT 'pg_catalog.pg_foreign_server'::regclass::oid, oid, srvowner, false FROM pg_catalog.pg_foreign_server
  UNION ALL
  SELECT 'pg_catalog.pg_user_mapping'::regclass::oid, u.umid, s.srvowner, coalesce('password_required=false' = ANY (u.umoptions), false)
  FROM pg_catalog.pg_user_mappings u JOIN pg_catalog.pg_foreign_server s ON s.oid = u.srvid
  UNION ALL
  SELECT 'pg_catalog.pg_event_trigger'::regclass::oid, oid, evtowner, true FROM pg_catalog.pg_event_trigger
  UNION ALL
  SELECT 'pg_catalog.pg_publication'::regclass::oid, p.oid, p.pubowner,
    p.puballtables OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace n WHERE n.pnpubid = p.oid)
  FROM pg_catalog.pg_publication p
  UNION ALL
  SELECT 'pg_catalog.pg_am'::regclass::oid, oid, NULL, true FROM pg_catalog.pg_am
), closed (classid, objid) AS (
  SELECT s.tableoid, s.oid FROM pg_catalog.pg_foreign_server s
  WHERE NOT pg_catalog.has_foreign_data_wrapper_privilege(s.srvfdw, 'USAGE')
), hidden (classid, objid) AS (
  -- options of a mapping, such as its password, are shown to its own role and to superusers: no dump of ours has them
  SELECT 'pg_catalog.pg_user_mapping'::regclass::oid, u.umid FROM pg_catalog.pg_user_mappings u, selection
  WHERE NOT super AND u.umuser <> 0 AND u.usename <> current_user
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
), judged (classid, objid, nsp, rel, owner, stays) AS (
  SELECT f.classid, f.objid, f.nsp, f.rel, f.owner,
    CASE
      WHEN partly AND (f.rel IS NULL OR f.rel NOT IN (SELECT oid FROM named_relation)) THEN 'not among the chosen tables'
      WHEN f.nsp IN (SELECT oid FROM named_schema) THEN 'in an excluded schema'
      WHEN NOT partly AND f.rel IN (SELECT oid FROM named_relation) THEN 'of an excluded table'
      WHEN f.rel IN (SELECT objid FROM extension_relation)
        OR (f.classid, f.objid) IN (SELECT classid, objid FROM member) THEN 'of an extension'
      WHEN f.owner NOT IN (SELECT oid FROM ours)
        THEN format('belongs to the role %s', pg_catalog.pg_get_userbyid(f.owner))
      WHEN f.superuser AND NOT super THEN 'only a superuser could create it again'
    END
  FROM selection, found f
  WHERE f.nsp IN (SELECT oid FROM user_schema)
  UNION ALL
  SELECT w.classid, w.objid, NULL, NULL, w.owner,
    CASE
      WHEN partly THEN 'not among the chosen tables'
      WHEN (w.classid, w.objid) IN (SELECT classid, objid FROM member) THEN 'of an extension'
      WHEN w.owner NOT IN (SELECT oid FROM ours)
        THEN format('belongs to the role %s', pg_catalog.pg_get_userbyid(w.owner))
      WHEN w.superuser AND NOT super THEN 'only a superuser could create it again'
      WHEN (w.classid, w.objid) IN (SELECT classid, objid FROM closed)
        THEN 'this user may not use its foreign-data wrapper'
      WHEN w.classid = 'pg_catalog.pg_publication'::regclass AND NOT creates THEN 'this user may create none in this database'
      WHEN (w.classid, w.objid) IN (SELECT classid, objid FROM hidden) THEN 'its options are hidden from this user'
    END
  FROM selection, database_wide w
  WHERE w.objid >= 16384
  UNION ALL
  SELECT 'pg_catalog.pg_subscription'::regclass::oid, oid, NULL, NULL, subowner, 'subscriptions stay as they are'
  FROM pg_catalog.pg_subscription
  WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
), free_sequence AS (  -- no column's own
  SELECT c.oid FROM pg_catalog.pg_class c
  WHERE c.relkind = 'S' AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
      AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i'))
), needed (classid, objid, by_class, by_object) AS (
  -- what a staying object needs stays with it, unless it is a relation: that is what a restore is for
  SELECT g.classid, g.objid, s.classid, s.objid
  FROM judged s JOIN pg_catalog.pg_depend d ON d.classid = s.classid AND d.objid = s.objid
    JOIN judged g ON g.classid = d.refclassid AND g.objid = d.refobjid
  WHERE s.stays IS NOT NULL AND g.stays IS NULL AND (
    g.rel IS NULL
    -- a sequence that counts for a table that stays: the dump's value could be given again
    OR g.objid IN (SELECT oid FROM free_sequence) AND s.classid = 'pg_catalog.pg_attrdef'::regclass)
  UNION
  SELECT g.classid, g.objid, n.by_class, n.by_object
  FROM needed n, LATERAL (
      SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_depend d WHERE d.classid = n.classid AND d.objid = n.objid
      UNION ALL  -- its array, its multirange, the constraints of a domain
      SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
      WHERE d.refclassid = n.classid AND d.refobjid = n.objid AND (d.deptype = 'i'
        OR (d.deptype = 'a' AND d.classid IN ('pg_catalog.pg_constraint'::regclass, 'pg_catalog.pg_type'::regclass)))
    ) step (classid, objid)
    JOIN judged g ON g.classid = step.classid AND g.objid = step.objid
  WHERE g.stays IS NULL AND g.rel IS NULL
), object (classid, objid, nsp, rel, stays) AS (
  SELECT j.classid, j.objid, j.nsp, j.rel, coalesce(j.stays, n.because)
  FROM judged j LEFT JOIN (
    SELECT classid, objid,
      format('%s needs it', min(pg_catalog.pg_describe_object(by_class, by_object, 0))) AS because
    FROM needed GROUP BY classid, objid
  ) n ON n.classid = j.classid AND n.objid = j.objid
), schema (oid, name, stays) AS (
  SELECT s.oid, s.name, CASE
      WHEN partly THEN 'not among the chosen tables'
      WHEN s.oid IN (SELECT oid FROM named_schema) THEN 'an excluded schema'
      WHEN ('pg_catalog.pg_namespace'::regclass::oid, s.oid) IN (SELECT classid, objid FROM member) THEN 'of an extension'
      WHEN s.owner NOT IN (SELECT oid FROM ours)
        THEN format('belongs to the role %s', pg_catalog.pg_get_userbyid(s.owner))
      WHEN s.name = 'public' OR s.oid IN (SELECT extnamespace FROM pg_catalog.pg_extension)
        OR s.oid IN (SELECT nsp FROM object WHERE stays IS NOT NULL AND nsp IS NOT NULL) THEN 'holds what stays'
      WHEN s.oid IN (SELECT defaclnamespace FROM pg_catalog.pg_default_acl WHERE defaclrole NOT IN (SELECT oid FROM ours))
        THEN 'holds default privileges of others'
      WHEN NOT creates THEN 'this user may create none in this database'
      WHEN s.oid IN (
        SELECT n.pnnspid FROM pg_catalog.pg_publication_namespace n JOIN object p
          ON p.classid = 'pg_catalog.pg_publication'::regclass AND p.objid = n.pnpubid AND p.stays IS NOT NULL
      ) THEN 'published by a publication that stays'
    END
  FROM selection, user_schema s
), undumped_view AS (
  SELECT c.oid
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, selection
  WHERE c.relkind IN ('v', 'm') AND c.relowner IN (SELECT oid FROM ours) AND (
    n.nspname IN (SELECT jsonb_array_elements_text(coalesce(chosen #> '{undumped,schemas}', '[]')))
    OR (n.nspname, c.relname) IN (
      SELECT pair ->> 0, pair ->> 1
      FROM jsonb_array_elements(coalesce(chosen #> '{undumped,relations}', '[]')) AS r (pair)))
), rebuilt (oid) AS (
  SELECT u.oid FROM undumped_view u
  WHERE EXISTS (
    SELECT FROM pg_catalog.pg_rewrite r
      JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
      JOIN object g ON g.classid = d.refclassid AND g.objid = d.refobjid AND g.stays IS NULL
    WHERE r.ev_class = u.oid)
  UNION
  SELECT u.oid
  FROM rebuilt b JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = b.oid
      AND d.classid = 'pg_catalog.pg_rewrite'::regclass
    JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
    JOIN undumped_view u ON u.oid = r.ev_class
), tied (classid, objid) AS (
  SELECT o.classid, o.objid
  FROM object o JOIN pg_catalog.pg_class c ON c.oid = o.rel AND c.relowner IN (SELECT oid FROM ours)
    LEFT JOIN pg_catalog.pg_rewrite w ON o.classid = 'pg_catalog.pg_rewrite'::regclass AND w.oid = o.objid
  WHERE o.stays IS NOT NULL AND o.rel NOT IN (SELECT oid FROM rebuilt)
    AND (o.classid = 'pg_catalog.pg_policy'::regclass OR w.rulename <> '_RETURN')
    AND EXISTS (
      SELECT FROM pg_catalog.pg_depend d
        JOIN object g ON g.classid = d.refclassid AND g.objid = d.refobjid
          AND (g.stays IS NULL OR g.rel IN (SELECT oid FROM rebuilt))
      WHERE d.classid = o.classid AND d.objid = o.objid)
  UNION ALL
  SELECT o.classid, o.objid
  FROM object o JOIN pg_catalog.pg_statistic_ext s ON s.oid = o.objid AND s.stxowner IN (SELECT oid FROM ours)
    JOIN object t ON t.classid = 'pg_catalog.pg_class'::regclass AND t.objid = s.stxrelid AND t.stays IS NULL
  WHERE o.classid = 'pg_catalog.pg_statistic_ext'::regclass AND o.stays IS NOT NULL
  UNION ALL
  -- of a partition, a child, or a copy (LIKE ... INCLUDING DEFAULTS)
  SELECT o.classid, o.objid
  FROM object o JOIN pg_catalog.pg_class c ON c.oid = o.rel AND c.relowner IN (SELECT oid FROM ours)
    JOIN pg_catalog.pg_attrdef f ON o.classid = 'pg_catalog.pg_attrdef'::regclass AND f.oid = o.objid
    JOIN pg_catalog.pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum AND a.attgenerated = ''
  WHERE o.stays IS NOT NULL AND o.rel NOT IN (SELECT oid FROM rebuilt)
    AND EXISTS (
      SELECT FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_class s ON d.refclassid = 'pg_catalog.pg_class'::regclass AND s.oid = d.refobjid AND s.relkind = 'S'
        JOIN object g ON g.classid = d.refclassid AND g.objid = d.refobjid AND g.stays IS NULL
      WHERE d.classid = o.classid AND d.objid = o.objid)
)
