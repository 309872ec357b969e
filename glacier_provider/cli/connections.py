"""What the commands open: the catalog, and Airflow's connections.

The catalog is found, in this order, by ``--catalog`` (a libpq URI), by the environment variable GLACIER_CATALOG_URI,
or by the application's catalog connection: its AIRFLOW_CONN_ variable, else Airflow's own store of connections.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from glacier_provider.cli.arguments import DEFAULT_SCHEMA, Arguments, right_applications
from glacier_provider.cli.mistakes import told
from glacier_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from glacier_provider.applications import Application
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.postgres import Server

URI_EXAMPLE = "postgresql://glacier@db.example.com:5432/glacier"
_CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"  # what Airflow takes a process for that is no task of its own


def log_to_stderr() -> None:
    """Have the log on stderr: stdout is the command's answer."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    for chatty in ("airflow", "alembic", "apprise", "botocore", "httpx", "sqlalchemy", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.getLogger("airflow.sdk._shared.secrets_masker").setLevel(logging.ERROR)  # it warns of short passwords


def warn_of_password(arguments: Arguments) -> None:
    """Say so when a password stands on the command line, where every user of the machine can read it."""
    uri = getattr(arguments, "catalog", None)
    if uri and re.search(r"://[^/@?\s]*:[^/@?\s]+@|password\s*=", uri):
        print(
            "A password on a command line can be read by every user of this machine: give the URI by the environment "
            "variable GLACIER_CATALOG_URI, or the password by ~/.pgpass.",
            file=sys.stderr,
        )


@contextmanager
def airflow_at_hand() -> Iterator[None]:
    """Have Airflow look into its own store of connections as well, and log to stderr: stdout is the command's."""
    before = os.environ.get(_CONTEXT)
    os.environ[_CONTEXT] = before or "server"
    try:
        with redirect_stdout(sys.stderr):
            loaded = _airflow_loaded()
            log_to_stderr()
            with _airflow_silent() if loaded else nullcontext(), _no_warnings():
                yield
    finally:
        if before is None:
            del os.environ[_CONTEXT]


def _airflow_loaded() -> bool:
    """Load Airflow, which takes over logging then; say so where that cannot be done, as without a home for its files:
    what needs none of its connections works all the same.
    """
    try:
        import airflow.sdk.bases.hook  # noqa: F401
    except Exception as error:  # noqa: BLE001 - whatever it is that is broken
        print(f"Airflow cannot be loaded here, and gives no connections: {told(error)}", file=sys.stderr)
        return False
    return True


@contextmanager
def told_by_command(function: Callable[..., Any]) -> Iterator[None]:
    """Have the module of a function log nothing that is well meanwhile: the command's answer says the same."""
    logger = logging.getLogger(function.__module__)
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Have Python's warnings, which are for who writes Airflow and its libraries, shown to who asked for them."""
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        yield


@contextmanager
def _airflow_silent() -> Iterator[None]:
    """Have Airflow say what is wrong and nothing else; it logs by structlog, which asks no logger for its level."""
    import structlog

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[_only_what_is_wrong, *before])
    try:
        yield
    finally:
        structlog.configure(processors=before)


def _only_what_is_wrong(_logger: object, method: str, event: Any) -> Any:
    if method in ("debug", "info"):
        from structlog import DropEvent

        raise DropEvent
    return event


def open_catalog(arguments: Arguments, *, check: bool = True) -> Catalog:
    from glacier_provider.catalog.catalog import Catalog

    application = (
        None if arguments.catalog or os.environ.get("GLACIER_CATALOG_URI") else _application_of_catalog(arguments)
    )
    server = _catalog_server(arguments, application)
    schema = arguments.schema or (application.catalog_schema if application else DEFAULT_SCHEMA)
    name = arguments.application or (application.name if application else "")
    catalog = Catalog(server.connect, schema=schema, application=name)
    if check:
        catalog.check()
    return catalog


def _application_of_catalog(arguments: Arguments) -> Application | None:
    """Return the named application, or one that stands for all when they share a catalog."""
    applications = right_applications(arguments)
    if arguments.application:
        return applications.named(arguments.application)
    catalogs = {(one.catalog_conn_id, one.catalog_schema): one for one in applications.values()}
    if len(catalogs) > 1:
        raise ConfigurationError(
            "The applications have several catalogs.", hint=f"Name one: --application {'|'.join(applications)}."
        )
    return next(iter(applications.values()), None)


