"""A Prometheus that asks for what a running Airflow tells of its backups, with the package's own alert rules."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import yaml

import glacier_provider
from demo.processes import Children, clean_environment
from tests.support.postgres import free_port

SECONDS = 120
RULES = Path(glacier_provider.__file__).parent / "monitoring" / "prometheus-rules.yml"


def program() -> str | None:
    """Return where Prometheus is (of Debian's package prometheus)."""
    return shutil.which("prometheus")


class Prometheus:
    """A server that is ready, and ends with the block."""

    def __init__(self, directory: Path, airflow: str, token: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        where = urlsplit(airflow)
        scraped = {
            "job_name": "glacier",
            "metrics_path": f"{where.path}/glacier/metrics",
            "authorization": {"credentials": token},
            "static_configs": [{"targets": [where.netloc]}],
        }
        settings = {
            "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [scraped],
        }
        directory.mkdir()
        (directory / "prometheus.yml").write_text(yaml.safe_dump(settings))
        self._directory = directory
        self._children = Children(directory, clean_environment())

    def __enter__(self) -> Prometheus:
        self._children.start(
            "prometheus",
            [
                str(program()),
                f"--config.file={self._directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._directory / 'data'}",
                f"--web.listen-address={urlsplit(self.url).netloc}",
            ],
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._children.stop()

    def wait_for(self, there: Callable[[list[dict[str, str]]], bool]) -> list[dict[str, str]]:
        """Wait until the alerts that fire are as wanted; return their labels."""
        deadline, firing = time.monotonic() + SECONDS, list[dict[str, str]]()
        while time.monotonic() < deadline:
            self._children.check()
            firing = self._firing()
            if there(firing):
                return firing
            time.sleep(0.5)
        raise TimeoutError(f"These alerts fire after {SECONDS} s: {firing}")

    def _firing(self) -> list[dict[str, str]]:
        try:
            answer = httpx.get(f"{self.url}/api/v1/alerts").json()
        except (httpx.TransportError, json.JSONDecodeError):  # it begins
            return []
        return [alert["labels"] for alert in answer["data"]["alerts"] if alert["state"] == "firing"]
