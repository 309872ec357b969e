"""When something is due by a cron expression, and from when on it is missed. Pure but for the expressions' parser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
        due: datetime = self._iterator(before + timedelta(seconds=1)).get_prev(datetime)
        return due.astimezone(UTC)

    def grace(self, now: datetime) -> timedelta:
        """Return how long after it was due a backup is not missed yet."""
        if self.expression is None:
            return GRACE
        ticks = self._iterator(now)
        first: datetime = ticks.get_next(datetime)
        second: datetime = ticks.get_next(datetime)
        return min(GRACE, (second - first) / 2)

    def longest_grace(self, after: datetime) -> timedelta:
        """Return the longest `grace` of a schedule, as far as its first ticks after a time tell it."""
        if self.expression is None:
            return GRACE
        ticks, longest = self._iterator(after), timedelta()
        due: datetime = ticks.get_next(datetime)
        for _ in range(_TICKS):
            due, before = ticks.get_next(datetime), due
            longest = max(longest, (due - before) / 2)
            if longest >= GRACE:
                return GRACE
        return longest

    def next_due(self, after: datetime) -> datetime:
        """Return when something is due next after a time, in the schedule's own time zone."""
        due: datetime = self._iterator(after).get_next(datetime)
        return due

    def _iterator(self, start: datetime) -> Any:
        from croniter import croniter  # type: ignore[import-untyped]

        expression = _PRESETS.get(self.expression or "", self.expression)
        return croniter(expression, start.astimezone(ZoneInfo(self.timezone)))


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
