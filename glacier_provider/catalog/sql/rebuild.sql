-- name: rebuild_alone
-- Two rebuilds of one application wait for each other, and the second finds the first one's work.
SELECT a.id, a.name FROM applications a WHERE a.id = %(application_id)s FOR UPDATE;

-- name: rebuild_in_the_way
SELECT (SELECT count(*) FROM application_data_backups b WHERE b.application_id = %(application_id)s) AS backups,
       (SELECT count(*) FROM glacier_archives a WHERE a.application_id = %(application_id)s) AS archives;

-- name: rebuild_forgotten_scans
-- What a scan remembers of directories is worth nothing: the next one looks at everything.
UPDATE applications SET scan_rules = NULL, full_walk_at = NULL WHERE id = %(application_id)s;

-- name: create_rebuild_tables
CREATE TEMPORARY TABLE told_backups (
    backup_id bigint PRIMARY KEY, previous bigint, manifest_id bigint, head jsonb, error text) ON COMMIT DROP;
CREATE TEMPORARY TABLE told_files (backup_id bigint, archive_id bigint, file jsonb) ON COMMIT DROP;
CREATE TEMPORARY TABLE told_gone (backup_id bigint, archive_id bigint) ON COMMIT DROP;
CREATE TEMPORARY TABLE found_archives (
    store_uri text, key text, size bigint, checksum text, told jsonb, PRIMARY KEY (store_uri, key)) ON COMMIT DROP;

-- name: index_rebuild_tables
CREATE INDEX ON told_files (backup_id, archive_id);
CREATE INDEX ON told_gone (backup_id, archive_id);
ANALYZE told_backups;
ANALYZE told_files;
ANALYZE told_gone;

-- name: rebuild_taken_ids
-- Ids that another application of this catalog uses: it was begun anew before this one was rebuilt.
SELECT 'archive' AS what, a.id FROM glacier_archives a
 WHERE a.id IN (SELECT archive_id FROM told_files UNION SELECT manifest_id FROM told_backups
                UNION SELECT (head->'database'->>'id')::bigint FROM told_backups)
UNION ALL
SELECT 'backup', b.id FROM application_data_backups b WHERE b.id IN (SELECT backup_id FROM told_backups)
 LIMIT 1;

-- name: rebuild_file_archives
-- The newest manifest that names an archive tells its row.
INSERT INTO glacier_archives (id, application_id, kind, filename, backup_id, original_size, stored_size, sha256,
       tree_hash, checksum, encoding, store_uri, key, state, retrieval_status, created_at, archived_at)
SELECT archive_id, %(application_id)s, 'file', file->>'filename', (file->>'backup_id')::bigint,
       (file->>'stored_size')::bigint, (file->>'stored_size')::bigint, file->>'sha256',
       CASE WHEN file->>'checksum' LIKE 'treehash:%%' THEN substr(file->>'checksum', 10) END,
       file->>'checksum', file->>'encoding', file->>'store_uri', file->>'key', 'archived', 'available',
       (file->>'archived_at')::timestamptz, (file->>'archived_at')::timestamptz
  FROM (SELECT DISTINCT ON (archive_id) archive_id, file FROM told_files ORDER BY archive_id, backup_id DESC) AS newest;

-- name: rebuild_database_archives
INSERT INTO glacier_archives (id, application_id, kind, filename, backup_id, original_size, stored_size, sha256,
       tree_hash, checksum, encoding, store_uri, key, state, created_at, archived_at)
SELECT (d->>'id')::bigint, %(application_id)s, 'database', d->>'filename', backup_id, (d->>'original_size')::bigint,
       (d->>'stored_size')::bigint, d->>'sha256',
       CASE WHEN d->>'checksum' LIKE 'treehash:%%' THEN substr(d->>'checksum', 10) END,
       d->>'checksum', d->>'encoding', d->>'store_uri', d->>'key', 'archived',
       (d->>'archived_at')::timestamptz, (d->>'archived_at')::timestamptz
  FROM (SELECT backup_id, head->'database' AS d FROM told_backups) AS told;

