"""What the catalog knows and does about restores: plan, paid requests, what was placed, the orphans' journal."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from glacier_provider.catalog.archives import ArchiveRange
from glacier_provider.catalog.backups import Backups, Run, lease_holder
from glacier_provider.catalog.copies import expire_copies, forget_what_is_over
from glacier_provider.catalog.copy_format import YoungFile
from glacier_provider.catalog.database import PAGE_SIZE, Database, Row, amount_of, waited_in_vain
from glacier_provider.catalog.scans import FileSeen, Scans
from glacier_provider.core.archive import Amount
from glacier_provider.core.plan import RestoreRequest
from glacier_provider.core.status import BY_BATCH_JOB, RetrievalStatus
from glacier_provider.core.text import NAMED
from glacier_provider.errors import CatalogError, CatalogUnavailable, IllegalMove, UnknownBackup

#: So many neighbouring archive ids are asked for in turn; the mapped tasks of one large restore seldom share any.
LANE = 16_384
#: So many are meant, asked for and noted at a time: each time has its commits, and its wait for the last answer.
_ASKED_AT_ONCE = 5 * PAGE_SIZE
#: All archives that there can be.
EVERYTHING = ArchiveRange(0, 2**62)
_ALL_IDS = {"after": EVERYTHING.first - 1, "upto": EVERYTHING.last}
#: Of so many is known at a time how they are: a few rows, and the keys of what is waited for.
LOOKED_AT_ONCE = 5 * PAGE_SIZE


@dataclass(frozen=True, slots=True)
class SetAside:
    """A missing file that lies in the orphan directory, and the checksum that the store confirmed of it."""

    archive_id: int
    filename: str
    size: int
    checksum: str
    subdirectory: str
    move_id: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A backup compared with the directory. `members`: how many files it has; None when they were not looked at."""

    present: Amount
    members: int | None
    differing: list[Row]
    lost: list[str]
    figures: list[Row]


@dataclass(frozen=True, slots=True)
class RetrievalIntent:
    """One paid request, known before it is sent. `confirmed` tells that the store took it.

    `left_over`: nobody knows whether it did, since who meant to ask died or lost the answer.
    """

    id: int
    archive_id: int
    store_uri: str
    key: str
    tier: str
    days: int
    job_id: str | None
    confirmed: bool
    left_over: bool = False

    @property
    def is_by_job(self) -> bool:
        """Whether a job of S3 Batch Operations asks for it, with many others."""
        return (self.job_id or "").startswith(BY_BATCH_JOB)


@dataclass(frozen=True, slots=True)
class RestorePage:
    """What the catalog knows of a page of a restore's archives.

    How many of those that come from a store are in which status, and how many of them are `to_request`; the keys of
    what is `waited` for, by store; the bounds of the page. One that `is_full` may have others behind it.
    """

    archives: Mapping[RetrievalStatus, int]
    is_full: bool
    to_request: int
    waited: Mapping[str, Sequence[str]]
    page: Mapping[str, int]


def _page_of(rows: Sequence[Row], page: Mapping[str, int], *, is_full: bool) -> RestorePage:
    ours = [row for row in rows if row["source"] == "store"]
    waited: dict[str, list[str]] = {}
    for row in rows:
        if row["keys"]:
            waited.setdefault(row["store_uri"], []).extend(row["keys"])
    return RestorePage(
        archives={
            RetrievalStatus(status): sum(row["archives"] for row in ours if row["status"] == status)
            for status in {row["status"] for row in ours}
        },
        is_full=is_full,
        to_request=sum(row["not_empty"] for row in ours if row["status"] == RetrievalStatus.AVAILABLE),
        waited=waited,
        page=page,
    )


