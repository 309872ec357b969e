"""The catalog from the store alone (promise 9): for the night when its database is gone.

`rebuild_catalog` reads the manifests, puts them in their order, compares what they name with what the stores list,
writes backups, archives and memberships as they were, and takes up what no manifest names. One transaction: killed at
any instant it leaves nothing, and is begun again. Restores, retrievals and the journal of orphans were in the catalog
alone: they stay lost.

Nothing that is read is trusted: a manifest that cannot be so is left out by its name, with those that continue it, and
the rest is rebuilt. Nor does it matter that a catalog went back in time and gave ids twice: an archive is where it
lies, whatever its number.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.database import Row
from glacier_provider.core.archive import ArchiveKind, Description, Location, StoredArchive
from glacier_provider.core.findings import told_of_count
from glacier_provider.core.manifest import Continued, chains_of
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.core.store_uri import COLD_CLASSES, place_of
from glacier_provider.core.text import NAMED, counted
from glacier_provider.core.told import (
    ToldArchive,
    ToldBackup,
    ToldWrong,
    has_usable_name,
    read_manifest,
    unpacked_lines,
)
from glacier_provider.errors import ArchiveMissing, ConfigurationError, StoreError, StoreUnavailable
from glacier_provider.pipelines.evidence import remember_evidence
from glacier_provider.pipelines.shared.listing import is_same_place, one_a_place
from glacier_provider.pipelines.shared.progress import Progress
from glacier_provider.stores.contract import ArchiveStore, Retrieval, Stores

log = logging.getLogger(__name__)

_HOLD_DAYS = 1
_UNFINISHED = "It left archives and no manifest: it was not complete when the catalog was lost."
#: So many archives, of which two manifests tell otherwise, are looked at before all the rest is believed.
_CONTRADICTIONS = 1000


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild found.

    `broken`: a sentence for each backup that cannot be restored whole; `left_out`: one for each manifest that is not
    what it says; `renumbered`: one for each backup that has another id than before; `lost`: files that complete
    backups name and no store has; `miscounted`: a sentence for each complete backup whose manifest counts more
    files than are named, or fewer; `strays`: keys that say they are ours and fit nowhere. Names are cut after `NAMED`,
    counts are not.
    """

    backups: int
    complete: int
    files: int
    adopted: int
    broken: tuple[str, ...] = ()
    lost_count: int = 0
    lost: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    renumbered: tuple[str, ...] = ()
    miscounted: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def rebuild_catalog(application: Application, *, catalog: Catalog, stores: Stores) -> Rebuilt:
    """Write the catalog of an application anew from its store; return what was found.

    Raise ArchiveMissing when the store holds no manifest of the application, or none that can be used;
    StoreUnavailable while a vault is bringing its inventory or the manifests (the hint says when to call again: nothing
    is asked for twice), UnsafeCatalogSchema when the catalog is not empty.
    """
    catalog.migrate()
    catalog.rebuild.register()
    with catalog.transaction():
        catalog.rebuild.begin()
        rebuilding = _Rebuilding(application, catalog, stores)
        rebuilding.read()
        rebuilding.list_stores()
        rebuilding.settle_contradictions()
        rebuilding.write()
        _remember_proofs(application, catalog=catalog, stores=stores)
        catalog.lost.heal()
        lost = _lost(catalog, rebuilding.deletions())
        rebuilding.describe_unnamed()
        adopted, strays, newest = _take_up(catalog, rebuilding.errors, rebuilding.odd_keys)
        catalog.rebuild.finish(archive_id=newest[0], backup_id=max(newest[1], rebuilding.highest_backup))
        files = catalog.rebuild.files
        states = catalog.lists.backups(application.name, limit=10**9)
        miscounted = list(_miscounted(catalog))
    broken = [f"Backup {row['id']}: {row['error']}" for row in states if row["state"] == "failed"]
    names = [f"{row['filename']} (backup {row['backup_id']})" for row in lost]
    return Rebuilt(
        backups=len(states),
        complete=sum(row["state"] == "complete" for row in states),
        files=files,
        adopted=adopted,
        broken=tuple(broken[:NAMED]),
        lost_count=len(names),
        lost=tuple(names[:NAMED]),
        strays=tuple(strays[:NAMED]),
        left_out=tuple(rebuilding.left_out[:NAMED]),
        renumbered=tuple(rebuilding.renumbered[:NAMED]),
        miscounted=tuple(miscounted[:NAMED]),
    )


