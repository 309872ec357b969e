"""Airflow gives no connection: it is told whether there is none, or whether what keeps it does not answer."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import Mock

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import supervisor, task_runner
from airflow.sdk.execution_time.comms import ErrorResponse
from airflow.sdk.execution_time.secrets import ExecutionAPISecretsBackend

from glacier_provider.errors import ConfigurationError, ConnectionAway
from glacier_provider.hooks.resources import connection_of, server_of
from glacier_provider.operators.base import task_errors


class Vault:
    """A secrets back end that knows no connection, or does not answer."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def get_connection(self, conn_id: str, team_name: str | None = None) -> None:
        if self.error is not None:
            raise self.error


def given(monkeypatch: pytest.MonkeyPatch, *backends: Any) -> None:
    monkeypatch.setattr(supervisor, "ensure_secrets_backend_loaded", lambda: list(backends))


def test_a_secrets_back_end_that_is_away_costs_a_try_and_not_the_backup(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, Vault(), Vault(TimeoutError("s.geheim timed out")))
    told = r"cannot tell its connection db: Vault does not answer\."
    with pytest.raises(ConnectionAway, match=told) as caught, task_errors():
        server_of("db")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("raised", [False, True])
def test_an_api_server_that_is_away_costs_a_try_and_not_the_backup(
    monkeypatch: pytest.MonkeyPatch, raised: bool
) -> None:
    given(monkeypatch, ExecutionAPISecretsBackend())
    answer = ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 503})
    send = Mock(side_effect=AirflowRuntimeError(answer)) if raised else Mock(return_value=answer)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Mock(send=send), raising=False)
    with pytest.raises(ConnectionAway, match="ExecutionAPISecretsBackend does not answer"):
        connection_of("db")


def test_a_connection_that_there_is_not_fails_the_task_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, Vault(), ExecutionAPISecretsBackend())
    answer = ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND, detail={"conn_id": "db"})
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Mock(send=Mock(return_value=answer)), raising=False)
    with pytest.raises(AirflowFailException, match="There is no Airflow connection db"), task_errors():
        server_of("db")


@pytest.mark.parametrize("value", ['{"conn_type": "postgres"', "postgres://app:geheim@db:port/dms"])
def test_a_variable_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DB", value)
    with pytest.raises(ConfigurationError, match="AIRFLOW_CONN_DB holds no connection that can be read") as caught:
        server_of("db")
    assert not caught.value.retryable
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("extra", [["sslmode"], 5])
def test_an_extra_that_is_no_mapping_is_told(monkeypatch: pytest.MonkeyPatch, extra: Any) -> None:
    connection = {"conn_type": "postgres", "schema": "dms", "extra": json.dumps(extra)}
    monkeypatch.setenv("AIRFLOW_CONN_DB", json.dumps(connection))
    with pytest.raises(ConfigurationError, match="The extra of the Airflow connection db is no mapping"):
        server_of("db")