-- name: rebuild_backups
INSERT INTO application_data_backups (id, application_id, state, dag_id, dag_run_id, opened_at, closed_at, snapshot_at,
       scanned_at, server_version, client_version, dump_format, database_archive_id, manifest_archive_id, files_count,
       files_bytes, new_files_count, new_files_bytes, vanished_count, returned_count, report, error)
SELECT backup_id, %(application_id)s, CASE WHEN error IS NULL THEN 'complete' ELSE 'failed' END, head->>'dag_id',
       head->>'dag_run_id', (head->>'opened_at')::timestamptz,
       coalesce(head->'database'->>'archived_at', head->>'scanned_at', head->>'opened_at')::timestamptz,
       (head->>'snapshot_at')::timestamptz, (head->>'scanned_at')::timestamptz, head->>'server_version',
       head->>'client_version', head->>'dump_format', (head->'database'->>'id')::bigint, manifest_id,
       (head->>'files_count')::bigint, (head->>'files_bytes')::bigint, (head->>'new_files_count')::bigint,
       (head->>'new_files_bytes')::bigint, (head->>'vanished_count')::bigint, (head->>'returned_count')::bigint,
       coalesce(head->'report', '{}'), error
  FROM told_backups ORDER BY backup_id;

-- name: rebuild_previous
UPDATE application_data_backups b SET previous_backup_id = t.previous
  FROM told_backups t WHERE t.backup_id = b.id AND t.previous IS NOT NULL
   AND EXISTS (SELECT FROM application_data_backups p WHERE p.id = t.previous);

-- name: rebuild_closed_ranges
-- What went: named as gone, or, with a manifest that lists every file, not listed. A manifest may continue an earlier
-- one than that before it, of a backup that failed at its very end: then what came since has to be named again.
UPDATE backup_files f SET last_backup_id = %(before)s
 WHERE f.application_id = %(application_id)s AND f.last_backup_id IS NULL
   AND CASE WHEN %(full)s THEN NOT EXISTS (SELECT FROM told_files t WHERE t.backup_id = %(backup_id)s AND t.archive_id = f.archive_id)
            ELSE EXISTS (SELECT FROM told_gone g WHERE g.backup_id = %(backup_id)s AND g.archive_id = f.archive_id)
                 OR (f.first_backup_id > %(previous)s
                     AND NOT EXISTS (SELECT FROM told_files t WHERE t.backup_id = %(backup_id)s AND t.archive_id = f.archive_id)
                     AND NOT EXISTS (SELECT FROM backup_files o WHERE o.archive_id = f.archive_id
                                        AND %(previous)s BETWEEN o.first_backup_id AND o.last_backup_id)) END;

-- name: rebuild_returned_ranges
-- What went after the manifest that this one continues, and came back without being named.
INSERT INTO backup_files (archive_id, application_id, first_backup_id)
SELECT o.archive_id, %(application_id)s, %(backup_id)s FROM backup_files o
 WHERE o.application_id = %(application_id)s AND %(previous)s BETWEEN o.first_backup_id AND o.last_backup_id
   AND NOT EXISTS (SELECT FROM told_gone g WHERE g.backup_id = %(backup_id)s AND g.archive_id = o.archive_id)
   AND NOT EXISTS (SELECT FROM backup_files f WHERE f.archive_id = o.archive_id AND f.last_backup_id IS NULL);

-- name: rebuild_opened_ranges
INSERT INTO backup_files (archive_id, application_id, first_backup_id)
SELECT t.archive_id, %(application_id)s, %(backup_id)s FROM told_files t
 WHERE t.backup_id = %(backup_id)s
   AND NOT EXISTS (SELECT FROM backup_files f WHERE f.archive_id = t.archive_id AND f.last_backup_id IS NULL);

-- name: rebuild_present
-- As far as the newest backup knows they are in their directory; the next scan or restore looks.
UPDATE glacier_archives a SET retrieval_status = 'exists'
  FROM backup_files f WHERE f.archive_id = a.id AND f.last_backup_id IS NULL AND f.application_id = %(application_id)s;

