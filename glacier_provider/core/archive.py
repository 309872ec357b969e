"""The values that flow: what an archive is, what it says about itself, what a store confirmed.

Filenames. A file's name is a path relative to the attached-files directory, with ``/`` between its parts. On
disk names are bytes; in the catalog they are text. `name_from_bytes` maps one to the other and back without loss:
valid UTF-8 stands for itself, a backslash is doubled, any other byte is written ``\\xHH``.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

DESCRIPTION_FORMAT = 1

#: Stands, with the archive's id after it, for the key of an empty file in a store that does not keep empty archives.
EMPTY_KEY = "empty:"


class ArchiveKind(StrEnum):
    DATABASE = "database"
    FILE = "file"
    MANIFEST = "manifest"


@dataclass(frozen=True, slots=True)
class Description:
    """What an archive carries about itself in its store, enough to rebuild its catalog row (promise 9).

    `size` is in bytes; `sha256` is the hex digest of the whole content. Both are None where they are not known before
    the first byte is sent (a large file is hashed part by part while it is sent, see `Receipt.checksum`; a dump is sent
    while it is made). A description that a store gives back has the size in any case: the store knows it itself.
    `backup_id` is the backup that made the archive; `written_by` is the signature of the catalog that wrote it, None
    where none is known. Only what our own catalog signed is ever adopted from a store, or deleted as a copy.
    """

    application: str
    kind: ArchiveKind
    archive_id: int
    backup_id: int
    filename: str
    size: int | None
    sha256: str | None = None
    encoding: str = "identity"
    format_version: int = DESCRIPTION_FORMAT
    written_by: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None or key == "size"}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Description:
        """Build from `as_dict`'s result; raise KeyError or ValueError when it is not one."""
        return cls(
            application=str(values["application"]),
            kind=ArchiveKind(values["kind"]),
            archive_id=int(values["archive_id"]),
            backup_id=int(values["backup_id"]),
            filename=str(values["filename"]),
            size=int(values["size"]) if values["size"] is not None else None,
            sha256=values.get("sha256"),
            encoding=str(values.get("encoding", "identity")),
            format_version=int(values.get("format_version", DESCRIPTION_FORMAT)),
            written_by=values.get("written_by"),
        )


@dataclass(frozen=True, slots=True)
class Location:
    """Where one archive lies: the key of an S3 object, or the archive id that a vault gave."""

    store_uri: str
    key: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the store confirmed about an archive that it holds.

    `checksum` names its algorithm: ``sha256:<hex>`` of the whole; ``sha256-parts:<part size>:<hex>``, the SHA-256
    of the parts' SHA-256 digests (S3's composite checksum); ``treehash:<hex>`` (vaults). `adopted` tells that the
    store already held it, from an upload whose answer was lost. `maybe_twice` tells that an earlier request for the
    same archive had an unknown outcome: a store that invents its keys may hold a second copy, under a key that only
    its inventory shows.
    """

    location: Location
    size: int
    checksum: str
    adopted: bool = False
    maybe_twice: bool = False


def name_from_bytes(raw: bytes) -> str:
    r"""Return the catalog's text for a file name; `name_to_bytes` is its inverse.

    >>> name_from_bytes(b'caf\xc3\xa9'), name_from_bytes(b'a\\b\xff')
    ('café', 'a\\\\b\\xff')
    """
    text = raw.decode("utf-8", "surrogateescape")
    return text if text.isascii() and "\\" not in text else _escape(text)


def _escape(text: str) -> str:
    escaped = text.replace("\\", "\\\\")
    return re.sub("[\udc80-\udcff]", lambda found: f"\\x{ord(found.group()) - 0xDC00:02x}", escaped)


def name_to_bytes(name: str) -> bytes:
    r"""Return the bytes of a file name from the catalog's text; raise ValueError on a broken escape."""
    if "\\" not in name:
        return name.encode("utf-8")
    unescaped = re.sub(r"\\(\\|x[0-9a-f]{2}|.|$)", _unescape, name, flags=re.DOTALL)
    return unescaped.encode("utf-8", "surrogateescape")


def _unescape(found: re.Match[str]) -> str:
    code = found.group(1)
    if code == "\\":
        return "\\"
    if len(code) == 3 and int(code[1:], 16) >= 0x80:
        return chr(0xDC00 + int(code[1:], 16))
    raise ValueError(f"broken escape \\{code} in a file name")


@dataclass(frozen=True, slots=True)
class StoredArchive:
    """One archive as the store lists it; `description` is None for what this package did not write.

    `checksum` is in the form of a receipt's, None where a listing does not tell it; `created_at` is when the store took
    it (aware), as the store tells, `storage_class` in which class it lies. `archive_id` is that of the archive whose
    key this would be, whatever lies there.
    """

    key: str
    size: int
    description: Description | None
    checksum: str | None = None
    created_at: datetime | None = None
    storage_class: str | None = None
    archive_id: int | None = None


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of archives and their bytes."""

    archives: int = 0
    bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.archives + other.archives, self.bytes + other.bytes)
