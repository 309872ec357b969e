"""What only the vault store does."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.utils import calculate_tree_hash

from glacier_provider.core.archive import ArchiveKind, Location, StoredArchive
from glacier_provider.core.parts import MIB
from glacier_provider.core.reconciliation import KnownArchive, Verdict, verdict_of
from glacier_provider.core.status import ArchiveState, RetrievalStatus
from glacier_provider.errors import (
    ArchiveCold,
    ArchiveCorrupt,
    ArchiveMissing,
    ConfigurationError,
    FileChanged,
    OutcomeUnknown,
    RetrievalRefused,
    StoreDenied,
    StoreError,
    StoreMissing,
    StoreUnavailable,
)
from glacier_provider.stores import client_config, open_store
from glacier_provider.stores.contract import Retrieval
from glacier_provider.stores.vault.calls import Vault
from glacier_provider.stores.vault.store import VaultStore
from tests.contract.kit import (
    HOUR,
    PART,
    Bytes,
    FileJournal,
    a_file,
    content,
    readable,
    requested,
    some_bytes,
    stored,
)
from tests.contract.vault_kit import VAULT, VaultKit, an_emulator, open_uploads, open_vault
from tests.emulator.faults import FaultKind

UNCLEAR = [
    FaultKind.RESET_AFTER,
    FaultKind.RESET_BEFORE,
    FaultKind.INTERNAL_ERROR,
    FaultKind.UNAVAILABLE,
    FaultKind.TIMEOUT,
]
TOPIC = "arn:aws:sns:us-east-1:123456789012:retrievals"


@pytest.fixture
def journal(tmp_path: Path) -> FileJournal:
    return FileJournal(tmp_path / "journal.json")


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacier_provider.stores.vault.calls.FIRST_PAUSE", 0.01)


def jobs(kit: VaultKit) -> list[dict[str, Any]]:
    return kit.emulator.client().list_jobs(vaultName=VAULT)["JobList"]


def sent(kit: VaultKit, operation: str) -> int:
    return kit.emulator.count(operation)


def listed(kit: VaultKit) -> list[StoredArchive]:
    kit.publish()
    return list(kit.open().archives())


# --- small archives ------------------------------------------------------------------------------------------------


def test_a_small_archive_takes_one_request(vault_kit: VaultKit) -> None:
    data = some_bytes(MIB + 1)
    receipt = vault_kit.open().put(data, a_file())
    assert vault_kit.emulator.requests() == {"UploadArchive": {"received": 1, "succeeded": 1}}
    assert receipt.checksum == f"treehash:{calculate_tree_hash(io.BytesIO(data))}"
    assert (receipt.adopted, receipt.maybe_twice) == (False, False)


@pytest.mark.parametrize("kind", UNCLEAR)
def test_an_upload_with_an_unknown_outcome_is_never_resent_as_it_was(vault_kit: VaultKit, kind: FaultKind) -> None:
    vault_kit.break_next("put", kind, count=None)
    receipt = vault_kit.open(attempts=3).put(b"content", a_file())
    assert receipt.maybe_twice
    assert sent(vault_kit, "UploadArchive") == 1
    assert {receipt.location.key} <= set(vault_kit.keys())
    assert len(vault_kit.keys()) == (2 if kind is FaultKind.RESET_AFTER else 1)


def test_a_reply_that_takes_too_long_counts_as_lost(vault_kit: VaultKit) -> None:
    vault_kit.break_next("put", FaultKind.HANG_REPLY, seconds=1.5)
    receipt = vault_kit.open(read_timeout=0.4).put(b"content", a_file())
    assert (receipt.maybe_twice, len(vault_kit.keys())) == (True, 2)


def test_a_copy_too_many_is_recognised_in_the_inventory_and_deleted(vault_kit: VaultKit) -> None:
    vault_kit.break_next("put", FaultKind.RESET_AFTER)
    store = vault_kit.open()
    receipt = store.put(b"content", a_file(7, sha256="ab" * 32))
    store.put(b"another", a_file(8))
    known = KnownArchive(ArchiveState.ARCHIVED, 3, "2024/report-7.pdf", 7, receipt.location.key, "ab" * 32)
    known = replace(known, written_by=a_file().written_by)
    verdicts = {
        a.key: verdict_of(a, known, application="library") for a in listed(vault_kit) if a.description.archive_id == 7
    }
    assert verdicts.pop(receipt.location.key) is Verdict.KNOWN
    [(surplus, verdict)] = verdicts.items()
    assert verdict is Verdict.SURPLUS
    store.delete(Location(store.uri, surplus))
    assert len(vault_kit.keys()) == 2


def test_an_upload_whose_process_died_before_it_was_noted_is_adopted(vault_kit: VaultKit) -> None:
    lost = vault_kit.open().put(b"content", a_file(7))
    known = KnownArchive(ArchiveState.UPLOADING, 3, "2024/report-7.pdf", 7, written_by=a_file().written_by)
    [found] = listed(vault_kit)
    assert verdict_of(found, known, application="library") is Verdict.ADOPT
    assert (found.key, found.size, found.checksum) == (lost.location.key, lost.size, lost.checksum)


def test_a_throttled_upload_was_refused_and_is_sent_again(vault_kit: VaultKit) -> None:
    vault_kit.break_next("put", FaultKind.THROTTLING, count=2)
    receipt = vault_kit.open(attempts=3).put(b"content", a_file())
    assert (receipt.maybe_twice, sent(vault_kit, "UploadArchive"), len(vault_kit.keys())) == (False, 3, 1)


def test_a_vault_that_stays_throttled_is_worth_a_retry(vault_kit: VaultKit) -> None:
    vault_kit.break_next("put", FaultKind.THROTTLING, count=None)
    with pytest.raises(StoreUnavailable) as caught:
        vault_kit.open(attempts=2).put(b"content", a_file())
    assert not isinstance(caught.value, OutcomeUnknown)
    assert (vault_kit.keys(), sent(vault_kit, "InitiateMultipartUpload")) == ([], 0)


def test_a_refused_upload_is_not_tried_again(vault_kit: VaultKit) -> None:
    vault_kit.break_next("put", FaultKind.ACCESS_DENIED)
    with pytest.raises(StoreDenied, match="glacier:UploadArchive"):
        vault_kit.open(attempts=3).put(b"content", a_file())
    assert vault_kit.emulator.requests() == {"UploadArchive": {"received": 1, "succeeded": 0}}


def test_an_outcome_that_stays_unknown_is_told_and_never_makes_a_third_copy(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    vault_kit.break_next("put", FaultKind.RESET_AFTER)
    vault_kit.break_next("begin", FaultKind.UNAVAILABLE)
    with pytest.raises(OutcomeUnknown, match="Archive 7 of library may be in glacier://contract") as caught:
        store.put(b"content", a_file())
    assert caught.value.retryable
    receipt = store.put(b"content", a_file())
    assert receipt.maybe_twice
    assert (sent(vault_kit, "UploadArchive"), len(vault_kit.keys())) == (1, 2)
    assert store.put(b"other content", a_file(8)).maybe_twice is False


def test_nobody_at_the_endpoint_leaves_no_doubt() -> None:
    store = open_vault("http://127.0.0.1:9", "glacier://some-vault")
    for call in (store.check, lambda: store.put(b"content", a_file())):
        with pytest.raises(StoreUnavailable, match="glacier://some-vault") as caught:
            call()
        assert not isinstance(caught.value, OutcomeUnknown)


def test_bytes_that_change_on_their_way_are_not_stored(vault_kit: VaultKit, journal: FileJournal) -> None:
    store = vault_kit.open()
    client = store._vault.client
    for operation in ("UploadArchive", "UploadMultipartPart"):
        client.meta.events.register(f"before-send.glacier.{operation}", _damage)
    with pytest.raises(ArchiveCorrupt):
        store.put(b"content", a_file())
    with pytest.raises(ArchiveCorrupt):
        store.put_large(Bytes(b"content"), a_file(), journal)
    assert vault_kit.keys() == []


def test_what_a_vault_confirms_with_another_checksum_is_not_archived(vault_kit: VaultKit, journal: FileJournal) -> None:
    def another(parsed: dict[str, Any], **_: Any) -> None:
        parsed["checksum"] = "0" * 64

    store = vault_kit.open()
    events = store._vault.client.meta.events
    events.register("after-call.glacier.UploadArchive", another)
    with pytest.raises(StoreError, match="was stored with checksum 0000"):
        store.put(b"content", a_file(1))
    events.register("after-call.glacier.CompleteMultipartUpload", another)
    with pytest.raises(StoreUnavailable, match="another checksum"):
        store.put_large(Bytes(some_bytes(2 * PART)), a_file(2), journal)


def _damage(request: Any, **_: Any) -> None:
    request.body = io.BytesIO(b"CONTENT")


def test_many_archives_under_fire_are_there_at_most_twice(vault_kit: VaultKit) -> None:
    for operation, kind in [
        ("UploadArchive", FaultKind.RESET_AFTER),
        ("UploadArchive", FaultKind.THROTTLING),
        ("CompleteMultipartUpload", FaultKind.RESET_AFTER),
        ("UploadMultipartPart", FaultKind.INTERNAL_ERROR),
    ]:
        vault_kit.emulator.faults.inject(operation, kind, probability=0.3)
    store = vault_kit.open(attempts=8)
    with ThreadPoolExecutor(6) as pool:
        receipts = list(pool.map(lambda n: store.put(f"archive {n}".encode(), a_file(n)), range(1, 41)))
    copies: dict[int, list[str]] = {}
    for archive in vault_kit.emulator.archives():
        copies.setdefault(json.loads(archive["description"])["archive"], []).append(archive["id"])
    assert sorted(copies) == list(range(1, 41))
    for number, receipt in enumerate(receipts, start=1):
        assert receipt.location.key in copies[number]
        assert len(copies[number]) <= (2 if receipt.maybe_twice else 1)
    assert any(receipt.maybe_twice for receipt in receipts)


# --- large archives ------------------------------------------------------------------------------------------------


def test_a_large_archive_has_the_tree_hash_of_all_its_parts(vault_kit: VaultKit, journal: FileJournal) -> None:
    for size in (1, MIB, PART, PART + 1, 3 * PART - 5):
        data = some_bytes(size)
        receipt = vault_kit.open().put_large(Bytes(data), a_file(size), FileJournal(journal.path.with_name(str(size))))
        assert receipt.checksum == f"treehash:{calculate_tree_hash(io.BytesIO(data))}"
        assert vault_kit.emulator.read_archive(receipt.location.key) == data


def test_a_large_part_is_sent_through_a_small_window(vault_kit: VaultKit, journal: FileJournal) -> None:
    class Watched(Bytes):
        largest = 0

        def read_at(self, start: int, size: int) -> bytes:
            self.largest = max(self.largest, size)
            return super().read_at(start, size)

    source = Watched(some_bytes(2 * PART))
    vault_kit.open(part_size=2 * PART).put_large(source, a_file(), journal)
    assert source.largest == MIB


def test_parts_listed_on_several_pages_are_all_found(
    vault_kit: VaultKit, journal: FileJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.emulator.vault_archives.page_size", lambda limit: 2)
    data = some_bytes(5 * PART)
    vault_kit.break_next("part", FaultKind.UNAVAILABLE, part=5)
    with pytest.raises(StoreUnavailable):
        vault_kit.open().put_large(Bytes(data), a_file(), journal)
    vault_kit.open().put_large(Bytes(data), a_file(), journal)
    assert vault_kit.done("part") == 5


def a_lost_completion(kit: VaultKit, journal: FileJournal, data: bytes) -> None:
    """Complete an upload whose process learns nothing of it."""
    kit.break_next("complete", FaultKind.RESET_AFTER)
    kit.emulator.faults.inject("ListParts", FaultKind.UNAVAILABLE, count=1)
    with pytest.raises(StoreUnavailable):
        kit.open().put_large(Bytes(data), a_file(), journal)
    assert len(kit.keys()) == 1


def test_a_completion_that_nobody_learnt_of_is_repeated_by_the_next_process(
    vault_kit: VaultKit, journal: FileJournal
) -> None:
    data = some_bytes(2 * PART)
    a_lost_completion(vault_kit, journal, data)
    receipt = vault_kit.open().put_large(Bytes(data), a_file(), journal)
    assert (receipt.adopted, receipt.maybe_twice) == (True, False)
    assert ([receipt.location.key], 2) == (vault_kit.keys(), vault_kit.done("part"))


def test_a_completion_too_long_ago_is_begun_anew_and_said_to_be_doubtful(
    vault_kit: VaultKit, journal: FileJournal
) -> None:
    data = some_bytes(2 * PART)
    a_lost_completion(vault_kit, journal, data)
    vault_kit.pass_time(3 * HOUR)
    receipt = vault_kit.open().put_large(Bytes(data), a_file(), journal)
    assert (receipt.adopted, receipt.maybe_twice, len(vault_kit.keys())) == (False, True, 2)
    known = KnownArchive(
        ArchiveState.ARCHIVED, 3, "2024/report-7.pdf", len(data), receipt.location.key, checksum=receipt.checksum
    )
    known = replace(known, written_by=a_file().written_by)
    verdicts = sorted(verdict_of(archive, known, application="library") for archive in listed(vault_kit))
    assert verdicts == [Verdict.KNOWN, Verdict.SURPLUS]


def test_an_upload_that_idled_too_long_begins_anew(vault_kit: VaultKit, journal: FileJournal) -> None:
    vault_kit.break_next("part", FaultKind.UNAVAILABLE, part=2)
    with pytest.raises(StoreUnavailable):
        vault_kit.open().put_large(Bytes(some_bytes(2 * PART)), a_file(), journal)
    vault_kit.pass_time(25 * HOUR)
    receipt = vault_kit.open().put_large(Bytes(some_bytes(2 * PART)), a_file(), journal)
    assert vault_kit.keys() == [receipt.location.key]
    assert (vault_kit.done("begin"), vault_kit.done("part")) == (2, 3)


def test_an_upload_that_lost_its_journal_is_recognised_and_gone_on_with(
    vault_kit: VaultKit, journal: FileJournal
) -> None:
    vault_kit.break_next("complete", FaultKind.UNAVAILABLE)
    with pytest.raises(StoreUnavailable):
        vault_kit.open().put_large(Bytes(some_bytes(2 * PART)), a_file(), journal)
    journal.forget()
    vault_kit.open().put_large(Bytes(some_bytes(2 * PART)), a_file(), journal)
    assert (vault_kit.done("begin"), vault_kit.done("part"), len(vault_kit.keys())) == (1, 2, 1)


def test_an_upload_whose_archive_would_describe_itself_wrongly_is_aborted(
    vault_kit: VaultKit, journal: FileJournal
) -> None:
    vault_kit.break_next("complete", FaultKind.UNAVAILABLE)
    with pytest.raises(StoreUnavailable):
        vault_kit.open().put_large(Bytes(some_bytes(2 * PART)), a_file(), journal)
    receipt = vault_kit.open().put_large(Bytes(some_bytes(PART)), a_file(), journal)
    assert (receipt.maybe_twice, vault_kit.keys(), open_uploads(vault_kit)) == (False, [receipt.location.key], [])
    [archive] = listed(vault_kit)
    assert archive.description is not None
    assert archive.description.size == PART


def test_forgotten_uploads_of_the_archive_are_aborted_and_no_others(vault_kit: VaultKit, journal: FileJournal) -> None:
    client = vault_kit.emulator.client()
    foreign = ['{"someone":"else"}', "", '{"glacier_provider":1,"app":"library","kind":"file"}']
    for text in foreign:
        client.initiate_multipart_upload(vaultName=VAULT, archiveDescription=text, partSize=str(MIB))
    for number, size in [(7, 1), (8, PART)]:  # of this archive but another size, and of another archive
        vault_kit.break_next("complete", FaultKind.UNAVAILABLE)
        other = FileJournal(journal.path.with_name(f"journal-{number}"))
        with pytest.raises(StoreUnavailable):
            vault_kit.open().put_large(Bytes(some_bytes(size)), a_file(number), other)
    vault_kit.open().put_large(Bytes(some_bytes(PART)), a_file(7), journal)
    left = [upload["description"] for upload in vault_kit.emulator.uploads(VAULT)]
    assert left[:3] == foreign
    assert [json.loads(text)["archive"] for text in left[3:]] == [8]


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_begun_upload_whose_answer_was_lost_leaves_nothing_open(
    vault_kit: VaultKit, journal: FileJournal, attempts: int
) -> None:
    vault_kit.break_next("begin", FaultKind.RESET_AFTER)
    if attempts == 1:
        with pytest.raises(StoreUnavailable):
            vault_kit.open().put_large(Bytes(some_bytes(PART)), a_file(), journal)
    vault_kit.open(attempts=attempts).put_large(Bytes(some_bytes(PART)), a_file(), journal)
    assert (open_uploads(vault_kit), len(vault_kit.keys())) == ([], 1)


def test_a_journal_that_fails_leaves_no_upload_behind(vault_kit: VaultKit, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        vault_kit.open().put_large(Bytes(some_bytes(PART)), a_file(), FileJournal(tmp_path / "no" / "directory"))
    assert open_uploads(vault_kit) == []


def test_an_upload_that_cannot_be_completed_begins_anew(vault_kit: VaultKit, journal: FileJournal) -> None:
    wrong = {"status": 400, "code": "InvalidParameterValueException", "message": "Checksum mismatch: expected a, was b"}
    vault_kit.break_next("complete", FaultKind.ERROR, **wrong)
    with pytest.raises(StoreUnavailable, match="begins anew"):
        vault_kit.open(attempts=3).put_large(Bytes(some_bytes(PART)), a_file(), journal)
    assert (journal.upload_id(), open_uploads(vault_kit), sent(vault_kit, "CompleteMultipartUpload")) == (None, [], 1)
    vault_kit.open().put_large(Bytes(some_bytes(PART)), a_file(), journal)
    assert len(vault_kit.keys()) == 1


def test_an_upload_aborted_by_somebody_else_is_told(vault_kit: VaultKit, journal: FileJournal) -> None:
    gone = {"status": 404, "code": "ResourceNotFoundException", "message": "The upload ID was not found: x"}
    vault_kit.break_next("complete", FaultKind.ERROR, **gone)
    with pytest.raises(OutcomeUnknown, match="ended before it was completed"):
        vault_kit.open().put_large(Bytes(some_bytes(PART)), a_file(), journal)
    assert journal.upload_id() is None
    vault_kit.break_next("part", FaultKind.ERROR, **gone)
    with pytest.raises(StoreUnavailable, match="ended meanwhile"):
        vault_kit.open().put_large(Bytes(some_bytes(PART)), a_file(8), FileJournal(journal.path.with_name("8")))


def test_an_abandoned_upload_is_aborted_and_no_other(vault_kit: VaultKit, journal: FileJournal) -> None:
    for number in (7, 8):
        vault_kit.break_next("complete", FaultKind.UNAVAILABLE)
        with pytest.raises(StoreUnavailable):
            vault_kit.open().put_large(
                Bytes(b"large"), a_file(number), FileJournal(journal.path.with_name(str(number)))
            )
    for _ in range(2):
        vault_kit.open().abandon(a_file(7))
        assert [upload["archive"] for upload in open_uploads(vault_kit)] == [8]


def test_broken_parts_are_sent_again_by_themselves(vault_kit: VaultKit, journal: FileJournal) -> None:
    vault_kit.break_next("part", FaultKind.RESET_AFTER, part=1)
    vault_kit.break_next("part", FaultKind.CORRUPT_BODY, part=2)
    vault_kit.break_next("complete", FaultKind.RESET_AFTER)
    receipt = vault_kit.open(attempts=3).put_large(Bytes(some_bytes(2 * PART)), a_file(), journal)
    assert vault_kit.keys() == [receipt.location.key]


def test_a_source_that_became_shorter_is_said_to_be(vault_kit: VaultKit, journal: FileJournal) -> None:
    class Shrinking(Bytes):
        def read_at(self, start: int, size: int) -> bytes:
            if self.reads > self.reads_before:
                raise FileChanged("the file became shorter.")
            return super().read_at(start, size)

    for passes in (1, 2, 3):  # while it is hashed, hashed again by the client, sent
        source = Shrinking(some_bytes(PART))
        source.reads_before = passes * PART - 2 * MIB  # type: ignore[attr-defined]
        with pytest.raises(FileChanged, match="shorter"):
            vault_kit.open(attempts=3).put_large(
                source, a_file(passes), FileJournal(journal.path.with_name(str(passes)))
            )
    assert vault_kit.keys() == []


def test_an_empty_source_is_refused(vault_kit: VaultKit, journal: FileJournal) -> None:
    with pytest.raises(StoreError, match="empty") as caught:
        vault_kit.open().put_large(Bytes(b""), a_file(), journal)
    assert not caught.value.retryable
    assert vault_kit.emulator.requests() == {}


# --- retrievals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_job_whose_answer_was_lost_is_found_and_joined(vault_kit: VaultKit, attempts: int) -> None:
    receipt = vault_kit.open().put(b"sleeping", a_file())
    vault_kit.break_next("retrieve", FaultKind.RESET_AFTER)
    [retrieval] = requested(vault_kit.open(attempts=attempts), [receipt.location])
    assert [job["JobId"] for job in jobs(vault_kit)] == [retrieval.job_id]


def test_a_job_that_was_not_begun_is_begun_after_a_look(vault_kit: VaultKit) -> None:
    receipt = vault_kit.open().put(b"sleeping", a_file())
    vault_kit.break_next("retrieve", FaultKind.RESET_BEFORE)
    [retrieval] = requested(vault_kit.open(attempts=2), [receipt.location])
    assert [job["JobId"] for job in jobs(vault_kit)] == [retrieval.job_id]


def test_a_job_that_could_not_be_looked_for_is_joined_by_the_next_request(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    receipt = store.put(b"sleeping", a_file())
    vault_kit.break_next("retrieve", FaultKind.RESET_AFTER)
    vault_kit.emulator.faults.inject("ListJobs", FaultKind.UNAVAILABLE, after=1, count=1)
    with pytest.raises(OutcomeUnknown, match="list of jobs"):
        requested(store, [receipt.location])
    [retrieval] = requested(store, [receipt.location])
    assert [job["JobId"] for job in jobs(vault_kit)] == [retrieval.job_id]


def test_a_throttled_request_is_tried_again_and_then_worth_a_retry(vault_kit: VaultKit) -> None:
    receipt = vault_kit.open().put(b"sleeping", a_file())
    vault_kit.break_next("retrieve", FaultKind.THROTTLING, count=3)
    with pytest.raises(StoreUnavailable):
        requested(vault_kit.open(attempts=2), [receipt.location])
    requested(vault_kit.open(attempts=2), [receipt.location])
    assert len(jobs(vault_kit)) == 1


def test_a_faster_tier_is_not_left_waiting_for_a_slower_job(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    place = store.put(b"sleeping", a_file()).location
    [slow] = requested(store, [place], tier="Standard")
    [slower] = requested(store, [place], tier="Bulk")
    [fast] = requested(store, [place], tier="Expedited")
    assert slow.job_id == slower.job_id != fast.job_id
    assert [job["Tier"] for job in jobs(vault_kit)] == ["Standard", "Expedited"]


def test_what_is_ready_is_joined_until_its_end_comes_near(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    receipt = store.put(b"sleeping", a_file())
    [ready] = readable(vault_kit, store, receipt)
    vault_kit.pass_time(10 * HOUR)
    assert requested(vault_kit.open(), [receipt.location], tier="Expedited")[0].job_id == ready.job_id
    vault_kit.pass_time(13 * HOUR)
    [renewed] = requested(store, [receipt.location])
    assert renewed.job_id != ready.job_id


def test_a_partial_job_of_another_program_is_not_joined(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    place = store.put(some_bytes(3 * MIB), a_file()).location
    partial = {"Type": "archive-retrieval", "ArchiveId": place.key, "RetrievalByteRange": f"0-{MIB - 1}"}
    other = vault_kit.emulator.client().initiate_job(vaultName=VAULT, jobParameters=partial)["jobId"]
    assert requested(store, [place])[0].job_id != other


def test_a_failed_job_tells_why_and_is_not_joined(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    receipt = store.put(b"sleeping", a_file())
    [failed] = requested(store, [receipt.location])
    vault_kit.emulator.fail_jobs()
    [report] = store.retrieval_reports([failed])
    assert (report.status, report.failure) == (
        RetrievalStatus.AVAILABLE,
        "The job failed because of an internal error.",
    )
    [again] = readable(vault_kit, store, receipt)
    assert content(store, again, 0, 8) == b"sleeping"


def test_two_threads_that_want_the_same_archive_share_a_job(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    place = store.put(b"sleeping", a_file()).location
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: requested(store, [place])[0].job_id, range(6)))
    assert (len(set(found)), len(jobs(vault_kit))) == (1, 1)


def test_the_offer_ends_a_day_after_the_job_was_done(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    [retrieval] = readable(vault_kit, store, store.put(b"sleeping", a_file()))
    [report] = store.retrieval_reports([retrieval])
    [job] = jobs(vault_kit)
    assert report.expires_at is not None
    assert report.expires_at.isoformat()[11:19] == job["CompletionDate"][11:19]
    assert 23 * HOUR < (report.expires_at - vault_kit.emulator.clock.now()).total_seconds() < 24 * HOUR


def test_an_offer_that_ended_early_is_cold_when_it_is_read(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    vault_kit.break_next("retrieve", FaultKind.EXPIRE_JOB)
    [retrieval] = readable(vault_kit, store, store.put(b"sleeping", a_file()))
    with pytest.raises(ArchiveCold, match="expired"):
        content(store, retrieval, 0, 8)


def test_what_is_not_ready_is_cold(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    [retrieval] = requested(store, [store.put(b"sleeping", a_file()).location])
    with pytest.raises(ArchiveCold, match="not done"):
        content(store, retrieval, 0, 8)


def test_many_states_take_a_request_for_each_fifty(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    receipts = stored(store, 120)
    retrievals = requested(store, [receipt.location for receipt in receipts])
    for _ in range(2):
        vault_kit.emulator.forget_requests()
        pieces = [retrievals[start : start + 40] for start in (0, 40, 80)]
        reports = [report for piece in pieces for report in store.retrieval_reports(piece)]
        assert [report.key for report in reports] == [receipt.location.key for receipt in receipts]
        assert {report.status for report in reports} == {RetrievalStatus.PENDING}
        assert vault_kit.emulator.requests() == {"ListJobs": {"received": 3, "succeeded": 3}}


def test_a_state_is_looked_at_again_when_it_is_asked_for_again(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    retrievals = requested(store, [receipt.location for receipt in stored(store, 6)])
    assert {report.status for report in store.retrieval_reports(retrievals)} == {RetrievalStatus.PENDING}
    vault_kit.emulator.complete_jobs()
    assert {report.status for report in store.retrieval_reports(retrievals)} == {RetrievalStatus.READY}


def test_a_job_that_the_list_does_not_show_yet_is_not_taken_for_gone(
    vault_kit: VaultKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = vault_kit.open()
    retrievals = requested(store, [receipt.location for receipt in stored(store, 6)])
    monkeypatch.setattr("glacier_provider.stores.vault.jobs.list_jobs", lambda *_, **__: iter([[]]))
    assert {report.status for report in store.retrieval_reports(retrievals)} == {RetrievalStatus.PENDING}


def test_jobs_that_vanished_are_expired_and_not_failed(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    retrievals = readable(vault_kit, store, *stored(store, 6))
    vault_kit.pass_time(30 * HOUR)
    reports = list(store.retrieval_reports(retrievals))
    assert jobs(vault_kit) == []
    assert {(report.status, report.failure) for report in reports} == {(RetrievalStatus.AVAILABLE, None)}


def test_a_retrieval_whose_job_was_never_noted_is_found_by_its_archive(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    receipts = stored(store, 2)
    requested(store, [receipts[0].location])
    unnoted = [Retrieval(receipt.location, "Bulk") for receipt in receipts]
    statuses = [report.status for report in vault_kit.open().retrieval_reports(unnoted)]
    assert statuses == [RetrievalStatus.PENDING, RetrievalStatus.AVAILABLE]


def test_a_policy_refusal_says_what_to_do(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    place = store.put(b"sleeping", a_file()).location
    vault_kit.break_next("retrieve", FaultKind.POLICY)
    with pytest.raises(RetrievalRefused, match="data retrieval policy forbids it"):
        requested(store, [place], tier="Standard")


def test_an_archive_of_another_vault_is_said_to_be(vault_kit: VaultKit) -> None:
    place = vault_kit.open().put(b"sleeping", a_file()).location
    vault_kit.emulator.client().create_vault(vaultName="other")
    with pytest.raises(ArchiveMissing, match="another vault"):
        requested(vault_kit.open(uri="glacier://other"), [place])


def test_less_than_a_day_is_refused_before_it_is_sent(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    with pytest.raises(RetrievalRefused, match="one day"):
        requested(store, [store.put(b"x", a_file()).location], days=0)
    assert sent(vault_kit, "InitiateJob") == 0


def test_a_topic_of_the_uri_is_told_of_the_end(vault_kit: VaultKit) -> None:
    store = vault_kit.open(uri=f"glacier://{VAULT}?sns_topic={TOPIC}")
    place = store.put(b"sleeping", a_file()).location
    token = "retrieval 1 of größe\n\x7f"
    store.request_retrieval(place, tier="Bulk", days=1, token=token)
    vault_kit.finish_retrievals()
    [message] = vault_kit.emulator.messages()
    assert (message["topic"], message["message"]["ArchiveId"]) == (TOPIC, place.key)
    assert message["message"]["JobDescription"] == "retrieval 1 of gr\\xf6\\xdfe??"


# --- reading -------------------------------------------------------------------------------------------------------


def a_readable_archive(kit: VaultKit, data: bytes, tmp_path: Path) -> Retrieval:
    store = kit.open()
    [retrieval] = readable(kit, store, store.put_large(Bytes(data), a_file(), FileJournal(tmp_path / "readable")))
    kit.emulator.forget_requests()
    return retrieval


def test_a_large_archive_is_read_window_by_window(vault_kit: VaultKit, tmp_path: Path) -> None:
    data = some_bytes(2 * PART + 5)
    retrieval = a_readable_archive(vault_kit, data, tmp_path)
    windows = vault_kit.open().read(retrieval.location, 3, len(data) - 3, job_id=retrieval.job_id)
    assert len(next(windows)) == PART - 3
    assert sent(vault_kit, "GetJobOutput") == 1  # the rest is not asked for before it is wanted
    assert b"".join(windows) == data[PART:]


@pytest.mark.parametrize("kind", [FaultKind.TRUNCATE_BODY, FaultKind.CORRUPT_BODY, FaultKind.RESET_AFTER])
def test_a_window_that_breaks_is_read_again_by_itself(vault_kit: VaultKit, tmp_path: Path, kind: FaultKind) -> None:
    data = some_bytes(2 * PART + 5)
    retrieval = a_readable_archive(vault_kit, data, tmp_path)
    vault_kit.emulator.faults.inject("GetJobOutput", kind, count=1, when={"range": f"bytes={PART}-*"})
    assert content(vault_kit.open(attempts=2), retrieval, 0, len(data)) == data
    assert sent(vault_kit, "GetJobOutput") == 4


def test_a_damaged_window_never_gets_out(vault_kit: VaultKit, tmp_path: Path) -> None:
    data = some_bytes(2 * PART)
    retrieval = a_readable_archive(vault_kit, data, tmp_path)
    vault_kit.break_next("read", FaultKind.CORRUPT_BODY, count=None)
    windows = vault_kit.open(attempts=2).read(retrieval.location, 0, len(data), job_id=retrieval.job_id)
    with pytest.raises(ArchiveCorrupt, match="damaged"):
        next(windows)


def test_less_than_was_asked_for_is_no_short_success(vault_kit: VaultKit, tmp_path: Path) -> None:
    retrieval = a_readable_archive(vault_kit, some_bytes(MIB), tmp_path)
    store = vault_kit.open()
    store._vault.client.meta.events.register("before-call.glacier.GetJobOutput", _clip)
    with pytest.raises(ArchiveCorrupt, match="gives 5 of 100 bytes"):
        content(store, retrieval, 0, 100)


def _clip(params: dict[str, Any], **_: Any) -> None:
    params["headers"]["Range"] = "bytes=0-4"


def test_bytes_that_rotted_in_the_vault_never_get_out(vault_kit: VaultKit, tmp_path: Path) -> None:
    retrieval = a_readable_archive(vault_kit, some_bytes(MIB), tmp_path)
    vault_kit.emulator.corrupt_archive(retrieval.location.key)
    with pytest.raises(ArchiveCorrupt):
        content(vault_kit.open(), retrieval, 0, MIB)


# --- the vault and its inventory -----------------------------------------------------------------------------------


def test_a_closed_account_is_shown_the_way_out(tmp_path: Path) -> None:
    with an_emulator(tmp_path / "closed", closed_when_empty=True) as emulator:
        kit = VaultKit(emulator)
        with pytest.raises(StoreDenied, match=r"closed vaults .*use an s3:// store URI") as caught:
            kit.open(attempts=3).check()
        assert not caught.value.retryable
        assert emulator.count("DescribeVault") == 1


def test_a_missing_vault_is_told_how_to_be_made(vault_kit: VaultKit) -> None:
    with pytest.raises(StoreMissing, match="create-vault --account-id - --vault-name gone --region eu-west-1"):
        vault_kit.open(uri="glacier://gone?region=eu-west-1").check()
    assert [vault["VaultName"] for vault in vault_kit.emulator.client().list_vaults()["VaultList"]] == [VAULT]


def test_a_check_finds_a_vault_that_may_only_be_read_and_leaves_nothing(vault_kit: VaultKit) -> None:
    vault_kit.open().check()
    assert open_uploads(vault_kit) == []
    vault_kit.break_next("begin", FaultKind.ACCESS_DENIED)
    with pytest.raises(StoreDenied, match="glacier:InitiateMultipartUpload on glacier://contract"):
        vault_kit.open().check()


def test_a_check_whose_upload_is_gone_before_it_is_aborted_is_no_error(
    vault_kit: VaultKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process slept: a vault forgets an upload that was idle for a day."""
    asked = Vault.ask

    def ask(vault: Vault, operation: str, **arguments: Any) -> Any:
        reply = asked(vault, operation, **arguments)
        if operation == "InitiateMultipartUpload":
            asked(vault, "AbortMultipartUpload", uploadId=reply["uploadId"])
        return reply

    monkeypatch.setattr(Vault, "ask", ask)
    vault_kit.open().check()
    assert vault_kit.emulator.count("AbortMultipartUpload") == 2


