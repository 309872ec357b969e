-- name: newest_of_each
-- The newest backup in one of these states, of each application.
SELECT p.name AS application, b.id, b.state, b.dag_id, b.dag_run_id, b.opened_at, b.closed_at, b.scanned_at,
       b.files_count, b.files_bytes, b.new_files_count, b.new_files_bytes, b.error, b.database_bytes,
       coalesce((b.report->>'unreadable_count')::bigint, 0) AS unreadable_count, b.report,
       (SELECT count(DISTINCT a.id) FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
         WHERE a.application_id = p.id AND a.state = 'lost') AS lost_count
  FROM applications p
 CROSS JOIN LATERAL (SELECT * FROM application_data_backups n
                      WHERE n.application_id = p.id AND n.state = ANY(%(states)s) ORDER BY n.id DESC LIMIT 1) AS b
 WHERE p.name = ANY(%(names)s);

-- name: newest_restores
SELECT p.name AS application, r.id, r.state, r.backup_id, r.dag_id, r.dag_run_id, r.opened_at, r.closed_at, r.error
  FROM applications p
 CROSS JOIN LATERAL (SELECT * FROM restores n WHERE n.application_id = p.id AND n.request ->> 'into' IS NULL
                      ORDER BY n.id DESC LIMIT 1) AS r
 WHERE p.name = ANY(%(names)s);

-- name: backup_days
-- Of each application the days with a backup, in its own time zone, and the best that became of each: a row for each
-- application, since of a hundred there are tens of thousands of days. Days are counted from a date.
SELECT w.name AS application, d.days, d.bests
  FROM unnest(%(names)s::text[], %(timezones)s::text[]) AS w (name, timezone)
  JOIN applications p ON p.name = w.name
 CROSS JOIN LATERAL (
       SELECT string_agg(day::text, ' ') AS days, string_agg(best::text, '') AS bests
         FROM (SELECT (b.opened_at AT TIME ZONE w.timezone)::date - %(first)s::date AS day,
                      min(CASE b.state WHEN 'complete' THEN 1 WHEN 'running' THEN 2 WHEN 'failed' THEN 4 ELSE 3 END) AS best
                 FROM application_data_backups b
                WHERE b.application_id = p.id AND b.opened_at >= %(since)s GROUP BY 1) AS by_day) AS d
 WHERE d.days IS NOT NULL;

-- name: growth
-- What was protected at the end of each week: the week's newest complete backup, found in an index; a row for each
-- application.
SELECT p.name AS application, g.weeks
  FROM applications p
 CROSS JOIN LATERAL (
       SELECT jsonb_agg(jsonb_build_array(b.opened_at, b.files_count, coalesce(b.files_bytes, 0) + coalesce(b.database_bytes, 0))
                        ORDER BY week) AS weeks
         FROM generate_series(date_trunc('week', %(since)s::timestamptz), now(), interval '7 days') AS week
        CROSS JOIN LATERAL (
              SELECT n.opened_at, n.files_count, n.files_bytes, n.database_bytes FROM application_data_backups n
               WHERE n.application_id = p.id AND n.state = 'complete'
                 AND n.opened_at >= greatest(week, %(since)s) AND n.opened_at < week + interval '7 days'
               ORDER BY n.opened_at DESC LIMIT 1) AS b) AS g
 WHERE p.name = ANY(%(names)s) AND g.weeks IS NOT NULL;

-- name: heard_of
SELECT name AS application, created_at FROM applications WHERE name = ANY(%(names)s);

-- name: first_backups
SELECT p.name AS application, b.opened_at FROM applications p
 CROSS JOIN LATERAL (SELECT opened_at FROM application_data_backups f
                      WHERE f.application_id = p.id ORDER BY f.id LIMIT 1) AS b
 WHERE p.name = ANY(%(names)s);

-- name: page_of_backups
-- The newest or oldest first, by the direction that is put in. Filtered and cut in the index, then only the page is read.
-- The reports stay behind: they can be long.
SELECT b.id, b.state, b.dag_id, b.dag_run_id, b.opened_at, b.closed_at, b.files_count, b.files_bytes,
       b.new_files_count, b.new_files_bytes, b.vanished_count, b.returned_count, b.error, b.database_bytes,
       (b.report->>'upload_parts')::bigint AS upload_parts, (b.report->>'uploads_in_parts')::bigint AS uploads_in_parts
  FROM (SELECT b.id FROM application_data_backups b
         WHERE b.application_id = (SELECT id FROM applications WHERE name = %(application)s)
           AND (%(states)s::text[] IS NULL OR b.state = ANY(%(states)s))
           AND (%(since)s::timestamptz IS NULL OR b.opened_at >= %(since)s)
           AND (%(until)s::timestamptz IS NULL OR b.opened_at < %(until)s)
         ORDER BY b.id {direction} LIMIT %(limit)s OFFSET %(offset)s) AS page
  JOIN application_data_backups b ON b.id = page.id
 ORDER BY b.id {direction};

