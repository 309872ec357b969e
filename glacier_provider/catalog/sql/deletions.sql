-- name: take_out_of_use
-- From here on the backup is not restored any more. Waits for a restore of it that is being opened.
UPDATE application_data_backups
   SET state = 'deleting', deletion_began_at = coalesce(deletion_began_at, clock_timestamp()),
       report = report || %(report)s
 WHERE id = %(backup_id)s AND application_id = %(application_id)s AND state IN ('complete', 'failed', 'deleting')
RETURNING id;

-- name: restores_under_way
SELECT id, state FROM restores
 WHERE application_id = %(application_id)s AND backup_id = %(backup_id)s AND state IN ('planned', 'running')
 ORDER BY id;

-- name: end_restores_of
UPDATE restores SET state = 'failed', closed_at = clock_timestamp(), error = 'Its backup was deleted.'
 WHERE application_id = %(application_id)s AND backup_id = %(backup_id)s AND state IN ('planned', 'running');

-- name: create_going
-- What goes with a backup. Lives as long as the transaction.
-- A file: in this backup (or in none that is left), no longer in the directory, and in no other one that can be restored,
-- is being made, or was complete until its dump was lost: that may come back.
-- A manifest: of this backup or of one deleted before, once no manifest of a complete backup continues it.
CREATE TEMPORARY TABLE going ON COMMIT DROP AS
WITH RECURSIVE continued (id) AS (
    -- Of the backups that are not complete, or go: those that a complete one continues, and those that they continue.
    SELECT b.id FROM (SELECT id, application_id FROM application_data_backups
                       WHERE application_id = %(application_id)s AND state IN ('running', 'failed', 'deleting', 'deleted')
                      UNION SELECT id, application_id FROM application_data_backups
                       WHERE application_id = %(application_id)s AND id = %(backup_id)s) AS b
     WHERE EXISTS (SELECT FROM application_data_backups n
                    WHERE n.previous_backup_id = b.id AND n.application_id = b.application_id AND n.state = 'complete'
                      AND n.id <> %(backup_id)s)
    UNION
    SELECT p.id FROM continued c JOIN application_data_backups b ON b.id = c.id
      JOIN application_data_backups p ON p.id = b.previous_backup_id
     WHERE p.state <> 'complete' OR p.id = %(backup_id)s),
left_behind (id) AS (
    -- Files that are away and may be in no backup that counts: by the kept figures, or without any that contains them. Each
    -- is looked up by itself (LIMIT): few, in tables of many.
    SELECT w.archive_id FROM away_files w
     WHERE w.application_id = %(application_id)s AND w.retrieval_status IN ('available', 'pending', 'ready', 'local')
     GROUP BY w.archive_id
    HAVING bool_and(w.last_backup_id IS NOT NULL
                    AND (SELECT b.id FROM application_data_backups b
                          WHERE b.application_id = %(application_id)s
                            AND b.id BETWEEN w.first_backup_id AND w.last_backup_id
                            AND b.id <> %(backup_id)s AND b.state IN ('complete', 'running', 'failed')
                          ORDER BY b.id LIMIT 1) IS NULL)
    UNION
    SELECT a.id FROM glacier_archives a
     WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.state = 'archived'
       AND a.retrieval_status <> 'exists'
       AND (SELECT o.archive_id FROM backup_files o WHERE o.archive_id = a.id LIMIT 1) IS NULL)
SELECT a.id, a.kind FROM glacier_archives a
 WHERE a.application_id = %(application_id)s AND a.kind = 'database' AND a.backup_id = %(backup_id)s
   AND a.state = 'archived'
UNION ALL
SELECT m.id, m.kind
  FROM (SELECT id FROM application_data_backups
         WHERE application_id = %(application_id)s AND state IN ('deleting', 'deleted')
        UNION SELECT %(backup_id)s::bigint) AS b
 CROSS JOIN LATERAL (SELECT a.id, a.kind FROM glacier_archives a
                      WHERE a.application_id = %(application_id)s AND a.backup_id = b.id AND a.kind = 'manifest'
                        AND a.state = 'archived' OFFSET 0) AS m
 WHERE b.id NOT IN (SELECT id FROM continued)
UNION ALL
-- What this backup gave up, and was found in its store after all.
SELECT a.id, a.kind FROM glacier_archives a
 WHERE a.application_id = %(application_id)s AND a.backup_id = %(backup_id)s AND a.state = 'failed' AND a.key IS NOT NULL
   AND a.checksum IS NOT NULL
UNION ALL
SELECT DISTINCT a.id, a.kind FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
 WHERE f.application_id = %(application_id)s AND a.state = 'archived'
   AND f.first_backup_id <= %(backup_id)s AND f.last_backup_id >= %(backup_id)s
   AND NOT EXISTS (SELECT FROM backup_files o WHERE o.archive_id = a.id AND o.last_backup_id IS NULL)
   AND NOT EXISTS (
       SELECT FROM backup_files o JOIN application_data_backups b
           ON b.application_id = o.application_id AND b.id BETWEEN o.first_backup_id AND o.last_backup_id
        WHERE o.archive_id = a.id AND b.id <> %(backup_id)s
          AND (b.state IN ('complete', 'running') OR b.state = 'failed' AND b.manifest_archive_id IS NOT NULL))
