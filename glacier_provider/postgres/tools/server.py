"""Where a PostgreSQL database is, and how to reach it: for libpq's tools by environment, for Python by psycopg."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from glacier_provider.errors import (
    ConfigurationError,
    DatabaseError,
    DatabaseRefused,
    DatabaseUnreachable,
)

if TYPE_CHECKING:
    import psycopg

    Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

#: libpq parameters that a connection may set, and the environment variable of each
#: (https://www.postgresql.org/docs/current/libpq-envars.html).
OPTION_VARIABLES: Mapping[str, str] = {
    "application_name": "PGAPPNAME",
    "channel_binding": "PGCHANNELBINDING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "require_auth": "PGREQUIREAUTH",
    "sslcert": "PGSSLCERT",
    "sslcrl": "PGSSLCRL",
    "sslkey": "PGSSLKEY",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}

_DEFAULTS: Mapping[str, str] = {"application_name": "glacier_provider", "connect_timeout": "30"}

REDACTED = "***"


@dataclass(frozen=True, slots=True)
class Server:
    """One database of one server, as one user.

    `host` is a name, an address, a socket directory, or empty for libpq's default. `password` None leaves it to
    libpq (PGPASSFILE, ``~/.pgpass``, a certificate). `options` are the libpq parameters named in
    `OPTION_VARIABLES`; any other raises ConfigurationError.
    """

    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    dbname: str
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.options) - set(OPTION_VARIABLES))
        if unknown:
            raise ConfigurationError(
                f"The PostgreSQL connection sets {', '.join(unknown)}, which is not supported.",
                hint=f"Supported libpq parameters: {', '.join(OPTION_VARIABLES)}.",
            )

    def __str__(self) -> str:
        return f"database {self.dbname!r} at {self.host or 'the local socket'}:{self.port} as {self.user!r}"

    def with_database(self, dbname: str) -> Server:
        """Return the same server and user with another database."""
        return replace(self, dbname=dbname)

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a libpq child here; the password travels in them alone, never in argv."""
        variables = {"PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": self.user, "PGDATABASE": self.dbname}
        variables["PGPASSWORD"] = self.password or ""
        for name, value in {**_DEFAULTS, **self.options}.items():
            variables[OPTION_VARIABLES[name]] = str(value)
        return {name: value for name, value in variables.items() if value}

    def connect(self, *, autocommit: bool = False) -> Connection:
        """Return a new psycopg connection.

        Raise DatabaseUnreachable when nothing answers (a retry may help) and DatabaseRefused when the server says no.
        """
        import psycopg

        named = {"host": self.host, "user": self.user, "password": self.password, "dbname": self.dbname}
        given: dict[str, Any] = {name: value for name, value in named.items() if value}
        given.update({**_DEFAULTS, **self.options})
        try:
            return psycopg.connect(port=self.port, autocommit=autocommit, **given)
        except psycopg.Error as exc:
            raise _connection_error(self, str(exc)) from exc

    def redact(self, text: str) -> str:
        """Return `text` without the password, should it occur."""
        return text.replace(self.password, REDACTED) if self.password else text


# A message of the server reads 'SEVERITY:  text' with two spaces, whatever its language; libpq's own have one.
_FROM_SERVER = re.compile(r"[^\s:]+: {2}(?P<text>.+)")
_PASSES = re.compile(r"starting up|shutting down|recovery mode|too many clients|connection slots|not yet accepting")
_LOCAL_REFUSAL = re.compile(
    r"no password supplied|SSL was required|certificate|private key|authentication method|channel binding"
)


def _connection_error(server: Server, text: str) -> DatabaseError:
    said = server.redact(text).strip()
    answer = _FROM_SERVER.search(said)
    if answer and not _PASSES.search(said):
        return DatabaseRefused(f"The server refused {server}: {answer['text'].strip().rstrip('.')}.")
    if _LOCAL_REFUSAL.search(said):
        return DatabaseRefused(f"Cannot log in to {server}: {said.splitlines()[-1].strip().rstrip('.')}.")
    first = said.splitlines()[0] if said else "no answer"
    detail = answer["text"] if answer else first.removeprefix("connection failed: ")
    return DatabaseUnreachable(f"Cannot connect to {server}: {detail.strip().rstrip('.')}.")


@contextmanager
def database_errors(server: Server, doing: str) -> Iterator[None]:
    """Translate psycopg's errors of the block; `doing` completes the sentence "while ...".

    Lost connection: DatabaseUnreachable; missing privilege, object or setting: DatabaseRefused; else DatabaseError.
    """
    import psycopg

    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
        raise DatabaseUnreachable(_while(server, doing, exc)) from exc
    except psycopg.ProgrammingError as exc:
        raise DatabaseRefused(_while(server, doing, exc)) from exc
    except psycopg.Error as exc:
        raise DatabaseError(_while(server, doing, exc)) from exc


def _while(server: Server, doing: str, exc: Exception) -> str:
    said = server.redact(str(exc)).strip().splitlines() or [type(exc).__name__]
    return f"While {doing} ({server}): {said[0].rstrip('.')}."
