"""``glacier-backup``: what must work when Airflow does not. Reads the catalog, and undoes the move of orphans.

The catalog is found, in this order, by ``--catalog`` (a libpq URI), by the environment variable GLACIER_CATALOG_URI,
or by the application's catalog connection: its AIRFLOW_CONN_ variable, else Airflow's own store of connections.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from glacier_provider import __version__
from glacier_provider.applications import Application, load_applications
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.plan import Amount, counted, megabytes
from glacier_provider.core.status import BackupState
from glacier_provider.errors import ConfigurationError, GlacierProviderError

if TYPE_CHECKING:
    from glacier_provider.postgres.server import Server

Arguments = argparse.Namespace
DEFAULT_SCHEMA = "glacier_catalog"
URI_EXAMPLE = "postgresql://glacier@db.example.com:5432/glacier"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 for an error of ours (told on stderr), or 2 for wrong usage."""
    arguments = _parser().parse_args(argv)
    _log_to_stderr()
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except GlacierProviderError as error:
        print(f"glacier-backup: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader (head, a pager) has seen enough; what is left in the buffer goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)


def load_airflow() -> None:
    """Import Airflow, whose connections a command needs. It takes over logging, and stdout belongs to the answer."""
    import airflow.sdk.bases.hook  # noqa: F401

    _log_to_stderr()


# --- commands ------------------------------------------------------------------------------------------------------


def _list(arguments: Arguments) -> None:
    with _catalog(arguments) as catalog:
        rows = catalog.listing.backups(
            arguments.application, state=arguments.state, limit=arguments.limit, offset=arguments.offset
        )
    _print(
        arguments,
        rows,
        {
            "id": "id",
            "application": "application",
            "opened (UTC)": lambda row: _time(row["opened_at"]),
            "state": "state",
            "database": lambda row: _size(row["database_bytes"]),
            "files": "files_count",
            "new": "new_files_count",
            "new bytes": lambda row: _size(row["new_files_bytes"]),
            "retrieval": "retrieval_status",
            "error": lambda row: _short(row["error"]),
        },
    )


def _show(arguments: Arguments) -> None:
    with _catalog(arguments) as catalog:
        backup = catalog.listing.backup(arguments.backup_id)
        restores = catalog.listing.restores(backup_id=arguments.backup_id)
    if arguments.json:
        _print_json({**backup, "restores": restores})
        return
    archives = backup.pop("archives")
    report = backup.pop("report")
    findings = {f"report: {name}": value for name, value in report.items() if value not in (None, [], 0)}
    _print_pairs({**backup, **findings})
    for status, amount in archives.items():
        print(f"{status:>10}: {counted(amount.archives, 'archive')}, {megabytes(amount.bytes)}")
    for restore in restores:
        print(f"restore {restore['id']}: {restore['state']}, opened {_time(restore['opened_at'])} UTC")


def _archives(arguments: Arguments) -> None:
    with _catalog(arguments) as catalog:
        catalog.listing.backup(arguments.backup_id)
        rows = catalog.listing.archives(
            arguments.backup_id, containing=arguments.containing, limit=arguments.limit, offset=arguments.offset
        )
    _print(
        arguments,
        rows,
        {
            "id": "id",
            "kind": "kind",
            "filename": "filename",
            "size": lambda row: _size(row["stored_size"]),
            "state": "state",
            "retrieval": "retrieval_status",
            "made by": "made_by_backup",
            "checksum": lambda row: _short(row["checksum"], 24),
            "key": "key",
        },
    )


def _restores(arguments: Arguments) -> None:
    with _catalog(arguments) as catalog:
        rows = catalog.listing.restores(arguments.application, limit=arguments.limit, offset=arguments.offset)
    _print(
        arguments,
        rows,
        {
            "id": "id",
            "application": "application",
            "backup": "backup_id",
            "state": "state",
            "opened (UTC)": lambda row: _time(row["opened_at"]),
            "closed (UTC)": lambda row: _time(row["closed_at"]),
            "to retrieve": lambda row: _size((row["plan"].get("to_request") or {}).get("bytes")),
            "orphans": lambda row: (row["outcome"].get("orphans") or {}).get("moved"),
            "error": lambda row: _short(row["error"]),
        },
    )


def _migrate(arguments: Arguments) -> None:
    with _catalog(arguments, check=False) as catalog:
        version = catalog.migrate()
    if arguments.json:
        _print_json({"schema": catalog.schema, "version": version})
    else:
        print(f"The catalog schema {catalog.schema} is at version {version}.")


def _applications(arguments: Arguments) -> None:
    applications = load_applications(arguments.applications)
    _print(
        arguments,
        [application.to_dict() for application in applications.values()],
        {
            "name": "name",
            "schedule": "schedule",
            "files": "files_directory",
            "store": "store",
            "database": "postgres_conn_id",
            "catalog": "catalog_conn_id",
        },
    )


def _undo_orphans(arguments: Arguments) -> None:
    from glacier_provider import restore

    if arguments.application is None:
        with _catalog(arguments) as catalog:
            arguments.application = catalog.restores.get(arguments.restore_id)["application"]
    application = load_applications(arguments.applications).named(arguments.application)
    with _catalog(arguments) as catalog:
        figures = restore.undo_orphans(application, arguments.restore_id, catalog=catalog)
    if arguments.json:
        _print_json(figures)
    else:
        moved, left = counted(figures["moved_back"], "file"), figures["left"]
        print(f"{moved} moved back, {left} left in {application.orphan_directory}.")


# --- the catalog ---------------------------------------------------------------------------------------------------


def _catalog(arguments: Arguments, *, check: bool = True) -> Catalog:
    application = None if arguments.catalog or os.environ.get("GLACIER_CATALOG_URI") else _application(arguments)
    server = _catalog_server(arguments, application)
    schema = arguments.schema or (application.catalog_schema if application else DEFAULT_SCHEMA)
    name = arguments.application or (application.name if application else "")
    catalog = Catalog(server.connect, schema=schema, application=name)
    if check:
        catalog.check()
    return catalog


def _application(arguments: Arguments) -> Application | None:
    """Return the named application, or one that stands for all when they share a catalog."""
    applications = load_applications(arguments.applications)
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
        return _server_of_uri(uri)
    if application is None:
        raise ConfigurationError("No application is configured, and no catalog named.", hint="Use --catalog URI.")
    name = f"AIRFLOW_CONN_{application.catalog_conn_id.upper()}"
    if variable := os.environ.get(name):
        return _server_of_variable(name, variable)
    return _server_of_airflow(application.catalog_conn_id)


def _server_of_uri(uri: str) -> Server:
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


def _server_of_variable(name: str, value: str) -> Server:
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
    from glacier_provider.postgres.server import OPTION_VARIABLES

    if kind not in ("postgres", "postgresql"):
        raise ConfigurationError(f"{name} is of type {kind}.", hint=f"It has to be postgres, as in {URI_EXAMPLE}")
    return _server(place, {option: extras[option] for option in OPTION_VARIABLES if option in extras})


def _server(place: Sequence[Any], options: Mapping[str, Any]) -> Server:
    """Return the server at (host, port, user, password, database); what is empty is left to libpq."""
    from glacier_provider.postgres.server import Server

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


# --- printing ------------------------------------------------------------------------------------------------------

Columns = Mapping[str, str | Callable[[Mapping[str, Any]], Any]]


def _print(arguments: Arguments, rows: Iterable[Mapping[str, Any]], columns: Columns) -> None:
    rows = list(rows)
    if arguments.json:
        _print_json(rows)
        return
    _print_table(rows, columns)


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Columns) -> None:
    from tabulate import tabulate

    table = [[_cell(row[of] if isinstance(of, str) else of(row)) for of in columns.values()] for row in rows]
    print(tabulate(table, headers=list(columns), tablefmt="simple") if rows else "Nothing to show.")


