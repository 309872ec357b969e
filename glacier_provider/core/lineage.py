"""What a task read and wrote, by the names that OpenLineage gives to such things. Pure.

Names are those of https://openlineage.io/docs/spec/naming: a database is ``postgres://host:port`` and its name, a
directory ``file://host`` and its path. All backups of an application are one dataset, the place in the store that holds
them, each backup a version of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from glacier_provider.core.store_uri import S3Uri, parse_store_uri


@dataclass(frozen=True, slots=True)
class Dataset:
    """Something that is read or written. `version` is the id of a backup; `files`, `bytes` and `rows` are of the task.

    `checks` are by name whether each passed.
    """

    namespace: str
    name: str
    version: str | None = None
    files: int | None = None
    bytes: int | None = None
    rows: int | None = None
    checks: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Flow:
    """What a task read, and what it wrote."""

    inputs: tuple[Dataset, ...] = ()
    outputs: tuple[Dataset, ...] = ()


def database_dataset(host: str, port: int, name: str, *, here: str) -> Dataset:
    """Return a database. A socket's directory, or no host at all, means the machine `here`.

    >>> database_dataset("/var/run/postgresql", 5432, "library", here="worker-1").namespace
    'postgres://worker-1:5432'
    """
    place = here if host.startswith(("/", "@")) or not host else host
    return Dataset(f"postgres://{place}:{port}", name)


def directory_dataset(path: str, *, here: str) -> Dataset:
    """Return a directory as the machine `here` sees it."""
    return Dataset(f"file://{here}", path)


def backups_dataset(store: str, application: str) -> Dataset:
    """Return the place that holds the backups of an application; raise ConfigurationError for a URI that is none.

    >>> backups_dataset("s3://my-backups/production?storage_class=GLACIER", "library").name
    'production/library'
    """
    uri = parse_store_uri(store)
    if isinstance(uri, S3Uri):
        return Dataset(f"s3://{uri.bucket}", "/".join(filter(None, (uri.prefix, application))))
    return Dataset(f"glacier://{uri.vault}", application)


def backup_of(backups: Dataset, backup_id: object) -> Dataset:
    """Return one backup of those that a place holds; the place itself where its id is not known yet."""
    return replace(backups, version=str(backup_id)) if str(backup_id).isdecimal() else backups
