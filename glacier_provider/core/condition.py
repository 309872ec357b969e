"""How an application is: facts of the catalog, and what is wrong with them, with what to do. Pure.

`check`, alerts and metrics tell the same troubles: what is wrong is decided here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any

from glacier_provider.core.findings import known_of_backup
from glacier_provider.core.proof import ProofKind, command_of
from glacier_provider.core.restorability import cannot_be_brought_back
from glacier_provider.core.status import ProofState
from glacier_provider.core.text import counted, readable_size

#: Backups are compared with those before them when there are so many.
USUAL_LEAST = 5
_MB, _GB, _HOUR = 10**6, 10**9, 3600


def _limit(default: float, example: float, least: float, most: float, description: str) -> float:
    """Return a field with what applications.yaml makes of it, in pydantic's words."""
    rule = {"strict": True, "ge": least, "le": most, "examples": [example], "description": description}
    limit: float = field(default=default, metadata=rule)
    return limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomalies:
    """How much unlike those before it a backup has to be before somebody is called.

    What is small anyway is never told: a dump that differs by less than 1 MB, new files of less than 1 GB or a tenth of
    the backup, what took less than an hour longer.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - no field

    changed_share: float = _limit(
        0.25, 0.5, 0.001, 1, "so large a share of all files got other contents, or vanished: this stops retention, too"
    )
    changed_files: float = _limit(10, 100, 1, 10**9, "and so many files at least")
    dump_smaller: float = _limit(2, 10, 1, 10**6, "the dump is so many times smaller than usual")
    dump_larger: float = _limit(3, 10, 1, 10**6, "the dump is so many times larger than usual")
    new_bytes: float = _limit(10, 100, 1, 10**6, "so many times as many bytes of new files as usual")
    duration: float = _limit(4, 10, 1, 10**6, "it took so many times as long as usual")

    def is_rewrite(self, changed: float, of: float) -> bool:
        """Whether so many of all files are too many to have changed, or vanished, at once."""
        return changed >= self.changed_files and changed >= self.changed_share * of


DEFAULT_ANOMALIES = Anomalies()


class Grade(IntEnum):
    """How bad it is, in the words and exit codes of monitoring plug-ins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Event(StrEnum):
    """What somebody may want to be called for."""

    BACKUP_FAILED = "backup_failed"  #: the last backup that ended failed
    BACKUP_LATE = "backup_late"  #: the last complete backup is too old, or there is none
    BACKUP_INCOMPLETE = "backup_incomplete"  #: files are lost, unreadable, changed, not there, or very many vanished
    BACKUP_UNRESTORABLE = "backup_unrestorable"  #: its rehearsal says that it cannot be brought back
    BACKUP_UNUSUAL = "backup_unusual"  #: it is much unlike those before it: an accident, or somebody at work
    DRILL_FAILED = "drill_failed"
    DRILL_OVERDUE = "drill_overdue"
    VERIFICATION_FAILED = "verification_failed"
    VERIFICATION_OVERDUE = "verification_overdue"
    APPROVAL_WAITING = "approval_waiting"  #: a restore waits for a person
    RESTORE_FAILED = "restore_failed"
    RESTORE_ENDED = "restore_ended"
    COST = "cost"  #: storage costs more a month than `alerts.monthly_cost`
    CATALOG_UNREACHABLE = "catalog_unreachable"
    APPLICATION_WRONG = "application_wrong"  #: its entry in applications.yaml is wrong, so that it has no DAGs
    DELETION = "deletion"  #: a backup was deleted, or its deletion began
    TEST = "test"  #: somebody tries whether alerts arrive
    REPORTED = "reported"  #: a task of somebody's own DAG failed, and has `GlacierNotifier` say so


#: What is told by whoever asks for it, whatever `alerts.on` says.
ASKED_FOR = (Event.TEST, Event.REPORTED)


#: The clocks of two servers may differ by so much.
CLOCKS_DIFFER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class AgeLimits:
    """From which age on something is worth a warning, or critical; None: at no age."""

    warning: timedelta | None = None
    critical: timedelta | None = None

    def grade(self, age: timedelta | None) -> Grade:
        """Return how bad an age is; None is older than anything.

        >>> AgeLimits(timedelta(hours=26), timedelta(hours=50)).grade(timedelta(hours=30)).name
        'WARNING'
        """
        for limit, grade in ((self.critical, Grade.CRITICAL), (self.warning, Grade.WARNING)):
            if limit is not None and (age is None or age > limit):
                return grade
        return Grade.OK


