"""What fields of `applications.yaml` may hold: types that pydantic checks, and that a JSON Schema tells.

A type says in words what a value "must be": in messages, in editors and in the user guide. Patterns are such as Rust,
Python and ECMA 262 read alike.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    GetPydanticSchema,
    Strict,
    WithJsonSchema,
)
from pydantic_core.core_schema import CoreSchema, literal_schema

from glacier_provider.core.alert import AlertTarget
from glacier_provider.core.checks import CHECKS_OF_RESTORES
from glacier_provider.core.condition import ASKED_FOR, Event
from glacier_provider.core.drill import DRILL_CHECKS
from glacier_provider.core.elsewhere import RestoreTarget
from glacier_provider.core.notification import parse_queue
from glacier_provider.core.prices import LIST_PRICES, STORE_CLASSES, BatchPrices, ClassPrices, override
from glacier_provider.core.store_uri import StoreUriFault, check_new_store, store_uri_pattern
from glacier_provider.core.tables import TABLE_PATTERN
from glacier_provider.core.tiers import Tier
from glacier_provider.errors import ConfigurationError

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")


class MustBe(ValueError):
    """What a value must be, in words that know the value: more than those of its type."""


class Contradiction(ValueError):
    """Fields that are right each by itself, but not together: pairs of a field and a sentence, as arguments."""


@dataclass(frozen=True, eq=False)
class Keywords:
    """What a type adds to its JSON Schema."""

    added: Mapping[str, Any]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), **self.added}


def must_be(words: str) -> Keywords:
    """Return the words that complete "must be ..."."""
    return Keywords({"errorMessage": f"must be {words}"})


def option(default: Any, description: str, example: Any = None, *, otherwise: str | None = None) -> Any:
    """Return a field with a default. `otherwise` is what holds without it, where the default does not say that."""
    return field(default=default, metadata=_metadata(description, default if example is None else example, otherwise))


def required(description: str, example: Any, *, otherwise: str | None = None) -> Any:
    """Return a field that has to be given, unless there is something that holds otherwise."""
    return field(metadata=_metadata(description, example, otherwise))


def section(kind: type, description: str, *, otherwise: str | None = None) -> Any:
    """Return a field with fields of its own, which all have defaults."""
    return field(default_factory=kind, metadata=_metadata(description, None, otherwise))


def _metadata(description: str, example: Any, otherwise: str | None) -> dict[str, Any]:
    extra = {} if otherwise is None else {"json_schema_extra": {"x-default": otherwise}}
    return {"description": description, **({} if example is None else {"examples": [example]}), **extra}


def whole(low: int, high: int) -> Any:
    return Field(strict=True, ge=low, le=high)


def _pattern(pattern: str, most: int | None = None) -> Any:
    return Field(strict=True, pattern=pattern, max_length=most)


def _choice(values: Iterable[Any]) -> Any:
    known = list(values)
    return GetPydanticSchema(lambda _kind, _handler: literal_schema(known))


def _normal(path: str) -> str:
    return os.path.normpath(path).replace("//", "/", 1)


def _check_queue(text: str) -> str:
    parse_queue(text)
    return text


def _check_store(text: str) -> str:
    if re.search(r"^\s|[\0-\x1f]", text):  # they would be left out in silence
        raise MustBe(f"{_STORE_WORDS} (there is white space in it)")
    try:
        check_new_store(text)
    except StoreUriFault as fault:
        raise MustBe(f"{_STORE_WORDS} ({fault})") from None
    return text


def _check_schedule(text: str) -> str:
    if text not in PRESETS:
        try:
            from croniter import croniter  # type: ignore[import-untyped]
        except ImportError:
            return text
        if not croniter.is_valid(text):
            raise ValueError
        try:
            croniter(text).get_next()
        except Exception:  # noqa: BLE001 - croniter's own: the thirtieth of February
            raise MustBe("a cron expression that comes due") from None
    return text


def _check_timezone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError from error


def _day(value: Any) -> date:
    day = value if type(value) is date else date.fromisoformat(value if isinstance(value, str) else "")
    if day.year not in _YEARS:  # nearer to the ends of the calendar no time zone and no schedule can be reckoned with
        raise ValueError
    return day


def _whole_number(value: Any) -> int:
    if type(value) is not int:
        raise ValueError
    return value


def _listed(value: Any) -> Any:
    """Return the tuple of a list, and nothing for a key without anything behind it."""
    return () if value is None else tuple(value) if isinstance(value, list) else value


def _prices(value: Any) -> dict[str, Any]:
    """Return a partial price table that JSON can hold."""
    if not isinstance(value, Mapping):
        raise ValueError
    try:
        override(LIST_PRICES, value)
    except ValueError as error:
        raise MustBe(f"a partial table of prices ({error})") from None
    return {str(key): _dates_as_text(item) for key, item in value.items()}


def _dates_as_text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _dates_as_text(item) for key, item in value.items()}
    return value.isoformat() if isinstance(value, date) else value


def _targets(value: Any) -> dict[str, dict[str, str]]:
    """Return restore targets by name, each with what it has."""
    if not isinstance(value, Mapping):
        raise ValueError
    found = {}
    for name, given in value.items():
        if not (isinstance(name, str) and re.fullmatch(_TARGET_NAME, name)):
            raise MustBe(f"{_TARGET_WORDS} ({name!r} is no name of one)")
        if not isinstance(given, Mapping) or "name" in given:
            raise MustBe(f"{_TARGET_WORDS} ({name} is none)")
        try:
            target = RestoreTarget.from_given(given)
        except ConfigurationError as error:
            raise MustBe(f"{_TARGET_WORDS} ({name}: {error})") from None
        if target is None or target.is_a_name:
            raise MustBe(f"{_TARGET_WORDS} ({name} names neither a database nor a directory)")
        if target.postgres_conn_id and not re.fullmatch(r"[\w.-]{1,250}", target.postgres_conn_id):
            raise MustBe(f"{_TARGET_WORDS} ({name}: postgres_conn_id is the id of an Airflow connection)")
        found[name] = target.as_dict()
    return found


def _drill_target(value: Any) -> Any:
    """Return the name of a restore target, or what one has."""
    if isinstance(value, str) and re.fullmatch(_TARGET_NAME, value):
        return value
    if not isinstance(value, Mapping):
        raise ValueError
    try:
        return _targets({"here": value})["here"]
    except MustBe:
        raise ValueError from None


def _sample(value: Any) -> Any:
    if value == "all":
        return value
    if type(value) is not int or not 0 <= value <= _MOST_FILES:
        raise ValueError
    return value


def _alert_targets(value: Any) -> tuple[dict[str, Any], ...]:
    """Return targets of alerts, each as a mapping of its kind to its address, with options."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise ValueError
    found = []
    for given in value:
        try:
            found.append(AlertTarget.from_given(given).as_dict())
        except ConfigurationError as error:
            raise MustBe(f"{_ALERT_WORDS} ({error})") from None
    return tuple(found)


