"""The fields of an application: each with its rule, its default, an example and what it says.

Messages, the JSON Schema, the table of the user guide and the complete entry of `dags/applications.yaml` are made from
what stands here. In a description, words between backticks are YAML.
"""

from dataclasses import MISSING, dataclass, fields
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo

from glacier_provider.applications.rules import (
    AccountId,
    AlertTargets,
    Assertions,
    Budget,
    CheckNames,
    Compression,
    ConnectionId,
    Contradiction,
    CronSchedule,
    Day,
    Directory,
    DrillCheckNames,
    DrillTarget,
    EventNames,
    ExecutorConfig,
    Identifier,
    KeyFolder,
    Name,
    Names,
    PartSize,
    Patterns,
    PingText,
    PriceTable,
    QueueText,
    RestoreTargets,
    RoleArn,
    SampleFiles,
    Seconds,
    SomeText,
    StoreText,
    StoreTexts,
    Tables,
    TierName,
    TimeZone,
    Workers,
    option,
    required,
    section,
    whole,
)
from glacier_provider.core.alert import CALLED_FOR
from glacier_provider.core.checks import RESTORE_CHECKS
from glacier_provider.core.condition import Anomalies
from glacier_provider.core.drill import DRILL_CHECKS
from glacier_provider.core.retention import Retention

_CONFIG = ConfigDict(extra="forbid")
#: What YAML reads of an `off` without quotes is false.
_OFF = BeforeValidator(lambda value: "off" if value is False else value)


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpOptions:
    """How pg_dump is run. `format` and `jobs` None are what suits it best, told by `format_used` and `jobs_used`."""

    __pydantic_config__ = _CONFIG

    format: Literal["custom", "directory"] | None = option(
        None,
        "`directory` is written by several jobs, and sent while it is made; it is stored as one tar",
        "directory",
        otherwise="`directory`, or `custom` with `staging: none`",
    )
    jobs: Workers | None = option(
        None,
        "connections that dump at once. More than 1 needs `format: directory`",
        4,
        otherwise="2, or 1 for `custom`",
    )
    staging: Literal["disk", "none"] = option(
        "disk", "`none`: no copy on the worker, the dump is streamed into the store"
    )
    compression: Compression | None = option(None, "of the dump", "zstd:3", otherwise="the best that the client has")
    exclude_schemas: Names = option((), "schemas not to dump", ["audit"])
    exclude_tables: Tables = option((), "tables not to dump", ["public.sessions"])
    exclude_table_data: Tables = option(
        (), "tables to dump without their rows; partitions, and what inherits, each by its own name", ["public.cache"]
    )
    lock_timeout_seconds: Seconds = option(60, "how long pg_dump waits for a lock")
    fingerprint: Annotated[Literal["counts", "hashes", "off"], _OFF] = option(
        "counts",
        "what is noted of every table in the dump's snapshot, for restores to be compared with: how many rows it has, "
        "or a hash of them as well, which takes longer",
        "hashes",
    )
    space_ratio: Annotated[float, Field(strict=True, ge=0, le=10)] = option(
        0.5, "free staging space asked for before a dump, as a share of the database's size"
    )

    @property
    def format_used(self) -> str:
        return self.format or ("directory" if self.staging == "disk" else "custom")

    @property
    def jobs_used(self) -> int:
        return self.jobs or (2 if self.format_used == "directory" else 1)


