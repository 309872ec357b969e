"""The retrieval tiers of each class, and the hours that they take.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from glacier_provider.core.store_uri import store_class


class Tier(StrEnum):
    EXPEDITED = "Expedited"  #: minutes; not for DEEP_ARCHIVE
    STANDARD = "Standard"  #: hours
    BULK = "Bulk"  #: half a day to two days, the cheapest


#: Typical hours, from and to, until a retrieval can be read.
RETRIEVAL_HOURS: Mapping[str, Mapping[Tier, tuple[float, float]]] = {
    "GLACIER": {Tier.EXPEDITED: (1 / 60, 5 / 60), Tier.STANDARD: (3, 5), Tier.BULK: (5, 12)},
    "DEEP_ARCHIVE": {Tier.STANDARD: (9, 12), Tier.BULK: (12, 48)},
    "VAULT": {Tier.EXPEDITED: (1 / 60, 5 / 60), Tier.STANDARD: (3, 5), Tier.BULK: (5, 12)},
}


def retrieval_hours(store_uri: str) -> Mapping[Tier, tuple[float, float]]:
    """Return the typical hours of each tier of a store; empty when it is read without a retrieval."""
    return RETRIEVAL_HOURS.get(store_class(store_uri), {})
