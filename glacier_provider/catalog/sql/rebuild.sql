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
-- What manifests tell and stores list. A manifest goes by a number of its own here: two lives of a catalog may have
-- given one id twice. An archive is where it lies: by its place (bucket or vault) and its key; an empty one that lies
-- nowhere, also by its name.
CREATE TEMPORARY TABLE told_archives (
    manifest integer, kind text, told_id bigint, filename text, backup_id bigint, original_size bigint,
    stored_size bigint, sha256 text, checksum text, encoding text, store_uri text, key text, archived_at timestamptz,
    place text, archive_id bigint,
    identity text GENERATED ALWAYS AS (CASE WHEN starts_with(key, 'empty:') THEN key || ' ' || filename ELSE key END) STORED
) ON COMMIT DROP;
CREATE TEMPORARY TABLE told_gone (manifest integer, told_id bigint, archive_id bigint) ON COMMIT DROP;
CREATE TEMPORARY TABLE told_backups (
    manifest integer PRIMARY KEY, backup_id bigint, previous bigint, dag_run_id text, head jsonb, error text) ON COMMIT DROP;
CREATE TEMPORARY TABLE found_archives (
    store_uri text, place text, key text COLLATE "C", size bigint, checksum text, told jsonb) ON COMMIT DROP;

-- name: look_up_told
-- Of this transaction: whatever the server believes of tables that are just being filled, their indexes are used.
SELECT set_config('enable_material', 'off', true);

-- name: index_told
CREATE INDEX ON told_archives (place, identity);
CREATE INDEX ON told_archives (manifest, told_id);
ANALYZE told_archives;
ANALYZE told_gone;

-- name: index_found
CREATE INDEX ON found_archives (place, key);
ANALYZE found_archives;

-- name: told_contradictions
-- What two manifests tell otherwise of one archive, and dumps that two backups call theirs.
SELECT t.manifest, t.kind, t.filename, t.backup_id, t.stored_size, t.sha256, t.checksum, t.store_uri, t.key
  FROM told_archives t
  JOIN (SELECT place, identity FROM told_archives
         GROUP BY place, identity
        HAVING count(*) > 1
           AND (count(DISTINCT (kind, filename, stored_size, checksum, sha256, encoding)) > 1
                OR count(*) FILTER (WHERE kind = 'database') > 1)
         ORDER BY place, identity LIMIT %(limit)s) AS odd
    ON odd.place = t.place AND odd.identity = t.identity
 ORDER BY t.place, t.identity, t.manifest;

-- name: forget_told
WITH forgotten AS (DELETE FROM told_gone WHERE manifest = ANY(%(manifests)s))
DELETE FROM told_archives WHERE manifest = ANY(%(manifests)s);

-- name: told_backup_ids
-- Under which ids these manifests name the backups that made their archives.
SELECT DISTINCT manifest, backup_id FROM told_archives WHERE manifest = ANY(%(manifests)s) ORDER BY 1, 2;

-- name: renumber_told_backups
UPDATE told_archives t SET backup_id = n.new
  FROM unnest(%(manifests)s::integer[], %(olds)s::bigint[], %(news)s::bigint[]) AS n (manifest, old, new)
 WHERE t.manifest = n.manifest AND t.backup_id = n.old;

-- name: rebuild_highest_ids
-- The highest ids that anybody remembers: manifests, stores, and the catalog with its other applications.
SELECT greatest((SELECT max(told_id) FROM told_archives),
                (SELECT max((told->>'archive_id')::bigint) FROM found_archives),
                (SELECT max(substring(key from '/([0-9]{12,15})-[^/]*$')::bigint) FROM found_archives),
                (SELECT max(id) FROM glacier_archives), (SELECT last_value FROM glacier_archives_id_seq), 1) AS archive_id,
       greatest((SELECT max(backup_id) FROM told_archives),
                (SELECT max((told->>'backup_id')::bigint) FROM found_archives),
                (SELECT max(id) FROM application_data_backups),
                (SELECT last_value FROM application_data_backups_id_seq), 1) AS backup_id;

-- name: taken_backup_ids
-- Ids that another application of this catalog uses: it was begun anew before this one was rebuilt.
SELECT id FROM application_data_backups WHERE id = ANY(%(backup_ids)s);