#: Of a daily backup: what nobody says otherwise is judged by.
DEFAULT_LIMITS = AgeLimits(timedelta(hours=26), timedelta(hours=50))


@dataclass(frozen=True, slots=True)
class Proven:
    """The last verification or drill that ended, with the sentences of what it found, and when one last passed."""

    state: ProofState | None = None
    ended_at: datetime | None = None
    passed_at: datetime | None = None
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Happening:
    """What is told once: `kind` approval, restore (that ended) or deletion, `id` of the restore or the backup."""

    application: str
    kind: str
    id: int
    backup_id: int
    state: str
    at: datetime
    why: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """What the catalog knows of an application. Sizes in bytes.

    `known_since` is when the catalog first heard of it. `complete_*` are of the last complete backup: `since` is when
    it was opened, `at` when it was complete; `report` has figures of its report, and its rehearsal. `failed_*` are of
    the last backup that ended, if that failed. `rewritten`: files of the last complete one with another content than
    before; `usual_*` is the median of the `usual_of` backups before it.
    """

    application: str
    known_since: datetime | None = None
    complete_id: int | None = None
    complete_since: datetime | None = None
    complete_at: datetime | None = None
    files: int = 0
    bytes: int = 0
    vanished: int = 0
    report: Mapping[str, Any] = field(default_factory=dict)
    failed_id: int | None = None
    failed_at: datetime | None = None
    failed_why: str = ""
    running_id: int | None = None
    running_since: datetime | None = None
    lost: int = 0
    rewritten: float = 0
    database_bytes: float = 0
    new_bytes: float = 0
    seconds: float = 0
    usual_of: float = 0
    usual_database_bytes: float = 0
    usual_new_bytes: float = 0
    usual_seconds: float = 0
    proven: Mapping[ProofKind, Proven] = field(default_factory=dict)

    def backup_age(self, now: datetime) -> timedelta | None:
        """Return how long ago the last complete backup ended; None: there is none, or its time is yet to come."""
        return _age(self.complete_at, now)

    def proof_age(self, kind: ProofKind, now: datetime) -> timedelta | None:
        """Return how long ago a proof last passed; None: never, or at a time that is yet to come."""
        return _age(self.proven.get(kind, Proven()).passed_at, now)


def is_to_come(at: datetime | None, now: datetime) -> bool:
    """Whether something that happened has a time that is yet to come: a clock was, or is, wrong. So is its age."""
    return at is not None and at > now + CLOCKS_DIFFER


