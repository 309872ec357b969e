"""Making a queue in which an application learns that retrievals ended, and having its store send to it.

What is there is looked at first and changed only where it has to be, so that a second run changes nothing. Everything
that belongs to others stays: statements of the queue's policy, the bucket's other notifications, a topic that the
vault sends to already (a vault has one; the queue is subscribed to it). The order is that of the messages' way back:
the queue, what may send to it, then who sends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from glacier_provider.core.notification import QueueName
from glacier_provider.core.store_uri import S3Uri, VaultUri, parse_store_uri
from glacier_provider.errors import ConfigurationError, StoreError, StoreMissing
from glacier_provider.stores.aws_errors import aws_errors, error_code
from glacier_provider.stores.queue.receive import HIDDEN_SECONDS, LONGEST_WAIT, MISSING_QUEUE, parsed_queue
from glacier_provider.stores.s3.keys import folder_of

RETENTION_SECONDS = 86_400  #: a hint that nobody took for a day is of no use: the store was asked meanwhile
BUCKET_EVENTS = ("s3:ObjectRestore:Completed", "s3:ObjectRestore:Delete")
VAULT_EVENTS = ("ArchiveRetrievalCompleted", "InventoryRetrievalCompleted")
_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds, until a bucket sees that the new queue lets it send
_KINDS = ("QueueConfigurations", "TopicConfigurations", "LambdaFunctionConfigurations")
_TARGETS = ("QueueArn", "TopicArn", "LambdaFunctionArn")

#: Gives a boto3 client of a service in a Region (None: the connection's).
Client = Callable[[str, str | None], Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One resource: what was done to it, or would be in a trial; `changed` is False where nothing has to be done."""

    what: str
    done: str
    changed: bool


@dataclass(frozen=True, slots=True)
class Setup:
    """The result. `queue` is what belongs into `notifications.queue`."""

    queue: str
    steps: tuple[Step, ...]


def set_up(application: str, store: str, *, client: Client, queue: str | None = None, dry_run: bool = False) -> Setup:
    """Make what is missing between a store and an application's queue; with `dry_run` only say what that is.

    `queue` names the queue to use; otherwise it is called ``glacier-backup-<application>``. Raise StoreMissing for a
    bucket or vault that is not there, StoreDenied naming the permission that is missing, ConfigurationError when
    another notification of the bucket is in the way.
    """
    place = parse_store_uri(store)
    steps = _Steps(dry_run)
    if isinstance(place, S3Uri):
        return _BucketSetup.begin(application, place, client, queue, steps).run()
    return _VaultSetup.begin(application, place, client, queue, steps).run()


@dataclass(slots=True)
class _Steps:
    dry_run: bool
    taken: list[Step] = field(default_factory=list)

    def there(self, what: str, done: str = "is there") -> None:
        self.taken.append(Step(what, done, changed=False))

    def take(self, what: str, verb: str, work: Callable[[], object]) -> None:
        """Do a step, or in a trial only say that it would be done."""
        if not self.dry_run:
            work()
        self.taken.append(Step(what, f"would be {verb}" if self.dry_run else verb, changed=True))


@dataclass(frozen=True, slots=True)
class _Account:
    """Where things are made. The caller's account: it has to own queue, topic and bucket or vault."""

    partition: str
    number: str
    region: str

    @classmethod
    def of(cls, sts: Any, region: str) -> _Account:
        with aws_errors("sts:GetCallerIdentity", "the AWS account"):
            caller = sts.get_caller_identity()
        return cls(str(caller["Arn"]).split(":")[1], str(caller["Account"]), region)

    def arn(self, service: str, name: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.number}:{name}"


