"""T11: what Airflow costs on top: imports, the upload task of 20,000 files, task instances, 100 applications to parse.

The task runs as Airflow's executors run it: a supervisor forks a process that parses the DAG file, executes the task
and sends its logs and heartbeats back; the API server answers within the supervisor. The plain script calls the same
function, `backup.upload_files`, with the same catalog, files and server.
"""

from __future__ import annotations

import json
import os
import resource
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench import data
from bench.cases.t01_small_files import planned
from bench.child import python
from bench.harness import Case, Contender, Sample, Target
from bench.processes import CHECKOUT, BenchFailed
from bench.servers import BUCKET, Sink
from bench.workshop import Workshop
from glacier_provider.postgres import Server
from tests.support.postgres import EmbeddedPostgres

FILES, FEW = 20_000, 10
#: open, dump, scan, upload_database and close; upload_files is one for each of the application's parallel shares.
TASKS = 5
PARALLELISM = 1
CONNECTIONS = 32

OURS = (
    "glacier_provider.operators.backup_steps, glacier_provider.operators.restore_steps, "
    "glacier_provider.operators.glacier_upload, glacier_provider.operators.pg_dump, "
    "glacier_provider.operators.orphan_file, glacier_provider.operators.selective_pg_restore, "
    "glacier_provider.sensors.glacier_job, glacier_provider.hooks.resources"
)
#: What every DAG file takes from airflow.sdk: its names are loaded when they are asked for.
SDK = "from airflow.sdk import DAG, Asset, BaseOperator, BaseSensorOperator, Param, TriggerRule"


# --- imports -------------------------------------------------------------------------------------------------------


