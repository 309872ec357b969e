"""One application: its values, and how an entry of `applications.yaml` becomes one."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, time
from pathlib import PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

from glacier_provider.applications.form import (
    DUMP,
    FIELDS,
    NAME_WORDS,
    NOTIFICATIONS,
    REQUIRED,
    RESTORE,
    RETENTION,
    SCAN,
    Field,
    application_name,
)
from glacier_provider.core.prices import LIST_PRICES, Prices, override
from glacier_provider.core.retention import Retention
from glacier_provider.errors import ConfigurationError

#: Long past: Airflow starts a schedule at its next due time, since the DAGs do not catch up.
_FIRST_DAY = date(2026, 1, 1)

_SECRET = re.compile(r"passw|secret|token|access_?key|credential", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpOptions:
    """How pg_dump is run. `compression` None is the best that the client offers; tables are ``schema.table``.

    `staging` is ``disk`` or ``none``: whether a whole copy of the dump is made on the worker. `format` and `jobs` None
    are what suits it best, told by `format_used` and `jobs_used`.
    """

    format: str | None = None
    jobs: int | None = None
    staging: str = "disk"
    compression: str | None = None
    exclude_tables: tuple[str, ...] = ()
    exclude_table_data: tuple[str, ...] = ()
    exclude_schemas: tuple[str, ...] = ()
    lock_timeout_seconds: int = 60
    space_ratio: float = 0.5  #: free staging space that is asked for before a dump, as a share of the database's size

    @property
    def format_used(self) -> str:
        return self.format or ("directory" if self.staging == "disk" else "custom")

    @property
    def jobs_used(self) -> int:
        return self.jobs or (2 if self.format_used == "directory" else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What a restore keeps of the dump, and what it leaves as it is in the database.

    `mode`: `transaction`, in place and all at once; or `swap`, into a new database with `jobs` connections, which then
    takes the old one's name.

    `budget`: what a restore may cost without a person's approval, in the currency of the prices; None: whatever it is.
    """

    mode: str = "transaction"
    jobs: int = 2
    owner: str = "keep"
    privileges: str = "keep"
    lock_timeout_seconds: int = 60
    exclude_schemas: tuple[str, ...] = ()
    exclude_tables: tuple[str, ...] = ()
    budget: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationOptions:
    """Where a restore hears that retrievals ended: an SQS queue by URL, ARN or name, or None.

    `poll_seconds`: how often the store is asked all the same while the queue can be read, since messages get lost.
    """

    queue: str | None = None
    poll_seconds: int = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """How closely the daily run looks at files that it knows; every `full_walk_days` it looks at all, with sizes."""

    size_check: str = "always"  #: always, sample (another part of the directories each day), never
    trust_directory_times: str = "auto"  #: auto: on local disks, where sizes are not looked at; never
    full_walk_days: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One PostgreSQL database and one directory of attached files that belong together. Paths are absolute."""

    name: str
    postgres_conn_id: str
    files_directory: str
    staging_directory: str
    store: str
    orphan_directory: str
    catalog_conn_id: str = "glacier_catalog"
    catalog_schema: str = "glacier_catalog"
    aws_conn_id: str = "aws_default"
    schedule: str | None = "@daily"
    timezone: str = "UTC"
    start: date | None = None
    dump: DumpOptions = field(default_factory=DumpOptions)
    references_query: str | None = None
    exclude: tuple[str, ...] = ()
    retrieval_tier: str = "Standard"
    retrieval_days: int = 7
    poll_seconds: int = 300
    queue: str | None = None
    pool: str | None = None
    parallelism: int = 2
    connections: int = 16
    upload_processes: int = 2
    bandwidth_limit: int | None = None  #: bytes per second that all uploads of the application take together
    part_size_mib: int = 16
    settle_seconds: int = 5
    pg_bin_directory: str | None = None
    prices: Mapping[str, Any] | None = None
    restore: RestoreOptions = field(default_factory=RestoreOptions)
    retention: Retention = field(default_factory=Retention)
    notifications: NotificationOptions = field(default_factory=NotificationOptions)
    scan: ScanOptions = field(default_factory=ScanOptions)

    @property
    def price_table(self) -> Prices:
        """The list prices with the application's own figures laid over them."""
        return override(LIST_PRICES, self.prices or {})

    @property
    def first_day(self) -> datetime:
        """The day from which on backups are scheduled: midnight in the application's time zone."""
        return datetime.combine(self.start or _FIRST_DAY, time(), tzinfo=ZoneInfo(self.timezone))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as JSON-able values; `from_dict` is the inverse."""
        values: dict[str, Any] = asdict(self)
        values["start"] = self.start.isoformat() if self.start else None
        return {key: _jsonable(value) for key, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Application:
        """Build from `to_dict`'s result, or from an entry written by hand with its `name`; raise ConfigurationError."""
        fields = dict(values)
        return parse_application(fields.pop("name", None), fields, origin="the given application")


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def parse_application(name: Any, entry: Any, *, origin: str) -> Application:
    """Validate one entry by itself; `origin` names its file or place in messages. Raise ConfigurationError."""
    problems: list[str] = []
    application = parse_entry(name, entry, problems)
    raise_problems(problems, origin)
    assert application is not None
    return application


