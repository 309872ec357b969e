-- What pages show is counted where it changes, not when it is looked at.
-- Runs with search_path set to the catalog's own schema.

-- Figures of archives, as sums over ids of backups; `what` they are:
--   stored, manifest   in the store, made by backup `place` (a manifest is stored in another class)
--   unfinished         files planned by backup `place` that are not in the store yet; of their original size
--   available, pending, ready, local   files that are in the store and not in their directory, as differences: of the
--                      backups from `place` on, so many more (or fewer) contain one. Their sum up to a backup is its count.
-- `padded_bytes` counts each archive as 128 KB at least, as some storage classes bill it.
-- Level n sums 32^n places, so that the sum up to any backup takes a handful of rows from each level.
CREATE TABLE archive_counts (
    application_id  integer NOT NULL,
    level           smallint NOT NULL,
    place           bigint NOT NULL,          -- of level n: the id of a backup, shifted right by 5n bits
    what            text NOT NULL,
    store_uri       text NOT NULL,
    archives        bigint NOT NULL,
    bytes           bigint NOT NULL,
    padded_bytes    bigint NOT NULL,
    PRIMARY KEY (application_id, level, place, what, store_uri)
);

-- What changed and is not in the sums yet. Transactions only ever add rows here, so counting makes nobody wait.
CREATE TABLE archive_count_changes (
    id              bigint GENERATED ALWAYS AS IDENTITY,
    application_id  integer NOT NULL,
    place           bigint NOT NULL,
    what            text NOT NULL,
    store_uri       text NOT NULL,
    archives        bigint NOT NULL,
    bytes           bigint NOT NULL,
    padded_bytes    bigint NOT NULL
);
CREATE INDEX archive_count_changes_of ON archive_count_changes (application_id, place);

-- The files that are counted as away: a row for each range of backups that contain one.
CREATE TABLE away_files (
    archive_id        bigint NOT NULL,
    application_id    integer NOT NULL,
    first_backup_id   bigint NOT NULL,
    last_backup_id    bigint,
    retrieval_status  text NOT NULL,
    store_uri         text NOT NULL,
    bytes             bigint NOT NULL
);
CREATE INDEX away_files_of_archive ON away_files (archive_id);
CREATE INDEX away_files_in_status ON away_files (application_id, retrieval_status, archive_id)
    INCLUDE (first_backup_id, last_backup_id);

-- Take what changed into the sums. One process at a time does it; whoever finds it at work leaves it to it.
CREATE FUNCTION fold_counts(application integer) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended(current_schema() || ' counts', application)) THEN
        RETURN;
    END IF;
    WITH folded AS (
        DELETE FROM archive_count_changes WHERE application_id = application RETURNING *)
    INSERT INTO archive_counts AS c
    SELECT application_id, level, place >> (5 * level), what, store_uri,
           sum(archives), sum(bytes), sum(padded_bytes)
      FROM folded CROSS JOIN generate_series(0, 3) AS level
     GROUP BY application_id, level, place >> (5 * level), what, store_uri
    HAVING sum(archives) <> 0 OR sum(bytes) <> 0 OR sum(padded_bytes) <> 0
    ON CONFLICT (application_id, level, place, what, store_uri) DO UPDATE
       SET archives = c.archives + excluded.archives, bytes = c.bytes + excluded.bytes,
           padded_bytes = c.padded_bytes + excluded.padded_bytes;
END $$;

-- Now and then, so that the changes stay few.
CREATE FUNCTION fold_some_counts() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM fold_counts(n.application_id) FROM new_rows n WHERE n.id % 100 = 0 GROUP BY n.application_id;
    RETURN NULL;
END $$;
CREATE TRIGGER fold_counts AFTER INSERT ON archive_count_changes REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION fold_some_counts();

