"""Archive stores: one contract, S3 and vaults behind it.

In the order of reading: `contract` (what every store does), `s3` and `vault` (how), `multipart` (what their uploads in
parts share), `aws_errors` (what botocore's errors mean), `rate_limit`; `queue` receives the messages of retrievals that
are done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from glacier_provider.core.parts import MIB
from glacier_provider.core.store_uri import S3Uri, StoreUri, parse_store_uri

if TYPE_CHECKING:
    from glacier_provider.stores.contract import ArchiveStore

__all__ = ["client_config", "client_type", "open_store"]


def client_type(uri: str | StoreUri) -> str:
    """Return the boto3 service whose client the store needs: `s3` or `glacier`."""
    return "s3" if isinstance(_parsed(uri), S3Uri) else "glacier"


def client_config(uri: str | StoreUri) -> Any:
    """Return the botocore Config that the store needs of its client: its retries decide what may be sent twice."""
    place = _parsed(uri)
    if isinstance(place, S3Uri):
        from glacier_provider.stores.s3.store import s3_client_config

        return s3_client_config(place)
    from glacier_provider.stores.vault.store import vault_client_config

    return vault_client_config(place)


def open_store(uri: str | StoreUri, *, client: Any, part_size: int = 16 * MIB) -> ArchiveStore:
    """Return the store that a URI names, on a boto3 client made with `client_config`.

    The catalog knows what lies there by the URI as it is written: so does the store. `part_size` is that of large
    uploads, in bytes. Raise ConfigurationError for a bad URI.
    """
    place, spelled = _parsed(uri), str(uri)
    if isinstance(place, S3Uri):
        from glacier_provider.stores.s3.store import S3Store

        return S3Store(place, client=client, part_size=part_size, spelled=spelled)
    from glacier_provider.stores.vault.store import VaultStore

    return VaultStore(place, client=client, part_size=part_size, spelled=spelled)


def _parsed(uri: str | StoreUri) -> StoreUri:
    return parse_store_uri(uri) if isinstance(uri, str) else uri
