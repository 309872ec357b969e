"""The app behind the page, over a real catalog; only Airflow's answers (who asks, what is scheduled) are given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from glacier_provider.postgres import Server
from glacier_provider.ui import access
from glacier_provider.ui.web import create_app

DAGS = tuple(f"glacier_{kind}__{name}" for name in ("dms", "other") for kind in ("backup", "restore", "delete"))


@dataclass
class Person:
    """What somebody may do: read or start the runs of these DAGs."""

    reads: Iterable[str] = ()
    starts: Iterable[str] = ()
    name: str = "somebody"
    edits: bool = False

    def may_edit(self, dag_id: str | None = None) -> bool:
        return self.edits and (dag_id is None or dag_id.partition("__")[2] == "dms")

    def allowed(self, method: str, dag_ids: Iterable[str]) -> set[str]:
        return set(self.reads if method == "GET" else self.starts) & set(dag_ids)


ADMIN = Person(reads=DAGS, starts=DAGS, edits=True)
VIEWER = Person(reads=DAGS)
STRANGER = Person()


@dataclass
class Planned:
    """What Airflow knows of the DAGs and their runs, and what was started: (DAG, conf, by whom)."""

    known: dict[str, access.ScheduledDag] = field(default_factory=dict)
    runs: dict[tuple[str, str], list[access.TaskState]] = field(default_factory=dict)
    started: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    over: dict[tuple[str, str], str] = field(default_factory=dict)
    answers: dict[tuple[str, str, str], Any] = field(default_factory=dict)

    def dags(self, dag_ids: Iterable[str]) -> dict[str, access.ScheduledDag]:
        return {dag_id: self.known[dag_id] for dag_id in dag_ids if dag_id in self.known}

    def tasks(self, dag_id: str, run_id: str) -> tuple[str | None, list[access.TaskState]] | None:
        found = self.runs.get((dag_id, run_id))
        return None if found is None else ("success", found)

    def ended(self, dag_id: str, run_id: str) -> str | None:
        return self.over.get((dag_id, run_id))

    def returned(self, dag_id: str, run_id: str, task_id: str) -> Any:
        return self.answers.get((dag_id, run_id, task_id))

    def start(self, dag_id: str, conf: dict[str, Any], *, by: str) -> str:
        self.started.append((dag_id, conf, by))
        return f"manual__{len(self.started)}"


@dataclass
class Site:
    """The app as one person after the other sees it."""

    app: Any
    planned: Planned
    file: Path

    def seen_by(self, person: Person) -> TestClient:
        self.app.dependency_overrides[access.current_rights] = lambda: person
        return TestClient(self.app, raise_server_exceptions=True)

    def configure(self, name: str, **settings: Any) -> None:
        """Add an application to applications.yaml, or change it."""
        document = yaml.safe_load(self.file.read_text()) if self.file.exists() else {"applications": {}}
        entry = document["applications"].setdefault(name, an_entry(self.file.parent, name))
        entry.update(settings)
        self.file.write_text(yaml.safe_dump(document))


def an_entry(directory: Path, name: str) -> dict[str, Any]:
    return {
        "postgres_conn_id": f"{name}_db",
        "catalog_conn_id": "the_catalog",
        "files_directory": str(directory / name / "files"),
        "staging_directory": str(directory / name / "staging"),
        "store": "s3://bucket/prefix?storage_class=GLACIER",
    }


def connection_of(server: Server) -> str:
    named = {"host": server.host, "port": server.port, "login": server.user, "password": server.password}
    return json.dumps({"conn_type": "postgres", "schema": server.dbname, **named})


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catalog_database: Server) -> Site:
    """An installation with one application, dms, whose catalog is empty."""
    monkeypatch.setenv("AIRFLOW_CONN_THE_CATALOG", connection_of(catalog_database))
    monkeypatch.setenv("GLACIER_APPLICATIONS", str(tmp_path / "applications.yaml"))
    planned = Planned({"glacier_backup__dms": access.ScheduledDag(False, datetime(2099, 1, 1, tzinfo=UTC))})
    app = create_app()
    app.dependency_overrides[access.current_scheduler] = lambda: planned
    found = Site(app, planned, tmp_path / "applications.yaml")
    found.configure("dms")
    return found


@pytest.fixture
def admin(site: Site) -> Iterator[TestClient]:
    with site.seen_by(ADMIN) as client:
        yield client


Get = Callable[..., Any]


@pytest.fixture
def get(admin: TestClient) -> Get:
    """GET as somebody who may do everything; expects 200 and returns the JSON."""

    def ask(path: str, **parameters: Any) -> Any:
        answer = admin.get(f"/api{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return ask
