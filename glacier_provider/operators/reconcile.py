"""The step that settles what a vault may hold without the catalog knowing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glacier_provider.operators.base import GlacierOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReconcileOperator(GlacierOperator):
    """Compare stores that leave something in doubt with the catalog; return what came of each.

    `everything` compares them also where nothing is in doubt. A vault without an inventory that is new enough is no
    failure: it is asked for one, and the next run sees.
    """

    template_fields: Sequence[str] = ("application", "everything")

    def __init__(self, *, everything: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.everything = everything

    def execute(self, context: Context) -> list[dict[str, Any]]:
        from glacier_provider.core.params import truth
        from glacier_provider.pipelines import reconcile

        with self.opened() as r:
            done = reconcile.reconcile(
                r.application, catalog=r.catalog, stores=r.stores, everything=truth(self.everything, "everything")
            )
        return [one.as_dict() for one in done]
