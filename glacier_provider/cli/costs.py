"""``glacier-backup costs``: what an application's archives cost."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from glacier_provider.cli.arguments import Arguments, add_command, add_named, right_applications
from glacier_provider.cli.connections import open_catalog
from glacier_provider.cli.output import print_json, print_table, shown_count
from glacier_provider.core.cost import early_deletion, money, plain, storage_cost
from glacier_provider.core.text import counted, readable_size
from glacier_provider.errors import ConfigurationError

if TYPE_CHECKING:
    from glacier_provider.applications import Application
    from glacier_provider.catalog.catalog import Catalog


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    costs = add_command(commands, "costs", _costs, "estimate what an application's archives cost")
    add_named(costs)


def _costs(arguments: Arguments) -> None:
    applications = right_applications(arguments)
    if arguments.application is None:
        raise ConfigurationError("No application is named.", hint=f"Name one: {', '.join(applications)}.")
    application = applications.named(arguments.application)
    with open_catalog(arguments) as catalog:
        estimate = _estimate(application, catalog)
    if arguments.json:
        print_json(estimate)
    else:
        _print(estimate)


def _estimate(application: Application, catalog: Catalog) -> dict[str, Any]:
    """Return what an application costs, as JSON-able values; money is decimal text."""
    from glacier_provider.pipelines.costs import held, looks_cost, rebuilding, whole_retrieval

    prices, holdings = application.price_table, catalog.pages.totals([application.name])[application.name]
    stored = held(holdings)
    everything = whole_retrieval(application, stored)
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
        "looks": plain(looks_cost(application, archives=sum(one.archives for one in stored))),
        "rebuild": plain(rebuilding(application, holdings)),
        "retrieval_days": application.retrieval_days,
        "retrieve_everything": {tier: cost.as_dict() for tier, cost in everything.items()},
    }


def _print(estimate: dict[str, Any]) -> None:
    currency = estimate["currency"]
    print_table(
        estimate["classes"],
        {
            "class": "store_class",
            "archives": lambda row: shown_count(row["archives"]),
            "bytes": lambda row: readable_size(row["bytes"]),
            "a month": lambda row: money(Decimal(row["monthly"]), currency),
            "if deleted today, at most": lambda row: money(Decimal(row["delete_today_at_most"]), currency),
        },
    )
    print(f"In all: {money(Decimal(estimate['monthly']), currency)} a month.")
    looks, rebuild = (money(Decimal(estimate[name]), currency) for name in ("looks", "rebuild"))
    print(f"What each backup asks the store beside its uploads: {looks}. To rebuild a lost catalog from it: {rebuild}.")
    for tier, cost in estimate["retrieve_everything"].items():
        kept = f", copies kept {counted(estimate['retrieval_days'], 'day')}"
        how = f"To retrieve everything by {tier}{kept}" if tier else "To read everything"
        print(f"{how}: {money(Decimal(cost['total']), currency)}.")
    print(f"Estimated by {estimate['prices']} ({estimate['source']}).")
