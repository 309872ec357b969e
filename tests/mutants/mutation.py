"""What a mutation is, and how its text is found in the product."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

PACKAGE = "glacier_provider"


class Promise(StrEnum):
    """What the product promises, in a word each; every one has mutations that break it."""

    COMPLETE = "a complete backup was verified, and its store has confirmed all of it"
    ONCE = "each content of a file is archived once, and another content is another archive"
    CRASH = "a crash costs at most what was in flight"
    ORDER = "the dump comes before the scan, and names are read in its snapshot"
    WHOLE = "a restore never half-happens"
    CATALOG = "a restore never touches the catalog"
    PRESENT = "what is there is not retrieved"
    RETRIEVED = "a retrieval is requested once; that it failed or ended is noticed"
    REBUILT = "the catalog can be lost"
    BILL = "nobody is surprised by the bill, nor by what is deleted"
    SECRETS = "secrets stay secret"
    CHANGES = "cost grows with change"
    RESTORABLE = "complete means that it can be brought back, and a restore leaves what it has to"
    FENCED = "a stale process changes nothing"
    WORLD = "the world may change behind our back"
    UNTRUSTED = "nothing that is read is trusted"
    HEARD = "somebody hears of what is wrong, and of nothing twice"


class NotFoundOnce(Exception):
    """The text that a mutation replaces is not in its file, or is there more than once."""


@dataclass(frozen=True)
class Mutation:
    """One change of the product that breaks a promise, and the tests that are to notice it."""

    name: str  #: a sentence: what the product does wrong then
    promise: Promise  #: which it breaks
    file: str  #: below the checkout
    text: str  #: whole lines or a piece of one, exactly as they stand there, once
    instead: str
    tests: tuple[str, ...]  #: files or ids, as pytest takes them; one of them has to fail

    @property
    def module(self) -> str:
        """Return the name of the module that is changed; empty when it is none."""
        path = Path(self.file)
        is_module = path.parts[0] == PACKAGE and path.suffix == ".py"
        return ".".join(path.with_suffix("").parts) if is_module else ""

    def applied_to(self, source: str) -> str:
        """Return the source with the mutation; raise NotFoundOnce when its text is not there exactly once."""
        found = source.count(self.text)
        if found != 1:
            raise NotFoundOnce(
                f"{self.name!r}: the text is {'not' if not found else f'{found} times'} in {self.file}; "
                f"it has to be there once. Bring tests/mutants/table.py up to date: {self.text!r}"
            )
        return source.replace(self.text, self.instead)

    def read(self, checkout: Path) -> str:
        return (checkout / self.file).read_text(encoding="utf-8")
