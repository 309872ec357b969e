"""One vault as this package uses it: addresses, requests, what errors mean and what may be sent twice.

The client sends each request once (`vault_client_config`). What is sent again is decided here: an operation that
changes nothing when it is repeated is tried several times; UploadArchive and InitiateJob are not, since each reply that
is lost would leave an archive or a paid job that nobody knows.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from glacier_provider.core.archive import Location
from glacier_provider.core.store_uri import VaultUri
from glacier_provider.errors import (
    ArchiveCorrupt,
    ConfigurationError,
    GlacierProviderError,
    NotInVault,
    RequestRejected,
    StoreError,
    StoreMissing,
    StoreUnavailable,
)
from glacier_provider.stores.aws_errors import aws_errors, error_code, http_status

FIRST_PAUSE = 0.25  # seconds
LONGEST_PAUSE = 20.0

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Vault:
    """A vault with the client that reaches it; `attempts` is how often a harmless request is sent at most, `spelled`
    its URI as receipts tell it.
    """

    uri: VaultUri
    client: Any
    attempts: int = 5
    spelled: str | None = None

    def url(self, key: str = "") -> str:
        """Return the address of an archive (or the vault) for messages."""
        return f"glacier://{self.uri.vault}/{key}".rstrip("/")

    def location(self, key: str) -> Location:
        return Location(store_uri=self.spelled or str(self.uri), key=key)

    def once(self, operation: str, key: str = "", **arguments: Any) -> Any:
        """Send one request and return its reply.

        Besides the errors of `aws_errors`: NotInVault for an archive, upload or job that is not there, StoreMissing
        for the vault itself, ArchiveCorrupt for bytes that arrived with another checksum, RequestRejected for a
        parameter.
        """
        from botocore import xform_name
        from botocore.exceptions import ClientError

        codes: dict[str, type[StoreError]] = {}
        with aws_errors(f"glacier:{operation}", self.url(key), codes=codes):
            try:
                return getattr(self.client, xform_name(operation))(accountId="-", vaultName=self.uri.vault, **arguments)
            except ClientError as exc:
                if _means_no_vault(exc):
                    raise self._no_vault() from exc
                codes.update(_meaning(exc))
                raise

    def ask(self, operation: str, key: str = "", **arguments: Any) -> Any:
        """Send a request that may be sent twice, until it is answered or the attempts are used up."""
        return self.retrying(lambda: self.once(operation, key, **arguments))

    def retrying(
        self, work: Callable[[], _Answer], *, on: tuple[type[StoreError], ...] = (StoreUnavailable,)
    ) -> _Answer:
        """Do what may be done twice, again after these errors, until the attempts are used up."""
        for attempt in range(1, self.attempts):
            try:
                return work()
            except on:
                pause(attempt)
        return work()

    def pages(self, operation: str, items: str, **arguments: Any) -> Iterator[list[Any]]:
        """Yield the pages of a listing. AWS names different page sizes: the marker alone tells the end."""
        marker: dict[str, str] = {}
        while True:
            reply = self.ask(operation, **arguments, **marker)
            yield reply.get(items) or []
            if not reply.get("Marker"):
                return
            marker = {"marker": reply["Marker"]}

    def _no_vault(self) -> StoreMissing:
        region = f" --region {self.uri.region}" if self.uri.region else ""
        return StoreMissing(
            f"There is no vault {self.uri.vault}.",
            hint=f"Create it (aws glacier create-vault --account-id - --vault-name {self.uri.vault}{region}), "
            "or correct the store URI in applications.yaml.",
        )


def pause(attempt: int) -> None:
    """Wait before the next attempt, longer each time and never as long as the others."""
    # All tasks meet the same throttled vault: they must not come back at once, nor together.
    time.sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0))


def may_have_happened(error: GlacierProviderError) -> bool:
    """Return whether the request that ended with this error may have taken effect all the same.

    It cannot have when it was refused by a 4xx reply or never left this machine. A time-out of the service (408), a
    5xx reply, a reply that cannot be read and a broken connection leave it open.
    """
    from botocore import exceptions

    cause = error.__cause__
    if isinstance(cause, exceptions.ClientError):
        return isinstance(error, StoreUnavailable) and (http_status(cause) >= 500 or http_status(cause) == 408)
    unsent = (exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError, exceptions.ProxyConnectionError)
    return isinstance(error, StoreUnavailable) and not isinstance(cause, unsent)


def check_sends_once(client: Any) -> None:
    """Raise ConfigurationError for a client that would repeat requests by itself."""
    attempts = (client.meta.config.retries or {}).get("total_max_attempts")
    if attempts != 1:
        raise ConfigurationError(
            "The client of a vault store must send each request once: a resent UploadArchive is a second archive.",
            hint="Make the client with glacier_provider.stores.client_config.",
        )


def _means_no_vault(error: Any) -> bool:
    return error_code(error) == "ResourceNotFoundException" and "vault not found" in _words(error)


def _meaning(error: Any) -> dict[str, type[StoreError]]:
    """Return what a code means in this reply; some codes stand for several things that only the message tells apart."""
    code = error_code(error)
    if code == "ResourceNotFoundException":
        return {code: NotInVault}
    if code == "InvalidParameterValueException":
        return {code: ArchiveCorrupt if "checksum" in _words(error) else RequestRejected}
    return {}


def _words(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Message", "")).lower()
