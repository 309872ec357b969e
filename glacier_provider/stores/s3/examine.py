"""Whether a bucket will do, found out without leaving anything in it: each permission is tried on what is not there."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from glacier_provider.core.diagnosis import CLOCK_SECONDS, Diagnosis, Judgement, lifecycle_diagnoses
from glacier_provider.core.store_uri import S3Uri
from glacier_provider.errors import GlacierProviderError
from glacier_provider.stores.aws_errors import aws_errors, error_code, http_status
from glacier_provider.stores.s3.bucket import Bucket

_DENIED = {"403", "AccessDenied", "Forbidden"}


def examine_bucket(uri: S3Uri, client: Any) -> Iterator[Diagnosis]:
    """Yield what is found out about a bucket, its settings and the permissions in it; nothing is left there."""
    place = f"s3://{uri.bucket}"
    try:
        with aws_errors("s3:ListBucket", place):
            reply = client.list_objects_v2(Bucket=uri.bucket, Prefix=uri.prefix, MaxKeys=1)
    except GlacierProviderError as error:
        yield Diagnosis("bucket", Judgement.WRONG, error.message, error.hint)
        return
    yield Diagnosis("bucket", Judgement.WELL, f"{place} answers, and may be listed")
    yield from _clock(reply)
    versioned = yield from _versioning(uri, client)
    yield from _settings(uri, client)
    yield from _permissions(uri, client, versioned=versioned)


def _clock(reply: Any) -> Iterator[Diagnosis]:
    date = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if not date:
        return
    off = (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    if abs(off) > CLOCK_SECONDS:
        told = f"this machine's clock is {abs(off):.0f} seconds {'ahead of' if off > 0 else 'behind'} the store's"
        yield Diagnosis("clock", Judgement.WRONG, told, "Synchronise it (chrony, systemd-timesyncd): S3 refuses it.")
    else:
        yield Diagnosis("clock", Judgement.WELL, "this machine's clock is that of the store")


def _versioning(uri: S3Uri, client: Any) -> Generator[Diagnosis, None, bool]:
    """Yield what versioning means here; the generator returns whether the bucket keeps old versions."""
    try:
        status = client.get_bucket_versioning(Bucket=uri.bucket).get("Status")
    except Exception as error:  # noqa: BLE001 - read or not, it is told
        yield _not_read("bucket versioning", "s3:GetBucketVersioning", error)
        return True
    if status == "Enabled":
        yield Diagnosis("bucket versioning", Judgement.WELL, "old versions are kept, and paid for after deletions, too")
    return status in ("Enabled", "Suspended")


def _settings(uri: S3Uri, client: Any) -> Iterator[Diagnosis]:
    try:
        rules = client.get_bucket_lifecycle_configuration(Bucket=uri.bucket).get("Rules", [])
    except Exception as error:  # noqa: BLE001 - as above
        if error_code_of(error) != "NoSuchLifecycleConfiguration":
            yield _not_read("bucket lifecycle", "s3:GetLifecycleConfiguration", error)
        else:
            yield from lifecycle_diagnoses([], uri.prefix)
    else:
        yield from lifecycle_diagnoses(rules, uri.prefix)
    try:
        block = client.get_public_access_block(Bucket=uri.bucket)["PublicAccessBlockConfiguration"]
    except Exception as error:  # noqa: BLE001 - as above
        if error_code_of(error) != "NoSuchPublicAccessBlockConfiguration":
            yield _not_read("public access", "s3:GetBucketPublicAccessBlock", error)
            return
        block = {}
    if not all(block.get(name) for name in ("BlockPublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")):
        told = "public access to the bucket is not blocked: one policy or ACL would publish the dumps"
        mend = "Block all public access to the bucket: doctor --fix-print has it for Terraform."
        yield Diagnosis("public access", Judgement.DOUBTFUL, told, mend)


def _permissions(uri: S3Uri, client: Any, *, versioned: bool) -> Iterator[Diagnosis]:
    nothing = "/".join(filter(None, (uri.prefix, f".glacier-doctor-{uuid.uuid4().hex}")))
    place = {"Bucket": uri.bucket, "Key": nothing}

    # With class, encryption and lock: a key may be denied, and a bucket may have no lock or demand encryption.
    as_written = Bucket(uri, client).write_arguments(uri.storage_class)

    def write() -> None:
        upload = client.create_multipart_upload(**place, **as_written)["UploadId"]
        with suppress(Exception):
            client.abort_multipart_upload(**place, UploadId=upload)

    def abort() -> None:
        upload = client.create_multipart_upload(**place, **as_written)["UploadId"]
        client.abort_multipart_upload(**place, UploadId=upload)

    tries: dict[str, Callable[[], Any]] = {
        "s3:PutObject": write,
        "s3:AbortMultipartUpload": abort,
        "s3:GetObject": lambda: client.head_object(**place),
        "s3:RestoreObject": lambda: client.restore_object(**place, RestoreRequest={"Days": 1}),
        "s3:ListBucketMultipartUploads": lambda: client.list_multipart_uploads(Bucket=uri.bucket, MaxUploads=1),
    }
    if not uri.is_cold:
        del tries["s3:RestoreObject"]
    if not versioned:
        tries["s3:DeleteObject (for retention)"] = lambda: client.delete_object(**place)
    for action, attempt in tries.items():
        yield from _tried(action, attempt, uri)


def _tried(action: str, attempt: Callable[[], Any], uri: S3Uri) -> Iterator[Diagnosis]:
    """Yield whether a request was allowed: that there is no such object is as good an answer as any."""
    from botocore.exceptions import ClientError

    about = f"permission {action}"
    try:
        attempt()
    except ClientError as error:
        if error_code(error) in _DENIED or http_status(error) == 403:
            optional = action.startswith("s3:DeleteObject")
            where = f"s3://{uri.bucket}/{uri.prefix}"
            mend = f"Allow {_needed(action, uri)} on {where}: doctor --fix-print has the policy."
            judgement = Judgement.DOUBTFUL if optional else Judgement.WRONG
            yield Diagnosis(about, judgement, f"{action} is not allowed", mend)
            return
        if http_status(error) == 400:
            words = str(error.response.get("Error", {}).get("Message") or "").rstrip(".")
            told = f"{action} is refused: {error_code(error)}" + (f" ({words})" if words else "")
            mend = "Compare the parameters of the store's URI (sse, kms_key_id, object_lock_days) with the bucket."
            yield Diagnosis(about, Judgement.WRONG, told, mend)
            return
        if http_status(error) != 404:
            yield Diagnosis(about, Judgement.UNTRIED, f"the store answered {error_code(error)}", "Try again later.")
            return
    except Exception as error:  # noqa: BLE001 - told like the others
        yield Diagnosis(about, Judgement.UNTRIED, f"no answer ({type(error).__name__})", "Try again later.")
        return
    yield Diagnosis(about, Judgement.WELL, f"{action} is allowed")


def _needed(action: str, uri: S3Uri) -> str:
    """Return what a request needs: with a key or a lock more than its own name says."""
    needed = [action.partition(" ")[0]]
    if action in ("s3:PutObject", "s3:AbortMultipartUpload"):
        needed += ["kms:GenerateDataKey and kms:Decrypt of the key"] if uri.kms_key_id is not None else []
        needed += ["s3:PutObjectRetention"] if uri.object_lock_days is not None else []
    return ", ".join(needed)


def error_code_of(error: BaseException) -> str:
    """Return the code of an error of AWS, "" of any other."""
    return error_code(error) if hasattr(error, "response") else ""


def _not_read(about: str, action: str, error: BaseException) -> Diagnosis:
    code = error_code_of(error) or type(error).__name__
    return Diagnosis(
        about, Judgement.UNTRIED, f"it could not be read ({code})", f"To have it looked at, allow {action}."
    )
