-- name: store_check
-- How far a store has been looked through, the mark of the catalog, and whether that is in the store: by whatever storage
-- class it was named then.
WITH made AS (
    INSERT INTO store_checks (application_id, store_uri) VALUES (%(application_id)s, %(store_uri)s)
    ON CONFLICT DO NOTHING RETURNING position, marked)
SELECT p.mark, coalesce(c.position, '') AS position,
       EXISTS (SELECT FROM store_checks m
                WHERE m.application_id = p.id AND m.store_uri = ANY(%(same_place)s) AND m.marked) AS marked
  FROM applications p LEFT JOIN store_checks c ON c.application_id = p.id AND c.store_uri = %(store_uri)s
 WHERE p.id = %(application_id)s;

-- name: store_marked
UPDATE store_checks SET marked = true WHERE application_id = %(application_id)s AND store_uri = %(store_uri)s;

-- name: not_listed
-- Archives whose keys lie in the part that was listed, and that are not in it as they were written: of whatever class of
-- the place they were put into.
SELECT a.id, a.kind, a.filename,
       CASE WHEN l.key IS NULL THEN 'missing' WHEN l.size <> a.stored_size THEN 'size' ELSE 'checksum' END AS differs
  FROM glacier_archives a LEFT JOIN listed l ON l.key = a.key
 WHERE a.application_id = %(application_id)s AND a.store_uri = ANY(%(same_place)s) AND a.state = 'archived'
   AND a.archived_at < %(as_of)s AND a.key NOT LIKE 'empty:%%'
   AND a.key COLLATE "C" > %(after)s AND (%(until)s::text IS NULL OR a.key COLLATE "C" <= %(until)s)
   AND (l.key IS NULL OR l.size <> a.stored_size OR l.checksum <> a.checksum)
 ORDER BY a.id;

-- name: listed_otherwise
-- What is listed, and is not what the catalog says of its key: in another class, unknown, deleted and there, lost and there.
-- What was written just now the catalog may not know yet, nor what an upload waits to adopt.
WITH seen AS (
    SELECT l.key, l.size, coalesce(a.filename, l.key) AS name,
           CASE WHEN a.id IS NULL THEN 'unknown'
                WHEN a.state = 'lost' THEN
                    -- As it was written, and not known to be rotten.
                    CASE WHEN l.size = a.stored_size AND coalesce(l.checksum = a.checksum, true)
                              AND NOT EXISTS (SELECT FROM verified_archives v WHERE v.archive_id = a.id AND NOT v.matches)
                         THEN 'back' END
                WHEN a.state = 'deleted' THEN 'undeleted'
                WHEN l.storage_class <> CASE a.kind WHEN 'manifest' THEN 'STANDARD' ELSE %(storage_class)s END
                     AND a.store_uri = %(store_uri)s THEN 'class'
           END AS what,
           l.archive_id
      FROM listed l LEFT JOIN glacier_archives a
        ON a.application_id = %(application_id)s AND a.store_uri = ANY(%(same_place)s) AND a.key = l.key
     WHERE l.created_at IS NULL OR l.created_at < %(as_of)s)
SELECT what, count(*) AS count, sum(size) AS bytes, (array_agg(name ORDER BY key))[1:%(most)s] AS names FROM seen s
 WHERE what IS NOT NULL
   AND (what <> 'unknown' OR NOT EXISTS (
        SELECT FROM glacier_archives w WHERE w.id = s.archive_id AND w.application_id = %(application_id)s
           AND w.state IN ('planned', 'uploading', 'failed')))
 GROUP BY what;

-- name: hidden_archives
-- Archives that are lost, and whose keys delete markers hide.
SELECT a.filename FROM glacier_archives a
 WHERE a.application_id = %(application_id)s AND a.state = 'lost' AND a.key = ANY(%(keys)s) ORDER BY a.id;

-- name: newest_of_store
SELECT a.key, a.filename, a.archived_at FROM glacier_archives a
 WHERE a.application_id = %(application_id)s AND a.store_uri = %(store_uri)s AND a.state = 'archived'
   AND a.archived_at < %(as_of)s AND a.kind = 'file' ORDER BY a.id DESC LIMIT %(limit)s;

-- name: looked_through
UPDATE store_checks
   SET position = coalesce(%(until)s::text, ''),
       last_round_at = CASE WHEN %(until)s::text IS NULL THEN clock_timestamp() ELSE last_round_at END,
       round_began_at = CASE WHEN %(until)s::text IS NULL THEN clock_timestamp() ELSE round_began_at END
 WHERE application_id = %(application_id)s AND store_uri = %(store_uri)s;

-- name: newest_archives
-- The dump of a backup, and the files that were archived last.
(SELECT a.key, a.stored_size, a.checksum, a.kind, a.filename, a.id FROM glacier_archives a
  WHERE a.backup_id = %(backup_id)s AND a.kind <> 'file' AND a.state = 'archived' AND a.store_uri = ANY(%(same_place)s))
UNION ALL
(SELECT a.key, a.stored_size, a.checksum, a.kind, a.filename, a.id
   FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
  WHERE f.application_id = %(application_id)s AND f.first_backup_id = %(backup_id)s AND a.backup_id = %(backup_id)s
    AND a.state = 'archived' AND a.store_uri = ANY(%(same_place)s) AND a.stored_size > 0
  ORDER BY a.id DESC LIMIT %(limit)s);
