"""``glacier-backup metrics``: figures for the node exporter's textfile collector, or for whoever reads OpenMetrics."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glacier_provider.cli.arguments import (
    Arguments,
    add_command,
    add_named,
    expected_of_one_catalog,
    right_applications,
)
from glacier_provider.cli.connections import open_catalog
from glacier_provider.cli.output import print_json
from glacier_provider.core.metrics import metrics_of, metrics_text
from glacier_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from glacier_provider.applications import Applications
    from glacier_provider.core.metrics import Measured

#: How this catalog is called among others.
_CATALOG = "catalog"


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_command(commands, "metrics", _metrics, "print figures of all applications as OpenMetrics text")
    add_named(command)
    command.add_argument(
        "--output",
        metavar="FILE",
        help="write them there, all at once, as the node exporter's textfile collector wants it; a catalog that "
        "cannot be asked leaves a file that says so",
    )


def _metrics(arguments: Arguments) -> None:
    now = datetime.now(UTC)
    applications = _applications(arguments)
    wrong = [name for name in applications.wrong if name] if applications is not None else []
    if arguments.application:
        wrong = [name for name in wrong if name == arguments.application]
    try:
        found = _found(arguments, applications, now)
    except Exception:  # of whatever kind: else the file goes on to say that all is up
        if arguments.output:
            _write(Path(arguments.output), metrics_text([], catalogs={_CATALOG: False}, now=now, wrong=wrong))
        raise
    if arguments.output:
        _write(Path(arguments.output), metrics_text(found, catalogs={_CATALOG: True}, now=now, wrong=wrong))
    if arguments.json:
        print_json([one.as_dict() for one in metrics_of(found, catalogs={_CATALOG: True}, now=now, wrong=wrong)])
    elif not arguments.output:
        print(metrics_text(found, catalogs={_CATALOG: True}, now=now, wrong=wrong), end="")


def _found(arguments: Arguments, applications: Applications | None, now: datetime) -> list[Measured]:
    from glacier_provider.pipelines.metrics import measured

    one = arguments.application
    prices = {name: each.price_table for name, each in (applications or {}).items()}
    expected = {} if applications is None else expected_of_one_catalog(applications, now)
    with open_catalog(arguments) as catalog:
        found = measured(
            catalog, [one] if one else None, prices=prices, expected=[name for name in expected if one in (None, name)]
        )
    if one and not found and one not in (applications.wrong if applications is not None else ()):
        raise ConfigurationError(f"The catalog knows no application {one!r}.", hint="Has it ever been backed up?")
    return found


def _applications(arguments: Arguments) -> Applications | None:
    """Return what applications.yaml says; None where none can be read: then no cost is told."""
    with suppress(ConfigurationError):
        return right_applications(arguments)
    return None


def _write(path: Path, text: str) -> None:
    """Write a file that others read at any instant, and who may read it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)  # the collector is another user
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
