"""What storage, requests, retrievals and early deletions cost, estimated from one price table (promise 10). Pure.

Money is `Decimal`, unrounded, in the table's currency; `money` writes it. Estimates leave out taxes, discounts, free
monthly allowances, and requests that are sent a second time after a failure. A month has 30 days, as in AWS's own
examples of early deletion.

Rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html (minimum durations, 40 KB of
overhead), https://repost.aws/knowledge-center/s3-manage-data-retrieval (retrievals).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from math import ceil

from glacier_provider.core.archive import ArchiveKind
from glacier_provider.core.parts import LISTED_AT_ONCE, READ_AT_ONCE, WORTH_LISTING
from glacier_provider.core.prices import GB, KIB, Prices
from glacier_provider.core.store_uri import store_class
from glacier_provider.core.tiers import RETRIEVAL_HOURS, Tier

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
    """What one tier takes for bringing archives back: its parts, and their sum.

    `requests` and `bytes` are those of the retrieval; `reading`, the GETs that fetch what is readable, and the HEADs
    and LISTs that look whether it is.
    """

    requests: Decimal = Decimal(0)
    bytes: Decimal = Decimal(0)
    reading: Decimal = Decimal(0)
    temporary_copy: Decimal = Decimal(0)
    transfer_out: Decimal = Decimal(0)

    @property
    def total(self) -> Decimal:
        return self.requests + self.bytes + self.reading + self.temporary_copy + self.transfer_out

    def __add__(self, other: TierCost) -> TierCost:
        return TierCost(
            self.requests + other.requests,
            self.bytes + other.bytes,
            self.reading + other.reading,
            self.temporary_copy + other.temporary_copy,
            self.transfer_out + other.transfer_out,
        )

    def as_dict(self) -> dict[str, str]:
        """Return the parts and `total` as decimal text, which JSON keeps exactly."""
        names = ("requests", "bytes", "reading", "temporary_copy", "transfer_out", "total")
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


def upload_cost(stored: Stored, prices: Prices, *, parts: int = 0, in_parts: int = 0) -> Decimal:
    """Return what the requests of an upload cost: of `stored`, `in_parts` archives are sent in `parts` parts in all.

    A vault bills each part, and takes every archive in one or more. S3 bills as STANDARD each part, what begins an
    upload in parts, and the two looks for what an earlier try left; one request of each archive at the price of the
    class.
    """
    rules = prices.of(stored.store_class)
    if stored.store_class == "VAULT":
        return _thousands(stored.archives + max(0, parts - in_parts)) * rules.upload_per_1000
    return _thousands(stored.archives) * rules.upload_per_1000 + _standard(
        prices, writes=parts + 2 * in_parts, reads=in_parts
    )


def _standard(prices: Prices, *, writes: int = 0, reads: int = 0) -> Decimal:
    """Return the price of requests that are billed as STANDARD whatever they are about: PUT, POST, LIST; GET, HEAD."""
    rules = prices.of("STANDARD")
    return _thousands(writes) * rules.upload_per_1000 + _thousands(reads) * rules.read.per_1000


def listing_cost(archives: int, prices: Prices) -> Decimal:
    """Return what listing so many archives costs."""
    return _standard(prices, writes=max(1, ceil(archives / LISTED_AT_ONCE)))


def daily_look_cost(store_class: str, prices: Prices, *, pages: int, looked_at: int) -> Decimal:
    """Return what a backup asks S3 beside its uploads; nothing of a vault, whose requests of that kind have no price.

    May it write (a HEAD of the bucket, the begin of an upload and a look for such), is the store that of yesterday (a
    GET), which ids are used (three LISTs), what was lost (LISTs of `pages`); and `looked_at` of its archives once they
    are there (a HEAD and a GET of one byte each).
    """
    if store_class == "VAULT":
        return Decimal(0)
    looks = _thousands(looked_at) * (prices.of(store_class).read.per_1000 or prices.of("STANDARD").read.per_1000)
    return looks + _standard(prices, writes=5 + pages, reads=2 + looked_at)


def checksums_cost(asked: Iterable[Stored], prices: Prices) -> Decimal:
    """Return what it costs to have S3 compute the checksums of these archives: one job for each of `asked`."""
    batch = prices.batch
    return sum(
        (
            batch.per_job + _thousands(one.archives) * batch.per_1000 + gigabytes(one.bytes) * batch.checksum_per_gb
            for one in asked
            if one.archives
        ),
        Decimal(0),
    )


def batch_cost(archives: int, prices: Prices) -> Decimal:
    """Return what one job of S3 Batch Operations costs that asks for so many archives, beside the requests themselves.

    https://aws.amazon.com/s3/pricing/, "S3 Batch Operations": for each job, and for each object of it.
    """
    return prices.batch.per_job + _thousands(archives) * prices.batch.per_1000


def rebuild_cost(manifests: Stored, prices: Prices, *, listed: int) -> Decimal:
    """Return what a rebuild of the catalog asks of a store of this class, with so many archives: lists, and manifests.

    In S3 each manifest is listed twice, asked for its description twice, and read. A vault brings its manifests back.
    """
    if manifests.store_class == "VAULT":
        return retrieval_cost(manifests, Tier.STANDARD.value, prices, days=1).total
    requests = _standard(prices, reads=3 * manifests.archives)
    return requests + 2 * listing_cost(manifests.archives, prices) + listing_cost(listed, prices)


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


def retrieval_cost(
    asked: Stored, tier: str, prices: Prices, *, days: int | Decimal, looks: int = 0, alone: int = 0
) -> TierCost:
    """Return what bringing archives back by one tier costs, with a temporary copy kept for `days` where one is made.

    `looks` are the looks at what is waited for, `alone` of it by a request of its own each. A class that is read
    without a retrieval takes its price of reading, whatever the tier. Raise KeyError for a tier that the class does not
    have.
    """
    rules = prices.of(asked.store_class)
    reading = download_cost(asked, prices)
    if not rules.tiers:
        return reading
    price = rules.tiers[tier]
    copied, looked = (asked.bytes, looks * _look(asked.archives, prices, alone=alone)) if rules.copies else (0, 0)
    return TierCost(
        requests=_thousands(asked.archives) * price.per_1000,
        bytes=gigabytes(asked.bytes) * price.per_gb,
        reading=reading.reading + reading.requests + reading.bytes + looked,
        temporary_copy=gigabytes(copied) * prices.of("STANDARD").storage * days / DAYS_OF_MONTH,
        transfer_out=reading.transfer_out,
    )


def _look(archives: int, prices: Prices, *, alone: int) -> Decimal:
    """Return what one look at so many archives costs: few are asked for one by one, more are listed."""
    listed = max(0, archives - alone)
    if listed < WORTH_LISTING:
        return _standard(prices, reads=archives)
    return _standard(prices, reads=archives - listed) + listing_cost(listed, prices)


def download_cost(ready: Stored, prices: Prices) -> TierCost:
    """Return what reading archives costs; of what was retrieved that is the GETs: all else was paid for before."""
    rules = prices.of(ready.store_class)
    each = max(1, ceil(ready.bytes / ready.archives / READ_AT_ONCE)) if ready.archives else 0
    requests = _thousands(ready.archives * each) * rules.read.per_1000
    return TierCost(
        requests=Decimal(0) if rules.tiers else requests,
        reading=requests if rules.tiers else Decimal(0),
        bytes=gigabytes(ready.bytes) * rules.read.per_gb,
        transfer_out=gigabytes(ready.bytes) * prices.transfer_out,
    )


def retrieval_by_tier(
    asked: Iterable[Stored],
    prices: Prices,
    *,
    days: int,
    ready: Iterable[Stored] = (),
    now: datetime | None = None,
    look_seconds: int | None = None,
    alone: int = 0,
) -> dict[str, TierCost]:
    """Return what a whole restore costs by tier: the retrieval of `asked`, and the reading of what is `ready`.

    With `now` copies are reckoned until they end when all is asked for now and comes as late as it may (`kept_days`),
    else for `days`. With `look_seconds` somebody looks so often, until then, whether all is readable; `alone` of it are
    looked at one by one.

    Tiers that not every class of `asked` has are left out. Where nothing is to be retrieved the answer has one entry,
    under the empty name.
    """
    wanted = [one for one in asked if one.archives]
    reading = sum((download_cost(one, prices) for one in ready), TierCost())
    cold = [set(prices.of(one.store_class).tiers) for one in wanted if prices.of(one.store_class).tiers]
    if not cold:
        return {"": sum((retrieval_cost(one, "", prices, days=days) for one in wanted), reading)}
    shared = set.intersection(*cold)

    def cost(one: Stored, tier: str) -> TierCost:
        seconds = _slowest_seconds(one.store_class, tier)
        kept = days if now is None else kept_days(days, now + timedelta(seconds=seconds))
        looks = 0 if look_seconds is None else 1 + ceil(seconds / look_seconds)
        return retrieval_cost(one, tier, prices, days=kept, looks=looks, alone=alone)

    ordered = [tier.value for tier in Tier if tier.value in shared]
    return {tier: sum((cost(one, tier) for one in wanted), reading) for tier in ordered}


def _slowest_seconds(store_class: str, tier: str) -> float:
    """Return after how long a retrieval is readable that comes as late as it may; 0 where there is none."""
    return RETRIEVAL_HOURS.get(store_class, {}).get(Tier(tier), (0.0, 0.0))[1] * 3600


def early_deletion(deleted: Iterable[tuple[Stored, int | Decimal]], prices: Prices) -> Decimal:
    """Return the fee for deleting (archives, their age in days) before their class's minimum duration.

    The fee is the storage of the days that are left, overhead and all, as if the archives stayed.
    """
    return sum((_early(stored, age, prices) for stored, age in deleted), Decimal(0))


def _early(stored: Stored, age: int | Decimal, prices: Prices) -> Decimal:
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
