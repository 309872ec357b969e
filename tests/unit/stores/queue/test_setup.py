"""A bucket has one notification configuration: ours is put into it, and everybody else's stays."""

from __future__ import annotations

from typing import Any

import pytest

from glacier_provider.errors import ConfigurationError
from glacier_provider.stores.queue.setup import BUCKET_EVENTS, topic_that_tells, with_queue

QUEUE = "arn:aws:sqs:eu-central-1:123456789012:glacier-backup-library"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:restores"
FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:f"
NAME = "glacier-backup-library"
PREFIX = "production/library/"


def an_entry(kind: str, target: str, *events: str, **rules: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"Id": "other", kind: target, "Events": list(events or BUCKET_EVENTS)}
    if rules:
        found = [{"Name": name.capitalize(), "Value": value} for name, value in rules.items()]  # as S3 gives them back
        entry["Filter"] = {"Key": {"FilterRules": found}}
    return entry


def ours(**rules: str) -> dict[str, Any]:
    return {**an_entry("QueueArn", QUEUE, **(rules or {"prefix": PREFIX})), "Id": NAME}


def merged(**current: Any) -> dict[str, Any] | None:
    return with_queue(current, queue_arn=QUEUE, prefix=PREFIX, name=NAME, bucket="b")


def test_ours_is_added_behind_all_others() -> None:
    current = {
        "EventBridgeConfiguration": {},
        "TopicConfigurations": [an_entry("TopicArn", TOPIC, "s3:ObjectCreated:*")],
        "LambdaFunctionConfigurations": [an_entry("LambdaFunctionArn", FUNCTION, "s3:ObjectRemoved:*")],
        "QueueConfigurations": [an_entry("QueueArn", f"{QUEUE}-2", "s3:ObjectRestore:*", prefix="production/shop/")],
    }
    found = merged(**current)
    assert found is not None
    *others, mine = found["QueueConfigurations"]
    assert {**found, "QueueConfigurations": others} == current
    rules = [{"Name": "prefix", "Value": PREFIX}]
    events = ["s3:ObjectRestore:Completed", "s3:ObjectRestore:Delete"]
    assert mine == {"Id": NAME, "QueueArn": QUEUE, "Events": events, "Filter": {"Key": {"FilterRules": rules}}}


@pytest.mark.parametrize(
    "entry",
    [
        ours(),
        {**ours(), "Id": "made by hand"},
        ours(prefix="production/"),
        an_entry("QueueArn", QUEUE),
        an_entry("QueueArn", QUEUE, "s3:ObjectRestore:*", "s3:ObjectCreated:*", prefix=""),
    ],
)
def test_nothing_is_put_where_the_queue_is_told_already(entry: dict[str, Any]) -> None:
    assert merged(QueueConfigurations=[entry]) is None


@pytest.mark.parametrize("entry", [ours(prefix="production/library/files/"), {**ours(), "Events": [BUCKET_EVENTS[0]]}])
def test_ours_is_put_right_when_it_does_not_tell_all(entry: dict[str, Any]) -> None:
    found = merged(QueueConfigurations=[entry])
    assert found is not None
    (mine,) = found["QueueConfigurations"]
    assert mine["Filter"]["Key"]["FilterRules"] == [{"Name": "prefix", "Value": PREFIX}]
    assert mine["Events"] == list(BUCKET_EVENTS)


@pytest.mark.parametrize("prefix", ["", "production/", PREFIX, "production/library/database/"])
@pytest.mark.parametrize(
    ("kind", "target"),
    [
        ("QueueConfigurations", {"QueueArn": f"{QUEUE}-2"}),
        ("TopicConfigurations", {"TopicArn": TOPIC}),
        ("LambdaFunctionConfigurations", {"LambdaFunctionArn": FUNCTION}),
    ],
)
def test_a_notification_that_s3_would_not_have_beside_ours_is_named(
    prefix: str, kind: str, target: dict[str, str]
) -> None:
    ((name, arn),) = target.items()
    with pytest.raises(ConfigurationError, match=f"{arn} already \\(notification other\\)"):
        merged(**{kind: [an_entry(name, arn, "s3:ObjectRestore:Completed", prefix=prefix)]})


@pytest.mark.parametrize(
    ("entry", "tells"),
    [
        (an_entry("TopicArn", TOPIC), True),
        (an_entry("TopicArn", TOPIC, "s3:ObjectRestore:*", prefix="production/"), True),
        (an_entry("TopicArn", TOPIC, "s3:ObjectRestore:Completed"), False),
        (an_entry("TopicArn", TOPIC, prefix="production/shop/"), False),
        (an_entry("TopicArn", TOPIC, prefix=PREFIX, suffix=".pdf"), False),
    ],
)
def test_a_topic_is_used_when_it_tells_of_all_our_restores(entry: dict[str, Any], tells: bool) -> None:
    assert topic_that_tells({"TopicConfigurations": [entry]}, PREFIX) == (TOPIC if tells else None)
