-- What the sample application keeps in types of extensions; for servers that have them.
CREATE EXTENSION pg_trgm;
CREATE EXTENSION citext;
CREATE EXTENSION hstore WITH SCHEMA tools;
COMMENT ON EXTENSION citext IS 'folds case';
CREATE TABLE public.extras (id integer PRIMARY KEY, name citext UNIQUE, attributes tools.hstore);
CREATE INDEX extras_trgm ON public.extras USING gin ((name::text) gin_trgm_ops);
INSERT INTO public.extras SELECT n, 'Extra ' || n, tools.hstore('n', n::text) FROM generate_series(1, 50) n;
