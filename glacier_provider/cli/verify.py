"""``glacier-backup verify``: is everything in the stores, as it was written; nothing is brought back for it."""

from __future__ import annotations

import getpass
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from glacier_provider.cli.arguments import Arguments, add_command, add_named, right_applications
from glacier_provider.cli.bars import bars
from glacier_provider.cli.connections import airflow_at_hand, open_catalog, told_by_command
from glacier_provider.cli.output import print_answer
from glacier_provider.core.status import ProofState
from glacier_provider.errors import GlacierProviderError, ProofFailed

if TYPE_CHECKING:
    from glacier_provider.applications import Application
    from glacier_provider.catalog.catalog import Catalog
    from glacier_provider.hooks.resources import Resources

log = logging.getLogger(__name__)


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_command(
        commands, "verify", _verify, "compare what is in the stores with the catalog, without retrieving it"
    )
    add_named(command)
    command.add_argument(
        "--by",
        choices=["listing", "content"],
        help="content: have S3 compute the checksums of what is due, too, which costs; as verify.by says otherwise",
    )
    command.add_argument("--all", action="store_true", help="by content: whether it is due or not")
    command.add_argument(
        "--estimate", action="store_true", help="by content: only say what would be asked for, and what that costs"
    )


def _verify(arguments: Arguments) -> None:
    applications = right_applications(arguments)
    names = [applications.named(arguments.application).name] if arguments.application else list(applications)
    wrong = [] if arguments.application or arguments.estimate else [name for name in applications.wrong if name]
    told = {name: _told(applications.named(name), arguments, alone=len(names) == 1) for name in names}
    lines = [line for name, closed in told.items() for line in (f"{name}:", *(f"  {one}" for one in closed["lines"]))]
    print_answer(arguments, {name: _without_lines(closed) for name, closed in told.items()}, "\n".join(lines))
    unproven = [name for name, closed in told.items() if _is_unproven(closed)]
    if unproven or wrong:
        raise ProofFailed(f"Not all is as it should be: {', '.join([*unproven, *wrong])}.")


def _told(application: Application, arguments: Arguments, *, alone: bool) -> dict[str, Any]:
    """Return what came of one application; that it could not be looked at keeps no other from it."""
    try:
        return _verified(application, arguments)
    except GlacierProviderError as error:
        if alone:
            raise
        return {"state": ProofState.FAILED, "error": str(error), "lines": [f"It could not be verified: {error}"]}


def _is_unproven(closed: dict[str, Any]) -> bool:
    return "estimate" not in closed and bool(closed["state"] != ProofState.PASSED or closed.get("no_evidence"))


def _verified(application: Application, arguments: Arguments) -> dict[str, Any]:
    from glacier_provider.hooks.resources import Resources, open_store_anywhere
    from glacier_provider.pipelines import verify

    arguments.application = application.name
    method = arguments.by or verify.method_of(application)
    with airflow_at_hand(), bars(), open_catalog(arguments) as catalog:
        if arguments.estimate:
            due = catalog.batch.due(verify.due_before(application, everything=arguments.all))
            estimate = verify.estimated(application, due)
            return {"estimate": estimate, "lines": [estimate]}
        resources = Resources(application, open_store=open_store_anywhere)
        proof_id = verify.open_verification(application, catalog=catalog, method=method, asked_by=_who())
        verify.verify_listing(application, proof_id, catalog=catalog, stores=resources.stores)
        if method == "content":
            _checksums(application, proof_id, arguments, catalog=catalog, resources=resources)
        with told_by_command(verify.close_verification):
            return verify.close_verification(application, proof_id, catalog=catalog, stores=resources.stores)


def _checksums(
    application: Application, proof_id: int, arguments: Arguments, *, catalog: Catalog, resources: Resources
) -> None:
    """Ask for the checksums and wait for them; who ends the wait goes on with the same jobs the next time."""
    from glacier_provider.pipelines import verify

    asked: Any = {"catalog": catalog, "batches": resources.batch}
    before = verify.due_before(application, everything=arguments.all)
    verify.request_checksums(application, proof_id, before=before, **asked)
    while True:
        told = verify.poll_checksums(application, proof_id, **asked)
        if told.done and not verify.read_checksums(application, proof_id, stores=resources.stores, **asked).pending:
            return
        log.info("%s: S3 has computed %s.", application.name, told)
        time.sleep(application.poll_seconds)


def _who() -> str | None:
    with suppress(Exception):  # a container's user may have no name
        return getpass.getuser()
    return None


def _without_lines(closed: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in closed.items() if name != "lines"}
