-- name: ensure_application
-- The id of an application, made on first use.
INSERT INTO applications (name) VALUES (%(name)s)
ON CONFLICT (name) DO UPDATE SET name = excluded.name
RETURNING id;

-- name: find_application
SELECT id FROM applications WHERE name = %(name)s;

-- name: take_lease
-- Free, ended, or already ours: taken. Held by another: no row. A lease is prolonged with the token that it was taken with:
-- once another one had it, no row.
WITH taken AS (
    UPDATE applications
       SET lease_holder = %(holder)s, lease_until = clock_timestamp() + make_interval(secs => %(seconds)s),
           lease_taken_at = CASE WHEN lease_holder = %(holder)s THEN lease_taken_at ELSE clock_timestamp() END,
           lease_prolonged_at = clock_timestamp()
     WHERE id = %(application_id)s
       AND (lease_holder IS NULL OR lease_holder = %(holder)s OR lease_until < clock_timestamp())
       AND (%(token)s::bigint IS NULL
            OR EXISTS (SELECT FROM fences WHERE application_id = %(application_id)s AND token = %(token)s))
    RETURNING id),
passed AS (
    INSERT INTO fences AS f (application_id, token, holder)
    SELECT id, 1, %(holder)s FROM taken
     WHERE NOT EXISTS (SELECT FROM fences WHERE application_id = %(application_id)s AND holder = %(holder)s)
    ON CONFLICT (application_id) DO UPDATE SET token = f.token + 1, holder = excluded.holder
    RETURNING token)
SELECT coalesce((SELECT token FROM passed), (SELECT token FROM fences WHERE application_id = %(application_id)s)) AS token
  FROM taken;

-- name: lease
-- The lease as it is, held or not, and who had it last.
SELECT a.lease_holder AS holder, a.lease_until AS until, a.lease_taken_at AS since, a.lease_prolonged_at AS prolonged,
       coalesce(a.lease_until >= clock_timestamp(), false) AS held, f.token, f.holder AS last_holder,
       extract(epoch FROM clock_timestamp() - a.lease_prolonged_at)::float8 AS quiet_seconds
  FROM applications a LEFT JOIN fences f ON f.application_id = a.id
 WHERE a.id = %(application_id)s;

-- name: run_of_backup
SELECT dag_id, dag_run_id FROM application_data_backups WHERE id = %(number)s;

-- name: run_of_restore
SELECT dag_id, dag_run_id FROM restores WHERE id = %(number)s;

-- name: run_of_undo
SELECT outcome -> 'undoing' ->> 'dag_id' AS dag_id, outcome -> 'undoing' ->> 'dag_run_id' AS dag_run_id
  FROM restores WHERE id = %(number)s;

-- name: run_of_deletion
SELECT report -> 'deleted_by' ->> 'dag_id' AS dag_id, report -> 'deleted_by' ->> 'dag_run_id' AS dag_run_id
  FROM application_data_backups WHERE id = %(number)s;

-- name: unfinished_runs
-- Runs by which something is under way, by the catalog.
SELECT dag_id, dag_run_id FROM application_data_backups
 WHERE application_id = %(application_id)s AND state = 'running'
UNION
SELECT dag_id, dag_run_id FROM restores
 WHERE application_id = %(application_id)s AND state IN ('planned', 'running');

-- name: end_backups_of_run
-- What a task told of its failure says more.
UPDATE application_data_backups
   SET state = 'failed', closed_at = clock_timestamp(), error = coalesce(error, %(error)s)
 WHERE application_id = %(application_id)s AND dag_id = %(dag_id)s AND dag_run_id = %(dag_run_id)s AND state = 'running'
RETURNING 'backup ' || id AS holder;

-- name: end_restores_of_run
UPDATE restores SET state = 'failed', closed_at = clock_timestamp(), error = coalesce(error, %(error)s)
 WHERE application_id = %(application_id)s AND dag_id = %(dag_id)s AND dag_run_id = %(dag_run_id)s
   AND state IN ('planned', 'running')
RETURNING 'restore ' || id AS holder;