def _remember_proofs(application: Application, *, catalog: Catalog, stores: Stores) -> None:
    try:
        proofs = remember_evidence(application, catalog=catalog, stores=stores)
    except StoreError as error:
        if error.retryable:
            raise
        log.error("What was proven of the backups is not known: its evidence could not be read. %s", error)
    else:
        log.info("%s remembered by their evidence.", counted(proofs, "verification or drill"))


def _miscounted(catalog: Catalog) -> Iterator[str]:
    for row in catalog.rebuild.miscounted():
        for sentence in told_of_count(row["members"], row["files_count"]):
            log.error("Backup %d: %s", row["id"], sentence)
            yield f"Backup {row['id']}: {sentence}"


# --- the manifests -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Manifest:
    """A manifest in its store. `told` is its first line, once it is read to its end; `sha256` that of its bytes."""

    stored: StoredArchive
    description: Description
    store_uri: str
    retrieval: Retrieval | None = None
    told: ToldBackup | None = None
    sha256: str = ""

    @property
    def backup_id(self) -> int:
        return self.description.backup_id

    @property
    def life(self) -> tuple[int, str | None]:
        """What the manifests of one backup have in common: its id, and who signed it."""
        return self.description.backup_id, self.description.written_by

    @property
    def age(self) -> tuple[datetime, datetime, int, str]:
        """What sorts manifests by when their backups were made: as they tell it, but no later than the store tells of
        their writing. That alone says nothing of what was copied, or written again.
        """
        opened_at = self.told.opened_at if self.told else _BEGINNING
        created_at = self.stored.created_at or opened_at
        return min(opened_at, created_at), created_at, self.description.archive_id, self.stored.key


