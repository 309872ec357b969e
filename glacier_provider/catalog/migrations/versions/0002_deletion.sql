-- Backups can be deleted, and vaults reconciled.
-- Runs with search_path set to the catalog's own schema. The words of every state are those of core/status.py.

-- A deleted backup stays as a row: its id is never used again, and who asks for it is told what became of it.
ALTER TABLE application_data_backups
    DROP CONSTRAINT application_data_backups_state_check,
    ADD CONSTRAINT application_data_backups_state_check
        CHECK (state IN ('running', 'complete', 'failed', 'deleting', 'deleted')),
    ADD COLUMN deletion_began_at timestamptz,
    ADD COLUMN deleted_at        timestamptz;

CREATE INDEX glacier_archives_deleting ON glacier_archives (application_id, id) WHERE state = 'deleting';

-- An archive whose sending had an unknown outcome may be in its store without the catalog knowing, or twice.
ALTER TABLE glacier_archives
    ADD COLUMN doubtful_since timestamptz,
    -- Hashes of what was perhaps sent under this id before it became something else: a manifest written again.
    ADD COLUMN earlier_sha256s text[] NOT NULL DEFAULT '{}';
CREATE INDEX glacier_archives_doubtful ON glacier_archives (application_id, store_uri, doubtful_since)
    WHERE doubtful_since IS NOT NULL;
-- Given up, and found in their store after all: few.
CREATE INDEX glacier_archives_found ON glacier_archives (backup_id) WHERE state = 'failed' AND key IS NOT NULL;
