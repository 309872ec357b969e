"""The Airflow plugin: a page in the navigation, a tab on DAG runs, and the API behind both.

Every Airflow process imports this module; only the API server asks for the app, and loads FastAPI for it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

#: Where Airflow mounts the app. Addresses of icons are relative: they hold below a sub-path as well.
PREFIX = "/glacier"


def bundle_url(base_url: str) -> str:
    """Return the address of the page's module, below the path of Airflow's own address.

    From the root: Airflow 3.2 imports it as it is written, and a relative one names no module there.
    """
    return f"{urlsplit(base_url).path.rstrip('/')}{PREFIX}/static/page.js"


_BUNDLE = bundle_url(conf.get("api", "base_url", fallback="") or "")
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
