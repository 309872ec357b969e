"""Who was told what: once of each state, again when it did not arrive, and of nothing that is anybody else's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.alert import Alert
from glacier_provider.core.condition import Event, Grade
from glacier_provider.postgres import Server
from tests.conftest import a_catalog

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
#: What has happened once, and is not over because nobody speaks of it any more.
ONCE = {Event.RESTORE_ENDED, Event.RESTORE_FAILED, Event.DELETION, Event.APPROVAL_WAITING}


def an_alert(event: Event = Event.BACKUP_FAILED, state: str = "7") -> Alert:
    return Alert("dms", event, Grade.WARNING, "backup 7 failed", "Mend it.", NOW, state)


class Told:
    """Tells alerts by a catalog, whose clock can be put forward."""

    def __init__(self, catalog: Catalog, server: Server) -> None:
        self.alerts, self._server = catalog.alerts, server

    def tell(self, alert: Alert, target: str = "ops", error: str | None = None) -> bool:
        """Return whether the target is to be told now, and note what came of it."""
        claimed = self.alerts.claim(target, alert)
        if claimed:
            self.alerts.record(target, alert, error=error)
        return claimed

    def pass_by(self, **time: Any) -> None:
        (what, count), *_ = time.items()
        with self._server.connect(autocommit=True) as connection:
            statement = f"UPDATE glacier_catalog.alerts SET claimed_at = claimed_at - make_interval({what} => %s)"
            connection.execute(statement.encode(), [count])

    def minutes_until_told(self, alert: Alert, **more: Any) -> int:
        for minutes in range(0, 120, 5):
            if self.tell(alert, **more):
                return minutes
            self.pass_by(mins=5)
        raise AssertionError("it is never told again")


@pytest.fixture
def told(catalog: Catalog, catalog_database: Server) -> Told:
    return Told(catalog, catalog_database)


def test_what_did_not_arrive_is_tried_again_ever_later_and_each_hour_at_least(told: Told) -> None:
    assert told.tell(an_alert(), error="no answer")
    waits = [told.minutes_until_told(an_alert(), error="no answer") for _ in range(15)]
    assert waits == [*range(5, 65, 5), 60, 60, 60]
    assert told.minutes_until_told(an_alert()) == 60
    (row,) = told.alerts.listed()
    assert (row["tries"], row["error"]) == (17, None)
    told.pass_by(days=99)
    assert not told.tell(an_alert())


def test_one_that_died_before_it_could_note_what_came_of_it_is_followed_by_another(told: Told) -> None:
    assert told.alerts.claim("ops", an_alert())
    assert told.minutes_until_told(an_alert()) == 5


def test_each_target_is_told_of_each_state_and_one_that_was_not_told_alone_is_told_again(told: Told) -> None:
    news = [an_alert(), an_alert(state="8"), an_alert(Event.BACKUP_LATE)]
    for alert in news:
        assert told.tell(alert, "boss", error="no answer")
        assert told.tell(alert, "ops", error="no answer" if alert is news[2] else None)
    told.pass_by(mins=6)
    assert [told.tell(alert, "ops") for alert in news] == [False, False, True]
    assert [told.tell(alert, "boss") for alert in news] == [True, True, True]


@pytest.mark.parametrize("event", Event)
def test_what_comes_back_is_told_again_but_for_what_happens_once(event: Event, told: Told) -> None:
    assert told.tell(an_alert(event))
    told.alerts.forget(but=[an_alert(event)])
    assert not told.tell(an_alert(event))
    told.alerts.forget(but=[])
    assert told.tell(an_alert(event)) is (event not in ONCE)


def test_what_is_the_case_by_another_name_or_in_another_state_is_over(told: Told) -> None:
    for other in (an_alert(state="8"), an_alert(Event.BACKUP_LATE)):
        assert told.tell(an_alert())
        told.alerts.forget(but=[other])
    assert told.tell(an_alert())


def test_what_happened_once_is_forgotten_when_it_is_no_news_any_more(told: Told) -> None:
    deletion = an_alert(Event.DELETION)
    assert told.tell(deletion)
    told.pass_by(days=6)
    told.alerts.forget(but=[])
    assert len(told.alerts.listed()) == 1
    told.pass_by(days=2)
    told.alerts.forget(but=[])
    assert told.alerts.listed() == []


def test_nobody_forgets_what_another_application_was_told(told: Told, catalog_database: Server) -> None:
    with a_catalog(catalog_database, "shop") as shop:
        others = Told(shop, catalog_database)
        assert told.tell(an_alert())
        assert others.tell(an_alert())
        told.alerts.forget(but=[])
        assert (told.alerts.listed(), len(others.alerts.listed())) == ([], 1)
        assert not others.tell(an_alert())
