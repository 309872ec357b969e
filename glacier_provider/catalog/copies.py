"""Retrieved copies end by the clock, and nobody tells: whoever reads where archives are has that noted first."""

from __future__ import annotations

import logging

from glacier_provider.catalog.database import Database
from glacier_provider.errors import CatalogError

log = logging.getLogger(__name__)


def expire_copies(database: Database) -> None:
    """Note copies whose time is over as cold. One look into a small index where there are none.

    Who may only read the catalog sees them as they were; who restores notes it in any case.
    """
    try:
        database.run("expire_copies")
    except CatalogError as error:
        if error.retryable:
            raise
        log.debug("Expired copies were not noted. %s", error)
