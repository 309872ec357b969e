"""Retrieval jobs, inventories and notifications of the emulated vault API.

Nothing waits for a job: whenever the server looks, `settle` brings everything up to the clock's time, with the dates at
which it was due.
"""

from __future__ import annotations

import json
import random
import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.emulator.faults import NOTIFICATION_KINDS, RETRIEVAL_KINDS, FaultKind, first
from tests.emulator.vault_archives import Archives, page, position
from tests.emulator.vault_rules import (
    TIERS,
    GlacierError,
    Span,
    check_description,
    check_topic,
    from_date,
    invalid,
    is_tree_aligned,
    missing,
    not_found,
    page_size,
    parse_output_range,
    parse_retrieval_range,
    to_csv,
    to_date,
    to_marker,
    tree_root,
)
from tests.emulator.vault_store import VaultStore, read_file

COLUMNS = ("ArchiveId", "ArchiveDescription", "CreationDate", "Size", "SHA256TreeHash")
FREE_TIER_BYTES_PER_HOUR = 10 * 1024**3 // (30 * 24)
STATUS_MESSAGES = {"InProgress": "Operation in progress.", "Succeeded": "Succeeded"}


@dataclass(frozen=True)
class Output:
    """What Get Job Output answers with. `content_range` is None for the whole output."""

    size: int
    content_type: str
    content_range: str | None
    tree: str | None
    description: str | None
    chunks: Iterator[bytes]


