"""`hear_notices`: what messages name is looked at now. A notice is a hint: the store's answer decides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.notification import Notice
from glacier_provider.core.status import RetrievalState, RetrievalStatus
from glacier_provider.errors import GlacierProviderError
from glacier_provider.pipelines.restore.request import Waiting, poll_retrievals, retrieval_of, settle, take_reports
from glacier_provider.pipelines.restore.step import Stores
from glacier_provider.pipelines.shared.parallel import in_parallel
from glacier_provider.stores.contract import RetrievalReport
from glacier_provider.stores.uri import place_of

#: Up to so many archives are asked for one by one; for more, all that are awaited are looked at in batches.
FEW = 100


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of notices.

    `waiting` is None when none of them led to a look. `settled` notices are about archives of this restore that it
    need not wait for: nobody has to hear them again. `doubtful` ones are about archives that it still waits for,
    whatever was said. All others are about something else.
    """

    waiting: Waiting | None = None
    settled: frozenset[Notice] = frozenset()
    doubtful: frozenset[Notice] = frozenset()


def hear_notices(
    application: Application, restore_id: int, notices: Collection[Notice], *, catalog: Catalog, stores: Stores
) -> Heard:
    """Look in the stores at the archives that notices name, as far as the restore waits for them.

    Notes what it finds as `poll_retrievals` does. Costs a request for each archive named, whatever the restore's
    size; notices about anything else cost none.
    """
    about = _about(restore_id, notices, catalog)
    news = {row["archive_id"]: row for notice, row in about.items() if _is_news(notice, row)}
    waiting = None
    if len(news) > FEW:
        waiting = poll_retrievals(application, restore_id, catalog=catalog, stores=stores)
    elif any(_was_asked_for(row) for row in about.values()):
        failed = take_reports(_ask(application, list(news.values()), stores), catalog=catalog)
        waiting = settle(application, restore_id, failed, catalog=catalog, stores=stores)
    awaited = catalog.restores.still_requested([row["archive_id"] for row in about.values()]) if about else set()
    doubtful = frozenset(notice for notice, row in about.items() if row["archive_id"] in awaited)
    return Heard(waiting, frozenset(about) - doubtful, doubtful)


def _is_news(notice: Notice, row: Row) -> bool:
    """Return whether a notice may tell what the catalog does not know: the end of a wait, or of an offer."""
    if not _was_asked_for(row):
        return False
    return bool(row["state"] == RetrievalState.REQUESTED or notice.said == "expired")


def _was_asked_for(row: Row) -> bool:
    """Return False also while it is not known that the store took a request: whoever sends it will confirm it."""
    if row["state"] == RetrievalState.REQUESTED:
        return bool(row["status"] == RetrievalStatus.PENDING)
    return bool(row["state"] == RetrievalState.READY)


def _about(restore_id: int, notices: Collection[Notice], catalog: Catalog) -> dict[Notice, Row]:
    """Return the archive of this restore that each notice is about; the other notices are left out."""
    if not notices:
        return {}
    rows = catalog.restores.named(restore_id, list({notice.key for notice in notices}))
    found = {(place_of(row["store_uri"]), row["key"]): row for row in rows}
    return {notice: found[notice.place, notice.key] for notice in notices if (notice.place, notice.key) in found}


def _ask(application: Application, rows: Sequence[Row], stores: Stores) -> list[tuple[Row, RetrievalReport]]:
    """Return what the stores say of each, if it matters: of an offer only that it ended."""
    found = []
    with closing(in_parallel(lambda row: _report(row, stores), rows, workers=application.connections)) as answers:
        for row, report in answers:
            if isinstance(report, GlacierProviderError):
                raise report
            offer_ended = report.status is RetrievalStatus.AVAILABLE and report.failure is None
            if row["state"] == RetrievalState.REQUESTED or offer_ended:
                found.append((row, report))
    return found


def _report(row: Row, stores: Stores) -> RetrievalReport:
    (report,) = stores(row["store_uri"]).retrieval_reports([retrieval_of(row)])
    return report
