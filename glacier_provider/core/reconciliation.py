"""What to do with an archive that a store lists: compare what it says about itself with what the catalog knows. Pure.

A store can hold archives that no receipt names: of an upload whose answer was lost, or whose process was killed before
the catalog noted it. They are found in the listing (of a vault: in its inventory) and judged one by one:

    verdict = verdict_of(archive, known.get(archive.description.archive_id), application=application)

Only `ADOPT`, `NOTE`, `BACK` and `SURPLUS` ask for a deed, and only for an archive that agrees with the catalog in every
point; `SURPLUS`, the one that deletes, only for a proven copy of what the store has elsewhere or no backup needs. What
another catalog wrote to the same place, be it a copy of this one, is never touched: its signature differs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from glacier_provider.core.archive import Description, Location, Receipt, StoredArchive
from glacier_provider.core.status import ArchiveState


class Verdict(StrEnum):
    KNOWN = "known"  #: the catalog has it under this key
    ADOPT = "adopt"  #: the catalog waits for it: record `receipt_of` as its upload, if the content is the same
    NOTE = "note"  #: the catalog had given it up: note where it lies, so that it goes with its backup
    BACK = "back"  #: the catalog had it as lost, and it is there again as it was: archived again
    SURPLUS = "surplus"  #: a copy of what the catalog has under another key, or has deleted: delete it
    STRAY = "stray"  #: it says it is ours, but the catalog knows nothing of the kind: look at it, touch nothing
    FOREIGN = "foreign"  #: of another application, or not written by this package


@dataclass(frozen=True, slots=True)
class KnownArchive:
    """What the catalog knows about the archive whose id the description names.

    `sha256` is that of the content, `earlier_sha256s` are those of earlier contents that it meant to send under this
    id, `checksum` is that of the receipt. `lost`: it is noted so, or the store did not list it under `key`.
    `written_by` is what this catalog signs it with.
    """

    state: ArchiveState
    backup_id: int
    filename: str
    size: int
    key: str | None = None
    sha256: str | None = None
    checksum: str | None = None
    earlier_sha256s: tuple[str, ...] = ()
    lost: bool = False
    written_by: str | None = None


_WAITING = (ArchiveState.PLANNED, ArchiveState.UPLOADING)


def verdict_of(found: StoredArchive, known: KnownArchive | None, *, application: str) -> Verdict:
    """Return what a listed archive is to the catalog; `known` is None when the catalog has no archive of its id."""
    verdict = _judged(found, known, application)
    if known is None or verdict not in (Verdict.ADOPT, Verdict.NOTE, Verdict.SURPLUS):
        return verdict
    if verdict is Verdict.SURPLUS and known.lost:
        return Verdict.BACK if _is_as_it_was(found, known) else Verdict.STRAY  # perhaps the last copy
    return verdict if _is_written_here(found, known) else Verdict.STRAY


def _judged(found: StoredArchive, known: KnownArchive | None, application: str) -> Verdict:
    told = found.description
    if told is None or told.application != application:
        return Verdict.FOREIGN
    if known is None:
        return Verdict.STRAY
    if known.key == found.key:
        return Verdict.SURPLUS if known.state in (ArchiveState.DELETED, ArchiveState.LOST) else Verdict.KNOWN
    if not _is_of(told, known):
        return Verdict.STRAY
    if known.state not in _WAITING and _is_copy(found, told, known):
        return Verdict.SURPLUS
    if not _agrees(found, told, known):
        return Verdict.STRAY
    if known.state in _WAITING:
        return Verdict.ADOPT
    return Verdict.NOTE if known.state is ArchiveState.FAILED and known.key is None else Verdict.STRAY


def receipt_of(found: StoredArchive, store_uri: str) -> Receipt:
    """Return the receipt of an archive to adopt; raise ValueError when the listing tells no checksum."""
    if found.checksum is None:
        raise ValueError(f"the store tells no checksum of {found.key}")
    return Receipt(Location(store_uri, found.key), found.size, found.checksum, adopted=True)


def _is_written_here(found: StoredArchive, known: KnownArchive) -> bool:
    told = found.description
    return told is not None and told.written_by is not None and told.written_by == known.written_by


def _is_as_it_was(found: StoredArchive, known: KnownArchive) -> bool:
    """Whether it is, by its key, size and checksum, the very archive that was lost."""
    was = known.state, known.key, known.size, known.checksum
    return found.checksum is not None and was == (ArchiveState.LOST, found.key, found.size, found.checksum)


def _is_of(told: Description, known: KnownArchive) -> bool:
    """Whether the archive was made for the same backup and name."""
    names = (known.filename, "sha256:" + hashlib.sha256(known.filename.encode("utf-8")).hexdigest())
    return told.backup_id == known.backup_id and told.filename in names


def _agrees(found: StoredArchive, told: Description, known: KnownArchive) -> bool:
    """Whether nothing that is known of its content speaks against it."""
    return (told.size, found.size) == (known.size, known.size) and (
        told.sha256 is None or known.sha256 is None or told.sha256 == known.sha256
    )


def _is_copy(found: StoredArchive, told: Description, known: KnownArchive) -> bool:
    """Whether it is proven that it holds what the catalog has elsewhere, has deleted, or has replaced."""
    if told.size != found.size or known.key is None:
        return False
    if told.sha256 is not None and told.sha256 in known.earlier_sha256s:
        return True
    if known.size != found.size:
        return False
    if told.sha256 is not None and known.sha256 is not None:
        return told.sha256 == known.sha256
    return found.checksum is not None and found.checksum == known.checksum
