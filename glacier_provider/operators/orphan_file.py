"""Move files that a restored backup does not contain out of the way, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glacier_provider.operators.base import GlacierOperator, number_of

if TYPE_CHECKING:
    from airflow.sdk import Context


class OrphanFileOperator(GlacierOperator):
    """Move orphans of a restore to the orphan directory, keeping their relative paths, or back with `undo`.

    Nothing is deleted or overwritten; each move is journalled in the catalog before it is made. Return a dict of
    figures.
    """

    template_fields: Sequence[str] = ("application", "restore_id", "undo")
    ui_color = "#ead1dc"

    def __init__(self, *, restore_id: int, undo: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.restore_id = restore_id
        self.undo = undo

    def execute(self, context: Context) -> dict[str, int]:
        from glacier_provider.core.params import truth
        from glacier_provider.pipelines import restore

        with self.opened() as r:
            act = restore.undo_orphans if truth(self.undo, "undo") else restore.move_orphans
            return act(r.application, number_of(self.restore_id, "restore's id", "plan_restore"), catalog=r.catalog)
