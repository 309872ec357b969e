-- name: plan_database_archive
-- One dump a backup: planned again (a retried task made a new dump) it takes the new figures.
INSERT INTO glacier_archives (application_id, kind, filename, backup_id, original_size, sha256, encoding, store_uri)
VALUES (%(application_id)s, 'database', %(filename)s, %(backup_id)s, %(size)s, %(sha256)s, %(encoding)s, %(store_uri)s)
ON CONFLICT (backup_id, kind) WHERE kind <> 'file' AND state IN ('planned', 'uploading', 'archived')
DO UPDATE SET filename = excluded.filename, original_size = excluded.original_size, sha256 = excluded.sha256,
              encoding = excluded.encoding, store_uri = excluded.store_uri, upload_id = NULL, part_size = NULL,
              checksum = NULL
        WHERE glacier_archives.state = 'planned'
RETURNING id;

-- name: dump_is_whole
-- Made, read through and hashed. A checksum tells that the store has every part, and what it will say of the whole.
UPDATE glacier_archives SET original_size = %(size)s, sha256 = %(sha256)s, checksum = %(checksum)s
 WHERE id = %(archive_id)s AND kind = 'database' AND state IN ('planned', 'uploading')
RETURNING id;

-- name: plan_manifest
INSERT INTO glacier_archives (application_id, kind, filename, backup_id, original_size, sha256, encoding, store_uri)
VALUES (%(application_id)s, 'manifest', %(filename)s, %(backup_id)s, %(size)s, %(sha256)s, %(encoding)s, %(store_uri)s)
ON CONFLICT (backup_id, kind) WHERE kind <> 'file' AND state IN ('planned', 'uploading', 'archived')
DO UPDATE SET original_size = excluded.original_size,
              sha256 = excluded.sha256,
              -- One that is archived and tells otherwise is of an earlier try, which did not complete the backup.
              state = CASE WHEN glacier_archives.sha256 <> excluded.sha256 AND glacier_archives.state = 'archived'
                           THEN 'uploading' ELSE glacier_archives.state END,
              earlier_sha256s = CASE WHEN glacier_archives.sha256 <> excluded.sha256
                                      AND glacier_archives.state IN ('uploading', 'archived')
                                     THEN array_append(glacier_archives.earlier_sha256s, glacier_archives.sha256)
                                     ELSE glacier_archives.earlier_sha256s END
RETURNING id, state, earlier_sha256s;

-- name: drop_unsent_dump
-- A dump that was planned, perhaps partly sent, and is no longer in staging. An upload may be there that nobody noted.
UPDATE glacier_archives
   SET state = 'failed', error = %(error)s,
       upload_id = CASE WHEN state = 'uploading' THEN coalesce(upload_id, 'unknown') ELSE upload_id END,
       doubtful_since = CASE WHEN state = 'uploading' THEN coalesce(doubtful_since, clock_timestamp()) ELSE doubtful_since END
 WHERE backup_id = %(backup_id)s AND kind = 'database' AND state IN ('planned', 'uploading')
RETURNING id, upload_id, key;

-- name: archive_of_backup
SELECT a.* FROM glacier_archives a
 WHERE a.backup_id = %(backup_id)s AND a.kind = %(kind)s AND a.state IN ('planned', 'uploading', 'archived');

-- name: archive
SELECT a.*, p.name AS application FROM glacier_archives a JOIN applications p ON p.id = a.application_id
 WHERE a.id = %(archive_id)s;

-- name: begin_uploads
-- One whose sending began before, and was not recorded, may be in its store already.
UPDATE glacier_archives
   SET state = 'uploading',
       doubtful_since = CASE WHEN state = 'uploading' THEN coalesce(doubtful_since, clock_timestamp()) ELSE doubtful_since END
 WHERE application_id = %(application_id)s AND id = ANY(%(archive_ids)s) AND state IN ('planned', 'uploading')
RETURNING id;

