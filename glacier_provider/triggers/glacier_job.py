"""Wait for the retrievals of a restore in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from glacier_provider.applications import Application
from glacier_provider.errors import GlacierProviderError
from glacier_provider.triggers.queue_listener import QueueListener

if TYPE_CHECKING:
    from glacier_provider.pipelines.restore import Waiting

#: The events: everything is readable; the store ended something without success; the time is over; a look failed for
#: good.
DONE, FAILED, TIMEOUT, ERROR = "done", "failed", "timeout", "error"


class GlacierJobTrigger(BaseTrigger):
    """Look at all retrievals of a restore every `poll_seconds` until none is pending.

    With a queue (`notifications.queue`) all are looked at every `notifications.poll_seconds`, and in between those that
    messages name, when they come. A queue that cannot be read changes nothing but that: polling goes on.

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
        with self._listening() as queue_listener:
            while status is None:
                status = await self._until_next_look(queue_listener)
                if status is None:
                    # psycopg and boto3 block: a thread keeps the triggerer's other triggers going.
                    status = await asyncio.to_thread(self._look)
                if status is None and time.time() >= self.ends_at:
                    status = TIMEOUT
        yield TriggerEvent({"status": status, "restore_id": self.restore_id, "ends_at": self.ends_at})

    @contextmanager
    def _listening(self) -> Iterator[QueueListener | None]:
        """Give the listener of an application that names a queue, and stop it at the end."""
        try:
            application = Application.from_dict(self.application)
        except GlacierProviderError:  # the next look tells it
            application = None
        if application is None or application.notifications.queue is None:
            yield None
            return
        queue_listener = QueueListener(application, self.restore_id, self.log)
        try:
            yield queue_listener
        finally:
            queue_listener.stop()

    async def _until_next_look(self, queue_listener: QueueListener | None) -> str | None:
        """Wait until everything is looked at again; return a status when messages led to one before."""
        last = time.time()
        if queue_listener is not None:
            queue_listener.try_again()
        while (left := min(last + self._interval(queue_listener), self.ends_at) - time.time()) > 0:
            if queue_listener is None:
                await asyncio.sleep(left)
                continue
            try:
                waiting = await queue_listener.listen(left)
            except GlacierProviderError as error:
                status = self._met(error)
                # What messages named was not looked at: they come again.
                await asyncio.sleep(min(left, self.poll_seconds) if status is None else 0)
            else:
                status = None if waiting is None else self._status(waiting)
            if status is not None:
                return status
        return None

    def _interval(self, queue_listener: QueueListener | None) -> float:
        if queue_listener is None or not queue_listener.works:
            return self.poll_seconds
        return max(self.poll_seconds, queue_listener.poll_seconds)

    def _look(self) -> str | None:
        from glacier_provider.hooks.resources import Resources
        from glacier_provider.pipelines import restore

        try:
            with Resources(Application.from_dict(self.application)) as resources:
                waiting = restore.poll_retrievals(
                    resources.application,
                    self.restore_id,
                    catalog=resources.catalog,
                    stores=resources.stores,
                    batches=resources.batch,
                )
        except GlacierProviderError as error:
            return self._met(error)
        return self._status(waiting)

    def _met(self, error: GlacierProviderError) -> str | None:
        self.log.warning("Looking at the retrievals of restore %d: %s", self.restore_id, error)
        return None if error.retryable else ERROR

    def _status(self, waiting: Waiting) -> str | None:
        self.log.info("Restore %d: %s.", self.restore_id, waiting)
        return FAILED if waiting.failed else DONE if waiting.done else None
