"""A scan that looks only at what changed says the same as one that compares every file, whatever happened between."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from glacier_provider.catalog.archives import ArchiveRange, PlannedArchive, Upload
from glacier_provider.catalog.backups import Run
from glacier_provider.catalog.catalog import Catalog
from glacier_provider.catalog.scans import Scan
from glacier_provider.core.archive import Location, Receipt
from glacier_provider.core.directories import Changed, Listing
from glacier_provider.errors import DirectoryUnusable
from glacier_provider.files import DirectoryWalk, Look, walk
from glacier_provider.postgres import Server
from tests.conftest import a_catalog

STORE = "s3://bucket/prefix"
#: Quick enough for a test, and far above a tick of the kernel's clock.
SETTLED_NS = 60_000_000
ALL = ArchiveRange(0, 2**62)


def a_look(**options: Any) -> Look:
    return Look(**{"settled_ns": SETTLED_NS, **options})


def layered(
    catalog: Catalog, backup_id: int, root: Path, *, full: bool = False, archive_changed: bool = True, **options: Any
) -> Scan:
    walked = DirectoryWalk(root, on_skip=lambda *_: None, look=a_look(**options))
    return catalog.scans.record_walk(backup_id, walked, store_uri=STORE, full=full, archive_changed=archive_changed)


def compared(catalog: Catalog, backup_id: int, root: Path) -> Scan:
    """The scan that believes nothing: every file compared with the catalog."""
    found = (tuple(file) for file in walk(root, on_skip=lambda *_: None))
    return catalog.scans.record(backup_id, found, store_uri=STORE)


def archived(catalog: Catalog, root: Path) -> None:
    """Scan for the first backup and have all files archived, long enough ago for times to be trusted."""
    settle()
    layered(catalog, next_backup(catalog, 1), root)
    sent(catalog, planned(catalog))
    settle()


def settle() -> None:
    time.sleep(SETTLED_NS / 1e9 * 1.5)


def planned(catalog: Catalog) -> list[PlannedArchive]:
    return [one for page in catalog.archives.unfinished_files(ALL) for one in page]


def sent(catalog: Catalog, archives: list[PlannedArchive], *, more: int = 0) -> None:
    """The store took these; each was `more` bytes longer when it was read than when it was planned."""
    receipts = [Receipt(Location(STORE, f"key/{one.id}"), one.size + more, f"sha256:{one.id:064x}") for one in archives]
    catalog.archives.record_uploads([Upload(one.id, r) for one, r in zip(archives, receipts, strict=True)])


# --- what is told and what is read ---


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "files"
    for name in ("a", "sub/b", "sub/deep/c", "other/d"):
        write(directory, name)
    return directory


def write(root: Path, name: str, content: str = "0123456789") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)


def a_run(number: int) -> Run:
    return Run("glacier_backup__dms", f"run-{number}")


def next_backup(catalog: Catalog, number: int) -> int:
    """The backup of the next day; the one before ended, as far as its lease goes."""
    with catalog._database.transaction():
        catalog._database.connection().execute("UPDATE applications SET lease_holder = NULL, lease_until = NULL")
    return catalog.backups.open(a_run(number))


def told_by(root: Path, known: list[Listing], **options: Any) -> list[str]:
    """The directories that a walk tells of."""
    walked = DirectoryWalk(root, on_skip=lambda *_: None, look=a_look(**options))
    return [told.listing.directory for told in walked.changes(known) if isinstance(told, Changed)]


def listings(root: Path, **options: Any) -> list[Listing]:
    walked = DirectoryWalk(root, on_skip=lambda *_: None, look=a_look(**options))
    return sorted(told.listing for told in walked.changes(()) if isinstance(told, Changed))


def test_an_unchanged_tree_tells_nothing(root: Path) -> None:
    settle()
    known = listings(root)
    assert [one.directory for one in known] == ["", "other/", "sub/", "sub/deep/"]
    for size_check in ("always", "sample", "never"):
        for trust in (True, False):
            assert told_by(root, known, size_check=size_check, trust=trust) == []


def test_a_directory_that_just_changed_is_not_trusted_until_it_settled(root: Path) -> None:
    (just_now,) = [one for one in listings(root, settled_ns=10**12) if one.directory == "sub/"]
    assert just_now.changed_ns is None
    settle()
    known = listings(root)
    assert all(one.changed_ns is not None for one in known)


def test_a_change_below_an_unchanged_directory_is_found(root: Path) -> None:
    settle()
    known = listings(root)
    write(root, "sub/deep/new")
    assert told_by(root, known, size_check="never") == ["sub/deep/"]


def test_a_file_that_grew_is_found_where_sizes_are_looked_at(root: Path) -> None:
    settle()
    known = listings(root)
    write(root, "sub/b", "another content")
    assert told_by(root, known) == ["sub/"]
    assert told_by(root, known, size_check="never", trust=False) == []
    days = [told_by(root, known, size_check="sample", day=day, days=5) for day in range(5)]
    assert sorted(days) == [[], [], [], [], ["sub/"]], "each directory on one of five days"


def test_a_time_that_was_set_back_does_not_hide_a_change(root: Path) -> None:
    settle()
    known = listings(root)
    before = os.stat(root / "sub")
    write(root, "sub/new")
    os.utime(root / "sub", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert told_by(root, known, size_check="never") == ["sub/"]


def test_a_directory_in_another_ones_place_is_read(root: Path, tmp_path: Path) -> None:
    settle()
    known = listings(root)
    shutil.copytree(root / "sub", tmp_path / "copy")
    write(tmp_path / "copy", "more")
    (root / "sub").rename(tmp_path / "old")
    (tmp_path / "copy").rename(root / "sub")
    assert "sub/" in told_by(root, known, size_check="never")


def test_links_are_reported_at_every_walk(root: Path) -> None:
    (root / "sub" / "link").symlink_to("b")
    settle()
    known = listings(root)
    skipped: list[str] = []
    walked = DirectoryWalk(root, on_skip=lambda name, _: skipped.append(name), look=a_look(size_check="never"))
    assert list(walked.changes(known)) == []
    assert skipped == ["sub/link"]


@pytest.mark.parametrize("piece", [2, 3, 10_000])
def test_a_large_directory_is_read_in_pieces(
    root: Path, monkeypatch: pytest.MonkeyPatch, piece: int, catalog: Catalog
) -> None:
    monkeypatch.setattr("glacier_provider.files.directories.PIECE", piece)
    for number in range(6):
        write(root, f"sub/{number}")
    settle()
    known = listings(root)
    assert {one.directory: one.files for one in known} == {"": 1, "other/": 1, "sub/": 7, "sub/deep/": 1}
    for options in ({}, {"size_check": "never"}, {"size_check": "never", "trust": False}):
        assert told_by(root, known, **options) == []
    (root / "sub" / "3").unlink()
    assert told_by(root, known) == ["sub/"]
    untrusted = [one._replace(inode=None, changed_ns=None) for one in known]
    assert "sub/" in told_by(root, untrusted)


def test_a_walk_closes_what_it_opened(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    known = listings(root)
    walked = DirectoryWalk(root, on_skip=lambda *_: None).changes(())
    next(walked)
    walked.close()
    shutil.rmtree(root / "sub" / "deep")
    told_by(root, known)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_network_mount_is_never_trusted(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = os.stat(root).st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"36 35 {os.major(device)}:{os.minor(device)} / /mnt rw,noatime shared:1 - nfs4 host:/x rw\n")
    monkeypatch.setattr("glacier_provider.files.mounts.MOUNTINFO", str(mounts))
    settle()
    assert all(one.changed_ns is None for one in listings(root))


# --- the catalog ---


def test_a_second_scan_writes_no_row_of_a_file(catalog: Catalog, root: Path) -> None:
    layered(catalog, next_backup(catalog, 1), root)
    sent(catalog, planned(catalog))
    before = written(catalog)
    for number, options in enumerate(({}, {"size_check": "never"}, {"trust": False}), 2):
        settle()
        layered(catalog, next_backup(catalog, number), root, **options)
    after = written(catalog)
    assert after["backup_files"] == before["backup_files"]
    assert after["glacier_archives"] == before["glacier_archives"]
    assert after["scanned_directories"] - before["scanned_directories"] <= 4, "the stamps, once they had settled"


def test_a_scan_that_believes_nothing_writes_no_row_of_what_did_not_change(catalog: Catalog, root: Path) -> None:
    archived(catalog, root)
    layered(catalog, next_backup(catalog, 2), root, full=True)
    before = written(catalog)
    layered(catalog, next_backup(catalog, 3), root, full=True)
    after = written(catalog)
    for table in ("backup_files", "glacier_archives", "file_identities", "scanned_directories"):
        assert after[table] == before[table], table


def test_rows_are_written_for_what_changed_only(catalog: Catalog, tmp_path: Path) -> None:
    root = tmp_path / "many"
    for number in range(300):
        write(root, f"{number % 30}/{number}")
    layered(catalog, next_backup(catalog, 1), root)
    sent(catalog, planned(catalog))
    settle()
    layered(catalog, next_backup(catalog, 2), root)
    before = written(catalog)
    write(root, "3/new")
    (root / "4" / "4").unlink()
    scan = layered(catalog, next_backup(catalog, 3), root)
    after = written(catalog)
    assert (scan.files, scan.new_files, scan.vanished) == (300, 1, 1)
    assert after["backup_files"] - before["backup_files"] == 2, "one range opened, one closed"
    assert after["glacier_archives"] - before["glacier_archives"] == 2, "one planned, one no longer there"
    assert after["scanned_directories"] - before["scanned_directories"] <= 4, "two of thirty: doubted, and noted again"


def written(catalog: Catalog) -> dict[str, int]:
    """Rows inserted, updated and deleted by table."""
    connection = catalog._database.connection()
    connection.execute("SELECT pg_stat_force_next_flush()")
    rows = connection.execute(
        "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del AS written FROM pg_stat_user_tables"
        " WHERE schemaname = 'glacier_catalog'"
    ).fetchall()
    return {row["relname"]: row["written"] for row in rows}


def test_a_changed_size_is_told_every_day_where_changes_are_only_reported(catalog: Catalog, root: Path) -> None:
    layered(catalog, next_backup(catalog, 1), root, archive_changed=False)
    sent(catalog, planned(catalog))
    write(root, "sub/b", "longer than it was")
    for number in (2, 3, 4):
        settle()
        scan = layered(catalog, next_backup(catalog, number), root, archive_changed=False)
        assert scan.changed == [{"name": "sub/b", "archived_size": 10, "size": 18}]
    write(root, "sub/b")
    assert layered(catalog, next_backup(catalog, 5), root, archive_changed=False).changed_count == 0


def test_a_file_that_vanished_before_its_upload_and_came_back_is_planned(catalog: Catalog, root: Path) -> None:
    backup_id = next_backup(catalog, 1)
    settle()
    layered(catalog, backup_id, root, size_check="never")
    catalog.archives.drop_vanished([one.id for one in planned(catalog) if one.filename == "sub/b"])
    scan = layered(catalog, backup_id, root, size_check="never")
    assert scan.files == 4
    assert {one.filename for one in planned(catalog)} == {"a", "sub/b", "sub/deep/c", "other/d"}


def test_whatever_changes_a_range_makes_its_directory_doubtful(
    catalog: Catalog, catalog_database: Server, root: Path
) -> None:
    archived(catalog, root)
    layered(catalog, next_backup(catalog, 2), root)
    assert doubtful(catalog_database) == []
    archive_of_b = "(SELECT id FROM glacier_archives WHERE filename = 'sub/b')"
    for statement, undo in (
        (
            f"UPDATE backup_files SET last_backup_id = first_backup_id WHERE archive_id = {archive_of_b}",
            f"UPDATE backup_files SET last_backup_id = NULL WHERE archive_id = {archive_of_b}",
        ),
        (
            f"DELETE FROM backup_files WHERE archive_id = {archive_of_b}",
            "INSERT INTO backup_files SELECT id, application_id, backup_id FROM glacier_archives"
            " WHERE filename = 'sub/b'",
        ),
        (
            "UPDATE glacier_archives SET original_size = 11 WHERE filename = 'sub/b'",
            "UPDATE glacier_archives SET original_size = 10 WHERE filename = 'sub/b'",
        ),
        (
            "UPDATE glacier_archives SET state = 'deleted' WHERE filename = 'sub/b'",
            "UPDATE glacier_archives SET state = 'archived' WHERE filename = 'sub/b'",
        ),
    ):
        for number, change in enumerate((statement, undo)):
            with catalog_database.connect(autocommit=True) as connection:  # without the catalog's search path
                connection.execute("BEGIN")
                connection.execute("SET LOCAL search_path TO glacier_catalog")
                connection.execute(change)
                connection.execute("COMMIT")
            assert doubtful(catalog_database) == ["sub/"], change
            if number:
                layered(catalog, next_backup(catalog, 2), root)
                assert doubtful(catalog_database) == []


def test_one_statement_makes_every_directory_doubtful_that_it_changes(
    catalog: Catalog, catalog_database: Server, root: Path
) -> None:
    archived(catalog, root)
    changes = (
        ("UPDATE glacier_archives SET error = 'x', retrieval_status = 'available'", []),
        ("UPDATE glacier_archives SET filename = 'other/b' WHERE filename = 'sub/b'", ["other/", "sub/"]),
        ("DELETE FROM glacier_archives WHERE filename LIKE '%c'", ["sub/deep/"]),
        ("UPDATE glacier_archives SET original_size = original_size + 1 WHERE filename <> 'a'",
         ["other/", "sub/", "sub/deep/"]),
    )  # fmt: skip
    for number, (change, doubted) in enumerate(changes):
        layered(catalog, next_backup(catalog, 2 + number), root, full=True)
        sent(catalog, planned(catalog))
        layered(catalog, next_backup(catalog, 20 + number), root, full=True)
        with catalog_database.connect() as connection:
            connection.execute("SET search_path TO glacier_catalog")
            connection.execute("ALTER TABLE backup_files DISABLE TRIGGER USER")
            if change.startswith("DELETE"):
                connection.execute("DELETE FROM backup_files")
            connection.execute(change.encode())
            connection.execute("ALTER TABLE backup_files ENABLE TRIGGER USER")
        assert doubtful(catalog_database) == doubted, change


def test_a_range_opened_in_an_unknown_directory_makes_a_full_walk_due(
    catalog: Catalog, catalog_database: Server, root: Path
) -> None:
    layered(catalog, next_backup(catalog, 1), root)
    rules = DirectoryWalk(root, on_skip=lambda *_: None).rules
    assert catalog.scans.since_full_walk(rules) is not None
    with catalog_database.connect(autocommit=True) as connection:
        connection.execute("SET search_path TO glacier_catalog")
        connection.execute(
            "WITH lost AS (INSERT INTO glacier_archives"
            " (application_id, kind, filename, backup_id, original_size, store_uri)"
            " SELECT application_id, kind, 'nowhere/x', backup_id, 10, store_uri FROM glacier_archives LIMIT 1"
            " RETURNING *)"
            " INSERT INTO backup_files SELECT id, application_id, backup_id FROM lost"
        )
    assert catalog.scans.since_full_walk(rules) is None
    layered(catalog, next_backup(catalog, 1), root)
    assert {one.filename for one in planned(catalog)} == {"a", "sub/b", "sub/deep/c", "other/d"}
    write(root, "brand/new")
    layered(catalog, next_backup(catalog, 2), root)
    assert catalog.scans.since_full_walk(rules) is not None, "a new directory is no reason"


def test_an_upload_leaves_no_doubt(catalog: Catalog, catalog_database: Server, root: Path) -> None:
    layered(catalog, next_backup(catalog, 1), root)
    sent(catalog, planned(catalog))
    assert doubtful(catalog_database) == []


def doubtful(server: Server) -> list[str]:
    with server.connect(autocommit=True) as connection:
        rows = connection.execute("SELECT directory FROM glacier_catalog.scanned_directories WHERE names IS NULL")
        return sorted(row[0] for row in rows.fetchall())


def test_an_emptied_directory_is_refused_whatever_is_remembered(catalog: Catalog, root: Path) -> None:
    settle()
    layered(catalog, next_backup(catalog, 1), root)
    shutil.rmtree(root)
    root.mkdir()
    for full in (False, True):
        with pytest.raises(DirectoryUnusable, match="held 4 files"):
            layered(catalog, next_backup(catalog, 2), root, full=full, size_check="never")
    write(root, "a")
    scan = layered(catalog, next_backup(catalog, 3), root)
    assert (scan.files, scan.vanished) == (1, 0), "the others were never archived"


def test_a_scan_that_fails_leaves_nothing_remembered(catalog: Catalog, catalog_database: Server, root: Path) -> None:
    backup_id = next_backup(catalog, 1)

    class Cut(DirectoryWalk):
        def changes(self, remembered: Any) -> Iterator[Any]:
            yield from super().changes(remembered)
            raise DirectoryUnusable("the disk went away")

    cut = Cut(root, on_skip=lambda *_: None, look=a_look())
    with pytest.raises(DirectoryUnusable, match="went away"):
        catalog.scans.record_walk(backup_id, cut, store_uri=STORE)
    with catalog_database.connect(autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM glacier_catalog.scanned_directories").fetchall() == [(0,)]
    assert layered(catalog, backup_id, root).new_files == 4


def test_other_rules_make_a_full_walk_due(catalog: Catalog, root: Path) -> None:
    def rules(**options: Any) -> str:
        return DirectoryWalk(root, on_skip=lambda *_: None, **options).rules

    assert catalog.scans.since_full_walk(rules()) is None
    walked = DirectoryWalk(root, on_skip=lambda *_: None)
    catalog.scans.record_walk(next_backup(catalog, 1), walked, store_uri=STORE, full=True)
    age = catalog.scans.since_full_walk(rules())
    assert age is not None
    assert age < 60
    assert catalog.scans.since_full_walk(rules(exclude=["*.tmp"])) is None
    assert catalog.scans.since_full_walk(rules(leave_out=[root / "sub"])) is None


# --- whatever happens ---


@dataclass
class Twins:
    """One directory and two catalogs of it: one that looks at changes only, one that compares every file."""

    layered: Catalog
    compared: Catalog
    root: Path
    chance: random.Random
    number: int = 0
    backups: tuple[int, int] = (0, 0)

    @property
    def both(self) -> tuple[Catalog, Catalog]:
        return (self.layered, self.compared)

    def open(self) -> None:
        self.number += 1
        for catalog, backup_id in zip(self.both, self.backups, strict=True):
            if backup_id:
                catalog.backups.fail(backup_id, "the next day came")
        self.backups = tuple(catalog.backups.open(a_run(self.number)) for catalog in self.both)  # type: ignore[assignment]

    def a_name(self) -> str:
        parts = [self.chance.choice(["x", "y", "ü", "x-", "x.y", "back\\slash", "new\nline"]) for _ in range(3)]
        return "/".join([*parts[: self.chance.randint(0, 2)], f"f{self.chance.randint(0, 5)}"])

    def files(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())

    def write(self) -> None:
        path = self.root / self.a_name()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * self.chance.randint(0, 3))

    def delete(self) -> None:
        if files := [path for path in self.files() if path.name != "always there"]:
            self.chance.choice(files).unlink()

    def directories(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*") if path.is_dir() and not path.is_symlink())

    def move(self) -> None:
        """Rename a directory, in place of what had the name."""
        target = self.root / f"moved-{self.chance.randint(0, 2)}"
        shutil.rmtree(target, ignore_errors=True)
        if directories := self.directories():
            self.chance.choice(directories).rename(target)

    def delete_directory(self) -> None:
        if directories := self.directories():
            shutil.rmtree(self.chance.choice(directories))

    def link(self) -> None:
        path = self.root / f"link-{self.chance.randint(0, 1)}"
        path.unlink(missing_ok=True)
        path.symlink_to("x")

    def names(self, share: float) -> set[str]:
        every = sorted({one.filename for one in planned(self.layered)})
        return {name for name in every if self.chance.random() < share}

    def upload(self) -> None:
        names = self.names(0.7)
        for catalog in self.both:
            sent(catalog, [one for one in planned(catalog) if one.filename in names])

    def upload_grown(self) -> None:
        names = self.names(0.3)
        for catalog in self.both:
            sent(catalog, [one for one in planned(catalog) if one.filename in names], more=1)

    def drop(self) -> None:
        names = self.names(0.4)
        for catalog in self.both:
            catalog.archives.drop_vanished([one.id for one in planned(catalog) if one.filename in names])

    def plan_again(self) -> None:
        names = self.names(0.3)
        for catalog in self.both:
            for one in planned(catalog):
                if one.filename in names:
                    catalog.archives.plan_again(one)

    def act(self) -> None:
        actions = [self.write] * 4 + [self.delete, self.delete, self.move, self.delete_directory, self.link]
        actions += [
            self.upload,
            self.upload,
            self.upload_grown,
            self.drop,
            self.plan_again,
            self.open,
            self.open,
            settle,
        ]
        self.chance.choice(actions)()

    def scan(self, **options: Any) -> None:
        by_layers = layered(self.layered, self.backups[0], self.root, full=self.chance.random() < 0.1, **options)
        by_all = compared(self.compared, self.backups[1], self.root)
        if options.get("size_check", "always") != "always":
            unseen = {"changed": [], "changed_count": 0, "bytes": 0, "new_bytes": 0}
            by_layers, by_all = replace(by_layers, **unseen), replace(by_all, **unseen)
        assert by_layers == by_all
        assert state_of(self.layered) == state_of(self.compared)


def state_of(catalog: Catalog) -> list[tuple[Any, ...]]:
    """Every file archive with its ranges, by name, backups counted from the first."""
    rows = catalog._database.connection().execute(
        "SELECT a.filename, a.state, a.retrieval_status,"
        " (SELECT array_agg(ARRAY[f.first_backup_id - b.base, f.last_backup_id - b.base] ORDER BY f.first_backup_id)"
        "    FROM backup_files f WHERE f.archive_id = a.id) AS ranges"
        "  FROM glacier_archives a,"
        " (SELECT min(id) AS base FROM application_data_backups WHERE application_id = %(id)s) AS b"
        " WHERE a.application_id = %(id)s ORDER BY 1, 2, 3, 4",
        {"id": catalog.backups.application_id},
    )
    return [tuple(row.values()) for row in rows.fetchall()]


LOOKS = (
    {"size_check": "always"},
    {"size_check": "never"},
    {"size_check": "never", "trust": False},
    {"size_check": "sample", "days": 2},
)


@pytest.fixture
def twins(catalog: Catalog, database: Server, tmp_path: Path) -> Iterator[Twins]:
    """Two catalogs in two databases, so that their backups have the same distances."""
    (tmp_path / "files").mkdir()
    with a_catalog(database) as other:
        other.migrate()
        made = Twins(catalog, other, tmp_path / "files", random.Random())
        write(made.root, "always there")
        yield made


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: "-".join(map(str, look.values())))
@pytest.mark.parametrize("seed", range(2))
def test_layers_say_what_a_comparison_of_every_file_says(twins: Twins, look: dict[str, Any], seed: int) -> None:
    twins.chance.seed(f"{seed} {look}")
    twins.open()
    for day in range(int(os.environ.get("SCANS", "12"))):
        for _ in range(twins.chance.randint(0, 4)):
            twins.act()
        options = dict(look)
        if options["size_check"] == "sample":
            options["day"] = day
        twins.scan(**options)
