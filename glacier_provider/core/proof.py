"""What a try of the backups came to: findings, each by name, and the state that they make. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from glacier_provider.core.status import ProofState
from glacier_provider.core.text import counted, readable_seconds, readable_size, some


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


def few_enough(differing: int, *, of: int) -> bool:
    """Return whether so many archives are to be called lost, of those that were read, that came with another content.

    Stores lose few of many. Where more than ten and a tenth differ, it is likelier that something is wrong here.
    """
    return differing <= max(10, of // 10)


class Standing(StrEnum):
    """How it stands with the proofs of one kind."""

    OFF = "off"  #: none is asked for, and there never was one
    NEVER = "never"  #: none has ended yet, and none had to
    OK = "ok"  #: the last one passed, in time
    FAILED = "failed"  #: the last one found something, or could not look at all
    OVERDUE = "overdue"  #: none passed since one was due


def standing_of(state: ProofState | None, *, missed: bool, asked_for: bool) -> Standing:
    """Return how it stands, by how the last one ended, and whether one was due that is not there (`missed`)."""
    if state is None:
        told = Standing.OVERDUE if missed else Standing.NEVER
        return told if asked_for else Standing.OFF
    if state is not ProofState.PASSED:
        return Standing.FAILED
    return Standing.OVERDUE if missed else Standing.OK


def proof_words(kind: ProofKind, figures: Mapping[str, Any]) -> str:
    """Return what a proof came to, in a line; "" where its figures do not say.

    >>> proof_words(ProofKind.DRILL, {"database": {"bytes": 1_200_000_000, "tables": 41}, "files": {"checked": 100},
    ...                               "times": {"recovery": 380.0}})
    '1.2 GB, 41 tables, 100 files, 6 min 20 s'
    >>> proof_words(ProofKind.VERIFICATION, {"listing": {"listed": 1200}, "content": {"matched": 1000}})
    '1,200 archives listed, 1,000 checksums computed'
    """
    said: list[str | None]
    if kind is ProofKind.DRILL:
        said = [
            _said(figures, "database", "bytes", readable_size),
            _said(figures, "database", "tables", lambda count: counted(count, "table")),
            _said(figures, "files", "checked", lambda count: counted(count, "file")),
            _said(figures, "times", "recovery", readable_seconds),
        ]
    else:
        said = [
            _said(figures, "listing", "listed", lambda count: f"{counted(count, 'archive')} listed"),
            _said(figures, "content", "matched", lambda count: f"{counted(count, 'checksum')} computed"),
        ]
    return ", ".join(one for one in said if one)


def _said(figures: Mapping[str, Any], step: str, name: str, say: Callable[[Any], str]) -> str | None:
    """Return a figure in words; None where it is not told, or is no number."""
    told = figures.get(step)
    value = told.get(name) if isinstance(told, Mapping) else None
    return say(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


_COMMANDS = {ProofKind.VERIFICATION: "verify", ProofKind.DRILL: "drill"}


def command_of(kind: ProofKind, application: str) -> str:
    """Return the command that makes a proof by hand, whether or not there is a DAG for it.

    >>> command_of(ProofKind.VERIFICATION, "library")
    'glacier-backup verify library'
    """
    return f"glacier-backup {_COMMANDS[kind]} {application}"


def next_step(standing: Standing, kind: ProofKind, application: str, *, has_dag: bool) -> str | None:
    """Return what to do next in a sentence; None when nothing is to be done.

    `has_dag`: one makes such proofs of this application. What a restore comes upon is told of all of them.
    """
    dag = f"the DAG glacier_{_COMMANDS[kind]}__{application}"
    if standing is Standing.FAILED:
        begun = f"{dag}, or {command_of(kind, application)}" if has_dag else command_of(kind, application)
        return f"Mend what it names, and begin another {kind.value}: {begun}."
    return f"See whether {dag} is paused, or why its runs do not end." if standing is Standing.OVERDUE else None


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


def finding_lines(findings: Sequence[Finding], error: str | None = None) -> list[str]:
    """Return findings as a person reads them, the grave ones first; not those that an error, told before, tells whole.

    >>> finding_lines([Finding("not_done", "No money."), Finding("lost", "Lost:", 1, ("a",))], "No money.")
    ['Lost: a.']
    """
    untold = (one for one in findings if not error or one.names or one.told not in error)
    ordered = sorted(untold, key=lambda one: not one.grave)
    return [f"{one.told} {some(one.names, one.count)}.".strip() if one.names else one.told for one in ordered]
