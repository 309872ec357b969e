"""What a message in the queue of an application says, and how a queue is named. Pure.

A notification is a hint that something may have changed in a store. It is never believed: whoever receives it asks the
store.

Messages come in these forms, each by itself or in the envelope of SNS (delivery of raw messages off or on):

- the description of a job that a vault ended
  (https://docs.aws.amazon.com/amazonglacier/latest/dev/configuring-notifications.html),
- events of a bucket, `ObjectRestore:Completed` and `ObjectRestore:Delete`
  (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html),
- the same by EventBridge, `Object Restore Completed` and `Object Restore Expired`
  (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

MOST_LETTERS = 1024 * 1024  #: of a body; SQS carries at most 1 MiB
MOST_RECORDS = 1000  #: of one message; S3 sends one
MOST_KEY_LETTERS = 1024
_ENVELOPES = 4  # an event of a bucket may pass two topics

_QUEUE = r"[A-Za-z0-9_-]{1,80}"
_ARN = re.compile(rf"arn:aws[a-z-]*:sqs:(?P<region>[a-z0-9-]+):(?P<account>\d{{12}}):(?P<name>{_QUEUE})")
_URL = re.compile(rf"https?://(?P<host>[A-Za-z0-9.-]+(:\d{{1,5}})?)/(?P<account>\d{{12}})/(?P<name>{_QUEUE})")
_HOST = re.compile(r"(?:sqs\.(?P<new>[a-z0-9-]+)|(?P<old>[a-z0-9-]+)\.queue)\.amazonaws\.com(?:\.cn)?")
_VAULT_ARN = re.compile(r"arn:aws[a-z-]*:glacier:[a-z0-9-]+:\d{12}:vaults/([A-Za-z0-9_.-]{1,255})")
_RESTORES = {"ObjectRestore:Completed": "completed", "ObjectRestore:Delete": "expired"}
_BUS_RESTORES = {"Object Restore Completed": "completed", "Object Restore Expired": "expired"}
_JOBS = {"Succeeded": "completed", "Failed": "failed"}


@dataclass(frozen=True, slots=True)
class Notification:
    """Something is said about one archive: `said` is completed, failed or expired.

    `place` is ``s3://bucket`` or ``glacier://vault``, `key` the object's key or the archive's id there.
    """

    place: str
    key: str
    said: str


@dataclass(frozen=True, slots=True)
class QueueName:
    """A queue as somebody named it; what the name leaves open is None."""

    name: str
    url: str | None = None
    account: str | None = None
    region: str | None = None


def parse_notifications(body: str) -> tuple[Notification, ...] | None:
    """Return what a message says about archives, nothing for a known message of another kind; None for the unknown.

    Any text may be given; this never raises.
    """
    try:
        return tuple(_notifications(_opened(body)))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def parse_queue(text: str) -> QueueName:
    """Return a queue named by its URL, its ARN or its name; raise ValueError for anything else.

    A FIFO queue is refused: neither buckets nor the topics of vaults deliver to one.
    """
    if found := _ARN.fullmatch(text):
        return QueueName(found["name"], None, found["account"], found["region"])
    if found := _URL.fullmatch(text):
        host = _HOST.fullmatch(found["host"])
        return QueueName(found["name"], text, found["account"], (host["new"] or host["old"]) if host else None)
    if re.fullmatch(_QUEUE, text):
        return QueueName(text)
    raise ValueError("the URL, the ARN or the name of a standard SQS queue (not FIFO)")


def _opened(body: str) -> Mapping[str, Any]:
    """Take a message out of the envelopes of SNS; raise ValueError when it is no JSON object."""
    for _ in range(_ENVELOPES):
        if len(body) > MOST_LETTERS:
            raise ValueError
        message = json.loads(body)
        if not isinstance(message, dict):
            raise ValueError
        if not ("TopicArn" in message and isinstance(message.get("Message"), str)):
            return message
        if message.get("Type") != "Notification":  # about the subscription itself
            return {"Event": "s3:TestEvent"}
        body = message["Message"]
    raise ValueError


def _notifications(message: Mapping[str, Any]) -> Iterator[Notification]:
    if "Records" in message:
        yield from _of_bucket(message["Records"])
    elif "detail-type" in message:
        yield from _of_bus(message)
    elif "JobId" in message:
        yield from _of_vault(message)
    elif message.get("Event") != "s3:TestEvent":  # S3 sends one when it is told of a destination
        raise ValueError


def _of_bucket(records: list[Mapping[str, Any]]) -> Iterator[Notification]:
    for record in records[:MOST_RECORDS]:
        said = _RESTORES.get(record["eventName"].removeprefix("s3:"))
        if said is not None:
            yield _notification(
                f"s3://{_text(record['s3']['bucket']['name'])}", unquote_plus(_key_of(record["s3"])), said
            )


def _of_bus(message: Mapping[str, Any]) -> Iterator[Notification]:
    said = _BUS_RESTORES.get(message["detail-type"])
    if said is not None and message.get("source") == "aws.s3":
        yield _notification(f"s3://{_text(message['detail']['bucket']['name'])}", _key_of(message["detail"]), said)


def _of_vault(message: Mapping[str, Any]) -> Iterator[Notification]:
    vault = _VAULT_ARN.fullmatch(message["VaultARN"])
    if vault is None:
        raise ValueError
    said = _JOBS.get(message["StatusCode"])
    if message["Action"] == "ArchiveRetrieval" and said is not None:
        yield _notification(f"glacier://{vault[1]}", _text(message["ArchiveId"]), said)


def _key_of(event: Mapping[str, Any]) -> str:
    return _text(event["object"]["key"])


def _notification(place: str, key: str, said: str) -> Notification:
    if len(key) > MOST_KEY_LETTERS or "\0" in key:
        raise ValueError  # no store has such a key
    (place + key).encode()  # half of a surrogate pair: no database takes it
    return Notification(place, key, said)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value
