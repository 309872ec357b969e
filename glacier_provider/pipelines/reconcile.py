"""The comparison of the stores with the catalog: what they hold without it, and what it believes they hold.

An upload whose reply was lost, or whose process was killed before the catalog noted it, may lie in a store without the
catalog knowing; in a vault, beside a second one. What the catalog waits for is adopted, a proven copy of what it has is
deleted, what it had given up is noted, so that it goes with its backup, what was lost and is there again is archived
again. Everything else is left alone, and told.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.archives import Upload
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.archive import ArchiveKind, Description, StoredArchive
from glacier_provider.core.checksum import Verifier
from glacier_provider.core.parts import MIB
from glacier_provider.core.reconciliation import KnownArchive, Verdict, receipt_of, verdict_of
from glacier_provider.core.status import ArchiveState
from glacier_provider.core.text import counted, some
from glacier_provider.errors import CatalogError, FileError, StoreDenied, StoreMissing
from glacier_provider.files import open_source
from glacier_provider.pipelines.shared.errors import raise_gravest
from glacier_provider.pipelines.shared.lease import kept_lease
from glacier_provider.pipelines.shared.listing import is_same_place, same_place
from glacier_provider.pipelines.shared.progress import Progress
from glacier_provider.stores.contract import ArchiveStore, Stores

log = logging.getLogger(__name__)

_COUNTED = ("adopted", "deleted", "kept", "noted", "back", "waiting", "strays", "foreign", "lost", "healed")

HOLDER = "reconciliation"
_NAMED = 20


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a comparison of one store came to, in archives.

    `as_of` is the moment that the store's listing tells of; None: there is none yet, nothing was compared. `deleted`
    were proven copies, `kept` are such that may not be deleted, `back` had been lost. `waiting` are left to the next
    upload, `strays` to a person, who finds some of them in `named`. `lost` the catalog had, and the store does not
    list; some of them in `missing`. `healed` are places in backups that archives of the same content took.
    `doubtful` are still in doubt; `awaited`: the listing that will tell is being made.
    """

    store_uri: str
    as_of: datetime | None = None
    listed: int = 0
    adopted: int = 0
    deleted: int = 0
    noted: int = 0
    back: int = 0
    waiting: int = 0
    strays: int = 0
    kept: int = 0
    foreign: int = 0
    lost: int = 0
    healed: int = 0
    doubtful: int = 0
    awaited: bool = False
    named: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def settled(self) -> int:
        """Return for how many archives something was done."""
        return self.adopted + self.deleted + self.noted + self.back

    def as_dict(self) -> dict[str, Any]:
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            **values,
            "as_of": self.as_of.isoformat() if self.as_of else None,
            "named": list(self.named),
            "missing": list(self.missing),
        }

    def lines(self) -> list[str]:
        """Return it as a person reads it."""
        if self.as_of is None:
            return [
                f"{self.store_uri}: {counted(self.doubtful, 'archive')} in doubt, and no listing that tells yet. "
                "It is asked for; try again tomorrow."
            ]
        said = [
            f"{self.store_uri} as of {self.as_of:%Y-%m-%d %H:%M} UTC: {counted(self.listed, 'archive')} listed, "
            f"{self.adopted:,} adopted, {self.deleted:,} copies deleted, {self.noted:,} given up and found, "
            f"{self.waiting} left to the next upload, {self.foreign:,} of others, {self.doubtful} still in doubt."
        ]
        if self.back:
            said.append(f"Lost before, and there again: {self.back}; restores count on them as on any other.")
        if self.kept:
            said.append(f"Copies that may not be deleted, by a lock or for want of permission, and stay: {self.kept}.")
        if self.strays:
            said.append(f"Not this catalog's, or deleted before and there again; left alone: {self.strays}.")
        if self.named:
            said.append(f"By their keys: {', '.join(self.named)}.")
        if self.missing:
            said.append(
                f"LOST, NOT in the store although the catalog had them: {counted(self.lost, 'archive')} "
                f"({some(self.missing, self.lost, most=_NAMED)}). The next backup archives what is in the directory."
            )
        return said


def reconcile(
    application: Application, *, catalog: Catalog, stores: Stores, everything: bool = False
) -> list[Reconciled]:
    """Compare the application's stores with its catalog and settle what is in doubt; return what came of each store.

    A store about which nothing is in doubt is passed over, unless `everything` is to be compared. A vault tells by its
    inventory, about a day late: without one that is new enough it is asked for a newer one, and nothing is compared.
    With `everything`, a store before the application's that is not there any more has lost all that it had. Raise
    LeaseHeld while another run works on the application.
    """
    catalog.migrate()
    done = []
    with catalog.alone(f"the reconciliation of {application.name}"):
        for uri in _uris(application, catalog, everything=everything):
            store = stores(uri)
            try:
                reconciled = _reconcile_store(application, store, catalog=catalog, everything=everything)
            except StoreMissing as error:
                if not everything or is_same_place(uri, application.store):
                    raise
                reconciled = _all_lost(application, store, error, catalog=catalog)
            for line in reconciled.lines():
                log.info("%s", line)
            done.append(reconciled)
    return done


