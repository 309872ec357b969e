"""Looks at the store, a few requests a day: is it the one of yesterday, has it what it should, can it be read back.

Stores that tell no more than a daily inventory, as vaults do, are looked at by `reconcile` alone. See docs/adr/0027.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.archive import StoredArchive
from glacier_provider.core.text import NAMED, counted, some
from glacier_provider.errors import ArchiveCold, ArchiveCorrupt, ArchiveMissing, StoreDenied
from glacier_provider.pipelines.backup.manifest import write_lost_manifests
from glacier_provider.pipelines.costs import LOOKED_AT, pages_a_look
from glacier_provider.pipelines.shared.listing import compared_parts
from glacier_provider.stores.contract import ArchiveStore, IsWatched

log = logging.getLogger(__name__)

#: What was written just now may not be in a listing that was on its way.
MARGIN = timedelta(minutes=5)
NO_LIFECYCLE = "Look for a lifecycle rule of the bucket that moves objects, and have it leave this prefix alone."


def check_store(application: Application, backup_id: int, *, catalog: Catalog, store: ArchiveStore) -> None:
    """Look whether the store is the one of yesterday, and through a share of what it holds; note what is lost.

    All of it is looked through within `check_days` days; at once when the store is another, was emptied, or lacks what
    the last backup brought there: it may be an older copy of what it was, marker and all.
    """
    if not isinstance(store, IsWatched):
        return
    known = catalog.checks.of_store(store.uri)
    same = _is_same_store(application, known, catalog=catalog, store=store)
    stored = sum(one.amount.archives for one in catalog.pages.totals([application.name])[application.name])
    share = pages_a_look(application, stored)
    whole = not same or _lacks_newest(application, catalog=catalog, store=store)
    after, pages = ("", None) if whole else (known["position"], share)
    as_of = datetime.now(UTC) - MARGIN
    lost, moved, moved_count = [], [], 0
    parts = compared_parts(application, store, catalog=catalog, as_of=as_of, after=after, pages=pages, uris=[store.uri])
    try:
        for part in parts:
            missing = [row["id"] for row in part.differing]
            lost += catalog.lost.note(missing, f"The store did not list it on {as_of:%Y-%m-%d}.")
            if of_other_class := part.others.get("class"):
                moved += of_other_class["names"]
                moved_count += of_other_class["count"]
    except StoreDenied as error:
        log.warning("What %s holds cannot be looked at: %s", store.uri, error)
    write_lost_manifests(application, catalog=catalog, store=store)
    names = [row["filename"] for row in lost]
    if lost:
        log.error(
            "%s of %s are not in %s any more: %s. Files that are still in their directory are archived anew.",
            counted(len(lost), "archive"),
            application.name,
            store.uri,
            some(names),
        )
    if lost or not same:
        catalog.backups.add_to_report(
            backup_id, lost_found_count=len(lost), lost_found=names[:NAMED], store_changed=None if same else store.uri
        )
    if moved_count:
        log.warning(
            "%s of %s lie in another storage class of %s than they were put into: %s. %s",
            counted(moved_count, "archive"),
            application.name,
            store.uri,
            some(moved),
            NO_LIFECYCLE,
        )
        catalog.backups.add_to_report(backup_id, other_class_count=moved_count, other_class=moved[:NAMED])


def _is_same_store(application: Application, known: dict[str, object], *, catalog: Catalog, store: IsWatched) -> bool:
    """Whether the store holds the marker that this catalog left; it is left where there is none yet.

    A marker that these credentials may not read says nothing; what the store lists is looked at all the same.
    """
    uri = getattr(store, "uri", "")
    try:
        data = store.marker(application.name)
    except StoreDenied as error:
        log.warning("It cannot be told whether %s is the store of yesterday: %s", uri, error)
        return True
    except ArchiveCold as error:
        log.warning("It cannot be told whether %s is the store of yesterday: %s %s", uri, error.message, NO_LIFECYCLE)
        _leave_marker(application, known, catalog=catalog, store=store)
        return True
    if data is not None and _mark_of(data) == known["mark"]:
        if not known["marked"]:
            catalog.checks.marked(uri)
        return True
    same = not known["marked"]
    if not same:
        found = (
            "has no marker of this catalog any more: it is empty, or another one"
            if data is None
            else ("holds the marker of another catalog: give each catalog a prefix of its own")
        )
        log.error("The store %s %s. All of it is looked through.", uri, found)
    _leave_marker(application, known, catalog=catalog, store=store)
    return same


def _lacks_newest(application: Application, *, catalog: Catalog, store: ArchiveStore) -> bool:
    """Whether the dump, the manifest or the newest file of the last complete backup is not there."""
    newest = catalog.backups.newest_complete()
    rows = [] if newest is None else catalog.checks.newest(newest, store.uri, files=1)
    try:
        found = {one.key for one in store.described([row["key"] for row in rows])}
    except StoreDenied:
        return False
    missing = [row["filename"] for row in rows if row["key"] not in found]
    if missing:
        log.error("%s lacks %s of %s. All of it is looked through.", store.uri, some(missing), application.name)
    return bool(missing)


def _leave_marker(application: Application, known: Mapping[str, object], *, catalog: Catalog, store: IsWatched) -> None:
    told = {"catalog": known["mark"], "application": application.name, "left_at": datetime.now(UTC).isoformat()}
    store.leave_marker(application.name, json.dumps(told).encode())
    catalog.checks.marked(getattr(store, "uri", ""))


def _mark_of(data: bytes) -> str | None:
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return None
    mark = told.get("catalog") if isinstance(told, dict) else None
    return mark if isinstance(mark, str) else None


def look_back(backup_id: int, *, catalog: Catalog, store: ArchiveStore) -> None:
    """Ask for some of what this backup wrote, as a restore will; warn when nobody with these credentials can read it.

    Raise ArchiveMissing when something is not there that the store confirmed: it is noted as lost.
    """
    if not isinstance(store, IsWatched):
        return
    unreadable = ""
    for row in catalog.checks.newest(backup_id, store.uri, files=LOOKED_AT):
        try:
            store.look_back(StoredArchive(row["key"], row["stored_size"], None, row["checksum"]))
        except StoreDenied as error:
            unreadable = unreadable or error.message
        except (ArchiveMissing, ArchiveCorrupt) as error:
            catalog.lost.note([row["id"]], f"It was looked at after it was written: {error.message}")
            again = "dump_database" if row["kind"] == "database" else "scan_files"
            raise ArchiveMissing(
                f"The store confirmed {row['filename']}, and does not give it back: {error.message}",
                hint=f"Look for who deletes or changes objects there, then clear the task {again}: it is sent again.",
            ) from error
    if unreadable:
        log.warning(
            "NOBODY WITH THESE CREDENTIALS CAN READ THIS BACKUP BACK: %s Grant s3:GetObject, or restore with others.",
            unreadable,
        )
    catalog.backups.add_to_report(backup_id, read_back_denied=unreadable or None)
