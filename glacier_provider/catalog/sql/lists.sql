-- name: backups
-- The newest first; of one application or of all.
SELECT b.*, p.name AS application,
       d.stored_size AS database_bytes, d.filename AS database_filename, d.retrieval_status AS database_status
  FROM application_data_backups b
  JOIN applications p ON p.id = b.application_id
  LEFT JOIN glacier_archives d ON d.id = b.database_archive_id
 WHERE (%(application)s::text IS NULL OR p.name = %(application)s)
   AND (%(state)s::text IS NULL OR b.state = %(state)s)
 ORDER BY b.id DESC LIMIT %(limit)s OFFSET %(offset)s;

-- name: application_names
SELECT name FROM applications ORDER BY name;

-- name: archives_of_backup
-- The archives of one backup, its dump first; part of a name narrows them down.
SELECT a.id, a.kind, a.filename, a.original_size, a.stored_size, a.sha256, a.checksum, a.store_uri, a.key, a.state,
       a.retrieval_status, a.archived_at, a.backup_id AS made_by_backup
  FROM application_data_backups b
  JOIN glacier_archives a ON a.application_id = b.application_id
  LEFT JOIN backup_files f ON f.archive_id = a.id AND f.first_backup_id <= b.id
                          AND (f.last_backup_id IS NULL OR f.last_backup_id >= b.id)
 WHERE b.id = %(backup_id)s AND (f.archive_id IS NOT NULL OR a.id IN (b.database_archive_id, b.manifest_archive_id))
   AND a.state IN ('planned', 'uploading', 'archived')
   AND (%(like)s::text IS NULL OR a.filename LIKE %(like)s)
 ORDER BY a.kind = 'file', a.id LIMIT %(limit)s OFFSET %(offset)s;

-- name: restores
SELECT r.*, p.name AS application FROM restores r JOIN applications p ON p.id = r.application_id
 WHERE (%(application)s::text IS NULL OR p.name = %(application)s)
   AND (%(backup_id)s::bigint IS NULL OR r.backup_id = %(backup_id)s)
 ORDER BY r.id DESC LIMIT %(limit)s OFFSET %(offset)s;

-- name: status_counts
-- How many archives of one backup are in each retrieval status, and their bytes.
SELECT status, count(*) AS archives, coalesce(sum(size), 0)::bigint AS bytes FROM (
    SELECT d.retrieval_status AS status, d.stored_size AS size
      FROM application_data_backups b JOIN glacier_archives d ON d.id = b.database_archive_id
     WHERE b.id = %(backup_id)s AND b.state NOT IN ('deleting', 'deleted')
    UNION ALL
    SELECT a.retrieval_status, a.stored_size
      FROM application_data_backups b
      JOIN backup_files f ON f.application_id = b.application_id AND f.first_backup_id <= b.id
                         AND (f.last_backup_id IS NULL OR f.last_backup_id >= b.id)
      JOIN glacier_archives a ON a.id = f.archive_id
     WHERE b.id = %(backup_id)s AND b.state NOT IN ('deleting', 'deleted')
       AND a.state IN ('planned', 'uploading', 'archived')) AS archives
 GROUP BY status;

-- name: lowest_status
-- The retrieval status of whole backups: the furthest one of their archives. A deleted one has none.
SELECT b.id, CASE WHEN b.state NOT IN ('deleting', 'deleted') THEN
       (ARRAY['available', 'pending', 'ready', 'local', 'exists'])[least(
           array_position(ARRAY['available', 'pending', 'ready', 'local', 'exists'], d.retrieval_status),
           (SELECT min(array_position(ARRAY['available', 'pending', 'ready', 'local', 'exists'], a.retrieval_status))
              FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
             WHERE f.application_id = b.application_id AND a.state = 'archived' AND a.retrieval_status <> 'exists'
               AND f.first_backup_id <= b.id AND (f.last_backup_id IS NULL OR f.last_backup_id >= b.id)))] END AS status
  FROM application_data_backups b
  LEFT JOIN glacier_archives d ON d.id = b.database_archive_id
 WHERE b.id = ANY(%(backup_ids)s);
