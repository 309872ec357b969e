"""All that the app takes from Airflow's own server: who asks, what they may do, what the scheduler has planned.

These are internals of Airflow without a promise of stability; they are named here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.configuration import conf
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from fastapi import Depends
from sqlalchemy import select

Method = Literal["GET", "POST"]


class Rights(Protocol):
    """What the person who asks may do with the runs of DAGs."""

    def allowed(self, method: Method, dag_ids: Iterable[str]) -> set[str]:
        """Return those of the DAGs whose runs they may read (GET) or start (POST)."""
        ...


@dataclass(frozen=True, slots=True)
class ScheduledDag:
    """What Airflow knows of a DAG: `next_run` is when it is due, None without a schedule."""

    paused: bool
    next_run: datetime | None


class Scheduler(Protocol):
    """What Airflow has planned."""

    def dags(self, dag_ids: Iterable[str]) -> dict[str, ScheduledDag]:
        """Return those of the DAGs that Airflow has parsed."""
        ...


class UserRights:
    """The rights that Airflow's auth manager gives a logged-in person."""

    def __init__(self, user: Any) -> None:
        self._user = user

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


class AirflowScheduler:
    """The scheduler's knowledge, from Airflow's metadata database."""

    def dags(self, dag_ids: Iterable[str]) -> dict[str, ScheduledDag]:
        columns = (DagModel.dag_id, DagModel.is_paused, DagModel.next_dagrun_create_after)
        wanted = select(*columns).where(DagModel.dag_id.in_(list(dag_ids)), ~DagModel.is_stale)
        with create_session() as session:
            return {dag_id: ScheduledDag(bool(paused), due) for dag_id, paused, due in session.execute(wanted)}


def current_rights(user: Annotated[Any, Depends(get_user)]) -> Rights:
    """Refuse whoever is not logged in (401, 403), and return the rights of whoever is."""
    return UserRights(user)


def current_scheduler() -> Scheduler:
    return AirflowScheduler()


def own_addresses() -> set[str]:
    """Return host and port of the address that Airflow is configured to be reached by."""
    from urllib.parse import urlsplit

    return {urlsplit(conf.get("api", "base_url", fallback="") or "").netloc} - {""}


RightsDep = Annotated[Rights, Depends(current_rights)]
SchedulerDep = Annotated[Scheduler, Depends(current_scheduler)]
