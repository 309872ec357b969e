"""What things cost, as the API answers it. Amounts are decimal text with six places, in the currency beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.pages import Holding
from glacier_provider.core import cost
from glacier_provider.core.cost import TierCost
from glacier_provider.core.prices import Prices
from glacier_provider.pipelines import costs
from glacier_provider.pipelines.costs import held
from glacier_provider.ui import models


def monthly(application: Application, holdings: Sequence[Holding]) -> models.MonthlyCostResponse:
    """Return what an application's archives cost a month, by store class."""
    prices = application.price_table
    classes = held(holdings)
    return models.MonthlyCostResponse(
        monthly=cost.plain(cost.storage_cost(classes, prices)),
        currency=prices.currency,
        archives=sum(one.archives for one in classes),
        bytes=sum(one.bytes for one in classes),
        classes=[
            models.ClassCostResponse(
                store_class=one.store_class,
                archives=one.archives,
                bytes=one.bytes,
                monthly=cost.plain(cost.storage_cost([one], prices)),
            )
            for one in classes
        ],
        retrieve_everything={
            tier: cost.plain(spent.total) for tier, spent in costs.whole_retrieval(application, classes).items()
        },
        retrieval_days=application.retrieval_days,
        looks=cost.plain(costs.looks_cost(application, archives=sum(one.archives for one in classes))),
        rebuild=cost.plain(costs.rebuilding(application, holdings)),
        delete_today=cost.plain(cost.early_deletion([(one, 0) for one in classes], prices)),
        prices=prices_response(prices),
    )


def added(application: Application, holdings: Sequence[Holding], report: Mapping[str, Any]) -> models.AddedCostResponse:
    """Return what a backup added: its storage a month, and the requests of its upload and of its looks at the store."""
    prices = application.price_table
    return models.AddedCostResponse(
        monthly=cost.plain(cost.storage_cost(held(holdings), prices)),
        upload=cost.plain(costs.backup_cost(application, holdings, report)),
        currency=prices.currency,
    )


def retrieval_response(spent: TierCost) -> models.RetrievalCostResponse:
    return models.RetrievalCostResponse(**spent.as_dict())


def prices_response(prices: Prices) -> models.PricesResponse:
    return models.PricesResponse(
        currency=prices.currency,
        region=prices.region,
        as_of=prices.as_of,
        source=prices.source,
        overridden=prices.overridden,
    )