def _uris(application: Application, catalog: Catalog, *, everything: bool) -> list[str]:
    known = catalog.reconciliation.stores(unreconciled=not everything)
    # Its own store first: who does not reach that, reaches none.
    return [application.store, *sorted({*known} - {application.store})] if everything else known


def _reconcile_store(
    application: Application, store: ArchiveStore, *, catalog: Catalog, everything: bool
) -> Reconciled:
    unreconciled = catalog.reconciliation.unreconciled(store.uri)
    as_of = store.listed_as_of()
    if everything or as_of is None or (unreconciled.newest is not None and as_of <= unreconciled.newest):
        store.refresh_listing()
    if as_of is None:
        return Reconciled(store.uri, doubtful=unreconciled.archives, awaited=True)
    with _lease(catalog) as heartbeat, catalog.transaction():
        told = _Comparison(application, store, as_of, catalog=catalog, heartbeat=heartbeat).run()
    # What a listing shows is there, however old it is. What it lacks may have come since, so that the doubt stays.
    new_enough = everything or unreconciled.oldest is None or as_of > unreconciled.oldest
    return told if new_enough or told.settled else Reconciled(store.uri, doubtful=unreconciled.archives)


def _all_lost(application: Application, store: ArchiveStore, error: StoreMissing, *, catalog: Catalog) -> Reconciled:
    log.error("%s is not there any more, nor is what it had: %s", store.uri, error.message)
    with _lease(catalog) as heartbeat, catalog.transaction():
        now = datetime.now(UTC)
        return _Comparison(application, store, now, catalog=catalog, heartbeat=heartbeat, is_gone=True).run()


@contextmanager
def _lease(catalog: Catalog) -> Iterator[Callable[[], None]]:
    """Hold the application's lease; yields a function that prolongs it."""
    catalog.backups.take_lease(HOLDER)
    try:
        with kept_lease(catalog, HOLDER) as heartbeat:
            yield heartbeat
    finally:
        with suppress(CatalogError):  # it ends by itself
            catalog.backups.free_lease(HOLDER)


