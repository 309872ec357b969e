-- How far a restore is, is kept as it goes; what retention and deletions look at is found in indexes.
-- Runs with search_path set to the catalog's own schema.

-- Of which moment each backup is, too: a retention rule looks at nothing else.
DROP INDEX application_data_backups_newest;
CREATE INDEX application_data_backups_newest
    ON application_data_backups (application_id, id) INCLUDE (state, opened_at, snapshot_at);
-- Which manifest another one continues.
CREATE INDEX application_data_backups_continued
    ON application_data_backups (previous_backup_id) WHERE previous_backup_id IS NOT NULL;

-- How far restores of many archives into the application's own places are. Nobody counts anything before somebody looks:
-- the first look counts, and from then on each transaction that changes what was counted adds the difference.

-- The restores that were looked at. Dropping a row is always right: the next look counts anew.
CREATE TABLE restore_looks (
    restore_id  bigint PRIMARY KEY,
    -- A transaction before this one may not have known of the look, and told no differences. Null: not known yet.
    since       xid8,
    counted     boolean NOT NULL DEFAULT false
);

-- What was counted, and the differences since; their sums tell how far the restore is. Two kinds of rows:
--   with a source      archives that come from there, in a status
--   without            retrievals that are asked for and not offered yet, of a tier and a store, asked for in that minute;
--                      and when one was offered last (also without a tier)
CREATE TABLE restore_figures (
    restore_id  bigint NOT NULL,
    source      text,
    status      text,
    tier        text,
    store_uri   text,
    asked       timestamptz,
    archives    bigint NOT NULL,
    bytes       bigint NOT NULL,
    last_ready  timestamptz
);
CREATE INDEX restore_figures_of ON restore_figures (restore_id);

-- The truth, counted from what the restore brings. A restore that was planned and did not start has not told the
-- archives that their files are missing.
CREATE VIEW slow_progress AS
SELECT m.restore_id, m.source,
       CASE WHEN m.believed AND NOT o.missing_noted THEN coalesce(
                 CASE g.state WHEN 'ready' THEN 'ready' WHEN 'requested' THEN 'pending' END, 'available')
            ELSE m.status END AS status,
       CASE WHEN g.state = 'requested' AND g.confirmed AND NOT m.placed THEN g.tier END AS tier,
       CASE WHEN g.state = 'requested' AND g.confirmed AND NOT m.placed THEN m.store_uri END AS store_uri,
       CASE WHEN g.state = 'requested' AND g.confirmed AND NOT m.placed THEN date_trunc('minute', g.requested_at) END AS asked,
       count(*) AS archives, coalesce(sum(m.stored_size), 0)::bigint AS bytes, max(g.ready_at) AS last_ready
  FROM restore_members m
  JOIN restores o ON o.id = m.restore_id
  LEFT JOIN glacier_retrievals g ON g.archive_id = m.id AND g.state IN ('requested', 'ready')
 GROUP BY 1, 2, 3, 4, 5, 6;

-- Those whose figures go on: of one that is over they stay as they were. See restore_that_is_over.
CREATE FUNCTION restores_looked_at() RETURNS bigint[] LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
SELECT coalesce(array_agg(l.restore_id ORDER BY l.restore_id), '{}')
  FROM restore_looks l JOIN restores r ON r.id = l.restore_id
 WHERE r.state <> 'complete'
   AND NOT (r.state = 'failed' AND EXISTS (
        SELECT FROM restores other
         WHERE other.application_id = r.application_id AND other.id <> r.id AND other.last_lease_token IS NOT NULL
           AND (other.closed_at IS NULL OR other.closed_at > r.closed_at)))
$$;

-- Archives of a restore changed their status. What a restore brings is looked up for each (OFFSET 0), whatever is known of
-- a table that was just filled.
CREATE FUNCTION tell_statuses() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    looked  bigint[] := restores_looked_at();
BEGIN
    IF cardinality(looked) = 0 THEN
        RETURN NULL;
    END IF;
    EXECUTE $q$
    WITH moved AS MATERIALIZED (
        SELECT m.restore_id, m.source, c.before, c.now, count(*) AS archives, coalesce(sum(c.bytes), 0) AS bytes,
               bool_or(c.unlike) AS unlike
          FROM (SELECT n.id, o.retrieval_status AS before, n.retrieval_status AS now, n.stored_size AS bytes,
                       n.stored_size IS DISTINCT FROM o.stored_size OR n.store_uri <> o.store_uri AS unlike
                  FROM new_rows n JOIN old_rows o ON o.id = n.id
                 WHERE n.retrieval_status <> o.retrieval_status OR n.stored_size IS DISTINCT FROM o.stored_size
                    OR n.store_uri <> o.store_uri) AS c
         CROSS JOIN unnest($1) AS l (id)
         CROSS JOIN LATERAL (SELECT restore_id, source FROM restore_archives
                              WHERE restore_id = l.id AND archive_id = c.id OFFSET 0) AS m
         GROUP BY 1, 2, 3, 4),
    doubtful AS (  -- another size or store than was counted
        DELETE FROM restore_looks WHERE restore_id IN (SELECT restore_id FROM moved WHERE unlike))
    INSERT INTO restore_figures (restore_id, source, status, archives, bytes)
    SELECT restore_id, source, now, archives, bytes FROM moved WHERE now <> before
    UNION ALL
    SELECT restore_id, source, before, -archives, -bytes FROM moved WHERE now <> before
    $q$ USING looked;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_statuses AFTER UPDATE ON glacier_archives REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION tell_statuses();

