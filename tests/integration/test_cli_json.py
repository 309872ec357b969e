"""``--json``: one document on stdout from each command, whose keys stay what programs have seen of them."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from glacier_provider import cli
from glacier_provider.applications.fields import DrillOptions
from glacier_provider.core.retention import Retention
from tests.integration.test_cli import uri_of
from tests.support.airflow import settings_of
from tests.support.application import ApplicationUnderTest
from tests.support.postgres import EmbeddedPostgres
from tests.support.receivers import a_web_receiver

#: The keys that each command has told: one that is missing breaks the programs that read it. Written anew, with what
#: was added, where RECORD_JSON is set.
RECORDED = Path(__file__).with_name("cli_json_keys.json")
#: Needs a queue; what it tells is tested where there is one.
ELSEWHERE = {"setup-notifications"}


@pytest.fixture
def app(dms: ApplicationUnderTest) -> ApplicationUnderTest:
    """Three backups, and a restore that left a safety dump and an orphan."""
    app = dms
    with app.catalog_server.connect(autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_trgm")
    app.configure(restore=replace(app.application.restore, safety_dump=True), drill=DrillOptions(which="newest"))
    app.back_up()
    app.write("doc4.pdf", "content 4")
    app.back_up()
    app.back_up()
    app.restore(1)
    return app


def test_every_command_tells_one_document_with_the_keys_that_it_has_told_before(
    app: ApplicationUnderTest,
    postgres: EmbeddedPostgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("glacier_provider.catalog.restores.Restores.accept_errors", lambda *_: 2)
    told: dict[str, set[str]] = {}

    def run(*argv: object, code: int | None = 0) -> Any:
        capsys.readouterr()
        ended = cli.main([*map(str, argv), "--json"])
        answer = capsys.readouterr()
        assert code is None or ended == code, answer.err
        for word in ("airflow.", "alembic", "Warning", "Traceback"):
            assert word not in answer.err, argv
        document = json.loads(answer.out)
        told.setdefault(str(argv[0]), set()).update(keys_of(document))
        return document

    with a_web_receiver() as web:
        app.configure(alerts=replace(app.application.alerts, to=({"webhook": f"{web.url}/"},)))
        with settings_of(app):
            _look(run, tmp_path)
            _change(run, app, tmp_path)
            empty = postgres.create_database("cli_json_rebuilt")
            try:
                run("rebuild-catalog", "dms", "--catalog", uri_of(empty))
            finally:
                postgres.drop_database(empty.dbname)
    if os.environ.get("RECORD_JSON"):
        RECORDED.write_text(json.dumps({name: sorted(keys) for name, keys in sorted(told.items())}, indent=1) + "\n")
    recorded = {name: set(keys) for name, keys in json.loads(RECORDED.read_text()).items()}
    assert {name: recorded[name] - told[name] for name in recorded if recorded[name] - told.get(name, set())} == {}
    assert set(commands()) - ELSEWHERE <= set(recorded), "a new command: record its keys with RECORD_JSON=1"


def _look(run: Callable[..., Any], tmp_path: Path) -> None:
    run("list")
    run("show", 1)
    run("show", 1, "--roles")
    run("archives", 1)
    run("restores")
    run("applications")
    run("check", code=None)
    run("metrics")
    run("costs", "dms")
    run("doctor", code=None)
    run("doctor", "--fix-print")
    for action in ("show", "test", "send"):
        run("alerts", action)
    run("retention", "dms")
    run("delete", "dms", 2)
    run("fetch", "dms", 1, "doc1.pdf", "--into", tmp_path / "desk")
    run("completion", "bash")
    run("check-counts")


def _change(run: Callable[..., Any], app: ApplicationUnderTest, tmp_path: Path) -> None:
    run("migrate")
    run("index-names")
    run("verify", "--by", "listing")
    run("drill", "dms")
    run("evidence", "dms")
    run("evidence", "dms", "--verify")
    run("evidence", "dms", "--save", tmp_path / "evidence")
    month, page = f"{datetime.now(UTC):%Y-%m}", tmp_path / "page.html"
    run("evidence", "dms", "--month", month, "--html", page)
    run("reconcile", "dms", "--inventory")
    run("undo-orphans", 1)
    run("undo-database", 1)
    run("accept-errors", 1)
    run("free-lease", "dms")
    (app.files / "doc2.pdf").unlink()
    run("fetch", "dms", 1, "doc2.pdf", "--into", tmp_path / "desk", "--yes")
    run("delete", "dms", 2, "--yes-delete", "dms-2")
    app.configure(retention=Retention(keep_last=1))
    with settings_of(app):
        run("retention", "dms", "--delete", "--yes-delete", "dms")


def keys_of(value: Any, path: str = "", depth: int = 3) -> Iterator[str]:
    """Yield the paths of keys in a document; what is named by data (an application, a directory) goes by a star."""
    if isinstance(value, list):
        for one in value:
            yield from keys_of(one, f"{path}[]", depth)
    elif isinstance(value, dict) and depth:
        for name, one in value.items():
            by_data = name in ("dms", "applications.yaml") or name.startswith("/")
            step = f"{path}.{'*' if by_data else name}".lstrip(".")
            yield step
            yield from keys_of(one, step, depth - 1)


def commands() -> list[str]:
    (choices,) = (
        action.choices for action in cli.command_parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return list(choices)
