"""The DAG `glacier_alerts`, run by Airflow: it tells once, also of a catalog that is away."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from glacier_provider.applications import Application
from glacier_provider.errors import NotTold
from glacier_provider.operators.alert_steps import TellAlertsOperator
from tests.support.airflow import run_dag, settings_of
from tests.support.application import ApplicationUnderTest
from tests.support.backups import a_backup_row, ago
from tests.support.receivers import a_web_receiver
from tests.unit.operators.builders import a_context

pytestmark = pytest.mark.slow


def test_the_dag_tells_what_is_wrong_once(
    make_application: Callable[..., ApplicationUnderTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/af")
    app = make_application()
    app.catalog.migrate()
    a_backup_row(app.catalog_server, "dms", "failed", ago(hours=1), error="dump_database: no room")
    with a_web_receiver() as web:
        settings = {**app.application.to_dict(), "alerts": {"to": [f"{web.url}/ops"]}}
        app = replace(app, application=Application.from_dict(settings))
        for _ in range(2):
            assert run_dag(app, "alerts", of_all=True).state == "success"
        told = [(one.json["event"], one.json["told"]) for one in web.received]
        assert told == [("backup_failed", "backup 1 failed: dump_database: no room")]
        assert web.received[0].json["link"] == "https://airflow.example.com/af/plugin/glacier-backups"

        away = replace(app, catalog_server=replace(app.catalog_server, port=1))
        for _ in range(2):
            assert run_dag(away, "alerts", of_all=True).state == "success"
        assert [one.json["event"] for one in web.received[1:]] == ["catalog_unreachable"]
        assert run_dag(app, "alerts", of_all=True).state == "success"
        assert run_dag(away, "alerts", of_all=True).state == "success"
        assert len(web.received) == 3  # it was there in between

        web.status = 503
        a_backup_row(app.catalog_server, "dms", "failed", ago(minutes=1), error="again")
        assert run_dag(app, "alerts", of_all=True).failed == ["tell_alerts"]


def test_each_target_that_was_not_told_is_in_the_log(
    dms: ApplicationUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    a_backup_row(dms.catalog_server, "dms", "failed", ago(hours=1), error="dump_database: no room")
    with a_web_receiver() as web:
        web.status = 503
        to = [{"webhook": f"{web.url}/ops"}, {"webhook": "http://127.0.0.1:1/boss"}]
        app = replace(dms, application=Application.from_dict({**dms.application.to_dict(), "alerts": {"to": to}}))
        task = TellAlertsOperator(task_id="tell_alerts")
        with settings_of(app), pytest.raises(NotTold, match="Not told: webhook"):
            task.execute(a_context(task))
    said = capsys.readouterr().out
    for url in (web.url, "http://127.0.0.1:1"):
        assert re.search(rf"error +\] webhook {url}/… was not told of backup_failed of dms", said)


def test_a_monitor_hears_of_a_backup(dms: ApplicationUnderTest) -> None:
    with a_web_receiver() as web:
        app = replace(dms, application=replace(dms.application, ping=f"{web.url}/check"))
        assert run_dag(app, "backup").state == "success"
        broken = replace(
            app, application=replace(app.application, files_directory=f"{dms.application.files_directory}-x")
        )
        assert run_dag(broken, "backup").state == "failed"
    heard = [(one.path.partition("?")[0], one.body.decode()) for one in web.received]
    assert [path for path, _ in heard] == ["/check/start", "/check", "/check/fail"]
    assert "new_files_count: 3" in heard[1][1]
    assert heard[2][1].startswith("open_backup: ")
