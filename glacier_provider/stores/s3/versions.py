"""What a versioned bucket keeps beside the current objects: versions that were replaced or deleted, delete markers.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html; both are billed, and a delete marker that is the
newest of its key hides what is below it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from glacier_provider.stores.aws_errors import aws_errors
from glacier_provider.stores.contract import OldVersion
from glacier_provider.stores.s3.bucket import Bucket
from glacier_provider.stores.s3.keys import folder_of


def old_versions(bucket: Bucket, application: str) -> Iterator[OldVersion] | None:
    """Yield them for one application; None for a bucket that never had versions. Raise StoreDenied."""
    with aws_errors("s3:GetBucketVersioning", bucket.url()):
        status = bucket.client.get_bucket_versioning(Bucket=bucket.uri.bucket).get("Status")
    return _old_versions(bucket, folder_of(bucket.uri.prefix, application)) if status else None


def _old_versions(bucket: Bucket, folder: str) -> Iterator[OldVersion]:
    for page in _pages(bucket, folder):
        for entry in page.get("Versions", []):
            if not entry.get("IsLatest"):
                yield OldVersion(entry["Key"], entry.get("Size") or 0, marker=False, hides=False)
        for entry in page.get("DeleteMarkers", []):
            yield OldVersion(entry["Key"], 0, marker=True, hides=bool(entry.get("IsLatest")))


def _pages(bucket: Bucket, folder: str) -> Iterator[Any]:
    marks: dict[str, str] = {}
    while True:
        with aws_errors("s3:ListBucketVersions", bucket.url(folder)):
            page = bucket.client.list_object_versions(Bucket=bucket.uri.bucket, Prefix=folder, **marks)
        yield page
        if not page.get("IsTruncated"):
            return
        marks = {"KeyMarker": page["NextKeyMarker"]}
        if page.get("NextVersionIdMarker"):
            marks["VersionIdMarker"] = page["NextVersionIdMarker"]
