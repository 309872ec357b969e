-- name: lock_chain
-- Whoever chains a document waits for whoever does.
SELECT id FROM applications WHERE id = %(application_id)s FOR NO KEY UPDATE;

-- name: last_evidence
SELECT number, sha256 FROM evidence WHERE application_id = %(application_id)s
 ORDER BY number DESC LIMIT 1;

-- name: last_stored_evidence
SELECT coalesce(max(number), 0) AS number FROM evidence WHERE application_id = %(application_id)s AND key IS NOT NULL;

-- name: proofs_without_evidence
SELECT p.* FROM proofs p
 WHERE p.application_id = %(application_id)s AND p.state <> 'running'
   AND NOT EXISTS (SELECT FROM evidence e WHERE e.proof_id = p.id)
 ORDER BY p.id LIMIT %(limit)s;

-- name: add_evidence
INSERT INTO evidence (application_id, number, proof_id, document, sha256, store_uri, key)
VALUES (%(application_id)s, %(number)s, %(proof_id)s, %(document)s, %(sha256)s, %(store_uri)s, %(key)s);

-- name: evidence_stored
UPDATE evidence SET store_uri = %(store_uri)s, key = %(key)s
 WHERE application_id = %(application_id)s AND number = %(number)s AND sha256 = %(sha256)s AND key IS NULL;

-- name: forget_unstored_evidence
DELETE FROM evidence WHERE application_id = %(application_id)s AND number >= %(number)s AND key IS NULL;

-- name: unstored_evidence
SELECT number, document, sha256 FROM evidence WHERE application_id = %(application_id)s AND key IS NULL
 ORDER BY number LIMIT %(limit)s;

-- name: list_evidence
SELECT number, sha256, store_uri, key, document, proof_id FROM evidence WHERE application_id = %(application_id)s
 ORDER BY number DESC LIMIT %(limit)s OFFSET %(offset)s;

-- name: known_evidence
SELECT number, sha256, store_uri FROM evidence WHERE application_id = %(application_id)s ORDER BY number;

-- name: backup_of_evidence
SELECT b.id, b.opened_at, b.snapshot_at, b.closed_at, b.server_version, b.client_version, b.dump_format,
       b.files_count, b.files_bytes, a.original_size AS database_bytes, a.sha256 AS database_sha256
  FROM application_data_backups b LEFT JOIN glacier_archives a ON a.id = b.database_archive_id
 WHERE b.application_id = %(application_id)s AND b.id = %(backup_id)s;

-- name: corrupt_archives
-- Archives that are there, and whose content is not what was written: no listing tells that.
SELECT a.store_uri, a.key FROM glacier_archives a JOIN verified_archives v ON v.archive_id = a.id AND NOT v.matches
 WHERE a.application_id = %(application_id)s AND a.state = 'lost' ORDER BY a.id LIMIT %(limit)s;

-- name: archives_of_keys
SELECT id, store_uri, key FROM glacier_archives
 WHERE application_id = %(application_id)s AND state = 'archived' AND key = ANY(%(keys)s);

-- name: circumstances_of_evidence
SELECT current_setting('server_version') AS catalog_server, count(*) FILTER (WHERE state = 'complete') AS complete,
       max(id) FILTER (WHERE state = 'complete') AS newest
  FROM application_data_backups WHERE application_id = %(application_id)s;

-- name: remember_proof
-- The row of a proof, as its document tells it. A backup that another one has the id of now is known by when it was opened;
-- one that is in no catalog any more keeps its id, unless that is another one's.
WITH made AS (
    INSERT INTO proofs (application_id, kind, method, state, backup_id, began_at, ended_at, figures, findings)
    VALUES (%(application_id)s, %(kind)s, %(method)s, %(state)s,
            coalesce((SELECT b.id FROM application_data_backups b
                       WHERE b.application_id = %(application_id)s AND b.opened_at = %(opened_at)s::timestamptz
                       ORDER BY b.id = %(backup_id)s::bigint DESC, b.id DESC LIMIT 1),
                     (SELECT %(backup_id)s::bigint
                       WHERE NOT EXISTS (SELECT FROM application_data_backups b
                                          WHERE b.id = %(backup_id)s::bigint
                                            AND (b.application_id <> %(application_id)s
                                                 OR b.opened_at <> %(opened_at)s::timestamptz)))),
            %(began_at)s, %(ended_at)s,
            %(figures)s::jsonb, %(findings)s::jsonb)
    RETURNING id)
UPDATE evidence e SET proof_id = made.id FROM made
 WHERE e.application_id = %(application_id)s AND e.number = %(number)s;

-- name: month_backups
SELECT id, state, opened_at, closed_at, database_bytes, files_count, files_bytes, new_files_count, left(error, 500) AS error
  FROM application_data_backups
 WHERE application_id = %(application_id)s AND opened_at >= %(since)s AND opened_at < %(until)s ORDER BY id;

-- name: month_proofs
SELECT p.*, e.number, e.sha256 FROM proofs p LEFT JOIN evidence e ON e.proof_id = p.id
 WHERE p.application_id = %(application_id)s AND p.ended_at >= %(since)s AND p.ended_at < %(until)s ORDER BY p.id;

-- name: month_restores
SELECT id, state, opened_at, backup_id FROM restores
 WHERE application_id = %(application_id)s AND opened_at >= %(since)s AND opened_at < %(until)s ORDER BY id;

-- name: newest_backup_until
-- Also one that was deleted since; of those that failed it is still told why.
SELECT id, opened_at, closed_at FROM application_data_backups
 WHERE application_id = %(application_id)s AND closed_at < %(until)s
   AND (state = 'complete' OR state IN ('deleting', 'deleted') AND error IS NULL) ORDER BY id DESC LIMIT 1;

-- name: passed_until
SELECT kind, max(ended_at) AS ended_at FROM proofs
 WHERE application_id = %(application_id)s AND state = 'passed' AND ended_at < %(until)s GROUP BY kind;

-- name: known_since
SELECT min(opened_at) AS opened_at FROM application_data_backups WHERE application_id = %(application_id)s;

-- name: last_evidence_until
SELECT e.number, e.sha256 FROM evidence e JOIN proofs p ON p.id = e.proof_id
 WHERE e.application_id = %(application_id)s AND p.ended_at < %(until)s ORDER BY e.number DESC LIMIT 1;