class _QueueSetup:
    """The queue, who may send to it, and its subscriptions."""

    def __init__(self, name: QueueName, account: _Account, sqs: Any, steps: _Steps) -> None:
        self._sqs = sqs
        self._steps = steps
        self._name = name.name
        self.arn = account.arn("sqs", name.name)
        self.url = self._found()

    def _found(self) -> str | None:
        from botocore.exceptions import ClientError

        with aws_errors("sqs:GetQueueUrl", self.arn):
            try:
                return str(self._sqs.get_queue_url(QueueName=self._name)["QueueUrl"])
            except ClientError as exc:
                if error_code(exc) in MISSING_QUEUE:
                    return None
                raise

    def make(self, source: Mapping[str, Any]) -> None:
        """Have the queue, and a statement in its policy that lets a source send to it."""
        if self.url is None:
            self._steps.take(f"queue {self.arn}", "created", lambda: self._create(source))
            return
        self._steps.there(f"queue {self.arn}")
        statements = self._statements()
        what = f"policy of the queue for {source['Condition']['ArnEquals']['aws:SourceArn']}"
        if any({name: value for name, value in one.items() if name != "Sid"} == source for one in statements):
            self._steps.there(what)
        else:
            self._steps.take(what, "added", lambda: self._set_policy([*statements, source]))

    def _create(self, source: Mapping[str, Any]) -> None:
        attributes = {
            "MessageRetentionPeriod": str(RETENTION_SECONDS),
            "ReceiveMessageWaitTimeSeconds": str(LONGEST_WAIT),
            "VisibilityTimeout": str(HIDDEN_SECONDS),
            "Policy": _policy([source]),
        }
        with aws_errors("sqs:CreateQueue", self.arn):
            self.url = str(self._sqs.create_queue(QueueName=self._name, Attributes=attributes)["QueueUrl"])

    def _statements(self) -> list[dict[str, Any]]:
        with aws_errors("sqs:GetQueueAttributes", self.arn):
            reply = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["Policy"])
        found = json.loads(reply.get("Attributes", {}).get("Policy") or "{}").get("Statement", [])
        return [found] if isinstance(found, dict) else list(found)

    def _set_policy(self, statements: Sequence[Mapping[str, Any]]) -> None:
        with aws_errors("sqs:SetQueueAttributes", self.arn):
            self._sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": _policy(statements)})

    def subscribe(self, topic: str, sns: Any) -> None:
        """Have the queue get what is published to a topic."""
        what = f"subscription of the queue to {topic}"
        if self._is_subscribed(topic, sns):
            self._steps.there(what)
            return

        def subscribe() -> None:
            with aws_errors("sns:Subscribe", topic):
                sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=self.arn)

        self._steps.take(what, "created", subscribe)

    def _is_subscribed(self, topic: str, sns: Any) -> bool:
        codes: dict[str, type[StoreError]] = {"NotFound": StoreMissing, "NotFoundException": StoreMissing}
        with aws_errors("sns:ListSubscriptionsByTopic", topic, codes=codes):
            pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
            try:
                return any(one["Endpoint"] == self.arn for page in pages for one in page["Subscriptions"])
            except sns.exceptions.NotFoundException:
                if self._steps.dry_run:
                    return False  # the topic would have been created first
                raise

    def result(self) -> Setup:
        return Setup(self.url or self.arn, tuple(self._steps.taken))


@dataclass(slots=True)
class _BucketSetup:
    application: str
    place: S3Uri
    account: _Account
    s3: Any
    client: Client
    queue: _QueueSetup
    steps: _Steps

    @classmethod
    def begin(cls, application: str, place: S3Uri, client: Client, queue: str | None, steps: _Steps) -> _BucketSetup:
        s3 = client("s3", place.region)
        account = _Account.of(client("sts", place.region), _region_of(s3, place.bucket))
        made = _QueueSetup(_queue_name(application, queue, account), account, client("sqs", account.region), steps)
        return cls(application, place, account, s3, client, made, steps)

    def run(self) -> Setup:
        bucket = self.place.bucket
        with aws_errors("s3:GetBucketNotification", f"s3://{bucket}"):
            current = self.s3.get_bucket_notification_configuration(Bucket=bucket)
        current.pop("ResponseMetadata", None)
        prefix = folder_of(self.place.prefix, self.application)
        topic = topic_that_tells(current, prefix)
        if topic is not None:
            self.steps.there(f"notification of the bucket {bucket} to {topic}")
            self.queue.make(_from_topic(topic, self.queue.arn))
            self.queue.subscribe(topic, self.client("sns", self.account.region))
            return self.queue.result()
        name = f"glacier-backup-{self.application}"
        wanted = with_queue(current, queue_arn=self.queue.arn, prefix=prefix, name=name, bucket=bucket)
        self.queue.make(_from_bucket(bucket, self.account, self.queue.arn))
        what = f"notification of the bucket {bucket} for {prefix}"
        if wanted is None:
            self.steps.there(what)
        else:
            self.steps.take(what, "added", lambda: self._put(wanted))
        return self.queue.result()

    def _put(self, wanted: Mapping[str, Any]) -> None:
        """Put the configuration; a queue just made may be refused for some seconds."""
        for pause in (*_PAUSES, None):
            try:
                with aws_errors("s3:PutBucketNotification", f"s3://{self.place.bucket}"):
                    self.s3.put_bucket_notification_configuration(
                        Bucket=self.place.bucket, NotificationConfiguration=wanted
                    )
                return
            except StoreError as error:
                if pause is None or "Unable to validate" not in error.message:
                    raise
                time.sleep(pause)  # S3 asks the queue, whose new policy takes some seconds to be known everywhere


