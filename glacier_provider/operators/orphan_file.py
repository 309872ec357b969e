"""Move files that a restored backup does not contain out of the way, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from glacier_provider.operators.base import GlacierOperator, number_of, run_of, skip_unless

if TYPE_CHECKING:
    from airflow.sdk import Context


class OrphanFileOperator(GlacierOperator):
    """Move orphans of a restore to the orphan directory, keeping their relative paths, or back with `undo`.

    Nothing is deleted or overwritten; each move is journalled in the catalog before it is made. The task is skipped
    unless it is `wanted`. Return a dict of figures.
    """

    template_fields: Sequence[str] = ("application", "restore_id", "undo", "wanted")
    ui_color = "#ead1dc"

    def __init__(self, *, restore_id: int | str, undo: bool = False, wanted: bool | str = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.restore_id = restore_id
        self.undo = undo
        self.wanted = wanted

    def execute(self, context: Context) -> dict[str, int]:
        from glacier_provider.core.params import restore_id_of, truth
        from glacier_provider.pipelines import restore

        with self.opened() as r:
            skip_unless(self.wanted)
            if truth(self.undo, "undo"):
                restore_id = restore_id_of(self.restore_id)
                return restore.undo_orphans(r.application, restore_id, catalog=r.catalog, run=run_of(context))
            restore_id = number_of(self.restore_id, "restore's id", "plan_restore")
            return restore.move_orphans(r.application, restore_id, catalog=r.catalog)
