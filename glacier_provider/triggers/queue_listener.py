"""Notifications of ended retrievals from the application's queue, beside the polling that never stops."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from glacier_provider.applications import Application
from glacier_provider.core.text import counted
from glacier_provider.errors import GlacierProviderError

if TYPE_CHECKING:
    from glacier_provider.core.notification import Notification
    from glacier_provider.pipelines.restore import NotificationsOutcome, Waiting
    from glacier_provider.stores.queue.receive import Message, Queue

#: So many messages are taken before the store is looked at, and for so many seconds at most.
MOST_MESSAGES = 2000
TAKING_SECONDS = 10.0
#: When all messages are somebody else's, the queue is left to them for so long.
QUIET_SECONDS = 10.0
#: A wait is no shorter: SQS counts whole seconds, and not every service that speaks SQS waits when it is told to.
LEAST_SECONDS = 1.0
#: A message that the store does not bear out is received again so often: the store may lag behind, or it was forged.
MOST_TIMES = 10

_Result = TypeVar("_Result")


class QueueListener:
    """Receives the messages for one restore, in a thread of its own, so that it never takes one of the triggerer's.

    The queue is a help, not a need: when it cannot be read, that is logged, `works` is False, and `listen` only waits.
    """

    def __init__(self, application: Application, restore_id: int, log: Any) -> None:
        self._application = application
        self._restore_id = restore_id
        self._log = log
        self._queue: Queue | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="glacier-queue")
        self._stopped = threading.Event()
        self._said = ""
        self.poll_seconds = application.notifications.poll_seconds
        self.works = True

    def stop(self) -> None:
        """End at once. What a request under way still receives is left in the queue."""
        self._stopped.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def try_again(self) -> None:
        """Forget that the queue could not be read: somebody may have mended it."""
        self.works = True

    async def listen(self, seconds: float) -> Waiting | None:
        """Wait for messages, at most for `seconds` (often less), and look at what they name.

        Return how much the restore waits for, None when no message concerned it. Raise what a look at catalog
        and store raises.
        """
        if not self.works:
            await asyncio.sleep(seconds)
            return None
        began = time.monotonic()
        messages = await self._in_thread(lambda: self._receive(max(seconds, LEAST_SECONDS)))
        if not messages:
            await asyncio.sleep(max(0.0, began + LEAST_SECONDS - time.monotonic()) if self.works else 0)
            return None
        outcome = await self._in_thread(lambda: self._handle(messages))
        if outcome.waiting is None and not outcome.confirmed and self.works:
            await asyncio.sleep(min(QUIET_SECONDS, seconds))
        return outcome.waiting

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: context.run(work))

    def _receive(self, seconds: float) -> list[Message]:
        """Return the messages that are there, or else the first that come; none when the queue cannot be read."""
        try:
            queue = self._open()
            messages = received = queue.receive(wait_seconds=seconds)
            ends_at = time.monotonic() + TAKING_SECONDS
            while received and len(messages) < MOST_MESSAGES and time.monotonic() < ends_at:
                received = queue.receive(wait_seconds=0)
                messages = messages + received
        except GlacierProviderError as error:
            self.works = False
            seconds = self._application.poll_seconds
            self._warn(error, f"The restore goes on: the store is asked every {seconds} s instead.")
            return []
        return [] if self._stopped.is_set() else messages

    def _open(self) -> Queue:
        from glacier_provider.hooks.resources import open_queue_of

        if self._queue is None:
            self._queue = open_queue_of(self._application)
            assert self._queue is not None, "only an application that names a queue is listened for"
        return self._queue

    def _handle(self, messages: list[Message]) -> NotificationsOutcome:
        notifications = {notification for message in messages for notification in message.notifications or ()}
        outcome = self._look_at(notifications)
        self._log_outcome(messages, outcome)
        self._delete([message for message in messages if _is_done(message, outcome)])
        return outcome

    def _look_at(self, notifications: Collection[Notification]) -> NotificationsOutcome:
        from glacier_provider.hooks.resources import Resources
        from glacier_provider.pipelines import restore

        with Resources(self._application) as r:
            return restore.look_at_notifications(
                r.application,
                self._restore_id,
                notifications,
                catalog=r.catalog,
                stores=r.stores,
                batches=r.batch,
            )

    def _delete(self, messages: list[Message]) -> None:
        try:
            self._open().delete(messages)
        except GlacierProviderError as error:
            self._warn(error, "The restore goes on: these messages are received again.")

    def _log_outcome(self, messages: list[Message], outcome: NotificationsOutcome) -> None:
        self._log.info(
            "Restore %d: %s in the queue, %s about its archives.",
            self._restore_id,
            counted(len(messages), "message"),
            counted(len(outcome.confirmed) + len(outcome.unconfirmed), "notification"),
        )
        strange = sum(1 for message in messages if message.notifications is None and message.times == 1)
        if strange:
            self._log.warning(
                "%s in %s cannot be understood; nothing is done about it.", counted(strange, "message"), self._name
            )
        for message in messages:
            for notification in message.notifications or ():
                if notification in outcome.unconfirmed and message.times == 1:
                    self._log.warning(
                        "A message calls the retrieval of %s/%s %s, but the store does not.",
                        notification.place,
                        notification.key,
                        notification.said,
                    )

    @property
    def _name(self) -> str:
        return self._application.notifications.queue or ""

    def _warn(self, error: GlacierProviderError, then: str) -> None:
        """Say what is wrong with the queue, as a warning when it is new."""
        said = str(error)
        say = self._log.info if said == self._said else self._log.warning
        self._said = said
        say("The queue %s cannot be used: %s %s", self._name, said, then)


def _is_done(message: Message, outcome: NotificationsOutcome) -> bool:
    """Return whether nobody needs a message any more: all it says is settled, or was not borne out often enough."""
    notifications = set(message.notifications or ())
    given_up = outcome.unconfirmed if message.times >= MOST_TIMES else frozenset()
    return bool(notifications) and notifications <= (outcome.confirmed | given_up)
