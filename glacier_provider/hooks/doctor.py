"""`doctor` as far as Airflow has a part in it: connections, the store, the queue, DAGs, pools and the triggerer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.core.dags import BACKUP, RESTORE, all_dag_ids, dag_id_of
from glacier_provider.core.diagnosis import Diagnosis, Judgement
from glacier_provider.core.store_uri import S3Uri, parse_store_uri
from glacier_provider.errors import GlacierProviderError
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
    if application.verify.by != "content" or not application.store.startswith("s3:"):
        return
    try:
        open_batch_of(application, application.store)
    except GlacierProviderError as error:
        yield _told("role of S3 Batch Operations", error)
    else:
        yield Diagnosis("role of S3 Batch Operations", _WELL, f"{application.verify.role_arn} is named")


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
        for kind in (BACKUP, RESTORE):
            dag_id = dag_id_of(kind, name)
            by_itself = kind == BACKUP and bool(application.schedule)
            yield from _dag(session, dag_id, paused=_WRONG if by_itself else Judgement.DOUBTFUL)
        if application.alerts.to:
            yield from _dag(session, "glacier_alerts", paused=_WRONG)
        yield from _waiting(name, session)
        alive = datetime.now(UTC) - timedelta(minutes=2)
        beats = session.query(Job.job_type).filter(Job.state == "running", Job.latest_heartbeat > alive)
        running = {kind for (kind,) in beats}
    for job, why in (("SchedulerJob", "nothing is started"), ("TriggererJob", "restores wait for ever")):
        what = job.removesuffix("Job").lower()
        if job not in running:
            yield Diagnosis(what, _WRONG, f"no {what} is alive: {why}", f"Start it: airflow {what}")


def _dag(session: Any, dag_id: str, *, paused: Judgement) -> Iterator[Diagnosis]:
    """Yield what is wrong with a DAG: that Airflow does not know it, or no more, or that it is paused."""
    from airflow.models.dag import DagModel

    known = (DagModel.dag_id == dag_id, DagModel.is_stale.is_(False))
    found = session.query(DagModel.is_paused).filter(*known).first()
    if found is None:
        mend = "Copy the files of dags/ into the DAGs folder; see: airflow dags list-import-errors"
        yield Diagnosis(f"DAG {dag_id}", _WRONG, "Airflow does not know it", mend)
    elif found[0]:
        yield Diagnosis(f"DAG {dag_id}", paused, "it is paused", f"airflow dags unpause {dag_id}")


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
