"""A restore by swap through the pipelines, as the owner that the guide asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from glacier_provider.cli import main
from glacier_provider.errors import IllegalMove, MissingRoles, RestoredInPart
from glacier_provider.pipelines.rebuild import rebuild_catalog
from tests.conftest import a_catalog
from tests.support.application import ApplicationUnderTest, a_small_dms, titles
from tests.support.postgres import EmbeddedPostgres

Make = Callable[..., ApplicationUnderTest]


@pytest.fixture
def beside(make_application: Make, postgres: EmbeddedPostgres) -> ApplicationUnderTest:
    """A small document management of a role that is no superuser, restored by swap."""
    app = make_application()
    app.configure(restore=replace(app.application.restore, mode="swap", on_error="list"))
    name = f"owner_of_{app.server.dbname}"
    postgres.create_role(name, password="plain", attributes="CREATEDB")
    postgres.execute(f"ALTER DATABASE {app.server.dbname} OWNER TO {name}")
    app.server = replace(app.server, user=name, password="plain")
    return a_small_dms(app)


def test_a_restore_by_swap_brings_rows_and_files(beside: ApplicationUnderTest) -> None:
    backup_id = beside.back_up()
    before = titles(beside)
    beside.sql("DELETE FROM tags")
    beside.sql("DELETE FROM documents")
    figures = beside.restore(backup_id)
    assert titles(beside) == before
    assert figures["outcome"]["database"]["warnings"] == []


def unreplayable(app: ApplicationUnderTest) -> None:
    app.sql(
        "CREATE FUNCTION known(integer) RETURNS boolean LANGUAGE sql AS 'SELECT $1 <= (SELECT count(*) FROM documents)'"
    )
    app.sql("CREATE TABLE visits (document integer CHECK (known(document)))")
    app.sql("INSERT INTO visits VALUES (1)")


def test_what_fails_is_recorded_and_the_rest_is_swapped_once_a_person_accepts(beside: ApplicationUnderTest) -> None:
    unreplayable(beside)
    backup_id = beside.back_up()
    before = titles(beside)
    beside.sql("DELETE FROM tags")
    planned = beside.plan(backup_id)
    beside.bring(planned)
    restore_id = planned["restore_id"]
    with pytest.raises(IllegalMove):
        beside.catalog.restores.accept_errors(restore_id)
    with pytest.raises(RestoredInPart, match=r"TABLE DATA public\.visits") as asked:
        beside.finish(restore_id)
    assert f"glacier-backup accept-errors {restore_id}" in asked.value.hint
    told = beside.catalog.restores.get(restore_id)["outcome"]["beside"]
    assert (told["failed_count"], told["failed"][0]["object"]) == (1, "TABLE DATA public.visits")
    assert beside.sql("SELECT count(*) FROM tags") == [(0,)]
    with pytest.raises(RestoredInPart):
        beside.finish(restore_id)
    assert beside.catalog.restores.accept_errors(restore_id) == 1
    figures = beside.finish(restore_id)
    assert titles(beside) == before
    assert beside.sql("SELECT (SELECT count(*) FROM tags), (SELECT count(*) FROM visits)") == [(3, 0)]
    assert figures["outcome"]["database"]["failed"][0]["said"].startswith('relation "documents" does not exist')
    with pytest.raises(IllegalMove):
        beside.catalog.restores.accept_errors(restore_id)


def test_errors_are_accepted_beforehand_by_a_param(beside: ApplicationUnderTest) -> None:
    unreplayable(beside)
    figures = beside.restore(beside.back_up(), accept_errors=True)
    assert figures["outcome"]["database"]["failed_count"] == 1


def test_a_person_accepts_by_the_command_that_the_error_names(
    beside: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unreplayable(beside)
    planned = beside.plan(beside.back_up())
    beside.bring(planned)
    with pytest.raises(RestoredInPart) as asked:
        beside.finish(planned["restore_id"])
    command = asked.value.hint.partition("glacier-backup ")[2].partition(",")[0].split()
    where = beside.catalog_server
    uri = f"postgresql://{where.user}:{where.password}@{where.host}:{where.port}/{where.dbname}"
    monkeypatch.setenv("GLACIER_CATALOG_URI", uri)
    assert main(command) == 0
    assert "1 failed statement accepted" in capsys.readouterr().out
    beside.finish(planned["restore_id"])


def test_another_mode_drops_what_stands_beside(beside: ApplicationUnderTest, postgres: EmbeddedPostgres) -> None:
    unreplayable(beside)
    planned = beside.plan(beside.back_up())
    beside.bring(planned)
    with pytest.raises(RestoredInPart):
        beside.finish(planned["restore_id"])
    beside.sql("DROP TABLE visits")
    beside.configure(
        restore=replace(
            beside.application.restore, mode="transaction", on_error="stop", exclude_tables=("public.visits",)
        )
    )
    beside.finish(planned["restore_id"])
    names = postgres.execute(f"SELECT datname FROM pg_database WHERE datname ~ '^{beside.server.dbname}'")
    assert names == [(beside.server.dbname,)]


# --- what belongs to the database ----------------------------------------------------------------------------------

TOLD = """
SELECT datconnlimit, shobj_description(d.oid, 'pg_database'),
       (SELECT array_agg(coalesce(a.grantee, 0)::text || a.privilege_type ORDER BY a::text) FROM aclexplode(datacl) a
         WHERE a.grantee <> datdba),
       (SELECT array_agg((setrole <> 0)::text || setconfig::text ORDER BY setrole) FROM pg_db_role_setting
         WHERE setdatabase = d.oid)
  FROM pg_database d WHERE datname = current_database()"""


def with_properties(app: ApplicationUnderTest) -> list[tuple[object, ...]]:
    name, owner = app.server.dbname, app.server.user
    for statement in (
        f"ALTER DATABASE {name} SET search_path TO \"$user\", public, 'it''s odd'",
        f"ALTER DATABASE {name} SET work_mem TO '17MB'",
        f"ALTER ROLE {owner} IN DATABASE {name} SET DateStyle TO 'German'",
        f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {name} TO pg_monitor",
        f"ALTER DATABASE {name} CONNECTION LIMIT 41",
        f"COMMENT ON DATABASE {name} IS 'the library''s; all of C:\\new'",
    ):
        app.sql(statement)
    return app.sql(TOLD)


@pytest.mark.parametrize("mode", ["transaction", "swap"])
def test_an_empty_database_gets_what_belonged_to_the_dumped_one(
    beside: ApplicationUnderTest, postgres: EmbeddedPostgres, mode: str
) -> None:
    before = with_properties(beside)
    backup_id = beside.back_up()
    name = f"{beside.server.dbname}_new"
    postgres.create_database(name, beside.server.user)
    beside.server = replace(beside.server, dbname=name)
    beside.configure(restore=replace(beside.application.restore, mode=mode, on_error="stop"))
    figures = beside.restore(backup_id)
    assert figures["outcome"]["database"]["warnings"] == []
    assert beside.sql(TOLD) == before
    for made in postgres.execute(f"SELECT datname FROM pg_database WHERE datname ~ '^{name}'"):
        postgres.drop_database(made[0])


@pytest.mark.parametrize("mode", ["transaction", "swap"])
@pytest.mark.parametrize("wanted", ["auto", "dump"])
def test_the_applications_own_database_keeps_what_it_has_today_unless_told_otherwise(
    beside: ApplicationUnderTest, mode: str, wanted: str
) -> None:
    before = with_properties(beside)
    backup_id = beside.back_up()
    beside.configure(
        restore=replace(beside.application.restore, mode=mode, on_error="stop", database_properties=wanted)
    )
    beside.sql(f"ALTER DATABASE {beside.server.dbname} SET work_mem TO '18MB'")
    beside.sql(f"COMMENT ON DATABASE {beside.server.dbname} IS 'another'")
    today = beside.sql(TOLD)
    beside.restore(backup_id)
    assert beside.sql(TOLD) == (before if wanted == "dump" else today)


def test_what_may_not_be_set_is_told_with_its_statement(
    beside: ApplicationUnderTest, postgres: EmbeddedPostgres
) -> None:
    name = beside.server.dbname
    postgres.execute(f"ALTER DATABASE {name} SET log_statement TO 'all'")
    postgres.execute(f"ALTER DATABASE {name} SET app.jwt_key TO 'not for a log'")
    backup_id = beside.back_up()
    postgres.execute(f"ALTER DATABASE {name} RESET ALL")
    beside.configure(restore=replace(beside.application.restore, mode="transaction", on_error="stop"))
    beside.configure(restore=replace(beside.application.restore, database_properties="dump"))
    level, key = sorted(beside.restore(backup_id)["outcome"]["database"]["warnings"], reverse=True)
    assert f'ALTER DATABASE "{name}" SET "log_statement" TO' in level
    assert "permission denied" in level
    assert f'ALTER DATABASE "{name}" SET "app"."jwt_key" TO ***' in key
    assert "not for a log" not in key


# --- roles ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def empty_server() -> Iterator[EmbeddedPostgres]:
    """A server that has none of the application's roles."""
    with EmbeddedPostgres() as server:
        yield server


