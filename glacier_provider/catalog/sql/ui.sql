-- name: newest_of_each
-- The newest backup in one of these states, of each application.
SELECT p.name AS application, b.id, b.state, b.dag_id, b.dag_run_id, b.opened_at, b.closed_at, b.scanned_at,
       b.files_count, b.files_bytes, b.new_files_count, b.new_files_bytes, b.error, d.stored_size AS database_bytes
  FROM applications p
 CROSS JOIN LATERAL (SELECT * FROM application_data_backups n
                      WHERE n.application_id = p.id AND n.state = ANY(%(states)s) ORDER BY n.id DESC LIMIT 1) AS b
  LEFT JOIN glacier_archives d ON d.id = b.database_archive_id
 WHERE p.name = ANY(%(names)s);

-- name: newest_restores
SELECT p.name AS application, r.id, r.state, r.backup_id, r.dag_id, r.dag_run_id, r.opened_at, r.closed_at, r.error
  FROM applications p
 CROSS JOIN LATERAL (SELECT * FROM restores n WHERE n.application_id = p.id ORDER BY n.id DESC LIMIT 1) AS r
 WHERE p.name = ANY(%(names)s);

-- name: backup_days
-- Of each application and day with a backup, in the application's own time zone: the best that became of it.
SELECT p.name AS application, (b.opened_at AT TIME ZONE w.timezone)::date AS day,
       CASE WHEN bool_or(b.state = 'complete') THEN 'complete'
            WHEN bool_or(b.state = 'running') THEN 'running' ELSE 'failed' END AS state
  FROM unnest(%(names)s::text[], %(timezones)s::text[]) AS w (name, timezone)
  JOIN applications p ON p.name = w.name
  JOIN application_data_backups b ON b.application_id = p.id
 WHERE b.opened_at >= %(since)s
 GROUP BY p.name, day ORDER BY p.name, day;

-- name: growth
-- What was protected at the end of each week: the week's newest complete backup of each application.
SELECT g.application, g.opened_at, g.files_count, g.files_bytes + coalesce(d.stored_size, 0) AS bytes
  FROM (SELECT DISTINCT ON (p.name, date_trunc('week', b.opened_at))
               p.name AS application, b.id, b.opened_at, b.files_count, coalesce(b.files_bytes, 0) AS files_bytes,
               b.database_archive_id
          FROM applications p JOIN application_data_backups b ON b.application_id = p.id
         WHERE p.name = ANY(%(names)s) AND b.state = 'complete' AND b.opened_at >= %(since)s
         ORDER BY p.name, date_trunc('week', b.opened_at), b.id DESC) AS g
  LEFT JOIN glacier_archives d ON d.id = g.database_archive_id
 ORDER BY g.application, g.opened_at;

-- name: first_backups
SELECT p.name AS application, b.opened_at FROM applications p
 CROSS JOIN LATERAL (SELECT opened_at FROM application_data_backups f
                      WHERE f.application_id = p.id ORDER BY f.id LIMIT 1) AS b
 WHERE p.name = ANY(%(names)s);

-- name: page_of_backups
-- The newest (or oldest) first. The reports stay behind: they can be long.
SELECT b.id, b.state, b.dag_id, b.dag_run_id, b.opened_at, b.closed_at, b.files_count, b.files_bytes,
       b.new_files_count, b.new_files_bytes, b.vanished_count, b.returned_count, b.error,
       d.stored_size AS database_bytes
  FROM application_data_backups b
  JOIN applications p ON p.id = b.application_id
  LEFT JOIN glacier_archives d ON d.id = b.database_archive_id
 WHERE p.name = %(application)s
   AND (%(states)s::text[] IS NULL OR b.state = ANY(%(states)s))
   AND (%(since)s::timestamptz IS NULL OR b.opened_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR b.opened_at < %(until)s)
 ORDER BY CASE WHEN %(descending)s THEN b.id END DESC, CASE WHEN NOT %(descending)s THEN b.id END
 LIMIT %(limit)s OFFSET %(offset)s;

