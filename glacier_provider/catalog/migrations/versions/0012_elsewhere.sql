-- What a restore into another place has brought there: an archive's own status tells of the application's places alone.
-- Runs with search_path set to the catalog's own schema.
ALTER TABLE restore_archives ADD COLUMN placed boolean NOT NULL DEFAULT false;

-- `directory`: copied from the application's own directory.
ALTER TABLE restore_archives DROP CONSTRAINT restore_archives_source_check;
ALTER TABLE restore_archives ADD CHECK (source IN ('store', 'orphan', 'directory'));

-- What each restore brings, with the status that counts for it. Elsewhere that is: placed or not, and if not, what was
-- asked back, by whomever; that the file exists in the application's directory says nothing.
CREATE VIEW restore_members AS
SELECT r.restore_id, a.id, r.source, r.orphan_move, r.believed, r.replaces, r.placed,
       a.kind, a.filename, a.stored_size, a.sha256, a.checksum, a.store_uri, a.key, a.error,
       CASE WHEN o.request ->> 'into' IS NULL THEN a.retrieval_status
            WHEN r.placed THEN CASE a.kind WHEN 'file' THEN 'exists' ELSE 'local' END
            ELSE coalesce((SELECT CASE WHEN g.state = 'ready' THEN 'ready' WHEN g.confirmed THEN 'pending' END
                             FROM glacier_retrievals g
                            WHERE g.archive_id = a.id AND g.state IN ('requested', 'ready')),
                          CASE a.retrieval_status WHEN 'ready' THEN 'ready' ELSE 'available' END) END AS status
  FROM restore_archives r
  JOIN restores o ON o.id = r.restore_id
  JOIN glacier_archives a ON a.id = r.archive_id;

-- What was in a backup's database in the snapshot that its dump is of; in a table of its own, since it may be large.
CREATE TABLE fingerprints (
    backup_id    bigint PRIMARY KEY,
    fingerprint  jsonb NOT NULL
);
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON fingerprints EXECUTE FUNCTION check_fence();
