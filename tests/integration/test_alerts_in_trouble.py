"""People are called also when something is in trouble: clocks, catalogs, targets, words, applications.yaml."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from glacier_provider import cli
from glacier_provider.applications import Application, Applications, load_applications
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.alert import Alert, AlertTarget, a_test_alert
from glacier_provider.core.condition import Condition, Event, Grade, troubles_of
from glacier_provider.errors import CatalogNotReady, NotTold
from glacier_provider.hooks import alerts, ping
from glacier_provider.hooks.alerts import send_alert, tell_everybody, unreachable_catalogs
from glacier_provider.hooks.ping import ping_started
from glacier_provider.pipelines.alerts import (
    MIGRATED_WITHIN,
    current_alerts,
    targets_of,
    tell,
    tell_alerts,
    tell_unreachable,
)
from glacier_provider.pipelines.shared.failure import note_failure
from glacier_provider.postgres import Server
from tests.integration.test_alerts import LINK, SETTINGS, NoteNotifier, an_application_with
from tests.integration.test_alerts import everybody as everybody
from tests.integration.test_alerts import mail as mail
from tests.integration.test_alerts import web as web
from tests.support.backups import a_backup_row, a_proof_row, ago, an_application_row
from tests.support.receivers import MailReceiver, WebReceiver, serving

TWO = ("dms", "shop")


# --- clocks ---------------------------------------------------------------------------------------------------------


def events(application: Application, catalog: Catalog, now: datetime) -> set[Event]:
    return {one.event for one in current_alerts(application, catalog=catalog, link="", now=now)}


def test_a_backup_that_is_dated_in_the_future_keeps_nobody_from_being_called(
    catalog: Catalog, catalog_database: Server
) -> None:
    application = Application.from_dict({**an_application_with("a@b").to_dict(), "drill": "newest", "verify": "off"})
    a_backup_row(catalog_database, "dms", "complete", ago(days=-365))
    a_proof_row(catalog_database, "dms", "drill", "passed", ago(days=-365))
    assert events(application, catalog, datetime.now(UTC)) == {Event.BACKUP_LATE}
    later = datetime.now(UTC) + timedelta(days=60)
    assert events(application, catalog, later) == {Event.BACKUP_LATE, Event.DRILL_OVERDUE}


def test_an_application_that_was_first_heard_of_in_the_future_is_late_all_the_same(
    catalog: Catalog, catalog_database: Server
) -> None:
    number = an_application_row(catalog_database, "dms")
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE glacier_catalog.applications SET created_at = now() + interval '1 year' WHERE id = %s", [number]
        )
    assert events(an_application_with("a@b"), catalog, datetime.now(UTC)) == {Event.BACKUP_LATE}


@pytest.mark.parametrize(("early", "late"), [(timedelta(minutes=2), False), (timedelta(minutes=20), True)])
def test_the_catalogs_clock_may_be_behind_the_schedulers_a_little(
    catalog: Catalog, catalog_database: Server, early: timedelta, late: bool
) -> None:
    due = datetime(2026, 5, 5, tzinfo=UTC)
    a_backup_row(catalog_database, "dms", "complete", due - early)
    assert (Event.BACKUP_LATE in events(an_application_with("a@b"), catalog, due + timedelta(hours=7))) == late


def test_a_dump_that_was_larger_and_is_smaller_now_is_told_twice() -> None:
    usual = Condition("dms", complete_id=7, complete_at=ago(), usual_of=9, usual_database_bytes=10**9)
    states = {
        one.state
        for size in (9e9, 1e7)
        for one in troubles_of(replace(usual, database_bytes=size), now=ago(), backup=alerts_limits())
        if one.event is Event.BACKUP_UNUSUAL
    }
    assert len(states) == 2


def alerts_limits() -> Any:
    from glacier_provider.core.condition import DEFAULT_LIMITS

    return DEFAULT_LIMITS


# --- words ----------------------------------------------------------------------------------------------------------

STRANGE = "caf\udce9 \x00 \x1b[31m \u2028 über 𝕏\r\nBcc: evil@example.com"


def test_whatever_is_told_reaches_a_target_of_each_kind(web: WebReceiver, mail: MailReceiver, everybody: Any) -> None:
    alert = Alert("dms", Event.BACKUP_FAILED, Grade.WARNING, STRANGE + "x" * 10**5, STRANGE, ago(), "s", LINK)
    targets = targets_of(everybody(Event.BACKUP_FAILED))
    assert [why for _, why in tell(targets, alert, seconds=30, send=send_alert)] == [None] * len(targets)
    (sent,) = mail.mails
    assert sent["Bcc"] is None
    for told in (*(one.body.decode() for one in web.received), *NoteNotifier.told):
        assert "caf\\udce9" in told.replace("\\\\", "\\")
        assert len(told) < 12_000


@pytest.mark.parametrize("reason", [STRANGE, "x" * 10**6])
def test_whatever_an_error_says_is_noted(catalog: Catalog, catalog_database: Server, reason: str) -> None:
    number = a_backup_row(catalog_database, "dms", "running", ago(minutes=5))
    with catalog_database.connect() as connection:
        found = connection.execute(
            "SELECT dag_id, dag_run_id FROM glacier_catalog.application_data_backups WHERE id = %s", [number]
        ).fetchone()
    assert found is not None
    _ = catalog.backups.application_id
    assert note_failure(Run(*found), reason, step=None, catalog=catalog)
    (failed,) = current_alerts(an_application_with("a@b"), catalog=catalog, link="", now=datetime.now(UTC))
    assert failed.event is Event.BACKUP_FAILED


# --- targets --------------------------------------------------------------------------------------------------------


@contextmanager
def a_receiver_whose_answers_do_not_end() -> Iterator[str]:
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            while not over.wait(0.2):
                try:
                    self.wfile.write(b"x")
                    self.wfile.flush()
                except OSError:
                    return

        def log_message(self, *_: Any) -> None:
            pass

    with serving(Handler, over) as url:
        yield url


def test_who_took_it_and_goes_on_talking_was_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with a_receiver_whose_answers_do_not_end() as url:
        (target,) = targets_of(an_application_with(f"{url}/hook"))
        ((_, why),) = tell([target], a_test_alert("dms", ago(), ""), seconds=5, send=send_alert)
        assert why is None
        monkeypatch.setattr(ping, "PING_SECONDS", 5)
        ping_started(replace(an_application_with(), ping=f"{url}/check"), Run("a", "b"))
    assert "was not told" not in caplog.text


def test_a_target_that_hangs_costs_one_time_out_however_many_applications_it_has(
    catalog: Catalog, catalog_database: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def send(target: AlertTarget, alert: Alert) -> None:
        asked.append((target.address, alert.application))
        if target.address == "slow@example.com":
            time.sleep(30)

    monkeypatch.setattr(alerts, "send_alert", send)
    names = [f"app{number}" for number in range(8)]
    for name in names:
        a_backup_row(catalog_database, name, "failed", ago(minutes=9), error="a")
    began = time.monotonic()
    failures = tell_everybody(
        some_applications(names, "slow@example.com", "ops@example.com"), opened(catalog_database), {}
    )
    assert [one["target"] for one in failures] == ["email slow@example.com"]
    assert [name for address, name in asked if address == "ops@example.com"] == names
    assert time.monotonic() - began < 15


# --- catalogs -------------------------------------------------------------------------------------------------------


def some_applications(names: Any, *to: str, **fields: Any) -> Applications:
    settings = {**SETTINGS, "alerts": {"to": list(to), "on": ["backup_failed", "catalog_unreachable"]}, **fields}
    settings["alerts"]["timeout_seconds"] = 1
    return Applications({name: Application.from_dict({**settings, "name": name}) for name in names}, "a file")


def opened(server: Server, **broken: Exception) -> Any:
    """Return what opens the catalog of an application; those of some are broken."""

    @contextmanager
    def opens(application: Application) -> Iterator[Catalog]:
        if application.name in broken:
            raise broken[application.name]
        with Catalog(server.connect, schema="glacier_catalog", application=application.name) as catalog:
            yield catalog

    return opens


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The applications and words that anybody was told."""
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(alerts, "send_alert", lambda _, alert: told.append((alert.application, alert.told)))
    return told


