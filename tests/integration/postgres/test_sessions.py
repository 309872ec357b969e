"""What somebody set for a role or a database changes nothing of what is done; every byte comes back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Database
from glacier_provider.errors import CatalogError, DatabaseRefused
from glacier_provider.postgres import (
    DumpFormat,
    PgDumpOptions,
    PgRestoreOptions,
    Selection,
    Server,
    check_swap,
    dump_to_path,
    find_tools,
    restore_by_swap,
    restore_in_transaction,
)
from glacier_provider.postgres.restore.rehearsal import rehearse_schema
from glacier_provider.postgres.tools.server import require_primary
from tests.integration.postgres.conftest import EACH
from tests.support.postgres import EmbeddedPostgres

ODD = {
    "array_nulls": "off",
    "bytea_output": "escape",
    "client_encoding": "SQL_ASCII",
    "datestyle": "'German'",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "exit_on_error": "on",
    "extra_float_digits": "-10",
    "gin_fuzzy_search_limit": "1",
    "idle_in_transaction_session_timeout": "'250ms'",
    "idle_session_timeout": "'250ms'",
    "intervalstyle": "sql_standard",
    "lock_timeout": "'1ms'",
    "quote_all_identifiers": "on",
    "search_path": "traps, pg_catalog",
    "standard_conforming_strings": "off",
    "statement_timeout": "'200ms'",
    "timezone": "'Asia/Kolkata'",
    "transform_null_equals": "on",
}
OTHERS = {"datestyle": "'SQL, DMY'", "client_encoding": "LATIN1", "search_path": "nowhere"}
ROWS = """
    CREATE SCHEMA traps;
    CREATE FUNCTION traps.pg_export_snapshot() RETURNS text LANGUAGE sql AS $$SELECT 'caught'$$;
    CREATE FUNCTION traps.quote_ident(text) RETURNS text LANGUAGE sql AS $$SELECT 'caught'$$;
    CREATE TABLE public.notes
      (id serial PRIMARY KEY, at timestamptz, words text[], body text, raw bytea, took interval);
    INSERT INTO public.notes (at, words, body, raw, took) VALUES
      ('2026-02-03 04:05:06+00', ARRAY['a', NULL], 'a\\b', '\\x00ff', '1 day 2:03');
    CREATE TABLE traps.notes AS SELECT 'of the traps' AS body;
