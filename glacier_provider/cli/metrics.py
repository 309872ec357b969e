"""``glacier-backup metrics``: figures for the node exporter's textfile collector, or for whoever reads OpenMetrics."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glacier_provider.cli.arguments import Arguments, add_command, add_named, right_applications
from glacier_provider.cli.connections import open_catalog
from glacier_provider.cli.output import print_json
from glacier_provider.core.metrics import metrics_of, metrics_text
from glacier_provider.errors import ConfigurationError, GlacierProviderError

if TYPE_CHECKING:
    from glacier_provider.core.prices import Prices

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
    from glacier_provider.pipelines.metrics import measured

    now = datetime.now(UTC)
    names = [arguments.application] if arguments.application else None
    try:
        with open_catalog(arguments) as catalog:
            found = measured(catalog, names, prices=_prices(arguments))
    except GlacierProviderError:
        if arguments.output:
            _write(Path(arguments.output), metrics_text([], catalogs={_CATALOG: False}, now=now))
        raise
    if arguments.output:
        _write(Path(arguments.output), metrics_text(found, catalogs={_CATALOG: True}, now=now))
    if arguments.json:
        print_json([one.as_dict() for one in metrics_of(found, catalogs={_CATALOG: True}, now=now)])
    elif not arguments.output:
        print(metrics_text(found, catalogs={_CATALOG: True}, now=now), end="")


def _prices(arguments: Arguments) -> dict[str, Prices]:
    """Return the prices of each application; none where no applications.yaml can be read: then no cost is told."""
    with suppress(ConfigurationError):
        return {name: one.price_table for name, one in right_applications(arguments).items()}
    return {}


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
