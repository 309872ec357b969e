"""``glacier-backup verify``: is everything in the stores, as it was written; nothing is brought back for it."""

from __future__ import annotations

import getpass
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from glacier_provider.cli.arguments import Arguments, add_command, right_applications
from glacier_provider.cli.connections import airflow_at_hand, open_catalog
from glacier_provider.cli.output import print_answer
from glacier_provider.core.status import ProofState
from glacier_provider.errors import ProofFailed

if TYPE_CHECKING:
    from glacier_provider.applications import Application


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    add_command(commands, "verify", _verify, "compare what is in the stores with the catalog, without retrieving it")


def _verify(arguments: Arguments) -> None:
    applications = right_applications(arguments)
    names = [arguments.application] if arguments.application else list(applications)
    told = {name: _verified(applications.named(name), arguments) for name in names}
    lines = [line for name, closed in told.items() for line in (f"{name}:", *(f"  {one}" for one in closed["lines"]))]
    print_answer(arguments, {name: _without_lines(closed) for name, closed in told.items()}, "\n".join(lines))
    unproven = [name for name, closed in told.items() if closed["state"] != ProofState.PASSED]
    if unproven:
        raise ProofFailed(f"Not all is as it should be: {', '.join(unproven)}.")


def _verified(application: Application, arguments: Arguments) -> dict[str, Any]:
    from glacier_provider.hooks.resources import Resources, open_store_anywhere
    from glacier_provider.pipelines import verify

    arguments.application = application.name
    with airflow_at_hand(), open_catalog(arguments) as catalog:
        resources = Resources(application, open_store=open_store_anywhere)
        proof_id = verify.open_verification(application, catalog=catalog, method="listing", asked_by=_who())
        verify.verify_listing(application, proof_id, catalog=catalog, stores=resources.stores)
        return verify.close_verification(application, proof_id, catalog=catalog)


def _who() -> str | None:
    with suppress(Exception):  # a container's user may have no name
        return getpass.getuser()
    return None


def _without_lines(closed: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in closed.items() if name != "lines"}
