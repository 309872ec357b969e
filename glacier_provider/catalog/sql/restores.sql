-- name: restore_of_run
SELECT id, state, backup_id FROM restores
 WHERE application_id = %(application_id)s AND dag_id = %(dag_id)s AND dag_run_id = %(dag_run_id)s;

-- name: insert_restore
-- The backup's row is locked: a deletion of it comes before this restore, and then there is none, or sees it. None
-- either when another process opened the restore of this run in the same moment.
INSERT INTO restores (application_id, backup_id, dag_id, dag_run_id, request)
SELECT %(application_id)s, b.id, %(dag_id)s, %(dag_run_id)s, %(request)s FROM (
    SELECT id FROM application_data_backups WHERE id = %(backup_id)s AND state = 'complete' FOR SHARE) AS b
ON CONFLICT (application_id, dag_id, dag_run_id) DO NOTHING
RETURNING id;

-- name: reopen_restore
-- The same run plans again: what it meant to bring is found out anew, and by which way it is asked for. What came of
-- another backup is not this one's; nor is the database, once another restore has changed something since.
UPDATE restores SET state = 'planned', backup_id = b.id, request = %(request)s, closed_at = NULL, error = NULL,
       lease_token = NULL,
       outcome = CASE WHEN backup_id <> b.id THEN '{}'
                      WHEN EXISTS (SELECT FROM restores other
                                    WHERE other.application_id = restores.application_id AND other.id <> restores.id
                                      AND other.last_lease_token > restores.last_lease_token) THEN outcome - 'database'
                      ELSE outcome END - 'batch'
  FROM (SELECT id FROM application_data_backups WHERE id = %(backup_id)s AND state = 'complete' FOR SHARE) AS b
 WHERE restores.id = %(restore_id)s AND state <> 'complete'
RETURNING restores.id;

-- name: restore
SELECT r.*, p.name AS application, b.state AS backup_state
  FROM restores r JOIN applications p ON p.id = r.application_id
  JOIN application_data_backups b ON b.id = r.backup_id
 WHERE r.id = %(restore_id)s;

-- name: start_restore
-- One that failed in a step that is known goes on as failed until that step or the last one (none is named) is begun.
-- A drill whose places are cleared never goes on, nor what failed before another one changed something: its plan is of
-- what was there before that.
UPDATE restores
   SET state = CASE WHEN undone THEN 'running' ELSE restores.state END,
       closed_at = CASE WHEN undone THEN NULL ELSE closed_at END,
       error = CASE WHEN undone THEN NULL ELSE error END,
       failed_step = CASE WHEN undone THEN NULL ELSE failed_step END
  FROM (SELECT b.id, r.state <> 'failed' OR %(step)s::text IS NULL OR coalesce(r.failed_step = %(step)s, true) AS undone
          FROM application_data_backups b JOIN restores r ON r.backup_id = b.id
         WHERE r.id = %(restore_id)s AND b.state = 'complete' FOR SHARE OF b FOR UPDATE OF r) AS b
 WHERE restores.id = %(restore_id)s AND state IN ('planned', 'running', 'failed')
   AND NOT jsonb_exists(outcome, 'clearing')
   AND NOT (state = 'failed' AND request ->> 'into' IS NULL AND EXISTS (
        SELECT FROM restores other
         WHERE other.application_id = restores.application_id AND other.id <> restores.id
           AND other.last_lease_token IS NOT NULL
           AND (other.closed_at IS NULL OR other.closed_at > restores.closed_at)))
RETURNING restores.id;

-- name: restore_that_is_over
-- Complete; a drill whose places are being cleared; or failed, and another one has changed something since: nothing of it
-- may come between that; or its backup was deleted. One that failed goes on otherwise, as long as tasks of its run do.
SELECT r.state FROM restores r
 WHERE r.id = %(restore_id)s
   AND (r.state = 'complete' OR jsonb_exists(r.outcome, 'clearing')
        OR r.state = 'failed' AND EXISTS (
            SELECT FROM restores other
             WHERE other.application_id = r.application_id AND other.id <> r.id AND other.last_lease_token IS NOT NULL
               AND (other.closed_at IS NULL OR other.closed_at > r.closed_at))
        OR r.state = 'failed' AND EXISTS (
            SELECT FROM application_data_backups b WHERE b.id = r.backup_id AND b.state IN ('deleting', 'deleted')));

-- name: note_restore_lease
-- Behind which fence the restore changes something. No row when another one did so since it began to, or since it
-- restored the database, however often it was planned since.
UPDATE restores r
   SET lease_token = coalesce(r.lease_token, %(token)s), last_lease_token = %(token)s
 WHERE r.id = %(restore_id)s
   AND NOT EXISTS (
        SELECT FROM restores other
         WHERE other.application_id = r.application_id AND other.id <> r.id
           AND other.last_lease_token
               > coalesce(r.lease_token, CASE WHEN jsonb_exists(r.outcome, 'database') THEN r.last_lease_token END))
RETURNING r.id;

-- name: note_undo_lease
-- Who undoes what the restore did, behind which fence.
UPDATE restores SET last_lease_token = %(token)s, outcome = outcome || %(undoing)s WHERE id = %(restore_id)s;

-- name: ended_restores
SELECT id FROM restores
 WHERE application_id = %(application_id)s AND id = ANY(%(restore_ids)s) AND state IN ('complete', 'failed')
   AND (%(backup_id)s::bigint IS NULL OR backup_id = %(backup_id)s);

-- name: complete_restore
UPDATE restores SET state = 'complete', closed_at = clock_timestamp(), error = NULL, outcome = outcome || %(outcome)s
 WHERE id = %(restore_id)s AND state = 'running'
RETURNING id;

