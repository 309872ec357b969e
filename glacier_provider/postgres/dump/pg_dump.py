"""Dumping a database: `dump_to_path` reads top to bottom as it happens.

The dump, and the names that `references_query` reads, are of one snapshot. What pg_dump writes gets its final name
only after it was read through whole: a dump that is cut, empty or reported with an error never exists under that name.
In the directory format it is read through while it is written (see `follow`), and given on in pieces that can be sent
meanwhile.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from glacier_provider.core.sqlstate import Meaning, meaning_of_text
from glacier_provider.core.tables import format_table, parse_table
from glacier_provider.core.text import readable_size
from glacier_provider.errors import (
    DatabaseBusy,
    DatabaseRefused,
    DirectoryUnusable,
    DumpInvalid,
    GlacierProviderError,
    OutOfSpace,
    ToolFailed,
    ToolKilled,
)
from glacier_provider.postgres.dump.disk import read_through, size_of, table_of_contents
from glacier_provider.postgres.dump.follow import Follower, PieceSink
from glacier_provider.postgres.dump.snapshot import Beside, References, snapshot_to_dump
from glacier_provider.postgres.dump.toc import Toc
from glacier_provider.postgres.tools import commands
from glacier_provider.postgres.tools.find import Tools, choose_compression
from glacier_provider.postgres.tools.messages import server_sentence
from glacier_provider.postgres.tools.options import DumpFormat, PgDumpOptions
from glacier_provider.postgres.tools.run import Ended, Reporter, TaskLog, Tool
from glacier_provider.postgres.tools.server import Server, error_of
from glacier_provider.postgres.tools.sql import TableName

#: What is said where no directory can be synchronised, as on shares of other machines; PostgreSQL goes on, too.
_NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
LOOK_SECONDS = 0.1  # between two looks at a dump that is being written, or ten times as long as a look takes


@dataclass(frozen=True, slots=True)
class Dump:
    """A verified dump at `path`; `path` is None when it went into a stream.

    `size` is in bytes; `snapshot_at` is the server's clock when the snapshot was taken; `entries` counts the table of
    contents; `references` counts the names that `references_query` gave. `plain_size`, in bytes, is that of what
    `decompress` will give, of a dump that this process compressed. `unlogged_tables` come back empty: a standby, which
    was dumped, does not have their rows. `contents` is the dump's table of contents.
    """

    path: Path | None
    format: DumpFormat
    size: int
    snapshot_at: datetime
    server_version: str
    client_version: str
    compression: str
    entries: int
    references: int = 0
    warnings: tuple[str, ...] = ()
    plain_size: int | None = None
    unlogged_tables: tuple[TableName, ...] = ()
    contents: Toc | None = None


def dump_to_path(
    server: Server,
    tools: Tools,
    options: PgDumpOptions,
    target: Path,
    *,
    progress: TaskLog,
    references: References | None = None,
    beside: Beside | None = None,
    pieces: PieceSink | None = None,
) -> Dump:
    """Dump a database to `target` (a file, or a directory for the directory format) and verify the dump.

    Replaces what an earlier attempt left there. `pieces` gets what is finished of a directory while the rest is made;
    it has all of it when this returns. Raise DatabaseUnreachable, DatabaseRefused, ToolTooOld, OutOfSpace,
    ToolFailed, DumpInvalid, UnsupportedDump or DirectoryUnusable; then nothing is at `target`.
    """
    target = target.absolute()
    compression = choose_compression(tools, options.compression)
    with ExitStack() as undo:
        partial = _prepared(target, undo)
        with snapshot_to_dump(server, tools, options, room=target.parent, references=references, beside=beside) as (
            snapshot,
            count,
        ):
            progress(f"Dumping {server} with {tools}, {compression}, as of {snapshot.taken_at.isoformat()}.")
            for warning in snapshot.warnings():
                progress(warning)
            argv = commands.pg_dump(
                tools,
                options,
                database=server.dbname,
                target=partial,
                compression=compression,
                snapshot=snapshot.id,
            )
            follower = _follower(partial, options, pieces)
            ended = _run(argv, snapshot.server, partial, progress, follower)
            toc = _verified(tools, partial, progress, follower)
        _publish(partial, target)
        undo.pop_all()
    size = size_of(target)
    progress(f"The dump is complete and was read through: {readable_size(size)}, {len(toc.entries):,} entries.")
    return Dump(
        path=target,
        format=options.format,
        size=size,
        snapshot_at=snapshot.taken_at,
        server_version=str(snapshot.version),
        client_version=str(tools.version),
        compression=compression,
        entries=len(toc.entries),
        references=count,
        warnings=snapshot.warnings() + ended.warnings,
        unlogged_tables=snapshot.unlogged_tables,
        contents=toc,
    )


def _prepared(target: Path, undo: ExitStack) -> Path:
    """Return the temporary name, free, and removed again unless the dump succeeds."""
    partial = target.with_name(f"{target.name}.partial")
    if not os.access(target.parent, os.W_OK | os.X_OK) or not target.parent.is_dir():
        raise DirectoryUnusable(f"The staging directory {target.parent} is missing or not writable.")
    for leftover in (partial, target):
        _remove(leftover)
    undo.callback(_remove, partial)
    return partial


def _follower(partial: Path, options: PgDumpOptions, pieces: PieceSink | None) -> Follower | None:
    if options.format is not DumpFormat.DIRECTORY:
        return None
    partial.mkdir(mode=0o700)  # pg_dump takes an empty directory as its own
    if pieces is not None:
        pieces.begin(partial)
    return Follower(partial, pieces)


def _run(
    argv: tuple[str, ...], server: Server, partial: Path, progress: TaskLog, follower: Follower | None = None
) -> Ended:
    report = Reporter(progress)
    with Tool(argv, server) as tool:
        if follower is not None:
            _follow(tool, follower, report)
        ended = tool.watch(report, lambda: f"{readable_size(size_of(partial))} written")
    return succeeded(ended, server, partial, progress)


def _follow(tool: Tool, follower: Follower, report: Reporter) -> None:
    """Read what pg_dump writes until it ends; looking for it takes a tenth of the time, with however many files."""
    pause = LOOK_SECONDS
    while not tool.ends_within(pause):
        began = time.monotonic()
        anything = follower.look()
        pause = LOOK_SECONDS if anything else max(LOOK_SECONDS, 10 * (time.monotonic() - began))
        report.tell(lambda: f"{tool.messages.latest or tool.name} ({readable_size(follower.read)} read through)")


def succeeded(ended: Ended, server: Server, partial: Path, progress: TaskLog) -> Ended:
    """Tell the warnings of a pg_dump that ended well; raise what its messages mean when it failed."""
    if ended.failed:
        raise failure(ended, server, partial)
    for warning in ended.warnings:
        progress(warning)
    return ended


def failure(ended: Ended, server: Server, partial: Path) -> GlacierProviderError:
    """Return what the failed pg_dump's messages mean."""
    text = f"pg_dump of {server} failed: {ended.reason.removeprefix('pg_dump: error: ').rstrip('.')}."
    if ended.killed:
        return ToolKilled(text)
    cause = ended.cause or ended.tail[-1:]
    said = server_sentence(cause)
    told = "\n".join(cause)
    if said is None and re.search(r"No space left on device|Disk quota exceeded", told):
        return OutOfSpace(f"{text} It had written {readable_size(size_of(partial))} to {partial.parent}.")
    if said is None and re.search(r"could not (open|create|write).*(Permission denied|Read-only file system)", told):
        return DirectoryUnusable(text)
    return _server_error(text, said or told, told)


