"""Store URIs: where archives sleep, as `applications.yaml` names it.

- `s3://bucket/prefix?storage_class=GLACIER`: objects of a bucket. Parameters, all optional: `storage_class` (GLACIER,
  DEEP_ARCHIVE, GLACIER_IR, STANDARD_IA, STANDARD), `region`, `sse` (AES256 or aws:kms) with `kms_key_id`, and
  `object_lock_days` with `object_lock_mode` (GOVERNANCE or COMPLIANCE): the bucket then keeps each archive for that
  long, whoever deletes it.
- `glacier://vault-name`: a vault of the original API. Parameters, both optional: `region`, and `sns_topic`, the ARN of
  the topic that retrievals notify when they are done.

Credentials never stand in a URI: they belong to the AWS connection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from glacier_provider.core.text import nearest
from glacier_provider.errors import ConfigurationError

COLD_CLASSES = ("GLACIER", "DEEP_ARCHIVE")
#: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html: 100 years.
MOST_LOCK_DAYS = 36_500
STORAGE_CLASSES = (*COLD_CLASSES, "GLACIER_IR", "STANDARD_IA", "STANDARD")


class _Parameter(NamedTuple):
    """What a parameter may be: a pattern, or one of the words between its bars; and a query that is right."""

    pattern: str
    example: str
    words: str | None = None

    def fault(self, value: str) -> str:
        return f"{value!r}, not {self.words}" if self.words else f"{value!r}{nearest(value, self.pattern.split('|'))}"


class _Scheme(NamedTuple):
    """What follows a scheme. `name` and `path` are patterns, `example` is a URI without parameters."""

    name: str
    path: str
    example: str
    parameters: Mapping[str, _Parameter]


_REGION = _Parameter(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}", "region=eu-central-1", "a Region")
_TOPIC = r"arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}"
_SEGMENT = r"[A-Za-z0-9!_.*'()-]"  # of a prefix
_S3 = _Scheme(
    name=r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
    path=rf"(/+{_SEGMENT}+(/{_SEGMENT}+)*)?/*",
    example="s3://my-backups/production",
    parameters={
        "storage_class": _Parameter("|".join(STORAGE_CLASSES), "storage_class=GLACIER"),
        "region": _REGION,
        "sse": _Parameter("AES256|aws:kms", "sse=AES256"),
        "kms_key_id": _Parameter(".+", "sse=aws:kms&kms_key_id=alias/backups", "the id, ARN or alias of a key"),
        "object_lock_days": _Parameter(r"0{0,4}[1-9][0-9]{0,4}", "object_lock_days=90", "a number of days"),
        "object_lock_mode": _Parameter("GOVERNANCE|COMPLIANCE", "object_lock_days=90&object_lock_mode=GOVERNANCE"),
    },
)
_VAULT = _Scheme(
    name=r"[A-Za-z0-9_.-]{1,255}",
    path="/?",
    example="glacier://my-vault",
    parameters={
        "region": _REGION,
        "sns_topic": _Parameter(
            _TOPIC, "sns_topic=arn:aws:sns:eu-central-1:123456789012:retrievals", "the ARN of a topic"
        ),
    },
)
_SCHEMES = {"s3": _S3, "glacier": _VAULT}


def store_uri_pattern() -> str:
    """Return a regular expression, as ECMA 262 knows them, of what `parse_store_uri` takes, or nearly so."""
    return "|".join(f"^{name}://{scheme.name}{scheme.path}{_query(scheme)}$" for name, scheme in _SCHEMES.items())


def _query(scheme: _Scheme) -> str:
    patterns = {name: one.pattern.replace(".+", "[^&#]+") for name, one in scheme.parameters.items()}
    known = "|".join(f"{name}=({pattern})" for name, pattern in patterns.items()).replace(":", "(:|%3A)")
    return rf"(\?(({known})(&({known}))*)?)?"


@dataclass(frozen=True, slots=True)
class S3Uri:
    """A place in a bucket. `str` gives the URI back, in one spelling for equal places."""

    bucket: str
    prefix: str = ""
    storage_class: str = "GLACIER"
    region: str | None = None
    sse: str | None = None
    kms_key_id: str | None = None
    object_lock_days: int | None = None
    object_lock_mode: str = "GOVERNANCE"

    @property
    def is_cold(self) -> bool:
        """Whether archives of the class must be retrieved before they are read."""
        return self.storage_class in COLD_CLASSES

    def __str__(self) -> str:
        given = {name: getattr(self, name) for name in _S3.parameters}
        if self.object_lock_days is None:
            del given["object_lock_mode"]
        query = urlencode({name: value for name, value in given.items() if value is not None}, safe=":/")
        return f"s3://{self.bucket}{'/' if self.prefix else ''}{self.prefix}?{query}"


@dataclass(frozen=True, slots=True)
class VaultUri:
    """A vault of the original Glacier API. `str` gives the URI back, in one spelling for equal places."""

    vault: str
    region: str | None = None
    sns_topic: str | None = None

    def __str__(self) -> str:
        given = {name: getattr(self, name) for name in _VAULT.parameters if getattr(self, name) is not None}
        return f"glacier://{self.vault}" + (f"?{urlencode(given, safe=':/')}" if given else "")


StoreUri = S3Uri | VaultUri


class StoreUriFault(ValueError):
    """What is wrong with a store URI, in words that follow it, and a URI that is right in this."""

    def __init__(self, what: str, example: str) -> None:
        super().__init__(what)
        self.example = example


def parse_store_uri(text: str) -> StoreUri:
    """Return the place that a store URI names; raise ConfigurationError naming the faulty part, with an example."""
    try:
        return read_store_uri(text)
    except StoreUriFault as fault:
        place = re.sub(r"^\w+://", "", text.partition("?")[0])
        shown = "…" if "@" in text or ":" in place else text
        raise ConfigurationError(
            f"The store URI {shown!r} cannot be used: {fault}. Example: {fault.example}."
        ) from None


def read_store_uri(text: str) -> StoreUri:
    """Return the place that a store URI names; raise StoreUriFault, which repeats no credentials."""
    parts = _split(text)
    scheme = _SCHEMES[parts.scheme]
    given = _parameters(scheme, parts.query)
    region = given.get("region")
    if scheme is _VAULT:
        return VaultUri(parts.netloc, region, given.get("sns_topic"))
    if "object_lock_mode" in given and "object_lock_days" not in given:
        raise StoreUriFault("object_lock_mode needs object_lock_days", _example(scheme, "object_lock_mode"))
    if "kms_key_id" in given and given.get("sse") != "aws:kms":
        raise StoreUriFault("kms_key_id needs sse=aws:kms", _example(scheme, "kms_key_id"))
    return S3Uri(
        bucket=parts.netloc,
        prefix=parts.path.strip("/"),
        storage_class=given.get("storage_class", "GLACIER"),
        region=region,
        sse=given.get("sse"),
        kms_key_id=given.get("kms_key_id"),
        object_lock_days=int(given["object_lock_days"]) if "object_lock_days" in given else None,
        object_lock_mode=given.get("object_lock_mode", "GOVERNANCE"),
    )


def check_new_store(text: str) -> None:
    """Raise StoreUriFault for a store URI that no archives can go to; what some went to once is read all the same."""
    place = read_store_uri(text)
    if not isinstance(place, S3Uri):
        return
    if why := _no_bucket_of_archives(place.bucket):
        raise StoreUriFault(f"{place.bucket!r} is no bucket that can keep archives: {why}", _S3.example)
    if (place.object_lock_days or 0) > MOST_LOCK_DAYS:
        wrong = f"object_lock_days is {place.object_lock_days}, and S3 locks for {MOST_LOCK_DAYS} days at most"
        raise StoreUriFault(wrong, _example(_S3, "object_lock_days"))


def store_class(text: str) -> str:
    """Return what prices go by: the S3 storage class of a store, or VAULT."""
    place = parse_store_uri(text)
    return place.storage_class if isinstance(place, S3Uri) else "VAULT"


@lru_cache(maxsize=256)
def place_of(uri: str) -> str:
    """Return the bucket or vault of a store URI as ``s3://bucket`` or ``glacier://vault``."""
    parsed = parse_store_uri(uri)
    return f"s3://{parsed.bucket}" if isinstance(parsed, S3Uri) else f"glacier://{parsed.vault}"


