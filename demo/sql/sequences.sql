-- Every sequence: its name, and where it stands.
SELECT format('value of %I.%I', schemaname, sequencename),
       format('%s in %s..%s by %s, cache %s%s, at %s', data_type, min_value, max_value, increment_by, cache_size,
              CASE WHEN cycle THEN ', cycling' ELSE '' END, COALESCE(last_value::text, 'its start ' || start_value))
FROM pg_sequences WHERE schemaname <> 'glacier_catalog'
