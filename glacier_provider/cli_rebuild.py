"""``glacier-backup rebuild-catalog``: the catalog from the store alone.

It needs applications.yaml, an empty database for the catalog, and credentials for the store: those of the application's
AWS connection, or, where Airflow gives none, what boto3 finds by itself (AWS_PROFILE, AWS_ACCESS_KEY_ID, a role, ...).
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from glacier_provider import cli, rebuilding
from glacier_provider.applications import load_applications
from glacier_provider.core.plan import counted
from glacier_provider.errors import RebuiltInPart


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    rebuild = cli._command(commands, "rebuild-catalog", _rebuild, "write a lost catalog anew from what the store holds")
    rebuild.add_argument("name", metavar="APPLICATION", help="the application, as applications.yaml names it")


def _rebuild(arguments: cli.Arguments) -> None:
    from glacier_provider.hooks.resources import open_store_anywhere

    cli.load_airflow()
    arguments.application = arguments.name
    application = load_applications(arguments.applications).named(arguments.name)
    with cli._catalog(arguments, check=False) as catalog:
        stores = cache(partial(open_store_anywhere, application))
        rebuilt = rebuilding.rebuild_catalog(application, catalog=catalog, stores=stores)
    if arguments.json:
        cli._print_json(rebuilt.as_dict())
    else:
        _tell(rebuilt)
    if rebuilt.broken or rebuilt.lost_count:
        raise RebuiltInPart(
            f"{counted(len(rebuilt.broken), 'backup')} cannot be restored whole, and "
            f"{counted(rebuilt.lost_count, 'file')} are in no store; all else is as it was."
        )


def _tell(rebuilt: rebuilding.Rebuilt) -> None:
    print(
        f"{counted(rebuilt.backups, 'backup')}, of which {rebuilt.complete} complete; {counted(rebuilt.files, 'file')}."
    )
    if rebuilt.adopted:
        print(f"{counted(rebuilt.adopted, 'archive')} of backups that never got their manifest taken up.")
    for title, lines in (
        ("Not whole", rebuilt.broken),
        ("In a complete backup, and in no store", rebuilt.lost),
        ("In the store, and fits nowhere", rebuilt.strays),
    ):
        for line in lines:
            print(f"{title}: {line}")
