"""The queue in which restores hear, against SQS as moto emulates it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from glacier_provider.errors import ConfigurationError, StoreDenied, StoreError, StoreMissing, StoreUnavailable
from glacier_provider.stores.queue.receive import Queue, queue_client_config
from tests.emulator.faults import FaultKind
from tests.emulator.s3 import S3Emulator

ACCOUNT = "123456789012"
TEST_EVENT = '{"Event": "s3:TestEvent"}'
_numbers = itertools.count(1)


@pytest.fixture
def name(s3: S3Emulator) -> Iterator[str]:
    """A queue whose messages can be received again at once."""
    made = f"queue-{next(_numbers)}"
    s3.client("sqs").create_queue(QueueName=made)
    yield made
    s3.plan.clear()


def opened(s3: S3Emulator, name: str) -> Queue:
    return Queue(name, client=s3.client("sqs", config=queue_client_config()))


def send(s3: S3Emulator, name: str, *bodies: str) -> None:
    client = s3.client("sqs")
    for body in bodies:
        client.send_message(QueueUrl=client.get_queue_url(QueueName=name)["QueueUrl"], MessageBody=body)


def receive_all(queue: Queue) -> list[object]:
    found: list[object] = []
    while messages := queue.receive(wait_seconds=0):
        found += messages
    return found


@pytest.mark.parametrize("form", ["{name}", "arn:aws:sqs:us-east-1:{account}:{name}", "{url}/{account}/{name}"])
def test_a_queue_is_opened_by_name_arn_or_url(s3: S3Emulator, name: str, form: str) -> None:
    send(s3, name, TEST_EVENT)
    (message,) = opened(s3, form.format(name=name, account=ACCOUNT, url=s3.url)).receive(wait_seconds=0)
    assert (message.notifications, message.times) == ((), 1)


def test_a_message_that_is_taken_is_hidden_and_one_that_is_deleted_is_gone(s3: S3Emulator, name: str) -> None:
    queue = opened(s3, name)
    send(s3, name, *[TEST_EVENT] * 23)
    taken = receive_all(queue)
    assert len(taken) == 23
    assert receive_all(queue) == []
    queue.delete(taken)  # type: ignore[arg-type]
    client = s3.client("sqs")
    url = client.get_queue_url(QueueName=name)["QueueUrl"]
    left = client.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"])
    assert left["Attributes"] == {"ApproximateNumberOfMessagesNotVisible": "0"}


def test_a_message_tells_how_often_it_was_received(s3: S3Emulator, name: str) -> None:
    send(s3, name, "not understood")
    queue, client = opened(s3, name), s3.client("sqs")
    for times in (1, 2, 3):
        (message,) = queue.receive(wait_seconds=1)
        assert (message.notifications, message.times) == (None, times)
        url = client.get_queue_url(QueueName=name)["QueueUrl"]
        client.change_message_visibility(QueueUrl=url, ReceiptHandle=message.handle, VisibilityTimeout=0)


def test_a_handle_is_not_shown(s3: S3Emulator, name: str) -> None:
    send(s3, name, TEST_EVENT)
    (message,) = opened(s3, name).receive(wait_seconds=0)
    assert message.handle not in repr(message)


@pytest.mark.parametrize("form", ["no-such-queue", "{url}/{account}/no-such-queue"])
def test_a_queue_that_is_not_there_is_told(s3: S3Emulator, form: str) -> None:
    queue = opened(s3, form.format(account=ACCOUNT, url=s3.url))
    with pytest.raises(
        StoreMissing, match=r"There is no queue .*no-such-queue\. Run glacier-backup setup-notifications"
    ):
        queue.receive(wait_seconds=0)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"kind": FaultKind.ACCESS_DENIED}, StoreDenied),
        ({"kind": FaultKind.ERROR, "status": 403, "code": "OverLimit"}, StoreUnavailable),
        ({"kind": FaultKind.ERROR, "status": 400, "code": "RequestThrottled"}, StoreUnavailable),
        ({"kind": FaultKind.ERROR, "status": 400, "code": "KmsAccessDenied"}, StoreError),
    ],
)
def test_errors_of_the_queue_are_of_our_family(
    s3: S3Emulator, name: str, fault: dict[str, object], expected: type[StoreError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    s3.plan.inject("ReceiveMessage", **fault)  # type: ignore[arg-type]
    with pytest.raises(expected, match=f"sqs:ReceiveMessage on {name}") as caught:
        opened(s3, name).receive(wait_seconds=0)
    assert type(caught.value) is expected


def test_a_name_that_is_none_is_refused(s3: S3Emulator) -> None:
    with pytest.raises(ConfigurationError, match=r"notifications.queue must be .*not FIFO.*, not 'q.fifo'"):
        opened(s3, "q.fifo")
