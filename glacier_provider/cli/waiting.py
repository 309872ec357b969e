"""Looks at retrievals until they can be read: where a person waits, and no sensor does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from glacier_provider.errors import GlacierProviderError

if TYPE_CHECKING:
    from glacier_provider.pipelines.restore import Waiting

log = logging.getLogger(__name__)

#: A store or catalog that gave no answer for so long ends the wait.
AWAY_SECONDS = 3600.0


def looks_until_done(look: Callable[[], Waiting], pauses: Iterable[float]) -> Iterator[Waiting]:
    """Yield what each look finds, the last one when nothing is waited for; `pauses` are the seconds between them.

    A store or catalog that is away meanwhile is waited for as well, for an hour: what was asked for is paid. Raise what
    no retry can help, and what lasts for longer.
    """
    answered_at = time.monotonic()
    for seconds in pauses:
        try:
            waiting = look()
        except GlacierProviderError as error:
            if not error.retryable or time.monotonic() - answered_at > AWAY_SECONDS:
                raise
            log.warning("%s", error)
        else:
            answered_at = time.monotonic()
            yield waiting
            if waiting.done:
                return
        time.sleep(seconds)