def _print_pairs(values: Mapping[str, Any]) -> None:
    from tabulate import tabulate

    shown = {name: _time(value) if isinstance(value, datetime) else _cell(value) for name, value in values.items()}
    print(tabulate([[name, value] for name, value in shown.items() if value is not None], tablefmt="plain"))


def _print_json(value: Any) -> None:
    print(json.dumps(value, default=_plain, indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Amount):
        return {"archives": value.archives, "bytes": value.bytes}
    return str(value)


def _cell(value: Any) -> Any:
    """Return a value for a terminal: a file name may hold line breaks and escape sequences."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in value)


def _time(value: datetime | None) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S}" if value else ""


def _size(value: int | None) -> str:
    return "" if value is None else megabytes(value)


def _short(value: str | None, length: int = 60) -> str:
    text = " ".join((value or "").split())
    return text if len(text) <= length else text[: length - 1] + "…"


# --- arguments -----------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="glacier-backup", description="Look at the catalog of Glacier backups.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    listing = _command(commands, "list", _list, "list backups, the newest first")
    listing.add_argument("--state", choices=[state.value for state in BackupState], help="only backups in this state")
    _paging(listing, 20)
    show = _command(commands, "show", _show, "show one backup: its figures, its report, the status of its archives")
    show.add_argument("backup_id", type=int, metavar="BACKUP_ID")
    archives = _command(commands, "archives", _archives, "list the archives of one backup")
    archives.add_argument("backup_id", type=int, metavar="BACKUP_ID")
    archives.add_argument("--containing", metavar="TEXT", help="only filenames that contain this text")
    _paging(archives, 100)
    restores = _command(commands, "restores", _restores, "list restores, the newest first")
    _paging(restores, 20)
    _command(commands, "applications", _applications, "check applications.yaml and list what it describes")
    _command(commands, "migrate", _migrate, "create the catalog, or bring it to this version")
    undo = _command(commands, "undo-orphans", _undo_orphans, "move the orphans of a restore back to their places")
    undo.add_argument("restore_id", type=int, metavar="RESTORE_ID")
    _add_deletion(commands)
    _add_rebuild(commands)
    _add_notifications(commands)
    _add_costs(commands)
    return parser


def _add_costs(commands: Any) -> None:
    from glacier_provider import cli_costs

    cli_costs.add_commands(commands)


def _add_notifications(commands: Any) -> None:
    from glacier_provider import cli_notifications

    cli_notifications.add_commands(commands)


def _add_rebuild(commands: Any) -> None:
    from glacier_provider import cli_rebuild

    cli_rebuild.add_commands(commands)


def _add_deletion(commands: Any) -> None:
    from glacier_provider import cli_deletion

    cli_deletion.add_commands(commands)


def _command(commands: Any, name: str, run: Callable[[Arguments], None], text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    command.set_defaults(run=run)
    command.add_argument("--application", metavar="NAME", help="only this application")
    command.add_argument("--applications", metavar="FILE", help="path of applications.yaml")
    command.add_argument("--catalog", metavar="URI", help="libpq URI of the catalog's database")
    command.add_argument("--schema", help=f"the catalog's schema (default: as configured, else {DEFAULT_SCHEMA})")
    command.add_argument("--json", action="store_true", help="print JSON")
    return command


def _paging(command: argparse.ArgumentParser, limit: int) -> None:
    command.add_argument("--limit", type=_count, default=limit, help=f"at most this many rows (default {limit})")
    command.add_argument("--offset", type=_count, default=0, help="leave out this many rows first")


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