-- name: record_uploads
-- The store confirmed these: the one that has them, whichever was the application's when they were planned. An attached
-- file is in its directory now; a dump is not worth keeping in staging.
-- Where keys are written once, as on S3, there is no second copy; a vault may hold one that nobody knows.
-- The state as an expression: else the index of unfinished archives is read from end to end for each group, since it
-- seems to be nearly empty until statistics are made of what was just planned.
UPDATE glacier_archives AS a
   SET state = 'archived', archived_at = clock_timestamp(), error = NULL, upload_id = NULL,
       store_uri = r.store_uri, key = r.key, stored_size = r.size, original_size = r.size, checksum = r.checksum,
       sha256 = coalesce(r.sha256, a.sha256),
       doubtful_since = CASE WHEN r.store_uri LIKE 's3:%%' THEN NULL
                             WHEN r.twice THEN coalesce(a.doubtful_since, clock_timestamp())
                             ELSE a.doubtful_since END,
       tree_hash = CASE WHEN r.checksum LIKE 'treehash:%%' THEN substr(r.checksum, 10) ELSE a.tree_hash END,
       retrieval_status = CASE WHEN a.kind = 'file' THEN 'exists' ELSE 'available' END
  FROM unnest(%(ids)b::bigint[], %(store_uris)b::text[], %(keys)b::text[], %(sizes)b::bigint[], %(checksums)b::text[],
              %(sha256s)b::text[], %(twices)b::boolean[]) AS r (id, store_uri, key, size, checksum, sha256, twice)
 WHERE a.id = r.id AND a.state || '' IN ('uploading', 'planned')
RETURNING a.id;

-- name: files_grew
-- Between scan and upload: what the newest backup contains is what was archived.
UPDATE application_data_backups b SET files_bytes = greatest(0, b.files_bytes + %(bytes)s)
 WHERE b.id = (SELECT max(id) FROM application_data_backups
                WHERE application_id = %(application_id)s AND scanned_at IS NOT NULL)
   AND b.state IN ('running', 'failed')
RETURNING b.id;

-- name: remember_upload
UPDATE glacier_archives SET upload_id = %(upload_id)s, part_size = %(part_size)s, upload_by = %(upload_by)s
 WHERE id = %(archive_id)s AND state = 'uploading'
RETURNING id;

-- name: forget_upload
UPDATE glacier_archives SET upload_id = NULL, part_size = NULL WHERE id = %(archive_id)s;

-- name: abandoned_uploads
-- Given up while they were sent in parts.
SELECT a.id, a.kind, a.filename, a.original_size, a.backup_id, a.store_uri FROM glacier_archives a
 WHERE a.application_id = %(application_id)s AND a.state = 'failed' AND a.upload_id IS NOT NULL
   AND a.store_uri = %(store_uri)s
 ORDER BY a.id LIMIT %(limit)s;

-- name: give_up_upload
-- Its key is taken: sent, not recorded, and then the file changed, or another catalog sent it.
UPDATE glacier_archives SET state = 'failed', error = 'Its key held something else; the file was archived again under another.',
       doubtful_since = coalesce(doubtful_since, clock_timestamp())
 WHERE id = %(archive_id)s AND kind = 'file' AND state IN ('planned', 'uploading')
RETURNING id;

-- name: plan_file_again
INSERT INTO glacier_archives (application_id, kind, filename, backup_id, original_size, store_uri, to_compare, state)
SELECT application_id, kind, filename, backup_id, original_size, store_uri, to_compare, 'uploading' FROM glacier_archives
 WHERE id = %(archive_id)s
RETURNING id, filename, original_size, backup_id, store_uri, to_compare;

-- name: replace_identity
UPDATE file_identities SET archive_id = %(by)s WHERE archive_id = %(archive_id)s;

-- name: give_up_dump
-- Its key is taken: another life of the catalog gave the id, and sent another dump.
UPDATE glacier_archives SET state = 'failed', error = 'Its key held something else; the dump was archived under another.'
 WHERE id = %(archive_id)s AND kind = 'database' AND state IN ('planned', 'uploading')
