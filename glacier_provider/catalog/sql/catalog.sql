-- name: catalog_version
SELECT version_num AS version FROM catalog_version;

-- name: join_at_once
-- Of this transaction: hash and merge joins read each table once, whatever the server believes of tables that were just filled.
SET LOCAL enable_nestloop = off;

-- name: join_as_usual
-- As the role, the database and the connection have it.
SET LOCAL enable_nestloop TO DEFAULT;

-- name: lock_work
SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 0)) AS locked;

-- name: unlock_work
SELECT pg_advisory_unlock(hashtextextended(%(name)s, 0));
