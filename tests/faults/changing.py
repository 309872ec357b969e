"""A world that changes behind the product's back, and the model of what must be true in it all the same.

The store loses, keeps and gives back; files change under their names; the clock of all moves; processes sleep; people
end runs by hand; the catalog goes back in time, or is made anew from the store. What the store really holds is looked
up, whatever the catalog believes: a backup that is complete can be restored but for what is lost, and that is named.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from glacier_provider.catalog.backups import RUN_DELETED, Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.core.names import TEMPORARY
from glacier_provider.core.reconciliation import Verdict
from glacier_provider.errors import ArchiveMissing, BackupNotRestorable, IllegalMove, StoreUnavailable
from glacier_provider.pipelines.rebuild import Rebuilt, rebuild_catalog
from glacier_provider.pipelines.reconcile import Reconciled, reconcile
from tests.faults import shrunk
from tests.faults.clocks import Clocks
from tests.faults.past import Past
from tests.faults.world import FAMILY, HOUR, LONG_AGO, TRIES, Abandoned, Files, Kill, Rows, World

DAY = 86400.0
LOOKED_THROUGH = 1000  # archives that one look at a bucket lists
EMPTY = "empty:"

__all__ = ["FAMILY", "ChangingWorld"]


@dataclass(frozen=True)
class Kept:
    """A complete backup as the store alone can tell of it: what it holds, and the manifests that say so."""

    files: Files
    rows: Rows
    manifests: tuple[str, ...]
    deleted: bool = False


@dataclass
class Snapshot:
    """What the model knew when the catalog was copied."""

    backups: dict[int, tuple[Files, Rows]]
    fallen: dict[int, tuple[Files, Rows]]


class ChangingWorld(World):
    """See the module. `restores` are those whose orphans may be moved back."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.events: Counter[str] = self.figures.events
        self.quiet: dict[str, int] = {}  # lost, and perhaps nobody knows: so many backups were made since
        self.back: set[str] = set()  # given back, and perhaps nobody knows
        self.others: set[str] = set()  # of another life of the catalog
        self.ever: dict[str, Kept] = {}  # by the keys of their dumps
        self.fallen: dict[int, tuple[Files, Rows]] = {}  # backups whose dump is lost, and that is known
        self.ghosts: set[str] = set()  # journalled as aside by another life, and not there
        self.unjournalled: set[str] = set()  # aside, and only another life knew
        self.stray_staging: set[str] = set()
        self.over: dict[Run, str] = {}  # runs of which Airflow says that they are over
        self.unreadable: dict[str, int] = {}
        self.hidden: Files = {}
        self.restores: list[int] = []
        self._contents: dict[str, bytes] = {}
        self._may_keep: dict[str, bytes] = {}
        self._past: Past | None = None
        self._copied: Snapshot | None = None
        self._clocks = Clocks(lambda: self.place.ahead)
        self._small = shrunk.Shrunk(self.unreadable)

    def start(self) -> None:
        """Make the catalog, and move the clocks of this process from now on."""
        self.here.catalog.migrate()
        self._clocks.start()
        self._small.start()
        self._clocks.make_catalog(self.catalog_server)
        self._clocks.set_catalog(self.sql)

    def close(self) -> None:
        self._small.stop()
        self._clocks.stop()
        super().close()

    def another_catalog(self) -> Catalog:
        server = self.catalog_server
        return Catalog(
            server.connect, schema="glacier_catalog", application=self.application.name, run_ended=self._run_ended
        )

    def _run_ended(self, run: Run) -> str | None:
        return self.over.get(run)

    def pass_time(self, seconds: float) -> None:
        super().pass_time(seconds)
        self._clocks.set_catalog(self.sql)

    # --- the directory ---

    def write(self, name: str, content: bytes, *, at: int = LONG_AGO) -> None:
        """Write a file that is there in place, or a new one."""
        path = self.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (at, at))
        self.present[name] = content

    def delete_file(self, name: str) -> None:
        super().delete_file(name)
        self.unreadable.pop(os.path.basename(name), None)

    # --- the store, behind everybody's back ---

    def held_keys(self) -> set[str]:
        return {one.key for one in self.place.held()}

    def lose(self, key: str) -> None:
        self.content(key)
        self.place.lose(key)
        self.quiet.setdefault(key, 0)
        self.back.discard(key)

    def give_back(self, key: str) -> None:
        self.place.give_back(key)
        self.quiet.pop(key, None)
        self.back.add(key)

    def empty_store(self) -> None:
        for one in self.place.held():
            self.content(one.key)
            self.quiet.setdefault(one.key, 0)
        self.place.empty()
        self.back.clear()

    def content(self, key: str) -> bytes:
        """Return what lies, or lay, under a key."""
        if key.startswith(EMPTY):
            return b""
        if key not in self._contents:
            self._contents[key] = self.place.content(key)
        return self._contents[key]

    def archived_keys(self, kinds: tuple[str, ...] = ("file", "database", "manifest")) -> list[str]:
        """Return keys of what the catalog believes to be in the store, and is."""
        held = self.held_keys()
        rows = self.sql(
            "SELECT key FROM glacier_archives WHERE state = 'archived' AND kind = ANY(%s) ORDER BY id",
            list(kinds),
            catalog=True,
        )
        return [key for (key,) in rows if key in held]

    # --- runs ---

    def back_up(self, run: Run | None = None, kill: Kill | None = None) -> int:
        self._may_keep = self._what_may_be_kept()
        self.last_try = bool(self.unreadable)
        try:
            return super().back_up(run, kill)
        finally:
            self.last_try = False

    def _what_may_be_kept(self, statement: str = "") -> Files:
        """Return, by name, the archived content of files of which nothing tells that they have another one now."""
        kept: Files = {}
        for name, key, size, mtime, inode in self.sql(statement or _CURRENT, catalog=True):
            with suppress(FileNotFoundError):
                info = (self.files / name).stat()
                same = mtime is None or (mtime, inode) == (info.st_mtime_ns, info.st_ino)
                if info.st_size == size and same:
                    kept[name] = self.content(key)
        return kept

    def _note_backup(self, backup_id: int) -> None:
        """A backup is complete: it contains what is there, byte for byte, and says what it lacks."""
        files = {name: self.content(key) for name, key, _ in self.sql(_HELD_BY, backup_id, catalog=True)}
        report = self.here.catalog.backups.get(backup_id)["report"]
        unread = {one["name"] for one in report.get("unreadable", [])}
        missing = set(self.present) - set(files)
        assert missing <= unread, f"not in backup {backup_id}, and not said: {sorted(missing - unread)}"
        assert all(os.path.basename(name) in self.unreadable for name in missing)
        assert set(files) <= set(self.present), f"not there: {sorted(set(files) - set(self.present))}"
        for name, content in files.items():
            assert content in (self.present[name], self._may_keep.get(name)), f"{name} has another content"
            self.events["a backup keeps what nothing tells of"] += content != self.present[name]
        self.events["a backup without unreadable files"] += bool(missing)
        self.backups[backup_id] = (files, list(self.rows))
        self._note_kept(backup_id)
        held = self.held_keys()  # a lost manifest is written again under its key, and may be lost once more
        self.quiet = {key: looks + self.place.exact for key, looks in self.quiet.items() if key not in held}
        self.check_healed()

    def _note_kept(self, backup_id: int) -> None:
        files, rows = self.backups[backup_id]
        ((dump, manifest, previous),) = self.sql(_KEYS_OF_BACKUP, backup_id, catalog=True)
        before = next((one.manifests for one in self.ever.values() if one.manifests[:1] == (previous,)), ())
        assert previous is None or before, f"backup {backup_id} continues a manifest that nobody knows"
        self.ever[dump] = Kept(files, rows, (manifest, *before))

    def restore(self, backup_id: int, run: Run | None = None, kill: Kill | None = None, **params: Any) -> int:
        """Restore; where something is lost that is to be brought, be told so, and go on without when asked to."""
        self.unreadable.clear()
        run = run or self.a_run("restore")
        try:
            return self._restore(backup_id, run, kill, **params)
        except Abandoned:
            if kill is not None and not kill.sleeps:  # who slept has changed nothing since
                self.note_half_restored(backup_id)
            raise
        except ArchiveMissing as error:
            self._told_of_loss(backup_id, run, error, without=False)
        run = self.a_run("restore")
        try:
            return self._restore(backup_id, run, None, **params, without_lost=True)
        except ArchiveMissing as error:  # the files were known to be lost, and now the dump is
            self._told_of_loss(backup_id, run, error, without=True)
            raise AssertionError("what is lost but the dump stops no restore without it") from error

    def _restore(self, backup_id: int, run: Run, kill: Kill | None, **params: Any) -> int:
        try:
            return super().restore(backup_id, run, kill, **params)
        except IllegalMove as error:  # its task fails, and Airflow's callback notes that
            restore_id = self.here.catalog.restores.of_run(run)
            if restore_id is not None:
                self.here.catalog.restores.fail(restore_id, str(error))
            raise

    def _told_of_loss(self, backup_id: int, run: Run, error: ArchiveMissing, *, without: bool) -> None:
        self._forget_kill()
        self._check_told(backup_id, error, without=without)
        restore_id = self.here.catalog.restores.of_run(run)
        if restore_id is not None:
            self.here.catalog.restores.fail(restore_id, str(error))
        if backup_id not in self.backups:
            self.note_half_restored(backup_id)
            raise BackupNotRestorable("Its dump is lost.") from error

    def note_half_restored(self, backup_id: int) -> None:
        """A restore is left in the middle: each file is what it was, or what the backup holds, or aside; rows agree."""
        files, rows = self.backups.get(backup_id) or self.fallen[backup_id]
        there = {name: content for name, content in self.contents().items() if TEMPORARY not in name.split("/")}
        for name, content in there.items():
            assert content in (self.present.get(name), files.get(name)), f"{name} has another content"
        aside = {path.partition("/")[2] for path in self._aside()}
        assert not (gone := set(self.present) - set(there) - aside), f"neither there nor aside: {sorted(gone)}"
        before = self.rows
        self.look_again()
        assert sorted(self.rows) in (sorted(before), sorted(rows)), "rows of neither"
        self.present = there
        self.events["a restore was left in the middle"] += 1

    def _check_told(self, backup_id: int, error: ArchiveMissing, *, without: bool) -> None:
        """A loss that a restore met is true, and known from now on."""
        self.settle_fallen()
        if backup_id in self.fallen:
            self.events["a restore was told that the dump is lost"] += 1
            return
        assert not without, f"without_lost, and all the same: {error}"
        lost = self.lost_of(backup_id)
        assert lost, f"nothing is lost: {error}"
        assert any(name in str(error) for name in lost) or len(lost) > 5, f"{error} does not name {lost}"
        self.events["a restore was told of lost files"] += 1

    def _note_restore(self, restore_id: int, backup_id: int) -> None:
        """All is there that the backup held, but for what is lost, which is said."""
        outcome = self.here.catalog.restores.get(restore_id)["outcome"]
        files, rows = self.backups[backup_id]
        lost = set(outcome.get("lost", []))
        held = self.held_keys()
        states = {name: (state, key) for name, state, key in self.sql(_MEMBER_STATES, backup_id, catalog=True)}
        for name in lost:
            assert states[name][0] == "lost" or states[name][1] not in held, f"{name} is not lost"
        assert len(lost) == min(outcome.get("lost_count", 0), 100)
        there = self.contents()
        expected = {name: content for name, content in files.items() if name not in lost}
        for name in lost & set(there):  # nothing better can be put there
            assert there[name] in (self.present.get(name), files[name])
            expected[name] = there[name]
        for name in set(expected) & set(there):
            if there[name] != expected[name] and self._looks_as_archived(name):
                assert there[name] == self.present[name]
                self.events["a restore leaves what nothing tells of"] += 1
                expected[name] = there[name]
        self.events["a restore without lost files"] += bool(lost)
        self.present, self.rows = expected, list(rows)

    def _looks_as_archived(self, name: str) -> bool:
        return self._may_keep_before_restore.get(name) is not None

    def plan_view(self) -> None:
        """Note what nothing tells of before a restore, as before a backup."""
        self._may_keep_before_restore = self._what_may_be_kept(_KNOWN)

    _may_keep_before_restore: Mapping[str, bytes] = {}

    def delete(self, backup_id: int, kill: Kill | None = None, *, force: bool = False) -> int:
        dump = self.sql(_KEYS_OF_BACKUP, backup_id, catalog=True)
        self.place.held()  # a store with versions keeps what is deleted
        answer = super().delete(backup_id, kill, force=force)
        self.fallen.pop(backup_id, None)
        self._note_deleted(dump)
        return answer

    def _note_deleted(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Nothing has to bring it back; where a store gives back what was deleted, it may."""
        for key, *_ in rows:
            if key in self.ever:
                self.ever[key] = replace(self.ever[key], deleted=True)

    def end_run(self, run: Run, chance: random.Random) -> None:
        """A run is over and did not say so: Airflow knows, or nobody does and its lease ends, or a person frees it."""
        how = chance.choice(["failed", "success", RUN_DELETED, "the lease ends", "free-lease"])
        self.events[f"run over: {how}"] += 1
        if how == "the lease ends":
            self.pass_time(HOUR + 1)
        elif how == "free-lease":
            self.here.catalog.backups.run_is_over(run, "freed by hand")
            lease = self.here.catalog.backups.lease()
            if lease is not None and lease["holder"] is not None:
                self.here.catalog.backups.free_lease(lease["holder"])
        else:
            self.over[run] = how
            self.pass_time(300)

    def note_dead_backup(self, backup_id: int) -> None:
        """A run died after its backup was complete, of which it said nothing."""
        files = {name: self.content(key) for name, key, _ in self.sql(_HELD_BY, backup_id, catalog=True)}
        self.backups[backup_id] = (files, list(self.rows))
        self._note_kept(backup_id)

    def note_dead_deletion(self, backup_id: int) -> None:
        """A deletion began, and perhaps did not end: the backup is out of use."""
        dump = self.sql(_KEYS_OF_BACKUP, backup_id, catalog=True)
        self.backups.pop(backup_id, None)
        self.fallen.pop(backup_id, None)
        self._note_deleted(dump)

    def lease_is_held(self) -> bool:
        return self.sql("SELECT lease_holder FROM applications", catalog=True) not in ([], [(None,)])

    def dump_is_there(self, backup_id: int) -> bool:
        """Whether a deletion has something to delete; what nobody knows to be lost is not."""
        ((key, _),) = self.sql(_DUMP_STATE, backup_id, catalog=True)
        return key in self.held_keys()

    def settle_refused(self, backup_id: int) -> None:
        """A store refused to delete: the backup is as it was, or out of use until the deletion goes on."""
        state = self.here.catalog.backups.get(backup_id)["state"]
        assert state in ("complete", "failed", "deleting"), state
        if state == "deleting":
            self.backups.pop(backup_id, None)
            self.fallen.pop(backup_id, None)

    def look_again(self) -> None:
        """Nothing can be restored: the directory and the database are what they are."""
        self.present = self.contents()
        self.rows = [tuple(row) for row in self.sql("SELECT id, title FROM documents ORDER BY id")]  # type: ignore[misc]

    # --- the store as a whole ---

    def reconcile(self) -> list[Reconciled]:
        """Let days pass until the store tells of everything, at its own times, and settle what is in doubt."""
        self.pass_time(3 * DAY)
        done: list[Reconciled] = []
        rounds = 0
        while rounds < TRIES:
            done = self.task(
                "reconcile",
                lambda has: reconcile(self.application, catalog=has.catalog, stores=has.stores, everything=True),
            )
            self.figures.settled += sum(one.settled for one in done)
            self.events["archives found lost by a listing"] += sum(one.lost for one in done)
            self.events["archives that are back, by a listing"] += sum(one.back for one in done)
            self.events["copies that may not be deleted"] += sum(one.kept for one in done)
            self.events["healed by a listing"] += sum(one.healed for one in done)
            rounds += 1
            if self.place.exact or (rounds > 1 and all(one.as_of is not None for one in done)):
                break
            self.pass_time(self.place.listing_takes)
        held = self.held_keys()
        known = {key for (key,) in self.sql("SELECT key FROM glacier_archives WHERE state = 'archived'", catalog=True)}
        assert not (unknown := known & set(self.quiet) - held), f"nobody knows that these are lost: {unknown}"
        self.quiet.clear()
        self.back &= held  # deleted before, and there again: it was named, and left alone
        self.settle_fallen()
        self.check_healed()
        return done

    def settle_fallen(self) -> None:
        """Move backups whose dump is known to be lost out of those that are complete, and back again."""
        states = dict(self.sql("SELECT id, state FROM application_data_backups", catalog=True))
        for number in [number for number in self.backups if states.get(number) == "failed"]:
            ((key, state),) = self.sql(_DUMP_STATE, number, catalog=True)
            assert state == "lost", f"backup {number} failed though its dump is {state}"
            assert key not in self.held_keys() or key in self.back, f"backup {number} failed, and its dump is there"
            self.fallen[number] = self.backups.pop(number)
            self.events["backups whose dump was found lost"] += 1
        for number in [number for number in self.fallen if states.get(number) == "complete"]:
            self.backups[number] = self.fallen.pop(number)
            self.events["backups whose dump is back"] += 1

    # --- the catalog ---

    def keep_catalog(self) -> None:
        self._disconnect()
        self._past = self._past or Past(self.catalog_server)
        self._past.keep()
        self._copied = Snapshot(dict(self.backups), dict(self.fallen))
        self.events["catalog: copied"] += 1

    def go_back(self, *, same_place: bool) -> bool:
        """Have the catalog be what it was when it was copied last; return False when it never was."""
        if self._past is None or self._copied is None:
            return False
        self.pass_time(600)
        self._disconnect()
        self._past.come_back(same_place=same_place)
        self.here = self._parts()
        self._clocks.set_catalog(self.sql)
        self.backups, self.fallen = dict(self._copied.backups), dict(self._copied.fallen)
        self._after_another_life()
        self.events[f"catalog: went back{', by failover' if same_place else ', by an older dump'}"] += 1
        return True

    def rebuild(self) -> Rebuilt | None:
        """Lose the catalog and make it anew from the store; None when there is nothing to make it of."""
        held = self.held_keys()
        whole = {
            dump: one
            for dump, one in self.ever.items()
            if dump in held and held.issuperset(one.manifests) and not one.deleted
        }
        if not whole:
            return None
        self.pass_time(2 * DAY)
        self._disconnect()
        self.sql("DROP SCHEMA glacier_catalog CASCADE", catalog=True)
        self.here = self._parts()
        self.here.catalog.migrate()
        self._clocks.make_catalog(self.catalog_server)
        self._clocks.set_catalog(self.sql)
        rebuilt = self._rebuilt()
        self._past = self._copied = None
        self._check_rebuilt(rebuilt, whole)
        self._after_another_life()
        self.events["catalog: rebuilt"] += 1
        return rebuilt

    def _rebuilt(self) -> Rebuilt:
        said = ""
        for _ in range(TRIES):
            try:
                return self.task(
                    "rebuild",
                    lambda has: rebuild_catalog(self.application, catalog=has.catalog, stores=has.stores),
                )
            except StoreUnavailable as error:
                said = str(error)
                self.pass_time(self.place.listing_takes)
        raise AssertionError(f"the catalog was not rebuilt: {said}")

    def _check_rebuilt(self, rebuilt: Rebuilt, whole: Mapping[str, Kept]) -> None:
        rows = self.sql(
            "SELECT b.id, a.key FROM application_data_backups b JOIN glacier_archives a ON a.id = b.database_archive_id"
            " WHERE b.state = 'complete'",
            catalog=True,
        )
        keys = {key for _, key in rows}
        assert set(whole) <= keys, f"{len(set(whole) - keys)} backups did not come back: {rebuilt}"
        assert keys <= set(self.ever), f"complete, and never was: {keys - set(self.ever)}"
        self.backups = {number: (self.ever[key].files, self.ever[key].rows) for number, key in rows}
        fallen = self.sql(_FALLEN, catalog=True)
        self.fallen = {
            number: (self.ever[key].files, self.ever[key].rows) for number, key in fallen if key in self.ever
        }
        self.events["backups rebuilt"] += len(rows)
        self.events["backups that no rebuild could bring"] += len(set(self.ever) - keys)

    def _after_another_life(self) -> None:
        """What the catalog knows is not what this life of it did: note what it cannot know."""
        held = self.held_keys()
        known = {key for (key,) in self.sql("SELECT key FROM glacier_archives WHERE key IS NOT NULL", catalog=True)}
        believed = {
            key
            for (key,) in self.sql(
                "SELECT key FROM glacier_archives WHERE state = 'archived' AND key NOT LIKE 'empty:%%'", catalog=True
            )
        }
        deleted = {
            key
            for (key,) in self.sql("SELECT key FROM glacier_archives WHERE state IN ('deleted', 'lost')", catalog=True)
        }
        self.others = held - known
        self.quiet = dict.fromkeys(believed - held, 0)
        self.back = deleted & held
        moves = self.sql("SELECT subdirectory, filename FROM orphan_moves WHERE state = 'moved'", catalog=True)
        journalled = {f"{folder}/{name}" for folder, name in moves}
        aside = self._aside()
        self.ghosts, self.unjournalled = journalled - aside, aside - journalled
        self.stray_staging = {path.name for path in Path(self.application.staging_directory).iterdir()}
        self.restores.clear()
        self.over.clear()

    def _disconnect(self) -> None:
        self.here.catalog.close()
        connection = self._connections.pop(True, None)
        if connection is not None:
            connection.close()

    # --- what must be true ---

    def check_all(self, *, abandoned: bool = False) -> None:
        self.settle_fallen()
        super().check_all(abandoned=abandoned)

    def check_backups(self) -> None:
        """Every backup of the model is complete, and holds its files byte for byte; what it lacks is lost, and said."""
        states = dict(self.sql("SELECT id, state FROM application_data_backups", catalog=True))
        complete = {number for number, state in states.items() if state == "complete"}
        assert complete == set(self.backups), f"complete: {complete ^ set(self.backups)}"
        members: dict[int, dict[str, tuple[str, str]]] = {number: {} for number in self.backups}
        for backup_id, name, state, key in self.sql(_ALL_MEMBERS, list(self.backups), catalog=True):
            assert name not in members[backup_id], f"{name} is twice in backup {backup_id}"
            members[backup_id][name] = (state, key)
        told = self.here.catalog.lost.of_backups(self.backups)
        for number, (files, _) in self.backups.items():
            found = members[number]
            assert set(found) == set(files), f"backup {number}: {set(found) ^ set(files)}"
            for name, (_, key) in found.items():
                assert self.content(key) == files[name], f"backup {number} has another content of {name}"
            lost = sorted(name for name, (state, _) in found.items() if state == "lost")
            said = told.get(number, {"lost": [], "lost_count": 0})
            assert (sorted(said["lost"]), said["lost_count"]) == (lost[:100], len(lost))
            other = {state for state, _ in found.values()} - {"archived", "lost"}
            assert not other, f"backup {number} holds what is {other}"

    def _may_stay(self, staged: str) -> bool:
        """A restore that failed, or whose run is over, leaves what it had brought to the next one that ends."""
        waiting = {f"{self.application.name}-restore-{number}" for (number,) in self.sql(_NOT_CLEARED, catalog=True)}
        return staged in self.stray_staging or staged in waiting

    def lost_of(self, backup_id: int) -> list[str]:
        rows = self.sql(_MEMBER_STATES, backup_id, catalog=True)
        return sorted(name for name, state, _ in rows if state == "lost")

    def check_healed(self) -> None:
        """What is lost is in no backup as long as the same content is in the store under its name."""
        rows = self.sql(_NOT_HEALED, catalog=True)
        assert not rows, f"not healed: {rows}"

    def check_store(self, *, abandoned: bool = False) -> None:
        held = {one.key: one for one in self.place.held()}
        archived = self.sql(
            "SELECT key, stored_size FROM glacier_archives WHERE state = 'archived' AND key NOT LIKE 'empty:%%'",
            catalog=True,
        )
        looks = 1 + len(archived) // LOOKED_THROUGH
        lost = [key for key, size in archived if key not in held or held[key].size != size]
        assert not (bad := [key for key in lost if key not in self.quiet]), f"archived, and not in the store: {bad}"
        late = [key for key in lost if self.quiet[key] > looks]
        assert not late, f"lost, and looked through since: {late}"
        gone = {key for (key,) in self.sql("SELECT key FROM glacier_archives WHERE state = 'deleted'", catalog=True)}
        assert not (bad := sorted(gone & set(held) - self.back)), f"deleted, and still in the store: {bad}"
        known = {key for key, _ in archived} | {key for (key,) in self.sql(_ON_THEIR_WAY, catalog=True)} | self.back
        self.others &= set(held)
        duplicates = strays = 0
        for key, one in held.items():
            if key in known or key in self.others:
                continue
            verdict = self._verdict(one)
            if verdict is Verdict.SURPLUS and self._is_perhaps_the_last(one, held):
                strays += 1
                continue
            assert verdict in (Verdict.SURPLUS, Verdict.ADOPT, Verdict.NOTE), f"nobody knows {one}: {verdict}"
            duplicates, strays = duplicates + (verdict is Verdict.SURPLUS), strays + (verdict is not Verdict.SURPLUS)
        self.figures.duplicates, self.figures.strays = duplicates, strays
        self.figures.most_duplicates = max(self.figures.most_duplicates, duplicates)
        if self.place.exact and not abandoned:
            assert (duplicates, strays) == (0, 0), f"{duplicates} duplicates, {strays} strays"
        if self.place.exact:
            numbers = Counter(one.description.archive_id for one in held.values() if one.description)
            twice = [number for number, times in numbers.items() if times > 1]
            assert not twice, f"ids that were given twice: {twice}"

    def _is_perhaps_the_last(self, one: Any, held: Container[str]) -> bool:
        """Whether it is a copy of what is no longer where the catalog had it: nobody deletes it."""
        number = one.description.archive_id
        rows = self.sql("SELECT state, key FROM glacier_archives WHERE id = %s", number, catalog=True)
        return any(state == "lost" or (state == "archived" and key not in held) for state, key in rows)

    def _aside(self) -> set[str]:
        """Return what lies aside, below the directory for it; it only grows, and is looked at after every deed."""
        base = len(str(self.orphans)) + 1
        return {
            f"{path[base:]}/{name}"
            for path, _, names in os.walk(self.orphans)
            for name in names
            if not path[base:].partition("/")[0].endswith("-undone")
        }

    def check_journal(self) -> None:
        moves = self.sql("SELECT state, subdirectory, filename FROM orphan_moves", catalog=True)
        journalled = {f"{folder}/{name}" for state, folder, name in moves if state == "moved"}
        aside = self._aside()
        self.ghosts -= aside
        assert aside - self.unjournalled == journalled - self.ghosts - self.unjournalled, (
            aside - self.unjournalled
        ) ^ (journalled - self.ghosts)
        assert not [name for state, _, name in moves if state == "planned"]


#: What the next backup takes a file for, where nothing tells that it is another: of a size, a time, an inode.
_CURRENT = """
SELECT a.filename, a.key, a.original_size, i.mtime_ns, i.inode
  FROM glacier_archives a JOIN backup_files f ON f.archive_id = a.id AND f.last_backup_id IS NULL
  LEFT JOIN file_identities i ON i.archive_id = a.id
 WHERE a.kind = 'file' AND a.state = 'archived' AND NOT a.superseded
"""

#: What a restore takes for it: whatever backups it is in.
_KNOWN = """
SELECT a.filename, a.key, a.original_size, i.mtime_ns, i.inode
  FROM glacier_archives a LEFT JOIN file_identities i ON i.archive_id = a.id
 WHERE a.kind = 'file' AND a.state = 'archived' AND NOT a.superseded
"""

_MEMBER_STATES = """
SELECT a.filename, a.state, a.key FROM application_data_backups b
  JOIN backup_files f ON f.first_backup_id <= b.id AND (f.last_backup_id IS NULL OR f.last_backup_id >= b.id)
  JOIN glacier_archives a ON a.id = f.archive_id
 WHERE b.id = %s
"""
_HELD_BY = _MEMBER_STATES.replace("a.state, a.key", "a.key, a.state")

_ALL_MEMBERS = """
SELECT b.id, a.filename, a.state, a.key FROM application_data_backups b
  JOIN backup_files f ON f.first_backup_id <= b.id AND (f.last_backup_id IS NULL OR f.last_backup_id >= b.id)
  JOIN glacier_archives a ON a.id = f.archive_id
 WHERE b.id = ANY(%s)
"""

_KEYS_OF_BACKUP = """
SELECT d.key, m.key, pm.key FROM application_data_backups b
  LEFT JOIN glacier_archives d ON d.id = b.database_archive_id
  LEFT JOIN glacier_archives m ON m.id = b.manifest_archive_id
  LEFT JOIN application_data_backups p ON p.id = b.previous_backup_id
  LEFT JOIN glacier_archives pm ON pm.id = p.manifest_archive_id
 WHERE b.id = %s
"""

_DUMP_STATE = """
SELECT d.key, d.state FROM application_data_backups b JOIN glacier_archives d ON d.id = b.database_archive_id
 WHERE b.id = %s
"""

#: Backups that are complete once their dump is there again.
_FALLEN = """
SELECT b.id, d.key FROM application_data_backups b JOIN glacier_archives d ON d.id = b.database_archive_id
 WHERE b.state = 'failed' AND d.state = 'lost'
"""

_NOT_HEALED = """
SELECT DISTINCT l.filename, l.id, n.id FROM backup_files f JOIN glacier_archives l ON l.id = f.archive_id
  JOIN glacier_archives n ON n.filename = l.filename AND n.kind = 'file' AND n.state = 'archived'
   AND n.stored_size = l.stored_size AND n.sha256 = l.sha256
 WHERE l.state = 'lost' AND l.kind = 'file'
"""

#: Restores that did not come to their end, and none did after they ended; those of which nobody told that their run is
#: over changed nothing yet, and could go on.
_NOT_CLEARED = """
SELECT r.id FROM restores r
 WHERE r.state IN ('planned', 'running') AND r.last_lease_token IS NULL
    OR r.state = 'failed'
       AND NOT EXISTS (SELECT FROM application_data_backups b WHERE b.id = r.backup_id AND b.state = 'deleted')
       AND NOT EXISTS (SELECT FROM restores o WHERE o.state = 'complete' AND o.closed_at > r.closed_at)
"""

_ON_THEIR_WAY = """
SELECT key FROM glacier_archives WHERE key IS NOT NULL AND state IN ('deleting', 'failed', 'lost')
"""
