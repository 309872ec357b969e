"""Retrieved copies end by the clock, and nobody tells: whoever reads where archives are has that noted first."""

from __future__ import annotations

import logging

from glacier_provider.catalog.database import Database
from glacier_provider.errors import CatalogError

log = logging.getLogger(__name__)

#: What was asked for comes within so many days, by whichever tier and way, and is on offer for its own days then.
COMES_WITHIN_DAYS = 7


def expire_copies(database: Database, *, restore_id: int | None = None, margin_seconds: float = 0.0) -> int:
    """Note copies whose time is over, or ends within the margin, as cold; return how many were thought readable.

    Those of one restore, or all. One look into a small index where there are none. A role that may not write sees them
    as they were; who restores notes it in any case.
    """
    try:
        with database.transaction():
            database.run("may_write")
            return len(database.rows("expire_copies", restore_id=restore_id, margin=margin_seconds))
    except CatalogError as error:
        if error.retryable:
            raise
        log.debug("Expired copies were not noted. %s", error)
        return 0


def forget_old_requests(database: Database, application_id: int) -> None:
    """Note what was asked for so long ago that its copy is over as cold: nobody waited for it, and it is to be paid.

    Goes through all that an application has asked for and not waited for: whoever plans does it, not whoever looks.
    """
    try:
        with database.transaction():
            database.run("may_write")
            database.run("forget_old_requests", application_id=application_id, latest=COMES_WITHIN_DAYS)
    except CatalogError as error:
        if error.retryable:
            raise
        log.debug("Old requests were not noted. %s", error)