_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class _Rebuilding:
    """One rebuild, from the manifests to the rows of the catalog. Manifests go by numbers of their own, from 0 on."""

    application: Application
    catalog: Catalog
    stores: Stores
    manifests: dict[int, _Manifest] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)  # by backup id
    left_out: list[str] = field(default_factory=list)
    odd_keys: set[str] = field(default_factory=set)
    renumbered: list[str] = field(default_factory=list)
    highest_backup: int = 0
    uris: dict[str, set[int]] = field(default_factory=dict)  # stores, with the manifests that name them
    _listed: list[str] = field(default_factory=list)

    @property
    def store(self) -> ArchiveStore:
        return self.stores(self.application.store)

    # --- reading ---

    def read(self) -> None:
        """Read each manifest into the catalog's temporary tables; a line of one at a time is in memory."""
        found = list(self._found())
        if not found and not self.left_out:
            raise ArchiveMissing(
                f"{self.store.uri} holds no manifest of the application {self.application.name}.",
                hint="Check the store's bucket and prefix, and the application's name, in applications.yaml.",
            )
        log.info("%s found.", counted(len(found), "manifest"))
        found = [one for uri in self._places() for one in self._readable(uri, found)]
        size = sum(one.stored.size for one in found)
        progress = Progress(log, "Read", archives=len(found), size=size, what="manifest")
        for number, manifest in enumerate(found):
            try:
                with self.catalog.rebuild.loading():
                    self.manifests[number] = self._load(number, manifest)
            except (ValueError, StoreError) as error:
                if isinstance(error, StoreError) and error.retryable and not isinstance(error, ArchiveMissing):
                    raise
                self._leave_out(manifest.stored.key, manifest.backup_id, _reason(error))
            progress.add(1, manifest.stored.size)
        self._leave_earlier_tries_out()
        self.catalog.rebuild.loaded()
        self._need_one(len(found))

    def _found(self) -> Iterator[_Manifest]:
        """Yield what the store holds of manifests; what does not say rightly what it is, is left out."""
        for uri in self._places():
            try:
                yield from self._found_in(self.stores(uri))
            except (StoreError, ConfigurationError) as error:
                if uri == self.application.store or error.retryable:
                    raise
                log.error("The manifests of %s could not be looked for: %s", uri, error)
                self.left_out.append(f"{uri}: {error.message}")

    def _places(self) -> list[str]:
        """Return the application's store and those before it, each bucket and prefix once."""
        uris = [self.application.store]
        for uri in self.application.earlier_stores:
            if not any(is_same_place(uri, one) for one in uris):
                uris.append(uri)
        return uris

    def _found_in(self, store: ArchiveStore) -> Iterator[_Manifest]:
        for stored in store.archives(self.application.name, kind=ArchiveKind.MANIFEST):
            told = stored.description
            if told is None:
                self._leave_out(stored.key, None, "it does not say what it is")
            elif told.application != self.application.name or told.filename != f"{told.backup_id:012d}.json.gz":
                self._leave_out(stored.key, None, f"it says that it is {told.filename!r} of {told.application!r}")
            elif store.features.chooses_keys and not stored.key.endswith(f"/{told.filename}"):
                self._leave_out(stored.key, None, f"it says that it is {told.filename!r}")
            else:
                yield _Manifest(stored, told, store.uri)

    def _readable(self, uri: str, manifests: Sequence[_Manifest]) -> list[_Manifest]:
        return _readable([one for one in manifests if one.store_uri == uri], self.stores(uri))

    def _load(self, number: int, manifest: _Manifest) -> _Manifest:
        """Load what a manifest tells; raise ToldWrong or StoreError when it cannot be used."""
        digest = hashlib.sha256()
        entries = read_manifest(unpacked_lines(self._bytes(manifest, digest)))
        _, told = next(entries, ("", None))
        if not isinstance(told, ToldBackup):
            raise ToldWrong("it tells of no backup")
        self._check(manifest, told)
        verbs, uris = self.catalog.rebuild, {told.database.store_uri}
        gone: list[int] = []

        def files() -> Iterator[tuple[str, ToldArchive]]:
            for _, value in entries:
                if isinstance(value, int):
                    gone.append(value)  # the first of them; there is no file after it
                if not isinstance(value, ToldArchive):
                    return
                if value.store_uri not in uris:
                    self._check_store(value.store_uri)
                    uris.add(value.store_uri)
                yield ArchiveKind.FILE.value, value

        verbs.load_archives(number, chain([(ArchiveKind.DATABASE.value, told.database)], files()))
        verbs.load_gone(number, chain(gone, (value for _, value in entries if isinstance(value, int))))
        sha256 = digest.hexdigest()
        if manifest.description.sha256 not in (None, sha256):
            raise ToldWrong("its bytes are not those that were written")
        verbs.load_archives(number, [(ArchiveKind.MANIFEST.value, _itself(manifest, sha256))])
        for uri in uris:
            self.uris.setdefault(uri, set()).add(number)
        return replace(manifest, told=told, sha256=sha256)

    def _bytes(self, manifest: _Manifest, digest: Any) -> Iterator[bytes]:
        location = Location(manifest.store_uri, manifest.stored.key)
        job_id = manifest.retrieval.job_id if manifest.retrieval else None
        for piece in self.stores(manifest.store_uri).read(location, 0, manifest.stored.size, job_id=job_id):
            digest.update(piece)
            yield piece

    def _check(self, manifest: _Manifest, told: ToldBackup) -> None:
        if told.id != manifest.backup_id:
            raise ToldWrong(f"it tells of backup {told.id}")
        if told.application != self.application.name:
            raise ToldWrong(f"it tells of the application {told.application!r}")
        self._check_store(told.database.store_uri)

    def _check_store(self, uri: str) -> None:
        """A manifest does not send us to places that nobody here named, with our credentials."""
        known = {place_of(one) for one in (self.application.store, *self.application.earlier_stores)}
        if place_of(uri) not in known:
            raise ToldWrong(
                f"it names archives in {place_of(uri)}, which is neither store nor among earlier_stores in"
                " applications.yaml"
            )

    def _leave_out(self, key: str, backup_id: int | None, why: str) -> None:
        backup = "" if backup_id is None else f" (backup {backup_id})"
        log.error("The manifest %s%s is left out: %s.", key, backup, why)
        self.left_out.append(f"{key}{backup}: {why}")
        self.odd_keys.add(key)
        if backup_id is not None:
            self.errors.setdefault(backup_id, f"Its manifest cannot be read ({why}).")

    def _leave_earlier_tries_out(self) -> None:
        """Of one backup that wrote several manifests the last is the one that it was completed with."""
        last: dict[tuple[int, str | None], int] = {}
        for number in sorted(self.manifests, key=lambda one: self.manifests[one].age):
            last[self.manifests[number].life] = number
        self._drop([number for number in self.manifests if number not in last.values()])
        for manifest in self.manifests.values():
            self.errors.pop(manifest.backup_id, None)  # another copy of it is whole

    def _drop(self, numbers: Sequence[int]) -> None:
        if not numbers:
            return
        self.catalog.rebuild.forget(numbers)
        for number in numbers:
            del self.manifests[number]
        for uri in list(self.uris):
            self.uris[uri].difference_update(numbers)
            if not self.uris[uri]:
                del self.uris[uri]

    def _need_one(self, found: int) -> None:
        if not self.manifests:
            raise ArchiveMissing(
                f"None of the {found or len(self.left_out):,} manifests in {self.store.uri} can be read."
                f" {'; '.join(self.left_out[:3])}.",
                hint="Each archive still describes itself; see the operations guide, Without the catalog.",
            )

    def deletions(self) -> Iterator[str]:
        """Yield the SHA-256 of manifests whose backups were deleted, as the store tells it, and later manifests do."""
        for uri in {self.store.uri, *(manifest.store_uri for manifest in self.manifests.values())}:
            yield from self.stores(uri).noted_deletions(self.application.name)
        for _, told in self._told():
            yield from told.deleted

    # --- comparing ---

    def list_stores(self) -> None:
        """Load what the stores list of this application; a place once, whatever classes were written to it."""
        manifests = (one.store_uri for one in self.manifests.values())
        progress = Progress(log, "Listed")
        for uri in sorted(one_a_place([*sorted(self.uris), *manifests, self.application.store])):
            try:
                listed = self.stores(uri).archives(self.application.name, described=False)
                self.catalog.rebuild.load_listing(uri, progress.over(listed))
            except (StoreError, ConfigurationError) as error:
                if uri == self.application.store or error.retryable:
                    raise
                self._leave_store_out(uri, error)
            else:
                self._listed.append(uri)
        self.catalog.rebuild.listed()

    def _leave_store_out(self, uri: str, error: StoreError | ConfigurationError) -> None:
        numbers = {number for other, named in self.uris.items() if is_same_place(other, uri) for number in named}
        for number in sorted(numbers):
            manifest = self.manifests[number]
            self._leave_out(manifest.stored.key, manifest.backup_id, f"it names archives in {uri}: {error.message}")
        self._drop(sorted(numbers))
        self._need_one(0)

    def describe_unnamed(self) -> None:
        """Ask what no manifest names for its description, where that was not listed."""
        for uri in self._listed:
            keys = self.catalog.rebuild.undescribed(uri)
            self.catalog.rebuild.describe(uri, self.stores(uri).described(keys))

    def settle_contradictions(self) -> None:
        """Leave out manifests that tell otherwise than others what an archive is. What it says itself decides."""
        wrong: dict[int, str] = {}
        for told in self.catalog.rebuild.contradictions(_CONTRADICTIONS):
            uri, key = told[0]["store_uri"], told[0]["key"]
            itself = next(iter(self.stores(uri).described([key])), None)
            agreeing = [row for row in told if itself is None or _agrees(row, itself, self.application.name)]
            believed = agreeing[0] if agreeing else None
            for row in told:
                if believed is None or not _is_alike(row, believed):
                    wrong.setdefault(row["manifest"], f"of {key} it tells otherwise than other manifests do")
        for number, why in sorted(wrong.items()):
            self._leave_out(self.manifests[number].stored.key, self.manifests[number].backup_id, why)
        self._drop(sorted(wrong))
        self._need_one(0)

    # --- writing ---

    def write(self) -> None:
        """Write backups, archives and memberships; a backup whose chain of manifests is torn is noted as failed."""
        order, torn = chains_of(self._continued())
        highest_archive, highest_backup = self.catalog.rebuild.highest_ids()
        ids = self._backup_ids(highest_backup)
        self.highest_backup = max(highest_backup, *ids.values())
        parents = {number: parent for number, parent in self._parents().items() if parent is not None}
        self._renumber(ids, parents)
        errors = {
            number: f"The manifest of backup {missing}, which it continues, is missing or unreadable."
            for number, missing in torn.items()
        }
        self.errors |= {ids[number]: error for number, error in errors.items()}
        runs = self._runs(ids)
        self.catalog.rebuild.load_backups(
            (number, ids[number], ids.get(parents.get(number, -1)), runs[number], told.head, errors.get(number))
            for number, told in self._told()
        )
        for number in self.catalog.rebuild.write(highest=highest_archive):
            self.catalog.rebuild.clear_gone(number, _chain(number, parents))
        self._write_members(sorted(order, key=ids.__getitem__), ids, parents)

    def _told(self) -> Iterator[tuple[int, ToldBackup]]:
        for number, manifest in sorted(self.manifests.items()):
            assert manifest.told is not None
            yield number, manifest.told

    def _parents(self) -> dict[int, int | None]:
        """Return for each manifest that continues another one the number of that one, None when it is not at hand."""
        by_hash = {manifest.sha256: number for number, manifest in self.manifests.items()}
        return {
            number: self._parent(number, told, by_hash) for number, told in self._told() if told.previous is not None
        }

    def _continued(self) -> dict[int, Continued | None]:
        parents = self._parents()
        return {
            number: None if told.previous is None else Continued(parents[number], told.previous)
            for number, told in self._told()
        }

    def _parent(self, number: int, told: ToldBackup, by_hash: Mapping[str, int]) -> int | None:
        """Return the manifest that one continues: that which it names by its hash, or the last of its id before it.

        Whatever its id: an earlier rebuild may have given its backup another one, of which only later manifests know.
        """
        if told.previous_sha256 is not None:
            return by_hash.get(told.previous_sha256)
        candidates = [other for other, manifest in self.manifests.items() if manifest.backup_id == told.previous]
        earlier = [one for one in candidates if self.manifests[one].age < self.manifests[number].age]
        return max(earlier or candidates, key=lambda one: self.manifests[one].age, default=None)

    def _backup_ids(self, highest: int) -> dict[int, int]:
        """Return the id of each backup. Once one of them is taken, it and all that are younger get new ones."""
        ids = {number: manifest.backup_id for number, manifest in self.manifests.items()}
        taken = self.catalog.rebuild.taken_backup_ids(list(set(ids.values())))
        if not taken and len(set(ids.values())) == len(ids):
            return ids
        renumbering = False
        for number in sorted(ids, key=lambda one: self.manifests[one].age):
            renumbering = renumbering or ids[number] in taken
            taken.add(ids[number])
            if renumbering:
                highest += 1
                ids[number] = highest
        return ids

    def _renumber(self, ids: Mapping[int, int], parents: Mapping[int, int]) -> None:
        """Have archives name the backups that made them by their new ids."""
        moved = [number for number, manifest in self.manifests.items() if ids[number] != manifest.backup_id]
        if not moved:
            return
        for number in sorted(moved, key=ids.__getitem__):
            manifest = self.manifests[number]
            opened_at = manifest.told.opened_at if manifest.told else _BEGINNING
            self.renumbered.append(
                f"Backup {manifest.backup_id} of {opened_at:%Y-%m-%d %H:%M} UTC is backup {ids[number]} from now on:"
                " two lives of the catalog counted alike."
            )
        changes = []
        for number, backup_id in self.catalog.rebuild.told_backup_ids(list(self.manifests)):
            of_chain = (one for one in _chain(number, parents) if self.manifests[one].backup_id == backup_id)
            maker = next(of_chain, None)
            if maker is not None and ids[maker] != backup_id:
                changes.append((number, backup_id, ids[maker]))
        if changes:
            self.catalog.rebuild.renumber(changes)

    def _runs(self, ids: Mapping[int, int]) -> dict[int, str]:
        """Return the DAG run of each backup; of two that name the same, the second says its id."""
        seen: set[tuple[str, str]] = set()
        runs: dict[int, str] = {}
        for number, told in sorted(self._told(), key=lambda one: ids[one[0]]):
            dag_id, run = told.head["dag_id"], told.head["dag_run_id"]
            runs[number] = f"{run} (backup {ids[number]})" if (dag_id, run) in seen else run
            seen.add((dag_id, run))
        return runs

    def _write_members(self, order: Sequence[int], ids: Mapping[int, int], parents: Mapping[int, int]) -> None:
        before: int | None = None
        for number in order:
            parent = parents.get(number)
            previous = None if parent is None else ids[parent]
            self.catalog.rebuild.write_members(number, ids[number], before=before, previous=previous)
            before = ids[number]
        self.catalog.rebuild.write_present()