-- name: end_proofs_of_run
-- Its jobs are gone on with by the next one.
UPDATE proofs SET state = 'failed', ended_at = clock_timestamp(), error = %(error)s
 WHERE application_id = %(application_id)s AND dag_id = %(dag_id)s AND dag_run_id = %(dag_run_id)s AND state = 'running'
RETURNING kind || ' ' || id AS holder;

-- name: end_stale_transactions
-- The lease is free: what its former holders have open is ended, or it would be waited for as long as they sleep.
SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
   AND starts_with(application_name, %(name)s);

-- name: end_transactions_of_run
-- Airflow says that the run is over: what a process of it that sleeps has open is ended, or it would be waited for. One is
-- found by its token, or, while it is taking that, by its number.
WITH whose AS (
    SELECT lease_token::text AS token, 'backup ' || id AS holder FROM application_data_backups
     WHERE application_id = %(application_id)s AND dag_id = %(dag_id)s AND dag_run_id = %(dag_run_id)s
    UNION ALL
    SELECT last_lease_token::text, 'restore ' || id FROM restores
     WHERE application_id = %(application_id)s AND dag_id = %(dag_id)s AND dag_run_id = %(dag_run_id)s
    UNION ALL
    SELECT last_lease_token::text, 'undo ' || id FROM restores
     WHERE application_id = %(application_id)s AND outcome -> 'undoing' ->> 'dag_id' = %(dag_id)s
       AND outcome -> 'undoing' ->> 'dag_run_id' = %(dag_run_id)s),
sessions AS (
    SELECT pid, substr(application_name, length(%(names)s) + 1) AS who FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
       AND starts_with(application_name, %(names)s))
SELECT pg_terminate_backend(s.pid) AS ended FROM sessions s JOIN whose w
    ON split_part(s.who, ' ', 1) = w.token OR s.who = w.holder OR s.who ~ ('^[0-9]+ ' || w.holder || '$');

-- name: wait_for_a_lock
SELECT set_config('lock_timeout', %(patience)s, true);

-- name: free_lease
UPDATE applications SET lease_holder = NULL, lease_until = NULL, lease_taken_at = NULL, lease_prolonged_at = NULL
 WHERE id = %(application_id)s AND lease_holder = %(holder)s;

-- name: backup_of_run
SELECT id, state FROM application_data_backups
 WHERE application_id = %(application_id)s AND dag_id = %(dag_id)s AND dag_run_id = %(dag_run_id)s;

-- name: insert_backup
-- No row when another process opened the backup of this run in the same moment.
INSERT INTO application_data_backups (application_id, dag_id, dag_run_id, mark)
VALUES (%(application_id)s, %(dag_id)s, %(dag_run_id)s, %(mark)s)
ON CONFLICT (application_id, dag_id, dag_run_id) DO NOTHING
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

-- name: lock_backup
SELECT id FROM application_data_backups WHERE id = %(backup_id)s FOR UPDATE;

-- name: continue_backup
-- Not once a later backup or a deletion began: what it counted on must not change behind it. One that failed runs again
-- with the step that failed, or with the first or last one (no step is named); any other step works on it as it is.
-- Nor once a restore put another state into the database or the directory: the dump and the scan would be of two.
UPDATE application_data_backups b
   SET lease_token = coalesce(b.lease_token, %(token)s),
       state = CASE WHEN undone THEN 'running' ELSE b.state END,
       closed_at = CASE WHEN undone THEN NULL ELSE b.closed_at END,
       failed_step = CASE WHEN undone THEN NULL ELSE b.failed_step END
  FROM (SELECT f.id, f.state = 'running' OR %(step)s::text IS NULL OR f.failed_step IS NOT DISTINCT FROM %(step)s AS undone
          FROM application_data_backups f WHERE f.id = %(backup_id)s FOR UPDATE) AS found
 WHERE b.id = found.id AND b.state IN ('running', 'failed')
   AND NOT EXISTS (SELECT FROM application_data_backups later
                    WHERE later.application_id = b.application_id
                      AND (later.id > b.id OR later.deletion_began_at > b.opened_at))
   AND NOT EXISTS (SELECT FROM restores r
                    WHERE r.application_id = b.application_id AND r.last_lease_token > b.lease_token)
