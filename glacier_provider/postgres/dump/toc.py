"""The table of contents of a dump: what is in it, who owns what, what needs what. Pure.

Two sources are read and joined. ``pg_restore --list`` says which entries can be restored and in which order, but its
text is ambiguous (schemas, names and owners may hold spaces, and a line break is folded). The binary table of
contents says the rest exactly: its layout is that of PostgreSQL's src/bin/pg_dump/pg_backup_archiver.c (ReadHead,
ReadToc) for archive versions 1.12 to 1.16, which pg_dump 9.0 to 18 write.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from sys import intern
from typing import BinaryIO, NamedTuple, TypeVar

from glacier_provider.errors import DumpInvalid, UnsupportedDump

_T = TypeVar("_T")

MAGIC = b"PGDMP"
OLDEST, NEWEST = (1, 12), (1, 16)
_COMPRESSIONS = {0: "none", 1: "gzip", 2: "lz4", 3: "zstd"}
_CUSTOM, _TAR, _DIRECTORY = 1, 3, 5
_AHEAD = 1 << 16
_LONGEST = 1 << 30  # PostgreSQL's own limit of one text value


@dataclass(frozen=True, slots=True)
class TocEntry:
    """One object of a dump, or one piece of it.

    `desc` is the kind ("TABLE", "TABLE DATA", "FK CONSTRAINT"); `schema` is None for what has no schema; `name` is
    the tag: the object's name, or for a piece "table piece"; `dependencies` are dump ids, some of them of objects
    that have no entry of their own; `data_file` is the file that holds its data in the directory format, without the
    ending of its compression. `definition`, `drop` and `copy` are SQL: to make the object, to drop it, and to begin its
    rows. `tablespace` and `access_method` are empty where the dump leaves them to the target, as in what has neither.
    """

    dump_id: int
    tableoid: int
    oid: int
    desc: str
    schema: str | None
    name: str
    owner: str
    dependencies: tuple[int, ...] = ()
    definition: str = field(default="", repr=False)
    has_data: bool = False
    data_file: str | None = field(default=None, compare=False)
    drop: str = field(default="", repr=False, compare=False)
    copy: str = field(default="", repr=False, compare=False)
    tablespace: str = field(default="", repr=False, compare=False)
    access_method: str = field(default="", repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.desc} {self.schema}.{self.name}" if self.schema else f"{self.desc} {self.name}"


@dataclass(frozen=True, slots=True)
class DumpHeader:
    """What a dump says about itself; versions as text, such as "17.10 (Debian 17.10-1)"."""

    archive_version: tuple[int, int]
    compression: str
    dbname: str
    server_version: str
    client_version: str


@dataclass(frozen=True, slots=True)
class Toc:
    """A whole table of contents; `entries` in the dump's own order.

    `codec` is Python's name of the encoding that the dump's bytes are in: with it, and the error handler
    surrogateescape, every text of an entry becomes the dump's own bytes again.
    """

    header: DumpHeader
    entries: tuple[TocEntry, ...]
    codec: str = "utf-8"


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """One line of ``pg_restore --list``; `text` is what follows the numbers."""

    dump_id: int
    tableoid: int
    oid: int
    text: str


def read_toc(stream: BinaryIO) -> Toc:
    """Read the table of contents of a custom format dump, or of the toc.dat of a directory format dump.

    Raise DumpInvalid when it is cut or no dump at all, UnsupportedDump when its version is not known here.
    """
    reader = _Reader(stream)
    custom = reader.head()
    header = reader.header()
    count = reader.count()
    if not 0 < count < 1 << 31:
        raise DumpInvalid("The dump has no entries.")
    entries = deque(reader.entry(custom) for _ in range(count))
    codec = _codec(entries)
    # what is decoded is not kept as bytes as well
    return Toc(header, tuple(entries.popleft().decoded(codec) for _ in range(count)), codec)


def parse_listing(text: str) -> tuple[ListedEntry, ...]:
    """Parse the output of ``pg_restore --list``; comment lines begin with a semicolon."""
    lines = (line for line in text.split("\n") if line and not line.startswith(";"))
    return tuple(_list_line(line) for line in lines)


def join(toc: Toc, listed: Iterable[ListedEntry]) -> tuple[TocEntry, ...]:
    """Return the entries that pg_restore would restore, in its order.

    Raise UnsupportedDump when the two sources disagree about one: editing would then not be exact.
    """
    by_id = {entry.dump_id: entry for entry in toc.entries}
    return tuple(_same(by_id.get(line.dump_id), line) for line in listed)


def _same(entry: TocEntry | None, line: ListedEntry) -> TocEntry:
    if entry is None or (entry.tableoid, entry.oid) != (line.tableoid, line.oid):
        raise UnsupportedDump(f"pg_restore lists entry {line.dump_id} ({line.text}) otherwise than the dump holds it.")
    if not line.text.startswith(f"{entry.desc} "):
        raise UnsupportedDump(f"pg_restore lists entry {line.dump_id} as {line.text!r}, the dump has {entry.desc}.")
    return entry


_LINE = re.compile(r"(\d+); (\d+) (\d+) (.*)")


def _list_line(line: str) -> ListedEntry:
    found = _LINE.fullmatch(line.rstrip("\r"))
    if found is None:
        raise UnsupportedDump(f"pg_restore lists a line that cannot be read: {line!r}.")
    return ListedEntry(int(found[1]), int(found[2]), int(found[3]), found[4])


class _Raw(NamedTuple):
    """An entry as bytes, before the dump's encoding is known."""

    dump_id: int
    tableoid: int
    oid: int
    has_data: bool
    dependencies: tuple[int, ...]
    tag: bytes
    desc: bytes
    definition: bytes
    drop: bytes
    copy: bytes
    namespace: bytes
    tablespace: bytes
    access_method: bytes
    owner: bytes
    data_file: bytes = b""

    def decoded(self, codec: str) -> TocEntry:
        def text(raw: bytes) -> str:
            return raw.decode(codec, "surrogateescape")

        def name(raw: bytes) -> str:  # of which a dump has few, again and again
            return intern(raw.decode(codec, "surrogateescape"))

        return TocEntry(
            dump_id=self.dump_id,
            tableoid=self.tableoid,
            oid=self.oid,
            desc=name(self.desc),
            schema=name(self.namespace) or None,
            name=text(self.tag),
            owner=name(self.owner),
            dependencies=self.dependencies,
            definition=text(self.definition),
            has_data=self.has_data,
            data_file=text(self.data_file) or None,
            drop=text(self.drop),
            copy=text(self.copy),
            tablespace=name(self.tablespace),
            access_method=name(self.access_method),
        )