-- name: sorted_page_of_backups
-- The same, by a figure; backups that do not have it come last. Dumps are looked up one by one, and only where needed.
SELECT b.id, b.state, b.dag_id, b.dag_run_id, b.opened_at, b.closed_at, b.files_count, b.files_bytes,
       b.new_files_count, b.new_files_bytes, b.vanished_count, b.returned_count, b.error,
       (SELECT d.stored_size FROM glacier_archives d WHERE d.id = b.database_archive_id) AS database_bytes
  FROM (SELECT b.*,
               CASE %(sort)s
               WHEN 'files' THEN b.files_count::float8
               WHEN 'new_files' THEN b.new_files_count::float8
               WHEN 'uploaded' THEN b.new_files_bytes::float8 + coalesce(
                   (SELECT d.stored_size FROM glacier_archives d WHERE d.id = b.database_archive_id), 0)
               WHEN 'database' THEN
                   (SELECT d.stored_size::float8 FROM glacier_archives d WHERE d.id = b.database_archive_id)
               WHEN 'duration' THEN extract(epoch FROM b.closed_at - b.opened_at)::float8 END
               * CASE WHEN %(descending)s THEN -1 ELSE 1 END AS figure
          FROM application_data_backups b
          JOIN applications p ON p.id = b.application_id
         WHERE p.name = %(application)s
           AND (%(states)s::text[] IS NULL OR b.state = ANY(%(states)s))
           AND (%(since)s::timestamptz IS NULL OR b.opened_at >= %(since)s)
           AND (%(until)s::timestamptz IS NULL OR b.opened_at < %(until)s)
         ORDER BY figure NULLS LAST, b.id DESC LIMIT %(limit)s OFFSET %(offset)s) AS b
 ORDER BY figure NULLS LAST, b.id DESC;

-- name: count_backups
SELECT count(*) AS total
  FROM application_data_backups b JOIN applications p ON p.id = b.application_id
 WHERE p.name = %(application)s
   AND (%(states)s::text[] IS NULL OR b.state = ANY(%(states)s))
   AND (%(since)s::timestamptz IS NULL OR b.opened_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR b.opened_at < %(until)s);

-- name: away_files
-- Of each of these backups (ascending ids), its archived files that are not in their directory: by status and store.
-- One look at those files for all backups: each range of backup ids becomes a range of positions in the given list.
WITH away AS (
    SELECT width_bucket(f.first_backup_id - 1, %(ids)s::bigint[]) + 1 AS low,
           CASE WHEN f.last_backup_id IS NULL THEN cardinality(%(ids)s::bigint[])
                ELSE width_bucket(f.last_backup_id, %(ids)s::bigint[]) END AS high,
           a.retrieval_status AS status, a.store_uri, count(*) AS archives, sum(a.stored_size)::bigint AS bytes
      FROM glacier_archives a
      JOIN applications p ON p.id = a.application_id
     CROSS JOIN LATERAL (SELECT r.first_backup_id, r.last_backup_id FROM backup_files r
                          WHERE r.archive_id = a.id OFFSET 0) AS f  -- looked up one by one: they are few
     WHERE p.name = %(application)s AND a.kind = 'file' AND a.state = 'archived' AND a.retrieval_status <> 'exists'
     GROUP BY 1, 2, 3, 4)
SELECT (%(ids)s::bigint[])[place] AS id, status, store_uri, sum(archives)::bigint AS archives, sum(bytes)::bigint AS bytes
  FROM away, generate_series(low, high) AS place
 GROUP BY 1, 2, 3;

-- name: dumps_of
SELECT b.id, d.retrieval_status AS status, d.store_uri, d.stored_size AS bytes
  FROM application_data_backups b JOIN glacier_archives d ON d.id = b.database_archive_id
 WHERE b.id = ANY(%(ids)s) AND d.state = 'archived';

