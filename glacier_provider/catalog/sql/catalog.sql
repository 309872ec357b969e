-- name: catalog_version
SELECT version_num AS version FROM catalog_version;

-- name: join_at_once
-- Of this transaction: hash and merge joins read each table once, whatever the server believes of tables that were just filled.
SELECT set_config('enable_nestloop', CASE WHEN %(on)s THEN 'off' ELSE 'on' END, true);

-- name: lock_work
SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 0)) AS locked;

-- name: unlock_work
SELECT pg_advisory_unlock(hashtextextended(%(name)s, 0));
