"""The queue in which a world's restores hear of their retrievals, and everybody who sends nonsense to it."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.notification import Notification
from glacier_provider.core.store_uri import place_of
from glacier_provider.pipelines import restore
from glacier_provider.pipelines.restore import NotificationsOutcome, Waiting
from glacier_provider.stores.queue.receive import Message, Queue, parsed_queue, queue_client_config
from glacier_provider.stores.queue.setup import RETENTION_SECONDS, set_up
from glacier_provider.triggers import queue_listener
from tests.emulator.s3 import REGION, S3Emulator, a_session

if TYPE_CHECKING:
    from glacier_provider.stores.contract import ArchiveStore

AT_ONCE = 0.0  # a world does not wait for messages: it looks again
NONSENSE = ("foreign", "not understood", "forged end", "forged failure", "forged expiry")


class Ears(Protocol):
    """What one process that listens works with."""

    @property
    def catalog(self) -> Catalog: ...

    def stores(self, uri: str) -> ArchiveStore: ...


@dataclass
class Mail:
    """One queue, set up as `glacier-backup setup-notifications` does; `server` emulates SQS and SNS.

    `about` gives the message that the store would send about the end of a retrieval: of which key, and how it ended.
    """

    server: S3Emulator
    application: Application
    clients: Callable[[str], str]
    about: Callable[[str, str], dict[str, Any]]
    sent: Counter[str] = field(default_factory=Counter)
    outcome: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        def client(service: str, region: str | None) -> Any:
            url = self.clients(service)
            return a_session().client(service, endpoint_url=url, region_name=region or "us-east-1")

        place = re.sub("[^A-Za-z0-9]", "-", place_of(self.application.store))
        made = set_up(self.application.name, self.application.store, client=client, queue=f"notified-of-{place}")
        self.url = made.queue
        self.pass_time(RETENTION_SECONDS)

    def open(self) -> Queue:
        return Queue(self.url, client=self.server.client("sqs", config=queue_client_config()))

    def pass_time(self, seconds: float) -> None:
        """Let the queue forget what nobody took; the emulated one does not see the store's clock."""
        if seconds >= RETENTION_SECONDS:
            self._sqs.get_queue(self._name).last_purged_at = None  # the service allows it once a minute
            self._sqs.purge_queue(self._name)

    @property
    def _sqs(self) -> Any:
        """The emulated queues themselves: what a test does to them is no request that a fault could meet."""
        from moto.backends import get_backend

        return get_backend("sqs")[parsed_queue(self.url).account][REGION]

    @property
    def _name(self) -> str:
        return parsed_queue(self.url).name

    def comes_soon(self) -> bool:
        """Return whether there is a message to take, now or a moment later: services send from threads of their own."""
        queue = self._sqs.get_queue(self._name)
        for _ in range(5):
            if queue.approximate_number_of_messages:
                return True
            time.sleep(0.01)
        return False

    def send_nonsense(self, chance: random.Random, keys: Sequence[str]) -> None:
        """Send some of what does not come from the store; `keys`: archives about which somebody may lie."""
        for kind in chance.choices(NONSENSE, k=chance.randint(0, 4)):
            key = chance.choice(keys) if keys else "some key"
            self._sqs.send_message(self._name, self._message(kind, key, chance))
            self.sent[kind] += 1

    def _message(self, kind: str, key: str, chance: random.Random) -> str:
        if kind == "not understood":
            return chance.choice(["no JSON", "[" * 5000, '{"Records": 5}', '{"JobId": null}'])
        if kind == "foreign":
            return chance.choice(
                [
                    json.dumps(self.about("pre/another/files/000000000/000000000001-x.pdf", "completed")),
                    json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "elsewhere"}),
                ]
            )
        said = {"forged end": "completed", "forged failure": "failed", "forged expiry": "expired"}[kind]
        return json.dumps(self.about(key, said))

    def listen(self, has: Ears, restore_id: int) -> Waiting | None:
        """Hear what there is, once, as a triggerer does; return what the restore waits for if anything concerned it."""
        ear = Ear(self, has, restore_id)
        try:
            return asyncio.run(ear.listen(AT_ONCE))
        finally:
            ear.stop()


class Ear(queue_listener.QueueListener):
    """The triggerer's ear, with a world's own connections instead of Airflow's."""

    def __init__(self, mail: Mail, has: Ears, restore_id: int) -> None:
        super().__init__(mail.application, restore_id, logging.getLogger("ear"))
        self._mail = mail
        self._has = has

    def _open(self) -> Queue:
        if self._queue is None:
            self._queue = self._mail.open()
        return self._queue

    def _look_at(self, notifications: Collection[Notification]) -> NotificationsOutcome:
        outcome = restore.look_at_notifications(
            self._application, self._restore_id, notifications, catalog=self._has.catalog, stores=self._has.stores
        )
        self._mail.outcome["settled"] += len(outcome.confirmed)
        self._mail.outcome["not borne out by the store"] += len(outcome.unconfirmed)
        self._mail.outcome["of others"] += len(set(notifications) - outcome.confirmed - outcome.unconfirmed)
        self._mail.outcome["of failed jobs"] += sum(notification.said == "failed" for notification in outcome.confirmed)
        return outcome

    def _log_outcome(self, messages: list[Message], outcome: NotificationsOutcome) -> None:
        super()._log_outcome(messages, outcome)
        self._mail.outcome["not understood"] += sum(message.notifications is None for message in messages)


@contextmanager
def notices_at_once() -> Iterator[None]:
    """Let this process ask its queues without waiting: all that is there comes at once in an emulated one."""
    usual, queue_listener.LEAST_SECONDS = queue_listener.LEAST_SECONDS, AT_ONCE
    try:
        yield
    finally:
        queue_listener.LEAST_SECONDS = usual