RETURNING id;

-- name: plan_dump_again
INSERT INTO glacier_archives (application_id, kind, filename, backup_id, original_size, sha256, encoding, store_uri)
SELECT application_id, kind, filename, backup_id, original_size, sha256, encoding, store_uri FROM glacier_archives
 WHERE id = %(archive_id)s
RETURNING id, filename, original_size, backup_id, store_uri;

-- name: replace_dump
UPDATE application_data_backups SET database_archive_id = %(by)s WHERE database_archive_id = %(archive_id)s;

-- name: replace_member
UPDATE backup_files SET archive_id = %(by)s WHERE archive_id = %(archive_id)s;

-- name: earlier_versions
-- What else was archived under the names of these archives, and may have the content that their files have now.
SELECT n.id, v.id AS earlier, v.stored_size, v.checksum
  FROM glacier_archives n
  JOIN glacier_archives v ON v.application_id = n.application_id AND v.filename = n.filename AND v.kind = 'file'
   AND v.state = 'archived' AND v.superseded
 WHERE n.id = ANY(%(archive_ids)s)
 ORDER BY n.id, v.id DESC;

-- name: withdraw_versions
-- They turned out to have the content of an earlier archive. One that was perhaps sent before stays, as given up.
WITH withdrawn AS (
    SELECT a.id, a.doubtful_since IS NULL AND a.upload_id IS NULL AS never_sent FROM glacier_archives a
     WHERE a.id = ANY(%(archive_ids)s) AND a.kind = 'file' AND a.state IN ('planned', 'uploading')),
given_up AS (
    UPDATE glacier_archives a
       SET state = 'failed', error = 'Its file has the content of an earlier archive after all.'
      FROM withdrawn w WHERE a.id = w.id AND NOT w.never_sent),
removed AS (
    DELETE FROM glacier_archives a USING withdrawn w WHERE a.id = w.id AND w.never_sent)
SELECT id FROM withdrawn;

-- name: current_again
-- The archives that the names have again.
UPDATE glacier_archives a SET superseded = false, retrieval_status = 'exists'
  FROM unnest(%(earlier)s::bigint[]) AS e (id)
 WHERE a.id = e.id AND a.state = 'archived' AND a.superseded
RETURNING a.id;

-- name: hand_over_identities
WITH seen AS (
    DELETE FROM file_identities i USING unnest(%(archive_ids)s::bigint[], %(earlier)s::bigint[]) AS p (id, earlier)
     WHERE i.archive_id = p.id
    RETURNING p.earlier, i.mtime_ns, i.inode)
INSERT INTO file_identities (archive_id, mtime_ns, inode)
SELECT earlier, mtime_ns, inode FROM seen
ON CONFLICT (archive_id) DO UPDATE SET mtime_ns = excluded.mtime_ns, inode = excluded.inode;

-- name: hand_over_ranges
-- Membership goes with the content. A range that goes on where the earlier archive's ended, as if nothing had been, goes on.
WITH taken AS (
    DELETE FROM backup_files f USING unnest(%(archive_ids)s::bigint[], %(earlier)s::bigint[]) AS p (id, earlier)
     WHERE f.archive_id = p.id
    RETURNING p.earlier, f.application_id, f.first_backup_id, f.last_backup_id),
continued AS (
    UPDATE backup_files f SET last_backup_id = t.last_backup_id
      FROM taken t WHERE f.archive_id = t.earlier AND f.last_backup_id = t.first_backup_id - 1
    RETURNING f.archive_id, t.first_backup_id)
INSERT INTO backup_files (archive_id, application_id, first_backup_id, last_backup_id)
SELECT t.earlier, t.application_id, t.first_backup_id, t.last_backup_id FROM taken t
 WHERE NOT EXISTS (SELECT FROM continued c WHERE c.archive_id = t.earlier AND c.first_backup_id = t.first_backup_id);

