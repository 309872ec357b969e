"""What every store does. A store that cannot do a thing says so in its features."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from glacier_provider.core.archive import ArchiveKind, name_from_bytes
from glacier_provider.core.checksum import Verifier
from glacier_provider.core.parts import MIB
from glacier_provider.core.status import RetrievalStatus
from glacier_provider.errors import (
    ArchiveCold,
    ArchiveCorrupt,
    ArchiveMissing,
    KeyTaken,
    OutOfSpace,
    RetrievalRefused,
    StoreDenied,
    StoreError,
    StoreMissing,
    StoreUnavailable,
)
from glacier_provider.stores.contract import ArchiveStore, Retrieval
from tests.contract.kit import (
    HOUR,
    PART,
    Bytes,
    FileJournal,
    StoreKit,
    a_file,
    content,
    readable,
    requested,
    some_bytes,
    stored,
)
from tests.emulator.faults import FaultKind

EVIL_NAMES = [
    b"plain.pdf",
    b"2024/a b/ c  d.txt",
    b"-rf",
    b"--help/-x",
    "ünïcödé/файл/文件.pdf".encode(),
    "emoji 😀.png".encode(),
    b"quotes ' \" ` $(id) ;.sh",
    b"percent %41%zz%",
    b"back\\slash\\x41",
    b"not utf-8 \xff\xfe\x80",
    b"new\nline\ttab\rreturn\x01\x7f",
    b"=?utf-8?q?encoded?=",
    b" leading and trailing ",
    b"sha256:0",
    b"name+plus&and=equals?query#hash",
    b"x" * 255,
    "文".encode() * 85 + b"/" + "ж".encode() * 120,
]


@pytest.fixture
def journal(tmp_path: Path) -> FileJournal:
    return FileJournal(tmp_path / "journal.json")


def test_what_was_put_comes_back_under_its_checksum(kit: StoreKit) -> None:
    store, data = kit.open(), b"the content"
    receipt = store.put(data, a_file())
    assert (receipt.size, receipt.adopted) == (len(data), False)
    [retrieval] = readable(kit, store, receipt)
    verifier = Verifier(receipt.checksum)
    verifier.update(content(store, retrieval, 0, len(data)))
    assert verifier.matches()


def test_an_archive_that_is_there_already_is_adopted(naming_kit: StoreKit) -> None:
    first, second = (naming_kit.open().put(b"same", a_file()) for _ in range(2))
    assert second.adopted
    assert (second.location, second.checksum) == (first.location, first.checksum)
    assert len(naming_kit.keys()) == 1


def test_a_place_that_holds_other_content_is_never_overwritten(naming_kit: StoreKit) -> None:
    store = naming_kit.open()
    receipt = store.put(b"first", a_file())
    with pytest.raises(KeyTaken):
        store.put(b"other", a_file())
    [retrieval] = readable(naming_kit, store, receipt)
    assert content(store, retrieval, 0, 5) == b"first"


def test_the_same_place_for_another_name_is_taken(naming_kit: StoreKit) -> None:
    store = naming_kit.open()
    store.put(b"same", a_file(filename="a/same.txt"))
    with pytest.raises(KeyTaken):
        store.put(b"same", a_file(filename="b/same.txt"))


def test_an_empty_archive_is_kept_where_the_store_can(kit: StoreKit) -> None:
    store = kit.open()
    if not store.features.keeps_empty_archives:
        with pytest.raises(StoreError, match="empty"):
            store.put(b"", a_file())
        assert kit.keys() == []
        return
    receipt = store.put(b"", a_file())
    assert receipt.size == 0
    [retrieval] = readable(kit, store, receipt)
    assert content(store, retrieval, 0, 0) == b""


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_put_whose_answer_was_lost_is_there_once(naming_kit: StoreKit, attempts: int) -> None:
    naming_kit.break_next("put", FaultKind.RESET_AFTER)
    receipt = naming_kit.open(attempts=attempts).put(b"content", a_file())
    assert receipt.adopted
    assert naming_kit.keys() == [receipt.location.key]
    assert naming_kit.done("put") == 1


@pytest.mark.parametrize("kind", [FaultKind.THROTTLING, FaultKind.INTERNAL_ERROR, FaultKind.RESET_BEFORE])
def test_a_busy_store_is_worth_a_retry_and_nothing_is_left_behind(naming_kit: StoreKit, kind: FaultKind) -> None:
    store = naming_kit.open()
    naming_kit.break_next("put", kind)
    with pytest.raises(StoreUnavailable) as caught:
        store.put(b"content", a_file())
    assert caught.value.retryable
    assert naming_kit.keys() == []
    assert store.put(b"content", a_file()).adopted is False


def test_many_writers_of_one_archive_leave_one(naming_kit: StoreKit) -> None:
    with ThreadPoolExecutor(6) as pool:
        receipts = list(pool.map(lambda store: store.put(b"same", a_file()), [naming_kit.open() for _ in range(6)]))
    assert len({receipt.location for receipt in receipts}) == 1
    assert [receipt.adopted for receipt in receipts].count(False) == 1
    assert len(naming_kit.keys()) == 1


def test_a_large_archive_goes_in_parts_and_comes_back_whole(kit: StoreKit, journal: FileJournal) -> None:
    store, data = kit.open(), some_bytes(2 * PART + 3 * MIB + 5)
    receipt = store.put_large(Bytes(data), a_file(), journal)
    assert (receipt.size, receipt.adopted, kit.done("part")) == (len(data), False, 3)
    forgotten = journal.upload_id() is None  # a vault's is kept: it is the way to learn the key again
    assert forgotten == store.features.chooses_keys
    [retrieval] = readable(kit, store, receipt)
    verifier = Verifier(receipt.checksum)
    for chunk in store.read(retrieval.location, 0, len(data), job_id=retrieval.job_id):
        verifier.update(chunk)
    assert verifier.matches()


def test_an_upload_that_broke_off_goes_on_at_the_next_part(one_kit: StoreKit, journal: FileJournal) -> None:
    data = some_bytes(4 * PART)
    one_kit.break_next("part", FaultKind.UNAVAILABLE, part=3)
    with pytest.raises(StoreUnavailable):
        one_kit.open().put_large(Bytes(data), a_file(), journal)
    sent_before = one_kit.done("part")
    assert sent_before >= 2
    receipt = one_kit.open().put_large(Bytes(data), a_file(), journal)
    assert (receipt.size, receipt.adopted) == (len(data), False)
    assert one_kit.done("part") == 4
    assert one_kit.done("begin") == 1


def test_a_part_whose_bytes_changed_meanwhile_is_sent_again(one_kit: StoreKit, journal: FileJournal) -> None:
    data = some_bytes(3 * PART)
    one_kit.break_next("complete", FaultKind.UNAVAILABLE)
    with pytest.raises(StoreUnavailable):
        one_kit.open().put_large(Bytes(data), a_file(), journal)
    changed = data[:PART] + b"!" + data[PART + 1 :]
    receipt = one_kit.open().put_large(Bytes(changed), a_file(), journal)
    assert one_kit.done("part") == 4
    verifier = Verifier(receipt.checksum)
    verifier.update(changed)
    assert verifier.matches()


def test_a_killed_process_loses_at_most_the_parts_in_flight(one_kit: StoreKit, tmp_path: Path) -> None:
    data = some_bytes(5 * PART)
    (tmp_path / "data").write_bytes(data)
    one_kit.break_next("part", FaultKind.HANG, part=4, seconds=30)
    script = """
        import sys
        from pathlib import Path
        from tests.contract.kit import Bytes, FileJournal, a_file, open_again
        here = Path(sys.argv[1])
        store = open_again(sys.argv[2:], parts_in_flight=1)
        store.put_large(Bytes((here / "data").read_bytes()), a_file(), FileJournal(here / "journal"))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path), *one_kit.address()]
    child = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        one_kit.wait_until_done("part", 3)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    one_kit.mend()
    receipt = one_kit.open().put_large(Bytes(data), a_file(), FileJournal(tmp_path / "journal"))
    assert receipt.size == len(data)
    assert one_kit.done("part") in (5, 6)  # the part in flight may have arrived after all
    assert one_kit.done("begin") == 1


