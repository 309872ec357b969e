"""The steps of a verification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from glacier_provider.core.lineage import Flow
from glacier_provider.core.status import ProofState
from glacier_provider.operators.base import GlacierOperator, emit_asset_event, number_of, run_of, task_errors
from glacier_provider.operators.lineage import Ends, LineageOperator
from glacier_provider.operators.links import BackupLink, Links, StoreLink
from glacier_provider.operators.reconcile import MOST_WAITS, WAIT_SECONDS

if TYPE_CHECKING:
    from airflow.sdk import Context


class OpenVerificationOperator(GlacierOperator):
    """Begin a verification, or go on with the one that is under way; return its id."""

    def execute(self, context: Context) -> int:
        from glacier_provider.pipelines import verify

        with self.opened() as r:
            return verify.open_verification(
                r.application, catalog=r.catalog, method=verify.method_of(r.application), run=run_of(context)
            )


class _VerificationOperator(GlacierOperator):
    """A step of the verification `proof_id`, as `open_verification` returned it."""

    template_fields: Sequence[str] = ("application", "proof_id")

    def __init__(self, *, proof_id: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.proof_id = proof_id

    @property
    def number(self) -> int:
        return number_of(self.proof_id, "verification's id", "open_verification")


class VerifyListingOperator(_VerificationOperator):
    """Compare all that the stores list with the catalog; return figures.

    A vault that has no inventory to be read is asked for one, and the task waits for it in the triggerer.
    """

    operator_extra_links: Links = (BackupLink(), StoreLink())

    def execute(self, context: Context) -> dict[str, Any]:
        return self._look(waits=0)

    def execute_again(self, context: Context, event: Any, waits: int) -> dict[str, Any]:
        """Go on after a wait for the inventory."""
        return self._look(waits=waits)

    def _look(self, *, waits: int) -> dict[str, Any]:
        from glacier_provider.pipelines import verify

        with self.opened() as r:
            figures = verify.verify_listing(r.application, self.number, catalog=r.catalog, stores=r.stores)
        if figures["awaited"] and waits < MOST_WAITS:
            from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

            trigger = TimeDeltaTrigger(timedelta(seconds=WAIT_SECONDS))
            self.defer(trigger=trigger, method_name="execute_again", kwargs={"waits": waits + 1})
        return figures


class RequestChecksumsOperator(_VerificationOperator):
    """Have S3 compute the checksums of all archives that are due; return how many jobs that are."""

    def execute(self, context: Context) -> int:
        from glacier_provider.pipelines import verify

        with self.opened() as r:
            before = verify.due_before(r.application)
            return len(
                verify.request_checksums(r.application, self.number, catalog=r.catalog, batches=r.batch, before=before)
            )


class ReadChecksumsOperator(_VerificationOperator):
    """Compare what S3 reports with the catalog, and delete manifests and reports."""

    def execute(self, context: Context) -> None:
        from glacier_provider.errors import StoreUnavailable
        from glacier_provider.pipelines import verify

        with self.opened() as r:
            told = verify.read_checksums(
                r.application, self.number, catalog=r.catalog, batches=r.batch, stores=r.stores
            )
        with task_errors():
            if told.pending:
                raise StoreUnavailable(
                    f"The reports of {told.pending:,} jobs are not there yet.", hint="They are looked for again."
                )


class CloseVerificationOperator(_VerificationOperator, LineageOperator):
    """End a verification and return what it came to; its figures go with the events of the outlets."""

    def execute(self, context: Context) -> dict[str, Any]:
        from glacier_provider.pipelines import verify

        with self.opened() as r:
            closed = verify.close_verification(r.application, self.number, catalog=r.catalog, stores=r.stores)
        findings = [{name: one[name] for name in ("what", "count", "grave")} for one in closed["findings"]]
        told = {name: closed[name] for name in ("proof_id", "state", "method", "began_at", "ended_at", "figures")}
        emit_asset_event(self, context, {**told, "findings": findings})
        return self.told(closed)

    def flow(self, ends: Ends) -> Flow:
        closed, backups = self.came_to, ends.backup(None)
        if closed is None or closed["state"] == ProofState.FAILED:
            return Flow((backups,))
        passed = closed["state"] == ProofState.PASSED
        return Flow((replace(backups, checks={f"verification by {closed['method']}": passed}),))


class RequireProofOperator(GlacierOperator):
    """Fail when a proof did not pass: `closed` is what its last step returned."""

    template_fields: Sequence[str] = ("application", "closed")

    def __init__(self, *, closed: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.closed = closed

    def execute(self, context: Context) -> None:
        from glacier_provider.pipelines import verify

        with task_errors():
            verify.raise_unproven(self.closed)
