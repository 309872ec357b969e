-- Every large object: its id, size and content hash.
SELECT 'large object ' || oid, format('%s bytes, md5 %s', length(lo_get(oid)), md5(lo_get(oid))) FROM pg_largeobject_metadata
