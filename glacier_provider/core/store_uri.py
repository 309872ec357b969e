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
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from glacier_provider.errors import ConfigurationError

COLD_CLASSES = ("GLACIER", "DEEP_ARCHIVE")
STORAGE_CLASSES = (*COLD_CLASSES, "GLACIER_IR", "STANDARD_IA", "STANDARD")
S3_EXAMPLE = "s3://my-backups/production?storage_class=GLACIER"
VAULT_EXAMPLE = "glacier://my-vault"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*")
_VAULT = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_S3_PARAMETERS = ("storage_class", "region", "sse", "kms_key_id", "object_lock_days", "object_lock_mode")
_TOPIC = re.compile(r"arn:[a-z-]+:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}")
_VAULT_PARAMETERS = ("region", "sns_topic")


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
        given = {name: getattr(self, name) for name in _S3_PARAMETERS}
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
        given = {name: getattr(self, name) for name in _VAULT_PARAMETERS if getattr(self, name) is not None}
        return f"glacier://{self.vault}" + (f"?{urlencode(given, safe=':/')}" if given else "")


StoreUri = S3Uri | VaultUri


def parse_store_uri(text: str) -> StoreUri:
    """Return the place that a store URI names; raise ConfigurationError naming the faulty part, with an example."""
    parts = urlsplit(text)
    if parts.scheme not in ("s3", "glacier"):
        raise _fault(text, f"the scheme is {parts.scheme!r}, not s3 or glacier", f"{S3_EXAMPLE} or {VAULT_EXAMPLE}")
    if "@" in parts.netloc:
        raise _fault("…", "credentials do not belong into it; they come from the AWS connection", S3_EXAMPLE)
    if parts.fragment:
        raise _fault(text, f"it has a fragment {parts.fragment!r}", S3_EXAMPLE)
    if parts.scheme == "s3":
        return _s3_uri(text, parts.netloc, parts.path.strip("/"), _parameters(text, parts.query, _S3_PARAMETERS))
    return _vault_uri(text, parts.netloc, parts.path, _parameters(text, parts.query, _VAULT_PARAMETERS))


def store_class(text: str) -> str:
    """Return what prices go by: the S3 storage class of a store, or VAULT."""
    place = parse_store_uri(text)
    return place.storage_class if isinstance(place, S3Uri) else "VAULT"


def _s3_uri(text: str, bucket: str, prefix: str, given: dict[str, str]) -> S3Uri:
    if not _BUCKET.fullmatch(bucket):
        raise _fault(text, f"{bucket!r} is not a bucket name", S3_EXAMPLE)
    if prefix and (len(prefix) > 256 or not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        raise _fault(text, f"{prefix!r} is not a usable prefix (letters, digits, ! _ . * ' ( ) - and /)", S3_EXAMPLE)
    if given.get("object_lock_mode") and "object_lock_days" not in given:
        raise _fault(text, "object_lock_mode needs object_lock_days", f"{S3_EXAMPLE}&object_lock_days=90")
    return S3Uri(
        bucket=bucket,
        prefix=prefix,
        storage_class=_one_of(text, given, "storage_class", STORAGE_CLASSES) or "GLACIER",
        region=_region(text, given, f"{S3_EXAMPLE}&region=eu-central-1"),
        sse=_encryption(text, given),
        kms_key_id=given.get("kms_key_id"),
        object_lock_days=_days(text, given),
        object_lock_mode=_one_of(text, given, "object_lock_mode", ("GOVERNANCE", "COMPLIANCE")) or "GOVERNANCE",
    )


def _vault_uri(text: str, vault: str, path: str, given: dict[str, str]) -> VaultUri:
    if not _VAULT.fullmatch(vault):
        raise _fault(text, f"{vault!r} is not a vault name (letters, digits, _ . -)", VAULT_EXAMPLE)
    if path not in ("", "/"):
        raise _fault(text, f"a vault has no path, but {path!r} follows its name", VAULT_EXAMPLE)
    topic = given.get("sns_topic")
    if topic is not None and not _TOPIC.fullmatch(topic):
        example = f"{VAULT_EXAMPLE}?sns_topic=arn:aws:sns:eu-central-1:123456789012:retrievals"
        raise _fault(text, f"sns_topic is {topic!r}, not the ARN of a topic", example)
    return VaultUri(vault=vault, region=_region(text, given, f"{VAULT_EXAMPLE}?region=eu-central-1"), sns_topic=topic)


def _parameters(text: str, query: str, allowed: tuple[str, ...]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in allowed:
            raise _fault(text, f"it has no parameter {name!r}; known are {', '.join(allowed)}", S3_EXAMPLE)
        if name in given or not value:
            raise _fault(text, f"the parameter {name!r} is {'given twice' if name in given else 'empty'}", S3_EXAMPLE)
        given[name] = value
    return given


def _one_of(text: str, given: dict[str, str], name: str, allowed: tuple[str, ...]) -> str | None:
    value = given.get(name)
    if value is not None and value not in allowed:
        raise _fault(text, f"{name} is {value!r}, not one of {', '.join(allowed)}", f"{S3_EXAMPLE}&{name}={allowed[0]}")
    return value


def _region(text: str, given: dict[str, str], example: str) -> str | None:
    value = given.get("region")
    if value is not None and not _REGION.fullmatch(value):
        raise _fault(text, f"region is {value!r}", example)
    return value


def _encryption(text: str, given: dict[str, str]) -> str | None:
    sse = _one_of(text, given, "sse", ("AES256", "aws:kms"))
    if "kms_key_id" in given and sse != "aws:kms":
        raise _fault(text, "kms_key_id needs sse=aws:kms", f"{S3_EXAMPLE}&sse=aws:kms&kms_key_id=alias/backups")
    return sse


def _days(text: str, given: dict[str, str]) -> int | None:
    value = given.get("object_lock_days")
    if value is not None and not (re.fullmatch(r"\d{1,5}", value) and int(value) >= 1):
        raise _fault(text, f"object_lock_days is {value!r}, not a number of days", f"{S3_EXAMPLE}&object_lock_days=90")
    return int(value) if value is not None else None


def _fault(text: str, what: str, example: str) -> ConfigurationError:
    return ConfigurationError(f"The store URI {text!r} cannot be used: {what}. Example: {example}.")


def place_of(uri: str) -> str:
    """Return the bucket or vault of a store URI as ``s3://bucket`` or ``glacier://vault``."""
    parsed = parse_store_uri(uri)
    return f"s3://{parsed.bucket}" if isinstance(parsed, S3Uri) else f"glacier://{parsed.vault}"