-- name: note_upload_errors
UPDATE glacier_archives AS a SET error = r.error
  FROM unnest(%(ids)s::bigint[], %(errors)s::text[]) AS r (id, error)
 WHERE a.id = r.id;

-- name: note_unread
-- Files that this backup could not read, with every try that it had.
UPDATE glacier_archives SET unread_by = %(backup_id)s
 WHERE id = ANY(%(archive_ids)s) AND kind = 'file' AND state IN ('planned', 'uploading');

-- name: count_unread
-- How many files of this backup could not be read, and some of them.
SELECT count(*) AS files, coalesce((array_agg(a.filename ORDER BY a.id))[1:5], '{}') AS named
  FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id AND f.last_backup_id IS NULL
 WHERE a.application_id = %(application_id)s AND a.unread_by = %(backup_id)s AND a.kind = 'file'
   AND a.state IN ('planned', 'uploading');

-- name: leave_out_unread
-- They are no part of this backup, which says so; the next one finds them new.
WITH unread AS (
    UPDATE glacier_archives a SET state = 'failed',
           doubtful_since = CASE WHEN a.state = 'uploading' THEN coalesce(a.doubtful_since, clock_timestamp())
                                 ELSE a.doubtful_since END,
           upload_id = CASE WHEN a.original_size > 8388608 THEN coalesce(a.upload_id, 'unknown') ELSE a.upload_id END
      FROM backup_files f
     WHERE f.archive_id = a.id AND f.last_backup_id IS NULL AND a.application_id = %(application_id)s
       AND a.unread_by = %(backup_id)s AND a.kind = 'file' AND a.state IN ('planned', 'uploading')
    RETURNING a.id, a.filename, a.original_size, a.error, a.backup_id),
removed AS (DELETE FROM backup_files f USING unread WHERE f.archive_id = unread.id),
named AS (SELECT filename, error FROM unread ORDER BY id LIMIT %(limit)s)
UPDATE application_data_backups b
   SET files_count = b.files_count - u.files, files_bytes = greatest(0, b.files_bytes - u.bytes),
       new_files_count = greatest(0, b.new_files_count - u.new_files),
       new_files_bytes = greatest(0, b.new_files_bytes - u.new_bytes),
       report = b.report || jsonb_build_object('unreadable_count', u.files, 'unreadable',
           (SELECT jsonb_agg(jsonb_build_object('name', filename, 'error', error)) FROM named))
  FROM (SELECT count(*) AS files, coalesce(sum(original_size), 0)::bigint AS bytes,
               count(*) FILTER (WHERE backup_id = %(backup_id)s) AS new_files,
               coalesce(sum(original_size) FILTER (WHERE backup_id = %(backup_id)s), 0)::bigint AS new_bytes
          FROM unread) AS u
 WHERE b.id = %(backup_id)s AND b.state = 'running' AND u.files > 0
RETURNING b.id;

-- name: drop_vanished
-- Planned, but gone from the directory before it was read: no longer part of this backup, nor counted as such.
WITH gone AS (
    UPDATE glacier_archives SET state = 'failed', error = 'The file vanished before it was archived.',
           doubtful_since = CASE WHEN state = 'uploading' THEN coalesce(doubtful_since, clock_timestamp())
                                 ELSE doubtful_since END,
           upload_id = CASE WHEN original_size > 8388608 THEN coalesce(upload_id, 'unknown') ELSE upload_id END
     WHERE id = ANY(%(archive_ids)s) AND state IN ('planned', 'uploading') AND kind = 'file'
    RETURNING id, application_id, original_size, backup_id),
removed AS (DELETE FROM backup_files f USING gone WHERE f.archive_id = gone.id RETURNING f.archive_id),
newest AS (SELECT max(id) AS id FROM application_data_backups
            WHERE application_id IN (SELECT application_id FROM gone) AND scanned_at IS NOT NULL)
