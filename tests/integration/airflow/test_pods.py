"""The DAGs under KubernetesExecutor's rules: each task a machine of its own, with the volumes of the guide."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from demo.airflow import Airflow, Installation, Rest
from demo.processes import CHECKOUT, Children, clean_environment
from demo.stores import S3Store
from glacier_provider.postgres import Server
from tests.support.airflow import postgres_connection
from tests.support.pods import CLUSTER, may_unshare
from tests.support.postgres import EmbeddedPostgres

ROLE = "arn:aws:iam::123456789012:role/glacier-verify"
KINDS = ("backup", "restore", "drill", "verify")
FILES = {f"2026/document {number}.pdf": b"%PDF" + bytes([number]) * 20_000 for number in range(1, 13)}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(may_unshare() is not None, reason=f"this machine permits no name spaces: {may_unshare()}"),
]


def the_guides_example() -> dict[str, Any]:
    """Return the entry of `library` that the guide shows for the KubernetesExecutor."""
    section = (CHECKOUT / "docs" / "deployment.md").read_text().split("## KubernetesExecutor\n")[1]
    told = yaml.safe_load(section.split("```yaml\n")[1].split("```")[0])
    entry: dict[str, Any] = told["applications"]["library"]
    return entry


@dataclass
class Cluster:
    """Airflow without a directory of any application; `claims` are the volumes, by the names of their claims."""

    rest: Rest
    claims: Mapping[str, Path]
    logs: Path
    postgres: EmbeddedPostgres
    application: Server
    catalog: Server
    store: str

    @property
    def uploads(self) -> Path:
        return self.claims["library-files"] / "uploads"

    def run(self, kind: str, **conf: Any) -> None:
        self.rest.run(f"glacier_{kind}__library", conf)

    def start(self, kind: str, **conf: Any) -> str:
        """Start a run, and return its path in Airflow's REST interface."""
        dag = f"/api/v2/dags/glacier_{kind}__library"
        run = self.rest._ask("POST", f"{dag}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"]
        return f"{dag}/dagRuns/{run}"

    def wait_for(self, there: Callable[[], bool], seconds: float = 300) -> None:
        """Return when something is there that a pod makes."""
        deadline = time.monotonic() + seconds
        while not there():
            assert time.monotonic() < deadline, "what a pod was to make does not come"
            time.sleep(0.5)  # a directory tells nobody: looked at again

    def wait_for_end(self, run: str) -> str:
        """Wait for the end of a run, and return its state."""
        self.wait_for(lambda: self.rest._ask("GET", run)["state"] in ("success", "failed"))
        return str(self.rest._ask("GET", run)["state"])

    def asked(self, method: str, path: str, told: Any = None) -> Any:
        """Ask the emulated store's own interface."""
        return httpx.request(method, f"{self.store}/_emulator/{path}", json=told, trust_env=False).json()

    def present(self, directory: Path | None = None) -> dict[str, bytes]:
        root = directory or self.uploads
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and ".glacier-tmp" not in path.parts
        }

    def sql(self, statement: str, server: Server | None = None) -> list[tuple[Any, ...]]:
        with (server or self.application).connect(autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def proofs(self) -> list[tuple[str, str]]:
        return self.sql("SELECT kind, state FROM glacier_catalog.proofs ORDER BY id", self.catalog)

    def pods(self, kind: str) -> list[str]:
        told = map(json.loads, (self.logs / "pods.jsonl").read_text().splitlines())
        return [one["pod"] for one in told if one["dag"].startswith(f"glacier_{kind}__")]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("cluster")
    claims = {name: directory / name for name in ("library-files", "glacier-staging")}
    for path in (directory / "logs", directory / "pods", *claims.values()):
        path.mkdir()
    with ExitStack() as end:
        children = Children(directory / "logs", clean_environment())
        end.callback(children.stop)
        store = S3Store(children, directory)
        postgres = end.enter_context(EmbeddedPostgres(settings={"max_connections": "200"}))
        end.callback(children.stop)  # here once more: Airflow ends before its database does
        application, catalog, metadata = (postgres.create_database(name) for name in ("library", "catalog", "airflow"))
        airflow = Airflow(Installation(directory / "airflow", metadata, CHECKOUT / "dags"), children)
        migration = airflow.migrate()
        store.prepare()
        children.finish(migration, 240)
        entry = {
            **the_guides_example(),
            **{"store": store.uri, "schedule": None, "settle_seconds": 0, "poll_seconds": 1},
            "verify": {"by": "content", "role_arn": ROLE, "schedule": None},
            "drill": {"which": "newest", "target": "private", "schedule": None},
            "restore_targets": {"copy": {"database": "library_copy", "files_directory": "/srv/library/copy"}},
        }
        settings = directory / "applications.yaml"
        settings.write_text(yaml.safe_dump({"applications": {"library": entry}}))
        told = {name: str(path) for name, path in claims.items()}
        (directory / "cluster.json").write_text(
            json.dumps({"claims": told, "directory": str(directory / "pods"), "logs": str(directory / "logs")})
        )
        airflow.start(
            {
                "AIRFLOW__CORE__EXECUTOR": "tests.support.pods.PodExecutor",
                "AIRFLOW_CONN_LIBRARY_DB": postgres_connection(application),
                "AIRFLOW_CONN_GLACIER_CATALOG": postgres_connection(catalog),
                "AIRFLOW_CONN_AWS_DEFAULT": store.connection(),
                "GLACIER_APPLICATIONS": str(settings),
                CLUSTER: str(directory / "cluster.json"),
            }
        )
        rest = Rest(airflow.url, print, children.check)
        end.callback(rest.close)
        rest.wait_until_ready(tuple(f"glacier_{kind}__library" for kind in KINDS), 240)
        yield Cluster(rest, claims, directory / "logs", postgres, application, catalog, store.url)


@pytest.fixture(scope="module")
def backed_up(cluster: Cluster) -> Cluster:
    """A library with one backup."""
    cluster.sql("CREATE TABLE documents (id int PRIMARY KEY, file text)")
    cluster.sql("INSERT INTO documents SELECT n, '2026/document ' || n || '.pdf' FROM generate_series(1, 12) n")
    for name, content in FILES.items():
        (cluster.uploads / name).parent.mkdir(parents=True, exist_ok=True)
        (cluster.uploads / name).write_bytes(content)
    cluster.run("backup")
    return cluster


def test_a_backup_needs_nothing_but_its_volumes(backed_up: Cluster) -> None:
    assert len(backed_up.pods("backup")) >= 7
    assert list(backed_up.claims["glacier-staging"].iterdir()) == []
    [(state, report)] = backed_up.sql(
        "SELECT state, report FROM glacier_catalog.application_data_backups", backed_up.catalog
    )
    assert state == "complete"
    assert report["rehearsal"]["in_place"]["verdict"] == "yes"
    assert report["fingerprint"]["mode"] == "counts"


def test_a_restore_brings_back_what_was_lost(backed_up: Cluster) -> None:
    backed_up.sql("DELETE FROM documents WHERE id > 6")
    shutil.rmtree(backed_up.uploads / "2026")
    (backed_up.uploads / "later.txt").write_text("an orphan")
    backed_up.run("restore", backup_id="latest")
    assert backed_up.present() == FILES
    assert backed_up.sql("SELECT count(*) FROM documents") == [(12,)]
    assert [path.name for path in (backed_up.claims["library-files"] / "orphan_files").rglob("*.txt")] == ["later.txt"]
    assert list(backed_up.claims["glacier-staging"].iterdir()) == []


def test_a_restore_into_another_place_leaves_the_application_alone(backed_up: Cluster) -> None:
    backed_up.run("restore", backup_id="latest", into="copy")
    assert backed_up.present(backed_up.claims["library-files"] / "copy") == FILES
    copy = backed_up.application.with_database("library_copy")
    assert backed_up.sql("SELECT count(*) FROM documents", copy) == [(12,)]


def test_a_drill_has_a_server_of_its_own_in_one_pod(backed_up: Cluster) -> None:
    backed_up.run("drill")
    assert backed_up.proofs()[-1] == ("drill", "passed")
    assert list(backed_up.claims["glacier-staging"].iterdir()) == []


def test_a_verification_needs_no_directory(backed_up: Cluster) -> None:
    backed_up.run("verify")
    assert backed_up.proofs()[-1] == ("verification", "passed")


@pytest.mark.parametrize("mark", ["failed", "success"])
def test_a_restore_pauses_when_its_download_is_marked_and_goes_on_when_that_is_cleared(
    backed_up: Cluster, mark: str
) -> None:
    hung = "2026/document 7.pdf"
    backed_up.sql("DELETE FROM documents WHERE id > 6")
    shutil.rmtree(backed_up.uploads / "2026")
    backed_up.asked(
        "POST",
        "faults",
        {"operation": "GetObject", "kind": "hang", "seconds": 60, "count": 1, "when": {"key": "*document*7.pdf"}},
    )
    before = backed_up.asked("GET", "requests")
    run = backed_up.start("restore", backup_id="latest")
    backed_up.wait_for(lambda: backed_up.present().keys() == FILES.keys() - {hung})
    backed_up.rest._ask("PATCH", f"{run}/taskInstances/download/0", {"new_state": mark})
    assert backed_up.wait_for_end(run) == "failed"
    assert backed_up.present().keys() == FILES.keys() - {hung}
    assert backed_up.sql("SELECT count(*) FROM documents") == [(6,)], "no database without its files"
    dag, _, run_id = run.partition("/dagRuns/")
    told = {"dry_run": False, "dag_run_id": run_id, "task_ids": ["download"], "only_failed": False}
    backed_up.rest._ask("POST", f"{dag}/clearTaskInstances", {**told, "include_downstream": True})
    assert backed_up.wait_for_end(run) == "success"
    assert backed_up.present() == FILES
    assert backed_up.sql("SELECT count(*) FROM documents") == [(12,)]
    after = backed_up.asked("GET", "requests")
    brought, paid = (after[name] - before.get(name, 0) for name in ("GetObject", "RestoreObject"))
    assert brought == len(FILES) + 2, "all files and the dump once, and once more what was under way"
    assert paid <= len(FILES) + 1
