"""One bucket as this package uses it: addresses, headers and the questions that several operations ask."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from glacier_provider.core.archive import Description, Location, Receipt
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.core.store_uri import COLD_CLASSES, S3Uri
from glacier_provider.errors import KeyTaken, OtherContent, StoreError
from glacier_provider.stores.aws_errors import aws_errors, error_code
from glacier_provider.stores.contract import RetrievalReport
from glacier_provider.stores.s3.keys import description_from_metadata, is_of


@dataclass(frozen=True, slots=True)
class Head:
    """What HEAD tells of one object. `checksum` is in the form of a receipt, None where the store has none."""

    key: str
    size: int
    storage_class: str
    restore: str | None
    checksum: str | None
    metadata: Mapping[str, str] = field(repr=False)
    created_at: datetime | None = None
    locked_until: datetime | None = None

    @property
    def description(self) -> Description | None:
        return description_from_metadata(self.metadata, size=self.size)

    def report(self) -> RetrievalReport:
        """Return the retrieval status.

        The header (https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html) is absent before a restore
        and after its end; the storage class stays what it was while a restored copy can be read.
        """
        if self.storage_class not in COLD_CLASSES:
            return RetrievalReport(self.key, RetrievalStatus.READY)
        if self.restore is None:
            return RetrievalReport(self.key, RetrievalStatus.AVAILABLE)
        if 'ongoing-request="true"' in self.restore:
            return RetrievalReport(self.key, RetrievalStatus.PENDING)
        found = re.search(r'expiry-date="([^"]+)"', self.restore)
        expires_at = parsedate_to_datetime(found.group(1)) if found else None
        return RetrievalReport(self.key, RetrievalStatus.READY, expires_at)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket with the client that reaches it; `spelled` is its URI as receipts tell it."""

    uri: S3Uri
    client: Any
    spelled: str | None = None

    def url(self, key: str = "") -> str:
        """Return the address of a key (or the bucket) for messages."""
        return f"s3://{self.uri.bucket}/{key}".rstrip("/")

    def location(self, key: str) -> Location:
        return Location(store_uri=self.spelled or str(self.uri), key=key)

    def head(self, key: str) -> Head | None:
        """Ask for one object with its checksum; None when there is none."""
        from botocore.exceptions import ClientError

        with aws_errors("s3:GetObject", self.url(key)):
            try:
                reply = self.client.head_object(Bucket=self.uri.bucket, Key=key, ChecksumMode="ENABLED")
            except ClientError as exc:
                if error_code(exc) in ("404", "NoSuchKey", "NotFound"):
                    return None
                self.ask_why(exc, key)
                raise
        metadata = reply.get("Metadata", {})
        return Head(
            key=key,
            size=reply["ContentLength"],
            storage_class=reply.get("StorageClass", "STANDARD"),
            restore=reply.get("Restore"),
            checksum=receipt_checksum(reply.get("ChecksumSHA256"), metadata.get("part-size")),
            metadata=metadata,
            created_at=reply.get("LastModified"),
            locked_until=reply.get("ObjectLockRetainUntilDate"),
        )

    def ask_why(self, refused: Any, key: str = "") -> None:
        """Ask once with a listing why a HEAD was refused: its answer has no body, and so no words.

        Raise botocore's ClientError, which names an expired token, a wrong clock, key or Region; return when the
        listing is allowed, so that it is this request that is not.
        """
        if error_code(refused) in ("400", "403"):
            self.client.list_objects_v2(Bucket=self.uri.bucket, Prefix=key, MaxKeys=1)

    def pages(self, folder: str, **asked: Any) -> Iterator[Mapping[str, Any]]:
        """Yield the pages of a listing of what is below a folder; `asked` are further parameters of ListObjectsV2.

        Whether more comes is what the store says, whatever a page holds: it may have fewer keys than were asked for, or
        none (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html).
        """
        while True:
            with aws_errors("s3:ListBucket", self.url(folder)):
                page = self.client.list_objects_v2(Bucket=self.uri.bucket, Prefix=folder, **asked)
            yield page
            if not page.get("IsTruncated"):
                return
            if not page.get("NextContinuationToken"):
                raise StoreError(f"The listing of {self.url(folder)} is cut, and does not tell where it goes on.")
            asked = {name: value for name, value in asked.items() if name != "StartAfter"}
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def write_arguments(self, storage_class: str) -> dict[str, Any]:
        """Return what every object of this store is created with: class, encryption, lock."""
        arguments: dict[str, Any] = {"StorageClass": storage_class}
        if self.uri.sse is not None:
            arguments["ServerSideEncryption"] = self.uri.sse
        if self.uri.kms_key_id is not None:
            arguments["SSEKMSKeyId"] = self.uri.kms_key_id
        if self.uri.object_lock_days is not None:
            until = datetime.now(UTC) + timedelta(days=self.uri.object_lock_days)
            arguments |= {"ObjectLockMode": self.uri.object_lock_mode, "ObjectLockRetainUntilDate": until}
        return arguments

    def md5_of_part(self, pieces: Iterable[bytes]) -> str | None:
        """Return the Content-MD5 of a part in these pieces where UploadPart asks for it: for objects with a lock.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html
        """
        if self.uri.object_lock_days is None:
            return None
        digest = hashlib.md5(usedforsecurity=False)
        for piece in pieces:
            digest.update(piece)
        return base64_text(digest.digest())

    def delete_objects(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Delete objects, at most 1,000, by one request; return by key the reply's errors.

        It carries Content-MD5, which the API asks for and botocore leaves out:
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
        """
        self.client.meta.events.register(
            "before-call.s3.DeleteObjects", _add_content_md5, unique_id="glacier-provider-content-md5"
        )
        with aws_errors("s3:DeleteObject", self.url(keys[0])):
            reply = self.client.delete_objects(
                Bucket=self.uri.bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
        return {entry["Key"]: entry for entry in reply.get("Errors") or []}

    def adopt(self, key: str, description: Description, has_checksum: Callable[[str], bool]) -> Receipt | None:
        """Return the receipt of an archive that is there already, or None when its key is free.

        `has_checksum` tells whether the bytes at hand have a checksum. Raise OtherContent when the key
        holds this archive with another content or from another catalog, KeyTaken when it holds anything else.
        """
        head = self.head(key)
        if head is None:
            return None
        if head.checksum is None or not is_of(head.metadata, description):
            raise KeyTaken(f"{self.url(key)} already holds another object.")
        if head.metadata.get("written-by") != description.written_by:
            raise OtherContent(f"{self.url(key)} already holds an archive of this id that another catalog sent.")
        if head.size != description.size or not has_checksum(head.checksum):
            raise OtherContent(f"{self.url(key)} already holds an archive of this id with other content.")
        return Receipt(self.location(key), head.size, head.checksum, adopted=True)

    def confirmed(self, key: str, told: str | None, expected: str, part_size: int | None = None) -> str:
        """Return the checksum, in a receipt's form, once the store has confirmed it.

        `told` is the Base64 value of the store's reply; a reply without it is followed by one HEAD.
        """
        checksum = receipt_checksum(told, str(part_size) if part_size else None)
        if checksum is None:
            head = self.head(key)
            checksum = head.checksum if head is not None else None
        if checksum is None:
            raise StoreError(
                f"{self.url(key)} was stored, but the store confirms no SHA-256 checksum for it.",
                hint="Use a store that implements S3's additional checksums.",
            )
        if checksum != expected:
            raise StoreError(f"{self.url(key)} was stored with checksum {checksum}, not {expected}.")
        return checksum


def receipt_checksum(value: str | None, part_size: str | None) -> str | None:
    """Return S3's Base64 SHA-256 in a receipt's form; `<value>-<parts>` is a composite one and needs the part size."""
    if not value:
        return None
    digest, _, parts = value.partition("-")
    hexadecimal = base64.b64decode(digest).hex()
    if not parts:
        return f"sha256:{hexadecimal}"
    return f"sha256-parts:{part_size}:{hexadecimal}" if part_size else None


def _add_content_md5(params: dict[str, Any], **_: Any) -> None:
    digest = hashlib.md5(params["body"], usedforsecurity=False)
    params["headers"]["Content-MD5"] = base64_text(digest.digest())


def base64_text(digest: bytes) -> str:
    return base64.b64encode(digest).decode("ascii")