-- name: sorted_page_of_backups
-- The same by a figure, which is put in; each has an index. Backups that do not have it come last, the newest first.
SELECT b.id, b.state, b.dag_id, b.dag_run_id, b.opened_at, b.closed_at, b.files_count, b.files_bytes,
       b.new_files_count, b.new_files_bytes, b.vanished_count, b.returned_count, b.error, b.database_bytes,
       (b.report->>'upload_parts')::bigint AS upload_parts, (b.report->>'uploads_in_parts')::bigint AS uploads_in_parts
  FROM (SELECT id, figure, lacks
          FROM ((SELECT b.id, {figure} AS figure, false AS lacks FROM application_data_backups b
                  WHERE b.application_id = (SELECT id FROM applications WHERE name = %(application)s)
                    AND {figure} IS NOT NULL
                    AND (%(states)s::text[] IS NULL OR b.state = ANY(%(states)s))
                    AND (%(since)s::timestamptz IS NULL OR b.opened_at >= %(since)s)
                    AND (%(until)s::timestamptz IS NULL OR b.opened_at < %(until)s)
                  ORDER BY {figure} {direction}, b.id {direction} LIMIT %(limit)s::bigint + %(offset)s::bigint)
                UNION ALL
                (SELECT b.id, NULL, true FROM application_data_backups b
                  WHERE b.application_id = (SELECT id FROM applications WHERE name = %(application)s)
                    AND {figure} IS NULL
                    AND (%(states)s::text[] IS NULL OR b.state = ANY(%(states)s))
                    AND (%(since)s::timestamptz IS NULL OR b.opened_at >= %(since)s)
                    AND (%(until)s::timestamptz IS NULL OR b.opened_at < %(until)s)
                  ORDER BY b.id DESC LIMIT %(limit)s::bigint + %(offset)s::bigint)) AS both_kinds
         ORDER BY lacks, figure {direction}, CASE WHEN lacks THEN -id END, id {direction}
         LIMIT %(limit)s OFFSET %(offset)s) AS page
  JOIN application_data_backups b ON b.id = page.id
 ORDER BY page.lacks, page.figure {direction}, CASE WHEN page.lacks THEN -b.id END, b.id {direction};

-- name: count_backups
SELECT count(*) AS total FROM application_data_backups b
 WHERE b.application_id = (SELECT id FROM applications WHERE name = %(application)s)
   AND (%(states)s::text[] IS NULL OR b.state = ANY(%(states)s))
   AND (%(since)s::timestamptz IS NULL OR b.opened_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR b.opened_at < %(until)s);

-- name: away_files
-- Of each of these backups, its files that are lost, or not in their directory, or still to be sent (`unfinished`): by
-- status and store. A sum up to the backup, put together from a few rows of each level.
SELECT b.id, c.what AS status, c.store_uri, sum(c.archives)::bigint AS archives, sum(c.bytes)::bigint AS bytes
  FROM application_data_backups b
 CROSS JOIN LATERAL (
       SELECT what, store_uri, archives, bytes FROM archive_counts
        WHERE application_id = b.application_id AND level = 0 AND place BETWEEN b.id >> 5 << 5 AND b.id
       UNION ALL
       SELECT what, store_uri, archives, bytes FROM archive_counts
        WHERE application_id = b.application_id AND level = 1 AND place >= b.id >> 10 << 5 AND place < b.id >> 5
       UNION ALL
       SELECT what, store_uri, archives, bytes FROM archive_counts
        WHERE application_id = b.application_id AND level = 2 AND place >= b.id >> 15 << 5 AND place < b.id >> 10
       UNION ALL
       SELECT what, store_uri, archives, bytes FROM archive_counts
        WHERE application_id = b.application_id AND level = 3 AND place < b.id >> 15
       UNION ALL
       SELECT what, store_uri, archives, bytes FROM archive_count_changes
        WHERE application_id = b.application_id AND place <= b.id) AS c
 WHERE b.id = ANY(%(ids)s) AND c.what IN ('available', 'pending', 'ready', 'local', 'lost', 'unfinished')
 GROUP BY 1, 2, 3
