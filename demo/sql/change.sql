-- A day later: people worked, and a release changed the schema. The temporary tables added_files
-- (position, file_name, byte_size) and deleted_files (file_name) say what happened in the directory.

UPDATE documents SET title = title || ' (revised)', state = 'published' WHERE id % 7 = 0;
UPDATE comments SET answers = NULL WHERE answers IN (
    SELECT c.id FROM comments c JOIN documents d ON d.id = c.document_id JOIN deleted_files USING (file_name));
DELETE FROM documents WHERE file_name IN (SELECT file_name FROM deleted_files);
INSERT INTO documents (folder_id, owner_id, title, file_name, byte_size)
    SELECT 1 + position % 600, 1000 + position % 400, 'Added document ' || position, file_name, byte_size
    FROM added_files ORDER BY position;
UPDATE users SET email = 'moved.' || email WHERE id % 10 = 0;
DELETE FROM comments WHERE id IN (SELECT id FROM comments c WHERE NOT EXISTS (
    SELECT FROM comments a WHERE a.answers = c.id) ORDER BY written_at DESC LIMIT 500);
TRUNCATE private_notes;
SELECT lo_unlink(oid) FROM pg_largeobject_metadata WHERE oid IN (SELECT thumbnail FROM documents WHERE id % 200 = 0);
UPDATE documents SET thumbnail = NULL WHERE id % 200 = 0;
SELECT setval('document_numbers', 20990001);
REFRESH MATERIALIZED VIEW audit.activity;

-- The release: a new table that refers to an old one and an old one that refers to it, and all kinds of alterations.
ALTER TYPE audit.action ADD VALUE 'reviewed';
ALTER DOMAIN email_address DROP CONSTRAINT email_address_has_an_at;
CREATE TYPE review_result AS ENUM ('accepted', 'refused');
CREATE TABLE reviews (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document_id bigint NOT NULL REFERENCES documents ON DELETE CASCADE,
    reviewer_id integer NOT NULL REFERENCES users,
    result review_result NOT NULL
);
INSERT INTO reviews (document_id, reviewer_id, result)
    SELECT id, owner_id, 'accepted' FROM documents WHERE id % 5 = 0;
DROP VIEW published_by_folder;
DROP VIEW published_documents;
ALTER TABLE documents ADD COLUMN last_review_id bigint REFERENCES reviews;
ALTER TABLE documents ALTER COLUMN price TYPE numeric(14, 3);
ALTER TABLE documents DROP COLUMN retention;
ALTER TABLE folders ALTER COLUMN name TYPE text;
ALTER TABLE users RENAME COLUMN full_name TO display_name;
ALTER TABLE tags ADD COLUMN color char(7) DEFAULT '#808080';
CREATE VIEW reviewed_documents AS SELECT d.id, d.title, r.result FROM documents d JOIN reviews r ON r.document_id = d.id;
CREATE TABLE audit.events_2026_q4 (LIKE audit.events);
DROP TABLE "Case Notes";
DROP INDEX documents_title_trgm_idx;
DROP TRIGGER documents_touch ON documents;
CREATE OR REPLACE FUNCTION folder_path(folder integer) RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'moved' $$;
REVOKE SELECT ON comments FROM dms_reader;
COMMENT ON TABLE documents IS 'Changed by the release';
CREATE SCHEMA reporting;
CREATE TABLE reporting.daily (day date PRIMARY KEY, documents bigint NOT NULL);
