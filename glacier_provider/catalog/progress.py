"""How far a restore is: counted when somebody looks for the first time, and kept from then on as it changes.

Of a million archives counting takes the catalog seconds. Triggers add what changes to what was counted, in the
transaction of each change (migration 0018). A restore into another place, one of few archives, and one that has not
begun are counted each time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from glacier_provider.catalog.database import Database, Row
from glacier_provider.catalog.queries import queries
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.errors import CatalogError

log = logging.getLogger(__name__)

#: Fewer archives are counted quickly enough.
KEPT_FROM = 5_000
#: So many differences are put together into a few.
_FOLDED_FROM = 500
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class RestoreProgress:
    """How far a restore is.

    `archives`: what it brings, each row with `source`, `status`, `archives` and `bytes`. `requests`: what is asked for
    and not offered yet, each with `tier`, `store_uri`, `archives`, `bytes`, `first_request` and `last_request`, to the
    minute. `last_ready`: when the last retrieval was offered.
    """

    archives: list[Row]
    requests: list[Row]
    last_ready: datetime | None


def progress_of_restore(database: Database, restore_id: int) -> RestoreProgress:
    """Return how far a restore is. Writes nothing where the session may not: then it counts each time."""
    rows = database.rows("kept_progress", restore_id=restore_id)
    if rows and all(row["archives"] >= 0 for row in rows):
        if sum(row["parts"] for row in rows) > _FOLDED_FROM:
            _fold(database, restore_id)
        return _progress(rows)
    try:
        return _progress(_counted_and_kept(database, restore_id, is_wrong=bool(rows)))
    except CatalogError as error:
        if error.retryable:
            raise
        log.debug("How far restore %d is was not kept. %s", restore_id, error)
        return _progress(database.rows("counted_progress", restore_id=restore_id))


def _counted_and_kept(database: Database, restore_id: int, *, is_wrong: bool) -> list[Row]:
    """Count, and keep what was counted. Whoever changes something has to know of the look before that: three
    transactions.
    """
    with database.transaction():
        database.run("may_write")
        if is_wrong:
            database.run("forget_progress", restore_id=restore_id)
        database.run("look_at_restore", restore_id=restore_id, least=KEPT_FROM)
    with database.transaction():
        database.run("may_write")
        database.run("looked_at_since", restore_id=restore_id)
    with database.transaction():
        database.run("may_write")
        return _counted_to_keep(database, restore_id)


def _counted_to_keep(database: Database, restore_id: int) -> list[Row]:
    """Count, and keep it if everybody who is at work knows of the look; return what was counted."""
    counting = {"counted_progress": queries()["counted_progress"]}
    return database.composed_rows("keep_progress", counting, restore_id=restore_id)


def _fold(database: Database, restore_id: int) -> None:
    try:
        with database.transaction():
            database.run("may_write")
            if database.rows("still_looked_at", restore_id=restore_id):
                database.run("fold_progress", restore_id=restore_id)
    except CatalogError as error:
        log.debug("The figures of restore %d were not put together. %s", restore_id, error)


def _progress(rows: Sequence[Row]) -> RestoreProgress:
    requests: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row["tier"] is None or not row["archives"]:
            continue
        known = requests.setdefault(
            (row["tier"], row["store_uri"]),
            {"archives": 0, "bytes": 0, "first_request": row["asked"], "last_request": row["asked"] + _MINUTE},
        )
        known["archives"] += row["archives"]
        known["bytes"] += row["bytes"]
        known["first_request"] = min(known["first_request"], row["asked"])
        known["last_request"] = max(known["last_request"], row["asked"] + _MINUTE)
    return RestoreProgress(
        archives=[_told(row) for row in rows if row["source"] and row["archives"]],
        requests=[{"tier": tier, "store_uri": uri, **row} for (tier, uri), row in sorted(requests.items())],
        last_ready=max((row["last_ready"] for row in rows if row["last_ready"]), default=None),
    )


def _told(row: Row) -> Row:
    """Return what is told of archives of one source and status. Nothing has to be asked for where there are no bytes:
    empty files are ready, as the plan has them.
    """
    is_empty = row["status"] == RetrievalStatus.AVAILABLE and not row["bytes"]
    status = RetrievalStatus.READY if is_empty else row["status"]
    return {"source": row["source"], "status": status, "archives": row["archives"], "bytes": row["bytes"]}
