"""``glacier-backup delete``, ``retention`` and ``reconcile``: the commands that take something out of a store.

They reach the store by the application's AWS connection: its AIRFLOW_CONN_ variable, else Airflow's own connections.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from glacier_provider.applications import Application, load_applications
from glacier_provider.catalog.backups import Run
from glacier_provider.cli.arguments import DEFAULT_SCHEMA, Arguments
from glacier_provider.cli.opening import airflow_at_hand, open_catalog
from glacier_provider.cli.printing import print_json, print_rows
from glacier_provider.core.deletion import DeletionRequest
from glacier_provider.core.retention import Judged
from glacier_provider.errors import ConfigurationError
from glacier_provider.hooks.resources import Resources
from glacier_provider.pipelines.delete import delete_backup, judge_backups, plan_deletion, raise_refused
from glacier_provider.pipelines.reconcile import reconcile


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    delete = _command(commands, "delete", _delete, "show what the deletion of a backup takes away, and delete it")
    delete.add_argument("backup_id", type=int, metavar="BACKUP_ID")
    delete.add_argument("--yes-delete", metavar="APPLICATION-ID", help="confirm it, as in --yes-delete library-42")
    delete.add_argument(
        "--force", action="store_true", help="also the newest complete backup, or one that is being restored"
    )
    retention = _command(commands, "retention", _retention, "show which backups the retention rule lets go, and why")
    retention.add_argument("--delete", action="store_true", help="delete those that may go")
    retention.add_argument("--yes-delete", metavar="APPLICATION", help="confirm --delete by the application's name")
    reconcile = _command(commands, "reconcile", _reconcile, "compare the stores with the catalog and settle doubts")
    reconcile.add_argument(
        "--inventory",
        action="store_true",
        help="compare all that the stores list, not only where something is in doubt; of a vault, ask for a newer "
        "inventory",
    )


def _delete(arguments: Arguments) -> None:
    application, backup_id = _application(arguments), arguments.backup_id
    with open_catalog(arguments) as catalog:
        plan = plan_deletion(backup_id, catalog=catalog, prices=application.price_table)
        confirm = arguments.yes_delete
        if not arguments.json:
            print("\n".join(plan.lines()))
            if confirm is None and plan.refused is None and sys.stdin.isatty():
                confirm = input(f"To delete it for good, type {plan.confirm}: ").strip()
        if not confirm:
            if arguments.json:
                print_json(plan.as_dict())
            else:
                print(f"Nothing was deleted. To delete it, add: --yes-delete {plan.confirm}")
            return
        DeletionRequest(backup_id, confirm).check(application.name)
        raise_refused(plan, force=arguments.force)
        with airflow_at_hand(), Resources(application) as resources:
            figures = delete_backup(
                application, backup_id, _run(), catalog=catalog, stores=resources.stores, force=arguments.force
            )
    _tell(arguments, figures, f"Backup {backup_id} is deleted: {figures['archives']} archives.")


def _retention(arguments: Arguments) -> None:
    application = _application(arguments)
    with open_catalog(arguments) as catalog:
        judged = judge_backups(application, catalog=catalog)
        going = [one.backup_id for one in judged if one.may_go]
        if not arguments.delete:
            _print_judged(arguments, judged)
            return
        if arguments.yes_delete != application.name:
            raise ConfigurationError(
                f"The deletion of {len(going)} backups of {application.name} is not confirmed.",
                hint=f"Nothing was changed. To delete them, add: --yes-delete {application.name}",
            )
        with airflow_at_hand(), Resources(application) as resources:
            figures = [
                delete_backup(application, number, _run(), catalog=catalog, stores=resources.stores)
                for number in sorted(going)
            ]
    archives = sum(one["archives"] for one in figures)
    _tell(arguments, {"deleted": figures}, f"{len(figures)} backups are deleted: {archives} archives.")


def _reconcile(arguments: Arguments) -> None:
    application = _application(arguments)
    with airflow_at_hand(), open_catalog(arguments) as catalog, Resources(application) as resources:
        done = reconcile(application, catalog=catalog, stores=resources.stores, everything=arguments.inventory)
    lines = [line for one in done for line in one.lines()]
    if arguments.json:
        print_json([one.as_dict() for one in done])
    else:
        print("\n".join(lines) or "Nothing is in doubt. To compare all the same, add: --inventory")


def _print_judged(arguments: Arguments, judged: list[Judged]) -> None:
    print_rows(
        arguments,
        [one.as_dict() for one in judged],
        {
            "id": "backup_id",
            "taken": lambda row: row["taken_at"][:16].replace("T", " "),
            "state": "state",
            "may go": lambda row: "yes" if row["may_go"] else "",
            "stays, since": lambda row: "; ".join(row["reasons"]),
        },
    )


def _application(arguments: Arguments) -> Application:
    return load_applications(arguments.applications).named(arguments.application)


def _run() -> Run:
    """Stands for the Airflow run in what is noted of a deletion."""
    return Run("glacier-backup", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}")


def _tell(arguments: Arguments, figures: dict[str, Any], words: str) -> None:
    if arguments.json:
        print_json(figures)
    else:
        print(words)


def _command(commands: Any, name: str, run: Callable[[Arguments], None], text: str) -> Any:
    """Add a command that works on one application, which it names first."""
    command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    command.set_defaults(run=run)
    command.add_argument("application", metavar="APPLICATION", help="its name in applications.yaml")
    command.add_argument("--applications", metavar="FILE", help="path of applications.yaml")
    command.add_argument("--catalog", metavar="URI", help="libpq URI of the catalog's database")
    command.add_argument("--schema", help=f"the catalog's schema (default: as configured, else {DEFAULT_SCHEMA})")
    command.add_argument("--json", action="store_true", help="print JSON")
    return command
