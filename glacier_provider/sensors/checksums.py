"""Wait for the checksums that S3 computes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowSensorTimeout

from glacier_provider.errors import GlacierProviderError
from glacier_provider.hooks.resources import Resources, find_application
from glacier_provider.operators.base import NothingTold, number_of, task_errors
from glacier_provider.triggers.checksums import ChecksumTrigger
from glacier_provider.triggers.glacier_job import TIMEOUT

if TYPE_CHECKING:
    from airflow.sdk import Context


class ChecksumSensor(NothingTold, BaseSensorOperator):
    """Wait until the jobs of a verification are done, in whatever way: `read_checksums` tells how.

    With `deferrable` (the default) it waits in the triggerer and takes no worker slot. `poke_interval` and `timeout`
    are in seconds; jobs that are not done by then are gone on with by the next verification. AWS or a catalog that
    cannot be reached just now is waited for as well.
    """

    template_fields: Sequence[str] = ("application", "proof_id")
    ui_color = "#cfe2f3"

    def __init__(
        self, *, application: str | Mapping[str, Any], proof_id: int, deferrable: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.application = application
        self.proof_id = proof_id
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            return super().execute(context)
        if not self.poke(context):
            self._defer(time.time() + self.timeout)
        return None

    def _defer(self, ends_at: float) -> None:
        trigger = ChecksumTrigger(
            application=find_application(self.application).to_dict(),
            proof_id=self._number(),
            poll_seconds=self.poke_interval,
            ends_at=ends_at,
        )
        self.defer(trigger=trigger, method_name="execute_complete")

    def poke(self, context: Context) -> bool:
        """Look once; return whether all jobs are done. An error that passes is logged: they are not done yet."""
        from glacier_provider.pipelines import verify

        with task_errors():
            try:
                with Resources(find_application(self.application)) as r:
                    told = verify.poll_checksums(r.application, self._number(), catalog=r.catalog, batches=r.batch)
            except GlacierProviderError as error:
                if not error.retryable:
                    raise
                self.log.warning("Looking at the jobs of verification %s: %s", self.proof_id, error)
                return False
        self.log.info("Verification %s: %s.", self.proof_id, told)
        return told.done

    def _number(self) -> int:
        return number_of(self.proof_id, "verification's id", "open_verification")

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> None:
        """Come back from the triggerer; an error is raised here with its type."""
        if event["status"] == TIMEOUT:
            raise AirflowSensorTimeout(
                f"The time of {self.timeout:g} s is over; the next verification goes on with the same jobs."
            )
        if not self.poke(context):
            self._defer(event["ends_at"])