-- Count these files anew: what they should count for, less what they were counted for. Whatever changed, and in which
-- order, the sums are right afterwards. Dynamic, for a plan that fits the number of files.
CREATE FUNCTION recount_away(touched bigint[]) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    EXECUTE $q$
    WITH now AS MATERIALIZED (SELECT * FROM glacier_archives WHERE id = ANY($1)),  -- by id, whatever else is known of them
    gone AS (
        DELETE FROM away_files WHERE archive_id = ANY($1)
        RETURNING application_id, first_backup_id, last_backup_id, retrieval_status, store_uri, bytes),
    come AS (
        INSERT INTO away_files
        SELECT a.id, a.application_id, f.first_backup_id, f.last_backup_id, a.retrieval_status, a.store_uri, a.stored_size
          FROM now a JOIN backup_files f ON f.archive_id = a.id
         WHERE a.kind = 'file' AND a.state = 'archived' AND a.retrieval_status <> 'exists'
        RETURNING application_id, first_backup_id, last_backup_id, retrieval_status, store_uri, bytes),
    changes AS (
        SELECT application_id, first_backup_id AS place, retrieval_status, store_uri, 1 AS archives, bytes FROM come
        UNION ALL
        SELECT application_id, last_backup_id + 1, retrieval_status, store_uri, -1, -bytes FROM come
         WHERE last_backup_id IS NOT NULL
        UNION ALL
        SELECT application_id, first_backup_id, retrieval_status, store_uri, -1, -bytes FROM gone
        UNION ALL
        SELECT application_id, last_backup_id + 1, retrieval_status, store_uri, 1, bytes FROM gone
         WHERE last_backup_id IS NOT NULL)
    INSERT INTO archive_count_changes (application_id, place, what, store_uri, archives, bytes, padded_bytes)
    SELECT application_id, place, retrieval_status, store_uri, sum(archives), sum(bytes), 0 FROM changes
     GROUP BY application_id, place, retrieval_status, store_uri
    HAVING sum(archives) <> 0 OR sum(bytes) <> 0
    $q$ USING touched;
    IF cardinality(touched) > 10000 THEN
        -- Without knowing how many there are now, each later change of a few would go through all of them.
        ANALYZE away_files;
    END IF;
END $$;

-- Whatever changes where a file is knows more than a plan that was made before.
CREATE FUNCTION outdate_plans(touched bigint[]) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    restore  bigint;
BEGIN
    FOR restore IN SELECT id FROM restores WHERE NOT missing_noted LOOP
        UPDATE restore_archives SET believed = false
         WHERE restore_id = restore AND archive_id = ANY(touched) AND believed;
    END LOOP;
END $$;