def test_a_completed_upload_whose_answer_was_lost_is_adopted(one_kit: StoreKit, journal: FileJournal) -> None:
    data = some_bytes(2 * PART)
    store = one_kit.open()
    one_kit.break_next("complete", FaultKind.RESET_AFTER)
    receipt = store.put_large(Bytes(data), a_file(), journal)
    assert receipt.adopted
    assert (one_kit.done("part"), one_kit.keys()) == (2, [receipt.location.key])
    assert one_kit.done("complete") == (1 if store.features.chooses_keys else 2)


def test_a_crash_between_completion_and_the_catalog_sends_nothing_again(
    one_kit: StoreKit, journal: FileJournal
) -> None:
    data = some_bytes(2 * PART)
    first = one_kit.open().put_large(Bytes(data), a_file(), journal)
    again = one_kit.open().put_large(Bytes(data), a_file(), journal)
    assert again.adopted
    assert (again.location, again.checksum) == (first.location, first.checksum)
    assert one_kit.done("part") == 2


def test_an_upload_that_the_store_forgot_begins_anew(one_kit: StoreKit, journal: FileJournal) -> None:
    journal.began("an-upload-id-that-nobody-knows", PART)
    receipt = one_kit.open().put_large(Bytes(some_bytes(2 * PART)), a_file(), journal)
    assert (receipt.size, one_kit.done("begin")) == (2 * PART, 1)


