-- name: recent_backups
-- The newest complete backups, from which a drill may take one.
SELECT id FROM application_data_backups WHERE application_id = %(application_id)s AND state = 'complete'
 ORDER BY id DESC LIMIT %(limit)s;

-- name: plan_sample
-- So many files of a backup, or all, in the order that a seed gives; those that a store still has, and how many there are.
WITH members AS (
    SELECT a.id, a.state, a.filename FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
     WHERE f.application_id = %(application_id)s
       AND f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s)),
chosen AS (
    SELECT * FROM members ORDER BY md5(%(seed)s::text || ' ' || id), id LIMIT %(files)s),
planned AS (
    INSERT INTO restore_archives (restore_id, archive_id, source)
    SELECT %(restore_id)s, id, 'store' FROM chosen WHERE state = 'archived'
    ON CONFLICT DO NOTHING)
SELECT (SELECT count(*) FROM members) AS members,
       ARRAY(SELECT filename FROM chosen WHERE state <> 'archived' ORDER BY filename) AS lost;

-- name: sample_figures
-- What the dump and the first so many files of a planned drill would take, as `elsewhere_figures` says it.
SELECT store_uri, kind, source, CASE WHEN stored_size = 0 THEN 'ready' ELSE status END AS status,
       count(*) AS archives, coalesce(sum(stored_size), 0)::bigint AS bytes
  FROM (SELECT m.*, row_number() OVER (PARTITION BY kind ORDER BY md5(%(seed)s::text || ' ' || id), id) AS place
          FROM restore_members m WHERE restore_id = %(restore_id)s) AS ordered
 WHERE kind <> 'file' OR place <= %(files)s
 GROUP BY 1, 2, 3, 4;

-- name: sampled_files
-- A page of the files that a drill was to bring, in id order.
SELECT id, filename, stored_size, checksum, placed FROM restore_members
 WHERE restore_id = %(restore_id)s AND kind = 'file' AND id > %(after)s
 ORDER BY id LIMIT %(limit)s;

-- name: drill_costs
-- What drills were estimated to cost since a time, this one left out; what a document of evidence told may be no amount.
SELECT coalesce(sum(CASE WHEN figures #>> '{plan,cost}' ~ '^[0-9]{1,12}([.][0-9]{1,30})?$'
                         THEN (figures #>> '{plan,cost}')::numeric ELSE 0 END), 0) AS cost FROM proofs
 WHERE application_id = %(application_id)s AND kind = 'drill' AND id <> %(proof_id)s
   AND began_at >= date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';

-- name: note_span
-- When a step began first and ended last: several tasks may share it.
UPDATE proofs SET figures = jsonb_set(figures, '{spans}', coalesce(figures -> 'spans', '{}') || jsonb_build_object(
           %(step)s::text, jsonb_build_array(
               least((figures #>> ARRAY['spans', %(step)s, '0'])::timestamptz,
                     clock_timestamp() - make_interval(secs => %(seconds)s)),
               clock_timestamp())))
 WHERE id = %(proof_id)s AND state = 'running';

-- name: drills_to_clear
-- Restores of drills, whose places may still hold something.
SELECT * FROM restores
 WHERE application_id = %(application_id)s AND request ->> 'sample' IS NOT NULL AND NOT jsonb_exists(outcome, 'cleared')
 ORDER BY id;
