"""Large uploads to S3: in parts, several at once, resumed after the parts that the store confirmed.

The order keeps a crash safe: CreateMultipartUpload, then the journal, then parts, then Complete on a write-once key,
then the journal is cleared. A second process that finds the journal asks the store for the parts and sends what is
missing. What has no journal and no object is begun anew; an upload of the same key that nobody remembers is aborted.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from glacier_provider.core.archive import Description, Receipt
from glacier_provider.core.checksum import Verifier
from glacier_provider.core.parts import Part, composite_sha256, part_size_for, parts_of
from glacier_provider.errors import FileChanged, KeyTaken, StoreUnavailable
from glacier_provider.stores.aws_errors import aws_errors, error_code
from glacier_provider.stores.contract import Source, UploadJournal
from glacier_provider.stores.multipart import PartBody, digest_of, send_parts, windows
from glacier_provider.stores.rate_limit import RateLimit
from glacier_provider.stores.s3.bucket import Bucket, base64_text
from glacier_provider.stores.s3.fast.client import LARGEST_PIECE, FastPath
from glacier_provider.stores.s3.keys import metadata_of


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part that the store confirmed. `digest` is the raw SHA-256 of its bytes."""

    number: int
    size: int
    etag: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class ArchiveContent:
    """What an archive holds, or would hold: its size in bytes, and whether its bytes have a checksum of a receipt."""

    size: int
    has_checksum: Callable[[str], bool]

    @classmethod
    def of(cls, source: Source) -> ArchiveContent:
        """Return the content of a source; it is read whenever a checksum is asked about."""

        def has_checksum(checksum: str) -> bool:
            verifier = Verifier(checksum)
            for window in windows(source, Part(number=1, start=0, size=source.size)):
                verifier.update(window)
            return verifier.matches()

        return cls(source.size, has_checksum)