def test_what_is_not_understood_of_one_application_is_told_and_keeps_no_other_from_being_told(
    catalog: Catalog, catalog_database: Server, told: list[tuple[str, str]]
) -> None:
    for name in TWO:
        a_backup_row(catalog_database, name, "failed", ago(minutes=9), error="a")
    known: dict[str, Any] = {}
    broken = opened(catalog_database, dms=KeyError("x"))
    for _ in range(2):
        assert tell_everybody(some_applications(TWO, "ops@example.com"), broken, known) == []
    assert [name for name, _ in told] == ["shop", "dms"]
    assert "what it says of dms is not understood (KeyError)" in told[1][1]


def test_a_catalog_that_is_away_is_told_in_one_message_whatever_it_holds(
    catalog_database: Server, told: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    away, known = replace(catalog_database, port=1), dict[str, Any]()
    names = [f"app{number}" for number in range(9)]
    for _ in range(2):
        tell_everybody(some_applications(names, "ops@example.com"), opened(away), known)
    ((name, words),) = told
    assert name == "app0"
    assert words.endswith("It is also that of app1, app2, app3, app4, app5 and 3 more.")


def test_a_catalog_that_waits_for_its_migration_is_left_a_day_for_it(catalog_database: Server) -> None:
    """A new installation has none before its first backup, and after an upgrade the next backup migrates it."""
    told: list[str] = []
    error, known = CatalogNotReady("The catalog schema x is at version none, not 0017."), dict[str, Any]()
    application = an_application_with("ops@example.com")

    def look(after: timedelta) -> int:
        tell_unreachable(
            [application], error, known=known, send=lambda _, a: told.append(a.hint), now=datetime.now(UTC) + after
        )
        return len(told)

    assert [look(timedelta(hours=hours)) for hours in (0, 1, 25)] == [0, 0, 0]
    assert look(MIGRATED_WITHIN + timedelta(minutes=1)) == 1
    assert told == ["Run: glacier-backup migrate"]
    newer = CatalogNotReady("It is at version 9999.", hint="Upgrade glacier_provider on this machine.")
    tell_unreachable([application], newer, known={}, send=lambda _, a: told.append(a.hint))
    assert told[1:] == [newer.hint]


def test_what_was_told_of_catalogs_is_kept_however_the_look_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, str] = {}

    class Kept(alerts.AirflowVariable):
        def read(self) -> str | None:
            return kept.get("x", "no JSON")

        def write(self, text: str) -> None:
            kept["x"] = text

    def look_that_breaks_off() -> None:
        with unreachable_catalogs(Kept()) as known:
            known["dms"] = {"since": "2026-05-05", "told": ["a"]}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look_that_breaks_off()
    with unreachable_catalogs(Kept()) as known:
        assert known == {"dms": {"since": "2026-05-05", "told": ["a"]}}


