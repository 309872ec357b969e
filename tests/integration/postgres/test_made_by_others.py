"""What the restoring user could drop and not make again: it stays, or the plan says who has to make it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.errors import DatabaseRefused, RestoreFailed
from glacier_provider.postgres import (
    PgDumpOptions,
    PgRestoreOptions,
    RestoredDatabase,
    dump_to_path,
    restore_by_swap,
    table_of_contents,
)
from glacier_provider.postgres.restore.rehearsal import rehearse_schema
from tests.integration.postgres.conftest import SampleServer
from tests.integration.postgres.test_what_stays import OWNER, SUPERUSER, Library
from tests.integration.postgres.test_what_stays import ends as ends
from tests.integration.postgres.test_what_stays import library as library
from tests.support.postgres import EmbeddedPostgres


def owners_dump(of: Library, path: Path) -> Any:
    """Dump as the owner: a superuser is shown more."""
    of.options = PgDumpOptions()
    return dump_to_path(of.owner, of.tools, of.options, path, progress=print)


def swapped(of: Library, dump: Path, by: str = OWNER) -> RestoredDatabase:
    return restore_by_swap(of.of(by), of.tools, dump, PgRestoreOptions(), mark="restore_1_1", jobs=2, progress=print)


def test_a_schema_in_a_database_of_the_administrator_stays_and_its_contents_come_back(ends: Library) -> None:
    role = ends.role
    ends.run(f"CREATE SCHEMA app AUTHORIZATION {role}", f"ALTER DATABASE {role} OWNER TO postgres", by=SUPERUSER)
    ends.run(
        "CREATE TYPE app.mood AS ENUM ('a')",
        "CREATE TABLE app.docs (id serial PRIMARY KEY, m app.mood)",
        "CREATE FUNCTION app.f(app.mood) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "INSERT INTO app.docs (m) VALUES ('a')",
        "GRANT USAGE ON SCHEMA app TO PUBLIC",
        "COMMENT ON SCHEMA app IS 'the application'",
    )
    before, dump = ends.everything(), ends.dump()
    ends.run("DELETE FROM app.docs", "CREATE TABLE app.later (n int)", "COMMENT ON SCHEMA app IS NULL")
    ends.restore(dump)
    assert ends.everything() == before
    ends.run("DROP SCHEMA app CASCADE")
    with pytest.raises(DatabaseRefused, match="SCHEMA app") as caught:
        ends.plan(dump)
    assert "GRANT CREATE ON DATABASE" in str(caught.value)


def test_an_extension_that_a_database_of_the_administrator_lacks_is_told_with_the_right_that_is_missing(
    library: Library,
) -> None:
    library.run("CREATE TABLE docs (id int)", "CREATE EXTENSION pg_trgm")
    dump = library.dump()
    library.run("DROP EXTENSION pg_trgm", f"ALTER DATABASE {library.role} OWNER TO postgres", by=SUPERUSER)
    with pytest.raises(DatabaseRefused, match=r'it lacks "EXTENSION pg_trgm".*GRANT CREATE ON DATABASE'):
        library.plan(dump)


def test_a_publication_in_a_database_of_the_administrator_stays_with_its_tables(ends: Library) -> None:
    ends.run("CREATE TABLE docs (id int)", "CREATE PUBLICATION pub FOR TABLE docs (id)")
    role = ends.role
    ends.run(f"ALTER DATABASE {role} OWNER TO postgres", f"GRANT CREATE ON SCHEMA public TO {role}", by=SUPERUSER)
    before, dump = ends.everything(), ends.dump()
    ends.restore(dump)
    assert ends.everything() == before


def test_default_privileges_of_others_in_a_schema_of_the_owner_stay(ends: Library) -> None:
    ends.run("CREATE SCHEMA app", "CREATE TABLE app.docs (id int)", "CREATE TYPE app.mood AS ENUM ('a')")
    ends.run("ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC", by=SUPERUSER)
    before, dump = ends.everything(), ends.dump()
    ends.run("CREATE TABLE app.later (n int)", "ALTER TYPE app.mood ADD VALUE 'b'")
    ends.restore(dump)
    assert ends.everything() == before


def test_functions_that_set_or_support_what_is_a_superusers_stay_or_are_told_by_the_plan(ends: Library) -> None:
    ends.run(
        "CREATE FUNCTION quiet() RETURNS int LANGUAGE sql SET log_statement = 'none' AS 'SELECT 1'",
        "CREATE FUNCTION planned(int) RETURNS boolean LANGUAGE sql IMMUTABLE SUPPORT textlike_support AS 'SELECT true'",
        f"ALTER FUNCTION quiet() OWNER TO {ends.role}; ALTER FUNCTION planned(int) OWNER TO {ends.role}",
        by=SUPERUSER,
    )
    ends.run("CREATE TABLE docs (id int DEFAULT quiet())")
    ends.run("CREATE FUNCTION mine() RETURNS int LANGUAGE sql SET work_mem = '5MB' AS 'SELECT 1'")
    before, dump = ends.everything(), ends.dump()
    ends.restore(dump)
    assert ends.everything() == before
    for refused in (lambda: ends.restore(dump, into=ends.empty()), lambda: swapped(ends, dump)):
        with pytest.raises(DatabaseRefused, match=r"superuser can make .*FUNCTION public\.") as caught:
            refused()
        assert all(name in str(caught.value) for name in ("quiet", "planned"))
        assert "mine" not in str(caught.value)


def test_a_cast_between_types_of_the_server_stays_or_is_told_before_anything_is_made(ends: Library) -> None:
    ends.run("CREATE CAST (varchar AS int) WITH INOUT AS ASSIGNMENT", by=SUPERUSER)
    ends.run("CREATE TABLE docs (id int)")
    dump = ends.dump()
    assert ("CAST", None, "CAST (character varying AS integer)") in ends.plan(dump).inventory.stays
    for refused in (lambda: ends.restore(dump, into=ends.empty()), lambda: swapped(ends, dump)):
        with pytest.raises(DatabaseRefused, match=r"superuser can make .*CAST \("):
            refused()


def test_a_mapping_whose_options_are_hidden_keeps_them_and_the_dump_says_so(ends: Library, tmp_path: Path) -> None:
    web, role = ends.another_role(), ends.role
    ends.run("CREATE FOREIGN DATA WRAPPER far", f"GRANT USAGE ON FOREIGN DATA WRAPPER far TO {role}", by=SUPERUSER)
    ends.run("CREATE SERVER s FOREIGN DATA WRAPPER far", "CREATE FOREIGN TABLE remote (id int) SERVER s")
    for whose in (web, role):
        ends.run(f"CREATE USER MAPPING FOR {whose} SERVER s OPTIONS (user 'x', password 'secret')")
    before = ends.everything()
    dump = owners_dump(ends, tmp_path / "dump")
    assert [f"{web} on s" in warning for warning in dump.warnings] == [True]
    stays = ends.plan(dump.path).inventory.stays
    ends.restore(dump.path)
    assert ends.everything() == before
    assert stays["USER MAPPING", None, f"USER MAPPING {web} SERVER s"] == "its options are hidden from this user"
    assert ("SERVER", None, "s") in stays


@pytest.mark.parametrize("user", [OWNER, SUPERUSER])
def test_privileges_on_a_schema_of_the_server_itself_stop_nothing_and_are_told(ends: Library, user: str) -> None:
    """To a user who may not grant them the server would only say a warning."""
    web = ends.another_role()
    ends.run("CREATE TABLE docs (id int); INSERT INTO docs VALUES (1)")
    ends.run(f"GRANT CREATE ON SCHEMA pg_catalog TO {web}", by=SUPERUSER)
    dump = ends.dump()
    rehearsed = rehearse_schema(ends.of(user), table_of_contents(dump), PgRestoreOptions(), tell=lambda: None)
    assert all(one.is_passed_over for one in rehearsed)
    assert ends.restore(dump, user).failed == ()
    done = swapped(ends, dump, user)
    assert {one["object"] for one in done.failed} == {one.failed.object for one in rehearsed}
    for one in done.failed:
        ends.run(one["statement"], by=SUPERUSER)
    assert ends.run(f"SELECT has_schema_privilege('{web}', 'pg_catalog', 'CREATE')") == [(True,)]


EXTENSION = """
CREATE SCHEMA own; CREATE TABLE own.config (id int);
GRANT USAGE ON SCHEMA own TO PUBLIC; GRANT SELECT ON own.config TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('own.config', '')
"""


@pytest.fixture
def extended(newer: SampleServer, tmp_path: Path) -> Iterator[Library]:
    """A database with an extension that makes its schema by itself, with a table whose rows a dump has.

    Its script is run as the first superuser, as those of managed services are.
    """
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as place:
        directory = Path(place) / "extension"
        directory.mkdir()
        (directory / "own_schema.control").write_text("default_version = '1'\nrelocatable = false\ntrusted = true\n")
        (directory / "own_schema--1.sql").write_text(EXTENSION)
        for each in (Path(place), directory, *directory.iterdir()):
            each.chmod(0o755)
        of = Library(newer, tmp_path)
        newer.postgres.execute(f"ALTER SYSTEM SET extension_control_path = '$system:{place}'")
        newer.postgres.execute("SELECT pg_reload_conf()")
        yield of
        newer.postgres.execute("ALTER SYSTEM RESET extension_control_path")
        newer.postgres.execute("SELECT pg_reload_conf()")


def test_an_extension_that_makes_its_schema_itself_is_made_with_its_rows(extended: Library) -> None:
    extended.run("CREATE EXTENSION own_schema", "CREATE TABLE own.mine (id int)", by=SUPERUSER)
    extended.run("INSERT INTO own.config VALUES (2); INSERT INTO own.mine VALUES (1)", by=SUPERUSER)
    dump = extended.dump()
    into = extended.at(extended.empty().dbname)
    extended.restore(dump, into=into)
    with closing(into.connect()) as connection:
        assert connection.execute("SELECT c.id, m.id FROM own.config c, own.mine m").fetchall() == [(2, 1)]


@pytest.mark.parametrize("how", ["in place", "anew", "swapped", "elsewhere"])
def test_rows_of_an_extension_that_its_user_may_not_change_stop_nothing_and_are_told(
    extended: Library, how: str, tmp_path: Path
) -> None:
    extended.run("CREATE EXTENSION own_schema", "CREATE TABLE docs (id int)", "INSERT INTO docs VALUES (1)")
    extended.run("INSERT INTO own.config VALUES (1), (2)", by=SUPERUSER)
    dump = owners_dump(extended, tmp_path / "dump").path
    extended.run("DELETE FROM docs")
    into = extended.empty() if how == "elsewhere" else extended.owner
    if how == "anew":
        extended.run("DROP EXTENSION own_schema")
    done = swapped(extended, dump) if how == "swapped" else extended.restore(dump, into=into)
    with closing(into.connect()) as connection:
        assert connection.execute("SELECT id FROM docs").fetchall() == [(1,)]
        (rows,) = connection.execute("SELECT count(*) FROM own.config").fetchone() or (None,)
    assert rows == (2 if how == "in place" else 0)
    told = [*done.warnings, *(one["object"] for one in done.failed)]
    assert any("TABLE DATA own.config" in one for one in told)


REMOTE = (
    "CREATE EXTENSION postgres_fdw",
    "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname 'postgres')",
    "CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (user 'postgres', password '{password}')",
    "CREATE FOREIGN TABLE remote (datname name) SERVER far "
    "OPTIONS (schema_name 'pg_catalog', table_name 'pg_database')",
    "CREATE MATERIALIZED VIEW counted AS SELECT count(1) AS n FROM remote; CREATE UNIQUE INDEX ON counted (n)",
    "CREATE MATERIALIZED VIEW more AS SELECT n FROM counted",
    "CREATE TABLE docs (id int); INSERT INTO docs VALUES (1)",
)


def test_a_materialized_view_whose_foreign_server_is_away_is_left_empty_and_listed(
    library: Library, private_server: EmbeddedPostgres
) -> None:
    named = {"port": private_server.port, "password": private_server.password}
    library.run(*(one.format(**named) for one in REMOTE), by=SUPERUSER)
    dump = library.dump()
    library.run("DELETE FROM docs", by=SUPERUSER)
    private_server.stop(immediately=True)
    done = library.restore(dump, SUPERUSER)
    assert library.run("SELECT id FROM docs", by=SUPERUSER) == [(1,)]
    listed = {one["object"]: one["statement"] for one in done.failed}
    assert list(listed) == [f"MATERIALIZED VIEW DATA public.{name}" for name in ("counted", "more")]
    with pytest.raises(RestoreFailed, match="could not connect to server") as caught:
        swapped(library, dump, SUPERUSER)
    assert "A foreign server that is read for it does not answer" in str(caught.value)
    private_server.start()
    library.run(*listed.values(), by=SUPERUSER)
    assert library.run("SELECT n > 0 FROM more", by=SUPERUSER) == [(True,)]
