"""A dump as a stream: pg_dump writes the custom format into a pipe, and nothing of it stays on this machine.

Every byte goes to two places: to whoever keeps the dump, and through pg_restore, which reads it to its end and writes
nothing. The table of contents is read as well, since a restore has to. With a client that cannot compress well, pg_dump
writes uncompressed and this process compresses with zstandard; pg_restore then reads what the compressed stream gives,
so that what is kept is what was read through.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import Any, Protocol

from glacier_provider.core.text import readable_size
from glacier_provider.errors import DumpInvalid, GlacierProviderError
from glacier_provider.postgres.dump.pg_dump import Dump, succeeded
from glacier_provider.postgres.dump.snapshot import Beside, References, snapshot_to_dump
from glacier_provider.postgres.dump.toc import Toc, read_toc
from glacier_provider.postgres.tools import commands
from glacier_provider.postgres.tools.find import Tools, choose_compression, compressions
from glacier_provider.postgres.tools.options import DumpFormat, PgDumpOptions
from glacier_provider.postgres.tools.run import CHUNK, Ended, Reporter, TaskLog, Tool
from glacier_provider.postgres.tools.server import Server

LEVEL = 3


class Sink(Protocol):
    """Takes the bytes of a dump in order. It may let the writer wait."""

    def write(self, data: bytes, /) -> object: ...


def compressed_here(tools: Tools, options: PgDumpOptions) -> bool:
    """Return whether a stream is compressed by this process: zstd is better, and this client does not have it."""
    if options.compression is not None or "zstd" in compressions(tools):
        return False
    try:
        import zstandard  # noqa: F401
    except ImportError:
        return False
    return True


def dump_to_stream(
    server: Server,
    tools: Tools,
    options: PgDumpOptions,
    sink: Sink,
    *,
    progress: TaskLog,
    references: References | None = None,
    beside: Beside | None = None,
    staging: Path | None = None,
) -> Dump:
    """Dump a database into `sink`, in the custom format, and read the dump through meanwhile.

    What the sink got counts only when this returns. `staging` is where the sink keeps all of it, if it does: there has
    to be room. Raise as `dump_to_path`, or what `sink` raises.
    """
    options = replace(options, format=DumpFormat.CUSTOM, jobs=1)
    here = compressed_here(tools, options)
    compression = "none" if here else choose_compression(tools, options.compression)
    with snapshot_to_dump(server, tools, options, room=staging, references=references, beside=beside) as (
        snapshot,
        count,
    ):
        told = f"zstd:{LEVEL} by zstandard" if here else compression
        progress(f"Streaming {server} with {tools}, {told}, as of {snapshot.taken_at.isoformat()}.")
        for warning in snapshot.warnings():
            progress(warning)
        argv = commands.pg_dump(
            tools, options, database=server.dbname, target=None, compression=compression, snapshot=snapshot.id
        )
        with ExitStack() as opened:
            reader = opened.enter_context(_ReadThrough(tools))
            output = _Compressed(sink, reader) if here else _AsIs(sink, reader)
            ended = _run(argv, snapshot.server, output, progress)
            toc = reader.finish()
    progress(f"The dump is complete and was read through: {readable_size(output.size)}, {len(toc.entries):,} entries.")
    return Dump(
        path=None,
        format=DumpFormat.CUSTOM,
        size=output.size,
        snapshot_at=snapshot.taken_at,
        server_version=str(snapshot.version),
        client_version=str(tools.version),
        compression=told,
        entries=len(toc.entries),
        references=count,
        warnings=snapshot.warnings() + ended.warnings,
        plain_size=output.plain_size,
        unlogged_tables=snapshot.unlogged_tables,
        contents=toc,
    )


def _run(argv: tuple[str, ...], server: Server, output: _AsIs | _Compressed, progress: TaskLog) -> Ended:
    report = Reporter(progress)
    with Tool(argv, server, stdout=PIPE) as tool:
        stream = tool.process.stdout
        assert stream is not None  # asked for by PIPE

        def tell() -> None:
            report.tell(lambda: f"{tool.messages.latest or tool.name} ({readable_size(output.size)} written)")

        while data := os.read(stream.fileno(), CHUNK):
            output.take(data, tell)
            tell()
        ended = tool.ended()
    succeeded(ended, server, Path("the stream"), progress)
    output.end(tell)
    return ended


class _AsIs:
    """What pg_dump writes is what is kept."""

    plain_size: int | None = None

    def __init__(self, sink: Sink, reader: _ReadThrough) -> None:
        self._sink = sink
        self._reader = reader
        self.size = 0

    def take(self, data: bytes, idle: Callable[[], None]) -> None:
        self.size += len(data)
        self._sink.write(data)
        self._reader.take(data, idle)

    def end(self, idle: Callable[[], None]) -> None:
        """Nothing is left."""


class _Compressed:
    """What pg_dump writes is compressed, kept, and decompressed again for the reader."""

    def __init__(self, sink: Sink, reader: _ReadThrough) -> None:
        import zstandard

        self._sink = sink
        self._reader = reader
        self._compress: Any = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()
        self._decompress: Any = zstandard.ZstdDecompressor().decompressobj()
        self.size = 0
        self.plain_size = 0

    def take(self, data: bytes, idle: Callable[[], None]) -> None:
        self.plain_size += len(data)
        self._keep(self._compress.compress(data), idle)

    def end(self, idle: Callable[[], None]) -> None:
        self._keep(self._compress.flush(), idle)
        if not self._decompress.eof:
            raise DumpInvalid("The compressed stream of the dump has no end.")

    def _keep(self, data: bytes, idle: Callable[[], None]) -> None:
        if data:
            self.size += len(data)
            self._sink.write(data)
            self._reader.take(self._decompress.decompress(data), idle)


class _ReadThrough:
    """A pg_restore that reads the stream to its end, and a reader of its table of contents."""

    def __init__(self, tools: Tools) -> None:
        self._tool = Tool(commands.pg_restore_read_through(tools, None), None, stdin=PIPE)
        self._contents = _TocReader()

    def take(self, data: bytes, idle: Callable[[], None]) -> None:
        self._contents.take(data)
        try:
            self._tool.send(data, idle)
        except BrokenPipeError:
            raise DumpInvalid(f"The dump cannot be read through: {self._tool.ended().reason}.") from None

    def finish(self) -> Toc:
        """Wait until everything is read; raise DumpInvalid or UnsupportedDump for what cannot be."""
        self._tool.end_input()
        ended = self._tool.ended()
        if ended.failed:
            raise DumpInvalid(f"The dump cannot be read through: {ended.reason}.")
        return self._contents.toc()

    def __enter__(self) -> _ReadThrough:
        return self

    def __exit__(self, *exception: Any) -> None:
        self._contents.close()
        self._tool.__exit__(*exception)


class _TocReader:
    """Reads the table of contents from the beginning of a stream, in a thread; what follows it is not kept."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self._writing: int | None = writing
        self._toc: Toc | None = None
        self._error: GlacierProviderError | None = None
        self._thread = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._thread.start()

    def take(self, data: bytes) -> None:
        if self._writing is None:
            return
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self._writing, left) :]
        except BrokenPipeError:  # it has all that it wants
            self.close()

    def toc(self) -> Toc:
        self.close()
        self._thread.join()
        if self._toc is None:
            raise self._error or DumpInvalid("The dump has no table of contents.")
        return self._toc

    def close(self) -> None:
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None

    def _read(self, descriptor: int) -> None:
        with open(descriptor, "rb") as stream:
            try:
                self._toc = read_toc(stream)
            except GlacierProviderError as error:
                self._error = error


def decompress(path: Path, into: Path) -> None:
    """Write the content of a dump that was compressed here to a new file; raise DumpInvalid when it is damaged."""
    import zstandard

    try:
        with open(path, "rb") as file, open(into, "xb") as out:
            zstandard.ZstdDecompressor().copy_stream(file, out, read_size=CHUNK, write_size=CHUNK)
    except zstandard.ZstdError as exc:
        raise DumpInvalid(f"The dump {path} is damaged: {exc}.") from exc
