"""What `doctor` found out about one thing, and what mends it; the policies and statements that it prints. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from glacier_provider.core.notification import parse_queue
from glacier_provider.core.store_uri import S3Uri, StoreUri

#: Clocks that differ by more are refused by S3 soon: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
CLOCK_SECONDS = 300


class Judgement(StrEnum):
    WELL = "well"
    DOUBTFUL = "doubtful"  #: it works, and something about it will be regretted
    WRONG = "wrong"  #: backups or restores will fail
    UNTRIED = "not tried"  #: it could not be looked at from here


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at: what it is about, how it is, and what to do when it is not well."""

    about: str
    judgement: Judgement
    told: str
    mend: str = ""

    def as_dict(self) -> dict[str, str]:
        return {"about": self.about, "judgement": self.judgement.value, "told": self.told, "mend": self.mend}


def lifecycle_diagnoses(rules: Iterable[dict[str, Any]], prefix: str) -> Iterator[Diagnosis]:
    """Yield what the lifecycle rules of a bucket do to archives below a prefix, and what they should do and do not."""
    about, aborts = "bucket lifecycle", False
    ours = f"{prefix}/" if prefix else ""
    for rule in rules:
        if rule.get("Status") != "Enabled":
            continue
        name = rule.get("ID") or "without a name"
        given = rule.get("Filter") or {}
        of = given.get("Prefix") or (given.get("And") or {}).get("Prefix") or rule.get("Prefix") or ""
        aborts = aborts or ("AbortIncompleteMultipartUpload" in rule and ours.startswith(of))
        if not (of.startswith(ours) or ours.startswith(of)):
            continue
        expiration = rule.get("Expiration") or {}
        if "Days" in expiration or "Date" in expiration:
            told = f"the lifecycle rule {name} deletes what is below {of or 'the whole bucket'}, archives with it"
            yield Diagnosis(about, Judgement.WRONG, told, "Remove its Expiration, or limit it to another prefix.")
        for move in rule.get("Transitions") or ():
            told = f"the lifecycle rule {name} moves archives to {move.get('StorageClass')} behind the catalog's back"
            yield Diagnosis(about, Judgement.DOUBTFUL, told, "Remove it, and set storage_class in the store's URI.")
    if not aborts:
        yield Diagnosis(
            about,
            Judgement.DOUBTFUL,
            "no lifecycle rule aborts incomplete uploads: parts that a dead worker left are paid for ever",
            "Add a rule with AbortIncompleteMultipartUpload, DaysAfterInitiation 14: doctor --fix-print has it for "
            "Terraform, the operations guide for the command line of AWS.",
        )


@dataclass(frozen=True, slots=True)
class Needed:
    """What an application does beyond backups and restores, and needs permissions for."""

    queue: str | None = None  #: of notifications: its URL, ARN or name
    role_arn: str | None = None  #: that S3 Batch Operations take
    account: str | None = None  #: whose jobs these are
    verifies: bool = False
    asks_by_batch: bool = False  #: for very many retrievals
    report_prefix: str = ".glacier-batch"


