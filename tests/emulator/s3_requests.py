"""What arrives at the emulated S3: requests with their operation's name, and answers in S3's own XML."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

S3_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_S3_SCOPE = re.compile(r"Credential=[^/]+/\d+/[^/]+/s3/|[?&]X-Amz-Credential=[^&]*%2Fs3%2F")

_BUCKET_OPERATIONS = {
    ("GET", "uploads"): "ListMultipartUploads",
    ("GET", "versions"): "ListObjectVersions",
    ("GET", "list-type"): "ListObjectsV2",
    ("GET", "location"): "GetBucketLocation",
    ("PUT", "notification"): "PutBucketNotificationConfiguration",
    ("GET", "notification"): "GetBucketNotificationConfiguration",
    ("PUT", "versioning"): "PutBucketVersioning",
    ("GET", "versioning"): "GetBucketVersioning",
    ("PUT", "lifecycle"): "PutBucketLifecycleConfiguration",
    ("GET", "lifecycle"): "GetBucketLifecycleConfiguration",
    ("PUT", "object-lock"): "PutObjectLockConfiguration",
    ("GET", "object-lock"): "GetObjectLockConfiguration",
    ("GET", "publicAccessBlock"): "GetPublicAccessBlock",
    ("POST", "delete"): "DeleteObjects",
}
_BUCKET_PLAIN = {"GET": "ListObjects", "PUT": "CreateBucket", "HEAD": "HeadBucket", "DELETE": "DeleteBucket"}
_KEY_OPERATIONS = {
    ("GET", "uploadId"): "ListParts",
    ("GET", "attributes"): "GetObjectAttributes",
    ("PUT", "partNumber"): "UploadPart",
    ("POST", "uploads"): "CreateMultipartUpload",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("POST", "restore"): "RestoreObject",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
    ("PUT", "tagging"): "PutObjectTagging",
    ("GET", "tagging"): "GetObjectTagging",
    ("PUT", "retention"): "PutObjectRetention",
    ("GET", "retention"): "GetObjectRetention",
}
_KEY_PLAIN = {"GET": "GetObject", "PUT": "PutObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}


@dataclass(frozen=True)
class S3Request:
    """One request as the emulator sees it; `headers` have lower-case names."""

    operation: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def from_environ(cls, environ: dict[str, Any]) -> S3Request | None:
        """Return the request, its body put back for moto; None for a request to another service."""
        query_string = environ.get("QUERY_STRING", "")
        if not _S3_SCOPE.search(environ.get("HTTP_AUTHORIZATION", "") + "?" + query_string):
            return None
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "surrogateescape").lstrip("/")
        bucket, _, key = path.partition("/")
        query = {name: values[0] for name, values in parse_qs(query_string, keep_blank_values=True).items()}
        headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
        body = environ["wsgi.input"].getvalue()
        return cls(_operation(environ["REQUEST_METHOD"], key, query, headers), bucket, key, query, headers, body)

    @property
    def is_plain(self) -> bool:
        """Whether a read asks for nothing that needs moto: no version, part or condition."""
        asked = set(self.query) - {"x-id"}
        return not asked and not any(name.startswith("if-") for name in self.headers)


def _operation(method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    table, plain = (_KEY_OPERATIONS, _KEY_PLAIN) if key else (_BUCKET_OPERATIONS, _BUCKET_PLAIN)
    found = next((name for (verb, part), name in table.items() if verb == method and part in query), None)
    name = found or plain.get(method, method)
    if "x-amz-copy-source" in headers:
        return {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}.get(name, name)
    return name


@dataclass
class Answer:
    """A response before the faults have their turn."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        return f"{self.status} {_REASONS.get(self.status, 'Status')}"


_REASONS = {
    200: "OK",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    400: "Bad Request",
    403: "Forbidden",
}
_REASONS |= {404: "Not Found", 409: "Conflict", 412: "Precondition Failed", 416: "Range Not Satisfiable"}


def error(status: int, code: str, message: str, **details: str) -> Answer:
    """Return an error in S3's form; `details` become further elements, for instance StorageClass."""
    inner = {"Code": code, "Message": message, **details, "RequestId": "4442587FB7D0A2F9"}
    return xml_answer("Error", inner, status=status, namespace="")


def xml_answer(root: str, content: Any, *, status: int = 200, namespace: str = S3_NAMESPACE) -> Answer:
    """Return an answer whose body is `content`: a dict of elements; a list repeats its element; None leaves it out."""
    attribute = f' xmlns="{namespace}"' if namespace else ""
    inner = "".join(_elements(content))
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}{attribute}>{inner}</{root}>'.encode()
    return Answer(status, body, {"Content-Type": "application/xml"})


def _elements(content: Mapping[str, Any]) -> list[str]:
    parts = []
    for name, value in content.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Mapping):
                parts.append(f"<{name}>{''.join(_elements(each))}</{name}>")
            elif each is not None:
                text = str(each).lower() if isinstance(each, bool) else str(each)
                parts.append(f"<{name}>{escape(text)}</{name}>")
    return parts


def body_fault(headers: Mapping[str, str], body: bytes) -> Answer | None:
    """Return the refusal of a body that differs from a checksum sent with it, or None.

    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html: BadDigest, XAmzContentSHA256Mismatch.
    """
    sha256 = hashlib.sha256(body).digest()
    signed = headers.get("x-amz-content-sha256", "")
    if re.fullmatch("[0-9a-f]{64}", signed) and signed != sha256.hex():
        return error(400, "XAmzContentSHA256Mismatch", "The provided x-amz-content-sha256 does not match the body.")
    actual = {
        "content-md5": lambda: hashlib.md5(body).digest(),
        "x-amz-checksum-sha256": lambda: sha256,
        "x-amz-checksum-sha1": lambda: hashlib.sha1(body).digest(),
        "x-amz-checksum-crc32": lambda: zlib.crc32(body).to_bytes(4, "big"),
    }
    for header, digest in actual.items():
        if header not in headers:
            continue
        given = _decoded(headers[header])
        if given is None or len(given) != len(digest()):
            return error(400, "InvalidRequest", f"Value for {header} header is invalid.")
        if given != digest():
            return error(400, "BadDigest", f"The {header} you specified did not match the calculated checksum.")
    return None


def _decoded(value: str) -> bytes | None:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        return None
