"""The commands that keep a catalog: migrate, undo-orphans, undo-database, free-lease, accept-errors, rebuild-catalog.

`rebuild-catalog` needs applications.yaml, an empty database for the catalog, and credentials for the store: those of
the application's AWS connection, or, where Airflow gives none, what boto3 finds by itself (AWS_PROFILE,
AWS_ACCESS_KEY_ID, a role, ...).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from glacier_provider.cli.arguments import Arguments, add_command, add_command_of_one, add_named, named_application
from glacier_provider.cli.bars import bars
from glacier_provider.cli.connections import airflow_at_hand, open_catalog
from glacier_provider.cli.output import print_answer
from glacier_provider.core.text import counted
from glacier_provider.errors import RebuiltInPart

if TYPE_CHECKING:
    from glacier_provider.pipelines.rebuild import Rebuilt


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    add_named(add_command(commands, "migrate", _migrate, "create the catalog, or bring it to this version"))
    undo = add_command(commands, "undo-orphans", _undo_orphans, "move the orphans of a restore back to their places")
    undo.add_argument("restore_id", type=int, metavar="RESTORE_ID")
    undo = add_command(
        commands, "undo-database", _undo_database, "bring back the database that a restore replaced (safety_dump)"
    )
    undo.add_argument("restore_id", type=int, metavar="RESTORE_ID")
    undo.add_argument("--dump", metavar="PATH", help="of several that the restore made; the last one otherwise")
    accept = add_command(
        commands, "accept-errors", _accept_errors, "take what a restore by swap made beside, without what failed in it"
    )
    accept.add_argument("restore_id", type=int, metavar="RESTORE_ID")
    free = add_command_of_one(
        commands, "free-lease", _free_lease, "show who works on an application, and free its lease"
    )
    free.add_argument("--force", action="store_true", help="also when Airflow does not say that the run is over")
    add_command_of_one(commands, "rebuild-catalog", _rebuild, "write a lost catalog anew from what the store holds")


def _migrate(arguments: Arguments) -> None:
    with open_catalog(arguments, check=False) as catalog:
        version = catalog.migrate()
    answer = {"schema": catalog.schema, "version": version}
    print_answer(arguments, answer, f"The catalog schema {catalog.schema} is at version {version}.")


def _undo_orphans(arguments: Arguments) -> None:
    from glacier_provider.pipelines import restore

    if arguments.application is None:
        with open_catalog(arguments) as catalog:
            arguments.application = catalog.restores.get(arguments.restore_id)["application"]
    application = named_application(arguments)
    with bars(), open_catalog(arguments) as catalog:
        figures = restore.undo_orphans(application, arguments.restore_id, catalog=catalog)
    moved, left = counted(figures["moved_back"], "file"), figures["left"]
    print_answer(arguments, figures, f"{moved} moved back, {left:,} left in {application.orphan_directory}.")


def _undo_database(arguments: Arguments) -> None:
    from glacier_provider.hooks.resources import Resources
    from glacier_provider.pipelines import restore

    if arguments.application is None:
        with open_catalog(arguments) as catalog:
            arguments.application = catalog.restores.get(arguments.restore_id)["application"]
    application = named_application(arguments)
    with airflow_at_hand(), bars(), open_catalog(arguments) as catalog, Resources(application) as resources:
        figures = restore.undo_database(
            application, arguments.restore_id, catalog=catalog, server=resources.server, path=arguments.dump
        )
    told = f"The database is as it was before restore {arguments.restore_id}: {figures['restored']:,} entries restored."
    print_answer(arguments, figures, told)


def _accept_errors(arguments: Arguments) -> None:
    with open_catalog(arguments) as catalog:
        failed = catalog.restores.accept_errors(arguments.restore_id)
    answer = {"restore_id": arguments.restore_id, "accepted": failed}
    print_answer(
        arguments,
        answer,
        f"{counted(failed, 'failed statement')} accepted. Clear the task restore_database of this restore: it swaps.",
    )


def _free_lease(arguments: Arguments) -> None:
    from glacier_provider.hooks.runs import run_ended
    from glacier_provider.pipelines.free import free_lease

    named_application(arguments)
    with airflow_at_hand(), open_catalog(arguments) as catalog:
        freed = free_lease(catalog, run_ended, force=arguments.force)
    print_answer(arguments, freed.as_dict(), freed.text)


def _rebuild(arguments: Arguments) -> None:
    from glacier_provider.hooks.resources import Resources, open_store_anywhere
    from glacier_provider.pipelines.rebuild import rebuild_catalog

    application = named_application(arguments)
    resources = Resources(application, open_store=open_store_anywhere)
    with airflow_at_hand(), bars(), open_catalog(arguments, check=False) as catalog:
        rebuilt = rebuild_catalog(application, catalog=catalog, stores=resources.stores)
    print_answer(arguments, rebuilt.as_dict(), "\n".join(_lines(rebuilt)))
    if rebuilt.broken or rebuilt.lost_count or rebuilt.left_out:
        raise RebuiltInPart(
            f"{counted(len(rebuilt.broken), 'backup')} cannot be restored whole, "
            f"{counted(rebuilt.lost_count, 'file')} are in no store, and {counted(len(rebuilt.left_out), 'manifest')} "
            "could not be used; all else is as it was."
        )


def _lines(rebuilt: Rebuilt) -> Iterator[str]:
    backups, files = counted(rebuilt.backups, "backup"), counted(rebuilt.files, "file")
    yield f"{backups}, of which {rebuilt.complete:,} complete; {files}."
    if rebuilt.adopted:
        yield f"{counted(rebuilt.adopted, 'archive')} of backups that never got their manifest taken up."
    yield from rebuilt.renumbered
    yield from rebuilt.miscounted
    yield from (f"Not whole: {line}" for line in rebuilt.broken)
    yield from (f"Left out: {line}" for line in rebuilt.left_out)
    yield from (f"In a complete backup, and in no store: {line}" for line in rebuilt.lost)
    yield from (f"In the store, and fits nowhere: {line}" for line in rebuilt.strays)
