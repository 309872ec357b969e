-- name: stores_of_application
-- Where archives of the application lie or may lie; or only where some may be without the catalog knowing.
SELECT a.store_uri FROM glacier_archives a
 WHERE a.application_id = %(application_id)s AND (NOT %(unreconciled)s OR a.doubtful_since IS NOT NULL)
 GROUP BY a.store_uri ORDER BY a.store_uri;

-- name: unreconciled
SELECT count(*) AS archives, min(doubtful_since) AS oldest, max(doubtful_since) AS newest FROM glacier_archives
 WHERE application_id = %(application_id)s AND store_uri = %(store_uri)s AND doubtful_since IS NOT NULL;

-- name: create_listed
-- What a store lists. Lives as long as the transaction.
CREATE TEMPORARY TABLE listed (
    key text COLLATE "C" NOT NULL, size bigint NOT NULL, checksum text, told jsonb, created_at timestamptz,
    storage_class text, archive_id bigint) ON COMMIT DROP;

-- name: analyze_listed
CREATE INDEX ON listed (key);
ANALYZE listed;

-- name: find_unknown
-- What the store lists and no archive of the catalog lies under; one that was deleted is no reason to keep it, and one that
-- is noted as lost is to be looked at. Whatever class of the place it was put into. Lives as long as the transaction.
CREATE TEMPORARY TABLE unknown ON COMMIT DROP AS
SELECT l.key, l.size, l.checksum, l.told FROM listed l
 WHERE NOT EXISTS (
       SELECT FROM glacier_archives a
        WHERE a.application_id = %(application_id)s AND a.store_uri = ANY(%(same_place)s) AND a.key = l.key
          AND a.state NOT IN ('deleted', 'lost'));

-- name: index_unknown
CREATE INDEX ON unknown (key);
ANALYZE unknown;

-- name: unknown_keys
SELECT key, size, checksum, told FROM unknown WHERE key > %(after)s ORDER BY key LIMIT %(limit)s;

-- name: missing_from_store
-- Archived before the listing's moment, and not in it.
SELECT a.id, a.kind, a.filename, a.key FROM glacier_archives a
 WHERE a.application_id = %(application_id)s AND a.store_uri = %(store_uri)s AND a.state = 'archived'
   AND a.key NOT LIKE 'empty:%%' AND a.archived_at < %(as_of)s AND a.id > %(after)s
   AND NOT EXISTS (SELECT FROM listed l WHERE l.key = a.key)
 ORDER BY a.id LIMIT %(limit)s;

-- name: known_archives
-- Lost: not listed although it was there before the listing's moment, or noted so.
SELECT a.id, a.kind, a.state, a.backup_id, a.filename, a.original_size, a.stored_size, a.key, a.sha256, a.checksum,
       a.earlier_sha256s,
       CASE a.state
       WHEN 'archived' THEN a.archived_at < %(as_of)s AND NOT EXISTS (SELECT FROM listed l WHERE l.key = a.key)
       WHEN 'lost' THEN true
       ELSE false END AS lost
  FROM glacier_archives a
 WHERE a.application_id = %(application_id)s AND a.store_uri = ANY(%(same_place)s) AND a.id = ANY(%(archive_ids)s);

-- name: note_given_up
-- Given up, and found in the store after all: it stays given up, and goes with its backup.
UPDATE glacier_archives SET key = %(key)s, stored_size = %(size)s, checksum = %(checksum)s, archived_at = %(as_of)s
 WHERE id = %(archive_id)s AND state = 'failed' AND key IS NULL
RETURNING id;

-- name: archive_is_back
-- Lost, and found where it was. Where its file was archived anew meanwhile, it is another version of that; a dump or a
-- manifest that has a successor has none to come back to.
UPDATE glacier_archives AS a SET state = 'archived', retrieval_status = 'available', error = NULL, lost_at = NULL,
       lost_how = NULL,
       superseded = a.kind = 'file' AND EXISTS (
           SELECT FROM glacier_archives o
            WHERE o.application_id = a.application_id AND o.filename = a.filename AND o.kind = 'file'
              AND o.state IN ('planned', 'uploading', 'archived') AND NOT o.superseded)
 WHERE a.id = %(archive_id)s AND a.state = 'lost' AND a.key = %(key)s
   AND NOT EXISTS (SELECT FROM verified_archives v WHERE v.archive_id = a.id AND NOT v.matches)
   AND NOT EXISTS (
       SELECT FROM glacier_archives o
        WHERE o.state IN ('planned', 'uploading', 'archived') AND o.kind = a.kind AND a.kind <> 'file'
          AND o.backup_id = a.backup_id)
RETURNING a.id, a.filename;

-- name: compare_with_what_is_back
-- Planned anew, and not sent yet: that may not be needed.
UPDATE glacier_archives a SET to_compare = true
  FROM glacier_archives b
 WHERE b.id = %(archive_id)s AND a.application_id = b.application_id AND a.filename = b.filename AND a.kind = 'file'
   AND b.kind = 'file' AND a.state IN ('planned', 'uploading') AND NOT a.superseded;

-- name: backup_is_whole_again
-- It failed for its dump alone, and that is back.
UPDATE application_data_backups SET state = 'complete', error = NULL
 WHERE database_archive_id = %(archive_id)s AND state = 'failed' AND manifest_archive_id IS NOT NULL
   AND error = 'Its dump is not in the store: deleted, or lost.'
RETURNING id;

-- name: reconciled
-- The listing is of a moment after these became doubtful: whatever came of them was in it.
UPDATE glacier_archives SET doubtful_since = NULL
 WHERE application_id = %(application_id)s AND store_uri = %(store_uri)s AND doubtful_since < %(before)s;
