"""Retrieved copies end by the clock, and nobody tells: whoever reads where archives are has that noted first."""

from __future__ import annotations

import logging
from typing import Any

from glacier_provider.catalog.database import Database, Row
from glacier_provider.errors import CatalogError

log = logging.getLogger(__name__)

#: What was asked for comes within so many days, by whichever tier and way, and is on offer for its own days then.
COMES_WITHIN_DAYS = 7


def expire_copies(database: Database, *, restore_id: int | None = None, margin_seconds: float = 0.0) -> int:
    """Note copies whose time is over, or ends within the margin, as cold; return how many were thought readable.

    Those of one restore, or all. One look into a small index where there are none. A role that may not write sees them
    as they were; who restores notes it in any case.
    """
    return len(_noted(database, "expire_copies", restore_id=restore_id, margin=margin_seconds))


def forget_what_is_over(database: Database, application_id: int) -> None:
    """Note as cold what can no longer be read, and what was asked for so long ago that its copy is over: nobody waited
    for it, and it is to be paid.

    Goes through all that an application has asked for and not waited for: whoever plans does it, not whoever looks.
    """
    expire_copies(database)
    _noted(database, "forget_old_requests", application_id=application_id, latest=COMES_WITHIN_DAYS)


def _noted(database: Database, name: str, **parameters: Any) -> list[Row]:
    """Run a statement that notes what is over, where the role may write; return its rows."""
    try:
        with database.transaction():
            database.run("may_write")
            return database.rows(name, **parameters)
    except CatalogError as error:
        if error.retryable:
            raise
        log.debug("What is over was not noted. %s", error)
        return []