def _check_dump(dump: DumpOptions) -> DumpOptions:
    if dump.staging == "none" and dump.format_used != "custom":
        words = "a directory cannot be streamed. Example: dump: {staging: none, format: custom}"
        raise Contradiction(("staging", words))
    if dump.jobs_used > 1 and dump.format_used != "directory":
        words = "several jobs need the format directory. Example: dump: {format: directory, jobs: 4}"
        raise Contradiction(("jobs", words))
    return dump


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What a restore keeps of the dump, and what it leaves as it is in the database."""

    __pydantic_config__ = _CONFIG

    mode: Literal["transaction", "swap", "auto"] = option(
        "transaction",
        "`transaction`: in place, all at once; `swap`: into a new database, which then takes the old one's name; "
        "`auto`: in place, unless the server has too few locks for that and a swap can be made",
    )
    jobs: Workers = option(
        2, "connections that a swap restores with, and that refresh the planner's statistics after any restore"
    )
    owner: Literal["keep", "drop"] = option(
        "keep", "`drop`: objects belong to the restoring user, for a cluster without the same roles", "drop"
    )
    privileges: Literal["keep", "drop"] = option("keep", "`drop`: no GRANTs", "drop")
    roles: Literal["require", "create"] = option(
        "require",
        "what is done about roles of the dump that the server does not have. `create`: they are made, without "
        "passwords, as far as the user may; `require`: the restore names them and stops",
        "create",
    )
    tablespaces: Literal["keep", "drop"] = option(
        "keep", "`drop`: everything lies in the database's own tablespace, for a server without the same ones", "drop"
    )
    database_properties: Literal["auto", "keep", "dump"] = option(
        "auto",
        "settings, privileges, limit and comment of the database. `auto`: an empty one gets those of the dump, any "
        "other keeps its own; `dump`: those of the dump are set in any case",
    )
    on_error: Literal["stop", "list"] = option(
        "stop",
        "what a swap does when a statement of the dump fails. `list`: restores the rest beside, lists what failed, and "
        "waits for a person",
    )
    checks: CheckNames = option(
        RESTORE_CHECKS,
        "what has to be as it was in the dump's snapshot before what is restored takes its place",
        ["row_counts", "schema"],
        otherwise="all but `extensions` and `references`",
    )
    safety_dump: Annotated[bool, Field(strict=True)] = option(
        False,
        "`true`: before a restore replaces the application's database, that is dumped into staging; "
        "`glacier-backup undo-database` brings it back",
        True,
    )
    safety_dump_days: Annotated[int, whole(1, 366)] = option(7, "how long such a dump stays")
    exclude_schemas: Names = option((), "schemas that stay as they are", ["audit"])
    exclude_tables: Tables = option((), "tables that stay as they are", ["public.sessions"])
    lock_timeout_seconds: Seconds = option(60, "how long the restore waits for each lock")
    budget: Budget | None = option(
        None,
        "a restore that is estimated to cost more, in the currency of the prices, waits for a person's approval",
        25,
    )


def _check_restore(restore: RestoreOptions) -> RestoreOptions:
    if restore.mode == "swap" and (restore.exclude_schemas or restore.exclude_tables):
        words = "a swap replaces the whole database, so nothing can be excluded. Example: restore: {mode: transaction}"
        raise Contradiction(("mode", words))
    if restore.on_error == "list" and restore.mode != "swap":
        words = "what fails can be left out only beside, never in place. Example: restore: {mode: swap, on_error: list}"
        raise Contradiction(("on_error", words))
    return restore


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalOptions:
    """How each backup finds out whether it can be restored."""

    __pydantic_config__ = _CONFIG

    mode: Annotated[Literal["schema", "plan", "off"], _OFF] = option(
        "schema",
        "`plan`: the restore is planned against the living database, read-only; `schema`: and everything but rows is "
        "made in a scratch database, which is dropped again",
        "plan",
    )
    postgres_conn_id: ConnectionId | None = option(
        None,
        "where the scratch database is made when the application's user may create none",
        "scratch_db",
    )


def _rehearsal(value: Any) -> Any:
    """`rehearsal: plan` is short for its mode; YAML reads `off` as false."""
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"mode": "schema" if value else "off"}
    return {"mode": value} if isinstance(value, str) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationOptions:
    """Where a restore is told that retrievals ended."""

    __pydantic_config__ = _CONFIG

    queue: QueueText | None = option(
        None,
        "where they are told; `glacier-backup setup-notifications` makes one. Without it the store is only polled",
        "https://sqs.eu-central-1.amazonaws.com/123456789012/library",
    )
    poll_seconds: Seconds = option(1800, "how often the store is asked all the same while the queue can be read")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """How closely the daily run looks at files that it knows."""

    __pydantic_config__ = _CONFIG

    size_check: Literal["always", "sample", "never"] = option(
        "always",
        "whether the size of every known file is looked at each day; `sample`: in another part of the directories",
        "sample",
    )
    trust_directory_times: Literal["auto", "never"] = option(
        "auto",
        "`auto`: an unchanged directory of a local disk is not read on days on which its sizes are not looked at",
        "never",
    )
    full_walk_days: Annotated[int, whole(1, 366)] = option(
        7, "every so many days all names and sizes are compared, whatever the other two say"
    )
    unreadable: Literal["fail", "threshold", "ignore"] = option(
        "threshold",
        "files that cannot be read after all tries: `fail` the backup; complete it without them, named, "
        "up to a `threshold`; or `ignore` how many they are",
        "fail",
    )
    unreadable_most: Annotated[int, whole(0, 1_000_000)] = option(
        10, "the threshold: so many files, and never more than half of all"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """How what sleeps in the stores is compared with the catalog, where it lies."""

    __pydantic_config__ = _CONFIG

    by: Annotated[Literal["listing", "content", "off"], _OFF] = option(
        "off",
        "`listing`: each archive is in its store, with its size and class, and nothing else is; `content`: and S3 "
        "computes checksums, for which nothing is retrieved",
        "content",
        otherwise="`listing` where there is a section `verify`",
    )
    schedule: CronSchedule | None = option("@weekly", "when; null: only by hand", "30 4 * * 0")
    days: Annotated[int, whole(1, 3650)] = option(
        90, "an archive whose content was neither written nor verified for so many days is verified"
    )
    role_arn: RoleArn | None = option(
        None,
        "the role that S3 Batch Operations take. `by: content` needs it on S3",
        "arn:aws:iam::123456789012:role/glacier-verify",
    )
    account_id: AccountId | None = option(
        None, "whose jobs these are", "123456789012", otherwise="the account of the role"
    )
    report_prefix: KeyFolder = option(
        ".glacier-batch", "below the prefix of the store: where manifests and reports lie while a job lives"
    )
    budget: Budget | None = option(
        None, "checksums that are estimated to cost more, in the currency of the prices, are not asked for", 5
    )
    timeout_hours: Annotated[int, whole(1, 720)] = option(
        72, "how long a run waits for S3; the next one goes on with the same jobs"
    )

    @property
    def account(self) -> str | None:
        return self.account_id or (self.role_arn.split(":")[4] if self.role_arn else None)


def _verify(value: Any) -> Any:
    """`verify:` alone is by listing, `verify: content` is short for its way; YAML reads `off` as false."""
    if value is None or value is True:
        return {"by": "listing"}
    if value is False:
        return {"by": "off"}
    if isinstance(value, str):
        return {"by": value}
    return {"by": "listing", **value} if isinstance(value, dict) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillOptions:
    """How restores are tried: elsewhere, checked against what was noted at the dump, and thrown away."""

    __pydantic_config__ = _CONFIG

    which: Annotated[Literal["newest", "random", "off"], _OFF] = option(
        "off",
        "`newest`: the newest complete backup is restored; `random`: one of the newest `among`",
        "random",
        otherwise="`newest` where there is a section `drill`",
    )
    among: Annotated[int, whole(1, 1000)] = option(10, "of so many of the newest complete backups `random` takes one")
    schedule: CronSchedule | None = option("@weekly", "when; null: only by hand", "30 5 * * 0")
    target: DrillTarget | None = option(
        None,
        "where to, as `into` of a restore; what it does not say is as without it. `private`: a server of the worker's "
        "own, from a Python package, for the time of the drill",
        "staging",
        otherwise="a new database on the application's server, or on a private one where its user may create none; and "
        "a directory in `staging_directory`",
    )
    sample_files: SampleFiles = option(
        100, "so many attached files are brought out of the store, at random, and read; or `all`", "all"
    )
    budget: Budget = option(
        1.0,
        "what drills may cost in a calendar month by their estimates, in the currency of the prices: fewer files "
        "are taken when it would not do",
        5,
    )
    tier: TierName = option("Bulk", "of the retrievals")
    checks: DrillCheckNames = option(
        DRILL_CHECKS,
        "what has to be as it was in the dump's snapshot; `assertions` are asked besides",
        ["row_counts", "schema", "files"],
        otherwise="all of them",
    )


def _drill(value: Any) -> Any:
    """`drill:` alone is the newest, `drill: random` is short for which; YAML reads `off` as false."""
    if value is None or value is True:
        return {"which": "newest"}
    if value is False:
        return {"which": "off"}
    if isinstance(value, str):
        return {"which": value}
    return {"which": "newest", **value} if isinstance(value, dict) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertOptions:
    """Who is called, and for what."""

    __pydantic_config__ = _CONFIG

    to: AlertTargets = option(
        (),
        "who is called: mail addresses, URLs of webhooks, or mappings that name an Airflow connection or notifier. "
        "Nobody: no DAG `glacier_alerts`",
        ["ops@example.com", {"webhook": "ops_webhook"}, {"apprise": "ops_apprise"}],
        otherwise="nobody",
    )
    on: EventNames = option(
        CALLED_FOR,
        "what for",
        ["backup_failed", "backup_late"],
        otherwise="all but `restore_ended` and `deletion`",
    )
    monthly_cost: Budget | None = option(
        None, "storage that costs more a month, in the currency of the prices, is an event `cost`", 50
    )
    timeout_seconds: Annotated[int, whole(1, 300)] = option(15, "how long each target may take to be told")


def _alerts(value: Any) -> Any:
    """`alerts: ops@example.com` is short for its `to`; YAML reads the key `on` as true."""
    if value is None:
        return {}
    if isinstance(value, str):
        return {"to": [value]}
    if isinstance(value, list):
        return {"to": value}
    if isinstance(value, dict) and True in value:
        return {"on" if key is True else key: one for key, one in value.items()}
    return value


#: Who is called, as it may be written.
GivenAlerts = Annotated[AlertOptions, BeforeValidator(_alerts)]


def _beside_files(value: Any, info: ValidationInfo) -> Any:
    if value is not None:
        return value
    return str(PurePosixPath(info.data.get("files_directory", "/")).parent / "orphan_files")


#: A section that is named, with nothing behind it, has its defaults.
_SECTION = BeforeValidator(lambda value: {} if value is None else value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """What an entry of `applications.yaml` says, and its name."""

    __pydantic_config__ = _CONFIG

    name: Name
    postgres_conn_id: ConnectionId = required("the application's database", "library_db")
    files_directory: Directory = required("the attached files. Each application has its own", "/srv/library/uploads")
    staging_directory: Directory = required("where dumps and downloads lie meanwhile", "/srv/glacier/staging")
    store: StoreText = required("where new archives go", "s3://my-backups/production?storage_class=GLACIER")
    earlier_stores: StoreTexts = option(
        (),
        "where archives went before, in other buckets and vaults; `rebuild-catalog` goes to no other place",
        ["s3://my-old-backups/production?storage_class=GLACIER"],
    )
    orphan_directory: Annotated[Directory, BeforeValidator(_beside_files)] = required(
        "where orphans are moved. Best on the same file system, where a move is a rename",
        "/srv/library/orphan_files",
        otherwise="`orphan_files` beside `files_directory`",
    )
    catalog_conn_id: ConnectionId = option("glacier_catalog", "the catalog's database")
    catalog_schema: Identifier = option("glacier_catalog", "the catalog's schema, which must hold nothing else")
    aws_conn_id: ConnectionId = option("aws_default", "the store's credentials")
    schedule: CronSchedule | None = option(
        "@daily", 'when backups are made; null: only by hand. Quotes are needed: `"@daily"`', "15 2 * * *"
    )
    timezone: TimeZone = option("UTC", "of the schedule", "Europe/Berlin")
    start: Day | None = option(None, "no scheduled backup before this day", "2026-01-31")
    dump: Annotated[DumpOptions, _SECTION, AfterValidator(_check_dump)] = section(DumpOptions, "how dumps are made")
    references_query: SomeText | None = option(
        None, "names of the files that the database knows; missing ones are reported", "SELECT file FROM documents"
    )
    exclude: Patterns = option(
        (), "files to leave out: patterns of relative names; `*` also matches `/`", ["cache/*", "*.tmp"]
    )
    changed_files: Literal["archive", "report"] = option(
        "archive",
        "what becomes of a file that is no longer what was archived under its name: another archive, or a line in the "
        "report. With `archive` a file is read again when it comes back, or has another size, time or inode",
        "report",
    )
    check_days: Annotated[int, whole(1, 366)] = option(
        30, "within so many days the store is listed once, a piece a day: what it lost is known then"
    )
    settle_seconds: Annotated[int, whole(0, 86400)] = option(
        5, "a file modified more recently may still be being written, and is left for a later try"
    )
    scan: Annotated[ScanOptions, _SECTION] = section(
        ScanOptions, "how closely the daily run looks at files that it knows"
    )
    rehearsal: Annotated[RehearsalOptions, BeforeValidator(_rehearsal)] = section(
        RehearsalOptions, "how each backup finds out whether it can be restored"
    )
    verify: Annotated[VerifyOptions, BeforeValidator(_verify)] = section(
        VerifyOptions, "how what sleeps in the stores is compared with the catalog, where it lies"
    )
    drill: Annotated[DrillOptions, BeforeValidator(_drill)] = section(
        DrillOptions, "how restores are tried: elsewhere, checked, and thrown away"
    )
    alerts: GivenAlerts = section(AlertOptions, "who is called, and for what")
    anomalies: Annotated[Anomalies, _SECTION] = section(
        Anomalies, "how much unlike those before it a backup has to be before it is told (`backup_unusual`)"
    )
    ping: PingText | None = option(
        None,
        "where each backup says that it began, and how it ended, in the manner of healthchecks.io: a monitor that "
        "hears nothing calls somebody, also when nothing runs here",
        "https://hc-ping.com/2c7ab7d4-0000-4000-8000-0123456789ab",
    )
    retrieval_tier: TierName = option("Standard", "of restores that do not name one")
    retrieval_days: Annotated[int, whole(1, 365)] = option(7, "how long retrieved copies can be read, and are billed")
    retrieval_batch: Literal["auto", "never"] = option(
        "auto",
        "`auto`: one job of S3 Batch Operations asks for 20,000 archives and more of a store, where `verify.role_arn` "
        "names a role for it; `never`: a request of its own asks for each",
    )
    poll_seconds: Seconds = option(300, "how often the store is asked about waiting retrievals")
    notifications: Annotated[NotificationOptions, _SECTION] = section(
        NotificationOptions, "how restores are told that retrievals ended"
    )
    restore: Annotated[RestoreOptions, _SECTION, AfterValidator(_check_restore)] = section(
        RestoreOptions, "how databases are restored"
    )
    assertions: Assertions | None = option(
        None,
        "SQL that returns true of a database that is well, by name: asked of every restored one before it takes its "
        "place",
        {"every document has a title": "SELECT count(*) = 0 FROM documents WHERE title IS NULL"},
        otherwise="none",
    )
    restore_targets: RestoreTargets | None = option(
        None,
        "where restores can go instead of the application's own places, by name: `database` and `files_directory`, of "
        "the connection `postgres_conn_id` or the application's own",
        {"staging": {"database": "library_staging", "files_directory": "/srv/staging/uploads"}},
        otherwise="none",
    )
    retention: Annotated[Retention, _SECTION] = section(
        Retention, "which backups may be deleted; nothing ever is by a rule alone", otherwise="nothing: all stay"
    )
    prices: PriceTable | None = option(
        None,
        "figures of your own, laid over the built-in prices",
        {"region": "eu-central-1", "classes": {"GLACIER": {"storage": 0.0045}}},
        otherwise="the list prices",
    )
    queue: SomeText | None = option(
        None, "of the workers that mount the directories", "library_files", otherwise="Airflow's own"
    )
    pool: SomeText | None = option(None, "an Airflow pool, which must exist", "glacier", otherwise="Airflow's own")
    executor_config: ExecutorConfig | None = option(
        None,
        "what Airflow's executor is told with each task. With the KubernetesExecutor `pod_override` is laid over the "
        "pod of each task: its volumes",
        {"pod_override": {"spec": {"containers": [{"name": "base"}]}}},
        otherwise="nothing",
    )
    parallelism: Workers = option(2, "at most so many tasks upload, or download, side by side")
    connections: Annotated[int, whole(1, 256)] = option(16, "requests that each of these tasks has under way")
    upload_processes: Annotated[int, whole(0, 64)] = option(
        2,
        "processes that send small files, or ask for them and bring them, in each of these tasks, from 300 files on; "
        "never more than the worker has cores. 0 has the task do it itself",
    )
    bandwidth_limit: Annotated[int, whole(1, 2**50)] | None = option(
        None, "bytes per second that all uploads of the application take together; each task gets its share", 12_500_000
    )
    part_size_mib: PartSize = option(
        16, "part size of large uploads. It is raised by itself where 10,000 parts would not do"
    )
    pg_bin_directory: Directory | None = option(
        None, "where `pg_dump` and `pg_restore` are", "/usr/lib/postgresql/17/bin", otherwise="the `PATH`"
    )


SECTIONS = tuple(one.name for one in fields(Fields) if one.default_factory is not MISSING)
