"""AWS Signature Version 4, with the key of the day at hand. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What requests are signed with."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


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
        self, method: str, path: str, query: str, headers: Sequence[Header], *, payload: str, stamp: str
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