-- name: create_known_archives
-- Each archive once, as the newest backup tells it that names it. It keeps its id, unless one that a newer backup tells
-- of, or another application of this catalog, has it: two lives of a catalog gave it twice. Then it gets another.
CREATE TEMPORARY TABLE known_ids ON COMMIT DROP AS
WITH newest AS (
    SELECT DISTINCT ON (t.place, t.identity) t.*, b.backup_id AS told_by
      FROM told_archives t JOIN told_backups b USING (manifest)
     ORDER BY t.place, t.identity, b.backup_id DESC),
ranked AS (
    SELECT n.*, row_number() OVER (PARTITION BY told_id ORDER BY told_by DESC, place, identity) = 1
                AND NOT EXISTS (SELECT FROM glacier_archives g WHERE g.id = n.told_id) AS keeps
      FROM newest n)
SELECT CASE WHEN keeps THEN told_id
            ELSE %(highest)s + count(*) FILTER (WHERE NOT keeps) OVER (ORDER BY told_by, told_id, place, identity) END AS id,
       r.place, r.identity, r.told_by, r.kind, r.filename, r.backup_id, r.original_size, r.stored_size, r.sha256,
       r.checksum, r.encoding, r.store_uri, r.key, r.archived_at, r.told_id,
       CASE WHEN f.key IS NULL AND r.stored_size > 0 THEN 'It was not in its store when the catalog was rebuilt.'
            WHEN f.size <> r.stored_size OR (f.checksum <> r.checksum AND r.checksum LIKE split_part(f.checksum, ':', 1) || ':%%')
            THEN 'Something else lies in its place in the store.' END AS lost
  FROM ranked r
  LEFT JOIN LATERAL (SELECT f.key, f.size, f.checksum FROM found_archives f
                      WHERE f.place = r.place AND f.key = r.key LIMIT 1) AS f ON true;

-- name: index_known_archives
CREATE UNIQUE INDEX ON known_ids (place, identity);
ANALYZE known_ids;

-- name: number_told_archives
UPDATE told_archives t SET archive_id = k.id FROM known_ids k WHERE k.place = t.place AND k.identity = t.identity;

-- name: number_told_gone
UPDATE told_gone g SET archive_id = k.id
  FROM (SELECT told_id, min(archive_id) AS id FROM told_archives GROUP BY told_id
        HAVING min(archive_id) = max(archive_id)) AS k WHERE k.told_id = g.told_id;

-- name: index_numbers
CREATE INDEX ON told_archives (manifest, archive_id);
CREATE INDEX ON told_gone (manifest, archive_id);

-- name: unclear_gone
-- What went by an id that was given twice.
SELECT DISTINCT g.manifest FROM told_gone g WHERE g.archive_id IS NULL
   AND EXISTS (SELECT FROM told_archives t WHERE t.told_id = g.told_id);

-- name: clear_gone
-- Of an id that was given twice, that manifest tells which is meant which comes last among those that led to this one.
UPDATE told_gone g SET archive_id = (
       SELECT t.archive_id FROM told_archives t JOIN unnest(%(chain)s::integer[]) WITH ORDINALITY AS c (manifest, distance)
           ON c.manifest = t.manifest
        WHERE t.told_id = g.told_id ORDER BY c.distance LIMIT 1)
 WHERE g.manifest = %(manifest)s AND g.archive_id IS NULL;

-- name: rebuild_archives
-- One current archive a file name: the one that came last. What had the name before is in the backups of its time.
INSERT INTO glacier_archives (id, application_id, kind, filename, backup_id, original_size, stored_size, sha256,
       tree_hash, checksum, encoding, store_uri, key, state, lost_at, lost_how, superseded, retrieval_status,
       created_at, archived_at, store_number)
SELECT id, %(application_id)s, kind, filename, backup_id, original_size, stored_size, sha256,
       CASE WHEN checksum LIKE 'treehash:%%' THEN substr(checksum, 10) END, checksum, encoding, store_uri, key,
       CASE WHEN lost IS NOT NULL THEN 'lost' ELSE 'archived' END, CASE WHEN lost IS NOT NULL THEN now() END, lost, older,
       'available', coalesce(archived_at, now()), archived_at, CASE WHEN told_id <> id THEN told_id END
  FROM (SELECT k.*, k.kind = 'file' AND k.lost IS NULL
               AND row_number() OVER (PARTITION BY k.kind, k.filename, k.lost IS NULL ORDER BY k.told_by DESC, k.id DESC) > 1 AS older
          FROM known_ids k) AS known
 ORDER BY id;

