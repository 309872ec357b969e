-- What is lost is known as lost, and a name may have had several contents.
-- Runs with search_path set to the catalog's own schema. The words of every state are those of core/status.py.

-- Known not to be in its store any more, though nobody deleted it: when that was learned, and how.
ALTER TABLE glacier_archives
    DROP CONSTRAINT glacier_archives_state_check,
    ADD CONSTRAINT glacier_archives_state_check
        CHECK (state IN ('planned', 'uploading', 'archived', 'deleting', 'deleted', 'failed', 'lost')),
    ADD COLUMN lost_at timestamptz,
    ADD COLUMN lost_how text,
    -- Another content has its name now; backups of its time contain it.
    ADD COLUMN superseded boolean NOT NULL DEFAULT false,
    -- Planned since its file may have changed: sent only when no archive of its name has its content.
    ADD COLUMN to_compare boolean NOT NULL DEFAULT false;

-- Exactly once: one current archive a file name, whatever is repeated.
DROP INDEX glacier_archives_live_file;
CREATE UNIQUE INDEX glacier_archives_live_file ON glacier_archives (application_id, filename)
    WHERE kind = 'file' AND state IN ('planned', 'uploading', 'archived') AND NOT superseded;
CREATE INDEX glacier_archives_superseded ON glacier_archives (application_id, filename)
    WHERE kind = 'file' AND state = 'archived' AND superseded;
CREATE INDEX glacier_archives_lost ON glacier_archives (application_id, id) WHERE state = 'lost';

-- What a scan saw of the file of an archive, so that the next one knows whether it is still that file. A table of its own:
-- files that were only touched leave the rows of archives alone. Without a row, the next look is the first.
CREATE TABLE file_identities (
    archive_id  bigint PRIMARY KEY,
    mtime_ns    bigint NOT NULL,
    inode       bigint NOT NULL
);

ALTER TABLE applications
    -- Manifests of earlier backups name archives whose place others took: none of them is continued.
    ADD COLUMN manifests_from bigint NOT NULL DEFAULT 0,
    -- At random: by it a store is known again, and told from one that another catalog writes to.
    ADD COLUMN mark text NOT NULL DEFAULT gen_random_uuid()::text;

-- How far each store has been looked through, piece by piece, for what it may have lost.
CREATE TABLE store_checks (
    application_id  integer NOT NULL REFERENCES applications,
    store_uri       text NOT NULL,
    position        text NOT NULL DEFAULT '',    -- the last key that was looked at; empty: at the beginning
    round_began_at  timestamptz NOT NULL DEFAULT now(),
    last_round_at   timestamptz,                 -- when all of it had been looked at, last
    marked          boolean NOT NULL DEFAULT false,  -- this catalog left its marker there
    PRIMARY KEY (application_id, store_uri)
);

ALTER TABLE restore_archives
    -- Another content has its name in the directory: that one goes aside before this one comes.
    ADD COLUMN replaces boolean NOT NULL DEFAULT false;
ALTER TABLE orphan_moves
    -- The archive that took its name in the directory; null: no one did.
    ADD COLUMN replaced_by bigint;

