"""What the catalog remembers of evidence: the documents in their order, and where each lies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from glacier_provider.catalog.backups import Backups
from glacier_provider.catalog.database import Database, Row
from glacier_provider.core.evidence import ToldEvidence

_AT_ONCE = 100

#: Makes the document of a proof: given its number, and the SHA-256 of the one before it, its bytes.
Drafted = Callable[[Row, int, str | None], bytes]


class FoundEvidence(NamedTuple):
    """A document as a store has it."""

    number: int
    data: bytes
    sha256: str
    store_uri: str
    key: str


class MonthRows(NamedTuple):
    """What is known of a month, oldest first; `newest_backup`, `passed` (a row for each kind) and `last_evidence` are
    as of its end."""

    backups: list[Row]
    proofs: list[Row]
    restores: list[Row]
    newest_backup: Row | None
    passed: list[Row]
    known_since: datetime | None
    last_evidence: Row | None


class EvidenceRows:
    """The documents of one application. They are written down here first, and then in the store."""

    def __init__(self, database: Database, backups: Backups) -> None:
        self._db = database
        self._backups = backups

    def draft(self, draft: Drafted, sha256_of: Callable[[bytes], str]) -> int:
        """Write down the document of each proof that has ended and has none, in their order; return how many."""
        count = 0
        with self._db.transaction():
            self._db.row("lock_chain", application_id=self._backups.application_id)
            while proofs := self._rows("proofs_without_evidence", limit=_AT_ONCE):
                last = self._last()
                number, previous = (0, None) if last is None else (last["number"], last["sha256"])
                for proof in proofs:
                    number += 1
                    data = draft(proof, number, previous)
                    previous = sha256_of(data)
                    self._add(number, data, previous, proof_id=proof["id"])
                count += len(proofs)
        return count

    def take_up(self, found: Iterable[FoundEvidence]) -> list[FoundEvidence]:
        """Note documents that stores have, in their order; return those that are not ours.

        Those of ours from there on are not in the store yet: they are forgotten, and drafted anew behind the others.
        """
        others: list[FoundEvidence] = []
        with self._db.transaction():
            self._db.row("lock_chain", application_id=self._backups.application_id)
            for one in found:
                if self.stored(one.number, one.sha256, one.store_uri, one.key):
                    continue
                self._run("forget_unstored_evidence", number=one.number)
                last = self._last()
                if last is None or last["number"] < one.number:
                    self._add(one.number, one.data, one.sha256, store_uri=one.store_uri, key=one.key)
                    others.append(one)
        return others

    def remember(self, number: int, told: ToldEvidence) -> None:
        """Write the row of a proof as its document tells it: of a catalog that was lost."""
        self._run(
            "remember_proof",
            number=number,
            kind=told.kind.value,
            method=told.method,
            state=told.outcome.value,
            backup_id=told.backup_id,
            opened_at=told.backup_opened_at,
            began_at=told.began_at,
            ended_at=told.ended_at,
            figures=json.dumps(told.figures),
            findings=json.dumps(told.told["findings"]),
        )

    def stored(self, number: int, sha256: str, store_uri: str, key: str) -> bool:
        """Note where a document lies now; return whether it was to be written."""
        return bool(self._run("evidence_stored", number=number, sha256=sha256, store_uri=store_uri, key=key))

    def corrupt(self, *, most: int) -> list[Row]:
        """Return `store_uri` and `key` of archives that are lost though they are there: their content is another."""
        return self._rows("corrupt_archives", limit=most)

    def note_corrupt(self, number: int, corrupt: Iterable[tuple[str, str]]) -> list[int]:
        """Note that archives, by store and key, have another content, as the document of this number says; return the
        ids of those that are archived now."""
        places = {(uri.partition("?")[0], key) for uri, key in corrupt}
        rows = self._rows("archives_of_keys", keys=[key for _, key in places])
        ids = [row["id"] for row in rows if (row["store_uri"].partition("?")[0], row["key"]) in places]
        self._db.run("note_corrupt", proof_id=number, archive_ids=ids)
        return ids

    def unstored(self) -> list[Row]:
        """Return the first documents that are in no store: `number`, `document`, `sha256`."""
        return self._rows("unstored_evidence", limit=_AT_ONCE)

    def last_stored(self) -> int:
        return int(self._rows("last_stored_evidence")[0]["number"])

    def listed(self, *, limit: int = 100, offset: int = 0) -> list[Row]:
        """Return documents with `number`, `sha256`, `store_uri`, `key`, `document`, `proof_id`; the newest first."""
        return self._rows("list_evidence", limit=limit, offset=offset)

    def known(self) -> list[Row]:
        """Return `number`, `sha256` and `store_uri` of all documents."""
        return self._rows("known_evidence")

    def circumstances(self, backup_id: int | None) -> tuple[Row | None, Row]:
        """Return what is told of a backup, if it is known, and `catalog_server`, `complete` and `newest` backups."""
        told = self._rows("backup_of_evidence", backup_id=backup_id) if backup_id is not None else []
        return (told[0] if told else None), self._rows("circumstances_of_evidence")[0]

    def month(self, since: datetime, until: datetime) -> MonthRows:
        """Return what is known of the time from one moment to before another."""
        within = {"since": since, "until": until}
        return MonthRows(
            self._rows("month_backups", **within),
            self._rows("month_proofs", **within),
            self._rows("month_restores", **within),
            next(iter(self._rows("newest_backup_until", until=until)), None),
            self._rows("passed_until", until=until),
            self._rows("known_since")[0]["opened_at"],
            next(iter(self._rows("last_evidence_until", until=until)), None),
        )

    def _last(self) -> Row | None:
        return next(iter(self._rows("last_evidence")), None)

    def _add(
        self,
        number: int,
        data: bytes,
        sha256: str,
        *,
        proof_id: int | None = None,
        store_uri: str | None = None,
        key: str | None = None,
    ) -> None:
        # What another wrote may be no text: what is kept of it is for people, its SHA-256 is that of its bytes.
        document = data.decode("utf-8", "replace").replace("\0", "\ufffd")
        self._run(
            "add_evidence",
            number=number,
            document=document,
            sha256=sha256,
            proof_id=proof_id,
            store_uri=store_uri,
            key=key,
        )

    def _rows(self, name: str, **parameters: Any) -> list[Row]:
        return self._db.rows(name, application_id=self._backups.application_id, **parameters)

    def _run(self, name: str, **parameters: Any) -> int:
        return self._db.run(name, application_id=self._backups.application_id, **parameters)
