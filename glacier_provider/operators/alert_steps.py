"""The task of the DAG `glacier_alerts`: everybody is told what they were not told yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator

from glacier_provider.applications import load_applications
from glacier_provider.errors import NotTold

if TYPE_CHECKING:
    from airflow.sdk import Context


class TellAlertsOperator(BaseOperator):
    """Tell what is wrong with each application to its targets, each of them once; fail when one could not be told.

    What is wrong with one application or target keeps no other from being told; that an entry of applications.yaml is
    wrong is told, too.
    """

    def execute(self, context: Context) -> None:
        from glacier_provider.hooks.alerts import catalog_of, tell_everybody, unreachable_catalogs

        with unreachable_catalogs() as known:
            failures = tell_everybody(load_applications(), catalog_of, known)
        for failure in failures:
            self.log.error("%(target)s was not told of %(event)s of %(application)s: %(error)s", failure)
        if failures:
            raise NotTold(f"Not told: {failures[0]['target']} ({failures[0]['error']}).")