def _server_error(text: str, said: str, told: str) -> GlacierProviderError:
    """Return the error for what the server said; `told` is the whole message."""
    meaning = meaning_of_text(said) or meaning_of_text(told)
    if meaning is Meaning.BUSY or (meaning is None and re.search(r"does not exist", said)):
        return DatabaseBusy(f"{text} A table was locked, changed or dropped while it was to be dumped.")
    if meaning is Meaning.DENIED and (found := re.search(r"large object (\d+)", told)):
        return DatabaseRefused(text, hint=_OF_A_LARGE_OBJECT.format(oid=found[1]))
    if meaning is Meaning.DENIED:
        return DatabaseRefused(text, hint=_POLICIES if "row-level security" in told else _PRIVILEGES)
    if meaning in (Meaning.DAMAGED, Meaning.TOO_LARGE) or (meaning is Meaning.MEMORY and "COPY" in told):
        return ToolFailed(text, hint=f"{meaning.hint} {_save_the_rest(told)}")
    if meaning is None:
        return ToolFailed(text)
    return error_of(meaning, text) if meaning.passes else ToolFailed(text, hint=meaning.hint)


_PRIVILEGES = "Dump as a user who may read every table, such as the owner of the database."
_OF_A_LARGE_OBJECT = (
    "It belongs to another role, as perhaps others do: have that role, or a superuser, GRANT SELECT ON LARGE OBJECT "
    "{oid} to this user, or dump as one who may read all of them, such as a superuser."
)
_POLICIES = (
    "Policies hide rows of this table from the user, and a dump would lack them. Dump as a superuser or as a role with "
    "BYPASSRLS, or as the table's owner after ALTER TABLE ... NO FORCE ROW LEVEL SECURITY; or leave its rows out with "
    "dump.exclude_table_data."
)
_COPIED = re.compile(r'COPY ((?:"(?:[^"]|"")+"|[^\s".]+)\.(?:"(?:[^"]|"")+"|[^\s".(]+))')


def _save_the_rest(told: str) -> str:
    """Return how a dump of everything else is made."""
    found = _COPIED.search(told)
    table = format_table(*parse_table(found[1])) if found else "schema.table"
    return (
        f"To save everything else meanwhile, leave the rows of this table out: dump: {{exclude_table_data: [{table}]}} "
        "in applications.yaml; its sound rows can be saved by hand with COPY (SELECT ...) TO."
    )


def _verified(tools: Tools, partial: Path, progress: TaskLog, follower: Follower | None) -> Toc:
    """Read the whole dump, or what is left of it to read; return its table of contents."""
    if size_of(partial) == 0:
        raise DumpInvalid("pg_dump ended without an error and wrote nothing.")
    toc = table_of_contents(partial) if follower is None else follower.finish()
    if follower is None or not follower.all_read:
        read_through(tools, partial, toc, progress)
    return toc


def _publish(partial: Path, target: Path) -> None:
    """Give the dump its final name; it and the name are on disk afterwards (pg_dump syncs what it writes)."""
    os.rename(partial, target)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
