"""From a shape to signed requests."""

from __future__ import annotations

import time
from collections.abc import Sequence
from urllib.parse import quote

from glacier_provider.stores.wire.sender import Request
from glacier_provider.stores.wire.shapes import Shape
from glacier_provider.stores.wire.signing import Credentials, Header, Signer

NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#: libcurl writes these for every body unless it is told not to.
_NOT_THESE = ("Expect:", "Content-Type:", "Accept:")


class Requests:
    """Makes signed requests of one shape."""

    def __init__(self, shape: Shape, credentials: Credentials) -> None:
        self._shape = shape
        self._usual = [*shape.headers, ("host", shape.host)]
        self._unsigned = [f"{name}: {value}" for name, value in shape.headers if not _is_signed(name)]
        self._second = -1
        self._stamp = ""
        self.credentials = credentials

    @property
    def credentials(self) -> Credentials:
        return self._signer.credentials

    @credentials.setter
    def credentials(self, credentials: Credentials) -> None:
        self._signer = Signer(credentials, region=self._shape.region, service=self._shape.service)
        token = [("x-amz-security-token", credentials.token)] if credentials.token else []
        self._signed: list[Header] = [(name, value) for name, value in self._usual if _is_signed(name)] + token

    def make(
        self,
        key: str,
        own: Sequence[Header] = (),
        *,
        query: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        payload: str = NOTHING,
        also: Sequence[str] = (),
    ) -> Request:
        """Return a request for a key. `own` are headers to sign (small names beginning with ``x-amz-``), `also`
        lines that are not signed; `payload` is the hex SHA-256 of `body`.
        """
        stamp, path = self._now(), self._shape.path_of(key)
        asked = "&".join(f"{name}={quote(value, safe='~')}" for name, value in sorted(query))
        headers = sorted([*self._signed, *own, ("x-amz-content-sha256", payload), ("x-amz-date", stamp)])
        signature = self._signer.authorization(self._shape.method, path, asked, headers, payload=payload, stamp=stamp)
        lines = [f"{name}: {value}" for name, value in headers]
        lines += (f"authorization: {signature}", *self._unsigned, *also, *_NOT_THESE)
        url = f"{self._shape.origin}{path}"
        return Request(self._shape.method, f"{url}?{asked}" if asked else url, lines, body)

    def _now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        return self._stamp


def _is_signed(name: str) -> bool:
    return name == "host" or name.startswith("x-amz-")
