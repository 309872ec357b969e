"""Thin operators: parse, open, one call of a pipeline, a small answer."""

from __future__ import annotations

import re

from airflow import __version__ as _AIRFLOW

from glacier_provider.errors import ConfigurationError

_OLDEST = (3, 2)


def require_airflow(version: str) -> None:
    """Raise ConfigurationError for an Airflow that is too old, before an import of what it lacks fails."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < _OLDEST:
        raise ConfigurationError(
            f"glacier_provider needs Apache Airflow 3.2 or newer, and this is {version}: before, a task that waits "
            "deferred can end the triggerer of everybody.",
            hint="Upgrade Airflow.",
        )


require_airflow(_AIRFLOW)
