"""`applications.yaml`: the applications that are kept safe, read once and validated as a whole.

`load_applications` finds and reads the file; each entry becomes a frozen `Application`. The file holds no secrets:
it names Airflow connections. Its form is the table `_FIELDS` below: one line a field with its rule, its default and
an example.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from glacier_provider.core.tables import parse_table
from glacier_provider.errors import ConfigurationError

ENVIRONMENT_VARIABLE = "GLACIER_APPLICATIONS"
PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
TIERS = ("Expedited", "Standard", "Bulk")


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpOptions:
    """How pg_dump is run. `compression` None is the best that the client offers; tables are ``schema.table``."""

    format: str = "custom"
    jobs: int = 1
    compression: str | None = None
    exclude_tables: tuple[str, ...] = ()
    exclude_table_data: tuple[str, ...] = ()
    exclude_schemas: tuple[str, ...] = ()
    lock_timeout_seconds: int = 60
    space_ratio: float = 0.5  #: free staging space that is asked for before a dump, as a share of the database's size


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What a restore keeps of the dump, and what it leaves as it is in the database."""

    owner: str = "keep"
    privileges: str = "keep"
    lock_timeout_seconds: int = 60
    exclude_schemas: tuple[str, ...] = ()
    exclude_tables: tuple[str, ...] = ()


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
    part_size_mib: int = 16
    settle_seconds: int = 5
    pg_bin_directory: str | None = None
    restore: RestoreOptions = field(default_factory=RestoreOptions)

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


class Applications(Mapping[str, Application]):
    """The applications of one file by name, in the file's order. `origin` is the path of the file."""

    def __init__(self, applications: Mapping[str, Application], origin: str) -> None:
        self._applications = dict(applications)
        self.origin = origin

    def __getitem__(self, name: str) -> Application:
        return self._applications[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._applications)

    def __len__(self) -> int:
        return len(self._applications)

    def named(self, name: str) -> Application:
        """Return one application; raise ConfigurationError, naming those that exist, for an unknown one."""
        if name in self._applications:
            return self._applications[name]
        known = ", ".join(self._applications) or "none"
        raise ConfigurationError(f"There is no application {name!r} in {self.origin}; it has: {known}.")


def load_applications(path: str | os.PathLike[str] | None = None) -> Applications:
    """Read and validate the file of applications, found by `applications_path`.

    Raise one ConfigurationError that names every problem of the file: application, field, what is wrong, an example.
    """
    origin = applications_path(path)
    problems: list[str] = []
    applications = _parse_document(_read(origin), problems)
    problems += _conflicts(applications)
    _raise(problems, str(origin))
    return Applications(applications, str(origin))


def parse_application(name: Any, entry: Any, *, origin: str) -> Application:
    """Validate one entry by itself; `origin` names its file or place in messages. Raise ConfigurationError."""
    problems: list[str] = []
    application = _parse_entry(name, entry, problems)
    if application is not None:
        problems += _conflicts({application.name: application})
    _raise(problems, origin)
    assert application is not None
    return application


def applications_path(path: str | os.PathLike[str] | None = None) -> Path:
    """Return where the file of applications is: the argument, else the environment variable GLACIER_APPLICATIONS, else
    Airflow's configuration ([glacier_provider] applications), else ``dags/applications.yaml`` in Airflow's home.
    """
    configured = path or os.environ.get(ENVIRONMENT_VARIABLE) or _airflow_setting()
    if configured:
        return Path(configured).expanduser()
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "dags" / "applications.yaml"


def _airflow_setting() -> str | None:
    if setting := os.environ.get("AIRFLOW__GLACIER_PROVIDER__APPLICATIONS"):  # spares the import of Airflow
        return setting
    try:
        from airflow.sdk import conf

        return str(conf.get("glacier_provider", "applications", fallback="")) or None
    except Exception:  # noqa: BLE001 - the command line must work where Airflow is missing or broken
        return None


# --- the form of the file ---------------------------------------------------------------------------------------------

_REQUIRED: Any = object()
_Rule = Callable[[Any], Any]


class _Field(NamedTuple):
    """A rule returns the value or raises ValueError with the words that complete "must be ..."."""

    rule: _Rule
    example: str
    default: Any = _REQUIRED


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("text")
    return value


