"""The form of an entry in `applications.yaml`: a table with one line a field, its rule, its default and an example.

A rule takes what YAML gave and returns the value, or raises ValueError with the words that complete "must be ...".
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from glacier_provider.core.notification import parse_queue
from glacier_provider.core.prices import LIST_PRICES, override
from glacier_provider.core.tables import parse_table
from glacier_provider.errors import ConfigurationError

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
TIERS = ("Expedited", "Standard", "Bulk")

REQUIRED: Any = object()
Rule = Callable[[Any], Any]


class Field(NamedTuple):
    """A rule returns the value or raises ValueError with the words that complete "must be ..."."""

    rule: Rule
    example: str
    default: Any = REQUIRED


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("text")
    return value


def _matching(pattern: str, words: str) -> Rule:
    def rule(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(words)
        return value

    return rule


def _one_of(*choices: str) -> Rule:
    def rule(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return str(value)

    return rule


def _whole(low: int, high: int) -> Rule:
    def rule(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return rule


def _ratio(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 10:
        raise ValueError("a number from 0 to 10")
    return float(value)


def _money(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e9:
        raise ValueError("an amount of money from 0 on")
    return float(value)


def _prices(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("a mapping of figures")
    try:
        override(LIST_PRICES, value)
    except ValueError as exc:
        raise ValueError(f"a partial table of prices ({exc})") from None
    return _dates_as_text(value)


def _dates_as_text(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that JSON can hold."""
    return {
        str(key): _dates_as_text(item)
        if isinstance(item, Mapping)
        else item.isoformat()
        if isinstance(item, date)
        else item
        for key, item in value.items()
    }


def _part_size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 8 <= value <= 4096 or value & (value - 1):
        raise ValueError("a power of two from 8 to 4096")
    return value


def _optional(rule: Rule) -> Rule:
    return lambda value: None if value is None else rule(value)


def _list_of(rule: Rule, words: str) -> Rule:
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


def _queue(value: Any) -> str:
    parse_queue(_text(value))
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

DUMP = {
    "format": Field(_optional(_one_of("custom", "directory")), "directory", None),
    "jobs": Field(_optional(_whole(1, 64)), "4", None),
    "staging": Field(_one_of("disk", "none"), "disk", "disk"),
    "compression": Field(_optional(_compression), "zstd:3", None),
    "exclude_tables": Field(_tables, "[public.sessions]", ()),
    "exclude_table_data": Field(_tables, "[public.sessions]", ()),
    "exclude_schemas": Field(_names, "[audit]", ()),
    "lock_timeout_seconds": Field(_whole(1, 86400), "60", 60),
    "space_ratio": Field(_ratio, "0.5", 0.5),
}
RESTORE = {
    "mode": Field(_one_of("transaction", "swap"), "swap", "transaction"),
    "jobs": Field(_whole(1, 64), "2", 2),
    "owner": Field(_one_of("keep", "drop"), "drop", "keep"),
    "privileges": Field(_one_of("keep", "drop"), "drop", "keep"),
    "lock_timeout_seconds": Field(_whole(1, 86400), "60", 60),
    "exclude_schemas": Field(_names, "[audit]", ()),
    "exclude_tables": Field(_tables, "[public.sessions]", ()),
    "budget": Field(_optional(_money), "25", None),
}
NOTIFICATIONS = {
    "queue": Field(_optional(_queue), "https://sqs.eu-central-1.amazonaws.com/123456789012/library", None),
    "poll_seconds": Field(_whole(1, 86400), "1800", 1800),
}
RETENTION = {
    "keep_last": Field(_whole(0, 100_000), "7", 0),
    "keep_days": Field(_whole(0, 36_500), "90", 0),
    "keep_daily": Field(_whole(0, 100_000), "30", 0),
    "keep_weekly": Field(_whole(0, 10_000), "12", 0),
    "keep_monthly": Field(_whole(0, 10_000), "24", 0),
    "keep_yearly": Field(_whole(0, 1000), "10", 0),
}
SCAN = {
    "size_check": Field(_one_of("always", "sample", "never"), "sample", "always"),
    "trust_directory_times": Field(_one_of("auto", "never"), "never", "auto"),
    "full_walk_days": Field(_whole(1, 366), "7", 7),
}
FIELDS = {
    "postgres_conn_id": Field(_connection, "library_db"),
    "files_directory": Field(_directory, "/srv/library/uploads"),
    "staging_directory": Field(_directory, "/srv/glacier/staging"),
    "store": Field(_store, "s3://my-bucket/backups?storage_class=GLACIER"),
    "orphan_directory": Field(_directory, "/srv/library/orphan_files", None),
    "catalog_conn_id": Field(_connection, "glacier_catalog", "glacier_catalog"),
    "catalog_schema": Field(_identifier, "glacier_catalog", "glacier_catalog"),
    "aws_conn_id": Field(_connection, "aws_default", "aws_default"),
    "schedule": Field(_optional(_schedule), '"15 2 * * *"', "@daily"),
    "timezone": Field(_timezone, "Europe/Berlin", "UTC"),
    "start": Field(_optional(_date), "2026-01-31", None),
    "references_query": Field(_optional(_text), "SELECT file FROM documents", None),
    "exclude": Field(_globs, '["cache/*", "*.tmp"]', ()),
    "retrieval_tier": Field(_one_of(*TIERS), "Standard", "Standard"),
    "retrieval_days": Field(_whole(1, 365), "7", 7),
    "poll_seconds": Field(_whole(1, 86400), "300", 300),
    "queue": Field(_optional(_text), "library_files", None),
    "pool": Field(_optional(_text), "glacier", None),
    "parallelism": Field(_whole(1, 64), "2", 2),
    "connections": Field(_whole(1, 256), "16", 16),
    "upload_processes": Field(_whole(0, 64), "2", 2),
    "bandwidth_limit": Field(_optional(_whole(1, 2**50)), "12500000", None),
    "part_size_mib": Field(_part_size, "16", 16),
    "settle_seconds": Field(_whole(0, 86400), "5", 5),
    "pg_bin_directory": Field(_optional(_directory), "/usr/lib/postgresql/17/bin", None),
    "prices": Field(_optional(_prices), "{classes: {GLACIER: {storage: 0.0036}}}", None),
}
application_name = _matching(r"[a-z][a-z0-9_-]{0,39}", "")
NAME_WORDS = "a name starts with a small letter and has at most 40 small letters, digits, - and _. Example: library"
