"""What a store tells, made into values that can be believed to be what they say. Pure.

Whoever may put an object into a store can put anything there. So nothing that is read from one gets further than this
room as it came: numbers are numbers that a catalog can hold, names stay below their directory, times are times, and
the room that all of it may take is bounded before it is taken.

    for kind, value in read_manifest(unpacked_lines(chunks)):
        ...

What is odd raises ToldWrong, a ValueError that says where and why.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.core.checks import Fingerprint
from glacier_provider.core.manifest import parse_manifest
from glacier_provider.core.names import name_parts
from glacier_provider.core.store_uri import StoreUriFault, read_store_uri
from glacier_provider.errors import UnsafePath

#: No catalog ever gives so high a number: 10,000 backups a second take 3,000 years.
HIGHEST_ID = 10**15
#: Sizes, in bytes; and counts.
_HIGHEST_SIZE = 2**62
#: Any number; NaN is not below it either.
_LARGEST_NUMBER = 2**63
#: The longest line: of a backup, whose report names what a person should look at; of one file.
_LONGEST_HEAD = 8 << 20
_LONGEST_LINE = 64 << 10
#: What a manifest may become when it is unpacked: so much, and so many times its size.
_UNPACKED_AT_LEAST = 64 << 20
_UNPACKED_TIMES = 100
_PIECE = 256 << 10
_DEEPEST = 20
_LONGEST_KEY = 1200
_LONGEST_NAME = 4096
_LONGEST_STORE = 2000
#: A name goes into an index of the catalog, which takes 2,700 bytes after it made them fewer.
_LONGEST_PLAIN_NAME = 2000

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHECKSUM = re.compile(r"(?:sha256|treehash|sha256-parts:[1-9][0-9]{0,12}):[0-9a-f]{64}")
_WORD = re.compile(r"[A-Za-z0-9._+:-]{1,40}")
_PLAIN_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class ToldWrong(ValueError):
    """What a store tells cannot be so."""


class ToldArchive(NamedTuple):
    """A dump or a file as a manifest names it; `archived_at` is ISO 8601 text in UTC, sizes are in bytes."""

    id: int
    filename: str
    backup_id: int
    original_size: int
    stored_size: int
    sha256: str | None
    checksum: str
    encoding: str
    store_uri: str
    key: str
    archived_at: str | None


@dataclass(frozen=True, slots=True)
class ToldBackup:
    """The first line of a manifest. `head` holds the texts, times and counts of a backup's row by their names.

    `deleted`: the SHA-256 of manifests that are still there although their backups were deleted before.
    """

    id: int
    previous: int | None
    previous_sha256: str | None
    application: str
    opened_at: datetime
    database: ToldArchive
    head: Mapping[str, Any]
    deleted: tuple[str, ...] = ()


def unpacked_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a packed manifest that comes in pieces; one line and one piece are in memory.

    Raise ToldWrong when it is not what gzip makes of one text, when a line is too long, or when it unpacks to far more
    than a manifest can.
    """
    rest, room, longest = b"", _UNPACKED_AT_LEAST, _LONGEST_HEAD
    for piece in _unpacked(chunks):
        room -= len(piece.text) - _UNPACKED_TIMES * piece.packed
        if room < 0:
            raise ToldWrong("it unpacks to far more than a manifest can hold")
        lines = (rest + piece.text).split(b"\n")
        rest = lines.pop()
        for line in lines:
            if len(line) > longest:
                raise ToldWrong("a line of it is too long")
            longest = _LONGEST_LINE
            yield line
        if len(rest) > longest:
            raise ToldWrong("a line of it is too long")
    if rest:
        yield rest


class _Piece(NamedTuple):
    text: bytes
    packed: int  # bytes that were new for it


def _unpacked(chunks: Iterable[bytes]) -> Iterator[_Piece]:
    unpacking = zlib.decompressobj(wbits=31)
    try:
        for chunk in chunks:
            new, left = len(chunk), chunk
            while left:
                text = unpacking.decompress(left, _PIECE)
                left = unpacking.unconsumed_tail
                if unpacking.unused_data:
                    raise ToldWrong("something follows its end")
                yield _Piece(text, new)
                new = 0
        while not unpacking.eof and (text := unpacking.decompress(unpacking.unconsumed_tail, _PIECE)):
            yield _Piece(text, 0)
    except zlib.error as error:
        raise ToldWrong(f"it cannot be unpacked ({error})") from None
    if not unpacking.eof:
        raise ToldWrong("it is cut")