def test_a_denied_operation_names_its_permission_and_the_archive(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    place = store.put(b"content", a_file()).location
    [retrieval] = requested(store, [place])
    calls: dict[str, Callable[[], object]] = {
        "InitiateJob": lambda: requested(store, [store.put(b"other", a_file(8)).location]),
        "GetJobOutput": lambda: content(store, retrieval, 0, 1),
        "DeleteArchive": lambda: store.delete(place),
    }
    for operation, call in calls.items():
        vault_kit.emulator.faults.inject(operation, FaultKind.ACCESS_DENIED)
        with pytest.raises(StoreDenied, match=rf"glacier:{operation} on glacier://contract/[A-Za-z0-9_-]{{138}}"):
            call()


def test_a_client_that_would_resend_is_refused(vault_kit: VaultKit) -> None:
    uri = f"glacier://{VAULT}"
    with pytest.raises(ConfigurationError, match="send each request once"):
        open_store(uri, client=vault_kit.emulator.client(max_attempts=3))
    assert isinstance(open_store(uri, client=vault_kit.emulator.client()), VaultStore)
    assert client_config(uri).merge(Config(read_timeout=5)).retries["total_max_attempts"] == 1


def test_a_deleted_or_unknown_id_may_be_deleted(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    store.delete(Location(store.uri, "A" * 138))
    with pytest.raises(StoreMissing):
        vault_kit.missing().delete(Location("glacier://gone", "A" * 138))


def test_a_vault_without_an_inventory_says_when_there_will_be_one(vault_kit: VaultKit) -> None:
    stored(vault_kit.open(), 2)
    with pytest.raises(StoreUnavailable, match="about a day after the first upload"):
        list(vault_kit.open().archives())
    vault_kit.pass_time(40 * HOUR)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="about 4 hours"):
            list(vault_kit.open().archives())
    assert len(jobs(vault_kit)) == 1
    vault_kit.pass_time(5 * HOUR)
    assert len(list(vault_kit.open().archives())) == 2


def test_the_newest_whole_inventory_counts(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    for count in (1, 2):
        store.put(b"x", a_file(count))
        vault_kit.publish()
        vault_kit.pass_time(60)
    client = vault_kit.emulator.client()
    for parameters in ({"Format": "CSV"}, {"InventoryRetrievalParameters": {"Limit": "1"}}):
        client.initiate_job(vaultName=VAULT, jobParameters={"Type": "inventory-retrieval", **parameters})
    vault_kit.emulator.complete_jobs()
    assert [archive.description.archive_id for archive in store.archives() if archive.description] == [1, 2]


def test_a_new_inventory_can_be_asked_for_and_an_old_one_expires(vault_kit: VaultKit) -> None:
    store = vault_kit.open()
    store.put(b"x", a_file(1))
    vault_kit.publish()
    first = store.request_inventory()
    assert store.request_inventory() == first
    vault_kit.pass_time(30 * HOUR)
    with pytest.raises(StoreUnavailable, match="is being made"):
        list(store.archives())
    vault_kit.pass_time(5 * HOUR)
    assert len(list(store.archives())) == 1


def test_a_lost_answer_to_an_inventory_request_starts_no_second_one(vault_kit: VaultKit) -> None:
    vault_kit.emulator.take_inventory(VAULT)
    vault_kit.break_next("retrieve", FaultKind.RESET_AFTER)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            list(vault_kit.open(attempts=3).archives())
    assert len(jobs(vault_kit)) == 1


def test_an_inventory_that_breaks_off_is_read_on(vault_kit: VaultKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glacier_provider.stores.vault.output.WINDOW", 512)
    stored(vault_kit.open(), 10)
    vault_kit.publish()
    vault_kit.break_next("read", FaultKind.TRUNCATE_BODY, after=3)
    found = [a.description.archive_id for a in vault_kit.open(attempts=2).archives() if a.description]
    assert found == list(range(1, 11))
    vault_kit.break_next("read", FaultKind.CORRUPT_BODY, at=0, count=None)
    with pytest.raises(ArchiveCorrupt):
        list(vault_kit.open().archives())


def test_foreign_archives_are_listed_without_a_description(vault_kit: VaultKit) -> None:
    client = vault_kit.emulator.client()
    for text in ("holiday photos", "", '{"glacier_provider":1}', "[1]"):
        client.upload_archive(vaultName=VAULT, archiveDescription=text, body=b"x")
    vault_kit.open().put(b"ours", a_file())
    found = listed(vault_kit)
    assert [archive.description is None for archive in found] == [True, True, True, True, False]
    assert len(list(vault_kit.open().archives("library", kind=ArchiveKind.FILE))) == 1
    verdicts = [verdict_of(archive, None, application="library") for archive in found]
    assert verdicts == [Verdict.FOREIGN] * 4 + [Verdict.STRAY]


def test_no_message_tells_the_secret_key(vault_kit: VaultKit) -> None:
    import boto3

    planted = "planted-secret-key-0123456789"
    session = boto3.session.Session("planted-access", planted, region_name="us-east-1")
    client = session.client("glacier", endpoint_url=vault_kit.emulator.url, config=client_config(f"glacier://{VAULT}"))
    store = open_store(f"glacier://{VAULT}", client=client)
    vault_kit.deny()
    with pytest.raises(StoreDenied) as caught:
        store.put(b"x", a_file())
    assert planted not in f"{caught.value!s}{caught.value!r}{caught.value.__cause__}"
