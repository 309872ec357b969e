"""Why Airflow gives no connection: there is none, or what keeps it does not answer.

Airflow says that there is none in either case: it passes over what it cannot ask, be it its API server, its database or
a secrets back end, in silence. A backup must not fail without another try since one of them was away for a moment.
"""

from __future__ import annotations

import logging
from typing import Any, NoReturn

from glacier_provider.errors import ConfigurationError, ConnectionAway

log = logging.getLogger(__name__)


def raise_not_given(conn_id: str, error: Exception) -> NoReturn:
    """Raise ConnectionAway or ConfigurationError for a connection that Airflow does not give, caused by its error."""
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    silent = _first_without_answer(conn_id)
    if silent == "EnvironmentVariablesBackend":
        raise ConfigurationError(
            f"The variable {variable} holds no connection that can be read.", hint="It holds a URI, or JSON."
        ) from error
    if silent is not None:
        told = f"Airflow cannot tell its connection {conn_id}: {silent} does not answer."
        raise ConnectionAway(told, hint=f"{ConnectionAway.hint} Or set {variable} in the environment.") from error
    raise ConfigurationError(
        f"There is no Airflow connection {conn_id}.",
        hint=f"Add it in Admin > Connections, or set {variable} in the environment of all of Airflow's processes.",
    ) from error


def _first_without_answer(conn_id: str) -> str | None:
    """Return the kind of the first of Airflow's secrets back ends that gives no answer; None: all know none."""
    try:
        from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

        backends = ensure_secrets_backend_loaded()
    except Exception as error:  # noqa: BLE001 - internals of Airflow: without them there is none
        log.debug("Airflow's secrets back ends are not known: %s", error)
        return None
    for backend in backends:
        if type(backend).__name__ == "MetastoreBackend":
            continue  # who asks Airflow's own database is no task, and may be where there is none
        try:
            _ask(backend, conn_id)
        except Exception as error:  # noqa: BLE001 - of whatever library; its text may hold a secret
            log.info("%s, asked for the connection %s: %s", type(backend).__name__, conn_id, type(error).__name__)
            return type(backend).__name__
    return None


def _ask(backend: Any, conn_id: str) -> None:
    """Raise whatever keeps a back end from saying whether it has a connection."""
    if type(backend).__name__ != "ExecutionAPISecretsBackend":
        backend.get_connection(conn_id=conn_id)
        return
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse, GetConnection

    try:  # it has no connection of a server that it cannot reach
        answer = task_runner.SUPERVISOR_COMMS.send(GetConnection(conn_id=conn_id))
    except AirflowRuntimeError as error:
        answer = error.error
    if isinstance(answer, ErrorResponse) and answer.error is not ErrorType.CONNECTION_NOT_FOUND:
        raise ConnectionError(answer.error.value)
