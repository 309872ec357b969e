"""The catalog from the store alone (promise 9): for the night when its database is gone.

`rebuild_catalog` reads the manifests, puts them in their order, writes backups, archives and memberships as they were,
compares them with what the stores list, and takes up what no manifest names. One transaction: killed at any instant it
leaves nothing, and is begun again. Restores, retrievals and the journal of orphans were in the catalog alone: they stay
lost.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import logging
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from glacier_provider.applications import Application
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.archive import ArchiveKind, Description, Location, StoredArchive
from glacier_provider.core.manifest import ordered_manifests, parse_manifest
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.core.text import NAMED, counted
from glacier_provider.errors import ArchiveMissing, StoreUnavailable
from glacier_provider.stores.contract import ArchiveStore, Retrieval, Stores

log = logging.getLogger(__name__)

_HOLD_DAYS = 1
_UNFINISHED = "It left archives and no manifest: it was not complete when the catalog was lost."


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild found.

    `broken`: a sentence for each backup that cannot be restored whole; `lost`: files that complete backups name and no
    store has; `strays`: keys that say they are ours and fit nowhere. Names are cut after `NAMED`, counts are not.
    """

    backups: int
    complete: int
    files: int
    adopted: int
    broken: tuple[str, ...] = ()
    lost_count: int = 0
    lost: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def rebuild_catalog(application: Application, *, catalog: Catalog, stores: Stores) -> Rebuilt:
    """Write the catalog of an application anew from its store; return what was found.

    Raise ArchiveMissing when the store holds no manifest of the application, StoreUnavailable while a vault is bringing
    its inventory or the manifests (the hint says when to call again: nothing is asked for twice), UnsafeCatalogSchema
    when the catalog is not empty.
    """
    catalog.migrate()
    catalog.rebuild.register()
    store = stores(application.store)
    with catalog.transaction():
        catalog.rebuild.begin()
        manifests = _readable_manifests(application, store)
        told = _Told(catalog, store)
        told.read(manifests)
        told.write()
        lost = _compare(application, {application.store, *told.uris}, catalog=catalog, stores=stores)
        adopted, strays, newest = _take_up(catalog, told.errors)
        catalog.rebuild.finish(archive_id=newest[0], backup_id=max(newest[1], told.newest_backup))
        states = catalog.lists.backups(application.name, limit=10**9)
    broken = [f"Backup {row['id']}: {row['error']}" for row in states if row["state"] == "failed"]
    names = [f"{row['filename']} (backup {row['backup_id']})" for row in lost]
    return Rebuilt(
        backups=len(states),
        complete=sum(row["state"] == "complete" for row in states),
        files=told.files,
        adopted=adopted,
        broken=tuple(broken[:NAMED]),
        lost_count=len(names),
        lost=tuple(names[:NAMED]),
        strays=tuple(strays[:NAMED]),
    )


# --- the manifests -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Manifest:
    stored: StoredArchive
    description: Description
    retrieval: Retrieval | None = None


def _readable_manifests(application: Application, store: ArchiveStore) -> list[_Manifest]:
    """Return one manifest a backup, each readable now; a vault is asked for those that it still has to bring."""
    chosen: dict[int, _Manifest] = {}
    for stored in store.archives(application.name, kind=ArchiveKind.MANIFEST):
        if stored.description is not None:  # a later copy is the one that the backup was completed with
            chosen[stored.description.backup_id] = _Manifest(stored, stored.description)
    if not chosen:
        raise ArchiveMissing(
            f"{store.uri} holds no manifest of the application {application.name}.",
            hint="Check the store's bucket and prefix, and the application's name, in applications.yaml.",
        )
    manifests = [chosen[backup_id] for backup_id in sorted(chosen)]
    log.info("%s found.", counted(len(manifests), "manifest"))
    if store.features.chooses_keys:  # their class can be read at once
        return manifests
    return _retrieved(manifests, store)


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
            f"{store.uri} is bringing {counted(len(waiting), 'manifest')} of {len(manifests)}.",
            hint="That takes 3 to 5 hours. Run the same command again then; nothing is asked for twice.",
        )
    return [_Manifest(one.stored, one.description, retrieval) for one, retrieval in zip(manifests, asked, strict=True)]