def _chain(number: int, parents: Mapping[int, int]) -> list[int]:
    """Return a manifest and those that it continues, the newest first."""
    found = [number]
    while (parent := parents.get(found[-1])) is not None and parent not in found:
        found.append(parent)
    return found


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, StoreError) else str(error)


def _itself(manifest: _Manifest, sha256: str) -> ToldArchive:
    told, size = manifest.description, manifest.stored.size
    checksum = manifest.stored.checksum or f"sha256:{sha256}"
    return ToldArchive(
        told.archive_id,
        told.filename,
        told.backup_id,
        size,
        size,
        sha256,
        checksum,
        told.encoding,
        manifest.store_uri,
        manifest.stored.key,
        manifest.stored.created_at.isoformat() if manifest.stored.created_at else None,
    )


def _agrees(row: Row, itself: StoredArchive, application: str) -> bool:
    """Whether what a manifest tells of an archive is what the archive and its store tell."""
    told = itself.description
    if told is None or told.application != application or itself.size != row["stored_size"]:
        return False
    name = (row["filename"], "sha256:" + hashlib.sha256(row["filename"].encode()).hexdigest())
    return (
        told.kind.value == row["kind"]
        and told.filename in name
        and (row["kind"] != ArchiveKind.DATABASE or told.backup_id == row["backup_id"])
        and (told.sha256 is None or row["sha256"] is None or told.sha256 == row["sha256"])
        and (itself.checksum is None or itself.checksum == row["checksum"])
    )


