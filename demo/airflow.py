"""Airflow for the demo: its processes on free loopback ports, and its public REST interface."""

from __future__ import annotations

import base64
import json
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from demo.processes import Child, Children
from demo.report import DemoFailed
from tests.support.postgres import free_port

if TYPE_CHECKING:
    from glacier_provider.postgres import Server

USER, PASSWORD = "admin", "admin"
FINAL = {"success", "failed", "skipped", "upstream_failed", "removed"}
UNHAPPY = {"failed", "up_for_retry"}
ATTEMPTS = 5
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Installation:
    """What an Airflow needs: a home directory to itself, the metadata database, and DAGs."""

    home: Path
    metadata: Server
    dags: Path


class Airflow:
    """API server, scheduler, DAG processor and triggerer of one installation; `below` is the path of its base URL."""

    def __init__(self, installation: Installation, children: Children, below: str = "") -> None:
        self._children = children
        self._environment = _environment(installation, free_port(), below)
        self.url = self._environment["AIRFLOW__API__BASE_URL"]

    def migrate(self) -> Child:
        """Start to create the metadata tables; `start` is for afterwards."""
        return self._run("airflow-migration", "db", "migrate")

    def start(self, environment: Mapping[str, str]) -> None:
        """Start the processes, with more environment; they are ready when `Rest.wait_until_ready` returns."""
        self._environment.update(environment)
        port = str(urlsplit(self.url).port)
        self._run("airflow-api-server", "api-server", "--host", "127.0.0.1", "--port", port, "--workers", "1")
        self._run("airflow-dag-processor", "dag-processor")
        self._run("airflow-scheduler", "scheduler", "--skip-serve-logs")
        self._run("airflow-triggerer", "triggerer", "--skip-serve-logs")

    def _run(self, name: str, *arguments: str) -> Child:
        return self._children.start(name, [sys.executable, "-m", "airflow", *arguments], self._environment)


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One task instance as the REST interface shows it; `map_index` is -1 when it is not mapped."""

    task: str
    map_index: int
    state: str | None
    attempt: int
    seconds: float

    @property
    def name(self) -> str:
        return self.task if self.map_index < 0 else f"{self.task}[{self.map_index}]"


class Rest:
    """Airflow's REST interface, as the demo's user."""

    def __init__(self, url: str, say: Say, check: Callable[[], None]) -> None:
        """`check` raises when a process that must run has ended."""
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self._say = say
        self._check = check

    def wait_until_ready(self, dags: tuple[str, ...], seconds: float = 300) -> None:
        """Return when Airflow answers, its parts are healthy and the DAGs are there to be run."""
        self._until(self._logged_in, "the API server does not answer", seconds)
        for dag in dags:
            self._until(partial(self._known, dag), f"the DAG {dag} did not appear", seconds)
        self._until(self._healthy, "the scheduler or the triggerer is not healthy", seconds)

    def run(self, dag: str, conf: Mapping[str, Any], seconds: float = 600) -> list[TaskRun]:
        """Trigger a DAG and follow it to its end, saying what becomes of each task; return the tasks.

        Raise DemoFailed with the failed tasks' logs unless the run succeeds.
        """
        path = f"/api/v2/dags/{dag}"
        self._ask("PATCH", path, {"is_paused": False})
        run = self._ask("POST", f"{path}/dagRuns", {"logical_date": None, "conf": dict(conf)})["dag_run_id"]
        followed = _Followed(self._say)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._check()
            state = self._ask("GET", f"{path}/dagRuns/{run}")["state"]
            tasks = self._tasks(f"{path}/dagRuns/{run}")
            for task in followed.news(tasks):
                self._say(f"  log of {task.name}, attempt {task.attempt}:\n" + self._log(f"{path}/dagRuns/{run}", task))
            if state == "success":
                return tasks
            if state == "failed":
                names = ", ".join(task.name for task in tasks if task.state == "failed")
                raise DemoFailed(f"{dag} failed in {names or 'no task'}")
            time.sleep(0.5)
        open_tasks = ", ".join(f"{task.name} ({task.state})" for task in tasks if task.state not in FINAL)
        raise DemoFailed(f"{dag} was not through after {seconds:.0f} s: {open_tasks}")

    def close(self) -> None:
        self._http.close()

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, **params: Any) -> Any:
        for attempt in range(ATTEMPTS):
            try:
                answer = self._http.request(method, path, json=body, params=params)
                break
            except httpx.TransportError as exc:  # a machine that is busy with other things answers late
                self._check()
                if method == "POST" or attempt == ATTEMPTS - 1:
                    raise DemoFailed(f"Airflow does not answer to {method} {path}: {type(exc).__name__}") from exc
        if answer.is_error:
            raise DemoFailed(f"Airflow answered {answer.status_code} to {method} {path}", answer.text)
        return answer.json()

    def _tasks(self, run: str) -> list[TaskRun]:
        found: list[TaskRun] = []
        while True:
            page = self._ask("GET", f"{run}/taskInstances", limit=100, offset=len(found), order_by="id")
            found += [_task_run(entry) for entry in page["task_instances"]]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return found

    def _log(self, run: str, task: TaskRun, lines: int = 40) -> str:
        path = f"{run}/taskInstances/{task.task}/logs/{task.attempt}"
        content = self._ask("GET", path, map_index=task.map_index, full_content=True)["content"]
        text = [
            _log_line(entry) for entry in content if "::group::" not in str(entry) and "::endgroup::" not in str(entry)
        ]
        return "\n".join(f"    {line}" for line in text[-lines:])

    def _until(self, there: Callable[[], bool], why: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._check()
            if there():
                return
            time.sleep(0.2)
        raise DemoFailed(f"{why} after {seconds:.0f} s", self._import_errors())

    def _logged_in(self) -> bool:
        try:
            answer = self._http.post("/auth/token", json={"username": USER, "password": PASSWORD})
        except httpx.TransportError:
            return False
        if answer.is_error:
            return False
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return True

    def _known(self, dag: str) -> bool:
        """Raise DemoFailed at once when a DAG file cannot be imported."""
        try:
            answer = self._http.get(f"/api/v2/dags/{dag}")
        except httpx.TransportError:
            return False
        if not answer.is_success and (errors := self._import_errors()):
            raise DemoFailed(f"the DAG {dag} cannot be imported", errors)
        return answer.is_success

    def _healthy(self) -> bool:
        parts = self._ask("GET", "/api/v2/monitor/health")
        return all(parts[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "triggerer"))

    def _import_errors(self) -> str:
        try:
            found = self._ask("GET", "/api/v2/importErrors")["import_errors"]
        except DemoFailed:
            return ""
        return "\n".join(f"{error['filename']}:\n{error['stack_trace']}" for error in found)


class _Followed:
    """What was already said about a run's tasks."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._said: dict[tuple[str, int], tuple[str | None, int]] = {}

    def news(self, tasks: list[TaskRun]) -> list[TaskRun]:
        """Say what changed, and return the attempts that failed since the last time."""
        unhappy = []
        for task in tasks:
            key, now = (task.task, task.map_index), (task.state, task.attempt)
            if self._said.get(key) == now:
                continue
            self._said[key] = now
            if task.state in FINAL:
                self._say(f"  {task.name}: {task.state}, {task.seconds:.1f} s")
            elif task.state in ("deferred", "awaiting_input", "up_for_retry"):
                self._say(f"  {task.name}: {task.state}")
            if task.state in UNHAPPY:
                unhappy.append(task)
        return unhappy


def _task_run(entry: Mapping[str, Any]) -> TaskRun:
    return TaskRun(
        entry["task_id"], entry["map_index"], entry["state"], entry["try_number"], float(entry["duration"] or 0)
    )


def _log_line(entry: Any) -> str:
    """Return a structured log entry as text: its event, then what else it tells."""
    if not isinstance(entry, dict):
        return str(entry)
    text = f"{entry.get('level') or ''} {entry.get('event', '')}".strip()
    for problem in entry.get("error_detail") or ():
        text += f"\n      {problem.get('exc_type')}: {problem.get('exc_value')}"
    return text


def _environment(installation: Installation, port: int, below: str) -> dict[str, str]:
    home, server = installation.home, installation.metadata
    home.mkdir(parents=True, exist_ok=True)
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({USER: PASSWORD}))
    url = f"http://127.0.0.1:{port}{below}"
    metadata = f"postgresql+psycopg2://{server.user}:{server.password}@{server.host}:{server.port}/{server.dbname}"
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "AIRFLOW__CORE__DAGS_FOLDER": str(installation.dags),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata,
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        # On a busy machine the API server takes longer than the five seconds that Airflow waits by default.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "PWD": str(home),
    }
