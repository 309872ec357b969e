"""When something is due by a cron expression, and from when on it is missed. Pure but for the expressions' parser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import dropwhile
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from glacier_provider.core.condition import is_to_come
from glacier_provider.core.proof import ProofKind

if TYPE_CHECKING:
    from glacier_provider.applications import Application

#: A backup that is due has this long before it is missed, or half of the schedule's interval if that is shorter.
GRACE = timedelta(hours=6)
#: A verification or a drill has this long, and the hours that what sleeps in the cold may take.
PROOF_GRACE = timedelta(days=2)
#: So many ticks of a schedule show its longest pause, or nearly so: those of a day, every ten minutes.
_TICKS = 144
#: No clock is put on or back by more: a day, where the line of dates is crossed.
_LARGEST_SHIFT = timedelta(days=1, hours=1)

_PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """When backups are due. `expression` None means by hand only."""

    expression: str | None
    timezone: str

    def last_due(self, before: datetime) -> datetime | None:
        """Return when the last backup was due at or before a time."""
        if self.expression is None:
            return None
        return next(self._ticks_back(before))

    def grace(self, now: datetime) -> timedelta:
        """Return how long after it was due a backup is not missed yet."""
        if self.expression is None:
            return GRACE
        ticks = self._ticks(now)
        first, second = next(ticks), next(ticks)
        return min(GRACE, (second - first) / 2)

    def longest_grace(self, after: datetime) -> timedelta:
        """Return the longest `grace` of a schedule, as far as its first ticks after a time tell it."""
        if self.expression is None:
            return GRACE
        ticks, longest = self._ticks(after), timedelta()
        due = next(ticks)
        for _ in range(_TICKS):
            due, before = next(ticks), due
            longest = max(longest, (due - before) / 2)
            if longest >= GRACE:
                return GRACE
        return longest

    def next_due(self, after: datetime) -> datetime:
        """Return when something is due next after a time, in the schedule's own time zone."""
        return next(self._ticks(after)).astimezone(ZoneInfo(self.timezone))

    # Where clocks go back, an hour comes twice. What is due each hour is due in both; any other time that comes twice
    # is due once, the second time; a time that never comes is due when it would have been. As Airflow has it
    # (airflow/timetables/_cron.py), which starts the backups.

    def _ticks(self, after: datetime) -> Iterator[datetime]:
        """Yield when something is due after a time, in UTC."""
        if _is_hourly(self._expression):
            return self._found(after, "get_next")
        naive = self._found(self._wall(after) - _LARGEST_SHIFT, "get_next")
        return dropwhile(lambda tick: tick <= after, map(self._moment, naive))

    def _ticks_back(self, before: datetime) -> Iterator[datetime]:
        """Yield when something was due at or before a time, the latest first, in UTC."""
        if _is_hourly(self._expression):
            return self._found(before + timedelta(seconds=1), "get_prev")
        naive = self._found(self._wall(before) + _LARGEST_SHIFT, "get_prev")
        return dropwhile(lambda tick: tick > before, map(self._moment, naive))

    def _wall(self, moment: datetime) -> datetime:
        """Return what the clock on the wall shows."""
        return moment.astimezone(ZoneInfo(self.timezone)).replace(tzinfo=None)

    def _moment(self, wall: datetime) -> datetime:
        zone = ZoneInfo(self.timezone)
        first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        return max(first, second)

    def _found(self, start: datetime, step: str) -> Iterator[datetime]:
        """Yield what the expression gives from a time on: of a naive one naive times, of any other in UTC."""
        ticks = self._iterator(start)
        while True:
            tick: datetime = getattr(ticks, step)(datetime)
            yield tick.astimezone(UTC) if tick.tzinfo else tick

    def _iterator(self, start: datetime) -> Any:
        from croniter import croniter  # type: ignore[import-untyped]

        return croniter(self._expression, start.astimezone(ZoneInfo(self.timezone)) if start.tzinfo else start)

    @property
    def _expression(self) -> str:
        return _PRESETS.get(self.expression or "", self.expression or "")


@cache
def _is_hourly(expression: str) -> bool:
    from croniter import croniter

    return bool(croniter.expand(expression)[0][1] == ["*"])


def proofs_due(application: Application, now: datetime) -> dict[ProofKind, datetime | None]:
    """Return the kinds of proofs that are asked for, each with when one was due that must be there by now; None: none.

    A kind that is asked for without a schedule, by hand, is never overdue.
    """
    asked = {}
    if application.verify.by != "off":
        asked[ProofKind.VERIFICATION] = application.verify.schedule
    if application.drill.which != "off":
        asked[ProofKind.DRILL] = application.drill.schedule
    grace = PROOF_GRACE + timedelta(hours=application.verify.timeout_hours)
    return {kind: Schedule(when, application.timezone).last_due(now - grace) for kind, when in asked.items()}


def proofs_missed(
    application: Application,
    passed: Mapping[ProofKind, datetime | None],
    *,
    known_since: datetime | None,
    now: datetime,
) -> set[ProofKind]:
    """Return the kinds of proofs of which one was due, and is not there, since one passed last; where none ever did, or
    at a time that is yet to come, since the application is known.
    """
    begin = expected_since(application, known_since, now)
    since = {kind: at for kind, at in passed.items() if not is_to_come(at, now)}
    due = proofs_due(application, now)
    return {kind for kind, at in due.items() if at is not None and (since.get(kind) or begin) < at}


def expected_since(application: Application, known_since: datetime | None, now: datetime) -> datetime:
    """Return from when on something is expected of an application of which there is nothing yet."""
    known = known_since or now
    return application.first_day if is_to_come(known, now) else max(known, application.first_day)
