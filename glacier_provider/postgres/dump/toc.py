"""The table of contents of a dump: what is in it, who owns what, what needs what. Pure.

Two sources are read and joined. ``pg_restore --list`` says which entries can be restored and in which order, but its
text is ambiguous (schemas, names and owners may hold spaces, and a line break is folded). The binary table of
contents says the rest exactly: its layout is that of PostgreSQL's src/bin/pg_dump/pg_backup_archiver.c (ReadHead,
ReadToc) for archive versions 1.12 to 1.16, which pg_dump 9.0 to 18 write.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from glacier_provider.errors import DumpInvalid, UnsupportedDump

MAGIC = b"PGDMP"
OLDEST, NEWEST = (1, 12), (1, 16)
_COMPRESSIONS = {0: "none", 1: "gzip", 2: "lz4", 3: "zstd"}
_CUSTOM, _TAR, _DIRECTORY = 1, 3, 5
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
    count = reader.integer()
    if not 0 < count < 1 << 31:
        raise DumpInvalid("The dump has no entries.")
    entries = [reader.entry(custom) for _ in range(count)]
    codec = _codec(entries)
    return Toc(header, tuple(entry.decoded(codec) for entry in entries), codec)


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


@dataclass(slots=True)
class _Raw:
    """An entry as bytes, before the dump's encoding is known."""

    dump_id: int
    tableoid: int
    oid: int
    has_data: bool
    tag: bytes
    desc: bytes
    definition: bytes
    namespace: bytes
    owner: bytes
    dependencies: tuple[int, ...]
    data_file: bytes
    drop: bytes
    copy: bytes
    tablespace: bytes
    access_method: bytes

    def decoded(self, codec: str) -> TocEntry:
        def text(raw: bytes) -> str:
            return raw.decode(codec, "surrogateescape")

        return TocEntry(
            dump_id=self.dump_id,
            tableoid=self.tableoid,
            oid=self.oid,
            desc=text(self.desc),
            schema=text(self.namespace) or None,
            name=text(self.tag),
            owner=text(self.owner),
            dependencies=self.dependencies,
            definition=text(self.definition),
            has_data=self.has_data,
            data_file=text(self.data_file) or None,
            drop=text(self.drop),
            copy=text(self.copy),
            tablespace=text(self.tablespace),
            access_method=text(self.access_method),
        )


class _Reader:
    """Reads PostgreSQL's archive primitives; a short read is a cut dump."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._int_size = 4
        self._offset_size = 8
        self.version = NEWEST

    def head(self) -> bool:
        """Read magic, version and sizes; return whether the format is custom (else directory)."""
        if self._stream.read(len(MAGIC)) != MAGIC:
            raise DumpInvalid("The file is empty or is not a dump of pg_dump's custom or directory format.")
        self.version = (self._byte(), self._byte())
        self._byte()  # revision
        if not OLDEST <= self.version <= NEWEST:
            known = f"{_dotted(OLDEST)} to {_dotted(NEWEST)}"
            raise UnsupportedDump(f"The dump has the archive version {_dotted(self.version)}; known are {known}.")
        self._int_size, self._offset_size = self._byte(), self._byte()
        form = self._byte()
        # toc.dat of the directory format calls itself tar, whose reader can then read it
        if form not in (_CUSTOM, _DIRECTORY, _TAR) or self._int_size not in (4, 8) or self._offset_size not in (4, 8):
            raise UnsupportedDump(f"The dump has the format number {form}, which is not custom or directory.")
        return form == _CUSTOM

    def header(self) -> DumpHeader:
        if self.version >= (1, 15):
            compression = _COMPRESSIONS.get(self._byte(), "unknown")
        else:
            compression = "none" if self.integer() == 0 else "gzip"
        for _ in range(7):  # seconds, minutes, hours, day, month, year, daylight saving
            self.integer()
        dbname, server, client = (self._string().decode("utf-8", "replace") for _ in range(3))
        return DumpHeader(self.version, compression, dbname, server, client)

    def entry(self, custom: bool) -> _Raw:
        dump_id = self.integer()
        has_data = self.integer() != 0
        tableoid, oid = self._number(), self._number()
        tag, desc = self._string(), self._string()
        self.integer()  # section
        definition, drop, copy, namespace, tablespace = (self._string() for _ in range(5))
        access_method = self._string() if self.version >= (1, 14) else b""
        if self.version >= (1, 16):  # a partitioned table has no storage of its own, but may name what its parts get
            self.integer()  # relkind
        owner = self._string()
        self._string()  # with oids
        dependencies = tuple(self._dependencies())
        extra = self._extra(custom)
        return _Raw(
            dump_id=dump_id,
            tableoid=tableoid,
            oid=oid,
            has_data=has_data,
            tag=tag,
            desc=desc,
            definition=definition,
            namespace=namespace,
            owner=owner,
            dependencies=dependencies,
            data_file=extra,
            drop=drop,
            copy=copy,
            tablespace=tablespace,
            access_method=access_method,
        )

    def integer(self) -> int:
        negative = self._byte()
        value = int.from_bytes(self._bytes(self._int_size), "little")
        return -value if negative else value

    def _dependencies(self) -> Iterator[int]:
        while (text := self._optional_string()) is not None:
            yield _whole_number(text)

    def _extra(self, custom: bool) -> bytes:
        """Return the name of the data file; the custom format has state and position of the data in its place."""
        if custom:
            self._bytes(1 + self._offset_size)
            return b""
        return self._string()

    def _number(self) -> int:
        return _whole_number(self._string())

    def _string(self) -> bytes:
        return self._optional_string() or b""

    def _optional_string(self) -> bytes | None:
        length = self.integer()
        return None if length < 0 else self._bytes(length)

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, length: int) -> bytes:
        if length > _LONGEST:
            raise DumpInvalid("The dump's table of contents is damaged.")
        got = self._stream.read(length)
        if len(got) != length:
            raise DumpInvalid("The dump ends within its table of contents.")
        return got


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
