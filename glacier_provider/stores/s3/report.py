"""The completion report of a job of S3 Batch Operations, read as it comes: nothing that it says is taken for granted.

`manifest.json` names CSV files with their MD5, which tell one object a row:

    bucket, key (URL-encoded), version, status, HTTP status, error code, message

https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-examples-reports.html. The page names the error code
before the HTTP status and shows them the other way round, so that each is known by what it looks like. Of a checksum
the message is JSON, with `checksum_hex` or `checksum_base64`, `checksumAlgorithm` and `checksumType`.
"""

from __future__ import annotations

import base64
import binascii
import csv
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from glacier_provider.core.parts import MIB
from glacier_provider.errors import ArchiveCorrupt, ArchiveMissing
from glacier_provider.stores.aws_errors import aws_errors
from glacier_provider.stores.s3.bucket import Bucket

_LARGEST_MANIFEST = 64 * MIB
_LONGEST_LINE = 64 * 1024
_COLUMNS = 7


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What a report tells of one object: a hex SHA-256 and of what it is (`kind`), or a status that is no success."""

    key: str
    status: int
    code: str = ""
    sha256: str | None = None
    kind: str | None = None


def read_results(bucket: Bucket, folder: str, *, most: int) -> Iterator[TaskResult] | None:
    """Return what a report tells, object by object; None when there is none. See `BatchOperations.results`."""
    key = f"{folder}manifest.json"
    try:
        data = b"".join(_read(bucket, key, most=_LARGEST_MANIFEST))
    except ArchiveMissing:
        return None
    return _results(bucket, folder, _files(bucket, folder, data), most=most)


def _files(bucket: Bucket, folder: str, data: bytes) -> list[tuple[str, str]]:
    """Return key and MD5 of the files that a report's manifest names: none outside the job's own folder."""
    try:
        told = json.loads(data)
        named = [(str(one["Bucket"]), str(one["Key"]), str(one["MD5Checksum"])) for one in told["Results"]]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise _corrupt(bucket, folder, f"its manifest.json cannot be read ({type(exc).__name__})") from exc
    for name, key, _ in named:
        if name != bucket.uri.bucket or not key.startswith(folder) or "\0" in key:
            raise _corrupt(bucket, folder, f"its manifest.json names s3://{name}/{key}, which is not of the job")
    if len({key for _, key, _ in named}) != len(named):
        raise _corrupt(bucket, folder, "its manifest.json names a file twice")
    return [(key, md5) for _, key, md5 in named]


def _results(bucket: Bucket, folder: str, files: list[tuple[str, str]], *, most: int) -> Iterator[TaskResult]:
    count = 0
    for key, md5 in files:
        digest = hashlib.md5(usedforsecurity=False)
        try:
            chunks = _read(bucket, key, most=None, digest=digest)
            for row in csv.reader(_lines(bucket, folder, chunks), strict=True):
                if row and row[:2] != ["Bucket", "Key"]:
                    count += 1
                    if count > most:
                        raise _corrupt(bucket, folder, f"it tells of more than the {most:,} objects of the job")
                    yield _result(bucket, folder, row)
        except ArchiveMissing as exc:
            raise _corrupt(bucket, folder, f"{key} is missing") from exc
        except csv.Error as exc:
            raise _corrupt(bucket, folder, f"{key} is no CSV ({exc})") from exc
        if not re.fullmatch("[0-9a-fA-F]{32}", md5) or digest.hexdigest() != md5.lower():
            raise _corrupt(bucket, folder, f"{key} has not the MD5 that its manifest.json tells: it is cut, or altered")


def _result(bucket: Bucket, folder: str, row: list[str]) -> TaskResult:
    if len(row) != _COLUMNS or row[0] != bucket.uri.bucket:
        raise _corrupt(bucket, folder, "a row is not of this bucket, or has not 7 columns")
    key = unquote(row[1])
    if "\0" in key:
        raise _corrupt(bucket, folder, "a key has a NUL")
    # Whatever order they come in: one is a number.
    http, code = (row[4], row[5]) if re.fullmatch(r"\s*\d{3}\s*", row[4]) else (row[5], row[4])
    status = int(http) if re.fullmatch(r"\s*\d{3}\s*", http) else 0
    if row[3].strip().lower() != "succeeded":
        return TaskResult(key, status if status >= 300 else 500, code.strip()[:100])
    sha256, kind = _checksum(row[6])
    return TaskResult(key, 200, "" if sha256 else "NoChecksum", sha256, kind)


def _checksum(message: str) -> tuple[str | None, str | None]:
    """Return the hex SHA-256 in a message and its type; None for a message that tells no SHA-256."""
    try:
        told = json.loads(message)
    except (ValueError, RecursionError):
        return None, None
    if not isinstance(told, dict) or str(told.get("checksumAlgorithm", "")).upper() != "SHA256":
        return None, None
    found = {_of_hex(told.get("checksum_hex")), _of_base64(told.get("checksum_base64"))} - {None}
    kind = str(told.get("checksumType", "")).upper()
    return (found.pop(), kind) if len(found) == 1 else (None, None)  # two that differ are none


def _of_hex(value: Any) -> str | None:
    return value.lower() if isinstance(value, str) and re.fullmatch("[0-9a-fA-F]{64}", value) else None


def _of_base64(value: Any) -> str | None:
    """Return it in hex; `-<parts>`, which S3 appends to composite ones elsewhere, is left out."""
    if not isinstance(value, str):
        return None
    try:
        digest = base64.b64decode(value.partition("-")[0], validate=True)
    except (ValueError, binascii.Error):
        return None
    return digest.hex() if len(digest) == 32 else None


def _lines(bucket: Bucket, folder: str, chunks: Iterator[bytes]) -> Iterator[str]:
    """Yield the lines of UTF-8 that comes in pieces; none is longer than a row can be."""
    held = b""
    for chunk in chunks:
        *lines, held = (held + chunk).split(b"\n")
        if len(held) > _LONGEST_LINE:
            raise _corrupt(bucket, folder, "a line is too long")
        for line in lines:
            yield _text(bucket, folder, line) + "\n"
    if held:
        yield _text(bucket, folder, held)


def _text(bucket: Bucket, folder: str, line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise _corrupt(bucket, folder, "it is no UTF-8") from exc


def _read(bucket: Bucket, key: str, *, most: int | None, digest: Any = None) -> Iterator[bytes]:
    url, size = bucket.url(key), 0
    with aws_errors("s3:GetObject", url):
        body = bucket.client.get_object(Bucket=bucket.uri.bucket, Key=key)["Body"]
    with closing(body):
        while True:
            with aws_errors("s3:GetObject", url):
                chunk = body.read(MIB)
            if not chunk:
                return
            size += len(chunk)
            if most is not None and size > most:
                raise ArchiveCorrupt(f"{url} is larger than a manifest of a report can be.")
            if digest is not None:
                digest.update(chunk)
            yield chunk


def _corrupt(bucket: Bucket, folder: str, why: str) -> ArchiveCorrupt:
    return ArchiveCorrupt(
        f"The report {bucket.url(folder)} cannot be used: {why}.",
        hint="Nothing of it was believed; the next verification asks for the checksums anew.",
    )
