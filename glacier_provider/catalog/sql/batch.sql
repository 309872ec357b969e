-- name: due_archives
-- By store and kind of checksum: what was neither verified nor written since a moment.
SELECT a.store_uri, CASE WHEN a.checksum LIKE 'sha256-parts:%%' THEN 'COMPOSITE' ELSE 'FULL_OBJECT' END AS variant,
       count(*) AS archives, sum(a.stored_size) AS bytes
  FROM glacier_archives a LEFT JOIN verified_archives v ON v.archive_id = a.id
 WHERE a.application_id = %(application_id)s AND a.state = 'archived' AND a.archived_at < %(before)s
   AND a.checksum LIKE 'sha256%%' AND a.key NOT LIKE 'empty:%%' AND coalesce(v.verified_at < %(before)s, true)
 GROUP BY 1, 2 ORDER BY 1, 2;

-- name: keys_of_job
SELECT a.key FROM glacier_archives a LEFT JOIN verified_archives v ON v.archive_id = a.id
 WHERE a.application_id = %(application_id)s AND a.store_uri = %(store_uri)s AND a.state = 'archived'
   AND a.archived_at < %(before)s AND a.checksum LIKE 'sha256%%' AND a.key NOT LIKE 'empty:%%'
   AND (a.checksum LIKE 'sha256-parts:%%') = (%(variant)s = 'COMPOSITE') AND coalesce(v.verified_at < %(before)s, true)
 ORDER BY a.id;

-- name: proof_locked
SELECT id FROM proofs WHERE id = %(proof_id)s FOR UPDATE;

-- name: job_of_proof
SELECT id FROM batch_jobs WHERE proof_id = %(proof_id)s AND store_uri = %(store_uri)s AND variant = %(variant)s
   AND operation = %(operation)s;

-- name: plan_job
INSERT INTO batch_jobs (application_id, proof_id, store_uri, operation, variant, token, bytes, before)
VALUES (%(application_id)s, %(proof_id)s, %(store_uri)s, %(operation)s, %(variant)s, %(token)s, %(bytes)s, %(before)s)
RETURNING id;

-- name: job_has_manifest
UPDATE batch_jobs SET manifest_etag = %(etag)s, objects = %(objects)s WHERE id = %(job_id)s AND state = 'planned';

-- name: job_created
UPDATE batch_jobs SET state = 'created', job_id = %(aws_id)s, created_at = clock_timestamp()
 WHERE id = %(job_id)s AND state = 'planned';

-- name: job_told
UPDATE batch_jobs SET told = told || %(told)s::jsonb WHERE id = %(job_id)s AND state = 'created';

-- name: job_failed
UPDATE batch_jobs SET state = 'failed', error = %(error)s, ended_at = clock_timestamp()
 WHERE id = %(job_id)s AND state IN ('planned', 'created');

-- name: job_read
UPDATE batch_jobs SET state = 'read', error = %(error)s, told = told || %(told)s::jsonb, ended_at = clock_timestamp()
 WHERE id = %(job_id)s AND state = 'created';

-- name: job_cleared
UPDATE batch_jobs SET cleared = true WHERE id = %(job_id)s AND state IN ('read', 'failed');

-- name: jobs_of_proof
SELECT * FROM batch_jobs WHERE proof_id = %(proof_id)s ORDER BY id;

-- name: uncleared_jobs
SELECT * FROM batch_jobs WHERE application_id = %(application_id)s AND NOT cleared AND state IN ('read', 'failed')
 ORDER BY id;

-- name: take_over_jobs
UPDATE batch_jobs j SET proof_id = %(proof_id)s
  FROM proofs p
 WHERE j.application_id = %(application_id)s AND j.state IN ('planned', 'created') AND p.id = j.proof_id
   AND p.id <> %(proof_id)s AND p.state <> 'running' AND p.kind = 'verification';

