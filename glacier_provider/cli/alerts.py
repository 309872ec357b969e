"""``glacier-backup alerts``: do alerts arrive, what is there to tell, and tell it without Airflow's scheduler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from glacier_provider.cli.arguments import Arguments, add_command, add_named, right_applications
from glacier_provider.cli.connections import airflow_at_hand, open_catalog, told_by_command
from glacier_provider.cli.output import Columns, print_rows, shown_time
from glacier_provider.core.text import some
from glacier_provider.errors import CatalogUnavailable, ConfigurationError, NotTold

if TYPE_CHECKING:
    from glacier_provider.applications import Application, Applications
    from glacier_provider.catalog.catalog import Catalog


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    command = add_command(commands, "alerts", _alerts, "try, show or send what people are called for")
    command.add_argument(
        "action",
        choices=list(_ACTIONS),
        help="test: tell every target that this is a test; show: what there is to tell; send: tell it, as the DAG "
        "glacier_alerts does every ten minutes",
    )
    add_named(command)


def _alerts(arguments: Arguments) -> None:
    applications = right_applications(arguments)
    with airflow_at_hand():
        rows = _ACTIONS[arguments.action](arguments, applications)
    print_rows(arguments, rows, _COLUMNS[arguments.action], nothing=_NOTHING[arguments.action])
    if failed := [row["target"] for row in rows if row.get("error")]:
        raise NotTold(f"Not told: {', '.join(failed)}.", hint="Mend what is said of each, and try again.")


def _chosen(arguments: Arguments, applications: Applications) -> list[Application]:
    return [applications.named(arguments.application)] if arguments.application else list(applications.values())


def _nobody() -> ConfigurationError:
    return ConfigurationError("No application has anybody to call.", hint="Set alerts.to in applications.yaml.")


def _test(arguments: Arguments, applications: Applications) -> list[dict[str, Any]]:
    from glacier_provider.core.alert import a_test_alert
    from glacier_provider.hooks.alerts import send_alert
    from glacier_provider.hooks.web import page_link
    from glacier_provider.pipelines.alerts import targets_of, tell

    told: list[dict[str, Any]] = []
    for one in _chosen(arguments, applications):
        alert = a_test_alert(one.name, datetime.now(UTC), page_link())
        with told_by_command(tell):
            answers = tell(targets_of(one), alert, seconds=one.alerts.timeout_seconds, send=send_alert)
        told += [{"application": one.name, "target": target.name, "error": why} for target, why in answers]
    if not told:
        raise _nobody()
    return told


def _show(arguments: Arguments, applications: Applications) -> list[dict[str, Any]]:
    from glacier_provider.core.condition import Event
    from glacier_provider.hooks.web import page_link
    from glacier_provider.pipelines.alerts import current_alerts, wrong_alert

    name = arguments.application or ""
    rows: list[dict[str, Any]] = [
        {**wrong_alert(wrong, applications.wrong[wrong], since=None, link=page_link()).as_dict(), "told_at": None}
        for wrong, options in applications.alerts_of_wrong.items()
        if name in ("", wrong) and Event.APPLICATION_WRONG.value in options.on
    ]
    for one in [] if name and name in applications.wrong else _chosen(arguments, applications):
        arguments.application = one.name
        with open_catalog(arguments) as catalog:
            found = current_alerts(one, catalog=catalog, link=page_link(), now=datetime.now(UTC))
            told = {(row["event"], row["state"]): row["told_at"] for row in catalog.alerts.listed()}
        rows += [{**alert.as_dict(), "told_at": told.get((alert.event.value, alert.state))} for alert in found]
    return rows


def _send(arguments: Arguments, applications: Applications) -> list[dict[str, Any]]:
    from glacier_provider.hooks.alerts import VariableOfServer, tell_everybody, unreachable_catalogs

    name = arguments.application or ""
    if name not in applications.wrong:
        called = [one.alerts for one in _chosen(arguments, applications)]
        if not any(one.to for one in (*called, *([] if name else applications.alerts_of_wrong.values()))):
            raise _nobody()

    @contextmanager
    def opened(application: Application) -> Iterator[Catalog]:
        arguments.application = application.name
        with open_catalog(arguments) as catalog:
            yield catalog

    with unreachable_catalogs(VariableOfServer()) as known:
        failures = tell_everybody(applications, opened, known, only=name)
        away = [one for one in applications if one in known and name in ("", one)]
    if away and not failures:
        raise CatalogUnavailable(f"The catalog of {some(away)} could not be asked: who is called for it was told.")
    return failures


#: What is said where there is no row.
_NOTHING = {"test": "", "show": "All is well: there is nothing to tell.", "send": "All is told."}
_ACTIONS = {"test": _test, "show": _show, "send": _send}
_TRIED: Columns = {
    "application": "application",
    "target": "target",
    "arrived": lambda row: "no" if row["error"] else "yes",
    "why not": lambda row: row["error"] or None,
}
_COLUMNS: dict[str, Columns] = {
    "test": _TRIED,
    "show": {
        "application": "application",
        "event": "event",
        "severity": "severity",
        "what": "told",
        "told (UTC)": lambda row: shown_time(row["told_at"]),
    },
    "send": _TRIED,
}
