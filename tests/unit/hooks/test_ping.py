"""A monitor hears of each backup; one that fails or hangs costs a backup seconds at most."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from glacier_provider.catalog.backups import Run
from glacier_provider.hooks import ping
from glacier_provider.hooks.ping import ping_failed, ping_started, ping_succeeded, ping_url
from glacier_provider.operators.backup_steps import OpenBackupOperator
from glacier_provider.operators.base import record_failure
from tests.support.receivers import WebReceiver, a_web_receiver, serving
from tests.unit.operators.builders import APPLICATION, a_context

RUN = Run("glacier_backup__dms", "scheduled__1")


@pytest.fixture(scope="module")
def server() -> Iterator[WebReceiver]:
    with a_web_receiver() as receiver:
        yield receiver


@pytest.fixture
def monitor(server: WebReceiver) -> WebReceiver:
    server.received.clear()
    server.status = 200
    return server


def test_a_monitor_hears_start_success_and_failure_of_one_run(monitor: WebReceiver) -> None:
    application = replace(APPLICATION, ping=f"{monitor.url}/2c7ab7d4/")
    ping_started(application, RUN)
    ping_succeeded(application, RUN, {"backup_id": 7, "restorable": {"in_place": "yes"}, "seconds": 61.5})
    ping_failed(application, RUN, "dump_database: no room\n" + "line\n" * 99)
    ping_started(application, Run(RUN.dag_id, "scheduled__2"))
    paths = [urlsplit(one.path) for one in monitor.received]
    assert [one.path for one in paths] == ["/2c7ab7d4/start", "/2c7ab7d4", "/2c7ab7d4/fail", "/2c7ab7d4/start"]
    rids = [parse_qs(one.query)["rid"] for one in paths]
    assert rids[0] == rids[1] == rids[2] != rids[3]
    _, success, failure, _ = (one.body.decode() for one in monitor.received)
    assert success == "backup_id: 7\nrestorable: in place yes\nseconds: 61.5"
    assert failure.splitlines()[0] == "dump_database: no room"
    assert len(failure.splitlines()) == 20


@pytest.mark.parametrize(
    ("url", "what", "pinged"),
    [
        ("https://hc-ping.com/2c7a", "/start", "https://hc-ping.com/2c7a/start?"),
        ("https://hc-ping.com/2c7a/", "/fail", "https://hc-ping.com/2c7a/fail?"),
        ("https://hc-ping.com/2c7a", "", "https://hc-ping.com/2c7a?"),
        ("https://ping.example.com/a?create=1", "/start", "https://ping.example.com/a/start?create=1&"),
    ],
)
def test_what_is_to_be_told_stands_behind_the_path_and_the_run_behind_the_query(
    url: str, what: str, pinged: str
) -> None:
    address, _, rid = ping_url(url, what, RUN).rpartition("rid=")
    assert (address, uuid.UUID(rid).version) == (pinged, 5)


def test_each_run_of_each_dag_has_an_id_of_its_own() -> None:
    runs = [RUN, Run("glacier_backup__shop", RUN.dag_run_id), Run(RUN.dag_id, "scheduled__2"), RUN]
    assert len({ping_url("https://hc-ping.com/2c7a", "", run) for run in runs}) == 3


def test_a_reason_of_one_long_line_is_cut(monitor: WebReceiver) -> None:
    ping_failed(replace(APPLICATION, ping=monitor.url), RUN, "é" * 100_000)
    (told,) = monitor.received
    assert told.path.startswith("/fail?")
    assert len(told.body) == 8000


def test_who_has_no_monitor_pings_none() -> None:
    ping_started(replace(APPLICATION, ping=None), RUN)


def test_the_url_may_be_that_of_a_connection(monitor: WebReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DMS_PING", json.dumps({"conn_type": "http", "password": f"{monitor.url}/x"}))
    ping_started(replace(APPLICATION, ping="dms_ping"), RUN)
    assert monitor.received[0].path.startswith("/x/start?rid=")


@pytest.mark.parametrize(
    ("address", "status", "told"),
    [
        ("{}/SECRET", 500, "The monitor of dms answered a ping with 500"),
        ("{}/SECRET", 301, "The monitor of dms was not told: it answered with 301, which sends elsewhere"),
        ("{}/SECRET", 308, "Write the address where it is now (https://?) into `ping`"),
        ("{}/SECRET", 304, "The monitor of dms answered a ping with 304"),
        ("http://127.0.0.1:1/SECRET", 200, "The monitor of dms was not told (ConnectError)"),
        ("no_such_connection", 200, "There is no Airflow connection no_such_connection"),
    ],
)
def test_a_ping_that_fails_is_a_line_in_the_log(
    monitor: WebReceiver, caplog: pytest.LogCaptureFixture, address: str, status: int, told: str
) -> None:
    monitor.status = status
    with caplog.at_level(logging.WARNING, ping.__name__):
        ping_started(replace(APPLICATION, ping=address.format(monitor.url)), RUN)
    assert told in caplog.text
    assert "SECRET" not in caplog.text


def test_a_ping_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(ping, "PING_SECONDS", 0.3)
    with a_web_receiver() as silent:
        silent.silent_seconds = 600
        began = time.monotonic()
        ping_started(replace(APPLICATION, ping=silent.url), RUN)
    assert time.monotonic() - began < 30
    assert "was not told" in caplog.text


def test_so_is_one_that_is_answered_drop_by_drop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ping, "PING_SECONDS", 0.5)
    over = threading.Event()

    class Dripping(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            for _ in range(100):
                self.wfile.write(b"x")
                if over.wait(0.1):
                    return

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Dripping, over) as url:
        began = time.monotonic()
        ping_started(replace(APPLICATION, ping=url), RUN)
        assert time.monotonic() - began < 5
    assert "The monitor of dms was not told (TimeoutError)" in caplog.text


@pytest.mark.parametrize(("dag_id", "told"), [("glacier_backup__dms", True), ("glacier_restore__dms", False)])
def test_a_backup_that_failed_is_told_also_when_the_catalog_is_away(
    monitor: WebReceiver, monkeypatch: pytest.MonkeyPatch, dag_id: str, told: bool
) -> None:
    from types import SimpleNamespace

    monkeypatch.setenv("AIRFLOW_CONN_GLACIER_CATALOG", "postgres://x@127.0.0.1:1/x")
    settings: dict[str, Any] = replace(APPLICATION, ping=monitor.url).to_dict()
    task = OpenBackupOperator(task_id="open_backup", application=settings)
    run = SimpleNamespace(dag_id=dag_id, run_id="manual__1")
    record_failure(a_context(task, dag_run=run, exception=RuntimeError("the catalog is away")))
    assert [one.body for one in monitor.received] == ([b"open_backup: the catalog is away"] if told else [])


def test_a_failure_that_could_not_be_noted_for_whatever_reason_is_told_to_the_monitor(
    monitor: WebReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    def break_down(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("glacier_provider.operators.base.Resources", break_down)
    settings: dict[str, Any] = replace(APPLICATION, ping=monitor.url).to_dict()
    task = OpenBackupOperator(task_id="open_backup", application=settings)
    run = SimpleNamespace(dag_id="glacier_backup__dms", run_id="manual__1")
    record_failure(a_context(task, dag_run=run, exception=RuntimeError("no room")))
    assert [one.body for one in monitor.received] == [b"open_backup: no room"]