"""


@pytest.fixture(scope="module", params=EACH)
def postgres(request: pytest.FixtureRequest) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(package=request.param) as server:
        server.create_role("owner", password="of-the-owner", attributes="CREATEDB NOSUPERUSER")
        server.execute("GRANT CREATE ON TABLESPACE pg_default TO owner")
        yield server


def odd_database(postgres: EmbeddedPostgres, name: str, settings: dict[str, str], *, of: str) -> Server:
    """Return a new database of `owner` whose role or database has these settings."""
    postgres.create_database(name, owner="owner")
    postgres.execute(ROWS, name)
    postgres.execute(
        "ALTER TABLE public.notes OWNER TO owner; ALTER SCHEMA traps OWNER TO owner;"
        "ALTER TABLE traps.notes OWNER TO owner; ALTER FUNCTION traps.pg_export_snapshot() OWNER TO owner;"
        "ALTER FUNCTION traps.quote_ident(text) OWNER TO owner",
        name,
    )
    for setting, value in settings.items():
        whose = f'DATABASE "{name}"' if of == "database" else f'ROLE owner IN DATABASE "{name}"'
        postgres.execute(f"ALTER {whose} SET {setting} TO {value}")
    return postgres.server(name, user="owner", password="of-the-owner")


CONTENT = "SELECT at AT TIME ZONE 'UTC', words, body, raw, took::text FROM public.notes"


@pytest.mark.parametrize("settings", [ODD, OTHERS], ids=["many", "others"])
@pytest.mark.parametrize("of", ["database", "role"])
@pytest.mark.parametrize("form", [DumpFormat.DIRECTORY, DumpFormat.CUSTOM])
def test_settings_of_a_role_or_a_database_change_no_dump_and_no_restore(
    postgres: EmbeddedPostgres, settings: dict[str, str], of: str, form: DumpFormat, tmp_path: Path
) -> None:
    server = odd_database(postgres, f"odd_{of}_{form}_{len(settings)}", settings, of=of)
    tools = find_tools(postgres.bin_directory)
    with server.connect(autocommit=True) as connection:
        before = connection.execute(CONTENT).fetchall()
    names: list[str] = []
    options = PgDumpOptions(
        format=form,
        jobs=2 if form is DumpFormat.DIRECTORY else 1,
        references_query="SELECT body FROM notes, pg_sleep(0.4)"
        if settings is ODD
        else "SELECT body FROM public.notes",
    )

    dump = dump_to_path(server, tools, options, tmp_path / "d", progress=print, references=names.extend)

    assert names == (["of the traps"] if settings is ODD else ["a\\b"])
    assert isinstance(dump.snapshot_at, datetime)
    with server.connect(autocommit=True) as connection:
        connection.execute("DELETE FROM public.notes")
        assert connection.execute("SELECT now()").fetchone()
    restore_in_transaction(server, tools, dump.path, Selection(), progress=print)
    with server.connect(autocommit=True) as connection:
        assert connection.execute(CONTENT).fetchall() == before


#: They fit how we call the server's own better than these do, whatever the search_path: by the types of the arguments.
FITTING = ("format(text, text)", "format(text, name)", "starts_with(name, text)", "shobj_description(oid, text)")
FITTING += ("has_database_privilege(oid, name)", "pg_database_size(text)", "to_jsonb(name)")


def test_a_function_that_fits_better_than_the_servers_own_is_never_called(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Who planted it would have it run by whoever backs up; with all of these settings the database is swapped, too."""
    settings = {**ODD, "search_path": "traps, public"}
    server = odd_database(postgres, "odd_trapped", settings, of="database")
    caught = "RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE ''caught''; END'"
    for one in FITTING:
        postgres.execute(
            f"CREATE FUNCTION traps.{one} {caught}; ALTER FUNCTION traps.{one} OWNER TO owner", "odd_trapped"
        )
    tools = find_tools(postgres.bin_directory)
    check_swap(server, catalog_schema="glacier_catalog")
    dump = dump_to_path(server, tools, PgDumpOptions(), tmp_path / "d", progress=print)
    assert dump.contents is not None
    assert rehearse_schema(server, dump.contents, PgRestoreOptions(), tell=lambda: None) == ()
    restore_in_transaction(server, tools, dump.path, Selection(), progress=print)
    restore_by_swap(server, tools, dump.path, PgRestoreOptions(), mark="odd", jobs=2, progress=print)
    assert postgres.execute("SELECT body FROM public.notes", "odd_trapped") == [("a\\b",)]


def test_a_swap_outlasts_the_timeouts_of_its_role(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    server = odd_database(postgres, "odd_swap", {}, of="role")
    tools = find_tools(postgres.bin_directory)
    dump = dump_to_path(server, tools, PgDumpOptions(), tmp_path / "d", progress=print)
    for setting in ("statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout"):
        postgres.execute(f"ALTER ROLE owner SET {setting} TO '150ms'")
    postgres.execute("ALTER ROLE owner SET datestyle TO 'German'")
    postgres.execute("ALTER ROLE owner SET default_transaction_read_only TO on")
    try:
        restore_by_swap(server, tools, dump.path, PgRestoreOptions(), mark="odd", jobs=2, progress=print)
    finally:
        postgres.execute("ALTER ROLE owner RESET ALL")
    assert postgres.execute("SELECT body FROM public.notes", "odd_swap") == [("a\\b",)]


@pytest.mark.parametrize("of", ["database", "role"])
def test_settings_of_a_role_or_a_database_change_no_catalog(postgres: EmbeddedPostgres, of: str) -> None:
    server = odd_database(postgres, f"catalog_{of}", {**ODD, "statement_timeout": "'5s'"}, of=of)
    with Catalog(server.connect, schema="glacier_catalog", application="library") as catalog:
        catalog.migrate()
        assert catalog.check() is None


def test_triggers_and_commits_are_not_switched_off_for_a_role(postgres: EmbeddedPostgres) -> None:
    server = odd_database(
        postgres, "switched_off", {"session_replication_role": "replica", "synchronous_commit": "off"}, of="database"
    )
    with pytest.raises(CatalogError, match="triggers off") as caught:
        Database(server.connect, "glacier_catalog").connection()
    assert "RESET session_replication_role" in caught.value.hint
    with postgres.server("switched_off").connect() as connection:
        assert connection.execute("SHOW session_replication_role").fetchone() == ("origin",)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
    with postgres.server().connect() as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)  # as the server was configured


