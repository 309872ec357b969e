"""Dump, change, restore: what was dumped is back, all of it, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from glacier_provider.postgres import (
    DumpFormat,
    Keep,
    PgDumpOptions,
    PgRestoreOptions,
    Selection,
    dump_to_path,
    restore_in_transaction,
)
from tests.integration.postgres.conftest import SampleServer
from tests.support.postgres import EmbeddedPostgres

CATALOG = """
    CREATE SCHEMA glacier_catalog;
    CREATE TYPE glacier_catalog.state AS ENUM ('planned', 'archived');
    CREATE TABLE glacier_catalog.application_data_backups (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text);
    CREATE TABLE glacier_catalog.glacier_archives (
      id bigserial PRIMARY KEY, state glacier_catalog.state,
      backup_id bigint REFERENCES glacier_catalog.application_data_backups);
    CREATE INDEX ON glacier_catalog.glacier_archives (state);
    CREATE VIEW glacier_catalog.newest AS SELECT max(id) FROM glacier_catalog.application_data_backups;
    INSERT INTO glacier_catalog.application_data_backups (note) SELECT 'backup ' || n FROM generate_series(1, 3) n;
    INSERT INTO glacier_catalog.glacier_archives (backup_id, state)
      SELECT 1 + n % 3, 'archived' FROM generate_series(1, 50) n;
"""
LATER = """
    DELETE FROM public.orders WHERE id > 1000 AND id NOT IN (SELECT last_order FROM public.customers);
    ALTER TABLE public.customers RENAME COLUMN note TO remark;
    DROP TABLE public.animals CASCADE;
    CREATE TABLE public.made_later (id integer PRIMARY KEY, customer_id integer REFERENCES public.customers);
    CREATE SCHEMA later CREATE TABLE things (mood public.mood);
    CREATE TYPE later.kind AS ENUM ('x');
    CREATE FUNCTION public.later_function(later.kind) RETURNS integer LANGUAGE sql AS 'SELECT 1';
    CREATE SEQUENCE public.later_sequence;
    CREATE MATERIALIZED VIEW public.later_view AS SELECT count(*) FROM public.customers;
    CREATE PUBLICATION later_publication FOR TABLE public.made_later;
    CREATE EVENT TRIGGER later_trigger ON sql_drop EXECUTE FUNCTION tools.watch();
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO sample_owner;
    CREATE FOREIGN DATA WRAPPER later_wrapper;
    CREATE SERVER later_server FOREIGN DATA WRAPPER later_wrapper;
    CREATE CAST (later.kind AS integer) WITH FUNCTION public.later_function(later.kind);
    CREATE DOMAIN public.later_domain AS text;
    CREATE TYPE public.later_range AS RANGE (subtype = date);
    CREATE FUNCTION public.later_equal(public.pair, public.pair) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR public.=-= (LEFTARG = public.pair, RIGHTARG = public.pair, FUNCTION = public.later_equal);
    CREATE OPERATOR CLASS public.later_class FOR TYPE public.pair USING hash AS OPERATOR 1 public.=-=;
    CREATE OPERATOR FAMILY public.later_family USING gin;
    CREATE COLLATION public.later_collation FROM "C";
    CREATE CONVERSION public.later_conversion FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
    CREATE TEXT SEARCH DICTIONARY public.later_dictionary (TEMPLATE = simple);
    CREATE TEXT SEARCH CONFIGURATION public.later_search (PARSER = "default");
    CREATE STATISTICS public.later_statistics ON id, body FROM public.orders;
    CREATE AGGREGATE public.later_sum(integer ORDER BY integer) (
      SFUNC = public.add_up, STYPE = integer, INITCOND = '0');
    CREATE PROCEDURE public.later_procedure(IN a integer, OUT b integer) LANGUAGE plpgsql AS 'BEGIN b := a; END';
    CREATE ACCESS METHOD later_method TYPE TABLE HANDLER heap_tableam_handler;
    CREATE FUNCTION public.later_handler() RETURNS language_handler LANGUAGE c
      AS '$libdir/plpgsql', 'plpgsql_call_handler';
    CREATE LANGUAGE later_language HANDLER public.later_handler;
    CREATE FUNCTION public."later "" $quoted$"(integer[]) RETURNS integer LANGUAGE sql AS 'SELECT 1';
    SELECT lo_unlink(770001), lo_from_bytea(880001, 'later');
