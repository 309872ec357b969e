"""Upload planned archives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from glacier_provider.core.lineage import Flow
from glacier_provider.operators.base import is_last_try, number_of, range_of
from glacier_provider.operators.lineage import Ends, LineageOperator
from glacier_provider.operators.links import BackupLink, Links, StoreLink

if TYPE_CHECKING:
    from airflow.sdk import Context


class GlacierUploadOperator(LineageOperator):
    """Upload what a backup planned: its dump, or the files of one range.

    `archives` None uploads the dump of the backup `backup_id`, in parts, going on after the parts that the store
    already has. A range (a dict of `first` and `last` archive ids, as `ScanFilesOperator` returns them; map over its
    output) uploads these files, many at a time. Return a dict of figures.
    """

    template_fields: Sequence[str] = ("application", "backup_id", "archives")
    operator_extra_links: Links = (BackupLink(), StoreLink())
    ui_color = "#d9ead3"

    def __init__(self, *, backup_id: int, archives: Mapping[str, int] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.backup_id = backup_id
        self.archives = archives

    def execute(self, context: Context) -> dict[str, Any]:
        from glacier_provider.pipelines import backup

        with self.opened() as r:
            backup_id = number_of(self.backup_id, "backup's id", "open_backup")
            if self.archives is None:
                return self.told(backup.upload_database(r.application, backup_id, catalog=r.catalog, store=r.store))
            wanted = range_of(self.archives, "scan_files")
            return self.told(
                backup.upload_files(
                    r.application, backup_id, wanted, catalog=r.catalog, store=r.store, last_try=is_last_try(context)
                )
            )

    def flow(self, ends: Ends) -> Flow:
        came_to = self.came_to or {}
        written = replace(ends.backup(self.backup_id), files=came_to.get("archives"), bytes=came_to.get("bytes"))
        return Flow((ends.database if self.archives is None else ends.directory,), (written,))
