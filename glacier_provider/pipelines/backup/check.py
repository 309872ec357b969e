"""Looks at the store, a few requests a day: is it the one of yesterday, has it what it should, can it be read back.

Stores that tell no more than a daily inventory, as vaults do, are looked at by `reconcile` alone. See docs/adr/0027.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.checks import Compared
from glacier_provider.catalog.database import Row
from glacier_provider.catalog.pages import Holding
from glacier_provider.core.archive import StoredArchive
from glacier_provider.core.text import NAMED, counted, some
from glacier_provider.errors import (
    ArchiveCold,
    ArchiveCorrupt,
    ArchiveMissing,
    ConfigurationError,
    StoreDenied,
    StoreError,
    StoreMissing,
)
from glacier_provider.pipelines.backup.manifest import write_lost_manifests
from glacier_provider.pipelines.costs import LOOKED_AT, pages_a_look
from glacier_provider.pipelines.shared.listing import compared_parts, is_same_place, same_place
from glacier_provider.stores.contract import ArchiveStore, IsWatched, Stores

log = logging.getLogger(__name__)

#: What was written just now may not be in a listing that was on its way.
MARGIN = timedelta(minutes=5)
NO_LIFECYCLE = "Look for a lifecycle rule of the bucket that moves objects, and have it leave this prefix alone."


def check_store(
    application: Application, backup_id: int, *, catalog: Catalog, store: ArchiveStore, stores: Stores | None = None
) -> None:
    """Look whether the store is the one of yesterday, and through a share of what it holds; note what is lost.

    All of it is looked through within `check_days` days; at once when the store is another, was emptied, or lacks what
    the last backup brought there: it may be an older copy of what it was, marker and all. So are, with `stores`, the
    places where archives went before: backups need them as long as their files are there.
    """
    held = catalog.pages.totals([application.name])[application.name]
    lost, changed = _look_through(application, backup_id, held, catalog=catalog, store=store)
    if stores is not None:
        lost += _lost_in_others(application, backup_id, held, catalog=catalog, stores=stores)
    names = [row["filename"] for row in lost]
    if lost or changed:
        catalog.backups.add_to_report(
            backup_id,
            lost_found_count=len(lost),
            lost_found=names[:NAMED],
            store_changed=store.uri if changed else None,
        )


def _look_through(
    application: Application, backup_id: int, held: Sequence[Holding], *, catalog: Catalog, store: ArchiveStore
) -> tuple[list[Row], bool]:
    """Look through a share of the application's store, or all of it; return what is lost, and whether it is another."""
    if not isinstance(store, IsWatched):
        return [], False
    uris = same_place(store.uri, [one.store_uri for one in held])
    known = catalog.checks.of_store(store.uri, uris)
    same = _is_same_store(application, known, catalog=catalog, store=store)
    share = pages_a_look(application, sum(one.amount.archives for one in held))
    lacks, lost = _lost_of_newest(application, uris, catalog=catalog, store=store)
    after, pages = ("", None) if lacks or not same else (known["position"], share)
    as_of = datetime.now(UTC) - MARGIN
    moved, moved_count = [], 0
    parts = compared_parts(application, store, catalog=catalog, as_of=as_of, after=after, pages=pages, uris=uris)
    try:
        for part in parts:
            lost += _noted(part, as_of, catalog)
            if of_other_class := part.others.get("class"):
                moved += of_other_class["names"]
                moved_count += of_other_class["count"]
    except StoreDenied as error:
        log.warning("What %s holds cannot be looked at: %s", store.uri, error)
    write_lost_manifests(application, uris, catalog=catalog, store=store)
    _log_lost(application, lost, store.uri)
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
    return lost, not same


def _lost_in_others(
    application: Application, backup_id: int, held: Sequence[Holding], *, catalog: Catalog, stores: Stores
) -> list[Row]:
    """Look through a share of each other place that has archives of the application; return what is lost.

    One that is not there is told in the report: what it had may be elsewhere, and no backup with files there is whole.
    """
    lost: list[Row] = []
    missing: list[str] = []
    as_of = datetime.now(UTC) - MARGIN
    for uris in _other_places(application, [one.store_uri for one in held]):
        share = pages_a_look(application, sum(one.amount.archives for one in held if one.store_uri in uris))
        try:
            store = stores(uris[0])
            if not isinstance(store, IsWatched):
                continue
            after = catalog.checks.of_store(store.uri, uris)["position"]
            parts = compared_parts(
                application, store, catalog=catalog, as_of=as_of, after=after, pages=share, uris=uris
            )
            found = [row for part in parts for row in _noted(part, as_of, catalog)]
        except (StoreError, ConfigurationError) as error:
            log.error("What %s holds of %s cannot be looked at: %s", uris[0], application.name, error)
            if isinstance(error, StoreMissing):
                log.error("If it is gone for good: glacier-backup reconcile %s --inventory", application.name)
                missing.append(uris[0])
        else:
            _log_lost(application, found, uris[0])
            lost += found
    if missing:
        catalog.backups.add_to_report(backup_id, missing_stores_count=len(missing), missing_stores=missing)
    return lost


def _other_places(application: Application, uris: Iterable[str]) -> Iterator[list[str]]:
    """Yield the URIs of each place that is not that of the application's store."""
    left = sorted({uri for uri in uris if not is_same_place(uri, application.store)})
    while left:
        yield (of_place := [uri for uri in left if is_same_place(uri, left[0])])
        left = [uri for uri in left if uri not in of_place]


def _noted(part: Compared, as_of: datetime, catalog: Catalog) -> list[Row]:
    return catalog.lost.note([row["id"] for row in part.differing], f"The store did not list it on {as_of:%Y-%m-%d}.")


def _log_lost(application: Application, lost: Sequence[Row], uri: str) -> None:
    if lost:
        log.error(
            "%s of %s are not in %s any more: %s. Files that are still in their directory are archived anew.",
            counted(len(lost), "archive"),
            application.name,
            uri,
            some([row["filename"] for row in lost]),
        )


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


def _lost_of_newest(
    application: Application, uris: Sequence[str], *, catalog: Catalog, store: ArchiveStore
) -> tuple[bool, list[Row]]:
    """Whether the dump, the manifest or the newest file of the last complete backup is not there or another one; and
    which of them are another one: these are noted as lost, since a listing does not tell that.
    """
    newest = catalog.backups.newest_complete()
    rows = [] if newest is None else catalog.checks.newest(newest, uris, files=1)
    try:
        found = {one.key: one for one in store.described([row["key"] for row in rows])}
    except StoreDenied:
        return False, []
    others = [row for row in rows if row["key"] in found and _is_another(found[row["key"]], row)]
    missing = [row["filename"] for row in rows if row["key"] not in found]
    if missing:
        log.error("%s lacks %s of %s. All of it is looked through.", store.uri, some(missing), application.name)
    lost = catalog.lost.note_corrupt(
        [row["id"] for row in others], "Somebody has written something else into its place in the store."
    )
    return bool(missing or others), lost


def _is_another(found: StoredArchive, row: Row) -> bool:
    """Whether what lies under an archive's key is not what was written there; its size a listing tells as well.

    Known of hashes of the whole alone: one of parts is another one after a copy of the same bytes, as by who changes
    the key that encrypts a bucket (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html).
    """
    both = (found.checksum or "", row["checksum"])
    return all(one.startswith("sha256:") for one in both) and both[0] != both[1]


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
    for row in catalog.checks.newest(backup_id, [store.uri], files=LOOKED_AT):
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