"""
WITHOUT_CATALOG = Selection(exclude_schemas=frozenset({"glacier_catalog"}))


def test_a_changed_database_becomes_what_it_was(sample: SampleServer, tmp_path: Path, log: list[str]) -> None:
    shop = sample.new()
    before, hashes = sample.everything(shop), sample.hashes(shop)
    dump = dump_to_path(shop, sample.tools, PgDumpOptions(), tmp_path / "shop.dump", progress=log.append)
    sample.run(shop, LATER)
    assert sample.everything(shop) != before

    done = restore_in_transaction(shop, sample.tools, dump.path, Selection(), progress=log.append)

    assert sample.everything(shop) == before
    assert sample.hashes(shop) == hashes
    assert done.analyzed
    # this server does not publish changes: CREATE PUBLICATION warns, with the SQLSTATE of an error, and succeeds
    assert ['"wal_level" is insufficient' in warning for warning in done.warnings] == [True]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_directory_dump_comes_back_into_an_empty_database(sample: SampleServer, tmp_path: Path, jobs: int) -> None:
    shop, elsewhere = sample.new(), sample.new(empty=True)
    options = PgDumpOptions(format=DumpFormat.DIRECTORY, jobs=jobs, compression="lz4" if jobs == 1 else "none")
    dump = dump_to_path(shop, sample.tools, options, tmp_path / "-shop", progress=print)
    restore_in_transaction(elsewhere, sample.tools, dump.path, Selection(), progress=print)
    assert sample.everything(elsewhere) == sample.everything(shop)


def test_the_catalog_in_the_same_database_is_not_touched(sample: SampleServer, tmp_path: Path) -> None:
    shop = sample.new(CATALOG)
    first = dump_to_path(shop, sample.tools, PgDumpOptions(), tmp_path / "first", progress=print)
    one = sample.everything(shop, "--exclude-schema=glacier_catalog")
    sample.run(shop, "INSERT INTO glacier_catalog.application_data_backups (note) VALUES ('second'); " + LATER)
    second = dump_to_path(shop, sample.tools, PgDumpOptions(), tmp_path / "second", progress=print)
    two = sample.everything(shop, "--exclude-schema=glacier_catalog")
    catalog = sample.everything(shop, "--schema=glacier_catalog")
    oids = "SELECT oid, relname FROM pg_class WHERE relnamespace = 'glacier_catalog'::regnamespace"
    kept = sample.run(shop, oids)

    for dump, expected in [(first, one), (second, two), (first, one)]:  # last week's, yesterday's, last week's again
        restore_in_transaction(shop, sample.tools, dump.path, WITHOUT_CATALOG, progress=print)
        assert sample.everything(shop, "--exclude-schema=glacier_catalog") == expected
        assert sample.everything(shop, "--schema=glacier_catalog") == catalog
    assert sample.run(shop, oids) == kept
    assert sample.run(shop, "SELECT line FROM public.legacy_glacier_archives_report") == [("kept",)]


@pytest.mark.parametrize("name", ["oldest", "older", "newer"])
def test_other_major_versions_come_back_too(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    server: SampleServer = request.getfixturevalue(name)
    shop, empty = server.new(), server.new(empty=True)
    before = server.everything(shop)
    for form in DumpFormat:
        dump = dump_to_path(shop, server.tools, PgDumpOptions(form), tmp_path / form, progress=print)
        server.run(shop, LATER)
        restore_in_transaction(shop, server.tools, dump.path, Selection(), progress=print)
        assert server.everything(shop) == before
    restore_in_transaction(empty, server.tools, dump.path, Selection(), progress=print)
    assert server.everything(empty) == before


@pytest.mark.parametrize(("of", "into"), [("oldest", "newer"), ("older", "newer"), ("older", "sample")])
def test_an_older_dump_comes_back_into_a_newer_server(
    request: pytest.FixtureRequest, of: str, into: str, tmp_path: Path
) -> None:
    old, new = request.getfixturevalue(of), request.getfixturevalue(into)
    shop = old.new()
    dump = dump_to_path(shop, old.tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    target = new.new(LATER)
    restore_in_transaction(target, new.tools, dump.path, Selection(), progress=print)
    assert new.hashes(target) == old.hashes(shop)


@pytest.mark.parametrize(("client", "on"), [("newer", "oldest"), ("newer", "older"), ("sample", "older")])
def test_newer_client_tools_restore_into_an_older_server(
    request: pytest.FixtureRequest, client: str, on: str, tmp_path: Path
) -> None:
    tools, old = request.getfixturevalue(client).tools, request.getfixturevalue(on)
    shop = old.new()
    dump = dump_to_path(shop, tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    before = old.everything(shop)
    old.run(shop, LATER)
    restore_in_transaction(shop, tools, dump.path, Selection(), progress=print)
    assert old.everything(shop) == before


def test_only_chosen_tables_come_back(sample: SampleServer, tmp_path: Path) -> None:
    shop = sample.new()
    dump = dump_to_path(shop, sample.tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    hashes = sample.hashes(shop)
    sample.run(
        shop,
        'DELETE FROM public.events; UPDATE "SCHEMA"."TABLE DATA" SET id = 2; DELETE FROM public.extras;'
        'DROP TABLE "Größe & Co"."Tabelle mit ""Namen""";',
    )
    definitions = sample.everything(sample.new(), "--schema-only")
    chosen = frozenset({("public", "events"), ("Größe & Co", 'Tabelle mit "Namen"')})

    done = restore_in_transaction(shop, sample.tools, dump.path, Selection(tables=chosen), progress=print)

    after = sample.hashes(shop)
    changed = {name for name in hashes if after[name] != hashes[name]}
    assert changed == {'"SCHEMA"."TABLE DATA"', "public.extras"}
    assert sample.everything(shop, "--schema-only") == definitions
    assert done.restored < 30


