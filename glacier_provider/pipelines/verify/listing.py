"""Each archive of the catalog is in its store, with its size and in its class, and nothing else is.

A store is listed part by part, so that neither memory nor a transaction grows with it. A vault lists by its inventory,
which tells the tree hash of each archive as well: its content is verified by that.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.proof import Finding
from glacier_provider.core.text import NAMED, counted, readable_size
from glacier_provider.errors import StoreDenied, StoreError
from glacier_provider.pipelines.backup.check import MARGIN
from glacier_provider.pipelines.shared.listing import compared_parts, is_same_place
from glacier_provider.pipelines.shared.progress import Progress
from glacier_provider.stores.contract import ArchiveStore, IsWatched, KeepsVersions, Stores

log = logging.getLogger(__name__)

_STEP = "listing"
#: So many of the newest archives of a store with locks are looked at.
LOCKS_LOOKED_AT = 20
#: A lock counts from the moment of the write, which the catalog does not know to the second.
_LOCK_MARGIN = timedelta(days=1)
_HIDDEN_LOOKED_AT = 10_000

_HOW = {
    "missing": "{store} did not list it, as of {as_of}.",
    "size": "{store} listed it with another size, as of {as_of}: it is not what was written.",
    "checksum": "{store} told another checksum of it, as of {as_of}: its content is not what was written.",
}
_OTHERS = {
    "unknown": ("In {store} and not in the catalog: {count} ({size}).", False),
    "undeleted": ("Deleted by the catalog and still in {store}: {count} ({size}).", False),
    "back": (
        "Lost before and in {store} again: {count}; `glacier-backup reconcile --inventory` takes them.",
        False,
    ),
    "class": ("In {store} in another storage class than was asked for: {count}.", True),
}


def verify_listing(
    application: Application,
    proof_id: int,
    *,
    catalog: Catalog,
    stores: Stores,
    may_go_on: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Compare all that the application's stores list with its catalog; return figures, and note what was found.

    What is missing, or is not as it was written, is noted as lost. A store that cannot be looked at is a finding, and
    the others are looked at all the same. `awaited` among the figures tells that a vault makes its inventory.
    """
    look = _Look(application, catalog, stores, may_go_on)
    with catalog.alone(f"the verification of {application.name}"):
        figures = look.run()
        catalog.proofs.note(proof_id, _STEP, figures=figures, findings=look.findings)
    return figures


