-- name: ensure_application
-- The id of an application, made on first use.
INSERT INTO applications (name) VALUES (%(name)s)
ON CONFLICT (name) DO UPDATE SET name = excluded.name
RETURNING id;

-- name: find_application
SELECT id FROM applications WHERE name = %(name)s;

-- name: take_lease
-- Free, ended, or already ours: taken. Held by another: no row.
UPDATE applications
   SET lease_holder = %(holder)s, lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
 WHERE id = %(application_id)s
   AND (lease_holder IS NULL OR lease_holder = %(holder)s OR lease_until < clock_timestamp())
RETURNING id;

-- name: lease
SELECT lease_holder AS holder, lease_until AS until FROM applications
 WHERE id = %(application_id)s AND lease_until >= clock_timestamp();

-- name: free_lease
UPDATE applications SET lease_holder = NULL, lease_until = NULL
 WHERE id = %(application_id)s AND lease_holder = %(holder)s;

-- name: backup_of_run
SELECT id, state FROM application_data_backups
 WHERE application_id = %(application_id)s AND dag_id = %(dag_id)s AND dag_run_id = %(dag_run_id)s;

-- name: insert_backup
INSERT INTO application_data_backups (application_id, dag_id, dag_run_id, mark)
VALUES (%(application_id)s, %(dag_id)s, %(dag_run_id)s, %(mark)s)
RETURNING id;

-- name: fail_dead_backups
-- Backups of other runs that never ended: with the lease in our hands, nobody works on them any more.
UPDATE application_data_backups
   SET state = 'failed', closed_at = clock_timestamp(),
       error = coalesce(error, 'Its run ended without finishing; a later backup took over what was archived.')
 WHERE application_id = %(application_id)s AND state = 'running' AND id <> %(backup_id)s
RETURNING id;

-- name: ended_backups
SELECT id FROM application_data_backups
 WHERE application_id = %(application_id)s AND id = ANY(%(backup_ids)s) AND state <> 'running';

-- name: continue_backup
-- Not once a later backup or a deletion began: what it counted on must not change behind it. One that failed runs again
-- with the step that failed, or with the first or last one (no step is named); any other step works on it as it is.
UPDATE application_data_backups b
   SET state = CASE WHEN undone THEN 'running' ELSE b.state END,
       closed_at = CASE WHEN undone THEN NULL ELSE b.closed_at END,
       failed_step = CASE WHEN undone THEN NULL ELSE b.failed_step END
  FROM (SELECT f.id, f.state = 'running' OR %(step)s::text IS NULL OR f.failed_step IS NOT DISTINCT FROM %(step)s AS undone
          FROM application_data_backups f WHERE f.id = %(backup_id)s FOR UPDATE) AS found
 WHERE b.id = found.id AND b.state IN ('running', 'failed')
   AND NOT EXISTS (SELECT FROM application_data_backups later
                    WHERE later.application_id = b.application_id
                      AND (later.id > b.id OR later.deletion_began_at > b.opened_at))
RETURNING b.state;

-- name: fail_backup
UPDATE application_data_backups SET state = 'failed', closed_at = clock_timestamp(), error = %(error)s,
       failed_step = %(step)s
 WHERE id = %(backup_id)s AND state IN ('running', 'failed')
RETURNING id;

-- name: complete_backup
-- Promise 1, checked once more by the database itself: the dump, the manifest and every file are archived.
UPDATE application_data_backups AS b SET state = 'complete', closed_at = clock_timestamp(), error = NULL,
       manifest_archive_id = %(manifest_archive_id)s, previous_backup_id = %(previous_backup_id)s,
       report = b.report || coalesce((
           SELECT jsonb_build_object('maybe_twice_count', count(*)) FROM glacier_archives a
            WHERE a.application_id = b.application_id AND a.backup_id = b.id AND a.doubtful_since IS NOT NULL
           HAVING count(*) > 0), '{}')
 WHERE b.id = %(backup_id)s AND b.state = 'running' AND b.scanned_at IS NOT NULL
   AND EXISTS (SELECT FROM glacier_archives a WHERE a.id = b.database_archive_id AND a.state = 'archived')
   AND EXISTS (SELECT FROM glacier_archives a WHERE a.id = %(manifest_archive_id)s AND a.state = 'archived')
   AND NOT EXISTS (
       SELECT FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
        WHERE a.application_id = b.application_id AND a.state IN ('planned', 'uploading')
          AND f.first_backup_id <= b.id AND (f.last_backup_id IS NULL OR f.last_backup_id >= b.id))
RETURNING b.id;

-- name: unarchived_members
-- What still keeps a backup from being complete.
SELECT a.filename, a.state, a.error
  FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
 WHERE a.application_id = %(application_id)s AND a.state IN ('planned', 'uploading')
   AND f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s)
 ORDER BY a.filename LIMIT 20;

-- name: record_dump
UPDATE application_data_backups
   SET snapshot_at = %(snapshot_at)s, server_version = %(server_version)s, client_version = %(client_version)s,
       dump_format = %(dump_format)s, database_archive_id = %(archive_id)s
 WHERE id = %(backup_id)s AND state IN ('running', 'failed')
RETURNING id;

-- name: add_to_report
UPDATE application_data_backups SET report = report || %(report)s
 WHERE id = %(backup_id)s
RETURNING id;

-- name: backup
SELECT b.*, p.name AS application,
       d.stored_size AS database_bytes, d.filename AS database_filename,
       CASE WHEN b.state = 'complete' THEN d.retrieval_status END AS database_status
  FROM application_data_backups b
  JOIN applications p ON p.id = b.application_id
  LEFT JOIN glacier_archives d ON d.id = b.database_archive_id
 WHERE b.id = %(backup_id)s;

-- name: uploaded_figures
-- What this backup itself brought into the store.
SELECT count(*) FILTER (WHERE kind = 'file') AS files,
       coalesce(sum(stored_size) FILTER (WHERE kind = 'file'), 0)::bigint AS file_bytes,
       coalesce(sum(stored_size), 0)::bigint AS bytes
  FROM glacier_archives
 WHERE application_id = %(application_id)s AND archived_at >= %(since)s AND state = 'archived';

-- name: newest_complete
SELECT id FROM application_data_backups
 WHERE application_id = %(application_id)s AND state = 'complete' AND id < %(before)s
 ORDER BY id DESC LIMIT 1;

-- name: recent_complete_backups
-- The valid ids around a wrong one.
SELECT b.id, b.opened_at FROM application_data_backups b
 WHERE b.application_id = %(application_id)s AND b.state = 'complete'
 ORDER BY abs(b.id - %(near)s), b.id DESC LIMIT 8;
