-- Copies that end by the clock are found by it.
-- Runs with search_path set to the catalog's own schema.
CREATE INDEX glacier_retrievals_offers ON glacier_retrievals (expires_at) WHERE state = 'ready';