def _is_alike(one: Row, other: Row) -> bool:
    names = ("kind", "filename", "stored_size", "sha256", "checksum")
    same_dump = one["kind"] != ArchiveKind.DATABASE or one["manifest"] == other["manifest"]
    return same_dump and all(one[name] == other[name] for name in names)


def _readable(manifests: Sequence[_Manifest], store: ArchiveStore) -> list[_Manifest]:
    """Return them once all can be read: those of a bucket at once, unless a rule of it has moved some to the cold."""
    if not store.features.chooses_keys:
        return _retrieved(manifests, store)
    moved = [one for one in manifests if one.stored.storage_class in COLD_CLASSES]
    places = [Retrieval(Location(store.uri, one.stored.key), "Standard") for one in moved]
    states = {report.key: report.status for report in store.retrieval_reports(places)}
    cold = [one for one in moved if states[one.stored.key] is not RetrievalStatus.READY]
    if cold:
        log.warning("In the cold, where a lifecycle rule moves them: %s.", counted(len(cold), "manifest"))
        _retrieved(cold, store)
    return list(manifests)


def _retrieved(manifests: Sequence[_Manifest], store: ArchiveStore) -> list[_Manifest]:
    asked = [
        store.request_retrieval(
            Location(store.uri, one.stored.key),
            tier="Standard",
            days=_HOLD_DAYS,
            token=f"manifest of backup {one.description.backup_id}",
        )
        for one in manifests
    ]
    ready = {report.key for report in store.retrieval_reports(asked) if report.status is RetrievalStatus.READY}
    waiting = [one for one in manifests if one.stored.key not in ready]
    if waiting:
        raise StoreUnavailable(
            f"{store.uri} is bringing {counted(len(waiting), 'manifest')} of {len(manifests):,}.",
            hint="That takes 3 to 5 hours, from DEEP_ARCHIVE up to 12. Run the same command again then; "
            "nothing is asked for twice.",
        )
    return [replace(one, retrieval=retrieval) for one, retrieval in zip(manifests, asked, strict=True)]


