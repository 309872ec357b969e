"""A whole Airflow in which no worker takes tasks, until one does: who is called meanwhile, and what is sent then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from glacier_provider.catalog.catalog import Catalog
from tests.e2e.ui_site import DAGS, Site, a_site
from tests.support.backups import a_backup_row, ago
from tests.support.otlp import Point, points_of
from tests.support.receivers import WebReceiver, a_web_receiver

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BACKUP = DAGS[0]
OPS = "/ops"


@pytest.fixture(scope="module")
def outside() -> Iterator[WebReceiver]:
    """Both who is called and the OpenTelemetry collector, on paths of their own."""
    with a_web_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, outside: WebReceiver) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    directory.chmod(0o755)
    collector = urlsplit(outside.url)
    with a_site(
        directory,
        dms={"schedule": "0 2 * * *", "alerts": {"to": [f"{outside.url}{OPS}"], "on": ["backup_late"]}},
        settings={
            "AIRFLOW__METRICS__OTEL_ON": "True",
            "AIRFLOW__METRICS__OTEL_HOST": str(collector.hostname),
            "AIRFLOW__METRICS__OTEL_PORT": str(collector.port),
        },
    ) as site:
        yield site


def slots(site: Site, number: int) -> None:
    """Have so many tasks run at once, at most."""
    site.rest._ask("PATCH", "/api/v2/pools/default_pool", {"slots": number}, update_mask="slots")


def no_worker_takes_tasks(site: Site) -> None:
    """Let nothing be started any more, and wait for what was."""
    slots(site, 0)
    busy = "SELECT count(*) FROM task_instance WHERE state IN ('queued', 'running')"
    until(lambda: not asked(site, busy))


def asked(site: Site, query: str) -> int:
    with site.metadata.connect(autocommit=True) as connection:
        ((count,),) = connection.execute(query.encode()).fetchall()
        return int(count)


def until(there: object, seconds: float = 300) -> None:
    assert callable(there)
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "what is waited for does not come"
        time.sleep(0.5)  # neither Airflow nor a receiver tells anybody: asked again


def test_a_late_backup_calls_people_and_its_figures_are_sent_once_it_runs(site: Site, outside: WebReceiver) -> None:
    no_worker_takes_tasks(site)
    with Catalog(site.catalog.connect, schema="glacier_catalog", application="dms") as catalog:
        catalog.migrate()
    a_backup_row(site.catalog, "dms", "complete", ago(days=9))
    site.rest._ask("PATCH", f"/api/v2/dags/{BACKUP}", {"is_paused": False})
    run = site.rest._ask("POST", f"/api/v2/dags/{BACKUP}/dagRuns", {"logical_date": None})["dag_run_id"]
    until(lambda: asked(site, "SELECT count(*) FROM deadline"))
    assert [one for one in outside.received if one.path == OPS] == []
    with site.metadata.connect(autocommit=True) as connection:
        connection.execute(b"UPDATE deadline SET deadline_time = now()")  # six hours later
    until(lambda: [one for one in outside.received if one.path == OPS])
    (called,) = (one.json for one in outside.received if one.path == OPS)
    assert called["event"] == "backup_late"
    assert called["told"].startswith("the last complete backup is 9 days old")

    slots(site, 8)
    states: list[str] = []

    def over() -> bool:
        states.append(site.rest._ask("GET", f"/api/v2/dags/{BACKUP}/dagRuns/{run}")["state"])
        return states[-1] in ("success", "failed")

    until(over)
    assert states[-1] == "success"
    figures = points_of(one for one in outside.received if one.path == "/v1/metrics")
    assert Point("airflow.glacier.dms.close_backup.files_count", {}, 40) in figures
    assert Point("airflow.glacier.close_backup.files_count", {"application": "dms"}, 40) in figures
    assert len([one for one in outside.received if one.path == OPS]) == 1, "nobody is told twice"
