"""One application: its values, and how an entry of `applications.yaml` becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter, ValidationError

from glacier_provider.applications.fields import SECTIONS, AlertOptions, Fields, GivenAlerts
from glacier_provider.applications.messages import sentences, unknown
from glacier_provider.applications.overlaps import overlaps
from glacier_provider.core.prices import LIST_PRICES, Prices, override
from glacier_provider.errors import ConfigurationError

#: Long past: Airflow starts a schedule at its next due time, since the DAGs do not catch up.
_FIRST_DAY = date(2026, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Application(Fields):
    """One PostgreSQL database and one directory of attached files that belong together. Paths are absolute."""

    @property
    def price_table(self) -> Prices:
        """The list prices with the application's own figures laid over them."""
        return override(LIST_PRICES, self.prices or {})

    @property
    def may_ask_by_batch(self) -> bool:
        """Whether jobs may ask for very many archives: a role is named for them, and nobody said never."""
        return self.retrieval_batch == "auto" and self.verify.account is not None

    @property
    def first_day(self) -> datetime:
        """The day from which on backups are scheduled: midnight in the application's time zone."""
        return datetime.combine(self.start or _FIRST_DAY, time(), tzinfo=ZoneInfo(self.timezone))

    def is_expected(self, now: datetime) -> bool:
        """Whether backups of it are made by a schedule, from a day on that has come."""
        return self.schedule is not None and self.first_day <= now

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON-able values; `from_dict` is the inverse."""
        values: dict[str, Any] = _form().dump_python(self, mode="json")
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Application:
        """Build from `to_dict`'s result, or from an entry written by hand with its `name`; raise ConfigurationError."""
        fields = dict(values)
        return parse_application(fields.pop("name", None), fields, origin="the given application")


@cache
def _form() -> TypeAdapter[Application]:
    return TypeAdapter(Application)


def parse_application(name: Any, entry: Any, *, origin: str) -> Application:
    """Validate one entry by itself; `origin` names its file or place in messages. Raise ConfigurationError."""
    problems: list[str] = []
    application = parse_entry(name, entry, problems)
    if application is None:
        raise error_of_problems(problems, origin)
    return application


def error_of_problems(problems: list[str], origin: str) -> ConfigurationError:
    """Return one error that names all problems."""
    if len(problems) == 1:
        return ConfigurationError(f"{origin}: {problems[0]}\n{ConfigurationError.hint}", hint="")
    lines = "\n- ".join([f"{origin} has {len(problems):,} problems:", *problems])
    return ConfigurationError(f"{lines}\n{ConfigurationError.hint}", hint="")


def parse_entry(
    name: Any, entry: Any, problems: list[str], defaults: Mapping[str, Any] | None = None
) -> Application | None:
    """Return the application of one entry, or None after noting its problems."""
    where = f"application {name!r}"
    if not isinstance(entry, Mapping):
        problems.append(f"{where}: must be a mapping of fields. Example: postgres_conn_id: library_db")
        return None
    given = _merged(defaults or {}, entry)
    found = [unknown("", "name")] if "name" in given else []
    try:
        application = _form().validate_python({"orphan_directory": None, **given, "name": name})
        found += [f", field {field!r}: {sentence}" for _, field, sentence, _other in overlaps([application])]
    except ValidationError as error:
        found += sentences(error, given)
    problems += [where + one for one in found]
    return None if found else application


def alerts_of_entry(entry: Any, defaults: Mapping[str, Any]) -> AlertOptions:
    """Return who is called for an entry, whatever else is wrong with it; nobody where that itself is wrong."""
    given = _merged(defaults, entry) if isinstance(entry, Mapping) else defaults
    wanted = given.get("alerts")
    targets = {"to": wanted.get("to")} if isinstance(wanted, Mapping) else None
    for one in (wanted, targets, defaults.get("alerts")):
        if one is None:
            continue
        try:
            return _form_of_alerts().validate_python(one)
        except ValidationError:
            continue
    return AlertOptions()


@cache
def _form_of_alerts() -> TypeAdapter[AlertOptions]:
    return TypeAdapter(GivenAlerts)


def _merged(defaults: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Lay an entry over the defaults; its sections are laid over field by field."""
    merged = {**defaults, **entry}
    for section in SECTIONS:
        below, above = defaults.get(section), merged.get(section)
        if isinstance(above, Mapping):
            merged[section] = {**(below if isinstance(below, Mapping) else {}), **above}
    return merged
