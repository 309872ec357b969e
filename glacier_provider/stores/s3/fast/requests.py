"""From a shape to signed requests. Pure, but for the clock that they are stamped with.

AWS Signature Version 4, with the key of the day at hand:
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import quote

from glacier_provider.stores.s3.fast.sender import Request
from glacier_provider.stores.s3.fast.shapes import Credentials, Shape

NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_NOT_THESE = ("Expect:", "Content-Type:", "Accept:")
_PLAIN = re.compile(r"[A-Za-z0-9_.\-~/]+")  # nothing to quote: most keys


class Signer:
    """Signs requests to one service of one region."""

    def __init__(self, credentials: Credentials, *, region: str, service: str) -> None:
        self.credentials = credentials
        self._region = region
        self._service = service
        self._day = ""
        self._scope = self._begins = ""
        self._key = b""

    def authorization(
        self, method: str, path: str, query: str, headers: Sequence[tuple[str, str]], *, payload: str, stamp: str
    ) -> str:
        """Return the value of the header Authorization.

        `path` and `query` are encoded as they are sent, `query` sorted; `headers` have small names, are sorted, and
        all of them are signed; `payload` is the hex SHA-256 of the body, `stamp` the time as in ``x-amz-date``.
        """
        signed = ";".join([name for name, _ in headers])
        lines = "".join([f"{name}:{value}\n" for name, value in headers])
        return self.authorization_of(f"{method}\n{path}\n{query}\n{lines}\n{signed}\n{payload}", signed, stamp)

    def authorization_of(self, canonical: str, signed: str, stamp: str) -> str:
        """Return the same for a canonical request that is made already, `signed` being the names in it."""
        if stamp[:8] != self._day:
            self._begin_day(stamp[:8])
        told = f"AWS4-HMAC-SHA256\n{stamp}\n{self._scope}\n{sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._key, told.encode(), "sha256").hex()
        return f"{self._begins}{signed}, Signature={signature}"

    def _begin_day(self, day: str) -> None:
        self._day, self._scope = day, f"{day}/{self._region}/{self._service}/aws4_request"
        self._begins = f"AWS4-HMAC-SHA256 Credential={self.credentials.access_key}/{self._scope}, SignedHeaders="
        key = f"AWS4{self.credentials.secret_key}".encode()
        for step in self._scope.split("/"):
            key = hmac.digest(key, step.encode(), "sha256")
        self._key = key


class _Form:
    """Requests of which each has these headers of its own, with small names: in order, and half written already."""

    __slots__ = ("lines", "order", "signed", "text")

    def __init__(self, names: Sequence[str], fixed: Sequence[tuple[str, str]]) -> None:
        places: dict[str, int | str] = {name: place for place, name in enumerate(names)} | dict(fixed)
        self.signed = ";".join(sorted(places))
        #: Which of the own values stands where in `text`, the canonical headers; `lines` begin the headers to send.
        self.order = [place for _, place in sorted(places.items()) if isinstance(place, int)]
        self.text = "".join(
            f"{name}:%s\n" if isinstance(value, int) else f"{name}:{value}\n".replace("%", "%%")
            for name, value in sorted(places.items())
        )
        self.lines = [f"{name}: " for name in names]


class Requests:
    """Makes signed requests of one shape, for one thread."""

    def __init__(self, shape: Shape, credentials: Credentials) -> None:
        self._shape = shape
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
        usual = [*self._shape.headers, ("host", self._shape.host)]
        self._signed: list[tuple[str, str]] = [(name, value) for name, value in usual if _is_signed(name)] + token
        #: What all requests send after the headers of their own. libcurl writes the last three unless told not to.
        self._lines = [f"{name}: {value}" for name, value in self._signed]
        self._lines += [f"{name}: {value}" for name, value in self._shape.headers if not _is_signed(name)]
        self._lines += _NOT_THESE
        self._forms: dict[tuple[str, ...], _Form] = {}

    def make(
        self,
        key: str,
        own: Sequence[tuple[str, str]] = (),
        *,
        query: Sequence[tuple[str, str]] = (),
        body: bytes | None = None,
        payload: str = NOTHING,
        also: Sequence[str] = (),
        most: int | None = None,
    ) -> Request:
        """Return a request for a key. `own` are headers to sign (small names, all that begin with ``x-amz-``), `also`
        lines that are not signed; `payload` is the hex SHA-256 of `body`; `most` bytes are taken of the answer's.
        """
        stamp, path, method = self._now(), self._path_of(key), self._shape.method
        asked = "&".join([f"{name}={quote(value, safe='~')}" for name, value in sorted(query)]) if query else ""
        form = self._form(("x-amz-content-sha256", "x-amz-date", *[name for name, _ in own]))
        values = (payload, stamp, *[value for _, value in own])
        headers = form.text % tuple([values[place] for place in form.order])
        canonical = f"{method}\n{path}\n{asked}\n{headers}\n{form.signed}\n{payload}"
        signature = self._signer.authorization_of(canonical, form.signed, stamp)
        lines = [*map(str.__add__, form.lines, values), f"authorization: {signature}", *self._lines, *also]
        url = f"{self._shape.origin}{path}"
        return Request(method, f"{url}?{asked}" if asked else url, lines, body, most)

    def _path_of(self, key: str) -> str:
        return self._shape.path + (key if _PLAIN.fullmatch(key) else quote(key, safe="/~"))

    def _form(self, names: tuple[str, ...]) -> _Form:
        form = self._forms.get(names)
        if form is None:
            form = self._forms[names] = _Form(names, self._signed)
        return form

    def _now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        return self._stamp


def _is_signed(name: str) -> bool:
    return name == "host" or name.startswith("x-amz-")