@dataclass(frozen=True, slots=True)
class S3Upload:
    """One archive on its way, step by step; `run` takes all of them for a source that is there whole."""

    bucket: Bucket
    key: str
    description: Description
    journal: UploadJournal
    parts_in_flight: int
    fast_path: FastPath | None = None
    rate_limit: RateLimit = field(default_factory=RateLimit)

    def run(self, source: Source, part_size: int) -> Receipt:
        """Send what the store does not have and return its receipt; raise KeyTaken for a key in other use.

        `part_size` (bytes) counts for a new upload; an old one keeps its own.
        """
        begun, content = self.journal.upload_id(), ArchiveContent.of(source)
        stored = self.stored_parts(begun[0]) if begun is not None else None
        if begun is not None and stored is None:  # completed with the answer lost, aborted, or expired
            self.journal.forget()
        if begun is None or stored is None:
            if adopted := self.adopt(content):
                return adopted
            begun, stored = self.begin(part_size_for(source.size, preferred=part_size)), {}
        sent = self._send_parts(source, *begun, stored)
        abort_uploads(self.bucket, self.key, but=begun[0])
        return self.complete(*begun, sent, content)

    def begin(self, part_size: int) -> tuple[str, int]:
        """Begin an upload and note it; return its id and part size."""
        with aws_errors("s3:PutObject", self.bucket.url(self.key)):
            reply = self.bucket.client.create_multipart_upload(
                **self._address(),
                ChecksumAlgorithm="SHA256",
                ChecksumType="COMPOSITE",
                Metadata=metadata_of(self.description, part_size=part_size),
                **self.bucket.write_arguments(self.bucket.uri.storage_class),
            )
        upload_id = str(reply["UploadId"])
        with ExitStack() as undo:
            undo.callback(self._abort, upload_id)
            self.journal.began(upload_id, part_size)
            undo.pop_all()
        return upload_id, part_size

    def _abort(self, upload_id: str) -> None:
        _abort(self.bucket, self.key, upload_id)

    def stored_parts(self, upload_id: str) -> dict[int, StoredPart] | None:
        """Return the parts that the store holds, by number; None when it does not know the upload."""
        from botocore.exceptions import ClientError

        with aws_errors("s3:ListMultipartUploadParts", self.bucket.url(self.key)):
            try:
                pages = self.bucket.client.get_paginator("list_parts").paginate(**self._address(), UploadId=upload_id)
                return {part.number: part for page in pages for part in _parts_of_page(page)}
            except ClientError as exc:
                if error_code(exc) == "NoSuchUpload":
                    return None
                raise

    def _send_parts(
        self, source: Source, upload_id: str, part_size: int, stored: Mapping[int, StoredPart]
    ) -> list[StoredPart]:
        """Send the parts that `stored` lacks or holds with other bytes; return all parts in order."""
        return send_parts(
            parts_of(source.size, part_size),
            lambda part: self.send_part(source, upload_id, part, stored.get(part.number)),
            in_flight=self.parts_in_flight,
        )

    def send_part(self, source: Source, upload_id: str, part: Part, stored: StoredPart | None = None) -> StoredPart:
        """Send a part, unless `stored` has its bytes.

        By the fast path it is read once, hashed and sent from memory; whatever comes of it but success is sent by the
        careful one.
        """
        data = b""
        if self.fast_path is not None and part.size <= LARGEST_PIECE:
            data = self._read(source, part)
        digest = hashlib.sha256(data).digest() if data else digest_of(source, part, hashlib.sha256())
        if stored is not None and (stored.size, stored.digest) == (part.size, digest):
            return stored
        if self.fast_path is not None and data:
            md5 = self.bucket.md5_of_part([data])
            etag = self.fast_path.send_part(self.key, upload_id, part.number, data, digest, md5)
            if etag is not None:
                return StoredPart(part.number, part.size, etag, digest)
        del data  # the careful path reads it again, by windows
        return self._send_carefully(source, upload_id, part, digest)

    def _read(self, source: Source, part: Part) -> bytes:
        data = source.read_at(part.start, part.size)
        if len(data) != part.size:
            raise FileChanged(f"{self.description.filename!r} gave {len(data):,} of {part.size:,} bytes.")
        return data

    def _send_carefully(self, source: Source, upload_id: str, part: Part, digest: bytes) -> StoredPart:
        checksum, md5 = base64_text(digest), self.bucket.md5_of_part(windows(source, part))
        self.rate_limit.take(part.size)
        with aws_errors("s3:PutObject", self.bucket.url(self.key), codes={"NoSuchUpload": StoreUnavailable}):
            reply = self.bucket.client.upload_part(
                **self._address(),
                UploadId=upload_id,
                PartNumber=part.number,
                Body=PartBody(source, part),
                ContentLength=part.size,
                ChecksumSHA256=checksum,
                **({} if md5 is None else {"ContentMD5": md5}),
            )
        if reply.get("ChecksumSHA256", checksum) != checksum:
            raise StoreUnavailable(f"part {part.number} of {self.bucket.url(self.key)} arrived with another checksum.")
        return StoredPart(part.number, part.size, reply["ETag"], digest)

    def complete(self, upload_id: str, part_size: int, parts: list[StoredPart], content: ArchiveContent) -> Receipt:
        """Make an archive of its parts; when there is one already that has its content, return its receipt."""
        from botocore.exceptions import ClientError

        expected = checksum_of(part_size, parts)
        try:
            with aws_errors("s3:PutObject", self.bucket.url(self.key)):
                try:
                    reply = self._ask_to_complete(upload_id, parts)
                except ClientError as exc:
                    return self._not_completed(upload_id, exc, content)
        except StoreUnavailable:  # the answer may be lost, the upload complete
            if adopted := self.adopt(content):
                return adopted
            raise
        checksum = self.bucket.confirmed(self.key, reply.get("ChecksumSHA256"), expected, part_size)
        self.journal.forget()
        return Receipt(self.bucket.location(self.key), content.size, checksum)

    def _ask_to_complete(self, upload_id: str, parts: list[StoredPart]) -> Any:
        named = [
            {"PartNumber": part.number, "ETag": part.etag, "ChecksumSHA256": base64_text(part.digest)} for part in parts
        ]
        return self.bucket.client.complete_multipart_upload(
            **self._address(),
            UploadId=upload_id,
            MultipartUpload={"Parts": named},
            MpuObjectSize=sum(part.size for part in parts),
            IfNoneMatch="*",
        )

    def _not_completed(self, upload_id: str, error: Any, content: ArchiveContent) -> Receipt:
        """Decide what a refusal to complete means: done before, begun in vain, or an error like any other.

        A race of two writers (409) ends the upload:
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        """
        code = error_code(error)
        if code not in ("NoSuchUpload", "PreconditionFailed", "412", "ConditionalRequestConflict", "InvalidPart"):
            raise error
        try:
            adopted = self.adopt(content)
        except KeyTaken:
            self._give_up(upload_id)
            raise
        if adopted:
            self._abort(upload_id)
            return adopted
        if code != "InvalidPart":  # else the next try lists the parts again and sends what is wrong
            self._give_up(upload_id)
        raise StoreUnavailable(f"{self.bucket.url(self.key)} could not be completed ({code}); it is sent again.")

    def _give_up(self, upload_id: str) -> None:
        self._abort(upload_id)
        self.journal.forget()

    def adopt(self, content: ArchiveContent) -> Receipt | None:
        """Return the receipt of this archive when it is there already, as `Bucket.adopt`."""
        description = replace(self.description, size=content.size)
        adopted = self.bucket.adopt(self.key, description, content.has_checksum)
        if adopted is not None:
            self.journal.forget()
        return adopted

    def _address(self) -> dict[str, str]:
        return {"Bucket": self.bucket.uri.bucket, "Key": self.key}


