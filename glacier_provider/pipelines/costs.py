"""What the catalog says is in the stores, as prices see it; read by the page and the command line."""

from __future__ import annotations

from collections.abc import Iterable

from glacier_provider.catalog.pages import Holding
from glacier_provider.core.archive import ArchiveKind
from glacier_provider.core.cost import Stored, class_of, merged


def held(holdings: Iterable[Holding]) -> list[Stored]:
    """Return holdings by store class."""
    return merged(
        Stored(
            class_of(one.store_uri, ArchiveKind.MANIFEST if one.manifest else ArchiveKind.FILE),
            one.amount.archives,
            one.amount.bytes,
            one.padded_bytes,
        )
        for one in holdings
    )