def _catalog_server(arguments: Arguments, application: Application | None) -> Server:
    uri = arguments.catalog or os.environ.get("GLACIER_CATALOG_URI")
    if uri:
        return server_of_uri(uri)
    if application is None:
        raise ConfigurationError("No application is configured, and no catalog named.", hint="Use --catalog URI.")
    name = f"AIRFLOW_CONN_{application.catalog_conn_id.upper()}"
    if variable := os.environ.get(name):
        return server_of_variable(name, variable)
    return _server_of_airflow(application.catalog_conn_id)


def server_of_uri(uri: str) -> Server:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        given: dict[str, Any] = dict(conninfo_to_dict(uri))
    except ProgrammingError:
        # The driver's message may quote the URI, and with it the password.
        raise ConfigurationError("The catalog URI cannot be read.", hint=f"Example: {URI_EXAMPLE}") from None
    place = [given.pop(name, None) for name in ("host", "port", "user", "password", "dbname")]
    # Somebody wrote each parameter for this use: one that has no effect here is refused, not passed over.
    return _server(place, given)


def server_of_variable(name: str, value: str) -> Server:
    """Return the server of an AIRFLOW_CONN_ variable: JSON or a URI, as Airflow writes them."""
    try:
        kind, place, extra = _json_connection(value) if value.lstrip().startswith("{") else _uri_connection(value)
        extras = json.loads(extra) if isinstance(extra, str) else extra or {}
    except ValueError:
        raise ConfigurationError(
            f"The variable {name} holds no connection that can be read.", hint=f"Example: {URI_EXAMPLE}"
        ) from None
    return _server_of_connection(name, kind, place, extras)


def _json_connection(value: str) -> tuple[Any, list[Any], Any]:
    given = json.loads(value)
    place = [given.get(name) for name in ("host", "port", "login", "password", "schema")]
    return given.get("conn_type"), place, given.get("extra")


def _uri_connection(value: str) -> tuple[Any, list[Any], Any]:
    parts = urlsplit(value)
    # Not parts.hostname, which would write the path of a socket directory in small letters.
    host = parts.netloc.rpartition("@")[2].partition(":")[0]
    if host.startswith("["):
        host = parts.hostname or ""
    host, user, password, dbname = (
        unquote(part or "") for part in (host, parts.username, parts.password, parts.path.lstrip("/"))
    )
    query = dict(parse_qsl(parts.query))
    return parts.scheme, [host, parts.port, user, password, dbname], query.get("__extra__", query)


def _server_of_airflow(conn_id: str) -> Server:
    try:
        with airflow_at_hand():
            from airflow.models import Connection

            found: Any = Connection.get_connection_from_secrets(conn_id)
    except Exception as error:
        raise ConfigurationError(
            f"Airflow does not give the connection {conn_id} ({type(error).__name__}).",
            hint=f"Set AIRFLOW_CONN_{conn_id.upper()} or GLACIER_CATALOG_URI, or use --catalog URI.",
        ) from error
    place = [found.host, found.port, found.login, found.password, found.schema]
    return _server_of_connection(f"The Airflow connection {conn_id}", found.conn_type, place, found.extra_dejson)


def _server_of_connection(name: str, kind: Any, place: Sequence[Any], extras: Mapping[str, Any]) -> Server:
    """Return the server of an Airflow connection, which may have extras that are for others."""
    from glacier_provider.postgres import OPTION_VARIABLES

    if kind not in ("postgres", "postgresql"):
        raise ConfigurationError(f"{name} is of type {kind}.", hint=f"It has to be postgres, as in {URI_EXAMPLE}")
    return _server(place, {option: extras[option] for option in OPTION_VARIABLES if option in extras})


def _server(place: Sequence[Any], options: Mapping[str, Any]) -> Server:
    """Return the server at (host, port, user, password, database); what is empty is left to libpq."""
    from glacier_provider.postgres import Server

    host, port, user, password, dbname = place
    if not re.fullmatch(r"[0-9]*", str(port or "")):
        raise ConfigurationError(f"The catalog's port {port!r} is no number.", hint=f"Example: {URI_EXAMPLE}")
    return Server(
        host=host or "",
        port=int(port or 5432),
        user=user or "",
        password=password or os.environ.get("PGPASSWORD") or None,
        dbname=dbname or "",
        options={name: str(value) for name, value in options.items() if value not in (None, "")},
    )