RETURNING b.state;

-- name: restored_since
-- Restores that changed something since a backup was opened.
SELECT r.id FROM restores r JOIN application_data_backups b ON b.application_id = r.application_id
 WHERE b.id = %(backup_id)s AND r.last_lease_token > b.lease_token ORDER BY r.id;

-- name: backup_to_scan
-- The newest backup, still open: what a scan writes is of no other one.
SELECT b.id FROM application_data_backups b
 WHERE b.id = %(backup_id)s AND b.application_id = %(application_id)s AND b.state IN ('running', 'failed')
   AND NOT EXISTS (SELECT FROM application_data_backups later
                    WHERE later.application_id = b.application_id AND later.id > b.id)
   FOR SHARE;

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
   AND NOT EXISTS (
       SELECT FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
        WHERE a.application_id = b.application_id AND a.state = 'lost'
          AND f.first_backup_id <= b.id AND (f.last_backup_id IS NULL OR f.last_backup_id >= b.id))
RETURNING b.id;

-- name: unarchived_members
-- What still keeps a backup from being complete.
SELECT a.filename, a.state, coalesce(a.error, a.lost_how) AS error
  FROM (SELECT * FROM glacier_archives WHERE application_id = %(application_id)s AND state IN ('planned', 'uploading')
        UNION ALL
        SELECT * FROM glacier_archives WHERE application_id = %(application_id)s AND state = 'lost') AS a
  JOIN backup_files f ON f.archive_id = a.id
 WHERE f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s)
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

-- name: add_seconds
UPDATE application_data_backups
   SET report = report || jsonb_build_object('task_seconds', coalesce(report->'task_seconds', '{}') || jsonb_build_object(
           %(task)s::text, round((coalesce((report->'task_seconds'->>%(task)s::text)::numeric, 0) + %(seconds)s::numeric), 3)))
 WHERE id = %(backup_id)s
RETURNING id;

-- name: forget_fingerprint
DELETE FROM fingerprints WHERE backup_id = %(backup_id)s;

-- name: note_fingerprint
INSERT INTO fingerprints (backup_id, fingerprint) VALUES (%(backup_id)s, %(fingerprint)s)
ON CONFLICT (backup_id) DO UPDATE SET fingerprint = excluded.fingerprint;

-- name: fingerprint
SELECT fingerprint FROM fingerprints WHERE backup_id = %(backup_id)s;

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

-- name: uploaded_parts
-- How many of them were sent in several parts, and in how many together. A checksum of parts tells their size; a vault's
-- archives all come in parts, that are larger where there would be more than 10,000.
SELECT coalesce(sum(ceil(stored_size / part_size)), 0)::bigint AS parts, count(*) AS archives
  FROM (SELECT stored_size, checksum LIKE 'sha256-parts:%%' AS told,
               CASE WHEN checksum LIKE 'sha256-parts:%%' THEN split_part(checksum, ':', 2)::numeric
                    ELSE %(part_size)s::numeric
                         * 2 ^ greatest(0, ceil(log(2, greatest(stored_size, 1) / (%(part_size)s::numeric * 10000)))) END AS part_size
          FROM glacier_archives
         WHERE application_id = %(application_id)s AND archived_at >= %(since)s AND state = 'archived' AND kind <> 'manifest'
           AND (checksum LIKE 'sha256-parts:%%' OR checksum LIKE 'treehash:%%')) AS sent
 WHERE told OR stored_size > part_size;

-- name: newest_complete
SELECT id FROM application_data_backups
 WHERE application_id = %(application_id)s AND state = 'complete' AND id < %(before)s
 ORDER BY id DESC LIMIT 1;

-- name: recent_complete_backups
-- The valid ids around a wrong one.
SELECT b.id, b.opened_at FROM application_data_backups b
 WHERE b.application_id = %(application_id)s AND b.state = 'complete'
 ORDER BY abs(b.id - %(near)s), b.id DESC LIMIT 8;