-- name: count_known_files
SELECT count(*) AS files FROM known_ids WHERE kind = 'file';

-- name: rebuild_backups
INSERT INTO application_data_backups (id, application_id, state, dag_id, dag_run_id, opened_at, closed_at, snapshot_at,
       scanned_at, server_version, client_version, dump_format, database_archive_id, manifest_archive_id, files_count,
       files_bytes, new_files_count, new_files_bytes, vanished_count, returned_count, report, error)
SELECT b.backup_id, %(application_id)s, CASE WHEN error IS NULL THEN 'complete' ELSE 'failed' END, head->>'dag_id',
       b.dag_run_id, (head->>'opened_at')::timestamptz,
       coalesce(d.archived_at, (head->>'scanned_at')::timestamptz, (head->>'opened_at')::timestamptz),
       (head->>'snapshot_at')::timestamptz, (head->>'scanned_at')::timestamptz, head->>'server_version',
       head->>'client_version', head->>'dump_format', d.archive_id, m.archive_id,
       (head->>'files_count')::bigint, (head->>'files_bytes')::bigint, (head->>'new_files_count')::bigint,
       (head->>'new_files_bytes')::bigint, (head->>'vanished_count')::bigint, (head->>'returned_count')::bigint,
       coalesce(head->'report', '{}')
       || CASE WHEN head->'roles' <> '{}' THEN jsonb_build_object('roles', head->'roles') ELSE '{}' END,
       error
  FROM told_backups b
  JOIN told_archives d ON d.manifest = b.manifest AND d.kind = 'database'
  JOIN told_archives m ON m.manifest = b.manifest AND m.kind = 'manifest'
 ORDER BY b.backup_id;

-- name: rebuild_fingerprints
INSERT INTO fingerprints (backup_id, fingerprint)
SELECT b.backup_id, b.head->'fingerprint' FROM told_backups b WHERE jsonb_typeof(b.head->'fingerprint') = 'object'
ON CONFLICT (backup_id) DO UPDATE SET fingerprint = excluded.fingerprint;

-- name: rebuild_previous
UPDATE application_data_backups b SET previous_backup_id = t.previous
  FROM told_backups t WHERE t.backup_id = b.id AND t.previous IS NOT NULL
   AND EXISTS (SELECT FROM application_data_backups p WHERE p.id = t.previous);

-- name: rebuild_closed_ranges
-- What went: named as gone, or, with a manifest that lists every file, not listed. A manifest may continue an earlier
-- one than that before it, of a backup that failed at its very end, or of another life of the catalog: then what came
-- since has to be named again.
UPDATE backup_files f SET last_backup_id = %(before)s
 WHERE f.application_id = %(application_id)s AND f.last_backup_id IS NULL
   AND CASE WHEN %(full)s THEN NOT EXISTS (SELECT FROM told_archives t WHERE t.manifest = %(manifest)s AND t.archive_id = f.archive_id)
            ELSE EXISTS (SELECT FROM told_gone g WHERE g.manifest = %(manifest)s AND g.archive_id = f.archive_id)
                 OR (f.first_backup_id > %(previous)s
                     AND NOT EXISTS (SELECT FROM told_archives t WHERE t.manifest = %(manifest)s AND t.archive_id = f.archive_id)
                     AND NOT EXISTS (SELECT FROM backup_files o WHERE o.archive_id = f.archive_id
                                        AND %(previous)s BETWEEN o.first_backup_id AND o.last_backup_id)) END;

-- name: rebuild_returned_ranges
-- What went after the manifest that this one continues, and came back without being named.
INSERT INTO backup_files (archive_id, application_id, first_backup_id)
SELECT o.archive_id, %(application_id)s, %(backup_id)s FROM backup_files o
 WHERE o.application_id = %(application_id)s AND %(previous)s BETWEEN o.first_backup_id AND o.last_backup_id
   AND NOT EXISTS (SELECT FROM told_gone g WHERE g.manifest = %(manifest)s AND g.archive_id = o.archive_id)
   AND NOT EXISTS (SELECT FROM backup_files f WHERE f.archive_id = o.archive_id AND f.last_backup_id IS NULL);