def raise_problems(problems: list[str], origin: str) -> None:
    """Raise one ConfigurationError that names all problems, if there are any."""
    if len(problems) == 1:
        raise ConfigurationError(f"{origin}: {problems[0]}\n{ConfigurationError.hint}", hint="")
    if problems:
        lines = "\n- ".join([f"{origin} has {len(problems)} problems:", *problems])
        raise ConfigurationError(f"{lines}\n{ConfigurationError.hint}", hint="")


_Section = DumpOptions | RestoreOptions | Retention | NotificationOptions | ScanOptions
_SECTIONS: dict[str, tuple[dict[str, Field], type[_Section]]] = {
    "dump": (DUMP, DumpOptions),
    "restore": (RESTORE, RestoreOptions),
    "retention": (RETENTION, Retention),
    "notifications": (NOTIFICATIONS, NotificationOptions),
    "scan": (SCAN, ScanOptions),
}


def parse_entry(
    name: Any, entry: Any, problems: list[str], defaults: Mapping[str, Any] | None = None
) -> Application | None:
    """Return the application of one entry, or None after noting its problems."""
    found: list[str] = []
    where = f"application {name!r}"
    try:
        application_name(name)
    except ValueError:
        found.append(f"{where}: {NAME_WORDS}")
    if not isinstance(entry, Mapping):
        found.append(f"{where}: must be a mapping of fields. Example: postgres_conn_id: library_db")
        entry = {}
    elif not found:
        values = _parse_fields(_merged(defaults or {}, entry), where, found)
    problems += found
    if found:
        return None
    application = _application(name, values)
    problems += _contradictions(application)
    return application


def _application(name: str, values: dict[str, Any]) -> Application:
    if values["orphan_directory"] is None:
        values["orphan_directory"] = str(PurePosixPath(values["files_directory"]).parent / "orphan_files")
    return Application(name=name, **values)


