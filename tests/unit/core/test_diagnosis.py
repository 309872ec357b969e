"""What the rules of a bucket do to archives, and the policies and files that are printed."""

from __future__ import annotations

from typing import Any

import pytest

from glacier_provider.core.diagnosis import (
    Diagnosis,
    Judgement,
    Needed,
    lifecycle_diagnoses,
    policy_of,
    role_of,
    terraform_of,
)
from glacier_provider.core.store_uri import parse_store_uri

DAYS, MOVE = {"Days": 30}, {"Days": 9, "StorageClass": "DEEP_ARCHIVE"}
ABORTS = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 14}}


def judged(*rules: dict[str, Any], prefix: str = "pre/dms") -> list[Diagnosis]:
    return list(lifecycle_diagnoses([{"ID": "rule", "Status": "Enabled", **rule} for rule in rules], prefix))


def below(prefix: str) -> dict[str, Any]:
    return {"Filter": {"Prefix": prefix}}


@pytest.mark.parametrize(
    ("rule", "judgement"),
    [
        ({"Expiration": DAYS}, Judgement.WRONG),
        ({**below(""), "Expiration": DAYS}, Judgement.WRONG),
        ({**below("pre/"), "Expiration": DAYS}, Judgement.WRONG),
        ({**below("pre/dms/"), "Expiration": DAYS}, Judgement.WRONG),
        ({**below("pre/dms/library/files/"), "Expiration": DAYS}, Judgement.WRONG),
        ({**below("p"), "Expiration": DAYS}, Judgement.WRONG),
        ({"Prefix": "pre/", "Expiration": DAYS}, Judgement.WRONG),
        ({"Filter": {"And": {"Prefix": "pre/", "Tags": []}}, "Expiration": DAYS}, Judgement.WRONG),
        ({"Expiration": {"Date": "2027-01-01"}}, Judgement.WRONG),
        ({"Transitions": [MOVE]}, Judgement.DOUBTFUL),
        ({**below("pre/dms/"), "Transitions": [MOVE]}, Judgement.DOUBTFUL),
        ({"Expiration": {"ExpiredObjectDeleteMarker": True}}, None),
        ({"Status": "Disabled", "Expiration": DAYS, "Transitions": [MOVE]}, None),
        ({**below("logs/"), "Expiration": DAYS, "Transitions": [MOVE]}, None),
        ({**below("pre/dms-of-others/"), "Expiration": DAYS}, None),
        ({"Filter": {"And": {"Prefix": "logs/", "Tags": []}}, "Expiration": DAYS}, None),
        ({"Prefix": "logs/", "Expiration": DAYS}, None),
    ],
)
def test_a_rule_is_told_that_deletes_or_moves_archives(rule: dict[str, Any], judgement: Judgement | None) -> None:
    found = judged(rule, ABORTS)
    assert [one.judgement for one in found] == ([judgement] if judgement else [])
    assert all("rule" in one.told and one.mend for one in found)


@pytest.mark.parametrize(
    ("rule", "all_is_well"),
    [
        (ABORTS, True),
        ({**below(""), **ABORTS}, True),
        ({**below("pre/"), **ABORTS}, True),
        ({**below("pre/dms/"), **ABORTS}, True),
        ({**below("pre/dms/library/"), **ABORTS}, False),
        ({**below("logs/"), **ABORTS}, False),
        ({**ABORTS, "Status": "Disabled"}, False),
        ({}, False),
    ],
)
def test_a_rule_has_to_abort_what_a_dead_worker_left_of_every_upload(rule: dict[str, Any], all_is_well: bool) -> None:
    assert [one.judgement for one in judged(rule)] == ([] if all_is_well else [Judgement.DOUBTFUL])


def test_without_a_prefix_every_rule_is_about_archives() -> None:
    assert [one.judgement for one in judged({**below("logs/"), "Expiration": DAYS}, ABORTS, prefix="")] == [
        Judgement.WRONG
    ]


def allowed(store: str) -> dict[str, set[str]]:
    """Return what a policy allows, by resource."""
    policy = policy_of(parse_store_uri(store))
    assert policy["Version"] == "2012-10-17"
    found: dict[str, set[str]] = {}
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        actions = statement["Action"]
        found.setdefault(statement["Resource"], set()).update([actions] if isinstance(actions, str) else actions)
    return found


OF_BUCKET = {"s3:ListBucket", "s3:ListBucketMultipartUploads"}
OF_OBJECTS = {
    "s3:PutObject",
    "s3:GetObject",
    "s3:RestoreObject",
    "s3:ListMultipartUploadParts",
    "s3:AbortMultipartUpload",
}
KEY = "arn:aws:kms:eu-central-1:123456789012:key/1"


