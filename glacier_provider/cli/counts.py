"""``glacier-backup check-counts`` and ``index-names``: what the catalog keeps so that pages are quick."""

from __future__ import annotations

from typing import Any

from glacier_provider.cli.arguments import Arguments, add_command, add_named
from glacier_provider.cli.connections import open_catalog
from glacier_provider.cli.output import print_answer, print_json, print_table
from glacier_provider.core.text import counted
from glacier_provider.errors import CatalogError


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    check = add_command(
        commands, "check-counts", _check_counts, "compare the catalog's kept figures with what it holds"
    )
    add_named(check)
    check.add_argument("--repair", action="store_true", help="count everything anew")
    names = add_command(commands, "index-names", _index_names, "index filenames, for quick search by any part of them")
    add_named(names)
    names.add_argument("--drop", action="store_true", help="remove the index")


def _check_counts(arguments: Arguments) -> None:
    with open_catalog(arguments) as catalog:
        wrong = catalog.counts.wrong()
        if wrong and arguments.repair:
            catalog.counts.rebuild()
    if arguments.json:
        print_json({"wrong": wrong, "repaired": bool(wrong and arguments.repair)})
    elif not wrong:
        print("The kept figures are right.")
    else:
        print_table(wrong, {name: name for name in wrong[0]})
        print("Everything was counted anew." if arguments.repair else "To count everything anew, add: --repair")
    if wrong and not arguments.repair:
        raise CatalogError(
            f"{counted(len(wrong), 'kept figure')} of the catalog are not what it holds.", hint="Add --repair."
        )


def _index_names(arguments: Arguments) -> None:
    with open_catalog(arguments) as catalog:
        if arguments.drop:
            catalog.counts.drop_index_of_names()
        made = not arguments.drop and catalog.counts.index_names()
    indexed = "Filenames are indexed." if made else "Filenames are indexed already."
    text = "Filenames are not indexed; searches go step by step." if arguments.drop else indexed
    print_answer(arguments, {"indexed": not arguments.drop}, text)
