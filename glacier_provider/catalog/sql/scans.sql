-- name: create_scanned
-- What a walk found. Lives as long as the transaction. Names compare as those of archives do, so that indexes serve.
CREATE TEMPORARY TABLE scanned (name text NOT NULL, size bigint NOT NULL, young boolean NOT NULL DEFAULT false)
    ON COMMIT DROP;

-- name: analyze_scanned
ANALYZE scanned;

-- name: scan_memory
-- Of this transaction alone: sets of a million names are joined in memory.
SELECT set_config('work_mem', '128MB', true);

-- name: lock_scans
-- Whatever changes the catalog's picture of the directory waits until this scan is over; see doubt_ranges().
SELECT pg_advisory_xact_lock(scan_lock(), %(application_id)s);

-- name: last_full_walk
SELECT scan_rules AS rules, extract(epoch FROM clock_timestamp() - full_walk_at)::float8 AS age FROM applications
 WHERE id = %(application_id)s;

-- name: remembered_directories
SELECT directory, files, bytes, names, sizes, inode, changed_ns FROM scanned_directories
 WHERE application_id = %(application_id)s ORDER BY directory COLLATE "C";

-- name: create_looked
-- Directories of which the walk told something. Lives as long as the transaction.
CREATE TEMPORARY TABLE looked (directory text NOT NULL, files bigint, bytes bigint, names bytea, sizes bytea,
    inode bigint, changed_ns bigint, change text NOT NULL) ON COMMIT DROP;

-- name: analyze_looked
ANALYZE looked;

-- name: open_files
SELECT count(*) AS files FROM backup_files WHERE application_id = %(application_id)s AND last_backup_id IS NULL;

-- name: correct_planned_sizes
-- Not sent yet, and meanwhile of another size: the new size is what will be read.
UPDATE glacier_archives a SET original_size = s.size
  FROM scanned s
 WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.state = 'planned'
   AND a.filename = s.name AND a.original_size <> s.size;

-- name: changed_sizes
-- Breaches of the immutability rule: archived under this name with another size. Lives as long as the transaction.
CREATE TEMPORARY TABLE breaches ON COMMIT DROP AS
SELECT a.filename AS name, a.original_size AS archived_size, s.size AS size
  FROM scanned s JOIN glacier_archives a ON a.filename = s.name
 WHERE a.application_id = %(application_id)s AND a.kind = 'file'
   AND a.state IN ('planned', 'uploading', 'archived') AND a.state <> 'planned' AND a.original_size <> s.size;

-- name: breaches
SELECT name, archived_size, size FROM breaches ORDER BY name LIMIT %(limit)s;

-- name: plan_new_files
INSERT INTO glacier_archives (application_id, kind, filename, backup_id, original_size, store_uri)
SELECT %(application_id)s, 'file', s.name, %(backup_id)s, s.size, %(store_uri)s
  FROM scanned s
 WHERE NOT EXISTS (
       SELECT FROM glacier_archives a
        WHERE a.application_id = %(application_id)s AND a.filename = s.name
          AND a.kind = 'file' AND a.state IN ('planned', 'uploading', 'archived'));

-- name: open_ranges
-- Files that are there and have no open range: new ones, and those that came back.
WITH opened AS (
    INSERT INTO backup_files (archive_id, application_id, first_backup_id)
    SELECT a.id, a.application_id, %(backup_id)s
      FROM scanned s
      JOIN glacier_archives a ON a.filename = s.name
     WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.state IN ('planned', 'uploading', 'archived')
       AND NOT EXISTS (SELECT FROM backup_files f WHERE f.archive_id = a.id AND f.last_backup_id IS NULL)
    RETURNING archive_id),
present AS (
    UPDATE glacier_archives a SET retrieval_status = 'exists'
      FROM opened WHERE a.id = opened.archive_id AND a.state = 'archived' AND a.retrieval_status <> 'exists')
SELECT count(*) AS opened FROM opened;

-- name: vanished
-- Files with an open range in directories that were told, and that the walk did not find there.
CREATE TEMPORARY TABLE vanished ON COMMIT DROP AS
SELECT f.archive_id, f.first_backup_id, a.state
  FROM (SELECT directory FROM looked WHERE change <> 'touched') AS l
  JOIN glacier_archives a ON directory_of(a.filename) = l.directory
  JOIN backup_files f ON f.archive_id = a.id AND f.last_backup_id IS NULL
 WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.state IN ('planned', 'uploading', 'archived')
   AND NOT EXISTS (SELECT FROM scanned s WHERE s.name = a.filename);

-- name: vanished_anywhere
-- Files with an open range that a walk through all of the directory did not find; and what a rebuild noted as lost: its
-- file, when it is there, is planned anew.
CREATE TEMPORARY TABLE vanished ON COMMIT DROP AS
SELECT f.archive_id, f.first_backup_id, a.state
  FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
 WHERE f.application_id = %(application_id)s AND f.last_backup_id IS NULL
   AND (a.state = 'deleted' OR NOT EXISTS (SELECT FROM scanned s WHERE s.name = a.filename));

-- name: analyze_vanished
ANALYZE vanished;

