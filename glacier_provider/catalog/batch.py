"""What the catalog remembers of jobs of S3 Batch Operations, and what their reports tell of its archives."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from glacier_provider.catalog.backups import Backups
from glacier_provider.catalog.database import Database, Row
from glacier_provider.core.status import BY_BATCH_JOB
from glacier_provider.core.text import NAMED
from glacier_provider.errors import IllegalMove

Told = tuple[str, int, str, str | None]  #: key, HTTP status, error code, hex SHA-256


@dataclass(frozen=True, slots=True)
class Due:
    """Archives of one store whose content is to be verified, by one kind of checksum."""

    store_uri: str
    variant: str
    archives: int
    bytes: int


#: So many archives that are not as they should be are gone on with, of one report.
MOST_WRONG = 10_000


@dataclass(frozen=True, slots=True)
class ToldOtherwise:
    """Archives of which a report tells the same: how many, and the first of them."""

    count: int = 0
    ids: tuple[int, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportCompared:
    """What a report came to, in archives: not what was written, not there, failed (by AWS's code).

    `told` counts its rows, `strangers` those that no archive of the store has the key of.
    """

    told: int
    matched: int
    differing: ToldOtherwise
    gone: ToldOtherwise
    failed: dict[str, ToldOtherwise]
    strangers: int


class Batch:
    """The jobs of one application."""

    def __init__(self, database: Database, backups: Backups) -> None:
        self._db = database
        self._backups = backups

    def due(self, before: datetime) -> list[Due]:
        """Return what was not verified since a moment, nor written since."""
        rows = self._db.rows("due_archives", application_id=self._backups.application_id, before=before)
        return [Due(row["store_uri"], row["variant"], row["archives"], int(row["bytes"])) for row in rows]

    def plan(self, proof_id: int, due: Due, *, operation: str, before: datetime) -> int:
        """Return the id of the job of a proof on what is due: one that is there, or a new one, planned."""
        where = {"proof_id": proof_id, "store_uri": due.store_uri, "variant": due.variant, "operation": operation}
        with self._db.transaction():
            self._db.row("proof_locked", proof_id=proof_id)
            row = self._db.row("job_of_proof", **where) or self._db.row(
                "plan_job",
                **where,
                application_id=self._backups.application_id,
                token=secrets.token_hex(16),
                bytes=due.bytes,
                before=before,
            )
        assert row is not None
        return int(row["id"])

    def keys_of(self, job: Row) -> Iterator[str]:
        """Yield the keys of the archives that a job is about, within the caller's transaction: of any number."""
        found = self._db.tuples(
            "keys_of_job",
            application_id=self._backups.application_id,
            store_uri=job["store_uri"],
            variant=job["variant"],
            before=job["before"],
        )
        return (key for (key,) in found)

    def manifest_written(self, job_id: int, etag: str, objects: int) -> None:
        self._move("job_has_manifest", job_id, etag=etag, objects=objects)

    def created(self, job_id: int, aws_id: str) -> None:
        self._move("job_created", job_id, aws_id=aws_id)

    def told(self, job_id: int, told: Mapping[str, Any]) -> None:
        """Note what AWS says of a job."""
        self._db.run("job_told", job_id=job_id, told=json.dumps(dict(told)))

    def failed(self, job_id: int, error: str) -> None:
        self._move("job_failed", job_id, error=error)

    def read(self, job_id: int, told: Mapping[str, Any], error: str | None) -> None:
        self._move("job_read", job_id, told=json.dumps(dict(told)), error=error)

    def cleared(self, job_id: int) -> None:
        self._db.run("job_cleared", job_id=job_id)

    def of_proof(self, proof_id: int) -> list[Row]:
        return self._db.rows("jobs_of_proof", proof_id=proof_id)

    def uncleared(self) -> list[Row]:
        """Return the jobs whose manifests and reports may be in a store, whichever proof they are of."""
        return self._db.rows("uncleared_jobs", application_id=self._backups.application_id)

    def take_over(self, proof_id: int) -> int:
        """Have a proof go on with what ended ones asked for, and did not read; return how many jobs these are."""
        return self._db.run("take_over_jobs", application_id=self._backups.application_id, proof_id=proof_id)

    def compare(self, job: Row, results: Iterable[Told]) -> ReportCompared:
        """Compare a report with the archives that it is about, and note those that are as they were written.

        It belongs into the caller's transaction. Each object counts once, however often it is told of; an archive that
        was deleted meanwhile does not count.
        """
        application_id = self._backups.application_id
        where = {"application_id": application_id, "store_uri": job["store_uri"], "variant": job["variant"]}
        self._db.run("create_reported")
        count = self._db.copy("reported", results, ("key", "status", "code", "sha256"))
        self._db.run("analyze_reported")
        with self._db.at_once():
            matched = self._db.run("note_verified", **where, proof_id=job["proof_id"])
            found = self._db.rows("told_otherwise", **where, most=MOST_WRONG)
            strangers = self._db.row("told_of_strangers", application_id=application_id, store_uri=job["store_uri"])
        others = [
            (row["what"], row["code"], ToldOtherwise(row["count"], tuple(row["ids"]), tuple(row["names"])))
            for row in found
        ]
        by_what = {what: one for what, _, one in others}
        return ReportCompared(
            count,
            matched,
            by_what.get("differs", ToldOtherwise()),
            by_what.get("gone", ToldOtherwise()),
            {code: one for what, code, one in others if what == "failed"},
            0 if strangers is None else int(strangers["count"]),
        )

    def note_corrupt(self, archive_ids: Sequence[int], proof_id: int) -> None:
        """Note that the content of archives is known to be wrong: that a store lists them does not bring them back."""
        self._db.run("note_corrupt", archive_ids=list(archive_ids), proof_id=proof_id)

    def keys(self, archive_ids: Sequence[int]) -> dict[int, str]:
        """Return the keys of archives by their ids."""
        return {row["id"]: row["key"] for row in self._db.rows("keys_of_archives", archive_ids=list(archive_ids))}

    def untold(self, job: Row) -> tuple[int, list[str]]:
        """Return how many archives a report that `compare` has just read says nothing of, and some of their names."""
        with self._db.at_once():
            row = self._db.row(
                "untold_archives",
                application_id=self._backups.application_id,
                store_uri=job["store_uri"],
                variant=job["variant"],
                before=job["before"],
                most=NAMED,
            )
        assert row is not None
        return int(row["count"]), row["names"] or []

    # --- retrievals ------------------------------------------------------------------------------------------

    def plan_retrievals(self, restore_id: int, store_uri: str, *, tier: str, days: int) -> int:
        """Intend to ask for all that a restore needs of a store, by one job; return how many archives that are.

        It is planned once a restore and store: what a job did not bring is asked for one by one. Nothing is planned
        where there is nothing to ask for.
        """
        token = secrets.token_hex(16)
        where = {"restore_id": restore_id, "store_uri": store_uri, "tier": tier, "days": days}
        with self._db.transaction():
            count = self._db.run("intend_by_job", **where, job_id=BY_BATCH_JOB + token)
            if count:
                job = self._db.row(
                    "plan_retrieval_job",
                    **where,
                    application_id=self._backups.application_id,
                    token=token,
                    objects=count,
                )
                assert job is not None
                self._db.run("note_batch", restore_id=restore_id, store_uri=store_uri, job_id=job["id"])
        return count

    def open_retrievals(self) -> list[Row]:
        """Return the jobs that ask for archives of the application, and are planned or created: `restore_id` and
        `restore_state` of the restore that began each, `days`, and the tier as `variant`.
        """
        return self._db.rows("open_retrieval_jobs", application_id=self._backups.application_id)

    def keys_of_retrievals(self, job: Row) -> Iterator[str]:
        """Yield the keys that a job asks for, within the caller's transaction: of any number."""
        return (key for (key,) in self._db.tuples("keys_of_retrieval_job", job_id=BY_BATCH_JOB + job["token"]))

    def retrievals_created(self, job: Row, aws_id: str) -> None:
        """AWS has a job: what it asks for is pending."""
        with self._db.transaction():
            self.created(job["id"], aws_id)
            self._db.run("confirm_retrieval_job", job_id=BY_BATCH_JOB + job["token"])

    def release_retrievals(self, job: Row, error: str) -> int:
        """Give up a job: what is not known to be asked for is asked for one by one; return how many that are."""
        with self._db.transaction():
            count = self._db.run("release_retrieval_job", job_id=BY_BATCH_JOB + job["token"], error=error)
            self.failed(job["id"], error)
        return count

    def settle_retrievals(
        self, job: Row, results: Iterable[Told], told: Mapping[str, Any], error: str | None
    ) -> tuple[int, dict[str, int]]:
        """Take a report, all of it or nothing: what it does not say to be asked for is asked for one by one.

        Return how many that are, and how many failed by AWS's code.
        """
        words = error or f"The job {job['job_id']} did not ask for it."
        with self._db.transaction():
            self._db.run("create_reported")
            self._db.copy("reported", results, ("key", "status", "code", "sha256"))
            self._db.run("analyze_reported")
            with self._db.at_once():
                count = self._db.run("release_untold", job_id=BY_BATCH_JOB + job["token"], error=words)
            failures = {row["code"]: row["count"] for row in self._db.rows("reported_failures")}
            self.read(job["id"], {**told, "missed": count}, error)
        return count, failures

    def _move(self, name: str, job_id: int, **values: Any) -> None:
        if not self._db.run(name, job_id=job_id, **values):
            raise IllegalMove(f"The batch job {job_id} of the catalog is not where it was: another process went on.")
