-- What the last walk saw of each directory, so that the next one tells only what changed.

CREATE TABLE scanned_directories (
    application_id  integer NOT NULL REFERENCES applications,
    directory       text COLLATE "C" NOT NULL,   -- with a slash at its end; empty for the root
    files           bigint NOT NULL,
    bytes           bigint NOT NULL,
    names           bytea,                       -- digest; null: what the catalog believes changed since, look again
    sizes           bytea NOT NULL,
    inode           bigint,                      -- null, as changed_ns: a later change might not show in them
    changed_ns      bigint,
    PRIMARY KEY (application_id, directory)
);

-- Under which rules the directories were scanned, and when all of them were last read.
ALTER TABLE applications ADD COLUMN scan_rules text;
ALTER TABLE applications ADD COLUMN full_walk_at timestamptz;

-- The directory of a file: all of its name up to the last slash.
CREATE FUNCTION directory_of(filename text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT left(filename, -length(split_part(filename, '/', -1))) $$;

CREATE INDEX glacier_archives_directory ON glacier_archives (application_id, directory_of(filename))
    WHERE kind = 'file' AND state IN ('planned', 'uploading', 'archived');
-- Statistics of an index with a condition are not used; without these a few directories seem to be half of the files.
CREATE STATISTICS glacier_archives_directories ON (directory_of(filename)) FROM glacier_archives;

-- A digest says what the catalog believed when a scan ended. Whatever changes this belief afterwards (a file that was
-- planned and vanished, one planned again, a deletion, a hand in psql) makes the digest doubtful in the same
-- transaction. A scan holds the lock alone: what is changed beside it waits, and is doubted after it.

CREATE FUNCTION scan_lock() RETURNS integer LANGUAGE sql STABLE SET search_path FROM CURRENT AS
$$ SELECT 'scanned_directories'::regclass::oid::bigint::bit(32)::integer $$;

CREATE FUNCTION doubt_ranges() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE application integer;
BEGIN
    FOR application IN SELECT DISTINCT c.application_id FROM changed c WHERE c.last_backup_id IS NULL LOOP
        PERFORM pg_advisory_xact_lock_shared(scan_lock(), application);
        CONTINUE WHEN NOT EXISTS (SELECT FROM scanned_directories WHERE application_id = application);
        UPDATE scanned_directories d SET names = NULL
          FROM (SELECT k.directory FROM scanned_directories k
                  JOIN (SELECT DISTINCT directory_of(a.filename) AS directory
                          FROM changed c JOIN glacier_archives a ON a.id = c.archive_id
                         WHERE c.application_id = application AND c.last_backup_id IS NULL) AS touched
                    ON touched.directory = k.directory
                 WHERE k.application_id = application AND k.names IS NOT NULL
                 ORDER BY k.directory FOR UPDATE OF k) AS doubtful
         WHERE d.application_id = application AND d.directory = doubtful.directory;
        -- Nothing is remembered of the directory of a range that was opened: the next scan looks at everything.
        UPDATE applications SET scan_rules = NULL
         WHERE id = application AND scan_rules IS NOT NULL AND TG_OP <> 'DELETE' AND EXISTS (
               SELECT FROM changed c JOIN glacier_archives a ON a.id = c.archive_id
                WHERE c.application_id = application AND c.last_backup_id IS NULL AND NOT EXISTS (
                      SELECT FROM scanned_directories d
                       WHERE d.application_id = application AND d.directory = directory_of(a.filename)));
    END LOOP;
    RETURN NULL;
END $$;

CREATE TRIGGER doubt_opened AFTER INSERT ON backup_files
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION doubt_ranges();
CREATE TRIGGER doubt_removed AFTER DELETE ON backup_files
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION doubt_ranges();
CREATE TRIGGER doubt_as_it_was AFTER UPDATE ON backup_files
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION doubt_ranges();
CREATE TRIGGER doubt_as_it_is AFTER UPDATE ON backup_files
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION doubt_ranges();

-- Once for each statement, however many archives it changes. Dynamic, for a plan that fits their number.
CREATE FUNCTION doubt_archives() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    application  integer;
    touched      text[];
BEGIN
    FOR application, touched IN EXECUTE CASE TG_OP WHEN 'DELETE' THEN $q$
        SELECT o.application_id, array_agg(DISTINCT directory_of(o.filename)) FROM old_rows o
         WHERE o.kind = 'file' GROUP BY o.application_id ORDER BY o.application_id
        $q$ ELSE $q$
        SELECT t.application_id, array_agg(DISTINCT directory_of(t.filename))
          FROM old_rows o JOIN new_rows n ON n.id = o.id
         CROSS JOIN LATERAL (VALUES (o.application_id, o.filename), (n.application_id, n.filename))
                         AS t (application_id, filename)
         WHERE o.kind = 'file' AND (n.original_size <> o.original_size OR n.filename <> o.filename
               OR (n.state IN ('planned', 'uploading', 'archived')) <> (o.state IN ('planned', 'uploading', 'archived')))
         GROUP BY t.application_id ORDER BY t.application_id
        $q$ END
    LOOP
        PERFORM pg_advisory_xact_lock_shared(scan_lock(), application);
        UPDATE scanned_directories d SET names = NULL
          FROM (SELECT k.directory FROM scanned_directories k JOIN unnest(touched) AS t (directory) USING (directory)
                 WHERE k.application_id = application AND k.names IS NOT NULL
                 ORDER BY k.directory FOR UPDATE OF k) AS doubtful
         WHERE d.application_id = application AND d.directory = doubtful.directory;
    END LOOP;
    RETURN NULL;
END $$;

CREATE TRIGGER doubt_changed AFTER UPDATE ON glacier_archives REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION doubt_archives();
CREATE TRIGGER doubt_deleted AFTER DELETE ON glacier_archives REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION doubt_archives();

CREATE FUNCTION doubt_all() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE applications SET scan_rules = NULL WHERE scan_rules IS NOT NULL;
    RETURN NULL;
END $$;

CREATE TRIGGER doubt_truncated AFTER TRUNCATE ON backup_files
    FOR EACH STATEMENT EXECUTE FUNCTION doubt_all();
CREATE TRIGGER doubt_truncated AFTER TRUNCATE ON glacier_archives
    FOR EACH STATEMENT EXECUTE FUNCTION doubt_all();

-- A plan's rows come from a join with both tables, in the transaction that locks neither away; asking each of a hundred
-- thousand rows whether its archive and its restore exist takes longer than finding out which files are missing.
ALTER TABLE restore_archives DROP CONSTRAINT restore_archives_archive_id_fkey;
ALTER TABLE restore_archives DROP CONSTRAINT restore_archives_restore_id_fkey;
