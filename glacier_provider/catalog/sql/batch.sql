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
SELECT id, clock_timestamp(), %(proof_id)s::bigint, false FROM unnest(%(archive_ids)s::bigint[]) AS id
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

-- name: plan_retrieval_job
INSERT INTO batch_jobs (application_id, store_uri, operation, variant, token, bytes, objects, before, told)
VALUES (%(application_id)s, %(store_uri)s, 'S3InitiateRestoreObject', %(tier)s, %(token)s, 0, %(objects)s, clock_timestamp(),
        jsonb_build_object('restore_id', %(restore_id)s::bigint, 'days', %(days)s::integer))
RETURNING id;

-- name: intend_by_job
-- The intents of all that a restore needs of a store, before anything is paid. What others asked for is joined.
INSERT INTO glacier_retrievals (archive_id, restore_id, tier, days, job_id)
SELECT m.id, %(restore_id)s, %(tier)s, %(days)s, %(job_id)s FROM restore_members m
 WHERE m.restore_id = %(restore_id)s AND m.source = 'store' AND m.status = 'available' AND m.stored_size > 0
   AND m.store_uri = %(store_uri)s
ON CONFLICT (archive_id) WHERE state IN ('requested', 'ready') DO NOTHING;

-- name: open_retrieval_jobs
-- Jobs that ask for archives and are not over, whichever restore began them.
SELECT j.*, (j.told ->> 'restore_id')::bigint AS restore_id, (j.told ->> 'days')::integer AS days, r.state AS restore_state
  FROM batch_jobs j LEFT JOIN restores r ON r.id = (j.told ->> 'restore_id')::bigint
 WHERE j.application_id = %(application_id)s AND NOT j.cleared AND j.operation = 'S3InitiateRestoreObject'
   AND j.state IN ('planned', 'created')
 ORDER BY j.id;

-- name: keys_of_retrieval_job
SELECT a.key FROM glacier_retrievals g JOIN glacier_archives a ON a.id = g.archive_id
 WHERE g.job_id = %(job_id)s AND g.state = 'requested' ORDER BY a.id;

-- name: confirm_retrieval_job
-- AWS has the job: what it is to ask for is pending.
WITH done AS (
    UPDATE glacier_retrievals g SET confirmed = true
     WHERE g.job_id = %(job_id)s AND g.state IN ('requested', 'ready') AND NOT g.confirmed
    RETURNING g.archive_id, g.state)
UPDATE glacier_archives a SET error = NULL, retrieval_status =
       CASE WHEN a.retrieval_status = 'exists' THEN 'exists' WHEN done.state = 'ready' THEN 'ready' ELSE 'pending' END
  FROM done WHERE a.id = done.archive_id
   AND (a.retrieval_status = 'available' OR a.retrieval_status = 'exists' AND a.error IS NOT NULL);

-- name: release_retrieval_job
-- What a job did not ask for, as far as anybody knows, is asked for one by one.
WITH missed AS (
    UPDATE glacier_retrievals g SET state = 'failed', error = %(error)s
      FROM glacier_archives a
     WHERE g.job_id = %(job_id)s AND g.state = 'requested' AND a.id = g.archive_id
    RETURNING g.archive_id)
UPDATE glacier_archives a SET retrieval_status = 'available' FROM missed
 WHERE a.id = missed.archive_id AND a.retrieval_status IN ('available', 'pending');

-- name: release_untold
-- The same of a report that was just read.
WITH missed AS (
    UPDATE glacier_retrievals g SET state = 'failed', error = %(error)s
      FROM glacier_archives a
     WHERE g.job_id = %(job_id)s AND g.state = 'requested' AND a.id = g.archive_id
       AND NOT EXISTS (SELECT FROM reported t
                        WHERE t.key = a.key AND (t.status < 300 OR t.code = 'RestoreAlreadyInProgress'))
    RETURNING g.archive_id)
UPDATE glacier_archives a SET retrieval_status = 'available' FROM missed
 WHERE a.id = missed.archive_id AND a.retrieval_status IN ('available', 'pending');

-- name: reported_failures
SELECT code, count(*) AS count FROM reported WHERE status >= 300 AND code <> 'RestoreAlreadyInProgress' GROUP BY 1 ORDER BY 2 DESC LIMIT 5;
