"""The rows and large objects of a dump, as pg_restore reads them, in the dump's order.

``pg_restore --data-only`` writes a script. Only three things are taken from it: the bytes between a COPY statement,
which must be the one that the table of contents has, and its end mark; and of large objects the number and the bytes.
No other line of it goes anywhere.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from subprocess import PIPE

from glacier_provider.postgres.dump.toc import TocEntry
from glacier_provider.postgres.restore.statements import LARGE_OBJECTS, ROWS
from glacier_provider.postgres.tools import commands
from glacier_provider.postgres.tools.find import Tools
from glacier_provider.postgres.tools.run import CHUNK, Ended, Tool

_END = b"\\.\n"
_OPEN = re.compile(rb"SELECT pg_catalog\.lo_open\('(\d+)', \d+\);\n")
_WRITE = re.compile(rb"SELECT pg_catalog\.lowrite\(0, E?'\\\\?x([0-9a-f]*)'\);\n")
#: Bytes worth sending. What is kept is copied with each reading of the pipe, which gives twice as much.
_PIECE = 32 << 10
_LONGEST_LINE = 1 << 20  # what is looked for is shorter by far


class RowsCut(ValueError):
    """The rows of an entry are not there, or end early."""


class Rows:
    """A running pg_restore that brings the rows of these entries; a context manager.

    They have to be asked for in the order of `entries`, those that bring data alone are read.
    """

    def __init__(self, tools: Tools, dump: Path, entries: Iterable[TocEntry], codec: str) -> None:
        brought = [entry for entry in entries if entry.desc in (ROWS, LARGE_OBJECTS)]
        self._codec = codec
        self._begins = deque(self._bytes(entry.copy) for entry in brought if entry.desc == ROWS)
        self._buffer = b""
        self._at = 0  # what is before it was taken
        self._ended: Ended | None = None
        self.latest = ""
        self.read = 0
        self._work = tempfile.TemporaryDirectory(prefix="glacier-")
        wanted = Path(self._work.name) / "entries.list"
        wanted.write_text(commands.use_list(entry.dump_id for entry in brought), encoding="ascii")
        self._tool = Tool(commands.pg_restore_rows(tools, dump=dump, entries=wanted), None, stdout=PIPE)

    def of(self, entry: TocEntry) -> Iterator[bytes]:
        """Yield the rows of a table, as COPY takes them. Raise RowsCut."""
        self.latest = f"rows of {entry.schema}.{entry.name}"
        begin = self._bytes(entry.copy)
        while not self._follows(begin):
            if not self._line():
                raise RowsCut(f"the rows of {entry.schema}.{entry.name} are not in the dump")
        self._at += len(begin)
        self._begins.popleft()
        yield from self._until_end(entry)

    def large_objects(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield (oid, offset, bytes as hexadecimal digits) up to the rows of the next table. Raise RowsCut."""
        self.latest = "large objects"
        until = self._begins[0] if self._begins else None
        oid, offset = None, 0
        while not (until and self._follows(until)) and (line := self._line()):
            if opened := _OPEN.fullmatch(line):
                oid, offset = int(opened[1]), 0
            elif (written := _WRITE.fullmatch(line)) and oid is not None:
                yield oid, offset, written[1]
                offset += len(written[1]) // 2

    def ended(self) -> Ended:
        """Read to the end, and return how pg_restore ended."""
        if self._ended is None:
            while self._fill():
                self._at = len(self._buffer)
            self._ended = self._tool.ended()
        return self._ended

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self._tool.__exit__(None, None, None)
        self._work.cleanup()

    def _until_end(self, entry: TocEntry) -> Iterator[bytes]:
        """Yield what stands before a line that is only the end mark; within rows that is written otherwise."""
        if self._follows(_END):
            self._at += len(_END)
            return
        looked = self._at  # the mark does not begin before it
        while (found := self._buffer.find(b"\n" + _END, looked)) < 0:
            ready = max(self._at, len(self._buffer) - len(_END))
            if ready - self._at >= _PIECE:
                yield self._buffer[self._at : ready]
                self._at = ready
            looked = ready
            taken = self._at
            if not self._fill():
                raise RowsCut(f"the rows of {entry.schema}.{entry.name} end early")
            looked -= taken
        yield self._buffer[self._at : found + 1]
        self._at = found + 1 + len(_END)

    def _follows(self, text: bytes) -> bool:
        """Tell whether these bytes, of one line or several, come next."""
        while len(self._buffer) - self._at < len(text) and self._fill():
            pass
        return self._buffer.startswith(text, self._at)

    def _line(self) -> bytes:
        """Return the next line with its end, empty at the end of all."""
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            if len(self._buffer) - self._at > _LONGEST_LINE:  # nothing that is looked for
                self._at = len(self._buffer)
            if not self._fill():
                break
        start, self._at = self._at, end + 1 or len(self._buffer)
        return self._buffer[start : self._at]

    def _fill(self) -> bool:
        """Read on; positions count from `_at` afterwards."""
        stream = self._tool.process.stdout
        assert stream is not None  # asked for by PIPE
        data = os.read(stream.fileno(), CHUNK)
        self._buffer, self._at = self._buffer[self._at :] + data, 0
        self.read += len(data)
        return bool(data)

    def _bytes(self, text: str) -> bytes:
        return text.encode(self._codec, "surrogateescape")
