-- What a verification or a drill came to, as a document; each names the SHA-256 of the one before it.
-- Runs with search_path set to the catalog's own schema.
CREATE TABLE evidence (
    application_id  integer NOT NULL REFERENCES applications,
    number          bigint NOT NULL,
    proof_id        bigint UNIQUE REFERENCES proofs,  -- null: found in the store, of another life of this catalog
    document        text NOT NULL,
    sha256          text NOT NULL,                    -- of the document's bytes, in UTF-8
    store_uri       text,                             -- where it lies; null: not there yet, or a store that keeps none
    key             text,
    PRIMARY KEY (application_id, number),
    CHECK ((store_uri IS NULL) = (key IS NULL))
);