def test_a_begun_upload_whose_answer_was_lost_leaves_one_archive(one_kit: StoreKit, journal: FileJournal) -> None:
    one_kit.break_next("begin", FaultKind.RESET_AFTER)
    receipt = one_kit.open(attempts=2).put_large(Bytes(some_bytes(2 * PART)), a_file(), journal)
    assert receipt.size == 2 * PART
    assert one_kit.keys() == [receipt.location.key]


def test_a_cold_archive_is_requested_waited_for_and_read(cold_kit: StoreKit) -> None:
    store = cold_kit.open()
    receipt = store.put(b"sleeping", a_file())
    with pytest.raises(ArchiveCold):
        list(store.read(receipt.location, 0, 8))
    [retrieval] = requested(store, [receipt.location])
    assert [r.status for r in store.retrieval_reports([retrieval])] == [RetrievalStatus.PENDING]
    cold_kit.finish_retrievals()
    [report] = store.retrieval_reports([retrieval])
    assert (report.key, report.status, report.failure) == (receipt.location.key, RetrievalStatus.READY, None)
    assert report.expires_at is not None
    assert report.expires_at.tzinfo is not None
    assert content(store, retrieval, 0, 8) == b"sleeping"


def test_a_second_request_joins_the_first(cold_kit: StoreKit) -> None:
    store = cold_kit.open()
    receipt = store.put(b"sleeping", a_file())
    requested(store, [receipt.location])
    requested(cold_kit.open(), [receipt.location])
    assert cold_kit.done("retrieve") == 1
    cold_kit.finish_retrievals()
    [ready] = requested(store, [receipt.location])
    assert content(store, ready, 0, 8) == b"sleeping"


def test_an_expired_copy_is_available_again_and_can_be_renewed(cold_kit: StoreKit) -> None:
    store = cold_kit.open()
    receipt = store.put(b"sleeping", a_file())
    [retrieval] = readable(cold_kit, store, receipt)
    cold_kit.pass_time(30 * 24 * HOUR)
    [report] = store.retrieval_reports([retrieval])
    assert (report.status, report.expires_at) == (RetrievalStatus.AVAILABLE, None)
    with pytest.raises(ArchiveCold):
        list(store.read(receipt.location, 0, 8, job_id=retrieval.job_id))
    [renewed] = readable(cold_kit, store, receipt)
    assert content(store, renewed, 0, 8) == b"sleeping"


def test_a_retrieval_that_failed_is_told_from_one_that_runs(cold_kit: StoreKit) -> None:
    store = cold_kit.open()
    cold_kit.break_next("retrieve", FaultKind.FAIL_JOB)
    [retrieval] = requested(store, [store.put(b"sleeping", a_file()).location])
    cold_kit.finish_retrievals()
    [report] = store.retrieval_reports([retrieval])
    assert report.status is RetrievalStatus.AVAILABLE


def test_a_tier_that_the_store_does_not_have_is_refused_before_it_costs(cold_kit: StoreKit) -> None:
    store = cold_kit.open()
    receipt = store.put(b"sleeping", a_file())
    unknown = next(iter({"Expedited", "Overnight"} - set(store.features.tiers)))
    with pytest.raises(RetrievalRefused, match=store.features.tiers[-1]):
        requested(store, [receipt.location], tier=unknown)
    assert cold_kit.done("retrieve") == 0


def test_expedited_capacity_that_is_missing_is_a_refusal(one_kit: StoreKit) -> None:
    store = one_kit.open()
    receipt = store.put(b"sleeping", a_file())
    one_kit.break_next("retrieve", FaultKind.CAPACITY)
    with pytest.raises(RetrievalRefused, match="Standard"):
        requested(store, [receipt.location], tier="Expedited")


def test_many_retrievals_are_reported_one_by_one(kit: StoreKit) -> None:
    store = kit.open()
    receipts = stored(store, 30)
    retrievals = readable(kit, store, *receipts[::2])
    reports = list(store.retrieval_reports(retrievals))
    assert sorted(report.key for report in reports) == sorted(receipt.location.key for receipt in receipts[::2])
    assert {report.status for report in reports} == {RetrievalStatus.READY}


