"""What became of a restore of a database, whichever way it went. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

#: SQLSTATEs of what needs something that is not there: a table, column, function, type, schema.
MISSING = frozenset({"42P01", "42703", "42883", "42704", "3F000", "42P02"})
#: Classes of SQLSTATEs that a statement has by what it names or meets, not by the server's state, and 55000.
#: https://www.postgresql.org/docs/current/errcodes-appendix.html
_OF_A_STATEMENT = ("0A", "22", "23", "2B", "3F", "42", "44", "P0", "55000")


def is_of_the_statement(sqlstate: str) -> bool:
    """Whether a statement would fail so whenever it is run; not for a lock, a limit, a full disk, a cut connection.

    >>> is_of_the_statement("42P01"), is_of_the_statement("55P03"), is_of_the_statement("53100")
    (True, False, False)
    """
    return sqlstate.startswith(_OF_A_STATEMENT)


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
