-- Whether backups can be brought back is tried, and what came of it is kept.
-- Runs with search_path set to the catalog's own schema. The words of every state are those of core/status.py.

-- One try. `method` tells how: listing, content, inventory; of a drill, what it restored into.
CREATE TABLE proofs (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    application_id  integer NOT NULL REFERENCES applications,
    kind            text NOT NULL CHECK (kind IN ('verification', 'drill')),
    method          text NOT NULL,
    state           text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'passed', 'found', 'failed')),
    backup_id       bigint,                    -- of one backup; null: of all
    dag_id          text,                      -- the run that began it, or went on with it last
    dag_run_id      text,
    asked_by        text,                      -- a person, where one asked for it
    began_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at        timestamptz,
    figures         jsonb NOT NULL DEFAULT '{}',
    findings        jsonb NOT NULL DEFAULT '[]',
    error           text,
    CHECK ((state = 'running') = (ended_at IS NULL))
);
-- One of a kind at a time: whoever comes next goes on with it, and with what it has paid for.
CREATE UNIQUE INDEX proofs_running ON proofs (application_id, kind) WHERE state = 'running';
CREATE INDEX proofs_newest ON proofs (application_id, kind, id);
CREATE INDEX proofs_of_backup ON proofs (backup_id, id) WHERE backup_id IS NOT NULL;

-- One job of S3 Batch Operations. It is here before it is asked for: its token names the same job when that is repeated.
CREATE TABLE batch_jobs (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    application_id  integer NOT NULL REFERENCES applications,
    proof_id        bigint REFERENCES proofs,
    store_uri       text NOT NULL,
    operation       text NOT NULL,             -- AWS's name, as in S3ComputeObjectChecksum
    variant         text NOT NULL,             -- what of it, as in FULL_OBJECT
    token           text NOT NULL UNIQUE,
    state           text NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'created', 'read', 'failed')),
    manifest_etag   text,                      -- of the manifest in the store; null: there is none yet, or not all of it
    objects         bigint,
    bytes           bigint,
    before          timestamptz NOT NULL,      -- it is about what was archived before that
    job_id          text,                      -- as AWS knows it
    planned_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at      timestamptz,
    ended_at        timestamptz,
    told            jsonb NOT NULL DEFAULT '{}',  -- what AWS said of it last
    error           text,
    cleared         boolean NOT NULL DEFAULT false  -- neither its manifest nor its reports are in the store any more
);
CREATE INDEX batch_jobs_open ON batch_jobs (application_id, id) WHERE NOT cleared;
CREATE INDEX batch_jobs_of_proof ON batch_jobs (proof_id, id);

-- When the content of an archive was last verified where it lies. A table of its own: a million of them are noted at once.
CREATE TABLE verified_archives (
    archive_id   bigint PRIMARY KEY,
    verified_at  timestamptz NOT NULL,
    proof_id     bigint NOT NULL
);
