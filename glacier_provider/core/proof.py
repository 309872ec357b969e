"""What a try of the backups came to: findings, each by name, and the state that they make. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from glacier_provider.core.status import ProofState


class ProofKind(StrEnum):
    VERIFICATION = "verification"  #: what the stores hold, compared with the catalog where it lies
    DRILL = "drill"  #: a backup, restored somewhere else and looked at


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of thing that is not as it should be.

    `what` is a word for programs; `told` a sentence for people, `names` the first of the `count` things. A `grave` one
    means that something cannot be brought back, or that it is not known: a proof with one has not passed.
    """

    what: str
    told: str
    count: int = 1
    names: tuple[str, ...] = ()
    grave: bool = True

    def as_dict(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "told": self.told,
            "count": self.count,
            "names": list(self.names),
            "grave": self.grave,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Finding:
        return cls(
            str(values["what"]),
            str(values["told"]),
            int(values["count"]),
            tuple(values["names"]),
            bool(values["grave"]),
        )


def state_of(findings: Iterable[Finding], *, failed: bool = False) -> ProofState:
    """Return how a proof with these findings ends; `failed`: it could not look at all that it was to look at."""
    if failed:
        return ProofState.FAILED
    return ProofState.FOUND if any(one.grave for one in findings) else ProofState.PASSED


def merged_findings(findings: Iterable[Finding], *, most: int) -> list[Finding]:
    """Return findings with those of one kind and sentence as one, which names so many at most.

    >>> merged_findings([Finding("lost", "Lost.", 1, ("a",)), Finding("lost", "Lost.", 2, ("b", "c"))], most=2)
    [Finding(what='lost', told='Lost.', count=3, names=('a', 'b'), grave=True)]
    """
    found: dict[tuple[str, str, bool], Finding] = {}
    for one in findings:
        key = (one.what, one.told, one.grave)
        before = found.get(key, Finding(one.what, one.told, 0, (), one.grave))
        names = (*before.names, *one.names)[:most]
        found[key] = Finding(one.what, one.told, before.count + one.count, names, one.grave)
    return list(found.values())


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """Return findings as a person reads them, the grave ones first."""
    from glacier_provider.core.text import some

    ordered = sorted(findings, key=lambda one: not one.grave)
    return [f"{one.told} {some(one.names, one.count)}.".strip() if one.names else one.told for one in ordered]
