"""What storage, requests, retrievals and early deletions cost, estimated from one price table (promise 10). Pure.

Money is `Decimal`, unrounded, in the table's currency; `money` writes it. Estimates leave out taxes, discounts, free
monthly allowances, and requests that are a matter of cents: HEAD, LIST, the reading of retrieved copies. A month has 30
days, as in AWS's own examples of early deletion.

Rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html (minimum durations, 40 KB of
overhead), https://repost.aws/knowledge-center/s3-manage-data-retrieval (retrievals).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from glacier_provider.core.archive import ArchiveKind
from glacier_provider.core.prices import GB, KIB, Prices
from glacier_provider.core.store_uri import store_class

DAYS_OF_MONTH = 30
#: What `Stored.padded_bytes` counts each smaller archive as: the smallest billable size of the classes that have one.
PADDED = 128 * KIB
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Stored:
    """Archives in one store class. `padded_bytes` counts each archive as `PADDED` bytes at least; None: not known, and
    the average archive is taken for every one.
    """

    store_class: str
    archives: int
    bytes: int
    padded_bytes: int | None = None

    def billed_bytes(self, minimum: int) -> int:
        """Return the bytes that are billed where a smaller archive counts as `minimum` bytes."""
        if minimum == PADDED and self.padded_bytes is not None:
            return self.padded_bytes
        return max(self.bytes, self.archives * minimum)


@dataclass(frozen=True, slots=True)
class TierCost:
    """What one tier takes for bringing archives back: its parts, and their sum."""

    requests: Decimal = Decimal(0)
    bytes: Decimal = Decimal(0)
    temporary_copy: Decimal = Decimal(0)
    transfer_out: Decimal = Decimal(0)

    @property
    def total(self) -> Decimal:
        return self.requests + self.bytes + self.temporary_copy + self.transfer_out

    def __add__(self, other: TierCost) -> TierCost:
        return TierCost(
            self.requests + other.requests,
            self.bytes + other.bytes,
            self.temporary_copy + other.temporary_copy,
            self.transfer_out + other.transfer_out,
        )

    def as_dict(self) -> dict[str, str]:
        """Return the parts and `total` as decimal text, which JSON keeps exactly."""
        names = ("requests", "bytes", "temporary_copy", "transfer_out", "total")
        return {name: plain(getattr(self, name)) for name in names}


def class_of(store_uri: str, kind: ArchiveKind) -> str:
    """Return the store class of an archive: manifests in S3 are STANDARD, whatever the class of their store."""
    own = store_class(store_uri)
    return "STANDARD" if kind is ArchiveKind.MANIFEST and own != "VAULT" else own


def storage_cost(stored: Iterable[Stored], prices: Prices) -> Decimal:
    """Return what archives cost a month, with each one's overhead.

    GLACIER and DEEP_ARCHIVE add 32 KB to each archive at their own price and 8 KB at that of STANDARD; GLACIER_IR and
    STANDARD_IA bill a smaller archive as 128 KB.
    """
    return sum((_storage(one, prices) for one in stored), Decimal(0))


def _storage(stored: Stored, prices: Prices) -> Decimal:
    rules = prices.of(stored.store_class)
    own = stored.billed_bytes(rules.minimum_bytes) + stored.archives * rules.overhead_bytes
    index = stored.archives * rules.standard_overhead_bytes
    return gigabytes(own) * rules.storage + gigabytes(index) * prices.of("STANDARD").storage


def upload_cost(stored: Stored, prices: Prices, *, parts: int | None = None) -> Decimal:
    """Return what the requests of an upload cost.

    A vault bills each of the `parts`; S3 bills the parts of a large upload as STANDARD, and one request at the price of
    the class. `parts` None: one for each archive, sent in one request.
    """
    rules = prices.of(stored.store_class)
    sent = stored.archives if parts is None else max(parts, stored.archives)
    if stored.store_class == "VAULT":
        return _thousands(sent) * rules.upload_per_1000
    extra = sent - stored.archives
    return (
        _thousands(stored.archives) * rules.upload_per_1000 + _thousands(extra) * prices.of("STANDARD").upload_per_1000
    )


def kept_days(days: int, ready_at: datetime) -> Decimal:
    """Return how long a copy is kept, and billed, that is readable at a moment: to the next midnight UTC after `days`.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects.html

    >>> kept_days(1, datetime(2026, 11, 28, 18, tzinfo=UTC))
    Decimal('1.25')
    """
    end = ready_at.astimezone(UTC) + timedelta(days=days)
    midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
    rest = timedelta(days=1) - (end - midnight) if end > midnight else timedelta()
    return days + Decimal(int(rest.total_seconds())) / 86400


def retrieval_cost(asked: Stored, tier: str, prices: Prices, *, days: int | Decimal) -> TierCost:
    """Return what bringing archives back by one tier costs, with a temporary copy kept for `days` where one is made.

    A class that is read without a retrieval takes its price of reading, whatever the tier. Raise KeyError for a tier
    that the class does not have.
    """
    rules = prices.of(asked.store_class)
    price = rules.tiers[tier] if rules.tiers else rules.read
    copied = asked.bytes if rules.copies else 0
    return TierCost(
        requests=_thousands(asked.archives) * price.per_1000,
        bytes=gigabytes(asked.bytes) * price.per_gb,
        temporary_copy=gigabytes(copied) * prices.of("STANDARD").storage * days / DAYS_OF_MONTH,
        transfer_out=gigabytes(asked.bytes) * prices.transfer_out,
    )


def download_cost(ready: Stored, prices: Prices) -> TierCost:
    """Return what reading archives costs that were retrieved, and paid for, before."""
    rules = prices.of(ready.store_class)
    price = rules.read
    return TierCost(
        requests=_thousands(ready.archives) * price.per_1000,
        bytes=gigabytes(ready.bytes) * price.per_gb,
        transfer_out=gigabytes(ready.bytes) * prices.transfer_out,
    )


def retrieval_by_tier(
    asked: Iterable[Stored],
    prices: Prices,
    *,
    days: int,
    ready: Iterable[Stored] = (),
    kept: Mapping[str, Decimal] | None = None,
) -> dict[str, TierCost]:
    """Return what a whole restore costs by tier: the retrieval of `asked`, and the reading of what is `ready`.

    `kept`: the days, by tier, that copies are billed for, where more than `days` is known of that (see `kept_days`).

    Tiers that not every class of `asked` has are left out. Where nothing is to be retrieved the answer has one entry,
    under the empty name.
    """
    wanted = [one for one in asked if one.archives]
    reading = sum((download_cost(one, prices) for one in ready), TierCost())
    cold = [set(prices.of(one.store_class).tiers) for one in wanted if prices.of(one.store_class).tiers]
    if not cold:
        return {"": sum((retrieval_cost(one, "", prices, days=days) for one in wanted), reading)}
    shared = set.intersection(*cold)
    ordered = [tier for tier in ("Expedited", "Standard", "Bulk") if tier in shared]
    billed = {tier: (kept or {}).get(tier, days) for tier in ordered}
    return {
        tier: sum((retrieval_cost(one, tier, prices, days=billed[tier]) for one in wanted), reading) for tier in ordered
    }


def early_deletion(deleted: Iterable[tuple[Stored, int]], prices: Prices) -> Decimal:
    """Return the fee for deleting (archives, their age in whole days) before their class's minimum duration.

    The fee is the storage of the days that are left, overhead and all, as if the archives stayed.
    """
    return sum((_early(stored, age, prices) for stored, age in deleted), Decimal(0))


def _early(stored: Stored, age: int, prices: Prices) -> Decimal:
    rules = prices.of(stored.store_class)
    left = max(0, rules.minimum_days - max(0, age))
    billed = stored.billed_bytes(rules.minimum_bytes) + stored.archives * rules.overhead_bytes
    return gigabytes(billed) * rules.storage * left / DAYS_OF_MONTH


def merged(stored: Iterable[Stored]) -> list[Stored]:
    """Return archives by store class, each once."""
    found: dict[str, Stored] = {}
    for one in stored:
        before = found.get(one.store_class, Stored(one.store_class, 0, 0, 0))
        known = before.padded_bytes is not None and one.padded_bytes is not None
        found[one.store_class] = Stored(
            one.store_class,
            before.archives + one.archives,
            before.bytes + one.bytes,
            (before.padded_bytes or 0) + (one.padded_bytes or 0) if known else None,
        )
    return list(found.values())


def gigabytes(size: int) -> Decimal:
    """Return bytes as GB of 2**30 bytes, in which AWS bills."""
    return Decimal(size) / GB


def _thousands(requests: int) -> Decimal:
    return Decimal(requests) / 1000


def money(amount: Decimal, currency: str) -> str:
    """Return an amount as people read it: in cents, and never as nothing when it is something.

    >>> money(Decimal("1234.5"), "USD"), money(Decimal("0.0001"), "USD"), money(Decimal(0), "EUR")
    ('1,234.50 USD', 'less than 0.01 USD', '0.00 EUR')
    """
    if 0 < amount < _CENT:
        return f"less than 0.01 {currency}"
    return f"{amount.quantize(_CENT, ROUND_HALF_UP):,} {currency}"


def plain(amount: Decimal) -> str:
    """Return an amount as decimal text with six places, for JSON.

    >>> plain(Decimal("1") / 3)
    '0.333333'
    """
    return f"{amount:.6f}"


def of_tier(costs: Mapping[str, TierCost], tier: str) -> TierCost:
    """Return what the chosen tier costs by `retrieval_by_tier`'s answer; where no tier matters, what there is."""
    return costs[tier] if tier in costs else costs.get("", TierCost())
