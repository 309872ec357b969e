"""The state of many retrievals with few requests.

A listing tells the state of up to 1,000 objects (RestoreStatus,
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html), a HEAD that of one. Keys come in the order of
their archive ids, so the wanted keys, sorted, are merged with listings that begin at the next wanted key. Where the
wanted keys stand too thinly for a listing to pay, that key is asked for by HEAD.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import unescape
from typing import Any

from glacier_provider.core.parts import LISTED_AT_ONCE, WORTH_LISTING
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.core.store_uri import COLD_CLASSES
from glacier_provider.stores.contract import RetrievalReport
from glacier_provider.stores.s3.bucket import Bucket
from glacier_provider.stores.s3.fast.client import FastPath
from glacier_provider.stores.s3.keys import folder_of, id_path, key_facts

_CONTENTS = re.compile(r"<Contents>(.*?)</Contents>", re.DOTALL)
_FIELD = re.compile(r"<(Key|StorageClass|IsRestoreInProgress|RestoreExpiryDate)>([^<]*)<")
_TRUNCATED = re.compile(r"<IsTruncated>(true|false)</IsTruncated>")


def reports(bucket: Bucket, keys: Sequence[str], fast_path: FastPath | None = None) -> Iterator[RetrievalReport]:
    """Yield one report for each key, in the keys' order; equal keys are reported once.

    Pages come by the fast path where there is one: botocore takes some ten times as long to understand one.
    """
    wanted = sorted(set(keys))
    position = 0
    while position < len(wanted):
        reach = _within_reach(bucket.uri.prefix, wanted, position)
        found, last = _listed_from(bucket, wanted[position], fast_path) if reach >= WORTH_LISTING else ({}, "")
        end = bisect.bisect_right(wanted, last, position) if last is not None else position + reach
        if end == position:  # no listing, or one that holds nothing but foreign keys before the wanted one
            yield _one(bucket, wanted[position])
            position += 1
        for key in wanted[position:end]:
            yield found.get(key) or _missing(key)
        position = max(position, end)


def _within_reach(prefix: str, wanted: Sequence[str], position: int) -> int:
    """Return how many wanted keys a listing from `position` reports at least.

    Ids are taken by one sequence: no more than `LISTED_AT_ONCE` objects of one folder lie between two ids that far
    apart.
    """
    first = key_facts(prefix, wanted[position])
    if first is None:
        return 0
    folder = folder_of(prefix, first.application, first.kind)
    beyond = bisect.bisect_left(wanted, folder + id_path(first.number + LISTED_AT_ONCE), position)
    return beyond - position


def _listed_from(
    bucket: Bucket, key: str, fast_path: FastPath | None
) -> tuple[Mapping[str, RetrievalReport], str | None]:
    """List a page that begins with `key`; return its reports and the last key, None when the folder ends in it."""
    facts = key_facts(bucket.uri.prefix, key)
    assert facts is not None
    folder = folder_of(bucket.uri.prefix, facts.application, facts.kind)
    data = fast_path.list_page(folder, key[:-1], LISTED_AT_ONCE) if fast_path is not None else None
    if data is not None and (understood := understood_page(data)) is not None:
        return understood
    pages = bucket.pages(
        folder,
        StartAfter=key[:-1],  # every other key before `key` is also before this
        MaxKeys=LISTED_AT_ONCE,
        OptionalObjectAttributes=["RestoreStatus"],
    )
    page = next((page for page in pages if page.get("Contents")), {})  # an empty one may have others behind it
    entries = page.get("Contents", [])
    last = entries[-1]["Key"] if page.get("IsTruncated") else None
    return {entry["Key"]: _report(entry) for entry in entries}, last


def understood_page(data: bytes) -> tuple[Mapping[str, RetrievalReport], str | None] | None:
    """Return the same of a page as S3 sends it; None for one that is cut, or of another form than is usual."""
    try:
        text = data.decode("utf-8")
        entries = [_entry(one) for one in _CONTENTS.findall(text)]
    except (ValueError, KeyError):
        return None
    told = _TRUNCATED.findall(text)
    if not text.rstrip().endswith("</ListBucketResult>") or len(told) != 1 or text.count("<Contents>") != len(entries):
        return None
    if told == ["true"] and not entries:
        return None  # what follows it is asked for by the careful path
    last = entries[-1]["Key"] if told == ["true"] else None
    return {entry["Key"]: _report(entry) for entry in entries}, last


def _entry(text: str) -> dict[str, Any]:
    """Return an entry as botocore would, of what is needed of it; raise KeyError, ValueError for another form."""
    fields = dict(_FIELD.findall(text))
    entry: dict[str, Any] = {"Key": unescape(fields["Key"]), "RestoreStatus": {}}
    if "StorageClass" in fields:
        entry["StorageClass"] = fields["StorageClass"]
    if "IsRestoreInProgress" in fields:
        entry["RestoreStatus"]["IsRestoreInProgress"] = fields["IsRestoreInProgress"] == "true"
    if "RestoreExpiryDate" in fields:
        expires_at = datetime.fromisoformat(fields["RestoreExpiryDate"])
        if expires_at.tzinfo is None:
            raise ValueError("a time without its zone")
        entry["RestoreStatus"]["RestoreExpiryDate"] = expires_at
    return entry


def _report(entry: Mapping[str, Any]) -> RetrievalReport:
    key, restore = entry["Key"], entry.get("RestoreStatus", {})
    if entry.get("StorageClass", "STANDARD") not in COLD_CLASSES:
        return RetrievalReport(key, RetrievalStatus.READY)
    if restore.get("IsRestoreInProgress"):
        return RetrievalReport(key, RetrievalStatus.PENDING)
    expires_at = restore.get("RestoreExpiryDate")
    return RetrievalReport(key, RetrievalStatus.READY if expires_at else RetrievalStatus.AVAILABLE, expires_at)


def _one(bucket: Bucket, key: str) -> RetrievalReport:
    head = bucket.head(key)
    return head.report() if head is not None else _missing(key)


def _missing(key: str) -> RetrievalReport:
    return RetrievalReport(key, RetrievalStatus.AVAILABLE, failure="The archive is not in the bucket.", missing=True)
