"""Wait in the triggerer for the checksums that S3 computes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from glacier_provider.applications import Application
from glacier_provider.errors import GlacierProviderError
from glacier_provider.triggers.glacier_job import DONE, ERROR, TIMEOUT


class ChecksumTrigger(BaseTrigger):
    """Look at the jobs of a verification every `poll_seconds` until none is pending.

    Its event is a dict of `status` (`DONE`, `TIMEOUT`, `ERROR`), `proof_id` and `ends_at` (seconds since the epoch);
    the sensor finds out the rest by itself. `application` is `Application.to_dict()`.
    """

    def __init__(self, application: Mapping[str, Any], proof_id: int, poll_seconds: float, ends_at: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.application = dict(application)
        self.proof_id = proof_id
        self.poll_seconds = poll_seconds
        self.ends_at = ends_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "glacier_provider.triggers.checksums.ChecksumTrigger",
            {
                "application": self.application,
                "proof_id": self.proof_id,
                "poll_seconds": self.poll_seconds,
                "ends_at": self.ends_at,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        status = None
        while status is None:
            await asyncio.sleep(max(0.0, min(self.poll_seconds, self.ends_at - time.time())))
            # psycopg and boto3 block: a thread keeps the triggerer's other triggers going.
            status = await asyncio.to_thread(self._look)
            if status is None and time.time() >= self.ends_at:
                status = TIMEOUT
        yield TriggerEvent({"status": status, "proof_id": self.proof_id, "ends_at": self.ends_at})

    def _look(self) -> str | None:
        from glacier_provider.hooks.resources import Resources
        from glacier_provider.pipelines import verify

        try:
            with Resources(Application.from_dict(self.application)) as r:
                told = verify.poll_checksums(r.application, self.proof_id, catalog=r.catalog, batches=r.batch)
        except GlacierProviderError as error:
            self.log.warning("Looking at the jobs of verification %d: %s", self.proof_id, error)
            return None if error.retryable else ERROR
        self.log.info("Verification %d: %s.", self.proof_id, told)
        return DONE if told.done else None
