"""What became of a restore of a database, whichever way it went. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

#: SQLSTATEs of what needs something that is not there: a table, column, function, type, schema.
MISSING = frozenset({"42P01", "42703", "42883", "42704", "3F000", "42P02"})


@dataclass(frozen=True, slots=True)
class FailedStatement:
    """A piece of the dump that could not be restored, or holds without having been checked.

    The object, the server's sentence or what follows from it, and the statement that a person may run later.
    """

    object: str
    said: str
    statement: str = ""

    def __str__(self) -> str:
        return f"{self.object}: {self.said}" if self.object else self.said

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RestoredDatabase:
    """A committed restore: counts of entries, the transaction's id, whether statistics are fresh, and warnings.

    `failed` are pieces of the dump that needed what was left out, or that a person agreed to do without, each as
    `FailedStatement.as_dict` gives it.
    """

    restored: int
    removed: int
    transaction_id: int
    dump_version: str
    server_version: str
    analyzed: bool
    warnings: tuple[str, ...] = ()
    failed: tuple[Mapping[str, str], ...] = ()
