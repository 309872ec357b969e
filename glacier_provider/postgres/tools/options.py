"""What pg_dump and pg_restore may be asked for; pure values, checked when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from glacier_provider.errors import ConfigurationError
from glacier_provider.postgres.tools.sql import TableName


class DumpFormat(StrEnum):
    CUSTOM = "custom"  #: one file
    DIRECTORY = "directory"  #: a directory with a file per table; several jobs can write it


class Keep(StrEnum):
    KEEP = "keep"  #: as in the dump
    DROP = "drop"  #: as the restoring user and the target give it


class OnError(StrEnum):
    """What a restore beside does about a statement of the dump that fails."""

    STOP = "stop"  #: nothing is restored
    LIST = "list"  #: it goes on, lists them all, and waits for a person
    ACCEPT = "accept"  #: it goes on and swaps: a person accepted what is listed


COMPRESSIONS = ("zstd", "lz4", "gzip", "none")


@dataclass(frozen=True, slots=True)
class Exclusions:
    """What a dump leaves out, by exact identity: schemas, tables (or views, sequences), and rows of tables.

    Kept with each backup: what a dump does not hold cannot be replaced by it, so a restore leaves it as it is.
    """

    schemas: tuple[str, ...] = ()
    tables: tuple[TableName, ...] = ()
    table_data: tuple[TableName, ...] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """All of it, by name."""
        return (*self.schemas, *(".".join(name) for name in (*self.tables, *self.table_data)))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON keeps them."""
        return {name: [list(each) for each in getattr(self, name)] for name in ("tables", "table_data")} | {
            "schemas": list(self.schemas)
        }

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Exclusions:
        """Return what `as_dict` gave; what is missing is empty."""
        tables, rows = (tuple((str(s), str(n)) for s, n in kept.get(name, ())) for name in ("tables", "table_data"))
        return cls(tuple(str(name) for name in kept.get("schemas", ())), tables, rows)


@dataclass(frozen=True, slots=True)
class PgDumpOptions:
    """How to dump.

    `jobs` counts parallel connections (directory format alone). `compression` is ``method`` or ``method:level``
    (zstd, lz4, gzip, none); None takes the best that the client offers. `space_ratio` is the free space asked for,
    as a fraction of the database's size on the server. `references_query` is SQL whose first column is the name of
    every attached file that the database knows.
    """

    format: DumpFormat = DumpFormat.CUSTOM
    jobs: int = 1
    compression: str | None = None
    exclude_schemas: tuple[str, ...] = ()
    exclude_tables: tuple[TableName, ...] = ()
    exclude_table_data: tuple[TableName, ...] = ()
    lock_timeout_seconds: float = 60
    space_ratio: float = 0.5
    references_query: str | None = None

    def __post_init__(self) -> None:
        if self.jobs < 1 or (self.jobs > 1 and self.format is not DumpFormat.DIRECTORY):
            raise ConfigurationError(
                f"dump.jobs is {self.jobs} with the format {self.format}.",
                hint="Use jobs: 1, or format: directory with any number of jobs.",
            )
        if self.compression is not None and self.compression.partition(":")[0] not in COMPRESSIONS:
            raise ConfigurationError(
                f"dump.compression is {self.compression!r}.",
                hint=f"Use one of {', '.join(COMPRESSIONS)}, with a level if you like: zstd:9.",
            )
        if self.lock_timeout_seconds <= 0 or self.space_ratio < 0:
            raise ConfigurationError("dump.lock_timeout_seconds or dump.space_ratio is below zero.")

    @property
    def exclusions(self) -> Exclusions:
        return Exclusions(self.exclude_schemas, self.exclude_tables, self.exclude_table_data)


@dataclass(frozen=True, slots=True)
class PgRestoreOptions:
    """How to restore.

    `owner` and `privileges`: keep them as dumped, or drop them (for a cluster without the same roles). `tablespaces`:
    keep them, or take the target's default (for a cluster without the same tablespaces).
    `lock_timeout_seconds` bounds the wait for each lock that dropping the old objects needs.
    """

    owner: Keep = Keep.KEEP
    privileges: Keep = Keep.KEEP
    tablespaces: Keep = Keep.KEEP
    lock_timeout_seconds: float = 60

    def __post_init__(self) -> None:
        if self.lock_timeout_seconds <= 0:
            raise ConfigurationError("restore.lock_timeout_seconds must be above zero.")