class Jobs:
    """Operations on jobs, and what happens to them as time passes.

    `started` counts the jobs that this process started, by vault and action: those that ended are forgotten in time.
    """

    def __init__(self, store: VaultStore, archives: Archives) -> None:
        self._store = store
        self._archives = archives
        self.started: Counter[tuple[str, str]] = Counter()

    # --- starting ---

    def initiate(self, vault: str, request: dict[str, Any]) -> str:
        """Start a job and return its id (Initiate Job)."""
        self._store.vault(vault)
        kind = request.get("Type")
        check_topic(request.get("SNSTopic"))
        check_description(request.get("Description"), "job description")
        if kind == "archive-retrieval":
            return self._start_archive(vault, request)
        if kind == "inventory-retrieval":
            return self._start_inventory(vault, request)
        raise missing("Type") if kind is None else invalid(f"Invalid job type: {kind}")

    def _start_archive(self, vault: str, request: dict[str, Any]) -> str:
        for name in ("InventoryRetrievalParameters", "Format"):
            if request.get(name) is not None:
                raise invalid(f"{name} cannot be used with the job type archive-retrieval")
        if not request.get("ArchiveId"):
            raise missing("ArchiveId")
        tier = request.get("Tier") or "Standard"
        if tier not in TIERS:
            raise invalid(f"Invalid tier: {tier}")
        store = self._store
        with store.transaction():
            archive = self._archives.archive(vault, request["ArchiveId"])
            self._check_deleted(archive)
            whole = Span(0, archive["size"] - 1)
            text = request.get("RetrievalByteRange")
            span = whole if text is None else parse_retrieval_range(text, archive["size"])
            self._check_policy(tier, span.size)
            return self._insert(
                vault,
                "ArchiveRetrieval",
                request,
                archive=archive["id"],
                first=span.first,
                last=span.last,
                tier=tier,
            )

    def _start_inventory(self, vault: str, request: dict[str, Any]) -> str:
        for name in ("ArchiveId", "RetrievalByteRange"):
            if request.get(name) is not None:
                raise invalid(f"{name} cannot be used with the job type inventory-retrieval")
        form = request.get("Format") or "JSON"
        if form not in ("JSON", "CSV"):
            raise invalid(f"Invalid format: {form}")
        given = request.get("InventoryRetrievalParameters") or {}
        parameters = {"Format": form, **_checked_parameters(given)}
        with self._store.transaction():
            snapshot = self._archives.visible_snapshot(vault)
            if snapshot is None:
                raise not_found(f"No inventory was made yet of {self._store.options.arn(vault)}")
            return self._insert(
                vault,
                "InventoryRetrieval",
                request,
                parameters=json.dumps(parameters),
                snapshot=snapshot["number"],
            )

    def _insert(self, vault: str, action: str, request: dict[str, Any], **values: Any) -> str:
        store = self._store
        faults = store.faults.decide(
            "InitiateJob",
            RETRIEVAL_KINDS,
            vault=vault,
            action=action,
            tier=values.get("tier"),
            archive_id=values.get("archive"),
            description=request.get("Description"),
        )
        doom = first(faults, {FaultKind.FAIL_JOB}) or first(faults, {FaultKind.EXPIRE_JOB})
        now = store.clock.timestamp()
        job = secrets.token_urlsafe(92)[:92]
        store.insert(
            "jobs",
            id=job,
            vault=vault,
            action=action,
            description=request.get("Description"),
            topic=request.get("SNSTopic"),
            doom=None if doom is None else str(doom.kind),
            created=now,
            due=now + store.options.duration(action, values.get("tier") or ""),
            **values,
        )
        self.started[vault, action] += 1
        return job

    def _check_deleted(self, archive: sqlite3.Row) -> None:
        # A job for a deleted archive may still start, and then fails; the service does not say for how long.
        store = self._store
        deleted = archive["deleted"]
        if deleted is not None and deleted + store.options.deleted_archive_seconds <= store.clock.timestamp():
            raise not_found(f"The archive ID was not found: {archive['id']}")

    def _check_policy(self, tier: str, size: int) -> None:
        text = self._store.document("", "data-retrieval-policy")
        rules = [] if text is None or tier != "Standard" else json.loads(text).get("Rules") or []
        strategies = {rule.get("Strategy"): rule.get("BytesPerHour") for rule in rules}
        if strategies.keys() <= {"None"}:
            return
        limit = FREE_TIER_BYTES_PER_HOUR if "FreeTier" in strategies else strategies["BytesPerHour"]
        row = self._store.one(
            "SELECT coalesce(sum(last - first + 1), 0) AS size FROM jobs WHERE tier = 'Standard' AND created > ?",
            self._store.clock.timestamp() - 3600,
        )
        assert row is not None
        if row["size"] + size > limit:
            message = f"The retrieval would exceed the policy of {limit} bytes per hour"
            raise GlacierError(400, "PolicyEnforcedException", message)

    # --- looking ---

    def describe(self, vault: str, job: str) -> dict[str, Any]:
        """Return a job (Describe Job)."""
        self._store.vault(vault)
        return self.description(self._job(vault, job))

    def description(self, row: sqlite3.Row) -> dict[str, Any]:
        """Return a job's row as Describe Job, List Jobs and notifications show it."""
        store = self._store
        completed = row["completed"] is not None
        shown: dict[str, Any] = {
            "Action": row["action"],
            "ArchiveId": row["archive"],
            "ArchiveSHA256TreeHash": None,
            "ArchiveSizeInBytes": None,
            "Completed": completed,
            "CompletionDate": to_date(row["completed"]),
            "CreationDate": to_date(row["created"]),
            "InventorySizeInBytes": row["output_size"],
            "JobDescription": row["description"],
            "JobId": row["id"],
            "RetrievalByteRange": None,
            "SHA256TreeHash": None,
            "SNSTopic": row["topic"],
            "StatusCode": row["status"],
            "StatusMessage": row["message"] or STATUS_MESSAGES[row["status"]],
            "Tier": row["tier"],
            "VaultARN": store.options.arn(row["vault"]),
        }
        if row["parameters"] is not None:
            following = row["next_marker"]
            shown["InventoryRetrievalParameters"] = {**json.loads(row["parameters"]), "Marker": following}
            shown["NextInventoryRetrievalMarker"] = following
            return shown
        archive = store.one("SELECT size, tree, place FROM archives WHERE id = ?", row["archive"])
        assert archive is not None
        span = Span(row["first"], row["last"])
        whole = span.size == archive["size"]
        shown["ArchiveSHA256TreeHash"], shown["ArchiveSizeInBytes"] = archive["tree"], archive["size"]
        shown["RetrievalByteRange"] = str(span)
        if not (whole and row["status"] == "InProgress"):
            shown["SHA256TreeHash"] = self._range_tree(archive, span)
        return shown

    def list_jobs(
        self, vault: str, limit: str | None, marker: str | None, *, status: str | None, completed: str | None
    ) -> dict[str, Any]:
        """Return one page of the jobs of a vault in the order of their start (List Jobs)."""
        self._store.vault(vault)
        if status is not None and status not in ("InProgress", "Succeeded", "Failed"):
            raise invalid(f"The job status code is not valid: {status}")
        if completed is not None and completed not in ("true", "false"):
            raise invalid(f"The completed filter is not valid: {completed}")
        size, start = page_size(limit), position(marker, int, 0)
        rows, following = page(
            self._store.all(
                "SELECT * FROM jobs WHERE vault = ? AND number >= ? AND (? IS NULL OR status = ?) "
                "AND (? IS NULL OR (completed IS NOT NULL) = (? = 'true')) ORDER BY number LIMIT ?",
                vault,
                start,
                status,
                status,
                completed,
                completed,
                size + 1,
            ),
            size,
            "number",
        )
        return {"JobList": [self.description(row) for row in rows], "Marker": following}

    def output(self, vault: str, job: str, range_header: str | None) -> Output:
        """Return the output of a job that succeeded and has not expired, or a range of it (Get Job Output)."""
        store = self._store
        store.vault(vault)
        row = self._job(vault, job)
        if row["status"] != "Succeeded":
            raise invalid(f"The job is not currently available for download: {job}")
        if row["expires"] <= store.clock.timestamp():
            raise not_found(f"The job ID was not found: {job}")
        size = row["output_size"] if row["archive"] is None else row["last"] - row["first"] + 1
        span = Span(0, size - 1) if range_header is None else parse_output_range(range_header, size)
        content_range = None if range_header is None else f"bytes {span}/{size}"
        if row["archive"] is None:
            form = json.loads(row["parameters"])["Format"]
            content_type = "text/csv" if form == "CSV" else "application/json"
            return Output(
                span.size, content_type, content_range, None, None, read_file(self._inventory_file(row), span)
            )
        archive = store.one("SELECT * FROM archives WHERE id = ?", row["archive"])
        assert archive is not None
        absolute = Span(row["first"] + span.first, row["first"] + span.last)
        job_tree = self._range_tree(archive, Span(row["first"], row["last"]))
        return Output(
            span.size,
            "application/octet-stream",
            content_range,
            None if job_tree is None else self._range_tree(archive, absolute),
            archive["description"],
            store.read(archive["place"], absolute),
        )

    def _job(self, vault: str, job: str) -> sqlite3.Row:
        row = self._store.one("SELECT * FROM jobs WHERE vault = ? AND id = ?", vault, job)
        if row is None:
            raise not_found(f"The job ID was not found: {job}")
        return row

    def _range_tree(self, archive: sqlite3.Row, span: Span) -> str | None:
        """Return the tree hash of a range of an archive, or None where it is not tree-hash aligned."""
        if span.size == archive["size"]:
            return archive["tree"]
        if not is_tree_aligned(span, archive["size"]):
            return None
        leaves = self._store.leaves(archive["place"], span)
        return tree_root(leaves).hex() if leaves else None

    def _inventory_file(self, row: sqlite3.Row) -> Any:
        return self._store.directory / "inventories" / str(row["number"])

    # --- time passes ---

    def settle(self, now: float) -> None:
        """Complete the jobs that are due, forget those that were kept long enough."""
        store = self._store
        for row in store.all("SELECT * FROM jobs WHERE completed IS NULL AND due <= ? ORDER BY due, number", now):
            self._complete(row)
        old = now - store.options.job_retention_seconds
        for row in store.all("SELECT * FROM jobs WHERE completed <= ?", old):
            self._inventory_file(row).unlink(missing_ok=True)
            store.execute("DELETE FROM jobs WHERE number = ?", row["number"])

    def next_due(self) -> float | None:
        """Return when the next running job is due, or None."""
        row = self._store.one("SELECT min(due) AS due FROM jobs WHERE completed IS NULL")
        return None if row is None else row["due"]

    def hurry(self, job: str | None, now: float) -> int:
        """Make one running job (or all) due now; return how many."""
        return self._store.execute(
            "UPDATE jobs SET due = ? WHERE completed IS NULL AND (? IS NULL OR id = ?)", now, job, job
        )

    def doom(self, job: str | None, kind: FaultKind) -> int:
        """Make one running job (or all) fail, or expire, when it completes; return how many."""
        return self._store.execute(
            "UPDATE jobs SET doom = ? WHERE completed IS NULL AND (? IS NULL OR id = ?)", str(kind), job, job
        )

    def expire(self, job: str | None, now: float) -> int:
        """Let the output of one completed job (or all) expire now; return how many."""
        return self._store.execute(
            "UPDATE jobs SET expires = ? WHERE expires > ? AND (? IS NULL OR id = ?)", now, now, job, job
        )

    def _complete(self, row: sqlite3.Row) -> None:
        store = self._store
        failure = self._failure(row)
        changes: dict[str, Any] = {"completed": row["due"], "status": "Failed" if failure else "Succeeded"}
        changes["message"] = failure
        if failure is None:
            life = 0 if row["doom"] == FaultKind.EXPIRE_JOB else store.options.output_seconds
            changes["expires"] = row["due"] + life
            if row["archive"] is None:
                changes["output_size"], changes["next_marker"] = self._write_inventory(row)
        names = ", ".join(f"{name} = ?" for name in changes)
        store.execute(f"UPDATE jobs SET {names} WHERE number = ?", *changes.values(), row["number"])
        self._announce(row["number"])

    def _failure(self, row: sqlite3.Row) -> str | None:
        if row["doom"] == FaultKind.FAIL_JOB:
            return "The job failed because of an internal error."
        if row["archive"] is None:
            return None
        archive = self._store.one("SELECT deleted FROM archives WHERE id = ?", row["archive"])
        deleted = archive is None or archive["deleted"] is not None
        return "The archive was deleted before the job was done." if deleted else None

    def _write_inventory(self, row: sqlite3.Row) -> tuple[int, str | None]:
        """Write the output of an inventory job; return its size and the marker of the next page."""
        parameters = json.loads(row["parameters"])
        snapshot = self._store.one("SELECT * FROM snapshots WHERE number = ?", row["snapshot"])
        assert snapshot is not None
        entries, following = self._inventory(snapshot, parameters)
        if self._store.options.inventory_order == "any" and following is None:
            random.Random(row["number"]).shuffle(entries)
        if parameters["Format"] == "CSV":
            text = to_csv(entries, COLUMNS)
        else:
            members = [
                ("VaultARN", self._store.options.arn(row["vault"])),
                ("InventoryDate", to_date(snapshot["taken"])),
                ("ArchiveList", entries),
            ]
            if self._store.options.inventory_order == "any":
                random.Random(row["number"]).shuffle(members)
            text = json.dumps(dict(members))
        path = self._inventory_file(row)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())
        return len(text.encode()), following

    def _inventory(self, snapshot: sqlite3.Row, parameters: dict[str, Any]) -> tuple[list[dict[str, Any]], str | None]:
        limit = int(parameters.get("Limit") or 2**62)
        rows = self._store.all(
            "SELECT number, id, description, created, size, tree FROM archives WHERE vault = ? AND change <= ? "
            "AND (deleted_change IS NULL OR deleted_change > ?) AND number >= ? "
            "AND created >= ? AND created < ? ORDER BY number LIMIT ?",
            snapshot["vault"],
            snapshot["change"],
            snapshot["change"],
            position(parameters.get("Marker"), int, 0),
            from_date(parameters.get("StartDate"), "StartDate") or 0,
            from_date(parameters.get("EndDate"), "EndDate") or 2**62,
            limit + 1,
        )
        following = to_marker(rows[limit]["number"]) if len(rows) > limit else None
        entries = [
            {
                "ArchiveId": row["id"],
                "ArchiveDescription": row["description"] or "",
                "CreationDate": to_date(row["created"]),
                "Size": row["size"],
                "SHA256TreeHash": row["tree"],
            }
            for row in rows[:limit]
        ]
        return entries, following

    # --- notifications ---

    def _announce(self, number: int) -> None:
        """Queue the messages about a completed job: one per topic it was asked for, two if vault and job both ask."""
        store = self._store
        row = store.one("SELECT * FROM jobs WHERE number = ?", number)
        assert row is not None
        body = self.description(row)
        topics = [row["topic"]] if row["topic"] else []
        configuration = json.loads(store.document(row["vault"], "notification-configuration") or "{}")
        if f"{row['action']}Completed" in configuration.get("Events", []):
            topics.append(configuration["SNSTopic"])
        for topic in topics:
            self._queue(topic, row, json.dumps(body))

    def _queue(self, topic: str, row: sqlite3.Row, body: str) -> None:
        store = self._store
        faults = store.faults.decide(
            "Notification",
            NOTIFICATION_KINDS,
            vault=row["vault"],
            topic=topic,
            job_id=row["id"],
            description=row["description"],
        )
        lost = first(faults, {FaultKind.LOSE_NOTIFICATION}) is not None
        copies = 2 if first(faults, {FaultKind.DUPLICATE_NOTIFICATION}) else 1
        state = "lost" if lost else "waiting"
        for _ in range(1 if lost else copies):
            store.insert("messages", job=row["id"], topic=topic, body=body, made=row["completed"], state=state)


def _checked_parameters(given: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a range inventory retrieval; raise for a wrong date, limit or marker."""
    for name in ("StartDate", "EndDate"):
        from_date(given.get(name), name)
    limit = given.get("Limit")
    if limit is not None and not (str(limit).isascii() and str(limit).isdigit() and int(limit) >= 1):
        raise invalid(f"Invalid Limit: {limit}")
    position(given.get("Marker"), int, 0)
    return {name: given.get(name) for name in ("StartDate", "EndDate", "Limit", "Marker")}