def test_one_partition_comes_back_attached(sample: SampleServer, tmp_path: Path) -> None:
    shop = sample.new()
    dump = dump_to_path(shop, sample.tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    before = sample.everything(shop)
    sample.run(shop, "DELETE FROM public.events_2025")
    chosen = Selection(tables=frozenset({("public", "events_2025")}))
    restore_in_transaction(shop, sample.tools, dump.path, chosen, progress=print)
    assert sample.everything(shop) == before


def test_an_excluded_table_keeps_its_rows(sample: SampleServer, tmp_path: Path) -> None:
    shop = sample.new()
    dump = dump_to_path(shop, sample.tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    sample.run(shop, "INSERT INTO public.legacy_glacier_archives_report VALUES (2, 'new'); DELETE FROM public.events")
    sample.run(shop, "DELETE FROM public.extras")
    chosen = Selection(exclude_tables=frozenset({("public", "legacy_glacier_archives_report"), ("public", "events")}))
    restore_in_transaction(shop, sample.tools, dump.path, chosen, progress=print)
    assert sample.run(shop, "SELECT count(*) FROM public.legacy_glacier_archives_report") == [(2,)]
    assert sample.run(shop, "SELECT count(*) FROM public.events") == [(0,)]
    assert sample.run(shop, "SELECT count(*) FROM public.extras") == [(50,)]


def test_a_view_over_an_excluded_table_that_stays_is_restored(sample: SampleServer, tmp_path: Path) -> None:
    shop = sample.new("CREATE VIEW public.report AS SELECT line FROM public.legacy_glacier_archives_report")
    dump = dump_to_path(shop, sample.tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    sample.run(shop, "DROP VIEW public.report; UPDATE public.legacy_glacier_archives_report SET line = 'newer'")
    chosen = Selection(exclude_tables=frozenset({("public", "legacy_glacier_archives_report")}))
    restore_in_transaction(shop, sample.tools, dump.path, chosen, progress=print)
    assert sample.run(shop, "SELECT line FROM public.report") == [("newer",)]


def test_another_cluster_without_the_roles_takes_everything_but_owners(
    sample: SampleServer, elsewhere: EmbeddedPostgres, tmp_path: Path
) -> None:
    shop = sample.new("DROP POLICY own ON public.customers")
    dump = dump_to_path(shop, sample.tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    target = elsewhere.create_database("without_roles")
    options = PgRestoreOptions(owner=Keep.DROP, privileges=Keep.DROP)
    restore_in_transaction(target, sample.tools, dump.path, Selection(), options, progress=print)
    sample.run(shop, "DROP USER MAPPING FOR sample_owner SERVER far_server")  # a privilege, too
    flags = ("--no-owner", "--no-privileges")
    assert sample.everything(target, *flags) == sample.everything(shop, *flags)


def test_a_database_owner_without_superuser_rights_restores_its_own(sample: SampleServer, tmp_path: Path) -> None:
    sample.postgres.create_role("plain", password="plain")
    sample.postgres.create_database("plain", owner="plain")
    sample.run(
        sample.postgres.server("plain"),
        "CREATE SCHEMA types; COMMENT ON SCHEMA types IS 'not of plain'; GRANT USAGE ON SCHEMA types TO plain;"
        "CREATE EXTENSION citext SCHEMA types; CREATE SCHEMA x AUTHORIZATION plain;"
        "CREATE FUNCTION types.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "ALTER EXTENSION citext ADD FUNCTION types.watch();"
        "CREATE EVENT TRIGGER of_the_host ON sql_drop EXECUTE FUNCTION types.watch();"
        "COMMENT ON EVENT TRIGGER of_the_host IS 'keep out'",
    )
    server = sample.postgres.server("plain", user="plain", password="plain")
    with server.connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE notes (id serial PRIMARY KEY, body types.citext)")
        connection.execute("INSERT INTO notes (body) VALUES ('one')")
        connection.execute("CREATE TABLE x.y AS SELECT 1 AS z")
    dump = dump_to_path(server, sample.tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    before = sample.everything(server)
    sample.run(server, "DROP TABLE notes; DROP SCHEMA x CASCADE")
    done = restore_in_transaction(server, sample.tools, dump.path, Selection(), progress=print)
    assert sample.everything(server) == before
    assert done.warnings == ()


def test_rows_in_a_table_of_an_extension_come_back(sample: SampleServer, tmp_path: Path) -> None:
    shop = sample.new(
        "CREATE TABLE tools.settings (id integer PRIMARY KEY, built_in boolean)",
        "INSERT INTO tools.settings VALUES (1, true), (2, false)",
        "ALTER EXTENSION hstore ADD TABLE tools.settings",
        "UPDATE pg_extension SET extconfig = ARRAY['tools.settings'::regclass::oid], "
        "extcondition = ARRAY['WHERE NOT built_in'] WHERE extname = 'hstore'",
    )
    dump = dump_to_path(shop, sample.tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    sample.run(shop, "INSERT INTO tools.settings VALUES (3, false)")
    restore_in_transaction(shop, sample.tools, dump.path, Selection(), progress=print)
    assert sample.run(shop, "SELECT id FROM tools.settings ORDER BY id") == [(1,), (2,)]


def test_a_public_schema_that_was_dropped_is_made_again(sample: SampleServer, tmp_path: Path) -> None:
    shop = sample.new(empty=True)
    sample.run(shop, "CREATE TABLE public.t AS SELECT 1 AS n")
    dump = dump_to_path(shop, sample.tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    sample.run(shop, "DROP SCHEMA public CASCADE; CREATE SCHEMA other CREATE TABLE u (n integer)")
    restore_in_transaction(shop, sample.tools, dump.path, Selection(), progress=print)
    assert sample.run(shop, "SELECT n FROM public.t") == [(1,)]
    assert sample.run(shop, "SELECT to_regnamespace('other')") == [(None,)]


def test_a_latin1_database_keeps_its_names_and_rows(sample: SampleServer, tmp_path: Path) -> None:
    create = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
    for name in ("latin_one", "latin_two"):
        sample.postgres.execute(create.format(name))
    one, two = (sample.postgres.server(name) for name in ("latin_one", "latin_two"))
    sample.run(one, 'CREATE TABLE "Straße" ("Größe" text); INSERT INTO "Straße" VALUES (\'äöü\')')
    dump = dump_to_path(one, sample.tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    chosen = Selection(tables=frozenset({("public", "Straße")}))
    for selection in (chosen, chosen, Selection()):
        restore_in_transaction(two, sample.tools, dump.path, selection, progress=print)
        assert sample.run(two, 'SELECT "Größe" FROM "Straße"') == [("äöü",)]


@pytest.mark.parametrize(("encoding", "byte"), [("WIN1252", b"\x81"), ("ISO_8859_8", b"\xa1")])
def test_a_byte_that_is_no_character_of_its_encoding_comes_back(
    sample: SampleServer, tmp_path: Path, encoding: str, byte: bytes
) -> None:
    """A server takes it, and cannot say it in UTF-8."""
    name = f"holes_{encoding.lower()}"
    sample.postgres.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    server = sample.postgres.server(name)
    with server.connect(autocommit=True) as connection:
        connection.execute(f"SET client_encoding = '{encoding}'".encode())
        connection.execute(b"CREATE TABLE docs (t text); INSERT INTO docs VALUES ('a%bz')" % byte)
    dump = dump_to_path(server, sample.tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    sample.run(server, "DELETE FROM docs")
    restore_in_transaction(server, sample.tools, dump.path, Selection(), progress=print)
    assert sample.run(server, "SELECT t::bytea FROM docs") == [(b"a%bz" % byte,)]
