-- name: open_proof
-- The one that is under way, or a new one.
INSERT INTO proofs (application_id, kind, method, dag_id, dag_run_id, asked_by, backup_id)
VALUES (%(application_id)s, %(kind)s, %(method)s, %(dag_id)s, %(dag_run_id)s, %(asked_by)s, %(backup_id)s)
ON CONFLICT (application_id, kind) WHERE state = 'running' DO UPDATE
   SET dag_id = coalesce(excluded.dag_id, proofs.dag_id), dag_run_id = coalesce(excluded.dag_run_id, proofs.dag_run_id)
RETURNING id;

-- name: note_ended_proof
-- One that has ended as it began; none while one of its kind is under way, which tells of the same.
INSERT INTO proofs (application_id, kind, method, backup_id, state, ended_at, figures, findings)
SELECT %(application_id)s, %(kind)s, %(method)s, %(backup_id)s, %(state)s, clock_timestamp(), %(figures)s, %(findings)s
 WHERE NOT EXISTS (SELECT FROM proofs WHERE application_id = %(application_id)s AND kind = %(kind)s AND state = 'running')
RETURNING id;

-- name: proof
SELECT * FROM proofs WHERE id = %(proof_id)s AND application_id = %(application_id)s;

-- name: proof_under_way
SELECT * FROM proofs WHERE application_id = %(application_id)s AND kind = %(kind)s AND state = 'running';

-- name: note_proof
-- A step that is done again tells anew what it found.
UPDATE proofs p SET figures = figures || %(figures)s::jsonb,
       findings = coalesce((SELECT jsonb_agg(f) FROM jsonb_array_elements(p.findings) AS f WHERE f->>'step' <> %(step)s),
                           '[]') || %(findings)s::jsonb
 WHERE id = %(proof_id)s AND state = 'running';

-- name: close_proof
UPDATE proofs SET state = %(state)s, ended_at = clock_timestamp(), figures = figures || %(figures)s::jsonb,
       error = %(error)s
 WHERE id = %(proof_id)s AND state = 'running'
RETURNING *;

-- name: newest_proof
SELECT * FROM proofs WHERE application_id = %(application_id)s AND kind = %(kind)s AND state = ANY(%(states)s)
 ORDER BY id DESC LIMIT 1;

-- name: list_proofs
SELECT * FROM proofs WHERE application_id = %(application_id)s AND (%(kind)s::text IS NULL OR kind = %(kind)s)
 ORDER BY id DESC LIMIT %(limit)s OFFSET %(offset)s;

-- name: proofs_of_each
-- The last proof of each kind that ended, and the last that passed. Of the figures, which may be long, only a few are read.
SELECT p.name AS application, k.kind, n.id, n.state, n.began_at, n.ended_at, n.backup_id, left(n.error, 1000) AS error,
       (SELECT jsonb_agg(g.told) FROM (
            SELECT left(f->>'told', 500) || coalesce(' ' || left(f->'names'->>0, 200), '') AS told
              FROM jsonb_array_elements(n.findings) AS f WHERE (f->>'grave')::boolean LIMIT 3) AS g) AS told,
       s.id AS passed_id, s.ended_at AS passed_at, s.backup_id AS passed_backup_id,
       jsonb_build_object('listing', jsonb_build_object('listed', s.figures->'listing'->'listed'),
                          'content', jsonb_build_object('matched', s.figures->'content'->'matched'),
                          'database', jsonb_build_object('bytes', s.figures->'database'->'bytes',
                                                         'tables', s.figures->'database'->'tables'),
                          'files', jsonb_build_object('checked', s.figures->'files'->'checked'),
                          'times', jsonb_build_object('recovery', s.figures->'times'->'recovery')) AS passed_figures
  FROM applications p
 CROSS JOIN (VALUES ('verification'), ('drill')) AS k (kind)
 CROSS JOIN LATERAL (SELECT * FROM proofs o WHERE o.application_id = p.id AND o.kind = k.kind AND o.state <> 'running'
                      ORDER BY o.id DESC LIMIT 1) AS n
  LEFT JOIN LATERAL (SELECT * FROM proofs o WHERE o.application_id = p.id AND o.kind = k.kind AND o.state = 'passed'
                      ORDER BY o.id DESC LIMIT 1) AS s ON true
 WHERE p.name = ANY(%(names)s)
 ORDER BY p.name, k.kind DESC;

-- name: proofs_of_backup
-- The last drills of one backup, and the last verification that began after it was complete.
(SELECT o.*, e.number AS evidence FROM proofs o LEFT JOIN evidence e ON e.proof_id = o.id
  WHERE o.backup_id = %(backup_id)s AND o.state <> 'running' ORDER BY o.id DESC LIMIT 20)
UNION ALL
(SELECT o.*, e.number AS evidence
   FROM application_data_backups b
   JOIN proofs o ON o.application_id = b.application_id AND o.kind = 'verification' AND o.state <> 'running'
                AND o.began_at >= b.closed_at
   LEFT JOIN evidence e ON e.proof_id = o.id
  WHERE b.id = %(backup_id)s AND b.state = 'complete' ORDER BY o.id DESC LIMIT 1);

-- name: checked_restores
-- The last restores of one backup that people asked for, and whose database was checked: what passed, and what did not.
SELECT r.id, r.state, r.closed_at, r.request->>'into' IS NOT NULL AS elsewhere, r.outcome->'database'->'checks' AS checks,
       CASE WHEN r.error LIKE '%%is not what was dumped%%' THEN left(r.error, 1000) END AS error
  FROM restores r
 WHERE r.backup_id = %(backup_id)s AND r.state IN ('complete', 'failed') AND r.request->>'sample' IS NULL
   AND (jsonb_array_length(coalesce(r.outcome->'database'->'checks', '[]')) > 0 OR r.error LIKE '%%is not what was dumped%%')
 ORDER BY r.id DESC LIMIT 20;

-- name: drilled_backups
-- The last drill of each of these backups.
SELECT b.id AS backup_id, o.state, o.ended_at
  FROM unnest(%(ids)s::bigint[]) AS b (id)
 CROSS JOIN LATERAL (SELECT * FROM proofs o WHERE o.backup_id = b.id AND o.kind = 'drill' AND o.state <> 'running'
                      ORDER BY o.id DESC LIMIT 1) AS o;