def test_ranges_are_read_exactly(kit: StoreKit) -> None:
    store, data = kit.open(), some_bytes(3 * MIB + 17)
    [retrieval] = readable(kit, store, store.put(data, a_file()))
    for start, size in [(0, 1), (1, MIB), (MIB - 1, 2), (3 * MIB, 17), (0, len(data)), (5, 0)]:
        assert content(store, retrieval, start, size) == data[start : start + size]


def test_a_range_beyond_the_end_is_no_short_success(kit: StoreKit) -> None:
    store = kit.open()
    [retrieval] = readable(kit, store, store.put(b"0123456789", a_file()))
    for start, size in [(5, 6), (10, 1), (50, 5)]:
        with pytest.raises(ArchiveCorrupt):
            content(store, retrieval, start, size)


def test_a_body_that_breaks_off_is_worth_a_retry(one_kit: StoreKit) -> None:
    store, data = one_kit.open(), some_bytes(3 * MIB)
    [retrieval] = readable(one_kit, store, store.put(data, a_file()))
    one_kit.break_next("read", FaultKind.TRUNCATE_BODY, at=2 * MIB + 5)
    with pytest.raises(StoreUnavailable):
        content(store, retrieval, 0, len(data))
    assert content(store, retrieval, 0, len(data)) == data


def taken(store: ArchiveStore, retrieval: Retrieval, start: int, size: int) -> bytes:
    pieces: list[bytes] = []
    store.read_into(retrieval.location, start, size, pieces.append, job_id=retrieval.job_id)
    return b"".join(pieces)


@pytest.mark.parametrize(("start", "size"), [(0, 3 * MIB), (MIB, 2 * MIB), (0, 0), (2 * MIB, MIB)])
def test_a_range_can_be_taken_as_it_comes(one_kit: StoreKit, start: int, size: int) -> None:
    store, data = one_kit.open(), some_bytes(3 * MIB)
    [retrieval] = readable(one_kit, store, store.put(data, a_file()))
    assert taken(store, retrieval, start, size) == data[start : start + size]


@pytest.mark.parametrize("kind", [FaultKind.TRUNCATE_BODY, FaultKind.UNAVAILABLE, FaultKind.RESET_BEFORE])
def test_what_breaks_off_while_it_is_taken_is_brought_to_its_end_or_said_to_be_broken(
    one_kit: StoreKit, kind: FaultKind
) -> None:
    store, data = one_kit.open(), some_bytes(3 * MIB)
    [retrieval] = readable(one_kit, store, store.put(data, a_file()))
    one_kit.break_next("read", kind)
    with suppress(StoreUnavailable):
        assert taken(store, retrieval, 0, len(data)) == data
    assert taken(store, retrieval, 0, len(data)) == data


def test_what_the_taker_raises_ends_the_taking(one_kit: StoreKit) -> None:
    store, data = one_kit.open(), some_bytes(3 * MIB)
    [retrieval] = readable(one_kit, store, store.put(data, a_file()))

    def refuse(piece: bytes) -> None:
        raise OutOfSpace("the disk is full.")

    with pytest.raises(OutOfSpace):
        store.read_into(retrieval.location, 0, len(data), refuse, job_id=retrieval.job_id)
    assert taken(store, retrieval, 0, len(data)) == data


def test_what_is_cold_is_not_taken(cold_kit: StoreKit) -> None:
    store = cold_kit.open()
    receipt = store.put(b"content", a_file())
    with pytest.raises(ArchiveCold):
        store.read_into(receipt.location, 0, 7, lambda piece: None)


def test_a_damaged_body_does_not_match_its_receipt(kit: StoreKit) -> None:
    store, data = kit.open(), some_bytes(MIB)
    receipt = store.put(data, a_file())
    [retrieval] = readable(kit, store, receipt)
    kit.break_next("read", FaultKind.CORRUPT_BODY)
    verifier = Verifier(receipt.checksum)
    with suppress(ArchiveCorrupt):  # a store that sees it by itself is as good
        verifier.update(content(store, retrieval, 0, len(data)))
    assert not verifier.matches()


def test_what_was_deleted_is_gone_and_may_be_deleted_again(kit: StoreKit) -> None:
    store = kit.open()
    receipt = store.put(b"content", a_file())
    [retrieval] = readable(kit, store, receipt)
    store.delete(receipt.location)
    store.delete(receipt.location)
    assert kit.keys() == []
    kit.pass_time(30 * 24 * HOUR)  # what a job brought from a vault outlives its archive by a day
    with pytest.raises(ArchiveMissing if store.features.chooses_keys else ArchiveCold):
        content(store, retrieval, 0, 1)


