-- Statements of which test_as_planned.py takes some at random: a line each, by whom it is run. What needs a statement
-- that was not taken is refused by the server, and passed over.

-- make
owner: CREATE SCHEMA app
owner: CREATE SCHEMA stats
owner: CREATE SCHEMA empty; COMMENT ON SCHEMA empty IS 'nothing in it'; GRANT USAGE ON SCHEMA empty TO {friend}
superuser: CREATE SCHEMA alien AUTHORIZATION {stranger}
superuser: CREATE SCHEMA friends AUTHORIZATION {friend}
superuser: CREATE SCHEMA far AUTHORIZATION {distant}
superuser: CREATE EXTENSION vector SCHEMA public
superuser: GRANT CREATE, USAGE ON SCHEMA public, app, stats TO {stranger}, {friend}, {distant}
owner: GRANT CREATE, USAGE ON SCHEMA public TO {stranger}, {friend}, {distant}
owner: GRANT CREATE, USAGE ON SCHEMA app TO {stranger}, {friend}, {distant}
owner: COMMENT ON SCHEMA app IS 'the application'
owner: ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO {friend}
owner: ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC
superuser: ALTER DEFAULT PRIVILEGES FOR ROLE {stranger} GRANT SELECT ON TABLES TO {friend}
superuser: ALTER DEFAULT PRIVILEGES FOR ROLE {friend} IN SCHEMA public GRANT SELECT ON TABLES TO {stranger}
owner: CREATE TYPE mood AS ENUM ('fine', 'bad')
owner: CREATE TYPE app.pair AS (a int, b text); COMMENT ON TYPE app.pair IS 'two'
owner: CREATE DOMAIN short AS text CONSTRAINT is_short CHECK (length(VALUE) < 20)
owner: CREATE TYPE span AS RANGE (subtype = float8, multirange_type_name = spans)
superuser: CREATE TYPE tiny; CREATE FUNCTION tiny_in(cstring) RETURNS tiny IMMUTABLE STRICT LANGUAGE internal AS 'int4in'; CREATE FUNCTION tiny_out(tiny) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'int4out'; CREATE TYPE tiny (INPUT = tiny_in, OUTPUT = tiny_out, LIKE = int4)
stranger: CREATE TYPE public.theirs AS ENUM ('x')
friend: CREATE TYPE public.friendly AS ENUM ('x')
owner: CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1'; COMMENT ON FUNCTION twice IS 'twice'; GRANT EXECUTE ON FUNCTION twice TO {friend}
owner: CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'
owner: CREATE PROCEDURE app.tidy(INOUT n int) LANGUAGE plpgsql AS 'BEGIN n := 1; END'
owner: CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0')
stranger: CREATE FUNCTION public.their_touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'
superuser: CREATE FUNCTION supers() RETURNS int LEAKPROOF LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION supers OWNER TO {owner}
owner: CREATE FUNCTION alike(int, text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1::text = $2'; CREATE OPERATOR === (LEFTARG = int, RIGHTARG = text, FUNCTION = alike)
owner: CREATE COLLATION app.plain FROM "C"
owner: CREATE CONVERSION conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8
owner: CREATE TEXT SEARCH DICTIONARY dict (TEMPLATE = simple)
owner: CREATE TEXT SEARCH CONFIGURATION app.conf (COPY = simple); ALTER TEXT SEARCH CONFIGURATION app.conf ALTER MAPPING FOR asciiword WITH dict
superuser: CREATE TEXT SEARCH PARSER prs (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline)
superuser: CREATE TEXT SEARCH TEMPLATE tmpl (INIT = dsimple_init, LEXIZE = dsimple_lexize)
superuser: CREATE OPERATOR FAMILY fam USING btree; CREATE OPERATOR CLASS cls FOR TYPE int USING btree FAMILY fam AS OPERATOR 1 <, OPERATOR 3 =, FUNCTION 1 btint4cmp(int, int)
superuser: CREATE FUNCTION mine_call() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'; CREATE LANGUAGE mine HANDLER mine_call
superuser: CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler
superuser: CREATE TRANSFORM FOR int LANGUAGE plpgsql (FROM SQL WITH FUNCTION prsd_lextype(internal))
superuser: CREATE FOREIGN DATA WRAPPER fdw
superuser: CREATE SERVER srv FOREIGN DATA WRAPPER fdw; ALTER SERVER srv OWNER TO {owner}
superuser: GRANT USAGE ON FOREIGN DATA WRAPPER fdw TO {owner}
superuser: CREATE SERVER their_srv FOREIGN DATA WRAPPER fdw
superuser: CREATE USER MAPPING FOR PUBLIC SERVER srv OPTIONS (a 'x')
superuser: CREATE USER MAPPING FOR {owner} SERVER srv
superuser: CREATE USER MAPPING FOR {friend} SERVER their_srv
owner: CREATE FOREIGN TABLE app.remote (n int) SERVER srv
owner: CREATE FUNCTION app.to_pair(text) RETURNS app.pair LANGUAGE sql AS 'SELECT ROW(1, 2)::app.pair'; CREATE CAST (text AS app.pair) WITH FUNCTION app.to_pair(text)
owner: CREATE TABLE docs (id int PRIMARY KEY, title text); INSERT INTO docs SELECT n, 'document ' || n FROM generate_series(1, 5) n
owner: CREATE TABLE app.notes (id serial PRIMARY KEY, doc int, body text); INSERT INTO app.notes (doc, body) VALUES (1, 'a'), (2, 'b')
owner: CREATE TABLE app.audit (id int GENERATED ALWAYS AS IDENTITY, doc int, body text); INSERT INTO app.audit (doc) VALUES (1), (2), (5)
owner: CREATE TABLE sessions (id int PRIMARY KEY, word text); INSERT INTO sessions VALUES (1, 'x'), (2, 'y')
owner: CREATE TABLE stats.days (day int PRIMARY KEY, n int); INSERT INTO stats.days SELECT n, n FROM generate_series(1, 9) n
superuser: CREATE TABLE stats.kept (n int PRIMARY KEY); ALTER TABLE stats.kept OWNER TO {friend}; INSERT INTO stats.kept VALUES (1)
stranger: CREATE TABLE public.their_table (id int PRIMARY KEY, m text); INSERT INTO public.their_table VALUES (1)
superuser: CREATE TABLE app.theirs (n int); ALTER TABLE app.theirs OWNER TO {stranger}; INSERT INTO app.theirs VALUES (4)
superuser: CREATE TABLE app.distant (n int); ALTER TABLE app.distant OWNER TO {distant}; INSERT INTO app.distant VALUES (4)
superuser: CREATE TABLE alien.things (n int); ALTER TABLE alien.things OWNER TO {stranger}
friend: CREATE TABLE friends.things (n serial PRIMARY KEY); INSERT INTO friends.things DEFAULT VALUES
friend: CREATE TABLE public.friends_table (id int PRIMARY KEY); INSERT INTO public.friends_table VALUES (1)
superuser: CREATE TABLE supers_table (n int)
owner: CREATE TABLE feelings (id int, m mood); INSERT INTO feelings VALUES (1, 'bad')
owner: CREATE TABLE shorts (s short, p app.pair); INSERT INTO shorts VALUES ('x', ROW(1, 'y'))
superuser: CREATE TABLE tinies (t tiny); ALTER TABLE tinies OWNER TO {owner}; INSERT INTO tinies VALUES ('4')
owner: CREATE TABLE vectors (v vector(2)); INSERT INTO vectors VALUES ('[1,2]')
owner: CREATE TABLE others (x theirs, y friendly)
owner: CREATE TABLE typed OF app.pair
owner: CREATE TABLE parts (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k); CREATE TABLE part1 PARTITION OF parts FOR VALUES IN (1); INSERT INTO parts VALUES (1, 1)
owner: CREATE TABLE stats.part2 PARTITION OF parts FOR VALUES IN (2); INSERT INTO parts VALUES (2, 2)
owner: CREATE TABLE app.part3 (id int NOT NULL, k int NOT NULL); INSERT INTO app.part3 VALUES (3, 3); ALTER TABLE parts ATTACH PARTITION app.part3 FOR VALUES IN (3)
owner: CREATE INDEX parts_k ON parts (k)
owner: CREATE TABLE parent (id int, v text); CREATE TABLE app.child (w int) INHERITS (parent); INSERT INTO app.child VALUES (1, 'x', 2)
owner: CREATE TABLE computed (n int DEFAULT twice(2), m int GENERATED ALWAYS AS (n * 2) STORED CHECK (m > 0)); INSERT INTO computed (n) VALUES (3)
owner: CREATE UNLOGGED TABLE cache (n int)
owner: ALTER TABLE app.notes ADD CONSTRAINT notes_doc FOREIGN KEY (doc) REFERENCES docs
owner: ALTER TABLE app.audit ADD CONSTRAINT audit_doc FOREIGN KEY (doc) REFERENCES docs
owner: CREATE TABLE logins (id int PRIMARY KEY, session int REFERENCES sessions); INSERT INTO logins VALUES (1, 1)
owner: CREATE TABLE stats.links (day int REFERENCES stats.days, doc int REFERENCES docs); INSERT INTO stats.links VALUES (1, 1)
superuser: ALTER TABLE their_table ADD COLUMN doc int REFERENCES docs
owner: ALTER TABLE docs ADD COLUMN t int REFERENCES their_table
owner: CREATE TABLE pointing (id int, k int, FOREIGN KEY (id, k) REFERENCES parts); INSERT INTO pointing VALUES (1, 1)
owner: CREATE SEQUENCE numbers; SELECT nextval('numbers')
owner: CREATE SEQUENCE app.owned OWNED BY app.notes.doc
owner: CREATE VIEW titles AS SELECT id, title FROM docs; COMMENT ON VIEW titles IS 'titles'; GRANT SELECT ON titles TO {friend}
owner: CREATE VIEW app.upper_titles AS SELECT upper(title) AS t FROM titles
owner: CREATE VIEW open_sessions AS SELECT id FROM sessions
owner: CREATE VIEW stats.daily AS SELECT * FROM stats.days
owner: CREATE VIEW across AS SELECT d.title, s.n FROM docs d JOIN stats.days s ON s.day = d.id
owner: CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM docs
owner: CREATE MATERIALIZED VIEW stats.counted AS SELECT count(*) AS n FROM app.audit
stranger: CREATE VIEW public.their_view AS SELECT 1 AS n
superuser: CREATE VIEW alien.of_docs AS SELECT id FROM docs; ALTER VIEW alien.of_docs OWNER TO {stranger}
owner: CREATE INDEX docs_title ON docs (lower(title)); COMMENT ON INDEX docs_title IS 'lower'
owner: CREATE STATISTICS app.st ON id, title FROM docs
owner: CREATE TRIGGER touched BEFORE UPDATE ON docs FOR EACH ROW WHEN (OLD.title <> NEW.title) EXECUTE FUNCTION app.touch()
owner: CREATE TRIGGER touched BEFORE UPDATE ON app.audit FOR EACH ROW EXECUTE FUNCTION app.touch()
superuser: CREATE TRIGGER theirs BEFORE UPDATE ON docs FOR EACH ROW EXECUTE FUNCTION their_touch()
owner: CREATE RULE noted AS ON INSERT TO docs DO ALSO INSERT INTO app.audit (doc) VALUES (NEW.id)
owner: ALTER TABLE docs ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON docs TO {friend} USING (id > 0); CREATE POLICY all_of_it ON docs USING (true)
owner: GRANT SELECT ON docs TO {friend}, {stranger}; GRANT UPDATE (title) ON docs TO {stranger}
owner: GRANT SELECT ON app.audit TO {stranger} WITH GRANT OPTION
stranger: GRANT SELECT ON app.audit TO {friend}
owner: GRANT SELECT ON sessions TO {friend} WITH GRANT OPTION
friend: GRANT SELECT ON sessions TO {stranger}
owner: COMMENT ON TABLE docs IS 'documents'; COMMENT ON COLUMN docs.title IS 'its title'
owner: COMMENT ON TABLE app.audit IS 'never lost'; COMMENT ON COLUMN app.audit.doc IS 'which'
owner: ALTER TABLE app.audit ENABLE ROW LEVEL SECURITY; CREATE POLICY audited ON app.audit USING (true)
owner: CREATE INDEX audit_doc_ix ON app.audit (doc)
owner: CREATE PUBLICATION pub FOR TABLE docs WITH (publish = 'insert'); COMMENT ON PUBLICATION pub IS 'documents'
owner: ALTER PUBLICATION pub ADD TABLE app.audit (id, doc)
owner: CREATE PUBLICATION pub2 FOR TABLE app.audit, sessions
superuser: CREATE PUBLICATION everything FOR ALL TABLES
superuser: CREATE PUBLICATION of_schemas FOR TABLES IN SCHEMA app, stats
superuser: CREATE PUBLICATION supers FOR TABLE docs
superuser: ALTER PUBLICATION supers ADD TABLE app.audit WHERE (id > 3)
superuser: CREATE SUBSCRIPTION sub_{database} CONNECTION 'host=127.0.0.1 port=1 dbname=nothing' PUBLICATION p WITH (connect = false, slot_name = NONE, enabled = false)
superuser: CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch()
owner: SELECT lo_from_bytea(5001, 'ours'); COMMENT ON LARGE OBJECT 5001 IS 'ours'; GRANT SELECT ON LARGE OBJECT 5001 TO {friend}
owner: SELECT lo_from_bytea(5002, 'ours, too')
friend: SELECT lo_from_bytea(5003, 'of a friend')
stranger: SELECT lo_from_bytea(5004, 'theirs')
superuser: GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO {owner}
superuser: CREATE TABLE app.mixed (n int); ALTER TABLE app.mixed OWNER TO {owner}; CREATE VIEW mixed_view AS SELECT * FROM app.mixed; ALTER VIEW mixed_view OWNER TO {stranger}
owner: CREATE TABLE wide (a int, b int GENERATED BY DEFAULT AS IDENTITY, c text COLLATE app.plain DEFAULT 'c'); INSERT INTO wide (a) VALUES (1)
owner: CREATE FUNCTION app.of_docs(docs) RETURNS text LANGUAGE sql RETURN ($1).title
owner: CREATE FUNCTION app.counted() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM app.audit; END
owner: CREATE TABLE holds (d docs, ds docs[])
owner: COMMENT ON CONSTRAINT audit_doc ON app.audit IS 'which document'
owner: CREATE TABLE counted_parts (id bigserial, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k); CREATE TABLE cpart1 PARTITION OF counted_parts FOR VALUES IN (1); INSERT INTO counted_parts (k) VALUES (1)
owner: CREATE TABLE stats.cpart2 PARTITION OF counted_parts FOR VALUES IN (2); INSERT INTO counted_parts (k) VALUES (2)
owner: CREATE TABLE app.notes_copy (LIKE app.notes INCLUDING ALL); INSERT INTO app.notes_copy (doc) VALUES (7)
superuser: CREATE USER MAPPING FOR {friend} SERVER srv OPTIONS (password 'x')
superuser: ALTER DEFAULT PRIVILEGES FOR ROLE {stranger} IN SCHEMA app GRANT ALL ON TABLES TO PUBLIC
superuser: CREATE FUNCTION quiet() RETURNS int LANGUAGE sql SET log_statement = 'none' AS 'SELECT 1'; ALTER FUNCTION quiet() OWNER TO {owner}
superuser: CREATE CAST (varchar AS int) WITH INOUT AS ASSIGNMENT
superuser: ALTER DATABASE {database} OWNER TO postgres; GRANT CREATE ON SCHEMA public TO {owner}

-- change
owner: DROP TABLE docs CASCADE
owner: DROP TABLE app.audit CASCADE
owner: DROP TABLE sessions CASCADE
owner: DROP TABLE parts CASCADE
owner: DROP SCHEMA stats CASCADE
owner: DROP SCHEMA app CASCADE
owner: DROP SCHEMA public CASCADE
owner: DROP TYPE mood CASCADE
owner: DROP VIEW titles CASCADE
owner: DROP FUNCTION twice CASCADE
owner: DROP SEQUENCE numbers
owner: DROP PUBLICATION pub
superuser: DROP PUBLICATION everything
superuser: DROP EVENT TRIGGER watching
superuser: DROP SERVER srv CASCADE
superuser: DROP SUBSCRIPTION sub_{database}
superuser: DROP EXTENSION vector CASCADE
superuser: DROP SCHEMA alien CASCADE
owner: DELETE FROM docs WHERE id = 5
owner: DELETE FROM app.audit WHERE doc = 1
owner: INSERT INTO docs VALUES (77, 'later'); INSERT INTO app.audit (doc) VALUES (77)
owner: UPDATE sessions SET word = 'changed'
owner: TRUNCATE app.notes
owner: ALTER TABLE docs ADD COLUMN added int DEFAULT 4
owner: ALTER TABLE docs DROP COLUMN title CASCADE
owner: ALTER TABLE app.audit ADD COLUMN added int
owner: ALTER TABLE app.audit ADD COLUMN x mood
owner: ALTER TABLE app.notes RENAME TO memos
owner: ALTER TABLE docs RENAME COLUMN title TO name
owner: ALTER TABLE app.notes SET SCHEMA public
owner: ALTER TYPE mood ADD VALUE 'later'
owner: DROP VIEW titles CASCADE; CREATE TABLE titles (n int)
owner: DROP TABLE sessions CASCADE; CREATE VIEW sessions AS SELECT 1 AS id
owner: DROP SEQUENCE numbers; CREATE TABLE numbers (n int)
owner: DROP TABLE part1; CREATE TABLE part1 (n int)
owner: DROP FUNCTION twice CASCADE; CREATE FUNCTION twice(int) RETURNS text LANGUAGE sql AS 'SELECT ''x'''
owner: DROP TYPE mood CASCADE; CREATE DOMAIN mood AS text
owner: DROP TYPE app.pair CASCADE; CREATE TABLE app.pair (n int)
owner: CREATE TABLE later (id serial PRIMARY KEY, doc int); INSERT INTO later DEFAULT VALUES
owner: CREATE TABLE app.later (n int REFERENCES docs)
owner: CREATE VIEW later_view AS SELECT * FROM docs
owner: CREATE VIEW app.later_audit AS SELECT * FROM app.audit
owner: CREATE VIEW stats.later AS SELECT * FROM stats.days
owner: CREATE VIEW stats.of_docs AS SELECT * FROM docs
owner: CREATE SCHEMA later CREATE TABLE t (n int)
owner: CREATE FUNCTION later() RETURNS int LANGUAGE sql AS 'SELECT 1'
owner: CREATE TYPE later_type AS ENUM ('x')
owner: CREATE INDEX later_ix ON app.audit (id)
owner: CREATE INDEX later_docs_ix ON docs (id)
owner: CREATE TRIGGER later_tr BEFORE UPDATE ON app.audit FOR EACH ROW EXECUTE FUNCTION app.touch()
owner: CREATE PUBLICATION later_pub FOR TABLE docs, app.audit
superuser: CREATE PUBLICATION later_supers FOR TABLE docs, app.audit
superuser: CREATE PUBLICATION later_schemas FOR TABLES IN SCHEMA app
superuser: CREATE PUBLICATION later_all FOR ALL TABLES
superuser: CREATE FUNCTION later_watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER later_watching ON ddl_command_end EXECUTE FUNCTION later_watch()
superuser: CREATE TABLE later_of_super (n int)
superuser: CREATE VIEW of_docs_by_super AS SELECT id FROM docs
superuser: ALTER TABLE docs OWNER TO {stranger}
superuser: ALTER TABLE sessions OWNER TO {friend}
superuser: ALTER TABLE app.notes OWNER TO {distant}
superuser: ALTER FUNCTION app.touch() OWNER TO {stranger}
superuser: ALTER TYPE mood OWNER TO {stranger}
superuser: ALTER SCHEMA app OWNER TO {stranger}
superuser: ALTER VIEW titles OWNER TO {stranger}
superuser: ALTER TABLE app.theirs OWNER TO {owner}
superuser: ALTER TABLE friends.things OWNER TO {owner}
stranger: CREATE TABLE public.theirs_later (n int)
stranger: CREATE VIEW public.their_mood AS SELECT 1 AS n
superuser: CREATE TABLE their_ref (d int REFERENCES docs); ALTER TABLE their_ref OWNER TO {stranger}
superuser: CREATE TABLE parts4 PARTITION OF parts FOR VALUES IN (4); ALTER TABLE parts4 OWNER TO {stranger}; INSERT INTO parts VALUES (4, 4)
owner: CREATE TABLE stats.part5 PARTITION OF parts FOR VALUES IN (5); INSERT INTO parts VALUES (5, 5)
owner: ALTER TABLE parts DETACH PARTITION stats.part2
owner: GRANT ALL ON app.audit TO PUBLIC; GRANT ALL ON docs TO PUBLIC
owner: REVOKE ALL ON app.audit FROM {stranger} CASCADE
owner: COMMENT ON TABLE app.audit IS 'another'; COMMENT ON TABLE docs IS 'another'; COMMENT ON SCHEMA app IS NULL
owner: ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC
owner: ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT ALL ON SEQUENCES TO PUBLIC
superuser: ALTER DEFAULT PRIVILEGES FOR ROLE {stranger} GRANT ALL ON TABLES TO PUBLIC
owner: SELECT lo_unlink(5001)
owner: SELECT lo_from_bytea(5009, 'later'); SELECT lo_put(5002, 0, 'OURS')
superuser: ALTER LARGE OBJECT 5002 OWNER TO {stranger}
stranger: SELECT lo_from_bytea(5010, 'theirs, later')
superuser: CREATE CAST (text AS app.pair) WITH INOUT
superuser: CREATE FOREIGN DATA WRAPPER later_fdw
superuser: CREATE USER MAPPING FOR {stranger} SERVER srv
owner: ALTER TABLE docs DISABLE ROW LEVEL SECURITY
owner: ALTER TABLE app.audit DROP CONSTRAINT audit_doc
owner: CREATE STATISTICS later_st ON id, doc FROM app.audit
owner: CREATE RULE later_rule AS ON DELETE TO app.audit DO ALSO NOTHING
owner: CREATE POLICY later_policy ON app.audit USING (true)
owner: CREATE SEQUENCE later_owned OWNED BY app.audit.doc
owner: CREATE FUNCTION app.later_touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER later_tr2 BEFORE UPDATE ON app.audit FOR EACH ROW EXECUTE FUNCTION app.later_touch()
owner: ALTER TABLE app.audit ADD COLUMN y app.pair
owner: CREATE TABLE stats.later_table (m mood, p app.pair)
owner: ALTER TABLE app.audit ALTER COLUMN doc SET DEFAULT twice(3)
owner: ALTER TABLE stats.days ADD CONSTRAINT even CHECK (twice(n) >= 0)
owner: ALTER TABLE docs RENAME TO documents
owner: ALTER TABLE app.notes RENAME TO old_notes; ALTER TABLE parts RENAME TO old_parts
owner: CREATE TABLE app.docs_pkey (n int); ALTER TABLE docs RENAME CONSTRAINT docs_pkey TO another
superuser: ALTER EXTENSION vector ADD FUNCTION twice(int)
