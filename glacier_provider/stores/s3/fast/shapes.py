"""The shape of requests, taken from botocore: it makes one of each kind, and we keep it from being sent.

So everything that a connection, an environment or a store URI says about requests (endpoint, addressing style,
region, storage class, encryption, lock, owner, proxy, certificates, session token) is honoured by the fast path
without knowing it. Where a request is not of the usual form (another signature, a session of S3 Express, a proxy with
certificates of its own), there is no shape, and no fast path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

#: The key that botocore is given. Nothing of that name is ever asked of the store.
STAND_IN = "glacier-provider-shape-of-a-request"
_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/,]+/\d{8}/([^/]+)/([^/]+)/aws4_request, ")
#: What each request has of its own, and what libcurl writes itself.
_OWN = re.compile(
    r"authorization|host|date|x-amz-date|x-amz-content-sha256|x-amz-security-token|x-amz-checksum-.*|x-amz-meta-.*"
    r"|x-amz-trailer|x-amz-decoded-content-length|amz-sdk-.*|content-.*|transfer-encoding|expect|range|accept-encoding"
)


class NoFastPath(Exception):
    """The requests of this client are not for the fast path; the text says why."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What requests are signed with."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Transport:
    """How the store is reached. Seconds; `proxy` "" is none, `ca_file` None is no verification."""

    proxy: str
    ca_file: str | None
    certificate: str | None
    certificate_key: str | None
    connect_timeout: float
    read_timeout: float


@dataclass(frozen=True, slots=True)
class Shape:
    """Requests of one kind. `path` stands before the key; `headers` are those that all have, with small names."""

    method: str
    origin: str
    host: str
    path: str
    headers: tuple[tuple[str, str], ...]
    region: str
    service: str
    transport: Transport


def as_plain(shape: Shape) -> tuple[Any, ...]:
    """Return a shape as tuples and text, for another process; `from_plain` is the inverse."""
    transport = tuple(getattr(shape.transport, name) for name in Transport.__slots__)
    return (*(getattr(shape, name) for name in Shape.__slots__ if name != "transport"), transport)


def from_plain(plain: tuple[Any, ...]) -> Shape:
    transport = Transport(*plain[-1])
    values = dict(zip((name for name in Shape.__slots__ if name != "transport"), plain[:-1], strict=True))
    return Shape(transport=transport, **values)


def shape_of(client: Any, operation: str, ask: Callable[[str], object], *, of_bucket: bool = False) -> Shape:
    """Return the shape of an operation's requests (``PutObject``); `ask` calls the client for the key it is given.

    With `of_bucket` the requests are about no key; what `ask` is given stands in their query, then. Raise NoFastPath
    for requests that the fast path cannot send.
    """
    request = _caught(client, operation, ask)
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    found = _SCOPE.match(headers.get("authorization", ""))
    if found is None or "x-amz-s3session-token" in headers:
        raise NoFastPath("its requests are signed in another way")
    address = urlsplit(request.url)
    before, stand_in, after = address.path.partition(STAND_IN)
    if bool(stand_in) is of_bucket or after or "%" in before:
        raise NoFastPath("its addresses are of another form")
    return Shape(
        method=request.method,
        origin=f"{address.scheme}://{address.netloc}",
        host=_host(address),
        path=before,
        headers=tuple(sorted((name, value) for name, value in headers.items() if not _OWN.fullmatch(name))),
        region=found.group(1),
        service=found.group(2),
        transport=_transport(client, request.url),
    )


def credentials_of(client: Any) -> Credentials:
    """Return the client's credentials as they are now; botocore renews those that expire. Raise NoFastPath."""
    try:
        frozen = client._request_signer._credentials.get_frozen_credentials()
    except AttributeError as exc:
        raise NoFastPath("its credentials are of another kind") from exc
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


def _caught(client: Any, operation: str, ask: Callable[[str], object]) -> Any:
    """Let botocore make and sign a request, keep it, and give botocore an empty answer."""
    from botocore.awsrequest import AWSResponse

    kept: list[Any] = []

    def keep(request: Any, **_: Any) -> Any:
        if STAND_IN not in request.url:  # of another thread
            return None
        kept.append(request)
        return AWSResponse(request.url, 200, {}, _Empty())

    event, name = f"before-send.s3.{operation}", f"glacier-provider-{id(kept)}"
    client.meta.events.register_first(event, keep, unique_id=name)
    try:
        ask(STAND_IN)
    finally:
        client.meta.events.unregister(event, unique_id=name)
    if not kept:
        raise NoFastPath("its requests cannot be seen")
    return kept[0]


class _Empty:
    """The body of an answer that nobody gave."""

    def stream(self, *_: Any, **__: Any) -> Any:
        return iter(())

    def read(self, *_: Any, **__: Any) -> bytes:
        return b""


def _text(value: Any) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _host(address: Any) -> str:
    """Return the Host header: without a port that is the usual one of the scheme, as every client sends it."""
    usual = {"http": 80, "https": 443}.get(address.scheme)
    return str(address.netloc if address.port not in (None, usual) else address.netloc.partition(":")[0])


def _transport(client: Any, url: str) -> Transport:
    config = client.meta.config
    if config.proxies_config:
        raise NoFastPath("its proxy has settings of its own")
    try:
        verify = client._endpoint.http_session._verify
    except AttributeError as exc:
        raise NoFastPath("its connections are of another kind") from exc
    certificate = config.client_cert
    pair = certificate if isinstance(certificate, tuple) else (certificate, None)
    return Transport(
        proxy=_proxy(config.proxies, url),
        ca_file=_ca_file(verify),
        certificate=pair[0],
        certificate_key=pair[1],
        connect_timeout=_seconds(config.connect_timeout),
        read_timeout=_seconds(config.read_timeout),
    )


def _proxy(configured: Mapping[str, str] | None, url: str) -> str:
    from botocore.utils import get_environ_proxies

    proxies = configured if configured is not None else get_environ_proxies(url)
    return proxies.get(urlsplit(url).scheme) or ""


def _ca_file(verify: Any) -> str | None:
    from botocore.httpsession import get_cert_path

    return None if verify is False else str(get_cert_path(verify))


def _seconds(timeout: Any) -> float:
    return float(timeout) if isinstance(timeout, int | float) else 60.0
