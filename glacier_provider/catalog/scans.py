"""What a walk through the attached-files directory means to the catalog: new, vanished, returned, changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from glacier_provider.catalog.backups import Backups
from glacier_provider.catalog.copy_format import LINES, LISTING, YoungFile, file_lines, listing_line, young_lines
from glacier_provider.catalog.database import Database, Row
from glacier_provider.core.directories import Changed, Files, Listing
from glacier_provider.core.text import NAMED
from glacier_provider.errors import DirectoryUnusable, IllegalMove


@dataclass(frozen=True, slots=True)
class Scan:
    """What one scan found. Sizes in bytes; `changed` holds at most `NAMED` rows, `changed_count` all of them."""

    files: int
    bytes: int
    new_files: int
    new_bytes: int
    vanished: int
    returned: int
    changed_count: int = 0
    changed: list[Row] = field(default_factory=list)


#: Name, size, and where they were looked at: time of modification (ns since the epoch) and inode.
FileSeen = tuple[str, int] | tuple[str, int, int, int]


class Walk(Protocol):
    """A walk that tells what is not as remembered; see `files.directories.DirectoryWalk`.

    `files` and `bytes` are those of the whole tree, once `changes` has ended.
    """

    files: int
    bytes: int

    @property
    def rules(self) -> str: ...

    def changes(self, remembered: Iterable[Listing], /) -> Iterator[Files | Changed]: ...


class Scans:
    """The scans of one application. Everything of a scan is one transaction."""

    def __init__(self, database: Database, backups: Backups) -> None:
        self._db = database
        self._backups = backups

    def since_full_walk(self, rules: str) -> float | None:
        """Return how many seconds ago every directory was read under these rules; None when none ever was."""
        row = self._db.row("last_full_walk", application_id=self._backups.application_id)
        return row["age"] if row is not None and row["rules"] == rules else None

    def record(
        self, backup_id: int, files: Iterable[FileSeen], *, store_uri: str, archive_changed: bool = True
    ) -> Scan:
        """As `record_walk` for every file that is there; nothing is remembered of directories."""
        walk = _AllFiles(files)
        return self.record_walk(backup_id, walk, store_uri=store_uri, full=True, archive_changed=archive_changed)

    def record_walk(
        self, backup_id: int, walk: Walk, *, store_uri: str, full: bool = False, archive_changed: bool = True
    ) -> Scan:
        """Compare the files in the directory with the catalog and note what changed.

        The walk is told what the last scan saw of each directory and tells which ones differ; only their files are
        compared, and only rows of files that are new, vanished or came back are written. With `full`, and when nothing
        is remembered under the walk's rules, nothing is believed: all files are compared. A repeated scan of the same
        backup gives the same result.

        A name is not an identity: what changed its size, time or inode, or comes back, is planned as another archive
        of its name; whoever reads it for its upload finds out whether it is one. Without `archive_changed` only other
        sizes are noticed, and reported. What is lost is planned anew where its file is there.

        Raise DirectoryUnusable when all files are gone at once: an unmounted directory must not become a complete
        backup without files.
        """
        application_id = self._backups.application_id
        ids = {"application_id": application_id, "backup_id": backup_id}
        with self._db.transaction():
            self._db.row("lock_scans", application_id=application_id)
            full = full or self.since_full_walk(walk.rules) is None
            self._load_changes(walk, full=full)
            self._require_newest(ids)
            self._refuse_emptied(walk.files)
            with self._compared(full=full):
                changed = self._note_changes(ids, store_uri, full=full, archive_changed=archive_changed)
                self._remember(walk, full=full, sizes_only=not archive_changed)
            breaches = 0 if archive_changed else changed
            named = self._db.rows("breaches", limit=NAMED) if breaches else []
            running = self._db.row("record_scan", backup_id=backup_id, files=walk.files, bytes=walk.bytes)
            self._backups._moved(running, f"Backup {backup_id} is no longer running.")
            figures = self._db.row("count_changes", **ids)
        assert figures is not None
        return Scan(
            files=figures["files_count"],
            bytes=figures["files_bytes"],
            new_files=figures["new_files_count"],
            new_bytes=figures["new_files_bytes"],
            vanished=figures["vanished_count"],
            returned=figures["returned_count"],
            changed_count=breaches,
            changed=named,
        )

    @contextmanager
    def _compared(self, *, full: bool) -> Iterator[None]:
        """What was scanned is compared with the catalog: all files with all archives, or those of a few directories."""
        if full:
            with self._db.at_once():
                yield
        else:
            self._db.run("look_up_scanned")
            yield

    def _note_changes(self, ids: Mapping[str, int], store_uri: str, *, full: bool, archive_changed: bool) -> int:
        """Write what is new, vanished, came back or changed; return how many files of known names changed."""
        application_id, backup_id = ids["application_id"], ids["backup_id"]
        self._db.run("correct_planned_sizes", application_id=application_id)
        changed = self._db.run("changed_files", application_id=application_id, sizes_only=not archive_changed)
        if changed and archive_changed:
            self._db.run("analyze_changed")
            self._db.run("supersede_changed")
            self._db.run("end_of_changed", backup_id=backup_id)
        self._db.run("end_of_lost", **ids)
        self._db.run("plan_new_files", **ids, store_uri=store_uri, compare=archive_changed)
        self._db.row("open_ranges", **ids)
        self._close_vanished(backup_id, full=full)
        if archive_changed:
            self._db.run("remember_identities", application_id=application_id)
        return changed

    def new_versions(self, backup_id: int) -> tuple[int, list[str]]:
        """Count anew what came and went with a running backup, now that its files are compared and archived.

        Return how many names got another content with it, and the first of them.
        """
        ids = {"application_id": self._backups.application_id, "backup_id": backup_id}
        self._db.row("count_changes", **ids)
        rows = self._db.rows("new_versions", **ids, limit=NAMED)
        return (rows[0]["total"] if rows else 0), [row["name"] for row in rows]

    def _load_changes(self, walk: Walk, *, full: bool) -> None:
        self._db.run("create_scanned")
        self._db.run("create_looked")
        load = _Load(self._db)
        for told in walk.changes(() if full else self._remembered()):
            load.add(told)
        load.finish()
        if load.rows:
            self._db.row("scan_memory")
        self._db.run("analyze_scanned")
        self._db.run("analyze_looked")

    def _require_newest(self, ids: Mapping[str, int]) -> None:
        """Raise IllegalMove unless the backup is open and the newest: what it writes is of no other one."""
        if self._db.row("backup_to_scan", **ids) is None:
            state = self._backups.get(ids["backup_id"])["state"]
            why = "has a later one" if state in ("running", "failed") else f"is {state}"
            raise IllegalMove(f"Backup {ids['backup_id']} {why}; its scan changed nothing.", hint="Trigger a new run.")

    def _remembered(self) -> Iterator[Listing]:
        return map(
            Listing._make,
            self._db.tuples("remembered_directories", application_id=self._backups.application_id),
        )

    def _refuse_emptied(self, files: int) -> None:
        if files:
            return
        before = self._db.row("open_files", application_id=self._backups.application_id)
        if before and before["files"]:
            raise DirectoryUnusable(
                f"The attached-files directory is empty, and held {before['files']:,} files at the last scan.",
                hint="Check that it is mounted. If it really is to be empty, put one file into it, such as .keep.",
            )

    def _close_vanished(self, backup_id: int, *, full: bool) -> None:
        vanished = "vanished_anywhere" if full else "vanished"
        if not self._db.run(vanished, application_id=self._backups.application_id):
            return
        self._db.run("analyze_vanished")
        self._db.run("forget_ranges_of_this_backup", backup_id=backup_id)
        self._db.run("close_ranges", backup_id=backup_id)
        self._db.run("give_up_vanished")

    def _remember(self, walk: Walk, *, full: bool, sizes_only: bool) -> None:
        """Note what the directories hold in the transaction that notes what it means: neither is without the other."""
        application_id = self._backups.application_id
        self._db.run("forget_all_other_directories" if full else "forget_directories", application_id=application_id)
        self._db.run("remember_directories", application_id=application_id, sizes_only=sizes_only)
        if full:
            self._db.run("record_full_walk", application_id=application_id)
        self._db.run("record_rules", application_id=application_id, rules=walk.rules)

    def load_all(self, files: Iterable[FileSeen]) -> None:
        """As `load` for (name, size), or (name, size, mtime, inode), of files of which none is young."""
        self._db.run("create_scanned")
        load = _Load(self._db)
        for told in _AllFiles(files).changes(()):
            load.add(told)
        load.finish()
        self._db.run("analyze_scanned")

    def load(self, files: Iterable[YoungFile]) -> None:
        """Stream (name, size, young) into the temporary table `scanned` of the current transaction.

        Young files came after the moment that the caller cares about. One that is told with its time of modification
        and inode did not, if it was seen with these before.
        """
        self._db.run("create_scanned")
        found = iter(files)
        blocks = (young_lines(piece) for piece in iter(lambda: list(islice(found, LINES)), []))
        self._db.copy_text("scanned", blocks, ("name", "size", "young", "mtime_ns", "inode"))
        self._db.run("analyze_scanned")
        self._db.run("seen_before", application_id=self._backups.application_id)

    def other_references(
        self, backup_id: int, names: Iterable[tuple[str, str | None]]
    ) -> tuple[int, int, int, list[Row]]:
        """Compare the archives of a backup with what the database expects of their files: (name, size or checksum).

        Return how many were compared, how many could not be, how many differ, and the first of these: `name` and
        `expected`.
        """
        ids = {"application_id": self._backups.application_id, "backup_id": backup_id}
        with self._db.transaction():
            self._db.run("create_referenced")
            if not self._db.copy("referenced", (row for row in names if row[1] is not None), ("name", "expected")):
                return 0, 0, 0, []
            with self._db.at_once():
                rows = self._db.rows("other_references", **ids, limit=NAMED)
        named = [{"name": row["name"], "expected": row["expected"]} for row in rows if row["name"] is not None]
        return rows[0]["compared"], rows[0]["unknown"], rows[0]["others"], named

    def unarchived_references(self, backup_id: int, names: Iterable[str]) -> list[str]:
        """Return which of these names the backup will not hold, each once, in order."""
        with self._db.transaction():
            self._db.run("create_referenced")
            self._db.copy("referenced", ((name,) for name in names), ("name",))
            ids = {"application_id": self._backups.application_id, "backup_id": backup_id}
            with self._db.at_once():
                rows = self._db.rows("unarchived_references", **ids)
        return [row["name"] for row in rows]


class _Load:
    """Collects what a walk tells and copies it in batches, between which the walk may ask for more listings."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._files: list[bytes] = []
        self._looked: list[bytes] = []
        self._waiting = 0
        self.rows = 0

    def add(self, told: Files | Changed) -> None:
        if type(told) is Files:
            self._files.append(file_lines(told))
            self._waiting += len(told.names)
        elif type(told) is Changed:
            self._looked.append(listing_line(told))
            self._waiting += 1
        if self._waiting > LINES:
            self.finish()

    def finish(self) -> None:
        if self._files:
            self._db.copy_text("scanned", self._files, ("name", "size", "mtime_ns", "inode"))
        if self._looked:
            self._db.copy_text("looked", self._looked, LISTING)
        self.rows += self._waiting
        self._files, self._looked, self._waiting = [], [], 0


class _AllFiles:
    """The files of a walk that knows nothing of directories: all of them, and no listings."""

    rules = ""

    def __init__(self, found: Iterable[FileSeen]) -> None:
        self._found = found
        self.files = 0
        self.bytes = 0

    def changes(self, _remembered: Iterable[Listing], /) -> Iterator[Files | Changed]:
        found = iter(self._found)
        while piece := list(islice(found, LINES)):
            names, sizes = [one[0] for one in piece], [one[1] for one in piece]
            self.files += len(names)
            self.bytes += sum(sizes)
            looked = [(one[2], one[3]) for one in piece if len(one) == 4]
            yield Files("", names, sizes, [mtime for mtime, _ in looked], [inode for _, inode in looked])
