"""A dump on disk: reading its table of contents, and reading it through."""

from __future__ import annotations

import functools
from contextlib import closing
from pathlib import Path
from subprocess import PIPE

from glacier_provider.core.text import readable_size
from glacier_provider.errors import DumpInvalid
from glacier_provider.postgres.dump.toc import Toc, TocEntry, join, parse_listing, read_toc
from glacier_provider.postgres.tools import commands
from glacier_provider.postgres.tools.find import Tools
from glacier_provider.postgres.tools.run import CHUNK, Reporter, TaskLog, Tool, output_of

_END_OF_COPY = b"\n\\.\n"


def table_of_contents(dump: Path) -> Toc:
    """Read the table of contents of a dump (a file, or a directory with toc.dat).

    Raise DumpInvalid when it is missing, empty, cut or no dump; UnsupportedDump when this version cannot read it.
    """
    try:
        with (dump / "toc.dat" if dump.is_dir() else dump).open("rb") as stream:
            return read_toc(stream)
    except OSError as exc:
        raise DumpInvalid(f"The dump {dump} cannot be read: {exc.strerror}.") from exc


def restorable_entries(tools: Tools, dump: Path, toc: Toc) -> tuple[TocEntry, ...]:
    """Return the entries that pg_restore would restore, in its order (see toc.join)."""
    listed = output_of(commands.pg_restore_list(tools, dump), seconds=600)
    if listed.ended.failed:
        raise DumpInvalid(f"pg_restore cannot list the dump {dump}: {listed.ended.reason}.")
    return join(toc, parse_listing(listed.text))


def read_through(tools: Tools, dump: Path, toc: Toc, progress: TaskLog) -> None:
    """Read every byte of a dump; raise DumpInvalid when pg_restore complains or data ends early.

    In the directory format a data file that was cut at the right place reads like a shorter one, so there the end mark
    of every table's data is counted as well.
    """
    if dump.is_dir():
        _count_tables(tools, dump, toc, progress)
        return
    size = size_of(dump)
    with Tool(commands.pg_restore_read_through(tools, dump), None) as tool:
        ended = tool.watch(Reporter(progress), lambda: f"reading the dump of {readable_size(size)} through")
    if ended.failed:
        raise DumpInvalid(f"The dump {dump} cannot be read through: {ended.reason}.")


def _count_tables(tools: Tools, dump: Path, toc: Toc, progress: TaskLog) -> None:
    expected = sum(entry.desc == "TABLE DATA" and entry.has_data for entry in toc.entries)
    reporter, found, held = Reporter(progress), 0, b""
    with Tool(commands.pg_restore_data(tools, dump), None, stdout=PIPE) as tool:
        stream = tool.process.stdout
        assert stream is not None  # asked for by PIPE
        with closing(stream):
            while chunk := stream.read(CHUNK):
                # a line that is only \. ends the rows of a table; in data it is written otherwise
                held += chunk
                found += held.count(_END_OF_COPY)
                held = held[-(len(_END_OF_COPY) - 1) :]
                reporter.tell(functools.partial("reading the dump through: {} of {} tables".format, found, expected))
        ended = tool.ended()
    if ended.failed:
        raise DumpInvalid(f"The dump {dump} cannot be read through: {ended.reason}.")
    if found != expected:
        raise DumpInvalid(f"The dump {dump} has the complete rows of {found:,} tables, not of {expected:,}.")


def size_of(dump: Path) -> int:
    """Return the bytes of a dump, 0 when it is not there (yet)."""
    try:
        return sum(each.stat().st_size for each in dump.iterdir()) if dump.is_dir() else dump.stat().st_size
    except OSError:
        return 0
