"""`look_at_notifications`: archives that notifications name are looked at now. The store's answer decides."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.notification import Notification
from glacier_provider.core.status import RetrievalState, RetrievalStatus
from glacier_provider.core.store_uri import place_of
from glacier_provider.errors import GlacierProviderError
from glacier_provider.pipelines.restore.batch import open_jobs
from glacier_provider.pipelines.restore.wait import (
    Waiting,
    go_on_waiting,
    poll_retrievals,
    retrieval_of,
    take_reports,
)
from glacier_provider.pipelines.shared.parallel import in_parallel
from glacier_provider.pipelines.verify.content import Batches
from glacier_provider.stores.contract import RetrievalReport, Stores

#: Up to so many archives are looked at one by one; for more, all that are awaited are looked at in batches.
MOST_ONE_BY_ONE = 100


@dataclass(frozen=True, slots=True)
class NotificationsOutcome:
    """What became of notifications.

    `waiting` is None when none of them led to a look. `confirmed` notifications are about archives of this restore
    that it need not wait for: nobody has to receive them again. `unconfirmed` ones are about archives that it still
    waits for, whatever was said. All others are about something else.
    """

    waiting: Waiting | None = None
    confirmed: frozenset[Notification] = frozenset()
    unconfirmed: frozenset[Notification] = frozenset()


def look_at_notifications(
    application: Application,
    restore_id: int,
    notifications: Collection[Notification],
    *,
    catalog: Catalog,
    stores: Stores,
    batches: Batches | None = None,
) -> NotificationsOutcome:
    """Look in the stores at the archives that notifications name, as far as the restore waits for them.

    Notes what it finds as `poll_retrievals` does. Costs a request for each archive named, whatever the restore's
    size; notifications about anything else cost none.
    """
    about = _about(restore_id, notifications, catalog)
    news = {row["archive_id"]: row for notification, row in about.items() if _is_news(notification, row)}
    waiting = None
    if len(news) > MOST_ONE_BY_ONE:
        waiting = poll_retrievals(application, restore_id, catalog=catalog, stores=stores, batches=batches)
    elif any(_was_asked_for(row) for row in about.values()):
        reports = _ask(application, list(news.values()), stores)
        failed = take_reports(restore_id, reports, catalog=catalog, jobs=open_jobs(catalog))
        waiting = go_on_waiting(application, restore_id, failed, catalog=catalog, stores=stores, batches=batches)
    awaited = catalog.restores.still_requested([row["archive_id"] for row in about.values()]) if about else set()
    unconfirmed = frozenset(notification for notification, row in about.items() if row["archive_id"] in awaited)
    return NotificationsOutcome(waiting, frozenset(about) - unconfirmed, unconfirmed)


def _is_news(notification: Notification, row: Row) -> bool:
    """Return whether a notification may tell what the catalog does not know: the end of a wait, or of an offer."""
    if not _was_asked_for(row):
        return False
    return bool(row["state"] == RetrievalState.REQUESTED or notification.said == "expired")


def _was_asked_for(row: Row) -> bool:
    """Return False also while it is not known that the store took a request: whoever sends it will confirm it."""
    if row["state"] == RetrievalState.REQUESTED:
        return bool(row["status"] == RetrievalStatus.PENDING)
    return bool(row["state"] == RetrievalState.READY)


def _about(restore_id: int, notifications: Collection[Notification], catalog: Catalog) -> dict[Notification, Row]:
    """Return the archive of this restore that each notification is about; the other notifications are left out."""
    if not notifications:
        return {}
    rows = catalog.restores.named(restore_id, list({notification.key for notification in notifications}))
    found = {(place_of(row["store_uri"]), row["key"]): row for row in rows}
    return {
        notification: found[notification.place, notification.key]
        for notification in notifications
        if (notification.place, notification.key) in found
    }


def _ask(application: Application, rows: Sequence[Row], stores: Stores) -> list[tuple[Row, RetrievalReport]]:
    """Return what the stores say of each, if it matters: of an offer only that it ended."""
    found = []
    with closing(in_parallel(lambda row: _report_of(row, stores), rows, workers=application.connections)) as answers:
        for row, report in answers:
            if isinstance(report, GlacierProviderError):
                raise report
            offer_ended = report.status is RetrievalStatus.AVAILABLE and report.failure is None
            if row["state"] == RetrievalState.REQUESTED or offer_ended:
                found.append((row, report))
    return found


def _report_of(row: Row, stores: Stores) -> RetrievalReport:
    (report,) = stores(row["store_uri"]).retrieval_reports([retrieval_of(row)])
    return report
