"""``glacier-backup fetch``: brings files of a backup into a directory, and waits for them.

It is a restore of these files alone into another place: it joins retrievals that are under way, and goes on when it is
called again. The store is reached by the application's AWS connection.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.cli.arguments import Arguments, add_command_of_one, is_terminal, named_application
from glacier_provider.cli.bars import bars
from glacier_provider.cli.connections import airflow_at_hand, open_catalog
from glacier_provider.cli.output import print_answer, print_json
from glacier_provider.cli.waiting import looks_until_done
from glacier_provider.core.text import counted
from glacier_provider.errors import ArchiveCold, GlacierProviderError

if TYPE_CHECKING:
    from glacier_provider.applications import Application
    from glacier_provider.catalog.backups import Run
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.core.plan import RestoreRequest
    from glacier_provider.hooks.resources import Resources


log = logging.getLogger(__name__)


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    fetch = add_command_of_one(commands, "fetch", _fetch, "bring files of a backup into a directory")
    fetch.add_argument("backup_id", type=int, metavar="BACKUP_ID")
    fetch.add_argument("names", nargs="+", metavar="NAME", help="relative to the attached-files directory")
    fetch.add_argument("--into", required=True, metavar="DIR", help="where they go, under the same relative names")
    fetch.add_argument("--tier", choices=("Expedited", "Standard", "Bulk"), help="of what has to be retrieved")
    fetch.add_argument("--yes", action="store_true", help="pay for what has to be retrieved, without being asked")


def _fetch(arguments: Arguments) -> int:
    from glacier_provider.core.plan import RestoreRequest
    from glacier_provider.hooks.resources import Resources
    from glacier_provider.pipelines import restore
    from glacier_provider.pipelines.shared.failure import note_failure

    application = named_application(arguments)
    request = RestoreRequest.from_params(
        {
            "backup_id": arguments.backup_id,
            "part": "files",
            "only_files": arguments.names,
            "into": {"files_directory": os.path.abspath(arguments.into)},
            "tier": arguments.tier,
        }
    )
    with open_catalog(arguments) as catalog, _ending(_run(request, catalog), catalog) as run:
        with airflow_at_hand(), Resources(application) as resources:
            planned = restore.plan_restore(
                application,
                run,
                request,
                catalog=catalog,
                stores=resources.stores,
                elsewhere=resources.elsewhere,
            )
        if not arguments.json:
            print("\n".join(planned["lines"]))
        if planned["plan"]["to_request"]["archives"] and not _is_agreed(arguments):
            if arguments.json:
                print_json(planned["plan"])
            given = shlex.join([*arguments.given, "--yes"])
            print(f"Nothing was asked for, and nothing fetched. To fetch: glacier-backup {given}", file=sys.stderr)
            note_failure(run, "Nobody agreed to what it would have cost.", step=None, catalog=catalog)
            return 1
        with airflow_at_hand(), bars(), Resources(application) as resources:
            figures = _bring(application, planned, catalog, resources)
    print_answer(arguments, figures, f"{counted(len(arguments.names), 'file')} in {os.path.abspath(arguments.into)}.")
    return 0


@contextmanager
def _ending(run: Run, catalog: Catalog) -> Iterator[Run]:
    """Note that the restore of this command is over, when it ended for good: what goes on keeps its backup.

    One that is interrupted goes on when the command is given again.
    """
    from glacier_provider.pipelines.shared.failure import note_failure

    try:
        yield run
    except GlacierProviderError as error:
        if not error.retryable:
            note_failure(run, error.message, step=None, catalog=catalog)
        if isinstance(error, ArchiveCold):
            error.hint = "Give the same command again: it asks for what is missing, and for that alone."
        raise


def _is_agreed(arguments: Arguments) -> bool:
    if arguments.yes or arguments.json or not is_terminal(sys.stdin):
        return bool(arguments.yes)
    return input("Ask the store for it? [y/N] ").strip().lower() in ("y", "yes")


def _run(request: RestoreRequest, catalog: Catalog) -> Run:
    """Return the run that this command is: the same when it is called again, until it has ended."""
    from hashlib import sha256

    from glacier_provider.catalog.backups import Run

    what = sha256(repr((request.backup_id, request.only_files, request.into)).encode("utf-8", "surrogatepass"))
    for number in range(1, 1_000_000):
        run = Run("glacier-backup fetch", f"{what.hexdigest()[:16]}-{number}")
        known = catalog.restores.of_run(run)
        if known is None or catalog.restores.get(known)["state"] != "complete":
            return run
    raise AssertionError("nobody fetches so often")


def _bring(application: Application, planned: dict[str, Any], catalog: Catalog, resources: Resources) -> dict[str, Any]:
    """Ask, wait and download; what was asked for stays asked for when this is interrupted."""
    from glacier_provider.pipelines import restore
    from glacier_provider.pipelines.shared.progress import Progress

    restore_id, asked = planned["restore_id"], planned["plan"]["to_request"]["archives"]
    ranges = [ArchiveRange.from_dict(share) for share in planned["ranges"]]
    for wanted in ranges:
        restore.request_retrievals(application, restore_id, wanted, catalog=catalog, stores=resources.stores)
    ready = Progress(log, "Ready", archives=asked)
    look = partial(restore.poll_retrievals, application, restore_id, catalog=catalog, stores=resources.stores)
    pauses = (min(application.poll_seconds, seconds) for seconds in chain((1, 1, 2, 5, 10, 30), repeat(60)))
    for waiting in looks_until_done(look, pauses):
        ready.add(max(asked - waiting.pending - ready.archives, 0), 0)
        if waiting.failed:
            restore.raise_failed_retrievals(restore_id, catalog=catalog)
        if not waiting.done:
            print(
                f"{counted(waiting.pending, 'archive')} on the way. This may be interrupted: the same command goes on.",
                file=sys.stderr,
            )
    for wanted in ranges:
        restore.download_archives(
            application,
            restore_id,
            wanted,
            catalog=catalog,
            stores=resources.stores,
            elsewhere=resources.elsewhere,
        )
    return restore.close_restore(application, restore_id, catalog=catalog)