def _alert_schema() -> dict[str, Any]:
    text = {"type": "string"}
    kinds = {
        "email": _mapping({"email": text, "conn_id": text, "from": text}),
        "webhook": _mapping({"webhook": text}),
        "apprise": _mapping({"apprise": text}),
        "notifier": _mapping({"notifier": text, "with": {"type": "object"}}),
    }
    mappings = [{**one, "required": [kind]} for kind, one in kinds.items()]
    return {"type": "array", "items": {"anyOf": [text, *mappings]}}


def _assertions(value: Any) -> dict[str, str]:
    """Return SQL by the name of what it asserts."""
    if not isinstance(value, Mapping) or not all(
        isinstance(text, str) and text.strip() and "\0" not in text for one in value.items() for text in one
    ):
        raise ValueError
    return dict(value)


def _executor_config(value: Any) -> dict[str, Any]:
    """Return what JSON can hold, as a pod has to be sent."""
    if not isinstance(value, Mapping):
        raise ValueError
    try:
        told: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        raise MustBe(f"{_EXECUTOR_WORDS} (texts, numbers, lists and mappings of them)") from None
    pod = told.get("pod_override", {"spec": {}})
    if not isinstance(pod, dict) or not isinstance(pod.get("spec"), dict):
        raise MustBe(f"{_EXECUTOR_WORDS} (pod_override has no spec)")
    containers = pod["spec"].get("containers", [])
    if not isinstance(containers, list) or not all(isinstance(one, dict) and one.get("name") for one in containers):
        raise MustBe(f"{_EXECUTOR_WORDS} (its containers have names; that of the task is base)")
    return told


def _target_schema() -> dict[str, Any]:
    return {"type": "object", "propertyNames": {"pattern": f"^{_TARGET_NAME}$"}, "additionalProperties": _one_target()}