@pytest.mark.parametrize(
    ("options", "of_objects", "of_keys"),
    [
        ("", OF_OBJECTS, {}),
        ("&object_lock_days=30", {*OF_OBJECTS, "s3:PutObjectRetention"}, {}),
        (f"&sse=aws:kms&kms_key_id={KEY}", OF_OBJECTS, {KEY: {"kms:GenerateDataKey", "kms:Decrypt"}}),
    ],
)
def test_the_policy_of_a_bucket_allows_what_backups_and_restores_do(
    options: str, of_objects: set[str], of_keys: dict[str, set[str]]
) -> None:
    assert allowed(f"s3://bucket/pre?storage_class=GLACIER{options}") == {
        "arn:aws:s3:::bucket": OF_BUCKET,
        "arn:aws:s3:::bucket/pre/*": of_objects,
        "arn:aws:s3:::bucket/pre/*/manifests/*": {"s3:DeleteObject"},
        **of_keys,
    }
    assert "arn:aws:s3:::bucket/*" in allowed("s3://bucket")


@pytest.mark.parametrize(
    ("key", "resource", "alias"),
    [
        (KEY, KEY, None),
        ("1234abcd", "arn:aws:kms:*:*:key/1234abcd", None),
        ("alias/backups", "arn:aws:kms:*:*:key/*", "alias/backups"),
        ("arn:aws:kms:eu-central-1:123456789012:alias/backups", "arn:aws:kms:*:*:key/*", "alias/backups"),
    ],
)
def test_a_key_is_named_as_policies_name_keys(key: str, resource: str, alias: str | None) -> None:
    statement = policy_of(parse_store_uri(f"s3://bucket?sse=aws:kms&kms_key_id={key}"))["Statement"][-1]
    assert statement["Resource"] == resource
    condition = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}} if alias else None
    assert statement.get("Condition") == condition


def test_the_policy_of_a_vault_allows_what_backups_and_restores_do() -> None:
    ((resource, actions),) = allowed("glacier://my-vault").items()
    assert resource == "arn:aws:glacier:*:*:vaults/my-vault"
    assert actions == {
        f"glacier:{one}"
        for one in (
            *("DescribeVault", "UploadArchive", "InitiateMultipartUpload", "UploadMultipartPart", "ListParts"),
            *("ListMultipartUploads", "CompleteMultipartUpload", "AbortMultipartUpload"),
            *("InitiateJob", "DescribeJob", "ListJobs", "GetJobOutput"),
        )
    }


@pytest.mark.parametrize(("options", "locked"), [("", False), ("&object_lock_days=30", True)])
def test_terraform_makes_a_bucket_that_can_be_locked_where_that_is_asked_for(options: str, locked: bool) -> None:
    text = terraform_of("my-dms", parse_store_uri(f"s3://bucket/pre?storage_class=GLACIER{options}"))
    assert ("object_lock_enabled = true" in text) is locked
    assert 'resource "aws_s3_bucket" "my_dms"' in text
    assert 'resource "aws_glacier_vault" "my_dms"' in terraform_of("my-dms", parse_store_uri("glacier://vault"))


ROLE = "arn:aws:iam::123456789012:role/backups/glacier-batch"
COLD = "s3://bucket/pre?storage_class=GLACIER"


def role(store: str = COLD, **needed: Any) -> Any:
    return role_of(parse_store_uri(store), Needed(role_arn=ROLE, **needed))


@pytest.mark.parametrize(
    ("store", "asks_by_batch", "may_ask"),
    [(COLD, True, True), (COLD, False, False), ("s3://bucket/pre?storage_class=GLACIER_IR", True, False)],
)
def test_the_role_of_batch_operations_reads_the_manifest_writes_the_report_and_asks_where_it_is_to(
    store: str, asks_by_batch: bool, may_ask: bool
) -> None:
    allowed = {
        one["Resource"]: one["Action"] for one in role(store, asks_by_batch=asks_by_batch)["policy"]["Statement"]
    }
    reads = ["s3:GetObject", "s3:GetObjectVersion", *(["s3:RestoreObject"] if may_ask else [])]
    assert allowed == {
        "arn:aws:s3:::bucket/pre/*": reads,
        "arn:aws:s3:::bucket/pre/.glacier-batch/*": "s3:PutObject",
    }


@pytest.mark.parametrize(("account", "whose"), [(None, "123456789012"), ("210987654321", "210987654321")])
def test_only_batch_operations_of_the_account_may_take_the_role(account: str | None, whose: str) -> None:
    (statement,) = role(account=account)["trust"]["Statement"]
    assert statement["Principal"] == {"Service": "batchoperations.s3.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": whose}}


def test_the_role_reads_what_a_key_encrypts() -> None:
    statement = role(f"s3://bucket?sse=aws:kms&kms_key_id={KEY}")["policy"]["Statement"][-1]
    assert (statement["Action"], statement["Resource"]) == ("kms:Decrypt", KEY)


def test_terraform_makes_the_role_that_is_named_and_none_where_none_is() -> None:
    uri = parse_store_uri(COLD)
    text = terraform_of("my-dms", uri, Needed(role_arn=ROLE, asks_by_batch=True))
    assert 'resource "aws_iam_role" "my_dms_batch"' in text
    assert '"glacier-batch"' in text
    assert '"/backups/"' in text
    assert '"s3:RestoreObject"' in text.partition("aws_iam_role_policy")[2]
    assert "aws_iam_role" not in terraform_of("my-dms", uri)
    assert role_of(parse_store_uri("glacier://vault"), Needed(role_arn=ROLE)) is None