def read_manifest(lines: Iterable[bytes]) -> Iterator[tuple[str, ToldBackup | ToldArchive | int]]:
    """Yield (kind, value) for each line but the last: a ToldBackup, then ToldArchives, then ids that went.

    Raise ToldWrong naming the line. What was yielded counts only when the end is reached. Ids come in ascending order,
    none twice.
    """
    number, files, last = 0, 0, {"file": 0, "gone": 0}
    most = _HIGHEST_SIZE
    parsed = parse_manifest(lines)
    while True:
        number += 1
        try:
            entry = next(parsed, None)
            if entry is None:
                return
            kind, told = entry
            value = _READERS[kind](told)
        except RecursionError:
            raise ToldWrong(f"line {number} is too deep") from None
        except (ValueError, OverflowError, UnsafePath) as error:
            raise ToldWrong(f"line {number}: {error}" if not str(error).startswith("line ") else str(error)) from None
        if isinstance(value, ToldBackup):
            most = value.head["files_count"] if value.head["files_count"] is not None else most
        else:
            files += kind == "file"
            if files > most:
                raise ToldWrong(f"line {number}: more files than the backup has, which are {most}")
            identity = value if isinstance(value, int) else value.id
            if identity <= last[kind]:
                raise ToldWrong(f"line {number}: the archive {identity} stands twice, or out of order")
            last[kind] = identity
        yield kind, value


def _backup(told: Any) -> ToldBackup:
    told = _mapping(told, "backup")
    identity = _number(told, "id")
    head = {name: read(told, name) for name, read in _HEAD.items()}
    opened_at = _time(told, "opened_at")
    previous = None if told.get("previous") is None else _number(told, "previous")
    if previous is not None and previous >= identity:
        raise ToldWrong(f"backup {identity} continues the later backup {previous}")
    database = _dump({**_mapping(told.get("database"), "database"), "backup_id": identity})
    return ToldBackup(
        identity,
        previous,
        _hash(told, "previous_sha256"),
        _text(told, "application", 200),
        opened_at,
        database,
        {**head, "opened_at": opened_at.isoformat()},
        tuple(_deleted(told.get("deleted"))),
    )


def _deleted(told: object) -> Iterator[str]:
    if told is None:
        return
    if not isinstance(told, list):
        raise ToldWrong(f"deleted is {_shown(told)}, which it cannot be")
    for one in told:
        sha256 = checked_sha256(one)
        if sha256 is not None:
            yield sha256


def _dump(told: Mapping[str, Any]) -> ToldArchive:
    if not isinstance(told.get("filename"), str) or not _PLAIN_FILE.fullmatch(told["filename"]):
        raise ToldWrong(f"the dump's name {_shown(told.get('filename'))} is not one")
    return _archive(told)


def _file(told: Any) -> ToldArchive:
    return _archive(_mapping(told, "file"))


def _archive(told: Mapping[str, Any]) -> ToldArchive:
    stored_size = _size(told, "stored_size")
    return ToldArchive(
        _number(told, "id"),
        checked_name(told.get("filename")),
        _number(told, "backup_id"),
        _size(told, "original_size") if told.get("original_size") is not None else stored_size,
        stored_size,
        _hash(told, "sha256"),
        _matching(told, "checksum", _CHECKSUM),
        _matching(told, "encoding", _WORD),
        _store(told.get("store_uri")),
        _text(told, "key", _LONGEST_KEY),
        None if told.get("archived_at") is None else _time(told, "archived_at").isoformat(),
    )


def _gone(told: Any) -> int:
    return checked_number(told, "gone")


_READERS: dict[str, Callable[[Any], Any]] = {"backup": _backup, "file": _file, "gone": _gone}