@dataclass(slots=True)
class _VaultSetup:
    application: str
    place: VaultUri
    account: _Account
    glacier: Any
    sns: Any
    queue: _QueueSetup
    steps: _Steps

    @classmethod
    def begin(cls, application: str, place: VaultUri, client: Client, queue: str | None, steps: _Steps) -> _VaultSetup:
        glacier = client("glacier", place.region)
        account = _Account.of(client("sts", place.region), place.region or str(glacier.meta.region_name))
        made = _QueueSetup(_queue_name(application, queue, account), account, client("sqs", account.region), steps)
        return cls(application, place, account, glacier, client("sns", account.region), made, steps)

    def run(self) -> Setup:
        current = self._configuration()
        topic = self.place.sns_topic or current.get("SNSTopic")
        if topic is not None:
            self.steps.there(f"topic {topic}", "is used already")
        else:
            topic = self._own_topic()
        self.queue.make(_from_topic(topic, self.queue.arn))
        self.queue.subscribe(topic, self.sns)
        if self.place.sns_topic is None:  # else each job names the topic by itself
            self._tell_vault(topic, current.get("Events", []))
        return self.queue.result()

    def _configuration(self) -> dict[str, Any]:
        """Return the vault's notification configuration, empty when it has none; raise StoreMissing without a vault."""
        from botocore.exceptions import ClientError

        vault = self.place.vault
        with aws_errors("glacier:DescribeVault", f"glacier://{vault}", codes={_GONE: StoreMissing}):
            self.glacier.describe_vault(accountId="-", vaultName=vault)
        with aws_errors("glacier:GetVaultNotifications", f"glacier://{vault}"):
            try:
                reply = self.glacier.get_vault_notifications(accountId="-", vaultName=vault)
            except ClientError as exc:
                if error_code(exc) == _GONE:
                    return {}
                raise
        return dict(reply["vaultNotificationConfig"])

    def _own_topic(self) -> str:
        """Have the application's own topic. Its policy is the one that SNS gives: the account itself may publish."""
        name = f"glacier-backup-{self.application}"
        arn = self.account.arn("sns", name)
        with aws_errors("sns:GetTopicAttributes", arn):
            try:
                self.sns.get_topic_attributes(TopicArn=arn)
            except self.sns.exceptions.NotFoundException:
                self.steps.take(f"topic {arn}", "created", lambda: self._create_topic(name))
            else:
                self.steps.there(f"topic {arn}")
        return arn

    def _create_topic(self, name: str) -> None:
        with aws_errors("sns:CreateTopic", name):
            self.sns.create_topic(Name=name)

    def _tell_vault(self, topic: str, events: Sequence[str]) -> None:
        what = f"notification of the vault {self.place.vault} to {topic}"
        if set(VAULT_EVENTS) <= set(events):
            self.steps.there(what)
            return
        wanted = {"SNSTopic": topic, "Events": sorted({*VAULT_EVENTS, *events})}

        def put() -> None:
            with aws_errors("glacier:SetVaultNotifications", f"glacier://{self.place.vault}"):
                self.glacier.set_vault_notifications(
                    accountId="-", vaultName=self.place.vault, vaultNotificationConfig=wanted
                )

        self.steps.take(what, "set", put)


_GONE = "ResourceNotFoundException"