@dataclass
class _Told:
    """What the manifests tell, on its way into the catalog."""

    catalog: Catalog
    store: ArchiveStore
    heads: dict[int, dict[str, Any]] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    uris: set[str] = field(default_factory=set)
    files: int = 0

    @property
    def newest_backup(self) -> int:
        return max(self.rows)

    def read(self, manifests: Sequence[_Manifest]) -> None:
        """Read each manifest into the catalog's temporary tables; one at a time is in memory."""
        for manifest in manifests:
            backup_id = manifest.description.backup_id
            try:
                data = self._bytes(manifest)
                self._load(backup_id, data)
            except (ValueError, KeyError, OSError, EOFError, zlib.error, ArchiveMissing) as error:
                log.error("The manifest of backup %d cannot be used: %s", backup_id, error)
                self.errors[backup_id] = f"Its manifest cannot be read ({error})."
                continue
            self.rows[backup_id] = _row_of_manifest(manifest, self.store.uri, data)
        if not self.heads:
            raise ArchiveMissing(
                f"None of the {len(manifests)} manifests in {self.store.uri} can be read.",
                hint="The lines above say why. Each archive still describes itself; see the operations guide.",
            )

    def _bytes(self, manifest: _Manifest) -> bytes:
        location = Location(self.store.uri, manifest.stored.key)
        job_id = manifest.retrieval.job_id if manifest.retrieval else None
        data = b"".join(self.store.read(location, 0, manifest.stored.size, job_id=job_id))
        if manifest.description.sha256 not in (None, hashlib.sha256(data).hexdigest()):
            raise ValueError("its bytes are not those that were written")
        return data

    def _load(self, backup_id: int, data: bytes) -> None:
        head = _checked_head(data)
        if head["id"] != backup_id:
            raise ValueError(f"it tells of backup {head['id']}")
        self.catalog.rebuild.load_files(backup_id, self._with_their_stores(_values(data, "file")))
        self.catalog.rebuild.load_gone(backup_id, _values(data, "gone"))
        self.heads[backup_id] = head
        self.uris.add(head["database"]["store_uri"])

    def _with_their_stores(self, files: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for file in files:
            self.uris.add(file["store_uri"])
            yield file

    def write(self) -> None:
        """Write backups, archives and memberships; a backup whose chain of manifests is torn is noted as failed."""
        order, torn = ordered_manifests({backup_id: head["previous"] for backup_id, head in self.heads.items()})
        for backup_id, missing in torn.items():
            self.errors[backup_id] = f"The manifest of backup {missing}, which it continues, is missing or unreadable."
        self.catalog.rebuild.load_backups(
            (backup_id, head["previous"], self.rows[backup_id]["archive_id"], head, self.errors.get(backup_id))
            for backup_id, head in self.heads.items()
        )
        self.files = self.catalog.rebuild.write(self.rows.values())
        before = None
        for backup_id in order:
            previous = self.heads[backup_id]["previous"]
            self.catalog.rebuild.write_members(backup_id, before=before, previous=previous)
            before = backup_id
        self.catalog.rebuild.write_present()


def _checked_head(data: bytes) -> dict[str, Any]:
    """Read a manifest to its end, which alone tells that it is whole; return its first line's value."""
    head: dict[str, Any] = {}
    for kind, value in _entries(data):
        if kind == "backup":
            head = value
        elif kind == "file":
            _ = value["id"], value["filename"], value["store_uri"], value["key"]
    return head


def _values(data: bytes, wanted: str) -> Iterator[Any]:
    return (value for kind, value in _entries(data) if kind == wanted)


def _entries(data: bytes) -> Iterator[tuple[str, Any]]:
    with gzip.open(io.BytesIO(data)) as lines:
        yield from parse_manifest(lines)


def _row_of_manifest(manifest: _Manifest, store_uri: str, data: bytes) -> dict[str, Any]:
    sha256 = hashlib.sha256(data).hexdigest()
    return {
        "archive_id": manifest.description.archive_id,
        "kind": ArchiveKind.MANIFEST.value,
        "filename": manifest.description.filename,
        "backup_id": manifest.description.backup_id,
        "size": len(data),
        "sha256": sha256,
        "checksum": manifest.stored.checksum or f"sha256:{sha256}",
        "encoding": manifest.description.encoding,
        "store_uri": store_uri,
        "key": manifest.stored.key,
    }


# --- the stores ----------------------------------------------------------------------------------------------------


def _compare(application: Application, uris: set[str], *, catalog: Catalog, stores: Stores) -> list[dict[str, Any]]:
    """Compare the rows with what the stores list; return the files that are lost."""
    for uri in sorted(uris):
        listed = stores(uri).archives(application.name, described=False)
        catalog.rebuild.load_listing(uri, listed)
    lost = catalog.rebuild.lost()
    for row in lost[:NAMED]:
        log.error("%s is in backup %d, and in no store.", row["filename"], row["backup_id"])
    for uri in sorted(uris):
        keys = catalog.rebuild.undescribed(uri)
        catalog.rebuild.describe(uri, stores(uri).described(keys))
    return lost


def _take_up(catalog: Catalog, unreadable: Mapping[int, str]) -> tuple[int, list[str], tuple[int, int]]:
    """Take up what no manifest names; return how many, the keys that fit nowhere, the highest archive and backup id."""
    adopted = 0
    strays: list[str] = []
    newest = (0, 0)
    for row in catalog.rebuild.unnamed():
        told = row["told"] if isinstance(row["told"], dict) else json.loads(row["told"])
        newest = max(newest[0], told["archive_id"]), max(newest[1], told["backup_id"])
        if not _is_whole(told, row) or not catalog.rebuild.adopt(_row_of_unnamed(told, row)):
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
    return known and told["kind"] != ArchiveKind.MANIFEST.value and told.get("size", row["size"]) == row["size"]


def _row_of_unnamed(told: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    copied = {name: told[name] for name in ("archive_id", "kind", "filename", "backup_id")}
    rest = {"sha256": told.get("sha256"), "encoding": told.get("encoding", "identity")}
    return {**copied, **rest, **{name: row[name] for name in ("size", "checksum", "store_uri", "key")}}
