"""``glacier-backup costs``, ``check-counts``, ``index-names``: what archives cost, and the catalog's kept figures."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from glacier_provider.applications import Application, load_applications
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.cli.arguments import Arguments, add_command
from glacier_provider.cli.opening import open_catalog
from glacier_provider.cli.printing import print_json, print_table
from glacier_provider.core.cost import early_deletion, money, plain, retrieval_by_tier, storage_cost
from glacier_provider.core.text import counted, readable_size
from glacier_provider.errors import CatalogError, ConfigurationError
from glacier_provider.pipelines.costs import held


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    costs = add_command(commands, "costs", _costs, "estimate what an application's archives cost")
    costs.add_argument("name", nargs="?", metavar="APPLICATION", help="name of the application")
    check = add_command(
        commands, "check-counts", _check_counts, "compare the catalog's kept figures with what it holds"
    )
    check.add_argument("--repair", action="store_true", help="count everything anew")
    names = add_command(commands, "index-names", _index_names, "index filenames, for quick search by any part of them")
    names.add_argument("--drop", action="store_true", help="remove the index")


def _costs(arguments: Arguments) -> None:
    arguments.application = arguments.name or arguments.application
    applications = load_applications(arguments.applications)
    if arguments.application is None:
        raise ConfigurationError("No application is named.", hint=f"Name one: {', '.join(applications)}.")
    application = applications.named(arguments.application)
    with open_catalog(arguments) as catalog:
        told = _told(application, catalog)
    if arguments.json:
        print_json(told)
        return
    _print(told)


def _told(application: Application, catalog: Catalog) -> dict[str, Any]:
    """Return what an application costs, as JSON-able values; money is decimal text."""
    prices = application.price_table
    stored = held(catalog.pages.totals([application.name])[application.name])
    everything = retrieval_by_tier(stored, prices, days=application.retrieval_days)
    return {
        "application": application.name,
        "currency": prices.currency,
        "prices": prices.name,
        "source": prices.source,
        "monthly": plain(storage_cost(stored, prices)),
        "classes": [
            {
                "store_class": one.store_class,
                "archives": one.archives,
                "bytes": one.bytes,
                "monthly": plain(storage_cost([one], prices)),
                "delete_today_at_most": plain(early_deletion([(one, 0)], prices)),
            }
            for one in stored
        ],
        "retrieve_everything": {tier: cost.as_dict() for tier, cost in everything.items()},
    }


def _print(told: dict[str, Any]) -> None:
    currency = told["currency"]
    print_table(
        told["classes"],
        {
            "class": "store_class",
            "archives": "archives",
            "bytes": lambda row: readable_size(row["bytes"]),
            "a month": lambda row: money(Decimal(row["monthly"]), currency),
            "if deleted today, at most": lambda row: money(Decimal(row["delete_today_at_most"]), currency),
        },
    )
    print(f"In all: {money(Decimal(told['monthly']), currency)} a month.")
    for tier, cost in told["retrieve_everything"].items():
        how = f"To retrieve everything by {tier}" if tier else "To read everything"
        print(f"{how}: {money(Decimal(cost['total']), currency)}.")
    print(f"Estimated by {told['prices']} ({told['source']}).")


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
    if arguments.json:
        print_json({"indexed": not arguments.drop})
    elif arguments.drop:
        print("Filenames are not indexed; searches go step by step.")
    else:
        print("Filenames are indexed." if made else "Filenames are indexed already.")
