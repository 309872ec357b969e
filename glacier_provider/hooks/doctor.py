"""`doctor` as far as Airflow has a part in it: connections, the store, the queue, DAGs, pools and the triggerer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.core.dags import ALERTS, BACKUP, DRILL, RESTORE, VERIFY, all_dag_ids, dag_id_of
from glacier_provider.core.diagnosis import Diagnosis, Judgement
from glacier_provider.core.store_uri import S3Uri, parse_store_uri
from glacier_provider.core.text import names
from glacier_provider.errors import GlacierProviderError
from glacier_provider.hooks.pods import POD, pod_of
from glacier_provider.hooks.resources import (
    Resources,
    aws_client,
    connection_of,
    open_batch_of,
    open_queue_of,
    open_store_of,
    server_of,
)

_WELL, _WRONG = Judgement.WELL, Judgement.WRONG

#: A task that waits for a worker longer has none that listens to its queue, or all are busy.
QUEUED_FOR = timedelta(minutes=2)


def examine(application: Application, *, of_airflow: bool = True) -> Iterator[Diagnosis]:
    """Yield all that can be found out about an application from this machine; on a worker not `of_airflow` itself."""
    from glacier_provider.pipelines import doctor

    with Resources(application) as resources:
        parts: tuple[Callable[[], Iterator[Diagnosis]], ...] = (
            lambda: doctor.examine_database(application, lambda: server_of(application.postgres_conn_id)),
            lambda: doctor.examine_catalog(application, lambda: resources.catalog),
            lambda: doctor.examine_directories(application),
            lambda: _store(application),
            lambda: _queue(application),
            lambda: _batch(application),
            lambda: _pod(application),
            lambda: _called(application),
        )
        for part in parts:
            yield from _whole(part)
    if of_airflow:
        yield from examine_airflow(application)


def _whole(part: Callable[[], Iterator[Diagnosis]]) -> Iterator[Diagnosis]:
    """Yield what a part found; one that breaks down keeps no other from being looked at."""
    try:
        yield from part()
    except GlacierProviderError as error:
        yield _told("what follows", error)
    except Exception as error:  # noqa: BLE001 - of whatever library; its text may hold what nobody may read
        told = f"it could not be looked at ({type(error).__name__})"
        yield Diagnosis("what follows", Judgement.UNTRIED, told, "Look into the log of the server that is asked.")


def _store(application: Application) -> Iterator[Diagnosis]:
    from glacier_provider.stores import client_config, client_type

    uri = parse_store_uri(application.store)
    try:
        if not isinstance(uri, S3Uri):
            open_store_of(application, application.store).check()
            yield Diagnosis("vault", _WELL, f"the vault {uri.vault} answers")
            return
        client = aws_client(
            application, client_type(uri), region=uri.region, config=client_config(uri), subject=application.store
        )
    except GlacierProviderError as error:
        yield _told(f"store ({application.aws_conn_id})", error)
        return
    from glacier_provider.stores.s3.examine import examine_bucket

    yield from examine_bucket(uri, client)


def _queue(application: Application) -> Iterator[Diagnosis]:
    if application.notifications.queue is None:
        return
    try:
        queue: Any = open_queue_of(application)
        queue.receive(wait_seconds=0) if hasattr(queue, "receive") else None
    except GlacierProviderError as error:
        yield _told("queue of notifications", error)
    else:
        yield Diagnosis("queue of notifications", _WELL, "it can be read")


def _batch(application: Application) -> Iterator[Diagnosis]:
    """Yield whether jobs can be asked about; that of the role itself, and creating one, only a job tells."""
    asks = application.retrieval_batch == "auto" and application.verify.role_arn is not None
    if not (application.verify.by == "content" or asks) or not application.store.startswith("s3:"):
        return
    about = "role of S3 Batch Operations"
    try:
        open_batch_of(application, application.store).check()
    except GlacierProviderError as error:
        found = _told(about, error)  # restores ask one by one without
        yield found if application.verify.by == "content" else replace(found, judgement=Judgement.DOUBTFUL)
    else:
        yield Diagnosis(about, _WELL, f"{application.verify.role_arn} is named, and jobs can be asked about")


def _pod(application: Application) -> Iterator[Diagnosis]:
    given, about = (application.executor_config or {}).get(POD), f"executor_config.{POD}"
    if given is None:
        return
    mend = "Compare spelling and capitals with Kubernetes' reference; a newer field needs a newer kubernetes package."
    try:
        _, unknown = pod_of(given)
    except ImportError:
        told = "it cannot be read without apache-airflow-providers-cncf-kubernetes"
        yield Diagnosis(about, Judgement.UNTRIED, told, "pip install 'glacier-provider[kubernetes]'")
    except GlacierProviderError as error:
        yield Diagnosis(about, _WRONG, f"it is no pod, and is left out ({error.message})", mend)
    else:
        if unknown:
            told = f"Kubernetes knows no such fields, and leaves them out: {names(unknown)}"
            yield Diagnosis(about, _WRONG, told, mend)
        else:
            yield Diagnosis(about, _WELL, "it is a pod")


def _called(application: Application) -> Iterator[Diagnosis]:
    """Yield who is to be called and cannot be, since there is no such connection. Nobody is called for it."""
    from glacier_provider.core.alert import AlertTarget

    asked = {"ping": application.ping} if application.ping else {}
    for target in (AlertTarget.from_given(one) for one in application.alerts.to):
        if target.kind != "notifier":
            is_mail = target.kind == "email"
            asked[target.name] = target.options.get("conn_id", "smtp_default") if is_mail else target.address
    for about, conn_id in asked.items():
        try:
            if "://" not in conn_id:
                connection_of(conn_id)
        except GlacierProviderError as error:
            yield _told(about, error)
        else:
            yield Diagnosis(about, _WELL, "its address is known; whether it arrives: glacier-backup alerts test")


def examine_airflow(application: Application) -> Iterator[Diagnosis]:
    """Yield what Airflow lacks, by its own database, where this process may look into it."""
    try:
        found = list(_from_metadata(application))
    except Exception as error:  # noqa: BLE001 - a worker may not, and a broken Airflow is told by others
        told = f"Airflow's own database cannot be asked from here ({type(error).__name__})"
        found = [
            Diagnosis("Airflow", Judgement.UNTRIED, told, "Run doctor where the scheduler or the API server runs.")
        ]
    yield from found


def _from_metadata(application: Application) -> Iterator[Diagnosis]:
    from airflow.jobs.job import Job
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session

    name = application.name
    with create_session() as session:
        if application.pool and session.query(Pool.id).filter(Pool.pool == application.pool).first() is None:
            told = f"there is no pool {application.pool}: tasks in it are never started, without a word"
            yield Diagnosis("pool", _WRONG, told, f"airflow pools set {application.pool} 2 'Glacier backups'")
        for dag_id, matters in _dags_of(application):
            yield _known(dag_id, matters, session)
        yield from _last_run(dag_id_of(BACKUP, name), session)
        yield from _waiting(name, session)
        alive = datetime.now(UTC) - timedelta(minutes=2)
        beats = session.query(Job.job_type).filter(Job.state == "running", Job.latest_heartbeat > alive)
        running = {kind for (kind,) in beats}
    for job, why in (("SchedulerJob", "nothing is started"), ("TriggererJob", "restores wait for ever")):
        what = job.removesuffix("Job").lower()
        if job not in running:
            yield Diagnosis(what, _WRONG, f"no {what} is alive: {why}", f"Start it: airflow {what}")
        else:
            yield Diagnosis(what, _WELL, "one is alive")


def _dags_of(application: Application) -> Iterator[tuple[str, bool]]:
    """Yield the DAGs that have to be there, each with whether something that was asked for is not done while it is
    paused."""
    name = application.name
    yield dag_id_of(BACKUP, name), application.schedule is not None
    yield dag_id_of(RESTORE, name), False
    for kind, is_made, schedule in (
        (VERIFY, application.verify.by != "off", application.verify.schedule),
        (DRILL, application.drill.which != "off", application.drill.schedule),
    ):
        if is_made:
            yield dag_id_of(kind, name), schedule is not None
    if application.alerts.to:
        yield ALERTS, True


def _known(dag_id: str, matters: bool, session: Any) -> Diagnosis:
    """Return whether Airflow knows a DAG, still, that is not paused."""
    from airflow.models.dag import DagModel

    about = f"DAG {dag_id}"
    dag = session.query(DagModel.is_paused).filter(DagModel.dag_id == dag_id, DagModel.is_stale.is_(False)).first()
    if dag is None:
        mend = (
            "The line `from glacier_provider.bundle import *  # Airflow: the DAGs` in a file of the DAGs folder makes "
            "all of them, within minutes; see: airflow dags list-import-errors"
        )
        return Diagnosis(about, _WRONG, "Airflow does not know it", mend)
    if dag[0]:
        judgement = _WRONG if matters else Judgement.DOUBTFUL
        return Diagnosis(about, judgement, "it is paused", f"airflow dags unpause {dag_id}")
    return Diagnosis(about, _WELL, "Airflow knows it, and it is not paused")


def _last_run(dag_id: str, session: Any) -> Iterator[Diagnosis]:
    """Yield that the last run of a DAG failed, and in which tasks: what only a worker meets is told there."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance

    runs = session.query(DagRun.run_id, DagRun.state).filter(DagRun.dag_id == dag_id, DagRun.end_date.is_not(None))
    last = runs.order_by(DagRun.end_date.desc()).first()
    if last is None or last[1] != "failed":
        return
    failed = session.query(TaskInstance.task_id).filter(
        TaskInstance.dag_id == dag_id, TaskInstance.run_id == last[0], TaskInstance.state == "failed"
    )
    tasks = sorted({task for (task,) in failed})
    told = f"its last run ({last[0]}) failed{' in ' + ', '.join(tasks) if tasks else ''}"
    mend = (
        "Read that task's log in Airflow, mend what it says where the task ran, and clear it, or trigger another run."
    )
    yield Diagnosis(f"DAG {dag_id}", Judgement.DOUBTFUL, told, mend)