def checked_description(told: Description) -> Description:
    """Return what an archive says of itself; raise ToldWrong where that cannot be so. Its name may lead anywhere."""
    checked_text(told.application, 200, "the application")
    checked_number(told.archive_id, "the archive's number")
    checked_number(told.backup_id, "the backup's number")
    checked_sha256(told.sha256)
    if told.size is not None:
        checked_size(told.size)
    if told.written_by is not None:
        checked_text(told.written_by, 64, "the signature")
    if not _WORD.fullmatch(told.encoding):
        raise ToldWrong(f"the encoding is {_shown(told.encoding)}, which it cannot be")
    checked_text(told.filename, _LONGEST_NAME, "the name")
    return told


def has_usable_name(told: Description) -> bool:
    """Whether an archive says a name under which it can be put into its directory, or into staging."""
    try:
        checked_name(told.filename)
    except ToldWrong:
        return False
    return told.kind is ArchiveKind.FILE or _PLAIN_FILE.fullmatch(told.filename) is not None


# --- single values --------------------------------------------------------------------------------------------------


def checked_number(value: object, name: str = "a number") -> int:
    """Return an id; raise ToldWrong for what is none."""
    if type(value) is not int or not 0 < value <= HIGHEST_ID:
        raise ToldWrong(f"{name} is {_shown(value)}, not the number of anything")
    return value


def checked_size(value: object, name: str = "size") -> int:
    """Return a size or a count; raise ToldWrong for what is none."""
    if type(value) is not int or not 0 <= value <= _HIGHEST_SIZE:
        raise ToldWrong(f"{name} is {_shown(value)}, not a size")
    return value


def checked_name(value: object) -> str:
    """Return the name of a file; raise ToldWrong for one that leads out of its directory or cannot be kept."""
    if not isinstance(value, str) or not value:
        raise ToldWrong(f"the name {_shown(value)} is not one")
    if len(value) > _LONGEST_NAME or _UNSTORABLE.search(value):
        raise ToldWrong(f"the name {_shown(value)} cannot be that of a file")
    try:
        name_parts(value)
    except UnsafePath as error:
        raise ToldWrong(error.message) from None
    if len(value) > _LONGEST_PLAIN_NAME // 4 and len(zlib.compress(value.encode(), 1)) > _LONGEST_PLAIN_NAME:
        raise ToldWrong(f"the name {_shown(value)} is too long")
    return value


def checked_text(value: object, longest: int, name: str = "a text") -> str:
    """Return a text that a catalog can keep, of one to `longest` characters; raise ToldWrong for any other."""
    if not isinstance(value, str) or not 0 < len(value) <= longest or _UNSTORABLE.search(value):
        raise ToldWrong(f"{name} is {_shown(value)}, which it cannot be")
    return value


def checked_sha256(value: object) -> str | None:
    """Return a SHA-256 in hexadecimal, or None; raise ToldWrong for anything else."""
    if value is None or (isinstance(value, str) and is_sha256(value)):
        return value
    raise ToldWrong(f"a SHA-256 is {_shown(value)}, which it cannot be")


def is_sha256(text: str) -> bool:
    return _SHA256.fullmatch(text) is not None


def _number(told: Mapping[str, Any], name: str) -> int:
    return checked_number(told.get(name), name)


def _size(told: Mapping[str, Any], name: str) -> int:
    return checked_size(told.get(name), name)


def _text(told: Mapping[str, Any], name: str, longest: int) -> str:
    return checked_text(told.get(name), longest, name)


def _hash(told: Mapping[str, Any], name: str) -> str | None:
    return checked_sha256(told.get(name))


