-- name: create_scanned
-- What a walk found. Lives as long as the transaction. Names compare as those of archives do, so that indexes serve.
CREATE TEMPORARY TABLE scanned (name text NOT NULL, size bigint NOT NULL, young boolean NOT NULL DEFAULT false,
    mtime_ns bigint, inode bigint) ON COMMIT DROP;

-- name: analyze_scanned
ANALYZE scanned;

-- name: seen_before
-- Touched since, by a chown or a link, and no other file than that which a scan saw: it is as old as it says.
UPDATE scanned s SET young = false
  FROM glacier_archives a JOIN file_identities i ON i.archive_id = a.id
 WHERE s.young AND s.inode IS NOT NULL AND a.application_id = %(application_id)s AND a.kind = 'file'
   AND a.filename = s.name AND i.mtime_ns = s.mtime_ns AND i.inode = s.inode;

-- name: look_up_scanned
-- Few are compared with all archives: each is looked up, from whichever side.
CREATE INDEX ON scanned (name);
CREATE INDEX ON looked (directory);
SELECT set_config('enable_material', 'off', true);

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

-- name: changed_files
-- Archived under this name, and no longer surely the same: of another size, time or inode than at the last look; or gone
-- for a while. What was never looked at so closely is taken for what it was. Lives as long as the transaction.
CREATE TEMPORARY TABLE changed ON COMMIT DROP AS
SELECT a.id, a.filename AS name, a.original_size AS archived_size, s.size AS size
  FROM scanned s JOIN glacier_archives a ON a.filename = s.name
  LEFT JOIN file_identities i ON i.archive_id = a.id
  LEFT JOIN backup_files f ON f.archive_id = a.id AND f.last_backup_id IS NULL
 WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.state = 'archived' AND NOT a.superseded
   AND (a.original_size <> s.size
        OR NOT %(sizes_only)s AND (f.archive_id IS NULL OR i.mtime_ns <> s.mtime_ns OR i.inode <> s.inode));

-- name: analyze_changed
ANALYZE changed;

-- name: supersede_changed
-- What comes next under their names is another archive, unless it turns out to have their content after all.
UPDATE glacier_archives a
   SET superseded = true, retrieval_status = CASE a.retrieval_status WHEN 'exists' THEN 'available' ELSE a.retrieval_status END
  FROM changed c WHERE a.id = c.id;

-- name: end_of_changed
-- An earlier try of this same backup may have counted on them.
WITH forgotten AS (
    DELETE FROM backup_files f USING changed c
     WHERE f.archive_id = c.id AND f.last_backup_id IS NULL AND f.first_backup_id = %(backup_id)s)
UPDATE backup_files f SET last_backup_id = %(backup_id)s - 1
  FROM changed c WHERE f.archive_id = c.id AND f.last_backup_id IS NULL AND f.first_backup_id < %(backup_id)s;

-- name: breaches
-- Breaches of the immutability rule, where they are only reported.
SELECT name, archived_size, size FROM changed ORDER BY name LIMIT %(limit)s;

-- name: end_of_lost
-- Lost, and its file is in the directory, or gone: the backup that is being made does not contain it.
WITH ended AS (
    SELECT f.archive_id FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
     WHERE a.application_id = %(application_id)s AND a.state = 'lost' AND a.kind = 'file' AND f.last_backup_id IS NULL),
forgotten AS (
    DELETE FROM backup_files f USING ended e
     WHERE f.archive_id = e.archive_id AND f.last_backup_id IS NULL AND f.first_backup_id = %(backup_id)s)
UPDATE backup_files f SET last_backup_id = %(backup_id)s - 1
  FROM ended e WHERE f.archive_id = e.archive_id AND f.last_backup_id IS NULL AND f.first_backup_id < %(backup_id)s;

-- name: plan_new_files
-- One that may have the content of an archive of the same name is compared with it before it is sent. In the order of the
-- walk, however they are joined: they are sent in that of their ids, and neighbours are read together.
INSERT INTO glacier_archives (application_id, kind, filename, backup_id, original_size, store_uri, to_compare)
SELECT %(application_id)s, 'file', s.name, %(backup_id)s, s.size, %(store_uri)s,
       %(compare)s AND EXISTS (
           SELECT FROM glacier_archives v
            WHERE v.application_id = %(application_id)s AND v.filename = s.name AND v.kind = 'file'
              AND v.state = 'archived' AND v.superseded AND v.original_size = s.size)
  FROM scanned s
 WHERE NOT EXISTS (
       SELECT FROM glacier_archives a
        WHERE a.application_id = %(application_id)s AND a.filename = s.name
          AND a.kind = 'file' AND a.state IN ('planned', 'uploading', 'archived') AND NOT a.superseded)
 ORDER BY s.ctid;

