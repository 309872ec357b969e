"""The DAG that the page starts brings back the database that a restore replaced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.airflow import run_dag
from tests.support.application import ApplicationUnderTest, a_small_dms, titles

pytestmark = pytest.mark.slow


def test_the_database_that_a_restore_replaced_is_brought_back(
    make_application: Callable[..., ApplicationUnderTest],
) -> None:
    app = a_small_dms(make_application())
    app.configure(restore=replace(app.application.restore, safety_dump=True))
    app.back_up()
    app.sql("INSERT INTO documents (title) VALUES ('Only in the living database')")
    later = titles(app)
    figures = app.restore()
    assert titles(app) == later[:3]
    assert run_dag(app, "undo", {"restore_id": figures["restore_id"], "waht": "files"}).failed == ["undo_database"]
    assert titles(app) == later[:3]
    ran = run_dag(app, "undo", {"restore_id": figures["restore_id"]})
    assert (ran.state, ran.failed) == ("success", [])
    assert titles(app) == later
    assert app.catalog.backups.lease()["holder"] is None  # type: ignore[index]
    assert run_dag(app, "undo", {"restore_id": 999}).failed == ["undo_database"]


def test_what_a_restore_moved_aside_comes_back_and_the_database_stays(
    make_application: Callable[..., ApplicationUnderTest],
) -> None:
    app = a_small_dms(make_application())
    first = app.back_up()
    app.write("later.pdf", "made since")
    figures = app.restore(first)
    assert not (app.files / "later.pdf").exists()
    app.sql("INSERT INTO documents (title) VALUES ('Made since the restore')")
    now = titles(app)
    ran = run_dag(app, "undo", {"restore_id": figures["restore_id"], "what": "files"})
    assert (ran.state, ran.failed) == ("success", [])
    assert (app.files / "later.pdf").read_text() == "made since"
    assert titles(app) == now
