-- name: catalog_version
SELECT version_num AS version FROM catalog_version;

-- name: lock_work
SELECT pg_try_advisory_lock(hashtextextended(%(name)s, 0)) AS locked;

-- name: unlock_work
SELECT pg_advisory_unlock(hashtextextended(%(name)s, 0));