def bucket_policy(uri: S3Uri) -> dict[str, Any]:
    """Return the IAM policy that backups and restores into a bucket need; deletions need more."""
    bucket = f"arn:aws:s3:::{uri.bucket}"
    below = f"{bucket}/{uri.prefix}" if uri.prefix else bucket
    actions = ["s3:PutObject", "s3:GetObject", "s3:RestoreObject", "s3:ListMultipartUploadParts"]
    actions += ["s3:AbortMultipartUpload"] + (["s3:PutObjectRetention"] if uri.object_lock_days is not None else [])
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads"], "Resource": bucket},
        {"Effect": "Allow", "Action": actions, "Resource": f"{below}/*"},
        {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": f"{below}/*/manifests/*"},
    ]
    if uri.kms_key_id is not None:
        statements.append(_key_statement(uri.kms_key_id))
    return {"Version": "2012-10-17", "Statement": statements}


def _key_statement(key: str) -> dict[str, Any]:
    """Return what allows to encrypt with a key, by its ARN, id or alias.

    An alias names no key as the resource of a policy, and a condition does:
    https://docs.aws.amazon.com/kms/latest/developerguide/alias-authorization.html
    """
    allow: dict[str, Any] = {"Effect": "Allow", "Action": ["kms:GenerateDataKey", "kms:Decrypt"]}
    _, is_alias, alias = key.partition("alias/")
    if is_alias:
        condition = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": f"alias/{alias}"}}
        return {**allow, "Resource": "arn:aws:kms:*:*:key/*", "Condition": condition}
    return {**allow, "Resource": key if key.startswith("arn:") else f"arn:aws:kms:*:*:key/{key}"}


def vault_policy(vault: str) -> dict[str, Any]:
    """Return the IAM policy that backups and restores into a vault need."""
    actions = [
        *("DescribeVault", "UploadArchive", "InitiateMultipartUpload", "UploadMultipartPart", "ListParts"),
        *("ListMultipartUploads", "CompleteMultipartUpload", "AbortMultipartUpload"),
        *("InitiateJob", "DescribeJob", "ListJobs", "GetJobOutput"),
    ]
    resource = f"arn:aws:glacier:*:*:vaults/{vault}"
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": [f"glacier:{one}" for one in actions], "Resource": resource}],
    }


def policy_of(uri: StoreUri, needed: Needed = Needed()) -> dict[str, Any]:
    """Return the IAM policy that an application needs for what it does."""
    policy = bucket_policy(uri) if isinstance(uri, S3Uri) else vault_policy(uri.vault)
    statements: list[dict[str, Any]] = policy["Statement"]
    if isinstance(uri, S3Uri):
        statements += _verifying(uri, needed)
    if needed.queue is not None:
        queue = parse_queue(needed.queue)
        actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", *([] if queue.url else ["sqs:GetQueueUrl"])]
        resource = f"arn:aws:sqs:{queue.region or '*'}:{queue.account or '*'}:{queue.name}"
        statements.append({"Effect": "Allow", "Action": actions, "Resource": resource})
    return policy


def _verifying(uri: S3Uri, needed: Needed) -> Iterator[dict[str, Any]]:
    bucket = f"arn:aws:s3:::{uri.bucket}"
    if needed.verifies:
        actions = ["s3:GetBucketVersioning", "s3:ListBucketVersions"]
        yield {"Effect": "Allow", "Action": actions, "Resource": bucket}
    if needed.role_arn is not None:
        reports = "/".join(filter(None, (bucket, uri.prefix, needed.report_prefix, "*")))
        yield {"Effect": "Allow", "Action": ["s3:CreateJob", "s3:DescribeJob", "s3:ListJobs"], "Resource": "*"}
        yield {"Effect": "Allow", "Action": "iam:PassRole", "Resource": needed.role_arn}
        yield {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": reports}


def role_of(uri: StoreUri, needed: Needed) -> dict[str, Any] | None:
    """Return the role that S3 Batch Operations take: its `arn`, who may take it (`trust`), and what it may do
    (`policy`), as IAM wants them; None where no role is named, or the store has no use for one.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-iam-role-policies.html
    """
    if needed.role_arn is None or not isinstance(uri, S3Uri):
        return None
    partition, account = needed.role_arn.split(":")[1], needed.account or needed.role_arn.split(":")[4]
    below = "/".join(filter(None, (f"arn:{partition}:s3:::{uri.bucket}", uri.prefix)))
    asks = ["s3:RestoreObject"] if needed.asks_by_batch and uri.is_cold else []
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjectVersion", *asks], "Resource": f"{below}/*"},
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"{below}/{needed.report_prefix}/*"},
    ]
    if uri.kms_key_id is not None:
        statements.append({**_key_statement(uri.kms_key_id), "Action": "kms:Decrypt"})
    takes = {
        "Effect": "Allow",
        "Principal": {"Service": "batchoperations.s3.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": account}},
    }
    return {
        "arn": needed.role_arn,
        "trust": {"Version": "2012-10-17", "Statement": [takes]},
        "policy": {"Version": "2012-10-17", "Statement": statements},
    }


def terraform_of(name: str, uri: StoreUri, needed: Needed = Needed()) -> str:
    """Return a Terraform file that makes a store as an application wants it, with the policy for its user."""
    label = name.replace("-", "_")
    if not isinstance(uri, S3Uri):
        place = f'resource "aws_glacier_vault" "{label}" {{\n  name = {json.dumps(uri.vault)}\n}}\n'
    else:
        lock = "\n  object_lock_enabled = true" if uri.object_lock_days is not None else ""
        place = f"""\
resource "aws_s3_bucket" "{label}" {{
  bucket = {json.dumps(uri.bucket)}{lock}
}}

resource "aws_s3_bucket_public_access_block" "{label}" {{
  bucket                  = aws_s3_bucket.{label}.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}}

resource "aws_s3_bucket_lifecycle_configuration" "{label}" {{
  bucket = aws_s3_bucket.{label}.id

  rule {{
    id     = "incomplete-uploads"
    status = "Enabled"
    filter {{}}
    abort_incomplete_multipart_upload {{
      days_after_initiation = 14
    }}
  }}
}}
"""
    policy = json.dumps(policy_of(uri, needed), indent=2)
    head = f'resource "aws_iam_policy" "{label}" {{\n  name   = "glacier-backup-{name}"\n  policy = <<-EOT\n'
    role = role_of(uri, needed)
    return f"{place}\n{head}{policy}\nEOT\n}}\n" + (_terraform_role(name, label, role) if role else "")


def _terraform_role(name: str, label: str, role: dict[str, Any]) -> str:
    *folders, role_name = role["arn"].partition(":role/")[2].split("/")
    path = f"/{'/'.join(folders)}/" if folders else "/"
    trust, policy = (json.dumps(role[what], indent=2) for what in ("trust", "policy"))
    return f"""
resource "aws_iam_role" "{label}_batch" {{
  name               = {json.dumps(role_name)}
  path               = {json.dumps(path)}
  assume_role_policy = <<-EOT
{trust}
EOT
}}

resource "aws_iam_role_policy" "{label}_batch" {{
  name   = "glacier-backup-{name}"
  role   = aws_iam_role.{label}_batch.id
  policy = <<-EOT
{policy}
EOT
}}
"""
