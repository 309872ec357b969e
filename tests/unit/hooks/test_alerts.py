"""Where alerts go: the addresses that connections hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from glacier_provider.errors import ConfigurationError
from glacier_provider.hooks.alerts import url_of


@pytest.mark.parametrize(
    ("connection", "url"),
    [
        ({"password": "https://hooks.example.com/SECRET", "host": "another"}, "https://hooks.example.com/SECRET"),
        ({"host": "https://hooks.example.com/hook", "port": 8443}, "https://hooks.example.com/hook"),
        ({"host": "hooks.example.com"}, "https://hooks.example.com"),
        ({"host": "hooks.example.com", "port": 8443}, "https://hooks.example.com:8443"),
        ({"host": "hooks.example.com", "port": 8080, "schema": "http"}, "http://hooks.example.com:8080"),
    ],
)
def test_a_connection_holds_a_url_in_one_piece_or_in_parts(
    connection: dict[str, Any], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OPS", json.dumps({"conn_type": "http", **connection}))
    assert url_of("ops") == url


def test_one_without_any_says_where_to_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OPS", json.dumps({"conn_type": "http", "password": "token"}))
    with pytest.raises(ConfigurationError, match=r"connection ops holds no URL.*into its password") as told:
        url_of("ops")
    assert "token" not in str(told.value)
