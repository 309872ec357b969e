from __future__ import annotations

import pickle

import pytest

from glacier_provider.errors import ConfigurationError, DatabaseBusy, DatabaseRefused, DatabaseUnreachable
from glacier_provider.postgres.tools.server import Server, _connection_error

SERVER = Server("db.example", 5433, "app", "s3cret-word", "shop", {"sslmode": "verify-full", "sslrootcert": "/ca.pem"})


def test_a_child_finds_the_server_by_its_environment() -> None:
    assert SERVER.environment() == {
        "PGHOST": "db.example",
        "PGPORT": "5433",
        "PGUSER": "app",
        "PGDATABASE": "shop",
        "PGPASSWORD": "s3cret-word",
        "PGAPPNAME": "glacier_provider",
        "PGCONNECT_TIMEOUT": "30",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/ca.pem",
    }


def test_without_a_password_libpq_looks_into_its_own_files() -> None:
    assert "PGPASSWORD" not in Server("", 5432, "app", None, "shop").environment()
    assert "PGHOST" not in Server("", 5432, "app", None, "shop").environment()


def test_the_password_is_not_shown() -> None:
    assert "s3cret-word" not in repr(SERVER) + str(SERVER)
    assert SERVER.redact("password=s3cret-word!") == "password=***!"


def test_a_parameter_that_is_not_allowed_is_named() -> None:
    with pytest.raises(ConfigurationError, match="options, passfile"):
        Server("", 5432, "app", None, "shop", {"passfile": "/x", "options": "-c x", "sslmode": "require"})


def test_a_server_travels_between_processes() -> None:
    assert pickle.loads(pickle.dumps(SERVER)) == SERVER
    assert SERVER.with_database("other").dbname == "other"


TO = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    "text",
    [
        TO + 'FATAL:  password authentication failed for user "app"',
        TO + "FATAL:  Passwort-Authentifizierung für Benutzer »app« fehlgeschlagen",
        TO + 'FATAL:  database "shop" does not exist',
        TO + 'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "app", database "shop", no encryption',
        TO + "fe_sendauth: no password supplied",
        TO + "server does not support SSL, but SSL was required",
        TO + 'root certificate file "/ca.pem" does not exist',
    ],
)
def test_what_a_retry_cannot_mend_is_refused(text: str) -> None:
    assert isinstance(_connection_error(SERVER, text), DatabaseRefused)


@pytest.mark.parametrize(
    "text",
    [
        TO + "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
        TO + "FATAL:  the database system is starting up",
        "connection timeout expired",
        "could not translate host name \"db.example\" to address: Name or service not known",
        "",
    ],
)  # fmt: skip
def test_what_may_pass_is_unreachable(text: str) -> None:
    error = _connection_error(SERVER, text)
    assert isinstance(error, DatabaseUnreachable)
    assert error.retryable


def test_an_error_of_the_connection_never_holds_the_password() -> None:
    assert "s3cret-word" not in str(_connection_error(SERVER, TO + "FATAL:  bad s3cret-word"))


@pytest.mark.parametrize(
    "text",
    [
        TO + "FATAL:  sorry, too many clients already",
        TO + "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
        TO + 'FATAL:  too many connections for role "app"',
        TO + 'FATAL:  too many connections for database "shop"',
    ],
)
def test_a_server_without_room_for_a_connection_is_busy_and_the_hint_says_how_many_a_backup_takes(text: str) -> None:
    error = _connection_error(SERVER, text)
    assert isinstance(error, DatabaseBusy)
    assert error.retryable
    assert "dump.jobs + 2" in error.hint
    assert "max_connections" in error.hint
    assert "server runs" not in str(error)
