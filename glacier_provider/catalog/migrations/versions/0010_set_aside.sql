-- Which of the files that were set aside under its name has an archive's content; one name may lie aside several times.
-- Runs with search_path set to the catalog's own schema.
ALTER TABLE restore_archives ADD COLUMN orphan_move bigint;
