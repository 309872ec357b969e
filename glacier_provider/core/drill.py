"""What a drill takes of a backup, what it may cost, and what its checks come to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from glacier_provider.core.checks import CHECKS, REFERENCES, CheckResult
from glacier_provider.core.params import whole_number
from glacier_provider.core.proof import Finding
from glacier_provider.errors import ConfigurationError

AMCHECK, FILES = "pg_amcheck", "files"
#: The findings of a step that could not be done, and of what stores and servers refused.
NOT_DONE, NOT_BROUGHT, NOT_RESTORED, LOST = "not_done", "not_brought", "not_restored", "lost"

#: Every check of a drill by name; a user's assertions are asked besides.
DRILL_CHECKS = (*CHECKS, AMCHECK, REFERENCES, FILES)

#: The `postgres_conn_id` of a target that is on no server of anybody's: the worker runs one of its own meanwhile.
PRIVATE_SERVER = "(a private server of the worker)"


@dataclass(frozen=True, slots=True)
class FileSample:
    """So many attached files of a backup, None: all; which ones is decided by the seed, the same at each try.

    They come out of the stores, whatever the application's directory has.
    """

    files: int | None
    seed: int

    def as_dict(self) -> dict[str, int | None]:
        return {"files": self.files, "seed": self.seed}

    @classmethod
    def from_given(cls, given: Any) -> FileSample | None:
        """Return what `as_dict` gave; None for nothing. Raise ConfigurationError for anything else."""
        if given is None or given == "":
            return None
        if not isinstance(given, Mapping) or set(given) != {"files", "seed"}:
            raise ConfigurationError(f"sample is {given!r}.", hint='Give it as in {"files": 100, "seed": 1}.')
        files = given["files"]
        return cls(None if files is None else whole_number(files), whole_number(given["seed"]))


def largest_affordable(cost: Callable[[int], Decimal], most: int, left: Decimal) -> int | None:
    """Return for how many files, at most so many, there is money left; None: not even for the dump alone.

    `cost` tells what a dump and so many files cost; it never falls with their number, and is asked a few times.

    >>> largest_affordable(lambda files: Decimal(10 + files), 100, Decimal(25))
    15
    >>> largest_affordable(lambda files: Decimal(10 + files), 100, Decimal(9)) is None
    True
    """
    if cost(0) > left:
        return None
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cost(middle) <= left else (low, middle - 1)
    return low


def findings_of_checks(results: Iterable[CheckResult]) -> Iterator[Finding]:
    """Yield a finding for each check that did not pass, under the check's name; each thing that differs is named.

    >>> next(findings_of_checks([CheckResult("indexes", 3, 1, ("index public.t i is not there",))])).told
    'indexes: 1 of 3 are not as they were when the dump was made:'
    """
    for one in results:
        if not one.passed:
            told = f"{one.name}: {one.differing:,} of {one.compared:,} are not as they were when the dump was made:"
            if one.name.startswith("assertion "):
                told = f"The {one.name} does not hold:"
            elif one.name in _TOLD:
                told = f"{one.name}: {one.differing:,} of {one.compared:,} {_TOLD[one.name]}:"
            yield Finding(one.name, told, one.differing, tuple(one.found))


_TOLD = {
    REFERENCES: "names that the database knows are not in the backup",
    FILES: "files are not as they were archived",
    AMCHECK: "complaints of pg_amcheck",
}
