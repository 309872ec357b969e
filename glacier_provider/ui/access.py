"""All that the app takes from Airflow's own server: who asks, what they may do, what the scheduler has planned.

These are internals of Airflow without a promise of stability; they are named here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest
from typing import Annotated, Any, Literal, Protocol

from airflow.api.common.trigger_dag import trigger_dag
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.configuration import conf
from airflow.exceptions import DagNotFound
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType
from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials
from sqlalchemy import select

from glacier_provider.catalog.backups import RUN_DELETED
from glacier_provider.errors import IllegalMove
from glacier_provider.hooks.runs import ENDED

Method = Literal["GET", "POST"]


class Rights(Protocol):
    """Who asks, and what they may do with the runs of DAGs."""

    @property
    def name(self) -> str: ...

    def allowed(self, method: Method, dag_ids: Iterable[str]) -> set[str]:
        """Return those of the DAGs whose runs they may read (GET) or start (POST)."""
        ...

    def may_edit(self, dag_id: str | None = None) -> bool:
        """Whether they may edit a DAG; None, any: what is wrong with the file of all applications is told to them."""
        ...


@dataclass(frozen=True, slots=True)
class ScheduledDag:
    """What Airflow knows of a DAG: `next_run` is when it is due, None without a schedule."""

    paused: bool
    next_run: datetime | None


@dataclass(frozen=True, slots=True)
class TaskState:
    """What became of one task of a run; `map_index` -1: not mapped."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    started_at: datetime | None
    ended_at: datetime | None