def _age(at: datetime | None, now: datetime) -> timedelta | None:
    return None if at is None or is_to_come(at, now) else max(now - at, timedelta())


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong: what, since when, and what to do next.

    `state` is the same for as long as it is the same trouble, and another one when there is something new to tell.
    """

    application: str
    event: Event
    grade: Grade
    told: str
    hint: str
    since: datetime | None = None
    state: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "event": self.event.value,
            "grade": self.grade.name,
            "told": self.told,
            "hint": self.hint,
            "since": self.since,
        }


def troubles_of(
    condition: Condition,
    *,
    now: datetime,
    backup: AgeLimits,
    proofs: Mapping[ProofKind, AgeLimits] | None = None,
    anomalies: Anomalies = DEFAULT_ANOMALIES,
) -> list[Trouble]:
    """Return what is wrong with an application, the worst first; ages are judged by these limits, and what is unlike
    before by those."""
    found = [
        *_late(condition, backup, now),
        *_failed(condition),
        *_unrestorable(condition),
        *_incomplete(condition, anomalies),
        *_unusual(condition, anomalies),
        *_unproven(condition),
        *_overdue(condition, proofs or {}, now),
    ]
    return sorted(found, key=lambda one: -one.grade)


def overall_grade(grades: Iterable[Grade]) -> Grade:
    """Return the one that is told of several: what is critical is worse than what is not known.

    >>> overall_grade([Grade.OK, Grade.UNKNOWN, Grade.CRITICAL]).name
    'CRITICAL'
    """
    order = (Grade.OK, Grade.WARNING, Grade.UNKNOWN, Grade.CRITICAL)
    return max(grades, key=order.index, default=Grade.OK)


def readable_age(age: timedelta) -> str:
    """Return an age as people read it.

    >>> readable_age(timedelta(minutes=5)), readable_age(timedelta(hours=30)), readable_age(timedelta(days=9))
    ('5 minutes', '30 hours', '9 days')
    """
    if age < timedelta(minutes=90):
        return counted(round(age.total_seconds() / 60), "minute")
    if age < timedelta(days=3):
        return counted(round(age.total_seconds() / 3600), "hour")
    return counted(age.days, "day")


def _late(condition: Condition, limits: AgeLimits, now: datetime) -> Iterator[Trouble]:
    age = condition.backup_age(now)
    # Without any complete backup there is nothing to bring back, whatever the limits are.
    grade = Grade.CRITICAL if age is None else limits.grade(age)
    told = "there is no complete backup" if age is None else f"the last complete backup is {readable_age(age)} old"
    if condition.complete_at is not None and is_to_come(condition.complete_at, now):
        grade, told = (
            Grade.WARNING,
            f"how old the last complete backup is cannot be told: {_dated(condition.complete_at)}",
        )
    if grade is Grade.OK:
        return
    under_way = f"; backup {condition.running_id} is under way" if condition.running_id else ""
    yield Trouble(
        condition.application,
        Event.BACKUP_LATE,
        grade,
        f"{told}{under_way}",
        "See that the scheduler runs and the backup DAG is not paused.",
        condition.complete_at,
        f"{condition.complete_id} {grade.name}",
    )


def _failed(condition: Condition) -> Iterator[Trouble]:
    if condition.failed_id is None:
        return
    why = " ".join(condition.failed_why.split())[:300]
    yield Trouble(
        condition.application,
        Event.BACKUP_FAILED,
        Grade.WARNING,
        f"backup {condition.failed_id} failed" + (f": {why}" if why else ""),
        "Mend what it names and clear the failed task, or trigger another run. "
        f"More: glacier-backup show {condition.failed_id}",
        condition.failed_at,
        str(condition.failed_id),
    )


def _unrestorable(condition: Condition) -> Iterator[Trouble]:
    why = cannot_be_brought_back(condition.report)
    if why is not None:
        yield Trouble(
            condition.application,
            Event.BACKUP_UNRESTORABLE,
            Grade.CRITICAL,
            f"backup {condition.complete_id} cannot be restored into its database: {why}",
            f"glacier-backup show {condition.complete_id} tells all that its rehearsal found.",
            condition.complete_at,
            why,
        )


def _incomplete(condition: Condition, anomalies: Anomalies) -> Iterator[Trouble]:
    if condition.lost:
        yield _lacks(
            condition,
            Grade.CRITICAL,
            f"{counted(condition.lost, 'archive')} that backups need {'is' if condition.lost == 1 else 'are'} lost",
            "The next backup archives anew what is still in its directory; glacier-backup verify names the others.",
            str(condition.lost),
        )
    for sentence in known_of_backup(condition.report):
        told = f"backup {condition.complete_id}: {sentence[0].lower()}{sentence[1:].rstrip('.')}"
        yield _lacks(condition, Grade.WARNING, told, f"glacier-backup show {condition.complete_id}", sentence)
    before = condition.files + condition.vanished
    if anomalies.is_rewrite(condition.vanished, before):
        told = f"{condition.vanished:,} of {before:,} files vanished before backup {condition.complete_id}"
        hint = "See whether somebody deleted them; earlier backups hold them until they are deleted."
        yield _lacks(condition, Grade.WARNING, told, hint, f"vanished {condition.complete_id}")


def _lacks(condition: Condition, grade: Grade, told: str, hint: str, state: str) -> Trouble:
    return Trouble(condition.application, Event.BACKUP_INCOMPLETE, grade, told, hint, condition.complete_at, state)


def _unusual(condition: Condition, limits: Anomalies) -> Iterator[Trouble]:
    """Yield what is much unlike before: cheap to know, and often the first sign of an accident or an intruder."""
    one, number = condition, condition.complete_id
    if limits.is_rewrite(one.rewritten, one.files):
        told = f"{one.rewritten:,.0f} of {one.files:,} files have another content than before backup {number}"
        hint = (
            "Attached files do not change by themselves: see whether somebody encrypts or destroys them. Retention "
            "deletes nothing meanwhile; earlier backups hold the earlier contents."
        )
        yield _deviates(one, Grade.CRITICAL, told, hint, f"rewritten {number}")
    if one.usual_of < USUAL_LEAST:
        return
    size, usual = one.database_bytes, one.usual_database_bytes
    if abs(size - usual) > _MB and not usual / limits.dump_smaller <= size <= usual * limits.dump_larger:
        told = f"the dump of backup {number} has {readable_size(int(size))}; {readable_size(int(usual))} are usual"
        state = "dump smaller" if size < usual else "dump larger"
        yield _deviates(one, Grade.WARNING, told, "See what came into the database, or went from it.", state)
    if (
        one.new_bytes > _GB
        and one.new_bytes > limits.new_bytes * one.usual_new_bytes
        and one.new_bytes > one.bytes / 10
    ):
        new, before = readable_size(int(one.new_bytes)), readable_size(int(one.usual_new_bytes))
        told = f"backup {number} has {new} of new files; {before} are usual"
        yield _deviates(one, Grade.WARNING, told, "See where they come from; they are paid for.", f"new {number}")
    if one.seconds > one.usual_seconds + _HOUR and one.seconds > limits.duration * one.usual_seconds:
        took, before = (readable_age(timedelta(seconds=each)) for each in (one.seconds, one.usual_seconds))
        told = f"backup {number} took {took}; {before} are usual"
        yield _deviates(one, Grade.WARNING, told, "Compare the durations of its tasks in Airflow.", "duration")


def _deviates(condition: Condition, grade: Grade, told: str, hint: str, state: str) -> Trouble:
    return Trouble(condition.application, Event.BACKUP_UNUSUAL, grade, told, hint, condition.complete_at, state)


_FAILED = {ProofKind.DRILL: Event.DRILL_FAILED, ProofKind.VERIFICATION: Event.VERIFICATION_FAILED}
_OVERDUE = {ProofKind.DRILL: Event.DRILL_OVERDUE, ProofKind.VERIFICATION: Event.VERIFICATION_OVERDUE}


def _unproven(condition: Condition) -> Iterator[Trouble]:
    for kind, proven in condition.proven.items():
        if proven.state in (ProofState.FOUND, ProofState.FAILED):
            found = proven.state is ProofState.FOUND
            what = "found that something is not as it should be" if found else "could not look at all"
            yield Trouble(
                condition.application,
                _FAILED[kind],
                Grade.CRITICAL if found else Grade.WARNING,
                f"the last {kind.value} {what}" + (f": {_joined(proven.told)}" if proven.told else ""),
                f"Mend what it names, and begin another {kind.value}: {command_of(kind, condition.application)}.",
                proven.ended_at,
                f"{proven.ended_at} {proven.state.value}",
            )


def _joined(sentences: Sequence[str]) -> str:
    more = f" (and {len(sentences) - 3:,} more)" if len(sentences) > 3 else ""
    return " ".join(" ".join(one.split())[:200] for one in sentences[:3]) + more


def _dated(at: datetime) -> str:
    return f"it is dated {at:%Y-%m-%d %H:%M %Z}, which is to come, so a clock was or is wrong"


def _overdue(condition: Condition, limits: Mapping[ProofKind, AgeLimits], now: datetime) -> Iterator[Trouble]:
    for kind, limit in limits.items():
        age = condition.proof_age(kind, now)
        grade = limit.grade(age)
        if grade is not Grade.OK:
            passed_at = condition.proven.get(kind, Proven()).passed_at
            told = (
                f"no {kind.value} ever passed"
                if age is None
                else f"the last {kind.value} passed {readable_age(age)} ago"
            )
            if passed_at is not None and is_to_come(passed_at, now):
                told = f"when the last {kind.value} passed cannot be told: {_dated(passed_at)}"
            yield Trouble(
                condition.application,
                _OVERDUE[kind],
                grade,
                told,
                f"See why its DAG does not run, or begin one by hand: {command_of(kind, condition.application)}.",
                passed_at,
                f"{passed_at} {grade.name}",
            )
