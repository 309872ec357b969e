-- name: kept_progress
-- How far a restore is, by what is kept. None where nothing is, or what was counted is no more what the restore brings.
SELECT f.source, f.status, f.tier, f.store_uri, f.asked, sum(f.archives)::bigint AS archives, sum(f.bytes)::bigint AS bytes,
       max(f.last_ready) AS last_ready, count(*) AS parts
  FROM restore_looks l JOIN restores o ON o.id = l.restore_id JOIN restore_figures f ON f.restore_id = l.restore_id
 WHERE l.restore_id = %(restore_id)s AND l.counted AND o.missing_noted
 GROUP BY 1, 2, 3, 4, 5;

-- name: counted_progress
WITH members AS MATERIALIZED (SELECT * FROM slow_progress WHERE restore_id = %(restore_id)s)
SELECT source, status, NULL AS tier, NULL AS store_uri, NULL::timestamptz AS asked, sum(archives)::bigint AS archives,
       sum(bytes)::bigint AS bytes, NULL::timestamptz AS last_ready
  FROM members GROUP BY 1, 2
UNION ALL
SELECT NULL, NULL, tier, store_uri, asked, CASE WHEN tier IS NOT NULL THEN sum(archives) ELSE 0 END::bigint,
       CASE WHEN tier IS NOT NULL THEN sum(bytes) ELSE 0 END::bigint, max(last_ready)
  FROM members GROUP BY tier, store_uri, asked;

-- name: look_at_restore
-- From the end of this transaction on, whoever changes what the restore brings tells it. Of one of many archives, into the
-- application's own places: elsewhere what counts is put together from what several tables say of an archive.
INSERT INTO restore_looks (restore_id)
SELECT o.id FROM restores o
 WHERE o.id = %(restore_id)s AND o.missing_noted AND o.request ->> 'into' IS NULL
   AND EXISTS (SELECT FROM restore_archives WHERE restore_id = o.id OFFSET %(least)s::bigint - 1 LIMIT 1)
ON CONFLICT DO NOTHING;

-- name: looked_at_since
UPDATE restore_looks SET since = pg_snapshot_xmax(pg_current_snapshot())
 WHERE restore_id = %(restore_id)s AND since IS NULL;

-- name: keep_progress
-- What is counted is kept when every transaction is over that may not have known of the look. All by one snapshot:
-- differences that it sees are in what is counted, and those that it does not see are added to it.
WITH counted AS MATERIALIZED ({counted_progress}),
kept AS (
    UPDATE restore_looks l SET counted = true FROM restores o
     WHERE l.restore_id = %(restore_id)s AND NOT l.counted AND l.since <= pg_snapshot_xmin(pg_current_snapshot())
       AND o.id = l.restore_id AND o.missing_noted
    RETURNING l.restore_id),
gone AS (DELETE FROM restore_figures WHERE restore_id IN (SELECT restore_id FROM kept)),
come AS (
    INSERT INTO restore_figures (restore_id, source, status, tier, store_uri, asked, archives, bytes, last_ready)
    SELECT kept.restore_id, counted.* FROM counted, kept)
SELECT * FROM counted;

-- name: still_looked_at
-- The figures of a restore are put together by one at a time, and not while they are dropped.
SELECT restore_id FROM restore_looks WHERE restore_id = %(restore_id)s AND counted FOR SHARE SKIP LOCKED;

-- name: fold_progress
WITH gone AS (DELETE FROM restore_figures WHERE restore_id = %(restore_id)s RETURNING *)
INSERT INTO restore_figures
SELECT restore_id, source, status, tier, store_uri, asked, sum(archives), sum(bytes), max(last_ready) FROM gone
 GROUP BY 1, 2, 3, 4, 5, 6
HAVING sum(archives) <> 0 OR sum(bytes) <> 0 OR max(last_ready) IS NOT NULL;

-- name: forget_progress
DELETE FROM restore_looks WHERE restore_id = %(restore_id)s;