def _one_target() -> dict[str, Any]:
    text = {"type": ["string", "null"], "pattern": r"\S"}
    directory = {**text, "pattern": rf"^/+(\./+)*({_DIRECTORY})(/+(\.|{_DIRECTORY}))*/*$"}
    return _mapping({"postgres_conn_id": text, "database": text, "files_directory": directory})


def _drill_target_schema() -> dict[str, Any]:
    return {**_one_target(), "type": ["object", "string"], "pattern": f"^{_TARGET_NAME}$"}


def _price_schema() -> dict[str, Any]:
    tier = _mapping({"per_1000": _FIGURE, "per_gb": _FIGURE})
    tiers = _mapping({tier_name.value: tier for tier_name in Tier})
    special = {"read": tier, "tiers": tiers, "storage": _FIGURE, "upload_per_1000": _FIGURE}
    names = [one.name for one in fields(ClassPrices) if one.name != "copies"]
    one_class = _mapping({name: special.get(name, {"type": ["integer", "null"], "minimum": 0}) for name in names})
    texts = {name: {"type": ["string", "null"]} for name in ("currency", "region", "as_of", "source")}
    batch = _mapping({one.name: _FIGURE for one in fields(BatchPrices)})
    return _mapping(
        {**texts, "transfer_out": _FIGURE, "batch": batch, "classes": _mapping(dict.fromkeys(STORE_CLASSES, one_class))}
    )


_FIGURE = {"type": ["number", "string", "null"], "minimum": 0}