-- name: forget_ranges_of_this_backup
-- Opened by an earlier try of this same backup, and gone again: never part of a backup. What is lost stays part of its.
DELETE FROM backup_files f USING vanished v
 WHERE f.archive_id = v.archive_id AND f.last_backup_id IS NULL
   AND (f.first_backup_id = %(backup_id)s OR v.state NOT IN ('archived', 'deleted'));

-- name: close_ranges
UPDATE backup_files f SET last_backup_id = %(backup_id)s - 1
  FROM vanished v
 WHERE f.archive_id = v.archive_id AND f.last_backup_id IS NULL AND f.first_backup_id < %(backup_id)s;

-- name: give_up_vanished
UPDATE glacier_archives a
   SET state = CASE WHEN a.state IN ('planned', 'uploading') THEN 'failed' ELSE a.state END,
       error = CASE WHEN a.state IN ('planned', 'uploading') THEN 'The file vanished before it was archived.' END,
       doubtful_since = CASE WHEN a.state = 'uploading' THEN coalesce(a.doubtful_since, clock_timestamp())
                             ELSE a.doubtful_since END,
       -- Perhaps half sent, also when a death came before the upload's id was noted.
       upload_id = CASE WHEN a.state = 'uploading' AND a.original_size > 8388608
                        THEN coalesce(a.upload_id, 'unknown') ELSE a.upload_id END,
       retrieval_status = CASE WHEN a.retrieval_status = 'exists' THEN 'available' ELSE a.retrieval_status END
  FROM vanished v
 WHERE a.id = v.archive_id AND (a.state IN ('planned', 'uploading') OR a.retrieval_status = 'exists');

-- name: forget_directories
-- No longer there.
DELETE FROM scanned_directories d USING looked l
 WHERE d.application_id = %(application_id)s AND d.directory = l.directory AND l.change = 'gone';

-- name: forget_all_other_directories
DELETE FROM scanned_directories d
 WHERE d.application_id = %(application_id)s AND NOT EXISTS (SELECT FROM looked l WHERE l.directory = d.directory);

-- name: remember_directories
-- After everything that this scan changed. Where a known file has another size, the next scan looks again.
INSERT INTO scanned_directories AS d (application_id, directory, files, bytes, names, sizes, inode, changed_ns)
SELECT %(application_id)s, l.directory, l.files, l.bytes, CASE WHEN b.directory IS NULL THEN l.names END, l.sizes,
       l.inode, l.changed_ns
  FROM looked l LEFT JOIN (SELECT DISTINCT directory_of(name) AS directory FROM breaches) AS b ON b.directory = l.directory
 WHERE l.change <> 'gone'
ON CONFLICT (application_id, directory) DO UPDATE
   SET files = excluded.files, bytes = excluded.bytes, names = excluded.names, sizes = excluded.sizes,
       inode = excluded.inode, changed_ns = excluded.changed_ns
 WHERE (d.files, d.bytes, d.names, d.sizes, d.inode, d.changed_ns)
       IS DISTINCT FROM (excluded.files, excluded.bytes, excluded.names, excluded.sizes, excluded.inode, excluded.changed_ns);

-- name: record_full_walk
UPDATE applications SET full_walk_at = clock_timestamp() WHERE id = %(application_id)s;

-- name: record_rules
-- Every directory that holds a file is remembered now, as these rules show it.
UPDATE applications SET scan_rules = %(rules)s WHERE id = %(application_id)s AND scan_rules IS DISTINCT FROM %(rules)s;

-- name: record_scan
-- Counted from the ranges themselves, so that a repeated scan of the same backup says the same.
UPDATE application_data_backups b
   SET scanned_at = clock_timestamp(), files_count = %(files)s, files_bytes = %(bytes)s,
       new_files_count = opened.new_files, new_files_bytes = opened.new_bytes, returned_count = opened.returned,
       vanished_count = (SELECT count(*) FROM backup_files f
                          WHERE f.application_id = %(application_id)s AND f.last_backup_id = %(backup_id)s - 1)
  FROM (SELECT count(*) FILTER (WHERE a.backup_id = f.first_backup_id) AS new_files,
               coalesce(sum(a.original_size) FILTER (WHERE a.backup_id = f.first_backup_id), 0)::bigint AS new_bytes,
               count(*) FILTER (WHERE a.backup_id <> f.first_backup_id) AS returned
          FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
         WHERE f.application_id = %(application_id)s AND f.first_backup_id = %(backup_id)s) AS opened
 WHERE b.id = %(backup_id)s AND b.state IN ('running', 'failed')
RETURNING b.files_count, b.files_bytes, b.new_files_count, b.new_files_bytes, b.vanished_count, b.returned_count;

-- name: create_referenced
CREATE TEMPORARY TABLE referenced (name text NOT NULL) ON COMMIT DROP;

-- name: unarchived_references
-- Names that the database knows in the dump's snapshot and that this backup will not hold.
SELECT DISTINCT r.name FROM referenced r
 WHERE NOT EXISTS (
       SELECT FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
        WHERE a.application_id = %(application_id)s AND a.filename = r.name AND a.kind = 'file'
          AND a.state IN ('planned', 'uploading', 'archived')
          AND f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s))
 ORDER BY r.name;