-- Retrievals were asked for, offered, or ended: by whichever restore, of whichever brings the archive.
CREATE FUNCTION tell_requests() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    looked  bigint[] := restores_looked_at();
BEGIN
    IF cardinality(looked) = 0 THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'UPDATE' THEN  -- what is inserted is not confirmed yet, and nothing is deleted: but by hand
        EXECUTE format('DELETE FROM restore_looks WHERE EXISTS (SELECT FROM %I WHERE confirmed OR state <> ''requested'')',
                       CASE TG_OP WHEN 'INSERT' THEN 'new_rows' ELSE 'old_rows' END);
        RETURN NULL;
    END IF;
    EXECUTE $q$
    WITH moved AS MATERIALIZED (
        SELECT m.restore_id, c.tier, a.store_uri, c.requested_at, sum(c.change) AS archives,
               coalesce(sum(c.change * a.stored_size), 0) AS bytes, max(c.ready_at) AS ready_at, bool_or(c.unlike) AS unlike
          FROM (SELECT n.archive_id, n.tier, n.requested_at, CASE WHEN n.state = 'ready' THEN n.ready_at END AS ready_at,
                       (n.state = 'requested' AND n.confirmed)::integer
                       - (o.state = 'requested' AND o.confirmed)::integer AS change,
                       (n.archive_id, n.tier, n.requested_at) <> (o.archive_id, o.tier, o.requested_at) AS unlike
                  FROM new_rows n JOIN old_rows o ON o.id = n.id
                 WHERE n.state <> o.state OR n.confirmed <> o.confirmed
                    OR (n.archive_id, n.tier, n.requested_at) <> (o.archive_id, o.tier, o.requested_at)) AS c
         CROSS JOIN unnest($1) AS l (id)
         CROSS JOIN LATERAL (SELECT restore_id FROM restore_archives
                              WHERE restore_id = l.id AND archive_id = c.archive_id OFFSET 0) AS m
         CROSS JOIN LATERAL (SELECT store_uri, stored_size FROM glacier_archives WHERE id = c.archive_id OFFSET 0) AS a
         GROUP BY 1, 2, 3, 4),
    doubtful AS (  -- another request than was counted
        DELETE FROM restore_looks WHERE restore_id = ANY($1) AND EXISTS (SELECT FROM moved WHERE unlike))
    INSERT INTO restore_figures (restore_id, tier, store_uri, asked, archives, bytes, last_ready)
    SELECT restore_id, tier, store_uri, date_trunc('minute', requested_at), sum(archives), sum(bytes), max(ready_at) FROM moved
     GROUP BY 1, 2, 3, 4
    $q$ USING looked;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_inserted AFTER INSERT ON glacier_retrievals REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION tell_requests();
CREATE TRIGGER tell_updated AFTER UPDATE ON glacier_retrievals REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION tell_requests();
CREATE TRIGGER tell_deleted AFTER DELETE ON glacier_retrievals REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION tell_requests();

-- What a restore brings is another than was counted.
CREATE FUNCTION forget_progress() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM restore_looks;
        DELETE FROM restore_figures;
    ELSIF TG_OP = 'UPDATE' THEN
        DELETE FROM restore_looks WHERE restore_id IN (OLD.restore_id, NEW.restore_id);
    ELSIF EXISTS (SELECT FROM restore_looks) THEN
        EXECUTE 'DELETE FROM restore_looks WHERE restore_id IN (SELECT DISTINCT restore_id FROM changed)';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER forget_inserted AFTER INSERT ON restore_archives REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION forget_progress();
CREATE TRIGGER forget_deleted AFTER DELETE ON restore_archives REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION forget_progress();
CREATE TRIGGER forget_updated AFTER UPDATE ON restore_archives FOR EACH ROW
    WHEN ((OLD.restore_id, OLD.archive_id, OLD.source) IS DISTINCT FROM (NEW.restore_id, NEW.archive_id, NEW.source))
    EXECUTE FUNCTION forget_progress();
CREATE TRIGGER forget_truncated AFTER TRUNCATE ON restore_archives
    FOR EACH STATEMENT EXECUTE FUNCTION forget_progress();