UNION
-- And what was left behind: files that left the directory when the backups that contain them were deleted already, and
-- copies of what a backup contains: of files that were lost, archived anew, and are there again (by the two indexes that
-- each know a part of the names). Not files that a rebuild found without knowing their backup's members: they stay as
-- long as the backup that made them.
SELECT a.id, a.kind FROM left_behind l
 CROSS JOIN LATERAL (SELECT * FROM glacier_archives WHERE id = l.id OFFSET 0) AS a
 WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.state = 'archived'
   AND a.retrieval_status <> 'exists'
   AND NOT EXISTS (SELECT FROM backup_files o WHERE o.archive_id = a.id AND o.last_backup_id IS NULL)
   AND NOT EXISTS (
       SELECT FROM backup_files o JOIN application_data_backups b
           ON b.application_id = o.application_id AND b.id BETWEEN o.first_backup_id AND o.last_backup_id
        WHERE o.archive_id = a.id AND b.id <> %(backup_id)s AND b.state IN ('complete', 'running', 'failed'))
   AND (EXISTS (SELECT FROM backup_files o WHERE o.archive_id = a.id)
        OR NOT EXISTS (SELECT FROM application_data_backups b
                        WHERE b.id = a.backup_id AND b.id <> %(backup_id)s AND b.state IN ('complete', 'running', 'failed'))
        OR EXISTS (
            SELECT FROM (SELECT * FROM glacier_archives n
                          WHERE n.application_id = a.application_id AND n.filename = a.filename AND n.kind = 'file'
                            AND n.state = 'archived' AND NOT n.superseded
                          UNION ALL
                         SELECT * FROM glacier_archives n
                          WHERE n.application_id = a.application_id AND n.filename = a.filename AND n.kind = 'file'
                            AND n.state = 'archived' AND n.superseded) AS n
              JOIN backup_files o ON o.archive_id = n.id
             WHERE n.id <> a.id AND n.stored_size = a.stored_size AND (n.sha256 = a.sha256 OR n.checksum = a.checksum)));

-- name: going_amounts
-- What goes, by store, kind and day.
SELECT a.store_uri, a.kind, (coalesce(a.archived_at, a.created_at) AT TIME ZONE 'UTC')::date AS archived_on,
       count(*) AS archives, coalesce(sum(a.stored_size), 0)::bigint AS bytes,
       coalesce(sum(greatest(a.stored_size, 131072)), 0)::bigint AS padded_bytes,
       to_timestamp(avg(extract(epoch FROM coalesce(a.archived_at, a.created_at)))::float8) AS archived_at
  FROM going g JOIN glacier_archives a ON a.id = g.id
 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- name: deleting_amounts
-- The same of a deletion that began earlier: what is still to be done.
SELECT a.store_uri, a.kind, (coalesce(a.archived_at, a.created_at) AT TIME ZONE 'UTC')::date AS archived_on,
       count(*) AS archives, coalesce(sum(a.stored_size), 0)::bigint AS bytes,
       coalesce(sum(greatest(a.stored_size, 131072)), 0)::bigint AS padded_bytes,
       to_timestamp(avg(extract(epoch FROM coalesce(a.archived_at, a.created_at)))::float8) AS archived_at
  FROM glacier_archives a WHERE a.application_id = %(application_id)s AND a.state = 'deleting'
 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- name: staying_files
-- Files that the backup contains and that do not go, by the first reason that holds.
SELECT reason, count(*) AS archives, coalesce(sum(stored_size), 0)::bigint AS bytes FROM (
    SELECT a.stored_size,
           CASE WHEN EXISTS (SELECT FROM backup_files o WHERE o.archive_id = a.id AND o.last_backup_id IS NULL)
                THEN 'directory' ELSE 'backups' END AS reason
      FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
     WHERE f.application_id = %(application_id)s AND a.state = 'archived'
       AND f.first_backup_id <= %(backup_id)s
       AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s)
       AND NOT EXISTS (SELECT FROM going g WHERE g.id = a.id)) AS stays
 GROUP BY reason ORDER BY reason;

-- name: files_that_left
-- The same of those alone that left the directory after the backup: few. Also of what goes, or is lost.
SELECT CASE WHEN a.state <> 'archived' THEN 'lost' WHEN a.id IN (SELECT id FROM going) THEN 'going'
            WHEN EXISTS (SELECT FROM backup_files o WHERE o.archive_id = a.id AND o.last_backup_id IS NULL) THEN 'directory'
            ELSE 'backups' END AS reason,
       count(*) AS archives, coalesce(sum(a.stored_size), 0)::bigint AS bytes
  FROM backup_files f
 CROSS JOIN LATERAL (SELECT * FROM glacier_archives WHERE id = f.archive_id OFFSET 0) AS a
 WHERE f.application_id = %(application_id)s
   AND f.first_backup_id <= %(backup_id)s AND f.last_backup_id >= %(backup_id)s
 GROUP BY 1;