def with_roles(app: ApplicationUnderTest, postgres: EmbeddedPostgres) -> str:
    """Give the application a reader, a group and who logs in as its member; return the names' beginning."""
    name = app.server.dbname
    for statement in (
        f"CREATE ROLE {name}_readers NOLOGIN",
        f"CREATE ROLE {name}_web LOGIN PASSWORD 'never recorded' CONNECTION LIMIT 7 IN ROLE {name}_readers",
        f"ALTER ROLE {name}_web SET search_path TO public, 'Odd, one'",
        f"ALTER ROLE {name}_web SET app.jwt_key TO 'not recorded either'",
        f"CREATE ROLE {name}_chief SUPERUSER",
        f"GRANT pg_monitor TO {name}_readers",
        f"COMMENT ON ROLE {name}_web IS 'the site''s own'",
        f"GRANT SET ON PARAMETER log_min_duration_statement TO {name}_web WITH GRANT OPTION",
        f"CREATE ROLE {name}_stranger LOGIN",
    ):
        postgres.execute(statement)
    app.sql(f"GRANT SELECT ON documents TO {name}_readers")
    app.sql(f"GRANT SELECT ON documents TO {name}_chief")
    return name


ROLES = """
SELECT rolname, rolcanlogin, rolconnlimit, rolsuper, rolconfig, shobj_description(oid, 'pg_authid')
  FROM pg_roles WHERE rolname ~ %s ORDER BY 1"""


