"""Where a PostgreSQL database is, and how to reach it: for libpq's tools by environment, for Python by psycopg."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from glacier_provider.core.sqlstate import Meaning, meaning_of, meaning_of_text
from glacier_provider.errors import (
    ConfigurationError,
    DatabaseBusy,
    DatabaseError,
    DatabaseRefused,
    DatabaseUnreachable,
)
from glacier_provider.postgres.tools.session import KEEPALIVES, begin_session, options_of, variables_for_tools

if TYPE_CHECKING:
    import psycopg

    from glacier_provider.postgres.tools.session import Connection as Connection

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
    `OPTION_VARIABLES`; any other raises ConfigurationError. `variables` are what client programs need besides to
    find such sessions here as we do (see `for_tools`).
    """

    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    dbname: str
    options: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

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
        return {**{name: value for name, value in variables.items() if value}, **self.variables}

    def for_tools(self, connection: Connection | None = None) -> Server:
        """Return this server as client programs should meet it, asked over `connection` or over one of its own.

        What was set for the role or the database then changes nothing for them either, and their client encoding is
        one in which everything can travel. Raise as `connect`.
        """
        if connection is None:
            with self.connect() as own:
                return self.for_tools(own)
        with database_errors(self, "reading its settings"):
            return replace(self, variables=variables_for_tools(connection))

    def with_settings(self, settings: Mapping[str, str]) -> Server:
        """Return this server as client programs meet it with these settings besides."""
        given = " ".join(filter(None, (self.variables.get("PGOPTIONS"), options_of(settings))))
        return replace(self, variables={**self.variables, **({"PGOPTIONS": given} if given else {})})

    def connect(self, *, autocommit: bool = False, bare: bool = False) -> Connection:
        """Return a new psycopg connection, whose session has what `begin_session` sets; `bare` as there.

        Raise DatabaseUnreachable when nothing answers and DatabaseBusy when there is no place for another connection
        (a retry may help both), DatabaseRefused when the server says no.
        """
        import psycopg

        named = {"host": self.host, "user": self.user, "password": self.password, "dbname": self.dbname}
        given: dict[str, Any] = {name: value for name, value in named.items() if value}
        given.update({**_DEFAULTS, **KEEPALIVES, **self.options})
        try:
            connection = psycopg.connect(port=self.port, autocommit=True, **given)
        except psycopg.Error as exc:
            raise _connection_error(self, str(exc)) from exc
        try:
            with database_errors(self, "beginning a session"):
                begin_session(connection, bare=bare)
                connection.autocommit = autocommit
        except BaseException:
            connection.close()
            raise
        return connection

    def redact(self, text: str) -> str:
        """Return `text` without the password, should it occur."""
        return text.replace(self.password, REDACTED) if self.password else text


# A message of the server reads 'SEVERITY:  text' with two spaces, whatever its language; libpq's own have one.
_FROM_SERVER = re.compile(r"[^\s:]+: {2}(?P<text>.+)")
_LOCAL_REFUSAL = re.compile(
    r"no password supplied|SSL was required|certificate|private key|authentication method|channel binding"
)


def _connection_error(server: Server, text: str) -> DatabaseError:
    said = server.redact(text).strip()
    answer = _FROM_SERVER.search(said)
    if answer:
        return _connection_refused(server, answer["text"].strip().rstrip("."))
    if _LOCAL_REFUSAL.search(said):
        return DatabaseRefused(f"Cannot log in to {server}: {said.splitlines()[-1].strip().rstrip('.')}.")
    first = said.splitlines()[0] if said else "no answer"
    return DatabaseUnreachable(
        f"Cannot connect to {server}: {first.removeprefix('connection failed: ').strip().rstrip('.')}."
    )


def _connection_refused(server: Server, text: str) -> DatabaseError:
    meaning = meaning_of_text(text)
    if meaning is None or not meaning.passes:
        return DatabaseRefused(f"The server refused {server}: {text}.")
    return error_of(meaning, f"Cannot connect to {server}: {text}.")


@contextmanager
def database_errors(server: Server, doing: str) -> Iterator[None]:
    """Translate psycopg's errors of the block; `doing` completes the sentence "while ...".

    Connection cut, server starting: DatabaseUnreachable. No lock, no connection, cancelled, in conflict with a
    standby's recovery: DatabaseBusy. What the server said no to: DatabaseRefused. Its disk, its memory, damaged data:
    DatabaseError. Each with a hint for this cause.
    """
    import psycopg

    try:
        yield
    except psycopg.Error as exc:
        said = server.redact(str(exc)).strip().splitlines() or [type(exc).__name__]
        meaning = meaning_of(exc.sqlstate, " ".join(said))
        no_answer = isinstance(exc, psycopg.OperationalError | psycopg.InterfaceError) and exc.sqlstate is None
        if no_answer and not meaning.passes:
            meaning = Meaning.CUT
        raise error_of(meaning, f"While {doing} ({server}): {said[0].rstrip('.')}.{server.redact(_more(exc))}") from exc
    except UnicodeError as exc:
        raise DatabaseError(
            f"While {doing} ({server}): a text is not of the database's encoding.",
            hint="Look at the database's encoding; it holds bytes that are not of it.",
        ) from exc


def _more(exc: psycopg.Error) -> str:
    """Return what the server said besides the first line."""
    parts = (exc.diag.message_detail, exc.diag.message_hint)
    return "".join(f" {part.strip().rstrip('.')}." for part in parts if part)


_REFUSALS = frozenset({Meaning.READ_ONLY, Meaning.DENIED, Meaning.REFUSED, Meaning.TOO_LARGE})


def error_of(meaning: Meaning, message: str) -> DatabaseError:
    """Return the error of what a server's answer means, with the hint for it."""
    kind: type[DatabaseError] = DatabaseError
    if meaning in (Meaning.CUT, Meaning.STARTING):
        kind = DatabaseUnreachable
    elif meaning.passes:
        kind = DatabaseBusy
    elif meaning in _REFUSALS:
        kind = DatabaseRefused
    return kind(message, hint=meaning.hint)


def require_primary(connection: Connection, server: Server) -> None:
    """Raise DatabaseRefused when the server is a standby, which takes no restore."""
    with database_errors(server, "asking whether it is a standby"):
        row = connection.execute("SELECT pg_catalog.pg_is_in_recovery()").fetchone()
    if row and row[0]:
        raise DatabaseRefused(
            f"{server} is a standby (in recovery): nothing can be restored into it. Nothing was changed.",
            hint="Name the primary in the connection, or promote the standby if it is to take the primary's place.",
        )
