"""What tasks did comes to StatsD or OpenTelemetry by Airflow's own facility: a real receiver of each hears it."""

from __future__ import annotations

import atexit
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from tests.support.airflow import run_dag
from tests.support.application import ApplicationUnderTest
from tests.support.otlp import Point, points_of
from tests.support.receivers import WebReceiver, a_web_receiver

pytestmark = pytest.mark.slow


@contextmanager
def sending(settings: Mapping[str, str]) -> Iterator[None]:
    """Have Airflow send its figures by these settings of `[metrics]`, as its task runner is set up to do that."""
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(f"AIRFLOW__METRICS__{name}", value)
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
        try:
            yield
        finally:
            patch.undo()
            stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """The lines that a StatsD server hears while Airflow is set up to send to it."""
    lines: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.2)
        over = threading.Event()

        def hear() -> None:
            while not over.is_set():
                try:
                    lines.extend(server.recv(65536).decode().splitlines())
                except TimeoutError:
                    continue

        thread = threading.Thread(target=hear, daemon=True)
        thread.start()
        port = str(server.getsockname()[1])
        try:
            with sending({"STATSD_ON": "True", "STATSD_HOST": "127.0.0.1", "STATSD_PORT": port}):
                yield lines
        finally:
            over.set()
            thread.join()


@pytest.fixture
def collector() -> Iterator[WebReceiver]:
    """An OpenTelemetry collector, to which Airflow is set up to send by OTLP over HTTP."""
    with a_web_receiver() as receiver:
        host, port = urlsplit(receiver.url).hostname, urlsplit(receiver.url).port
        # A minute between two messages is Airflow's default: what is sent before is flushed, as when a task ends.
        with sending({"OTEL_ON": "True", "OTEL_HOST": str(host), "OTEL_PORT": str(port)}):
            yield receiver
            _no_more_is_sent()


def _no_more_is_sent() -> None:
    """End what would go on sending, also when the interpreter ends."""
    from airflow.sdk._shared.observability.metrics.otel_logger import flush_otel_metrics
    from opentelemetry.metrics import get_meter_provider

    atexit.unregister(flush_otel_metrics)
    get_meter_provider().shutdown()  # type: ignore[attr-defined]


def test_statsd_hears_what_the_tasks_of_a_backup_did(dms: ApplicationUnderTest, heard: list[str]) -> None:
    assert run_dag(dms, "backup").state == "success"
    assert "airflow.glacier.dms.close_backup.files_count:3|g" in heard
    assert "airflow.glacier.close_backup.files_count:3|g" in heard
    assert "airflow.glacier.dms.upload_files.archives:3|c" in heard
    assert [line for line in heard if "backup_id" in line] == []


def test_a_collector_hears_what_the_tasks_of_a_backup_did(dms: ApplicationUnderTest, collector: WebReceiver) -> None:
    from airflow.sdk._shared.observability.metrics.otel_logger import flush_otel_metrics

    assert run_dag(dms, "backup").state == "success"
    flush_otel_metrics()
    assert {one.path for one in collector.received} == {"/v1/metrics"}
    points = points_of(collector.received)
    assert Point("airflow.glacier.dms.close_backup.files_count", {}, 3) in points
    assert Point("airflow.glacier.close_backup.files_count", {"application": "dms"}, 3) in points
    assert Point("airflow.glacier.dms.upload_files.archives", {}, 3) in points
    assert Point("airflow.glacier.upload_files.archives", {"application": "dms"}, 3) in points
    assert [point for point in points if "backup_id" in point.name] == []


def test_who_sends_nothing_has_no_warning(dms: ApplicationUnderTest, caplog: pytest.LogCaptureFixture) -> None:
    assert run_dag(dms, "backup").state == "success"
    assert "were not sent" not in caplog.text
