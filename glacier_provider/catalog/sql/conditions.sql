-- name: condition_of_each
-- What is known of each application: its last complete backup and what that lacks, how the last one ended, what is under
-- way, lost and proven. Of the reports, which may be long, only figures are read.
SELECT p.name AS application, p.created_at AS known_since,
       c.id AS complete_id, c.opened_at AS complete_since, c.closed_at AS complete_at, coalesce(c.files_count, 0) AS files,
       coalesce(c.files_bytes, 0) + coalesce(c.database_bytes, 0) AS bytes, coalesce(c.vanished_count, 0) AS vanished,
       c.report, c.rewritten, c.database_bytes, c.new_bytes, extract(epoch FROM c.closed_at - c.opened_at) AS seconds,
       u.backups AS usual_of, u.database_bytes AS usual_database_bytes, u.new_bytes AS usual_new_bytes,
       u.seconds AS usual_seconds,
       e.id AS failed_id, e.closed_at AS failed_at, coalesce(e.error, '') AS failed_why,
       r.id AS running_id, r.opened_at AS running_since,
       (SELECT count(DISTINCT a.id) FROM glacier_archives a
         WHERE a.application_id = p.id AND a.state = 'lost'
           AND (EXISTS (SELECT FROM backup_files f WHERE f.archive_id = a.id)
                OR EXISTS (SELECT FROM application_data_backups d
                            WHERE d.database_archive_id = a.id AND d.state NOT IN ('deleting', 'deleted')))) AS lost,
       (SELECT jsonb_object_agg(k.kind, jsonb_build_object(
                   'state', n.state, 'ended_at', extract(epoch FROM n.ended_at), 'error', n.error, 'told', (
                       SELECT jsonb_agg(left(f->>'told', 500) || coalesce(' ' || left(f->'names'->>0, 200), ''))
                         FROM jsonb_array_elements(n.findings) AS f WHERE (f->>'grave')::boolean),
                   'passed_at', (SELECT extract(epoch FROM max(s.ended_at)) FROM proofs s
                                  WHERE s.application_id = p.id AND s.kind = k.kind AND s.state = 'passed')))
          FROM (VALUES ('verification'), ('drill')) AS k (kind)
         CROSS JOIN LATERAL (SELECT * FROM proofs o WHERE o.application_id = p.id AND o.kind = k.kind
                                AND o.state <> 'running' ORDER BY o.id DESC LIMIT 1) AS n) AS proven
  FROM applications p
  LEFT JOIN LATERAL (
       SELECT id, opened_at, closed_at, files_count, files_bytes, database_bytes, vanished_count,
              coalesce(new_files_bytes, 0) AS new_bytes,
              greatest((report->>'new_versions_count')::bigint, (report->>'changed_count')::bigint, 0) AS rewritten,
              jsonb_strip_nulls(jsonb_build_object(
                  'unreadable_count', report->'unreadable_count', 'unreadable', report->'unreadable'->0,
                  'changed_count', report->'changed_count', 'changed', report->'changed'->0,
                  'unarchived_references_count', report->'unarchived_references_count',
                  'unarchived_references', report->'unarchived_references'->0,
                  'other_references_count', report->'other_references_count',
                  'other_references', report->'other_references'->0,
                  'missing_stores_count', report->'missing_stores_count', 'missing_stores', report->'missing_stores'->0,
                  'task_seconds', report->'task_seconds', 'in_place', report->'rehearsal'->'in_place')) AS report
         FROM application_data_backups b
        WHERE b.application_id = p.id AND b.state = 'complete' ORDER BY b.id DESC LIMIT 1) AS c ON true
  -- What its predecessors were like: the median of the last fourteen.
  LEFT JOIN LATERAL (
       SELECT count(*) AS backups, percentile_cont(0.5) WITHIN GROUP (ORDER BY h.database_bytes) AS database_bytes,
              percentile_cont(0.5) WITHIN GROUP (ORDER BY h.new_files_bytes) AS new_bytes,
              percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM h.closed_at - h.opened_at)) AS seconds
         FROM (SELECT b.database_bytes, b.new_files_bytes, b.closed_at, b.opened_at FROM application_data_backups b
                WHERE b.application_id = p.id AND b.state = 'complete' AND b.id < c.id
                ORDER BY b.id DESC LIMIT 14) AS h) AS u ON true
  LEFT JOIN LATERAL (
       SELECT id, closed_at, left(error, 2000) AS error FROM application_data_backups b
        WHERE b.application_id = p.id AND b.state = 'failed' AND (c.id IS NULL OR b.id > c.id)
        ORDER BY b.id DESC LIMIT 1) AS e ON true
  LEFT JOIN LATERAL (
       SELECT id, opened_at FROM application_data_backups b
        WHERE b.application_id = p.id AND b.state = 'running' ORDER BY b.id DESC LIMIT 1) AS r ON true
 WHERE %(names)s::text[] IS NULL OR p.name = ANY(%(names)s)
 ORDER BY p.name;