-- name: backup_of_application
SELECT b.* FROM application_data_backups b JOIN applications p ON p.id = b.application_id
 WHERE b.id = %(backup_id)s AND p.name = %(application)s;

-- name: neighbours
SELECT (SELECT o.id FROM application_data_backups o
         WHERE o.application_id = b.application_id AND o.id < b.id AND o.state = 'complete'
         ORDER BY o.id DESC LIMIT 1) AS previous_complete,
       (SELECT o.id FROM application_data_backups o
         WHERE o.application_id = b.application_id AND o.id < b.id ORDER BY o.id DESC LIMIT 1) AS previous,
       (SELECT o.id FROM application_data_backups o
         WHERE o.application_id = b.application_id AND o.id > b.id ORDER BY o.id LIMIT 1) AS next,
       (SELECT o.scanned_at FROM application_data_backups o
         WHERE o.application_id = b.application_id AND o.scanned_at IS NOT NULL ORDER BY o.id DESC LIMIT 1) AS last_scan
  FROM application_data_backups b WHERE b.id = %(backup_id)s;

-- name: own_archives
-- The dump and the manifest of a backup.
SELECT a.id, a.kind, a.filename, a.original_size, a.stored_size, a.sha256, a.tree_hash, a.checksum, a.encoding,
       a.store_uri, a.key, a.state, a.retrieval_status, a.archived_at, a.error
  FROM glacier_archives a
 WHERE a.backup_id = %(backup_id)s AND a.kind <> 'file' AND a.state IN ('planned', 'uploading', 'archived')
 ORDER BY a.kind;

-- name: page_of_files
-- A page of the files of one backup, in id order.
SELECT a.id, a.filename, a.original_size, a.stored_size, a.sha256, a.checksum, a.store_uri, a.key, a.state,
       a.retrieval_status, a.archived_at, a.backup_id AS made_by_backup, f.first_backup_id, f.last_backup_id
  FROM backup_files f
  JOIN glacier_archives a ON a.id = f.archive_id
  JOIN applications p ON p.id = f.application_id
 WHERE p.name = %(application)s AND f.archive_id > %(after)s
   AND f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s)
   AND a.state IN ('planned', 'uploading', 'archived')
   AND (%(like)s::text IS NULL OR a.filename COLLATE "C" ILIKE %(like)s)
   AND (%(status)s::text IS NULL OR a.retrieval_status = %(status)s)
 ORDER BY f.archive_id LIMIT %(limit)s;

-- name: files_that_came
-- A page of what this backup contains and the previous complete one (0: none) did not.
SELECT a.id, a.filename, a.original_size, a.state, a.backup_id AS made_by_backup, a.backup_id < f.first_backup_id AS returned
  FROM backup_files f
  JOIN glacier_archives a ON a.id = f.archive_id
  JOIN applications p ON p.id = f.application_id
 WHERE p.name = %(application)s AND f.first_backup_id > %(previous)s AND f.first_backup_id <= %(backup_id)s
   AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s) AND a.id > %(after)s
   AND NOT EXISTS (SELECT FROM backup_files o WHERE o.archive_id = f.archive_id AND o.first_backup_id <= %(previous)s
                      AND (o.last_backup_id IS NULL OR o.last_backup_id >= %(previous)s))
 ORDER BY a.id LIMIT %(limit)s;

-- name: files_that_went
-- A page of what the previous complete backup contains and this one does not.
SELECT a.id, a.filename, a.original_size, a.state, a.backup_id AS made_by_backup, false AS returned
  FROM backup_files f
  JOIN glacier_archives a ON a.id = f.archive_id
  JOIN applications p ON p.id = f.application_id
 WHERE p.name = %(application)s AND f.last_backup_id >= %(previous)s AND f.last_backup_id < %(backup_id)s
   AND f.first_backup_id <= %(previous)s AND a.id > %(after)s
   AND NOT EXISTS (SELECT FROM backup_files o WHERE o.archive_id = f.archive_id AND o.first_backup_id <= %(backup_id)s
                      AND (o.last_backup_id IS NULL OR o.last_backup_id >= %(backup_id)s))
 ORDER BY a.id LIMIT %(limit)s;

