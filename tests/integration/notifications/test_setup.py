"""The queue is set up by one command, which changes what is missing and nothing else."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from glacier_provider.cli import main
from glacier_provider.core.notification import parse_notifications
from glacier_provider.errors import ConfigurationError, StoreDenied, StoreMissing
from glacier_provider.stores.queue import setup
from glacier_provider.stores.queue.setup import Setup, set_up
from tests.emulator.faults import FaultKind
from tests.emulator.s3 import S3Emulator, a_session
from tests.emulator.vault import VaultEmulator
from tests.support.airflow import aws_connection
from tests.unit.operators.builders import SETTINGS

ACCOUNT = "123456789012"
_numbers = itertools.count(1)


class Account:
    """An emulated AWS account with a bucket and a vault, and an application of its own name."""

    def __init__(self, s3: S3Emulator, vault: VaultEmulator) -> None:
        self.number = next(_numbers)
        self.application = f"app-{self.number}"
        self.bucket = s3.create_bucket(f"setup-{self.number}")
        self.vault = f"vault-{self.number}"
        self._s3, self._vault = s3, vault
        vault.client().create_vault(vaultName=self.vault)

    def client(self, service: str, region: str | None = None) -> Any:
        url = self._vault.url if service == "glacier" else self._s3.url
        return a_session().client(service, endpoint_url=url, region_name=region or "us-east-1")

    def store(self, kind: str) -> str:
        return f"s3://{self.bucket}/pre" if kind == "s3" else f"glacier://{self.vault}"

    def set_up(self, kind: str, **options: Any) -> Setup:
        return set_up(self.application, self.store(kind), client=self.client, **options)

    def everything(self) -> dict[str, Any]:
        """The state of all resources that a setup may touch."""
        sqs, sns = self.client("sqs"), self.client("sns")
        queues = sqs.list_queues(QueueNamePrefix=f"glacier-backup-{self.application}").get("QueueUrls", [])
        topics = [one["TopicArn"] for one in sns.list_topics()["Topics"] if one["TopicArn"].endswith(self.application)]
        vault: Any = None
        with contextlib.suppress(ClientError):
            reply = self.client("glacier").get_vault_notifications(accountId="-", vaultName=self.vault)
            vault = reply["vaultNotificationConfig"]
        attributes = [sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"] for url in queues]
        for found in attributes:  # they count messages, S3's test among them
            for name in [name for name in found if name.startswith("ApproximateNumber")]:
                del found[name]
        return {
            "queues": attributes,
            "topics": [sns.get_topic_attributes(TopicArn=topic)["Attributes"] for topic in topics],
            "subscriptions": [
                one for one in sns.list_subscriptions()["Subscriptions"] if self.application in one["Endpoint"]
            ],
            "bucket": self.bucket_notifications(),
            "vault": vault,
        }

    def bucket_notifications(self) -> dict[str, Any]:
        reply = self.client("s3").get_bucket_notification_configuration(Bucket=self.bucket)
        del reply["ResponseMetadata"]
        return dict(reply)

    def notify(self, **configuration: Any) -> None:
        self.client("s3").put_bucket_notification_configuration(
            Bucket=self.bucket, NotificationConfiguration=configuration
        )

    def a_queue(self, name: str) -> str:
        """Make another queue; return its ARN."""
        self.client("sqs").create_queue(QueueName=f"{name}-{self.number}")
        return f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}-{self.number}"

    def a_topic(self, name: str) -> str:
        return str(self.client("sns").create_topic(Name=f"{name}-{self.number}")["TopicArn"])

    def outcome(self, setup: Setup) -> list[Any]:
        """What the queue of a setup holds, as a restore reads it."""
        found = self.client("sqs").receive_message(QueueUrl=setup.queue, MaxNumberOfMessages=10, WaitTimeSeconds=2)
        return [
            notification for one in found.get("Messages", []) for notification in parse_notifications(one["Body"]) or ()
        ]


@pytest.fixture(scope="module")
def vault(s3: S3Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultEmulator]:
    directory = tmp_path_factory.mktemp("setup-vault")
    with VaultEmulator(directory, standard_seconds=0.1, sns_endpoint_url=s3.url) as emulator:
        yield emulator


@pytest.fixture
def account(s3: S3Emulator, vault: VaultEmulator) -> Iterator[Account]:
    yield Account(s3, vault)
    s3.plan.clear()


KINDS = pytest.mark.parametrize("kind", ["s3", "vault"])


# --- what is made --------------------------------------------------------------------------------------------------


def test_a_bucket_tells_the_queue_of_the_applications_own_restores(account: Account) -> None:
    setup = account.set_up("s3")
    assert setup.queue.endswith(f"/glacier-backup-{account.application}")
    assert [step.done for step in setup.steps] == ["created", "added"]
    (queue,) = account.everything()["queues"]
    (allowed,) = json.loads(queue["Policy"])["Statement"]
    assert allowed == {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue["QueueArn"],
        "Condition": {
            "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{account.bucket}"},
            "StringEquals": {"aws:SourceAccount": ACCOUNT},
        },
    }
    assert (queue["MessageRetentionPeriod"], queue["ReceiveMessageWaitTimeSeconds"]) == ("86400", "20")
    (notification,) = account.bucket_notifications()["QueueConfigurations"]
    assert notification["Events"] == ["s3:ObjectRestore:Completed", "s3:ObjectRestore:Delete"]
    assert notification["Filter"]["Key"]["FilterRules"][0]["Value"] == f"pre/{account.application}/"


def test_a_vault_tells_the_queue_by_a_topic(account: Account) -> None:
    setup = account.set_up("vault")
    assert [step.done for step in setup.steps] == ["created", "created", "created", "set"]
    made = account.everything()
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:glacier-backup-{account.application}"
    assert made["vault"] == {
        "SNSTopic": topic,
        "Events": ["ArchiveRetrievalCompleted", "InventoryRetrievalCompleted"],
    }
    (allowed,) = json.loads(made["queues"][0]["Policy"])["Statement"]
    assert allowed["Principal"] == {"Service": "sns.amazonaws.com"}
    assert allowed["Condition"] == {"ArnEquals": {"aws:SourceArn": topic}}
    assert [one["TopicArn"] for one in made["subscriptions"]] == [topic]


def test_what_a_vault_publishes_arrives(account: Account, vault: VaultEmulator) -> None:
    setup = account.set_up("vault")
    client = account.client("glacier")
    archive = client.upload_archive(vaultName=account.vault, body=b"x")["archiveId"]
    client.initiate_job(vaultName=account.vault, jobParameters={"Type": "archive-retrieval", "ArchiveId": archive})
    for _ in range(10):
        if found := account.outcome(setup):
            break
    assert [(notification.place, notification.key) for notification in found] == [
        (f"glacier://{account.vault}", archive)
    ]


# --- what is there -------------------------------------------------------------------------------------------------


@KINDS
def test_a_second_setup_changes_nothing(account: Account, kind: str) -> None:
    first = account.set_up(kind)
    before = account.everything()
    second = account.set_up(kind)
    assert account.everything() == before
    assert second.queue == first.queue
    assert [step.changed for step in second.steps] == [False] * len(second.steps)
    assert len(second.steps) >= len(first.steps)


@KINDS
def test_a_trial_changes_nothing_and_says_what_a_setup_does(account: Account, kind: str) -> None:
    before = account.everything()
    trial = account.set_up(kind, dry_run=True)
    assert account.everything() == before
    done = account.set_up(kind)
    assert [step.what for step in trial.steps] == [step.what for step in done.steps]
    assert [step.done for step in trial.steps] == [f"would be {step.done}" for step in done.steps]


@KINDS
@pytest.mark.parametrize("lost", ["queue", "policy", "source"])
def test_what_was_lost_is_made_again(account: Account, kind: str, lost: str) -> None:
    setup = account.set_up(kind)
    before = account.everything()
    sqs = account.client("sqs")
    if lost == "queue":
        sqs.delete_queue(QueueUrl=setup.queue)
    elif lost == "policy":
        sqs.set_queue_attributes(QueueUrl=setup.queue, Attributes={"Policy": ""})
    elif kind == "s3":
        account.notify()
    else:
        account.client("glacier").delete_vault_notifications(accountId="-", vaultName=account.vault)
    account.set_up(kind)
    assert the_same(account.everything()) == the_same(before)


def the_same(state: dict[str, Any]) -> dict[str, Any]:
    """Leave out what a queue made anew has of its own."""
    queues = [
        {name: value for name, value in queue.items() if not name.endswith("Timestamp")} for queue in state["queues"]
    ]
    return {**state, "queues": queues}


def test_the_notifications_of_others_on_a_bucket_stay(account: Account) -> None:
    others = {
        "TopicConfigurations": [{"Id": "t", "TopicArn": account.a_topic("others"), "Events": ["s3:ObjectCreated:*"]}],
        "QueueConfigurations": [
            {"Id": "q", "QueueArn": account.a_queue("others"), "Events": ["s3:ObjectRemoved:*"]},
            an_entry(account.a_queue("neighbours"), "pre/another/"),
        ],
    }
    account.notify(**others)
    before = account.bucket_notifications()
    account.set_up("s3")
    after = account.bucket_notifications()
    mine = after["QueueConfigurations"].pop()
    assert mine["Id"] == f"glacier-backup-{account.application}"
    assert after == before
    assert set(after) == set(others)


def an_entry(queue: str, prefix: str | None, *events: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"Id": "other", "QueueArn": queue, "Events": list(events or ("s3:ObjectRestore:*",))}
    if prefix is not None:
        entry["Filter"] = {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}}
    return entry


@pytest.mark.parametrize("prefix", [None, "pre/", "pre/{0}/files/"])
def test_a_notification_that_is_in_the_way_is_named_and_nothing_is_changed(
    account: Account, prefix: str | None
) -> None:
    prefix = prefix and prefix.format(account.application)
    account.notify(QueueConfigurations=[an_entry(account.a_queue("theirs"), prefix)])
    before = account.everything()
    with pytest.raises(ConfigurationError, match=r"theirs-\d+ already \(notification other\)\. .* SNS topic"):
        account.set_up("s3")
    assert account.everything() == before


def test_the_queue_is_subscribed_to_a_topic_that_the_bucket_tells_already(account: Account) -> None:
    topic = account.a_topic("all-restores")
    account.notify(TopicConfigurations=[{"TopicArn": topic, "Events": ["s3:ObjectRestore:*"]}])
    before = account.bucket_notifications()
    account.set_up("s3")
    assert account.bucket_notifications() == before
    made = account.everything()
    assert [one["TopicArn"] for one in made["subscriptions"]] == [topic]
    assert [step.changed for step in account.set_up("s3").steps] == [False] * 4


def test_the_topic_of_a_vault_stays_and_its_events_too(account: Account) -> None:
    topic = account.a_topic("theirs")
    wanted = {"SNSTopic": topic, "Events": ["InventoryRetrievalCompleted"]}
    account.client("glacier").set_vault_notifications(vaultName=account.vault, vaultNotificationConfig=wanted)
    account.set_up("vault")
    made = account.everything()
    assert made["vault"]["SNSTopic"] == topic
    assert sorted(made["vault"]["Events"]) == ["ArchiveRetrievalCompleted", "InventoryRetrievalCompleted"]
    assert made["topics"] == []
    assert [one["TopicArn"] for one in made["subscriptions"]] == [topic]


def test_the_topic_of_a_store_uri_is_used_and_the_vault_is_left_alone(account: Account) -> None:
    topic = account.a_topic("of-jobs")
    store = f"glacier://{account.vault}?sns_topic={topic}"
    set_up(account.application, store, client=account.client)
    made = account.everything()
    assert made["vault"] is None
    assert [one["TopicArn"] for one in made["subscriptions"]] == [topic]


def test_the_statements_of_others_in_the_policy_of_a_queue_stay(account: Account) -> None:
    arn = account.a_queue("own")
    theirs = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sqs:ReceiveMessage", "Resource": arn}
    url = account.client("sqs").get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
    account.client("sqs").set_queue_attributes(
        QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": theirs})}
    )
    assert account.set_up("s3", queue=arn).queue == url
    kept = account.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
    assert [one["Action"] for one in json.loads(kept)["Statement"]] == ["sqs:ReceiveMessage", "sqs:SendMessage"]
    assert json.loads(kept)["Statement"][0] == theirs
    assert account.everything()["queues"] == []


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["s3://no-such-bucket-anywhere/pre", "glacier://no-such-vault"])
def test_a_store_that_is_not_there_is_told(account: Account, store: str) -> None:
    with pytest.raises(StoreMissing, match="no-such-"):
        set_up(account.application, store, client=account.client)
    assert account.everything()["queues"] == []


def test_a_permission_that_is_missing_is_named(account: Account, s3: S3Emulator) -> None:
    s3.plan.inject("CreateQueue", FaultKind.ACCESS_DENIED)
    with pytest.raises(StoreDenied, match="sqs:CreateQueue on arn:aws:sqs:us-east-1:123456789012:glacier-backup-app"):
        account.set_up("s3")


@pytest.mark.parametrize("queue", [f"arn:aws:sqs:eu-west-1:{ACCOUNT}:q", "arn:aws:sqs:us-east-1:999999999999:q"])
def test_a_queue_elsewhere_is_refused(account: Account, queue: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is not of account 123456789012 in us-east-1"):
        account.set_up("s3", queue=queue)


def test_a_queue_that_s3_does_not_see_yet_is_waited_for(
    account: Account, s3: S3Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "Unable to validate the following destination configurations"
    s3.plan.inject(
        "PutBucketNotificationConfiguration",
        FaultKind.ERROR,
        count=2,
        status=400,
        code="InvalidArgument",
        message=words,
    )
    monkeypatch.setattr(setup, "_PAUSES", (0.01, 0.01))
    account.set_up("s3")
    assert len(account.bucket_notifications()["QueueConfigurations"]) == 1
    account.notify()
    s3.plan.inject("PutBucketNotificationConfiguration", FaultKind.ACCESS_DENIED)
    with pytest.raises(StoreDenied, match="s3:PutBucketNotification"):
        account.set_up("s3")


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def configured(account: Account, s3: S3Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An applications.yaml with the account's application, and its AWS connection."""
    import yaml

    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", aws_connection(s3.url))
    fields = {name: value for name, value in SETTINGS.items() if name != "name"}
    path = tmp_path / "applications.yaml"
    entry = {**fields, "store": account.store("s3"), "aws_conn_id": "aws_default"}
    path.write_text(yaml.safe_dump({"applications": {account.application: entry}}))
    return path


