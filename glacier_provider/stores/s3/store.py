"""The S3 store: archives as objects of one bucket, each under a key that is written once."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from glacier_provider.core.archive import ArchiveKind, Description, Location, Receipt, StoredArchive
from glacier_provider.core.parts import MIB
from glacier_provider.core.store_uri import S3Uri
from glacier_provider.core.tiers import retrieval_hours
from glacier_provider.errors import (
    ArchiveCold,
    ArchiveCorrupt,
    ArchiveMissing,
    ContentDiffers,
    KeyTaken,
    RetrievalRefused,
    StoreError,
    StoreMissing,
    StoreUnavailable,
)
from glacier_provider.stores.aws_errors import aws_errors, error_code, http_status
from glacier_provider.stores.contract import (
    ListedPart,
    OldVersion,
    PlacedFile,
    PlannedFile,
    Retrieval,
    RetrievalReport,
    SentFile,
    SmallFiles,
    Source,
    StoreFeatures,
    StreamSource,
    UploadedParts,
    UploadJournal,
    WantedFile,
    WantedRetrieval,
)
from glacier_provider.stores.rate_limit import RateLimit
from glacier_provider.stores.s3.bucket import Bucket, base64_text
from glacier_provider.stores.s3.delete import delete_all
from glacier_provider.stores.s3.fast.client import LARGEST_PIECE, FastPath
from glacier_provider.stores.s3.fast.pool import ProcessPool, start_asking, start_fetching, start_pool
from glacier_provider.stores.s3.ids import ids_in_use
from glacier_provider.stores.s3.keys import (
    DELETED_KEY,
    evidence_folder,
    evidence_key,
    evidence_number,
    folder_of,
    is_no_archive,
    key_facts,
    marker_key,
    metadata_of,
    object_key,
)
from glacier_provider.stores.s3.listing import ended, reports
from glacier_provider.stores.s3.stream import S3StreamUpload
from glacier_provider.stores.s3.upload import S3Upload, abort_uploads
from glacier_provider.stores.s3.versions import old_versions

log = logging.getLogger(__name__)

_File = TypeVar("_File", bound=PlannedFile)

READ_CHUNK = MIB
MARKER_BYTES = 4096  # as many of a marker are read
ONE_REQUEST = 16 * MIB  # an archive up to this size (and one part) is held in memory and sent at once
#: The body of a RestoreObject, as botocore writes it.
_WISH = (
    '<RestoreRequest xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Days>{days:d}</Days>'
    "<GlacierJobParameters><Tier>{tier}</Tier></GlacierJobParameters></RestoreRequest>"
)
_CONFLICT_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)  # seconds


def s3_client_config(uri: S3Uri) -> Any:
    """Return the botocore Config that the store wants of its client; merge it with that of the AWS connection.

    Checksums are sent and checked by the store itself, so botocore adds none of its own. The read timeout leaves room
    for CompleteMultipartUpload, which can take minutes.
    """
    from botocore.config import Config

    from glacier_provider import __version__

    region = {"region_name": uri.region} if uri.region else {}
    return Config(
        retries={"mode": "standard", "total_max_attempts": 5},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        max_pool_connections=64,
        connect_timeout=10,
        read_timeout=180,
        tcp_keepalive=True,
        user_agent_extra=f"glacier-provider/{__version__}",
        **region,
    )


class S3Store:
    """An `ArchiveStore` on one bucket; see the protocol for the contract of each method.

    `client` is a boto3 S3 client made with `s3_client_config`. `part_size` (bytes, a power of two) is that of large
    uploads up to 10,000 parts; `parts_in_flight` of them are sent at once, each with about 1 MiB in memory. `fast`
    False has botocore send everything. `spelled` is the URI as whoever opens the store writes it, by which its archives
    are known; without one, that of `uri`.

    Permissions: s3:ListBucket and s3:ListBucketMultipartUploads on the bucket; s3:PutObject, s3:GetObject,
    s3:RestoreObject, s3:ListMultipartUploadParts and s3:AbortMultipartUpload on its objects; to delete, also
    s3:DeleteObject; with object_lock_days also s3:PutObjectRetention, with a key of your own kms:GenerateDataKey and
    kms:Decrypt.
    """

    def __init__(
        self,
        uri: S3Uri,
        *,
        client: Any,
        part_size: int = 16 * MIB,
        parts_in_flight: int = 4,
        fast: bool = True,
        spelled: str | None = None,
    ) -> None:
        self.uri = spelled or str(uri)
        self.features = StoreFeatures(
            retrieval=uri.is_cold,
            tiers=tuple(retrieval_hours(self.uri)),
            keeps_empty_archives=True,
            chooses_keys=True,
        )
        self._bucket = Bucket(uri, client, spelled=self.uri)
        self.rate_limit = RateLimit()
        self.fast_path = FastPath(self._bucket, self.rate_limit) if fast else None
        self._part_size = part_size
        self._parts_in_flight = parts_in_flight

    def check(self) -> None:
        """Ask for the bucket, then begin and abort an upload: that proves write access and stores nothing."""
        from botocore.exceptions import ClientError

        bucket = self._bucket
        codes: dict[str, type[StoreError]] = {"404": StoreMissing}
        with aws_errors("s3:ListBucket", bucket.url(), codes=codes):
            try:
                bucket.client.head_bucket(Bucket=bucket.uri.bucket)
            except ClientError as exc:
                if error_code(exc) == "404":
                    raise StoreMissing(f"There is no bucket {bucket.uri.bucket}.") from exc
                bucket.ask_why(exc)
                raise
        key = f"{folder_of(bucket.uri.prefix)}.glacier-provider-check"
        address = {"Bucket": bucket.uri.bucket, "Key": key}
        with aws_errors("s3:PutObject", bucket.url(key)):
            arguments = bucket.write_arguments(bucket.uri.storage_class)
            bucket.client.create_multipart_upload(**address, **arguments)
        abort_uploads(bucket, key)  # also those of checks that died between the two

    def put(self, data: bytes, description: Description) -> Receipt:
        return self._put(data, description, self._bucket.uri.storage_class)

    def put_manifest(self, data: bytes, description: Description) -> Receipt:
        return self._put(data, description, "STANDARD")

    def put_large(self, source: Source, description: Description, journal: UploadJournal) -> Receipt:
        if source.size <= min(self._part_size, ONE_REQUEST) and journal.upload_id() is None:
            return self.put(source.read_at(0, source.size), description)
        return self._upload(description, journal).run(source, self._part_size)

    def upload_stream(
        self, source: StreamSource, description: Description, journal: UploadJournal, *, part_size: int
    ) -> UploadedParts:
        return S3StreamUpload(self._upload(description, journal)).send(source, part_size)

    def complete_stream(self, description: Description, journal: UploadJournal, sent: UploadedParts) -> Receipt | None:
        return S3StreamUpload(self._upload(description, journal)).complete(sent)

    def _upload(self, description: Description, journal: UploadJournal) -> S3Upload:
        return S3Upload(
            bucket=self._bucket,
            key=object_key(self._bucket.uri.prefix, description),
            description=description,
            journal=journal,
            parts_in_flight=self._parts_in_flight,
            fast_path=self.fast_path,
            rate_limit=self.rate_limit,
        )

    def upload_pool(
        self, files: SmallFiles, *, processes: int, connections: int
    ) -> ProcessPool[_File, SentFile] | None:
        if self.fast_path is None:
            return None
        return start_pool(files, self.fast_path, processes=processes, connections=connections)

    def request_pool(
        self, *, tier: str, days: int, may_go_on: Callable[[], None], processes: int, connections: int
    ) -> ProcessPool[WantedRetrieval, bool] | None:
        if self.fast_path is None:
            return None
        self._check_wish(self._bucket.url(), tier, days)
        wish = _WISH.format(days=days, tier=tier).encode()
        return start_asking(wish, self.fast_path, may_go_on=may_go_on, processes=processes, connections=connections)

    def download_pool(
        self, directory: str, *, may_go_on: Callable[[], None], processes: int, connections: int
    ) -> ProcessPool[WantedFile, PlacedFile] | None:
        if self.fast_path is None:
            return None
        return start_fetching(
            directory, self.fast_path, may_go_on=may_go_on, processes=processes, connections=connections
        )

    def abandon(self, description: Description) -> None:
        abort_uploads(self._bucket, object_key(self._bucket.uri.prefix, description))

    def request_retrieval(self, location: Location, *, tier: str, days: int, token: str) -> Retrieval:  # noqa: ARG002
        """Ask for a readable copy. `token` is not sent: S3 knows one restore per object and joins requests itself."""
        from botocore.exceptions import ClientError

        self._check_wish(self._bucket.url(location.key), tier, days)
        request = {"Days": days, "GlacierJobParameters": {"Tier": tier}}
        with aws_errors("s3:RestoreObject", self._bucket.url(location.key)):
            try:
                self._bucket.client.restore_object(
                    Bucket=self._bucket.uri.bucket, Key=location.key, RestoreRequest=request
                )
            except ClientError as exc:
                if refused := self._refusal(exc, location.key, tier):
                    raise refused from exc
                if error_code(exc) not in _NOTHING_TO_RETRIEVE:
                    raise
        return Retrieval(location, tier)

    def retrieval_reports(self, retrievals: Sequence[Retrieval]) -> Iterator[RetrievalReport]:
        return reports(self._bucket, [retrieval.location.key for retrieval in retrievals], self.fast_path)

    def ended_retrievals(self, keys: Sequence[str]) -> Iterator[RetrievalReport]:
        return ended(self._bucket, keys, self.fast_path)

    def read(
        self,
        location: Location,
        start: int,
        size: int,
        *,
        job_id: str | None = None,  # noqa: ARG002
    ) -> Iterator[bytes]:
        if size == 0:
            return
        url = self._bucket.url(location.key)
        codes: dict[str, type[StoreError]] = {"InvalidRange": ContentDiffers}
        with aws_errors("s3:GetObject", url, codes=codes):
            reply = self._bucket.client.get_object(
                Bucket=self._bucket.uri.bucket, Key=location.key, Range=f"bytes={start}-{start + size - 1}"
            )
        body = reply["Body"]
        try:
            if reply["ContentLength"] != size:
                told = f"{url} gives {reply['ContentLength']:,} of {size:,} bytes from byte {start}."
                raise ContentDiffers(told, found=f"{reply['ContentLength']:,} bytes")
            while chunk := _next_chunk(body, url):
                yield chunk
        finally:
            body.close()

    def read_into(
        self, location: Location, start: int, size: int, take: Callable[[bytes], object], *, job_id: str | None = None
    ) -> None:
        came = 0

        def count(chunk: bytes) -> None:
            nonlocal came
            take(chunk)
            came += len(chunk)

        if self.fast_path is not None and 0 < size <= LARGEST_PIECE:  # a longer answer does not gain from it
            came = self.fast_path.read(location.key, start, size, take)
        while came < size:
            begun = came
            try:
                for chunk in self.read(location, start + came, size - came, job_id=job_id):
                    count(chunk)
            except StoreUnavailable:
                if came == begun:
                    raise
                log.info("The answer for %s was cut off; it is gone on with.", self._bucket.url(location.key))

    def delete(self, location: Location) -> None:
        with aws_errors("s3:DeleteObject", self._bucket.url(location.key)):
            self._bucket.client.delete_object(Bucket=self._bucket.uri.bucket, Key=location.key)

    def delete_all(self, archives: Sequence[tuple[str, Description]]) -> Mapping[str, StoreError]:
        return delete_all(self._bucket, archives)

    def note_deletion(self, application: str, backup_id: int, manifest_sha256: str) -> None:
        """Write it into the metadata of the manifest, which is copied onto itself for that."""
        bucket = self._bucket
        key = f"{folder_of(bucket.uri.prefix, application, ArchiveKind.MANIFEST)}{backup_id:012d}.json.gz"
        head = bucket.head(key)
        if head is None or head.metadata.get("sha256") != manifest_sha256 or DELETED_KEY in head.metadata:
            return
        with aws_errors("s3:PutObject", bucket.url(key)):
            bucket.client.copy_object(
                Bucket=bucket.uri.bucket,
                Key=key,
                CopySource={"Bucket": bucket.uri.bucket, "Key": key},
                MetadataDirective="REPLACE",
                Metadata={**head.metadata, DELETED_KEY: "yes"},
                ChecksumAlgorithm="SHA256",
                **bucket.write_arguments("STANDARD"),
            )

    def noted_deletions(self, application: str) -> Iterator[str]:
        folder = folder_of(self._bucket.uri.prefix, application, ArchiveKind.MANIFEST)
        keys = [entry["Key"] for page in self._pages(folder) for entry in page.entries]
        with ThreadPoolExecutor(8, thread_name_prefix="s3-head") as pool:
            for head in pool.map(self._bucket.head, keys):
                if head is not None and DELETED_KEY in head.metadata and "sha256" in head.metadata:
                    yield head.metadata["sha256"]

    def ids_in_use(self, application: str, *, archive_id: int, backup_id: int) -> tuple[int, int]:
        return ids_in_use(self._bucket, application, archive_id=archive_id, backup_id=backup_id)

    def archives(
        self, application: str | None = None, *, kind: ArchiveKind | None = None, described: bool = True
    ) -> Iterator[StoredArchive]:
        """Yield what lies below the prefix, by key.

        A listing does not show metadata, so that each description takes a HEAD (eight at once); without `described`
        there are none, and `description` is None throughout.
        """
        folder = folder_of(self._bucket.uri.prefix, application, kind if application is not None else None)
        with ThreadPoolExecutor(8, thread_name_prefix="s3-head") as pool:
            for page in self._pages(folder):
                chosen = [entry for entry in page.entries if self._is_archive(entry["Key"], kind)]
                descriptions = pool.map(self._description, [entry["Key"] for entry in chosen]) if described else None
                for entry in chosen:
                    description = next(descriptions) if descriptions is not None else None
                    yield StoredArchive(
                        entry["Key"],
                        entry["Size"],
                        description,
                        created_at=entry.get("LastModified"),
                        storage_class=entry.get("StorageClass", "STANDARD"),
                    )

    def marker(self, application: str) -> bytes | None:
        key = marker_key(self._bucket.uri.prefix, application)
        try:
            with aws_errors("s3:GetObject", self._bucket.url(key)):
                body = self._bucket.client.get_object(Bucket=self._bucket.uri.bucket, Key=key)["Body"]
            with closing(body):
                return bytes(body.read(MARKER_BYTES))
        except ArchiveMissing:
            return None

    def leave_marker(self, application: str, data: bytes) -> None:
        key = marker_key(self._bucket.uri.prefix, application)
        with aws_errors("s3:PutObject", self._bucket.url(key)):
            arguments = {
                **self._bucket.write_arguments("STANDARD"),
                "ContentMD5": base64_text(hashlib.md5(data, usedforsecurity=False).digest()),
            }
            self._bucket.client.put_object(Bucket=self._bucket.uri.bucket, Key=key, Body=data, **arguments)

    def put_evidence(self, application: str, number: int, data: bytes, *, written_by: str | None) -> str:
        bucket = self._bucket
        key, digest = evidence_key(bucket.uri.prefix, application, number), hashlib.sha256(data)
        metadata = {"kind": "evidence", "application": quote(application, safe=""), "sha256": digest.hexdigest()}
        if written_by is not None:
            metadata["written-by"] = written_by
        try:
            told = self._send(key, data, metadata, "STANDARD")
            bucket.confirmed(key, told, f"sha256:{digest.hexdigest()}")
        except (_Taken, StoreUnavailable) as exc:
            there = self._evidence(key, len(data))
            if there is None and isinstance(exc, StoreUnavailable):
                raise
            if there != data:
                raise KeyTaken(f"{bucket.url(key)} already holds another document.") from exc
        return key

    def evidence(self, application: str, *, after: int = 0, longest: int) -> Iterator[tuple[int, bytes, str]]:
        prefix = self._bucket.uri.prefix
        start = evidence_key(prefix, application, after) if after else ""
        for page in self._pages(evidence_folder(prefix, application), after=start):
            for entry in page.entries:
                number = evidence_number(entry["Key"])
                data = None if number is None else self._evidence(entry["Key"], longest)
                if number is not None and data is not None:
                    yield number, data, entry["Key"]

    def _evidence(self, key: str, longest: int) -> bytes | None:
        """Return what lies under a key, one byte more than `longest` at most; None when there is nothing."""
        try:
            with aws_errors("s3:GetObject", self._bucket.url(key)):
                body = self._bucket.client.get_object(Bucket=self._bucket.uri.bucket, Key=key)["Body"]
                with closing(body):
                    return bytes(body.read(longest + 1))
        except ArchiveMissing:
            return None

    def listed_after(self, application: str, key: str, *, pages: int) -> ListedPart:
        folder = folder_of(self._bucket.uri.prefix, application)
        found: list[StoredArchive] = []
        until: str | None = None
        for number, page in enumerate(self._pages(folder, after=key), start=1):
            found += [self._listed(entry) for entry in page.entries if not is_no_archive(entry["Key"])]
            until = page.entries[-1]["Key"] if page.entries else until
            if page.is_last:
                return ListedPart(found, None)
            # A page may hold nothing that the catalog can keep: then there is no place yet to go on from.
            if number >= pages and until is not None:
                break
        return ListedPart(found, until)

    def _listed(self, entry: Any) -> StoredArchive:
        facts = key_facts(self._bucket.uri.prefix, entry["Key"])
        return StoredArchive(
            entry["Key"],
            entry["Size"],
            None,
            created_at=entry.get("LastModified"),
            storage_class=entry.get("StorageClass", "STANDARD"),
            archive_id=facts.number if facts is not None and facts.kind is not ArchiveKind.MANIFEST else None,
        )

    @property
    def locked_days(self) -> int | None:
        return self._bucket.uri.object_lock_days

    def locked_until(self, key: str) -> datetime | None:
        head = self._bucket.head(key)
        return head.locked_until if head is not None else None

    def old_versions(self, application: str) -> Iterator[OldVersion] | None:
        return old_versions(self._bucket, application)

    def look_back(self, archive: StoredArchive) -> None:
        head = self._bucket.head(archive.key)
        url = self._bucket.url(archive.key)
        if head is None:
            raise ArchiveMissing(f"{url} was written, and is not there.")
        if head.size != archive.size or head.checksum not in (None, archive.checksum):
            raise ArchiveCorrupt(f"{url} is not what was written.")
        with suppress(ArchiveCold):
            for _ in self.read(Location(self.uri, archive.key), 0, min(1, archive.size)):
                pass

    def listed_as_of(self) -> datetime | None:
        """A listing of S3 is of now: https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html."""
        return datetime.now(UTC)

    def forget_retrievals(self) -> None:
        pass  # S3 itself joins a restore that is under way

    def refresh_listing(self) -> None:
        pass

    def described(self, keys: Iterable[str]) -> Iterator[StoredArchive]:
        """Yield these archives; each takes a HEAD, eight at once."""
        with ThreadPoolExecutor(8, thread_name_prefix="s3-head") as pool:
            for head in pool.map(self._bucket.head, keys):
                if head is not None:
                    yield StoredArchive(head.key, head.size, head.description, head.checksum, head.created_at)

    def _pages(self, folder: str, *, after: str = "") -> Iterator[_Page]:
        for page in self._bucket.pages(folder, **({"StartAfter": after} if after else {})):
            # The catalog keeps no NUL, and no key of ours has one.
            entries = [entry for entry in page.get("Contents", []) if "\0" not in entry["Key"]]
            yield _Page(entries, is_last=not page.get("IsTruncated"))

    def _is_archive(self, key: str, kind: ArchiveKind | None) -> bool:
        if kind is None:
            return not is_no_archive(key)
        facts = key_facts(self._bucket.uri.prefix, key)
        return facts is not None and facts.kind is kind

    def _description(self, key: str) -> Description | None:
        if key_facts(self._bucket.uri.prefix, key) is None:
            return None
        head = self._bucket.head(key)
        return head.description if head is not None else None

    def _refusal(self, error: Any, key: str, tier: str) -> RetrievalRefused | None:
        """Return the refusal of a retrieval that S3 finds wrong (400), or None for any other error."""
        if http_status(error) != 400 or error_code(error) in ("ExpiredToken", "RequestTimeout", "InvalidToken"):
            return None
        told = f"S3 refused the retrieval of {self._bucket.url(key)} by the tier {tier} ({error_code(error)})"
        head = self._bucket.head(key)
        if head is None or head.storage_class == self._bucket.uri.storage_class:
            return RetrievalRefused(f"{told}.")
        tiers = retrieval_hours(str(replace(self._bucket.uri, storage_class=head.storage_class)))
        return RetrievalRefused(
            f"{told}: it lies in {head.storage_class}. A lifecycle rule of the bucket has moved it.",
            hint=f"Restore with one of the tiers {', '.join(tiers)}, then end that rule.",
        )

    def _check_wish(self, url: str, tier: str, days: int) -> None:
        if days < 1:
            raise RetrievalRefused(f"{days} days is not how long a copy can be kept.", hint="Ask for at least one day.")
        if self.features.retrieval and tier not in self.features.tiers:
            raise RetrievalRefused(
                f"{self._bucket.uri.storage_class} has no {tier} retrieval ({url}).",
                hint=f"Use one of: {', '.join(self.features.tiers)}.",
            )

    def _put(self, data: bytes, description: Description, storage_class: str) -> Receipt:
        """Put under a write-once key. When the key is taken, or no answer comes, the store is asked what it holds."""
        digest = hashlib.sha256(data).digest()
        known = replace(description, size=len(data), sha256=description.sha256 or digest.hex())
        self.rate_limit.take(len(data))
        key, expected = object_key(self._bucket.uri.prefix, known), f"sha256:{digest.hex()}"
        try:
            told = self._send(key, data, metadata_of(known), storage_class)
        except (_Taken, StoreUnavailable) as exc:
            if adopted := self._bucket.adopt(key, known, expected.__eq__):
                return adopted
            if isinstance(exc, StoreUnavailable):
                raise
            raise StoreUnavailable(f"{self._bucket.url(key)} was taken, and is free again.") from exc
        return Receipt(self._bucket.location(key), len(data), self._bucket.confirmed(key, told, expected))

    def _send(self, key: str, data: bytes, metadata: Mapping[str, str], storage_class: str) -> str | None:
        """Send one object; return the checksum that the store told, or raise `_Taken`.

        409 means that another write to the key is under way:
        https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
        """
        from botocore.exceptions import ClientError

        request = {
            **self._bucket.write_arguments(storage_class),
            "Bucket": self._bucket.uri.bucket,
            "Key": key,
            "IfNoneMatch": "*",
            "ChecksumAlgorithm": "SHA256",
            "ChecksumSHA256": base64_text(hashlib.sha256(data).digest()),
            "Metadata": dict(metadata),
        }
        with aws_errors("s3:PutObject", self._bucket.url(key)):
            for pause in (*_CONFLICT_PAUSES, None):
                try:
                    return self._bucket.client.put_object(Body=data, **request).get("ChecksumSHA256") or None
                except ClientError as exc:
                    if error_code(exc) in ("PreconditionFailed", "412"):
                        raise _Taken from exc
                    if error_code(exc) != "ConditionalRequestConflict" or pause is None:
                        raise
                    time.sleep(pause)  # S3 asks for a retry: another write of the key is under way
        raise AssertionError("unreachable: the last try returns or raises")


class _Page(NamedTuple):
    """A page of a listing, without keys that the catalog cannot keep."""

    entries: list[Any]
    is_last: bool


class _Taken(Exception):
    """A write-once key holds something already."""


#: Running already, or not in the cold at all (GLACIER_IR, STANDARD):
#: https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html
_NOTHING_TO_RETRIEVE = ("RestoreAlreadyInProgress", "InvalidObjectState", "ObjectAlreadyInActiveTierError")


def _next_chunk(body: Any, url: str) -> bytes:
    """Return the next bytes of a reply, b"" at its end; a broken connection is a StoreUnavailable."""
    with aws_errors("s3:GetObject", url):
        return bytes(body.read(READ_CHUNK))
