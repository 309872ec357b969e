"""Before a restore replaces the living database that is dumped, and can be brought back by one command."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from glacier_provider import cli
from glacier_provider.errors import ChecksFailed, FileMissing, IllegalMove, OutOfSpace
from glacier_provider.pipelines import restore
from glacier_provider.pipelines.restore.safety import dumps_to_undo
from glacier_provider.postgres.dump.disk import table_of_contents
from tests.support.airflow import settings_of
from tests.support.application import ApplicationUnderTest, a_small_dms, titles
from tests.support.postgres import EmbeddedPostgres

Make = Callable[..., ApplicationUnderTest]
LATER = ["Title of doc1.pdf", "Title of doc2.pdf", "Title of doc3.pdf", "Only in the living database"]


@pytest.fixture
def app(make_application: Make, postgres: EmbeddedPostgres) -> ApplicationUnderTest:
    """An application of an owner who is no superuser, with a backup and a row that came after it."""
    app = make_application()
    owner = f"owner_of_{app.server.dbname}"
    postgres.create_role(owner, password="plain", attributes="CREATEDB")
    postgres.execute(f"ALTER DATABASE {app.server.dbname} OWNER TO {owner}")
    app.server = replace(app.server, user=owner, password="plain")
    a_small_dms(app)
    app.configure(restore=replace(app.application.restore, safety_dump=True))
    app.back_up()
    app.sql("INSERT INTO documents (title) VALUES ('Only in the living database')")
    app.sql("CREATE TABLE of_today (n int)")
    return app


def dumps(app: ApplicationUnderTest) -> list[Path]:
    return sorted(Path(app.application.staging_directory).glob("*-safety-*/*"))


def undo(app: ApplicationUnderTest, restore_id: int, path: str | None = None) -> dict[str, Any]:
    return restore.undo_database(app.application, restore_id, catalog=app.catalog, server=app.server, path=path)


@pytest.mark.parametrize("mode", ["transaction", pytest.param("swap", marks=pytest.mark.slow)])
def test_what_a_restore_replaced_is_brought_back_by_one_command(
    app: ApplicationUnderTest, mode: Literal["transaction", "swap"], capsys: pytest.CaptureFixture[str]
) -> None:
    app.configure(restore=replace(app.application.restore, mode=mode))
    figures = app.restore()
    assert titles(app) == LATER[:3]
    (told,) = figures["outcome"]["safety_dumps"]
    assert [Path(told["path"])] == dumps(app)
    assert told["undo"] == f"glacier-backup undo-database {figures['restore_id']}"
    with settings_of(app):
        assert cli.main(["undo-database", str(figures["restore_id"])]) == 0
    assert "The database is as it was before restore" in capsys.readouterr().out
    assert titles(app) == LATER
    assert app.sql("SELECT to_regclass('of_today')::text") == [("of_today",)]
    assert app.catalog.backups.lease()["holder"] is None  # type: ignore[index]
    app.sql("DELETE FROM documents WHERE title = 'Only in the living database'")
    undo(app, figures["restore_id"])  # as often as one likes
    assert titles(app) == LATER
    app.restore()  # and the backup is still there
    assert titles(app) == LATER[:3]


def test_each_try_keeps_a_dump_of_its_own_until_its_days_are_over(app: ApplicationUnderTest) -> None:
    planned = app.plan()
    app.bring(planned)
    app.configure(restore=replace(app.application.restore, checks=("row_counts",)), assertions={"no": "SELECT false"})
    with pytest.raises(ChecksFailed, match="assertion no"):
        app.finish(planned["restore_id"])
    with pytest.raises(IllegalMove, match="is running"):
        undo(app, planned["restore_id"])
    assert titles(app) == LATER
    app.sql("INSERT INTO documents (title) VALUES ('later still')")
    app.configure(assertions=None)
    app.finish(planned["restore_id"])
    made = app.catalog.restores.get(planned["restore_id"])["outcome"]["safety_dumps"]
    assert [Path(one["path"]) for one in made] == dumps(app)
    assert len(made) == 2
    undo(app, planned["restore_id"])
    assert titles(app) == [*LATER, "later still"]
    undo(app, planned["restore_id"], made[0]["path"])
    assert titles(app) == LATER
    with pytest.raises(IllegalMove, match="made no dump /elsewhere"):
        undo(app, planned["restore_id"], "/elsewhere")
    with pytest.raises(IllegalMove, match="made no dump of the database"):
        dumps_to_undo("another", app.catalog.restores.get(planned["restore_id"]))
    last = Path(made[1]["path"])
    last.write_bytes(last.read_bytes()[:-1] + b"?")
    with pytest.raises(FileMissing, match="is not the dump that was made"):
        undo(app, planned["restore_id"])
    assert titles(app) == LATER
    old = time.time() - 7.5 * 86400
    app.back_up()
    assert len(dumps(app)) == 2
    for path in (*dumps(app), dumps(app)[0].parent):
        os.utime(path, (old, old))
    app.back_up()
    assert dumps(app) == []
    with pytest.raises(FileMissing, match="is not on this machine"):
        undo(app, planned["restore_id"])


def test_without_room_for_the_dump_nothing_is_replaced(
    app: ApplicationUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = app.plan()
    app.bring(planned)
    monkeypatch.setattr(
        "glacier_provider.postgres.dump.snapshot.shutil.disk_usage", lambda _path: SimpleNamespace(free=0)
    )
    with pytest.raises(OutOfSpace):
        app.finish(planned["restore_id"])
    assert titles(app) == LATER
    with pytest.raises(IllegalMove, match="made no dump of the database that it replaced"):
        undo(app, planned["restore_id"])


def test_a_catalog_in_the_same_database_is_in_no_such_dump_and_outlives_its_return(make_application: Make) -> None:
    app = a_small_dms(make_application(catalog_inside=True))
    app.configure(restore=replace(app.application.restore, safety_dump=True))
    app.back_up()
    restore_id = app.restore()["restore_id"]
    (path,) = dumps(app)
    assert "glacier_catalog" not in {entry.schema or entry.name for entry in table_of_contents(path).entries}
    undo(app, restore_id)
    assert app.catalog.restores.get(restore_id)["state"] == "complete"
