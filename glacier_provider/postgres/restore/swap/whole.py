"""The sequence of a swap."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from glacier_provider.core.text import counted
from glacier_provider.errors import GlacierProviderError, RestoredInPart
from glacier_provider.postgres.cluster.properties import copy_properties, own_settings
from glacier_provider.postgres.dump.disk import restorable_entries, table_of_contents
from glacier_provider.postgres.dump.toc import Toc, TocEntry
from glacier_provider.postgres.restore.outcome import FailedStatement, RestoredDatabase
from glacier_provider.postgres.restore.statistics import analyze_all
from glacier_provider.postgres.restore.swap.beside import (
    comments,
    create_beside,
    drop,
    kept_beside,
    mark_beside,
    progress_of,
)
from glacier_provider.postgres.restore.swap.check import (
    check_content,
    check_swap,
    what_a_swap_restores,
    without_the_servers_own,
)
from glacier_provider.postgres.restore.swap.fill import Filled, fill
from glacier_provider.postgres.restore.swap.maintenance import maintenance, maintenance_server
from glacier_provider.postgres.restore.swap.names import Filling, Swap
from glacier_provider.postgres.restore.swap.rename import rename_both
from glacier_provider.postgres.tools.find import Tools, check_client_version, server_version
from glacier_provider.postgres.tools.options import OnError, PgRestoreOptions
from glacier_provider.postgres.tools.run import TaskLog
from glacier_provider.postgres.tools.server import Server

if TYPE_CHECKING:
    from glacier_provider.postgres.checks.restored import RestoreChecking


def restore_by_swap(
    server: Server,
    tools: Tools,
    dump: Path,
    options: PgRestoreOptions,
    *,
    mark: str,
    jobs: int,
    catalog_schema: str = "glacier_catalog",
    on_error: OnError = OnError.STOP,
    progress: TaskLog,
    checking: RestoreChecking | None = None,
) -> RestoredDatabase:
    """Restore `dump` into a new database with `jobs` connections, and put it in the place of `server`'s database.

    A swap of the same `mark` that was made already is not made again; a database that an earlier try filled is not
    filled again; one that was cut is begun anew. With `on_error` LIST statements may fail, and RestoredInPart then
    gives them all; the filled database waits beside until a try with ACCEPT swaps it.

    Raise what `check_swap` raises, or RestoreFailed, MissingRoles, MissingTablespaces, DatabaseBusy, ToolTooOld,
    NameTaken or ToolKilled; then the database is as it was.
    """
    swap = Swap(server.dbname, mark, _content(dump, options))
    toc = table_of_contents(dump)
    elsewhere = maintenance_server(server)
    with maintenance(elsewhere, "preparing a swap") as connection:
        version = server_version(connection)
        check_client_version(tools, version)
        done = swap.previous in comments(connection)  # one transaction renames both: the one name tells of the other
    warnings: tuple[str, ...] = ()
    failed: tuple[FailedStatement, ...] = ()
    analyzed = True
    if done:
        progress(f"{server.dbname} was swapped by an earlier try.")
    else:
        with _telling_what_is_kept(elsewhere, swap):
            check_swap(server, catalog_schema=catalog_schema)
            job = _Job(server, elsewhere, tools, dump, toc, options, swap, jobs, on_error, progress, checking)
            job.run()
        analyzed, warnings, failed = job.analyzed, (*job.warnings, *map(str, job.refused)), (*job.failed, *job.refused)
        progress(f"{server.dbname} is restored.")
    progress(f"What {server.dbname} was is kept as {swap.previous}; drop it when it is not needed.")
    return RestoredDatabase(
        restored=len(toc.entries),
        removed=0,
        transaction_id=0,
        dump_version=toc.header.server_version,
        server_version=str(version),
        analyzed=analyzed,
        warnings=warnings,
        failed=tuple(one.as_dict() for one in failed),
    )


def drop_beside(server: Server, mark: str) -> None:
    """Drop what tries of this restore left beside, when it was restored in another way."""
    swap = Swap(server.dbname, mark)
    with maintenance(maintenance_server(server), "dropping the database beside") as connection:
        if progress_of(connection, swap) is not None:
            drop(connection, swap.beside)


_SLOTS = "SELECT slot_name FROM pg_catalog.pg_replication_slots WHERE database = %s ORDER BY slot_name"
_SLOT_STAYS = (
    "The replication slot {slot} stays with {previous}: whoever reads it hears nothing of the restored database, and "
    "it keeps WAL until it is dropped. Create it again in the restored database, with a new copy for its reader."
)


def _content(dump: Path, options: PgRestoreOptions) -> str:
    """Return what tells this filling from one of another dump, or with other options."""
    return hashlib.sha256(f"{dump.stem} {options!r}".encode()).hexdigest()[:12]


@contextmanager
def _telling_what_is_kept(elsewhere: Server, swap: Swap) -> Iterator[None]:
    try:
        yield
    except GlacierProviderError as error:
        kept = kept_beside(elsewhere, swap)
        if kept:
            error.message = f"{error.message} {kept}"
        raise


@dataclass
class _Job:
    """One try of one swap."""

    server: Server
    elsewhere: Server
    tools: Tools
    dump: Path
    toc: Toc
    options: PgRestoreOptions
    swap: Swap
    jobs: int
    on_error: OnError
    progress: TaskLog
    checking: RestoreChecking | None = None
    warnings: list[str] = field(default_factory=list)
    analyzed: bool = True
    failed: tuple[FailedStatement, ...] = ()
    refused: tuple[FailedStatement, ...] = ()  #: privileges that nobody has to decide about
    servers_own: tuple[FailedStatement, ...] = ()

    @property
    def beside(self) -> Server:
        return self.server.with_database(self.swap.beside)

    def run(self) -> None:
        """Go on from where an earlier try came to."""
        with maintenance(self.elsewhere, "looking for the database beside") as connection:
            reached = progress_of(connection, self.swap)
        if reached in (None, Filling.UNFINISHED):
            reached = self._fill()
        else:
            self.progress(f"{self.swap.beside} was filled by an earlier try, which is gone on with.")
        if reached is Filling.IN_PART and self.on_error is not OnError.ACCEPT:
            raise self._restored_in_part()
        if reached is not Filling.READY:
            unfresh = analyze_all(self.beside, self.jobs, self.progress)
            self.warnings += unfresh
            self.analyzed = not unfresh
            if reached is Filling.FILLED:
                self._mark(Filling.READY)
        if self.checking is not None:
            self.checking.of(self.beside, in_part=reached is Filling.IN_PART)
        with maintenance(self.elsewhere, "copying what belongs to the database") as connection:
            slots = [str(slot) for (slot,) in connection.execute(_SLOTS, (self.swap.database,)).fetchall()]
            self.warnings += [_SLOT_STAYS.format(slot=slot, previous=self.swap.previous) for slot in slots]
            self.warnings += copy_properties(connection, self.swap.database, self.swap.beside)
        rename_both(self.server, self.elsewhere, self.swap, self.progress)

    def _fill(self) -> Filling:
        filled = self._filled()
        self.warnings += filled.warnings
        self.failed, self.refused = filled.failed, (*self.servers_own, *filled.refused)
        if self.checking is not None:
            self.checking.without(one.object for one in self.refused)
        reached = Filling.IN_PART if filled.failed else Filling.FILLED
        self._mark(reached)
        return reached

    def _restored_in_part(self) -> RestoredInPart:
        """Return the error for a person; what failed is known to the try that filled, and recorded by it."""
        what = "Statements of the dump failed in an earlier try, everything else is restored"
        if self.failed:
            first = "; ".join(map(str, self.failed[:3]))
            what = f"{counted(len(self.failed), 'statement')} of the dump failed, everything else is restored: {first}"
        error = RestoredInPart(f"{what.rstrip('.')}. The database is as it was.")
        error.failed = tuple(one.as_dict() for one in self.failed)
        return error

    def _filled(self) -> Filled:
        entries = self._restorable()
        with maintenance(self.elsewhere, "creating the new database") as connection:
            entries, self.servers_own = without_the_servers_own(connection, entries)
            check_content(
                connection,
                self.server,
                self.toc.header,
                entries,
                self.options,
                lenient=self.on_error is not OnError.STOP,
            )
            create_beside(self.server, connection, self.swap, self.progress)
            settings = own_settings(connection, self.swap.database)
        self.progress(
            f"Restoring {len(entries):,} entries of {self.dump.name} into the new database {self.swap.beside}."
        )
        try:
            return fill(
                self.beside,
                self.tools,
                self.dump,
                entries,
                self.options,
                jobs=self.jobs,
                lenient=self.on_error is not OnError.STOP,
                progress=self.progress,
                settings=settings,
            )
        except GlacierProviderError:
            self._drop_half_filled()
            raise

    def _restorable(self) -> list[TocEntry]:
        """Return the entries that a restore in a transaction would bring, too."""
        entries = restorable_entries(self.tools, self.dump, self.toc)
        self.warnings += [
            f"{entry} is not restored: the one of {self.swap.previous} goes on there, and may be the only user of its "
            "slot. Disable it and set its slot to NONE before that database is dropped."
            for entry in entries
            if entry.desc == "SUBSCRIPTION"
        ]
        return what_a_swap_restores(entries, self.options)

    def _drop_half_filled(self) -> None:
        """Free the disk of a database that was filled in vain; should that fail too, the next try does it."""
        try:
            with maintenance(self.elsewhere, "dropping the half filled database") as connection:
                drop(connection, self.swap.beside)
        except GlacierProviderError as error:
            self.progress(f"{self.swap.beside} could not be dropped: {error.message}")

    def _mark(self, reached: Filling) -> None:
        with maintenance(self.elsewhere, "marking the new database") as connection:
            mark_beside(connection, self.swap, reached)
