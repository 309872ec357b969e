-- An archive whose content was verified and is not what was written is lost, though its store lists it as before.
-- Runs with search_path set to the catalog's own schema.
ALTER TABLE verified_archives ADD COLUMN matches boolean NOT NULL DEFAULT true;