-- name: backups_of_files
-- In which backups files are whose name contains a text: one row for each unbroken range of backups.
SELECT a.id, a.filename, a.original_size, a.state, a.retrieval_status, a.archived_at, f.first_backup_id, f.last_backup_id
  FROM glacier_archives a
  JOIN applications p ON p.id = a.application_id
  JOIN backup_files f ON f.archive_id = a.id
 WHERE p.name = %(application)s AND a.kind = 'file' AND a.filename COLLATE "C" ILIKE %(like)s
   AND a.state IN ('planned', 'uploading', 'archived')
 ORDER BY a.filename, f.first_backup_id LIMIT %(limit)s;

-- name: unfinished_uploads
-- What a running backup has still to send.
SELECT a.kind, count(*) AS archives, coalesce(sum(a.original_size), 0)::bigint AS bytes
  FROM glacier_archives a JOIN applications p ON p.id = a.application_id
 WHERE p.name = %(application)s AND a.state IN ('planned', 'uploading')
   AND (a.kind = 'file' OR a.backup_id = %(backup_id)s)
 GROUP BY a.kind;

-- name: restore_progress
-- What a restore brings, by where it is, with the tier and the times of what is asked for.
SELECT r.source, a.retrieval_status AS status, g.tier, count(*) AS archives, coalesce(sum(a.stored_size), 0)::bigint AS bytes,
       min(g.requested_at) AS first_request, max(g.requested_at) AS last_request, min(a.store_uri) AS store_uri
  FROM restore_archives r
  JOIN glacier_archives a ON a.id = r.archive_id
  LEFT JOIN glacier_retrievals g ON g.archive_id = a.id AND g.state = 'requested'
 WHERE r.restore_id = %(restore_id)s
 GROUP BY 1, 2, 3;

-- name: restores_of
-- The newest restores of an application, or of one of its backups, with what lies aside.
SELECT r.id, r.state, r.backup_id, r.dag_id, r.dag_run_id, r.request, r.plan, r.outcome, r.opened_at, r.closed_at, r.error,
       (SELECT count(*) FROM orphan_moves o WHERE o.restore_id = r.id AND o.state = 'moved') AS orphans_aside
  FROM restores r JOIN applications p ON p.id = r.application_id
 WHERE p.name = %(application)s AND (%(backup_id)s::bigint IS NULL OR r.backup_id = %(backup_id)s)
   AND (%(restore_id)s::bigint IS NULL OR r.id = %(restore_id)s)
 ORDER BY r.id DESC LIMIT %(limit)s;

-- name: aside_of_backup
-- Files of a backup that are not in their directory but lie in the orphan directory, with the size that is expected.
SELECT count(*) AS archives, coalesce(sum(a.stored_size), 0)::bigint AS bytes
  FROM glacier_archives a
  JOIN applications p ON p.id = a.application_id
  JOIN backup_files f ON f.archive_id = a.id AND f.first_backup_id <= %(backup_id)s
                     AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s)
 WHERE p.name = %(application)s AND a.kind = 'file' AND a.state = 'archived' AND a.retrieval_status = 'available'
   AND EXISTS (SELECT FROM orphan_moves o WHERE o.application_id = p.id AND o.filename = a.filename
                  AND o.state = 'moved' AND o.size = a.stored_size);

-- name: work_of_run
-- The backup or the restore that an Airflow run made.
SELECT 'backup' AS kind, b.id FROM application_data_backups b JOIN applications p ON p.id = b.application_id
 WHERE p.name = %(application)s AND b.dag_id = %(dag_id)s AND b.dag_run_id = %(dag_run_id)s
UNION ALL
SELECT 'restore', r.id FROM restores r JOIN applications p ON p.id = r.application_id
 WHERE p.name = %(application)s AND r.dag_id = %(dag_id)s AND r.dag_run_id = %(dag_run_id)s;
