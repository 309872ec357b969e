"""One application: each field with its rule, its default, an example and what it says.

Messages, the JSON Schema, the table of the user guide and the complete entry of `dags/applications.yaml` are made from
what stands here (`schema.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from functools import cache
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationInfo

from glacier_provider.applications.overlaps import overlaps
from glacier_provider.applications.rules import (
    Compression,
    ConnectionId,
    Contradiction,
    Day,
    Directory,
    Identifier,
    Money,
    Name,
    Names,
    PartSize,
    Patterns,
    PriceTable,
    QueueText,
    Schedule,
    StoreText,
    Tables,
    Text,
    TierName,
    TimeZone,
    about,
    whole,
)
from glacier_provider.core.prices import LIST_PRICES, Prices, override
from glacier_provider.core.retention import Retention

#: Long past: Airflow starts a schedule at its next due time, since the DAGs do not catch up.
_FIRST_DAY = date(2026, 1, 1)

_CONFIG = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpOptions:
    """How pg_dump is run. `format` and `jobs` None are what suits it best, told by `format_used` and `jobs_used`."""

    __pydantic_config__ = _CONFIG

    format: Annotated[
        Literal["custom", "directory"] | None,
        about(
            "`directory` is written by several jobs, and sent while it is made; it is stored as one tar",
            "directory",
            otherwise="`directory`, or `custom` with `staging: none`",
        ),
    ] = None
    jobs: Annotated[
        Annotated[int, whole(1, 64)] | None,
        about(
            "connections that dump at once. More than 1 needs `format: directory`", 4, otherwise="2, or 1 for `custom`"
        ),
    ] = None
    staging: Annotated[
        Literal["disk", "none"], about("`none`: no copy on the worker, the dump is streamed into the store", "disk")
    ] = "disk"
    compression: Annotated[
        Compression | None, about("of the dump", "zstd:3", otherwise="the best that the client has")
    ] = None
    exclude_schemas: Annotated[Names, about("schemas not to dump", ["audit"])] = ()
    exclude_tables: Annotated[Tables, about("tables not to dump", ["public.sessions"])] = ()
    exclude_table_data: Annotated[Tables, about("tables to dump without their rows", ["public.cache"])] = ()
    lock_timeout_seconds: Annotated[int, whole(1, 86400), about("how long pg_dump waits for a lock", 60)] = 60
    space_ratio: Annotated[
        float,
        Field(strict=True, ge=0, le=10),
        about("free staging space asked for before a dump, as a share of the database's size", 0.5),
    ] = 0.5

    @property
    def format_used(self) -> str:
        return self.format or ("directory" if self.staging == "disk" else "custom")

    @property
    def jobs_used(self) -> int:
        return self.jobs or (2 if self.format_used == "directory" else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What a restore keeps of the dump, and what it leaves as it is in the database."""

    __pydantic_config__ = _CONFIG

    mode: Annotated[
        Literal["transaction", "swap"],
        about(
            "`transaction`: in place, all at once; `swap`: into a new database, which then takes the old one's name",
            "transaction",
        ),
    ] = "transaction"
    jobs: Annotated[int, whole(1, 64), about("connections that a swap restores with", 2)] = 2
    owner: Annotated[
        Literal["keep", "drop"],
        about("`drop`: objects belong to the restoring user, for a cluster without the same roles", "drop"),
    ] = "keep"
    privileges: Annotated[Literal["keep", "drop"], about("`drop`: no GRANTs", "drop")] = "keep"
    exclude_schemas: Annotated[Names, about("schemas that stay as they are", ["audit"])] = ()
    exclude_tables: Annotated[Tables, about("tables that stay as they are", ["public.sessions"])] = ()
    lock_timeout_seconds: Annotated[int, whole(1, 86400), about("how long the restore waits for each lock", 60)] = 60
    budget: Annotated[
        Money | None, about("a restore that is estimated to cost more waits for a person's approval", 25)
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationOptions:
    """Where a restore hears that retrievals ended."""

    __pydantic_config__ = _CONFIG

    queue: Annotated[
        QueueText | None,
        about(
            "where they hear it. Without one the store is only polled. `glacier-backup setup-notifications` makes it",
            "https://sqs.eu-central-1.amazonaws.com/123456789012/library",
        ),
    ] = None
    poll_seconds: Annotated[
        int, whole(1, 86400), about("how often the store is asked all the same while the queue can be read", 1800)
    ] = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """How closely the daily run looks at files that it knows."""

    __pydantic_config__ = _CONFIG

    size_check: Annotated[
        Literal["always", "sample", "never"],
        about(
            "whether the size of every known file is looked at each day; `sample`: of those of each directory on one "
            "day of `full_walk_days`",
            "sample",
        ),
    ] = "always"
    trust_directory_times: Annotated[
        Literal["auto", "never"],
        about(
            "`auto`: an unchanged directory of a local disk is not read on days on which its sizes are not looked at",
            "never",
        ),
    ] = "auto"
    full_walk_days: Annotated[
        int, whole(1, 366), about("every so many days all names and sizes are compared, whatever the other two say", 7)
    ] = 7


def _beside_files(value: Any, info: ValidationInfo) -> Any:
    if value is not None:
        return value
    return str(PurePosixPath(info.data.get("files_directory", "/")).parent / "orphan_files")


def _check_dump(dump: DumpOptions) -> DumpOptions:
    if dump.staging == "none" and dump.format_used != "custom":
        words = "a directory cannot be streamed. Example: dump: {staging: none, format: custom}"
        raise Contradiction(("staging", words))
    if dump.jobs_used > 1 and dump.format_used != "directory":
        raise Contradiction(
            ("jobs", "several jobs need the format directory. Example: dump: {format: directory, jobs: 4}")
        )
    return dump


def _check_restore(restore: RestoreOptions) -> RestoreOptions:
    if restore.mode == "swap" and (restore.exclude_schemas or restore.exclude_tables):
        words = "a swap replaces the whole database, so nothing can be excluded. Example: restore: {mode: transaction}"
        raise Contradiction(("mode", words))
    return restore


#: A section that is named, with nothing behind it, has its defaults.
_SECTION = BeforeValidator(lambda value: {} if value is None else value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One PostgreSQL database and one directory of attached files that belong together. Paths are absolute."""

    __pydantic_config__ = _CONFIG

    name: Name
    postgres_conn_id: Annotated[ConnectionId, about("the application's database", "library_db")]
    files_directory: Annotated[
        Directory, about("the attached files. Each application has its own", "/srv/library/uploads")
    ]
    staging_directory: Annotated[Directory, about("where dumps and downloads lie meanwhile", "/srv/glacier/staging")]
    store: Annotated[StoreText, about("where new archives go", "s3://my-backups/production?storage_class=GLACIER")]
    orphan_directory: Annotated[
        Directory,
        BeforeValidator(_beside_files),
        about(
            "where orphans are moved. Best on the same file system, where a move is a rename",
            "/srv/library/orphan_files",
            otherwise="`orphan_files` beside `files_directory`",
        ),
    ]
    catalog_conn_id: Annotated[ConnectionId, about("the catalog's database", "glacier_catalog")] = "glacier_catalog"
    catalog_schema: Annotated[
        Identifier, about("the catalog's schema, which must hold nothing else", "glacier_catalog")
    ] = "glacier_catalog"
    aws_conn_id: Annotated[ConnectionId, about("the store's credentials", "aws_default")] = "aws_default"
    schedule: Annotated[
        Schedule | None, about('when backups are made; null: only by hand. Quotes are needed: `"@daily"`', "15 2 * * *")
    ] = "@daily"
    timezone: Annotated[TimeZone, about("of the schedule", "Europe/Berlin")] = "UTC"
    start: Annotated[Day | None, about("no scheduled backup before this day", "2026-01-31")] = None
    dump: Annotated[DumpOptions, _SECTION, AfterValidator(_check_dump), about("how dumps are made")] = field(
        default_factory=DumpOptions
    )
    references_query: Annotated[
        Text | None,
        about("names of the files that the database knows; missing ones are reported", "SELECT file FROM documents"),
    ] = None
    exclude: Annotated[
        Patterns, about("files to leave out: patterns of relative names; `*` also matches `/`", ["cache/*", "*.tmp"])
    ] = ()
    settle_seconds: Annotated[
        int,
        whole(0, 86400),
        about("a file modified more recently may still be being written, and is left for a later try", 5),
    ] = 5
    scan: Annotated[ScanOptions, _SECTION, about("how closely the daily run looks at files that it knows")] = field(
        default_factory=ScanOptions
    )
    retrieval_tier: Annotated[TierName, about("of restores that do not name one", "Standard")] = "Standard"
    retrieval_days: Annotated[int, whole(1, 365), about("how long retrieved copies can be read, and are billed", 7)] = 7
    poll_seconds: Annotated[
        int, whole(1, 86400), about("how often the store is asked about waiting retrievals", 300)
    ] = 300
    notifications: Annotated[NotificationOptions, _SECTION, about("how restores hear that retrievals ended")] = field(
        default_factory=NotificationOptions
    )
    restore: Annotated[
        RestoreOptions, _SECTION, AfterValidator(_check_restore), about("how databases are restored")
    ] = field(default_factory=RestoreOptions)
    retention: Annotated[
        Retention,
        _SECTION,
        about("which backups may be deleted; nothing ever is by a rule alone", otherwise="nothing: all stay"),
    ] = field(default_factory=Retention)
    prices: Annotated[
        PriceTable | None,
        about(
            "figures of your own, laid over the built-in prices",
            {"region": "eu-central-1", "classes": {"GLACIER": {"storage": 0.0045}}},
            otherwise="the list prices",
        ),
    ] = None
    queue: Annotated[
        Text | None, about("of the workers that mount the directories", "library_files", otherwise="Airflow's own")
    ] = None
    pool: Annotated[Text | None, about("an Airflow pool, which must exist", "glacier", otherwise="Airflow's own")] = (
        None
    )
    parallelism: Annotated[int, whole(1, 64), about("at most so many tasks upload, or download, side by side", 2)] = 2
    connections: Annotated[int, whole(1, 256), about("requests that each of these tasks has under way", 16)] = 16
    upload_processes: Annotated[
        int,
        whole(0, 64),
        about(
            "processes that send small files, in each of these tasks, from 300 files on; never more than the worker "
            "has cores. 0 has the task send them itself",
            2,
        ),
    ] = 2
    bandwidth_limit: Annotated[
        Annotated[int, whole(1, 2**50)] | None,
        about(
            "bytes per second that all uploads of the application take together; each upload task gets its share",
            12_500_000,
        ),
    ] = None
    part_size_mib: Annotated[
        PartSize, about("part size of large uploads. It is raised by itself where 10,000 parts would not do", 16)
    ] = 16
    pg_bin_directory: Annotated[
        Directory | None,
        about("where `pg_dump`, `pg_restore` and `psql` are", "/usr/lib/postgresql/17/bin", otherwise="the `PATH`"),
    ] = None

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
        values: dict[str, Any] = form().dump_python(self, mode="json")
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Application":
        """Build from `to_dict`'s result, or from an entry written by hand with its `name`; raise ConfigurationError."""
        from glacier_provider.applications.entry import parse_application

        fields = dict(values)
        return parse_application(fields.pop("name", None), fields, origin="the given application")


@cache
def form() -> TypeAdapter[Application]:
    """Return what validates an application, and tells its JSON Schema."""
    return TypeAdapter(Annotated[Application, AfterValidator(_check_directories)])


def _check_directories(application: Application) -> Application:
    if found := [(name, sentence) for _, name, sentence in overlaps([application])]:
        raise Contradiction(*found)
    return application
