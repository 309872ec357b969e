"""Alerts: each target is told of each state once, over real sockets; one that fails or hangs is in nobody's way."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import BaseNotifier

from glacier_provider import cli
from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.alert import CALLED_FOR, Alert, AlertTarget
from glacier_provider.core.condition import ASKED_FOR, Event, Grade
from glacier_provider.errors import CatalogUnavailable, NotTold
from glacier_provider.hooks.alerts import send_alert
from glacier_provider.pipelines.alerts import current_alerts, targets_of, tell, tell_alerts, tell_unreachable
from glacier_provider.postgres import Server
from tests.integration.test_cli import uri_of
from tests.support.backups import a_backup_row, a_proof_row, a_restore_row, ago, an_archive_row
from tests.support.receivers import MailReceiver, WebReceiver, a_mail_receiver, a_web_receiver

SETTINGS: dict[str, Any] = {
    "name": "dms",
    "postgres_conn_id": "dms_db",
    "files_directory": "/srv/dms/files",
    "staging_directory": "/srv/dms/staging",
    "store": "s3://bucket/pre?storage_class=GLACIER",
}
EVERY_EVENT = [event.value for event in Event if event not in ASKED_FOR]


class NoteNotifier(BaseNotifier):
    """A notifier as providers have them: arguments are templates."""

    template_fields = ("text",)
    told: list[str] = []  # noqa: RUF012 - what all of them told

    def __init__(self, text: str = "{{ alert.subject }}", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text = text

    def notify(self, context: Any) -> None:
        self.told.append(self.text)


def an_application_with(*to: Any, **alerts: Any) -> Application:
    return Application.from_dict({**SETTINGS, "alerts": {"to": list(to), **alerts}})


@pytest.fixture
def web() -> Iterator[WebReceiver]:
    with a_web_receiver() as receiver:
        yield receiver


@pytest.fixture
def mail(monkeypatch: pytest.MonkeyPatch) -> Iterator[MailReceiver]:
    with a_mail_receiver() as receiver:
        connection = {
            "conn_type": "smtp",
            "host": "127.0.0.1",
            "port": receiver.port,
            "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "glacier@example.com"},
        }
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
        yield receiver


#: How the catalog comes to each event, and words that are told of it.
EVENTS: dict[Event, tuple[Callable[[Server], Any], str]] = {
    Event.BACKUP_FAILED: (
        lambda s: a_backup_row(
            s, "dms", "failed", ago(minutes=5), error="dump_database: DatabaseUnreachable: no route"
        ),
        "Backup 1 failed: dump_database: DatabaseUnreachable: no route",
    ),
    Event.BACKUP_LATE: (lambda s: a_backup_row(s, "dms", "complete", ago(days=3)), "complete backup is 3 days old"),
    Event.BACKUP_INCOMPLETE: (
        lambda s: an_archive_row(s, "dms", a_backup_row(s, "dms", "complete", ago(hours=1)), "file", "a", state="lost"),
        "1 archive that backups need is lost",
    ),
    Event.BACKUP_UNRESTORABLE: (
        lambda s: a_backup_row(
            s, "dms", "complete", ago(hours=1), report={"rehearsal": {"in_place": {"verdict": "no", "why": "No role."}}}
        ),
        "cannot be restored into its database: No role.",
    ),
    Event.BACKUP_UNUSUAL: (
        lambda s: a_backup_row(s, "dms", "complete", ago(hours=1), files=40, report={"new_versions_count": 30}),
        "30 of 40 files have another content than before backup 1.",
    ),
    Event.DRILL_FAILED: (
        lambda s: a_proof_row(s, "dms", "drill", "found", ago(hours=1), findings=[{"told": "Rows.", "grave": True}]),
        "The last drill found that something is not as it should be: Rows.",
    ),
    Event.VERIFICATION_FAILED: (
        lambda s: a_proof_row(s, "dms", "verification", "failed", ago(hours=1), error="No network."),
        "The last verification could not look at all: No network.",
    ),
    Event.VERIFICATION_OVERDUE: (
        lambda s: a_proof_row(s, "dms", "verification", "passed", ago(days=60)),
        "The last verification passed 60 days ago.",
    ),
    Event.DRILL_OVERDUE: (
        lambda s: a_proof_row(s, "dms", "drill", "passed", ago(days=60)),
        "The last drill passed 60 days ago.",
    ),
    Event.APPROVAL_WAITING: (
        lambda s: a_restore_row(s, "dms", "planned", plan={"over_budget": True}),
        "Restore 1 of backup 1 waits for a person's approval.",
    ),
    Event.RESTORE_FAILED: (
        lambda s: a_restore_row(s, "dms", "failed", error="download: OutOfSpace: full"),
        "Restore 1 of backup 1 failed: download: OutOfSpace: full",
    ),
    Event.RESTORE_ENDED: (lambda s: a_restore_row(s, "dms", "complete"), "Restore 1 of backup 1 is complete."),
    Event.COST: (
        lambda s: [
            an_archive_row(s, "dms", a_backup_row(s, "dms", "complete", ago(hours=1)), "file", "big", size=2 * 10**12)
        ],
        "a month, and 1 are expected at most",
    ),
    Event.DELETION: (
        lambda s: a_backup_row(s, "dms", "deleted", ago(hours=1), deleted_at=ago(minutes=3)),
        "Backup 1 is deleted.",
    ),
}


#: What else makes a backup incomplete, beside lost archives, and words that are told of it.
INCOMPLETE: dict[str, tuple[dict[str, Any], str]] = {
    "unreadable": (
        {"report": {"unreadable_count": 2, "unreadable": [{"name": "a.pdf", "error": "denied"}]}},
        "does not hold 2 files that could not be read: a.pdf",
    ),
    "changed": (
        {"report": {"changed_count": 1, "changed": [{"name": "a.pdf", "archived_size": 1, "size": 2}]}},
        "holds an earlier content of 1 file, which had changed without being archived: a.pdf",
    ),
    "not there": (
        {"report": {"unarchived_references_count": 3, "unarchived_references": ["a.pdf"]}},
        "does not hold 3 files that the database names: a.pdf",
    ),
    "vanished": ({"files": 40, "vanished": 60}, "60 of 100 files vanished before backup 1"),
}
LINK = "https://airflow.example.com/plugin/glacier-backups"
AN_ALERT = Alert("dms", Event.BACKUP_FAILED, Grade.CRITICAL, "backup 1 failed", "Mend it.")


@pytest.fixture
def everybody(web: WebReceiver, mail: MailReceiver, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Application]:
    """Makes an application with a target of each kind, which is told of an event."""
    monkeypatch.setenv("AIRFLOW_CONN_OPS_HOOK", json.dumps({"conn_type": "http", "password": f"{web.url}/hook/SECRET"}))
    apprise = web.url.replace("http://", "json://") + "/apprise"
    monkeypatch.setenv("AIRFLOW_CONN_OPS_APPRISE", json.dumps({"conn_type": "generic", "password": apprise}))
    NoteNotifier.told.clear()

    def made(event: Event) -> Application:
        application = an_application_with(
            "ops@example.com",
            {"webhook": "ops_hook"},
            {"apprise": "ops_apprise"},
            {"notifier": f"{__name__}.NoteNotifier", "with": {"text": "{{ alert.event }}: {{ alert.text }}"}},
            on=[event.value],
            monthly_cost=1,
        )
        return Application.from_dict({**application.to_dict(), "verify": "listing", "drill": "newest"})

    return made


@pytest.mark.parametrize("event", EVENTS)
def test_each_event_reaches_a_target_of_each_kind(
    event: Event,
    catalog: Catalog,
    catalog_database: Server,
    web: WebReceiver,
    mail: MailReceiver,
    everybody: Callable[..., Application],
) -> None:
    state, words = EVENTS[event]
    state(catalog_database)
    for _ in range(2):
        assert tell_alerts(everybody(event), catalog=catalog, send=send_alert, link=LINK) == []
    assert_told_once(event, words, web, mail)


@pytest.mark.parametrize("case", INCOMPLETE)
def test_each_way_in_which_a_backup_lacks_something_reaches_them(
    case: str,
    catalog: Catalog,
    catalog_database: Server,
    web: WebReceiver,
    mail: MailReceiver,
    everybody: Callable[..., Application],
) -> None:
    figures, words = INCOMPLETE[case]
    a_backup_row(catalog_database, "dms", "complete", ago(hours=1), **figures)
    for _ in range(2):
        application = everybody(Event.BACKUP_INCOMPLETE)
        assert tell_alerts(application, catalog=catalog, send=send_alert, link=LINK) == []
    assert_told_once(Event.BACKUP_INCOMPLETE, words, web, mail)


def test_a_catalog_that_is_away_reaches_them(
    web: WebReceiver, mail: MailReceiver, everybody: Callable[..., Application]
) -> None:
    known: dict[str, dict[str, Any]] = {}
    error = CatalogUnavailable("The catalog database broke off.", hint="See whether its server runs.")
    application = everybody(Event.CATALOG_UNREACHABLE)
    for _ in range(2):
        assert tell_unreachable([application], error, known=known, send=send_alert, link=LINK) == []
    assert_told_once(Event.CATALOG_UNREACHABLE, "The catalog database broke off.", web, mail)


def assert_told_once(event: Event, words: str, web: WebReceiver, mail: MailReceiver) -> None:
    """Each kind of target was told once: what happened, what to do, and where to look."""
    link = LINK
    (sent,) = mail.mails
    assert sent["To"] == "ops@example.com"
    body = sent.get_payload()[0].get_payload(decode=True).decode()  # type: ignore[union-attr, index]
    by_path = {one.path: one.json for one in web.received}
    assert len(web.received) == len(by_path) == 2
    hook, other = by_path["/hook/SECRET"], by_path["/apprise"]
    assert (hook["event"], hook["application"], hook["link"]) == (event.value, "dms", link)
    (noted,) = NoteNotifier.told
    assert noted == f"{event.value}: {hook['text']}"
    for told in (body, hook["text"], f"{other['title']} {other['message']}", noted):
        assert words.replace("'", "&#x27;") in told or words in told
        assert link in told
        assert hook["hint"].replace("'", "&#x27;") in told or hook["hint"] in told
    assert "dms" in str(sent["Subject"])
    assert hook["hint"] or event is Event.RESTORE_ENDED
    for command, rest in re.findall(r"glacier-backup ([a-z-]+)((?: [0-9]+| dms)?)", hook["hint"]):
        # What is said to be typed can be: of a backup or an application that there is.
        assert cli.command_parser().parse_args([command, *rest.split()]).run


def test_what_lasts_is_told_once_and_what_comes_back_is_told_again(catalog: Catalog, catalog_database: Server) -> None:
    told: list[str] = []
    application = an_application_with("ops@example.com", on=["backup_failed", "backup_late"])

    def tell() -> list[str]:
        told.clear()
        tell_alerts(application, catalog=catalog, send=lambda _, alert: told.append(alert.told))
        return list(told)

    a_backup_row(catalog_database, "dms", "complete", ago(hours=1))
    assert tell() == []
    a_backup_row(catalog_database, "dms", "failed", ago(minutes=9), error="a")
    assert tell() == ["backup 2 failed: a"]
    assert tell() == []
    a_backup_row(catalog_database, "dms", "failed", ago(minutes=8), error="a")
    assert tell() == ["backup 3 failed: a"]
    a_backup_row(catalog_database, "dms", "complete", ago(minutes=7))
    assert tell() == []
    assert catalog.alerts.listed() == []


def test_a_missed_backup_is_told_once_and_once_more_when_another_is_missed(
    catalog: Catalog, catalog_database: Server
) -> None:
    application = an_application_with("ops@example.com", on=["backup_late"])
    number = a_backup_row(catalog_database, "dms", "complete", datetime(2026, 5, 4, 0, 1, tzinfo=UTC))

    def grades(now: datetime) -> list[tuple[Grade, str]]:
        return [(one.grade, one.state) for one in current_alerts(application, catalog=catalog, link="", now=now)]

    assert grades(datetime(2026, 5, 5, 5, 0, tzinfo=UTC)) == []  # due at midnight, and six hours have not passed
    assert grades(datetime(2026, 5, 5, 7, 0, tzinfo=UTC)) == [(Grade.WARNING, f"{number} WARNING")]
    assert grades(datetime(2026, 5, 6, 7, 0, tzinfo=UTC)) == [(Grade.CRITICAL, f"{number} CRITICAL")]
    assert grades(datetime(2026, 5, 9, 7, 0, tzinfo=UTC)) == [(Grade.CRITICAL, f"{number} CRITICAL")]


MIDNIGHT = datetime(2026, 5, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("began", "ended", "late"),
    [
        (MIDNIGHT, MIDNIGHT + timedelta(hours=1), []),
        (MIDNIGHT - timedelta(minutes=9), MIDNIGHT + timedelta(hours=1), [Grade.WARNING]),
        (MIDNIGHT + timedelta(days=365), MIDNIGHT + timedelta(days=365), [Grade.WARNING]),
    ],
    ids=["as it was due", "before that", "in a year, by a clock that was wrong"],
)
def test_a_backup_is_there_when_one_began_since_it_was_due(
    began: datetime, ended: datetime, late: list[Grade], catalog: Catalog, catalog_database: Server
) -> None:
    application = an_application_with("ops@example.com", on=["backup_late"])
    a_backup_row(catalog_database, "dms", "complete", began, ended=ended)
    now = MIDNIGHT + timedelta(hours=7)
    assert [one.grade for one in current_alerts(application, catalog=catalog, link="", now=now)] == late


def test_no_backup_is_missed_before_the_first_day(catalog: Catalog, catalog_database: Server) -> None:
    now = datetime.now(UTC)
    later = Application.from_dict(
        {**an_application_with("a@example.com").to_dict(), "start": f"{now + timedelta(days=30):%Y-%m-%d}"}
    )
    assert current_alerts(later, catalog=catalog, link="", now=now + timedelta(days=20)) == []
    (late,) = current_alerts(later, catalog=catalog, link="", now=now + timedelta(days=40))
    assert (late.event, late.grade) == (Event.BACKUP_LATE, Grade.CRITICAL)


def test_proofs_are_overdue_that_are_asked_for_and_no_others(catalog: Catalog, catalog_database: Server) -> None:
    settings = an_application_with("a@example.com", on=["drill_overdue", "verification_overdue"]).to_dict()
    now = datetime.now(UTC)

    def overdue(at: datetime, **asked: Any) -> list[str]:
        application = Application.from_dict({**settings, **asked})
        return [one.told for one in current_alerts(application, catalog=catalog, link="", now=at)]

    assert overdue(now + timedelta(days=99), verify="off", drill="off") == []
    assert overdue(now, drill="newest") == []
    assert overdue(now + timedelta(days=99), verify="off", drill="newest") == ["no drill ever passed"]
    a_proof_row(catalog_database, "dms", "drill", "passed", now + timedelta(days=365))
    (told,) = overdue(now + timedelta(days=99), verify="off", drill="newest")
    assert told.startswith("when the last drill passed cannot be told: it is dated")


def test_what_is_unusual_or_dear_is_what_applications_yaml_says(catalog: Catalog, catalog_database: Server) -> None:
    number = a_backup_row(
        catalog_database, "dms", "complete", ago(hours=1), files=40, report={"new_versions_count": 30}
    )
    an_archive_row(catalog_database, "dms", number, "file", "big", size=10**12)

    def told(**fields: Any) -> list[Event]:
        alerts = {"to": ["a@example.com"], "on": ["backup_unusual", "cost"], **fields.pop("alerts", {})}
        application = Application.from_dict({**SETTINGS, "alerts": alerts, **fields})
        return [one.event for one in current_alerts(application, catalog=catalog, link="", now=datetime.now(UTC))]

    assert told() == [Event.BACKUP_UNUSUAL]
    usual = {"anomalies": {"changed_share": 0.9}}
    assert told(**usual) == []
    assert told(**usual, alerts={"monthly_cost": 3}) == [Event.COST]
    assert told(**usual, alerts={"monthly_cost": 5}) == []


def test_a_new_application_is_late_when_its_first_backup_is(catalog: Catalog, catalog_database: Server) -> None:
    application = an_application_with("ops@example.com")
    now = datetime.now(UTC)
    assert current_alerts(application, catalog=catalog, link="", now=now) == []
    for days in (1, 2):  # it is critical as soon as the first one is missed
        (late,) = current_alerts(application, catalog=catalog, link="", now=now + timedelta(days=days, hours=12))
        assert (late.event, late.grade) == (Event.BACKUP_LATE, Grade.CRITICAL)
        assert late.told == "there is no complete backup"
    by_hand = Application.from_dict({**application.to_dict(), "schedule": None})
    assert current_alerts(by_hand, catalog=catalog, link="", now=now + timedelta(days=99)) == []


def test_a_target_that_fails_is_tried_again_and_keeps_no_other_waiting(
    catalog: Catalog, catalog_database: Server, web: WebReceiver
) -> None:
    a_backup_row(catalog_database, "dms", "failed", ago(minutes=9), error="a")
    application = an_application_with(f"{web.url}/bad", "ops@example.com", on=["backup_failed"])
    reached: list[str] = []

    def send(target: AlertTarget, alert: Alert) -> None:
        if target.kind == "email":
            reached.append(alert.told)
        else:
            send_alert(target, alert)

    web.status = 500
    (failure,) = tell_alerts(application, catalog=catalog, send=send)
    assert "answered 500" in failure["error"]
    assert "/bad" not in str(failure)
    assert reached == ["backup 1 failed: a"]
    assert tell_alerts(application, catalog=catalog, send=send) == []  # not at once again
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute("UPDATE glacier_catalog.alerts SET claimed_at = claimed_at - interval '6 minutes'")
    web.status = 200
    assert tell_alerts(application, catalog=catalog, send=send) == []
    assert len(web.received) == 2
    assert reached == ["backup 1 failed: a"]


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (301, "sends elsewhere"),
        (404, "a new one"),
        (403, "a new one"),
        (503, "glacier_alerts does so by itself"),
        (415, "JSON"),
    ],
)
def test_a_webhook_that_does_not_take_it_says_what_to_do(web: WebReceiver, status: int, hint: str) -> None:
    web.status = status
    (target,) = targets_of(an_application_with(f"{web.url}/hook"))
    with pytest.raises(NotTold, match=f"answered {status}") as told:
        send_alert(target, AN_ALERT)
    assert hint in told.value.hint
    assert len(web.received) == 1, "no redirect is followed"


def test_a_target_that_hangs_costs_a_time_out_and_no_more(
    catalog: Catalog, catalog_database: Server, web: WebReceiver
) -> None:
    for error in ("a", "b"):
        a_backup_row(catalog_database, "dms", "failed", ago(minutes=9), error=error)
    an_archive_row(catalog_database, "dms", 1, "file", "a", state="lost")
    web.silent_seconds = 600
    application = an_application_with(f"{web.url}/", timeout_seconds=1)
    began = time.monotonic()
    (failure,) = tell_alerts(application, catalog=catalog, send=send_alert)
    assert "did not answer within 1 seconds" in failure["error"]
    assert time.monotonic() - began < 30
    assert len(web.received) == 1


def test_two_that_tell_at_once_tell_once(catalog: Catalog, catalog_database: Server) -> None:
    a_backup_row(catalog_database, "dms", "failed", ago(minutes=9), error="a")
    application = an_application_with("ops@example.com", on=["backup_failed"])
    told: list[str] = []

    def send(_target: AlertTarget, alert: Alert) -> None:
        told.append(alert.told)
        with catalog.beside() as another:  # at the instant at which the first one sends
            tell_alerts(application, catalog=another, send=send)

    tell_alerts(application, catalog=catalog, send=send)
    assert told == ["backup 1 failed: a"]


def test_a_catalog_that_cannot_be_asked_is_told_once_for_as_long_as_it_lasts() -> None:
    known: dict[str, dict[str, Any]] = {}
    told: list[str] = []
    error = CatalogUnavailable("The catalog database broke off.")
    application = an_application_with("ops@example.com", "boss@example.com")
    for _ in range(2):
        tell_unreachable([application], error, known=known, send=lambda t, a: told.append(f"{t.address}: {a.text}"))
    assert [one.partition(":")[0] for one in told] == ["ops@example.com", "boss@example.com"]
    assert "Its catalog cannot be asked: The catalog database broke off." in told[0]
    assert json.loads(json.dumps(known)) == known
    assert "example.com" not in json.dumps(known)


def test_who_could_not_be_told_of_a_catalog_that_is_away_is_told_as_soon_as_that_can_be() -> None:
    known: dict[str, dict[str, Any]] = {}
    heard: list[tuple[str, datetime | None]] = []
    down = {"boss@example.com"}
    application = an_application_with("ops@example.com", "boss@example.com")

    def send(target: AlertTarget, alert: Alert) -> None:
        if target.address in down:
            raise NotTold("No mail server.")
        heard.append((target.address, alert.since))

    def tell(now: datetime) -> list[dict[str, Any]]:
        error = CatalogUnavailable("The catalog database broke off.")
        return tell_unreachable([application], error, known=known, send=send, now=now)

    began = datetime(2026, 5, 5, 12, tzinfo=UTC)
    assert [one["target"] for one in tell(began)] == ["email boss@example.com"]
    down.clear()
    assert tell(began + timedelta(minutes=10)) == tell(began + timedelta(minutes=20)) == []
    assert heard == [("ops@example.com", began), ("boss@example.com", began)]
    silent = an_application_with("ops@example.com", on=["backup_failed"])
    assert tell_unreachable([silent], CatalogUnavailable("x"), known={}, send=send) == []
    assert len(heard) == 2


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({"apprise": "no_such"}, "There is no Airflow connection no_such"),
        ({"apprise": "odd"}, "Apprise knows no such URL"),
        ({"webhook": "odd"}, "holds no address of the web"),
        ({"webhook": "http://127.0.0.1:1/SECRET"}, "did not take it (ConnectError). Nothing answers there"),
        ({"notifier": "airflow.sdk.DAG"}, "is no notifier of Airflow"),
        ({"notifier": "no_such_package.Notifier"}, "not installed here (no_such_package)"),
        ({"notifier": f"{__name__}.NoteNotifier", "with": {"colour": 1}}, "does not take these arguments"),
        ({"email": "a@example.com", "conn_id": "no_such"}, "There is no Airflow connection no_such"),
        (
            {"email": "a@example.com", "conn_id": "no_sender"},
            "Write from_email into the extra of the connection no_sender",
        ),
        (
            {"email": "a@example.com", "conn_id": "away", "from": "b@example.com"},
            "host and port in the connection away",
        ),
    ],
)
def test_what_keeps_a_target_from_being_told_is_said_without_its_secrets(
    target: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from glacier_provider.core.alert import a_test_alert

    monkeypatch.setenv("AIRFLOW_CONN_ODD", json.dumps({"conn_type": "generic", "password": "odd://SECRET"}))
    away = {"conn_type": "smtp", "host": "127.0.0.1", "port": 1, "extra": {"disable_ssl": True}}
    monkeypatch.setenv("AIRFLOW_CONN_NO_SENDER", json.dumps(away))
    monkeypatch.setenv("AIRFLOW_CONN_AWAY", json.dumps(away))
    ((_, why),) = tell([AlertTarget.from_given(target)], a_test_alert("dms", ago(), ""), seconds=60, send=send_alert)
    assert why is not None
    assert words in why
    assert "SECRET" not in why


def test_a_mail_comes_from_whom_and_by_which_connection_its_target_says(
    mail: MailReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OURS", os.environ["AIRFLOW_CONN_SMTP_DEFAULT"])
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": 1}))
    target = {"email": "ops@example.com", "from": "backups@example.com", "conn_id": "ours"}
    send_alert(AlertTarget.from_given(target), AN_ALERT)
    (sent,) = mail.mails
    assert (sent["From"], sent["To"]) == ("backups@example.com", "ops@example.com")


@pytest.mark.parametrize(
    ("grade", "kind"), [(Grade.OK, "info"), (Grade.WARNING, "warning"), (Grade.CRITICAL, "failure")]
)
def test_a_chat_shows_how_bad_it_is_or_the_alert_has_not_arrived(
    grade: Grade, kind: str, web: WebReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = web.url.replace("http://", "json://")
    monkeypatch.setenv("AIRFLOW_CONN_CHAT", json.dumps({"conn_type": "generic", "password": f"{url}/SECRET"}))
    target = AlertTarget.from_given({"apprise": "chat"})
    send_alert(target, replace(AN_ALERT, grade=grade))
    (told,) = web.received
    assert told.json["type"] == kind
    web.status = 503
    with pytest.raises(NotTold, match="apprise chat did not take it"):
        send_alert(target, AN_ALERT)


def test_an_error_of_any_kind_keeps_no_other_target_from_being_told_and_is_told_by_its_kind() -> None:
    told: list[str] = []

    def send(target: AlertTarget, alert: Alert) -> None:
        if target.kind == "email":
            raise RuntimeError("https://hooks.example.com/SECRET")
        told.append(target.name)

    targets = targets_of(an_application_with("ops@example.com", {"webhook": "ops"}))
    answers = tell(targets, AN_ALERT, seconds=60, send=send)
    assert [(target.kind, why) for target, why in answers] == [("email", "RuntimeError"), ("webhook", None)]
    assert told == ["webhook ops"]


def test_what_looks_like_a_template_is_told_as_it_is(mail: MailReceiver) -> None:
    evil = Alert("dms", Event.BACKUP_FAILED, Grade.WARNING, "{{ 7 * 7 }} {% endraw %}{{ 7 * 7 }} <b>", "")
    send_alert(AlertTarget.from_given("ops@example.com"), evil)
    (sent,) = mail.mails
    body = sent.get_payload()[0].get_payload(decode=True).decode()  # type: ignore[union-attr, index]
    assert "49" not in body
    assert "{{ 7 * 7 }}" in body
    assert "&lt;b&gt;" in body


def test_a_person_tries_whether_alerts_arrive(
    catalog_database: Server,
    catalog: Catalog,
    web: WebReceiver,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import yaml

    entry = {name: value for name, value in SETTINGS.items() if name != "name"}
    entry["alerts"] = {"to": [f"{web.url}/good", "http://127.0.0.1:1/"]}
    path = tmp_path / "applications.yaml"
    path.write_text(yaml.safe_dump({"applications": {"dms": entry}}))
    monkeypatch.setenv("GLACIER_CATALOG_URI", uri_of(catalog_database))
    assert cli.main(["alerts", "test", "--applications", str(path)]) == 1
    told = capsys.readouterr()
    assert "Not told: webhook http://127.0.0.1:1/" in told.err
    assert "Nothing answers there: see host and port" in told.out
    assert "told webhook" not in told.err
    assert [one.json["event"] for one in web.received] == ["test"]
    a_backup_row(catalog_database, "dms", "failed", ago(minutes=9), error="a")
    assert cli.main(["alerts", "show", "--json", "--applications", str(path)]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["event"], shown["told_at"]) == ("backup_failed", None)


def test_every_event_has_a_test_or_is_told_without_the_catalog() -> None:
    tested_elsewhere = {Event.CATALOG_UNREACHABLE, Event.APPLICATION_WRONG, *ASKED_FOR}
    assert set(EVENTS) == set(Event) - tested_elsewhere
    assert set(CALLED_FOR) < set(EVERY_EVENT)
