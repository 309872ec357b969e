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
    ran = run_dag(app, "undo", {"restore_id": figures["restore_id"]})
    assert (ran.state, ran.failed) == ("success", [])
    assert titles(app) == later
    assert app.catalog.backups.lease()["holder"] is None  # type: ignore[index]
    assert run_dag(app, "undo", {"restore_id": 999}).failed == ["undo_database"]
