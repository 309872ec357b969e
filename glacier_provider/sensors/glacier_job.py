"""Wait for the retrievals of a restore."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.exceptions import AirflowSensorTimeout

from glacier_provider.errors import GlacierProviderError
from glacier_provider.hooks.resources import Resources, find_application
from glacier_provider.operators.base import NothingTold, number_of, task_errors
from glacier_provider.operators.links import BackupLink, Links
from glacier_provider.triggers.glacier_job import FAILED, TIMEOUT, GlacierJobTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context


class GlacierJobSensor(NothingTold, BaseSensorOperator):
    """Wait until every archive that a restore asked for can be read.

    One sensor waits for all of a restore's retrievals. With `deferrable` (the default) it waits in the triggerer and
    takes no worker slot; otherwise `mode` is poke or reschedule, as for any sensor. `poke_interval` and `timeout` are
    in seconds. Failed retrievals end it with RetrievalFailed, naming them; the timeout says what is still missing;
    retrievals that expire while others are awaited are asked for again. A store or catalog that cannot be reached just
    now is waited for as well. Deferred, it is notified through the application's queue (`notifications.queue`) that
    retrievals ended, and polls less often; otherwise it polls only.
    """

    template_fields: Sequence[str] = ("application", "restore_id")
    operator_extra_links: Links = (BackupLink(),)
    ui_color = "#cfe2f3"

    def __init__(
        self, *, application: str | Mapping[str, Any], restore_id: int, deferrable: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.application = application
        self.restore_id = restore_id
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        if self.deferrable:
            if not self.poke(context):
                self._defer(time.time() + self.timeout)
            return None
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            raise self._timed_out() from error

    def _defer(self, ends_at: float) -> None:
        trigger = GlacierJobTrigger(
            application=find_application(self.application).to_dict(),
            restore_id=number_of(self.restore_id, "restore's id", "plan_restore"),
            poll_seconds=self.poke_interval,
            ends_at=ends_at,
        )
        self.defer(trigger=trigger, method_name="execute_complete")

    def poke(self, context: Context) -> bool:
        """Look once; return whether everything can be read. An error that passes is logged: it is not readable yet."""
        with task_errors():
            try:
                return self._look()
            except GlacierProviderError as error:
                if not error.retryable:
                    raise
                self.log.warning("Looking at the retrievals of restore %s: %s", self.restore_id, error)
                return False

    def _look(self) -> bool:
        from glacier_provider.pipelines import restore

        with Resources(find_application(self.application)) as r:
            restore_id = number_of(self.restore_id, "restore's id", "plan_restore")
            waiting = restore.poll_retrievals(
                r.application, restore_id, catalog=r.catalog, stores=r.stores, batches=r.batch
            )
            if waiting.failed:
                restore.raise_failed_retrievals(restore_id, catalog=r.catalog)
            self.log.info("Restore %d: %s.", restore_id, waiting)
            return waiting.done

    def _timed_out(self) -> AirflowSensorTimeout:
        from glacier_provider.pipelines import restore

        with task_errors(), Resources(find_application(self.application)) as r:
            missing = restore.describe_still_missing(
                number_of(self.restore_id, "restore's id", "plan_restore"), catalog=r.catalog
            )
        return AirflowSensorTimeout(f"The time of {self.timeout:g} s is over; {missing}.")

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> None:
        """Come back from the triggerer: the catalog says what happened, and an error is raised here with its type."""
        from glacier_provider.pipelines import restore

        if event["status"] == TIMEOUT:
            raise self._timed_out()
        if event["status"] == FAILED:
            with task_errors(), Resources(find_application(self.application)) as r:
                restore.raise_failed_retrievals(
                    number_of(self.restore_id, "restore's id", "plan_restore"), catalog=r.catalog
                )
        if not self.poke(context):
            self._defer(event["ends_at"])
