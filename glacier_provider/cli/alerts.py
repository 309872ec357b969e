"""``glacier-backup alerts``: do alerts arrive, what is there to tell, and tell it without Airflow's scheduler."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from glacier_provider.cli.arguments import Arguments, add_command, add_named, right_applications
from glacier_provider.cli.connections import airflow_at_hand, open_catalog
from glacier_provider.cli.output import Columns, print_rows, shown_time
from glacier_provider.errors import ConfigurationError, NotTold

if TYPE_CHECKING:
    from glacier_provider.applications import Application


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
    chosen = [applications.named(arguments.application)] if arguments.application else list(applications.values())
    chosen = [one for one in chosen if one.alerts.to or arguments.action == "show"]
    if not chosen:
        raise ConfigurationError("No application has anybody to call.", hint="Set alerts.to in applications.yaml.")
    with airflow_at_hand():
        rows = _ACTIONS[arguments.action](arguments, chosen)
    print_rows(arguments, rows, _COLUMNS[arguments.action])
    if failed := [f"{row['target']} ({row['error']})" for row in rows if row.get("error")]:
        raise NotTold(f"Not told: {'; '.join(failed)}.", hint="Mend what is said of each, and try again.")


def _test(_: Arguments, applications: list[Application]) -> list[dict[str, Any]]:
    from glacier_provider.core.alert import a_test_alert
    from glacier_provider.hooks.alerts import send_alert
    from glacier_provider.hooks.web import page_link
    from glacier_provider.pipelines.alerts import targets_of, tell

    told: list[dict[str, Any]] = []
    for one in applications:
        alert = a_test_alert(one.name, datetime.now(UTC), page_link())
        answers = tell(targets_of(one), alert, seconds=one.alerts.timeout_seconds, send=send_alert)
        told += [{"application": one.name, "target": target.name, "error": why} for target, why in answers]
    return told


def _show(arguments: Arguments, applications: list[Application]) -> list[dict[str, Any]]:
    from glacier_provider.hooks.web import page_link
    from glacier_provider.pipelines.alerts import current_alerts

    rows: list[dict[str, Any]] = []
    for one in applications:
        arguments.application = one.name
        with open_catalog(arguments) as catalog:
            found = current_alerts(one, catalog=catalog, link=page_link(), now=datetime.now(UTC))
            told = {(row["event"], row["state"]): row["told_at"] for row in catalog.alerts.listed()}
        rows += [{**alert.as_dict(), "told_at": told.get((alert.event.value, alert.state))} for alert in found]
    return rows


def _send(arguments: Arguments, applications: list[Application]) -> list[dict[str, Any]]:
    from glacier_provider.hooks.alerts import send_alert
    from glacier_provider.hooks.web import page_link
    from glacier_provider.pipelines.alerts import tell_alerts

    failures: list[dict[str, Any]] = []
    for one in applications:
        arguments.application = one.name
        with open_catalog(arguments) as catalog:
            failures += tell_alerts(one, catalog=catalog, send=send_alert, link=page_link())
    return failures


_ACTIONS = {"test": _test, "show": _show, "send": _send}
_TRIED: Columns = {
    "application": "application",
    "target": "target",
    "arrived": lambda row: "no" if row["error"] else "yes",
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