class Restores:
    """The restores of one application."""

    def __init__(self, database: Database, backups: Backups, scans: Scans) -> None:
        self._db = database
        self._backups = backups
        self._scans = scans

    # --- life ------------------------------------------------------------------------------------------------

    def open(self, run: Run, backup_id: int, request: RestoreRequest) -> int:
        """Return the id of this run's restore, new or planned again; raise IllegalMove when it is complete."""
        from psycopg.types.json import Jsonb

        key = {"application_id": self._backups.application_id, "dag_id": run.dag_id, "dag_run_id": run.dag_run_id}
        asked = Jsonb(request.as_dict())
        row, known = None, self._db.row("restore_of_run", **key)
        if known is None:
            row = self._db.row("insert_restore", **key, backup_id=backup_id, request=asked)
            known = None if row else self._db.row("restore_of_run", **key)
        if known is not None:
            row = self._db.row("reopen_restore", restore_id=known["id"], backup_id=backup_id, request=asked)
        if row is None:
            self._backups.restorable(backup_id)  # deleted meanwhile: its error says so
            raise IllegalMove(
                "The restore of this run is already complete.", hint="Trigger a new run to restore again."
            )
        return int(row["id"])

    def of_run(self, run: Run) -> int | None:
        """Return the id of this run's restore, if it opened one."""
        row = self._db.row(
            "restore_of_run", application_id=self._backups.application_id, dag_id=run.dag_id, dag_run_id=run.dag_run_id
        )
        return None if row is None else int(row["id"])

    def get(self, restore_id: int) -> Row:
        row = self._db.row("restore", restore_id=restore_id)
        if row is None:
            raise UnknownBackup(f"There is no restore {restore_id}.", hint="List them with: glacier-backup restores")
        return row

    def goes_elsewhere(self, restore_id: int) -> bool:
        """Whether the restore goes into another place than the application's own."""
        return bool(self.get(restore_id)["request"].get("into"))

    def start(self, restore_id: int, step: str | None = None, *, notes_missing: bool = True) -> None:
        """Begin or go on; raise IllegalMove when the restore is complete. What its plan found missing is noted now, or
        else by `intend_retrievals`.

        One that failed runs again with the step that failed, or with the last (none is named): it stays failed while
        others of its run, which share its work, go on.
        """
        self._announce(restore_id)
        expire_copies(self._db)
        with self._db.transaction():
            started = self._db.row("start_restore", restore_id=restore_id, step=step)
            if started is not None:
                if notes_missing:
                    self.note_missing(restore_id)
                return
        restore = self.get(restore_id)
        if restore["state"] != "complete":
            self._backups.restorable(restore["backup_id"])  # deleted meanwhile: its error says so
            if "clearing" in restore["outcome"]:
                raise IllegalMove(
                    f"Restore {restore_id} is over: it was a drill's, whose places are cleared.",
                    hint="Begin a new drill.",
                )
            raise IllegalMove(
                f"Another restore of {restore['application']} was made since restore {restore_id} failed.",
                hint="Clear the task plan_restore of this run, with all that follow it, or trigger a new one.",
            )
        raise IllegalMove(f"Restore {restore_id} is already complete.")

    def _announce(self, restore_id: int) -> None:
        """Have the session be found by who waits for it when the restore is over: most steps of one have no lease."""
        self._db.announce(self._backups.application_id, lease_holder("restore", restore_id))

    def require_going_on(self, restore_id: int) -> None:
        """Raise IllegalMove when the restore is over: complete, or failed before another one changed something."""
        row = self._db.row("restore_that_is_over", restore_id=restore_id)
        if row is not None:
            raise IllegalMove(
                f"Restore {restore_id} is over ({row['state']}) since this process began; it does nothing more.",
                hint="Trigger a new restore.",
            )

    def note_missing(self, restore_id: int, page: Mapping[str, int] | None = None) -> None:
        """Note in the archives that their files are missing, as the restore's plan found: all that are not noted, or of
        them those of a page of ids. Raise IllegalMove when the restore is over: others know more by then.
        """
        with self._db.transaction():
            if self._db.row("to_note", restore_id=restore_id) is None:
                return
            self.require_going_on(restore_id)
            self._db.row("lock_notes", schema=self._db.schema, restore_id=restore_id)
            if page is None:
                self._db.row("missing_noted", restore_id=restore_id)
            self._db.run("note_missing", restore_id=restore_id, **(page or _ALL_IDS))

    def take_lease(self, restore_id: int) -> None:
        """Take the application's lease for the steps that change its database and directory.

        Raise LeaseHeld when another run has it, IllegalMove when another restore changed them since this one began to:
        then the lease is not taken.
        """
        with self._db.transaction():
            token = self._backups.take_lease(lease_holder("restore", restore_id))
            if self._db.row("note_restore_lease", restore_id=restore_id, token=token) is None:
                raise IllegalMove(
                    f"Another restore of {self._backups.application} was made since restore {restore_id} began to.",
                    hint="Clear the task plan_restore of this run, with all that follow it, or trigger a new one.",
                )

    def take_lease_to_undo(self, restore_id: int, run: Run | None) -> None:
        """Take the application's lease to undo what a restore did, whatever came after it, in a run of Airflow or none.

        Under a name of its own: that the restore's run is over says nothing of who undoes it. Raise LeaseHeld when
        another run has it.
        """
        from psycopg.types.json import Jsonb

        by = None if run is None else {"dag_id": run.dag_id, "dag_run_id": run.dag_run_id}
        with self._db.transaction():
            token = self._backups.take_lease(lease_holder("undo", restore_id))
            self._db.run("note_undo_lease", restore_id=restore_id, token=token, undoing=Jsonb({"undoing": by}))

    def has_changed(self, restore_id: int) -> bool:
        """Whether the restore has ever taken the lease, to change something."""
        return self.get(restore_id)["last_lease_token"] is not None

    def complete(self, restore_id: int, outcome: Mapping[str, Any]) -> None:
        from psycopg.types.json import Jsonb

        if self._db.row("complete_restore", restore_id=restore_id, outcome=Jsonb(dict(outcome))) is None:
            raise IllegalMove(f"Restore {restore_id} is not running.")
        self._backups.free_lease(lease_holder("restore", restore_id))

    def fail_overtaken(self, restore_id: int) -> None:
        """Note as failed what other restores left in the middle that this one came after: they cannot go on."""
        self._db.rows("fail_overtaken_restores", restore_id=restore_id)

    def fail(self, restore_id: int, error: str, *, step: str | None = None) -> None:
        """Record that the restore stopped, why and in which step, and free its lease. A complete one stays complete."""
        self._db.row("fail_restore", restore_id=restore_id, error=error, step=step)
        self._backups.free_lease(lease_holder("restore", restore_id))

    def ended(self, restore_ids: Sequence[int], *, of: int | None = None) -> list[int]:
        """Return which of these restores, or of those of one backup, are complete or failed."""
        rows = self._db.rows(
            "ended_restores",
            application_id=self._backups.application_id,
            restore_ids=list(restore_ids),
            backup_id=of,
        )
        return [row["id"] for row in rows]

    def add_outcome(self, restore_id: int, **outcome: Any) -> None:
        from psycopg.types.json import Jsonb

        self._db.row("add_outcome", restore_id=restore_id, outcome=Jsonb(outcome))

    def accept_errors(self, restore_id: int) -> int:
        """Note that a person takes the database beside without what failed; return how much that is.

        Raise IllegalMove when no statement of it failed, or it was swapped.
        """
        outcome = self.get(restore_id)["outcome"]
        beside = outcome.get("beside") or {}
        if not beside.get("failed_count") or outcome.get("database"):
            raise IllegalMove(
                f"Restore {restore_id} does not wait for anybody to accept errors.",
                hint="Look at it with: glacier-backup restores",
            )
        self.add_outcome(restore_id, beside={**beside, "accepted": True})
        return int(beside["failed_count"])

    # --- planning --------------------------------------------------------------------------------------------

    def compare(
        self,
        restore_id: int,
        backup: Row,
        request: RestoreRequest,
        files: Iterable[FileSeen],
        usable: Callable[[Sequence[SetAside]], Mapping[int, int]],
        *,
        same: Callable[[Sequence[SetAside]], Sequence[int]] = lambda _: (),
        orphan_directory: str = "",
    ) -> Comparison:
        """Compare the backup with the files that are there, and remember what has to be brought.

        `usable` gets the missing files that earlier restores set aside, the newest move of a name first, and returns
        for archive ids the id of the move by which their content lies aside; `same` the files in the directory that may
        have another content than the backup's although their size is the same, and returns the archive ids of those
        that have the backup's. Lost files are left out of what is to be brought.

        One transaction; writes a row for each archive to bring, and the status of those that are found where they were
        not believed to be. What is missing is noted in its archives by `start`.
        """
        application_id = self._backups.application_id
        ids = {"application_id": application_id, "backup_id": backup["id"]}
        figures: list[Row] = []
        self._announce(restore_id)
        self.forget_what_is_over()
        with self._db.transaction():
            self._db.run("forget_planned_archives", restore_id=restore_id, keep_placed=False)
            self._db.row("missing_to_note", restore_id=restore_id)
            present, members, differing, lost = Amount(), None, [], []
            if request.files:
                self._scans.load_all(files)
                self._db.run("note_unstaged_files", application_id=application_id, restore_id=restore_id)
                odd, there = self._odd_members(ids, None, same)
                differing = self._db.rows("differing_members") if odd["differing"] else []
                members = int(self._db.rows("members_count", **ids)[0]["archives"])
                present = self._present(backup, members, odd)
                self._db.run("note_present", application_id=application_id, same=there)
                choice = {"replaces": request.replaces}
                aside = self._db.rows(
                    "missing_set_aside", application_id=application_id, orphan_directory=orphan_directory, **choice
                )
                usable_moves = usable([SetAside(**row) for row in aside]) if aside else {}
                set_aside, moves = list(usable_moves), list(usable_moves.values())
                if odd["lost"]:
                    lost = [row["name"] for row in self._db.rows("lost_members", set_aside=set_aside, **choice)]
                    self._db.run("leave_out_lost", set_aside=set_aside, **choice)
                self._db.run("plan_missing_files", restore_id=restore_id, set_aside=set_aside, moves=moves, **choice)
                figures += self._db.rows("missing_figures", set_aside=set_aside, **choice)
            if request.database:
                self._db.run("note_unstaged", archive_id=backup["database_archive_id"])
                self._db.run("plan_database", restore_id=restore_id, archive_id=backup["database_archive_id"])
                figures += self._db.rows("database_figures", archive_id=backup["database_archive_id"])
        return Comparison(present=present, members=members, differing=differing, lost=lost, figures=figures)

    def forget_what_is_over(self) -> None:
        """Note as cold what can no longer be read, and what was asked for and never waited for: both are to be paid."""
        forget_what_is_over(self._db, self._backups.application_id)

    def others_since(self, restore_id: int) -> bool:
        """Whether another restore has changed the application's directory or database since this one was planned."""
        return self._db.row("restores_since", restore_id=restore_id) is not None

    def gone_since_plan(
        self,
        restore: Row,
        files: Iterable[FileSeen],
        *,
        same: Callable[[Sequence[SetAside]], Sequence[int]],
        overtaken: bool,
        replaces: bool,
    ) -> list[Row]:
        """Return the first files of the backup that its plan found in the directory and that are not there.

        As `name` and `total`. When it was `overtaken` by another restore, what it brought counts as well, and, if it
        `replaces`, also what is there with another content; `same` as in `compare`.
        """
        ids = {"application_id": self._backups.application_id, "backup_id": restore["backup_id"]}
        with self._db.transaction():
            self._scans.load_all(files)
            self._odd_members(ids, None, same if overtaken and replaces else None)
            return self._db.rows(
                "gone_since_plan", restore_id=restore["id"], overtaken=overtaken, replaces=replaces, limit=NAMED
            )

    def compare_elsewhere(
        self,
        restore_id: int,
        backup: Row,
        request: RestoreRequest,
        files: Iterable[FileSeen],
        *,
        same: Callable[[Sequence[SetAside]], Sequence[int]],
        keep_placed: bool,
    ) -> Comparison:
        """Remember all that a restore into another place has to bring there: from the stores, or, of what is in the
        application's directory as it was archived (`files`, `same` as in `compare`), from there.

        `keep_placed`: what an earlier plan of this restore has brought is there still. Nothing is said of the
        application's own places: no status changes, and no file is known by another's time and inode.
        """
        ids = {"application_id": self._backups.application_id, "backup_id": backup["id"]}
        members, lost, names = None, [], list(request.only_files) or None
        self.forget_what_is_over()
        with self._db.transaction():
            self._db.run("forget_planned_archives", restore_id=restore_id, keep_placed=keep_placed)
            if request.files:
                self._scans.load_all(files)
                odd, _ = self._odd_members(ids, names, same)
                if names is None:
                    members = int(self._db.rows("members_count", **ids)[0]["archives"])
                if odd["lost"]:
                    lost = [row["name"] for row in self._db.rows("lost_members", set_aside=[], replaces=True)]
                self._db.run("plan_elsewhere", restore_id=restore_id, names=names, **ids)
            if request.database:
                self._db.run("plan_database", restore_id=restore_id, archive_id=backup["database_archive_id"])
            present, figures = self.figures_elsewhere(restore_id)
        return Comparison(present=present, members=members, differing=[], lost=lost, figures=figures)

    def _odd_members(
        self,
        ids: Mapping[str, Any],
        names: Sequence[str] | None,
        same: Callable[[Sequence[SetAside]], Sequence[int]] | None,
    ) -> tuple[Row, list[int]]:
        """Find the members of a backup that are not in the directory as they were archived, of all or of these names.

        Return how many there are of which kind, and those that were doubtful and are the `same` after all, if asked.
        """
        self._db.row("scan_memory")
        with self._db.at_once() if names is None else nullcontext():
            self._db.run("compare_archives", application_id=ids["application_id"], names=names)
        self._db.run("index_odd")
        self._db.run("odd_members", **ids)
        self._db.run("index_compared")
        (odd,) = self._db.rows("compared_counts")
        if same is None or not odd["doubtful"]:
            return odd, []
        doubtful = [SetAside(**row, subdirectory="") for row in self._db.rows("doubtful_members")]
        there = list(same(doubtful)) if doubtful else []
        if there:
            self._db.run("settle_doubtful", same=there)
            (odd,) = self._db.rows("compared_counts")
        return odd, there

    def figures_elsewhere(self, restore_id: int) -> tuple[Amount, list[Row]]:
        """Return which files are in another place already, and what has to be brought there."""
        (placed,) = self._db.rows("placed_amount", restore_id=restore_id)
        return amount_of(placed), self._db.rows("elsewhere_figures", restore_id=restore_id)

    def not_in_backup(self, backup_id: int, names: Sequence[str]) -> list[str]:
        """Return which of these names a backup does not contain."""
        application_id = self._backups.application_id
        found = self._db.rows("not_in_backup", application_id=application_id, backup_id=backup_id, names=list(names))
        return [row["name"] for row in found]

    def _present(self, backup: Row, members: int, odd: Row) -> Amount:
        """Return what the backup contains less what is missing or differs.

        Bytes are those that its scan counted, unless members went since, or files were others than their archives.
        """
        ids = {"application_id": self._backups.application_id, "backup_id": backup["id"]}
        size = backup["files_bytes"]
        if members != backup["files_count"] or backup["report"].get("changed_count"):
            size = self._db.rows("members_bytes", **ids)[0]["bytes"]
        return Amount(members - odd["archives"], max(0, size - odd["bytes"]))

    def names_to_bring(self, restore_id: int) -> Iterator[list[str]]:
        """Yield pages of the names of files that come to names that no file has."""
        for page in self._pages(restore_id, EVERYTHING, LOOKED_AT_ONCE):
            yield [row["filename"] for row in self._db.rows("names_to_bring", restore_id=restore_id, **page)]

    def record_plan(self, restore_id: int, plan: Mapping[str, Any]) -> None:
        from psycopg.types.json import Jsonb

        if self._db.row("record_plan", restore_id=restore_id, plan=Jsonb(dict(plan))) is None:
            raise IllegalMove(f"Restore {restore_id} has left its planning.")

    def ranges(self, restore_id: int, *, shares: int, smallest: int) -> list[ArchiveRange]:
        """Return what the restore brings in at most `shares` ranges of archive ids, without their bytes."""
        return [
            ArchiveRange(**row)
            for row in self._db.rows("restore_ranges", restore_id=restore_id, shares=shares, smallest=smallest)
        ]

    def bytes_of(self, restore_id: int, wanted: ArchiveRange) -> int:
        """Return the bytes of all that the restore brings of these archives, as they lie in their stores."""
        (row,) = self._db.rows("bytes_of_range", restore_id=restore_id, first=wanted.first, last=wanted.last)
        return int(row["bytes"])

    def store_uris(self, restore_id: int) -> list[str]:
        """Return the stores that hold what the restore brings."""
        return [row["store_uri"] for row in self._db.rows("restore_stores", restore_id=restore_id)]

    # --- retrievals ------------------------------------------------------------------------------------------

    def intend_retrievals(
        self, restore_id: int, wanted: ArchiveRange, *, tier: str, days: int
    ) -> Generator[list[RetrievalIntent]]:
        """Yield pages of archives to ask for; each page's intents are durable before it is yielded.

        Two restores that want the same archives take turns, page by page, until the caller asks for the next page: the
        second one finds confirmed what the first one asked for. Close the generator to end a turn.

        What is missing is noted of the first page, and of all else once that was asked for: of a million files it takes
        half a minute, and a store that refuses has said so by then.
        """
        for number, page in enumerate(self._pages(restore_id, wanted, _ASKED_AT_ONCE)):
            self.note_missing(restore_id, None if number else page)
            found = {row["id"]: row for row in self._db.rows("archives_to_request", restore_id=restore_id, **page)}
            if not found:
                continue
            with self._in_turn(restore_id, found):
                expire_copies(self._db)
                new = self._db.rows(
                    "intend_retrievals", archive_ids=list(found), restore_id=restore_id, tier=tier, days=days
                )
                ours = {row["archive_id"] for row in new}
                yield [
                    RetrievalIntent(
                        store_uri=found[row["archive_id"]]["store_uri"],
                        key=found[row["archive_id"]]["key"],
                        left_over=not row["confirmed"] and row["archive_id"] not in ours,
                        **row,
                    )
                    for row in self._db.rows("live_retrievals", archive_ids=list(found))
                ]
        self.note_missing(restore_id)  # also what other tasks are to ask for, which a person may mark as done

    @contextmanager
    def _in_turn(self, restore_id: int, archive_ids: Iterable[int]) -> Iterator[None]:
        """Wait until nobody else asks for archives near these. The locks end with the process that has them; that of a
        restore that is over is not waited for, as it may be asleep.
        """
        lanes = sorted({archive_id // LANE for archive_id in archive_ids})
        name = self._db.stale_sessions(self._backups.application_id) + "restore "
        self._db.rows("name_session", name=f"{name}{restore_id}")
        while not self._have_turn(lanes):
            with suppress(CatalogError):  # of another role, say; then it is waited for
                application_id = self._backups.application_id
                self._db.rows("end_requests_that_are_over", application_id=application_id, name=name)
        try:
            yield
        finally:
            with suppress(CatalogError):
                self._db.rows("unlock_lanes", schema=self._db.schema, lanes=lanes)

    @contextmanager
    def jobs_in_turn(self, restore_id: int) -> Iterator[None]:
        """Wait until nobody else of the application plans jobs that ask for archives, or creates them."""
        with self._in_turn(restore_id, [-LANE * (self._backups.application_id + 1)]):
            expire_copies(self._db)
            yield

    def _have_turn(self, lanes: Sequence[int]) -> bool:
        """Wait a moment for these locks; return whether they are ours. They outlive the transaction."""
        try:
            with self._db.transaction():
                self._db.row("wait_for_a_lock", patience="3s")
                self._db.rows("lock_lanes", schema=self._db.schema, lanes=lanes)
        except CatalogUnavailable as error:
            if not waited_in_vain(error):
                raise
            self._db.rows("unlock_lanes", schema=self._db.schema, lanes=lanes)  # some of them may be ours
            return False
        return True

    def skip_ids(self, restore_id: int) -> None:
        """Give no id up to this one: what it names on the disk is of another life of the catalog."""
        self._db.rows("skip_restore_ids", restore_id=restore_id)

    def archives_to_request(self, restore_id: int, wanted: ArchiveRange) -> Iterator[list[int]]:
        """Yield pages of ids of archives that nobody asked for yet."""
        for page in self._pages(restore_id, wanted, PAGE_SIZE):
            if rows := self._db.rows("archives_to_request", restore_id=restore_id, **page):
                yield [row["id"] for row in rows]

    def confirm_retrievals(self, taken: Sequence[tuple[int, str | None]]) -> None:
        """The store took these (retrieval id, job id): their archives are pending."""
        if taken:
            self._db.run("confirm_retrievals", ids=[entry[0] for entry in taken], job_ids=[entry[1] for entry in taken])

    def note_retrieval_error(self, archive_id: int, error: str) -> None:
        self._db.run("note_retrieval_error", archive_id=archive_id, error=error)

    def readable_at_once(self, archive_ids: Sequence[int]) -> None:
        """These archives need no retrieval."""
        self._db.run("readable_at_once", archive_ids=list(archive_ids))

    def looks(self, restore_id: int, *, after: int = -1) -> Iterator[RestorePage]:
        """Yield what is known of all that the restore brings, or of what has a higher id, by the page, in id order."""
        look = "look_at_page_elsewhere" if self.goes_elsewhere(restore_id) else "look_at_page"
        is_full = True
        while is_full:
            with self._db.transaction():
                self._db.rows("one_by_one")
                rows = self._db.rows(look, restore_id=restore_id, after=after, limit=LOOKED_AT_ONCE)
            if not rows:
                return
            page = {"after": after, "upto": max(row["upto"] for row in rows)}
            is_full = sum(row["archives"] for row in rows) >= LOOKED_AT_ONCE
            yield _page_of(rows, page, is_full=is_full)
            after = page["upto"]

    def waited_for(
        self, restore_id: int, look: RestorePage, store_uri: str, keys: Sequence[str] | None = None
    ) -> list[Row]:
        """Return what the restore waits for of a page and a store, or of it what has one of these keys."""
        wanted = None if keys is None else list(keys)
        return self._db.rows("pending_retrievals", restore_id=restore_id, store_uri=store_uri, keys=wanted, **look.page)

    def _pages(self, restore_id: int, wanted: ArchiveRange, limit: int) -> Iterator[dict[str, int]]:
        """Yield the bounds of pages of so many archives that a restore brings."""
        after, is_last = wanted.first - 1, False
        while not is_last:
            row = self._db.rows("end_of_page", restore_id=restore_id, after=after, last=wanted.last, limit=limit)[0]
            if row["upto"] is None:
                return
            is_last = row["is_last"]
            yield {"after": after, "upto": row["upto"]}
            after = row["upto"]

    def named(self, restore_id: int, keys: Sequence[str]) -> list[Row]:
        """Return the archives with these keys that the restore brings; `state` is None where no request is live."""
        return self._db.rows("named_archives", restore_id=restore_id, keys=list(keys))

    def still_requested(self, archive_ids: Sequence[int]) -> set[int]:
        """Return which of these archives were asked for and are not offered yet."""
        return {row["archive_id"] for row in self._db.rows("still_requested", archive_ids=list(archive_ids))}

    def retrievals_ready(self, ready: Sequence[tuple[int, datetime | None]]) -> None:
        """The store offers these (retrieval id, expiry time)."""
        if ready:
            self._db.run("retrievals_ready", ids=[entry[0] for entry in ready], expiries=[entry[1] for entry in ready])

    def retrievals_failed(self, failed: Sequence[tuple[int, str]]) -> None:
        """The store ended these (retrieval id, its words) without success."""
        if failed:
            self._db.run("retrievals_failed", ids=[entry[0] for entry in failed], errors=[entry[1] for entry in failed])

    def retrievals_expired(self, archive_ids: Sequence[int], *, gone: bool = False) -> None:
        """The store no longer offers these, or never will: back to the cold; with `gone`, what was staged, too."""
        if archive_ids:
            self._db.run("retrieval_expired", archive_ids=list(archive_ids), gone=gone)

    def expire_by_clock(self, restore_id: int, *, margin_seconds: float) -> int:
        """Take back offers that end within the margin, so that they are asked for again; return their number."""
        return expire_copies(self._db, restore_id=restore_id, margin_seconds=margin_seconds)

    def often_lost(self, restore_id: int, *, times: int) -> list[str]:
        """Return names of archives whose retrievals ended `times` times or more without being fetched."""
        return [row["filename"] for row in self._db.rows("often_lost", restore_id=restore_id, times=times)]

    def counts(self, restore_id: int) -> dict[RetrievalStatus, Amount]:
        """Return how many archives of the restore are in each retrieval status, and their bytes."""
        rows = self._db.rows("retrieval_counts", restore_id=restore_id)
        return {RetrievalStatus(row["status"]): amount_of(row) for row in rows}

    def still_missing(self, restore_id: int, *, limit: int = 20) -> list[Row]:
        """Return the first archives that cannot be read yet, with tier, request time and error."""
        return self._db.rows("still_missing", restore_id=restore_id, limit=limit)

    # --- placing ---------------------------------------------------------------------------------------------

    def to_place(self, restore_id: int, wanted: ArchiveRange, *, orphan_directory: str) -> Iterator[list[Row]]:
        """Yield pages of archives whose bytes are not in place yet, in id order."""
        for page in self._pages(restore_id, wanted, PAGE_SIZE):
            if rows := self._db.rows(
                "archives_to_place", restore_id=restore_id, orphan_directory=orphan_directory, **page
            ):
                yield rows

    def placed(self, archive_ids: Sequence[int], *, staged: bool = False) -> None:
        """These are verified and in place: files `exists`; the dump, and files that are only `staged`, `local`."""
        if archive_ids:
            self._db.run("archives_placed", archive_ids=list(archive_ids), staged=staged)

    def placed_elsewhere(self, restore_id: int, archive_ids: Sequence[int]) -> None:
        """These are verified and in place, or staged, where a restore into another place goes."""
        if archive_ids:
            self._db.run("placed_elsewhere", restore_id=restore_id, archive_ids=list(archive_ids))

    def seen(self, identities: Sequence[tuple[int, int, int]]) -> None:
        """Remember (archive id, mtime, inode) of files that were just put in their places."""
        if identities:
            ids, mtimes, inodes = zip(*identities, strict=True)
            self._db.run("note_identities", archive_ids=list(ids), mtimes=list(mtimes), inodes=list(inodes))

    def aside_though_present(self, orphan_directory: str) -> list[Row]:
        """Return moves of files that the journal has aside in this directory and the last look found in place."""
        return self._db.rows(
            "aside_though_present", application_id=self._backups.application_id, orphan_directory=orphan_directory
        )

    def moved_back(self, filename: str, subdirectory: str) -> None:
        """A file set aside earlier is in its place again."""
        self._db.run(
            "moved_back", application_id=self._backups.application_id, filename=filename, subdirectory=subdirectory
        )

    def fetch_from_store_instead(self, restore_id: int, archive_ids: Sequence[int]) -> None:
        """These no longer lie aside as they were: their bytes come from the store."""
        if archive_ids:
            self._db.run("fetch_from_store_instead", restore_id=restore_id, archive_ids=list(archive_ids))

    def not_brought(self, restore_id: int) -> list[Row]:
        """Return the first files that the restore has not brought yet, as `name` and `total`; staged ones are."""
        self.note_missing(restore_id)
        return self._db.rows("not_brought", restore_id=restore_id, limit=NAMED)

    def unplaced(self, restore_id: int) -> list[Row]:
        """Return the first archives that are not in place."""
        return self._db.rows("unplaced_files", restore_id=restore_id)

    def release_database(self, restore_id: int) -> None:
        """The staged dump is no longer there."""
        expire_copies(self._db)
        self._db.run("release_database", restore_id=restore_id)

    # --- orphans ---------------------------------------------------------------------------------------------

    def plan_orphans(
        self,
        restore_id: int,
        backup_id: int,
        files: Iterable[YoungFile],
        *,
        orphan_directory: str,
        subdirectory: str,
        left_out: Sequence[str] = (),
    ) -> list[str]:
        """Journal the intent to move every file that the backup does not contain, young ones left out, and those that
        it could not read, by the catalog or as `left_out` names them: they were there.

        `files` are as `Scans.load` takes them. Return the names of young files that the backup does not contain.
        """
        ids = {"application_id": self._backups.application_id, "backup_id": backup_id, "left_out": list(left_out)}
        with self._db.transaction():
            self._scans.load(files)
            with self._db.at_once():
                self._db.run(
                    "plan_orphans",
                    **ids,
                    restore_id=restore_id,
                    orphan_directory=orphan_directory,
                    subdirectory=subdirectory,
                )
                return [row["name"] for row in self._db.rows("young_orphans", **ids)]

    def to_replace(self, restore_id: int, *, orphan_directory: str) -> Iterator[list[Row]]:
        """Yield pages of files that are to give way to archives that are staged, in id order."""
        for page in self._pages(restore_id, EVERYTHING, LOOKED_AT_ONCE):
            if rows := self._db.rows("to_replace", restore_id=restore_id, orphan_directory=orphan_directory, **page):
                yield rows

    def plan_replaced(
        self,
        restore_id: int,
        replaced: Sequence[tuple[int, str, int]],
        *,
        orphan_directory: str,
        subdirectory: str,
    ) -> None:
        """Journal the intent to move files aside for archives: (archive id, name, size of what is there)."""
        if replaced:
            ids, filenames, sizes = zip(*replaced, strict=True)
            self._db.run(
                "plan_replaced",
                application_id=self._backups.application_id,
                restore_id=restore_id,
                orphan_directory=orphan_directory,
                subdirectory=subdirectory,
                ids=list(ids),
                filenames=list(filenames),
                sizes=list(sizes),
            )

    def orphans(self, restore_id: int, state: str) -> Iterator[list[Row]]:
        """Yield pages of the journal in one state, in id order."""
        rows: list[Row] = []
        while rows := self._orphans_behind(rows[-1]["id"] if rows else 0, restore_id=restore_id, state=state):
            yield rows

    def _orphans_behind(self, after: int, **of: Any) -> list[Row]:
        with self._db.transaction():
            self._db.rows("one_by_one")
            return self._db.rows("orphans_in_state", after=after, limit=PAGE_SIZE, **of)

    def unfinished_moves(self, restore_id: int) -> list[int]:
        """Return the other restores of which the journal does not know whether moves were made."""
        rows = self._db.rows("unfinished_moves", application_id=self._backups.application_id, restore_id=restore_id)
        return [row["id"] for row in rows]

    def orphans_moved(self, ids: Sequence[int], *, brought_again: Sequence[int] = ()) -> None:
        """These moves were made; files that were `brought_again` since are in their places all the same."""
        left = set(ids).difference(brought_again)
        with self._db.transaction():
            self._db.run("orphans_moved", ids=list(ids))
            self._db.run("orphan_files_left", ids=sorted(left))

    def orphans_gone(self, ids: Sequence[int]) -> None:
        self._db.run("orphans_gone", ids=list(ids))

    def orphans_undone(self, ids: Sequence[int]) -> None:
        with self._db.transaction():
            self._db.run("orphans_undone", ids=list(ids))
            self._db.run("replacing_files_left", ids=list(ids))
            self._db.run("orphan_files_back", ids=list(ids))

    def orphan_counts(self, restore_id: int) -> dict[str, Amount]:
        rows = self._db.rows("orphan_counts", restore_id=restore_id)
        return {row["state"]: amount_of(row) for row in rows}
