-- How far a restore is, is kept as it goes; what retention and deletions look at is found in indexes.
-- Runs with search_path set to the catalog's own schema.

-- Of which moment each backup is, too: a retention rule looks at nothing else.
DROP INDEX application_data_backups_newest;
CREATE INDEX application_data_backups_newest
    ON application_data_backups (application_id, id) INCLUDE (state, opened_at, snapshot_at);
-- Which manifest another one continues.
CREATE INDEX application_data_backups_continued
    ON application_data_backups (previous_backup_id) WHERE previous_backup_id IS NOT NULL;
