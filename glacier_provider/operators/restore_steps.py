"""The steps of a restore run around database and orphans, which have modules of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from glacier_provider.core.lineage import Flow
from glacier_provider.core.plan import RestorePart
from glacier_provider.operators.base import GlacierOperator, emit_asset_event, number_of, range_of, run_of
from glacier_provider.operators.lineage import Ends, LineageOperator
from glacier_provider.operators.links import BackupLink, Links, StoreLink

if TYPE_CHECKING:
    from airflow.sdk import Context


class PlanRestoreOperator(GlacierOperator):
    """Find out what a restore will take and change nothing.

    `request` holds the restore DAG's params (see `RestoreRequest.from_params`); None takes the run's own. Return the
    ranges of archives to bring, to be mapped over; push `restore_id`, `backup_id`, `plan`, `approve`, `lines` as XComs
    of their own, since Airflow maps over return values alone.
    """

    template_fields: Sequence[str] = ("application", "request")

    def __init__(self, *, request: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.request = request

    def execute(self, context: Context) -> list[dict[str, int]]:
        from glacier_provider.core.plan import RestoreRequest
        from glacier_provider.pipelines import restore

        with self.opened() as r:
            given: Any = self.request if self.request is not None else context["params"]
            request = RestoreRequest.from_params(dict(given))
            server = r.server if request.database and request.into is None else None
            planned = restore.plan_restore(
                r.application,
                run_of(context),
                request,
                catalog=r.catalog,
                stores=r.stores,
                server=server,
                elsewhere=r.elsewhere,
            )
        ranges: list[dict[str, int]] = planned.pop("ranges")
        for key, value in planned.items():
            context["ti"].xcom_push(key=key, value=value)
        return ranges


class _RestoreRangeOperator(GlacierOperator):
    """A step on one range of a restore's archives (a dict of `first` and `last` archive ids)."""

    template_fields: Sequence[str] = ("application", "restore_id", "archives")

    def __init__(self, *, restore_id: int, archives: Mapping[str, int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.restore_id = restore_id
        self.archives = archives


class RequestRetrievalsOperator(_RestoreRangeOperator):
    """Ask the store for what only the cold has; each archive once, whatever is repeated."""

    operator_extra_links: Links = (BackupLink(), StoreLink())

    def execute(self, context: Context) -> dict[str, int]:
        from glacier_provider.pipelines import restore

        with self.opened() as r:
            wanted = range_of(self.archives, "plan_restore")
            return restore.request_retrievals(
                r.application,
                number_of(self.restore_id, "restore's id", "plan_restore"),
                wanted,
                catalog=r.catalog,
                stores=r.stores,
                batches=r.batch,
            )


class DownloadArchivesOperator(_RestoreRangeOperator):
    """Bring archives, verify them, put files in their places (adding only) and the dump into staging."""

    def execute(self, context: Context) -> dict[str, int]:
        from glacier_provider.pipelines import restore

        with self.opened() as r:
            wanted = range_of(self.archives, "plan_restore")
            return restore.download_archives(
                r.application,
                number_of(self.restore_id, "restore's id", "plan_restore"),
                wanted,
                catalog=r.catalog,
                stores=r.stores,
                elsewhere=r.elsewhere,
            )


class CloseRestoreOperator(LineageOperator):
    """Complete the restore; return its figures and put them on the outlets' events."""

    template_fields: Sequence[str] = ("application", "restore_id")

    def __init__(self, *, restore_id: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.restore_id = restore_id

    def execute(self, context: Context) -> dict[str, Any]:
        from glacier_provider.pipelines import restore

        with self.opened() as r:
            figures = restore.close_restore(
                r.application, number_of(self.restore_id, "restore's id", "plan_restore"), catalog=r.catalog
            )
        emit_asset_event(self, context, figures)
        return self.told(figures)

    def flow(self, ends: Ends) -> Flow | None:
        figures = self.came_to
        if figures is None:
            return None  # which backup it is, and where it goes, stands in the catalog
        into = figures["into"]
        database, directory = ends.elsewhere(into) if into else (ends.database, ends.directory)
        restored = figures["outcome"].get("database")
        checks = {one["name"]: one["passed"] for one in (restored or {}).get("checks") or ()}
        written = []
        if restored and database:
            written.append(replace(database, bytes=figures["plan"]["database_bytes"]))
        if figures["part"] != RestorePart.DATABASE and directory:
            written.append(directory)
        return Flow((replace(ends.backup(figures["backup_id"]), checks=checks),), tuple(written))
