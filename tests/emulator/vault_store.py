"""What the vault emulator remembers: rows in SQLite, bytes in files beside it.

A file of bytes is written completely before the row that names it is committed, and removed after the row is, so a
killed server leaves at worst a file that no row names; such files are removed at the next start.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.emulator.clock import Clock
from tests.emulator.faults import FaultPlan
from tests.emulator.vault_rules import MIB, Span, not_found, split_leaves

DAY = 86_400.0
PIECE = 256 * 1024

SCHEMA = """
CREATE TABLE IF NOT EXISTS vaults (
    name TEXT PRIMARY KEY, created REAL NOT NULL, change INTEGER NOT NULL DEFAULT 0, dirty_since REAL);
CREATE TABLE IF NOT EXISTS former_vaults (name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS documents (
    vault TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (vault, kind));
CREATE TABLE IF NOT EXISTS archives (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, vault TEXT NOT NULL, description TEXT,
    place TEXT NOT NULL, size INTEGER NOT NULL, tree TEXT NOT NULL, sha256 TEXT, created REAL NOT NULL,
    change INTEGER NOT NULL, deleted REAL, deleted_change INTEGER, gone INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS archives_by_vault ON archives (vault, number);
CREATE INDEX IF NOT EXISTS archives_to_free ON archives (deleted) WHERE deleted IS NOT NULL AND NOT gone;
CREATE TABLE IF NOT EXISTS uploads (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, vault TEXT NOT NULL, description TEXT,
    part_size INTEGER NOT NULL, created REAL NOT NULL, touched REAL NOT NULL, state TEXT NOT NULL DEFAULT 'open',
    ended REAL, archive TEXT);
CREATE INDEX IF NOT EXISTS open_uploads ON uploads (touched) WHERE state = 'open';
CREATE TABLE IF NOT EXISTS parts (
    place TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, file TEXT NOT NULL, tree TEXT NOT NULL,
    leaves BLOB NOT NULL, PRIMARY KEY (place, first));
CREATE TABLE IF NOT EXISTS snapshots (
    number INTEGER PRIMARY KEY AUTOINCREMENT, vault TEXT NOT NULL, taken REAL NOT NULL, visible REAL NOT NULL,
    change INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS snapshots_by_vault ON snapshots (vault, number);
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, vault TEXT NOT NULL, action TEXT NOT NULL,
    archive TEXT, first INTEGER, last INTEGER, description TEXT, topic TEXT, tier TEXT, parameters TEXT,
    snapshot INTEGER, doom TEXT, created REAL NOT NULL, due REAL NOT NULL, completed REAL, expires REAL,
    status TEXT NOT NULL DEFAULT 'InProgress', message TEXT, output_size INTEGER, next_marker TEXT);
CREATE INDEX IF NOT EXISTS running_jobs ON jobs (due) WHERE completed IS NULL;
CREATE INDEX IF NOT EXISTS jobs_by_archive ON jobs (archive);
CREATE INDEX IF NOT EXISTS jobs_by_vault ON jobs (vault, number);
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL, topic TEXT NOT NULL, body TEXT NOT NULL,
    made REAL NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS waiting_messages ON messages (number) WHERE state = 'waiting';
CREATE TABLE IF NOT EXISTS requests (
    operation TEXT PRIMARY KEY, received INTEGER NOT NULL DEFAULT 0, succeeded INTEGER NOT NULL DEFAULT 0);
"""


@dataclass(frozen=True)
class VaultOptions:
    """How the emulated service behaves. Times are emulated seconds."""

    region: str = "us-east-1"
    account_id: str = "123456789012"
    expedited_seconds: float = 180
    standard_seconds: float = 4 * 3600
    bulk_seconds: float = 8 * 3600
    inventory_job_seconds: float = 4 * 3600
    inventory_order: str = "oldest first"  # or "any": AWS promises none
    output_seconds: float = DAY  # how long an output can be downloaded after completion
    job_retention_seconds: float = DAY  # how long a completed job can be described and listed
    upload_idle_seconds: float = DAY  # when an upload without activity is dropped
    repeat_complete_seconds: float = 3600  # the "short period" in which Complete and Abort may be repeated
    inventory_interval_seconds: float = DAY
    inventory_lag_seconds: float = DAY / 2  # from the snapshot until it can be retrieved
    deleted_archive_seconds: float = DAY  # how long a job for a deleted archive is still accepted (and then fails)
    closed_when_empty: bool = False  # refuse an account without archives: NoLongerSupportedException
    sns_endpoint_url: str | None = None  # where notifications are published; None: only kept in the log

    def duration(self, action: str, tier: str) -> float:
        """Return how long a job takes."""
        if action == "InventoryRetrieval":
            return self.inventory_job_seconds
        return {"Expedited": self.expedited_seconds, "Bulk": self.bulk_seconds}.get(tier, self.standard_seconds)

    def arn(self, vault: str) -> str:
        """Return the ARN of a vault."""
        return f"arn:aws:glacier:{self.region}:{self.account_id}:vaults/{vault}"


class VaultStore:
    """The memory of one emulated account: rows, files, time and faults, for the operations to work with."""

    def __init__(self, directory: Path, options: VaultOptions, clock: Clock, faults: FaultPlan) -> None:
        self.directory, self.options, self.clock, self.faults = directory, options, clock, faults
        self.bytes_directory = directory / "bytes"
        self.bytes_directory.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._depth = 0
        self._trash: list[Path] = []
        self._rows = sqlite3.connect(directory / "state.sqlite", isolation_level=None, check_same_thread=False)
        self._rows.row_factory = sqlite3.Row
        # A killed process loses nothing that was committed; only a power cut would, and it does not matter here.
        self._rows.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;" + SCHEMA)
        self._remove_nameless_files()

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._rows.close()

    # --- rows ---

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold all others off and commit at the end, or roll back on an exception. May be nested."""
        with self._lock:
            self._depth += 1
            try:
                if self._depth == 1:
                    self._rows.execute("BEGIN IMMEDIATE")
                yield
            except BaseException:
                if self._depth == 1:
                    self._rows.execute("ROLLBACK")
                    self._trash.clear()
                raise
            else:
                if self._depth == 1:
                    self._rows.execute("COMMIT")
                    self._empty_trash()
            finally:
                self._depth -= 1

    def execute(self, statement: str, *values: Any) -> int:
        """Run a statement and return the number of rows it changed."""
        with self._lock:
            return self._rows.execute(statement, values).rowcount

    def all(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Return the rows of a query."""
        with self._lock:
            return self._rows.execute(query, values).fetchall()

    def one(self, query: str, *values: Any) -> sqlite3.Row | None:
        """Return the first row of a query, or None."""
        with self._lock:
            return self._rows.execute(query, values).fetchone()

    def insert(self, table: str, **values: Any) -> int:
        """Insert a row and return its number."""
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        with self._lock:
            cursor = self._rows.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(values.values()))
            return cursor.lastrowid or 0

    def vault(self, name: str) -> sqlite3.Row:
        """Return a vault's row; raise the 404 for an unknown one."""
        row = self.one("SELECT * FROM vaults WHERE name = ?", name)
        if row is None:
            raise not_found(f"Vault not found for ARN: {self.options.arn(name)}")
        return row

    def note_change(self, vault: str) -> int:
        """Record that a vault's archives change now; return the number of the change."""
        self.execute(
            "UPDATE vaults SET change = change + 1, dirty_since = coalesce(dirty_since, ?) WHERE name = ?",
            self.clock.timestamp(),
            vault,
        )
        return self.vault(vault)["change"]

    def document(self, vault: str, kind: str) -> str | None:
        """Return a stored JSON document (policy, tags, notifications), or None."""
        row = self.one("SELECT body FROM documents WHERE vault = ? AND kind = ?", vault, kind)
        return None if row is None else row["body"]

    def put_document(self, vault: str, kind: str, body: str | None) -> None:
        """Store a JSON document, or remove it with None."""
        self.execute("DELETE FROM documents WHERE vault = ? AND kind = ?", vault, kind)
        if body is not None:
            self.insert("documents", vault=vault, kind=kind, body=body)

    # --- bytes ---

    def new_file(self) -> Path:
        """Return the path for a new file of bytes; it counts once a row names it."""
        token = secrets.token_hex(16)
        path = self.bytes_directory / token[:2] / token
        path.parent.mkdir(exist_ok=True)
        return path

    def part_files(self, place: str) -> list[tuple[Span, Path]]:
        """Return the files that make up an archive or upload, in order."""
        rows = self.all("SELECT first, last, file FROM parts WHERE place = ? ORDER BY first", place)
        return [(Span(row["first"], row["last"]), self.bytes_directory / row["file"]) for row in rows]

    def leaves(self, place: str, span: Span) -> list[bytes]:
        """Return the digests of the MiBs that a megabyte aligned range covers."""
        rows = self.all(
            "SELECT first, leaves FROM parts WHERE place = ? AND last >= ? AND first <= ? ORDER BY first",
            place,
            span.first,
            span.last,
        )
        start = rows[0]["first"] // MIB
        every = [leaf for row in rows for leaf in split_leaves(row["leaves"])]
        return every[span.first // MIB - start : span.last // MIB - start + 1]

    def read(self, place: str, span: Span) -> Iterator[bytes]:
        """Yield the bytes of a range of an archive."""
        for part, path in self.part_files(place):
            first, last = max(part.first, span.first), min(part.last, span.last)
            if first <= last:
                yield from read_file(path, Span(first - part.first, last - part.first))

    def free(self, place: str) -> None:
        """Remove the bytes of an archive or upload."""
        files = self.part_files(place)
        self.execute("DELETE FROM parts WHERE place = ?", place)
        for _, path in files:
            self.throw_away(path)

    def throw_away(self, path: Path) -> None:
        """Remove a file once the transaction under way is committed, so that no row ever names a missing file."""
        self._trash.append(path)

    def _empty_trash(self) -> None:
        while self._trash:
            self._trash.pop().unlink(missing_ok=True)

    def _remove_nameless_files(self) -> None:
        named = {row["file"] for row in self.all("SELECT file FROM parts")}
        for path in self.bytes_directory.glob("*/*"):
            if str(path.relative_to(self.bytes_directory)) not in named:
                path.unlink()


def read_file(path: Path, span: Span) -> Iterator[bytes]:
    """Yield a range of a file in pieces."""
    with path.open("rb") as file:
        file.seek(span.first)
        left = span.size
        while left and (piece := file.read(min(PIECE, left))):
            left -= len(piece)
            yield piece