def users_of(application: Application) -> dict[str, tuple[str, str]]:
    """Return user and database of the connections of the application and of its catalog, as far as they are there."""
    found = {}
    for conn_id in (application.postgres_conn_id, application.catalog_conn_id):
        with suppress(GlacierProviderError):
            server = server_of(conn_id)
            found[conn_id] = (server.user, server.dbname)
    return found


def _waiting(name: str, session: Any) -> Iterator[Diagnosis]:
    """Yield the queues in which tasks of an application wait for a worker."""
    from airflow.models.taskinstance import TaskInstance

    since = datetime.now(UTC) - QUEUED_FOR
    waiting = session.query(TaskInstance.queue, TaskInstance.dag_id).filter(
        TaskInstance.dag_id.in_(all_dag_ids(name)), TaskInstance.state == "queued", TaskInstance.queued_dttm < since
    )
    for queue in sorted({queue for queue, _ in waiting}):
        minutes = QUEUED_FOR.total_seconds() / 60
        told = f"tasks have waited for a worker of the queue {queue} for more than {minutes:g} minutes"
        yield Diagnosis("queue", _WRONG, told, f"Start a worker for it (Celery: airflow celery worker -q {queue}).")


def _told(about: str, error: GlacierProviderError) -> Diagnosis:
    return Diagnosis(about, _WRONG, error.message.rstrip("."), error.hint)