-- name: happenings_of_each
-- What is told once: restores that wait for a person, restores that ended lately, deletions.
SELECT p.name AS application, h.* FROM applications p CROSS JOIN LATERAL (
       (SELECT 'approval' AS kind, r.id, r.backup_id, r.state, r.opened_at AS at, '' AS why FROM restores r
         WHERE r.application_id = p.id AND r.state = 'planned' AND r.plan <> '{}'
           AND ((r.plan->>'over_budget')::boolean OR (r.request->>'approve')::boolean)
         ORDER BY r.id DESC LIMIT 20)
       UNION ALL
       (SELECT 'restore', r.id, r.backup_id, r.state, r.closed_at, left(coalesce(r.error, ''), 500) FROM restores r
         WHERE r.application_id = p.id AND r.state IN ('complete', 'failed') AND r.closed_at > %(since)s
           AND r.dag_id <> 'glacier-backup fetch'  -- who gave the command was told by it
         ORDER BY r.id DESC LIMIT 20)
       UNION ALL
       (SELECT 'deletion', b.id, b.id, b.state, coalesce(b.deleted_at, b.deletion_began_at), '' FROM application_data_backups b
         WHERE b.application_id = p.id AND b.state IN ('deleting', 'deleted')
           AND coalesce(b.deleted_at, b.deletion_began_at) > %(since)s
         ORDER BY b.id DESC LIMIT 100)) AS h
 WHERE p.name = %(name)s ORDER BY h.at;

-- name: activity_of_each
-- What is under way: restores, and retrievals that are waited for.
SELECT p.name AS application, g.retrievals, g.since,
       (SELECT count(*) FROM restores r WHERE r.application_id = p.id AND r.state = 'running') AS restores
  FROM applications p CROSS JOIN LATERAL (
       SELECT count(*) AS retrievals, min(g.requested_at) AS since
         FROM restores r JOIN glacier_retrievals g ON g.restore_id = r.id
        WHERE r.application_id = p.id AND r.state IN ('planned', 'running') AND g.state = 'requested') AS g
 WHERE p.name = ANY(%(names)s);

-- name: rewritten_backup
-- The newest backup since a moment before which a large share of all files got other contents, or vanished.
SELECT b.id, greatest((b.report->>'new_versions_count')::bigint, (b.report->>'changed_count')::bigint, 0) AS rewritten,
       coalesce(b.vanished_count, 0) AS vanished
  FROM application_data_backups b JOIN applications p ON p.id = b.application_id
 WHERE p.name = %(name)s AND b.state = 'complete' AND b.opened_at >= %(since)s
   AND (greatest((b.report->>'new_versions_count')::bigint, (b.report->>'changed_count')::bigint, 0)
            >= greatest(%(least)s, %(share)s * b.files_count)
        OR b.vanished_count >= greatest(%(least)s, %(share)s * (b.files_count + b.vanished_count)))
 ORDER BY b.id DESC LIMIT 1;