-- name: fail_overtaken_restores
-- Others that began to change something before this one did, and never ended: none of them can go on. Before this one is
-- complete: they ended before it did.
UPDATE restores o
   SET state = 'failed', closed_at = clock_timestamp(),
       error = coalesce(o.error, 'Another restore was made before this one had ended.')
  FROM restores r
 WHERE r.id = %(restore_id)s AND o.application_id = r.application_id AND o.id <> r.id AND o.state = 'running'
   AND o.last_lease_token < r.last_lease_token
RETURNING o.id;

-- name: fail_restore
-- One that had failed already did so then: what others changed since does not become older than it by another try.
UPDATE restores SET state = 'failed', closed_at = CASE WHEN state = 'failed' THEN closed_at ELSE clock_timestamp() END,
       error = %(error)s, failed_step = %(step)s
 WHERE id = %(restore_id)s AND state <> 'complete'
RETURNING id;

-- name: add_outcome
UPDATE restores SET outcome = outcome || %(outcome)s WHERE id = %(restore_id)s
RETURNING id;

-- name: record_plan
-- With the fence of who had the lease last: what others change since is behind that one, or a later one.
UPDATE restores r
   SET plan = %(plan)s::jsonb
              || jsonb_build_object('fence', (SELECT token FROM fences f WHERE f.application_id = r.application_id))
 WHERE id = %(restore_id)s AND state = 'planned'
RETURNING id;

-- name: compare_archives
-- The archives whose file is not in the directory as it was archived: it is missing (found is null), of another size, or
-- perhaps of another content (doubtful): written or replaced since it was last looked at, known to be another version's, or
-- the last copy of what its store lost, which nothing but its content vouches for.
-- Without names: of a lost server these are all of its files, and only few of them are told. Lives as long as the
-- transaction.
CREATE TEMPORARY TABLE odd ON COMMIT DROP AS
SELECT a.id, a.original_size, a.stored_size, a.store_uri, a.state, a.retrieval_status AS status, s.size AS found,
       s.size IS NOT DISTINCT FROM a.original_size AS doubtful
  FROM glacier_archives a LEFT JOIN scanned s ON s.name = a.filename
  LEFT JOIN file_identities i ON i.archive_id = a.id
 WHERE a.application_id = %(application_id)s AND a.kind = 'file'
   AND (%(names)s::text[] IS NULL OR a.filename = ANY(%(names)s))
   AND (s.size IS DISTINCT FROM a.original_size OR a.superseded OR a.state = 'lost' OR i.mtime_ns <> s.mtime_ns
        OR i.inode <> s.inode);

-- name: index_odd
CREATE INDEX ON odd (id);
ANALYZE odd;

-- name: odd_members
-- Those of them that the backup contains: the few are looked up, not the many. Lives as long as the transaction.
CREATE TEMPORARY TABLE compared ON COMMIT DROP AS
SELECT o.* FROM odd o JOIN backup_files f ON f.archive_id = o.id
 WHERE f.application_id = %(application_id)s
   AND f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s);

-- name: index_compared
CREATE INDEX ON compared (id);
ANALYZE compared;

-- name: compared_counts
-- How many are of which kind, and their bytes: one look at what may be a million rows, most of them missing.
SELECT count(*) AS archives, coalesce(sum(original_size), 0)::bigint AS bytes, count(*) FILTER (WHERE doubtful) AS doubtful,
       count(*) FILTER (WHERE found IS NOT NULL) AS differing, count(*) FILTER (WHERE state <> 'archived') AS lost
  FROM compared;

-- name: doubtful_members
-- Files of the size that is wanted, whose content has to be looked at.
SELECT a.id AS archive_id, a.filename, a.stored_size AS size, a.checksum
  FROM compared c JOIN glacier_archives a ON a.id = c.id
 WHERE c.doubtful AND a.checksum IS NOT NULL
 ORDER BY a.filename;

-- name: settle_doubtful
-- Those that have the content that is wanted are there.
DELETE FROM compared WHERE doubtful AND id = ANY(%(same)s::bigint[]);

-- name: lost_members
-- Members of the backup that no store holds any more, and that nobody set aside.
SELECT a.filename AS name FROM compared c JOIN glacier_archives a ON a.id = c.id
 WHERE (c.found IS NULL OR %(replaces)s) AND c.state <> 'archived' AND c.id <> ALL(%(set_aside)s::bigint[])
 ORDER BY a.filename;

-- name: leave_out_lost
DELETE FROM compared WHERE (found IS NULL OR %(replaces)s) AND state <> 'archived' AND id <> ALL(%(set_aside)s::bigint[]);

-- name: differing_members
-- Present under the same name with another content.
SELECT a.filename AS name, c.original_size AS archived_size, c.found AS size
  FROM compared c JOIN glacier_archives a ON a.id = c.id
 WHERE c.found IS NOT NULL ORDER BY a.filename;

-- name: members_count
SELECT count(*) AS archives FROM backup_files
 WHERE application_id = %(application_id)s
   AND first_backup_id <= %(backup_id)s AND (last_backup_id IS NULL OR last_backup_id >= %(backup_id)s);

-- name: members_bytes
SELECT coalesce(sum(a.original_size), 0)::bigint AS bytes FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
 WHERE f.application_id = %(application_id)s
   AND f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s);

-- name: missing_set_aside
-- Missing files that may lie aside under their name, moved there by earlier restores: the newest move first.
SELECT a.id AS archive_id, a.filename, a.stored_size AS size, a.checksum, o.subdirectory, o.id AS move_id
  FROM compared c
  JOIN glacier_archives a ON a.id = c.id
  JOIN orphan_moves o ON o.filename = a.filename AND o.application_id = a.application_id AND o.size = a.stored_size
 WHERE a.application_id = %(application_id)s AND (c.found IS NULL OR %(replaces)s) AND o.state = 'moved' AND o.orphan_directory = %(orphan_directory)s
 ORDER BY a.id, o.id DESC;

