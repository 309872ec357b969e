"""The first, middle and last step of a backup run; the dump and the uploads have modules of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from glacier_provider.core.lineage import Flow
from glacier_provider.core.restorability import NO, UNKNOWN
from glacier_provider.hooks.ping import ping_started, ping_succeeded
from glacier_provider.operators.base import GlacierOperator, emit_asset_event, number_of, run_of
from glacier_provider.operators.lineage import Ends, LineageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class OpenBackupOperator(GlacierOperator):
    """Migrate the catalog, check store and directories, take the lease; return the backup's id."""

    backup_id: int | None = None  #: for the link to it, once there is one

    def execute(self, context: Context) -> int:
        from glacier_provider.pipelines import backup

        with self.opened() as r:
            self.backup_id = backup_id = backup.open_backup(
                r.application, run_of(context), catalog=r.catalog, store=r.store, stores=r.stores
            )
            ping_started(r.application, run_of(context))
        return backup_id


class _StepOperator(GlacierOperator):
    """A step of the backup `backup_id`, which `open_backup` opened."""

    template_fields: Sequence[str] = ("application", "backup_id")

    def __init__(self, *, backup_id: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.backup_id = backup_id

    @property
    def number(self) -> int:
        """The backup's id; raise IllegalMove when `open_backup` was marked by hand and gave none."""
        return number_of(self.backup_id, "backup's id", "open_backup")


class ScanFilesOperator(_StepOperator):
    """Compare the attached-files directory with the catalog; return the ranges of archives to upload."""

    def execute(self, context: Context) -> list[dict[str, int]]:
        from glacier_provider.pipelines import backup

        with self.opened() as r:
            return backup.scan_files(r.application, self.number, catalog=r.catalog)


class RehearseRestoreOperator(_StepOperator):
    """Find out whether this backup's dump could be restored; return the findings. They fail no backup."""

    def execute(self, context: Context) -> dict[str, Any]:
        from glacier_provider.hooks.resources import server_of
        from glacier_provider.pipelines import backup

        with self.opened() as r:
            other = r.application.rehearsal.postgres_conn_id
            return backup.rehearse_restore(
                r.application,
                self.number,
                catalog=r.catalog,
                server=r.server,
                elsewhere=lambda: server_of(other) if other else None,
            )

    def on_kill(self) -> None:
        from glacier_provider.postgres import terminate_tools

        terminate_tools()


class CloseBackupOperator(_StepOperator, LineageOperator):
    """Write the manifest and complete the backup; return its figures and put them on the outlets' events."""

    def execute(self, context: Context) -> dict[str, Any]:
        from glacier_provider.pipelines import backup

        with self.opened() as r:
            figures = backup.close_backup(r.application, self.number, catalog=r.catalog, store=r.store)
            ping_succeeded(r.application, run_of(context), figures)
        emit_asset_event(self, context, figures)
        return self.told(figures)

    def flow(self, ends: Ends) -> Flow:
        figures = self.came_to
        if figures is None:
            return Flow((ends.database, ends.directory), (ends.backup(self.backup_id),))
        size = figures["database_bytes"] + figures["files_bytes"]
        written = replace(ends.backup(self.backup_id), files=figures["files_count"], bytes=size)
        database = replace(ends.database, checks=_rehearsed(figures["restorable"]))
        return Flow((database, replace(ends.directory, checks=_read(figures))), (written,))


def _rehearsed(verdicts: Mapping[str, str]) -> dict[str, bool]:
    """Return whether the dump can be restored, as far as its rehearsal knows that."""
    words = {"in_place": "can be restored in place", "new_server": "can be restored on a new server"}
    return {words[place]: told != NO for place, told in verdicts.items() if place in words and told != UNKNOWN}


def _read(figures: Mapping[str, Any]) -> dict[str, bool]:
    """Return whether all files could be read, and all are archived that the database names, where it was asked."""
    unarchived = figures["unarchived_references"]
    named = {} if unarchived is None else {"has every file that the database names": unarchived == 0}
    return {"every file can be read": figures["unreadable_files"] == 0, **named}
