"""Which backups a retention rule lets go, and why each of the others stays. Pure.

A rule only lets go: nothing is deleted because of it until somebody asks for that. Without a rule everything stays.
Weeks are those of ISO 8601, from Monday on; days, weeks, months and years are those of the time zone in which the
backups' times are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from glacier_provider.core.status import BackupState
from glacier_provider.core.text import counted


def _figure(most: int, example: int, description: str) -> int:
    """Return a field, 0 if not given, with what applications.yaml makes of it, in pydantic's words."""
    rule = {"strict": True, "ge": 0, "le": most, "examples": [example], "description": description}
    figure: int = field(default=0, metadata=rule)
    return figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """What has to stay. Each figure is a number of backups, but `keep_days`, an age; a backup stays for any reason.

    `keep_daily` and its like keep the newest backup of each day, week, month or year that has one, from the newest
    backward.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - no field

    keep_last: int = _figure(100_000, 7, "the last so many complete backups stay")
    keep_days: int = _figure(36_500, 90, "what is at most so many days older than the newest complete backup stays")
    keep_daily: int = _figure(100_000, 30, "the newest backup of each of the last so many days stays")
    keep_weekly: int = _figure(10_000, 12, "the newest backup of each of the last so many weeks stays")
    keep_monthly: int = _figure(10_000, 24, "the newest backup of each of the last so many months stays")
    keep_yearly: int = _figure(1000, 10, "the newest backup of each of the last so many years stays")

    @property
    def keeps_everything(self) -> bool:
        """Whether there is no rule at all."""
        return not any(getattr(self, one.name) for one in fields(self))


@dataclass(frozen=True, slots=True)
class Judged:
    """One backup as a rule sees it: why it stays, or no reason, and then it may go."""

    backup_id: int
    state: BackupState
    taken_at: datetime
    reasons: tuple[str, ...] = ()

    @property
    def may_go(self) -> bool:
        return not self.reasons

    def as_dict(self) -> dict[str, Any]:
        return {
            "backup_id": self.backup_id,
            "state": self.state.value,
            "taken_at": self.taken_at.isoformat(),
            "may_go": self.may_go,
            "reasons": list(self.reasons),
        }


#: What two backups have in common that only the newest of them is kept for.
_PERIODS: Mapping[str, tuple[str, Callable[[datetime], object]]] = {
    "keep_daily": ("day", lambda at: at.date()),
    "keep_weekly": ("week", lambda at: tuple(at.isocalendar())[:2]),
    "keep_monthly": ("month", lambda at: (at.year, at.month)),
    "keep_yearly": ("year", lambda at: at.year),
}


def apply_rule(
    backups: Iterable[tuple[int, BackupState, datetime]], retention: Retention, *, now: datetime
) -> list[Judged]:
    """Return what a rule says of each (id, state, time taken), the newest first.

    Complete backups are counted, failed ones are not: a failed one may go once it is older than `keep_days` and a
    complete one came after it. Days are counted back from the newest complete backup, or from `now` when that is
    earlier. The newest complete backup always stays.
    """
    newest_first = sorted(backups, key=lambda backup: backup[0], reverse=True)
    complete = [(number, at) for number, state, at in newest_first if state is BackupState.COMPLETE]
    reasons: dict[int, list[str]] = {number: [] for number, _, _ in newest_first}
    if retention.keeps_everything:
        reasons = {number: ["there is no retention rule"] for number in reasons}
    else:
        _keep_complete(complete, retention, reasons)
        _keep_failed(newest_first, complete, reasons)
        _keep_young(newest_first, complete, retention, now, reasons)
    return [Judged(number, state, at, tuple(reasons[number])) for number, state, at in newest_first]


def _keep_complete(
    complete: Sequence[tuple[int, datetime]], retention: Retention, reasons: dict[int, list[str]]
) -> None:
    if complete:
        reasons[complete[0][0]].append("it is the newest complete backup")
    for number, _ in complete[: retention.keep_last]:
        reasons[number].append(f"it is one of the last {counted(retention.keep_last, 'complete backup')}")
    for name, (noun, period_of) in _PERIODS.items():
        wanted: int = getattr(retention, name)
        seen: set[object] = set()
        for number, at in complete:
            period = period_of(at)
            if period not in seen and len(seen) < wanted:
                seen.add(period)
                reasons[number].append(f"it is the newest of its {noun}, one of the last {counted(wanted, noun)}")


def _keep_failed(
    newest_first: Sequence[tuple[int, BackupState, datetime]],
    complete: Sequence[tuple[int, datetime]],
    reasons: dict[int, list[str]],
) -> None:
    newest = complete[0][0] if complete else 0
    for number, state, _ in newest_first:
        if state is not BackupState.COMPLETE and number > newest:
            reasons[number].append("no complete backup came after it yet")


def _keep_young(
    newest_first: Sequence[tuple[int, BackupState, datetime]],
    complete: Sequence[tuple[int, datetime]],
    retention: Retention,
    now: datetime,
    reasons: dict[int, list[str]],
) -> None:
    if not retention.keep_days:
        return
    days, age = counted(retention.keep_days, "day"), timedelta(days=retention.keep_days)
    newest, newest_at = complete[0] if complete else (0, now)
    for number, _, at in newest_first:
        if at > now - age:
            reasons[number].append(f"it is not {days} old")
        elif number != newest and at > newest_at - age:
            # A clock that is wrong, or backups that failed for months, do not make all of them old.
            reasons[number].append(f"it is not {days} older than the newest complete backup")