@dataclass
class _Comparison:
    """One store compared with the catalog, in one transaction of it."""

    application: Application
    store: ArchiveStore
    as_of: datetime
    catalog: Catalog = field(kw_only=True)
    heartbeat: Callable[[], None] = field(kw_only=True)
    counts: Counter[str] = field(default_factory=Counter)
    named: list[str] = field(default_factory=list)
    same_place: list[str] = field(default_factory=list)
    is_gone: bool = False

    def run(self) -> Reconciled:
        verbs, uri = self.catalog.reconciliation, self.store.uri
        self.same_place = same_place(uri, verbs.stores(unreconciled=False))
        listed = verbs.load(self._listing())
        for page in verbs.unknown(self.same_place):
            self._reconcile(list(self._described(page)))
        missing = self._note_lost()
        self.counts["healed"] = self.catalog.lost.heal()
        verbs.reconciled(uri, before=self.as_of)
        counts: dict[str, Any] = {name: self.counts[name] for name in _COUNTED}
        return Reconciled(
            uri,
            self.as_of,
            listed,
            **counts,
            doubtful=verbs.unreconciled(uri).archives,
            named=tuple(self.named),
            missing=tuple(missing[:_NAMED]),
        )

    def _note_lost(self) -> list[str]:
        """Note as lost what the store does not list; return the names of some of it."""
        names: list[str] = []
        for page in self.catalog.reconciliation.missing(self.store.uri, as_of=self.as_of):
            self.heartbeat()
            how = f"{self.store.uri} did not list it, as of {self.as_of:%Y-%m-%d %H:%M} UTC."
            lost = self.catalog.lost.note([row["id"] for row in page], how)
            self.counts["lost"] += len(lost)
            names += [row["filename"] for row in lost[:_NAMED]]
        return names

    def _listing(self) -> Iterator[StoredArchive]:
        if self.is_gone:
            return
        progress = Progress(log, "Listed")
        for one in progress.over(self.store.archives(self.application.name, described=False)):
            self.heartbeat()
            yield one

    def _described(self, page: Sequence[Row]) -> Iterator[StoredArchive]:
        """Yield what is unknown with its description, which costs a request where the listing did not tell it."""
        told = [row for row in page if row["told"]]
        for row in told:
            yield StoredArchive(row["key"], row["size"], Description.from_dict(row["told"]), row["checksum"])
        untold = [row["key"] for row in page if not row["told"]]
        if untold:
            yield from self.store.described(untold)

    def _reconcile(self, page: Sequence[StoredArchive]) -> None:
        surplus: list[tuple[str, Description]] = []
        known = self._known(one.description.archive_id for one in page if one.description)
        for found in page:
            self.heartbeat()
            row = known.get(found.description.archive_id) if found.description else None
            verdict = verdict_of(found, _known(row), application=self.application.name)
            if verdict is Verdict.SURPLUS and found.description is not None:
                surplus.append((found.key, found.description))
            elif verdict is Verdict.ADOPT and row is not None:
                self._adopt(found, row)
                known |= self._known([row["id"]])
            elif verdict is Verdict.NOTE and row is not None:
                self._note(found, row)
                known |= self._known([row["id"]])
            elif verdict is Verdict.BACK and row is not None:
                self._take_back(found, row)
            elif verdict is Verdict.STRAY:
                self._leave(found.key, "strays")
            elif verdict is Verdict.FOREIGN:
                self.counts["foreign"] += 1
        self._delete(surplus)

    def _known(self, archive_ids: Iterable[int]) -> dict[int, Row]:
        return self.catalog.reconciliation.known(self.same_place, list(archive_ids), as_of=self.as_of)

    def _adopt(self, found: StoredArchive, row: Row) -> None:
        """Record an archive that the catalog waits for as uploaded, if its content is what would be sent."""
        assert found.description is not None
        if found.checksum is None or not self._is_what_would_be_sent(found, row):
            self.counts["waiting"] += 1
            return
        receipt = receipt_of(found, self.store.uri)
        self.catalog.archives.record_uploads([Upload(row["id"], receipt, found.description.sha256)])
        self.counts["adopted"] += 1
        log.info("Adopted: %s (archive %d).", row["filename"], row["id"])

    def _is_what_would_be_sent(self, found: StoredArchive, row: Row) -> bool:
        """A manifest is written anew by its backup, and may have changed; a dump's hash is known; a file is read."""
        if row["kind"] == ArchiveKind.MANIFEST or found.checksum is None or found.description is None:
            return False
        if row["kind"] == ArchiveKind.DATABASE:
            return row["sha256"] is not None and row["sha256"] == found.description.sha256
        verifier = Verifier(found.checksum)
        try:
            with open_source(self.application.files_directory, row["filename"], expected_size=found.size) as source:
                for start in range(0, source.size, MIB):
                    self.heartbeat()
                    verifier.update(source.read_at(start, min(MIB, source.size - start)))
        except FileError:
            return False
        return verifier.matches()

    def _note(self, found: StoredArchive, row: Row) -> None:
        noted = self.catalog.reconciliation.note_given_up(
            row["id"], key=found.key, size=found.size, checksum=found.checksum, as_of=self.as_of
        )
        if noted:
            self.counts["noted"] += 1
            log.info("Given up, and found in the store: %s (archive %d).", row["filename"], row["id"])

    def _take_back(self, found: StoredArchive, row: Row) -> None:
        if not self.catalog.reconciliation.back(row["id"], key=found.key):
            self._leave(found.key, "strays")
            return
        self.counts["back"] += 1
        log.info("Lost, and in the store again: %s (archive %d).", row["filename"], row["id"])

    def _leave(self, key: str, what: str) -> None:
        self.counts[what] += 1
        if len(self.named) < _NAMED:
            self.named.append(key)

    def _delete(self, surplus: Sequence[tuple[str, Description]]) -> None:
        """Delete proven copies. Nothing of the catalog changes by it: whatever is not deleted is found again."""
        if not surplus:
            return
        errors = dict(self.store.delete_all(surplus))
        self.counts["deleted"] += len(surplus) - len(errors)
        for key in [key for key, error in errors.items() if isinstance(error, StoreDenied)]:
            # A lock keeps it, or the credentials may not delete: it costs its storage and harms nothing.
            log.warning("A copy stays in %s: %s", self.store.uri, errors.pop(key))
            self._leave(key, "kept")
        raise_gravest(errors.values(), "copy", "could not be deleted")


def _known(row: Row | None) -> KnownArchive | None:
    if row is None:
        return None
    size = row["stored_size"] if row["stored_size"] is not None else row["original_size"]
    known = KnownArchive(ArchiveState(row["state"]), row["backup_id"], row["filename"], size)
    return replace(
        known,
        key=row["key"],
        sha256=row["sha256"],
        checksum=row["checksum"],
        earlier_sha256s=tuple(row["earlier_sha256s"]),
        lost=row["lost"],
        written_by=row["written_by"],
    )
