"""A restore that waits for retrievals with a queue, on either store, whose messages the tests can lose and forge."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from glacier_provider.applications import NotificationOptions
from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.pipelines import restore
from glacier_provider.stores import client_config, open_store
from glacier_provider.stores.contract import ArchiveStore
from glacier_provider.stores.queue.setup import Client, set_up
from glacier_provider.triggers.glacier_job import GlacierJobTrigger
from tests.emulator.faults import FaultPlan
from tests.emulator.s3 import a_session
from tests.emulator.vault import VaultEmulator
from tests.support.application import ApplicationUnderTest

HOUR = 3600.0
LONG = 600  # seconds; an interval that no test lives to see
SECONDS = 200.0  # more than any test takes
VAULT = "dms"


@dataclass
class OnAVault(ApplicationUnderTest):
    """An application whose archives go to an emulated vault; queue and topic are beside the emulated S3."""

    vault: VaultEmulator | None = None

    @property
    def emulator(self) -> VaultEmulator:
        assert self.vault is not None
        return self.vault

    @property
    def other_endpoints(self) -> dict[str, str]:
        return {"glacier": self.emulator.url}

    def stores(self, uri: str) -> ArchiveStore:
        if uri not in self._stores:
            client = a_session().client("glacier", endpoint_url=self.emulator.url, config=client_config(uri))
            self._stores[uri] = open_store(uri, client=client)
        return self._stores[uri]


@dataclass
class Wait:
    """A restore that asked for its dump and doc2.pdf, which come after an hour."""

    app: ApplicationUnderTest
    restore_id: int
    queue_url: str

    @property
    def vault(self) -> VaultEmulator | None:
        return getattr(self.app, "vault", None)

    @property
    def plan(self) -> FaultPlan:
        """The faults of the store and of its messages; those of the queue are in `app.s3.plan`."""
        return self.app.s3.plan if self.vault is None else self.vault.faults

    @functools.cached_property
    def sqs(self) -> Any:
        return self.app.s3.client("sqs")

    def an_hour_passes(self) -> None:
        (self.app.s3 if self.vault is None else self.vault).clock.advance(HOUR)

    def listen(self, *, queue: str | None = None, between: int = LONG, without: int = LONG) -> None:
        """Use the queue (or another one): the store is asked every `between` seconds, without the queue `without`."""
        options = NotificationOptions(queue=queue or self.queue_url, poll_seconds=between)
        self.app.application = replace(self.app.application, notifications=options, poll_seconds=without)

    def trigger(self) -> GlacierJobTrigger:
        settings = self.app.application.to_dict()
        return GlacierJobTrigger(settings, self.restore_id, self.app.application.poll_seconds, time.time() + 3000)

    def event_after(self, *changes: Callable[[], object]) -> dict[str, Any]:
        """Run the trigger; make each change once the queue was read (again); return the event that comes then."""
        return asyncio.run(asyncio.wait_for(self._event_after(changes), SECONDS))

    async def _event_after(self, changes: tuple[Callable[[], object], ...]) -> dict[str, Any]:
        waiting = asyncio.ensure_future(anext(self.trigger().run()))
        for change in changes:
            await self.heard_again()
            assert not waiting.done(), waiting.result()
            await asyncio.to_thread(change)
        return dict((await waiting).payload)

    async def heard_again(self) -> None:
        """Return when a request to the queue was made after now."""
        before = self.app.s3.count("ReceiveMessage")
        while self.app.s3.count("ReceiveMessage") == before:
            await asyncio.sleep(0.02)

    # --- messages ---

    def send(self, message: Any) -> None:
        body = message if isinstance(message, str) else json.dumps(message)
        self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=body)

    def empty(self) -> None:
        at_once = {"QueueUrl": self.queue_url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0}
        while found := self.sqs.receive_message(**at_once).get("Messages"):
            for message in found:
                self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])

    def messages(self) -> int:
        """How many messages the queue holds, those that somebody has taken included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)["Attributes"]
        return sum(int(told[name]) for name in names)

    def retrieval(self, name: str = "doc2.pdf") -> dict[str, Any]:
        """The live request for one archive of the backup, with the archive's key."""
        (row,) = self.app.catalog.lists.archives(1, containing=name)
        (live,) = self.app.catalog.restores.named(self.restore_id, [row["key"]])
        return live

    def message_about(self, key: str, *, failed: bool = False) -> dict[str, Any]:
        """What this store would send about the end of a retrieval."""
        if self.vault is None:
            said = {"eventSource": "aws:s3", "eventName": "ObjectRestore:Completed"}
            place = {"bucket": {"name": self.app.bucket}, "object": {"key": key}}
            return {"Records": [{**said, "s3": place}]}
        return {
            "Action": "ArchiveRetrieval",
            "ArchiveId": key,
            "Completed": True,
            "JobId": "somebody's-word",
            "StatusCode": "Failed" if failed else "Succeeded",
            "VaultARN": f"arn:aws:glacier:us-east-1:123456789012:vaults/{VAULT}",
        }


def clients_of(app: ApplicationUnderTest) -> Client:
    """Give the boto3 clients of an emulated account."""

    def client(service: str, region: str | None) -> Any:
        url = app.other_endpoints.get(service, app.s3.url)
        return a_session().client(service, endpoint_url=url, region_name=region or "us-east-1")

    return client


def a_wait(app: ApplicationUnderTest) -> Wait:
    """Back up, lose a file, ask for it back, and set up the queue."""
    for name in ("doc1.pdf", "doc2.pdf"):
        app.write(name, f"content of {name}")
    app.back_up()
    (app.files / "doc2.pdf").unlink()
    setup = set_up(app.application.name, app.application.store, client=clients_of(app))
    planned = app.plan()
    for share in planned["ranges"]:
        wanted = ArchiveRange.from_dict(share)
        restore.request_retrievals(
            app.application, planned["restore_id"], wanted, catalog=app.catalog, stores=app.stores
        )
    wait = Wait(app, planned["restore_id"], setup.queue)
    wait.listen()
    wait.empty()  # S3 sends a test when it is told of a queue
    return wait
