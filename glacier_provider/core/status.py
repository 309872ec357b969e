"""The lifecycles of backups, archives, retrievals and restores: every state and every allowed move.

The same words stand in the catalog's SQL schema; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum


class BackupState(StrEnum):
    RUNNING = "running"  #: opened; its tasks are at work, or died and will be continued
    COMPLETE = "complete"  #: verified: the dump was read through, every archive is confirmed by the store
    FAILED = "failed"  #: ended without being complete; what it archived stays usable by later backups
    DELETING = "deleting"  #: chosen for deletion; what it alone needs is being taken out of the store
    DELETED = "deleted"  #: what it alone needed is gone from the store; the row stays, for its id is never used again


class ArchiveState(StrEnum):
    PLANNED = "planned"  #: known to the catalog, nothing sent yet
    UPLOADING = "uploading"  #: sending began; the store may hold nothing, parts, or all of it
    ARCHIVED = "archived"  #: in the store, under a checksum that the store confirmed
    DELETING = "deleting"  #: chosen for deletion; the store may still hold it
    DELETED = "deleted"  #: gone from the store
    FAILED = "failed"  #: given up before it was archived
    LOST = "lost"  #: known not to be in its store any more, though nobody deleted it


class RetrievalStatus(StrEnum):
    """Where the bytes of an archive can be had, from furthest to nearest."""

    AVAILABLE = "available"  #: only in the cold
    PENDING = "pending"  #: retrieval requested
    READY = "ready"  #: can be downloaded
    LOCAL = "local"  #: downloaded and verified, staged for restoral
    EXISTS = "exists"  #: the attached file is in its directory; nothing to do


#: What a restore need not bring any more.
PLACED = (RetrievalStatus.LOCAL, RetrievalStatus.EXISTS)


class RetrievalState(StrEnum):
    """The life of one paid request."""

    REQUESTED = "requested"  #: sent to the store, or about to be
    READY = "ready"  #: the store offers the bytes until the expiry time
    EXPIRED = "expired"  #: the offer ended
    FAILED = "failed"  #: the store ended it without success


class RestoreState(StrEnum):
    PLANNED = "planned"  #: compared with the directory; nothing was changed
    RUNNING = "running"  #: retrievals requested, or later steps at work
    COMPLETE = "complete"  #: database and files are those of the backup
    FAILED = "failed"  #: stopped; what it already placed is verified and stays


class ProofState(StrEnum):
    """The life of one try of the backups: a verification, a drill."""

    RUNNING = "running"  #: begun; whoever comes next goes on with it
    PASSED = "passed"  #: all was looked at, and all is as it should be
    FOUND = "found"  #: all was looked at, and something is not as it should be: its findings say what
    FAILED = "failed"  #: it could not look at all of it


class BatchJobState(StrEnum):
    """The life of one job of S3 Batch Operations, as far as the catalog goes along with it."""

    PLANNED = "planned"  #: its token is known; its manifest may be in the store, or it may even be running
    CREATED = "created"  #: AWS knows it; it runs, or has ended
    READ = "read"  #: what it reported is in the catalog
    FAILED = "failed"  #: it ended without a report that can be used


#: How the store's own id of a retrieval begins that a job of S3 Batch Operations asks for; the job's token follows.
BY_BATCH_JOB = "batch:"

BACKUP_MOVES: Mapping[BackupState, frozenset[BackupState]] = {
    BackupState.RUNNING: frozenset({BackupState.COMPLETE, BackupState.FAILED}),
    # A cleared task of the same run goes on with a failed one.
    # One that failed for its lost dump alone is complete again when that is found.
    BackupState.FAILED: frozenset({BackupState.RUNNING, BackupState.COMPLETE, BackupState.DELETING}),
    BackupState.COMPLETE: frozenset({BackupState.DELETING, BackupState.FAILED}),  # its dump is lost
    BackupState.DELETING: frozenset({BackupState.DELETED}),
    BackupState.DELETED: frozenset(),
}

ARCHIVE_MOVES: Mapping[ArchiveState, frozenset[ArchiveState]] = {
    ArchiveState.PLANNED: frozenset({ArchiveState.UPLOADING, ArchiveState.FAILED}),
    ArchiveState.UPLOADING: frozenset({ArchiveState.ARCHIVED, ArchiveState.FAILED}),
    ArchiveState.ARCHIVED: frozenset({ArchiveState.DELETING, ArchiveState.LOST}),
    ArchiveState.DELETING: frozenset({ArchiveState.DELETED}),
    ArchiveState.DELETED: frozenset(),
    ArchiveState.LOST: frozenset({ArchiveState.ARCHIVED}),  # it is there again
    ArchiveState.FAILED: frozenset({ArchiveState.DELETING}),  # found in the store after all
}

RETRIEVAL_MOVES: Mapping[RetrievalState, frozenset[RetrievalState]] = {
    RetrievalState.REQUESTED: frozenset({RetrievalState.READY, RetrievalState.FAILED}),
    RetrievalState.READY: frozenset({RetrievalState.EXPIRED}),
    RetrievalState.EXPIRED: frozenset(),
    RetrievalState.FAILED: frozenset(),
}

PROOF_MOVES: Mapping[ProofState, frozenset[ProofState]] = {
    ProofState.RUNNING: frozenset({ProofState.PASSED, ProofState.FOUND, ProofState.FAILED}),
    ProofState.PASSED: frozenset(),
    ProofState.FOUND: frozenset(),
    ProofState.FAILED: frozenset(),
}

BATCH_JOB_MOVES: Mapping[BatchJobState, frozenset[BatchJobState]] = {
    BatchJobState.PLANNED: frozenset({BatchJobState.CREATED, BatchJobState.FAILED}),
    BatchJobState.CREATED: frozenset({BatchJobState.READ, BatchJobState.FAILED}),
    BatchJobState.READ: frozenset(),
    BatchJobState.FAILED: frozenset(),
}

RESTORE_MOVES: Mapping[RestoreState, frozenset[RestoreState]] = {
    RestoreState.PLANNED: frozenset({RestoreState.RUNNING, RestoreState.FAILED}),
    RestoreState.RUNNING: frozenset({RestoreState.COMPLETE, RestoreState.FAILED}),
    RestoreState.FAILED: frozenset({RestoreState.RUNNING}),
    RestoreState.COMPLETE: frozenset(),
}

#: Archives in these states answer for their filename: a second one of the same name is not planned.
LIVE_ARCHIVE_STATES = frozenset({ArchiveState.PLANNED, ArchiveState.UPLOADING, ArchiveState.ARCHIVED})

_NEARNESS = {status: rank for rank, status in enumerate(RetrievalStatus)}


def lowest(statuses: Iterable[RetrievalStatus]) -> RetrievalStatus:
    """Return the status of a whole from the statuses of its parts: the furthest one.

    A whole without parts has nothing to fetch and is `exists`.
    """
    return min(statuses, key=_NEARNESS.__getitem__, default=RetrievalStatus.EXISTS)