-- name: restores_since
-- Others that changed the application's directory or database since this one was planned, or brought back what they had
-- changed.
SELECT other.id FROM restores r JOIN restores other ON other.application_id = r.application_id AND other.id <> r.id
 WHERE r.id = %(restore_id)s AND other.last_lease_token >= coalesce((r.plan ->> 'fence')::bigint, 0)
 LIMIT 1;

-- name: gone_since_plan
-- Neither in the directory as it is wanted, nor staged to be put there, nor lost; nor, unless another restore was made,
-- what this one brings.
SELECT a.filename AS name, count(*) OVER () AS total FROM compared c JOIN glacier_archives a ON a.id = c.id
 WHERE (c.found IS NULL OR %(overtaken)s AND %(replaces)s) AND c.state = 'archived'
   AND NOT EXISTS (SELECT FROM restore_archives r
                    WHERE r.restore_id = %(restore_id)s AND r.archive_id = c.id
                      AND (r.replaces OR NOT %(overtaken)s))
 ORDER BY a.filename LIMIT %(limit)s;

-- name: lock_notes
-- Two that start at once and miss the same files, one after the other.
SELECT pg_advisory_xact_lock(hashtextextended(%(schema)s || ' missing files', application_id)) FROM restores
 WHERE id = %(restore_id)s;

-- name: to_note
-- Two that note what the same restore misses, one after the other: the second one finds that it is done.
SELECT id FROM restores WHERE id = %(restore_id)s AND NOT missing_noted FOR UPDATE;

-- name: note_missing
-- Not in the directory, whatever the catalog believed: a copy that was retrieved earlier may still be on offer.
WITH missing AS MATERIALIZED (
    SELECT archive_id FROM restore_archives
     WHERE restore_id = %(restore_id)s AND archive_id > %(after)s AND archive_id <= %(upto)s AND believed)
UPDATE glacier_archives a SET retrieval_status =
       CASE WHEN EXISTS (SELECT FROM glacier_retrievals g WHERE g.archive_id = a.id AND g.state = 'ready') THEN 'ready'
            WHEN EXISTS (SELECT FROM glacier_retrievals g WHERE g.archive_id = a.id AND g.state = 'requested'
                            AND g.confirmed) THEN 'pending' ELSE 'available' END
  FROM missing
 WHERE a.id = missing.archive_id AND a.retrieval_status = 'exists';

-- name: missing_noted
-- Before it is done, in the same transaction: the plan itself does not become outdated by it. Of a page it does
-- (outdate_plans), which is how what is noted of a page is not noted again.
UPDATE restores SET missing_noted = true WHERE id = %(restore_id)s
RETURNING id;

-- name: missing_to_note
UPDATE restores SET missing_noted = false WHERE id = %(restore_id)s
RETURNING id;

-- name: note_present
UPDATE glacier_archives a SET retrieval_status = 'exists'
  FROM scanned s
 WHERE a.application_id = %(application_id)s AND a.filename = s.name AND a.kind = 'file' AND a.state = 'archived'
   AND a.retrieval_status <> 'exists' AND a.original_size = s.size
   AND (a.id = ANY(%(same)s::bigint[])
        OR NOT a.superseded AND NOT EXISTS (SELECT FROM odd o WHERE o.id = a.id));

-- name: note_unstaged
-- A dump staged by an earlier restore is fetched again unless this restore still has it.
UPDATE glacier_archives a SET retrieval_status =
       CASE WHEN EXISTS (SELECT FROM glacier_retrievals g WHERE g.archive_id = a.id AND g.state = 'ready') THEN 'ready'
            WHEN EXISTS (SELECT FROM glacier_retrievals g WHERE g.archive_id = a.id AND g.state = 'requested')
            THEN 'pending' ELSE 'available' END
 WHERE a.id = %(archive_id)s AND a.retrieval_status = 'local';

-- name: note_unstaged_files
-- The same of files that an earlier restore had staged, and did not come to put in their places.
UPDATE glacier_archives a SET retrieval_status =
       CASE WHEN EXISTS (SELECT FROM glacier_retrievals g WHERE g.archive_id = a.id AND g.state = 'ready') THEN 'ready'
            WHEN EXISTS (SELECT FROM glacier_retrievals g WHERE g.archive_id = a.id AND g.state = 'requested')
            THEN 'pending' ELSE 'available' END
 WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.state = 'archived' AND a.retrieval_status <> 'exists'
   AND a.retrieval_status = 'local'
   AND NOT EXISTS (SELECT FROM restore_archives r JOIN restores o ON o.id = r.restore_id
                    WHERE r.archive_id = a.id AND r.restore_id <> %(restore_id)s AND o.state = 'running');

-- name: forget_planned_archives
-- But for what is placed elsewhere, and still counts.
DELETE FROM restore_archives WHERE restore_id = %(restore_id)s AND NOT (placed AND %(keep_placed)s);

-- name: plan_missing_files
-- And what is there with another content, where it is to be replaced.
INSERT INTO restore_archives (restore_id, archive_id, source, orphan_move, believed, replaces)
SELECT %(restore_id)s, c.id, CASE WHEN o.move IS NOT NULL THEN 'orphan' ELSE 'store' END, o.move, c.status = 'exists',
       c.found IS NOT NULL
  FROM compared c LEFT JOIN unnest(%(set_aside)s::bigint[], %(moves)s::bigint[]) AS o (id, move) USING (id)
 WHERE c.found IS NULL OR %(replaces)s;

-- name: names_to_bring
-- Of a page of archives the names of files that are to come to names that no file has.
SELECT one.filename FROM restore_archives page CROSS JOIN LATERAL (
    SELECT a.filename FROM glacier_archives a WHERE a.id = page.archive_id AND a.kind = 'file' OFFSET 0) AS one
 WHERE page.restore_id = %(restore_id)s AND page.archive_id > %(after)s AND page.archive_id <= %(upto)s AND NOT page.replaces;

