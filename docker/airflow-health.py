#!/opt/venv/bin/python
"""airflow-health PART: exit 0 when PART of Airflow is healthy, else say why not and exit 1.

`api-server`, `scheduler` and `worker` are asked in their own container. The triggerer and the DAG processor answer
nobody: the API server knows their heartbeats. Airflow is not imported, which would take seconds of CPU every time.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from urllib.request import urlopen

SECONDS = 8


def main(part: str) -> None:
    checks = {
        "api-server": lambda: fetch("http://127.0.0.1:8080/api/v2/monitor/health"),
        "scheduler": lambda: fetch("http://127.0.0.1:8974/health"),
        "triggerer": lambda: heartbeat("triggerer"),
        "dag-processor": lambda: heartbeat("dag_processor"),
        "worker": ping,
    }
    try:
        checks[part]()
    except Exception as error:  # noqa: BLE001 - whatever it is, the part is not healthy
        sys.exit(f"{part}: {error}")


def fetch(url: str) -> bytes:
    """Return what is at the URL; raise OSError unless the answer is 200."""
    with urlopen(url, timeout=SECONDS) as answer:
        return bytes(answer.read())


def heartbeat(part: str) -> None:
    status = json.loads(fetch("http://api-server:8080/api/v2/monitor/health"))[part]
    if status["status"] != "healthy":
        raise RuntimeError(f"last heartbeat: {status.get(f'latest_{part}_heartbeat')}")


def ping() -> None:
    """Ask this container's Celery worker through the broker."""
    from celery import Celery

    name = f"celery@{socket.gethostname()}"
    app = Celery(broker=os.environ["AIRFLOW__CELERY__BROKER_URL"])
    if not app.control.ping(destination=[name], timeout=SECONDS):
        raise RuntimeError(f"{name} does not answer")


if __name__ == "__main__":
    main(sys.argv[1])
