"""Many objects of a bucket deleted by one request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.errors import KeyTaken, StoreError
from glacier_provider.stores.aws_errors import aws_errors
from glacier_provider.stores.s3.bucket import Bucket
from glacier_provider.stores.s3.keys import KeyFacts, key_facts

#: What one DeleteObjects takes at most: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
AT_ONCE = 1000


def delete_all(bucket: Bucket, archives: Sequence[tuple[str, Description]]) -> dict[str, StoreError]:
    """Delete archives, given by key and description; return by key why some could not be.

    A key that `object_key` would not give to the archive described is left alone. A request that fails as a whole
    answers for all its keys, and the ones after it are still sent.
    """
    failed: dict[str, StoreError] = {}
    ours: list[str] = []
    for key, description in archives:
        if _is_key_of(bucket.uri.prefix, key, description):
            ours.append(key)
        else:
            failed[key] = KeyTaken(
                f"{bucket.url(key)} is not the key of archive {description.archive_id} of {description.application}; "
                "it was left alone."
            )
    for start in range(0, len(ours), AT_ONCE):
        failed |= _delete(bucket, ours[start : start + AT_ONCE])
    return failed


def _is_key_of(prefix: str, key: str, description: Description) -> bool:
    manifest = description.kind is ArchiveKind.MANIFEST
    number = description.backup_id if manifest else description.archive_id
    return key_facts(prefix, key) == KeyFacts(description.application, description.kind, number)


def _delete(bucket: Bucket, keys: Sequence[str]) -> dict[str, StoreError]:
    try:
        errors = bucket.delete_objects(keys)
    except StoreError as error:
        return dict.fromkeys(keys, error)
    return {key: _refused(bucket, entry) for key, entry in errors.items()}


def _refused(bucket: Bucket, entry: Mapping[str, Any]) -> StoreError:
    """Return what an entry of the reply's errors means: the same as if its object had been asked for alone."""
    from botocore.exceptions import ClientError

    try:
        with aws_errors("s3:DeleteObject", bucket.url(entry["Key"])):
            raise ClientError({"Error": {"Code": entry["Code"], "Message": entry.get("Message", "")}}, "DeleteObject")
    except StoreError as error:
        return error
