"""Vaults, uploads and archives of the emulated vault API."""

from __future__ import annotations

import itertools
import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.emulator.vault_rules import (
    BodyHasher,
    GlacierError,
    Span,
    check_assembly,
    check_part,
    check_vault_name,
    denies_delete,
    from_marker,
    invalid,
    not_found,
    page_size,
    split_leaves,
    to_date,
    to_marker,
    tree_root,
)
from tests.emulator.vault_store import DAY, VaultStore

MAX_VAULTS = 1000
ARCHIVE_ID_LENGTH = 138
_ids = itertools.count(1)


@dataclass(frozen=True)
class Received:
    """A body on disk with its checksums, not yet part of anything."""

    path: Path
    hasher: BodyHasher

    def discard(self) -> None:
        """Remove the bytes."""
        self.path.unlink(missing_ok=True)


def new_archive_id() -> str:
    """Return 138 URL-safe characters; every fourth id starts with a hyphen, as some of AWS do."""
    text = secrets.token_urlsafe(ARCHIVE_ID_LENGTH)[:ARCHIVE_ID_LENGTH]
    return "-" + text[1:] if next(_ids) % 4 == 0 else text


def page(rows: list[sqlite3.Row], limit: int, key: str) -> tuple[list[sqlite3.Row], str | None]:
    """Return one page of `limit` + 1 fetched rows, and the marker of the next one (None at the end)."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], to_marker(rows[limit][key])


def position(marker: str | None, kind: type, start: Any) -> Any:
    """Return where a list begins; raise for a marker of another list."""
    place = from_marker(marker)
    if place is None:
        return start
    if not isinstance(place, kind):
        raise invalid(f"Invalid marker: {marker}")
    return place


class Archives:
    """Operations on vaults, archives and multipart uploads."""

    def __init__(self, store: VaultStore) -> None:
        self._store = store

    # --- vaults ---

    def create_vault(self, name: str) -> None:
        """Create a vault; an existing one stays as it is."""
        check_vault_name(name)
        store = self._store
        with store.transaction():
            if store.one("SELECT 1 FROM vaults WHERE name = ?", name):
                return
            if len(store.all("SELECT 1 FROM vaults")) >= MAX_VAULTS:
                raise GlacierError(400, "LimitExceededException", f"The limit of {MAX_VAULTS} vaults is reached")
            store.insert("vaults", name=name, created=store.clock.timestamp())

    def describe_vault(self, name: str) -> dict[str, Any]:
        """Return a vault with the counts of its last inventory, null before the first one."""
        store = self._store
        row = store.vault(name)
        snapshot = self.visible_snapshot(name)
        count, size = self.totals(name, snapshot["change"]) if snapshot else (None, None)
        return {
            "CreationDate": to_date(row["created"]),
            "LastInventoryDate": to_date(snapshot["taken"]) if snapshot else None,
            "NumberOfArchives": count,
            "SizeInBytes": size,
            "VaultARN": store.options.arn(name),
            "VaultName": name,
        }

    def list_vaults(self, limit: str | None, marker: str | None) -> dict[str, Any]:
        """Return one page of vaults in ASCII order; the marker is the ARN of the next vault (List Vaults)."""
        start = "" if not marker else marker.rpartition("/")[2]
        if marker and marker != self._store.options.arn(start):
            raise invalid(f"Invalid marker: {marker}")
        size = min(page_size(limit), 10)
        rows = self._store.all("SELECT name FROM vaults WHERE name >= ? ORDER BY name LIMIT ?", start, size + 1)
        names = [row["name"] for row in rows]
        following = self._store.options.arn(names[size]) if len(names) > size else None
        return {"Marker": following, "VaultList": [self.describe_vault(name) for name in names[:size]]}

    def delete_vault(self, name: str) -> None:
        """Delete a vault that was empty at its last inventory and was not written to since; else refuse."""
        store = self._store
        with store.transaction():
            if store.one("SELECT 1 FROM former_vaults WHERE name = ?", name) and not store.one(
                "SELECT 1 FROM vaults WHERE name = ?", name
            ):
                return
            row = store.vault(name)
            snapshot = self.visible_snapshot(name)
            seen = snapshot["change"] if snapshot else 0
            if row["change"] != seen or self.totals(name, seen)[0]:
                raise invalid(f"Vault not empty or recently written to: {store.options.arn(name)}")
            for upload in store.all("SELECT id FROM uploads WHERE vault = ?", name):
                store.free(upload["id"])
            for table in ("uploads", "snapshots", "documents", "jobs", "archives"):
                store.execute(f"DELETE FROM {table} WHERE vault = ?", name)
            store.execute("DELETE FROM vaults WHERE name = ?", name)
            store.execute("INSERT OR IGNORE INTO former_vaults VALUES (?)", name)

    def visible_snapshot(self, vault: str) -> sqlite3.Row | None:
        """Return the newest inventory that can be seen now, or None."""
        return self._store.one(
            "SELECT * FROM snapshots WHERE vault = ? AND visible <= ? ORDER BY number DESC LIMIT 1",
            vault,
            self._store.clock.timestamp(),
        )

    def totals(self, vault: str, change: int) -> tuple[int, int]:
        """Return number and bytes of the archives as of a change of the vault."""
        row = self._store.one(
            "SELECT count(*) AS n, coalesce(sum(size), 0) AS size FROM archives WHERE vault = ? AND change <= ? "
            "AND (deleted_change IS NULL OR deleted_change > ?)",
            vault,
            change,
            change,
        )
        assert row is not None
        return row["n"], row["size"]

    # --- archives ---

    def add_archive(self, vault: str, description: str | None, received: Received) -> sqlite3.Row:
        """Make an archive of a verified body and return its row."""
        store, hasher = self._store, received.hasher
        with store.transaction():
            store.vault(vault)
            archive = new_archive_id()
            self._add_part(archive, Span(0, hasher.size - 1), received)
            return self._add_row(
                vault,
                id=archive,
                place=archive,
                description=description,
                size=hasher.size,
                tree=hasher.tree,
                sha256=hasher.linear,
            )

    def delete_archive(self, vault: str, archive: str) -> None:
        """Delete an archive; once more is no error, and an id that never was one is a 404."""
        store = self._store
        with store.transaction():
            store.vault(vault)
            row = self.archive(vault, archive)
            if row["deleted"] is not None:
                return
            self._check_may_delete(vault, archive, (store.clock.timestamp() - row["created"]) / DAY)
            change = store.note_change(vault)
            now = store.clock.timestamp()
            store.execute("UPDATE archives SET deleted = ?, deleted_change = ? WHERE id = ?", now, change, archive)

    def archive(self, vault: str, archive: str) -> sqlite3.Row:
        """Return an archive's row, deleted or not; raise as AWS does for an id it does not know here."""
        if len(archive) != ARCHIVE_ID_LENGTH:
            raise not_found(f"The archive ID was not found: {archive}")
        row = self._store.one("SELECT * FROM archives WHERE id = ?", archive)
        if row is None:
            raise not_found(f"The archive ID was not found: {archive}")
        if row["vault"] != vault:
            raise invalid(f"Invalid vault name: {vault}")
        return row

    def _check_may_delete(self, vault: str, archive: str, age: float) -> None:
        for kind in ("lock", "access-policy"):
            document = self._store.document(vault, kind)
            if document is not None and denies_delete(document, age):
                raise GlacierError(
                    403,
                    "AccessDeniedException",
                    f"A policy of vault {vault} denies to delete archive {archive}",
                )

    def _add_row(self, vault: str, **values: Any) -> sqlite3.Row:
        store = self._store
        change = store.note_change(vault)
        number = store.insert("archives", vault=vault, created=store.clock.timestamp(), change=change, **values)
        row = store.one("SELECT * FROM archives WHERE number = ?", number)
        assert row is not None
        return row

    def _add_part(self, place: str, span: Span, received: Received) -> None:
        store = self._store
        old = store.one("SELECT file FROM parts WHERE place = ? AND first = ?", place, span.first)
        store.execute("DELETE FROM parts WHERE place = ? AND first = ?", place, span.first)
        store.insert(
            "parts",
            place=place,
            first=span.first,
            last=span.last,
            file=str(received.path.relative_to(store.bytes_directory)),
            tree=received.hasher.tree,
            leaves=b"".join(received.hasher.leaves()),
        )
        if old is not None:
            store.throw_away(store.bytes_directory / old["file"])

    # --- multipart uploads ---

    def initiate_upload(self, vault: str, description: str | None, part_size: int) -> str:
        """Open a multipart upload and return its id."""
        store = self._store
        with store.transaction():
            store.vault(vault)
            upload = secrets.token_urlsafe(92)[:92]
            now = store.clock.timestamp()
            store.insert(
                "uploads",
                id=upload,
                vault=vault,
                description=description,
                part_size=part_size,
                created=now,
                touched=now,
            )
            return upload

    def check_part(self, vault: str, upload: str, span: Span, length: int) -> None:
        """Raise unless a part may be sent to this upload."""
        self._store.vault(vault)
        check_part(span, length, self._open_upload(vault, upload)["part_size"])

    def put_part(self, vault: str, upload: str, span: Span, received: Received) -> None:
        """Keep a verified part; the same range again replaces it."""
        store = self._store
        with store.transaction():
            self._open_upload(vault, upload)
            self._add_part(upload, span, received)
            store.execute("UPDATE uploads SET touched = ? WHERE id = ?", store.clock.timestamp(), upload)

    def complete_upload(self, vault: str, upload: str, size: int, tree: str) -> sqlite3.Row:
        """Make an archive of the parts and return its row; again within the short period, return the same one."""
        store = self._store
        with store.transaction():
            store.vault(vault)
            row = self._upload(vault, upload)
            if row is not None and row["state"] == "completed":
                return self._completed_before(row, size, tree)
            row = self._open_upload(vault, upload)
            store.execute("UPDATE uploads SET touched = ? WHERE id = ?", store.clock.timestamp(), upload)
            self._check_whole(row, size, tree)
            archive = self._add_row(
                vault, id=new_archive_id(), place=upload, description=row["description"], size=size, tree=tree
            )
            store.execute(
                "UPDATE uploads SET state = 'completed', ended = ?, archive = ? WHERE id = ?",
                store.clock.timestamp(),
                archive["id"],
                upload,
            )
            return archive

    def abort_upload(self, vault: str, upload: str) -> None:
        """Drop an upload and its parts; again within the short period is no error, after Complete it is one."""
        store = self._store
        with store.transaction():
            store.vault(vault)
            row = self._upload(vault, upload)
            if row is not None and row["state"] == "aborted":
                return
            self._open_upload(vault, upload)
            store.free(upload)
            now = store.clock.timestamp()
            store.execute("UPDATE uploads SET state = 'aborted', ended = ? WHERE id = ?", now, upload)

    def list_parts(self, vault: str, upload: str, limit: str | None, marker: str | None) -> dict[str, Any]:
        """Return one page of the parts of an open upload, sorted by range."""
        store = self._store
        store.vault(vault)
        row = self._open_upload(vault, upload)
        size, start = page_size(limit), position(marker, int, 0)
        parts, following = page(
            store.all(
                "SELECT first, last, tree FROM parts WHERE place = ? AND first >= ? ORDER BY first LIMIT ?",
                upload,
                start,
                size + 1,
            ),
            size,
            "first",
        )
        listed = [{"RangeInBytes": f"{part['first']}-{part['last']}", "SHA256TreeHash": part["tree"]} for part in parts]
        return {**self._upload_facts(row), "Marker": following, "Parts": listed}

    def list_uploads(self, vault: str, limit: str | None, marker: str | None) -> dict[str, Any]:
        """Return one page of the open uploads of a vault."""
        store = self._store
        store.vault(vault)
        size, start = page_size(limit), position(marker, int, 0)
        rows, following = page(
            store.all(
                "SELECT * FROM uploads WHERE vault = ? AND state = 'open' AND number >= ? ORDER BY number LIMIT ?",
                vault,
                start,
                size + 1,
            ),
            size,
            "number",
        )
        return {"Marker": following, "UploadsList": [self._upload_facts(row) for row in rows]}

    def settle(self, now: float) -> None:
        """Drop uploads that were idle too long, and forget ended ones after the short period."""
        store, options = self._store, self._store.options
        idle = store.all(
            "SELECT id FROM uploads WHERE state = 'open' AND touched <= ?", now - options.upload_idle_seconds
        )
        for row in idle:
            store.free(row["id"])
            store.execute("UPDATE uploads SET state = 'expired', ended = ? WHERE id = ?", now, row["id"])
        self._take_inventories(now)
        self._free_deleted(now)

    def take_inventory(self, vault: str, taken: float, visible: float) -> None:
        """Take a snapshot of a vault."""
        store = self._store
        change = store.vault(vault)["change"]
        store.insert("snapshots", vault=vault, taken=taken, visible=visible, change=change)
        store.execute("UPDATE vaults SET dirty_since = NULL WHERE name = ?", vault)

    def _take_inventories(self, now: float) -> None:
        # Writes settle first, so nothing changed between the time of a snapshot and now: a late one is a true one.
        options = self._store.options
        interval = options.inventory_interval_seconds
        for row in self._store.all("SELECT * FROM vaults WHERE dirty_since IS NOT NULL"):
            taken = row["dirty_since"]
            if interval > 0:
                taken = row["created"] + interval * (int((taken - row["created"]) / interval) + 1)
            if taken <= now:
                self.take_inventory(row["name"], taken, taken + options.inventory_lag_seconds)

    def _free_deleted(self, now: float) -> None:
        # What a job has prepared stays downloadable after the archive is deleted (Delete Archive).
        store = self._store
        rows = store.all(
            "SELECT id, place FROM archives WHERE deleted IS NOT NULL AND NOT gone AND NOT EXISTS "
            "(SELECT 1 FROM jobs WHERE jobs.archive = archives.id AND status = 'Succeeded' AND expires > ?)",
            now,
        )
        for row in rows:
            store.free(row["place"])
            store.execute("UPDATE archives SET gone = 1 WHERE id = ?", row["id"])

    def _upload(self, vault: str, upload: str) -> sqlite3.Row | None:
        """Return an upload that is open or ended a short while ago."""
        store = self._store
        since = store.clock.timestamp() - store.options.repeat_complete_seconds
        return store.one(
            "SELECT * FROM uploads WHERE vault = ? AND id = ? AND (ended IS NULL OR ended > ?)",
            vault,
            upload,
            since,
        )

    def _open_upload(self, vault: str, upload: str) -> sqlite3.Row:
        row = self._upload(vault, upload)
        if row is None or row["state"] != "open":
            raise not_found(f"The upload ID was not found: {upload}")
        return row

    def _completed_before(self, row: sqlite3.Row, size: int, tree: str) -> sqlite3.Row:
        archive = self._store.one("SELECT * FROM archives WHERE id = ?", row["archive"])
        assert archive is not None
        if (archive["size"], archive["tree"]) != (size, tree):
            raise invalid("The upload was completed with another size or checksum")
        return archive

    def _check_whole(self, upload: sqlite3.Row, size: int, tree: str) -> None:
        parts = self._store.all("SELECT * FROM parts WHERE place = ? ORDER BY first", upload["id"])
        if not parts:
            raise invalid("The upload has no parts")
        check_assembly([Span(part["first"], part["last"]) for part in parts], size)
        actual = tree_root(_all_leaves(parts)).hex()
        if actual != tree:
            raise invalid(f"Checksum mismatch: expected {tree} but was {actual}")

    def _upload_facts(self, row: sqlite3.Row) -> dict[str, Any]:
        return {
            "ArchiveDescription": row["description"],
            "CreationDate": to_date(row["created"]),
            "MultipartUploadId": row["id"],
            "PartSizeInBytes": row["part_size"],
            "VaultARN": self._store.options.arn(row["vault"]),
        }


def _all_leaves(parts: Iterable[sqlite3.Row]) -> list[bytes]:
    return [leaf for part in parts for leaf in split_leaves(part["leaves"])]
