"""Figures of tasks, sent to wherever Airflow sends its own: StatsD or OpenTelemetry, by `[metrics]` of its settings.

https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/logging-monitoring/metrics.html
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

log = logging.getLogger(__name__)


def tell_figures(application: str, task_id: str, figures: object, *, adds: bool) -> None:
    """Send the numbers that a task returned, each under two names, as Airflow does with its own.

    `glacier.<application>.<task>.<figure>` is for what knows no tags, `glacier.<task>.<figure>`, with the tag
    `application`, for what does. `adds`: of several tasks that do a share each, as counters. Nothing comes of an error.
    """
    try:
        from airflow.sdk.observability.stats import Stats

        for name, value in _numbers(figures):
            if adds:
                Stats.incr(f"glacier.{application}.{task_id}.{name}", int(value))
                Stats.incr(f"glacier.{task_id}.{name}", int(value), tags={"application": application})
            else:
                Stats.gauge(f"glacier.{application}.{task_id}.{name}", value)
                Stats.gauge(f"glacier.{task_id}.{name}", value, tags={"application": application})
    except Exception as error:  # noqa: BLE001 - what was done is done, whoever hears of it
        log.warning("The figures of %s were not sent (%s).", task_id, type(error).__name__)


def _numbers(figures: object) -> Iterator[tuple[str, Any]]:
    if isinstance(figures, Mapping):
        for name, value in figures.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and not str(name).endswith("_id"):
                yield str(name), value
