"""A restore beside: the application's database is the old one, or the restored one, and never anything between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from glacier_provider.errors import ConfigurationError, DatabaseRefused, MissingRoles, NameTaken, RestoreFailed
from glacier_provider.postgres import (
    DumpFormat,
    Keep,
    PgDumpOptions,
    PgRestoreOptions,
    Server,
    check_swap,
    dump_to_path,
)
from glacier_provider.postgres.restore.outcome import RestoredDatabase
from glacier_provider.postgres.restore.swap import Swap, restore_by_swap
from tests.integration.postgres.conftest import SampleServer
from tests.support.postgres import EmbeddedPostgres

MARK = "restore_7_20260101000000"


def dumped(sample: SampleServer, server: Server, directory: Path, dump_format: DumpFormat = DumpFormat.CUSTOM) -> Path:
    options = PgDumpOptions(format=dump_format, jobs=2 if dump_format is DumpFormat.DIRECTORY else 1)
    return dump_to_path(server, sample.tools, options, directory / "a.dump", progress=lambda _line: None).path


def swapped(sample: SampleServer, server: Server, dump: Path, **options: Keep) -> RestoredDatabase:
    chosen = PgRestoreOptions(**options)  # type: ignore[arg-type]
    return restore_by_swap(server, sample.tools, dump, chosen, mark=MARK, jobs=2, progress=lambda _line: None)


def databases(sample: SampleServer, server: Server) -> set[str]:
    rows = sample.postgres.execute("SELECT datname FROM pg_database")
    return {str(name) for (name,) in rows if str(name).startswith(server.dbname)}


@pytest.mark.parametrize("dump_format", list(DumpFormat))
def test_the_database_is_as_it_was_dumped_and_the_later_one_is_kept(
    sample: SampleServer, tmp_path: Path, dump_format: DumpFormat
) -> None:
    server = sample.new()
    before = sample.everything(server)
    dump = dumped(sample, server, tmp_path, dump_format)
    sample.run(server, "DROP TABLE public.animals CASCADE; CREATE TABLE made_later ()")
    later = sample.everything(server)
    restored = swapped(sample, server, dump)
    assert sample.everything(server) == before
    previous = server.with_database(Swap(server.dbname, MARK).previous)
    assert sample.everything(previous) == later
    assert databases(sample, server) == {server.dbname, previous.dbname}
    assert (restored.analyzed, restored.warnings) == (True, ())


def test_sessions_of_the_application_are_ended_and_come_back_to_the_restored_database(
    sample: SampleServer, tmp_path: Path
) -> None:
    server = sample.new()
    dump = dumped(sample, server, tmp_path)
    sample.run(server, "CREATE TABLE made_later ()")
    with server.connect() as session:
        session.execute("SELECT FROM made_later")
        swapped(sample, server, dump)
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT FROM made_later")
    with pytest.raises(psycopg.errors.UndefinedTable), server.connect() as session:
        session.execute("SELECT FROM made_later")


def test_what_belongs_to_the_database_and_not_to_the_dump_stays(sample: SampleServer, tmp_path: Path) -> None:
    server = sample.new()
    dump = dumped(sample, server, tmp_path)
    name = f'"{server.dbname}"'
    for statement in (
        f"ALTER DATABASE {name} SET search_path TO \"$user\", public, 'it''s odd'",
        f"ALTER DATABASE {name} SET work_mem TO '17MB'",
        f"ALTER ROLE sample_owner IN DATABASE {name} SET statement_timeout TO '3s'",
        f"ALTER DATABASE {name} CONNECTION LIMIT 41",
        f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT, CREATE ON DATABASE {name} TO sample_owner WITH GRANT OPTION",
        f"COMMENT ON DATABASE {name} IS 'the library''s'",
    ):
        sample.postgres.execute(statement)
    told = (
        "SELECT datconnlimit, shobj_description(d.oid, 'pg_database'), encoding, datcollate,"
        " (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a),"
        " (SELECT array_agg(setrole::regrole::text || setconfig::text ORDER BY 1) FROM pg_db_role_setting"
        "   WHERE setdatabase = d.oid)"
        f" FROM pg_database d WHERE datname = '{server.dbname}'"
    )
    before = sample.postgres.execute(told)
    restored = swapped(sample, server, dump)
    assert sample.postgres.execute(told) == before
    assert restored.warnings == ()


def test_the_locale_is_that_of_the_old_database_and_not_that_of_the_template(
    sample: SampleServer, private_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    source = sample.new("CREATE TABLE rows (id integer)", empty=True)
    dump = dumped(sample, source, tmp_path)
    target = private_server.create_database("library")
    told = "SELECT datlocprovider, datlocale, datcollate, datctype FROM pg_database WHERE datname = 'library'"
    before = private_server.execute(told)
    private_server.execute(
        "UPDATE pg_database SET datlocprovider = 'b', datlocale = 'C.UTF-8' WHERE datname = 'template0'"
    )
    swapped(sample, target, dump, owner=Keep.DROP, privileges=Keep.DROP)
    assert private_server.execute(told) == before


def test_a_backslash_is_one_on_a_server_that_would_take_it_for_an_escape(
    sample: SampleServer, private_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    dump = dumped(sample, sample.new("CREATE TABLE rows (id integer)", empty=True), tmp_path)
    target = private_server.create_database("escapes")
    private_server.execute(r"COMMENT ON DATABASE escapes IS 'C:\new \\ it''s'")
    private_server.execute("ALTER DATABASE postgres SET standard_conforming_strings = off")
    told = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'escapes'"
    before = private_server.execute(told)
    swapped(sample, target, dump, owner=Keep.DROP, privileges=Keep.DROP)
    assert private_server.execute(told) == before
    assert before


def test_a_damaged_dump_changes_nothing_and_leaves_nothing(sample: SampleServer, tmp_path: Path) -> None:
    server = sample.new("CREATE TABLE rows AS SELECT n, md5(n::text) FROM generate_series(1, 200000) n")
    dump = dumped(sample, server, tmp_path)
    sample.run(server, "CREATE TABLE made_later ()")
    before = sample.everything(server)
    data = bytearray(dump.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = bytes(4096)
    dump.write_bytes(data)
    with pytest.raises(RestoreFailed, match="as it was"):
        swapped(sample, server, dump)
    assert sample.everything(server) == before
    assert databases(sample, server) == {server.dbname}


def test_what_a_dead_try_left_is_replaced(sample: SampleServer, tmp_path: Path) -> None:
    server = sample.new()
    before = sample.everything(server)
    dump = dumped(sample, server, tmp_path)
    swap = Swap(server.dbname, MARK)
    sample.postgres.execute(f'CREATE DATABASE "{swap.beside}"')
    sample.postgres.execute(f"COMMENT ON DATABASE \"{swap.beside}\" IS '{swap.comment()}'")
    sample.postgres.execute("CREATE TABLE half ()", swap.beside)
    swapped(sample, server, dump)
    assert sample.everything(server) == before


def test_an_empty_database_of_a_try_that_died_at_once_is_replaced(sample: SampleServer, tmp_path: Path) -> None:
    server = sample.new()
    before = sample.everything(server)
    dump = dumped(sample, server, tmp_path)
    sample.postgres.execute(f'CREATE DATABASE "{Swap(server.dbname, MARK).beside}"')
    swapped(sample, server, dump)
    assert sample.everything(server) == before


def test_another_database_of_that_name_is_not_touched(sample: SampleServer, tmp_path: Path) -> None:
    server = sample.new()
    dump = dumped(sample, server, tmp_path)
    beside = Swap(server.dbname, MARK).beside
    sample.postgres.execute(f'CREATE DATABASE "{beside}"')
    sample.postgres.execute("CREATE TABLE somebodys ()", beside)
    with pytest.raises(NameTaken):
        swapped(sample, server, dump)
    assert databases(sample, server) == {server.dbname, beside}


def test_a_swap_whose_end_was_not_noted_is_not_made_again(sample: SampleServer, tmp_path: Path) -> None:
    server = sample.new()
    dump = dumped(sample, server, tmp_path)
    swapped(sample, server, dump)
    sample.run(server, "CREATE TABLE made_since ()")
    there = databases(sample, server)
    swapped(sample, server, dump)
    assert sample.run(server, "SELECT count(*) FROM made_since") == [(0,)]
    assert databases(sample, server) == there


def test_a_database_that_holds_the_catalog_is_not_swapped(sample: SampleServer) -> None:
    server = sample.new()
    check_swap(server, catalog_schema="glacier_catalog")
    sample.run(server, "CREATE SCHEMA glacier_catalog CREATE TABLE catalog_version ()")
    with pytest.raises(ConfigurationError, match="holds the catalog too"):
        check_swap(server, catalog_schema="glacier_catalog")


def test_a_user_who_cannot_create_databases_is_told_so_before_anything_is_made(sample: SampleServer) -> None:
    server = sample.new()
    sample.postgres.execute("CREATE ROLE no_creator LOGIN PASSWORD 'plain'")
    with pytest.raises(DatabaseRefused, match="cannot create and rename"):
        check_swap(replace(server, user="no_creator", password="plain"), catalog_schema="glacier_catalog")


def test_a_role_that_the_cluster_lacks_is_named_and_nothing_is_left(
    sample: SampleServer, elsewhere: EmbeddedPostgres, tmp_path: Path
) -> None:
    dump = dumped(sample, sample.new(), tmp_path)
    target = elsewhere.create_database("swapped_elsewhere")
    with pytest.raises(MissingRoles, match="sample_owner") as refused:
        swapped(sample, target, dump)
    assert "owner: drop" in str(refused.value)
    assert elsewhere.execute("SELECT count(*) FROM pg_database WHERE datname ~ 'swapped_elsewhere'") == [(1,)]


def test_owners_and_privileges_can_be_left_out(
    sample: SampleServer, elsewhere: EmbeddedPostgres, tmp_path: Path
) -> None:
    source = sample.new("CREATE TABLE owned (id integer)", "ALTER TABLE owned OWNER TO sample_owner", empty=True)
    dump = dumped(sample, source, tmp_path)
    target = elsewhere.create_database("swapped_without_owners")
    swapped(sample, target, dump, owner=Keep.DROP, privileges=Keep.DROP)
    assert elsewhere.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'owned'", target.dbname) == [
        (target.user,)
    ]
