-- name: create_scanned
-- What a walk found. Lives as long as the transaction.
CREATE TEMPORARY TABLE scanned (name text COLLATE "C" NOT NULL, size bigint NOT NULL, young boolean NOT NULL)
    ON COMMIT DROP;

-- name: analyze_scanned
ANALYZE scanned;

-- name: emptied
-- How many files were there at the last scan, when this one found none.
SELECT count(*) AS files FROM backup_files
 WHERE application_id = %(application_id)s AND last_backup_id IS NULL AND NOT EXISTS (SELECT FROM scanned);

-- name: correct_planned_sizes
-- Not sent yet, and meanwhile of another size: the new size is what will be read.
UPDATE glacier_archives a SET original_size = s.size
  FROM scanned s
 WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.state = 'planned'
   AND a.filename = s.name AND a.original_size <> s.size;

-- name: changed_sizes
-- Breaches of the immutability rule: archived under this name with another size.
SELECT a.filename AS name, a.original_size AS archived_size, s.size AS size
  FROM scanned s JOIN glacier_archives a ON a.filename = s.name
 WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.state IN ('uploading', 'archived')
   AND a.original_size <> s.size
 ORDER BY a.filename;

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
-- Files with an open range that the walk did not find.
CREATE TEMPORARY TABLE vanished ON COMMIT DROP AS
SELECT f.archive_id, f.first_backup_id, a.state
  FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
 WHERE f.application_id = %(application_id)s AND f.last_backup_id IS NULL
   AND NOT EXISTS (SELECT FROM scanned s WHERE s.name = a.filename);

-- name: forget_ranges_of_this_backup
-- Opened by an earlier try of this same backup, and gone again: never part of a backup.
DELETE FROM backup_files f USING vanished v
 WHERE f.archive_id = v.archive_id AND f.last_backup_id IS NULL
   AND (f.first_backup_id >= %(backup_id)s OR v.state <> 'archived');

-- name: close_ranges
UPDATE backup_files f SET last_backup_id = %(backup_id)s - 1
  FROM vanished v
 WHERE f.archive_id = v.archive_id AND f.last_backup_id IS NULL;

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

-- name: record_scan
-- Counted from the ranges themselves, so that a repeated scan of the same backup says the same.
UPDATE application_data_backups b
   SET scanned_at = clock_timestamp(),
       files_count = (SELECT count(*) FROM scanned),
       files_bytes = (SELECT coalesce(sum(size), 0)::bigint FROM scanned),
       new_files_count = opened.new_files, new_files_bytes = opened.new_bytes, returned_count = opened.returned,
       vanished_count = (SELECT count(*) FROM backup_files f
                          WHERE f.application_id = %(application_id)s AND f.last_backup_id = %(backup_id)s - 1)
  FROM (SELECT count(*) FILTER (WHERE a.backup_id = f.first_backup_id) AS new_files,
               coalesce(sum(a.original_size) FILTER (WHERE a.backup_id = f.first_backup_id), 0)::bigint AS new_bytes,
               count(*) FILTER (WHERE a.backup_id <> f.first_backup_id) AS returned
          FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
         WHERE f.application_id = %(application_id)s AND f.first_backup_id = %(backup_id)s) AS opened
 WHERE b.id = %(backup_id)s AND b.state = 'running'
RETURNING b.files_count, b.files_bytes, b.new_files_count, b.new_files_bytes, b.vanished_count, b.returned_count;

-- name: create_referenced
CREATE TEMPORARY TABLE referenced (name text COLLATE "C" NOT NULL) ON COMMIT DROP;

-- name: unarchived_references
-- Names that the database knows in the dump's snapshot and that this backup will not hold.
SELECT DISTINCT r.name FROM referenced r
 WHERE NOT EXISTS (
       SELECT FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
        WHERE a.application_id = %(application_id)s AND a.filename = r.name AND a.kind = 'file'
          AND a.state IN ('planned', 'uploading', 'archived')
          AND f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s))
 ORDER BY r.name;