-- name: open_ranges
-- Files that are there and have no open range: new ones, and those that came back.
WITH opened AS (
    INSERT INTO backup_files (archive_id, application_id, first_backup_id)
    SELECT a.id, a.application_id, %(backup_id)s
      FROM scanned s
      JOIN glacier_archives a ON a.filename = s.name
     WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.state IN ('planned', 'uploading', 'archived')
       AND NOT a.superseded
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

-- name: remember_identities
-- What was seen of the files, with the archive of their name: where it was never seen, or has changed.
INSERT INTO file_identities AS i (archive_id, mtime_ns, inode)
SELECT a.id, s.mtime_ns, s.inode
  FROM scanned s JOIN glacier_archives a ON a.filename = s.name
  LEFT JOIN file_identities known ON known.archive_id = a.id
 WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.state IN ('planned', 'uploading', 'archived')
   AND NOT a.superseded AND s.mtime_ns IS NOT NULL AND s.inode IS NOT NULL
   AND (known.archive_id IS NULL OR known.mtime_ns <> s.mtime_ns OR known.inode <> s.inode)
ON CONFLICT (archive_id) DO UPDATE SET mtime_ns = excluded.mtime_ns, inode = excluded.inode;

-- name: vanished_anywhere
-- Files with an open range that a walk through all of the directory did not find.
CREATE TEMPORARY TABLE vanished ON COMMIT DROP AS
SELECT f.archive_id, f.first_backup_id, a.state
  FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
 WHERE f.application_id = %(application_id)s AND f.last_backup_id IS NULL
   AND NOT EXISTS (SELECT FROM scanned s WHERE s.name = a.filename);

-- name: analyze_vanished
ANALYZE vanished;

-- name: forget_ranges_of_this_backup
-- Opened by an earlier try of this same backup, and gone again: never part of a backup.
DELETE FROM backup_files f USING vanished v
 WHERE f.archive_id = v.archive_id AND f.last_backup_id IS NULL
   AND (f.first_backup_id = %(backup_id)s OR v.state <> 'archived');

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
  FROM looked l LEFT JOIN (SELECT DISTINCT directory_of(name) AS directory FROM changed WHERE %(sizes_only)s) AS b ON b.directory = l.directory
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
   SET scanned_at = clock_timestamp(), files_count = %(files)s, files_bytes = %(bytes)s
 WHERE b.id = %(backup_id)s AND b.state IN ('running', 'failed')
RETURNING b.id;

-- name: count_changes
-- What came and went with a backup, from the ranges themselves: after its scan, and again when what was compared is
-- known. A name whose archive was followed by another one did not vanish.
WITH opened AS (
    SELECT a.id, a.filename, a.original_size, a.backup_id = f.first_backup_id AS new
      FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
     WHERE f.application_id = %(application_id)s AND f.first_backup_id = %(backup_id)s),
closed AS (
    SELECT a.filename FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
     WHERE f.application_id = %(application_id)s AND f.last_backup_id = %(backup_id)s - 1),
counts AS (
    SELECT (SELECT count(*) FROM opened WHERE new) AS came,
           (SELECT coalesce(sum(original_size), 0)::bigint FROM opened WHERE new) AS bytes,
           (SELECT count(*) FROM opened WHERE NOT new) AS returned,
           (SELECT count(*) FROM closed WHERE filename NOT IN (SELECT filename FROM opened)) AS vanished)
UPDATE application_data_backups b
   SET new_files_count = c.came, new_files_bytes = c.bytes, returned_count = c.returned, vanished_count = c.vanished
  FROM counts c
 WHERE b.id = %(backup_id)s AND b.state IN ('running', 'failed')
RETURNING b.files_count, b.files_bytes, b.new_files_count, b.new_files_bytes, b.vanished_count, b.returned_count;

-- name: new_versions
-- Names whose archive of this backup took the place of another one with another content.
SELECT a.filename AS name, a.original_size AS size, count(*) OVER () AS total
  FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
 WHERE f.application_id = %(application_id)s AND f.first_backup_id = %(backup_id)s AND a.kind = 'file'
   AND EXISTS (SELECT FROM glacier_archives v
                WHERE v.application_id = a.application_id AND v.filename = a.filename AND v.kind = 'file'
                  AND v.state = 'archived' AND v.superseded AND v.id <> a.id)
 ORDER BY a.filename LIMIT %(limit)s;

-- name: create_referenced
-- What is expected of a file, by the application's own database: its size, or a checksum in hex digits.
CREATE TEMPORARY TABLE referenced (name text NOT NULL, expected text) ON COMMIT DROP;

-- name: other_references
-- Names whose archive is not what the database expects. A checksum that nobody keeps cannot be compared.
WITH members AS (
    SELECT DISTINCT r.name, r.expected, a.original_size, a.sha256,
           CASE WHEN r.expected ~ '^[0-9]{1,18}$' THEN r.expected::bigint = a.original_size
                WHEN r.expected ~* '^[0-9a-f]{64}$' THEN lower(r.expected) = a.sha256 END AS agrees
      FROM referenced r
      JOIN glacier_archives a ON a.filename = r.name AND a.application_id = %(application_id)s AND a.kind = 'file'
       AND a.state = 'archived'
      JOIN backup_files f ON f.archive_id = a.id AND f.first_backup_id <= %(backup_id)s
       AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s)
     WHERE r.expected IS NOT NULL),
counts AS (
    SELECT count(agrees) AS compared, count(*) FILTER (WHERE agrees IS NULL) AS unknown,
           count(*) FILTER (WHERE NOT agrees) AS others FROM members)
SELECT c.compared, c.unknown, c.others, m.name, m.expected
  FROM counts c LEFT JOIN (SELECT name, expected FROM members WHERE NOT agrees ORDER BY name LIMIT %(limit)s) AS m ON true
 ORDER BY m.name;

-- name: unarchived_references
-- Names that the database knows in the dump's snapshot and that this backup will not hold.
SELECT DISTINCT r.name FROM referenced r
 WHERE NOT EXISTS (
       SELECT FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
        WHERE a.application_id = %(application_id)s AND a.filename = r.name AND a.kind = 'file'
          AND a.state IN ('planned', 'uploading', 'archived')
          AND f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s))
 ORDER BY r.name;
