"""What messages say, and that no text whatever breaks their reader."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier_provider.core.notification import MOST_LETTERS, Notification, QueueName, parse_notifications, parse_queue

VAULT_ARN = "arn:aws:glacier:eu-central-1:123456789012:vaults/photos"


def a_job(**fields: Any) -> dict[str, Any]:
    """What Describe Job tells of a retrieval that ended, as a vault publishes it."""
    return {
        "Action": "ArchiveRetrieval",
        "ArchiveId": "an-archive",
        "Completed": True,
        "JobId": "a-job",
        "StatusCode": "Succeeded",
        "StatusMessage": "Succeeded",
        "VaultARN": VAULT_ARN,
        **fields,
    }


def a_record(
    key: str = "pre/dms/files/000000000/000000000001-a.pdf", event: str = "ObjectRestore:Completed"
) -> dict[str, Any]:
    return {"eventSource": "aws:s3", "eventName": event, "s3": {"bucket": {"name": "b"}, "object": {"key": key}}}


def an_event(*args: Any) -> dict[str, Any]:
    return {"Records": [a_record(*args)]}


def on_the_bus(kind: str = "Object Restore Completed", **detail: Any) -> dict[str, Any]:
    fields = {"bucket": {"name": "b"}, "object": {"key": "a b+c"}, **detail}
    return {"detail-type": kind, "source": "aws.s3", "detail": fields}


def in_envelope(message: Any, **fields: Any) -> dict[str, Any]:
    body = message if isinstance(message, str) else json.dumps(message)
    topic = "arn:aws:sns:us-east-1:123456789012:t"
    return {"Type": "Notification", "MessageId": "1", "TopicArn": topic, "Message": body, **fields}


def said(message: Any) -> tuple[Notification, ...] | None:
    return parse_notifications(json.dumps(message))


# --- what is understood --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "meaning"), [("Succeeded", "completed"), ("Failed", "failed")])
def test_a_vault_tells_of_a_job_that_ended(status: str, meaning: str) -> None:
    assert said(a_job(StatusCode=status)) == (Notification("glacier://photos", "an-archive", meaning),)


@pytest.mark.parametrize(
    ("event", "meaning"),
    [
        ("ObjectRestore:Completed", "completed"),
        ("s3:ObjectRestore:Completed", "completed"),
        ("ObjectRestore:Delete", "expired"),
    ],
)
def test_a_bucket_tells_of_a_restore_that_ended(event: str, meaning: str) -> None:
    assert said(an_event("a.pdf", event)) == (Notification("s3://b", "a.pdf", meaning),)


def test_keys_of_a_bucket_come_encoded() -> None:
    assert said(an_event("a+b%2Bc%25/%C3%BC")) == (Notification("s3://b", "a b+c%/ü", "completed"),)


def test_one_message_may_tell_of_several_objects() -> None:
    records = {"Records": [a_record("a"), a_record("b", "ObjectCreated:Put"), a_record("c")]}
    assert [notification.key for notification in said(records) or ()] == ["a", "c"]


def test_event_bridge_tells_of_a_restore_with_the_plain_key() -> None:
    assert said(on_the_bus()) == (Notification("s3://b", "a b+c", "completed"),)
    assert said(on_the_bus("Object Restore Expired")) == (Notification("s3://b", "a b+c", "expired"),)


@pytest.mark.parametrize("message", [a_job(), an_event(), on_the_bus()])
def test_the_envelope_of_a_topic_changes_nothing(message: dict[str, Any]) -> None:
    assert said(in_envelope(message)) == said(message)
    assert said(in_envelope(in_envelope(message))) == said(message)


@pytest.mark.parametrize(
    "message",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"},
        a_job(Action="InventoryRetrieval", ArchiveId=None),
        a_job(StatusCode="InProgress"),
        an_event("a", "ObjectRestore:Post"),
        an_event("a", "ObjectCreated:Put"),
        {"Records": []},
        on_the_bus("Object Created"),
        on_the_bus() | {"source": "somebody.else"},
        in_envelope("You have chosen to subscribe", Type="SubscriptionConfirmation"),
    ],
)
def test_what_tells_nothing_of_an_archive_is_known_all_the_same(message: dict[str, Any]) -> None:
    assert said(message) == ()


# --- what is not ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        {},
        [],
        None,
        17,
        "text",
        {"Records": None},
        {"Records": "text"},
        {"Records": {"a": 1}},
        {"Records": [None]},
        {"Records": [{"eventName": "ObjectRestore:Completed"}]},
        {"Records": [{**a_record(), "s3": {"bucket": {"name": 5}, "object": {"key": "a"}}}]},
        {"Records": [{**a_record(), "eventName": ["ObjectRestore:Completed"]}]},
        an_event("a%00b"),
        an_event("x" * 1025),
        a_job(VaultARN="arn:aws:s3:::photos"),
        a_job(VaultARN=None),
        a_job(ArchiveId=None),
        a_job(ArchiveId=["an-archive"]),
        a_job(ArchiveId="\ud800"),
        a_job(StatusCode={"a": 1}),
        {"JobId": "a-job"},
        on_the_bus(bucket=None),
        on_the_bus(["Object Restore Completed"]),  # type: ignore[arg-type]
        in_envelope("no json"),
        in_envelope(in_envelope(in_envelope(in_envelope(an_event())))),
    ],
)
def test_what_is_not_understood_is_told_apart(message: Any) -> None:
    assert said(message) is None


@pytest.mark.parametrize("body", ["", "{", "[" * 200_000, '{"a":' * 200_000, "9" * 10_000, "\0", "NaN", "\ud800"])
def test_text_that_is_no_json_is_not_understood(body: str) -> None:
    assert parse_notifications(body) is None


def test_a_body_larger_than_any_message_is_not_read() -> None:
    large = json.dumps(an_event()) + " " * MOST_LETTERS
    assert parse_notifications(large) is None
    assert parse_notifications(large[:MOST_LETTERS]) == said(an_event())


texts = st.text() | st.sampled_from(
    ["Records", "s3", "Message", "TopicArn", "JobId", "VaultARN", "detail-type", "Notification", VAULT_ARN, "Succeeded"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(st.text())
def test_no_text_breaks_the_reader(body: str) -> None:
    assert parse_notifications(body) in (None, ())


@given(st.sampled_from([a_job(), an_event(), on_the_bus(), in_envelope(an_event())]), st.data())
def test_no_change_of_a_message_breaks_the_reader(message: dict[str, Any], data: st.DataObject) -> None:
    changed = json.loads(json.dumps(message))
    place: Any = changed
    while True:
        if isinstance(place, list):
            place[0:1] = [data.draw(values)]
            break
        name = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[name], dict | list) or data.draw(st.booleans()):
            place[name] = data.draw(values)
            break
        place = place[name]
    found = said(changed)
    assert found is None or all(
        isinstance(notification.key, str) and isinstance(notification.place, str) for notification in found
    )


# --- how a queue is named ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("glacier-backup-library", QueueName("glacier-backup-library")),
        ("arn:aws:sqs:eu-central-1:123456789012:q_1", QueueName("q_1", None, "123456789012", "eu-central-1")),
        ("arn:aws-cn:sqs:cn-north-1:123456789012:q", QueueName("q", None, "123456789012", "cn-north-1")),
        *(
            (url, QueueName("q", url, "123456789012", region))
            for url, region in [
                ("https://sqs.eu-central-1.amazonaws.com/123456789012/q", "eu-central-1"),
                ("https://eu-central-1.queue.amazonaws.com/123456789012/q", "eu-central-1"),
                ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q", "cn-north-1"),
                ("http://127.0.0.1:5000/123456789012/q", None),
            ]
        ),
    ],
)
def test_a_queue_is_named_by_url_arn_or_name(text: str, expected: QueueName) -> None:
    assert parse_queue(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a queue",
        "q" * 81,
        "q.fifo",
        "arn:aws:sqs:eu-central-1:123456789012:q.fifo",
        "https://sqs.eu-central-1.amazonaws.com/123456789012/q.fifo",
        "https://user:secret@sqs.eu-central-1.amazonaws.com/123456789012/q",
        "https://sqs.eu-central-1.amazonaws.com/q",
        "arn:aws:sns:eu-central-1:123456789012:q",
        "q\n",
    ],
)
def test_what_names_no_standard_queue_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="standard SQS queue"):
        parse_queue(text)