@contextmanager
def imports(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    env = {"AIRFLOW_HOME": str(workshop.scratch("airflow"))}

    def fresh(name: str, statement: str) -> Contender:
        return Contender(name, (sys.executable, "-W", "ignore", "-c", statement), env)

    yield [
        fresh("airflow.sdk", SDK),
        fresh("our operators", f"{SDK}; import {OURS}"),
        fresh("amazon's S3Hook", f"{SDK}; from airflow.providers.amazon.aws.hooks.s3 import S3Hook"),
    ]


# --- the upload task -----------------------------------------------------------------------------------------------


@contextmanager
def uploads(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    count = workshop.scaled(FILES, least=FEW)
    many = workshop.in_memory(f"small-{count}", count * data.SMALL, lambda path: data.small_files(path, count))
    few = workshop.in_memory(f"small-{FEW}", FEW * data.SMALL, lambda path: data.small_files(path, FEW))
    scratch = workshop.scratch("t11")
    with (
        workshop.serving(Sink()) as sink,
        workshop.serving(EmbeddedPostgres(workshop.scratch("t11-catalog"), settings=data.SETTINGS)) as postgres,
    ):

        def setup(name: str, source: Path, prepare: Any) -> dict[str, Any]:
            path = scratch / f"{name}.json"

            def before() -> None:
                sink.forget()
                path.write_text(json.dumps(prepare(postgres, sink, source, connections=CONNECTIONS)))

            return {"arguments": {"setup": str(path)}, "before": before}

        def airflow(name: str, source: Path, files: int) -> Contender:
            function = "bench.cases.t11_airflow:through_airflow"
            fields = setup(f"airflow-{files}", source, with_an_empty_catalog)
            return python(name, function, items=files, after=_uploaded(files), **fields)

        plain = setup("plain", many, planned)
        yield [
            python("plain script", "bench.cases.t01_small_files:upload", items=count, **plain),
            airflow("through Airflow", many, count),
            airflow("through Airflow, 10 files", few, FEW),
        ]


def with_an_empty_catalog(postgres: Any, server: Any, source: Path, *, connections: int) -> dict[str, Any]:
    """Return what `through_airflow` needs: the same as `planned`, but the DAG's own tasks plan the backup."""
    from glacier_provider.applications import Application

    database = postgres.create_database(f"airflow_{secrets.token_hex(4)}")
    application = Application(
        name="bench",
        postgres_conn_id="bench",
        files_directory=str(source),
        orphan_directory=str(source.with_name("orphans")),
        staging_directory=str(source.with_name(f"staging-{database.dbname}")),
        store=f"s3://{BUCKET}/{database.dbname}?storage_class=STANDARD",
        parallelism=PARALLELISM,
        connections=connections,
    )
    return {
        "application": application.to_dict(),
        "url": server.url,
        "database": data.address(database),
    }


def _uploaded(files: int) -> Any:
    def after(sample: Sample) -> None:
        if sample.values.get("files") != files:
            raise BenchFailed(f"{sample.contender}: {sample.values.get('files')} of {files} files are archived")
        if sample.values["instances"] > TASKS + PARALLELISM:
            raise BenchFailed(f"{sample.contender}: {sample.values['instances']} task instances")

    return after


def through_airflow(setup: str) -> Mapping[str, float]:
    """Run the backup DAG by `dag.test`, its upload task by a supervisor; return the seconds of that task."""
    from tests.support import clean_environment, airflow as support  # isort: skip - Airflow reads the environment first

    values = json.loads(Path(setup).read_text())
    server = Server(**values["database"])
    application = _application(values, server)
    with support.settings_of(application):
        support.initialise_airflow()
        _without_chatter()
        seconds = _supervised_uploads(Path(clean_environment.AIRFLOW_HOME))
        ran = support.run_dag(application, "backup")
    if ran.state != "success":
        raise BenchFailed(f"the DAG run ended as {ran.state}: {ran.tasks}")
    with server.connect(autocommit=True) as connection:
        archived = "SELECT count(*) FROM glacier_catalog.glacier_archives WHERE kind = 'file' AND state = 'archived'"
        files = connection.execute(archived).fetchone()
    instances = sum(len(states) for states in ran.tasks.values())
    return {
        "task": sum(wall for wall, _ in seconds),
        "task_cpu": sum(cpu for _, cpu in seconds),
        "instances": instances,
        "files": files[0] if files else 0,
    }


def _application(values: Mapping[str, Any], server: Server) -> Any:
    """Return the application as the support of the tests takes it: its own database is the catalog's."""
    from glacier_provider.applications import Application

    return SimpleNamespace(
        application=Application.from_dict(values["application"]),
        server=server,
        catalog_server=server,
        s3=SimpleNamespace(url=values["url"]),
        other_endpoints={},
    )


def _without_chatter() -> None:
    import logging

    logging.getLogger("airflow").setLevel(logging.WARNING)


def _supervised_uploads(home: Path) -> list[tuple[float, float]]:
    """Let `dag.test` run the upload of the files in a supervised process; the list gets seconds and CPU seconds."""
    from airflow.sdk.execution_time import supervisor

    in_process = supervisor.run_task_in_process
    seconds: list[tuple[float, float]] = []

    def run(ti: Any, task: Any, **options: Any) -> Any:
        if ti.task_id != "upload_files":
            return in_process(ti=ti, task=task, **options)
        seconds.append(_supervised(ti, task, home / "upload.log"))
        state = SimpleNamespace(state=_state_of(ti), task=task)
        return supervisor.TaskRunResult(ti=state, state=state.state, msg=None, error=None)

    supervisor.run_task_in_process = run
    return seconds


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _supervised(ti: Any, task: Any, log: Path) -> tuple[float, float]:
    """Run a task from a new process that has imported Airflow alone, as a worker has."""
    told = log.with_suffix(".json")
    arguments = [ti.model_dump_json(exclude_unset=True), os.path.basename(task.dag.fileloc), str(log), str(told)]
    subprocess.run([sys.executable, "-m", "bench.cases.t11_airflow", *arguments], check=True)
    wall, cpu = json.loads(told.read_text())
    return wall, cpu


def supervise(instance: str, dag_file: str, log: str, told: str) -> None:
    """Fork the process of a task and see it through; write its seconds and CPU seconds."""
    from airflow.api_fastapi.execution_api.datamodels.taskinstance import TaskInstance
    from airflow.executors.workloads.base import BundleInfo
    from airflow.executors.workloads.task import TaskInstanceDTO
    from airflow.sdk.execution_time.supervisor import InProcessTestSupervisor, supervise_task

    fields = dict(TaskInstance.model_validate_json(instance)) | {"pool_slots": 1, "priority_weight": 1}
    client = InProcessTestSupervisor._api_client(object())
    client.variables.get("warm")  # a worker's API server runs already, and has answered before
    begun, cpu = time.perf_counter(), _cpu_of_children()
    status = supervise_task(
        ti=TaskInstanceDTO.model_construct(**{**fields, "queue": "default"}),
        bundle_info=BundleInfo(name="dags-folder"),
        dag_rel_path=dag_file,
        token="",
        client=client,
        log_path=log,
    )
    Path(told).write_text(json.dumps((time.perf_counter() - begun, _cpu_of_children() - cpu)))
    if status:
        raise BenchFailed(f"the supervised task ended with status {status}:\n{Path(log).read_text()[-3000:]}")


def _state_of(ti: Any) -> Any:
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        return session.get(TaskInstance, ti.id).state


# --- parsing -------------------------------------------------------------------------------------------------------

ENTRY = """  app{number}:
    postgres_conn_id: db{number}
    files_directory: /srv/files{number}
    store: s3://backups/app{number}?storage_class=GLACIER
"""


@contextmanager
def parses(workshop: Workshop) -> Iterator[Sequence[Contender]]:
    home = workshop.scratch("dags")

    def of(number: int) -> Contender:
        applications = home / f"{number}.yaml"
        entries = "".join(ENTRY.format(number=each) for each in range(number))
        applications.write_text(f"defaults:\n  staging_directory: /srv/staging\napplications:\n{entries}")
        env = {"AIRFLOW_HOME": str(home), "GLACIER_APPLICATIONS": str(applications)}
        arguments = {"applications": number}
        return python(f"{number} applications", "bench.cases.t11_airflow:parse", arguments=arguments, env=env)

    yield [of(1), of(100)]


def parse(applications: int, times: int = 3) -> Mapping[str, float]:
    """Parse both DAG files as the DAG processor does, in forked processes; return the median seconds of each."""
    told: dict[str, float] = {}
    for name in ("backup", "restore"):
        found = [_parsed(f"glacier_{name}.py", applications) for _ in range(times)]
        told[name] = statistics.median(wall for wall, _ in found)
        told[f"{name}_cpu"] = statistics.median(cpu for _, cpu in found)
    return told


def _parsed(name: str, applications: int) -> tuple[float, float]:
    """Return the seconds and CPU seconds of Airflow's parsing process, from its fork to its answer."""
    import selectors

    import airflow.dag_processing.manager  # noqa: F401 - what the parent of the parsing process has imported
    import structlog
    from airflow.dag_processing.processor import DagFileProcessorProcess
    from uuid6 import uuid7

    begun, cpu = time.perf_counter(), _cpu_of_children()
    selector = selectors.DefaultSelector()
    with open(os.devnull, "wb") as log:
        process: Any = DagFileProcessorProcess.start(
            id=uuid7(), path=str(CHECKOUT / "dags" / name), bundle_path=CHECKOUT / "dags", bundle_name="dags",
            dag_file_rel_path=name, callbacks=[], selector=selector, logger=structlog.get_logger(),
            logger_filehandle=log, client=None,
        )  # fmt: skip
        while not process.is_ready:
            for key, _ in selector.select(timeout=0.1):
                handle, on_close = key.data
                if not handle(key.fileobj):
                    on_close(key.fileobj)
                    key.fileobj.close()
            process._check_subprocess_exit()
    wall, found = time.perf_counter() - begun, process.parsing_result
    if found.import_errors or len(found.serialized_dags) != applications:
        raise BenchFailed(f"{name}: {len(found.serialized_dags)} DAGs, {found.import_errors}")
    return wall, _cpu_of_children() - cpu


CASES = (
    Case(
        "t11a",
        "import of the operators in a fresh interpreter",
        imports,
        (Target("T11 import, airflow.sdk", "our operators", "airflow.sdk", 1.05),),
        warm_up=True,
    ),
    Case(
        "t11b",
        "the upload of 20,000 new files as a task of Airflow",
        uploads,
        (
            Target("T11 task, plain script (+ 1.5 s)", "through Airflow", "plain script", 1.1, "task", "inside", 1.5),
            Target(
                "T11 task instances", "through Airflow", "through Airflow, 10 files", 1.0, "instances", counted=True
            ),
        ),
    ),
    Case(
        "t11c",
        "parsing of the DAG files with 100 applications",
        parses,
        (
            Target("T11 parse backup DAGs of 100, of 1", "100 applications", "1 applications", 10, "backup"),
            Target("T11 parse restore DAGs of 100, of 1", "100 applications", "1 applications", 10, "restore"),
        ),
    ),
)

if __name__ == "__main__":
    supervise(*sys.argv[1:])
