-- Every table and materialised view that holds rows of its own: schema, name.
SELECT n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'glacier_catalog')
ORDER BY 1, 2
