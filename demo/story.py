"""The demo's steps, top to bottom as they happen."""

from __future__ import annotations

import json
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from demo import sample_application
from demo.airflow import Airflow, Installation, Rest
from demo.catalog import Backup, Catalog
from demo.processes import CHECKOUT, Children, clean_environment
from demo.report import DemoFailed, Report, Step, count, size
from demo.sample_application import Change, Fingerprint
from demo.stores import STORES, DemoStore
from tests.support.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from glacier_provider.postgres import Server

APPLICATION = "dms"
BACKUP_DAG, RESTORE_DAG = f"glacier_backup__{APPLICATION}", f"glacier_restore__{APPLICATION}"
DRILL_DAG, VERIFY_DAG = f"glacier_drill__{APPLICATION}", f"glacier_verify__{APPLICATION}"
CATALOG = "glacier_catalog"


@dataclass(frozen=True, slots=True)
class World:
    """What runs while the story is told."""

    directory: Path
    report: Report
    application: Server
    catalog: Catalog
    store: DemoStore
    airflow: Airflow
    rest: Rest

    @property
    def files(self) -> Path:
        return self.directory / "attached_files"


def tell(directory: Path, report: Report, store_kind: str, end: ExitStack) -> World:
    """Run the whole story and return what runs then; `end` gets what ends it. Raise DemoFailed where it goes wrong."""
    world = set_up(directory, report, store_kind, end)
    first = back_up("first backup", world)
    before = sample_application.fingerprint(world.application, world.files)
    expect(
        (first.new_files, first.new_bytes) == (before.files, before.bytes), f"{first}; there are {before.files} files"
    )
    change = let_a_day_pass(world, before)
    second = back_up("second backup", world)
    expect_only_the_change(second, change)
    prove_cold(world, first)
    restore(world, first, change)
    compare(world, before)
    prove("drill of the last backup", DRILL_DAG, world, second)
    if world.store.uri.startswith("s3:"):  # a vault makes its inventory once a day
        prove("verification in the cold", VERIFY_DAG, world, second)
    return world


def set_up(directory: Path, report: Report, store_kind: str, end: ExitStack) -> World:
    """Start everything, as much as possible at once, and create the sample application."""
    children = Children(_logs(directory), clean_environment())
    end.callback(children.stop)
    with report.step("PostgreSQL, emulated store") as step:
        store = STORES[store_kind](children, directory)
        postgres = end.enter_context(EmbeddedPostgres(directory, settings={"max_connections": "200"}))
        end.callback(children.stop)  # here once more: Airflow ends before its database does
        application, catalog, metadata = _databases(postgres)
        airflow = Airflow(Installation(directory / "airflow", metadata, CHECKOUT / "dags"), children)
        migration = airflow.migrate()
        files = directory / "attached_files"
        sample = _Background(lambda: sample_application.create(application, files))
        store.prepare()
        step.figures = f"server {_version(postgres)}; {store.uri}"
    with report.step("Airflow") as step:
        children.finish(migration, 300)
        airflow.start(_connections(application, catalog, store, _applications(directory, store.uri)))
        rest = Rest(airflow.url, report.say, children.check)
        end.callback(rest.close)
        seconds = sample.join()
        step_of_sample = Step("sample application", seconds, _inventory(application, files))
        report.say(f"sample application: {step_of_sample.figures}")
        rest.wait_until_ready((BACKUP_DAG, RESTORE_DAG, DRILL_DAG, VERIFY_DAG))
        step.figures = f"API server, scheduler, DAG processor, triggerer at {airflow.url}"
    report.steps.insert(-1, step_of_sample)
    return World(directory, report, application, Catalog(catalog), store, airflow, rest)


def back_up(name: str, world: World) -> Backup:
    """Run the backup DAG; return the backup that it made."""
    with world.report.step(name) as step:
        world.rest.run(BACKUP_DAG, {})
        backup = world.catalog.newest_backup()
        step.figures = str(backup)
    return backup


def let_a_day_pass(world: World, before: Fingerprint) -> Change:
    """Change rows, schema and files."""
    with world.report.step("a day passes") as step:
        change = sample_application.change(world.application, world.files)
        after = sample_application.fingerprint(world.application, world.files)
        changed = len(sample_application.differences(before, after))
        files = f"{count(len(change.added), 'file')} added, {len(change.deleted)} deleted"
        step.figures = f"{files}; {changed} of {len(before.things):,} tables, objects and files differ"
    return change


def expect_only_the_change(backup: Backup, change: Change) -> None:
    """Raise DemoFailed unless a backup uploaded the added files and nothing else."""
    added = len(change.added), change.added_bytes
    expect(
        (backup.new_files, backup.new_bytes) == added, f"{backup}, but {added[0]} files ({added[1]} bytes) were added"
    )
    expect(backup.vanished == len(change.deleted), f"backup {backup.id} saw {backup.vanished} deleted files")


def prove_cold(world: World, backup: Backup) -> None:
    """Show that the store refuses to give an archive before it was asked back."""
    with world.report.step("the archives are cold") as step:
        step.figures = world.store.refusal(backup.dump_key)


