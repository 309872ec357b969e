"""The fast path of one bucket. Every method returns None where the careful path has to be asked."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, TypeVar

from glacier_provider.core.parts import MIB
from glacier_provider.stores.rate_limit import RateLimit
from glacier_provider.stores.s3.bucket import Bucket
from glacier_provider.stores.s3.fast.requests import Requests
from glacier_provider.stores.s3.fast.sender import OneByOne, Reply
from glacier_provider.stores.s3.fast.shapes import Credentials, NoFastPath, Shape, credentials_of, shape_of

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

#: What goes in one piece through memory: a part, a range. Larger ones take the careful path, by windows.
LARGEST_PIECE = 32 * MIB
_GIVEN_AT_ONCE = 256 * 1024  # bytes: they are still in the processor's cache when they are hashed and written
_LONGEST_PAGE = 8 * MIB  # of a listing: a thousand keys of the longest are a quarter of that
_A_DIGEST = base64.b64encode(bytes(32)).decode()


@dataclass(slots=True)
class FastPath:
    """Parts and ranges of one bucket's objects, by a connection for each thread; and what workers need to send."""

    bucket: Bucket
    rate_limit: RateLimit = field(default_factory=RateLimit)
    _shapes: dict[str, Shape] = field(default_factory=dict)
    _why_not: str | None = None
    _has_libcurl: bool = False
    _making: threading.Lock = field(default_factory=threading.Lock)
    _own: threading.local = field(default_factory=threading.local)

    def puts(self) -> tuple[Shape, Credentials] | None:
        """Return the shape of requests that store an archive, as it is from now on, and the credentials for them."""
        arguments = self.bucket.write_arguments(self.bucket.uri.storage_class)

        def ask(key: str) -> object:
            checksum = {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": _A_DIGEST}
            return self._call("put_object", key, Body=b"", IfNoneMatch="*", **checksum, **arguments)

        return self._shape_and_credentials("PutObject", ask)

    def gets(self) -> tuple[Shape, Credentials] | None:
        """Return the same for requests that read an archive whole."""
        return self._shape_and_credentials("GetObject", lambda key: self._call("get_object", key))

    def restores(self) -> tuple[Shape, Credentials] | None:
        """Return the same for requests that ask for an archive back from the cold."""
        wish = {"Days": 1, "GlacierJobParameters": {"Tier": "Bulk"}}
        return self._shape_and_credentials(
            "RestoreObject", lambda key: self._call("restore_object", key, RestoreRequest=wish)
        )

    def _shape_and_credentials(self, operation: str, ask: Callable[[str], object]) -> tuple[Shape, Credentials] | None:
        return self._if_it_can(lambda: (shape_of(self.bucket.client, operation, ask), self._credentials()))

    def credentials(self) -> Credentials | None:
        return self._if_it_can(self._credentials)

    def send_part(
        self, key: str, upload_id: str, number: int, data: bytes, digest: bytes, md5: str | None = None
    ) -> str | None:
        """Send one part of at most `LARGEST_PIECE` bytes; return its ETag when the store has taken it as it is.

        `digest` is its SHA-256, `md5` what is sent as Content-MD5.
        """
        checksum = base64.b64encode(digest).decode()
        own = [("x-amz-checksum-sha256", checksum)] + ([("content-md5", md5)] if md5 is not None else [])

        def ask(key: str) -> object:
            return self._call("upload_part", key, Body=b"", UploadId="x", PartNumber=1, ChecksumSHA256=_A_DIGEST)

        def send() -> Reply:
            request = self._requests("UploadPart", ask).make(
                key,
                own,
                query=[("partNumber", str(number)), ("uploadId", upload_id)],
                body=data,
                payload=digest.hex(),
            )
            self.rate_limit.take(len(data))
            return self._connection("UploadPart").send(request)

        reply = self._if_it_can(send)
        if reply is None or reply.status != 200:
            return None
        told = reply.header("x-amz-checksum-sha256")
        return reply.header("etag") if told in (None, "", checksum) else None

    def list_page(self, folder: str, after: str, most: int) -> bytes | None:
        """Return a page of what is below a folder behind `after`, with its restores, as the store tells it."""

        def ask(stand_in: str) -> object:
            return self.bucket.client.list_objects_v2(
                Bucket=self.bucket.uri.bucket, Prefix=stand_in, OptionalObjectAttributes=["RestoreStatus"]
            )

        def send() -> Reply:
            query = [("list-type", "2"), ("max-keys", str(most)), ("prefix", folder), ("start-after", after)]
            request = self._requests("ListObjectsV2", ask, of_bucket=True).make("", query=query, most=_LONGEST_PAGE)
            return self._connection("ListObjectsV2").send(request)

        reply = self._if_it_can(send)
        return None if reply is None or reply.status != 200 else b"".join(reply.body)

    def read(self, key: str, start: int, size: int, take: Callable[[bytes], object]) -> int:
        """Give a range of an object to `take`, piece by piece in order; return how many bytes came.

        They may be fewer than `size`; the careful path brings the rest, or says why there is none.
        """
        wanted, begins = f"bytes {start}-{start + size - 1}/", False
        came = given = 0
        waiting: list[bytes] = []  # libcurl gives 16 KiB at a time: too little for each to be hashed and written

        def pass_on(head: Callable[[], Reply], data: bytes) -> bool:
            nonlocal came, given, begins
            if came == 0 and not begins:
                reply = head()
                begins = reply.status == 206 and (reply.header("content-range") or "").startswith(wanted)
            if not begins or came + len(data) > size:
                return False
            waiting.append(data)
            came += len(data)
            if came - given >= _GIVEN_AT_ONCE or came == size:
                take(b"".join(waiting))
                waiting.clear()
                given = came
            return True

        def send() -> Reply:
            request = self._requests("GetObject", lambda key: self._call("get_object", key)).make(
                key, also=[f"range: bytes={start}-{start + size - 1}"]
            )
            return self._connection("GetObject").send(request, pass_on)

        self._if_it_can(send)
        return given

    def _call(self, method: str, key: str, **arguments: Any) -> object:
        return getattr(self.bucket.client, method)(Bucket=self.bucket.uri.bucket, Key=key, **arguments)

    def _if_it_can(self, work: Callable[[], _Result]) -> _Result | None:
        """Return what `work` returns, None when there is no fast path: without libcurl, or for unusual requests."""
        from botocore.exceptions import BotoCoreError, ClientError

        if self._why_not is not None:
            return None
        try:
            if not self._has_libcurl and find_spec("pycurl") is None:
                raise NoFastPath("the Python package pycurl is not installed")
            self._has_libcurl = True
            return work()
        except (BotoCoreError, ClientError):  # no credentials, for one: the careful path says so
            return None
        except (NoFastPath, ImportError) as exc:
            self._why_not = str(exc)
            log.info("Requests to %s take the usual path: %s.", self.bucket.url(), exc)
            return None

    def _credentials(self) -> Credentials:
        return credentials_of(self.bucket.client)

    def _requests(self, operation: str, ask: Callable[[str], object], *, of_bucket: bool = False) -> Requests:
        with self._making:
            if operation not in self._shapes:
                self._shapes[operation] = shape_of(self.bucket.client, operation, ask, of_bucket=of_bucket)
        mine: dict[str, Requests] = self._of_this_thread("requests")
        credentials = self._credentials()
        if operation not in mine:
            mine[operation] = Requests(self._shapes[operation], credentials)
        elif mine[operation].credentials != credentials:
            mine[operation].credentials = credentials
        return mine[operation]

    def _connection(self, operation: str) -> OneByOne:
        mine: dict[str, OneByOne] = self._of_this_thread("connections")
        if operation not in mine:
            mine[operation] = OneByOne(self._shapes[operation].transport)
        return mine[operation]

    def _of_this_thread(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._own.__dict__.setdefault(name, {})
        return found