# --- the stores ----------------------------------------------------------------------------------------------------


def _lost(catalog: Catalog, deletions: Iterator[str]) -> list[Row]:
    """Note what the stores do not have, and what was deleted on purpose; return the files that are lost."""
    lost = catalog.rebuild.lost(list(deletions))
    for row in lost[:NAMED]:
        log.error("%s is in backup %d, and in no store.", row["filename"], row["backup_id"])
    return lost


def _take_up(
    catalog: Catalog, unreadable: Mapping[int, str], left_out: Container[str]
) -> tuple[int, list[str], tuple[int, int]]:
    """Take up what no manifest names; return how many, the keys that fit nowhere, the highest archive and backup id."""
    adopted = 0
    strays: list[str] = []
    newest = (0, 0)
    for row in catalog.rebuild.unnamed():
        told = row["told"] if isinstance(row["told"], dict) else json.loads(row["told"])
        newest = max(newest[0], told["archive_id"]), max(newest[1], told["backup_id"])
        if not _is_whole(told, row) or not catalog.rebuild.adopt(_row_of_unnamed(told, row)):
            if row["key"] not in left_out:
                strays.append(row["key"])
            continue
        adopted += 1
        catalog.rebuild.unfinished(told["backup_id"], unreadable.get(told["backup_id"], _UNFINISHED))
    if strays:
        log.warning("%s fit nowhere; nothing was done to them. First: %s", counted(len(strays), "archive"), strays[0])
    return adopted, strays, newest


def _is_whole(told: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether an unnamed archive tells enough of itself to count on it: its whole name, and a checksum."""
    known = not told["filename"].startswith("sha256:") and row["checksum"] is not None
    fits = told["kind"] != ArchiveKind.MANIFEST.value and told.get("size", row["size"]) == row["size"]
    return known and fits and has_usable_name(Description.from_dict(told))


def _row_of_unnamed(told: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    copied = {name: told[name] for name in ("archive_id", "kind", "filename", "backup_id")}
    rest = {"sha256": told.get("sha256"), "encoding": told.get("encoding", "identity")}
    return {**copied, **rest, **{name: row[name] for name in ("size", "checksum", "store_uri", "key")}}
