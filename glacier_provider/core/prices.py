"""The price table that every estimate is made from: one dated table, which the user can override in part.

The built-in prices are AWS's list prices of one region on one day, in US dollars; `Prices.as_of`, `Prices.region` and
`Prices.source` say which. Nobody's bill is exactly this: `prices:` in applications.yaml overrides any figure, `per_gb`
and `per_1000` in the currency that it names. A GB is 2**30 bytes, as AWS bills it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

KIB = 1024
GB = 2**30

#: What an archive sleeps in: the S3 storage classes that a store can have, and VAULT for the original vault API.
STORE_CLASSES = ("GLACIER", "DEEP_ARCHIVE", "GLACIER_IR", "STANDARD_IA", "STANDARD", "VAULT")


@dataclass(frozen=True, slots=True)
class TierPrice:
    """What one retrieval tier takes: for 1,000 requests, and for a GB."""

    per_1000: Decimal = Decimal(0)
    per_gb: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class ClassPrices:
    """The prices of one store class, and the rules that come with it.

    `storage`: a GB for a month. `upload_per_1000`: PUT requests, of a vault each part; that of STANDARD is the price of
    every other PUT, POST and LIST as well. `tiers`: by retrieval tier; empty where archives are read without a
    retrieval. `read`: GET requests, of copies where a retrieval makes them; that of STANDARD is that of every HEAD.
    `minimum_days`: storage that is billed in any case. `minimum_bytes`: what a smaller archive is billed as.
    `overhead_bytes`: added to each archive, at the class's price; `standard_overhead_bytes`: added to each archive, at
    the price of STANDARD. `copies`: whether a retrieval makes a temporary copy, which is billed as STANDARD.
    """

    storage: Decimal
    upload_per_1000: Decimal
    read: TierPrice = TierPrice()
    tiers: Mapping[str, TierPrice] = field(default_factory=dict)
    minimum_days: int = 0
    minimum_bytes: int = 0
    overhead_bytes: int = 0
    standard_overhead_bytes: int = 0
    copies: bool = False


@dataclass(frozen=True, slots=True)
class BatchPrices:
    """What S3 Batch Operations take: for a job, for 1,000 objects, and for a GB whose checksum is computed."""

    per_job: Decimal = Decimal(0)
    per_1000: Decimal = Decimal(0)
    checksum_per_gb: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Prices:
    """One price table. `transfer_out`: a GB that leaves AWS, 0 for a restore inside the region."""

    currency: str
    region: str
    as_of: date
    source: str
    classes: Mapping[str, ClassPrices]
    transfer_out: Decimal = Decimal(0)
    batch: BatchPrices = BatchPrices()
    overridden: bool = False

    def of(self, store_class: str) -> ClassPrices:
        return self.classes[store_class]

    @property
    def name(self) -> str:
        """What an estimate says of where it comes from."""
        own = ", with own figures" if self.overridden else ""
        return f"the prices of {self.region} on {self.as_of.isoformat()}{own}"


def _tier(per_1000: str, per_gb: str) -> TierPrice:
    return TierPrice(Decimal(per_1000), Decimal(per_gb))


#: AWS's list prices. The rules (days, minimum, overhead) are those of
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html; the price of a bulk retrieval is that
#: of https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html (free of charge).
#: AWS publishes no overhead for vaults; the 32 KB of the S3 classes are taken. Batch Operations are on the same page,
#: under Management & insights: a job, a million objects, and the GB of a computed checksum, which is apart from both.
LIST_PRICES = Prices(
    currency="USD",
    region="us-east-1",
    as_of=date(2026, 11, 21),
    source="https://aws.amazon.com/s3/pricing/",
    batch=BatchPrices(Decimal("0.25"), Decimal("0.001"), Decimal("0.004")),
    classes={
        "STANDARD": ClassPrices(Decimal("0.023"), Decimal("0.005"), read=_tier("0.0004", "0")),
        "STANDARD_IA": ClassPrices(
            Decimal("0.0125"),
            Decimal("0.01"),
            read=_tier("0.001", "0.01"),
            minimum_days=30,
            minimum_bytes=128 * KIB,
        ),
        "GLACIER_IR": ClassPrices(
            Decimal("0.004"),
            Decimal("0.02"),
            read=_tier("0.01", "0.03"),
            minimum_days=90,
            minimum_bytes=128 * KIB,
        ),
        "GLACIER": ClassPrices(
            Decimal("0.0036"),
            Decimal("0.03"),
            read=_tier("0.0004", "0"),
            tiers={"Expedited": _tier("10", "0.03"), "Standard": _tier("0.05", "0.01"), "Bulk": _tier("0", "0")},
            minimum_days=90,
            overhead_bytes=32 * KIB,
            standard_overhead_bytes=8 * KIB,
            copies=True,
        ),
        "DEEP_ARCHIVE": ClassPrices(
            Decimal("0.00099"),
            Decimal("0.05"),
            read=_tier("0.0004", "0"),
            tiers={"Standard": _tier("0.10", "0.02"), "Bulk": _tier("0.025", "0.0025")},
            minimum_days=180,
            overhead_bytes=32 * KIB,
            standard_overhead_bytes=8 * KIB,
            copies=True,
        ),
        "VAULT": ClassPrices(
            Decimal("0.0036"),
            Decimal("0.03"),
            tiers={
                "Expedited": _tier("10", "0.03"),
                "Standard": _tier("0.05", "0.01"),
                "Bulk": _tier("0.025", "0.0025"),
            },
            minimum_days=90,
            overhead_bytes=32 * KIB,
        ),
    },
)


# --- overrides -----------------------------------------------------------------------------------------------------

_TOP = ("currency", "region", "as_of", "source", "transfer_out", "batch", "classes")
_BATCH = ("per_job", "per_1000", "checksum_per_gb")
_MONEY = ("storage", "upload_per_1000")
_BYTES = ("minimum_days", "minimum_bytes", "overhead_bytes", "standard_overhead_bytes")
_TIER = ("per_1000", "per_gb")
_CLASS = (*_MONEY, *_BYTES, "read", "tiers")


def override(prices: Prices, given: Mapping[str, Any]) -> Prices:
    """Return `prices` with the figures of a partial table laid over them.

    ``{"currency": "EUR", "classes": {"GLACIER": {"storage": 0.004, "tiers": {"Bulk": {"per_gb": 0.001}}}}}``

    Raise ValueError with one sentence for each fault; prices are numbers from 0 on, numbers of days and bytes whole.
    """
    problems: list[str] = []
    _unknown(given, _TOP, "prices", problems)
    named = {name: str(given[name]) for name in ("currency", "region", "source") if given.get(name)}
    day = _day(given.get("as_of"), problems) or prices.as_of
    classes = dict(prices.classes)
    for name, figures in _section(given.get("classes"), "prices.classes", problems):
        where = f"prices.classes.{name}"
        if name not in STORE_CLASSES:
            problems.append(f"{where}: there is no such class; there are {', '.join(STORE_CLASSES)}")
        else:
            classes[name] = _class(classes[name], figures, where, problems)
    out = _money(given, "transfer_out", "prices", problems)
    batch = _batch(prices.batch, given["batch"], problems) if given.get("batch") is not None else prices.batch
    if problems:
        raise ValueError("; ".join(problems))
    return replace(
        prices,
        classes=classes,
        as_of=day,
        transfer_out=prices.transfer_out if out is None else out,
        batch=batch,
        overridden=bool(given) or prices.overridden,
        **named,
    )


def _class(prices: ClassPrices, given: Any, where: str, problems: list[str]) -> ClassPrices:
    if not isinstance(given, Mapping):
        problems.append(f"{where}: must be a mapping, as in {{storage: 0.0036}}")
        return prices
    _unknown(given, _CLASS, where, problems)
    found: dict[str, Any] = {name: _money(given, name, where, problems) for name in _MONEY}
    found.update({name: _whole(given, name, where, problems) for name in _BYTES})
    if "read" in given:
        found["read"] = _tier_price(prices.read, given["read"], f"{where}.read", problems)
    if "tiers" in given:
        tiers = dict(prices.tiers)
        for name, figures in _section(given["tiers"], f"{where}.tiers", problems):
            if name in tiers:
                tiers[name] = _tier_price(tiers[name], figures, f"{where}.tiers.{name}", problems)
            else:
                known = ", ".join(tiers) or "no tiers: it is read without a retrieval"
                problems.append(f"{where}.tiers.{name}: there is no such tier; the class has {known}")
        found["tiers"] = tiers
    return replace(prices, **{name: value for name, value in found.items() if value is not None})


def _batch(prices: BatchPrices, given: Any, problems: list[str]) -> BatchPrices:
    if not isinstance(given, Mapping):
        problems.append("prices.batch: must be a mapping, as in {per_job: 0.25}")
        return prices
    _unknown(given, _BATCH, "prices.batch", problems)
    found = {name: _money(given, name, "prices.batch", problems) for name in _BATCH}
    return replace(prices, **{name: value for name, value in found.items() if value is not None})


def _tier_price(price: TierPrice, given: Any, where: str, problems: list[str]) -> TierPrice:
    if not isinstance(given, Mapping):
        problems.append(f"{where}: must be a mapping, as in {{per_1000: 0.05, per_gb: 0.01}}")
        return price
    _unknown(given, _TIER, where, problems)
    found = {name: _money(given, name, where, problems) for name in _TIER}
    return replace(price, **{name: value for name, value in found.items() if value is not None})


def _section(given: Any, where: str, problems: list[str]) -> Iterator[tuple[str, Any]]:
    if given is None:
        return
    if not isinstance(given, Mapping):
        problems.append(f"{where}: must be a mapping")
        return
    yield from ((str(name), figures) for name, figures in given.items())


def _unknown(given: Mapping[str, Any], known: tuple[str, ...], where: str, problems: list[str]) -> None:
    problems += [
        f"{where}.{name}: there is no such figure; there are {', '.join(known)}" for name in given if name not in known
    ]


def _money(given: Mapping[str, Any], name: str, where: str, problems: list[str]) -> Decimal | None:
    value = given.get(name)
    if value is None:
        return None
    try:
        # Of a float, the figure that was written: 0.0036, not its 50 binary digits.
        amount = Decimal(str(value)) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or not 0 <= amount < 10**9:
        problems.append(f"{where}.{name}: must be a number from 0 on, not {value!r}. Example: {name}: 0.0036")
        return None
    return amount


def _whole(given: Mapping[str, Any], name: str, where: str, problems: list[str]) -> int | None:
    value = given.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40):
        return value
    problems.append(f"{where}.{name}: must be a whole number from 0 on, not {value!r}")
    return None


def _day(value: Any, problems: list[str]) -> date | None:
    if value is None or type(value) is date:
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        problems.append(f"prices.as_of: must be a date, as in 2026-01-31, not {value!r}")
        return None
