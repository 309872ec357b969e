"""A deadline of Airflow's own on each backup run: who is to be called of a late backup hears of it by the triggerer.

Airflow's scheduler looks at deadlines, and its triggerer calls the notifier: that works where no worker takes tasks any
more, and `glacier_alerts`, which is one, therefore tells nothing either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference  # type: ignore[attr-defined]

from glacier_provider.applications.schedule import Schedule
from glacier_provider.core.condition import Event
from glacier_provider.notifications.alerts import GlacierNotifier

if TYPE_CHECKING:
    from glacier_provider.applications import Application


def backup_deadline(application: Application) -> DeadlineAlert | None:
    """Return when a backup run that was begun has to be over; None where nobody is to be called of a late one.

    It counts from when the run was queued: a run that a person triggers has no logical date. How long it is may not
    depend on when the DAG is parsed: another would be another version of the DAG.
    """
    alerts = application.alerts
    if not alerts.to or Event.BACKUP_LATE.value not in alerts.on:
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=Schedule(application.schedule, application.timezone).longest_grace(application.first_day),
        callback=AsyncCallback(GlacierNotifier, kwargs={"application": application.name}),
    )