def _queue_name(application: str, given: str | None, account: _Account) -> QueueName:
    if given is None:
        return QueueName(f"glacier-backup-{application}")
    name = parsed_queue(given)
    if name.account not in (None, account.number) or name.region not in (None, account.region):
        raise ConfigurationError(
            f"The queue {given} is not of account {account.number} in {account.region}, where the store is.",
            hint="Name one that is, or leave notifications.queue out for a queue of the application's own.",
        )
    return name


def _region_of(s3: Any, bucket: str) -> str:
    """Return the Region of a bucket: its notifications go to queues and topics of the same one."""
    with aws_errors("s3:ListBucket", f"s3://{bucket}", codes={"404": StoreMissing}):
        reply = s3.head_bucket(Bucket=bucket)
    return str(reply["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region") or s3.meta.region_name)


# --- policies ------------------------------------------------------------------------------------------------------


def _policy(statements: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [dict(one) for one in statements]})


def _from_bucket(bucket: str, account: _Account, queue_arn: str) -> dict[str, Any]:
    """Let a bucket send. Its ARN names no account: the account is a condition of its own."""
    source = f"arn:{account.partition}:s3:::{bucket}"
    allowed = _statement("s3.amazonaws.com", source, queue_arn)
    allowed["Condition"]["StringEquals"] = {"aws:SourceAccount": account.number}
    return allowed


def _from_topic(topic: str, queue_arn: str) -> dict[str, Any]:
    return _statement("sns.amazonaws.com", topic, queue_arn)


def _statement(service: str, source: str, queue_arn: str) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": source}},
    }


# --- the notifications of a bucket ---------------------------------------------------------------------------------


def topic_that_tells(current: Mapping[str, Any], prefix: str) -> str | None:
    """Return a topic to which a bucket sends the ends of all restores below a prefix already, or None."""
    for one in current.get("TopicConfigurations", []):
        if _covers(one, prefix):
            return str(one["TopicArn"])
    return None


def with_queue(
    current: Mapping[str, Any], *, queue_arn: str, prefix: str, name: str, bucket: str
) -> dict[str, Any] | None:
    """Return a bucket's notification configuration with ours in it and all others kept; None when it is there.

    S3 refuses two notifications of one event whose prefixes overlap: raise ConfigurationError naming the other one.
    """
    queues = current.get("QueueConfigurations", [])
    if any(one["QueueArn"] == queue_arn and _covers(one, prefix) for one in queues):
        return None
    kept = [one for one in queues if not (one.get("Id") == name and one["QueueArn"] == queue_arn)]
    wanted = {**current, "QueueConfigurations": kept}
    for other in (one for kind in _KINDS for one in wanted.get(kind, [])):
        if _restore_events(other) and _overlaps(_rules(other).get("prefix", ""), prefix):
            target = next(other[kind] for kind in _TARGETS if kind in other)
            raise ConfigurationError(
                f"The bucket {bucket} sends the ends of restores to {target} already "
                f"(notification {other.get('Id', 'without an id')}).",
                hint="S3 takes no second one for the same objects. Name that queue in notifications.queue, or send the "
                "events to an SNS topic and run this again: the queue is then subscribed to the topic.",
            )
    rules = [{"Name": "prefix", "Value": prefix}]
    ours = {
        "Id": name,
        "QueueArn": queue_arn,
        "Events": list(BUCKET_EVENTS),
        "Filter": {"Key": {"FilterRules": rules}},
    }
    return {**current, "QueueConfigurations": [*kept, ours]}


def _covers(entry: Mapping[str, Any], prefix: str) -> bool:
    rules = _rules(entry)
    return (
        _restore_events(entry) >= set(BUCKET_EVENTS)
        and prefix.startswith(rules.get("prefix", ""))
        and not rules.get("suffix")
    )


def _restore_events(entry: Mapping[str, Any]) -> set[str]:
    """Return which of our events a notification is about."""
    events = set(entry.get("Events", []))
    return set(BUCKET_EVENTS) if "s3:ObjectRestore:*" in events else events & set(BUCKET_EVENTS)


def _rules(entry: Mapping[str, Any]) -> dict[str, str]:
    found = entry.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    return {str(rule["Name"]).lower(): str(rule["Value"]) for rule in found}


def _overlaps(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