-- name: staying_manifest
SELECT 'manifest' AS reason, count(*) AS archives, coalesce(sum(a.stored_size), 0)::bigint AS bytes FROM glacier_archives a
 WHERE a.backup_id = %(backup_id)s AND a.kind = 'manifest' AND a.state = 'archived'
   AND NOT EXISTS (SELECT FROM going g WHERE g.id = a.id)
HAVING count(*) > 0;

-- name: mark_going
UPDATE glacier_archives a SET state = 'deleting', retrieval_status = 'available', error = NULL
  FROM going g WHERE a.id = g.id AND a.state IN ('archived', 'failed');

-- name: end_retrievals_of_going
-- What was asked back of them is of no use to anybody.
UPDATE glacier_retrievals r
   SET state = CASE r.state WHEN 'ready' THEN 'expired' ELSE 'failed' END,
       error = CASE r.state WHEN 'ready' THEN r.error ELSE 'The archive was deleted.' END
  FROM going g WHERE r.archive_id = g.id AND r.state IN ('requested', 'ready');

-- name: give_up_unsent_of
-- A failed backup's dump or manifest that was never recorded; perhaps half sent, or sent and not known to be.
UPDATE glacier_archives
   SET state = 'failed', error = 'Its backup was deleted before it was archived.',
       doubtful_since = CASE WHEN state = 'uploading' THEN coalesce(doubtful_since, clock_timestamp())
                             ELSE doubtful_since END
 WHERE application_id = %(application_id)s AND backup_id = %(backup_id)s AND kind <> 'file'
   AND state IN ('planned', 'uploading');

-- name: archives_to_delete
-- A page of what has to go from the stores, in id order.
SELECT a.id, a.kind, a.filename, a.backup_id, a.store_uri, a.key, a.stored_size, a.sha256, a.encoding, a.store_number
  FROM glacier_archives a
 WHERE a.application_id = %(application_id)s AND a.state = 'deleting' AND a.id > %(after)s
 ORDER BY a.id LIMIT %(limit)s;

-- name: first_to_delete
-- One that tells whether a store deletes at all: not one that lies nowhere.
SELECT a.id, a.kind, a.filename, a.backup_id, a.store_uri, a.key, a.stored_size, a.sha256, a.encoding, a.store_number
  FROM glacier_archives a
 WHERE a.application_id = %(application_id)s AND a.state = 'deleting' AND NOT starts_with(a.key, 'empty:')
 ORDER BY a.kind = 'database' DESC, a.id LIMIT 1;

-- name: archives_deleted
-- Gone from their stores, and so in no backup any more.
WITH gone AS (
    UPDATE glacier_archives SET state = 'deleted', error = NULL
     WHERE id = ANY(%(archive_ids)s) AND state = 'deleting'
    RETURNING id)
DELETE FROM backup_files f USING gone WHERE f.archive_id = gone.id;

-- name: note_deletion_errors
UPDATE glacier_archives AS a SET error = r.error
  FROM unnest(%(ids)s::bigint[], %(errors)s::text[]) AS r (id, error)
 WHERE a.id = r.id;

-- name: finish_deletions
-- Of this application; also those that an earlier run began, since what they needed gone is gone.
UPDATE application_data_backups b SET state = 'deleted', deleted_at = clock_timestamp()
 WHERE b.application_id = %(application_id)s AND b.state = 'deleting'
   AND NOT EXISTS (SELECT FROM glacier_archives a WHERE a.application_id = b.application_id AND a.state = 'deleting')
RETURNING b.id;

-- name: manifests_of_deleting
-- What stays of a deleted backup, since the manifests of later ones continue it.
SELECT b.id AS backup_id, m.sha256, m.store_uri, m.filename FROM application_data_backups b
  JOIN glacier_archives m ON m.id = b.manifest_archive_id
 WHERE b.application_id = %(application_id)s AND b.state = 'deleting' AND m.state = 'archived' AND m.sha256 IS NOT NULL
 ORDER BY b.id;

-- name: manifests_of_deleted
-- Manifests that outlive their backups: the next manifest says so, for stores that have no place for a note. The newest.
SELECT m.sha256 FROM application_data_backups b JOIN glacier_archives m ON m.id = b.manifest_archive_id
 WHERE b.application_id = %(application_id)s AND b.state = 'deleted' AND m.state = 'archived' AND m.sha256 IS NOT NULL
 ORDER BY b.id DESC LIMIT 10000;

-- name: backups_to_judge
-- What a retention rule looks at: all of it is in an index.
SELECT b.id, b.state, coalesce(b.snapshot_at, b.opened_at) AS taken_at
  FROM application_data_backups b
 WHERE b.application_id = %(application_id)s AND b.state IN ('complete', 'failed')
 ORDER BY b.id;

-- name: count_to_judge
SELECT count(*) AS backups FROM application_data_backups b
 WHERE b.application_id = %(application_id)s AND b.state IN ('complete', 'failed');
