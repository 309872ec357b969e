-- name: wrong_counts
-- Sums that are not what the archives and the ranges themselves say; of level 0, with the changes that wait to be added.
WITH counted AS (
    SELECT application_id, place, what, store_uri, sum(archives) AS archives, sum(bytes) AS bytes,
           sum(padded_bytes) AS padded_bytes
      FROM (SELECT application_id, place, what, store_uri, archives, bytes, padded_bytes
              FROM archive_counts WHERE level = 0
            UNION ALL
            SELECT application_id, place, what, store_uri, archives, bytes, padded_bytes
              FROM archive_count_changes) AS both_kinds
     GROUP BY 1, 2, 3, 4)
SELECT coalesce(c.application_id, t.application_id) AS application_id, coalesce(c.place, t.place) AS place,
       coalesce(c.what, t.what) AS what, coalesce(c.store_uri, t.store_uri) AS store_uri,
       coalesce(c.archives, 0)::bigint AS counted, coalesce(t.archives, 0)::bigint AS archives,
       coalesce(c.bytes, 0)::bigint AS counted_bytes, coalesce(t.bytes, 0)::bigint AS bytes
  FROM counted c FULL JOIN slow_counts t USING (application_id, place, what, store_uri)
 WHERE (coalesce(c.archives, 0), coalesce(c.bytes, 0), coalesce(c.padded_bytes, 0))
       <> (coalesce(t.archives, 0), coalesce(t.bytes, 0), coalesce(t.padded_bytes, 0))
 ORDER BY 1, 2, 3, 4 LIMIT %(limit)s;

-- name: wrong_levels
-- Sums of the upper levels that are not those of the level below.
SELECT l.application_id, l.place, l.what, l.store_uri, l.level FROM archive_counts l
  FULL JOIN (SELECT application_id, (level + 1)::smallint AS level, place >> 5 AS place, what, store_uri,
                    sum(archives) AS archives, sum(bytes) AS bytes, sum(padded_bytes) AS padded_bytes
               FROM archive_counts WHERE level < 3 GROUP BY 1, 2, 3, 4, 5) AS below
       USING (application_id, level, place, what, store_uri)
 WHERE coalesce(level, 1) > 0
   AND (coalesce(l.archives, 0), coalesce(l.bytes, 0), coalesce(l.padded_bytes, 0))
       <> (coalesce(below.archives, 0), coalesce(below.bytes, 0), coalesce(below.padded_bytes, 0))
 LIMIT %(limit)s;

-- name: wrong_dump_sizes
-- Backups that tell another size of their dump than the dump itself.
SELECT b.application_id, b.id AS place, 'database_bytes' AS what, d.store_uri, b.database_bytes AS counted_bytes,
       d.stored_size AS bytes
  FROM application_data_backups b JOIN glacier_archives d ON d.id = b.database_archive_id
 WHERE b.database_bytes IS DISTINCT FROM d.stored_size
 ORDER BY b.id LIMIT %(limit)s;

-- name: wrong_progress
-- How far restores are, by what is kept, that is not what they bring: of those that are not over.
WITH kept AS (
    SELECT f.restore_id, coalesce(f.source, 'asked ' || f.tier) AS source, coalesce(f.status, f.asked::text) AS status,
           coalesce(f.store_uri, '') AS store_uri, sum(f.archives) AS archives, sum(f.bytes) AS bytes
      FROM restore_looks l JOIN restore_figures f ON f.restore_id = l.restore_id
     WHERE l.counted AND l.restore_id = ANY(restores_looked_at()) AND coalesce(f.source, f.tier) IS NOT NULL
     GROUP BY 1, 2, 3, 4),
members AS MATERIALIZED (
    SELECT p.* FROM restore_looks l JOIN slow_progress p ON p.restore_id = l.restore_id
     WHERE l.counted AND l.restore_id = ANY(restores_looked_at())),
truth AS (
    SELECT restore_id, source, status, '' AS store_uri, sum(archives) AS archives, sum(bytes) AS bytes
      FROM members GROUP BY 1, 2, 3
    UNION ALL
    SELECT restore_id, 'asked ' || tier, asked::text, store_uri, sum(archives), sum(bytes)
      FROM members WHERE tier IS NOT NULL GROUP BY 1, 2, 3, 4)
SELECT o.application_id, restore_id AS place, 'restore: ' || source || ' ' || status AS what, store_uri,
       coalesce(k.archives, 0)::bigint AS counted, coalesce(t.archives, 0)::bigint AS archives,
       coalesce(k.bytes, 0)::bigint AS counted_bytes, coalesce(t.bytes, 0)::bigint AS bytes
  FROM kept k FULL JOIN truth t USING (restore_id, source, status, store_uri) JOIN restores o ON o.id = restore_id
 WHERE (coalesce(k.archives, 0), coalesce(k.bytes, 0)) <> (coalesce(t.archives, 0), coalesce(t.bytes, 0))
 ORDER BY 1, 2, 3, 4 LIMIT %(limit)s;

-- name: forget_looks
DELETE FROM restore_looks;

-- name: rebuild_counts
SELECT rebuild_counts();

-- name: trigrams_installed
SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') AS installed,
       to_regclass('glacier_archives_names') IS NOT NULL AS indexed;

-- name: index_names
-- Filenames by their groups of three letters, for search by any part of them..
SELECT 'CREATE INDEX glacier_archives_names ON glacier_archives USING gin ((filename COLLATE "C") '
       || quote_ident(n.nspname) || '.gin_trgm_ops) WHERE kind = ''file''' AS statement
  FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm';

-- name: drop_index_of_names
DROP INDEX IF EXISTS glacier_archives_names;
