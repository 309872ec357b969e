"""A monitor outside hears that a backup began and how it ended; when it hears nothing, it calls somebody.

In the manner of healthchecks.io (https://healthchecks.io/docs/http_api/), which others share: a POST to the URL itself
for success, with ``/start`` and ``/fail`` behind it for the rest, and ``rid`` for the run that a start and an end
belong to, from which the monitor knows durations.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from glacier_provider.core.text import in_words
from glacier_provider.errors import GlacierProviderError

if TYPE_CHECKING:
    from glacier_provider.applications import Application
    from glacier_provider.catalog.backups import Run

log = logging.getLogger(__name__)

#: For all of a ping: whoever does not answer in time costs a backup so much, three times a day, and no more.
PING_SECONDS = 10.0
_LINES, _BYTES = 20, 8000


def ping_started(application: Application, run: Run) -> None:
    """Say that a backup began."""
    _ping(application, run, "/start", "")


def ping_succeeded(application: Application, run: Run, figures: Mapping[str, Any]) -> None:
    """Say that a backup is complete, with its figures: a line each."""
    _ping(application, run, "", "\n".join(f"{name}: {in_words(value)}" for name, value in figures.items()))


def ping_failed(application: Application, run: Run, reason: str) -> None:
    """Say that a backup failed, with the first lines of the reason."""
    _ping(application, run, "/fail", "\n".join(reason.splitlines()[:_LINES]))


def ping_url(url: str, what: str, run: Run) -> str:
    """Return the URL of a ping.

    >>> from glacier_provider.catalog.backups import Run
    >>> ping_url("https://hc-ping.com/2c7ab7d4", "/start", Run("a", "b"))
    'https://hc-ping.com/2c7ab7d4/start?rid=41273022-129f-5163-987d-6f7a5f9e2fc8'
    """
    parts = urlsplit(url)
    rid = uuid.uuid5(uuid.NAMESPACE_URL, f"{run.dag_id} {run.dag_run_id}")
    query = "&".join(filter(None, (parts.query, f"rid={rid}")))
    return urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}{what}", query, ""))


def _ping(application: Application, run: Run, what: str, body: str) -> None:
    """Ping if the application has a monitor; whatever comes of it is a line in the log and no more."""
    if application.ping is None:
        return
    from glacier_provider.pipelines.shared.parallel import in_time

    try:
        in_time(lambda: _post(application, what, run, body), PING_SECONDS)
    except GlacierProviderError as error:
        log.warning("The monitor of %s was not told: %s", application.name, error)
    except Exception as error:  # noqa: BLE001 - a backup is not lost for a ping; the text may quote the URL, a secret
        log.warning("The monitor of %s was not told (%s).", application.name, type(error).__name__)


def _post(application: Application, what: str, run: Run, body: str) -> None:
    from glacier_provider.hooks.alerts import url_of
    from glacier_provider.hooks.web import post

    assert application.ping is not None
    content = body.encode(errors="replace")[:_BYTES]
    answer = post(ping_url(url_of(application.ping), what, run), content=content, seconds=PING_SECONDS)
    if answer.has_redirect_location:
        # Followed, a POST becomes a GET without its body; and a URL is a secret, which is not carried to other hosts.
        log.warning(
            "The monitor of %s was not told: it answered with %d, which sends elsewhere. Write the address where it is "
            "now (https://?) into `ping`.",
            *(application.name, answer.status_code),
        )
    elif not answer.is_success:
        log.warning("The monitor of %s answered a ping with %d.", application.name, answer.status_code)
