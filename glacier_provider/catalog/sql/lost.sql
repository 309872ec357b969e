-- name: note_lost
-- Not in its store, though nobody deleted it. What was asked back of it is of no use to anybody.
WITH lost AS (
    UPDATE glacier_archives SET state = 'lost', lost_at = clock_timestamp(), lost_how = %(how)s, retrieval_status = 'available'
     WHERE application_id = %(application_id)s AND id = ANY(%(archive_ids)s) AND state = 'archived'
    RETURNING id, kind, filename, backup_id),
ended AS (
    UPDATE glacier_retrievals r
       SET state = CASE r.state WHEN 'ready' THEN 'expired' ELSE 'failed' END,
           error = CASE r.state WHEN 'ready' THEN r.error ELSE 'The archive is lost.' END
      FROM lost WHERE r.archive_id = lost.id AND r.state IN ('requested', 'ready'))
SELECT id, kind, filename, backup_id FROM lost ORDER BY id;

-- name: lost_archives
-- What is lost and a backup needs, with whether that was learned since a moment.
SELECT a.id, a.lost_at >= %(since)s AS is_new, a.lost_how, count(*) OVER (PARTITION BY a.lost_at >= %(since)s) AS count
  FROM glacier_archives a
 WHERE a.application_id = %(application_id)s AND a.state = 'lost'
   AND (a.lost_at >= %(since)s OR a.kind = 'database'
        OR EXISTS (SELECT FROM backup_files f WHERE f.archive_id = a.id))
 ORDER BY is_new DESC, a.id LIMIT %(limit)s;

-- name: backups_of_archives
-- The first and the last backup that each of these archives is in.
SELECT a.id, a.filename, a.kind, coalesce(min(f.first_backup_id), a.backup_id) AS first,
       CASE WHEN count(f.*) = 0 THEN a.backup_id
            WHEN bool_or(f.last_backup_id IS NULL)
            THEN (SELECT max(b.id) FROM application_data_backups b WHERE b.application_id = a.application_id)
            ELSE max(f.last_backup_id) END AS last
  FROM glacier_archives a LEFT JOIN backup_files f ON f.archive_id = a.id
 WHERE a.id = ANY(%(archive_ids)s)
 GROUP BY a.id ORDER BY a.id;

-- name: backups_without_dump
-- Nothing brings the database of these back any more.
UPDATE application_data_backups b SET state = 'failed', error = 'Its dump is not in the store: deleted, or lost.'
  FROM glacier_archives a
 WHERE b.application_id = %(application_id)s AND a.id = b.database_archive_id AND a.state = 'lost' AND b.state = 'complete'
RETURNING b.id;

-- name: manifests_begin_anew
-- The next manifest lists every file: none before it says what backups up to this one contain.
UPDATE applications SET manifests_from = greatest(manifests_from, %(backup_id)s) WHERE id = %(application_id)s;

-- name: manifests_from
SELECT manifests_from AS id FROM applications WHERE id = %(application_id)s;

-- name: find_healed
-- Lost archives that backups contain, and archives of the same name with the same content. Lives as long as the transaction.
CREATE TEMPORARY TABLE healed ON COMMIT DROP AS
SELECT DISTINCT ON (l.id) l.id AS lost, n.id AS healer
  FROM glacier_archives l JOIN glacier_archives n
    ON n.application_id = l.application_id AND n.filename = l.filename AND n.kind = 'file' AND n.state = 'archived'
   AND n.stored_size = l.stored_size AND (n.sha256 = l.sha256 OR n.checksum = l.checksum)
 WHERE l.application_id = %(application_id)s AND l.state = 'lost' AND l.kind = 'file'
   AND EXISTS (SELECT FROM backup_files f WHERE f.archive_id = l.id)
 ORDER BY l.id, n.superseded, n.id DESC;

-- name: heal
-- Their backups contain the same content again. A backup that contains both already has it.
WITH moved AS (
    UPDATE backup_files f SET archive_id = h.healer
      FROM healed h
     WHERE f.archive_id = h.lost AND f.last_backup_id IS NOT NULL
       AND NOT EXISTS (SELECT FROM backup_files o WHERE o.archive_id = h.healer AND o.first_backup_id <= f.last_backup_id
                          AND (o.last_backup_id IS NULL OR o.last_backup_id >= f.first_backup_id))
    RETURNING f.last_backup_id)
SELECT count(*) AS ranges, max(last_backup_id) AS newest FROM moved;

