"""Wait for the retrievals of a restore in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from glacier_provider.applications import Application
from glacier_provider.errors import GlacierProviderError

#: The events: everything is readable; the store ended something without success; the time is over; a look failed for
#: good.
DONE, FAILED, TIMEOUT, ERROR = "done", "failed", "timeout", "error"


class GlacierJobTrigger(BaseTrigger):
    """Look at all retrievals of a restore every `poll_seconds` until none is pending.

    One trigger serves a whole restore. Its event is a dict of `status` (`DONE`, `FAILED`, `TIMEOUT`, `ERROR`) and
    `restore_id`; the sensor finds out the rest by itself, so that an error keeps its type. `application` is
    `Application.to_dict()`; `ends_at` is in seconds since the epoch.
    """

    def __init__(self, application: Mapping[str, Any], restore_id: int, poll_seconds: float, ends_at: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.application = dict(application)
        self.restore_id = restore_id
        self.poll_seconds = poll_seconds
        self.ends_at = ends_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "glacier_provider.triggers.glacier_job.GlacierJobTrigger",
            {
                "application": self.application,
                "restore_id": self.restore_id,
                "poll_seconds": self.poll_seconds,
                "ends_at": self.ends_at,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        status = None
        while status is None:
            await asyncio.sleep(min(self.poll_seconds, max(self.ends_at - time.time(), 0.1)))
            # psycopg and boto3 block: a thread keeps the triggerer's other triggers going.
            status = await asyncio.to_thread(self._look)
            if status is None and time.time() >= self.ends_at:
                status = TIMEOUT
        yield TriggerEvent({"status": status, "restore_id": self.restore_id, "ends_at": self.ends_at})

    def _look(self) -> str | None:
        from glacier_provider import restore
        from glacier_provider.hooks.resources import Resources

        try:
            with Resources(Application.from_dict(self.application)) as resources:
                waiting = restore.poll_retrievals(
                    resources.application, self.restore_id, catalog=resources.catalog, stores=resources.stores
                )
        except GlacierProviderError as error:
            self.log.warning("Looking at the retrievals of restore %d: %s", self.restore_id, error)
            return None if error.retryable else ERROR
        self.log.info("Restore %d: %d archives pending, %d ready.", self.restore_id, waiting.pending, waiting.ready)
        return FAILED if waiting.failed else DONE if waiting.done else None
