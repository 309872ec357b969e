"""The address of the page in Airflow."""

from __future__ import annotations

_PAGE = "plugin/glacier-backups"


def page_link() -> str:
    """Return the address of the page in Airflow, "" where that is not known."""
    from airflow.sdk import conf

    base = str(conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return f"{base}/{_PAGE}" if base else ""


def page_address(path: str) -> str:
    """Return the address of a place on the page; where Airflow's own is not known, from the root of its server."""
    return f"{page_link() or f'/{_PAGE}'}/{path}"