def _matching(told: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = told.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ToldWrong(f"{name} is {_shown(value)}, which it cannot be")
    return value


def _mapping(told: object, name: str) -> Mapping[str, Any]:
    if not isinstance(told, dict):
        raise ToldWrong(f"{name} is {_shown(told)}, not an object")
    return told


def _time(told: Mapping[str, Any], name: str) -> datetime:
    return checked_time(told.get(name), name)


def checked_time(value: object, name: str = "a time") -> datetime:
    """Return a time of these centuries, in UTC; raise ToldWrong for what is none, or has no zone."""
    try:
        at = datetime.fromisoformat(value)  # type: ignore[arg-type]  # what is no text raises, as what is no time
        if at.tzinfo is not None and 1970 < at.year < 3000:
            return at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ToldWrong(f"{name} is {_shown(value)}, not a time with its zone")


def _store(value: object) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_STORE:
        raise ToldWrong(f"store_uri is {_shown(value)}, not a store")
    fault = _fault_of_store(value)
    if fault is not None:
        raise ToldWrong(f"store_uri is not a store: {fault}")
    return value


@lru_cache(maxsize=64)
def _fault_of_store(uri: str) -> str | None:
    try:
        read_store_uri(uri)
    except StoreUriFault as fault:
        return str(fault)
    return None


def _count_or_none(told: Mapping[str, Any], name: str) -> int | None:
    return None if told.get(name) is None else _size(told, name)


def _text_or_none(told: Mapping[str, Any], name: str) -> str | None:
    return None if told.get(name) is None else _text(told, name, 1000)


def _time_or_none(told: Mapping[str, Any], name: str) -> str | None:
    return None if told.get(name) is None else _time(told, name).isoformat()


def _report(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    report = told.get(name)
    if report is None:
        return {}
    check_plain(report)
    return dict(_mapping(report, name))


def _findings(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a report without what is not of the form that backups write: monitoring asks of all applications at once,
    and the backup can be restored without."""
    return {key: value for key, value in _report(told, name).items() if _is_as_written(key, value)}


def _is_as_written(key: str, value: Any) -> bool:
    if value is None:
        return True
    if key.endswith("_count"):
        return type(value) is int and 0 <= value <= _HIGHEST_SIZE
    if f"{key}_count" in _COUNTED:
        names = [one.get("name") if isinstance(one, Mapping) else one for one in value] if type(value) is list else [0]
        return all(isinstance(one, str) for one in names)
    if key == "rehearsal":
        return isinstance(value, Mapping) and all(_is_outlook(value[one]) for one in _OUTLOOKS if one in value)
    return True


def _is_outlook(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and all(isinstance(value.get(one, ""), str) for one in ("verdict", "why", "hint"))
        and type(value.get("count", 0)) is int
        and type(value.get("found", [])) is list
        and all(isinstance(one, str) for one in value.get("found", []))
    )


#: What a report counts, and names the first of.
_COUNTED = {"changed_count", "unarchived_references_count", "unreadable_count", "other_references_count"}
_OUTLOOKS = ("in_place", "new_server")


def _fingerprint(told: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return what the database was known by; None for what is no fingerprint: the backup can be restored without."""
    try:
        kept = _report(told, name)
        return Fingerprint.from_dict(kept).as_dict() if kept else None
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None


def check_plain(value: Any) -> None:
    """Raise ToldWrong for JSON that is too deep, or that holds what the catalog's JSON cannot."""
    level = [value]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one
                below += one.values()
            elif isinstance(one, list):
                below += one
            elif isinstance(one, str) and _UNSTORABLE.search(one):
                raise ToldWrong("a text of the report cannot be kept")
            elif isinstance(one, int | float) and not abs(one) < _LARGEST_NUMBER:
                raise ToldWrong("a number of the report is none")
        if not below:
            return
        level = below
    raise ToldWrong("the report is too deep")


_HEAD: dict[str, Callable[[Mapping[str, Any], str], Any]] = {
    "dag_id": lambda told, name: _text(told, name, 1000),
    "dag_run_id": lambda told, name: _text(told, name, 1000),
    "snapshot_at": _time_or_none,
    "scanned_at": _time_or_none,
    "server_version": _text_or_none,
    "client_version": _text_or_none,
    "dump_format": _text_or_none,
    "files_count": _count_or_none,
    "files_bytes": _count_or_none,
    "new_files_count": _count_or_none,
    "new_files_bytes": _count_or_none,
    "vanished_count": _count_or_none,
    "returned_count": _count_or_none,
    "report": _findings,
    "roles": _report,
    "fingerprint": _fingerprint,
}


def _shown(value: object) -> str:
    """Return a value as a message may carry it."""
    if isinstance(value, str):
        text = repr(value[:100])
    elif value is None or isinstance(value, bool):
        text = str(value).lower() if value is not None else "null"
    elif isinstance(value, int):
        text = str(value) if value.bit_length() < 200 else "a huge number"
    else:
        return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a fraction"
    return text if len(text) <= 110 else f"{text[:100]}…"
