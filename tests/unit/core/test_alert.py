"""What is told of an application: the words, to whom, and what is the same state."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from glacier_provider.core.alert import CALLED_FOR, Alert, AlertTarget, alerts_of
from glacier_provider.core.condition import Event, Grade, Happening, Trouble

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
EVERY = [event.value for event in Event]
TROUBLE = Trouble("dms", Event.BACKUP_FAILED, Grade.WARNING, "backup 7 failed: no room", "Mend it.", NOW, "7")


def a_happening(kind: str, state: str, *, at: datetime = NOW, why: str = "") -> Happening:
    number = 2 if kind == "deletion" else 3
    return Happening("dms", kind, number, 2, state, at, why)


def told(*happenings: Happening) -> list[Alert]:
    return alerts_of([], happenings, on=EVERY)


def test_a_message_says_what_happened_since_when_what_to_do_and_where_to_look() -> None:
    (alert,) = alerts_of([TROUBLE], [], on=EVERY, link="https://airflow.example.com/page")
    assert alert.subject == "[WARNING] dms: Backup 7 failed: no room."
    assert alert.text.splitlines() == [
        "dms: Backup 7 failed: no room.",
        "Since 2026-11-22 12:00 UTC.",
        "Mend it.",
        "https://airflow.example.com/page",
    ]
    assert alert.as_dict() == {
        "application": "dms",
        "event": "backup_failed",
        "severity": "warning",
        "subject": alert.subject,
        "text": alert.text,
        "told": "backup 7 failed: no room",
        "hint": "Mend it.",
        "since": "2026-11-22T12:00:00+00:00",
        "link": "https://airflow.example.com/page",
    }


def test_what_is_not_known_leaves_no_line_empty() -> None:
    alert = Alert("dms", Event.TEST, Grade.OK, "well!\nReally", "")
    assert alert.text == "dms: Well!\nReally."
    assert alert.subject == "[OK] dms: Well!"
    assert alert.as_dict()["since"] is None


def test_only_what_on_names_is_told() -> None:
    deletion = a_happening("deletion", "deleted")
    assert [one.event for one in alerts_of([TROUBLE], [deletion], on=["deletion"])] == [Event.DELETION]
    assert [one.event for one in alerts_of([TROUBLE], [deletion], on=["backup_failed"])] == [Event.BACKUP_FAILED]


def test_somebody_is_called_for_all_but_what_goes_as_it_should_and_what_somebody_asks_for() -> None:
    silent = {Event.RESTORE_ENDED, Event.DELETION, Event.TEST, Event.REPORTED}
    assert set(CALLED_FOR) == {event.value for event in set(Event) - silent}


@pytest.mark.parametrize(
    ("happening", "event", "grade", "words"),
    [
        (
            a_happening("approval", "planned", at=NOW - timedelta(days=9)),
            Event.APPROVAL_WAITING,
            Grade.WARNING,
            "restore 3 of backup 2 waits for a person's approval",
        ),
        (
            a_happening("restore", "failed", why="download: full"),
            Event.RESTORE_FAILED,
            Grade.CRITICAL,
            "restore 3 of backup 2 failed: download: full",
        ),
        (a_happening("restore", "complete"), Event.RESTORE_ENDED, Grade.OK, "restore 3 of backup 2 is complete"),
        (a_happening("deletion", "deleting"), Event.DELETION, Grade.WARNING, "the deletion of backup 2 began"),
        (a_happening("deletion", "deleted"), Event.DELETION, Grade.WARNING, "backup 2 is deleted"),
    ],
)
def test_what_happened_is_told(happening: Happening, event: Event, grade: Grade, words: str) -> None:
    (alert,) = told(happening)
    assert (alert.event, alert.grade, alert.told, alert.since) == (event, grade, words, happening.at)


@pytest.mark.parametrize(
    ("first", "later", "is_news"),
    [
        (a_happening("approval", "planned"), a_happening("approval", "planned"), False),
        (a_happening("restore", "failed"), a_happening("restore", "failed"), False),
        (a_happening("restore", "failed", at=NOW - timedelta(hours=1)), a_happening("restore", "failed"), True),
        (a_happening("deletion", "deleting"), a_happening("deletion", "deleted"), True),
        (a_happening("deletion", "deleted"), replace(a_happening("deletion", "deleted"), id=3), True),
    ],
)
def test_what_happened_is_news_once(first: Happening, later: Happening, is_news: bool) -> None:
    (before,), (then,) = told(first), told(later)
    assert ((before.event, before.state) != (then.event, then.state)) is is_news


def test_states_are_short_and_differ_whatever_they_were_made_from() -> None:
    long = [replace(TROUBLE, state=f"{'a' * 200}{number}") for number in range(2)]
    states = [one.state for one in alerts_of(long, [], on=EVERY)]
    assert len(set(states)) == 2
    assert max(map(len, states)) <= 100


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("a@example.com", {"email": "a@example.com"}, True),
        (
            {"email": "a@example.com", "from": "b@c", "conn_id": "x"},
            {"conn_id": "x", "from": "b@c", "email": "a@example.com"},
            True,
        ),
        ("a@example.com", "b@example.com", False),
        ("a@example.com", {"email": "a@example.com", "conn_id": "another"}, False),
        ({"webhook": "ops"}, {"apprise": "ops"}, False),
        ({"notifier": "a.B", "with": {"channel": "x"}}, {"notifier": "a.B", "with": {"channel": "y"}}, False),
    ],
)
def test_targets_are_the_same_when_the_same_reaches_the_same(one: Any, other: Any, is_same: bool) -> None:
    ids = {AlertTarget.from_given(given).id for given in (one, other)}
    assert (len(ids) == 1) is is_same