class _Short(Exception):
    """What is at hand ends within what is read; so many bytes are missing at least."""

    def __init__(self, missing: int) -> None:
        self.missing = missing


class _Reader:
    """Reads PostgreSQL's archive primitives; a short read is a cut dump.

    What ends within an entry is read again from the entry's beginning, with more at hand: a dump may have a million
    entries, and to ask the stream for each primitive would take much longer. A pipe is never waited for longer
    than for what is needed.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._more: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
        self._buffer = b""
        self._at = 0
        self._int_size = 4
        self._offset_size = 8
        self.version = NEWEST

    def head(self) -> bool:
        """Read magic, version and sizes; return whether the format is custom (else directory)."""
        with suppress(DumpInvalid):
            self._have(len(MAGIC))
        if not self._buffer.startswith(MAGIC):
            raise DumpInvalid("The file is empty or is not a dump of pg_dump's custom or directory format.")
        self._have(len(MAGIC) + 6)
        # the third is the revision of the version
        major, minor, _, self._int_size, self._offset_size, form = self._buffer[len(MAGIC) : len(MAGIC) + 6]
        self.version = (major, minor)
        self._at = len(MAGIC) + 6
        if not OLDEST <= self.version <= NEWEST:
            known = f"{_dotted(OLDEST)} to {_dotted(NEWEST)}"
            raise UnsupportedDump(f"The dump has the archive version {_dotted(self.version)}; known are {known}.")
        # toc.dat of the directory format calls itself tar, whose reader can then read it
        if form not in (_CUSTOM, _DIRECTORY, _TAR) or self._int_size not in (4, 8) or self._offset_size not in (4, 8):
            raise UnsupportedDump(f"The dump has the format number {form}, which is not custom or directory.")
        return form == _CUSTOM

    def header(self) -> DumpHeader:
        return self._whole(self._header)

    def count(self) -> int:
        return self._whole(self._integer)

    def entry(self, custom: bool) -> _Raw:
        return self._whole(self._custom_entry if custom else self._directory_entry)

    # --- with what is needed at hand -------------------------------------------------------------------------------

    def _whole(self, read: Callable[[], _T]) -> _T:
        while True:
            start = self._at
            try:
                return read()
            except _Short as short:
                self._have(len(self._buffer) - start + short.missing, start)

    def _have(self, length: int, start: int = 0) -> None:
        """Have so many bytes at hand, `start` on, which is where `_at` is then."""
        parts = [self._buffer[start:]]
        missing = length - len(parts[0])
        while missing > 0:
            part = self._more(max(missing, _AHEAD))
            if not part:
                raise DumpInvalid("The dump ends within its table of contents.")
            parts.append(part)
            missing -= len(part)
        self._buffer, self._at = b"".join(parts), 0

    # --- what may end early ----------------------------------------------------------------------------------------

    def _header(self) -> DumpHeader:
        if self.version >= (1, 15):
            compression = _COMPRESSIONS.get(self._bytes(1)[0], "unknown")
        else:
            compression = "none" if self._integer() == 0 else "gzip"
        for _ in range(7):  # seconds, minutes, hours, day, month, year, daylight saving
            self._integer()
        dbname, server, client = (text.decode("utf-8", "replace") for text in self._strings(3))
        return DumpHeader(self.version, compression, dbname, server, client)

    def _custom_entry(self) -> _Raw:
        raw = self._entry()
        self._bytes(1 + self._offset_size)  # state and position of the data
        return raw

    def _directory_entry(self) -> _Raw:
        raw = self._entry()
        (data_file,) = self._strings(1)
        return raw._replace(data_file=data_file) if data_file else raw

    def _entry(self) -> _Raw:
        dump_id = self._integer()
        has_data = self._integer() != 0
        tableoid, oid, tag, desc = self._strings(4)
        self._integer()  # section
        definition, drop, copy, namespace, tablespace = self._strings(5)
        (access_method,) = self._strings(1) if self.version >= (1, 14) else (b"",)
        if self.version >= (1, 16):  # a partitioned table has no storage of its own, but may name what its parts get
            self._integer()  # relkind
        owner, _ = self._strings(2)  # and whether it has oids
        dependencies = tuple(map(_whole_number, self._list()))
        oids = _whole_number(tableoid), _whole_number(oid)
        return _Raw(
            dump_id,
            *oids,
            has_data,
            dependencies,
            tag,
            desc,
            definition,
            drop,
            copy,
            namespace,
            tablespace,
            access_method,
            owner,
        )

    def _integer(self) -> int:
        size = self._int_size
        text = self._bytes(1 + size)
        value = int.from_bytes(text[1:], "little")
        return -value if text[0] else value

    def _bytes(self, length: int) -> bytes:
        start, self._at = self._at, self._at + length
        if self._at > len(self._buffer):
            raise _Short(self._at - len(self._buffer))
        return self._buffer[start : self._at]

    def _list(self) -> list[bytes]:
        """Return the strings up to one that is none."""
        found: list[bytes] = []
        while True:
            if self._buffer[self._at : self._at + 1] > b"\0":
                self._bytes(1 + self._int_size)
                return found
            found += self._strings(1)

    def _strings(self, count: int) -> list[bytes]:
        """Return the next strings; one that is none is empty."""
        buffer, at, size, last = self._buffer, self._at, self._int_size, len(self._buffer)
        found = []
        for _ in range(count):
            start = end = at + 1 + size
            if start > last:
                raise _Short(start - last)
            if buffer[at] == 0:  # else its length is negative
                end += int.from_bytes(buffer[at + 1 : start], "little")
                if end > last:
                    if end - start > _LONGEST:
                        raise DumpInvalid("The dump's table of contents is damaged.")
                    raise _Short(end - last)
            found.append(buffer[start:end])
            at = end
        self._at = at
        return found


def _whole_number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError as exc:
        raise DumpInvalid("The dump's table of contents is damaged.") from exc


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


_ENCODING = re.compile(rb"SET client_encoding = '([^']*)'")
_LATIN = {"LATIN1": 1, "LATIN2": 2, "LATIN3": 3, "LATIN4": 4, "LATIN5": 9, "LATIN6": 10, "LATIN7": 13, "LATIN8": 14}
_LATIN |= {"LATIN9": 15, "LATIN10": 16}
_CODECS = {"EUC_JP": "euc_jp", "EUC_KR": "euc_kr", "EUC_CN": "gb2312", "KOI8R": "koi8_r", "KOI8U": "koi8_u"}
_CODECS |= {"SJIS": "shift_jis", "BIG5": "big5", "GBK": "gbk", "GB18030": "gb18030", "UHC": "cp949", "WIN866": "cp866"}


def _codec(entries: Iterable[_Raw]) -> str:
    """Return Python's name of the dump's encoding; names in an encoding unknown here are kept byte by byte."""
    definition = next((entry.definition for entry in entries if entry.desc == b"ENCODING"), b"")
    found = _ENCODING.search(definition)
    name = found[1].decode("ascii", "replace") if found else "UTF8"
    if name in _LATIN:
        return f"iso8859_{_LATIN[name]}"
    if name in _CODECS:
        return _CODECS[name]
    if re.fullmatch(r"WIN\d{3,4}", name):
        return f"cp{name[3:]}"
    return name.lower() if re.fullmatch(r"ISO_8859_\d", name) else "utf-8"
