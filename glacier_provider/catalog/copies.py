"""Retrieved copies end by the clock, and nobody tells: whoever reads where archives are has that noted first."""

from __future__ import annotations

import logging

from glacier_provider.catalog.database import Database
from glacier_provider.errors import CatalogError

log = logging.getLogger(__name__)


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
