"""Archives that are sent while they are still being made: every store, the same contract."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from glacier_provider.core.archive import ArchiveKind, Description
from glacier_provider.core.checksum import Verifier
from glacier_provider.core.parts import MIB
from glacier_provider.errors import DumpInvalid, StoreError, StoreUnavailable
from glacier_provider.staging import Spool
from glacier_provider.stores.contract import ArchiveStore, UploadedParts
from tests.contract.kit import PART, Bytes, FileJournal, StoreKit, a_file, content, readable, some_bytes
from tests.emulator.faults import FaultKind

CONTENT = some_bytes(2 * PART + 5 * MIB)


@pytest.fixture
def journal(tmp_path: Path) -> FileJournal:
    return FileJournal(tmp_path / "journal")


def a_dump(archive_id: int = 7) -> Description:
    """As it is described before anything is known of it."""
    return replace(a_file(archive_id), kind=ArchiveKind.DATABASE, filename="library-3.dump", size=None)


def growing(tmp_path: Path, make: Callable[[Spool], None]) -> Spool:
    """A stream that `make` writes in a thread of its own."""
    spool = Spool(tmp_path, part_size=PART, parts=3)
    threading.Thread(target=make, args=(spool,), daemon=True).start()
    return spool


def whole(spool: Spool) -> None:
    for start in range(0, len(CONTENT), 3 * MIB):
        spool.write(CONTENT[start : start + 3 * MIB])
        time.sleep(0.01)
    spool.end()


def send(store: ArchiveStore, tmp_path: Path, journal: FileJournal) -> UploadedParts:
    return store.upload_stream(growing(tmp_path, whole), a_dump(), journal, part_size=PART)


def test_what_was_sent_is_an_archive_only_when_it_is_completed(
    kit: StoreKit, tmp_path: Path, journal: FileJournal
) -> None:
    store = kit.open()
    sent = send(store, tmp_path, journal)
    assert sent.size == len(CONTENT)
    assert kit.keys() == []
    receipt = store.complete_stream(a_dump(), journal, sent)
    assert receipt is not None
    assert (receipt.size, receipt.checksum, receipt.adopted) == (len(CONTENT), sent.checksum, False)
    assert kit.keys() == [receipt.location.key]
    (retrieval,) = readable(kit, store, receipt)
    got = content(store, retrieval, 0, receipt.size)
    verifier = Verifier(receipt.checksum)
    verifier.update(got)
    assert verifier.matches()
    assert got == CONTENT


def test_an_archive_that_was_sent_before_its_size_was_known_tells_it_in_a_listing(
    one_kit: StoreKit, tmp_path: Path, journal: FileJournal
) -> None:
    store = one_kit.open()
    store.complete_stream(a_dump(), journal, send(store, tmp_path, journal))
    one_kit.publish()
    (listed,) = store.archives("library")
    assert listed.description == replace(a_dump(), size=len(CONTENT))
    assert listed.size == len(CONTENT)


def test_parts_are_sent_before_the_end_is_known(one_kit: StoreKit, tmp_path: Path, journal: FileJournal) -> None:
    def wait_in_between(spool: Spool) -> None:
        spool.write(CONTENT[: PART + MIB])
        one_kit.wait_until_done("part", 1)
        spool.write(CONTENT[PART + MIB :])
        spool.end()

    sent = one_kit.open().upload_stream(growing(tmp_path, wait_in_between), a_dump(), journal, part_size=PART)
    assert sent.size == len(CONTENT)


def test_an_error_of_who_makes_it_ends_the_upload_and_it_can_be_abandoned(
    one_kit: StoreKit, tmp_path: Path, journal: FileJournal
) -> None:
    def fail(spool: Spool) -> None:
        spool.write(CONTENT[: PART + MIB])
        spool.fail(DumpInvalid("pg_dump failed"))

    store = one_kit.open()
    with pytest.raises(DumpInvalid, match="pg_dump failed"):
        store.upload_stream(growing(tmp_path, fail), a_dump(), journal, part_size=PART)
    store.abandon(a_dump())
    journal.forget()
    assert store.complete_stream(a_dump(), journal, UploadedParts(len(CONTENT), "treehash:" + "0" * 64)) is None
    assert one_kit.keys() == []


def test_another_process_completes_what_was_sent(one_kit: StoreKit, tmp_path: Path, journal: FileJournal) -> None:
    sent = send(one_kit.open(), tmp_path, journal)
    remembered = UploadedParts(sent.size, sent.checksum)
    receipt = one_kit.open().complete_stream(a_dump(), journal, remembered)
    assert receipt is not None
    assert (receipt.size, receipt.checksum) == (sent.size, sent.checksum)
    assert len(one_kit.keys()) == 1


def test_parts_that_are_not_those_that_were_sent_are_not_completed(
    one_kit: StoreKit, tmp_path: Path, journal: FileJournal
) -> None:
    sent = send(one_kit.open(), tmp_path, journal)
    for other in (UploadedParts(sent.size - 1, sent.checksum), UploadedParts(sent.size, sent.checksum[:-4] + "beef")):
        assert one_kit.open().complete_stream(a_dump(), journal, other) is None
    assert one_kit.keys() == []


@pytest.mark.parametrize("kind", [FaultKind.RESET_AFTER, FaultKind.UNAVAILABLE, FaultKind.RESET_BEFORE])
def test_a_completion_without_an_answer_is_done_once_by_this_try_or_the_next(
    one_kit: StoreKit, tmp_path: Path, journal: FileJournal, kind: FaultKind
) -> None:
    store = one_kit.open()
    sent = send(store, tmp_path, journal)
    one_kit.break_next("complete", kind)
    try:
        receipt = store.complete_stream(a_dump(), journal, sent)
    except StoreUnavailable:
        receipt = one_kit.open().complete_stream(a_dump(), journal, UploadedParts(sent.size, sent.checksum))
    assert receipt is not None
    assert receipt.checksum == sent.checksum
    assert len(one_kit.keys()) == 1


def test_a_crash_between_completion_and_the_catalog_is_found_out(
    one_kit: StoreKit, tmp_path: Path, journal: FileJournal
) -> None:
    sent = send(one_kit.open(), tmp_path, journal)
    first = one_kit.open().complete_stream(a_dump(), journal, sent)
    again = one_kit.open().complete_stream(a_dump(), journal, UploadedParts(sent.size, sent.checksum))
    assert first is not None
    assert again is not None
    assert (again.location, again.checksum, again.adopted) == (first.location, first.checksum, True)
    assert one_kit.keys() == [first.location.key]


def test_what_broke_off_while_it_grew_is_gone_on_with_from_a_copy(
    one_kit: StoreKit, tmp_path: Path, journal: FileJournal
) -> None:
    one_kit.break_next("part", FaultKind.UNAVAILABLE, part=2)
    store = one_kit.open()
    with pytest.raises(StoreUnavailable):
        send(store, tmp_path, journal)
    begun = one_kit.done("begin")
    one_kit.mend()
    receipt = store.put_large(Bytes(CONTENT), replace(a_dump(), size=len(CONTENT), sha256="ab" * 32), journal)
    assert receipt.size == len(CONTENT)
    assert one_kit.done("begin") == begun
    assert len(one_kit.keys()) == 1


def test_a_new_upload_aborts_what_an_earlier_one_left(one_kit: StoreKit, tmp_path: Path, journal: FileJournal) -> None:
    store = one_kit.open()
    send(store, tmp_path, journal)
    journal.forget()
    sent = send(store, tmp_path, journal)
    receipt = store.complete_stream(a_dump(), journal, sent)
    assert receipt is not None
    assert len(one_kit.keys()) == 1


def test_a_stream_beyond_the_number_of_parts_is_refused(
    one_kit: StoreKit, tmp_path: Path, journal: FileJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    from glacier_provider.stores import multipart as module

    monkeypatch.setattr(module, "MAX_PARTS", 2)
    with pytest.raises(StoreError, match="beyond 2 parts"):
        send(one_kit.open(), tmp_path, journal)
    assert one_kit.keys() == []