def restore(world: World, backup: Backup, change: Change) -> None:
    """Run the restore DAG for a backup; raise DemoFailed unless it retrieved and moved only what it had to."""
    with world.report.step(f"restore of backup {backup.id}") as step:
        world.rest.run(RESTORE_DAG, {"backup_id": backup.id})
        done = world.catalog.newest_restore()
        step.figures = str(done)
    missing = change.deleted_bytes + backup.dump_bytes
    expect(done.retrieved_bytes == missing, f"dump and missing files are {missing} bytes, yet it {done}")
    expect(done.orphans == len(change.added), f"{len(change.added)} files were added later, yet it {done}")


def compare(world: World, before: Fingerprint) -> None:
    """Raise DemoFailed, with a list, unless the application is what it was."""
    with world.report.step("comparison") as step:
        after = sample_application.fingerprint(world.application, world.files)
        found = sample_application.differences(before, after)
        if found:
            raise DemoFailed(f"{len(found)} things are not what they were", "\n".join(found[:40]))
        rows, files = count(after.rows, "row"), count(after.files, "file")
        step.figures = f"{rows}, {files} ({size(after.bytes)}), {len(after.things):,} hashes: all as before"


def prove(name: str, dag: str, world: World, backup: Backup) -> None:
    """Run a drill or a verification; raise DemoFailed unless it passed and left its evidence."""
    with world.report.step(name) as step:
        world.rest.run(dag, {})
        step.figures = world.catalog.proof(backup, "drill" if dag == DRILL_DAG else "verification")


def expect(true: bool, otherwise: str) -> None:
    if not true:
        raise DemoFailed(otherwise)


class _Background:
    """A block that runs beside the main thread."""

    def __init__(self, block: Callable[[], object]) -> None:
        self._error: BaseException | None = None
        self._seconds = 0.0
        self._thread = threading.Thread(target=self._run, args=(block,), daemon=True)
        self._thread.start()

    def join(self) -> float:
        """Wait for the block, raise what it raised, or return its seconds."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._seconds

    def _run(self, block: Callable[[], object]) -> None:
        begun = time.monotonic()
        try:
            block()
        except BaseException as exc:  # noqa: BLE001 (raised again by join)
            self._error = exc
        self._seconds = time.monotonic() - begun


def _logs(directory: Path) -> Path:
    """Return an empty directory's place for logs; what a demo left there before is removed."""
    shutil.rmtree(directory, ignore_errors=True)
    logs = directory / "logs"
    logs.mkdir(parents=True)
    return logs


def _databases(postgres: EmbeddedPostgres) -> tuple[Server, Server, Server]:
    """Create the application's database, the catalog's and Airflow's, each with an owner who is no superuser."""
    for role in sample_application.ROLES:
        postgres.create_role(role)
    servers = []
    for name in (APPLICATION, CATALOG, "airflow"):
        password = secrets.token_hex(12)
        postgres.create_role(name, password=password)
        postgres.create_database(name, owner=name)
        servers.append(postgres.server(name, user=name, password=password))
    application, catalog, metadata = servers
    return application, catalog, metadata


def _version(postgres: EmbeddedPostgres) -> str:
    return str(postgres.execute("SHOW server_version")[0][0])


def _applications(directory: Path, store_uri: str) -> Path:
    """Write applications.yaml. Without a schedule: Airflow would start the last missed run between the demo's own."""
    entry = {
        "postgres_conn_id": "dms_database",
        "catalog_conn_id": "glacier_catalog",
        "files_directory": str(directory / "attached_files"),
        "orphan_directory": str(directory / "orphan_files"),
        "staging_directory": str(directory / "staging"),
        "store": store_uri,
        "aws_conn_id": "dms_aws",
        "schedule": None,
        "settle_seconds": 0,
        "poll_seconds": 1,
        "drill": {"schedule": None, "sample_files": 50},
        "verify": {"schedule": None},
        "references_query": "SELECT file_name FROM documents WHERE file_name IS NOT NULL",
    }
    path = directory / "applications.yaml"
    path.write_text(yaml.safe_dump({"applications": {APPLICATION: entry}}, sort_keys=False))
    return path


def _connections(application: Server, catalog: Server, store: DemoStore, applications: Path) -> dict[str, str]:
    """Return the environment that makes this installation of Airflow one of the sample application."""
    return {
        "AIRFLOW_CONN_DMS_DATABASE": _postgres_connection(application),
        "AIRFLOW_CONN_GLACIER_CATALOG": _postgres_connection(catalog),
        "AIRFLOW_CONN_DMS_AWS": store.connection(),
        "GLACIER_APPLICATIONS": str(applications),
    }


def _postgres_connection(server: Server) -> str:
    named = {"host": server.host, "port": server.port, "login": server.user, "password": server.password}
    return json.dumps({"conn_type": "postgres", "schema": server.dbname, **named})


def _inventory(application: Server, files: Path) -> str:
    """Return what the sample application consists of, in figures."""
    found = sample_application.fingerprint(application, files)
    tables = count(sum(name.startswith("rows of ") for name in found.things), "table")
    return f"{count(found.rows, 'row')} in {tables}, {count(found.files, 'file')} ({size(found.bytes)})"
