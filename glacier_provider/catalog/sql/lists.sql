-- name: backups
-- The newest first; of one application or of all. Each application gives its newest, cut in an index; then only the
-- page's rows are read.
SELECT b.*, p.name AS application,
       d.stored_size AS database_bytes, d.filename AS database_filename, d.retrieval_status AS database_status
  FROM (SELECT n.id FROM applications o CROSS JOIN LATERAL (
               SELECT n.id FROM application_data_backups n
                WHERE n.application_id = o.id AND (%(state)s::text IS NULL OR n.state = %(state)s)
                ORDER BY n.id DESC LIMIT %(limit)s::bigint + %(offset)s::bigint) AS n
         WHERE %(application)s::text IS NULL OR o.name = %(application)s
         ORDER BY n.id DESC LIMIT %(limit)s OFFSET %(offset)s) AS page
  JOIN application_data_backups b ON b.id = page.id
  JOIN applications p ON p.id = b.application_id
  LEFT JOIN glacier_archives d ON d.id = b.database_archive_id
 ORDER BY b.id DESC;

-- name: application_names
SELECT name FROM applications ORDER BY name;

-- name: archives_of_backup
-- A page of the archives of one backup: its dump, its manifest, its files in id order; part of a name narrows them down.
-- Looks through a window of the application's archives, each with all of its ranges: see end_of_files.
SELECT a.id, a.kind, a.filename, a.original_size, a.stored_size, a.sha256, a.checksum, a.store_uri, a.key, a.state,
       a.retrieval_status, a.archived_at, a.backup_id AS made_by_backup
  FROM ((SELECT 0 AS part, d.id FROM application_data_backups b
           JOIN glacier_archives d ON d.id IN (b.database_archive_id, b.manifest_archive_id)
          WHERE b.id = %(backup_id)s AND d.state IN ('planned', 'uploading', 'archived')
            AND (%(like)s::text IS NULL OR d.filename LIKE %(like)s))
        UNION ALL
        (SELECT 1, f.archive_id
           FROM (SELECT * FROM backup_files
                  WHERE application_id = (SELECT id FROM applications WHERE name = %(application)s) AND archive_id > %(after)s
                  ORDER BY archive_id FETCH FIRST (%(window)s) ROWS WITH TIES) AS f
          CROSS JOIN LATERAL (SELECT * FROM glacier_archives WHERE id = f.archive_id OFFSET 0) AS n
          WHERE f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s)
            AND n.state IN ('planned', 'uploading', 'archived')
            AND (%(like)s::text IS NULL OR n.filename LIKE %(like)s)
          ORDER BY f.archive_id LIMIT %(limit)s::bigint + %(offset)s::bigint)
        ORDER BY part, id LIMIT %(limit)s OFFSET %(offset)s) AS page
 CROSS JOIN LATERAL (SELECT * FROM glacier_archives WHERE id = page.id OFFSET 0) AS a
 ORDER BY page.part, page.id;

-- name: restores
-- The newest first; of one application or of all, of one backup or of any.
SELECT r.*, p.name AS application
  FROM (SELECT n.id FROM applications o CROSS JOIN LATERAL (
               SELECT n.id FROM restores n
                WHERE n.application_id = o.id AND (%(backup_id)s::bigint IS NULL OR n.backup_id = %(backup_id)s)
                ORDER BY n.id DESC LIMIT %(limit)s::bigint + %(offset)s::bigint) AS n
         WHERE %(application)s::text IS NULL OR o.name = %(application)s
         ORDER BY n.id DESC LIMIT %(limit)s OFFSET %(offset)s) AS page
  JOIN restores r ON r.id = page.id
  JOIN applications p ON p.id = r.application_id
 ORDER BY r.id DESC;
