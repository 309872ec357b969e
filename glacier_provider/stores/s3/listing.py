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
from dataclasses import dataclass
from datetime import datetime
from html import unescape
from itertools import compress
from typing import Any

from glacier_provider.core.parts import LISTED_AT_ONCE, WORTH_LISTING
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.core.store_uri import COLD_CLASSES
from glacier_provider.stores.contract import RetrievalReport
from glacier_provider.stores.s3.bucket import Bucket
from glacier_provider.stores.s3.fast.client import FastPath
from glacier_provider.stores.s3.keys import folder_of, id_path, key_facts

_CUTS, _CUT = "<Contents>", "</Contents>"
_KEY = re.compile(r"<Key>([^<]*)</Key>")
_FIELD = re.compile(r"<(Key|StorageClass|IsRestoreInProgress|RestoreExpiryDate)>([^<]*)<")
_TRUNCATED = re.compile(r"<IsTruncated>(true|false)</IsTruncated>")
_IN_PROGRESS = "<IsRestoreInProgress>true</IsRestoreInProgress>"
_CLASSES = tuple(f"<StorageClass>{name}</StorageClass>" for name in COLD_CLASSES)


@dataclass(frozen=True, slots=True)
class Listed:
    """What a page tells: the keys of which the retrieval is under way, in order, and reports of the others by key;
    `last` is its last key, None when the folder ends in it.
    """

    pending: list[str]
    others: Mapping[str, RetrievalReport]
    last: str | None


def reports(bucket: Bucket, keys: Sequence[str], fast_path: FastPath | None = None) -> Iterator[RetrievalReport]:
    """Yield one report for each key, in the keys' order; equal keys are reported once.

    Pages come by the fast path where there is one: botocore takes some ten times as long to understand one.
    """
    for run, listed in _looked_at(bucket, keys, fast_path):
        pending = set(listed.pending)
        for key in run:
            yield RetrievalReport(key, RetrievalStatus.PENDING) if key in pending else _other(key, listed)


def ended(bucket: Bucket, keys: Sequence[str], fast_path: FastPath | None = None) -> Iterator[RetrievalReport]:
    """Yield the reports of those whose retrieval is not under way: a page of which all is costs next to nothing."""
    for run, listed in _looked_at(bucket, keys, fast_path):
        if run != listed.pending:
            pending = set(listed.pending)
            yield from (_other(key, listed) for key in run if key not in pending)


def _looked_at(
    bucket: Bucket, keys: Sequence[str], fast_path: FastPath | None
) -> Iterator[tuple[Sequence[str], Listed]]:
    """Yield runs of keys, all of them in order, each with what a listing or a HEAD tells of it."""
    wanted = sorted(set(keys))
    position = 0
    while position < len(wanted):
        reach = _within_reach(bucket.uri.prefix, wanted, position)
        listed = _listed_from(bucket, wanted[position], fast_path) if reach >= WORTH_LISTING else Listed([], {}, "")
        last = listed.last
        end = bisect.bisect_right(wanted, last, position) if last is not None else position + reach
        if end == position:  # no listing, or one that holds nothing but foreign keys before the wanted one
            yield wanted[position : position + 1], _told([_one(bucket, wanted[position])])
        else:
            yield wanted[position:end], listed
        position = max(position + 1, end)


def _other(key: str, listed: Listed) -> RetrievalReport:
    return listed.others.get(key) or _missing(key)


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


def _listed_from(bucket: Bucket, key: str, fast_path: FastPath | None) -> Listed:
    """List a page that begins with `key`."""
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
    return _told([_report(entry) for entry in entries], last)


def _told(reports: Sequence[RetrievalReport], last: str | None = None) -> Listed:
    pending = [report.key for report in reports if report.status is RetrievalStatus.PENDING]
    others = {report.key: report for report in reports if report.status is not RetrievalStatus.PENDING}
    return Listed(pending, others, last)


def understood_page(data: bytes) -> Listed | None:
    """Return the same of a page as S3 sends it; None for one that is cut, or of another form than is usual."""
    try:
        text = data.decode("utf-8")
        entries = text.split(_CUTS)
        told = _TRUNCATED.findall(entries.pop(0) + (entries[-1] if entries else ""))
        keys = [unescape(key) if "&" in key else key for key in _KEY.findall(text)]
        is_whole = ["<Key>" in entry and _CUT in entry for entry in entries]
        if len(keys) != len(entries) or not all(is_whole):
            return None
        is_pending = [_IN_PROGRESS in one and (_CLASSES[0] in one or _CLASSES[1] in one) for one in entries]
        if all(is_pending):
            pending, others = keys, {}
        else:
            pending = list(compress(keys, is_pending))
            rest = [(keys[n], entries[n]) for n, is_it in enumerate(is_pending) if not is_it]
            others = {key: _report(_entry(entry.partition(_CUT)[0])) for key, entry in rest}
    except (ValueError, KeyError):
        return None
    if not text.rstrip().endswith("</ListBucketResult>") or len(told) != 1:
        return None
    if told == ["true"] and not entries:
        return None  # what follows it is asked for by the careful path
    return Listed(pending, others, keys[-1] if told == ["true"] else None)


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
