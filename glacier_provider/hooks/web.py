"""The web: the address of the page in Airflow, and what is sent to others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

_PAGE = "plugin/glacier-backups"


def page_link() -> str:
    """Return the address of the page in Airflow, "" where that is not known."""
    from airflow.sdk import conf

    base = str(conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return f"{base}/{_PAGE}" if base else ""


def page_address(path: str) -> str:
    """Return the address of a place on the page; where Airflow's own is not known, from the root of its server."""
    return f"{page_link() or f'/{_PAGE}'}/{path}"


def post(url: str, *, seconds: float, **what: Any) -> httpx.Response:
    """Send a POST and return the answer without its body: that is of no interest, and may be long or slow.

    `seconds` are for each step of it. Raise httpx's errors, whose texts may quote the URL.
    """
    import httpx

    with httpx.stream("POST", url, timeout=seconds, **what) as answer:
        return answer
