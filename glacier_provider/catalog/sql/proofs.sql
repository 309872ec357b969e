-- name: open_proof
-- The one that is under way, or a new one.
INSERT INTO proofs (application_id, kind, method, dag_id, dag_run_id, asked_by, backup_id)
VALUES (%(application_id)s, %(kind)s, %(method)s, %(dag_id)s, %(dag_run_id)s, %(asked_by)s, %(backup_id)s)
ON CONFLICT (application_id, kind) WHERE state = 'running' DO UPDATE
   SET dag_id = coalesce(excluded.dag_id, proofs.dag_id), dag_run_id = coalesce(excluded.dag_run_id, proofs.dag_run_id)
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
