"""A restore rehearsed: what would be refused is found in an empty copy and on living rows, and nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from glacier_provider.errors import DatabaseRefused, DatabaseUnreachable
from glacier_provider.postgres import PgRestoreOptions, table_of_contents
from glacier_provider.postgres.dump.contents import read_contents, write_contents
from glacier_provider.postgres.restore.plan import plan_contents
from glacier_provider.postgres.restore.rehearsal import (
    SCRATCH,
    _Rehearsal,
    _session,
    rehearse_expressions,
    rehearse_schema,
    scratch_database,
)
from tests.integration.postgres.conftest import SampleServer
from tests.integration.postgres.test_what_stays import DOCS, LEFT_OUT, LOGINS, SUPERUSER, Library
from tests.integration.postgres.test_what_stays import everywhere as everywhere
from tests.integration.postgres.test_what_stays import library as library


def nothing() -> None:
    """Nobody is told."""


def stumbles(library: Library, by: str = "owner", **options: object) -> list[str]:
    toc = table_of_contents(library.dump(**options))
    return [str(one.failed) for one in rehearse_schema(library.of(by), toc, PgRestoreOptions(), tell=nothing)]


def scratch_databases(library: Library) -> list[object]:
    query = f"SELECT datname FROM pg_database WHERE starts_with(datname, '{SCRATCH}') ORDER BY oid"
    return library.run(query, by=SUPERUSER)


def test_a_schema_that_can_be_made_is_made_and_dropped(everywhere: Library) -> None:
    everywhere.run(*DOCS, "CREATE VIEW titles AS SELECT title FROM docs", "SELECT lo_from_bytea(4711, 'x')")
    assert stumbles(everywhere) == []
    assert scratch_databases(everywhere) == []


def test_the_whole_sample_is_rehearsed_without_a_complaint(sample: SampleServer, tmp_path: Path) -> None:
    from glacier_provider.postgres import PgDumpOptions, dump_to_path

    server = sample.new()
    dump = dump_to_path(server, sample.tools, PgDumpOptions(), tmp_path / "dump", progress=print)
    assert dump.contents is not None
    assert rehearse_schema(server, dump.contents, PgRestoreOptions(), tell=nothing) == ()


def test_what_cannot_be_made_is_named_with_what_needs_it(library: Library) -> None:
    library.run(*LOGINS)
    found = stumbles(library, exclude_tables=(("public", "sessions"),))
    assert any("VIEW public.open_sessions" in one and "does not exist" in one for one in found)
    assert any("VIEW public.twice: needs VIEW public.open_sessions" in one for one in found)
    assert any("logins_session_id_fkey" in one for one in found)


def test_what_a_superuser_made_is_refused_to_the_owner(library: Library) -> None:
    library.run("CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
    library.run("CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION public.watch()", by=SUPERUSER)
    assert ["EVENT TRIGGER watch" in one and "permission denied" in one for one in stumbles(library)] == [True]
    assert stumbles(library, SUPERUSER) == []


def test_a_scratch_database_that_a_dead_process_left_is_dropped_by_a_later_one(library: Library) -> None:
    left = f"{SCRATCH}{1:x}_0123456789ab"
    library.run(f"CREATE DATABASE {left}", f"COMMENT ON DATABASE {left} IS 'glacier_provider: a rehearsal'")
    library.run(f"CREATE DATABASE {SCRATCH}of_somebody_else")
    with scratch_database(library.owner) as one, scratch_database(library.owner) as other:
        # one that was just made has nobody in it, either
        assert scratch_databases(library) == [(f"{SCRATCH}of_somebody_else",), (one.dbname,), (other.dbname,)]
    library.run(f"DROP DATABASE {SCRATCH}of_somebody_else")
    assert scratch_databases(library) == []


def test_a_server_that_goes_away_says_nothing_about_the_dump(library: Library) -> None:
    library.run(*EXPRESSIONS)
    toc = table_of_contents(library.dump())

    def cut() -> None:
        library.run(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{library.role}' AND datname <> "
            f"'{library.role}' AND pid <> pg_backend_pid()",
            by=SUPERUSER,
        )

    with (  # noqa: PT012
        pytest.raises(DatabaseUnreachable),
        scratch_database(library.owner) as scratch,
        _session(scratch, toc, nothing) as session,
    ):
        cut()
        _Rehearsal(session, toc, PgRestoreOptions())._try_all([e for e in toc.entries if e.desc == "SCHEMA"])


def test_a_user_who_may_create_no_database_is_told_what_to_do(library: Library) -> None:
    library.run(f"ALTER ROLE {library.role} NOCREATEDB", by=SUPERUSER)
    with pytest.raises(DatabaseRefused, match=r"CREATEDB.*rehearsal\.postgres_conn_id"):
        stumbles(library)


EXPRESSIONS = (
    "CREATE SCHEMA tools",
    "CREATE FUNCTION tools.plain(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)'",
    "CREATE FUNCTION folded(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN plain($1); END'",
    "SET search_path = public, tools",
    "CREATE TABLE names (name text, folded text GENERATED ALWAYS AS (folded(name)) STORED, good int CHECK (good > 0))",
    "CREATE INDEX by_folded ON names (folded(name))",
    "INSERT INTO names (name, good) VALUES ('Ann', 1)",
)


def test_expressions_that_a_dump_breaks_are_found_on_living_rows(everywhere: Library) -> None:
    """They run by the search_path of the application, and a dump empties it."""
    everywhere.run(*EXPRESSIONS)
    count, failed = rehearse_expressions(everywhere.owner, frozenset(), tell=nothing)
    assert count == 3
    assert sorted(one.object for one in failed) == [
        "generated column folded of public.names",
        "index by_folded of public.names",
    ]
    assert all("plain" in one.said and "does not exist" in one.said for one in failed)
    assert stumbles(everywhere) == []  # an empty schema does not show it


def test_a_row_that_does_not_meet_its_check_any_more_is_found(library: Library) -> None:
    library.run(
        "CREATE FUNCTION good(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 0'",
        "CREATE TABLE t (n int CHECK (good(n)))",
        "INSERT INTO t VALUES (1)",
        "CREATE OR REPLACE FUNCTION good(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 5'",
    )
    _, failed = rehearse_expressions(library.owner, frozenset(), tell=nothing)
    assert ["check" in one.object and "does not meet it" in one.said for one in failed] == [True]
    assert rehearse_expressions(library.owner, frozenset({"public"}), tell=nothing) == (0, ())


def test_the_table_of_contents_survives_a_file_of_its_own(library: Library, tmp_path: Path) -> None:
    library.run(*DOCS, 'CREATE TABLE "Größe \\" (n int)')
    toc = table_of_contents(library.dump(**LEFT_OUT))
    write_contents(toc, tmp_path / "contents")
    assert read_contents(tmp_path / "contents") == toc
    kept = plan_contents(library.owner, toc, library.plan(library.dump()).selection, PgRestoreOptions()).kept
    assert kept


def test_locks_are_estimated_before_anything_is_begun(library: Library) -> None:
    library.run(*(f"CREATE TABLE t{n} (id serial PRIMARY KEY, a text)" for n in range(30)))
    plan = library.plan(library.dump())
    assert 30 * 15 < plan.locks < 30 * 40
    assert plan.fits_a_transaction
