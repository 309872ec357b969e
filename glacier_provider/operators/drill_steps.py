"""The steps of a drill that are not a restore's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from glacier_provider.core.lineage import Flow
from glacier_provider.core.status import ProofState
from glacier_provider.operators.base import GlacierOperator, emit_asset_event, number_of, range_of, run_of
from glacier_provider.operators.lineage import Ends, LineageOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class OpenDrillOperator(GlacierOperator):
    """Begin a drill, or go on with that of this run, and clear what earlier ones left; return its id."""

    def execute(self, context: Context) -> int:
        from glacier_provider.pipelines import drill

        with self.opened() as r:
            return drill.open_drill(r.application, run_of(context), catalog=r.catalog, elsewhere=r.elsewhere)


class _DrillOperator(GlacierOperator):
    """A step of the drill `proof_id`, as `open_drill` returned it."""

    template_fields: Sequence[str] = ("application", "proof_id")

    def __init__(self, *, proof_id: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.proof_id = proof_id

    @property
    def number(self) -> int:
        return number_of(self.proof_id, "drill's id", "open_drill")


class PlanDrillOperator(_DrillOperator):
    """Choose the files for the money that is left; return the ranges of archives to bring, to be mapped over.

    Push `restore_id` and `lines` as XComs of their own, since Airflow maps over return values alone.
    """

    def execute(self, context: Context) -> list[dict[str, int]]:
        from glacier_provider.pipelines import drill

        with self.opened() as r:
            planned = drill.plan_drill(
                r.application,
                self.number,
                run_of(context),
                catalog=r.catalog,
                stores=r.stores,
                elsewhere=r.elsewhere,
            )
        for key in ("restore_id", "lines"):
            context["ti"].xcom_push(key=key, value=planned[key])
        ranges: list[dict[str, int]] = planned["ranges"]
        return ranges


class _DrilledRestoreOperator(_DrillOperator):
    """A step of the drill's restore, whose id `plan_restore` told."""

    template_fields: Sequence[str] = ("application", "proof_id", "restore_id")

    def __init__(self, *, restore_id: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.restore_id = restore_id

    @property
    def restore_number(self) -> int:
        return number_of(self.restore_id, "restore's id", "plan_restore")


class DownloadSampleOperator(_DrilledRestoreOperator):
    """Bring the dump and the sample of files out of the stores; what these have with other bytes is a finding."""

    template_fields: Sequence[str] = ("application", "proof_id", "restore_id", "archives")

    def __init__(self, *, archives: Mapping[str, int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.archives = archives

    def execute(self, context: Context) -> dict[str, int]:
        from glacier_provider.pipelines import drill

        with self.opened() as r:
            return drill.download_sample(
                r.application,
                self.number,
                self.restore_number,
                range_of(self.archives, "plan_restore"),
                catalog=r.catalog,
                stores=r.stores,
                elsewhere=r.elsewhere,
            )


class RestoreAndCheckOperator(_DrilledRestoreOperator):
    """Restore the dump where the drill goes, and check the database that it makes; return figures."""

    def execute(self, context: Context) -> dict[str, Any]:
        from glacier_provider.pipelines import drill

        with self.opened() as r:
            return drill.restore_and_check(
                r.application, self.number, self.restore_number, catalog=r.catalog, elsewhere=r.elsewhere
            )


class CheckFilesOperator(_DrilledRestoreOperator):
    """Read the files that the drill brought, and compare them with their archives; return figures."""

    def execute(self, context: Context) -> dict[str, Any]:
        from glacier_provider.pipelines import drill

        with self.opened() as r:
            return drill.check_files(r.application, self.number, self.restore_number, catalog=r.catalog)


class ClearDrillOperator(_DrillOperator):
    """Drop the drill's database and directory, and those of earlier drills that ended; return figures."""

    def execute(self, context: Context) -> dict[str, Any]:
        from glacier_provider.pipelines import drill

        with self.opened() as r:
            return drill.clear_drill(r.application, self.number, catalog=r.catalog, elsewhere=r.elsewhere)


class CloseDrillOperator(_DrillOperator, LineageOperator):
    """End a drill and return what it came to; its figures go with the events of the outlets."""

    def execute(self, context: Context) -> dict[str, Any]:
        from glacier_provider.pipelines import drill

        with self.opened() as r:
            closed = drill.close_drill(r.application, self.number, catalog=r.catalog, stores=r.stores)
        findings = [{name: one[name] for name in ("what", "count", "grave")} for one in closed["findings"]]
        names = ("proof_id", "state", "method", "backup_id", "began_at", "ended_at", "figures")
        emit_asset_event(self, context, {**{name: closed[name] for name in names}, "findings": findings})
        return self.told(closed)

    def flow(self, ends: Ends) -> Flow | None:
        closed = self.came_to
        if closed is None:
            return None  # which backup it is stands in the catalog
        database = closed["figures"].get("database") or {}
        checks = {one["name"]: one["passed"] for one in database.get("checks") or ()}
        if closed["state"] != ProofState.FAILED:
            checks["drill"] = closed["state"] == ProofState.PASSED
        return Flow((replace(ends.backup(closed["backup_id"]), checks=checks),))
