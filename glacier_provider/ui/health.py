"""Is an application safe: its last complete backup against its schedule. Pure."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from glacier_provider.applications.schedule import Schedule
from glacier_provider.core.condition import is_to_come

YEAR = 53 * 7


class Health(StrEnum):
    FRESH = "fresh"  #: the last backup that was due is complete
    UNRESTORABLE = "unrestorable"  #: complete, and its rehearsal says that it cannot be brought back
    UNPROVEN = "unproven"  #: complete, and the last drill or verification failed, or is overdue
    INCOMPLETE = "incomplete"  #: complete, but for files that could not be read
    PAUSED = "paused"  #: all was well when the DAG was paused; nothing is backed up by itself
    LATE = "late"  #: a backup was due and is not there, or the last one has a time that is yet to come
    FAILING = "failing"  #: the last backup that ended failed
    NEVER = "never"  #: there is no complete backup
    UNSCHEDULED = "unscheduled"  #: backed up by hand only, so nothing can be late
    UNKNOWN = "unknown"  #: the catalog cannot be asked


def health_of(
    schedule: Schedule,
    *,
    now: datetime,
    complete_since: datetime | None,
    last_ended: str | None,
    unrestorable: bool = False,
    unproven: bool = False,
    shortfalls: int = 0,
    paused: bool = False,
) -> tuple[Health, datetime | None]:
    """Return an application's health and, when it is late, when the missing backup was due.

    `complete_since`: when the last complete backup was opened; `unrestorable`: whether its rehearsal says that it
    cannot be brought back; `unproven`: whether a drill or verification failed, or is overdue; `shortfalls`: kinds of
    what it lacks;
    `last_ended`: the state of the last one that ended; `paused`: whether Airflow makes none by itself.
    """
    if complete_since is None:
        return (Health.FAILING if last_ended == "failed" else Health.NEVER), None
    if last_ended == "failed":
        return Health.FAILING, None
    due = schedule.last_due(now - schedule.grace(now))
    # The scheduler starts a run a moment after it is due, never before: a run of that moment is not older.
    if due is not None and (complete_since < due or is_to_come(complete_since, now)):
        return Health.LATE, due
    if unrestorable:
        return Health.UNRESTORABLE, None
    if unproven:
        return Health.UNPROVEN, None
    if shortfalls:
        return Health.INCOMPLETE, None
    if due is None:
        return Health.UNSCHEDULED, None
    return (Health.PAUSED if paused else Health.FRESH), None


def calendar(schedule: Schedule, states: dict[date, str], *, first: datetime | None, now: datetime) -> tuple[date, str]:
    """Return the first day of a year of days, a Monday, and a letter for each day until today.

    c complete, f failed, r running, d deleted since, m missing (due, and no backup was opened), ``.`` nothing due, or
    before the first.
    """
    zone = ZoneInfo(schedule.timezone)
    today = now.astimezone(zone).date()
    start = today - timedelta(days=YEAR - 7 + today.weekday())
    begun = first.astimezone(zone).date() if first else today
    due = due_days(schedule, start, today)
    letters = []
    for number in range((today - start).days + 1):
        day = start + timedelta(days=number)
        missing = begun < day < today and day in due
        letters.append(states.get(day, "missing" if missing else ".")[0])
    return start, "".join(letters)


@lru_cache(maxsize=256)
def due_days(schedule: Schedule, start: date, end: date) -> frozenset[date]:
    """Return the days, both ends included, on which at least one backup is due."""
    if schedule.expression is None:
        return frozenset()
    found: set[date] = set()
    zone = ZoneInfo(schedule.timezone)
    moment = datetime.combine(start, datetime.min.time(), zone) - timedelta(seconds=1)
    while True:
        day = schedule.next_due(moment).date()
        if day > end:
            return frozenset(found)
        found.add(day)
        # From the day's last second: one step a day, however many backups a day has.
        moment = datetime.combine(day, datetime.max.time(), zone).replace(microsecond=0)