def _mapping(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


_ALERT_WORDS = "a list of mail addresses, webhook URLs, and mappings with email, webhook, apprise or notifier"
_EXECUTOR_WORDS = "a mapping, in which pod_override is a pod with a spec, as Kubernetes reads it"
_YEARS = range(1970, 3000)
_DIRECTORY = r"\.{3,}|\.*[^./\u0000][^/\u0000]*"  # of a path: neither . nor ..
_TARGET_NAME = "[a-z][a-z0-9_-]{0,39}"
_TARGET_WORDS = "a mapping of names to a database, a files_directory, or both"
_DRILL_TARGET_WORDS = "private, the name of a restore target, or a database, a files_directory, or both"
_STORE_WORDS = "s3://bucket/prefix?storage_class=GLACIER or glacier://vault-name, without a user or password"
_NAME_WORDS = "a name starts with a small letter and has at most 40 small letters, digits, - and _"

Name = Annotated[
    str, _pattern("^[a-z][a-z0-9_-]*$", 40), Keywords({"errorMessage": _NAME_WORDS, "examples": ["library"]})
]
SomeText = Annotated[str, _pattern(r"^[^\u0000]*[^\s\u0000][^\u0000]*$"), must_be("text")]
ConnectionId = Annotated[
    str, _pattern(r"^[\w.-]+$", 250), must_be("the id of an Airflow connection, which holds host, user and password")
]
Identifier = Annotated[
    str, _pattern("^[a-z_][a-z0-9_]*$", 63), must_be("a PostgreSQL identifier of lower case letters, digits and _")
]
Directory = Annotated[
    str,
    _pattern(rf"^/+(\./+)*({_DIRECTORY})(/+(\.|{_DIRECTORY}))*/*$"),
    AfterValidator(_normal),
    must_be("an absolute path of a directory below /, without '..'"),
]
StoreText = Annotated[
    str, Strict(), AfterValidator(_check_store), Keywords({"pattern": store_uri_pattern()}), must_be(_STORE_WORDS)
]
StoreTexts = Annotated[
    tuple[StoreText, ...], Strict(), BeforeValidator(_listed), must_be("a list of store URIs, as `store` is one")
]
CronSchedule = Annotated[
    str,
    _pattern(rf"^({'|'.join(PRESETS)}|\s*\S+(\s+\S+){{4}}\s*)$"),
    AfterValidator(_check_schedule),
    must_be(f"a cron expression of five fields, one of {', '.join(PRESETS)}, or null"),
]
TimeZone = Annotated[
    str,
    _pattern("^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"),
    AfterValidator(_check_timezone),
    must_be("the name of a time zone"),
]
Day = Annotated[
    date,
    BeforeValidator(_day),
    Keywords({"pattern": "^(19[7-9]|2[0-9]{2})[0-9]"}),
    must_be(f"a date from {_YEARS[0]} to {_YEARS[-1]}"),
]
Compression = Annotated[
    str,
    _pattern("^(none|gzip(:0?[0-9])?|lz4(:(0?[0-9]|1[0-2]))?|zstd(:(0?[0-9]|1[0-9]|2[0-2]))?)$"),
    must_be("none, or gzip (to :9), lz4 (to :12) or zstd (to :22), with or without a level"),
]
PartSize = Annotated[
    int,
    _choice(2**power for power in range(3, 13)),
    BeforeValidator(_whole_number),
    must_be("a power of two from 8 to 4096"),
]
TierName = Annotated[str, _choice(tier.value for tier in Tier)]
Seconds = Annotated[int, whole(1, 86400)]
Workers = Annotated[int, whole(1, 64)]
Budget = Annotated[float, Field(strict=True, ge=0, lt=1e9), must_be("an amount of money from 0 on")]
QueueText = Annotated[
    str,
    _pattern(r"^(https?://\S+|arn:\S+|[A-Za-z0-9_-]+)$"),
    AfterValidator(_check_queue),
    must_be("the URL, the ARN or the name of a standard SQS queue (not FIFO)"),
]
AccountId = Annotated[str, _pattern("^[0-9]{12}$"), must_be("the 12 digits of an AWS account, in quotes")]
RoleArn = Annotated[str, _pattern(r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/\S+$"), must_be("the ARN of an IAM role")]
KeyFolder = Annotated[
    str,
    _pattern(r"^[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*)*$", 100),
    must_be("a folder of keys, as in .glacier-batch"),
]
Names = Annotated[tuple[SomeText, ...], Strict(), BeforeValidator(_listed), must_be("a list of names")]
Tables = Annotated[
    tuple[Annotated[str, _pattern(f"^({TABLE_PATTERN})$")], ...],
    Strict(),
    BeforeValidator(_listed),
    must_be("a list of tables, as in public.sessions"),
]
Patterns = Annotated[
    tuple[Annotated[str, _pattern(r"^([^/\s\u0000][^\u0000]*|\s[^\u0000]*[^\s\u0000][^\u0000]*)$")], ...],
    Strict(),
    BeforeValidator(_listed),
    must_be("a list of patterns of relative names"),
]
PriceTable = Annotated[
    Mapping[str, Any], BeforeValidator(_prices), WithJsonSchema(_price_schema()), must_be("a mapping of figures")
]
RestoreTargets = Annotated[
    Mapping[str, Any], BeforeValidator(_targets), WithJsonSchema(_target_schema()), must_be(_TARGET_WORDS)
]
DrillTarget = Annotated[
    Any, BeforeValidator(_drill_target), WithJsonSchema(_drill_target_schema()), must_be(_DRILL_TARGET_WORDS)
]
_MOST_FILES = 100_000_000
SampleFiles = Annotated[
    Any,
    BeforeValidator(_sample),
    WithJsonSchema({"type": ["integer", "string"], "minimum": 0, "maximum": _MOST_FILES, "pattern": "^all$"}),
    must_be("a number of files from 0 on, or all"),
]
DrillCheckNames = Annotated[
    tuple[Annotated[str, _choice(DRILL_CHECKS)], ...],
    Strict(),
    BeforeValidator(_listed),
    must_be(f"a list of {', '.join(DRILL_CHECKS)}"),
]
CheckNames = Annotated[
    tuple[Annotated[str, _choice(CHECKS_OF_RESTORES)], ...],
    Strict(),
    BeforeValidator(_listed),
    must_be(f"a list of {', '.join(CHECKS_OF_RESTORES)}"),
]
Assertions = Annotated[
    Mapping[str, str],
    BeforeValidator(_assertions),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string", "pattern": r"\S"}}),
    must_be("a mapping of names to SQL that returns true"),
]
ExecutorConfig = Annotated[
    Mapping[str, Any],
    BeforeValidator(_executor_config),
    WithJsonSchema({"type": "object", "properties": {"pod_override": {"type": "object", "required": ["spec"]}}}),
    must_be(_EXECUTOR_WORDS),
]
AlertTargets = Annotated[
    tuple[Mapping[str, Any], ...],
    BeforeValidator(_alert_targets),
    WithJsonSchema(_alert_schema()),
    must_be(_ALERT_WORDS),
]
EventNames = Annotated[
    tuple[Annotated[str, _choice(event.value for event in Event if event not in ASKED_FOR)], ...],
    Strict(),
    BeforeValidator(_listed),
    must_be(f"a list of {', '.join(event.value for event in Event if event not in ASKED_FOR)}"),
]
PingText = Annotated[
    str,
    _pattern(r"^(https?://[^\s/@?#]+(/[^\s?#]*)?|[\w.-]+)$", 500),
    must_be("the URL of a check at healthchecks.io or alike, or the id of an Airflow connection"),
]