def checksum_of(part_size: int, parts: Iterable[StoredPart]) -> str:
    """Return the checksum that the receipt of an archive of these parts will have."""
    return f"sha256-parts:{part_size}:{composite_sha256(part.digest for part in parts).hex()}"


def abort_uploads(bucket: Bucket, key: str, *, but: str | None = None) -> None:
    """Abort uploads of a key that no journal names (a lost answer, a crash): they would be billed for ever."""
    with aws_errors("s3:ListBucketMultipartUploads", bucket.url()):
        found = [
            upload["UploadId"]
            for page in _pages_of_uploads(bucket, key)
            for upload in page.get("Uploads", [])
            if upload["Key"] == key and upload["UploadId"] != but
        ]
    for forgotten in found:
        _abort(bucket, key, forgotten)


def _pages_of_uploads(bucket: Bucket, key: str) -> Iterator[Mapping[str, Any]]:
    """Yield the pages themselves: botocore's paginator first looks through the files of all services."""
    marks: dict[str, str] = {}
    while True:
        page = bucket.client.list_multipart_uploads(Bucket=bucket.uri.bucket, Prefix=key, **marks)
        yield page
        if not page.get("IsTruncated"):
            return
        marks = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def _abort(bucket: Bucket, key: str, upload_id: str) -> None:
    from botocore.exceptions import ClientError

    with aws_errors("s3:AbortMultipartUpload", bucket.url(key)):
        try:
            bucket.client.abort_multipart_upload(Bucket=bucket.uri.bucket, Key=key, UploadId=upload_id)
        except ClientError as exc:
            if error_code(exc) != "NoSuchUpload":
                raise


def _parts_of_page(page: Mapping[str, Any]) -> Iterator[StoredPart]:
    for part in page.get("Parts", []):
        digest = base64.b64decode(part.get("ChecksumSHA256", ""))  # a part without one is sent again
        yield StoredPart(part["PartNumber"], part["Size"], part["ETag"], digest)