-- name: plan_database
INSERT INTO restore_archives (restore_id, archive_id, source) VALUES (%(restore_id)s, %(archive_id)s, 'store')
ON CONFLICT DO NOTHING;

-- name: plan_elsewhere
-- Every file of the backup, or those that are named: what lies in the application's directory as it was archived is copied from there.
INSERT INTO restore_archives (restore_id, archive_id, source)
SELECT %(restore_id)s, a.id, CASE WHEN c.id IS NULL THEN 'directory' ELSE 'store' END
  FROM backup_files f JOIN glacier_archives a ON a.id = f.archive_id
  LEFT JOIN compared c ON c.id = a.id
 WHERE f.application_id = %(application_id)s AND (c.id IS NULL OR a.state = 'archived')
   AND (%(names)s::text[] IS NULL OR a.filename = ANY(%(names)s))
   AND f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s)
ON CONFLICT DO NOTHING;

-- name: elsewhere_figures
-- What has to be brought there, by store, source and status. Nothing has to be asked for an empty file.
SELECT store_uri, kind, source, CASE WHEN stored_size = 0 THEN 'ready' ELSE status END AS status,
       count(*) AS archives, coalesce(sum(stored_size), 0)::bigint AS bytes
  FROM restore_members WHERE restore_id = %(restore_id)s AND NOT placed
 GROUP BY 1, 2, 3, 4;

-- name: not_in_backup
-- Which of these names the backup does not contain.
SELECT name FROM unnest(%(names)s::text[]) AS name
 WHERE NOT EXISTS (SELECT FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
                    WHERE a.application_id = %(application_id)s AND a.kind = 'file' AND a.filename = name
                      AND f.first_backup_id <= %(backup_id)s
                      AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s));

-- name: placed_amount
SELECT count(*) AS archives, coalesce(sum(stored_size), 0)::bigint AS bytes
  FROM restore_members WHERE restore_id = %(restore_id)s AND placed AND kind = 'file';

-- name: placed_elsewhere
UPDATE restore_archives SET placed = true WHERE restore_id = %(restore_id)s AND archive_id = ANY(%(archive_ids)s);

-- name: missing_figures
-- What has to be brought, by store, source and status: of a file that was believed to be there, that of its retrieval.
-- Nothing has to be asked for an empty file.
SELECT c.store_uri, 'file' AS kind, CASE WHEN c.id = ANY(%(set_aside)s::bigint[]) THEN 'orphan' ELSE 'store' END AS source,
       CASE WHEN c.stored_size = 0 THEN 'ready'
            WHEN c.status <> 'exists' THEN c.status
            WHEN g.state = 'ready' THEN 'ready'
            WHEN g.state = 'requested' AND g.confirmed THEN 'pending'
            ELSE 'available' END AS status,
       count(*) AS archives, coalesce(sum(c.stored_size), 0)::bigint AS bytes
  FROM compared c LEFT JOIN glacier_retrievals g ON g.archive_id = c.id AND g.state IN ('requested', 'ready')
 WHERE c.found IS NULL OR %(replaces)s
 GROUP BY 1, 2, 3, 4;

-- name: database_figures
SELECT a.store_uri, a.kind, 'store' AS source, a.retrieval_status AS status, 1 AS archives,
       coalesce(a.stored_size, 0) AS bytes
  FROM glacier_archives a WHERE a.id = %(archive_id)s;

-- name: restore_stores
SELECT DISTINCT a.store_uri FROM restore_archives r JOIN glacier_archives a ON a.id = r.archive_id
 WHERE r.restore_id = %(restore_id)s AND r.source = 'store';

-- name: restore_ranges
-- Equal shares of what a restore brings, as ranges of archive ids.
WITH shares AS (SELECT greatest(1, least(%(shares)s, ceil(count(*) / %(smallest)s::numeric)))::integer AS n
                  FROM restore_archives WHERE restore_id = %(restore_id)s)
SELECT min(id) AS first, max(id) AS last, count(*) AS archives
  FROM (SELECT archive_id AS id, ntile((SELECT n FROM shares)) OVER (ORDER BY archive_id) AS share
          FROM restore_archives WHERE restore_id = %(restore_id)s) AS numbered
 GROUP BY share ORDER BY share;

-- name: bytes_of_range
SELECT coalesce(sum(a.stored_size), 0)::bigint AS bytes
  FROM restore_archives r JOIN glacier_archives a ON a.id = r.archive_id
 WHERE r.restore_id = %(restore_id)s AND r.archive_id BETWEEN %(first)s AND %(last)s;

-- name: end_of_page
-- Where a page of so many archives of a restore ends. What is asked of a page goes through the restore's own rows between
-- two bounds, and looks up each archive by itself (OFFSET keeps the planner from joining it otherwise): so nothing reads
-- more than the page, whatever is known of tables that were just filled.
SELECT max(archive_id) AS upto, count(*) < %(limit)s AS is_last FROM (
    SELECT archive_id FROM restore_archives
     WHERE restore_id = %(restore_id)s AND archive_id > %(after)s AND archive_id <= %(last)s
     ORDER BY archive_id LIMIT %(limit)s) AS page;

-- name: archives_to_request
-- Of a page of archives those that only the cold has, in id order.
SELECT one.* FROM restore_archives page CROSS JOIN LATERAL (
    SELECT m.id, m.store_uri, m.key FROM restore_members m
     WHERE m.restore_id = %(restore_id)s AND m.id = page.archive_id
       AND m.source = 'store' AND m.status = 'available' AND m.stored_size > 0 OFFSET 0) AS one
 WHERE page.restore_id = %(restore_id)s AND page.archive_id > %(after)s AND page.archive_id <= %(upto)s
 ORDER BY one.id;