def _matching(pattern: str, words: str) -> _Rule:
    def rule(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(words)
        return value

    return rule


def _one_of(*choices: str) -> _Rule:
    def rule(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return str(value)

    return rule


def _whole(low: int, high: int) -> _Rule:
    def rule(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return rule


def _ratio(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 10:
        raise ValueError("a number from 0 to 10")
    return float(value)


def _part_size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 8 <= value <= 4096 or value & (value - 1):
        raise ValueError("a power of two from 8 to 4096")
    return value


def _optional(rule: _Rule) -> _Rule:
    return lambda value: None if value is None else rule(value)


def _list_of(rule: _Rule, words: str) -> _Rule:
    def parse(value: Any) -> tuple[Any, ...]:
        if value is None:  # the key without anything behind it
            return ()
        if not isinstance(value, list | tuple):
            raise ValueError(f"a list of {words}")
        try:
            return tuple(rule(item) for item in value)
        except ValueError as exc:
            raise ValueError(f"a list of {words}") from exc

    return parse


def _table(value: Any) -> str:
    try:
        parse_table(_text(value))
    except ConfigurationError:
        raise ValueError from None
    return str(value)


def _directory(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value or ".." in PurePosixPath(value).parts:
        raise ValueError("an absolute path without '..'")
    path = os.path.normpath(value).replace("//", "/", 1)
    if path == "/":
        raise ValueError("a directory below /")
    return path


def _glob(value: Any) -> str:
    if _text(value).startswith("/"):
        raise ValueError
    return str(value)


def _store(value: Any) -> str:
    words = "s3://bucket/prefix?storage_class=GLACIER or glacier://vault-name"
    try:
        parsed = urlsplit(_text(value))
        bucket = parsed.hostname
    except ValueError:
        raise ValueError(words) from None
    if "@" in parsed.netloc:
        raise ValueError(f"{words}, without a user or password: those belong to the connection aws_conn_id")
    if parsed.scheme not in ("s3", "glacier") or not bucket or re.search(r"\s", value):
        raise ValueError(words)
    return str(value)


def _schedule(value: Any) -> str:
    words = f"a cron expression of five fields, one of {', '.join(PRESETS)}, or null"
    if value in PRESETS:
        return str(value)
    if not isinstance(value, str) or len(value.split()) != 5 or not _is_cron(value):
        raise ValueError(words)
    return value


def _is_cron(expression: str) -> bool:
    try:
        from croniter import croniter  # type: ignore[import-untyped]
    except ImportError:
        return True
    return bool(croniter.is_valid(expression))


def _timezone(value: Any) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(_text(value)).key
    except (ZoneInfoNotFoundError, OSError, ValueError):
        raise ValueError("the name of a time zone") from None


def _date(value: Any) -> date:
    if type(value) is date:
        return value
    try:
        return date.fromisoformat(_text(value))
    except ValueError:
        raise ValueError("a date") from None


_connection = _matching(r"[\w.-]{1,250}", "the id of an Airflow connection, which holds host, user and password")
_identifier = _matching(r"[a-z_][a-z0-9_]{0,62}", "a PostgreSQL identifier of lower case letters, digits and _")
_compression = _matching(r"none|(gzip|lz4|zstd)(:\d{1,2})?", "none, or gzip, lz4, zstd with or without a level")
_names = _list_of(_text, "names")
_tables = _list_of(_table, "tables, as in public.sessions")
_globs = _list_of(_glob, "patterns of relative names")

_DUMP = {
    "format": _Field(_one_of("custom", "directory"), "custom", "custom"),
    "jobs": _Field(_whole(1, 64), "4", 1),
    "compression": _Field(_optional(_compression), "zstd:3", None),
    "exclude_tables": _Field(_tables, "[public.sessions]", ()),
    "exclude_table_data": _Field(_tables, "[public.sessions]", ()),
    "exclude_schemas": _Field(_names, "[audit]", ()),
    "lock_timeout_seconds": _Field(_whole(1, 86400), "60", 60),
    "space_ratio": _Field(_ratio, "0.5", 0.5),
}
_RESTORE = {
    "owner": _Field(_one_of("keep", "drop"), "drop", "keep"),
    "privileges": _Field(_one_of("keep", "drop"), "drop", "keep"),
    "lock_timeout_seconds": _Field(_whole(1, 86400), "60", 60),
    "exclude_schemas": _Field(_names, "[audit]", ()),
    "exclude_tables": _Field(_tables, "[public.sessions]", ()),
}
_FIELDS = {
    "postgres_conn_id": _Field(_connection, "library_db"),
    "files_directory": _Field(_directory, "/srv/library/uploads"),
    "staging_directory": _Field(_directory, "/srv/glacier/staging"),
    "store": _Field(_store, "s3://my-bucket/backups?storage_class=GLACIER"),
    "orphan_directory": _Field(_directory, "/srv/library/orphan_files", None),
    "catalog_conn_id": _Field(_connection, "glacier_catalog", "glacier_catalog"),
    "catalog_schema": _Field(_identifier, "glacier_catalog", "glacier_catalog"),
    "aws_conn_id": _Field(_connection, "aws_default", "aws_default"),
    "schedule": _Field(_optional(_schedule), '"15 2 * * *"', "@daily"),
    "timezone": _Field(_timezone, "Europe/Berlin", "UTC"),
    "start": _Field(_optional(_date), "2026-01-31", None),
    "references_query": _Field(_optional(_text), "SELECT file FROM documents", None),
    "exclude": _Field(_globs, '["cache/*", "*.tmp"]', ()),
    "retrieval_tier": _Field(_one_of(*TIERS), "Standard", "Standard"),
    "retrieval_days": _Field(_whole(1, 365), "7", 7),
    "poll_seconds": _Field(_whole(1, 86400), "300", 300),
    "queue": _Field(_optional(_text), "library_files", None),
    "pool": _Field(_optional(_text), "glacier", None),
    "parallelism": _Field(_whole(1, 64), "2", 2),
    "connections": _Field(_whole(1, 256), "16", 16),
    "part_size_mib": _Field(_part_size, "16", 16),
    "settle_seconds": _Field(_whole(0, 86400), "5", 5),
    "pg_bin_directory": _Field(_optional(_directory), "/usr/lib/postgresql/17/bin", None),
}
_SECTIONS: dict[str, tuple[dict[str, _Field], type[DumpOptions] | type[RestoreOptions]]] = {
    "dump": (_DUMP, DumpOptions),
    "restore": (_RESTORE, RestoreOptions),
}
_name = _matching(r"[a-z][a-z0-9_-]{0,39}", "")
_NAME_WORDS = "a name starts with a small letter and has at most 40 small letters, digits, - and _. Example: library"
_SECRET = re.compile(r"passw|secret|token|access_?key|credential", re.IGNORECASE)


# --- entries ----------------------------------------------------------------------------------------------------------


def _parse_document(document: Any, problems: list[str]) -> dict[str, Application]:
    """Return the valid applications of a whole file; note what is wrong with the others."""
    if not isinstance(document, dict) or not isinstance(document.get("applications"), dict):
        problems.append("must be a mapping with the key 'applications', which maps names to their fields")
        return {}
    problems += [f"unknown section {key!r}{_nearest(key, _TOP)}" for key in document if key not in _TOP]
    defaults = document.get("defaults") or {}
    if not isinstance(defaults, dict):
        problems.append("section 'defaults': must be a mapping of fields")
        defaults = {}
    parsed = (_parse_entry(name, entry, problems, defaults) for name, entry in document["applications"].items())
    return {application.name: application for application in parsed if application is not None}


_TOP = ("defaults", "applications")


def _parse_entry(
    name: Any, entry: Any, problems: list[str], defaults: Mapping[str, Any] | None = None
) -> Application | None:
    """Return the application of one entry, or None after noting its problems."""
    found: list[str] = []
    where = f"application {name!r}"
    try:
        _name(name)
    except ValueError:
        found.append(f"{where}: {_NAME_WORDS}")
    if not isinstance(entry, Mapping):
        found.append(f"{where}: must be a mapping of fields. Example: postgres_conn_id: library_db")
        entry = {}
    elif not found:
        values = _parse_fields(_merged(defaults or {}, entry), where, found)
    problems += found
    return None if found else _application(name, values)


def _application(name: str, values: dict[str, Any]) -> Application:
    if values["orphan_directory"] is None:
        values["orphan_directory"] = str(PurePosixPath(values["files_directory"]).parent / "orphan_files")
    return Application(name=name, **values)


def _merged(defaults: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Lay an entry over the defaults; the sections `dump` and `restore` are laid over field by field."""
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
    parsed = _parse_mapping(values, _FIELDS, f"{where}, field '", problems)
    return {**parsed, **sections}


def _section_example(section: str) -> str:
    key, spec = next(iter(_SECTIONS[section][0].items()))
    return f"{{{key}: {spec.example}}}"


def _parse_mapping(
    given: Mapping[str, Any], fields: dict[str, _Field], where: str, problems: list[str]
) -> dict[str, Any]:
    known = [*fields, *(_SECTIONS if fields is _FIELDS else ())]
    problems += [_unknown(key, known, where) for key in given if key not in fields]
    parsed = {}
    for key, spec in fields.items():
        if key not in given:
            if spec.default is _REQUIRED:
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
    return f"{where}{key}': there is no such field{_nearest(key, known)}"


def _nearest(key: Any, known: list[str] | tuple[str, ...]) -> str:
    nearest = difflib.get_close_matches(str(key), known, n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else f"; there are: {', '.join(known)}"


def _shown(value: Any) -> str:
    """Return a value for a message; what might hold a password is not shown."""
    text = repr(value)
    if "://" in text or "@" in text.lstrip("'\""):
        return "the value given (not shown: it may hold a password)"
    return text if len(text) <= 80 else f"{text[:77]}…"


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


# --- rules between fields and applications ----------------------------------------------------------------------------


def _conflicts(applications: Mapping[str, Application]) -> list[str]:
    found: list[str] = []
    for application in applications.values():
        found += _inner_directories(application)
        if application.dump.jobs > 1 and application.dump.format != "directory":
            found.append(
                f"application {application.name!r}, field 'dump.jobs': several jobs need the format directory. "
                "Example: dump: {format: directory, jobs: 4}"
            )
    values = list(applications.values())
    for index, one in enumerate(values):
        found += [text for other in values[index + 1 :] if (text := _shared_files(one, other))]
    return found


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
        fnmatch.fnmatchcase(relative, pattern) or fnmatch.fnmatchcase(f"{relative}/x", pattern)
        for pattern in application.exclude
    )


def _lies_in(path: str, directory: str) -> bool:
    return PurePosixPath(path).is_relative_to(directory)


def _shared_files(one: Application, other: Application) -> str | None:
    if one.files_directory == other.files_directory:
        return (
            f"applications {one.name!r} and {other.name!r}, field 'files_directory': both have {one.files_directory}; "
            f"each needs its own. Example: files_directory: /srv/{other.name}/uploads"
        )
    return None


# --- reading ----------------------------------------------------------------------------------------------------------


def _raise(problems: list[str], origin: str) -> None:
    if len(problems) == 1:
        raise ConfigurationError(f"{origin}: {problems[0]}.")
    if problems:
        lines = "".join(f"\n- {problem}" for problem in problems)
        raise ConfigurationError(f"{origin} has {len(problems)} problems:{lines}\n")


def _read(path: Path) -> Any:
    """Return the YAML document of a file; raise ConfigurationError naming file and line."""
    import yaml

    try:
        return yaml.load(path.read_bytes(), Loader=_loader())
    except OSError as exc:
        raise ConfigurationError(
            f"Cannot read the file of applications {path}: {exc.strerror}.",
            hint=f"Set {ENVIRONMENT_VARIABLE} or [glacier_provider] applications to its path.",
        ) from exc
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        raise ConfigurationError(f"{path}, line {line}: {exc.problem}.", hint=_QUOTE) from exc
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        raise ConfigurationError(f"{path} is not YAML: {type(exc).__name__}.") from exc


_QUOTE = 'Correct the file; values that begin with @ or * need quotes, as in schedule: "@daily".'


def _loader() -> Any:
    """Return the safe loader, in C where there is one, that refuses a key given twice."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class UniqueKeys(base):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[str] = set()
            for key, _ in node.value:
                if key.value in seen and isinstance(key, yaml.ScalarNode):
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is given twice", key.start_mark
                    )
                if isinstance(key, yaml.ScalarNode):
                    seen.add(key.value)
            return super().construct_mapping(node, deep)

    return UniqueKeys