def _split(text: str) -> SplitResult:
    """Return the parts of a URI whose scheme, name and path are right."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise StoreUriFault("it is not a URI", _S3.example) from None
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None:
        raise StoreUriFault(f"the scheme is {parts.scheme!r}, not s3 or glacier", f"{_S3.example} or {_VAULT.example}")
    if "@" in parts.netloc + parts.path or ":" in parts.netloc + parts.path:
        raise StoreUriFault("credentials do not belong into it; they come from the AWS connection", scheme.example)
    if parts.fragment:
        raise StoreUriFault(f"it has a fragment {parts.fragment!r}", scheme.example)
    if scheme is _S3:
        _check_s3(parts.netloc, parts.path)
    else:
        _check_vault(parts.netloc, parts.path)
    return parts


def _check_s3(bucket: str, path: str) -> None:
    if not re.fullmatch(_S3.name, bucket):
        meant = bucket.lower().replace("_", "-")
        words = f"; did you mean {meant!r}?" if re.fullmatch(_S3.name, meant) else ""
        raise StoreUriFault(f"{bucket!r} is not a bucket name (3 to 63 of a-z, 0-9, . and -){words}", _S3.example)
    prefix = path.strip("/")
    if len(prefix) > 256 or not re.fullmatch(_S3.path, path) or {".", ".."} & set(prefix.split("/")):
        raise StoreUriFault(f"{prefix!r} is not a usable prefix (letters, digits, ! _ . * ' ( ) - and /)", _S3.example)


def _no_bucket_of_archives(bucket: str) -> str | None:
    """Return why a name that looks like a bucket's is none, or that of another kind of bucket.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    """
    if bucket.endswith("--x-s3"):
        return "a directory bucket has no archive storage classes"
    if bucket.endswith(("--ol-s3", "--table-s3", ".mrap")):
        return "it is the name of an access point or of a table bucket"
    if ".." in bucket or re.fullmatch(r"[0-9]+(\.[0-9]+){3}", bucket) or bucket.startswith(("xn--", "sthree-")):
        return "no bucket may have such a name"
    return None


def _check_vault(vault: str, path: str) -> None:
    if not re.fullmatch(_VAULT.name, vault):
        raise StoreUriFault(f"{vault!r} is not a vault name (letters, digits, _ . -)", _VAULT.example)
    if not re.fullmatch(_VAULT.path, path):
        raise StoreUriFault(f"a vault has no path, but {path!r} follows its name", _VAULT.example)


def _parameters(scheme: _Scheme, query: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        known = scheme.parameters.get(name)
        if known is None:
            raise StoreUriFault(f"it has no parameter {name!r}{nearest(name, scheme.parameters)}", scheme.example)
        if name in given or not value:
            wrong = f"the parameter {name!r} is {'given twice' if name in given else 'empty'}"
            raise StoreUriFault(wrong, _example(scheme, name))
        if not re.fullmatch(known.pattern, value):
            raise StoreUriFault(f"{name} is {known.fault(value)}", _example(scheme, name))
        given[name] = value
    return given


def _example(scheme: _Scheme, parameter: str) -> str:
    return f"{scheme.example}?{scheme.parameters[parameter].example}"