-- name: lock_lanes
-- In their order, so that two who want the same ones never wait for each other.
SELECT pg_advisory_lock(hashtextextended(%(schema)s || ' requests ' || lane, 0))
  FROM (SELECT unnest(%(lanes)s::bigint[]) AS lane ORDER BY 1) AS lanes;

-- name: end_requests_that_are_over
-- Sessions in which a restore that is over still has its turn: of a process that sleeps, for as long as it does.
SELECT pg_terminate_backend(s.pid) AS ended
  FROM pg_stat_activity s JOIN restores r ON s.application_name = %(name)s || r.id
 WHERE s.datname = current_database() AND s.pid <> pg_backend_pid() AND r.application_id = %(application_id)s
   AND r.state IN ('complete', 'failed');

-- name: name_session
SELECT set_config('application_name', %(name)s, false);

-- name: unlock_lanes
SELECT pg_advisory_unlock(hashtextextended(%(schema)s || ' requests ' || lane, 0))
  FROM (SELECT unnest(%(lanes)s::bigint[]) AS lane) AS lanes;

-- name: intend_retrievals
-- The intent, before anything is paid. One live request an archive; a running one of another restore is joined.
INSERT INTO glacier_retrievals (archive_id, restore_id, tier, days)
SELECT unnest(%(archive_ids)s::bigint[]), %(restore_id)s, %(tier)s, %(days)s
ON CONFLICT (archive_id) WHERE state IN ('requested', 'ready') DO NOTHING
RETURNING archive_id;

-- name: live_retrievals
SELECT g.id, g.archive_id, g.job_id, g.confirmed, g.tier, g.days
  FROM glacier_retrievals g WHERE g.archive_id = ANY(%(archive_ids)s) AND g.state IN ('requested', 'ready');

-- name: confirm_retrievals
-- By id alone: the partial indexes on states hold every request of the restore (coalesce hides them). So below.
WITH done AS (
    UPDATE glacier_retrievals g SET confirmed = true, job_id = r.job_id
      FROM unnest(%(ids)s::bigint[], %(job_ids)s::text[]) AS r (id, job_id)
     WHERE g.id = r.id AND coalesce(g.state, '') IN ('requested', 'ready')
    RETURNING g.archive_id, g.state)
UPDATE glacier_archives a SET error = NULL, retrieval_status =
       CASE WHEN a.retrieval_status = 'exists' THEN 'exists' WHEN done.state = 'ready' THEN 'ready' ELSE 'pending' END
  FROM done WHERE a.id = done.archive_id
   AND (a.retrieval_status = 'available' OR a.retrieval_status = 'exists' AND a.error IS NOT NULL);

-- name: note_batch
-- Which store's archives a job asks for: once a restore.
UPDATE restores SET outcome = outcome || jsonb_build_object('batch',
       coalesce(outcome -> 'batch', '{}') || jsonb_build_object(%(store_uri)s::text, %(job_id)s::bigint))
 WHERE id = %(restore_id)s;

-- name: note_retrieval_error
-- The request was not taken: the intent stays open to be tried again.
UPDATE glacier_archives SET error = %(error)s WHERE id = %(archive_id)s;

-- name: readable_at_once
-- Archives of a class without retrievals.
UPDATE glacier_archives SET retrieval_status = 'ready' WHERE id = ANY(%(archive_ids)s) AND retrieval_status = 'available';

-- name: one_by_one
-- Of this transaction alone: what is asked of a page is looked up for each of its rows, whatever the planner believes of tables
-- that were just filled.
SELECT set_config(name, 'off', true)
  FROM unnest(ARRAY['enable_hashjoin', 'enable_mergejoin', 'enable_seqscan', 'enable_sort']) AS name;

-- name: look_at_page
-- Of the next archives of a restore how many are in which status, the last of them, and the keys of those that are waited
-- for. Of a restore into the application's own places, where the status is that of the archive.
SELECT a.store_uri, r.source, a.retrieval_status AS status, count(*) AS archives, max(a.id) AS upto,
       count(*) FILTER (WHERE a.stored_size > 0) AS not_empty,
       array_agg(a.key) FILTER (WHERE a.retrieval_status = 'pending') AS keys
  FROM (SELECT archive_id, source FROM restore_archives
         WHERE restore_id = %(restore_id)s AND archive_id > %(after)s ORDER BY archive_id LIMIT %(limit)s) AS r
  JOIN glacier_archives a ON a.id = r.archive_id
 GROUP BY 1, 2, 3;

-- name: look_at_page_elsewhere
-- The same of a restore into another place, which copies some of it from the directory.
SELECT store_uri, source, status, count(*) AS archives, max(id) AS upto,
       count(*) FILTER (WHERE stored_size > 0) AS not_empty,
       array_agg(key) FILTER (WHERE status = 'pending' AND source <> 'directory') AS keys
  FROM (SELECT * FROM restore_members
         WHERE restore_id = %(restore_id)s AND id > %(after)s ORDER BY id LIMIT %(limit)s) AS next
 GROUP BY 1, 2, 3;

-- name: pending_retrievals
-- Of a page of archives those of a store that a restore waits for, in id order; all, or those with these keys.
SELECT one.* FROM restore_archives page CROSS JOIN LATERAL (
    SELECT g.id, g.archive_id, g.job_id, g.tier, g.requested_at, m.key, m.store_uri, m.filename, m.stored_size
      FROM restore_members m
      JOIN glacier_retrievals g ON g.archive_id = m.id AND g.state = 'requested'
     WHERE m.restore_id = %(restore_id)s AND m.id = page.archive_id AND m.source <> 'directory' AND m.status = 'pending'
       AND m.store_uri = %(store_uri)s AND (%(keys)s::text[] IS NULL OR m.key = ANY(%(keys)s)) OFFSET 0) AS one
 WHERE page.restore_id = %(restore_id)s AND page.archive_id > %(after)s AND page.archive_id <= %(upto)s
 ORDER BY one.archive_id;