@dataclass
class _Look:
    application: Application
    catalog: Catalog
    stores: Stores
    may_go_on: Callable[[], None]
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    awaited: list[str] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        begun = time.monotonic()
        known = self.catalog.reconciliation.stores(unreconciled=False)
        uris = sorted({self.application.store, *known})
        for uri in uris:
            try:
                self._look_at(self.stores(uri), uris)
            except StoreError as error:
                if error.retryable:
                    raise
                told = f"What {uri} holds could not be looked at: {error.message}"
                self.findings.append(Finding("not_looked", told, names=(uri,)))
        return {
            "stores": len(uris),
            "listed": self.counts["listed"],
            "lost": self.counts["lost"],
            "awaited": self.awaited,
            "seconds": round(time.monotonic() - begun, 3),
        }

    def _look_at(self, store: ArchiveStore, uris: list[str]) -> None:
        listed_as_of = store.listed_as_of()
        if listed_as_of is None:
            store.refresh_listing()
            self.awaited.append(store.uri)
            return
        as_of = min(listed_as_of, datetime.now(UTC) - MARGIN) if isinstance(store, IsWatched) else listed_as_of
        others: dict[str, Counter[str]] = defaultdict(Counter)
        names: dict[str, list[str]] = defaultdict(list)
        progress = Progress(log, f"Compared in {store.uri.partition('?')[0]}", archives=self._kept_there(store.uri))
        for part in compared_parts(self.application, store, catalog=self.catalog, as_of=as_of, uris=uris):
            self.may_go_on()
            self.counts["listed"] += part.listed
            self._note_lost(part.differing, store, as_of)
            for what, row in part.others.items():
                others[what].update(count=row["count"], size=int(row["bytes"]))
                names[what] += row["names"][: NAMED - len(names[what])]
            progress.add(part.listed, 0)
        progress.say()
        self.findings += _of_others(store, others, names)
        if isinstance(store, KeepsVersions):
            self.findings += self._of_versions(store, store.uri)
            self.findings += self._of_locks(store, store.uri, as_of)

    def _kept_there(self, uri: str) -> int:
        held = self.catalog.pages.totals([self.application.name])[self.application.name]
        return sum(one.amount.archives for one in held if is_same_place(one.store_uri, uri))

    def _note_lost(self, differing: list[dict[str, Any]], store: ArchiveStore, as_of: datetime) -> None:
        by_how: dict[str, list[int]] = defaultdict(list)
        for row in differing:
            by_how[row["differs"]].append(row["id"])
        for differs, ids in by_how.items():
            how = _HOW[differs].format(store=store.uri, as_of=f"{as_of:%Y-%m-%d %H:%M} UTC")
            self.counts["lost"] += len(self.catalog.lost.note(ids, how))

    def _of_versions(self, store: KeepsVersions, uri: str) -> Iterator[Finding]:
        """Versions that were replaced or deleted are billed; a delete marker may hide an archive that is there."""
        counts: Counter[str] = Counter()
        hiding: list[str] = []
        try:
            for one in store.old_versions(self.application.name) or ():
                self.may_go_on()
                counts.update(markers=int(one.marker), versions=int(not one.marker), size=one.size)
                if one.hides and len(hiding) < _HIDDEN_LOOKED_AT:
                    hiding.append(one.key)
        except StoreDenied as error:
            told = f"The versions in {uri} could not be looked at: {error.message}"
            yield Finding("versions_not_looked", told, grave=False)
            return
        if counts["versions"] or counts["markers"]:
            told = (
                f"Beside the archives, {uri} keeps {counted(counts['versions'], 'old version')} "
                f"({readable_size(counts['size'])}, billed) and {counted(counts['markers'], 'delete marker')}."
            )
            yield Finding("versions", told, counts["versions"] + counts["markers"], grave=False)
        if hidden := self.catalog.checks.hidden(hiding):
            told = f"Lost, but only hidden in {uri}: their delete markers can be deleted, which brings them back:"
            yield Finding("hidden", told, len(hidden), tuple(hidden[:NAMED]), grave=False)

    def _of_locks(self, store: KeepsVersions, uri: str, as_of: datetime) -> Iterator[Finding]:
        days = store.locked_days
        if days is None:
            return
        looked = self.catalog.checks.newest_of(uri, as_of=as_of, limit=LOCKS_LOOKED_AT)
        unlocked = [row["filename"] for row in looked if not self._is_locked(store, row, days)]
        if unlocked:
            told = f"Not locked in {uri} for {days} days from their upload on, of {len(looked):,} that were looked at:"
            yield Finding("unlocked", told, len(unlocked), tuple(unlocked))

    def _is_locked(self, store: KeepsVersions, row: Mapping[str, Any], days: int) -> bool:
        wanted = row["archived_at"] + timedelta(days=days) - _LOCK_MARGIN
        if wanted <= datetime.now(UTC):
            return True
        until = store.locked_until(row["key"])
        return until is not None and until >= wanted


def _of_others(
    store: ArchiveStore, others: Mapping[str, Counter[str]], names: Mapping[str, list[str]]
) -> Iterator[Finding]:
    for what, counts in others.items():
        words, grave = _OTHERS[what]
        told = words.format(
            store=store.uri, count=counted(counts["count"], "archive"), size=readable_size(counts["size"])
        )
        yield Finding(what, told, counts["count"], tuple(names[what]), grave)