def test_many_are_deleted_at_once_and_what_is_gone_is_no_error(kit: StoreKit) -> None:
    store = kit.open()
    described = [a_file(number) for number in (7, 8, 9)]
    keys = [store.put(b"content", one).location.key for one in described]
    assert store.delete_all(list(zip(keys[:2], described, strict=False))) == {}
    assert kit.keys() == keys[2:]
    assert store.delete_all(list(zip(keys, described, strict=True))) == {}
    assert kit.keys() == []


def test_what_could_not_be_deleted_is_told_by_its_key(one_kit: StoreKit) -> None:
    store = one_kit.open()
    described = [a_file(number) for number in (7, 8)]
    keys = [store.put(b"content", one).location.key for one in described]
    one_kit.break_next("delete", FaultKind.ACCESS_DENIED, count=None)
    refused = store.delete_all(list(zip(keys, described, strict=True)))
    assert {key: type(error) for key, error in refused.items()} == dict.fromkeys(keys, StoreDenied)
    assert sorted(one_kit.keys()) == sorted(keys)


def test_a_key_that_is_not_of_the_archive_described_is_left_alone(naming_kit: StoreKit) -> None:
    store = naming_kit.open()
    key = store.put(b"content", a_file(7)).location.key
    assert type(store.delete_all([(key, a_file(8))])[key]) is KeyTaken
    assert naming_kit.keys() == [key]


def test_a_retrieval_of_a_deleted_archive_names_it(cold_kit: StoreKit) -> None:
    store = cold_kit.open()
    receipt = store.put(b"content", a_file())
    store.delete(receipt.location)
    with pytest.raises(ArchiveMissing, match=receipt.location.key):
        requested(store, [receipt.location])


def test_archives_describe_themselves_whatever_their_names(one_kit: StoreKit) -> None:
    store = one_kit.open()
    names = [name_from_bytes(raw) for raw in EVIL_NAMES]
    for number, name in enumerate(names, start=1):
        store.put(b"x" * number, a_file(number, filename=name, backup_id=number + 100))
    one_kit.publish()
    found = {archive.description.archive_id: archive for archive in store.archives() if archive.description}
    assert {n: a.description.filename for n, a in found.items() if a.description} == dict(enumerate(names, start=1))
    assert {n: (a.size, a.description.backup_id) for n, a in found.items() if a.description} == {
        n: (n, n + 100) for n in range(1, len(names) + 1)
    }


def test_archives_can_be_asked_for_by_application_and_kind(one_kit: StoreKit) -> None:
    store = one_kit.open()
    store.put(b"a", a_file(1))
    store.put(b"d", a_file(2, kind=ArchiveKind.DATABASE, filename="library.dump"))
    store.put_manifest(b"m", a_file(3, kind=ArchiveKind.MANIFEST, filename="manifest.json.gz"))
    store.put(b"o", a_file(4, application="library-2"))
    one_kit.publish()

    def ids(**wish: object) -> list[int]:
        return sorted(a.description.archive_id for a in store.archives(**wish) if a.description)  # type: ignore[arg-type]

    assert ids() == [1, 2, 3, 4]
    assert ids(application="library") == [1, 2, 3]
    assert ids(application="library", kind=ArchiveKind.MANIFEST) == [3]
    assert ids(kind=ArchiveKind.FILE) == [1, 4]
    assert len(list(store.archives("library", described=False))) == 3


def test_a_store_that_is_ready_passes_its_check_and_stays_empty(kit: StoreKit) -> None:
    kit.open().check()
    assert kit.keys() == []


def test_a_missing_store_is_named(kit: StoreKit) -> None:
    store = kit.missing()
    with pytest.raises(StoreMissing, match="no-such") as caught:
        store.check()
    assert not caught.value.retryable
    with pytest.raises(StoreMissing):
        store.put(b"content", a_file())


def test_a_denied_store_names_itself_and_the_permission(kit: StoreKit) -> None:
    store = kit.open()
    kit.deny()
    with pytest.raises(StoreDenied, match=r"s3:|glacier:") as caught:
        store.check()
    assert not caught.value.retryable
    with pytest.raises(StoreDenied):
        store.put(b"content", a_file())
    with pytest.raises(StoreDenied):
        list(store.archives())


def test_manifests_can_be_read_back(kit: StoreKit) -> None:
    store = kit.open()
    receipt = store.put_manifest(b"manifest", a_file(9, kind=ArchiveKind.MANIFEST, filename="manifest.json.gz"))
    [retrieval] = readable(kit, store, receipt)
    assert content(store, retrieval, 0, 8) == b"manifest"