-- name: named_archives
-- What a restore brings from its stores, by the keys there, with the live request of each.
SELECT m.id AS archive_id, m.key, m.store_uri, m.filename, m.status, g.id, g.state, g.job_id, g.tier
  FROM restore_members m
  LEFT JOIN glacier_retrievals g ON g.archive_id = m.id AND g.state IN ('requested', 'ready')
 WHERE m.restore_id = %(restore_id)s AND m.source = 'store' AND m.key = ANY(%(keys)s);

-- name: still_requested
SELECT archive_id FROM glacier_retrievals WHERE archive_id = ANY(%(archive_ids)s) AND state = 'requested';

-- name: retrievals_ready
WITH done AS (
    UPDATE glacier_retrievals g SET state = 'ready', ready_at = clock_timestamp(), expires_at = r.expires_at
      FROM unnest(%(ids)s::bigint[], %(expiries)s::timestamptz[]) AS r (id, expires_at)
     WHERE g.id = r.id AND coalesce(g.state, '') = 'requested'
    RETURNING g.archive_id)
UPDATE glacier_archives a SET retrieval_status = 'ready' FROM done
 WHERE a.id = done.archive_id AND a.retrieval_status = 'pending';

-- name: retrievals_failed
-- Ended without success: back to the cold, with the store's words.
WITH done AS (
    UPDATE glacier_retrievals g SET state = 'failed', error = r.error
      FROM unnest(%(ids)s::bigint[], %(errors)s::text[]) AS r (id, error)
     WHERE g.id = r.id AND coalesce(g.state, '') = 'requested'
    RETURNING g.archive_id, g.error)
UPDATE glacier_archives a SET error = done.error,
       retrieval_status = CASE a.retrieval_status WHEN 'exists' THEN 'exists' ELSE 'available' END
  FROM done WHERE a.id = done.archive_id;

-- name: retrieval_expired
-- The offer ended before the bytes were fetched, or the store no longer knows of the request: back to the cold. So is
-- what was staged and is gone, if that is so.
WITH done AS (
    UPDATE glacier_retrievals g
       SET state = CASE g.state WHEN 'ready' THEN 'expired' ELSE 'failed' END,
           error = CASE g.state WHEN 'ready' THEN g.error ELSE 'The store no longer knows of this request.' END
     WHERE g.archive_id = ANY(%(archive_ids)s) AND g.state IN ('requested', 'ready'))
UPDATE glacier_archives a SET retrieval_status = 'available'
 WHERE a.id = ANY(%(archive_ids)s)
   AND (a.retrieval_status IN ('ready', 'pending') OR a.retrieval_status = 'local' AND %(gone)s);

-- name: may_write
-- Also in a session that reads: who only looks has to see what is over.
SET TRANSACTION READ WRITE;

-- name: expire_copies
-- What was on offer until a time that is over, or ends within a margin, is cold. The one place that knows that time:
-- whoever looks at statuses runs it first. Of one restore, or of all.
-- Found by the index of times, which a time that changes while the statement runs is not looked up in. By id then: the
-- index of those that are ready may hold a million.
WITH ending AS (  -- in one order, so that two who look never wait for each other
    SELECT g.id FROM glacier_retrievals g
     WHERE g.state = 'ready' AND g.expires_at <= statement_timestamp() + make_interval(secs => %(margin)s)
       AND (%(restore_id)s::bigint IS NULL
            OR EXISTS (SELECT FROM restore_archives r WHERE r.restore_id = %(restore_id)s AND r.archive_id = g.archive_id))
     ORDER BY g.id FOR NO KEY UPDATE),
over AS (
    UPDATE glacier_retrievals g SET state = 'expired' FROM ending
     WHERE ending.id = g.id AND coalesce(g.state, '') = 'ready'
    RETURNING g.archive_id)
UPDATE glacier_archives a SET retrieval_status = 'available' FROM over
 WHERE a.id = over.archive_id AND a.retrieval_status = 'ready'
RETURNING a.id;

-- name: forget_old_requests
-- Asked for so long ago that what came of it is over, and nobody looked since: cold, whatever it is believed to be.
WITH over AS (
    UPDATE glacier_retrievals g SET state = 'failed', error = 'Nobody waited for it, and its copy is over by now.'
      FROM glacier_archives a
     WHERE a.id = g.archive_id AND a.application_id = %(application_id)s AND g.state = 'requested' AND g.confirmed
       AND g.requested_at < statement_timestamp() - make_interval(days => g.days + %(latest)s)
    RETURNING g.archive_id)
UPDATE glacier_archives a SET retrieval_status = 'available' FROM over
 WHERE a.id = over.archive_id AND a.retrieval_status = 'pending'
RETURNING a.id;

-- name: often_lost
-- Archives whose retrievals of this restore ended again and again without being fetched.
-- They are few, whatever the server takes them for: of a restore that has just begun it knows nothing, and of one before
-- it a great many.
WITH often AS MATERIALIZED (
    SELECT archive_id FROM glacier_retrievals
     WHERE restore_id = %(restore_id)s AND state IN ('expired', 'failed')
     GROUP BY archive_id HAVING count(*) >= %(times)s)
SELECT m.id, m.filename FROM often CROSS JOIN LATERAL (
    SELECT id, filename, status FROM restore_members
     WHERE restore_id = %(restore_id)s AND id = often.archive_id OFFSET 0) m
 WHERE m.status = 'available' ORDER BY m.id LIMIT 20;

