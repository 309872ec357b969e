"""What things cost, as the API answers it. Amounts are decimal text with six places, in the currency beside them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from glacier_provider.applications import Application
from glacier_provider.catalog.pages import Holding
from glacier_provider.core import cost
from glacier_provider.core.cost import TierCost
from glacier_provider.core.prices import Prices
from glacier_provider.pipelines.costs import held
from glacier_provider.ui import models

MIB = 1024 * 1024


def monthly(application: Application, holdings: Sequence[Holding]) -> models.MonthlyCost:
    """Return what an application's archives cost a month, by store class."""
    prices = application.price_table
    classes = held(holdings)
    return models.MonthlyCost(
        monthly=cost.plain(cost.storage(classes, prices)),
        currency=prices.currency,
        archives=sum(one.archives for one in classes),
        bytes=sum(one.bytes for one in classes),
        classes=[
            models.ClassCost(
                store_class=one.store_class,
                archives=one.archives,
                bytes=one.bytes,
                monthly=cost.plain(cost.storage([one], prices)),
            )
            for one in classes
        ],
        prices=prices_of(prices),
    )


def added(application: Application, holdings: Sequence[Holding]) -> models.AddedCost:
    """Return what a backup added: its storage a month, and the requests of its upload."""
    prices = application.price_table
    classes = held(holdings)
    part = application.part_size_mib * MIB
    sent = (cost.upload(one, prices, parts=one.archives + one.bytes // part) for one in classes)
    return models.AddedCost(
        monthly=cost.plain(cost.storage(classes, prices)),
        upload=cost.plain(sum(sent, Decimal(0))),
        currency=prices.currency,
    )


def retrieval(spent: TierCost) -> models.RetrievalCost:
    return models.RetrievalCost(**spent.as_dict())


def prices_of(prices: Prices) -> models.Prices:
    return models.Prices(
        currency=prices.currency,
        region=prices.region,
        as_of=prices.as_of,
        source=prices.source,
        overridden=prices.overridden,
    )