def test_the_command_says_what_it_did_and_what_belongs_into_the_configuration(
    account: Account, configured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["setup-notifications", "--applications", str(configured), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "would be created" in told
    assert told.endswith("Nothing was changed.\n")
    assert account.everything()["queues"] == []

    assert main(["setup-notifications", "--applications", str(configured), account.application]) == 0
    told = capsys.readouterr().out
    queue = told.rsplit("queue: ", 1)[1].strip()
    assert queue.endswith(f"/glacier-backup-{account.application}")
    assert f"arn:aws:sqs:us-east-1:{ACCOUNT}:glacier-backup-{account.application}: created" in told

    assert main(["setup-notifications", "--applications", str(configured), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["queue"] == queue
    assert {step["done"] for step in told["steps"]} == {"is there"}


def test_the_command_takes_another_store_of_the_application(
    account: Account, configured: Path, s3: S3Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    old = s3.create_bucket(f"old-{account.bucket}")
    arguments = ["setup-notifications", "--applications", str(configured)]
    assert main(arguments) == main([*arguments, "--store", f"s3://{old}/pre"]) == 0
    (queue,) = account.everything()["queues"]
    sources = [one["Condition"]["ArnEquals"]["aws:SourceArn"] for one in json.loads(queue["Policy"])["Statement"]]
    assert sources == [f"arn:aws:s3:::{account.bucket}", f"arn:aws:s3:::{old}"]


def test_the_command_wants_a_name_when_there_are_several(configured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    document = yaml.safe_load(configured.read_text())
    (entry,) = document["applications"].values()
    document["applications"]["other"] = {**entry, "files_directory": "/srv/other"}
    configured.write_text(yaml.safe_dump(document))
    assert main(["setup-notifications", "--applications", str(configured)]) == 1
    assert "setup-notifications app-" in capsys.readouterr().err
