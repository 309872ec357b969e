"""What a swap calls its databases, and what it writes on them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_NAME_BYTES = 63


class Filling(StrEnum):
    """How far the database beside is, as its comment says."""

    UNFINISHED = "unfinished"  #: being filled, or left half filled
    FILLED = "filled"  #: everything of the dump is in it
    READY = "filled and analyzed"  #: only the renaming is left
    IN_PART = "filled in part"  #: statements failed, and a person decides


@dataclass(frozen=True, slots=True)
class Swap:
    """The names of one swap.

    `mark` tells this restore from every other one, also after the catalog began anew: ``restore_42_20261122031500``.
    `content` tells what fills the database beside, so that a later try goes on with nothing else.
    """

    database: str
    mark: str
    content: str = ""

    @property
    def beside(self) -> str:
        """The database that is being filled."""
        return self._named(self.mark)

    @property
    def previous(self) -> str:
        """What the old database is called afterwards."""
        return self._named(f"before_{self.mark}")

    def comment(self, progress: Filling = Filling.UNFINISHED) -> str:
        content = f" [{self.content}]" if self.content else ""
        return f"glacier_provider: {self.mark} of {self.database}, {progress.value}{content}"

    def progress(self, comment: str) -> Filling | None:
        """Return how far a database with this comment is, UNFINISHED when it has other content; None: not ours."""
        if not comment.startswith(f"glacier_provider: {self.mark} of {self.database}, "):
            return None
        return next((each for each in Filling if comment == self.comment(each)), Filling.UNFINISHED)

    def is_left_over(self, name: str, comment: str) -> bool:
        """Tell whether a database was left beside by another restore of the same database."""
        told = re.fullmatch(rf"glacier_provider: (restore_\w+) of {re.escape(self.database)}, .*", comment)
        return told is not None and name != self.beside and name == Swap(self.database, told[1]).beside

    def _named(self, end: str) -> str:
        room = _NAME_BYTES - len(end) - 1
        start = self.database.encode("utf-8")[:room].decode("utf-8", "ignore")
        return f"{start}_{end}"