-- name: rebuild_opened_ranges
INSERT INTO backup_files (archive_id, application_id, first_backup_id)
SELECT t.archive_id, %(application_id)s, %(backup_id)s FROM told_archives t
 WHERE t.manifest = %(manifest)s AND t.kind = 'file'
   AND NOT EXISTS (SELECT FROM backup_files f WHERE f.archive_id = t.archive_id AND f.last_backup_id IS NULL);

-- name: rebuild_doubtful_ranges
-- The newest backup that can be read has them, and what came later is known to have had another version under their
-- name: which of the two is in the directory, the next scan finds out.
UPDATE backup_files f SET last_backup_id = (
       SELECT max(b.id) FROM application_data_backups b WHERE b.application_id = %(application_id)s)
  FROM glacier_archives a
 WHERE a.id = f.archive_id AND f.application_id = %(application_id)s AND f.last_backup_id IS NULL AND a.superseded;

-- name: rebuild_present
-- As far as the newest backup knows they are in their directory; the next scan or restore looks.
UPDATE glacier_archives a SET retrieval_status = 'exists'
  FROM backup_files f WHERE f.archive_id = a.id AND f.last_backup_id IS NULL AND f.application_id = %(application_id)s;

-- name: rebuild_miscounted
-- Complete backups with more files than were counted, or fewer. What came and went is added up, not counted for each.
WITH changes AS (
    SELECT at, sum(n) AS n FROM (
        SELECT first_backup_id AS at, count(*) AS n FROM backup_files WHERE application_id = %(application_id)s GROUP BY 1
        UNION ALL
        SELECT last_backup_id + 1, -count(*) FROM backup_files
         WHERE application_id = %(application_id)s AND last_backup_id IS NOT NULL GROUP BY 1) AS ends
     GROUP BY at),
counts AS (
    SELECT b.id, b.files_count, coalesce((SELECT sum(n) FROM changes WHERE at <= b.id), 0)::bigint AS members
      FROM application_data_backups b WHERE b.application_id = %(application_id)s AND b.state = 'complete')
SELECT id, files_count, members FROM counts WHERE files_count <> members ORDER BY id DESC;

-- name: rebuild_backups_without_dump
UPDATE application_data_backups b SET state = 'failed', error = 'Its dump is not in the store: deleted, or lost.'
  FROM glacier_archives a
 WHERE b.application_id = %(application_id)s AND a.id = b.database_archive_id AND a.state = 'lost'
   AND b.state = 'complete'
RETURNING b.id;

-- name: rebuild_deleted_backups
-- Deleted, as the store tells, and their dump is gone.
UPDATE application_data_backups b SET state = 'deleted', error = NULL, deletion_began_at = now(), deleted_at = now()
  FROM told_backups t JOIN told_archives m ON m.manifest = t.manifest AND m.kind = 'manifest'
  JOIN glacier_archives d ON true
 WHERE b.application_id = %(application_id)s AND b.id = t.backup_id AND d.id = b.database_archive_id
   AND d.state = 'lost' AND b.state = 'failed' AND t.error IS NULL AND m.sha256 = ANY(%(manifests)s)
RETURNING b.id;

-- name: rebuild_files_lost
-- Lost files that a complete backup counts on.
SELECT a.filename, b.id AS backup_id FROM glacier_archives a
  JOIN backup_files f ON f.archive_id = a.id
  JOIN LATERAL (SELECT b.id FROM application_data_backups b
                 WHERE b.application_id = a.application_id AND b.state = 'complete' AND b.id >= f.first_backup_id
                   AND (f.last_backup_id IS NULL OR b.id <= f.last_backup_id)
                 ORDER BY b.id DESC LIMIT 1) AS b ON true
 WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.state = 'lost'
 ORDER BY a.filename;

-- name: rebuild_undescribed
-- What a store holds that no manifest names, and that its listing does not describe.
SELECT l.key FROM found_archives l
 WHERE l.store_uri = %(store_uri)s AND l.told IS NULL
   AND NOT EXISTS (SELECT FROM known_ids k WHERE k.place = l.place AND k.identity = l.key)
 ORDER BY l.key;

-- name: rebuild_unnamed
SELECT l.store_uri, l.key, l.size, l.checksum, l.told FROM found_archives l
 WHERE l.told IS NOT NULL
   AND NOT EXISTS (SELECT FROM known_ids k WHERE k.place = l.place AND k.identity = l.key)
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
