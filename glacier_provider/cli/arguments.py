"""What the commands have in common on their command lines."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from glacier_provider.applications import Application, Applications

Arguments = argparse.Namespace
DEFAULT_SCHEMA = "glacier_catalog"


def add_command(
    commands: Any, name: str, run: Callable[[Arguments], int | None], text: str, *, of_any: bool = True
) -> argparse.ArgumentParser:
    """Add a command with the options that all have; one that is not `of_any` application names its own.

    What looks at all applications or at one calls `add_named`, too.
    """
    sentence = f"{text[:1].upper()}{text[1:]}."
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=sentence)
    command.set_defaults(run=run)
    if of_any:
        command.add_argument("--application", metavar="NAME", help="only this application")
    command.add_argument("--applications", metavar="FILE", help="path of applications.yaml")
    command.add_argument(
        "--catalog",
        metavar="URI",
        help="libpq URI of the catalog's database; with a password better by the environment variable "
        "GLACIER_CATALOG_URI, or in ~/.pgpass",
    )
    command.add_argument("--schema", help=f"the catalog's schema (default: as configured, else {DEFAULT_SCHEMA})")
    command.add_argument("--json", action="store_true", help="print JSON")
    return command


def add_named(command: argparse.ArgumentParser) -> None:
    """Have a command that may do without an application take it by position, too, as those do that need one."""
    command.add_argument(
        "application", nargs="?", default=argparse.SUPPRESS, metavar="APPLICATION", help="only this application"
    )


def add_command_of_one(
    commands: Any, name: str, run: Callable[[Arguments], int | None], text: str
) -> argparse.ArgumentParser:
    """Add a command that works on one application, which it names first."""
    command = add_command(commands, name, run, text, of_any=False)
    command.add_argument("application", metavar="APPLICATION", help="its name in applications.yaml")
    return command


def right_applications(arguments: Arguments) -> Applications:
    """Return the applications of applications.yaml that are right, and warn of the others."""
    from glacier_provider.applications import load_applications

    applications = load_applications(arguments.applications)
    wrong = ", ".join(name or "the file itself" for name in applications.wrong)
    if wrong:
        print(f"{applications.origin} is wrong in: {wrong}. See: glacier-backup applications", file=sys.stderr)
    return applications


def expected_of_one_catalog(applications: Applications, now: datetime) -> dict[str, Application]:
    """Return the applications that are backed up on a schedule by now, where all of them have the same catalog.

    Of several catalogs it is not known which one is asked.
    """
    if len({(one.catalog_conn_id, one.catalog_schema) for one in applications.values()}) > 1:
        return {}
    return {name: one for name, one in applications.items() if one.is_expected(now)}


def named_application(arguments: Arguments) -> Application:
    """Return the application that a command names; raise ConfigurationError when there is none of that name."""
    return right_applications(arguments).named(arguments.application)


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a stream is a terminal; Python has None in the place of one that was closed before it began."""
    return stream is not None and stream.isatty()


def add_paging(command: argparse.ArgumentParser, limit: int) -> None:
    command.add_argument("--limit", type=_count, default=limit, help=f"at most this many rows (default {limit})")
    command.add_argument("--offset", type=_count, default=0, help="leave out this many rows first")


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows")
    return int(text)