-- name: rebuild_lost_archives
-- The manifests name them, and their store does not have them.
UPDATE glacier_archives a SET state = 'deleted', error = 'It was not in its store when the catalog was rebuilt.'
 WHERE a.application_id = %(application_id)s AND a.state = 'archived' AND a.stored_size > 0
   AND NOT EXISTS (SELECT FROM found_archives l WHERE l.store_uri = a.store_uri AND l.key = a.key)
RETURNING a.id, a.kind, a.filename, a.backup_id;

-- name: rebuild_backups_without_dump
UPDATE application_data_backups b SET state = 'failed', error = 'Its dump is not in the store: deleted, or lost.'
  FROM glacier_archives a
 WHERE b.application_id = %(application_id)s AND a.id = b.database_archive_id AND a.state = 'deleted'
   AND b.state = 'complete'
RETURNING b.id;

-- name: rebuild_files_lost
-- Lost files that a complete backup counts on.
SELECT a.filename, b.id AS backup_id FROM glacier_archives a
  JOIN backup_files f ON f.archive_id = a.id
  JOIN LATERAL (SELECT b.id FROM application_data_backups b
                 WHERE b.application_id = a.application_id AND b.state = 'complete' AND b.id >= f.first_backup_id
                   AND (f.last_backup_id IS NULL OR b.id <= f.last_backup_id)
                 ORDER BY b.id DESC LIMIT 1) AS b ON true
 WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.state = 'deleted'
 ORDER BY a.filename;

-- name: rebuild_undescribed
-- What a store holds that no manifest names, and that its listing does not describe.
SELECT l.key FROM found_archives l
 WHERE l.store_uri = %(store_uri)s AND l.told IS NULL
   AND NOT EXISTS (SELECT FROM glacier_archives a WHERE a.store_uri = l.store_uri AND a.key = l.key)
 ORDER BY l.key;

-- name: rebuild_unnamed
SELECT l.store_uri, l.key, l.size, l.checksum, l.told FROM found_archives l
 WHERE l.told IS NOT NULL
   AND NOT EXISTS (SELECT FROM glacier_archives a WHERE a.store_uri = l.store_uri AND a.key = l.key)
 ORDER BY (l.told->>'archive_id')::bigint, l.key;

-- name: rebuild_adopted
-- An archive of a backup that never got its manifest. As long as no other one has its id or its name, it is kept for it:
-- the next scan finds the file archived.
INSERT INTO glacier_archives (id, application_id, kind, filename, backup_id, original_size, stored_size, sha256,
       tree_hash, checksum, encoding, store_uri, key, state, retrieval_status, archived_at)
VALUES (%(archive_id)s, %(application_id)s, %(kind)s, %(filename)s, %(backup_id)s, %(size)s, %(size)s, %(sha256)s,
        CASE WHEN %(checksum)s LIKE 'treehash:%%' THEN substr(%(checksum)s, 10) END, %(checksum)s, %(encoding)s, %(store_uri)s, %(key)s, 'archived', 'available', now())
ON CONFLICT DO NOTHING
RETURNING id;

-- name: rebuild_unfinished_backup
INSERT INTO application_data_backups (id, application_id, state, dag_id, dag_run_id, opened_at, closed_at, error)
VALUES (%(backup_id)s, %(application_id)s, 'failed', 'unknown', 'rebuilt ' || %(backup_id)s, now(), now(),
        %(error)s)
ON CONFLICT DO NOTHING;

-- name: rebuild_sequences
-- An id is never used again, also not one that only the store remembers.
SELECT setval(pg_get_serial_sequence('glacier_archives', 'id'),
              greatest(%(archive_id)s, (SELECT max(id) FROM glacier_archives),
                       (SELECT last_value FROM glacier_archives_id_seq), 1)),
       setval(pg_get_serial_sequence('application_data_backups', 'id'),
              greatest(%(backup_id)s, (SELECT max(id) FROM application_data_backups),
                       (SELECT last_value FROM application_data_backups_id_seq), 1));

-- name: rebuild_describe
UPDATE found_archives f SET size = d.size, checksum = d.checksum, told = d.told::jsonb
  FROM unnest(%(keys)s::text[], %(sizes)s::bigint[], %(checksums)s::text[], %(tolds)s::text[])
       AS d (key, size, checksum, told)
 WHERE f.store_uri = %(store_uri)s AND f.key = d.key;