UPDATE application_data_backups b
   SET files_count = greatest(0, b.files_count - u.files), files_bytes = greatest(0, b.files_bytes - u.bytes),
       new_files_count = greatest(0, b.new_files_count - u.new_files),
       new_files_bytes = greatest(0, b.new_files_bytes - u.new_bytes)
  FROM (SELECT count(*) AS files, coalesce(sum(original_size), 0)::bigint AS bytes,
               count(*) FILTER (WHERE backup_id = newest.id) AS new_files,
               coalesce(sum(original_size) FILTER (WHERE backup_id = newest.id), 0)::bigint AS new_bytes
          FROM gone JOIN removed ON removed.archive_id = gone.id, newest) AS u, newest
 WHERE b.id = newest.id AND b.state IN ('running', 'failed') AND u.files > 0
RETURNING b.id;

-- name: unfinished_files
-- A page of files to upload, in id order.
SELECT a.id, a.filename, a.original_size, a.state, a.upload_id, a.part_size, a.backup_id, a.store_uri, a.to_compare
  FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id AND f.last_backup_id IS NULL
 WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.state IN ('planned', 'uploading')
   AND a.id > %(after)s AND a.id <= %(last)s
 ORDER BY a.id LIMIT %(limit)s;

-- name: unfinished_ranges
-- Equal shares of the files to upload, as ranges of archive ids: at most %(shares)s, none below %(smallest)s files.
WITH unfinished AS (
    SELECT a.id, a.original_size FROM glacier_archives a
      JOIN backup_files f ON f.archive_id = a.id AND f.last_backup_id IS NULL
     WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.state IN ('planned', 'uploading')),
shares AS (
    SELECT greatest(1, least(%(shares)s, ceil(count(*) / %(smallest)s::numeric)))::integer AS n FROM unfinished)
SELECT min(id) AS first, max(id) AS last, count(*) AS archives, sum(original_size)::bigint AS bytes
  FROM (SELECT id, original_size, ntile((SELECT n FROM shares)) OVER (ORDER BY id) AS share FROM unfinished) AS numbered
 GROUP BY share ORDER BY share;

-- name: manifest_added
-- Files that this backup contains and the previous manifest does not.
SELECT a.id, a.filename, a.stored_size, a.sha256, a.checksum, a.encoding, a.store_uri, a.key, a.backup_id, a.archived_at
  FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
 WHERE f.application_id = %(application_id)s
   AND f.first_backup_id > %(previous)s AND f.first_backup_id <= %(backup_id)s
   AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s)
   AND NOT EXISTS (SELECT FROM backup_files o WHERE o.archive_id = f.archive_id
                      AND o.first_backup_id <= %(previous)s
                      AND (o.last_backup_id IS NULL OR o.last_backup_id >= %(previous)s))
 ORDER BY a.id;

-- name: manifest_removed
-- Archives of the previous manifest that this backup does not contain.
SELECT f.archive_id AS id FROM backup_files f
 WHERE f.application_id = %(application_id)s
   AND f.last_backup_id >= %(previous)s AND f.last_backup_id < %(backup_id)s AND f.first_backup_id <= %(previous)s
   AND NOT EXISTS (SELECT FROM backup_files o WHERE o.archive_id = f.archive_id
                      AND o.first_backup_id <= %(backup_id)s
                      AND (o.last_backup_id IS NULL OR o.last_backup_id >= %(backup_id)s))
 ORDER BY f.archive_id;

-- name: changes_since_full_manifest
-- How many changes the manifests hold since the last one that lists every file; null when there is none.
SELECT (SELECT coalesce(sum(coalesce(b.new_files_count, 0) + coalesce(b.vanished_count, 0)
                            + coalesce(b.returned_count, 0)), 0)::bigint
          FROM application_data_backups b
         WHERE b.application_id = %(application_id)s AND b.id > base.id AND b.id <= %(backup_id)s) AS changes
  FROM (SELECT max(id) AS id FROM application_data_backups
         WHERE application_id = %(application_id)s AND state = 'complete' AND previous_backup_id IS NULL) AS base
 WHERE base.id IS NOT NULL;