class Scheduler(Protocol):
    """What Airflow has planned and run."""

    def dags(self, dag_ids: Iterable[str]) -> dict[str, ScheduledDag]:
        """Return those of the DAGs that Airflow has parsed."""
        ...

    def tasks(self, dag_id: str, run_id: str) -> tuple[str | None, list[TaskState]] | None:
        """Return the state of a run and its tasks in the order in which they started; None: there is no such run."""
        ...

    def ended(self, dag_id: str, run_id: str) -> str | None:
        """Return how a run ended, `success`, `failed` or `RUN_DELETED`; None while it goes on."""
        ...

    def returned(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """Return what a task of a run returned, None as long as it did not."""
        ...

    def start(self, dag_id: str, conf: dict[str, Any], *, by: str) -> str:
        """Start a run in a person's name and return its id; raise IllegalMove when Airflow has no such DAG."""
        ...


class UserRights:
    """The rights that Airflow's auth manager gives a logged-in person."""

    def __init__(self, user: Any) -> None:
        self._user = user

    @property
    def name(self) -> str:
        return str(self._user.get_name())

    def allowed(self, method: Method, dag_ids: Iterable[str]) -> set[str]:
        wanted = list(dag_ids)
        if not wanted:
            return set()
        teams = DagModel.get_dag_id_to_team_name_mapping(wanted)
        manager = get_auth_manager()
        return {
            dag_id
            for dag_id in wanted
            if manager.is_authorized_dag(
                method=method,
                access_entity=DagAccessEntity.RUN,
                details=DagDetails(id=dag_id, team_name=teams.get(dag_id)),
                user=self._user,
            )
        }

    def may_edit(self, dag_id: str | None = None) -> bool:
        teams = DagModel.get_dag_id_to_team_name_mapping([dag_id]) if dag_id else {}
        details = DagDetails(id=dag_id, team_name=teams.get(dag_id)) if dag_id else None
        return bool(get_auth_manager().is_authorized_dag(method="PUT", details=details, user=self._user))


class AirflowScheduler:
    """The scheduler's knowledge, from Airflow's metadata database."""

    def dags(self, dag_ids: Iterable[str]) -> dict[str, ScheduledDag]:
        columns = (DagModel.dag_id, DagModel.is_paused, DagModel.next_dagrun_create_after)
        wanted = select(*columns).where(DagModel.dag_id.in_(list(dag_ids)), ~DagModel.is_stale)
        with create_session() as session:
            return {dag_id: ScheduledDag(bool(paused), due) for dag_id, paused, due in session.execute(wanted)}

    def tasks(self, dag_id: str, run_id: str) -> tuple[str | None, list[TaskState]] | None:
        of_run = (TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
        columns = (
            TaskInstance.task_id,
            TaskInstance.map_index,
            TaskInstance.state,
            TaskInstance.try_number,
            TaskInstance.start_date,
            TaskInstance.end_date,
        )
        order = (TaskInstance.start_date.is_(None), TaskInstance.start_date, TaskInstance.task_id)
        with create_session() as session:
            run = session.execute(
                select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
            ).one_or_none()
            if run is None:
                return None
            found = session.execute(select(*columns).where(*of_run).order_by(*order, TaskInstance.map_index))
            return _word(run[0]), [TaskState(row[0], row[1], _word(row[2]), *row[3:]) for row in found]

    def ended(self, dag_id: str, run_id: str) -> str | None:
        wanted = select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        with create_session() as session:
            found = session.execute(wanted).one_or_none()
        if found is None:
            return RUN_DELETED
        state = _word(found[0])
        return state if state in ENDED else None

    def returned(self, dag_id: str, run_id: str, task_id: str) -> Any:
        wanted = select(XComModel.value).where(
            XComModel.dag_id == dag_id,
            XComModel.run_id == run_id,
            XComModel.task_id == task_id,
            XComModel.key == XCOM_RETURN_KEY,
        )
        with create_session() as session:
            row = session.execute(wanted).one_or_none()
        return None if row is None else XComModel.deserialize_value(row)

    def start(self, dag_id: str, conf: dict[str, Any], *, by: str) -> str:
        try:
            run = trigger_dag(dag_id=dag_id, conf=conf, triggered_by=DagRunTriggeredByType.UI, triggering_user_name=by)
        except DagNotFound as error:
            raise IllegalMove(
                f"Airflow has no DAG {dag_id}.", hint="See whether its file is read: airflow dags list-import-errors"
            ) from error
        assert run is not None
        return str(run.run_id)


def _word(state: Any) -> str | None:
    return None if state is None else str(getattr(state, "value", state))


def current_rights(user: Annotated[Any, Depends(get_user)]) -> Rights:
    """Refuse whoever is not logged in (401, 403), and return the rights of whoever is."""
    return UserRights(user)


class ScraperRights:
    """What monitoring may do that shows the token of `[glacier_provider] metrics_token`: read."""

    name = "metrics"

    def allowed(self, method: Method, dag_ids: Iterable[str]) -> set[str]:
        return set(dag_ids) if method == "GET" else set()

    def may_edit(self, _dag_id: str | None = None) -> bool:
        return False


async def metrics_reader(request: Request) -> Rights:
    """Return the rights of whoever shows the token of the metrics, or is logged in; refuse others (401, 403)."""
    token = conf.get("glacier_provider", "metrics_token", fallback="") or ""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    bearer = given.strip() if scheme.lower() == "bearer" else ""
    if token and bearer and compare_digest(bearer.encode(), token.encode()):
        return ScraperRights()
    credentials = HTTPAuthorizationCredentials(scheme=scheme, credentials=bearer) if bearer else None
    try:
        return UserRights(await get_user(request, None, credentials))
    except HTTPException as error:
        told = "Show the token of [glacier_provider] metrics_token as the API server has it, or a login of Airflow's"
        raise HTTPException(error.status_code, f"{told} ({error.detail}).") from error


def current_scheduler() -> Scheduler:
    return AirflowScheduler()


def own_addresses() -> set[str]:
    """Return host and port of the address that Airflow is configured to be reached by."""
    from urllib.parse import urlsplit

    return {urlsplit(conf.get("api", "base_url", fallback="") or "").netloc} - {""}


RightsDep = Annotated[Rights, Depends(current_rights)]
MetricsReaderDep = Annotated[Rights, Depends(metrics_reader)]
SchedulerDep = Annotated[Scheduler, Depends(current_scheduler)]
