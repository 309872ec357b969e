"""What tasks did comes to StatsD by Airflow's own facility: a real UDP receiver hears it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.airflow import run_dag
from tests.support.application import ApplicationUnderTest

pytestmark = pytest.mark.slow


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The lines that a StatsD server hears while Airflow is set up to send to it, as its task runner does that."""
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

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
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
        monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.getsockname()[1]))
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
        try:
            yield lines
        finally:
            monkeypatch.undo()
            stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
            over.set()
            thread.join()


def test_statsd_hears_what_the_tasks_of_a_backup_did(dms: ApplicationUnderTest, heard: list[str]) -> None:
    assert run_dag(dms, "backup").state == "success"
    assert "airflow.glacier.dms.close_backup.files_count:3|g" in heard
    assert "airflow.glacier.close_backup.files_count:3|g" in heard
    assert "airflow.glacier.dms.upload_files.archives:3|c" in heard
    assert [line for line in heard if "backup_id" in line] == []


def test_who_sends_nothing_has_no_warning(dms: ApplicationUnderTest, caplog: pytest.LogCaptureFixture) -> None:
    assert run_dag(dms, "backup").state == "success"
    assert "were not sent" not in caplog.text
