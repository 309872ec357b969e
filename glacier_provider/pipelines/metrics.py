"""The figures of applications for monitoring: four questions for a catalog, however many applications it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.pages import Holding
from glacier_provider.core.condition import Condition
from glacier_provider.core.cost import storage_cost
from glacier_provider.core.metrics import Activity, Measured, StoredClass
from glacier_provider.core.prices import Prices
from glacier_provider.pipelines.costs import held


def measured(
    catalog: Catalog,
    names: Iterable[str] | None = None,
    *,
    prices: Mapping[str, Prices] | None = None,
    expected: Iterable[str] = (),
) -> list[Measured]:
    """Return the figures of these applications (None: of all), as far as the catalog knows them.

    `prices` are those of each application by name; without them its cost is not told. Of those that are `expected` and
    that the catalog has never heard of it is told that there is no backup.
    """
    conditions = catalog.conditions.of(names)
    unheard = [name for name in expected if name not in conditions]
    totals = catalog.pages.totals(list(conditions))
    activities = catalog.conditions.activity(conditions)
    return [
        _measured(condition, totals[name], activities.get(name, Activity()), (prices or {}).get(name))
        for name, condition in conditions.items()
    ] + [Measured(Condition(name)) for name in unheard]


def _measured(condition: Condition, holdings: Iterable[Holding], activity: Activity, prices: Prices | None) -> Measured:
    stored = held(holdings)
    classes = [StoredClass(one.store_class, one.archives, one.bytes) for one in stored]
    if prices is None:
        return Measured(condition, classes, activity)
    return Measured(condition, classes, activity, storage_cost(stored, prices), prices.currency)
