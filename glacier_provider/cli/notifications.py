"""``glacier-backup setup-notifications``: makes the queue in which restores learn that retrievals ended.

It reaches AWS by the application's AWS connection: its AIRFLOW_CONN_ variable, else Airflow's own connections.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from glacier_provider.cli.arguments import Arguments, right_applications
from glacier_provider.cli.connections import airflow_at_hand
from glacier_provider.cli.output import print_json
from glacier_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from glacier_provider.applications import Application


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "setup-notifications",
        help="make the queue that tells restores when retrievals ended",
        description="Make an SQS queue and have the application's bucket or vault tell it when retrievals ended. "
        "What is there already is left as it is.",
    )
    command.set_defaults(run=_set_up)
    command.add_argument("application", metavar="APPLICATION", nargs="?", help="needed when there are several")
    command.add_argument("--applications", metavar="FILE", help="path of applications.yaml")
    command.add_argument("--store", metavar="URI", help="another store that holds archives of the application")
    command.add_argument("--dry-run", action="store_true", help="only show what would be done")
    command.add_argument("--json", action="store_true", help="print JSON")


def _set_up(arguments: Arguments) -> None:
    from glacier_provider.hooks.notifications import set_up_notifications

    application = _named_or_only(arguments)
    with airflow_at_hand():
        setup = set_up_notifications(application, store=arguments.store, dry_run=arguments.dry_run)
    if arguments.json:
        print_json({"application": application.name, **asdict(setup)})
        return
    for step in setup.steps:
        print(f"{step.what}: {step.done}")
    if arguments.dry_run:
        print("Nothing was changed.")
    elif application.notifications.queue is None:
        print("\nTo use it, put into applications.yaml:\n")
        lines = ("applications:", f"  {application.name}:", "    notifications:", f"      queue: {setup.queue}")
        print("\n".join(lines))


def _named_or_only(arguments: Arguments) -> Application:
    applications = right_applications(arguments)
    if arguments.application:
        return applications.named(arguments.application)
    if len(applications) != 1:
        raise ConfigurationError(
            f"There are {len(applications):,} applications in {applications.origin}.",
            hint=f"Name one: glacier-backup setup-notifications {'|'.join(applications)}.",
        )
    return next(iter(applications.values()))
