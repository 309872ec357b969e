"""The Airflow plugin: a page in the navigation, a tab on DAG runs, and the API behind both.

Every Airflow process imports this module; only the API server asks for the app, and loads FastAPI for it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

#: Where Airflow mounts the app. Addresses are relative: they hold below a sub-path as well.
PREFIX = "/glacier"
_BUNDLE = "glacier/static/page.js"
_ICONS = {"icon": "glacier/static/icon.svg", "icon_dark_mode": "glacier/static/icon-dark.svg"}


class GlacierPlugin(AirflowPlugin):
    """Glacier backups in Airflow's UI. The names of `react_apps` are those that ``static/page.js`` registers."""

    name = "glacier"
    react_apps = [  # noqa: RUF012 - Airflow declares it so
        {
            "name": "Backups",  # of the page "Glacier backups"; the navigation cuts longer names
            "bundle_url": _BUNDLE,
            "destination": "nav",
            "url_route": "glacier-backups",
            "nav_top_level": True,
            **_ICONS,
        },
        {
            "name": "Glacier",
            "bundle_url": _BUNDLE,
            "destination": "dag_run",
            "url_route": "glacier-run",
            **_ICONS,
        },
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        from glacier_provider.ui.web import create_app

        return [{"app": create_app(), "url_prefix": PREFIX, "name": "Glacier backups"}]
