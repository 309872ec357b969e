"""The names of objects in a bucket, and what each object says about itself in its user metadata. Pure.

Keys, below the prefix of the store URI:

    <application>/files/<thousands of the archive id, 9 digits>/<archive id, 12 digits>-<name>
    <application>/database/<thousands of the archive id, 9 digits>/<archive id, 12 digits>-<name>
    <application>/manifests/<backup id, 12 digits>.json.gz
    <application>/manifests/catalog.json        a marker: which catalog writes here; no archive
    <application>/evidence/<number, 12 digits>.json     what a verification or a drill came to; no archive

An archive id is never used again, so a key is written once for ever; and a listing comes in the order of the ids. The
thousands are for stores that keep objects as files, which make a directory of each part of a key: not one for each
object, nor one with a million.
`<name>` is the last part of the file's name, for people who look into the bucket: unusual characters percent-encoded,
cut after 200 characters. Nothing depends on it.

User metadata (ASCII, at most 2 KB, https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html) holds
the whole description. The filename is there in the first form that fits: `name`, percent-encoded; `name-base64`,
URL-safe Base64 of its UTF-8 (shorter for names that are not Latin); `name-sha256`, the hash of its UTF-8. The full
name of such an archive stands in the manifests of its backups, under the same archive id; until then its filename
reads `sha256:<hash>`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote

from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.core.told import checked_description

#: In the metadata of a manifest: its backup was deleted, and the manifests of later ones continue it.
DELETED_KEY = "deleted"
MAX_METADATA = 2000  # bytes of names and values; S3 allows 2,048
MAX_NAME_IN_KEY = 200
_FOLDERS = {ArchiveKind.FILE: "files", ArchiveKind.DATABASE: "database", ArchiveKind.MANIFEST: "manifests"}
_KINDS = {folder: kind for kind, folder in _FOLDERS.items()}
_MARKER = "catalog.json"
_EVIDENCE = "evidence"
_EVIDENCE_KEY = re.compile(r"(?:^|/)[^/]+/evidence/([0-9]{12,15})\.json$")
_SAFE = "!-_.'()"
# What `quote` would give back as it is: most names, in a tenth of its time.
_PLAIN = re.compile(r"[A-Za-z0-9_.\-~!'()]+")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.\-~!'()/\\]+")
_NUMBER = re.compile(r"[0-9]{1,19}")
_CUT_ESCAPE = re.compile(r"%.?$")
_KEY = re.compile(
    r"([^/]+)/(?:(files|database)/([0-9]{9,16})/([0-9]{12,19})-[^/]+|(manifests)/([0-9]{12,19})\.json\.gz)"
)


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What a key alone tells. `number` is the archive id, or the backup id of a manifest."""

    application: str
    kind: ArchiveKind
    number: int


def object_key(prefix: str, description: Description) -> str:
    """Return the key of an archive: at most 1,024 bytes of ASCII."""
    folder = folder_of(prefix, description.application, description.kind)
    if description.kind is ArchiveKind.MANIFEST:
        return f"{folder}{description.backup_id:012d}.json.gz"
    return f"{folder}{id_path(description.archive_id)}-{_shown_name(description.filename)}"


def id_path(archive_id: int) -> str:
    """Return what stands in a key between the folder and the name; in the order of the ids."""
    return f"{archive_id // 1000:09d}/{archive_id:012d}"


@lru_cache(maxsize=64)
def folder_of(prefix: str, application: str | None = None, kind: ArchiveKind | None = None) -> str:
    """Return what all keys of an application, or of one kind of its archives, begin with."""
    start = f"{prefix}/" if prefix else ""
    if application is None:
        return start
    start += f"{quote(application, safe='')}/"
    return start if kind is None else f"{start}{_FOLDERS[kind]}/"


def marker_key(prefix: str, application: str) -> str:
    """Return where the marker lies that tells which catalog writes to a store."""
    return f"{folder_of(prefix, application, ArchiveKind.MANIFEST)}{_MARKER}"


def evidence_folder(prefix: str, application: str) -> str:
    """Return what the keys of all evidence of an application begin with."""
    return f"{folder_of(prefix, application)}{_EVIDENCE}/"


def evidence_key(prefix: str, application: str, number: int) -> str:
    """Return where a document of evidence lies; keys are in the order of the numbers."""
    return f"{evidence_folder(prefix, application)}{number:012d}.json"


def evidence_number(key: str) -> int | None:
    """Return the number of the document under a key; None for a key that `evidence_key` does not make."""
    found = _EVIDENCE_KEY.search(key)
    return int(found.group(1)) if found else None


