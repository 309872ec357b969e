"""``glacier-backup delete``, ``retention`` and ``reconcile``: the commands that take something out of a store.

They reach the store by the application's AWS connection: its AIRFLOW_CONN_ variable, else Airflow's own connections.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from glacier_provider.cli.arguments import Arguments, add_command_of_one, is_terminal, named_application
from glacier_provider.cli.bars import bars
from glacier_provider.cli.connections import airflow_at_hand, open_catalog
from glacier_provider.cli.output import print_answer, print_rows
from glacier_provider.core.text import counted
from glacier_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from glacier_provider.catalog.backups import Run
    from glacier_provider.core.deletion import DeletionPlan
    from glacier_provider.core.retention import Judged


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    delete = add_command_of_one(
        commands, "delete", _delete, "show what the deletion of a backup takes away, and delete it"
    )
    delete.add_argument("backup_id", type=int, metavar="BACKUP_ID")
    delete.add_argument("--yes-delete", metavar="APPLICATION-ID", help="confirm it, as in --yes-delete library-42")
    delete.add_argument(
        "--force", action="store_true", help="also the newest complete backup, or one that is being restored"
    )
    retention = add_command_of_one(
        commands, "retention", _retention, "show which backups the retention rule lets go, and why"
    )
    retention.add_argument("--delete", action="store_true", help="delete those that may go")
    retention.add_argument("--yes-delete", metavar="APPLICATION", help="confirm --delete by the application's name")
    retention.add_argument(
        "--despite-rewrite",
        type=int,
        metavar="BACKUP_ID",
        help="delete although most files were rewritten or vanished in this backup, which you have looked at",
    )
    reconcile = add_command_of_one(
        commands, "reconcile", _reconcile, "compare the stores with the catalog and settle what is in doubt"
    )
    reconcile.add_argument(
        "--inventory",
        action="store_true",
        help="compare all that the stores list, not only where something is in doubt; of a vault, ask for a newer "
        "inventory",
    )


def _delete(arguments: Arguments) -> None:
    from glacier_provider.core.deletion import DeletionRequest
    from glacier_provider.hooks.resources import Resources
    from glacier_provider.pipelines.delete import delete_backup, plan_deletion, raise_refused

    application, backup_id = named_application(arguments), arguments.backup_id
    with open_catalog(arguments) as catalog:
        plan = plan_deletion(backup_id, catalog=catalog, prices=application.price_table)
        confirm = arguments.yes_delete
        if not arguments.json:
            print("\n".join(plan.lines()))
            if confirm is None and plan.refused is None and is_terminal(sys.stdin):
                confirm = input(f"To delete it for good, type {plan.confirm}: ").strip()
        if not confirm:
            print_answer(arguments, plan.as_dict(), _proposal(arguments, plan))
            return
        DeletionRequest(backup_id, confirm).check(application.name)
        raise_refused(plan, force=arguments.force)
        with airflow_at_hand(), bars(), Resources(application) as resources:
            figures = delete_backup(
                application, backup_id, _run(), catalog=catalog, stores=resources.stores, force=arguments.force
            )
    print_answer(arguments, figures, f"Backup {backup_id} is deleted: {figures['archives']:,} archives.")


def _proposal(arguments: Arguments, plan: DeletionPlan) -> str:
    """Return the command that deletes what was planned, as it has to be typed; none where nothing lifts a refusal."""
    if plan.refused and not plan.forcible:
        return "Nothing was deleted, and it cannot be."
    given = [*_without_password(arguments.given), "--yes-delete", plan.confirm]
    if plan.refused and not arguments.force:
        given.append("--force")
    return f"Nothing was deleted. To delete it all the same: glacier-backup {shlex.join(given)}"


def _without_password(given: Sequence[str]) -> list[str]:
    return [re.sub(r"(://[^/@:\s]*):[^/@\s]+@", r"\1@", one) for one in given]


def _retention(arguments: Arguments) -> None:
    from glacier_provider.core.retention import Retention
    from glacier_provider.hooks.resources import Resources
    from glacier_provider.pipelines.delete import delete_backup, judge_backups, refuse_after_rewrite

    application = named_application(arguments)
    with open_catalog(arguments) as catalog:
        if not arguments.delete and not arguments.json and application.retention == Retention():
            backups = counted(catalog.deletions.count_to_judge(), "backup")
            print(f"{application.name} has no retention rule: all {backups} stay.")
            return
        judged = judge_backups(application, catalog=catalog)
        going = [one.backup_id for one in judged if one.may_go]
        if not arguments.delete:
            _print_judged(arguments, judged)
            return
        refuse_after_rewrite(application, catalog=catalog, despite=arguments.despite_rewrite)
        if arguments.yes_delete != application.name:
            raise ConfigurationError(
                f"The deletion of {len(going):,} backups of {application.name} is not confirmed.",
                hint=f"Nothing was changed. To delete them, add: --yes-delete {application.name}",
            )
        with airflow_at_hand(), bars(), Resources(application) as resources:
            figures = [
                delete_backup(application, number, _run(), catalog=catalog, stores=resources.stores)
                for number in sorted(going)
            ]
    archives = sum(one["archives"] for one in figures)
    print_answer(arguments, {"deleted": figures}, f"{len(figures):,} backups are deleted: {archives:,} archives.")


def _reconcile(arguments: Arguments) -> None:
    from glacier_provider.hooks.resources import Resources
    from glacier_provider.pipelines.reconcile import reconcile

    application = named_application(arguments)
    with airflow_at_hand(), bars(), open_catalog(arguments) as catalog, Resources(application) as resources:
        done = reconcile(application, catalog=catalog, stores=resources.stores, everything=arguments.inventory)
    lines = [line for one in done for line in one.lines()]
    text = "\n".join(lines) or "Nothing is in doubt. To compare all the same, add: --inventory"
    print_answer(arguments, [one.as_dict() for one in done], text)


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


def _run() -> Run:
    """Stands for the Airflow run in what is noted of a deletion."""
    from glacier_provider.catalog.backups import Run

    return Run("glacier-backup", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}")
