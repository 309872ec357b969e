"""The SQS queue in which an application's restores learn that retrievals ended.

A message is taken for a minute, not removed: what nobody confirmed comes again. Only its reader decides what is
deleted; what concerns others stays for them, until the queue's retention ends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from glacier_provider.core.notification import Notification, QueueName, parse_notifications, parse_queue
from glacier_provider.errors import ConfigurationError, StoreError, StoreMissing, StoreUnavailable
from glacier_provider.stores.aws_errors import aws_errors, error_code

LONGEST_WAIT = 20  #: seconds; a long poll of SQS lasts no longer
HIDDEN_SECONDS = 60  #: a message that is not deleted is seen again after this time
BATCH = 10  # messages of one request, at most

MISSING_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "NonExistentQueue")
_CODES: Mapping[str, type[StoreError]] = {
    "OverLimit": StoreUnavailable,  # too many messages taken and not deleted: some come back within a minute
    "AWS.SimpleQueueService.OverLimit": StoreUnavailable,
}


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `notifications` is None for one that is not understood; `times` counts how often it was received."""

    handle: str = field(repr=False)
    notifications: tuple[Notification, ...] | None
    times: int = 1


def queue_client_config() -> Any:
    """Return the botocore Config that a queue wants of its client. A reply may take as long as a long poll."""
    from botocore.config import Config

    from glacier_provider import __version__

    return Config(
        retries={"mode": "standard", "total_max_attempts": 3},
        connect_timeout=10,
        read_timeout=LONGEST_WAIT + 20,
        tcp_keepalive=True,
        user_agent_extra=f"glacier-provider/{__version__}",
    )


class Queue:
    """A queue, on a boto3 SQS client made with `queue_client_config`. Its methods may be called from any one thread.

    Permissions: sqs:ReceiveMessage and sqs:DeleteMessage on the queue, and sqs:GetQueueUrl unless it is named by URL.
    """

    def __init__(self, name: str, *, client: Any) -> None:
        self.name = name
        self._client = client
        self._parsed = parsed_queue(name)
        self._url = self._parsed.url

    def receive(self, *, wait_seconds: float) -> list[Message]:
        """Return up to ten messages, as soon as there are some; none after the wait, of at most `LONGEST_WAIT`.

        Raise StoreMissing when there is no such queue, StoreDenied when it may not be read, StoreUnavailable when it
        cannot be read just now.
        """
        url = self._address()
        with self._errors("sqs:ReceiveMessage"):
            reply = self._client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=BATCH,
                WaitTimeSeconds=max(0, min(LONGEST_WAIT, int(wait_seconds))),
                VisibilityTimeout=HIDDEN_SECONDS,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        return [_message(entry) for entry in reply.get("Messages", [])]

    def delete(self, messages: Sequence[Message]) -> None:
        """Delete messages. One that cannot be deleted comes again, which harms nobody."""
        url = self._address()
        for start in range(0, len(messages), BATCH):
            some = messages[start : start + BATCH]
            entries = [{"Id": str(number), "ReceiptHandle": one.handle} for number, one in enumerate(some)]
            with self._errors("sqs:DeleteMessage"):
                self._client.delete_message_batch(QueueUrl=url, Entries=entries)

    def _address(self) -> str:
        if self._url is None:
            owner = {"QueueOwnerAWSAccountId": self._parsed.account} if self._parsed.account else {}
            with self._errors("sqs:GetQueueUrl"):
                self._url = str(self._client.get_queue_url(QueueName=self._parsed.name, **owner)["QueueUrl"])
        return self._url

    @contextmanager
    def _errors(self, operation: str) -> Iterator[None]:
        from botocore.exceptions import ClientError

        with aws_errors(operation, self.name, codes=_CODES):
            try:
                yield
            except ClientError as exc:
                if error_code(exc) in MISSING_QUEUE:
                    raise StoreMissing(
                        f"There is no queue {self.name}.",
                        hint="Run glacier-backup setup-notifications, or correct notifications.queue in "
                        "applications.yaml.",
                    ) from exc
                raise


def parsed_queue(name: str) -> QueueName:
    """Return what the name of a queue tells; raise ConfigurationError for a wrong one."""
    try:
        return parse_queue(name)
    except ValueError as error:
        raise ConfigurationError(f"notifications.queue must be {error}, not {name!r}.") from error


def _message(entry: Mapping[str, Any]) -> Message:
    times = str(entry.get("Attributes", {}).get("ApproximateReceiveCount", "1"))
    return Message(
        entry["ReceiptHandle"], parse_notifications(entry.get("Body", "")), int(times) if times.isdigit() else 1
    )
