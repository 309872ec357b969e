-- name: store_check
-- How far a store has been looked through, and the mark of the catalog.
WITH made AS (
    INSERT INTO store_checks (application_id, store_uri) VALUES (%(application_id)s, %(store_uri)s)
    ON CONFLICT DO NOTHING RETURNING position, marked)
SELECT p.mark, coalesce(c.position, '') AS position, coalesce(c.marked, false) AS marked
  FROM applications p LEFT JOIN store_checks c ON c.application_id = p.id AND c.store_uri = %(store_uri)s
 WHERE p.id = %(application_id)s;

-- name: store_marked
UPDATE store_checks SET marked = true WHERE application_id = %(application_id)s AND store_uri = %(store_uri)s;

-- name: not_listed
-- Archives whose keys lie in the part that was listed, and that are not in it as they were written.
SELECT a.id FROM glacier_archives a
 WHERE a.application_id = %(application_id)s AND a.store_uri = %(store_uri)s AND a.state = 'archived'
   AND a.archived_at < %(as_of)s AND a.key NOT LIKE 'empty:%%'
   AND a.key COLLATE "C" > %(after)s AND (%(until)s::text IS NULL OR a.key COLLATE "C" <= %(until)s)
   AND NOT EXISTS (SELECT FROM listed l WHERE l.key = a.key AND l.size = a.stored_size)
 ORDER BY a.id;

-- name: looked_through
UPDATE store_checks
   SET position = coalesce(%(until)s::text, ''),
       last_round_at = CASE WHEN %(until)s::text IS NULL THEN clock_timestamp() ELSE last_round_at END,
       round_began_at = CASE WHEN %(until)s::text IS NULL THEN clock_timestamp() ELSE round_began_at END
 WHERE application_id = %(application_id)s AND store_uri = %(store_uri)s;

-- name: newest_archives
-- The dump of a backup, and the files that were archived last.
(SELECT a.key, a.stored_size, a.checksum, a.kind, a.filename, a.id FROM glacier_archives a
  WHERE a.backup_id = %(backup_id)s AND a.kind <> 'file' AND a.state = 'archived' AND a.store_uri = %(store_uri)s)
UNION ALL
(SELECT a.key, a.stored_size, a.checksum, a.kind, a.filename, a.id
   FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
  WHERE f.application_id = %(application_id)s AND f.first_backup_id = %(backup_id)s AND a.backup_id = %(backup_id)s
    AND a.state = 'archived' AND a.store_uri = %(store_uri)s AND a.stored_size > 0
  ORDER BY a.id DESC LIMIT %(limit)s);