@pytest.mark.parametrize("mode", ["transaction", "swap"])
@pytest.mark.parametrize("user", ["superuser", "owner"])
def test_an_empty_server_restores_without_a_hand(
    beside: ApplicationUnderTest, postgres: EmbeddedPostgres, empty_server: EmbeddedPostgres, mode: str, user: str
) -> None:
    name = with_roles(beside, postgres)
    backup_id = beside.back_up()
    assert "recorded" not in str(beside.catalog.backups.get(backup_id)["report"]["roles"])
    before = titles(beside)
    beside.configure(restore=replace(beside.application.restore, mode=mode, on_error="stop"))
    there = f"new_{name}" if user == "superuser" else str(beside.server.user)
    if user == "owner":
        empty_server.create_role(there, password="plain", attributes="CREATEDB CREATEROLE")
    empty_server.create_database(there, there if user == "owner" else None)
    beside.server = (
        empty_server.server(there, user=there, password="plain") if user == "owner" else empty_server.server(there)
    )
    planned = beside.plan(backup_id)
    beside.bring(planned)
    with pytest.raises(MissingRoles):
        beside.finish(planned["restore_id"])
    beside.configure(restore=replace(beside.application.restore, roles="create"))
    warnings = beside.finish(planned["restore_id"])["outcome"]["database"]["warnings"]
    assert titles(beside) == before
    made = {row[0].removeprefix(f"{name}_"): row[1:] for row in empty_server.execute(ROLES, "postgres", (f"^{name}_",))}
    assert made == {
        "readers": (False, -1, False, None, None),
        "web": (True, 7, False, ['search_path=public, "Odd, one"'], "the site's own"),
        "chief": (False, -1, False, None, None),
    }
    assert [line for line in warnings if f'ALTER ROLE "{name}_chief" SUPERUSER' in line]
    assert [line for line in warnings if "pg_monitor" in line]
    set_by = f'GRANT SET ON PARAMETER "log_min_duration_statement" TO "{name}_web" WITH GRANT OPTION;'
    assert [line for line in warnings if line.endswith(set_by)]
    assert empty_server.execute(
        "SELECT pg_has_role(%s, %s, 'USAGE')", "postgres", (f"{name}_web", f"{name}_readers")
    ) == [(True,)]


def test_the_command_prints_what_an_empty_server_takes_and_a_rebuilt_catalog_knows_it_too(
    beside: ApplicationUnderTest,
    postgres: EmbeddedPostgres,
    empty_server: EmbeddedPostgres,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = with_roles(beside, postgres)
    backup_id = beside.back_up()
    recorded = beside.catalog.backups.get(backup_id)["report"]["roles"]
    where = beside.catalog_server
    uri = f"postgresql://{where.user}:{where.password}@{where.host}:{where.port}/{where.dbname}"
    monkeypatch.setenv("GLACIER_CATALOG_URI", uri)
    assert main(["show", str(backup_id), "--roles"]) == 0
    printed = capsys.readouterr().out
    assert "recorded either" not in printed
    empty_server.execute(printed)
    assert len(empty_server.execute(ROLES, "postgres", (f"^{name}_",))) == 3
    beside.catalog.close()
    with postgres.server(where.dbname).connect(autocommit=True) as connection:
        connection.execute("DROP SCHEMA glacier_catalog CASCADE")
    with a_catalog(where) as catalog:
        rebuild_catalog(beside.application, catalog=catalog, stores=beside.stores)
        assert catalog.backups.get(backup_id)["report"]["roles"] == recorded