-- name: retrieval_counts
SELECT status, count(*) AS archives, coalesce(sum(stored_size), 0)::bigint AS bytes
  FROM restore_members WHERE restore_id = %(restore_id)s AND source = 'store'
 GROUP BY 1;

-- name: still_missing
-- What a restore still waits for, by name.
SELECT m.filename, m.status, m.error, g.tier, g.requested_at
  FROM restore_members m LEFT JOIN glacier_retrievals g ON g.archive_id = m.id AND g.state = 'requested'
 WHERE m.restore_id = %(restore_id)s AND m.source = 'store' AND m.status IN ('available', 'pending')
   AND m.stored_size > 0
 ORDER BY m.id LIMIT %(limit)s;

-- name: archives_to_place
-- Of a page of archives those that are not in place, in id order.
SELECT one.* FROM restore_archives page CROSS JOIN LATERAL (
    SELECT m.id, m.kind, m.filename, m.stored_size, m.sha256, m.checksum, m.store_uri, m.key, m.status, m.source,
           m.replaces, g.job_id, o.subdirectory
      FROM restore_members m
      LEFT JOIN glacier_retrievals g ON g.archive_id = m.id AND g.state = 'ready'
      LEFT JOIN orphan_moves o ON o.id = m.orphan_move AND coalesce(o.state, '') = 'moved'
                            AND o.orphan_directory = %(orphan_directory)s
     WHERE m.restore_id = %(restore_id)s AND m.id = page.archive_id AND m.status <> 'exists' OFFSET 0) AS one
 WHERE page.restore_id = %(restore_id)s AND page.archive_id > %(after)s AND page.archive_id <= %(upto)s
 ORDER BY one.id;

-- name: archives_placed
UPDATE glacier_archives
   SET retrieval_status = CASE WHEN kind = 'file' AND NOT %(staged)s THEN 'exists' ELSE 'local' END, error = NULL
 WHERE id = ANY(%(archive_ids)s) AND retrieval_status <> 'exists';

-- name: note_identities
INSERT INTO file_identities (archive_id, mtime_ns, inode)
SELECT * FROM unnest(%(archive_ids)s::bigint[], %(mtimes)s::bigint[], %(inodes)s::bigint[])
ON CONFLICT (archive_id) DO UPDATE SET mtime_ns = excluded.mtime_ns, inode = excluded.inode;

-- name: fetch_from_store_instead
-- A file set aside is no longer what it was: its bytes come from the store.
UPDATE restore_archives SET source = 'store', orphan_move = NULL
 WHERE restore_id = %(restore_id)s AND archive_id = ANY(%(archive_ids)s);

-- name: not_brought
-- Files that are neither in their places nor staged to be put there.
SELECT m.filename AS name, count(*) OVER () AS total FROM restore_members m
 WHERE m.restore_id = %(restore_id)s AND m.kind = 'file' AND m.status NOT IN ('exists', 'local')
 ORDER BY m.id LIMIT %(limit)s;

-- name: unplaced_files
-- The dump is needed until it is restored: another restore may have released it since.
SELECT m.filename, m.status
  FROM restore_members m JOIN restores o ON o.id = m.restore_id
 WHERE m.restore_id = %(restore_id)s
   AND (m.status NOT IN ('exists', 'local') OR m.kind = 'file' AND m.status = 'local')
   AND NOT (m.kind = 'database' AND jsonb_exists(o.outcome, 'database'))
 ORDER BY m.id LIMIT 20;

-- name: release_database
-- The staged dump is gone; a copy that is still on offer can be fetched again.
WITH own AS (
    UPDATE restore_archives m SET placed = false
      FROM restores r JOIN application_data_backups b ON b.id = r.backup_id
     WHERE r.id = %(restore_id)s AND m.restore_id = r.id AND m.archive_id = b.database_archive_id AND m.placed)
UPDATE glacier_archives a SET retrieval_status =
       CASE WHEN EXISTS (SELECT FROM glacier_retrievals g WHERE g.archive_id = a.id AND g.state = 'ready') THEN 'ready' ELSE 'available' END
  FROM restores r JOIN application_data_backups b ON b.id = r.backup_id
 WHERE r.id = %(restore_id)s AND a.id = b.database_archive_id AND a.retrieval_status = 'local'
   AND r.request ->> 'into' IS NULL;

-- name: plan_orphans
-- Files that the restored backup does not contain, and did not have to leave out: the intent of each move, before the
-- first one.
INSERT INTO orphan_moves (restore_id, application_id, filename, size, orphan_directory, subdirectory)
SELECT %(restore_id)s, %(application_id)s, s.name, s.size, %(orphan_directory)s, %(subdirectory)s
  FROM scanned s
 WHERE NOT s.young AND NOT EXISTS (
       SELECT FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
        WHERE a.application_id = %(application_id)s AND a.filename = s.name AND a.kind = 'file'
          AND a.state IN ('planned', 'uploading', 'archived', 'lost', 'deleting', 'deleted')
          AND f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s))
   AND s.name <> ALL(%(left_out)s::text[]) AND NOT EXISTS (
       SELECT FROM glacier_archives u
        WHERE u.application_id = %(application_id)s AND u.filename = s.name AND u.kind = 'file'
          AND u.unread_by = %(backup_id)s)
ON CONFLICT (restore_id, filename) DO NOTHING;

-- name: young_orphans
-- Files that came while the restore ran, and are not of the backup: they stay.
SELECT s.name FROM scanned s
 WHERE s.young AND NOT EXISTS (
       SELECT FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
        WHERE a.application_id = %(application_id)s AND a.filename = s.name AND a.kind = 'file'
          AND a.state IN ('planned', 'uploading', 'archived', 'lost', 'deleting', 'deleted')
          AND f.first_backup_id <= %(backup_id)s AND (f.last_backup_id IS NULL OR f.last_backup_id >= %(backup_id)s))
   AND s.name <> ALL(%(left_out)s::text[]) AND NOT EXISTS (
       SELECT FROM glacier_archives u
        WHERE u.application_id = %(application_id)s AND u.filename = s.name AND u.kind = 'file'
          AND u.unread_by = %(backup_id)s)
 ORDER BY s.name;