-- name: lost_of_backups
-- How many lost files each of these backups contains, and the first of them by name. Found among what is not there.
SELECT b.id, count(*) AS lost_count, (array_agg(a.filename ORDER BY a.filename))[1:100] AS lost
  FROM application_data_backups b
  JOIN away_files f ON f.application_id = b.application_id AND f.retrieval_status = 'lost' AND f.first_backup_id <= b.id
                   AND (f.last_backup_id IS NULL OR f.last_backup_id >= b.id)
  JOIN glacier_archives a ON a.id = f.archive_id
 WHERE b.id = ANY(%(ids)s)
 GROUP BY b.id;

-- name: lost_in_backup
-- What is lost of one backup, its dump first, and how many there are in all.
SELECT l.id, count(*) OVER () AS count FROM (
    SELECT a.id, a.kind, a.filename
      FROM application_data_backups b JOIN glacier_archives a ON a.id = b.database_archive_id
     WHERE b.id = %(backup_id)s AND a.state = 'lost'
     UNION ALL
    SELECT a.id, a.kind, a.filename
      FROM application_data_backups b
      JOIN away_files f ON f.application_id = b.application_id AND f.retrieval_status = 'lost'
                       AND f.first_backup_id <= b.id AND (f.last_backup_id IS NULL OR f.last_backup_id >= b.id)
      JOIN glacier_archives a ON a.id = f.archive_id
     WHERE b.id = %(backup_id)s) AS l
 ORDER BY l.kind, l.filename LIMIT %(limit)s;

-- name: other_backup_of_name
-- The newest complete backup that contains a readable archive of this name. By the two indexes that each know a part of
-- the names.
SELECT b.id FROM (
    SELECT id, application_id FROM glacier_archives
     WHERE application_id = %(application_id)s AND filename = %(filename)s AND kind = 'file'
       AND state = 'archived' AND NOT superseded
     UNION ALL
    SELECT id, application_id FROM glacier_archives
     WHERE application_id = %(application_id)s AND filename = %(filename)s AND kind = 'file'
       AND state = 'archived' AND superseded) AS a
  JOIN backup_files f ON f.archive_id = a.id
  JOIN application_data_backups b ON b.application_id = a.application_id AND b.id >= f.first_backup_id
   AND (f.last_backup_id IS NULL OR b.id <= f.last_backup_id)
 WHERE b.state = 'complete' AND b.id <> %(besides)s
 ORDER BY b.id DESC LIMIT 1;

-- name: drop_lost_of_restore
-- What a restore was to bring, and turned out to be lost: it goes on without.
DELETE FROM restore_archives r USING glacier_archives a
 WHERE r.restore_id = %(restore_id)s AND a.id = r.archive_id AND a.state = 'lost' AND a.kind = 'file'
   AND r.source <> 'directory' AND NOT r.placed
RETURNING a.filename;

-- name: lost_of_restore
-- Not what comes from another place than its store.
SELECT a.id, a.kind, a.filename,
       EXISTS (SELECT FROM verified_archives v WHERE v.archive_id = a.id AND NOT v.matches) AS corrupt
  FROM (SELECT id, kind, filename FROM glacier_archives
         WHERE application_id = (SELECT application_id FROM restores WHERE id = %(restore_id)s) AND state = 'lost'
        OFFSET 0) AS a  -- these first: they are few, and what the restore brings may be a million
  JOIN restore_archives r ON r.restore_id = %(restore_id)s AND r.archive_id = a.id
 WHERE r.source <> 'directory' AND NOT r.placed
 ORDER BY a.kind, a.filename;

-- name: lost_manifests
-- Manifests of backups, lost some days ago at most, with those that they continue. What could not be written again by
-- then comes out otherwise for ever.
SELECT a.id, a.backup_id, a.filename, a.sha256, b.previous_backup_id, before.sha256 AS previous_sha256
  FROM glacier_archives a JOIN application_data_backups b ON b.manifest_archive_id = a.id
  LEFT JOIN application_data_backups p ON p.id = b.previous_backup_id
  LEFT JOIN glacier_archives before ON before.id = p.manifest_archive_id
 WHERE b.application_id = %(application_id)s AND a.state = 'lost' AND a.kind = 'manifest' AND a.store_uri = ANY(%(same_place)s)
   AND a.lost_at > clock_timestamp() - interval '3 days' AND b.database_archive_id IS NOT NULL
 ORDER BY a.backup_id LIMIT %(limit)s;
