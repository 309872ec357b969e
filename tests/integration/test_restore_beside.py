"""A restore by swap through the pipelines, as the owner that the guide asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from glacier_provider.cli import main
from glacier_provider.errors import IllegalMove, RestoredInPart
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
