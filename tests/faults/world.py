"""A small application with a plain model beside it: what must be true after any number of deaths and faults.

Every task runs as Airflow runs it: perhaps in a process that is killed, then once more; a retryable error is tried
again. What a task returned is lost with its process; the retry finds it out anew.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from psycopg import OperationalError

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.archive import ArchiveKind, StoredArchive
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.reconciliation import KnownArchive, Verdict, verdict_of
from glacier_provider.core.status import ArchiveState
from glacier_provider.errors import ArchiveCold, GlacierProviderError, LeaseHeld, RetrievalFailed
from glacier_provider.pipelines import backup, restore
from glacier_provider.pipelines.delete import delete_backup, plan_deletion
from glacier_provider.pipelines.reconcile import Reconciled, reconcile
from glacier_provider.postgres import Server
from glacier_provider.stores.contract import ArchiveStore
from glacier_provider.stores.s3.keys import is_no_archive
from glacier_provider.stores.vault.descriptions import description_from_text
from tests.faults.instants import Ended, Sleeper, run_in_child
from tests.faults.mail import Mail, notices_at_once
from tests.faults.places import Place
from tests.support.application import an_application

MIB = 1024 * 1024
LARGE = 9 * MIB  # above what one request sends, in two parts
LONG_AGO = 1_700_000_000  # files that were there before any restore began
TRIES = 12
QUICK = 0.01  # seconds that an emulated retrieval takes
HOUR = 3600.0  # what one takes whose end is told of
#: What a process that slept through its lease may be told when it wakes.
FAMILY = re.compile(
    r"glacier_provider\.errors\.(LeaseLost|LeaseHeld|IllegalMove|CatalogUnavailable|UnknownBackup|FileMissing)"
)
LISTENS = 6  # times, before everything is looked at all the same

Answer = TypeVar("Answer")
Files = dict[str, bytes]
Rows = list[tuple[int, str]]


@dataclass(frozen=True)
class Kill:
    """Die in one task, at one of its instants: its number (from 1), or what its label begins with.

    `abandoned`: nobody runs the task again, as when a machine is lost with its scheduler. `sleeps`: the process is
    stopped there and not killed; it goes on when others have worked meanwhile, and nobody runs the task again.
    """

    step: str
    at: int | str
    abandoned: bool = False
    sleeps: bool = False


class Abandoned(Exception):
    """A run died and is not continued."""


@dataclass
class Figures:
    """What happened so far."""

    tasks: int = 0
    kills: int = 0
    killed_at: Counter[str] = field(default_factory=Counter)
    outlived: Counter[str] = field(default_factory=Counter)
    slept_at: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    strays: int = 0
    most_duplicates: int = 0
    settled: int = 0
    deleted: int = 0
    waits: Counter[str] = field(default_factory=Counter)

    def killed_in(self) -> Counter[str]:
        """Return the kills by task."""
        steps: Counter[str] = Counter()
        for where, number in self.killed_at.items():
            steps[where.partition(":")[0]] += number
        return steps


@dataclass(frozen=True)
class Parts:
    """What one process works with."""

    catalog: Catalog
    store: ArchiveStore

    def stores(self, uri: str) -> ArchiveStore:
        assert uri == self.store.uri
        return self.store


class World:
    """One application on one emulated store, the model of it, and the tasks that change both."""

    def __init__(self, directory: Path, place: Place, *, database: Server, catalog: Server, **settings: Any) -> None:
        self.place = place
        self.server = database
        self.catalog_server = catalog
        self.application = an_application(directory, store=place.uri, **{"part_size_mib": 8, **settings})
        self.figures = Figures()
        self.kill: Kill | None = None
        self.instants: dict[str, list[str]] = {}
        self.record_instants = False
        self.here = self._parts()
        self.present: Files = {}
        self.rows: Rows = []
        self.backups: dict[int, tuple[Files, Rows]] = {}
        self._numbers = iter(range(1, 10**9))
        self._connections: dict[bool, Any] = {}
        self.mail: Mail | None = None
        self.liar: random.Random | None = None
        self.last_try = False
        self.skip = ""  # a task that a person marks as done
        self.meanwhile: Callable[[], object] = lambda: None  # what others do while a process sleeps
        self.between: Callable[[], object] = lambda: None  # what others do once a restore has brought its files
        self.sql("CREATE TABLE documents (id integer PRIMARY KEY, title text NOT NULL)")

    def close(self) -> None:
        self.here.catalog.close()
        for connection in self._connections.values():
            connection.close()

    def renew(self) -> None:
        """Begin anew with an empty catalog and an empty store; files and rows stay."""
        self.here.catalog.close()
        self.sql("DROP SCHEMA IF EXISTS glacier_catalog CASCADE", catalog=True)
        self.place = self.place.another(next(self._numbers))
        self.application = replace(self.application, store=self.place.uri)
        for directory in (self.application.orphan_directory, self.application.staging_directory):
            shutil.rmtree(directory, ignore_errors=True)
        self.here, self.mail = self._parts(), None
        self.backups.clear()

    # --- the model's own deeds ---

    @property
    def files(self) -> Path:
        return Path(self.application.files_directory)

    @property
    def orphans(self) -> Path:
        return Path(self.application.orphan_directory)

    def sql(self, statement: str, *parameters: Any, catalog: bool = False) -> list[tuple[Any, ...]]:
        """Ask on a connection of the test's own; anew when its server was stopped since, or its session ended."""
        try:
            return self._ask(catalog, statement, parameters)
        except OperationalError:
            if stale := self._connections.pop(catalog, None):
                stale.close()
            return self._ask(catalog, statement, parameters)

    def _ask(self, catalog: bool, statement: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if catalog not in self._connections:
            known = (self.catalog_server if catalog else self.server).connect(autocommit=True)
            if catalog:
                known.execute("SET search_path TO glacier_catalog, pg_catalog")
            self._connections[catalog] = known
        cursor = self._connections[catalog].execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def add_file(self, chance: random.Random, size: int | None = None) -> str:
        """Write a file of a new name, as old as all others."""
        number = next(self._numbers)
        folder = chance.choice(["", "", "sub/", "sub/deep er/", "ümlaut/"])
        name = f"{folder}file {number}.bin"
        size = chance.choice([0, 1, 100, 5000]) if size is None else size
        seed = f"{number} of {size};".encode()
        self.put_file(name, (seed * (size // len(seed) + 1))[:size])
        return name

    def put_file(self, name: str, content: bytes) -> None:
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (LONG_AGO, LONG_AGO))
        self.present[name] = content

    def delete_file(self, name: str) -> None:
        (self.files / name).unlink()
        del self.present[name]

    def add_row(self) -> None:
        number = next(self._numbers)
        self.sql("INSERT INTO documents VALUES (%s, %s)", number, f"Title {number}")
        self.rows = [*self.rows, (number, f"Title {number}")]

    def delete_row(self, number: int) -> None:
        self.sql("DELETE FROM documents WHERE id = %s", number)
        self.rows = [row for row in self.rows if row[0] != number]

    # --- tasks, as Airflow runs them ---

    def another_catalog(self) -> Catalog:
        """Open the catalog on a connection of its own."""
        return Catalog(self.catalog_server.connect, schema="glacier_catalog", application=self.application.name)

    def _parts(self) -> Parts:
        return Parts(self.another_catalog(), self.place.opener()())

    def pass_time(self, seconds: float) -> None:
        """Let time pass in the store, and for who asks it."""
        self.place.pass_time(seconds)
        if self.mail is not None:
            self.mail.pass_time(seconds)
        self.here = Parts(self.here.catalog, self.place.opener()())

    def task(self, step: str, work: Callable[[Parts], Answer]) -> Answer:
        """Run one task to its end; first in a process that dies, when the kill is meant for it."""
        self.figures.tasks += 1
        if step == self.skip:
            return None  # type: ignore[return-value]
        if self.kill is not None and self.kill.step == step:
            kill, self.kill = self.kill, None
            if kill.sleeps:
                self._sleep(step, work, kill)
            else:
                self._die(step, work, kill)
        elif self.record_instants:
            ended = self._in_child(work, None)
            assert ended.error is None, f"{step}: {ended.error}"
            self.instants[step] = max(self.instants.get(step, []), list(ended.instants), key=len)
        return self._try_often(step, work)

    def _die(self, step: str, work: Callable[[Parts], Answer], kill: Kill) -> None:
        ended = self._in_child(work, kill.at)
        if ended.killed:
            self.place.settle()
            self.figures.kills += 1
            self.figures.killed_at[f"{step}: {ended.instants[-1]}"] += 1
        else:
            if ended.error is not None and not self.place.plan.rules():
                self._try_often(step, work)  # what it says of its own is judged as without a kill
                raise AssertionError(f"{step}, and not when it is tried again: {ended.error}")
            assert not isinstance(kill.at, str), f"{step} never got to {kill.at}: {ended.instants}"
            self.kill = kill  # the next task of this step may get there
        if kill.abandoned:
            self._forget_kill()
            raise Abandoned(step)

    def _sleep(self, step: str, work: Callable[[Parts], Answer], kill: Kill) -> None:
        sleeper = Sleeper(self._live(work), kill.at)
        if not sleeper.stopped:
            ended = sleeper.wake()
            assert ended.error is None, f"{step}: {ended.error}"
            self.kill = kill  # the next task of this step may get there
            return
        try:
            self.meanwhile()
        finally:
            ended = sleeper.wake()
        where = next((label for label in ended.instants[int(kill.at) - 1 :][:1]), "")
        self.figures.slept_at[f"{step}: {where}"] += 1
        assert ended.error is None or FAMILY.search(ended.error), f"{step}, slept {where}: {ended.error}"
        raise Abandoned(step)

    def _forget_kill(self) -> None:
        """Count a kill whose instant never came."""
        if self.kill is not None:
            self.figures.outlived[self.kill.step] += 1
        self.kill = None

    def _in_child(self, work: Callable[[Parts], Answer], kill_at: int | str | None) -> Ended:
        return run_in_child(self._live(work), kill_at=kill_at)

    def _live(self, work: Callable[[Parts], Answer]) -> Callable[[], None]:
        open_store = self.place.opener()

        def live() -> None:
            work(Parts(self.another_catalog(), open_store()))

        return live

    def _try_often(self, step: str, work: Callable[[Parts], Answer]) -> Answer:
        for _ in range(TRIES - 1):
            try:
                return work(self.here)
            except GlacierProviderError as error:
                if not error.retryable:
                    raise
                self.figures.retries[f"{step}: {type(error).__name__}"] += 1
                time.sleep(0.5 if isinstance(error, LeaseHeld) else 0.02)
        return work(self.here)

    def back_up(self, run: Run | None = None, kill: Kill | None = None) -> int:
        """Run the backup's tasks; return the id of a backup that the model has noted."""
        run, app, self.kill = run or self.a_run("backup"), self.application, kill
        backup_id = self.task(
            "open_backup", lambda has: backup.open_backup(app, run, catalog=has.catalog, store=has.store)
        )
        self.task(
            "dump_database",
            lambda has: backup.dump_database(app, backup_id, catalog=has.catalog, server=self.server, store=has.store),
        )
        ranges = self.task("scan_files", lambda has: backup.scan_files(app, backup_id, catalog=has.catalog)) or []
        self.task(
            "upload_database", lambda has: backup.upload_database(app, backup_id, catalog=has.catalog, store=has.store)
        )
        for share in ranges:
            self.task(
                "upload_files",
                lambda has, share=share: backup.upload_files(
                    app,
                    backup_id,
                    ArchiveRange.from_dict(share),
                    catalog=has.catalog,
                    store=has.store,
                    last_try=self.last_try,
                ),
            )
        self.task("close_backup", lambda has: backup.close_backup(app, backup_id, catalog=has.catalog, store=has.store))
        self._forget_kill()
        self._note_backup(backup_id)
        return backup_id

    def _note_backup(self, backup_id: int) -> None:
        self.backups[backup_id] = (dict(self.present), list(self.rows))

    @contextmanager
    def listening(self, chance: random.Random) -> Iterator[Mail]:
        """Let restores hear of their retrievals, which take an hour, through a queue in which others lie by chance."""
        self.mail = self.mail or self.place.mail(self.application)
        self.liar = chance
        self.place.retrievals_take(HOUR)
        try:
            with notices_at_once():
                yield self.mail
        finally:
            self.liar = None
            self.place.retrievals_take(QUICK)
            self.pass_time(HOUR)  # what an abandoned restore asked for comes as well

    def restore(self, backup_id: int, run: Run | None = None, kill: Kill | None = None, **params: Any) -> int:
        """Run the restore's tasks; return the id of the restore, after which the model is what the backup was."""
        run, app, self.kill = run or self.a_run("restore"), self.application, kill
        request = RestoreRequest.from_params({"backup_id": backup_id, **params})
        planned = self.task(
            "plan_restore",
            lambda has: restore.plan_restore(app, run, request, catalog=has.catalog, stores=has.stores),
        )
        restore_id = int(planned["restore_id"])
        ranges = [ArchiveRange.from_dict(share) for share in planned["ranges"]]
        for _ in range(TRIES):
            with suppress(ArchiveCold, RetrievalFailed):
                self._bring(restore_id, ranges)
                break
        else:
            self._bring(restore_id, ranges)
        self.between()
        self.task(
            "restore_database",
            lambda has: restore.restore_database(app, restore_id, catalog=has.catalog, server=self.server),
        )
        self.task("move_orphans", lambda has: restore.move_orphans(app, restore_id, catalog=has.catalog))
        self.task("close_restore", lambda has: restore.close_restore(app, restore_id, catalog=has.catalog))
        self._forget_kill()
        self._note_restore(restore_id, backup_id)
        return restore_id

    def _note_restore(self, _restore_id: int, backup_id: int) -> None:
        files, rows = self.backups[backup_id]
        self.present, self.rows = dict(files), list(rows)

    def _bring(self, restore_id: int, ranges: list[ArchiveRange]) -> None:
        app = self.application
        for wanted in ranges:
            self.task(
                "request_retrievals",
                lambda has, wanted=wanted: restore.request_retrievals(
                    app, restore_id, wanted, catalog=has.catalog, stores=has.stores
                ),
            )
        self._wait(restore_id)
        for wanted in ranges:
            self.task(
                "download",
                lambda has, wanted=wanted: restore.download_archives(
                    app, restore_id, wanted, catalog=has.catalog, stores=has.stores
                ),
            )

    def _wait(self, restore_id: int) -> None:
        """Look at everything until all can be read, as the sensor does; and listen between two looks, if anybody does.

        What ended before it was waited for is no wait.
        """
        app, deadline, ended = self.application, time.monotonic() + 60, ""
        while not self._is_done(
            restore_id,
            self.task(
                "poll_retrievals",
                lambda has: restore.poll_retrievals(app, restore_id, catalog=has.catalog, stores=has.stores),
            ),
        ):
            assert time.monotonic() < deadline, restore.describe_still_missing(restore_id, catalog=self.here.catalog)
            if self.mail is None or self.liar is None:
                time.sleep(0.03)  # until the next look, as between two of the sensor
            else:
                ended = "by a message" if self._hear(restore_id, self.mail, self.liar) else "by a look"
        if ended:
            self.figures.waits[ended] += 1

    def _is_done(self, restore_id: int, waiting: restore.Waiting) -> bool:
        if waiting.failed:
            restore.raise_failed_retrievals(restore_id, catalog=self.here.catalog)
        return waiting.done

    def _hear(self, restore_id: int, mail: Mail, chance: random.Random) -> bool:
        """Listen until messages ended the wait, or none comes; before its time no message does."""
        mine = chance.random() < 0.7
        keys = self.sql(_RESTORED, restore_id, catalog=True) if mine else self.sql(_READABLE, catalog=True)
        mail.send_nonsense(chance, [key for (key,) in keys])
        outcome = self.task("hear_others", lambda has: mail.listen(has, restore_id))
        assert outcome is None or not outcome.done, "somebody's word was believed"
        self.pass_time(HOUR)
        for _ in range(LISTENS):
            if mail.comes_soon():
                outcome = self.task("hear_messages", lambda has: mail.listen(has, restore_id))
                if outcome is not None and self._is_done(restore_id, outcome):
                    return True
        return False

    def undo_orphans(self, restore_id: int, kill: Kill | None = None) -> dict[str, int]:
        """Move orphans back; the model gets those whose names are free."""
        self.kill = kill
        aside = {
            name: (self.orphans / subdirectory / name).read_bytes()
            for name, subdirectory in self.sql(
                "SELECT filename, subdirectory FROM orphan_moves WHERE restore_id = %s AND state = 'moved'",
                restore_id,
                catalog=True,
            )
            if (self.orphans / subdirectory / name).is_file()
        }
        replaced = {
            name
            for (name,) in self.sql(
                "SELECT filename FROM orphan_moves WHERE restore_id = %s AND state = 'moved'"
                " AND replaced_by IS NOT NULL",
                restore_id,
                catalog=True,
            )
        }
        answer = self.task(
            "undo_orphans",
            lambda has: restore.undo_orphans(self.application, restore_id, catalog=has.catalog),
        )
        self._forget_kill()
        back = {name: content for name, content in aside.items() if name in replaced}
        self.present = {**aside, **self.present, **back}
        return answer

    def delete(self, backup_id: int, kill: Kill | None = None, *, force: bool = False) -> int:
        """Run the deletion's tasks; return how many archives the last try of it deleted."""
        run, app, self.kill = self.a_run("delete"), self.application, kill
        self.task("plan_deletion", lambda has: plan_deletion(backup_id, catalog=has.catalog))
        figures = self.task(
            "delete_backup",
            lambda has: delete_backup(app, backup_id, run, catalog=has.catalog, stores=has.stores, force=force),
        )
        self._forget_kill()
        self.backups.pop(backup_id, None)
        self.figures.deleted += 1
        self._check_deleted(backup_id)
        return int(figures["archives"])

    def _check_deleted(self, backup_id: int) -> None:
        """What it alone needed is gone; a failed backup may still hold files that are in no complete one."""
        states = dict(self.sql("SELECT id, state FROM application_data_backups", catalog=True))
        assert states[backup_id] == "deleted"
        kept = [name for (name,) in self.sql(_NEEDED_BY_NOBODY, catalog=True)]
        assert not kept or "failed" in states.values(), f"nobody needs {kept}"

    def reconcile(self) -> list[Reconciled]:
        """Let days pass until the store tells of everything, and settle what is in doubt."""
        self.pass_time(3 * 86400)
        self.place.list_anew()
        done = self.task(
            "reconcile",
            lambda has: reconcile(self.application, catalog=has.catalog, stores=has.stores, everything=True),
        )
        self.figures.settled += sum(one.deleted + one.adopted + one.noted for one in done)
        return done

    def a_run(self, kind: str) -> Run:
        return Run(f"glacier_{kind}__{self.application.name}", f"run {next(self._numbers)}")

    def end_lease(self) -> None:
        """Let the time of a dead run's lease pass."""
        self.sql(
            "UPDATE applications SET lease_until = clock_timestamp() - interval '1 second'"
            " WHERE lease_until IS NOT NULL",
            catalog=True,
        )

    # --- what must be true ---

    def contents(self) -> Files:
        return {
            os.path.relpath(os.path.join(path, name), self.files): (Path(path) / name).read_bytes()
            for path, _, names in os.walk(self.files)
            for name in names
        }

    def check_all(self, *, abandoned: bool = False) -> None:
        """Everything that holds whenever no task runs; `abandoned`: some runs died and were never continued."""
        self.check_application()
        self.check_store(abandoned=abandoned)
        self.check_backups()
        self.check_journal()
        self.check_nothing_is_left()

    def check_application(self) -> None:
        there = self.contents()
        assert set(there) == set(self.present), sorted(set(there) ^ set(self.present))
        other = sorted(name for name, content in there.items() if content != self.present[name])
        assert not other, f"with another content: {other}"
        assert self.sql("SELECT id, title FROM documents ORDER BY id") == sorted(self.rows)

    def check_backups(self) -> None:
        """Every backup of the model is complete and contains what the directory held."""
        states = dict(self.sql("SELECT id, state FROM application_data_backups", catalog=True))
        assert {number for number, state in states.items() if state == "complete"} == set(self.backups)
        members: dict[int, dict[str, int]] = {number: {} for number in self.backups}
        for backup_id, name, size in self.sql(_MEMBERS, list(self.backups), catalog=True):
            assert name not in members[backup_id], f"{name} is twice in backup {backup_id}"
            members[backup_id][name] = size
        for number, (files, _) in self.backups.items():
            assert members[number] == {name: len(content) for name, content in files.items()}, f"backup {number}"

    def check_store(self, *, abandoned: bool = False) -> None:
        """Catalog and store agree; nothing is there twice unless the store cannot help it, and then it is known.

        Of a run that was never continued there may be what it sent last.
        """
        archived = self.sql(
            "SELECT key, stored_size FROM glacier_archives WHERE state = 'archived' AND key NOT LIKE 'empty:%%'",
            catalog=True,
        )
        held = {one.key: one for one in self.place.held()}
        lost = [key for key, size in archived if key not in held or held[key].size != size]
        assert not lost, f"archived, and not in the store: {lost}"
        deleted = {key for (key,) in self.sql("SELECT key FROM glacier_archives WHERE state = 'deleted'", catalog=True)}
        assert not deleted & set(held), "deleted, and still in the store"
        known = {key for key, _ in archived}
        known |= {key for (key,) in self.sql(_KNOWN_OTHERWISE, catalog=True)}
        duplicates, strays = 0, 0
        for one in (one for key, one in held.items() if key not in known and not is_no_archive(key)):
            verdict = self._verdict(one)
            assert verdict in (Verdict.SURPLUS, Verdict.ADOPT, Verdict.NOTE), f"nobody knows {one}"
            duplicates, strays = duplicates + (verdict is Verdict.SURPLUS), strays + (verdict is not Verdict.SURPLUS)
        self.figures.duplicates, self.figures.strays = duplicates, strays
        self.figures.most_duplicates = max(self.figures.most_duplicates, duplicates)
        if self.place.exact and not abandoned:
            assert (duplicates, strays) == (0, 0), f"{duplicates} duplicates, {strays} strays"

    def _verdict(self, one: Any) -> Verdict:
        assert one.description is not None, f"{one.key} says nothing about itself"
        rows = self.sql(
            "SELECT state, backup_id, filename, original_size, key, sha256, checksum, earlier_sha256s"
            " FROM glacier_archives WHERE id = %s",
            one.description.archive_id,
            catalog=True,
        )
        known = KnownArchive(ArchiveState(rows[0][0]), *rows[0][1:-1], tuple(rows[0][-1])) if rows else None
        if known is not None:
            known = replace(known, written_by=self.here.catalog.writers.of(known.backup_id))
        found = StoredArchive(one.key, one.size, one.description, one.checksum)
        return verdict_of(found, known, application=self.application.name)

    def check_journal(self) -> None:
        """A move is journalled as made exactly when the file lies aside."""
        moves = self.sql("SELECT state, subdirectory, filename FROM orphan_moves", catalog=True)
        aside = {os.path.relpath(path, self.orphans) for path in self.orphans.rglob("*") if path.is_file()}
        assert aside == {f"{folder}/{name}" for state, folder, name in moves if state == "moved"}
        assert not [name for state, _, name in moves if state == "planned"]

    def check_nothing_is_left(self) -> None:
        """No temporary file, no half upload, no lease; a dead run's are cleared by the next backup, not before."""
        assert not (left := list(self.files.rglob(".glacier-tmp*"))), left
        holders = self.sql("SELECT lease_holder FROM applications", catalog=True)
        assert holders in ([], [(None,)]), holders
        if self.sql(_UNFINISHED, catalog=True):
            return
        doubtful = {row[0] for row in self.sql(_DOUBTFUL, catalog=True)}
        # A vault frees an idle upload after a day by itself; one of an archive in doubt may wait for that.
        open_uploads = [text for text in self.place.uploads() if self.place.exact or _archive_of(text) not in doubtful]
        # The look at the store that opens a backup begins an upload without parts; the next look clears one that died.
        open_uploads = [text for text in open_uploads if not text.endswith(".glacier-provider-check")]
        assert not open_uploads, open_uploads
        staging = Path(self.application.staging_directory)
        dirs = sorted(path.name for path in staging.iterdir()) if staging.exists() else []
        assert not (kept := [name for name in dirs if not self._may_stay(name)]), kept
        assert not (rows := self.sql(_UNSENT, catalog=True)), rows

    def _may_stay(self, _staged: str) -> bool:
        """Whether a directory in staging waits for the next run of its kind to clear it."""
        return False

    def check_paid_once(self) -> None:
        """No retrieval is paid for that the catalog does not know."""
        made = self.place.retrievals_made()
        if made is not None:
            ((known,),) = self.sql("SELECT count(*) FROM glacier_retrievals", catalog=True)
            assert made <= known, f"{made} retrievals asked for, {known} known"

    def dump_retrieved(self, backup_id: int) -> str:
        row = self.here.catalog.archives.of_backup(backup_id, ArchiveKind.DATABASE)
        assert row is not None
        return str(row["retrieval_status"])


def _archive_of(text: str) -> int | None:
    """Return the archive id in the description of a vault's upload."""
    told = description_from_text(text)
    return told.archive_id if told else None


#: Archives of files that left the directory and are in no backup that can be restored or goes on.
_NEEDED_BY_NOBODY = """
SELECT a.filename FROM glacier_archives a
 WHERE a.kind = 'file' AND a.state = 'archived'
   AND NOT EXISTS (SELECT FROM backup_files o WHERE o.archive_id = a.id AND o.last_backup_id IS NULL)
   AND NOT EXISTS (SELECT FROM backup_files o JOIN application_data_backups b
                       ON b.id BETWEEN o.first_backup_id AND o.last_backup_id
                    WHERE o.archive_id = a.id AND b.state IN ('complete', 'running', 'failed'))
"""

#: Backups that ended otherwise than complete since the last complete one.
_UNFINISHED = """
SELECT 1 FROM application_data_backups b WHERE b.deleted_at IS NULL AND b.state <> 'complete'
   AND NOT EXISTS (SELECT FROM application_data_backups later WHERE later.id > b.id AND later.closed_at IS NOT NULL
                      AND later.manifest_archive_id IS NOT NULL)
UNION ALL
SELECT 1 FROM application_data_backups b WHERE b.state IN ('deleting', 'deleted') AND b.manifest_archive_id IS NULL
   AND NOT EXISTS (SELECT FROM application_data_backups later WHERE later.id > b.id
                      AND later.manifest_archive_id IS NOT NULL)
"""

_UNSENT = """
SELECT id, filename, state, error FROM glacier_archives WHERE state IN ('planned', 'uploading') AND kind <> 'manifest'
"""

#: Archives whose sending had an unknown outcome.
_DOUBTFUL = "SELECT id FROM glacier_archives WHERE doubtful_since IS NOT NULL"

#: What lies in the store and is on its way out, or was given up and found.
_KNOWN_OTHERWISE = """
SELECT key FROM glacier_archives WHERE key IS NOT NULL AND state IN ('deleting', 'failed')
"""

#: What somebody may lie about: archives of one restore, or any.
_RESTORED = """
SELECT a.key FROM restore_archives r JOIN glacier_archives a ON a.id = r.archive_id
 WHERE r.restore_id = %s AND r.source = 'store' AND a.key NOT LIKE 'empty:%%' ORDER BY a.id
"""
_READABLE = "SELECT key FROM glacier_archives WHERE state = 'archived' AND key NOT LIKE 'empty:%' ORDER BY id"

_MEMBERS = """
SELECT b.id, a.filename, a.stored_size FROM application_data_backups b
  JOIN backup_files f ON f.first_backup_id <= b.id AND (f.last_backup_id IS NULL OR f.last_backup_id >= b.id)
  JOIN glacier_archives a ON a.id = f.archive_id
 WHERE b.id = ANY(%s) AND a.state = 'archived' AND a.kind = 'file'
"""
