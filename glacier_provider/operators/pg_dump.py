"""Dump a PostgreSQL application."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from glacier_provider.core.lineage import Flow
from glacier_provider.operators.base import number_of
from glacier_provider.operators.lineage import Ends, LineageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class PgDumpOperator(LineageOperator):
    """Dump the application's database, in an exported snapshot, read the dump through and send it meanwhile.

    It becomes an archive of the backup `backup_id` only after it was verified; what the store refused meanwhile,
    `GlacierUploadOperator` sends from staging. Return a dict of `archive_id`, `path`, `size` (bytes) and `sha256`.
    """

    template_fields: Sequence[str] = ("application", "backup_id")
    ui_color = "#dcebf7"

    def __init__(self, *, backup_id: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.backup_id = backup_id

    def execute(self, context: Context) -> dict[str, Any]:
        from glacier_provider.pipelines import backup

        with self.opened() as r:
            return self.told(
                backup.dump_database(
                    r.application,
                    number_of(self.backup_id, "backup's id", "open_backup"),
                    catalog=r.catalog,
                    server=r.server,
                    store=r.store,
                )
            )

    def flow(self, ends: Ends) -> Flow:
        size = (self.came_to or {}).get("size")
        return Flow((ends.database,), (replace(ends.backup(self.backup_id), bytes=size),))

    def on_kill(self) -> None:
        from glacier_provider.postgres import terminate_tools

        terminate_tools()
