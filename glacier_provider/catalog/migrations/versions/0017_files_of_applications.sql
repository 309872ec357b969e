-- The files of one application in id order: of a hundred applications each begins behind all archives of those before it.
-- Runs with search_path set to the catalog's own schema.
CREATE INDEX backup_files_of_application ON backup_files (application_id, archive_id);