def _merged(defaults: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Lay an entry over the defaults; its sections are laid over field by field."""
    merged = {**defaults, **entry}
    for section in _SECTIONS:
        below, above = defaults.get(section), entry.get(section)
        if isinstance(below, Mapping) and isinstance(above, Mapping):
            merged[section] = {**below, **above}
    return merged


def _parse_fields(values: dict[str, Any], where: str, problems: list[str]) -> dict[str, Any]:
    sections: dict[str, Any] = {}
    for section, (fields, kind) in _SECTIONS.items():
        given = values.pop(section, None)
        if given is None:
            given = {}
        if not isinstance(given, Mapping):
            problems.append(f"{where}, field {section!r}: must be a mapping. Example: {_section_example(section)}")
            continue
        sections[section] = kind(**_parse_mapping(given, fields, f"{where}, field '{section}.", problems))
    parsed = _parse_mapping(values, FIELDS, f"{where}, field '", problems)
    return {**parsed, **sections}


def _section_example(section: str) -> str:
    key, spec = next(iter(_SECTIONS[section][0].items()))
    return f"{{{key}: {spec.example}}}"


def _parse_mapping(
    given: Mapping[str, Any], fields: dict[str, Field], where: str, problems: list[str]
) -> dict[str, Any]:
    known = [*fields, *(_SECTIONS if fields is FIELDS else ())]
    problems += [_unknown(key, known, where) for key in given if key not in fields]
    parsed = {}
    for key, spec in fields.items():
        if key not in given:
            if spec.default is REQUIRED:
                problems.append(f"{where}{key}': is missing. Example: {key}: {spec.example}")
            parsed[key] = spec.default
            continue
        try:
            parsed[key] = None if given[key] is spec.default is None else spec.rule(given[key])
        except ValueError as exc:
            problems.append(f"{where}{key}': must be {exc}, not {_shown(given[key])}. Example: {key}: {spec.example}")
    return parsed


def _unknown(key: Any, known: list[str], where: str) -> str:
    if _SECRET.search(str(key)):
        return f"{where}{key}': secrets do not belong here; put them into the Airflow connection"
    return f"{where}{key}': there is no such field{nearest(key, known)}"


def nearest(key: Any, known: list[str] | tuple[str, ...]) -> str:
    """Return the end of a sentence about an unknown word: the known one that was probably meant, or all of them."""
    close = difflib.get_close_matches(str(key), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}"


def _shown(value: Any) -> str:
    """Return a value for a message; what might hold a password is not shown."""
    text = repr(value)
    if "://" in text or "@" in text.lstrip("'\""):
        return "the value given (not shown: it may hold a password)"
    return text if len(text) <= 80 else f"{text[:77]}…"


def _contradictions(application: Application) -> Iterator[str]:
    """Yield what is wrong between fields that are right each by itself."""
    if application.dump.staging == "none" and application.dump.format_used != "custom":
        yield (
            f"application {application.name!r}, field 'dump.staging': a directory cannot be streamed. "
            "Example: dump: {staging: none, format: custom}"
        )
    elif application.dump.jobs_used > 1 and application.dump.format_used != "directory":
        yield (
            f"application {application.name!r}, field 'dump.jobs': several jobs need the format directory. "
            "Example: dump: {format: directory, jobs: 4}"
        )
    restore = application.restore
    if restore.mode == "swap" and (restore.exclude_schemas or restore.exclude_tables):
        yield (
            f"application {application.name!r}, field 'restore.mode': a swap replaces the whole database, so nothing "
            "can be excluded. Example: restore: {mode: transaction}"
        )
    yield from _inner_directories(application)


def _inner_directories(application: Application) -> Iterator[str]:
    for name in ("orphan_directory", "staging_directory"):
        inner = getattr(application, name)
        if _lies_in(inner, application.files_directory) and not _is_excluded(application, inner):
            yield (
                f"application {application.name!r}, field {name!r}: must not lie inside files_directory "
                f"({application.files_directory}), or 'exclude' must leave it out. "
                f"Example: {name}: {PurePosixPath(application.files_directory).parent / PurePosixPath(inner).name}"
            )
        if _lies_in(application.files_directory, inner):
            yield (
                f"application {application.name!r}, field 'files_directory': must not lie inside {name} ({inner}). "
                f"Example: files_directory: /srv/{application.name}/uploads"
            )


def _is_excluded(application: Application, inner: str) -> bool:
    relative = str(PurePosixPath(inner).relative_to(application.files_directory))
    return any(
        fnmatch.fnmatchcase(f"{relative}{inside}", pattern)
        for inside in ("", "/", "/x")
        for pattern in application.exclude
    )


def _lies_in(path: str, directory: str) -> bool:
    return PurePosixPath(path).is_relative_to(directory)
