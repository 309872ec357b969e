-- An archive that another life of the catalog numbered alike.
-- Runs with search_path set to the catalog's own schema.

-- The number that an archive has in its store, in its key or description, where that is not its id: a rebuild found the
-- id given twice. Null: it is the id.
ALTER TABLE glacier_archives ADD COLUMN store_number bigint;
