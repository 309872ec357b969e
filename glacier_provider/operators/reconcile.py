"""The step that settles what a vault may hold without the catalog knowing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from glacier_provider.operators.base import GlacierOperator
from glacier_provider.operators.links import BackupLink, Links, StoreLink

if TYPE_CHECKING:
    from airflow.sdk import Context

#: An inventory takes about four hours; it is looked for so often, and no longer than half a day.
WAIT_SECONDS = 3600
MOST_WAITS = 12


class ReconcileOperator(GlacierOperator):
    """Compare stores that leave something in doubt with the catalog; return what came of each.

    `everything` compares them also where nothing is in doubt. A vault that has no inventory to be read is asked for
    one, and the task waits for it in the triggerer: it can be read for a day only, so that a weekly run would never see
    one. An inventory that does not come, or is not new enough, is no failure: the next run sees.
    """

    template_fields: Sequence[str] = ("application", "everything")
    operator_extra_links: Links = (BackupLink(), StoreLink())

    def __init__(self, *, everything: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.everything = everything

    def execute(self, context: Context) -> list[dict[str, Any]]:
        return self._compare(waits=0)

    def execute_again(self, context: Context, event: Any, waits: int) -> list[dict[str, Any]]:
        """Go on after a wait for the inventory."""
        return self._compare(waits=waits)

    def _compare(self, *, waits: int) -> list[dict[str, Any]]:
        from glacier_provider.core.params import truth
        from glacier_provider.pipelines import reconcile

        with self.opened() as r:
            done = reconcile.reconcile(
                r.application, catalog=r.catalog, stores=r.stores, everything=truth(self.everything, "everything")
            )
        if any(one.awaited and one.doubtful for one in done) and waits < MOST_WAITS:
            from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

            trigger = TimeDeltaTrigger(timedelta(seconds=WAIT_SECONDS))
            self.defer(trigger=trigger, method_name="execute_again", kwargs={"waits": waits + 1})
        return [one.as_dict() for one in done]
