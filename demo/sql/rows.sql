-- About 100,000 rows, the same ones each time: every value comes from the row's number. The temporary table
-- attached_files (position, file_name, byte_size) holds the files that exist.

CREATE TEMPORARY TABLE words ON COMMIT DROP AS
    SELECT ordinality::integer - 1 AS i, word FROM unnest(string_to_array(
        'contract invoice delivery agreement annual report budget meeting minutes proposal technical drawing '
        || 'inspection certificate permit payroll travel expense policy manual training warranty claim notice '
        || 'tender purchase order receipt schedule maintenance audit licence insurance tax statement appendix '
        || 'letter memo survey plan', ' ')) WITH ORDINALITY AS listed (word, ordinality);

-- A phrase of `length` words that depends on nothing but its arguments.
CREATE FUNCTION pg_temp.phrase(number bigint, length integer) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT string_agg(word, ' ' ORDER BY k)
    FROM generate_series(1, length) AS k
    JOIN words ON i = (number * 7919 + k * 104729 + number * k) % 40
$$;

INSERT INTO organisations (name, vat_number, settings)
    SELECT 'Organisation ' || i || CASE i % 3 WHEN 0 THEN ' & Söhne' WHEN 1 THEN ' Ltd.' ELSE ' 株式会社' END,
           CASE WHEN i % 4 <> 0 THEN 'XX' || lpad((i * 7717)::text, 9, '0') END,
           jsonb_build_object('locale', (ARRAY['en', 'de', 'ja', 'ar'])[1 + i % 4], 'quota', i * 1000, 'beta', i % 2 = 0)
    FROM generate_series(1, 40) AS i;

INSERT INTO users (organisation_id, email, full_name, password_digest, last_address, roles, created_at)
    SELECT 1 + i % 40, 'user' || i || '@example.org', initcap(pg_temp.phrase(i, 2)), sha256(i::text::bytea),
           CASE WHEN i % 5 <> 0 THEN ('10.' || i % 200 || '.' || i % 250 || '.7')::inet END,
           CASE i % 3 WHEN 0 THEN '{reader}' WHEN 1 THEN '{reader,editor}' ELSE '{reader,"head, of"}' END::text[],
           timestamptz '2025-03-01 08:00+00' + i * interval '17 hours'
    FROM generate_series(1, 400) AS i;

INSERT INTO folders (parent_id, organisation_id, name)
    SELECT CASE WHEN i > 40 THEN i / 4 END, 1 + i % 40, initcap(pg_temp.phrase(i, 1)) || ' ' || i
    FROM generate_series(1, 600) AS i;

INSERT INTO documents (folder_id, owner_id, title, state, file_name, byte_size, page, price, retention, metadata,
                       created_at, updated_at)
    SELECT 1 + (position * 37) % 600, 1000 + (position * 13) % 400,
           initcap(pg_temp.phrase(position, 4)) || ' ' || position,
           (enum_range(NULL::document_state))[1 + position % 4], file_name, byte_size,
           CASE WHEN position % 3 <> 0 THEN ROW(210, 297)::page_size END,
           CASE WHEN position % 7 <> 0 THEN (position * 1733 % 1000000) / 100.0 END,
           CASE position % 2 WHEN 0 THEN interval '10 years' ELSE interval '6 mons 3 days' END,
           jsonb_build_object('source', CASE position % 2 WHEN 0 THEN 'scan' ELSE 'mail' END, 'pages', 1 + position % 9),
           timestamptz '2026-01-01 00:00+00' + position * interval '2 hours',
           timestamptz '2026-01-01 00:00+00' + position * interval '3 hours'
    FROM attached_files ORDER BY position;

UPDATE documents SET thumbnail = lo_from_bytea((900000 + id)::oid, decode(repeat(md5(id::text), 60), 'hex')) WHERE id % 100 = 0;

INSERT INTO document_pages (document_id, page_number, body)
    SELECT d.id, p, pg_temp.phrase(d.id * 31 + p, 35)
    FROM documents d, generate_series(1, 6) AS p;

INSERT INTO tags (label) SELECT DISTINCT word || '-' || n FROM words, generate_series(1, 5) AS n ORDER BY 1;
INSERT INTO document_tags (document_id, tag_id)
    SELECT DISTINCT d.id, 1 + (d.id * 11 + k * k * 17) % (SELECT count(*) FROM tags)
    FROM documents d, generate_series(1, 5) AS k;

INSERT INTO comments (id, document_id, author_id, answers, body, written_at)
    SELECT md5('comment ' || i)::uuid, 1 + (i * 29) % (SELECT max(id) FROM documents),
           CASE WHEN i % 11 <> 0 THEN 1000 + (i * 7) % 400 END,
           CASE WHEN i % 3 = 0 THEN md5('comment ' || i - 1)::uuid END,
           pg_temp.phrase(i, 9) || E'\n\t"quoted", back\\slashed — §' || i,
           timestamptz '2026-02-01 00:00+00' + i * interval '11 minutes'
    FROM generate_series(1, 15000) AS i;

INSERT INTO "Case Notes" ("Übergabe an", "the ""real"" reason", document_id)
    SELECT NULLIF('Abteilung ' || i % 9, 'Abteilung 0'), pg_temp.phrase(i, 6), 1 + (i * 3) % 2000
    FROM generate_series(1, 1500) AS i;

INSERT INTO private_notes (user_id, body)
    SELECT 1000 + i % 400, pg_temp.phrase(i + 5, 12) FROM generate_series(1, 2000) AS i;

INSERT INTO audit.events (happened_at, user_id, document_id, action, details)
    SELECT timestamptz '2026-01-01 00:00+00' + i * interval '8 minutes', 1000 + (i * 3) % 400, 1 + (i * 19) % 2000,
           (enum_range(NULL::audit.action))[1 + i % 5],
           CASE WHEN i % 4 = 0 THEN jsonb_build_object('address', '10.0.' || i % 250 || '.1', 'ms', i % 900) END
    FROM generate_series(1, 58000) AS i;

REFRESH MATERIALIZED VIEW audit.activity;

-- The triggers come last, so that loading does not set them off.
CREATE TRIGGER documents_touch BEFORE UPDATE ON documents
    FOR EACH ROW WHEN (OLD.title IS DISTINCT FROM NEW.title OR OLD.state <> NEW.state) EXECUTE FUNCTION touch();
CREATE TRIGGER documents_audit AFTER INSERT OR UPDATE OR DELETE ON documents
    FOR EACH ROW EXECUTE FUNCTION audit.record_change();
COMMENT ON TRIGGER documents_audit ON documents IS 'No change without a trace';