HAVING sum(c.archives) <> 0;

-- name: stored_by_backups
-- What each of these backups itself brought into the stores.
SELECT c.place AS id, c.what, c.store_uri, sum(c.archives)::bigint AS archives, sum(c.bytes)::bigint AS bytes,
       sum(c.padded_bytes)::bigint AS padded_bytes
  FROM applications p
 CROSS JOIN LATERAL (
       SELECT place, what, store_uri, archives, bytes, padded_bytes FROM archive_counts
        WHERE application_id = p.id AND level = 0 AND place = ANY(%(ids)s)
       UNION ALL
       SELECT place, what, store_uri, archives, bytes, padded_bytes FROM archive_count_changes
        WHERE application_id = p.id AND place = ANY(%(ids)s)) AS c
 WHERE p.name = %(application)s AND c.what IN ('stored', 'manifest')
 GROUP BY 1, 2, 3
HAVING sum(c.archives) <> 0;

-- name: totals
-- What each of these applications has in the stores, and has still to send.
SELECT p.name AS application, c.what, c.store_uri, sum(c.archives)::bigint AS archives, sum(c.bytes)::bigint AS bytes,
       sum(c.padded_bytes)::bigint AS padded_bytes
  FROM applications p
 CROSS JOIN LATERAL (
       SELECT what, store_uri, archives, bytes, padded_bytes FROM archive_counts
        WHERE application_id = p.id AND level = 3
       UNION ALL
       SELECT what, store_uri, archives, bytes, padded_bytes FROM archive_count_changes
        WHERE application_id = p.id) AS c
 WHERE p.name = ANY(%(names)s) AND c.what IN ('stored', 'manifest', 'unfinished')
 GROUP BY 1, 2, 3
HAVING sum(c.archives) <> 0;

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
-- A page of the files of one backup, in id order. Looks through a window of the application's archives, each with all of
-- its ranges: see end_of_files. One by one (OFFSET 0): else all archives of other applications are gone through before
-- the first, where that seems cheaper.
SELECT a.id, a.filename, a.original_size, a.stored_size, a.sha256, a.checksum, a.store_uri, a.key, a.state,
       a.retrieval_status, a.archived_at, a.backup_id AS made_by_backup, f.first_backup_id, f.last_backup_id
  FROM (SELECT * FROM backup_files
         WHERE application_id = (SELECT id FROM applications WHERE name = %(application)s) AND archive_id > %(after)s
         ORDER BY archive_id FETCH FIRST (%(window)s) ROWS WITH TIES) AS f
 CROSS JOIN LATERAL (SELECT * FROM glacier_archives WHERE id = f.archive_id OFFSET 0) AS a
 WHERE f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s)
   AND a.state IN ('planned', 'uploading', 'archived', 'lost')
   AND (%(like)s::text IS NULL OR a.filename COLLATE "C" ILIKE %(like)s)
   AND (%(status)s::text IS NULL OR a.retrieval_status = %(status)s)
 ORDER BY f.archive_id LIMIT %(limit)s;

-- name: end_of_files
-- The last archive of the window, null when it reaches the end.
SELECT archive_id AS id FROM backup_files
 WHERE application_id = (SELECT id FROM applications WHERE name = %(application)s) AND archive_id > %(after)s
 ORDER BY archive_id OFFSET %(window)s::bigint - 1 LIMIT 1;

-- name: page_of_away_files
-- The same for files in one status that are not in their directory.
SELECT a.id, a.filename, a.original_size, a.stored_size, a.sha256, a.checksum, a.store_uri, a.key, a.state,
       a.retrieval_status, a.archived_at, a.backup_id AS made_by_backup, f.first_backup_id, f.last_backup_id
  FROM (SELECT archive_id, first_backup_id, last_backup_id FROM away_files
         WHERE application_id = (SELECT id FROM applications WHERE name = %(application)s)
           AND retrieval_status = %(status)s AND archive_id > %(after)s
         ORDER BY archive_id LIMIT %(window)s) AS f
  JOIN glacier_archives a ON a.id = f.archive_id
 WHERE f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s)
   AND (%(like)s::text IS NULL OR a.filename COLLATE "C" ILIKE %(like)s)
 ORDER BY f.archive_id LIMIT %(limit)s;

-- name: end_of_away_files
SELECT archive_id AS id FROM away_files
 WHERE application_id = (SELECT id FROM applications WHERE name = %(application)s)
   AND retrieval_status = %(status)s AND archive_id > %(after)s
 ORDER BY archive_id OFFSET %(window)s::bigint - 1 LIMIT 1;

