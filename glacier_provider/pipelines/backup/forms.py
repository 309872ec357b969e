"""The three forms of a dump: what pg_dump writes to, and how that becomes one archive.

A file in staging is sent when it is whole. A directory in staging goes into a tar, and a stream into a file or through
a spool: of these the store gets what is there while the rest is made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from glacier_provider.applications import Application
from glacier_provider.core.parts import MIB, part_size_for
from glacier_provider.core.tables import parse_table
from glacier_provider.files import hash_source, open_source
from glacier_provider.pipelines.shared.progress import Progress
from glacier_provider.staging import FileStream, Spool, Stream, TarStream, layout_path, write_layout

if TYPE_CHECKING:
    from glacier_provider.postgres import Dump, PgDumpOptions, Server, Tools
    from glacier_provider.postgres.checks.meanwhile import FingerprintMeanwhile
    from glacier_provider.postgres.dump.snapshot import Beside, References

log = logging.getLogger(__name__)

#: A dump is at most so many times as large as its database: definitions and indexes weigh nothing, but text that the
#: server keeps compressed comes out as it is.
COMPRESSED_GROWTH, PLAIN_GROWTH = 4, 16

#: Large objects from which on a directory is not worth its files: it has one of its own for each of them, and a dump of
#: very many takes several times as long as into one file.
MANY_LARGE_OBJECTS = 1000

#: As many tables are not worth their files either, while each has fewer bytes on the server than that: a file is made,
#: synchronised, read and packed in about the time in which two connections save that much.
MANY_TABLES, SMALL_TABLE = 1000, 128 << 10

#: Of a dump that goes through a spool: one part is being filled, the others are on their way.
KEPT_PARTS = 5


@dataclass(frozen=True, slots=True)
class DumpForm:
    """What a dump is written to, and how that becomes one archive.

    `write` dumps the database and reads the dump through. `stream` is what can be sent meanwhile; who uses the form
    closes it. A dump that is `staged` stays in staging, from where it can be sent later.
    """

    encoding: str
    write: Callable[[References | None], Dump]
    stream: Stream | None = None
    staged: bool = True

    def end(self, path: Path) -> tuple[int, str]:
        """Nothing follows: return size (bytes) and SHA-256 (hex) of the archive whose dump has this path in staging."""
        if self.stream is None:
            with open_source(path.parent, path.name) as source:
                return source.size, hash_source(source)
        self.stream.end()
        if isinstance(self.stream, TarStream):
            write_layout(self.stream.pieces, layout_path(path))
        return self.stream.size, self.stream.sha256()


@dataclass(frozen=True)
class DumpCall:
    """A database to dump, with what and how, to `path` in staging."""

    application: Application
    server: Server
    path: Path
    progress: Progress

    def form(self) -> DumpForm:
        """Return the form that the application asks for; raise ToolMissing, or OutOfSpace where a spool has no room."""
        compressed_here = self.compressed_here
        if self.application.dump.staging == "none":
            spool = Spool(self.path.parent, part_size=self.part_size, parts=KEPT_PARTS)
            encoding = "zstd" if compressed_here else "identity"
            return DumpForm(encoding, partial(self._to_stream, spool, None), spool, staged=False)
        if self.application.dump.format_used != "directory":
            return DumpForm("identity", self._to_path)
        if compressed_here or self._one_file_is_quicker():
            file = FileStream(self.path)
            encoding = "zstd" if compressed_here else "identity"
            return DumpForm(encoding, partial(self._to_stream, file, self.path.parent), file)
        tar = TarStream()
        return DumpForm("tar", partial(self._to_path, pieces=tar), tar)

    def _one_file_is_quicker(self) -> bool:
        from glacier_provider.postgres import extent_of

        found = extent_of(self.server)
        told = ""
        if found.large_objects > MANY_LARGE_OBJECTS:
            told = f"{found.large_objects} large objects"
        elif found.tables > MANY_TABLES and found.size < found.tables * SMALL_TABLE:
            told = f"{found.tables} small tables"
        if told:
            log.info(
                "The database has %s, and the directory format a file for each: it is dumped in the custom format, by "
                "one connection.",
                told,
            )
        return bool(told)

    def _to_path(self, references: References | None, pieces: TarStream | None = None) -> Dump:
        from glacier_provider.postgres import dump_to_path

        progress = self.progress.heartbeat
        return dump_to_path(
            self.server,
            self.tools,
            self.options,
            self.path,
            progress=progress,
            references=references,
            beside=self.beside,
            pieces=pieces,
        )

    def _to_stream(self, sink: FileStream | Spool, staging: Path | None, references: References | None) -> Dump:
        from glacier_provider.postgres import dump_to_stream

        progress = self.progress.heartbeat
        return dump_to_stream(
            self.server,
            self.tools,
            self.options,
            sink,
            progress=progress,
            references=references,
            beside=self.beside,
            staging=staging,
        )

    @property
    def beside(self) -> Beside | None:
        """What looks through the dump's snapshot while that is made."""
        return None if self.fingerprint is None else self.fingerprint.beside

    @cached_property
    def fingerprint(self) -> FingerprintMeanwhile | None:
        """The fingerprint of the database, when the dump is made; None when nobody wants one."""
        from glacier_provider.postgres.checks.meanwhile import FingerprintMeanwhile

        dump = self.application.dump
        if dump.fingerprint == "off":
            return None
        return FingerprintMeanwhile(
            self.server,
            hashes=dump.fingerprint == "hashes",
            schemas=self.options.exclude_schemas,
            tables=[".".join(table) for table in self.options.exclude_tables],
            rowless=[".".join(table) for table in self.options.exclude_table_data],
            lock_timeout_seconds=dump.lock_timeout_seconds,
            tell=self.progress.heartbeat,
        )

    @cached_property
    def tools(self) -> Tools:
        from glacier_provider.postgres import security_warning, tools_for

        method = (self.application.dump.compression or "").partition(":")[0] or None
        tools = tools_for(self.server, self.application.pg_bin_directory, compression=method)
        if warning := security_warning(tools):
            log.warning(warning)
        return tools

    @property
    def security_warning(self) -> str | None:
        """What a person should know of the client programs."""
        from glacier_provider.postgres import security_warning

        return security_warning(self.tools)

    @cached_property
    def options(self) -> PgDumpOptions:
        from glacier_provider.postgres import DumpFormat, PgDumpOptions

        dump = self.application.dump
        return PgDumpOptions(
            format=DumpFormat(dump.format_used),
            jobs=dump.jobs_used,
            compression=dump.compression,
            # The catalog is the backups' memory, not the application's data.
            exclude_schemas=(self.application.catalog_schema, *dump.exclude_schemas),
            exclude_tables=tuple(parse_table(name) for name in dump.exclude_tables),
            exclude_table_data=tuple(parse_table(name) for name in dump.exclude_table_data),
            lock_timeout_seconds=dump.lock_timeout_seconds,
            space_ratio=dump.space_ratio,
            references_query=self.application.references_query,
        )

    @cached_property
    def compressed_here(self) -> bool:
        """Whether this process compresses what pg_dump streams: that one would take several times as long."""
        from glacier_provider.postgres import compressed_here

        return compressed_here(self.tools, self.options)

    @cached_property
    def part_size(self) -> int:
        """The bytes of a part: so many that the number of parts which a store takes is enough for any dump."""
        from glacier_provider.postgres import database_size

        plain = (self.options.compression or "").startswith("none")
        bound = database_size(self.server) * (PLAIN_GROWTH if plain else COMPRESSED_GROWTH)
        return part_size_for(bound, preferred=self.application.part_size_mib * MIB)
