"""The task of the DAG `glacier_alerts`: everybody is told what they were not told yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator

from glacier_provider.applications import load_applications
from glacier_provider.errors import GlacierProviderError, NotTold
from glacier_provider.hooks.resources import Resources

if TYPE_CHECKING:
    from airflow.sdk import Context


class TellAlertsOperator(BaseOperator):
    """Tell what is wrong with each application to its targets, each of them once; fail when one could not be told.

    What is wrong with one application or target keeps no other from being told.
    """

    def execute(self, context: Context) -> None:
        from glacier_provider.hooks.alerts import send_alert, unreachable_catalogs
        from glacier_provider.hooks.web import page_link
        from glacier_provider.pipelines import alerts

        link, failures = page_link(), list[alerts.Failure]()
        with unreachable_catalogs() as unreachable:
            for application in load_applications().values():
                if not application.alerts.to:
                    continue
                try:
                    with Resources(application) as resources:
                        failures += alerts.tell_alerts(
                            application, catalog=resources.catalog, send=send_alert, link=link
                        )
                except GlacierProviderError as error:
                    self.log.warning("%s: %s", application.name, error)
                    failures += alerts.tell_unreachable(
                        application, error, known=unreachable, send=send_alert, link=link
                    )
                else:
                    unreachable.pop(application.name, None)
        for failure in failures:
            self.log.error("%(target)s was not told of %(event)s of %(application)s: %(error)s", failure)
        if failures:
            raise NotTold(f"Not told: {failures[0]['target']} ({failures[0]['error']}).")