-- name: indexed_page_of_files
-- A page of the files of one backup whose name contains a text, by the index of names.
WITH named AS MATERIALIZED (
    SELECT a.* FROM glacier_archives a
     WHERE a.filename COLLATE "C" ILIKE %(like)s AND a.kind = 'file' AND a.id > %(after)s
       AND a.application_id = (SELECT id FROM applications WHERE name = %(application)s)
       AND a.state IN ('planned', 'uploading', 'archived', 'lost'))
SELECT a.id, a.filename, a.original_size, a.stored_size, a.sha256, a.checksum, a.store_uri, a.key, a.state,
       a.retrieval_status, a.archived_at, a.backup_id AS made_by_backup, f.first_backup_id, f.last_backup_id
  FROM named a JOIN backup_files f ON f.archive_id = a.id
 WHERE f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s)
   AND (%(status)s::text IS NULL OR a.retrieval_status = %(status)s)
 ORDER BY a.id LIMIT %(limit)s;

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
-- In which backups files are whose name contains a text: one row for each unbroken range of backups, in id order.
-- Looks through a window of archives: see end_of_files.
SELECT a.id, a.filename, a.original_size, a.state, a.retrieval_status, a.archived_at, f.first_backup_id, f.last_backup_id
  FROM (SELECT * FROM backup_files
         WHERE application_id = (SELECT id FROM applications WHERE name = %(application)s) AND archive_id > %(after)s
         ORDER BY archive_id FETCH FIRST (%(window)s) ROWS WITH TIES) AS f
 CROSS JOIN LATERAL (SELECT * FROM glacier_archives WHERE id = f.archive_id OFFSET 0) AS a
 WHERE a.kind = 'file' AND a.filename COLLATE "C" ILIKE %(like)s
   AND a.state IN ('planned', 'uploading', 'archived', 'lost')
 ORDER BY a.id, f.first_backup_id LIMIT %(limit)s;

-- name: indexed_backups_of_files
WITH named AS MATERIALIZED (
    SELECT a.* FROM glacier_archives a
     WHERE a.filename COLLATE "C" ILIKE %(like)s AND a.kind = 'file' AND a.id > %(after)s
       AND a.application_id = (SELECT id FROM applications WHERE name = %(application)s)
       AND a.state IN ('planned', 'uploading', 'archived', 'lost'))
SELECT a.id, a.filename, a.original_size, a.state, a.retrieval_status, a.archived_at, f.first_backup_id, f.last_backup_id
  FROM named a JOIN backup_files f ON f.archive_id = a.id
 ORDER BY a.id, f.first_backup_id LIMIT %(limit)s;

-- name: file_of_name
-- The first archive of this very name; its other versions follow. By the three indexes that each know a part of the names.
SELECT min(a.id) AS id FROM (
    SELECT id FROM glacier_archives
     WHERE application_id = (SELECT id FROM applications WHERE name = %(application)s) AND filename = %(name)s
       AND kind = 'file' AND state IN ('planned', 'uploading', 'archived') AND NOT superseded
     UNION ALL
    SELECT id FROM glacier_archives
     WHERE application_id = (SELECT id FROM applications WHERE name = %(application)s) AND filename = %(name)s
       AND kind = 'file' AND state = 'archived' AND superseded
     UNION ALL
    SELECT id FROM glacier_archives
     WHERE application_id = (SELECT id FROM applications WHERE name = %(application)s) AND filename = %(name)s
       AND kind = 'file' AND state = 'lost') AS a
HAVING count(*) > 0;

-- name: names_are_indexed
SELECT to_regclass('glacier_archives_names') IS NOT NULL AS indexed;

-- name: pending_of_backup
-- What of a backup was asked for and is on its way, by tier and store, with the first and last request's time.
SELECT g.tier, a.store_uri, count(*) AS archives, coalesce(sum(a.stored_size), 0)::bigint AS bytes,
       min(g.requested_at) AS first_request, max(g.requested_at) AS last_request
  FROM glacier_retrievals g JOIN glacier_archives a ON a.id = g.archive_id
  JOIN application_data_backups b ON b.id = %(backup_id)s AND b.application_id = a.application_id
 WHERE g.state = 'requested' AND (
       a.id = b.database_archive_id OR EXISTS (
       SELECT FROM backup_files f WHERE f.archive_id = a.id AND f.first_backup_id <= b.id
          AND (f.last_backup_id IS NULL OR f.last_backup_id >= b.id)))
 GROUP BY 1, 2;

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
