"""Objects and multipart uploads of the emulated S3: what moto does not do, done on moto's own data.

Every operation runs under one lock, so that a conditional write is atomic. What is not named here goes to moto as it
came.
"""

from __future__ import annotations

import base64
import bisect
import hashlib
import re
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from tests.emulator.clock import Clock
from tests.emulator.faults import FaultKind
from tests.emulator.s3_archive import (
    ARCHIVE_CLASSES,
    DAY,
    TIERS,
    Announcer,
    Thaw,
    is_readable,
    next_midnight,
    restore_header,
    restore_status,
    send_event,
    thaw_state,
)
from tests.emulator.s3_requests import S3_NAMESPACE, Answer, S3Request, body_fault, error, xml_answer

CONTENT_HEADERS = (
    "content-type",
    "content-encoding",
    "content-disposition",
    "content-language",
    "cache-control",
)
MAX_KEYS = 1000
_OWN_HEADERS = ("x-amz-restore", "content-length", "x-amz-sdk-checksum-algorithm")
_MUTATING = ("PutObject", "CopyObject", "DeleteObject", "DeleteObjects", "CompleteMultipartUpload")

AskMoto = Callable[[], Answer]


class Objects:
    """The operations on objects. `announcer` is set while the server runs."""

    def __init__(self, clock: Clock, retrieval_seconds: float | Mapping[str, float], repeated_complete: str) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self.retrievals_take(retrieval_seconds)
        self._repeated_complete = repeated_complete
        self._lock = threading.RLock()
        self._sorted: dict[str, list[str]] = {}
        self.announcer: Announcer | None = None
        self.largest_page = MAX_KEYS  #: keys that a page of a listing has at most: a page may have fewer than asked for
        self.empty_pages = False  #: whether each page of a listing follows one that is empty and tells of more

    def retrievals_take(self, seconds: float | Mapping[str, float]) -> None:
        """Let restores that begin from now on take so long, all of them or by tier."""
        self._seconds = dict(seconds) if isinstance(seconds, Mapping) else dict.fromkeys(TIERS, float(seconds))

    def perform(self, request: S3Request, ask_moto: AskMoto) -> Answer:
        """Answer one request; the body is checked against its checksums before anything else happens."""
        if refusal := _limit_fault(request) or _checksum_fault(request) or body_fault(request.headers, request.body):
            return refusal
        handler = getattr(self, f"_{_snake(request.operation)}", None)
        with self._lock:
            if request.operation in _MUTATING:
                self._sorted.pop(request.bucket, None)
            return handler(request, ask_moto) if handler is not None else ask_moto()

    def forget_order(self, bucket: str) -> None:
        """A test changed a bucket's objects by hand."""
        with self._lock:
            self._sorted.pop(bucket, None)

    def bucket(self, name: str) -> Any:
        """Return moto's bucket, or None."""
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        return s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets.get(name)

    def key(self, bucket: str, name: str) -> Any:
        """Return moto's current object, or None when there is none (or a delete marker)."""
        found = self.bucket(bucket)
        key = found.keys.get(name) if found is not None else None
        return key if hasattr(key, "storage_class") else None

    # Reading

    def _get_object(self, request: S3Request, ask_moto: AskMoto) -> Answer:
        key = self.key(request.bucket, request.key)
        if key is None:
            return ask_moto()
        if not is_readable(key, self._clock.timestamp()):
            message = "The operation is not valid for the object's storage class"
            return error(403, "InvalidObjectState", message, StorageClass=key.storage_class)
        return self._body(request, key) if request.is_plain else ask_moto()

    def _body(self, request: S3Request, key: Any) -> Answer:
        span = _span(request.headers.get("range"), key.size)
        headers = self._headers(key, checksum=span is None and "x-amz-checksum-mode" in request.headers)
        if span is None:
            return Answer(200, key.value, headers)
        start, end = span
        if start >= key.size:
            return error(416, "InvalidRange", "The requested range is not satisfiable", ActualObjectSize=str(key.size))
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{key.size}"
        with key.lock:
            key._value_buffer.seek(start)
            return Answer(206, key._value_buffer.read(end - start), headers)

    def _head_object(self, request: S3Request, ask_moto: AskMoto) -> Answer:
        key = self.key(request.bucket, request.key)
        if key is None or not request.is_plain:
            return ask_moto()
        headers = self._headers(key, checksum="x-amz-checksum-mode" in request.headers)
        return Answer(200, b"", {**headers, "Content-Length": str(key.size)})

    def _headers(self, key: Any, *, checksum: bool) -> dict[str, str]:
        headers = {
            name: value
            for name, value in key.metadata.items()
            if name.lower().startswith("x-amz-meta-") or name.lower() in CONTENT_HEADERS
        }
        headers |= {name: value for name, value in key.response_dict.items() if name not in _OWN_HEADERS}
        headers["Accept-Ranges"] = "bytes"
        if restore := restore_header(key, self._clock.timestamp()):
            headers["x-amz-restore"] = restore
        if checksum and key.checksum_algorithm and key.checksum_value:
            headers[f"x-amz-checksum-{key.checksum_algorithm.lower()}"] = _qualified(key)
            headers["x-amz-checksum-type"] = key.checksum_type or "FULL_OBJECT"
        return headers

    def _get_object_attributes(self, request: S3Request, ask_moto: AskMoto) -> Answer:
        key = self.key(request.bucket, request.key)
        if key is None:
            return ask_moto()
        asked = request.headers.get("x-amz-object-attributes", "").replace(" ", "").split(",")
        checksum = None
        if key.checksum_value:
            kind = key.checksum_type or "FULL_OBJECT"
            checksum = {f"Checksum{key.checksum_algorithm}": _qualified(key), "ChecksumType": kind}
        parts = _parts_xml(key.multipart.parts.items()) if key.multipart else []
        known = {
            "ETag": key.etag.strip('"'),
            "Checksum": checksum,
            "ObjectParts": {"PartsCount": len(parts), "Part": parts} if parts else None,
            "StorageClass": key.storage_class,
            "ObjectSize": key.size,
        }
        return xml_answer("GetObjectAttributesResponse", {name: known[name] for name in known if name in asked})

    # Listing

    def _list_objects_v2(self, request: S3Request, ask_moto: AskMoto) -> Answer:
        query = request.query
        bucket = self.bucket(request.bucket)
        if bucket is None or "delimiter" in query:
            return ask_moto()
        token, after = query.get("continuation-token", ""), query.get("start-after", "")
        if token:
            after = bytes.fromhex(token.lstrip("-")).decode("utf-8", "surrogateescape")
        limit = min(int(query.get("max-keys", MAX_KEYS)), MAX_KEYS)
        if self.empty_pages and not token.startswith("-"):
            names, truncated, token = [], True, "-" + after.encode("utf-8", "surrogateescape").hex()
        else:
            names, truncated = self._page(bucket, query.get("prefix", ""), after, min(limit, self.largest_page))
            token = names[-1].encode("utf-8", "surrogateescape").hex() if truncated else ""
        with_restore = "RestoreStatus" in request.headers.get("x-amz-optional-object-attributes", "")
        encode = quote if query.get("encoding-type") == "url" else str
        contents = [self._listed(bucket.keys[name], encode, with_restore) for name in names]
        answer = {"Name": bucket.name, "Prefix": encode(query.get("prefix", "")), "KeyCount": len(names)}
        answer |= {"MaxKeys": limit, "EncodingType": query.get("encoding-type"), "IsTruncated": truncated}
        return xml_answer("ListBucketResult", {**answer, "NextContinuationToken": token or None, "Contents": contents})

    def _page(self, bucket: Any, prefix: str, after: str, limit: int) -> tuple[list[str], bool]:
        if bucket.name not in self._sorted:
            live = [name for name, key in bucket.keys.items() if hasattr(key, "storage_class")]
            self._sorted[bucket.name] = sorted(live, key=lambda name: name.encode("utf-8", "surrogateescape"))
        names = self._sorted[bucket.name]
        start = max(bisect.bisect_left(names, prefix), bisect.bisect_right(names, after) if after else 0)
        page = []
        for name in names[start : start + limit + 1]:
            if not name.startswith(prefix):
                break
            page.append(name)
        return page[:limit], len(page) > limit

    def _listed(self, key: Any, encode: Callable[[str], str], with_restore: bool) -> dict[str, Any]:
        status = restore_status(key, self._clock.timestamp()) if with_restore else None
        return {
            "Key": encode(key.name),
            "LastModified": key.last_modified_ISO8601,
            "ETag": key.etag,
            "ChecksumAlgorithm": key.checksum_algorithm,
            "ChecksumType": key.checksum_type if key.checksum_algorithm else None,
            "Size": key.size,
            "StorageClass": key.storage_class,
            "RestoreStatus": status,
        }

    # Writing

    def _put_object(self, request: S3Request, ask_moto: AskMoto) -> Answer:
        answer = ask_moto()
        sent = request.headers.get("x-amz-checksum-sha256")
        key = self.key(request.bucket, request.key)
        if answer.status == 200 and key is not None:
            key.last_modified = self._clock.now().replace(tzinfo=None)
        if answer.status == 200 and sent and key is not None:
            key.checksum_algorithm, key.checksum_value, key.checksum_type = "SHA256", sent, "FULL_OBJECT"
            answer.headers |= {"x-amz-checksum-sha256": sent, "x-amz-checksum-type": "FULL_OBJECT"}
        return answer

    def _create_multipart_upload(self, request: S3Request, ask_moto: AskMoto) -> Answer:
        algorithm, kind = (request.headers.get(f"x-amz-checksum-{name}", "") for name in ("algorithm", "type"))
        if (algorithm, kind) == ("SHA256", "FULL_OBJECT"):
            return error(
                400,
                "InvalidRequest",
                "The FULL_OBJECT checksum type cannot be used with the sha256 algorithm.",
            )
        answer = ask_moto()
        if answer.status == 200:
            upload_id = re.search(rb"<UploadId>([^<]+)<", answer.body)
            assert upload_id is not None
            upload = self.bucket(request.bucket).multiparts[upload_id.group(1).decode()]
            upload.initiated, upload.is_locked = self._clock.now(), _is_locked(request)
        return answer

    def _upload(self, request: S3Request) -> Any:
        bucket = self.bucket(request.bucket)
        upload = bucket.multiparts.get(request.query["uploadId"]) if bucket is not None else None
        return upload if upload is not None and upload.key_name == request.key else None

    def _upload_part(self, request: S3Request, ask_moto: AskMoto) -> Answer:
        upload = self._upload(request)
        if upload is None:
            return _no_such_upload() if self.bucket(request.bucket) is not None else ask_moto()
        sent = request.headers.get("x-amz-checksum-sha256")
        if upload.metadata.get("x-amz-checksum-algorithm") == "SHA256" and sent is None:
            return error(400, "InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type: sha256")
        if getattr(upload, "is_locked", False) and "content-md5" not in request.headers:
            return error(400, "InvalidRequest", "Content-MD5 is required when object lock parameters are specified")
        number = int(request.query["partNumber"])
        if not 1 <= number <= 10_000:
            return error(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
        part = upload.set_part(number, request.body)
        part.checksum_value, part.last_seen = sent, self._clock.now()
        headers = {"ETag": part.etag} | ({"x-amz-checksum-sha256": sent} if sent else {})
        return Answer(200, b"", headers)

    def _list_parts(self, request: S3Request, ask_moto: AskMoto) -> Answer:
        upload = self._upload(request)
        if upload is None:
            return _no_such_upload() if self.bucket(request.bucket) is not None else ask_moto()
        marker = int(request.query.get("part-number-marker") or 0)
        limit = min(int(request.query.get("max-parts") or MAX_KEYS), MAX_KEYS)
        later = [(number, part) for number, part in sorted(upload.parts.items()) if number > marker]
        page = later[:limit]
        answer = {
            "Bucket": request.bucket,
            "Key": request.key,
            "UploadId": upload.id,
            "PartNumberMarker": marker,
        }
        answer |= {"NextPartNumberMarker": page[-1][0] if page else 0, "MaxParts": limit}
        answer |= {"IsTruncated": len(later) > limit, "StorageClass": upload.storage or "STANDARD"}
        algorithm = upload.metadata.get("x-amz-checksum-algorithm")
        return xml_answer("ListPartsResult", {**answer, "ChecksumAlgorithm": algorithm, "Part": _parts_xml(page)})

    def _list_multipart_uploads(self, request: S3Request, ask_moto: AskMoto) -> Answer:
        bucket = self.bucket(request.bucket)
        if bucket is None:
            return ask_moto()
        prefix = request.query.get("prefix", "")
        encode = quote if request.query.get("encoding-type") == "url" else str
        uploads = [upload for upload in bucket.multiparts.values() if upload.key_name.startswith(prefix)]
        entries = [
            {
                "Key": encode(upload.key_name),
                "UploadId": upload.id,
                "StorageClass": upload.storage or "STANDARD",
                "Initiated": getattr(upload, "initiated", self._clock.now()).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            }
            for upload in sorted(uploads, key=lambda upload: upload.key_name)
        ]
        answer = {
            "Bucket": bucket.name,
            "EncodingType": request.query.get("encoding-type"),
            "Prefix": encode(prefix),
        }
        return xml_answer("ListMultipartUploadsResult", {**answer, "IsTruncated": False, "Upload": entries})

    def _complete_multipart_upload(self, request: S3Request, ask_moto: AskMoto) -> Answer:
        upload = self._upload(request)
        existing = self.key(request.bucket, request.key)
        if upload is None:
            return self._completed_again(request, existing, ask_moto)
        if request.headers.get("if-none-match") == "*" and existing is not None:
            return _precondition_failed()
        named = _named_parts(request.body)
        if refusal := _complete_fault(request, upload, named):
            return refusal
        answer = ask_moto()
        if answer.status != 200:
            return answer
        key = self.key(request.bucket, request.key)
        key.initiated_upload = request.query["uploadId"]
        key.last_modified = self._clock.now().replace(tzinfo=None)
        self._set_composite(key, [upload.parts[number] for number, _, _ in named])
        return self._completed(request, key)

    def _set_composite(self, key: Any, parts: list[Any]) -> None:
        values = [getattr(part, "checksum_value", None) for part in parts]
        if not all(values):
            return
        digest = hashlib.sha256(b"".join(base64.b64decode(value) for value in values)).digest()
        key.checksum_algorithm, key.checksum_type, key.checksum_parts = "SHA256", "COMPOSITE", len(parts)
        key.checksum_value = base64.b64encode(digest).decode()

    def _completed(self, request: S3Request, key: Any) -> Answer:
        location = f"http://{request.bucket}.s3.amazonaws.com/{quote(key.name)}"
        answer = {"Location": location, "Bucket": request.bucket, "Key": key.name, "ETag": key.etag}
        if key.checksum_type == "COMPOSITE":
            answer |= {f"Checksum{key.checksum_algorithm}": _qualified(key), "ChecksumType": "COMPOSITE"}
        return xml_answer("CompleteMultipartUploadResult", answer)

    def _completed_again(self, request: S3Request, existing: Any, ask_moto: AskMoto) -> Answer:
        if self.bucket(request.bucket) is None:
            return ask_moto()
        if getattr(existing, "initiated_upload", None) != request.query["uploadId"]:
            return _no_such_upload()
        if self._repeated_complete == "ok":
            return self._completed(request, existing)
        return _no_such_upload() if self._repeated_complete == "no-such-upload" else _precondition_failed()

    # Restoring

    def restore(self, request: S3Request, faults: Collection[FaultKind]) -> Answer:
        """Answer RestoreObject. `faults`: fail_job (it never becomes readable), expire_job (readable for no time)."""
        with self._lock:
            bucket, key = self.bucket(request.bucket), self.key(request.bucket, request.key)
            if bucket is None:
                return error(404, "NoSuchBucket", "The specified bucket does not exist", BucketName=request.bucket)
            if key is None:
                return error(404, "NoSuchKey", "The specified key does not exist.", Key=request.key)
            days, tier = _restore_wish(request.body)
            if refusal := _restore_fault(key, days, tier):
                return refusal
            return self._start_restore(bucket, key, (days, tier), faults)

    def _start_restore(self, bucket: Any, key: Any, wish: tuple[int, str], faults: Collection[FaultKind]) -> Answer:
        days, tier = wish
        now = self._clock.timestamp()
        state, _ = thaw_state(key, now)
        if state == "ready":
            key.thaw.expires_at = next_midnight(now + days * DAY)
            return Answer(200)
        if state == "ongoing" and not (key.thaw.days == days and TIERS.index(tier) > TIERS.index(key.thaw.tier)):
            return error(409, "RestoreAlreadyInProgress", "Object restore is already in progress")
        ready = now + self._seconds[tier]
        expires = ready if FaultKind.EXPIRE_JOB in faults else next_midnight(ready + days * DAY)
        key.thaw = Thaw(tier, days, ready, expires, failed=FaultKind.FAIL_JOB in faults)
        send_event("s3:ObjectRestore:Post", bucket, key)
        if self.announcer is not None:
            self.announcer.expect(bucket, key)
        return Answer(202)


def _is_locked(request: S3Request) -> bool:
    return any(name.startswith("x-amz-object-lock-") for name in request.headers)


def _checksum_fault(request: S3Request) -> Answer | None:
    """Refuse a locked object without a checksum: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html."""
    has_one = {"content-md5", "x-amz-sdk-checksum-algorithm"} & set(request.headers)
    if request.operation != "PutObject" or not _is_locked(request) or has_one:
        return None
    words = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
    return error(400, "InvalidRequest", words)


def _limit_fault(request: S3Request) -> Answer | None:
    """Keys have at most 1,024 bytes, user metadata at most 2 KB, names and values together."""
    if len(request.key.encode("utf-8", "surrogateescape")) > 1024:
        return error(400, "KeyTooLongError", "Your key is too long")
    metadata = {name: value for name, value in request.headers.items() if name.startswith("x-amz-meta-")}
    if sum(len(name) - len("x-amz-meta-") + len(value) for name, value in metadata.items()) > 2048:
        return error(400, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size")
    return None


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the half-open range that a Range header asks for, or None for the whole object."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", header or "")
    if not found:
        return None
    end = int(found.group(2)) + 1 if found.group(2) else size
    return int(found.group(1)), min(end, size)


def _qualified(key: Any) -> str:
    return f"{key.checksum_value}-{key.checksum_parts}" if key.checksum_type == "COMPOSITE" else str(key.checksum_value)


def _parts_xml(parts: Any) -> list[dict[str, Any]]:
    return [
        {
            "PartNumber": number,
            "LastModified": part.last_modified_ISO8601,
            "ETag": part.etag,
            "Size": part.size,
            "ChecksumSHA256": getattr(part, "checksum_value", None),
        }
        for number, part in parts
    ]


def _no_such_upload() -> Answer:
    message = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted."
    return error(404, "NoSuchUpload", message)


def _precondition_failed() -> Answer:
    message = "At least one of the pre-conditions you specified did not hold"
    return error(412, "PreconditionFailed", message, Condition="If-None-Match")


def _named_parts(body: bytes) -> list[tuple[int, str, str | None]]:
    """Return (number, ETag, SHA-256) of the parts that a CompleteMultipartUpload names."""
    root = ElementTree.fromstring(body)
    space = {"s3": S3_NAMESPACE}
    return [
        (
            int(part.findtext("s3:PartNumber", "0", space)),
            part.findtext("s3:ETag", "", space),
            part.findtext("s3:ChecksumSHA256", None, space),
        )
        for part in root.findall("s3:Part", space)
    ]


def _complete_fault(request: S3Request, upload: Any, named: list[tuple[int, str, str | None]]) -> Answer | None:
    numbers = [number for number, _, _ in named]
    if numbers != sorted(set(numbers)):
        return error(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
    for number, _, checksum in named:
        part = upload.parts.get(number)
        stored = getattr(part, "checksum_value", None)
        if stored and not checksum:
            message = f"The upload was created using a sha256 checksum, which is missing for part {number}."
            return error(400, "InvalidRequest", message)
        if part is None or (checksum and checksum != stored):
            return error(400, "InvalidPart", "One or more of the specified parts could not be found.")
    size = sum(upload.parts[number].size for number in numbers)
    expected = request.headers.get("x-amz-mp-object-size")
    if expected is not None and int(expected) != size:
        message = f"The x-amz-mp-object-size header value {expected} does not match what was computed: {size}"
        return error(400, "InvalidRequest", message)
    return None


def _restore_wish(body: bytes) -> tuple[int, str]:
    """Return days and tier of a RestoreRequest; 0 days when it names none."""
    root = ElementTree.fromstring(body)
    texts = {element.tag.rsplit("}", 1)[-1]: element.text or "" for element in root.iter()}
    return int(texts.get("Days") or 0), texts.get("Tier") or "Standard"


def _restore_fault(key: Any, days: int, tier: str) -> Answer | None:
    if key.storage_class not in ARCHIVE_CLASSES:
        message = "Restore is not allowed for the object's current storage class"
        return error(403, "InvalidObjectState", message, StorageClass=key.storage_class)
    if days < 1:
        return error(400, "MalformedXML", "The XML you provided was not well-formed or did not validate.")
    if tier not in TIERS:
        return error(400, "MalformedXML", "The XML you provided was not well-formed or did not validate.")
    if tier == "Expedited" and key.storage_class == "DEEP_ARCHIVE":
        message = "Retrieval option is not supported by this storage class"
        return error(400, "InvalidArgument", message)
    return None