-- Lost files are counted, as those that are not in their directory are, in a status of their own.
CREATE OR REPLACE FUNCTION recount_away(touched bigint[]) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    EXECUTE $q$
    WITH now AS MATERIALIZED (SELECT * FROM glacier_archives WHERE id = ANY($1)),  -- by id, whatever else is known of them
    gone AS (
        DELETE FROM away_files WHERE archive_id = ANY($1)
        RETURNING application_id, first_backup_id, last_backup_id, retrieval_status, store_uri, bytes),
    come AS (
        INSERT INTO away_files
        SELECT a.id, a.application_id, f.first_backup_id, f.last_backup_id, CASE a.state WHEN 'lost' THEN 'lost' ELSE a.retrieval_status END, a.store_uri, a.stored_size
          FROM now a JOIN backup_files f ON f.archive_id = a.id
         WHERE a.kind = 'file' AND (a.state = 'lost' OR (a.state = 'archived' AND a.retrieval_status <> 'exists'))
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

CREATE OR REPLACE FUNCTION count_archives() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    added    text := 'SELECT * FROM new_rows';
    removed  text := 'SELECT * FROM old_rows';
    touched  bigint[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        removed := 'SELECT * FROM new_rows WHERE false';
        SELECT array_agg(n.id) INTO touched FROM new_rows n
         WHERE n.kind = 'file' AND (n.state = 'lost' OR (n.state = 'archived' AND n.retrieval_status <> 'exists'));
    ELSIF TG_OP = 'DELETE' THEN
        added := 'SELECT * FROM old_rows WHERE false';
        SELECT array_agg(o.id) INTO touched FROM old_rows o
         WHERE o.kind = 'file' AND (o.state = 'lost' OR (o.state = 'archived' AND o.retrieval_status <> 'exists'));
    ELSE
        -- Only what is counted otherwise than before: many updates change nothing that counts.
        EXECUTE $q$
        SELECT array_agg(n.id) FROM new_rows n JOIN old_rows o ON o.id = n.id
         WHERE n.kind = 'file'
           AND ((n.state = 'lost' OR (n.state = 'archived' AND n.retrieval_status <> 'exists'))
                OR ((o.state = 'lost' OR (o.state = 'archived' AND o.retrieval_status <> 'exists'))))
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

CREATE OR REPLACE FUNCTION count_ranges() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    touched  bigint[];
BEGIN
    EXECUTE format($q$
    SELECT array_agg(DISTINCT a.id) FROM (%s) AS f JOIN glacier_archives a ON a.id = f.archive_id
     WHERE a.kind = 'file' AND a.state IN ('archived', 'lost')
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

CREATE OR REPLACE FUNCTION rebuild_counts() RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    application  integer;
BEGIN
    LOCK TABLE glacier_archives, backup_files, archive_count_changes IN SHARE ROW EXCLUSIVE MODE;
    DELETE FROM archive_counts;
    DELETE FROM archive_count_changes;
    DELETE FROM away_files;
    INSERT INTO away_files
    SELECT a.id, a.application_id, f.first_backup_id, f.last_backup_id, CASE a.state WHEN 'lost' THEN 'lost' ELSE a.retrieval_status END, a.store_uri, a.stored_size
      FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
     WHERE a.kind = 'file' AND (a.state = 'lost' OR (a.state = 'archived' AND a.retrieval_status <> 'exists'));
    INSERT INTO archive_count_changes (application_id, place, what, store_uri, archives, bytes, padded_bytes)
    SELECT application_id, place, what, store_uri, archives, bytes, padded_bytes FROM slow_counts;
    FOR application IN SELECT id FROM applications LOOP
        PERFORM fold_counts(application);
    END LOOP;
    UPDATE application_data_backups b SET database_bytes = d.stored_size
      FROM glacier_archives d WHERE d.id = b.database_archive_id AND b.database_bytes IS DISTINCT FROM d.stored_size;
END $$;

CREATE OR REPLACE VIEW slow_counts AS
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
    SELECT a.application_id, f.first_backup_id, CASE a.state WHEN 'lost' THEN 'lost' ELSE a.retrieval_status END, a.store_uri, 1, a.stored_size, 0
      FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
     WHERE a.kind = 'file' AND (a.state = 'lost' OR (a.state = 'archived' AND a.retrieval_status <> 'exists'))
    UNION ALL
    SELECT a.application_id, f.last_backup_id + 1, CASE a.state WHEN 'lost' THEN 'lost' ELSE a.retrieval_status END, a.store_uri, -1, -a.stored_size, 0
      FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id
     WHERE a.kind = 'file' AND (a.state = 'lost' OR (a.state = 'archived' AND a.retrieval_status <> 'exists')) AND f.last_backup_id IS NOT NULL
  ) AS each
 GROUP BY application_id, place, what, store_uri
HAVING sum(archives) <> 0 OR sum(bytes) <> 0;

CREATE OR REPLACE FUNCTION doubt_archives() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
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
         WHERE o.kind = 'file' AND (n.original_size <> o.original_size OR n.filename <> o.filename OR n.superseded <> o.superseded
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

-- What a rebuild noted as lost, before there was a word for it.
UPDATE glacier_archives a SET state = 'lost', lost_at = now(), lost_how = coalesce(a.error, 'It was not in its store.')
 WHERE a.state = 'deleted'
   AND (EXISTS (SELECT FROM backup_files f WHERE f.archive_id = a.id)
        OR EXISTS (SELECT FROM application_data_backups b
                    WHERE b.database_archive_id = a.id AND b.state NOT IN ('deleting', 'deleted')));
