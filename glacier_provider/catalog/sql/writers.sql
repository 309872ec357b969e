-- name: mark_of_backup
SELECT b.mark FROM application_data_backups b WHERE b.id = %(backup_id)s;

-- name: last_ids
-- The last ids that were given, of archives and of backups; of all applications.
SELECT (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM glacier_archives_id_seq) AS archive_id,
       (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM application_data_backups_id_seq) AS backup_id;

-- name: skip_archive_ids
SELECT setval(pg_get_serial_sequence('glacier_archives', 'id'), %(archive_id)s)
 WHERE (SELECT last_value FROM glacier_archives_id_seq) < %(archive_id)s;

-- name: skip_backup_ids
SELECT setval(pg_get_serial_sequence('application_data_backups', 'id'), %(backup_id)s)
 WHERE (SELECT last_value FROM application_data_backups_id_seq) < %(backup_id)s;

-- name: skip_restore_ids
SELECT setval(pg_get_serial_sequence('restores', 'id'), %(restore_id)s)
 WHERE (SELECT last_value FROM restores_id_seq) < %(restore_id)s;

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
