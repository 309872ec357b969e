"""What to do with an archive that a store lists: compare what it says about itself with what the catalog knows. Pure.

A vault can hold copies that no receipt names: of an upload whose answer was lost, or whose process was killed before
the catalog noted it. They are found in the inventory and judged one by one:

    for archive in store.archives(application):
        verdict = judge(archive, known.get(archive.description.archive_id), application=application)

Only `ADOPT` and `SURPLUS` ask for a deed, and both only for an archive that agrees with the catalog in every point:
what another catalog wrote to the same vault is never touched.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from glacier_provider.core.archive import Description, Location, Receipt
from glacier_provider.core.status import ArchiveState
from glacier_provider.stores.base import StoredArchive


class Verdict(StrEnum):
    KNOWN = "known"  #: the catalog has it under this key
    ADOPT = "adopt"  #: the catalog waits for it: record `receipt_of` as its upload
    SURPLUS = "surplus"  #: a copy of what the catalog has under another key, or has deleted: delete it
    STRAY = "stray"  #: it says it is ours, but the catalog knows nothing of the kind: look at it, touch nothing
    FOREIGN = "foreign"  #: of another application, or not written by this package


@dataclass(frozen=True, slots=True)
class KnownArchive:
    """What the catalog knows about the archive whose id the description names. `sha256` is that of the content."""

    state: ArchiveState
    backup_id: int
    filename: str
    size: int
    key: str | None = None
    sha256: str | None = None


def judge(found: StoredArchive, known: KnownArchive | None, *, application: str) -> Verdict:
    """Return what a listed archive is to the catalog; `known` is None when the catalog has no archive of its id."""
    told = found.description
    if told is None or told.application != application:
        return Verdict.FOREIGN
    if known is not None and known.key == found.key:
        return Verdict.KNOWN
    if known is None or not _agree(told, found.size, known):
        return Verdict.STRAY
    waiting = (ArchiveState.PLANNED, ArchiveState.UPLOADING)
    return Verdict.ADOPT if known.state in waiting and found.checksum is not None else Verdict.SURPLUS


def receipt_of(found: StoredArchive, store_uri: str) -> Receipt:
    """Return the receipt of an archive to adopt; raise ValueError when the listing tells no checksum."""
    if found.checksum is None:
        raise ValueError(f"the store tells no checksum of {found.key}")
    return Receipt(Location(store_uri, found.key), found.size, found.checksum, adopted=True)


def _agree(told: Description, size: int, known: KnownArchive) -> bool:
    """Whether the archive is the one that the catalog planned: made for the same backup, name, size and content."""
    names = (known.filename, "sha256:" + hashlib.sha256(known.filename.encode("utf-8")).hexdigest())
    return (
        told.backup_id == known.backup_id
        and told.filename in names
        and (told.size, size) == (known.size, known.size)
        and (told.sha256 is None or known.sha256 is None or told.sha256 == known.sha256)
    )
