-- An application with one of everything that a restore must bring back. Roles sample_owner and "SCHEMA" exist.
CREATE SCHEMA tools;
CREATE SCHEMA "Größe & Co";
CREATE SCHEMA "SCHEMA" AUTHORIZATION "SCHEMA";
COMMENT ON SCHEMA "Größe & Co" IS 'odd name';

CREATE TYPE public.mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN public.positive AS integer CHECK (VALUE > 0);
COMMENT ON DOMAIN public.positive IS 'above zero';
CREATE TYPE public.pair AS (left_side integer, right_side text);
CREATE TYPE public.span AS RANGE (subtype = integer);

CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.note := coalesce(NEW.note, '') || '
\.
COMMIT;
';
  RETURN NEW;
END $$;
CREATE FUNCTION public.check_glacier_archives(n integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT n > 0';
CREATE PROCEDURE public.nothing(INOUT n integer) LANGUAGE plpgsql AS 'BEGIN n := n + 1; END';
CREATE FUNCTION public.add_up(a integer, b integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
CREATE AGGREGATE public.total(integer) (SFUNC = public.add_up, STYPE = integer, INITCOND = '0');
CREATE FUNCTION public.same_pair(public.pair, public.pair) RETURNS boolean LANGUAGE sql IMMUTABLE
  AS 'SELECT ($1).left_side = ($2).left_side';
CREATE OPERATOR public.=== (LEFTARG = public.pair, RIGHTARG = public.pair, FUNCTION = public.same_pair);
CREATE COLLATION public.plain FROM "C";
CREATE TEXT SEARCH CONFIGURATION public.words (COPY = pg_catalog.english);

CREATE FUNCTION public.pair_less(public.pair, public.pair) RETURNS boolean LANGUAGE sql IMMUTABLE
  AS 'SELECT ($1).left_side < ($2).left_side';
CREATE OPERATOR public.<<< (LEFTARG = public.pair, RIGHTARG = public.pair, FUNCTION = public.pair_less);
CREATE OPERATOR FAMILY public.pair_family USING btree;
CREATE FUNCTION public.mood_number(public.mood) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT length($1::text)';
CREATE CAST (public.mood AS integer) WITH FUNCTION public.mood_number(public.mood) AS ASSIGNMENT;
CREATE TEXT SEARCH DICTIONARY public.plain_words (TEMPLATE = pg_catalog.simple);
CREATE CONVERSION public.convert_it FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
CREATE FOREIGN DATA WRAPPER far_wrapper;
CREATE SERVER far_server FOREIGN DATA WRAPPER far_wrapper OPTIONS (host 'far.example');
CREATE USER MAPPING FOR sample_owner SERVER far_server;
CREATE FOREIGN TABLE public.far_table (id integer NOT NULL, CHECK (id > 0)) SERVER far_server;
CREATE UNLOGGED TABLE public.scratch (id integer);

CREATE TABLE public.customers (
  id serial PRIMARY KEY,
  name text NOT NULL UNIQUE,
  feeling public.mood DEFAULT 'ok',
  size public.positive,
  pair public.pair,
  valid public.span,
  shout text GENERATED ALWAYS AS (upper(name)) STORED,
  note text,
  CONSTRAINT "a check" CHECK (public.check_glacier_archives(size))
);
CREATE INDEX customers_name_words ON public.customers USING gin (to_tsvector('public.words', name));
CREATE INDEX "Index; with ""quotes""" ON public.customers (feeling) WHERE size > 1;
CREATE STATISTICS public.customer_stats ON feeling, size FROM public.customers;
COMMENT ON TABLE public.customers IS 'people; -- TABLE DATA public x';
COMMENT ON COLUMN public.customers.name IS E'first\nand last';
COMMENT ON INDEX public.customers_name_words IS 'words';
CREATE TRIGGER touch BEFORE INSERT ON public.customers FOR EACH ROW EXECUTE FUNCTION public.touch();
ALTER TABLE public.customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.customers FOR SELECT TO sample_owner USING (size > 0);
GRANT SELECT ON public.customers TO "SCHEMA";
GRANT UPDATE (note) ON public.customers TO "SCHEMA";
ALTER TABLE public.customers OWNER TO sample_owner;

CREATE TABLE public.orders (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer_id integer REFERENCES public.customers (id),
  parent_id bigint REFERENCES public.orders (id) DEFERRABLE INITIALLY DEFERRED,
  body text COLLATE public.plain
);
ALTER TABLE public.customers ADD COLUMN last_order bigint REFERENCES public.orders (id);

CREATE TABLE public.events (id bigint NOT NULL, at date NOT NULL, data jsonb, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE public.events_2025 PARTITION OF public.events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE "Größe & Co"."events ""2026""" PARTITION OF public.events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX events_data ON public.events USING gin (data);

CREATE TABLE "Größe & Co"."Tabelle mit ""Namen""" ("Spalte 1" integer PRIMARY KEY DEFAULT 7, "Zeile
zwei" text);
CREATE TABLE "SCHEMA"."TABLE DATA" (id integer PRIMARY KEY, "SCHEMA" text);
ALTER TABLE "SCHEMA"."TABLE DATA" OWNER TO "SCHEMA";
CREATE TABLE public.legacy_glacier_archives_report (id integer PRIMARY KEY, line text);
CREATE TABLE public.application_data_backups_summary (id integer PRIMARY KEY);
CREATE TABLE public.animals (id integer, kind text);
CREATE TABLE public.cats (lives integer DEFAULT 9) INHERITS (public.animals);
CREATE SEQUENCE public.lonely START 100;
CREATE VIEW public.happy AS SELECT id, name FROM public.customers WHERE feeling = 'happy';
CREATE MATERIALIZED VIEW public.order_counts AS SELECT customer_id, count(*) AS n FROM public.orders GROUP BY 1;
CREATE UNIQUE INDEX order_counts_key ON public.order_counts (customer_id);
CREATE RULE no_delete AS ON DELETE TO public.orders WHERE OLD.id < 0 DO INSTEAD NOTHING;
CREATE PUBLICATION changes FOR TABLE public.orders, public.animals;
ALTER DEFAULT PRIVILEGES IN SCHEMA tools GRANT SELECT ON TABLES TO sample_owner;
CREATE FUNCTION tools.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION tools.watch();

INSERT INTO public.customers (name, feeling, size, pair, valid)
  SELECT 'Customer ' || n, (ARRAY['sad', 'ok', 'happy'])[1 + n % 3]::public.mood, n, ROW(n, 'x')::public.pair, public.span(n, n + 1)
  FROM generate_series(1, 300) n;
INSERT INTO public.orders (customer_id, parent_id, body)
  SELECT 1 + n % 300, greatest(1, n - 1), repeat(md5(n::text), 20) FROM generate_series(1, 3000) n;
UPDATE public.customers SET last_order = id;
INSERT INTO public.events SELECT n, date '2025-06-01' + n, jsonb_build_object('n', n) FROM generate_series(1, 500) n;
INSERT INTO "Größe & Co"."Tabelle mit ""Namen""" SELECT n, E'tab\t\\N \\. ' || n FROM generate_series(1, 10) n;
INSERT INTO "SCHEMA"."TABLE DATA" VALUES (1, 'one');
INSERT INTO public.legacy_glacier_archives_report VALUES (1, 'kept');
INSERT INTO public.application_data_backups_summary VALUES (1);
INSERT INTO public.cats VALUES (1, 'tom');
SELECT lo_from_bytea(770001, decode(repeat('00ff10', 3000), 'hex')), lo_from_bytea(770002, 'small');
COMMENT ON LARGE OBJECT 770001 IS 'a scan';
SELECT nextval('public.lonely'), nextval('public.lonely');
REFRESH MATERIALIZED VIEW public.order_counts;
