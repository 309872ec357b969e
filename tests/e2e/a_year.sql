-- A year in the catalog: wiki was backed up every night but for some; the last backups of shop failed.
INSERT INTO applications (name) VALUES ('wiki'), ('shop');

CREATE TEMPORARY TABLE night AS
SELECT p.id AS application_id, p.name, n, 1000 + p.id * 1000 - n AS backup_id,
       date_trunc('day', now()) - n * interval '1 day' + interval '2 hours 10 s' AS opened_at,
       40000000 + (400 - n) * CASE p.name WHEN 'wiki' THEN 1200000 ELSE 300000 END AS bytes,
       CASE WHEN p.name = 'shop' AND n < 3 OR n % 89 = 7 THEN 'failed' ELSE 'complete' END AS state
  FROM applications p, generate_series(400, 0, -1) AS n
 WHERE p.name <> 'dms' AND n % 61 <> 13
   AND date_trunc('day', now()) - n * interval '1 day' + interval '3 hours' < now();

WITH made AS (
    INSERT INTO glacier_archives (application_id, kind, filename, backup_id, original_size, stored_size, checksum,
                                  store_uri, key, state, archived_at)
    SELECT application_id, kind, name || n, backup_id, bytes / 9, bytes / 9, 'sha256:' || n,
           's3://bucket/prefix?storage_class=GLACIER', kind || n, 'archived', opened_at
      FROM night, (VALUES ('database'), ('manifest')) AS k (kind) WHERE state = 'complete'
    RETURNING id, kind, backup_id)
INSERT INTO application_data_backups (id, application_id, state, dag_id, dag_run_id, opened_at, closed_at, scanned_at,
       database_archive_id, manifest_archive_id, files_count, files_bytes, new_files_count, new_files_bytes,
       vanished_count, returned_count, error)
SELECT n.backup_id, application_id, state, 'glacier_backup__' || name, 'scheduled__' || n.n, opened_at,
       opened_at + interval '94 s', opened_at, d.id, m.id, bytes / 41000, bytes, 29, 1200000, 0, 0,
       CASE state WHEN 'failed' THEN 'dump_database: the disk of /srv/staging is full.' END
  FROM night n
  LEFT JOIN made d ON d.backup_id = n.backup_id AND d.kind = 'database'
  LEFT JOIN made m ON m.backup_id = n.backup_id AND m.kind = 'manifest';

-- A drill of wiki every week, and a verification of all that sleeps: all passed, the last three days and two days ago.
INSERT INTO proofs (application_id, kind, method, state, backup_id, began_at, ended_at, figures, findings)
SELECT n.application_id, 'drill', 'scratch', 'passed', n.backup_id, n.opened_at + interval '3 hours',
       n.opened_at + interval '3 hours 380 s',
       '{"database": {"bytes": 1200000000, "tables": 41}, "files": {"checked": 100}, "times": {"recovery": 380}}', '[]'
  FROM night n WHERE n.name = 'wiki' AND n.n % 7 = 3 AND n.state = 'complete' ORDER BY n.n DESC;
INSERT INTO proofs (application_id, kind, method, state, began_at, ended_at, figures, findings)
SELECT id, 'verification', 'content', 'passed', now() - interval '2 days 3 hours', now() - interval '2 days',
       '{"listing": {"listed": 12500}, "content": {"matched": 12400}}', '[]'
  FROM applications WHERE name = 'wiki';
