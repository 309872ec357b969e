-- Who was told what is wrong with an application, so that nobody is told twice.
-- Runs with search_path set to the catalog's own schema.
CREATE TABLE alerts (
    application_id  integer NOT NULL REFERENCES applications,
    target          text NOT NULL,             -- a digest; addresses are not kept here
    event           text NOT NULL,
    state           text NOT NULL,             -- another one of the same event is something new to tell
    claimed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    told_at         timestamptz,               -- null: being told, or it did not arrive
    tries           integer NOT NULL DEFAULT 1,
    error           text,
    PRIMARY KEY (application_id, target, event, state)
);