def test_a_variable_that_airflow_does_not_give_silences_nobody(told: list[tuple[str, str]]) -> None:
    class Broken(alerts.AirflowVariable):
        def read(self) -> str | None:
            raise OSError

        def write(self, text: str) -> None:
            raise OSError

    away = Server("127.0.0.1", 1, "nobody", None, "none")
    with unreachable_catalogs(Broken()) as known:
        tell_everybody(some_applications(TWO, "ops@example.com"), opened(away), known)
    assert [name for name, _ in told] == ["dms"]


def test_alerts_that_cron_sends_tell_of_a_catalog_that_is_away(
    web: WebReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {name: value for name, value in SETTINGS.items() if name != "name"} | {"alerts": f"{web.url}/hook"}
    path = a_file(tmp_path, {"dms": entry, "shop": {**entry, "files_directory": "/srv/shop"}})
    monkeypatch.setenv("GLACIER_CATALOG_URI", "postgresql://x@127.0.0.1:1/x")
    assert cli.main(["alerts", "send", "--applications", str(path)]) == 1
    assert "The catalog of dms, shop could not be asked" in capsys.readouterr().err
    assert [one.json["event"] for one in web.received] == ["catalog_unreachable"]


# --- applications.yaml ----------------------------------------------------------------------------------------------


def a_file(folder: Path, entries: dict[str, Any], **more: Any) -> Path:
    path = folder / "applications.yaml"
    path.write_text(json.dumps({"applications": entries, **more}))
    return path


@pytest.mark.parametrize(
    ("wrong", "called"),
    [
        ({"store": "nowhere"}, ["boss@example.com"]),
        ({"stor": "s3://bucket/pre"}, ["boss@example.com"]),
        ({"alerts": {"to": ["no address"]}}, ["boss@example.com"]),
        ({"alerts": {"to": ["ops@example.com"], "on": ["bakup_late"]}}, ["ops@example.com"]),
        ({"alerts": "ops@example.com", "schedule": "now"}, ["ops@example.com"]),
        ("nothing at all", ["boss@example.com"]),
        ({"files_directory": "/srv/dms/files"}, ["boss@example.com"]),  # that of another
        ({"store": "nowhere", "alerts": {"to": ["ops@example.com"], "on": ["backup_late"]}}, []),
    ],
)
def test_an_entry_that_is_wrong_is_told_to_who_is_called_for_it(
    tmp_path: Path, catalog: Catalog, catalog_database: Server, monkeypatch: pytest.MonkeyPatch, wrong: Any, called: Any
) -> None:
    told: list[tuple[str, str, str]] = []
    monkeypatch.setattr(alerts, "send_alert", lambda to, a: told.append((to.address, a.application, a.told)))
    entry = {name: value for name, value in SETTINGS.items() if name != "name"}
    bad = {**entry, "files_directory": "/srv/bad", **wrong} if isinstance(wrong, dict) else wrong
    path = a_file(tmp_path, {"dms": entry, "bad": bad}, defaults={"alerts": {"to": ["boss@example.com"]}})
    known: dict[str, Any] = {}
    for _ in range(2):
        applications = load_applications(path)
        assert tell_everybody(applications, opened(catalog_database), known) == []
    assert [to for to, name, _ in told if name == "bad"] == called
    assert all("no backup of it is made, since its entry in applications.yaml is wrong" in words for *_, words in told)
    mended = a_file(tmp_path, {"dms": entry}, defaults={"alerts": {"to": ["boss@example.com"]}})
    tell_everybody(load_applications(mended), opened(catalog_database), known)
    assert known == {}


def test_what_is_told_names_the_targets_application_once_more_after_it_was_mended(
    tmp_path: Path, catalog: Catalog, catalog_database: Server, told: list[tuple[str, str]]
) -> None:
    entry = {name: value for name, value in SETTINGS.items() if name != "name"} | {"alerts": "ops@example.com"}
    known: dict[str, Any] = {}
    for store in ("nowhere", SETTINGS["store"], "nowhere"):
        path = a_file(tmp_path, {"dms": {**entry, "store": store}})
        tell_everybody(load_applications(path), opened(catalog_database), known)
    assert [name for name, _ in told] == ["dms", "dms"]


def test_the_dag_of_alerts_is_there_also_when_no_entry_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import runpy

    path = a_file(tmp_path, {"dms": {"store": "nowhere", "alerts": "ops@example.com"}})
    monkeypatch.setenv("GLACIER_APPLICATIONS", str(path))
    made = runpy.run_path(str(Path(__file__).parents[2] / "dags" / "glacier_alerts.py"))
    assert made["dag"].task_ids == ["tell_alerts"]


def test_an_alert_that_a_target_refuses_does_not_silence_the_target_for_others(
    catalog: Catalog, catalog_database: Server
) -> None:
    for name in TWO:
        a_backup_row(catalog_database, name, "failed", ago(minutes=9), error="a")
    reached: list[str] = []

    def send(_: AlertTarget, alert: Alert) -> None:
        if alert.application == "dms":
            raise NotTold("Refused.")
        reached.append(alert.application)

    silent: set[str] = set()
    for one in some_applications(TWO, "ops@example.com").values():
        with Catalog(catalog_database.connect, schema="glacier_catalog", application=one.name) as its:
            tell_alerts(one, catalog=its, send=send, silent=silent)
    assert reached == ["shop"]
