-- name: mark_of_backup
SELECT b.mark FROM application_data_backups b WHERE b.id = %(backup_id)s;

-- name: may_ask_for_system
SELECT coalesce(has_function_privilege(to_regprocedure('pg_catalog.pg_control_system()'), 'EXECUTE'), false) AS may;

-- name: place_in_system
-- Where the catalog lies: no copy by pg_dump, in another server or here, has all three.
SELECT s.system_identifier AS system, d.oid AS database, n.oid AS schema
  FROM pg_catalog.pg_control_system() AS s, pg_catalog.pg_database d, pg_catalog.pg_namespace n
 WHERE d.datname = current_database() AND n.nspname = current_schema();

-- name: place_in_server
-- As much of it as one is told without the right to ask for more.
SELECT 'unknown' AS system, d.oid AS database, n.oid AS schema FROM pg_catalog.pg_database d, pg_catalog.pg_namespace n
 WHERE d.datname = current_database() AND n.nspname = current_schema();