def test_a_session_keeps_an_idle_connection_alive(postgres: EmbeddedPostgres) -> None:
    with postgres.server().connect() as connection:
        given = connection.info.get_parameters()
    assert (given["keepalives_idle"], given["keepalives_interval"], given["keepalives_count"]) == ("60", "15", "6")


def test_what_differs_alone_is_asked_for_in_the_startup_packet_of_a_tool(postgres: EmbeddedPostgres) -> None:
    postgres.create_database("plain_one", owner="owner")
    server = postgres.server("plain_one", user="owner", password="of-the-owner")
    with server.connect() as connection:
        assert server.for_tools(connection).variables == {"PGCLIENTENCODING": "UTF8"}
    postgres.execute("ALTER DATABASE plain_one SET idle_session_timeout TO '1s'")
    postgres.execute("ALTER DATABASE plain_one SET default_transaction_isolation TO serializable")
    with server.connect() as connection:
        assert server.for_tools(connection).environment()["PGOPTIONS"] == (
            "-c default_transaction_isolation=read\\ committed -c idle_session_timeout=0"
        )


LATIN1 = b"caf\xe9"


def a_database_without_encoding(postgres: EmbeddedPostgres, name: str, **options: str) -> Server:
    postgres.execute(f"CREATE DATABASE {name} OWNER owner TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    return postgres.server(name, user="owner", password="of-the-owner")


@pytest.mark.parametrize("form", [DumpFormat.DIRECTORY, DumpFormat.CUSTOM])
def test_a_byte_of_a_database_without_encoding_comes_back(
    postgres: EmbeddedPostgres, form: DumpFormat, tmp_path: Path
) -> None:
    server = a_database_without_encoding(postgres, f"ascii_{form}")
    tools = find_tools(postgres.bin_directory)
    with server.connect(autocommit=True) as connection:
        connection.execute(b"CREATE TABLE menu (name text, raw bytea); COMMENT ON TABLE menu IS 'caf\xe9'")
        connection.execute(b'CREATE TABLE "caf\xe9" (n int)')
        connection.execute(b"INSERT INTO menu VALUES ('caf\xe9', 'x'), ('\xc3\xa9', 'y'), (NULL, 'z')")
    names: list[str] = []
    options = PgDumpOptions(format=form, references_query="SELECT name AS größe FROM menu ORDER BY raw")

    dump = dump_to_path(server, tools, options, tmp_path / "d", progress=print, references=names.extend)
    with server.connect(autocommit=True) as connection:
        connection.execute("DELETE FROM menu")
    restore_in_transaction(server, tools, dump.path, Selection(), progress=print)

    assert [name.encode("utf-8", "surrogateescape") for name in names] == [LATIN1, b"\xc3\xa9"]
    with server.connect(autocommit=True) as connection:
        rows = connection.execute("SELECT name::bytea, name FROM menu ORDER BY raw").fetchall()
        assert rows == [(LATIN1, "caf\udce9"), (b"\xc3\xa9", "é"), (None, None)]
        assert connection.execute("SELECT %s::text::bytea", ("caf\udce9é",)).fetchone() == (LATIN1 + b"\xc3\xa9",)
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 2200"
        ).fetchall()
    assert sorted(tables) == [("caf\udce9",), ("menu",)]


def test_a_database_without_encoding_is_swapped(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    server = a_database_without_encoding(postgres, "ascii_swap")
    tools = find_tools(postgres.bin_directory)
    with server.connect(autocommit=True) as connection:
        connection.execute(b"CREATE TABLE menu (name text); INSERT INTO menu VALUES ('caf\xe9')")
    dump = dump_to_path(server, tools, PgDumpOptions(), tmp_path / "d", progress=print)
    restore_by_swap(server, tools, dump.path, PgRestoreOptions(), mark="ascii", jobs=2, progress=print)
    with server.connect() as connection:
        assert connection.execute("SELECT name::bytea FROM menu").fetchall() == [(LATIN1,)]


def test_a_catalog_without_encoding_can_be_made(postgres: EmbeddedPostgres) -> None:
    server = a_database_without_encoding(postgres, "ascii_catalog")
    with Catalog(server.connect, schema="glacier_catalog", application="library") as catalog:
        catalog.migrate()
        assert catalog.check() is None


def test_a_primary_is_no_standby(postgres: EmbeddedPostgres) -> None:
    with postgres.server().connect() as connection:
        require_primary(connection, postgres.server())
    assert DatabaseRefused.retryable is False