CREATE FUNCTION count_archives() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    added    text := 'SELECT * FROM new_rows';
    removed  text := 'SELECT * FROM old_rows';
    touched  bigint[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        removed := 'SELECT * FROM new_rows WHERE false';
        SELECT array_agg(n.id) INTO touched FROM new_rows n
         WHERE n.kind = 'file' AND n.state = 'archived' AND n.retrieval_status <> 'exists';
    ELSIF TG_OP = 'DELETE' THEN
        added := 'SELECT * FROM old_rows WHERE false';
        SELECT array_agg(o.id) INTO touched FROM old_rows o
         WHERE o.kind = 'file' AND o.state = 'archived' AND o.retrieval_status <> 'exists';
    ELSE
        -- Only what is counted otherwise than before: many updates change nothing that counts.
        EXECUTE $q$
        SELECT array_agg(n.id) FROM new_rows n JOIN old_rows o ON o.id = n.id
         WHERE n.kind = 'file'
           AND ((n.state = 'archived' AND n.retrieval_status <> 'exists')
                OR (o.state = 'archived' AND o.retrieval_status <> 'exists'))
           AND (n.state, n.retrieval_status, n.store_uri, n.stored_size, n.application_id)
               IS DISTINCT FROM (o.state, o.retrieval_status, o.store_uri, o.stored_size, o.application_id)
        $q$ INTO touched;
    END IF;
    EXECUTE format($q$
    WITH rows AS (
        SELECT application_id, backup_id, kind, state, store_uri, original_size, stored_size, 1 AS sign FROM (%s) AS n
        UNION ALL
        SELECT application_id, backup_id, kind, state, store_uri, original_size, stored_size, -1 FROM (%s) AS o),
    counted AS (
        SELECT application_id, backup_id, store_uri, sign,
               CASE WHEN state IN ('archived', 'deleting') THEN CASE kind WHEN 'manifest' THEN 'manifest' ELSE 'stored' END
                    WHEN state IN ('planned', 'uploading') AND kind = 'file' THEN 'unfinished' END AS what,
               CASE WHEN state IN ('archived', 'deleting') THEN stored_size ELSE original_size END AS bytes
          FROM rows)
    INSERT INTO archive_count_changes (application_id, place, what, store_uri, archives, bytes, padded_bytes)
    SELECT application_id, backup_id, what, store_uri,
           sum(sign), sum(sign * bytes), sum(sign * greatest(bytes, 131072))
      FROM counted WHERE what IS NOT NULL
     GROUP BY application_id, backup_id, what, store_uri
    HAVING sum(sign) <> 0 OR sum(sign * bytes) <> 0
    $q$, added, removed);
    IF touched IS NOT NULL THEN
        PERFORM recount_away(touched);
        PERFORM outdate_plans(touched);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        UPDATE application_data_backups b SET database_bytes = n.stored_size
          FROM new_rows n
         WHERE n.kind = 'database' AND b.id = n.backup_id AND b.database_archive_id = n.id
           AND b.database_bytes IS DISTINCT FROM n.stored_size;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION count_ranges() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    touched  bigint[];
BEGIN
    EXECUTE format($q$
    SELECT array_agg(DISTINCT a.id) FROM (%s) AS f JOIN glacier_archives a ON a.id = f.archive_id
     WHERE a.kind = 'file' AND a.state = 'archived'
    $q$, CASE TG_OP WHEN 'INSERT' THEN 'SELECT archive_id FROM new_rows'
                    WHEN 'DELETE' THEN 'SELECT archive_id FROM old_rows'
                    ELSE 'SELECT archive_id FROM new_rows UNION SELECT archive_id FROM old_rows' END) INTO touched;
    IF touched IS NOT NULL THEN
        -- Another process may be changing their status: each of the two has to see what the other did.
        PERFORM FROM glacier_archives WHERE id = ANY(touched) ORDER BY id FOR NO KEY UPDATE;
        PERFORM recount_away(touched);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION forget_counts() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM rebuild_counts();
    RETURN NULL;
END $$;

-- Count everything anew. Changes of archives wait meanwhile, readers do not.
CREATE FUNCTION rebuild_counts() RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    application  integer;
BEGIN
    LOCK TABLE glacier_archives, backup_files, archive_count_changes IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM archive_counts;
    DELETE FROM archive_count_changes;
    DELETE FROM away_files;
    INSERT INTO away_files
    SELECT a.id, a.application_id, f.first_backup_id, f.last_backup_id, a.retrieval_status, a.store_uri, a.stored_size
      FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
     WHERE a.kind = 'file' AND a.state = 'archived' AND a.retrieval_status <> 'exists';
    INSERT INTO archive_count_changes (application_id, place, what, store_uri, archives, bytes, padded_bytes)
    SELECT application_id, place, what, store_uri, archives, bytes, padded_bytes FROM slow_counts;
    FOR application IN SELECT id FROM applications LOOP
        PERFORM fold_counts(application);
    END LOOP;
    UPDATE application_data_backups b SET database_bytes = d.stored_size
      FROM glacier_archives d WHERE d.id = b.database_archive_id AND b.database_bytes IS DISTINCT FROM d.stored_size;
END $$;

-- The truth, counted from the archives and the ranges themselves: what the sums of level 0 have to be.
CREATE VIEW slow_counts AS
SELECT application_id, place, what, store_uri, sum(archives)::bigint AS archives, sum(bytes)::bigint AS bytes,
       sum(padded_bytes)::bigint AS padded_bytes
  FROM (
    SELECT application_id, backup_id AS place, CASE kind WHEN 'manifest' THEN 'manifest' ELSE 'stored' END AS what,
           store_uri, 1 AS archives, stored_size AS bytes, greatest(stored_size, 131072) AS padded_bytes
      FROM glacier_archives WHERE state IN ('archived', 'deleting')
    UNION ALL
    SELECT application_id, backup_id, 'unfinished', store_uri, 1, original_size, greatest(original_size, 131072)
      FROM glacier_archives WHERE state IN ('planned', 'uploading') AND kind = 'file'
    UNION ALL
    SELECT a.application_id, f.first_backup_id, a.retrieval_status, a.store_uri, 1, a.stored_size, 0
      FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
     WHERE a.kind = 'file' AND a.state = 'archived' AND a.retrieval_status <> 'exists'
    UNION ALL
    SELECT a.application_id, f.last_backup_id + 1, a.retrieval_status, a.store_uri, -1, -a.stored_size, 0
      FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
     WHERE a.kind = 'file' AND a.state = 'archived' AND a.retrieval_status <> 'exists' AND f.last_backup_id IS NOT NULL
  ) AS each
 GROUP BY application_id, place, what, store_uri
HAVING sum(archives) <> 0 OR sum(bytes) <> 0;

-- The size of its dump stands in a backup itself, for lists that are sorted by it.
ALTER TABLE application_data_backups
    ADD COLUMN database_bytes bigint,
    ADD COLUMN uploaded_bytes bigint GENERATED ALWAYS AS (new_files_bytes + coalesce(database_bytes, 0)) STORED;

CREATE FUNCTION note_database_bytes() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    NEW.database_bytes := (SELECT d.stored_size FROM glacier_archives d WHERE d.id = NEW.database_archive_id);
    RETURN NEW;
END $$;
CREATE TRIGGER note_database_bytes BEFORE INSERT OR UPDATE OF database_archive_id ON application_data_backups
    FOR EACH ROW EXECUTE FUNCTION note_database_bytes();

CREATE TRIGGER count_inserted AFTER INSERT ON glacier_archives REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_archives();
CREATE TRIGGER count_updated AFTER UPDATE ON glacier_archives REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_archives();
CREATE TRIGGER count_deleted AFTER DELETE ON glacier_archives REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_archives();
CREATE TRIGGER count_truncated AFTER TRUNCATE ON glacier_archives
    FOR EACH STATEMENT EXECUTE FUNCTION forget_counts();
CREATE TRIGGER count_inserted AFTER INSERT ON backup_files REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_ranges();
CREATE TRIGGER count_updated AFTER UPDATE ON backup_files REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_ranges();
CREATE TRIGGER count_deleted AFTER DELETE ON backup_files REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_ranges();
CREATE TRIGGER count_truncated AFTER TRUNCATE ON backup_files
    FOR EACH STATEMENT EXECUTE FUNCTION forget_counts();

SELECT rebuild_counts();

-- Lists are filtered, sorted and cut in an index; only the rows of the page are read.
DROP INDEX application_data_backups_newest;
CREATE INDEX application_data_backups_newest ON application_data_backups (application_id, id) INCLUDE (state, opened_at);
CREATE INDEX application_data_backups_in_state ON application_data_backups (application_id, state, id) INCLUDE (opened_at);
CREATE INDEX application_data_backups_by_day ON application_data_backups (application_id, opened_at) INCLUDE (id, state);
CREATE INDEX application_data_backups_by_files
    ON application_data_backups (application_id, files_count, id) INCLUDE (state, opened_at);
CREATE INDEX application_data_backups_by_new_files
    ON application_data_backups (application_id, new_files_count, id) INCLUDE (state, opened_at);
CREATE INDEX application_data_backups_by_uploaded
    ON application_data_backups (application_id, uploaded_bytes, id) INCLUDE (state, opened_at);
CREATE INDEX application_data_backups_by_database
    ON application_data_backups (application_id, database_bytes, id) INCLUDE (state, opened_at);
CREATE INDEX application_data_backups_by_duration
    ON application_data_backups (application_id, (closed_at - opened_at), id);
CREATE INDEX restores_newest ON restores (application_id, id);
CREATE INDEX restores_of_backup ON restores (backup_id, id);
