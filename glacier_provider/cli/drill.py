"""``glacier-backup drill``: restores a backup somewhere else, checks it, throws it away, and says what came of it."""

from __future__ import annotations

import getpass
import logging
import time
from contextlib import suppress
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.cli.arguments import Arguments, add_command_of_one, named_application
from glacier_provider.cli.bars import bars
from glacier_provider.cli.connections import airflow_at_hand, open_catalog, told_by_command
from glacier_provider.cli.output import print_answer
from glacier_provider.cli.waiting import looks_until_done
from glacier_provider.core.status import ProofState
from glacier_provider.errors import GlacierProviderError, ProofFailed

if TYPE_CHECKING:
    from glacier_provider.applications import Application
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.hooks.resources import Resources
    from glacier_provider.stores.contract import Stores

log = logging.getLogger(__name__)


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    add_command_of_one(commands, "drill", _drill, "restore a backup somewhere else, check it and throw it away")


def _drill(arguments: Arguments) -> None:
    from glacier_provider.hooks.resources import Resources
    from glacier_provider.pipelines import verify

    application = named_application(arguments)
    with airflow_at_hand(), bars(), open_catalog(arguments) as catalog, Resources(application) as resources:
        closed = _drilled(application, catalog, resources)
    lines = closed["lines"]
    print_answer(arguments, {name: value for name, value in closed.items() if name != "lines"}, "\n".join(lines))
    if closed["state"] != ProofState.PASSED:
        raise ProofFailed(f"The drill did not pass: what it says of backup {closed['backup_id']} is above.", hint="")
    verify.raise_unproven(closed)


def _drilled(application: Application, catalog: Catalog, resources: Resources) -> dict[str, Any]:
    """Do all of it; a step that could not be done is told by the drill itself, after which all is cleared."""
    from glacier_provider.catalog.backups import Run
    from glacier_provider.pipelines import drill

    given: dict[str, Any] = {"catalog": catalog, "elsewhere": resources.elsewhere}
    run = Run(drill.COMMAND, f"{application.name} {time.time_ns()}")
    # Whoever wants to know whether this run is over asks for the lock.
    with catalog.beside() as beside, beside.alone(drill.work_of_command(application)):
        proof_id = drill.open_drill(application, run, asked_by=_who(), **given)
        try:
            _steps(application, proof_id, run, given, resources)
        except GlacierProviderError as error:
            log.error("%s", error)
        finally:
            with suppress(GlacierProviderError):  # the next drill does
                drill.clear_drill(application, proof_id, **given)
        with told_by_command(drill.close_drill):
            return drill.close_drill(application, proof_id, catalog=catalog, stores=resources.stores)


def _steps(application: Application, proof_id: int, run: Any, given: dict[str, Any], resources: Resources) -> None:
    from glacier_provider.pipelines import drill, restore

    stores, catalog = resources.stores, given["catalog"]
    planned = drill.plan_drill(application, proof_id, run, stores=stores, **given)
    restore_id = planned["restore_id"]
    ranges = [ArchiveRange.from_dict(share) for share in planned["ranges"]]
    for wanted in ranges:
        restore.request_retrievals(application, restore_id, wanted, catalog=catalog, stores=stores)
    _wait(application, restore_id, catalog, stores)
    for wanted in ranges:
        drill.download_sample(application, proof_id, restore_id, wanted, stores=stores, **given)
    drill.restore_and_check(application, proof_id, restore_id, **given)
    drill.check_files(application, proof_id, restore_id, catalog=catalog)


def _wait(application: Application, restore_id: int, catalog: Catalog, stores: Stores) -> None:
    """Wait until everything can be read."""
    from glacier_provider.pipelines import restore

    look = partial(restore.poll_retrievals, application, restore_id, catalog=catalog, stores=stores)
    for waiting in looks_until_done(look, repeat(application.poll_seconds)):
        if waiting.failed:
            restore.raise_failed_retrievals(restore_id, catalog=catalog)
        log.info("%s.", waiting)


def _who() -> str | None:
    with suppress(Exception):  # a container's user may have no name
        return getpass.getuser()
    return None