-- name: create_reported
-- What a report tells of each object. Lives as long as the transaction.
CREATE TEMPORARY TABLE reported (
    key text COLLATE "C" NOT NULL, status integer NOT NULL, code text NOT NULL, sha256 text) ON COMMIT DROP;

-- name: analyze_reported
ANALYZE reported;

-- name: note_verified
-- As they were written: told of once or more, and never otherwise.
INSERT INTO verified_archives (archive_id, verified_at, proof_id)
SELECT a.id, clock_timestamp(), %(proof_id)s
  FROM reported t JOIN glacier_archives a ON a.key = t.key
 WHERE a.application_id = %(application_id)s AND a.store_uri = %(store_uri)s AND a.state = 'archived'
   AND (a.checksum LIKE 'sha256-parts:%%') = (%(variant)s = 'COMPOSITE')
 GROUP BY a.id HAVING bool_and(t.status = 200 AND coalesce(t.sha256 = right(a.checksum, 64), false))
ON CONFLICT (archive_id) DO UPDATE
   SET verified_at = excluded.verified_at, proof_id = excluded.proof_id, matches = true;

-- name: note_corrupt
INSERT INTO verified_archives (archive_id, verified_at, proof_id, matches)
SELECT id, clock_timestamp(), %(proof_id)s, false FROM unnest(%(archive_ids)s::bigint[]) AS id
ON CONFLICT (archive_id) DO UPDATE
   SET verified_at = excluded.verified_at, proof_id = excluded.proof_id, matches = false;

-- name: told_otherwise
-- By what is told of them: not as they were written, not there, or an error; how many, and some of them.
WITH of_archives AS (
    SELECT a.id, a.filename, coalesce(min(t.code) FILTER (WHERE t.sha256 IS NULL), '') AS code,
           CASE WHEN bool_or(t.sha256 IS NULL AND t.status <> 404) THEN 'failed'
                WHEN bool_or(t.status = 404) THEN 'gone'
                ELSE 'differs' END AS what
      FROM reported t JOIN glacier_archives a ON a.key = t.key
     WHERE a.application_id = %(application_id)s AND a.store_uri = %(store_uri)s AND a.state = 'archived'
       AND (a.checksum LIKE 'sha256-parts:%%') = (%(variant)s = 'COMPOSITE')
       AND NOT (t.status = 200 AND coalesce(t.sha256 = right(a.checksum, 64), false))
     GROUP BY a.id)
SELECT what, CASE what WHEN 'failed' THEN code ELSE '' END AS code, count(*) AS count, (array_agg(id ORDER BY id))[1:%(most)s] AS ids,
       (array_agg(filename ORDER BY id))[1:100] AS names
  FROM of_archives GROUP BY 1, 2 ORDER BY 1, 2;

-- name: told_of_strangers
-- What a report tells of, and no archive of the store has the key of.
SELECT count(*) AS count FROM reported t
 WHERE NOT EXISTS (SELECT FROM glacier_archives a WHERE a.application_id = %(application_id)s
                      AND a.store_uri = %(store_uri)s AND a.key = t.key);

-- name: untold_archives
SELECT count(*) AS count, (array_agg(a.filename ORDER BY a.id))[1:%(most)s] AS names
  FROM glacier_archives a LEFT JOIN verified_archives v ON v.archive_id = a.id
 WHERE a.application_id = %(application_id)s AND a.store_uri = %(store_uri)s AND a.state = 'archived'
   AND a.archived_at < %(before)s AND a.checksum LIKE 'sha256%%' AND a.key NOT LIKE 'empty:%%'
   AND (a.checksum LIKE 'sha256-parts:%%') = (%(variant)s = 'COMPOSITE') AND coalesce(v.verified_at < %(before)s, true)
   AND NOT EXISTS (SELECT FROM reported t WHERE t.key = a.key);

-- name: keys_of_archives
SELECT id, key FROM glacier_archives WHERE id = ANY(%(archive_ids)s) AND key IS NOT NULL;