-- name: to_replace
-- Of a page of archives the files that are to give way to what is staged, in id order.
SELECT one.* FROM restore_archives page CROSS JOIN LATERAL (
    SELECT a.id, a.filename, a.stored_size, a.checksum, m.state AS move, m.id AS move_id, o.subdirectory
      FROM glacier_archives a
      LEFT JOIN orphan_moves o ON o.id = page.orphan_move AND coalesce(o.state, '') = 'moved'
                            AND o.orphan_directory = %(orphan_directory)s
      LEFT JOIN LATERAL (SELECT id, state FROM orphan_moves
                          WHERE restore_id = %(restore_id)s AND filename = a.filename OFFSET 0) AS m ON true
     WHERE a.id = page.archive_id AND a.retrieval_status = 'local' OFFSET 0) AS one
 WHERE page.restore_id = %(restore_id)s AND page.archive_id > %(after)s AND page.archive_id <= %(upto)s AND page.replaces
 ORDER BY one.id;

-- name: plan_replaced
-- The intent of each move, before the first one.
INSERT INTO orphan_moves (restore_id, application_id, filename, size, orphan_directory, subdirectory, replaced_by)
SELECT %(restore_id)s, %(application_id)s, r.filename, r.size, %(orphan_directory)s, %(subdirectory)s, r.id
  FROM unnest(%(ids)s::bigint[], %(filenames)s::text[], %(sizes)s::bigint[]) AS r (id, filename, size)
ON CONFLICT (restore_id, filename) DO NOTHING;

-- name: orphans_in_state
-- A page of journalled moves, in id order.
SELECT id, filename, size, orphan_directory, subdirectory, replaced_by FROM orphan_moves
 WHERE restore_id = %(restore_id)s AND state = %(state)s AND id > %(after)s
 ORDER BY id LIMIT %(limit)s;

-- name: unfinished_moves
SELECT DISTINCT restore_id AS id FROM orphan_moves
 WHERE application_id = %(application_id)s AND state = 'planned' AND restore_id <> %(restore_id)s ORDER BY 1;

-- name: orphans_moved
-- By id alone: the partial indexes on states hold every move of the restore (coalesce hides them).
UPDATE orphan_moves SET state = 'moved', moved_at = clock_timestamp()
 WHERE id = ANY(%(ids)s) AND coalesce(state, '') = 'planned';

-- name: orphan_files_left
-- A file moved aside is no longer in its directory. The archives of its name, each way by the index that has it.
UPDATE glacier_archives SET retrieval_status = 'available'
 WHERE retrieval_status = 'exists' AND id = ANY(ARRAY(
    SELECT named.id FROM orphan_moves m CROSS JOIN LATERAL (
        SELECT a.id FROM glacier_archives a
         WHERE a.application_id = m.application_id AND a.filename = m.filename AND a.kind = 'file' AND a.state = 'archived'
           AND NOT a.superseded
        UNION ALL
        SELECT a.id FROM glacier_archives a
         WHERE a.application_id = m.application_id AND a.filename = m.filename AND a.kind = 'file' AND a.state = 'archived'
           AND a.superseded
        OFFSET 0) AS named
     WHERE m.id = ANY(%(ids)s)));

-- name: orphans_gone
-- Planned, but no longer there when its turn came.
DELETE FROM orphan_moves WHERE id = ANY(%(ids)s) AND coalesce(state, '') = 'planned';

-- name: orphans_undone
UPDATE orphan_moves SET state = 'undone', undone_at = clock_timestamp()
 WHERE id = ANY(%(ids)s) AND coalesce(state, '') = 'moved';

-- name: orphan_files_back
-- Of several versions the newest is believed to be it; the next scan looks.
UPDATE glacier_archives SET retrieval_status = 'exists' WHERE id = ANY(ARRAY(
    SELECT named.id FROM orphan_moves m CROSS JOIN LATERAL (
        SELECT a.id FROM glacier_archives a
         WHERE a.application_id = m.application_id AND a.filename = m.filename AND a.kind = 'file' AND a.state = 'archived'
           AND NOT a.superseded AND a.original_size = m.size OFFSET 0) AS named
     WHERE m.id = ANY(%(ids)s)));

-- name: replacing_files_left
-- What had taken the place of a file that is back.
UPDATE glacier_archives SET retrieval_status = 'available'
 WHERE state = 'archived' AND retrieval_status = 'exists'
   AND id = ANY(ARRAY(SELECT replaced_by FROM orphan_moves WHERE id = ANY(%(ids)s)));

-- name: aside_though_present
SELECT m.filename, m.orphan_directory, m.subdirectory FROM orphan_moves m
  JOIN glacier_archives a ON a.application_id = m.application_id AND a.filename = m.filename AND a.kind = 'file'
 WHERE m.application_id = %(application_id)s AND m.state = 'moved' AND a.state = 'archived'
   AND m.orphan_directory = %(orphan_directory)s AND a.retrieval_status = 'exists';

-- name: moved_back
-- A restore took this file back from where an earlier one had put it.
UPDATE orphan_moves SET state = 'undone', undone_at = clock_timestamp()
 WHERE application_id = %(application_id)s AND filename = %(filename)s AND subdirectory = %(subdirectory)s
   AND state = 'moved';

-- name: orphan_counts
SELECT state, count(*) AS archives, coalesce(sum(size), 0)::bigint AS bytes FROM orphan_moves
 WHERE restore_id = %(restore_id)s GROUP BY state;
