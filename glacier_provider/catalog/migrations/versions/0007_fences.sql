-- A process that slept through its lease changes nothing.
-- Runs with search_path set to the catalog's own schema.

-- Who has, or last had, the lease of an application, and the number of its fence: it grows when another one takes the
-- lease, and stays while the same one prolongs it or takes it again. A table of its own: prolonging a lease must not wait
-- for the transactions that look at the fence.
CREATE TABLE fences (
    application_id  integer PRIMARY KEY,
    token           bigint NOT NULL,
    holder          text NOT NULL
);

-- When the lease was taken, and when it was last prolonged.
ALTER TABLE applications
    ADD COLUMN lease_taken_at     timestamptz,
    ADD COLUMN lease_prolonged_at timestamptz;

-- The fence behind which a backup was opened; and those behind which a restore first and last changed something: what
-- another one restored in between is seen by them.
ALTER TABLE application_data_backups ADD COLUMN lease_token bigint;
ALTER TABLE restores
    ADD COLUMN lease_token      bigint,
    ADD COLUMN last_lease_token bigint;
CREATE INDEX restores_by_lease ON restores (application_id, last_lease_token) WHERE last_lease_token IS NOT NULL;

-- Refuse a statement of a session whose fence was passed by another holder. Who takes the lease waits until the
-- transaction has ended, or this one waits for the new holder and is refused.
CREATE FUNCTION check_fence() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    fence   text := current_setting('glacier_provider.fence', true);
    passed  text;
BEGIN
    IF fence IS NULL OR fence = '' THEN
        RETURN NULL;
    END IF;
    PERFORM FROM fences
      WHERE application_id = split_part(fence, ' ', 1)::integer AND token = split_part(fence, ' ', 2)::bigint
        FOR SHARE;
    IF NOT FOUND THEN
        SELECT holder INTO passed FROM fences WHERE application_id = split_part(fence, ' ', 1)::integer;
        RAISE EXCEPTION USING ERRCODE = 'GLF01', MESSAGE = coalesce(passed, 'another run');
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON application_data_backups EXECUTE FUNCTION check_fence();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON glacier_archives EXECUTE FUNCTION check_fence();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON backup_files EXECUTE FUNCTION check_fence();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON scanned_directories EXECUTE FUNCTION check_fence();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON restores EXECUTE FUNCTION check_fence();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON restore_archives EXECUTE FUNCTION check_fence();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON glacier_retrievals EXECUTE FUNCTION check_fence();
CREATE TRIGGER fence BEFORE INSERT OR UPDATE OR DELETE ON orphan_moves EXECUTE FUNCTION check_fence();
-- The lease itself is taken by whoever has none yet.
CREATE TRIGGER fence BEFORE UPDATE OF name, full_walk_at, scan_rules ON applications EXECUTE FUNCTION check_fence();
