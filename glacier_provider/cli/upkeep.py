"""The commands that keep a catalog: migrate, undo-orphans, rebuild-catalog.

`rebuild-catalog` needs applications.yaml, an empty database for the catalog, and credentials for the store: those of
the application's AWS connection, or, where Airflow gives none, what boto3 finds by itself (AWS_PROFILE,
AWS_ACCESS_KEY_ID, a role, ...).
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from glacier_provider.applications import load_applications
from glacier_provider.cli.arguments import Arguments, add_command
from glacier_provider.cli.opening import airflow_at_hand, open_catalog
from glacier_provider.cli.printing import print_json
from glacier_provider.core.text import counted
from glacier_provider.errors import RebuiltInPart
from glacier_provider.pipelines.rebuild import Rebuilt, rebuild_catalog


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    add_command(commands, "migrate", _migrate, "create the catalog, or bring it to this version")
    undo = add_command(commands, "undo-orphans", _undo_orphans, "move the orphans of a restore back to their places")
    undo.add_argument("restore_id", type=int, metavar="RESTORE_ID")
    rebuild = add_command(
        commands, "rebuild-catalog", _rebuild, "write a lost catalog anew from what the store holds", of_any=False
    )
    rebuild.add_argument("application", metavar="APPLICATION", help="the application, as applications.yaml names it")


def _migrate(arguments: Arguments) -> None:
    with open_catalog(arguments, check=False) as catalog:
        version = catalog.migrate()
    if arguments.json:
        print_json({"schema": catalog.schema, "version": version})
    else:
        print(f"The catalog schema {catalog.schema} is at version {version}.")


def _undo_orphans(arguments: Arguments) -> None:
    from glacier_provider.pipelines import restore

    if arguments.application is None:
        with open_catalog(arguments) as catalog:
            arguments.application = catalog.restores.get(arguments.restore_id)["application"]
    application = load_applications(arguments.applications).named(arguments.application)
    with open_catalog(arguments) as catalog:
        figures = restore.undo_orphans(application, arguments.restore_id, catalog=catalog)
    if arguments.json:
        print_json(figures)
    else:
        moved, left = counted(figures["moved_back"], "file"), figures["left"]
        print(f"{moved} moved back, {left} left in {application.orphan_directory}.")


def _rebuild(arguments: Arguments) -> None:
    from glacier_provider.hooks.resources import open_store_anywhere

    application = load_applications(arguments.applications).named(arguments.application)
    with airflow_at_hand(), open_catalog(arguments, check=False) as catalog:
        stores = cache(partial(open_store_anywhere, application))
        rebuilt = rebuild_catalog(application, catalog=catalog, stores=stores)
    if arguments.json:
        print_json(rebuilt.as_dict())
    else:
        _tell(rebuilt)
    if rebuilt.broken or rebuilt.lost_count:
        raise RebuiltInPart(
            f"{counted(len(rebuilt.broken), 'backup')} cannot be restored whole, and "
            f"{counted(rebuilt.lost_count, 'file')} are in no store; all else is as it was."
        )


def _tell(rebuilt: Rebuilt) -> None:
    backups, files = counted(rebuilt.backups, "backup"), counted(rebuilt.files, "file")
    print(f"{backups}, of which {rebuilt.complete} complete; {files}.")
    if rebuilt.adopted:
        print(f"{counted(rebuilt.adopted, 'archive')} of backups that never got their manifest taken up.")
    for title, lines in (
        ("Not whole", rebuilt.broken),
        ("In a complete backup, and in no store", rebuilt.lost),
        ("In the store, and fits nowhere", rebuilt.strays),
    ):
        for line in lines:
            print(f"{title}: {line}")
