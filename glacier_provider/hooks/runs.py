"""What Airflow says of a run: asked by whoever wants the lease that it holds."""

from __future__ import annotations

import logging
from typing import Any

from glacier_provider.catalog.backups import RUN_DELETED, Run

log = logging.getLogger(__name__)

ENDED = ("success", "failed")


def run_ended(run: Run) -> str | None:
    """Return how a run ended: `success`, `failed` or `RUN_DELETED`; None while it goes on, or when nobody can be asked.

    A task asks through its supervisor, the API server and the command line in Airflow's own database.
    """
    for ask in (_by_supervisor, _by_database):
        try:
            return ask(run)
        except Exception as error:  # noqa: BLE001 - whatever it is: nobody can tell here, and the lease stays held
            log.debug("Airflow cannot be asked %s about the run %s: %s", ask.__name__, run.dag_run_id, error)
    return None


def _by_supervisor(run: Run) -> str | None:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    def count(states: list[str] | None = None) -> int:
        return RuntimeTaskInstance.get_dr_count(run.dag_id, run_ids=[run.dag_run_id], states=states)

    return RUN_DELETED if count() == 0 else next((state for state in ENDED if count([state])), None)


def _by_database(run: Run) -> str | None:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        found: Any = DagRun.find(dag_id=run.dag_id, run_id=run.dag_run_id, session=session)
        states = [str(getattr(one.state, "value", one.state)) for one in found]
    if not states:
        return RUN_DELETED
    return states[0] if states[0] in ENDED else None