def is_no_archive(key: str) -> bool:
    """Whether what lies under a key is of this package and no archive: a marker, or evidence."""
    return key.endswith(f"/{_FOLDERS[ArchiveKind.MANIFEST]}/{_MARKER}") or evidence_number(key) is not None


def key_facts(prefix: str, key: str) -> KeyFacts | None:
    """Return what a key tells, or None for a key that `object_key` does not make."""
    start = folder_of(prefix)
    found = _KEY.fullmatch(key, len(start)) if key.startswith(start) else None
    if not found:
        return None
    application, folder, thousands, archive_id, manifests, backup_id = found.groups()
    if manifests:
        return KeyFacts(unquote(application), ArchiveKind.MANIFEST, int(backup_id))
    if f"{thousands}/{archive_id}" != id_path(int(archive_id)):
        return None
    return KeyFacts(unquote(application), _KINDS[folder], int(archive_id))


def _shown_name(filename: str) -> str:
    last = filename[filename.rfind("/") + 1 :]
    if _PLAIN.fullmatch(last) and last.strip("."):
        return last[:MAX_NAME_IN_KEY]
    last = quote(last, safe=_SAFE) or "_"
    if set(last) == {"."}:
        last = last.replace(".", "%2E")
    return _CUT_ESCAPE.sub("", last[:MAX_NAME_IN_KEY])


def metadata_of(description: Description, *, part_size: int | None = None) -> dict[str, str]:
    """Return the user metadata of an object; `part_size` (bytes) for one that is sent in parts."""
    metadata = {
        "format": str(description.format_version),
        "application": _quoted_application(description.application),
        "kind": description.kind.value,
        "archive-id": str(description.archive_id),
        "backup-id": str(description.backup_id),
        "encoding": description.encoding,
    }
    if description.size is not None:
        metadata["size"] = str(description.size)
    if description.written_by is not None:
        metadata["written-by"] = description.written_by
    if description.sha256 is not None:
        metadata["sha256"] = description.sha256
    if part_size is not None:
        metadata["part-size"] = str(part_size)
    form, name = _name_entry(description.filename, MAX_METADATA - _weight(metadata))
    metadata[form] = name
    return metadata


@lru_cache(maxsize=64)
def _quoted_application(name: str) -> str:
    return quote(name, safe=_SAFE)


def _weight(metadata: Mapping[str, str]) -> int:
    return sum(map(len, metadata)) + sum(map(len, metadata.values()))


def _name_entry(filename: str, room: int) -> tuple[str, str]:
    """Return the first form of a name that fits into so many bytes, and the name in it."""
    plain = filename if _PLAIN_NAME.fullmatch(filename) else quote(filename, safe=_SAFE + "/\\")
    if len("name") + len(plain) <= room:
        return "name", plain
    raw = filename.encode("utf-8")
    encoded = base64.urlsafe_b64encode(raw).decode("ascii")
    if len("name-base64") + len(encoded) <= room:
        return "name-base64", encoded
    return "name-sha256", hashlib.sha256(raw).hexdigest()


def description_from_metadata(metadata: Mapping[str, str], *, size: int | None = None) -> Description | None:
    """Return the description that `metadata_of` wrote, or None for metadata that it did not write.

    `size` (bytes) is that of the object, for an archive whose size was not known when its metadata was written.
    """
    try:
        return checked_description(
            Description(
                application=unquote(metadata["application"], errors="strict"),
                kind=ArchiveKind(metadata["kind"]),
                archive_id=_number(metadata["archive-id"]),
                backup_id=_number(metadata["backup-id"]),
                filename=_filename(metadata),
                size=_number(metadata["size"]) if "size" in metadata else size,
                sha256=metadata.get("sha256"),
                encoding=metadata["encoding"],
                format_version=_number(metadata["format"]),
                written_by=metadata.get("written-by"),
            )
        )
    except (KeyError, ValueError):
        return None


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number")
    return int(text)


def _filename(metadata: Mapping[str, str]) -> str:
    if "name" in metadata:
        return unquote(metadata["name"], errors="strict")
    if "name-base64" in metadata:
        return base64.b64decode(metadata["name-base64"], b"-_", validate=True).decode("utf-8")
    return f"sha256:{metadata['name-sha256']}"


def is_of(metadata: Mapping[str, str], description: Description) -> bool:
    """Return whether an object's metadata names the archive of `description`; content, backup, writer may differ."""
    expected = metadata_of(description)
    names = ("application", "kind", "archive-id", "name", "name-base64", "name-sha256")
    return all(metadata.get(name) == expected.get(name) for name in names)
